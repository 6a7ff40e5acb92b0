/* The simulated world's clock, events, chance and machines; see world.h.
 *
 * A crash may strike inside a node's own code (sim/simio.c, before a blocking file call): the code
 * is left by longjmp, which is sound because nothing that it was doing is looked at again. */
#include "sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "sim/simio.h"

#define MILLION 1000000

/* --- faults --- */

struct world_faults world_faults_none(void)
{
    return (struct world_faults){
        .disk_read = {20, 100, 0, 0},
        .disk_write = {5, 50, 0, 0},
        .disk_sync = {100, 1000, 0, 0},
        .net = {20, 100, 0, 0},
        .wake = {5, 40, 0, 0},
        .turn = {1, 10, 0, 0},
        .window_bytes = 1 << 20,
    };
}

static uint32_t swarm_chance(struct rng *rng, uint32_t max)
{
    return rng_chance(rng, 1, 2) ? 0 : (uint32_t)rng_below(rng, max) + 1;
}

static struct world_delay swarm_delay(struct rng *rng, uint64_t usual_us, uint64_t tail_us)
{
    struct world_delay delay = {1, 1 + rng_below(rng, usual_us), 0, 0};
    if (rng_chance(rng, 1, 2)) {
        delay.tail_one_in = 20 + rng_below(rng, 2000);
        delay.tail_max_us = 1 + rng_below(rng, tail_us);
    }
    return delay;
}

struct world_faults world_faults_swarm(struct rng *rng)
{
    struct world_faults faults = {
        .disk_read = swarm_delay(rng, 2000, 300000),
        .disk_write = swarm_delay(rng, 2000, 300000),
        .disk_sync = swarm_delay(rng, 20000, 2000000),
        .net = swarm_delay(rng, 5000, 3000000),
        .wake = swarm_delay(rng, 200, 50000),
        .turn = swarm_delay(rng, 100, 100000),
        .read_error = swarm_chance(rng, 2000),
        .write_error = swarm_chance(rng, 1000),
        .sync_error = swarm_chance(rng, 2000),
        .net_reset = swarm_chance(rng, 3000),
        .short_move = swarm_chance(rng, 500000),
        .crash_inside = swarm_chance(rng, 3000),
        .power_cut = rng_chance(rng, 1, 3) ? MILLION : swarm_chance(rng, MILLION - 1),
        .window_bytes = UINT64_C(1) << (9 + rng_below(rng, 12)),
    };
    return faults;
}

uint64_t world_delay_ns(struct world *world, const struct world_delay *delay)
{
    uint64_t max_us = delay->max_us;
    if (delay->tail_one_in && rng_below(&world->rng, delay->tail_one_in) == 0)
        max_us = delay->tail_max_us > delay->min_us ? delay->tail_max_us : delay->min_us;
    uint64_t us = delay->min_us + rng_below(&world->rng, max_us - delay->min_us + 1);
    return us * 1000 + rng_below(&world->rng, 1000);
}

bool world_chance(struct world *world, uint32_t in_a_million)
{
    return in_a_million > 0 && rng_below(&world->rng, MILLION) < in_a_million;
}

/* --- trace --- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

uint64_t world_hash(const void *data, size_t len)
{
    const uint8_t *at = data;
    uint64_t h = len, word;
    for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        h = mix(h, word);
    }
    word = 0;
    memcpy(&word, at, len);
    return mix(h, word);
}

void world_trace(struct world *world, uint32_t kind, uint64_t a, uint64_t b)
{
    world->trace = mix(mix(mix(mix(world->trace, kind), world->now_ns), a), b);
}

void world_say(const struct world *world, const char *fmt, ...)
{
    if (!world->verbose)
        return;
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    fprintf(stderr, "%12.6f  %s\n", (double)world->now_ns / 1e9, line);
}

/* --- events --- */

void world_schedule(struct world *world, struct world_event *event, uint64_t at_ns)
{
    ASSERT(event->fn);
    heap_remove(&world->events, &event->node);
    heap_insert(&world->events, &event->node, at_ns > world->now_ns ? at_ns : world->now_ns);
}

void world_unschedule(struct world *world, struct world_event *event)
{
    heap_remove(&world->events, &event->node);
}

