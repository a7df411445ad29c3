/*
 * trace: frames of every kind, right and wrong, in whatever pieces they come; their fields, as far
 * as they can be decoded and shown; memory that runs out.
 */
#include "http2/trace.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/range.h"

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define LENGTH(literal) (sizeof(literal) - 1)

enum {
    OUT_MAX = 1 << 20,
    TEXT_MAX = 4 << 20,
    FRAME_MAX = 16384,
    /* Types and flags, as the RFCs number them. */
    DATA = 0,
    HEADERS = 1,
    PRIORITY = 2,
    RST_STREAM = 3,
    SETTINGS = 4,
    PUSH_PROMISE = 5,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8,
    CONTINUATION = 9,
    ALTSVC = 10,
    ORIGIN = 12,
    PRIORITY_UPDATE = 16,
    UNKNOWN = 0xbb,
    END_STREAM = 1,
    ACK = 1,
    END_HEADERS = 4,
    PADDED = 8,
    WITH_PRIORITY = 32,
};

static const struct trace_options names_only = {.fields = false};
static const struct trace_options with_values = {.fields = true};
static const struct trace_options in_colours = {.fields = true, .colours = true};

/* --- What is sent --- */

static struct {
    uint8_t bytes[OUT_MAX];
    size_t length;
} out;

static void put(const void *bytes, size_t length)
{
    assert_true(length <= OUT_MAX - out.length);
    if (length > 0)
        memcpy(out.bytes + out.length, bytes, length);
    out.length += length;
}

static void put_header(size_t length, int type, int flags, uint32_t stream_id)
{
    const uint8_t header[9] = {(uint8_t)(length >> 16),
                               (uint8_t)(length >> 8),
                               (uint8_t)length,
                               (uint8_t)type,
                               (uint8_t)flags,
                               (uint8_t)(stream_id >> 24),
                               (uint8_t)(stream_id >> 16),
                               (uint8_t)(stream_id >> 8),
                               (uint8_t)stream_id};

    put(header, sizeof(header));
}

static void put_frame(int type, int flags, uint32_t stream_id, const void *payload, size_t length)
{
    put_header(length, type, flags, stream_id);
    put(payload, length);
}

#define PUT(type, flags, stream_id, literal)                                                       \
    put_frame(type, flags, stream_id, literal, LENGTH(literal))

/* An indexed field of the static table, or one of the dynamic one by 62 and more. */
#define GET     "\x82"
#define HTTP    "\x86"
#define SLASH   "\x84"
#define NEWEST  "\xbe"
#define NEW_A_B "\x40\x01\x61\x01\x62" /* a: b, indexed from now on */

/* --- What is told --- */

static struct {
    char text[TEXT_MAX];
    size_t length;
    size_t count;
    bool may_have_colours;
} told;

static void on_line(const char *line, void *argument)
{
    size_t length = strlen(line);

    assert_ptr_equal(argument, &told);
    assert_true(length < TRACE_LINE_MAX && length + 2 <= TEXT_MAX - told.length);
    for (size_t i = 0; i < length; i++)
        assert_true((line[i] >= 0x20 && line[i] <= 0x7e) ||
                    (line[i] == '\033' && told.may_have_colours));
    memcpy(told.text + told.length, line, length);
    told.length += length;
    told.text[told.length++] = '\n';
    told.text[told.length] = '\0';
    told.count++;
}

static struct trace *begin(const struct trace_options *options)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct trace *trace = trace_new(options, on_line, &told);

    assert_non_null(trace);
    told.length = told.count = 0;
    told.text[0] = '\0';
    told.may_have_colours = options->colours;
    trace_bytes(trace, TRACE_RECEIVED, (const uint8_t *)preface, LENGTH(preface));
    return trace;
}

/* Each piece stands in memory of its own size, so that reading past its end is seen. */
static void feed(struct trace *trace, enum trace_direction direction, size_t piece)
{
    for (size_t at = 0; at < out.length; at += piece) {
        size_t length = piece < out.length - at ? piece : out.length - at;
        uint8_t *copy = malloc(length);

        assert_non_null(copy);
        memcpy(copy, out.bytes + at, length);
        trace_bytes(trace, direction, copy, length);
        free(copy);
    }
}

static void tell(const struct trace_options *options, enum trace_direction direction, size_t piece)
{
    struct trace *trace = begin(options);

    feed(trace, direction, piece);
    trace_end(trace);
}

/* What was put is told in these lines, whatever the pieces; then it is forgotten. */
static void check_as(const struct trace_options *options, enum trace_direction direction,
                     const char *lines)
{
    static const size_t pieces[] = {OUT_MAX, 1, 2, 5, 9, 10, 1000};

    for (size_t i = 0; i < COUNT(pieces); i++) {
        tell(options, direction, pieces[i]);
        assert_string_equal(told.text, lines);
    }
    out.length = 0;
}

static void check(const char *lines)
{
    check_as(&with_values, TRACE_RECEIVED, lines);
}

/* How often ${words} stand in what is told. */
static size_t count(const char *words)
{
    size_t found = 0;

    for (const char *at = told.text; (at = strstr(at, words)) != NULL; at += strlen(words))
        found++;
    return found;
}

/* --- Frames --- */

