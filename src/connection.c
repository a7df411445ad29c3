#include "connection.h"

#include "access.h"
#include "opening.h"

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
    const struct life *life = argument;
    char peer[ADDRESS_TEXT_MAX];

    if (stream_id == 0)
        life_tell(life, level, text);
    else if (log_enabled(level))
        log_write_peer(level, "connection %llu from %s stream %d: %s",
                       (unsigned long long)life->connection->id,
                       address_text(peer, &life->connection->peer), stream_id, text);
}

static void on_request(const struct session_request *request, void *argument)
{
    const struct life *life = argument;
    char peer[ADDRESS_TEXT_MAX];
    struct access_origin origin = {.connection = life->connection->id,
                                   .peer = address_text(peer, &life->connection->peer),
                                   .protocol = life->protocol};
    /* Not the turn's: most requests are answered in the turn that they came in. */
    struct instant now = clock_now();

    if (life->connection->settings->access_log == ACCESS_LOG_JSON)
        access_log_json(&origin, request, now);
    else
        access_log_text(&origin, request, now);
}

static void on_describe(struct detail_origin *origin, void *argument)
{
    _Static_assert((int)DETAIL_ADDRESS_MAX >= (int)ADDRESS_TEXT_MAX, "an address is cut");
    const struct life *life = argument;
    struct address local;

    life_local(life, &local);
    origin->id = life->connection->id;
    origin->protocol = life->protocol;
    origin->has_tls = life->transport.tls != NULL;
    if (origin->has_tls)
        tls_describe(life->transport.tls, &origin->tls);
    address_text(origin->peer, &life->connection->peer);
    address_text(origin->local, &local);
}

static void on_trace(const char *line, void *argument)
{
    const struct life *life = argument;

    log_trace("connection %llu %s", (unsigned long long)life->connection->id, line);
}

static void tell_ending(const struct life *life)
{
    static const struct {
        enum log_level level;
        const char *words;
    } endings[] = {
        [ENDING_DONE] = {LOG_LEVEL_DEBUG, "closed: done"},
        [ENDING_SILENT] = {LOG_LEVEL_DEBUG, "closed: nothing was asked"},
        [ENDING_PEER] = {LOG_LEVEL_DEBUG, "closed: by the peer"},
        [ENDING_LOST] = {LOG_LEVEL_DEBUG, "closed: reset by the peer or the network"},
        [ENDING_BROKEN] = {LOG_LEVEL_DEBUG, "closed: TLS is broken"},
        [ENDING_STALLED] = {LOG_LEVEL_NOTICE, "write-timeout: the peer takes nothing"},
        [ENDING_CUT] = {LOG_LEVEL_NOTICE, "cut: the daemon stops"},
        [ENDING_NO_MEMORY] = {LOG_LEVEL_ERROR, "closed: out of memory"},
    };

    life_tell(life, endings[life->ending].level, endings[life->ending].words);
}

/* --- HTTP/2 -------------------------------------------------------------------------------- */

/* Send all that the session has to say. */
static void flush(struct life *life)
{
    struct connection_workspace *workspace = life->workspace;
    size_t length;

    while (life->ending == ENDING_OPEN &&
           (length = session_send(life->session, life->now, workspace->output,
                                  CONNECTION_BUFFER_SIZE)) > 0) {
        if (life->trace != NULL)
            trace_bytes(life->trace, TRACE_SENT, workspace->output, length);
        life_write(life, workspace->output, length);
    }
}

/* Of what did not fit into the arenas malloc may keep much, if one small block behind it is still
 * in use: a hostile client would leave it megabytes. */
static void note_spilled(struct connection_workspace *workspace)
{
    enum { WORTH_IT = 128 * 1024 };

    if (workspace->lasting.spilled + workspace->passing.spilled < WORTH_IT)
        return;
    workspace->lasting.spilled = workspace->passing.spilled = 0;
    atomic_store_explicit(&workspace->watch.spilled, true, memory_order_relaxed);
}

