/*
 * Malformed requests (RFC 9113 section 8.1.1): the stream is reset, the log names the field and the
 * rule, and the next request on the connection is answered.
 */
#include "session/peer.h"

#include <stdio.h>
#include <string.h>

/* A row's request has the four fields of a valid one, except as the row says. */
enum { FIELDS_MAX = 8 };

struct row {
    struct field fields[FIELDS_MAX]; /* up to the first one without a name */
    const char *field; /* as the report quotes it, with its value if the report has it */
    const char *section;
};

#define METHOD    FIELD(":method", "GET")
#define PATH      FIELD(":path", "/")
#define SCHEME    FIELD(":scheme", "http")
#define AUTHORITY FIELD(":authority", "h")
#define GOOD      METHOD, PATH, SCHEME, AUTHORITY

static const struct row header_sections[] = {
    /* field names */
    {{GOOD, FIELD("Accept", "x")}, "\"Accept\": \"x\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a b", "x")}, "\"a b\": \"x\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("", "x")}, "\"\": \"x\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("\xc3\xa4", "x")}, "\"\\xc3\\xa4\": \"x\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a\x7f", "x")}, "\"a\\x7f\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a:", "x")}, "\"a:\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a\"", "x")}, "\"a\\\"\": \"x\"", "RFC 9113 section 8.2.1"},
    /* field values */
    {{GOOD, FIELD("a", "x\0y")}, "\"a\": \"x\\x00y\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a", "x\ny")}, "\"a\": \"x\\x0ay\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a", "x\r")}, "\"a\": \"x\\x0d\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a", "\x01")}, "\"a\": \"\\x01\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a", " x")}, "\"a\": \" x\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("a", "x\t")}, "\"a\": \"x\\x09\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("cookie", "a\nb")}, "\"cookie\": \"a\\x0ab\"", "RFC 9113 section 8.2.1"},
    /* connection-specific fields */
    {{GOOD, FIELD("connection", "close")}, "\"connection\": \"close\"", "RFC 9113 section 8.2.2"},
    {{GOOD, FIELD("keep-alive", "1")}, "\"keep-alive\": \"1\"", "RFC 9113 section 8.2.2"},
    {{GOOD, FIELD("proxy-connection", "x")},
     "\"proxy-connection\": \"x\"",
     "RFC 9113 section 8.2.2"},
    {{GOOD, FIELD("transfer-encoding", "chunked")},
     "\"transfer-encoding\": \"chunked\"",
     "RFC 9113 section 8.2.2"},
    {{GOOD, FIELD("upgrade", "h2c")}, "\"upgrade\": \"h2c\"", "RFC 9113 section 8.2.2"},
    {{GOOD, FIELD("te", "gzip")}, "\"te\": \"gzip\"", "RFC 9113 section 8.2.2"},
    {{GOOD, FIELD("te", "")}, "\"te\": \"\"", "RFC 9113 section 8.2.2"},
    /* pseudo-header fields */
    {{METHOD, SCHEME, AUTHORITY, FIELD("a", "x"), PATH},
     "\":path\": \"/\"",
     "RFC 9113 section 8.3"},
    {{GOOD, FIELD(":foo", "x")}, "\":foo\": \"x\"", "RFC 9113 section 8.3"},
    {{GOOD, FIELD(":status", "200")}, "\":status\": \"200\"", "RFC 9113 section 8.3"},
    {{GOOD, FIELD(":protocol", "x")}, "\":protocol\": \"x\"", "RFC 9113 section 8.3"},
    {{GOOD, METHOD}, "\":method\": \"GET\"", "RFC 9113 section 8.3"},
    {{GOOD, AUTHORITY}, "\":authority\": \"h\"", "RFC 9113 section 8.3"},
    {{METHOD, SCHEME, AUTHORITY, FIELD(":path", "")}, "\":path\": \"\"", "RFC 9113 section 8.3.1"},
    {{METHOD, SCHEME, AUTHORITY, FIELD(":path", "/a b")},
     "\":path\": \"/a b\"",
     "RFC 9113 section 8.3.1"},
    {{PATH, SCHEME, AUTHORITY, FIELD(":method", "G T")},
     "\":method\": \"G T\"",
     "RFC 9113 section 8.3.1"},
    {{PATH, SCHEME, AUTHORITY, FIELD(":method", "")},
     "\":method\": \"\"",
     "RFC 9113 section 8.3.1"},
    {{METHOD, PATH, AUTHORITY, FIELD(":scheme", "h p")},
     "\":scheme\": \"h p\"",
     "RFC 9113 section 8.3.1"},
    {{METHOD, PATH, SCHEME, FIELD(":authority", "h\x01")},
     "\":authority\": \"h\\x01\"",
     "RFC 9113 section 8.3.1"},
    /* fields missing from a section, or not allowed in it */
    {{PATH, SCHEME, AUTHORITY}, "\":method\"", "RFC 9113 section 8.3.1"},
    {{METHOD, SCHEME, AUTHORITY}, "\":path\"", "RFC 9113 section 8.3.1"},
    {{METHOD, PATH, AUTHORITY}, "\":scheme\"", "RFC 9113 section 8.3.1"},
    {{METHOD, PATH, SCHEME}, "\":authority\"", "RFC 9113 section 8.3.1"},
    {{FIELD("a", "x")}, "\":method\"", "RFC 9113 section 8.3.1"},
    {{METHOD, SCHEME, AUTHORITY, FIELD(":path", "a")}, "\":path\"", "RFC 9113 section 8.3.1"},
    {{METHOD, SCHEME, AUTHORITY, FIELD(":path", "*")}, "\":path\"", "RFC 9113 section 8.3.1"},
    {{FIELD(":method", "CONNECT"), AUTHORITY, PATH}, "\":path\"", "RFC 9113 section 8.5"},
    {{FIELD(":method", "CONNECT"), AUTHORITY, SCHEME}, "\":scheme\"", "RFC 9113 section 8.5"},
    {{FIELD(":method", "CONNECT")}, "\":authority\"", "RFC 9113 section 8.5"},
    /* content-length and host */
    {{GOOD, FIELD("content-length", "x")}, "\"content-length\": \"x\"", "RFC 9110 section 8.6"},
    {{GOOD, FIELD("content-length", "")}, "\"content-length\": \"\"", "RFC 9110 section 8.6"},
    {{GOOD, FIELD("content-length", "-1")}, "\"content-length\": \"-1\"", "RFC 9110 section 8.6"},
    {{GOOD, FIELD("content-length", "9223372036854775808")},
     "\"content-length\": \"9223372036854775808\"",
     "RFC 9110 section 8.6"},
    {{GOOD, FIELD("content-length", "0"), FIELD("content-length", "0")},
     "\"content-length\": \"0\"",
     "RFC 9110 section 8.6"},
    {{GOOD, FIELD("content-length", "5")}, "\"content-length\"", "RFC 9113 section 8.1.1"},
    {{GOOD, FIELD("host", "a b")}, "\"host\": \"a b\"", "RFC 9113 section 8.2.1"},
    {{GOOD, FIELD("host", "a@b")}, "\"host\": \"a@b\"", "RFC 9110 section 4.2.4"},
    {{GOOD, FIELD("host", "@")}, "\"host\": \"@\"", "RFC 9110 section 4.2.4"},
    {{GOOD, FIELD("host", "[::1]@b")}, "\"host\": \"[::1]@b\"", "RFC 9113 section 8.2.1"},
    {{METHOD, SCHEME, PATH, FIELD(":authority", "@b")},
     "\":authority\": \"@b\"",
     "RFC 9113 section 8.3.1"},
};

