/* A hash table of pointers to entries that its owner keeps.
 *
 * The table stores each entry beside its hash and knows nothing of keys: the caller gives the hash
 * (of map->seed) and a function that compares an entry with a key. So one table serves numbers,
 * names and uuids:
 *
 *   static bool topic_has_name(const void *entry, const void *key)
 *   {
 *       return str_eq(((const struct topic *)entry)->name, *(const struct str *)key);
 *   }
 *   map_init(&map, seed, topic_has_name);
 *   topic = map_find(&map, hash_str(map.seed, name), &name);
 *
 * Owned by one thread. The order of iteration depends on the seed and the history only. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"

typedef bool map_equal(const void *entry, const void *key);

struct map_slot {
    uint64_t hash;
    void *entry; /* NULL: the slot is free */
};

struct map {
    struct map_slot *slots; /* NULL until the first insert; a power of two of them */
    size_t slot_count;
    size_t count;
    uint64_t seed;
    map_equal *equal;
    uint64_t insert_count; /* lets iteration notice an insert under it */
};

void map_init(struct map *map, uint64_t seed, map_equal *equal);
/* Frees the table, not the entries. */
void map_deinit(struct map *map);
/* Room for `count` entries in all, so that inserts up to there cannot fail. */
enum err map_reserve(struct map *map, size_t count) MUST_USE;

void *map_find(const struct map *map, uint64_t hash, const void *key);
/* Borrows the entry, whose key must not be in the table yet. ERR_NOMEM changes nothing. */
enum err map_insert(struct map *map, uint64_t hash, void *entry) MUST_USE;
/* Takes out and returns the entry with that key; NULL if there is none. */
void *map_remove(struct map *map, uint64_t hash, const void *key);

/* Every entry once, in no useful order. The entry last returned may be removed; nothing else may
 * be removed and nothing inserted until the walk ends. */
struct map_iter {
    const struct map *map;
    size_t at;
    size_t left;
    uint64_t insert_count;
};

void map_iter_init(struct map_iter *iter, const struct map *map);
void *map_iter_next(struct map_iter *iter);

#endif
