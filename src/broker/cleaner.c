/* Compaction as a shard does it: every log.cleaner.backoff.ms it looks at its compacted partitions,
 * and one pass after the other runs over the dirtiest that is due, until none is.
 *
 * Runs on: each shard for the partitions that it owns. A pass works in steps of at most STEP_BYTES,
 * one in a turn of the loop, so that requests wait no longer than for one of them; its flushes do
 * not block. Only what lies below the recovery point in the checkpoint file is compacted: above it,
 * a start after a crash may take a gap in the offsets for a loss. A partition whose pass failed is
 * named in the log and left alone until more of it could be compacted. */
#include "broker/cleaner.h"

#include "base/assert.h"
#include "broker/node.h"
#include "log/compact.h"
#include "meta/config_def.h"

#define STEP_BYTES      ((size_t)512 << 10)
#define MS              UINT64_C(1000000)
#define LOOK_AGAIN_MS   1500
#define LOAD_FACTOR_MIN 0.1
#define LOAD_FACTOR_MAX 0.95

static struct str setting(const struct cleaner *cleaner, struct str key)
{
    const struct node *node = cleaner->shard->node;
    struct config_view view = {cleaner->shard->image, &node->config->texts, node->config->node_id};
    enum config_source source;
    return config_broker_value(&view, config_def_find(CONFIG_SCOPE_BROKER, key), &source);
}

static void look_after_ms(struct cleaner *cleaner, uint64_t delay_ms)
{
    struct io *io = cleaner->shard->io;
    io_timer_start(io, &cleaner->timer, io_now_ns(io) + delay_ms * MS + 1); /* in another turn */
}

static void back_off(struct cleaner *cleaner)
{
    int64_t backoff_ms = config_value_i64(setting(cleaner, STR("log.cleaner.backoff.ms")));
    look_after_ms(cleaner, backoff_ms > 0 ? (uint64_t)backoff_ms : 1);
}

/* Below it compaction may work; asks for a newer checkpoint where that holds it back. */
static int64_t stable_offset(struct cleaner *cleaner, const struct partition *partition,
                             bool *is_held_back)
{
    struct hosting *hosting = &cleaner->shard->node->hosting;
    const struct hosting_shard *own = &hosting->shards[cleaner->shard->index];
    bool is_written = atomic_load(&hosting->checkpoints_written) >= own->checkpoint;
    int64_t offset = is_written ? partition->recovery_point : 0;
    if (offset < log_active_base_offset(partition->log)) {
        atomic_store(&hosting->is_checkpoint_wanted, true);
        *is_held_back = true;
    }
    int64_t high_watermark = partition_high_watermark(partition);
    return offset < high_watermark ? offset : high_watermark;
}

static struct partition *choose(struct cleaner *cleaner, struct compact_plan *best,
                                bool *is_held_back)
{
    struct shard *shard = cleaner->shard;
    struct partition *dirtiest = NULL;
    struct map_iter iter;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        struct compact_plan plan;
        if (!partition->log || !partition->config.log.is_compacted)
            continue;
        int64_t stable = stable_offset(cleaner, partition, is_held_back);
        enum err err = log_compact_look(partition->log, stable, io_wall_ms(shard->io), &plan);
        if (err != ERR_OK)
            diag_warn("cleaner", "%.*s-%d cannot be looked at: %s", STR_ARG(partition->topic),
                      partition->index, err_text(err));
        if (err != ERR_OK || !plan.is_due || plan.end_offset == partition->uncompacted_end)
            continue;
        if (!dirtiest || plan.dirty_ratio > best->dirty_ratio) {
            dirtiest = partition;
            *best = plan;
        }
    }
    return dirtiest;
}

static void give_up(struct cleaner *cleaner, struct partition *partition, enum err err,
                    const char *text)
{
    cleaner->is_running = false;
    if (partition && err != ERR_CANCELLED) {
        partition->uncompacted_end = cleaner->end_offset;
        diag_warn("cleaner", "%.*s-%d cannot be compacted: %s", STR_ARG(partition->topic),
                  partition->index, text[0] ? text : err_text(err));
    }
    back_off(cleaner);
}

static void begin(struct cleaner *cleaner)
{
    struct shard *shard = cleaner->shard;
    struct compact_plan plan;
    bool is_held_back = false;
    struct partition *partition = NULL;
    if (config_value_bool(setting(cleaner, STR("log.cleaner.enable"))))
        partition = choose(cleaner, &plan, &is_held_back);
    if (!partition) {
        cleaner->has_asked = is_held_back && !cleaner->has_asked;
        if (cleaner->has_asked)
            look_after_ms(cleaner, LOOK_AGAIN_MS);
        else
            back_off(cleaner);
        return;
    }
    int64_t bytes = config_value_i64(setting(cleaner, STR("log.cleaner.dedupe.buffer.size")));
    double load = config_value_f64(setting(cleaner, STR("log.cleaner.io.buffer.load.factor")));
    struct compact_options options = {
        .map_bytes_max = (uint64_t)(bytes > 0 ? bytes : 0) / shard->node->shard_count,
        .load_factor = load < LOAD_FACTOR_MIN   ? LOAD_FACTOR_MIN
                       : load > LOAD_FACTOR_MAX ? LOAD_FACTOR_MAX
                                                : load,
        .now_ms = io_wall_ms(shard->io),
        .compressors = &shard->compressors,
    };
    cleaner->topic_id = partition->topic_id;
    cleaner->index = partition->index;
    cleaner->end_offset = plan.end_offset;
    enum err err = log_compact_begin(partition->log, &plan, &options);
    if (err != ERR_OK) {
        give_up(cleaner, partition, err, "");
        return;
    }
    cleaner->is_running = true;
    look_after_ms(cleaner, 0);
}

static void step(struct cleaner *cleaner)
{
    struct shard *shard = cleaner->shard;
    struct partition *partition =
        partitions_find(&shard->partitions, cleaner->topic_id, cleaner->index);
    struct compact_result result;
    struct log_problem problem;
    bool is_done;
    size_t moved;
    if (partition && partition->log && !partition->config.log.is_compacted)
        log_compact_abort(partition->log);
    if (!partition || !partition->log) {
        give_up(cleaner, NULL, ERR_CANCELLED, "");
        return;
    }
    enum err err =
        log_compact_step(partition->log, STEP_BYTES, &moved, &is_done, &result, &problem);
    if (err != ERR_OK) {
        give_up(cleaner, partition, err, problem.text);
        return;
    }
    if (is_done) {
        cleaner->is_running = false;
        atomic_store(&shard->node->hosting.is_checkpoint_wanted, true);
        diag_info("cleaner", "%.*s-%d: compacted from %lld to %lld: %llu bytes read, %llu left",
                  STR_ARG(partition->topic), partition->index, (long long)result.first_dirty_offset,
                  (long long)result.end_offset, (unsigned long long)result.bytes_read,
                  (unsigned long long)result.bytes_written);
    }
    look_after_ms(cleaner, moved == 0 ? 1 : 0);
}

static void on_timer(struct io_timer *timer)
{
    struct cleaner *cleaner = CONTAINER_OF(timer, struct cleaner, timer);
    if (cleaner->is_running)
        step(cleaner);
    else
        begin(cleaner);
}

void cleaner_start(struct cleaner *cleaner, struct shard *shard)
{
    *cleaner = (struct cleaner){.shard = shard};
    io_timer_init(&cleaner->timer, on_timer);
    back_off(cleaner);
}

void cleaner_stop(struct cleaner *cleaner)
{
    if (cleaner->shard)
        io_timer_stop(cleaner->shard->io, &cleaner->timer);
}
