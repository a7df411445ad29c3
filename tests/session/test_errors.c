/*
 * What a client may not do: errors of the connection end it with GOAWAY, errors of a stream reset
 * that stream (RFC 9113 section 5.4). The owner of a session may end it as well.
 */
#include "session/peer.h"

struct frame {
    uint8_t type;
    uint8_t flags;
    int32_t stream_id;
    const char *payload;
    size_t length;
};

/* clang-format off */
#define FRAME(type, flags, stream_id, payload) \
    {NGHTTP2_##type, (flags), (stream_id), (payload), sizeof(payload) - 1}
/* clang-format on */

enum { PADDED = NGHTTP2_FLAG_PADDED, ACK = NGHTTP2_FLAG_ACK };

/* Rows of one or two frames, the last of which is an error of the connection. Stream 1 may be open,
 * stream 5 is idle. */
static const struct {
    struct frame frames[2];
    uint32_t code;
} errors[] = {
    /* sizes */
    {{FRAME(PING, 0, 0, "1234567")}, NGHTTP2_FRAME_SIZE_ERROR},
    {{FRAME(SETTINGS, 0, 0, "12345")}, NGHTTP2_FRAME_SIZE_ERROR},
    {{FRAME(SETTINGS, ACK, 0, "\0\3\0\0\0\1")}, NGHTTP2_FRAME_SIZE_ERROR},
    {{FRAME(WINDOW_UPDATE, 0, 0, "\0\0\1")}, NGHTTP2_FRAME_SIZE_ERROR},
    {{FRAME(RST_STREAM, 0, 5, "\0\0\1")}, NGHTTP2_FRAME_SIZE_ERROR},
    {{FRAME(GOAWAY, 0, 0, "\0\0\0\0\0\0\0")}, NGHTTP2_FRAME_SIZE_ERROR},
    /* streams */
    {{FRAME(DATA, 0, 0, "x")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(DATA, 0, 5, "x")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 0, "\x82")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 2, "\x82")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(RST_STREAM, 0, 0, "\0\0\0\0")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(RST_STREAM, 0, 5, "\0\0\0\0")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(WINDOW_UPDATE, 0, 5, "\0\0\0\1")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(PRIORITY, 0, 0, "\0\0\0\1\0")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(PING, 0, 5, "12345678")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(SETTINGS, 0, 5, "")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(GOAWAY, 0, 5, "\0\0\0\0\0\0\0\0")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(PUSH_PROMISE, END_HEADERS, 5, "\0\0\0\2\x82")}, NGHTTP2_PROTOCOL_ERROR},
    /* values */
    {{FRAME(WINDOW_UPDATE, 0, 0, "\0\0\0\0")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff")}, NGHTTP2_FLOW_CONTROL_ERROR},
    {{FRAME(SETTINGS, 0, 0, "\0\2\0\0\0\2")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(SETTINGS, 0, 0, "\0\4\x80\0\0\0")}, NGHTTP2_FLOW_CONTROL_ERROR},
    {{FRAME(SETTINGS, 0, 0, "\0\5\0\0\0\1")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(SETTINGS, 0, 0, "\0\5\x01\0\0\0")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(HEADERS, END_HEADERS | PADDED, 5, "\x02\x82")}, NGHTTP2_PROTOCOL_ERROR},
    /* header blocks */
    {{FRAME(CONTINUATION, END_HEADERS, 5, "\x82")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(HEADERS, 0, 5, "\x82"), FRAME(PING, 0, 0, "12345678")}, NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(HEADERS, 0, 5, "\x82"), FRAME(CONTINUATION, END_HEADERS, 7, "\x84")},
     NGHTTP2_PROTOCOL_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 5, "\x80")}, NGHTTP2_COMPRESSION_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 5, "\xff\xff\xff\xff\xff\xff")}, NGHTTP2_COMPRESSION_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 5, "\xbe")}, NGHTTP2_COMPRESSION_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 5, "\x3f\xff\xff\x7f")}, NGHTTP2_COMPRESSION_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 5, "\x82\x00\x05")}, NGHTTP2_COMPRESSION_ERROR},
    {{FRAME(HEADERS, END_HEADERS, 5, "\x82\x00\x81\xff\x01x")}, NGHTTP2_COMPRESSION_ERROR},
};

