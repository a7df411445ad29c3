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
static size_t kept_of(const struct framing_frame *frame)
{
    return smaller(frame->length, ADVERT_PAYLOAD_MAX);
}

static size_t record_length(const struct framing_frame *frame)
{
    return FRAMING_HEADER_SIZE + kept_of(frame);
}

bool advert_next(const struct advert *advert, size_t *place, struct advert_frame *frame)
{
    size_t payload_at = *place + FRAMING_HEADER_SIZE;

    if (*place >= advert->length)
        return false;
    frame->header = framing_parse(advert->kept + *place);
    frame->payload = advert->kept + payload_at;
    frame->payload_length = smaller(kept_of(&frame->header), advert->length - payload_at);
    frame->is_opening = *place < advert->opening;
    *place = payload_at + frame->payload_length;
    return true;
}

/* --- Keeping them --------------------------------------------------------------------------- */

/* Windows open again and again: what a client opens at first is its own choice. */
static bool tells_something(const struct advert *advert, const struct framing_frame *frame)
{
    switch (frame->type) {
    case TYPE_SETTINGS:
        return (frame->flags & FLAG_ACK) == 0;
    case TYPE_WINDOW_UPDATE:
        return frame->stream_id == 0 && !advert->opened;
    case TYPE_PRIORITY:
        return true;
    default:
        return frame->type > TYPE_CONTINUATION;
    }
}

/* Forget the first frame behind the opening. Return false if there is none. */
static bool forget_one(struct advert *advert)
{
    size_t place = advert->opening;
    struct advert_frame oldest;

    if (!advert_next(advert, &place, &oldest))
        return false;
    memmove(advert->kept + advert->opening, advert->kept + place, advert->length - place);
    advert->length -= place - advert->opening;
    advert->left_out++;
    return true;
}

static bool grow(struct advert *advert, struct arena *arena, size_t size)
{
    size_t capacity = advert->capacity > 0 ? advert->capacity : CAPACITY_LEAST;
    uint8_t *kept;

    while (capacity < size)
        capacity *= 2;
    if (capacity == advert->capacity)
        return true;
    kept = arena_resize(arena, advert->kept, capacity);
    if (kept == NULL)
        return false;
    advert->kept = kept;
    advert->capacity = capacity;
    return true;
}

static bool make_room(struct advert *advert, size_t size)
{
    while (advert->length + size > ADVERT_MAX) {
        if (!forget_one(advert))
            return false;
    }
    return true;
}

bool advert_add(struct advert *advert, struct arena *arena, const struct framing_frame *frame)
{
    if (!tells_something(advert, frame))
        return true;
    if (!make_room(advert, record_length(frame))) {
        advert->left_out++;
        return true;
    }
    if (!grow(advert, arena, advert->length + record_length(frame)))
        return false;
    framing_write(advert->kept + advert->length, frame);
    advert->length += FRAMING_HEADER_SIZE;
    advert->coming = kept_of(frame);
    if (!advert->opened)
        advert->opening = advert->length + advert->coming;
    return true;
}

void advert_receive(struct advert *advert, const uint8_t *bytes, size_t length)
{
    size_t step = smaller(length, advert->coming);

    if (step == 0)
        return;
    memcpy(advert->kept + advert->length, bytes, step);
    advert->length += step;
    advert->coming -= step;
}

void advert_free(struct advert *advert, struct arena *arena)
{
    arena_free(arena, advert->kept);
    *advert = (struct advert){0};
}
