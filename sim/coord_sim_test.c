/* Goal: a group coordinator keeps its promises to thousands of members of both protocols, whatever
 * is lost, comes twice or late, whoever goes, and wherever it crashes.
 * Method: the coordinator alone, with a log in memory and clients that behave as Kafka's do; what
 * they are told and what the coordinator believes is compared all the time (coord_sim_model.c).
 * First trouble of the kinds that the seed draws; then none, and every group must come to rest with
 * all partitions dealt out; then all leave, the groups are deleted, and nothing is left of them.
 * `coord_sim_test SEED` runs one seed aloud, `coord_sim_test FROM TO` a range of them. */
#include "sim/seed_test.h"

#include "base/assert.h"
#include "coord/assignor.h"
#include "coord/topic_hash.h"
#include "sim/coord_sim.h"
#include "sim/model.h"

#define SEEDS      20
#define SEEDS_SAME 3
#define HEAL_S     120
#define MEDDLE_MS  200

/* They failed once. */
static const uint64_t failed_seeds[] = {3000252, 3010138, 3013876, 3004897};

/* --- topics --- */

static const struct csim *sim_of(const void *image)
{
    return image;
}

static bool by_name(const void *image, struct str name, struct coord_topic *topic)
{
    const struct csim *sim = sim_of(image);
    for (uint32_t t = 0; t < sim->topic_count; t++) {
        if (!str_eq(sim->topics[t].name, name))
            continue;
        *topic = sim->topics[t];
        return true;
    }
    return false;
}

static bool by_id(const void *image, struct uuid id, struct coord_topic *topic)
{
    const struct csim *sim = sim_of(image);
    for (uint32_t t = 0; t < sim->topic_count; t++) {
        if (!uuid_eq(sim->topics[t].id, id))
            continue;
        *topic = sim->topics[t];
        return true;
    }
    return false;
}

static uint64_t topic_hash(const void *image, const struct coord_topic *topic)
{
    (void)image;
    return ((uint64_t)topic->id.bytes[0] << 32) + (uint64_t)topic->partition_count;
}

static void each_name(const void *image, bool (*fn)(void *arg, struct str name), void *arg)
{
    const struct csim *sim = sim_of(image);
    for (uint32_t t = 0; t < sim->topic_count; t++)
        if (!fn(arg, sim->topics[t].name))
            return;
}

static size_t topic_count(const void *image)
{
    return sim_of(image)->topic_count;
}

static int64_t topics_version(const void *image)
{
    return sim_of(image)->topics_version;
}

static bool group_config(const void *image, struct str group_id, struct str key, int32_t *value)
{
    (void)image, (void)group_id, (void)key, (void)value;
    return false;
}

static void init_topics(struct csim *sim)
{
    sim->image = (struct coord_topics){sim,       by_name,     by_id,          topic_hash,
                                       each_name, topic_count, topics_version, group_config};
    sim->topic_count = 1 + (uint32_t)rng_below(&sim->rng, CSIM_TOPICS);
    sim->topics_version = 1;
    for (uint32_t t = 0; t < CSIM_TOPICS; t++) {
        struct coord_topic *topic = &sim->topics[t];
        snprintf(sim->topic_names[t], sizeof(sim->topic_names[t]), "t%u", t);
        topic->name = str_of(sim->topic_names[t]);
        topic->id.bytes[0] = (uint8_t)(t + 1);
        topic->partition_count = 1 + (int32_t)rng_below(&sim->rng, (uint64_t)sim->partitions_max);
    }
}

static void change_topics(struct csim *sim)
{
    struct coord_topic *topic = &sim->topics[rng_below(&sim->rng, sim->topic_count)];
    if (sim->topic_count < CSIM_TOPICS && rng_chance(&sim->rng, 1, 2))
        sim->topic_count++;
    else if (topic->partition_count < sim->partitions_max)
        topic->partition_count++;
    sim->topics_version++;
    csim_topics_changed(sim);
}

/* --- trouble from outside --- */

static void meddle_with_a_request(struct csim *sim)
{
    size_t skip = rng_below(&sim->rng, 1 + sim->member_count);
    LIST_FOREACH (node, &sim->ops) {
        struct csim_op *op = LIST_ENTRY(node, struct csim_op, link);
        if (skip-- > 0 || !op->is_in_coord)
            continue;
        if (rng_chance(&sim->rng, 1, 2))
            csim_yield(sim, op);
        else
            csim_forget(sim, op);
        return;
    }
}

