/* Which partitions of which topics: what a member is to have, has, or must give back.
 *
 * Immutable. Topics are in the order of their ids, partitions ascend, and no topic is empty, so
 * that two assignments are equal if and only if they look the same. An assignment lives in an arena
 * or, when a group keeps it, in one block of its own. Pure; any thread. */
#ifndef COORD_ASSIGNMENT_H
#define COORD_ASSIGNMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct topic_partitions {
    struct uuid topic_id;
    uint32_t count; /* at least one */
    const int32_t *partitions;
    /* For each partition the group's epoch at which the member got it, where that is kept. */
    const int32_t *epochs;
};

struct assignment {
    size_t count;
    const struct topic_partitions *topics;
};

extern const struct assignment assignment_empty;

/* NULL if it has nothing of the topic. */
const struct topic_partitions *assignment_topic(const struct assignment *assignment,
                                                struct uuid topic_id);
/* Where the partition stands among the topic's; -1 if it is not there. `topic` may be NULL. */
int64_t topic_partitions_find(const struct topic_partitions *topic, int32_t partition);
bool assignment_has(const struct assignment *assignment, struct uuid topic_id, int32_t partition);
/* The same partitions at the same epochs. Without epochs is not equal to with. */
bool assignment_eq(const struct assignment *a, const struct assignment *b);
size_t assignment_partition_count(const struct assignment *assignment);
/* Whether `whole` has all partitions of `part`; and whether they are the same, whatever the epochs.
 */
bool assignment_is_part(const struct assignment *part, const struct assignment *whole);
bool assignment_same_partitions(const struct assignment *a, const struct assignment *b);

/* A copy in one block, for free(). ERR_NOMEM leaves *copy as it is. */
enum err assignment_clone(const struct assignment *assignment, struct assignment **copy) MUST_USE;

/* Builds an assignment in an arena. Partitions may come in any order and more than once: the last
 * epoch given to one counts. */
struct assignment_entry {
    struct uuid topic_id;
    int32_t partition;
    int32_t epoch;
    uint32_t turn;
};

struct assignment_builder {
    struct arena *arena;
    bool with_epochs;
    struct assignment_entry *entries;
    size_t count;
    size_t cap;
};

void assignment_builder_init(struct assignment_builder *builder, struct arena *arena,
                             bool with_epochs);
enum err assignment_builder_add(struct assignment_builder *builder, struct uuid topic_id,
                                int32_t partition, int32_t epoch) MUST_USE;
enum err assignment_builder_add_topic(struct assignment_builder *builder,
                                      const struct topic_partitions *topic) MUST_USE;
/* The builder is not to be used again. */
enum err assignment_builder_finish(struct assignment_builder *builder,
                                   struct assignment *out) MUST_USE;

#endif
