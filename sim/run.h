/* One seed: a broker with its clients, first with faults, then healed. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

struct world_node;

struct run_result {
    uint64_t trace, events, crashes, virtual_ns;
    uint64_t acked_batches, read_records;
};

/* Ends the process with one of MODEL_EXIT_* where something is wrong. */
void run_seed(uint64_t seed, bool verbose, struct run_result *result);

/* sim/broker.c: what runs on the broker's machine. A callback of world_node_add. */
void broker_start(struct world_node *node, void *arg);

#define RUN_BROKER_PORT 9092

#endif
