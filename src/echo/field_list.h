/*
 * fields: a section's fields as they came, duplicates and all, in one block of memory. Pure.
 */
#ifndef H2ECHOD_ECHO_FIELD_LIST_H
#define H2ECHOD_ECHO_FIELD_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct fields_entry {
    const uint8_t *name;
    size_t name_length;
    const uint8_t *value;
    size_t value_length;
    bool never_indexed; /* the client wants it in nobody's table (RFC 7541 section 7.1.3) */
};

/* To be read. */
struct fields {
    size_t count;
    size_t length; /* bytes of all names and values */
    uint8_t *text; /* where they are, behind the entries */
    struct fields_entry entries[];
};

/*
 * fields_new(arena, count, length):
 * Return a list that has room for ${count} fields of ${length} bytes together, with memory from
 * ${arena}, to be freed by fields_free; NULL if memory ran out.
 */
struct fields *fields_new(struct arena *arena, size_t count, size_t length);

/*
 * fields_add(fields, field):
 * Put a copy of ${field} behind the others. There must be room for it.
 */
void fields_add(struct fields *fields, const struct fields_entry *field);

/*
 * fields_free(arena, fields):
 * Free ${fields}, whose memory is from ${arena}. NULL is fine.
 */
void fields_free(struct arena *arena, struct fields *fields);

#endif
