/*
 * What concerns the connection: its errors, its floods, its drain and its timeouts, the instants
 * being invented.
 */
#include "session/peer.h"

#include <stdio.h>
#include <string.h>

static const struct field post[] = {REQUEST_OF("POST", "/")};
static const char post_body[] = "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                                "\":authority\": \"h\"}";

static void check_post(const struct peer *peer, int32_t stream_id)
{
    peer_check_answer(peer, stream_id, post_body, sizeof(post_body) - 1);
}

/* POST whose content is still to come. */
static void add_open_post(struct peer *peer, int32_t stream_id)
{
    frame_add_request(&peer->out, stream_id, 0, post, COUNT(post));
}

static void add_end(struct peer *peer, int32_t stream_id)
{
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, stream_id, "end", 3);
}

/* --- Errors --- */

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

/* Up to two frames that a connection must not live on after. Stream 1 may be open, 5 is idle. */
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

static void try_error(size_t row, bool stream_open, struct peer_way way)
{
    struct peer *peer = peer_open(&peer_options, way);
    uint8_t buffer[64];

    if (stream_open)
        add_open_post(peer, 1);
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
    static const struct peer_way bytes = {FEED_BYTES, 1};

    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++) {
        try_error(i, false, peer_plain);
        try_error(i, false, bytes);
    }
}

/* RFC 9113 section 5.4.1: the connection is closed, whatever streams are open. */
static void test_errors_with_a_stream_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++)
        try_error(i, true, peer_plain);
}

static void test_not_a_preface(void **state)
{
    static const char *const wrong[] = {"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
                                        "\x16\x03\x01"};

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct peer *peer = peer_new(&peer_options, peer_plain);

        bytes_add(&peer->out, wrong[i], strlen(wrong[i]));
        peer_pump(peer);
        peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
        peer_free(peer);
    }
}

static void test_first_frame_is_not_settings(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_plain);

    (void)state;
    bytes_add(&peer->out, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add_get(&peer->out, 1, "/");
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(peer_response(peer, 1)->status, 0);
    peer_free(peer);
}

/* The length alone says that the frame is too long: 16,385 bytes. */
static void test_frame_too_long(void **state)
{
    static const uint8_t header[WIRE_FRAME_HEADER_SIZE] = {0, 0x40, 1, NGHTTP2_DATA, 0, 0, 0, 0, 1};
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    bytes_add(&peer->out, header, sizeof(header));
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_FRAME_SIZE_ERROR);
    peer_free(peer);
}

