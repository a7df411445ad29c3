#include "echo/client_frames.h"

#include "base/arena.h"

enum { CAPACITY_MIN = 64 };

/* --- Reading --------------------------------------------------------------------------------- */

/* How many bytes of the payload are kept. */
static size_t kept_payload(const struct frame_header *frame)
{
    return size_min(frame->length, CLIENT_FRAMES_PAYLOAD_MAX);
}

bool client_frames_next(const struct client_frames *client_frames, size_t *place,
                        struct client_frame *frame)
{
    size_t payload_at = *place + WIRE_FRAME_HEADER_SIZE;

    if (*place >= client_frames->length)
        return false;
    frame->header = frame_header_parse(client_frames->kept + *place);
    frame->payload = (struct span){
        client_frames->kept + payload_at,
        size_min(kept_payload(&frame->header), client_frames->length - payload_at),
    };
    frame->is_initial = *place < client_frames->initial_length;
    *place = payload_at + frame->payload.length;
    return true;
}

/* --- Keeping --------------------------------------------------------------------------------- */

/* The connection's window is opened again and again as the client consumes content; only the first
 * increment is the client's own choice. */
static bool describes_client(const struct client_frames *client_frames,
                             const struct frame_header *frame)
{
    switch (frame->type) {
    case WIRE_SETTINGS:
        return (frame->flags & WIRE_FLAG_ACK) == 0;
    case WIRE_WINDOW_UPDATE:
        return frame->stream_id == 0 && !client_frames->opened;
    case WIRE_PRIORITY:
        return true;
    default:
        return frame->type > WIRE_CONTINUATION;
    }
}

/* Remove the oldest frame that arrived after the first request. Return false if there is none. */
static bool remove_oldest(struct client_frames *client_frames)
{
    size_t place = client_frames->initial_length;
    struct client_frame oldest;

    if (!client_frames_next(client_frames, &place, &oldest))
        return false;
    memmove(client_frames->kept + client_frames->initial_length, client_frames->kept + place,
            client_frames->length - place);
    client_frames->length -= place - client_frames->initial_length;
    client_frames->left_out++;
    return true;
}

/* Remove old frames until ${size} more bytes may be kept. Return false if they may not. */
static bool make_room(struct client_frames *client_frames, size_t size)
{
    while (client_frames->length + size > CLIENT_FRAMES_MAX) {
        if (!remove_oldest(client_frames))
            return false;
    }
    return true;
}

/* Have memory for ${size} bytes in all. Return false if it ran out. */
static bool grow_kept(struct client_frames *client_frames, struct arena *arena, size_t size)
{
    size_t capacity = client_frames->capacity > 0 ? client_frames->capacity : CAPACITY_MIN;
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

bool client_frames_add(struct client_frames *client_frames, struct arena *arena,
                       const struct frame_header *frame)
{
    size_t size = WIRE_FRAME_HEADER_SIZE + kept_payload(frame);

    if (!describes_client(client_frames, frame))
        return true;
    if (!make_room(client_frames, size)) {
        client_frames->left_out++;
        return true;
    }
    if (!grow_kept(client_frames, arena, client_frames->length + size))
        return false;
    frame_header_write(client_frames->kept + client_frames->length, frame);
    client_frames->length += WIRE_FRAME_HEADER_SIZE;
    client_frames->coming = kept_payload(frame);
    if (!client_frames->opened)
        client_frames->initial_length = client_frames->length + client_frames->coming;
    return true;
}

void client_frames_receive(struct client_frames *client_frames, const uint8_t *bytes, size_t length)
{
    size_t step = size_min(length, client_frames->coming);

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
