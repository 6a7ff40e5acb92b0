/* A group coordinator: one partition of `__consumer_offsets`, as groups and their offsets.
 *
 * Pure. A request comes as a struct that embeds a coord_op; the coordinator looks at its state,
 * and gives records and, now or later, the answer. The driver (the shard that owns the partition):
 *
 *   1. calls e.g. coord_offset_commit(coord, &call, &commit);
 *   2. appends call.records as one batch and calls coord_replay_all() with them, at once, so that
 *      the next request sees what they say (a record that is `is_applied` was seen to already);
 *   3. sends the answers in call.done once all that was appended so far is durable: who is told
 *      something is never told what could still be lost;
 *   4. calls coord_tick() when coord_deadline() has come.
 *
 * When an append fails, or call.records->err is set, what the coordinator believes and what the log
 * says differ: the driver drops it, makes a new one, and replays the log.
 *
 * An operation that waits (a join for the others, say) stays in the coordinator until it appears in
 * the `done` of some later call; coord_forget() takes it out before that.
 *
 * Time and chance come in through struct coord_call. */
#ifndef COORD_COORD_H
#define COORD_COORD_H

#include "base/arena.h"
#include "base/list.h"
#include "base/rng.h"
#include "coord/record.h"

struct coord;

#define COORD_NEVER INT64_MAX

/* Consumer groups (KIP-848). */
struct coord_consumer_config {
    int32_t session_timeout_ms, session_timeout_min_ms, session_timeout_max_ms;
    int32_t heartbeat_interval_ms, heartbeat_interval_min_ms, heartbeat_interval_max_ms;
    int32_t assignment_interval_ms, assignment_interval_min_ms, assignment_interval_max_ms;
    int32_t group_size_max;
    bool allows_upgrade;   /* of a classic group, when a member of the new protocol joins it */
    bool allows_downgrade; /* when the last of the new protocol leaves */
    uint8_t assignor_count;
    uint8_t assignors[2];            /* enum assignor; the first is for members that ask for none */
    bool assignment_interval_is_set; /* by somebody: it is no default */
};

/* What the configuration asks for; the same for all coordinators of a node. */
struct coord_config {
    int32_t session_timeout_min_ms; /* classic groups */
    int32_t session_timeout_max_ms;
    int32_t initial_rebalance_delay_ms;
    int32_t group_size_max; /* members of a classic group */
    int32_t offset_metadata_max;
    int64_t offset_retention_ms;
    int64_t offset_check_interval_ms;
    struct coord_consumer_config consumer;
};

/* What the coordinator may ask about topics: the driver's newest metadata image. */
struct coord_topic {
    struct uuid id;
    struct str name;
    int32_t partition_count;
};
struct coord_topics {
    const void *image;
    bool (*by_name)(const void *image, struct str name, struct coord_topic *topic);
    bool (*by_id)(const void *image, struct uuid id, struct coord_topic *topic);
    /* What topic_hash.h makes of it. */
    uint64_t (*hash)(const void *image, const struct coord_topic *topic);
    /* Every name, in order, until fn says false. */
    void (*each_name)(const void *image, bool (*fn)(void *arg, struct str name), void *arg);
    size_t (*count)(const void *image);
    int64_t (*version)(const void *image); /* rises with every change */
    /* A setting of the group's own, as `consumer.session.timeout.ms`; false: none. */
    bool (*group_config)(const void *image, struct str group_id, struct str key, int32_t *value);
};

/* What each call is given. */
struct coord_call {
    struct arena *arena; /* for the records of this call */
    struct rng *rng;     /* member ids */
    int64_t now_ms;      /* monotonic: what timeouts count by */
    int64_t wall_ms;     /* since 1970: what records say */
    const struct coord_topics *topics;
    size_t batch_bytes_max;        /* what the records of one call may take together */
    struct coord_records *records; /* out */
    struct list *done;             /* out: coord_op.link */
};

