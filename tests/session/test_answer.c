/*
 * Responses to valid requests: fields, methods, content, and the limit on fields. Each script runs
 * with every transfer of peer_transfers, and the responses have to be the same.
 */
#include "session/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct session_options pretty = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 64 * 1024,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
    .pretty = true,
};

#define CHECK_ANSWER(peer, stream_id, body)                                                        \
    peer_check_answer((peer), (stream_id), (body), sizeof(body) - 1)

/* --- Fields --- */

static void run_first_answer(struct peer *peer)
{
    static const struct field fields[] = {
        FIELD(":method", "GET"),
        FIELD(":path", "/"),
        FIELD(":scheme", "http"),
        FIELD(":authority", "localhost:8080"),
        FIELD("user-agent", "curl/7.88.1"),
        FIELD("accept", "*/*"),
    };

    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    CHECK_ANSWER(peer, 1,
                 "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", \":authority\": "
                 "\"localhost:8080\", \"user-agent\": \"curl/7.88.1\", \"accept\": \"*/*\"}");
    assert_int_equal(peer->settings_ack_count, 1);
    assert_int_equal(peer->max_concurrent_streams, 128);
    assert_int_equal(peer->max_header_list_size, 64 * 1024);
    assert_int_equal(peer->report_count, 0);
}

static void run_pretty(struct peer *peer)
{
    frame_add_get(&peer->out, 1, "/p");
    peer_pump(peer);
    CHECK_ANSWER(peer, 1,
                 "{\n  \":method\": \"GET\",\n  \":path\": \"/p\",\n  \":scheme\": \"http\",\n"
                 "  \":authority\": \"h\"\n}\n");
}

static void run_order_and_repetition(struct peer *peer)
{
    static const struct field fields[] = {
        FIELD(":path", "/"),   FIELD(":authority", "h"), FIELD(":method", "GET"),
        FIELD(":scheme", "x"), FIELD("cookie", "a=1"),   FIELD("z", "1"),
        FIELD("cookie", ""),   FIELD("a", ""),           FIELD("cookie", "b=2"),
        FIELD("z", "2, 3"),    FIELD("a", ""),           FIELD("te", "trailers"),
    };

    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    CHECK_ANSWER(peer, 1,
                 "{\":path\": \"/\", \":authority\": \"h\", \":method\": \"GET\", \":scheme\": "
                 "\"x\", \"cookie\": \"a=1; ; b=2\", \"z\": \"1, 2, 3\", \"a\": \", \", \"te\": "
                 "\"trailers\"}");
}

static void run_bytes_of_values(struct peer *peer)
{
    static const struct field fields[] = {
        REQUEST_OF("GET", "/\xc3\xa4\xff"),
        FIELD("utf8", "\xe2\x82\xac"),
        FIELD("latin1", "\xe4"),
        FIELD("mixed", "\xe2\x82\xac\xe4"),
        FIELD("quoted", "a\"b\\c/d"),
        FIELD("tab", "a\tb"),
        FIELD("utf8", "\xa4"),
    };

    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    CHECK_ANSWER(
        peer, 1,
        "{\":method\": \"GET\", \":path\": \"/\xc3\x83\xc2\xa4\xc3\xbf\", \":scheme\": \"http\", "
        "\":authority\": \"h\", \"utf8\": \"\xe2\x82\xac, \xc2\xa4\", \"latin1\": \"\xc3\xa4\", "
        "\"mixed\": \"\xc3\xa2\xc2\x82\xc2\xac\xc3\xa4\", \"quoted\": \"a\\\"b\\\\c/d\", \"tab\": "
        "\"a\\tb\"}");
}

