/*
 * Every script below runs with the client's bytes whole, one by one and cut at random, and with
 * session_send's buffer of four sizes: the answers are the same in all of them.
 */
#include "echo/echo.h"
#include "session/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct peer_way ways[] = {
    {FEED_WHOLE, 16384},  {FEED_WHOLE, 100},  {FEED_WHOLE, 9},  {FEED_WHOLE, 1},
    {FEED_SPLITS, 16384}, {FEED_SPLITS, 100}, {FEED_SPLITS, 9}, {FEED_SPLITS, 1},
    {FEED_BYTES, 16384},  {FEED_BYTES, 100},  {FEED_BYTES, 9},  {FEED_BYTES, 1},
};

static void each_way(peer_script *run, const struct session_options *options)
{
    for (size_t i = 0; i < COUNT(ways); i++)
        peer_play(peer_open(options, ways[i]), run);
}

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

/* HPACK's dynamic table, Huffman, a table that is emptied: what an encoder of its own writes. */
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

/* As GET without DATA: content-length is that of the answer to a GET (RFC 9110 section 8.6). */
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
    assert_int_equal(peer_closed(peer, 1)->sent, 0);
    assert_string_equal(peer_closed(peer, 1)->method, "HEAD");
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
static const char post_body[] = "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                                "\":authority\": \"h\"}";

/* Not a byte of the answer before END_STREAM; other streams are answered in between. */
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
    CHECK_ANSWER(peer, 1, post_body);
    closed = peer_closed(peer, 1);
    assert_non_null(closed);
    assert_string_equal(closed->method, "POST");
    assert_string_equal(closed->path, "/");
    assert_int_equal(closed->status, 200);
    assert_int_equal(closed->received, 8);
    assert_int_equal(closed->sent, sizeof(post_body) - 1);
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
    frame_add_request(&peer->out, 3, END_STREAM, trailers, COUNT(trailers)); /* no DATA at all */
    peer_pump(peer);
    CHECK_ANSWER(peer, 1, post_body);
    CHECK_ANSWER(peer, 3, post_body);
}

static void run_expect(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("expect", "100-Continue")};
    static const char body[] = "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                               "\":authority\": \"h\", \"expect\": \"100-Continue\"}";

    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->interim, 1);
    assert_int_equal(peer_response(peer, 1)->status, 0);
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "", 0);
    frame_add_request(&peer->out, 3, END_STREAM, fields, COUNT(fields)); /* no content to come */
    peer_pump(peer);
    CHECK_ANSWER(peer, 1, body);
    CHECK_ANSWER(peer, 3, body);
    assert_int_equal(peer_response(peer, 1)->interim, 1);
    assert_int_equal(peer_response(peer, 3)->interim, 0);
}

static void run_expect_something_else(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("expect", "100")};

    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    peer_pump(peer);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "", 0);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->interim, 0);
    CHECK_ANSWER(peer, 1,
                 "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                 "\":authority\": \"h\", \"expect\": \"100\"}");
}

/* A response before the request's end: RST_STREAM NO_ERROR behind it, and what comes is dropped. */
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
    assert_int_equal(peer_closed(peer, 3)->status, 501);
}

/* --- Limits of the fields --- */

static const struct session_options small_fields = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 1000,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
};

/* GET / with a field x that makes ${size} of the list, as RFC 9113 section 6.5.2 counts. */
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
    assert_int_equal(peer_closed(peer, 3)->status, 431);
    assert_non_null(peer_reported(peer, 3, "431"));
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
    frame_add(&peer->out, NGHTTP2_DATA, 0, 3, "late", 4); /* on its way before the RST_STREAM */
    frame_add_request(&peer->out, 3, END_STREAM, many + REQUEST_FIELDS, 1);
    frame_add_get(&peer->out, 5, "/after");
    peer_pump(peer);
    peer_check_get(peer, 5, "/after");
}

