/*
 * refusal: why something is refused, in words with the rule's place in the RFCs.
 *
 * nghttp2 and the session decide what is; this only tells a person why. It runs when something was
 * refused, never for a good request. Pure.
 */
#ifndef H2ECHOD_HTTP2_DIAGNOSE_H
#define H2ECHOD_HTTP2_DIAGNOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stood before the refused field in its section. */
struct diagnose_context {
    bool trailers;      /* the field is in the trailers, not the header section */
    bool after_regular; /* a field that is no pseudo-header field stands before it */
    bool repeated;      /* a field of the same name stands before it */
};

/* Which fields a header section had that is refused as a whole. */
struct diagnose_presence {
    bool trailers; /* it is the trailer section */
    bool ends;     /* END_STREAM came with it */
    bool connect;  /* the method is CONNECT */
    bool method;
    bool scheme;
    bool path;
    bool authority;
    bool host;
    bool content_length;
};

/* The verdict: the field that is at fault, and the rule. Both are static. */
struct diagnosis {
    const char *field;
    const char *rule;
};

/*
 * diagnose_field(context, name, name_length, value, value_length):
 * Return the rule, with its RFC section, that a field breaks which nghttp2 refused. The string is
 * static.
 */
const char *diagnose_field(const struct diagnose_context *context, const uint8_t *name,
                           size_t name_length, const uint8_t *value, size_t value_length);

/*
 * diagnose_value_length(name, name_length, value, value_length):
 * Return how many bytes of a refused field's value are to be told: those before a NUL where nghttp2
 * 1.70 hands out no others, else all.
 */
size_t diagnose_value_length(const uint8_t *name, size_t name_length, const uint8_t *value,
                             size_t value_length);

/*
 * diagnose_section(section):
 * Return which field is missing, or not allowed, in a header section whose fields were each fine
 * but which nghttp2 refused as a whole, and the rule.
 */
struct diagnosis diagnose_section(const struct diagnose_presence *section);

/*
 * diagnose_stream(error):
 * Return the rule that a stream was reset for with ${error} (RFC 9113 section 7), " (RFC ...)" or
 * with the setting's name in it, where the code alone tells; else "". The string is static.
 */
const char *diagnose_stream(uint32_t error);

/*
 * diagnose_connection(error, words, length):
 * Return the same for a connection that nghttp2 ends with ${error}; ${words} are the ${length}
 * bytes of its GOAWAY's debug data. Reasons of the session's own bring their rule: see struct
 * reason.
 */
const char *diagnose_connection(uint32_t error, const char *words, size_t length);

#endif
