/* The lines that a trace writes for frames, valid and malformed, in whatever pieces they arrive. */
#include "unit/http2/traced.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/range.h"

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
    FRAME(WIRE_DATA, 0, 1, "content", "recv DATA frame <length=7, flags=0x00, stream_id=1>"),
    FRAME(WIRE_DATA, 0xff, 1, "\2xx\0\0",
          "recv DATA frame <length=5, flags=0xff, stream_id=1> ; END_STREAM | PADDED (padlen=2)"),
    FRAME(WIRE_PRIORITY, 0xff, 3, "\0\0\0\1\xc8",
          "recv PRIORITY frame <length=5, flags=0xff, stream_id=3>"
          " (dep_stream_id=1, weight=201, exclusive=0)"),
    FRAME(WIRE_PRIORITY, 0, 3, "\x80\0\0\0\0",
          "recv PRIORITY frame <length=5, flags=0x00, stream_id=3>"
          " (dep_stream_id=0, weight=1, exclusive=1)"),
    FRAME(WIRE_RST_STREAM, 0, 5, "\0\0\0\x08",
          "recv RST_STREAM frame <length=4, flags=0x00, stream_id=5> (error_code=CANCEL(0x08))"),
    FRAME(WIRE_RST_STREAM, 0, 5, "\x80\0\0\x99",
          "recv RST_STREAM frame <length=4, flags=0x00, stream_id=5>"
          " (error_code=unknown(0x80000099))"),
    FRAME(WIRE_SETTINGS, 0, 0, "",
          "recv SETTINGS frame <length=0, flags=0x00, stream_id=0> (niv=0)"),
    FRAME(WIRE_SETTINGS, WIRE_FLAG_ACK, 0, "",
          "recv SETTINGS frame <length=0, flags=0x01, stream_id=0> ; ACK (niv=0)"),
    FRAME(WIRE_SETTINGS, 0, 0,
          "\0\1\0\0\0\1\0\2\0\0\0\2\0\3\0\0\0\3\0\4\0\0\0\4\0\5\0\0\0\5\0\6\0\0\0\6"
          "\0\7\0\0\0\7\0\x08\0\0\0\x08\0\x09\xff\xff\xff\xff\0\0\0\0\0\0\x1a\x2a\0\0\0\1",
          "recv SETTINGS frame <length=66, flags=0x00, stream_id=0> (niv=11)"
          " [SETTINGS_HEADER_TABLE_SIZE(0x01):1] [SETTINGS_ENABLE_PUSH(0x02):2]"
          " [SETTINGS_MAX_CONCURRENT_STREAMS(0x03):3] [SETTINGS_INITIAL_WINDOW_SIZE(0x04):4]"
          " [SETTINGS_MAX_FRAME_SIZE(0x05):5] [SETTINGS_MAX_HEADER_LIST_SIZE(0x06):6]"
          " [UNKNOWN(0x07):7] [SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):8]"
          " [SETTINGS_NO_RFC7540_PRIORITIES(0x09):4294967295] [UNKNOWN(0x00):0]"
          " [UNKNOWN(0x1a2a):1]"),
    FRAME(WIRE_PING, 0, 0, "\0\1pi\xffng\x7f",
          "recv PING frame <length=8, flags=0x00, stream_id=0> (opaque_data=00017069ff6e677f)"),
    FRAME(WIRE_PING, WIRE_FLAG_ACK, 0, "12345678",
          "recv PING frame <length=8, flags=0x01, stream_id=0> ; ACK"
          " (opaque_data=3132333435363738)"),
    FRAME(WIRE_GOAWAY, 0, 0, "\x7f\xff\xff\xff\0\0\0\0",
          "recv GOAWAY frame <length=8, flags=0x00, stream_id=0>"
          " (last_stream_id=2147483647, error_code=NO_ERROR(0x00), opaque_data(0)=[])"),
    FRAME(WIRE_GOAWAY, 0, 0, "\x80\0\0\3\0\0\0\x0b\"bye\"\n\\\xff",
          "recv GOAWAY frame <length=16, flags=0x00, stream_id=0> (last_stream_id=3, reserved=1,"
          " error_code=ENHANCE_YOUR_CALM(0x0b), opaque_data(8)=[\\\"bye\\\"\\x0a\\\\\\xff])"),
    FRAME(WIRE_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff",
          "recv WINDOW_UPDATE frame <length=4, flags=0x00, stream_id=0>"
          " (window_size_increment=2147483647)"),
    FRAME(WIRE_WINDOW_UPDATE, 0, 0x80000007, "\x80\0\0\0",
          "recv WINDOW_UPDATE frame <length=4, flags=0x00, stream_id=7, reserved=1>"
          " (window_size_increment=0, reserved=1)"),
    FRAME(WIRE_ALTSVC, 0, 0, "\0\5a.b:1h2=\":\"",
          "recv ALTSVC frame <length=13, flags=0x00, stream_id=0>"
          " (origin=[a.b:1], altsvc_field_value=[h2=\\\":\\\"])"),
    FRAME(WIRE_ALTSVC, 0, 0,
          "\0\xff"
          "a",
          "recv ALTSVC frame <length=3, flags=0x00, stream_id=0>"
          " (origin=[a], altsvc_field_value=[])"),
    FRAME(WIRE_ORIGIN, 0, 0, "", "recv ORIGIN frame <length=0, flags=0x00, stream_id=0>"),
    FRAME(WIRE_ORIGIN, 0, 0, "\0\3a.b\0\0\0\1c\0",
          "recv ORIGIN frame <length=11, flags=0x00, stream_id=0> [a.b] [] [c] []"),
    FRAME(WIRE_PRIORITY_UPDATE, 0, 0, "\0\0\0\1u=2, i",
          "recv PRIORITY_UPDATE frame <length=10, flags=0x00, stream_id=0>"
          " (prioritized_stream_id=1, priority_field_value=[u=2, i])"),
    FRAME(UNKNOWN_TYPE, 0xff, 9, "\0\xffhello",
          "recv UNKNOWN(0xbb) frame <length=7, flags=0xff, stream_id=9> (payload=00ff68656c6c6f)"),
    FRAME(UNKNOWN_TYPE, 0, 0, "", "recv UNKNOWN(0xbb) frame <length=0, flags=0x00, stream_id=0>"),
    FRAME(11, 0, 0, "", "recv UNKNOWN(0x0b) frame <length=0, flags=0x00, stream_id=0>"),
    FRAME(17, 0, 0, "", "recv UNKNOWN(0x11) frame <length=0, flags=0x00, stream_id=0>"),
};

