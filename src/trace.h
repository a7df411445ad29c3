/*
 * trace: the frames of a connection in words, from nothing but the bytes of both directions.
 *
 * It stands beside the session, not in it: what nghttp2 ignores, refuses or reads past is in the
 * bytes all the same, and a session that is not traced knows nothing of it. Pure.
 */
#ifndef H2ECHOD_TRACE_H
#define H2ECHOD_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace;

enum trace_direction { TRACE_RECEIVED, TRACE_SENT };

struct trace_options {
    bool fields; /* values of fields as well as their names, and the payload of unknown frames */
    bool colours;
};

/* Is told each line, of printable ASCII but for the colours. */
typedef void trace_line_fn(const char *line, void *argument);

/*
 * trace_new(options, tell, argument):
 * Return a trace of one connection, to be freed by trace_free; NULL if memory ran out.
 */
struct trace *trace_new(const struct trace_options *options, trace_line_fn *tell, void *argument);

/*
 * trace_free(trace):
 * Free ${trace}. NULL is fine.
 */
void trace_free(struct trace *trace);

/*
 * trace_bytes(trace, direction, bytes, length):
 * Tell of each frame that is whole with these bytes, the next ones of ${direction}; of those that
 * were received, the first are the client's preface. Where memory runs out, or a header block can't
 * be decoded, that is told in place of its fields.
 */
void trace_bytes(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                 size_t length);

#endif
