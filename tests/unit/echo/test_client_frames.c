/* Which of the client's frames are kept, in whatever pieces they arrive. */
#include "echo/client_frames.h"

#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD = 80, /* bytes of a frame of which several fill the room */
};

/* It has no memory of its own, so that AddressSanitizer and valgrind check every block. */
static struct arena arena;

/* --- Frames --- */

struct bytes {
    uint8_t data[1 << 16];
    size_t length;
};

/* Add a frame whose payload consists of the byte ${content}, so that it can be told from other
 * frames. */
static void add_frame(struct bytes *bytes, uint8_t type, uint8_t flags, int32_t stream_id,
                      size_t length, uint8_t content)
{
    struct frame_header frame = {length, stream_id, type, flags};

    assert_true(bytes->length + WIRE_FRAME_HEADER_SIZE + length <= sizeof(bytes->data));
    frame_header_write(bytes->data + bytes->length, &frame);
    memset(bytes->data + bytes->length + WIRE_FRAME_HEADER_SIZE, content, length);
    bytes->length += WIRE_FRAME_HEADER_SIZE + length;
}

/* Receive bytes as the session does. Each piece has a block of its own, so that AddressSanitizer
 * sees a read past its end. */
static void receive(struct client_frames *client_frames, struct frame_reader *frame_reader,
                    const uint8_t *data, size_t length)
{
    uint8_t *piece = malloc(length);
    struct frame_header frame;
    size_t at = 0;
    size_t looked_at;

    assert_non_null(piece);
    memcpy(piece, data, length);
    client_frames_receive(client_frames, piece, length);
    while (frame_reader_next(frame_reader, piece + at, length - at, &looked_at, &frame)) {
        at += looked_at;
        if (frame.type == WIRE_HEADERS)
            client_frames_note_request(client_frames);
        assert_true(client_frames_add(client_frames, &arena, &frame));
        client_frames_receive(client_frames, piece + at, length - at);
    }
    free(piece);
}

static void receive_in_pieces(struct client_frames *client_frames, const struct bytes *bytes,
                              size_t piece)
{
    struct frame_reader frame_reader = {0}; /* after the preface */

    for (size_t at = 0; at < bytes->length; at += piece)
        receive(client_frames, &frame_reader, bytes->data + at,
                bytes->length - at < piece ? bytes->length - at : piece);
}

struct expected {
    uint8_t type;
    uint8_t flags;
    int32_t stream_id;
    size_t length;
    size_t kept;
    uint8_t content;
    bool is_initial;
};

static void check_frame(const struct client_frame *frame, const struct expected *expected)
{
    assert_int_equal(frame->header.type, expected->type);
    assert_int_equal(frame->header.flags, expected->flags);
    assert_int_equal(frame->header.stream_id, expected->stream_id);
    assert_int_equal(frame->header.length, expected->length);
    assert_int_equal(frame->payload.length, expected->kept);
    for (size_t i = 0; i < expected->kept; i++)
        assert_int_equal(frame->payload.bytes[i], expected->content);
    assert_int_equal(frame->is_initial, expected->is_initial);
}

static void check_frames(const struct client_frames *client_frames, const struct expected *expected,
                         size_t count)
{
    struct client_frame frame;
    size_t place = 0;

    for (size_t i = 0; i < count; i++) {
        assert_true(client_frames_next(client_frames, &place, &frame));
        check_frame(&frame, &expected[i]);
    }
    assert_false(client_frames_next(client_frames, &place, &frame));
}

static void check_each_way(const struct bytes *bytes, const struct expected *expected, size_t count,
                           size_t left_out)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 2, 7, 10, 64, 400};

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        size_t piece = pieces[i] < bytes->length ? pieces[i] : bytes->length;
        struct client_frames client_frames = {0};

        receive_in_pieces(&client_frames, bytes, piece);
        check_frames(&client_frames, expected, count);
        assert_int_equal(client_frames.left_out, left_out);
        assert_int_equal(client_frames.coming, 0);
        assert_true(client_frames.capacity <= CLIENT_FRAMES_MAX);
        client_frames_free(&client_frames, &arena);
        assert_null(client_frames.kept);
    }
}

/* --- What is kept --- */

