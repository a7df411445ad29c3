/*
 * The session and its peer: create both, pass bytes between them, let time pass.
 */
#include "session/peer_internal.h"

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

const struct peer_transfer peer_whole = {SPLIT_NONE, FRAME_PAYLOAD_MAX};

const struct peer_transfer peer_transfers[PEER_TRANSFERS] = {
    {SPLIT_NONE, 16384},   {SPLIT_NONE, 100},   {SPLIT_NONE, 9},   {SPLIT_NONE, 1},
    {SPLIT_RANDOM, 16384}, {SPLIT_RANDOM, 100}, {SPLIT_RANDOM, 9}, {SPLIT_RANDOM, 1},
    {SPLIT_BYTES, 16384},  {SPLIT_BYTES, 100},  {SPLIT_BYTES, 9},  {SPLIT_BYTES, 1},
};

static const struct instant start_of_test = {.monotonic_us = 5000 * SECOND, .unix_s = 784111777};

/* --- The observer --- */

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

    peer->requests = list_grow(peer->requests, peer->request_count, sizeof(*peer->requests));
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

/* As a worker provides it. In builds with sanitizers, arenas have no memory of their own. */
static void start_arenas(struct peer *peer)
{
    if (ARENA_SIZE == 0)
        return;
    peer->arena_memory = checked_realloc(NULL, 2 * ARENA_SIZE);
    memset(peer->arena_memory, 0, 2 * ARENA_SIZE);
    arena_start(&peer->lasting, peer->arena_memory, ARENA_SIZE);
    arena_start(&peer->passing, peer->arena_memory + ARENA_SIZE, ARENA_SIZE);
}

struct peer *peer_new_without_session(void)
{
    struct peer *peer = checked_realloc(NULL, sizeof(*peer));

    *peer = (struct peer){.now = start_of_test,
                          .answers_pings = true,
                          .opens_windows = true,
                          .seed = UINT64_C(0x9e3779b97f4a7c15)};
    assert_int_equal(nghttp2_hd_inflate_new(&peer->inflater), 0);
    return peer;
}

static const struct peer_transfer *current_transfer; /* of the newest peer; NULL when it is freed */

struct peer *peer_new(const struct session_options *options, struct peer_transfer transfer)
{
    struct peer *peer = peer_new_without_session();
    struct session_observer observer = {
        .report = on_report, .request = on_request, .describe = on_describe, .argument = peer};

    peer->transfer = transfer;
    current_transfer = &peer->transfer;
    peer->buffer = checked_realloc(NULL, transfer.buffer);
    start_arenas(peer);
    peer->session =
        session_new(options, &observer, &peer->counters,
                    &(struct session_memory){&peer->lasting, &peer->passing}, peer->now);
    assert_non_null(peer->session);
    return peer;
}

void peer_free(struct peer *peer)
{
    current_transfer = NULL;
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

static void read_output(struct peer *peer)
{
    size_t length;

    while ((length = session_send(peer->session, peer->now, peer->buffer, peer->transfer.buffer)) >
           0) {
        assert_true(length <= peer->transfer.buffer);
        peer_receive(peer, peer->buffer, length);
        peer_client_receive(peer, peer->buffer, length);
    }
    assert_int_equal(session_send(peer->session, peer->now, peer->buffer, peer->transfer.buffer),
                     0);
    assert_int_equal(peer->in.length, 0); /* no frame is incomplete */
    peer_client_send(peer);
}

/* The server's SETTINGS are received first, so that their acknowledgement comes before what a test
 * adds. */
struct peer *peer_open(const struct session_options *options, struct peer_transfer transfer)
{
    struct peer *peer = peer_new(options, transfer);

    read_output(peer);
    assert_int_equal(peer->settings_count, 1);
    frame_add_preface(&peer->out);
    frame_add(&peer->out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    return peer;
}

void peer_run(struct peer *peer, peer_script *script)
{
    script(peer);
    assert_int_equal(peer->goaway_count, 0);
    assert_false(session_failed(peer->session));
    peer_free(peer);
}

void peer_run_each(peer_script *script, const struct session_options *options)
{
    for (size_t i = 0; i < PEER_TRANSFERS; i++)
        peer_run(peer_open(options, peer_transfers[i]), script);
}

int peer_print_transfer(void **state)
{
    static const char *const feeds[] = {
        [SPLIT_NONE] = "whole", [SPLIT_BYTES] = "byte by byte", [SPLIT_RANDOM] = "cut at random"};

    (void)state;
    if (current_transfer != NULL)
        print_error("the bytes came %s; session_send had %zu bytes\n",
                    feeds[current_transfer->split], current_transfer->buffer);
    current_transfer = NULL;
    return 0;
}

/* Each piece is in a heap block of its own, so that sanitizers and valgrind notice reading past its
 * end. */
static void deliver_piece(struct peer *peer)
{
    size_t length = peer->out.length - peer->out_given;
    uint8_t *piece;

    if (peer->transfer.split == SPLIT_BYTES)
        length = 1;
    else if (peer->transfer.split == SPLIT_RANDOM)
        length = min_size(length, 1 + peer_random(&peer->seed) % 50);
    piece = checked_realloc(NULL, length);
    memcpy(piece, peer->out.data + peer->out_given, length);
    peer->out_given += session_receive(peer->session, peer->now, piece, length);
    free(piece);
}

void peer_add_post(struct peer *peer, int32_t stream_id)
{
    static const struct field post[] = {REQUEST_OF("POST", "/")};

    frame_add_request(&peer->out, stream_id, 0, post, COUNT(post));
}

void peer_add_end(struct peer *peer, int32_t stream_id)
{
    frame_add(&peer->out, NGHTTP2_DATA, END_STREAM, stream_id, "end", 3);
}

void peer_pump(struct peer *peer)
{
    read_output(peer);
    while (peer->out_given < peer->out.length && !session_done(peer->session)) {
        deliver_piece(peer);
        read_output(peer);
    }
    peer->out.length = 0;
    peer->out_given = 0;
    assert_false(peer->client_found_error);
}

void peer_wait(struct peer *peer, int64_t us)
{
    peer->now.monotonic_us += us;
    peer->now.unix_s =
        start_of_test.unix_s + (peer->now.monotonic_us - start_of_test.monotonic_us) / SECOND;
    session_expire(peer->session, peer->now);
    peer_pump(peer);
}
