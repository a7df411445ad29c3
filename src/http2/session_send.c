/*
 * session_send: bytes out, and what nghttp2 calls while it makes them.
 *
 * nghttp2 hands out one frame at a time, in memory of its own, which is copied into the owner's
 * buffer. DATA is written into that buffer directly if it fits.
 */
#include "http2/session_internal.h"

#include "http2/diagnose.h"

#include <inttypes.h>
#include <string.h>

enum {
    MIN_DIRECT_ROOM = 4096, /* bytes of buffer that are worth a shorter DATA frame of their own */
    PROGRESS_PARTS = 64,    /* of a response: what counts as progress within stream-timeout */
};

const uint8_t session_drain_ping[SESSION_DRAIN_PING_SIZE] = {'h', '2', 'e', 'c', 'h', 'o', 'd', 0};

/* --- DATA --- */

/* Decide how much of the body the next DATA frame has. If the output has room for the frame,
 * on_send_data writes it there, which saves nghttp2 copying it. */
ssize_t stream_read_body(nghttp2_session *nghttp2, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *data_flags, nghttp2_data_source *source, void *user_data)
{
    const struct session *session = user_data;
    struct stream *stream = source->ptr;
    size_t left = stream->body_length - stream->body_sent;
    size_t room = session->out.size - session->out.used;
    size_t length = left < size ? left : size;

    (void)nghttp2;
    (void)stream_id;
    if (room >= WIRE_FRAME_HEADER_SIZE + length || room >= MIN_DIRECT_ROOM) {
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

/* Write a DATA frame for which stream_read_body found room. */
static int on_send_data(nghttp2_session *nghttp2, nghttp2_frame *frame, const uint8_t *header,
                        size_t length, nghttp2_data_source *source, void *user_data)
{
    struct session_output *out = &((struct session *)user_data)->out;
    struct stream *stream = source->ptr;
    uint8_t *to = out->buffer + out->used;

    (void)nghttp2;
    (void)frame;
    memcpy(to, header, WIRE_FRAME_HEADER_SIZE);
    memcpy(to + WIRE_FRAME_HEADER_SIZE, stream->body + stream->body_sent, length);
    stream->body_sent += length;
    out->used += WIRE_FRAME_HEADER_SIZE + length;
    return 0;
}

/* --- What nghttp2 calls when it has sent a frame --- */

/* Errors of the client's, as opposed to a response that came early or a timeout. */
static bool is_client_error(uint32_t code)
{
    return code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL;
}

static void report_reset_sent(struct session *session, const struct stream *stream,
                              const nghttp2_rst_stream *frame)
{
    char name[SESSION_ERROR_NAME_MAX];

    if (stream != NULL && stream->reason_logged)
        return;
    if (stream != NULL && frame->error_code == NGHTTP2_PROTOCOL_ERROR &&
        stream->request.content_length >= 0)
        session_report(session, LOG_LEVEL_NOTICE, frame->hd.stream_id,
                       "malformed request: field \"content-length\": \"%lld\": differs from the "
                       "length of the content (RFC 9113 section 8.1.1)",
                       (long long)stream->request.content_length);
    else
        session_report(session, session_error_level(frame->error_code), frame->hd.stream_id,
                       "RST_STREAM %s sent%s", session_error_name(name, frame->error_code),
                       diagnose_stream(frame->error_code));
}

static void on_reset_sent(struct session *session, const nghttp2_rst_stream *frame)
{
    static const struct reason too_many = {NGHTTP2_ENHANCE_YOUR_CALM,
                                           "too many streams that had to be reset",
                                           "RFC 9113 section 10.5"};
    struct stream *stream = stream_find(session, frame->hd.stream_id);

    counter_add(&session->counters->resets, 1);
    closed_streams_note_reset(&session->closed_streams, frame->hd.stream_id);
    if (is_client_error(frame->error_code) && session->end.phase == PHASE_OPEN &&
        !flood_charge_server_reset(session))
        session_terminate(session, &too_many);
    if (stream != NULL) {
        stream->reset = SESSION_RESET_BY_SERVER;
        stream->reset_code = frame->error_code;
    }
    report_reset_sent(session, stream, frame);
}

/* The PING's acknowledgement shows that the client has the GOAWAY sent before it. It is submitted
 * once that GOAWAY is sent, because nghttp2 sends PING frames first. */
static int submit_drain_ping(struct session *session)
{
    if (!session->drain.started || session->drain.ping_submitted)
        return 0;
    session->drain.ping_submitted = true;
    return nghttp2_submit_ping(session->nghttp2, NGHTTP2_FLAG_NONE, session_drain_ping);
}

/* Is the GOAWAY the one that session_terminate submitted, and not one of nghttp2's? */
static bool has_our_reason(const struct session *session, const nghttp2_goaway *goaway)
{
    const struct reason *reason = &session->end.reason;

    return reason->rule != NULL && goaway->error_code == reason->code &&
           goaway->opaque_data_len == strlen(reason->text) &&
           memcmp(goaway->opaque_data, reason->text, goaway->opaque_data_len) == 0;
}

static void report_goaway_sent(struct session *session, const nghttp2_goaway *goaway)
{
    const char *text = (const char *)goaway->opaque_data;
    size_t length = goaway->opaque_data_len;
    int32_t stream_id = session_stream_at_fault(session);
    char shown[LOG_ESCAPE_MAX];
    char buffer[SESSION_ERROR_NAME_MAX];
    const char *name = session_error_name(buffer, goaway->error_code);

    log_escape(shown, sizeof(shown), text, length);
    if (goaway->error_code == NGHTTP2_NO_ERROR)
        session_report(session, LOG_LEVEL_DEBUG, 0,
                       "GOAWAY NO_ERROR \"%s\" sent, last stream %" PRId32, shown,
                       goaway->last_stream_id);
    else if (has_our_reason(session, goaway))
        session_report_end(session, LOG_LEVEL_NOTICE, stream_id,
                           "connection error: GOAWAY %s \"%s\" sent (%s)", name, shown,
                           session->end.reason.rule);
    else
        session_report_end(session, LOG_LEVEL_NOTICE, stream_id,
                           "connection error: GOAWAY %s \"%s\" sent%s", name, shown,
                           diagnose_connection(goaway->error_code, text, length));
}

static void on_goaway_sent(struct session *session, const nghttp2_goaway *goaway)
{
    bool is_error = goaway->error_code != NGHTTP2_NO_ERROR;
    struct session_end *end = &session->end;

    /* After an error the connection is closed (RFC 9113 section 5.4.1). nghttp2 by itself would
     * continue to read while a stream is open. */
    if (is_error)
        end->failed = true;
    /* Without an error, only the last GOAWAY has debug data; a drain's may be sent before it. */
    if (is_error || (end->phase == PHASE_TERMINATING && goaway->opaque_data_len > 0))
        end->phase = PHASE_TERMINATED;
    if (!end->reason_logged)
        report_goaway_sent(session, goaway);
}

/* A window that is opened byte by byte is not progress: otherwise a client could make us keep its
 * responses, and their memory, without end. */
static void note_sending(struct session *session, struct stream *stream)
{
    if (stream->body_sent > 0 &&
        stream->body_sent - stream->progress_sent < stream->body_length / PROGRESS_PARTS)
        return;
    stream->progress_sent = stream->body_sent;
    stream_note_progress(session, stream);
}

static int on_response_frame_sent(struct session *session, const nghttp2_frame *frame)
{
    struct stream *stream = stream_find(session, frame->hd.stream_id);

    if (stream == NULL)
        return 0;
    note_sending(session, stream);
    flood_refund(session, 2);
    stream->response_sent = stream->response_sent || !stream->continue_pending;
    stream->continue_pending = false;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 || stream->request_ended)
        return 0;
    /* The response is complete before the request is: the rest of the request is not needed (RFC
     * 9113 section 8.1). */
    return nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id,
                                     NGHTTP2_NO_ERROR);
}

