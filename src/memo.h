/*
 * memo: what was made of a buffer once, to be found by the buffer's address.
 *
 * HPACK hands out the same buffer each time that a field comes from one of its tables. Whoever
 * holds a reference to the buffer can be sure that its address means no other one; so whatever
 * falls out of here must be let go of by the caller. Pure.
 */
#ifndef H2ECHOD_MEMO_H
#define H2ECHOD_MEMO_H

#include <stddef.h>

enum {
    MEMO_SETS = 32, /* a power of two */
    MEMO_WAYS = 4,
};

/* One buffer and what was made of it. */
struct memo_pair {
    void *key; /* NULL = none */
    void *value;
};

/* All zero is a valid empty one. In a set, what was asked for last comes first. */
struct memo {
    struct memo_pair sets[MEMO_SETS][MEMO_WAYS];
};

/*
 * memo_find(memo, key):
 * Return the value of ${key}, or NULL if there is none.
 */
void *memo_find(struct memo *memo, const void *key);

/*
 * memo_insert(memo, pair):
 * Put in ${pair}, whose key must not be there. Return what had to make room for it: a pair whose
 * key is NULL if nothing had.
 */
struct memo_pair memo_insert(struct memo *memo, struct memo_pair pair);

#endif