static void ask_to_delete(struct csim *sim)
{
    struct csim_group *group = &sim->groups[rng_below(&sim->rng, sim->group_count)];
    struct csim_op *op = csim_op_new(group, CSIM_DELETE, NULL);
    op->u.delete.group_id = str_of(group->name);
    world_schedule(&sim->world, &op->event, sim->world.now_ns);
}

static void on_meddle(struct world_event *event)
{
    struct csim *sim = CONTAINER_OF(event, struct csim, meddle);
    uint64_t dice = rng_below(&sim->rng, 100);
    if (dice < 30)
        meddle_with_a_request(sim);
    else if (dice < 35 && !sim->is_healed)
        ask_to_delete(sim);
    else if (dice < 40 && !sim->is_healed)
        change_topics(sim);
    else if (dice < 45 && sim->member_count < 100)
        csim_check_replay(sim);
    csim_check_owners(sim);
    world_schedule(&sim->world, event,
                   sim->world.now_ns + (1 + rng_below(&sim->rng, 2 * MEDDLE_MS)) * CSIM_MS);
}

static void on_crash(struct world_event *event)
{
    struct csim *sim = CONTAINER_OF(event, struct csim, crash);
    if (sim->coord && rng_chance(&sim->rng, 1, 3))
        csim_check_replay(sim);
    if (sim->coord)
        csim_crash(sim);
    uint64_t ms = 1 + rng_below(&sim->rng, 2 * sim->trouble.crash_mean_ms);
    world_schedule(&sim->world, event, sim->world.now_ns + ms * CSIM_MS);
}

/* --- what the seed draws --- */

static uint32_t some(struct csim *sim, uint64_t max)
{
    return rng_chance(&sim->rng, 1, 2) ? 0 : 1 + (uint32_t)rng_below(&sim->rng, max);
}

static void draw_trouble(struct csim *sim)
{
    sim->trouble = (struct csim_trouble){
        .twice = some(sim, 50),
        .late = some(sim, 30),
        .lost = some(sim, 30),
        .freeze = some(sim, 10),
        .die = some(sim, 10),
        .leave = some(sim, 20),
        .change = some(sim, 20),
        .kind = some(sim, 20),
        .seek = some(sim, 50),
        .append_fails = rng_chance(&sim->rng, 1, 4) ? some(sim, 5) : 0,
        .compact = some(sim, 1000),
    };
    if (!rng_chance(&sim->rng, 1, 6))
        sim->trouble.crash_mean_ms = 100 + rng_below(&sim->rng, 8000);
}

static void draw_config(struct csim *sim)
{
    static const int32_t delays[] = {0, 0, 100, 3000};
    bool is_set = rng_chance(&sim->rng, 1, 2);
    sim->config = (struct coord_config){
        .session_timeout_min_ms = 1000,
        .session_timeout_max_ms = 60000,
        .initial_rebalance_delay_ms = delays[rng_below(&sim->rng, ARRAY_LEN(delays))],
        .group_size_max = INT32_MAX,
        .offset_metadata_max = 4096,
        .offset_retention_ms = 7 * 86400000ll,
        .offset_check_interval_ms = 1000 + (int64_t)rng_below(&sim->rng, 10000),
        .consumer =
            {
                .session_timeout_ms = 5000,
                .session_timeout_min_ms = 1000,
                .session_timeout_max_ms = 60000,
                .heartbeat_interval_ms = 1000,
                .heartbeat_interval_min_ms = 100,
                .heartbeat_interval_max_ms = 5000,
                .assignment_interval_ms = is_set ? (int32_t)rng_below(&sim->rng, 3000) : 1000,
                .assignment_interval_max_ms = 15000,
                .assignment_interval_is_set = is_set,
                .group_size_max = INT32_MAX,
                .allows_upgrade = true,
                .allows_downgrade = true,
                .assignor_count = 2,
                .assignors = {ASSIGNOR_UNIFORM, ASSIGNOR_RANGE},
            },
    };
    if (rng_chance(&sim->rng, 1, 2)) {
        sim->config.consumer.assignors[0] = ASSIGNOR_RANGE;
        sim->config.consumer.assignors[1] = ASSIGNOR_UNIFORM;
    }
}

/* Some have a handful of members, some hundreds, and a few thousands: those take most of the time.
 */
static uint32_t draw_member_count(struct csim *sim)
{
    uint64_t dice = rng_below(&sim->rng, 100);
    if (dice < 60)
        return 1 + (uint32_t)rng_below(&sim->rng, 30);
    if (dice < 95)
        return 30 + (uint32_t)rng_below(&sim->rng, 300);
    return 1000 + (uint32_t)rng_below(&sim->rng, 3000);
}

