/* The body that echo composes is, byte for byte, the one of the model. */
#include "unit/echo/echo_model.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_fields(const struct field *fields, size_t count)
{
    for (int pretty = 0; pretty < 2; pretty++) {
        char *expected = model_body(fields, count, pretty);

        check_body(model_build(fields, count, pretty), expected);
        free(expected);
    }
    assert_int_equal(model_live_allocations, 0);
}

/* The example of h2echod(8), literally: it checks the model as well. */
static void test_shape(void **state)
{
    static const struct field fields[] = {
        FIELD(":method", "GET"),    FIELD(":path", "/"),
        FIELD(":scheme", "http"),   FIELD(":authority", "localhost:8080"),
        FIELD("cookie", "a=1"),     FIELD("accept", "*/*"),
        FIELD("x", "\xc3\xa4\"\\"), FIELD("cookie", "b=2"),
        FIELD("x", "\xe4"),
    };

    (void)state;
    check_body(model_build(fields, COUNT(fields), false),
               "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", "
               "\":authority\": \"localhost:8080\", \"cookie\": \"a=1; b=2\", "
               "\"accept\": \"*/*\", \"x\": \"\xc3\xa4\\\"\\\\, \xc3\xa4\"}");
    check_body(model_build(fields, 2, true), "{\n  \":method\": \"GET\",\n  \":path\": \"/\"\n}\n");
    check_fields(fields, COUNT(fields));
}

static const struct field lists[][LIST_MAX] = {
    {FIELD("a", "")},
    {FIELD("a", ""), FIELD("a", "")},
    {FIELD("a", ""), FIELD("b", "x"), FIELD("a", "")},
    {FIELD("a", "1"), FIELD("b", "2"), FIELD("a", "3"), FIELD("b", "4"), FIELD("a", "5")},
    {FIELD("a", "1"), FIELD("a", "2"), FIELD("b", "3")},
    {FIELD("cookie", "a"), FIELD("cookie", "b"), FIELD("cookie", "c")},
    {FIELD("cookie2", "a"), FIELD("cookie2", "b"), FIELD("cooki", "a"), FIELD("cooki", "b")},
    {FIELD("cookie", ""), FIELD("x", "y"), FIELD("cookie", "")},
    {FIELD("a", "\"\\/\t\x7f")},
    {FIELD("a", "\x01\x02\x08\x0c\x1f\n\r")},
    {FIELD("a", "x\0y")},
    {FIELD("a", "\x80")}, /* the first and last Latin-1 character for each lead byte */
    {FIELD("a", "\xbf\xc0\xff")},
    {FIELD("a", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")},
    {FIELD("a", "\xc3\xa4\xe4")},                 /* not UTF-8: the whole value is Latin-1 */
    {FIELD("a", "\xc3\xa4"), FIELD("a", "\xe4")}, /* but not the other value */
    {FIELD("a", "\xc3"), FIELD("a", "\xa4")},     /* joined values do not form a character */
    {FIELD("a", "\xc3")},                         /* truncated */
    {FIELD("a", "\xe2\x82")},
    {FIELD("a", "\xf0\x9f\x98")},
    {FIELD("a", "\xc0\xaf")}, /* overlong */
    {FIELD("a", "\xc1\xbf")},
    {FIELD("a", "\xe0\x80\xaf")},
    {FIELD("a", "\xf0\x80\x80\xaf")},
    {FIELD("a", "\xed\xa0\x80")}, /* surrogates */
    {FIELD("a", "\xed\xbf\xbf")},
    {FIELD("a", "\xed\x9f\xbf\xee\x80\x80")}, /* the code points next to the surrogates */
    {FIELD("a", "\xf4\x8f\xbf\xbf")},         /* the last code point, and one after it */
    {FIELD("a", "\xf4\x90\x80\x80")},
    {FIELD("a", "\xf8\x88\x80\x80\x80")},
    {FIELD("a", "\xef\xbb\xbf\xef\xbf\xbe\xe2\x80\xa8")},
    {FIELD("\"", "quoted"), FIELD("\\", "back"), FIELD("\"", "again")},
    {FIELD("\xe4", "latin-1"), FIELD("\xc3\xb6", "utf-8")},
    {FIELD("", "no name"), FIELD("", "twice")},
    {FIELD("ab", "1"), FIELD("a", "2"), FIELD("b", "3"), FIELD("abc", "4"), FIELD("ab", "5")},
};

static void test_fixed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lists); i++) {
        size_t count = 0;

        while (count < LIST_MAX && lists[i][count].name)
            count++;
        check_fields(lists[i], count);
    }
}

