/*
 * Floods: frames that cost a client little and the server much end the connection with GOAWAY. The
 * same frames in numbers that ordinary clients send do not.
 */
#include "session/peer.h"

#include <string.h>

static const struct field post[] = {REQUEST_OF("POST", "/")};
static const struct field malformed[] = {REQUEST_OF("GET", "/"), FIELD("connection", "close")};

enum { FLOOD = 20000, BURST = 10000 };

/* Add ${count} frames, and exchange bytes after every ${batch} of them so that no queue becomes
 * full. */
static void flood(struct peer *peer, void (*add)(struct peer *, int32_t), int count, int batch)
{
    for (int i = 0; i < count && !session_done(peer->session); i++) {
        add(peer, 2 * i + 3);
        if (i % batch == batch - 1)
            peer_pump(peer);
    }
    peer_pump(peer);
}

/* Fail unless the session has ended with GOAWAY, and the last report names the rule. */
static void check_flood_reported(const struct peer *peer, uint32_t code)
{
    peer_check_ended(peer, code);
    assert_true(peer->report_count > 0 && peer->report_count < 50);
    assert_non_null(strstr(peer->reports[peer->report_count - 1].text, "RFC 9113 section 10.5"));
}

static void check_flood(void (*add)(struct peer *, int32_t), uint32_t code)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    /* An open stream must not prevent the end of the connection. */
    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    flood(peer, add, FLOOD, 100);
    check_flood_reported(peer, code);
    peer_free(peer);
}

/* Fail unless ${count} of them at once are allowed. */
static void check_allowed(void (*add)(struct peer *, int32_t), int count)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    flood(peer, add, count, 100);
    assert_int_equal(peer->goaway_count, 0);
    frame_add_get(&peer->out, 2 * FLOOD + 5, "/after");
    peer_pump(peer);
    peer_check_get(peer, 2 * FLOOD + 5, "/after");
    peer_free(peer);
}

/* --- Streams that are reset --- */

static void flood_rapid_reset(struct peer *peer, int32_t stream_id)
{
    frame_add_request(&peer->out, stream_id, 0, post, COUNT(post));
    frame_add_reset(&peer->out, stream_id, NGHTTP2_CANCEL);
}

/* CVE-2023-44487. */
static void test_rapid_reset(void **state)
{
    (void)state;
    check_flood(flood_rapid_reset, NGHTTP2_ENHANCE_YOUR_CALM);
    check_allowed(flood_rapid_reset, 900);
}

static void flood_malformed(struct peer *peer, int32_t stream_id)
{
    frame_add_request(&peer->out, stream_id, END_STREAM, malformed, COUNT(malformed));
}

static void flood_overflow(struct peer *peer, int32_t stream_id)
{
    frame_add_request(&peer->out, stream_id, 0, post, COUNT(post));
    frame_add_window(&peer->out, stream_id, 0x7fffffff);
}

/* CVE-2025-8671: the client's errors make the server reset streams. */
static void test_provoked_resets(void **state)
{
    (void)state;
    check_flood(flood_malformed, NGHTTP2_ENHANCE_YOUR_CALM);
    check_flood(flood_overflow, NGHTTP2_ENHANCE_YOUR_CALM);
    check_allowed(flood_malformed, 900);
    check_allowed(flood_overflow, 900);
}

/* The budget recovers over time. */
static void test_provoked_resets_over_time(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < 300; j++) {
            flood_malformed(peer, 2 * (300 * i + j) + 1);
            peer_pump(peer);
        }
        assert_int_equal(peer->goaway_count, 0);
        peer_wait(peer, 10 * 1000000);
    }
    peer_free(peer);
}

/* --- Useless frames --- */

static void flood_ping(struct peer *peer, int32_t stream_id)
{
    (void)stream_id;
    frame_add(&peer->out, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void flood_settings(struct peer *peer, int32_t stream_id)
{
    (void)stream_id;
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, (uint32_t)stream_id);
}

static void flood_priority(struct peer *peer, int32_t stream_id)
{
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, stream_id, "\0\0\0\0\1", 5);
}

static void flood_empty_data(struct peer *peer, int32_t stream_id)
{
    if (stream_id == 3)
        frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, NULL, 0);
}

static void flood_unknown(struct peer *peer, int32_t stream_id)
{
    frame_add(&peer->out, 0xbb, 0xff, stream_id, "what", 4);
}

static void flood_window_update(struct peer *peer, int32_t stream_id)
{
    (void)stream_id;
    frame_add_window(&peer->out, 0, 1);
}

/* CVE-2019-9512, -9515, -9513, -9518 and -9511, and frames of an unknown type. */
static void test_useless_frames(void **state)
{
    static void (*const floods[])(struct peer *, int32_t) = {
        flood_ping, flood_settings, flood_priority, flood_unknown, flood_window_update};

    (void)state;
    for (size_t i = 0; i < COUNT(floods); i++) {
        check_flood(floods[i], NGHTTP2_ENHANCE_YOUR_CALM);
        check_allowed(floods[i], BURST - 100);
    }
}

static void test_empty_data(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    flood(peer, flood_empty_data, FLOOD, 100);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    peer_free(peer);
}

/* A whole burst of frames that need a reply may come in one piece. */
static void test_burst_in_one_piece(void **state)
{
    static void (*const asking[])(struct peer *, int32_t) = {flood_ping, flood_settings};

    (void)state;
    for (size_t i = 0; i < COUNT(asking); i++) {
        struct peer *peer = peer_open(&peer_options, peer_whole);

        flood(peer, asking[i], BURST - 100, BURST);
        assert_int_equal(peer->goaway_count, 0);
        peer_free(peer);
    }
}