/* The ids of a client's streams go up (RFC 9113 section 5.1.1). */
static void test_stream_id_goes_back(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

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

/* But trailers may still be under way to a stream that was reset, however many came after it. */
static void test_trailers_behind_a_reset(void **state)
{
    static const struct field connect[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h")};
    static const struct field sum = FIELD("sum", "1");
    struct peer *peer = peer_open(&peer_options, peer_plain);

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

/* And however many were reset with it. */
static void test_trailers_behind_many_resets(void **state)
{
    static const struct field connect[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h")};
    static const struct field sum = FIELD("sum", "1");
    struct peer *peer = peer_open(&peer_options, peer_plain);

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

/* As to one that was refused, for it came before the client knew how many it may have. */
static void test_trailers_behind_a_refusal(void **state)
{
    static const struct field sum = FIELD("sum", "1");
    struct session_options few = peer_options;
    struct peer *peer;

    (void)state;
    few.max_concurrent_streams = 2;
    peer = peer_new(&few, peer_plain);
    frame_add_preface(&peer->out);
    for (int32_t id = 1; id < 200; id += 2)
        add_open_post(peer, id);
    for (int32_t id = 1; id < 200; id += 2)
        frame_add_request(&peer->out, id, END_STREAM, &sum, 1);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 0);
    check_post(peer, 1);
    check_post(peer, 3);
    peer_check_reset(peer, 5, NGHTTP2_REFUSED_STREAM);
    frame_add_request(&peer->out, 7, END_STREAM, &sum, 1);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 0);
    peer_free(peer);
}

/* Errors of a stream end that stream: its window overflows, or gets DATA after its end. */
static void test_stream_errors(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    frame_add_window(&peer->out, 1, 0x7fffffff);
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    peer_check_reset(peer, 1, NGHTTP2_FLOW_CONTROL_ERROR);
    peer_check_get(peer, 3, "/after");
    assert_int_equal(peer->goaway_count, 0);
    assert_false(session_done(peer->session) || session_failed(peer->session));
    peer_free(peer);
}

/* A client may reset the stream whose window it has just made too large, and open another: the
 * RST_STREAM that says what was wrong is sent, and the stream counts no more. However it is cut,
 * the same comes of it. */
static void try_overflow_at_the_limit(struct peer_way way, int32_t overflowing)
{
    enum { LAST = 2 * 128 - 1 };
    struct peer *peer = peer_open(&peer_options, way);

    for (int32_t id = 1; id <= LAST; id += 2)
        add_open_post(peer, id);
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
    static const struct peer_way bytes = {FEED_BYTES, 1};
    static const struct peer_way splits = {FEED_SPLITS, FRAME_PAYLOAD_MAX};

    (void)state;
    for (int32_t overflowing = 1; overflowing <= 3; overflowing++) {
        try_overflow_at_the_limit(peer_plain, overflowing);
        try_overflow_at_the_limit(bytes, overflowing);
        try_overflow_at_the_limit(splits, overflowing);
    }
}

/* What comes behind the WINDOW_UPDATE is not taken before the RST_STREAM is sent. */
static void test_overflow_stops_the_reading(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);
    size_t length;

    (void)state;
    add_open_post(peer, 1);
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

/* A client that knows the limit and breaks it: nghttp2 ends the connection. */
static void test_one_stream_too_many(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    for (int32_t i = 0; i <= 128; i++)
        add_open_post(peer, 2 * i + 1);
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    peer_free(peer);
}

/* One that cannot know it yet: the stream is refused, and may be asked for again. */
static void test_one_stream_too_many_before_the_ack(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_plain);

    (void)state;
    frame_add_preface(&peer->out);
    for (int32_t i = 0; i <= 128; i++)
        add_open_post(peer, 2 * i + 1);
    peer_pump(peer);
    peer_check_reset(peer, 257, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(peer->goaway_count, 0);
    add_end(peer, 1);
    peer_pump(peer);
    check_post(peer, 1);
    add_open_post(peer, 259);
    add_end(peer, 259);
    peer_pump(peer);
    check_post(peer, 259);
    peer_free(peer);
}

static void test_fail(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    peer_pump(peer);
    session_fail(peer->session, SESSION_ENHANCE_YOUR_CALM, "a reason");
    assert_false(session_done(peer->session)); /* GOAWAY is still to be sent */
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_string_equal(peer->goaways[0].debug, "a reason");
    assert_int_equal(peer->goaways[0].last_stream_id, 1);
    add_end(peer, 1);
    session_receive(peer->session, peer->now, peer->out.data, peer->out.length);
    peer_wait(peer, 1000 * SECOND); /* nothing follows any more */
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(peer_response(peer, 1)->status, 0);
    assert_int_equal(peer->report_count, 0);
    peer_free(peer);
}

/* It is done when the last byte of the GOAWAY is taken, not before. */
static void test_done_at_the_last_byte(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);
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

static void test_fail_before_the_preface(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_plain);

    (void)state;
    session_fail(peer->session, SESSION_PROTOCOL_ERROR, "not HTTP/2");
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(peer->settings_count, 1);
    peer_free(peer);
}

/* --- What is answered, and what is passed over --- */

static void test_ping(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    frame_add(&peer->out, NGHTTP2_PING, 0, 0, "abcdefgh", 8);
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "ijklmnop", 8);
    peer_pump(peer);
    assert_int_equal(peer->ping_ack_count, 1);
    assert_memory_equal(peer->ping_ack, "abcdefgh", 8);
    assert_int_equal(peer->ping_count, 0);
    assert_false(session_done(peer->session));
    peer_free(peer);
}

static void test_settings(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, i);
    peer_pump(peer);
    assert_int_equal(peer->settings_ack_count, 11);
    assert_int_equal(peer->settings_count, 1);
    peer_free(peer);
}

