/*
 * echo: a request's fields, in the order in which they arrive, become the body of its answer.
 *
 * The body is one JSON object, grown as text: names and values are encoded, by jansson where they
 * need more than quotes, and this puts them in order. A name that comes again adds its value to the
 * member that has it. A field that was encoded for an earlier request can be copied from there.
 * Pure: no I/O.
 */
#ifndef H2ECHOD_ECHO_ECHO_H
#define H2ECHOD_ECHO_ECHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* What the caller knows a field by: two that have the same key are the same. */
struct echo_key {
    void *name;
    void *value;
};

/* A field in an echo's text: the name in quotes, a colon and a space, the value in quotes. */
struct echo_field {
    struct echo_key key;
    uint32_t name_at;
    uint32_t name_length; /* with the quotes */
    uint32_t value_length;
    uint32_t name_hash;
};

enum { ECHO_NAME_WORDS = 4 };

/* The fields that have arrived; their list is to be read. */
struct echo {
    struct arena *arena; /* not owned */
    struct echo_field *fields;
    size_t field_count;
    size_t field_capacity;
    char *text; /* all of them, and what stands before each; not terminated */
    size_t length;
    size_t capacity;
    uint64_t names_seen[ECHO_NAME_WORDS]; /* by their hashes */
    bool may_repeat;                      /* a name may have come twice */
    bool pretty;
};

/* What is answered: never changed, and freed when nobody shares it any more. */
struct echo_body {
    size_t references;
    size_t length;
    char text[]; /* not terminated */
};

/*
 * echo_start(echo, arena, pretty):
 * Make ${echo} one of no fields with memory from ${arena}, its body indented by two if ${pretty}.
 * What it held before must have been freed.
 */
void echo_start(struct echo *echo, struct arena *arena, bool pretty);

/*
 * echo_add(echo, key, name, name_length, value, value_length):
 * Add a field: its value as UTF-8 where all of it is valid UTF-8, else each byte as its Latin-1
 * character. Return false if memory ran out; ${echo} is then only fit to be freed or cleared.
 */
bool echo_add(struct echo *echo, struct echo_key key, const uint8_t *name, size_t name_length,
              const uint8_t *value, size_t value_length);

/*
 * echo_find(echo, place, most, key):
 * Return the field of ${echo} that has ${key}, or NULL if it is not one of the ${most} that begin
 * at ${place} in the list.
 */
const struct echo_field *echo_find(const struct echo *echo, size_t place, size_t most,
                                   struct echo_key key);

/*
 * echo_copy(echo, other, field):
 * Add ${field}, one of ${other}'s, to ${echo}. Return as echo_add.
 */
bool echo_copy(struct echo *echo, const struct echo *other, const struct echo_field *field);

/*
 * echo_add_value(echo, other, like, value_key, value, length):
 * Add a field of another value, whose name, and the key's, are as ${like} has them, one of
 * ${other}'s. Return as echo_add.
 */
bool echo_add_value(struct echo *echo, const struct echo *other, const struct echo_field *like,
                    void *value_key, const uint8_t *value, size_t length);

/*
 * echo_has(echo, name, name_length):
 * Return true if there is a field of that name, one that JSON does not escape.
 */
bool echo_has(const struct echo *echo, const uint8_t *name, size_t name_length);

/*
 * echo_has_regular(echo):
 * Return true if there is a field that is no pseudo-header field.
 */
bool echo_has_regular(const struct echo *echo);

/*
 * echo_compose(echo):
 * Return the body that answers these fields, with memory from the echo's arena, to be dropped by
 * the caller. The values of a name that came more than once are joined in the first one's place, by
 * ", " (RFC 9110 section 5.3), those of cookie by "; " (RFC 9113 section 8.2.3). NULL if memory ran
 * out.
 */
struct echo_body *echo_compose(struct echo *echo);

/*
 * echo_clear(echo):
 * Forget every field, but keep the memory for others.
 */
void echo_clear(struct echo *echo);

/*
 * echo_free(echo):
 * Free what ${echo} owns and leave it with no fields. Bodies stay.
 */
void echo_free(struct echo *echo);

/*
 * echo_body_new(arena, length):
 * Return a body of ${length} bytes, still to be written, with memory from ${arena}, to be dropped;
 * NULL if memory ran out.
 */
struct echo_body *echo_body_new(struct arena *arena, size_t length);

/*
 * echo_body_share(body):
 * Return ${body}, to be dropped once more.
 */
struct echo_body *echo_body_share(struct echo_body *body);

/*
 * echo_body_drop(arena, body):
 * Free ${body}, whose memory is from ${arena}, if that was the last one who shares it. NULL is
 * fine.
 */
void echo_body_drop(struct arena *arena, struct echo_body *body);

/*
 * echo_answers_path(text, length, path):
 * Return true if ${text} is the body that answers a request for ${path}, as far as others than the
 * one who answered can tell: a JSON object that has it as ":path". Otherwise errno is ENOMEM if
 * memory ran out, else 0.
 */
bool echo_answers_path(const char *text, size_t length, const char *path);

/*
 * echo_library(void):
 * Return the version of jansson in use, a static string.
 */
const char *echo_library(void);

#endif
