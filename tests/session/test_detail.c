/*
 * The detailed answer, asked for by raw frames: what came is what is told, in whatever pieces it
 * came; who does not ask for it gets the plain one, byte for byte.
 */
#include "echo/client_frames.h"
#include "session/peer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "application/vnd.h2echod+json"

#define ASKING FIELD("accept", TYPE)

static const struct peer_way ways[] = {{FEED_WHOLE, 16384},  {FEED_WHOLE, 9},
                                       {FEED_SPLITS, 16384}, {FEED_SPLITS, 9},
                                       {FEED_BYTES, 16384},  {FEED_BYTES, 1}};

static void each_way(peer_script *run, const struct session_options *options)
{
    for (size_t i = 0; i < COUNT(ways); i++)
        peer_play(peer_new(options, ways[i]), run);
}

/* --- What comes back --- */

static void check_field(const struct peer_response *response, const char *name, const char *value)
{
    assert_non_null(peer_field(response, name));
    assert_string_equal(peer_field(response, name), value);
}

/* The head of a detailed answer of ${length} bytes. */
static void check_head(const struct peer_response *response, size_t length)
{
    char number[24];

    snprintf(number, sizeof(number), "%zu", length);
    assert_int_equal(response->status, 200);
    assert_int_equal(response->field_count, 7);
    check_field(response, "server", "h2echod/" H2ECHOD_VERSION);
    check_field(response, "content-type", TYPE);
    check_field(response, "content-length", number);
    check_field(response, "cache-control", "no-store");
    check_field(response, "vary", "accept");
    assert_non_null(peer_field(response, "date"));
    assert_true(response->ended);
    assert_false(response->reset);
}

static json_t *answer_of(const struct peer *peer, int32_t stream_id)
{
    const struct peer_response *response = peer_response(peer, stream_id);
    json_t *object;

    check_head(response, response->body.length);
    object = json_loadb((const char *)response->body.data, response->body.length,
                        JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    return object;
}

/* What "client.settings" names. */
static json_t *find(json_t *object, const char *path)
{
    char name[64];

    for (size_t length; object != NULL && *path != '\0';
         path += length + (path[length] == '.' ? 1 : 0)) {
        length = strcspn(path, ".");
        memcpy(name, path, length);
        name[length] = '\0';
        object = json_object_get(object, name);
    }
    assert_non_null(object);
    return object;
}

static void check_equal(const char *path, json_t *found, json_t *wanted)
{
    char *found_text;
    char *wanted_text;

    assert_non_null(wanted);
    if (json_equal(found, wanted))
        return;
    found_text = json_dumps(found, JSON_ENCODE_ANY);
    wanted_text = json_dumps(wanted, JSON_ENCODE_ANY);
    print_error("%s\n  is %s\n not %s\n", path, found_text, wanted_text);
    fail();
}

/* The answer's member at ${path} is what the JSON ${text} says. */
static void check(const struct peer *peer, int32_t stream_id, const char *path, const char *text)
{
    json_t *object = answer_of(peer, stream_id);
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);

    check_equal(path, find(object, path), wanted);
    json_decref(wanted);
    json_decref(object);
}

static json_int_t number_of(const struct peer *peer, int32_t stream_id, const char *path)
{
    json_t *object = answer_of(peer, stream_id);
    json_int_t number;

    assert_true(json_is_integer(find(object, path)));
    number = json_integer_value(find(object, path));
    json_decref(object);
    return number;
}

/* --- What goes out --- */

