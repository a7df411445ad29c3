/*
 * Detailed answers: the header block, the stream, the connection, and the frames of the client.
 */
#include "echo/client_frames.h"
#include "session/detail_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct field post[] = {REQUEST_OF("POST", "/"), ASKING};

/* --- The header block --- */

/* Padding, priority and frame headers do not count. */
static void run_wire_bytes(struct peer *peer)
{
    enum { PADDED = NGHTTP2_FLAG_PADDED, PRIORITIZED = NGHTTP2_FLAG_PRIORITY, PIECE = 11 };
    static const uint8_t flags[] = {0, PADDED, PRIORITIZED, PADDED | PRIORITIZED};
    struct bytes block = {0};
    char text[32];

    detail_begin(peer);
    for (size_t i = 0; i < COUNT(post); i++)
        block_add(&block, &post[i]);
    snprintf(text, sizeof(text), "%zu", block.length);
    for (size_t i = 0; i < 2 * COUNT(flags); i++) {
        int32_t id = (int32_t)(2 * i + 1);
        size_t first = i % 2 == 0 ? block.length : PIECE;
        uint8_t flag = flags[i / 2];
        struct bytes payload = {0};

        if (flag & PADDED)
            bytes_add(&payload, "\x05", 1);
        if (flag & PRIORITIZED)
            bytes_add(&payload, "\x80\0\0\0\x63", 5);
        bytes_add(&payload, block.data, first);
        if (flag & PADDED)
            bytes_add(&payload, "\0\0\0\0\0", 5);
        frame_add(&peer->out, NGHTTP2_HEADERS,
                  flag | END_STREAM | (first == block.length ? END_HEADERS : 0), id, payload.data,
                  payload.length);
        for (size_t at = first; at < block.length; at += PIECE) {
            size_t length = block.length - at < PIECE ? block.length - at : PIECE;

            frame_add(&peer->out, NGHTTP2_CONTINUATION,
                      at + length == block.length ? END_HEADERS : 0, id, block.data + at, length);
        }
        bytes_free(&payload);
        peer_pump(peer);
        detail_check(peer, id, "hpack.wire_bytes", text);
        detail_check(peer, id, "hpack.decoded_bytes", "73");
        detail_check(peer, id, "stream.dependency",
                     flag & PRIORITIZED
                         ? "{\"depends_on\": 0, \"weight\": 100, \"exclusive\": true}"
                         : "null");
    }
    bytes_free(&block);
}

static void run_dynamic_table(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), ASKING};
    static const struct field remembered = FIELD("name", "value");
    struct bytes block = {0};

    detail_begin(peer);
    for (size_t i = 0; i < COUNT(fields); i++)
        block_add(&block, &fields[i]);
    frame_add_block(&peer->out, 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    block_add_indexed(&block, &remembered);
    frame_add_block(&peer->out, 3, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 5, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    block.length = 0;
    bytes_add(&block, "\x20", 1); /* table size 0 */
    for (size_t i = 0; i < COUNT(fields); i++)
        block_add(&block, &fields[i]);
    frame_add_block(&peer->out, 7, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    peer_pump(peer);
    detail_check(peer, 1, "hpack.table_bytes", "0");
    detail_check(peer, 3, "hpack.table_bytes", "41");
    detail_check(peer, 5, "hpack.table_bytes", "82");
    detail_check(peer, 7, "hpack.table_bytes", "0");
    detail_check(peer, 1, "hpack.decoded_bytes", "72");
    detail_check(peer, 5, "hpack.decoded_bytes", "81");
}

/* --- The stream and the connection --- */

/* Every request counts, also those without a response. */
static void run_numbers(struct peer *peer)
{
    static const struct field wrong[] = {REQUEST_OF("GET", "/"), FIELD("connection", "close")};

    detail_begin(peer);
    frame_add_get(&peer->out, 1, "/");
    frame_add_request(&peer->out, 3, END_STREAM, wrong, COUNT(wrong));
    frame_add_request(&peer->out, 5, 0, post, COUNT(post));
    frame_add_reset(&peer->out, 5, NGHTTP2_CANCEL);
    frame_add_request(&peer->out, 7, 0, post, COUNT(post));
    frame_add_get(&peer->out, 101, "/");
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 7, NULL, 0);
    peer_pump(peer);
    detail_add_get(peer, 103, "/");
    peer_pump(peer);
    assert_int_equal(detail_number(peer, 7, "stream.request"), 4);
    assert_int_equal(detail_number(peer, 7, "stream.id"), 7);
    assert_int_equal(detail_number(peer, 103, "stream.request"), 6);
    assert_int_equal(detail_number(peer, 103, "stream.id"), 103);
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    origin->protocol = "h2c";
}

/* A worker's counters continue from one connection to the next; the number starts anew. */
static void test_number_on_the_next_connection(void **state)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), ASKING};
    struct session_observer observer = {.describe = describe};
    struct counters counters = {.requests = 1000};
    struct instant now = {0};
    struct bytes bytes = {0};
    uint8_t buffer[4096];
    struct arena arena = {0};
    struct session_memory memory = {&arena, &arena};
    struct session *session = session_new(&peer_options, &observer, &counters, &memory, now);

    (void)state;
    assert_non_null(session);
    frame_add_preface(&bytes);
    frame_add_request(&bytes, 1, END_STREAM, fields, COUNT(fields));
    session_receive(session, now, bytes.data, bytes.length);
    bytes_free(&bytes);
    assert_non_null(
        memmem(buffer, session_send(session, now, buffer, sizeof(buffer)), "\"request\": 1,", 13));
    session_free(session);
}

