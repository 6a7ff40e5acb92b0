/* Members that are not heard of, or do not do what they must, are taken out; and the times that
 * this, and their heartbeats, go by.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include <string.h>

#include "coord/consumer.h"

enum err consumer_fence(struct coord *coord, const struct coord_call *call, struct group *group,
                        struct consumer_member **members, size_t count)
{
    if (consumer_may_downgrade(coord, call, group->consumer, members, count))
        return consumer_downgrade(coord, call, group, members, count, true);
    for (size_t i = 0; i < count; i++)
        TRY(consumer_member_delete(coord, call, members[i]));
    return consumer_update_epoch(coord, call, group->consumer, true);
}

static void fence_one(struct coord *coord, const struct coord_call *call,
                      struct consumer_member *member)
{
    struct str group_id = arena_str(call->arena, member->group->id);
    enum err err = consumer_fence(coord, call, member->group, &member, 1);
    if (err != ERR_OK && call->records->err == ERR_OK)
        call->records->err = err;
    if (err == ERR_OK && group_id.data)
        consumer_tell(coord, call, group_id);
}

void consumer_on_session(struct coord *coord, const struct coord_call *call,
                         struct coord_timer *timer)
{
    struct consumer_member *member = CONTAINER_OF(timer, struct consumer_member, session);
    if (call->now_ms < member->session_end_ms)
        coord_timer_set(coord, timer, member->session_end_ms);
    else
        fence_one(coord, call, member);
}

void consumer_on_rebalance(struct coord *coord, const struct coord_call *call,
                           struct coord_timer *timer)
{
    struct consumer_member *member = CONTAINER_OF(timer, struct consumer_member, rebalance);
    if (member->state == CONSUMER_UNREVOKED && member->epoch == member->rebalance_epoch)
        fence_one(coord, call, member);
}

void consumer_on_join(struct coord *coord, const struct coord_call *call, struct coord_timer *timer)
{
    fence_one(coord, call, CONTAINER_OF(timer, struct consumer_member, join));
}

void consumer_on_sync(struct coord *coord, const struct coord_call *call, struct coord_timer *timer)
{
    fence_one(coord, call, CONTAINER_OF(timer, struct consumer_member, sync));
}

void consumer_touch(struct coord *coord, const struct coord_call *call,
                    struct consumer_member *member)
{
    int32_t timeout_ms = member->classic ? member->classic->session_timeout_ms
                                         : consumer_setting(coord, call, member->group->id,
                                                            CONSUMER_SESSION_TIMEOUT);
    member->session_end_ms = call->now_ms + timeout_ms;
    /* The timer looks at the end when it runs; only an earlier one must move it. */
    if (!member->session.node.is_linked ||
        (int64_t)member->session.node.key > member->session_end_ms)
        coord_timer_set(coord, &member->session, member->session_end_ms);
}

/* --- settings --- */

static int32_t clamp(int32_t value, int32_t min, int32_t max)
{
    return value < min ? min : value > max ? max : value;
}

int32_t consumer_setting(const struct coord *coord, const struct coord_call *call,
                         struct str group_id, enum consumer_setting setting)
{
    const struct coord_consumer_config *config = &coord->config->consumer;
    const struct {
        struct str key;
        int32_t value, min, max;
    } settings[] = {
        [CONSUMER_SESSION_TIMEOUT] = {STR("consumer.session.timeout.ms"),
                                      config->session_timeout_ms, config->session_timeout_min_ms,
                                      config->session_timeout_max_ms},
        [CONSUMER_HEARTBEAT_INTERVAL] = {STR("consumer.heartbeat.interval.ms"),
                                         config->heartbeat_interval_ms,
                                         config->heartbeat_interval_min_ms,
                                         config->heartbeat_interval_max_ms},
        [CONSUMER_ASSIGNMENT_INTERVAL] = {STR("consumer.assignment.interval.ms"),
                                          config->assignment_interval_ms,
                                          config->assignment_interval_min_ms,
                                          config->assignment_interval_max_ms},
    };
    int32_t own;
    if (!call->topics->group_config(call->topics->image, group_id, settings[setting].key, &own))
        return settings[setting].value;
    return clamp(own, settings[setting].min, settings[setting].max);
}
