/*
 * Detailed answers: never-indexed fields, trailers, and requests that do not come to their end.
 */
#include "echo/client_frames.h"
#include "session/detail_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Never indexed --- */

typedef bool mark(size_t place, size_t count);

static bool mark_none(size_t place, size_t count)
{
    return (void)place, (void)count, false;
}

static bool mark_all(size_t place, size_t count)
{
    return (void)place, (void)count, true;
}

static bool mark_first(size_t place, size_t count)
{
    return (void)count, place == 0;
}

static bool mark_middle(size_t place, size_t count)
{
    return place == count / 2;
}

static bool mark_last(size_t place, size_t count)
{
    return place == count - 1;
}

static bool mark_each_third(size_t place, size_t count)
{
    return (void)count, place % 3 == 2;
}

static mark *const marks[] = {mark_none,   mark_all,  mark_first,
                              mark_middle, mark_last, mark_each_third};

/* A header block, and the fields as the answer has to show them. */
struct marked {
    struct bytes block;
    json_t *pairs;
};

static void add_marked(struct marked *marked, const struct field *field, bool never)
{
    json_t *pair =
        json_pack("[s%, s%]", field->name, field->name_length, field->value, field->value_length);

    if (never)
        json_array_append_new(pair, json_string("never-indexed"));
    json_array_append_new(marked->pairs, pair);
    (never ? block_add_never_indexed : block_add)(&marked->block, field);
}

/* Return ${count} fields, first those of a POST request; the last one is ASKING if ${asks}. */
static struct marked marked_fields(size_t count, mark *is_marked, bool asks)
{
    static const struct field first[] = {REQUEST_OF("POST", "/")};
    static const struct field accept = ASKING;
    struct marked marked = {.pairs = json_array()};

    for (size_t i = 0; i < count; i++) {
        struct field field = i < COUNT(first) ? first[i] : field_of("x", "value");

        if (asks && i == count - 1)
            field = accept;
        add_marked(&marked, &field, is_marked(i, count));
    }
    return marked;
}

static void marked_free(struct marked *marked)
{
    bytes_free(&marked->block);
    json_decref(marked->pairs);
}

static void check_marked(const struct peer *peer, int32_t id, const char *path,
                         const struct marked *marked)
{
    json_t *object = detail_answer(peer, id);

    detail_check_equal(path, detail_find(object, path), marked->pairs);
    json_decref(object);
}

/* Send a plain request first, so that all, some or none of the fields are found in the section
 * cache, then two detailed ones. */
static void check_marked_request(struct peer *peer, int32_t id, size_t count, mark *before,
                                 mark *now)
{
    struct marked plain = marked_fields(count, before, false);
    struct marked detailed = marked_fields(count, now, true);

    frame_add_block(&peer->out, id, END_STREAM, &plain.block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, id + 2, END_STREAM, &detailed.block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, id + 4, END_STREAM, &detailed.block, FRAME_PAYLOAD_MAX);
    peer_pump(peer);
    assert_int_equal(peer_response(peer, id)->field_count, 6);
    check_marked(peer, id + 2, "fields", &detailed);
    check_marked(peer, id + 4, "fields", &detailed);
    marked_free(&plain);
    marked_free(&detailed);
}

static void run_never_indexed(struct peer *peer)
{
    static const size_t counts[] = {5, 12, 13, 64, 65, 200};
    int32_t id = 1;

    detail_begin(peer);
    for (size_t i = 0; i < COUNT(counts); i++) {
        for (size_t n = 0; n < COUNT(marks); n++, id += 6)
            check_marked_request(peer, id, counts[i], marks[(n + i) % COUNT(marks)], marks[n]);
    }
}

