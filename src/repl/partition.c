/* Partitions of one shard: who they are, what they accept, and whom an advance wakes.
 *
 * Runs on: the shard that owns the partition. Nothing here is on disk; the log is. */
#include "repl/partition.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "wire/batch_builder.h"

struct partition_key {
    struct uuid topic_id;
    int32_t index;
};

static bool partition_has_key(const void *entry, const void *key)
{
    const struct partition *partition = entry;
    const struct partition_key *want = key;
    return partition->index == want->index && uuid_eq(partition->topic_id, want->topic_id);
}

static uint64_t key_hash(const struct map *map, const struct partition_key *key)
{
    return hash_u64(hash_uuid(map->seed, key->topic_id), (uint32_t)key->index);
}

void partitions_init(struct map *partitions, uint64_t seed)
{
    map_init(partitions, seed, partition_has_key);
}

void partitions_deinit(struct map *partitions)
{
    ASSERT(partitions->count == 0);
    map_deinit(partitions);
}

struct partition *partitions_find(const struct map *partitions, struct uuid topic_id, int32_t index)
{
    struct partition_key key = {topic_id, index};
    return map_find(partitions, key_hash(partitions, &key), &key);
}

static void on_advance(struct log_owner *owner, size_t bytes)
{
    struct partition *partition = CONTAINER_OF(owner, struct partition, owner);
    if (partition->log)
        producers_set_visible(log_producers(partition->log), partition_high_watermark(partition));
    LIST_FOREACH_SAFE (node, &partition->waiters) {
        struct partition_waiter *waiter = LIST_ENTRY(node, struct partition_waiter, link);
        waiter->fn(waiter, bytes);
    }
}

static void on_failure(struct log_owner *owner, enum err err, const char *what)
{
    struct partition *partition = CONTAINER_OF(owner, struct partition, owner);
    partition->on_failure(partition, err, what);
}

static void on_full(struct log_owner *owner)
{
    struct partition *partition = CONTAINER_OF(owner, struct partition, owner);
    if (partition->on_full)
        partition->on_full(partition);
}

enum err partition_create(struct map *partitions, struct uuid topic_id, struct str topic,
                          int32_t index, const struct partition_config *config,
                          struct partition **out)
{
    struct partition *partition = calloc(1, sizeof(*partition) + topic.len + 1);
    if (!partition)
        return ERR_NOMEM;
    char *name = (char *)(partition + 1);
    memcpy(name, topic.data, topic.len);
    partition->topic = (struct str){name, topic.len};
    partition->topic_id = topic_id;
    partition->index = index;
    partition->config = *config;
    partition->owner = (struct log_owner){on_advance, on_failure, on_full};
    list_init(&partition->link);
    list_init(&partition->waiters);
    list_init(&partition->held);
    struct partition_key key = {topic_id, index};
    enum err err = map_insert(partitions, key_hash(partitions, &key), partition);
    if (err != ERR_OK) {
        free(partition);
        return err;
    }
    *out = partition;
    return ERR_OK;
}

void partition_detach(struct map *partitions, struct partition *partition)
{
    struct partition_key key = {partition->topic_id, partition->index};
    void *removed = map_remove(partitions, key_hash(partitions, &key), &key);
    ASSERT(removed == partition);
    partition_release(partition);
    partition_look_again(partition);
}

void partition_look_again(struct partition *partition)
{
    on_advance(&partition->owner, PARTITION_LOOK_AGAIN);
}

void partition_take_offline(struct partition *partition)
{
    if (partition->log)
        log_take_offline(partition->log);
    partition_look_again(partition);
}

void partition_free(struct partition *partition)
{
    ASSERT(!partition->log && list_is_empty(&partition->waiters));
    free(partition);
}

void partition_set_config(struct partition *partition, const struct partition_config *config)
{
    partition->config = *config;
    if (partition->log)
        log_set_config(partition->log, &config->log);
}

int64_t partition_high_watermark(const struct partition *partition)
{
    return log_end_offset(partition->log);
}

int64_t partition_last_stable_offset(const struct partition *partition)
{
    return log_last_stable_offset(partition->log, partition_high_watermark(partition));
}