static void begin(struct peer *peer)
{
    frame_add_preface(&peer->out);
    frame_add(&peer->out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
}

static void add_get(struct peer *peer, int32_t stream_id, const char *path)
{
    struct field fields[] = {REQUEST_OF("GET", ""), ASKING};

    fields[1] = field_of(":path", path);
    frame_add_request(&peer->out, stream_id, END_STREAM, fields, COUNT(fields));
}

static void ask(struct peer *peer, int32_t stream_id, uint8_t flags, const struct field *fields,
                size_t count)
{
    frame_add_request(&peer->out, stream_id, flags, fields, count);
    peer_pump(peer);
}

static void ask_get(struct peer *peer, int32_t stream_id)
{
    add_get(peer, stream_id, "/");
    peer_pump(peer);
}

/* As a literal that is never to be indexed (RFC 7541 section 6.2.3). */
static void block_add_never(struct bytes *block, const struct field *field)
{
    size_t at = block->length;

    block_add(block, field);
    block->data[at] |= 0x10;
}

/* As a literal that is put into the table (RFC 7541 section 6.2.1). */
static void block_add_indexed(struct bytes *block, const struct field *field)
{
    size_t at = block->length;

    block_add(block, field);
    block->data[at] |= 0x40;
}

/* --- Fields as they came --- */

#define GET_PAIRS                                                                                  \
    "[\":method\", \"GET\"], [\":path\", \"/\"], [\":scheme\", \"http\"], [\":authority\", \"h\"]"
#define ASKING_PAIR "[\"accept\", \"" TYPE "\"]"

static void run_duplicates(struct peer *peer)
{
    static const struct field fields[] = {
        REQUEST_OF("GET", "/"), FIELD("cookie", "a=1"),  FIELD("x", "1"),    ASKING,
        FIELD("cookie", "b=2"), FIELD("x", "1"),         FIELD("x", "\xff"), FIELD("cookie", ""),
        FIELD("x", "\xc3\xa4"), FIELD("cookie", "c; d"),
    };

    begin(peer);
    for (int32_t id = 1; id < 7; id += 2) {
        ask(peer, id, END_STREAM, fields, COUNT(fields));
        check(peer, id, "fields",
              "[" GET_PAIRS ", [\"cookie\", \"a=1\"], [\"x\", \"1\"], " ASKING_PAIR
              ", [\"cookie\", \"b=2\"], [\"x\", \"1\"], [\"x\", {\"hex\": \"ff\"}], "
              "[\"cookie\", \"\"], [\"x\", \"\xc3\xa4\"], [\"cookie\", \"c; d\"]]");
        check(peer, id, "trailers", "[]");
    }
}

/* Nothing but the request's own kind is asked for by an asterisk, a name, or a weight of nought. */
static void run_not_asking(struct peer *peer)
{
    static const char *const values[] = {"*/*",    "application/*", "application/json",
                                         TYPE "5", TYPE ";q=0",     "text/html;x=\"," TYPE "\""};

    begin(peer);
    for (size_t i = 0; i < COUNT(values); i++) {
        struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("accept", "")};
        const struct peer_response *response;

        fields[REQUEST_FIELDS] = field_of("accept", values[i]);
        ask(peer, (int32_t)(2 * i + 1), END_STREAM, fields, COUNT(fields));
        response = peer_response(peer, (int32_t)(2 * i + 1));
        peer_check_answer(peer, (int32_t)(2 * i + 1), response->body.data, response->body.length);
    }
}

/* Several accept fields are one list (RFC 9110 section 5.3). */
static void run_accept_in_parts(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), FIELD("accept", "text/html"),
                                          FIELD("accept", "*/*;q=0.1, " TYPE ";q=0.2"),
                                          FIELD("accept", TYPE ";q=0"), FIELD("x", "y")};

    begin(peer);
    ask(peer, 1, END_STREAM, fields, COUNT(fields));
    check(peer, 1, "fields",
          "[" GET_PAIRS ", [\"accept\", \"text/html\"], [\"accept\", \"*/*;q=0.1, " TYPE
          ";q=0.2\"], [\"accept\", \"" TYPE ";q=0\"], [\"x\", \"y\"]]");
}

/* Another field's value, or trailers, ask for nothing. */
static void run_asking_elsewhere(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("accepts", TYPE),
                                          FIELD("expect", TYPE)};
    static const struct field trailers[] = {ASKING};
    static const char body[] =
        "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
        "\":authority\": \"h\", \"accepts\": \"" TYPE "\", \"expect\": \"" TYPE "\"}";

    begin(peer);
    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    frame_add_request(&peer->out, 1, END_STREAM, trailers, COUNT(trailers));
    peer_pump(peer);
    peer_check_answer(peer, 1, body, sizeof(body) - 1);
}

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

/* What is asked, and what is to be told of it. */
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
    (never ? block_add_never : block_add)(&marked->block, field);
}

/* So many fields, the first ones a request's; the last one asks, if one does. */
static struct marked marked_of(size_t count, mark *is_marked, bool asks)
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
    json_t *object = answer_of(peer, id);

    check_equal(path, find(object, path), marked->pairs);
    json_decref(object);
}

/* A plain request before it, so that most of the fields, or none, come as they did there. */
static void ask_marked(struct peer *peer, int32_t id, size_t count, mark *before, mark *now)
{
    struct marked plain = marked_of(count, before, false);
    struct marked detailed = marked_of(count, now, true);

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

    begin(peer);
    for (size_t i = 0; i < COUNT(counts); i++) {
        for (size_t n = 0; n < COUNT(marks); n++, id += 6)
            ask_marked(peer, id, counts[i], marks[(n + i) % COUNT(marks)], marks[n]);
    }
}

/* Of a field that HPACK's table has. */
static void run_never_indexed_names(struct peer *peer)
{
    static const char block[] = "\x82\x84\x86\x11\x01h" /* GET / http, :authority never indexed */
                                "\x10\x06"
                                "accept\x1c" TYPE "\x1f\x11\x01"
                                "c"; /* cookie */
    struct bytes bytes = {0};

    begin(peer);
    bytes_add(&bytes, block, sizeof(block) - 1);
    frame_add_block(&peer->out, 1, END_STREAM, &bytes, FRAME_PAYLOAD_MAX);
    bytes_free(&bytes);
    peer_pump(peer);
    check(peer, 1, "fields",
          "[[\":method\", \"GET\"], [\":path\", \"/\"], [\":scheme\", \"http\"], "
          "[\":authority\", \"h\", \"never-indexed\"], [\"accept\", \"" TYPE
          "\", \"never-indexed\"], [\"cookie\", \"c\", \"never-indexed\"]]");
}

