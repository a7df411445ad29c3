/*
 * session_nghttp2: create nghttp2's session, with our callbacks, options, allocator and SETTINGS.
 */
#include "http2/session_internal.h"

#include "base/arena.h"
#include "detected.h"

#include <string.h>

enum {
    RECEIVE_WINDOW = 1 << 20
}; /* bytes; content is dropped at once, so a window costs nothing */

static nghttp2_session_callbacks *callbacks_new(bool upgraded)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    session_set_receive_callbacks(callbacks, upgraded);
    malformed_set_callbacks(callbacks);
    session_set_send_callbacks(callbacks, upgraded);
    return callbacks;
}

/* session_limits.c bounds floods. nghttp2's own limits, different in each version, are switched off
 * or set so that ours come first. */
static nghttp2_option *option_new(void)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_max_outbound_ack(option, SESSION_FRAMES_BURST);
#ifdef HAVE_NGHTTP2_OPTION_SET_STREAM_RESET_RATE_LIMIT /* 1.57 */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
#endif
#ifdef HAVE_NGHTTP2_OPTION_SET_MAX_CONTINUATIONS /* 1.61 */
    /* It counts calls of nghttp2_session_mem_recv: a legal block in small pieces would exceed it.
     */
    nghttp2_option_set_max_continuations(option, SIZE_MAX);
#endif
#ifdef HAVE_NGHTTP2_OPTION_SET_GLITCH_RATE_LIMIT /* 1.67 */
    /* Its default is 1000 frames, of which we allow SESSION_FRAMES_BURST. */
    nghttp2_option_set_glitch_rate_limit(option, UINT32_MAX, UINT32_MAX);
#endif
    nghttp2_option_set_no_closed_streams(option, 1);
    return option;
}

/* --- The allocator --- */

/* nghttp2 does not always report that memory ran out. For example, DATA on stream 0 calls for a
 * GOAWAY; if that cannot be allocated, nghttp2 silently drops everything that follows. So a failed
 * allocation is noted here, and session_recv.c ends the connection. */
static void *check_allocation(struct session *session, void *block)
{
    if (block == NULL)
        session->heap.alloc_failed = true;
    return block;
}

static void *heap_malloc(size_t size, void *user_data)
{
    struct session *session = user_data;

    return check_allocation(session, arena_allocate(session->memory.lasting, size));
}

static void *heap_calloc(size_t count, size_t size, void *user_data)
{
    struct session *session = user_data;

    return check_allocation(session, arena_allocate_zeroed(session->memory.lasting, count, size));
}

static void *heap_realloc(void *old, size_t size, void *user_data)
{
    struct session *session = user_data;

    return check_allocation(session, arena_resize(session->memory.lasting, old, size));
}

/* When an allocation fails in nghttp2_submit_data, nghttp2 1.52 frees an item and frees it again
 * with the session. So the first block freed after a failed allocation is kept until it is freed a
 * second time, or until the session is freed. */
static void heap_free(void *block, void *user_data)
{
    struct session *session = user_data;
    struct session_heap *heap = &session->heap;

    if (block != NULL && heap->alloc_failed && !heap->has_deferred) {
        heap->has_deferred = true;
        heap->deferred_free = block;
        return;
    }
    if (block == heap->deferred_free)
        heap->deferred_free = NULL;
    arena_free(session->memory.lasting, block);
}

/* --- The session and its SETTINGS --- */

static int server_new(struct session *session)
{
    nghttp2_mem memory = {session, heap_malloc, heap_free, heap_calloc, heap_realloc};
    nghttp2_session_callbacks *callbacks = callbacks_new(session->options.upgraded);
    nghttp2_option *option = option_new();
    int result = NGHTTP2_ERR_NOMEM;

    if (callbacks != NULL && option != NULL)
        result =
            nghttp2_session_server_new3(&session->nghttp2, callbacks, session, option, &memory);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return result;
}

/* Take our SETTINGS from nghttp2 and remove the last entry, which is meant for nghttp2 alone: with
 * it, every version orders the DATA of several responses as RFC 9218 says, as 1.70 always does. The
 * client need not know (RFC 9113 section 5.3.2). */
static int queue_settings(struct session *session)
{
    struct session_output *out = &session->out;
    struct frame_header frame;
    const uint8_t *bytes;
    ssize_t length = nghttp2_session_mem_send(session->nghttp2, &bytes);

    if (length != (ssize_t)sizeof(out->settings) + WIRE_SETTING_SIZE)
        return length < 0 ? (int)length : NGHTTP2_ERR_INVALID_STATE;
    memcpy(out->settings, bytes, sizeof(out->settings));
    frame = frame_header_parse(out->settings);
    frame.length -= WIRE_SETTING_SIZE;
    frame_header_write(out->settings, &frame);
    out->pending = out->settings;
    out->pending_length = sizeof(out->settings);
    return 0;
}

static int submit_settings(struct session *session)
{
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, session->options.max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, RECEIVE_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, session->options.max_header_list_size},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    _Static_assert(COUNT_OF(entries) == SESSION_SETTINGS_SENT + 1, "queue_settings removes one");

    return nghttp2_submit_settings(session->nghttp2, NGHTTP2_FLAG_NONE, entries, COUNT_OF(entries));
}

int session_open_nghttp2(struct session *session)
{
    int result = server_new(session);

    if (result == 0)
        result = submit_settings(session);
    if (result == 0)
        result = queue_settings(session);
    if (result == 0)
        result = nghttp2_session_set_local_window_size(session->nghttp2, NGHTTP2_FLAG_NONE, 0,
                                                       RECEIVE_WINDOW);
    return result;
}
