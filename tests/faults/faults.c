#include "faults/faults_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIMEOUT_MS = 20000 };

struct faults_state faults_state = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
};

_Thread_local enum faults_scope faults_current_scope = FAULTS_OTHER;
_Thread_local bool faults_suspended;

int __real_clock_gettime(clockid_t clock, struct timespec *time);

/* --- Called by the replaced functions --- */

int faults_inject(enum faults_call call)
{
    int error = -1;

    pthread_mutex_lock(&faults_state.lock);
    faults_state.records[faults_current_scope].counts[call]++;
    if (faults_state.fault && faults_state.scope == faults_current_scope &&
        faults_state.fault->call == call && !faults_suspended) {
        if (faults_state.left > 0) {
            faults_state.left--;
        } else if (faults_state.fault->times == FAULTS_FOR_EVER ||
                   faults_state.injected < faults_state.fault->times) {
            faults_state.injected++;
            error = faults_state.fault->error;
        }
    }
    pthread_mutex_unlock(&faults_state.lock);
    return error;
}

bool faults_fails(enum faults_call call)
{
    int error = faults_inject(call);

    if (error > 0)
        errno = error;
    return error > 0;
}

int faults_error(enum faults_call call)
{
    int error = faults_inject(call);

    return error > 0 ? error : 0;
}

/* --- Called by the test --- */

/* Call it with the lock. */
static void set_fault(const struct fault *fault, size_t n)
{
    faults_state.fault = fault;
    faults_state.left = n;
    faults_state.injected = 0;
}

void faults_arm(enum faults_scope scope, const struct fault *fault, size_t n)
{
    pthread_mutex_lock(&faults_state.lock);
    set_fault(fault, n);
    faults_state.scope = scope;
    faults_state.wants_connection = scope == FAULTS_CONNECTION;
    faults_state.connection_ended = false;
    faults_state.report = (struct faults_report){0};
    memset(&faults_state.records[scope], 0, sizeof(faults_state.records[scope]));
    pthread_mutex_unlock(&faults_state.lock);
}

void faults_change(const struct fault *fault, size_t n)
{
    pthread_mutex_lock(&faults_state.lock);
    set_fault(fault, n);
    pthread_mutex_unlock(&faults_state.lock);
}

bool faults_disarm(void)
{
    bool hit;

    pthread_mutex_lock(&faults_state.lock);
    faults_state.fault = NULL;
    faults_state.wants_connection = false;
    hit = faults_state.injected > 0;
    pthread_mutex_unlock(&faults_state.lock);
    return hit;
}

bool faults_await_connection(struct faults_report *report)
{
    int timeout_ms = faults_timeout_ms();
    struct timespec until;
    bool ended;
    int error = 0;

    (void)__real_clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    pthread_mutex_lock(&faults_state.lock);
    while (!faults_state.connection_ended && error == 0)
        error = pthread_cond_timedwait(&faults_state.changed, &faults_state.lock, &until);
    ended = faults_state.connection_ended;
    *report = faults_state.report;
    pthread_mutex_unlock(&faults_state.lock);
    report->hit = faults_disarm();
    return ended;
}

void faults_enter(enum faults_scope scope)
{
    faults_current_scope = scope;
}

size_t faults_count(enum faults_scope scope, enum faults_call call)
{
    size_t count;

    pthread_mutex_lock(&faults_state.lock);
    count = faults_state.records[scope].counts[call];
    pthread_mutex_unlock(&faults_state.lock);
    return count;
}

long faults_live_blocks(void)
{
    long live;

    pthread_mutex_lock(&faults_state.lock);
    live = faults_state.live;
    pthread_mutex_unlock(&faults_state.lock);
    return live;
}

int faults_bad_closes(void)
{
    int count;

    pthread_mutex_lock(&faults_state.lock);
    count = faults_state.bad_closes;
    pthread_mutex_unlock(&faults_state.lock);
    return count;
}

void faults_advance(int64_t us)
{
    pthread_mutex_lock(&faults_state.lock);
    faults_state.ahead_us += us;
    pthread_mutex_unlock(&faults_state.lock);
}

void faults_freeze(bool frozen)
{
    pthread_mutex_lock(&faults_state.lock);
    faults_state.frozen_us = frozen ? faults_real_us() : 0;
    pthread_mutex_unlock(&faults_state.lock);
}

size_t faults_sleeps(void)
{
    size_t sleeps;

    pthread_mutex_lock(&faults_state.lock);
    sleeps = faults_state.sleeps;
    pthread_mutex_unlock(&faults_state.lock);
    return sleeps;
}

size_t faults_logged(enum faults_scope scope, const char *part)
{
    const char *end;
    size_t count = 0;

    pthread_mutex_lock(&faults_state.lock);
    for (const char *line = faults_state.records[scope].log; (end = strchr(line, '\n')) != NULL;
         line = end + 1)
        if (memmem(line, (size_t)(end - line), part, strlen(part)) != NULL)
            count++;
    pthread_mutex_unlock(&faults_state.lock);
    return count;
}

int faults_timeout_ms(void)
{
    const char *slow = getenv("H2ECHOD_SLOW");

    return (int)(TIMEOUT_MS * (slow ? strtod(slow, NULL) : 1));
}