/* Give back the pages that a connection needs only while it works: its buffers, and the stack below
 * this frame. What is in them is lost, and nobody misses it; the next byte brings new ones. Not to
 * be inlined: the frame that is asked for has to be this small one, with little below it in use. */
__attribute__((noinline)) static void rest(struct life *life)
{
    struct connection_workspace *workspace = life->workspace;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t top = ((uintptr_t)__builtin_frame_address(0) - REST_FRAMES) & ~(page - 1);

    (void)madvise(workspace->input, CONNECTION_BUFFER_SIZE, MADV_DONTNEED);
    (void)madvise(workspace->output, CONNECTION_BUFFER_SIZE, MADV_DONTNEED);
    session_rest(life->session);
    arena_rest(&workspace->lasting);
    arena_rest(&workspace->passing);
    note_spilled(workspace);
    if (transport_rest(&life->transport))
        atomic_store_explicit(&workspace->watch.spilled, true, memory_order_relaxed);
    if (top > (uintptr_t)workspace->stack)
        (void)madvise(workspace->stack, top - (uintptr_t)workspace->stack, MADV_DONTNEED);
    life->rest_us = INSTANT_NEVER;
}

/* Nothing has come for REST_US that was the session's. TLS may still have something to do, since a
 * client can send KeyUpdates all the time: then try again later. */
static void rest_if_idle(struct life *life)
{
    if (!transport_awaits_bytes(&life->transport)) {
        life->rest_us = life->now.monotonic_us + REST_US;
        return;
    }
    life_tell(life, LOG_LEVEL_DEBUG, "at rest: memory given back");
    rest(life);
}

/* Its first line says whose it is. Return false if memory ran out. */
__attribute__((noinline)) static bool open_trace(struct life *life)
{
    uint64_t wanted = life->connection->settings->trace;
    const struct trace_options options = {
        .fields = wanted == TRACE_FIELDS,
        .colours = log_has_colours(),
    };
    char peer[ADDRESS_TEXT_MAX];

    if (wanted == TRACE_OFF)
        return true;
    life->trace = trace_new(&options, on_trace, life);
    if (life->trace == NULL)
        return false;
    log_trace("connection %llu from %s: frames follow", (unsigned long long)life->connection->id,
              address_text(peer, &life->connection->peer));
    return true;
}

static void open_session(struct life *life, bool upgraded)
{
    const struct settings *settings = life->connection->settings;
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
        .argument = life,
    };
    struct session_memory memory = {&life->workspace->lasting, &life->workspace->passing};
    struct instant accepted = {.monotonic_us = life->accepted_us, .unix_s = life->now.unix_s};

    life->session = session_new(&options, &observer, &life->workspace->counters, &memory, accepted);
    if (life->session == NULL || !open_trace(life))
        life->ending = ENDING_NO_MEMORY;
}

/* The end of each turn: act on the time, and send what there is to be sent. Return false if that
 * was the last one. */
static inline bool end_turn(struct life *life)
{
    life_look_up(life);
    flush(life);
    if (life->ending == ENDING_OPEN && session_done(life->session))
        life->ending = ENDING_DONE;
    return life->ending == ENDING_OPEN;
}

/* Hand the session what was read. In most cases it takes all of it at once; where it does not, a
 * turn ends at each place where it stops. Return false if one of these was the last one. */
static inline bool receive(struct life *life, size_t length)
{
    const uint8_t *input = life->workspace->input;
    size_t taken = session_receive(life->session, life->now, input, length);

    while (taken < length) {
        if (!end_turn(life))
            return false;
        taken += session_receive(life->session, life->now, input + taken, length - taken);
    }
    return true;
}

/* The connection's steady state: a turn is one read, one look at the time, one write. */
static void serve_http2(struct life *life, size_t length)
{
    struct connection_workspace *workspace = life->workspace;

    for (;;) {
        if (length > 0) {
            if (life->trace != NULL)
                trace_bytes(life->trace, TRACE_RECEIVED, workspace->input, length);
            if (!receive(life, length))
                return;
            life->rest_us = life->now.monotonic_us + REST_US;
        }
        if (!end_turn(life))
            return;
        if (life->now.monotonic_us >= life->rest_us)
            rest_if_idle(life);
        length = life_read(life, workspace->input, CONNECTION_BUFFER_SIZE,
                           clock_earlier(session_deadline(life->session), life->rest_us));
        /* Whatever was asked has its answer by now: each turn sends all that can be sent. */
        if (life->ending != ENDING_OPEN)
            return;
    }
}

