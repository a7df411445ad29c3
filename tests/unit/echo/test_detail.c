/* The detailed response as a whole: what goes in is read back, by jansson. */
#include "unit/echo/detail_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void check_body(const struct detail_input *input, const char *text)
{
    struct echo_body *body = input_compose(input);

    for (size_t at = 0; at < body->length; at++) {
        if (body->text[at] != text[at])
            fail_msg("\"%.20s\", not \"%.20s\"", body->text + at, text + at);
    }
    assert_int_equal(body->length, strlen(text));
    echo_body_drop(&input_arena, body);
}

/* --- The whole object --- */

static const struct input_field all_fields[] = {
    {":method", BYTES("POST"), false},    {":path", BYTES("/?a=\"b\""), false},
    {":scheme", BYTES("http"), false},    {":authority", BYTES("localhost"), true},
    {"cookie", BYTES("a=1"), true},       {"x", BYTES("\xc3\xa4"), false},
    {"cookie", BYTES("b=2"), false},      {"x", BYTES("\xff\x00\x0a"), false},
    {"priority", BYTES("u=1, i"), false}, {"x", BYTES(""), false},
};

static const struct input_field all_trailers[] = {{"sum", BYTES("1"), false},
                                                  {"sum", BYTES("\x80"), true}};

static struct detail_reports all_reports = {
    .count = 2, .latest = {{0, "the connection's"}, {1, "the \"stream's\" \\xff"}}};

/* Every member has a value that is not its default. */
static void input_start_full(struct detail_input *input)
{
    input_start(input, all_fields, COUNT(all_fields));
    input_add_frame(&input->client_frames, WIRE_SETTINGS, 0,
                    "\0\3\0\0\0\144\0\4\0\240\0\0\x13\x37\xff\xff\xff\xff", 18);
    input_add_frame(&input->client_frames, WIRE_WINDOW_UPDATE, 0, "\0\357\0\1", 4);
    input_add_frame(&input->client_frames, WIRE_PRIORITY, 3, "\0\0\0\0\310", 5);
    input_add_frame(&input->client_frames, 0xfe, 9, "abc", 3);
    client_frames_note_request(&input->client_frames);
    input_add_frame(&input->client_frames, WIRE_SETTINGS, 0, "\0\2\0\0\0\0", 6);
    input_add_frame(&input->client_frames, WIRE_PRIORITY, 5, "\x80\0\0\3\0", 5);
    input_add_frame(&input->client_frames, WIRE_PRIORITY_UPDATE, 0, "\0\0\0\7u=6", 7);
    input->trailers = input_fields(all_trailers, COUNT(all_trailers));
    input->detail.origin.id = 12;
    input->detail.origin.protocol = "h2";
    input->detail.origin.has_tls = true;
    input->detail.origin.tls = (struct tls_info){.version = "TLSv1.3",
                                                 .cipher = "TLS_AES_128_GCM_SHA256",
                                                 .alpn = "h2",
                                                 .sni = "a\xff",
                                                 .has_client_certificate = true,
                                                 .client_subject = "CN=\xc3\xbc\\,\"",
                                                 .resumed = true};
    strcpy(input->detail.origin.peer, "[::1]:5000");
    strcpy(input->detail.origin.local, "[::1]:8080");
    input->detail.age_us = 1234;
    input->detail.stream_id = 13;
    input->detail.number = 7;
    input->detail.trailers = input->trailers;
    input->detail.content_length = 4096;
    input->detail.dependency = (struct wire_dependency){11, 256, true};
    input->detail.block = (struct detail_block){77, 333};
    input->detail.stream_window = 65535;
    input->detail.connection_window = 1000000;
    input->detail.reports = &all_reports;
}

#define ALL_FIELDS                                                                                 \
    "[[\":method\", \"POST\"], [\":path\", \"/?a=\\\"b\\\"\"], [\":scheme\", \"http\"], "          \
    "[\":authority\", \"localhost\", \"never-indexed\"], "                                         \
    "[\"cookie\", \"a=1\", \"never-indexed\"], [\"x\", \"\xc3\xa4\"], [\"cookie\", \"b=2\"], "     \
    "[\"x\", {\"hex\": \"ff000a\"}], [\"priority\", \"u=1, i\"], [\"x\", \"\"]]"

