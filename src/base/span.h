/*
 * span: borrowed bytes and their length. Pure.
 */
#ifndef H2ECHOD_BASE_SPAN_H
#define H2ECHOD_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Not terminated. An empty span may have no bytes at all (NULL). */
struct span {
    const uint8_t *bytes;
    size_t length;
};

/*
 * size_min(a, b):
 * Return the smaller of two sizes.
 */
static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * span_of(text):
 * Return the bytes of the string ${text}, without its NUL.
 */
static inline struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/*
 * span_is(span, text):
 * Return true if ${span} has the same bytes as the string ${text}.
 */
static inline bool span_is(struct span span, const char *text)
{
    return strlen(text) == span.length && memcmp(span.bytes, text, span.length) == 0;
}

/*
 * span_same_ignoring_case(a, b):
 * Return true if both have the same bytes, but for the case of ASCII letters.
 */
static inline bool span_same_ignoring_case(struct span a, struct span b)
{
    return a.length == b.length &&
           strncasecmp((const char *)a.bytes, (const char *)b.bytes, a.length) == 0;
}

/*
 * span_is_ignoring_case(span, text):
 * As span_is, but for the case of ASCII letters: for field names, media types and other tokens.
 */
static inline bool span_is_ignoring_case(struct span span, const char *text)
{
    return span_same_ignoring_case(span, span_of(text));
}

/*
 * span_skip(span, count):
 * Return what follows the first ${count} bytes of ${span}, which must have as many.
 */
static inline struct span span_skip(struct span span, size_t count)
{
    return (struct span){span.bytes + count, span.length - count};
}

/*
 * span_is_blank(byte):
 * Return true if ${byte} is a space or a tab: white space within a field's value (RFC 9110 section
 * 5.6.3).
 */
static inline bool span_is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/*
 * span_trim(span):
 * Return ${span} without the spaces and tabs at its ends.
 */
struct span span_trim(struct span span);

/*
 * span_take_until(span, end):
 * Remove everything up to the first ${end}, and that byte as well, from the beginning of ${span};
 * return what stood before it. Where there is no ${end}, that is all of ${span}.
 */
struct span span_take_until(struct span *span, uint8_t end);

#endif
