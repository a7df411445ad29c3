/*
 * alloc: makes chosen allocations of src/config fail: those with calloc, reallocarray and strdup.
 */
#ifndef H2ECHOD_TESTS_UNIT_CONFIG_ALLOC_H
#define H2ECHOD_TESTS_UNIT_CONFIG_ALLOC_H

#include <stdbool.h>

/* Let the next ${count} allocations succeed and the one after them fail, and all later ones too if
 * ${all_later}. */
void alloc_fail_after(int count, bool all_later);

/* Let all allocations succeed. */
void alloc_succeed(void);

/* Return true if an allocation has failed since alloc_fail_after. */
bool alloc_has_failed(void);

#endif
