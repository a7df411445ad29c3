#include "echo/field_list.h"

#include "base/arena.h"

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

static struct span append_bytes(struct field_list *fields, struct span bytes)
{
    uint8_t *to = fields->text + fields->length;

    if (bytes.length > 0)
        memcpy(to, bytes.bytes, bytes.length);
    fields->length += bytes.length;
    return (struct span){to, bytes.length};
}

void field_list_add(struct field_list *fields, const struct field_list_entry *field)
{
    fields->entries[fields->count++] = (struct field_list_entry){
        .name = append_bytes(fields, field->name),
        .value = append_bytes(fields, field->value),
        .never_indexed = field->never_indexed,
    };
}

void field_list_free(struct arena *arena, struct field_list *fields)
{
    arena_free(arena, fields);
}
