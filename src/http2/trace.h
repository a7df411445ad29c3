/*
 * trace: the frames of a connection as lines of text, from nothing but the bytes of both
 * directions.
 *
 * It does not depend on the session: the bytes also show what nghttp2 ignores, refuses or skips,
 * and a session that is not traced has no cost. Fields are decoded by nghttp2's HPACK decoder, one
 * for each direction; everything else is parsed here. Pure.
 */
#ifndef H2ECHOD_HTTP2_TRACE_H
#define H2ECHOD_HTTP2_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace;

enum trace_direction { TRACE_RECEIVED, TRACE_SENT };

enum {
    TRACE_LINE_MAX = 4000,         /* bytes of a line with its NUL; longer values are cut */
    TRACE_BLOCK_MAX = 256 * 1024,  /* bytes of lines for the fields of one field block */
    TRACE_LINE_COST = 64,          /* bytes that each line counts extra, for the log's own text */
    TRACE_PAYLOAD_MAX = 16 * 1024, /* SETTINGS_MAX_FRAME_SIZE, which the daemon does not raise */
};

struct trace_options {
    bool fields; /* show values of fields besides their names, and payloads of unknown frames */
    bool colours;
};

/* Takes one line, without a newline: printable ASCII, and escape sequences if there are colours. */
typedef void trace_line_fn(const char *line, void *argument);

/*
 * trace_new(options, write_line, argument):
 * Return the trace of one connection, to be freed by trace_end, or NULL if memory ran out. Each
 * line is passed to ${write_line} together with ${argument}.
 */
struct trace *trace_new(const struct trace_options *options, trace_line_fn *write_line,
                        void *argument);

/*
 * trace_bytes(trace, direction, bytes, length):
 * Read the next bytes of ${direction}, and write lines for each frame that is complete. The first
 * bytes that are received are the client's preface. If a field block cannot be decoded, or memory
 * runs out for it, a line says so instead of its fields; if its fields take more than
 * TRACE_BLOCK_MAX, a line stands for the rest.
 */
void trace_bytes(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                 size_t length);

/*
 * trace_head(trace, direction, bytes, length):
 * Write a line for the head of an HTTP/1.1 message, which comes before the frames when a connection
 * is upgraded: with all of the head if values are shown, else only with its length.
 */
void trace_head(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                size_t length);

/*
 * trace_end(trace):
 * Write a line for each frame that is incomplete, and free ${trace}. NULL is allowed.
 */
void trace_end(struct trace *trace);

#endif