static void run_connection(struct peer *peer)
{
    detail_begin(peer);
    detail_ask_get(peer, 1);
    detail_check(peer, 1, "connection",
                 "{\"id\": 42, \"protocol\": \"h2c\", \"peer\": \"192.0.2.1:4000\", "
                 "\"local\": \"192.0.2.2:8080\", \"age_ms\": 0.0, \"send_window\": 65535, "
                 "\"tls\": null}");
    peer_wait(peer, 1234567);
    detail_ask_get(peer, 3);
    detail_check(peer, 3, "connection.age_ms", "1234.567");
}

/* The windows before the answer is sent. */
static void run_windows(struct peer *peer)
{
    size_t sent = 0;

    peer->opens_windows = false;
    frame_add_preface(&peer->out);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 20000);
    for (int32_t id = 1; id < 9; id += 2) {
        if (id == 5)
            frame_add_window(&peer->out, 0, 1000);
        frame_add_request(&peer->out, id, 0, post, COUNT(post));
        frame_add_window(&peer->out, id, (uint32_t)id);
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, id, NULL, 0);
        peer_pump(peer);
        assert_int_equal(detail_number(peer, id, "stream.send_window"), 20000 + id);
        assert_int_equal(detail_number(peer, id, "connection.send_window"),
                         65535 - sent + (id < 5 ? 0 : 1000));
        sent += peer_response(peer, id)->body.length;
    }
}

/* --- The client --- */

static void run_settings(struct peer *peer)
{
    static const char settings[] =
        "\0\2\0\0\0\0\x13\x37\0\0\0\7\0\4\0\140\0\0\0\x10\xff\xff\xff\xff";

    bytes_add(&peer->out, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add(&peer->out, NGHTTP2_SETTINGS, 0, 0, settings, sizeof(settings) - 1);
    frame_add_window(&peer->out, 0, 15663105);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 3, "\0\0\0\0\xc8", 5);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 5, "\x80\0\0\3\0", 5);
    frame_add(&peer->out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    detail_ask_get(peer, 1);
    detail_check(peer, 1, "client",
                 "{\"settings\": [{\"id\": 2, \"name\": \"ENABLE_PUSH\", \"value\": 0}, "
                 "{\"id\": 4919, \"name\": null, \"value\": 7}, "
                 "{\"id\": 4, \"name\": \"INITIAL_WINDOW_SIZE\", \"value\": 6291456}, "
                 "{\"id\": 16, \"name\": null, \"value\": 4294967295}], \"later_settings\": [], "
                 "\"window_update\": 15663105, \"priority_frames\": ["
                 "{\"stream\": 3, \"depends_on\": 0, \"weight\": 201, \"exclusive\": false}, "
                 "{\"stream\": 5, \"depends_on\": 3, \"weight\": 1, \"exclusive\": true}], "
                 "\"fingerprint\": "
                 "\"2:0;4919:7;4:6291456;16:4294967295|15663105|3:0:0:201,5:1:3:1|m,p,s,a\"}");
}

