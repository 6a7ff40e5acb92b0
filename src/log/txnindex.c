/* Aborted transactions: the file's format is in txnindex.h. Pure; any thread. */
#include "log/txnindex.h"

#include <stdlib.h>

#define VERSION 0
/* 128 MiB of them. */
#define TXNS_MAX ((size_t)1 << 22)

void txn_list_deinit(struct txn_list *list)
{
    free(list->items);
    *list = (struct txn_list){0};
}

static enum err make_room(struct txn_list *list, size_t more)
{
    if (more > TXNS_MAX - list->count)
        return ERR_LIMIT;
    if (list->count + more <= list->cap)
        return ERR_OK;
    size_t cap = (list->count + more) * 2;
    struct aborted_txn *items = realloc(list->items, cap * sizeof(*items));
    if (!items)
        return ERR_NOMEM;
    list->items = items;
    list->cap = cap;
    return ERR_OK;
}

enum err txn_list_add(struct txn_list *list, const struct aborted_txn *txn)
{
    TRY(make_room(list, 1));
    list->items[list->count++] = *txn;
    return ERR_OK;
}

static int64_t i64_at(const uint8_t *at)
{
    return (int64_t)be64_load(at);
}

enum err txn_list_add_file(struct txn_list *list, struct slice bytes)
{
    size_t count = bytes.len / TXNINDEX_ENTRY_BYTES;
    TRY(make_room(list, count));
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = bytes.data + i * TXNINDEX_ENTRY_BYTES;
        struct aborted_txn txn = {i64_at(at + 2), i64_at(at + 10), i64_at(at + 18),
                                  i64_at(at + 26)};
        if (be16_load(at) != VERSION || txn.producer_id < 0 || txn.first_offset < 0 ||
            txn.last_offset < txn.first_offset)
            return ERR_MALFORMED;
        list->items[list->count++] = txn;
    }
    return ERR_OK;
}

static int by_first_offset(const void *a, const void *b)
{
    int64_t first = ((const struct aborted_txn *)a)->first_offset;
    int64_t second = ((const struct aborted_txn *)b)->first_offset;
    return first < second ? -1 : first > second;
}

void txn_list_sort(struct txn_list *list)
{
    if (list->count > 0)
        qsort(list->items, list->count, sizeof(*list->items), by_first_offset);
}

void txnindex_put(struct buf *out, const struct aborted_txn *txn)
{
    buf_put_be16(out, VERSION);
    buf_put_be64(out, (uint64_t)txn->producer_id);
    buf_put_be64(out, (uint64_t)txn->first_offset);
    buf_put_be64(out, (uint64_t)txn->last_offset);
    buf_put_be64(out, (uint64_t)txn->last_stable_offset);
}
