/*
 * Streams: large responses and flow control, unusual but valid frames, streams that are reset, and
 * an nghttp2 client.
 */
#include "session/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_ANSWER(peer, stream_id, body)                                                        \
    peer_check_answer((peer), (stream_id), (body), sizeof(body) - 1)

static const struct field post[] = {REQUEST_OF("POST", "/")};

/* --- Large answers and small windows --- */

enum { LARGE = 60000 };

/* Add GET with a field of LARGE quotes, each escaped in JSON: the response exceeds a window and a
 * frame. Return the expected body, to be freed. */
static char *add_large_get(struct peer *peer, int32_t stream_id, size_t *length)
{
    static const char start[] = "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", "
                                "\":authority\": \"h\", \"x\": \"";
    struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("x", "")};
    char *value = malloc(LARGE);
    char *body = malloc(sizeof(start) + 2 * LARGE + 2);
    size_t used = sizeof(start) - 1;

    assert_true(value && body);
    memset(value, '"', LARGE);
    fields[REQUEST_FIELDS].value = value;
    fields[REQUEST_FIELDS].value_length = LARGE;
    frame_add_request(&peer->out, stream_id, END_STREAM, fields, COUNT(fields));
    free(value);
    memcpy(body, start, used);
    for (size_t i = 0; i < LARGE; i++, used += 2)
        memcpy(body + used, "\\\"", 2);
    memcpy(body + used, "\"}", 2);
    *length = used + 2;
    return body;
}

static void run_large_answer(struct peer *peer)
{
    size_t length;
    char *body = add_large_get(peer, 1, &length);

    peer_pump(peer);
    peer_check_answer(peer, 1, body, length);
    free(body);
}

/* Two large responses wait for the connection's window, which is opened by half a window at a time.
 */
static void run_connection_window(struct peer *peer)
{
    enum { FIRST_WINDOW = 65535 };
    size_t length;
    char *body = add_large_get(peer, 1, &length);
    size_t given = FIRST_WINDOW;

    free(add_large_get(peer, 3, &length));
    peer->opens_windows = false;
    frame_add_window(&peer->out, 1, 1 << 20);
    frame_add_window(&peer->out, 3, 1 << 20);
    peer_pump(peer);
    while (given < 2 * length) {
        assert_int_equal(peer_response(peer, 1)->body.length + peer_response(peer, 3)->body.length,
                         given);
        frame_add_window(&peer->out, 0, FIRST_WINDOW / 2);
        given += FIRST_WINDOW / 2;
        peer_pump(peer);
    }
    peer_check_answer(peer, 1, body, length);
    peer_check_answer(peer, 3, body, length);
    free(body);
}

static void run_window_of_one_byte(struct peer *peer)
{
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1);
    frame_add_get(&peer->out, 1, "/narrow");
    frame_add_get(&peer->out, 3, "/narrow");
    peer_pump(peer);
    peer_check_get(peer, 1, "/narrow");
    peer_check_get(peer, 3, "/narrow");
    assert_int_equal(peer_response(peer, 1)->data_frames, peer_response(peer, 1)->body.length);
}

static void run_closed_window(struct peer *peer)
{
    peer->opens_windows = false;
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    frame_add_get(&peer->out, 1, "/closed");
    frame_add_get(&peer->out, 3, "/closed");
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->status, 200);
    assert_int_equal(peer_response(peer, 1)->body.length, 0);
    frame_add_window(&peer->out, 1, 10);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->body.length, 10);
    assert_int_equal(peer_response(peer, 3)->body.length, 0);
    frame_add_window(&peer->out, 1, 1000);
    peer_pump(peer);
    peer_check_get(peer, 1, "/closed");
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 20);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 3)->body.length, 20);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535);
    peer_pump(peer);
    peer_check_get(peer, 3, "/closed");
}

/* --- Unusual frames --- */

static void run_padding(struct peer *peer)
{
    static const size_t paddings[] = {0, 1, 255};

    for (size_t i = 0; i < COUNT(paddings); i++) {
        int32_t id = (int32_t)(2 * i + 1);
        struct bytes block = {0};
        uint8_t pad = (uint8_t)paddings[i];

        bytes_add(&block, &pad, 1);
        for (size_t f = 0; f < COUNT(post); f++)
            block_add(&block, &post[f]);
        bytes_fill(&block, 0, pad);
        frame_add(&peer->out, NGHTTP2_HEADERS, END_HEADERS | NGHTTP2_FLAG_PADDED, id, block.data,
                  block.length);
        block.length = 0;
        bytes_add(&block, &pad, 1);
        bytes_add(&block, "some", i); /* 0, 1 or 2 bytes of content */
        bytes_fill(&block, 0, pad);
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM | NGHTTP2_FLAG_PADDED, id, block.data,
                  block.length);
        bytes_free(&block);
    }
    peer_pump(peer);
    for (size_t i = 0; i < COUNT(paddings); i++) {
        peer_check_post(peer, (int32_t)(2 * i + 1));
        assert_int_equal(peer_find_request(peer, (int32_t)(2 * i + 1))->received, i);
    }
}

