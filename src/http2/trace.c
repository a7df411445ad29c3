#include "http2/trace.h"

#include "base/log.h"
#include "base/wire.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREFACE_SIZE = 24,
    HEADER_SIZE = 9,
    PRIORITY_SIZE = 5,
    NAME_SHOWN_MAX = 256, /* bytes of a field's name */
    HEX_MAX = 512,        /* bytes of a payload that are shown */
    TAIL_ROOM = 64,       /* of a line, behind a value that is cut */
    ID_MASK = 0x7fffffff,
};

/* Not nghttp2's: older ones do not know them all. */
enum type {
    TYPE_DATA = 0x00,
    TYPE_HEADERS = 0x01,
    TYPE_PRIORITY = 0x02,
    TYPE_RST_STREAM = 0x03,
    TYPE_SETTINGS = 0x04,
    TYPE_PUSH_PROMISE = 0x05,
    TYPE_PING = 0x06,
    TYPE_GOAWAY = 0x07,
    TYPE_WINDOW_UPDATE = 0x08,
    TYPE_CONTINUATION = 0x09,
    TYPE_ALTSVC = 0x0a,
    TYPE_ORIGIN = 0x0c,
    TYPE_PRIORITY_UPDATE = 0x10,
};

enum flag { END_STREAM = 0x01, ACK = 0x01, END_HEADERS = 0x04, PADDED = 0x08, PRIORITY = 0x20 };

/* One direction. */
struct wire {
    size_t skip; /* of the preface */
    uint8_t header[HEADER_SIZE];
    size_t header_length;
    size_t left;                   /* of the payload */
    size_t payload_length;         /* what is kept of it */
    size_t block_told;             /* bytes of lines, of the header block's fields */
    nghttp2_hd_inflater *inflater; /* owned; NULL once a block could not be decoded */
    uint8_t payload[TRACE_PAYLOAD_MAX];
};

struct trace {
    struct trace_options options;
    trace_line_fn *tell;
    void *argument;
    struct wire wires[2];
    size_t line_length;
    char line[TRACE_LINE_MAX];
};

/* Bytes to be read. */
struct part {
    const uint8_t *bytes;
    size_t length;
};

/* A frame that is whole. */
struct frame {
    enum trace_direction direction;
    uint32_t length;
    uint8_t type;
    uint8_t flags;
    uint32_t stream_id; /* with the reserved bit */
    const char *fault;  /* what its type does not allow; NULL = nothing */
    size_t padding;
    struct part payload; /* without padding; of DATA, its content not even kept */
};

/* --- Lines --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void add(struct trace *trace, const char *format, ...)
{
    size_t room = sizeof(trace->line) - trace->line_length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(trace->line + trace->line_length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        trace->line_length += (size_t)length < room ? (size_t)length : room - 1;
}

static size_t room_of(const struct trace *trace)
{
    size_t taken = trace->line_length + TAIL_ROOM;

    return taken < sizeof(trace->line) ? sizeof(trace->line) - taken : 0;
}

/* Escaped. Return false if they do not fit, and are cut. */
static bool add_bytes(struct trace *trace, struct part part)
{
    size_t room = room_of(trace);
    char *end = trace->line + trace->line_length;

    if (room < LOG_ESCAPE_MIN) {
        add(trace, "...");
        return false;
    }
    log_escape(end, room, part.bytes, part.length);
    trace->line_length += strlen(end);
    return log_escape_size(part.bytes, part.length) <= room;
}

static void add_hex(struct trace *trace, struct part part)
{
    for (size_t i = 0; i < part.length && i < HEX_MAX; i++)
        add(trace, "%02x", part.bytes[i]);
    if (part.length > HEX_MAX)
        add(trace, "...");
}

/* nghttp's. */
enum colour { BLUE = 34, MAGENTA = 35, CYAN = 36 };

static void paint(struct trace *trace, enum colour colour)
{
    if (trace->options.colours)
        add(trace, "\033[1;%dm", (int)colour);
}

static void unpaint(struct trace *trace)
{
    if (trace->options.colours)
        add(trace, "\033[0m");
}

static void begin_line(struct trace *trace, enum trace_direction direction)
{
    trace->line_length = 0;
    add(trace, "%s ", direction == TRACE_RECEIVED ? "recv" : "send");
}

