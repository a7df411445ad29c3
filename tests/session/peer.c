#include "session/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct session_options peer_options = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 64 * 1024,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
};

const struct peer_way peer_plain = {FEED_WHOLE, FRAME_PAYLOAD_MAX};

/* The instant at which every test begins. */
static const struct instant beginning = {.monotonic_us = 5000 * SECOND, .unix_s = 784111777};

uint64_t peer_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void *grown(void *old, size_t size)
{
    void *memory = realloc(old, size);

    assert_non_null(memory);
    return memory;
}

/* Room for one more behind ${count} elements of a list that began empty. */
static void *grown_by_one(void *list, size_t count, size_t size)
{
    bool is_full = (count & (count - 1)) == 0; /* none, or a power of two */

    return is_full ? grown(list, (count == 0 ? 1 : 2 * count) * size) : list;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- Frames by hand --- */

void bytes_add(struct bytes *bytes, const void *data, size_t length)
{
    if (length == 0)
        return;
    if (bytes->capacity - bytes->length < length) {
        bytes->capacity = 2 * (bytes->length + length);
        bytes->data = grown(bytes->data, bytes->capacity);
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

void bytes_fill(struct bytes *bytes, uint8_t value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes_add(bytes, &value, 1);
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

struct field field_of(const char *name, const char *value)
{
    return (struct field){name, strlen(name), value, strlen(value)};
}

static void put_u32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

static uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

void frame_add(struct bytes *bytes, uint8_t type, uint8_t flags, int32_t stream_id,
               const void *payload, size_t length)
{
    uint8_t header[WIRE_FRAME_HEADER_SIZE];

    put_u32(header, (uint32_t)length << 8 | type);
    header[4] = flags;
    put_u32(header + 5, (uint32_t)stream_id);
    bytes_add(bytes, header, sizeof(header));
    bytes_add(bytes, payload, length);
}

void frame_add_preface(struct bytes *bytes)
{
    bytes_add(bytes, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add(bytes, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

void frame_add_setting(struct bytes *bytes, uint16_t id, uint32_t value)
{
    uint8_t payload[6] = {(uint8_t)(id >> 8), (uint8_t)id};

    put_u32(payload + 2, value);
    frame_add(bytes, NGHTTP2_SETTINGS, 0, 0, payload, sizeof(payload));
}

void frame_add_window(struct bytes *bytes, int32_t stream_id, uint32_t increment)
{
    uint8_t payload[4];

    put_u32(payload, increment);
    frame_add(bytes, NGHTTP2_WINDOW_UPDATE, 0, stream_id, payload, sizeof(payload));
}

void frame_add_reset(struct bytes *bytes, int32_t stream_id, uint32_t code)
{
    uint8_t payload[4];

    put_u32(payload, code);
    frame_add(bytes, NGHTTP2_RST_STREAM, 0, stream_id, payload, sizeof(payload));
}

/* A string literal: its length with a prefix of seven bits (RFC 7541 sections 5.1 and 5.2). */
static void block_add_string(struct bytes *block, const char *string, size_t length)
{
    uint8_t byte = length < 127 ? (uint8_t)length : 127;
    size_t left = length - byte;

    bytes_add(block, &byte, 1);
    if (byte == 127) {
        for (; left >= 128; left /= 128) {
            byte = (uint8_t)(left % 128 + 128);
            bytes_add(block, &byte, 1);
        }
        byte = (uint8_t)left;
        bytes_add(block, &byte, 1);
    }
    bytes_add(block, string, length);
}

void block_add(struct bytes *block, const struct field *field)
{
    bytes_add(block, "", 1);
    block_add_string(block, field->name, field->name_length);
    block_add_string(block, field->value, field->value_length);
}

void frame_add_block(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                     const struct bytes *block, size_t piece)
{
    uint8_t type = NGHTTP2_HEADERS;
    size_t given = 0;

    do {
        size_t length = smaller(piece, block->length - given);

        if (given + length == block->length)
            flags |= END_HEADERS;
        frame_add(bytes, type, flags, stream_id, block->data + given, length);
        given += length;
        type = NGHTTP2_CONTINUATION;
        flags = 0;
    } while (given < block->length);
}

void frame_add_request(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                       const struct field *fields, size_t count)
{
    struct bytes block = {0};

    for (size_t i = 0; i < count; i++)
        block_add(&block, &fields[i]);
    frame_add_block(bytes, stream_id, flags, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
}

void frame_add_get(struct bytes *bytes, int32_t stream_id, const char *path)
{
    struct field fields[] = {REQUEST_OF("GET", "")};

    fields[1] = field_of(":path", path);
    frame_add_request(bytes, stream_id, END_STREAM, fields, COUNT(fields));
}

/* --- What the session tells its observer; nothing is allocated that the session could miss --- */

static void on_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    struct peer *peer = argument;

    if (peer->report_count < PEER_REPORTS) {
        struct peer_report *report = &peer->reports[peer->report_count];

        report->level = level;
        report->stream_id = stream_id;
        snprintf(report->text, sizeof(report->text), "%s", text);
    }
    peer->report_count++;
}

static void on_request(const struct session_request *request, void *argument)
{
    struct peer *peer = argument;
    struct peer_request *kept;

    peer->requests = grown_by_one(peer->requests, peer->request_count, sizeof(*peer->requests));
    kept = &peer->requests[peer->request_count++];
    *kept = (struct peer_request){
        .stream_id = request->stream_id,
        .status = request->status,
        .received = request->received,
        .sent = request->sent,
        .elapsed_us = peer->now.monotonic_us - request->opened_us,
        .reset = request->reset,
    };
    snprintf(kept->method, sizeof(kept->method), "%.*s",
             request->method ? (int)request->method_length : 1,
             request->method ? (const char *)request->method : "-");
    snprintf(kept->path, sizeof(kept->path), "%.*s", request->path ? (int)request->path_length : 1,
             request->path ? (const char *)request->path : "-");
    snprintf(kept->reset_code, sizeof(kept->reset_code), "%s",
             request->reset == SESSION_NOT_RESET ? "" : request->reset_code);
}

static void on_describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    origin->id = 42;
    origin->protocol = "h2c";
    strcpy(origin->peer, "192.0.2.1:4000");
    strcpy(origin->local, "192.0.2.2:8080");
}

/* --- What the session sends --- */

static struct peer_response *response_for(struct peer *peer, int32_t stream_id)
{
    struct peer_response *response;

    for (size_t i = peer->response_count; i > 0; i--)
        if (peer->responses[i - 1].stream_id == stream_id)
            return &peer->responses[i - 1];
    peer->responses = grown_by_one(peer->responses, peer->response_count, sizeof(*peer->responses));
    response = &peer->responses[peer->response_count++];
    *response = (struct peer_response){.stream_id = stream_id};
    return response;
}

static void take_field(struct peer_response *response, const nghttp2_nv *nv)
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
            take_field(response, &nv);
    }
    nghttp2_hd_inflate_end_headers(peer->inflater);
}

static void take_section(struct peer *peer)
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
        response->interim++;
        return;
    }
    response->status = (int)strtol(response->fields[0].value, NULL, 10);
    response->unix_s = peer->now.unix_s;
    response->ended = end;
}

static void take_headers(struct peer *peer, uint8_t flags, int32_t id, const uint8_t *payload,
                         size_t length)
{
    assert_int_equal(flags & ~(END_STREAM | END_HEADERS), 0);
    peer->block_stream_id = id;
    peer->block_flags = flags;
    peer->block.length = 0;
    bytes_add(&peer->block, payload, length);
    if (flags & END_HEADERS)
        take_section(peer);
}

static void take_continuation(struct peer *peer, uint8_t flags, const uint8_t *payload,
                              size_t length)
{
    bytes_add(&peer->block, payload, length);
    if (flags & END_HEADERS)
        take_section(peer);
}

static void take_data(struct peer *peer, uint8_t flags, int32_t id, const uint8_t *payload,
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

static void take_settings(struct peer *peer, uint8_t flags, const uint8_t *payload, size_t length)
{
    if (flags & NGHTTP2_FLAG_ACK) {
        peer->settings_ack_count++;
        return;
    }
    peer->settings_count++;
    for (size_t i = 0; i + 6 <= length; i += 6) {
        if (payload[i + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            peer->max_concurrent_streams = get_u32(payload + i + 2);
        if (payload[i + 1] == NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE)
            peer->max_header_list_size = get_u32(payload + i + 2);
    }
}

static void take_ping(struct peer *peer, uint8_t flags, const uint8_t *payload, size_t length)
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

static void take_goaway(struct peer *peer, const uint8_t *payload, size_t length)
{
    struct peer_goaway *goaway = &peer->goaways[peer->goaway_count];

    assert_true(peer->goaway_count < PEER_GOAWAYS && length >= 8);
    goaway->last_stream_id = (int32_t)get_u32(payload);
    goaway->code = get_u32(payload + 4);
    snprintf(goaway->debug, sizeof(goaway->debug), "%.*s", (int)(length - 8),
             (const char *)payload + 8);
    peer->goaway_count++;
}

static void take_reset(struct peer *peer, int32_t id, const uint8_t *payload, size_t length)
{
    struct peer_response *response = response_for(peer, id);

    assert_int_equal(length, 4);
    assert_false(response->reset);
    response->reset = true;
    response->reset_code = get_u32(payload);
}

static void take_window(struct peer *peer, int32_t id, const uint8_t *payload, size_t length)
{
    uint32_t increment;

    assert_int_equal(length, 4);
    increment = get_u32(payload);
    assert_true(increment > 0);
    if (id == 0)
        peer->window += increment;
    else
        response_for(peer, id)->window += increment;
}

static void take_frame(struct peer *peer, const uint8_t *frame, size_t length)
{
    const uint8_t *payload = frame + WIRE_FRAME_HEADER_SIZE;
    uint8_t flags = frame[4];
    int32_t id = (int32_t)get_u32(frame + 5);

    /* RFC 9113 section 3.4: SETTINGS first; section 6.10: nothing inside a header block. */
    assert_true(peer->settings_count > 0 || frame[3] == NGHTTP2_SETTINGS);
    assert_int_equal(frame[3] == NGHTTP2_CONTINUATION, peer->block_stream_id != 0);
    peer->last_frame_type = frame[3];
    switch (frame[3]) {
    case NGHTTP2_DATA:
        take_data(peer, flags, id, payload, length);
        break;
    case NGHTTP2_HEADERS:
        take_headers(peer, flags, id, payload, length);
        break;
    case NGHTTP2_CONTINUATION:
        take_continuation(peer, flags, payload, length);
        break;
    case NGHTTP2_RST_STREAM:
        take_reset(peer, id, payload, length);
        break;
    case NGHTTP2_SETTINGS:
        take_settings(peer, flags, payload, length);
        break;
    case NGHTTP2_PING:
        take_ping(peer, flags, payload, length);
        break;
    case NGHTTP2_GOAWAY:
        take_goaway(peer, payload, length);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        take_window(peer, id, payload, length);
        break;
    default:
        fail_msg("a frame of type %u from the session", frame[3]);
    }
}

void peer_take(struct peer *peer, const uint8_t *bytes, size_t length)
{
    size_t used = 0;

    bytes_add(&peer->in, bytes, length);
    while (peer->in.length - used >= WIRE_FRAME_HEADER_SIZE) {
        const uint8_t *frame = peer->in.data + used;
        size_t payload = get_u32(frame) >> 8;

        assert_true(payload <= FRAME_PAYLOAD_MAX);
        if (peer->in.length - used < WIRE_FRAME_HEADER_SIZE + payload)
            break;
        take_frame(peer, frame, payload);
        used += WIRE_FRAME_HEADER_SIZE + payload;
    }
    peer->in.length -= used;
    if (used > 0 && peer->in.length > 0)
        memmove(peer->in.data, peer->in.data + used, peer->in.length);
}

/* --- The nghttp2 client --- */

static int on_client_complaint(nghttp2_session *client, const nghttp2_frame *frame, int code,
                               void *argument)
{
    struct peer *peer = argument;

    (void)client;
    (void)frame;
    (void)code;
    peer->client_complained = true;
    return 0;
}

static ssize_t read_body(nghttp2_session *client, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *argument)
{
    struct bytes *body = source->ptr;
    size_t length = smaller(size, body->length);

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
    nghttp2_data_provider provider = {.source.ptr = body, .read_callback = read_body};
    nghttp2_nv nva[32];
    int32_t stream_id;

    assert_true(count <= COUNT(nva));
    for (size_t i = 0; i < count; i++)
        nva[i] = (nghttp2_nv){(uint8_t *)(uintptr_t)fields[i].name,
                              (uint8_t *)(uintptr_t)fields[i].value, fields[i].name_length,
                              fields[i].value_length, NGHTTP2_NV_FLAG_NONE};
    if (body) /* read_body counts down from here: capacity is how much there was */
        body->capacity = body->length;
    stream_id =
        nghttp2_submit_request(peer->client, NULL, nva, count, body ? &provider : NULL, NULL);
    assert_true(stream_id > 0);
    return stream_id;
}

static void client_push(struct peer *peer)
{
    const uint8_t *bytes;
    ssize_t length;

    while ((length = nghttp2_session_mem_send(peer->client, &bytes)) > 0)
        bytes_add(&peer->out, bytes, (size_t)length);
    assert_int_equal(length, 0);
}

struct peer *peer_open_client(const struct session_options *options, struct peer_way way,
                              uint32_t window)
{
    nghttp2_settings_entry setting = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    struct peer *peer = peer_new(options, way);
    nghttp2_session_callbacks *callbacks;

    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_client_complaint);
    assert_int_equal(nghttp2_session_client_new(&peer->client, callbacks, peer), 0);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(peer->client, NGHTTP2_FLAG_NONE, &setting, 1), 0);
    return peer;
}

/* --- The two together --- */

/* As a worker gives it. Builds with sanitizers have arenas of no memory. */
static void give_memory(struct peer *peer)
{
    if (ARENA_SIZE == 0)
        return;
    peer->arena_memory = grown(NULL, 2 * ARENA_SIZE);
    memset(peer->arena_memory, 0, 2 * ARENA_SIZE);
    arena_start(&peer->lasting, peer->arena_memory, ARENA_SIZE);
    arena_start(&peer->passing, peer->arena_memory + ARENA_SIZE, ARENA_SIZE);
}

struct peer *peer_alone(void)
{
    struct peer *peer = grown(NULL, sizeof(*peer));

    *peer = (struct peer){.now = beginning,
                          .answers_pings = true,
                          .opens_windows = true,
                          .seed = UINT64_C(0x9e3779b97f4a7c15)};
    assert_int_equal(nghttp2_hd_inflate_new(&peer->inflater), 0);
    return peer;
}

static const struct peer_way *way_under_test; /* of the peer that was made last, while it lives */

struct peer *peer_new(const struct session_options *options, struct peer_way way)
{
    struct peer *peer = peer_alone();
    struct session_observer observer = {
        .report = on_report, .request = on_request, .describe = on_describe, .argument = peer};

    peer->way = way;
    way_under_test = &peer->way;
    peer->buffer = grown(NULL, way.buffer);
    give_memory(peer);
    peer->session =
        session_new(options, &observer, &peer->counters,
                    &(struct session_memory){&peer->lasting, &peer->passing}, peer->now);
    assert_non_null(peer->session);
    return peer;
}

void peer_free(struct peer *peer)
{
    way_under_test = NULL;
    session_free(peer->session);
    nghttp2_session_del(peer->client);
    nghttp2_hd_inflate_del(peer->inflater);
    for (size_t i = 0; i < peer->response_count; i++)
        bytes_free(&peer->responses[i].body);
    free(peer->responses);
    free(peer->requests);
    free(peer->buffer);
    free(peer->arena_memory);
    bytes_free(&peer->out);
    bytes_free(&peer->in);
    bytes_free(&peer->block);
    free(peer);
}

static void pull(struct peer *peer)
{
    size_t length;

    while ((length = session_send(peer->session, peer->now, peer->buffer, peer->way.buffer)) > 0) {
        assert_true(length <= peer->way.buffer);
        peer_take(peer, peer->buffer, length);
        if (peer->client)
            assert_int_equal(nghttp2_session_mem_recv(peer->client, peer->buffer, length), length);
    }
    assert_int_equal(session_send(peer->session, peer->now, peer->buffer, peer->way.buffer), 0);
    assert_int_equal(peer->in.length, 0); /* no frame is left half sent */
    if (peer->client)
        client_push(peer);
}

/* The server's SETTINGS come first, so that their ACK stands before whatever a test adds. */
struct peer *peer_open(const struct session_options *options, struct peer_way way)
{
    struct peer *peer = peer_new(options, way);

    pull(peer);
    assert_int_equal(peer->settings_count, 1);
    frame_add_preface(&peer->out);
    frame_add(&peer->out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    return peer;
}

void peer_play(struct peer *peer, peer_script *script)
{
    script(peer);
    assert_int_equal(peer->goaway_count, 0);
    assert_false(session_failed(peer->session));
    peer_free(peer);
}

int peer_tell_way(void **state)
{
    static const char *const feeds[] = {
        [FEED_WHOLE] = "whole", [FEED_BYTES] = "byte by byte", [FEED_SPLITS] = "cut at random"};

    (void)state;
    if (way_under_test != NULL)
        print_error("the bytes came %s; session_send had %zu bytes\n", feeds[way_under_test->feed],
                    way_under_test->buffer);
    way_under_test = NULL;
    return 0;
}

/* Give a piece of its own on the heap, so that reading past its end is seen. */
static void give(struct peer *peer)
{
    size_t length = peer->out.length - peer->out_given;
    uint8_t *piece;

    if (peer->way.feed == FEED_BYTES)
        length = 1;
    else if (peer->way.feed == FEED_SPLITS)
        length = smaller(length, 1 + peer_random(&peer->seed) % 50);
    piece = grown(NULL, length);
    memcpy(piece, peer->out.data + peer->out_given, length);
    peer->out_given += session_receive(peer->session, peer->now, piece, length);
    free(piece);
}

void peer_pump(struct peer *peer)
{
    pull(peer);
    while (peer->out_given < peer->out.length && !session_done(peer->session)) {
        give(peer);
        pull(peer);
    }
    peer->out.length = 0;
    peer->out_given = 0;
    assert_false(peer->client_complained);
}

void peer_wait(struct peer *peer, int64_t us)
{
    peer->now.monotonic_us += us;
    peer->now.unix_s =
        beginning.unix_s + (peer->now.monotonic_us - beginning.monotonic_us) / SECOND;
    session_expire(peer->session, peer->now);
    peer_pump(peer);
}

/* --- What came of it --- */

const struct peer_response *peer_response(const struct peer *peer, int32_t stream_id)
{
    static const struct peer_response nothing;

    for (size_t i = 0; i < peer->response_count; i++)
        if (peer->responses[i].stream_id == stream_id)
            return &peer->responses[i];
    return &nothing;
}

const char *peer_field(const struct peer_response *response, const char *name)
{
    for (size_t i = 0; i < response->field_count; i++)
        if (strcmp(response->fields[i].name, name) == 0)
            return response->fields[i].value;
    return NULL;
}

const struct peer_report *peer_reported(const struct peer *peer, int32_t stream_id,
                                        const char *part)
{
    for (size_t i = 0; i < smaller(peer->report_count, PEER_REPORTS); i++)
        if (peer->reports[i].stream_id == stream_id && strstr(peer->reports[i].text, part))
            return &peer->reports[i];
    return NULL;
}

const struct peer_request *peer_closed(const struct peer *peer, int32_t stream_id)
{
    for (size_t i = 0; i < peer->request_count; i++)
        if (peer->requests[i].stream_id == stream_id)
            return &peer->requests[i];
    return NULL;
}

/* Every response has these six fields, :status first, and no other. */
static void check_fields(const struct peer_response *response, int status, const char *type,
                         size_t length)
{
    char date[CLOCK_HTTP_DATE_SIZE];
    char number[24];

    clock_http_date(response->unix_s, date);
    assert_int_equal(response->status, status);
    assert_int_equal(response->field_count, 6);
    assert_string_equal(peer_field(response, "server"), "h2echod/" H2ECHOD_VERSION);
    assert_string_equal(peer_field(response, "date"), date);
    assert_string_equal(peer_field(response, "content-type"), type);
    assert_string_equal(peer_field(response, "cache-control"), "no-store");
    snprintf(number, sizeof(number), "%zu", length);
    assert_string_equal(peer_field(response, "content-length"), number);
}

void peer_check_answer(const struct peer *peer, int32_t stream_id, const void *body, size_t length)
{
    const struct peer_response *response = peer_response(peer, stream_id);

    check_fields(response, 200, "application/json", length);
    assert_int_equal(response->body.length, length);
    assert_memory_equal(response->body.data, body, length);
    assert_true(response->ended);
    assert_false(response->reset);
}

void peer_check_get(const struct peer *peer, int32_t stream_id, const char *path)
{
    char body[256];
    int length = snprintf(body, sizeof(body),
                          "{\":method\": \"GET\", \":path\": \"%s\", \":scheme\": \"http\", "
                          "\":authority\": \"h\"}",
                          path);

    assert_true(length > 0 && (size_t)length < sizeof(body));
    peer_check_answer(peer, stream_id, body, (size_t)length);
}

void peer_check_refused(const struct peer *peer, int32_t stream_id, int status)
{
    const struct peer_response *response = peer_response(peer, stream_id);

    check_fields(response, status, "text/plain; charset=utf-8", response->body.length);
    assert_true(response->body.length > 1);
    assert_ptr_equal(memchr(response->body.data, '\n', response->body.length),
                     response->body.data + response->body.length - 1);
    assert_true(response->ended);
}

void peer_check_reset(const struct peer *peer, int32_t stream_id, uint32_t code)
{
    const struct peer_response *response = peer_response(peer, stream_id);

    assert_true(response->reset);
    assert_int_equal(response->reset_code, code);
    assert_int_equal(response->status, 0);
}

void peer_check_ended(const struct peer *peer, uint32_t code)
{
    assert_int_equal(peer->goaway_count, 1);
    assert_int_equal(peer->goaways[0].code, code);
    assert_int_equal(peer->last_frame_type, NGHTTP2_GOAWAY);
    assert_true(session_done(peer->session));
    assert_true(session_failed(peer->session));
}