static void test_goaway_by_client(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    frame_add(&peer->out, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    peer_pump(peer);
    assert_false(session_done(peer->session));
    add_end(peer, 1);
    peer_pump(peer);
    check_post(peer, 1);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    peer_free(peer);
}

/* A client that leaves because of an error says why, and the log gets it, escaped. */
static void test_goaway_with_an_error_by_client(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);
    const struct peer_report *report;

    (void)state;
    frame_add(&peer->out, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\x0bwhy\n", 12);
    peer_pump(peer);
    report = peer_reported(peer, 0, "ENHANCE_YOUR_CALM");
    assert_non_null(report);
    assert_non_null(strstr(report->text, "why\\x0a"));
    assert_null(strchr(report->text, '\n'));
    assert_true(session_done(peer->session));
    peer_free(peer);
}

/* How peers part in peace is told where somebody asks for it, and costs nothing where nobody does.
 */
static void test_goaway_without_an_error(void **state)
{
    const struct peer_report *report;
    struct peer *peer;

    (void)state;
    for (int level = LOG_LEVEL_INFO; level <= LOG_LEVEL_DEBUG; level++) {
        log_set_level((enum log_level)level);
        peer = peer_open(&peer_options, peer_plain);
        frame_add(&peer->out, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0bye", 11);
        session_shutdown(peer->session, peer->now);
        peer_pump(peer);
        log_set_level(LOG_LEVEL_INFO);
        assert_int_equal(peer->report_count, level == LOG_LEVEL_DEBUG ? 3 : 0);
        for (size_t i = 0; i < peer->report_count; i++)
            assert_int_equal(peer->reports[i].level, LOG_LEVEL_DEBUG);
        report = peer_reported(peer, 0, "the peer sent GOAWAY NO_ERROR \"bye\"");
        assert_int_equal(report != NULL, level == LOG_LEVEL_DEBUG);
        report = peer_reported(peer, 0, "GOAWAY NO_ERROR \"\" sent, last stream 2147483647");
        assert_int_equal(report != NULL, level == LOG_LEVEL_DEBUG);
        report = peer_reported(peer, 0, "GOAWAY NO_ERROR \"\" sent, last stream 0");
        assert_int_equal(report != NULL, level == LOG_LEVEL_DEBUG);
        peer_free(peer);
    }
}

static void test_send_without_room(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);
    uint8_t none[1];

    (void)state;
    assert_int_equal(session_send(peer->session, peer->now, none, 0), 0);
    frame_add_get(&peer->out, 1, "/");
    peer_pump(peer);
    peer_check_get(peer, 1, "/");
    peer_free(peer);
}

static void ignore_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    (void)level;
    (void)stream_id;
    (void)text;
    (void)argument;
}

/* Nobody who wants to know of requests: they are answered all the same. */
static void test_no_request_observer(void **state)
{
    struct session_observer observer = {.report = ignore_report};
    struct counters counters = {0};
    struct instant now = {0};
    struct bytes bytes = {0};
    uint8_t buffer[1024];
    struct arena arena = {0};
    struct session_memory memory = {&arena, &arena};
    struct session *session = session_new(&peer_options, &observer, &counters, &memory, now);

    (void)state;
    assert_non_null(session);
    frame_add_preface(&bytes);
    frame_add_get(&bytes, 1, "/quiet");
    session_receive(session, now, bytes.data, bytes.length);
    bytes_free(&bytes);
    assert_non_null(
        memmem(buffer, session_send(session, now, buffer, sizeof(buffer)), "/quiet", 6));
    assert_int_equal(counters.requests, 1);
    session_free(session);
}

/* Streams that are open at the end are reported as requests. */
static void test_free_with_streams_open(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    frame_add_get(&peer->out, 3, "/");
    add_open_post(peer, 5);
    frame_add(&peer->out, NGHTTP2_HEADERS, 0, 7, "\x82", 1); /* in the middle of a block */
    peer_pump(peer);
    assert_int_equal(peer->request_count, 1);
    session_free(peer->session);
    peer->session = NULL;
    assert_int_equal(peer->request_count, 4);
    assert_int_equal(peer_closed(peer, 1)->status, 0);
    assert_string_equal(peer_closed(peer, 5)->method, "POST");
    assert_non_null(peer_closed(peer, 7));
    peer_free(peer);
}

static void test_free_nothing(void **state)
{
    (void)state;
    session_free(NULL);
    assert_true(strlen(session_library()) > 0);
}

/* --- Floods --- */

/* A flood that comes in one piece, before its answers could be sent, ends in words. */
static void check_flood(struct peer *peer)
{
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(peer->report_count > 0 && peer->report_count < 50);
    peer_free(peer);
}

static void test_flood_of_pings(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    for (int i = 0; i < 20000; i++)
        frame_add(&peer->out, NGHTTP2_PING, 0, 0, "12345678", 8);
    check_flood(peer);
}