static void end_line(const struct trace *trace)
{
    trace->tell(trace->line, trace->argument);
}

/* --- Reading ------------------------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint16_t short_at(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static struct part behind(struct part part, size_t length)
{
    return (struct part){part.bytes + length, part.length - length};
}

/* Take what is preceded by its length, in two bytes, off ${part}: as much as is there. */
static struct part take_counted(struct part *part)
{
    struct part taken = {part->bytes, 0};

    if (part->length >= 2) {
        taken = behind(*part, 2);
        taken.length = smaller(short_at(part->bytes), taken.length);
    }
    *part = part->length >= 2 ? behind(*part, 2 + taken.length) : behind(*part, part->length);
    return taken;
}

/* --- Fields -------------------------------------------------------------------------------- */

static void begin_field_line(struct trace *trace, const struct frame *frame, const char *mark)
{
    begin_line(trace, frame->direction);
    add(trace, "(stream_id=%" PRIu32 "%s) ", frame->stream_id & ID_MASK, mark);
}

static void tell_of_block(struct trace *trace, const struct frame *frame, const char *words)
{
    begin_field_line(trace, frame, "");
    add(trace, "[%s]", words);
    end_line(trace);
}

/* A colon, but for the first byte, and a space are escaped too: ": " is where the value begins. */
static void add_name(struct trace *trace, struct part name)
{
    for (size_t i = 0; i < name.length && i < NAME_SHOWN_MAX; i++) {
        char shown[LOG_ESCAPE_MIN];

        if ((name.bytes[i] == ':' && i > 0) || name.bytes[i] == ' ')
            add(trace, "\\x%02x", name.bytes[i]);
        else
            add(trace, "%s", log_escape(shown, sizeof(shown), name.bytes + i, 1));
    }
    if (name.length > NAME_SHOWN_MAX)
        add(trace, "... (%zu bytes)", name.length);
}

static void tell_field(struct trace *trace, const struct frame *frame, const nghttp2_nv *field)
{
    bool is_sensitive = (field->flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;

    begin_field_line(trace, frame, is_sensitive ? ", sensitive" : "");
    paint(trace, BLUE);
    add_name(trace, (struct part){field->name, field->namelen});
    unpaint(trace);
    if (trace->options.fields) {
        add(trace, ": ");
        if (!add_bytes(trace, (struct part){field->value, field->valuelen}))
            add(trace, " (%zu bytes)", field->valuelen);
    }
    end_line(trace);
}

/* A block of a few bytes may have thousands of fields of thousands of bytes (by references to the
 * dynamic table): whatever it has, it must not fill the log. */
static void count_field(struct trace *trace, const struct frame *frame, const nghttp2_nv *field)
{
    struct wire *wire = &trace->wires[frame->direction];

    if (wire->block_told >= TRACE_BLOCK_MAX)
        return;
    tell_field(trace, frame, field);
    wire->block_told += trace->line_length + TRACE_LINE_COST;
    if (wire->block_told >= TRACE_BLOCK_MAX)
        tell_of_block(trace, frame, "whatever else is in this header block is not shown");
}

/* Decode a part of a header block, and tell of the fields in it. Return false if that fails. */
static bool decode(struct trace *trace, const struct frame *frame, struct part part)
{
    nghttp2_hd_inflater *inflater = trace->wires[frame->direction].inflater;
    bool is_last = (frame->flags & END_HEADERS) != 0;
    int flags;

    do {
        nghttp2_nv field;
        ssize_t used =
            nghttp2_hd_inflate_hd2(inflater, &field, &flags, part.bytes, part.length, is_last);

        if (used < 0)
            return false;
        part = behind(part, (size_t)used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            count_field(trace, frame, &field);
    } while ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 ||
             ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0 && part.length > 0));
    if (is_last)
        nghttp2_hd_inflate_end_headers(inflater);
    return true;
}

/* Once a part of a block is not decoded, no other can be. */
static void lose_fields(struct trace *trace, const struct frame *frame)
{
    struct wire *wire = &trace->wires[frame->direction];

    if (wire->inflater == NULL)
        return;
    tell_of_block(trace, frame, "the fields can't be decoded, nor any after them");
    nghttp2_hd_inflate_del(wire->inflater);
    wire->inflater = NULL;
}

