/* A priority queue of nodes that live in their owners, for timers.
 *
 * The least key comes first; equal keys come in the order of their insertion. No allocation.
 * Insert and peek are O(1); pop and remove O(log n) amortised. Owned by one thread. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Zeroed: not in a heap. */
struct heap_node {
    uint64_t key;
    uint64_t turn;           /* order among equal keys */
    struct heap_node *child; /* first of the children */
    struct heap_node *next;  /* sibling */
    struct heap_node *prev;  /* sibling before, or the parent of a first child */
    bool is_linked;
};

struct heap {
    struct heap_node *root;
    size_t count;
    uint64_t turn_next;
};

void heap_init(struct heap *heap);
/* The node must not be in a heap. */
void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key);
/* Harmless on a node that is in no heap. */
void heap_remove(struct heap *heap, struct heap_node *node);
/* Takes out the first node; NULL when empty. */
struct heap_node *heap_pop(struct heap *heap);

/* The first node, left in place; NULL when empty. */
static inline struct heap_node *heap_peek(const struct heap *heap)
{
    return heap->root;
}

#define HEAP_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

#endif
