/* client: what it asks, what it makes of an answer in whatever pieces, and of what is none. */
#include "probe/client.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { SCRIPT_MAX = 1 << 18, WHOLE = SCRIPT_MAX };

/* --- Allocations that fail ------------------------------------------------------------------ */
/* The client's own come here through the linker's --wrap, those of its session by nghttp2_mem. */

static long allocations_until_failure = -1; /* -1 = none fails */
static bool allocation_failed;

static bool fails_now(void)
{
    if (allocations_until_failure < 0 || allocations_until_failure-- > 0)
        return false;
    allocation_failed = true;
    return true;
}

static void *allocate(size_t size, void *user_data)
{
    (void)user_data;
    return fails_now() ? NULL : malloc(size);
}

static void *resize(void *old, size_t size, void *user_data)
{
    (void)user_data;
    return fails_now() ? NULL : realloc(old, size);
}

static void release(void *memory, void *user_data)
{
    (void)user_data;
    free(memory);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);
int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);
int __wrap_nghttp2_session_client_new(nghttp2_session **session,
                                      const nghttp2_session_callbacks *callbacks, void *user_data);

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

static void *allocate_zeroed(size_t count, size_t size, void *user_data)
{
    (void)user_data;
    return __wrap_calloc(count, size);
}

int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks)
{
    return fails_now() ? NGHTTP2_ERR_NOMEM : __real_nghttp2_session_callbacks_new(callbacks);
}

int __wrap_nghttp2_session_client_new(nghttp2_session **session,
                                      const nghttp2_session_callbacks *callbacks, void *user_data)
{
    nghttp2_mem memory = {NULL, allocate, release, allocate_zeroed, resize};

    return nghttp2_session_client_new3(session, callbacks, user_data, NULL, &memory);
}

/* --- What a server sends -------------------------------------------------------------------- */

static struct script {
    uint8_t bytes[SCRIPT_MAX];
    size_t length;
} script;

static void put(const void *bytes, size_t length)
{
    assert_true(length <= sizeof(script.bytes) - script.length);
    if (length > 0)
        memcpy(script.bytes + script.length, bytes, length);
    script.length += length;
}

static void put_frame(uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                      size_t length)
{
    const uint8_t header[] = {
        (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length, type, flags, 0, 0, 0,
        (uint8_t)stream};

    put(header, sizeof(header));
    put(payload, length);
}

/* Fields as name, value, ..., NULL: literals without indexing and Huffman. */
static void put_headers(uint8_t flags, const char *const fields[])
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
    put_frame(NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, 1, block, used);
}

#define PUT_HEADERS(flags, ...) put_headers(flags, (const char *const[]){__VA_ARGS__, NULL})

static void put_data(uint8_t flags, const char *text)
{
    put_frame(NGHTTP2_DATA, flags, 1, text, strlen(text));
}

static void put_settings(void)
{
    static const uint8_t settings[] = {0, 3, 0, 0, 0, 128, 0xab, 0xcd, 0, 0, 0, 9};

    put_frame(NGHTTP2_SETTINGS, 0, 0, settings, sizeof(settings));
}

static void put_answer(void)
{
    put_settings();
    put_frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    PUT_HEADERS(0, ":status", "200", "server", "some\"one", "content-type", "application/json",
                "content-length", "12", "x", "y");
    put_data(0, "{\"a\": ");
    put_data(NGHTTP2_FLAG_END_STREAM, "\"b\\\"\"}");
}

/* --- The client ----------------------------------------------------------------------------- */

static const struct client_request request = {"http", "example:8080", "/path"};
static struct client *client;

static int begin(void **state)
{
    (void)state;
    script.length = 0;
    client = client_new(&request);
    return client == NULL;
}

static int end(void **state)
{
    (void)state;
    allocations_until_failure = -1;
    client_free(client);
    client = NULL;
    return 0;
}

static void flush(void)
{
    uint8_t buffer[100];

    while (client_send(client, buffer, sizeof(buffer)) > 0)
        ;
}

/* Receive the script in pieces, each into memory of its own, until the client has seen enough. */
static void play(size_t piece)
{
    flush();
    for (size_t at = 0; at < script.length && !client_finished(client); at += piece) {
        size_t length = script.length - at < piece ? script.length - at : piece;
        uint8_t *copy = malloc(length);

        assert_non_null(copy);
        memcpy(copy, script.bytes + at, length);
        client_receive(client, copy, length);
        free(copy);
        flush();
    }
}

