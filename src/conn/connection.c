#include "conn/connection.h"

#include "base/wire.h"
#include "conn/access_log.h"
#include "conn/negotiate.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    REST_US = 1000000, /* how long nothing has to come for a connection to give memory back */
    REST_FRAMES = 512, /* bytes of stack that giving it back takes itself */
};

/* --- Telling ------------------------------------------------------------------------------- */

static void on_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    const struct conn_io *io = argument;
    char peer[ADDRESS_TEXT_MAX];

    if (stream_id == 0)
        conn_log(io, level, text);
    else if (log_enabled(level))
        log_write_limited(level, "connection %llu from %s stream %d: %s",
                          (unsigned long long)io->connection->id,
                          address_text(peer, &io->connection->peer), stream_id, text);
}

static void on_request(const struct session_request *request, void *argument)
{
    const struct conn_io *io = argument;
    char peer[ADDRESS_TEXT_MAX];
    struct access_log_origin origin = {.connection = io->connection->id,
                                       .peer = address_text(peer, &io->connection->peer),
                                       .protocol = io->protocol};
    /* Not the turn's: most requests are answered in the turn that they came in. */
    struct instant now = clock_now();

    if (io->connection->settings->access_log == ACCESS_LOG_JSON)
        access_log_json(&origin, request, now);
    else
        access_log_text(&origin, request, now);
}

static void on_describe(struct detail_origin *origin, void *argument)
{
    _Static_assert((int)DETAIL_ADDRESS_MAX >= (int)ADDRESS_TEXT_MAX, "an address is cut");
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

    log_trace("connection %llu %s", (unsigned long long)io->connection->id, line);
}

static void tell_ending(const struct conn_io *io)
{
    static const struct {
        enum log_level level;
        const char *words;
    } endings[] = {
        [ENDING_COMPLETE] = {LOG_LEVEL_DEBUG, "closed: done"},
        [ENDING_NO_PREFACE] = {LOG_LEVEL_DEBUG, "closed: nothing was asked"},
        [ENDING_PEER_CLOSED] = {LOG_LEVEL_DEBUG, "closed: by the peer"},
        [ENDING_RESET] = {LOG_LEVEL_DEBUG, "closed: reset by the peer or the network"},
        [ENDING_TLS_ERROR] = {LOG_LEVEL_DEBUG, "closed: TLS is broken"},
        [ENDING_WRITE_TIMEOUT] = {LOG_LEVEL_NOTICE, "write-timeout: the peer takes nothing"},
        [ENDING_ABORTED] = {LOG_LEVEL_NOTICE, "cut: the daemon stops"},
        [ENDING_NO_MEMORY] = {LOG_LEVEL_ERROR, "closed: out of memory"},
    };

    conn_log(io, endings[io->ending].level, endings[io->ending].words);
}

/* --- HTTP/2 -------------------------------------------------------------------------------- */

/* Send all that the session has to say. */
static void flush(struct conn_io *io)
{
    struct connection_workspace *workspace = io->workspace;
    size_t length;

    while (io->ending == ENDING_NONE &&
           (length = session_send(io->session, io->now, workspace->output,
                                  CONNECTION_BUFFER_SIZE)) > 0) {
        if (io->trace != NULL)
            trace_bytes(io->trace, TRACE_SENT, workspace->output, length);
        conn_io_write(io, workspace->output, length);
    }
}

/* Of what did not fit into the arenas malloc may keep much, if one small block behind it is still
 * in use: a hostile client would leave it megabytes. */
static void note_overflow(struct connection_workspace *workspace)
{
    enum { WORTH_IT = 128 * 1024 };

    if (workspace->lasting.overflow_bytes + workspace->passing.overflow_bytes < WORTH_IT)
        return;
    workspace->lasting.overflow_bytes = workspace->passing.overflow_bytes = 0;
    atomic_store_explicit(&workspace->watch.heap_dirty, true, memory_order_relaxed);
}

/* Give back the pages that a connection needs only while it works: its buffers, and the stack below
 * this frame. What is in them is lost, and nobody misses it; the next byte brings new ones. Not to
 * be inlined: the frame that is asked for has to be this small one, with little below it in use. */