static void test_flood_of_settings(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    for (int i = 0; i < 20000; i++)
        frame_add(&peer->out, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    check_flood(peer);
}

static void test_flood_of_continuations(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, "\x82", 1);
    for (int i = 0; i < 20000; i++)
        frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
    check_flood(peer);
}

/* A block of 16 MiB, or of few bytes that stand for 57 MiB: neither 431 nor patience. */
static void test_header_block_much_too_large(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);
    struct bytes block = {0};
    char value[4000];
    struct field field = {"a", 1, value, sizeof(value)};

    (void)state;
    memset(value, 'v', sizeof(value));
    for (int i = 0; i < 4000; i++)
        block_add(&block, &field);
    frame_add_block(&peer->out, 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    check_flood(peer);
}

static void test_header_bomb(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);
    struct bytes block = {0};
    uint8_t value[4000];

    (void)state;
    memset(value, 'v', sizeof(value));
    /* a literal with indexing, its value's length being 127 + 0x21 + 128 * 0x1e, then references */
    bytes_add(&block, "\x40\x01x\x7f\xa1\x1e", 6);
    bytes_add(&block, value, 127 + 0x21 + 128 * 0x1e);
    bytes_fill(&block, 0xbe, 14000);
    frame_add_block(&peer->out, 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    check_flood(peer);
}

/* A string that is longer than nghttp2 takes: the table is lost, the connection with it. */
static void test_string_much_too_long(void **state)
{
    static char value[100000];
    struct field fields[] = {REQUEST_OF("GET", "/"), {"x", 1, value, sizeof(value)}};
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    memset(value, 'v', sizeof(value));
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_COMPRESSION_ERROR);
    peer_free(peer);
}

/* Streams opened and reset, more than any client needs: an end, in words of nghttp2's choice. */
static void test_rapid_reset(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

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

/* --- Bytes that went wrong on their way --- */

/* Requests of every kind. */
static void add_varied_requests(struct peer *peer)
{
    static const struct field crumbs[] = {REQUEST_OF("HEAD", "/"), FIELD("cookie", "a"),
                                          FIELD("expect", "100-continue"), FIELD("cookie", "b")};
    static const struct field sum = FIELD("sum", "1");
    struct bytes block = {0};

    frame_add_request(&peer->out, 1, END_STREAM, crumbs, COUNT(crumbs));
    frame_add_request(&peer->out, 3, 0, crumbs, COUNT(crumbs));
    frame_add(&peer->out, NGHTTP2_DATA, 0, 3, "some", 4);
    frame_add(&peer->out, NGHTTP2_PING, 0, 0, "12345678", 8);
    frame_add_request(&peer->out, 3, END_STREAM, &sum, 1);
    frame_add_window(&peer->out, 0, 1000);
    for (size_t i = 0; i < COUNT(post); i++)
        block_add(&block, &post[i]);
    frame_add_block(&peer->out, 5, 0, &block, 10);
    bytes_free(&block);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 20);
    add_end(peer, 5);
    frame_add_reset(&peer->out, 5, NGHTTP2_CANCEL);
    frame_add_get(&peer->out, 7, "/");
}

/* A few bytes changed, anywhere behind the preface: whatever comes of it is well-formed (the other
 * end sees to that), and time ends what does not end by itself. */
static void test_mutations(void **state)
{
    enum { ROUNDS = 1500 };
    uint64_t seed = UINT64_C(88172645463325252);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct peer_way way = {round % 2 ? FEED_SPLITS : FEED_WHOLE, 1000};
        struct peer *peer = peer_open(&peer_options, way);
        size_t begin = peer->out.length;

        add_varied_requests(peer);
        for (int changes = 1 + round % 3; changes > 0; changes--) {
            size_t at = begin + peer_random(&seed) % (peer->out.length - begin);

            peer->out.data[at] = (uint8_t)peer_random(&seed);
        }
        peer_pump(peer);
        session_shutdown(peer->session, peer->now);
        for (int i = 0; i < 20 && !session_done(peer->session); i++)
            peer_wait(peer, 20 * SECOND);
        assert_true(session_done(peer->session));
        assert_true(peer->goaway_count > 0 || !session_failed(peer->session));
        session_free(peer->session);
        peer->session = NULL;
        assert_int_equal(peer->request_count, peer->counters.requests);
        peer_free(peer);
    }
}

