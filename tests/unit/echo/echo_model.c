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

struct arena model_arena;
size_t model_allocations_left = SIZE_MAX;
size_t model_live_allocations;

void *model_malloc(size_t size)
{
    void *memory;

    if (model_allocations_left == 0) {
        errno = ENOMEM;
        return NULL;
    }
    memory = malloc(size);
    assert_non_null(memory);
    model_allocations_left--;
    model_live_allocations++;
    return memory;
}

void model_free(void *memory)
{
    if (memory)
        model_live_allocations--;
    free(memory);
}

/* Return the bytes as a jansson string: as UTF-8 if jansson accepts them, else as Latin-1. */
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

/* Return ${old}, ${separator} and ${more} as one string. */
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

char *model_body(const struct field *fields, size_t count, bool pretty)
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
    model_free(dump);
    json_decref(object);
    return body;
}

struct echo_key model_key(const struct field *field)
{
    return (struct echo_key){(void *)field->name, (void *)field->value};
}

bool model_add_to_echo(struct echo *echo, const struct field *field)
{
    return echo_add(echo, model_key(field),
                    (struct span){(const uint8_t *)field->name, field->name_length},
                    (struct span){(const uint8_t *)field->value, field->value_length});
}

struct echo_body *model_build(const struct field *fields, size_t count, bool pretty)
{
    struct echo_body *body = NULL;
    bool built = true;
    struct echo echo;

    echo_start(&echo, &model_arena, pretty);
    for (size_t i = 0; built && i < count; i++)
        built = model_add_to_echo(&echo, &fields[i]);
    if (built)
        body = echo_compose(&echo);
    echo_free(&echo);
    return body;
}

void check_body(struct echo_body *body, const char *expected)
{
    assert_non_null(body);
    if (body->length != strlen(expected) || memcmp(body->text, expected, body->length) != 0)
        fail_msg("body:\n%.*s\nmodel:\n%s", (int)body->length, body->text, expected);
    echo_body_drop(&model_arena, body);
}

uint64_t model_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Return a byte of a value. Some are special in UTF-8 or JSON. */
static char random_byte(uint64_t *seed)
{
    static const char special[] = "\"\\/\t \x7f\x80\xbf\xc2\xc3\xe2\x82\xac\xed\xa0\xf0\x9f\xf4";
    uint64_t number = model_random(seed);

    switch (number >> 8 & 3) {
    case 0:
        return special[number % (sizeof(special) - 1)];
    case 1:
        return (char)(number & 0xff ? number & 0xff : 0x80);
    default:
        return (char)(' ' + number % 95);
    }
}

void model_fill(struct field fields[static LIST_MAX], char values[static LIST_MAX][VALUE_MAX],
                uint64_t *seed)
{
    static const char *const names[] = {":method", ":path", "cookie", "a", "b", "x-y", "accept"};

    for (size_t i = 0; i < LIST_MAX; i++) {
        const char *name = names[model_random(seed) % COUNT(names)];
        size_t length = model_random(seed) % sizeof(values[i]);

        for (size_t at = 0; at < length; at++)
            values[i][at] = random_byte(seed);
        fields[i] = (struct field){name, values[i], strlen(name), length};
    }
}
