/* So many at once, and so many a second from then on. */
#include "base/ratelimit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BURST = 10, PER_SECOND = 4, SECOND = 1000000 };

static bool spend(struct allowance *allowance, int64_t now_us, uint32_t count)
{
    return allowance_spend(allowance, now_us, count, BURST, PER_SECOND);
}

static void test_burst(void **state)
{
    struct allowance allowance = {0};

    (void)state;
    for (int i = 0; i < BURST; i++)
        assert_true(spend(&allowance, 5 * SECOND, 1));
    assert_false(spend(&allowance, 5 * SECOND, 1));
}

static void test_many_at_once(void **state)
{
    struct allowance allowance = {0};

    (void)state;
    assert_false(spend(&allowance, SECOND, BURST + 1));
    assert_true(spend(&allowance, SECOND, BURST));
    assert_true(spend(&allowance, SECOND, 0));
    assert_false(spend(&allowance, SECOND, 1));
}

static void test_growth(void **state)
{
    struct allowance allowance = {0};

    (void)state;
    assert_true(spend(&allowance, SECOND, BURST));
    assert_false(spend(&allowance, SECOND + SECOND / PER_SECOND - 1, 1));
    assert_true(spend(&allowance, SECOND + SECOND / PER_SECOND, 1));
    assert_false(spend(&allowance, 2 * SECOND, PER_SECOND));
    assert_true(spend(&allowance, 2 * SECOND, PER_SECOND - 1));
}

/* However long nothing is spent, it is never more than the burst. */
static void test_never_more_than_the_burst(void **state)
{
    struct allowance allowance = {0};

    (void)state;
    assert_true(spend(&allowance, SECOND, 3));
    assert_true(spend(&allowance, 3600 * (int64_t)SECOND, BURST));
    assert_false(spend(&allowance, 3600 * (int64_t)SECOND, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_never_more_than_the_burst),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