struct frame {
    int type;
    int flags;
    uint32_t stream_id;
    const char *payload;
    size_t length;
    const char *line;
};

/* clang-format off */
#define FRAME(type, flags, stream_id, payload, line) \
    {type, flags, stream_id, payload, LENGTH(payload), line "\n"}
/* clang-format on */

static const struct frame frames[] = {
    FRAME(DATA, 0, 1, "content", "recv DATA frame <length=7, flags=0x00, stream_id=1>"),
    FRAME(DATA, 0xff, 1, "\2xx\0\0",
          "recv DATA frame <length=5, flags=0xff, stream_id=1> ; END_STREAM | PADDED (padlen=2)"),
    FRAME(PRIORITY, 0xff, 3, "\0\0\0\1\xc8",
          "recv PRIORITY frame <length=5, flags=0xff, stream_id=3>"
          " (dep_stream_id=1, weight=201, exclusive=0)"),
    FRAME(PRIORITY, 0, 3, "\x80\0\0\0\0",
          "recv PRIORITY frame <length=5, flags=0x00, stream_id=3>"
          " (dep_stream_id=0, weight=1, exclusive=1)"),
    FRAME(RST_STREAM, 0, 5, "\0\0\0\x08",
          "recv RST_STREAM frame <length=4, flags=0x00, stream_id=5> (error_code=CANCEL(0x08))"),
    FRAME(RST_STREAM, 0, 5, "\x80\0\0\x99",
          "recv RST_STREAM frame <length=4, flags=0x00, stream_id=5>"
          " (error_code=unknown(0x80000099))"),
    FRAME(SETTINGS, 0, 0, "", "recv SETTINGS frame <length=0, flags=0x00, stream_id=0> (niv=0)"),
    FRAME(SETTINGS, ACK, 0, "",
          "recv SETTINGS frame <length=0, flags=0x01, stream_id=0> ; ACK (niv=0)"),
    FRAME(SETTINGS, 0, 0,
          "\0\1\0\0\0\1\0\2\0\0\0\2\0\3\0\0\0\3\0\4\0\0\0\4\0\5\0\0\0\5\0\6\0\0\0\6"
          "\0\7\0\0\0\7\0\x08\0\0\0\x08\0\x09\xff\xff\xff\xff\0\0\0\0\0\0\x1a\x2a\0\0\0\1",
          "recv SETTINGS frame <length=66, flags=0x00, stream_id=0> (niv=11)"
          " [SETTINGS_HEADER_TABLE_SIZE(0x01):1] [SETTINGS_ENABLE_PUSH(0x02):2]"
          " [SETTINGS_MAX_CONCURRENT_STREAMS(0x03):3] [SETTINGS_INITIAL_WINDOW_SIZE(0x04):4]"
          " [SETTINGS_MAX_FRAME_SIZE(0x05):5] [SETTINGS_MAX_HEADER_LIST_SIZE(0x06):6]"
          " [UNKNOWN(0x07):7] [SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):8]"
          " [SETTINGS_NO_RFC7540_PRIORITIES(0x09):4294967295] [UNKNOWN(0x00):0]"
          " [UNKNOWN(0x1a2a):1]"),
    FRAME(PING, 0, 0, "\0\1pi\xffng\x7f",
          "recv PING frame <length=8, flags=0x00, stream_id=0> (opaque_data=00017069ff6e677f)"),
    FRAME(PING, ACK, 0, "12345678",
          "recv PING frame <length=8, flags=0x01, stream_id=0> ; ACK"
          " (opaque_data=3132333435363738)"),
    FRAME(GOAWAY, 0, 0, "\x7f\xff\xff\xff\0\0\0\0",
          "recv GOAWAY frame <length=8, flags=0x00, stream_id=0>"
          " (last_stream_id=2147483647, error_code=NO_ERROR(0x00), opaque_data(0)=[])"),
    FRAME(GOAWAY, 0, 0, "\x80\0\0\3\0\0\0\x0b\"bye\"\n\\\xff",
          "recv GOAWAY frame <length=16, flags=0x00, stream_id=0> (last_stream_id=3, reserved=1,"
          " error_code=ENHANCE_YOUR_CALM(0x0b), opaque_data(8)=[\\\"bye\\\"\\x0a\\\\\\xff])"),
    FRAME(WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff",
          "recv WINDOW_UPDATE frame <length=4, flags=0x00, stream_id=0>"
          " (window_size_increment=2147483647)"),
    FRAME(WINDOW_UPDATE, 0, 0x80000007, "\x80\0\0\0",
          "recv WINDOW_UPDATE frame <length=4, flags=0x00, stream_id=7, reserved=1>"
          " (window_size_increment=0, reserved=1)"),
    FRAME(ALTSVC, 0, 0, "\0\5a.b:1h2=\":\"",
          "recv ALTSVC frame <length=13, flags=0x00, stream_id=0>"
          " (origin=[a.b:1], altsvc_field_value=[h2=\\\":\\\"])"),
    FRAME(ALTSVC, 0, 0,
          "\0\xff"
          "a",
          "recv ALTSVC frame <length=3, flags=0x00, stream_id=0>"
          " (origin=[a], altsvc_field_value=[])"),
    FRAME(ORIGIN, 0, 0, "", "recv ORIGIN frame <length=0, flags=0x00, stream_id=0>"),
    FRAME(ORIGIN, 0, 0, "\0\3a.b\0\0\0\1c\0",
          "recv ORIGIN frame <length=11, flags=0x00, stream_id=0> [a.b] [] [c] []"),
    FRAME(PRIORITY_UPDATE, 0, 0, "\0\0\0\1u=2, i",
          "recv PRIORITY_UPDATE frame <length=10, flags=0x00, stream_id=0>"
          " (prioritized_stream_id=1, priority_field_value=[u=2, i])"),
    FRAME(UNKNOWN, 0xff, 9, "\0\xffhello",
          "recv UNKNOWN(0xbb) frame <length=7, flags=0xff, stream_id=9> (payload=00ff68656c6c6f)"),
    FRAME(UNKNOWN, 0, 0, "", "recv UNKNOWN(0xbb) frame <length=0, flags=0x00, stream_id=0>"),
    FRAME(11, 0, 0, "", "recv UNKNOWN(0x0b) frame <length=0, flags=0x00, stream_id=0>"),
    FRAME(17, 0, 0, "", "recv UNKNOWN(0x11) frame <length=0, flags=0x00, stream_id=0>"),
};

