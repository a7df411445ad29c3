/* echo: every body byte for byte against a model that builds a jansson object and dumps it. */
#include "base/arena.h"
#include "echo/echo.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A field, or the end of a list of them, which has no name. */
struct field {
    const char *name;
    const char *value;
    size_t name_length;
    size_t value_length;
};

/* clang-format off */
#define FIELD(name, value) {(name), (value), sizeof(name) - 1, sizeof(value) - 1}
/* clang-format on */

enum { LIST_MAX = 12 };

/* --- jansson's memory, which a test can have run out --- */

static size_t allocations_left = SIZE_MAX; /* until one fails */
static size_t live_allocations;

static void *counted_malloc(size_t size)
{
    void *memory;

    if (allocations_left == 0) {
        errno = ENOMEM;
        return NULL;
    }
    memory = malloc(size);
    assert_non_null(memory);
    allocations_left--;
    live_allocations++;
    return memory;
}

static void counted_free(void *memory)
{
    if (memory)
        live_allocations--;
    free(memory);
}

/* --- The model --- */

/* The bytes as a jansson string: UTF-8 if jansson takes them for that, else Latin-1. */
static json_t *model_string(const char *bytes, size_t length)
{
    json_t *string = json_stringn(bytes, length);
    char *utf8;
    size_t used = 0;

    if (string)
        return string;
    utf8 = malloc(2 * length + 1);
    assert_non_null(utf8);
    for (size_t i = 0; i < length; i++) {
        unsigned c = (unsigned char)bytes[i];

        if (c >= 0x80)
            utf8[used++] = (char)(c < 0xc0 ? 0xc2 : 0xc3);
        utf8[used++] = (char)(c < 0xc0 ? c : c - 0x40);
    }
    string = json_stringn(utf8, used);
    assert_non_null(string);
    free(utf8);
    return string;
}

/* ${old}, ${separator} and ${more} as one string. */
static json_t *model_join(const json_t *old, const char *separator, const json_t *more)
{
    size_t length = json_string_length(old) + strlen(separator) + json_string_length(more);
    char *joined = malloc(length + 1);
    json_t *string;
    size_t at = json_string_length(old);

    assert_non_null(joined);
    memcpy(joined, json_string_value(old), at);
    memcpy(joined + at, separator, strlen(separator));
    at += strlen(separator);
    memcpy(joined + at, json_string_value(more), json_string_length(more));
    string = json_stringn(joined, length);
    assert_non_null(string);
    free(joined);
    return string;
}

static void model_add(json_t *object, const struct field *field)
{
    json_t *name = model_string(field->name, field->name_length);
    json_t *value = model_string(field->value, field->value_length);
    const char *key = json_string_value(name);
    const json_t *old = json_object_getn(object, key, json_string_length(name));

    if (old) {
        json_t *joined = model_join(old, strcmp(key, "cookie") == 0 ? "; " : ", ", value);

        json_decref(value);
        value = joined;
    }
    assert_int_equal(json_object_setn_new(object, key, json_string_length(name), value), 0);
    json_decref(name);
}

/* Return the body; free it with free. */
static char *model_body(const struct field *fields, size_t count, bool pretty)
{
    json_t *object = json_object();
    char *dump;
    char *body;

    assert_non_null(object);
    for (size_t i = 0; i < count; i++)
        model_add(object, &fields[i]);
    dump = json_dumps(object, pretty ? JSON_PRESERVE_ORDER | JSON_INDENT(2) : JSON_PRESERVE_ORDER);
    assert_non_null(dump);
    body = malloc(strlen(dump) + 2);
    assert_non_null(body);
    snprintf(body, strlen(dump) + 2, "%s%s", dump, pretty ? "\n" : "");
    counted_free(dump);
    json_decref(object);
    return body;
}

/* --- echo against it --- */

static struct echo_key key_of(const struct field *field)
{
    return (struct echo_key){(void *)field->name, (void *)field->value};
}

static bool add(struct echo *echo, const struct field *field)
{
    return echo_add(echo, key_of(field), (const uint8_t *)field->name, field->name_length,
                    (const uint8_t *)field->value, field->value_length);
}

static bool has(const struct echo *echo, const char *name)
{
    return echo_has(echo, (const uint8_t *)name, strlen(name));
}

static struct arena arena; /* of no memory: what is allocated is counted */

/* Return the body, NULL if memory ran out. */
static struct echo_body *build(const struct field *fields, size_t count, bool pretty)
{
    struct echo_body *body = NULL;
    bool built = true;
    struct echo echo;

