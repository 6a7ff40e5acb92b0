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
    struct classic_protocol *protocols; /* owned, with their bytes, in one allocation */
    size_t protocol_count;
    struct slice assignment; /* owned */
    struct coord_timer session;
    int64_t session_end_ms; /* the timer may be set for earlier */
};

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
    const struct classic_protocol *protocols;
    size_t protocol_count;
    struct slice assignment;
};
enum err classic_member_add(struct group *group, const struct classic_member_spec *spec,
                            struct classic_member **member) MUST_USE;
enum err classic_member_assign(struct classic_member *member, struct slice assignment) MUST_USE;
void classic_member_remove(struct coord *coord, struct classic_member *member);
/* What it said for the protocol; a null slice if it has none of that name. */
struct slice classic_member_metadata(const struct classic_member *member, struct str protocol);
/* It was heard of: its session begins anew. */
void classic_member_touch(struct coord *coord, struct classic_member *member, int64_t now_ms);

/* The group's record as it is now, marked as applied. */
enum err classic_record(const struct group *group, const struct coord_call *call) MUST_USE;

#endif
