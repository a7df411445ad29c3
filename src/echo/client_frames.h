/*
 * client_frames: what a client says of itself in frames that are no request's: SETTINGS, the window
 * that it opens, priorities, frames of types that nobody knows.
 *
 * The frames are kept as they came, those before the first request and the latest behind it, as far
 * as there is room; they are looked into when somebody asks. nghttp2 would not do: it drops what it
 * does not know. Pure.
 */
#ifndef H2ECHOD_ECHO_CLIENT_FRAMES_H
#define H2ECHOD_ECHO_CLIENT_FRAMES_H

#include "base/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum {
    CLIENT_FRAMES_MAX = 512,         /* bytes of all that is kept */
    CLIENT_FRAMES_PAYLOAD_MAX = 192, /* of a frame: 32 settings; nghttp2 takes no more */
};

/* All zero is a valid one of no frames. */
struct client_frames {
    uint8_t *kept; /* frame headers with what is kept of their payloads; owned */
    size_t length;
    size_t capacity;
    size_t opening;  /* bytes of those before the first request */
    size_t coming;   /* bytes still to come of the last payload, as much as is to be kept */
    size_t left_out; /* frames for which there was no room, or not any more */
    bool opened;     /* a request came */
};

/* A frame that was kept. */
struct client_frame {
    struct frame_header header;
    const uint8_t
        *payload; /* its beginning: as much as came, CLIENT_FRAMES_PAYLOAD_MAX bytes at most */
    size_t payload_length;
    bool is_opening; /* it came before the first request */
};

/*
 * client_frames_note_request(client_frames):
 * A request begins.
 */
static inline void client_frames_note_request(struct client_frames *client_frames)
{
    client_frames->opened = true;
}

/*
 * client_frames_add(client_frames, arena, frame):
 * Keep a frame, if it is of a kind that tells something, with memory from ${arena}. Its payload
 * follows by client_frames_receive. Return false if memory ran out.
 */
bool client_frames_add(struct client_frames *client_frames, struct arena *arena,
                       const struct frame_header *frame);

/*
 * client_frames_receive(client_frames, bytes, length):
 * These are the next bytes of the connection; the first ones belong to the payload of the last
 * frame, unless that is whole.
 */
void client_frames_receive(struct client_frames *client_frames, const uint8_t *bytes,
                           size_t length);

/*
 * client_frames_next(client_frames, place, frame):
 * Set ${frame} to the one at ${place}, at first 0, and move ${place} on. Return false behind the
 * last one.
 */
bool client_frames_next(const struct client_frames *client_frames, size_t *place,
                        struct client_frame *frame);

/*
 * client_frames_free(client_frames, arena):
 * Free what ${client_frames} owns.
 */
void client_frames_free(struct client_frames *client_frames, struct arena *arena);

#endif
