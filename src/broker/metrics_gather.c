/* The walk that brings the counts together.
 *
 * A gather belongs to one shard at a time: to the one that its message has reached; it visits them
 * in order and ends on shard 0. All go through the image that shard 0 had when it began, so a
 * partition has the same row on every shard. */
#include <stdlib.h>
#include <string.h>

#include "broker/metrics_page.h"
#include "broker/node.h"
#include "log/compact.h"

#define PARTITIONS_A_TURN 1000

static void merge_requests(struct metrics *into, const struct metrics *from)
{
    for (size_t i = 0; i < metrics_row_count(); i++) {
        struct metrics_request *to = &into->requests[i];
        const struct metrics_request *row = &from->requests[i];
        for (size_t v = 0; v < METRICS_VERSIONS; v++)
            to->by_version[v] += row->by_version[v];
        histogram_merge(&to->all, &row->all);
        for (size_t r = 0; r < ARRAY_LEN(row->recent); r++)
            histogram_merge(&to->recent[r], &row->recent[r]);
    }
}

static void merge_shard(struct metrics_gather *gather, struct shard *shard)
{
    struct metrics *metrics = &shard->metrics;
    struct io_stats *stats = io_stats(shard->io);
    metrics_turn_period(metrics, io_now_ms(shard->io));
    merge_requests(&gather->totals, metrics);
    for (size_t i = 0; i < PARTITION_COUNTS; i++)
        gather->totals.partitions[i] += metrics->partitions[i];
    for (size_t i = 0; i < METRICS_COUNTS; i++)
        gather->totals.counts[i] += metrics->counts[i];
    histogram_merge(&gather->syncs, &stats->syncs);
    histogram_merge(&gather->durable_writes, &stats->durable_writes);
    gather->sync_failures += stats->sync_failures;
    gather->shards[shard->index] = (struct metrics_shard_row){
        .turn_count = stats->turn_count,
        .busy_ns = stats->busy_ns,
        .turn_max_ns = stats->turn_max_ns,
        .buffer_bytes_out = shard->bufs.out_bytes,
        .buffer_bytes_idle = shard->bufs.idle_bytes,
        .request_count = shard->request_pool.out,
        .partition_count = shard->partitions.count,
    };
    folder_wal_stats(shard, &gather->shards[shard->index].wal);
    gather->shards[shard->index].wal_files = gather->shards[shard->index].wal.files;
    stats->turn_max_ns = 0; /* each look sees the longest since the last */
}

static void fill_row(struct metrics_partition_row *row, const struct partition *partition)
{
    row->is_hosted = true;
    row->has_write_caching = partition->config.has_write_caching;
    row->is_offline = !partition->log || log_is_offline(partition->log);
    memcpy(row->counts, partition->counts, sizeof(row->counts));
    if (!partition->log)
        return;
    row->is_uncompactable = log_compact_problem(partition->log) != NULL;
    row->start_offset = log_start_offset(partition->log);
    row->end_offset = partition_high_watermark(partition);
    row->size = log_size(partition->log);
    row->segment_count = log_segment_count(partition->log);
}

/* The next partition of the image; false after the last. */
static bool next_partition(struct metrics_gather *gather)
{
    if (gather->topic)
        gather->index++;
    while (!gather->topic || gather->index >= gather->topic->partition_count) {
        gather->topic = table_next(&gather->iter);
        gather->index = 0;
        if (!gather->topic)
            return false;
    }
    return true;
}

static void visit(struct shard *shard, struct shard_msg *msg);

static void go_to(struct metrics_gather *gather, struct shard *from, struct shard *to)
{
    table_begin(&gather->iter, &gather->image->topics);
    gather->topic = NULL;
    gather->row = 0;
    gather->msg.fn = visit;
    shard_post(from, to, &gather->msg);
}

static void on_back(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    struct metrics_gather *gather = CONTAINER_OF(msg, struct metrics_gather, msg);
    gather->done(gather);
}

static void visit(struct shard *shard, struct shard_msg *msg)
{
    struct metrics_gather *gather = CONTAINER_OF(msg, struct metrics_gather, msg);
    struct node *node = gather->node;
    struct metrics_shard_row *own = &gather->shards[shard->index];
    if (!gather->topic && gather->row == 0)
        merge_shard(gather, shard);
    for (uint32_t left = PARTITIONS_A_TURN; next_partition(gather);) {
        size_t row = gather->row++;
        if (node_owner(node, gather->topic->id, (int32_t)gather->index) == shard->index) {
            const struct partition *partition =
                partitions_find(&shard->partitions, gather->topic->id, (int32_t)gather->index);
            if (partition && (!partition->log || log_is_offline(partition->log)))
                own->offline_count++;
            if (partition && partition->log && log_compact_problem(partition->log))
                own->uncompactable_count++;
            if (partition && row < gather->row_count)
                fill_row(&gather->rows[row], partition);
        }
        if (--left == 0) {
            shard_post(shard, shard, msg);
            return;
        }
    }
    if (shard->index + 1 < node->shard_count) {
        go_to(gather, shard, &node->shards[shard->index + 1]);
        return;
    }
    gather->msg.fn = on_back;
    shard_post(shard, &node->shards[0], &gather->msg);
}

void metrics_gather_start(struct metrics_gather *gather, struct node *node, size_t rows_max,
                          metrics_done *done)
{
    struct shard *shard = &node->shards[0];
    void *arg = gather->arg;
    *gather = (struct metrics_gather){.node = node, .done = done, .arg = arg};
    gather->err = metrics_init(&gather->totals);
    gather->image = shard->image ? image_ref(shard->image) : NULL;
    if (gather->image) {
        size_t count = gather->image->partition_count;
        gather->row_count = count < rows_max ? count : rows_max;
        gather->rows = calloc(gather->row_count + 1, sizeof(*gather->rows));
        if (!gather->rows)
            gather->err = ERR_NOMEM;
    } else if (gather->err == ERR_OK) {
        gather->err = ERR_BROKER_NOT_AVAILABLE;
    }
    if (gather->err == ERR_OK) {
        go_to(gather, shard, shard);
        return;
    }
    gather->msg.fn = on_back;
    shard_post(shard, shard, &gather->msg);
}

void metrics_gather_deinit(struct metrics_gather *gather)
{
    metrics_deinit(&gather->totals);
    free(gather->rows);
    if (gather->image)
        image_unref(gather->image);
    gather->rows = NULL;
    gather->image = NULL;
}
