/*
 * What the files of faults share: its state, and the decision whether a call fails. Nothing else
 * includes it.
 */
#ifndef H2ECHOD_TESTS_FAULTS_INTERNAL_H
#define H2ECHOD_TESTS_FAULTS_INTERNAL_H

#include "faults/faults.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAULTS_LOG_MAX = 1 << 16 };

/* What was done in one scope since faults_arm. */
struct faults_record {
    size_t counts[FAULTS_CALLS];
    size_t log_length;
    char log[FAULTS_LOG_MAX];
};

struct faults_state {
    pthread_mutex_t lock; /* for everything here */
    pthread_cond_t changed;
    const struct fault *fault; /* NULL = none is armed */
    enum faults_scope scope;
    size_t left; /* calls before the first that fails */
    int injected;
    bool wants_connection; /* the next connection is the chosen one */
    bool connection_ended; /* the chosen one */
    int fd;                /* of the chosen connection */
    struct faults_report report;
    struct faults_record records[FAULTS_SCOPES];
    long live;
    int bad_closes;
    size_t sleeps;
    int64_t ahead_us;  /* the daemon's clock is ahead of the real one */
    int64_t frozen_us; /* the real time at which the daemon's clock was stopped; 0 = it runs */
};

extern struct faults_state faults_state;

/* The scope of this thread's calls. */
extern _Thread_local enum faults_scope faults_current_scope;

/* None of this thread's calls fails for now. */
extern _Thread_local bool faults_suspended;

/*
 * faults_inject(call):
 * Count a call of this thread. Return the errno value that it has to fail with, 0 if it may move
 * one byte only, or -1 if it is to work as usual.
 */
int faults_inject(enum faults_call call);

/*
 * faults_fails(call):
 * Call faults_inject. Return true with errno set if the call has to fail.
 */
bool faults_fails(enum faults_call call);

/*
 * faults_error(call):
 * Call faults_inject. Return the errno value that the call has to return, or 0.
 */
int faults_error(enum faults_call call);

/*
 * faults_count_live(change):
 * Add ${change} to the number of allocated blocks, unless the test itself runs.
 */
void faults_count_live(long change);

/*
 * faults_forget_thread(void):
 * Free what OpenSSL keeps for this thread.
 */
void faults_forget_thread(void);

/*
 * faults_prepare_thread(void):
 * Have OpenSSL allocate what it needs to keep errors for this thread, if it leaks when that fails.
 */
void faults_prepare_thread(void);

/*
 * faults_real_us(void):
 * Return the time of the real monotonic clock.
 */
int64_t faults_real_us(void);

#endif
