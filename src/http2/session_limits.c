/*
 * session_limits: what a client may send that costs it little and us something: frames that do
 * nothing useful, streams that are reset, header blocks without end (RFC 9113 section 10.5).
 *
 * These limits are ours and the same with every version of nghttp2: its own differ from version to
 * version, and session_nghttp2.c switches them off.
 */
#include "http2/session_internal.h"

enum {
    FRAMES_PER_SECOND = 1000, /* and SESSION_FRAMES_BURST at once */
    REFUNDED_MAX = 1000,      /* frames that may be saved up by useful ones */
    RESETS_BURST = 1000,      /* resets that a client may send, and as many that it may cause */
    RESETS_PER_SECOND = 33,
    CONTINUATIONS_MAX = 1024, /* frames of one header block; a legal one may come byte by byte */
    BLOCK_SIZE_FACTOR = 4,    /* bytes of one header block, in times max_header_list_size */
};

/* Frames that do nothing useful are PING, SETTINGS, PRIORITY, empty DATA, WINDOW_UPDATE by the
 * byte, and frames of unknown types. */
bool flood_charge_frames(struct session *session, uint32_t frames)
{
    struct session_flood *flood = &session->flood;
    uint32_t useful = frames < flood->refunded ? frames : flood->refunded;

    flood->refunded -= useful;
    if (flood->refunded > REFUNDED_MAX)
        flood->refunded = REFUNDED_MAX;
    return frames == useful ||
           ratelimit_take(&flood->frame_budget, session->now.monotonic_us, frames - useful,
                          SESSION_FRAMES_BURST, FRAMES_PER_SECOND);
}

static bool charge_reset(const struct session *session, struct ratelimit *ratelimit)
{
    return ratelimit_take(ratelimit, session->now.monotonic_us, 1, RESETS_BURST, RESETS_PER_SECOND);
}

bool flood_charge_client_reset(struct session *session)
{
    counter_add(&session->counters->resets, 1);
    return charge_reset(session, &session->flood.client_resets);
}

bool flood_charge_server_reset(struct session *session)
{
    return charge_reset(session, &session->flood.server_resets);
}

/* nghttp2 counts calls of nghttp2_session_mem_recv rather than frames, and no frames at all of a
 * block that it ignores. */
bool flood_is_block_too_long(const struct session *session)
{
    const struct frame_reader *frames = &session->in.frames;

    return frames->most_frames > CONTINUATIONS_MAX ||
           frames->most_bytes / BLOCK_SIZE_FACTOR > session->options.max_header_list_size;
}
