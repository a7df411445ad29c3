/*
 * trace: the frames of a connection in words, from nothing but the bytes of both directions.
 *
 * It stands beside the session, not in it: what nghttp2 ignores, refuses or reads past is in the
 * bytes all the same, and a session that is not traced knows nothing of it. It takes nghttp2's
 * HPACK decoder, one for each direction, and reads all else itself. Pure.
 */
#ifndef H2ECHOD_HTTP2_TRACE_H
#define H2ECHOD_HTTP2_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace;

enum trace_direction { TRACE_RECEIVED, TRACE_SENT };

enum {
    TRACE_LINE_MAX = 4000,        /* bytes of a line with its NUL; longer values are cut */
    TRACE_BLOCK_MAX = 256 * 1024, /* bytes of lines for the fields of one header block */
    TRACE_LINE_COST = 64,         /* that each counts beside its own: what the log puts before it */
    TRACE_PAYLOAD_MAX = 16 * 1024, /* SETTINGS_MAX_FRAME_SIZE, which nobody here raises */
};

struct trace_options {
    bool fields; /* values of fields as well as their names, and the payload of unknown frames */
    bool colours;
};

/* Is told each line, of printable ASCII but for the colours. */
typedef void trace_line_fn(const char *line, void *argument);

/*
 * trace_new(options, tell, argument):
 * Return a trace of one connection, to be ended by trace_end; NULL if memory ran out.
 */
struct trace *trace_new(const struct trace_options *options, trace_line_fn *tell, void *argument);

/*
 * trace_bytes(trace, direction, bytes, length):
 * Tell of each frame that is whole with these bytes, the next ones of ${direction}; of those that
 * were received, the first are the client's preface. Where a header block can't be decoded, or
 * memory runs out for it, that is told in place of its fields; where it has more of them than
 * TRACE_BLOCK_MAX allows, in place of the rest.
 */
void trace_bytes(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                 size_t length);

/*
 * trace_head(trace, direction, bytes, length):
 * Tell of the head of an HTTP/1.1 message that the frames follow: the whole of it where values are
 * shown, else its length.
 */
void trace_head(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                size_t length);

/*
 * trace_end(trace):
 * Tell of frames that were begun and never ended, and free ${trace}. NULL is fine.
 */
void trace_end(struct trace *trace);

#endif
