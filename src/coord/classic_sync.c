/* SyncGroup, Heartbeat, LeaveGroup: a member's life in a generation. Pure. */
#include "base/plant.h"
#include "coord/classic.h"
#include "coord/consumer.h"

/* A held heartbeat is answered this long before the member's next one is due; longer where the last
 * answer seems to have come too late. */
#define HOLD_MARGIN_MS      50
#define HOLD_MARGIN_LATE_MS 500
/* Far below what clients let a request take: 10 s is the least that is in use by default. */
#define HOLD_MAX_MS 5000
/* A heartbeat that came so much later than the answer to the one before did not wait for it. */
#define HOLD_NOTICED_MS 100

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
    if (sync->generation != group->classic.generation && !PLANTED(COORD_OLD_SYNC))
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

/* How long the answer may wait. A member that sends one each interval gets each answer before the
 * next is due, so that its client sees what it would see elsewhere, only later; and never so late
 * that its session, or a timeout of the client's requests, would notice. */
static int64_t hold_ms(const struct classic_member *member)
{
    int64_t most_ms = member->session_timeout_ms / 3;
    if (most_ms > HOLD_MAX_MS)
        most_ms = HOLD_MAX_MS;
    int64_t wait_ms =
        member->heartbeat_interval_ms - (member->was_longer ? HOLD_MARGIN_LATE_MS : HOLD_MARGIN_MS);
    return wait_ms < most_ms ? wait_ms : most_ms;
}

/* The time between two heartbeats is the client's interval, unless the second waited for the
 * answer to the first; or it is two, where librdkafka left one out because that answer was late. So
 * a longer one than was known is believed the second time. */
static void measure(struct classic_member *member, int64_t now_ms)
{
    int64_t gap_ms = now_ms - member->heartbeat_ms;
    bool is_known = member->heartbeat_ms > 0 && gap_ms > member->held_ms + HOLD_NOTICED_MS;
    bool is_longer =
        is_known && member->held_ms > 0 && gap_ms > member->heartbeat_interval_ms + HOLD_NOTICED_MS;
    if (is_known && (!is_longer || member->was_longer))
        member->heartbeat_interval_ms = gap_ms;
    member->was_longer = is_longer && !member->was_longer;
    member->heartbeat_ms = now_ms;
    member->held_ms = 0;
}

static void hold(struct coord *coord, struct classic_member *member, const struct coord_call *call,
                 struct coord_heartbeat *heartbeat)
{
    member->held_ms = hold_ms(member);
    heartbeat->op.waits_for_news = true;
    coord_op_wait(&heartbeat->op, &member->heartbeats);
    coord_timer_set(coord, &member->heartbeat_timer, call->now_ms + member->held_ms);
}

void classic_on_heartbeat_timer(struct coord *coord, const struct coord_call *call,
                                struct coord_timer *timer)
{
    struct classic_member *member = CONTAINER_OF(timer, struct classic_member, heartbeat_timer);
    (void)coord;
    coord_ops_end(&member->heartbeats, ERR_OK, call->done);
}

/* In a generation that has settled. */
static void heartbeat_stable(struct coord *coord, struct classic_member *member,
                             const struct coord_call *call, struct coord_heartbeat *heartbeat)
{
    coord_ops_end(&member->heartbeats, ERR_OK, call->done); /* it did not wait for the answer */
    measure(member, call->now_ms);
    if (heartbeat->may_wait && hold_ms(member) > 0)
        hold(coord, member, call, heartbeat);
    else
        coord_op_end(&heartbeat->op, ERR_OK, call);
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
    if (err != ERR_OK) {
        coord_op_end(&heartbeat->op, err, call);
        return;
    }
    struct classic_member *member = classic_member_find(group, heartbeat->member_id);
    classic_member_touch(coord, member, call->now_ms);
    if (classic_state(group) == CLASSIC_PREPARING)
        coord_op_end(&heartbeat->op, ERR_REBALANCE_IN_PROGRESS, call);
    else if (classic_state(group) == CLASSIC_COMPLETING)
        coord_op_end(&heartbeat->op, ERR_OK, call);
    else
        heartbeat_stable(coord, member, call, heartbeat);
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
