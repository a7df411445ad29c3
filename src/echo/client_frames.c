#include "echo/client_frames.h"

#include "base/arena.h"

#include <string.h>

enum {
    CAPACITY_LEAST = 64,
    TYPE_DATA = 0x0,
    TYPE_HEADERS = 0x1,
    TYPE_PRIORITY = 0x2,
    TYPE_SETTINGS = 0x4,
    TYPE_WINDOW_UPDATE = 0x8,
    TYPE_CONTINUATION = 0x9,
    FLAG_ACK = 0x1,
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- Frames that are kept ------------------------------------------------------------------- */

/* How much of a payload is kept. */
static size_t kept_of(const struct frame_header *frame)
{
    return smaller(frame->length, CLIENT_FRAMES_PAYLOAD_MAX);
}

static size_t record_length(const struct frame_header *frame)
{
    return FRAME_HEADER_SIZE + kept_of(frame);
}

bool client_frames_next(const struct client_frames *client_frames, size_t *place,
                        struct client_frame *frame)
{
    size_t payload_at = *place + FRAME_HEADER_SIZE;

    if (*place >= client_frames->length)
        return false;
    frame->header = frame_header_parse(client_frames->kept + *place);
    frame->payload = client_frames->kept + payload_at;
    frame->payload_length = smaller(kept_of(&frame->header), client_frames->length - payload_at);
    frame->is_opening = *place < client_frames->opening;
    *place = payload_at + frame->payload_length;
    return true;
}

/* --- Keeping them --------------------------------------------------------------------------- */

/* Windows open again and again: what a client opens at first is its own choice. */
static bool tells_something(const struct client_frames *client_frames,
                            const struct frame_header *frame)
{
    switch (frame->type) {
    case TYPE_SETTINGS:
        return (frame->flags & FLAG_ACK) == 0;
    case TYPE_WINDOW_UPDATE:
        return frame->stream_id == 0 && !client_frames->opened;
    case TYPE_PRIORITY:
        return true;
    default:
        return frame->type > TYPE_CONTINUATION;
    }
}

/* Forget the first frame behind the opening. Return false if there is none. */
static bool forget_one(struct client_frames *client_frames)
{
    size_t place = client_frames->opening;
    struct client_frame oldest;

    if (!client_frames_next(client_frames, &place, &oldest))
        return false;
    memmove(client_frames->kept + client_frames->opening, client_frames->kept + place,
            client_frames->length - place);
    client_frames->length -= place - client_frames->opening;
    client_frames->left_out++;
    return true;
}

static bool grow(struct client_frames *client_frames, struct arena *arena, size_t size)
{
    size_t capacity = client_frames->capacity > 0 ? client_frames->capacity : CAPACITY_LEAST;
    uint8_t *kept;

    while (capacity < size)
        capacity *= 2;
    if (capacity == client_frames->capacity)
        return true;
    kept = arena_resize(arena, client_frames->kept, capacity);
    if (kept == NULL)
        return false;
    client_frames->kept = kept;
    client_frames->capacity = capacity;
    return true;
}

static bool make_room(struct client_frames *client_frames, size_t size)
{
    while (client_frames->length + size > CLIENT_FRAMES_MAX) {
        if (!forget_one(client_frames))
            return false;
    }
    return true;
}

bool client_frames_add(struct client_frames *client_frames, struct arena *arena,
                       const struct frame_header *frame)
{
    if (!tells_something(client_frames, frame))
        return true;
    if (!make_room(client_frames, record_length(frame))) {
        client_frames->left_out++;
        return true;
    }
    if (!grow(client_frames, arena, client_frames->length + record_length(frame)))
        return false;
    frame_header_write(client_frames->kept + client_frames->length, frame);
    client_frames->length += FRAME_HEADER_SIZE;
    client_frames->coming = kept_of(frame);
    if (!client_frames->opened)
        client_frames->opening = client_frames->length + client_frames->coming;
    return true;
}

void client_frames_receive(struct client_frames *client_frames, const uint8_t *bytes, size_t length)
{
    size_t step = smaller(length, client_frames->coming);

    if (step == 0)
        return;
    memcpy(client_frames->kept + client_frames->length, bytes, step);
    client_frames->length += step;
    client_frames->coming -= step;
}

void client_frames_free(struct client_frames *client_frames, struct arena *arena)
{
    arena_free(arena, client_frames->kept);
    *client_frames = (struct client_frames){0};
}