/* Blocks of an HPACK encoder: dynamic table, Huffman code, and a table size that becomes 0. */
static void run_compressed(struct peer *peer)
{
    static const size_t table_sizes[] = {4096, 0, 4096, 100};
    nghttp2_hd_deflater *deflater;

    assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
    for (int32_t i = 0; i < 24; i++) {
        char path[16];
        uint8_t buffer[512];
        nghttp2_nv nva[] = {
            {(uint8_t *)":method", (uint8_t *)"GET", 7, 3, NGHTTP2_NV_FLAG_NONE},
            {(uint8_t *)":path", (uint8_t *)path, 5, 0, NGHTTP2_NV_FLAG_NONE},
            {(uint8_t *)":scheme", (uint8_t *)"http", 7, 4, NGHTTP2_NV_FLAG_NONE},
            {(uint8_t *)":authority", (uint8_t *)"h", 10, 1, NGHTTP2_NV_FLAG_NONE},
        };
        struct bytes block = {.data = buffer};
        ssize_t length;

        if (i % 6 == 5)
            nghttp2_hd_deflate_change_table_size(deflater, table_sizes[i / 6]);
        nva[1].valuelen = (size_t)snprintf(path, sizeof(path), "/%d", (int)i % 5);
        length = nghttp2_hd_deflate_hd(deflater, buffer, sizeof(buffer), nva, COUNT(nva));
        assert_true(length > 0);
        block.length = (size_t)length;
        frame_add_block(&peer->out, 2 * i + 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    }
    nghttp2_hd_deflate_del(deflater);
    peer_pump(peer);
    for (int32_t i = 0; i < 24; i++) {
        char path[16];

        snprintf(path, sizeof(path), "/%d", (int)i % 5);
        peer_check_get(peer, 2 * i + 1, path);
    }
}

/* --- Methods and content --- */

/* The response to HEAD is that to GET without DATA, with the same content-length (RFC 9110
 * section 8.6). */
static void run_head(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("HEAD", "/")};
    const struct peer_response *response;
    const struct peer_response *to_get;

    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    frame_add_get(&peer->out, 3, "/");
    peer_pump(peer);
    peer_check_get(peer, 3, "/");
    response = peer_response(peer, 1);
    to_get = peer_response(peer, 3);
    assert_int_equal(response->status, 200);
    assert_int_equal(response->field_count, 6);
    for (size_t i = 0; i < to_get->field_count; i++)
        assert_string_equal(peer_field(response, to_get->fields[i].name), to_get->fields[i].value);
    assert_true(response->ended && !response->reset);
    assert_int_equal(response->data_frames, 0);
    assert_int_equal(peer_find_request(peer, 1)->sent, 0);
    assert_string_equal(peer_find_request(peer, 1)->method, "HEAD");
}

static void run_methods(struct peer *peer)
{
    static const char *const methods[] = {"GET",     "POST",     "PUT",   "DELETE", "PATCH",
                                          "OPTIONS", "PROPFIND", "TRACE", "get",    "!#$"};

    for (size_t i = 0; i < COUNT(methods); i++) {
        struct field fields[] = {REQUEST_OF("", "/")};

        fields[0] = field_of(":method", methods[i]);
        frame_add_request(&peer->out, (int32_t)(2 * i + 1), END_STREAM, fields, COUNT(fields));
    }
    peer_pump(peer);
    for (size_t i = 0; i < COUNT(methods); i++) {
        char body[128];
        int length = snprintf(body, sizeof(body),
                              "{\":method\": \"%s\", \":path\": \"/\", \":scheme\": \"http\", "
                              "\":authority\": \"h\"}",
                              methods[i]);

        peer_check_answer(peer, (int32_t)(2 * i + 1), body, (size_t)length);
    }
}

static void run_options_asterisk(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("OPTIONS", "*")};

    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    CHECK_ANSWER(peer, 1,
                 "{\":method\": \"OPTIONS\", \":path\": \"*\", \":scheme\": \"http\", "
                 "\":authority\": \"h\"}");
}

static const struct field post[] = {REQUEST_OF("POST", "/")};

/* No byte of the response is sent before the request's END_STREAM; other streams are answered in
 * between. */
static void run_content(struct peer *peer)
{
    const struct peer_request *closed;

    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    frame_add_get(&peer->out, 3, "/between");
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "", 0);
    peer_pump(peer);
    peer_check_get(peer, 3, "/between");
    assert_int_equal(peer_response(peer, 1)->status, 0);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "more", 4);
    peer_pump(peer);
    peer_check_post(peer, 1);
    closed = peer_find_request(peer, 1);
    assert_non_null(closed);
    assert_string_equal(closed->method, "POST");
    assert_string_equal(closed->path, "/");
    assert_int_equal(closed->status, 200);
    assert_int_equal(closed->received, 8);
    assert_int_equal(closed->sent, peer_response(peer, 1)->body.length);
    assert_int_equal(closed->reset, SESSION_NOT_RESET);
}