static int on_frame_send(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        return on_response_frame_sent(session, frame);
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

/* After an upgrade. The response 101 has acknowledged the SETTINGS that came with the request (RFC
 * 7540 section 3.2.1); clients treat an additional ACK as an error. */
static int before_frame_send(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    if (session->out.settings_ack_cancelled || frame->hd.type != NGHTTP2_SETTINGS ||
        (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
        return 0;
    session->out.settings_ack_cancelled = true;
    return NGHTTP2_ERR_CANCEL;
}

void session_set_send_callbacks(nghttp2_session_callbacks *callbacks, bool upgraded)
{
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    if (upgraded)
        nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_frame_send);
}

/* --- Bytes out --- */

/* The last stream id is read when nothing is being received, so that every stream up to it, and
 * none above it, will be answered. */
static void submit_final_goaway(struct session *session)
{
    int result;

    if (!session->drain.goaway_due || session->drain.goaway_submitted)
        return;
    session->drain.goaway_submitted = true;
    result = nghttp2_submit_goaway(session->nghttp2, NGHTTP2_FLAG_NONE,
                                   nghttp2_session_get_last_proc_stream_id(session->nghttp2),
                                   NGHTTP2_NO_ERROR, NULL, 0);
    if (result != 0)
        session_abort(session, result);
}

/* Get the next frame from nghttp2 unless bytes are pending. Return false if there is nothing to
 * send. */
static bool fill_pending(struct session *session)
{
    struct session_output *out = &session->out;
    ssize_t length;

    if (out->pending_length > 0)
        return true;
    if (session->end.phase >= PHASE_TERMINATED)
        return false;
    length = nghttp2_session_mem_send(session->nghttp2, &out->pending);
    if (length < 0)
        session_abort(session, (int)length);
    if (length <= 0)
        return false;
    out->pending_length = (size_t)length;
    return true;
}

static void copy_pending(struct session_output *out)
{
    size_t room = out->size - out->used;
    size_t length = out->pending_length < room ? out->pending_length : room;

    if (length == 0)
        return;
    memcpy(out->buffer + out->used, out->pending, length);
    out->used += length;
    out->pending += length;
    out->pending_length -= length;
}

size_t session_send(struct session *session, struct instant now, uint8_t *buffer, size_t size)
{
    struct session_output *out = &session->out;

    session->now = now;
    out->buffer = buffer;
    out->size = size;
    out->used = 0;
    submit_final_goaway(session);
    while (out->used < size && fill_pending(session))
        copy_pending(out);
    return out->used;
}