static void check_error(size_t row, bool stream_open, struct peer_transfer transfer)
{
    struct peer *peer = peer_open(&peer_options, transfer);
    uint8_t buffer[64];

    if (stream_open)
        peer_add_post(peer, 1);
    for (size_t i = 0; i < COUNT(errors[row].frames); i++) {
        const struct frame *frame = &errors[row].frames[i];

        if (frame->payload)
            frame_add(&peer->out, frame->type, frame->flags, frame->stream_id, frame->payload,
                      frame->length);
    }
    peer_pump(peer);
    if (peer->goaway_count != 1 || peer->goaways[0].code != errors[row].code)
        fail_msg("row %zu: %zu GOAWAY, code %u", row, peer->goaway_count, peer->goaways[0].code);
    if (!session_done(peer->session))
        fail_msg("row %zu: not done%s", row, stream_open ? " with a stream open" : "");
    peer_check_ended(peer, errors[row].code);
    assert_int_equal(peer->report_count, 1);
    assert_int_equal(peer->reports[0].level, LOG_LEVEL_NOTICE);
    if (!strstr(peer->reports[0].text, "RFC 9113 section "))
        fail_msg("row %zu: no rule in %s", row, peer->reports[0].text);
    frame_add_get(&peer->out, 7, "/after");
    session_receive(peer->session, peer->now, peer->out.data, peer->out.length);
    assert_int_equal(session_send(peer->session, peer->now, buffer, sizeof(buffer)), 0);
    peer_free(peer);
}

static void test_errors(void **state)
{
    static const struct peer_transfer bytes = {SPLIT_BYTES, 1};

    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++) {
        check_error(i, false, peer_whole);
        check_error(i, false, bytes);
    }
}

/* The connection is closed even if streams are open (RFC 9113 section 5.4.1). */
static void test_errors_with_open_stream(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++)
        check_error(i, true, peer_whole);
}

static void test_wrong_preface(void **state)
{
    static const char *const wrong[] = {"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
                                        "\x16\x03\x01"};

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct peer *peer = peer_new(&peer_options, peer_whole);

        bytes_add(&peer->out, wrong[i], strlen(wrong[i]));
        peer_pump(peer);
        peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
        peer_free(peer);
    }
}

static void test_first_frame_is_not_settings(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_whole);

    (void)state;
    bytes_add(&peer->out, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add_get(&peer->out, 1, "/");
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(peer_response(peer, 1)->status, 0);
    peer_free(peer);
}

/* The frame header says 16,385 bytes, which is an error before the payload comes. */
static void test_frame_too_long(void **state)
{
    static const uint8_t header[WIRE_FRAME_HEADER_SIZE] = {0, 0x40, 1, NGHTTP2_DATA, 0, 0, 0, 0, 1};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    bytes_add(&peer->out, header, sizeof(header));
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_FRAME_SIZE_ERROR);
    peer_free(peer);
}

/* A client's stream ids must increase (RFC 9113 section 5.1.1). */
static void test_stream_id_decreases(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_get(&peer->out, 5, "/five");
    peer_pump(peer);
    peer_check_get(peer, 5, "/five");
    frame_add_get(&peer->out, 3, "/three");
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(peer_response(peer, 3)->status, 0);
    peer_free(peer);
}

/* A client may have sent trailers before it knew that the server reset the stream. They are
 * ignored, however many streams were opened since. */
static void test_trailers_after_reset(void **state)
{
    static const struct field connect[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h")};
    static const struct field sum = FIELD("sum", "1");
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, 0, connect, COUNT(connect));
    peer_pump(peer);
    assert_true(peer_response(peer, 1)->reset);
    for (int32_t id = 3; id < 1003; id += 2) {
        frame_add_get(&peer->out, id, "/");
        peer_pump(peer);
    }
    frame_add_request(&peer->out, 1, END_STREAM, &sum, 1);
    frame_add_get(&peer->out, 1003, "/after");
    peer_pump(peer);
    peer_check_get(peer, 1003, "/after");
    assert_int_equal(peer->goaway_count, 0);
    peer_free(peer);
}