static void test_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(frames); i++) {
        put_frame(frames[i].type, frames[i].flags, frames[i].stream_id, frames[i].payload,
                  frames[i].length);
        check(frames[i].line);
    }
}

/* What is wrong with a frame that is too short or too long, or has too much padding. */
static const struct frame malformed[] = {
    FRAME(DATA, PADDED, 1, "",
          "recv DATA frame <length=0, flags=0x08, stream_id=1> ; PADDED"
          " ; malformed: too short for its type"),
    FRAME(DATA, PADDED, 1, "\3xx",
          "recv DATA frame <length=3, flags=0x08, stream_id=1> ; PADDED (padlen=3)"
          " ; malformed: more padding than payload"),
    FRAME(PRIORITY, 0, 1, "1234",
          "recv PRIORITY frame <length=4, flags=0x00, stream_id=1>"
          " ; malformed: too short for its type"),
    FRAME(PRIORITY, 0, 1, "\0\0\0\0\0\0",
          "recv PRIORITY frame <length=6, flags=0x00, stream_id=1>"
          " (dep_stream_id=0, weight=1, exclusive=0) ; malformed: too long for its type"),
    FRAME(RST_STREAM, 0, 1, "123",
          "recv RST_STREAM frame <length=3, flags=0x00, stream_id=1>"
          " ; malformed: too short for its type"),
    FRAME(RST_STREAM, 0, 1, "\0\0\0\1\0",
          "recv RST_STREAM frame <length=5, flags=0x00, stream_id=1>"
          " (error_code=PROTOCOL_ERROR(0x01)) ; malformed: too long for its type"),
    FRAME(SETTINGS, 0, 0, "\0\2\0\0\0\0\0",
          "recv SETTINGS frame <length=7, flags=0x00, stream_id=0> (niv=1)"
          " [SETTINGS_ENABLE_PUSH(0x02):0] ; malformed: its length is no multiple of 6"),
    FRAME(SETTINGS, ACK, 0, "\0\2\0\0\0\0",
          "recv SETTINGS frame <length=6, flags=0x01, stream_id=0> ; ACK (niv=1)"
          " [SETTINGS_ENABLE_PUSH(0x02):0] ; malformed: an acknowledgement has no settings"),
    FRAME(PUSH_PROMISE, PADDED | END_HEADERS, 1, "\0\0\0\0",
          "recv PUSH_PROMISE frame <length=4, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
          " ; malformed: too short for its type\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(PING, 0, 0, "1234567",
          "recv PING frame <length=7, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(PING, 0, 0, "123456789",
          "recv PING frame <length=9, flags=0x00, stream_id=0>"
          " (opaque_data=3132333435363738) ; malformed: too long for its type"),
    FRAME(GOAWAY, 0, 0, "1234567",
          "recv GOAWAY frame <length=7, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(WINDOW_UPDATE, 0, 0, "",
          "recv WINDOW_UPDATE frame <length=0, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(ALTSVC, 0, 0, "\0",
          "recv ALTSVC frame <length=1, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(PRIORITY_UPDATE, 0, 0, "\0\0\0",
          "recv PRIORITY_UPDATE frame <length=3, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(HEADERS, WITH_PRIORITY | END_HEADERS, 1, "\0\0\0\0",
          "recv HEADERS frame <length=4, flags=0x24, stream_id=1> ; END_HEADERS | PRIORITY"
          " ; malformed: too short for its type\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(HEADERS, PADDED | WITH_PRIORITY | END_HEADERS, 1, "\2\0\0\0\0\0" GET,
          "recv HEADERS frame <length=7, flags=0x2c, stream_id=1>"
          " ; END_HEADERS | PADDED | PRIORITY"
          " (padlen=2, dep_stream_id=0, weight=1, exclusive=0)"
          " ; malformed: more padding than payload\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(PUSH_PROMISE, PADDED | END_HEADERS, 1, "\2\0\0\0\2" GET,
          "recv PUSH_PROMISE frame <length=6, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
          " (padlen=2, promised_stream_id=2) ; malformed: more padding than payload\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(HEADERS, PADDED | END_HEADERS, 1, "\2" GET,
          "recv HEADERS frame <length=2, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
          " (padlen=2) ; malformed: more padding than payload\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
};

static void test_malformed_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(malformed); i++) {
        put_frame(malformed[i].type, malformed[i].flags, malformed[i].stream_id,
                  malformed[i].payload, malformed[i].length);
        check(malformed[i].line);
    }
}

