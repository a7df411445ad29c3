/* Frame headers, and where field blocks begin and end, wherever the bytes are split. */
#include "base/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define BYTES(text) (text), sizeof(text) - 1

struct row {
    const char *bytes; /* after the preface */
    size_t length;
    bool began;
    bool in_block; /* at the end */
};

static const struct row rows[] = {
    {BYTES(""), false, false},
    {BYTES("\0\0\0\4\0\0\0\0\0"), false, false}, /* SETTINGS */
    {BYTES("\0\0\0\1\5\0\0\0"), false, false},   /* an incomplete header */
    {BYTES("\0\0\0\1\5\0\0\0\1"), true, false},  /* empty, END_HEADERS */
    {BYTES("\0\0\0\1\1\0\0\0\1"), true, true},   /* without END_HEADERS */
    {BYTES("\0\0\2\1\5\0\0\0\1a"), true, true},  /* an incomplete payload */
    {BYTES("\0\0\2\1\5\0\0\0\1ab"), true, false},
    {BYTES("\0\0\2\1\1\0\0\0\1ab\0\0\1\x9\0\0\0\0\1c"), true, true},
    {BYTES("\0\0\2\1\1\0\0\0\1ab\0\0\1\x9\4\0\0\0\1"), true, true},
    {BYTES("\0\0\2\1\1\0\0\0\1ab\0\0\1\x9\4\0\0\0\1c"), true, false},
    {BYTES("\0\0\2\0\1\0\0\0\1a"), false, false},                  /* DATA */
    {BYTES("\0\0\2\1\5\0\0\0\1ab\0\0\0\1\1\0\0\0\3"), true, true}, /* a second block */
    {BYTES("\0\1\0\0\0\0\0\0\1"), false, false},                   /* a longer payload */
};

/* Read all of the bytes. Return true if a field block began in them. */
static bool scan(struct frame_reader *frame_reader, const uint8_t *bytes, size_t length)
{
    struct frame_header frame;
    size_t looked_at;
    bool began = false;

    while (frame_reader_next(frame_reader, bytes, length, &looked_at, &frame)) {
        began = began || frame.type == WIRE_HEADERS;
        bytes += looked_at;
        length -= looked_at;
    }
    assert_int_equal(looked_at, length);
    return began;
}

static void check(const struct row *row, size_t split)
{
    struct frame_reader frame_reader;
    uint8_t bytes[128];
    size_t length = sizeof(PREFACE) - 1 + row->length;
    bool began;

    memcpy(bytes, PREFACE, sizeof(PREFACE) - 1);
    memcpy(bytes + sizeof(PREFACE) - 1, row->bytes, row->length);
    frame_reader_init(&frame_reader);
    began = scan(&frame_reader, bytes, split);
    began = scan(&frame_reader, bytes + split, length - split) || began;
    assert_int_equal(began, row->began);
    assert_int_equal(frame_reader_in_block(&frame_reader), row->in_block);
}

static void test_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t split = 0; split <= sizeof(PREFACE) - 1 + rows[i].length; split++)
            check(&rows[i], split);
    }
}

/* No part of the preface is taken for a frame. */
static void test_preface_is_no_frame(void **state)
{
    struct frame_reader frame_reader;

    (void)state;
    frame_reader_init(&frame_reader);
    for (size_t i = 0; i < sizeof(PREFACE) - 1; i++) {
        assert_false(scan(&frame_reader, (const uint8_t *)PREFACE + i, 1));
        assert_false(frame_reader_in_block(&frame_reader));
    }
}

/* All 24 bits of the length are read. */
static void test_long_payload(void **state)
{
    static const uint8_t header[] = {0x01, 0x02, 0x03, 0x1, 0x4, 0, 0, 0, 1};
    static const uint8_t payload[0x010203];
    struct frame_reader frame_reader;

    (void)state;
    frame_reader_init(&frame_reader);
    scan(&frame_reader, (const uint8_t *)PREFACE, sizeof(PREFACE) - 1);
    assert_true(scan(&frame_reader, header, sizeof(header)));
    assert_false(scan(&frame_reader, payload, sizeof(payload) - 1));
    assert_true(frame_reader_in_block(&frame_reader));
    assert_false(scan(&frame_reader, payload, 1));
    assert_false(frame_reader_in_block(&frame_reader));
}