static void test_no_frames(void **state)
{
    struct client_frames client_frames = {0};

    (void)state;
    check_frames(&client_frames, NULL, 0);
    client_frames_receive(&client_frames, (const uint8_t *)"x", 1);
    check_frames(&client_frames, NULL, 0);
    client_frames_free(&client_frames, &arena);
}

static void test_initial_and_later(void **state)
{
    static struct bytes bytes;
    static const struct expected expected[] = {
        {WIRE_SETTINGS, 0, 0, 18, 18, 'a', true},       {WIRE_WINDOW_UPDATE, 0, 0, 4, 4, 'b', true},
        {WIRE_PRIORITY, 0, 3, 5, 5, 'c', true},         {0x0a, 0xff, 0, 0, 0, 0, true},
        {WIRE_PRIORITY_UPDATE, 0, 0, 8, 8, 'd', true},  {WIRE_SETTINGS, 0, 0, 0, 0, 0, true},
        {WIRE_SETTINGS, 0, 0, 6, 6, 'e', false},        {WIRE_PRIORITY, 0, 9, 5, 5, 'f', false},
        {WIRE_PRIORITY_UPDATE, 0, 0, 5, 5, 'g', false}, {0xff, 7, INT32_MAX, 1, 1, 'h', false},
    };

    (void)state;
    bytes.length = 0;
    add_frame(&bytes, WIRE_SETTINGS, 0, 0, 18, 'a');
    add_frame(&bytes, WIRE_SETTINGS, WIRE_FLAG_ACK, 0, 0, 0);
    add_frame(&bytes, WIRE_WINDOW_UPDATE, 0, 0, 4, 'b');
    add_frame(&bytes, WIRE_WINDOW_UPDATE, 0, 1, 4, 'x'); /* for a stream */
    add_frame(&bytes, WIRE_PRIORITY, 0, 3, 5, 'c');
    add_frame(&bytes, WIRE_PING, 0, 0, 8, 'x');
    add_frame(&bytes, 0x0a, 0xff, 0, 0, 0);
    add_frame(&bytes, WIRE_PRIORITY_UPDATE, 0, 0, 8, 'd');
    add_frame(&bytes, WIRE_SETTINGS, 0, 0, 0, 0);
    add_frame(&bytes, WIRE_HEADERS, 0, 1, 30, 'x');
    add_frame(&bytes, WIRE_CONTINUATION, 4, 1, 30, 'x');
    add_frame(&bytes, WIRE_DATA, 0, 1, 30, 'x');
    add_frame(&bytes, WIRE_SETTINGS, 0, 0, 6, 'e');
    add_frame(&bytes, WIRE_WINDOW_UPDATE, 0, 0, 4, 'x');
    add_frame(&bytes, WIRE_PRIORITY, 0, 9, 5, 'f');
    add_frame(&bytes, WIRE_RST_STREAM, 0, 1, 4, 'x');
    add_frame(&bytes, WIRE_PUSH_PROMISE, 0, 1, 4, 'x');
    add_frame(&bytes, WIRE_GOAWAY, 0, 0, 8, 'x');
    add_frame(&bytes, WIRE_PRIORITY_UPDATE, 0, 0, 5, 'g');
    add_frame(&bytes, WIRE_HEADERS, 0, 3, 30, 'x');
    add_frame(&bytes, 0xff, 7, INT32_MAX, 1, 'h');
    check_each_way(&bytes, expected, sizeof(expected) / sizeof(expected[0]), 0);
}

/* The header has the length of the whole payload. */
static void test_long_payloads_are_cut(void **state)
{
    static struct bytes bytes;
    static const struct expected expected[] = {
        {WIRE_SETTINGS, 0, 0, 6, 6, 'a', true},
        {0x20, 0, 0, CLIENT_FRAMES_PAYLOAD_MAX + 1, CLIENT_FRAMES_PAYLOAD_MAX, 'b', true},
        {0x21, 0, 0, 16384, CLIENT_FRAMES_PAYLOAD_MAX, 'c', true},
        {0x22, 0, 0, 2, 2, 'd', true},
    };

    (void)state;
    bytes.length = 0;
    add_frame(&bytes, WIRE_SETTINGS, 0, 0, 6, 'a');
    add_frame(&bytes, 0x20, 0, 0, CLIENT_FRAMES_PAYLOAD_MAX + 1, 'b');
    add_frame(&bytes, 0x21, 0, 0, 16384, 'c');
    add_frame(&bytes, 0x22, 0, 0, 2, 'd');
    check_each_way(&bytes, expected, sizeof(expected) / sizeof(expected[0]), 0);
}