__attribute__((noinline)) static void rest(struct conn_io *io)
{
    struct connection_workspace *workspace = io->workspace;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t top = ((uintptr_t)__builtin_frame_address(0) - REST_FRAMES) & ~(page - 1);

    (void)madvise(workspace->input, CONNECTION_BUFFER_SIZE, MADV_DONTNEED);
    (void)madvise(workspace->output, CONNECTION_BUFFER_SIZE, MADV_DONTNEED);
    session_release_idle_memory(io->session);
    arena_release_idle_memory(&workspace->lasting);
    arena_release_idle_memory(&workspace->passing);
    note_overflow(workspace);
    if (transport_release_idle_memory(&io->transport))
        atomic_store_explicit(&workspace->watch.heap_dirty, true, memory_order_relaxed);
    if (top > (uintptr_t)workspace->stack)
        (void)madvise(workspace->stack, top - (uintptr_t)workspace->stack, MADV_DONTNEED);
    io->rest_us = INSTANT_NEVER;
}

/* The session has received nothing for REST_US. TLS may still be busy, since a client can send
 * KeyUpdates all the time: then try again later. */
static void rest_if_idle(struct conn_io *io)
{
    if (!transport_awaits_bytes(&io->transport)) {
        io->rest_us = io->now.monotonic_us + REST_US;
        return;
    }
    conn_log(io, LOG_LEVEL_DEBUG, "at rest: memory given back");
    rest(io);
}

/* Its first line says whose it is. Return false if memory ran out. */
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
    log_trace("connection %llu from %s: frames follow", (unsigned long long)io->connection->id,
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

/* The end of each turn: act on the time, and send what there is to be sent. Return false if that
 * was the last one. */
static inline bool end_turn(struct conn_io *io)
{
    conn_check_events(io);
    flush(io);
    if (io->ending == ENDING_NONE && session_done(io->session))
        io->ending = ENDING_COMPLETE;
    return io->ending == ENDING_NONE;
}

/* Pass what was read to the session. It usually takes everything at once; where it stops earlier, a
 * turn ends. Return false if that was the last turn. */
static inline bool receive(struct conn_io *io, size_t length)
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

/* The connection's steady state: a turn is one read, one look at the time, one write. */
static void serve_http2(struct conn_io *io, size_t length)
{
    struct connection_workspace *workspace = io->workspace;

    for (;;) {
        if (length > 0) {
            if (io->trace != NULL)
                trace_bytes(io->trace, TRACE_RECEIVED, workspace->input, length);
            if (!receive(io, length))
                return;
            io->rest_us = io->now.monotonic_us + REST_US;
        }
        if (!end_turn(io))
            return;
        if (io->now.monotonic_us >= io->rest_us)
            rest_if_idle(io);
        length = conn_io_read(io, workspace->input, CONNECTION_BUFFER_SIZE,
                              clock_earlier(session_deadline(io->session), io->rest_us));
        /* Whatever was asked has its answer by now: each turn sends all that can be sent. */
        if (io->ending != ENDING_NONE)
            return;
    }
}

/* --- Refusals in HTTP/2 -------------------------------------------------------------------- */

__attribute__((noinline)) static void tell_other(const struct conn_io *io, size_t length)
{
    enum { SHOWN = 32 };
    char shown[4 * SHOWN + 8];
    char text[sizeof(shown) + 64];

    log_escape(shown, sizeof(shown), io->workspace->input, length < SHOWN ? length : SHOWN);
    snprintf(text, sizeof(text), "not an HTTP/2 preface: \"%s\"%s (RFC 9113 section 3.4)", shown,
             length > SHOWN ? "..." : "");
    conn_log(io, LOG_LEVEL_NOTICE, text);
}

/* Say why in a GOAWAY, which any client of HTTP/2 understands. */
static void refuse(struct conn_io *io, enum session_error error, const char *reason)
{
    if (io->session == NULL)
        open_session(io, false);
    if (io->session == NULL)
        return;
    session_fail(io->session, error, reason);
    flush(io);
}

static void refuse_other(struct conn_io *io, size_t length)
{
    tell_other(io, length);
    refuse(io, SESSION_PROTOCOL_ERROR, "not an HTTP/2 preface");
}

static bool lacks_tls(const struct conn_io *io)
{
    return io->connection->is_tls && io->transport.tls == NULL;
}

static void refuse_weak(struct conn_io *io, const char *weakness)
{
    char text[128];

    snprintf(text, sizeof(text), "TLS is too weak: %s", weakness);
    conn_log(io, LOG_LEVEL_NOTICE, text);
    refuse(io, SESSION_INADEQUATE_SECURITY, weakness);
}

static void begin_http2(struct conn_io *io, size_t length)
{
    const char *weakness = io->transport.tls != NULL ? tls_weakness(io->transport.tls) : NULL;

    if (weakness != NULL) {
        refuse_weak(io, weakness);
        return;
    }
    if (lacks_tls(io)) {
        conn_log(io, LOG_LEVEL_NOTICE,
                 "an HTTP/2 preface without TLS on a port for TLS: use https://, not http://");
        refuse(io, SESSION_PROTOCOL_ERROR, "this port speaks TLS");
        return;
    }
    open_session(io, false);
    if (io->ending == ENDING_NONE)
        serve_http2(io, length);
}

/* --- The Upgrade --------------------------------------------------------------------------- */

static void tell_head(const struct conn_io *io, const struct upgrade *upgrade)
{
    if (io->trace == NULL)
        return;
    trace_head(io->trace, TRACE_RECEIVED, io->workspace->input, upgrade->length);
    trace_head(io->trace, TRACE_SENT, (const uint8_t *)upgrade_accepted, strlen(upgrade_accepted));
}

/* Begin with the request that asked for it, on stream 1. Not to be inlined: a head takes more than
 * a page of stack. Return false if the connection stays as it is, or is over. */
__attribute__((noinline)) static bool begin_upgraded(struct conn_io *io, size_t *length)
{
    _Static_assert((int)UPGRADE_HTTP2_MAX <= (int)CONNECTION_BUFFER_SIZE, "no room for a head");
    struct connection_workspace *workspace = io->workspace;
    struct upgrade upgrade;

    if (!negotiate_read_head(io, &upgrade, length))
        return false;
    io->protocol = "h2c by upgrade";
    open_session(io, true);
    if (io->ending != ENDING_NONE)
        return false;
    tell_head(io, &upgrade);
    session_upgrade(io->session, io->now, workspace->output,
                    upgrade_translate(&upgrade, workspace->output));
    *length -= upgrade.length;
    memmove(workspace->input, workspace->input + upgrade.length, *length);
    conn_io_write(io, (const uint8_t *)upgrade_accepted, strlen(upgrade_accepted));
    return io->ending == ENDING_NONE;
}

/* While the answer goes out already, the client's preface comes. Take it off the ${length} bytes of
 * input; return false if it is none, or the connection is over. */
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
        if (io->ending != ENDING_NONE)
            return false;
    }
    if (io->ending == ENDING_NONE && preface != SNIFFED_HTTP2)
        refuse_other(io, *length);
    if (io->ending != ENDING_NONE || preface != SNIFFED_HTTP2)
        return false;
    if (io->trace != NULL)
        trace_bytes(io->trace, TRACE_RECEIVED, workspace->input, WIRE_PREFACE_SIZE);
    *length -= WIRE_PREFACE_SIZE;
    memmove(workspace->input, workspace->input + WIRE_PREFACE_SIZE, *length);
    io->rest_us = io->now.monotonic_us + REST_US;
    return true;
}

