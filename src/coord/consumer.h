/* Consumer groups (KIP-848): what the files consumer*.c share, and what the rest of the folder
 * asks.
 *
 * A group has members, a target (who shall have what), and for each member what it has. Each
 * carries an epoch: the group's rises when something changes that the target depends on, the
 * target's is the group's for which it was computed, and a member's is the target's that it has
 * come to. A partition that another member still has waits until that one gave it up, so each has
 * one owner at a time.
 *
 * A change is a record that is replayed at once (consumer_emit), so that what follows in the same
 * request sees it, as the next request does. Whatever can be refused is refused before the first.
 */
#ifndef COORD_CONSUMER_H
#define COORD_CONSUMER_H

#include "coord/assignor.h"
#include "coord/internal.h"
#include "wire/messages.h"

/* As in records. */
enum consumer_state {
    CONSUMER_STABLE = 0,
    CONSUMER_UNREVOKED = 1,  /* has partitions to give back */
    CONSUMER_UNRELEASED = 2, /* waits for partitions that others have */
    CONSUMER_UNKNOWN = 127,  /* what another program wrote; must join again */
};

#define CONSUMER_EPOCH_JOIN         0
#define CONSUMER_EPOCH_LEAVE        (-1)
#define CONSUMER_EPOCH_LEAVE_STATIC (-2) /* will be back soon, under its instance id */

/* A topic that the group subscribes to, whether it exists or not. */
struct consumer_topic {
    struct str name;   /* in this allocation */
    uint32_t by_name;  /* members */
    uint32_t by_regex; /* regular expressions */
    uint32_t index;    /* while a target is computed */
};

/* A regular expression that members subscribe with. */
struct consumer_regex {
    struct str pattern; /* in this allocation */
    uint32_t members;
    bool is_resolved;
    int64_t version;                /* of the image that it was resolved against */
    int64_t timestamp_ms;           /* wall clock */
    struct consumer_topic **topics; /* owned; in the order of their names */
    size_t topic_count;
};

/* How a member of the classic protocol joined. */
struct consumer_classic {
    int32_t session_timeout_ms;
    size_t protocol_count;
    struct coord_protocol protocols[]; /* with their bytes, in this allocation */
};

struct consumer_member {
    struct group *group;
    struct str id; /* in this allocation */
    /* In `text`. */
    struct str instance_id; /* null: a dynamic member */
    struct str rack_id;
    struct str client_id, client_host;
    struct str assignor; /* null: any */
    char *text;          /* owned */
    int32_t rebalance_timeout_ms;
    struct consumer_regex *regex;   /* NULL: none */
    struct consumer_topic **topics; /* owned; in the order of their names */
    size_t topic_count;
    struct consumer_classic *classic; /* owned; NULL: it speaks the consumer protocol */
    int32_t epoch, previous_epoch;
    enum consumer_state state;
    struct assignment *assigned; /* owned, with epochs; never NULL */
    struct assignment *pending;  /* likewise: what it must give back */
    struct assignment *target;   /* owned; NULL: it has none, not even an empty one */
    struct coord_timer session;
    int64_t session_end_ms; /* the timer may be set for earlier */
    struct coord_timer rebalance;
    int32_t rebalance_epoch;  /* the timer was set at */
    struct coord_timer join;  /* of the classic protocol: a rebalance was announced to it */
    struct coord_timer sync;  /* likewise: it joined and has not asked for its assignment */
    struct list held;         /* coord_consumer_heartbeat.op: at most one, which waits for news */
    struct coord_timer hold;  /* when it is answered without */
    bool has_confirmed;       /* it said that it has what it was last told */
    int32_t told_interval_ms; /* until its next heartbeat; 0: nothing yet */
    int64_t news_ms;          /* when it was last told to have what it did not; 0: it has it */
    int32_t trip_ms;          /* the least time from there to its saying so; 0: not known */
    int64_t spoke_ms;         /* its last heartbeat; 0: none yet */
    int32_t late_ms;          /* after its interval, lately */
};

/* Who has each partition of a topic. */
struct consumer_owners {
    struct uuid topic_id;
    uint32_t count;
    uint32_t owned;
    struct consumer_member **members; /* owned; NULL: nobody */
};