static void run_content_length(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("content-length", "4")};

    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "", 0);
    peer_pump(peer);
    CHECK_ANSWER(peer, 1,
                 "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                 "\":authority\": \"h\", \"content-length\": \"4\"}");
}

static void run_trailers(struct peer *peer)
{
    static const struct field trailers[] = {FIELD("sum", "1"), FIELD("sum", "2")};

    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    frame_add_request(&peer->out, 1, END_STREAM, trailers, COUNT(trailers));
    frame_add_request(&peer->out, 3, 0, post, COUNT(post));
    frame_add_request(&peer->out, 3, END_STREAM, trailers, COUNT(trailers)); /* without DATA */
    peer_pump(peer);
    peer_check_post(peer, 1);
    peer_check_post(peer, 3);
}

static void run_expect(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("expect", "100-Continue")};
    static const char body[] = "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                               "\":authority\": \"h\", \"expect\": \"100-Continue\"}";

    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->continue_count, 1);
    assert_int_equal(peer_response(peer, 1)->status, 0);
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "", 0);
    frame_add_request(&peer->out, 3, END_STREAM, fields, COUNT(fields)); /* no content follows */
    peer_pump(peer);
    CHECK_ANSWER(peer, 1, body);
    CHECK_ANSWER(peer, 3, body);
    assert_int_equal(peer_response(peer, 1)->continue_count, 1);
    assert_int_equal(peer_response(peer, 3)->continue_count, 0);
}

static void run_expect_something_else(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("expect", "100")};

    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    peer_pump(peer);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "", 0);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->continue_count, 0);
    CHECK_ANSWER(peer, 1,
                 "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                 "\":authority\": \"h\", \"expect\": \"100\"}");
}

/* Fail unless the response was sent before the request ended, followed by RST_STREAM NO_ERROR. */
static void check_refused_early(const struct peer *peer, int32_t stream_id, int status)
{
    const struct peer_response *response = peer_response(peer, stream_id);

    peer_check_refused(peer, stream_id, status);
    assert_true(response->reset);
    assert_int_equal(response->reset_code, NGHTTP2_NO_ERROR);
}

static void run_connect(struct peer *peer)
{
    static const struct field fields[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h:1")};

    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "tunnel", 6);
    frame_add_request(&peer->out, 3, END_STREAM, fields, COUNT(fields));
    frame_add_get(&peer->out, 5, "/after");
    peer_pump(peer);
    check_refused_early(peer, 1, 501);
    peer_check_refused(peer, 3, 501);
    assert_false(peer_response(peer, 3)->reset);
    peer_check_get(peer, 5, "/after");
    assert_int_equal(peer_find_request(peer, 3)->status, 501);
}

/* --- Limits of the fields --- */

static const struct session_options small_fields = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 1000,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
};

/* Add GET / with a field x whose value makes the field list ${size} bytes large, counted as in RFC
 * 9113 section 6.5.2. */
static void add_sized_get(struct peer *peer, int32_t stream_id, uint8_t flags, size_t size)
{
    struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("x", "")};
    size_t base = 0;
    char *value;

    for (size_t i = 0; i < COUNT(fields); i++)
        base += fields[i].name_length + fields[i].value_length + 32;
    value = malloc(size - base);
    assert_non_null(value);
    memset(value, 'v', size - base);
    fields[REQUEST_FIELDS].value = value;
    fields[REQUEST_FIELDS].value_length = size - base;
    frame_add_request(&peer->out, stream_id, flags, fields, COUNT(fields));
    free(value);
}

static void run_fields_at_the_limit(struct peer *peer)
{
    add_sized_get(peer, 1, END_STREAM, 1000);
    add_sized_get(peer, 3, END_STREAM, 1001);
    frame_add_get(&peer->out, 5, "/after");
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->status, 200);
    peer_check_refused(peer, 3, 431);
    assert_false(peer_response(peer, 3)->reset);
    peer_check_get(peer, 5, "/after");
    assert_int_equal(peer_find_request(peer, 3)->status, 431);
    assert_non_null(peer_find_report(peer, 3, "431"));
}

