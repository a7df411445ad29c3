/*
 * field_list: a copy of a section's fields as they arrived, in order and with duplicates. It is one
 * block of memory. Pure.
 */
#ifndef H2ECHOD_ECHO_FIELD_LIST_H
#define H2ECHOD_ECHO_FIELD_LIST_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct field_list_entry {
    struct span name;
    struct span value;
    bool never_indexed; /* the client forbids to put it into an HPACK table (RFC 7541 7.1.3) */
};

struct field_list {
    size_t count;
    size_t length; /* bytes of all names and values */
    uint8_t *text; /* their bytes, after the entries */
    struct field_list_entry entries[];
};

/*
 * field_list_new(arena, count, length):
 * Return an empty list with room for ${count} fields, whose names and values have ${length} bytes
 * in all. Its memory is from ${arena}, and is to be freed by field_list_free. NULL if memory ran
 * out.
 */
struct field_list *field_list_new(struct arena *arena, size_t count, size_t length);

/*
 * field_list_add(fields, field):
 * Append a copy of ${field}. There must be room for it.
 */
void field_list_add(struct field_list *fields, const struct field_list_entry *field);

/*
 * field_list_free(arena, fields):
 * Free ${fields}, whose memory is from ${arena}. NULL is allowed.
 */
void field_list_free(struct arena *arena, struct field_list *fields);

#endif
