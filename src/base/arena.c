#include "base/arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Blocks are cut off one after the other, each with a header before it that has its size. A block
 * that is freed goes onto the list for its size. Each small size has a list of its own, so that
 * allocating and freeing take a few instructions.
 *
 * Two kinds of block, tables and buffers, are placed so that an idle connection needs few pages:
 * see choose_place. Measured with nghttp2 1.52 and pages of 4 KiB, an idle connection has 17.2 KiB
 * of private memory. It has 21.2 KiB if either kind is placed like other blocks, and 29.2 KiB if
 * both are. The cost is 450 instructions a connection and 40 a request (1 % and 0.4 %).
 */

enum {
    ALIGNMENT = 16,
    STEP = 32, /* bytes by which the sizes of small blocks differ */
    LARGE_LIST = ARENA_LISTS - 1,
    SMALL_MAX = LARGE_LIST * STEP,
    LARGE_MAX = 32 * 1024, /* bytes; larger blocks come from malloc */
    PAGE = 4096,           /* bytes; the system's pages are as large, or a multiple of it */
    BUFFER_MIN = 2 * PAGE,
    BUFFER_FRONT = 520,   /* bytes of a buffer, with its header, that are enough for most uses */
    KEPT_MAX = 64 * 1024, /* bytes whose pages are kept for the next connection */
};

enum state {
    FREE,
    IN_USE,
    TABLE, /* in use, and mostly zero */
};

/* A block's header. */
struct arena_block {
    uint32_t size; /* bytes, with the header */
    uint32_t state;
    struct arena_block *next; /* while it is free; otherwise the owner's bytes begin here */
};

enum {
    HEADER = offsetof(struct arena_block, next),
    FIRST_AT = ALIGNMENT - HEADER, /* so that the owner's bytes are aligned */
};

static void *bytes_of(struct arena_block *block)
{
    return (uint8_t *)block + HEADER;
}

static struct arena_block *block_of(void *bytes)
{
    return (struct arena_block *)(void *)((uint8_t *)bytes - HEADER);
}

static bool is_inside(const struct arena *arena, const void *bytes)
{
    return (uintptr_t)bytes - (uintptr_t)arena->base < arena->size;
}

static size_t list_index(size_t block_size)
{
    return block_size > SMALL_MAX ? LARGE_LIST : block_size / STEP - 1;
}

static size_t round_up(size_t size, size_t step)
{
    return (size + step - 1) / step * step;
}

/* The size of a block for ${size} bytes. Large ones are rounded up less, since they are used for
 * longer. */
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

/* The first place from ${at} on that is ${bytes} bytes before the end of a page. */
static size_t before_page_end(const struct arena *arena, size_t at, size_t bytes)
{
    uintptr_t base = (uintptr_t)arena->base;

    return round_up(base + at + bytes, PAGE) - bytes - base;
}

/* Where a block begins, from ${at} on. A table, like nghttp2's table of streams, has pages of its
 * own, which are released while they are zero: when the streams are closed. Of a buffer, like
 * nghttp2's for outgoing frames, often only the beginning is used: that shares a page with the
 * blocks before it, and the blocks after it begin on another page. */
static size_t choose_place(const struct arena *arena, size_t at, size_t block_size,
                           enum state state)
{
    if (state == TABLE)
        return before_page_end(arena, at, HEADER);
    if (block_size > BUFFER_MIN)
        return before_page_end(arena, at, BUFFER_FRONT);
    return at;
}

/* Whatever is between two places is free. */
static void add_gap(struct arena *arena, size_t from, size_t to)
{
    struct arena_block *gap = block_at(arena, from);

    if (from == to)
        return;
    *gap = (struct arena_block){.size = (uint32_t)(to - from), .next = arena->gaps};
    arena->gaps = gap;
}

static struct arena_block *cut_block(struct arena *arena, size_t block_size, enum state state)
{
    size_t at = arena->used > 0 ? arena->used : FIRST_AT;
    size_t begin = choose_place(arena, at, block_size, state);
    size_t end = begin + block_size;
    struct arena_block *block;

    if (block_size > BUFFER_MIN)
        end = before_page_end(arena, end, 0) + FIRST_AT;
    if (end > arena->size)
        return NULL;
    arena->used = end;
    add_gap(arena, at, begin);
    block = block_at(arena, begin);
    block->size = (uint32_t)(end - begin);
    return block;
}

/* Take a free block of that size; of the large ones, one at most twice as large. */
static struct arena_block *take_free(struct arena *arena, size_t block_size)
{
    struct arena_block **link = &arena->free[list_index(block_size)];
    struct arena_block *block;

    while (*link != NULL && ((*link)->size < block_size || (*link)->size / 2 > block_size))
        link = &(*link)->next;
    block = *link;
    if (block != NULL)
        *link = block->next;
    return block;
}

/* Cut a block off the first gap that is large enough, if there is one. */
static struct arena_block *take_from_gap(struct arena *arena, size_t block_size)
{
    struct arena_block **link = &arena->gaps;
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
    left->state = FREE;
    left->next = block->next;
    *link = left;
    block->size = (uint32_t)block_size;
    return block;
}

static struct arena_block *take_block(struct arena *arena, size_t size, enum state state)
{
    size_t block_size = block_size_for(size);
    struct arena_block *block;