/* --- Drain (RFC 9113 section 6.8) --- */

enum { EVERY_STREAM = 0x7fffffff };

/* A peer that has seen the first GOAWAY and the PING, and has not answered the latter. */
static struct peer *draining_peer(void)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    peer->answers_pings = false;
    add_open_post(peer, 1);
    peer_pump(peer);
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 1);
    assert_int_equal(peer->goaways[0].last_stream_id, EVERY_STREAM);
    assert_int_equal(peer->goaways[0].code, NGHTTP2_NO_ERROR);
    assert_int_equal(peer->ping_count, 1);
    assert_false(session_done(peer->session));
    return peer;
}

/* Behind the GOAWAY: a client that answers the PING knows of the drain. */
static void test_drain_ping_follows_goaway(void **state)
{
    struct peer *peer = draining_peer();

    (void)state;
    assert_int_equal(peer->last_frame_type, NGHTTP2_PING);
    peer_free(peer);
}

static void check_final_goaway(const struct peer *peer, int32_t last_stream_id)
{
    assert_int_equal(peer->goaway_count, 2);
    assert_int_equal(peer->goaways[1].last_stream_id, last_stream_id);
    assert_int_equal(peer->goaways[1].code, NGHTTP2_NO_ERROR);
}

/* A new stream before the PING is answered is answered too; one above the last id is not. */
static void test_drain(void **state)
{
    struct peer *peer = draining_peer();

    (void)state;
    frame_add_get(&peer->out, 3, "/in-between");
    add_open_post(peer, 5);
    peer_pump(peer);
    peer_check_get(peer, 3, "/in-between");
    assert_int_equal(peer->goaway_count, 1);
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, peer->ping, 8);
    peer_pump(peer);
    check_final_goaway(peer, 5);
    frame_add_get(&peer->out, 7, "/too-late");
    add_end(peer, 1);
    peer_pump(peer);
    check_post(peer, 1);
    assert_int_equal(peer_response(peer, 7)->status, 0);
    assert_false(session_done(peer->session));
    add_end(peer, 5);
    peer_pump(peer);
    check_post(peer, 5);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    assert_int_equal(peer->goaway_count, 2);
    peer_free(peer);
}

/* Requests in the same segment as the PING's ACK, before and behind it, are under the last id. */
static void test_drain_with_requests_around_the_ack(void **state)
{
    struct peer *peer = draining_peer();

    (void)state;
    frame_add_get(&peer->out, 3, "/before");
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, peer->ping, 8);
    frame_add_get(&peer->out, 5, "/behind");
    add_end(peer, 1);
    peer_pump(peer);
    check_final_goaway(peer, 5);
    peer_check_get(peer, 3, "/before");
    peer_check_get(peer, 5, "/behind");
    check_post(peer, 1);
    assert_true(session_done(peer->session));
    peer_free(peer);
}

static void test_drain_without_ack(void **state)
{
    struct peer *peer = draining_peer();
    int64_t begun = peer->now.monotonic_us;

    (void)state;
    assert_int_equal(session_deadline(peer->session), begun + SECOND);
    peer_wait(peer, SECOND - 1);
    assert_int_equal(peer->goaway_count, 1);
    peer_wait(peer, 1);
    check_final_goaway(peer, 1);
    assert_true(session_deadline(peer->session) > peer->now.monotonic_us);
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, peer->ping, 8); /* late */
    add_end(peer, 1);
    peer_pump(peer);
    check_post(peer, 1);
    check_final_goaway(peer, 1);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    assert_int_equal(peer->counters.timed_out, 0);
    peer_free(peer);
}

/* Another PING's ACK is not the one that is waited for. */
static void test_drain_with_a_wrong_ack(void **state)
{
    struct peer *peer = draining_peer();

    (void)state;
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "\0\0\0\0\0\0\0\0", 8);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 1);
    peer_free(peer);
}

static void test_drain_twice(void **state)
{
    struct peer *peer = draining_peer();

    (void)state;
    session_shutdown(peer->session, peer->now);
    peer_wait(peer, SECOND / 2);
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 1);
    assert_int_equal(peer->ping_count, 1);
    peer_wait(peer, SECOND / 2);
    check_final_goaway(peer, 1);
    peer_free(peer);
}

