#include "conn/connection.h"

#include "base/wire.h"
#include "conn/access_log.h"
#include "conn/negotiate.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    IDLE_US = 1000000,  /* how long nothing must be received before idle memory is released */
    STACK_IN_USE = 256, /* bytes below its own frame that release_idle_memory uses itself */
    HEAP_DIRTY_BYTES = 128 * 1024, /* that arenas took from malloc: malloc_trim is worthwhile */
};

/* --- The session's observer ---------------------------------------------------------------- */

static void on_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    const struct conn_io *io = argument;

    if (stream_id == 0)
        conn_log(io, level, text);
    else
        conn_log_stream(io, level, stream_id, text);
}

static void on_request(const struct session_request *request, void *argument)
{
    const struct conn_io *io = argument;
    char peer[ADDRESS_TEXT_MAX];
    struct access_log_origin origin = {.connection = io->connection->id,
                                       .peer = address_text(peer, &io->connection->peer),
                                       .protocol = io->protocol};
    /* Not io->now: most requests are answered in the turn in which they were received. */
    struct instant now = clock_now();

    if (io->connection->settings->access_log == ACCESS_LOG_JSON)
        access_log_json(&origin, request, now);
    else
        access_log_text(&origin, request, now);
}

static void on_describe(struct detail_origin *origin, void *argument)
{
    _Static_assert((int)DETAIL_ADDRESS_MAX >= (int)ADDRESS_TEXT_MAX, "an address does not fit");
    const struct conn_io *io = argument;
    struct address local;

    conn_io_local_address(io, &local);
    origin->id = io->connection->id;
    origin->protocol = io->protocol;
    origin->has_tls = io->transport.tls != NULL;
    if (origin->has_tls)
        tls_describe(io->transport.tls, &origin->tls);
    address_text(origin->peer, &io->connection->peer);
    address_text(origin->local, &local);
}

static void on_trace(const char *line, void *argument)
{
    const struct conn_io *io = argument;

    log_write_trace("connection %llu %s", (unsigned long long)io->connection->id, line);
}

/* --- HTTP/2 -------------------------------------------------------------------------------- */

/* Send everything that the session has ready. */
static void send_pending(struct conn_io *io)
{
    struct connection_workspace *workspace = io->workspace;
    size_t length;

    while (conn_is_open(io) && (length = session_send(io->session, io->now, workspace->output,
                                                      CONNECTION_BUFFER_SIZE)) > 0) {
        if (io->trace != NULL)
            trace_bytes(io->trace, TRACE_SENT, workspace->output, length);
        conn_io_write(io, workspace->output, length);
    }
}

/* An arena that is full uses malloc. After such blocks are freed, malloc may keep much memory,
 * since one small block in use at the end of its heap is enough for that; a hostile client could
 * cause it on purpose. So ask the accept loop to call malloc_trim. */
static void mark_heap_dirty(struct connection_workspace *workspace)
{
    if (workspace->lasting.overflow_bytes + workspace->passing.overflow_bytes < HEAP_DIRTY_BYTES)
        return;
    workspace->lasting.overflow_bytes = workspace->passing.overflow_bytes = 0;
    atomic_store_explicit(&workspace->watch.heap_dirty, true, memory_order_relaxed);
}

/* Give back the pages that a connection needs only while it is busy: its buffers, free parts of its
 * arenas, and the stack below this frame. Their contents are lost, and no longer needed; the kernel
 * supplies new pages when they are used again. Not inlined, so that __builtin_frame_address returns
 * a small frame, with little of the stack below it in use. */
__attribute__((noinline)) static void release_idle_memory(struct conn_io *io)
{
    struct connection_workspace *workspace = io->workspace;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t top = ((uintptr_t)__builtin_frame_address(0) - STACK_IN_USE) & ~(page - 1);

    (void)madvise(workspace->input, CONNECTION_BUFFER_SIZE, MADV_DONTNEED);
    (void)madvise(workspace->output, CONNECTION_BUFFER_SIZE, MADV_DONTNEED);
    session_release_idle_memory(io->session);
    arena_release_idle_memory(&workspace->lasting);
    arena_release_idle_memory(&workspace->passing);
    mark_heap_dirty(workspace);
    if (transport_release_idle_memory(&io->transport))
        atomic_store_explicit(&workspace->watch.heap_dirty, true, memory_order_relaxed);
    if (top > (uintptr_t)workspace->stack)
        (void)madvise(workspace->stack, top - (uintptr_t)workspace->stack, MADV_DONTNEED);
    io->release_us = INSTANT_NEVER;
}