/* --- Refusals in HTTP/2 -------------------------------------------------------------------- */

__attribute__((noinline)) static void tell_other(const struct life *life, size_t length)
{
    enum { SHOWN = 32 };
    char shown[4 * SHOWN + 8];
    char text[sizeof(shown) + 64];

    log_escape(shown, sizeof(shown), life->workspace->input, length < SHOWN ? length : SHOWN);
    snprintf(text, sizeof(text), "not an HTTP/2 preface: \"%s\"%s (RFC 9113 section 3.4)", shown,
             length > SHOWN ? "..." : "");
    life_tell(life, LOG_LEVEL_NOTICE, text);
}

/* Say why in a GOAWAY, which any client of HTTP/2 understands. */
static void refuse(struct life *life, enum session_error error, const char *reason)
{
    if (life->session == NULL)
        open_session(life, false);
    if (life->session == NULL)
        return;
    session_fail(life->session, error, reason);
    flush(life);
}

static void refuse_other(struct life *life, size_t length)
{
    tell_other(life, length);
    refuse(life, SESSION_PROTOCOL_ERROR, "not an HTTP/2 preface");
}

static bool lacks_tls(const struct life *life)
{
    return life->connection->is_tls && life->transport.tls == NULL;
}

static void refuse_weak(struct life *life, const char *weakness)
{
    char text[128];

    snprintf(text, sizeof(text), "TLS is too weak: %s", weakness);
    life_tell(life, LOG_LEVEL_NOTICE, text);
    refuse(life, SESSION_INADEQUATE_SECURITY, weakness);
}

static void begin_http2(struct life *life, size_t length)
{
    const char *weakness = life->transport.tls != NULL ? tls_weakness(life->transport.tls) : NULL;

    if (weakness != NULL) {
        refuse_weak(life, weakness);
        return;
    }
    if (lacks_tls(life)) {
        life_tell(life, LOG_LEVEL_NOTICE,
                  "an HTTP/2 preface without TLS on a port for TLS: use https://, not http://");
        refuse(life, SESSION_PROTOCOL_ERROR, "this port speaks TLS");
        return;
    }
    open_session(life, false);
    if (life->ending == ENDING_OPEN)
        serve_http2(life, length);
}

/* --- The Upgrade --------------------------------------------------------------------------- */

static void tell_head(const struct life *life, const struct upgrade *upgrade)
{
    if (life->trace == NULL)
        return;
    trace_head(life->trace, TRACE_RECEIVED, life->workspace->input, upgrade->length);
    trace_head(life->trace, TRACE_SENT, (const uint8_t *)upgrade_accepted,
               strlen(upgrade_accepted));
}

/* Begin with the request that asked for it, on stream 1. Not to be inlined: a head takes more than
 * a page of stack. Return false if the connection stays as it is, or is over. */
__attribute__((noinline)) static bool begin_upgraded(struct life *life, size_t *length)
{
    _Static_assert((int)UPGRADE_OPENING_MAX <= (int)CONNECTION_BUFFER_SIZE, "no room for a head");
    struct connection_workspace *workspace = life->workspace;
    struct upgrade upgrade;

    if (!opening_head(life, &upgrade, length))
        return false;
    life->protocol = "h2c by upgrade";
    open_session(life, true);
    if (life->ending != ENDING_OPEN)
        return false;
    tell_head(life, &upgrade);
    session_upgrade(life->session, life->now, workspace->output,
                    upgrade_translate(&upgrade, workspace->output));
    *length -= upgrade.length;
    memmove(workspace->input, workspace->input + upgrade.length, *length);
    life_write(life, (const uint8_t *)upgrade_accepted, strlen(upgrade_accepted));
    return life->ending == ENDING_OPEN;
}