/* One request, embedded first in its struct. Strings and lists that it is given are borrowed until
 * it is done; what it answers lives in its arena, or is borrowed from what it was given. */
struct coord_op {
    /* In. */
    struct arena *arena;
    struct str client_id;
    struct str client_host; /* "/127.0.0.1", as Kafka writes it */
    void *owner;            /* the driver's */
    /* Out. */
    enum err err;
    /* The coordinator's, until done; then the driver's. */
    struct list link;
    struct list *waiting_in; /* NULL: not in the coordinator */
    bool waits_for_news;
};

/* The configuration is borrowed. `seed` for its tables. NULL: out of memory. */
struct coord *coord_create(const struct coord_config *config, uint64_t seed) MUST_USE;
/* Ends whoever waits with ERR_NOT_COORDINATOR: they are in `done`. */
void coord_destroy(struct coord *coord, struct list *done);

/* The log's records, from its start, in order; then coord_loaded(). ERR_MALFORMED: the record says
 * what it cannot. */
enum err coord_replay(struct coord *coord, const struct coord_record *record) MUST_USE;
/* A record of a producer's transaction: if it is an offset, it counts once the transaction is
 * committed. */
enum err coord_replay_pending(struct coord *coord, const struct coord_record *record,
                              int64_t producer_id) MUST_USE;
/* The marker that ends the producer's transaction. Harmless where it has none here. */
enum err coord_replay_end(struct coord *coord, int64_t producer_id, bool is_committed) MUST_USE;
/* All that was read: time begins. May give records. */
void coord_loaded(struct coord *coord, const struct coord_call *call);
/* Step 2 above, for the records of one call. */
enum err coord_replay_all(struct coord *coord, const struct coord_records *records) MUST_USE;

/* When coord_tick() has something to do; COORD_NEVER: not until there is another call. */
int64_t coord_deadline(const struct coord *coord);
void coord_tick(struct coord *coord, const struct coord_call *call);
/* An operation's client is gone, or the node stops: an operation that waits ends with
 * ERR_NOT_COORDINATOR, in `done`. What it asked for stands. Harmless on one that is done. */
void coord_forget(struct coord_op *op, struct list *done);
/* Its client wants to say something else: an operation that waits for news only (a heartbeat) is
 * answered. Harmless on any other. */
void coord_yield(struct coord_op *op, struct list *done);
/* These topics are no more: their offsets go. */
void coord_topics_deleted(struct coord *coord, const struct coord_call *call,
                          const struct str *names, size_t count);
/* Topics came, went, or have more partitions: members whose heartbeats wait hear of it now. */
void coord_topics_changed(struct coord *coord, const struct coord_call *call);

/* The partition of `__consumer_offsets` that has a group: Kafka's hash of its id. */
int32_t coord_partition_of(struct str group_id, int32_t partition_count);

/* --- the classic protocol: classic_join.c, classic_sync.c --- */

struct coord_protocol {
    struct str name;
    struct slice metadata;
};

struct coord_join_member {
    struct str id;
    struct str instance_id; /* null: none */
    struct slice metadata;  /* for the chosen protocol */
};

struct coord_join {
    struct coord_op op;
    struct str group_id;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    struct str member_id;   /* empty: not known yet */
    struct str instance_id; /* null: none */
    struct str protocol_type;
    const struct coord_protocol *protocols; /* the preferred first */
    size_t protocol_count;
    bool takes_id_first; /* the client knows to come again with the id it is given */
    bool takes_skip;     /* it knows skip_assignment */
    /* Out; the member id also with an error. */
    struct str given_member_id;
    int32_t generation;         /* -1: none */
    struct str answer_type;     /* null: none */
    struct str answer_protocol; /* null: none */
    struct str leader;          /* empty: none */
    bool skip_assignment;
    struct coord_join_member *members; /* for the leader */
    size_t member_count;
};
void coord_join(struct coord *coord, const struct coord_call *call, struct coord_join *join);

