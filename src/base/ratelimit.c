#include "base/ratelimit.h"

bool ratelimit_take(struct ratelimit *ratelimit, int64_t now_us, uint32_t count, uint32_t burst,
                    uint32_t per_second)
{
    const int64_t each_us = 1000000 / per_second;
    int64_t until = ratelimit->full_again_us > now_us ? ratelimit->full_again_us : now_us;

    until += count * each_us;
    if (until - now_us > burst * each_us)
        return false;
    ratelimit->full_again_us = until;
    return true;
}
