/*
 * Sessions that begin with a translated HTTP/1.1 request that asked for the upgrade (RFC 7540
 * section 3.2).
 */
#include "echo/detail.h"
#include "session/peer.h"

#include <stdio.h>
#include <string.h>

static const struct field get[] = {REQUEST_OF("GET", "/one")};

static struct session_options upgraded_options(void)
{
    struct session_options options = peer_options;

    options.upgraded = true;
    return options;
}

/* Return a peer whose session has the upgrade request, preceded by a SETTINGS frame with one entry.
 */
static struct peer *peer_upgrade(struct peer_transfer transfer, uint16_t id, uint32_t value,
                                 const struct field *fields, size_t count)
{
    struct session_options options = upgraded_options();
    struct peer *peer = peer_new(&options, transfer);
    struct bytes opening = {0};

    bytes_add(&opening, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add_setting(&opening, id, value);
    frame_add_request(&opening, 1, END_STREAM, fields, count);
    session_upgrade(peer->session, peer->now, opening.data, opening.length);
    peer->opens_windows = false; /* a client sends no frames before its preface */
    bytes_free(&opening);
    return peer;
}

static struct peer *peer_upgrade_get(struct peer_transfer transfer)
{
    return peer_upgrade(transfer, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100, get, COUNT(get));
}

/* Add the frames of the client's preface; the session's owner removes the 24 bytes before them. */
static void add_client_preface(struct peer *peer)
{
    frame_add(&peer->out, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    frame_add(&peer->out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    peer->opens_windows = true;
}

static const struct peer_transfer transfers[] = {
    {SPLIT_NONE, 16384}, {SPLIT_BYTES, 16384}, {SPLIT_RANDOM, 16384}, {SPLIT_NONE, 1}};

/* The response follows our SETTINGS, and no SETTINGS are acknowledged yet. */
static void test_request_is_answered_before_preface(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(transfers); i++) {
        struct peer *peer = peer_upgrade_get(transfers[i]);

        peer_pump(peer);
        peer_check_get(peer, 1, "/one");
        assert_int_equal(peer->settings_count, 1);
        assert_int_equal(peer->settings_ack_count, 0);
        assert_false(session_done(peer->session));
        peer_free(peer);
    }
}

static void test_connection_continues(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(transfers); i++) {
        struct peer *peer = peer_upgrade_get(transfers[i]);

        add_client_preface(peer);
        frame_add_setting(&peer->out, 0x1337, 1);
        frame_add_get(&peer->out, 3, "/three");
        peer_pump(peer);
        peer_check_get(peer, 1, "/one");
        peer_check_get(peer, 3, "/three");
        assert_int_equal(peer->settings_ack_count, 2);
        assert_int_equal(peer->goaway_count, 0);
        assert_int_equal(peer_find_request(peer, 1)->status, 200);
        assert_string_equal(peer_find_request(peer, 1)->path, "/one");
        peer_free(peer);
    }
}

/* RFC 9113 section 3.4 demands it of every preface. */
static void test_first_frame_is_settings(void **state)
{
    static const struct {
        uint8_t type;
        uint8_t flags;
        int32_t stream_id;
        const char *payload;
        size_t length;
    } table[] = {
        {NGHTTP2_PING, 0, 0, "12345678", 8},
        {NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "", 0},
        {NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4},
        {NGHTTP2_PRIORITY, 0, 3, "\0\0\0\0\1", 5},
        {NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8", 4},
        {NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8},
        {NGHTTP2_HEADERS, END_STREAM | END_HEADERS, 3, "\x82\x84\x86\x01\x01h", 6},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table) * COUNT(transfers); i++) {
        size_t row = i / COUNT(transfers);
        struct peer *peer = peer_upgrade_get(transfers[i % COUNT(transfers)]);

        peer_pump(peer);
        frame_add(&peer->out, table[row].type, table[row].flags, table[row].stream_id,
                  table[row].payload, table[row].length);
        peer_pump(peer);
        peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
        assert_string_equal(peer->goaways[0].debug, "SETTINGS expected");
        peer_free(peer);
    }
}

/* Frames for stream 1 after its end are an error. */
static void test_stream_1_is_closed(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct peer *peer = peer_upgrade_get(peer_whole);

        add_client_preface(peer);
        peer_pump(peer);
        if (i == 0)
            frame_add_get(&peer->out, 1, "/again");
        else
            frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "x", 1);
        peer_pump(peer);
        peer_check_get(peer, 1, "/one");
        peer_check_ended(peer, NGHTTP2_STREAM_CLOSED);
        peer_free(peer);
    }
}

/* --- The request's settings and fields --- */

static void test_settings_of_request_apply(void **state)
{
    enum { WINDOW = 10 };
    struct peer *peer =
        peer_upgrade(peer_whole, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW, get, COUNT(get));

    (void)state;
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->body.length, WINDOW);
    assert_false(peer_response(peer, 1)->ended);
    add_client_preface(peer);
    frame_add_window(&peer->out, 1, 1000);
    peer_pump(peer);
    peer_check_get(peer, 1, "/one");
    peer_free(peer);
}

