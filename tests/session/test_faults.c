/*
 * Sessions that run out of memory: for every n, the n-th allocation of a script of requests fails.
 * There must be no crash, no leak and no wrong response, and the session either continues or is
 * done.
 */
#include "session/failing_alloc.h"
#include "session/peer.h"

#include <stdlib.h>
#include <string.h>

static const struct session_options options = {
    .max_concurrent_streams = 100,
    .max_header_list_size = 3000,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
};

static void add_first_requests(struct bytes *bytes)
{
    static const struct field crumbs[] = {REQUEST_OF("GET", "/crumbs"), FIELD("cookie", "a"),
                                          FIELD("x", "\xff\"\\"), FIELD("cookie", "b")};
    static const struct field wrong[] = {REQUEST_OF("GET", "/wrong"), FIELD("connection", "x")};
    static const struct field incomplete[] = {FIELD(":method", "GET"), FIELD(":scheme", "http")};
    static const struct field expecting[] = {
        REQUEST_OF("PUT", "/"), FIELD("expect", "100-continue"), FIELD("content-length", "4")};

    frame_add_preface(bytes);
    frame_add_request(bytes, 1, END_STREAM, crumbs, COUNT(crumbs));
    frame_add_request(bytes, 3, END_STREAM, wrong, COUNT(wrong));
    frame_add_request(bytes, 5, END_STREAM, incomplete, COUNT(incomplete));
    frame_add_request(bytes, 7, 0, expecting, COUNT(expecting));
    frame_add(bytes, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void add_more_requests(struct bytes *bytes)
{
    static char value[2500];
    static const struct field head[] = {REQUEST_OF("HEAD", "/head")};
    static const struct field trailers[] = {FIELD("sum", "1")};
    static const struct field connect[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h")};
    struct field large[] = {REQUEST_OF("GET", "/large"),
                            {"x", 1, value, sizeof(value)},
                            {"y", 1, value, sizeof(value)}};

    memset(value, '"', sizeof(value));
    frame_add(bytes, NGHTTP2_DATA, 0, 7, "some", 4);
    frame_add_request(bytes, 7, END_STREAM, trailers, COUNT(trailers));
    frame_add_request(bytes, 9, END_STREAM, head, COUNT(head));
    frame_add_request(bytes, 11, 0, connect, COUNT(connect));
    frame_add_request(bytes, 13, END_STREAM, large, REQUEST_FIELDS + 1); /* a response of 5 KB */
    frame_add_request(bytes, 15, END_STREAM, large, REQUEST_FIELDS + 2); /* 431 */
    frame_add_setting(bytes, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100000);
    for (int32_t id = 17; id < 33; id += 2)
        frame_add_get(bytes, id, "/many");
    frame_add_reset(bytes, 31, NGHTTP2_CANCEL);
    frame_add_request(bytes, 33, 0, head, COUNT(head)); /* it times out during the drain */
}

/* Add an error of the connection. */
static void add_connection_error(struct bytes *bytes)
{
    frame_add(bytes, NGHTTP2_DATA, 0, 0, "lost", 4);
}

/* Add detailed requests with never-indexed fields and trailers, frames that detailed answers show,
 * and plain requests and HEAD in between. */
static void add_detailed_requests(struct bytes *bytes)
{
    static const struct field post[] = {REQUEST_OF("POST", "/"),
                                        FIELD("accept", DETAIL_MEDIA_TYPE)};
    static const struct field head[] = {REQUEST_OF("HEAD", "/"),
                                        FIELD("accept", DETAIL_MEDIA_TYPE)};
    static const struct field secret = FIELD("x", "\xff");
    struct bytes block = {0};
    struct bytes trailers = {0};

    for (size_t i = 0; i < COUNT(post); i++)
        block_add_never_indexed(&block, &post[i]);
    for (size_t i = 0; i < 20; i++)
        block_add_never_indexed(i < 10 ? &block : &trailers, &secret);
    frame_add_preface(bytes);
    for (uint16_t id = 0x1000; id < 0x100a; id++)
        frame_add_setting(bytes, id, id);
    for (int32_t id = 1; id < 7; id += 2) {
        frame_add_block(bytes, id, 0, &block, FRAME_PAYLOAD_MAX);
        frame_add(bytes, 0xaa, 0, id, "unknown", 7);
    }
    for (int32_t id = 1; id < 7; id += 2)
        frame_add_block(bytes, id, END_STREAM, &trailers, 100);
    frame_add_get(bytes, 7, "/plain");
    frame_add_request(bytes, 9, END_STREAM, head, COUNT(head));
    frame_add_block(bytes, 11, END_STREAM, &block, 100);
    bytes_free(&block);
    bytes_free(&trailers);
}

enum {
    STEPS = 3,
    WHOLE = 1 << 20,
    STREAMS = 17,
    DETAILED_STREAMS = 6,
    BODY_MAX = 8192,
    STREAM_RESET_BY_CLIENT = 31
};

enum ending { ENDS_WITH_DRAIN, ENDS_WITH_FAILURE, ENDS_WITH_CONNECTION_ERROR };

/* The outcome of a run. */
struct outcome {
    uint8_t out[1 << 17];
    size_t out_length;
    uint8_t bodies[STREAMS][BODY_MAX];
    size_t body_lengths[STREAMS];
    bool ended[STREAMS]; /* END_STREAM or RST_STREAM */
    bool reported;       /* the log says that memory ran out */
    bool created;        /* session_new succeeded */
    bool done;
    bool failed;
};

static void count_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    struct outcome *outcome = argument;

    (void)level;
    (void)stream_id;
    if (strstr(text, "memory") || strstr(text, "INTERNAL_ERROR")) /* GOAWAY of nghttp2's */
        outcome->reported = true;
}

static void ignore_request(const struct session_request *request, void *argument)
{
    (void)request;
    (void)argument;
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    origin->id = 1;
    origin->protocol = "h2c";
    strcpy(origin->peer, "192.0.2.1:4000");
    strcpy(origin->local, "192.0.2.2:8080");
}

static void take_output(struct session *session, struct instant now, struct outcome *outcome)
{
    enum { ROOM = 1000 };
    size_t length;

    do {
        assert_true(outcome->out_length + ROOM <= sizeof(outcome->out));
        length = session_send(session, now, outcome->out + outcome->out_length, ROOM);
        outcome->out_length += length;
    } while (length > 0);
}

static void deliver(struct session *session, struct instant now, const struct bytes *bytes,
                    size_t piece, struct outcome *outcome)
{
    for (size_t at = 0; at < bytes->length && !session_done(session);) {
        size_t left = bytes->length - at;

        at += session_receive(session, now, bytes->data + at, left < piece ? left : piece);
        take_output(session, now, outcome);
    }
}

/* Wait a second for the drain, then for the timeout of the stream that is left. */
static void run_drain(struct session *session, struct instant now, struct outcome *outcome)
{
    session_shutdown(session, now);
    take_output(session, now, outcome);
    for (int i = 0; i < 2 && !session_done(session); i++) {
        now.monotonic_us += (i == 0 ? 1 : 40) * SECOND;
        session_expire(session, now);
        take_output(session, now, outcome);
    }
}

/* The input of a session in steps, and how many streams have to end. */
struct script {
    struct bytes steps[STEPS];
    size_t streams;
    enum ending ending;
    bool upgraded; /* the first step is for session_upgrade */
};

static void run_script(const struct script *script, size_t piece, struct outcome *outcome)
{
    struct session_observer observer = {.report = count_report,
                                        .request = ignore_request,
                                        .describe = describe,
                                        .argument = outcome};
    struct counters counters = {0};
    struct instant now = {.monotonic_us = SECOND, .unix_s = 784111777};
    struct session_memory from = {&malloc_arena, &malloc_arena};
    struct session_options with = options;
    struct session *session;

    with.upgraded = script->upgraded;
    session = session_new(&with, &observer, &counters, &from, now);
    outcome->created = session != NULL;
    if (!session)
        return;
    take_output(session, now, outcome);
    if (script->upgraded) {
        session_upgrade(session, now, script->steps[0].data, script->steps[0].length);
        take_output(session, now, outcome);
    }
    for (size_t i = script->upgraded; i < STEPS; i++)
        deliver(session, now, &script->steps[i], piece, outcome);
    if (script->ending == ENDS_WITH_DRAIN && !session_done(session)) {
        run_drain(session, now, outcome);
    } else if (script->ending == ENDS_WITH_FAILURE && !session_done(session)) {
        session_fail(session, SESSION_ENHANCE_YOUR_CALM, "the end");
        take_output(session, now, outcome);
    }
    outcome->done = session_done(session);
    outcome->failed = session_failed(session);
    session_free(session);
}

static void read_outcome_frame(struct outcome *outcome, const uint8_t *frame, size_t length)
{
    size_t index = frame[8] / 2;

    assert_true(index < STREAMS);
    if (frame[3] == NGHTTP2_DATA) {
        assert_true(outcome->body_lengths[index] + length <= BODY_MAX);
        memcpy(outcome->bodies[index] + outcome->body_lengths[index],
               frame + WIRE_FRAME_HEADER_SIZE, length);
        outcome->body_lengths[index] += length;
    }
    if ((frame[3] <= NGHTTP2_HEADERS && frame[4] & END_STREAM) || frame[3] == NGHTTP2_RST_STREAM)
        outcome->ended[index] = true;
}

/* Only complete frames count: a session that runs out of memory may stop in the middle of one. */
static void read_outcome(struct outcome *outcome)
{
    size_t at = 0;

    while (outcome->out_length - at >= WIRE_FRAME_HEADER_SIZE) {
        const uint8_t *frame = outcome->out + at;
        size_t length = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];

        if (outcome->out_length - at < WIRE_FRAME_HEADER_SIZE + length)
            break;
        read_outcome_frame(outcome, frame, length);
        at += WIRE_FRAME_HEADER_SIZE + length;
    }
}

/* Fail if a response differs from the expected one, or if one is missing although the session did
 * not fail. */
static void check_run_outcome(const struct outcome *outcome, const struct outcome *expected,
                              size_t streams)
{
    assert_true(outcome->done);
    for (size_t i = 0; i < STREAMS; i++) {
        assert_true(outcome->body_lengths[i] <= expected->body_lengths[i]);
        assert_memory_equal(outcome->bodies[i], expected->bodies[i], outcome->body_lengths[i]);
        if (!outcome->failed && i < streams && i != STREAM_RESET_BY_CLIENT / 2)
            assert_true(outcome->ended[i]);
    }
}

static void check_script_with_failures(const struct script *script, enum failing_mode mode,
                                       size_t piece)
{
    static struct outcome expected;
    static struct outcome outcome;
    size_t live = failing.live;
    size_t n;

    memset(&expected, 0, sizeof(expected));
    run_script(script, piece, &expected);
    read_outcome(&expected);
    assert_int_equal(expected.failed, script->ending != ENDS_WITH_DRAIN);
    check_run_outcome(&expected, &expected, script->streams);

    failing.mode = mode;
    failing.failed = true;
    for (n = 0; failing.failed; n++) {
        memset(&outcome, 0, sizeof(outcome));
        failing.failed = false;
        failing.left = n;
        run_script(script, piece, &outcome);
        failing.left = SIZE_MAX;
        assert_int_equal(failing.live, live);
        if (outcome.created) {
            read_outcome(&outcome);
            check_run_outcome(&outcome, &expected, script->streams);
            assert_true(!outcome.failed || expected.failed || outcome.reported);
        }
    }
    assert_int_equal(outcome.failed, expected.failed);
    assert_true(n > 100);
}

static void script_free(struct script *script)
{
    for (size_t i = 0; i < STEPS; i++)
        bytes_free(&script->steps[i]);
}

static void check_plain_script(enum failing_mode mode, size_t piece, enum ending ending)
{
    struct script script = {.streams = STREAMS, .ending = ending};

    add_first_requests(&script.steps[0]);
    add_more_requests(&script.steps[1]);
    if (ending == ENDS_WITH_CONNECTION_ERROR)
        add_connection_error(&script.steps[2]);
    check_script_with_failures(&script, mode, piece);
    script_free(&script);
}

static void check_detailed_script(enum failing_mode mode, size_t piece)
{
    struct script script = {.streams = DETAILED_STREAMS, .ending = ENDS_WITH_DRAIN};

    add_detailed_requests(&script.steps[0]);
    check_script_with_failures(&script, mode, piece);
    script_free(&script);
}

/* An upgrade by a request for the detailed answer, whose settings allow only a small part of it at
 * first. */
static void check_upgraded_script(enum failing_mode mode)
{
    static const struct field get[] = {REQUEST_OF("GET", "/one"),
                                       FIELD("accept", DETAIL_MEDIA_TYPE)};
    struct script script = {.streams = 2, .ending = ENDS_WITH_DRAIN, .upgraded = true};

    bytes_add(&script.steps[0], NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add_setting(&script.steps[0], NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10);
    frame_add_request(&script.steps[0], 1, END_STREAM, get, COUNT(get));
    frame_add_setting(&script.steps[1], NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10000);
    frame_add_get(&script.steps[1], 3, "/three");
    check_script_with_failures(&script, mode, 100);
    script_free(&script);
}

static void test_one_failure(void **state)
{
    (void)state;
    check_plain_script(FAIL_ONCE, WHOLE, ENDS_WITH_DRAIN);
    check_plain_script(FAIL_ONCE, 100, ENDS_WITH_DRAIN);
    check_plain_script(FAIL_ONCE, WHOLE, ENDS_WITH_FAILURE);
    check_plain_script(FAIL_ONCE, WHOLE, ENDS_WITH_CONNECTION_ERROR);
    check_detailed_script(FAIL_ONCE, WHOLE);
    check_detailed_script(FAIL_ONCE, 100);
    check_upgraded_script(FAIL_ONCE);
}

static void test_no_memory_from_then_on(void **state)
{
    (void)state;
    check_plain_script(FAIL_FROM_THEN_ON, WHOLE, ENDS_WITH_DRAIN);
    check_plain_script(FAIL_FROM_THEN_ON, 100, ENDS_WITH_DRAIN);
    check_plain_script(FAIL_FROM_THEN_ON, WHOLE, ENDS_WITH_FAILURE);
    check_plain_script(FAIL_FROM_THEN_ON, WHOLE, ENDS_WITH_CONNECTION_ERROR);
    check_detailed_script(FAIL_FROM_THEN_ON, WHOLE);
    check_detailed_script(FAIL_FROM_THEN_ON, 100);
    check_upgraded_script(FAIL_FROM_THEN_ON);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_failure),
        cmocka_unit_test(test_no_memory_from_then_on),
    };

    failing_alloc_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
