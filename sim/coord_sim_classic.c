/* Members of the classic protocol in the simulation of a coordinator: what they send, and how their
 * leader divides partitions. Eager ones give up all before they join again; cooperative ones go on
 * reading, and the leader gives nobody what another still has. */
#include <stdlib.h>

#include "base/assert.h"
#include "sim/coord_sim.h"
#include "sim/model.h"
#include "wire/messages.h"

#define SUBSCRIPTION_VERSION 3
#define ASSIGNMENT_VERSION   1
#define SESSION_MS           4000
#define REBALANCE_MS         5000

static struct str protocol_name(const struct csim_group *group)
{
    return group->is_cooperative ? STR("cooperative-sticky") : STR("range");
}

/* --- the embedded protocol --- */

static struct slice encode(struct arena *arena, const struct msg_schema *schema, int16_t version,
                           const void *msg)
{
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_put_be16(&bytes, (uint16_t)version);
    ASSERT(codec_encode(schema, version, msg, &bytes, NULL) == ERR_OK);
    struct slice copy = arena_slice(arena, buf_slice(&bytes));
    ASSERT(copy.data);
    buf_deinit(&bytes);
    return copy;
}

static bool decode(struct arena *arena, const struct msg_schema *schema, struct slice bytes,
                   void *msg)
{
    size_t used;
    if (bytes.len < sizeof(uint16_t))
        return false;
    int16_t version = (int16_t)be16_load(bytes.data);
    struct slice rest = slice_of(bytes.data + sizeof(uint16_t), bytes.len - sizeof(uint16_t));
    return version <= SUBSCRIPTION_VERSION &&
           codec_decode(schema, version, rest, &used, arena, msg, NULL) == ERR_OK;
}

static struct slice subscription(struct csim_op *op)
{
    const struct csim_member *member = op->sender;
    const struct csim *sim = op->sim;
    struct consumer_protocol_subscription value = {0};
    struct str *topics = arena_array(&op->arena, CSIM_TOPICS, sizeof(*topics));
    struct consumer_protocol_subscription_owned_partition *owned =
        arena_array(&op->arena, CSIM_TOPICS, sizeof(*owned));
    ASSERT(topics && owned);
    value.topics = topics;
    value.owned_partitions = owned;
    value.generation_id = member->epoch;
    value.rack_id = STR_NULL;
    for (uint32_t t = 0; t < CSIM_TOPICS; t++)
        if (member->topics & 1u << t)
            topics[value.topics_len++] = sim->topics[t].name;
    for (size_t i = 0; i < member->owned.count;) {
        struct consumer_protocol_subscription_owned_partition *to =
            &owned[value.owned_partitions_len++];
        uint32_t topic = member->owned.items[i].topic;
        to->topic = sim->topics[topic].name;
        to->partitions = arena_array(&op->arena, member->owned.count - i, sizeof(int32_t));
        ASSERT(to->partitions);
        for (; i < member->owned.count && member->owned.items[i].topic == topic; i++)
            to->partitions[to->partitions_len++] = member->owned.items[i].partition;
    }
    return encode(&op->arena, &consumer_protocol_subscription_schema, SUBSCRIPTION_VERSION, &value);
}

bool csim_read_assignment(struct csim *sim, struct slice bytes, struct csim_parts *parts)
{
    struct consumer_protocol_assignment value;
    struct arena arena;
    csim_parts_clear(parts);
    if (bytes.len == 0)
        return true;
    arena_init(&arena, ARENA_NO_LIMIT);
    bool is_one = decode(&arena, &consumer_protocol_assignment_schema, bytes, &value);
    for (uint32_t t = 0; is_one && t < CSIM_TOPICS; t++)
        for (int32_t i = 0; i < value.assigned_partitions_len; i++)
            for (int32_t p = 0; str_eq(value.assigned_partitions[i].topic, sim->topics[t].name) &&
                                p < value.assigned_partitions[i].partitions_len;
                 p++)
                csim_parts_add(parts, t, value.assigned_partitions[i].partitions[p]);
    arena_deinit(&arena);
    return is_one;
}

