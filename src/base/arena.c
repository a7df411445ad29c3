#include "base/arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Blocks are cut off one behind the other, each with its size before it. A freed one goes onto the
 * list of its size; small sizes have a list each, so that taking and giving are a few instructions.
 */

enum {
    ALIGNMENT = 16,
    STEP = 32, /* sizes of small blocks, in bytes */
    LARGE_LIST = ARENA_LISTS - 1,
    SMALL_MAX = LARGE_LIST * STEP,
    LARGE_MAX = 32 * 1024, /* bytes asked for; what is larger is malloc's */
    PAGE = 4096,           /* or a part of one */
    BUFFER_MIN = 2 * PAGE,
    BUFFER_FRONT = 520, /* bytes of a buffer, its header among them, of which most use no more */
    KEPT = 64 * 1024,   /* bytes that the next connection finds warm */
};

enum use {
    FREE,
    IN_USE,
    TABLE, /* in use, and zero but for some places */
};

/* The size stands before what the owner has, which is aligned; free blocks are linked. */
struct arena_block {
    uint32_t size; /* of the whole block */
    uint32_t use;
    struct arena_block *next; /* only while it is free: the owner's bytes begin here */
};

enum {
    HEADER = offsetof(struct arena_block, next),
    FIRST_AT = ALIGNMENT - HEADER, /* so that what is behind the header is aligned */
};

static void *bytes_of(struct arena_block *block)
{
    return (uint8_t *)block + HEADER;
}

static struct arena_block *block_of(void *bytes)
{
    return (struct arena_block *)(void *)((uint8_t *)bytes - HEADER);
}

static bool is_ours(const struct arena *arena, const void *bytes)
{
    return (uintptr_t)bytes - (uintptr_t)arena->base < arena->size;
}

static size_t list_of(size_t block_size)
{
    return block_size > SMALL_MAX ? LARGE_LIST : block_size / STEP - 1;
}

static size_t round_up(size_t size, size_t step)
{
    return (size + step - 1) / step * step;
}

/* The size of a block for ${size} bytes. Large ones are not rounded up by much: they stay long. */
static size_t block_size_for(size_t size)
{
    size_t block_size = size + HEADER;

    return round_up(block_size, block_size > SMALL_MAX ? ALIGNMENT : STEP);
}

void arena_start(struct arena *arena, void *memory, size_t size)
{
    *arena = (struct arena){.base = memory, .size = size};
}

static struct arena_block *block_at(const struct arena *arena, size_t at)
{
    return (struct arena_block *)(void *)(arena->base + at);
}

/* The first place from ${at} on with so many bytes before a page's end. */
static size_t before_page_end(const struct arena *arena, size_t at, size_t bytes)
{
    uintptr_t base = (uintptr_t)arena->base;

    return round_up(base + at + bytes, PAGE) - bytes - base;
}

/* Where a block is to begin, from ${at} on. A table has its pages for itself, since they are given
 * back while they are zero. Of a buffer often only the beginning is used: it shares the page of
 * those before it, and those behind it begin on another. */
static size_t place(const struct arena *arena, size_t at, size_t block_size, enum use use)
{
    if (use == TABLE)
        return before_page_end(arena, at, HEADER);
    if (block_size > BUFFER_MIN)
        return before_page_end(arena, at, BUFFER_FRONT);
    return at;
}

/* What lies between two places is free. */
static void leave(struct arena *arena, size_t from, size_t to)
{
    struct arena_block *span = block_at(arena, from);

    if (from == to)
        return;
    *span = (struct arena_block){.size = (uint32_t)(to - from), .next = arena->spans};
    arena->spans = span;
}

static struct arena_block *cut_off(struct arena *arena, size_t block_size, enum use use)
{
    size_t at = arena->used > 0 ? arena->used : FIRST_AT;
    size_t begin = place(arena, at, block_size, use);
    size_t end = begin + block_size;
    struct arena_block *block;

    if (block_size > BUFFER_MIN)
        end = before_page_end(arena, end, 0) + FIRST_AT;
    if (end > arena->size)
        return NULL;
    arena->used = end;
    leave(arena, at, begin);
    block = block_at(arena, begin);
    block->size = (uint32_t)(end - begin);
    return block;
}

/* Take a free block of that size; of the large ones, one that wastes no more than it serves. */
static struct arena_block *take_free(struct arena *arena, size_t block_size)
{
    struct arena_block **link = &arena->free[list_of(block_size)];
    struct arena_block *block;

    while (*link != NULL && ((*link)->size < block_size || (*link)->size / 2 > block_size))
        link = &(*link)->next;
    block = *link;
    if (block != NULL)
        *link = block->next;
    return block;
}

/* Cut a block off the first span that is large enough, if there is one. */
static struct arena_block *take_from_span(struct arena *arena, size_t block_size)
{
    struct arena_block **link = &arena->spans;
    struct arena_block *block;
    struct arena_block *left;

    while (*link != NULL && (*link)->size < block_size)
        link = &(*link)->next;
    block = *link;
    if (block == NULL)
        return NULL;
    if (block->size - block_size < STEP) {
        *link = block->next;
        return block;
    }
    left = (struct arena_block *)(void *)((uint8_t *)block + block_size);
    left->size = block->size - (uint32_t)block_size;
    left->use = FREE;
    left->next = block->next;
    *link = left;
    block->size = (uint32_t)block_size;
    return block;
}

static struct arena_block *take(struct arena *arena, size_t size, enum use use)
{
    size_t block_size = block_size_for(size);
    struct arena_block *block;