/* --- Incomplete frames --- */

static void test_incomplete_frame(void **state)
{
    static struct bytes bytes;
    struct expected expected[] = {{WIRE_SETTINGS, 0, 0, 6, 6, 'a', true},
                                  {WIRE_SETTINGS, 0, 0, 12, 0, 'b', true}};
    enum { FIRST = WIRE_FRAME_HEADER_SIZE + 6, SECOND = WIRE_FRAME_HEADER_SIZE + 12 };

    (void)state;
    bytes.length = 0;
    add_frame(&bytes, WIRE_SETTINGS, 0, 0, 6, 'a');
    add_frame(&bytes, WIRE_SETTINGS, 0, 0, 12, 'b');
    for (size_t length = FIRST; length < FIRST + SECOND; length++) {
        struct client_frames client_frames = {0};
        struct frame_reader frame_reader = {0};
        bool has_header = length >= FIRST + WIRE_FRAME_HEADER_SIZE;

        receive(&client_frames, &frame_reader, bytes.data, length);
        expected[1].kept = has_header ? length - FIRST - WIRE_FRAME_HEADER_SIZE : 0;
        check_frames(&client_frames, expected, has_header ? 2 : 1);
        assert_int_equal(client_frames.coming, has_header ? 12 - expected[1].kept : 0);
        client_frames_free(&client_frames, &arena);
    }
}

/* The payload of a frame that is not kept is not added to another frame. */
static void test_payload_of_a_frame_not_kept(void **state)
{
    struct client_frames client_frames = {0};

    (void)state;
    assert_true(
        client_frames_add(&client_frames, &arena, &(struct frame_header){8, 0, WIRE_PING, 0}));
    client_frames_receive(&client_frames, (const uint8_t *)"pingping", 8);
    assert_true(client_frames_add(&client_frames, &arena,
                                  &(struct frame_header){0, 0, WIRE_SETTINGS, WIRE_FLAG_ACK}));
    client_frames_receive(&client_frames, (const uint8_t *)"more", 4);
    check_frames(&client_frames, NULL, 0);
    client_frames_free(&client_frames, &arena);
}

/* --- No room --- */

/* Add numbered frames of RECORD bytes each. */
static void add_records(struct bytes *bytes, uint8_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_frame(bytes, 0xfa, 0, 0, RECORD - WIRE_FRAME_HEADER_SIZE, (uint8_t)(first + i));
}

static struct expected record_of(uint8_t content, bool is_initial)
{
    return (struct expected){
        0xfa,    0,          0, RECORD - WIRE_FRAME_HEADER_SIZE, RECORD - WIRE_FRAME_HEADER_SIZE,
        content, is_initial,
    };
}

enum { FITTING = CLIENT_FRAMES_MAX / RECORD };

/* Frames before the first request stay; later ones for which there is no room are not kept. */
static void test_initial_frames_are_kept(void **state)
{
    static struct bytes bytes;
    struct expected expected[FITTING];

    (void)state;
    bytes.length = 0;
    add_records(&bytes, 0, FITTING + 3);
    add_frame(&bytes, WIRE_HEADERS, 4, 1, 10, 'x');
    add_records(&bytes, 100, 4);
    for (size_t i = 0; i < FITTING; i++)
        expected[i] = record_of((uint8_t)i, true);
    check_each_way(&bytes, expected, FITTING, 3 + 4);
}

/* A small frame is kept if there is room for it, even if a large one before it was not. */
static void test_room_for_a_small_frame(void **state)
{
    static struct bytes bytes;
    struct expected expected[FITTING + 1];

    (void)state;
    bytes.length = 0;
    add_records(&bytes, 0, FITTING + 1);
    add_frame(&bytes, WIRE_PRIORITY, 0, 1, 5, 'p');
    for (size_t i = 0; i < FITTING; i++)
        expected[i] = record_of((uint8_t)i, true);
    expected[FITTING] = (struct expected){WIRE_PRIORITY, 0, 1, 5, 5, 'p', true};
    check_each_way(&bytes, expected, FITTING + 1, 1);
}