/* The names are in HPACK's static table. */
static void run_never_indexed_names(struct peer *peer)
{
    static const char block[] = "\x82\x84\x86\x11\x01h" /* GET / http, :authority never indexed */
                                "\x10\x06"
                                "accept\x1c" DETAIL_TYPE "\x1f\x11\x01"
                                "c"; /* cookie */
    struct bytes bytes = {0};

    detail_begin(peer);
    bytes_add(&bytes, block, sizeof(block) - 1);
    frame_add_block(&peer->out, 1, END_STREAM, &bytes, FRAME_PAYLOAD_MAX);
    bytes_free(&bytes);
    peer_pump(peer);
    detail_check(peer, 1, "fields",
                 "[[\":method\", \"GET\"], [\":path\", \"/\"], [\":scheme\", \"http\"], "
                 "[\":authority\", \"h\", \"never-indexed\"], [\"accept\", \"" DETAIL_TYPE
                 "\", \"never-indexed\"], [\"cookie\", \"c\", \"never-indexed\"]]");
}

/* The fields that are never indexed in one request have no effect on the next, even if the first
 * was malformed. */
static void run_marks_of_other_requests(struct peer *peer)
{
    static const struct field wrong = FIELD("connection", "close");
    struct marked all = marked_fields(80, mark_all, true);
    struct marked none = marked_fields(40, mark_none, true);
    int32_t id = 1;

    detail_begin(peer);
    for (int i = 0; i < 3; i++, id += 4) {
        struct bytes block = {0};

        bytes_add(&block, all.block.data, all.block.length);
        block_add_never_indexed(&block, &wrong);
        frame_add_block(&peer->out, id, END_STREAM, &block, FRAME_PAYLOAD_MAX);
        frame_add_block(&peer->out, id + 2, END_STREAM, &none.block, FRAME_PAYLOAD_MAX);
        bytes_free(&block);
        peer_pump(peer);
        peer_check_reset(peer, id, NGHTTP2_PROTOCOL_ERROR);
        check_marked(peer, id + 2, "fields", &none);
    }
    marked_free(&all);
    marked_free(&none);
}

/* --- Trailers and content --- */

static const struct field post[] = {REQUEST_OF("POST", "/"), ASKING};

static void run_trailers(struct peer *peer)
{
    static const struct field sum = FIELD("sum", "1");
    static const struct field bytes = FIELD("sum", "\x80");
    struct marked trailers = {.pairs = NULL};

    detail_begin(peer);
    for (int32_t id = 1; id < 5; id += 2) {
        frame_add_request(&peer->out, id, 0, post, COUNT(post));
        frame_add(&peer->out, NGHTTP2_DATA, 0, id, "some", 4);
        frame_add(&peer->out, NGHTTP2_DATA, 0, id, "more", 4);
        block_add(&trailers.block, &sum);
        block_add_never_indexed(&trailers.block, &sum);
        block_add_never_indexed(&trailers.block, &bytes);
        frame_add_block(&peer->out, id, END_STREAM, &trailers.block, 7);
        trailers.block.length = 0;
        peer_pump(peer);
        detail_check(peer, id, "trailers",
                     "[[\"sum\", \"1\"], [\"sum\", \"1\", \"never-indexed\"], "
                     "[\"sum\", {\"hex\": \"80\"}, \"never-indexed\"]]");
        detail_check(peer, id, "fields",
                     "[[\":method\", \"POST\"], [\":path\", \"/\"], [\":scheme\", \"http\"], "
                     "[\":authority\", \"h\"], " ASKING_PAIR "]");
        detail_check(peer, id, "stream.content_bytes", "8");
        detail_check(peer, id, "dropped",
                     "[{\"what\": \"content: 8 bytes\", \"why\": \"counted, not kept\"}]");
    }
    bytes_free(&trailers.block);
}

/* Trailers have their own never-indexed fields, also if other requests came in between. */
static void run_trailers_after_other_requests(struct peer *peer)
{
    struct marked fields = marked_fields(20, mark_each_third, true);
    struct marked trailers = {.pairs = json_array()};
    static const struct field field = FIELD("x", "value");

    for (size_t i = 0; i < 70; i++)
        add_marked(&trailers, &field, i % 2 == 0);
    detail_begin(peer);
    frame_add_block(&peer->out, 1, 0, &fields.block, FRAME_PAYLOAD_MAX);
    frame_add_get(&peer->out, 3, "/between");
    frame_add_block(&peer->out, 5, 0, &fields.block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 1, END_STREAM, &trailers.block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 5, END_STREAM, &trailers.block, FRAME_PAYLOAD_MAX);
    peer_pump(peer);
    peer_check_get(peer, 3, "/between");
    for (int32_t id = 1; id < 6; id += 4) {
        check_marked(peer, id, "fields", &fields);
        check_marked(peer, id, "trailers", &trailers);
        detail_check(peer, id, "stream.content_bytes", "0");
    }
    marked_free(&fields);
    marked_free(&trailers);
}

