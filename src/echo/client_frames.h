/*
 * advert: what a client says of itself in frames that are no request's: SETTINGS, the window that
 * it opens, priorities, frames of types that nobody knows.
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
    ADVERT_MAX = 512,         /* bytes of all that is kept */
    ADVERT_PAYLOAD_MAX = 192, /* of a frame: 32 settings; nghttp2 takes no more */
};

/* All zero is a valid one of no frames. */
struct advert {
    uint8_t *kept; /* frame headers with what is kept of their payloads; owned */
    size_t length;
    size_t capacity;
    size_t opening;  /* bytes of those before the first request */
    size_t coming;   /* bytes still to come of the last payload, as much as is to be kept */
    size_t left_out; /* frames for which there was no room, or not any more */
    bool opened;     /* a request came */
};

/* A frame that was kept. */
struct advert_frame {
    struct framing_frame header;
    const uint8_t *payload; /* its beginning: as much as came, ADVERT_PAYLOAD_MAX bytes at most */
    size_t payload_length;
    bool is_opening; /* it came before the first request */
};

/*
 * advert_request(advert):
 * A request begins.
 */
static inline void advert_request(struct advert *advert)
{
    advert->opened = true;
}

/*
 * advert_add(advert, arena, frame):
 * Keep a frame, if it is of a kind that tells something, with memory from ${arena}. Its payload
 * follows by advert_receive. Return false if memory ran out.
 */
bool advert_add(struct advert *advert, struct arena *arena, const struct framing_frame *frame);

/*
 * advert_receive(advert, bytes, length):
 * These are the next bytes of the connection; the first ones belong to the payload of the last
 * frame, unless that is whole.
 */
void advert_receive(struct advert *advert, const uint8_t *bytes, size_t length);

/*
 * advert_next(advert, place, frame):
 * Set ${frame} to the one at ${place}, at first 0, and move ${place} on. Return false behind the
 * last one.
 */
bool advert_next(const struct advert *advert, size_t *place, struct advert_frame *frame);

/*
 * advert_free(advert, arena):
 * Free what ${advert} owns.
 */
void advert_free(struct advert *advert, struct arena *arena);

#endif