/* --- the leader's work --- */

struct claim {
    uint32_t member; /* counted from 1; 0: nobody */
    int32_t generation;
};

struct division {
    struct csim_member *leader;
    struct arena *arena;
    const struct coord_join *join;
    struct consumer_protocol_subscription *subscriptions;
    struct claim *claims[CSIM_TOPICS];
    struct consumer_protocol_assignment *given;
};

static uint32_t topic_of(const struct csim *sim, struct str name)
{
    for (uint32_t t = 0; t < CSIM_TOPICS; t++)
        if (str_eq(sim->topics[t].name, name))
            return t;
    model_fail(&sim->world, "a subscription to %.*s", STR_ARG(name));
}

static void read_claims(struct division *d, uint32_t member)
{
    const struct csim *sim = d->leader->sim;
    const struct consumer_protocol_subscription *said = &d->subscriptions[member];
    for (int32_t i = 0; i < said->owned_partitions_len; i++) {
        uint32_t t = topic_of(sim, said->owned_partitions[i].topic);
        for (int32_t p = 0; p < said->owned_partitions[i].partitions_len; p++) {
            struct claim *claim = &d->claims[t][said->owned_partitions[i].partitions[p]];
            if (claim->member == 0 || claim->generation < said->generation_id)
                *claim = (struct claim){member + 1, said->generation_id};
        }
    }
}

static void give(struct division *d, uint32_t member, uint32_t topic, int32_t partition,
                 size_t most)
{
    struct consumer_protocol_assignment *to = &d->given[member];
    int32_t last = to->assigned_partitions_len - 1;
    struct str name = d->leader->sim->topics[topic].name;
    if (last < 0 || !str_eq(to->assigned_partitions[last].topic, name)) {
        last = to->assigned_partitions_len++;
        to->assigned_partitions[last].topic = name;
        to->assigned_partitions[last].partitions = arena_array(d->arena, most, sizeof(int32_t));
        ASSERT(to->assigned_partitions[last].partitions);
    }
    struct consumer_protocol_assignment_assigned_partition *list = &to->assigned_partitions[last];
    list->partitions[list->partitions_len++] = partition;
}

static void divide_topic(struct division *d, uint32_t topic, const uint32_t *order)
{
    const struct csim *sim = d->leader->sim;
    int32_t partitions = sim->topics[topic].partition_count;
    uint32_t *readers = arena_array(d->arena, d->join->member_count, sizeof(*readers));
    uint32_t count = 0;
    ASSERT(readers);
    for (size_t i = 0; i < d->join->member_count; i++) {
        const struct consumer_protocol_subscription *said = &d->subscriptions[order[i]];
        for (int32_t t = 0; t < said->topics_len; t++)
            if (str_eq(said->topics[t], sim->topics[topic].name))
                readers[count++] = order[i];
    }
    for (int32_t p = 0; count > 0 && p < partitions; p++) {
        uint32_t reader = readers[(uint32_t)p % count];
        const struct claim *claim = &d->claims[topic][p];
        bool is_kept_back =
            d->leader->group->is_cooperative && claim->member != 0 && claim->member != reader + 1;
        if (!is_kept_back)
            give(d, reader, topic, p, (size_t)partitions / count + 1);
    }
}

struct named {
    struct str id;
    uint32_t index;
};

static int named_compare(const void *a, const void *b)
{
    return str_cmp(((const struct named *)a)->id, ((const struct named *)b)->id);
}

static uint32_t *order_of(const struct division *d)
{
    size_t count = d->join->member_count;
    struct named *named = arena_array(d->arena, count, sizeof(*named));
    uint32_t *order = arena_array(d->arena, count, sizeof(*order));
    ASSERT(named && order);
    for (uint32_t i = 0; i < count; i++)
        named[i] = (struct named){d->join->members[i].id, i};
    qsort(named, count, sizeof(*named), named_compare);
    for (size_t i = 0; i < count; i++)
        order[i] = named[i].index;
    return order;
}

