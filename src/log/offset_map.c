/* Key -> newest offset, in 16 bytes a key and one block of memory.
 *
 * Keys are known by 96 bits of two hashes whose seeds nobody outside knows, as Kafka knows them by
 * their MD5: two keys that share them would be taken for one, which among ten million keys happens
 * once in 10^15 maps. Offsets are counted from the first one, so that a map reaches over 2^32 of
 * them.
 *
 * Open addressing; nothing is ever taken out. A key's place follows from the upper bits of its
 * hash, and the slots are kept in the order of the hashes: who looks for a key that is not there,
 * as most of a pass does, stops at the first greater one instead of at the next free slot, which in
 * a map that is nine tenths full is some fifty slots away. Past the last place there are some more
 * slots for what is moved behind it. The block comes zeroed from the system, so that only what is
 * used is ever touched. */
#include "log/offset_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

#define SLOTS_MIN 64
/* A run of used slots is shorter, but for chance, at the load that a map may have. */
#define SPARE_MAX ((size_t)1 << 14)

#define SLOTS_A_LINE 4
static_assert(sizeof(struct offset_slot) * SLOTS_A_LINE == 64, "so many to a cache line");

enum err offset_map_init(struct offset_map *map, uint64_t keys_max, uint64_t bytes_max,
                         double load_factor, uint64_t seed_0, uint64_t seed_1)
{
    ASSERT(load_factor > 0 && load_factor < 1);
    *map = (struct offset_map){.seeds = {seed_0, seed_1}, .first_offset = -1};
    uint64_t slots = bytes_max / sizeof(struct offset_slot);
    if ((double)keys_max / load_factor + 1 < (double)slots)
        slots = (uint64_t)((double)keys_max / load_factor) + 1;
    if (slots < SLOTS_MIN)
        slots = SLOTS_MIN;
    map->slots = calloc(slots, sizeof(*map->slots));
    if (!map->slots)
        return ERR_NOMEM;
    map->slot_count = slots;
    map->home_count = slots - (slots / 8 < SPARE_MAX ? slots / 8 : SPARE_MAX);
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

static bool is_at(const struct offset_slot *slot, const struct offset_slot *key)
{
    return slot->hash_hi == key->hash_hi && slot->hash_lo == key->hash_lo;
}

static bool is_before(const struct offset_slot *slot, const struct offset_slot *key)
{
    return slot->hash_hi < key->hash_hi ||
           (slot->hash_hi == key->hash_hi && slot->hash_lo < key->hash_lo);
}

static size_t home_of(const struct offset_map *map, uint64_t hash_hi)
{
    return (size_t)(((unsigned __int128)hash_hi * map->home_count) >> 64);
}

void offset_map_foresee(const struct offset_map *map, struct slice key)
{
    const struct offset_slot *slot = &map->slots[home_of(map, hash_slice(map->seeds[0], key))];
    __builtin_prefetch(slot);
    __builtin_prefetch(slot + SLOTS_A_LINE);
}

/* The key's slot, or where it belongs: a free one, one of a greater key, or the end. */
static size_t find(const struct offset_map *map, struct slice key, struct offset_slot *wanted)
{
    wanted->hash_hi = hash_slice(map->seeds[0], key);
    wanted->hash_lo = (uint32_t)hash_slice(map->seeds[1], key);
    size_t at = home_of(map, wanted->hash_hi);
    while (at < map->slot_count && map->slots[at].offset_plus_1 != 0 &&
           is_before(&map->slots[at], wanted))
        at++;
    return at;
}

static bool is_there(const struct offset_map *map, size_t at, const struct offset_slot *wanted)
{
    return at < map->slot_count && map->slots[at].offset_plus_1 != 0 &&
           is_at(&map->slots[at], wanted);
}

/* Moves what stands there up by one; false where that would leave the block. */
static bool make_room(struct offset_map *map, size_t at)
{
    size_t end = at;
    while (end < map->slot_count && map->slots[end].offset_plus_1 != 0)
        end++;
    if (end == map->slot_count)
        return false;
    memmove(&map->slots[at + 1], &map->slots[at], (end - at) * sizeof(*map->slots));
    return true;
}

bool offset_map_put(struct offset_map *map, struct slice key, int64_t offset)
{
    if (map->first_offset < 0)
        map->first_offset = offset;
    ASSERT(offset >= map->first_offset && offset < INT64_MAX);
    struct offset_slot wanted;
    size_t at = find(map, key, &wanted);
    bool is_known = is_there(map, at, &wanted);
    if (offset - map->first_offset >= UINT32_MAX ||
        (!is_known && (map->count == map->count_max || !make_room(map, at)))) {
        map->is_full = true;
        return false;
    }
    wanted.offset_plus_1 = (uint32_t)(offset - map->first_offset + 1);
    map->slots[at] = wanted;
    map->count += !is_known;
    return true;
}

int64_t offset_map_get(const struct offset_map *map, struct slice key)
{
    struct offset_slot wanted;
    size_t at = find(map, key, &wanted);
    return is_there(map, at, &wanted)
               ? map->first_offset + (int64_t)map->slots[at].offset_plus_1 - 1
               : -1;
}
