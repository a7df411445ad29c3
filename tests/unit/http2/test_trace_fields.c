/* The lines that a trace writes for fields, as far as they can be decoded, and if memory runs out.
 */
#include "unit/http2/traced.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/range.h"

/* --- Field blocks --- */

static void test_fields_in_order(void **state)
{
    (void)state;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS | WIRE_FLAG_END_STREAM, 1,
               HPACK_GET HPACK_SLASH HPACK_HTTP HPACK_NEW_A_B HPACK_NEW_A_B
               "\x10\x01s\x01t" /* never indexed */ "\0\x01n\0");
    TRACED_PUT(WIRE_HEADERS,
               WIRE_FLAG_END_HEADERS | WIRE_FLAG_END_STREAM | WIRE_FLAG_PADDED | WIRE_FLAG_PRIORITY,
               0x80000003, "\2\x80\0\0\1\x0f" HPACK_NEWEST HPACK_NEWEST "\0\0");
    traced_check(
        "recv HEADERS frame <length=22, flags=0x05, stream_id=1> ; END_STREAM | END_HEADERS"
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

/* Fragments may end anywhere, and may be empty. */
static void test_block_in_many_frames(void **state)
{
    (void)state;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_PADDED, 1, "\1" HPACK_GET "\x40\x01\0");
    TRACED_PUT(WIRE_CONTINUATION, 0, 1, "");
    TRACED_PUT(WIRE_CONTINUATION, 0, 1, "\x61");
    TRACED_PUT(WIRE_CONTINUATION, 0, 1, "\x01\x62" HPACK_SLASH);
    TRACED_PUT(WIRE_CONTINUATION, WIRE_FLAG_END_HEADERS, 1, "");
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 3, HPACK_NEWEST);
    traced_check("recv HEADERS frame <length=5, flags=0x08, stream_id=1> ; PADDED (padlen=1)\n"
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

/* A client must not send PUSH_PROMISE, but its field block changes the HPACK table all the same. */
static void test_push_promise_updates_the_table(void **state)
{
    (void)state;
    TRACED_PUT(WIRE_PUSH_PROMISE, WIRE_FLAG_END_HEADERS | WIRE_FLAG_PADDED, 1,
               "\1\x80\0\0\2" HPACK_NEW_A_B "\0");
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 3, HPACK_NEWEST);
    traced_check(
        "recv PUSH_PROMISE frame <length=11, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
        " (padlen=1, promised_stream_id=2, reserved=1)\n"
        "recv (stream_id=1) a: b\n"
        "recv HEADERS frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
        "recv (stream_id=3) a: b\n");
}

/* No later field of that direction can be decoded. Frames are still written, and so are the fields
 * of the other direction. */
static void test_malformed_block(void **state)
{
    struct trace *trace = traced_begin(&traced_with_values);

    (void)state;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, HPACK_GET "\xff" HPACK_GET);
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 3, HPACK_GET);
    TRACED_PUT(WIRE_CONTINUATION, WIRE_FLAG_END_HEADERS, 3, HPACK_GET);
    traced_feed(trace, TRACE_RECEIVED, TRACED_INPUT_MAX);
    traced_input.length = 0;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, "\x88");
    traced_feed(trace, TRACE_SENT, TRACED_INPUT_MAX);
    trace_end(trace);
    assert_string_equal(
        traced.text,
        "recv HEADERS frame <length=3, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
        "recv (stream_id=1) :method: GET\n"
        "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n"
        "recv HEADERS frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
        "recv CONTINUATION frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS\n"
        "send HEADERS frame <length=1, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
        "send (stream_id=1) :status: 200\n");
    traced_input.length = 0;
}

static void test_incomplete_block(void **state)
{
    (void)state;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, HPACK_GET "\x40\x01");
    traced_check("recv HEADERS frame <length=3, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
                 "recv (stream_id=1) :method: GET\n"
                 "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n");
}

/* The client's table must not be larger than the daemon allows; the daemon's may have any size that
 * the client allows. */
