#include "base/frame.h"

#include "base/span.h"

/* Where the parts of a frame header begin (RFC 9113 section 4.1). */
enum { TYPE_AT = 3, FLAGS_AT = 4, ID_AT = 5 };

/* --- Headers --------------------------------------------------------------------------------- */

static inline struct frame_header parse_header(const uint8_t bytes[static WIRE_FRAME_HEADER_SIZE])
{
    return (struct frame_header){
        .length = wire_read_u32(bytes) >> 8, /* 24 bits */
        .stream_id = wire_read_u31(bytes + ID_AT),
        .type = bytes[TYPE_AT],
        .flags = bytes[FLAGS_AT],
    };
}

struct frame_header frame_header_parse(const uint8_t bytes[static WIRE_FRAME_HEADER_SIZE])
{
    return parse_header(bytes);
}

void frame_header_write(uint8_t bytes[static WIRE_FRAME_HEADER_SIZE],
                        const struct frame_header *frame)
{
    wire_write_u32(bytes, (uint32_t)frame->length << 8);
    bytes[TYPE_AT] = frame->type;
    bytes[FLAGS_AT] = frame->flags;
    wire_write_u32(bytes + ID_AT, (uint32_t)frame->stream_id);
}

/* --- The reader ------------------------------------------------------------------------------ */

void frame_reader_init(struct frame_reader *reader)
{
    *reader = (struct frame_reader){.skip = WIRE_PREFACE_SIZE};
}

static void count_continuation(struct frame_reader *reader)
{
    reader->block_frames++;
    reader->block_bytes += reader->skip;
    if (reader->skip > reader->longest)
        reader->longest = reader->skip;
    if (reader->block_frames > reader->most_frames)
        reader->most_frames = reader->block_frames;
    if (reader->block_bytes > reader->most_bytes)
        reader->most_bytes = reader->block_bytes;
}

/* A frame header is complete: its payload comes next. */
static void begin_payload(struct frame_reader *reader, struct frame_header *frame)
{
    bool begins_block;

    *frame = parse_header(reader->header);
    begins_block = frame->type == WIRE_HEADERS;
    reader->header_length = 0;
    reader->skip = frame->length;
    if (begins_block)
        reader->block_frames = reader->block_bytes = 0;
    reader->block_last = begins_block || frame->type == WIRE_CONTINUATION;
    reader->block_open = reader->block_last && (frame->flags & WIRE_FLAG_END_HEADERS) == 0;
    if (frame->type == WIRE_CONTINUATION)
        count_continuation(reader);
}

/* Inlined into both of its callers: it runs for every frame. */
static inline bool next_header(struct frame_reader *reader, const uint8_t *bytes, size_t length,
                               size_t *looked_at, struct frame_header *frame)
{
    size_t skipped = size_min(length, reader->skip);
    size_t step = size_min(length - skipped, WIRE_FRAME_HEADER_SIZE - reader->header_length);

    reader->skip -= skipped;
    *looked_at = skipped + step;
    if (step == 0)
        return false;
    memcpy(reader->header + reader->header_length, bytes + skipped, step);
    reader->header_length += step;
    if (reader->header_length < WIRE_FRAME_HEADER_SIZE)
        return false;
    begin_payload(reader, frame);
    return true;
}

bool frame_reader_next(struct frame_reader *reader, const uint8_t *bytes, size_t length,
                       size_t *looked_at, struct frame_header *frame)
{
    return next_header(reader, bytes, length, looked_at, frame);
}

static bool has_number(const struct frame_header *frame)
{
    return (frame->type == WIRE_PRIORITY && frame->length == WIRE_DEPENDENCY_SIZE) ||
           (frame->type == WIRE_RST_STREAM && frame->length == WIRE_RST_STREAM_SIZE) ||
           (frame->type == WIRE_WINDOW_UPDATE && frame->length == WIRE_WINDOW_UPDATE_SIZE);
}

/* The header is complete: read its number. Return true if that is complete as well. */
static bool read_number(struct frame_reader *reader, const uint8_t *bytes, size_t length,
                        size_t *looked_at)
{
    size_t step = size_min(length, reader->number_coming);

    memcpy(reader->header + FRAME_HEAD_MAX - reader->number_coming, bytes, step);
    reader->number_coming -= step;
    reader->skip -= step;
    *looked_at += step;
    return reader->number_coming == 0;
}

bool frame_reader_next_head(struct frame_reader *reader, const uint8_t *bytes, size_t length,
                            size_t *looked_at, struct frame_head *head)
{
    bool in_block = reader->block_open;

    if (reader->number_coming == 0) {
        if (!next_header(reader, bytes, length, looked_at, &head->frame))
            return false;
        head->in_block = in_block;
        head->length = WIRE_FRAME_HEADER_SIZE;
        if (in_block || !has_number(&head->frame))
            return true;
        reader->number_coming = FRAME_NUMBER_SIZE;
    } else {
        *looked_at = 0;
    }
    if (!read_number(reader, bytes + *looked_at, length - *looked_at, looked_at))
        return false;
    *head = (struct frame_head){
        .frame = parse_header(reader->header),
        .length = FRAME_HEAD_MAX,
        .number = (uint32_t)wire_read_u31(reader->header + WIRE_FRAME_HEADER_SIZE),
    };
    return true;
}

size_t frame_reader_unfinished(const struct frame_reader *reader)
{
    return reader->number_coming > 0 ? FRAME_HEAD_MAX - reader->number_coming
                                     : reader->header_length;
}

bool frame_reader_in_block(const struct frame_reader *reader)
{
    return reader->block_open || (reader->block_last && reader->skip > 0);
}