/* The session has received nothing for IDLE_US. TLS may still be busy, since a client can send
 * KeyUpdates all the time: then try again later. */
static void release_if_idle(struct conn_io *io)
{
    if (!transport_awaits_bytes(&io->transport)) {
        io->release_us = io->now.monotonic_us + IDLE_US;
        return;
    }
    conn_log(io, LOG_LEVEL_DEBUG, "idle: memory released");
    release_idle_memory(io);
}

/* Start the trace if the settings ask for one; its first line names the client. Return false if
 * memory ran out. */
__attribute__((noinline)) static bool open_trace(struct conn_io *io)
{
    uint64_t wanted = io->connection->settings->trace;
    const struct trace_options options = {
        .fields = wanted == TRACE_FIELDS,
        .colours = log_has_colours(),
    };
    char peer[ADDRESS_TEXT_MAX];

    if (wanted == TRACE_OFF)
        return true;
    io->trace = trace_new(&options, on_trace, io);
    if (io->trace == NULL)
        return false;
    log_write_trace("connection %llu from %s: frames follow",
                    (unsigned long long)io->connection->id,
                    address_text(peer, &io->connection->peer));
    return true;
}

static void open_session(struct conn_io *io, bool upgraded)
{
    const struct settings *settings = io->connection->settings;
    struct session_options options = {
        .max_concurrent_streams = (uint32_t)settings->max_concurrent_streams,
        .max_header_list_size = (uint32_t)settings->max_header_list_size,
        .header_timeout_us = clock_us(settings->header_timeout),
        .idle_timeout_us = clock_us(settings->idle_timeout),
        .stream_timeout_us = clock_us(settings->stream_timeout),
        .pretty = settings->pretty,
        .upgraded = upgraded,
    };
    struct session_observer observer = {
        .report = on_report,
        .request = settings->access_log != ACCESS_LOG_OFF ? on_request : NULL,
        .describe = on_describe,
        .argument = io,
    };
    struct session_memory memory = {&io->workspace->lasting, &io->workspace->passing};
    struct instant accepted = {.monotonic_us = io->accepted_us, .unix_s = io->now.unix_s};

    io->session = session_new(&options, &observer, &io->workspace->counters, &memory, accepted);
    if (io->session == NULL || !open_trace(io))
        io->ending = ENDING_NO_MEMORY;
}

/* The end of each turn: act on deadlines and the shutdown, and send what is ready. Return false if
 * the connection has ended. */
static inline bool end_turn(struct conn_io *io)
{
    conn_check_events(io);
    send_pending(io);
    if (conn_is_open(io) && session_done(io->session))
        io->ending = ENDING_COMPLETE;
    return conn_is_open(io);
}

/* Pass what was read to the session. It usually takes everything at once; where it stops earlier, a
 * turn ends. Return false if that was the last turn. */
static inline bool receive_input(struct conn_io *io, size_t length)
{
    const uint8_t *input = io->workspace->input;
    size_t taken = session_receive(io->session, io->now, input, length);

    while (taken < length) {
        if (!end_turn(io))
            return false;
        taken += session_receive(io->session, io->now, input + taken, length - taken);
    }
    return true;
}

/* Serve HTTP/2 until the connection ends, starting with ${length} bytes in the input buffer. A turn
 * is one read, one look at the clock, and usually one write. */
static void serve_http2(struct conn_io *io, size_t length)
{
    struct connection_workspace *workspace = io->workspace;

    for (;;) {
        if (length > 0) {
            if (io->trace != NULL)
                trace_bytes(io->trace, TRACE_RECEIVED, workspace->input, length);
            if (!receive_input(io, length))
                return;
            io->release_us = io->now.monotonic_us + IDLE_US;
        }
        if (!end_turn(io))
            return;
        if (io->now.monotonic_us >= io->release_us)
            release_if_idle(io);
        length = conn_io_read(io, workspace->input, CONNECTION_BUFFER_SIZE,
                              clock_earlier(session_deadline(io->session), io->release_us));
        /* If the client closed the connection, it has its answers: each turn sends all it can. */
        if (!conn_is_open(io))
            return;
    }
}

/* --- Refusing a connection with GOAWAY ----------------------------------------------------- */

