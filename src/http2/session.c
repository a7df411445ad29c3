/*
 * session: the life cycle. src/http2/session_internal.h lists the other files of the session.
 */
#include "http2/session_internal.h"

#include "base/arena.h"

#include <string.h>

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
    session->date.unix_s = INT64_MIN;
    session->started_us = session->idle_since_us = now.monotonic_us;
    session->requests_before = atomic_load_explicit(&counters->requests, memory_order_relaxed);
    closed_streams_init(&session->closed_streams);
    frame_reader_init(&session->in.frames);
    if (session_open_nghttp2(session) != 0) {
        session_free(session);
        return NULL;
    }
    return session;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    for (struct stream *stream = session->streams.oldest, *newer; stream != NULL; stream = newer) {
        newer = stream->newer;
        stream_close(session, stream, true);
    }
    field_section_reader_free(session->block.reader);
    nghttp2_session_del(session->nghttp2);
    arena_free(session->memory.lasting, session->heap.deferred_free);
    client_frames_free(&session->client_frames, session->memory.lasting);
    arena_free(session->memory.lasting, session->log.remembered);
    arena_free(session->memory.lasting, session);
}

void session_release_idle_memory(struct session *session)
{
    if (session->block.stream != NULL)
        return; /* the reader has the first fields of a header block */
    field_section_reader_free(session->block.reader);
    session->block.reader = NULL;
}

void session_shutdown(struct session *session, struct instant now)
{
    int result;

    session->now = now;
    if (session->drain.started || session->end.phase == PHASE_DEAD)
        return;
    session->drain.started = true;
    session->drain.started_us = now.monotonic_us;
    result = nghttp2_submit_shutdown_notice(session->nghttp2);
    if (result != 0)
        session_abort(session, result);
}

void session_terminate(struct session *session, const struct reason *reason)
{
    int result =
        nghttp2_submit_goaway(session->nghttp2, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session->nghttp2),
                              reason->code, (const uint8_t *)reason->text, strlen(reason->text));

    session->end.phase = PHASE_TERMINATING;
    session->end.reason = *reason;
    if (result != 0)
        session_abort(session, result);
}

/* NGHTTP2_ERR_CALLBACK_FAILURE without a reason is lack of memory, too: no callback of ours fails
 * otherwise. */
void session_abort(struct session *session, int error)
{
    session->end.failed = true;
    session->end.phase = PHASE_DEAD;
    session_report_end(session, LOG_LEVEL_ERROR, 0, "%s: closing the connection",
                       error == NGHTTP2_ERR_NOMEM || error == NGHTTP2_ERR_CALLBACK_FAILURE
                           ? "out of memory"
                           : nghttp2_strerror(error));
}

void session_fail(struct session *session, enum session_error error, const char *text)
{
    session->end.reason_logged = session->end.failed = true;
    if (session->end.phase != PHASE_DEAD)
        session_terminate(session, &(struct reason){(uint32_t)error, text, NULL});
}

bool session_done(const struct session *session)
{
    bool goaway_due = session->drain.goaway_due && !session->drain.goaway_submitted;
    bool is_pending = session->out.pending_length > 0;

    if (session->end.phase == PHASE_DEAD)
        return true;
    if (session->end.phase != PHASE_OPEN)
        return session->end.phase == PHASE_TERMINATED && !is_pending;
    if (is_pending || goaway_due)
        return false;
    return nghttp2_session_want_read(session->nghttp2) == 0 &&
           nghttp2_session_want_write(session->nghttp2) == 0;
}

bool session_failed(const struct session *session)
{
    return session->end.failed;
}

const char *session_library(void)
{
    return nghttp2_version(0)->version_str;
}
