/*
 * session_stream: the open streams of a session, in the order of their last progress, so that the
 * first one is the first to time out.
 */
#include "http2/session_internal.h"

#include "base/arena.h"

static void unlink_stream(struct session_streams *streams, struct stream *stream)
{
    *(stream->older != NULL ? &stream->older->newer : &streams->oldest) = stream->newer;
    *(stream->newer != NULL ? &stream->newer->older : &streams->newest) = stream->older;
    stream->older = stream->newer = NULL;
}

static void link_newest(struct session_streams *streams, struct stream *stream)
{
    stream->older = streams->newest;
    *(streams->newest != NULL ? &streams->newest->newer : &streams->oldest) = stream;
    streams->newest = stream;
}

void stream_move_to_newest(struct session *session, struct stream *stream)
{
    unlink_stream(&session->streams, stream);
    link_newest(&session->streams, stream);
}

struct stream *stream_new(struct session *session, int32_t id)
{
    struct stream *stream = arena_allocate_zeroed(session->memory.passing, 1, sizeof(*stream));

    if (stream == NULL)
        return NULL;
    stream->id = id;
    stream->opened_us = stream->progress_us = session->now.monotonic_us;
    stream->request.content_length = -1;
    link_newest(&session->streams, stream);
    return stream;
}

static void notify_observer(const struct session *session, const struct stream *stream,
                            bool aborted)
{
    char reset_code[SESSION_ERROR_NAME_MAX];
    struct session_request request = {
        .stream_id = stream->id,
        .status = stream->response_sent ? stream->status : 0,
        .received = stream->received,
        .sent = stream->body_sent,
        .opened_us = stream->opened_us,
        .aborted = aborted,
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

void session_abort_block(struct session *session)
{
    struct stream *stream = session->block.stream;

    session->block.stream = NULL;
    field_section_abort(session->block.reader, stream->in_trailers ? NULL : &stream->request);
}

void detail_request_free_fields(struct session *session, struct detail_request *detail)
{
    field_list_free(session->memory.passing, detail->fields);
    field_list_free(session->memory.passing, detail->trailers);
    detail->fields = detail->trailers = NULL;
}

static void detail_request_free(struct session *session, struct detail_request *detail)
{
    if (detail == NULL)
        return;
    detail_request_free_fields(session, detail);
    arena_free(session->memory.passing, detail);
}

void stream_close(struct session *session, struct stream *stream, bool aborted)
{
    if (session->block.stream == stream)
        session_abort_block(session);
    if (session->streams.last_found == stream)
        session->streams.last_found = NULL;
    if (session->observer.request != NULL)
        notify_observer(session, stream, aborted);
    unlink_stream(&session->streams, stream);
    field_section_request_free(session->memory.passing, &stream->request);
    detail_request_free(session, stream->detail);
    echo_body_drop(session->memory.passing, stream->echo);
    arena_free(session->memory.passing, stream);
}

bool stream_is_active(const struct session *session, int32_t id)
{
    nghttp2_stream *stream;

    if (session->streams.last_found != NULL && session->streams.last_found->id == id)
        return true;
    stream = nghttp2_session_find_stream(session->nghttp2, id);
    return stream != NULL && nghttp2_stream_get_state(stream) != NGHTTP2_STREAM_STATE_IDLE;
}

bool stream_is_late(const struct session *session, int32_t id)
{
    return closed_streams_is_late(&session->closed_streams, id) || session->drain.goaway_submitted;
}