static size_t field_count(const struct row *row)
{
    size_t count = 0;

    while (count < FIELDS_MAX && row->fields[count].name)
        count++;
    return count;
}

/* Fail unless there is one report, which begins with the field and ends with the rule's RFC
 * section. */
static void check_report(const struct peer *peer, int32_t stream_id, const char *field,
                         const char *section)
{
    char begin[128];
    char end[64];
    const struct peer_report *report;

    snprintf(begin, sizeof(begin), "malformed request: field %s", field);
    snprintf(end, sizeof(end), "(%s)", section);
    report = peer_find_report(peer, stream_id, begin);
    if (!report || report->text != strstr(report->text, begin) || !strstr(report->text, end))
        fail_msg("%s %s: %s", begin, end, peer->report_count ? peer->reports[0].text : "nothing");
    assert_int_equal(report->level, LOG_LEVEL_NOTICE);
    assert_int_equal(peer->report_count, 1);
}

static void check_malformed(const struct peer *peer, int32_t stream_id)
{
    const struct peer_request *closed = peer_find_request(peer, stream_id);

    peer_check_reset(peer, stream_id, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(peer->goaway_count, 0);
    assert_false(session_done(peer->session) || session_failed(peer->session));
    assert_int_equal(peer->counters.resets, 1);
    assert_non_null(closed);
    assert_int_equal(closed->status, 0);
    assert_int_equal(closed->reset, SESSION_RESET_BY_SERVER);
    assert_string_equal(closed->reset_code, "PROTOCOL_ERROR");
}

static void check_header_section(const struct row *row, uint8_t flags,
                                 struct peer_transfer transfer)
{
    struct peer *peer = peer_open(&peer_options, transfer);

    frame_add_request(&peer->out, 1, flags, row->fields, field_count(row));
    if (!(flags & END_STREAM))
        frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "late", 4);
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    check_malformed(peer, 1);
    check_report(peer, 1, row->field, row->section);
    peer_check_get(peer, 3, "/after");
    peer_free(peer);
}

