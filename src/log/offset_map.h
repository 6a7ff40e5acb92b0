/* The newest offset of each key: what a compaction knows while it runs. */
#ifndef LOG_OFFSET_MAP_H
#define LOG_OFFSET_MAP_H

#include "base/bytes.h"
#include "base/err.h"

struct offset_slot {
    uint64_t hash[2];
    int64_t offset_plus_1; /* 0: the slot is free */
};

struct offset_map {
    struct offset_slot *slots;
    size_t slot_count;
    size_t count, count_max;
    uint64_t seeds[2];
};

/* Room for `keys_max` keys, or for as many as `bytes_max` holds filled to `load_factor`. */
enum err offset_map_init(struct offset_map *map, uint64_t keys_max, uint64_t bytes_max,
                         double load_factor, uint64_t seed_0, uint64_t seed_1) MUST_USE;
void offset_map_deinit(struct offset_map *map);
/* Notes a later offset of the key; false where it is a new key and the map is full. */
bool offset_map_put(struct offset_map *map, struct slice key, int64_t offset);
/* -1: the key is not there. */
int64_t offset_map_get(const struct offset_map *map, struct slice key);

#endif
