/*
 * trace_internal: what the files of trace share: trace.c finds the frames, trace_frame.c writes a
 * line for each, trace_fields.c lines for the fields of field blocks, and trace_line.c puts lines
 * together. For no other file.
 */
#ifndef H2ECHOD_HTTP2_TRACE_INTERNAL_H
#define H2ECHOD_HTTP2_TRACE_INTERNAL_H

#include "base/frame.h"
#include "base/span.h"
#include "http2/trace.h"

#include <nghttp2/nghttp2.h>

/* One direction of the connection. */
struct trace_wire {
    struct frame_reader reader;
    struct frame_header header; /* of the current frame, if there is one */
    bool in_frame;
    size_t left;                   /* bytes of the frame's payload that are still to come */
    size_t payload_length;         /* bytes of it that are kept */
    size_t block_written;          /* bytes of lines for the current field block's fields */
    nghttp2_hd_inflater *inflater; /* owned; NULL after a block that could not be decoded */
    uint8_t payload[TRACE_PAYLOAD_MAX];
};

struct trace {
    struct trace_options options;
    trace_line_fn *write_line;
    void *argument;
    struct trace_wire wires[2];
    size_t line_length;
    char line[TRACE_LINE_MAX];
};

/* A complete frame. */
struct trace_frame {
    enum trace_direction direction;
    struct frame_header header;
    bool reserved;       /* the bit before the stream id is set */
    const char *fault;   /* in which way it is malformed; NULL = it is well-formed */
    size_t padding;      /* bytes */
    struct span payload; /* without padding; of DATA, only the padding's length is kept */
};

/* The colours of nghttp's output. */
enum trace_colour { TRACE_BLUE = 34, TRACE_MAGENTA = 35, TRACE_CYAN = 36 };

/*
 * trace_begin_line(trace, direction), trace_end_line(trace):
 * Begin a line; pass it on.
 */
void trace_begin_line(struct trace *trace, enum trace_direction direction);
void trace_end_line(const struct trace *trace);

/*
 * trace_add(trace, format, ...):
 * Append to the line. What does not fit is cut.
 */
__attribute__((format(printf, 2, 3))) void trace_add(struct trace *trace, const char *format, ...);

/*
 * trace_room(trace):
 * Return how many bytes of a value fit on the line, with some room left for what follows it.
 */
size_t trace_room(const struct trace *trace);

/*
 * trace_add_escaped(trace, bytes):
 * Append any bytes, as log_escape shows them. Return false if they were cut, because they do not
 * fit.
 */
bool trace_add_escaped(struct trace *trace, struct span bytes);

/*
 * trace_add_hex(trace, bytes):
 * Append the bytes in hexadecimal, at most 512 of them.
 */
void trace_add_hex(struct trace *trace, struct span bytes);

/*
 * trace_paint(trace, colour), trace_unpaint(trace):
 * What is appended between them is coloured, if there are colours.
 */
void trace_paint(struct trace *trace, enum trace_colour colour);
void trace_unpaint(struct trace *trace);

/*
 * trace_direction_colour(direction):
 * Return the colour in which the type of a frame is written.
 */
enum trace_colour trace_direction_colour(enum trace_direction direction);

/*
 * trace_begin_frame_line(trace, frame):
 * Begin the line of ${frame} with what its header says.
 */
void trace_begin_frame_line(struct trace *trace, const struct trace_frame *frame);

/*
 * trace_write_frame(trace, frame):
 * Write the lines for ${frame}, whose payload is complete (unless it is longer than
 * TRACE_PAYLOAD_MAX), and for its fields. Sets its fault and padding, and removes the padding from
 * its payload.
 */
void trace_write_frame(struct trace *trace, struct trace_frame *frame);

/*
 * trace_fields_start(trace):
 * Make the decoders. Return false if memory ran out.
 */
bool trace_fields_start(struct trace *trace);

/*
 * trace_fields_free(trace):
 * Free the decoders.
 */
void trace_fields_free(struct trace *trace);

/*
 * trace_write_fields(trace, frame, fragment):
 * Write a line for each field that is complete with ${fragment}, the part of a field block (RFC
 * 9113 section 4.3) in ${frame}.
 */
void trace_write_fields(struct trace *trace, const struct trace_frame *frame, struct span fragment);

/*
 * trace_stop_decoding(trace, frame):
 * A part of a field block, in ${frame}, could not be decoded: then no later one of that direction
 * can. Write a line that says so, once.
 */
void trace_stop_decoding(struct trace *trace, const struct trace_frame *frame);

#endif