/* Frames after the first request are shown as later ones; the fingerprint depends on the order of
 * the pseudo-header fields only. */
static void run_frames_after_first_request(struct peer *peer)
{
    static const struct field fields[] = {FIELD(":path", "/"), FIELD(":authority", "h"),
                                          FIELD(":scheme", "http"), FIELD(":method", "GET"),
                                          ASKING};

    detail_begin(peer);
    detail_ask_get(peer, 1);
    detail_check(peer, 1, "client.later_settings", "[]");
    detail_check(peer, 1, "client.fingerprint", "\"|00|0|m,p,s,a\"");
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 70000);
    frame_add_window(&peer->out, 0, 70000);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 9, "\0\0\0\7\x0f", 5);
    frame_add_setting(&peer->out, 0xfefe, 1);
    detail_ask(peer, 3, END_STREAM, fields, COUNT(fields));
    detail_check(
        peer, 3, "client",
        "{\"settings\": [], "
        "\"later_settings\": [{\"id\": 4, \"name\": \"INITIAL_WINDOW_SIZE\", \"value\": 70000}, "
        "{\"id\": 65278, \"name\": null, \"value\": 1}], \"window_update\": 0, "
        "\"priority_frames\": ["
        "{\"stream\": 9, \"depends_on\": 7, \"weight\": 16, \"exclusive\": false}], "
        "\"fingerprint\": \"|00|0|p,a,s,m\"}");
    detail_check(peer, 3, "dropped",
                 "[{\"what\": \"settings: 1\", "
                 "\"why\": \"of no known meaning (RFC 9113 section 6.5.2)\"}, "
                 "{\"what\": \"PRIORITY frames: 1\", "
                 "\"why\": \"deprecated, without effect (RFC 9113 section 5.3.2)\"}]");
}

static void run_unknown_frames(struct peer *peer)
{
    detail_begin(peer);
    frame_add(&peer->out, 0xaa, 0x55, 0, "12345678", 8);
    frame_add(&peer->out, 0x0c, 0, 0, NULL, 0);
    detail_ask_get(peer, 1);
    detail_check(peer, 1, "dropped",
                 "[{\"what\": \"frame of type 0xaa: 8 bytes, stream 0\", "
                 "\"why\": \"of no known type (RFC 9113 section 5.5)\"}, "
                 "{\"what\": \"frame of type 0x0c: 0 bytes, stream 0\", "
                 "\"why\": \"of no known type (RFC 9113 section 5.5)\"}]");
}

/* The answer shows the first and the latest frames, and the number of the others. */
static void run_too_many_frames(struct peer *peer)
{
    enum {
        SENT = 1000,
        SETTINGS_BEFORE = 9,
        KEPT = (CLIENT_FRAMES_MAX - SETTINGS_BEFORE) / (9 + CLIENT_FRAMES_PAYLOAD_MAX),
    };
    char payload[300] = {0};
    char left_out[64];
    json_t *object;
    json_t *last;

    detail_begin(peer);
    detail_ask_get(peer, 1);
    for (int i = 0; i < SENT; i++)
        frame_add(&peer->out, 0xaa, 0, i, payload, sizeof(payload));
    detail_ask_get(peer, 3);
    object = detail_answer(peer, 3);
    assert_int_equal(json_array_size(detail_find(object, "dropped")), KEPT + 1);
    last = json_array_get(detail_find(object, "dropped"), KEPT - 1);
    assert_string_equal(json_string_value(detail_find(last, "what")),
                        "frame of type 0xaa: 300 bytes, stream 999");
    last = json_array_get(detail_find(object, "dropped"), KEPT);
    snprintf(left_out, sizeof(left_out), "other frames: %d", SENT - KEPT);
    assert_string_equal(json_string_value(detail_find(last, "what")), left_out);
    json_decref(object);
}

