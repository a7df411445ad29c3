#include "connection.h"

#include "access.h"
#include "clock.h"
#include "log.h"
#include "preface.h"
#include "session.h"
#include "trace.h"
#include "transport.h"
#include "upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LINGER_US = 1000000,  /* how long to wait, after our last byte, for the peer to take it */
    LOOK_UP_US = 500000,  /* how often to see if a peer that is slow takes anything */
    REST_US = 1000000,    /* how long nothing has to come for a connection to give memory back */
    NEWCOMER_US = 500000, /* how long after accept, in a drain, the first bytes are waited for */
    REST_FRAMES = 512,    /* bytes of stack that giving it back takes itself */
};

/* How a connection came to its end. */
enum ending {
    ENDING_OPEN,      /* not yet */
    ENDING_DONE,      /* nothing more to be said */
    ENDING_SILENT,    /* nothing was said, by neither */
    ENDING_PEER,      /* the peer has sent all that it will, and got all that it asked for */
    ENDING_LOST,      /* the peer reset it, or the network did */
    ENDING_STALLED,   /* the peer takes nothing */
    ENDING_BROKEN,    /* what came was no TLS */
    ENDING_CUT,       /* the daemon stops */
    ENDING_NO_MEMORY, /* not even a session could be had */
};

/* A connection while it is served. */
struct life {
    const struct connection *connection;
    struct connection_workspace *workspace;
    struct transport transport;
    struct session *session; /* NULL = the preface was not seen yet */
    const char *protocol;    /* as the access log and detailed answers name it */
    struct trace *trace;     /* of what is received and sent by it; NULL = nobody wants one */
    struct instant now;
    int64_t accepted_us;
    int64_t rest_us; /* when to give memory back, if nothing comes until then */
    enum ending ending;
};

/* --- Telling ------------------------------------------------------------------------------- */

__attribute__((noinline)) static void tell(const struct life *life, enum log_level level,
                                           const char *text)
{
    char peer[ADDRESS_TEXT_MAX];

    if (log_enabled(level))
        log_write_peer(level, "connection %llu from %s: %s",
                       (unsigned long long)life->connection->id,
                       address_text(peer, &life->connection->peer), text);
}

static void on_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    const struct life *life = argument;
    char peer[ADDRESS_TEXT_MAX];

    if (stream_id == 0)
        tell(life, level, text);
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

static void find_local(const struct life *life, struct address *local)
{
    *local = (struct address){.length = sizeof(local->storage)};
    if (getsockname(life->transport.fd, (struct sockaddr *)&local->storage, &local->length) != 0)
        local->length = 0;
}

static void on_describe(struct detail_origin *origin, void *argument)
{
    _Static_assert((int)DETAIL_ADDRESS_MAX >= (int)ADDRESS_TEXT_MAX, "an address is cut");
    const struct life *life = argument;
    struct address local;

    find_local(life, &local);
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

    tell(life, endings[life->ending].level, endings[life->ending].words);
}

/* --- Waiting ------------------------------------------------------------------------------- */

/* Until when a call may block; the watching thread reads it. */
static void set_deadline(struct life *life, int64_t deadline_us)
{
    atomic_store_explicit(&life->workspace->watch.deadline_us, deadline_us, memory_order_relaxed);
}

static int64_t timeout_us(uint64_t milliseconds)
{
    return (int64_t)milliseconds * 1000;
}

static enum connection_stage stage_of_daemon(const struct life *life)
{
    return (enum connection_stage)atomic_load_explicit(life->workspace->stage,
                                                       memory_order_relaxed);
}

/* Act on what may have happened meanwhile: the daemon's end, a deadline. Every turn does; a read
 * or write that was woken by the watching thread does so at once. */
static void look_up(struct life *life)
{
    enum connection_stage stage = stage_of_daemon(life);

    atomic_store_explicit(&life->workspace->watch.stage, stage, memory_order_relaxed);
    if (stage == CONNECTION_CUT) {
        life->ending = ENDING_CUT;
        return;
    }
    if (life->session == NULL)
        return;
    if (stage == CONNECTION_DRAIN)
        session_shutdown(life->session, life->now);
    if (life->now.monotonic_us >= session_deadline(life->session))
        session_expire(life->session, life->now);
}