/* All of them one behind the other, too: what a frame leaves behind is nothing. */
static void test_frames_in_a_row(void **state)
{
    static char lines[8192];

    (void)state;
    for (size_t i = 0; i < COUNT(frames); i++) {
        put_frame(frames[i].type, frames[i].flags, frames[i].stream_id, frames[i].payload,
                  frames[i].length);
        assert_true(strlen(lines) + strlen(frames[i].line) < sizeof(lines));
        strcat(lines, frames[i].line);
    }
    check(lines);
}

static void test_what_is_sent_has_no_preface(void **state)
{
    (void)state;
    PUT(SETTINGS, ACK, 0, "");
    check_as(&with_values, TRACE_SENT,
             "send SETTINGS frame <length=0, flags=0x01, stream_id=0> ; ACK (niv=0)\n");
}

static void test_preface_alone_is_no_frame(void **state)
{
    (void)state;
    check("");
}

static void test_names_only(void **state)
{
    (void)state;
    PUT(HEADERS, END_HEADERS, 1, GET NEW_A_B);
    PUT(UNKNOWN, 0, 0, "hello");
    PUT(GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0bye");
    check_as(&names_only, TRACE_RECEIVED,
             "recv HEADERS frame <length=6, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
             "recv (stream_id=1) :method\n"
             "recv (stream_id=1) a\n"
             "recv UNKNOWN(0xbb) frame <length=5, flags=0x00, stream_id=0>\n"
             "recv GOAWAY frame <length=11, flags=0x00, stream_id=0> (last_stream_id=0,"
             " error_code=NO_ERROR(0x00), opaque_data(3)=[bye])\n");
}

static void test_colours(void **state)
{
    (void)state;
    PUT(HEADERS, END_HEADERS, 1, GET);
    check_as(&in_colours, TRACE_RECEIVED,
             "recv \033[1;36mHEADERS\033[0m frame <length=1, flags=0x04, stream_id=1>"
             " ; END_HEADERS (padlen=0)\n"
             "recv (stream_id=1) \033[1;34m:method\033[0m: GET\n");
    PUT(PING, 0, 0, "12345678");
    check_as(&in_colours, TRACE_SENT,
             "send \033[1;35mPING\033[0m frame <length=8, flags=0x00, stream_id=0>"
             " (opaque_data=3132333435363738)\n");
}

/* --- Long ones --- */

static void test_payload_of_data_is_passed_over(void **state)
{
    static const uint8_t content[FRAME_MAX];

    (void)state;
    put_frame(DATA, 0, 1, content, sizeof(content));
    put_frame(DATA, PADDED, 1, content, sizeof(content));
    PUT(DATA, END_STREAM, 1, "");
    check("recv DATA frame <length=16384, flags=0x00, stream_id=1>\n"
          "recv DATA frame <length=16384, flags=0x08, stream_id=1> ; PADDED (padlen=0)\n"
          "recv DATA frame <length=0, flags=0x01, stream_id=1> ; END_STREAM\n");
}

/* As many settings as a frame can have: more than a line can. */
static void test_many_settings(void **state)
{
    static uint8_t settings[FRAME_MAX / 6 * 6];
    char wanted[64];

    (void)state;
    for (size_t i = 0; i < sizeof(settings) / 6; i++) {
        settings[6 * i + 1] = 9;
        settings[6 * i + 2] = 0xff;
        settings[6 * i + 4] = (uint8_t)(i >> 8);
        settings[6 * i + 5] = (uint8_t)i;
    }
    put_frame(SETTINGS, 0, 0, settings, sizeof(settings));
    tell(&with_values, TRACE_RECEIVED, 1000);
    for (size_t i = 0; i < sizeof(settings) / 6; i++) {
        (void)snprintf(wanted, sizeof(wanted), "[SETTINGS_NO_RFC7540_PRIORITIES(0x09):%zu]",
                       (size_t)0xff000000 + i);
        assert_int_equal(count(wanted), 1);
    }
    assert_int_equal(count("(niv=2730)"), 1);
    assert_int_equal(count("recv SETTINGS, more ["), told.count - 1);
    out.length = 0;
}

static void test_long_payloads_are_cut(void **state)
{
    static uint8_t payload[FRAME_MAX];
    char *hex;

    (void)state;
    memset(payload, 0x61, sizeof(payload));
    put_frame(UNKNOWN, 0, 0, payload, 512);
    put_frame(UNKNOWN, 0, 0, payload, 513);
    tell(&with_values, TRACE_RECEIVED, 1000);
    hex = strstr(told.text, "(payload=");
    assert_int_equal(strspn(hex + LENGTH("(payload="), "61"), 1024);
    assert_memory_equal(hex + LENGTH("(payload=") + 1024, ")\n", 2);
    hex = strstr(hex + 1, "(payload=");
    assert_int_equal(strspn(hex + LENGTH("(payload="), "61"), 1024);
    assert_string_equal(hex + LENGTH("(payload=") + 1024, "...)\n");
    out.length = 0;
    put_frame(GOAWAY, 0, 0, payload, sizeof(payload));
    put_frame(PRIORITY_UPDATE, 0, 0, payload, sizeof(payload));
    memset(payload, 0, sizeof(payload));
    put_frame(ORIGIN, 0, 0, payload, sizeof(payload));
    tell(&with_values, TRACE_RECEIVED, 1000);
    assert_int_equal(count("aaa...])\n"), 2);
    assert_int_equal(count(" [] [] ...\n"), 1);
    assert_int_equal(told.count, 3);
    out.length = 0;
}

/* The session reads its header and no more: so it is told when the header is there. */
static void test_frame_that_is_too_long(void **state)
{
    static const uint8_t payload[FRAME_MAX + 1];

    (void)state;
    put_header(FRAME_MAX + 1, DATA, PADDED, 1);
    check("recv DATA frame <length=16385, flags=0x08, stream_id=1> ; PADDED"
          " ; malformed: longer than 16384 bytes\n");
    put_frame(HEADERS, END_HEADERS, 1, payload, sizeof(payload));
    PUT(HEADERS, END_HEADERS, 3, GET);
    check("recv HEADERS frame <length=16385, flags=0x04, stream_id=1> ; END_HEADERS"
          " ; malformed: longer than 16384 bytes\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n"
          "recv HEADERS frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n");
}

static void test_frames_that_never_end(void **state)
{
    (void)state;
    put("\0\0\x05", 3);
    check("recv frame ; ended after 3 bytes of its header\n");
    put_header(0, PING, ACK, 0);
    put_header(FRAME_MAX, DATA, 0, 1);
    put("0123456789", 10);
    check("recv PING frame <length=0, flags=0x01, stream_id=0> ; ACK"
          " ; malformed: too short for its type\n"
          "recv DATA frame <length=16384, flags=0x00, stream_id=1> ; ended after 10 bytes\n");
    put_header(8, PING, 0, 0);
    put("0123", 4);
    check_as(&with_values, TRACE_SENT,
             "send PING frame <length=8, flags=0x00, stream_id=0> ; ended after 4 bytes\n");
    /* The header that is begun is the one of the frame before, as far as it is not there yet. */
    put_header(FRAME_MAX + 1, UNKNOWN, 0, 0);
    for (size_t i = 0; i <= FRAME_MAX; i++)
        put("x", 1);
    put("\0", 1);
    check("recv UNKNOWN(0xbb) frame <length=16385, flags=0x00, stream_id=0>"
          " ; malformed: longer than 16384 bytes\n"
          "recv frame ; ended after 1 bytes of its header\n");
}

/* --- Fields --- */

static void test_fields_in_order(void **state)
{
    (void)state;
    PUT(HEADERS, END_HEADERS | END_STREAM, 1,
        GET SLASH HTTP NEW_A_B NEW_A_B "\x10\x01s\x01t" /* never indexed */ "\0\x01n\0");
    PUT(HEADERS, END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY, 0x80000003,
        "\2\x80\0\0\1\x0f" NEWEST NEWEST "\0\0");
    check("recv HEADERS frame <length=22, flags=0x05, stream_id=1> ; END_STREAM | END_HEADERS"
          " (padlen=0)\n"
          "recv (stream_id=1) :method: GET\n"
          "recv (stream_id=1) :path: /\n"
          "recv (stream_id=1) :scheme: http\n"
          "recv (stream_id=1) a: b\n"
          "recv (stream_id=1) a: b\n"
          "recv (stream_id=1, sensitive) s: t\n"
          "recv (stream_id=1) n: \n"
          "recv HEADERS frame <length=10, flags=0x2d, stream_id=3, reserved=1>"
          " ; END_STREAM | END_HEADERS | PADDED | PRIORITY"
          " (padlen=2, dep_stream_id=1, weight=16, exclusive=1)\n"
          "recv (stream_id=3) a: b\n"
          "recv (stream_id=3) a: b\n");
}

/* The fragments may end anywhere, and some may be empty. */
static void test_block_in_many_frames(void **state)
{
    (void)state;
    PUT(HEADERS, PADDED, 1, "\1" GET "\x40\x01\0");
    PUT(CONTINUATION, 0, 1, "");
    PUT(CONTINUATION, 0, 1, "\x61");
    PUT(CONTINUATION, 0, 1, "\x01\x62" SLASH);
    PUT(CONTINUATION, END_HEADERS, 1, "");
    PUT(HEADERS, END_HEADERS, 3, NEWEST);
    check("recv HEADERS frame <length=5, flags=0x08, stream_id=1> ; PADDED (padlen=1)\n"
          "recv (stream_id=1) :method: GET\n"
          "recv CONTINUATION frame <length=0, flags=0x00, stream_id=1>\n"
          "recv CONTINUATION frame <length=1, flags=0x00, stream_id=1>\n"
          "recv CONTINUATION frame <length=3, flags=0x00, stream_id=1>\n"
          "recv (stream_id=1) a: b\n"
          "recv (stream_id=1) :path: /\n"
          "recv CONTINUATION frame <length=0, flags=0x04, stream_id=1> ; END_HEADERS\n"
          "recv HEADERS frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
          "recv (stream_id=3) a: b\n");
}

/* No client may send it; but its block is part of what HPACK remembers. */
static void test_push_promise_keeps_the_table_in_step(void **state)
{
    (void)state;
    PUT(PUSH_PROMISE, END_HEADERS | PADDED, 1, "\1\x80\0\0\2" NEW_A_B "\0");
    PUT(HEADERS, END_HEADERS, 3, NEWEST);
    check("recv PUSH_PROMISE frame <length=11, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
          " (padlen=1, promised_stream_id=2, reserved=1)\n"
          "recv (stream_id=1) a: b\n"
          "recv HEADERS frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
          "recv (stream_id=3) a: b\n");
}

/* From there on no field can be right; each frame is told all the same, and the other way goes on.
 */
static void test_block_that_is_wrong(void **state)
{
    struct trace *trace = begin(&with_values);

    (void)state;
    PUT(HEADERS, END_HEADERS, 1, GET "\xff" GET);
    PUT(HEADERS, END_HEADERS, 3, GET);
    PUT(CONTINUATION, END_HEADERS, 3, GET);
    feed(trace, TRACE_RECEIVED, OUT_MAX);
    out.length = 0;
    PUT(HEADERS, END_HEADERS, 1, "\x88");
    feed(trace, TRACE_SENT, OUT_MAX);
    trace_end(trace);
    assert_string_equal(
        told.text,
        "recv HEADERS frame <length=3, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
        "recv (stream_id=1) :method: GET\n"
        "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n"
        "recv HEADERS frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
        "recv CONTINUATION frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS\n"
        "send HEADERS frame <length=1, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
        "send (stream_id=1) :status: 200\n");
    out.length = 0;
}

static void test_block_that_is_cut_off(void **state)
{
    (void)state;
    PUT(HEADERS, END_HEADERS, 1, GET "\x40\x01");
    check("recv HEADERS frame <length=3, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
          "recv (stream_id=1) :method: GET\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n");
}

/* A client may not have a larger table than we allow; ours may be as large as the client allows. */
static void test_size_of_the_table(void **state)
{
    (void)state;
    PUT(HEADERS, END_HEADERS, 1, "\x3f\xe1\x1f" /* 4096 */ GET);
    PUT(HEADERS, END_HEADERS, 3, "\x3f\xe2\x1f" /* 4097 */ GET);
    check("recv HEADERS frame <length=4, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
          "recv (stream_id=1) :method: GET\n"
          "recv HEADERS frame <length=4, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
          "recv (stream_id=3) [the fields can't be decoded, nor any after them]\n");
    PUT(HEADERS, END_HEADERS, 1, "\x3f\xe1\xff\x03" /* 65536 */ "\x88" NEW_A_B);
    PUT(HEADERS, END_HEADERS, 3, "\x20" /* 0 */ "\x3f\xe1\x1f" NEW_A_B NEWEST);
    check_as(&with_values, TRACE_SENT,
             "send HEADERS frame <length=10, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
             "send (stream_id=1) :status: 200\n"
             "send (stream_id=1) a: b\n"
             "send HEADERS frame <length=10, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
             "send (stream_id=3) a: b\n"
             "send (stream_id=3) a: b\n");
}

/* Encode fields into a HEADERS frame; in one of a client they come one by one. */
static void put_fields(nghttp2_hd_deflater *deflater, uint32_t stream_id, const nghttp2_nv *fields,
                       size_t number)
{
    static uint8_t block[FRAME_MAX];
    ssize_t length = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), fields, number);

    assert_true(length > 0);
    put_frame(HEADERS, END_HEADERS, stream_id, block, (size_t)length);
}

