/* Blocks keep their contents, whatever the order of calls, and are on few pages. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 256 * 1024 };

static int map_memory(void **state)
{
    *state = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return *state == MAP_FAILED ? -1 : 0;
}

static int unmap_memory(void **state)
{
    return munmap(*state, SIZE);
}

static bool is_inside(const void *block, const void *memory)
{
    return (const uint8_t *)block >= (const uint8_t *)memory &&
           (const uint8_t *)block < (const uint8_t *)memory + SIZE;
}

static bool is_all(const uint8_t *bytes, uint8_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != value)
            return false;
    }
    return true;
}

static size_t resident_pages(void *memory)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t count = 0;
    unsigned char pages[SIZE / 4096];

    assert_int_equal(mincore(memory, SIZE, pages), 0);
    for (size_t i = 0; i < SIZE / page; i++)
        count += pages[i] & 1;
    return count;
}

/* --- Any order of calls --- */

struct held {
    uint8_t *block;
    size_t size;
    uint8_t value; /* of every byte */
};

static uint32_t random_number(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static size_t random_size(uint32_t *seed)
{
    static const size_t limits[] = {40, 300, 1100, 9000, 40000};

    return random_number(seed) % limits[random_number(seed) % (sizeof(limits) / sizeof(*limits))];
}

static void hold(struct held *held, uint8_t *block, size_t size, uint32_t *seed)
{
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 16, 0);
    *held = (struct held){block, size, (uint8_t)random_number(seed)};
    memset(block, held->value, size);
}

static void change(struct arena *arena, struct held *held, uint32_t *seed)
{
    size_t size = random_size(seed);
    uint8_t *block;

    assert_true(held->block == NULL || is_all(held->block, held->value, held->size));
    switch (random_number(seed) % 4) {
    case 0:
        arena_free(arena, held->block);
        hold(held, arena_allocate(arena, size), size, seed);
        break;
    case 1:
        arena_free(arena, held->block);
        block = arena_allocate_zeroed(arena, 1 + size / 8, 8);
        assert_true(is_all(block, 0, (1 + size / 8) * 8));
        hold(held, block, (1 + size / 8) * 8, seed);
        break;
    case 2:
        block = arena_resize(arena, held->block, size + 1);
        assert_non_null(block);
        assert_true(is_all(block, held->value, held->size < size ? held->size : size));
        hold(held, block, size + 1, seed);
        break;
    case 3:
        arena_free(arena, held->block);
        *held = (struct held){0};
        break;
    }
}

/* Blocks keep their contents and do not overlap, and those that have to be zero are. */
static void exercise(struct arena *arena, uint32_t seed)
{
    enum { BLOCKS = 40, CHANGES = 4000, RELEASE_EVERY = 97 };
    struct held held[BLOCKS] = {0};

    for (int i = 0; i < CHANGES; i++) {
        change(arena, &held[random_number(&seed) % BLOCKS], &seed);
        if (i % RELEASE_EVERY == 0)
            arena_release_idle_memory(arena);
    }
    for (int i = 0; i < BLOCKS; i++) {
        assert_true(is_all(held[i].block, held[i].value, held[i].size));
        arena_free(arena, held[i].block);
    }
}

static void test_any_order(void **state)
{
    struct arena arena;

    arena_start(&arena, *state, SIZE);
    for (uint32_t seed = 0; seed < 20; seed++) {
        exercise(&arena, seed);
        arena_clear(&arena);
    }
}

static void test_arena_without_memory(void **state)
{
    struct arena arena = {0};

    (void)state;
    exercise(&arena, 1);
    arena_release_idle_memory(&arena);
    arena_clear(&arena);
}

/* --- Where blocks are --- */

static void test_freed_blocks_are_reused(void **state)
{
    static const size_t sizes[] = {1, 24, 100, 500, 700, 2000, 20000};
    struct arena arena;
    size_t used = 0;

    arena_start(&arena, *state, SIZE);
    for (int round = 0; round < 100; round++) {
        void *blocks[sizeof(sizes) / sizeof(*sizes)];

        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            blocks[i] = arena_allocate(&arena, sizes[i]);
            assert_true(is_inside(blocks[i], *state));
        }
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
            arena_free(&arena, blocks[i]);
        used = used > 0 ? used : arena.used;
    }
    assert_int_equal(arena.used, used);
}

static void test_small_blocks_are_close(void **state)
{
    enum { COUNT = 100, BYTES = 60, OVERHEAD = 8 + 31 };
    struct arena arena;

    arena_start(&arena, *state, SIZE);
    for (int i = 0; i < COUNT; i++)
        assert_non_null(arena_allocate(&arena, BYTES));
    assert_true(arena.used <= COUNT * (BYTES + OVERHEAD));
}

static void test_malloc_if_it_does_not_fit(void **state)
{
    struct arena arena;
    uint8_t *large;
    uint8_t *inside = NULL;
    uint8_t *next;

    arena_start(&arena, *state, SIZE);
    large = arena_allocate(&arena, 2 * SIZE);
    assert_false(is_inside(large, *state));
    for (size_t used = 0; (next = arena_allocate(&arena, 1000)) != NULL; used += 1000) {
        if (!is_inside(next, *state))
            break;
        assert_true(used < SIZE);
        inside = next;
    }
    assert_non_null(next);
    memset(next, 1, 1000);
    memset(large, 1, 2 * SIZE);
    arena_free(&arena, next);
    arena_free(&arena, large);
    arena_free(&arena, inside);
    assert_ptr_equal(arena_allocate(&arena, 1000), inside);
}