/* The names of the members and their order are part of the interface. */
static void test_all(void **state)
{
    struct detail_input input;

    (void)state;
    input_start_full(&input);
    check_body(
        &input,
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
    input_free(&input);
}

/* Every member is there, even if it is empty. */
static void test_nothing(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, NULL, 0);
    check_body(&input, "{\"fields\": [], \"trailers\": [], "
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
    input_free(&input);
}

/* The layout is jansson's. The indented form ends with a newline, like that of the plain response.
 */
static void check_layout(const struct detail_input *input)
{
    bool pretty = input->detail.pretty;
    struct echo_body *body = input_compose(input);
    json_t *object = json_loadb(body->text, body->length, JSON_REJECT_DUPLICATES, NULL);
    char *text = json_dumps(object, JSON_REAL_PRECISION(15) | (pretty ? JSON_INDENT(2) : 0));

    assert_non_null(text);
    assert_int_equal(body->length, strlen(text) + pretty);
    assert_memory_equal(body->text, text, strlen(text));
    assert_true(!pretty || body->text[body->length - 1] == '\n');
    free(text);
    json_decref(object);
    echo_body_drop(&input_arena, body);
}

static void test_layout(void **state)
{
    struct detail_input full;
    struct detail_input empty;

    (void)state;
    input_start_full(&full);
    input_start(&empty, NULL, 0);
    check_layout(&full);
    check_layout(&empty);
    full.detail.pretty = empty.detail.pretty = true;
    check_layout(&full);
    check_layout(&empty);
    input_free(&full);
    input_free(&empty);
}

static void test_pretty(void **state)
{
    struct detail_input input;
    json_t *compact;
    json_t *pretty;

    (void)state;
    input_start_full(&input);
    compact = input_json(&input);
    input.detail.pretty = true;
    pretty = input_json(&input);
    assert_true(json_equal(compact, pretty));
    json_decref(compact);
    json_decref(pretty);
    input_free(&input);
}

/* --- Fields --- */

/* No byte of a value is lost, whatever it is. */
static void test_any_byte_of_a_value(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char value = (char)byte;
        struct input_field pair = {"x", &value, 1, false};
        struct detail_input input;
        json_t *object;
        json_t *found;
        char hex[3];

        input_start(&input, &pair, 1);
        object = input_json(&input);
        found = json_array_get(json_array_get(find_member(object, "fields"), 0), 1);
        snprintf(hex, sizeof(hex), "%02x", byte);
        if (byte < 0x80)
            assert_memory_equal(json_string_value(found), &value, 1);
        else
            assert_string_equal(json_string_value(find_member(found, "hex")), hex);
        assert_int_equal(byte < 0x80 ? json_string_length(found) : 1, 1);
        json_decref(object);
        input_free(&input);
    }
}

static void test_what_is_utf8(void **state)
{
    static const struct input_field pairs[] = {
        {"two", BYTES("\xc3\xa4"), false},
        {"three", BYTES("\xe2\x82\xac"), false},
        {"four", BYTES("\xf0\x9f\x98\x80"), false},
        {"cut", BYTES("\xe2\x82"), false},
        {"overlong", BYTES("\xc0\xaf"), false},
        {"surrogate", BYTES("\xed\xa0\x80"), false},
        {"too-large", BYTES("\xf4\x90\x80\x80"), false},
        {"mixed", BYTES("a\xc3\xa4\xe4"), false},
    };
    struct detail_input input;

    (void)state;
    input_start(&input, pairs, COUNT(pairs));
    check_member(&input, "fields",
                 "[[\"two\", \"\xc3\xa4\"], [\"three\", \"\xe2\x82\xac\"], "
                 "[\"four\", \"\xf0\x9f\x98\x80\"], [\"cut\", {\"hex\": \"e282\"}], "
                 "[\"overlong\", {\"hex\": \"c0af\"}], [\"surrogate\", {\"hex\": \"eda080\"}], "
                 "[\"too-large\", {\"hex\": \"f4908080\"}], [\"mixed\", {\"hex\": \"61c3a4e4\"}]]");
    input_free(&input);
}