/* The request before differs only in what is malformed here, so that most fields are found in the
 * section cache. */
static void test_header_section_after_similar_one(void **state)
{
    static const struct field good[] = {GOOD, FIELD("a", "x")};

    (void)state;
    for (size_t i = 0; i < COUNT(header_sections); i++) {
        const struct row *row = &header_sections[i];
        struct peer *peer = peer_open(&peer_options, peer_whole);

        frame_add_request(&peer->out, 1, END_STREAM, good, COUNT(good));
        frame_add_request(&peer->out, 3, END_STREAM, row->fields, field_count(row));
        frame_add_request(&peer->out, 5, END_STREAM, good, COUNT(good));
        peer_pump(peer);
        check_malformed(peer, 3);
        check_report(peer, 3, row->field, row->section);
        assert_int_equal(peer_response(peer, 1)->status, 200);
        peer_check_answer(peer, 5, peer_response(peer, 1)->body.data,
                          peer_response(peer, 1)->body.length);
        peer_free(peer);
    }
}

static void test_header_section(void **state)
{
    static const struct peer_transfer bytes = {SPLIT_BYTES, 1};
    static const struct peer_transfer splits = {SPLIT_RANDOM, 100};

    (void)state;
    for (size_t i = 0; i < COUNT(header_sections); i++) {
        check_header_section(&header_sections[i], END_STREAM, peer_whole);
        check_header_section(&header_sections[i], END_STREAM, bytes);
        check_header_section(&header_sections[i], END_STREAM, splits);
    }
}

/* The same with content to come, which is ignored. */
static void test_header_section_before_content(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(header_sections); i++)
        if (strcmp(header_sections[i].field, "\"content-length\"") != 0)
            check_header_section(&header_sections[i], 0, peer_whole);
}

static const struct field post[] = {FIELD(":method", "POST"), PATH, SCHEME, AUTHORITY};

