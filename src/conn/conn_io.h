/*
 * io: a connection while it is served: the peer's bytes in and out, each within its time, and the
 * log's lines that say whose they are.
 *
 * It blocks in its reads and writes. While it does, the thread that watches it reads from a
 * struct connection_watch when it wants to be woken, and wakes it by a signal (EINTR).
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

/* How far the daemon's end has come: one word for all connections, which changes twice in its
 * io, so that reading it each turn costs nothing. */
enum shutdown_phase {
    SHUTDOWN_NONE,
    SHUTDOWN_DRAIN, /* answer what was begun, then close */
    SHUTDOWN_ABORT, /* close now */
};

/* What a connection tells the thread that watches it. */
struct connection_watch {
    _Atomic int64_t deadline_us; /* wake me when this has passed: instant.monotonic_us */
    atomic_int shutdown_phase;   /* the last enum shutdown_phase that I acted on */
    atomic_bool heap_dirty;      /* malloc may keep much that I have freed */
};

/* One connection to be served. */
struct connection {
    uint64_t id;
    int fd; /* owned: closed when connection_serve returns */
    struct address peer;
    bool is_tls;
    struct settings *settings; /* a reference, owned: given back when connection_serve returns */
};

/* What a thread has for the connections that it serves one after the other. */
struct connection_workspace {
    struct connection_watch watch;
    struct counters counters;
    const atomic_int *shutdown_phase; /* the daemon's enum shutdown_phase */
    /* Mapped memory, which an idle connection gives back to the system. */
    struct arena lasting; /* these two empty between connections */
    struct arena passing;
    uint8_t *stack; /* the low end of the thread's own */
    uint8_t *input; /* CONNECTION_BUFFER_SIZE bytes each */
    uint8_t *output;
};

enum { CONNECTION_BUFFER_SIZE = 16384 };

/* How a connection came to its end. */
enum ending {
    ENDING_NONE,          /* not yet */
    ENDING_COMPLETE,      /* nothing more to be said */
    ENDING_NO_PREFACE,    /* nothing was said, by neither */
    ENDING_PEER_CLOSED,   /* the peer has sent all that it will, and got all that it asked for */
    ENDING_RESET,         /* the peer reset it, or the network did */
    ENDING_WRITE_TIMEOUT, /* the peer takes nothing */
    ENDING_TLS_ERROR,     /* what came was no TLS */
    ENDING_ABORTED,       /* the daemon stops */
    ENDING_NO_MEMORY,     /* not even a session could be had */
};

struct conn_io {
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

/*
 * conn_log(io, level, text):
 * Log ${text} as a line about the connection.
 */
void conn_log(const struct conn_io *io, enum log_level level, const char *text);

/*
 * conn_log_tls(io, what):
 * Log ${what} with what TLS has to complain of, a notice.
 */
void conn_log_tls(const struct conn_io *io, const char *what);

/*
 * conn_io_local_address(io, local):
 * Find the address that the peer has connected to; its length is 0 if that is not to be had.
 */
void conn_io_local_address(const struct conn_io *io, struct address *local);

/*
 * conn_io_set_deadline(io, deadline_us):
 * Say until when the next call may block; the watching thread reads it.
 */
void conn_io_set_deadline(struct conn_io *io, int64_t deadline_us);

/*
 * conn_io_shutdown_phase(io):
 * Return how far the daemon's end has come.
 */
enum shutdown_phase conn_io_shutdown_phase(const struct conn_io *io);

/*
 * conn_check_events(io):
 * Act on what may have happened meanwhile: the daemon's end, a deadline. Every turn does; a read or
 * write that was woken by the watching thread does so at once.
 */
void conn_check_events(struct conn_io *io);

/*
 * conn_io_read(io, buffer, size, deadline_us):
 * Wait for bytes until ${deadline_us}. Return how many came: 0 if the wait was broken off, or the
 * connection is over.
 */
size_t conn_io_read(struct conn_io *io, uint8_t *buffer, size_t size, int64_t deadline_us);

/*
 * conn_io_write(io, bytes, length):
 * Send all of it, as long as the peer takes something within each write timeout, else the
 * connection is over.
 */
void conn_io_write(struct conn_io *io, const uint8_t *bytes, size_t length);

/*
 * conn_io_linger(io):
 * Say that nothing more will be sent, and see to it that what was arrives. Closing a socket whose
 * bytes were not all read makes the kernel send a reset, which may overtake our last words; so does
 * a byte that comes after that, and a client that reads sends some. So read on for a moment, and
 * for as long as the peer takes something. A peer that has ended already, as most have, sends
 * nothing that could be in the way.
 */
void conn_io_linger(struct conn_io *io);

#endif