/* 200 CONTINUATION frames of one byte, and an empty one at the end. */
static void run_continuation(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("x", "")};
    char value[150];
    char body[512];
    struct bytes block = {0};
    struct field last = fields[REQUEST_FIELDS];

    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < REQUEST_FIELDS; i++)
        block_add(&block, &fields[i]);
    last.value = value;
    last.value_length = sizeof(value);
    block_add(&block, &last);
    assert_true(block.length >= 200);
    frame_add_block(&peer->out, 1, END_STREAM, &block, 1);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 3, block.data, block.length);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 3, NULL, 0);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, END_HEADERS, 3, NULL, 0);
    bytes_free(&block);
    peer_pump(peer);
    snprintf(body, sizeof(body),
             "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", \":authority\": "
             "\"h\", \"x\": \"%.*s\"}",
             (int)sizeof(value), value);
    peer_check_answer(peer, 1, body, strlen(body));
    peer_check_answer(peer, 3, body, strlen(body));
}

static void run_priority(struct peer *peer)
{
    static const uint8_t on_zero[] = {0, 0, 0, 0, 15};
    static const uint8_t exclusive_on_one[] = {0x80, 0, 0, 1, 255};
    struct bytes block = {0};

    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 7, on_zero, sizeof(on_zero)); /* idle */
    frame_add_get(&peer->out, 1, "/first");
    bytes_add(&block, exclusive_on_one, sizeof(exclusive_on_one));
    for (size_t i = 0; i < COUNT(post); i++)
        block_add(&block, &post[i]);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_HEADERS | END_STREAM | NGHTTP2_FLAG_PRIORITY, 3,
              block.data, block.length);
    bytes_free(&block);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 1, on_zero, sizeof(on_zero)); /* closed */
    frame_add_get(&peer->out, 7, "/last");
    peer_pump(peer);
    peer_check_get(peer, 1, "/first");
    peer_check_post(peer, 3);
    peer_check_get(peer, 7, "/last");
}

static void run_unknown_frames(struct peer *peer)
{
    frame_add(&peer->out, 0xee, 0xff, 0, "unknown", 7);
    frame_add(&peer->out, 0x20, 0, 1, NULL, 0);
    frame_add_setting(&peer->out, 0xabc,
                      5); /* unknown settings are ignored (RFC 9113 section 6.5.2) */
    frame_add_get(&peer->out, 1, "/");
    frame_add(&peer->out, 0xee, 0, 1, "unknown", 7);
    peer_pump(peer);
    peer_check_get(peer, 1, "/");
    assert_int_equal(peer->settings_ack_count, 2);
}

static void run_many_streams(struct peer *peer)
{
    enum { STREAMS = 128 };
    char path[16];

    for (int32_t i = 0; i < STREAMS; i++) {
        snprintf(path, sizeof(path), "/%d", (int)i);
        frame_add_get(&peer->out, 2 * i + 1, path);
    }
    peer_pump(peer);
    for (int32_t i = 0; i < STREAMS; i++) {
        snprintf(path, sizeof(path), "/%d", (int)i);
        peer_check_get(peer, 2 * i + 1, path);
        assert_non_null(peer_find_request(peer, 2 * i + 1));
    }
    assert_int_equal(peer->request_count, STREAMS);
    assert_int_equal(peer->counters.requests, STREAMS);
    assert_int_equal(peer->counters.resets, 0);
}

/* All streams are open at once, and end in another order. */
static void run_open_streams(struct peer *peer)
{
    enum { STREAMS = 128 };

    for (int32_t i = 0; i < STREAMS; i++)
        frame_add_request(&peer->out, 2 * i + 1, 0, post, COUNT(post));
    peer_pump(peer);
    for (int32_t i = STREAMS - 1; i >= 0; i--)
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 2 * i + 1, "some", 4);
    peer_pump(peer);
    for (int32_t i = 0; i < STREAMS; i++)
        peer_check_post(peer, 2 * i + 1);
}

