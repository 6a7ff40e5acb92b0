/* Key -> newest offset, in 24 bytes a key and one block of memory.
 *
 * Keys are known by 128 bits of two hashes whose seeds nobody outside knows, as Kafka knows them
 * by their MD5: two keys that share them would be taken for one. Open addressing, nothing is ever
 * taken out. The block comes zeroed from the system, so that only what is used is ever touched. */
#include "log/offset_map.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"

#define SLOTS_MIN 64

enum err offset_map_init(struct offset_map *map, uint64_t keys_max, uint64_t bytes_max,
                         double load_factor, uint64_t seed_0, uint64_t seed_1)
{
    ASSERT(load_factor > 0 && load_factor < 1);
    *map = (struct offset_map){.seeds = {seed_0, seed_1}};
    uint64_t slots = bytes_max / sizeof(struct offset_slot);
    if ((double)keys_max / load_factor + 1 < (double)slots)
        slots = (uint64_t)((double)keys_max / load_factor) + 1;
    if (slots < SLOTS_MIN)
        slots = SLOTS_MIN;
    map->slots = calloc(slots, sizeof(*map->slots));
    if (!map->slots)
        return ERR_NOMEM;
    map->slot_count = slots;
    map->count_max = (size_t)((double)slots * load_factor);
    if (map->count_max == 0)
        map->count_max = 1;
    ASSERT(map->count_max < map->slot_count);
    return ERR_OK;
}

void offset_map_deinit(struct offset_map *map)
{
    free(map->slots);
    *map = (struct offset_map){0};
}

/* The key's slot, or the free one where it belongs. */
static struct offset_slot *find(const struct offset_map *map, struct slice key, uint64_t hash[2])
{
    hash[0] = hash_slice(map->seeds[0], key);
    hash[1] = hash_slice(map->seeds[1], key);
    size_t at = (size_t)(((unsigned __int128)hash[0] * map->slot_count) >> 64);
    for (;;) {
        struct offset_slot *slot = &map->slots[at];
        if (slot->offset_plus_1 == 0 || (slot->hash[0] == hash[0] && slot->hash[1] == hash[1]))
            return slot;
        at = at + 1 < map->slot_count ? at + 1 : 0;
    }
}

bool offset_map_put(struct offset_map *map, struct slice key, int64_t offset)
{
    ASSERT(offset >= 0 && offset < INT64_MAX);
    uint64_t hash[2];
    struct offset_slot *slot = find(map, key, hash);
    if (slot->offset_plus_1 == 0) {
        if (map->count == map->count_max)
            return false;
        map->count++;
        slot->hash[0] = hash[0];
        slot->hash[1] = hash[1];
    }
    slot->offset_plus_1 = offset + 1;
    return true;
}

int64_t offset_map_get(const struct offset_map *map, struct slice key)
{
    uint64_t hash[2];
    return find(map, key, hash)->offset_plus_1 - 1;
}
