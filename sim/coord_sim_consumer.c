/* Members of the consumer protocol in the simulation of a coordinator. One that hears of another
 * assignment stops reading what is not in it after a while, begins with what is, and tells the
 * coordinator what it has. After a request without an answer it says all of itself again. */
#include "base/assert.h"
#include "coord/assignment.h"
#include "sim/coord_sim.h"
#include "sim/model.h"

#define REBALANCE_MS 5000

static const struct assignment *owned_of(struct csim_op *op, const struct csim_parts *parts)
{
    struct assignment *owned = arena_zalloc(&op->arena, sizeof(*owned));
    struct assignment_builder builder;
    ASSERT(owned);
    assignment_builder_init(&builder, &op->arena, false);
    for (size_t i = 0; i < parts->count; i++)
        ASSERT(assignment_builder_add(&builder, op->sim->topics[parts->items[i].topic].id,
                                      parts->items[i].partition, 0) == ERR_OK);
    ASSERT(assignment_builder_finish(&builder, owned) == ERR_OK);
    return owned;
}

static void say_all(struct csim_op *op)
{
    struct coord_consumer_heartbeat *heartbeat = &op->u.consumer;
    const struct csim_member *member = op->sender;
    struct str *topics = arena_array(&op->arena, CSIM_TOPICS, sizeof(*topics));
    ASSERT(topics);
    heartbeat->topics = topics;
    heartbeat->topics_len = 0;
    for (uint32_t t = 0; t < CSIM_TOPICS; t++)
        if (member->topics & 1u << t)
            topics[heartbeat->topics_len++] = op->sim->topics[t].name;
    heartbeat->regex = member->uses_regex ? STR("t.*") : STR("");
    heartbeat->assignor = member->assignor;
    heartbeat->rebalance_timeout_ms = REBALANCE_MS;
}

void csim_build_consumer(struct csim_op *op, int32_t epoch)
{
    struct coord_consumer_heartbeat *heartbeat = &op->u.consumer;
    const struct csim_member *member = op->sender;
    heartbeat->api_version = 1;
    heartbeat->group_id = str_of(op->group->name);
    heartbeat->member_id = arena_str(&op->arena, csim_id(member));
    heartbeat->member_epoch = epoch;
    heartbeat->instance_id = csim_instance(member);
    heartbeat->rack_id = heartbeat->regex = heartbeat->assignor = STR_NULL;
    heartbeat->rebalance_timeout_ms = -1;
    heartbeat->topics_len = -1;
    heartbeat->patience = member->patience;
    if (epoch < 0)
        return;
    if (epoch == 0 || member->must_tell_all)
        say_all(op);
    if (epoch == 0 || member->must_tell_all || member->must_tell)
        heartbeat->owned = owned_of(op, &member->owned);
}

static void take(struct csim_member *member, const struct csim_op *op)
{
    const struct coord_consumer_heartbeat *heartbeat = &op->u.consumer;
    const struct csim *sim = member->sim;
    csim_parts_clear(&member->wanted);
    for (size_t t = 0; t < heartbeat->assignment->count; t++) {
        const struct topic_partitions *topic = &heartbeat->assignment->topics[t];
        uint32_t number = (uint32_t)topic->topic_id.bytes[0] - 1;
        if (number >= sim->topic_count)
            model_fail(&sim->world, "an assignment of a topic that is not there");
        for (uint32_t i = 0; i < topic->count; i++) {
            if (topic->partitions[i] >= sim->topics[number].partition_count)
                model_fail(&sim->world, "an assignment of t%u-%d, which is not there", number,
                           topic->partitions[i]);
            csim_parts_add(&member->wanted, number, topic->partitions[i]);
        }
    }
    member->must_settle = true;
    member->is_told_all = heartbeat->topics_len >= 0 && op->ghosts == member->ghosts;
}

void csim_on_consumer(struct csim_member *member, struct csim_op *op)
{
    const struct coord_consumer_heartbeat *heartbeat = &op->u.consumer;
    struct csim *sim = member->sim;
    enum err err = op->u.op.err;
    if (err == ERR_UNRELEASED_INSTANCE_ID) {
        csim_again(member, 100 + rng_below(&sim->rng, 1000));
        return;
    }
    if (err != ERR_OK) {
        if (!csim_is_common_error(member, err))
            model_fail(&sim->world, "%s: a heartbeat of member %u is answered with %s: %.*s",
                       member->group->name, member->index, err_name(err),
                       STR_ARG(heartbeat->message));
        return;
    }
    member->step = CSIM_IN;
    member->epoch = heartbeat->answer_epoch;
    if (heartbeat->assignment)
        take(member, op);
    uint64_t most_ms = heartbeat->assignment ? 300 : (uint64_t)heartbeat->heartbeat_interval_ms;
    csim_again(member, rng_below(&sim->rng, most_ms + 1));
}
