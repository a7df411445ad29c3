/*
 * What the session sends: every frame is parsed by hand, checked, and kept by stream.
 */
#include "session/peer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct peer_response *response_for(struct peer *peer, int32_t stream_id)
{
    struct peer_response *response;

    for (size_t i = peer->response_count; i > 0; i--)
        if (peer->responses[i - 1].stream_id == stream_id)
            return &peer->responses[i - 1];
    peer->responses = list_grow(peer->responses, peer->response_count, sizeof(*peer->responses));
    response = &peer->responses[peer->response_count++];
    *response = (struct peer_response){.stream_id = stream_id};
    return response;
}

static void read_response_field(struct peer_response *response, const nghttp2_nv *nv)
{
    struct peer_field *field = &response->fields[response->field_count];

    assert_true(response->field_count < COUNT(response->fields));
    assert_true(nv->namelen < sizeof(field->name) && nv->valuelen < sizeof(field->value));
    memcpy(field->name, nv->name, nv->namelen + 1);
    memcpy(field->value, nv->value, nv->valuelen + 1);
    response->field_count++;
}

static void inflate_block(struct peer *peer, struct peer_response *response)
{
    const uint8_t *next = peer->block.data;
    size_t left = peer->block.length;
    int flags = 0;

    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(peer->inflater, &nv, &flags, next, left, 1);

        assert_true(used >= 0);
        next += used;
        left -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            read_response_field(response, &nv);
    }
    nghttp2_hd_inflate_end_headers(peer->inflater);
}

static void read_section(struct peer *peer)
{
    struct peer_response *response = response_for(peer, peer->block_stream_id);
    bool end = (peer->block_flags & END_STREAM) != 0;

    assert_false(response->ended);
    assert_int_equal(response->status, 0); /* the daemon sends no trailers */
    response->field_count = 0;
    inflate_block(peer, response);
    peer->block_stream_id = 0;
    assert_string_equal(response->fields[0].name, ":status");
    if (strcmp(response->fields[0].value, "100") == 0) {
        assert_false(end);
        assert_int_equal(response->field_count, 1);
        response->continue_count++;
        return;
    }
    response->status = (int)strtol(response->fields[0].value, NULL, 10);
    response->unix_s = peer->now.unix_s;
    response->ended = end;
}

static void read_headers(struct peer *peer, uint8_t flags, int32_t id, const uint8_t *payload,
                         size_t length)
{
    assert_int_equal(flags & ~(END_STREAM | END_HEADERS), 0);
    peer->block_stream_id = id;
    peer->block_flags = flags;
    peer->block.length = 0;
    bytes_add(&peer->block, payload, length);
    if (flags & END_HEADERS)
        read_section(peer);
}

static void read_continuation(struct peer *peer, uint8_t flags, const uint8_t *payload,
                              size_t length)
{
    bytes_add(&peer->block, payload, length);
    if (flags & END_HEADERS)
        read_section(peer);
}

static void read_data(struct peer *peer, uint8_t flags, int32_t id, const uint8_t *payload,
                      size_t length)
{
    struct peer_response *response = response_for(peer, id);

    assert_int_equal(flags & ~END_STREAM, 0);
    assert_true(response->status != 0 && !response->ended && !response->reset);
    bytes_add(&response->body, payload, length);
    response->data_frames++;
    response->ended = (flags & END_STREAM) != 0;
    if (!peer->opens_windows || peer->client || length == 0)
        return;
    frame_add_window(&peer->out, 0, (uint32_t)length);
    if (!response->ended)
        frame_add_window(&peer->out, id, (uint32_t)length);
}