/* One field that is too large by itself, as large cookies are. */
static void run_field_too_large(struct peer *peer)
{
    add_sized_get(peer, 1, END_STREAM, 65537);
    add_sized_get(peer, 3, END_STREAM, 65700); /* its value is still less than 64 KiB */
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

/* What a refused block put into HPACK's table is there for the next. */
static void run_fields_too_large_keep_the_table(struct peer *peer)
{
    static const char insert_path[] = "\x40\x05:path\x09/inserted"; /* with indexing */
    static const char insert_z[] = "\x40\x01z\x01z"; /* past the limit, remembered all the same */
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

/* --- Large answers and small windows --- */

enum { LARGE = 60000 };

/* GET with a field of ${LARGE} quotes, each of which JSON escapes: more than a window, or a frame.
 */
static char *add_large_get(struct peer *peer, int32_t stream_id, size_t *length)
{
    static const char start[] = "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", "
                                "\":authority\": \"h\", \"x\": \"";
    struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("x", "")};
    char *value = malloc(LARGE);
    char *body = malloc(sizeof(start) + 2 * LARGE + 2);
    size_t used = sizeof(start) - 1;

    assert_true(value && body);
    memset(value, '"', LARGE);
    fields[REQUEST_FIELDS].value = value;
    fields[REQUEST_FIELDS].value_length = LARGE;
    frame_add_request(&peer->out, stream_id, END_STREAM, fields, COUNT(fields));
    free(value);
    memcpy(body, start, used);
    for (size_t i = 0; i < LARGE; i++, used += 2)
        memcpy(body + used, "\\\"", 2);
    memcpy(body + used, "\"}", 2);
    *length = used + 2;
    return body;
}

static void run_large_answer(struct peer *peer)
{
    size_t length;
    char *body = add_large_get(peer, 1, &length);

    peer_pump(peer);
    peer_check_answer(peer, 1, body, length);
    free(body);
}

/* The connection's window holds two large answers up, half a window each time. */
static void run_connection_window(struct peer *peer)
{
    enum { FIRST_WINDOW = 65535 };
    size_t length;
    char *body = add_large_get(peer, 1, &length);
    size_t given = FIRST_WINDOW;

    free(add_large_get(peer, 3, &length));
    peer->opens_windows = false;
    frame_add_window(&peer->out, 1, 1 << 20);
    frame_add_window(&peer->out, 3, 1 << 20);
    peer_pump(peer);
    while (given < 2 * length) {
        assert_int_equal(peer_response(peer, 1)->body.length + peer_response(peer, 3)->body.length,
                         given);
        frame_add_window(&peer->out, 0, FIRST_WINDOW / 2);
        given += FIRST_WINDOW / 2;
        peer_pump(peer);
    }
    peer_check_answer(peer, 1, body, length);
    peer_check_answer(peer, 3, body, length);
    free(body);
}

static void run_window_of_one_byte(struct peer *peer)
{
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1);
    frame_add_get(&peer->out, 1, "/narrow");
    frame_add_get(&peer->out, 3, "/narrow");
    peer_pump(peer);
    peer_check_get(peer, 1, "/narrow");
    peer_check_get(peer, 3, "/narrow");
    assert_int_equal(peer_response(peer, 1)->data_frames, peer_response(peer, 1)->body.length);
}

static void run_closed_window(struct peer *peer)
{
    peer->opens_windows = false;
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    frame_add_get(&peer->out, 1, "/closed");
    frame_add_get(&peer->out, 3, "/closed");
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->status, 200);
    assert_int_equal(peer_response(peer, 1)->body.length, 0);
    frame_add_window(&peer->out, 1, 10);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->body.length, 10);
    assert_int_equal(peer_response(peer, 3)->body.length, 0);
    frame_add_window(&peer->out, 1, 1000);
    peer_pump(peer);
    peer_check_get(peer, 1, "/closed");
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 20);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 3)->body.length, 20);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535);
    peer_pump(peer);
    peer_check_get(peer, 3, "/closed");
}

/* --- Frames in their odd forms --- */

