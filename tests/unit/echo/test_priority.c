/* What a priority field asks for (RFC 9218 section 4). */
#include "echo/priority.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ${text} without its NUL, alone on the heap: AddressSanitizer reports a read past its end. */
static struct span copy_of(const char *text)
{
    size_t length = strlen(text);
    uint8_t *bytes = malloc(length);

    assert_non_null(bytes);
    memcpy(bytes, text, length);
    return (struct span){bytes, length};
}

struct row {
    const char *value;
    int urgency;
    bool incremental;
};

/* Before each of them the priority is u=5, i. */
static const struct row rows[] = {
    {"", 5, true},
    {" ", 5, true},
    {"u=0", 0, true},
    {"u=1", 1, true},
    {"u=3", 3, true},
    {"u=7", 7, true},
    {"u=8", 5, true},
    {"u=9", 5, true},
    {"u=-1", 5, true},
    {"u=10", 5, true},
    {"u=", 5, true},
    {"u", 5, true},
    {"u=1.0", 5, true},
    {"u=\"1\"", 5, true},
    {"u = 1", 5, true},
    {"U=1", 5, true},
    {"uu=1", 5, true},
    {"u=/", 5, true},
    {"u=:", 5, true},
    {"i", 5, true},
    {"i=?1", 5, true},
    {"i=?0", 5, false},
    {"i=?2", 5, true},
    {"i=0", 5, true},
    {"i=false", 5, true},
    {"I=?0", 5, true},
    {"i=?0, i", 5, true},
    {"i, i=?0", 5, false},
    {"i=?0, i=?1", 5, true},
    {"u=1, i=?0", 1, false},
    {"i=?0,u=1", 1, false},
    {"\ti=?0 ,\tu=1 ", 1, false},
    {"u=1, u=2", 2, true},
    {"u=2;x", 2, true},
    {"u=2;x=\",u=7\"", 2, true},
    {"u=2 ;x", 2, true},
    {"i=?0;x=1", 5, false},
    {"x=\",u=1,i=?0\"", 5, true},
    {"x=\"\\\",u=1\"", 5, true},
    {"x, u=1", 1, true},
    {"x=(a b), u=1", 1, true},
    {",u=1", 1, true},
    {"u=1,", 1, true},
    {";u=1", 5, true},
    {"\"", 5, true},
    {"u=1\"", 5, true},
};

static void test_priority(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct priority priority = {.urgency = 5, .incremental = true};
        struct span copy = copy_of(rows[i].value);

        priority_parse(copy, &priority);
        if (priority.urgency != rows[i].urgency || priority.incremental != rows[i].incremental)
            fail_msg("priority: %s: u=%d, i=%d", rows[i].value, priority.urgency,
                     priority.incremental);
        free((void *)copy.bytes);
    }
}

static void test_priority_becomes_incremental(void **state)
{
    struct priority priority = PRIORITY_DEFAULT;

    (void)state;
    priority_parse(span_of("i"), &priority);
    assert_true(priority.incremental);
    assert_int_equal(priority.urgency, 3);
    priority.incremental = false;
    priority_parse(span_of("i=?1"), &priority);
    assert_true(priority.incremental);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_priority_becomes_incremental),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
