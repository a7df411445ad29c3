#include "echo/echo.h"

#include "base/arena.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/*
 * The text grows in order of arrival: {"name": "value", "name": "value". Where no name comes twice
 * that is the body but for its end. Where one does, echo_compose puts the values together.
 */
enum { WORDS_MAX = 8 };

/* A few bytes, copied all at once with those behind them, which are not of the text. */
struct words {
    char text[WORDS_MAX];
    size_t length;
};

/* clang-format off */
#define WORDS(text) {text, sizeof(text) - 1}
/* clang-format on */

/* Where a JSON object's parts stand apart. */
struct layout {
    struct words open;
    struct words comma;
    struct words close;
};

static const struct layout compact = {WORDS("{"), WORDS(", "), WORDS("}")};
static const struct layout indented = {WORDS("{\n  "), WORDS(",\n  "), WORDS("\n}\n")};
static const struct words colon = WORDS(": ");
static const struct words quote = WORDS("\"");

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

static bool grow(struct echo *echo, size_t more)
{
    enum { FIRST = 500 }; /* most requests; an arena's small block */
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

/* Make room for ${more} bytes behind the text. */
static inline bool reserve(struct echo *echo, size_t more)
{
    return more <= echo->capacity - echo->length || grow(echo, more);
}

/* Put text behind the other, for which there is room. */
static void put(struct echo *echo, const char *text, size_t length)
{
    memcpy(echo->text + echo->length, text, length);
    echo->length += length;
}

static void put_words(struct echo *echo, const struct words *words)
{
    put(echo, words->text, words->length);
}

/* The bytes as Latin-1 characters: NULL only if memory ran out. */
static json_t *latin1_string(const uint8_t *bytes, size_t length)
{
    char *utf8 = malloc(2 * length + 1);
    size_t used = 0;
    json_t *string;

    if (utf8 == NULL)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] < 0x80) {
            utf8[used++] = (char)bytes[i];
        } else {
            utf8[used++] = (char)(0xc0 | bytes[i] >> 6);
            utf8[used++] = (char)(0x80 | (bytes[i] & 0x3f));
        }
    }
    string = json_stringn(utf8, used);
    free(utf8);
    return string;
}

/* The bytes as UTF-8, or as Latin-1 where they are not. jansson has one NULL for "not UTF-8" and
 * for "no memory"; errno tells them apart, lest a short moment of want change an answer. */
static json_t *string_of(const uint8_t *bytes, size_t length)
{
    json_t *string;

    errno = 0;
    string = json_stringn((const char *)bytes, length);
    if (string != NULL || errno == ENOMEM)
        return string;
    return latin1_string(bytes, length);
}

enum { QUOTES = 2 };

typedef uint8_t block __attribute__((vector_size(16)));

/* Is every one of the bytes a character that JSON writes as it is, and ASCII? All at once. */
static bool is_plain_block(const uint8_t bytes[static sizeof(block)])
{
    block each;
    uint64_t others[sizeof(block) / sizeof(uint64_t)];

    memcpy(&each, bytes, sizeof(each));
    each = (block)(each < ' ') | (block)(each > '~') | (block)(each == '"') | (block)(each == '\\');
    memcpy(others, &each, sizeof(others));
    return (others[0] | others[1]) == 0;
}

static bool is_plain(const uint8_t *bytes, size_t length)
{
    uint8_t last[sizeof(block)];

    for (; length >= sizeof(block); bytes += sizeof(block), length -= sizeof(block)) {
        if (!is_plain_block(bytes))
            return false;
    }
    memset(last, ' ', sizeof(last));
    memcpy(last, bytes, length);
    return is_plain_block(last);
}

/* What JSON escapes, or may not be UTF-8, is jansson's. It says how much it would have written:
 * what needs no escape fits the first time. */
static bool append_encoded(struct echo *echo, const uint8_t *bytes, size_t length)
{
    json_t *string = string_of(bytes, length);
    size_t need = length + QUOTES;
    size_t room = 0;

    if (string == NULL)
        return false;
    while (need > room && reserve(echo, need)) {
        room = need;
        need = json_dumpb(string, echo->text + echo->length, room, JSON_ENCODE_ANY);
    }
    json_decref(string);
    if (need == 0 || need > room)
        return false;
    echo->length += need;
    return true;
}