static void test_size_of_the_table(void **state)
{
    (void)state;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, "\x3f\xe1\x1f" /* 4096 */ HPACK_GET);
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 3, "\x3f\xe2\x1f" /* 4097 */ HPACK_GET);
    traced_check("recv HEADERS frame <length=4, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
                 "recv (stream_id=1) :method: GET\n"
                 "recv HEADERS frame <length=4, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
                 "recv (stream_id=3) [the fields can't be decoded, nor any after them]\n");
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1,
               "\x3f\xe1\xff\x03" /* 65536 */ "\x88" HPACK_NEW_A_B);
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 3,
               "\x20" /* 0 */ "\x3f\xe1\x1f" HPACK_NEW_A_B HPACK_NEWEST);
    traced_check_as(
        &traced_with_values, TRACE_SENT,
        "send HEADERS frame <length=10, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
        "send (stream_id=1) :status: 200\n"
        "send (stream_id=1) a: b\n"
        "send HEADERS frame <length=10, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n"
        "send (stream_id=3) a: b\n"
        "send (stream_id=3) a: b\n");
}

/* --- Names and values --- */

/* Put a HEADERS frame with these fields into the input. */
static void put_fields(nghttp2_hd_deflater *deflater, uint32_t stream_id, const nghttp2_nv *fields,
                       size_t number)
{
    static uint8_t block[TRACE_PAYLOAD_MAX];
    ssize_t length = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), fields, number);

    assert_true(length > 0);
    traced_put_frame(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, stream_id, block, (size_t)length);
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

/* It is always clear where the name ends and the value begins. */
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
    traced_run(&traced_with_values, TRACE_RECEIVED, TRACED_INPUT_MAX);
    assert_string_equal(strchr(traced.text, '\n') + 1,
                        "recv (stream_id=1) : value\n"
                        "recv (stream_id=1) a\\x3a\\x20b: c: d\n"
                        "recv (stream_id=1) :: : \n"
                        "recv (stream_id=1) :\\x3ax\\x20y:  \\x09\\\"\\\\\\x00\n"
                        "recv (stream_id=1) \\xc3\\xbc: \\xc3\\xbc\n"
                        "recv (stream_id=1) : \n");
    traced_input.length = 0;
}

/* Fail unless ${before} is followed by ${number} times the letter, and that by ${after}. */
static void assert_shown(const char *before, char letter, size_t number, const char *after)
{
    const char letters[] = {letter, '\0'};
    const char *at = strstr(traced.text, before);

    assert_non_null(at);
    at += strlen(before);
    assert_int_equal(strspn(at, letters), number);
    assert_memory_equal(at + number, after, strlen(after));
}

/* A value is cut if it does not fit on the line, a name earlier; then its length is shown as well.
 */
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
    traced_run(&traced_with_values, TRACE_RECEIVED, TRACED_INPUT_MAX);
    assert_shown("(stream_id=1) n: ", 'v', WHOLE, "\n");
    assert_shown("(stream_id=3) n: ", 'v', WHOLE - 3, "... (3914 bytes)\n");
    assert_shown("(stream_id=5) n: ", 'v', WHOLE - 3, "... (15000 bytes)\n");
    assert_shown("(stream_id=7) ", 'n', 256, ": v\n");
    assert_shown("(stream_id=9) ", 'n', 256, "... (257 bytes): v\n");
    assert_shown("(stream_id=11) ", 'n', 256, "... (15000 bytes): v\n");
    traced_input.length = 0;
}

/* The longest possible line: every byte of name and value is escaped. */
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
    traced_run(&traced_in_colours, TRACE_RECEIVED, TRACED_INPUT_MAX);
    assert_int_equal(traced_count("... (1000 bytes)\033[0m: \\xff"), 1);
    assert_int_equal(traced_count("\\xff... (4000 bytes)\n"), 1);
    traced_input.length = 0;
}

/* --- Limits --- */

/* Fifteen thousand references to a value of a kilobyte: the fields are cut off, with a line that
 * says so. */
