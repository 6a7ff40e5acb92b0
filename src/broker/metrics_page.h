/* All counts brought together, and the page that shows them.
 *
 * Shard 0 sends one message around all shards: each adds what it has and fills the rows of its
 * partitions; when it is back, shard 0 writes the text. Both go in steps, so that no turn of a loop
 * grows long with the number of partitions. */
#ifndef BROKER_METRICS_PAGE_H
#define BROKER_METRICS_PAGE_H

#include "base/buf.h"
#include "broker/shard.h"
#include "meta/image.h"

struct node;

struct metrics_partition_row {
    bool is_hosted;
    bool is_offline;
    bool is_uncompactable; /* its last pass failed */
    bool has_write_caching;
    int64_t start_offset, end_offset;
    uint64_t size;
    uint32_t segment_count;
    uint64_t counts[PARTITION_COUNTS];
};

struct metrics_shard_row {
    uint64_t turn_count, busy_ns, turn_max_ns;
    uint64_t buffer_bytes_out, buffer_bytes_idle;
    uint64_t request_count;
    uint64_t partition_count, offline_count, uncompactable_count;
    struct wal_stats wal; /* of all log folders */
    uint64_t wal_files;
};

struct metrics_gather;
typedef void metrics_done(struct metrics_gather *gather);

struct metrics_gather {
    struct node *node;
    metrics_done *done; /* on shard 0 */
    void *arg;
    enum err err;
    struct image *image;   /* one reference */
    struct metrics totals; /* of the shards so far */
    struct histogram syncs, durable_writes;
    uint64_t sync_failures;
    struct metrics_shard_row shards[SHARD_COUNT_MAX];
    struct metrics_partition_row *rows; /* partitions in the order of the image's topics */
    size_t row_count;                   /* the first of them: as many as may be shown */
    /* The walk. */
    struct shard_msg msg;
    struct table_iter iter;
    const struct topic_image *topic;
    uint32_t index; /* in the topic */
    size_t row;
};

/* On shard 0. At most `rows_max` partitions get a row. Ends with done, from a message. */
void metrics_gather_start(struct metrics_gather *gather, struct node *node, size_t rows_max,
                          metrics_done *done);
void metrics_gather_deinit(struct metrics_gather *gather);

/* --- the text --- */

/* What the system says of the process. */
struct metrics_process {
    double cpu_seconds;
    double start_seconds; /* since 1970 */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_fds, max_fds;
};

struct metrics_text {
    const struct metrics_gather *gather;
    struct metrics_process process;
    struct buf *buf;
    size_t next;
};
/* Writes the next part; false when all is written. */
bool metrics_text_step(struct metrics_text *text);

#endif
