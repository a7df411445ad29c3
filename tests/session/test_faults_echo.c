/*
 * The parts of echo/ that run out of memory: for every n the n-th allocation fails. The result is
 * complete or reported as failed, and nothing leaks.
 */
#include "echo/client_frames.h"
#include "echo/detail.h"
#include "session/failing_alloc.h"
#include "session/frames.h"

#include <string.h>

/* --- echo --- */

static bool echo_add_text(struct echo *echo, const char *name, const char *value)
{
    return echo_add(echo, (struct echo_key){(void *)name, (void *)value}, span_of(name),
                    span_of(value));
}

/* Repeated names, values that are Latin-1 or grow when escaped, and more than the initial size. */
static bool fill_echo(struct echo *echo, size_t names)
{
    static char large[5000];
    static char name[][4] = {"c", "d", "e"};

    memset(large, '"', sizeof(large) - 1);
    for (int i = 0; i < 3; i++) {
        if (!echo_add_text(echo, "a", large) || !echo_add_text(echo, "cookie", "\xff") ||
            !echo_add_text(echo, "b", "\xc3\xa4"))
            return false;
    }
    for (size_t i = 0; i < names; i++)
        if (!echo_add_text(echo, name[i % 3], "value"))
            return false;
    return true;
}

static bool copy_echo(struct echo *echo, const struct echo *from)
{
    for (size_t i = 0; i < from->field_count; i++)
        if (!echo_copy(echo, from, &from->fields[i]))
            return false;
    return true;
}

/* Return the body of ${names} fields that were copied; NULL if memory ran out. */
static struct echo_body *build_body(size_t names)
{
    struct echo_body *body = NULL;
    struct echo first;
    struct echo second;

    echo_start(&first, &malloc_arena, true);
    echo_start(&second, &malloc_arena, true);
    if (fill_echo(&first, names) && copy_echo(&second, &first))
        body = echo_compose(&second);
    echo_free(&first);
    echo_free(&second);
    return body;
}

static void check_echo(size_t names)
{
    struct echo_body *whole = build_body(names);
    size_t live = failing.live;
    size_t n;

    assert_non_null(whole);
    failing.failed = true;
    for (n = 0; failing.failed; n++) {
        struct echo_body *body;

        failing.failed = false;
        failing.left = n;
        body = build_body(names);
        failing.left = SIZE_MAX;
        assert_true(failing.failed == (body == NULL));
        if (body != NULL) {
            assert_int_equal(body->length, whole->length);
            assert_memory_equal(body->text, whole->text, whole->length);
        }
        echo_body_drop(&malloc_arena, body);
        assert_int_equal(failing.live, live);
    }
    assert_true(n > 20);
    echo_body_drop(&malloc_arena, whole);
}

static void test_echo(void **state)
{
    (void)state;
    check_echo(20);
    check_echo(100); /* enough for them to be sorted */
}

/* --- client_frames --- */

enum { SETTINGS_LENGTH = 12 };
/* As many as client_frames keeps. */
enum { SETTINGS_FRAMES = CLIENT_FRAMES_MAX / (WIRE_FRAME_HEADER_SIZE + SETTINGS_LENGTH) };

static bool add_settings_frame(struct client_frames *client_frames, uint8_t content)
{
    uint8_t payload[SETTINGS_LENGTH];

    memset(payload, content, sizeof(payload));
    if (!client_frames_add(client_frames, &malloc_arena,
                           &(struct frame_header){sizeof(payload), 0, NGHTTP2_SETTINGS, 0}))
        return false;
    client_frames_receive(client_frames, payload, sizeof(payload));
    return true;
}

/* Fail unless exactly these frames were kept. */
static void check_kept_settings(const struct client_frames *client_frames, const uint8_t *contents,
                                size_t count)
{
    struct client_frame frame;
    size_t place = 0;

    for (size_t i = 0; i < count; i++) {
        assert_true(client_frames_next(client_frames, &place, &frame));
        assert_int_equal(frame.payload.length, SETTINGS_LENGTH);
        for (size_t at = 0; at < SETTINGS_LENGTH; at++)
            assert_int_equal(frame.payload.bytes[at], contents[i]);
    }
    assert_false(client_frames_next(client_frames, &place, &frame));
    assert_int_equal(client_frames->left_out, 0);
}