/* Releasing idle memory loses nothing that the answer shows. */
static void run_idle_release(struct peer *peer)
{
    static const struct field field = FIELD("x", "y");
    struct marked fields = marked_fields(20, mark_each_third, true);
    struct marked trailers = {.pairs = json_array()};

    add_marked(&trailers, &field, true);
    frame_add_preface(&peer->out);
    frame_add_setting(&peer->out, 0x1337, 5);
    for (int32_t id = 1; id < 7; id += 2) {
        frame_add_block(&peer->out, id, 0, &fields.block, FRAME_PAYLOAD_MAX);
        peer_pump(peer);
        session_release_idle_memory(peer->session);
        frame_add(&peer->out, NGHTTP2_DATA, 0, id, "some", 4);
        peer_pump(peer);
        session_release_idle_memory(peer->session);
        frame_add_block(&peer->out, id, END_STREAM, &trailers.block, FRAME_PAYLOAD_MAX);
        peer_pump(peer);
        session_release_idle_memory(peer->session);
        check_marked(peer, id, "fields", &fields);
        check_marked(peer, id, "trailers", &trailers);
        detail_check(peer, id, "client.later_settings",
                     "[{\"id\": 4919, \"name\": null, \"value\": 5}]");
    }
    marked_free(&fields);
    marked_free(&trailers);
}

static void run_expect(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), ASKING,
                                          FIELD("expect", "100-continue")};

    detail_begin(peer);
    detail_ask(peer, 1, 0, fields, COUNT(fields));
    assert_int_equal(peer_response(peer, 1)->continue_count, 1);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "some", 4);
    peer_pump(peer);
    detail_check(peer, 1, "stream.content_bytes", "4");
}

/* --- Over the limit --- */

static const struct session_options small_fields = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 1000,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
};

/* The response is 431 whether accept comes before or after the limit, and if the trailers are too
 * large. */
