/*
 * conn_io: what everything that serves a connection works with: reading and writing with deadlines,
 * and log lines that name the connection.
 *
 * Reads and writes block. Before each, the thread publishes its deadline in its struct
 * connection_watch; the accept loop reads it there, and when it has passed, ends the call with a
 * signal (EINTR). So a connection needs no timer and no poll. One struct conn_io is used by one
 * thread.
 */
#ifndef H2ECHOD_CONN_CONN_IO_H
#define H2ECHOD_CONN_CONN_IO_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "config/settings.h"
#include "http2/session.h"
#include "http2/trace.h"
#include "net/address.h"
#include "net/transport.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far the daemon's shutdown has come. All connections read the same atomic word; it changes at
 * most twice in the life of the process, so reading it in each turn costs nothing. */
enum shutdown_phase {
    SHUTDOWN_NONE,
    SHUTDOWN_DRAIN, /* answer the requests that have begun, then close */
    SHUTDOWN_ABORT, /* close now: the drain timeout has passed */
};

/* What a connection's thread tells the accept loop. */
struct connection_watch {
    _Atomic int64_t deadline_us; /* when to interrupt the current call: instant.monotonic_us */
    atomic_int shutdown_phase;   /* the last enum shutdown_phase that the connection has seen */
    atomic_bool heap_dirty;      /* malloc may hold much freed memory: malloc_trim is worthwhile */
};

/* A connection to be served. */
struct connection {
    uint64_t id;
    int fd; /* owned; closed when connection_serve returns */
    struct address peer;
    bool is_tls;
    struct settings *settings; /* an owned reference, released when connection_serve returns */
};

/* What a thread keeps for the connections that it serves one after another. */
struct connection_workspace {
    struct connection_watch watch;
    struct counters counters;
    const atomic_int *shutdown_phase; /* the daemon's enum shutdown_phase */
    /* The memory below is mapped, so that an idle connection can give pages back to the system. */
    struct arena lasting; /* for as long as the connection; both are empty between connections */
    struct arena passing; /* for as long as a request */
    uint8_t *stack;       /* the lowest address of the thread's stack */
    uint8_t *input;       /* CONNECTION_BUFFER_SIZE bytes */
    uint8_t *output;      /* likewise */
};

enum { CONNECTION_BUFFER_SIZE = 16384 };

/* How a connection ended. */
enum conn_ending {
    ENDING_NONE,          /* it has not */
    ENDING_COMPLETE,      /* everything was sent and received */
    ENDING_NO_PREFACE,    /* the client sent no complete preface, or request head, in time */
    ENDING_PEER_CLOSED,   /* the client will send no more, and has all its answers */
    ENDING_RESET,         /* by the client or the network */
    ENDING_WRITE_TIMEOUT, /* the client stopped reading */
    ENDING_TLS_ERROR,
    ENDING_ABORTED, /* by SHUTDOWN_ABORT */
    ENDING_NO_MEMORY,
};

/* A connection that is being served. */
struct conn_io {
    const struct connection *connection;
    struct connection_workspace *workspace;
    struct transport transport;
    struct session *session; /* owned; NULL = HTTP/2 has not started */
    const char *protocol;    /* for the access log and detailed answers; static */
    struct trace *trace;     /* owned; NULL = tracing is off */
    struct instant now;      /* when the last read or write returned */
    int64_t accepted_us;
    int64_t release_us; /* when to release idle memory if nothing is received until then */
    enum conn_ending ending;
};

/*
 * conn_is_open(io):
 * Return true as long as the connection has not ended.
 */
static inline bool conn_is_open(const struct conn_io *io)
{
    return io->ending == ENDING_NONE;
}

/*
 * conn_log(io, level, text):
 * Log ${text} in a line that starts with the connection's number and the client's address. Whatever
 * in ${text} comes from the client must be escaped. The line is subject to the log's rate limit.
 */
void conn_log(const struct conn_io *io, enum log_level level, const char *text);

/*
 * conn_log_stream(io, level, stream_id, text):
 * As conn_log, with the stream's number as well.
 */
void conn_log_stream(const struct conn_io *io, enum log_level level, int32_t stream_id,
                     const char *text);

/*
 * conn_log_tls(io, what):
 * Log ${what} at level notice, followed by the text of the TLS error.
 */
void conn_log_tls(const struct conn_io *io, const char *what);

/*
 * conn_io_local_address(io, local):
 * Fill ${local} with the address that the client connected to; with length 0 if the system does not
 * say.
 */
void conn_io_local_address(const struct conn_io *io, struct address *local);

/*
 * conn_io_set_deadline(io, deadline_us):
 * Publish the time at which the accept loop is to interrupt the next read or write.
 */
void conn_io_set_deadline(struct conn_io *io, int64_t deadline_us);

/*
 * conn_io_shutdown_phase(io):
 * Return how far the daemon's shutdown has come.
 */
enum shutdown_phase conn_io_shutdown_phase(const struct conn_io *io);

/*
 * conn_check_events(io):
 * Act on the daemon's shutdown and on the session's deadline, if it has passed. To be called after
 * each read or write, whether it was interrupted or not.
 */
void conn_check_events(struct conn_io *io);

/*
 * conn_io_read(io, buffer, size, deadline_us):
 * Wait for bytes, at most until ${deadline_us}. Return how many were read; 0 if the wait was
 * interrupted or the connection has ended. Sets io->now.
 */
size_t conn_io_read(struct conn_io *io, uint8_t *buffer, size_t size, int64_t deadline_us);

/*
 * conn_io_write(io, bytes, length):
 * Send all bytes. The connection ends if the client reads nothing for the write timeout.
 */
void conn_io_write(struct conn_io *io, const uint8_t *bytes, size_t length);

/*
 * conn_io_linger(io):
 * Send no more, and make sure that what was sent arrives. If a socket is closed while it has unread
 * bytes, or receives some later, the kernel sends a reset, which may overtake our last bytes. So
 * read and discard for a second, and longer if the client is still reading. A client that has
 * closed its side already, as most have, sends nothing more, so this returns at once.
 */
void conn_io_linger(struct conn_io *io);

#endif
