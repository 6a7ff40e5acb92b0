/* One seed: a broker with its clients, first with faults, then healed. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/world.h"

struct sim_broker;

struct run_result {
    uint64_t trace, events, crashes, virtual_ns;
    uint64_t acked_batches, read_records, acked_commits;
};

/* Ends the process with one of MODEL_EXIT_* where something is wrong. */
void run_seed(uint64_t seed, bool verbose, struct run_result *result);

/* --- sim/broker.c: what runs on the broker's machine --- */

#define RUN_BROKER_PORT 9092

struct broker_slot {
    struct sim_broker *broker;  /* NULL: none runs; abandoned by a crash */
    struct world_event on_exit; /* the process ended by itself: could not start, or stopped */
    uint64_t serve_count;       /* how often it came to serve */
    bool has_second_folder;     /* on the second disk */
};

/* A callback of world_node_add; `arg` is the slot. */
void broker_start(struct world_node *node, void *arg);
/* Asks for a clean stop, as a signal would. */
void broker_stop(struct broker_slot *slot);

#endif
