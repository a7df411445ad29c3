/* So many at once, and so many a second from then on. */
#include "base/ratelimit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BURST = 10, PER_SECOND = 4, SECOND = 1000000 };

static bool spend(struct ratelimit *ratelimit, int64_t now_us, uint32_t count)
{
    return ratelimit_take(ratelimit, now_us, count, BURST, PER_SECOND);
}

static void test_burst(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    for (int i = 0; i < BURST; i++)
        assert_true(spend(&ratelimit, 5 * SECOND, 1));
    assert_false(spend(&ratelimit, 5 * SECOND, 1));
}

static void test_many_at_once(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    assert_false(spend(&ratelimit, SECOND, BURST + 1));
    assert_true(spend(&ratelimit, SECOND, BURST));
    assert_true(spend(&ratelimit, SECOND, 0));
    assert_false(spend(&ratelimit, SECOND, 1));
}

static void test_growth(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    assert_true(spend(&ratelimit, SECOND, BURST));
    assert_false(spend(&ratelimit, SECOND + SECOND / PER_SECOND - 1, 1));
    assert_true(spend(&ratelimit, SECOND + SECOND / PER_SECOND, 1));
    assert_false(spend(&ratelimit, 2 * SECOND, PER_SECOND));
    assert_true(spend(&ratelimit, 2 * SECOND, PER_SECOND - 1));
}

/* However long nothing is spent, it is never more than the burst. */
static void test_never_more_than_the_burst(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    assert_true(spend(&ratelimit, SECOND, 3));
    assert_true(spend(&ratelimit, 3600 * (int64_t)SECOND, BURST));
    assert_false(spend(&ratelimit, 3600 * (int64_t)SECOND, 1));
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