    if (arena->size == 0 || size > LARGE_MAX)
        return NULL;
    block = take_free(arena, block_size);
    if (block == NULL)
        block = take_from_span(arena, block_size);
    if (block == NULL)
        block = cut_off(arena, block_size, use);
    if (block != NULL)
        block->use = use;
    return block;
}

/* The owner may write to all of the arena up to its last block. */
static void note_touched(struct arena *arena)
{
    if (arena->touched < arena->used)
        arena->touched = arena->used;
}

/* Nearly always the list of a small size has a block. */
static struct arena_block *take_small(struct arena *arena, size_t size)
{
    struct arena_block **list = &arena->free[list_of(block_size_for(size))];
    struct arena_block *block = *list;

    if (block == NULL)
        return NULL;
    *list = block->next;
    block->use = IN_USE;
    return block;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    struct arena_block *block = size <= SMALL_MAX - HEADER ? take_small(arena, size) : NULL;

    if (block != NULL)
        return bytes_of(block);
    block = take(arena, size, IN_USE);
    if (block == NULL) {
        arena->overflow_bytes += size;
        return malloc(size);
    }
    note_touched(arena);
    return bytes_of(block);
}

void *arena_allocate_zeroed(struct arena *arena, size_t count, size_t size)
{
    struct arena_block *block = NULL;
    uint8_t *bytes;
    size_t at;

    if (size == 0)
        size = 1;
    if (count <= LARGE_MAX / size)
        block = take(arena, count * size, count * size >= PAGE ? TABLE : IN_USE);
    if (block == NULL) {
        arena->overflow_bytes += count * size;
        return calloc(count, size);
    }
    /* What was never touched is zero, and stays with the system until it is used. */
    bytes = bytes_of(block);
    at = (size_t)(bytes - arena->base);
    if (at < arena->touched)
        memset(bytes, 0, count * size < arena->touched - at ? count * size : arena->touched - at);
    note_touched(arena);
    return bytes;
}

static void list(struct arena *arena, struct arena_block *block)
{
    struct arena_block **head = &arena->free[list_of(block->size)];

    block->use = FREE;
    block->next = *head;
    *head = block;
}

void arena_free(struct arena *arena, void *bytes)
{
    if (is_ours(arena, bytes))
        list(arena, block_of(bytes));
    else
        free(bytes);
}

void *arena_resize(struct arena *arena, void *old, size_t size)
{
    size_t old_size;
    void *bytes;

    if (old != NULL && !is_ours(arena, old)) {
        arena->overflow_bytes += size;
        return realloc(old, size);
    }
    old_size = old != NULL ? block_of(old)->size - HEADER : 0;
    if (old != NULL && size <= old_size)
        return old;
    bytes = arena_allocate(arena, size);
    if (bytes == NULL)
        return NULL;
    if (old != NULL)
        memcpy(bytes, old, old_size);
    arena_free(arena, old);
    return bytes;
}

static void forget(struct arena *arena)
{
    arena->used = 0;
    arena->spans = NULL;
    memset(arena->free, 0, sizeof(arena->free));
}

/* How far the arena's beginning is into a page. */
static size_t into_page(const struct arena *arena, size_t page)
{
    return (uintptr_t)arena->base % page;
}

/* Give back the whole pages between two places. Return false if there are none, or it failed. */
static bool give_back(const struct arena *arena, size_t from, size_t to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t into = into_page(arena, page);
    size_t begin = round_up(into + from, page);
    size_t end = (into + to) / page * page;

    return begin < end && madvise(arena->base + begin - into, end - begin, MADV_DONTNEED) == 0;
}

/* Give back all pages behind ${from}, where no block is. */
static void give_back_end(struct arena *arena, size_t from)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t into = into_page(arena, page);
    size_t end = round_up(into + arena->touched, page) - into;
    bool is_last_shared = end > arena->size; /* with what lies behind the arena */

    if (give_back(arena, from, is_last_shared ? arena->size : end) && !is_last_shared)
        arena->touched = round_up(into + from, page) - into;
}

/* The free blocks from ${at} on, up to the next one in use, become a span, the next after ${last}.
 * Return where that ends. */
static size_t merge(struct arena *arena, size_t at, size_t used, struct arena_block ***last)
{
    struct arena_block *span = block_at(arena, at);
    size_t end = at + span->size;

    while (end < used && block_at(arena, end)->use == FREE)
        end += block_at(arena, end)->size;
    span->size = (uint32_t)(end - at);
    if (end == used)
        return end;
    span->next = NULL;
    **last = span;
    *last = &span->next;
    (void)give_back(arena, at + sizeof(*span), end);
    return end;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Give back the whole pages between two places that are zero: so they will be found again. */
static void give_back_zeros(const struct arena *arena, size_t from, size_t to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t into = into_page(arena, page);

    for (size_t at = round_up(into + from, page) - into; at + page <= to; at += page) {
        if (is_zero(arena->base + at, page))
            (void)give_back(arena, at, at + page);
    }
}

void arena_release_idle_memory(struct arena *arena)
{
    size_t used = arena->used;
    size_t end = 0;
    struct arena_block **last = &arena->spans;

    forget(arena);
    for (size_t at = FIRST_AT; at < used;) {
        struct arena_block *block = block_at(arena, at);

        if (block->use == FREE) {
            at = merge(arena, at, used, &last);
            continue;
        }
        if (block->use == TABLE)
            give_back_zeros(arena, at + HEADER, at + block->size);
        end = at += block->size;
    }
    arena->used = end;
    give_back_end(arena, end);
}

void arena_clear(struct arena *arena)
{
    forget(arena);
    if (arena->touched > KEPT)
        give_back_end(arena, KEPT);
}
