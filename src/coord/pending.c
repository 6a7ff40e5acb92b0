/* Offsets that were committed in transactions which have not ended. Pure.
 *
 * They stand in the log before anybody knows whether they count. Until its producer's marker comes
 * each is kept twice in reach: by the producer, which ends all of its offsets at once, and by
 * group, topic and partition, where a reader who wants what will stay is told to wait. The marker
 * of a commit makes them the group's offsets, except where a later record of the log has said
 * otherwise; that of an abort drops them. A tombstone drops them too, whatever becomes of the
 * transaction. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/internal.h"

/* One producer's. */
struct pending_txn {
    int64_t producer_id;
    struct list offsets; /* pending_offset.txn_link; never empty */
};

/* What is open of a partition: of several producers, if they share a group. */
struct pending_partition {
    struct group *group;
    struct list offsets; /* pending_offset.link; never empty; the newest first */
    int32_t partition;
    struct str topic; /* in this allocation */
};

struct pending_offset {
    struct list txn_link;
    struct list link;
    struct pending_txn *txn;
    struct pending_partition *home;
    struct offset offset; /* with its metadata */
};

struct pending_key {
    struct str topic;
    int32_t partition;
};

static bool txn_has_producer(const void *entry, const void *key)
{
    return ((const struct pending_txn *)entry)->producer_id == *(const int64_t *)key;
}

static bool partition_has_key(const void *entry, const void *key)
{
    const struct pending_partition *partition = entry;
    const struct pending_key *wanted = key;
    return partition->partition == wanted->partition && str_eq(partition->topic, wanted->topic);
}

static uint64_t key_hash(const struct map *map, const struct pending_key *key)
{
    return hash_u64(hash_str(map->seed, key->topic), (uint64_t)key->partition);
}

void pending_init(struct coord *coord)
{
    map_init(&coord->pending_txns, coord->seed, txn_has_producer);
}

void pending_deinit(struct coord *coord)
{
    ASSERT(coord->pending_txns.count == 0); /* they went with their groups */
    map_deinit(&coord->pending_txns);
}

void pending_group_init(struct group *group, uint64_t seed)
{
    map_init(&group->pending, seed, partition_has_key);
}

static struct pending_partition *partition_find(const struct group *group, struct str topic,
                                                int32_t partition)
{
    struct pending_key key = {topic, partition};
    return map_find(&group->pending, key_hash(&group->pending, &key), &key);
}

bool pending_has(const struct group *group, struct str topic, int32_t partition)
{
    return partition_find(group, topic, partition) != NULL;
}

/* --- coming and going --- */

static void txn_trim(struct coord *coord, struct pending_txn *txn)
{
    struct map *txns = &coord->pending_txns;
    if (!list_is_empty(&txn->offsets))
        return;
    map_remove(txns, hash_u64(txns->seed, (uint64_t)txn->producer_id), &txn->producer_id);
    free(txn);
}

static void partition_trim(struct pending_partition *home)
{
    struct map *map = &home->group->pending;
    struct pending_key key = {home->topic, home->partition};
    if (!list_is_empty(&home->offsets))
        return;
    map_remove(map, key_hash(map, &key), &key);
    free(home);
}

/* Its transaction and its partition may be empty then, and are to be trimmed. */
static void pending_free(struct pending_offset *pending)
{
    list_remove(&pending->txn_link);
    list_remove(&pending->link);
    coord_str_free(&pending->offset.metadata);
    free(pending);
}

static void partition_clear(struct coord *coord, struct pending_partition *home)
{
    LIST_FOREACH_SAFE (node, &home->offsets) {
        struct pending_offset *pending = LIST_ENTRY(node, struct pending_offset, link);
        struct pending_txn *txn = pending->txn;
        pending_free(pending);
        txn_trim(coord, txn);
    }
    partition_trim(home);
}

void pending_group_deinit(struct coord *coord, struct group *group)
{
    struct map_iter iter;
    map_iter_init(&iter, &group->pending);
    for (struct pending_partition *home; (home = map_iter_next(&iter)) != NULL;)
        partition_clear(coord, home);
    map_deinit(&group->pending);
}

void pending_take_out(struct coord *coord, struct group *group, struct str topic, int32_t partition)
{
    struct pending_partition *home = partition_find(group, topic, partition);
    if (home)
        partition_clear(coord, home);
}

