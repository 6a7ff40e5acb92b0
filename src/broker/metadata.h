/* The driver of controller and consensus: the metadata log, on shard 0.
 *
 * A call comes from any shard, asks the controller for records, and is answered once they are
 * durable and every shard has applied the image that holds them: who was told that a topic exists
 * can use it at once. Calls are pipelined; their records are on the disk in the order of the calls.
 */
#ifndef BROKER_METADATA_H
#define BROKER_METADATA_H

#include "base/rng.h"
#include "broker/shard.h"
#include "log/log.h"
#include "meta/controller.h"
#include "quorum/quorum.h"

struct node;
struct request;
struct metadata_call;

/* Runs on shard 0: asks the controller. What concerns single resources goes into the caller's own
 * answer; an error fails the whole call. */
typedef enum err metadata_ask(const struct controller *controller,
                              const struct controller_call *call, struct metadata_call *own,
                              struct meta_error *error);
/* Runs on the caller's shard. */
typedef void metadata_done(struct metadata_call *call);

struct metadata_call {
    /* In. */
    struct shard *home;
    struct arena *arena; /* lent: records and answers */
    metadata_ask *ask;
    metadata_done *done;
    void *own;
    struct request *req; /* for `done`; the driver does not look at it */
    /* Out. */
    enum err err;
    struct meta_error error; /* the sentence behind err, if there is one */
    /* The driver's. */
    struct shard_msg msg;
    struct list link;
    int64_t end_offset; /* answered when the shards have applied this much */
};

struct metadata {
    struct node *node;
    struct shard *shard; /* 0 */
    struct log *log;
    struct log_owner owner;
    struct controller controller;
    struct quorum quorum;
    struct rng rng;
    struct list commits;            /* appended, not yet durable, in order */
    struct list calls;              /* appended or behind the image, not yet answered, in order */
    struct image *published;        /* the newest that was sent to the shards; one reference */
    struct image *next;             /* committed, to be sent after that; NULL: none */
    uint32_t publish_pending;       /* shards that have not applied `published` */
    struct shard_msg *publish_msgs; /* one for each shard */
    int64_t broker_epoch;
    uint64_t bytes_since_snapshot;
    uint64_t snapshot_bytes; /* of the one that was read at the start */
    struct io_timer tick;
    int64_t snapshot_ms; /* when the last checkpoint was written, or the node started */
    int32_t start_epoch; /* the last epoch that the log held at start */
    bool is_started;     /* the first image is everywhere */
    bool is_failed;
    /* Producer ids of the block at hand. */
    int64_t producer_id_next, producer_id_end;
    struct list producer_id_waiters;
    bool producer_id_asked;
    struct metadata_call producer_id_call;
    struct arena producer_id_arena;
    int32_t producer_id_count;
    int64_t producer_id_first;
};

/* Reads checkpoint and log. On node_create's thread. */
enum err metadata_open(struct metadata *metadata, struct node *node, struct arena *arena,
                       struct meta_error *why) MUST_USE;
/* Leads, registers this broker, and publishes the first image. */
void metadata_start(struct metadata *metadata);
/* Closes the log; nothing may be in flight. */
enum err metadata_close(struct metadata *metadata) MUST_USE;
void metadata_abandon(struct metadata *metadata);
bool metadata_is_idle(const struct metadata *metadata);

/* From call->home's thread. */
void metadata_submit(struct metadata_call *call);

/* A producer id for whoever waits; on the waiter's shard. */
struct producer_id_waiter {
    struct shard *home;
    void (*done)(struct producer_id_waiter *waiter);
    enum err err;
    int64_t producer_id;
    struct shard_msg msg;
    struct list link;
};
void metadata_take_producer_id(struct producer_id_waiter *waiter);

#endif
