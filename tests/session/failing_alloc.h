/*
 * failing_alloc: allocations that fail on request, and a count of the blocks in use.
 *
 * The linker's --wrap redirects the malloc, calloc, realloc and free of our own objects here.
 * nghttp2 allocates through our objects, jansson after failing_alloc_init.
 */
#ifndef H2ECHOD_TESTS_SESSION_FAILING_ALLOC_H
#define H2ECHOD_TESTS_SESSION_FAILING_ALLOC_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum failing_mode { FAIL_ONCE, FAIL_FROM_THEN_ON };

struct failing_alloc {
    size_t left; /* allocations that succeed before one fails; SIZE_MAX = none fails */
    enum failing_mode mode;
    bool failed; /* an allocation has failed */
    size_t live; /* blocks in use */
};

extern struct failing_alloc failing;

/* An arena without memory of its own: each of its blocks comes from malloc. */
extern struct arena malloc_arena;

/* Redirect jansson's allocations. Call it before the first test. */
void failing_alloc_init(void);

#endif
