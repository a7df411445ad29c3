#include "probe/client.h"

#include "base/log.h"

#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAM_ID = 1,                         /* of the request, the only one */
    FIRST_BYTES_MAX = CLIENT_TEXT_MAX / 8, /* few enough for log_escape to show all of them */
};

struct client {
    nghttp2_session *nghttp2;
    const uint8_t *pending; /* nghttp2's memory, valid until nghttp2_session_mem_send is called */
    size_t pending_length;
    uint8_t first_bytes[FIRST_BYTES_MAX];
    size_t first_byte_count;
    bool has_settings;                   /* the first SETTINGS frame was received */
    int status;                          /* of the field section that is being received */
    bool end_stream_received;            /* on the request's stream */
    char nghttp2_error[CLIENT_TEXT_MAX]; /* the last message of nghttp2's error callback */
    struct client_response response;
};

/* Keep the first failure: it is the cause of those that follow. */
__attribute__((format(printf, 2, 3))) static void set_failure(struct client *client,
                                                              const char *format, ...)
{
    va_list arguments;

    if (client->response.failure[0] != '\0')
        return;
    va_start(arguments, format);
    (void)vsnprintf(client->response.failure, sizeof(client->response.failure), format, arguments);
    va_end(arguments);
}

static void check_nghttp2_result(struct client *client, int error)
{
    if (error < 0)
        set_failure(client, "nghttp2: %s", nghttp2_strerror(error));
}

/* --- Received frames ------------------------------------------------------------------------ */

static void record_settings(struct client *client, const nghttp2_settings *frame)
{
    struct client_response *response = &client->response;

    if (client->has_settings || (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
        return;
    client->has_settings = true;
    for (size_t i = 0; i < frame->niv && i < CLIENT_SETTINGS_MAX; i++)
        response->settings[response->setting_count++] =
            (struct client_setting){(uint16_t)frame->iv[i].settings_id, frame->iv[i].value};
}

/* A GOAWAY with NO_ERROR is no failure if the server will still respond to the request. */
static void check_goaway(struct client *client, const nghttp2_goaway *frame)
{
    char reason[CLIENT_TEXT_MAX];

    if (frame->error_code == NGHTTP2_NO_ERROR && frame->last_stream_id >= STREAM_ID)
        return;
    set_failure(client, "the server sent GOAWAY %s, last stream %d, \"%s\"",
                nghttp2_http2_strerror(frame->error_code), frame->last_stream_id,
                log_escape(reason, sizeof(reason), frame->opaque_data, frame->opaque_data_len));
}

/* The fields of an interim response (RFC 9110 section 15.2) are dropped. */
static void end_field_section(struct client *client)
{
    struct client_response *response = &client->response;

    if (client->status >= 200)
        response->status = client->status;
    else
        response->server[0] = response->content_type[0] = response->content_length[0] = '\0';
}

static void check_end_stream(struct client *client, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        client->end_stream_received = true;
}

static int client_on_frame_recv(nghttp2_session *nghttp2, const nghttp2_frame *frame,
                                void *user_data)
{
    struct client *client = user_data;

    (void)nghttp2;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        record_settings(client, &frame->settings);
        break;
    case NGHTTP2_GOAWAY:
        check_goaway(client, &frame->goaway);
        break;
    case NGHTTP2_RST_STREAM:
        set_failure(client, "the server sent RST_STREAM %s",
                    nghttp2_http2_strerror(frame->rst_stream.error_code));
        break;
    case NGHTTP2_HEADERS:
        end_field_section(client);
        check_end_stream(client, frame);
        break;
    case NGHTTP2_DATA:
        check_end_stream(client, frame);
        break;
    default:
        break;
    }
    return 0;
}

static bool field_name_is(const char *name, const uint8_t *bytes, size_t length)
{
    return strlen(name) == length && memcmp(name, bytes, length) == 0;
}

/* Return the buffer for a field's value; NULL if the value is not needed. */
static char *field_buffer(struct client_response *response, const uint8_t *name, size_t length)
{
    if (field_name_is("server", name, length))
        return response->server;
    if (field_name_is("content-type", name, length))
        return response->content_type;
    if (field_name_is("content-length", name, length))
        return response->content_length;
    return NULL;
}

static int client_on_header(nghttp2_session *nghttp2, const nghttp2_frame *frame,
                            const uint8_t *name, size_t name_length, const uint8_t *value,
                            size_t value_length, uint8_t flags, void *user_data)
{
    struct client *client = user_data;
    char *buffer = field_buffer(&client->response, name, name_length);

    (void)nghttp2;
    (void)frame;
    (void)flags;
    if (client->response.status != 0) /* these are the trailers */
        return 0;
    /* nghttp2 has checked that the value is three digits, and terminated it. */
    if (field_name_is(":status", name, name_length))
        client->status = (int)strtol((const char *)value, NULL, 10);
    else if (buffer != NULL)
        (void)log_escape(buffer, CLIENT_TEXT_MAX, value, value_length);
    return 0;
}

static int client_on_data_chunk(nghttp2_session *nghttp2, uint8_t flags, int32_t stream_id,
                                const uint8_t *bytes, size_t length, void *user_data)
{
    struct client *client = user_data;
    struct client_response *response = &client->response;

    (void)nghttp2;
    (void)flags;
    (void)stream_id;
    if (length > sizeof(response->body) - response->body_length) {
        set_failure(client, "the body has more than %d bytes", CLIENT_BODY_MAX);
        length = sizeof(response->body) - response->body_length;
    }
    memcpy(response->body + response->body_length, bytes, length);
    response->body_length += length;
    return 0;
}

/* --- Errors --------------------------------------------------------------------------------- */

static int client_on_error(nghttp2_session *nghttp2, int error, const char *text, size_t length,
                           void *user_data)
{
    struct client *client = user_data;

    (void)nghttp2;
    (void)error;
    (void)log_escape(client->nghttp2_error, sizeof(client->nghttp2_error), text, length);
    return 0;
}

/* nghttp2 reports invalid data to the server, by the frame that it sends, and nowhere else. */
static int client_on_frame_send(nghttp2_session *nghttp2, const nghttp2_frame *frame,
                                void *user_data)
{
    struct client *client = user_data;
    char reason[CLIENT_TEXT_MAX];

    (void)nghttp2;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->hd.stream_id == STREAM_ID)
        set_failure(
            client, "the response is malformed (%s): content-length \"%s\", %zu bytes received; %s",
            nghttp2_http2_strerror(frame->rst_stream.error_code), client->response.content_length,
            client->response.body_length, client->nghttp2_error);
    else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        set_failure(client, "invalid data from the server (%s): %s",
                    nghttp2_http2_strerror(frame->goaway.error_code),
                    log_escape(reason, sizeof(reason), frame->goaway.opaque_data,
                               frame->goaway.opaque_data_len));
    return 0;
}

