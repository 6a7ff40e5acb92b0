/* How a classic group comes from one generation to the next. Pure.
 *
 *   PREPARING   members are told (by their heartbeats' answers) to join again; ends when all have,
 *               or when the rebalance timeout does, without those who did not. A group that was
 *               empty waits a little for others instead: the initial delay, which begins again
 *               while newcomers keep coming. So does a later one among newcomers that come in a
 *               crowd.
 *   COMPLETING  all got the generation; the leader's assignment is waited for
 *   STABLE      all get their assignment with their sync
 *
 * A member whose session ends is removed, unless it waits here: then it is we who let it wait. */
#include "base/assert.h"
#include "coord/classic.h"

/* Once there are two, how long a group that was empty waits for another at least. */
#define CROWD_DELAY_MS 500
/* Newcomers from which on a later rebalance waits for another, too; and how long at most, once all
 * have joined: some of them have work that they might do. */
#define CROWD_COUNT  3
#define CROWD_MAX_MS 10000

static struct group *group_of_join_timer(struct coord_timer *timer)
{
    return CONTAINER_OF(timer, struct group, classic.join_timer);
}

static int32_t rebalance_timeout_ms(const struct group *group)
{
    int32_t timeout_ms = 0;
    LIST_FOREACH (node, &group->classic.members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        if (member->rebalance_timeout_ms > timeout_ms)
            timeout_ms = member->rebalance_timeout_ms;
    }
    return timeout_ms;
}

/* --- answers --- */