static void lead(struct csim_member *member, const struct coord_join *join)
{
    struct csim *sim = member->sim;
    size_t count = join->member_count;
    member->led_version = sim->topics_version;
    arena_reset(&member->lead_arena);
    struct division d = {.leader = member, .arena = &member->lead_arena, .join = join};
    d.subscriptions = arena_array(d.arena, count, sizeof(*d.subscriptions));
    d.given = arena_array(d.arena, count, sizeof(*d.given));
    member->lead = arena_array(d.arena, count, sizeof(*member->lead));
    ASSERT(d.subscriptions && d.given && member->lead);
    member->lead_count = count;
    for (uint32_t t = 0; t < CSIM_TOPICS; t++) {
        d.claims[t] = arena_array(d.arena, (size_t)sim->partitions_max, sizeof(struct claim));
        ASSERT(d.claims[t]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!decode(d.arena, &consumer_protocol_subscription_schema, join->members[i].metadata,
                    &d.subscriptions[i]))
            model_fail(&sim->world, "a subscription that nobody made");
        d.given[i].assigned_partitions =
            arena_array(d.arena, CSIM_TOPICS, sizeof(*d.given[i].assigned_partitions));
        ASSERT(d.given[i].assigned_partitions);
        d.given[i].user_data = SLICE_NULL;
        read_claims(&d, i);
    }
    const uint32_t *order = order_of(&d);
    for (uint32_t t = 0; t < sim->topic_count; t++)
        divide_topic(&d, t, order);
    for (uint32_t i = 0; i < count; i++) {
        member->lead[i].member_id = arena_str(d.arena, join->members[i].id);
        member->lead[i].assignment =
            encode(d.arena, &consumer_protocol_assignment_schema, ASSIGNMENT_VERSION, &d.given[i]);
    }
}

/* --- requests --- */

void csim_build_join(struct csim_op *op)
{
    struct coord_join *join = &op->u.join;
    struct coord_protocol *protocol = arena_array(&op->arena, 1, sizeof(*protocol));
    ASSERT(protocol);
    *protocol = (struct coord_protocol){protocol_name(op->group), subscription(op)};
    join->group_id = str_of(op->group->name);
    join->session_timeout_ms = SESSION_MS;
    join->rebalance_timeout_ms = REBALANCE_MS;
    join->member_id = arena_str(&op->arena, csim_id(op->sender));
    join->instance_id = csim_instance(op->sender);
    join->protocol_type = STR("consumer");
    join->protocols = protocol;
    join->protocol_count = 1;
    join->takes_id_first = join->takes_skip = true;
}

void csim_build_sync(struct csim_op *op)
{
    struct coord_sync *sync = &op->u.sync;
    const struct csim_member *member = op->sender;
    sync->group_id = str_of(op->group->name);
    sync->generation = member->epoch;
    sync->member_id = arena_str(&op->arena, csim_id(member));
    sync->instance_id = csim_instance(member);
    sync->protocol_type = STR("consumer");
    sync->protocol = protocol_name(op->group);
    if (member->lead_count == 0)
        return;
    struct coord_assignment *assignments =
        arena_array(&op->arena, member->lead_count, sizeof(*assignments));
    ASSERT(assignments);
    for (size_t i = 0; i < member->lead_count; i++)
        assignments[i] =
            (struct coord_assignment){arena_str(&op->arena, member->lead[i].member_id),
                                      arena_slice(&op->arena, member->lead[i].assignment)};
    sync->assignments = assignments;
    sync->assignment_count = member->lead_count;
}

void csim_build_heartbeat(struct csim_op *op)
{
    struct coord_heartbeat *heartbeat = &op->u.heartbeat;
    heartbeat->group_id = str_of(op->group->name);
    heartbeat->generation = op->sender->epoch;
    heartbeat->member_id = arena_str(&op->arena, csim_id(op->sender));
    heartbeat->instance_id = csim_instance(op->sender);
    heartbeat->may_wait = op->sender->patience != COORD_PATIENCE_NONE;
}

