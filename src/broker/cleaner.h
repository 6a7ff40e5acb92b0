/* Which logs are compacted next, and the passes under way. */
#ifndef BROKER_CLEANER_H
#define BROKER_CLEANER_H

#include <stdatomic.h>

#include "io/io.h"
#include "log/compact.h"

struct shard;

/* What the shards of a node share. */
struct cleaner_node {
    _Atomic uint32_t passes; /* under way; at most log.cleaner.threads */
    struct pace pace;
};

/* One shard's. */
struct cleaner {
    struct shard *shard;
    struct io_timer timer;
    uint32_t looks; /* in a row that were held back by an old checkpoint */
    bool is_stopped;
    uint32_t passes; /* under way here */
};

void cleaner_start(struct cleaner *cleaner, struct shard *shard);
/* No pass is begun after this one; those under way end with their logs. */
void cleaner_stop(struct cleaner *cleaner);

#endif
