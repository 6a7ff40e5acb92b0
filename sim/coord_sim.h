/* A group coordinator (src/coord) with its log and thousands of clients, without a broker: what
 * sim/coord_sim_test.c is made of.
 *
 *   coord_sim_log.c       the coordinator and its log: batches, crashes, compaction, replay
 *   coord_sim_model.c     what must hold
 *   coord_sim_client.c    a member's day, whatever it speaks; requests on their way
 *   coord_sim_classic.c   what members of the classic protocol say, and their leader's work
 *   coord_sim_consumer.c  what members of the consumer protocol say
 *
 * Time and chance are the simulated world's. A client has one request under way; that may be lost,
 * come twice, or come when its client has long given it up: such a one is a ghost, to which nobody
 * listens. */
#ifndef SIM_COORD_SIM_H
#define SIM_COORD_SIM_H

#include "coord/coord.h"
#include "sim/world.h"

#define CSIM_GROUPS_MAX 4
#define CSIM_TOPICS     4
#define CSIM_ID_MAX     96

#define CSIM_MS UINT64_C(1000000)
#define CSIM_S  UINT64_C(1000000000)

struct csim;
struct csim_group;
struct csim_member;

/* --- partitions that a client reads --- */

#define CSIM_NO_POSITION INT64_C(-1)

struct csim_part {
    uint32_t topic;
    int32_t partition;
    int64_t position; /* what it commits next is after it; CSIM_NO_POSITION: not asked for yet */
};

struct csim_parts {
    struct csim_part *items; /* owned; in order */
    size_t count, cap;
};

void csim_parts_clear(struct csim_parts *parts);
/* In order: each is after the one before it. */
void csim_parts_add(struct csim_parts *parts, uint32_t topic, int32_t partition);
struct csim_part *csim_parts_find(const struct csim_parts *parts, uint32_t topic,
                                  int32_t partition);

/* --- requests --- */

enum csim_kind {
    CSIM_JOIN,
    CSIM_SYNC,
    CSIM_HEARTBEAT,
    CSIM_LEAVE,
    CSIM_CONSUMER_HEARTBEAT,
    CSIM_COMMIT,
    CSIM_FETCH,
    CSIM_DELETE,
};

struct csim_op {
    union {
        struct coord_op op; /* each of the others begins with one */
        struct coord_join join;
        struct coord_sync sync;
        struct coord_heartbeat heartbeat;
        struct coord_leave leave;
        struct coord_consumer_heartbeat consumer;
        struct coord_offset_commit commit;
        struct coord_offset_fetch fetch;
        struct coord_delete delete;
    } u;
    struct csim *sim;
    enum csim_kind kind;
    struct csim_group *group;
    struct csim_member *sender;   /* NULL: an administrator */
    struct csim_member *listener; /* NULL: nobody */
    struct world_event event;     /* on its way, there or back */
    struct arena arena;
    bool is_in_coord; /* in the coordinator, or in a batch of its log */
    bool is_ghost;
    bool is_broken;     /* no answer: the connection broke */
    bool is_seek;       /* a commit that is meant to go back */
    bool is_of_classic; /* the group was one of the classic protocol when it was done */
    uint64_t turn;      /* the group's then */
    uint64_t ghosts;    /* the sender's then */
    struct list link;
};

/* --- a client --- */

enum csim_step { CSIM_OUT, CSIM_JOINING, CSIM_SYNCING, CSIM_IN };

struct csim_member {
    struct csim *sim;
    struct csim_group *group;
    uint32_t index;
    struct world_event timer;
    struct csim_op *waits; /* for its answer */
    enum csim_step step;
    bool is_consumer; /* what it speaks */
    bool is_static;
    bool is_leaving; /* for good */
    uint32_t life;   /* processes so far */
    char id[CSIM_ID_MAX];
    size_t id_len; /* 0: none yet */
    char instance_id[16];
    int32_t epoch;   /* or generation */
    uint32_t topics; /* a bit each */
    bool uses_regex; /* for all topics */
    struct csim_parts owned, wanted;
    struct csim_parts commit; /* of the one under way */
    bool is_seek;
    uint64_t frozen_until_ns;
    uint64_t beat_ns; /* its last heartbeat */
    /* Classic. */
    bool is_leader;
    int64_t led_version; /* of the topics when it last led: a leader joins again for others */
    struct arena lead_arena;
    struct coord_assignment *lead;
    size_t lead_count;
    /* Consumer. */
    bool must_settle; /* the wanted are not the owned yet; */
    bool is_told_all; /* they are the answer to all that it can say */
    bool must_tell;
    bool must_tell_all;
    uint64_t ghosts;        /* that were heard... */
    uint64_t joined_ghosts; /* ...when its last join was answered */
    bool is_misled;         /* one of them may have told the coordinator what is not so any more */
    enum coord_patience patience;
    struct str assignor;
    int32_t interval_ms;
};

/* --- what the clients of a group were told --- */

struct csim_offset {
    int64_t now;        /* -1: none; as the coordinator has it */
    int64_t durable;    /* likewise, were it to crash */
    bool is_muddled;    /* by a request that came late, which nobody can tell from one in time */
    int32_t generation; /* in which a leader last gave it to somebody */
    struct csim_member *given;  /* to that member */
    struct csim_member *holder; /* who believes that it has the partition */
};

struct csim_group {
    struct csim *sim;
    char name[8];
    uint32_t index;
    uint32_t topics; /* those that its members choose from */
    bool may_classic, may_consumer, is_cooperative;
    bool is_upgraded;                         /* its members of the consumer protocol come later */
    bool is_alike;                            /* all subscribe to the same */
    uint32_t static_share;                    /* of ten members */
    uint32_t first, count;                    /* its members, in sim->members */
    struct csim_offset *offsets[CSIM_TOPICS]; /* owned; [partition] */
    int32_t generation;                       /* the highest that was given out */
    uint64_t generation_turn;
    uint64_t turn; /* rises while it is no classic group: generations begin again then */
};

