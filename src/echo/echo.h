/*
 * echo: a request's fields, in the order in which they arrive, become the body of the response.
 *
 * The body is one JSON object. It is put together as text: names and values are encoded as they
 * arrive, by jansson if they need more than quotes. If a name occurs again, its value is appended
 * to the member that has the name already. A field that was encoded for an earlier request can be
 * copied from there. Pure.
 */
#ifndef H2ECHOD_ECHO_ECHO_H
#define H2ECHOD_ECHO_ECHO_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* Identifies a field for the caller: two fields with the same key are the same. */
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

enum { ECHO_NAME_WORDS = 4 /* words of 64 bits */ };

/* The fields that have arrived. Callers may read the list of them. */
struct echo {
    struct arena *arena; /* borrowed */
    struct echo_field *fields;
    size_t field_count;
    size_t field_capacity;
    char *text; /* of all fields, and what is between them; not terminated */
    size_t length;
    size_t capacity;
    uint64_t names_seen[ECHO_NAME_WORDS]; /* a Bloom filter, by the names' hashes */
    bool may_repeat;                      /* a name may have occurred twice */
    bool pretty;
};

/* The body of a response. It is never changed once it is complete, and shared by reference counts.
 */
struct echo_body {
    size_t references;
    size_t length;
    char text[]; /* not terminated */
};

/*
 * echo_start(echo, arena, pretty):
 * Start ${echo} without fields, with memory from ${arena}; its body is indented if ${pretty}.
 * Nothing that it had before is freed.
 */
void echo_start(struct echo *echo, struct arena *arena, bool pretty);

/*
 * echo_add(echo, key, name, value):
 * Add a field. A value that is valid UTF-8 becomes the same text; of any other value, each byte
 * becomes its Latin-1 character. Return false if memory ran out; then ${echo} may only be freed or
 * cleared.
 */
bool echo_add(struct echo *echo, struct echo_key key, struct span name, struct span value);

/*
 * echo_find(echo, place, count, key):
 * Return the field with ${key} among the ${count} fields from ${place} in the list on; NULL if it
 * is not one of them.
 */
const struct echo_field *echo_find(const struct echo *echo, size_t place, size_t count,
                                   struct echo_key key);

/*
 * echo_copy(echo, other, field):
 * Add a copy of ${field}, which is in ${other}. Return value as for echo_add.
 */
bool echo_copy(struct echo *echo, const struct echo *other, const struct echo_field *field);

/*
 * echo_add_value(echo, other, like, value_key, value):
 * Add a field that has the same name as ${like}, which is in ${other}, and another value. Its key
 * has
 * ${like}'s name and ${value_key}. Return value as for echo_add.
 */
bool echo_add_value(struct echo *echo, const struct echo *other, const struct echo_field *like,
                    void *value_key, struct span value);

/*
 * echo_has(echo, name):
 * Return true if there is a field of that name, which must be one that JSON does not escape.
 */
bool echo_has(const struct echo *echo, struct span name);

/*
 * echo_has_regular(echo):
 * Return true if there is a field other than pseudo-header fields.
 */
bool echo_has_regular(const struct echo *echo);

/*
 * echo_compose(echo):
 * Return the body that echoes these fields, with memory from the echo's arena, to be freed by
 * echo_body_drop. The values of a name that occurs more than once are joined where the name occurs
 * first, by ", " (RFC 9110 section 5.3), or by "; " for cookie (RFC 9113 section 8.2.3). NULL if
 * memory ran out.
 */
struct echo_body *echo_compose(struct echo *echo);

/*
 * echo_clear(echo):
 * Remove every field, but keep the memory for others.
 */
void echo_clear(struct echo *echo);

/*
 * echo_free(echo):
 * Free what ${echo} owns, and leave it without fields. Bodies stay valid.
 */
void echo_free(struct echo *echo);

/*
 * echo_body_new(arena, length):
 * Return a body of ${length} bytes, which the caller has to write, with memory from ${arena}, to be
 * freed by echo_body_drop; NULL if memory ran out.
 */
struct echo_body *echo_body_new(struct arena *arena, size_t length);

/*
 * echo_body_share(body):
 * Return ${body} with one more reference, for another echo_body_drop.
 */
struct echo_body *echo_body_share(struct echo_body *body);

/*
 * echo_body_drop(arena, body):
 * Drop a reference to ${body}, whose memory is from ${arena}; free it if that was the last one.
 * NULL is allowed.
 */
void echo_body_drop(struct arena *arena, struct echo_body *body);

/*
 * echo_answers_path(text, length, path):
 * Return true if ${text} could be the body of the response to a request for ${path}: a JSON object
 * with that ":path". This is for the probe. If it returns false, errno is ENOMEM if memory ran out,
 * else 0.
 */
bool echo_answers_path(const char *text, size_t length, const char *path);

/*
 * echo_library(void):
 * Return the version of jansson that is in use, a static string.
 */
const char *echo_library(void);

#endif