static void test_drain_of_an_idle_connection(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    peer_pump(peer);
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    check_final_goaway(peer, 0);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    peer_free(peer);
}

/* A client that has not said anything yet does not hold the drain up. */
static void test_drain_before_the_preface(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_plain);

    (void)state;
    peer->answers_pings = false;
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    peer_wait(peer, SECOND);
    check_final_goaway(peer, 0);
    assert_true(session_done(peer->session));
    peer_free(peer);
}

/* Told to stop and out of time at once: the notice, then the GOAWAY that says why. */
static void test_drain_and_timeout_at_once(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    frame_add(&peer->out, NGHTTP2_HEADERS, 0, 1, "\x82", 1);
    peer_pump(peer);
    peer->now.monotonic_us += 10 * SECOND;
    session_shutdown(peer->session, peer->now);
    peer_wait(peer, 0);
    assert_int_equal(peer->goaway_count, 2);
    assert_int_equal(peer->goaways[0].last_stream_id, INT32_MAX);
    assert_int_equal(peer->goaways[1].last_stream_id, 1);
    assert_int_equal(peer->goaways[1].code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(session_done(peer->session));
    peer_free(peer);
}

/* --- Timeouts --- */

/* Time in which the daemon did not read is not the peer's. */
static void test_excused_time(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    frame_add(&peer->out, NGHTTP2_HEADERS, 0, 3, "\x82", 1);
    peer_pump(peer);
    peer->now.monotonic_us += 60 * SECOND;
    session_shift_timers(peer->session, 60 * SECOND);
    assert_int_equal(session_deadline(peer->session), peer->now.monotonic_us + 10 * SECOND);
    peer_wait(peer, 10 * SECOND - 1);
    assert_int_equal(peer->counters.timed_out, 0);
    peer_wait(peer, 1);
    assert_int_equal(peer->counters.timed_out, 1);
    peer_free(peer);
}

/* Wait until just before the session's deadline, which is in ${us}; nothing is to happen yet. */
static void wait_almost(struct peer *peer, int64_t us)
{
    size_t goaways = peer->goaway_count;

    assert_int_equal(session_deadline(peer->session), peer->now.monotonic_us + us);
    peer_wait(peer, us - 1);
    assert_int_equal(peer->goaway_count, goaways);
    assert_int_equal(peer->counters.timed_out, 0);
    assert_false(session_done(peer->session));
}

static void check_timed_out(const struct peer *peer, uint32_t code, enum log_level level,
                            int32_t stream_id, const char *words)
{
    const struct peer_report *report = peer_reported(peer, stream_id, words);

    peer_check_ended(peer, code);
    assert_non_null(report);
    assert_int_equal(report->level, level);
    assert_int_equal(peer->report_count, 1);
    assert_int_equal(peer->counters.timed_out, 1);
    assert_int_equal(session_deadline(peer->session), INSTANT_NEVER);
}

static void test_preface_that_does_not_end(void **state)
{
    static const size_t lengths[] = {0, 1, NGHTTP2_CLIENT_MAGIC_LEN, NGHTTP2_CLIENT_MAGIC_LEN + 8};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct peer *peer = peer_open(&peer_options, peer_plain);

        peer->out.length = lengths[i];
        peer_pump(peer);
        wait_almost(peer, 10 * SECOND);
        peer_wait(peer, 1);
        check_timed_out(peer, NGHTTP2_ENHANCE_YOUR_CALM, LOG_LEVEL_NOTICE, 0, "header-timeout");
        peer_free(peer);
    }
}

/* The block began with its first byte; more of it, or other answers, do not prolong it. */
static void test_header_block_that_does_not_end(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    peer_pump(peer);
    peer_wait(peer, 100 * SECOND);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, "\x82", 1);
    peer_pump(peer);
    peer_wait(peer, 6 * SECOND);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 1, "\x86", 1);
    peer_pump(peer);
    wait_almost(peer, 4 * SECOND);
    peer_wait(peer, 1);
    check_timed_out(peer, NGHTTP2_ENHANCE_YOUR_CALM, LOG_LEVEL_NOTICE, 1, "header-timeout");
    peer_free(peer);
}

static void test_trailers_that_do_not_end(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, NULL, 0);
    peer_pump(peer);
    wait_almost(peer, 10 * SECOND);
    peer_wait(peer, 1);
    check_timed_out(peer, NGHTTP2_ENHANCE_YOUR_CALM, LOG_LEVEL_NOTICE, 1, "header-timeout");
    peer_free(peer);
}

