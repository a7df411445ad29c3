#include "http2/closed_streams.h"

#include <stddef.h>

void closed_streams_init(struct closed_streams *closed)
{
    *closed = (struct closed_streams){.refused_from = INT32_MAX};
}

bool closed_streams_open(struct closed_streams *closed, int32_t id)
{
    if (id <= closed->highest)
        return false;
    closed->highest = id;
    return true;
}

void closed_streams_note_refused(struct closed_streams *closed, int32_t id)
{
    if (id < closed->refused_from)
        closed->refused_from = id;
}

void closed_streams_note_reset(struct closed_streams *closed, int32_t id)
{
    int32_t *slot = &closed->resets[closed->reset_at++ % CLOSED_STREAMS_RESETS];

    if (*slot > closed->forgotten)
        closed->forgotten = *slot;
    *slot = id;
}

void closed_streams_note_closed(struct closed_streams *closed, int32_t id)
{
    closed->closed[closed->closed_at++ % CLOSED_STREAMS_CLOSED] = id;
}

static bool contains_id(const int32_t *ids, size_t count, int32_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

bool closed_streams_is_late(const struct closed_streams *closed, int32_t id)
{
    return id <= closed->forgotten || id >= closed->refused_from ||
           contains_id(closed->resets, CLOSED_STREAMS_RESETS, id);
}

bool closed_streams_was_closed(const struct closed_streams *closed, int32_t id)
{
    return contains_id(closed->closed, CLOSED_STREAMS_CLOSED, id);
}
