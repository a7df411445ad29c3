#include "trace.h"

#include "log.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREFACE_SIZE = 24,
    HEADER_SIZE = 9,
    PAYLOAD_MAX = 16384, /* of a frame that is kept: SETTINGS_MAX_FRAME_SIZE, which none may pass */
    LINE_MAX_BYTES = 800,
    SHOWN_MAX = LOG_ESCAPE_MAX,
    HEX_MAX = 64, /* bytes of a payload that are shown */
    PRIORITY_SIZE = 5,
    SETTING_SIZE = 6,
};

/* One direction. */
struct wire {
    size_t skip; /* of the preface */
    uint8_t header[HEADER_SIZE];
    size_t header_length;
    size_t left;      /* of the payload */
    uint8_t *payload; /* its beginning, as much as is to be told of; owned */
    size_t payload_length;
    nghttp2_hd_inflater *inflater; /* owned; NULL once a block could not be decoded */
};

struct trace {
    struct trace_options options;
    trace_line_fn *tell;
    void *argument;
    struct wire wires[2];
};

/* A frame that is whole. */
struct frame {
    enum trace_direction direction;
    uint32_t length;
    uint8_t type;
    uint8_t flags;
    uint32_t stream_id;
    const uint8_t *payload;
    size_t kept; /* bytes of it that are there */
};

/* --- Lines --------------------------------------------------------------------------------- */

struct line {
    char text[LINE_MAX_BYTES];
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(line->text + line->length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        line->length += (size_t)length < room ? (size_t)length : room - 1;
}

enum colour { NONE = 0, GREEN = 32, MAGENTA = 35, CYAN = 36 };

/* Bright from here on; NONE ends it. */
static void paint(const struct trace *trace, struct line *line, enum colour colour)
{
    if (trace->options.colours && colour == NONE)
        add(line, "\033[0m");
    else if (trace->options.colours)
        add(line, "\033[1;%dm", (int)colour);
}

static void begin_line(const struct trace *trace, struct line *line, enum trace_direction direction)
{
    line->length = 0;
    paint(trace, line, direction == TRACE_RECEIVED ? GREEN : CYAN);
    add(line, "%s ", direction == TRACE_RECEIVED ? "recv" : "send");
    paint(trace, line, NONE);
}

static void end_line(const struct trace *trace, struct line *line)
{
    trace->tell(line->text, trace->argument);
}

/* --- Fields -------------------------------------------------------------------------------- */

static void tell_field(const struct trace *trace, const struct frame *frame,
                       const nghttp2_nv *field)
{
    char name[SHOWN_MAX];
    char value[2 * SHOWN_MAX];
    struct line line;

    begin_line(trace, &line, frame->direction);
    add(&line, "(stream_id=%" PRIu32 ") ", frame->stream_id);
    paint(trace, &line, MAGENTA);
    add(&line, "%s", log_escape(name, sizeof(name), field->name, field->namelen));
    paint(trace, &line, NONE);
    if (trace->options.fields)
        add(&line, ": %s", log_escape(value, sizeof(value), field->value, field->valuelen));
    if ((field->flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0)
        add(&line, " ; never indexed");
    end_line(trace, &line);
}

static void tell_undecoded(const struct trace *trace, const struct frame *frame)
{
    struct line line;

    begin_line(trace, &line, frame->direction);
    add(&line, "(stream_id=%" PRIu32 ") the fields can't be decoded, nor those after them",
        frame->stream_id);
    end_line(trace, &line);
}

/* Decode a part of a header block, and tell of the fields in it. Return false if that fails. */
static bool decode(const struct trace *trace, const struct frame *frame, const uint8_t *bytes,
                   size_t length)
{
    nghttp2_hd_inflater *inflater = trace->wires[frame->direction].inflater;
    bool is_last = (frame->flags & NGHTTP2_FLAG_END_HEADERS) != 0;
    int flags;

    for (;;) {
        nghttp2_nv field;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, bytes, length, is_last);

        if (used < 0)
            return false;
        bytes += used;
        length -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            tell_field(trace, frame, &field);
        else if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0 || length == 0)
            break;
    }
    if (is_last)
        nghttp2_hd_inflate_end_headers(inflater);
    return true;
}

