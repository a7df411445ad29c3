/* Fields of any bytes: the body is a JSON object whose members are strings. */
#include "base/arena.h"
#include "echo/echo.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct echo_body *body)
{
    json_t *object =
        json_loadb(body->text, body->length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const char *name;
    json_t *value;

    if (!json_is_object(object))
        abort();
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value))
            abort();
    }
    json_decref(object);
}

/* Add a field, or copy it from the request before. */
static void add(struct echo *echo, const struct echo *before, const uint8_t *name,
                size_t name_length, size_t value_length)
{
    struct echo_key key = {(void *)(uintptr_t)name, NULL};
    const struct echo_field *same = echo_find(before, echo->field_count, 8, key);
    bool added = same != NULL ? echo_copy(echo, before, same)
                              : echo_add(echo, key, (struct span){name, name_length},
                                         (struct span){name + name_length, value_length});

    if (!added)
        abort();
}

/* The input has names and values, with their lengths before them. Names end at a NUL, which member
 * names in jansson cannot have. */
static void add_all(struct echo *echo, const struct echo *before, const uint8_t *data, size_t size)
{
    while (size >= 2) {
        size_t name = data[0] % 16;
        size_t value = data[1];

        data += 2;
        size -= 2;
        name = name < size ? name : size;
        value = value < size - name ? value : size - name;
        for (size_t i = 0; i < name; i++)
            name = data[i] == '\0' ? i : name;
        add(echo, before, data, name, value);
        data += name + value;
        size -= name + value;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct echo_body *body[2];
    struct echo echo[2];

    echo_start(&echo[0], &arena, size % 2 == 1);
    echo_start(&echo[1], &arena, size % 2 == 1);
    for (int i = 0; i < 2; i++) {
        add_all(&echo[i], &echo[1 - i], data, size);
        body[i] = echo_compose(&echo[i]);
        if (body[i] == NULL)
            abort();
        check(body[i]);
    }
    if (body[0]->length != body[1]->length ||
        memcmp(body[0]->text, body[1]->text, body[0]->length) != 0)
        abort();
    for (int i = 0; i < 2; i++) {
        echo_body_drop(&arena, body[i]);
        echo_free(&echo[i]);
    }
    return 0;
}
