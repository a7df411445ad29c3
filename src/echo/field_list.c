#include "echo/field_list.h"

#include "base/arena.h"

#include <string.h>

struct field_list *field_list_new(struct arena *arena, size_t count, size_t length)
{
    struct field_list *fields;

    fields = arena_allocate(arena, sizeof(*fields) + count * sizeof(fields->entries[0]) + length);
    if (fields == NULL)
        return NULL;
    fields->count = fields->length = 0;
    fields->text = (uint8_t *)&fields->entries[count];
    return fields;
}

static const uint8_t *copy(struct field_list *fields, const uint8_t *bytes, size_t length)
{
    uint8_t *to = fields->text + fields->length;

    if (length > 0)
        memcpy(to, bytes, length);
    fields->length += length;
    return to;
}

void field_list_add(struct field_list *fields, const struct field_list_entry *field)
{
    fields->entries[fields->count++] = (struct field_list_entry){
        .name = copy(fields, field->name, field->name_length),
        .name_length = field->name_length,
        .value = copy(fields, field->value, field->value_length),
        .value_length = field->value_length,
        .never_indexed = field->never_indexed,
    };
}

void field_list_free(struct arena *arena, struct field_list *fields)
{
    arena_free(arena, fields);
}