static void tell_fields(struct trace *trace, const struct frame *frame, struct part part)
{
    struct wire *wire = &trace->wires[frame->direction];

    if (frame->type != TYPE_CONTINUATION)
        wire->block_told = 0;
    if (wire->inflater != NULL && !decode(trace, frame, part))
        lose_fields(trace, frame);
}

/* --- Payloads ------------------------------------------------------------------------------ */

/* Of 31 bits, behind one that is reserved. */
static void add_31_bits(struct trace *trace, const char *name, uint32_t number)
{
    add(trace, "%s=%" PRIu32, name, number & ID_MASK);
    if ((number & ~(uint32_t)ID_MASK) != 0)
        add(trace, ", reserved=1");
}

static void add_dependency(struct trace *trace, const uint8_t *bytes)
{
    add(trace, "dep_stream_id=%" PRIu32 ", weight=%d, exclusive=%d", number_at(bytes) & ID_MASK,
        bytes[4] + 1, bytes[0] >> 7);
}

static void add_error(struct trace *trace, uint32_t code)
{
    /* nghttp2 calls those that it doesn't know "unknown". */
    add(trace, "error_code=%s(0x%02" PRIx32 ")", nghttp2_http2_strerror(code), code);
}

static void add_data(struct trace *trace, const struct frame *frame)
{
    if ((frame->flags & PADDED) != 0)
        add(trace, " (padlen=%zu)", frame->padding);
}

static void add_headers(struct trace *trace, const struct frame *frame)
{
    add(trace, " (padlen=%zu", frame->padding);
    if ((frame->flags & PRIORITY) != 0) {
        add(trace, ", ");
        add_dependency(trace, frame->payload.bytes);
    }
    add(trace, ")");
}

static void add_priority(struct trace *trace, const struct frame *frame)
{
    add(trace, " (");
    add_dependency(trace, frame->payload.bytes);
    add(trace, ")");
}

static void add_rst_stream(struct trace *trace, const struct frame *frame)
{
    add(trace, " (");
    add_error(trace, number_at(frame->payload.bytes));
    add(trace, ")");
}

/* Very many take several lines. */
static void add_settings(struct trace *trace, const struct frame *frame)
{
    add(trace, " (niv=%zu)", frame->payload.length / WIRE_SETTING_SIZE);
    for (struct part left = frame->payload; left.length >= WIRE_SETTING_SIZE;
         left = behind(left, WIRE_SETTING_SIZE)) {
        uint16_t id = short_at(left.bytes);
        const char *name = wire_setting_name(id);

        if (room_of(trace) == 0) {
            end_line(trace);
            begin_line(trace, frame->direction);
            add(trace, "SETTINGS, more");
        }
        add(trace, " [%s%s(0x%02x):%" PRIu32 "]", name != NULL ? "SETTINGS_" : "",
            name != NULL ? name : "UNKNOWN", id, number_at(left.bytes + 2));
    }
}

static void add_push_promise(struct trace *trace, const struct frame *frame)
{
    add(trace, " (padlen=%zu, ", frame->padding);
    add_31_bits(trace, "promised_stream_id", number_at(frame->payload.bytes));
    add(trace, ")");
}

static void add_ping(struct trace *trace, const struct frame *frame)
{
    add(trace, " (opaque_data=");
    add_hex(trace, (struct part){frame->payload.bytes, 8});
    add(trace, ")");
}

static void add_goaway(struct trace *trace, const struct frame *frame)
{
    struct part debug = behind(frame->payload, 8);

    add(trace, " (");
    add_31_bits(trace, "last_stream_id", number_at(frame->payload.bytes));
    add(trace, ", ");
    add_error(trace, number_at(frame->payload.bytes + 4));
    add(trace, ", opaque_data(%zu)=[", debug.length);
    (void)add_bytes(trace, debug);
    add(trace, "])");
}

static void add_window_update(struct trace *trace, const struct frame *frame)
{
    add(trace, " (");
    add_31_bits(trace, "window_size_increment", number_at(frame->payload.bytes));
    add(trace, ")");
}

/* RFC 7838 section 4. */
static void add_altsvc(struct trace *trace, const struct frame *frame)
{
    struct part value = frame->payload;

    add(trace, " (origin=[");
    (void)add_bytes(trace, take_counted(&value));
    add(trace, "], altsvc_field_value=[");
    (void)add_bytes(trace, value);
    add(trace, "])");
}

