/*
 * session_respond: the responses. submit_response has the fields of every final response; a new
 * field goes there.
 */
#include "http2/session_internal.h"

#include <string.h>

#define SERVER "h2echod/" H2ECHOD_VERSION

/* nghttp2_nv's pointers are not const, though nghttp2 does not change what they point to. */
#define RESPONSE_FIELD(name_text, value_text, value_size)                                          \
    ((nghttp2_nv){(uint8_t *)(name_text), (uint8_t *)(value_text), sizeof(name_text) - 1,          \
                  (value_size), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE})

enum { STATUS_DIGITS = 3 };

struct media_type {
    const char *name;
    size_t length;
};

#define MEDIA_TYPE(name) ((struct media_type){(name), sizeof(name) - 1})

static const char *http_date(struct session *session)
{
    struct session_date *date = &session->date;

    if (date->unix_s != session->now.unix_s) {
        date->unix_s = session->now.unix_s;
        clock_http_date(date->unix_s, date->text);
    }
    return date->text;
}

static const char *status_text(int status)
{
    return status == 200 ? "200" : status == 431 ? "431" : "501";
}

/* Write ${number} in decimal, without a NUL, and return how many digits it has. */
static size_t write_decimal(char digits[static SESSION_DECIMAL_MAX], size_t number)
{
    char reversed[SESSION_DECIMAL_MAX];
    size_t count = 0;

    do {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < count; i++)
        digits[i] = reversed[count - 1 - i];
    return count;
}

/* The strings that ${fields} point to must last until the stream is closed. */
static int submit_fields(struct session *session, struct stream *stream, const nghttp2_nv *fields,
                         size_t count)
{
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = stream_read_body};

    return nghttp2_submit_response(session->nghttp2, stream->id, fields, count,
                                   stream->request.head ? NULL : &provider);
}

/* Submit the final response; ${body} must last until the stream is closed. */
static int submit_response(struct session *session, struct stream *stream, int status,
                           struct media_type type, const char *body, size_t length)
{
    stream->status = status;
    stream->body = body;
    stream->body_length = length;
    stream->body_length_digits = write_decimal(stream->body_length_text, length);

    const nghttp2_nv fields[] = {
        RESPONSE_FIELD(":status", status_text(status), STATUS_DIGITS),
        RESPONSE_FIELD("server", SERVER, sizeof(SERVER) - 1),
        RESPONSE_FIELD("date", http_date(session), CLOCK_HTTP_DATE_SIZE - 1),
        RESPONSE_FIELD("content-type", type.name, type.length),
        RESPONSE_FIELD("content-length", stream->body_length_text, stream->body_length_digits),
        RESPONSE_FIELD("cache-control", "no-store", sizeof("no-store") - 1),
    };

    if (stream->detail != NULL && status == 200) {
        nghttp2_nv with_vary[COUNT_OF(fields) + 1];

        memcpy(with_vary, fields, sizeof(fields));
        with_vary[COUNT_OF(fields)] = RESPONSE_FIELD("vary", "accept", sizeof("accept") - 1);
        return submit_fields(session, stream, with_vary, COUNT_OF(with_vary));
    }
    return submit_fields(session, stream, fields, COUNT_OF(fields));
}

static struct echo_body *compose_detail(struct session *session, const struct stream *stream)
{
    struct detail detail = {
        .age_us = session->now.monotonic_us - session->started_us,
        .stream_id = stream->id,
        .number = stream->detail->number,
        .fields = stream->detail->fields,
        .trailers = stream->detail->trailers,
        .trailers_left_out = stream->detail->trailers_left_out,
        .content_length = stream->received,
        .dependency = stream->detail->dependency,
        .block = stream->detail->block,
        .stream_window =
            nghttp2_session_get_stream_remote_window_size(session->nghttp2, stream->id),
        .connection_window = nghttp2_session_get_remote_window_size(session->nghttp2),
        .client_frames = &session->client_frames,
        .reports = session->log.remembered,
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
    detail_request_free_fields(session, stream->detail); /* the answer may wait for its window */
    return submit_response(session, stream, 200, MEDIA_TYPE(DETAIL_MEDIA_TYPE), stream->echo->text,
                           stream->echo->length);
}

static int respond_echo(struct session *session, struct stream *stream)
{
    if (stream->detail != NULL)
        return respond_detail(session, stream);
    return submit_response(session, stream, 200, MEDIA_TYPE("application/json"), stream->echo->text,
                           stream->echo->length);
}

static int respond_text(struct session *session, struct stream *stream, int status,
                        const char *text)
{
    return submit_response(session, stream, status, MEDIA_TYPE("text/plain; charset=utf-8"), text,
                           strlen(text));
}

static int respond_too_large(struct session *session, struct stream *stream)
{
    session_report(session, LOG_LEVEL_NOTICE, stream->id,
                   "431: the fields exceed max-header-list-size, %u bytes "
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
    const nghttp2_nv fields[] = {RESPONSE_FIELD(":status", "100", STATUS_DIGITS)};

    stream->request.expects_continue = false;
    stream->continue_pending = true;
    return nghttp2_submit_headers(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id, NULL, fields,
                                  COUNT_OF(fields), NULL);
}

int stream_respond(struct session *session, struct stream *stream, bool ended)
{
    stream->request_ended = ended;
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
