/*
 * trace_frame: the line of a trace for a frame: its header, its payload, and what is wrong with it.
 */
#include "http2/trace_internal.h"

#include "base/log.h"
#include "base/wire.h"

#include <inttypes.h>

enum { COUNT_SIZE = 2 /* bytes of a string's length, in ALTSVC and ORIGIN */ };

/* --- Parts of payloads ----------------------------------------------------------------------- */

/* Remove a string and the two bytes of its length before it from ${bytes}, and return it: what is
 * there, where it is incomplete. */
static struct span take_counted(struct span *bytes)
{
    struct span taken = {bytes->bytes, 0};

    if (bytes->length < COUNT_SIZE) {
        *bytes = span_skip(*bytes, bytes->length);
        return taken;
    }
    taken = span_skip(*bytes, COUNT_SIZE);
    taken.length = size_min(wire_read_u16(bytes->bytes), taken.length);
    *bytes = span_skip(*bytes, COUNT_SIZE + taken.length);
    return taken;
}

/* A number of 31 bits, with the reserved bit before it if that is set. */
static void add_number(struct trace *trace, const char *name, int32_t number, bool reserved)
{
    trace_add(trace, "%s=%" PRId32, name, number);
    if (reserved)
        trace_add(trace, ", reserved=1");
}

static void add_number_at(struct trace *trace, const char *name, const uint8_t *bytes)
{
    add_number(trace, name, wire_read_u31(bytes), bytes[0] >> 7 != 0);
}

static void add_dependency(struct trace *trace, const uint8_t *bytes)
{
    struct wire_dependency dependency = wire_read_dependency(bytes);

    trace_add(trace, "dep_stream_id=%" PRId32 ", weight=%d, exclusive=%d", dependency.stream_id,
              dependency.weight, dependency.exclusive);
}

static void add_error_code(struct trace *trace, uint32_t code)
{
    /* nghttp2 returns "unknown" for a code that it does not know. */
    trace_add(trace, "error_code=%s(0x%02" PRIx32 ")", nghttp2_http2_strerror(code), code);
}

/* --- Payloads, by type ----------------------------------------------------------------------- */

static void add_data(struct trace *trace, const struct trace_frame *frame)
{
    if ((frame->header.flags & WIRE_FLAG_PADDED) != 0)
        trace_add(trace, " (padlen=%zu)", frame->padding);
}

