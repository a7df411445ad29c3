/*
 * session_callbacks: what nghttp2 calls while it receives: frames, fields and content become
 * streams, and complete requests get their responses. Malformed requests are in
 * session_malformed.c.
 */
#include "http2/session_internal.h"

#include "base/arena.h"

#include <string.h>

/* End the connection with GOAWAY as soon as nghttp2 returns. ${reason} must last until then. */
static int fail_callback(struct session *session, const struct reason *reason)
{
    session->end.callback_reason = reason;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* --- The beginning of a frame --- */

/* A client's stream ids increase (RFC 9113 section 5.1.1). nghttp2 ignores a header block on a
 * stream that it does not know, or knows only from PRIORITY, in case the client sent it before it
 * knew of our RST_STREAM. Even ids are an error to nghttp2 itself. */
static bool reuses_stream_id(struct session *session, const nghttp2_frame_hd *hd)
{
    return hd->type == NGHTTP2_HEADERS && hd->stream_id % 2 == 1 &&
           !closed_streams_open(&session->closed_streams, hd->stream_id) &&
           !stream_is_active(session, hd->stream_id) && !stream_is_late(session, hd->stream_id);
}

static int fail_reused_stream_id(struct session *session, int32_t id)
{
    static const struct reason closed = {NGHTTP2_STREAM_CLOSED, "HEADERS: stream closed",
                                         "RFC 9113 section 5.1"};
    static const struct reason never_opened = {
        NGHTTP2_PROTOCOL_ERROR, "HEADERS: stream id goes back", "RFC 9113 section 5.1.1"};

    session->end.stream_at_fault = id;
    return fail_callback(
        session, closed_streams_was_closed(&session->closed_streams, id) ? &closed : &never_opened);
}

static int on_begin_frame(nghttp2_session *nghttp2, const nghttp2_frame_hd *hd, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    if (reuses_stream_id(session, hd))
        return fail_reused_stream_id(session, hd->stream_id);
    /* A header block that never ends must not keep an idle connection open. */
    if (hd->type != NGHTTP2_CONTINUATION)
        session->idle_since_us = session->now.monotonic_us;
    return 0;
}

/* After an upgrade the client sends a preface like any other, whose first frame is SETTINGS (RFC
 * 9113 section 3.4). nghttp2 has already had SETTINGS, those of the HTTP/1.1 request, and would
 * accept any frame. It does not call this for frames of unknown types, which have no effect. */
static int on_begin_frame_upgraded(nghttp2_session *nghttp2, const nghttp2_frame_hd *hd,
                                   void *user_data)
{
    static const struct reason settings_expected = {NGHTTP2_PROTOCOL_ERROR, "SETTINGS expected",
                                                    "RFC 9113 section 3.4"};
    struct session *session = user_data;

    if (!session->in.preface_complete &&
        (hd->type != NGHTTP2_SETTINGS || (hd->flags & NGHTTP2_FLAG_ACK) != 0))
        return fail_callback(session, &settings_expected);
    return on_begin_frame(nghttp2, hd, user_data);
}

/* --- Header blocks --- */

static struct field_section_reader *reader_new(const struct session *session)
{
    bool has_observer = session->observer.request != NULL;
    const struct field_section_options options = {
        .max_list_size = session->options.max_header_list_size,
        .method_max = has_observer ? SESSION_METHOD_MAX : 0,
        .path_max = has_observer ? SESSION_PATH_MAX : 0,
        .detailed_type = DETAIL_MEDIA_TYPE,
        .pretty = session->options.pretty,
    };

    return field_section_reader_new(&options, session->memory.passing);
}

static enum field_section_kind section_kind(const struct stream *stream)
{
    if (!stream->in_trailers)
        return FIELD_SECTION_HEADER;
    return stream->detail != NULL ? FIELD_SECTION_TRAILERS : FIELD_SECTION_TRAILERS_COUNTED;
}

/* The fields that follow are those of ${stream}. */
static int begin_block(struct session *session, struct stream *stream)
{
    struct session_block *block = &session->block;

    if (block->reader == NULL)
        block->reader = reader_new(session);
    if (block->reader == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (block->stream != NULL)
        session_abort_block(session); /* nghttp2 found it malformed and ignored the rest */
    field_section_begin(block->reader, section_kind(stream));
    block->stream = stream;
    return 0;
}

static int on_begin_headers(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream;

    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        stream = stream_new(session, frame->hd.stream_id);
        if (stream == NULL)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        nghttp2_session_set_stream_user_data(nghttp2, frame->hd.stream_id, stream);
        session->streams.last_found = stream;
        counter_add(&session->counters->requests, 1);
        flood_refund(session, 2);
    } else {
        stream = stream_find(session, frame->hd.stream_id);
        if (stream == NULL)
            return 0;
        stream->in_trailers = true;
    }
    return begin_block(session, stream);
}

static int on_header(nghttp2_session *nghttp2, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    static const struct reason endless = {NGHTTP2_ENHANCE_YOUR_CALM, "field list too large",
                                          "max-header-list-size, RFC 9113 section 10.5.1"};
    struct session *session = user_data;
    struct stream *stream = session->block.stream;

    (void)nghttp2;
    (void)frame;
    if (stream == NULL)
        return 0;
    if ((flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0 &&
        !field_section_mark_never_indexed(session->block.reader))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    switch (field_section_add(session->block.reader, name, value)) {
    case FIELD_SECTION_ADDED:
        return 0;
    case FIELD_SECTION_TOO_LARGE:
        stream->too_large = true;
        return 0;
    case FIELD_SECTION_EXCESSIVE:
        return fail_callback(session, &endless);
    case FIELD_SECTION_USERINFO:
        return malformed_refuse_field(session, stream, name, value);
    case FIELD_SECTION_NO_MEMORY:
        break;
    }
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Return the size of a header block that has just ended: nghttp2 has added the CONTINUATION frames
 * to the length of its HEADERS frame. */
static size_t block_wire_bytes(const nghttp2_headers *headers)
{
    size_t others = headers->padlen;

    if ((headers->hd.flags & NGHTTP2_FLAG_PRIORITY) != 0)
        others += WIRE_DEPENDENCY_SIZE;
    return headers->hd.length > others ? headers->hd.length - others : 0;
}

/* A request that asks for the detailed answer has just ended its header block: keep what the answer
 * will say about it. Return false if memory ran out. */
static bool keep_detail(struct session *session, struct stream *stream,
                        const nghttp2_headers *headers)
{
    struct detail_request *detail =
        arena_allocate_zeroed(session->memory.passing, 1, sizeof(*detail));

    if (detail == NULL)
        return false;
    detail->number = atomic_load_explicit(&session->counters->requests, memory_order_relaxed) -
                     session->requests_before;
    detail->block = (struct detail_block){
        /* The request that asked for an upgrade had no header block. */
        .wire_bytes = session->options.upgraded && stream->id == 1 ? 0 : block_wire_bytes(headers),
        .table_bytes = nghttp2_session_get_hd_inflate_dynamic_table_size(session->nghttp2),
    };
    if ((headers->hd.flags & NGHTTP2_FLAG_PRIORITY) != 0)
        detail->dependency = (struct wire_dependency){
            .stream_id = headers->pri_spec.stream_id,
            .weight = headers->pri_spec.weight,
            .exclusive = headers->pri_spec.exclusive != 0,
        };
    stream->detail = detail;
    return field_section_take(session->block.reader, &detail->fields);
}

/* RFC 9113 section 6.5.2 says how a field list's size is counted. */
static size_t field_list_size(const struct field_list *fields)
{
    enum { FIELD_OVERHEAD = 32 };

    return fields != NULL ? fields->length + fields->count * FIELD_OVERHEAD : 0;
}

/* Keep the trailers for a detailed answer, unless with the fields they exceed the limit that the
 * fields alone have: that bounds the size of the answer. Return false if memory ran out. */
static bool keep_trailers(struct session *session, struct detail_request *detail)
{
    if (!field_section_take(session->block.reader, &detail->trailers))
        return false;
    if (field_list_size(detail->fields) + field_list_size(detail->trailers) <=
        session->options.max_header_list_size)
        return true;
    detail->trailers_left_out = detail->trailers->count;
    field_list_free(session->memory.passing, detail->trailers);
    detail->trailers = NULL;
    return true;
}

/* The header block is complete. Return false if memory ran out. */
static bool end_block(struct session *session, const nghttp2_headers *headers)
{
    struct session_block *block = &session->block;
    struct stream *stream = block->stream;

    block->stream = NULL;
    if (stream->in_trailers && stream->detail != NULL)
        return keep_trailers(session, stream->detail);
    if (stream->in_trailers) {
        field_section_abort(block->reader, NULL);
        return true;
    }
    return field_section_end(block->reader, &stream->request, &stream->echo) &&
           (!stream->request.detailed || keep_detail(session, stream, headers));
}

/* --- Content --- */

static int on_data_chunk(nghttp2_session *nghttp2, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t length, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = stream_find(session, stream_id);

    (void)nghttp2;
    (void)flags;
    (void)data;
    if (stream == NULL)
        return 0;
    stream->received += length;
    stream_note_progress(session, stream);
    flood_refund(session, 1);
    return 0;
}

/* --- Complete frames --- */

static int on_request_frame(struct session *session, const nghttp2_frame *frame)
{
    struct stream *stream = stream_find(session, frame->hd.stream_id);

    if (stream == NULL)
        return 0;
    if (session->block.stream == stream && !end_block(session, &frame->headers))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return stream_respond(session, stream, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
}

/* Not to be inlined, because of its buffer: see malformed_refuse_field. */
__attribute__((noinline)) static int on_reset(struct session *session,
                                              const nghttp2_rst_stream *frame)
{
    static const struct reason too_many = {
        NGHTTP2_ENHANCE_YOUR_CALM, "too many streams reset by the client", "RFC 9113 section 10.5"};
    struct stream *stream = stream_find(session, frame->hd.stream_id);
    char name[SESSION_ERROR_NAME_MAX];

    if (stream != NULL) {
        stream->reset = SESSION_RESET_BY_PEER;
        stream->reset_code = frame->error_code;
    }
    session_report(session, LOG_LEVEL_INFO, frame->hd.stream_id, "the peer sent RST_STREAM %s",
                   session_error_name(name, frame->error_code));
    return flood_charge_client_reset(session) ? 0 : fail_callback(session, &too_many);
}

static void on_ping(struct session *session, const nghttp2_ping *ping)
{
    if ((ping->hd.flags & NGHTTP2_FLAG_ACK) != 0 && session->drain.started &&
        memcmp(ping->opaque_data, session_drain_ping, sizeof(session_drain_ping)) == 0)
        session->drain.goaway_due = true;
}

/* Not to be inlined, because of its buffers. */
__attribute__((noinline)) static void on_goaway(struct session *session,
                                                const nghttp2_goaway *goaway)
{
    char shown[LOG_ESCAPE_MAX];
    char name[SESSION_ERROR_NAME_MAX];

    session_report(session, session_error_level(goaway->error_code), 0,
                   "the peer sent GOAWAY %s \"%s\"", session_error_name(name, goaway->error_code),
                   log_escape(shown, sizeof(shown), goaway->opaque_data, goaway->opaque_data_len));
}

static int on_frame_recv(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        return on_request_frame(session, frame);
    case NGHTTP2_SETTINGS:
        session->in.preface_complete = true;
        return 0;
    case NGHTTP2_RST_STREAM:
        return on_reset(session, &frame->rst_stream);
    case NGHTTP2_PING:
        on_ping(session, &frame->ping);
        return 0;
    case NGHTTP2_GOAWAY:
        on_goaway(session, &frame->goaway);
        return 0;
    default:
        return 0;
    }
}

static int on_stream_close(nghttp2_session *nghttp2, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = stream_find(session, stream_id);

    (void)nghttp2;
    (void)error_code;
    session->idle_since_us = session->now.monotonic_us;
    closed_streams_note_closed(&session->closed_streams, stream_id);
    if (stream != NULL)
        stream_close(session, stream, false);
    return 0;
}

void session_set_receive_callbacks(nghttp2_session_callbacks *callbacks, bool upgraded)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(
        callbacks, upgraded ? on_begin_frame_upgraded : on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}
