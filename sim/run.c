/* The life of one simulated broker.
 *
 *   faults   the broker crashes and starts again at random, its disk fills up, its second one
 *            fails, its clock jumps, and all that world_faults can do; producers and readers work
 * as well as they can heal     nothing fails any more; the broker starts once more; producers make
 * one last batch for each partition. All that was made must now be acknowledged, and read from
 * offset 0 on power    the power is cut once more, and all of it must be read again
 */
#include "sim/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "sim/workload.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

#define HEAL_S  300
#define POWER_S 120

struct run {
    struct world world;
    struct rng rng; /* of the plan: apart from the world's */
    struct workload workload;
    struct world_node *broker, *clients;
    struct broker_slot slot;
    bool is_healed;
    uint64_t crash_mean_ms; /* 0: never */
    struct world_event crash, restart, space, second, jump;
};

static void after(struct run *run, struct world_event *event, uint64_t ms)
{
    world_schedule(&run->world, event, run->world.now_ns + ms * MS);
}

static uint64_t about_ms(struct run *run, uint64_t mean_ms)
{
    return 1 + rng_below(&run->rng, 2 * mean_ms);
}

static void on_restart(struct world_event *event)
{
    struct run *run = CONTAINER_OF(event, struct run, restart);
    if (!run->broker->is_up)
        world_node_start(run->broker);
}

static void on_crash(struct world_event *event)
{
    struct run *run = CONTAINER_OF(event, struct run, crash);
    if (run->broker->is_up && rng_chance(&run->rng, 1, 5))
        broker_stop(&run->slot);
    else if (run->broker->is_up)
        world_node_crash(run->broker);
    after(run, &run->crash, about_ms(run, run->crash_mean_ms));
}

static void on_broker_exit(struct world_event *event)
{
    struct run *run = CONTAINER_OF(event, struct run, slot.on_exit);
    if (run->broker->is_up)
        world_node_crash(run->broker);
}

/* Called for every crash, those inside of a call too. */
static void on_crashed(struct world_node *node, void *arg)
{
    struct run *run = CONTAINER_OF(arg, struct run, slot);
    run->slot.broker = NULL;
    world_unschedule(&run->world, &run->slot.on_exit);
    if (node->was_power_cut) {
        workload_power_cut(&run->workload);
        world_node_poke(run->clients);
    }
    after(run, &run->restart, run->is_healed ? 10 : about_ms(run, 500));
}

static void on_space(struct world_event *event)
{
    struct run *run = CONTAINER_OF(event, struct run, space);
    struct disk *disk = &run->broker->disk;
    bool is_short = disk->bytes_max == UINT64_MAX;
    disk->bytes_max = is_short ? disk_bytes(disk) + rng_below(&run->rng, 20000) : UINT64_MAX;
    world_say(&run->world, "n0: the disk %s", is_short ? "is nearly full" : "has space again");
    after(run, &run->space, about_ms(run, is_short ? 500 : 4000));
}

static void on_second(struct world_event *event)
{
    struct run *run = CONTAINER_OF(event, struct run, second);
    bool fails = !run->broker->second_disk_fails;
    run->broker->second_disk_fails = fails;
    world_say(&run->world, "n0: the second disk %s", fails ? "fails" : "works again");
    after(run, &run->second, about_ms(run, fails ? 2000 : 4000));
}

static void on_jump(struct world_event *event)
{
    struct run *run = CONTAINER_OF(event, struct run, jump);
    run->broker->wall_skew_ms = rng_range(&run->rng, -100000, 100000);
    world_say(&run->world, "n0: the clock is off by %lld ms", (long long)run->broker->wall_skew_ms);
    after(run, &run->jump, about_ms(run, 5000));
}

static void clients_start(struct world_node *node, void *arg)
{
    struct run *run = arg;
    workload_start(&run->workload, node->ios[0], run->broker->host, RUN_BROKER_PORT);
}

static bool is_done(void *arg)
{
    return workload_is_done(&((struct run *)arg)->workload);
}

static void faults_phase(struct run *run)
{
    run->world.faults = world_faults_swarm(&run->rng);
    if (!rng_chance(&run->rng, 1, 8)) {
        run->crash_mean_ms = 100 + rng_below(&run->rng, 5000);
        after(run, &run->crash, about_ms(run, run->crash_mean_ms));
    }
    if (rng_chance(&run->rng, 1, 4))
        after(run, &run->space, about_ms(run, 3000));
    if (run->slot.has_second_folder && rng_chance(&run->rng, 1, 2))
        after(run, &run->second, about_ms(run, 3000));
    if (rng_chance(&run->rng, 1, 4))
        after(run, &run->jump, about_ms(run, 1000));
    world_node_start(run->broker);
    world_run(&run->world, run->world.now_ns + (1 + rng_below(&run->rng, 20)) * S, NULL, NULL);
}

static void demand_progress(struct run *run, uint64_t seconds, const char *phase)
{
    world_run(&run->world, run->world.now_ns + seconds * S, is_done, run);
    if (workload_is_done(&run->workload))
        return;
    char text[512];
    workload_describe(&run->workload, text, sizeof(text));
    fprintf(stderr, "seed %llu: no progress in %llu s (%s): %s\n",
            (unsigned long long)run->world.seed, (unsigned long long)seconds, phase, text);
    fflush(NULL);
    _Exit(MODEL_EXIT_LIVENESS);
}

static void heal(struct run *run)
{
    world_say(&run->world, "healed");
    run->is_healed = true;
    run->world.faults = world_faults_none();
    run->broker->disk.bytes_max = UINT64_MAX;
    run->broker->second_disk_fails = false;
    world_unschedule(&run->world, &run->second);
    world_unschedule(&run->world, &run->crash);
    world_unschedule(&run->world, &run->space);
    world_unschedule(&run->world, &run->jump);
    if (run->broker->is_up)
        world_node_crash(run->broker);
    workload_stop(&run->workload);
    world_node_poke(run->clients);
    demand_progress(run, HEAL_S, "after the faults ended");
}

static void cut_power(struct run *run)
{
    run->world.faults.power_cut = 1000000;
    if (run->broker->is_up)
        world_node_crash(run->broker);
    workload_stop(&run->workload);
    world_node_poke(run->clients);
    demand_progress(run, POWER_S, "after the last power cut");
}

void run_seed(uint64_t seed, bool verbose, struct run_result *result)
{
    struct run *run = calloc(1, sizeof(*run));
    ASSERT(run);
    world_init(&run->world, seed);
    run->world.verbose = verbose;
    rng_init(&run->rng, rng_u64(&run->world.rng));
    run->crash.fn = on_crash;
    run->slot.on_exit.fn = on_broker_exit;
    run->restart.fn = on_restart;
    run->space.fn = on_space;
    run->second.fn = on_second;
    run->jump.fn = on_jump;
    workload_init(&run->workload, &run->world, &run->rng);
    run->broker = world_node_add(&run->world, 1 + (uint32_t)rng_below(&run->rng, 3), broker_start,
                                 on_crashed, &run->slot);
    run->slot.has_second_folder = rng_chance(&run->rng, 1, 2);
    run->clients = world_node_add(&run->world, 1, clients_start, NULL, run);
    world_node_start(run->clients);
    faults_phase(run);
    heal(run);
    cut_power(run);
    *result = (struct run_result){
        .trace = run->world.trace,
        .events = run->world.event_count,
        .crashes = run->broker->crash_count,
        .virtual_ns = run->world.now_ns,
        .acked_batches = run->workload.acked_batches,
        .acked_commits = run->workload.acked_commits,
        .read_records = run->workload.read_records,
    };
}