/* A request's marks are no other's: not those of one that was cut short, nor of trailers. */
static void run_marks_of_others(struct peer *peer)
{
    static const struct field wrong = FIELD("connection", "close");
    struct marked all = marked_of(80, mark_all, true);
    struct marked none = marked_of(40, mark_none, true);
    int32_t id = 1;

    begin(peer);
    for (int i = 0; i < 3; i++, id += 4) {
        struct bytes block = {0};

        bytes_add(&block, all.block.data, all.block.length);
        block_add_never(&block, &wrong);
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

    begin(peer);
    for (int32_t id = 1; id < 5; id += 2) {
        frame_add_request(&peer->out, id, 0, post, COUNT(post));
        frame_add(&peer->out, NGHTTP2_DATA, 0, id, "some", 4);
        frame_add(&peer->out, NGHTTP2_DATA, 0, id, "more", 4);
        block_add(&trailers.block, &sum);
        block_add_never(&trailers.block, &sum);
        block_add_never(&trailers.block, &bytes);
        frame_add_block(&peer->out, id, END_STREAM, &trailers.block, 7);
        trailers.block.length = 0;
        peer_pump(peer);
        check(peer, id, "trailers",
              "[[\"sum\", \"1\"], [\"sum\", \"1\", \"never-indexed\"], "
              "[\"sum\", {\"hex\": \"80\"}, \"never-indexed\"]]");
        check(peer, id, "fields",
              "[[\":method\", \"POST\"], [\":path\", \"/\"], [\":scheme\", \"http\"], "
              "[\":authority\", \"h\"], " ASKING_PAIR "]");
        check(peer, id, "stream.content_bytes", "8");
        check(peer, id, "dropped",
              "[{\"what\": \"content: 8 bytes\", \"why\": \"counted, not kept\"}]");
    }
    bytes_free(&trailers.block);
}

/* Trailers have their own marks, and may be like the fields of the request before. */
static void run_trailers_in_between(struct peer *peer)
{
    struct marked fields = marked_of(20, mark_each_third, true);
    struct marked trailers = {.pairs = json_array()};
    static const struct field field = FIELD("x", "value");

    for (size_t i = 0; i < 70; i++)
        add_marked(&trailers, &field, i % 2 == 0);
    begin(peer);
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
        check(peer, id, "stream.content_bytes", "0");
    }
    marked_free(&fields);
    marked_free(&trailers);
}

/* A rest makes the session forget what it can have again: not what the client said. */
static void run_rest(struct peer *peer)
{
    static const struct field field = FIELD("x", "y");
    struct marked fields = marked_of(20, mark_each_third, true);
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
        check(peer, id, "client.later_settings", "[{\"id\": 4919, \"name\": null, \"value\": 5}]");
    }
    marked_free(&fields);
    marked_free(&trailers);
}

static void run_expect(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), ASKING,
                                          FIELD("expect", "100-continue")};

    begin(peer);
    ask(peer, 1, 0, fields, COUNT(fields));
    assert_int_equal(peer_response(peer, 1)->interim, 1);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "some", 4);
    peer_pump(peer);
    check(peer, 1, "stream.content_bytes", "4");
}

/* --- Beside plain requests --- */

static void run_alternating(struct peer *peer)
{
    static const struct field plain[] = {REQUEST_OF("GET", "/"), FIELD("cookie", "a"),
                                         FIELD("accept", "*/*"), FIELD("cookie", "b")};
    static const struct field detailed[] = {REQUEST_OF("GET", "/"), FIELD("cookie", "a"), ASKING,
                                            FIELD("cookie", "b")};
    static const char body[] = "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", "
                               "\":authority\": \"h\", \"cookie\": \"a; b\", \"accept\": \"*/*\"}";

    begin(peer);
    for (int32_t id = 1; id < 30; id += 2) {
        bool is_detailed = id / 2 % 2 == 1 || id > 20;

        ask(peer, id, END_STREAM, is_detailed ? detailed : plain, COUNT(plain));
        if (is_detailed)
            check(peer, id, "fields",
                  "[" GET_PAIRS ", [\"cookie\", \"a\"], " ASKING_PAIR ", [\"cookie\", \"b\"]]");
        else
            peer_check_answer(peer, id, body, sizeof(body) - 1);
    }
}

