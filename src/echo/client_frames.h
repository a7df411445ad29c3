/*
 * client_frames: the frames by which a client describes itself: SETTINGS, the first WINDOW_UPDATE
 * of the connection, PRIORITY, PRIORITY_UPDATE and frames of unknown types. The detailed answer
 * shows them.
 *
 * They are kept as they arrived: those before the first request, and of those after it the latest
 * for which there is room. They are parsed only when a detailed answer is composed. nghttp2 cannot
 * do this: it discards frames that it does not know. Pure.
 */
#ifndef H2ECHOD_ECHO_CLIENT_FRAMES_H
#define H2ECHOD_ECHO_CLIENT_FRAMES_H

#include "base/frame.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum {
    CLIENT_FRAMES_MAX = 512,         /* bytes of all that is kept */
    CLIENT_FRAMES_PAYLOAD_MAX = 192, /* bytes of a frame: 32 settings, nghttp2 allows no more */
};

/* All zero is valid: no frames. */
struct client_frames {
    uint8_t *kept; /* each frame's header, then what is kept of its payload; owned */
    size_t length;
    size_t capacity;
    size_t initial_length; /* bytes of the frames before the first request */
    size_t coming;         /* bytes of the last payload that are to be kept and have not arrived */
    size_t left_out;       /* number of frames that were not kept, or were removed to make room */
    bool opened;           /* a request has arrived */
};

/* One of the frames that were kept. */
struct client_frame {
    struct frame_header header;
    struct span payload; /* its beginning, as far as it has arrived and is kept: at most
                            CLIENT_FRAMES_PAYLOAD_MAX bytes */
    bool is_initial;     /* it arrived before the first request */
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
 * The header ${frame} has arrived: if it is of a kind that describes the client, keep it, with
 * memory from ${arena}. Its payload is added by client_frames_receive. Return false if memory ran
 * out.
 */
bool client_frames_add(struct client_frames *client_frames, struct arena *arena,
                       const struct frame_header *frame);

/*
 * client_frames_receive(client_frames, bytes, length):
 * Keep those of the connection's next ${length} bytes that belong to the payload of the frame added
 * last, unless all of that is there.
 */
void client_frames_receive(struct client_frames *client_frames, const uint8_t *bytes,
                           size_t length);

/*
 * client_frames_next(client_frames, place, frame):
 * Set ${frame} to the frame at ${place}, which begins as 0, and advance ${place}. Return false
 * after the last one. ${frame} is valid until ${client_frames} changes.
 */
bool client_frames_next(const struct client_frames *client_frames, size_t *place,
                        struct client_frame *frame);

/*
 * client_frames_free(client_frames, arena):
 * Free what ${client_frames} owns, and leave it empty.
 */
void client_frames_free(struct client_frames *client_frames, struct arena *arena);

#endif