static void run_padding(struct peer *peer)
{
    static const size_t paddings[] = {0, 1, 255};

    for (size_t i = 0; i < COUNT(paddings); i++) {
        int32_t id = (int32_t)(2 * i + 1);
        struct bytes block = {0};
        uint8_t pad = (uint8_t)paddings[i];

        bytes_add(&block, &pad, 1);
        for (size_t f = 0; f < COUNT(post); f++)
            block_add(&block, &post[f]);
        bytes_fill(&block, 0, pad);
        frame_add(&peer->out, NGHTTP2_HEADERS, END_HEADERS | NGHTTP2_FLAG_PADDED, id, block.data,
                  block.length);
        block.length = 0;
        bytes_add(&block, &pad, 1);
        bytes_add(&block, "some", i); /* 0, 1 or 2 bytes of content */
        bytes_fill(&block, 0, pad);
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM | NGHTTP2_FLAG_PADDED, id, block.data,
                  block.length);
        bytes_free(&block);
    }
    peer_pump(peer);
    for (size_t i = 0; i < COUNT(paddings); i++) {
        CHECK_ANSWER(peer, (int32_t)(2 * i + 1), post_body);
        assert_int_equal(peer_closed(peer, (int32_t)(2 * i + 1))->received, i);
    }
}

/* 200 frames of one byte, with an empty one at the end. */
static void run_continuation(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("x", "")};
    char value[150];
    char body[512];
    struct bytes block = {0};
    struct field last = fields[REQUEST_FIELDS];

    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < REQUEST_FIELDS; i++)
        block_add(&block, &fields[i]);
    last.value = value;
    last.value_length = sizeof(value);
    block_add(&block, &last);
    assert_true(block.length >= 200);
    frame_add_block(&peer->out, 1, END_STREAM, &block, 1);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 3, block.data, block.length);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 3, NULL, 0);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, END_HEADERS, 3, NULL, 0);
    bytes_free(&block);
    peer_pump(peer);
    snprintf(body, sizeof(body),
             "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", \":authority\": "
             "\"h\", \"x\": \"%.*s\"}",
             (int)sizeof(value), value);
    peer_check_answer(peer, 1, body, strlen(body));
    peer_check_answer(peer, 3, body, strlen(body));
}

static void run_priority(struct peer *peer)
{
    static const uint8_t on_zero[] = {0, 0, 0, 0, 15};
    static const uint8_t exclusive_on_one[] = {0x80, 0, 0, 1, 255};
    struct bytes block = {0};

    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 7, on_zero, sizeof(on_zero)); /* idle */
    frame_add_get(&peer->out, 1, "/first");
    bytes_add(&block, exclusive_on_one, sizeof(exclusive_on_one));
    for (size_t i = 0; i < COUNT(post); i++)
        block_add(&block, &post[i]);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_HEADERS | END_STREAM | NGHTTP2_FLAG_PRIORITY, 3,
              block.data, block.length);
    bytes_free(&block);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 1, on_zero, sizeof(on_zero)); /* closed */
    frame_add_get(&peer->out, 7, "/last");
    peer_pump(peer);
    peer_check_get(peer, 1, "/first");
    CHECK_ANSWER(peer, 3, post_body);
    peer_check_get(peer, 7, "/last");
}

static void run_unknown_frames(struct peer *peer)
{
    frame_add(&peer->out, 0xee, 0xff, 0, "unknown", 7);
    frame_add(&peer->out, 0x20, 0, 1, NULL, 0);
    frame_add_setting(&peer->out, 0xabc, 5); /* RFC 9113 section 6.5.2: ignored */
    frame_add_get(&peer->out, 1, "/");
    frame_add(&peer->out, 0xee, 0, 1, "unknown", 7);
    peer_pump(peer);
    peer_check_get(peer, 1, "/");
    assert_int_equal(peer->settings_ack_count, 2);
}

static void run_many_streams(struct peer *peer)
{
    enum { STREAMS = 128 };
    char path[16];

    for (int32_t i = 0; i < STREAMS; i++) {
        snprintf(path, sizeof(path), "/%d", (int)i);
        frame_add_get(&peer->out, 2 * i + 1, path);
    }
    peer_pump(peer);
    for (int32_t i = 0; i < STREAMS; i++) {
        snprintf(path, sizeof(path), "/%d", (int)i);
        peer_check_get(peer, 2 * i + 1, path);
        assert_non_null(peer_closed(peer, 2 * i + 1));
    }
    assert_int_equal(peer->request_count, STREAMS);
    assert_int_equal(peer->counters.requests, STREAMS);
    assert_int_equal(peer->counters.resets, 0);
}