static void test_wrong_settings(void **state)
{
    struct peer *peer = peer_upgrade(peer_whole, NGHTTP2_SETTINGS_ENABLE_PUSH, 2, get, COUNT(get));

    (void)state;
    peer_pump(peer);
    peer_check_ended(peer, NGHTTP2_PROTOCOL_ERROR);
    peer_free(peer);
}

static void test_fields_over_the_limit(void **state)
{
    static char value[70000];
    struct field large[] = {REQUEST_OF("GET", "/"), {"x", 1, value, 15000}, {"y", 1, value, 15000},
                            {"z", 1, value, 15000}, {"a", 1, value, 15000}, {"b", 1, value, 15000}};
    struct peer *peer;

    (void)state;
    memset(value, 'v', sizeof(value));
    peer =
        peer_upgrade(peer_whole, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1, large, COUNT(large));
    add_client_preface(peer);
    frame_add_get(&peer->out, 3, "/three");
    peer_pump(peer);
    peer_check_refused(peer, 1, 431);
    peer_check_get(peer, 3, "/three");
    peer_free(peer);
}

static void check_body_contains(const struct peer *peer, int32_t stream_id, const char *part)
{
    const struct bytes *body = &peer_response(peer, stream_id)->body;

    if (memmem(body->data, body->length, part, strlen(part)) == NULL)
        fail_msg("%s is not in %.*s", part, (int)body->length, (const char *)body->data);
}

/* In detailed answers, the settings of the request are the client's first, and what comes with the
 * preface still counts as sent before the first request. */
static void test_detailed(void **state)
{
    static const struct field detailed[] = {REQUEST_OF("GET", "/"),
                                            FIELD("accept", DETAIL_MEDIA_TYPE)};
    struct peer *peer = peer_upgrade(peer_whole, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 7,
                                     detailed, COUNT(detailed));

    (void)state;
    peer_pump(peer);
    check_body_contains(peer, 1,
                        "\"settings\": [{\"id\": 3, \"name\": \"MAX_CONCURRENT_STREAMS\", "
                        "\"value\": 7}], \"later_settings\": [], \"window_update\": 0");
    check_body_contains(peer, 1, "\"wire_bytes\": 0, ");
    check_body_contains(peer, 1, "\"request\": 1, ");
    add_client_preface(peer);
    frame_add_window(&peer->out, 0, 1000);
    frame_add_request(&peer->out, 3, END_STREAM, detailed, COUNT(detailed));
    peer_pump(peer);
    check_body_contains(peer, 3, "\"value\": 7}], \"later_settings\": [], \"window_update\": 1000");
    check_body_contains(peer, 3, "\"fingerprint\": \"3:7|1000|0|m,p,s,a\"");
    check_body_contains(peer, 3, "\"request\": 2, ");
    peer_free(peer);
}

/* --- Timeouts and drain --- */

static void test_missing_preface(void **state)
{
    struct peer *peer = peer_upgrade_get(peer_whole);
    int64_t timeout = peer_options.header_timeout_us;

    (void)state;
    peer_pump(peer);
    assert_int_equal(session_deadline(peer->session), peer->now.monotonic_us + timeout);
    peer_wait(peer, timeout - 1);
    assert_false(session_failed(peer->session));
    peer_wait(peer, 1);
    peer_check_get(peer, 1, "/one");
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_non_null(peer_find_report(peer, 0, "header-timeout: the preface does not end"));
    peer_free(peer);
}

static void test_upgrade_drain_before_preface(void **state)
{
    struct peer *peer = peer_upgrade_get(peer_whole);

    (void)state;
    session_shutdown(peer->session, peer->now);
    peer_pump(peer);
    peer_check_get(peer, 1, "/one");
    peer_wait(peer, SECOND);
    assert_int_equal(peer->goaway_count, 2);
    assert_int_equal(peer->goaways[1].last_stream_id, 1);
    assert_true(session_done(peer->session));
    peer_free(peer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_request_is_answered_before_preface, peer_print_transfer),
        cmocka_unit_test_teardown(test_connection_continues, peer_print_transfer),
        cmocka_unit_test_teardown(test_first_frame_is_settings, peer_print_transfer),
        cmocka_unit_test_teardown(test_stream_1_is_closed, peer_print_transfer),
        cmocka_unit_test_teardown(test_settings_of_request_apply, peer_print_transfer),
        cmocka_unit_test_teardown(test_wrong_settings, peer_print_transfer),
        cmocka_unit_test_teardown(test_fields_over_the_limit, peer_print_transfer),
        cmocka_unit_test_teardown(test_detailed, peer_print_transfer),
        cmocka_unit_test_teardown(test_missing_preface, peer_print_transfer),
        cmocka_unit_test_teardown(test_upgrade_drain_before_preface, peer_print_transfer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