/* Append ${bytes} as a JSON string. Nearly all are plain, and need no more than their quotes. */
static bool append_string(struct echo *echo, const uint8_t *bytes, size_t length)
{
    if (!is_plain(bytes, length))
        return append_encoded(echo, bytes, length);
    if (!reserve(echo, length + QUOTES))
        return false;
    put_words(echo, &quote);
    put(echo, (const char *)bytes, length);
    put_words(echo, &quote);
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

/* FNV-1a: only to pass over most names at a glance. */
static uint32_t hash_of(const uint8_t *name, size_t length)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ name[i]) * 16777619U;
    return hash;
}

/* Every name leaves a mark. Return true if one of this hash may have left it before. */
static bool mark_name(struct echo *echo, uint32_t hash)
{
    uint64_t *word = &echo->names_seen[hash % ECHO_NAME_WORDS];
    uint64_t bit = UINT64_C(1) << (hash / ECHO_NAME_WORDS % 64);
    bool seen = (*word & bit) != 0;

    *word |= bit;
    return seen;
}

/* What stands before the next field: there is room for it and for the field's place in the list. */
static bool begin_field(struct echo *echo)
{
    const struct layout *layout = layout_of(echo);
    const struct words *before = echo->field_count == 0 ? &layout->open : &layout->comma;

    if (!reserve_field(echo) || !reserve(echo, WORDS_MAX))
        return false;
    memcpy(echo->text + echo->length, before->text, WORDS_MAX);
    echo->length += before->length;
    return true;
}

static void end_field(struct echo *echo, const struct echo_field *field)
{
    echo->may_repeat = mark_name(echo, field->name_hash) || echo->may_repeat;
    echo->fields[echo->field_count++] = *field;
}

/* The name is there: what it belongs to comes behind it. */
static bool add_value(struct echo *echo, struct echo_field *field, const uint8_t *value,
                      size_t length)
{
    size_t value_at;

    if (!reserve(echo, colon.length))
        return false;
    put_words(echo, &colon);
    value_at = echo->length;
    if (!append_string(echo, value, length))
        return false;
    field->value_length = (uint32_t)(echo->length - value_at);
    end_field(echo, field);
    return true;
}

bool echo_add(struct echo *echo, struct echo_key key, const uint8_t *name, size_t name_length,
              const uint8_t *value, size_t value_length)
{
    struct echo_field field = {.key = key, .name_hash = hash_of(name, name_length)};

    if (!begin_field(echo))
        return false;
    field.name_at = (uint32_t)echo->length;
    if (!append_string(echo, name, name_length))
        return false;
    field.name_length = (uint32_t)echo->length - field.name_at;
    return add_value(echo, &field, value, value_length);
}

const struct echo_field *echo_find(const struct echo *echo, size_t place, size_t most,
                                   struct echo_key key)
{
    size_t end = place < echo->field_count && most < echo->field_count - place ? place + most
                                                                               : echo->field_count;

    for (; place < end; place++) {
        const struct echo_field *field = &echo->fields[place];

        if (field->key.name == key.name && field->key.value == key.value)
            return field;
    }
    return NULL;
}

/* How much of the text is the field's: name, colon, value. */
static size_t extent_of(const struct echo_field *field)
{
    return field->name_length + colon.length + field->value_length;
}

bool echo_copy(struct echo *echo, const struct echo *other, const struct echo_field *field)
{
    struct echo_field copy = *field;

    if (!begin_field(echo) || !reserve(echo, extent_of(field)))
        return false;
    copy.name_at = (uint32_t)echo->length;
    put(echo, other->text + field->name_at, extent_of(field));
    end_field(echo, &copy);
    return true;
}

bool echo_add_value(struct echo *echo, const struct echo *other, const struct echo_field *like,
                    void *value_key, const uint8_t *value, size_t length)
{
    struct echo_field field = *like;

    if (!begin_field(echo) || !reserve(echo, like->name_length))
        return false;
    field.key.value = value_key;
    field.name_at = (uint32_t)echo->length;
    put(echo, other->text + like->name_at, like->name_length);
    return add_value(echo, &field, value, length);
}

static const char *name_of(const struct echo *echo, const struct echo_field *field)
{
    return echo->text + field->name_at;
}

static const char *value_of(const struct echo *echo, const struct echo_field *field)
{
    return name_of(echo, field) + field->name_length + colon.length;
}

