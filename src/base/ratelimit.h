/*
 * ratelimit: how often something may happen. So many at once, and so many a second from then on.
 */
#ifndef H2ECHOD_BASE_RATELIMIT_H
#define H2ECHOD_BASE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* One ratelimit. Zero is a valid one that nothing was spent of. */
struct ratelimit {
    int64_t full_again_us; /* when all that was spent will have grown back */
};

/*
 * ratelimit_take(ratelimit, now_us, count, burst, per_second):
 * Spend ${count} of an ratelimit of ${burst} (up to a million) that grows back by ${per_second} a
 * second. Return false if there is not that much left; then nothing is spent.
 */
bool ratelimit_take(struct ratelimit *ratelimit, int64_t now_us, uint32_t count, uint32_t burst,
                    uint32_t per_second);

#endif
