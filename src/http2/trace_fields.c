/*
 * trace_fields: the lines of a trace for the fields of a field block, decoded by nghttp2.
 */
#include "http2/trace_internal.h"

#include "base/log.h"

#include <inttypes.h>

enum { NAME_SHOWN_MAX = 256 /* bytes of a field's name */ };

static void begin_field_line(struct trace *trace, const struct trace_frame *frame, const char *mark)
{
    trace_begin_line(trace, frame->direction);
    trace_add(trace, "(stream_id=%" PRId32 "%s) ", frame->header.stream_id, mark);
}

static void write_block_note(struct trace *trace, const struct trace_frame *frame, const char *note)
{
    begin_field_line(trace, frame, "");
    trace_add(trace, "[%s]", note);
    trace_end_line(trace);
}

/* Spaces, and colons other than the first byte, are escaped as well: so the first ": " is where the
 * value begins. */
static void add_field_name(struct trace *trace, struct span name)
{
    for (size_t i = 0; i < name.length && i < NAME_SHOWN_MAX; i++) {
        char shown[LOG_ESCAPE_MIN];

        if ((name.bytes[i] == ':' && i > 0) || name.bytes[i] == ' ')
            trace_add(trace, "\\x%02x", name.bytes[i]);
        else
            trace_add(trace, "%s", log_escape(shown, sizeof(shown), name.bytes + i, 1));
    }
    if (name.length > NAME_SHOWN_MAX)
        trace_add(trace, "... (%zu bytes)", name.length);
}

static void write_field(struct trace *trace, const struct trace_frame *frame,
                        const nghttp2_nv *field)
{
    bool is_sensitive = (field->flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;

    begin_field_line(trace, frame, is_sensitive ? ", sensitive" : "");
    trace_paint(trace, TRACE_BLUE);
    add_field_name(trace, (struct span){field->name, field->namelen});
    trace_unpaint(trace);
    if (trace->options.fields) {
        trace_add(trace, ": ");
        if (!trace_add_escaped(trace, (struct span){field->value, field->valuelen}))
            trace_add(trace, " (%zu bytes)", field->valuelen);
    }
    trace_end_line(trace);
}

/* A block of a few bytes can have thousands of fields of thousands of bytes, by references to the
 * dynamic table. Such a block must not fill the log. */
static void write_field_bounded(struct trace *trace, const struct trace_frame *frame,
                                const nghttp2_nv *field)
{
    struct trace_wire *wire = &trace->wires[frame->direction];

    if (wire->block_written >= TRACE_BLOCK_MAX)
        return;
    write_field(trace, frame, field);
    wire->block_written += trace->line_length + TRACE_LINE_COST;
    if (wire->block_written >= TRACE_BLOCK_MAX)
        write_block_note(trace, frame, "whatever else is in this header block is not shown");
}

/* Decode a part of a field block, and write its fields. Return false if that failed. */
static bool decode_fragment(struct trace *trace, const struct trace_frame *frame,
                            struct span fragment)
{
    nghttp2_hd_inflater *inflater = trace->wires[frame->direction].inflater;
    bool is_last = (frame->header.flags & NGHTTP2_FLAG_END_HEADERS) != 0;
    int flags;

    do {
        nghttp2_nv field;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, fragment.bytes,
                                              fragment.length, is_last);

        if (used < 0)
            return false;
        fragment = span_skip(fragment, (size_t)used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            write_field_bounded(trace, frame, &field);
    } while ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 ||
             ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0 && fragment.length > 0));
    if (is_last)
        nghttp2_hd_inflate_end_headers(inflater);
    return true;
}

void trace_stop_decoding(struct trace *trace, const struct trace_frame *frame)
{
    struct trace_wire *wire = &trace->wires[frame->direction];

    if (wire->inflater == NULL)
        return;
    write_block_note(trace, frame, "the fields can't be decoded, nor any after them");
    nghttp2_hd_inflate_del(wire->inflater);
    wire->inflater = NULL;
}

void trace_write_fields(struct trace *trace, const struct trace_frame *frame, struct span fragment)
{
    struct trace_wire *wire = &trace->wires[frame->direction];

    if (frame->header.type != NGHTTP2_CONTINUATION)
        wire->block_written = 0;
    if (wire->inflater != NULL && !decode_fragment(trace, frame, fragment))
        trace_stop_decoding(trace, frame);
}

/* The table for received fields has the 4096 bytes that a decoder begins with, since the daemon
 * does not announce any other size. The one for sent fields has the size that the client allows,
 * which may be any. */
bool trace_fields_start(struct trace *trace)
{
    struct trace_wire *received = &trace->wires[TRACE_RECEIVED];
    struct trace_wire *sent = &trace->wires[TRACE_SENT];

    return nghttp2_hd_inflate_new(&received->inflater) == 0 &&
           nghttp2_hd_inflate_new(&sent->inflater) == 0 &&
           nghttp2_hd_inflate_change_table_size(sent->inflater, UINT32_MAX) == 0;
}

void trace_fields_free(struct trace *trace)
{
    for (size_t i = 0; i < 2; i++) {
        if (trace->wires[i].inflater != NULL)
            nghttp2_hd_inflate_del(trace->wires[i].inflater);
    }
}