static nghttp2_hd_deflater *new_deflater(void)
{
    nghttp2_hd_deflater *deflater;

    assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
    return deflater;
}

static nghttp2_nv field(const char *name, size_t name_length, const char *value,
                        size_t value_length)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, name_length, value_length, 0};
}

#define FIELD(name, value) field(name, LENGTH(name), value, LENGTH(value))

/* Where the name ends and the value begins is never in doubt, whatever bytes they have. */
static void test_fields_are_escaped(void **state)
{
    nghttp2_hd_deflater *deflater = new_deflater();
    const nghttp2_nv strange[] = {
        FIELD("", "value"),          FIELD("a: b", "c: d"),         FIELD(":", ": "),
        FIELD("::x y", " \t\"\\\0"), FIELD("\xc3\xbc", "\xc3\xbc"), FIELD("", ""),
    };

    (void)state;
    put_fields(deflater, 1, strange, COUNT(strange));
    nghttp2_hd_deflate_del(deflater);
    tell(&with_values, TRACE_RECEIVED, OUT_MAX);
    assert_string_equal(strchr(told.text, '\n') + 1,
                        "recv (stream_id=1) : value\n"
                        "recv (stream_id=1) a\\x3a\\x20b: c: d\n"
                        "recv (stream_id=1) :: : \n"
                        "recv (stream_id=1) :\\x3ax\\x20y:  \\x09\\\"\\\\\\x00\n"
                        "recv (stream_id=1) \\xc3\\xbc: \\xc3\\xbc\n"
                        "recv (stream_id=1) : \n");
    out.length = 0;
}