static void test_head_is_shown_as_get(void **state)
{
    static const struct input_field head[] = {{":method", BYTES("HEAD"), true},
                                              {":path", BYTES("/HEAD"), false},
                                              {"x", BYTES("HEAD"), false}};
    struct detail_input input;

    (void)state;
    input_start(&input, head, COUNT(head));
    input.trailers = input_fields(head, COUNT(head));
    input.detail.trailers = input.trailers;
    input.detail.head = true;
    check_member(
        &input, "fields",
        "[[\":method\", \"GET\", \"never-indexed\"], [\":path\", \"/HEAD\"], [\"x\", \"HEAD\"]]");
    check_member(
        &input, "trailers",
        "[[\":method\", \"HEAD\", \"never-indexed\"], [\":path\", \"/HEAD\"], [\"x\", \"HEAD\"]]");
    input.detail.head = false;
    check_member(
        &input, "fields",
        "[[\":method\", \"HEAD\", \"never-indexed\"], [\":path\", \"/HEAD\"], [\"x\", \"HEAD\"]]");
    input_free(&input);
}

/* --- Numbers --- */

/* The largest numbers: without sign, without exponent, and no bit is lost. */
static void test_large_numbers(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input.detail.origin.id = INT64_MAX;
    input.detail.stream_id = INT32_MAX;
    input.detail.number = INT32_MAX / 2 + 1;
    input.detail.content_length = INT64_MAX;
    input.detail.stream_window = INT32_MAX;
    input.detail.connection_window = -INT32_MAX;
    input.detail.block = (struct detail_block){SIZE_MAX / 2, SIZE_MAX / 2};
    check_member(&input, "connection.id", "9223372036854775807");
    check_member(&input, "connection.send_window", "-2147483647");
    check_member(&input, "stream.id", "2147483647");
    check_member(&input, "stream.request", "1073741824");
    check_member(&input, "stream.content_bytes", "9223372036854775807");
    check_member(&input, "stream.send_window", "2147483647");
    check_member(&input, "hpack.wire_bytes", "9223372036854775807");
    check_member(&input, "hpack.table_bytes", "9223372036854775807");
    input_free(&input);
}

/* The age has microseconds, however old the connection is. */
static void test_age(void **state)
{
    static const struct {
        int64_t us;
        double ms;
    } ages[] = {{0, 0}, {1, 0.001}, {999, 0.999}, {1234567, 1234.567}, {86400123456, 86400123.456}};
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    for (size_t i = 0; i < COUNT(ages); i++) {
        json_t *object;

        input.detail.age_us = ages[i].us;
        object = input_json(&input);
        assert_true(json_real_value(find_member(object, "connection.age_ms")) == ages[i].ms);
        json_decref(object);
    }
    input_free(&input);
}

/* --- Reports --- */

/* The latest reports, the oldest of them first, whatever their total number. */
static void test_reports(void **state)
{
    static struct detail_reports reports;
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input.detail.reports = &reports;
    for (size_t count = 0; count < 3 * DETAIL_REPORTS; count++) {
        size_t shown = count < DETAIL_REPORTS ? count : DETAIL_REPORTS;
        json_t *object = input_json(&input);
        json_t *list = find_member(object, "reports");

        assert_int_equal(json_array_size(list), shown);
        for (size_t i = 0; i < shown; i++)
            assert_int_equal(json_integer_value(find_member(json_array_get(list, i), "stream")),
                             count - shown + i);
        json_decref(object);
        reports.latest[reports.count++ % DETAIL_REPORTS] =
            (struct detail_report){(int32_t)count, "text"};
    }
    input_free(&input);
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
        cmocka_unit_test(test_head_is_shown_as_get),
        cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_reports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
