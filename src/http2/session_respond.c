#include "http2/session_internal.h"

#include <string.h>

#define SERVER "h2echod/" H2ECHOD_VERSION

/* nghttp2_nv takes bytes that it does not change, but not by const. */
#define FIELD(name_text, value_text, value_size)                                                   \
    ((nghttp2_nv){(uint8_t *)(name_text), (uint8_t *)(value_text), sizeof(name_text) - 1,          \
                  (value_size), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE})

static const char *http_date(struct session *session)
{
    if (session->date_of != session->now.unix_s) {
        session->date_of = session->now.unix_s;
        clock_http_date(session->date_of, session->date);
    }
    return session->date;
}

static const char *status_text(int status)
{
    return status == 200 ? "200" : status == 431 ? "431" : "501";
}

/* Write ${number}, in decimal, and return how many digits it has. */
static size_t decimal(char digits[static DECIMAL_MAX], size_t number)
{
    char backwards[DECIMAL_MAX];
    size_t count = 0;

    do {
        backwards[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < count; i++)
        digits[i] = backwards[count - 1 - i];
    return count;
}

struct media_type {
    const char *name;
    size_t length;
};

#define MEDIA_TYPE(name) ((struct media_type){(name), sizeof(name) - 1})

/* Submit the final response; its body stays where it is until the stream is closed. */
static int respond(struct session *session, struct stream *stream, int status,
                   struct media_type type, const char *body, size_t length)
{
    const char *text = status_text(status);
    size_t count = RESPONSE_FIELDS_MAX - 1;
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = stream_read_body};

    stream->status = status;
    stream->body = body;
    stream->body_length = length;
    stream->body_length_digits = decimal(stream->body_length_text, length);
    nghttp2_nv fields[RESPONSE_FIELDS_MAX] = {
        FIELD(":status", text, STATUS_DIGITS),
        FIELD("server", SERVER, sizeof(SERVER) - 1),
        FIELD("date", http_date(session), CLOCK_HTTP_DATE_SIZE - 1),
        FIELD("content-type", type.name, type.length),
        FIELD("content-length", stream->body_length_text, stream->body_length_digits),
        FIELD("cache-control", "no-store", sizeof("no-store") - 1),
    };

    if (stream->particulars != NULL && status == 200)
        fields[count++] = FIELD("vary", "accept", sizeof("accept") - 1);
    return nghttp2_submit_response(session->nghttp2, stream->id, fields, count,
                                   stream->request.head ? NULL : &provider);
}

/* Compose the detailed answer, which tells of this moment. */
static struct echo_body *compose_detail(struct session *session, const struct stream *stream)
{
    struct detail detail = {
        .age_us = session->now.monotonic_us - session->started_us,
        .stream_id = stream->id,
        .number = stream->particulars->number,
        .fields = stream->particulars->fields,
        .trailers = stream->particulars->trailers,
        .trailers_left_out = stream->particulars->trailers_left_out,
        .content_length = stream->received,
        .dependency = stream->particulars->dependency,
        .block = stream->particulars->block,
        .stream_window =
            nghttp2_session_get_stream_remote_window_size(session->nghttp2, stream->id),
        .connection_window = nghttp2_session_get_remote_window_size(session->nghttp2),
        .client_frames = &session->client_frames,
        .reports = session->reported,
        .head = stream->request.head,
        .pretty = session->options.pretty,
    };

    session->observer.describe(&detail.origin, session->observer.argument);
    return detail_compose(session->memory.passing, &detail);
}

static int respond_detail(struct session *session, struct stream *stream)
{
    stream->echo = compose_detail(session, stream);
    if (stream->echo == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    detail_request_drop_fields(session,
                               stream->particulars); /* while the answer waits for its window */
    return respond(session, stream, 200, MEDIA_TYPE(DETAIL_MEDIA_TYPE), stream->echo->text,
                   stream->echo->length);
}

/* Answer with the request's own fields. */
static int respond_echo(struct session *session, struct stream *stream)
{
    if (stream->particulars != NULL)
        return respond_detail(session, stream);
    return respond(session, stream, 200, MEDIA_TYPE("application/json"), stream->echo->text,
                   stream->echo->length);
}

static int respond_text(struct session *session, struct stream *stream, int status,
                        const char *text)
{
    return respond(session, stream, status, MEDIA_TYPE("text/plain; charset=utf-8"), text,
                   strlen(text));
}

static int respond_too_large(struct session *session, struct stream *stream)
{
    session_report(session, LOG_LEVEL_NOTICE, stream->id,
                   "431: the fields come to more than max-header-list-size, %u bytes "
                   "(RFC 9113 section 6.5.2)",
                   session->options.max_header_list_size);
    return respond_text(session, stream, 431,
                        "431 Request Header Fields Too Large: the fields come to more than "
                        "SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 section 6.5.2)\n");
}

static int respond_connect(struct session *session, struct stream *stream)
{
    return respond_text(session, stream, 501,
                        "501 Not Implemented: this is no proxy, CONNECT leads nowhere "
                        "(RFC 9110 section 9.3.6)\n");
}

static int submit_continue(struct session *session, struct stream *stream)
{
    nghttp2_nv fields[] = {FIELD(":status", "100", 3)};

    stream->request.expects_continue = false;
    stream->continuing = true;
    return nghttp2_submit_headers(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id, NULL, fields, 1,
                                  NULL);
}

/* A frame of the request is whole, the last one if ${ended}: answer what can be answered. */
int stream_respond(struct session *session, struct stream *stream, bool ended)
{
    stream->ended = ended;
    if (stream->status != 0)
        return 0;
    if (stream->too_large)
        return respond_too_large(session, stream);
    if (stream->request.connect)
        return respond_connect(session, stream);
    if (ended)
        return respond_echo(session, stream);
    return stream->request.expects_continue ? submit_continue(session, stream) : 0;
}