/* Of the frames after the first request, the latest are kept. */
static void test_oldest_is_removed(void **state)
{
    static struct bytes bytes;
    struct expected expected[FITTING];

    (void)state;
    bytes.length = 0;
    add_records(&bytes, 0, 2);
    add_frame(&bytes, WIRE_HEADERS, 4, 1, 10, 'x');
    add_records(&bytes, 10, FITTING - 2 + 5);
    for (size_t i = 0; i < 2; i++)
        expected[i] = record_of((uint8_t)i, true);
    for (size_t i = 2; i < FITTING; i++)
        expected[i] = record_of((uint8_t)(10 + 5 + i - 2), false);
    check_each_way(&bytes, expected, FITTING, 5);
}

/* Several small frames are removed to make room for a large one. */
static void test_several_are_removed(void **state)
{
    static struct bytes bytes;
    struct expected expected[FITTING];
    enum {
        MISSING = WIRE_FRAME_HEADER_SIZE + CLIENT_FRAMES_PAYLOAD_MAX - CLIENT_FRAMES_MAX % RECORD,
        GONE = (MISSING + RECORD - 1) / RECORD,
        KEPT = FITTING - GONE,
    };

    (void)state;
    bytes.length = 0;
    add_frame(&bytes, WIRE_HEADERS, 4, 1, 10, 'x');
    add_records(&bytes, 0, FITTING);
    add_frame(&bytes, WIRE_SETTINGS, 0, 0, CLIENT_FRAMES_PAYLOAD_MAX, 's');
    for (size_t i = 0; i < KEPT; i++)
        expected[i] = record_of((uint8_t)(i + GONE), false);
    expected[KEPT] = (struct expected){
        WIRE_SETTINGS, 0, 0, CLIENT_FRAMES_PAYLOAD_MAX, CLIENT_FRAMES_PAYLOAD_MAX, 's', false};
    check_each_way(&bytes, expected, KEPT + 1, GONE);
}

enum { SHARES = 16 };

/* The last byte of the room can be used. */
static void test_full(void **state)
{
    static struct bytes bytes;
    struct expected expected[SHARES];
    enum { SHARE = CLIENT_FRAMES_MAX / SHARES };

    (void)state;
    bytes.length = 0;
    for (uint8_t i = 0; i < SHARES; i++) {
        add_frame(&bytes, 0xfa, 0, 0, SHARE - WIRE_FRAME_HEADER_SIZE, i);
        expected[i] = (struct expected){
            0xfa, 0, 0, SHARE - WIRE_FRAME_HEADER_SIZE, SHARE - WIRE_FRAME_HEADER_SIZE, i, true};
    }
    check_each_way(&bytes, expected, SHARES, 0);
    add_frame(&bytes, 0xfa, 0, 0, 0, 0);
    check_each_way(&bytes, expected, SHARES, 1);
}

/* However many frames arrive, the memory is bounded. */
static void test_flood(void **state)
{
    struct client_frames client_frames = {0};
    struct frame_header frame = {7, 0, 0xfa, 0};

    (void)state;
    client_frames_note_request(&client_frames);
    for (size_t i = 0; i < 100000; i++) {
        assert_true(client_frames_add(&client_frames, &arena, &frame));
        client_frames_receive(&client_frames, (const uint8_t *)"1234567", 7);
    }
    assert_int_equal(client_frames.length, CLIENT_FRAMES_MAX);
    assert_int_equal(client_frames.capacity, CLIENT_FRAMES_MAX);
    assert_int_equal(client_frames.left_out,
                     100000 - CLIENT_FRAMES_MAX / (WIRE_FRAME_HEADER_SIZE + 7));
    client_frames_free(&client_frames, &arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_frames),
        cmocka_unit_test(test_initial_and_later),
        cmocka_unit_test(test_long_payloads_are_cut),
        cmocka_unit_test(test_incomplete_frame),
        cmocka_unit_test(test_payload_of_a_frame_not_kept),
        cmocka_unit_test(test_initial_frames_are_kept),
        cmocka_unit_test(test_room_for_a_small_frame),
        cmocka_unit_test(test_oldest_is_removed),
        cmocka_unit_test(test_several_are_removed),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
