#include "base/frame.h"

#include <string.h>

enum {
    PREFACE_SIZE = 24,
    TYPE_AT = 3, /* in a frame header */
    FLAGS_AT = 4,
    ID_AT = 5,
    TYPE_HEADERS = 0x1,
    TYPE_PRIORITY = 0x2,
    TYPE_RST_STREAM = 0x3,
    TYPE_WINDOW_UPDATE = 0x8,
    TYPE_CONTINUATION = 0x9,
    FLAG_END_HEADERS = 0x4,
    PRIORITY_SIZE = 5,
    RST_STREAM_SIZE = 4,
    WINDOW_UPDATE_SIZE = 4,
};

void frame_reader_init(struct frame_reader *frame_reader)
{
    *frame_reader = (struct frame_reader){.skip = PREFACE_SIZE};
}

static void count_continuation(struct frame_reader *frame_reader)
{
    frame_reader->block_frames++;
    frame_reader->block_bytes += frame_reader->skip;
    if (frame_reader->skip > frame_reader->longest)
        frame_reader->longest = frame_reader->skip;
    if (frame_reader->block_frames > frame_reader->most_frames)
        frame_reader->most_frames = frame_reader->block_frames;
    if (frame_reader->block_bytes > frame_reader->most_bytes)
        frame_reader->most_bytes = frame_reader->block_bytes;
}

/* 31 bits behind one that has no meaning. */
static inline uint32_t read_number(const uint8_t bytes[static FRAME_NUMBER_SIZE])
{
    return (uint32_t)(bytes[0] & 0x7f) << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

static inline struct frame_header parse(const uint8_t header[static FRAME_HEADER_SIZE])
{
    return (struct frame_header){
        .length = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2],
        .stream_id = (int32_t)read_number(header + ID_AT),
        .type = header[TYPE_AT],
        .flags = header[FLAGS_AT],
    };
}

struct frame_header frame_header_parse(const uint8_t header[static FRAME_HEADER_SIZE])
{
    return parse(header);
}

void frame_header_write(uint8_t header[static FRAME_HEADER_SIZE], const struct frame_header *frame)
{
    uint32_t id = (uint32_t)frame->stream_id;

    header[0] = (uint8_t)(frame->length >> 16);
    header[1] = (uint8_t)(frame->length >> 8);
    header[2] = (uint8_t)frame->length;
    header[TYPE_AT] = frame->type;
    header[FLAGS_AT] = frame->flags;
    header[ID_AT] = (uint8_t)(id >> 24);
    header[ID_AT + 1] = (uint8_t)(id >> 16);
    header[ID_AT + 2] = (uint8_t)(id >> 8);
    header[ID_AT + 3] = (uint8_t)id;
}

/* A frame header is whole. */
static void begin_frame(struct frame_reader *frame_reader, struct frame_header *frame)
{
    bool begins;

    *frame = parse(frame_reader->header);
    begins = frame->type == TYPE_HEADERS;
    frame_reader->header_length = 0;
    frame_reader->skip = frame->length;
    if (begins)
        frame_reader->block_frames = frame_reader->block_bytes = 0;
    frame_reader->block_last = begins || frame->type == TYPE_CONTINUATION;
    frame_reader->block_open = frame_reader->block_last && (frame->flags & FLAG_END_HEADERS) == 0;
    if (frame->type == TYPE_CONTINUATION)
        count_continuation(frame_reader);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline bool next(struct frame_reader *frame_reader, const uint8_t *bytes, size_t length,
                        size_t *looked_at, struct frame_header *frame)
{
    size_t skipped = smaller(length, frame_reader->skip);
    size_t step = smaller(length - skipped, FRAME_HEADER_SIZE - frame_reader->header_length);

    frame_reader->skip -= skipped;
    *looked_at = skipped + step;
    if (step == 0)
        return false;
    memcpy(frame_reader->header + frame_reader->header_length, bytes + skipped, step);
    frame_reader->header_length += step;
    if (frame_reader->header_length < FRAME_HEADER_SIZE)
        return false;
    begin_frame(frame_reader, frame);
    return true;
}

bool frame_reader_next(struct frame_reader *frame_reader, const uint8_t *bytes, size_t length,
                       size_t *looked_at, struct frame_header *frame)
{
    return next(frame_reader, bytes, length, looked_at, frame);
}

static bool has_number(const struct frame_header *frame)
{
    return (frame->type == TYPE_PRIORITY && frame->length == PRIORITY_SIZE) ||
           (frame->type == TYPE_RST_STREAM && frame->length == RST_STREAM_SIZE) ||
           (frame->type == TYPE_WINDOW_UPDATE && frame->length == WINDOW_UPDATE_SIZE);
}

/* Return true if the number of the frame whose header is whole is so, too. */
static bool read_on(struct frame_reader *frame_reader, const uint8_t *bytes, size_t length,
                    size_t *looked_at)
{
    size_t step = smaller(length, frame_reader->number_coming);

    memcpy(frame_reader->header + FRAME_HEAD_MAX - frame_reader->number_coming, bytes, step);
    frame_reader->number_coming -= step;
    frame_reader->skip -= step;
    *looked_at += step;
    return frame_reader->number_coming == 0;
}

bool frame_reader_next_head(struct frame_reader *frame_reader, const uint8_t *bytes, size_t length,
                            size_t *looked_at, struct frame_head *head)
{
    bool in_block = frame_reader->block_open;

    if (frame_reader->number_coming == 0) {
        if (!next(frame_reader, bytes, length, looked_at, &head->frame))
            return false;
        head->in_block = in_block;
        head->length = FRAME_HEADER_SIZE;
        if (in_block || !has_number(&head->frame))
            return true;
        frame_reader->number_coming = FRAME_NUMBER_SIZE;
    } else {
        *looked_at = 0;
    }
    if (!read_on(frame_reader, bytes + *looked_at, length - *looked_at, looked_at))
        return false;
    *head = (struct frame_head){.frame = parse(frame_reader->header),
                                .length = FRAME_HEAD_MAX,
                                .number = read_number(frame_reader->header + FRAME_HEADER_SIZE)};
    return true;
}

size_t frame_reader_unfinished(const struct frame_reader *frame_reader)
{
    return frame_reader->number_coming > 0 ? FRAME_HEAD_MAX - frame_reader->number_coming
                                           : frame_reader->header_length;
}

bool frame_reader_in_block(const struct frame_reader *frame_reader)
{
    return frame_reader->block_open || (frame_reader->block_last && frame_reader->skip > 0);
}