/* The same, however many other streams were reset. */
static void test_trailers_after_many_resets(void **state)
{
    static const struct field connect[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h")};
    static const struct field sum = FIELD("sum", "1");
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int32_t id = 1; id < 1001; id += 2) {
        frame_add_request(&peer->out, id, 0, connect, COUNT(connect));
        peer_pump(peer);
        assert_true(peer_response(peer, id)->reset);
    }
    for (int32_t id = 1; id < 1001; id += 2)
        frame_add_request(&peer->out, id, END_STREAM, &sum, 1);
    frame_add_get(&peer->out, 1001, "/after");
    peer_pump(peer);
    peer_check_get(peer, 1001, "/after");
    assert_int_equal(peer->goaway_count, 0);
    peer_free(peer);
}

/* The same for streams that were refused because the client did not know the limit yet. */
static void test_trailers_after_refused_stream(void **state)
{
    static const struct field sum = FIELD("sum", "1");
    struct session_options few = peer_options;
    struct peer *peer;

    (void)state;
    few.max_concurrent_streams = 2;
    peer = peer_new(&few, peer_whole);
    frame_add_preface(&peer->out);
    for (int32_t id = 1; id < 200; id += 2)
        peer_add_post(peer, id);
    for (int32_t id = 1; id < 200; id += 2)
        frame_add_request(&peer->out, id, END_STREAM, &sum, 1);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 0);
    peer_check_post(peer, 1);
    peer_check_post(peer, 3);
    peer_check_reset(peer, 5, NGHTTP2_REFUSED_STREAM);
    frame_add_request(&peer->out, 7, END_STREAM, &sum, 1);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 0);
    peer_free(peer);
}

/* A stream's window that becomes too large is an error of that stream. */
static void test_stream_errors(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    frame_add_window(&peer->out, 1, 0x7fffffff);
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    peer_check_reset(peer, 1, NGHTTP2_FLOW_CONTROL_ERROR);
    peer_check_get(peer, 3, "/after");
    assert_int_equal(peer->goaway_count, 0);
    assert_false(session_done(peer->session) || session_failed(peer->session));
    peer_free(peer);
}

/* A client may reset a stream whose window it has just made too large, and open another. Our
 * RST_STREAM, which says what was wrong, is sent first, and the stream no longer counts against the
 * limit; the outcome does not depend on how the input is split. */
static void check_overflow_at_the_limit(struct peer_transfer transfer, int32_t overflowing)
{
    enum { LAST = 2 * 128 - 1 };
    struct peer *peer = peer_open(&peer_options, transfer);

    for (int32_t id = 1; id <= LAST; id += 2)
        peer_add_post(peer, id);
    for (int32_t i = 0; i < overflowing; i++)
        frame_add_window(&peer->out, LAST - 2 * i, 0x7fffffff);
    for (int32_t i = 0; i < overflowing; i++)
        frame_add_reset(&peer->out, LAST - 2 * i, NGHTTP2_CANCEL);
    for (int32_t i = 0; i < overflowing; i++)
        frame_add_get(&peer->out, LAST + 2 * (i + 1), "/after");
    peer_pump(peer);
    for (int32_t i = 0; i < overflowing; i++) {
        peer_check_reset(peer, LAST - 2 * i, NGHTTP2_FLOW_CONTROL_ERROR);
        peer_check_get(peer, LAST + 2 * (i + 1), "/after");
    }
    assert_int_equal(peer->goaway_count, 0);
    assert_false(session_done(peer->session) || session_failed(peer->session));
    peer_free(peer);
}

static void test_overflow_at_the_limit(void **state)
{
    static const struct peer_transfer bytes = {SPLIT_BYTES, 1};
    static const struct peer_transfer splits = {SPLIT_RANDOM, FRAME_PAYLOAD_MAX};

    (void)state;
    for (int32_t overflowing = 1; overflowing <= 3; overflowing++) {
        check_overflow_at_the_limit(peer_whole, overflowing);
        check_overflow_at_the_limit(bytes, overflowing);
        check_overflow_at_the_limit(splits, overflowing);
    }
}

