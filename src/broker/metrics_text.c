/* The metrics page: one function for each group of families, called one in a turn.
 *
 * Names are those that dashboards for Apache Kafka know: what the JMX exporter's usual rules make
 * of Kafka's beans (kafka_server_..., kafka_network_...), and kafka_exporter's (kafka_topic_...,
 * kafka_consumergroup_...). What has no such name begins with taffrail_. Runs on shard 0. */
#include "base/assert.h"
#include "broker/exposition.h"
#include "broker/handlers/handlers.h"
#include "broker/lag.h"
#include "broker/metrics_page.h"
#include "broker/node.h"

#define NS_PER_S 1e9

/* Kafka's BrokerState. */
enum { STATE_STARTING = 1, STATE_RUNNING = 3, STATE_SHUTTING_DOWN = 7 };

struct writer {
    const struct metrics_gather *gather;
    const struct metrics_process *process;
    struct buf *buf;
    struct exposition_labels labels;
};

typedef void text_fn(struct writer *w);

static void gauge(struct writer *w, const char *name, const char *help, int64_t value)
{
    exposition_family(w->buf, name, EXPOSITION_GAUGE, help);
    exposition_i64(w->buf, name, NULL, value);
}

static void counter(struct writer *w, const char *name, const char *help, uint64_t value)
{
    exposition_family(w->buf, name, EXPOSITION_COUNTER, help);
    exposition_i64(w->buf, name, NULL, (int64_t)value);
}

/* --- what was produced and fetched --- */

static const struct {
    enum partition_count count;
    const char *name, *help;
} topic_families[] = {
    {PARTITION_MESSAGES_IN, "kafka_server_brokertopicmetrics_messagesin_total",
     "Records that were stored; with a topic: of that topic."},
    {PARTITION_BYTES_IN, "kafka_server_brokertopicmetrics_bytesin_total",
     "Bytes of record batches from producers."},
    {PARTITION_BYTES_OUT, "kafka_server_brokertopicmetrics_bytesout_total",
     "Bytes of record batches to consumers."},
    {PARTITION_BYTES_REJECTED, "kafka_server_brokertopicmetrics_bytesrejected_total",
     "Bytes of record batches that were too large."},
    {PARTITION_PRODUCES, "kafka_server_brokertopicmetrics_totalproducerequests_total",
     "Partitions in produce requests."},
    {PARTITION_FETCHES, "kafka_server_brokertopicmetrics_totalfetchrequests_total",
     "Partitions in fetch requests."},
    {PARTITION_PRODUCES_FAILED, "kafka_server_brokertopicmetrics_failedproducerequests_total",
     "Partitions in produce requests that were answered with an error."},
    {PARTITION_FETCHES_FAILED, "kafka_server_brokertopicmetrics_failedfetchrequests_total",
     "Partitions in fetch requests that were answered with an error."},
};
static_assert(ARRAY_LEN(topic_families) == PARTITION_COUNTS, "a family for each count");

static void topic_family(struct writer *w, size_t at)
{
    const struct metrics_gather *gather = w->gather;
    enum partition_count which = topic_families[at].count;
    const char *name = topic_families[at].name;
    exposition_family(w->buf, name, EXPOSITION_COUNTER, topic_families[at].help);
    exposition_i64(w->buf, name, NULL, (int64_t)gather->totals.partitions[which]);
    size_t row = 0;
    IMAGE_TOPICS_EACH(iter, gather->image, topic)
    {
        uint64_t sum = 0;
        bool is_hosted = false;
        if (row + topic->partition_count > gather->row_count)
            break;
        for (uint32_t i = 0; i < topic->partition_count; i++, row++) {
            sum += gather->rows[row].counts[which];
            is_hosted = is_hosted || gather->rows[row].is_hosted;
        }
        if (!is_hosted)
            continue;
        exposition_labels_reset(&w->labels);
        exposition_label(&w->labels, "topic", topic->name);
        exposition_i64(w->buf, name, &w->labels, (int64_t)sum);
    }
}

static void topic_families_all(struct writer *w)
{
    for (size_t i = 0; i < ARRAY_LEN(topic_families); i++)
        topic_family(w, i);
}

/* --- partitions --- */

typedef int64_t row_value(const struct topic_image *topic, uint32_t index,
                          const struct metrics_partition_row *row);