/* How many of the letter stand behind the words, and whether that is followed by the others. */
static void assert_shown(const char *before, char letter, size_t number, const char *behind)
{
    const char letters[] = {letter, '\0'};
    const char *at = strstr(told.text, before);

    assert_non_null(at);
    at += strlen(before);
    assert_int_equal(strspn(at, letters), number);
    assert_memory_equal(at + number, behind, strlen(behind));
}

/* As much of a value as a line holds; of a name less, and what is cut has its length behind it. */
static void test_long_names_and_values(void **state)
{
    enum {
        LONGEST = 15000,
        WHOLE = TRACE_LINE_MAX - 64 - 1 - (int)LENGTH("recv (stream_id=1) n: ")
    };
    static char ns[LONGEST], vs[LONGEST];
    nghttp2_hd_deflater *deflater = new_deflater();
    nghttp2_nv number[] = {field("n", 1, vs, WHOLE)};
    nghttp2_nv name[] = {field(ns, 256, "v", 1)};

    (void)state;
    memset(ns, 'n', sizeof(ns));
    memset(vs, 'v', sizeof(vs));
    put_fields(deflater, 1, number, 1);
    number[0].valuelen++;
    put_fields(deflater, 3, number, 1);
    number[0].valuelen = LONGEST;
    put_fields(deflater, 5, number, 1);
    put_fields(deflater, 7, name, 1);
    name[0].namelen++;
    put_fields(deflater, 9, name, 1);
    name[0].namelen = LONGEST;
    put_fields(deflater, 11, name, 1);
    nghttp2_hd_deflate_del(deflater);
    tell(&with_values, TRACE_RECEIVED, OUT_MAX);
    assert_shown("(stream_id=1) n: ", 'v', WHOLE, "\n");
    assert_shown("(stream_id=3) n: ", 'v', WHOLE - 3, "... (3914 bytes)\n");
    assert_shown("(stream_id=5) n: ", 'v', WHOLE - 3, "... (15000 bytes)\n");
    assert_shown("(stream_id=7) ", 'n', 256, ": v\n");
    assert_shown("(stream_id=9) ", 'n', 256, "... (257 bytes): v\n");
    assert_shown("(stream_id=11) ", 'n', 256, "... (15000 bytes): v\n");
    out.length = 0;
}