/* Runs a node's code, or an event that may; a crash inside comes back here. */
static void run_guarded(struct world *world, struct world_event *event, struct world_node *starting)
{
    if (setjmp(world->crash_jump) == 0) {
        if (event)
            event->fn(event);
        else
            starting->start(starting, starting->arg);
    }
    world->running = NULL;
    struct world_node *crashed = world->crash_now;
    world->crash_now = NULL;
    if (crashed)
        world_node_crash(crashed);
}

void world_run(struct world *world, uint64_t until_ns, bool (*stop)(void *arg), void *arg)
{
    for (;;) {
        struct heap_node *node = heap_peek(&world->events);
        if (!node || node->key > until_ns)
            break;
        heap_remove(&world->events, node);
        ASSERT(node->key >= world->now_ns);
        world->now_ns = node->key;
        world->event_count++;
        run_guarded(world, HEAP_ENTRY(node, struct world_event, node), NULL);
        if (stop && stop(arg))
            return;
    }
    if (until_ns > world->now_ns && until_ns != UINT64_MAX)
        world->now_ns = until_ns;
}

/* --- machines --- */

struct world_node *world_node_add(struct world *world, uint32_t shard_count,
                                  void (*start)(struct world_node *, void *),
                                  void (*crashed)(struct world_node *, void *), void *arg)
{
    ASSERT(world->node_count < WORLD_NODES_MAX);
    ASSERT(shard_count > 0 && shard_count <= WORLD_SHARDS_MAX);
    struct world_node *node = &world->nodes[world->node_count];
    *node = (struct world_node){.world = world,
                                .index = world->node_count++,
                                .shard_count = shard_count,
                                .start = start,
                                .crashed = crashed,
                                .arg = arg};
    snprintf(node->host, sizeof(node->host), "n%u", node->index % 1000);
    disk_init(&node->disk);
    return node;
}

void world_node_start(struct world_node *node)
{
    struct world *world = node->world;
    ASSERT(!node->is_up && !world->running);
    world_trace(world, TRACE_START, node->index, node->crash_count);
    world_say(world, "%s starts", node->host);
    node->is_up = true;
    for (uint32_t i = 0; i < node->shard_count; i++)
        node->ios[i] = sim_io_create(node, i);
    world->running = node;
    run_guarded(world, NULL, node);
}

void world_node_poke(struct world_node *node)
{
    for (uint32_t i = 0; node->is_up && i < node->shard_count; i++)
        sim_io_kick(sim_of(node->ios[i]), node->world->now_ns);
}

void world_node_crash(struct world_node *node)
{
    struct world *world = node->world;
    ASSERT(node->is_up && !world->running);
    bool power = world_chance(world, world->faults.power_cut);
    /* A kill in the moment between a failed flush and the mark that it leaves goes unnoticed. */
    for (uint32_t i = 0; i < node->shard_count; i++)
        power |= sim_of(node->ios[i])->has_untold_failure;
    power |= node->must_lose_writes;
    node->must_lose_writes = false;
    node->was_power_cut = power;
    node->is_up = false;
    node->crash_count++;
    world_trace(world, TRACE_CRASH, node->index, power);
    world_say(world, "%s crashes: %s", node->host, power ? "power cut" : "process killed");
    for (uint32_t i = 0; i < node->shard_count; i++) {
        sim_io_crash(node->ios[i]);
        sim_io_free(node->ios[i]);
        node->ios[i] = NULL;
    }
    disk_crash(&node->disk, power ? DISK_CRASH_POWER : DISK_CRASH_PROCESS, &world->rng);
    node->file_count = 0;
    if (node->crashed)
        node->crashed(node, node->arg);
}

/* --- life --- */

void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){.seed = seed, .faults = world_faults_none()};
    rng_init(&world->rng, seed);
    heap_init(&world->events);
    list_init(&world->ends);
    world->now_ns = 1000000000;
}

void world_deinit(struct world *world)
{
    for (uint32_t n = 0; n < world->node_count; n++) {
        struct world_node *node = &world->nodes[n];
        for (uint32_t i = 0; node->is_up && i < node->shard_count; i++) {
            sim_io_crash(node->ios[i]);
            sim_io_free(node->ios[i]);
        }
        disk_deinit(&node->disk);
        free(node->files);
    }
    net_free(world);
}
