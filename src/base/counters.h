/*
 * counters: what one worker has seen, in words of its own that one other thread may read.
 *
 * Each set has a single writer, so that counting is a plain load and store and no cache line goes
 * from core to core; the reader sums the sets when somebody asks.
 */
#ifndef H2ECHOD_BASE_COUNTERS_H
#define H2ECHOD_BASE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

struct counters {
    _Atomic uint64_t requests;  /* streams opened by a client */
    _Atomic uint64_t resets;    /* RST_STREAM, either way */
    _Atomic uint64_t received;  /* bytes */
    _Atomic uint64_t sent;      /* bytes */
    _Atomic uint64_t timed_out; /* connections and streams that a timeout ended */
};

/*
 * counter_add(counter, amount):
 * Add ${amount}. For the counter's one writer only.
 */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/*
 * counters_sum(total, part):
 * Add every figure of ${part}, as it is at this moment, to ${total}.
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