static int64_t log_size_of(const struct topic_image *topic, uint32_t index,
                           const struct metrics_partition_row *row)
{
    (void)topic, (void)index;
    return (int64_t)row->size;
}

static int64_t start_of(const struct topic_image *topic, uint32_t index,
                        const struct metrics_partition_row *row)
{
    (void)topic, (void)index;
    return row->start_offset;
}

static int64_t end_of(const struct topic_image *topic, uint32_t index,
                      const struct metrics_partition_row *row)
{
    (void)topic, (void)index;
    return row->end_offset;
}

static int64_t segments_of(const struct topic_image *topic, uint32_t index,
                           const struct metrics_partition_row *row)
{
    (void)topic, (void)index;
    return row->segment_count;
}

static int64_t has_write_caching(const struct topic_image *topic, uint32_t index,
                                 const struct metrics_partition_row *row)
{
    (void)topic, (void)index;
    return row->has_write_caching;
}

static int64_t is_uncompactable(const struct topic_image *topic, uint32_t index,
                                const struct metrics_partition_row *row)
{
    (void)topic, (void)index;
    return row->is_uncompactable;
}

static int64_t leader_of(const struct topic_image *topic, uint32_t index,
                         const struct metrics_partition_row *row)
{
    (void)row;
    const struct partition_image *partition = image_partition(topic, (int32_t)index);
    return partition ? partition->leader : -1;
}

static int64_t is_preferred(const struct topic_image *topic, uint32_t index,
                            const struct metrics_partition_row *row)
{
    (void)row;
    const struct partition_image *partition = image_partition(topic, (int32_t)index);
    return partition && partition->replica_count > 0 && partition->replicas[0] == partition->leader;
}

static int64_t replicas_of(const struct topic_image *topic, uint32_t index,
                           const struct metrics_partition_row *row)
{
    (void)row;
    const struct partition_image *partition = image_partition(topic, (int32_t)index);
    return partition ? partition->replica_count : 0;
}

static int64_t in_sync_of(const struct topic_image *topic, uint32_t index,
                          const struct metrics_partition_row *row)
{
    (void)row;
    const struct partition_image *partition = image_partition(topic, (int32_t)index);
    return partition ? partition->isr_count : 0;
}

static bool is_short_of_replicas(const struct partition_image *partition)
{
    return partition && partition->isr_count < partition->replica_count;
}

static int64_t is_under_replicated(const struct topic_image *topic, uint32_t index,
                                   const struct metrics_partition_row *row)
{
    (void)row;
    return is_short_of_replicas(image_partition(topic, (int32_t)index));
}

static const struct {
    const char *name, *help;
    row_value *value;
} partition_families[] = {
    {"kafka_log_log_size", "Bytes of the partition's segments.", log_size_of},
    {"kafka_log_log_logstartoffset", "The first offset of the partition.", start_of},
    {"kafka_log_log_logendoffset", "The offset after the partition's last record.", end_of},
    {"kafka_log_log_numlogsegments", "Segments of the partition.", segments_of},
    {"taffrail_partition_uncompactable",
     "1 if the partition's last compaction failed; it is tried again.", is_uncompactable},
    {"taffrail_partition_write_caching",
     "1 if acks=all is answered from memory here, as write.caching=true asks.", has_write_caching},
    {"kafka_topic_partition_current_offset", "The offset after the partition's last record.",
     end_of},
    {"kafka_topic_partition_oldest_offset", "The first offset of the partition.", start_of},
    {"kafka_topic_partition_leader", "Id of the broker that leads; -1: none.", leader_of},
    {"kafka_topic_partition_leader_is_preferred", "1 if the first replica leads.", is_preferred},
    {"kafka_topic_partition_replicas", "Replicas of the partition.", replicas_of},
    {"kafka_topic_partition_in_sync_replica", "In-sync replicas of the partition.", in_sync_of},
    {"kafka_topic_partition_under_replicated_partition",
     "1 if a replica of the partition is not in sync.", is_under_replicated},
};

