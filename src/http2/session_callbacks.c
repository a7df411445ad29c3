#include "http2/session_internal.h"

#include "base/arena.h"

#include <string.h>

/* For the callbacks: end the connection with GOAWAY once nghttp2 has returned. */
static int fail_in_callback(struct session *session, uint32_t error, const char *reason)
{
    session->failure = error;
    session->failure_reason = reason;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* The ids of a client's streams go up (RFC 9113 section 5.1.1). nghttp2 reads past a header block
 * on one that it does not know, or knows from PRIORITY alone, lest it be under way to one that we
 * have reset. Even ids it refuses itself. */
static bool goes_back(struct session *session, const nghttp2_frame_hd *hd)
{
    return hd->type == NGHTTP2_HEADERS && hd->stream_id % 2 == 1 &&
           !closed_streams_open(&session->closed_streams, hd->stream_id) &&
           !stream_is_known(session, hd->stream_id) && !stream_is_late(session, hd->stream_id);
}

static int fail_going_back(struct session *session, int32_t id)
{
    session->at_fault = id;
    return closed_streams_was_closed(&session->closed_streams, id)
               ? fail_in_callback(session, NGHTTP2_STREAM_CLOSED, "HEADERS: stream closed")
               : fail_in_callback(session, NGHTTP2_PROTOCOL_ERROR, "HEADERS: stream id goes back");
}

static int on_begin_frame(nghttp2_session *nghttp2, const nghttp2_frame_hd *hd, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    if (goes_back(session, hd))
        return fail_going_back(session, hd->stream_id);
    /* For the idle timeout: frames of a header block that goes on do not count. */
    if (hd->type != NGHTTP2_CONTINUATION)
        session->idle_since_us = session->now.monotonic_us;
    return 0;
}

/* The request that asked for the upgrade is followed by a preface like any other: its first frame
 * is SETTINGS. nghttp2 has seen some already, and would let it begin with anything. (Of frames of
 * unknown types it does not tell; they have no effect.) */
static int on_begin_frame_upgraded(nghttp2_session *nghttp2, const nghttp2_frame_hd *hd,
                                   void *user_data)
{
    struct session *session = user_data;

    if (!session->preface_complete &&
        (hd->type != NGHTTP2_SETTINGS || (hd->flags & NGHTTP2_FLAG_ACK) != 0))
        return fail_in_callback(session, NGHTTP2_PROTOCOL_ERROR, "SETTINGS expected");
    return on_begin_frame(nghttp2, hd, user_data);
}

static struct field_section_reader *reader_new(const struct session *session)
{
    bool is_told = session->observer.request != NULL;
    const struct field_section_options options = {
        .max_list_size = session->options.max_header_list_size,
        .method_max = is_told ? SESSION_METHOD_MAX : 0,
        .path_max = is_told ? SESSION_PATH_MAX : 0,
        .detailed_type = DETAIL_MEDIA_TYPE,
        .pretty = session->options.pretty,
    };

    return field_section_reader_new(&options, session->memory.passing);
}

static enum field_section_kind kind_of(const struct stream *stream)
{
    if (!stream->in_trailers)
        return FIELD_SECTION_HEADER;
    return stream->particulars != NULL ? FIELD_SECTION_TRAILERS : FIELD_SECTION_TRAILERS_COUNTED;
}

/* The next fields are the stream's. */
static int begin_block(struct session *session, struct stream *stream)
{
    if (session->reader == NULL)
        session->reader = reader_new(session);
    if (session->reader == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (session->block != NULL)
        stream_abort_block(session); /* as nghttp2 did when it found the request malformed */
    field_section_begin(session->reader, kind_of(stream));
    session->block = stream;
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
        session->recent = stream;
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
    struct session *session = user_data;
    struct stream *stream = session->block;

    (void)nghttp2;
    (void)frame;
    if (stream == NULL)
        return 0;
    if ((flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0 &&
        !field_section_mark_never_indexed(session->reader))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    switch (field_section_add(session->reader, name, value)) {
    case FIELD_SECTION_ADDED:
        return 0;
    case FIELD_SECTION_TOO_LARGE:
        stream->too_large = true;
        return 0;
    case FIELD_SECTION_EXCESSIVE:
        return fail_in_callback(session, NGHTTP2_ENHANCE_YOUR_CALM, "field list too large");
    case FIELD_SECTION_USERINFO:
        return malformed_refuse_field(session, stream, name, value);
    case FIELD_SECTION_NO_MEMORY:
        break;
    }
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

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

static void on_ping(struct session *session, const nghttp2_ping *ping)
{
    if ((ping->hd.flags & NGHTTP2_FLAG_ACK) != 0 && session->shutting_down &&
        memcmp(ping->opaque_data, drain_ping, sizeof(drain_ping)) == 0)
        session->final_goaway_due = true;
}

/* Not to be inlined, as what has buffers in which it words something for the log. */
__attribute__((noinline)) static void on_goaway(struct session *session,
                                                const nghttp2_goaway *goaway)
{
    char shown[LOG_ESCAPE_MAX];
    char name[ERROR_NAME_MAX];

    session_report(session, session_report_level(goaway->error_code), 0,
                   "the peer sent GOAWAY %s \"%s\"", session_error_name(name, goaway->error_code),
                   log_escape(shown, sizeof(shown), goaway->opaque_data, goaway->opaque_data_len));
}

/* Of a block that has just ended: its HEADERS frame has grown by the CONTINUATIONs behind it. */
static size_t wire_bytes_of(const nghttp2_headers *headers)
{
    enum { PRIORITY_SIZE = 5 };
    size_t others = headers->padlen;

    if ((headers->hd.flags & NGHTTP2_FLAG_PRIORITY) != 0)
        others += PRIORITY_SIZE;
    return headers->hd.length > others ? headers->hd.length - others : 0;
}

/* Keep what a detailed answer will tell of a request, whose header block has just ended. Return
 * false if memory ran out. */
static bool keep_particulars(struct session *session, struct stream *stream,
                             const nghttp2_headers *headers)
{
    struct particulars *particulars =
        arena_allocate_zeroed(session->memory.passing, 1, sizeof(*particulars));

    if (particulars == NULL)
        return false;
    particulars->number = atomic_load_explicit(&session->counters->requests, memory_order_relaxed) -
                          session->requests_before;
    particulars->block = (struct detail_block){
        /* The request that asked for an upgrade came as text. */
        .wire_bytes = session->options.upgraded && stream->id == 1 ? 0 : wire_bytes_of(headers),
        .table_bytes = nghttp2_session_get_hd_inflate_dynamic_table_size(session->nghttp2),
    };
    if ((headers->hd.flags & NGHTTP2_FLAG_PRIORITY) != 0)
        particulars->dependency = (struct wire_dependency){
            .stream_id = headers->pri_spec.stream_id,
            .weight = headers->pri_spec.weight,
            .exclusive = headers->pri_spec.exclusive != 0,
        };
    stream->particulars = particulars;
    return field_section_take(session->reader, &particulars->fields);
}

/* As RFC 9113 section 6.5.2 counts. */
static size_t list_size_of(const struct field_list *fields)
{
    enum { FIELD_OVERHEAD = 32 };

    return fields != NULL ? fields->length + fields->count * FIELD_OVERHEAD : 0;
}

/* The same for trailers. With the fields they may come to no more than those alone, which bounds
 * the answer. */
static bool keep_trailers(struct session *session, struct particulars *particulars)
{
    if (!field_section_take(session->reader, &particulars->trailers))
        return false;
    if (list_size_of(particulars->fields) + list_size_of(particulars->trailers) <=
        session->options.max_header_list_size)
        return true;
    particulars->trailers_left_out = particulars->trailers->count;
    field_list_free(session->memory.passing, particulars->trailers);
    particulars->trailers = NULL;
    return true;
}

/* The block is whole. Return false if memory ran out. */
static bool end_block(struct session *session, const nghttp2_headers *headers)
{
    struct stream *stream = session->block;

    session->block = NULL;
    if (stream->in_trailers && stream->particulars != NULL)
        return keep_trailers(session, stream->particulars);
    if (stream->in_trailers) {
        field_section_abort(session->reader, NULL);
        return true;
    }
    return field_section_end(session->reader, &stream->request, &stream->echo) &&
           (!stream->request.detailed || keep_particulars(session, stream, headers));
}

static int on_message_frame(struct session *session, const nghttp2_frame *frame)
{
    struct stream *stream = stream_find(session, frame->hd.stream_id);

    if (stream == NULL)
        return 0;
    if (session->block == stream && !end_block(session, &frame->headers))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return stream_respond(session, stream, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
}

__attribute__((noinline)) static int on_reset(struct session *session,
                                              const nghttp2_rst_stream *frame)
{
    struct stream *stream = stream_find(session, frame->hd.stream_id);
    char name[ERROR_NAME_MAX];

    if (stream != NULL) {
        stream->reset = SESSION_RESET_BY_PEER;
        stream->reset_code = frame->error_code;
    }
    session_report(session, LOG_LEVEL_INFO, frame->hd.stream_id, "the peer sent RST_STREAM %s",
                   session_error_name(name, frame->error_code));
    return flood_charge_client_reset(session)
               ? 0
               : fail_in_callback(session, NGHTTP2_ENHANCE_YOUR_CALM, too_many_cancels);
}

static int on_frame_recv(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        return on_message_frame(session, frame);
    case NGHTTP2_SETTINGS:
        session->preface_complete = true;
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