static void test_block_that_is_too_large_for_the_log(void **state)
{
    static uint8_t bomb[15000];
    static char value[1000];
    const nghttp2_nv large = field("a", 1, value, sizeof(value));
    nghttp2_hd_deflater *deflater = new_deflater();

    (void)state;
    memset(value, 'x', sizeof(value));
    memset(bomb, HPACK_NEWEST[0], sizeof(bomb));
    put_fields(deflater, 1, &large, 1);
    nghttp2_hd_deflate_del(deflater);
    traced_put_frame(WIRE_HEADERS, 0, 3, bomb, sizeof(bomb));
    traced_put_frame(WIRE_CONTINUATION, WIRE_FLAG_END_HEADERS, 3, bomb, sizeof(bomb));
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 5, HPACK_NEW_A_B HPACK_NEWEST);
    traced_run(&traced_with_values, TRACE_RECEIVED, TRACED_INPUT_MAX);
    assert_between(traced_count("(stream_id=3) a: x"), TRACE_BLOCK_MAX / 1100,
                   TRACE_BLOCK_MAX / 1064);
    assert_int_equal(
        traced_count("(stream_id=3) [whatever else is in this header block is not shown]\n"), 1);
    assert_int_equal(traced_count("is not shown"), 1);
    assert_int_equal(traced_count("(stream_id=5) a: b\n"), 2);
    /* If the fields are short, it is the number of lines that is limited. */
    memset(bomb, HPACK_GET[0], sizeof(bomb));
    traced_input.length = 0;
    traced_put_frame(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, bomb, sizeof(bomb));
    traced_run(&traced_names_only, TRACE_RECEIVED, TRACED_INPUT_MAX);
    assert_between(traced.count, TRACE_BLOCK_MAX / 100, TRACE_BLOCK_MAX / 80);
    traced_input.length = 0;
}

/* A block as large as the default settings allow, 64 KiB with 32 bytes for each field, is shown as
 * a whole. */
static void test_largest_block_of_the_default_settings(void **state)
{
    enum { FIELDS = 1000 };
    static const char literal[] = "\0\x01n\x20"
                                  "0123456789abcdef0123456789abcdef";

    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        if (i % (FIELDS / 4) == 0)
            traced_put_header(FIELDS / 4 * LENGTH(literal),
                              i == 0 ? WIRE_HEADERS : WIRE_CONTINUATION, 0, 1);
        traced_put(literal, LENGTH(literal));
    }
    traced_run(&traced_with_values, TRACE_RECEIVED, TRACED_INPUT_MAX);
    assert_int_equal(traced_count(") n: 0123456789abcdef0123456789abcdef\n"), FIELDS);
    assert_int_equal(traced_count("is not shown"), 0);
    traced_input.length = 0;
}

/* --- Memory that runs out --- */

static int calls_left = -1; /* that succeed before one fails; negative = all succeed */

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

/* For the trace itself, or for one of its two decoders. */
static void test_no_memory_for_a_trace(void **state)
{
    (void)state;
    for (int n = 0; n < 3; n++) {
        calls_left = n;
        assert_null(trace_new(&traced_with_values, traced_on_line, &traced));
    }
    calls_left = 3;
    trace_end(traced_begin(&traced_with_values));
    assert_int_equal(calls_left, 0);
    calls_left = -1;
}

static void test_no_memory_for_a_field(void **state)
{
    struct trace *trace = traced_begin(&traced_with_values);

    (void)state;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, HPACK_GET HPACK_SLASH);
    TRACED_PUT(WIRE_PING, 0, 0, "12345678");
    calls_left = 1;
    traced_feed(trace, TRACE_RECEIVED, TRACED_INPUT_MAX);
    trace_end(trace);
    calls_left = -1;
    assert_string_equal(
        traced.text,
        "recv HEADERS frame <length=2, flags=0x04, stream_id=1> ; END_HEADERS (padlen=0)\n"
        "recv (stream_id=1) :method: GET\n"
        "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n"
        "recv PING frame <length=8, flags=0x00, stream_id=0> (opaque_data=3132333435363738)\n");
    traced_input.length = 0;
}

/* Removes what a test that failed has left. */
static int reset(void **state)
{
    (void)state;
    traced_input.length = 0;
    calls_left = -1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fields_in_order, reset),
        cmocka_unit_test_setup(test_block_in_many_frames, reset),
        cmocka_unit_test_setup(test_push_promise_updates_the_table, reset),
        cmocka_unit_test_setup(test_malformed_block, reset),
        cmocka_unit_test_setup(test_incomplete_block, reset),
        cmocka_unit_test_setup(test_size_of_the_table, reset),
        cmocka_unit_test_setup(test_fields_are_escaped, reset),
        cmocka_unit_test_setup(test_long_names_and_values, reset),
        cmocka_unit_test_setup(test_longest_line, reset),
        cmocka_unit_test_setup(test_block_that_is_too_large_for_the_log, reset),
        cmocka_unit_test_setup(test_largest_block_of_the_default_settings, reset),
        cmocka_unit_test_setup(test_no_memory_for_a_trace, reset),
        cmocka_unit_test_setup(test_no_memory_for_a_field, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