enum err partition_check_epoch(const struct partition *partition, int32_t epoch)
{
    if (epoch < 0 || epoch == partition->leader_epoch)
        return ERR_OK;
    return epoch < partition->leader_epoch ? ERR_FENCED_LEADER_EPOCH : ERR_UNKNOWN_LEADER_EPOCH;
}

void partition_waiter_init(struct partition_waiter *waiter,
                           void (*fn)(struct partition_waiter *waiter, size_t bytes))
{
    list_init(&waiter->link);
    waiter->fn = fn;
}

void partition_wait(struct partition *partition, struct partition_waiter *waiter)
{
    ASSERT(!list_is_linked(&waiter->link));
    list_push_back(&partition->waiters, &waiter->link);
}

void partition_unwait(struct partition_waiter *waiter)
{
    list_remove(&waiter->link);
}

/* --- producing --- */

static void append_end(struct partition_append *append, enum err err)
{
    append->err = err;
    append->log_start_offset =
        append->partition->log ? log_start_offset(append->partition->log) : -1;
    buf_deinit(&append->rewritten);
    append->done(append);
}

static void on_appended(struct log_append *op)
{
    struct partition_append *append = CONTAINER_OF(op, struct partition_append, op);
    append->base_offset = op->base_offset;
    if (op->is_duplicate)
        append->log_append_ms = op->log_append_ms;
    append_end(append, op->err);
}

/* The batch as it goes to the log: recompressed or timed anew where the topic asks for it. */
static enum err shape_batch(struct partition_append *append, const struct batch_rules *rules)
{
    struct batch_verdict *verdict = append->verdict;
    uint8_t *data = append->records;
    append->op.batches = data;
    append->op.len = verdict->batch.size;
    if (verdict->needs_rewrite) {
        TRY(batch_rewrite(append->compressors, &verdict->batch, append->scratch,
                          verdict->compression_out, append->partition->config.compression_level,
                          &append->rewritten));
        data = append->rewritten.data;
        append->op.batches = data;
        append->op.len = append->rewritten.len;
        if (append->op.len > (size_t)rules->batch_bytes_max)
            return ERR_MESSAGE_TOO_LARGE;
    }
    if (verdict->needs_timestamp)
        batch_stamp_timestamp(data, verdict->max_timestamp, rules->has_log_append_time, NULL);
    return ERR_OK;
}

void partition_hold(struct partition *partition)
{
    partition->is_held = true;
}

void partition_release(struct partition *partition)
{
    struct list *node;
    partition->is_held = false;
    while (!partition->is_held && (node = list_pop_front(&partition->held)) != NULL)
        partition_append(partition, LIST_ENTRY(node, struct partition_append, link));
}

void partition_append(struct partition *partition, struct partition_append *append)
{
    append->partition = partition;
    if (partition->is_held) {
        list_init(&append->link);
        list_push_back(&partition->held, &append->link);
        return;
    }
    append->base_offset = -1;
    append->log_append_ms = -1;
    buf_init(&append->rewritten, BUF_NO_LIMIT);
    append->verdict->text[0] = '\0';
    append->verdict->record_error_count = 0;
    if (!partition->log) {
        append_end(append, ERR_KAFKA_STORAGE_ERROR);
        return;
    }
    struct batch_rules rules = partition->config.rules;
    rules.produce_version = append->produce_version;
    rules.now_ms = append->now_ms;
    struct slice records = {append->records, append->len};
    enum err err =
        batch_check(append->compressors, append->scratch, records, &rules, append->verdict);
    if (err == ERR_OK)
        err = shape_batch(append, &rules);
    if (err != ERR_OK) {
        append_end(append, err);
        return;
    }
    if (rules.has_log_append_time)
        append->log_append_ms = rules.now_ms;
    append->op.kind = LOG_APPEND_LEADER;
    append->op.leader_epoch = partition->leader_epoch;
    append->op.now_ms = append->now_ms;
    append->op.sync = append->sync && !partition->config.has_write_caching;
    append->op.done = on_appended;
    log_append(partition->log, &append->op);
}
