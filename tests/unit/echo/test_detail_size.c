/* The size of the detailed response is bounded by the size of what arrived. */
#include "unit/echo/detail_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "unit/range.h"

/* Return the length of the response to as many fields like ${field} as a header list of ${size}
 * bytes (RFC 9113 section 6.5.2) can have. */
static size_t length_of_fields(size_t size, const struct input_field *field, bool pretty)
{
    size_t count = size / (strlen(field->name) + field->value_length + 32);
    struct input_field *fields = malloc(count * sizeof(*fields));
    struct detail_input input;
    struct echo_body *body;
    size_t length;

    assert_non_null(fields);
    for (size_t i = 0; i < count; i++)
        fields[i] = *field;
    input_start(&input, fields, count);
    input.detail.pretty = pretty;
    body = input_compose(&input);
    length = body->length;
    echo_body_drop(&input_arena, body);
    input_free(&input);
    free(fields);
    return length;
}

/* Whatever the fields are, the response is little more than twice as large as they are; indented,
 * two and a half times. */
static void test_size_by_fields(void **state)
{
    enum { SIZE = 65536, REST = 1024 };
    static const size_t lengths[] = {0, 1, 2, 3, 31, 100, 1000, 60000};
    static const uint8_t bytes[] = {'a', '"', '\\', '\t', 0xff};
    static char value[60000];

    (void)state;
    for (size_t i = 0; i < COUNT(lengths) * COUNT(bytes) * 2; i++) {
        struct input_field field = {"a", value, lengths[i / 2 % COUNT(lengths)], i % 2 == 0};

        memset(value, bytes[i / 2 / COUNT(lengths)], sizeof(value));
        assert_between(length_of_fields(SIZE, &field, false), 1, 2 * SIZE + REST);
        assert_between(length_of_fields(SIZE, &field, true), 1, 2 * SIZE + SIZE / 2 + REST);
    }
}

/* Return the length of the response if as many frames of a kind are kept as there is room for. */
static size_t length_of_frames(uint8_t type, size_t length, uint8_t content, bool opened,
                               bool pretty)
{
    uint8_t payload[CLIENT_FRAMES_PAYLOAD_MAX];
    struct detail_input input;
    struct echo_body *body;
    size_t body_length;

    memset(payload, content, sizeof(payload));
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input.client_frames.opened = opened;
    input.detail.pretty = pretty;
    for (int i = 0; i < CLIENT_FRAMES_MAX; i++)
        input_add_frame(&input.client_frames, type, INT32_MAX, payload, length);
    body = input_compose(&input);
    body_length = body->length;
    echo_body_drop(&input_arena, body);
    input_free(&input);
    return body_length;
}

/* What is kept of frames is bounded, and so is what is shown of them. */
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
        {WIRE_PRIORITY, 5, 0xff},
        {WIRE_PRIORITY, 0, 0},
        {WIRE_PRIORITY_UPDATE, 4, 0xff},
        {WIRE_SETTINGS, 0, 0},
        {WIRE_SETTINGS, WIRE_SETTING_SIZE, 0xff},
        {WIRE_SETTINGS, SETTINGS_MAX, 0xff},
        {WIRE_SETTINGS, SETTINGS_MAX, 0},
        {WIRE_WINDOW_UPDATE, 4, 0x7f},
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

/* The longest reports, all of whose bytes are escaped. */
static void test_size_by_reports(void **state)
{
    static struct detail_reports reports = {.count = 1000};
    struct detail_input input;
    struct echo_body *body;

    (void)state;
    for (size_t i = 0; i < DETAIL_REPORTS; i++) {
        reports.latest[i].stream_id = INT32_MAX;
        memset(reports.latest[i].text, '\\', DETAIL_REPORT_MAX - 1);
    }
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input.detail.reports = &reports;
    body = input_compose(&input);
    assert_between(body->length, DETAIL_REPORTS * 2 * (DETAIL_REPORT_MAX - 1), 4 * 1024);
    echo_body_drop(&input_arena, body);
    input_free(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_by_fields),
        cmocka_unit_test(test_size_by_frames),
        cmocka_unit_test(test_size_by_reports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