/* session_receive takes nothing after the WINDOW_UPDATE before the RST_STREAM is sent. */
static void test_overflow_stops_session_receive(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);
    size_t length;

    (void)state;
    peer_add_post(peer, 1);
    frame_add_window(&peer->out, 1, 0x7fffffff);
    length = peer->out.length;
    frame_add_reset(&peer->out, 1, NGHTTP2_CANCEL);
    assert_int_equal(session_receive(peer->session, peer->now, peer->out.data, peer->out.length),
                     length);
    peer->out_given = length;
    peer_pump(peer);
    peer_check_reset(peer, 1, NGHTTP2_FLOW_CONTROL_ERROR);
    assert_int_equal(peer->goaway_count, 0);
    peer_free(peer);
}

/* The client has acknowledged SETTINGS_MAX_CONCURRENT_STREAMS and exceeds it: nghttp2 ends the
 * connection. */
static void test_too_many_streams(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int32_t i = 0; i <= 128; i++)
        peer_add_post(peer, 2 * i + 1);
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    peer_free(peer);
}

/* The client has not acknowledged it yet: the stream is refused, and the client may repeat the
 * request. */
static void test_too_many_streams_before_settings_ack(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_whole);

    (void)state;
    frame_add_preface(&peer->out);
    for (int32_t i = 0; i <= 128; i++)
        peer_add_post(peer, 2 * i + 1);
    peer_pump(peer);
    peer_check_reset(peer, 257, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(peer->goaway_count, 0);
    peer_add_end(peer, 1);
    peer_pump(peer);
    peer_check_post(peer, 1);
    peer_add_post(peer, 259);
    peer_add_end(peer, 259);
    peer_pump(peer);
    peer_check_post(peer, 259);
    peer_free(peer);
}

static void test_fail(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    peer_pump(peer);
    session_fail(peer->session, SESSION_ENHANCE_YOUR_CALM, "a reason");
    assert_false(session_done(peer->session)); /* the GOAWAY is not sent yet */
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_string_equal(peer->goaways[0].debug, "a reason");
    assert_int_equal(peer->goaways[0].last_stream_id, 1);
    peer_add_end(peer, 1);
    session_receive(peer->session, peer->now, peer->out.data, peer->out.length);
    peer_wait(peer, 1000 * SECOND); /* nothing more is sent */
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(peer_response(peer, 1)->status, 0);
    assert_int_equal(peer->report_count, 0);
    peer_free(peer);
}

/* The session is not done before the last byte of the GOAWAY is taken. */
static void test_done_after_last_byte(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);
    uint8_t byte = 0;
    size_t taken = 0;

    (void)state;
    peer_pump(peer);
    session_fail(peer->session, SESSION_PROTOCOL_ERROR, "reason");
    while (!session_done(peer->session)) {
        assert_int_equal(session_send(peer->session, peer->now, &byte, 1), 1);
        taken++;
    }
    assert_int_equal(taken, WIRE_FRAME_HEADER_SIZE + 8 + strlen("reason"));
    assert_int_equal(byte, 'n');
    assert_int_equal(session_send(peer->session, peer->now, &byte, 1), 0);
    peer_free(peer);
}

static void test_fail_before_preface(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_whole);

    (void)state;
    session_fail(peer->session, SESSION_PROTOCOL_ERROR, "not HTTP/2");
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(peer->settings_count, 1);
    peer_free(peer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_errors_with_open_stream),
        cmocka_unit_test(test_wrong_preface),
        cmocka_unit_test(test_first_frame_is_not_settings),
        cmocka_unit_test(test_frame_too_long),
        cmocka_unit_test(test_stream_id_decreases),
        cmocka_unit_test(test_trailers_after_reset),
        cmocka_unit_test(test_trailers_after_many_resets),
        cmocka_unit_test(test_trailers_after_refused_stream),
        cmocka_unit_test(test_stream_errors),
        cmocka_unit_test(test_overflow_at_the_limit),
        cmocka_unit_test(test_overflow_stops_session_receive),
        cmocka_unit_test(test_too_many_streams),
        cmocka_unit_test(test_too_many_streams_before_settings_ack),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_done_after_last_byte),
        cmocka_unit_test(test_fail_before_preface),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