bool echo_has(const struct echo *echo, const uint8_t *name, size_t name_length)
{
    for (size_t i = 0; i < echo->field_count; i++) {
        const struct echo_field *field = &echo->fields[i];

        if (field->name_length == name_length + QUOTES &&
            memcmp(name_of(echo, field) + 1, name, name_length) == 0)
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

/* --- Names that come more than once -------------------------------------------------------- */

/* Of a field, among those of its name. */
struct link {
    uint32_t next; /* its place in the list; 0 = none, since the first field repeats nothing */
    bool repeats;  /* one that came before */
};

static bool same_name(const struct echo *echo, const struct echo_field *a,
                      const struct echo_field *b)
{
    return a->name_hash == b->name_hash && a->name_length == b->name_length &&
           memcmp(name_of(echo, a), name_of(echo, b), a->name_length) == 0;
}

static void link_repeat(struct link *links, size_t earlier, size_t later)
{
    links[earlier].next = (uint32_t)later;
    links[later].repeats = true;
}

/* Compare each with all before it: for as many fields as requests have, nothing is quicker. */
static void link_few(const struct echo *echo, struct link *links)
{
    for (size_t later = 1; later < echo->field_count; later++) {
        size_t earlier = later;

        while (earlier > 0 && !same_name(echo, &echo->fields[earlier - 1], &echo->fields[later]))
            earlier--;
        if (earlier > 0)
            link_repeat(links, earlier - 1, later);
    }
}

/* Order places in the list of fields by name, those of one name by their arrival. */
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

/* Sort, so that no choice of names by a client makes this slow. */
static bool link_many(struct echo *echo, struct link *links)
{
    size_t count = echo->field_count;
    size_t *order = malloc(count * sizeof(*order));

    if (order == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, count, sizeof(*order), compare_fields, echo);
    for (size_t i = 1; i < count; i++) {
        if (same_name(echo, &echo->fields[order[i - 1]], &echo->fields[order[i]]))
            link_repeat(links, order[i - 1], order[i]);
    }
    free(order);
    return true;
}

/* Return a link for each field, to be freed by arena_free; NULL if memory ran out. */
static struct link *link_fields(struct echo *echo)
{
    enum { FEW = 64 };
    struct link *links = arena_allocate_zeroed(echo->arena, echo->field_count, sizeof(*links));

    if (links == NULL)
        return NULL;
    if (echo->field_count <= FEW) {
        link_few(echo, links);
    } else if (!link_many(echo, links)) {
        arena_free(echo->arena, links);
        return NULL;
    }
    return links;
}

/* --- Bodies -------------------------------------------------------------------------------- */

static void write_text(struct echo_body *body, const char *text, size_t length)
{
    memcpy(body->text + body->length, text, length);
    body->length += length;
}

static void write_words(struct echo_body *body, const struct words *words)
{
    write_text(body, words->text, words->length);
}

/* Write what stands between the quotes of every value that ${first}'s name has. */
static void write_values(struct echo_body *body, const struct echo *echo, const struct link *links,
                         size_t first)
{
    static const char cookie[] = "\"cookie\"";
    static const struct words semicolon = WORDS("; ");
    static const struct words comma = WORDS(", ");
    const struct echo_field *field = &echo->fields[first];
    bool is_cookie = field->name_length == sizeof(cookie) - 1 &&
                     memcmp(name_of(echo, field), cookie, sizeof(cookie) - 1) == 0;

    for (size_t place = first;; place = links[place].next) {
        field = &echo->fields[place];
        write_text(body, value_of(echo, field) + 1, field->value_length - QUOTES);
        if (links[place].next == 0)
            return;
        write_words(body, is_cookie ? &semicolon : &comma);
    }
}

/* Write one member for each name. That takes no more room than the text does: a separator is
 * shorter than a name with what belongs to it. */
static void write_joined(struct echo_body *body, const struct echo *echo, const struct link *links)
{
    const struct layout *layout = layout_of(echo);

    for (size_t i = 0; i < echo->field_count; i++) {
        if (links[i].repeats)
            continue;
        write_words(body, i == 0 ? &layout->open : &layout->comma);
        write_text(body, name_of(echo, &echo->fields[i]), echo->fields[i].name_length);
        write_words(body, &colon);
        write_words(body, &quote);
        write_values(body, echo, links, i);
        write_words(body, &quote);
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
    body->length = 0; /* it grows */
    if (echo->field_count == 0)
        write_words(body, &layout->open);
    else if (links != NULL)
        write_joined(body, echo, links);
    else
        write_text(body, echo->text, echo->length);
    write_words(body, &layout->close);

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
