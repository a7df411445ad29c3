/*
 * session: the server side of one HTTP/2 connection, without I/O: bytes in, bytes out.
 *
 * It must not touch a socket, a thread or a clock: its owner passes bytes and instants, and so do
 * tests and fuzzers. A session is used by one thread. nghttp2 does the protocol; no caller sees it.
 *
 *     session_receive ──> streams, each building its echo ──> session_send
 *
 * After every call that may have queued something (receive, upgrade, expire, shutdown, fail), the
 * owner calls session_send until it returns 0, then session_done.
 */
#ifndef H2ECHOD_HTTP2_SESSION_H
#define H2ECHOD_HTTP2_SESSION_H

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "echo/detail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct session;

/* What session_new is told; copied. Settings of the same names are described in h2echod.conf(5). */
struct session_options {
    uint32_t max_concurrent_streams;
    uint32_t max_header_list_size; /* bytes, counted as in RFC 9113 section 6.5.2 */
    int64_t header_timeout_us;
    int64_t idle_timeout_us;
    int64_t stream_timeout_us;
    bool pretty;
    bool upgraded; /* session_upgrade will be called first */
};

enum session_reset { SESSION_NOT_RESET, SESSION_RESET_BY_PEER, SESSION_RESET_BY_SERVER };

/* Bytes of a request's method and path that are kept for the observer: clients choose their size,
 * so that they have to be bounded. */
enum { SESSION_METHOD_MAX = 256, SESSION_PATH_MAX = 1400 };

/* A request whose stream is closed. The pointers are valid only during the call. */
struct session_request {
    int32_t stream_id;
    const uint8_t *method; /* up to SESSION_METHOD_MAX bytes; NULL if there was none */
    size_t method_length;
    const uint8_t *path; /* up to SESSION_PATH_MAX bytes; NULL if there was none */
    size_t path_length;
    int status;        /* 0 if no response was sent */
    uint64_t received; /* bytes of the request's content */
    uint64_t sent;     /* bytes of the response's content */
    int64_t opened_us; /* when the request began, as instant.monotonic_us */
    bool aborted;      /* the connection ended before the stream did */
    enum session_reset reset;
    const char *reset_code; /* the error code's name (RFC 9113 section 7) */
};

/* The callbacks of the owner. A session calls them from inside its functions; they must not call
 * back into the session. */
struct session_observer {
    /* Log a line about a stream, or about the connection if ${stream_id} is 0. ${text} is already
     * escaped and has no newline. */
    void (*report)(enum log_level level, int32_t stream_id, const char *text, void *argument);
    /* A stream is closed. NULL = not wanted; then no method and path are kept. */
    void (*request)(const struct session_request *request, void *argument);
    /* Fill in what the owner knows of the connection, for a detailed answer. */
    void (*describe)(struct detail_origin *origin, void *argument);
    void *argument;
};

/* Where a session has its memory from. There are two arenas so that long-lived blocks lie together
 * on few pages. Copied; the arenas must outlive the session. */
struct session_memory {
    struct arena *lasting; /* for what lives as long as the session */
    struct arena *passing; /* for requests and their responses */
};

/* The error codes that an owner uses (RFC 9113 section 7). */
enum session_error {
    SESSION_NO_ERROR = 0x0,
    SESSION_PROTOCOL_ERROR = 0x1,
    SESSION_ENHANCE_YOUR_CALM = 0xb,
    SESSION_INADEQUATE_SECURITY = 0xc,
};

/*
 * session_new(options, observer, counters, memory, now):
 * Return a new session, to be freed by session_free; NULL if memory ran out. The first bytes it
 * sends are the server's SETTINGS. ${observer} is copied; ${counters} must outlive the session.
 */
struct session *session_new(const struct session_options *options,
                            const struct session_observer *observer, struct counters *counters,
                            const struct session_memory *memory, struct instant now);

/*
 * session_free(session):
 * Free the session and its streams; open ones are reported to observer.request as aborted. NULL is
 * allowed.
 */
void session_free(struct session *session);

/*
 * session_receive(session, now, bytes, length):
 * Process ${length} bytes from the client, in pieces of any size, from its preface on. Errors of
 * the client's are answered by what session_send returns (RST_STREAM, GOAWAY) and reported to
 * observer.report. If memory runs out, the session ends. Return how many bytes were processed. They
 * are fewer than ${length} where a stream's RST_STREAM has to be sent before the next frame is
 * read: call session_send until it returns 0 and, unless the session is done then, pass the rest.
 */
size_t session_receive(struct session *session, struct instant now, const uint8_t *bytes,
                       size_t length);

/*
 * session_upgrade(session, now, bytes, length):
 * Process the HTTP/1.1 request that asked for the upgrade (RFC 7540 section 3.2), translated into
 * HTTP/2: ${bytes} are a preface, the SETTINGS of the HTTP2-Settings field, and the request on
 * stream 1. Call session_receive with what the client sends afterwards, from the SETTINGS of its
 * own preface on.
 */
void session_upgrade(struct session *session, struct instant now, const uint8_t *bytes,
                     size_t length);

/*
 * session_send(session, now, buffer, size):
 * Write at most ${size} bytes for the client into ${buffer}. Return how many; 0 if there is nothing
 * more to send until another function is called.
 */
size_t session_send(struct session *session, struct instant now, uint8_t *buffer, size_t size);

/*
 * session_release_idle_memory(session):
 * Free caches: no bytes came for a while.
 */
void session_release_idle_memory(struct session *session);

/*
 * session_shutdown(session, now):
 * Start to drain (RFC 9113 section 6.8): send GOAWAY with the last stream id 2^31-1, and after a
 * round trip or a second the final GOAWAY. Streams that were opened until then are still answered.
 * Further calls do nothing.
 */
void session_shutdown(struct session *session, struct instant now);

/*
 * session_fail(session, error, text):
 * End the session with GOAWAY; ${text}, which must outlive the session, is its debug data. Nothing
 * is reported: the caller logs why.
 */
void session_fail(struct session *session, enum session_error error, const char *text);

/*
 * session_deadline(session):
 * Return when to call session_expire next, as instant.monotonic_us; INSTANT_NEVER if never.
 */
int64_t session_deadline(const struct session *session);

/*
 * session_expire(session, now):
 * Handle every timeout that has passed: RST_STREAM for a stream that makes no progress, GOAWAY for
 * a preface or header block that is not complete in time or an idle connection, the final GOAWAY of
 * a drain. A call before the deadline does nothing.
 */
void session_expire(struct session *session, struct instant now);

/*
 * session_shift_timers(session, us):
 * Move every deadline but the drain's by ${us} microseconds, during which the owner has not
 * received: the client may have sent something in time.
 */
void session_shift_timers(struct session *session, int64_t us);

/*
 * session_done(session):
 * Return true if the connection should be closed: there is nothing more to send or receive.
 */
bool session_done(const struct session *session);

/*
 * session_failed(session):
 * Return true if the session ended because of an error or a timeout.
 */
bool session_failed(const struct session *session);

/*
 * session_library(void):
 * Return the version of nghttp2 in use, a static string.
 */
const char *session_library(void);

#endif