/* RFC 8336 section 2.1. */
static void add_origin(struct trace *trace, const struct frame *frame)
{
    struct part left = frame->payload;

    while (left.length > 0 && room_of(trace) >= (size_t)2 * LOG_ESCAPE_MIN) {
        add(trace, " [");
        (void)add_bytes(trace, take_counted(&left));
        add(trace, "]");
    }
    if (left.length > 0)
        add(trace, " ...");
}

/* RFC 9218 section 7.1. */
static void add_priority_update(struct trace *trace, const struct frame *frame)
{
    add(trace, " (");
    add_31_bits(trace, "prioritized_stream_id", number_at(frame->payload.bytes));
    add(trace, ", priority_field_value=[");
    (void)add_bytes(trace, behind(frame->payload, 4));
    add(trace, "])");
}

static void add_unknown(struct trace *trace, const struct frame *frame)
{
    if (!trace->options.fields || frame->payload.length == 0)
        return;
    add(trace, " (payload=");
    add_hex(trace, frame->payload);
    add(trace, ")");
}

/* --- Types --------------------------------------------------------------------------------- */

struct kind {
    const char *name; /* NULL = unknown */
    const char *flags[8];
    size_t
        least; /* bytes of payload, beside padding and priority; of ${is_exact}, no more either */
    bool is_exact;
    bool has_fields; /* behind that */
    void (*add)(struct trace *trace, const struct frame *frame);
};

static const struct kind kinds[] = {
    [TYPE_DATA] = {"DATA", .flags = {[0] = "END_STREAM", [3] = "PADDED"}, .add = add_data},
    [TYPE_HEADERS] =
        {"HEADERS",
         .flags = {[0] = "END_STREAM", [2] = "END_HEADERS", [3] = "PADDED", [5] = "PRIORITY"},
         .has_fields = true, .add = add_headers},
    [TYPE_PRIORITY] = {"PRIORITY", .least = PRIORITY_SIZE, .is_exact = true, .add = add_priority},
    [TYPE_RST_STREAM] = {"RST_STREAM", .least = 4, .is_exact = true, .add = add_rst_stream},
    [TYPE_SETTINGS] = {"SETTINGS", .flags = {[0] = "ACK"}, .add = add_settings},
    [TYPE_PUSH_PROMISE] = {"PUSH_PROMISE", .flags = {[2] = "END_HEADERS", [3] = "PADDED"},
                           .least = 4, .has_fields = true, .add = add_push_promise},
    [TYPE_PING] = {"PING", .flags = {[0] = "ACK"}, .least = 8, .is_exact = true, .add = add_ping},
    [TYPE_GOAWAY] = {"GOAWAY", .least = 8, .add = add_goaway},
    [TYPE_WINDOW_UPDATE] = {"WINDOW_UPDATE", .least = 4, .is_exact = true,
                            .add = add_window_update},
    [TYPE_CONTINUATION] = {"CONTINUATION", .flags = {[2] = "END_HEADERS"}, .has_fields = true},
    [TYPE_ALTSVC] = {"ALTSVC", .least = 2, .add = add_altsvc},
    [TYPE_ORIGIN] = {"ORIGIN", .add = add_origin},
    [TYPE_PRIORITY_UPDATE] = {"PRIORITY_UPDATE", .least = 4, .add = add_priority_update},
};

static const struct kind *kind_of(uint8_t type)
{
    static const struct kind unknown = {.add = add_unknown};
    bool is_known = type < sizeof(kinds) / sizeof(kinds[0]) && kinds[type].name != NULL;

    return is_known ? &kinds[type] : &unknown;
}

static void begin_frame_line(struct trace *trace, const struct frame *frame)
{
    const struct kind *kind = kind_of(frame->type);
    const char *before = " ; ";

    begin_line(trace, frame->direction);
    paint(trace, frame->direction == TRACE_RECEIVED ? CYAN : MAGENTA);
    if (kind->name != NULL)
        add(trace, "%s", kind->name);
    else
        add(trace, "UNKNOWN(0x%02x)", frame->type);
    unpaint(trace);
    add(trace, " frame <length=%" PRIu32 ", flags=0x%02x, ", frame->length, frame->flags);
    add_31_bits(trace, "stream_id", frame->stream_id);
    add(trace, ">");
    for (int bit = 0; bit < 8; bit++) {
        if ((frame->flags >> bit & 1) == 0 || kind->flags[bit] == NULL)
            continue;
        add(trace, "%s%s", before, kind->flags[bit]);
        before = " | ";
    }
}