/* While the answer goes out already, the client's preface comes. Take it off the ${length} bytes of
 * input; return false if it is none, or the connection is over. */
static bool take_preface(struct life *life, size_t *length)
{
    struct connection_workspace *workspace = life->workspace;
    enum preface preface = PREFACE_MORE;

    while (end_turn(life)) {
        preface = preface_detect(workspace->input, *length);
        if (preface != PREFACE_MORE || *length >= PREFACE_HTTP2_SIZE)
            break;
        *length += life_read(life, workspace->input + *length, CONNECTION_BUFFER_SIZE - *length,
                             session_deadline(life->session));
        if (life->ending != ENDING_OPEN)
            return false;
    }
    if (life->ending == ENDING_OPEN && preface != PREFACE_HTTP2)
        refuse_other(life, *length);
    if (life->ending != ENDING_OPEN || preface != PREFACE_HTTP2)
        return false;
    if (life->trace != NULL)
        trace_bytes(life->trace, TRACE_RECEIVED, workspace->input, PREFACE_HTTP2_SIZE);
    *length -= PREFACE_HTTP2_SIZE;
    memmove(workspace->input, workspace->input + PREFACE_HTTP2_SIZE, *length);
    life->rest_us = life->now.monotonic_us + REST_US;
    return true;
}

static void serve_http1(struct life *life, size_t length)
{
    static const struct preface_refusal not_served = {
        505, "only HTTP/2 is spoken here, from the first byte (RFC 9110 section 15.6.6)"};
    static const struct preface_refusal not_over_tls = {
        505, "only HTTP/2 is spoken here, over TLS (RFC 9110 section 15.6.6)"};

    if (life->connection->is_tls)
        opening_refuse_http1(life, length, &not_over_tls);
    else if (!life->connection->settings->upgrade)
        opening_refuse_http1(life, length, &not_served);
    else if (begin_upgraded(life, &length) && take_preface(life, &length))
        serve_http2(life, length);
}

/* --- From beginning to end ----------------------------------------------------------------- */

static void serve(struct life *life)
{
    size_t length;

    if (life->connection->is_tls)
        opening_tls(life);
    if (life->ending != ENDING_OPEN)
        return;
    switch (opening_preface(life, &length)) {
    case PREFACE_HTTP2:
        begin_http2(life, length);
        break;
    case PREFACE_HTTP1:
        serve_http1(life, length);
        break;
    case PREFACE_TLS:
        opening_alert(life);
        break;
    case PREFACE_OTHER:
        refuse_other(life, length);
        break;
    case PREFACE_MORE:
        return;
    }
    if (life->ending == ENDING_OPEN)
        life->ending = ENDING_DONE;
}

static void finish(struct life *life)
{
    struct connection_workspace *workspace = life->workspace;

    session_free(life->session);
    life->session = NULL;
    trace_end(life->trace);
    arena_clear(&workspace->lasting);
    arena_clear(&workspace->passing);
    note_spilled(workspace);
    if (life->ending == ENDING_BROKEN)
        transport_drop_tls(&life->transport);
    if (life->ending == ENDING_DONE || life->ending == ENDING_BROKEN)
        life_linger(life);
    if (life->ending == ENDING_STALLED)
        counter_add(&workspace->counters.timed_out, 1);
    tell_ending(life);
    life_set_deadline(life, INSTANT_NEVER);
    if (life->ending == ENDING_STALLED || life->ending == ENDING_CUT)
        transport_abort(&life->transport);
    else
        transport_close(&life->transport);
}

void connection_serve(struct connection *connection, struct connection_workspace *workspace)
{
    struct life life = {
        .connection = connection,
        .workspace = workspace,
        .protocol = "h2c",
        .now = clock_now(),
    };

    life.accepted_us = life.now.monotonic_us;
    transport_open(&life.transport, connection->fd);
    connection->fd = -1;
    life_tell(&life, LOG_LEVEL_DEBUG, "open");
    serve(&life);
    finish(&life);
    settings_unref(connection->settings);
    connection->settings = NULL;
}
