/* What the ids of a client's streams tell once they are over. */
#include "http2/closed_streams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_ids_go_up(void **state)
{
    struct past past;

    (void)state;
    past_start(&past);
    assert_int_equal(past.highest, 0);
    assert_true(past_open(&past, 1));
    assert_false(past_open(&past, 1));
    assert_true(past_open(&past, 7));
    assert_false(past_open(&past, 5));
    assert_true(past_open(&past, INT32_MAX));
    assert_int_equal(past.highest, INT32_MAX);
}

static void test_nothing_is_late_at_first(void **state)
{
    struct past past;

    (void)state;
    past_start(&past);
    assert_false(past_is_late(&past, 1));
    assert_false(past_is_late(&past, INT32_MAX - 2));
    past_close(&past, 1);
    assert_false(past_is_late(&past, 1));
}

static void test_resets_are_remembered(void **state)
{
    struct past past;

    (void)state;
    past_start(&past);
    for (int32_t i = 0; i < PAST_RESETS; i++)
        past_reset(&past, 4 * i + 3);
    for (int32_t i = 0; i < PAST_RESETS; i++) {
        assert_true(past_is_late(&past, 4 * i + 3));
        assert_false(past_is_late(&past, 4 * i + 1));
    }
}

/* Who may have been reset counts as such. */
static void test_forgotten_resets(void **state)
{
    struct past past;

    (void)state;
    past_start(&past);
    past_reset(&past, 101);
    past_reset(&past, 51);
    for (int32_t i = 0; i < PAST_RESETS; i++)
        past_reset(&past, 1001 + 4 * i);
    assert_true(past_is_late(&past, 101));
    assert_true(past_is_late(&past, 99));
    assert_false(past_is_late(&past, 103));
    assert_true(past_is_late(&past, 1001));
}

static void test_refused(void **state)
{
    struct past past;

    (void)state;
    past_start(&past);
    past_refuse(&past, 9);
    past_refuse(&past, 11);
    assert_false(past_is_late(&past, 7));
    assert_true(past_is_late(&past, 9));
    assert_true(past_is_late(&past, 101));
    past_refuse(&past, 7);
    assert_true(past_is_late(&past, 7));
}

static void test_closed_last(void **state)
{
    struct past past;

    (void)state;
    past_start(&past);
    for (int32_t i = 0; i <= PAST_CLOSED; i++)
        past_close(&past, 2 * i + 1);
    assert_false(past_was_closed(&past, 1));
    for (int32_t i = 1; i <= PAST_CLOSED; i++)
        assert_true(past_was_closed(&past, 2 * i + 1));
    assert_false(past_was_closed(&past, 2 * PAST_CLOSED + 3));
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
