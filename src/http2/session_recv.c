#include "http2/session_internal.h"

/* nghttp2 stopped in the middle: some errors of the peer's end so, and a lack of memory. */
static void handle_receive_error(struct session *session, int error)
{
    if (session->failure != NGHTTP2_NO_ERROR)
        session_terminate(session, session->failure, session->failure_reason);
    else if (error == NGHTTP2_ERR_FLOODED)
        session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM,
                          "too many frames that ask for an answer");
    else if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        session_terminate(session, NGHTTP2_PROTOCOL_ERROR, "not an HTTP/2 preface");
    else
        session_abort(session, error);
}

static void feed(struct session *session, const uint8_t *bytes, size_t length)
{
    ssize_t result = nghttp2_session_mem_recv(session->nghttp2, bytes, length);

    if (result < 0)
        handle_receive_error(session, (int)result);
    else if (session->starved)
        session_abort(session, NGHTTP2_ERR_NOMEM);
}

/* Feed what was received before ${end}, a place in the input. */
static void feed_until(struct session *session, size_t end)
{
    size_t fed = session->in_fed;

    if (session->phase != OPEN || fed >= end)
        return;
    session->in_fed = end;
    feed(session, session->in + fed, end - fed);
}

/* Feed what was received before a frame whose head ends at ${end}: then nghttp2 knows as much as
 * the client did when it sent the frame. Return true if the frame is the next that nghttp2 takes,
 * and is not refused for where it comes. */
static bool feed_before(struct session *session, const struct frame_head *head, size_t end)
{
    if (end > head->length)
        feed_until(session, end - head->length);
    return session->phase == OPEN && session->preface_complete && !head->in_block;
}

/* Feed a head, which ends at ${end}, if it began in a call before this one: a head is fed when it
 * is whole. */
static void feed_split_head(struct session *session, const struct frame_head *head, size_t end)
{
    if (session->phase != OPEN || end >= head->length || session->in_fed >= end)
        return;
    session->in_fed = end;
    feed(session, session->frame_reader.header, head->length);
}

/* Of its versions, nghttp2 1.70 takes no notice of any PRIORITY, and older ones of none once the
 * client has sent SETTINGS_NO_RFC7540_PRIORITIES. */
static void check_priority(struct session *session, const struct frame_head *head, size_t end)
{
    const char *reason = NULL;

    if (head->length < FRAME_HEAD_MAX)
        return; /* of another length, which nghttp2 refuses */
    if (head->frame.stream_id == 0)
        reason = "PRIORITY: stream_id == 0";
    else if (head->number == (uint32_t)head->frame.stream_id)
        reason = "depend on itself";
    if (reason != NULL && feed_before(session, head, end))
        session_terminate(session, NGHTTP2_PROTOCOL_ERROR, reason);
}

static int64_t window_of(const struct session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_remote_window_size(session->nghttp2, stream_id);
}

static void reset_overflowing(struct session *session, int32_t stream_id)
{
    struct stream *stream = stream_find(session, stream_id);
    int result = nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream_id,
                                           NGHTTP2_FLOW_CONTROL_ERROR);

    if (stream != NULL)
        stream->overflowed = true;
    if (result != 0)
        session_abort(session, result);
}

/* nghttp2 1.70 would end the connection for a window that one stream's WINDOW_UPDATE makes too
 * large: it is not given that frame. */
static void check_window_update(struct session *session, const struct frame_head *head, size_t end)
{
    int32_t stream_id = head->frame.stream_id;

    if (stream_id == 0 || head->length < FRAME_HEAD_MAX || !feed_before(session, head, end) ||
        window_of(session, stream_id) + head->number <= WINDOW_MAX)
        return;
    session->in_fed = end;
    reset_overflowing(session, stream_id);
}

/* A client may reset a stream that we are about to reset. nghttp2 1.70 would not send our
 * RST_STREAM then, which says what was wrong: it is not given the client's. */
static void check_reset(struct session *session, const struct frame_head *head, size_t end)
{
    const struct stream *stream = stream_find(session, head->frame.stream_id);

    session->reset_unfed = true;
    if (stream == NULL || !stream->overflowed || head->length < FRAME_HEAD_MAX ||
        !feed_before(session, head, end))
        return;
    session->in_fed = end;
    if (!flood_charge_client_reset(session))
        session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, too_many_cancels);
}

/* SETTINGS are whole, and as far as nghttp2 was fed it has not acted on them: it would reset the
 * streams whose windows become too large, or end the connection without a reason. */
