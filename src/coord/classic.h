/* Members of classic groups: what classic.c and the files of the protocol share. */
#ifndef COORD_CLASSIC_H
#define COORD_CLASSIC_H

#include "coord/internal.h"

struct classic_member {
    struct list link; /* classic->members */
    struct group *group;
    struct str id;          /* owned */
    struct str instance_id; /* owned; null: a dynamic member */
    struct str client_id;   /* owned */
    struct str client_host; /* owned */
    int32_t rebalance_timeout_ms;
    int32_t session_timeout_ms;
    struct coord_protocol *protocols; /* owned, with their bytes, in one allocation */
    size_t protocol_count;
    struct slice assignment; /* owned */
    /* Owned; what it had as a member of a consumer group, until it joins; NULL: that is over. */
    struct assignment *kept;
    struct coord_timer session;
    int64_t session_end_ms; /* the timer may be set for earlier */
    bool is_new;            /* has not got its first generation yet */
    bool is_awaiting_join;  /* has joined again; its client may be gone by now */
    bool is_awaiting_sync;
    bool is_pending_sync;               /* counted in classic->pending_sync */
    struct list joins;                  /* coord_join.op: at most one */
    struct list syncs;                  /* coord_sync.op: at most one */
    struct list heartbeats;             /* coord_heartbeat.op: at most one */
    struct coord_timer heartbeat_timer; /* when it is answered without news */
    int64_t heartbeat_ms;               /* when the last one came; 0: none in this generation */
    int64_t heartbeat_interval_ms;      /* between two; at first what clients do by default */
    int64_t held_ms;                    /* how long the last one's answer waits at most */
    bool was_longer;                    /* than that interval between the last two */
};

/* A protocol, and how many members know it. */
struct classic_support {
    struct str name; /* in this allocation */
    size_t count;
    size_t votes;  /* of the last selection */
    uint64_t turn; /* the last list that was counted with it */
};

/* A member id that was given out. */
struct classic_pending {
    struct group *group;
    struct str id; /* in this allocation */
    struct coord_timer timer;
};

/* --- classic_members.c --- */

void classic_members_init(struct group *group, uint64_t seed);
void classic_members_deinit(struct coord *coord, struct group *group, struct list *done);
struct classic_member *classic_member_find(const struct group *group, struct str id);
struct classic_member *classic_instance_find(const struct group *group, struct str instance_id);
/* Whether a request may speak for this member: ERR_UNKNOWN_MEMBER_ID, or ERR_FENCED_INSTANCE_ID
 * where its instance has another member id by now. */
enum err classic_check_member(const struct group *group, struct str member_id,
                              struct str instance_id) MUST_USE;
/* Adds a member as it is described; copies all of it. */
struct classic_member_spec {
    struct str id, instance_id, client_id, client_host;
    int32_t rebalance_timeout_ms, session_timeout_ms;
    const struct coord_protocol *protocols;
    size_t protocol_count;
    struct slice assignment;
};
enum err classic_member_add(struct group *group, const struct classic_member_spec *spec,
                            struct classic_member **member) MUST_USE;
/* What it can do from now on. ERR_NOMEM changes nothing. */
enum err classic_member_update(struct classic_member *member,
                               const struct coord_join *join) MUST_USE;
/* It is of a new generation, or says itself what it has. */
void classic_member_forget_kept(struct classic_member *member);
/* The same member, of that instance, under a new id: a client that started again. ERR_NOMEM changes
 * nothing. */
enum err classic_member_replace(struct classic_member *member, struct str id,
                                const struct coord_call *call) MUST_USE;
enum err classic_member_assign(struct classic_member *member, struct slice assignment) MUST_USE;
/* Whoever waits as this member gets the error. */
void classic_member_remove(struct coord *coord, struct classic_member *member, enum err err,
                           struct list *done);
/* What it said for the protocol; a null slice if it has none of that name. */
struct slice classic_member_metadata(const struct classic_member *member, struct str protocol);
/* It was heard of: its session begins anew. */
void classic_member_touch(struct coord *coord, struct classic_member *member, int64_t now_ms);

void classic_set_awaiting_join(struct classic_member *member, bool is_awaiting);
void classic_set_pending_sync(struct classic_member *member, bool is_pending);

struct classic_pending *classic_pending_find(const struct group *group, struct str id);
enum err classic_pending_add(struct coord *coord, struct group *group, struct str id,
                             int64_t until_ms) MUST_USE;
void classic_pending_remove(struct coord *coord, struct classic_pending *pending);

/* Whether a member with these protocols may join: ERR_INCONSISTENT_GROUP_PROTOCOL. */
enum err classic_check_protocols(const struct group *group, const struct coord_join *join) MUST_USE;
/* The protocol that all members know and most prefer. At least one member. */
struct str classic_select_protocol(const struct group *group);
/* An upper bound of the record's size. */
size_t classic_record_bytes(const struct group *group);
void classic_move(struct group *group, enum classic_state state, const struct coord_call *call);

/* Nothing is left that it was made for: no member, no id given out, no offset, no generation. */
bool classic_is_unused(const struct group *group);

/* --- classic_rebalance.c --- */

/* A member is there or gone, or can do other things: begins a rebalance, or goes on with one. */
void classic_rebalance(struct coord *coord, struct group *group, const struct coord_call *call);
/* Begins one, or the waiting for others if the group was empty. */
void classic_prepare(struct coord *coord, struct group *group, const struct coord_call *call);
/* Whether who is waited for has come; then the next generation. */
void classic_maybe_complete(struct coord *coord, struct group *group,
                            const struct coord_call *call);
void classic_on_join_timer(struct coord *coord, const struct coord_call *call,
                           struct coord_timer *timer);
void classic_on_sync_timer(struct coord *coord, const struct coord_call *call,
                           struct coord_timer *timer);
void classic_on_session_end(struct coord *coord, const struct coord_call *call,
                            struct coord_timer *timer);
void classic_on_pending_end(struct coord *coord, const struct coord_call *call,
                            struct coord_timer *timer);
void classic_on_heartbeat_timer(struct coord *coord, const struct coord_call *call,
                                struct coord_timer *timer);
/* Who waits to sync is answered: with the assignment, or with the error and none. */
void classic_propagate(struct coord *coord, struct group *group, enum err err,
                       const struct coord_call *call);
/* A join's answer from the group as it is; members for the leader. */
void classic_answer_join(struct classic_member *member, struct coord_join *join,
                         const struct coord_call *call);
void classic_answer_sync(struct classic_member *member, struct coord_sync *sync, enum err err,
                         const struct coord_call *call);

/* The group's record as it is now, marked as applied. */
enum err classic_record(const struct group *group, const struct coord_call *call) MUST_USE;

#endif
