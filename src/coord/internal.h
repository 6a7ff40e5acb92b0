/* What the files of this folder share: the group table, timers, records. */
#ifndef COORD_INTERNAL_H
#define COORD_INTERNAL_H

#include "base/heap.h"
#include "base/map.h"
#include "base/sm.h"
#include "coord/coord.h"

struct classic_member;
struct consumer;
struct group;

/* --- timers: all in one heap, run by coord_tick() --- */

struct coord_timer;
typedef void coord_timer_fn(struct coord *coord, const struct coord_call *call,
                            struct coord_timer *timer);

struct coord_timer {
    struct heap_node node;
    coord_timer_fn *fn;
};

/* --- offsets --- */

struct offset {
    int32_t partition;
    int32_t leader_epoch;
    int64_t offset;
    int64_t commit_ms;
    int64_t expire_ms; /* -1: by the broker's retention */
    uint64_t order;    /* which of two records the log has later */
    struct uuid topic_id;
    struct str metadata; /* owned if it has bytes */
};

struct offset_topic {
    struct str name;      /* in this allocation */
    struct offset *items; /* in the order of their partitions */
    size_t count, cap;
};

/* --- classic groups --- */

enum classic_state {
    CLASSIC_EMPTY,      /* no members; perhaps offsets */
    CLASSIC_PREPARING,  /* waits for members to join again */
    CLASSIC_COMPLETING, /* waits for the leader's assignment */
    CLASSIC_STABLE,
};

struct classic {
    struct sm sm;
    int32_t generation;
    int64_t state_ms;         /* wall clock of the last change of state; -1: not known */
    struct str protocol_type; /* owned; null: none */
    struct str protocol;      /* owned; null: none chosen */
    struct classic_member *leader;
    struct list members; /* in the order of their joins */
    size_t member_count;
    struct map members_by_id;
    struct map members_by_instance;
    struct map pending;   /* member ids that were given out and not used yet */
    struct map supported; /* protocols, with the number of members that know each */
    uint64_t support_turn;
    size_t awaiting_join; /* members that have joined again */
    size_t pending_sync;  /* members that were told of the generation and did not sync yet */
    /* It was a consumer group: assignments are what members should have, nobody leads. */
    bool must_rebalance;
    bool is_initial;         /* while preparing: it was empty before */
    bool has_newcomer;       /* since the initial delay, or a later rebalance, began */
    int64_t initial_left_ms; /* for which the initial delay may still go on */
    size_t newcomers;        /* since all members were last heard of in a generation */
    int64_t newcomer_ms;     /* when the last one came */
    int64_t join_end_ms;     /* of a later rebalance: who does not join by then is out */
    int64_t joined_ms;       /* when all had joined in it; 0: not yet */
    struct coord_timer
        join_timer; /* ends the initial delay, or the wait for those who do not join */
    struct coord_timer sync_timer; /* ends the wait for those who do not sync */
};

/* --- groups --- */

enum group_type { GROUP_CLASSIC, GROUP_CONSUMER };

struct group {
    struct list link; /* coord->group_list */
    struct str id;    /* in this allocation */
    enum group_type type;
    uint32_t sweep; /* the last sweep for expired offsets that saw it */
    struct map offset_topics;
    size_t offset_count;
    struct map pending; /* partitions with offsets of transactions that have not ended */
    struct classic classic;
    struct consumer *consumer; /* owned; of a consumer group, whose `classic` is empty */
};

struct coord {
    const struct coord_config *config;
    uint64_t seed;
    struct map groups;
    struct list group_list;  /* those that the next sweep sees last are at the end */
    struct map pending_txns; /* by producer; their offsets are in the groups */
    uint64_t replayed;       /* offsets' records so far */
    struct heap timers;
    struct coord_timer sweep_timer;
    uint32_t sweep;
};

/* --- coord.c --- */

void coord_timer_init(struct coord_timer *timer, coord_timer_fn *fn);
/* Also moves one that is set. */
void coord_timer_set(struct coord *coord, struct coord_timer *timer, int64_t at_ms);
void coord_timer_stop(struct coord *coord, struct coord_timer *timer); /* harmless when not set */