/* All of them open at once, and ended in another order. */
static void run_open_streams(struct peer *peer)
{
    enum { STREAMS = 128 };

    for (int32_t i = 0; i < STREAMS; i++)
        frame_add_request(&peer->out, 2 * i + 1, 0, post, COUNT(post));
    peer_pump(peer);
    for (int32_t i = STREAMS - 1; i >= 0; i--)
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 2 * i + 1, "some", 4);
    peer_pump(peer);
    for (int32_t i = 0; i < STREAMS; i++)
        CHECK_ANSWER(peer, 2 * i + 1, post_body);
}

/* A client that changes its mind, before and after the answer is under way. */
static void run_reset_by_client(struct peer *peer)
{
    const struct peer_request *closed;

    peer->opens_windows = false;
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 5);
    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add_get(&peer->out, 3, "/");
    peer_pump(peer);
    frame_add_reset(&peer->out, 1, NGHTTP2_CANCEL);
    frame_add_reset(&peer->out, 3, NGHTTP2_INTERNAL_ERROR);
    peer_pump(peer);
    closed = peer_closed(peer, 1);
    assert_non_null(closed);
    assert_int_equal(closed->reset, SESSION_RESET_BY_PEER);
    assert_string_equal(closed->reset_code, "CANCEL");
    assert_int_equal(closed->status, 0);
    closed = peer_closed(peer, 3);
    assert_non_null(closed);
    assert_int_equal(closed->reset, SESSION_RESET_BY_PEER);
    assert_string_equal(closed->reset_code, "INTERNAL_ERROR");
    assert_int_equal(closed->status, 200);
    assert_int_equal(closed->sent, 5);
    assert_int_equal(peer->counters.resets, 2);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535);
    frame_add_get(&peer->out, 5, "/after");
    peer_pump(peer);
    peer_check_get(peer, 5, "/after");
}

/* A client that changes its mind before anything could be sent: no response was. */
static void run_reset_at_once(struct peer *peer)
{
    const struct peer_request *closed;

    frame_add_get(&peer->out, 1, "/");
    frame_add_reset(&peer->out, 1, NGHTTP2_CANCEL);
    peer_pump(peer);
    closed = peer_closed(peer, 1);
    assert_non_null(closed);
    assert_int_equal(closed->status, peer_response(peer, 1)->status);
    assert_int_equal(closed->sent, peer_response(peer, 1)->body.length);
}

/* --- The scripts by name --- */

#define TEST(name, options)                                                                        \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        each_way(run_##name, (options));                                                           \
    }

static const struct session_options pretty = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 64 * 1024,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
    .pretty = true,
};

TEST(first_answer, &peer_options)
TEST(pretty, &pretty)
TEST(order_and_repetition, &peer_options)
TEST(bytes_of_values, &peer_options)
TEST(compressed, &peer_options)
TEST(head, &peer_options)
TEST(methods, &peer_options)
TEST(options_asterisk, &peer_options)
TEST(content, &peer_options)
TEST(content_length, &peer_options)
TEST(trailers, &peer_options)
TEST(expect, &peer_options)
TEST(expect_something_else, &peer_options)
TEST(connect, &peer_options)
TEST(fields_at_the_limit, &small_fields)
TEST(fields_too_large, &small_fields)
TEST(field_too_large, &peer_options)
TEST(trailers_too_large, &small_fields)
TEST(fields_too_large_keep_the_table, &small_fields)
TEST(large_answer, &peer_options)
TEST(connection_window, &peer_options)
TEST(window_of_one_byte, &peer_options)
TEST(closed_window, &peer_options)
TEST(padding, &peer_options)
TEST(continuation, &peer_options)
TEST(priority, &peer_options)
TEST(unknown_frames, &peer_options)
TEST(many_streams, &peer_options)
TEST(open_streams, &peer_options)
TEST(reset_by_client, &peer_options)
TEST(reset_at_once, &peer_options)