/* Many at once, each of which is told of itself. */
static void run_many_at_once(struct peer *peer)
{
    enum { MANY = 100 };
    char path[32];

    begin(peer);
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
        json_t *object = answer_of(peer, 2 * i + 1);
        json_t *pair = json_array_get(find(object, "fields"), 1);

        snprintf(path, sizeof(path), "/%d", i);
        assert_string_equal(json_string_value(json_array_get(pair, 1)), path);
        assert_int_equal(json_integer_value(find(object, "stream.id")), 2 * i + 1);
        assert_int_equal(json_integer_value(find(object, "stream.request")), i + 1);
        assert_int_equal(json_integer_value(find(object, "stream.content_bytes")), i / 10);
        json_decref(object);
    }
}

/* As GET without DATA, and with the content-length that GET has. */
static void run_head(struct peer *peer)
{
    static const struct field head[] = {REQUEST_OF("HEAD", "/"), ASKING};
    static const struct field get[] = {REQUEST_OF("GET", "/"), ASKING};
    const struct peer_response *response;

    begin(peer);
    ask(peer, 1, END_STREAM, head, COUNT(head));
    ask(peer, 3, END_STREAM, get, COUNT(get));
    response = peer_response(peer, 1);
    check_head(response, peer_response(peer, 3)->body.length);
    assert_int_equal(response->data_frames, 0);
    check(peer, 3, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
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

    begin(peer);
    ask_get(peer, 1);
    check(peer, 1, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
    body = &peer_response(peer, 1)->body;
    assert_memory_equal(body->data, start, sizeof(start) - 1);
    assert_memory_equal(body->data + body->length - 3, "\n}\n", 3);
}

/* --- The header block --- */

/* Padding and a priority are no part of it; frame headers neither. */
static void run_wire_bytes(struct peer *peer)
{
    enum { PADDED = NGHTTP2_FLAG_PADDED, PRIORITIZED = NGHTTP2_FLAG_PRIORITY, PIECE = 11 };
    static const uint8_t flags[] = {0, PADDED, PRIORITIZED, PADDED | PRIORITIZED};
    struct bytes block = {0};
    char text[32];

    begin(peer);
    for (size_t i = 0; i < COUNT(post); i++)
        block_add(&block, &post[i]);
    snprintf(text, sizeof(text), "%zu", block.length);
    for (size_t i = 0; i < 2 * COUNT(flags); i++) {
        int32_t id = (int32_t)(2 * i + 1);
        size_t first = i % 2 == 0 ? block.length : PIECE;
        uint8_t flag = flags[i / 2];
        struct bytes payload = {0};

        if (flag & PADDED)
            bytes_add(&payload, "\x05", 1);
        if (flag & PRIORITIZED)
            bytes_add(&payload, "\x80\0\0\0\x63", 5);
        bytes_add(&payload, block.data, first);
        if (flag & PADDED)
            bytes_add(&payload, "\0\0\0\0\0", 5);
        frame_add(&peer->out, NGHTTP2_HEADERS,
                  flag | END_STREAM | (first == block.length ? END_HEADERS : 0), id, payload.data,
                  payload.length);
        for (size_t at = first; at < block.length; at += PIECE) {
            size_t length = block.length - at < PIECE ? block.length - at : PIECE;

            frame_add(&peer->out, NGHTTP2_CONTINUATION,
                      at + length == block.length ? END_HEADERS : 0, id, block.data + at, length);
        }
        bytes_free(&payload);
        peer_pump(peer);
        check(peer, id, "hpack.wire_bytes", text);
        check(peer, id, "hpack.decoded_bytes", "73");
        check(peer, id, "stream.dependency",
              flag & PRIORITIZED ? "{\"depends_on\": 0, \"weight\": 100, \"exclusive\": true}"
                                 : "null");
    }
    bytes_free(&block);
}

static void run_dynamic_table(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), ASKING};
    static const struct field remembered = FIELD("name", "value");
    struct bytes block = {0};

    begin(peer);
    for (size_t i = 0; i < COUNT(fields); i++)
        block_add(&block, &fields[i]);
    frame_add_block(&peer->out, 1, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    block_add_indexed(&block, &remembered);
    frame_add_block(&peer->out, 3, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 5, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    block.length = 0;
    bytes_add(&block, "\x20", 1); /* a table of no bytes */
    for (size_t i = 0; i < COUNT(fields); i++)
        block_add(&block, &fields[i]);
    frame_add_block(&peer->out, 7, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    peer_pump(peer);
    check(peer, 1, "hpack.table_bytes", "0");
    check(peer, 3, "hpack.table_bytes", "41");
    check(peer, 5, "hpack.table_bytes", "82");
    check(peer, 7, "hpack.table_bytes", "0");
    check(peer, 1, "hpack.decoded_bytes", "72");
    check(peer, 5, "hpack.decoded_bytes", "81");
}

/* --- The stream and the connection --- */

/* Every request counts, whatever became of it. */
static void run_numbers(struct peer *peer)
{
    static const struct field wrong[] = {REQUEST_OF("GET", "/"), FIELD("connection", "close")};

    begin(peer);
    frame_add_get(&peer->out, 1, "/");
    frame_add_request(&peer->out, 3, END_STREAM, wrong, COUNT(wrong));
    frame_add_request(&peer->out, 5, 0, post, COUNT(post));
    frame_add_reset(&peer->out, 5, NGHTTP2_CANCEL);
    frame_add_request(&peer->out, 7, 0, post, COUNT(post));
    frame_add_get(&peer->out, 101, "/");
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 7, NULL, 0);
    peer_pump(peer);
    add_get(peer, 103, "/");
    peer_pump(peer);
    assert_int_equal(number_of(peer, 7, "stream.request"), 4);
    assert_int_equal(number_of(peer, 7, "stream.id"), 7);
    assert_int_equal(number_of(peer, 103, "stream.request"), 6);
    assert_int_equal(number_of(peer, 103, "stream.id"), 103);
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    origin->protocol = "h2c";
}

/* A worker's counters go on from one connection to the next. */
static void test_number_on_the_next_connection(void **state)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/"), ASKING};
    struct session_observer observer = {.describe = describe};
    struct counters counters = {.requests = 1000};
    struct instant now = {0};
    struct bytes bytes = {0};
    uint8_t buffer[4096];
    struct arena arena = {0};
    struct session_memory memory = {&arena, &arena};
    struct session *session = session_new(&peer_options, &observer, &counters, &memory, now);

    (void)state;
    assert_non_null(session);
    frame_add_preface(&bytes);
    frame_add_request(&bytes, 1, END_STREAM, fields, COUNT(fields));
    session_receive(session, now, bytes.data, bytes.length);
    bytes_free(&bytes);
    assert_non_null(
        memmem(buffer, session_send(session, now, buffer, sizeof(buffer)), "\"request\": 1,", 13));
    session_free(session);
}

static void run_connection(struct peer *peer)
{
    begin(peer);
    ask_get(peer, 1);
    check(peer, 1, "connection",
          "{\"id\": 42, \"protocol\": \"h2c\", \"peer\": \"192.0.2.1:4000\", "
          "\"local\": \"192.0.2.2:8080\", \"age_ms\": 0.0, \"send_window\": 65535, "
          "\"tls\": null}");
    peer_wait(peer, 1234567);
    ask_get(peer, 3);
    check(peer, 3, "connection.age_ms", "1234.567");
}

/* As they are before the answer is sent. */
static void run_windows(struct peer *peer)
{
    size_t sent = 0;

    peer->opens_windows = false;
    frame_add_preface(&peer->out);
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 20000);
    for (int32_t id = 1; id < 9; id += 2) {
        if (id == 5)
            frame_add_window(&peer->out, 0, 1000);
        frame_add_request(&peer->out, id, 0, post, COUNT(post));
        frame_add_window(&peer->out, id, (uint32_t)id);
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, id, NULL, 0);
        peer_pump(peer);
        assert_int_equal(number_of(peer, id, "stream.send_window"), 20000 + id);
        assert_int_equal(number_of(peer, id, "connection.send_window"),
                         65535 - sent + (id < 5 ? 0 : 1000));
        sent += peer_response(peer, id)->body.length;
    }
}

