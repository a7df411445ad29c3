/* Finding and copying fields of an echo, sharing its body, and recognizing a body. */
#include "unit/echo/echo_model.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Fields of an earlier request --- */

static const struct echo_field *find_by_name(const struct echo *echo, const struct field *of)
{
    for (size_t i = 0; i < echo->field_count; i++) {
        const struct echo_field *field = &echo->fields[i];

        if (field->key.name == of->name)
            return field;
    }
    return NULL;
}

static bool add_as_before(struct echo *echo, const struct echo *before, const struct field *field,
                          size_t place)
{
    struct echo_key key = model_key(field);
    const struct echo_field *same = echo_find(before, place, LIST_MAX, key);
    const struct echo_field *like = find_by_name(before, field);

    if (same != NULL)
        return echo_copy(echo, before, same);
    if (like != NULL)
        return echo_add_value(echo, before, like, key.value,
                              (struct span){(const uint8_t *)field->value, field->value_length});
    return model_add_to_echo(echo, field);
}

/* The body is the same if each field that ${before} has is copied from there, or only its name. */
static void check_copied(struct echo *echo, const struct echo *before, const struct field *fields,
                         size_t count, uint64_t *seed)
{
    char *expected = model_body(fields, count, before->pretty);

    for (size_t i = 0; i < count; i++) {
        assert_true(add_as_before(echo, before, &fields[i], model_random(seed) % (LIST_MAX / 2)));
    }
    assert_int_equal(echo->field_count, count);
    check_body(echo_compose(echo), expected);
    free(expected);
}

static void test_copied(void **state)
{
    uint64_t seed = 42;
    size_t found = 0;

    (void)state;
    for (int round = 0; round < 1000; round++) {
        char values[LIST_MAX][VALUE_MAX];
        struct field pool[LIST_MAX];
        struct echo echoes[2];

        model_fill(pool, values, &seed);
        echo_start(&echoes[0], &model_arena, round % 2);
        echo_start(&echoes[1], &model_arena, round % 2);
        for (int request = 0; request < 6; request++) {
            struct field fields[LIST_MAX];
            size_t count = 1 + model_random(&seed) % LIST_MAX;

            for (size_t i = 0; i < count; i++)
                fields[i] = pool[model_random(&seed) % LIST_MAX];
            echo_clear(&echoes[request % 2]);
            check_copied(&echoes[request % 2], &echoes[(request + 1) % 2], fields, count, &seed);
            found +=
                NULL != echo_find(&echoes[request % 2], 0, LIST_MAX, model_key(&fields[count - 1]));
        }
        echo_free(&echoes[0]);
        echo_free(&echoes[1]);
    }
    assert_int_equal(model_live_allocations, 0);
    assert_true(found > 5000);
}

/* A field is found by both parts of its key, and only among the places that are searched. */
static void test_find(void **state)
{
    static const struct field fields[] = {FIELD("a", "1"), FIELD("b", "2"), FIELD("c", "3")};
    const struct echo_key mixed = {(void *)fields[0].name, (void *)fields[1].value};
    struct echo echo;

    (void)state;
    echo_start(&echo, &model_arena, false);
    assert_null(echo_find(&echo, 0, COUNT(fields), mixed));
    for (size_t i = 0; i < COUNT(fields); i++)
        assert_true(model_add_to_echo(&echo, &fields[i]));
    for (size_t i = 0; i < COUNT(fields); i++)
        for (size_t place = 0; place < 2 * COUNT(fields); place++)
            for (size_t most = 0; most < 2 * COUNT(fields); most++)
                assert_ptr_equal(echo_find(&echo, place, most, model_key(&fields[i])),
                                 place <= i && i < place + most ? &echo.fields[i] : NULL);
    assert_null(echo_find(&echo, 0, COUNT(fields), mixed));
    echo_clear(&echo);
    assert_null(echo_find(&echo, 0, COUNT(fields), model_key(&fields[0])));
    echo_free(&echo);
}

/* --- Fields and bodies --- */

static bool has_name(const struct echo *echo, const char *name)
{
    return echo_has(echo, span_of(name));
}