static void add_headers(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (padlen=%zu", frame->padding);
    if ((frame->header.flags & WIRE_FLAG_PRIORITY) != 0) {
        trace_add(trace, ", ");
        add_dependency(trace, frame->payload.bytes);
    }
    trace_add(trace, ")");
}

static void add_priority(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (");
    add_dependency(trace, frame->payload.bytes);
    trace_add(trace, ")");
}

static void add_rst_stream(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (");
    add_error_code(trace, wire_read_u32(frame->payload.bytes));
    trace_add(trace, ")");
}

/* They go on on another line where one is full. */
static void add_settings(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (niv=%zu)", frame->payload.length / WIRE_SETTING_SIZE);
    for (struct span left = frame->payload; left.length >= WIRE_SETTING_SIZE;
         left = span_skip(left, WIRE_SETTING_SIZE)) {
        struct wire_setting setting = wire_read_setting(left.bytes);
        const char *name = wire_setting_name(setting.id);

        if (trace_room(trace) == 0) {
            trace_end_line(trace);
            trace_begin_line(trace, frame->direction);
            trace_add(trace, "SETTINGS, more");
        }
        trace_add(trace, " [%s%s(0x%02x):%" PRIu32 "]", name != NULL ? "SETTINGS_" : "",
                  name != NULL ? name : "UNKNOWN", setting.id, setting.value);
    }
}

static void add_push_promise(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (padlen=%zu, ", frame->padding);
    add_number_at(trace, "promised_stream_id", frame->payload.bytes);
    trace_add(trace, ")");
}

static void add_ping(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (opaque_data=");
    trace_add_hex(trace, (struct span){frame->payload.bytes, WIRE_PING_SIZE});
    trace_add(trace, ")");
}

static void add_goaway(struct trace *trace, const struct trace_frame *frame)
{
    struct span debug = span_skip(frame->payload, WIRE_GOAWAY_SIZE);

    trace_add(trace, " (");
    add_number_at(trace, "last_stream_id", frame->payload.bytes);
    trace_add(trace, ", ");
    add_error_code(trace, wire_read_u32(frame->payload.bytes + WIRE_STREAM_ID_SIZE));
    trace_add(trace, ", opaque_data(%zu)=[", debug.length);
    (void)trace_add_escaped(trace, debug);
    trace_add(trace, "])");
}

static void add_window_update(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (");
    add_number_at(trace, "window_size_increment", frame->payload.bytes);
    trace_add(trace, ")");
}

/* RFC 7838 section 4. */
static void add_altsvc(struct trace *trace, const struct trace_frame *frame)
{
    struct span value = frame->payload;

    trace_add(trace, " (origin=[");
    (void)trace_add_escaped(trace, take_counted(&value));
    trace_add(trace, "], altsvc_field_value=[");
    (void)trace_add_escaped(trace, value);
    trace_add(trace, "])");
}

/* RFC 8336 section 2.1. */
static void add_origin(struct trace *trace, const struct trace_frame *frame)
{
    struct span left = frame->payload;

    while (left.length > 0 && trace_room(trace) >= (size_t)2 * LOG_ESCAPE_MIN) {
        trace_add(trace, " [");
        (void)trace_add_escaped(trace, take_counted(&left));
        trace_add(trace, "]");
    }
    if (left.length > 0)
        trace_add(trace, " ...");
}

/* RFC 9218 section 7.1. */
static void add_priority_update(struct trace *trace, const struct trace_frame *frame)
{
    trace_add(trace, " (");
    add_number_at(trace, "prioritized_stream_id", frame->payload.bytes);
    trace_add(trace, ", priority_field_value=[");
    (void)trace_add_escaped(trace, span_skip(frame->payload, WIRE_STREAM_ID_SIZE));
    trace_add(trace, "])");
}

static void add_unknown(struct trace *trace, const struct trace_frame *frame)
{
    if (!trace->options.fields || frame->payload.length == 0)
        return;
    trace_add(trace, " (payload=");
    trace_add_hex(trace, frame->payload);
    trace_add(trace, ")");
}

/* --- Types ----------------------------------------------------------------------------------- */

struct frame_type {
    const char *name;     /* NULL = unknown */
    const char *flags[8]; /* the names of the bits that have a meaning, the lowest first */
    size_t min_length;    /* bytes of payload, without padding and stream dependency */
    bool is_exact;        /* it may not be longer, either */
    bool has_fields;      /* the rest of the payload is a part of a field block */
    void (*add)(struct trace *trace, const struct trace_frame *frame);
};

enum { PADDED_BIT = 3 };

static const struct frame_type frame_types[] = {
    [WIRE_DATA] = {"DATA", .flags = {[0] = "END_STREAM", [PADDED_BIT] = "PADDED"}, .add = add_data},
    [WIRE_HEADERS] =
        {"HEADERS",
         .flags =
             {[0] = "END_STREAM", [2] = "END_HEADERS", [PADDED_BIT] = "PADDED", [5] = "PRIORITY"},
         .has_fields = true, .add = add_headers},
    [WIRE_PRIORITY] = {"PRIORITY", .min_length = WIRE_DEPENDENCY_SIZE, .is_exact = true,
                       .add = add_priority},
    [WIRE_RST_STREAM] = {"RST_STREAM", .min_length = WIRE_RST_STREAM_SIZE, .is_exact = true,
                         .add = add_rst_stream},
    [WIRE_SETTINGS] = {"SETTINGS", .flags = {[0] = "ACK"}, .add = add_settings},
    [WIRE_PUSH_PROMISE] = {"PUSH_PROMISE", .flags = {[2] = "END_HEADERS", [PADDED_BIT] = "PADDED"},
                           .min_length = WIRE_STREAM_ID_SIZE, .has_fields = true,
                           .add = add_push_promise},
    [WIRE_PING] = {"PING", .flags = {[0] = "ACK"}, .min_length = WIRE_PING_SIZE, .is_exact = true,
                   .add = add_ping},
    [WIRE_GOAWAY] = {"GOAWAY", .min_length = WIRE_GOAWAY_SIZE, .add = add_goaway},
    [WIRE_WINDOW_UPDATE] = {"WINDOW_UPDATE", .min_length = WIRE_WINDOW_UPDATE_SIZE,
                            .is_exact = true, .add = add_window_update},
    [WIRE_CONTINUATION] = {"CONTINUATION", .flags = {[2] = "END_HEADERS"}, .has_fields = true},
    [WIRE_ALTSVC] = {"ALTSVC", .min_length = COUNT_SIZE, .add = add_altsvc},
    [WIRE_ORIGIN] = {"ORIGIN", .add = add_origin},
    [WIRE_PRIORITY_UPDATE] = {"PRIORITY_UPDATE", .min_length = WIRE_STREAM_ID_SIZE,
                              .add = add_priority_update},
};

static const struct frame_type *type_of(const struct trace_frame *frame)
{
    static const struct frame_type unknown = {.add = add_unknown};
    uint8_t type = frame->header.type;
    bool is_known =
        type < sizeof(frame_types) / sizeof(frame_types[0]) && frame_types[type].name != NULL;

    return is_known ? &frame_types[type] : &unknown;
}

/* --- Malformed frames ------------------------------------------------------------------------ */

static size_t min_length_of(const struct trace_frame *frame)
{
    bool has_dependency =
        frame->header.type == WIRE_HEADERS && (frame->header.flags & WIRE_FLAG_PRIORITY) != 0;

    return type_of(frame)->min_length + (has_dependency ? WIRE_DEPENDENCY_SIZE : 0);
}

/* Find the padding and remove it from the payload; if there is too much of it, that is the frame's
 * fault. Return false if the payload is too short to be read. */
static bool remove_padding(struct trace_frame *frame)
{
    size_t length = frame->header.length;
    size_t min_length = min_length_of(frame);

    if ((frame->header.flags & WIRE_FLAG_PADDED) != 0 &&
        type_of(frame)->flags[PADDED_BIT] != NULL) {
        if (length == 0)
            return false;
        frame->padding = frame->payload.bytes[0];
        frame->payload = span_skip(frame->payload, 1);
        length--;
    }
    if (length < min_length)
        return false;
    if (length - min_length >= frame->padding)
        frame->payload.length = size_min(frame->payload.length, length - frame->padding);
    else
        frame->fault = "more padding than payload";
    return true;
}

static void find_fault(struct trace_frame *frame)
{
    const struct frame_header *header = &frame->header;
    const struct frame_type *type = type_of(frame);

    if (type->is_exact && header->length > type->min_length)
        frame->fault = "too long for its type";
    else if (header->type == WIRE_SETTINGS && (header->flags & WIRE_FLAG_ACK) != 0 &&
             header->length > 0)
        frame->fault = "an acknowledgement has no settings";
    else if (header->type == WIRE_SETTINGS && header->length % WIRE_SETTING_SIZE != 0)
        frame->fault = "its length is no multiple of 6";
}

/* --- The line of a frame --------------------------------------------------------------------- */

void trace_begin_frame_line(struct trace *trace, const struct trace_frame *frame)
{
    const struct frame_type *type = type_of(frame);
    const char *before = " ; ";

    trace_begin_line(trace, frame->direction);
    trace_paint(trace, trace_direction_colour(frame->direction));
    if (type->name != NULL)
        trace_add(trace, "%s", type->name);
    else
        trace_add(trace, "UNKNOWN(0x%02x)", frame->header.type);
    trace_unpaint(trace);
    trace_add(trace, " frame <length=%zu, flags=0x%02x, ", frame->header.length,
              frame->header.flags);
    add_number(trace, "stream_id", frame->header.stream_id, frame->reserved);
    trace_add(trace, ">");
    for (int bit = 0; bit < 8; bit++) {
        if ((frame->header.flags >> bit & 1) == 0 || type->flags[bit] == NULL)
            continue;
        trace_add(trace, "%s%s", before, type->flags[bit]);
        before = " | ";
    }
}

static void write_frame_line(struct trace *trace, const struct trace_frame *frame, bool is_readable)
{
    const struct frame_type *type = type_of(frame);

    trace_begin_frame_line(trace, frame);
    if (is_readable && type->add != NULL)
        type->add(trace, frame);
    if (frame->fault != NULL)
        trace_add(trace, " ; malformed: %s", frame->fault);
    trace_end_line(trace);
}

void trace_write_frame(struct trace *trace, struct trace_frame *frame)
{
    bool is_too_long = frame->header.length > TRACE_PAYLOAD_MAX;
    bool is_readable = !is_too_long && remove_padding(frame);

    if (is_readable)
        find_fault(frame);
    else
        frame->fault = is_too_long ? "longer than 16384 bytes" : "too short for its type";
    write_frame_line(trace, frame, is_readable);
    if (!type_of(frame)->has_fields)
        return;
    if (frame->fault == NULL)
        trace_write_fields(trace, frame, span_skip(frame->payload, min_length_of(frame)));
    else
        trace_stop_decoding(trace, frame);
}
