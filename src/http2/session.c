#include "http2/session_internal.h"

#include "base/arena.h"

#include <string.h>

/* nghttp2 cannot go on, for want of memory nearly always: our callbacks, too, fail for no other
 * reason that they do not tell themselves. */
void session_abort(struct session *session, int error)
{
    session->failed = true;
    session->phase = DEAD;
    session_report_end(session, LOG_LEVEL_ERROR, 0, "%s: the connection ends",
                       error == NGHTTP2_ERR_NOMEM || error == NGHTTP2_ERR_CALLBACK_FAILURE
                           ? "out of memory"
                           : nghttp2_strerror(error));
}

/* End with GOAWAY, whatever state nghttp2 is in. */
void session_terminate(struct session *session, uint32_t error, const char *reason)
{
    int result = nghttp2_submit_goaway(session->nghttp2, NGHTTP2_FLAG_NONE,
                                       nghttp2_session_get_last_proc_stream_id(session->nghttp2),
                                       error, (const uint8_t *)reason, strlen(reason));

    session->phase = TERMINATING;
    if (result != 0)
        session_abort(session, result);
}

struct session *session_new(const struct session_options *options,
                            const struct session_observer *observer, struct counters *counters,
                            const struct session_memory *memory, struct instant now)
{
    struct session *session = arena_allocate_zeroed(memory->lasting, 1, sizeof(*session));

    if (session == NULL)
        return NULL;
    session->memory = *memory;
    session->options = *options;
    session->observer = *observer;
    session->counters = counters;
    session->now = now;
    session->date_of = INT64_MIN;
    session->started_us = session->idle_since_us = now.monotonic_us;
    session->requests_before = atomic_load_explicit(&counters->requests, memory_order_relaxed);
    closed_streams_init(&session->closed_streams);
    frame_reader_init(&session->frame_reader);
    if (session_open_nghttp2(session) != 0 || session_submit_settings(session) != 0) {
        session_free(session);
        return NULL;
    }
    return session;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    for (struct stream *stream = session->oldest, *newer; stream != NULL; stream = newer) {
        newer = stream->newer;
        stream_close(session, stream, true);
    }
    field_section_reader_free(session->reader);
    nghttp2_session_del(session->nghttp2);
    arena_free(session->memory.lasting, session->spared);
    client_frames_free(&session->client_frames, session->memory.lasting);
    arena_free(session->memory.lasting, session->reported);
    arena_free(session->memory.lasting, session);
}

void session_release_idle_memory(struct session *session)
{
    if (session->block != NULL)
        return; /* its fields are half there */
    field_section_reader_free(session->reader);
    session->reader = NULL;
}

void session_shutdown(struct session *session, struct instant now)
{
    int result;

    session->now = now;
    if (session->shutting_down || session->phase == DEAD)
        return;
    session->shutting_down = true;
    session->shutdown_us = now.monotonic_us;
    result = nghttp2_submit_shutdown_notice(session->nghttp2);
    if (result != 0)
        session_abort(session, result);
}

void session_fail(struct session *session, enum session_error error, const char *reason)
{
    session->explained = session->failed = true;
    if (session->phase != DEAD)
        session_terminate(session, (uint32_t)error, reason);
}

bool session_done(const struct session *session)
{
    if (session->phase == DEAD)
        return true;
    if (session->phase != OPEN)
        return session->phase == TERMINATED && session->pending_length == 0;
    if (session->pending_length > 0 ||
        (session->final_goaway_due && !session->final_goaway_submitted))
        return false;
    return nghttp2_session_want_read(session->nghttp2) == 0 &&
           nghttp2_session_want_write(session->nghttp2) == 0;
}

bool session_failed(const struct session *session)
{
    return session->failed;
}

const char *session_library(void)
{
    return nghttp2_version(0)->version_str;
}