static void run_too_large(struct peer *peer)
{
    static const struct field filler = FIELD("x", "value");
    struct marked first = marked_fields(5, mark_all, true);
    struct marked last = marked_fields(60, mark_all, true);
    struct bytes trailers = {0};

    detail_begin(peer);
    for (int i = 0; i < 60; i++) {
        block_add(&first.block, &filler);
        block_add_never_indexed(&trailers, &filler);
    }
    frame_add_block(&peer->out, 1, END_STREAM, &first.block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 3, END_STREAM, &last.block, FRAME_PAYLOAD_MAX);
    frame_add_request(&peer->out, 5, 0, post, COUNT(post));
    frame_add_block(&peer->out, 5, END_STREAM, &trailers, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 7, 0, &last.block, FRAME_PAYLOAD_MAX);
    detail_add_get(peer, 9, "/");
    peer_pump(peer);
    for (int32_t id = 1; id < 9; id += 2)
        peer_check_refused(peer, id, 431);
    detail_check(peer, 9, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
    assert_int_equal(json_array_size(first.pairs), 5);
    marked_free(&first);
    marked_free(&last);
    bytes_free(&trailers);
}

/* Trailers are shown as long as fields and trailers together do not exceed the limit for fields. */
static void run_trailers_over_limit(struct peer *peer)
{
    enum { ROOM = 1000 - 5 * 32 - 73 }; /* what the request's fields leave of the limit */
    char value[ROOM];
    struct field trailers[] = {{"x", 1, value, ROOM - 32 - 1}};

    memset(value, 'v', sizeof(value));
    detail_begin(peer);
    for (int32_t id = 1; id < 5; id += 2) {
        frame_add_request(&peer->out, id, 0, post, COUNT(post));
        frame_add_request(&peer->out, id, END_STREAM, trailers, COUNT(trailers));
        trailers[0].value_length++;
    }
    peer_pump(peer);
    detail_check(peer, 1, "dropped", "[]");
    detail_check(peer, 3, "trailers", "[]");
    detail_check(peer, 3, "dropped",
                 "[{\"what\": \"trailers: 1 fields\", \"why\": \"no room to keep them\"}]");
    assert_int_equal(detail_number(peer, 1, "hpack.decoded_bytes"), 73);
}

/* --- Incomplete requests --- */

enum { STAGES = 3 };

/* Add a detailed request with never-indexed fields, content and trailers; ${ends} are the offsets
 * at which its frames end. */
static void add_stages(struct bytes *bytes, int32_t id, size_t ends[STAGES])
{
    static const struct field field = FIELD("x", "value");
    struct marked fields = marked_fields(20, mark_each_third, true);
    struct bytes trailers = {0};
    size_t count = 0;

    for (int i = 0; i < 20; i++)
        block_add_never_indexed(&trailers, &field);
    frame_add_block(bytes, id, 0, &fields.block, FRAME_PAYLOAD_MAX);
    ends[count++] = bytes->length;
    frame_add(bytes, NGHTTP2_DATA, 0, id, "some", 4);
    ends[count++] = bytes->length;
    frame_add_block(bytes, id, END_STREAM, &trailers, FRAME_PAYLOAD_MAX);
    ends[count++] = bytes->length;
    assert_int_equal(count, STAGES);
    marked_free(&fields);
    bytes_free(&trailers);
}

/* The connection ends at any byte: nothing leaks, which AddressSanitizer checks. */
static void test_end_of_connection(void **state)
{
    struct bytes bytes = {0};
    size_t ends[STAGES];

    (void)state;
    frame_add_preface(&bytes);
    frame_add_setting(&bytes, 0x1337, 1);
    add_stages(&bytes, 1, ends);
    for (size_t length = 0; length <= bytes.length; length++) {
        struct peer *peer = peer_new(&peer_options, peer_whole);

        bytes_add(&peer->out, bytes.data, length);
        peer_pump(peer);
        assert_int_equal(peer_response(peer, 1)->status, length == bytes.length ? 200 : 0);
        peer_free(peer);
    }
    bytes_free(&bytes);
}

/* The stream is reset after any of its frames, also when the answer waits for its window. */
static void run_reset(struct peer *peer)
{
    int32_t id = 1;

    frame_add_preface(&peer->out);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10);
    peer_pump(peer);
    peer->opens_windows = false;
    for (size_t stage = 0; stage < STAGES; stage++, id += 2) {
        struct bytes bytes = {0};
        size_t ends[STAGES];

        add_stages(&bytes, id, ends);
        bytes_add(&peer->out, bytes.data, ends[stage]);
        peer_pump(peer);
        assert_int_equal(peer_response(peer, id)->status, stage == STAGES - 1 ? 200 : 0);
        assert_null(peer_find_request(peer, id));
        frame_add_reset(&peer->out, id, NGHTTP2_CANCEL);
        peer_pump(peer);
        assert_non_null(peer_find_request(peer, id));
        bytes_free(&bytes);
    }
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535);
    detail_ask_get(peer, id);
    detail_check(peer, id, "stream.request", "4");
}

DETAIL_TEST(never_indexed, &peer_options)
DETAIL_TEST(never_indexed_names, &peer_options)
DETAIL_TEST(marks_of_other_requests, &peer_options)
DETAIL_TEST(trailers, &peer_options)
DETAIL_TEST(trailers_after_other_requests, &peer_options)
DETAIL_TEST(idle_release, &peer_options)
DETAIL_TEST(expect, &peer_options)
DETAIL_TEST(too_large, &small_fields)
DETAIL_TEST(trailers_over_limit, &small_fields)
DETAIL_TEST(reset, &peer_options)

#define TEST(name) cmocka_unit_test_teardown(test_##name, peer_print_transfer)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(never_indexed),
        TEST(never_indexed_names),
        TEST(marks_of_other_requests),
        TEST(trailers),
        TEST(trailers_after_other_requests),
        TEST(idle_release),
        TEST(expect),
        TEST(too_large),
        TEST(trailers_over_limit),
        TEST(reset),
        TEST(end_of_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
