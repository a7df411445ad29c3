/* What is remembered of closed streams. */
#include "http2/closed_streams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_ids_go_up(void **state)
{
    struct closed_streams closed;

    (void)state;
    closed_streams_init(&closed);
    assert_int_equal(closed.highest, 0);
    assert_true(closed_streams_open(&closed, 1));
    assert_false(closed_streams_open(&closed, 1));
    assert_true(closed_streams_open(&closed, 7));
    assert_false(closed_streams_open(&closed, 5));
    assert_true(closed_streams_open(&closed, INT32_MAX));
    assert_int_equal(closed.highest, INT32_MAX);
}

static void test_nothing_is_late_at_first(void **state)
{
    struct closed_streams closed;

    (void)state;
    closed_streams_init(&closed);
    assert_false(closed_streams_is_late(&closed, 1));
    assert_false(closed_streams_is_late(&closed, INT32_MAX - 2));
    closed_streams_note_closed(&closed, 1);
    assert_false(closed_streams_is_late(&closed, 1));
}

static void test_resets_are_remembered(void **state)
{
    struct closed_streams closed;

    (void)state;
    closed_streams_init(&closed);
    for (int32_t i = 0; i < CLOSED_STREAMS_RESETS; i++)
        closed_streams_note_reset(&closed, 4 * i + 3);
    for (int32_t i = 0; i < CLOSED_STREAMS_RESETS; i++) {
        assert_true(closed_streams_is_late(&closed, 4 * i + 3));
        assert_false(closed_streams_is_late(&closed, 4 * i + 1));
    }
}

/* A stream that may have been reset counts as reset. */
static void test_forgotten_resets(void **state)
{
    struct closed_streams closed;

    (void)state;
    closed_streams_init(&closed);
    closed_streams_note_reset(&closed, 101);
    closed_streams_note_reset(&closed, 51);
    for (int32_t i = 0; i < CLOSED_STREAMS_RESETS; i++)
        closed_streams_note_reset(&closed, 1001 + 4 * i);
    assert_true(closed_streams_is_late(&closed, 101));
    assert_true(closed_streams_is_late(&closed, 99));
    assert_false(closed_streams_is_late(&closed, 103));
    assert_true(closed_streams_is_late(&closed, 1001));
}

static void test_refused(void **state)
{
    struct closed_streams closed;

    (void)state;
    closed_streams_init(&closed);
    closed_streams_note_refused(&closed, 9);
    closed_streams_note_refused(&closed, 11);
    assert_false(closed_streams_is_late(&closed, 7));
    assert_true(closed_streams_is_late(&closed, 9));
    assert_true(closed_streams_is_late(&closed, 101));
    closed_streams_note_refused(&closed, 7);
    assert_true(closed_streams_is_late(&closed, 7));
}

static void test_closed_last(void **state)
{
    struct closed_streams closed;

    (void)state;
    closed_streams_init(&closed);
    for (int32_t i = 0; i <= CLOSED_STREAMS_CLOSED; i++)
        closed_streams_note_closed(&closed, 2 * i + 1);
    assert_false(closed_streams_was_closed(&closed, 1));
    for (int32_t i = 1; i <= CLOSED_STREAMS_CLOSED; i++)
        assert_true(closed_streams_was_closed(&closed, 2 * i + 1));
    assert_false(closed_streams_was_closed(&closed, 2 * CLOSED_STREAMS_CLOSED + 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_go_up),
        cmocka_unit_test(test_nothing_is_late_at_first),
        cmocka_unit_test(test_resets_are_remembered),
        cmocka_unit_test(test_forgotten_resets),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_closed_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
