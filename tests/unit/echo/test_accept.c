/* Which media types an accept field names (RFC 9110 section 12.5.1). */
#include "echo/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#define TYPE         "application/vnd.h2echod+json"
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
    "text/html;t=\\\"," TYPE, /* outside of quotes a backslash escapes nothing, so the quote begins
                                 a string */
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
    struct span copy = copy_of(value);

    if (accept_names(copy, TYPE) != names)
        fail_msg("accept: %s", value);
    free((void *)copy.bytes);
}

static void test_accept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(naming); i++)
        check_accept(naming[i], true);
    for (size_t i = 0; i < COUNT(not_naming); i++)
        check_accept(not_naming[i], false);
}

/* Values are bytes: a NUL ends neither the value nor a type. */
static void test_accept_with_nul(void **state)
{
    static const uint8_t before[] = "\0," TYPE;
    static const uint8_t after[] = TYPE "\0";

    (void)state;
    assert_true(accept_names((struct span){before, sizeof(before) - 1}, TYPE));
    assert_false(accept_names((struct span){after, sizeof(after) - 1}, TYPE));
    assert_false(accept_names(span_of("\xff,\x80"), TYPE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_accept_with_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
