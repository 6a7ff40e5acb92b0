/* SyncGroup, Heartbeat, LeaveGroup: a member's life in a generation. Pure. */
#include "coord/classic.h"
#include "coord/consumer.h"

/* --- sync --- */

static bool differs(struct str said, struct str is)
{
    return !str_is_null(said) && !str_is_null(is) && !str_eq(said, is);
}

static enum err check_sync(const struct group *group, const struct coord_sync *sync)
{
    if (sync->group_id.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (!group || classic_state(group) == CLASSIC_EMPTY)
        return ERR_UNKNOWN_MEMBER_ID;
    TRY(classic_check_member(group, sync->member_id, sync->instance_id));
    if (sync->generation != group->classic.generation)
        return ERR_ILLEGAL_GENERATION;
    if (differs(sync->protocol_type, group->classic.protocol_type) ||
        differs(sync->protocol, group->classic.protocol))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    return classic_state(group) == CLASSIC_PREPARING ? ERR_REBALANCE_IN_PROGRESS : ERR_OK;
}

static void synced(struct coord *coord, struct classic_member *member)
{
    struct classic *classic = &member->group->classic;
    classic_set_pending_sync(member, false);
    if (classic->pending_sync == 0)
        coord_timer_stop(coord, &classic->sync_timer);
}

static enum err clear_assignments(struct group *group)
{
    LIST_FOREACH (node, &group->classic.members)
        TRY(classic_member_assign(LIST_ENTRY(node, struct classic_member, link), SLICE_NULL));
    return ERR_OK;
}

/* Who is not named gets none; who is not a member is passed over. */
static enum err assign(struct group *group, const struct coord_sync *sync)
{
    TRY(clear_assignments(group));
    for (size_t i = 0; i < sync->assignment_count; i++) {
        struct classic_member *member = classic_member_find(group, sync->assignments[i].member_id);
        if (member)
            TRY(classic_member_assign(member, sync->assignments[i].assignment));
    }
    return ERR_OK;
}

/* The leader's assignment: written down, then given to all. One that is too large for a record
 * makes them begin again. */
static void settle(struct coord *coord, struct group *group, const struct coord_call *call,
                   const struct coord_sync *sync)
{
    enum err err = assign(group, sync);
    if (err == ERR_OK && classic_record_bytes(group) > call->batch_bytes_max)
        err = ERR_UNKNOWN_SERVER_ERROR;
    if (err == ERR_OK)
        err = classic_record(group, call);
    if (err == ERR_OK) {
        classic_move(group, CLASSIC_STABLE, call);
        classic_propagate(coord, group, ERR_OK, call);
        return;
    }
    if (clear_assignments(group) != ERR_OK)
        call->records->err = ERR_NOMEM;
    classic_propagate(coord, group, err, call);
    classic_prepare(coord, group, call);
}

void coord_sync(struct coord *coord, const struct coord_call *call, struct coord_sync *sync)
{
    struct group *group = group_find(coord, sync->group_id);
    if (group && group->consumer) {
        consumer_sync(coord, call, group, sync);
        return;
    }
    enum err err = check_sync(group, sync);
    sync->answer_type = STR_NULL;
    sync->answer_protocol = STR_NULL;
    sync->assignment = slice_of("", 0);
    if (err != ERR_OK) {
        coord_op_end(&sync->op, err, call);
        return;
    }
    struct classic_member *member = classic_member_find(group, sync->member_id);
    synced(coord, member);
    if (classic_state(group) == CLASSIC_STABLE) {
        classic_answer_sync(member, sync, ERR_OK, call);
        return;
    }
    coord_ops_end(&member->syncs, ERR_REBALANCE_IN_PROGRESS, call->done);
    coord_op_wait(&sync->op, &member->syncs);
    member->is_awaiting_sync = true;
    if (group->classic.leader == member)
        settle(coord, group, call, sync);
}

/* --- heartbeat --- */

static enum err check_heartbeat(const struct group *group, const struct coord_heartbeat *heartbeat)
{
    if (heartbeat->group_id.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (!group)
        return ERR_UNKNOWN_MEMBER_ID;
    TRY(classic_check_member(group, heartbeat->member_id, heartbeat->instance_id));
    if (heartbeat->generation != group->classic.generation)
        return ERR_ILLEGAL_GENERATION;
    return ERR_OK;
}

void coord_heartbeat(struct coord *coord, const struct coord_call *call,
                     struct coord_heartbeat *heartbeat)
{
    struct group *group = group_find(coord, heartbeat->group_id);
    if (group && group->consumer) {
        consumer_classic_heartbeat(coord, call, group, heartbeat);
        return;
    }
    enum err err = check_heartbeat(group, heartbeat);
    if (err == ERR_OK) {
        classic_member_touch(coord, classic_member_find(group, heartbeat->member_id), call->now_ms);
        if (classic_state(group) == CLASSIC_PREPARING)
            err = ERR_REBALANCE_IN_PROGRESS;
    }
    coord_op_end(&heartbeat->op, err, call);
}

/* --- leave --- */

/* An id that was given out leaves like a member; an administrator names an instance without an id.
 */
static enum err leave_one(struct coord *coord, struct group *group, const struct coord_call *call,
                          const struct coord_leaver *leaver)
{
    struct classic_member *member;
    if (leaver->member_id.len == 0) {
        member = str_is_null(leaver->instance_id)
                     ? NULL
                     : classic_instance_find(group, leaver->instance_id);
        if (!member)
            return ERR_UNKNOWN_MEMBER_ID;
    } else {
        struct classic_pending *pending = classic_pending_find(group, leaver->member_id);
        if (pending) {
            classic_pending_remove(coord, pending);
            return ERR_OK;
        }
        TRY(classic_check_member(group, leaver->member_id, leaver->instance_id));
        member = classic_member_find(group, leaver->member_id);
    }
    classic_member_remove(coord, member, ERR_UNKNOWN_MEMBER_ID, call->done);
    return ERR_OK;
}

void coord_leave(struct coord *coord, const struct coord_call *call, struct coord_leave *leave)
{
    struct group *group = group_find(coord, leave->group_id);
    bool has_left = false;
    if (group && group->consumer) {
        consumer_leave(coord, call, group, leave);
        return;
    }
    if (leave->group_id.len == 0) {
        coord_op_end(&leave->op, ERR_INVALID_GROUP_ID, call);
        return;
    }
    for (size_t i = 0; i < leave->leaver_count; i++) {
        struct coord_leaver *leaver = &leave->leavers[i];
        leaver->err = group ? leave_one(coord, group, call, leaver) : ERR_UNKNOWN_MEMBER_ID;
        has_left |= leaver->err == ERR_OK;
    }
    enum err err = ERR_OK;
    if (has_left && classic_state(group) != CLASSIC_EMPTY)
        classic_rebalance(coord, group, call);
    else if (has_left && classic_is_unused(group))
        err = classic_tombstone(group, call);
    coord_op_end(&leave->op, err, call);
}