static void read_settings_frame(struct peer *peer, uint8_t flags, const uint8_t *payload,
                                size_t length)
{
    if (flags & NGHTTP2_FLAG_ACK) {
        peer->settings_ack_count++;
        return;
    }
    peer->settings_count++;
    for (size_t i = 0; i + 6 <= length; i += 6) {
        if (payload[i + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            peer->max_concurrent_streams = read_u32(payload + i + 2);
        if (payload[i + 1] == NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE)
            peer->max_header_list_size = read_u32(payload + i + 2);
    }
}

static void read_ping(struct peer *peer, uint8_t flags, const uint8_t *payload, size_t length)
{
    assert_int_equal(length, 8);
    if (flags & NGHTTP2_FLAG_ACK) {
        peer->ping_ack_count++;
        memcpy(peer->ping_ack, payload, 8);
        return;
    }
    peer->ping_count++;
    memcpy(peer->ping, payload, 8);
    if (peer->answers_pings && !peer->client)
        frame_add(&peer->out, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, payload, length);
}

static void read_goaway(struct peer *peer, const uint8_t *payload, size_t length)
{
    struct peer_goaway *goaway = &peer->goaways[peer->goaway_count];

    assert_true(peer->goaway_count < PEER_GOAWAYS && length >= 8);
    goaway->last_stream_id = (int32_t)read_u32(payload);
    goaway->code = read_u32(payload + 4);
    snprintf(goaway->debug, sizeof(goaway->debug), "%.*s", (int)(length - 8),
             (const char *)payload + 8);
    peer->goaway_count++;
}

static void read_reset(struct peer *peer, int32_t id, const uint8_t *payload, size_t length)
{
    struct peer_response *response = response_for(peer, id);

    assert_int_equal(length, 4);
    assert_false(response->reset);
    response->reset = true;
    response->reset_code = read_u32(payload);
}

static void read_window_update(struct peer *peer, int32_t id, const uint8_t *payload, size_t length)
{
    uint32_t increment;

    assert_int_equal(length, 4);
    increment = read_u32(payload);
    assert_true(increment > 0);
    if (id == 0)
        peer->window += increment;
    else
        response_for(peer, id)->window += increment;
}

static void read_frame(struct peer *peer, const uint8_t *frame, size_t length)
{
    const uint8_t *payload = frame + WIRE_FRAME_HEADER_SIZE;
    uint8_t flags = frame[4];
    int32_t id = (int32_t)read_u32(frame + 5);

    /* SETTINGS must come first (RFC 9113 section 3.4); no other frame inside a header block
     * (section 6.10). */
    assert_true(peer->settings_count > 0 || frame[3] == NGHTTP2_SETTINGS);
    assert_int_equal(frame[3] == NGHTTP2_CONTINUATION, peer->block_stream_id != 0);
    peer->last_frame_type = frame[3];
    switch (frame[3]) {
    case NGHTTP2_DATA:
        read_data(peer, flags, id, payload, length);
        break;
    case NGHTTP2_HEADERS:
        read_headers(peer, flags, id, payload, length);
        break;
    case NGHTTP2_CONTINUATION:
        read_continuation(peer, flags, payload, length);
        break;
    case NGHTTP2_RST_STREAM:
        read_reset(peer, id, payload, length);
        break;
    case NGHTTP2_SETTINGS:
        read_settings_frame(peer, flags, payload, length);
        break;
    case NGHTTP2_PING:
        read_ping(peer, flags, payload, length);
        break;
    case NGHTTP2_GOAWAY:
        read_goaway(peer, payload, length);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        read_window_update(peer, id, payload, length);
        break;
    default:
        fail_msg("a frame of type %u from the session", frame[3]);
    }
}

void peer_receive(struct peer *peer, const uint8_t *bytes, size_t length)
{
    size_t used = 0;

    bytes_add(&peer->in, bytes, length);
    while (peer->in.length - used >= WIRE_FRAME_HEADER_SIZE) {
        const uint8_t *frame = peer->in.data + used;
        size_t payload = read_u32(frame) >> 8;

        assert_true(payload <= FRAME_PAYLOAD_MAX);
        if (peer->in.length - used < WIRE_FRAME_HEADER_SIZE + payload)
            break;
        read_frame(peer, frame, payload);
        used += WIRE_FRAME_HEADER_SIZE + payload;
    }
    peer->in.length -= used;
    if (used > 0 && peer->in.length > 0)
        memmove(peer->in.data, peer->in.data + used, peer->in.length);
}