/* Memory that is zero already is not written to, so that its pages are not in use. */
static void test_zeroed_memory_is_not_touched(void **state)
{
    struct arena arena;

    arena_start(&arena, *state, SIZE);
    for (int i = 0; i < 5; i++)
        assert_non_null(arena_allocate_zeroed(&arena, 1, 30000));
    assert_true(resident_pages(*state) <= 2 * 5);
}

static void test_release_of_free_pages(void **state)
{
    struct arena arena;
    uint8_t *kept;
    uint8_t *blocks[100];

    arena_start(&arena, *state, SIZE);
    kept = arena_allocate(&arena, 5000);
    memset(kept, 7, 5000);
    for (int i = 0; i < 100; i++) {
        blocks[i] = arena_allocate(&arena, 2000);
        memset(blocks[i], 8, 2000);
    }
    assert_true(resident_pages(*state) > 2);
    for (int i = 0; i < 100; i++)
        arena_free(&arena, blocks[i]);
    arena_release_idle_memory(&arena);
    assert_true(resident_pages(*state) <= 2);
    assert_true(is_all(kept, 7, 5000));
    assert_true(is_all(arena_allocate_zeroed(&arena, 1, 30000), 0, 30000));
    arena_clear(&arena);
    assert_true(is_all(arena_allocate_zeroed(&arena, 1, 30000), 0, 30000));
}

/* Blocks like those of nghttp2: a table that is empty again, a buffer of which little was used, and
 * small ones before, between and after them. */
static void test_release_with_table_and_buffer(void **state)
{
    enum { SMALL = 5700, TABLE = 4096, BUFFER = 16394, LITTLE = 500, MORE = 30, EACH = 70 };
    struct arena arena;
    uint8_t *small;
    uint8_t *table;
    uint8_t *buffer;
    uint8_t *more[MORE];

    arena_start(&arena, *state, SIZE);
    for (int round = 0; round < 3; round++) {
        small = arena_allocate(&arena, SMALL);
        memset(small, 1, SMALL);
        table = arena_allocate_zeroed(&arena, TABLE, 1);
        assert_true(is_all(table, 0, TABLE));
        buffer = arena_allocate(&arena, BUFFER);
        memset(buffer, 3, LITTLE);
        table[1000] = 2;
        for (int i = 0; i < MORE; i++) {
            more[i] = arena_allocate(&arena, EACH);
            memset(more[i], 4, EACH);
        }
        arena_release_idle_memory(&arena);
        assert_int_equal(table[1000], 2);
        table[1000] = 0;
        arena_release_idle_memory(&arena);
        assert_true(resident_pages(*state) <= 3);
        assert_true(is_all(small, 1, SMALL) && is_all(table, 0, TABLE));
        assert_true(is_all(buffer, 3, LITTLE));
        for (int i = 0; i < MORE; i++)
            assert_true(is_all(more[i], 4, EACH));
        arena_clear(&arena);
    }
}

/* A block that stays keeps only its own page, even if it comes after many that are freed; and gaps
 * are used before new memory. */
static void test_release_of_gaps(void **state)
{
    enum { COUNT = 100, BYTES = 900 };
    struct arena arena;
    uint8_t *blocks[COUNT];
    uint8_t *kept = NULL;
    size_t used = 0;

    arena_start(&arena, *state, SIZE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = arena_allocate(&arena, BYTES + (size_t)i % 7 * 100);
            memset(blocks[i], 8, BYTES);
        }
        if (round == 0) {
            kept = arena_allocate(&arena, 100);
            memset(kept, 7, 100);
            used = arena.used;
        }
        for (int i = 0; i < COUNT; i++)
            arena_free(&arena, blocks[i]);
        arena_release_idle_memory(&arena);
        assert_true(resident_pages(*state) <= 3);
        assert_true(is_all(kept, 7, 100));
        assert_true(arena.used <= used + BYTES);
    }
    arena_free(&arena, kept);
    arena_release_idle_memory(&arena);
    assert_int_equal(arena.used, 0);
}

/* Memory after the arena, in its last page, is left alone. */
static void test_release_only_of_own_memory(void **state)
{
    enum { OWN = SIZE - 2000 };
    struct arena arena;
    uint8_t *memory = *state;
    uint8_t *block;

    memset(memory + OWN, 9, SIZE - OWN);
    arena_start(&arena, memory, OWN);
    while (is_inside(block = arena_allocate(&arena, 400), memory))
        memset(block, 8, 400);
    arena_free(&arena, block);
    arena_clear(&arena);
    arena_release_idle_memory(&arena);
    assert_true(is_all(memory + OWN, 9, SIZE - OWN));
    while (is_inside(block = arena_allocate_zeroed(&arena, 1, 400), memory))
        assert_true(is_all(block, 0, 400));
    arena_free(&arena, block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_order, map_memory, unmap_memory),
        cmocka_unit_test(test_arena_without_memory),
        cmocka_unit_test_setup_teardown(test_freed_blocks_are_reused, map_memory, unmap_memory),
        cmocka_unit_test_setup_teardown(test_small_blocks_are_close, map_memory, unmap_memory),
        cmocka_unit_test_setup_teardown(test_malloc_if_it_does_not_fit, map_memory, unmap_memory),
        cmocka_unit_test_setup_teardown(test_zeroed_memory_is_not_touched, map_memory,
                                        unmap_memory),
        cmocka_unit_test_setup_teardown(test_release_of_free_pages, map_memory, unmap_memory),
        cmocka_unit_test_setup_teardown(test_release_with_table_and_buffer, map_memory,
                                        unmap_memory),
        cmocka_unit_test_setup_teardown(test_release_of_gaps, map_memory, unmap_memory),
        cmocka_unit_test_setup_teardown(test_release_only_of_own_memory, map_memory, unmap_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
