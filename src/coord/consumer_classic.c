/* Classic members in consumer groups: their requests.
 *
 * Their own assignor rests; the target is the group's. A member that must do something is told, as
 * always, that there is a rebalance; it joins again, which says what it has, and its sync brings
 * what it may have now.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include "base/assert.h"
#include "coord/consumer.h"
#include "coord/embedded.h"

/* --- JoinGroup --- */

static void refuse_join(struct coord_join *join, enum err err, struct str member_id,
                        const struct coord_call *call)
{
    join->given_member_id = member_id;
    join->generation = -1;
    join->answer_type = STR_NULL;
    join->answer_protocol = STR_NULL;
    join->leader = STR("");
    join->skip_assignment = false;
    join->member_count = 0;
    coord_op_end(&join->op, err, call);
}

static enum err check_protocols(const struct consumer *consumer, const struct coord_join *join)
{
    if (!str_eq(join->protocol_type, EMBEDDED_PROTOCOL_TYPE) || join->protocol_count == 0)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    for (size_t i = 0; i < join->protocol_count; i++)
        if (consumer_all_know(consumer, join->protocols[i].name))
            return ERR_OK;
    return ERR_INCONSISTENT_GROUP_PROTOCOL;
}

static enum err check_join(const struct coord *coord, const struct consumer *consumer,
                           const struct coord_join *join, struct consumer_member **member)
{
    const struct coord_consumer_config *config = &coord->config->consumer;
    bool is_static = !str_is_null(join->instance_id);
    *member = is_static ? consumer_instance_find(consumer, join->instance_id)
                        : consumer_member_find(consumer, join->member_id);
    if (!config->allows_upgrade && !config->allows_downgrade)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (consumer->member_count >= (size_t)config->group_size_max &&
        !consumer_member_find(consumer, join->member_id))
        return ERR_GROUP_MAX_SIZE_REACHED;
    TRY(check_protocols(consumer, join));
    if (is_static && join->member_id.len > 0) {
        if (!*member)
            return ERR_UNKNOWN_MEMBER_ID;
        if (!str_eq((*member)->id, join->member_id))
            return ERR_FENCED_INSTANCE_ID;
    }
    return ERR_OK;
}

static enum err join_spec(const struct coord_call *call, const struct coord_join *join,
                          struct str member_id,
                          const struct consumer_protocol_subscription *subscription,
                          struct consumer_spec *spec)
{
    struct str *topics =
        arena_array(call->arena, (size_t)subscription->topics_len, sizeof(*topics));
    if (!topics)
        return ERR_NOMEM;
    if (subscription->topics_len > 0)
        memcpy(topics, subscription->topics, (size_t)subscription->topics_len * sizeof(*topics));
    *spec = (struct consumer_spec){
        .id = member_id,
        .instance_id = join->instance_id,
        .rack_id = subscription->rack_id.len > 0 ? subscription->rack_id : STR_NULL,
        .client_id = str_is_null(join->op.client_id) ? STR("") : join->op.client_id,
        .client_host = join->op.client_host,
        .rebalance_timeout_ms = join->rebalance_timeout_ms,
        .topics = topics,
        .topic_count = consumer_names_normalize(topics, (size_t)subscription->topics_len),
        .regex = STR(""),
        .is_classic = true,
        .session_timeout_ms = join->session_timeout_ms,
        .protocols = join->protocols,
        .protocol_count = join->protocol_count,
    };
    return ERR_OK;
}

static bool is_spec_changed(const struct consumer_spec *a, const struct consumer_spec *b,
                            bool *topics)
{
    *topics = a->topic_count != b->topic_count || a->regex.len > 0;
    for (size_t i = 0; !*topics && i < a->topic_count; i++)
        *topics = !str_eq(a->topics[i], b->topics[i]);
    bool same = !*topics && a->is_classic && a->protocol_count == b->protocol_count &&
                a->session_timeout_ms == b->session_timeout_ms &&
                a->rebalance_timeout_ms == b->rebalance_timeout_ms &&
                str_eq(a->client_id, b->client_id) && str_eq(a->client_host, b->client_host) &&
                str_eq(a->instance_id, b->instance_id) && str_eq(a->rack_id, b->rack_id);
    for (size_t i = 0; same && i < a->protocol_count; i++)
        same = str_eq(a->protocols[i].name, b->protocols[i].name) &&
               a->protocols[i].metadata.len == b->protocols[i].metadata.len &&
               (a->protocols[i].metadata.len == 0 ||
                memcmp(a->protocols[i].metadata.data, b->protocols[i].metadata.data,
                       a->protocols[i].metadata.len) == 0);
    return !same;
}

