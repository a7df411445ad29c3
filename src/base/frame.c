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

void framing_start(struct framing *framing)
{
    *framing = (struct framing){.skip = PREFACE_SIZE};
}

static void count_continuation(struct framing *framing)
{
    framing->block_frames++;
    framing->block_bytes += framing->skip;
    if (framing->skip > framing->longest)
        framing->longest = framing->skip;
    if (framing->block_frames > framing->most_frames)
        framing->most_frames = framing->block_frames;
    if (framing->block_bytes > framing->most_bytes)
        framing->most_bytes = framing->block_bytes;
}

/* 31 bits behind one that has no meaning. */
static inline uint32_t read_number(const uint8_t bytes[static FRAMING_NUMBER_SIZE])
{
    return (uint32_t)(bytes[0] & 0x7f) << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

static inline struct framing_frame parse(const uint8_t header[static FRAMING_HEADER_SIZE])
{
    return (struct framing_frame){
        .length = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2],
        .stream_id = (int32_t)read_number(header + ID_AT),
        .type = header[TYPE_AT],
        .flags = header[FLAGS_AT],
    };
}

struct framing_frame framing_parse(const uint8_t header[static FRAMING_HEADER_SIZE])
{
    return parse(header);
}

void framing_write(uint8_t header[static FRAMING_HEADER_SIZE], const struct framing_frame *frame)
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
static void begin_frame(struct framing *framing, struct framing_frame *frame)
{
    bool begins;

    *frame = parse(framing->header);
    begins = frame->type == TYPE_HEADERS;
    framing->header_length = 0;
    framing->skip = frame->length;
    if (begins)
        framing->block_frames = framing->block_bytes = 0;
    framing->block_last = begins || frame->type == TYPE_CONTINUATION;
    framing->block_open = framing->block_last && (frame->flags & FLAG_END_HEADERS) == 0;
    if (frame->type == TYPE_CONTINUATION)
        count_continuation(framing);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline bool next(struct framing *framing, const uint8_t *bytes, size_t length,
                        size_t *looked_at, struct framing_frame *frame)
{
    size_t skipped = smaller(length, framing->skip);
    size_t step = smaller(length - skipped, FRAMING_HEADER_SIZE - framing->header_length);

    framing->skip -= skipped;
    *looked_at = skipped + step;
    if (step == 0)
        return false;
    memcpy(framing->header + framing->header_length, bytes + skipped, step);
    framing->header_length += step;
    if (framing->header_length < FRAMING_HEADER_SIZE)
        return false;
    begin_frame(framing, frame);
    return true;
}

bool framing_next(struct framing *framing, const uint8_t *bytes, size_t length, size_t *looked_at,
                  struct framing_frame *frame)
{
    return next(framing, bytes, length, looked_at, frame);
}

static bool has_number(const struct framing_frame *frame)
{
    return (frame->type == TYPE_PRIORITY && frame->length == PRIORITY_SIZE) ||
           (frame->type == TYPE_RST_STREAM && frame->length == RST_STREAM_SIZE) ||
           (frame->type == TYPE_WINDOW_UPDATE && frame->length == WINDOW_UPDATE_SIZE);
}

/* Return true if the number of the frame whose header is whole is so, too. */
static bool read_on(struct framing *framing, const uint8_t *bytes, size_t length, size_t *looked_at)
{
    size_t step = smaller(length, framing->number_coming);

    memcpy(framing->header + FRAMING_HEAD_MAX - framing->number_coming, bytes, step);
    framing->number_coming -= step;
    framing->skip -= step;
    *looked_at += step;
    return framing->number_coming == 0;
}

bool framing_next_head(struct framing *framing, const uint8_t *bytes, size_t length,
                       size_t *looked_at, struct framing_head *head)
{
    bool in_block = framing->block_open;

    if (framing->number_coming == 0) {
        if (!next(framing, bytes, length, looked_at, &head->frame))
            return false;
        head->in_block = in_block;
        head->length = FRAMING_HEADER_SIZE;
        if (in_block || !has_number(&head->frame))
            return true;
        framing->number_coming = FRAMING_NUMBER_SIZE;
    } else {
        *looked_at = 0;
    }
    if (!read_on(framing, bytes + *looked_at, length - *looked_at, looked_at))
        return false;
    *head = (struct framing_head){.frame = parse(framing->header),
                                  .length = FRAMING_HEAD_MAX,
                                  .number = read_number(framing->header + FRAMING_HEADER_SIZE)};
    return true;
}

size_t framing_unfinished(const struct framing *framing)
{
    return framing->number_coming > 0 ? FRAMING_HEAD_MAX - framing->number_coming
                                      : framing->header_length;
}

bool framing_in_block(const struct framing *framing)
{
    return framing->block_open || (framing->block_last && framing->skip > 0);
}
