/*
 * session_timers: every timeout of a session is one line of the table below: when it ends, and what
 * happens then. session_deadline and session_expire both go through that table.
 */
#include "http2/session_internal.h"

enum { FINAL_GOAWAY_AFTER_US = 1000000 }; /* if the drain's PING is not acknowledged earlier */

static void expire_connection(struct session *session, enum log_level level,
                              const struct reason *reason)
{
    counter_add(&session->counters->timed_out, 1);
    session_report_end(session, level, session_stream_at_fault(session), "%s", reason->text);
    session->end.reason_logged = session->end.failed = true;
    session_terminate(session, reason);
}

/* --- The drain's final GOAWAY (RFC 9113 section 6.8) --- */

static int64_t drain_timer_deadline(const struct session *session)
{
    const struct session_drain *drain = &session->drain;

    return drain->started && !drain->goaway_due
               ? clock_after(drain->started_us, FINAL_GOAWAY_AFTER_US)
               : INSTANT_NEVER;
}

static void expire_drain(struct session *session)
{
    session->drain.goaway_due = true;
}

/* --- header-timeout: the preface, then each header block --- */

static int64_t preface_timer_deadline(const struct session *session)
{
    return session->in.preface_complete
               ? INSTANT_NEVER
               : clock_after(session->started_us, session->options.header_timeout_us);
}

static void expire_preface(struct session *session)
{
    static const struct reason reason = {NGHTTP2_ENHANCE_YOUR_CALM,
                                         "header-timeout: the preface does not end", NULL};

    expire_connection(session, LOG_LEVEL_NOTICE, &reason);
}

static int64_t block_timer_deadline(const struct session *session)
{
    return session->in.preface_complete && frame_reader_in_block(&session->in.frames)
               ? clock_after(session->block.started_us, session->options.header_timeout_us)
               : INSTANT_NEVER;
}

static void expire_block(struct session *session)
{
    static const struct reason reason = {NGHTTP2_ENHANCE_YOUR_CALM,
                                         "header-timeout: a header block does not end", NULL};

    expire_connection(session, LOG_LEVEL_NOTICE, &reason);
}

/* --- stream-timeout --- */

static int64_t stream_timer_deadline(const struct session *session)
{
    const struct stream *oldest = session->streams.oldest;

    return session->in.preface_complete && oldest != NULL
               ? clock_after(oldest->progress_us, session->options.stream_timeout_us)
               : INSTANT_NEVER;
}

static void expire_stream(struct session *session)
{
    struct stream *stream = session->streams.oldest;
    int result;

    counter_add(&session->counters->timed_out, 1);
    session_report(session, LOG_LEVEL_NOTICE, stream->id, "stream-timeout: %s",
                   stream->request_ended ? "flow-control window exhausted"
                                         : "request content stopped");
    stream->reason_logged = true;
    stream_note_progress(session, stream); /* it stays open until its RST_STREAM is sent */
    result =
        nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
    if (result != 0)
        session_abort(session, result);
}

/* --- idle-timeout --- */

static int64_t idle_timer_deadline(const struct session *session)
{
    return session->in.preface_complete && session->streams.oldest == NULL
               ? clock_after(session->idle_since_us, session->options.idle_timeout_us)
               : INSTANT_NEVER;
}

static void expire_idle(struct session *session)
{
    static const struct reason reason = {NGHTTP2_NO_ERROR, "idle-timeout", NULL};

    expire_connection(session, LOG_LEVEL_INFO, &reason);
}

/* --- The table --- */

static const struct timer {
    int64_t (*deadline)(const struct session *session); /* INSTANT_NEVER = it is not running */
    void (*expire)(struct session *session); /* must move the deadline, or end the session */
} timers[] = {
    {drain_timer_deadline, expire_drain}, {preface_timer_deadline, expire_preface},
    {block_timer_deadline, expire_block}, {stream_timer_deadline, expire_stream},
    {idle_timer_deadline, expire_idle},
};

int64_t session_deadline(const struct session *session)
{
    int64_t deadline = INSTANT_NEVER;

    if (session->end.failed)
        return INSTANT_NEVER;
    for (size_t i = 0; i < COUNT_OF(timers); i++)
        deadline = clock_earlier(deadline, timers[i].deadline(session));
    return deadline;
}

void session_expire(struct session *session, struct instant now)
{
    session->now = now;
    for (size_t i = 0; i < COUNT_OF(timers); i++) {
        while (!session->end.failed && now.monotonic_us >= timers[i].deadline(session))
            timers[i].expire(session);
    }
}

void session_shift_timers(struct session *session, int64_t us)
{
    session->started_us += us;
    session->block.started_us += us;
    session->idle_since_us += us;
    for (struct stream *stream = session->streams.oldest; stream != NULL; stream = stream->newer)
        stream->progress_us += us;
}