/* --- The client --- */

static void run_settings(struct peer *peer)
{
    static const char settings[] =
        "\0\2\0\0\0\0\x13\x37\0\0\0\7\0\4\0\140\0\0\0\x10\xff\xff\xff\xff";

    bytes_add(&peer->out, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add(&peer->out, NGHTTP2_SETTINGS, 0, 0, settings, sizeof(settings) - 1);
    frame_add_window(&peer->out, 0, 15663105);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 3, "\0\0\0\0\xc8", 5);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 5, "\x80\0\0\3\0", 5);
    frame_add(&peer->out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    ask_get(peer, 1);
    check(peer, 1, "client",
          "{\"settings\": [{\"id\": 2, \"name\": \"ENABLE_PUSH\", \"value\": 0}, "
          "{\"id\": 4919, \"name\": null, \"value\": 7}, "
          "{\"id\": 4, \"name\": \"INITIAL_WINDOW_SIZE\", \"value\": 6291456}, "
          "{\"id\": 16, \"name\": null, \"value\": 4294967295}], \"later_settings\": [], "
          "\"window_update\": 15663105, \"priority_frames\": ["
          "{\"stream\": 3, \"depends_on\": 0, \"weight\": 201, \"exclusive\": false}, "
          "{\"stream\": 5, \"depends_on\": 3, \"weight\": 1, \"exclusive\": true}], "
          "\"fingerprint\": "
          "\"2:0;4919:7;4:6291456;16:4294967295|15663105|3:0:0:201,5:1:3:1|m,p,s,a\"}");
}