static enum err answer_join(const struct consumer_member *member, struct coord_join *join)
{
    struct arena *arena = join->op.arena;
    join->given_member_id = arena_str(arena, member->id);
    join->generation = member->epoch;
    join->answer_type = EMBEDDED_PROTOCOL_TYPE;
    join->answer_protocol = arena_str(arena, member->classic->protocols[0].name);
    join->leader = STR("");
    join->skip_assignment = false;
    join->member_count = 0;
    return join->given_member_id.data && join->answer_protocol.data ? ERR_OK : ERR_NOMEM;
}

static enum err do_join(struct coord *coord, const struct coord_call *call, struct group *group,
                        struct coord_join *join, struct consumer_member *member,
                        struct str member_id)
{
    struct consumer *consumer = group->consumer;
    struct consumer_protocol_subscription subscription;
    struct consumer_spec before;
    struct consumer_spec after;
    struct assignment owned;
    bool topics_changed = true;
    if (embedded_read_subscription(join->protocols[0].metadata, call->arena, &subscription) !=
        ERR_OK)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    TRY(embedded_read_owned(call, &subscription, &owned));
    TRY(join_spec(call, join, member_id, &subscription, &after));
    if (consumer_spec_bytes(&after) > consumer_spec_bytes_max(call) / (member ? 2 : 1))
        return ERR_UNKNOWN_SERVER_ERROR;
    bool was_static = member && !str_is_null(join->instance_id);
    if (member && !str_eq(member->id, member_id))
        TRY(consumer_replace_static(coord, call, member, member_id, &member));
    bool changed = true;
    struct consumer_regex *regex = member ? member->regex : NULL;
    if (member) {
        TRY(consumer_spec_of(member, call->arena, &before));
        changed = is_spec_changed(&before, &after, &topics_changed);
    }
    bool is_last_of_regex = regex && regex->members == 1 && regex->is_resolved;
    if (changed)
        TRY(consumer_put_member(coord, call, group, &after));
    if (is_last_of_regex)
        TRY(consumer_delete_regex(coord, call, consumer, regex));
    member = consumer_member_find(consumer, member_id);
    ASSERT(member && member->classic);
    coord_timer_stop(coord, &member->rebalance);
    coord_timer_stop(coord, &member->join);
    bool is_left_out = consumer->target_epoch >= consumer->epoch && !member->target;
    TRY(consumer_update_epoch(coord, call, consumer, topics_changed || is_left_out));
    /* The last member of the consumer protocol came back, by its instance id, with the classic one:
     * each has what it shall have, unless that is to be computed anew. */
    bool downgrades = was_static && consumer_may_downgrade(coord, call, consumer, NULL, 0);
    bool is_stale = consumer->target_epoch < consumer->epoch;
    if (!downgrades)
        TRY(consumer_update_target(coord, call, consumer));
    if (!downgrades || !is_stale)
        TRY(consumer_advance(coord, call, member, topics_changed, &owned));
    TRY(answer_join(member, join));
    if (downgrades)
        return consumer_downgrade(coord, call, group, NULL, 0, is_stale);
    consumer_touch(coord, call, member);
    coord_timer_set(coord, &member->sync, call->now_ms + join->rebalance_timeout_ms);
    return ERR_OK;
}

void consumer_join(struct coord *coord, const struct coord_call *call, struct group *group,
                   struct coord_join *join)
{
    struct consumer_member *member;
    enum err err = check_join(coord, group->consumer, join, &member);
    struct str member_id = join->member_id;
    if (err == ERR_OK && member_id.len == 0) {
        member_id = consumer_new_id(call, join->op.arena);
        err = member_id.data ? ERR_OK : ERR_NOMEM;
    }
    if (err != ERR_OK) {
        refuse_join(join, err, STR(""), call);
        return;
    }
    bool must_come_again =
        join->member_id.len == 0 && str_is_null(join->instance_id) && join->takes_id_first;
    if (must_come_again) {
        refuse_join(join, ERR_MEMBER_ID_REQUIRED, member_id, call);
        return;
    }
    size_t mark = call->records->count;
    err = do_join(coord, call, group, join, member, member_id);
    if (err == ERR_OK) {
        coord_op_end(&join->op, ERR_OK, call);
        consumer_tell(coord, call, join->group_id);
        return;
    }
    /* Part of it may have happened: the driver begins anew. */
    if (call->records->count > mark && call->records->err == ERR_OK)
        call->records->err = err;
    refuse_join(join, err, STR(""), call);
}

/* --- SyncGroup, Heartbeat --- */