static enum err txn_of(struct coord *coord, int64_t producer_id, struct pending_txn **out)
{
    struct map *txns = &coord->pending_txns;
    uint64_t hash = hash_u64(txns->seed, (uint64_t)producer_id);
    *out = map_find(txns, hash, &producer_id);
    if (*out)
        return ERR_OK;
    struct pending_txn *txn = malloc(sizeof(*txn));
    if (!txn || map_insert(txns, hash, txn) != ERR_OK) {
        free(txn);
        return ERR_NOMEM;
    }
    txn->producer_id = producer_id;
    list_init(&txn->offsets);
    *out = txn;
    return ERR_OK;
}

static enum err partition_of(struct group *group, struct str topic, int32_t partition,
                             struct pending_partition **out)
{
    struct pending_key key = {topic, partition};
    *out = partition_find(group, topic, partition);
    if (*out)
        return ERR_OK;
    struct pending_partition *home = malloc(sizeof(*home) + topic.len + 1);
    if (!home || map_insert(&group->pending, key_hash(&group->pending, &key), home) != ERR_OK) {
        free(home);
        return ERR_NOMEM;
    }
    char *copy = (char *)(home + 1);
    if (topic.len > 0)
        memcpy(copy, topic.data, topic.len);
    home->topic = (struct str){copy, topic.len};
    home->group = group;
    home->partition = partition;
    list_init(&home->offsets);
    *out = home;
    return ERR_OK;
}

static enum err add(struct pending_txn *txn, struct pending_partition *home,
                    const struct offset *offset)
{
    struct pending_offset *pending = malloc(sizeof(*pending));
    if (!pending)
        return ERR_NOMEM;
    *pending = (struct pending_offset){.txn = txn, .home = home, .offset = *offset};
    pending->offset.metadata = STR_NULL;
    if (offset->metadata.len > 0 &&
        coord_str_copy(offset->metadata, &pending->offset.metadata) != ERR_OK) {
        free(pending);
        return ERR_NOMEM;
    }
    list_push_back(&txn->offsets, &pending->txn_link);
    list_push_front(&home->offsets, &pending->link);
    return ERR_OK;
}

enum err pending_put(struct coord *coord, struct group *group, struct str topic,
                     int64_t producer_id, const struct offset *offset)
{
    struct pending_txn *txn;
    struct pending_partition *home;
    TRY(txn_of(coord, producer_id, &txn));
    enum err err = partition_of(group, topic, offset->partition, &home);
    if (err != ERR_OK) {
        txn_trim(coord, txn);
        return err;
    }
    struct pending_offset *before = NULL;
    LIST_FOREACH (node, &home->offsets) {
        struct pending_offset *pending = LIST_ENTRY(node, struct pending_offset, link);
        if (pending->txn == txn) {
            before = pending;
            break;
        }
    }
    err = add(txn, home, offset);
    if (err == ERR_OK && before)
        pending_free(before);
    txn_trim(coord, txn);
    partition_trim(home);
    return err;
}

/* --- the marker --- */

/* What a later record of the log said stays. */
static enum err settle(const struct pending_offset *pending)
{
    const struct pending_partition *home = pending->home;
    const struct offset *there = offsets_find(home->group, home->topic, home->partition);
    if (there && there->order > pending->offset.order)
        return ERR_OK;
    return offsets_put(home->group, home->topic, &pending->offset);
}

enum err coord_replay_end(struct coord *coord, int64_t producer_id, bool is_committed)
{
    struct map *txns = &coord->pending_txns;
    struct pending_txn *txn =
        map_find(txns, hash_u64(txns->seed, (uint64_t)producer_id), &producer_id);
    if (!txn)
        return ERR_OK;
    LIST_FOREACH_SAFE (node, &txn->offsets) {
        struct pending_offset *pending = LIST_ENTRY(node, struct pending_offset, txn_link);
        struct pending_partition *home = pending->home;
        if (is_committed)
            TRY(settle(pending));
        pending_free(pending);
        partition_trim(home);
    }
    txn_trim(coord, txn);
    return ERR_OK;
}

/* --- walks --- */

enum err pending_each(const struct group *group, pending_fn *fn, void *arg)
{
    struct map_iter iter;
    map_iter_init(&iter, &group->pending);
    for (const struct pending_partition *home; (home = map_iter_next(&iter)) != NULL;)
        TRY(fn(arg, home->topic, home->partition));
    return ERR_OK;
}