struct consumer {
    struct group *group;
    int32_t epoch;
    int64_t metadata_hash;
    int32_t target_epoch; /* -1: its record is gone */
    int64_t target_ms;    /* wall clock; 0: not known */
    bool
        has_partition_metadata; /* a record of Kafka before 4.1, to be deleted at the next change */
    struct consumer_member **members; /* in the order of their ids */
    size_t member_count, member_cap;
    struct consumer_topic **topics; /* in the order of their names */
    size_t topic_count, topic_cap;
    struct consumer_regex **regexes; /* in the order of their patterns */
    size_t regex_count, regex_cap;
    struct consumer_owners *owners; /* in the order of their topics */
    size_t owners_count, owners_cap;
    size_t classic_count;
    int64_t seen_version; /* of the image when the hash was last computed; -1: to be computed */
    int64_t regex_check_ms;
    struct coord_timer assign; /* the target is due then */
    bool has_news;             /* something changed since those who wait for news were looked at */
    struct coord_timer
        quiet; /* a member just left: until then librdkafka's get none of what it had */
};

/* --- consumer.c: the state --- */

/* Makes it one: the group must be new, or a classic one that nobody is a member of. */
enum err consumer_init(struct coord *coord, struct group *group) MUST_USE;
/* Whoever waits in it ends with ERR_NOT_COORDINATOR, in `done`; NULL: nobody does. */
void consumer_free(struct coord *coord, struct group *group, struct list *done);
/* Sessions begin. */
void consumer_loaded(struct coord *coord, struct group *group, const struct coord_call *call);

struct consumer_member *consumer_member_find(const struct consumer *consumer, struct str id);
struct consumer_member *consumer_instance_find(const struct consumer *consumer,
                                               struct str instance_id);
/* NULL: nobody. */
struct consumer_member *consumer_owner(const struct consumer *consumer, struct uuid topic_id,
                                       int32_t partition);
/* Whether of its target it has not got something that is free, or that another has. */
bool consumer_lacks(const struct consumer_member *member, bool is_free);
bool consumer_member_subscribes(const struct consumer_member *member, struct str topic);
/* Of the members, if more of them ask for it than for any other; else the default. */
enum assignor consumer_assignor(const struct coord *coord, const struct consumer *consumer);
/* Sorts, and drops what is there twice; returns how many are left. */
size_t consumer_names_normalize(struct str *names, size_t count);
/* A new member id: 22 characters. */
struct str consumer_new_id(const struct coord_call *call, struct arena *arena);
/* "Empty", "Assigning", "Reconciling", "Stable". */
const char *consumer_state_name(const struct consumer *consumer);

/* Of the replay. Topics of these names, in an array of its own that nobody has counted yet. */
enum err consumer_topics_get(struct consumer *consumer, const struct str *names, size_t count,
                             struct consumer_topic ***out) MUST_USE;
struct consumer_regex *consumer_regex_find(const struct consumer *consumer, struct str pattern);
enum err consumer_regex_get(struct consumer *consumer, struct str pattern,
                            struct consumer_regex **out) MUST_USE;
/* Forgets one that no member has and no record tells of. */
void consumer_regex_release(struct consumer *consumer, struct consumer_regex *regex);
/* These take the array, or what else they are given. */
void consumer_regex_set_topics(struct consumer *consumer, struct consumer_regex *regex,
                               struct consumer_topic **topics, size_t count);
void consumer_member_set_topics(struct consumer_member *member, struct consumer_topic **topics,
                                size_t count);
void consumer_member_set_regex(struct consumer_member *member, struct consumer_regex *regex);
void consumer_member_set_classic(struct consumer_member *member, struct consumer_classic *classic);
enum err consumer_member_set_current(struct consumer_member *member, struct assignment *assigned,
                                     struct assignment *pending) MUST_USE;
/* Found, or new. */
enum err consumer_member_get(struct group *group, struct str id,
                             struct consumer_member **out) MUST_USE;
/* Whoever waits for it ends with ERR_NOT_COORDINATOR, in `done`; NULL: nobody does. */
void consumer_member_free(struct coord *coord, struct consumer_member *member, struct list *done);

/* --- consumer_replay.c --- */

enum err consumer_replay(struct coord *coord, const struct coord_record *record) MUST_USE;
/* Whether a classic group's record is the last word about a group: one that is a consumer group by
 * now was given up by the classic group's tombstone, and is taken back by its next record. */
bool consumer_yields(struct coord *coord, const struct coord_record *record);

/* --- consumer_records.c --- */

/* Adds the record and replays it. A failure is the call's as well: its records->err. */
enum err consumer_emit(struct coord *coord, const struct coord_call *call, int16_t type,
                       const void *key, const void *value) MUST_USE;
