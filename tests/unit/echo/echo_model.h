/* A model of echo for its tests: it builds the body as a jansson object and dumps that. jansson's
 * memory is counted, and can be made to run out. Failures are reported by cmocka. */
#ifndef H2ECHOD_TESTS_ECHO_MODEL_H
#define H2ECHOD_TESTS_ECHO_MODEL_H

#include "base/arena.h"
#include "echo/echo.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A field. One without a name ends a list. */
struct field {
    const char *name;
    const char *value;
    size_t name_length;
    size_t value_length;
};

/* clang-format off */
#define FIELD(name, value) {(name), (value), sizeof(name) - 1, sizeof(value) - 1}
/* clang-format on */

enum { LIST_MAX = 12, VALUE_MAX = 40 };

/* It has no memory of its own, so that AddressSanitizer and valgrind check every block. */
extern struct arena model_arena;

/* How many of jansson's allocations succeed before one fails, and how many are not freed yet. */
extern size_t model_allocations_left;
extern size_t model_live_allocations;

/* For json_set_alloc_funcs. */
void *model_malloc(size_t size);
void model_free(void *memory);

/* Return the body that is expected, to be freed by free. */
char *model_body(const struct field *fields, size_t count, bool pretty);

/* The key of a field: its two addresses. */
struct echo_key model_key(const struct field *field);

/* Add the field to ${echo}. Return false if memory ran out. */
bool model_add_to_echo(struct echo *echo, const struct field *field);

/* Return echo's body, NULL if memory ran out. */
struct echo_body *model_build(const struct field *fields, size_t count, bool pretty);

/* Fail unless the body is ${expected}; then drop it. */
void check_body(struct echo_body *body, const char *expected);

/* Return a pseudorandom number, and advance ${seed}. */
uint64_t model_random(uint64_t *seed);

/* Set ${fields} to pseudorandom fields, with names that occur more than once. */
void model_fill(struct field fields[static LIST_MAX], char values[static LIST_MAX][VALUE_MAX],
                uint64_t *seed);

#endif