static void partition_family(struct writer *w, size_t at)
{
    const struct metrics_gather *gather = w->gather;
    const char *name = partition_families[at].name;
    size_t row = 0;
    exposition_family(w->buf, name, EXPOSITION_GAUGE, partition_families[at].help);
    IMAGE_TOPICS_EACH(iter, gather->image, topic)
    {
        if (row >= gather->row_count)
            break;
        exposition_labels_reset(&w->labels);
        exposition_label(&w->labels, "topic", topic->name);
        size_t len = w->labels.text.len;
        for (uint32_t i = 0; i < topic->partition_count && row < gather->row_count; i++, row++) {
            const struct metrics_partition_row *own = &gather->rows[row];
            if (!own->is_hosted || own->is_offline)
                continue;
            exposition_label_i64(&w->labels, "partition", i);
            exposition_i64(w->buf, name, &w->labels, partition_families[at].value(topic, i, own));
            w->labels.text.len = len;
        }
    }
}

static void topic_partitions(struct writer *w)
{
    const char *name = "kafka_topic_partitions";
    size_t row = 0;
    exposition_family(w->buf, name, EXPOSITION_GAUGE, "Partitions of the topic.");
    IMAGE_TOPICS_EACH(iter, w->gather->image, topic)
    {
        row += topic->partition_count;
        if (row > w->gather->row_count)
            break;
        exposition_labels_reset(&w->labels);
        exposition_label(&w->labels, "topic", topic->name);
        exposition_i64(w->buf, name, &w->labels, topic->partition_count);
    }
}

/* --- requests --- */

static const char *row_name(size_t row)
{
    static const char *const extra[] = {
        [METRICS_FETCH_CONSUMER] = "FetchConsumer", [METRICS_FETCH_FOLLOWER] = "FetchFollower"};
    if (row < handler_table_len)
        return api_name(handler_table[row].key);
    return extra[row - handler_table_len];
}

static size_t named_row_count(void)
{
    return handler_table_len + METRICS_PRODUCE_DURABLE;
}

static void set_request(struct writer *w, size_t row)
{
    exposition_labels_reset(&w->labels);
    exposition_label(&w->labels, "request", str_of(row_name(row)));
}

static void request_counts(struct writer *w)
{
    const char *name = "kafka_network_requestmetrics_requests_total";
    exposition_family(w->buf, name, EXPOSITION_COUNTER, "Requests that ended, by API and version.");
    for (size_t i = 0; i < named_row_count(); i++) {
        for (size_t v = 0; v < METRICS_VERSIONS; v++) {
            uint64_t count = w->gather->totals.requests[i].by_version[v];
            if (count == 0)
                continue;
            set_request(w, i);
            exposition_label_i64(&w->labels, "version", (int64_t)v);
            exposition_i64(w->buf, name, &w->labels, (int64_t)count);
        }
    }
}

static void request_quantiles(struct writer *w)
{
    static const struct {
        double share;
        const char *text;
    } quantiles[] = {{0.5, "0.50"},  {0.75, "0.75"}, {0.95, "0.95"},
                     {0.98, "0.98"}, {0.99, "0.99"}, {0.999, "0.999"}};
    const char *name = "kafka_network_requestmetrics_totaltimems";
    exposition_family(w->buf, name, EXPOSITION_SUMMARY,
                      "Milliseconds from a request's arrival to its answer, over the last one to "
                      "two minutes; waits that a fetch asked for included.");
    for (size_t i = 0; i < named_row_count(); i++) {
        const struct metrics_request *row = &w->gather->totals.requests[i];
        struct histogram recent = row->recent[0];
        if (row->all.count == 0)
            continue;
        histogram_merge(&recent, &row->recent[1]);
        for (size_t q = 0; q < ARRAY_LEN(quantiles); q++) {
            set_request(w, i);
            exposition_label(&w->labels, "quantile", str_of(quantiles[q].text));
            exposition_f64(w->buf, name, &w->labels,
                           recent.count == 0
                               ? __builtin_nan("")
                               : (double)histogram_quantile(&recent, quantiles[q].share) / 1e6);
        }
        set_request(w, i);
        exposition_f64(w->buf, "kafka_network_requestmetrics_totaltimems_sum", &w->labels,
                       (double)row->all.sum_ns / 1e6);
        exposition_i64(w->buf, "kafka_network_requestmetrics_totaltimems_count", &w->labels,
                       (int64_t)row->all.count);
    }
}