static const struct row trailer_sections[] = {
    {{FIELD("Sum", "x")}, "\"Sum\": \"x\"", "RFC 9113 section 8.2.1"},
    {{FIELD("sum", "x\n")}, "\"sum\": \"x\\x0a\"", "RFC 9113 section 8.2.1"},
    {{FIELD("sum", "x"), FIELD("connection", "x")},
     "\"connection\": \"x\"",
     "RFC 9113 section 8.2.2"},
    {{FIELD(":path", "/")}, "\":path\": \"/\"", "RFC 9113 section 8.1"},
    {{FIELD("sum", "x"), FIELD(":foo", "x")}, "\":foo\": \"x\"", "RFC 9113 section 8.1"},
};

/* A field that may occur only once is in the header section and in the trailers, with other
 * requests in between. */
static void test_trailers_repeat_header_field(void **state)
{
    static const struct field once[] = {
        FIELD(":method", "POST"),    PATH, SCHEME, AUTHORITY, FIELD("host", "h"),
        FIELD("content-length", "4")};
    static const struct row rows[] = {
        {{FIELD("host", "h")}, "\"host\": \"h\": host repeated", "RFC 9110 section 7.2"},
        {{FIELD("content-length", "4")},
         "\"content-length\": \"4\": content-length repeated",
         "RFC 9110 section 8.6"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct peer *peer = peer_open(&peer_options, peer_whole);

        frame_add_request(&peer->out, 1, 0, once, COUNT(once));
        frame_add_get(&peer->out, 3, "/between");
        frame_add_get(&peer->out, 5, "/and/another");
        frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
        frame_add_request(&peer->out, 1, END_STREAM, rows[i].fields, field_count(&rows[i]));
        peer_pump(peer);
        check_malformed(peer, 1);
        check_report(peer, 1, rows[i].field, rows[i].section);
        peer_check_get(peer, 3, "/between");
        peer_free(peer);
    }
}

static void test_trailer_section(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(trailer_sections); i++) {
        const struct row *row = &trailer_sections[i];
        struct peer *peer = peer_open(&peer_options, peer_whole);

        frame_add_request(&peer->out, 1, 0, post, COUNT(post));
        frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "some", 4);
        frame_add_request(&peer->out, 1, END_STREAM, row->fields, field_count(row));
        frame_add_get(&peer->out, 3, "/after");
        peer_pump(peer);
        check_malformed(peer, 1);
        check_report(peer, 1, row->field, row->section);
        peer_check_get(peer, 3, "/after");
        peer_free(peer);
    }
}

static void test_trailers_without_end_stream(void **state)
{
    static const struct field sum = FIELD("sum", "x");
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, 0, post, COUNT(post));
    frame_add_request(&peer->out, 1, 0, &sum, 1);
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    check_malformed(peer, 1);
    check_report(peer, 1, "\"trailers\"", "RFC 9113 section 8.1");
    peer_check_get(peer, 3, "/after");
    peer_free(peer);
}

/* Rows of a wrong content-length that are detected at different points: before content, with too
 * much of it, at its end. */
static void test_content_length(void **state)
{
    static const struct {
        const char *data;
        bool trailers;
    } table[] = {{"", false}, {"some", false}, {"several", false}, {"some", true}};
    static const struct field fields[] = {FIELD(":method", "POST"), PATH, SCHEME, AUTHORITY,
                                          FIELD("content-length", "5")};
    static const struct field sum = FIELD("sum", "x");

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct peer *peer = peer_open(&peer_options, peer_whole);

        frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
        frame_add(&peer->out, NGHTTP2_DATA, table[i].trailers ? 0 : END_STREAM, 1, table[i].data,
                  strlen(table[i].data));
        if (table[i].trailers)
            frame_add_request(&peer->out, 1, END_STREAM, &sum, 1);
        frame_add_get(&peer->out, 3, "/after");
        peer_pump(peer);
        check_malformed(peer, 1);
        check_report(peer, 1, "\"content-length\"", "RFC 9113 section 8.1.1");
        peer_check_get(peer, 3, "/after");
        peer_free(peer);
    }
}

/* A malformed header block is decoded to its end, so that the dynamic tables stay the same on both
 * sides. */