    echo_start(&echo, &arena, pretty);
    for (size_t i = 0; built && i < count; i++)
        built = add(&echo, &fields[i]);
    if (built)
        body = echo_compose(&echo);
    echo_free(&echo);
    return body;
}

/* The body is as expected, and dropped. */
static void check_body(struct echo_body *body, const char *expected)
{
    assert_non_null(body);
    if (body->length != strlen(expected) || memcmp(body->text, expected, body->length) != 0)
        fail_msg("body:\n%.*s\nmodel:\n%s", (int)body->length, body->text, expected);
    echo_body_drop(&arena, body);
}

static void check(const struct field *fields, size_t count)
{
    for (int pretty = 0; pretty < 2; pretty++) {
        char *expected = model_body(fields, count, pretty);

        check_body(build(fields, count, pretty), expected);
        free(expected);
    }
    assert_int_equal(live_allocations, 0);
}

/* The manual's example, spelled out: the model has to be right as well. */
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
    check_body(build(fields, COUNT(fields), false),
               "{\":method\": \"GET\", \":path\": \"/\", \":scheme\": \"http\", "
               "\":authority\": \"localhost:8080\", \"cookie\": \"a=1; b=2\", "
               "\"accept\": \"*/*\", \"x\": \"\xc3\xa4\\\"\\\\, \xc3\xa4\"}");
    check_body(build(fields, 2, true), "{\n  \":method\": \"GET\",\n  \":path\": \"/\"\n}\n");
    check(fields, COUNT(fields));
}

static void test_fixed(void **state)
{
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
        {FIELD("a", "\x80")}, /* Latin-1's first and last of each lead */
        {FIELD("a", "\xbf\xc0\xff")},
        {FIELD("a", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")},
        {FIELD("a", "\xc3\xa4\xe4")},                 /* one byte makes all of it Latin-1 */
        {FIELD("a", "\xc3\xa4"), FIELD("a", "\xe4")}, /* but each value by itself */
        {FIELD("a", "\xc3"), FIELD("a", "\xa4")},     /* the join makes no character */
        {FIELD("a", "\xc3")},                         /* truncated */
        {FIELD("a", "\xe2\x82")},
        {FIELD("a", "\xf0\x9f\x98")},
        {FIELD("a", "\xc0\xaf")}, /* overlong */
        {FIELD("a", "\xc1\xbf")},
        {FIELD("a", "\xe0\x80\xaf")},
        {FIELD("a", "\xf0\x80\x80\xaf")},
        {FIELD("a", "\xed\xa0\x80")}, /* surrogates */
        {FIELD("a", "\xed\xbf\xbf")},
        {FIELD("a", "\xed\x9f\xbf\xee\x80\x80")}, /* their neighbours */
        {FIELD("a", "\xf4\x8f\xbf\xbf")},         /* the last code point, and one past it */
        {FIELD("a", "\xf4\x90\x80\x80")},
        {FIELD("a", "\xf8\x88\x80\x80\x80")},
        {FIELD("a", "\xef\xbb\xbf\xef\xbf\xbe\xe2\x80\xa8")},
        {FIELD("\"", "quoted"), FIELD("\\", "back"), FIELD("\"", "again")},
        {FIELD("\xe4", "latin-1"), FIELD("\xc3\xb6", "utf-8")},
        {FIELD("", "no name"), FIELD("", "twice")},
        {FIELD("ab", "1"), FIELD("a", "2"), FIELD("b", "3"), FIELD("abc", "4"), FIELD("ab", "5")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(lists); i++) {
        size_t count = 0;

        while (count < LIST_MAX && lists[i][count].name)
            count++;
        check(lists[i], count);
    }
}

/* Every byte that HTTP/2 lets through in a value, alone and between others. */
static void test_every_byte(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        const char alone[] = {(char)byte};
        const char between[] = {'a', (char)byte, 'z'};
        const struct field fields[] = {
            {"x", alone, 1, 1}, {"y", between, 1, 3}, {"x", between, 1, 3}};

        check(fields, COUNT(fields));
    }
}

/* Whatever is looked at at once: each byte in each place of it, and of what is left over. */
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
            check(fields, COUNT(fields));
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
        check(fields, COUNT(fields));
    }
    free(value);
}

/* As many names as a header list of 64 KiB can have, each twice. */
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
    check(fields, NAMES);
    check(fields, 2 * NAMES);
}

static uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* A byte of a value: now and then one of those that UTF-8 or JSON cares about. */
static char random_byte(uint64_t *seed)
{
    static const char special[] = "\"\\/\t \x7f\x80\xbf\xc2\xc3\xe2\x82\xac\xed\xa0\xf0\x9f\xf4";
    uint64_t number = random_next(seed);

    switch (number >> 8 & 3) {
    case 0:
        return special[number % (sizeof(special) - 1)];
    case 1:
        return (char)(number & 0xff ? number & 0xff : 0x80);
    default:
        return (char)(' ' + number % 95);
    }
}

/* Fields of names that come again. */
static void fill(struct field fields[static LIST_MAX], char values[static LIST_MAX][40],
                 uint64_t *seed)
{
    static const char *const names[] = {":method", ":path", "cookie", "a", "b", "x-y", "accept"};

    for (size_t i = 0; i < LIST_MAX; i++) {
        const char *name = names[random_next(seed) % COUNT(names)];
        size_t length = random_next(seed) % sizeof(values[i]);

        for (size_t at = 0; at < length; at++)
            values[i][at] = random_byte(seed);
        fields[i] = (struct field){name, values[i], strlen(name), length};
    }
}

static void test_random(void **state)
{
    uint64_t seed = UINT64_C(0x0123456789abcdef);

    (void)state;
    for (int round = 0; round < 4000; round++) {
        char values[LIST_MAX][40];
        struct field fields[LIST_MAX];

        fill(fields, values, &seed);
        check(fields, 1 + random_next(&seed) % LIST_MAX);
    }
}

/* --- What was encoded before --- */

static const struct echo_field *find_namesake(const struct echo *echo, const struct field *of)
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
    struct echo_key key = key_of(field);
    const struct echo_field *same = echo_find(before, place, LIST_MAX, key);
    const struct echo_field *like = find_namesake(before, field);

    if (same != NULL)
        return echo_copy(echo, before, same);
    if (like != NULL)
        return echo_add_value(echo, before, like, key.value, (const uint8_t *)field->value,
                              field->value_length);
    return add(echo, field);
}

/* The body of ${fields} is the same if each that ${before} has is copied from there, or its name.
 */
static void check_copied(struct echo *echo, const struct echo *before, const struct field *fields,
                         size_t count, uint64_t *seed)
{
    char *expected = model_body(fields, count, before->pretty);

    for (size_t i = 0; i < count; i++) {
        assert_true(add_as_before(echo, before, &fields[i], random_next(seed) % (LIST_MAX / 2)));
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
        char values[LIST_MAX][40];
        struct field pool[LIST_MAX];
        struct echo echoes[2];

        fill(pool, values, &seed);
        echo_start(&echoes[0], &arena, round % 2);
        echo_start(&echoes[1], &arena, round % 2);
        for (int request = 0; request < 6; request++) {
            struct field fields[LIST_MAX];
            size_t count = 1 + random_next(&seed) % LIST_MAX;

            for (size_t i = 0; i < count; i++)
                fields[i] = pool[random_next(&seed) % LIST_MAX];
            echo_clear(&echoes[request % 2]);
            check_copied(&echoes[request % 2], &echoes[(request + 1) % 2], fields, count, &seed);
            found +=
                NULL != echo_find(&echoes[request % 2], 0, LIST_MAX, key_of(&fields[count - 1]));
        }
        echo_free(&echoes[0]);
        echo_free(&echoes[1]);
    }
    assert_int_equal(live_allocations, 0);
    assert_true(found > 5000);
}

/* Only the key says what is the same, and both parts of it; only the places that are named are
 * looked at. */
static void test_find(void **state)
{
    static const struct field fields[] = {FIELD("a", "1"), FIELD("b", "2"), FIELD("c", "3")};
    const struct echo_key mixed = {(void *)fields[0].name, (void *)fields[1].value};
    struct echo echo;

    (void)state;
    echo_start(&echo, &arena, false);
    assert_null(echo_find(&echo, 0, COUNT(fields), mixed));
    for (size_t i = 0; i < COUNT(fields); i++)
        assert_true(add(&echo, &fields[i]));
    for (size_t i = 0; i < COUNT(fields); i++)
        for (size_t place = 0; place < 2 * COUNT(fields); place++)
            for (size_t most = 0; most < 2 * COUNT(fields); most++)
                assert_ptr_equal(echo_find(&echo, place, most, key_of(&fields[i])),
                                 place <= i && i < place + most ? &echo.fields[i] : NULL);
    assert_null(echo_find(&echo, 0, COUNT(fields), mixed));
    echo_clear(&echo);
    assert_null(echo_find(&echo, 0, COUNT(fields), key_of(&fields[0])));
    echo_free(&echo);
}