__attribute__((noinline)) static void tell_tls_error(const struct life *life, const char *what)
{
    char text[LOG_ESCAPE_MAX];

    snprintf(text, sizeof(text), "%s: %s", what, tls_error(life->transport.tls));
    tell(life, LOG_LEVEL_NOTICE, text);
}

/* A read or write failed for good. */
__attribute__((noinline)) static void lose(struct life *life, int error)
{
    life->ending = ENDING_LOST;
    if (error != EPROTO || life->transport.tls == NULL)
        return;
    tell_tls_error(life, "TLS broke");
    life->ending = ENDING_BROKEN;
}

/* --- Moving bytes -------------------------------------------------------------------------- */

/* How a peer takes what it is sent. */
struct progress {
    int64_t deadline_us; /* when it counts as one that takes nothing */
    int untaken;         /* bytes, when that was last set */
    uint64_t handed;     /* as the transport counts */
};

static void begin_progress(struct life *life, struct progress *progress, int untaken)
{
    progress->deadline_us =
        life->now.monotonic_us + timeout_us(life->connection->settings->write_timeout);
    progress->untaken = untaken;
    progress->handed = life->transport.handed;
}

/* The transport knows what found room, and the kernel what the peer took: is it to be waited for?
 * A peer that takes something has its time anew. */
static void judge_progress(struct life *life, struct progress *progress)
{
    int untaken = transport_untaken(&life->transport);

    life->now = clock_now();
    if (stage_of_daemon(life) == CONNECTION_CUT)
        life->ending = ENDING_CUT;
    else if (life->transport.handed != progress->handed || untaken < progress->untaken)
        begin_progress(life, progress, untaken);
    else if (life->now.monotonic_us >= progress->deadline_us)
        life->ending = ENDING_STALLED;
}

/* Send to a peer that takes its time; for as long nothing is read, whatever the peer may have sent.
 */
static void write_slowly(struct life *life, const uint8_t *bytes, size_t length)
{
    struct progress progress;
    int64_t begun_us;

    life->now = clock_now();
    begun_us = life->now.monotonic_us;
    begin_progress(life, &progress, transport_untaken(&life->transport));
    while (length > 0 && life->ending == ENDING_OPEN) {
        ssize_t taken;

        set_deadline(life,
                     clock_earlier(progress.deadline_us, life->now.monotonic_us + LOOK_UP_US));
        taken = transport_write(&life->transport, bytes, length);
        if (taken < 0 && errno != EINTR) {
            lose(life, errno);
            return;
        }
        if (taken > 0) {
            counter_add(&life->workspace->counters.sent, (uint64_t)taken);
            bytes += taken;
            length -= (size_t)taken;
        }
        judge_progress(life, &progress);
    }
    if (life->session != NULL)
        session_excuse(life->session, life->now.monotonic_us - begun_us);
}

/* Send all of it: nearly always there is room at once, and no clock is asked. */
static void write_all(struct life *life, const uint8_t *bytes, size_t length)
{
    ssize_t taken = transport_write_now(&life->transport, bytes, length);

    if (taken < 0) {
        lose(life, errno);
        return;
    }
    counter_add(&life->workspace->counters.sent, (uint64_t)taken);
    if ((size_t)taken < length)
        write_slowly(life, bytes + taken, length - (size_t)taken);
}

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
        write_all(life, workspace->output, length);
    }
}

/* Wait for bytes until ${deadline_us}. Return how many came: 0 if the wait was broken off, or the
 * connection is over. */
static size_t read_some(struct life *life, uint8_t *buffer, size_t size, int64_t deadline_us)
{
    ssize_t length;

    set_deadline(life, deadline_us);
    length = transport_read(&life->transport, buffer, size);
    life->now = clock_now();
    if (length > 0) {
        counter_add(&life->workspace->counters.received, (uint64_t)length);
        return (size_t)length;
    }
    if (length == 0)
        life->ending = ENDING_PEER;
    else if (errno != EINTR)
        lose(life, errno);
    return 0;
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
    if (top > (uintptr_t)workspace->stack)
        (void)madvise(workspace->stack, top - (uintptr_t)workspace->stack, MADV_DONTNEED);
    life->rest_us = INSTANT_NEVER;
}

/* --- Protocols ----------------------------------------------------------------------------- */

/* Until when a preface may be whole. In a drain who has just connected may still ask, since that is
 * under way; but nothing was begun that would have to be answered. */
