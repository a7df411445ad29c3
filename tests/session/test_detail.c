/*
 * Detailed answers: which requests get one, next to plain ones, and what it says of the fields.
 */
#include "echo/client_frames.h"
#include "session/detail_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Asking for it --- */

static void run_duplicates(struct peer *peer)
{
    static const struct field fields[] = {
        REQUEST_OF("GET", "/"), FIELD("cookie", "a=1"),  FIELD("x", "1"),    ASKING,
        FIELD("cookie", "b=2"), FIELD("x", "1"),         FIELD("x", "\xff"), FIELD("cookie", ""),
        FIELD("x", "\xc3\xa4"), FIELD("cookie", "c; d"),
    };

    detail_begin(peer);
    for (int32_t id = 1; id < 7; id += 2) {
        detail_ask(peer, id, END_STREAM, fields, COUNT(fields));
        detail_check(peer, id, "fields",
                     "[" GET_PAIRS ", [\"cookie\", \"a=1\"], [\"x\", \"1\"], " ASKING_PAIR
                     ", [\"cookie\", \"b=2\"], [\"x\", \"1\"], [\"x\", {\"hex\": \"ff\"}], "
                     "[\"cookie\", \"\"], [\"x\", \"\xc3\xa4\"], [\"cookie\", \"c; d\"]]");
        detail_check(peer, id, "trailers", "[]");
    }
}

/* Wildcards, other types and a weight of 0 do not ask for the detailed answer. */
static void run_not_asking(struct peer *peer)
{
    static const char *const values[] = {
        "*/*",           "application/*",    "application/json",
        DETAIL_TYPE "5", DETAIL_TYPE ";q=0", "text/html;x=\"," DETAIL_TYPE "\""};

    detail_begin(peer);
    for (size_t i = 0; i < COUNT(values); i++) {
        struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("accept", "")};
        const struct peer_response *response;

        fields[REQUEST_FIELDS] = field_of("accept", values[i]);
        detail_ask(peer, (int32_t)(2 * i + 1), END_STREAM, fields, COUNT(fields));
        response = peer_response(peer, (int32_t)(2 * i + 1));
        peer_check_answer(peer, (int32_t)(2 * i + 1), response->body.data, response->body.length);
    }
}

/* Several accept fields are one list (RFC 9110 section 5.3). */
static void run_several_accept_fields(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("accept", "text/html"),
                                          FIELD("accept", "*/*;q=0.1, " DETAIL_TYPE ";q=0.2"),
                                          FIELD("accept", DETAIL_TYPE ";q=0"), FIELD("x", "y")};

    detail_begin(peer);
    detail_ask(peer, 1, END_STREAM, fields, COUNT(fields));
    detail_check(peer, 1, "fields",
                 "[" GET_PAIRS
                 ", [\"accept\", \"text/html\"], [\"accept\", \"*/*;q=0.1, " DETAIL_TYPE
                 ";q=0.2\"], [\"accept\", \"" DETAIL_TYPE ";q=0\"], [\"x\", \"y\"]]");
}

/* The media type in another field or in trailers does not ask for it. */
static void run_type_in_other_fields(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("accepts", DETAIL_TYPE),
                                          FIELD("expect", DETAIL_TYPE)};
    static const struct field trailers[] = {ASKING};
    static const char body[] =
        "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
        "\":authority\": \"h\", \"accepts\": \"" DETAIL_TYPE "\", \"expect\": \"" DETAIL_TYPE "\"}";

    detail_begin(peer);
    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    frame_add_request(&peer->out, 1, END_STREAM, trailers, COUNT(trailers));
    peer_pump(peer);
    peer_check_answer(peer, 1, body, sizeof(body) - 1);
}

static const struct field post[] = {REQUEST_OF("POST", "/"), ASKING};

/* --- Next to plain requests --- */

static void run_alternating(struct peer *peer)
{
    static const struct field plain[] = {REQUEST_OF("GET", "/"), FIELD("cookie", "a"),
                                         FIELD("accept", "*/*"), FIELD("cookie", "b")};
    static const struct field detailed[] = {REQUEST_OF("GET", "/"), FIELD("cookie", "a"), ASKING,
                                            FIELD("cookie", "b")};
    static const char body[] = "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", "
                               "\":authority\": \"h\", \"cookie\": \"a; b\", \"accept\": \"*/*\"}";

    detail_begin(peer);
    for (int32_t id = 1; id < 30; id += 2) {
        bool is_detailed = id / 2 % 2 == 1 || id > 20;

        detail_ask(peer, id, END_STREAM, is_detailed ? detailed : plain, COUNT(plain));
        if (is_detailed)
            detail_check(peer, id, "fields",
                         "[" GET_PAIRS ", [\"cookie\", \"a\"], " ASKING_PAIR
                         ", [\"cookie\", \"b\"]]");
        else
            peer_check_answer(peer, id, body, sizeof(body) - 1);
    }
}

