#include "echo/echo.h"

#include "base/arena.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/*
 * The text grows as fields arrive: {"name": "value", "name": "value". If no name occurs twice, that
 * is the body except for its end. Otherwise echo_compose joins the values of each name.
 */
enum { LITERAL_MAX = 8 };

/* A few characters. All of the array may be copied at once: that is faster than its length alone.
 */
struct literal {
    char text[LITERAL_MAX];
    size_t length;
};

/* clang-format off */
#define LITERAL(text) {text, sizeof(text) - 1}
/* clang-format on */

/* What is between the parts of a JSON object. */
struct layout {
    struct literal open;
    struct literal comma;
    struct literal close;
};

static const struct layout compact = {LITERAL("{"), LITERAL(", "), LITERAL("}")};
static const struct layout indented = {LITERAL("{\n  "), LITERAL(",\n  "), LITERAL("\n}\n")};
static const struct literal colon = LITERAL(": ");
static const struct literal quote = LITERAL("\"");

static const struct layout *layout_of(const struct echo *echo)
{
    return echo->pretty ? &indented : &compact;
}

void echo_start(struct echo *echo, struct arena *arena, bool pretty)
{
    *echo = (struct echo){.arena = arena, .pretty = pretty};
}

void echo_clear(struct echo *echo)
{
    echo->length = 0;
    echo->field_count = 0;
    memset(echo->names_seen, 0, sizeof(echo->names_seen));
    echo->may_repeat = false;
}

void echo_free(struct echo *echo)
{
    arena_free(echo->arena, echo->text);
    arena_free(echo->arena, echo->fields);
    echo_start(echo, echo->arena, echo->pretty);
}

static bool grow_text(struct echo *echo, size_t more)
{
    enum { FIRST = 500 }; /* bytes: enough for most requests, and a small block of the arena */
    size_t capacity = echo->capacity > 0 ? echo->capacity : FIRST;
    char *text;

    while (capacity - echo->length < more)
        capacity *= 2;
    text = arena_resize(echo->arena, echo->text, capacity);
    if (text == NULL)
        return false;
    echo->text = text;
    echo->capacity = capacity;
    return true;
}

/* Make room for ${more} bytes. Return false if memory ran out. */
static inline bool reserve_text(struct echo *echo, size_t more)
{
    return more <= echo->capacity - echo->length || grow_text(echo, more);
}

/* There must be room for it. */
static void append(struct echo *echo, const char *text, size_t length)
{
    memcpy(echo->text + echo->length, text, length);
    echo->length += length;
}

static void append_literal(struct echo *echo, const struct literal *literal)
{
    append(echo, literal->text, literal->length);
}

/* Return the bytes as Latin-1 characters, NULL only if memory ran out. */
static json_t *latin1_string(struct span bytes)
{
    char *utf8 = malloc(2 * bytes.length + 1);
    size_t used = 0;
    json_t *string;

    if (utf8 == NULL)
        return NULL;
    for (size_t i = 0; i < bytes.length; i++) {
        if (bytes.bytes[i] < 0x80) {
            utf8[used++] = (char)bytes.bytes[i];
        } else {
            utf8[used++] = (char)(0xc0 | bytes.bytes[i] >> 6);
            utf8[used++] = (char)(0x80 | (bytes.bytes[i] & 0x3f));
        }
    }
    string = json_stringn(utf8, used);
    free(utf8);
    return string;
}

/* Return the bytes as UTF-8, or as Latin-1 if they are not UTF-8; NULL only if memory ran out.
 * jansson returns NULL in both cases; errno tells them apart. */
static json_t *json_string_of(struct span bytes)
{
    json_t *string;

    errno = 0;
    string = json_stringn((const char *)bytes.bytes, bytes.length);
    if (string != NULL || errno == ENOMEM)
        return string;
    return latin1_string(bytes);
}

enum { QUOTES = 2 };

typedef uint8_t plain_block __attribute__((vector_size(16)));

/* Are all bytes ASCII characters that JSON does not escape? They are compared at once. */
static bool is_plain_block(const uint8_t bytes[static sizeof(plain_block)])
{
    plain_block each;
    uint64_t others[sizeof(plain_block) / sizeof(uint64_t)];

    memcpy(&each, bytes, sizeof(each));
    each = (plain_block)(each < ' ') | (plain_block)(each > '~') | (plain_block)(each == '"') |
           (plain_block)(each == '\\');
    memcpy(others, &each, sizeof(others));
    return (others[0] | others[1]) == 0;
}

static bool is_plain(struct span bytes)
{
    uint8_t last[sizeof(plain_block)];

    for (; bytes.length >= sizeof(plain_block); bytes = span_skip(bytes, sizeof(plain_block))) {
        if (!is_plain_block(bytes.bytes))
            return false;
    }
    memset(last, ' ', sizeof(last));
    memcpy(last, bytes.bytes, bytes.length);
    return is_plain_block(last);
}

/* Append bytes that JSON may have to escape, or that may not be UTF-8, encoded by jansson. It
 * returns how much it would have written: if nothing needs an escape, the first attempt succeeds.
 */
static bool append_encoded(struct echo *echo, struct span bytes)
{
    json_t *string = json_string_of(bytes);
    size_t need = bytes.length + QUOTES;
    size_t room = 0;

    if (string == NULL)
        return false;
    while (need > room && reserve_text(echo, need)) {
        room = need;
        need = json_dumpb(string, echo->text + echo->length, room, JSON_ENCODE_ANY);
    }
    json_decref(string);
    if (need == 0 || need > room)
        return false;
    echo->length += need;
    return true;
}

/* Append ${bytes} as a JSON string. Return false if memory ran out. */
static bool append_string(struct echo *echo, struct span bytes)
{
    if (!is_plain(bytes))
        return append_encoded(echo, bytes);
    if (!reserve_text(echo, bytes.length + QUOTES))
        return false;
    append_literal(echo, &quote);
    append(echo, (const char *)bytes.bytes, bytes.length);
    append_literal(echo, &quote);
    return true;
}

/* --- Fields -------------------------------------------------------------------------------- */

static bool reserve_field(struct echo *echo)
{
    enum { FIRST = 16 };
    size_t capacity = echo->field_capacity > 0 ? 2 * echo->field_capacity : FIRST;
    struct echo_field *fields;

    if (echo->field_count < echo->field_capacity)
        return true;
    fields = arena_resize(echo->arena, echo->fields, capacity * sizeof(*fields));
    if (fields == NULL)
        return false;
    echo->fields = fields;
    echo->field_capacity = capacity;
    return true;
}

/* FNV-1a. It only has to tell most names apart, which makes comparing them fast. */
static uint32_t hash_name(struct span name)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < name.length; i++)
        hash = (hash ^ name.bytes[i]) * 16777619U;
    return hash;
}