/* The largest numbers stay, whatever blocks come later. */
static void test_continuations_are_counted(void **state)
{
    static const char blocks[] =
        PREFACE "\0\0\1\1\0\0\0\0\1a\0\0\2\x9\0\0\0\0\1bc\0\0\1\x9\4\0\0\0\1d"
                "\0\0\1\1\0\0\0\0\3a\0\0\5\x9\4\0\0\0\3bcdef";
    struct frame_reader frame_reader;

    (void)state;
    frame_reader_init(&frame_reader);
    scan(&frame_reader, (const uint8_t *)blocks, sizeof(blocks) - 1);
    assert_int_equal(frame_reader.most_frames, 2);
    assert_int_equal(frame_reader.most_bytes, 5);
    assert_int_equal(frame_reader.longest, 5);
}

/* A header is read wherever it is split. The reserved bit is not a part of the stream id. */
static void test_headers_are_read(void **state)
{
    static const char bytes[] = PREFACE "\0\0\3\0\1\x92\x34\x56\x78"
                                        "abc"
                                        "\0\0\0\xfa\0\0\0\0\7";
    enum { FIRST_ENDS = sizeof(PREFACE) - 1 + WIRE_FRAME_HEADER_SIZE };

    (void)state;
    for (size_t split = 0; split < FIRST_ENDS; split++) {
        struct frame_reader frame_reader;
        struct frame_header frame;
        size_t looked_at;
        const uint8_t *rest = (const uint8_t *)bytes + split;

        frame_reader_init(&frame_reader);
        assert_false(
            frame_reader_next(&frame_reader, (const uint8_t *)bytes, split, &looked_at, &frame));
        assert_int_equal(looked_at, split);
        assert_true(
            frame_reader_next(&frame_reader, rest, sizeof(bytes) - 1 - split, &looked_at, &frame));
        assert_int_equal(looked_at, FIRST_ENDS - split);
        assert_int_equal(frame.length, 3);
        assert_int_equal(frame.type, 0);
        assert_int_equal(frame.flags, 1);
        assert_int_equal(frame.stream_id, 0x12345678);
        rest += looked_at;
        assert_true(frame_reader_next(&frame_reader, rest, sizeof(bytes) - 1 - FIRST_ENDS,
                                      &looked_at, &frame));
        assert_int_equal(looked_at, 3 + WIRE_FRAME_HEADER_SIZE);
        assert_int_equal(frame.length, 0);
        assert_int_equal(frame.type, 0xfa);
        assert_int_equal(frame.flags, 0);
        assert_int_equal(frame.stream_id, 7);
    }
}

static void check_written(const struct frame_header *frame, const char *bytes)
{
    uint8_t header[WIRE_FRAME_HEADER_SIZE];
    struct frame_header parsed;

    frame_header_write(header, frame);
    assert_memory_equal(header, bytes, WIRE_FRAME_HEADER_SIZE);
    parsed = frame_header_parse(header);
    assert_int_equal(parsed.length, frame->length);
    assert_int_equal(parsed.stream_id, frame->stream_id);
    assert_int_equal(parsed.type, frame->type);
    assert_int_equal(parsed.flags, frame->flags);
}

/* What is written is a frame header, and is the same when it is read back. */
static void test_written_and_parsed(void **state)
{
    (void)state;
    check_written(&(struct frame_header){0}, "\0\0\0\0\0\0\0\0\0");
    check_written(&(struct frame_header){0x123456, 0x789abcde, 0xf0, 0xa5},
                  "\x12\x34\x56\xf0\xa5\x78\x9a\xbc\xde");
    check_written(&(struct frame_header){0xffffff, INT32_MAX, 0xff, 0xff},
                  "\xff\xff\xff\xff\xff\x7f\xff\xff\xff");
    check_written(&(struct frame_header){5, 1, 2, 0}, "\0\0\5\2\0\0\0\0\1");
}