/* Every byte except NUL, alone and between others. */
static void test_every_byte(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        const char alone[] = {(char)byte};
        const char between[] = {'a', (char)byte, 'z'};
        const struct field fields[] = {
            {"x", alone, 1, 1}, {"y", between, 1, 3}, {"x", between, 1, 3}};

        check_fields(fields, COUNT(fields));
    }
}

/* Each byte in each place, of the bytes that are compared at once and of the rest. */
static void test_every_byte_everywhere(void **state)
{
    enum { LENGTH = 19 };

    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        for (size_t place = 0; place < LENGTH; place++) {
            char value[LENGTH];
            const struct field fields[] = {{"x", value, 1, LENGTH}, {value, "v", LENGTH, 1}};

            memset(value, '~', LENGTH);
            value[place] = (char)byte;
            check_fields(fields, COUNT(fields));
        }
    }
}

static void test_long(void **state)
{
    enum { LENGTH = 100000 };
    static const char fills[] = {'a', '"', '\x01', '\xff'};
    char *value = malloc(LENGTH);

    (void)state;
    assert_non_null(value);
    for (size_t i = 0; i < COUNT(fills); i++) {
        const struct field fields[] = {{"a", value, 1, LENGTH},   {"b", value, 1, 4000},
                                       {"a", value, 1, LENGTH},   {"c", value, 1, 511},
                                       {value, value, 300, 4096}, {"d", "", 1, 0}};

        memset(value, fills[i], LENGTH);
        check_fields(fields, COUNT(fields));
    }
    free(value);
}

/* As many names as a header list of 64 KiB can have, each of them twice. */
static void test_many(void **state)
{
    enum { NAMES = 1000 };
    static char names[NAMES][8];
    static struct field fields[2 * NAMES];

    (void)state;
    for (size_t i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "n%zu", i);
        fields[i] = (struct field){names[i], "v", strlen(names[i]), 1};
        fields[NAMES + i] = fields[i];
    }
    check_fields(fields, NAMES);
    check_fields(fields, 2 * NAMES);
}

static void test_random(void **state)
{
    uint64_t seed = UINT64_C(0x0123456789abcdef);

    (void)state;
    for (int round = 0; round < 4000; round++) {
        char values[LIST_MAX][VALUE_MAX];
        struct field fields[LIST_MAX];

        model_fill(fields, values, &seed);
        check_fields(fields, 1 + model_random(&seed) % LIST_MAX);
    }
}

static void test_empty(void **state)
{
    (void)state;
    check_body(model_build(NULL, 0, false), "{}");
}

/* Every one of jansson's allocations fails in turn: there is no body, or it is the right one. */
static void test_no_memory_in_jansson(void **state)
{
    static const struct field fields[] = {FIELD("a", "1"), FIELD("cookie", "\xff"),
                                          FIELD("a", "\xc3\xa4"), FIELD("cookie", "\"\x01\"")};
    char *expected = model_body(fields, COUNT(fields), false);
    struct echo_body *body = NULL;
    size_t n;

    (void)state;
    for (n = 0; !body; n++) {
        model_allocations_left = n;
        body = model_build(fields, COUNT(fields), false);
        model_allocations_left = SIZE_MAX;
        assert_int_equal(model_live_allocations, 0);
        assert_true(n < 1000);
    }
    check_body(body, expected);
    assert_true(n > COUNT(fields));
    free(expected);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_every_byte_everywhere),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_no_memory_in_jansson),
    };

    json_set_alloc_funcs(model_malloc, model_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