static void request_histograms(struct writer *w)
{
    const char *name = "taffrail_request_seconds";
    exposition_family(w->buf, name, EXPOSITION_HISTOGRAM,
                      "Seconds from a request's arrival to its answer.");
    for (size_t i = 0; i < named_row_count(); i++) {
        const struct metrics_request *row = &w->gather->totals.requests[i];
        if (row->all.count == 0)
            continue;
        set_request(w, i);
        exposition_histogram(w->buf, name, &w->labels, &row->all);
    }
}

/* --- the disk --- */

static void disk(struct writer *w)
{
    const struct metrics_gather *gather = w->gather;
    exposition_labels_reset(&w->labels);
    exposition_family(w->buf, "taffrail_commit_seconds", EXPOSITION_HISTOGRAM,
                      "Seconds from the arrival of a produce request with acks=all to its answer: "
                      "its records are on the disk.");
    exposition_histogram(w->buf, "taffrail_commit_seconds", &w->labels,
                         &gather->totals.requests[handler_table_len + METRICS_PRODUCE_DURABLE].all);
    exposition_family(w->buf, "taffrail_flush_seconds", EXPOSITION_HISTOGRAM,
                      "Seconds that the disk took for a flush, or for a write that is on the disk "
                      "when it is done: those of the write-ahead log.");
    exposition_label(&w->labels, "kind", STR("flush"));
    exposition_histogram(w->buf, "taffrail_flush_seconds", &w->labels, &gather->syncs);
    exposition_labels_reset(&w->labels);
    exposition_label(&w->labels, "kind", STR("write"));
    exposition_histogram(w->buf, "taffrail_flush_seconds", &w->labels, &gather->durable_writes);
    counter(w, "taffrail_flush_failures_total", "Flushes that failed; each put a log offline.",
            gather->sync_failures);
    counter(w, "kafka_log_logflushstats_logflushrateandtimems_count", "Flushes of the disk.",
            gather->syncs.count + gather->durable_writes.count);
    const char *name = "kafka_log_logmanager_logdirectoryoffline";
    exposition_family(w->buf, name, EXPOSITION_GAUGE, "1 if the log folder is offline.");
    int64_t offline_count = 0;
    for (size_t i = 0; i < gather->node->hosting.dir_count; i++) {
        struct hosting_dir *dir = &gather->node->hosting.dirs[i];
        bool is_offline = atomic_load(&dir->is_offline);
        offline_count += is_offline;
        exposition_labels_reset(&w->labels);
        exposition_label(&w->labels, "logDirectory", dir->logdir.path);
        exposition_i64(w->buf, name, &w->labels, is_offline);
    }
    gauge(w, "kafka_log_logmanager_offlinelogdirectorycount", "Log folders that are offline.",
          offline_count);
}

static void compaction(struct writer *w)
{
    const uint64_t *counts = w->gather->totals.counts;
    uint64_t uncompactable = 0;
    for (uint32_t i = 0; i < w->gather->node->shard_count; i++)
        uncompactable += w->gather->shards[i].uncompactable_count;
    gauge(w, "kafka_log_logcleanermanager_uncleanable_partitions_count",
          "Partitions whose last compaction failed; they are tried again.", (int64_t)uncompactable);
    counter(w, "taffrail_compactions_total", "Compactions of a partition that came to their end.",
            counts[METRICS_COMPACTIONS]);
    counter(w, "taffrail_compactions_failed_total", "Compactions of a partition that failed.",
            counts[METRICS_COMPACTIONS_FAILED]);
    counter(w, "taffrail_compaction_read_bytes_total", "Bytes that compactions read.",
            counts[METRICS_COMPACTION_BYTES_READ]);
    counter(w, "taffrail_compaction_written_bytes_total", "Bytes that compactions left.",
            counts[METRICS_COMPACTION_BYTES_WRITTEN]);
}

/* --- the node and the cluster --- */

