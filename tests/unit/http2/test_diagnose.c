/* The reasons for which requests, streams and connections are refused, each with its RFC section.
 */
#include "http2/diagnose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(literal) (sizeof(literal) - 1)
#define FIELD(name, value)                                                                         \
    {(const uint8_t *)(name), LENGTH(name)},                                                       \
    {                                                                                              \
        (const uint8_t *)(value), LENGTH(value)                                                    \
    }

enum { PLAIN = 0, TRAILERS = 1, AFTER_REGULAR = 2, REPEATED = 4 };

struct field_row {
    int context;
    struct span name;
    struct span value;
    const char *words;   /* that only this rule has */
    const char *section; /* of the RFC */
};

static const struct field_row fields[] = {
    {PLAIN, FIELD("User-agent", "x"), "upper case", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("X", "x"), "upper case", "RFC 9113 section 8.2.1"},
    {TRAILERS, FIELD("sumZ", "x"), "upper case", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("", "x"), "name", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a b", "x"), "name", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a\0", "x"), "name", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a:b", "x"), "name", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a\x7f", "x"), "name", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a\xc3\xa4", "x"), "name", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("connection", "close"), "connection-specific", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("keep-alive", "x"), "connection-specific", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("proxy-connection", ""), "connection-specific", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("transfer-encoding", "chunked"), "connection-specific", "RFC 9113 section 8.2.2"},
    {TRAILERS, FIELD("upgrade", "h2c"), "connection-specific", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("te", "gzip"), "trailers", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("te", ""), "trailers", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("te", "trailers, gzip"), "trailers", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("te", "TRAILERS\n"), "trailers", "RFC 9113 section 8.2.2"},
    {PLAIN, FIELD("a", "x\0y"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a", "x\ny"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a", "x\r"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a", " x"), "white space", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("a", "x\t"), "white space", "RFC 9113 section 8.2.1"},
    {TRAILERS, FIELD("a", "x "), "white space", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD(":foo", "x"), "unknown", "RFC 9113 section 8.3"},
    {PLAIN, FIELD(":", "x"), "unknown", "RFC 9113 section 8.3"},
    {PLAIN, FIELD(":status", "200"), "unknown", "RFC 9113 section 8.3"},
    {PLAIN, FIELD(":protocol", "websocket"), "unknown", "RFC 9113 section 8.3"},
    {AFTER_REGULAR, FIELD(":path", "/"), "after a regular", "RFC 9113 section 8.3"},
    {AFTER_REGULAR | REPEATED, FIELD(":path", "/"), "after a regular", "RFC 9113 section 8.3"},
    {TRAILERS, FIELD(":path", "/"), "trailers", "RFC 9113 section 8.1"},
    {TRAILERS | AFTER_REGULAR, FIELD(":path", "/"), "trailers", "RFC 9113 section 8.1"},
    {REPEATED, FIELD(":method", "GET"), "repeated", "RFC 9113 section 8.3"},
    {PLAIN, FIELD(":path", ""), "empty", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":method", ""), "empty", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":method", "G T"), "value", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":scheme", "\x01"), "value", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":authority", "a b"), "value", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":path", "/ a"), "value", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD("content-length", "x"), "number", "RFC 9110 section 8.6"},
    {PLAIN, FIELD("content-length", ""), "number", "RFC 9110 section 8.6"},
    {PLAIN, FIELD("content-length", "-1"), "number", "RFC 9110 section 8.6"},
    {PLAIN, FIELD("content-length", "1, 1"), "number", "RFC 9110 section 8.6"},
    {REPEATED, FIELD("content-length", "5"), "repeated", "RFC 9110 section 8.6"},
    {PLAIN, FIELD("content-length", "9223372036854775808"), "", "RFC 9110 section 8.6"},
    {PLAIN, FIELD("content-length", "99999999999999999999"), "", "RFC 9110 section 8.6"},
    {REPEATED, FIELD("host", "a"), "repeated", "RFC 9110 section 7.2"},
    {REPEATED, FIELD("host", ""), "repeated", "RFC 9110 section 7.2"},
    {PLAIN, FIELD("host", ""), "empty", "RFC 9110 section 4.2.1"},
    {PLAIN, FIELD("host", "a\x01"), "value", "RFC 9113 section 8.2.1"},
    /* userinfo, and "@" with another meaning */
    {PLAIN, FIELD("host", "a@b"), "userinfo", "RFC 9110 section 4.2.4"},
    {PLAIN, FIELD("host", "@b"), "userinfo", "RFC 9110 section 4.2.4"},
    {PLAIN, FIELD("host", "a@"), "userinfo", "RFC 9110 section 4.2.4"},
    {PLAIN, FIELD("host", "@"), "userinfo", "RFC 9110 section 4.2.4"},
    {PLAIN, FIELD("host", "a@b@c"), "userinfo", "RFC 9110 section 4.2.4"},
    {PLAIN, FIELD("host", "@@"), "userinfo", "RFC 9110 section 4.2.4"},
    {PLAIN, FIELD("host", "me:pass%20word@b:80"), "userinfo", "RFC 9110 section 4.2.4"},
    {PLAIN, FIELD("host", "-._~!$&'()*+,;=09azAZ@[::1]:80"), "userinfo", "RFC 9110 section 4.2.4"},
    {TRAILERS, FIELD("host", "a@b"), "userinfo", "RFC 9110 section 4.2.4"},
    {REPEATED, FIELD("host", "a@b"), "repeated", "RFC 9110 section 7.2"},
    {PLAIN, FIELD("host", "a b@c"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("host", "b/a@c"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("host", "b?a@c"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("host", "b#a@c"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("host", "[::1]@c"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("host", "a\0@c"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("host", "\xc3\xa4@c"), "value", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD("x", "a@b\n"), "byte not allowed", "RFC 9113 section 8.2.1"},
    {PLAIN, FIELD(":authority", "a@b"), "userinfo", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":authority", "@b"), "userinfo", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":authority", "a@"), "userinfo", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":authority", "a@b@c"), "userinfo", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":authority", "a:b@c:80"), "userinfo", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":authority", "a/b@c"), "value not allowed", "RFC 9113 section 8.3.1"},
    {PLAIN, FIELD(":path", "a@b"), "value not allowed", "RFC 9113 section 8.3.1"},
    {REPEATED, FIELD(":authority", "a@b"), "repeated", "RFC 9113 section 8.3"},
    {AFTER_REGULAR, FIELD(":authority", "a@b"), "after a regular", "RFC 9113 section 8.3"},
    {TRAILERS, FIELD(":authority", "a@b"), "trailers", "RFC 9113 section 8.1"},
};

