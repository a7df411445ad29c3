/* Linked into every program of C tests: runs only the tests that H2ECHOD_TEST_FILTER names, a
 * pattern with * and ?, where tests/run.py sets it. */
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
