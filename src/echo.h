/*
 * echo: a request's fields, in the order in which they arrive, become the body of its answer.
 *
 * The body is one JSON object, grown as text: names and values are encoded, by jansson where they
 * need more than quotes, and this puts them in order. A name that comes again adds its value to the
 * member that has it. Pure: no I/O.
 */
#ifndef H2ECHOD_ECHO_H
#define H2ECHOD_ECHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct echo_member;

/* A name or a value as JSON has it, with its quotes. */
struct echo_string {
    uint32_t length;
    uint32_t hash; /* of the text */
    char text[];   /* not terminated */
};

enum { ECHO_NAME_WORDS = 4 };

/* One body; text and length are to be read, after echo_finish. */
struct echo {
    struct arena *arena; /* not owned */
    char *text;          /* not terminated; owned */
    size_t length;
    size_t capacity;
    struct echo_member *members; /* owned */
    size_t member_count;
    size_t member_capacity;
    uint64_t names_seen[ECHO_NAME_WORDS]; /* by their hashes */
    bool may_repeat;                      /* a name may have come twice */
    bool pretty;
};

/*
 * echo_start(echo, arena, pretty):
 * Make ${echo} an empty body with memory from ${arena}, indented by two if ${pretty}. What it held
 * before must have been freed.
 */
void echo_start(struct echo *echo, struct arena *arena, bool pretty);

/*
 * echo_encode(arena, bytes, length):
 * Return ${bytes} as a JSON string: as UTF-8 where all of them are valid UTF-8, else each byte as
 * its Latin-1 character. The caller's, to be freed by arena_free; NULL if memory ran out.
 */
struct echo_string *echo_encode(struct arena *arena, const uint8_t *bytes, size_t length);

/*
 * echo_add_name(echo, name):
 * Begin a field; echo_add_value must follow. Return false if memory ran out; ${echo} is then only
 * fit to be freed.
 */
bool echo_add_name(struct echo *echo, const struct echo_string *name);

/*
 * echo_add_value(echo, value):
 * End the field that echo_add_name began. Where its name is there already, the value is joined to
 * the first one's with ", " (RFC 9110 section 5.3), "; " for cookie (RFC 9113 section 8.2.3).
 * Return as echo_add_name.
 */
bool echo_add_value(struct echo *echo, const struct echo_string *value);

/*
 * echo_add(echo, name, name_length, value, value_length):
 * Add a field whose strings nobody has encoded yet. Return as echo_add_name.
 */
bool echo_add(struct echo *echo, const uint8_t *name, size_t name_length, const uint8_t *value,
              size_t value_length);

/*
 * echo_finish(echo):
 * Close the object: text and length are the body from now on, and no field may follow. Return
 * false if memory ran out.
 */
bool echo_finish(struct echo *echo);

/*
 * echo_trim(echo):
 * Let ${echo} hold no more memory than its fields take: it will wait, for content maybe. It may
 * still grow.
 */
void echo_trim(struct echo *echo);

/*
 * echo_has(echo, name, name_length):
 * Return true if a field of that name, one that JSON does not escape, was added and echo_finish was
 * not called yet.
 */
bool echo_has(const struct echo *echo, const uint8_t *name, size_t name_length);

/*
 * echo_has_regular(echo):
 * Return true if a field that is no pseudo-header field was added, and echo_finish not yet called.
 */
bool echo_has_regular(const struct echo *echo);

/*
 * echo_free(echo):
 * Free what ${echo} owns and leave it empty.
 */
void echo_free(struct echo *echo);

/*
 * echo_library(void):
 * Return the version of jansson in use, a static string.
 */
const char *echo_library(void);

#endif
