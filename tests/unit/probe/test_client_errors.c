/* The probe's client: responses that are malformed, servers that break the protocol, other
 * protocols. */
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

static void test_other_protocols(void **state)
{
    static const char response[] = "HTTP/1.1 400 Bad Request\r\nserver: other\r\n\r\n";

    (void)state;
    script_bytes(response, sizeof(response) - 1);
    play_script(WHOLE);
    assert_false(client_response(client)->is_http2);
    assert_string_equal(client_response(client)->first_bytes,
                        "HTTP/1.1 400 Bad Request\\x0d\\x0aserver");
    assert_failure("");
    (void)close_client(state);
    (void)open_client(state);
    script_bytes(response, sizeof(response) - 1);
    play_script(5); /* whether this is a frame is known after nine bytes */
    assert_string_equal(client_response(client)->first_bytes, "HTTP/1.1 4");
    assert_failure("");
}

static void test_first_frame_not_settings(void **state)
{
    (void)state;
    script_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
    play_script(WHOLE);
    assert_failure("PROTOCOL_ERROR");
    assert_false(client_response(client)->is_http2);
}

static void test_goaway(void **state)
{
    static const char refused[] = "\0\0\0\0\0\0\0\0";
    static const char error[] = "\0\0\0\1\0\0\0\13calm \"down\"\n";

    (void)state;
    script_settings();
    script_frame(NGHTTP2_GOAWAY, 0, 0, refused, 8);
    play_script(WHOLE);
    assert_failure("the server sent GOAWAY NO_ERROR, last stream 0, \"\"");
    (void)close_client(NULL);
    (void)open_client(NULL);
    script_settings();
    script_frame(NGHTTP2_GOAWAY, 0, 0, error, sizeof(error) - 1);
    play_script(WHOLE);
    assert_failure("the server sent GOAWAY ENHANCE_YOUR_CALM, last stream 1, "
                   "\"calm \\\"down\\\"\\x0a\"");
}

static void test_reset(void **state)
{
    static const uint8_t refused[] = {0, 0, 0, 7};

    (void)state;
    script_settings();
    script_frame(NGHTTP2_RST_STREAM, 0, 1, refused, sizeof(refused));
    script_frame(NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\2", 8); /* only the first failure is kept */
    play_script(WHOLE);
    assert_string_equal(client_response(client)->failure,
                        "the server sent RST_STREAM REFUSED_STREAM");
}

static void test_wrong_content_length(void **state)
{
    static const char *const lengths[] = {"4", "6"};

    for (size_t i = 0; i < 2; i++) {
        char words[64];

        (void)close_client(state);
        (void)open_client(state);
        script_settings();
        SCRIPT_HEADERS(0, ":status", "200", "content-length", lengths[i]);
        script_data(NGHTTP2_FLAG_END_STREAM, "12345");
        play_script(WHOLE);
        (void)snprintf(words, sizeof(words), "content-length \"%s\"", lengths[i]);
        assert_failure(words);
        assert_failure("the response is malformed (PROTOCOL_ERROR)");
    }
}

static void test_malformed_responses(void **state)
{
    static const char *const blocks[][5] = {
        {"server", "x", NULL},
        {":status", "20", NULL},
        {":status", "200", ":path", "/", NULL},
        {":status", "200", ":status", "200", NULL},
    };

    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        (void)close_client(state);
        (void)open_client(state);
        script_settings();
        script_headers(NGHTTP2_FLAG_END_STREAM, blocks[i]);
        play_script(WHOLE);
        assert_failure("the response is malformed (PROTOCOL_ERROR)");
    }
}

/* nghttp2 rejects the stream; a pushed response must not be taken for the requested one. */
static void test_push_is_refused(void **state)
{
    static const uint8_t promise[] = {0, 0, 0, 2, 0x82, 0x84, 0x86, 1, 1, 'x'};

    (void)state;
    script_settings();
    script_frame(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, promise, sizeof(promise));
    script_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 2, "\x8d", 1);
    SCRIPT_HEADERS(NGHTTP2_FLAG_END_STREAM, ":status", "200");
    play_script(WHOLE);
    assert_no_failure();
    assert_int_equal(client_response(client)->status, 200);
}

static void test_connection_errors(void **state)
{
    static const struct {
        uint8_t type;
        uint8_t flags;
        uint8_t stream;
        const char *payload;
        const char *code;
    } frames[] = {
        {NGHTTP2_DATA, 0, 0, "x", "PROTOCOL_ERROR"},
        {NGHTTP2_DATA, 0, 3, "x", "PROTOCOL_ERROR"},
        {NGHTTP2_SETTINGS, 0, 0, "12345", "FRAME_SIZE_ERROR"},
        {NGHTTP2_PING, 0, 0, "1234567", "FRAME_SIZE_ERROR"},
        {NGHTTP2_HEADERS, 4, 1, "\x80", "COMPRESSION_ERROR"},
        {NGHTTP2_CONTINUATION, 4, 1, "x", "PROTOCOL_ERROR"},
    };

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        (void)close_client(state);
        (void)open_client(state);
        script_settings();
        script_frame(frames[i].type, frames[i].flags, frames[i].stream, frames[i].payload,
                     strlen(frames[i].payload));
        play_script(WHOLE);
        assert_failure("invalid data from the server");
        assert_failure(frames[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_other_protocols),
        CLIENT_TEST(test_first_frame_not_settings),
        CLIENT_TEST(test_goaway),
        CLIENT_TEST(test_reset),
        CLIENT_TEST(test_wrong_content_length),
        CLIENT_TEST(test_malformed_responses),
        CLIENT_TEST(test_push_is_refused),
        CLIENT_TEST(test_connection_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
