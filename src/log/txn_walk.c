/* Which transactions are open at a place of the log.
 *
 * Runs on: any thread. Batches come in the order of their offsets. An aborted transaction is open
 * from its first offset to its marker; one that is not in the list of aborted ones was committed,
 * and is open from the first of its batches that the walk meets. A producer has one transaction at
 * a time. */
#include "log/txn_walk.h"

#include <stdlib.h>

#include "base/assert.h"

struct open_txn {
    int64_t producer_id;
    const struct aborted_txn *aborted; /* NULL: it will be committed */
    bool has_batches;                  /* that the walk met */
};

static bool has_producer(const void *entry, const void *key)
{
    return ((const struct open_txn *)entry)->producer_id == *(const int64_t *)key;
}

static uint64_t hash_of(const struct txn_walk *walk, int64_t producer_id)
{
    return hash_u64(walk->open.seed, (uint64_t)producer_id);
}

void txn_walk_init(struct txn_walk *walk, const struct txn_list *aborted, int64_t from_offset,
                   uint64_t seed)
{
    *walk = (struct txn_walk){.aborted = aborted, .from_offset = from_offset};
    map_init(&walk->open, seed, has_producer);
}

void txn_walk_deinit(struct txn_walk *walk)
{
    struct map_iter iter;
    map_iter_init(&iter, &walk->open);
    for (void *txn; (txn = map_iter_next(&iter)) != NULL;)
        free(txn);
    map_deinit(&walk->open);
}

static enum err open_one(struct txn_walk *walk, int64_t producer_id, struct open_txn **out)
{
    uint64_t hash = hash_of(walk, producer_id);
    *out = map_find(&walk->open, hash, &producer_id);
    if (*out)
        return ERR_OK;
    struct open_txn *txn = calloc(1, sizeof(*txn));
    if (!txn)
        return ERR_NOMEM;
    txn->producer_id = producer_id;
    enum err err = map_insert(&walk->open, hash, txn);
    if (err != ERR_OK) {
        free(txn);
        return err;
    }
    *out = txn;
    return ERR_OK;
}

/* Opens the aborted transactions that begin at or before the offset. */
static enum err open_aborted(struct txn_walk *walk, int64_t offset)
{
    for (; walk->next < walk->aborted->count; walk->next++) {
        const struct aborted_txn *aborted = &walk->aborted->items[walk->next];
        if (aborted->first_offset > offset)
            break;
        if (aborted->last_offset < walk->from_offset)
            continue;
        struct open_txn *txn;
        TRY(open_one(walk, aborted->producer_id, &txn));
        if (!txn->aborted)
            txn->aborted = aborted;
    }
    return ERR_OK;
}

enum err txn_walk_data(struct txn_walk *walk, const struct batch *batch, bool *is_aborted)
{
    *is_aborted = false;
    TRY(open_aborted(walk, batch->last_offset));
    if (!batch_is_transactional(batch))
        return ERR_OK;
    struct open_txn *txn;
    TRY(open_one(walk, batch->producer_id, &txn));
    txn->has_batches = true;
    *is_aborted = txn->aborted != NULL;
    return ERR_OK;
}

enum err txn_walk_marker(struct txn_walk *walk, const struct batch *batch, enum txn_marker marker,
                         bool *is_alone, const struct aborted_txn **aborted)
{
    *is_alone = false;
    *aborted = NULL;
    TRY(open_aborted(walk, batch->last_offset));
    if (marker == TXN_OTHER)
        return ERR_OK;
    struct open_txn *txn =
        map_remove(&walk->open, hash_of(walk, batch->producer_id), &batch->producer_id);
    *is_alone = !txn || !txn->has_batches;
    if (txn && marker == TXN_ABORT)
        *aborted = txn->aborted;
    free(txn);
    return ERR_OK;
}

enum txn_marker txn_marker_of(struct slice key)
{
    /* i16 version, i16 type */
    if (!key.data || key.len < 4)
        return TXN_OTHER;
    uint16_t type = be16_load(key.data + 2);
    return type == TXN_ABORT || type == TXN_COMMIT ? (enum txn_marker)type : TXN_OTHER;
}
