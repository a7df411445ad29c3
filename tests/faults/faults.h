/*
 * faults: makes system calls and allocations of the daemon fail, one after the other.
 *
 * The daemon's own objects call the replacements through the linker's --wrap; nghttp2 allocates
 * through the session's nghttp2_mem, jansson and OpenSSL through their hooks. A fault is injected
 * in one scope only, so that other connections in the same process are not affected: the chosen
 * connection, the accept loop, or the workers that wait. Besides, the daemon's clock is set by the
 * test, and its log is kept.
 */
#ifndef H2ECHOD_TESTS_FAULTS_H
#define H2ECHOD_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a thread is when it makes a call. */
enum faults_scope {
    FAULTS_OTHER,      /* the rest of the daemon: its calls never fail */
    FAULTS_TEST,       /* the test itself: the same, and what it allocates is not counted */
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
    FAULTS_CLOSE, /* closes even if it fails, as Linux does */
    FAULTS_MADVISE,
    FAULTS_TRIM, /* only counted, like the next one */
    FAULTS_CLOCK,
    FAULTS_LOG_POLL,
    FAULTS_LOG_WRITE,
    FAULTS_ACCEPT,
    FAULTS_POLL, /* except the log's */
    FAULTS_READ,
    FAULTS_SIGNALFD,
    FAULTS_EVENTFD,
    FAULTS_MMAP,
    FAULTS_MPROTECT,
    FAULTS_THREAD_ATTRIBUTES, /* pthread_attr_* */
    FAULTS_THREAD,
    FAULTS_SLEEP, /* of a worker that waits for a connection */
    FAULTS_CALLS,
};

enum { FAULTS_FOR_EVER = -1 };

struct fault {
    const char *name;
    enum faults_call call;
    int error;           /* errno; 0 = the call succeeds, but moves one byte only */
    int times;           /* how many calls fail in a row, or FAULTS_FOR_EVER */
    size_t send_at_most; /* bytes that every send takes, even if it does not fail; 0 = no limit */
};

/* The result of a fault in a connection. */
struct faults_report {
    bool hit;     /* there was a call number n */
    long live;    /* blocks that the connection did not free */
    int closes;   /* of the connection's socket */
    bool nodelay; /* TCP_NODELAY was set */
};

/*
 * faults_arm(scope, fault, n):
 * Make call number ${n} of those in ${scope} fail, counting from 0. For FAULTS_CONNECTION, that is
 * the next connection to be served. The counts and the log of the scope are cleared.
 */
void faults_arm(enum faults_scope scope, const struct fault *fault, size_t n);

/*
 * faults_change(fault, n):
 * Replace the fault, in the same scope and connection.
 */
void faults_change(const struct fault *fault, size_t n);

/*
 * faults_disarm(void):
 * Let no call fail any more. Return whether the fault was injected.
 */
bool faults_disarm(void);

/*
 * faults_await_connection(report):
 * Wait until the chosen connection has ended, disarm, and fill ${report}. Return false if it does
 * not end.
 */
bool faults_await_connection(struct faults_report *report);

/*
 * faults_enter(scope):
 * Set the scope of this thread's calls.
 */
void faults_enter(enum faults_scope scope);

/*
 * faults_count(scope, call):
 * Return the number of these calls in the scope since faults_arm.
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
 * Move the daemon's clock forward. No thread is woken by that, but the accept loop reads the clock
 * every few milliseconds.
 */
void faults_advance(int64_t us);

/*
 * faults_freeze(frozen):
 * Stop the daemon's clock, so that only faults_advance moves it, or start it again.
 */
void faults_freeze(bool frozen);

/*
 * faults_sleeps(void):
 * Return how often the accept loop has called nanosleep, which returns at once and moves the clock.
 */
size_t faults_sleeps(void);

/*
 * faults_logged(scope, part):
 * Return the number of lines containing ${part} that were logged in the scope since faults_arm.
 */
size_t faults_logged(enum faults_scope scope, const char *part);

/*
 * faults_timeout_ms(void):
 * Return after how many milliseconds a test that waits has failed.
 */
int faults_timeout_ms(void);

#endif