static void init_group(struct csim *sim, struct csim_group *group, uint32_t first, uint32_t count)
{
    *group = (struct csim_group){.sim = sim, .first = first, .count = count};
    group->index = (uint32_t)(group - sim->groups);
    snprintf(group->name, sizeof(group->name), "g%u", group->index % 10);
    uint64_t kind = rng_below(&sim->rng, 3);
    group->may_classic = kind != 0;
    group->may_consumer = kind != 1;
    group->is_cooperative = rng_chance(&sim->rng, 1, 2);
    group->is_upgraded = rng_chance(&sim->rng, 1, 2);
    group->is_alike = rng_chance(&sim->rng, 1, 2);
    group->static_share = rng_chance(&sim->rng, 1, 2) ? 0 : (uint32_t)rng_below(&sim->rng, 11);
    group->topics = 1 + (uint32_t)rng_below(&sim->rng, (1u << CSIM_TOPICS) - 1);
    for (uint32_t t = 0; t < CSIM_TOPICS; t++) {
        group->offsets[t] = calloc((size_t)sim->partitions_max, sizeof(*group->offsets[t]));
        ASSERT(group->offsets[t]);
        for (int32_t p = 0; p < sim->partitions_max; p++)
            group->offsets[t][p].now = group->offsets[t][p].durable = -1;
    }
}

/* A record of a classic group must fit into a batch with all its members. */
static size_t draw_batch_bytes(struct csim *sim)
{
    size_t enough = 4000 + (size_t)sim->member_count * 500 + (size_t)sim->partitions_max * 40;
    return enough + rng_below(&sim->rng, enough);
}

static void init(struct csim *sim, uint64_t seed, bool verbose)
{
    world_init(&sim->world, seed);
    sim->world.verbose = verbose;
    rng_init(&sim->rng, rng_u64(&sim->world.rng));
    list_init(&sim->ops);
    list_init(&sim->free_ops);
    csim_log_init(sim);
    draw_trouble(sim);
    draw_config(sim);
    sim->member_count = draw_member_count(sim);
    sim->partitions_max = 4 + (int32_t)rng_below(&sim->rng, 1 + sim->member_count * 3 / 2);
    sim->batch_bytes_max = draw_batch_bytes(sim);
    init_topics(sim);
    sim->members = calloc(sim->member_count, sizeof(*sim->members));
    ASSERT(sim->members);
    sim->group_count =
        1 + (uint32_t)rng_below(&sim->rng, sim->member_count < 4 ? 1 : CSIM_GROUPS_MAX);
    uint32_t first = 0;
    for (uint32_t g = 0; g < sim->group_count; g++) {
        uint32_t left = sim->member_count - first, groups = sim->group_count - g;
        uint32_t count = groups == 1 ? left : left / groups;
        init_group(sim, &sim->groups[g], first, count);
        for (uint32_t i = first; i < first + count; i++)
            csim_member_init(&sim->members[i], &sim->groups[g], i);
        first += count;
    }
    sim->meddle.fn = on_meddle;
    sim->crash.fn = on_crash;
    world_say(&sim->world, "%u members in %u groups, up to %d partitions", sim->member_count,
              sim->group_count, sim->partitions_max);
}

/* --- a seed --- */

static void trouble_phase(struct csim *sim)
{
    csim_start(sim);
    world_schedule(&sim->world, &sim->meddle, sim->world.now_ns);
    if (sim->trouble.crash_mean_ms > 0)
        world_schedule(&sim->world, &sim->crash, sim->world.now_ns + CSIM_S);
    uint64_t seconds = 5 + rng_below(&sim->rng, 25);
    world_run(&sim->world, sim->world.now_ns + seconds * CSIM_S, NULL, NULL);
}

static void say_coordinator(const struct csim *sim)
{
    struct buf text;
    if (!sim->world.verbose || !sim->coord)
        return;
    buf_init(&text, BUF_NO_LIMIT);
    csim_describe(sim->coord, sim->coord, &text);
    fprintf(stderr, "%.*s", (int)text.len, (const char *)text.data);
    buf_deinit(&text);
    for (uint32_t i = 0; i < sim->member_count; i++) {
        const struct csim_member *member = &sim->members[i];
        fprintf(stderr, "%s: member %u %.*s epoch %d step %d:", member->group->name, i,
                STR_ARG(csim_id(member)), member->epoch, member->step);
        for (size_t p = 0; p < member->owned.count; p++)
            fprintf(stderr, " t%u-%d", member->owned.items[p].topic,
                    member->owned.items[p].partition);
        fprintf(stderr, "\n");
    }
}

