/* The newest offset of each key: what a compaction knows while it runs. */
#ifndef LOG_OFFSET_MAP_H
#define LOG_OFFSET_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

struct offset_slot {
    uint64_t hash_hi;
    uint32_t hash_lo;
    uint32_t offset_plus_1; /* from the map's first offset; 0: the slot is free */
};

struct offset_map {
    struct offset_slot *slots;
    size_t slot_count; /* with those past the last key's place */
    size_t home_count;
    size_t count, count_max;
    int64_t first_offset; /* -1: nothing was put */
    uint64_t seeds[2];
    bool is_full;
};

/* Room for `keys_max` keys, or for as many as `bytes_max` holds filled to `load_factor`. */
enum err offset_map_init(struct offset_map *map, uint64_t keys_max, uint64_t bytes_max,
                         double load_factor, uint64_t seed_0, uint64_t seed_1) MUST_USE;
void offset_map_deinit(struct offset_map *map);
/* Notes an offset of the key, later than all before. False: the map is full (is_full). The first
 * one is always taken. */
bool offset_map_put(struct offset_map *map, struct slice key, int64_t offset);
/* The key is looked for soon: its place is fetched from memory meanwhile. */
void offset_map_foresee(const struct offset_map *map, struct slice key);
/* -1: the key is not there. */
int64_t offset_map_get(const struct offset_map *map, struct slice key);

#endif
