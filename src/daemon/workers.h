/*
 * workers: the threads that serve connections. Each serves one at a time, and then waits for the
 * next one; after a while without any it ends.
 *
 * All functions here are for one thread, the owner. It reserves a worker before it accepts a
 * connection, so that no connection is accepted without a thread to serve it.
 */
#ifndef H2ECHOD_DAEMON_WORKERS_H
#define H2ECHOD_DAEMON_WORKERS_H

#include "base/counters.h"
#include "conn/connection.h"
#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct workers;

/*
 * workers_new(event_fd):
 * Return an empty set of workers, or NULL with errno. ${event_fd} is a non-blocking eventfd of the
 * caller's that has to outlive the set; it becomes readable when a thread has ended, and when a
 * connection has finished if workers_serving asked for that. The function installs a handler for
 * SIGUSR2, which wakes blocked workers, and blocks it in the calling thread.
 */
struct workers *workers_new(int event_fd);

/*
 * workers_free(workers):
 * End all threads, join them and free the set. No connection may be open. NULL is allowed.
 */
void workers_free(struct workers *workers);

/*
 * workers_reserve(workers):
 * Make sure that a worker is reserved for the next connection: a waiting one if there is any, since
 * its memory is in the caches, else a new one. Return 0, or an errno value if a thread cannot be
 * created.
 */
int workers_reserve(struct workers *workers);

/*
 * workers_serve(workers, connection):
 * Have the reserved worker serve ${connection}. The struct is copied; what it owns is taken over.
 */
void workers_serve(struct workers *workers, const struct connection *connection);

/*
 * workers_serving(workers, notify_finished):
 * Return how many connections are open. ${notify_finished} says whether event_fd is to become
 * readable whenever a connection finishes after this count.
 */
size_t workers_serving(struct workers *workers, bool notify_finished);

/*
 * workers_serving_host(workers, peer):
 * Return how many of the open connections come from the same host as ${peer}.
 */
size_t workers_serving_host(struct workers *workers, const struct address *peer);

/*
 * workers_set_shutdown_phase(workers, shutdown_phase):
 * Make ${shutdown_phase} known to all connections, present and future, and wake those that block.
 */
void workers_set_shutdown_phase(struct workers *workers, enum shutdown_phase shutdown_phase);

/*
 * workers_watch(workers, now_us):
 * Wake every connection whose deadline has passed or that has not acted on the shutdown phase. A
 * wake-up is lost if it comes just before the thread blocks, so call this at short intervals.
 */
void workers_watch(struct workers *workers, int64_t now_us);

/*
 * workers_join(workers):
 * Join the threads that have ended, and free their memory.
 */
void workers_join(struct workers *workers);

/*
 * workers_trim_heap(workers, now_us):
 * Return memory that malloc keeps to the system, if connections or threads have freed much of it,
 * but not too often.
 */
void workers_trim_heap(struct workers *workers, int64_t now_us);

/*
 * workers_trim_heap_at(workers):
 * Return when workers_trim_heap will have something to do; INSTANT_NEVER if nothing.
 */
int64_t workers_trim_heap_at(const struct workers *workers);

/*
 * workers_sum_counters(workers, total):
 * Add the counters of all connections since the start to ${total}.
 */
void workers_sum_counters(const struct workers *workers, struct counters *total);

#endif
