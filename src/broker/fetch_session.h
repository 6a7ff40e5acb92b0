/* Incremental fetch sessions (KIP-227): what a client fetches, remembered between its requests.
 *
 * A session belongs to the shard of the connection that made it. Its partitions stay in the order
 * in which they should be served: those that got data go to the end. The cache holds
 * max.incremental.fetch.session.cache.slots sessions over all shards; when it is full, one that was
 * idle for FETCH_SESSION_IDLE_MS makes room, else the client is told to go on without. */
#ifndef BROKER_FETCH_SESSION_H
#define BROKER_FETCH_SESSION_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/map.h"
#include "broker/shard.h"

#define FETCH_EPOCH_INITIAL   0    /* make a session */
#define FETCH_EPOCH_FINAL     (-1) /* no session; end the one that is named */
#define FETCH_SESSION_IDLE_MS 120000

/* What a client wants of one partition. */
struct fetch_want {
    int64_t offset;
    int64_t log_start_offset; /* of a follower; -1 */
    int32_t bytes_max;
    int32_t leader_epoch;       /* -1: unknown to the client */
    int32_t last_fetched_epoch; /* -1 */
};

struct fetch_session_partition {
    struct list link;
    struct uuid topic_id; /* zero in a session by name */
    struct str topic;     /* null in a session by id */
    int32_t index;
    struct fetch_want want;
    /* What the client was told last. */
    int64_t high_watermark;
    int64_t log_start_offset;
};

struct fetch_session {
    struct list link; /* shard->fetch_sessions_used */
    int32_t id;
    int32_t epoch; /* of the next request */
    bool by_id;    /* its partitions are named by topic id */
    uint64_t used_ms;
    struct list partitions;
    struct map by_key;
    size_t count;
};

void fetch_sessions_init(struct shard *shard, uint64_t seed);
void fetch_sessions_deinit(struct shard *shard);

/* NULL when there is none. */
struct fetch_session *fetch_session_find(struct shard *shard, int32_t id);
/* NULL when the cache is full. Its epoch is that of the request after the first. */
struct fetch_session *fetch_session_create(struct shard *shard, bool by_id);
void fetch_session_remove(struct shard *shard, struct fetch_session *session);
/* Marks the use and moves to the epoch of the next request. */
void fetch_session_advance(struct shard *shard, struct fetch_session *session);

/* Adds the partition or replaces what is wanted of it. `topic` is copied. */
enum err fetch_session_put(struct fetch_session *session, struct uuid topic_id, struct str topic,
                           int32_t index, const struct fetch_want *want) MUST_USE;
/* Harmless when it is not there. */
void fetch_session_forget(struct fetch_session *session, struct uuid topic_id, struct str topic,
                          int32_t index);

#endif
