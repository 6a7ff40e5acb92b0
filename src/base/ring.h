/* A bounded queue of pointers from exactly one thread to exactly one other.
 *
 * One ring for each ordered pair of shards. Push and pop never block and never allocate. All that
 * the producer wrote before a push is visible to the consumer after the pop that returns it.
 *
 * Sleeping and waking is the caller's: a consumer announces that it sleeps, then asks
 * ring_is_empty once more; a producer pushes, then reads the announcement; both put a sequentially
 * consistent fence in between, so that at least one of them sees the other. */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define RING_CACHE_LINE 64

/* Each side's index and its stale copy of the other's share a line that only it writes. */
struct ring {
    alignas(RING_CACHE_LINE) _Atomic size_t tail; /* written by the producer */
    size_t head_seen;
    alignas(RING_CACHE_LINE) _Atomic size_t head; /* written by the consumer */
    size_t tail_seen;
    alignas(RING_CACHE_LINE) void **slots; /* constant after init, like the rest */
    size_t mask;
};

/* `cap` is a power of two. */
enum err ring_init(struct ring *ring, size_t cap) MUST_USE;
/* Neither thread may use it any more. What is still inside is the caller's to pop first. */
void ring_deinit(struct ring *ring);
/* Producer only. False when full. `item` is not NULL. */
bool ring_push(struct ring *ring, void *item) MUST_USE;
/* Consumer only. NULL when empty. */
void *ring_pop(struct ring *ring);
/* Consumer only: nothing to pop at this moment. */
bool ring_is_empty(struct ring *ring);

#endif