/* If there is no memory for a frame, the call fails, and the other frames stay as they are. */
static void test_client_frames(void **state)
{
    size_t live = failing.live;
    size_t n;

    (void)state;
    failing.mode = FAIL_ONCE;
    failing.failed = true;
    for (n = 0; failing.failed; n++) {
        uint8_t contents[SETTINGS_FRAMES];
        struct client_frames client_frames = {0};
        size_t count = 0;

        failing.failed = false;
        failing.left = n;
        for (uint8_t i = 0; i < SETTINGS_FRAMES; i++) {
            if (add_settings_frame(&client_frames, i))
                contents[count++] = i;
        }
        failing.left = SIZE_MAX;
        assert_int_equal(count, SETTINGS_FRAMES - failing.failed);
        check_kept_settings(&client_frames, contents, count);
        client_frames_free(&client_frames, &malloc_arena);
        assert_int_equal(failing.live, live);
    }
    assert_true(n > 4);
}

/* --- detail --- */

static struct field_list *detailed_fields(void)
{
    static const struct field_list_entry entries[] = {
        {{(const uint8_t *)":method", 7}, {(const uint8_t *)"HEAD", 4}, false},
        {{(const uint8_t *)"priority", 8}, {(const uint8_t *)"u=1", 3}, false},
        {{(const uint8_t *)"x", 1}, {(const uint8_t *)"\xff", 1}, true},
        {{(const uint8_t *)"x", 1}, {(const uint8_t *)"\xc3\xa4\"", 3}, true},
    };
    struct field_list *fields = field_list_new(&malloc_arena, COUNT(entries), 28);

    assert_non_null(fields);
    for (size_t i = 0; i < COUNT(entries); i++)
        field_list_add(fields, &entries[i]);
    assert_int_equal(fields->length, 28);
    return fields;
}

static void add_client_frame(struct client_frames *client_frames, uint8_t type, const char *payload,
                             size_t length)
{
    assert_true(client_frames_add(client_frames, &malloc_arena,
                                  &(struct frame_header){length, 0, type, 0}));
    client_frames_receive(client_frames, (const uint8_t *)payload, length);
}

static void check_detail(const struct detail *detail)
{
    struct echo_body *whole = detail_compose(&malloc_arena, detail);
    size_t live = failing.live;
    size_t n;

    assert_non_null(whole);
    failing.failed = true;
    for (n = 0; failing.failed; n++) {
        struct echo_body *body;

        failing.failed = false;
        failing.left = n;
        body = detail_compose(&malloc_arena, detail);
        failing.left = SIZE_MAX;
        assert_true(failing.failed == (body == NULL));
        if (body != NULL) {
            assert_int_equal(body->length, whole->length);
            assert_memory_equal(body->text, whole->text, whole->length);
        }
        echo_body_drop(&malloc_arena, body);
        assert_int_equal(failing.live, live);
    }
    assert_true(n > 200);
    echo_body_drop(&malloc_arena, whole);
}

static void test_detail(void **state)
{
    static const struct detail_reports reports = {.count = 2, .latest = {{1, "one"}, {3, "two"}}};
    struct field_list *fields = detailed_fields();
    struct client_frames client_frames = {0};
    struct detail detail = {
        .origin = {.id = 1, .protocol = "h2c", .peer = "peer", .local = "local"},
        .fields = fields,
        .trailers = fields,
        .content_length = 5,
        .dependency = {1, 16, true},
        .client_frames = &client_frames,
        .reports = &reports,
        .head = true,
    };

    (void)state;
    add_client_frame(&client_frames, NGHTTP2_SETTINGS, "\0\4\0\0\0\1\x13\x37\0\0\0\1", 12);
    add_client_frame(&client_frames, NGHTTP2_WINDOW_UPDATE, "\0\0\0\1", 4);
    add_client_frame(&client_frames, NGHTTP2_PRIORITY, "\0\0\0\1\7", 5);
    add_client_frame(&client_frames, NGHTTP2_SETTINGS, "\0\4\0\0\0\1\x13\x37\0\0\0\1", 12);
    add_client_frame(&client_frames, 0x10, "\0\0\0\1u=1", 7);
    add_client_frame(&client_frames, 0xaa, "unknown", 7);
    client_frames.left_out = 3;
    failing.mode = FAIL_ONCE;
    check_detail(&detail);
    failing.mode = FAIL_FROM_THEN_ON;
    detail.pretty = true;
    check_detail(&detail);
    failing.mode = FAIL_ONCE;
    client_frames_free(&client_frames, &malloc_arena);
    field_list_free(&malloc_arena, fields);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_client_frames),
        cmocka_unit_test(test_detail),
    };

    failing_alloc_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