static void test_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const struct field_row *row = &fields[i];
        struct diagnose_context context = {.trailers = (row->context & TRAILERS) != 0,
                                           .after_regular = (row->context & AFTER_REGULAR) != 0,
                                           .repeated = (row->context & REPEATED) != 0};
        char section[64];
        const char *rule = diagnose_field(&context, row->name, row->value);

        assert_non_null(rule);
        snprintf(section, sizeof(section), "(%s)", row->section);
        if (!strstr(rule, row->words) || !strstr(rule, section))
            fail_msg("row %zu, \"%s\": %s, not \"%s\" %s", i, (const char *)row->name.bytes, rule,
                     row->words, section);
    }
}

/* The pseudo-header fields of a valid request. */
#define COMPLETE .method = true, .scheme = true, .path = true, .authority = true

static const struct {
    struct diagnose_presence section;
    const char *field;
    const char *rule;
} sections[] = {
    {{.scheme = true, .path = true, .authority = true}, ":method", "RFC 9113 section 8.3.1"},
    {{.method = true, .path = true, .host = true}, ":scheme", "RFC 9113 section 8.3.1"},
    {{.method = true, .scheme = true, .authority = true}, ":path", "RFC 9113 section 8.3.1"},
    {{.method = true, .scheme = true, .path = true}, ":authority", "RFC 9113 section 8.3.1"},
    {{.ends = true}, ":method", "RFC 9113 section 8.3.1"},
    {{.connect = true, COMPLETE}, ":scheme", "RFC 9113 section 8.5"},
    {{.connect = true, .method = true, .path = true, .authority = true},
     ":path",
     "RFC 9113 section 8.5"},
    {{.connect = true, .method = true}, ":authority", "RFC 9113 section 8.5"},
    {{.connect = true, .method = true, .host = true}, ":authority", "RFC 9113 section 8.5"},
    {{COMPLETE, .ends = true, .content_length = true}, "content-length", "RFC 9113 section 8.1.1"},
    {{COMPLETE, .ends = true}, ":path", "RFC 9113 section 8.3.1"},
    {{COMPLETE, .content_length = true}, ":path", "RFC 9113 section 8.3.1"},
    {{.trailers = true, COMPLETE}, "trailers", "RFC 9113 section 8.1"},
    {{.trailers = true, .ends = true, COMPLETE}, "content-length", "RFC 9113 section 8.1.1"},
};

static void test_section(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        struct diagnosis diagnosis = diagnose_section(&sections[i].section);
        char rule[64];

        snprintf(rule, sizeof(rule), "(%s)", sections[i].rule);
        if (strcmp(diagnosis.field, sections[i].field) != 0 || !strstr(diagnosis.rule, rule))
            fail_msg("row %zu: %s: %s, not %s: %s", i, diagnosis.field, diagnosis.rule,
                     sections[i].field, rule);
    }
}