__attribute__((noinline)) static void log_unknown(const struct conn_io *io, size_t length)
{
    enum { SHOWN = 32 };
    char shown[4 * SHOWN + 8];
    char text[sizeof(shown) + 64];

    log_escape(shown, sizeof(shown), io->workspace->input, length < SHOWN ? length : SHOWN);
    snprintf(text, sizeof(text), "not an HTTP/2 preface: \"%s\"%s (RFC 9113 section 3.4)", shown,
             length > SHOWN ? "..." : "");
    conn_log(io, LOG_LEVEL_NOTICE, text);
}

/* Send GOAWAY with ${error} and ${reason}, starting a session for it if there is none. */
static void close_with_goaway(struct conn_io *io, enum session_error error, const char *reason)
{
    if (io->session == NULL)
        open_session(io, false);
    if (io->session == NULL)
        return;
    session_fail(io->session, error, reason);
    send_pending(io);
}

static void refuse_unknown(struct conn_io *io, size_t length)
{
    log_unknown(io, length);
    close_with_goaway(io, SESSION_PROTOCOL_ERROR, "not an HTTP/2 preface");
}

static bool is_tls_missing(const struct conn_io *io)
{
    return io->connection->is_tls && io->transport.tls == NULL;
}

static void refuse_weak_tls(struct conn_io *io, const char *weakness)
{
    char text[128];

    snprintf(text, sizeof(text), "TLS is too weak: %s", weakness);
    conn_log(io, LOG_LEVEL_NOTICE, text);
    close_with_goaway(io, SESSION_INADEQUATE_SECURITY, weakness);
}

static void start_http2(struct conn_io *io, size_t length)
{
    const char *weakness = io->transport.tls != NULL ? tls_weakness(io->transport.tls) : NULL;

    if (weakness != NULL) {
        refuse_weak_tls(io, weakness);
        return;
    }
    if (is_tls_missing(io)) {
        conn_log(io, LOG_LEVEL_NOTICE,
                 "HTTP/2 without TLS on a TLS port: use https://, not http://");
        close_with_goaway(io, SESSION_PROTOCOL_ERROR, "this port requires TLS");
        return;
    }
    open_session(io, false);
    if (conn_is_open(io))
        serve_http2(io, length);
}

/* --- The Upgrade from HTTP/1.1 ------------------------------------------------------------- */

static void trace_heads(const struct conn_io *io, const struct upgrade *upgrade)
{
    if (io->trace == NULL)
        return;
    trace_head(io->trace, TRACE_RECEIVED, io->workspace->input, upgrade->length);
    trace_head(io->trace, TRACE_SENT, (const uint8_t *)upgrade_accepted, strlen(upgrade_accepted));
}

/* Read the head of the request and start HTTP/2 with it as stream 1. Not inlined: a struct upgrade
 * takes more than a page of stack. Return false if the request is refused or the connection has
 * ended. */
__attribute__((noinline)) static bool start_upgraded(struct conn_io *io, size_t *length)
{
    _Static_assert((int)UPGRADE_HTTP2_MAX <= (int)CONNECTION_BUFFER_SIZE, "a head does not fit");
    struct connection_workspace *workspace = io->workspace;
    struct upgrade upgrade;

    if (!negotiate_read_head(io, &upgrade, length))
        return false;
    io->protocol = "h2c by upgrade";
    open_session(io, true);
    if (!conn_is_open(io))
        return false;
    trace_heads(io, &upgrade);
    session_upgrade(io->session, io->now, workspace->output,
                    upgrade_translate(&upgrade, workspace->output));
    *length -= upgrade.length;
    memmove(workspace->input, workspace->input + upgrade.length, *length);
    conn_io_write(io, (const uint8_t *)upgrade_accepted, strlen(upgrade_accepted));
    return conn_is_open(io);
}

/* Read the client's preface, which follows the upgraded request, while its answer is being sent.
 * Remove it from the ${length} bytes of input. Return false if something else was received, or the
 * connection has ended. */
static bool take_preface(struct conn_io *io, size_t *length)
{
    struct connection_workspace *workspace = io->workspace;
    enum sniffed preface = SNIFFED_INCOMPLETE;

    while (end_turn(io)) {
        preface = sniff_protocol(workspace->input, *length);
        if (preface != SNIFFED_INCOMPLETE || *length >= WIRE_PREFACE_SIZE)
            break;
        *length += conn_io_read(io, workspace->input + *length, CONNECTION_BUFFER_SIZE - *length,
                                session_deadline(io->session));
        if (!conn_is_open(io))
            return false;
    }
    if (conn_is_open(io) && preface != SNIFFED_HTTP2)
        refuse_unknown(io, *length);
    if (!conn_is_open(io) || preface != SNIFFED_HTTP2)
        return false;
    if (io->trace != NULL)
        trace_bytes(io->trace, TRACE_RECEIVED, workspace->input, WIRE_PREFACE_SIZE);
    *length -= WIRE_PREFACE_SIZE;
    memmove(workspace->input, workspace->input + WIRE_PREFACE_SIZE, *length);
    io->release_us = io->now.monotonic_us + IDLE_US;
    return true;
}