/* No other frame may come inside a block, a refused one among them: it has to end as well. */
static void test_refused_header_block_that_does_not_end(void **state)
{
    static const struct field wrong = FIELD("connection", "x");
    struct peer *peer = peer_open(&peer_options, peer_plain);
    struct bytes block = {0};

    (void)state;
    block_add(&block, &wrong);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, block.data, block.length);
    bytes_free(&block);
    peer_pump(peer);
    peer_check_reset(peer, 1, NGHTTP2_PROTOCOL_ERROR);
    wait_almost(peer, 10 * SECOND);
    peer_wait(peer, 1);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    peer_free(peer);
}

static void test_header_block_in_time(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);
    struct bytes block = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(post); i++)
        block_add(&block, &post[i]);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, block.data, 5);
    peer_pump(peer);
    wait_almost(peer, 10 * SECOND);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, END_HEADERS, 1, block.data + 5, block.length - 5);
    bytes_free(&block);
    peer_pump(peer);
    check_post(peer, 1);
    peer_wait(peer, 250 * SECOND);
    assert_int_equal(peer->goaway_count, 0);
    assert_int_equal(peer->counters.timed_out, 0);
    peer_free(peer);
}

static void test_idle(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    peer_pump(peer);
    wait_almost(peer, 300 * SECOND);
    frame_add_get(&peer->out, 1, "/");
    peer_pump(peer);
    wait_almost(peer, 300 * SECOND);
    frame_add(&peer->out, NGHTTP2_PING, 0, 0, "12345678", 8);
    peer_pump(peer);
    wait_almost(peer, 300 * SECOND);
    peer_wait(peer, 1);
    check_timed_out(peer, NGHTTP2_NO_ERROR, LOG_LEVEL_INFO, 0, "idle-timeout");
    assert_int_equal(peer->goaways[0].last_stream_id, 1);
    peer_free(peer);
}

static void check_stream_timed_out(const struct peer *peer, int32_t stream_id)
{
    const struct peer_request *closed = peer_closed(peer, stream_id);
    const struct peer_report *report = peer_reported(peer, stream_id, "stream-timeout");

    assert_true(peer_response(peer, stream_id)->reset);
    assert_int_equal(peer_response(peer, stream_id)->reset_code, NGHTTP2_CANCEL);
    assert_non_null(report);
    assert_int_equal(report->level, LOG_LEVEL_NOTICE);
    assert_non_null(closed);
    assert_int_equal(closed->reset, SESSION_RESET_BY_SERVER);
    assert_string_equal(closed->reset_code, "CANCEL");
    assert_int_equal(peer->goaway_count, 0);
    assert_false(session_done(peer->session) || session_failed(peer->session));
}

static void test_content_that_does_not_go_on(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    peer_pump(peer);
    wait_almost(peer, 30 * SECOND);
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    peer_pump(peer);
    wait_almost(peer, 30 * SECOND);
    peer_wait(peer, 1);
    check_stream_timed_out(peer, 1);
    assert_int_equal(peer_closed(peer, 1)->status, 0);
    assert_int_equal(peer_closed(peer, 1)->elapsed_us, 60 * SECOND - 1);
    assert_int_equal(peer->counters.timed_out, 1);
    assert_int_equal(peer->counters.resets, 1);
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    peer_check_get(peer, 3, "/after");
    peer_free(peer);
}

static void test_window_that_does_not_open(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    peer->opens_windows = false;
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    frame_add_get(&peer->out, 1, "/");
    peer_pump(peer);
    wait_almost(peer, 30 * SECOND);
    frame_add_window(&peer->out, 1, 1);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->body.length, 1);
    wait_almost(peer, 30 * SECOND);
    peer_wait(peer, 1);
    check_stream_timed_out(peer, 1);
    assert_int_equal(peer_closed(peer, 1)->status, 200);
    assert_int_equal(peer_closed(peer, 1)->sent, 1);
    assert_int_equal(peer->counters.timed_out, 1);
    peer_free(peer);
}

