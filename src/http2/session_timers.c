#include "http2/session_internal.h"

static void expire_stream(struct session *session, struct stream *stream)
{
    int result;

    counter_add(&session->counters->timed_out, 1);
    session_report(session, LOG_LEVEL_NOTICE, stream->id, "stream-timeout: %s",
                   stream->ended ? "the response's window does not open"
                                 : "the request's content does not go on");
    stream->explained = true;
    stream_note_progress(session, stream); /* behind the others, until its RST_STREAM is sent */
    result =
        nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
    if (result != 0)
        session_abort(session, result);
}

static void expire_connection(struct session *session, enum log_level level, uint32_t error,
                              const char *reason)
{
    counter_add(&session->counters->timed_out, 1);
    session_report_end(session, level, session_stream_at_fault(session), "%s", reason);
    session->explained = session->failed = true;
    session_terminate(session, error, reason);
}

void session_expire(struct session *session, struct instant now)
{
    const struct session_options *options = &session->options;
    int64_t at = now.monotonic_us;

    session->now = now;
    if (session->failed)
        return;
    if (session->shutting_down && at >= clock_after(session->shutdown_us, FINAL_GOAWAY_AFTER))
        session->final_goaway_due = true;
    if (!session->preface_complete) {
        if (at >= clock_after(session->started_us, options->header_timeout_us))
            expire_connection(session, LOG_LEVEL_NOTICE, NGHTTP2_ENHANCE_YOUR_CALM,
                              "header-timeout: the preface does not end");
        return;
    }
    if (frame_reader_in_block(&session->frame_reader) &&
        at >= clock_after(session->block_started_us, options->header_timeout_us)) {
        expire_connection(session, LOG_LEVEL_NOTICE, NGHTTP2_ENHANCE_YOUR_CALM,
                          "header-timeout: a header block does not end");
        return;
    }
    while (session->oldest != NULL && session->phase != DEAD &&
           at >= clock_after(session->oldest->progress_us, options->stream_timeout_us))
        expire_stream(session, session->oldest);
    if (session->oldest == NULL &&
        at >= clock_after(session->idle_since_us, options->idle_timeout_us))
        expire_connection(session, LOG_LEVEL_INFO, NGHTTP2_NO_ERROR, "idle-timeout");
}

int64_t session_deadline(const struct session *session)
{
    const struct session_options *options = &session->options;
    int64_t deadline;

    if (session->failed)
        return INSTANT_NEVER;
    if (!session->preface_complete)
        deadline = clock_after(session->started_us, options->header_timeout_us);
    else if (session->oldest != NULL)
        deadline = clock_after(session->oldest->progress_us, options->stream_timeout_us);
    else
        deadline = clock_after(session->idle_since_us, options->idle_timeout_us);
    if (session->preface_complete && frame_reader_in_block(&session->frame_reader))
        deadline = clock_earlier(
            deadline, clock_after(session->block_started_us, options->header_timeout_us));
    if (session->shutting_down && !session->final_goaway_due)
        deadline = clock_earlier(deadline, clock_after(session->shutdown_us, FINAL_GOAWAY_AFTER));
    return deadline;
}

void session_shift_timers(struct session *session, int64_t us)
{
    session->started_us += us;
    session->block_started_us += us;
    session->idle_since_us += us;
    for (struct stream *stream = session->oldest; stream != NULL; stream = stream->newer)
        stream->progress_us += us;
}
