/*
 * counters: what one worker has counted, for another thread to read.
 *
 * Each set of counters has one writer, so that counting is a plain load and store, and no cache
 * line moves from one core to another. The reader adds the sets up when it needs the totals.
 */
#ifndef H2ECHOD_BASE_COUNTERS_H
#define H2ECHOD_BASE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

struct counters {
    _Atomic uint64_t requests;  /* streams opened by clients */
    _Atomic uint64_t resets;    /* RST_STREAM frames, in both directions */
    _Atomic uint64_t received;  /* bytes */
    _Atomic uint64_t sent;      /* bytes */
    _Atomic uint64_t timed_out; /* connections and streams that were ended by a timeout */
};

/*
 * counter_add(counter, amount):
 * Add ${amount} to ${counter}. Only its one writer may do this.
 */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/*
 * counters_sum(total, part):
 * Add each counter of ${part}, as it is at the moment, to ${total}.
 */
static inline void counters_sum(struct counters *total, const struct counters *part)
{
    counter_add(&total->requests, atomic_load_explicit(&part->requests, memory_order_relaxed));
    counter_add(&total->resets, atomic_load_explicit(&part->resets, memory_order_relaxed));
    counter_add(&total->received, atomic_load_explicit(&part->received, memory_order_relaxed));
    counter_add(&total->sent, atomic_load_explicit(&part->sent, memory_order_relaxed));
    counter_add(&total->timed_out, atomic_load_explicit(&part->timed_out, memory_order_relaxed));
}

#endif