/* Each stream has its own 30 seconds; those of one are not prolonged by another's progress. */
static void test_streams_time_out_each(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    add_open_post(peer, 3);
    peer_pump(peer);
    peer_wait(peer, 10 * SECOND);
    add_open_post(peer, 5);
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    peer_pump(peer);
    wait_almost(peer, 20 * SECOND);
    peer_wait(peer, 1);
    check_stream_timed_out(peer, 3);
    assert_false(peer_response(peer, 1)->reset || peer_response(peer, 5)->reset);
    assert_int_equal(session_deadline(peer->session), peer->now.monotonic_us + 10 * SECOND);
    peer_wait(peer, 10 * SECOND);
    check_stream_timed_out(peer, 1);
    check_stream_timed_out(peer, 5);
    assert_int_equal(peer->counters.timed_out, 3);
    peer_free(peer);
}

/* The last stream's end begins the idle time. */
static void test_idle_after_a_stream(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    peer_pump(peer);
    peer_wait(peer, 30 * SECOND);
    check_stream_timed_out(peer, 1);
    assert_int_equal(session_deadline(peer->session), peer->now.monotonic_us + 300 * SECOND);
    peer_wait(peer, 300 * SECOND - 1);
    assert_int_equal(peer->goaway_count, 0);
    peer_wait(peer, 1);
    peer_check_ended(peer, NGHTTP2_NO_ERROR);
    assert_int_equal(peer->counters.timed_out, 2);
    peer_free(peer);
}

static void test_expire_early(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    add_open_post(peer, 1);
    peer_pump(peer);
    for (int i = 0; i < 1000; i++)
        peer_wait(peer, SECOND / 100);
    assert_int_equal(peer->goaway_count, 0);
    assert_int_equal(peer->report_count, 0);
    add_end(peer, 1);
    peer_pump(peer);
    check_post(peer, 1);
    assert_int_equal(peer_closed(peer, 1)->elapsed_us, 10 * SECOND);
    peer_free(peer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_errors_with_a_stream_open),
        cmocka_unit_test(test_not_a_preface),
        cmocka_unit_test(test_first_frame_is_not_settings),
        cmocka_unit_test(test_frame_too_long),
        cmocka_unit_test(test_stream_id_goes_back),
        cmocka_unit_test(test_trailers_behind_a_reset),
        cmocka_unit_test(test_trailers_behind_many_resets),
        cmocka_unit_test(test_trailers_behind_a_refusal),
        cmocka_unit_test(test_stream_errors),
        cmocka_unit_test(test_overflow_at_the_limit),
        cmocka_unit_test(test_overflow_stops_the_reading),
        cmocka_unit_test(test_one_stream_too_many),
        cmocka_unit_test(test_one_stream_too_many_before_the_ack),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_done_at_the_last_byte),
        cmocka_unit_test(test_fail_before_the_preface),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_goaway_by_client),
        cmocka_unit_test(test_goaway_with_an_error_by_client),
        cmocka_unit_test(test_goaway_without_an_error),
        cmocka_unit_test(test_send_without_room),
        cmocka_unit_test(test_no_request_observer),
        cmocka_unit_test(test_free_with_streams_open),
        cmocka_unit_test(test_free_nothing),
        cmocka_unit_test(test_flood_of_pings),
        cmocka_unit_test(test_flood_of_settings),
        cmocka_unit_test(test_flood_of_continuations),
        cmocka_unit_test(test_header_block_much_too_large),
        cmocka_unit_test(test_header_bomb),
        cmocka_unit_test(test_string_much_too_long),
        cmocka_unit_test(test_rapid_reset),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_drain_ping_follows_goaway),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_with_requests_around_the_ack),
        cmocka_unit_test(test_drain_without_ack),
        cmocka_unit_test(test_drain_with_a_wrong_ack),
        cmocka_unit_test(test_drain_twice),
        cmocka_unit_test(test_drain_of_an_idle_connection),
        cmocka_unit_test(test_drain_before_the_preface),
        cmocka_unit_test(test_drain_and_timeout_at_once),
        cmocka_unit_test(test_excused_time),
        cmocka_unit_test(test_preface_that_does_not_end),
        cmocka_unit_test(test_header_block_that_does_not_end),
        cmocka_unit_test(test_trailers_that_do_not_end),
        cmocka_unit_test(test_refused_header_block_that_does_not_end),
        cmocka_unit_test(test_header_block_in_time),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_content_that_does_not_go_on),
        cmocka_unit_test(test_window_that_does_not_open),
        cmocka_unit_test(test_streams_time_out_each),
        cmocka_unit_test(test_idle_after_a_stream),
        cmocka_unit_test(test_expire_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