/* What comes later is told as such, and changes no fingerprint but by the fields. */
static void run_later(struct peer *peer)
{
    static const struct field fields[] = {FIELD(":path", "/"), FIELD(":authority", "h"),
                                          FIELD(":scheme", "http"), FIELD(":method", "GET"),
                                          ASKING};

    begin(peer);
    ask_get(peer, 1);
    check(peer, 1, "client.later_settings", "[]");
    check(peer, 1, "client.fingerprint", "\"|00|0|m,p,s,a\"");
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 70000);
    frame_add_window(&peer->out, 0, 70000);
    frame_add(&peer->out, NGHTTP2_PRIORITY, 0, 9, "\0\0\0\7\x0f", 5);
    frame_add_setting(&peer->out, 0xfefe, 1);
    ask(peer, 3, END_STREAM, fields, COUNT(fields));
    check(peer, 3, "client",
          "{\"settings\": [], "
          "\"later_settings\": [{\"id\": 4, \"name\": \"INITIAL_WINDOW_SIZE\", \"value\": 70000}, "
          "{\"id\": 65278, \"name\": null, \"value\": 1}], \"window_update\": 0, "
          "\"priority_frames\": ["
          "{\"stream\": 9, \"depends_on\": 7, \"weight\": 16, \"exclusive\": false}], "
          "\"fingerprint\": \"|00|0|p,a,s,m\"}");
    check(peer, 3, "dropped",
          "[{\"what\": \"settings: 1\", "
          "\"why\": \"of no known meaning (RFC 9113 section 6.5.2)\"}, "
          "{\"what\": \"PRIORITY frames: 1\", "
          "\"why\": \"deprecated, without effect (RFC 9113 section 5.3.2)\"}]");
}

static void run_unknown_frames(struct peer *peer)
{
    begin(peer);
    frame_add(&peer->out, 0xaa, 0x55, 0, "12345678", 8);
    frame_add(&peer->out, 0x0c, 0, 0, NULL, 0);
    ask_get(peer, 1);
    check(peer, 1, "dropped",
          "[{\"what\": \"frame of type 0xaa: 8 bytes, stream 0\", "
          "\"why\": \"of no known type (RFC 9113 section 5.5)\"}, "
          "{\"what\": \"frame of type 0x0c: 0 bytes, stream 0\", "
          "\"why\": \"of no known type (RFC 9113 section 5.5)\"}]");
}

/* However many there are, the first ones and the latest are told, the number of the others. */
static void run_too_many_frames(struct peer *peer)
{
    enum {
        SENT = 1000,
        SETTINGS_BEFORE = 9,
        KEPT = (CLIENT_FRAMES_MAX - SETTINGS_BEFORE) / (9 + CLIENT_FRAMES_PAYLOAD_MAX),
    };
    char payload[300] = {0};
    char left_out[64];
    json_t *object;
    json_t *last;

    begin(peer);
    ask_get(peer, 1);
    for (int i = 0; i < SENT; i++)
        frame_add(&peer->out, 0xaa, 0, i, payload, sizeof(payload));
    ask_get(peer, 3);
    object = answer_of(peer, 3);
    assert_int_equal(json_array_size(find(object, "dropped")), KEPT + 1);
    last = json_array_get(find(object, "dropped"), KEPT - 1);
    assert_string_equal(json_string_value(find(last, "what")),
                        "frame of type 0xaa: 300 bytes, stream 999");
    last = json_array_get(find(object, "dropped"), KEPT);
    snprintf(left_out, sizeof(left_out), "other frames: %d", SENT - KEPT);
    assert_string_equal(json_string_value(find(last, "what")), left_out);
    json_decref(object);
}

/* --- Priority (RFC 9218) --- */

static void run_priority(struct peer *peer)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), ASKING, FIELD("priority", "u=1"),
                                          FIELD("priority", "i")};

    begin(peer);
    ask_get(peer, 1);
    ask(peer, 3, END_STREAM, fields, COUNT(fields));
    frame_add(&peer->out, 0x10, 0, 0, "\0\0\0\5u=5", 7); /* PRIORITY_UPDATE, before its stream */
    ask(peer, 5, END_STREAM, fields, COUNT(fields));
    ask(peer, 7, 0, fields, COUNT(fields));
    frame_add(&peer->out, 0x10, 0, 0, "\0\0\0\7u=7", 7);
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 7, NULL, 0);
    peer_pump(peer);
    frame_add(&peer->out, 0x10, 0, 0, "\0\0\0\5u=6", 7); /* behind its stream */
    ask(peer, 9, END_STREAM, fields, COUNT(fields));
    check(peer, 1, "stream.priority",
          "{\"urgency\": 3, \"incremental\": false, \"from\": \"default\"}");
    check(peer, 3, "stream.priority",
          "{\"urgency\": 1, \"incremental\": true, \"from\": \"field\"}");
    check(peer, 5, "stream.priority",
          "{\"urgency\": 5, \"incremental\": false, \"from\": \"frame\"}");
    check(peer, 7, "stream.priority",
          "{\"urgency\": 7, \"incremental\": false, \"from\": \"frame\"}");
    check(peer, 9, "stream.priority",
          "{\"urgency\": 1, \"incremental\": true, \"from\": \"field\"}");
}

