/*
 * Frames about the connection that are no errors, the observer, and damaged input.
 */
#include "session/peer.h"

#include <stdio.h>
#include <string.h>

static const struct field post[] = {REQUEST_OF("POST", "/")};

static void test_ping(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

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
    struct peer *peer = peer_open(&peer_options, peer_whole);

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
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    frame_add(&peer->out, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    peer_pump(peer);
    assert_false(session_done(peer->session));
    peer_add_end(peer, 1);
    peer_pump(peer);
    peer_check_post(peer, 1);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    peer_free(peer);
}

/* The debug data of a client's GOAWAY is logged, escaped. */
static void test_goaway_with_error_by_client(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);
    const struct peer_report *report;

    (void)state;
    frame_add(&peer->out, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\x0bwhy\n", 12);
    peer_pump(peer);
    report = peer_find_report(peer, 0, "ENHANCE_YOUR_CALM");
    assert_non_null(report);
    assert_non_null(strstr(report->text, "why\\x0a"));
    assert_null(strchr(report->text, '\n'));
    assert_true(session_done(peer->session));
    peer_free(peer);
}

/* GOAWAY without an error is reported at level debug, and not even formatted at level info. */
static void test_goaway_without_error(void **state)
{
    const struct peer_report *report;
    struct peer *peer;

    (void)state;
    for (int level = LOG_LEVEL_INFO; level <= LOG_LEVEL_DEBUG; level++) {
        log_set_level((enum log_level)level);
        peer = peer_open(&peer_options, peer_whole);
        frame_add(&peer->out, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0bye", 11);
        session_shutdown(peer->session, peer->now);
        peer_pump(peer);
        log_set_level(LOG_LEVEL_INFO);
        assert_int_equal(peer->report_count, level == LOG_LEVEL_DEBUG ? 3 : 0);
        for (size_t i = 0; i < peer->report_count; i++)
            assert_int_equal(peer->reports[i].level, LOG_LEVEL_DEBUG);
        report = peer_find_report(peer, 0, "the peer sent GOAWAY NO_ERROR \"bye\"");
        assert_int_equal(report != NULL, level == LOG_LEVEL_DEBUG);
        report = peer_find_report(peer, 0, "GOAWAY NO_ERROR \"\" sent, last stream 2147483647");
        assert_int_equal(report != NULL, level == LOG_LEVEL_DEBUG);
        report = peer_find_report(peer, 0, "GOAWAY NO_ERROR \"\" sent, last stream 0");
        assert_int_equal(report != NULL, level == LOG_LEVEL_DEBUG);
        peer_free(peer);
    }
}

static void test_send_without_buffer(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);
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

/* Requests are answered without a request observer, too. */
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

/* Streams that are open when the session is freed are reported as requests. */
static void test_free_with_open_streams(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_add_post(peer, 1);
    frame_add_get(&peer->out, 3, "/");
    peer_add_post(peer, 5);
    frame_add(&peer->out, NGHTTP2_HEADERS, 0, 7, "\x82", 1); /* the header block is incomplete */
    peer_pump(peer);
    assert_int_equal(peer->request_count, 1);
    session_free(peer->session);
    peer->session = NULL;
    assert_int_equal(peer->request_count, 4);
    assert_int_equal(peer_find_request(peer, 1)->status, 0);
    assert_string_equal(peer_find_request(peer, 5)->method, "POST");
    assert_non_null(peer_find_request(peer, 7));
    peer_free(peer);
}

static void test_free_null(void **state)
{
    (void)state;
    session_free(NULL);
    assert_true(strlen(session_library()) > 0);
}

/* --- Damaged input --- */

/* Requests of many kinds. */
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
    peer_add_end(peer, 5);
    frame_add_reset(&peer->out, 5, NGHTTP2_CANCEL);
    frame_add_get(&peer->out, 7, "/");
}

/* Change a few bytes anywhere after the preface. Whatever the session sends must be well-formed
 * (the peer checks that), and timeouts end what does not end by itself. */
static void test_mutations(void **state)
{
    enum { ROUNDS = 1500 };
    uint64_t seed = UINT64_C(88172645463325252);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct peer_transfer transfer = {round % 2 ? SPLIT_RANDOM : SPLIT_NONE, 1000};
        struct peer *peer = peer_open(&peer_options, transfer);
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_goaway_by_client),
        cmocka_unit_test(test_goaway_with_error_by_client),
        cmocka_unit_test(test_goaway_without_error),
        cmocka_unit_test(test_send_without_buffer),
        cmocka_unit_test(test_no_request_observer),
        cmocka_unit_test(test_free_with_open_streams),
        cmocka_unit_test(test_free_null),
        cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