/* Note that a name of this hash has been seen (in a Bloom filter). Return true if the same name may
 * have been seen before. */
static bool mark_name(struct echo *echo, uint32_t hash)
{
    uint64_t *word = &echo->names_seen[hash % ECHO_NAME_WORDS];
    uint64_t bit = UINT64_C(1) << (hash / ECHO_NAME_WORDS % 64);
    bool seen = (*word & bit) != 0;

    *word |= bit;
    return seen;
}

/* Append what comes before the next field, and make room for its entry in the list. Return false if
 * memory ran out. */
static bool start_field(struct echo *echo)
{
    const struct layout *layout = layout_of(echo);
    const struct literal *before = echo->field_count == 0 ? &layout->open : &layout->comma;

    if (!reserve_field(echo) || !reserve_text(echo, LITERAL_MAX))
        return false;
    memcpy(echo->text + echo->length, before->text, LITERAL_MAX);
    echo->length += before->length;
    return true;
}

static void finish_field(struct echo *echo, const struct echo_field *field)
{
    echo->may_repeat = mark_name(echo, field->name_hash) || echo->may_repeat;
    echo->fields[echo->field_count++] = *field;
}

/* The name has been appended: append the value, and add the field to the list. Return false if
 * memory ran out. */
static bool append_value(struct echo *echo, struct echo_field *field, struct span value)
{
    size_t value_at;

    if (!reserve_text(echo, colon.length))
        return false;
    append_literal(echo, &colon);
    value_at = echo->length;
    if (!append_string(echo, value))
        return false;
    field->value_length = (uint32_t)(echo->length - value_at);
    finish_field(echo, field);
    return true;
}

bool echo_add(struct echo *echo, struct echo_key key, struct span name, struct span value)
{
    struct echo_field field = {.key = key, .name_hash = hash_name(name)};

    if (!start_field(echo))
        return false;
    field.name_at = (uint32_t)echo->length;
    if (!append_string(echo, name))
        return false;
    field.name_length = (uint32_t)echo->length - field.name_at;
    return append_value(echo, &field, value);
}