static void test_dynamic_table_is_kept(void **state)
{
    /* GET, http, :authority "h", :path "/inserted" with indexing; then the same by index */
    static const char first[] = "\x82\x86\x01\x01h\x40\x05:path\x09/inserted";
    static const char second[] = "\x82\x86\x01\x01h\xbe";
    static const struct field wrong = FIELD("connection", "x");
    struct peer *peer = peer_open(&peer_options, peer_whole);
    struct bytes block = {0};

    (void)state;
    bytes_add(&block, first, 5);
    block_add(&block, &wrong);
    bytes_add(&block, first + 5, sizeof(first) - 1 - 5);
    frame_add_block(&peer->out, 1, END_STREAM, &block, 3);
    block.length = 0;
    bytes_add(&block, second, sizeof(second) - 1);
    frame_add_block(&peer->out, 3, END_STREAM, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
    peer_pump(peer);
    check_malformed(peer, 1);
    assert_int_equal(peer_response(peer, 3)->status, 200);
    assert_non_null(memmem(peer_response(peer, 3)->body.data, peer_response(peer, 3)->body.length,
                           "/inserted", 9));
    peer_free(peer);
}

/* A request that is both malformed and too large is reset rather than answered with 431. */
static void test_malformed_and_too_large(void **state)
{
    static char value[40000];
    const struct field fields[] = {
        METHOD, SCHEME, AUTHORITY, {"a", 1, value, sizeof(value)}, {"b", 1, value, sizeof(value)}};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    memset(value, 'v', sizeof(value));
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields)); /* no :path */
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    check_malformed(peer, 1);
    assert_non_null(peer_find_report(peer, 1, "malformed"));
    peer_check_get(peer, 3, "/after");
    peer_free(peer);
}

/* A very long value whose bytes are all escaped is shown on one line, truncated. */
static void test_report_is_short(void **state)
{
    static char value[60000];
    struct field fields[] = {GOOD, FIELD("a", "")};
    struct peer *peer = peer_open(&peer_options, peer_whole);
    const struct peer_report *report;

    (void)state;
    memset(value, '\x01', sizeof(value));
    fields[4].value = value;
    fields[4].value_length = sizeof(value);
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    frame_add_get(&peer->out, 3, "/after");
    peer_pump(peer);
    check_malformed(peer, 1);
    report = peer_find_report(peer, 1, "malformed request: field \"a\": \"\\x01\\x01");
    assert_non_null(report);
    assert_true(strlen(report->text) < sizeof(report->text) - 1);
    assert_null(strchr(report->text, '\n'));
    peer_check_get(peer, 3, "/after");
    peer_free(peer);
}

enum { REPORTS_MAX = 32 };

/* A request whose content is still to come. */
static void frame_add_open(struct bytes *bytes, int32_t stream_id)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/")};

    frame_add_request(bytes, stream_id, 0, fields, COUNT(fields));
}

