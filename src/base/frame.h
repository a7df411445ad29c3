/*
 * frame_reader: where header blocks begin and end in the bytes that a client sends.
 *
 * nghttp2 does not tell of the frames of a block that it reads past (a malformed request's, say),
 * but a block that does not end is to be timed and bounded all the same. Pure; looks at frame
 * headers (RFC 9113 section 4.1) and skips payloads.
 */
#ifndef H2ECHOD_BASE_FRAME_H
#define H2ECHOD_BASE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_HEADER_SIZE = 9,
    FRAME_NUMBER_SIZE = 4,
    FRAME_HEAD_MAX = FRAME_HEADER_SIZE + FRAME_NUMBER_SIZE,
};

/* What a frame's header says. */
struct frame_header {
    size_t length; /* of the payload */
    int32_t stream_id;
    uint8_t type;
    uint8_t flags;
};

/* A frame's header, and the number that its payload begins with: a PRIORITY frame's dependency, a
 * RST_STREAM frame's error code (less its first bit) or a WINDOW_UPDATE frame's increment. A frame
 * of another type has none, nor has one whose length is wrong, nor one in a header block, which is
 * refused for its header alone: the block's timeout would not hold while a number is awaited. */
struct frame_head {
    struct frame_header frame;
    size_t length;   /* FRAME_HEADER_SIZE, or FRAME_HEAD_MAX if there is a number */
    uint32_t number; /* if there is one: without the bit before it, which has no meaning */
    bool in_block;   /* only CONTINUATION may come here (RFC 9113 section 4.3) */
};

struct frame_reader {
    size_t skip; /* bytes of the preface, or of a payload, that are still to come */
    size_t header_length;
    uint8_t header[FRAME_HEAD_MAX]; /* and number; kept until the next header begins */
    size_t number_coming;           /* bytes of the number that are still to come */
    size_t block_frames;            /* of the present header block: its CONTINUATION frames */
    size_t block_bytes;             /* and their payloads */
    size_t most_frames;             /* the most that any block had */
    size_t most_bytes;
    size_t longest;  /* payload of a CONTINUATION frame */
    bool block_open; /* HEADERS came without END_HEADERS, and no CONTINUATION with it */
    bool block_last; /* the payload being skipped belongs to a header block */
};

/*
 * frame_reader_init(frame_reader):
 * Expect the client's preface, then frames.
 */
void frame_reader_init(struct frame_reader *frame_reader);

/*
 * frame_reader_next(frame_reader, bytes, length, looked_at, frame):
 * Look at the next bytes, in whatever pieces they come, until a frame's header is whole. Return
 * true and set ${frame} if one is. ${looked_at} is how many bytes it took, all of them where there
 * is none.
 */
bool frame_reader_next(struct frame_reader *frame_reader, const uint8_t *bytes, size_t length,
                       size_t *looked_at, struct frame_header *frame);

/*
 * frame_reader_next_head(frame_reader, bytes, length, looked_at, head):
 * As frame_reader_next, until a frame's head is whole.
 */
bool frame_reader_next_head(struct frame_reader *frame_reader, const uint8_t *bytes, size_t length,
                            size_t *looked_at, struct frame_head *head);

/*
 * frame_reader_unfinished(frame_reader):
 * Return how many bytes have come of a head that is not whole.
 */
size_t frame_reader_unfinished(const struct frame_reader *frame_reader);

/*
 * frame_header_parse(header):
 * Return what ${header} says.
 */
struct frame_header frame_header_parse(const uint8_t header[static FRAME_HEADER_SIZE]);

/*
 * frame_header_write(header, frame):
 * Write ${frame} into ${header}, for frame_header_parse.
 */
void frame_header_write(uint8_t header[static FRAME_HEADER_SIZE], const struct frame_header *frame);

/*
 * frame_reader_in_block(frame_reader):
 * Return true if a header block has begun and not ended.
 */
bool frame_reader_in_block(const struct frame_reader *frame_reader);

#endif