const struct echo_field *echo_find(const struct echo *echo, size_t place, size_t count,
                                   struct echo_key key)
{
    size_t end = place < echo->field_count && count < echo->field_count - place ? place + count
                                                                                : echo->field_count;

    for (; place < end; place++) {
        const struct echo_field *field = &echo->fields[place];

        if (field->key.name == key.name && field->key.value == key.value)
            return field;
    }
    return NULL;
}

/* The length of the field's text: name, colon and value. */
static size_t field_length(const struct echo_field *field)
{
    return field->name_length + colon.length + field->value_length;
}

bool echo_copy(struct echo *echo, const struct echo *other, const struct echo_field *field)
{
    struct echo_field copy = *field;

    if (!start_field(echo) || !reserve_text(echo, field_length(field)))
        return false;
    copy.name_at = (uint32_t)echo->length;
    append(echo, other->text + field->name_at, field_length(field));
    finish_field(echo, &copy);
    return true;
}

bool echo_add_value(struct echo *echo, const struct echo *other, const struct echo_field *like,
                    void *value_key, struct span value)
{
    struct echo_field field = *like;

    if (!start_field(echo) || !reserve_text(echo, like->name_length))
        return false;
    field.key.value = value_key;
    field.name_at = (uint32_t)echo->length;
    append(echo, other->text + like->name_at, like->name_length);
    return append_value(echo, &field, value);
}

static const char *name_of(const struct echo *echo, const struct echo_field *field)
{
    return echo->text + field->name_at;
}

static const char *value_of(const struct echo *echo, const struct echo_field *field)
{
    return name_of(echo, field) + field->name_length + colon.length;
}

bool echo_has(const struct echo *echo, struct span name)
{
    for (size_t i = 0; i < echo->field_count; i++) {
        const struct echo_field *field = &echo->fields[i];

        if (field->name_length == name.length + QUOTES &&
            memcmp(name_of(echo, field) + 1, name.bytes, name.length) == 0)
            return true;
    }
    return false;
}

bool echo_has_regular(const struct echo *echo)
{
    for (size_t i = 0; i < echo->field_count; i++) {
        if (name_of(echo, &echo->fields[i])[1] != ':')
            return true;
    }
    return false;
}

/* --- Names that occur more than once ------------------------------------------------------- */

/* Connects a field with the others of its name. */
struct link {
    uint32_t next; /* place in the list of fields; 0 = none, since the next is never the first */
    bool repeats;  /* there is one before it */
};

static bool have_same_name(const struct echo *echo, const struct echo_field *a,
                           const struct echo_field *b)
{
    return a->name_hash == b->name_hash && a->name_length == b->name_length &&
           memcmp(name_of(echo, a), name_of(echo, b), a->name_length) == 0;
}

static void link_to_earlier(struct link *links, size_t earlier, size_t later)
{
    links[earlier].next = (uint32_t)later;
    links[later].repeats = true;
}

/* Compare each field with all before it: for the number of fields that requests usually have, that
 * is the fastest. */
static void link_by_comparing(const struct echo *echo, struct link *links)
{
    for (size_t later = 1; later < echo->field_count; later++) {
        size_t earlier = later;

        while (earlier > 0 &&
               !have_same_name(echo, &echo->fields[earlier - 1], &echo->fields[later]))
            earlier--;
        if (earlier > 0)
            link_to_earlier(links, earlier - 1, later);
    }
}

/* Order places in the list of fields by name; those of one name by their order of arrival. */
static int compare_fields(const void *a, const void *b, void *argument)
{
    const struct echo *echo = argument;
    size_t first = *(const size_t *)a;
    size_t second = *(const size_t *)b;
    const struct echo_field *one = &echo->fields[first];
    const struct echo_field *other = &echo->fields[second];
    int order = 0;

    if (one->name_length != other->name_length)
        return one->name_length < other->name_length ? -1 : 1;
    order = memcmp(name_of(echo, one), name_of(echo, other), one->name_length);
    if (order != 0)
        return order;
    return first < second ? -1 : first > second;
}

/* Sort the fields by name, so that no choice of names makes this slow. Return false if memory ran
 * out.
 */
