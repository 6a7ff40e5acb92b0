/* What the broker counts: each shard in plain numbers of its own, partitions in theirs.
 * metrics_page.h brings them together. */
#ifndef BROKER_METRICS_H
#define BROKER_METRICS_H

#include "base/histogram.h"
#include "repl/partition.h"

struct request;

/* Newer versions of an API are counted with the last one. */
#define METRICS_VERSIONS 24

struct metrics_request {
    uint64_t by_version[METRICS_VERSIONS];
    struct histogram all;
    struct histogram recent[2]; /* this period and the one before */
};

/* What is counted apart, behind the rows of the handler table. */
enum metrics_extra_row {
    METRICS_FETCH_CONSUMER,
    METRICS_FETCH_FOLLOWER,
    METRICS_PRODUCE_DURABLE, /* acks=all: answered when on the disk */
    METRICS_EXTRA_ROWS,
};

enum metrics_count {
    METRICS_CONNS_ACCEPTED,
    METRICS_CONNS_CLOSED,
    METRICS_CONNS_REFUSED,    /* max.connections */
    METRICS_REQUESTS_REFUSED, /* the connection was closed: malformed, too large, not served */
    METRICS_COMPACTIONS,
    METRICS_COMPACTIONS_FAILED,
    METRICS_COMPACTION_BYTES_READ,
    METRICS_COMPACTION_BYTES_WRITTEN,
    METRICS_COUNTS,
};

/* One shard's. */
struct metrics {
    struct metrics_request *requests;      /* [handler table, then enum metrics_extra_row] */
    uint64_t partitions[PARTITION_COUNTS]; /* over all of its partitions, also those that went */
    uint64_t counts[METRICS_COUNTS];
    uint64_t period; /* number of the minute that recent[0] is about */
};

enum err metrics_init(struct metrics *metrics) MUST_USE;
void metrics_deinit(struct metrics *metrics);
size_t metrics_row_count(void);
/* Lets minutes pass in which nothing was counted. */
void metrics_turn_period(struct metrics *metrics, uint64_t now_ms);

/* A request of the shard has ended. */
void metrics_on_request(const struct request *req);

/* On the owner. */
static inline void metrics_partition(struct metrics *metrics, struct partition *partition,
                                     enum partition_count which, uint64_t count)
{
    metrics->partitions[which] += count;
    if (partition)
        partition->counts[which] += count;
}

#endif