struct coord_assignment {
    struct str member_id;
    struct slice assignment;
};

struct coord_sync {
    struct coord_op op;
    struct str group_id;
    int32_t generation;
    struct str member_id;
    struct str instance_id;                     /* null: none */
    struct str protocol_type;                   /* null: not said */
    struct str protocol;                        /* null: not said */
    const struct coord_assignment *assignments; /* from the leader */
    size_t assignment_count;
    /* Out. */
    struct str answer_type;     /* null: none */
    struct str answer_protocol; /* null: none */
    struct slice assignment;    /* never null */
};
void coord_sync(struct coord *coord, const struct coord_call *call, struct coord_sync *sync);

/* A member that lets its heartbeats wait hears of a rebalance at once: the answer is held until
 * there is one, or until shortly before the member would speak again anyway. */
struct coord_heartbeat {
    struct coord_op op;
    struct str group_id;
    int32_t generation;
    struct str member_id;
    struct str instance_id; /* null: none */
    bool may_wait;          /* its client is known to bear it */
};
void coord_heartbeat(struct coord *coord, const struct coord_call *call,
                     struct coord_heartbeat *heartbeat);

struct coord_leaver {
    struct str member_id;   /* empty: by the instance */
    struct str instance_id; /* null: none */
    enum err err;           /* out */
};

struct coord_leave {
    struct coord_op op;
    struct str group_id;
    struct coord_leaver *leavers;
    size_t leaver_count;
};
void coord_leave(struct coord *coord, const struct coord_call *call, struct coord_leave *leave);

/* --- offsets.c --- */

/* What is committed, for whoever watches lag. */
struct coord_seen {
    struct str group_id;
    size_t member_count;
    struct str topic; /* null: the group has no offsets */
    int32_t partition;
    int64_t offset;
    bool has_reader; /* a member has the partition, or subscribes to the topic */
};
typedef enum err coord_seen_fn(void *arg, const struct coord_seen *seen);
/* Each committed offset; those of a group, and of a topic in it, one after the other. Stops at the
 * first error of fn. */
enum err coord_each_offset(const struct coord *coord, coord_seen_fn *fn, void *arg) MUST_USE;

struct coord_offset {
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch; /* -1: not known */
    struct str metadata;  /* never null in an answer */
    enum err err;         /* out; of a commit: one that is set already is left out */
};

struct coord_offset_topic {
    struct str name;
    struct uuid id; /* zero: not known */
    struct coord_offset *partitions;
    size_t partition_count;
};

struct coord_offset_commit {
    struct coord_op op;
    struct str group_id;
    int32_t generation; /* or the member's epoch; -1: not a member */
    struct str member_id;
    struct str instance_id; /* null: none */
    int64_t retention_ms;   /* -1: the broker's */
    int16_t api_version;    /* whose errors the client knows */
    struct coord_offset_topic *topics;
    size_t topic_count;
};
void coord_offset_commit(struct coord *coord, const struct coord_call *call,
                         struct coord_offset_commit *commit);

struct coord_offset_fetch {
    struct coord_op op;
    struct str group_id;
    struct str member_id; /* null: not said */
    int32_t member_epoch; /* -1: not said */
    bool require_stable;
    bool wants_all; /* then topics are out */
    struct coord_offset_topic *topics;
    size_t topic_count;
};
void coord_offset_fetch(struct coord *coord, const struct coord_call *call,
                        struct coord_offset_fetch *fetch);

struct coord_offset_delete {
    struct coord_op op;
    struct str group_id;
    struct coord_offset_topic *topics; /* in: partition, out: err */
    size_t topic_count;
};
void coord_offset_delete(struct coord *coord, const struct coord_call *call,
                         struct coord_offset_delete *request);

/* --- consumer_heartbeat.c --- */

struct assignment;

