#include "http2/session_internal.h"

#include "base/arena.h"
#include "base/wire.h"
#include "detected.h"

#include <string.h>

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

/* Floods are bounded here, in the same way whatever nghttp2's version: its own bounds, of which
 * each version has others, are to act after ours or not at all. */
static nghttp2_option *option_new(void)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_max_outbound_ack(option, FRAMES_BURST);
#ifdef HAVE_NGHTTP2_OPTION_SET_STREAM_RESET_RATE_LIMIT /* 1.57 */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
#endif
#ifdef HAVE_NGHTTP2_OPTION_SET_MAX_CONTINUATIONS /* 1.61 */
    /* It counts calls of mem_recv, so a legal block that comes in crumbs would die of it. */
    nghttp2_option_set_max_continuations(option, SIZE_MAX);
#endif
#ifdef HAVE_NGHTTP2_OPTION_SET_GLITCH_RATE_LIMIT /* 1.67 */
    /* At first it stopped at 1000 of the frames of which FRAMES_BURST are allowed. */
    nghttp2_option_set_glitch_rate_limit(option, UINT32_MAX, UINT32_MAX);
#endif
    nghttp2_option_set_no_closed_streams(option, 1);
    return option;
}

/* nghttp2 does not always tell that memory ran out: where it fails to make the GOAWAY that DATA on
 * stream 0 calls for, say, it reads on in silence and drops everything. So its memory is watched.
 */

static void *watched(struct session *session, void *block)
{
    if (block == NULL)
        session->starved = true;
    return block;
}

static void *watched_malloc(size_t size, void *user_data)
{
    struct session *session = user_data;

    return watched(session, arena_allocate(session->memory.lasting, size));
}

static void *watched_calloc(size_t count, size_t size, void *user_data)
{
    struct session *session = user_data;

    return watched(session, arena_allocate_zeroed(session->memory.lasting, count, size));
}

static void *watched_realloc(void *old, size_t size, void *user_data)
{
    struct session *session = user_data;

    return watched(session, arena_resize(session->memory.lasting, old, size));
}

/* For want of memory in nghttp2_submit_data, 1.52 frees an item that it frees once more with its
 * session. So the first block that is freed after an allocation failed stays until it is freed
 * again, or until the session has been. */
static void watched_free(void *block, void *user_data)
{
    struct session *session = user_data;

    if (block != NULL && session->starved && !session->has_spared) {
        session->has_spared = true;
        session->spared = block;
        return;
    }
    if (block == session->spared)
        session->spared = NULL;
    arena_free(session->memory.lasting, block);
}

int session_open_nghttp2(struct session *session)
{
    nghttp2_mem memory = {session, watched_malloc, watched_free, watched_calloc, watched_realloc};
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

/* Take our SETTINGS from nghttp2, to be sent without the last entry, which is for nghttp2 itself:
 * with it, all versions share the connection out among the responses as RFC 9218 has it, which
 * nghttp2 1.70 does anyway. Clients need not be told (RFC 9113 section 5.3.2). */
static int take_opening(struct session *session)
{
    struct frame_header frame;
    const uint8_t *bytes;
    ssize_t length = nghttp2_session_mem_send(session->nghttp2, &bytes);

    if (length != (ssize_t)sizeof(session->opening) + WIRE_SETTING_SIZE)
        return length < 0 ? (int)length : NGHTTP2_ERR_INVALID_STATE;
    memcpy(session->opening, bytes, sizeof(session->opening));
    frame = frame_header_parse(session->opening);
    frame.length -= WIRE_SETTING_SIZE;
    frame_header_write(session->opening, &frame);
    session->pending = session->opening;
    session->pending_length = sizeof(session->opening);
    return 0;
}

int session_submit_settings(struct session *session)
{
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, session->options.max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, RECEIVE_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, session->options.max_header_list_size},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    int result = nghttp2_submit_settings(session->nghttp2, NGHTTP2_FLAG_NONE, entries,
                                         sizeof(entries) / sizeof(entries[0]));

    if (result == 0)
        result = take_opening(session);
    if (result != 0)
        return result;
    return nghttp2_session_set_local_window_size(session->nghttp2, NGHTTP2_FLAG_NONE, 0,
                                                 RECEIVE_WINDOW);
}