/* --- Priority (RFC 9218) --- */

static void run_priority(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), ASKING, FIELD("priority", "u=1"),
                                          FIELD("priority", "i")};

    detail_begin(peer);
    detail_ask_get(peer, 1);
    detail_ask(peer, 3, END_STREAM, fields, COUNT(fields));
    frame_add(&peer->out, 0x10, 0, 0, "\0\0\0\5u=5", 7); /* PRIORITY_UPDATE before its stream */
    detail_ask(peer, 5, END_STREAM, fields, COUNT(fields));
    detail_ask(peer, 7, 0, fields, COUNT(fields));
    frame_add(&peer->out, 0x10, 0, 0, "\0\0\0\7u=7", 7);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 7, NULL, 0);
    peer_pump(peer);
    frame_add(&peer->out, 0x10, 0, 0, "\0\0\0\5u=6", 7); /* after its stream */
    detail_ask(peer, 9, END_STREAM, fields, COUNT(fields));
    detail_check(peer, 1, "stream.priority",
                 "{\"urgency\": 3, \"incremental\": false, \"from\": \"default\"}");
    detail_check(peer, 3, "stream.priority",
                 "{\"urgency\": 1, \"incremental\": true, \"from\": \"field\"}");
    detail_check(peer, 5, "stream.priority",
                 "{\"urgency\": 5, \"incremental\": false, \"from\": \"frame\"}");
    detail_check(peer, 7, "stream.priority",
                 "{\"urgency\": 7, \"incremental\": false, \"from\": \"frame\"}");
    detail_check(peer, 9, "stream.priority",
                 "{\"urgency\": 1, \"incremental\": true, \"from\": \"field\"}");
}

/* --- Earlier reports --- */

/* Reports are shown without field values, which may belong to another user of the connection. */
static void run_reports(struct peer *peer)
{
    static const struct field wrong[] = {REQUEST_OF("GET", "/"), FIELD("connection", "\xff\"\\")};
    json_t *object;
    json_t *list;

    detail_begin(peer);
    for (int32_t id = 1; id < 21; id += 2)
        frame_add_request(&peer->out, id, END_STREAM, wrong, COUNT(wrong));
    detail_ask_get(peer, 21);
    object = detail_answer(peer, 21);
    list = detail_find(object, "reports");
    assert_int_equal(json_array_size(list), DETAIL_REPORTS);
    for (int32_t i = 0; i < DETAIL_REPORTS; i++) {
        json_t *report = json_array_get(list, (size_t)i);

        assert_int_equal(json_integer_value(detail_find(report, "stream")), 2 * i + 5);
        assert_string_equal(json_string_value(detail_find(report, "text")),
                            "malformed request: field \"connection\": connection-specific field "
                            "(RFC 9113 section 8.2.2)");
    }
    json_decref(object);
}

DETAIL_TEST(wire_bytes, &peer_options)
DETAIL_TEST(dynamic_table, &peer_options)
DETAIL_TEST(numbers, &peer_options)
DETAIL_TEST(connection, &peer_options)
DETAIL_TEST(windows, &peer_options)
DETAIL_TEST(settings, &peer_options)
DETAIL_TEST(frames_after_first_request, &peer_options)
DETAIL_TEST(unknown_frames, &peer_options)
DETAIL_TEST(too_many_frames, &peer_options)
DETAIL_TEST(priority, &peer_options)
DETAIL_TEST(reports, &peer_options)

#define TEST(name) cmocka_unit_test_teardown(test_##name, peer_print_transfer)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(wire_bytes),     TEST(dynamic_table),
        TEST(numbers),        TEST(number_on_the_next_connection),
        TEST(connection),     TEST(windows),
        TEST(settings),       TEST(frames_after_first_request),
        TEST(unknown_frames), TEST(too_many_frames),
        TEST(priority),       TEST(reports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