static void test_has(void **state)
{
    static const struct field fields[] = {FIELD(":path", "/"), FIELD("expect", "x"),
                                          FIELD("a", "host"), FIELD("expect", "y")};
    struct echo echo;

    (void)state;
    echo_start(&echo, &model_arena, false);
    assert_false(has_name(&echo, "expect"));
    for (size_t i = 0; i < COUNT(fields); i++)
        assert_true(model_add_to_echo(&echo, &fields[i]));
    assert_true(has_name(&echo, ":path") && has_name(&echo, "expect") && has_name(&echo, "a"));
    assert_false(has_name(&echo, "host"));
    assert_false(has_name(&echo, "path"));
    assert_false(has_name(&echo, "expec"));
    assert_false(has_name(&echo, "expect2"));
    assert_false(has_name(&echo, ""));
    echo_free(&echo);
    assert_false(has_name(&echo, "expect"));
}

static void test_clear(void **state)
{
    static const struct field field = FIELD("a", "b");
    struct echo echo;

    (void)state;
    echo_start(&echo, &model_arena, false);
    for (int i = 0; i < 3; i++) {
        assert_true(model_add_to_echo(&echo, &field));
        assert_true(has_name(&echo, "a"));
        check_body(echo_compose(&echo), "{\"a\": \"b\"}");
        echo_clear(&echo);
        assert_false(has_name(&echo, "a"));
    }
    echo_free(&echo);
    assert_null(echo.text);
    assert_null(echo.fields);
    echo_free(&echo);
}

/* A shared body is valid until it has been dropped by each owner. */
static void test_shared(void **state)
{
    static const struct field field = FIELD("a", "b");
    struct echo_body *body = model_build(&field, 1, false);

    (void)state;
    assert_ptr_equal(echo_body_share(body), body);
    check_body(body, "{\"a\": \"b\"}");
    check_body(body, "{\"a\": \"b\"}");
    echo_body_drop(&model_arena, NULL);
}

/* --- Bodies of a server --- */

static bool answers_path(const char *text, const char *path)
{
    return echo_answers_path(text, strlen(text), path);
}

static void test_answers_path(void **state)
{
    static const struct field fields[] = {FIELD(":method", "GET"), FIELD(":path", "/a\"b"),
                                          FIELD("x", "\xff")};
    static const char *const others[] = {
        "",
        "{}",
        "[]",
        "\":path\"",
        "null",
        "{\":path\": 1}",
        "{\":path\": null}",
        "{\":path\": \"/x\"}",
        "{\":path\": \"/\"",
        "{\":path\": \"/\"}}",
        "{\":path\": \"/\", \":path\": \"/\"}",
        "{\"a\": {\":path\": \"/\"}}",
        "[{\":path\": \"/\"}]",
        "{\":path\": \"/\", \"x\": \"\xff\"}",
        "{\":path\": \"/\", \"x\": \"\n\"}",
    };

    (void)state;
    for (int pretty = 0; pretty < 2; pretty++) {
        struct echo_body *body = model_build(fields, COUNT(fields), pretty);

        assert_true(echo_answers_path(body->text, body->length, "/a\"b"));
        assert_false(echo_answers_path(body->text, body->length, "/a"));
        assert_false(echo_answers_path(body->text, body->length - 2, "/a\"b"));
        echo_body_drop(&model_arena, body);
    }
    assert_true(answers_path(" {\":path\": \"\\u002f\", \"more\": [1, {}]} ", "/"));
    for (size_t i = 0; i < COUNT(others); i++) {
        errno = ENOMEM;
        if (answers_path(others[i], "/"))
            fail_msg("%s is taken for the body of an echo", others[i]);
        assert_int_equal(errno, 0);
    }
}

/* A lack of memory is not mistaken for a wrong body. */
static void test_answers_path_without_memory(void **state)
{
    bool is_same = false;
    size_t n;

    (void)state;
    for (n = 0; !is_same; n++) {
        model_allocations_left = n;
        is_same = answers_path("{\":method\": \"GET\", \":path\": \"/\"}", "/");
        model_allocations_left = SIZE_MAX;
        assert_true(is_same || errno == ENOMEM);
        assert_int_equal(model_live_allocations, 0);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
}

static void test_library(void **state)
{
    (void)state;
    assert_string_equal(echo_library(), jansson_version_str());
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copied),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_answers_path),
        cmocka_unit_test(test_answers_path_without_memory),
        cmocka_unit_test(test_library),
    };

    json_set_alloc_funcs(model_malloc, model_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
