#include "memo.h"

#include <stdint.h>

static struct memo_pair *set_of(struct memo *memo, const void *key)
{
    /* Fibonacci hashing: buffers lie at multiples of some power of two. */
    uint64_t hash = (uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);

    return memo->sets[hash >> 32 & (MEMO_SETS - 1)];
}

void *memo_find(struct memo *memo, const void *key)
{
    struct memo_pair *set = set_of(memo, key);
    struct memo_pair found;
    int way = 0;

    while (way < MEMO_WAYS && set[way].key != key)
        way++;
    if (way == MEMO_WAYS)
        return NULL;
    found = set[way];
    for (; way > 0; way--)
        set[way] = set[way - 1];
    set[0] = found;
    return found.value;
}

/* Whatever comes only once takes the last place, from its like. */
struct memo_pair memo_insert(struct memo *memo, struct memo_pair pair)
{
    struct memo_pair *set = set_of(memo, pair.key);
    int way = 0;
    struct memo_pair out;

    while (way < MEMO_WAYS - 1 && set[way].key != NULL)
        way++;
    out = set[way];
    set[way] = pair;
    return out;
}
