/*
 * Draining a connection (RFC 9113 section 6.8): GOAWAY, PING, and when the PING is acknowledged the
 * final GOAWAY.
 */
#include "session/peer.h"

enum { EVERY_STREAM = 0x7fffffff };

/* Return a peer that has received the first GOAWAY and the PING, and has not acknowledged the PING.
 * Stream 1 is open. */
static struct peer *peer_new_draining(void)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    peer->answers_pings = false;
    peer_add_post(peer, 1);
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

/* The PING comes after the GOAWAY, so that a client that acknowledges it knows of the drain. */
static void test_drain_ping_follows_goaway(void **state)
{
    struct peer *peer = peer_new_draining();

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

/* Streams opened before the PING is acknowledged are answered; a stream above the last stream id is
 * not. */
static void test_drain(void **state)
{
    struct peer *peer = peer_new_draining();

    (void)state;
    frame_add_get(&peer->out, 3, "/in-between");
    peer_add_post(peer, 5);
    peer_pump(peer);
    peer_check_get(peer, 3, "/in-between");
    assert_int_equal(peer->goaway_count, 1);
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, peer->ping, 8);
    peer_pump(peer);
    check_final_goaway(peer, 5);
    frame_add_get(&peer->out, 7, "/too-late");
    peer_add_end(peer, 1);
    peer_pump(peer);
    peer_check_post(peer, 1);
    assert_int_equal(peer_response(peer, 7)->status, 0);
    assert_false(session_done(peer->session));
    peer_add_end(peer, 5);
    peer_pump(peer);
    peer_check_post(peer, 5);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    assert_int_equal(peer->goaway_count, 2);
    peer_free(peer);
}

/* Requests that come together with the acknowledgement, before and after it, are included in the
 * last stream id. */
static void test_drain_with_requests_around_ack(void **state)
{
    struct peer *peer = peer_new_draining();

    (void)state;
    frame_add_get(&peer->out, 3, "/before");
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, peer->ping, 8);
    frame_add_get(&peer->out, 5, "/after-ack");
    peer_add_end(peer, 1);
    peer_pump(peer);
    check_final_goaway(peer, 5);
    peer_check_get(peer, 3, "/before");
    peer_check_get(peer, 5, "/after-ack");
    peer_check_post(peer, 1);
    assert_true(session_done(peer->session));
    peer_free(peer);
}

static void test_drain_without_ack(void **state)
{
    struct peer *peer = peer_new_draining();
    int64_t started = peer->now.monotonic_us;

    (void)state;
    assert_int_equal(session_deadline(peer->session), started + SECOND);
    peer_wait(peer, SECOND - 1);
    assert_int_equal(peer->goaway_count, 1);
    peer_wait(peer, 1);
    check_final_goaway(peer, 1);
    assert_true(session_deadline(peer->session) > peer->now.monotonic_us);
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, peer->ping, 8); /* late */
    peer_add_end(peer, 1);
    peer_pump(peer);
    peer_check_post(peer, 1);
    check_final_goaway(peer, 1);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    assert_int_equal(peer->counters.timed_out, 0);
    peer_free(peer);
}

/* An acknowledgement with other content does not count. */
static void test_drain_with_wrong_ack(void **state)
{
    struct peer *peer = peer_new_draining();

    (void)state;
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "\0\0\0\0\0\0\0\0", 8);
    peer_pump(peer);
    assert_int_equal(peer->goaway_count, 1);
    peer_free(peer);
}

static void test_drain_twice(void **state)
{
    struct peer *peer = peer_new_draining();

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

static void test_drain_of_idle_connection(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    peer_pump(peer);
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    check_final_goaway(peer, 0);
    assert_true(session_done(peer->session));
    assert_false(session_failed(peer->session));
    peer_free(peer);
}

/* A client that has sent nothing yet does not delay the drain. */
static void test_drain_before_preface(void **state)
{
    struct peer *peer = peer_new(&peer_options, peer_whole);

    (void)state;
    peer->answers_pings = false;
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    peer_wait(peer, SECOND);
    check_final_goaway(peer, 0);
    assert_true(session_done(peer->session));
    peer_free(peer);
}

/* The drain starts when a timeout has passed: the first GOAWAY, then the one that says why. */
static void test_drain_and_timeout_at_once(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drain_ping_follows_goaway),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_with_requests_around_ack),
        cmocka_unit_test(test_drain_without_ack),
        cmocka_unit_test(test_drain_with_wrong_ack),
        cmocka_unit_test(test_drain_twice),
        cmocka_unit_test(test_drain_of_idle_connection),
        cmocka_unit_test(test_drain_before_preface),
        cmocka_unit_test(test_drain_and_timeout_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