/* Who shares a body has it until he drops it. */
static void test_shared(void **state)
{
    static const struct field field = FIELD("a", "b");
    struct echo_body *body = build(&field, 1, false);

    (void)state;
    assert_ptr_equal(echo_body_share(body), body);
    check_body(body, "{\"a\": \"b\"}");
    check_body(body, "{\"a\": \"b\"}");
    echo_body_drop(&arena, NULL);
}

static void test_empty(void **state)
{
    (void)state;
    check_body(build(NULL, 0, false), "{}");
}

static void test_has(void **state)
{
    static const struct field fields[] = {FIELD(":path", "/"), FIELD("expect", "x"),
                                          FIELD("a", "host"), FIELD("expect", "y")};
    struct echo echo;

    (void)state;
    echo_start(&echo, &arena, false);
    assert_false(has(&echo, "expect"));
    for (size_t i = 0; i < COUNT(fields); i++)
        assert_true(add(&echo, &fields[i]));
    assert_true(has(&echo, ":path") && has(&echo, "expect") && has(&echo, "a"));
    assert_false(has(&echo, "host"));
    assert_false(has(&echo, "path"));
    assert_false(has(&echo, "expec"));
    assert_false(has(&echo, "expect2"));
    assert_false(has(&echo, ""));
    echo_free(&echo);
    assert_false(has(&echo, "expect"));
}

static void test_clear(void **state)
{
    static const struct field field = FIELD("a", "b");
    struct echo echo;

    (void)state;
    echo_start(&echo, &arena, false);
    for (int i = 0; i < 3; i++) {
        assert_true(add(&echo, &field));
        assert_true(has(&echo, "a"));
        check_body(echo_compose(&echo), "{\"a\": \"b\"}");
        echo_clear(&echo);
        assert_false(has(&echo, "a"));
    }
    echo_free(&echo);
    assert_null(echo.text);
    assert_null(echo.fields);
    echo_free(&echo);
}

/* jansson's n-th allocation fails, for every n: no other body than the right one comes of it. */
static void test_no_memory_in_jansson(void **state)
{
    static const struct field fields[] = {FIELD("a", "1"), FIELD("cookie", "\xff"),
                                          FIELD("a", "\xc3\xa4"), FIELD("cookie", "\"\x01\"")};
    char *expected = model_body(fields, COUNT(fields), false);
    struct echo_body *body = NULL;
    size_t n;

    (void)state;
    for (n = 0; !body; n++) {
        allocations_left = n;
        body = build(fields, COUNT(fields), false);
        allocations_left = SIZE_MAX;
        assert_int_equal(live_allocations, 0);
        assert_true(n < 1000);
    }
    check_body(body, expected);
    assert_true(n > COUNT(fields));
    free(expected);
}

static bool is_of(const char *text, const char *path)
{
    return echo_answers_path(text, strlen(text), path);
}

static void test_is_of(void **state)
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
        struct echo_body *body = build(fields, COUNT(fields), pretty);

        assert_true(echo_answers_path(body->text, body->length, "/a\"b"));
        assert_false(echo_answers_path(body->text, body->length, "/a"));
        assert_false(echo_answers_path(body->text, body->length - 2, "/a\"b"));
        echo_body_drop(&arena, body);
    }
    assert_true(is_of(" {\":path\": \"\\u002f\", \"more\": [1, {}]} ", "/"));
    for (size_t i = 0; i < COUNT(others); i++) {
        errno = ENOMEM;
        if (is_of(others[i], "/"))
            fail_msg("%s is taken for an echo", others[i]);
        assert_int_equal(errno, 0);
    }
}

/* That memory ran out is not taken for a wrong body. */
static void test_is_of_without_memory(void **state)
{
    bool is_same = false;
    size_t n;

    (void)state;
    for (n = 0; !is_same; n++) {
        allocations_left = n;
        is_same = is_of("{\":method\": \"GET\", \":path\": \"/\"}", "/");
        allocations_left = SIZE_MAX;
        assert_true(is_same || errno == ENOMEM);
        assert_int_equal(live_allocations, 0);
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
        cmocka_unit_test(test_shape),      cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_every_byte_everywhere),
        cmocka_unit_test(test_long),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_random),     cmocka_unit_test(test_empty),
        cmocka_unit_test(test_has),        cmocka_unit_test(test_copied),
        cmocka_unit_test(test_find),       cmocka_unit_test(test_shared),
        cmocka_unit_test(test_clear),      cmocka_unit_test(test_no_memory_in_jansson),
        cmocka_unit_test(test_is_of),      cmocka_unit_test(test_is_of_without_memory),
        cmocka_unit_test(test_library),
    };

    json_set_alloc_funcs(counted_malloc, counted_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