    if (arena->size == 0 || size > LARGE_MAX)
        return NULL;
    block = take_free(arena, block_size);
    if (block == NULL)
        block = take_from_gap(arena, block_size);
    if (block == NULL)
        block = cut_block(arena, block_size, state);
    if (block != NULL)
        block->state = state;
    return block;
}

/* The owners may write to all of the arena up to its last block. */
static void note_touched(struct arena *arena)
{
    if (arena->touched < arena->used)
        arena->touched = arena->used;
}

/* The common case: the list for a small size has a block. */
static struct arena_block *take_small(struct arena *arena, size_t size)
{
    struct arena_block **head = &arena->free[list_index(block_size_for(size))];
    struct arena_block *block = *head;

    if (block == NULL)
        return NULL;
    *head = block->next;
    block->state = IN_USE;
    return block;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    struct arena_block *block = size <= SMALL_MAX - HEADER ? take_small(arena, size) : NULL;

    if (block != NULL)
        return bytes_of(block);
    block = take_block(arena, size, IN_USE);
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
        block = take_block(arena, count * size, count * size >= PAGE ? TABLE : IN_USE);
    if (block == NULL) {
        arena->overflow_bytes += count * size;
        return calloc(count, size);
    }
    /* Memory that was never touched is zero already; to write to it would bring its pages into use.
     */
    bytes = bytes_of(block);
    at = (size_t)(bytes - arena->base);
    if (at < arena->touched)
        memset(bytes, 0, count * size < arena->touched - at ? count * size : arena->touched - at);
    note_touched(arena);
    return bytes;
}

static void push_free(struct arena *arena, struct arena_block *block)
{
    struct arena_block **head = &arena->free[list_index(block->size)];

    block->state = FREE;
    block->next = *head;
    *head = block;
}

void arena_free(struct arena *arena, void *bytes)
{
    if (is_inside(arena, bytes))
        push_free(arena, block_of(bytes));
    else
        free(bytes);
}

void *arena_resize(struct arena *arena, void *old, size_t size)
{
    size_t old_size;
    void *bytes;

    if (old != NULL && !is_inside(arena, old)) {
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

static void forget_blocks(struct arena *arena)
{
    arena->used = 0;
    arena->gaps = NULL;
    memset(arena->free, 0, sizeof(arena->free));
}

/* How far the arena's beginning is from the beginning of a page. */
static size_t offset_in_page(const struct arena *arena, size_t page)
{
    return (uintptr_t)arena->base % page;
}

/* Release the whole pages between two places. Return false if there are none, or if it failed. */
static bool release_pages(const struct arena *arena, size_t from, size_t to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t offset = offset_in_page(arena, page);
    size_t begin = round_up(offset + from, page);
    size_t end = (offset + to) / page * page;

    return begin < end && madvise(arena->base + begin - offset, end - begin, MADV_DONTNEED) == 0;
}

/* Release all pages after ${from}, where no block is. */
static void release_end(struct arena *arena, size_t from)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t offset = offset_in_page(arena, page);
    size_t end = round_up(offset + arena->touched, page) - offset;
    bool is_last_shared = end > arena->size; /* with other memory, after the arena */

    if (release_pages(arena, from, is_last_shared ? arena->size : end) && !is_last_shared)
        arena->touched = round_up(offset + from, page) - offset;
}

/* Make one gap of the free blocks from ${at} on, up to the next one in use; append it to the list
 * whose end ${last} is. Return where it ends. At the end of the arena there is nothing to append.
 */
static size_t merge_free(struct arena *arena, size_t at, size_t used, struct arena_block ***last)
{
    struct arena_block *gap = block_at(arena, at);
    size_t end = at + gap->size;

    while (end < used && block_at(arena, end)->state == FREE)
        end += block_at(arena, end)->size;
    gap->size = (uint32_t)(end - at);
    if (end == used)
        return end;
    gap->next = NULL;
    **last = gap;
    *last = &gap->next;
    (void)release_pages(arena, at + sizeof(*gap), end);
    return end;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Release those whole pages between two places that are zero: when they are used again, they will
 * be zero. */
static void release_zero_pages(const struct arena *arena, size_t from, size_t to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t offset = offset_in_page(arena, page);

    for (size_t at = round_up(offset + from, page) - offset; at + page <= to; at += page) {
        if (is_zero(arena->base + at, page))
            (void)release_pages(arena, at, at + page);
    }
}

void arena_release_idle_memory(struct arena *arena)
{
    size_t used = arena->used;
    size_t end = 0;
    struct arena_block **last = &arena->gaps;

    forget_blocks(arena);
    for (size_t at = FIRST_AT; at < used;) {
        struct arena_block *block = block_at(arena, at);

        if (block->state == FREE) {
            at = merge_free(arena, at, used, &last);
            continue;
        }
        if (block->state == TABLE)
            release_zero_pages(arena, at + HEADER, at + block->size);
        end = at += block->size;
    }
    arena->used = end;
    release_end(arena, end);
}

void arena_clear(struct arena *arena)
{
    forget_blocks(arena);
    if (arena->touched > KEPT_MAX)
        release_end(arena, KEPT_MAX);
}
