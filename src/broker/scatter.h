/* Work on many partitions, each on the shard that owns it.
 *
 * A handler gives an array of operations. They are grouped by owner; each owner gets one message
 * and runs its operations in the order of the array; when the last has ended, `done` runs on the
 * request's shard. Partitions of the request's own shard cost no message. The request is held until
 * then. */
#ifndef BROKER_SCATTER_H
#define BROKER_SCATTER_H

#include "base/bytes.h"
#include "broker/request.h"
#include "meta/image.h"

struct partition;
struct scatter;
struct scatter_op;

/* Runs on the owner; ends the operation with scatter_op_end, now or later. `op->partition` is NULL
 * where this broker has no such partition (any more). */
typedef void scatter_fn(struct scatter_op *op);
typedef void scatter_done(struct scatter *scatter);

/* Embedded first in what the handler needs for each partition. */
struct scatter_op {
    struct uuid topic_id;
    int32_t index;
    struct shard *owner;         /* set by scatter_start */
    struct partition *partition; /* borrowed; set on the owner */
    struct scatter_group *group;
    struct scatter_op *next; /* of the same owner */
    enum err err;
};

struct scatter_group {
    struct shard_msg msg;
    struct scatter *scatter;
    struct shard *owner;
    struct scatter_op *first, **last;
    uint32_t pending; /* operations that have not ended, and one while they are begun */
};

struct scatter {
    struct request *req;
    scatter_fn *fn;
    scatter_done *done;
    struct scatter_group *groups; /* one for each shard; may be used again for another start */
    uint32_t pending;             /* groups that have not ended, and one while they are begun */
    void *own;                    /* the handler's */
};

/* `ops` points to `count` elements of `stride` bytes that begin with a scatter_op, whose topic_id
 * and index are set. Operations with err != ERR_OK are skipped. scatter->own, and groups of an
 * earlier start, are kept. Fails with ERR_LIMIT only. */
enum err scatter_start(struct scatter *scatter, struct request *req, void *ops, size_t count,
                       size_t stride, scatter_fn *fn, scatter_done *done) MUST_USE;
/* Aims an operation at a partition of a topic. Where there is no topic, or `err` refuses it, or the
 * topic has no such partition, op->err says so. */
void scatter_op_aim(struct scatter_op *op, const struct topic_image *topic, enum err err,
                    int32_t index);
/* On the owner. */
void scatter_op_end(struct scatter_op *op, enum err err);

#endif
