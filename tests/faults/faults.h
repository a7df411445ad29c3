/*
 * faults: the system's calls and the allocations of the whole daemon, any of which can be made to
 * fail.
 *
 * Our own objects reach what is listed here through the linker's --wrap, nghttp2 its memory through
 * session.c, jansson and OpenSSL through their hooks. A fault strikes in one scope alone, so that
 * whoever else is served in the same process is not touched by it: the one connection that was
 * chosen, the accept loop, or the workers that wait. Besides, time is the test's to move, and the
 * log is kept.
 */
#ifndef H2ECHOD_TESTS_FAULTS_H
#define H2ECHOD_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose calls: a thread's, while it is in there. */
enum faults_scope {
    FAULTS_OTHER,      /* the rest of the daemon: never struck */
    FAULTS_TEST,       /* the test itself: never struck, and what it allocates is not counted */
    FAULTS_CONNECTION, /* the connection that was chosen by faults_arm, in connection_serve */
    FAULTS_SERVER,     /* the accept loop, in server_run */
    FAULTS_WORKER,     /* every worker that waits for a connection */
    FAULTS_SCOPES,
};

enum faults_call {
    FAULTS_ALLOCATION,
    FAULTS_RECV,
    FAULTS_SEND,
    FAULTS_SHUTDOWN,
    FAULTS_SETSOCKOPT,
    FAULTS_GETSOCKNAME,
    FAULTS_IOCTL,
    FAULTS_CLOSE, /* closes all the same, as Linux does */
    FAULTS_MADVISE,
    FAULTS_TRIM, /* counted alone, as the next one */
    FAULTS_CLOCK,
    FAULTS_LOG_POLL,
    FAULTS_LOG_WRITE,
    FAULTS_ACCEPT,
    FAULTS_POLL, /* but the log's */
    FAULTS_READ,
    FAULTS_SIGNALFD,
    FAULTS_EVENTFD,
    FAULTS_MMAP,
    FAULTS_MPROTECT,
    FAULTS_THREAD_ATTRIBUTES, /* pthread_attr_* */
    FAULTS_THREAD,
    FAULTS_SLEEP, /* a worker's, until it gets a connection */
    FAULTS_CALLS,
};

enum { FAULTS_FOR_EVER = -1 };

struct fault {
    const char *name;
    enum faults_call call;
    int error;           /* errno; 0 = no error, but only one byte is moved */
    int times;           /* how often in a row, or FAULTS_FOR_EVER */
    size_t send_at_most; /* bytes that any send takes, fault or not; 0 = as many as it wants */
};

/* What became of a fault. */
struct faults_report {
    bool hit;     /* the n-th call came */
    long live;    /* blocks that the connection did not free */
    int closes;   /* of the connection's socket */
    bool nodelay; /* its small answers leave at once: TCP_NODELAY */
};

/*
 * faults_arm(scope, fault, n):
 * Let ${fault} strike the call number ${n}, from 0, of those in ${scope}. With FAULTS_CONNECTION
 * that is the next connection to be served. Counts and kept log of the scope begin anew.
 */
void faults_arm(enum faults_scope scope, const struct fault *fault, size_t n);

/*
 * faults_change(fault, n):
 * From now on, let ${fault} strike in the same scope, the same connection.
 */
void faults_change(const struct fault *fault, size_t n);

/*
 * faults_disarm(void):
 * Let nothing fail any more. Return whether the fault has struck.
 */
bool faults_disarm(void);

/*
 * faults_await_connection(report):
 * Wait until the chosen connection is over, disarm, and tell. Return false if it does not end.
 */
bool faults_await_connection(struct faults_report *report);

/*
 * faults_enter(scope):
 * From now on this thread's calls are of ${scope}.
 */
void faults_enter(enum faults_scope scope);

/*
 * faults_count(scope, call):
 * Return how many calls of the kind there were in the scope since faults_arm.
 */
size_t faults_count(enum faults_scope scope, enum faults_call call);

/*
 * faults_live_blocks(void):
 * Return how many blocks are allocated or mapped, in all scopes but the test's.
 */
long faults_live_blocks(void);

/*
 * faults_bad_closes(void):
 * Return how often a descriptor was closed that was not open.
 */
int faults_bad_closes(void);

/*
 * faults_advance(us):
 * Move the clock that the daemon sees. Nobody is woken by it, but the accept loop looks at the
 * clock every few milliseconds.
 */
void faults_advance(int64_t us);

/*
 * faults_freeze(frozen):
 * Stop that clock, or let it go on: it moves by faults_advance alone then.
 */
void faults_freeze(bool frozen);

/*
 * faults_sleeps(void):
 * Return how often the accept loop has slept. It gets its time without waiting for it.
 */
size_t faults_sleeps(void);

/*
 * faults_logged(scope, part):
 * Return how many lines with ${part} in them the scope wrote since faults_arm.
 */
size_t faults_logged(enum faults_scope scope, const char *part);

/*
 * faults_timeout_ms(void):
 * Return the milliseconds after which what did not happen counts as hanging.
 */
int faults_timeout_ms(void);

#endif
