/* What was put in is found by its key for as long as nothing says that it had to make room. */
#include "memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

enum { SIZE = MEMO_SETS * MEMO_WAYS, KEYS = 4 * SIZE, OFTEN = 8 };

/* An address as an allocator would give it, the same in every run. */
static void *key_of(size_t at)
{
    return (void *)(UINT64_C(0x7f1234560000) + 96 * at);
}

static char values_of_keys[KEYS];

static void insert_and_note(struct memo *memo, void *values[KEYS], size_t at)
{
    struct memo_pair pair = {key_of(at), &values_of_keys[at]};
    struct memo_pair out = memo_insert(memo, pair);

    values[at] = pair.value;
    if (out.key == NULL)
        return;
    assert_ptr_not_equal(out.key, pair.key);
    for (size_t i = 0; i < KEYS; i++) {
        if (key_of(i) == out.key) {
            assert_ptr_equal(out.value, values[i]);
            values[i] = NULL;
        }
    }
}

static void test_empty(void **state)
{
    struct memo memo = {0};

    (void)state;
    for (size_t i = 0; i < KEYS; i++)
        assert_null(memo_find(&memo, key_of(i)));
}

static void test_any_order(void **state)
{
    struct memo memo = {0};
    void *values[KEYS] = {0};
    uint32_t seed = 1;
    size_t found = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        size_t at;

        seed = seed * 1664525U + 1013904223U;
        at = (seed >> 8) % KEYS;
        assert_ptr_equal(memo_find(&memo, key_of(at)), values[at]);
        if (values[at] == NULL)
            insert_and_note(&memo, values, at);
        else
            found++;
    }
    assert_true(found > 10000);
}

/* As many as a browser's fields make stay, whatever comes only once. */
static void test_what_is_asked_for_often_stays(void **state)
{
    struct memo memo = {0};
    void *values[KEYS] = {0};

    (void)state;
    for (size_t once = OFTEN; once < KEYS; once++) {
        for (size_t at = 0; at < OFTEN; at++) {
            if (memo_find(&memo, key_of(at)) == NULL)
                insert_and_note(&memo, values, at);
            assert_non_null(memo_find(&memo, key_of(at)));
        }
        insert_and_note(&memo, values, once);
        for (size_t at = 0; at < OFTEN; at++)
            assert_true(once < 2 * OFTEN || memo_find(&memo, key_of(at)) != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_what_is_asked_for_often_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