static void tell_block(struct trace *trace, const struct frame *frame, const uint8_t *bytes,
                       size_t length)
{
    struct wire *wire = &trace->wires[frame->direction];

    if (wire->inflater == NULL)
        return;
    if (frame->kept == frame->length && decode(trace, frame, bytes, length))
        return;
    tell_undecoded(trace, frame);
    nghttp2_hd_inflate_del(wire->inflater);
    wire->inflater = NULL;
}

/* --- Frames -------------------------------------------------------------------------------- */

static uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

enum { KNOWN_TYPES = 0x11, ID_MASK = 0x7fffffff };

static const char *const type_names[KNOWN_TYPES] = {
    "DATA",           "HEADERS",      "PRIORITY", "RST_STREAM",
    "SETTINGS",       "PUSH_PROMISE", "PING",     "GOAWAY",
    "WINDOW_UPDATE",  "CONTINUATION", "ALTSVC",   NULL,
    "ORIGIN",         NULL,           NULL,       NULL,
    "PRIORITY_UPDATE"};

struct flag {
    uint8_t bit;
    uint32_t types; /* that know it, a bit for each */
    const char *name;
};

#define TYPE(name) (UINT32_C(1) << NGHTTP2_##name)

static const struct flag flags[] = {
    {0x01, TYPE(DATA) | TYPE(HEADERS), "END_STREAM"},
    {0x01, TYPE(SETTINGS) | TYPE(PING), "ACK"},
    {0x04, TYPE(HEADERS) | TYPE(PUSH_PROMISE) | TYPE(CONTINUATION), "END_HEADERS"},
    {0x08, TYPE(DATA) | TYPE(HEADERS) | TYPE(PUSH_PROMISE), "PADDED"},
    {0x20, TYPE(HEADERS), "PRIORITY"},
};

static bool is_of(const struct frame *frame, uint32_t types)
{
    return frame->type < 32 && (types >> frame->type & 1) != 0;
}

static void add_flags(struct line *line, const struct frame *frame)
{
    const char *before = " ; ";

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if ((frame->flags & flags[i].bit) == 0 || !is_of(frame, flags[i].types))
            continue;
        add(line, "%s%s", before, flags[i].name);
        before = " | ";
    }
}

static void begin_frame_line(const struct trace *trace, struct line *line,
                             const struct frame *frame)
{
    const char *name = frame->type < KNOWN_TYPES ? type_names[frame->type] : NULL;

    begin_line(trace, line, frame->direction);
    paint(trace, line, MAGENTA);
    if (name != NULL)
        add(line, "%s", name);
    else
        add(line, "UNKNOWN(0x%02x)", frame->type);
    paint(trace, line, NONE);
    add(line, " frame <length=%" PRIu32 ", flags=0x%02x, stream_id=%" PRIu32 ">", frame->length,
        frame->flags, frame->stream_id);
    add_flags(line, frame);
}

/* Of what may be padded: how much stands before the content, and how much behind it. */
struct padding {
    size_t before;
    size_t behind;
};

static struct padding padding_of(const struct frame *frame)
{
    if ((frame->flags & NGHTTP2_FLAG_PADDED) == 0 || frame->kept == 0)
        return (struct padding){0, 0};
    return (struct padding){1, frame->payload[0]};
}

static void add_priority(struct line *line, const uint8_t *bytes)
{
    add(line, "dep_stream_id=%" PRIu32 ", weight=%d, exclusive=%d", number_at(bytes) & ID_MASK,
        bytes[4] + 1, bytes[0] >> 7);
}

static void add_error(struct line *line, uint32_t code)
{
    /* nghttp2 calls those that it doesn't know "unknown". */
    add(line, "error_code=%s(0x%02" PRIx32 ")", nghttp2_http2_strerror(code), code);
}

static void add_malformed(struct line *line)
{
    add(line, " ; malformed: too short for its type");
}

static void tell_headers(struct trace *trace, const struct frame *frame)
{
    struct padding padding = padding_of(frame);
    bool has_priority = (frame->flags & NGHTTP2_FLAG_PRIORITY) != 0;
    size_t begin = padding.before + (has_priority ? PRIORITY_SIZE : 0);
    bool is_whole = begin + padding.behind <= frame->length && begin <= frame->kept;
    struct line line;

    begin_frame_line(trace, &line, frame);
    if (is_whole) {
        add(&line, " (padlen=%zu", padding.behind);
        if (has_priority) {
            add(&line, ", ");
            add_priority(&line, frame->payload + padding.before);
        }
        add(&line, ")");
    } else {
        add_malformed(&line);
    }
    end_line(trace, &line);
    if (is_whole)
        tell_block(trace, frame, frame->payload + begin, frame->length - begin - padding.behind);
}