static bool link_by_sorting(struct echo *echo, struct link *links)
{
    size_t count = echo->field_count;
    size_t *order = malloc(count * sizeof(*order));

    if (order == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, count, sizeof(*order), compare_fields, echo);
    for (size_t i = 1; i < count; i++) {
        if (have_same_name(echo, &echo->fields[order[i - 1]], &echo->fields[order[i]]))
            link_to_earlier(links, order[i - 1], order[i]);
    }
    free(order);
    return true;
}

/* Return one link for each field, to be freed by arena_free; NULL if memory ran out. */
static struct link *link_fields(struct echo *echo)
{
    enum { FEW = 64 };
    struct link *links = arena_allocate_zeroed(echo->arena, echo->field_count, sizeof(*links));

    if (links == NULL)
        return NULL;
    if (echo->field_count <= FEW) {
        link_by_comparing(echo, links);
    } else if (!link_by_sorting(echo, links)) {
        arena_free(echo->arena, links);
        return NULL;
    }
    return links;
}

/* --- Bodies -------------------------------------------------------------------------------- */

static void body_append(struct echo_body *body, const char *text, size_t length)
{
    memcpy(body->text + body->length, text, length);
    body->length += length;
}

static void body_append_literal(struct echo_body *body, const struct literal *literal)
{
    body_append(body, literal->text, literal->length);
}

/* Append every value of the name that the field at ${first} has, without the quotes. */
static void body_append_values(struct echo_body *body, const struct echo *echo,
                               const struct link *links, size_t first)
{
    static const char cookie[] = "\"cookie\"";
    static const struct literal semicolon = LITERAL("; ");
    static const struct literal comma = LITERAL(", ");
    const struct echo_field *field = &echo->fields[first];
    bool is_cookie = field->name_length == sizeof(cookie) - 1 &&
                     memcmp(name_of(echo, field), cookie, sizeof(cookie) - 1) == 0;

    for (size_t place = first;; place = links[place].next) {
        field = &echo->fields[place];
        body_append(body, value_of(echo, field) + 1, field->value_length - QUOTES);
        if (links[place].next == 0)
            return;
        body_append_literal(body, is_cookie ? &semicolon : &comma);
    }
}

/* Append one member for each name. It takes no more room than the text does, since a separator is
 * shorter than a name with its quotes. */
static void body_append_joined(struct echo_body *body, const struct echo *echo,
                               const struct link *links)
{
    const struct layout *layout = layout_of(echo);

    for (size_t i = 0; i < echo->field_count; i++) {
        if (links[i].repeats)
            continue;
        body_append_literal(body, i == 0 ? &layout->open : &layout->comma);
        body_append(body, name_of(echo, &echo->fields[i]), echo->fields[i].name_length);
        body_append_literal(body, &colon);
        body_append_literal(body, &quote);
        body_append_values(body, echo, links, i);
        body_append_literal(body, &quote);
    }
}

struct echo_body *echo_body_new(struct arena *arena, size_t length)
{
    struct echo_body *body = arena_allocate(arena, sizeof(*body) + length);

    if (body != NULL)
        *body = (struct echo_body){.references = 1, .length = length};
    return body;
}

struct echo_body *echo_compose(struct echo *echo)
{
    const struct layout *layout = layout_of(echo);
    struct link *links = NULL;
    struct echo_body *body;

    if (echo->may_repeat && (links = link_fields(echo)) == NULL)
        return NULL;
    body = echo_body_new(echo->arena, layout->open.length + echo->length + layout->close.length);
    if (body == NULL)
        goto free_links;
    body->length = 0; /* nothing has been appended yet */
    if (echo->field_count == 0)
        body_append_literal(body, &layout->open);
    else if (links != NULL)
        body_append_joined(body, echo, links);
    else
        body_append(body, echo->text, echo->length);
    body_append_literal(body, &layout->close);

free_links:
    arena_free(echo->arena, links);
    return body;
}

struct echo_body *echo_body_share(struct echo_body *body)
{
    body->references++;
    return body;
}

void echo_body_drop(struct arena *arena, struct echo_body *body)
{
    if (body != NULL && --body->references == 0)
        arena_free(arena, body);
}

bool echo_answers_path(const char *text, size_t length, const char *path)
{
    json_t *body;
    const char *value;
    bool is_same;

    errno = 0;
    body = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    value = json_string_value(json_object_get(body, ":path"));
    is_same = value != NULL && strcmp(value, path) == 0;
    json_decref(body);
    return is_same;
}

const char *echo_library(void)
{
    return jansson_version_str();
}