static void test_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(frames); i++) {
        traced_put_frame(frames[i].type, frames[i].flags, frames[i].stream_id, frames[i].payload,
                         frames[i].length);
        traced_check(frames[i].line);
    }
}

/* Frames that are too short or too long, or have too much padding. */
static const struct frame malformed[] = {
    FRAME(WIRE_DATA, WIRE_FLAG_PADDED, 1, "",
          "recv DATA frame <length=0, flags=0x08, stream_id=1> ; PADDED"
          " ; malformed: too short for its type"),
    FRAME(WIRE_DATA, WIRE_FLAG_PADDED, 1, "\3xx",
          "recv DATA frame <length=3, flags=0x08, stream_id=1> ; PADDED (padlen=3)"
          " ; malformed: more padding than payload"),
    FRAME(WIRE_PRIORITY, 0, 1, "1234",
          "recv PRIORITY frame <length=4, flags=0x00, stream_id=1>"
          " ; malformed: too short for its type"),
    FRAME(WIRE_PRIORITY, 0, 1, "\0\0\0\0\0\0",
          "recv PRIORITY frame <length=6, flags=0x00, stream_id=1>"
          " (dep_stream_id=0, weight=1, exclusive=0) ; malformed: too long for its type"),
    FRAME(WIRE_RST_STREAM, 0, 1, "123",
          "recv RST_STREAM frame <length=3, flags=0x00, stream_id=1>"
          " ; malformed: too short for its type"),
    FRAME(WIRE_RST_STREAM, 0, 1, "\0\0\0\1\0",
          "recv RST_STREAM frame <length=5, flags=0x00, stream_id=1>"
          " (error_code=PROTOCOL_ERROR(0x01)) ; malformed: too long for its type"),
    FRAME(WIRE_SETTINGS, 0, 0, "\0\2\0\0\0\0\0",
          "recv SETTINGS frame <length=7, flags=0x00, stream_id=0> (niv=1)"
          " [SETTINGS_ENABLE_PUSH(0x02):0] ; malformed: its length is no multiple of 6"),
    FRAME(WIRE_SETTINGS, WIRE_FLAG_ACK, 0, "\0\2\0\0\0\0",
          "recv SETTINGS frame <length=6, flags=0x01, stream_id=0> ; ACK (niv=1)"
          " [SETTINGS_ENABLE_PUSH(0x02):0] ; malformed: an acknowledgement has no settings"),
    FRAME(WIRE_PUSH_PROMISE, WIRE_FLAG_PADDED | WIRE_FLAG_END_HEADERS, 1, "\0\0\0\0",
          "recv PUSH_PROMISE frame <length=4, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
          " ; malformed: too short for its type\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(WIRE_PING, 0, 0, "1234567",
          "recv PING frame <length=7, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(WIRE_PING, 0, 0, "123456789",
          "recv PING frame <length=9, flags=0x00, stream_id=0>"
          " (opaque_data=3132333435363738) ; malformed: too long for its type"),
    FRAME(WIRE_GOAWAY, 0, 0, "1234567",
          "recv GOAWAY frame <length=7, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(WIRE_WINDOW_UPDATE, 0, 0, "",
          "recv WINDOW_UPDATE frame <length=0, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(WIRE_ALTSVC, 0, 0, "\0",
          "recv ALTSVC frame <length=1, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(WIRE_PRIORITY_UPDATE, 0, 0, "\0\0\0",
          "recv PRIORITY_UPDATE frame <length=3, flags=0x00, stream_id=0>"
          " ; malformed: too short for its type"),
    FRAME(WIRE_HEADERS, WIRE_FLAG_PRIORITY | WIRE_FLAG_END_HEADERS, 1, "\0\0\0\0",
          "recv HEADERS frame <length=4, flags=0x24, stream_id=1> ; END_HEADERS | PRIORITY"
          " ; malformed: too short for its type\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(WIRE_HEADERS, WIRE_FLAG_PADDED | WIRE_FLAG_PRIORITY | WIRE_FLAG_END_HEADERS, 1,
          "\2\0\0\0\0\0" HPACK_GET,
          "recv HEADERS frame <length=7, flags=0x2c, stream_id=1>"
          " ; END_HEADERS | PADDED | PRIORITY"
          " (padlen=2, dep_stream_id=0, weight=1, exclusive=0)"
          " ; malformed: more padding than payload\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(WIRE_PUSH_PROMISE, WIRE_FLAG_PADDED | WIRE_FLAG_END_HEADERS, 1, "\2\0\0\0\2" HPACK_GET,
          "recv PUSH_PROMISE frame <length=6, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
          " (padlen=2, promised_stream_id=2) ; malformed: more padding than payload\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
    FRAME(WIRE_HEADERS, WIRE_FLAG_PADDED | WIRE_FLAG_END_HEADERS, 1, "\2" HPACK_GET,
          "recv HEADERS frame <length=2, flags=0x0c, stream_id=1> ; END_HEADERS | PADDED"
          " (padlen=2) ; malformed: more padding than payload\n"
          "recv (stream_id=1) [the fields can't be decoded, nor any after them]"),
};

static void test_malformed_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(malformed); i++) {
        traced_put_frame(malformed[i].type, malformed[i].flags, malformed[i].stream_id,
                         malformed[i].payload, malformed[i].length);
        traced_check(malformed[i].line);
    }
}

