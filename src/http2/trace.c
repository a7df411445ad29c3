#include "http2/trace.h"

#include "http2/trace_internal.h"

#include <stdlib.h>

/* --- Frames ---------------------------------------------------------------------------------- */

/* frame_header has the stream id without the reserved bit before it. */
static bool has_reserved_bit(const struct frame_reader *reader)
{
    return reader->header[WIRE_FRAME_HEADER_SIZE - WIRE_STREAM_ID_SIZE] >> 7 != 0;
}

static struct trace_frame current_frame(const struct trace *trace, enum trace_direction direction)
{
    const struct trace_wire *wire = &trace->wires[direction];

    return (struct trace_frame){
        .direction = direction,
        .header = wire->header,
        .reserved = has_reserved_bit(&wire->reader),
        .payload = {wire->payload, wire->payload_length},
    };
}

/* How many bytes of a payload are needed: of DATA, only the length of its padding. */
static size_t needed_payload(const struct frame_header *header)
{
    if (header->length > TRACE_PAYLOAD_MAX)
        return 0;
    return size_min(header->length, header->type == WIRE_DATA ? 1 : TRACE_PAYLOAD_MAX);
}

static void trace_end_frame(struct trace *trace, enum trace_direction direction)
{
    struct trace_wire *wire = &trace->wires[direction];
    struct trace_frame frame = current_frame(trace, direction);

    if (frame.header.length <= TRACE_PAYLOAD_MAX)
        trace_write_frame(trace, &frame);
    wire->in_frame = false;
    wire->payload_length = 0;
}

/* The header of a frame is complete. If the frame is too long, the session ends the connection
 * without reading its payload, so it is written now. */
static void trace_begin_frame(struct trace *trace, enum trace_direction direction)
{
    struct trace_wire *wire = &trace->wires[direction];
    struct trace_frame frame = current_frame(trace, direction);

    wire->in_frame = true;
    wire->left = wire->header.length;
    if (wire->header.length > TRACE_PAYLOAD_MAX)
        trace_write_frame(trace, &frame);
    if (wire->left == 0)
        trace_end_frame(trace, direction);
}

/* Read those of the bytes that belong to the current frame's payload. */
static void read_payload(struct trace *trace, enum trace_direction direction, struct span bytes)
{
    struct trace_wire *wire = &trace->wires[direction];
    size_t step = size_min(bytes.length, wire->left);
    size_t kept;

    if (step == 0)
        return;
    kept = size_min(step, needed_payload(&wire->header) - wire->payload_length);
    memcpy(wire->payload + wire->payload_length, bytes.bytes, kept);
    wire->payload_length += kept;
    wire->left -= step;
    if (wire->left == 0)
        trace_end_frame(trace, direction);
}

void trace_bytes(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                 size_t length)
{
    struct trace_wire *wire = &trace->wires[direction];
    struct span rest = {bytes, length};
    size_t looked_at;

    while (rest.length > 0) {
        read_payload(trace, direction, rest);
        /* This skips the payload, too. */
        if (frame_reader_next(&wire->reader, rest.bytes, rest.length, &looked_at, &wire->header))
            trace_begin_frame(trace, direction);
        rest = span_skip(rest, looked_at);
    }
}

void trace_head(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                size_t length)
{
    trace_begin_line(trace, direction);
    trace_paint(trace, trace_direction_colour(direction));
    trace_add(trace, "HTTP/1.1");
    trace_unpaint(trace);
    trace_add(trace, " head <length=%zu>", length);
    if (trace->options.fields) {
        trace_add(trace, " \"");
        (void)trace_add_escaped(trace, (struct span){bytes, length});
        trace_add(trace, "\"");
    }
    trace_end_line(trace);
}

/* --- Life cycle ------------------------------------------------------------------------------ */

static void free_trace(struct trace *trace)
{
    trace_fields_free(trace);
    free(trace);
}

struct trace *trace_new(const struct trace_options *options, trace_line_fn *write_line,
                        void *argument)
{
    struct trace *trace = calloc(1, sizeof(*trace));

    if (trace == NULL)
        return NULL;
    trace->options = *options;
    trace->write_line = write_line;
    trace->argument = argument;
    frame_reader_init(&trace->wires[TRACE_RECEIVED].reader);
    if (trace_fields_start(trace))
        return trace;
    free_trace(trace);
    return NULL;
}

static void write_incomplete(struct trace *trace, enum trace_direction direction)
{
    const struct trace_wire *wire = &trace->wires[direction];
    size_t header_length = frame_reader_unfinished(&wire->reader);
    struct trace_frame frame = current_frame(trace, direction);

    if (header_length > 0) {
        trace_begin_line(trace, direction);
        trace_add(trace, "frame ; ended after %zu bytes of its header", header_length);
    } else if (wire->in_frame && wire->header.length <= TRACE_PAYLOAD_MAX) {
        trace_begin_frame_line(trace, &frame);
        trace_add(trace, " ; ended after %zu bytes", wire->header.length - wire->left);
    } else {
        return;
    }
    trace_end_line(trace);
}

void trace_end(struct trace *trace)
{
    if (trace == NULL)
        return;
    write_incomplete(trace, TRACE_RECEIVED);
    write_incomplete(trace, TRACE_SENT);
    free_trace(trace);
}