/* --- With an nghttp2 client, which sees to flow control --- */

static void upload(const struct peer_way *way, size_t length, uint32_t window)
{
    struct peer *peer = peer_open_client(&peer_options, *way, window);
    struct bytes bodies[2] = {0};
    int32_t ids[2];

    for (size_t i = 0; i < COUNT(bodies); i++) {
        bytes_fill(&bodies[i], 'b', length);
        ids[i] = peer_submit(peer, post, COUNT(post), &bodies[i]);
    }
    peer_pump(peer);
    for (size_t i = 0; i < COUNT(bodies); i++) {
        CHECK_ANSWER(peer, ids[i], post_body);
        assert_int_equal(peer_closed(peer, ids[i])->received, length);
        bytes_free(&bodies[i]);
    }
    assert_true(peer->window > 0);
    peer_free(peer);
}

/* Content of several MiB, twice at once: the windows go on being opened. */
static void test_upload(void **state)
{
    (void)state;
    upload(&peer_plain, 5 * 1024 * 1024, 65535);
    upload(&peer_plain, 700001, 10);
    for (size_t i = 0; i < COUNT(ways); i++)
        if (ways[i].feed == FEED_SPLITS)
            upload(&ways[i], 700001, 100);
}

static void test_client(void **state)
{
    enum { REQUESTS = 100 };

    (void)state;
    for (size_t i = 0; i < COUNT(ways); i++) {
        struct peer *peer = peer_open_client(&peer_options, ways[i], 65535);

        for (int r = 0; r < REQUESTS; r++) {
            struct field fields[] = {REQUEST_OF("GET", "")};
            char path[16];

            snprintf(path, sizeof(path), "/%d", r);
            fields[1] = field_of(":path", path);
            peer_submit(peer, fields, COUNT(fields), NULL);
        }
        peer_pump(peer);
        for (int32_t r = 0; r < REQUESTS; r++) {
            char path[16];

            snprintf(path, sizeof(path), "/%d", (int)r);
            peer_check_get(peer, 2 * r + 1, path);
        }
        peer_free(peer);
    }
}

/* --- Fields that come again --- */

enum { POOL = 90, FIELDS_MAX = 28, REPEATED_REQUESTS = 400 };

/* Any field: names that repeat, values that JSON escapes, Latin-1, UTF-8, none, long ones. */
static void fill_pool(struct field pool[static POOL], char bytes[static POOL][3000], uint64_t *seed)
{
    static const char *const names[] = {"a", "b", "cookie", "x-long-name-of-a-field", "accept"};
    static const char *const pieces[] = {"v", "\"", "\\", "\xc3\xa4", "\xe4", "; ", "0123456789"};

    for (size_t i = 0; i < POOL; i++) {
        size_t limit = i % 10 == 0 ? 2900 : i % 7 * 20;
        size_t length = 0;

        while (length < limit) {
            const char *piece = pieces[peer_random(seed) % COUNT(pieces)];

            memcpy(bytes[i] + length, piece, strlen(piece));
            length += strlen(piece);
        }
        while (length > 0 && bytes[i][length - 1] == ' ')
            length--;
        pool[i] = (struct field){names[i % COUNT(names)], strlen(names[i % COUNT(names)]), bytes[i],
                                 length};
    }
}

static struct arena plain_arena; /* of no memory */

/* The plain way: each field encoded for this body alone. To be dropped. */
static struct echo_body *plain_body(const struct field *fields, size_t count)
{
    static const struct echo_key none;
    struct echo_body *body;
    struct echo echo;

    echo_start(&echo, &plain_arena, false);
    for (size_t i = 0; i < count; i++)
        assert_true(echo_add(&echo, none, (const uint8_t *)fields[i].name, fields[i].name_length,
                             (const uint8_t *)fields[i].value, fields[i].value_length));
    body = echo_compose(&echo);
    assert_non_null(body);
    echo_free(&echo);
    return body;
}

static void check_as_plain(struct peer *peer, int32_t id, const struct field *fields, size_t count)
{
    struct echo_body *body = plain_body(fields, count);

    peer_check_answer(peer, id, body->text, body->length);
    echo_body_drop(&plain_arena, body);
}