static void serve_http1(struct conn_io *io, size_t length)
{
    static const struct http1_refusal http2_only = {
        505, "this port speaks only HTTP/2 (RFC 9110 section 15.6.6)"};
    static const struct http1_refusal http2_over_tls_only = {
        505, "this port speaks only HTTP/2 over TLS (RFC 9110 section 15.6.6)"};

    if (io->connection->is_tls)
        negotiate_refuse_http1(io, length, &http2_over_tls_only);
    else if (!io->connection->settings->upgrade)
        negotiate_refuse_http1(io, length, &http2_only);
    else if (start_upgraded(io, &length) && take_preface(io, &length))
        serve_http2(io, length);
}

/* --- From start to end --------------------------------------------------------------------- */

static void log_ending(const struct conn_io *io)
{
    static const struct {
        enum log_level level;
        const char *text;
    } endings[] = {
        [ENDING_COMPLETE] = {LOG_LEVEL_DEBUG, "closed: done"},
        [ENDING_NO_PREFACE] = {LOG_LEVEL_DEBUG, "closed: no request"},
        [ENDING_PEER_CLOSED] = {LOG_LEVEL_DEBUG, "closed: by the peer"},
        [ENDING_RESET] = {LOG_LEVEL_DEBUG, "closed: reset by the peer or the network"},
        [ENDING_TLS_ERROR] = {LOG_LEVEL_DEBUG, "closed: TLS error"},
        [ENDING_WRITE_TIMEOUT] = {LOG_LEVEL_NOTICE, "write-timeout: peer is not reading"},
        [ENDING_ABORTED] = {LOG_LEVEL_NOTICE, "aborted: drain timeout"},
        [ENDING_NO_MEMORY] = {LOG_LEVEL_ERROR, "closed: out of memory"},
    };

    conn_log(io, endings[io->ending].level, endings[io->ending].text);
}

static void serve(struct conn_io *io)
{
    size_t length;

    if (io->connection->is_tls)
        negotiate_tls(io);
    if (!conn_is_open(io))
        return;
    switch (negotiate_protocol(io, &length)) {
    case SNIFFED_HTTP2:
        start_http2(io, length);
        break;
    case SNIFFED_HTTP1:
        serve_http1(io, length);
        break;
    case SNIFFED_TLS:
        negotiate_send_tls_alert(io);
        break;
    case SNIFFED_UNKNOWN:
        refuse_unknown(io, length);
        break;
    case SNIFFED_INCOMPLETE:
        return;
    }
    if (conn_is_open(io))
        io->ending = ENDING_COMPLETE;
}

/* Free what the connection used, log how it ended, and close the socket. */
static void finish(struct conn_io *io)
{
    struct connection_workspace *workspace = io->workspace;

    session_free(io->session);
    io->session = NULL;
    trace_end(io->trace);
    arena_clear(&workspace->lasting);
    arena_clear(&workspace->passing);
    mark_heap_dirty(workspace);
    if (io->ending == ENDING_TLS_ERROR)
        transport_drop_tls(&io->transport);
    if (io->ending == ENDING_COMPLETE || io->ending == ENDING_TLS_ERROR)
        conn_io_linger(io);
    if (io->ending == ENDING_WRITE_TIMEOUT)
        counter_add(&workspace->counters.timed_out, 1);
    log_ending(io);
    conn_io_set_deadline(io, INSTANT_NEVER);
    if (io->ending == ENDING_WRITE_TIMEOUT || io->ending == ENDING_ABORTED)
        transport_abort(&io->transport);
    else
        transport_close(&io->transport);
}

void connection_serve(struct connection *connection, struct connection_workspace *workspace)
{
    struct conn_io io = {
        .connection = connection,
        .workspace = workspace,
        .protocol = "h2c",
        .now = clock_now(),
    };

    io.accepted_us = io.now.monotonic_us;
    transport_open(&io.transport, connection->fd);
    connection->fd = -1;
    conn_log(&io, LOG_LEVEL_DEBUG, "open");
    serve(&io);
    finish(&io);
    settings_unref(connection->settings);
    connection->settings = NULL;
}
