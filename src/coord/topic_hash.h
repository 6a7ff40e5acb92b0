/* Hashes by which a group knows that its topics changed.
 *
 * Apache Kafka keeps the group's hash in its records. These are the same, so that a group that
 * moves from one to the other does not rebalance for it. Pure; any thread. */
#ifndef COORD_TOPIC_HASH_H
#define COORD_TOPIC_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct topic_hash;

/* One topic: begin; then each partition from 0 on, each followed by the racks of its replicas in
 * the order of their bytes; then end, which frees it. NULL: no memory. Names and racks are UTF-8.
 */
struct topic_hash *topic_hash_begin(struct uuid id, struct str name, int32_t partition_count);
void topic_hash_partition(struct topic_hash *hash, int32_t partition);
void topic_hash_rack(struct topic_hash *hash, struct str rack);
uint64_t topic_hash_end(struct topic_hash *hash);

/* A group: from the hashes of those of its topics that exist, in the order of their names. */
uint64_t topic_hash_of_group(const uint64_t *hashes, size_t count);

#endif