void csim_build_leave(struct csim_op *op)
{
    struct coord_leave *leave = &op->u.leave;
    leave->group_id = str_of(op->group->name);
    leave->leavers = arena_array(&op->arena, 1, sizeof(*leave->leavers));
    ASSERT(leave->leavers);
    leave->leaver_count = 1;
    leave->leavers[0].member_id = arena_str(&op->arena, csim_id(op->sender));
    leave->leavers[0].instance_id = csim_instance(op->sender);
}

/* --- answers --- */

_Noreturn static void fail_answer(const struct csim_member *member, const struct csim_op *op,
                                  const char *what)
{
    model_fail(&member->sim->world, "%s: %s of member %u is answered with %s", member->group->name,
               what, member->index, err_name(op->u.op.err));
}

void csim_join_again(struct csim_member *member, uint64_t after_ms)
{
    if (!member->group->is_cooperative)
        csim_model_drop(member);
    member->step = CSIM_JOINING;
    csim_again(member, after_ms);
}

static void take_id(struct csim_member *member, struct str id)
{
    ASSERT(id.len <= sizeof(member->id));
    memcpy(member->id, id.data, id.len);
    member->id_len = id.len;
}

void csim_on_joined(struct csim_member *member, struct csim_op *op)
{
    const struct coord_join *join = &op->u.join;
    enum err err = op->u.op.err;
    if (err == ERR_MEMBER_ID_REQUIRED) {
        take_id(member, join->given_member_id);
        csim_again(member, 1);
    } else if (err == ERR_REBALANCE_IN_PROGRESS) {
        csim_again(member, 1 + rng_below(&member->sim->rng, 50));
    } else if (err == ERR_OK) {
        take_id(member, join->given_member_id);
        member->epoch = join->generation;
        member->joined_ghosts = op->ghosts;
        member->is_leader = str_eq(join->leader, join->given_member_id);
        member->lead_count = 0;
        if (member->is_leader && !join->skip_assignment)
            lead(member, join);
        member->step = CSIM_SYNCING;
        csim_again(member, rng_below(&member->sim->rng, 10));
    } else if (!csim_is_common_error(member, err)) {
        fail_answer(member, op, "a join");
    }
}

void csim_on_synced(struct csim_member *member, struct csim_op *op)
{
    enum err err = op->u.op.err;
    if (err == ERR_REBALANCE_IN_PROGRESS) {
        csim_join_again(member, 1 + rng_below(&member->sim->rng, 20));
        return;
    }
    if (err != ERR_OK) {
        if (!csim_is_common_error(member, err))
            fail_answer(member, op, "a sync");
        return;
    }
    bool gives_back = false;
    if (!csim_read_assignment(member->sim, op->u.sync.assignment, &member->wanted))
        model_fail(&member->sim->world, "an assignment that no leader made");
    for (size_t i = 0; i < member->owned.count; i++)
        gives_back |= !csim_parts_find(&member->wanted, member->owned.items[i].topic,
                                       member->owned.items[i].partition);
    csim_model_take(member, &member->wanted);
    member->is_misled &= member->ghosts != member->joined_ghosts; /* what ghosts said is over */
    member->step = gives_back ? CSIM_JOINING : CSIM_IN;
    csim_again(member, gives_back ? 1 : rng_below(&member->sim->rng, 1000));
}

void csim_on_beat(struct csim_member *member, struct csim_op *op)
{
    enum err err = op->u.op.err;
    if (err == ERR_OK)
        csim_again(member, 1 + rng_below(&member->sim->rng, (uint64_t)member->interval_ms));
    else if (err == ERR_REBALANCE_IN_PROGRESS)
        csim_join_again(member, 1 + rng_below(&member->sim->rng, 50));
    else if (!csim_is_common_error(member, err))
        fail_answer(member, op, "a heartbeat");
}