/* All of them one after the other: no frame changes how the next one is shown. */
static void test_frames_in_a_row(void **state)
{
    static char lines[8192];

    (void)state;
    for (size_t i = 0; i < COUNT(frames); i++) {
        traced_put_frame(frames[i].type, frames[i].flags, frames[i].stream_id, frames[i].payload,
                         frames[i].length);
        assert_true(strlen(lines) + strlen(frames[i].line) < sizeof(lines));
        strcat(lines, frames[i].line);
    }
    traced_check(lines);
}

static void test_no_preface_is_sent(void **state)
{
    (void)state;
    TRACED_PUT(WIRE_SETTINGS, WIRE_FLAG_ACK, 0, "");
    traced_check_as(&traced_with_values, TRACE_SENT,
                    "send SETTINGS frame <length=0, flags=0x01, stream_id=0> ; ACK (niv=0)\n");
}

static void test_only_a_preface(void **state)
{
    (void)state;
    traced_check("");
}

static void test_names_only(void **state)
{
    (void)state;
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, HPACK_GET HPACK_NEW_A_B);
    TRACED_PUT(UNKNOWN_TYPE, 0, 0, "hello");
    TRACED_PUT(WIRE_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0bye");
    traced_check_as(
        &traced_names_only, TRACE_RECEIVED,
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
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, HPACK_GET);
    traced_check_as(&traced_in_colours, TRACE_RECEIVED,
                    "recv \033[1;36mHEADERS\033[0m frame <length=1, flags=0x04, stream_id=1>"
                    " ; END_HEADERS (padlen=0)\n"
                    "recv (stream_id=1) \033[1;34m:method\033[0m: GET\n");
    TRACED_PUT(WIRE_PING, 0, 0, "12345678");
    traced_check_as(&traced_in_colours, TRACE_SENT,
                    "send \033[1;35mPING\033[0m frame <length=8, flags=0x00, stream_id=0>"
                    " (opaque_data=3132333435363738)\n");
}