/* The reserved bit is not a part of the stream id. */
static void test_reserved_bit(void **state)
{
    (void)state;
    assert_int_equal(frame_header_parse((const uint8_t *)"\0\0\0\4\0\xff\xff\xff\xfe").stream_id,
                     0x7ffffffe);
}

/* Frames with a number, and frames that have none. */
static const struct {
    const char *bytes;
    size_t length;
    size_t head; /* bytes that are read of it */
    uint32_t number;
    bool in_block;
} frames[] = {
    {BYTES("\0\0\5\2\0\0\0\0\3\x80\0\0\3\x10"), FRAME_HEAD_MAX, 3, false},
    {BYTES("\0\0\4\x8\0\0\0\0\0\xff\xff\xff\xff"), FRAME_HEAD_MAX, 0x7fffffff, false},
    {BYTES("\0\0\4\2\0\0\0\0\3\0\0\0\3"), WIRE_FRAME_HEADER_SIZE, 0, false},
    {BYTES("\0\0\5\x8\0\0\0\0\3\0\0\0\3\0"), WIRE_FRAME_HEADER_SIZE, 0, false},
    {BYTES("\0\0\4\3\0\0\0\0\3\0\0\0\x8"), FRAME_HEAD_MAX, 8, false},
    {BYTES("\0\0\5\3\0\0\0\0\3\0\0\0\x8\0"), WIRE_FRAME_HEADER_SIZE, 0, false},
    {BYTES("\0\0\4\6\0\0\0\0\3\0\0\0\3"), WIRE_FRAME_HEADER_SIZE, 0, false},
    {BYTES("\0\0\0\1\0\0\0\0\1"), WIRE_FRAME_HEADER_SIZE, 0, false},
    {BYTES("\0\0\5\2\0\0\0\0\3\1\2\3\4\x10"), WIRE_FRAME_HEADER_SIZE, 0, true},
};

/* Read the frame in pieces of ${step} bytes. */
static void check_head(struct frame_reader *frame_reader, size_t i, size_t step)
{
    const uint8_t *bytes = (const uint8_t *)frames[i].bytes;
    struct frame_head head;
    size_t looked_at;
    bool found = false;

    for (size_t at = 0; at < frames[i].length; at += looked_at) {
        size_t left = frames[i].length - at;

        if (!frame_reader_next_head(frame_reader, bytes + at, left < step ? left : step, &looked_at,
                                    &head))
            continue;
        found = true;
        assert_int_equal(at + looked_at, frames[i].head);
        assert_memory_equal(frame_reader->header, bytes, frames[i].head);
    }
    assert_true(found);
    assert_int_equal(frame_reader_unfinished(frame_reader), 0);
    assert_int_equal(head.length, frames[i].head);
    if (head.length == FRAME_HEAD_MAX)
        assert_int_equal(head.number, frames[i].number);
    assert_int_equal(head.in_block, frames[i].in_block);
}

/* PRIORITY, RST_STREAM and WINDOW_UPDATE are read with their number, wherever they are split;
 * without it if their length is wrong, or within a field block, which is noted as well. */
static void test_numbers_are_read(void **state)
{
    enum { COUNT = sizeof(frames) / sizeof(frames[0]), STEP_MAX = 20 };

    (void)state;
    for (size_t step = 1; step <= STEP_MAX; step++) {
        struct frame_reader frame_reader;

        frame_reader_init(&frame_reader);
        scan(&frame_reader, (const uint8_t *)PREFACE, sizeof(PREFACE) - 1);
        for (size_t i = 0; i < COUNT; i++)
            check_head(&frame_reader, i, step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),      cmocka_unit_test(test_preface_is_no_frame),
        cmocka_unit_test(test_long_payload),     cmocka_unit_test(test_continuations_are_counted),
        cmocka_unit_test(test_headers_are_read), cmocka_unit_test(test_written_and_parsed),
        cmocka_unit_test(test_reserved_bit),     cmocka_unit_test(test_numbers_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
