#include "http2/session_internal.h"

/* nghttp2's own bound counts calls, not frames, and neither where it reads past a block. */
bool flood_is_block_too_long(const struct session *session)
{
    return session->frame_reader.most_frames > CONTINUATIONS_MAX ||
           session->frame_reader.most_bytes / BLOCK_SIZE_FACTOR >
               session->options.max_header_list_size;
}

/* Return false if ${frames} more make too many that bring nothing: PING, SETTINGS, PRIORITY, empty
 * DATA, WINDOW_UPDATE by the byte, frames of unknown types. */
bool flood_charge_frames(struct session *session, uint32_t frames)
{
    uint32_t free_ones = frames < session->credit ? frames : session->credit;

    session->credit -= free_ones;
    if (session->credit > CREDIT_MAX)
        session->credit = CREDIT_MAX;
    return ratelimit_take(&session->frames, session->now.monotonic_us, frames - free_ones,
                          FRAMES_BURST, FRAMES_PER_SECOND);
}

bool flood_charge_reset(const struct session *session, struct ratelimit *ratelimit)
{
    return ratelimit_take(ratelimit, session->now.monotonic_us, 1, RESETS_BURST, RESETS_PER_SECOND);
}

/* Count a reset by the client. Return false if there are too many. */
bool flood_charge_client_reset(struct session *session)
{
    counter_add(&session->counters->resets, 1);
    return flood_charge_reset(session, &session->cancels);
}