static void end_frame_line(struct trace *trace, const struct frame *frame)
{
    if (frame->fault != NULL)
        add(trace, " ; malformed: %s", frame->fault);
    end_line(trace);
}

static size_t least_of(const struct frame *frame)
{
    bool has_priority = frame->type == TYPE_HEADERS && (frame->flags & PRIORITY) != 0;

    return kind_of(frame->type)->least + (has_priority ? PRIORITY_SIZE : 0);
}

/* Find the padding, and take it away. What is wrong with it goes to frame->fault. Return false if
 * nothing can be read in the payload. */
static bool unpad(struct frame *frame)
{
    size_t length = frame->length;

    if ((frame->flags & PADDED) != 0 && kind_of(frame->type)->flags[3] != NULL) {
        if (length == 0)
            return false;
        frame->padding = frame->payload.bytes[0];
        frame->payload = behind(frame->payload, 1);
        length--;
    }
    if (length < least_of(frame))
        return false;
    if (length - least_of(frame) >= frame->padding)
        frame->payload.length = smaller(frame->payload.length, length - frame->padding);
    else
        frame->fault = "more padding than payload";
    return true;
}

static void find_fault(struct frame *frame)
{
    const struct kind *kind = kind_of(frame->type);

    if (kind->is_exact && frame->length > kind->least)
        frame->fault = "too long for its type";
    else if (frame->type == TYPE_SETTINGS && (frame->flags & ACK) != 0 && frame->length > 0)
        frame->fault = "an acknowledgement has no settings";
    else if (frame->type == TYPE_SETTINGS && frame->length % WIRE_SETTING_SIZE != 0)
        frame->fault = "its length is no multiple of 6";
}

static void tell_frame(struct trace *trace, struct frame *frame)
{
    const struct kind *kind = kind_of(frame->type);
    bool is_readable = frame->length <= TRACE_PAYLOAD_MAX && unpad(frame);

    if (is_readable)
        find_fault(frame);
    else if (frame->length <= TRACE_PAYLOAD_MAX)
        frame->fault = "too short for its type";
    else
        frame->fault = "longer than 16384 bytes";
    begin_frame_line(trace, frame);
    if (is_readable && kind->add != NULL)
        kind->add(trace, frame);
    end_frame_line(trace, frame);
    if (kind->has_fields && frame->fault == NULL)
        tell_fields(trace, frame, behind(frame->payload, least_of(frame)));
    else if (kind->has_fields)
        lose_fields(trace, frame);
}

/* --- Bytes --------------------------------------------------------------------------------- */

static struct frame frame_of(const struct trace *trace, enum trace_direction direction)
{
    const struct wire *wire = &trace->wires[direction];

    return (struct frame){
        .direction = direction,
        .length = number_at(wire->header) >> 8,
        .type = wire->header[3],
        .flags = wire->header[4],
        .stream_id = number_at(wire->header + 5),
        .payload = {wire->payload, wire->payload_length},
    };
}

/* How much of a frame's payload is to be told of: of DATA, how long its padding is. */
static size_t kept_of(const struct frame *frame)
{
    if (frame->length > TRACE_PAYLOAD_MAX)
        return 0;
    return smaller(frame->length, frame->type == TYPE_DATA ? 1 : TRACE_PAYLOAD_MAX);
}

/* Of one that is too long the session reads no more than the header, and so it is told at once. */
static void begin_frame(struct trace *trace, enum trace_direction direction)
{
    struct frame frame = frame_of(trace, direction);

    trace->wires[direction].left = frame.length;
    if (frame.length > TRACE_PAYLOAD_MAX)
        tell_frame(trace, &frame);
}

static void end_frame(struct trace *trace, enum trace_direction direction)
{
    struct wire *wire = &trace->wires[direction];
    struct frame frame = frame_of(trace, direction);

    if (frame.length <= TRACE_PAYLOAD_MAX)
        tell_frame(trace, &frame);
    wire->header_length = wire->payload_length = 0;
}

