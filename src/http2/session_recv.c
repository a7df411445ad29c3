/*
 * session_recv: bytes in. Each frame's header is looked at before nghttp2 gets it, to check what
 * nghttp2 does not check, or what its versions treat differently: src/README.md has a table.
 *
 * nghttp2 is given the input in as few pieces as possible. Before a check that needs its state, it
 * is fed what came before the frame in question; then it knows as much as the client did when it
 * sent that frame. The functions below take ${end}, the offset in the input at which the frame's
 * head ends (see struct frame_head).
 */
#include "http2/session_internal.h"

/* --- Feeding nghttp2 --- */

static void handle_receive_error(struct session *session, int error)
{
    static const struct reason too_many_replies = {NGHTTP2_ENHANCE_YOUR_CALM,
                                                   "too many frames that ask for an answer",
                                                   "RFC 9113 section 10.5"};
    static const struct reason no_preface = {NGHTTP2_PROTOCOL_ERROR, "not an HTTP/2 preface",
                                             "RFC 9113 section 3.4"};

    if (session->end.callback_reason != NULL)
        session_terminate(session, session->end.callback_reason);
    else if (error == NGHTTP2_ERR_FLOODED)
        session_terminate(session, &too_many_replies);
    else if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        session_terminate(session, &no_preface);
    else
        session_abort(session, error);
}

static void feed_nghttp2(struct session *session, const uint8_t *bytes, size_t length)
{
    ssize_t result = nghttp2_session_mem_recv(session->nghttp2, bytes, length);

    if (result < 0)
        handle_receive_error(session, (int)result);
    else if (session->heap.alloc_failed)
        session_abort(session, NGHTTP2_ERR_NOMEM);
}

/* Feed the input up to the offset ${end}. */
static void feed_until(struct session *session, size_t end)
{
    size_t fed = session->in.fed;

    if (session->end.phase != PHASE_OPEN || fed >= end)
        return;
    session->in.fed = end;
    feed_nghttp2(session, session->in.bytes + fed, end - fed);
}

/* Feed what came before a frame. Return true if that frame is the next one for nghttp2, which will
 * not refuse it for coming before the preface is complete or inside a header block. */
static bool feed_before(struct session *session, const struct frame_head *head, size_t end)
{
    if (end > head->length)
        feed_until(session, end - head->length);
    return session->end.phase == PHASE_OPEN && session->in.preface_complete && !head->in_block;
}

/* Let nghttp2 never see a frame of which it has no byte yet, since we act on it instead. */
static void skip_frame(struct session *session, size_t end)
{
    session->in.fed = end;
}

/* A head that is split between two calls of session_receive is fed when it is complete. */
static void feed_split_head(struct session *session, const struct frame_head *head, size_t end)
{
    if (end >= head->length || session->end.phase != PHASE_OPEN || session->in.fed >= end)
        return;
    session->in.fed = end;
    feed_nghttp2(session, session->in.frames.header, head->length);
}

/* --- PRIORITY --- */

/* nghttp2 1.70 ignores every PRIORITY frame; older versions do so once the client has sent
 * SETTINGS_NO_RFC7540_PRIORITIES. */
static void check_priority(struct session *session, const struct frame_head *head, size_t end)
{
    static const struct reason on_stream_0 = {NGHTTP2_PROTOCOL_ERROR, "PRIORITY: stream_id == 0",
                                              "RFC 9113 section 6.3"};
    static const struct reason on_itself = {NGHTTP2_PROTOCOL_ERROR, "depend on itself",
                                            "RFC 7540 section 5.3.1"};
    const struct reason *reason = NULL;

    if (head->length < FRAME_HEAD_MAX)
        return; /* of a wrong length, which is an error to nghttp2 */
    if (head->frame.stream_id == 0)
        reason = &on_stream_0;
    else if (head->number == (uint32_t)head->frame.stream_id)
        reason = &on_itself;
    if (reason != NULL && feed_before(session, head, end))
        session_terminate(session, reason);
}

/* --- Windows that become too large --- */

static int64_t window_of(const struct session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_remote_window_size(session->nghttp2, stream_id);
}

static void reset_overflowing(struct session *session, int32_t stream_id)
{
    int result = nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream_id,
                                           NGHTTP2_FLOW_CONTROL_ERROR);

    if (result != 0)
        session_abort(session, result);
}