/* What HPACK remembers, and the session with it, is the same as what comes for the first time;
 * also after a rest, and when it was pushed out of both. */
static void test_fields_come_again(void **state)
{
    static char bytes[POOL][3000];
    struct field pool[POOL];
    uint64_t seed = 7;
    struct peer *peer = peer_open_client(&peer_options, peer_plain, 1 << 20);

    (void)state;
    fill_pool(pool, bytes, &seed);
    for (int i = 0; i < REPEATED_REQUESTS; i++) {
        struct field fields[REQUEST_FIELDS + FIELDS_MAX] = {REQUEST_OF("GET", "/again")};
        size_t count = REQUEST_FIELDS + peer_random(&seed) % FIELDS_MAX;
        size_t of = i % 3 == 0 ? POOL : 12;
        int32_t id;

        for (size_t f = REQUEST_FIELDS; f < count; f++)
            fields[f] = pool[peer_random(&seed) % of];
        id = peer_submit(peer, fields, count, NULL);
        peer_pump(peer);
        check_as_plain(peer, id, fields, count);
        if (i % 50 == 0)
            session_release_idle_memory(peer->session);
    }
    peer_free(peer);
}

static struct field any_field(struct field pool[static POOL], uint64_t *seed)
{
    return pool[peer_random(seed) % POOL];
}

/* The same request again, or with a field changed, left out, put in, moved, or of another method.
 */
static size_t change(struct field fields[static REQUEST_FIELDS + FIELDS_MAX], size_t count,
                     struct field pool[static POOL], uint64_t *seed)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT"};
    size_t place = REQUEST_FIELDS;
    struct field kept;

    if (count > REQUEST_FIELDS)
        place += peer_random(seed) % (count - REQUEST_FIELDS);
    switch (peer_random(seed) % 8) {
    case 0:
        fields[0] = field_of(":method", methods[peer_random(seed) % COUNT(methods)]);
        return count;
    case 1:
        fields[place] = any_field(pool, seed);
        return count > REQUEST_FIELDS ? count : count + 1;
    case 2:
        return count > REQUEST_FIELDS ? count - 1 : count;
    case 3:
        if (count == REQUEST_FIELDS + FIELDS_MAX)
            return count;
        memmove(&fields[place + 1], &fields[place], (count - place) * sizeof(*fields));
        fields[place] = any_field(pool, seed);
        return count + 1;
    case 4:
        if (count == REQUEST_FIELDS)
            return count;
        kept = fields[place];
        memmove(&fields[place], &fields[place + 1], (count - place - 1) * sizeof(*fields));
        fields[count - 1] = kept;
        return count;
    default:
        return count;
    }
}

static void check_alike(struct peer *peer, int32_t id, const struct field *fields, size_t count)
{
    const struct peer_response *response = peer_response(peer, id);
    struct field as_get[REQUEST_FIELDS + FIELDS_MAX];
    struct echo_body *body;

    assert_string_equal(peer_closed(peer, id)->method, fields[0].value);
    if (strcmp(fields[0].value, "HEAD") != 0) {
        check_as_plain(peer, id, fields, count);
        return;
    }
    assert_int_equal(response->status, 200);
    assert_int_equal(response->data_frames, 0);
    memcpy(as_get, fields, count * sizeof(*fields));
    as_get[0] = field_of(":method", "GET");
    body = plain_body(as_get, count);
    assert_int_equal(atoi(peer_field(response, "content-length")), body->length);
    echo_body_drop(&plain_arena, body);
}

/* Requests that are like the one before but for a little: what is done for the like of them is the
 * same as what is done for the first of a kind. From a client that lets HPACK remember, and from
 * one that never does. */