static void serve_http1(struct conn_io *io, size_t length)
{
    static const struct http1_refusal not_served = {
        505, "only HTTP/2 is spoken here, from the first byte (RFC 9110 section 15.6.6)"};
    static const struct http1_refusal not_over_tls = {
        505, "only HTTP/2 is spoken here, over TLS (RFC 9110 section 15.6.6)"};

    if (io->connection->is_tls)
        negotiate_refuse_http1(io, length, &not_over_tls);
    else if (!io->connection->settings->upgrade)
        negotiate_refuse_http1(io, length, &not_served);
    else if (begin_upgraded(io, &length) && take_preface(io, &length))
        serve_http2(io, length);
}

/* --- From beginning to end ----------------------------------------------------------------- */

static void serve(struct conn_io *io)
{
    size_t length;

    if (io->connection->is_tls)
        negotiate_tls(io);
    if (io->ending != ENDING_NONE)
        return;
    switch (negotiate_protocol(io, &length)) {
    case SNIFFED_HTTP2:
        begin_http2(io, length);
        break;
    case SNIFFED_HTTP1:
        serve_http1(io, length);
        break;
    case SNIFFED_TLS:
        negotiate_send_tls_alert(io);
        break;
    case SNIFFED_UNKNOWN:
        refuse_other(io, length);
        break;
    case SNIFFED_INCOMPLETE:
        return;
    }
    if (io->ending == ENDING_NONE)
        io->ending = ENDING_COMPLETE;
}

static void finish(struct conn_io *io)
{
    struct connection_workspace *workspace = io->workspace;

    session_free(io->session);
    io->session = NULL;
    trace_end(io->trace);
    arena_clear(&workspace->lasting);
    arena_clear(&workspace->passing);
    note_overflow(workspace);
    if (io->ending == ENDING_TLS_ERROR)
        transport_drop_tls(&io->transport);
    if (io->ending == ENDING_COMPLETE || io->ending == ENDING_TLS_ERROR)
        conn_io_linger(io);
    if (io->ending == ENDING_WRITE_TIMEOUT)
        counter_add(&workspace->counters.timed_out, 1);
    tell_ending(io);
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
