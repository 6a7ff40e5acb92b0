/* A pairing heap; see heap.h.
 *
 * Invariants: no child comes before its parent; `prev` of a first child is its parent, of another
 * child its elder sibling, of the root NULL. */
#include "base/heap.h"

#include "base/assert.h"

void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

static bool comes_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->turn < b->turn;
}

/* Joins two lone trees; either may be NULL. */
static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
    if (!a || !b)
        return a ? a : b;
    if (comes_before(b, a)) {
        struct heap_node *first = b;
        b = a;
        a = first;
    }
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* Joins a list of siblings into one tree: pairs left to right, then the pairs right to left. */
static struct heap_node *meld_siblings(struct heap_node *first)
{
    struct heap_node *pairs = NULL; /* linked by next, the last pair first */
    while (first) {
        struct heap_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        struct heap_node *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    struct heap_node *tree = NULL;
    while (pairs) {
        struct heap_node *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        tree = meld(tree, pair);
    }
    return tree;
}

void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key)
{
    ASSERT(!node->is_linked);
    *node = (struct heap_node){.key = key, .turn = heap->turn_next++, .is_linked = true};
    heap->root = meld(heap->root, node);
    heap->count++;
}

/* Cuts a node that is not the root, with its subtree, from its parent and siblings. */
static void cut(struct heap_node *node)
{
    ASSERT(node->prev);
    if (node->prev->child == node)
        node->prev->child = node->next;
    else
        node->prev->next = node->next;
    if (node->next)
        node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (!node->is_linked)
        return;
    struct heap_node *orphans = meld_siblings(node->child);
    if (node == heap->root) {
        heap->root = orphans;
    } else {
        cut(node);
        heap->root = meld(heap->root, orphans);
    }
    node->child = NULL;
    node->is_linked = false;
    heap->count--;
    ASSERT((heap->count == 0) == (heap->root == NULL));
}

struct heap_node *heap_pop(struct heap *heap)
{
    struct heap_node *node = heap->root;
    if (node)
        heap_remove(heap, node);
    return node;
}
