/* Which log is compacted next, and its pass, step by step between requests. */
#ifndef BROKER_CLEANER_H
#define BROKER_CLEANER_H

#include "base/bytes.h"
#include "io/io.h"

struct shard;

struct cleaner {
    struct shard *shard;
    struct io_timer timer;
    bool is_running; /* a pass over the partition below */
    bool has_asked;  /* for a checkpoint, and looks again soon */
    struct uuid topic_id;
    int32_t index;
    int64_t end_offset; /* of the pass */
};

void cleaner_start(struct cleaner *cleaner, struct shard *shard);
/* A pass under way ends with its log. */
void cleaner_stop(struct cleaner *cleaner);

#endif