static int64_t preface_deadline(const struct life *life)
{
    int64_t header_us = life->accepted_us + timeout_us(life->connection->settings->header_timeout);

    if (stage_of_daemon(life) == CONNECTION_SERVE)
        return header_us;
    return clock_earlier(header_us, life->accepted_us + NEWCOMER_US);
}

/* Nothing whole came in time. */
static void give_up_preface(struct life *life, const char *complaint)
{
    life->ending = ENDING_SILENT;
    if (stage_of_daemon(life) != CONNECTION_SERVE)
        return;
    counter_add(&life->workspace->counters.timed_out, 1);
    tell(life, LOG_LEVEL_NOTICE, complaint);
}

/* What has come is not enough. Return false if there will not be more. */
static bool await_more(struct life *life, const char *complaint)
{
    if (life->ending == ENDING_OPEN)
        look_up(life);
    if (life->ending == ENDING_OPEN && life->now.monotonic_us >= preface_deadline(life))
        give_up_preface(life, complaint);
    return life->ending == ENDING_OPEN;
}

/* Read until the first bytes tell the protocol; ${length} is how many there are then. */
static enum preface await_preface(struct life *life, size_t *length)
{
    uint8_t *input = life->workspace->input;
    enum preface preface;

    *length = 0;
    do {
        *length += read_some(life, input + *length, CONNECTION_BUFFER_SIZE - *length,
                             preface_deadline(life));
        preface = preface_detect(input, *length);
    } while (preface == PREFACE_MORE && await_more(life, "header-timeout: no whole preface came"));
    return preface;
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
        .header_timeout_us = timeout_us(settings->header_timeout),
        .idle_timeout_us = timeout_us(settings->idle_timeout),
        .stream_timeout_us = timeout_us(settings->stream_timeout),
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
    look_up(life);
    flush(life);
    if (life->ending == ENDING_OPEN && session_done(life->session))
        life->ending = ENDING_DONE;
    return life->ending == ENDING_OPEN;
}

/* The connection's steady state: a turn is one read, one look at the time, one write. */
static void serve_http2(struct life *life, size_t length)
{
    struct connection_workspace *workspace = life->workspace;

    for (;;) {
        if (length > 0) {
            if (life->trace != NULL)
                trace_bytes(life->trace, TRACE_RECEIVED, workspace->input, length);
            session_receive(life->session, life->now, workspace->input, length);
            life->rest_us = life->now.monotonic_us + REST_US;
        }
        if (!end_turn(life))
            return;
        if (life->now.monotonic_us >= life->rest_us) {
            tell(life, LOG_LEVEL_DEBUG, "at rest: memory given back");
            rest(life);
        }
        length = read_some(life, workspace->input, CONNECTION_BUFFER_SIZE,
                           clock_earlier(session_deadline(life->session), life->rest_us));
        /* Whatever was asked has its answer by now: each turn sends all that can be sent. */
        if (life->ending != ENDING_OPEN)
            return;
    }
}

/* --- TLS: the handshake -------------------------------------------------------------------- */

/* Wait for the first byte, and tell whether it begins a handshake's record: whoever speaks no TLS
 * is to be told so in words of his own. */
static bool await_tls(struct life *life)
{
    enum { HANDSHAKE = 0x16 };
    uint8_t first;
    ssize_t length;

    for (;;) {
        set_deadline(life, preface_deadline(life));
        length = transport_peek(&life->transport, &first);
        life->now = clock_now();
        if (length > 0)
            return first == HANDSHAKE;
        if (length == 0)
            life->ending = ENDING_PEER;
        else if (errno != EINTR)
            life->ending = ENDING_LOST;
        if (!await_more(life, "header-timeout: no whole preface came, nor a TLS handshake"))
            return false;
    }
}

__attribute__((noinline)) static void tell_handshake(const struct life *life)
{
    struct tls_facts facts;
    char text[3 * TLS_TEXT_MAX + 128];

    tls_describe(life->transport.tls, &facts);
    snprintf(text, sizeof(text), "%s %s, ALPN \"%s\", SNI \"%s\", client \"%s\"%s", facts.version,
             facts.cipher, facts.alpn, facts.sni, facts.client, facts.resumed ? ", resumed" : "");
    tell(life, LOG_LEVEL_DEBUG, text);
}