static void tell_continuation(struct trace *trace, const struct frame *frame)
{
    struct line line;

    begin_frame_line(trace, &line, frame);
    end_line(trace, &line);
    tell_block(trace, frame, frame->payload, frame->kept);
}

static const char *setting_name(uint16_t id)
{
    static const char *const names[] = {NULL,
                                        "HEADER_TABLE_SIZE",
                                        "ENABLE_PUSH",
                                        "MAX_CONCURRENT_STREAMS",
                                        "INITIAL_WINDOW_SIZE",
                                        "MAX_FRAME_SIZE",
                                        "MAX_HEADER_LIST_SIZE",
                                        NULL,
                                        "ENABLE_CONNECT_PROTOCOL",
                                        "NO_RFC7540_PRIORITIES"};
    const char *name = id < sizeof(names) / sizeof(names[0]) ? names[id] : NULL;

    return name != NULL ? name : "UNKNOWN";
}

/* Many settings take several lines. */
static void tell_settings(const struct trace *trace, const struct frame *frame)
{
    enum { WORDS = 64 };
    struct line line;

    begin_frame_line(trace, &line, frame);
    add(&line, " (niv=%" PRIu32 ")", frame->length / SETTING_SIZE);
    if (frame->length % SETTING_SIZE != 0)
        add(&line, " ; malformed: its length is no multiple of 6");
    for (size_t at = 0; at + SETTING_SIZE <= frame->kept; at += SETTING_SIZE) {
        uint16_t id = (uint16_t)(frame->payload[at] << 8 | frame->payload[at + 1]);

        if (line.length + WORDS > sizeof(line.text)) {
            end_line(trace, &line);
            begin_line(trace, &line, frame->direction);
            add(&line, "SETTINGS, more");
        }
        add(&line, " [SETTINGS_%s(0x%02x):%" PRIu32 "]", setting_name(id), id,
            number_at(frame->payload + at + 2));
    }
    end_line(trace, &line);
}

static void add_hex(struct line *line, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length && i < HEX_MAX; i++)
        add(line, "%02x", bytes[i]);
    if (length > HEX_MAX)
        add(line, "...");
}

static void add_debug_data(struct line *line, const uint8_t *bytes, size_t length)
{
    char shown[SHOWN_MAX];

    add(line, "opaque_data(%zu)=[%s]", length, log_escape(shown, sizeof(shown), bytes, length));
}

static void add_goaway(struct line *line, const struct frame *frame)
{
    add(line, " (last_stream_id=%" PRIu32 ", ", number_at(frame->payload) & ID_MASK);
    add_error(line, number_at(frame->payload + 4));
    add(line, ", ");
    add_debug_data(line, frame->payload + 8, frame->kept - 8);
    add(line, ")");
}

/* "u=1, i" and the like (RFC 9218 section 7.1). */
static void add_priority_update(struct line *line, const struct frame *frame)
{
    char shown[SHOWN_MAX];

    add(line, " (prioritized_stream_id=%" PRIu32 ", priority_field_value=[%s])",
        number_at(frame->payload) & ID_MASK,
        log_escape(shown, sizeof(shown), frame->payload + 4, frame->kept - 4));
}

/* How much of a payload its type asks for at least. */
static size_t least_of(uint8_t type)
{
    switch (type) {
    case NGHTTP2_PRIORITY:
        return PRIORITY_SIZE;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_PRIORITY_UPDATE:
        return 4;
    case NGHTTP2_PING:
    case NGHTTP2_GOAWAY:
        return 8;
    default:
        return 0;
    }
}

static void add_payload(const struct trace *trace, struct line *line, const struct frame *frame)
{
    switch (frame->type) {
    case NGHTTP2_DATA:
        if ((frame->flags & NGHTTP2_FLAG_PADDED) != 0)
            add(line, " (padlen=%zu)", padding_of(frame).behind);
        break;
    case NGHTTP2_PRIORITY:
        add(line, " (");
        add_priority(line, frame->payload);
        add(line, ")");
        break;
    case NGHTTP2_RST_STREAM:
        add(line, " (");
        add_error(line, number_at(frame->payload));
        add(line, ")");
        break;
    case NGHTTP2_PING:
        add(line, " (opaque_data=");
        add_hex(line, frame->payload, 8);
        add(line, ")");
        break;
    case NGHTTP2_GOAWAY:
        add_goaway(line, frame);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        add(line, " (window_size_increment=%" PRIu32 ")", number_at(frame->payload) & ID_MASK);
        break;
    case NGHTTP2_PRIORITY_UPDATE:
        add_priority_update(line, frame);
        break;
    default:
        if (trace->options.fields && frame->kept > 0) {
            add(line, " (payload=");
            add_hex(line, frame->payload, frame->kept);
            add(line, ")");
        }
        break;
    }
}

