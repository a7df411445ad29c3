/*
 * detail_text: writes the detailed response as text, indented or not.
 */
#include "echo/detail_internal.h"

#include <errno.h>

/* A text that is written, or only measured. Fields are written one by one: as jansson's objects,
 * all at once, they would take up to twenty times the bytes that arrived. */
struct text {
    char *bytes; /* NULL = only measured */
    size_t length;
    bool pretty;
};

static void text_put(struct text *text, const char *bytes, size_t length)
{
    if (text->bytes != NULL)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void text_put_string(struct text *text, const char *string)
{
    text_put(text, string, strlen(string));
}

static int text_put_dumped(const char *bytes, size_t length, void *text)
{
    text_put(text, bytes, length);
    return 0;
}

/* Begin a line at this depth of nesting, if the text is indented. */
static void text_put_break(struct text *text, size_t depth)
{
    static const char newline[] = "\n        ";

    if (text->pretty)
        text_put(text, newline, 1 + 2 * depth);
}

static void text_put_comma(struct text *text, size_t depth)
{
    text_put_string(text, text->pretty ? "," : ", ");
    text_put_break(text, depth);
}

static void text_put_hex(struct text *text, size_t depth, struct span bytes)
{
    static const char digits[] = "0123456789abcdef";

    text_put_string(text, "{");
    text_put_break(text, depth + 1);
    text_put_string(text, "\"hex\": \"");
    for (size_t i = 0; i < bytes.length; i++) {
        text_put(text, &digits[bytes.bytes[i] >> 4], 1);
        text_put(text, &digits[bytes.bytes[i] & 15], 1);
    }
    text_put_string(text, "\"");
    text_put_break(text, depth);
    text_put_string(text, "}");
}

/* As a string if the bytes are UTF-8, else in hexadecimal. Return false if memory ran out: jansson
 * returns NULL in both cases, and errno tells which it is. */
static bool text_put_value(struct text *text, size_t depth, struct span bytes)
{
    json_t *string;
    int result;

    errno = 0;
    string = json_stringn((const char *)bytes.bytes, bytes.length);
    if (string == NULL && errno == ENOMEM)
        return false;
    if (string == NULL) {
        text_put_hex(text, depth, bytes);
        return true;
    }
    result = json_dump_callback(string, text_put_dumped, text, JSON_ENCODE_ANY);
    json_decref(string);
    return result == 0;
}

static bool text_put_field(struct text *text, const struct field_list_entry *field, bool head)
{
    enum { DEPTH = 3 };
    bool is_head = head && span_is(field->name, ":method");

    text_put_string(text, "[");
    text_put_break(text, DEPTH);
    if (!text_put_value(text, DEPTH, field->name))
        return false;
    text_put_comma(text, DEPTH);
    if (!text_put_value(text, DEPTH, is_head ? span_of("GET") : field->value))
        return false;
    if (field->never_indexed) {
        text_put_comma(text, DEPTH);
        text_put_string(text, "\"never-indexed\"");
    }
    text_put_break(text, DEPTH - 1);
    text_put_string(text, "]");
    return true;
}

static bool text_put_fields(struct text *text, const char *name, const struct field_list *fields,
                            bool head)
{
    enum { DEPTH = 2 };
    size_t count = fields != NULL ? fields->count : 0;

    text_put_string(text, name);
    text_put_string(text, ": [");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text_put_comma(text, DEPTH);
        else
            text_put_break(text, DEPTH);
        if (!text_put_field(text, &fields->entries[i], head))
            return false;
    }
    if (count > 0)
        text_put_break(text, DEPTH - 1);
    text_put_string(text, "]");
    return true;
}

/* The indented form ends with a newline, as that of the plain response does. Return false if memory
 * ran out. */
static bool text_put_all(struct text *text, const struct detail *detail, const json_t *object)
{
    size_t flags = JSON_EMBED | JSON_REAL_PRECISION(15) | (text->pretty ? JSON_INDENT(2) : 0);

    text_put_string(text, "{");
    text_put_break(text, 1);
    if (!text_put_fields(text, "\"fields\"", detail->fields, detail->head))
        return false;
    text_put_comma(text, 1);
    if (!text_put_fields(text, "\"trailers\"", detail->trailers, false))
        return false;
    text_put_string(text, text->pretty ? "," : ", ");
    if (json_dump_callback(object, text_put_dumped, text, flags) != 0)
        return false;
    text_put_string(text, text->pretty ? "}\n" : "}");
    return true;
}

struct echo_body *detail_write(struct arena *arena, const struct detail *detail,
                               const json_t *object)
{
    struct text text = {.pretty = detail->pretty};
    struct echo_body *body;

    if (object == NULL || !text_put_all(&text, detail, object))
        return NULL;
    body = echo_body_new(arena, text.length);
    if (body == NULL)
        return NULL;
    text = (struct text){.bytes = body->text, .pretty = detail->pretty};
    if (text_put_all(&text, detail, object))
        return body;
    echo_body_drop(arena, body);
    return NULL;
}
