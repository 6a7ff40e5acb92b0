/* The driver of group coordinators: coord/ is pure, this gives it a log, a clock and requests.
 *
 * Each partition of `__consumer_offsets` that this broker leads has a coordinator on the shard that
 * owns the partition. A call comes from any shard, runs there, and is answered once all that was
 * appended until then is durable. Calls that arrive before the log was read wait for that. */
#ifndef BROKER_COORDINATOR_H
#define BROKER_COORDINATOR_H

#include "broker/shard.h"
#include "coord/coord.h"
#include "meta/image.h"

struct coordinators;
struct coordinator;
struct coordinator_call;
struct node;
struct request;

/* On the owner: calls a function of coord.h. */
typedef void coordinator_run(struct coord *coord, const struct coord_call *call,
                             struct coordinator_call *own);
/* On the caller's shard; own->op->err and what the operation answers are there. */
typedef void coordinator_done(struct coordinator_call *call);

struct coordinator_call {
    /* In. */
    struct shard *home;
    struct coord_op *op; /* its arena is lent to the owner until done */
    int32_t partition;   /* of `__consumer_offsets` */
    coordinator_run *run;
    coordinator_done *done;
    struct request *req; /* held while a cancellation is under way */
    void *own;
    /* The driver's. */
    struct shard *owner;
    struct shard_msg msg;
    struct shard_msg cancel_msg;
    struct shard_msg yield_msg;
    struct list link; /* coordinator->waiting, until it is loaded */
    bool has_ended;   /* the owner's: nothing of it is here any more */
    bool is_done;     /* the caller's */
    bool is_cancelled;
    bool is_yielding;
};

/* Calls back inside of the call where the owner is the own shard and the answer is there. */
void coordinator_submit(struct coordinator_call *call);
/* Its client is gone, or the node stops: ends soon. Harmless on one that is done. */
void coordinator_cancel(struct coordinator_call *call);

/* Another request of its client waits behind it: a call that waits for news only is answered. */
void coordinator_yield(struct coordinator_call *call);

/* The partition that has the group; -1: there is no `__consumer_offsets`. On any shard. */
int32_t coordinator_partition(const struct shard *shard, struct str group_id);
/* `__consumer_offsets` in the shard's image; NULL while nobody made it. */
const struct topic_image *coordinator_topic(const struct shard *shard);

/* On the shard: each coordinator that knows its groups. False: there are some that do not yet. */
typedef enum err coordinator_look(void *arg, const struct coord *coord);
bool coordinators_each(struct shard *shard, coordinator_look *fn, void *arg);

enum err coordinators_open(struct node *node) MUST_USE;
void coordinators_close(struct node *node);
/* On the shard, after hosting_apply: coordinators begin and end as the image says. */
void coordinators_apply(struct shard *shard, const struct image *before, const struct image *after);
/* On the shard, when no request is under way: before its partitions are closed. */
void coordinators_stop(struct shard *shard);
/* Frees what a crash would leave in memory. */
void coordinators_abandon(struct shard *shard);

#endif