/* The same, which is answered with 501 at once. */
static void frame_add_connect(struct bytes *bytes, int32_t stream_id)
{
    static const struct field fields[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h")};

    frame_add_request(bytes, stream_id, 0, fields, COUNT(fields));
}

static void check_last_report(const struct peer *peer, int32_t stream_id, enum log_level level)
{
    assert_true(peer->report_count > 0 && peer->report_count <= PEER_REPORTS);
    assert_int_equal(peer->reports[peer->report_count - 1].stream_id, stream_id);
    assert_int_equal(peer->reports[peer->report_count - 1].level, level);
}

/* The number of reports of a connection is limited; its requests are still answered. */
static void test_reports_are_limited(void **state)
{
    enum { REQUESTS = 500 };
    static const struct field fields[] = {GOOD, FIELD("connection", "x")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int32_t i = 0; i < REQUESTS; i++) {
        frame_add_request(&peer->out, 2 * i + 1, END_STREAM, fields, COUNT(fields));
        peer_pump(peer);
        peer_check_reset(peer, 2 * i + 1, NGHTTP2_PROTOCOL_ERROR);
    }
    frame_add_get(&peer->out, 2 * REQUESTS + 1, "/after");
    peer_pump(peer);
    peer_check_get(peer, 2 * REQUESTS + 1, "/after");
    assert_int_equal(peer->report_count, REPORTS_MAX + 1);
    assert_string_equal(peer->reports[REPORTS_MAX].text,
                        "no more notice messages for this connection");
    assert_int_equal(peer->counters.resets, REQUESTS);
    assert_int_equal(peer->request_count, REQUESTS + 1);
    peer_free(peer);
}

/* Reports of level info and debug do not use up the limit of level notice. */
static void test_report_limit_is_per_level(void **state)
{
    enum { RESETS = 200, LAST = 4 * RESETS + 1 };
    static const struct field fields[] = {GOOD, FIELD("connection", "x")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int32_t i = 0; i < RESETS; i++) {
        frame_add_connect(&peer->out,
                          4 * i + 1); /* the early response is followed by RST_STREAM NO_ERROR */
        frame_add_open(&peer->out, 4 * i + 3);
        frame_add_reset(&peer->out, 4 * i + 3, NGHTTP2_CANCEL);
        peer_pump(peer);
        assert_int_equal(peer_response(peer, 4 * i + 1)->reset_code, NGHTTP2_NO_ERROR);
    }
    assert_int_equal(peer->report_count, REPORTS_MAX + 1);
    frame_add_request(&peer->out, LAST, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    check_last_report(peer, LAST, LOG_LEVEL_NOTICE);
    peer_free(peer);
}

static void test_resets_are_reported(void **state)
{
    static const struct {
        uint32_t code;
        const char *text;
    } rows[] = {
        {NGHTTP2_NO_ERROR, "the peer sent RST_STREAM NO_ERROR"},
        {NGHTTP2_CANCEL, "the peer sent RST_STREAM CANCEL"},
        {NGHTTP2_INTERNAL_ERROR, "the peer sent RST_STREAM INTERNAL_ERROR"},
        {0x10, "the peer sent RST_STREAM 0x10"},
        {UINT32_MAX, "the peer sent RST_STREAM 0xffffffff"},
    };
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int32_t i = 0; i < (int32_t)COUNT(rows); i++) {
        frame_add_open(&peer->out, 2 * i + 1);
        frame_add_reset(&peer->out, 2 * i + 1, rows[i].code);
        peer_pump(peer);
        assert_int_equal(peer->report_count, i + 1);
        check_last_report(peer, 2 * i + 1, LOG_LEVEL_INFO);
        assert_string_equal(peer->reports[i].text, rows[i].text);
        assert_string_equal(peer_find_request(peer, 2 * i + 1)->reset_code,
                            strrchr(rows[i].text, ' ') + 1);
    }
    peer_free(peer);
}

/* RST_STREAM NO_ERROR follows a response that is sent before the request has ended. */
static void test_reset_without_error_is_reported_at_debug(void **state)
{
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    log_set_level(LOG_LEVEL_DEBUG);
    frame_add_connect(&peer->out, 1);
    peer_pump(peer);
    log_set_level(LOG_LEVEL_INFO);
    assert_int_equal(peer->report_count, 1);
    check_last_report(peer, 1, LOG_LEVEL_DEBUG);
    assert_string_equal(peer->reports[0].text, "RST_STREAM NO_ERROR sent (RFC 9113 section 8.1)");
    peer_free(peer);
}

/* The observer gets method and path of a malformed request, so that the access log can show them:
 */
static void test_observer_gets_path_of_malformed_field(void **state)
{
    static const struct field fields[] = {REQUEST_OF("PUT", "/named"), FIELD("Bad", "x")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    peer_check_reset(peer, 1, NGHTTP2_PROTOCOL_ERROR);
    assert_string_equal(peer_find_request(peer, 1)->method, "PUT");
    assert_string_equal(peer_find_request(peer, 1)->path, "/named");
    peer_free(peer);
}

/* also if the section is malformed as a whole, */
static void test_observer_gets_path_of_malformed_section(void **state)
{
    static const struct field fields[] = {FIELD(":method", "PUT"), FIELD(":path", "/named"),
                                          FIELD(":authority", "h")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    assert_string_equal(peer_find_request(peer, 1)->path, "/named");
    peer_free(peer);
}

/* and if the header block is not complete. */
static void test_observer_gets_path_of_incomplete_block(void **state)
{
    static const struct field fields[] = {REQUEST_OF("PUT", "/named")};
    struct peer *peer = peer_open(&peer_options, peer_whole);
    struct bytes block = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(fields); i++)
        block_add(&block, &fields[i]);
    frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, 1, block.data, block.length);
    frame_add(&peer->out, NGHTTP2_CONTINUATION, 0, 1, "", 0);
    peer_pump(peer);
    peer_wait(peer, 31 * SECOND);
    peer_check_ended(peer, NGHTTP2_ENHANCE_YOUR_CALM);
    bytes_free(&block);
    session_free(peer->session); /* calls the observer for the open stream */
    peer->session = NULL;
    assert_non_null(peer_find_request(peer, 1));
    assert_string_equal(peer_find_request(peer, 1)->path, "/named");
    peer_free(peer);
}

/* The report names the rule that is broken. */
static void test_trailers_repeat_content_length(void **state)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/")};
    static const struct field trailers[] = {FIELD("content-length", "4"),
                                            FIELD("content-length", "4")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    frame_add(&peer->out, NGHTTP2_DATA, 0, 1, "body", 4);
    frame_add_request(&peer->out, 1, END_STREAM, trailers, COUNT(trailers));
    peer_pump(peer);
    assert_non_null(peer_find_report(peer, 1, "content-length repeated"));
    peer_free(peer);
}

static void test_trailers_repeat_host(void **state)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/")};
    static const struct field trailers[] = {FIELD("host", "h"), FIELD("host", "h")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    frame_add_request(&peer->out, 1, END_STREAM, trailers, COUNT(trailers));
    peer_pump(peer);
    assert_non_null(peer_find_report(peer, 1, "host repeated"));
    peer_free(peer);
}

/* More content than content-length says is reported as such, also if the frame is split. */
static void test_too_much_content(void **state)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("content-length", "5")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, 1, "1234567", 7);
    peer->out.length -= 2;
    peer_pump(peer);
    bytes_add(&peer->out, "67", 2);
    peer_pump(peer);
    peer_check_reset(peer, 1, NGHTTP2_PROTOCOL_ERROR);
    assert_non_null(peer_find_report(peer, 1, "content-length"));
    peer_free(peer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_section),
        cmocka_unit_test(test_header_section_after_similar_one),
        cmocka_unit_test(test_trailers_repeat_header_field),
        cmocka_unit_test(test_observer_gets_path_of_malformed_field),
        cmocka_unit_test(test_observer_gets_path_of_malformed_section),
        cmocka_unit_test(test_observer_gets_path_of_incomplete_block),
        cmocka_unit_test(test_trailers_repeat_content_length),
        cmocka_unit_test(test_trailers_repeat_host),
        cmocka_unit_test(test_too_much_content),
        cmocka_unit_test(test_header_section_before_content),
        cmocka_unit_test(test_trailer_section),
        cmocka_unit_test(test_trailers_without_end_stream),
        cmocka_unit_test(test_content_length),
        cmocka_unit_test(test_dynamic_table_is_kept),
        cmocka_unit_test(test_malformed_and_too_large),
        cmocka_unit_test(test_report_is_short),
        cmocka_unit_test(test_reports_are_limited),
        cmocka_unit_test(test_report_limit_is_per_level),
        cmocka_unit_test(test_resets_are_reported),
        cmocka_unit_test(test_reset_without_error_is_reported_at_debug),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
