/*
 * Timeouts: the session's deadline is as specified, and nothing happens a microsecond before it.
 */
#include "session/peer.h"

#include <string.h>

static const struct field post[] = {REQUEST_OF("POST", "/")};

/* Time in which the daemon did not read does not count. */
static void test_shifted_timers(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
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

/* Check that the session's deadline is in ${us}, and that nothing happens until a microsecond
 * before. */
static void wait_until_just_before(struct peer *peer, int64_t us)
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
    const struct peer_report *report = peer_find_report(peer, stream_id, words);

    peer_check_ended(peer, code);
    assert_non_null(report);
    assert_int_equal(report->level, level);
    assert_int_equal(peer->report_count, 1);
    assert_int_equal(peer->counters.timed_out, 1);
    assert_int_equal(session_deadline(peer->session), INSTANT_NEVER);
}

static void test_incomplete_preface(void **state)
{
    static const size_t lengths[] = {0, 1, NGHTTP2_CLIENT_MAGIC_LEN, NGHTTP2_CLIENT_MAGIC_LEN + 8};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct peer *peer = peer_open(&peer_options, peer_whole);

        peer->out.length = lengths[i];
        peer_pump(peer);
        wait_until_just_before(peer, 10 * SECOND);
        peer_wait(peer, 1);
        check_timed_out(peer, NGHTTP2_ENHANCE_YOUR_CALM, LOG_LEVEL_NOTICE, 0, "header-timeout");
        peer_free(peer);
    }
}

/* The time starts with the block's HEADERS frame; neither CONTINUATION frames nor other responses
 * extend it. */
static void test_incomplete_header_block(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_pump(peer);
    peer_wait(peer, 100 * SECOND);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, "\x82", 1);
    peer_pump(peer);
    peer_wait(peer, 6 * SECOND);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 1, "\x86", 1);
    peer_pump(peer);
    wait_until_just_before(peer, 4 * SECOND);
    peer_wait(peer, 1);
    check_timed_out(peer, NGHTTP2_ENHANCE_YOUR_CALM, LOG_LEVEL_NOTICE, 1, "header-timeout");
    peer_free(peer);
}

static void test_incomplete_trailers(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, NULL, 0);
    peer_pump(peer);
    wait_until_just_before(peer, 10 * SECOND);
    peer_wait(peer, 1);
    check_timed_out(peer, NGHTTP2_ENHANCE_YOUR_CALM, LOG_LEVEL_NOTICE, 1, "header-timeout");
    peer_free(peer);
}

/* The timeout holds for the header block of a refused stream, too. */
static void test_incomplete_refused_header_block(void **state)
{
    static const struct field wrong = FIELD("connection", "x");
    struct peer *peer = peer_open(&peer_options, peer_whole);
    struct bytes block = {0};

    (void)state;
    block_add(&block, &wrong);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, block.data, block.length);
    bytes_free(&block);
    peer_pump(peer);
    peer_check_reset(peer, 1, NGHTTP2_PROTOCOL_ERROR);
    wait_until_just_before(peer, 10 * SECOND);
    peer_wait(peer, 1);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    peer_free(peer);
}

static void test_header_block_in_time(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);
    struct bytes block = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(post); i++)
        block_add(&block, &post[i]);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, block.data, 5);
    peer_pump(peer);
    wait_until_just_before(peer, 10 * SECOND);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, END_HEADERS, 1, block.data + 5, block.length - 5);
    bytes_free(&block);
    peer_pump(peer);
    peer_check_post(peer, 1);
    peer_wait(peer, 250 * SECOND);
    assert_int_equal(peer->goaway_count, 0);
    assert_int_equal(peer->counters.timed_out, 0);
    peer_free(peer);
}

static void test_idle(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_pump(peer);
    wait_until_just_before(peer, 300 * SECOND);
    frame_add_get(&peer->out, 1, "/");
    peer_pump(peer);
    wait_until_just_before(peer, 300 * SECOND);
    frame_add(&peer->out, NGHTTP2_PING, 0, 0, "12345678", 8);
    peer_pump(peer);
    wait_until_just_before(peer, 300 * SECOND);
    peer_wait(peer, 1);
    check_timed_out(peer, NGHTTP2_NO_ERROR, LOG_LEVEL_INFO, 0, "idle-timeout");
    assert_int_equal(peer->goaways[0].last_stream_id, 1);
    peer_free(peer);
}

static void check_stream_timed_out(const struct peer *peer, int32_t stream_id)
{
    const struct peer_request *closed = peer_find_request(peer, stream_id);
    const struct peer_report *report = peer_find_report(peer, stream_id, "stream-timeout");

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

static void test_stalled_content(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    peer_pump(peer);
    wait_until_just_before(peer, 30 * SECOND);
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    peer_pump(peer);
    wait_until_just_before(peer, 30 * SECOND);
    peer_wait(peer, 1);
    check_stream_timed_out(peer, 1);
    assert_int_equal(peer_find_request(peer, 1)->status, 0);
    assert_int_equal(peer_find_request(peer, 1)->elapsed_us, 60 * SECOND - 1);
    assert_int_equal(peer->counters.timed_out, 1);
    assert_int_equal(peer->counters.resets, 1);
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    peer_check_get(peer, 3, "/after");
    peer_free(peer);
}

static void test_exhausted_window(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer->opens_windows = false;
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    frame_add_get(&peer->out, 1, "/");
    peer_pump(peer);
    wait_until_just_before(peer, 30 * SECOND);
    frame_add_window(&peer->out, 1, 1);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->body.length, 1);
    wait_until_just_before(peer, 30 * SECOND);
    peer_wait(peer, 1);
    check_stream_timed_out(peer, 1);
    assert_int_equal(peer_find_request(peer, 1)->status, 200);
    assert_int_equal(peer_find_request(peer, 1)->sent, 1);
    assert_int_equal(peer->counters.timed_out, 1);
    peer_free(peer);
}

/* Each stream has its own timeout; the progress of one stream does not extend another's. */
static void test_streams_time_out_separately(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    peer_add_post(peer, 3);
    peer_pump(peer);
    peer_wait(peer, 10 * SECOND);
    peer_add_post(peer, 5);
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    peer_pump(peer);
    wait_until_just_before(peer, 20 * SECOND);
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

/* The idle time starts with the end of the last stream. */
static void test_idle_after_stream(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
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
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    peer_pump(peer);
    for (int i = 0; i < 1000; i++)
        peer_wait(peer, SECOND / 100);
    assert_int_equal(peer->goaway_count, 0);
    assert_int_equal(peer->report_count, 0);
    peer_add_end(peer, 1);
    peer_pump(peer);
    peer_check_post(peer, 1);
    assert_int_equal(peer_find_request(peer, 1)->elapsed_us, 10 * SECOND);
    peer_free(peer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shifted_timers),
        cmocka_unit_test(test_incomplete_preface),
        cmocka_unit_test(test_incomplete_header_block),
        cmocka_unit_test(test_incomplete_trailers),
        cmocka_unit_test(test_incomplete_refused_header_block),
        cmocka_unit_test(test_header_block_in_time),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_stalled_content),
        cmocka_unit_test(test_exhausted_window),
        cmocka_unit_test(test_streams_time_out_separately),
        cmocka_unit_test(test_idle_after_stream),
        cmocka_unit_test(test_expire_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