/* --- Long frames, and incomplete ones --- */

static void test_payload_of_data_is_skipped(void **state)
{
    static const uint8_t content[TRACE_PAYLOAD_MAX];

    (void)state;
    traced_put_frame(WIRE_DATA, 0, 1, content, sizeof(content));
    traced_put_frame(WIRE_DATA, WIRE_FLAG_PADDED, 1, content, sizeof(content));
    TRACED_PUT(WIRE_DATA, WIRE_FLAG_END_STREAM, 1, "");
    traced_check("recv DATA frame <length=16384, flags=0x00, stream_id=1>\n"
                 "recv DATA frame <length=16384, flags=0x08, stream_id=1> ; PADDED (padlen=0)\n"
                 "recv DATA frame <length=0, flags=0x01, stream_id=1> ; END_STREAM\n");
}

/* The largest number of settings that a frame can have, which is more than fits on a line. */
static void test_many_settings(void **state)
{
    static uint8_t settings[TRACE_PAYLOAD_MAX / 6 * 6];
    char wanted[64];

    (void)state;
    for (size_t i = 0; i < sizeof(settings) / 6; i++) {
        settings[6 * i + 1] = 9;
        settings[6 * i + 2] = 0xff;
        settings[6 * i + 4] = (uint8_t)(i >> 8);
        settings[6 * i + 5] = (uint8_t)i;
    }
    traced_put_frame(WIRE_SETTINGS, 0, 0, settings, sizeof(settings));
    traced_run(&traced_with_values, TRACE_RECEIVED, 1000);
    for (size_t i = 0; i < sizeof(settings) / 6; i++) {
        (void)snprintf(wanted, sizeof(wanted), "[SETTINGS_NO_RFC7540_PRIORITIES(0x09):%zu]",
                       (size_t)0xff000000 + i);
        assert_int_equal(traced_count(wanted), 1);
    }
    assert_int_equal(traced_count("(niv=2730)"), 1);
    assert_int_equal(traced_count("recv SETTINGS, more ["), traced.count - 1);
    traced_input.length = 0;
}

static void test_long_payloads_are_cut(void **state)
{
    static uint8_t payload[TRACE_PAYLOAD_MAX];
    char *hex;

    (void)state;
    memset(payload, 0x61, sizeof(payload));
    traced_put_frame(UNKNOWN_TYPE, 0, 0, payload, 512);
    traced_put_frame(UNKNOWN_TYPE, 0, 0, payload, 513);
    traced_run(&traced_with_values, TRACE_RECEIVED, 1000);
    hex = strstr(traced.text, "(payload=");
    assert_int_equal(strspn(hex + LENGTH("(payload="), "61"), 1024);
    assert_memory_equal(hex + LENGTH("(payload=") + 1024, ")\n", 2);
    hex = strstr(hex + 1, "(payload=");
    assert_int_equal(strspn(hex + LENGTH("(payload="), "61"), 1024);
    assert_string_equal(hex + LENGTH("(payload=") + 1024, "...)\n");
    traced_input.length = 0;
    traced_put_frame(WIRE_GOAWAY, 0, 0, payload, sizeof(payload));
    traced_put_frame(WIRE_PRIORITY_UPDATE, 0, 0, payload, sizeof(payload));
    memset(payload, 0, sizeof(payload));
    traced_put_frame(WIRE_ORIGIN, 0, 0, payload, sizeof(payload));
    traced_run(&traced_with_values, TRACE_RECEIVED, 1000);
    assert_int_equal(traced_count("aaa...])\n"), 2);
    assert_int_equal(traced_count(" [] [] ...\n"), 1);
    assert_int_equal(traced.count, 3);
    traced_input.length = 0;
}