enum err consumer_delete_regex(struct coord *coord, const struct coord_call *call,
                               const struct consumer *consumer,
                               const struct consumer_regex *regex) MUST_USE;
/* Tombstones of a member, and of its regular expression if it is the last that has it. */
enum err consumer_member_delete(struct coord *coord, const struct coord_call *call,
                                struct consumer_member *member) MUST_USE;
/* A member with another id takes the place, and all that it has, of the one with its instance id.
 */
enum err consumer_replace_static(struct coord *coord, const struct coord_call *call,
                                 struct consumer_member *before, struct str member_id,
                                 struct consumer_member **after) MUST_USE;
/* Tombstones of all that the group has but its offsets. With them it stays, as a classic group
 * without members; without, it is freed. */
enum err consumer_delete(struct coord *coord, const struct coord_call *call,
                         struct group *group) MUST_USE;
enum err consumer_put_epoch(struct coord *coord, const struct coord_call *call,
                            struct consumer *consumer, int32_t epoch) MUST_USE;
enum err consumer_put_target(struct coord *coord, const struct coord_call *call,
                             struct consumer_member *member,
                             const struct assignment *target) MUST_USE;
enum err consumer_put_target_epoch(struct coord *coord, const struct coord_call *call,
                                   struct consumer *consumer, int32_t epoch,
                                   int64_t wall_ms) MUST_USE;

struct consumer_current {
    int32_t epoch, previous_epoch;
    enum consumer_state state;
    struct assignment assigned, pending;
};
enum err consumer_put_current(struct coord *coord, const struct coord_call *call,
                              struct consumer_member *member,
                              const struct consumer_current *current) MUST_USE;

/* What a member says of itself; all of it. */
struct consumer_spec {
    struct str id, instance_id, rack_id, client_id, client_host, assignor;
    int32_t rebalance_timeout_ms;
    const struct str *topics; /* in the order of their names, none twice */
    size_t topic_count;
    struct str regex; /* "": none */
    bool is_classic;
    int32_t session_timeout_ms;
    const struct coord_protocol *protocols;
    size_t protocol_count;
};
/* What a record of it takes, more or less; and what it may take, so that the rest of a request's
 * records have room beside it. Larger ones are refused before anything changes. */
size_t consumer_spec_bytes(const struct consumer_spec *spec);
size_t consumer_spec_bytes_max(const struct coord_call *call);
/* As it is. */
enum err consumer_spec_of(const struct consumer_member *member, struct arena *arena,
                          struct consumer_spec *spec) MUST_USE;
enum err consumer_put_member(struct coord *coord, const struct coord_call *call,
                             struct group *group, const struct consumer_spec *spec) MUST_USE;

/* --- consumer_reconcile.c: what a member has, and what comes next --- */

struct consumer_reconcile {
    struct consumer_current current;
    int32_t target_epoch;
    const struct assignment *target;
    bool has_subscription_changed;
    const struct assignment *owned; /* what the member says that it has; NULL: it does not say */
    void *arg;
    bool (*subscribes)(void *arg, struct uuid topic_id);
    bool (*is_taken)(void *arg, struct uuid topic_id, int32_t partition); /* by anybody */
    struct arena *arena;
};
/* ERR_FENCED_MEMBER_EPOCH: its state is not known and it does not say that it has nothing. */
enum err consumer_reconcile(const struct consumer_reconcile *in,
                            struct consumer_current *out) MUST_USE;

/* --- consumer_target.c: epochs and targets --- */

/* The hash of the group's topics as they are, into the group. */
enum err consumer_update_hash(const struct coord_call *call, struct consumer *consumer) MUST_USE;
/* Raises the group's epoch if `must`, or if its topics changed. */
enum err consumer_update_epoch(struct coord *coord, const struct coord_call *call,
                               struct consumer *consumer, bool must) MUST_USE;
/* Resolves regular expressions anew where it is time, or one is new; *changed says whether topics
 * came or went. */
enum err consumer_update_regexes(struct coord *coord, const struct coord_call *call,
                                 struct consumer *consumer, bool *changed) MUST_USE;
/* Computes the target if it is behind the group and it is time; else sees that it will be. */
enum err consumer_update_target(struct coord *coord, const struct coord_call *call,
                                struct consumer *consumer) MUST_USE;
/* Brings a member on towards the target. */
enum err consumer_advance(struct coord *coord, const struct coord_call *call,
                          struct consumer_member *member, bool has_subscription_changed,
                          const struct assignment *owned) MUST_USE;
