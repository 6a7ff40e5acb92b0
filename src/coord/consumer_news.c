/* Answers to heartbeats that wait for news, and who is told when.
 *
 * A member can be told something only in an answer. That of a client which bears it waits, where it
 * would say nothing new: until there is news, another request comes on its connection, or it is
 * time, since the client's next heartbeat is due or its patience ends. Whatever changes a group
 * ends with consumer_tell.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include "coord/consumer_beat.h"

/* An answer waits for news no longer than this, whatever the client bears, and so much less than
 * the interval where that is what it bears: the client hears nothing meanwhile, and must not give
 * up before the answer is there. Less where the way is known to be short. */
#define HOLD_MAX_MS        3000
#define HOLD_MARGIN_MS     500
#define HOLD_MARGIN_MIN_MS 100
/* And that of one that joins and has to wait for what others give back. */
#define HOLD_JOIN_MS 1000

/* Who leaves is often followed by others, of the same program: what one had would go to the next on
 * its way out. With librdkafka that does harm: a consumer that is destroyed without having been
 * closed, while partitions wait for its rebalance callback, waits for the callback for ever. So its
 * members are given what the other had this much later; a new epoch alone does no harm. */
#define LEAVE_QUIET_MS 100

/* --- how long the way is --- */

/* The client says that it has what it was told, which it cannot have said before it was: the way
 * there and back takes no longer than this. The least counts: applications take their time. */
void beat_measure_trip(const struct beat *b)
{
    struct consumer_member *member = b->member;
    if (!member || !b->in->owned || member->news_ms == 0 ||
        !assignment_same_partitions(b->in->owned, member->assigned))
        return;
    int64_t trip_ms = b->call->now_ms - member->news_ms + 1;
    member->news_ms = 0;
    if (member->trip_ms == 0 || trip_ms < member->trip_ms)
        member->trip_ms = trip_ms < INT32_MAX ? (int32_t)trip_ms : INT32_MAX;
}

/* Its interval counts from when it sends: what comes later shows that the client, the way or we
 * were held up. That is forgotten in time. */
void beat_measure_lateness(const struct beat *b)
{
    struct consumer_member *member = b->member;
    int64_t late_ms = 0;
    if (member->spoke_ms > 0 && member->told_interval_ms > 0)
        late_ms = b->call->now_ms - member->spoke_ms - member->told_interval_ms;
    if (late_ms > HOLD_MARGIN_MS)
        late_ms = HOLD_MARGIN_MS;
    member->late_ms -= (member->late_ms + 7) / 8;
    if (late_ms > member->late_ms)
        member->late_ms = (int32_t)late_ms;
    member->spoke_ms = b->call->now_ms;
}

/* --- waiting --- */

/* Something for the member to hear of: it is not where the target is, or what it waits for is free.
 */
static bool has_news(const struct consumer_member *member)
{
    const struct consumer *consumer = member->group->consumer;
    if (member->epoch != consumer->target_epoch)
        return true;
    if (member->state == CONSUMER_UNRELEASED)
        return consumer_lacks(member, true);
    return member->state != CONSUMER_STABLE;
}

/* For the answer to get there: what that took, or takes by now, and how late things were of late,
 * twice, since it is not always the same. */
static int64_t hold_margin_ms(const struct beat *b)
{
    const struct consumer_member *member = b->member;
    int64_t trip_ms = b->in->trip_ms > member->trip_ms ? b->in->trip_ms : member->trip_ms;
    int64_t margin_ms = HOLD_MARGIN_MIN_MS + 2 * (trip_ms + member->late_ms);
    bool is_short = member->trip_ms > 0 && margin_ms < HOLD_MARGIN_MS;
    return is_short ? margin_ms : HOLD_MARGIN_MS;
}

/* `told_ms`: the interval that the client was last told when it sent this. */
static int64_t hold_ms(const struct beat *b, int32_t told_ms)
{
    const struct coord_consumer_heartbeat *in = b->in;
    int64_t margin_ms = hold_margin_ms(b);
    bool joins = in->member_epoch == CONSUMER_EPOCH_JOIN;
    switch (in->patience) {
    case COORD_PATIENCE_NONE:
        return 0;
    case COORD_PATIENCE_INTERVAL:
        return told_ms - (told_ms / 2 < margin_ms ? told_ms / 2 : margin_ms);
    case COORD_PATIENCE_REQUEST:
        break;
    }
    /* Such a client says nothing meanwhile: its session must not end before it is its turn. */
    int64_t most_ms =
        consumer_setting(b->coord, b->call, b->group->id, CONSUMER_SESSION_TIMEOUT) / 3;
    int64_t wait_ms = joins ? HOLD_JOIN_MS : HOLD_MAX_MS;
    return wait_ms < most_ms ? wait_ms : most_ms;
}

bool beat_may_hold(const struct beat *b)
{
    const struct coord_consumer_heartbeat *in = b->in;
    if (in->patience == COORD_PATIENCE_NONE || has_news(b->member))
        return false;
    if (b->joins)
        return b->member->state == CONSUMER_UNRELEASED && b->member->assigned->count == 0;
    bool is_epoch_near =
        in->answer_epoch == in->member_epoch || in->member_epoch == b->member->previous_epoch;
    return is_epoch_near && !in->assignment && b->member->has_confirmed;
}