/* The longest line that there is: every byte of name and value escaped. */
static void test_longest_line(void **state)
{
    static char bytes[4000];
    nghttp2_hd_deflater *deflater = new_deflater();
    nghttp2_nv longest = field(bytes, 1000, bytes, sizeof(bytes));

    (void)state;
    memset(bytes, 0xff, sizeof(bytes));
    longest.flags = NGHTTP2_NV_FLAG_NO_INDEX;
    put_fields(deflater, INT32_MAX, &longest, 1);
    nghttp2_hd_deflate_del(deflater);
    tell(&in_colours, TRACE_RECEIVED, OUT_MAX);
    assert_int_equal(count("... (1000 bytes)\033[0m: \\xff"), 1);
    assert_int_equal(count("\\xff... (4000 bytes)\n"), 1);
    out.length = 0;
}

/* --- Bounds --- */

/* Fifteen thousand references to a value of a kilobyte: the log gets so many bytes, and is told. */
static void test_block_that_would_fill_the_log(void **state)
{
    static uint8_t bomb[15000];
    static char value[1000];
    const nghttp2_nv large = field("a", 1, value, sizeof(value));
    nghttp2_hd_deflater *deflater = new_deflater();

    (void)state;
    memset(value, 'x', sizeof(value));
    memset(bomb, NEWEST[0], sizeof(bomb));
    put_fields(deflater, 1, &large, 1);
    nghttp2_hd_deflate_del(deflater);
    put_frame(HEADERS, 0, 3, bomb, sizeof(bomb));
    put_frame(CONTINUATION, END_HEADERS, 3, bomb, sizeof(bomb));
    PUT(HEADERS, END_HEADERS, 5, NEW_A_B NEWEST);
    tell(&with_values, TRACE_RECEIVED, OUT_MAX);
    assert_between(count("(stream_id=3) a: x"), TRACE_BLOCK_MAX / 1100, TRACE_BLOCK_MAX / 1064);
    assert_int_equal(count("(stream_id=3) [whatever else is in this header block is not shown]\n"),
                     1);
    assert_int_equal(count("is not shown"), 1);
    assert_int_equal(count("(stream_id=5) a: b\n"), 2);
    /* Of short ones the lines count, too. */
    memset(bomb, GET[0], sizeof(bomb));
    out.length = 0;
    put_frame(HEADERS, END_HEADERS, 1, bomb, sizeof(bomb));
    tell(&names_only, TRACE_RECEIVED, OUT_MAX);
    assert_between(told.count, TRACE_BLOCK_MAX / 100, TRACE_BLOCK_MAX / 80);
    out.length = 0;
}