/* --- What was wrong before --- */

/* The log has the values too, but another request's may be somebody else's. */
static void run_reports(struct peer *peer)
{
    static const struct field wrong[] = {REQUEST_OF("GET", "/"), FIELD("connection", "\xff\"\\")};
    json_t *object;
    json_t *list;

    begin(peer);
    for (int32_t id = 1; id < 21; id += 2)
        frame_add_request(&peer->out, id, END_STREAM, wrong, COUNT(wrong));
    ask_get(peer, 21);
    object = answer_of(peer, 21);
    list = find(object, "reports");
    assert_int_equal(json_array_size(list), DETAIL_REPORTS);
    for (int32_t i = 0; i < DETAIL_REPORTS; i++) {
        json_t *report = json_array_get(list, (size_t)i);

        assert_int_equal(json_integer_value(find(report, "stream")), 2 * i + 5);
        assert_string_equal(json_string_value(find(report, "text")),
                            "malformed request: field \"connection\": connection-specific field "
                            "(RFC 9113 section 8.2.2)");
    }
    json_decref(object);
}

/* --- What gets no detailed answer --- */

static const struct session_options small_fields = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 1000,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
};

/* Wherever accept stands, and if it is the trailers that are too large. */
static void run_too_large(struct peer *peer)
{
    static const struct field filler = FIELD("x", "value");
    struct marked first = marked_of(5, mark_all, true);
    struct marked last = marked_of(60, mark_all, true);
    struct bytes trailers = {0};

    begin(peer);
    for (int i = 0; i < 60; i++) {
        block_add(&first.block, &filler);
        block_add_never(&trailers, &filler);
    }
    frame_add_block(&peer->out, 1, END_STREAM, &first.block, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 3, END_STREAM, &last.block, FRAME_PAYLOAD_MAX);
    frame_add_request(&peer->out, 5, 0, post, COUNT(post));
    frame_add_block(&peer->out, 5, END_STREAM, &trailers, FRAME_PAYLOAD_MAX);
    frame_add_block(&peer->out, 7, 0, &last.block, FRAME_PAYLOAD_MAX);
    add_get(peer, 9, "/");
    peer_pump(peer);
    for (int32_t id = 1; id < 9; id += 2)
        peer_check_refused(peer, id, 431);
    check(peer, 9, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
    assert_int_equal(json_array_size(first.pairs), 5);
    marked_free(&first);
    marked_free(&last);
    bytes_free(&trailers);
}

/* Fields and trailers are told as long as they come to no more than the fields alone may. */
static void run_trailers_without_room(struct peer *peer)
{
    enum { REST = 1000 - 5 * 32 - 73 }; /* what a request's fields leave */
    char value[REST];
    struct field trailers[] = {{"x", 1, value, REST - 32 - 1}};

    memset(value, 'v', sizeof(value));
    begin(peer);
    for (int32_t id = 1; id < 5; id += 2) {
        frame_add_request(&peer->out, id, 0, post, COUNT(post));
        frame_add_request(&peer->out, id, END_STREAM, trailers, COUNT(trailers));
        trailers[0].value_length++;
    }
    peer_pump(peer);
    check(peer, 1, "dropped", "[]");
    check(peer, 3, "trailers", "[]");
    check(peer, 3, "dropped",
          "[{\"what\": \"trailers: 1 fields\", \"why\": \"no room to keep them\"}]");
    assert_int_equal(number_of(peer, 1, "hpack.decoded_bytes"), 73);
}

static void run_connect(struct peer *peer)
{
    static const struct field fields[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h:1"),
                                          ASKING};

    begin(peer);
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    frame_add_request(&peer->out, 3, 0, fields, COUNT(fields));
    ask_get(peer, 5);
    peer_check_refused(peer, 1, 501);
    peer_check_refused(peer, 3, 501);
    check(peer, 5, "stream.request", "3");
}

static void run_malformed(struct peer *peer)
{
    static const struct field wrong[] = {REQUEST_OF("GET", "/"), ASKING, FIELD("te", "gzip")};
    static const struct field incomplete[] = {FIELD(":method", "GET"), ASKING};
    static const struct field trailers[] = {FIELD("sum", "1"), FIELD(":path", "/")};
    static const struct field length[] = {REQUEST_OF("POST", "/"), ASKING,
                                          FIELD("content-length", "5")};

    begin(peer);
    frame_add_request(&peer->out, 1, END_STREAM, wrong, COUNT(wrong));
    frame_add_request(&peer->out, 3, END_STREAM, incomplete, COUNT(incomplete));
    frame_add_request(&peer->out, 5, 0, post, COUNT(post));
    frame_add_request(&peer->out, 5, END_STREAM, trailers, COUNT(trailers));
    frame_add_request(&peer->out, 7, 0, length, COUNT(length));
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 7, "some", 4);
    ask_get(peer, 9);
    for (int32_t id = 1; id < 9; id += 2)
        peer_check_reset(peer, id, NGHTTP2_PROTOCOL_ERROR);
    check(peer, 9, "fields", "[" GET_PAIRS ", " ASKING_PAIR "]");
    check(peer, 9, "stream.request", "5");
}