/* --- Creating and freeing ------------------------------------------------------------------- */

static nghttp2_session_callbacks *new_client_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_on_frame_recv);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_on_data_chunk);
    nghttp2_session_callbacks_set_error_callback2(callbacks, client_on_error);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, client_on_frame_send);
    return callbacks;
}

static int new_client_session(struct client *client)
{
    nghttp2_session_callbacks *callbacks = new_client_callbacks();
    int result = NGHTTP2_ERR_NOMEM;

    if (callbacks != NULL)
        result = nghttp2_session_client_new(&client->nghttp2, callbacks, client);
    nghttp2_session_callbacks_del(callbacks);
    return result;
}

static nghttp2_nv make_field(const char *name, const char *value)
{
    /* nghttp2 copies both. */
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static int submit_request(struct client *client, const struct client_request *request)
{
    static const nghttp2_settings_entry no_push = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    const nghttp2_nv fields[] = {
        make_field(":method", "GET"),
        make_field(":path", request->path),
        make_field(":scheme", request->scheme),
        make_field(":authority", request->authority),
        make_field("user-agent", "h2echod/" H2ECHOD_VERSION " (probe)"),
    };
    int result = nghttp2_submit_settings(client->nghttp2, NGHTTP2_FLAG_NONE, &no_push, 1);

    if (result != 0)
        return result;
    result = nghttp2_submit_request(client->nghttp2, NULL, fields,
                                    sizeof(fields) / sizeof(fields[0]), NULL, NULL);
    return result == STREAM_ID ? 0 : result;
}

struct client *client_new(const struct client_request *request)
{
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    if (new_client_session(client) == 0 && submit_request(client, request) == 0)
        return client;
    client_free(client);
    return NULL;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    nghttp2_session_del(client->nghttp2);
    free(client);
}

/* --- Bytes ---------------------------------------------------------------------------------- */

static size_t min_length(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Return whether the first frame is SETTINGS without ACK on stream 0, whatever its payload. */
static bool begins_with_settings(const struct client *client)
{
    enum { TYPE_AT = 3, FLAGS_AT = 4, STREAM_AT = 5, HEADER_SIZE = 9 }; /* RFC 9113 section 4.1 */
    static const uint8_t stream_0[HEADER_SIZE - STREAM_AT] = {0};

    return client->first_byte_count >= HEADER_SIZE &&
           client->first_bytes[TYPE_AT] == NGHTTP2_SETTINGS &&
           (client->first_bytes[FLAGS_AT] & NGHTTP2_FLAG_ACK) == 0 &&
           memcmp(client->first_bytes + STREAM_AT, stream_0, sizeof(stream_0)) == 0;
}

static void record_first_bytes(struct client *client, const uint8_t *bytes, size_t length)
{
    size_t step = min_length(length, sizeof(client->first_bytes) - client->first_byte_count);

    memcpy(client->first_bytes + client->first_byte_count, bytes, step);
    client->first_byte_count += step;
    (void)log_escape(client->response.first_bytes, sizeof(client->response.first_bytes),
                     client->first_bytes, client->first_byte_count);
    client->response.is_http2 = begins_with_settings(client);
}

void client_receive(struct client *client, const uint8_t *bytes, size_t length)
{
    record_first_bytes(client, bytes, length);
    check_nghttp2_result(client, (int)nghttp2_session_mem_recv(client->nghttp2, bytes, length));
}

/* Get bytes to send from nghttp2 if none are pending. Return false if there are none. */
static bool fetch_pending(struct client *client)
{
    ssize_t length;

    if (client->pending_length > 0)
        return true;
    length = nghttp2_session_mem_send(client->nghttp2, &client->pending);
    check_nghttp2_result(client, (int)length);
    if (length > 0)
        client->pending_length = (size_t)length;
    return length > 0;
}

size_t client_send(struct client *client, uint8_t *buffer, size_t size)
{
    size_t used = 0;

    while (used < size && fetch_pending(client)) {
        size_t step = min_length(size - used, client->pending_length);
        memcpy(buffer + used, client->pending, step);
        client->pending += step;
        client->pending_length -= step;
        used += step;
    }
    return used;
}

bool client_finished(const struct client *client)
{
    return client->end_stream_received || client->response.failure[0] != '\0';
}

const struct client_response *client_response(const struct client *client)
{
    return &client->response;
}

void client_send_goaway(struct client *client)
{
    check_nghttp2_result(client,
                         nghttp2_session_terminate_session(client->nghttp2, NGHTTP2_NO_ERROR));
}