/* As much as the usual settings let through is shown whole: 64 KiB, 32 of them for each field. */
static void test_block_that_is_as_large_as_is_usual(void **state)
{
    enum { FIELDS = 1000 };
    static const char literal[] = "\0\x01n\x20"
                                  "0123456789abcdef0123456789abcdef";

    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        if (i % (FIELDS / 4) == 0)
            put_header(FIELDS / 4 * LENGTH(literal), i == 0 ? HEADERS : CONTINUATION, 0, 1);
        put(literal, LENGTH(literal));
    }
    tell(&with_values, TRACE_RECEIVED, OUT_MAX);
    assert_int_equal(count(") n: 0123456789abcdef0123456789abcdef\n"), FIELDS);
    assert_int_equal(count("is not shown"), 0);
    out.length = 0;
}

/* --- Memory that runs out --- */

static int calls_left = -1; /* that succeed before one fails; negative = all */

static bool fails(void)
{
    return calls_left >= 0 && calls_left-- == 0;
}

void *__real_calloc(size_t number, size_t size);
int __real_nghttp2_hd_inflate_new(nghttp2_hd_inflater **inflater);
ssize_t __real_nghttp2_hd_inflate_hd2(nghttp2_hd_inflater *inflater, nghttp2_nv *nv, int *flags,
                                      const uint8_t *in, size_t length, int is_final);
void *__wrap_calloc(size_t number, size_t size);
int __wrap_nghttp2_hd_inflate_new(nghttp2_hd_inflater **inflater);
ssize_t __wrap_nghttp2_hd_inflate_hd2(nghttp2_hd_inflater *inflater, nghttp2_nv *nv, int *flags,
                                      const uint8_t *in, size_t length, int is_final);

void *__wrap_calloc(size_t number, size_t size)
{
    return fails() ? NULL : __real_calloc(number, size);
}

int __wrap_nghttp2_hd_inflate_new(nghttp2_hd_inflater **inflater)
{
    return fails() ? NGHTTP2_ERR_NOMEM : __real_nghttp2_hd_inflate_new(inflater);
}

ssize_t __wrap_nghttp2_hd_inflate_hd2(nghttp2_hd_inflater *inflater, nghttp2_nv *nv, int *flags,
                                      const uint8_t *in, size_t length, int is_final)
{
    return fails() ? NGHTTP2_ERR_NOMEM
                   : __real_nghttp2_hd_inflate_hd2(inflater, nv, flags, in, length, is_final);
}

/* The trace itself and its two decoders. */
static void test_no_memory_for_a_trace(void **state)
{
    (void)state;
    for (int n = 0; n < 3; n++) {
        calls_left = n;
        assert_null(trace_new(&with_values, on_line, &told));
    }
    calls_left = 3;
    trace_end(begin(&with_values));
    assert_int_equal(calls_left, 0);
    calls_left = -1;
}

static void test_no_memory_for_a_field(void **state)
{
    struct trace *trace = begin(&with_values);

    (void)state;
    PUT(HEADERS, END_HEADERS, 1, GET SLASH);
    PUT(PING, 0, 0, "12345678");
    calls_left = 1;
    feed(trace, TRACE_RECEIVED, OUT_MAX);
    trace_end(trace);
    calls_left = -1;
    assert_string_equal(
        told.text,
        "recv HEADERS frame <length=2, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
        "recv (stream_id=1) :method: GET\n"
        "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n"
        "recv PING frame <length=8, flags=0x00, stream_id=0> (opaque_data=3132333435363738)\n");
    out.length = 0;
}

static void test_end_of_no_trace(void **state)
{
    (void)state;
    trace_end(NULL);
}

/* What a test that failed has left. */
static int reset(void **state)
{
    (void)state;
    out.length = 0;
    calls_left = -1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_frames, reset),
        cmocka_unit_test_setup(test_malformed_frames, reset),
        cmocka_unit_test_setup(test_frames_in_a_row, reset),
        cmocka_unit_test_setup(test_what_is_sent_has_no_preface, reset),
        cmocka_unit_test_setup(test_preface_alone_is_no_frame, reset),
        cmocka_unit_test_setup(test_names_only, reset),
        cmocka_unit_test_setup(test_colours, reset),
        cmocka_unit_test_setup(test_payload_of_data_is_passed_over, reset),
        cmocka_unit_test_setup(test_many_settings, reset),
        cmocka_unit_test_setup(test_long_payloads_are_cut, reset),
        cmocka_unit_test_setup(test_frame_that_is_too_long, reset),
        cmocka_unit_test_setup(test_frames_that_never_end, reset),
        cmocka_unit_test_setup(test_fields_in_order, reset),
        cmocka_unit_test_setup(test_block_in_many_frames, reset),
        cmocka_unit_test_setup(test_push_promise_keeps_the_table_in_step, reset),
        cmocka_unit_test_setup(test_block_that_is_wrong, reset),
        cmocka_unit_test_setup(test_block_that_is_cut_off, reset),
        cmocka_unit_test_setup(test_size_of_the_table, reset),
        cmocka_unit_test_setup(test_fields_are_escaped, reset),
        cmocka_unit_test_setup(test_long_names_and_values, reset),
        cmocka_unit_test_setup(test_longest_line, reset),
        cmocka_unit_test_setup(test_block_that_would_fill_the_log, reset),
        cmocka_unit_test_setup(test_block_that_is_as_large_as_is_usual, reset),
        cmocka_unit_test_setup(test_no_memory_for_a_trace, reset),
        cmocka_unit_test_setup(test_no_memory_for_a_field, reset),
        cmocka_unit_test_setup(test_end_of_no_trace, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
