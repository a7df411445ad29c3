/* Spans of bytes, and the parts of a field's value: tokens, members, parameters. */
#include "base/structured.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef bool next_fn(struct span *rest, struct span *part);

static void check_parts(next_fn *next, const char *value, const char *const *parts)
{
    struct span rest = span_of(value);
    struct span part;

    for (; *parts != NULL; parts++) {
        if (!next(&rest, &part) || !span_is(part, *parts))
            fail_msg("%s: expected part \"%s\", got \"%.*s\"", value, *parts, (int)part.length,
                     (const char *)part.bytes);
    }
    assert_false(next(&rest, &part));
    assert_int_equal(rest.length, 0);
}

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_members(void **state)
{
    (void)state;
    check_parts(structured_next_member, "", (const char *const[]){NULL});
    check_parts(structured_next_member, "a", PARTS("a"));
    check_parts(structured_next_member, "a,b;c=1", PARTS("a", "b;c=1"));
    check_parts(structured_next_member, " \ta b\t,\t c ", PARTS("a b", "c"));
    check_parts(structured_next_member, ",a,,", PARTS("", "a", ""));
    check_parts(structured_next_member, "a=\"b,c\",d", PARTS("a=\"b,c\"", "d"));
    check_parts(structured_next_member, "\"a\\\",b\",c", PARTS("\"a\\\",b\"", "c"));
    check_parts(structured_next_member, "\"a,b", PARTS("\"a,b"));
    check_parts(structured_next_member, "\"a\\", PARTS("\"a\\"));
    check_parts(structured_next_member, "a\\,b", PARTS("a\\", "b"));
}

static void test_parts_of_a_member(void **state)
{
    (void)state;
    check_parts(structured_next_part, "a", PARTS("a"));
    check_parts(structured_next_part, "a ; b=1;\tc=\";\" ;;d",
                PARTS("a", "b=1", "c=\";\"", "", "d"));
    check_parts(structured_next_part, "a,b;c", PARTS("a,b", "c"));
}

static void test_tokens(void **state)
{
    static const char tchars[] = "!#$%&'*+-.^_`|~09AZaz";

    (void)state;
    assert_true(structured_is_token(span_of(tchars)));
    assert_false(structured_is_token(span_of("")));
    for (unsigned byte = 0; byte < 256; byte++) {
        bool is_alphanumeric = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                               (byte >= 'a' && byte <= 'z');
        bool expected = is_alphanumeric || (byte != 0 && strchr(tchars, (int)byte) != NULL);
        const uint8_t token[] = {'a', (uint8_t)byte};

        assert_int_equal(structured_is_tchar((uint8_t)byte), expected);
        assert_int_equal(structured_is_token((struct span){token, 2}), expected);
    }
}

static void test_comparisons(void **state)
{
    (void)state;
    assert_true(span_is(span_of("abc"), "abc"));
    assert_false(span_is(span_of("abc"), "ab"));
    assert_false(span_is(span_of("ab"), "abc"));
    assert_false(span_is(span_of("abc"), "Abc"));
    assert_true(span_is_ignoring_case(span_of("aBc"), "AbC"));
    assert_false(span_is_ignoring_case(span_of("abc"), "abd"));
    assert_false(span_same_ignoring_case(span_of("abc"), span_of("abcd")));
}

static void test_take_until(void **state)
{
    struct span rest = span_of("a b ");

    (void)state;
    assert_true(span_is(span_take_until(&rest, ' '), "a"));
    assert_true(span_is(span_take_until(&rest, ' '), "b"));
    assert_int_equal(rest.length, 0);
    rest = span_of("ab");
    assert_true(span_is(span_take_until(&rest, ' '), "ab"));
    assert_int_equal(rest.length, 0);
    assert_int_equal(span_take_until(&rest, ' ').length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),    cmocka_unit_test(test_parts_of_a_member),
        cmocka_unit_test(test_tokens),     cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_take_until),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
