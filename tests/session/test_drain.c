/*
 * The drain (RFC 9113 section 6.8).
 */
#include "session/peer.h"

enum { EVERY_STREAM = 0x7fffffff };

/* A peer that has seen the first GOAWAY and the PING, and has not answered the latter. */
static struct peer *draining_peer(void)
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

/* Requests in the same segment as the PING's ACK, before and behind it, are under the last id. */
static void test_drain_with_requests_around_the_ack(void **state)
{
    struct peer *peer = draining_peer();

    (void)state;
    frame_add_get(&peer->out, 3, "/before");
    frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, peer->ping, 8);
    frame_add_get(&peer->out, 5, "/behind");
    peer_add_end(peer, 1);
    peer_pump(peer);
    check_final_goaway(peer, 5);
    peer_check_get(peer, 3, "/before");
    peer_check_get(peer, 5, "/behind");
    peer_check_post(peer, 1);
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
    peer_add_end(peer, 1);
    peer_pump(peer);
    peer_check_post(peer, 1);
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

/* A client that has not said anything yet does not hold the drain up. */
static void test_drain_before_the_preface(void **state)
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

/* Told to stop and out of time at once: the notice, then the GOAWAY that says why. */
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
        cmocka_unit_test(test_drain_with_requests_around_the_ack),
        cmocka_unit_test(test_drain_without_ack),
        cmocka_unit_test(test_drain_with_a_wrong_ack),
        cmocka_unit_test(test_drain_twice),
        cmocka_unit_test(test_drain_of_an_idle_connection),
        cmocka_unit_test(test_drain_before_the_preface),
        cmocka_unit_test(test_drain_and_timeout_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
