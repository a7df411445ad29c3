#include "probe/client.h"

#include "base/log.h"

#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAM = 1,                     /* the one that there is */
    FIRST_MAX = CLIENT_TEXT_MAX / 8 /* bytes that are kept of what came first */
};

struct client {
    nghttp2_session *nghttp2;
    const uint8_t *pending; /* nghttp2's, valid until it is asked for more */
    size_t pending_length;
    uint8_t first[FIRST_MAX];
    size_t first_length;
    bool has_settings;               /* of the server's first frame */
    int status;                      /* of the block that is coming */
    bool ended;                      /* END_STREAM was seen */
    char complaint[CLIENT_TEXT_MAX]; /* nghttp2's last one */
    struct client_answer answer;
};

/* The first failure is the cause of those that follow. */
__attribute__((format(printf, 2, 3))) static void fail(struct client *client, const char *format,
                                                       ...)
{
    va_list arguments;

    if (client->answer.failure[0] != '\0')
        return;
    va_start(arguments, format);
    (void)vsnprintf(client->answer.failure, sizeof(client->answer.failure), format, arguments);
    va_end(arguments);
}

static void fail_by(struct client *client, int error)
{
    if (error < 0)
        fail(client, "nghttp2: %s", nghttp2_strerror(error));
}

/* --- What comes ---------------------------------------------------------------------------- */

static void take_settings(struct client *client, const nghttp2_settings *frame)
{
    struct client_answer *answer = &client->answer;

    if (client->has_settings || (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
        return;
    client->has_settings = true;
    for (size_t i = 0; i < frame->niv && i < CLIENT_SETTINGS_MAX; i++)
        answer->settings[answer->setting_count++] =
            (struct client_setting){(uint16_t)frame->iv[i].settings_id, frame->iv[i].value};
}

/* A server that goes, but says that it has our request, still answers it. */
static void take_goaway(struct client *client, const nghttp2_goaway *frame)
{
    char reason[CLIENT_TEXT_MAX];

    if (frame->error_code == NGHTTP2_NO_ERROR && frame->last_stream_id >= STREAM)
        return;
    fail(client, "the server sent GOAWAY %s, last stream %d, \"%s\"",
         nghttp2_http2_strerror(frame->error_code), frame->last_stream_id,
         log_escape(reason, sizeof(reason), frame->opaque_data, frame->opaque_data_len));
}

/* A block of fields is whole. An interim response (RFC 9110 section 15.2) is none yet. */
static void end_block(struct client *client)
{
    struct client_answer *answer = &client->answer;

    if (client->status >= 200)
        answer->status = client->status;
    else
        answer->server[0] = answer->content_type[0] = answer->content_length[0] = '\0';
}

static void take_end(struct client *client, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        client->ended = true;
}

static int on_frame_recv(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct client *client = user_data;

    (void)nghttp2;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        take_settings(client, &frame->settings);
        break;
    case NGHTTP2_GOAWAY:
        take_goaway(client, &frame->goaway);
        break;
    case NGHTTP2_RST_STREAM:
        fail(client, "the server sent RST_STREAM %s",
             nghttp2_http2_strerror(frame->rst_stream.error_code));
        break;
    case NGHTTP2_HEADERS:
        end_block(client);
        take_end(client, frame);
        break;
    case NGHTTP2_DATA:
        take_end(client, frame);
        break;
    default:
        break;
    }
    return 0;
}

static bool is_named(const char *name, const uint8_t *bytes, size_t length)
{
    return strlen(name) == length && memcmp(name, bytes, length) == 0;
}

/* Where a field's value is kept; NULL for those that nobody asks for. */
static char *place_of(struct client_answer *answer, const uint8_t *name, size_t length)
{
    if (is_named("server", name, length))
        return answer->server;
    if (is_named("content-type", name, length))
        return answer->content_type;
    if (is_named("content-length", name, length))
        return answer->content_length;
    return NULL;
}

static int on_header(nghttp2_session *nghttp2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *user_data)
{
    struct client *client = user_data;
    char *place = place_of(&client->answer, name, name_length);

    (void)nghttp2;
    (void)frame;
    (void)flags;
    if (client->answer.status != 0) /* these are trailers */
        return 0;
    /* nghttp2 has seen that it is three digits, and ends in a NUL. */
    if (is_named(":status", name, name_length))
        client->status = (int)strtol((const char *)value, NULL, 10);
    else if (place != NULL)
        (void)log_escape(place, CLIENT_TEXT_MAX, value, value_length);
    return 0;
}

static int on_data_chunk(nghttp2_session *nghttp2, uint8_t flags, int32_t stream_id,
                         const uint8_t *bytes, size_t length, void *user_data)
{
    struct client *client = user_data;
    struct client_answer *answer = &client->answer;

    (void)nghttp2;
    (void)flags;
    (void)stream_id;
    if (length > sizeof(answer->body) - answer->length) {
        fail(client, "the body has more than %d bytes", CLIENT_BODY_MAX);
        length = sizeof(answer->body) - answer->length;
    }
    memcpy(answer->body + answer->length, bytes, length);
    answer->length += length;
    return 0;
}

/* --- What is wrong with it ------------------------------------------------------------------ */

static int on_error(nghttp2_session *nghttp2, int error, const char *text, size_t length,
                    void *user_data)
{
    struct client *client = user_data;

    (void)nghttp2;
    (void)error;
    (void)log_escape(client->complaint, sizeof(client->complaint), text, length);
    return 0;
}

/* nghttp2 tells the server what was wrong, and nobody else. */
static int on_frame_send(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct client *client = user_data;
    char reason[CLIENT_TEXT_MAX];

    (void)nghttp2;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->hd.stream_id == STREAM)
        fail(client, "the answer is malformed (%s): content-length \"%s\", %zu bytes came; %s",
             nghttp2_http2_strerror(frame->rst_stream.error_code), client->answer.content_length,
             client->answer.length, client->complaint);
    else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        fail(client, "what the server sent is wrong (%s): %s",
             nghttp2_http2_strerror(frame->goaway.error_code),
             log_escape(reason, sizeof(reason), frame->goaway.opaque_data,
                        frame->goaway.opaque_data_len));
    return 0;
}