static void check_initial_window(struct session *session)
{
    int64_t growth =
        (int64_t)session->initial_window.largest -
        nghttp2_session_get_remote_settings(session->nghttp2, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    bool overflows = false;

    for (struct stream *stream = session->oldest; stream != NULL && session->phase == OPEN;
         stream = stream->newer) {
        if (window_of(session, stream->id) + growth > WINDOW_MAX) {
            overflows = true;
            reset_overflowing(session, stream->id);
        }
    }
    if (overflows && session->phase == OPEN)
        session_terminate(session, NGHTTP2_FLOW_CONTROL_ERROR,
                          "SETTINGS: a window becomes too large");
}

/* ${bytes} are those behind the frame's header, which ends at ${end}. */
static void check_settings(struct session *session, const struct frame_head *head, size_t end,
                           const uint8_t *bytes, size_t length)
{
    struct initial_window *window = &session->initial_window;

    if (head->in_block || (session->oldest == NULL && !session->preface_complete))
        return;
    initial_window_begin(window, &head->frame);
    initial_window_receive(window, bytes, length);
    if (window->coming == 0 && window->largest > 0 && feed_before(session, head, end))
        check_initial_window(session);
}

/* SETTINGS whose header came in a call before this one: nghttp2 acts when it has their last byte.
 */
static void check_rest_of_settings(struct session *session, const uint8_t *bytes, size_t length)
{
    struct initial_window *window = &session->initial_window;
    size_t taken = initial_window_receive(window, bytes, length);

    if (taken == 0 || window->coming > 0 || window->largest == 0)
        return;
    feed_until(session, taken - 1);
    if (session->phase == OPEN)
        check_initial_window(session);
}

/* What nghttp2 does not bound, or does by other measures. */
static void check_block(struct session *session, const struct frame_header *frame)
{
    bool is_too_long = flood_is_block_too_long(session);

    if (!is_too_long && session->frame_reader.longest <= FRAME_SIZE_MAX)
        return;
    session->at_fault = frame->stream_id;
    if (is_too_long)
        session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, "header block too long");
    else
        session_terminate(session, NGHTTP2_FRAME_SIZE_ERROR, "CONTINUATION: too large frame size");
}

/* For detailed answers. Without it they would be wrong: the connection ends by what comes next. */
static void note_advert(struct session *session, const struct frame_head *head,
                        const uint8_t *bytes, size_t length)
{
    if (!client_frames_add(&session->client_frames, session->memory.lasting, &head->frame))
        session->starved = true;
    client_frames_receive(&session->client_frames,
                          session->frame_reader.header + WIRE_FRAME_HEADER_SIZE,
                          head->length - WIRE_FRAME_HEADER_SIZE);
    client_frames_receive(&session->client_frames, bytes, length);
}

/* May DATA be for a stream that is over, as far as nghttp2 was fed? Even ids it refuses itself. */
static bool is_doubtful(const struct session *session, int32_t stream_id)
{
    return stream_id % 2 == 1 && (session->reset_unfed || !stream_is_known(session, stream_id));
}

/* nghttp2 reads past DATA for a stream that is over, or was left out, in silence, lest it be under
 * way to one that we have reset. To tell, what came before it is fed first. */
static void check_data(struct session *session, const struct frame_head *head, size_t end)
{
    int32_t stream_id = head->frame.stream_id;

    if (!is_doubtful(session, stream_id))
        return;
    session->reset_unfed = false;
    feed_before(session, head, end);
    if (session->phase == OPEN && stream_id <= session->closed_streams.highest &&
        !stream_is_known(session, stream_id) && !stream_is_late(session, stream_id)) {
        session->at_fault = stream_id;
        session_terminate(session, NGHTTP2_STREAM_CLOSED, "DATA: stream closed");
    }
}

/* The frame's head is whole, and ends at ${end}; ${bytes} are those behind it. */
static void note_frame(struct session *session, const struct frame_head *head, size_t end,
                       const uint8_t *bytes, size_t length)
{
    switch (head->frame.type) {
    case NGHTTP2_DATA:
        check_data(session, head, end);
        return;
    case NGHTTP2_HEADERS:
        session->block_started_us = session->now.monotonic_us;
        client_frames_note_request(&session->client_frames);
        return;
    case NGHTTP2_CONTINUATION:
        check_block(session, &head->frame);
        return;
    case NGHTTP2_RST_STREAM:
        check_reset(session, head, end);
        return;
    default:
        break;
    }
    note_advert(session, head, bytes, length);
    if (head->frame.type == NGHTTP2_PRIORITY)
        check_priority(session, head, end);
    else if (head->frame.type == NGHTTP2_WINDOW_UPDATE)
        check_window_update(session, head, end);
    else if (head->frame.type == NGHTTP2_SETTINGS)
        check_settings(session, head, end, bytes, length);
}

/* How many of the last bytes of the input are those of a head that is not whole. */
static size_t unfinished_head(const struct session *session, size_t length)
{
    size_t unfinished = frame_reader_unfinished(&session->frame_reader);

    return unfinished < length ? unfinished : length;
}

void session_receive(struct session *session, struct instant now, const uint8_t *bytes,
                     size_t length)
{
    struct frame_head head;
    uint32_t frames = 0;
    size_t looked_at;

    session->now = now;
    session->in = bytes;
    session->in_fed = 0;
    if (session->client_frames.coming > 0)
        client_frames_receive(&session->client_frames, bytes, length);
    if (session->initial_window.coming > 0)
        check_rest_of_settings(session, bytes, length);
    for (size_t at = 0; session->phase == OPEN; frames++) {
        if (!frame_reader_next_head(&session->frame_reader, bytes + at, length - at, &looked_at,
                                    &head))
            break;
        at += looked_at;
        note_frame(session, &head, at, bytes + at, length - at);
        feed_split_head(session, &head, at);
    }
    feed_until(session, length - unfinished_head(session, length));
    if (session->phase == OPEN && !flood_charge_frames(session, frames))
        session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that bring nothing");
}

/* nghttp2 hands out fields to keep, and knows all that may be wrong with a request, only where they
 * come as frames: nghttp2_session_upgrade2 would leave all of that to be done again. */
void session_upgrade(struct session *session, struct instant now, const uint8_t *opening,
                     size_t length)
{
    session->preface_complete = true;
    session_receive(session, now, opening, length);
    session->preface_complete = false;
    session->client_frames.opened = false; /* what comes with the preface is part of its opening */
}