/* The client resets streams before and after their response begins. */
static void run_reset_by_client(struct peer *peer)
{
    const struct peer_request *closed;

    peer->opens_windows = false;
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 5);
    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add_get(&peer->out, 3, "/");
    peer_pump(peer);
    frame_add_reset(&peer->out, 1, NGHTTP2_CANCEL);
    frame_add_reset(&peer->out, 3, NGHTTP2_INTERNAL_ERROR);
    peer_pump(peer);
    closed = peer_find_request(peer, 1);
    assert_non_null(closed);
    assert_int_equal(closed->reset, SESSION_RESET_BY_PEER);
    assert_string_equal(closed->reset_code, "CANCEL");
    assert_int_equal(closed->status, 0);
    closed = peer_find_request(peer, 3);
    assert_non_null(closed);
    assert_int_equal(closed->reset, SESSION_RESET_BY_PEER);
    assert_string_equal(closed->reset_code, "INTERNAL_ERROR");
    assert_int_equal(closed->status, 200);
    assert_int_equal(closed->sent, 5);
    assert_int_equal(peer->counters.resets, 2);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535);
    frame_add_get(&peer->out, 5, "/after");
    peer_pump(peer);
    peer_check_get(peer, 5, "/after");
}

/* The client resets the stream in the same piece as its request: there is no response. */
static void run_reset_at_once(struct peer *peer)
{
    const struct peer_request *closed;

    frame_add_get(&peer->out, 1, "/");
    frame_add_reset(&peer->out, 1, NGHTTP2_CANCEL);
    peer_pump(peer);
    closed = peer_find_request(peer, 1);
    assert_non_null(closed);
    assert_int_equal(closed->status, peer_response(peer, 1)->status);
    assert_int_equal(closed->sent, peer_response(peer, 1)->body.length);
}

/* --- With an nghttp2 client, which does flow control --- */

static void upload(const struct peer_transfer *transfer, size_t length, uint32_t window)
{
    struct peer *peer = peer_open_client(&peer_options, *transfer, window);
    struct bytes bodies[2] = {0};
    int32_t ids[2];

    for (size_t i = 0; i < COUNT(bodies); i++) {
        bytes_fill(&bodies[i], 'b', length);
        ids[i] = peer_submit(peer, post, COUNT(post), &bodies[i]);
    }
    peer_pump(peer);
    for (size_t i = 0; i < COUNT(bodies); i++) {
        peer_check_post(peer, ids[i]);
        assert_int_equal(peer_find_request(peer, ids[i])->received, length);
        bytes_free(&bodies[i]);
    }
    assert_true(peer->window > 0);
    peer_free(peer);
}

/* Two uploads of several MiB at once: the windows are opened again and again. */
static void test_upload(void **state)
{
    (void)state;
    upload(&peer_whole, 5 * 1024 * 1024, 65535);
    upload(&peer_whole, 700001, 10);
    for (size_t i = 0; i < PEER_TRANSFERS; i++)
        if (peer_transfers[i].split == SPLIT_RANDOM)
            upload(&peer_transfers[i], 700001, 100);
}

static void test_client(void **state)
{
    enum { REQUESTS = 100 };

    (void)state;
    for (size_t i = 0; i < PEER_TRANSFERS; i++) {
        struct peer *peer = peer_open_client(&peer_options, peer_transfers[i], 65535);

        for (int r = 0; r < REQUESTS; r++) {
            struct field fields[] = {REQUEST_OF("GET", "")};
            char path[16];

            snprintf(path, sizeof(path), "/%d", r);
            fields[1] = field_of(":path", path);
            peer_submit(peer, fields, COUNT(fields), NULL);
        }
        peer_pump(peer);
        for (int32_t r = 0; r < REQUESTS; r++) {
            char path[16];

            snprintf(path, sizeof(path), "/%d", (int)r);
            peer_check_get(peer, 2 * r + 1, path);
        }
        peer_free(peer);
    }
}

PEER_TEST(large_answer, &peer_options)
PEER_TEST(connection_window, &peer_options)
PEER_TEST(window_of_one_byte, &peer_options)
PEER_TEST(closed_window, &peer_options)
PEER_TEST(padding, &peer_options)
PEER_TEST(continuation, &peer_options)
PEER_TEST(priority, &peer_options)
PEER_TEST(unknown_frames, &peer_options)
PEER_TEST(many_streams, &peer_options)
PEER_TEST(open_streams, &peer_options)
PEER_TEST(reset_by_client, &peer_options)
PEER_TEST(reset_at_once, &peer_options)

#define TEST(name) cmocka_unit_test_teardown(test_##name, peer_print_transfer)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(large_answer),
        TEST(connection_window),
        TEST(window_of_one_byte),
        TEST(closed_window),
        TEST(padding),
        TEST(continuation),
        TEST(priority),
        TEST(unknown_frames),
        TEST(many_streams),
        TEST(open_streams),
        TEST(reset_by_client),
        TEST(reset_at_once),
        TEST(upload),
        TEST(client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
