/*
 * worker: the threads that serve connections, one each, and wait for the next when one is over.
 *
 * One thread, the owner, calls everything here but what its workers run. It reserves a worker
 * before it accepts a connection, so that nobody is accepted for whom there is no thread.
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
 * Return an empty set of workers, or NULL with errno. ${event_fd}, an eventfd of the caller's that
 * must outlive the set, becomes readable when a thread has ended, and when a connection has if that
 * was asked for. Prepares the signal that wakes blocked workers, SIGUSR2, for the whole process.
 */
struct workers *workers_new(int event_fd);

/*
 * workers_free(workers):
 * End every waiting thread, join all and free the set. No connection may be being served. NULL is
 * fine.
 */
void workers_free(struct workers *workers);

/*
 * workers_reserve(workers):
 * Make sure that a thread stands ready for the next connection, warm from the last one if there is
 * such. Return 0, or an errno value if no thread can be had.
 */
int workers_reserve(struct workers *workers);

/*
 * workers_serve(workers, connection):
 * Let the reserved thread serve ${connection}, which is copied; what it owns is taken over.
 */
void workers_serve(struct workers *workers, const struct connection *connection);

/*
 * workers_serving(workers, tell):
 * Return how many connections are being served. If ${tell}, event_fd becomes readable when the
 * next one of them is over, from this count on: none is missed in between.
 */
size_t workers_serving(struct workers *workers, bool tell);

/*
 * workers_serving_host(workers, peer):
 * Return how many of the connections come from the host of ${peer}.
 */
size_t workers_serving_host(struct workers *workers, const struct address *peer);

/*
 * workers_set_shutdown_phase(workers, stage):
 * Tell every connection, now and to come, the daemon's stage, waking those that block.
 */
void workers_set_shutdown_phase(struct workers *workers, enum shutdown_phase stage);

/*
 * workers_watch(workers, now_us):
 * Wake every connection whose deadline has passed or that has not seen the stage yet. A wake-up
 * that comes just before its thread blocks is lost: call this again, every now and then.
 */
void workers_watch(struct workers *workers, int64_t now_us);

/*
 * workers_join(workers):
 * Join the threads that have ended.
 */
void workers_join(struct workers *workers);

/*
 * workers_trim_heap(workers, now_us):
 * Give back to the system what malloc keeps of connections that are gone or at rest, if that is
 * worth it, and not too often.
 */
void workers_trim_heap(struct workers *workers, int64_t now_us);

/*
 * workers_trim_heap_at(workers):
 * Return when workers_trim_heap has something to do: INSTANT_NEVER, if it has not.
 */
int64_t workers_trim_heap_at(const struct workers *workers);

/*
 * workers_count(workers, total):
 * Add the figures of every connection, past and present, to ${total}.
 */
void workers_count(const struct workers *workers, struct counters *total);

#endif
