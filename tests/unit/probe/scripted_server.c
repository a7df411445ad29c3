#include "unit/probe/scripted_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

struct script script;

void script_bytes(const void *bytes, size_t length)
{
    assert_true(length <= sizeof(script.bytes) - script.length);
    if (length > 0)
        memcpy(script.bytes + script.length, bytes, length);
    script.length += length;
}

void script_frame(uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t length)
{
    const uint8_t header[] = {
        (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length, type, flags, 0, 0, 0,
        (uint8_t)stream};

    script_bytes(header, sizeof(header));
    script_bytes(payload, length);
}

/* Each is encoded as a literal without indexing, not Huffman-coded (RFC 7541 section 6.2.2). */
void script_headers(uint8_t flags, const char *const fields[])
{
    uint8_t block[1024];
    size_t used = 0;

    for (size_t i = 0; fields[i] != NULL; i++) {
        size_t length = strlen(fields[i]);
        assert_true(length < 127 && used + length + 2 < sizeof(block));
        if (i % 2 == 0)
            block[used++] = 0;
        block[used++] = (uint8_t)length;
        memcpy(block + used, fields[i], length);
        used += length;
    }
    script_frame(NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, 1, block, used);
}

void script_data(uint8_t flags, const char *text)
{
    script_frame(NGHTTP2_DATA, flags, 1, text, strlen(text));
}

void script_settings(void)
{
    static const uint8_t settings[] = {0, 3, 0, 0, 0, 128, 0xab, 0xcd, 0, 0, 0, 9};

    script_frame(NGHTTP2_SETTINGS, 0, 0, settings, sizeof(settings));
}

void script_response(void)
{
    script_settings();
    script_frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    SCRIPT_HEADERS(0, ":status", "200", "server", "some\"one", "content-type", "application/json",
                   "content-length", "12", "x", "y");
    script_data(0, "{\"a\": ");
    script_data(NGHTTP2_FLAG_END_STREAM, "\"b\\\"\"}");
}

const struct client_request usual_request = {"http", "example:8080", "/path"};
struct client *client;

int open_client(void **state)
{
    (void)state;
    script.length = 0;
    client = client_new(&usual_request);
    return client == NULL;
}

int close_client(void **state)
{
    (void)state;
    client_free(client);
    client = NULL;
    return 0;
}

void discard_output(void)
{
    uint8_t buffer[100];

    while (client_send(client, buffer, sizeof(buffer)) > 0)
        ;
}

void play_script(size_t piece)
{
    discard_output();
    for (size_t at = 0; at < script.length && !client_finished(client); at += piece) {
        size_t length = script.length - at < piece ? script.length - at : piece;
        uint8_t *copy = malloc(length); /* so that AddressSanitizer sees its bounds */

        assert_non_null(copy);
        memcpy(copy, script.bytes + at, length);
        client_receive(client, copy, length);
        free(copy);
        discard_output();
    }
}

void assert_failure(const char *part)
{
    const struct client_response *response = client_response(client);

    assert_true(client_finished(client));
    if (strstr(response->failure, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, response->failure);
}

void assert_no_failure(void)
{
    assert_string_equal(client_response(client)->failure, "");
}

void assert_whole_response(void)
{
    const struct client_response *response = client_response(client);

    assert_no_failure();
    assert_true(client_finished(client));
    assert_true(response->is_http2);
    assert_int_equal(response->setting_count, 2);
    assert_int_equal(response->settings[0].id, 3);
    assert_int_equal(response->settings[0].value, 128);
    assert_int_equal(response->settings[1].id, 0xabcd);
    assert_int_equal(response->settings[1].value, 9);
    assert_int_equal(response->status, 200);
    assert_string_equal(response->server, "some\\\"one");
    assert_string_equal(response->content_type, "application/json");
    assert_string_equal(response->content_length, "12");
    assert_int_equal(response->body_length, 12);
    assert_memory_equal(response->body, "{\"a\": \"b\\\"\"}", 12);
}
