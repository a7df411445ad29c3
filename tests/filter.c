/*
 * Linked into every C test program. If H2ECHOD_TEST_FILTER is set, as tests/run.py does, only tests
 * whose names match that pattern run; * and ? are those of the shell.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void set_filter(void)
{
    const char *pattern = getenv("H2ECHOD_TEST_FILTER");

    if (pattern != NULL)
        cmocka_set_test_filter(pattern);
}