static size_t take_header(struct trace *trace, enum trace_direction direction, struct part part)
{
    struct wire *wire = &trace->wires[direction];
    size_t step = smaller(part.length, HEADER_SIZE - wire->header_length);

    memcpy(wire->header + wire->header_length, part.bytes, step);
    wire->header_length += step;
    if (wire->header_length == HEADER_SIZE)
        begin_frame(trace, direction);
    return step;
}

static size_t take_payload(struct trace *trace, enum trace_direction direction, struct part part)
{
    struct wire *wire = &trace->wires[direction];
    struct frame frame = frame_of(trace, direction);
    size_t step = smaller(part.length, wire->left);
    size_t kept = smaller(step, kept_of(&frame) - wire->payload_length);

    memcpy(wire->payload + wire->payload_length, part.bytes, kept);
    wire->payload_length += kept;
    wire->left -= step;
    return step;
}

void trace_bytes(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                 size_t length)
{
    struct wire *wire = &trace->wires[direction];
    struct part part = {bytes, length};
    size_t step = smaller(length, wire->skip);

    wire->skip -= step;
    for (part = behind(part, step); part.length > 0; part = behind(part, step)) {
        step = wire->header_length < HEADER_SIZE ? take_header(trace, direction, part)
                                                 : take_payload(trace, direction, part);
        if (wire->header_length == HEADER_SIZE && wire->left == 0)
            end_frame(trace, direction);
    }
}

void trace_head(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                size_t length)
{
    begin_line(trace, direction);
    paint(trace, direction == TRACE_RECEIVED ? CYAN : MAGENTA);
    add(trace, "HTTP/1.1");
    unpaint(trace);
    add(trace, " head <length=%zu>", length);
    if (trace->options.fields) {
        add(trace, " \"");
        (void)add_bytes(trace, (struct part){bytes, length});
        add(trace, "\"");
    }
    end_line(trace);
}

/* --- Beginning and end --------------------------------------------------------------------- */

/* What is received has the table of 4096 bytes that a decoder begins with, since the daemon asks
 * for no other. What is sent may have any size that the client allows. */
static bool open_decoders(struct trace *trace)
{
    struct wire *received = &trace->wires[TRACE_RECEIVED];
    struct wire *sent = &trace->wires[TRACE_SENT];

    return nghttp2_hd_inflate_new(&received->inflater) == 0 &&
           nghttp2_hd_inflate_new(&sent->inflater) == 0 &&
           nghttp2_hd_inflate_change_table_size(sent->inflater, UINT32_MAX) == 0;
}

static void free_trace(struct trace *trace)
{
    for (size_t i = 0; i < 2; i++) {
        if (trace->wires[i].inflater != NULL)
            nghttp2_hd_inflate_del(trace->wires[i].inflater);
    }
    free(trace);
}

struct trace *trace_new(const struct trace_options *options, trace_line_fn *tell, void *argument)
{
    struct trace *trace = calloc(1, sizeof(*trace));

    if (trace == NULL)
        return NULL;
    trace->options = *options;
    trace->tell = tell;
    trace->argument = argument;
    trace->wires[TRACE_RECEIVED].skip = PREFACE_SIZE;
    if (open_decoders(trace))
        return trace;
    free_trace(trace);
    return NULL;
}

static void tell_unended(struct trace *trace, enum trace_direction direction)
{
    const struct wire *wire = &trace->wires[direction];
    struct frame frame = frame_of(trace, direction);

    if (wire->header_length == 0)
        return;
    if (wire->header_length < HEADER_SIZE) {
        begin_line(trace, direction);
        add(trace, "frame ; ended after %zu bytes of its header", wire->header_length);
    } else if (frame.length <= TRACE_PAYLOAD_MAX) {
        begin_frame_line(trace, &frame);
        add(trace, " ; ended after %zu bytes", frame.length - wire->left);
    } else {
        return;
    }
    end_line(trace);
}

void trace_end(struct trace *trace)
{
    if (trace == NULL)
        return;
    tell_unended(trace, TRACE_RECEIVED);
    tell_unended(trace, TRACE_SENT);
    free_trace(trace);
}
