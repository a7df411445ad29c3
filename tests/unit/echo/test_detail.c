/* The detailed representation: what is put in is read back, by jansson. */
#include "echo/detail.h"

#include "base/arena.h"
#include "base/wire.h"
#include "echo/client_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "unit/range.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(text)  (text), sizeof(text) - 1

enum {
    PRIORITY = 0x2,
    SETTINGS = 0x4,
    WINDOW_UPDATE = 0x8,
    PRIORITY_UPDATE = 0x10,
};

static struct arena arena; /* of no memory: every block is malloc's, and watched */

/* --- What is known --- */

static void add_frame(struct client_frames *client_frames, uint8_t type, int32_t stream_id,
                      const void *payload, size_t length)
{
    struct frame_header frame = {length, stream_id, type, 0};

    assert_true(client_frames_add(client_frames, &arena, &frame));
    client_frames_receive(client_frames, payload, length);
}

struct pair {
    const char *name;
    const char *value;
    size_t value_length;
    bool never_indexed;
};

static struct field_list *fields_of(const struct pair *pairs, size_t count)
{
    struct field_list *fields;
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += strlen(pairs[i].name) + pairs[i].value_length;
    fields = field_list_new(&arena, count, length);
    assert_non_null(fields);
    for (size_t i = 0; i < count; i++) {
        struct field_list_entry entry = {(const uint8_t *)pairs[i].name, strlen(pairs[i].name),
                                         (const uint8_t *)pairs[i].value, pairs[i].value_length,
                                         pairs[i].never_indexed};

        field_list_add(fields, &entry);
    }
    return fields;
}

/* The least there is to tell. */
struct known {
    struct detail detail;
    struct client_frames client_frames;
    struct field_list *fields;
    struct field_list *trailers;
};

static void know(struct known *known, const struct pair *pairs, size_t count)
{
    *known = (struct known){.fields = fields_of(pairs, count)};
    known->detail = (struct detail){.origin = {.protocol = "h2c"},
                                    .fields = known->fields,
                                    .client_frames = &known->client_frames};
}

static void forget(struct known *known)
{
    field_list_free(&arena, known->fields);
    field_list_free(&arena, known->trailers);
    client_frames_free(&known->client_frames, &arena);
}

static const struct pair get[] = {{":method", BYTES("GET"), false},
                                  {":path", BYTES("/"), false},
                                  {":scheme", BYTES("http"), false},
                                  {":authority", BYTES("h"), false}};

static struct echo_body *compose(const struct known *known)
{
    struct echo_body *body = detail_compose(&arena, &known->detail);

    assert_non_null(body);
    return body;
}

