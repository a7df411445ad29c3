/*
 * arena: the memory of one connection, close together, for one thread.
 *
 * A connection's allocations come from one piece of mapped memory: they are on few pages, no lock
 * is needed, and all of them are gone with the connection. What does not fit comes from malloc. An
 * arena without memory always uses malloc: the builds for AddressSanitizer and valgrind have only
 * such arenas, so that each block is checked. Pure, except for releasing pages to the system.
 */
#ifndef H2ECHOD_BASE_ARENA_H
#define H2ECHOD_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

#ifndef ARENA_SIZE
#define ARENA_SIZE                                                                                 \
    131072 /* bytes of address space; pages are used as needed. 0 = always malloc                  \
            */
#endif

enum { ARENA_LISTS = 17 };

/* All zero is valid: an arena without memory. */
struct arena {
    uint8_t *base; /* borrowed */
    size_t size;
    size_t used;           /* bytes from base on that have been cut into blocks */
    size_t touched;        /* bytes from base on that may be other than zero */
    size_t overflow_bytes; /* bytes that came from malloc; may be reset by the caller */
    struct arena_block
        *free[ARENA_LISTS];   /* free blocks by size; the last list is for all large sizes */
    struct arena_block *gaps; /* free blocks that were next to each other, joined */
};

/*
 * arena_start(arena, memory, size):
 * Start ${arena} with ${memory}: ${size} bytes that are zero and aligned to 16. They stay the
 * caller's.
 */
void arena_start(struct arena *arena, void *memory, size_t size);

/*
 * arena_allocate(arena, size):
 * Return ${size} bytes, aligned to 16 and to be freed by arena_free; NULL with errno ENOMEM if
 * memory ran out.
 */
void *arena_allocate(struct arena *arena, size_t size);

/*
 * arena_allocate_zeroed(arena, count, size):
 * As arena_allocate, for ${count} times ${size} bytes, which are zero.
 */
void *arena_allocate_zeroed(struct arena *arena, size_t count, size_t size);

/*
 * arena_resize(arena, old, size):
 * Change the size of ${old}, a block from this arena or NULL, to ${size} bytes. Return the block
 * that replaces it and begins with the same bytes. If memory ran out, return NULL and leave ${old}
 * as it is.
 */
void *arena_resize(struct arena *arena, void *old, size_t size);

/*
 * arena_free(arena, bytes):
 * Free ${bytes}, a block from this arena. NULL is allowed.
 */
void arena_free(struct arena *arena, void *bytes);

/*
 * arena_release_idle_memory(arena):
 * Release the pages in which no block is in use to the system, and those pages of large blocks from
 * arena_allocate_zeroed that are zero. The arena's memory must be a private, anonymous mapping.
 */
void arena_release_idle_memory(struct arena *arena);

/*
 * arena_clear(arena):
 * Free every block in the arena's own memory at once: none of them may be used any more. If there
 * were many, their pages are released to the system, as by arena_release_idle_memory. Blocks from
 * malloc are not freed.
 */
void arena_clear(struct arena *arena);

#endif
