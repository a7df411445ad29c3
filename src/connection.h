/*
 * connection: the life of one connection, from its first byte to its close, on one thread.
 *
 *     transport ──> preface ──> session ──> transport
 *
 * It blocks in its reads and writes. While it does, the thread that watches it reads from a
 * struct connection_watch when it wants to be woken, and wakes it by a signal (EINTR).
 */
#ifndef H2ECHOD_CONNECTION_H
#define H2ECHOD_CONNECTION_H

#include "address.h"
#include "arena.h"
#include "counters.h"
#include "settings.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* How far the daemon's end has come: one word for all connections, which changes twice in its
 * life, so that reading it each turn costs nothing. */
enum connection_stage {
    CONNECTION_SERVE,
    CONNECTION_DRAIN, /* answer what was begun, then close */
    CONNECTION_CUT,   /* close now */
};

/* What a connection tells the thread that watches it. */
struct connection_watch {
    _Atomic int64_t deadline_us; /* wake me when this has passed: instant.monotonic_us */
    atomic_int stage;            /* the last enum connection_stage that I acted on */
    atomic_bool spilled;         /* malloc may keep much that I have freed */
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
    const atomic_int *stage; /* the daemon's enum connection_stage */
    /* Mapped memory, which an idle connection gives back to the system. */
    struct arena lasting; /* these two empty between connections */
    struct arena passing;
    uint8_t *stack; /* the low end of the thread's own */
    uint8_t *input; /* CONNECTION_BUFFER_SIZE bytes each */
    uint8_t *output;
};

enum { CONNECTION_BUFFER_SIZE = 16384 };

/*
 * connection_serve(connection, workspace):
 * Serve until the connection is over, for whatever reason: the peer's wish, an error, a timeout of
 * its settings, or the daemon's stage. Everything worth telling is logged.
 */
void connection_serve(struct connection *connection, struct connection_workspace *workspace);

#endif
