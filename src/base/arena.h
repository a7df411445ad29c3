/*
 * arena: the memory of one connection, close together, for one thread.
 *
 * What a connection allocates comes from one piece of mapped memory, so that it lies on few pages,
 * is had without a lock, and is gone at once with the connection; what does not fit comes from
 * malloc. An arena of no memory is malloc alone: builds with AddressSanitizer or for valgrind have
 * such, to see each block. Pure, but for pages that are given back.
 */
#ifndef H2ECHOD_BASE_ARENA_H
#define H2ECHOD_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

#ifndef ARENA_SIZE
#define ARENA_SIZE 131072 /* bytes, of which what is touched counts; 0 = malloc alone */
#endif

enum { ARENA_LISTS = 17 };

/* All zero is a valid arena of no memory. */
struct arena {
    uint8_t *base; /* not owned */
    size_t size;
    size_t used;           /* bytes from base on that blocks were made of */
    size_t touched;        /* beyond so many bytes all are zero */
    size_t overflow_bytes; /* bytes that malloc was asked for; the caller's to reset */
    struct arena_block *free[ARENA_LISTS]; /* blocks by size, the last list of any large size */
    struct arena_block *spans;             /* what free blocks have become that lay side by side */
};

/*
 * arena_start(arena, memory, size):
 * Make ${arena} one of ${memory}, ${size} bytes that are zero and aligned to 16, which stay the
 * caller's.
 */
void arena_start(struct arena *arena, void *memory, size_t size);

/*
 * arena_allocate(arena, size):
 * Return ${size} bytes, aligned to 16; NULL with errno ENOMEM if there are none. To be freed by
 * arena_free.
 */
void *arena_allocate(struct arena *arena, size_t size);

/*
 * arena_allocate_zeroed(arena, count, size):
 * Return ${count} times ${size} bytes that are zero, as arena_allocate.
 */
void *arena_allocate_zeroed(struct arena *arena, size_t count, size_t size);

/*
 * arena_resize(arena, old, size):
 * Return ${size} bytes that begin with what ${old}, from this arena or NULL, has; ${old} is freed.
 * NULL if there are none: ${old} is then as it was.
 */
void *arena_resize(struct arena *arena, void *old, size_t size);

/*
 * arena_free(arena, bytes):
 * Free ${bytes}, from this arena. NULL is fine.
 */
void arena_free(struct arena *arena, void *bytes);

/*
 * arena_release_idle_memory(arena):
 * Give the pages in which no block is in use back to the system, and those of large blocks that
 * were asked for zeroed and are zero still, or again. The arena's memory must be mapped, private
 * and anonymous.
 */
void arena_release_idle_memory(struct arena *arena);

/*
 * arena_clear(arena):
 * Forget every block that lies in the arena's own memory: none of them may be used any more. Where
 * there were many, their pages go back to the system, as by arena_release_idle_memory.
 */
void arena_clear(struct arena *arena);

#endif