static void assert_failure(const char *part)
{
    const struct client_response *answer = client_response(client);

    assert_true(client_finished(client));
    if (strstr(answer->failure, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, answer->failure);
}

static void assert_no_failure(void)
{
    assert_string_equal(client_response(client)->failure, "");
}

/* --- What it asks --------------------------------------------------------------------------- */

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
    struct client *other = client_new(&request);
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

static void test_goodbye(void **state)
{
    static const uint8_t goaway[] = {0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t bytes[64];

    (void)state;
    put_answer();
    play(WHOLE);
    client_send_goaway(client);
    assert_int_equal(client_send(client, bytes, sizeof(bytes)), sizeof(goaway));
    assert_memory_equal(bytes, goaway, sizeof(goaway));
    assert_no_failure();
}

/* --- Answers -------------------------------------------------------------------------------- */

static void assert_whole_answer(void)
{
    const struct client_response *answer = client_response(client);

    assert_no_failure();
    assert_true(client_finished(client));
    assert_true(answer->is_http2);
    assert_int_equal(answer->setting_count, 2);
    assert_int_equal(answer->settings[0].id, 3);
    assert_int_equal(answer->settings[0].value, 128);
    assert_int_equal(answer->settings[1].id, 0xabcd);
    assert_int_equal(answer->settings[1].value, 9);
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->server, "some\\\"one");
    assert_string_equal(answer->content_type, "application/json");
    assert_string_equal(answer->content_length, "12");
    assert_int_equal(answer->body_length, 12);
    assert_memory_equal(answer->body, "{\"a\": \"b\\\"\"}", 12);
}

static void test_answer(void **state)
{
    (void)state;
    put_answer();
    play(WHOLE);
    assert_whole_answer();
}

static void test_answer_byte_by_byte(void **state)
{
    (void)state;
    put_answer();
    play(1);
    assert_whole_answer();
}

static void test_not_over_before_its_end(void **state)
{
    (void)state;
    assert_false(client_finished(client));
    put_answer();
    script.length--;
    play(WHOLE);
    assert_false(client_finished(client));
    assert_no_failure();
}

static void test_interim_responses_and_trailers(void **state)
{
    const struct client_response *answer = client_response(client);

    (void)state;
    put_settings();
    PUT_HEADERS(0, ":status", "103", "server", "interim", "content-type", "text/plain");
    PUT_HEADERS(0, ":status", "100");
    play(WHOLE);
    assert_int_equal(answer->status, 0);
    assert_string_equal(answer->server, "");
    script.length = 0;
    PUT_HEADERS(0, ":status", "404", "content-type", "a/b");
    put_data(0, "xy");
    PUT_HEADERS(NGHTTP2_FLAG_END_STREAM, "content-type", "c/d", "server", "trailer");
    play(WHOLE);
    assert_no_failure();
    assert_true(client_finished(client));
    assert_int_equal(answer->status, 404);
    assert_string_equal(answer->content_type, "a/b");
    assert_string_equal(answer->server, "");
    assert_int_equal(answer->body_length, 2);
}

static void test_answer_without_content(void **state)
{
    (void)state;
    put_settings();
    PUT_HEADERS(NGHTTP2_FLAG_END_STREAM, ":status", "204");
    play(WHOLE);
    assert_no_failure();
    assert_true(client_finished(client));
    assert_int_equal(client_response(client)->body_length, 0);
}

static void test_server_that_goes_still_answers(void **state)
{
    static const uint8_t notice[] = {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    static const uint8_t last[] = {0, 0, 0, 1, 0, 0, 0, 0};

    (void)state;
    put_settings();
    put_frame(NGHTTP2_GOAWAY, 0, 0, notice, sizeof(notice));
    put_frame(NGHTTP2_GOAWAY, 0, 0, last, sizeof(last));
    PUT_HEADERS(NGHTTP2_FLAG_END_STREAM, ":status", "200");
    play(WHOLE);
    assert_no_failure();
    assert_true(client_finished(client));
}

static void test_settings_of_the_first_frame_alone(void **state)
{
    static const uint8_t more[] = {0, 4, 0, 0, 1, 0};

    (void)state;
    put_settings();
    put_frame(NGHTTP2_SETTINGS, 0, 0, more, sizeof(more));
    play(WHOLE);
    assert_int_equal(client_response(client)->setting_count, 2);
    assert_int_equal(client_response(client)->settings[0].id, 3);
}

/* --- Bounds --------------------------------------------------------------------------------- */

static void put_many_settings(size_t count)
{
    uint8_t settings[6 * (CLIENT_SETTINGS_MAX + 1)] = {0};

    for (size_t i = 0; i < count; i++) {
        settings[6 * i] = 0xf0;
        settings[6 * i + 1] = (uint8_t)i;
    }
    put_frame(NGHTTP2_SETTINGS, 0, 0, settings, 6 * count);
}

static void test_as_many_settings_as_there_is_room_for(void **state)
{
    (void)state;
    put_many_settings(CLIENT_SETTINGS_MAX);
    play(WHOLE);
    assert_no_failure();
    assert_int_equal(client_response(client)->setting_count, CLIENT_SETTINGS_MAX);
    assert_int_equal(client_response(client)->settings[CLIENT_SETTINGS_MAX - 1].id,
                     0xf000 + CLIENT_SETTINGS_MAX - 1);
}

static void test_too_many_settings(void **state)
{
    (void)state;
    put_many_settings(CLIENT_SETTINGS_MAX + 1);
    play(WHOLE);
    assert_true(client_response(client)->is_http2);
    assert_failure("ENHANCE_YOUR_CALM");
}

static void put_much_data(size_t length, bool is_all)
{
    static const char bytes[4096];

    put_settings();
    PUT_HEADERS(0, ":status", "200");
    for (; length > sizeof(bytes); length -= sizeof(bytes))
        put_frame(NGHTTP2_DATA, 0, 1, bytes, sizeof(bytes));
    put_frame(NGHTTP2_DATA, is_all ? NGHTTP2_FLAG_END_STREAM : 0, 1, bytes, length);
}

static void test_as_much_body_as_there_is_room_for(void **state)
{
    (void)state;
    put_much_data(CLIENT_BODY_MAX, true);
    play(1000);
    assert_no_failure();
    assert_int_equal(client_response(client)->body_length, CLIENT_BODY_MAX);
}

static void test_too_much_body(void **state)
{
    (void)state;
    put_much_data(CLIENT_BODY_MAX + 1, false);
    play(1000);
    assert_failure("the body has more than 65536 bytes");
    assert_int_equal(client_response(client)->body_length, CLIENT_BODY_MAX);
}

static void test_flood_that_nothing_is_sent_to(void **state)
{
    (void)state;
    flush();
    put_settings();
    for (int i = 0; i < 5000; i++)
        put_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
    client_receive(client, script.bytes, script.length);
    assert_failure("nghttp2: Flooding was detected");
}

/* --- What is wrong -------------------------------------------------------------------------- */

static void test_other_protocols(void **state)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nserver: other\r\n\r\n";

    (void)state;
    put(answer, sizeof(answer) - 1);
    play(WHOLE);
    assert_false(client_response(client)->is_http2);
    assert_string_equal(client_response(client)->first_bytes,
                        "HTTP/1.1 400 Bad Request\\x0d\\x0aserver");
    assert_failure("");
    (void)end(state);
    (void)begin(state);
    put(answer, sizeof(answer) - 1);
    play(5); /* nine are a frame's header, and tell */
    assert_string_equal(client_response(client)->first_bytes, "HTTP/1.1 4");
    assert_failure("");
}

static void test_no_settings_first(void **state)
{
    (void)state;
    put_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
    play(WHOLE);
    assert_failure("PROTOCOL_ERROR");
    assert_false(client_response(client)->is_http2);
}

static void test_goaway(void **state)
{
    static const char refused[] = "\0\0\0\0\0\0\0\0";
    static const char error[] = "\0\0\0\1\0\0\0\13calm \"down\"\n";

    (void)state;
    put_settings();
    put_frame(NGHTTP2_GOAWAY, 0, 0, refused, 8);
    play(WHOLE);
    assert_failure("the server sent GOAWAY NO_ERROR, last stream 0, \"\"");
    (void)end(NULL);
    (void)begin(NULL);
    put_settings();
    put_frame(NGHTTP2_GOAWAY, 0, 0, error, sizeof(error) - 1);
    play(WHOLE);
    assert_failure("the server sent GOAWAY ENHANCE_YOUR_CALM, last stream 1, "
                   "\"calm \\\"down\\\"\\x0a\"");
}

static void test_reset(void **state)
{
    static const uint8_t refused[] = {0, 0, 0, 7};

    (void)state;
    put_settings();
    put_frame(NGHTTP2_RST_STREAM, 0, 1, refused, sizeof(refused));
    put_frame(NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\2", 8); /* the first failure is told */
    play(WHOLE);
    assert_string_equal(client_response(client)->failure,
                        "the server sent RST_STREAM REFUSED_STREAM");
}

static void test_length_that_is_wrong(void **state)
{
    static const char *const lengths[] = {"4", "6"};

    for (size_t i = 0; i < 2; i++) {
        char words[64];

        (void)end(state);
        (void)begin(state);
        put_settings();
        PUT_HEADERS(0, ":status", "200", "content-length", lengths[i]);
        put_data(NGHTTP2_FLAG_END_STREAM, "12345");
        play(WHOLE);
        (void)snprintf(words, sizeof(words), "content-length \"%s\"", lengths[i]);
        assert_failure(words);
        assert_failure("the response is malformed (PROTOCOL_ERROR)");
    }
}

static void test_malformed_answers(void **state)
{
    static const char *const blocks[][5] = {
        {"server", "x", NULL},
        {":status", "20", NULL},
        {":status", "200", ":path", "/", NULL},
        {":status", "200", ":status", "200", NULL},
    };

    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        (void)end(state);
        (void)begin(state);
        put_settings();
        put_headers(NGHTTP2_FLAG_END_STREAM, blocks[i]);
        play(WHOLE);
        assert_failure("the response is malformed (PROTOCOL_ERROR)");
    }
}

/* nghttp2 refuses it; what was pushed must not be taken for the answer. */
static void test_push(void **state)
{
    static const uint8_t promise[] = {0, 0, 0, 2, 0x82, 0x84, 0x86, 1, 1, 'x'};

    (void)state;
    put_settings();
    put_frame(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, promise, sizeof(promise));
    put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 2, "\x8d", 1);
    PUT_HEADERS(NGHTTP2_FLAG_END_STREAM, ":status", "200");
    play(WHOLE);
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
        (void)end(state);
        (void)begin(state);
        put_settings();
        put_frame(frames[i].type, frames[i].flags, frames[i].stream, frames[i].payload,
                  strlen(frames[i].payload));
        play(WHOLE);
        assert_failure("invalid data from the server");
        assert_failure(frames[i].code);
    }
}

