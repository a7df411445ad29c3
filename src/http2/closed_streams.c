#include "http2/closed_streams.h"

#include <stddef.h>

void past_start(struct past *past)
{
    *past = (struct past){.refused_from = INT32_MAX};
}

bool past_open(struct past *past, int32_t id)
{
    if (id <= past->highest)
        return false;
    past->highest = id;
    return true;
}

void past_refuse(struct past *past, int32_t id)
{
    if (id < past->refused_from)
        past->refused_from = id;
}

void past_reset(struct past *past, int32_t id)
{
    int32_t *slot = &past->resets[past->reset_at++ % PAST_RESETS];

    if (*slot > past->forgotten)
        past->forgotten = *slot;
    *slot = id;
}

void past_close(struct past *past, int32_t id)
{
    past->closed[past->closed_at++ % PAST_CLOSED] = id;
}

static bool contains(const int32_t *ids, size_t count, int32_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

bool past_is_late(const struct past *past, int32_t id)
{
    return id <= past->forgotten || id >= past->refused_from ||
           contains(past->resets, PAST_RESETS, id);
}

bool past_was_closed(const struct past *past, int32_t id)
{
    return contains(past->closed, PAST_CLOSED, id);
}
