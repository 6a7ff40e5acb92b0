/* JoinGroup: a member comes, comes again, or takes the place of its former self. Pure. */
#include <stdio.h>

#include "base/assert.h"
#include "base/plant.h"
#include "coord/classic.h"
#include "coord/consumer.h"

/* A newcomer does not know its id yet, sends no heartbeats, and may be gone unnoticed: it is waited
 * for this long. */
#define NEWCOMER_TIMEOUT_MS (5 * 60 * 1000)
/* Member ids of one group that were given out and not used: past it, more are refused. */
#define PENDING_MAX 100000

static void refuse(struct coord_join *join, enum err err, struct str member_id,
                   const struct coord_call *call)
{
    join->given_member_id = member_id;
    join->generation = -1;
    join->answer_type = STR_NULL;
    join->answer_protocol = STR_NULL;
    join->leader = STR("");
    coord_op_end(&join->op, err, call);
}

/* "client-UUID"; static members are named by their instance. */
static struct str new_member_id(const struct coord_join *join, const struct coord_call *call)
{
    struct str prefix = str_is_null(join->instance_id) ? join->op.client_id : join->instance_id;
    uint8_t id[16];
    rng_bytes(call->rng, id, sizeof(id));
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    char text[33];
    for (size_t i = 0; i < sizeof(id); i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    return arena_printf(join->op.arena, "%.*s-%.8s-%.4s-%.4s-%.4s-%.12s", STR_ARG(prefix), text,
                        text + 8, text + 12, text + 16, text + 20);
}

/* --- a member's place --- */

/* Waits in the member; an earlier request of it, whose client must be gone, is sent away. */
static void wait_as(struct classic_member *member, struct coord_join *join,
                    const struct coord_call *call)
{
    coord_ops_end(&member->joins, ERR_REBALANCE_IN_PROGRESS, call->done);
    coord_op_wait(&join->op, &member->joins);
    classic_set_awaiting_join(member, true);
}

static void add_member(struct coord *coord, struct group *group, const struct coord_call *call,
                       struct coord_join *join, struct str member_id)
{
    struct classic *classic = &group->classic;
    struct classic_member *member;
    struct classic_member_spec spec = {
        .id = member_id,
        .instance_id = join->instance_id,
        .client_id = join->op.client_id,
        .client_host = join->op.client_host,
        .rebalance_timeout_ms = join->rebalance_timeout_ms,
        .session_timeout_ms = join->session_timeout_ms,
        .protocols = join->protocols,
        .protocol_count = join->protocol_count,
        .assignment = SLICE_NULL,
    };
    enum err err = classic->member_count > 0
                       ? ERR_OK
                       : coord_str_set(join->protocol_type, &classic->protocol_type);
    if (err == ERR_OK)
        err = classic_member_add(group, &spec, &member);
    if (err != ERR_OK) {
        refuse(join, err, join->member_id, call);
        return;
    }
    struct classic_pending *pending = classic_pending_find(group, member_id);
    if (pending && !PLANTED(COORD_KEPT_ID))
        classic_pending_remove(coord, pending);
    if (!classic->leader)
        classic->leader = member;
    member->is_new = true;
    classic->has_newcomer = true;
    classic->newcomers++;
    classic->newcomer_ms = call->now_ms;
    wait_as(member, join, call);
    member->session_end_ms = call->now_ms + NEWCOMER_TIMEOUT_MS;
    coord_timer_set(coord, &member->session, member->session_end_ms);
    classic_rebalance(coord, group, call);
}

static void update_member(struct coord *coord, struct classic_member *member,
                          const struct coord_call *call, struct coord_join *join)
{
    enum err err = classic_member_update(member, join);
    if (err != ERR_OK) {
        refuse(join, err, join->member_id, call);
        return;
    }
    wait_as(member, join, call);
    classic_rebalance(coord, member->group, call);
}

/* --- a static member that started again --- */

/* The generation goes on with the member under its new id. What an old client takes for the leader
 * is the old id, so that it does not assign; a new one is told that it need not. */
static void answer_replaced(struct classic_member *member, const struct coord_call *call,
                            struct coord_join *join, struct str old_leader)
{
    bool is_leader = member->group->classic.leader == member;
    enum err err = classic_record(member->group, call);
    if (err != ERR_OK) {
        call->records->err = err;
        refuse(join, err, STR(""), call);
        return;
    }
    classic_answer_join(member, join, call);
    if (join->takes_skip) {
        join->skip_assignment = is_leader;
    } else {
        join->leader = old_leader;
        join->member_count = 0;
    }
}

static void replace_member(struct coord *coord, struct classic_member *member,
                           const struct coord_call *call, struct coord_join *join,
                           struct str member_id)
{
    struct group *group = member->group;
    struct str old_leader = arena_str(join->op.arena, group->classic.leader->id);
    enum err err = old_leader.data ? classic_member_update(member, join) : ERR_NOMEM;
    if (err == ERR_OK)
        err = classic_member_replace(member, member_id, call);
    if (err != ERR_OK) {
        refuse(join, err, STR(""), call);
        return;
    }
    classic_member_touch(coord, member, call->now_ms);
    bool keeps_protocol = str_eq(classic_select_protocol(group), group->classic.protocol) &&
                          classic_record_bytes(group) <= call->batch_bytes_max;
    if (classic_state(group) == CLASSIC_STABLE && keeps_protocol) {
        answer_replaced(member, call, join, old_leader);
        return;
    }
    wait_as(member, join, call);
    classic_rebalance(coord, group, call);
}

/* --- who it is --- */

static bool accepts(const struct coord *coord, const struct group *group, struct str member_id)
{
    const struct classic *classic = &group->classic;
    size_t max = (size_t)coord->config->group_size_max;
    const struct classic_member *member = classic_member_find(group, member_id);
    switch (classic_state(group)) {
    case CLASSIC_EMPTY:
        return true;
    case CLASSIC_PREPARING:
        /* The last to join again are left out, where the limit was lowered. */
        return (member && member->is_awaiting_join) || classic->awaiting_join < max;
    default:
        return member || classic->member_count < max;
    }
}

static void give_id(struct coord *coord, struct group *group, const struct coord_call *call,
                    struct coord_join *join, struct str member_id)
{
    enum err err = ERR_GROUP_MAX_SIZE_REACHED;
    if (group->classic.pending.count < PENDING_MAX)
        err = classic_pending_add(coord, group, member_id, call->now_ms + join->session_timeout_ms);
    refuse(join, err == ERR_OK ? ERR_MEMBER_ID_REQUIRED : err, err == ERR_OK ? member_id : STR(""),
           call);
}

static void join_unknown(struct coord *coord, struct group *group, const struct coord_call *call,
                         struct coord_join *join)
{
    struct str member_id = new_member_id(join, call);
    bool is_static = !str_is_null(join->instance_id);
    struct classic_member *former =
        is_static ? classic_instance_find(group, join->instance_id) : NULL;
    if (!member_id.data)
        refuse(join, ERR_NOMEM, STR(""), call);
    else if (former)
        replace_member(coord, former, call, join, member_id);
    else if (!is_static && join->takes_id_first)
        give_id(coord, group, call, join, member_id);
    else
        add_member(coord, group, call, join, member_id);
}

static bool is_unchanged(const struct classic_member *member, const struct coord_join *join)
{
    if (member->protocol_count != join->protocol_count)
        return false;
    for (size_t i = 0; i < join->protocol_count; i++) {
        const struct coord_protocol *a = &member->protocols[i], *b = &join->protocols[i];
        if (!str_eq(a->name, b->name) || a->metadata.len != b->metadata.len ||
            (a->metadata.len > 0 &&
             memcmp(a->metadata.data, b->metadata.data, a->metadata.len) != 0))
            return false;
    }
    return true;
}

static void join_known(struct coord *coord, struct group *group, const struct coord_call *call,
                       struct coord_join *join)
{
    if (str_is_null(join->instance_id) && classic_pending_find(group, join->member_id)) {
        add_member(coord, group, call, join, join->member_id);
        return;
    }
    enum err err = classic_check_member(group, join->member_id, join->instance_id);
    if (err != ERR_OK) {
        refuse(join, err, join->member_id, call);
        return;
    }
    struct classic_member *member = classic_member_find(group, join->member_id);
    enum classic_state state = classic_state(group);
    bool is_leader = group->classic.leader == member;
    /* It may not have got the answer. A leader that joins a stable group wants a rebalance. */
    bool is_answered = is_unchanged(member, join) &&
                       (state == CLASSIC_COMPLETING || (state == CLASSIC_STABLE && !is_leader));
    if (is_answered)
        classic_answer_join(member, join, call);
    else
        update_member(coord, member, call, join);
}

static enum err check(const struct coord *coord, const struct group *group,
                      const struct coord_join *join)
{
    if (join->group_id.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (join->session_timeout_ms < coord->config->session_timeout_min_ms ||
        join->session_timeout_ms > coord->config->session_timeout_max_ms)
        return ERR_INVALID_SESSION_TIMEOUT;
    if (!group && join->member_id.len > 0)
        return ERR_UNKNOWN_MEMBER_ID;
    return ERR_OK;
}

/* The group of a first member; its record says that it is there. */
static enum err make_group(struct coord *coord, const struct coord_call *call,
                           const struct coord_join *join, struct group **group)
{
    TRY(group_create(coord, join->group_id, group));
    (*group)->classic.state_ms = call->wall_ms;
    enum err err = classic_record(*group, call);
    if (err != ERR_OK)
        group_free(coord, *group, NULL);
    return err;
}

/* A consumer group without members gives its name away. *group may be gone then. */
static enum err take_over(struct coord *coord, const struct coord_call *call,
                          const struct coord_join *join, struct group **group)
{
    if (join->member_id.len > 0)
        return ERR_UNKNOWN_MEMBER_ID;
    TRY(classic_check_protocols(NULL, join));
    TRY(consumer_delete(coord, call, *group));
    *group = group_find(coord, join->group_id);
    return ERR_OK;
}

void coord_join(struct coord *coord, const struct coord_call *call, struct coord_join *join)
{
    struct group *group = group_find(coord, join->group_id);
    bool is_unknown = join->member_id.len == 0;
    enum err err = check(coord, group, join);
    if (err == ERR_OK && group && group->consumer && group->consumer->member_count > 0) {
        consumer_join(coord, call, group, join);
        return;
    }
    if (err == ERR_OK && group && group->consumer)
        err = take_over(coord, call, join, &group);
    if (err != ERR_OK) {
        refuse(join, err, join->member_id, call);
        return;
    }
    if (group && !accepts(coord, group, join->member_id)) {
        struct classic_member *member = classic_member_find(group, join->member_id);
        if (member)
            classic_member_remove(coord, member, ERR_GROUP_MAX_SIZE_REACHED, call->done);
        refuse(join, ERR_GROUP_MAX_SIZE_REACHED, STR(""), call);
        if (member)
            classic_maybe_complete(coord, group, call);
        return;
    }
    err = classic_check_protocols(group, join);
    if (err == ERR_OK && !group)
        err = make_group(coord, call, join, &group);
    if (err != ERR_OK)
        refuse(join, err, is_unknown ? STR("") : join->member_id, call);
    else if (is_unknown)
        join_unknown(coord, group, call, join);
    else
        join_known(coord, group, call, join);
}
