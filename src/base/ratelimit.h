/*
 * ratelimit: how often something may happen: a number of times at once, and so many times a second
 * from then on (a token bucket). Pure.
 */
#ifndef H2ECHOD_BASE_RATELIMIT_H
#define H2ECHOD_BASE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* All zero is valid: nothing has been taken. */
struct ratelimit {
    int64_t full_again_us; /* when everything that was taken is available again */
};

/*
 * ratelimit_take(ratelimit, now_us, count, burst, per_second):
 * Take ${count} out of the ${burst} (at most a million) that are available at once, and become
 * available again at the rate of ${per_second}. Return false if fewer are available; then nothing
 * is taken. ${now_us} must not go backward.
 */
bool ratelimit_take(struct ratelimit *ratelimit, int64_t now_us, uint32_t count, uint32_t burst,
                    uint32_t per_second);

#endif
