#include "echo.h"

#include "arena.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/*
 * The text grows in order of arrival: {"name": "value", "name": "value". Where no name comes twice
 * that is the body but for its end. Where one does, echo_finish puts the values together, copying
 * each byte once more.
 */
struct echo_member {
    uint32_t name_at; /* places in the text of the strings with their quotes */
    uint32_t name_length;
    uint32_t value_at;
    uint32_t value_length;
    uint32_t next; /* the next member of that name; 0 = none, since the first one repeats nothing */
    uint32_t name_hash;
    bool repeats; /* of a name that came before */
};

struct words {
    const char *text;
    size_t length;
};

#define WORDS(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

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

void echo_free(struct echo *echo)
{
    arena_free(echo->arena, echo->text);
    arena_free(echo->arena, echo->members);
    echo_start(echo, echo->arena, echo->pretty);
}

/* Make room for ${more} bytes behind the text. */
static bool reserve(struct echo *echo, size_t more)
{
    enum { FIRST = 500 }; /* most requests; an arena's small block */
    size_t capacity = echo->capacity > 0 ? echo->capacity : FIRST;
    char *text;

    if (more <= echo->capacity - echo->length)
        return true;
    while (capacity - echo->length < more)
        capacity *= 2;
    text = arena_resize(echo->arena, echo->text, capacity);
    if (text == NULL)
        return false;
    echo->text = text;
    echo->capacity = capacity;
    return true;
}

static bool append(struct echo *echo, const char *text, size_t length)
{
    if (!reserve(echo, length))
        return false;
    memcpy(echo->text + echo->length, text, length);
    echo->length += length;
    return true;
}

static bool append_words(struct echo *echo, const struct words *words)
{
    return append(echo, words->text, words->length);
}

/* Put text behind the other, for which there is room. */
static void put(struct echo *echo, const char *text, size_t length)
{
    memcpy(echo->text + echo->length, text, length);
    echo->length += length;
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

/* FNV-1a: only to pass over most names at a glance. */
static uint32_t hash_of(const char *text, size_t length)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * 16777619U;
    return hash;
}

/* Is every byte a character that JSON writes as it is? */
static bool is_plain(const uint8_t *bytes, size_t length)
{
    bool plain = true;

    for (size_t i = 0; i < length; i++)
        plain &= bytes[i] >= ' ' && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\';
    return plain;
}

/* Nearly every name and value is plain, and needs no more than its quotes. */
static struct echo_string *quote_plain(struct arena *arena, const uint8_t *bytes, size_t length)
{
    struct echo_string *quoted = arena_allocate(arena, sizeof(*quoted) + length + QUOTES);

    if (quoted == NULL)
        return NULL;
    quoted->text[0] = '"';
    memcpy(quoted->text + 1, bytes, length);
    quoted->text[length + 1] = '"';
    quoted->length = (uint32_t)(length + QUOTES);
    return quoted;
}

/* Any other is jansson's: UTF-8, Latin-1, what is escaped. */
static struct echo_string *encode(struct arena *arena, const uint8_t *bytes, size_t length)
{
    json_t *string = string_of(bytes, length);
    struct echo_string *encoded = NULL;
    struct echo_string *larger;
    size_t room = 0;
    size_t need = length + QUOTES;

    if (string == NULL)
        return NULL;
    /* jansson says how much it would have written: what needs no escape fits the first time. */
    while (need > room) {
        larger = arena_resize(arena, encoded, sizeof(*encoded) + need);
        if (larger == NULL)
            break;
        encoded = larger;
        room = need;
        need = json_dumpb(string, encoded->text, room, JSON_ENCODE_ANY);
    }
    json_decref(string);
    if (need == 0 || need > room) {
        arena_free(arena, encoded);
        return NULL;
    }
    encoded->length = (uint32_t)need;
    return encoded;
}

struct echo_string *echo_encode(struct arena *arena, const uint8_t *bytes, size_t length)
{
    struct echo_string *string =
        is_plain(bytes, length) ? quote_plain(arena, bytes, length) : encode(arena, bytes, length);

    if (string != NULL)
        string->hash = hash_of(string->text, string->length);
    return string;
}

static struct echo_member *new_member(struct echo *echo)
{
    enum { FIRST = 16 };
    size_t capacity = echo->member_capacity > 0 ? 2 * echo->member_capacity : FIRST;
    struct echo_member *members;

    if (echo->member_count == echo->member_capacity) {
        members = arena_resize(echo->arena, echo->members, capacity * sizeof(*members));
        if (members == NULL)
            return NULL;
        echo->members = members;
        echo->member_capacity = capacity;
    }
    return &echo->members[echo->member_count++];
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

bool echo_add_name(struct echo *echo, const struct echo_string *name)
{
    const struct layout *layout = layout_of(echo);
    const struct words *before = echo->member_count == 0 ? &layout->open : &layout->comma;
    struct echo_member *member = new_member(echo);

    if (member == NULL || !reserve(echo, before->length + name->length + colon.length))
        return false;
    put(echo, before->text, before->length);
    *member = (struct echo_member){
        .name_at = (uint32_t)echo->length, .name_length = name->length, .name_hash = name->hash};
    echo->may_repeat = mark_name(echo, name->hash) || echo->may_repeat;
    put(echo, name->text, name->length);
    put(echo, colon.text, colon.length);
    return true;
}

bool echo_add_value(struct echo *echo, const struct echo_string *value)
{
    struct echo_member *member = &echo->members[echo->member_count - 1];

    member->value_at = (uint32_t)echo->length;
    member->value_length = value->length;
    return append(echo, value->text, value->length);
}

bool echo_add(struct echo *echo, const uint8_t *name, size_t name_length, const uint8_t *value,
              size_t value_length)
{
    struct echo_string *encoded_name = echo_encode(echo->arena, name, name_length);
    struct echo_string *encoded_value = echo_encode(echo->arena, value, value_length);
    bool added = encoded_name != NULL && encoded_value != NULL &&
                 echo_add_name(echo, encoded_name) && echo_add_value(echo, encoded_value);

    arena_free(echo->arena, encoded_value);
    arena_free(echo->arena, encoded_name);
    return added;
}

bool echo_has(const struct echo *echo, const uint8_t *name, size_t name_length)
{
    for (size_t i = 0; i < echo->member_count; i++) {
        const struct echo_member *member = &echo->members[i];

        if (member->name_length == name_length + 2 &&
            memcmp(echo->text + member->name_at + 1, name, name_length) == 0)
            return true;
    }
    return false;
}

bool echo_has_regular(const struct echo *echo)
{
    for (size_t i = 0; i < echo->member_count; i++) {
        if (echo->text[echo->members[i].name_at + 1] != ':')
            return true;
    }
    return false;
}

/* Append to ${body} what stands between the quotes of every value that ${first}'s name has. */
static bool append_values(struct echo *body, const struct echo *arrived,
                          const struct echo_member *first)
{
    static const char cookie[] = "\"cookie\"";
    static const struct words cookie_comma = WORDS("; ");
    static const struct words comma = WORDS(", ");
    bool is_cookie = first->name_length == sizeof(cookie) - 1 &&
                     memcmp(arrived->text + first->name_at, cookie, sizeof(cookie) - 1) == 0;
    const struct echo_member *member = first;

    for (;;) {
        if (!append(body, arrived->text + member->value_at + 1, member->value_length - 2))
            return false;
        if (member->next == 0)
            return true;
        member = &arrived->members[member->next];
        if (!append_words(body, is_cookie ? &cookie_comma : &comma))
            return false;
    }
}

/* Write ${arrived}, in which names come more than once, into ${body} with a member for each. */
static bool assemble(struct echo *body, const struct echo *arrived)
{
    const struct layout *layout = layout_of(arrived);

    for (size_t i = 0; i < arrived->member_count; i++) {
        const struct echo_member *member = &arrived->members[i];

        if (member->repeats)
            continue;
        if (!append_words(body, i == 0 ? &layout->open : &layout->comma) ||
            !append(body, arrived->text + member->name_at, member->name_length) ||
            !append_words(body, &colon) || !append_words(body, &quote) ||
            !append_values(body, arrived, member) || !append_words(body, &quote))
            return false;
    }
    return true;
}

/* --- Names that come more than once --- */

static bool same_name(const struct echo *echo, const struct echo_member *a,
                      const struct echo_member *b)
{
    return a->name_hash == b->name_hash && a->name_length == b->name_length &&
           memcmp(echo->text + a->name_at, echo->text + b->name_at, a->name_length) == 0;
}

static void link_repeat(struct echo *echo, size_t earlier, size_t later)
{
    echo->members[earlier].next = (uint32_t)later;
    echo->members[later].repeats = true;
}

/* Compare each with all before it: for as many fields as requests have, nothing is quicker. */
static bool link_few(struct echo *echo)
{
    bool any = false;

    for (size_t later = 1; later < echo->member_count; later++) {
        size_t earlier = later;

        while (earlier > 0 && !same_name(echo, &echo->members[earlier - 1], &echo->members[later]))
            earlier--;
        if (earlier > 0) {
            link_repeat(echo, earlier - 1, later);
            any = true;
        }
    }
    return any;
}

/* Order places in the list of members by name, those of one name by their arrival. */
static int compare_members(const void *a, const void *b, void *argument)
{
    const struct echo *echo = argument;
    size_t first = *(const size_t *)a;
    size_t second = *(const size_t *)b;
    const struct echo_member *one = &echo->members[first];
    const struct echo_member *other = &echo->members[second];
    int order = 0;

    if (one->name_length != other->name_length)
        return one->name_length < other->name_length ? -1 : 1;
    order = memcmp(echo->text + one->name_at, echo->text + other->name_at, one->name_length);
    if (order != 0)
        return order;
    return first < second ? -1 : first > second;
}

/* Sort, so that no choice of names by a client makes this slow. */
static bool link_many(struct echo *echo, bool *any)
{
    size_t count = echo->member_count;
    size_t *order = malloc(count * sizeof(*order));

    if (order == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, count, sizeof(*order), compare_members, echo);
    for (size_t i = 1; i < count; i++) {
        if (same_name(echo, &echo->members[order[i - 1]], &echo->members[order[i]])) {
            link_repeat(echo, order[i - 1], order[i]);
            *any = true;
        }
    }
    free(order);
    return true;
}

/* Link the members of each name, and tell if there are any. Return false if memory ran out. */
static bool link_repeats(struct echo *echo, bool *any)
{
    enum { FEW = 64 };

    *any = false;
    if (!echo->may_repeat)
        return true;
    if (echo->member_count > FEW)
        return link_many(echo, any);
    *any = link_few(echo);
    return true;
}

/* Replace the text by one with a member for each name. */
static bool join_repeats(struct echo *echo)
{
    struct echo body;

    echo_start(&body, echo->arena, echo->pretty);
    if (!assemble(&body, echo)) {
        echo_free(&body);
        return false;
    }
    arena_free(echo->arena, echo->text);
    echo->text = body.text;
    echo->length = body.length;
    echo->capacity = body.capacity;
    return true;
}

void echo_trim(struct echo *echo)
{
    enum { WORTH_IT = 1024 };
    struct echo_member *members;
    char *text;

    if (echo->capacity - echo->length >= WORTH_IT &&
        (text = arena_resize(echo->arena, echo->text, echo->length)) != NULL) {
        echo->text = text;
        echo->capacity = echo->length;
    }
    if ((echo->member_capacity - echo->member_count) * sizeof(*members) >= WORTH_IT &&
        (members = arena_resize(echo->arena, echo->members,
                                echo->member_count * sizeof(*members))) != NULL) {
        echo->members = members;
        echo->member_capacity = echo->member_count;
    }
}

bool echo_finish(struct echo *echo)
{
    bool any;

    if (echo->member_count == 0 && !append_words(echo, &layout_of(echo)->open))
        return false;
    if (!link_repeats(echo, &any) || (any && !join_repeats(echo)))
        return false;
    arena_free(echo->arena, echo->members);
    echo->members = NULL;
    echo->member_count = echo->member_capacity = 0;
    if (!append_words(echo, &layout_of(echo)->close))
        return false;
    echo_trim(echo);
    return true;
}

const char *echo_library(void)
{
    return jansson_version_str();
}