static enum err check_classic(const struct consumer *consumer, struct str member_id,
                              struct str instance_id, int32_t generation,
                              struct consumer_member **out)
{
    struct consumer_member *member = str_is_null(instance_id)
                                         ? consumer_member_find(consumer, member_id)
                                         : consumer_instance_find(consumer, instance_id);
    if (!member)
        return ERR_UNKNOWN_MEMBER_ID;
    if (!str_eq(member->id, member_id))
        return ERR_FENCED_INSTANCE_ID;
    if (!member->classic)
        return ERR_UNKNOWN_MEMBER_ID;
    *out = member;
    return member->epoch == generation ? ERR_OK : ERR_ILLEGAL_GENERATION;
}

/* It is told to join, and must within its rebalance time. */
static void expect_join(struct coord *coord, const struct coord_call *call,
                        struct consumer_member *member)
{
    if (!member->join.node.is_linked)
        coord_timer_set(coord, &member->join, call->now_ms + member->rebalance_timeout_ms);
}

static bool differs(struct str said, struct str is)
{
    return !str_is_null(said) && !str_eq(said, is);
}

static enum err do_sync(struct coord *coord, const struct coord_call *call,
                        const struct group *group, struct coord_sync *sync)
{
    struct consumer_member *member;
    TRY(check_classic(group->consumer, sync->member_id, sync->instance_id, sync->generation,
                      &member));
    if (differs(sync->protocol_type, EMBEDDED_PROTOCOL_TYPE) ||
        differs(sync->protocol, member->classic->protocols[0].name))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (group->consumer->target_epoch > member->epoch && member->state != CONSUMER_UNREVOKED) {
        expect_join(coord, call, member);
        return ERR_REBALANCE_IN_PROGRESS;
    }
    TRY(embedded_write_assignment(call, sync->op.arena, member->assigned,
                                  member->classic->protocols[0].metadata, &sync->assignment));
    sync->answer_type = sync->protocol_type;
    sync->answer_protocol = sync->protocol;
    coord_timer_stop(coord, &member->sync);
    consumer_touch(coord, call, member);
    return ERR_OK;
}

void consumer_sync(struct coord *coord, const struct coord_call *call, struct group *group,
                   struct coord_sync *sync)
{
    sync->answer_type = STR_NULL;
    sync->answer_protocol = STR_NULL;
    sync->assignment = slice_of("", 0);
    coord_op_end(&sync->op, do_sync(coord, call, group, sync), call);
}

void consumer_classic_heartbeat(struct coord *coord, const struct coord_call *call,
                                struct group *group, struct coord_heartbeat *heartbeat)
{
    struct consumer *consumer = group->consumer;
    struct consumer_member *member;
    enum err err = check_classic(consumer, heartbeat->member_id, heartbeat->instance_id,
                                 heartbeat->generation, &member);
    if (err == ERR_OK) {
        consumer_touch(coord, call, member);
        bool must_join = member->epoch < consumer->target_epoch ||
                         member->state == CONSUMER_UNREVOKED ||
                         (member->state == CONSUMER_UNRELEASED && !consumer_lacks(member, false));
        if (must_join) {
            expect_join(coord, call, member);
            err = ERR_REBALANCE_IN_PROGRESS;
        }
    }
    coord_op_end(&heartbeat->op, err, call);
}

/* --- LeaveGroup --- */

static enum err find_leaver(const struct consumer *consumer, const struct coord_leaver *leaver,
                            struct consumer_member **member)
{
    if (str_is_null(leaver->instance_id))
        *member = consumer_member_find(consumer, leaver->member_id);
    else
        *member = consumer_instance_find(consumer, leaver->instance_id);
    if (!*member)
        return ERR_UNKNOWN_MEMBER_ID;
    bool is_other = leaver->member_id.len > 0 && !str_eq((*member)->id, leaver->member_id);
    return is_other ? ERR_FENCED_INSTANCE_ID : ERR_OK;
}

void consumer_leave(struct coord *coord, const struct coord_call *call, struct group *group,
                    struct coord_leave *leave)
{
    struct consumer_member **members =
        arena_array(call->arena, leave->leaver_count, sizeof(struct consumer_member *));
    size_t count = 0;
    for (size_t i = 0; members && i < leave->leaver_count; i++) {
        struct consumer_member *member;
        leave->leavers[i].err = find_leaver(group->consumer, &leave->leavers[i], &member);
        bool is_new = leave->leavers[i].err == ERR_OK;
        for (size_t j = 0; is_new && j < count; j++)
            is_new = members[j] != member;
        if (is_new)
            members[count++] = member;
    }
    enum err err = members ? ERR_OK : ERR_NOMEM;
    if (count > 0)
        err = consumer_fence(coord, call, group, members, count);
    if (err != ERR_OK && count > 0 && call->records->err == ERR_OK)
        call->records->err = err;
    coord_op_end(&leave->op, err, call);
    consumer_tell(coord, call, leave->group_id);
}
