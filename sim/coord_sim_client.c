/* A member's day in the simulation of a coordinator: it joins, beats, asks for offsets and commits
 * them, goes in every way there is, and comes back. Requests on their way: some come twice, some
 * late, some answers never. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "sim/coord_sim.h"
#include "sim/model.h"

#define COMMIT_VERSION 9 /* from here on clients know the errors of consumer groups */
#define COMMIT_MAX     3 /* partitions */
#define ANSWER_MS      5000
#define JOIN_MS        12000
#define GHOST_MS       20000
#define FREEZE_MS      6000 /* past every session */

enum { TRACE_ARRIVAL = 200, TRACE_ANSWER };

bool csim_chance(struct csim *sim, uint32_t in_a_thousand)
{
    return !sim->is_healed && in_a_thousand > 0 && rng_chance(&sim->rng, in_a_thousand, 1000);
}

/* --- partitions --- */

void csim_parts_clear(struct csim_parts *parts)
{
    parts->count = 0;
}

void csim_parts_add(struct csim_parts *parts, uint32_t topic, int32_t partition)
{
    if (parts->count == parts->cap) {
        parts->cap = parts->cap ? parts->cap * 2 : 4;
        parts->items = realloc(parts->items, parts->cap * sizeof(*parts->items));
        ASSERT(parts->items);
    }
    parts->items[parts->count++] = (struct csim_part){topic, partition, CSIM_NO_POSITION};
}

