/* Fields of any bytes: the body is JSON with a member for each name, all of them strings. */
#include "arena.h"
#include "echo.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct echo *echo)
{
    json_t *object =
        json_loadb(echo->text, echo->length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
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

/* Names and values with their lengths before them. A name has no NUL: jansson's objects have none.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct echo echo;

    echo_start(&echo, &arena, size % 2 == 1);
    while (size >= 2) {
        size_t name = data[0] % 16;
        size_t value = data[1];

        data += 2;
        size -= 2;
        name = name < size ? name : size;
        value = value < size - name ? value : size - name;
        for (size_t i = 0; i < name; i++)
            name = data[i] == '\0' ? i : name;
        if (!echo_add(&echo, data, name, data + name, value))
            abort();
        data += name + value;
        size -= name + value;
    }
    if (!echo_finish(&echo))
        abort();
    check(&echo);
    echo_free(&echo);
    return 0;
}
