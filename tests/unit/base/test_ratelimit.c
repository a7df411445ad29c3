/* A number of times at once, and so many times a second from then on. */
#include "base/ratelimit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BURST = 10, PER_SECOND = 4, SECOND = 1000000 };

static bool take(struct ratelimit *ratelimit, int64_t now_us, uint32_t count)
{
    return ratelimit_take(ratelimit, now_us, count, BURST, PER_SECOND);
}

static void test_burst(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    for (int i = 0; i < BURST; i++)
        assert_true(take(&ratelimit, 5 * SECOND, 1));
    assert_false(take(&ratelimit, 5 * SECOND, 1));
}

static void test_many_at_once(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    assert_false(take(&ratelimit, SECOND, BURST + 1));
    assert_true(take(&ratelimit, SECOND, BURST));
    assert_true(take(&ratelimit, SECOND, 0));
    assert_false(take(&ratelimit, SECOND, 1));
}

static void test_refill(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    assert_true(take(&ratelimit, SECOND, BURST));
    assert_false(take(&ratelimit, SECOND + SECOND / PER_SECOND - 1, 1));
    assert_true(take(&ratelimit, SECOND + SECOND / PER_SECOND, 1));
    assert_false(take(&ratelimit, 2 * SECOND, PER_SECOND));
    assert_true(take(&ratelimit, 2 * SECOND, PER_SECOND - 1));
}

/* However long nothing is taken, there is never more than the burst. */
static void test_never_more_than_the_burst(void **state)
{
    struct ratelimit ratelimit = {0};

    (void)state;
    assert_true(take(&ratelimit, SECOND, 3));
    assert_true(take(&ratelimit, 3600 * (int64_t)SECOND, BURST));
    assert_false(take(&ratelimit, 3600 * (int64_t)SECOND, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_refill),
        cmocka_unit_test(test_never_more_than_the_burst),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
