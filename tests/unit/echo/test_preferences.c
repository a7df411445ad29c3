/* What accept and priority fields ask for (RFC 9110 section 12.5.1, RFC 9218 section 4). */
#include "echo/preferences.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define TYPE         "application/vnd.h2echod+json"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The bytes alone on the heap, so that reading past their end is seen. */
static uint8_t *copy_of(const char *text)
{
    uint8_t *bytes = malloc(strlen(text));

    assert_non_null(bytes);
    memcpy(bytes, text, strlen(text));
    return bytes;
}

/* --- accept --- */

static const char *const naming[] = {
    TYPE,
    "APPLICATION/vnd.H2echod+JSON",
    " \t" TYPE "\t ",
    "*/*," TYPE,
    "text/html, " TYPE ", */*",
    "text/html," TYPE,
    "," TYPE,
    " , ,," TYPE ",,",
    TYPE ",",
    TYPE ";q=1",
    TYPE ";q=0.1",
    TYPE ";q=0.001",
    TYPE ";q=1.000",
    TYPE ";Q=0.5",
    TYPE " ; q=0.5",
    TYPE "\t;\tq=0.5",
    TYPE ";",
    TYPE ";;",
    TYPE ";v=0",
    TYPE ";v=\"q=0\"",
    TYPE ";v=\";q=0\"",
    TYPE ";v=\"\\\";q=0\"",
    TYPE ";v=\",\";q=0.3",
    TYPE ";qq=0",
    TYPE ";q",
    TYPE ";q=",
    TYPE ";q=x",
    TYPE ";q=0, " TYPE,
    TYPE ", " TYPE ";q=0",
    "text/html;t=\"a,b\\\"c\"," TYPE,
    "text/html;t=\"a\\\\\"," TYPE,
    "text/html;q=0," TYPE,
    "*/*;q=0, " TYPE ";q=0.1",
    "=,;=,/," TYPE,
};

static const char *const not_naming[] = {
    "",
    " ",
    ",",
    ";",
    "*/*",
    "application/*",
    "application/vnd.*",
    "*/vnd.h2echod+json",
    "application/json",
    "application/vnd.h2echod+jso",
    "application/vnd.h2echod+json5",
    "xapplication/vnd.h2echod+json",
    "application/vnd.h2echod",
    "application /vnd.h2echod+json",
    "application/ vnd.h2echod+json",
    "text/html;t=" TYPE,
    "text/html;" TYPE,
    "\"" TYPE "\"",
    "text/html;t=\"," TYPE "\"",
    "text/html;t=\"\\\"," TYPE "\"",
    "text/html;t=\"," TYPE,
    "text/html;t=\"\\",
    "text/html;t=\\\"," TYPE, /* outside quotes a backslash is nothing: this one opens them */
    "text/html " TYPE,
    TYPE " text/html",
    TYPE ";q=0",
    TYPE ";Q=0",
    TYPE ";q=0.",
    TYPE ";q=0.0",
    TYPE ";q=0.000",
    TYPE " ; q=0",
    TYPE ";v=1;q=0",
    TYPE ";q=0;v=1",
    TYPE ";v=\"x\";q=0",
    TYPE ";v=\"\\\"\";q=0",
    TYPE ";q=0, */*",
};

static void check_accept(const char *value, bool names)
{
    uint8_t *bytes = copy_of(value);

    if (accept_names(bytes, strlen(value), TYPE) != names)
        fail_msg("accept: %s", value);
    free(bytes);
}

static void test_accept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(naming); i++)
        check_accept(naming[i], true);
    for (size_t i = 0; i < COUNT(not_naming); i++)
        check_accept(not_naming[i], false);
}

/* A NUL ends neither the value nor a type. */
static void test_accept_has_bytes(void **state)
{
    static const uint8_t before[] = "\0," TYPE;
    static const uint8_t behind[] = TYPE "\0";

    (void)state;
    assert_true(accept_names(before, sizeof(before) - 1, TYPE));
    assert_false(accept_names(behind, sizeof(behind) - 1, TYPE));
    assert_false(accept_names((const uint8_t *)"\xff,\x80", 3, TYPE));
}

/* --- priority --- */

struct row {
    const char *value;
    int urgency;
    bool incremental;
};

/* What was said before: u=5, i. */
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
        uint8_t *bytes = copy_of(rows[i].value);

        priority_parse(bytes, strlen(rows[i].value), &priority);
        if (priority.urgency != rows[i].urgency || priority.incremental != rows[i].incremental)
            fail_msg("priority: %s: u=%d, i=%d", rows[i].value, priority.urgency,
                     priority.incremental);
        free(bytes);
    }
}

static void test_priority_begins_incremental(void **state)
{
    struct priority priority = {.urgency = 3};

    (void)state;
    priority_parse((const uint8_t *)"i", 1, &priority);
    assert_true(priority.incremental);
    assert_int_equal(priority.urgency, 3);
    priority.incremental = false;
    priority_parse((const uint8_t *)"i=?1", 4, &priority);
    assert_true(priority.incremental);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_accept_has_bytes),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_priority_begins_incremental),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