/* --- Many frames that are no flood --- */

static void flood_get_with_window_updates(struct peer *peer, int32_t stream_id)
{
    frame_add_get(&peer->out, stream_id, "/");
    frame_add_window(&peer->out, 0, 100);
}

/* A busy client that sends WINDOW_UPDATE after every response. */
static void test_busy_client(void **state)
{
    (void)state;
    check_allowed(flood_get_with_window_updates, FLOOD);
}

static void flood_byte(struct peer *peer, int32_t stream_id)
{
    if (stream_id == 3)
        frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add(&peer->out, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\3x\0\0\0", 5);
}

/* One byte and padding in every frame: slow, but progress. */
static void test_content_byte_by_byte(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    flood(peer, flood_byte, FLOOD, 100);
    assert_int_equal(peer->goaway_count, 0);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, NULL, 0);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->status, 200);
    peer_free(peer);
}

/* The same at full speed: more such frames in one piece than the burst allows. */
static void test_content_byte_by_byte_at_once(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    for (int i = 0; i < 5 * FLOOD; i++)
        frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "x", 1);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, NULL, 0);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 0);
    assert_int_equal(peer_response(peer, 1)->status, 200);
    peer_free(peer);
}

/* --- Header blocks that are ignored --- */

/* A header block whose first field is malformed has the same limits as any other. */
static void check_malformed_block(size_t piece, int pieces)
{
    static const char zeros[16384];
    struct peer *peer = peer_open(&peer_options, peer_whole);
    struct bytes block = {0};

    for (size_t i = 0; i < COUNT(malformed); i++)
        block_add(&block, &malformed[i]);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, block.data, block.length);
    bytes_free(&block);
    for (int i = 0; i < pieces; i++)
        frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 1, zeros, piece);
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    peer_free(peer);
}

static void test_malformed_block_is_bounded(void **state)
{
    (void)state;
    check_malformed_block(0, 1025);
    check_malformed_block(16384, 17);
}

/* --- Floods in one piece --- */

/* The flood has come in one piece, before any reply could be sent: the connection ends with a
 * reason. */
static void check_ended_by_flood(struct peer *peer)
{
    peer_pump(peer);
    check_flood_reported(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    peer_free(peer);
}

static void test_flood_of_pings(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int i = 0; i < 20000; i++)
        frame_add(&peer->out, NGHTTP2_PING, 0, 0, "12345678", 8);
    check_ended_by_flood(peer);
}

static void test_flood_of_settings(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int i = 0; i < 20000; i++)
        frame_add(&peer->out, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    check_ended_by_flood(peer);
}

static void test_flood_of_continuations(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, "\x82", 1);
    for (int i = 0; i < 20000; i++)
        frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
    check_ended_by_flood(peer);
}

/* A header block of 16 MiB, and one of few bytes that decode to 57 MiB, end the connection: they
 * are too large for a response 431. */
static void test_header_block_much_too_large(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);
    struct bytes block = {0};
    char value[4000];
    struct field field = {"a", 1, value, sizeof(value)};

    (void)state;
    memset(value, 'v', sizeof(value));
    for (int i = 0; i < 4000; i++)
        block_add(&block, &field);
    frame_add_block(&peer->out, 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    check_ended_by_flood(peer);
}

static void test_header_bomb(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);
    struct bytes block = {0};
    uint8_t value[4000];

    (void)state;
    memset(value, 'v', sizeof(value));
    /* a literal with indexing, whose value has 127 + 0x21 + 128 * 0x1e bytes, then references to it
     */
    bytes_add(&block, "\x40\x01x\x7f\xa1\x1e", 6);
    bytes_add(&block, value, 127 + 0x21 + 128 * 0x1e);
    bytes_fill(&block, 0xbe, 14000);
    frame_add_block(&peer->out, 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    check_ended_by_flood(peer);
}

/* A string literal longer than nghttp2 accepts is a compression error. */
static void test_string_much_too_long(void **state)
{
    static char value[100000];
    struct field fields[] = {REQUEST_OF("GET", "/"), {"x", 1, value, sizeof(value)}};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    memset(value, 'v', sizeof(value));
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_COMPRESSION_ERROR);
    peer_free(peer);
}

/* CVE-2023-44487 in one piece; which limit is exceeded first does not matter. */
static void test_rapid_reset_at_once(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int32_t i = 0; i < 5000; i++) {
        frame_add_get(&peer->out, 2 * i + 1, "/");
        frame_add_reset(&peer->out, 2 * i + 1, NGHTTP2_CANCEL);
    }
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 1);
    assert_int_not_equal(peer->goaways[0].code, NGHTTP2_NO_ERROR);
    assert_true(session_done(peer->session) && session_failed(peer->session));
    peer_free(peer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rapid_reset),
        cmocka_unit_test(test_provoked_resets),
        cmocka_unit_test(test_provoked_resets_over_time),
        cmocka_unit_test(test_useless_frames),
        cmocka_unit_test(test_empty_data),
        cmocka_unit_test(test_burst_in_one_piece),
        cmocka_unit_test(test_busy_client),
        cmocka_unit_test(test_content_byte_by_byte),
        cmocka_unit_test(test_content_byte_by_byte_at_once),
        cmocka_unit_test(test_malformed_block_is_bounded),
        cmocka_unit_test(test_flood_of_pings),
        cmocka_unit_test(test_flood_of_settings),
        cmocka_unit_test(test_flood_of_continuations),
        cmocka_unit_test(test_header_block_much_too_large),
        cmocka_unit_test(test_header_bomb),
        cmocka_unit_test(test_string_much_too_long),
        cmocka_unit_test(test_rapid_reset_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