/* --- Beginning and end ---------------------------------------------------------------------- */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    return callbacks;
}

static int open_nghttp2(struct client *client)
{
    nghttp2_session_callbacks *callbacks = callbacks_new();
    int result = NGHTTP2_ERR_NOMEM;

    if (callbacks != NULL)
        result = nghttp2_session_client_new(&client->nghttp2, callbacks, client);
    nghttp2_session_callbacks_del(callbacks);
    return result;
}

static nghttp2_nv field(const char *name, const char *value)
{
    /* nghttp2 copies both. */
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static int submit(struct client *client, const struct client_request *request)
{
    static const nghttp2_settings_entry no_push = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    const nghttp2_nv fields[] = {
        field(":method", "GET"),
        field(":path", request->path),
        field(":scheme", request->scheme),
        field(":authority", request->authority),
        field("user-agent", "h2echod/" H2ECHOD_VERSION " (probe)"),
    };
    int result = nghttp2_submit_settings(client->nghttp2, NGHTTP2_FLAG_NONE, &no_push, 1);

    if (result != 0)
        return result;
    result = nghttp2_submit_request(client->nghttp2, NULL, fields,
                                    sizeof(fields) / sizeof(fields[0]), NULL, NULL);
    return result == STREAM ? 0 : result;
}

struct client *client_new(const struct client_request *request)
{
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    if (open_nghttp2(client) == 0 && submit(client, request) == 0)
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

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Whether it begins with a frame of SETTINGS, be there what it may in it. */
static bool begins_with_settings(const struct client *client)
{
    enum { TYPE = 3, FLAGS = 4, STREAM_ID = 5, END = 9 };
    static const uint8_t connection[END - STREAM_ID] = {0};

    return client->first_length >= END && client->first[TYPE] == NGHTTP2_SETTINGS &&
           (client->first[FLAGS] & NGHTTP2_FLAG_ACK) == 0 &&
           memcmp(client->first + STREAM_ID, connection, sizeof(connection)) == 0;
}

static void keep_first(struct client *client, const uint8_t *bytes, size_t length)
{
    size_t step = smaller(length, sizeof(client->first) - client->first_length);

    memcpy(client->first + client->first_length, bytes, step);
    client->first_length += step;
    (void)log_escape(client->answer.first, sizeof(client->answer.first), client->first,
                     client->first_length);
    client->answer.is_http2 = begins_with_settings(client);
}

void client_receive(struct client *client, const uint8_t *bytes, size_t length)
{
    keep_first(client, bytes, length);
    fail_by(client, (int)nghttp2_session_mem_recv(client->nghttp2, bytes, length));
}

/* Make sure that there are pending bytes. Return false if there is nothing to send. */
static bool has_pending(struct client *client)
{
    ssize_t length;

    if (client->pending_length > 0)
        return true;
    length = nghttp2_session_mem_send(client->nghttp2, &client->pending);
    fail_by(client, (int)length);
    if (length > 0)
        client->pending_length = (size_t)length;
    return length > 0;
}

size_t client_send(struct client *client, uint8_t *buffer, size_t size)
{
    size_t used = 0;

    while (used < size && has_pending(client)) {
        size_t step = smaller(size - used, client->pending_length);
        memcpy(buffer + used, client->pending, step);
        client->pending += step;
        client->pending_length -= step;
        used += step;
    }
    return used;
}

bool client_finished(const struct client *client)
{
    return client->ended || client->answer.failure[0] != '\0';
}

const struct client_answer *client_answer(const struct client *client)
{
    return &client->answer;
}

void client_send_goaway(struct client *client)
{
    fail_by(client, nghttp2_session_terminate_session(client->nghttp2, NGHTTP2_NO_ERROR));
}