static void test_requests_alike(void **state)
{
    static char bytes[POOL][3000];
    struct field pool[POOL];
    uint64_t seed = 11;

    (void)state;
    fill_pool(pool, bytes, &seed);
    for (int remembers = 0; remembers < 2; remembers++) {
        struct peer *peer = remembers ? peer_open_client(&peer_options, peer_plain, 1 << 20)
                                      : peer_open(&peer_options, peer_plain);
        struct field fields[REQUEST_FIELDS + FIELDS_MAX] = {REQUEST_OF("GET", "/alike")};
        size_t count = REQUEST_FIELDS;
        int32_t id = -1;

        for (int i = 0; i < 2000; i++) {
            if (remembers) {
                id = peer_submit(peer, fields, count, NULL);
            } else {
                id += 2;
                frame_add_request(&peer->out, id, END_STREAM, fields, count);
                frame_add_window(&peer->out, 0, 1 << 16);
            }
            peer_pump(peer);
            check_alike(peer, id, fields, count);
            count = change(fields, count, pool, &seed);
            if (peer_random(&seed) % 100 == 0)
                session_release_idle_memory(peer->session);
        }
        peer_free(peer);
    }
}

/* A connection that rests amid a header section has it whole in the end. */
static void test_rest_amid_fields(void **state)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/rest"), FIELD("a", "b"),
                                          FIELD("c", "d")};
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    for (int32_t id = 1; id < 20; id += 2) {
        struct bytes half[2] = {0};
        size_t first = (size_t)id % COUNT(fields);

        for (size_t i = 0; i < COUNT(fields); i++)
            block_add(&half[i >= first], &fields[i]);
        frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, id, half[0].data, half[0].length);
        peer_pump(peer);
        session_release_idle_memory(peer->session);
        frame_add(&peer->out, NGHTTP2_CONTINUATION, END_HEADERS, id, half[1].data, half[1].length);
        peer_pump(peer);
        check_as_plain(peer, id, fields, COUNT(fields));
        bytes_free(&half[0]);
        bytes_free(&half[1]);
        if (id % 3 == 0)
            session_release_idle_memory(peer->session);
    }
    peer_free(peer);
}

/* No content answers HEAD, even where its fields are too large before the method comes. */
static void test_head_behind_too_much(void **state)
{
    static char large[2000];
    struct session_options options = peer_options;
    struct field fields[] = {FIELD(":path", "/"), FIELD(":authority", ""), FIELD(":scheme", "http"),
                             FIELD(":method", "HEAD")};
    struct peer *peer;

    (void)state;
    options.max_header_list_size = 1024;
    memset(large, 'x', sizeof(large) - 1);
    fields[1] = field_of(":authority", large);
    peer = peer_open(&options, peer_plain);
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->status, 431);
    assert_int_equal(peer_response(peer, 1)->data_frames, 0);
    peer_free(peer);
}

/* Expect is a list (RFC 9110 section 10.1.1): another member, after it, takes nothing back. */
static void test_expect_comes_twice(void **state)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("expect", "100-continue"),
                                          FIELD("expect", "x")};
    struct peer *peer = peer_open(&peer_options, peer_plain);

    (void)state;
    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->interim, 1);
    peer_free(peer);
}

#define RUN(name) cmocka_unit_test_teardown(test_##name, peer_tell_way)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RUN(first_answer),
        RUN(pretty),
        RUN(order_and_repetition),
        RUN(bytes_of_values),
        RUN(compressed),
        RUN(head),
        RUN(methods),
        RUN(options_asterisk),
        RUN(content),
        RUN(content_length),
        RUN(trailers),
        RUN(expect),
        RUN(expect_something_else),
        RUN(connect),
        RUN(fields_at_the_limit),
        RUN(fields_too_large),
        RUN(field_too_large),
        RUN(trailers_too_large),
        RUN(fields_too_large_keep_the_table),
        RUN(large_answer),
        RUN(connection_window),
        RUN(window_of_one_byte),
        RUN(closed_window),
        RUN(padding),
        RUN(continuation),
        RUN(priority),
        RUN(unknown_frames),
        RUN(many_streams),
        RUN(open_streams),
        RUN(reset_by_client),
        RUN(reset_at_once),
        RUN(upload),
        RUN(client),
        RUN(fields_come_again),
        RUN(requests_alike),
        RUN(head_behind_too_much),
        RUN(expect_comes_twice),
        RUN(rest_amid_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
