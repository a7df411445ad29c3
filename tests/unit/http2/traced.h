/* Traces bytes that a test has put together, and keeps the lines. Failures are reported by cmocka.
 */
#ifndef H2ECHOD_TESTS_TRACED_H
#define H2ECHOD_TESTS_TRACED_H

#include "base/wire.h"
#include "http2/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define LENGTH(literal) (sizeof(literal) - 1)

enum {
    TRACED_INPUT_MAX = 1 << 20,
    TRACED_TEXT_MAX = 4 << 20,
    UNKNOWN_TYPE = 0xbb,
};

extern const struct trace_options traced_names_only;
extern const struct trace_options traced_with_values;
extern const struct trace_options traced_in_colours;

/* The bytes to be traced, after the preface. */
extern struct traced_input {
    uint8_t bytes[TRACED_INPUT_MAX];
    size_t length;
} traced_input;

/* The lines of the last trace, each with a newline. */
extern struct traced {
    char text[TRACED_TEXT_MAX];
    size_t length;
    size_t count;
    bool may_have_colours;
} traced;

/* Append bytes, a frame header or a frame to the input. */
void traced_put(const void *bytes, size_t length);
void traced_put_header(size_t length, int type, int flags, uint32_t stream_id);
void traced_put_frame(int type, int flags, uint32_t stream_id, const void *payload, size_t length);

#define TRACED_PUT(type, flags, stream_id, literal)                                                \
    traced_put_frame(type, flags, stream_id, literal, LENGTH(literal))

/* Indexed fields (RFC 7541 section 6.1): of the static table, and the newest of the dynamic one. */
#define HPACK_GET     "\x82"
#define HPACK_HTTP    "\x86"
#define HPACK_SLASH   "\x84"
#define HPACK_NEWEST  "\xbe"
#define HPACK_NEW_A_B "\x40\x01\x61\x01\x62" /* a: b, with incremental indexing */

/* Start a trace, and pass it the preface; it is to be ended by trace_end. */
struct trace *traced_begin(const struct trace_options *options);

/* The trace_line_fn of these traces. Its argument has to be &traced. */
void traced_on_line(const char *line, void *argument);

/* Pass the input to the trace in pieces of ${piece} bytes. */
void traced_feed(struct trace *trace, enum trace_direction direction, size_t piece);

/* Trace the input, from beginning to end. */
void traced_run(const struct trace_options *options, enum trace_direction direction, size_t piece);

/* Fail unless the input gives these lines, in whatever pieces it is passed; then clear the input.
 */
void traced_check_as(const struct trace_options *options, enum trace_direction direction,
                     const char *lines);
void traced_check(const char *lines);

/* Return how often ${words} occur in the lines. */
size_t traced_count(const char *words);

#endif
