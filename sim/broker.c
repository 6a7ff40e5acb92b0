/* The broker on a simulated machine: the same node as in src/broker/serve.c, with one io for each
 * shard from the world instead of threads. A crash abandons it where it stands. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/node.h"
#include "sim/run.h"

struct sim_broker {
    struct node node;
    struct broker_config config;
    struct arena arena;
    struct world_node *machine;
    struct broker_slot *slot;
};

static void exit_soon(struct sim_broker *broker)
{
    struct world *world = broker->machine->world;
    world_schedule(world, &broker->slot->on_exit, world->now_ns + 1000000);
}

static void on_serving(struct node *node)
{
    struct sim_broker *broker = node->arg;
    broker->slot->serve_count++;
    world_say(broker->machine->world, "%s serves", broker->machine->host);
}

static void on_stopped(struct node *node, enum err err)
{
    struct sim_broker *broker = node->arg;
    world_say(broker->machine->world, "%s stopped: %s", broker->machine->host, err_text(err));
    exit_soon(broker);
}

static enum err load_config(struct sim_broker *broker)
{
    const char *const overrides[] = {
        broker->slot->has_second_folder ? "log.dirs=/data," WORLD_SECOND_DISK : "log.dirs=/data",
        "node.id=1",
        "listeners=PLAINTEXT://:9092",
        "advertised.listeners=PLAINTEXT://n0:9092",
        "log.flush.offset.checkpoint.interval.ms=1000",
        "log.retention.check.interval.ms=2000",
        "metadata.log.max.record.bytes.between.snapshots=2000",
        "offsets.topic.num.partitions=3",
        "offsets.load.buffer.size=5000",
        "group.consumer.min.session.timeout.ms=1000",
        "group.consumer.session.timeout.ms=3000", /* WORKLOAD_SESSION_MS */
        "group.consumer.min.heartbeat.interval.ms=100",
        "group.consumer.heartbeat.interval.ms=300",
    };
    struct config_problem problem = {0};
    enum err err =
        broker_config_load(&broker->config, broker->machine->ios[0], NULL, overrides,
                           ARRAY_LEN(overrides), str_of(broker->machine->host), &problem);
    if (err != ERR_OK)
        world_say(broker->machine->world, "%.*s: %.*s", STR_ARG(problem.key),
                  STR_ARG(problem.what));
    return err;
}

void broker_start(struct world_node *machine, void *arg)
{
    struct sim_broker *broker = calloc(1, sizeof(*broker));
    ASSERT(broker);
    broker->machine = machine;
    broker->slot = arg;
    broker->slot->broker = broker;
    arena_init(&broker->arena, ARENA_NO_LIMIT);
    broker->node.arg = broker;
    /* Small, so that files are filled and used again. */
    broker->node.wal_options =
        (struct wal_options){.file_bytes = 32 << 10, .commit_bytes = 8 << 10, .files_max = 3};
    broker->node.on_serving = on_serving;
    broker->node.on_stopped = on_stopped;
    enum err err = load_config(broker);
    ASSERT(err == ERR_OK);
    struct meta_error why = {ERR_OK, STR_NULL};
    err = node_create(&broker->node, &broker->config, machine->ios, machine->shard_count,
                      &broker->arena, &why);
    if (err != ERR_OK) {
        world_say(machine->world, "%s cannot start: %s: %.*s", machine->host, err_text(err),
                  STR_ARG(why.text));
        exit_soon(broker);
        return;
    }
    node_start(&broker->node);
}

void broker_stop(struct broker_slot *slot)
{
    if (!slot->broker || slot->on_exit.node.is_linked)
        return;
    struct world *world = slot->broker->machine->world;
    world_say(world, "%s is asked to stop", slot->broker->machine->host);
    world->running = slot->broker->machine;
    node_stop(&slot->broker->node);
    world->running = NULL;
    world_node_poke(slot->broker->machine);
}