/* No handshake will be. What OpenSSL told the client is to arrive, so that it knows why. */
static void give_up_handshake(struct life *life, int error)
{
    if (error != EPROTO) {
        life->ending = ENDING_LOST;
        return;
    }
    tell_tls_error(life, "no TLS handshake");
    life->ending = ENDING_BROKEN;
}

static void shake_hands(struct life *life)
{
    int result;

    do {
        set_deadline(life, preface_deadline(life));
        result = transport_handshake(&life->transport);
        life->now = clock_now();
        if (result == 0)
            life->ending = ENDING_PEER;
        else if (result < 0 && errno != EINTR)
            give_up_handshake(life, errno);
    } while (result != 1 &&
             await_more(life, "header-timeout: no whole preface came, nor the whole of a TLS "
                              "handshake"));
}

/* Of whoever speaks no TLS, the connection stays as it is. */
static void open_tls(struct life *life)
{
    if (!await_tls(life))
        return;
    if (!transport_begin_tls(&life->transport, life->connection->settings->tls)) {
        life->ending = ENDING_NO_MEMORY;
        return;
    }
    shake_hands(life);
    if (life->ending != ENDING_OPEN)
        return;
    life->protocol = "h2";
    if (log_enabled(LOG_LEVEL_DEBUG))
        tell_handshake(life);
}

/* --- Words for other protocols ------------------------------------------------------------- */

static void answer_tls(struct life *life)
{
    tell(
        life, LOG_LEVEL_NOTICE,
        life->connection->is_tls
            ? "TLS ClientHello within TLS: answered with an alert (RFC 8446 section 6.2)"
            : "TLS ClientHello on a cleartext port: answered with an alert (RFC 8446 section 6.2); "
              "use http://, not https://");
    write_all(life, preface_tls_alert, sizeof(preface_tls_alert));
}

__attribute__((noinline)) static void refuse_other(struct life *life, size_t length)
{
    enum { SHOWN = 32 };
    char shown[4 * SHOWN + 8];
    char text[sizeof(shown) + 64];

    log_escape(shown, sizeof(shown), life->workspace->input, length < SHOWN ? length : SHOWN);
    snprintf(text, sizeof(text), "not an HTTP/2 preface: \"%s\"%s (RFC 9113 section 3.4)", shown,
             length > SHOWN ? "..." : "");
    tell(life, LOG_LEVEL_NOTICE, text);
    if (life->session == NULL)
        open_session(life, false);
    if (life->session == NULL)
        return;
    session_fail(life->session, SESSION_PROTOCOL_ERROR, "not an HTTP/2 preface");
    flush(life);
}

/* How long the first line is, without its end. */
static size_t line_length(const uint8_t *bytes, size_t length)
{
    size_t line = 0;

    while (line < length && bytes[line] != '\r' && bytes[line] != '\n')
        line++;
    return line;
}

__attribute__((noinline)) static void refuse_http1(struct life *life, size_t length,
                                                   const struct preface_refusal *refusal)
{
    struct address local;
    char authority[ADDRESS_TEXT_MAX];
    char answer[PREFACE_ANSWER_MAX];
    char path[ADDRESS_PATH_MAX];
    char shown[LOG_ESCAPE_MAX];
    char text[sizeof(shown) + 256];
    struct preface_place place = {.is_tls = life->connection->is_tls};
    size_t answer_length;

    find_local(life, &local);
    snprintf(text, sizeof(text), "HTTP/1.1 request \"%s\" answered with %d: %s",
             log_escape(shown, sizeof(shown), life->workspace->input,
                        line_length(life->workspace->input, length)),
             refusal->status, refusal->words);
    tell(life, LOG_LEVEL_NOTICE, text);
    place.authority = address_text(authority, &local);
    place.unix_path = address_unix_path(path, &local);
    answer_length = preface_http1_answer(answer, refusal, life->workspace->input, length, &place);
    write_all(life, (const uint8_t *)answer, answer_length);
}

/* Read until the request's head is whole, or known to be wrong; ${length} is how many bytes there
 * are then. */
static enum upgrade_verdict await_head(struct life *life, struct upgrade *upgrade, size_t *length)
{
    uint8_t *input = life->workspace->input;
    enum upgrade_verdict verdict;