/* How long a client bears to wait for the answer to a heartbeat that has no news. */
enum coord_patience {
    COORD_PATIENCE_NONE,
    /* Not as long as the interval that it was last told: librdkafka. */
    COORD_PATIENCE_INTERVAL,
    /* As long as any request may take; the interval counts from the request: Kafka's own, from 4
       on. */
    COORD_PATIENCE_REQUEST,
};

/* A member of a consumer group speaks: joins, stays, or leaves. The answer of one that has settled
 * may wait for news. */
struct coord_consumer_heartbeat {
    struct coord_op op;
    /* In. Null strings and a length of -1: not said. */
    int16_t api_version;
    struct str group_id;
    struct str member_id;
    int32_t member_epoch;
    struct str instance_id;
    struct str rack_id;
    int32_t rebalance_timeout_ms; /* -1: not said */
    const struct str *topics;
    int32_t topics_len;
    struct str regex;
    struct str assignor;
    const struct assignment *owned; /* NULL: not said */
    enum coord_patience patience;
    int32_t trip_ms; /* COORD_PATIENCE_INTERVAL: of the way there and back; 0: not known */
    /* Out, in op.arena. `message` is for people; null if all is well. `member_id` also. */
    struct str message;
    struct str answer_member_id;
    int32_t answer_epoch;
    int32_t heartbeat_interval_ms;
    const struct assignment *assignment; /* NULL: as it was */
};
void coord_consumer_heartbeat(struct coord *coord, const struct coord_call *call,
                              struct coord_consumer_heartbeat *heartbeat);

/* --- consumer_describe.c --- */

struct coord_described_topic {
    struct uuid id;
    struct str name;
    const int32_t *partitions;
    int32_t count;
};

struct coord_described_member {
    struct str id, instance_id, rack_id, client_id, client_host, regex;
    int32_t epoch;
    bool is_classic;
    struct str *topics;
    size_t topic_count;
    struct coord_described_topic *assigned, *target;
    size_t assigned_count, target_count;
};

struct coord_consumer_describe {
    struct coord_op op;
    struct str group_id;
    /* Out, in op.arena. */
    struct str message;
    struct str state;
    struct str assignor;
    int32_t epoch, target_epoch;
    struct coord_described_member *members;
    size_t member_count;
};
void coord_consumer_describe(struct coord *coord, const struct coord_call *call,
                             struct coord_consumer_describe *describe);

/* --- groups.c --- */

struct coord_classic_member {
    struct str id;
    struct str instance_id; /* null: none */
    struct str client_id;
    struct str client_host;
    struct slice metadata;
    struct slice assignment;
};

/* As much of a client's text as a message repeats: the message is a string of the protocol's, too.
 */
static inline struct str coord_quoted(struct str text)
{
    const size_t enough = 1000;
    return (struct str){text.data, text.len < enough ? text.len : enough};
}

struct coord_describe {
    struct coord_op op;
    struct str group_id;
    /* Out; of a group that is not known, or not a classic one: ERR_GROUP_ID_NOT_FOUND, and "Dead".
     */
    bool is_other_kind;
    struct str state;
    struct str protocol_type;
    struct str protocol;
    struct coord_classic_member *members;
    size_t member_count;
};
void coord_describe(struct coord *coord, const struct coord_call *call,
                    struct coord_describe *describe);

struct coord_listed {
    struct str id;
    struct str protocol_type;
    struct str state;
    struct str type; /* "classic" */
};

struct coord_list {
    struct coord_op op;
    /* Which: names in any case; none: all. */
    const struct str *states;
    size_t state_count;
    const struct str *types;
    size_t type_count;
    /* Out. */
    struct coord_listed *groups;
    size_t group_count;
};
void coord_list(struct coord *coord, const struct coord_call *call, struct coord_list *list);

struct coord_delete {
    struct coord_op op;
    struct str group_id;
};
void coord_delete(struct coord *coord, const struct coord_call *call, struct coord_delete *request);

#endif
