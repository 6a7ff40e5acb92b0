/* An arena: a request's memory, taken in pieces and given back at once.
 *
 * Blocks double up to ARENA_BLOCK_MAX; arena_reset keeps the first block for the next request.
 * Memory is not zeroed unless the name says so, and is aligned for any type. A limit bounds what
 * one request may take: past it, and where the system has no memory, the answer is NULL. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena_block;

struct arena {
    struct arena_block *head; /* newest block */
    size_t used;              /* bytes given out of the newest block */
    size_t total;             /* bytes of all blocks */
    size_t limit;             /* bytes that all blocks together may reach */
};

#define ARENA_NO_LIMIT SIZE_MAX

void arena_init(struct arena *arena, size_t limit);
void arena_deinit(struct arena *arena);
/* Takes back all memory given out; keeps one block. */
void arena_reset(struct arena *arena);

/* NULL when over the limit or out of memory. `size` 0 gives a valid, distinct pointer. */
void *arena_alloc(struct arena *arena, size_t size) MUST_USE;
void *arena_zalloc(struct arena *arena, size_t size) MUST_USE;
/* An array of count elements, zeroed; NULL also when count * size overflows. */
void *arena_array(struct arena *arena, size_t count, size_t size) MUST_USE;
/* A copy with a trailing NUL (not counted in len); data is NULL on failure. */
struct str arena_str(struct arena *arena, struct str s) MUST_USE;
struct slice arena_slice(struct arena *arena, struct slice s) MUST_USE;
/* printf into the arena; data is NULL on failure. */
struct str arena_printf(struct arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))) MUST_USE;

#endif