static void tell_other(const struct trace *trace, const struct frame *frame)
{
    struct line line;

    begin_frame_line(trace, &line, frame);
    if (frame->kept < least_of(frame->type))
        add_malformed(&line);
    else
        add_payload(trace, &line, frame);
    end_line(trace, &line);
}

static void tell_frame(struct trace *trace, const struct frame *frame)
{
    switch (frame->type) {
    case NGHTTP2_HEADERS:
        tell_headers(trace, frame);
        break;
    case NGHTTP2_CONTINUATION:
        tell_continuation(trace, frame);
        break;
    case NGHTTP2_SETTINGS:
        tell_settings(trace, frame);
        break;
    default:
        tell_other(trace, frame);
        break;
    }
}

/* --- Bytes --------------------------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How much of a frame's payload is to be told of: of DATA, how long its padding is. */
static size_t kept_of(const struct wire *wire, size_t length)
{
    return smaller(length, wire->header[3] == NGHTTP2_DATA ? 1 : PAYLOAD_MAX);
}

static size_t length_of(const struct wire *wire)
{
    return (size_t)wire->header[0] << 16 | (size_t)wire->header[1] << 8 | wire->header[2];
}

static void end_frame(struct trace *trace, enum trace_direction direction)
{
    struct wire *wire = &trace->wires[direction];
    struct frame frame = {
        .direction = direction,
        .length = (uint32_t)length_of(wire),
        .type = wire->header[3],
        .flags = wire->header[4],
        .stream_id = number_at(wire->header + 5) & ID_MASK,
        .payload = wire->payload,
        .kept = wire->payload_length,
    };

    tell_frame(trace, &frame);
    wire->header_length = wire->payload_length = 0;
}

static size_t take_header(struct wire *wire, const uint8_t *bytes, size_t length)
{
    size_t step = smaller(length, HEADER_SIZE - wire->header_length);

    memcpy(wire->header + wire->header_length, bytes, step);
    wire->header_length += step;
    if (wire->header_length == HEADER_SIZE)
        wire->left = length_of(wire);
    return step;
}

static size_t take_payload(struct wire *wire, const uint8_t *bytes, size_t length)
{
    size_t step = smaller(length, wire->left);
    size_t kept = smaller(step, kept_of(wire, length_of(wire)) - wire->payload_length);

    memcpy(wire->payload + wire->payload_length, bytes, kept);
    wire->payload_length += kept;
    wire->left -= step;
    return step;
}

void trace_bytes(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                 size_t length)
{
    struct wire *wire = &trace->wires[direction];
    size_t step = smaller(length, wire->skip);

    wire->skip -= step;
    for (bytes += step, length -= step; length > 0; bytes += step, length -= step) {
        step = wire->header_length < HEADER_SIZE ? take_header(wire, bytes, length)
                                                 : take_payload(wire, bytes, length);
        if (wire->header_length == HEADER_SIZE && wire->left == 0)
            end_frame(trace, direction);
    }
}

/* --- Beginning and end --------------------------------------------------------------------- */

static bool open_wire(struct wire *wire)
{
    wire->payload = malloc(PAYLOAD_MAX);
    return wire->payload != NULL && nghttp2_hd_inflate_new(&wire->inflater) == 0;
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
    if (open_wire(&trace->wires[TRACE_RECEIVED]) && open_wire(&trace->wires[TRACE_SENT]))
        return trace;
    trace_free(trace);
    return NULL;
}

void trace_free(struct trace *trace)
{
    if (trace == NULL)
        return;
    for (size_t i = 0; i < 2; i++) {
        if (trace->wires[i].inflater != NULL)
            nghttp2_hd_inflate_del(trace->wires[i].inflater);
        free(trace->wires[i].payload);
    }
    free(trace);
}