static enum err copy_members(const struct group *group, struct coord_join *join)
{
    const struct classic *classic = &group->classic;
    struct arena *arena = join->op.arena;
    struct coord_join_member *members = arena_array(arena, classic->member_count, sizeof(*members));
    if (!members)
        return ERR_NOMEM;
    join->members = members;
    join->member_count = 0;
    LIST_FOREACH (node, &classic->members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        struct coord_join_member *out = &members[join->member_count++];
        struct slice metadata = classic_member_metadata(member, classic->protocol);
        out->id = arena_str(arena, member->id);
        out->instance_id =
            str_is_null(member->instance_id) ? STR_NULL : arena_str(arena, member->instance_id);
        out->metadata = arena_slice(arena, metadata.data ? metadata : slice_of("", 0));
        if (!out->id.data || !out->metadata.data ||
            (!str_is_null(member->instance_id) && !out->instance_id.data))
            return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err fill_join(const struct classic_member *member, struct coord_join *join)
{
    const struct group *group = member->group;
    const struct classic *classic = &group->classic;
    struct arena *arena = join->op.arena;
    join->given_member_id = arena_str(arena, member->id);
    join->generation = classic->generation;
    join->answer_type = arena_str(arena, classic->protocol_type);
    join->answer_protocol = arena_str(arena, classic->protocol);
    join->leader = arena_str(arena, classic->leader->id);
    join->skip_assignment = false;
    if (!join->given_member_id.data || !join->answer_type.data || !join->answer_protocol.data ||
        !join->leader.data)
        return ERR_NOMEM;
    return classic->leader == member ? copy_members(group, join) : ERR_OK;
}

void classic_answer_join(struct classic_member *member, struct coord_join *join,
                         const struct coord_call *call)
{
    coord_op_end(&join->op, fill_join(member, join), call);
}

static enum err fill_sync(const struct classic_member *member, struct coord_sync *sync)
{
    const struct classic *classic = &member->group->classic;
    sync->answer_type = arena_str(sync->op.arena, classic->protocol_type);
    sync->answer_protocol = arena_str(sync->op.arena, classic->protocol);
    sync->assignment = arena_slice(sync->op.arena, member->assignment);
    bool is_whole = sync->answer_type.data && sync->answer_protocol.data && sync->assignment.data;
    return is_whole ? ERR_OK : ERR_NOMEM;
}

void classic_answer_sync(struct classic_member *member, struct coord_sync *sync, enum err err,
                         const struct coord_call *call)
{
    if (err == ERR_OK)
        err = fill_sync(member, sync);
    coord_op_end(&sync->op, err, call);
}

void classic_propagate(struct coord *coord, struct group *group, enum err err,
                       const struct coord_call *call)
{
    LIST_FOREACH (node, &group->classic.members) {
        struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        if (!member->is_awaiting_sync)
            continue;
        member->is_awaiting_sync = false;
        LIST_FOREACH_SAFE (op, &member->syncs)
            classic_answer_sync(member, (struct coord_sync *)LIST_ENTRY(op, struct coord_op, link),
                                err, call);
        classic_member_touch(coord, member, call->now_ms);
    }
}

/* --- from stable to preparing --- */

static void forget_syncs(struct coord *coord, struct group *group)
{
    LIST_FOREACH (node, &group->classic.members)
        classic_set_pending_sync(LIST_ENTRY(node, struct classic_member, link), false);
    coord_timer_stop(coord, &group->classic.sync_timer);
}

/* Newcomers count from when all members had been heard of in a generation: before its first
 * heartbeat there, nobody can be told of a rebalance. */
static void count_newcomers(struct classic *classic)
{
    bool is_settled = classic->sm.state == CLASSIC_STABLE || classic->sm.state == CLASSIC_EMPTY;
    size_t count = 0;
    LIST_FOREACH (node, &classic->members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        count += member->is_new;
        is_settled = is_settled && (member->is_new || member->heartbeat_ms > 0);
    }
    if (is_settled)
        classic->newcomers = count;
    classic->has_newcomer = count > 0;
}

/* Nobody waits for a heartbeat to hear of it. */
static void tell_members(struct group *group, const struct coord_call *call)
{
    LIST_FOREACH (node, &group->classic.members) {
        struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        coord_ops_end(&member->heartbeats, ERR_REBALANCE_IN_PROGRESS, call->done);
        member->heartbeat_ms = 0;
    }
}

static void wait_for_joins(struct coord *coord, struct group *group, const struct coord_call *call)
{
    group->classic.join_end_ms = call->now_ms + rebalance_timeout_ms(group);
    coord_timer_set(coord, &group->classic.join_timer, group->classic.join_end_ms);
}

static bool have_all_joined(const struct group *group)
{
    const struct classic *classic = &group->classic;
    return classic->awaiting_join == classic->member_count && classic->pending.count == 0;
}

static void complete(struct coord *coord, struct group *group, const struct coord_call *call);

/* All have joined: the next generation, unless others are on their way. Processes that start side
 * by side come one after the other, and each that comes after the generation was made costs all of
 * them another, and the wait for the first heartbeats of those who are in it. */
static void all_joined(struct coord *coord, struct group *group, const struct coord_call *call)
{
    struct classic *classic = &group->classic;
    if (classic->joined_ms == 0)
        classic->joined_ms = call->now_ms;
    int64_t until_ms = classic->newcomer_ms + CROWD_DELAY_MS;
    if (until_ms > classic->joined_ms + CROWD_MAX_MS)
        until_ms = classic->joined_ms + CROWD_MAX_MS;
    if (until_ms > classic->join_end_ms)
        until_ms = classic->join_end_ms;
    bool is_crowd = !classic->is_initial && classic->has_newcomer && classic->member_count > 0 &&
                    classic->newcomers >= CROWD_COUNT &&
                    coord->config->initial_rebalance_delay_ms > 0;
    if (is_crowd && until_ms > call->now_ms)
        coord_timer_set(coord, &classic->join_timer, until_ms);
    else
        complete(coord, group, call);
}

void classic_prepare(struct coord *coord, struct group *group, const struct coord_call *call)
{
    struct classic *classic = &group->classic;
    if (classic_state(group) == CLASSIC_COMPLETING)
        classic_propagate(coord, group, ERR_REBALANCE_IN_PROGRESS, call);
    forget_syncs(coord, group);
    count_newcomers(classic);
    tell_members(group, call);
    classic->is_initial = classic_state(group) == CLASSIC_EMPTY;
    classic->joined_ms = 0;
    classic_move(group, CLASSIC_PREPARING, call);
    if (classic->is_initial) {
        classic->has_newcomer = false; /* another one */
        int64_t delay_ms = coord->config->initial_rebalance_delay_ms;
        int64_t left_ms = rebalance_timeout_ms(group) - delay_ms;
        classic->initial_left_ms = left_ms > 0 ? left_ms : 0;
        coord_timer_set(coord, &classic->join_timer, call->now_ms + delay_ms);
    } else {
        wait_for_joins(coord, group, call);
        classic_maybe_complete(coord, group, call);
    }
}

void classic_maybe_complete(struct coord *coord, struct group *group, const struct coord_call *call)
{
    if (classic_state(group) == CLASSIC_PREPARING && !group->classic.is_initial &&
        have_all_joined(group))
        all_joined(coord, group, call);
}

void classic_rebalance(struct coord *coord, struct group *group, const struct coord_call *call)
{
    if (classic_state(group) == CLASSIC_PREPARING)
        classic_maybe_complete(coord, group, call);
    else
        classic_prepare(coord, group, call);
}

/* --- from preparing to the next generation --- */

static void remove_absent(struct coord *coord, struct group *group, const struct coord_call *call)
{
    LIST_FOREACH_SAFE (node, &group->classic.members) {
        struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        if (!member->is_awaiting_join && str_is_null(member->instance_id))
            classic_member_remove(coord, member, ERR_UNKNOWN_MEMBER_ID, call->done);
    }
}

/* The leader must be one who joined. False: nobody did. */
static bool elect_leader(struct classic *classic)
{
    if (classic->leader && classic->leader->is_awaiting_join)
        return true;
    LIST_FOREACH (node, &classic->members) {
        struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        if (member->is_awaiting_join) {
            classic->leader = member;
            return true;
        }
    }
    return false;
}

/* A record that should be there is missing: the driver begins anew from the log. */
static void write_record(const struct group *group, const struct coord_call *call)
{
    enum err err = classic_record(group, call);
    if (err != ERR_OK)
        call->records->err = err;
}

static void become_empty(struct group *group, const struct coord_call *call)
{
    coord_str_free(&group->classic.protocol);
    classic_move(group, CLASSIC_EMPTY, call);
    write_record(group, call);
}

static void answer_joins(struct coord *coord, struct group *group, const struct coord_call *call)
{
    LIST_FOREACH (node, &group->classic.members) {
        struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        LIST_FOREACH_SAFE (op, &member->joins)
            classic_answer_join(member, (struct coord_join *)LIST_ENTRY(op, struct coord_op, link),
                                call);
        classic_set_awaiting_join(member, false);
        member->is_new = false;
        classic_member_forget_kept(member);
        classic_set_pending_sync(member, true);
        classic_member_touch(coord, member, call->now_ms);
    }
}

static void complete(struct coord *coord, struct group *group, const struct coord_call *call)
{
    struct classic *classic = &group->classic;
    coord_timer_stop(coord, &classic->join_timer);
    remove_absent(coord, group, call);
    if (classic->member_count > 0 && !elect_leader(classic)) {
        wait_for_joins(coord, group, call); /* static members, whose sessions may yet end */
        return;
    }
    classic->generation++;
    classic->must_rebalance = false;
    if (classic->member_count == 0) {
        become_empty(group, call);
        return;
    }
    enum err err = coord_str_set(classic_select_protocol(group), &classic->protocol);
    if (err != ERR_OK) {
        call->records->err = err;
        return;
    }
    classic_move(group, CLASSIC_COMPLETING, call);
    answer_joins(coord, group, call);
    coord_timer_set(coord, &classic->sync_timer, call->now_ms + rebalance_timeout_ms(group));
}

void classic_on_join_timer(struct coord *coord, const struct coord_call *call,
                           struct coord_timer *timer)
{
    struct group *group = group_of_join_timer(timer);
    struct classic *classic = &group->classic;
    ASSERT(classic_state(group) == CLASSIC_PREPARING);
    if (!classic->is_initial && call->now_ms < classic->join_end_ms && !have_all_joined(group)) {
        coord_timer_set(coord, timer, classic->join_end_ms); /* of a crowd, one had only its id */
        return;
    }
    if (!classic->is_initial || !classic->has_newcomer || classic->initial_left_ms == 0) {
        complete(coord, group, call);
        return;
    }
    /* Newcomers are still coming, from processes that start side by side: one that comes after the
     * generation was made waits for the first heartbeat of those who are in it. */
    int64_t delay_ms = coord->config->initial_rebalance_delay_ms;
    if (delay_ms > 0 && delay_ms < CROWD_DELAY_MS)
        delay_ms = CROWD_DELAY_MS;
    if (delay_ms > classic->initial_left_ms)
        delay_ms = classic->initial_left_ms;
    classic->has_newcomer = false;
    classic->initial_left_ms -= delay_ms;
    coord_timer_set(coord, timer, call->now_ms + delay_ms);
}

/* --- who does not answer --- */

void classic_on_sync_timer(struct coord *coord, const struct coord_call *call,
                           struct coord_timer *timer)
{
    struct group *group = CONTAINER_OF(timer, struct group, classic.sync_timer);
    ASSERT(group->classic.pending_sync > 0);
    LIST_FOREACH_SAFE (node, &group->classic.members) {
        struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        if (member->is_pending_sync)
            classic_member_remove(coord, member, ERR_UNKNOWN_MEMBER_ID, call->done);
    }
    classic_prepare(coord, group, call);
}

static void after_removal(struct coord *coord, struct group *group, const struct coord_call *call)
{
    if (classic_state(group) != CLASSIC_PREPARING)
        classic_prepare(coord, group, call);
    else if (have_all_joined(group))
        all_joined(coord, group, call);
}

void classic_on_session_end(struct coord *coord, const struct coord_call *call,
                            struct coord_timer *timer)
{
    struct classic_member *member = CONTAINER_OF(timer, struct classic_member, session);
    struct group *group = member->group;
    if (member->session_end_ms > call->now_ms) {
        coord_timer_set(coord, timer, member->session_end_ms);
        return;
    }
    /* It waits for us: its session begins anew with the answer. */
    if (!member->is_new && (member->is_awaiting_join || member->is_awaiting_sync))
        return;
    classic_member_remove(coord, member, ERR_UNKNOWN_MEMBER_ID, call->done);
    after_removal(coord, group, call);
}

/* An id that nobody came with. A group that was made for it alone goes, too. */
void classic_on_pending_end(struct coord *coord, const struct coord_call *call,
                            struct coord_timer *timer)
{
    struct classic_pending *pending = CONTAINER_OF(timer, struct classic_pending, timer);
    struct group *group = pending->group;
    classic_pending_remove(coord, pending);
    if (classic_state(group) == CLASSIC_PREPARING && have_all_joined(group))
        all_joined(coord, group, call);
    else if (classic_is_unused(group) && classic_tombstone(group, call) != ERR_OK)
        return; /* the next sweep takes it */
}
