/* Hashes of bytes and numbers. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/bytes.h"

/* For tables in memory: keyed, so that who chooses the keys cannot choose the collisions. The
 * values may change from one version of the program to the next: never store them. */
uint64_t hash_u64(uint64_t seed, uint64_t v);
uint64_t hash_slice(uint64_t seed, struct slice s);

static inline uint64_t hash_str(uint64_t seed, struct str s)
{
    return hash_slice(seed, slice_of(s.data, s.len));
}

static inline uint64_t hash_uuid(uint64_t seed, struct uuid id)
{
    return hash_slice(seed, slice_of(id.bytes, sizeof(id.bytes)));
}

/* MurmurHash2 (32 bits) with the seed that Kafka's clients use. */
uint32_t murmur2(struct slice s);

/* The partition that Kafka's Java producer picks for a key; partitions > 0. */
static inline int32_t murmur2_partition(struct slice key, int32_t partitions)
{
    return (int32_t)((murmur2(key) & 0x7fffffff) % (uint32_t)partitions);
}

#endif
