#include "http2/session_internal.h"

#include <inttypes.h>
#include <string.h>

/* Say how much of the body the next DATA frame has. Where all of it has room in the output, it goes
 * there at once, by send_body, and nghttp2 need not copy it. */
ssize_t stream_read_body(nghttp2_session *nghttp2, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *data_flags, nghttp2_data_source *source, void *user_data)
{
    const struct session *session = user_data;
    struct stream *stream = source->ptr;
    size_t left = stream->body_length - stream->body_sent;
    size_t room = session->out_size - session->out_used;
    size_t length = left < size ? left : size;

    (void)nghttp2;
    (void)stream_id;
    if (room >= WIRE_FRAME_HEADER_SIZE + length || room >= ROOM_WORTH_USING) {
        *data_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (length > room - WIRE_FRAME_HEADER_SIZE)
            length = room - WIRE_FRAME_HEADER_SIZE;
    } else {
        memcpy(buffer, stream->body + stream->body_sent, length);
        stream->body_sent += length;
    }
    if (length == left)
        *data_flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)length;
}

/* Write a DATA frame that read_body has found room for. */
static int send_body(nghttp2_session *nghttp2, nghttp2_frame *frame, const uint8_t *header,
                     size_t length, nghttp2_data_source *source, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = source->ptr;
    uint8_t *out = session->out + session->out_used;

    (void)nghttp2;
    (void)frame;
    memcpy(out, header, WIRE_FRAME_HEADER_SIZE);
    memcpy(out + WIRE_FRAME_HEADER_SIZE, stream->body + stream->body_sent, length);
    stream->body_sent += length;
    session->out_used += WIRE_FRAME_HEADER_SIZE + length;
    return 0;
}

static void on_reset_sent(struct session *session, const nghttp2_rst_stream *frame)
{
    struct stream *stream = stream_find(session, frame->hd.stream_id);
    char name[ERROR_NAME_MAX];

    counter_add(&session->counters->resets, 1);
    closed_streams_note_reset(&session->closed_streams, frame->hd.stream_id);
    if (frame->error_code != NGHTTP2_NO_ERROR && frame->error_code != NGHTTP2_CANCEL &&
        session->phase == OPEN && !flood_charge_reset(session, &session->resets))
        session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM,
                          "too many streams that had to be reset");
    if (stream != NULL) {
        stream->reset = SESSION_RESET_BY_SERVER;
        stream->reset_code = frame->error_code;
        if (stream->explained)
            return;
    }
    if (stream != NULL && frame->error_code == NGHTTP2_PROTOCOL_ERROR &&
        stream->request.content_length >= 0)
        session_report(
            session, LOG_LEVEL_NOTICE, frame->hd.stream_id,
            "malformed request: field \"content-length\": \"%lld\": the DATA frames come to "
            "another sum (RFC 9113 section 8.1.1)",
            (long long)stream->request.content_length);
    else
        session_report(session, session_report_level(frame->error_code), frame->hd.stream_id,
                       "RST_STREAM %s sent%s", session_error_name(name, frame->error_code),
                       diagnose_stream(frame->error_code));
}

/* Its answer shows that the peer has read the GOAWAY before it, so it must not overtake that one,
 * as it would if both were submitted together. */
static int submit_drain_ping(struct session *session)
{
    if (!session->shutting_down || session->drain_ping_submitted)
        return 0;
    session->drain_ping_submitted = true;
    return nghttp2_submit_ping(session->nghttp2, NGHTTP2_FLAG_NONE, drain_ping);
}

static void report_goaway(struct session *session, const nghttp2_goaway *goaway)
{
    const char *words = (const char *)goaway->opaque_data;
    size_t length = goaway->opaque_data_len;
    char shown[LOG_ESCAPE_MAX];
    char name[ERROR_NAME_MAX];

    log_escape(shown, sizeof(shown), words, length);
    if (goaway->error_code == NGHTTP2_NO_ERROR)
        session_report(session, LOG_LEVEL_DEBUG, 0,
                       "GOAWAY NO_ERROR \"%s\" sent, last stream %" PRId32, shown,
                       goaway->last_stream_id);
    else
        session_report_end(session, LOG_LEVEL_NOTICE, session_stream_at_fault(session),
                           "connection error: GOAWAY %s \"%s\" sent%s",
                           session_error_name(name, goaway->error_code), shown,
                           diagnose_connection(goaway->error_code, words, length));
}

