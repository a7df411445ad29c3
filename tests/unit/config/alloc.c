#include "unit/config/alloc.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int allocations_until_failure = -1; /* -1 = none fails */
static bool all_later_fail;
static bool has_failed;

void alloc_fail_after(int count, bool all_later)
{
    allocations_until_failure = count;
    all_later_fail = all_later;
    has_failed = false;
}

void alloc_succeed(void)
{
    allocations_until_failure = -1;
}

bool alloc_has_failed(void)
{
    return has_failed;
}

static bool fails_now(void)
{
    if (allocations_until_failure < 0)
        return false;
    if (allocations_until_failure > 0) {
        allocations_until_failure--;
        return false;
    }
    if (!all_later_fail)
        allocations_until_failure = -1;
    has_failed = true;
    return true;
}

/* These replace libc's functions in the whole program. */

void *calloc(size_t count, size_t size)
{
    void *memory = NULL;

    /* Not malloc: the compiler turns malloc and memset into a call of calloc, this function. */
    if (fails_now() || posix_memalign(&memory, _Alignof(max_align_t), count * size) != 0)
        return NULL;
    return memset(memory, 0, count * size);
}

void *reallocarray(void *memory, size_t count, size_t size)
{
    return fails_now() ? NULL : realloc(memory, count * size);
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = fails_now() ? NULL : realloc(NULL, size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}
