/* The largest SETTINGS_INITIAL_WINDOW_SIZE in a frame, in whatever pieces that arrives. */
#include "http2/initial_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES(text) (text), sizeof(text) - 1

struct row {
    const char *payload;
    size_t length;
    uint32_t largest;
};

static const struct row rows[] = {
    {BYTES(""), 0},
    {BYTES("\0\4\0\0\0\7"), 7},
    {BYTES("\0\4\0\1\2\3"), 0x010203},
    {BYTES("\0\4\x7f\xff\xff\xff"), 0x7fffffff},
    {BYTES("\0\4\x80\0\0\0"), 0}, /* an error that nghttp2 detects */
    {BYTES("\0\3\0\0\0\7\1\4\0\0\0\7\0\5\0\0\0\7"), 0},
    {BYTES("\0\4\0\0\0\7\0\4\0\0\0\5"), 7}, /* both apply, one after the other */
    {BYTES("\0\4\0\0\0\5\0\3\0\0\0\x9\0\4\0\0\0\7"), 7},
};

static struct initial_window begin(size_t length, int32_t stream_id, uint8_t flags)
{
    struct frame_header frame = {
        .length = length, .stream_id = stream_id, .type = WIRE_SETTINGS, .flags = flags};
    struct initial_window window = {.largest = 1, .entry_length = 1};

    initial_window_begin(&window, &frame);
    return window;
}

static void test_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const uint8_t *payload = (const uint8_t *)rows[i].payload;
        size_t length = rows[i].length;

        for (size_t split = 0; split <= length; split++) {
            struct initial_window window = begin(length, 0, 0);

            assert_int_equal(initial_window_receive(&window, payload, split), split);
            assert_int_equal(window.coming, length - split);
            assert_int_equal(initial_window_receive(&window, payload + split, length - split),
                             length - split);
            assert_int_equal(window.coming, 0);
            assert_int_equal(window.largest, rows[i].largest);
        }
    }
}

/* Bytes after the frame are not read. */
static void test_bytes_after_the_frame(void **state)
{
    static const uint8_t bytes[] = "\0\4\0\0\0\7\0\4\0\0\0\x9";
    struct initial_window window = begin(6, 0, 0);

    (void)state;
    assert_int_equal(initial_window_receive(&window, bytes, sizeof(bytes) - 1), 6);
    assert_int_equal(initial_window_receive(&window, bytes, sizeof(bytes) - 1), 0);
    assert_int_equal(window.largest, 7);
}

/* Malformed frames, and acknowledgements. */
static void test_frames_without_settings(void **state)
{
    (void)state;
    assert_int_equal(begin(6, 0, WIRE_FLAG_ACK).coming, 0);
    assert_int_equal(begin(6, 1, 0).coming, 0);
    assert_int_equal(begin(7, 0, 0).coming, 0);
    assert_int_equal(begin(12, 0, 0xfe).coming, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_bytes_after_the_frame),
        cmocka_unit_test(test_frames_without_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
