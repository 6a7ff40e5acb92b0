/* One broker: its configuration, its folders, its shards, and its life from start to stop.
 *
 * The same code runs under the simulator: a node is given one io for each shard and is driven by
 * their loops only. node_start and node_stop are called on shard 0's thread (or before and after
 * there are threads); everything else goes by messages. */
#ifndef BROKER_NODE_H
#define BROKER_NODE_H

#include <stdatomic.h>

#include "broker/config.h"
#include "broker/conn_quota.h"
#include "broker/coordinator.h"
#include "broker/hosting.h"
#include "broker/http.h"
#include "broker/lag.h"
#include "broker/listener.h"
#include "broker/metadata.h"
#include "broker/shard.h"
#include "broker/storage.h"

/* Bounds on memory, for each shard, from the configuration. */
struct node_limits {
    size_t buffer_bytes_max;  /* receive and read buffers in use */
    size_t buffer_bytes_kept; /* kept for reuse when idle */
    size_t request_count_max;
    size_t fetch_session_count_max; /* of the node */
    uint32_t request_bytes_max;
    uint64_t conn_idle_ms;
};

#define NODE_SLOTS 4096

enum node_state { NODE_STARTING, NODE_SERVING, NODE_STOPPING, NODE_STOPPED };

struct node {
    const struct broker_config *config;
    struct wal_options wal_options; /* all zero: the usual sizes */
    struct node_limits limits;
    struct storage storage;
    struct hosting hosting;
    struct metadata metadata;          /* shard 0's */
    struct lag *lag;                   /* shard 0's; NULL: nobody wants to know */
    struct http *http;                 /* shard 0's; NULL: it does not listen */
    struct coordinators *coordinators; /* [shard] */
    struct shard *shards;
    uint32_t shard_count;
    /* Who owns which partitions: slot -> shard. */
    _Atomic uint8_t owners[NODE_SLOTS];
    struct listener *listeners; /* shard_count for each client listener of the configuration */
    size_t listener_count;
    _Atomic size_t conn_count;
    struct conn_quota conn_quota;
    enum node_state state;      /* shard 0's */
    _Atomic bool stop_is_due;   /* asked for while it was starting */
    uint32_t pending;           /* shards that have not answered shard 0 */
    struct shard_msg *messages; /* one for each shard */
    _Atomic int failure;        /* enum err: why it stops by itself */
    struct shard_msg failure_msg;
    void (*on_serving)(struct node *node);
    void (*on_stopped)(struct node *node, enum err err);
    void *arg; /* for the callbacks */
};

/* Opens the folders (formats new ones) and reads the metadata. `ios` are lent until node_destroy.
 * *why is a sentence for the operator. */
enum err node_create(struct node *node, const struct broker_config *config, struct io **ios,
                     uint32_t shard_count, struct arena *arena, struct meta_error *why) MUST_USE;
/* Becomes controller and broker, opens the partitions, listens; on_serving is called then. */
void node_start(struct node *node);
/* Ends connections, closes the logs as a clean stop does; on_stopped is called then, on shard 0. */
void node_stop(struct node *node);
/* After on_stopped, when no loop runs any more. */
void node_destroy(struct node *node);
/* What a crash leaves: frees memory without a word to the disk. For the simulator. */
void node_abandon(struct node *node);

/* The shard that owns a partition. Any thread. */
uint32_t node_owner(const struct node *node, struct uuid topic_id, int32_t index);

/* On shard 0: every shard has applied the first image. */
void node_on_first_image(struct node *node);
/* Something that the node cannot do without is broken: says so and stops the node. While it
 * serves, on shard 0; while it starts, on any. */
void node_fail(struct node *node, enum err err, const char *what);

#endif
