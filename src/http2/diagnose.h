/*
 * diagnose: why a request, a stream or a connection was refused, for the log: the rule that was
 * broken, and the section of the RFC that has it.
 *
 * What is refused is decided by nghttp2 and the session. This finds out why, after the fact; it
 * never runs for a valid request. Pure.
 */
#ifndef H2ECHOD_HTTP2_DIAGNOSE_H
#define H2ECHOD_HTTP2_DIAGNOSE_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What came before the refused field in its section. */
struct diagnose_context {
    bool trailers;      /* the section is the trailer section */
    bool after_regular; /* a field that is not a pseudo-header field came before */
    bool repeated;      /* a field of the same name came before */
};

/* Which fields a section had that was refused as a whole. */
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

/* The field that breaks a rule, and the rule with its RFC section. Both strings are static. */
struct diagnosis {
    const char *field;
    const char *rule;
};

/*
 * diagnose_field(context, name, value):
 * Return the rule, with its RFC section, that a field breaks which nghttp2 refused. The string is
 * static.
 */
const char *diagnose_field(const struct diagnose_context *context, struct span name,
                           struct span value);

/*
 * diagnose_value_length(name, value):
 * Return how many bytes of a refused field's value are shown: those before a NUL if nghttp2 1.70
 * passes on only those, else all.
 */
size_t diagnose_value_length(struct span name, struct span value);

/*
 * diagnose_section(section):
 * Return which field is missing or not allowed in a section that nghttp2 refused as a whole,
 * although each of its fields is valid.
 */
struct diagnosis diagnose_section(const struct diagnose_presence *section);

/*
 * diagnose_stream(error):
 * Return the rule for which a stream was reset with the error code ${error} (RFC 9113 section 7),
 * as " (RFC ...)" or with the name of a setting in it; "" if the code does not determine the rule.
 * The string is static.
 */
const char *diagnose_stream(uint32_t error);

/*
 * diagnose_connection(error, debug_data, length):
 * Return the same for a connection that nghttp2 ends with GOAWAY, its error code ${error} and
 * ${length} bytes of ${debug_data}. (A reason that the session has itself comes with its rule: see
 * struct reason.)
 */
const char *diagnose_connection(uint32_t error, const char *debug_data, size_t length);

#endif
