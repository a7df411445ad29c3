/*
 * The nghttp2 client: requests and flow control as a well-behaved client does them.
 */
#include "session/peer_internal.h"

#include <string.h>

static int on_invalid_frame_from_server(nghttp2_session *client, const nghttp2_frame *frame,
                                        int code, void *argument)
{
    struct peer *peer = argument;

    (void)client;
    (void)frame;
    (void)code;
    peer->client_found_error = true;
    return 0;
}

static ssize_t read_request_body(nghttp2_session *client, int32_t stream_id, uint8_t *buffer,
                                 size_t size, uint32_t *flags, nghttp2_data_source *source,
                                 void *argument)
{
    struct bytes *body = source->ptr;
    size_t length = min_size(size, body->length);

    (void)client;
    (void)stream_id;
    (void)argument;
    memcpy(buffer, body->data + body->capacity - body->length, length);
    body->length -= length;
    if (body->length == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)length;
}

int32_t peer_submit(struct peer *peer, const struct field *fields, size_t count, struct bytes *body)
{
    nghttp2_data_provider provider = {.source.ptr = body, .read_callback = read_request_body};
    nghttp2_nv nva[32];
    int32_t stream_id;

    assert_true(count <= COUNT(nva));
    for (size_t i = 0; i < count; i++)
        nva[i] = (nghttp2_nv){(uint8_t *)(uintptr_t)fields[i].name,
                              (uint8_t *)(uintptr_t)fields[i].value, fields[i].name_length,
                              fields[i].value_length, NGHTTP2_NV_FLAG_NONE};
    if (body) /* read_request_body counts length down; capacity keeps the total */
        body->capacity = body->length;
    stream_id =
        nghttp2_submit_request(peer->client, NULL, nva, count, body ? &provider : NULL, NULL);
    assert_true(stream_id > 0);
    return stream_id;
}

void peer_client_receive(struct peer *peer, const uint8_t *bytes, size_t length)
{
    if (peer->client)
        assert_int_equal(nghttp2_session_mem_recv(peer->client, bytes, length), length);
}

void peer_client_send(struct peer *peer)
{
    const uint8_t *bytes;
    ssize_t length;

    if (!peer->client)
        return;
    while ((length = nghttp2_session_mem_send(peer->client, &bytes)) > 0)
        bytes_add(&peer->out, bytes, (size_t)length);
    assert_int_equal(length, 0);
}

struct peer *peer_open_client(const struct session_options *options, struct peer_transfer transfer,
                              uint32_t window)
{
    nghttp2_settings_entry setting = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    struct peer *peer = peer_new(options, transfer);
    nghttp2_session_callbacks *callbacks;

    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks,
                                                                 on_invalid_frame_from_server);
    assert_int_equal(nghttp2_session_client_new(&peer->client, callbacks, peer), 0);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(peer->client, NGHTTP2_FLAG_NONE, &setting, 1), 0);
    return peer;
}
