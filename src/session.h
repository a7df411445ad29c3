/*
 * session: HTTP/2 without I/O. Bytes in, bytes out; nghttp2 behind it and nowhere else.
 *
 * No socket, no thread and no clock: whoever drives it hands over bytes and instants, so tests and
 * fuzzers can. One session serves one connection and is used by one thread.
 *
 *     session_receive ──> streams, each growing its echo ──> session_send
 *
 * The owner pulls session_send until it returns 0 after every call that may have queued something
 * (receive, expire, shutdown, fail), then asks session_done.
 */
#ifndef H2ECHOD_SESSION_H
#define H2ECHOD_SESSION_H

#include "clock.h"
#include "counters.h"
#include "detail.h"
#include "log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct session;

/* What the session is held to; copied. */
struct session_options {
    uint32_t max_concurrent_streams;
    uint32_t max_header_list_size; /* bytes as RFC 9113 section 6.5.2 counts */
    int64_t header_timeout_us;
    int64_t idle_timeout_us;
    int64_t stream_timeout_us;
    bool pretty;
    bool upgraded; /* session_upgrade is called first */
};

enum session_reset { SESSION_NOT_RESET, SESSION_RESET_BY_PEER, SESSION_RESET_BY_SERVER };

/* What is kept of a field for who is told of a request: the rest would be memory of a client's
 * choice. */
enum { SESSION_METHOD_MAX = 256, SESSION_PATH_MAX = 1400 };

/* A request whose stream is closed. The bytes are valid only during the call. */
struct session_request {
    int32_t stream_id;
    const uint8_t *method; /* up to SESSION_METHOD_MAX bytes; NULL if none came */
    size_t method_length;
    const uint8_t *path; /* up to SESSION_PATH_MAX bytes; NULL if none came */
    size_t path_length;
    int status;        /* 0 if no response was sent */
    uint64_t received; /* bytes of the request's content */
    uint64_t sent;     /* bytes of the response's content */
    int64_t opened_us; /* when it began: instant.monotonic_us */
    bool cut;          /* the connection ended before the stream was closed */
    enum session_reset reset;
    const char *reset_code; /* the error code's name (RFC 9113 section 7) */
};

/* Who is told. Called from inside session's functions; must not call back into the session. */
struct session_observer {
    /* Something that an operator wants to read. The text is one line, already escaped; stream_id is
     * 0 for the connection. */
    void (*report)(enum log_level level, int32_t stream_id, const char *text, void *argument);
    /* A stream is closed. NULL if nobody wants to know, which saves keeping method and path. */
    void (*request)(const struct session_request *request, void *argument);
    /* A detailed answer is to be written: what is known of the connection? */
    void (*describe)(struct detail_origin *origin, void *argument);
    void *argument;
};

/* Where a session has its memory from: apart, so that what lasts lies close together. Copied; the
 * arenas must outlive the session. */
struct session_memory {
    struct arena *lasting; /* what it needs as long as it lives */
    struct arena *passing; /* what it needs as long as it is busy */
};

/* Error codes that the owner of a session may end it with (RFC 9113 section 7). */
enum session_error {
    SESSION_NO_ERROR = 0x0,
    SESSION_PROTOCOL_ERROR = 0x1,
    SESSION_ENHANCE_YOUR_CALM = 0xb,
    SESSION_INADEQUATE_SECURITY = 0xc,
};

/*
 * session_new(options, observer, counters, memory, now):
 * Return a session whose first bytes out are the server's SETTINGS, or NULL if memory ran out.
 * ${observer} is copied; ${counters} must outlive the session.
 */
struct session *session_new(const struct session_options *options,
                            const struct session_observer *observer, struct counters *counters,
                            const struct session_memory *memory, struct instant now);

/*
 * session_free(session):
 * Free the session and every stream of it; streams still open are reported as requests. NULL is
 * fine.
 */
void session_free(struct session *session);

/*
 * session_receive(session, now, bytes, length):
 * Take in what the client sent, from its preface on. Whatever is wrong with it ends up in what
 * session_send gives (RST_STREAM, GOAWAY) and in reports; memory that ran out ends the session.
 * Return how many bytes were taken. They are fewer than ${length} where a stream's RST_STREAM has
 * to be sent before the next frame is read: pull session_send until it returns 0, and unless the
 * session is done then, hand over the rest.
 */
size_t session_receive(struct session *session, struct instant now, const uint8_t *bytes,
                       size_t length);

/*
 * session_upgrade(session, now, opening, length):
 * Take in the request of HTTP/1.1 that asked for this connection, put into HTTP/2: ${opening} is a
 * preface, the SETTINGS that the request brought, and itself, on stream 1. What the client sends
 * next, from the SETTINGS of its own preface on, is received as ever.
 */
void session_upgrade(struct session *session, struct instant now, const uint8_t *opening,
                     size_t length);

/*
 * session_send(session, now, buffer, size):
 * Write what is ready for the client into ${buffer}, ${size} bytes at most. Return how many; 0 if
 * there is nothing more to send until the next call of another function.
 */
size_t session_send(struct session *session, struct instant now, uint8_t *buffer, size_t size);

/*
 * session_rest(session):
 * Let go of what the session keeps only to be quick: nothing has come for a while.
 */
void session_rest(struct session *session);

/*
 * session_shutdown(session, now):
 * Begin to drain (RFC 9113 section 6.8): GOAWAY with the last stream id 2^31-1, after a round trip
 * or a second the final one; what was begun is still answered. Once done, further calls do nothing.
 */
void session_shutdown(struct session *session, struct instant now);

/*
 * session_fail(session, error, reason):
 * End the session with GOAWAY, ${error} and ${reason}, a static string, as its debug data. It is
 * not reported: the caller knows why.
 */
void session_fail(struct session *session, enum session_error error, const char *reason);

/*
 * session_deadline(session):
 * Return when session_expire has to be called next, in microseconds of instant.monotonic_us.
 */
int64_t session_deadline(const struct session *session);

/*
 * session_expire(session, now):
 * Act on every timeout that has passed: RST_STREAM CANCEL for a stream that does not go on, GOAWAY
 * for a preface or header block that does not end or a connection that is idle, the final GOAWAY
 * of a drain. Calling it early does nothing.
 */
void session_expire(struct session *session, struct instant now);

/*
 * session_excuse(session, us):
 * For ${us} microseconds nothing was received, though it may have been sent: no timeout but the
 * drain's counts them.
 */
void session_excuse(struct session *session, int64_t us);

/*
 * session_done(session):
 * Return true if nothing more is to be sent or received and the connection should be closed.
 */
bool session_done(const struct session *session);

/*
 * session_failed(session):
 * Return true if the session is over because of an error or a timeout, its client's or ours.
 */
bool session_failed(const struct session *session);

/*
 * session_library(void):
 * Return the version of nghttp2 in use, a static string.
 */
const char *session_library(void);

#endif