/* Many requests at once, each of which gets its own answer. */
static void run_many_at_once(struct peer *peer)
{
    enum { MANY = 100 };
    char path[32];

    detail_begin(peer);
    for (int32_t i = 0; i < MANY; i++) {
        struct field fields[] = {REQUEST_OF("POST", ""), ASKING};

        snprintf(path, sizeof(path), "/%d", i);
        fields[1] = field_of(":path", path);
        frame_add_request(&peer->out, 2 * i + 1, 0, fields, COUNT(fields));
    }
    for (int32_t i = MANY - 1; i >= 0; i--)
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 2 * i + 1, path, (size_t)i / 10);
    peer_pump(peer);
    for (int32_t i = 0; i < MANY; i++) {
        json_t *object = detail_answer(peer, 2 * i + 1);
        json_t *pair = json_array_get(detail_find(object, "fields"), 1);

        snprintf(path, sizeof(path), "/%d", i);
        assert_string_equal(json_string_value(json_array_get(pair, 1)), path);
        assert_int_equal(json_integer_value(detail_find(object, "stream.id")), 2 * i + 1);
        assert_int_equal(json_integer_value(detail_find(object, "stream.request")), i + 1);
        assert_int_equal(json_integer_value(detail_find(object, "stream.content_bytes")), i / 10);
        json_decref(object);
    }
}

/* The response to HEAD is that to GET without DATA, with the same content-length. */
static void run_head(struct peer *peer)
{
    static const struct field head[] = {REQUEST_OF("HEAD", "/"), ASKING};
    static const struct field get[] = {REQUEST_OF("GET", "/"), ASKING};
    const struct peer_response *response;

    detail_begin(peer);
    detail_ask(peer, 1, END_STREAM, head, COUNT(head));
    detail_ask(peer, 3, END_STREAM, get, COUNT(get));
    response = peer_response(peer, 1);
    detail_check_head(response, peer_response(peer, 3)->body.length);
    assert_int_equal(response->data_frames, 0);
    detail_check(peer, 3, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
}

static const struct session_options pretty = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 64 * 1024,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
    .pretty = true,
};

static void run_pretty(struct peer *peer)
{
    static const char start[] = "{\n  \"fields\": [\n    [\n      \":method\",\n      \"GET\"\n";
    const struct bytes *body;

    detail_begin(peer);
    detail_ask_get(peer, 1);
    detail_check(peer, 1, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
    body = &peer_response(peer, 1)->body;
    assert_memory_equal(body->data, start, sizeof(start) - 1);
    assert_memory_equal(body->data + body->length - 3, "\n}\n", 3);
}

static void run_connect(struct peer *peer)
{
    static const struct field fields[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h:1"),
                                          ASKING};

    detail_begin(peer);
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    frame_add_request(&peer->out, 3, 0, fields, COUNT(fields));
    detail_ask_get(peer, 5);
    peer_check_refused(peer, 1, 501);
    peer_check_refused(peer, 3, 501);
    detail_check(peer, 5, "stream.request", "3");
}

static void run_malformed(struct peer *peer)
{
    static const struct field wrong[] = {REQUEST_OF("GET", "/"), ASKING, FIELD("te", "gzip")};
    static const struct field incomplete[] = {FIELD(":method", "GET"), ASKING};
    static const struct field trailers[] = {FIELD("sum", "1"), FIELD(":path", "/")};
    static const struct field length[] = {REQUEST_OF("POST", "/"), ASKING,
                                          FIELD("content-length", "5")};

    detail_begin(peer);
    frame_add_request(&peer->out, 1, END_STREAM, wrong, COUNT(wrong));
    frame_add_request(&peer->out, 3, END_STREAM, incomplete, COUNT(incomplete));
    frame_add_request(&peer->out, 5, 0, post, COUNT(post));
    frame_add_request(&peer->out, 5, END_STREAM, trailers, COUNT(trailers));
    frame_add_request(&peer->out, 7, 0, length, COUNT(length));
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 7, "some", 4);
    detail_ask_get(peer, 9);
    for (int32_t id = 1; id < 9; id += 2)
        peer_check_reset(peer, id, NGHTTP2_PROTOCOL_ERROR);
    detail_check(peer, 9, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
    detail_check(peer, 9, "stream.request", "5");
}

DETAIL_TEST(duplicates, &peer_options)
DETAIL_TEST(not_asking, &peer_options)
DETAIL_TEST(several_accept_fields, &peer_options)
DETAIL_TEST(type_in_other_fields, &peer_options)
DETAIL_TEST(alternating, &peer_options)
DETAIL_TEST(many_at_once, &peer_options)
DETAIL_TEST(head, &peer_options)
DETAIL_TEST(pretty, &pretty)
DETAIL_TEST(connect, &peer_options)
DETAIL_TEST(malformed, &peer_options)

#define TEST(name) cmocka_unit_test_teardown(test_##name, peer_print_transfer)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(duplicates),
        TEST(not_asking),
        TEST(several_accept_fields),
        TEST(type_in_other_fields),
        TEST(alternating),
        TEST(many_at_once),
        TEST(head),
        TEST(pretty),
        TEST(connect),
        TEST(malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