/* The operation is answered. */
void coord_op_end(struct coord_op *op, enum err err, const struct coord_call *call);
/* All that wait in the list. */
void coord_ops_end(struct list *ops, enum err err, struct list *done);
/* It waits in a list of the coordinator's. */
void coord_op_wait(struct coord_op *op, struct list *list);

/* NULL if there is none. */
struct group *group_find(const struct coord *coord, struct str id);
/* An empty group; of classic type and without a protocol: what Kafka calls a simple group. */
enum err group_create(struct coord *coord, struct str id, struct group **group) MUST_USE;
/* Forgets it with its offsets. Whoever waits in it ends with ERR_NOT_COORDINATOR, in `done`; NULL:
 * nobody does. */
void group_free(struct coord *coord, struct group *group, struct list *done);

/* A copy in memory of its own; what is null stays null. */
enum err coord_str_copy(struct str from, struct str *to) MUST_USE;
void coord_str_free(struct str *str);
/* Frees what was there, then as coord_str_copy. */
enum err coord_str_set(struct str from, struct str *to) MUST_USE;

/* --- offsets.c --- */

void offsets_init(struct group *group, uint64_t seed);
void offsets_deinit(struct group *group);
const struct offset *offsets_find(const struct group *group, struct str topic, int32_t partition);
/* Copies the offset's metadata. */
enum err offsets_put(struct group *group, struct str topic, const struct offset *offset) MUST_USE;
/* Nothing is committed, nor may be by a transaction that has not ended. */
bool offsets_none(const struct group *group);
/* Of a producer's transaction, or OFFSETS_NO_TXN: it counts at once. */
#define OFFSETS_NO_TXN INT64_C(-1)
enum err offsets_replay(struct coord *coord, const struct coord_record *record,
                        int64_t producer_id) MUST_USE;
enum err offsets_replay_legacy(struct coord *coord, const struct coord_record *record,
                               int64_t producer_id) MUST_USE;
/* Tombstones for all offsets of a group. */
enum err offsets_delete_all(const struct group *group, const struct coord_call *call) MUST_USE;
/* Tombstones for what is past its retention, as far as the records have room. False: there is more.
 * *is_gone: nothing would be left. */
bool offsets_expire(const struct coord *coord, const struct group *group,
                    const struct coord_call *call, bool *is_gone);

/* --- pending.c --- */

void pending_init(struct coord *coord);
void pending_deinit(struct coord *coord); /* after its groups */
void pending_group_init(struct group *group, uint64_t seed);
void pending_group_deinit(struct coord *coord, struct group *group);
bool pending_has(const struct group *group, struct str topic, int32_t partition);
/* In the place of what the same transaction said before. Copies the offset's metadata. */
enum err pending_put(struct coord *coord, struct group *group, struct str topic,
                     int64_t producer_id, const struct offset *offset) MUST_USE;
void pending_take_out(struct coord *coord, struct group *group, struct str topic,
                      int32_t partition);
/* Each partition that has some, once. Stops at the first error of fn. */
typedef enum err pending_fn(void *arg, struct str topic, int32_t partition);
enum err pending_each(const struct group *group, pending_fn *fn, void *arg) MUST_USE;

/* --- classic.c --- */

void classic_init(struct group *group, uint64_t seed);
void classic_deinit(struct coord *coord, struct group *group, struct list *done);
enum classic_state classic_state(const struct group *group);
enum err classic_replay(struct coord *coord, const struct coord_record *record) MUST_USE;
void classic_loaded(struct coord *coord, struct group *group, const struct coord_call *call);
/* The topics are others. A leader sees that by itself, where there is one. */
void classic_on_topics(struct coord *coord, struct group *group, const struct coord_call *call);
/* Whether a commit of this member and generation may be made, and what it does to its session. */
enum err classic_check_commit(const struct group *group,
                              const struct coord_offset_commit *commit) MUST_USE;
void classic_on_commit(struct coord *coord, struct group *group, const struct coord_call *call,
                       struct str member_id);
enum err classic_check_offset_delete(const struct group *group) MUST_USE;
bool classic_is_subscribed(const struct group *group, struct str topic);
/* From when the retention of an offset counts; false: it does not while the group is like this. */
bool classic_expiry_base(const struct group *group, const struct offset *offset, int64_t *base_ms);
/* The tombstone of the group itself. */
enum err classic_tombstone(const struct group *group, const struct coord_call *call) MUST_USE;

#endif
