/* Fan-out to the owners of partitions and back.
 *
 * Runs on: scatter_start, and done, on the request's shard; operations on their owners. Each side
 * writes only its own counter: operations count down in their group on the owner, groups count down
 * in the scatter on the request's shard. */
#include "broker/scatter.h"

#include "base/assert.h"
#include "broker/node.h"
#include "repl/partition.h"

static void group_ended(struct scatter *scatter)
{
    ASSERT(scatter->pending > 0);
    if (--scatter->pending > 0)
        return;
    struct request *req = scatter->req;
    scatter->done(scatter);
    request_release(req);
}

static void group_on_end(struct shard *shard, struct shard_msg *msg)
{
    struct scatter_group *group = CONTAINER_OF(msg, struct scatter_group, msg);
    ASSERT(shard == group->scatter->req->shard);
    group_ended(group->scatter);
}

static void group_release(struct scatter_group *group)
{
    ASSERT(group->pending > 0);
    if (--group->pending > 0)
        return;
    struct shard *home = group->scatter->req->shard;
    if (group->owner == home) {
        group_ended(group->scatter);
        return;
    }
    group->msg.fn = group_on_end;
    shard_post(group->owner, home, &group->msg);
}

void scatter_op_aim(struct scatter_op *op, const struct topic_image *topic, enum err err,
                    int32_t index)
{
    ASSERT(topic || err != ERR_OK);
    op->index = index;
    op->err = err;
    if (topic)
        op->topic_id = topic->id;
    if (err == ERR_OK && !image_partition(topic, index))
        op->err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

void scatter_op_end(struct scatter_op *op, enum err err)
{
    op->err = err;
    group_release(op->group);
}

static void group_run(struct scatter_group *group)
{
    struct shard *owner = group->owner;
    for (struct scatter_op *op = group->first, *next; op; op = next) {
        next = op->next; /* the operation may end, and its memory with it, inside the call */
        op->partition = partitions_find(&owner->partitions, op->topic_id, op->index);
        group->scatter->fn(op);
    }
    group_release(group);
}

static void group_on_begin(struct shard *shard, struct shard_msg *msg)
{
    struct scatter_group *group = CONTAINER_OF(msg, struct scatter_group, msg);
    ASSERT(shard == group->owner);
    group_run(group);
}

static void group_add(struct scatter_group *group, struct scatter_op *op)
{
    op->group = group;
    op->next = NULL;
    *group->last = op;
    group->last = &op->next;
    group->pending++;
}

enum err scatter_start(struct scatter *scatter, struct request *req, void *ops, size_t count,
                       size_t stride, scatter_fn *fn, scatter_done *done)
{
    struct shard *home = req->shard;
    struct node *node = home->node;
    *scatter = (struct scatter){
        .req = req, .fn = fn, .done = done, .own = scatter->own, .groups = scatter->groups};
    if (!scatter->groups)
        scatter->groups = request_array(req, node->shard_count, sizeof(*scatter->groups));
    if (!scatter->groups)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct scatter_group *group = &scatter->groups[i];
        *group = (struct scatter_group){.scatter = scatter};
        group->owner = &node->shards[i];
        group->last = &group->first;
        group->pending = 1;
    }
    scatter->pending = 1;
    for (size_t i = 0; i < count; i++) {
        struct scatter_op *op = (struct scatter_op *)(void *)((char *)ops + i * stride);
        if (op->err != ERR_OK)
            continue;
        uint32_t owner = node_owner(node, op->topic_id, op->index);
        op->owner = &node->shards[owner];
        group_add(&scatter->groups[owner], op);
    }
    request_hold(req);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct scatter_group *group = &scatter->groups[i];
        if (!group->first)
            continue;
        scatter->pending++;
        if (group->owner == home) {
            continue; /* last, so that the others work meanwhile */
        }
        group->msg.fn = group_on_begin;
        shard_post(home, group->owner, &group->msg);
    }
    if (scatter->groups[home->index].first)
        group_run(&scatter->groups[home->index]);
    group_ended(scatter);
    return ERR_OK;
}