    upgrade_start(upgrade);
    while (
        (verdict = upgrade_read(upgrade, input, *length)) == UPGRADE_MORE &&
        await_more(life, "header-timeout: no whole preface came, nor the whole head of a request"))
        *length += read_some(life, input + *length, CONNECTION_BUFFER_SIZE - *length,
                             preface_deadline(life));
    return verdict;
}

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
    enum upgrade_verdict verdict = await_head(life, &upgrade, length);

    if (verdict == UPGRADE_REFUSED)
        refuse_http1(life, *length, &upgrade.refusal);
    if (verdict != UPGRADE_WHOLE || life->ending != ENDING_OPEN)
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
    write_all(life, (const uint8_t *)upgrade_accepted, strlen(upgrade_accepted));
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
        *length += read_some(life, workspace->input + *length, CONNECTION_BUFFER_SIZE - *length,
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
        refuse_http1(life, length, &not_over_tls);
    else if (!life->connection->settings->upgrade)
        refuse_http1(life, length, &not_served);
    else if (begin_upgraded(life, &length) && take_preface(life, &length))
        serve_http2(life, length);
}

static bool lacks_tls(const struct life *life)
{
    return life->connection->is_tls && life->transport.tls == NULL;
}

__attribute__((noinline)) static void refuse_cleartext(struct life *life)
{
    tell(life, LOG_LEVEL_NOTICE,
         "an HTTP/2 preface without TLS on a port for TLS: use https://, not http://");
    open_session(life, false);
    if (life->session == NULL)
        return;
    session_fail(life->session, SESSION_PROTOCOL_ERROR, "this port speaks TLS");
    flush(life);
}

static void serve(struct life *life)
{
    size_t length;
    enum preface preface;

    if (life->connection->is_tls)
        open_tls(life);
    if (life->ending != ENDING_OPEN)
        return;
    preface = await_preface(life, &length);
    switch (preface) {
    case PREFACE_HTTP2:
        if (!lacks_tls(life)) {
            open_session(life, false);
            if (life->ending == ENDING_OPEN)
                serve_http2(life, length);
            return;
        }
        refuse_cleartext(life);
        break;
    case PREFACE_HTTP1:
        serve_http1(life, length);
        break;
    case PREFACE_TLS:
        answer_tls(life);
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

/* --- The end ------------------------------------------------------------------------------- */

/* Read and forget whatever comes, for LINGER_US or until the peer has gone. */
static void read_off(struct life *life)
{
    int64_t deadline = life->now.monotonic_us + LINGER_US;

    while (life->ending == ENDING_OPEN && life->now.monotonic_us < deadline &&
           stage_of_daemon(life) != CONNECTION_CUT)
        read_some(life, life->workspace->input, CONNECTION_BUFFER_SIZE, deadline);
}

static bool peer_has_ended(struct life *life)
{
    struct connection_workspace *workspace = life->workspace;
    ssize_t length = transport_read_now(&life->transport, workspace->input, CONNECTION_BUFFER_SIZE);

    if (length > 0)
        counter_add(&workspace->counters.received, (uint64_t)length);
    return length == 0;
}

/* Closing a socket whose bytes were not all read makes the kernel send a reset, which may overtake
 * our last words; so does a byte that comes after that, and a client that reads sends some. So say
 * that there is no more, and read on for a moment, and for as long as the peer takes something. A
 * peer that has ended already, as most have, sends nothing that could be in the way.
 */
static void linger(struct life *life)
{
    struct progress progress;

    if (peer_has_ended(life) || !transport_end_writing(&life->transport))
        return;
    life->now = clock_now();
    begin_progress(life, &progress, transport_untaken(&life->transport));
    life->ending = ENDING_OPEN;
    read_off(life);
    while (life->ending == ENDING_OPEN && transport_untaken(&life->transport) > 0) {
        judge_progress(life, &progress);
        read_off(life);
    }
    /* Whatever the peer did once it had all, the connection was done. */
    if (life->ending == ENDING_OPEN || life->ending == ENDING_PEER || progress.untaken == 0)
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
        linger(life);
    if (life->ending == ENDING_STALLED)
        counter_add(&workspace->counters.timed_out, 1);
    tell_ending(life);
    set_deadline(life, INSTANT_NEVER);
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
    tell(&life, LOG_LEVEL_DEBUG, "open");
    serve(&life);
    finish(&life);
    settings_unref(connection->settings);
    connection->settings = NULL;
}
