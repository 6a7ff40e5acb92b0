/* Intrusive doubly linked list. A node is in at most one list; an unlinked node points to itself.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

/* Whether a node is in a list. */
static inline bool list_is_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *list, struct list *node)
{
    list_insert_before(list, node);
}

static inline void list_push_front(struct list *list, struct list *node)
{
    list_insert_before(list->next, node);
}

/* Harmless on an unlinked node. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list *list_pop_front(struct list *list)
{
    if (list_is_empty(list))
        return NULL;
    struct list *node = list->next;
    list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_FOREACH(node, head) \
    for (struct list *node = (head)->next; node != (head); node = node->next)
/* The body may remove the node it is at. */
#define LIST_FOREACH_SAFE(node, head)                                                 \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

#endif