/* --- the log --- */

struct csim_record {
    uint8_t *bytes; /* key, then value; owned */
    size_t key_len, value_len;
    bool is_tombstone;
};

struct csim_batch {
    struct list link;
    size_t bytes;
    size_t end; /* of the log with it */
    struct list ops;
};

/* Chances, in a thousand. */
struct csim_trouble {
    uint32_t twice, late, lost, freeze, die, leave, change, kind, seek, append_fails, compact;
    uint64_t crash_mean_ms; /* 0: never */
};

struct csim {
    struct world world;
    struct rng rng;
    struct csim_trouble trouble;
    bool is_healed;
    bool is_ending;
    /* What is asked about topics. */
    char topic_names[CSIM_TOPICS][4];
    struct coord_topic topics[CSIM_TOPICS];
    uint32_t topic_count;
    int32_t partitions_max; /* of one topic */
    int64_t topics_version;
    struct coord_topics image;
    /* The coordinator. */
    struct coord_config config;
    struct coord *coord; /* NULL: it is down */
    size_t batch_bytes_max;
    struct arena arena; /* of one call */
    struct coord_records records;
    struct coord_call call;
    struct list done;
    struct rng coord_rng;
    struct world_event tick, write, restart, crash, meddle;
    uint64_t crashes, reloads;
    /* Its log. */
    struct csim_record *log; /* owned */
    size_t log_count, log_cap, durable_count;
    struct list batches; /* the first is being written */
    bool is_writing;
    struct buf scratch;
    /* Its clients. */
    struct csim_group groups[CSIM_GROUPS_MAX];
    uint32_t group_count;
    struct csim_member *members; /* owned */
    uint32_t member_count;
    struct list ops;      /* all that are not free */
    struct list free_ops; /* with their memory */
    uint64_t commits, fetches, answers;
};

/* --- coord_sim_log.c --- */

void csim_log_init(struct csim *sim);
void csim_log_deinit(struct csim *sim);
void csim_start(struct csim *sim);
void csim_crash(struct csim *sim);
/* A request is there. */
void csim_run(struct csim *sim, struct csim_op *op);
/* Its client wants no answer any more, or wants it now. */
void csim_forget(struct csim *sim, struct csim_op *op);
void csim_yield(struct csim *sim, struct csim_op *op);
void csim_topics_changed(struct csim *sim);
/* The log, read again, makes the coordinator that wrote it. */
void csim_check_replay(struct csim *sim);
/* Nothing is left in the coordinator but what a new one has. */
void csim_check_empty(struct csim *sim);

/* --- coord_sim_model.c --- */

/* After each call of the coordinator. */
void csim_model_called(struct csim *sim);
/* The coordinator has done it, and may yet forget: the answer is in the operation. */
void csim_model_done(struct csim_op *op);
/* It waits in the coordinator, which has heard of it. */
void csim_model_waits(struct csim_op *op);
/* The coordinator will not forget it. */
void csim_model_durable(struct csim_op *op);
/* It has forgotten what is not durable. */
void csim_model_crash(struct csim *sim);
/* The client reads these and no others from now on. */
void csim_model_take(struct csim_member *member, const struct csim_parts *parts);
void csim_model_drop(struct csim_member *member);
/* What clients believe is what the coordinator knows. */
void csim_check_owners(struct csim *sim);
bool csim_is_settled(struct csim *sim, char *why, size_t len);
/* What a coordinator would be after a crash, as text. */
void csim_describe(const struct coord *coord, const struct coord *like, struct buf *out);

/* --- coord_sim_client.c --- */

void csim_member_init(struct csim_member *member, struct csim_group *group, uint32_t index);
void csim_member_deinit(struct csim_member *member);
struct csim_op *csim_op_new(struct csim_group *group, enum csim_kind kind,
                            struct csim_member *sender);
/* The answer leaves, or the connection breaks. */
void csim_op_answer(struct csim_op *op);
void csim_op_break(struct csim_op *op);
void csim_send(struct csim_op *op);
struct str csim_id(const struct csim_member *member);
struct str csim_instance(const struct csim_member *member); /* null: dynamic */
void csim_again(struct csim_member *member, uint64_t after_ms);
/* What it reads is no longer its own; it joins again. */
void csim_rejoin(struct csim_member *member, bool with_id, uint64_t after_ms);
/* It goes, as one that was killed, or as one that asks. */
void csim_member_restart(struct csim_member *member);
bool csim_chance(struct csim *sim, uint32_t in_a_thousand);
/* The answer is one to every request: try again, or begin again; false: it is not. */
bool csim_is_common_error(struct csim_member *member, enum err err);

/* --- coord_sim_classic.c, coord_sim_consumer.c --- */

void csim_build_join(struct csim_op *op);
void csim_build_sync(struct csim_op *op);
void csim_build_heartbeat(struct csim_op *op);
void csim_build_leave(struct csim_op *op);
void csim_on_joined(struct csim_member *member, struct csim_op *op);
void csim_on_synced(struct csim_member *member, struct csim_op *op);
void csim_join_again(struct csim_member *member, uint64_t after_ms);
void csim_on_beat(struct csim_member *member, struct csim_op *op);
/* An assignment as the classic protocol writes it. False where it is none. */
bool csim_read_assignment(struct csim *sim, struct slice bytes, struct csim_parts *parts);
void csim_build_consumer(struct csim_op *op, int32_t epoch);
void csim_on_consumer(struct csim_member *member, struct csim_op *op);

#endif
