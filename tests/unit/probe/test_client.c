/* The probe's client: its request, valid responses, and the limits of what it keeps. */
#include "unit/probe/scripted_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* --- The request ---------------------------------------------------------------------------- */

/* The fields of a header block as "name: value\n" each. */
static void decode(const uint8_t *block, size_t length, char *text, size_t size)
{
    nghttp2_hd_inflater *inflater;
    nghttp2_nv field;
    int flags = 0;

    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    text[0] = '\0';
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, length, 1);
        assert_true(used >= 0);
        block += used;
        length -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            (void)snprintf(text + strlen(text), size - strlen(text), "%s: %s\n", field.name,
                           field.value);
    }
    nghttp2_hd_inflate_del(inflater);
}

static void test_request(void **state)
{
    static const uint8_t settings[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0};
    static const uint8_t headers[] = {1, 5, 0, 0, 0, 1};
    const size_t before = strlen(PREFACE) + sizeof(settings);
    uint8_t bytes[512];
    char fields[512];
    size_t length = client_send(client, bytes, sizeof(bytes));

    (void)state;
    assert_memory_equal(bytes, PREFACE, strlen(PREFACE));
    assert_memory_equal(bytes + strlen(PREFACE), settings, sizeof(settings));
    assert_int_equal(length - before - 9, bytes[before + 2]);
    assert_memory_equal(bytes + before + 3, headers, sizeof(headers));
    decode(bytes + before + 9, length - before - 9, fields, sizeof(fields));
    assert_string_equal(fields,
                        ":method: GET\n:path: /path\n:scheme: http\n:authority: example:8080\n"
                        "user-agent: h2echod/" H2ECHOD_VERSION " (probe)\n");
    assert_int_equal(client_send(client, bytes, sizeof(bytes)), 0);
}

static void test_request_in_pieces(void **state)
{
    struct client *other = client_new(&usual_request);
    uint8_t whole[512];
    uint8_t byte;
    size_t length = client_send(client, whole, sizeof(whole));

    (void)state;
    assert_non_null(other);
    for (size_t i = 0; i < length; i++) {
        assert_int_equal(client_send(other, &byte, 1), 1);
        assert_int_equal(byte, whole[i]);
    }
    assert_int_equal(client_send(other, &byte, 1), 0);
    client_free(other);
}