void consumer_on_assign(struct coord *coord, const struct coord_call *call,
                        struct coord_timer *timer);

/* --- consumer_session.c --- */

enum consumer_setting {
    CONSUMER_SESSION_TIMEOUT,
    CONSUMER_HEARTBEAT_INTERVAL,
    CONSUMER_ASSIGNMENT_INTERVAL,
};
/* The group's own, within what the broker allows, or the broker's. */
int32_t consumer_setting(const struct coord *coord, const struct coord_call *call,
                         struct str group_id, enum consumer_setting setting);

/* It was heard of: its session begins anew. */
void consumer_touch(struct coord *coord, const struct coord_call *call,
                    struct consumer_member *member);
void consumer_on_session(struct coord *coord, const struct coord_call *call,
                         struct coord_timer *timer);
void consumer_on_rebalance(struct coord *coord, const struct coord_call *call,
                           struct coord_timer *timer);
void consumer_on_join(struct coord *coord, const struct coord_call *call,
                      struct coord_timer *timer);
void consumer_on_sync(struct coord *coord, const struct coord_call *call,
                      struct coord_timer *timer);
/* Takes members out; the group becomes a classic one where only members of the classic protocol are
 * left and that is allowed. The members are all of one group and none comes twice. */
enum err consumer_fence(struct coord *coord, const struct coord_call *call, struct group *group,
                        struct consumer_member **members, size_t count) MUST_USE;

/* --- consumer_news.c --- */

/* At the end of whatever may have changed the group, which may be gone by now: answers the
 * heartbeats for which there is news. */
void consumer_tell(struct coord *coord, const struct coord_call *call, struct str group_id);
/* The topics are others: where somebody waits for news the group looks at them now. */
void consumer_on_topics(struct coord *coord, const struct coord_call *call,
                        struct consumer *consumer);
void consumer_on_hold(struct coord *coord, const struct coord_call *call,
                      struct coord_timer *timer);
void consumer_on_quiet(struct coord *coord, const struct coord_call *call,
                       struct coord_timer *timer);

/* --- consumer_convert.c --- */

/* Whether a classic group with members may become a consumer group. ERR_GROUP_ID_NOT_FOUND with the
 * reason in *why; ERR_COORDINATOR_LOAD_IN_PROGRESS: not yet. */
enum err consumer_upgrade_check(const struct coord *coord, const struct coord_call *call,
                                const struct group *group, const char **why) MUST_USE;
/* Makes it one. *group may be another allocation then. */
enum err consumer_upgrade(struct coord *coord, const struct coord_call *call,
                          struct group **group) MUST_USE;
/* Whether without those who leave only members of the classic protocol are left, and it is allowed;
 * and whether they have room in the one record of a classic group. */
bool consumer_may_downgrade(const struct coord *coord, const struct coord_call *call,
                            const struct consumer *consumer, struct consumer_member *const *leaving,
                            size_t count);
/* The group is a classic one then, in another allocation. */
enum err consumer_downgrade(struct coord *coord, const struct coord_call *call, struct group *group,
                            struct consumer_member **leaving, size_t count,
                            bool rebalances) MUST_USE;
/* Whether all members of the classic protocol know an assignor's protocol. */
bool consumer_all_know(const struct consumer *consumer, struct str protocol);

/* --- consumer_classic.c --- */

/* Requests of the classic protocol to a consumer group. */
void consumer_join(struct coord *coord, const struct coord_call *call, struct group *group,
                   struct coord_join *join);
void consumer_sync(struct coord *coord, const struct coord_call *call, struct group *group,
                   struct coord_sync *sync);
void consumer_classic_heartbeat(struct coord *coord, const struct coord_call *call,
                                struct group *group, struct coord_heartbeat *heartbeat);
void consumer_leave(struct coord *coord, const struct coord_call *call, struct group *group,
                    struct coord_leave *leave);

/* --- what the rest of the folder asks --- */

enum err consumer_check_commit(const struct group *group,
                               const struct coord_offset_commit *commit) MUST_USE;
/* Of one partition, where the member is behind: it may commit what it has had since that epoch. */
enum err consumer_check_commit_partition(const struct group *group,
                                         const struct coord_offset_commit *commit,
                                         struct uuid topic_id, int32_t partition) MUST_USE;
enum err consumer_check_fetch(const struct group *group,
                              const struct coord_offset_fetch *fetch) MUST_USE;
bool consumer_is_subscribed(const struct group *group, struct str topic);

#endif
