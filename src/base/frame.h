/*
 * frame: frame headers, and where frames and field blocks begin and end in what a client sends.
 *
 * nghttp2 says nothing about the frames of a field block that it skips (a malformed request's, for
 * one), but a block that does not end has to time out and is limited in size all the same. So this
 * looks at every frame header (RFC 9113 section 4.1) and skips the payloads. Pure.
 */
#ifndef H2ECHOD_BASE_FRAME_H
#define H2ECHOD_BASE_FRAME_H

#include "base/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_NUMBER_SIZE = 4,
    FRAME_HEAD_MAX = WIRE_FRAME_HEADER_SIZE + FRAME_NUMBER_SIZE,
};

/* What a frame's header says. */
struct frame_header {
    size_t length; /* of the payload */
    int32_t stream_id;
    uint8_t type;
    uint8_t flags;
};

/* A frame's header together with the number at the beginning of its payload: the stream dependency
 * of PRIORITY, the error code of RST_STREAM (without its first bit) or the increment of
 * WINDOW_UPDATE. Frames of other types have no number here, nor have frames of a wrong length, nor
 * frames within a field block: they are an error by their header alone, and to wait for the number
 * would keep the block's timeout from running out. */
struct frame_head {
    struct frame_header frame;
    size_t length;   /* WIRE_FRAME_HEADER_SIZE, or FRAME_HEAD_MAX if there is a number */
    uint32_t number; /* if there is one, without the reserved bit before it */
    bool in_block;   /* only CONTINUATION is allowed here (RFC 9113 section 4.3) */
};

/* All zero is valid: a reader that expects frames without a preface before them, as a server sends
 * them. */
struct frame_reader {
    size_t skip; /* bytes of the preface, or of a payload, that are still to come */
    size_t header_length;
    uint8_t header[FRAME_HEAD_MAX]; /* with the number; kept until the next header begins */
    size_t number_coming;           /* bytes of the number that are still to come */
    size_t block_frames;            /* CONTINUATION frames of the current field block */
    size_t block_bytes;             /* their payloads */
    size_t most_frames;             /* the maximum of block_frames, of all blocks */
    size_t most_bytes;              /* the maximum of block_bytes */
    size_t longest;                 /* payload of any CONTINUATION frame */
    bool block_open;                /* END_HEADERS has not come yet */
    bool block_last;                /* the payload that is being skipped belongs to a field block */
};

/*
 * frame_reader_init(reader):
 * Expect the client's preface, then frames.
 */
void frame_reader_init(struct frame_reader *reader);

/*
 * frame_reader_next(reader, bytes, length, looked_at, frame):
 * Look at the next bytes of the connection until a frame's header is complete. It may arrive in any
 * number of pieces. If it is complete, return true and set ${frame}. ${looked_at} is set to how
 * many of the ${length} bytes were read: all of them if false is returned.
 */
bool frame_reader_next(struct frame_reader *reader, const uint8_t *bytes, size_t length,
                       size_t *looked_at, struct frame_header *frame);

/*
 * frame_reader_next_head(reader, bytes, length, looked_at, head):
 * As frame_reader_next, until a frame's head is complete.
 */
bool frame_reader_next_head(struct frame_reader *reader, const uint8_t *bytes, size_t length,
                            size_t *looked_at, struct frame_head *head);

/*
 * frame_reader_unfinished(reader):
 * Return how many bytes have arrived of a head that is not complete.
 */
size_t frame_reader_unfinished(const struct frame_reader *reader);

/*
 * frame_reader_in_block(reader):
 * Return true if a field block has begun and not ended.
 */
bool frame_reader_in_block(const struct frame_reader *reader);

/*
 * frame_header_parse(bytes):
 * Return what a frame's header says.
 */
struct frame_header frame_header_parse(const uint8_t bytes[static WIRE_FRAME_HEADER_SIZE]);

/*
 * frame_header_write(bytes, frame):
 * Write the header ${frame}, the inverse of frame_header_parse.
 */
void frame_header_write(uint8_t bytes[static WIRE_FRAME_HEADER_SIZE],
                        const struct frame_header *frame);

#endif