static json_t *read_back(const struct known *known)
{
    struct echo_body *body = compose(known);
    json_t *object =
        json_loadb(body->text, body->length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

    assert_non_null(object);
    echo_body_drop(&arena, body);
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

/* Fail unless the member at ${path} is what the JSON ${text} says. */
static void check(const struct known *known, const char *path, const char *text)
{
    json_t *object = read_back(known);
    json_t *found = find(object, path);
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
    char *shown;

    assert_non_null(wanted);
    if (!json_equal(found, wanted)) {
        shown = json_dumps(found, JSON_ENCODE_ANY);
        fail_msg("%s: %s, not %s", path, shown, text);
    }
    json_decref(wanted);
    json_decref(object);
}

/* The list at ${path} has so many members. */
static void check_count(const struct known *known, const char *path, size_t count)
{
    json_t *object = read_back(known);

    assert_int_equal(json_array_size(find(object, path)), count);
    json_decref(object);
}

static void check_text(const struct known *known, const char *text)
{
    struct echo_body *body = compose(known);

    for (size_t at = 0; at < body->length; at++) {
        if (body->text[at] != text[at])
            fail_msg("\"%.20s\", not \"%.20s\"", body->text + at, text + at);
    }
    assert_int_equal(body->length, strlen(text));
    echo_body_drop(&arena, body);
}

/* --- All of it --- */

static const struct pair all_fields[] = {
    {":method", BYTES("POST"), false},    {":path", BYTES("/?a=\"b\""), false},
    {":scheme", BYTES("http"), false},    {":authority", BYTES("localhost"), true},
    {"cookie", BYTES("a=1"), true},       {"x", BYTES("\xc3\xa4"), false},
    {"cookie", BYTES("b=2"), false},      {"x", BYTES("\xff\x00\x0a"), false},
    {"priority", BYTES("u=1, i"), false}, {"x", BYTES(""), false},
};

static const struct pair all_trailers[] = {{"sum", BYTES("1"), false},
                                           {"sum", BYTES("\x80"), true}};

static struct detail_reports all_reports = {
    .count = 2, .latest = {{0, "the connection's"}, {1, "the \"stream's\" \\xff"}}};

/* Every member has something to tell. */
static void know_all(struct known *known)
{
    know(known, all_fields, COUNT(all_fields));
    add_frame(&known->client_frames, SETTINGS, 0,
              "\0\3\0\0\0\144\0\4\0\240\0\0\x13\x37\xff\xff\xff\xff", 18);
    add_frame(&known->client_frames, WINDOW_UPDATE, 0, "\0\357\0\1", 4);
    add_frame(&known->client_frames, PRIORITY, 3, "\0\0\0\0\310", 5);
    add_frame(&known->client_frames, 0xfe, 9, "abc", 3);
    client_frames_note_request(&known->client_frames);
    add_frame(&known->client_frames, SETTINGS, 0, "\0\2\0\0\0\0", 6);
    add_frame(&known->client_frames, PRIORITY, 5, "\x80\0\0\3\0", 5);
    add_frame(&known->client_frames, PRIORITY_UPDATE, 0, "\0\0\0\7u=6", 7);
    known->trailers = fields_of(all_trailers, COUNT(all_trailers));
    known->detail.origin.id = 12;
    known->detail.origin.protocol = "h2";
    known->detail.origin.has_tls = true;
    known->detail.origin.tls = (struct tls_info){.version = "TLSv1.3",
                                                 .cipher = "TLS_AES_128_GCM_SHA256",
                                                 .alpn = "h2",
                                                 .sni = "a\xff",
                                                 .has_client_certificate = true,
                                                 .client_subject = "CN=\xc3\xbc\\,\"",
                                                 .resumed = true};
    strcpy(known->detail.origin.peer, "[::1]:5000");
    strcpy(known->detail.origin.local, "[::1]:8080");
    known->detail.age_us = 1234;
    known->detail.stream_id = 13;
    known->detail.number = 7;
    known->detail.trailers = known->trailers;
    known->detail.content_length = 4096;
    known->detail.dependency = (struct wire_dependency){11, 256, true};
    known->detail.block = (struct detail_block){77, 333};
    known->detail.stream_window = 65535;
    known->detail.connection_window = 1000000;
    known->detail.reports = &all_reports;
}

#define ALL_FIELDS                                                                                 \
    "[[\":method\", \"POST\"], [\":path\", \"/?a=\\\"b\\\"\"], [\":scheme\", \"http\"], "          \
    "[\":authority\", \"localhost\", \"never-indexed\"], "                                         \
    "[\"cookie\", \"a=1\", \"never-indexed\"], [\"x\", \"\xc3\xa4\"], [\"cookie\", \"b=2\"], "     \
    "[\"x\", {\"hex\": \"ff000a\"}], [\"priority\", \"u=1, i\"], [\"x\", \"\"]]"

/* The form is a promise: its names and their order. */
static void test_all(void **state)
{
    struct known known;

    (void)state;
    know_all(&known);
    check_text(
        &known,
        "{\"fields\": " ALL_FIELDS ", "
        "\"trailers\": [[\"sum\", \"1\"], [\"sum\", {\"hex\": \"80\"}, \"never-indexed\"]], "
        "\"stream\": {\"id\": 13, \"request\": 7, \"content_bytes\": 4096, "
        "\"send_window\": 65535, "
        "\"priority\": {\"urgency\": 1, \"incremental\": true, \"from\": \"field\"}, "
        "\"dependency\": {\"depends_on\": 11, \"weight\": 256, \"exclusive\": true}}, "
        "\"connection\": {\"id\": 12, \"protocol\": \"h2\", \"peer\": \"[::1]:5000\", "
        "\"local\": \"[::1]:8080\", \"age_ms\": 1.234, \"send_window\": 1000000, "
        "\"tls\": {\"version\": \"TLSv1.3\", \"cipher\": \"TLS_AES_128_GCM_SHA256\", "
        "\"alpn\": \"h2\", \"sni\": {\"hex\": \"61ff\"}, "
        "\"client\": \"CN=\xc3\xbc\\\\,\\\"\", \"resumed\": true}}, "
        "\"client\": {\"settings\": ["
        "{\"id\": 3, \"name\": \"MAX_CONCURRENT_STREAMS\", \"value\": 100}, "
        "{\"id\": 4, \"name\": \"INITIAL_WINDOW_SIZE\", \"value\": 10485760}, "
        "{\"id\": 4919, \"name\": null, \"value\": 4294967295}], "
        "\"later_settings\": [{\"id\": 2, \"name\": \"ENABLE_PUSH\", \"value\": 0}], "
        "\"window_update\": 15663105, "
        "\"priority_frames\": ["
        "{\"stream\": 3, \"depends_on\": 0, \"weight\": 201, \"exclusive\": false}, "
        "{\"stream\": 5, \"depends_on\": 3, \"weight\": 1, \"exclusive\": true}], "
        "\"fingerprint\": \"3:100;4:10485760;4919:4294967295|15663105|3:0:0:201|m,p,s,a\"}, "
        "\"hpack\": {\"wire_bytes\": 77, \"decoded_bytes\": 93, \"table_bytes\": 333}, "
        "\"dropped\": ["
        "{\"what\": \"frame of type 0xfe: 3 bytes, stream 9\", "
        "\"why\": \"of no known type (RFC 9113 section 5.5)\"}, "
        "{\"what\": \"settings: 1\", \"why\": \"of no known meaning (RFC 9113 section 6.5.2)\"}, "
        "{\"what\": \"PRIORITY frames: 2\", "
        "\"why\": \"deprecated, without effect (RFC 9113 section 5.3.2)\"}, "
        "{\"what\": \"PRIORITY_UPDATE frames: 1\", "
        "\"why\": \"without effect: answers go out as they are ready\"}, "
        "{\"what\": \"content: 4096 bytes\", \"why\": \"counted, not kept\"}, "
        "{\"what\": \"priority in HEADERS\", "
        "\"why\": \"deprecated, without effect (RFC 9113 section 5.3.2)\"}], "
        "\"reports\": [{\"stream\": 0, \"text\": \"the connection's\"}, "
        "{\"stream\": 1, \"text\": \"the \\\"stream's\\\" \\\\xff\"}]}");
    forget(&known);
}

/* The members are there, whatever there is to tell. */
static void test_nothing(void **state)
{
    struct known known;

    (void)state;
    know(&known, NULL, 0);
    check_text(&known, "{\"fields\": [], \"trailers\": [], "
                       "\"stream\": {\"id\": 0, \"request\": 0, \"content_bytes\": 0, "
                       "\"send_window\": 0, \"priority\": {\"urgency\": 3, \"incremental\": false, "
                       "\"from\": \"default\"}, \"dependency\": null}, "
                       "\"connection\": {\"id\": 0, \"protocol\": \"h2c\", \"peer\": \"\", "
                       "\"local\": \"\", \"age_ms\": 0.0, \"send_window\": 0, "
                       "\"tls\": null}, "
                       "\"client\": {\"settings\": [], \"later_settings\": [], "
                       "\"window_update\": 0, \"priority_frames\": [], "
                       "\"fingerprint\": \"|00|0|\"}, "
                       "\"hpack\": {\"wire_bytes\": 0, \"decoded_bytes\": 0, \"table_bytes\": 0}, "
                       "\"dropped\": [], \"reports\": []}");
    forget(&known);
}

/* Layout is as jansson has it; a newline ends the indented form, as it does the plain object. */
static void check_layout(const struct known *known)
{
    bool pretty = known->detail.pretty;
    struct echo_body *body = compose(known);
    json_t *object = json_loadb(body->text, body->length, JSON_REJECT_DUPLICATES, NULL);
    char *text = json_dumps(object, JSON_REAL_PRECISION(15) | (pretty ? JSON_INDENT(2) : 0));

    assert_non_null(text);
    assert_int_equal(body->length, strlen(text) + pretty);
    assert_memory_equal(body->text, text, strlen(text));
    assert_true(!pretty || body->text[body->length - 1] == '\n');
    free(text);
    json_decref(object);
    echo_body_drop(&arena, body);
}

static void test_layout(void **state)
{
    struct known all;
    struct known nothing;

    (void)state;
    know_all(&all);
    know(&nothing, NULL, 0);
    check_layout(&all);
    check_layout(&nothing);
    all.detail.pretty = nothing.detail.pretty = true;
    check_layout(&all);
    check_layout(&nothing);
    forget(&all);
    forget(&nothing);
}

static void test_pretty(void **state)
{
    struct known known;
    json_t *compact;
    json_t *pretty;

    (void)state;
    know_all(&known);
    compact = read_back(&known);
    known.detail.pretty = true;
    pretty = read_back(&known);
    assert_true(json_equal(compact, pretty));
    json_decref(compact);
    json_decref(pretty);
    forget(&known);
}

/* --- Fields --- */

/* A client that reads may parse a header's bytes again: nothing is lost, whatever they are. */
static void test_any_byte_of_a_value(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char value = (char)byte;
        struct pair pair = {"x", &value, 1, false};
        struct known known;
        json_t *object;
        json_t *found;
        char hex[3];

        know(&known, &pair, 1);
        object = read_back(&known);
        found = json_array_get(json_array_get(find(object, "fields"), 0), 1);
        snprintf(hex, sizeof(hex), "%02x", byte);
        if (byte < 0x80)
            assert_memory_equal(json_string_value(found), &value, 1);
        else
            assert_string_equal(json_string_value(find(found, "hex")), hex);
        assert_int_equal(byte < 0x80 ? json_string_length(found) : 1, 1);
        json_decref(object);
        forget(&known);
    }
}

static void test_what_is_utf8(void **state)
{
    static const struct pair pairs[] = {
        {"two", BYTES("\xc3\xa4"), false},
        {"three", BYTES("\xe2\x82\xac"), false},
        {"four", BYTES("\xf0\x9f\x98\x80"), false},
        {"cut", BYTES("\xe2\x82"), false},
        {"overlong", BYTES("\xc0\xaf"), false},
        {"surrogate", BYTES("\xed\xa0\x80"), false},
        {"too-large", BYTES("\xf4\x90\x80\x80"), false},
        {"mixed", BYTES("a\xc3\xa4\xe4"), false},
    };
    struct known known;

    (void)state;
    know(&known, pairs, COUNT(pairs));
    check(&known, "fields",
          "[[\"two\", \"\xc3\xa4\"], [\"three\", \"\xe2\x82\xac\"], "
          "[\"four\", \"\xf0\x9f\x98\x80\"], [\"cut\", {\"hex\": \"e282\"}], "
          "[\"overlong\", {\"hex\": \"c0af\"}], [\"surrogate\", {\"hex\": \"eda080\"}], "
          "[\"too-large\", {\"hex\": \"f4908080\"}], [\"mixed\", {\"hex\": \"61c3a4e4\"}]]");
    forget(&known);
}

static void test_head_is_told_as_get(void **state)
{
    static const struct pair head[] = {{":method", BYTES("HEAD"), true},
                                       {":path", BYTES("/HEAD"), false},
                                       {"x", BYTES("HEAD"), false}};
    struct known known;

    (void)state;
    know(&known, head, COUNT(head));
    known.trailers = fields_of(head, COUNT(head));
    known.detail.trailers = known.trailers;
    known.detail.head = true;
    check(&known, "fields",
          "[[\":method\", \"GET\", \"never-indexed\"], [\":path\", \"/HEAD\"], [\"x\", \"HEAD\"]]");
    check(
        &known, "trailers",
        "[[\":method\", \"HEAD\", \"never-indexed\"], [\":path\", \"/HEAD\"], [\"x\", \"HEAD\"]]");
    known.detail.head = false;
    check(
        &known, "fields",
        "[[\":method\", \"HEAD\", \"never-indexed\"], [\":path\", \"/HEAD\"], [\"x\", \"HEAD\"]]");
    forget(&known);
}

/* --- Numbers --- */

/* The largest there are: no sign, no exponent, no bit is lost. */
static void test_large_numbers(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    known.detail.origin.id = INT64_MAX;
    known.detail.stream_id = INT32_MAX;
    known.detail.number = INT32_MAX / 2 + 1;
    known.detail.content_length = INT64_MAX;
    known.detail.stream_window = INT32_MAX;
    known.detail.connection_window = -INT32_MAX;
    known.detail.block = (struct detail_block){SIZE_MAX / 2, SIZE_MAX / 2};
    check(&known, "connection.id", "9223372036854775807");
    check(&known, "connection.send_window", "-2147483647");
    check(&known, "stream.id", "2147483647");
    check(&known, "stream.request", "1073741824");
    check(&known, "stream.content_bytes", "9223372036854775807");
    check(&known, "stream.send_window", "2147483647");
    check(&known, "hpack.wire_bytes", "9223372036854775807");
    check(&known, "hpack.table_bytes", "9223372036854775807");
    forget(&known);
}

/* Microseconds are told of a connection however old. */
static void test_age(void **state)
{
    static const struct {
        int64_t us;
        double ms;
    } ages[] = {{0, 0}, {1, 0.001}, {999, 0.999}, {1234567, 1234.567}, {86400123456, 86400123.456}};
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    for (size_t i = 0; i < COUNT(ages); i++) {
        json_t *object;

        known.detail.age_us = ages[i].us;
        object = read_back(&known);
        assert_true(json_real_value(find(object, "connection.age_ms")) == ages[i].ms);
        json_decref(object);
    }
    forget(&known);
}

/* --- The client --- */

static void test_settings_have_names(void **state)
{
    static const char *const names[] = {"null",
                                        "\"HEADER_TABLE_SIZE\"",
                                        "\"ENABLE_PUSH\"",
                                        "\"MAX_CONCURRENT_STREAMS\"",
                                        "\"INITIAL_WINDOW_SIZE\"",
                                        "\"MAX_FRAME_SIZE\"",
                                        "\"MAX_HEADER_LIST_SIZE\"",
                                        "null",
                                        "\"ENABLE_CONNECT_PROTOCOL\"",
                                        "\"NO_RFC7540_PRIORITIES\"",
                                        "null"};

    (void)state;
    for (unsigned id = 0; id < COUNT(names); id++) {
        uint8_t setting[WIRE_SETTING_SIZE] = {0, (uint8_t)id, 1, 2, 3, 4};
        struct known known;
        char text[128];

        know(&known, get, COUNT(get));
        add_frame(&known.client_frames, SETTINGS, 0, setting, sizeof(setting));
        snprintf(text, sizeof(text), "[{\"id\": %u, \"name\": %s, \"value\": 16909060}]", id,
                 names[id]);
        check(&known, "client.settings", text);
        check_count(&known, "dropped", strcmp(names[id], "null") == 0 ? 1 : 0);
        forget(&known);
    }
}

/* In order, and again where they come again. */
static void test_settings_in_order(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    add_frame(&known.client_frames, SETTINGS, 0, "\0\6\0\0\0\1\0\1\0\0\0\2\0\6\0\0\0\3", 18);
    add_frame(&known.client_frames, SETTINGS, 0, "\0\5\0\0\0\4", 6);
    client_frames_note_request(&known.client_frames);
    add_frame(&known.client_frames, SETTINGS, 0, NULL, 0);
    add_frame(&known.client_frames, SETTINGS, 0, "\0\5\0\0\0\5\0\4\0\0\0\6", 12);
    check(&known, "client.settings",
          "[{\"id\": 6, \"name\": \"MAX_HEADER_LIST_SIZE\", \"value\": 1}, "
          "{\"id\": 1, \"name\": \"HEADER_TABLE_SIZE\", \"value\": 2}, "
          "{\"id\": 6, \"name\": \"MAX_HEADER_LIST_SIZE\", \"value\": 3}]");
    check(&known, "client.later_settings",
          "[{\"id\": 5, \"name\": \"MAX_FRAME_SIZE\", \"value\": 4}, "
          "{\"id\": 5, \"name\": \"MAX_FRAME_SIZE\", \"value\": 5}, "
          "{\"id\": 4, \"name\": \"INITIAL_WINDOW_SIZE\", \"value\": 6}]");
    check(&known, "client.fingerprint", "\"6:1;1:2;6:3|00|0|m,p,s,a\"");
    forget(&known);
}

/* What has not come yet is not told, and not said to be dropped either. */
static void test_settings_under_way(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    add_frame(&known.client_frames, SETTINGS, 0, NULL, 0);
    assert_true(client_frames_add(&known.client_frames, &arena,
                                  &(struct frame_header){30, 0, SETTINGS, 0}));
    client_frames_receive(&known.client_frames, (const uint8_t *)"\0\2\0\0\0\1\0\4\0", 9);
    check(&known, "client.later_settings",
          "[{\"id\": 2, \"name\": \"ENABLE_PUSH\", \"value\": 1}]");
    check(&known, "dropped", "[]");
    forget(&known);
}

/* What the connection's window is opened by first is the client's own choice. */
static void test_window_update(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    add_frame(&known.client_frames, SETTINGS, 0, NULL, 0);
    check(&known, "client.window_update", "0");
    add_frame(&known.client_frames, WINDOW_UPDATE, 0, "\xff\xff\xff\xff",
              4); /* the first bit is reserved */
    check(&known, "client.window_update", "2147483647");
    add_frame(&known.client_frames, WINDOW_UPDATE, 0, "\0\0\0\1", 4);
    check(&known, "client.window_update", "2147483647");
    check(&known, "dropped", "[]");
    forget(&known);
}

static void test_priority_frames(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    add_frame(&known.client_frames, SETTINGS, 0, NULL, 0);
    add_frame(&known.client_frames, PRIORITY, INT32_MAX, "\xff\xff\xff\xff\xff", 5);
    add_frame(&known.client_frames, PRIORITY, 3, "\0\0\0\5\0", 5);
    add_frame(&known.client_frames, PRIORITY, 5, "\0\0\0\1", 4); /* of a wrong size */
    check(&known, "client.priority_frames",
          "[{\"stream\": 2147483647, \"depends_on\": 2147483647, \"weight\": 256, "
          "\"exclusive\": true}, "
          "{\"stream\": 3, \"depends_on\": 5, \"weight\": 1, \"exclusive\": false}]");
    check(&known, "client.fingerprint", "\"|00|2147483647:1:2147483647:256,3:0:5:1|m,p,s,a\"");
    forget(&known);
}

/* --- The fingerprint --- */

/* Akamai's own example, and what a window of one digit looks like. */
static void test_fingerprint(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    add_frame(&known.client_frames, SETTINGS, 0, "\0\1\0\1\0\0\0\3\0\0\3\350\0\4\0\137\377\377",
              18);
    add_frame(&known.client_frames, WINDOW_UPDATE, 0, "\0\357\0\1", 4);
    client_frames_note_request(&known.client_frames);
    add_frame(&known.client_frames, PRIORITY, 5, "\0\0\0\3\1", 5); /* too late to be of it */
    check(&known, "client.fingerprint", "\"1:65536;3:1000;4:6291455|15663105|0|m,p,s,a\"");
    forget(&known);

    know(&known, get, COUNT(get));
    add_frame(&known.client_frames, SETTINGS, 0, NULL, 0);
    add_frame(&known.client_frames, WINDOW_UPDATE, 0, "\0\0\0\5", 4);
    check(&known, "client.fingerprint", "\"|5|0|m,p,s,a\"");
    forget(&known);
}

/* In the order of the request; fields that are no pseudo-header fields have none. */
static void test_fingerprint_of_fields(void **state)
{
    static const struct pair pairs[] = {
        {":authority", BYTES(""), false}, {":scheme", BYTES(""), true},
        {":method", BYTES(""), false},    {":path", BYTES(""), false},
        {"method", BYTES(":"), false},    {"p", BYTES(""), false},
    };
    struct known known;

    (void)state;
    know(&known, pairs, COUNT(pairs));
    check(&known, "client.fingerprint", "\"|00|0|a,s,m,p\"");
    forget(&known);
}

/* --- Priority (RFC 9218) --- */

static void test_priority(void **state)
{
    static const struct pair pairs[] = {{"priority", BYTES("u=0"), false},
                                        {"x", BYTES("u=7"), false},
                                        {"priority", BYTES("i"), false}};
    struct known known;

    (void)state;
    know(&known, pairs, COUNT(pairs));
    known.detail.stream_id = 5;
    check(&known, "stream.priority",
          "{\"urgency\": 0, \"incremental\": true, \"from\": \"field\"}");
    add_frame(&known.client_frames, PRIORITY_UPDATE, 0, "\0\0\0\3u=6", 7); /* of another stream */
    add_frame(&known.client_frames, PRIORITY_UPDATE, 0, "\0\0\0", 3);
    add_frame(&known.client_frames, SETTINGS, 0, "\0\0\0\5u=", 6);
    check(&known, "stream.priority",
          "{\"urgency\": 0, \"incremental\": true, \"from\": \"field\"}");
    add_frame(&known.client_frames, PRIORITY_UPDATE, 0, "\x80\0\0\5u=6", 7);
    check(&known, "stream.priority",
          "{\"urgency\": 6, \"incremental\": false, \"from\": \"frame\"}");
    add_frame(&known.client_frames, PRIORITY_UPDATE, 0, "\0\0\0\5i",
              5); /* the last one counts, alone */
    check(&known, "stream.priority",
          "{\"urgency\": 3, \"incremental\": true, \"from\": \"frame\"}");
    add_frame(&known.client_frames, PRIORITY_UPDATE, 0, "\0\0\0\5", 4);
    check(&known, "stream.priority",
          "{\"urgency\": 3, \"incremental\": false, \"from\": \"frame\"}");
    forget(&known);
}

/* --- What was dropped, and reports --- */

static void test_frames_without_room(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    known.client_frames.left_out = 17;
    check(&known, "dropped",
          "[{\"what\": \"other frames: 17\", \"why\": \"no room to keep them\"}]");
    forget(&known);
}

static void test_trailers_without_room(void **state)
{
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    known.detail.trailers_left_out = 3;
    check(&known, "trailers", "[]");
    check(&known, "dropped",
          "[{\"what\": \"trailers: 3 fields\", \"why\": \"no room to keep them\"}]");
    forget(&known);
}

/* The latest ones, the oldest of them first, whatever the number of all. */
static void test_reports(void **state)
{
    static struct detail_reports reports;
    struct known known;

    (void)state;
    know(&known, get, COUNT(get));
    known.detail.reports = &reports;
    for (size_t count = 0; count < 3 * DETAIL_REPORTS; count++) {
        size_t told = count < DETAIL_REPORTS ? count : DETAIL_REPORTS;
        json_t *object = read_back(&known);
        json_t *list = find(object, "reports");

        assert_int_equal(json_array_size(list), told);
        for (size_t i = 0; i < told; i++)
            assert_int_equal(json_integer_value(find(json_array_get(list, i), "stream")),
                             count - told + i);
        json_decref(object);
        reports.latest[reports.count++ % DETAIL_REPORTS] =
            (struct detail_report){(int32_t)count, "text"};
    }
    forget(&known);
}

/* --- Its size --- */

/* What ${size} bytes of fields like ${pair}, as RFC 9113 section 6.5.2 counts them, come to. */
static size_t length_of_fields(size_t size, const struct pair *pair, bool pretty)
{
    size_t count = size / (strlen(pair->name) + pair->value_length + 32);
    struct pair *pairs = malloc(count * sizeof(*pairs));
    struct known known;
    struct echo_body *body;
    size_t length;

    assert_non_null(pairs);
    for (size_t i = 0; i < count; i++)
        pairs[i] = *pair;
    know(&known, pairs, count);
    known.detail.pretty = pretty;
    body = compose(&known);
    length = body->length;
    echo_body_drop(&arena, body);
    forget(&known);
    free(pairs);
    return length;
}

/* Of whatever kind the fields are, an answer is little more than twice as large as they are: in the
 * indented form, two and a half times. */
static void test_size_by_fields(void **state)
{
    enum { SIZE = 65536, REST = 1024 };
    static const size_t lengths[] = {0, 1, 2, 3, 31, 100, 1000, 60000};
    static const uint8_t bytes[] = {'a', '"', '\\', '\t', 0xff};
    static char value[60000];

    (void)state;
    for (size_t i = 0; i < COUNT(lengths) * COUNT(bytes) * 2; i++) {
        struct pair pair = {"a", value, lengths[i / 2 % COUNT(lengths)], i % 2 == 0};

        memset(value, bytes[i / 2 / COUNT(lengths)], sizeof(value));
        assert_between(length_of_fields(SIZE, &pair, false), 1, 2 * SIZE + REST);
        assert_between(length_of_fields(SIZE, &pair, true), 1, 2 * SIZE + SIZE / 2 + REST);
    }
}

/* As many frames of a kind as there is room for, each a line that is as long as can be. */
static size_t length_of_frames(uint8_t type, size_t length, uint8_t content, bool opened,
                               bool pretty)
{
    uint8_t payload[CLIENT_FRAMES_PAYLOAD_MAX];
    struct known known;
    struct echo_body *body;
    size_t body_length;

    memset(payload, content, sizeof(payload));
    know(&known, get, COUNT(get));
    known.client_frames.opened = opened;
    known.detail.pretty = pretty;
    for (int i = 0; i < CLIENT_FRAMES_MAX; i++)
        add_frame(&known.client_frames, type, INT32_MAX, payload, length);
    body = compose(&known);
    body_length = body->length;
    echo_body_drop(&arena, body);
    forget(&known);
    return body_length;
}

/* What is kept of frames is bounded, and so is what becomes of it. */
static void test_size_by_frames(void **state)
{
    enum { SETTINGS_MAX = CLIENT_FRAMES_PAYLOAD_MAX / WIRE_SETTING_SIZE * WIRE_SETTING_SIZE };
    static const struct {
        uint8_t type;
        size_t length;
        uint8_t content;
    } frames[] = {
        {0xff, 0, 0},
        {0xff, 1, 0},
        {PRIORITY, 5, 0xff},
        {PRIORITY, 0, 0},
        {PRIORITY_UPDATE, 4, 0xff},
        {SETTINGS, 0, 0},
        {SETTINGS, WIRE_SETTING_SIZE, 0xff},
        {SETTINGS, SETTINGS_MAX, 0xff},
        {SETTINGS, SETTINGS_MAX, 0},
        {WINDOW_UPDATE, 4, 0x7f},
    };

    (void)state;
    for (size_t i = 0; i < 2 * COUNT(frames); i++) {
        size_t length = frames[i / 2].length;
        uint8_t content = frames[i / 2].content;
        bool opened = i % 2 == 0;

        assert_between(length_of_frames(frames[i / 2].type, length, content, opened, false), 1,
                       12 * 1024);
        assert_between(length_of_frames(frames[i / 2].type, length, content, opened, true), 1,
                       18 * 1024);
    }
}

/* No report, however long, makes much of it. */
static void test_size_by_reports(void **state)
{
    static struct detail_reports reports = {.count = 1000};
    struct known known;
    struct echo_body *body;

    (void)state;
    for (size_t i = 0; i < DETAIL_REPORTS; i++) {
        reports.latest[i].stream_id = INT32_MAX;
        memset(reports.latest[i].text, '\\', DETAIL_REPORT_MAX - 1);
    }
    know(&known, get, COUNT(get));
    known.detail.reports = &reports;
    body = compose(&known);
    assert_between(body->length, DETAIL_REPORTS * 2 * (DETAIL_REPORT_MAX - 1), 4 * 1024);
    echo_body_drop(&arena, body);
    forget(&known);
}

/* Of all that is kept none is missing in it. */
static void test_longest_fingerprint(void **state)
{
    enum { ALL = CLIENT_FRAMES_PAYLOAD_MAX / WIRE_SETTING_SIZE, ENDING = sizeof("|m,p,s,a") - 1 };
    uint8_t payload[CLIENT_FRAMES_PAYLOAD_MAX];
    struct known known;
    json_t *object;
    const char *text;
    size_t settings = 1;
    size_t priorities = 1;

    (void)state;
    memset(payload, 0xff, sizeof(payload));
    know(&known, get, COUNT(get));
    add_frame(&known.client_frames, SETTINGS, 0, payload, sizeof(payload));
    add_frame(&known.client_frames, WINDOW_UPDATE, 0, payload, 4);
    while (known.client_frames.left_out == 0)
        add_frame(&known.client_frames, PRIORITY, INT32_MAX, payload, 5);
    object = read_back(&known);
    text = json_string_value(find(object, "client.fingerprint"));
    for (const char *at = text; *at != '\0'; at++) {
        settings += *at == ';';
        priorities += *at == ',' && at[1] == '2';
    }
    assert_int_equal(settings, ALL);
    assert_int_equal(priorities, json_array_size(find(object, "client.priority_frames")));
    assert_string_equal(text + strlen(text) - ENDING, "|m,p,s,a");
    json_decref(object);
    forget(&known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_pretty),
        cmocka_unit_test(test_any_byte_of_a_value),
        cmocka_unit_test(test_what_is_utf8),
        cmocka_unit_test(test_head_is_told_as_get),
        cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_settings_have_names),
        cmocka_unit_test(test_settings_in_order),
        cmocka_unit_test(test_settings_under_way),
        cmocka_unit_test(test_window_update),
        cmocka_unit_test(test_priority_frames),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_fingerprint_of_fields),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_frames_without_room),
        cmocka_unit_test(test_trailers_without_room),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_size_by_fields),
        cmocka_unit_test(test_size_by_frames),
        cmocka_unit_test(test_size_by_reports),
        cmocka_unit_test(test_longest_fingerprint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
