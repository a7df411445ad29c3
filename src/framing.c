#include "framing.h"

#include <string.h>

enum {
    PREFACE_SIZE = 24,
    TYPE_AT = 3, /* in a frame header */
    FLAGS_AT = 4,
    ID_AT = 5,
    TYPE_HEADERS = 0x1,
    TYPE_CONTINUATION = 0x9,
    FLAG_END_HEADERS = 0x4,
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

/* A frame header is whole. */
static void begin_frame(struct framing *framing, struct framing_frame *frame)
{
    const uint8_t *header = framing->header;
    bool begins = header[TYPE_AT] == TYPE_HEADERS;

    frame->type = header[TYPE_AT];
    frame->stream_id =
        (int32_t)((uint32_t)(header[ID_AT] & 0x7f) << 24 | (uint32_t)header[ID_AT + 1] << 16 |
                  (uint32_t)header[ID_AT + 2] << 8 | header[ID_AT + 3]);
    framing->header_length = 0;
    framing->skip = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2];
    if (begins)
        framing->block_frames = framing->block_bytes = 0;
    framing->block_last = begins || header[TYPE_AT] == TYPE_CONTINUATION;
    framing->block_open = framing->block_last && (header[FLAGS_AT] & FLAG_END_HEADERS) == 0;
    if (header[TYPE_AT] == TYPE_CONTINUATION)
        count_continuation(framing);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

bool framing_next(struct framing *framing, const uint8_t *bytes, size_t length, size_t *looked_at,
                  struct framing_frame *frame)
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

bool framing_in_block(const struct framing *framing)
{
    return framing->block_open || (framing->block_last && framing->skip > 0);
}
