#include "base/ratelimit.h"

bool allowance_spend(struct allowance *allowance, int64_t now_us, uint32_t count, uint32_t burst,
                     uint32_t per_second)
{
    const int64_t each_us = 1000000 / per_second;
    int64_t until = allowance->paid_until_us > now_us ? allowance->paid_until_us : now_us;

    until += count * each_us;
    if (until - now_us > burst * each_us)
        return false;
    allowance->paid_until_us = until;
    return true;
}