static void node_state(struct writer *w)
{
    const struct node *node = w->gather->node;
    int64_t state = node->state == NODE_STARTING  ? STATE_STARTING
                    : node->state == NODE_SERVING ? STATE_RUNNING
                                                  : STATE_SHUTTING_DOWN;
    gauge(w, "kafka_server_kafkaserver_brokerstate", "1 starting, 3 running, 7 shutting down.",
          state);
    gauge(w, "kafka_server_socket_server_metrics_connection_count", "Open client connections.",
          (int64_t)atomic_load(&node->conn_count));
    const uint64_t *counts = w->gather->totals.counts;
    counter(w, "taffrail_connections_accepted_total", "Client connections that came.",
            counts[METRICS_CONNS_ACCEPTED]);
    counter(w, "taffrail_connections_closed_total", "Client connections that went.",
            counts[METRICS_CONNS_CLOSED]);
    counter(w, "taffrail_connections_refused_total",
            "Client connections refused because of max.connections.per.ip.",
            counts[METRICS_CONNS_REFUSED]);
    counter(w, "taffrail_requests_refused_total",
            "Requests that cost their connection: malformed, too large, or not served here.",
            counts[METRICS_REQUESTS_REFUSED]);
}

static void cluster(struct writer *w)
{
    const struct metrics_gather *gather = w->gather;
    int32_t own_id = gather->node->config->node_id;
    int64_t topics = 0, offline = 0, leading = 0, here = 0, short_of = 0;
    IMAGE_TOPICS_EACH(iter, gather->image, topic)
    {
        topics++;
        for (uint32_t i = 0; i < topic->partition_count; i++) {
            const struct partition_image *partition = topic->partitions[i];
            if (!partition)
                continue;
            offline += partition->leader < 0;
            leading += partition->leader == own_id;
            short_of += partition->leader == own_id && is_short_of_replicas(partition);
            for (uint32_t r = 0; r < partition->replica_count; r++)
                here += partition->replicas[r] == own_id;
        }
    }
    uint64_t failed = 0;
    for (uint32_t i = 0; i < gather->node->shard_count; i++)
        failed += gather->shards[i].offline_count;
    gauge(w, "kafka_brokers", "Brokers in the cluster.", (int64_t)gather->image->brokers.count);
    gauge(w, "kafka_controller_kafkacontroller_activecontrollercount",
          "1 if this node is the active controller.",
          gather->node->metadata.is_started && !gather->node->metadata.is_failed);
    gauge(w, "kafka_controller_kafkacontroller_globaltopiccount", "Topics in the cluster.", topics);
    gauge(w, "kafka_controller_kafkacontroller_globalpartitioncount", "Partitions in the cluster.",
          (int64_t)gather->image->partition_count);
    gauge(w, "kafka_controller_kafkacontroller_offlinepartitionscount",
          "Partitions without a leader.", offline);
    gauge(w, "kafka_server_replicamanager_partitioncount", "Partitions on this broker.", here);
    gauge(w, "kafka_server_replicamanager_leadercount", "Partitions that this broker leads.",
          leading);
    gauge(w, "kafka_server_replicamanager_offlinereplicacount",
          "Partitions on this broker whose files cannot be used.", (int64_t)failed);
    gauge(w, "kafka_server_replicamanager_underreplicatedpartitions",
          "Partitions that this broker leads and that have a replica which is not in sync.",
          short_of);
    size_t total = gather->image->partition_count;
    gauge(w, "taffrail_metrics_partitions_left_out",
          "Partitions without lines of their own, because of metrics.partitions.max.",
          (int64_t)(total - gather->row_count));
}

/* --- shards and process --- */

static const struct {
    const char *name, *help;
    enum exposition_type type;
    size_t offset; /* in struct metrics_shard_row */
    double scale;
} shard_families[] = {
    {"taffrail_shard_turns_total", "Turns of the shard's loop.", EXPOSITION_COUNTER,
     offsetof(struct metrics_shard_row, turn_count), 1},
    {"taffrail_shard_busy_seconds_total", "Seconds in which the shard's loop worked.",
     EXPOSITION_COUNTER, offsetof(struct metrics_shard_row, busy_ns), NS_PER_S},
    {"taffrail_shard_turn_max_seconds", "The longest turn since these numbers were last read.",
     EXPOSITION_GAUGE, offsetof(struct metrics_shard_row, turn_max_ns), NS_PER_S},
    {"taffrail_shard_buffer_bytes", "Bytes of receive and read buffers in use.", EXPOSITION_GAUGE,
     offsetof(struct metrics_shard_row, buffer_bytes_out), 1},
    {"taffrail_shard_buffer_idle_bytes", "Bytes of buffers kept for reuse.", EXPOSITION_GAUGE,
     offsetof(struct metrics_shard_row, buffer_bytes_idle), 1},
    {"taffrail_shard_requests", "Requests under way.", EXPOSITION_GAUGE,
     offsetof(struct metrics_shard_row, request_count), 1},
    {"taffrail_shard_partitions", "Partitions that the shard owns.", EXPOSITION_GAUGE,
     offsetof(struct metrics_shard_row, partition_count), 1},
    {"taffrail_shard_wal_commits_total", "Writes of the write-ahead log.", EXPOSITION_COUNTER,
     offsetof(struct metrics_shard_row, wal.commits), 1},
    {"taffrail_shard_wal_records_total", "Batches that the write-ahead log made durable.",
     EXPOSITION_COUNTER, offsetof(struct metrics_shard_row, wal.records), 1},
    {"taffrail_shard_wal_bytes_total", "Bytes written to the write-ahead log.", EXPOSITION_COUNTER,
     offsetof(struct metrics_shard_row, wal.bytes), 1},
    {"taffrail_shard_wal_refused_total",
     "Batches for which the write-ahead log had no room: their partitions flushed instead.",
     EXPOSITION_COUNTER, offsetof(struct metrics_shard_row, wal.refused), 1},
    {"taffrail_shard_wal_files", "Files of the write-ahead log.", EXPOSITION_GAUGE,
     offsetof(struct metrics_shard_row, wal_files), 1},
};

