/* The single-producer single-consumer ring; see ring.h.
 *
 * head and tail count pops and pushes and wrap at SIZE_MAX; tail - head is the number inside, and
 * slot i lies at i & mask. A slot belongs to the producer while it is outside of [head, tail) and
 * to the consumer while inside; the release stores below hand it over. */
#include "base/ring.h"

#include <stdlib.h>

#include "base/assert.h"

enum err ring_init(struct ring *ring, size_t cap)
{
    ASSERT(cap > 0);
    ASSERT((cap & (cap - 1)) == 0);
    *ring = (struct ring){.mask = cap - 1};
    ring->slots = calloc(cap, sizeof(*ring->slots));
    return ring->slots ? ERR_OK : ERR_NOMEM;
}

void ring_deinit(struct ring *ring)
{
    free(ring->slots);
    ring->slots = NULL;
}

bool ring_push(struct ring *ring, void *item)
{
    ASSERT(item);
    /* Relaxed: only this thread writes tail. */
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_seen > ring->mask) {
        /* Acquire: pairs with the consumer's release of head, so that its read of the slot
         * happened before our write to it. */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen > ring->mask)
            return false;
    }
    ring->slots[tail & ring->mask] = item;
    /* Release: who sees the new tail sees the slot, and the item's contents. */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

void *ring_pop(struct ring *ring)
{
    /* Relaxed: only this thread writes head. */
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == ring->tail_seen) {
        /* Acquire: pairs with the producer's release of tail. */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen)
            return NULL;
    }
    void *item = ring->slots[head & ring->mask];
    /* Release: our read of the slot is done before the producer may take it again. */
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return item;
}

bool ring_is_empty(struct ring *ring)
{
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    /* Acquire: a pop that follows a false answer finds the item. */
    ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
    return head == ring->tail_seen;
}
