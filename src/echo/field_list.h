/*
 * fields: a section's fields as they came, duplicates and all, in one block of memory. Pure.
 */
#ifndef H2ECHOD_ECHO_FIELD_LIST_H
#define H2ECHOD_ECHO_FIELD_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct field_list_entry {
    const uint8_t *name;
    size_t name_length;
    const uint8_t *value;
    size_t value_length;
    bool never_indexed; /* the client wants it in nobody's table (RFC 7541 section 7.1.3) */
};

/* To be read. */
struct field_list {
    size_t count;
    size_t length; /* bytes of all names and values */
    uint8_t *text; /* where they are, behind the entries */
    struct field_list_entry entries[];
};

/*
 * field_list_new(arena, count, length):
 * Return a list that has room for ${count} fields of ${length} bytes together, with memory from
 * ${arena}, to be freed by field_list_free; NULL if memory ran out.
 */
struct field_list *field_list_new(struct arena *arena, size_t count, size_t length);

/*
 * field_list_add(fields, field):
 * Put a copy of ${field} behind the others. There must be room for it.
 */
void field_list_add(struct field_list *fields, const struct field_list_entry *field);

/*
 * field_list_free(arena, fields):
 * Free ${fields}, whose memory is from ${arena}. NULL is fine.
 */
void field_list_free(struct arena *arena, struct field_list *fields);

#endif
