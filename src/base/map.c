/* Open addressing with linear probing and no tombstones; see map.h.
 *
 * Invariants: an entry lies at its home slot (hash & mask) or after it, with no free slot between;
 * at most two thirds of the slots are taken, so a probe always ends. A removal moves later entries
 * of the run back over the hole. Iteration therefore walks downward from a free slot: what a
 * removal moves has been visited already. */
#include "base/map.h"

#include <stdlib.h>

#include "base/assert.h"

#define MAP_SLOTS_MIN ((size_t)16)

void map_init(struct map *map, uint64_t seed, map_equal *equal)
{
    *map = (struct map){.seed = seed, .equal = equal};
}

void map_deinit(struct map *map)
{
    free(map->slots);
    *map = (struct map){.seed = map->seed, .equal = map->equal};
}

static size_t count_max(size_t slot_count)
{
    return slot_count / 3 * 2;
}

static void slot_fill(struct map_slot *slots, size_t mask, uint64_t hash, void *entry)
{
    size_t at = (size_t)hash & mask;
    while (slots[at].entry)
        at = (at + 1) & mask;
    slots[at] = (struct map_slot){hash, entry};
}

enum err map_reserve(struct map *map, size_t count)
{
    if (count <= count_max(map->slot_count))
        return ERR_OK;
    size_t slot_count = map->slot_count ? map->slot_count : MAP_SLOTS_MIN;
    while (count_max(slot_count) < count) {
        if (slot_count > SIZE_MAX / 4)
            return ERR_NOMEM;
        slot_count *= 2;
    }
    struct map_slot *slots = calloc(slot_count, sizeof(*slots));
    if (!slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < map->slot_count; i++) {
        if (map->slots[i].entry)
            slot_fill(slots, slot_count - 1, map->slots[i].hash, map->slots[i].entry);
    }
    free(map->slots);
    map->slots = slots;
    map->slot_count = slot_count;
    return ERR_OK;
}

/* The slot that holds the key, or slot_count. */
static size_t slot_find(const struct map *map, uint64_t hash, const void *key)
{
    if (map->count == 0)
        return map->slot_count;
    size_t mask = map->slot_count - 1;
    for (size_t at = (size_t)hash & mask; map->slots[at].entry; at = (at + 1) & mask) {
        if (map->slots[at].hash == hash && map->equal(map->slots[at].entry, key))
            return at;
    }
    return map->slot_count;
}

void *map_find(const struct map *map, uint64_t hash, const void *key)
{
    size_t at = slot_find(map, hash, key);
    return at == map->slot_count ? NULL : map->slots[at].entry;
}

enum err map_insert(struct map *map, uint64_t hash, void *entry)
{
    ASSERT(entry);
    TRY(map_reserve(map, map->count + 1));
    slot_fill(map->slots, map->slot_count - 1, hash, entry);
    map->count++;
    map->insert_count++;
    return ERR_OK;
}

/* Moves entries of the run after `hole` back, each at most to its home. */
static void hole_close(struct map *map, size_t hole)
{
    size_t mask = map->slot_count - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].entry; at = (at + 1) & mask) {
        size_t from_home = (at - (size_t)map->slots[at].hash) & mask;
        size_t from_hole = (at - hole) & mask;
        if (from_home >= from_hole) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole].entry = NULL;
}

void *map_remove(struct map *map, uint64_t hash, const void *key)
{
    size_t at = slot_find(map, hash, key);
    if (at == map->slot_count)
        return NULL;
    void *entry = map->slots[at].entry;
    hole_close(map, at);
    map->count--;
    return entry;
}

void map_iter_init(struct map_iter *iter, const struct map *map)
{
    *iter = (struct map_iter){.map = map, .insert_count = map->insert_count};
    if (map->count == 0)
        return;
    while (map->slots[iter->at].entry)
        iter->at++;
    iter->left = map->slot_count - 1;
}

void *map_iter_next(struct map_iter *iter)
{
    const struct map *map = iter->map;
    ASSERT(iter->insert_count == map->insert_count);
    while (iter->left > 0) {
        iter->left--;
        iter->at = (iter->at - 1) & (map->slot_count - 1);
        if (map->slots[iter->at].entry)
            return map->slots[iter->at].entry;
    }
    return NULL;
}