/* --- Cut short --- */

enum { STAGES = 3 };

/* A detailed request that has everything; ${ends} is where its frames end. */
static void add_stages(struct bytes *bytes, int32_t id, size_t ends[STAGES])
{
    static const struct field field = FIELD("x", "value");
    struct marked fields = marked_of(20, mark_each_third, true);
    struct bytes trailers = {0};
    size_t count = 0;

    for (int i = 0; i < 20; i++)
        block_add_never(&trailers, &field);
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

/* The connection ends anywhere: nothing is lost, which builds with AddressSanitizer see. */
static void test_end_of_connection(void **state)
{
    struct bytes bytes = {0};
    size_t ends[STAGES];

    (void)state;
    frame_add_preface(&bytes);
    frame_add_setting(&bytes, 0x1337, 1);
    add_stages(&bytes, 1, ends);
    for (size_t length = 0; length <= bytes.length; length++) {
        struct peer *peer = peer_new(&peer_options, peer_plain);

        bytes_add(&peer->out, bytes.data, length);
        peer_pump(peer);
        assert_int_equal(peer_response(peer, 1)->status, length == bytes.length ? 200 : 0);
        peer_free(peer);
    }
    bytes_free(&bytes);
}

/* A reset between any two frames; the last one of an answer that waits for its window. */
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
        assert_null(peer_closed(peer, id));
        frame_add_reset(&peer->out, id, NGHTTP2_CANCEL);
        peer_pump(peer);
        assert_non_null(peer_closed(peer, id));
        bytes_free(&bytes);
    }
    frame_add_setting(&peer->out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535);
    ask_get(peer, id);
    check(peer, id, "stream.request", "4");
}

/* --- A run of each --- */

#define EACH_WAY(name, options)                                                                    \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        each_way(run_##name, (options));                                                           \
    }

EACH_WAY(duplicates, &peer_options)
EACH_WAY(not_asking, &peer_options)
EACH_WAY(accept_in_parts, &peer_options)
EACH_WAY(asking_elsewhere, &peer_options)
EACH_WAY(never_indexed, &peer_options)
EACH_WAY(never_indexed_names, &peer_options)
EACH_WAY(marks_of_others, &peer_options)
EACH_WAY(trailers, &peer_options)
EACH_WAY(trailers_in_between, &peer_options)
EACH_WAY(rest, &peer_options)
EACH_WAY(expect, &peer_options)
EACH_WAY(alternating, &peer_options)
EACH_WAY(many_at_once, &peer_options)
EACH_WAY(head, &peer_options)
EACH_WAY(pretty, &pretty)
EACH_WAY(wire_bytes, &peer_options)
EACH_WAY(dynamic_table, &peer_options)
EACH_WAY(numbers, &peer_options)
EACH_WAY(connection, &peer_options)
EACH_WAY(windows, &peer_options)
EACH_WAY(settings, &peer_options)
EACH_WAY(later, &peer_options)
EACH_WAY(unknown_frames, &peer_options)
EACH_WAY(too_many_frames, &peer_options)
EACH_WAY(priority, &peer_options)
EACH_WAY(reports, &peer_options)
EACH_WAY(too_large, &small_fields)
EACH_WAY(trailers_without_room, &small_fields)
EACH_WAY(connect, &peer_options)
EACH_WAY(malformed, &peer_options)
EACH_WAY(reset, &peer_options)

#define TEST(name) cmocka_unit_test_teardown(test_##name, peer_tell_way)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(duplicates),
        TEST(not_asking),
        TEST(accept_in_parts),
        TEST(asking_elsewhere),
        TEST(never_indexed),
        TEST(never_indexed_names),
        TEST(marks_of_others),
        TEST(trailers),
        TEST(trailers_in_between),
        TEST(rest),
        TEST(expect),
        TEST(alternating),
        TEST(many_at_once),
        TEST(head),
        TEST(pretty),
        TEST(wire_bytes),
        TEST(dynamic_table),
        TEST(numbers),
        TEST(number_on_the_next_connection),
        TEST(connection),
        TEST(windows),
        TEST(settings),
        TEST(later),
        TEST(unknown_frames),
        TEST(too_many_frames),
        TEST(priority),
        TEST(reports),
        TEST(too_large),
        TEST(trailers_without_room),
        TEST(connect),
        TEST(malformed),
        TEST(reset),
        TEST(end_of_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