/* A WINDOW_UPDATE that makes a stream's window too large is an error of that stream (RFC 9113
 * section 6.9.1). nghttp2 1.70 would end the connection, so it does not get the frame. Nothing
 * after the frame is read before our RST_STREAM is sent: the client may reset the stream itself,
 * and then nghttp2 1.70 would not send ours; and until the stream is closed it counts against the
 * limit. */
static void check_window_update(struct session *session, const struct frame_head *head, size_t end)
{
    int32_t stream_id = head->frame.stream_id;

    if (stream_id == 0 || head->length < FRAME_HEAD_MAX || !feed_before(session, head, end) ||
        window_of(session, stream_id) + head->number <= WIRE_WINDOW_MAX)
        return;
    skip_frame(session, end);
    session->in.length = end;
    reset_overflowing(session, stream_id);
}

/* A SETTINGS frame is complete, but nghttp2 does not have its last byte yet. If a stream's window
 * becomes too large by it, nghttp2 would reset the stream, or end the connection without a reason,
 * depending on its version; it is an error of the connection (RFC 9113 section 6.9.2). */
static void check_initial_window(struct session *session)
{
    static const struct reason too_large = {NGHTTP2_FLOW_CONTROL_ERROR,
                                            "SETTINGS: a window becomes too large",
                                            "RFC 9113 section 6.9.2"};
    int64_t growth =
        (int64_t)session->in.initial_window.largest -
        nghttp2_session_get_remote_settings(session->nghttp2, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    bool overflows = false;

    for (struct stream *stream = session->streams.oldest;
         stream != NULL && session->end.phase == PHASE_OPEN; stream = stream->newer) {
        if (window_of(session, stream->id) + growth > WIRE_WINDOW_MAX) {
            overflows = true;
            reset_overflowing(session, stream->id);
        }
    }
    if (overflows && session->end.phase == PHASE_OPEN)
        session_terminate(session, &too_large);
}

/* ${bytes} follow the frame's header. */
static void check_settings(struct session *session, const struct frame_head *head, size_t end,
                           const uint8_t *bytes, size_t length)
{
    struct initial_window *window = &session->in.initial_window;

    if (head->in_block || (session->streams.oldest == NULL && !session->in.preface_complete))
        return;
    initial_window_begin(window, &head->frame);
    initial_window_receive(window, bytes, length);
    if (window->coming == 0 && window->largest > 0 && feed_before(session, head, end))
        check_initial_window(session);
}

/* As check_settings, for a frame whose header came in an earlier call of session_receive. nghttp2
 * acts when it has the frame's last byte, so it gets all but that one first. */
static void check_rest_of_settings(struct session *session, const uint8_t *bytes, size_t length)
{
    struct initial_window *window = &session->in.initial_window;
    size_t taken = initial_window_receive(window, bytes, length);

    if (taken == 0 || window->coming > 0 || window->largest == 0)
        return;
    feed_until(session, taken - 1);
    if (session->end.phase == PHASE_OPEN)
        check_initial_window(session);
}

/* --- CONTINUATION and DATA --- */

static void check_continuation(struct session *session, const struct frame_header *frame)
{
    static const struct reason block_too_long = {NGHTTP2_ENHANCE_YOUR_CALM, "header block too long",
                                                 "max-header-list-size, RFC 9113 section 10.5.1"};
    /* nghttp2 does not check the size of CONTINUATION. */
    static const struct reason frame_too_large = {
        NGHTTP2_FRAME_SIZE_ERROR, "CONTINUATION: too large frame size", "RFC 9113 section 4.2"};
    bool is_too_long = flood_is_block_too_long(session);

    if (!is_too_long && session->in.frames.longest <= WIRE_DEFAULT_MAX_FRAME_SIZE)
        return;
    session->end.stream_at_fault = frame->stream_id;
    session_terminate(session, is_too_long ? &block_too_long : &frame_too_large);
}

/* May DATA be for a stream that is closed, as far as can be known before nghttp2 has the frames
 * that came before? Even ids are an error to nghttp2 itself. */
static bool needs_lookback(const struct session *session, int32_t stream_id)
{
    return stream_id % 2 == 1 &&
           (session->in.reset_unprocessed || !stream_is_active(session, stream_id));
}

/* DATA on a closed stream is an error (RFC 9113 section 5.1). nghttp2 ignores it, in case the
 * client sent it before it knew of our RST_STREAM. */
static void check_data(struct session *session, const struct frame_head *head, size_t end)
{
    static const struct reason closed = {NGHTTP2_STREAM_CLOSED, "DATA: stream closed",
                                         "RFC 9113 section 5.1"};
    int32_t stream_id = head->frame.stream_id;

    if (!needs_lookback(session, stream_id))
        return;
    session->in.reset_unprocessed = false;
    feed_before(session, head, end);
    if (session->end.phase == PHASE_OPEN && stream_id <= session->closed_streams.highest &&
        !stream_is_active(session, stream_id) && !stream_is_late(session, stream_id)) {
        session->end.stream_at_fault = stream_id;
        session_terminate(session, &closed);
    }
}

/* --- Every frame --- */

/* Keep what detailed answers will say about the client. If there is no memory for it they would be
 * wrong, so the connection ends with the next call of feed_nghttp2. */
static void note_client_frame(struct session *session, const struct frame_head *head,
                              const uint8_t *bytes, size_t length)
{
    struct client_frames *client_frames = &session->client_frames;

    if (!client_frames_add(client_frames, session->memory.lasting, &head->frame))
        session->heap.alloc_failed = true;
    client_frames_receive(client_frames, session->in.frames.header + WIRE_FRAME_HEADER_SIZE,
                          head->length - WIRE_FRAME_HEADER_SIZE);
    client_frames_receive(client_frames, bytes, length);
}

/* A frame's head is complete; ${bytes} follow it. */
static void check_frame(struct session *session, const struct frame_head *head, size_t end,
                        const uint8_t *bytes, size_t length)
{
    switch (head->frame.type) {
    case NGHTTP2_DATA:
        check_data(session, head, end);
        return;
    case NGHTTP2_HEADERS:
        session->block.started_us = session->now.monotonic_us;
        client_frames_note_request(&session->client_frames);
        return;
    case NGHTTP2_CONTINUATION:
        check_continuation(session, &head->frame);
        return;
    case NGHTTP2_RST_STREAM:
        session->in.reset_unprocessed = true;
        return;
    default:
        break;
    }
    note_client_frame(session, head, bytes, length);
    if (head->frame.type == NGHTTP2_PRIORITY)
        check_priority(session, head, end);
    else if (head->frame.type == NGHTTP2_WINDOW_UPDATE)
        check_window_update(session, head, end);
    else if (head->frame.type == NGHTTP2_SETTINGS)
        check_settings(session, head, end, bytes, length);
}

/* Return how many bytes at the end of the input belong to a head that is not complete. */
static size_t unfinished_head(const struct session *session, size_t length)
{
    size_t unfinished = frame_reader_unfinished(&session->in.frames);

    return unfinished < length ? unfinished : length;
}

size_t session_receive(struct session *session, struct instant now, const uint8_t *bytes,
                       size_t length)
{
    static const struct reason too_many = {
        NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that bring nothing", "RFC 9113 section 10.5"};
    struct frame_head head;
    uint32_t frames = 0;
    size_t looked_at;

    session->now = now;
    session->in.bytes = bytes;
    session->in.length = length;
    session->in.fed = 0;
    if (session->client_frames.coming > 0)
        client_frames_receive(&session->client_frames, bytes, length);
    if (session->in.initial_window.coming > 0)
        check_rest_of_settings(session, bytes, length);
    for (size_t at = 0; session->end.phase == PHASE_OPEN; frames++) {
        if (!frame_reader_next_head(&session->in.frames, bytes + at, session->in.length - at,
                                    &looked_at, &head))
            break;
        at += looked_at;
        check_frame(session, &head, at, bytes + at, length - at);
        feed_split_head(session, &head, at);
    }
    length = session->in.length;
    feed_until(session, length - unfinished_head(session, length));
    if (session->end.phase == PHASE_OPEN && !flood_charge_frames(session, frames))
        session_terminate(session, &too_many);
    return length;
}

/* The request comes as frames like any other: nghttp2_session_upgrade2 would neither hand out its
 * fields nor check them. */
void session_upgrade(struct session *session, struct instant now, const uint8_t *bytes,
                     size_t length)
{
    session->in.preface_complete = true;
    session_receive(session, now, bytes, length);
    session->in.preface_complete = false;
    /* What the client sends with its preface counts as sent before its first request. */
    session->client_frames.opened = false;
}