static void run_fields_too_large(struct peer *peer)
{
    struct field many[64];

    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = field_of("name", "value");
    memcpy(many, post, sizeof(post));
    frame_add_request(&peer->out, 1, END_STREAM, many, COUNT(many));
    frame_add_request(&peer->out, 3, 0, many, COUNT(many));
    peer_pump(peer);
    peer_check_refused(peer, 1, 431);
    check_refused_early(peer, 3, 431);
    frame_add(&peer->out, NGHTTP2_DATA, 0, 3, "late",
              4); /* sent before the client knew of the RST_STREAM */
    frame_add_request(&peer->out, 3, END_STREAM, many + REQUEST_FIELDS, 1);
    frame_add_get(&peer->out, 5, "/after");
    peer_pump(peer);
    peer_check_get(peer, 5, "/after");
}

/* A single field that exceeds the limit, as a large cookie does. */
static void run_field_too_large(struct peer *peer)
{
    add_sized_get(peer, 1, END_STREAM, 65537);
    add_sized_get(peer, 3, END_STREAM, 65700); /* the value alone is less than 64 KiB */
    frame_add_get(&peer->out, 5, "/after");
    peer_pump(peer);
    peer_check_refused(peer, 1, 431);
    peer_check_refused(peer, 3, 431);
    peer_check_get(peer, 5, "/after");
}

static void run_trailers_too_large(struct peer *peer)
{
    struct field trailers[64];

    for (size_t i = 0; i < COUNT(trailers); i++)
        trailers[i] = field_of("name", "value");
    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add_request(&peer->out, 1, END_STREAM, trailers, COUNT(trailers));
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    peer_check_refused(peer, 1, 431);
    peer_check_get(peer, 3, "/after");
}

/* Fields that a block over the limit put into the dynamic table are there for the next block. */
static void run_fields_too_large_keep_the_table(struct peer *peer)
{
    static const char insert_path[] = "\x40\x05:path\x09/inserted"; /* with indexing */
    static const char insert_z[] =
        "\x40\x01z\x01z"; /* after the limit is exceeded, but still put into the table */
    /* GET, the second newest entry, http, :authority h */
    static const char indexed[] = "\x82\xbf\x86\x01\x01h";
    static const struct field filler = FIELD("name", "value");
    struct bytes block = {0};

    bytes_add(&block, "\x82\x86\x01\x01h", 5); /* GET, http, :authority h */
    bytes_add(&block, insert_path, sizeof(insert_path) - 1);
    for (int i = 0; i < 64; i++)
        block_add(&block, &filler);
    bytes_add(&block, insert_z, sizeof(insert_z) - 1);
    frame_add_block(&peer->out, 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    block.length = 0;
    bytes_add(&block, indexed, sizeof(indexed) - 1);
    frame_add_block(&peer->out, 3, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    peer_pump(peer);
    peer_check_refused(peer, 1, 431);
    peer_check_get(peer, 3, "/inserted");
}

PEER_TEST(first_answer, &peer_options)
PEER_TEST(pretty, &pretty)
PEER_TEST(order_and_repetition, &peer_options)
PEER_TEST(bytes_of_values, &peer_options)
PEER_TEST(compressed, &peer_options)
PEER_TEST(head, &peer_options)
PEER_TEST(methods, &peer_options)
PEER_TEST(options_asterisk, &peer_options)
PEER_TEST(content, &peer_options)
PEER_TEST(content_length, &peer_options)
PEER_TEST(trailers, &peer_options)
PEER_TEST(expect, &peer_options)
PEER_TEST(expect_something_else, &peer_options)
PEER_TEST(connect, &peer_options)
PEER_TEST(fields_at_the_limit, &small_fields)
PEER_TEST(fields_too_large, &small_fields)
PEER_TEST(field_too_large, &peer_options)
PEER_TEST(trailers_too_large, &small_fields)
PEER_TEST(fields_too_large_keep_the_table, &small_fields)

#define TEST(name) cmocka_unit_test_teardown(test_##name, peer_print_transfer)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(first_answer),
        TEST(pretty),
        TEST(order_and_repetition),
        TEST(bytes_of_values),
        TEST(compressed),
        TEST(head),
        TEST(methods),
        TEST(options_asterisk),
        TEST(content),
        TEST(content_length),
        TEST(trailers),
        TEST(expect),
        TEST(expect_something_else),
        TEST(connect),
        TEST(fields_at_the_limit),
        TEST(fields_too_large),
        TEST(field_too_large),
        TEST(trailers_too_large),
        TEST(fields_too_large_keep_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