struct csim_part *csim_parts_find(const struct csim_parts *parts, uint32_t topic, int32_t partition)
{
    size_t low = 0;
    size_t high = parts->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct csim_part *part = &parts->items[middle];
        if (part->topic == topic && part->partition == partition)
            return part;
        bool is_before =
            part->topic < topic || (part->topic == topic && part->partition < partition);
        if (is_before)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- requests --- */

static void on_arrival(struct world_event *event);
static void on_answer(struct world_event *event);

struct csim_op *csim_op_new(struct csim_group *group, enum csim_kind kind,
                            struct csim_member *sender)
{
    struct csim *sim = group->sim;
    struct list *node = list_pop_front(&sim->free_ops);
    struct csim_op *op = node ? LIST_ENTRY(node, struct csim_op, link) : calloc(1, sizeof(*op));
    ASSERT(op);
    struct arena arena = op->arena;
    if (!node)
        arena_init(&arena, ARENA_NO_LIMIT);
    *op = (struct csim_op){
        .sim = sim, .kind = kind, .group = group, .sender = sender, .listener = sender};
    op->arena = arena;
    op->event.fn = on_arrival;
    op->u.op.arena = &op->arena;
    op->u.op.client_id = STR("client");
    op->u.op.client_host = STR("/1.2.3.4");
    list_init(&op->u.op.link);
    list_push_back(&sim->ops, &op->link);
    return op;
}

static void op_free(struct csim_op *op)
{
    list_remove(&op->link);
    arena_reset(&op->arena);
    list_push_back(&op->sim->free_ops, &op->link);
}

static uint64_t net_ns(struct csim *sim)
{
    bool is_slow = !sim->is_healed && rng_chance(&sim->rng, 1, 100);
    return 50000 + rng_below(&sim->rng, is_slow ? 500 * CSIM_MS : 2 * CSIM_MS);
}

static void deliver(struct csim_op *op)
{
    op->is_in_coord = false;
    if (!op->listener) {
        op_free(op);
        return;
    }
    op->event.fn = on_answer;
    world_schedule(&op->sim->world, &op->event, op->sim->world.now_ns + net_ns(op->sim));
}

void csim_op_answer(struct csim_op *op)
{
    op->is_broken = csim_chance(op->sim, op->sim->trouble.lost);
    deliver(op);
}

void csim_op_break(struct csim_op *op)
{
    op->is_broken = true;
    deliver(op);
}

static void on_arrival(struct world_event *event)
{
    struct csim_op *op = CONTAINER_OF(event, struct csim_op, event);
    struct csim *sim = op->sim;
    world_trace(&sim->world, TRACE_ARRIVAL, (uint64_t)op->kind,
                op->sender ? op->sender->index : UINT32_MAX);
    if (!sim->coord) {
        csim_op_break(op);
        return;
    }
    op->is_in_coord = true;
    csim_run(sim, op);
}

static void build(struct csim_op *op);

/* It is nobody's now, and may yet be done. */
static void become_ghost(struct csim_op *op)
{
    op->listener = NULL;
    op->is_ghost = true;
}

static void on_lost(struct csim_member *member, const struct csim_op *op);

void csim_send(struct csim_op *op)
{
    struct csim *sim = op->sim;
    struct csim_member *member = op->sender;
    uint64_t now_ns = sim->world.now_ns, delay_ns = net_ns(sim);
    bool is_join = op->kind == CSIM_JOIN;
    member->waits = op;
    csim_again(member, is_join ? JOIN_MS : ANSWER_MS);
    if (csim_chance(sim, sim->trouble.twice)) {
        struct csim_op *ghost = csim_op_new(op->group, op->kind, member);
        if (op->kind == CSIM_CONSUMER_HEARTBEAT)
            ghost->u.consumer.member_epoch = op->u.consumer.member_epoch;
        build(ghost);
        become_ghost(ghost);
        world_schedule(&sim->world, &ghost->event,
                       now_ns + rng_below(&sim->rng, GHOST_MS) * CSIM_MS);
    }
    if (csim_chance(sim, sim->trouble.late)) {
        delay_ns += rng_below(&sim->rng, GHOST_MS) * CSIM_MS;
        become_ghost(op);
        member->waits = NULL;
        on_lost(member, op);
    }
    world_schedule(&sim->world, &op->event, now_ns + delay_ns);
}

/* --- what it says of offsets --- */

struct str csim_id(const struct csim_member *member)
{
    return (struct str){member->id, member->id_len};
}

struct str csim_instance(const struct csim_member *member)
{
    return member->is_static ? str_of(member->instance_id) : STR_NULL;
}

/* The parts as a request has them. */
static struct coord_offset_topic *list_offsets(struct csim_op *op, const struct csim_parts *parts,
                                               size_t *count)
{
    const struct csim *sim = op->sim;
    struct coord_offset_topic *topics = arena_array(&op->arena, CSIM_TOPICS, sizeof(*topics));
    ASSERT(topics);
    *count = 0;
    for (size_t i = 0; i < parts->count;) {
        struct coord_offset_topic *topic = &topics[(*count)++];
        uint32_t number = parts->items[i].topic;
        topic->name = sim->topics[number].name;
        topic->id = sim->topics[number].id;
        topic->partitions = arena_array(&op->arena, parts->count - i, sizeof(*topic->partitions));
        ASSERT(topic->partitions);
        for (; i < parts->count && parts->items[i].topic == number; i++)
            topic->partitions[topic->partition_count++] =
                (struct coord_offset){.partition = parts->items[i].partition,
                                      .offset = parts->items[i].position,
                                      .leader_epoch = -1,
                                      .metadata = STR("")};
    }
    return topics;
}

static void build_commit(struct csim_op *op)
{
    struct coord_offset_commit *commit = &op->u.commit;
    const struct csim_member *member = op->sender;
    commit->group_id = str_of(op->group->name);
    commit->generation = member->epoch;
    commit->member_id = arena_str(&op->arena, csim_id(member));
    commit->instance_id = csim_instance(member);
    commit->retention_ms = -1;
    commit->api_version = COMMIT_VERSION;
    commit->topics = list_offsets(op, &member->commit, &commit->topic_count);
    op->is_seek = member->is_seek;
}

static void build_fetch(struct csim_op *op)
{
    struct coord_offset_fetch *fetch = &op->u.fetch;
    const struct csim_member *member = op->sender;
    fetch->group_id = str_of(op->group->name);
    fetch->member_id = STR_NULL;
    fetch->member_epoch = -1;
    if (member->is_consumer) {
        fetch->member_id = arena_str(&op->arena, csim_id(member));
        fetch->member_epoch = member->epoch;
    }
    fetch->require_stable = true;
    fetch->topics = list_offsets(op, &member->owned, &fetch->topic_count);
}

static void build(struct csim_op *op)
{
    switch (op->kind) {
    case CSIM_JOIN:
        csim_build_join(op);
        break;
    case CSIM_SYNC:
        csim_build_sync(op);
        break;
    case CSIM_HEARTBEAT:
        csim_build_heartbeat(op);
        break;
    case CSIM_LEAVE:
        csim_build_leave(op);
        break;
    case CSIM_CONSUMER_HEARTBEAT:
        csim_build_consumer(op, op->u.consumer.member_epoch);
        break;
    case CSIM_COMMIT:
        build_commit(op);
        break;
    case CSIM_FETCH:
        build_fetch(op);
        break;
    case CSIM_DELETE:
        op->u.delete.group_id = str_of(op->group->name);
        break;
    }
}

static void say(struct csim_member *member, enum csim_kind kind)
{
    struct csim_op *op = csim_op_new(member->group, kind, member);
    build(op);
    csim_send(op);
}

static void say_consumer(struct csim_member *member, int32_t epoch)
{
    struct csim_op *op = csim_op_new(member->group, CSIM_CONSUMER_HEARTBEAT, member);
    op->u.consumer.member_epoch = epoch;
    build(op);
    if (epoch >= 0)
        member->must_tell = member->must_tell_all = false;
    csim_send(op);
}

/* --- answers --- */

void csim_again(struct csim_member *member, uint64_t after_ms)
{
    struct csim *sim = member->sim;
    world_schedule(&sim->world, &member->timer, sim->world.now_ns + after_ms * CSIM_MS + 1);
}

static uint64_t think_ms(struct csim_member *member)
{
    return 1 + rng_below(&member->sim->rng, (uint64_t)member->interval_ms);
}

void csim_rejoin(struct csim_member *member, bool with_id, uint64_t after_ms)
{
    csim_model_drop(member);
    csim_parts_clear(&member->wanted);
    member->must_settle = member->is_misled = false;
    member->step = CSIM_JOINING;
    member->epoch = 0;
    if (!with_id)
        member->id_len = 0;
    csim_again(member, after_ms);
}

static void begin_life(struct csim_member *member)
{
    member->life++;
    member->id_len = 0;
    member->step = CSIM_OUT;
    member->epoch = 0;
    member->must_settle = member->is_misled = false;
    csim_parts_clear(&member->wanted);
}

void csim_member_restart(struct csim_member *member)
{
    struct csim_op *op = member->waits;
    csim_model_drop(member);
    member->waits = NULL;
    if (op)
        become_ghost(op);
    if (op && op->is_in_coord)
        csim_forget(member->sim, op); /* its connection is closed */
    begin_life(member);
    csim_again(member, rng_below(&member->sim->rng, member->sim->is_healed ? 100 : 8000));
}

bool csim_is_common_error(struct csim_member *member, enum err err)
{
    switch (err) {
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_GROUP_ID_NOT_FOUND:
        csim_rejoin(member, false, 1 + rng_below(&member->sim->rng, 100));
        return true;
    case ERR_ILLEGAL_GENERATION:
    case ERR_FENCED_MEMBER_EPOCH:
        csim_rejoin(member, true, 1 + rng_below(&member->sim->rng, 100));
        return true;
    case ERR_FENCED_INSTANCE_ID:
        csim_rejoin(member, false, 1 + rng_below(&member->sim->rng, 1000));
        return true;
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_NOT_COORDINATOR:
        member->must_tell_all = true;
        csim_again(member, 100 + rng_below(&member->sim->rng, 100));
        return true;
    default:
        return false;
    }
}

_Noreturn static void fail_answer(const struct csim_member *member, const struct csim_op *op,
                                  const char *what)
{
    model_fail(&member->sim->world, "%s: %s of member %u (%.*s, epoch %d) is answered with %s",
               member->group->name, what, member->index, STR_ARG(csim_id(member)), member->epoch,
               err_name(op->u.op.err));
}

static void on_left(struct csim_member *member, const struct csim_op *op)
{
    enum err err = op->u.op.err;
    if (op->is_broken && member->is_leaving) {
        csim_again(member, 100);
        return;
    }
    bool is_gone = op->is_broken || err == ERR_OK || err == ERR_UNKNOWN_MEMBER_ID ||
                   err == ERR_GROUP_ID_NOT_FOUND || err == ERR_FENCED_INSTANCE_ID;
    if (!is_gone)
        fail_answer(member, op, "the leaving");
    begin_life(member);
    if (!member->is_leaving)
        csim_again(member, 1 + rng_below(&member->sim->rng, 3000));
}

/* Whether it went back nobody knows: it asks where it is. */
static void forget_positions(struct csim_member *member)
{
    for (size_t i = 0; i < member->commit.count; i++) {
        const struct csim_part *said = &member->commit.items[i];
        struct csim_part *part = csim_parts_find(&member->owned, said->topic, said->partition);
        if (part)
            part->position = CSIM_NO_POSITION;
    }
}

static void on_committed(struct csim_member *member, const struct csim_op *op)
{
    enum err err = op->u.op.err;
    if (err != ERR_OK && op->is_seek)
        forget_positions(member);
    bool is_behind = err == ERR_STALE_MEMBER_EPOCH || err == ERR_REBALANCE_IN_PROGRESS;
    if (err == ERR_OK || is_behind)
        csim_again(member, think_ms(member));
    else if (!csim_is_common_error(member, err))
        fail_answer(member, op, "a commit");
}

static void on_fetched(struct csim_member *member, const struct csim_op *op)
{
    const struct coord_offset_fetch *fetch = &op->u.fetch;
    enum err err = op->u.op.err;
    if (err != ERR_OK && err != ERR_STALE_MEMBER_EPOCH) {
        if (!csim_is_common_error(member, err))
            fail_answer(member, op, "a fetch of offsets");
        return;
    }
    for (size_t t = 0; err == ERR_OK && t < fetch->topic_count; t++) {
        uint32_t number = (uint32_t)(fetch->topics[t].name.data[1] - '0');
        for (size_t i = 0; i < fetch->topics[t].partition_count; i++) {
            const struct coord_offset *offset = &fetch->topics[t].partitions[i];
            struct csim_part *part = csim_parts_find(&member->owned, number, offset->partition);
            if (part)
                part->position = offset->offset < 0 ? 0 : offset->offset;
        }
    }
    csim_again(member, think_ms(member));
}

static bool is_leave(const struct csim_op *op)
{
    return op->kind == CSIM_LEAVE ||
           (op->kind == CSIM_CONSUMER_HEARTBEAT && op->u.consumer.member_epoch < 0);
}

static void on_lost(struct csim_member *member, const struct csim_op *op)
{
    member->must_tell_all = true;
    if (op->kind == CSIM_COMMIT && op->is_seek)
        forget_positions(member);
    if (is_leave(op) && !member->is_leaving)
        begin_life(member);
    csim_again(member, 20 + rng_below(&member->sim->rng, 300));
}

static void take_answer(struct csim_member *member, struct csim_op *op)
{
    if (is_leave(op)) {
        on_left(member, op);
        return;
    }
    if (op->is_broken) {
        on_lost(member, op);
        return;
    }
    switch (op->kind) {
    case CSIM_JOIN:
        csim_on_joined(member, op);
        break;
    case CSIM_SYNC:
        csim_on_synced(member, op);
        break;
    case CSIM_HEARTBEAT:
        csim_on_beat(member, op);
        break;
    case CSIM_CONSUMER_HEARTBEAT:
        csim_on_consumer(member, op);
        break;
    case CSIM_COMMIT:
        on_committed(member, op);
        break;
    case CSIM_FETCH:
        on_fetched(member, op);
        break;
    case CSIM_LEAVE:
    case CSIM_DELETE:
        UNREACHABLE();
    }
}

static void on_answer(struct world_event *event)
{
    struct csim_op *op = CONTAINER_OF(event, struct csim_op, event);
    struct csim_member *member = op->listener;
    struct csim *sim = op->sim;
    if (!member) { /* it gave up while the answer was on its way */
        op_free(op);
        return;
    }
    if (member->frozen_until_ns > sim->world.now_ns) {
        world_schedule(&sim->world, event, member->frozen_until_ns);
        return;
    }
    ASSERT(member->waits == op);
    world_trace(&sim->world, TRACE_ANSWER, member->index, (uint64_t)op->u.op.err);
    member->waits = NULL;
    world_unschedule(&sim->world, &member->timer);
    sim->answers++;
    take_answer(member, op);
    op_free(op);
}

/* --- its day --- */

static bool knows_positions(const struct csim_member *member)
{
    for (size_t i = 0; i < member->owned.count; i++)
        if (member->owned.items[i].position == CSIM_NO_POSITION)
            return false;
    return true;
}

static void commit_some(struct csim_member *member)
{
    struct csim *sim = member->sim;
    csim_parts_clear(&member->commit);
    member->is_seek = csim_chance(sim, sim->trouble.seek);
    size_t first = rng_below(&sim->rng, member->owned.count);
    for (size_t i = first; i < member->owned.count && i < first + COMMIT_MAX; i++) {
        struct csim_part *part = &member->owned.items[i];
        part->position = member->is_seek ? part->position / 2 : part->position + 1;
        csim_parts_add(&member->commit, part->topic, part->partition);
        member->commit.items[member->commit.count - 1].position = part->position;
    }
    say(member, CSIM_COMMIT);
}

/* Asks to be let go. A static member of the consumer protocol mostly says that it will be back, one
 * of the classic protocol mostly nothing. */
static void leave(struct csim_member *member)
{
    struct csim *sim = member->sim;
    bool comes_back = member->is_static && !member->is_leaving && rng_chance(&sim->rng, 2, 3);
    csim_model_drop(member);
    if (member->is_consumer)
        say_consumer(member, comes_back ? -2 : -1);
    else if (comes_back)
        csim_member_restart(member);
    else
        say(member, CSIM_LEAVE);
}

static void change_subscription(struct csim_member *member)
{
    struct csim *sim = member->sim;
    uint32_t topics = member->group->topics & (uint32_t)rng_below(&sim->rng, 1u << CSIM_TOPICS);
    if (topics != 0)
        member->topics = topics;
    member->uses_regex = member->is_consumer && rng_chance(&sim->rng, 1, 3);
    member->must_tell_all = true;
    if (member->is_consumer)
        csim_again(member, 1);
    else
        csim_join_again(member, 1);
}

static bool has_trouble(struct csim_member *member)
{
    struct csim *sim = member->sim;
    const struct csim_group *group = member->group;
    if (csim_chance(sim, sim->trouble.die)) {
        csim_member_restart(member);
    } else if (csim_chance(sim, sim->trouble.freeze)) {
        uint64_t ms = rng_below(&sim->rng, 2 * FREEZE_MS);
        member->frozen_until_ns = sim->world.now_ns + ms * CSIM_MS;
        csim_again(member, ms);
    } else if (csim_chance(sim, sim->trouble.leave)) {
        leave(member);
    } else if (csim_chance(sim, sim->trouble.kind) && group->may_classic && group->may_consumer) {
        csim_member_restart(member);
        member->is_consumer = !member->is_consumer;
        member->uses_regex = false;
    } else if (!group->is_alike && csim_chance(sim, sim->trouble.change)) {
        change_subscription(member);
    } else {
        return false;
    }
    return true;
}

static void beat(struct csim_member *member)
{
    member->beat_ns = member->sim->world.now_ns;
    if (member->is_consumer)
        say_consumer(member, member->epoch);
    else
        say(member, CSIM_HEARTBEAT);
}

static void live(struct csim_member *member)
{
    struct csim *sim = member->sim;
    if (has_trouble(member))
        return;
    if (!member->is_consumer && member->is_leader && member->led_version != sim->topics_version) {
        csim_join_again(member, rng_below(&sim->rng, 1000));
        return;
    }
    if (member->must_settle) {
        csim_model_take(member, &member->wanted);
        member->must_settle = false;
        member->must_tell = true;
        member->is_misled &= !member->is_told_all; /* what ghosts said is over */
    }
    bool must_beat = member->must_tell || member->must_tell_all ||
                     sim->world.now_ns >= member->beat_ns + (uint64_t)member->interval_ms * CSIM_MS;
    if (!must_beat && !knows_positions(member))
        say(member, CSIM_FETCH);
    else if (!must_beat && member->owned.count > 0 && rng_chance(&sim->rng, 1, 3))
        commit_some(member);
    else
        beat(member);
}

static void join(struct csim_member *member)
{
    if (!member->is_consumer) {
        say(member, CSIM_JOIN);
        return;
    }
    if (member->id_len == 0)
        member->id_len = (size_t)snprintf(member->id, sizeof(member->id), "m%u-%llu", member->index,
                                          (unsigned long long)rng_u64(&member->sim->rng));
    say_consumer(member, 0);
}

static void on_timer(struct world_event *event)
{
    struct csim_member *member = CONTAINER_OF(event, struct csim_member, timer);
    struct csim *sim = member->sim;
    if (member->frozen_until_ns > sim->world.now_ns) {
        world_schedule(&sim->world, event, member->frozen_until_ns);
        return;
    }
    if (member->waits) {
        struct csim_op *op = member->waits;
        member->waits = NULL;
        become_ghost(op);
        on_lost(member, op);
        if (op->is_in_coord && rng_chance(&sim->rng, 1, 2))
            csim_forget(sim, op);
        return;
    }
    if (member->is_leaving) {
        if (member->id_len > 0)
            leave(member);
        return;
    }
    switch (member->step) {
    case CSIM_OUT:
    case CSIM_JOINING:
        member->step = CSIM_JOINING;
        join(member);
        break;
    case CSIM_SYNCING:
        say(member, CSIM_SYNC);
        break;
    case CSIM_IN:
        live(member);
        break;
    }
}

void csim_member_init(struct csim_member *member, struct csim_group *group, uint32_t index)
{
    struct csim *sim = group->sim;
    static const struct str assignors[] = {{NULL, 0}, {"uniform", 7}, {"range", 5}};
    *member = (struct csim_member){.sim = sim, .group = group, .index = index};
    member->timer.fn = on_timer;
    member->is_consumer =
        group->may_consumer && (!group->may_classic || rng_chance(&sim->rng, 1, 2));
    member->is_static = rng_chance(&sim->rng, group->static_share, 10);
    snprintf(member->instance_id, sizeof(member->instance_id), "i%u", index);
    member->topics = group->topics;
    if (!group->is_alike) {
        uint32_t topics = group->topics & (uint32_t)rng_below(&sim->rng, 1u << CSIM_TOPICS);
        member->topics = topics ? topics : group->topics;
        member->uses_regex = member->is_consumer && rng_chance(&sim->rng, 1, 4);
    }
    member->patience = (enum coord_patience)rng_below(&sim->rng, 3);
    member->assignor = group->is_alike ? STR_NULL : assignors[rng_below(&sim->rng, 3)];
    member->interval_ms = 1000;
    arena_init(&member->lead_arena, ARENA_NO_LIMIT);
    bool is_late = member->is_consumer && group->is_upgraded;
    csim_again(member, (is_late ? 4000 : 0) + rng_below(&sim->rng, 2000));
}

void csim_member_deinit(struct csim_member *member)
{
    free(member->owned.items);
    free(member->wanted.items);
    free(member->commit.items);
    arena_deinit(&member->lead_arena);
}
