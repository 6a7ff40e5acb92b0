/* One request that asks many coordinators: each part has memory of its own, since they answer from
 * many shards at once; when the last has, the answer is filled and sent. */
#ifndef BROKER_HANDLERS_GROUP_PARTS_H
#define BROKER_HANDLERS_GROUP_PARTS_H

#include "broker/coordinator.h"

struct group_parts;

/* Embedded first in what the handler needs for each coordinator. */
struct group_part {
    struct coordinator_call call;
    struct arena arena;
    struct group_parts *parts;
};

/* Fills the answer; false: it is too large. */
typedef bool group_parts_fill(struct group_parts *parts);

struct group_parts {
    struct request *req;
    char *items;
    size_t count;
    size_t stride;
    size_t pending; /* parts that are not answered, and one while they are begun */
    group_parts_fill *fill;
};

/* `count` zeroed parts of `stride` bytes that begin with a group_part; NULL: too many. */
struct group_parts *group_parts_create(struct request *req, size_t count, size_t stride) MUST_USE;
static inline void *group_part(const struct group_parts *parts, size_t at)
{
    return parts->items + at * parts->stride;
}
/* Aims a part at the coordinator of a group. */
void group_part_aim(struct group_parts *parts, size_t at, struct coord_op *op, struct str group_id);
/* Ends the request when all are answered. `run` finds the part in call->own. */
void group_parts_start(struct group_parts *parts, coordinator_run *run, group_parts_fill *fill);

#endif