void beat_hold(const struct beat *b, int32_t told_ms)
{
    struct coord_consumer_heartbeat *in = b->in;
    in->op.waits_for_news = true;
    coord_op_wait(&in->op, &b->member->held);
    coord_timer_set(b->coord, &b->member->hold, b->call->now_ms + hold_ms(b, told_ms));
}

void consumer_on_hold(struct coord *coord, const struct coord_call *call, struct coord_timer *timer)
{
    struct consumer_member *member = CONTAINER_OF(timer, struct consumer_member, hold);
    (void)coord;
    coord_ops_end(&member->held, ERR_OK, call->done);
}

static struct coord_consumer_heartbeat *held_beat(const struct consumer_member *member)
{
    struct coord_op *op = LIST_ENTRY(member->held.next, struct coord_op, link);
    return CONTAINER_OF(op, struct coord_consumer_heartbeat, op);
}

static void tell_member(struct coord *coord, const struct coord_call *call,
                        struct consumer_member *member)
{
    struct beat b = {.coord = coord,
                     .call = call,
                     .in = held_beat(member),
                     .group = member->group,
                     .member = member};
    struct assignment before;
    enum err err = beat_had(&b, &before);
    if (err == ERR_OK)
        err = consumer_advance(coord, call, member, false, b.in->owned);
    if (err == ERR_OK)
        err = beat_answer(&b, &before);
    if (err != ERR_OK && call->records->err == ERR_OK)
        call->records->err = err;
    member->told_interval_ms = b.in->heartbeat_interval_ms;
    consumer_touch(coord, call, member);
    coord_op_end(&b.in->op, err, call);
}

/* Whether all that changes for the member is its epoch. Then it gets there without being told: the
 * answer that waits will say so. Once only: if that answer is lost, its client comes with the epoch
 * before, which is still known. */
static bool is_silent(const struct consumer_member *member)
{
    const struct coord_consumer_heartbeat *in = held_beat(member);
    return member->state == CONSUMER_STABLE && in->member_epoch == member->epoch &&
           member->target && assignment_same_partitions(member->target, member->assigned);
}

static void move_silently(struct coord *coord, const struct coord_call *call,
                          struct consumer_member *member)
{
    enum err err = consumer_advance(coord, call, member, false, NULL);
    if (err != ERR_OK && call->records->err == ERR_OK)
        call->records->err = err;
    held_beat(member)->answer_epoch = member->epoch;
}

/* Whether one that waits may be told now. */
static bool may_tell(const struct consumer_member *member)
{
    bool is_quiet = member->group->consumer->quiet.node.is_linked;
    return !is_quiet || held_beat(member)->patience != COORD_PATIENCE_INTERVAL;
}

static void tell_if_news(struct coord *coord, const struct coord_call *call,
                         struct consumer_member *member)
{
    if (has_news(member) && is_silent(member))
        move_silently(coord, call, member);
    if (has_news(member) && may_tell(member))
        tell_member(coord, call, member);
}

static bool anybody_waits(const struct consumer *consumer)
{
    for (size_t i = 0; i < consumer->member_count; i++) {
        if (!list_is_empty(&consumer->members[i]->held))
            return true;
    }
    return false;
}

void consumer_tell(struct coord *coord, const struct coord_call *call, struct str group_id)
{
    struct group *group = group_find(coord, group_id);
    struct consumer *consumer = group ? group->consumer : NULL;
    if (!consumer || !consumer->has_news)
        return;
    /* Nobody else may speak for a while. */
    if (anybody_waits(consumer) && consumer_update_target(coord, call, consumer) != ERR_OK)
        return;
    for (size_t i = 0; i < consumer->member_count; i++)
        if (!list_is_empty(&consumer->members[i]->held))
            tell_if_news(coord, call, consumer->members[i]);
    consumer->has_news = consumer->quiet.node.is_linked;
}

void consumer_on_quiet(struct coord *coord, const struct coord_call *call,
                       struct coord_timer *timer)
{
    struct consumer *consumer = CONTAINER_OF(timer, struct consumer, quiet);
    consumer_tell(coord, call, consumer->group->id);
}

void beat_begin_quiet(const struct beat *b)
{
    struct group *group = group_find(b->coord, b->in->group_id); /* not as it was, perhaps */
    if (group && group->consumer)
        coord_timer_set(b->coord, &group->consumer->quiet, b->call->now_ms + LEAVE_QUIET_MS);
}

void consumer_on_topics(struct coord *coord, const struct coord_call *call,
                        struct consumer *consumer)
{
    bool regexes_changed;
    if (!anybody_waits(consumer))
        return; /* the next who speaks sees to it */
    enum err err = consumer_update_regexes(coord, call, consumer, &regexes_changed);
    if (err == ERR_OK)
        err = consumer_update_epoch(coord, call, consumer, regexes_changed);
    if (err == ERR_OK)
        consumer_tell(coord, call, consumer->group->id);
    else if (call->records->err == ERR_OK)
        call->records->err = err; /* part of it may have happened */
}

void beat_forget_held(struct beat *b)
{
    if (b->member)
        coord_ops_end(&b->member->held, ERR_OK, b->call->done);
}