static bool is_up(struct csim *sim)
{
    return sim->coord != NULL;
}

/* Whoever hangs goes on; one of each group begins anew, so that it has a generation that no ghost
 * had a part in; the others say all of themselves again, as after a new connection. */
static void heal(struct csim *sim)
{
    sim->is_healed = true;
    world_say(&sim->world, "healed after %llu crashes", (unsigned long long)sim->crashes);
    world_unschedule(&sim->world, &sim->crash);
    /* Ghosts that are on their way come first. */
    world_run(&sim->world, sim->world.now_ns + 20 * CSIM_S, NULL, NULL);
    for (uint32_t i = 0; i < sim->member_count; i++)
        sim->members[i].must_tell_all = true;
    for (uint32_t g = 0; g < sim->group_count; g++)
        if (sim->groups[g].count > 0)
            csim_member_restart(&sim->members[sim->groups[g].first]);
    char why[256] = "";
    for (int s = 0; s < HEAL_S; s++) {
        world_run(&sim->world, sim->world.now_ns + CSIM_S, NULL, NULL);
        csim_check_owners(sim);
        if (is_up(sim) && csim_is_settled(sim, why, sizeof(why)))
            break;
    }
    csim_check_replay(sim);
    if (!csim_is_settled(sim, why, sizeof(why))) {
        say_coordinator(sim);
        fprintf(stderr, "seed %llu: no rest in %d s: %s\n", (unsigned long long)sim->world.seed,
                HEAL_S, why);
        fflush(NULL);
        _Exit(MODEL_EXIT_LIVENESS);
    }
}

/* All leave, and the groups are deleted. */
static void end(struct csim *sim)
{
    for (uint32_t i = 0; i < sim->member_count; i++) {
        sim->members[i].is_leaving = true;
        if (!sim->members[i].waits)
            csim_again(&sim->members[i], rng_below(&sim->rng, 500));
    }
    world_run(&sim->world, sim->world.now_ns + 30 * CSIM_S, NULL, NULL);
    for (uint32_t g = 0; g < sim->group_count; g++) {
        struct csim_op *op = csim_op_new(&sim->groups[g], CSIM_DELETE, NULL);
        op->u.delete.group_id = str_of(sim->groups[g].name);
        world_schedule(&sim->world, &op->event, sim->world.now_ns);
    }
    world_unschedule(&sim->world, &sim->meddle);
    world_run(&sim->world, sim->world.now_ns + CSIM_S, NULL, NULL);
    csim_check_replay(sim);
    csim_check_empty(sim);
}

static void deinit(struct csim *sim)
{
    csim_log_deinit(sim);
    for (uint32_t i = 0; i < sim->member_count; i++)
        csim_member_deinit(&sim->members[i]);
    free(sim->members);
    for (uint32_t g = 0; g < sim->group_count; g++)
        for (uint32_t t = 0; t < CSIM_TOPICS; t++)
            free(sim->groups[g].offsets[t]);
    struct list *lists[] = {&sim->ops, &sim->free_ops};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (struct list *node; (node = list_pop_front(lists[i])) != NULL;) {
            struct csim_op *op = LIST_ENTRY(node, struct csim_op, link);
            arena_deinit(&op->arena);
            free(op);
        }
    }
    world_deinit(&sim->world);
}

static void run_seed(uint64_t seed, bool verbose, uint64_t *trace)
{
    struct csim *sim = calloc(1, sizeof(*sim));
    ASSERT(sim);
    init(sim, seed, verbose);
    trouble_phase(sim);
    heal(sim);
    end(sim);
    world_say(&sim->world,
              "%u members, %llu answers, %llu commits, %llu offsets asked for, %llu crashes, %llu "
              "times read again",
              sim->member_count, (unsigned long long)sim->answers, (unsigned long long)sim->commits,
              (unsigned long long)sim->fetches, (unsigned long long)sim->crashes,
              (unsigned long long)sim->reloads);
    *trace = sim->world.trace;
    deinit(sim);
    free(sim);
}

int main(int argc, char **argv)
{
    struct seed_test test = {.run = run_seed,
                             .seeds = SEEDS,
                             .twice = SEEDS_SAME,
                             .failed = failed_seeds,
                             .failed_count = ARRAY_LEN(failed_seeds)};
    return seed_test_main(&test, argc, argv);
}