/* The debug data is nghttp2's. */
static const struct {
    uint32_t error;
    const char *words;
    const char *rule;
} connections[] = {
    {0x1, "SETTINGS expected", "RFC 9113 section 3.4"},
    {0x6, "", "RFC 9113 section 4.2"},
    {0x6, "too large frame size", "RFC 9113 section 4.2"},
    {0x6, "CONTINUATION: too large frame size", "RFC 9113 section 4.2"},
    {0x9, "", "RFC 9113 section 4.3"},
    {0x1, "unexpected non-CONTINUATION frame or stream_id is invalid", "RFC 9113 section 4.3"},
    {0x5, "", "RFC 9113 section 5.1"},
    {0x5, "DATA: stream closed", "RFC 9113 section 5.1"},
    {0x5, "HEADERS: stream closed", "RFC 9113 section 5.1"},
    {0x5, "DATA: stream in half-closed(remote)", "RFC 9113 section 5.1"},
    {0x1, "DATA: stream in idle", "RFC 9113 section 5.1"},
    {0x1, "WINDOW_UPDATE to idle stream", "RFC 9113 section 5.1"},
    {0x1, "request HEADERS: invalid stream_id", "RFC 9113 section 5.1.1"},
    {0x1, "request HEADERS: max concurrent streams exceeded",
     "max-concurrent-streams, RFC 9113 section 5.1.2"},
    {0x1, "request HEADERS: depend on itself", "RFC 7540 section 5.3.1"},
    {0x1, "DATA: stream_id == 0", "RFC 9113 section 6.1"},
    {0x1, "DATA: invalid padding", "RFC 9113 section 6.1"},
    {0x1, "request HEADERS: stream_id == 0", "RFC 9113 section 6.2"},
    {0x1, "HEADERS: insufficient padding space", "RFC 9113 section 6.2"},
    {0x1, "PRIORITY: stream_id == 0", "RFC 9113 section 6.3"},
    {0x1, "RST_STREAM: stream_id == 0", "RFC 9113 section 6.4"},
    {0x1, "SETTINGS: stream_id != 0", "RFC 9113 section 6.5"},
    {0x1, "SETTINGS: invalid SETTINGS_ENBLE_PUSH", "RFC 9113 section 6.5.2"},
    {0x3, "SETTINGS: too large SETTINGS_INITIAL_WINDOW_SIZE", "RFC 9113 section 6.5.2"},
    {0x1, "SETTINGS: unexpected ACK", "RFC 9113 section 6.5.3"},
    {0x1, "PUSH_PROMISE: stream_id == 0", "RFC 9113 section 6.6"},
    {0x1, "PUSH_PROMISE: push disabled", "RFC 9113 section 8.4"},
    {0x1, "PING: stream_id != 0", "RFC 9113 section 6.7"},
    {0x1, "GOAWAY: stream_id != 0", "RFC 9113 section 6.8"},
    {0x1, "WINDOW_UPDATE: window_size_increment == 0", "RFC 9113 section 6.9"},
    {0x3, "", "RFC 9113 section 6.9.1"},
    {0x1, "CONTINUATION: unexpected", "RFC 9113 section 6.10"},
    {0xb, "SETTINGS: too many setting entries", "RFC 9113 section 10.5"},
};

static void test_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++) {
        const char *words = connections[i].words;
        const char *rule = diagnose_connection(connections[i].error, words, strlen(words));
        char expected[64];

        snprintf(expected, sizeof(expected), " (%s)", connections[i].rule);
        if (strcmp(rule, expected) != 0)
            fail_msg("row %zu, \"%s\":%s, not%s", i, words, rule, expected);
    }
}

/* The debug data is not terminated, and may be empty. */
static void test_connection_debug_data_length(void **state)
{
    (void)state;
    assert_string_equal(diagnose_connection(0x1, "DATA: stream closed", 4), "");
    assert_string_equal(diagnose_connection(0x1, NULL, 0), "");
    assert_string_equal(diagnose_connection(0x2, "some other debug data...", 24), "");
}

static void test_stream(void **state)
{
    (void)state;
    assert_string_equal(diagnose_stream(0x0), " (RFC 9113 section 8.1)");
    assert_string_equal(diagnose_stream(0x1), "");
    assert_string_equal(diagnose_stream(0x3), " (RFC 9113 section 6.9.1)");
    assert_string_equal(diagnose_stream(0x7), " (max-concurrent-streams, RFC 9113 section 5.1.2)");
    assert_string_equal(diagnose_stream(0xffffffff), "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field),      cmocka_unit_test(test_section),
        cmocka_unit_test(test_connection), cmocka_unit_test(test_connection_debug_data_length),
        cmocka_unit_test(test_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