static void shards(struct writer *w)
{
    for (size_t i = 0; i < ARRAY_LEN(shard_families); i++) {
        exposition_family(w->buf, shard_families[i].name, shard_families[i].type,
                          shard_families[i].help);
        for (uint32_t s = 0; s < w->gather->node->shard_count; s++) {
            uint64_t value;
            memcpy(&value, (const char *)&w->gather->shards[s] + shard_families[i].offset,
                   sizeof(value));
            exposition_labels_reset(&w->labels);
            exposition_label_i64(&w->labels, "shard", s);
            exposition_f64(w->buf, shard_families[i].name, &w->labels,
                           (double)value / shard_families[i].scale);
        }
    }
}

static void process(struct writer *w)
{
    const struct metrics_process *process = w->process;
    exposition_family(w->buf, "process_cpu_seconds_total", EXPOSITION_COUNTER,
                      "User and system time of the process.");
    exposition_f64(w->buf, "process_cpu_seconds_total", NULL, process->cpu_seconds);
    exposition_family(w->buf, "process_start_time_seconds", EXPOSITION_GAUGE,
                      "When the process started, since 1970.");
    exposition_f64(w->buf, "process_start_time_seconds", NULL, process->start_seconds);
    gauge(w, "process_resident_memory_bytes", "Resident memory.", (int64_t)process->resident_bytes);
    gauge(w, "process_virtual_memory_bytes", "Virtual memory.", (int64_t)process->virtual_bytes);
    gauge(w, "process_open_fds", "Open file descriptors.", (int64_t)process->open_fds);
    gauge(w, "process_max_fds", "How many file descriptors may be open.",
          (int64_t)process->max_fds);
    exposition_labels_reset(&w->labels);
    exposition_label(&w->labels, "version", STR(TAFFRAIL_VERSION));
    exposition_label_i64(&w->labels, "node", w->gather->node->config->node_id);
    exposition_label(&w->labels, "cluster", w->gather->node->storage.cluster_id);
    exposition_family(w->buf, "taffrail_build_info", EXPOSITION_GAUGE, "Always 1.");
    exposition_i64(w->buf, "taffrail_build_info", &w->labels, 1);
}

static text_fn *const parts[] = {
    node_state,
    cluster,
    shards,
    process,
    topic_families_all,
    request_counts,
    request_quantiles,
    request_histograms,
    disk,
    compaction,
    topic_partitions,
};

bool metrics_text_step(struct metrics_text *text)
{
    struct writer w = {text->gather, &text->process, text->buf, {{0}}};
    const struct node *node = text->gather->node;
    size_t at = text->next++;
    size_t own = ARRAY_LEN(parts) + ARRAY_LEN(partition_families);
    if (at >= own)
        return lag_text_step(node->lag, at - own, (size_t)node->config->metrics_partitions_max,
                             text->buf);
    exposition_labels_init(&w.labels);
    if (at < ARRAY_LEN(parts))
        parts[at](&w);
    else
        partition_family(&w, at - ARRAY_LEN(parts));
    exposition_labels_deinit(&w.labels);
    return true;
}