static void test_goaway_at_the_end(void **state)
{
    static const uint8_t goaway[] = {0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t bytes[64];

    (void)state;
    script_response();
    play_script(WHOLE);
    client_send_goaway(client);
    assert_int_equal(client_send(client, bytes, sizeof(bytes)), sizeof(goaway));
    assert_memory_equal(bytes, goaway, sizeof(goaway));
    assert_no_failure();
}

/* --- Responses ------------------------------------------------------------------------------ */

static void test_response(void **state)
{
    (void)state;
    script_response();
    play_script(WHOLE);
    assert_whole_response();
}

static void test_response_byte_by_byte(void **state)
{
    (void)state;
    script_response();
    play_script(1);
    assert_whole_response();
}

static void test_unfinished_before_end_stream(void **state)
{
    (void)state;
    assert_false(client_finished(client));
    script_response();
    script.length--;
    play_script(WHOLE);
    assert_false(client_finished(client));
    assert_no_failure();
}

static void test_interim_responses_and_trailers(void **state)
{
    const struct client_response *response = client_response(client);

    (void)state;
    script_settings();
    SCRIPT_HEADERS(0, ":status", "103", "server", "interim", "content-type", "text/plain");
    SCRIPT_HEADERS(0, ":status", "100");
    play_script(WHOLE);
    assert_int_equal(response->status, 0);
    assert_string_equal(response->server, "");
    script.length = 0;
    SCRIPT_HEADERS(0, ":status", "404", "content-type", "a/b");
    script_data(0, "xy");
    SCRIPT_HEADERS(NGHTTP2_FLAG_END_STREAM, "content-type", "c/d", "server", "trailer");
    play_script(WHOLE);
    assert_no_failure();
    assert_true(client_finished(client));
    assert_int_equal(response->status, 404);
    assert_string_equal(response->content_type, "a/b");
    assert_string_equal(response->server, "");
    assert_int_equal(response->body_length, 2);
}

static void test_response_without_content(void **state)
{
    (void)state;
    script_settings();
    SCRIPT_HEADERS(NGHTTP2_FLAG_END_STREAM, ":status", "204");
    play_script(WHOLE);
    assert_no_failure();
    assert_true(client_finished(client));
    assert_int_equal(client_response(client)->body_length, 0);
}

static void test_response_after_goaway(void **state)
{
    static const uint8_t notice[] = {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    static const uint8_t last[] = {0, 0, 0, 1, 0, 0, 0, 0};

    (void)state;
    script_settings();
    script_frame(NGHTTP2_GOAWAY, 0, 0, notice, sizeof(notice));
    script_frame(NGHTTP2_GOAWAY, 0, 0, last, sizeof(last));
    SCRIPT_HEADERS(NGHTTP2_FLAG_END_STREAM, ":status", "200");
    play_script(WHOLE);
    assert_no_failure();
    assert_true(client_finished(client));
}

static void test_settings_of_first_frame_only(void **state)
{
    static const uint8_t more[] = {0, 4, 0, 0, 1, 0};

    (void)state;
    script_settings();
    script_frame(NGHTTP2_SETTINGS, 0, 0, more, sizeof(more));
    play_script(WHOLE);
    assert_int_equal(client_response(client)->setting_count, 2);
    assert_int_equal(client_response(client)->settings[0].id, 3);
}

/* --- Limits --------------------------------------------------------------------------------- */

static void script_many_settings(size_t count)
{
    uint8_t settings[6 * (CLIENT_SETTINGS_MAX + 1)] = {0};

    for (size_t i = 0; i < count; i++) {
        settings[6 * i] = 0xf0;
        settings[6 * i + 1] = (uint8_t)i;
    }
    script_frame(NGHTTP2_SETTINGS, 0, 0, settings, 6 * count);
}

static void test_most_settings(void **state)
{
    (void)state;
    script_many_settings(CLIENT_SETTINGS_MAX);
    play_script(WHOLE);
    assert_no_failure();
    assert_int_equal(client_response(client)->setting_count, CLIENT_SETTINGS_MAX);
    assert_int_equal(client_response(client)->settings[CLIENT_SETTINGS_MAX - 1].id,
                     0xf000 + CLIENT_SETTINGS_MAX - 1);
}

static void test_too_many_settings(void **state)
{
    (void)state;
    script_many_settings(CLIENT_SETTINGS_MAX + 1);
    play_script(WHOLE);
    assert_true(client_response(client)->is_http2);
    assert_failure("ENHANCE_YOUR_CALM");
}

static void script_body(size_t length, bool is_all)
{
    static const char bytes[4096];

    script_settings();
    SCRIPT_HEADERS(0, ":status", "200");
    for (; length > sizeof(bytes); length -= sizeof(bytes))
        script_frame(NGHTTP2_DATA, 0, 1, bytes, sizeof(bytes));
    script_frame(NGHTTP2_DATA, is_all ? NGHTTP2_FLAG_END_STREAM : 0, 1, bytes, length);
}

static void test_longest_body(void **state)
{
    (void)state;
    script_body(CLIENT_BODY_MAX, true);
    play_script(1000);
    assert_no_failure();
    assert_int_equal(client_response(client)->body_length, CLIENT_BODY_MAX);
}

static void test_body_too_long(void **state)
{
    (void)state;
    script_body(CLIENT_BODY_MAX + 1, false);
    play_script(1000);
    assert_failure("the body has more than 65536 bytes");
    assert_int_equal(client_response(client)->body_length, CLIENT_BODY_MAX);
}

static void test_ping_flood(void **state)
{
    (void)state;
    discard_output();
    script_settings();
    for (int i = 0; i < 5000; i++)
        script_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
    client_receive(client, script.bytes, script.length);
    assert_failure("nghttp2: Flooding was detected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_request),
        CLIENT_TEST(test_request_in_pieces),
        CLIENT_TEST(test_goaway_at_the_end),
        CLIENT_TEST(test_response),
        CLIENT_TEST(test_response_byte_by_byte),
        CLIENT_TEST(test_unfinished_before_end_stream),
        CLIENT_TEST(test_interim_responses_and_trailers),
        CLIENT_TEST(test_response_without_content),
        CLIENT_TEST(test_response_after_goaway),
        CLIENT_TEST(test_settings_of_first_frame_only),
        CLIENT_TEST(test_most_settings),
        CLIENT_TEST(test_too_many_settings),
        CLIENT_TEST(test_longest_body),
        CLIENT_TEST(test_body_too_long),
        CLIENT_TEST(test_ping_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
