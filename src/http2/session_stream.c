#include "http2/session_internal.h"

#include "base/arena.h"

static void unlink_stream(struct session *session, struct stream *stream)
{
    *(stream->older != NULL ? &stream->older->newer : &session->oldest) = stream->newer;
    *(stream->newer != NULL ? &stream->newer->older : &session->newest) = stream->older;
    stream->older = stream->newer = NULL;
}

static void link_newest(struct session *session, struct stream *stream)
{
    stream->older = session->newest;
    *(session->newest != NULL ? &session->newest->newer : &session->oldest) = stream;
    session->newest = stream;
}

/* The stream went on: its timeout begins anew. */
void stream_note_progress(struct session *session, struct stream *stream)
{
    stream->progress_us = session->now.monotonic_us;
    if (session->newest == stream)
        return;
    unlink_stream(session, stream);
    link_newest(session, stream);
}

struct stream *stream_new(struct session *session, int32_t id)
{
    struct stream *stream = arena_allocate_zeroed(session->memory.passing, 1, sizeof(*stream));

    if (stream == NULL)
        return NULL;
    stream->id = id;
    stream->opened_us = stream->progress_us = session->now.monotonic_us;
    stream->request.content_length = -1;
    link_newest(session, stream);
    return stream;
}

static void tell_request(const struct session *session, const struct stream *stream, bool cut)
{
    char reset_code[ERROR_NAME_MAX];
    struct session_request request = {
        .stream_id = stream->id,
        .status = stream->answered ? stream->status : 0,
        .received = stream->received,
        .sent = stream->body_sent,
        .opened_us = stream->opened_us,
        .cut = cut,
        .reset = stream->reset,
        .reset_code = session_error_name(reset_code, stream->reset_code),
    };
    const struct field_section_target *target = stream->request.target;

    if (target != NULL && target->method_length > 0) {
        request.method = target->bytes;
        request.method_length = target->method_length;
    }
    if (target != NULL && target->path_length > 0) {
        request.path = target->bytes + target->method_length;
        request.path_length = target->path_length;
    }
    session->observer.request(&request, session->observer.argument);
}

/* No more fields are taken of a block that will not be whole: what came of a request is to be told.
 */
void stream_abort_block(struct session *session)
{
    struct stream *stream = session->block;

    session->block = NULL;
    field_section_abort(session->reader, stream->in_trailers ? NULL : &stream->request);
}

void detail_request_drop_fields(struct session *session, struct particulars *particulars)
{
    field_list_free(session->memory.passing, particulars->fields);
    field_list_free(session->memory.passing, particulars->trailers);
    particulars->fields = particulars->trailers = NULL;
}

static void drop_particulars(struct session *session, struct particulars *particulars)
{
    detail_request_drop_fields(session, particulars);
    arena_free(session->memory.passing, particulars);
}

/* Unlink and free a stream: it is closed, or cut off by the connection's end. */
void stream_close(struct session *session, struct stream *stream, bool cut)
{
    if (session->block == stream)
        stream_abort_block(session);
    if (session->recent == stream)
        session->recent = NULL;
    if (session->observer.request != NULL)
        tell_request(session, stream, cut);
    unlink_stream(session, stream);
    field_section_request_free(session->memory.passing, &stream->request);
    if (stream->particulars != NULL)
        drop_particulars(session, stream->particulars);
    echo_body_drop(session->memory.passing, stream->echo);
    arena_free(session->memory.passing, stream);
}

bool stream_is_known(const struct session *session, int32_t id)
{
    nghttp2_stream *stream;

    if (session->recent != NULL && session->recent->id == id)
        return true;
    stream = nghttp2_session_find_stream(session->nghttp2, id);
    return stream != NULL && nghttp2_stream_get_state(stream) != NGHTTP2_STREAM_STATE_IDLE;
}

/* May there be HEADERS or DATA under way to the stream, sent before the client knew of its end? */
bool stream_is_late(const struct session *session, int32_t id)
{
    return closed_streams_is_late(&session->closed_streams, id) || session->final_goaway_submitted;
}