/* --- Memory --------------------------------------------------------------------------------- */

/* Return whether an allocation was left to fail. nghttp2 does not always tell: it may just wait. */
static bool run_short_of(long count)
{
    allocation_failed = false;
    allocations_until_failure = count;
    client = client_new(&request);
    if (client != NULL) {
        play(50);
        client_send_goaway(client);
        flush();
    }
    allocations_until_failure = -1;
    assert_true(client != NULL || allocation_failed);
    if (!allocation_failed)
        assert_whole_answer();
    client_free(client);
    client = NULL;
    return allocation_failed;
}

static void test_every_allocation_that_fails(void **state)
{
    long count = 0;

    (void)end(state);
    put_answer();
    while (run_short_of(count))
        count++;
    assert_true(count > 20);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request),
        TEST(test_request_in_pieces),
        TEST(test_goodbye),
        TEST(test_answer),
        TEST(test_answer_byte_by_byte),
        TEST(test_not_over_before_its_end),
        TEST(test_interim_responses_and_trailers),
        TEST(test_answer_without_content),
        TEST(test_server_that_goes_still_answers),
        TEST(test_settings_of_the_first_frame_alone),
        TEST(test_as_many_settings_as_there_is_room_for),
        TEST(test_too_many_settings),
        TEST(test_as_much_body_as_there_is_room_for),
        TEST(test_too_much_body),
        TEST(test_flood_that_nothing_is_sent_to),
        TEST(test_other_protocols),
        TEST(test_no_settings_first),
        TEST(test_goaway),
        TEST(test_reset),
        TEST(test_length_that_is_wrong),
        TEST(test_malformed_answers),
        TEST(test_push),
        TEST(test_connection_errors),
        TEST(test_every_allocation_that_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