/* It is written as soon as its header is complete, since the session reads no further. */
static void test_frame_that_is_too_long(void **state)
{
    static const uint8_t payload[TRACE_PAYLOAD_MAX + 1];

    (void)state;
    traced_put_header(TRACE_PAYLOAD_MAX + 1, WIRE_DATA, WIRE_FLAG_PADDED, 1);
    traced_check("recv DATA frame <length=16385, flags=0x08, stream_id=1> ; PADDED"
                 " ; malformed: longer than 16384 bytes\n");
    traced_put_frame(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 1, payload, sizeof(payload));
    TRACED_PUT(WIRE_HEADERS, WIRE_FLAG_END_HEADERS, 3, HPACK_GET);
    traced_check(
        "recv HEADERS frame <length=16385, flags=0x04, stream_id=1> ; END_HEADERS"
        " ; malformed: longer than 16384 bytes\n"
        "recv (stream_id=1) [the fields can't be decoded, nor any after them]\n"
        "recv HEADERS frame <length=1, flags=0x04, stream_id=3> ; END_HEADERS (padlen=0)\n");
}

static void test_incomplete_frames(void **state)
{
    (void)state;
    traced_put("\0\0\x05", 3);
    traced_check("recv frame ; ended after 3 bytes of its header\n");
    traced_put_header(0, WIRE_PING, WIRE_FLAG_ACK, 0);
    traced_put_header(TRACE_PAYLOAD_MAX, WIRE_DATA, 0, 1);
    traced_put("0123456789", 10);
    traced_check(
        "recv PING frame <length=0, flags=0x01, stream_id=0> ; ACK"
        " ; malformed: too short for its type\n"
        "recv DATA frame <length=16384, flags=0x00, stream_id=1> ; ended after 10 bytes\n");
    traced_put_header(8, WIRE_PING, 0, 0);
    traced_put("0123", 4);
    traced_check_as(&traced_with_values, TRACE_SENT,
                    "send PING frame <length=8, flags=0x00, stream_id=0> ; ended after 4 bytes\n");
    /* Only the incomplete header is written, not the frame before it once more. */
    traced_put_header(TRACE_PAYLOAD_MAX + 1, UNKNOWN_TYPE, 0, 0);
    for (size_t i = 0; i <= TRACE_PAYLOAD_MAX; i++)
        traced_put("x", 1);
    traced_put("\0", 1);
    traced_check("recv UNKNOWN(0xbb) frame <length=16385, flags=0x00, stream_id=0>"
                 " ; malformed: longer than 16384 bytes\n"
                 "recv frame ; ended after 1 bytes of its header\n");
}

static void test_end_without_a_trace(void **state)
{
    (void)state;
    trace_end(NULL);
}

/* Removes what a test that failed has left. */
static int reset(void **state)
{
    (void)state;
    traced_input.length = 0;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_frames, reset),
        cmocka_unit_test_setup(test_malformed_frames, reset),
        cmocka_unit_test_setup(test_frames_in_a_row, reset),
        cmocka_unit_test_setup(test_no_preface_is_sent, reset),
        cmocka_unit_test_setup(test_only_a_preface, reset),
        cmocka_unit_test_setup(test_names_only, reset),
        cmocka_unit_test_setup(test_colours, reset),
        cmocka_unit_test_setup(test_payload_of_data_is_skipped, reset),
        cmocka_unit_test_setup(test_many_settings, reset),
        cmocka_unit_test_setup(test_long_payloads_are_cut, reset),
        cmocka_unit_test_setup(test_frame_that_is_too_long, reset),
        cmocka_unit_test_setup(test_incomplete_frames, reset),
        cmocka_unit_test_setup(test_end_without_a_trace, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