static void on_goaway_sent(struct session *session, const nghttp2_goaway *goaway)
{
    /* After an error the connection is closed (RFC 9113 section 5.4.1), whoever found it: nghttp2
     * itself would read on as long as a stream is open. */
    if (goaway->error_code != NGHTTP2_NO_ERROR)
        session->failed = true;
    /* The notice of a drain may go out before the GOAWAY that ends it all: that one has a reason.
     */
    if (goaway->error_code != NGHTTP2_NO_ERROR ||
        (session->phase == TERMINATING && goaway->opaque_data_len > 0))
        session->phase = TERMINATED;
    if (!session->explained)
        report_goaway(session, goaway);
}

/* A window that opens by the byte is not progress: else a client could keep its answers here, and
 * what they take, for ever. */
static void note_sending(struct session *session, struct stream *stream)
{
    if (stream->body_sent > 0 &&
        stream->body_sent - stream->progress_sent < stream->body_length / PROGRESS_PARTS)
        return;
    stream->progress_sent = stream->body_sent;
    stream_note_progress(session, stream);
}

static int on_frame_send(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        stream = stream_find(session, frame->hd.stream_id);
        if (stream == NULL)
            return 0;
        note_sending(session, stream);
        flood_refund(session, 2);
        stream->answered = stream->answered || !stream->continuing;
        stream->continuing = false;
        /* The response is whole, the request not yet: it need not go on (RFC 9113 section 8.1). */
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !stream->ended)
            return nghttp2_submit_rst_stream(nghttp2, NGHTTP2_FLAG_NONE, stream->id,
                                             NGHTTP2_NO_ERROR);
        return 0;
    case NGHTTP2_RST_STREAM:
        on_reset_sent(session, &frame->rst_stream);
        return 0;
    case NGHTTP2_GOAWAY:
        on_goaway_sent(session, &frame->goaway);
        return submit_drain_ping(session);
    default:
        return 0;
    }
}

/* The 101 has acknowledged the SETTINGS that came with the request (RFC 7540 section 3.2.1): a
 * client takes an ACK of them for a mistake. */
static int on_frame_upgraded(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    if (session->ack_cancelled || frame->hd.type != NGHTTP2_SETTINGS ||
        (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
        return 0;
    session->ack_cancelled = true;
    return NGHTTP2_ERR_CANCEL;
}

/* The last stream id is asked for when nothing is being received: every stream up to it, and none
 * above, will be answered. */
static void submit_final_goaway(struct session *session)
{
    int result;

    if (!session->final_goaway_due || session->final_goaway_submitted)
        return;
    session->final_goaway_submitted = true;
    result = nghttp2_submit_goaway(session->nghttp2, NGHTTP2_FLAG_NONE,
                                   nghttp2_session_get_last_proc_stream_id(session->nghttp2),
                                   NGHTTP2_NO_ERROR, NULL, 0);
    if (result != 0)
        session_abort(session, result);
}

/* Make sure that there are pending bytes; false if there is nothing to send. */
static bool pull(struct session *session)
{
    ssize_t length;

    if (session->pending_length > 0)
        return true;
    if (session->phase >= TERMINATED)
        return false;
    length = nghttp2_session_mem_send(session->nghttp2, &session->pending);
    if (length < 0)
        session_abort(session, (int)length);
    if (length <= 0)
        return false;
    session->pending_length = (size_t)length;
    return true;
}

/* Copy pending bytes, as many as there is room for. */
static void copy_pending(struct session *session)
{
    size_t room = session->out_size - session->out_used;
    size_t length = session->pending_length < room ? session->pending_length : room;

    if (length == 0)
        return;
    memcpy(session->out + session->out_used, session->pending, length);
    session->out_used += length;
    session->pending += length;
    session->pending_length -= length;
}

size_t session_send(struct session *session, struct instant now, uint8_t *buffer, size_t size)
{
    session->now = now;
    session->out = buffer;
    session->out_size = size;
    session->out_used = 0;
    submit_final_goaway(session);
    while (session->out_used < size && pull(session))
        copy_pending(session);
    return session->out_used;
}

void session_set_send_callbacks(nghttp2_session_callbacks *callbacks, bool upgraded)
{
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_body);
    if (upgraded)
        nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, on_frame_upgraded);
}
