/* Compaction as a broker does it: every log.cleaner.backoff.ms each shard looks at its compacted
 * partitions and begins a pass over the dirtiest that is due, and another when that is over, until
 * none is.
 *
 * Runs on: each shard for the partitions that it owns. The passes work beside the loops; all shards
 * together have log.cleaner.threads of them, which share log.cleaner.dedupe.buffer.size and
 * log.cleaner.io.max.bytes.per.second. Only what lies below the recovery point in the checkpoint
 * file is compacted: above it, a start after a crash may take a gap in the offsets for a loss. */
#include "broker/cleaner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/node.h"
#include "log/compact.h"
#include "meta/config_def.h"

#define MS              UINT64_C(1000000)
#define LOOK_AGAIN_MS   250
#define LOOKS_IN_A_ROW  8
#define NO_THREAD_MS    250
#define PASSES_MAX      8
#define RATE_UNLIMITED  1e15
#define LOAD_FACTOR_MIN 0.1
#define LOAD_FACTOR_MAX 0.95

/* Lent to the log until its pass is over. */
struct pass {
    struct cleaner *cleaner;
    char name[]; /* TOPIC-PARTITION */
};

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
        if (!partition->log || !partition->config.log.is_compacted || partition->move)
            continue; /* its files are copied as they are */
        int64_t stable = stable_offset(cleaner, partition, is_held_back);
        enum err err = log_compact_look(partition->log, stable, io_wall_ms(shard->io), &plan);
        if (err != ERR_OK)
            diag_warn("cleaner", "%.*s-%d cannot be looked at: %s", STR_ARG(partition->topic),
                      partition->index, err_text(err));
        if (err != ERR_OK || !plan.is_due)
            continue;
        if (!dirtiest || plan.dirty_ratio > best->dirty_ratio) {
            dirtiest = partition;
            *best = plan;
        }
    }
    return dirtiest;
}

/* Speed, for passes under way too, as it is set now. */
static void set_pace(struct cleaner *cleaner)
{
    double rate = config_value_f64(setting(cleaner, STR("log.cleaner.io.max.bytes.per.second")));
    pace_set(&cleaner->shard->node->hosting.cleaning.pace, rate >= RATE_UNLIMITED ? 0
                                                           : rate < 1             ? 1
                                                                                  : (uint64_t)rate);
}

static void set_memory(struct cleaner *cleaner, uint32_t threads, struct compact_options *options)
{
    int64_t bytes = config_value_i64(setting(cleaner, STR("log.cleaner.dedupe.buffer.size")));
    double load = config_value_f64(setting(cleaner, STR("log.cleaner.io.buffer.load.factor")));
    options->map_bytes_max = (uint64_t)(bytes > 0 ? bytes : 0) / threads;
    options->load_factor = load < LOAD_FACTOR_MIN   ? LOAD_FACTOR_MIN
                           : load > LOAD_FACTOR_MAX ? LOAD_FACTOR_MAX
                                                    : load;
}

static bool take_thread(struct cleaner_node *node, uint32_t threads)
{
    uint32_t passes = atomic_load(&node->passes);
    while (passes < threads) {
        if (atomic_compare_exchange_weak(&node->passes, &passes, passes + 1))
            return true;
    }
    return false;
}

static void on_pass_done(void *arg, enum err err, const struct compact_result *result,
                         const char *why)
{
    struct pass *pass = arg;
    struct cleaner *cleaner = pass->cleaner;
    struct hosting *hosting = &cleaner->shard->node->hosting;
    uint64_t *counts = cleaner->shard->metrics.counts;
    counts[METRICS_COMPACTIONS] += err == ERR_OK;
    counts[METRICS_COMPACTIONS_FAILED] += err != ERR_OK && err != ERR_CANCELLED;
    counts[METRICS_COMPACTION_BYTES_READ] += result->bytes_read;
    counts[METRICS_COMPACTION_BYTES_WRITTEN] += result->bytes_written;
    atomic_fetch_sub(&hosting->cleaning.passes, 1);
    cleaner->passes--;
    if (err == ERR_OK) {
        atomic_store(&hosting->is_checkpoint_wanted, true);
        diag_info("cleaner", "%s: compacted from %lld to %lld: %llu bytes read, %llu left",
                  pass->name, (long long)result->first_dirty_offset, (long long)result->end_offset,
                  (unsigned long long)result->bytes_read,
                  (unsigned long long)result->bytes_written);
    } else if (err != ERR_CANCELLED) {
        diag_warn("cleaner",
                  "%s cannot be compacted: %s. It is tried again later, and when its "
                  "settings or its records change",
                  pass->name, why[0] ? why : err_text(err));
    }
    free(pass);
    if (!cleaner->is_stopped)
        look_after_ms(cleaner, 0);
}

static enum err begin_pass(struct cleaner *cleaner, struct partition *partition,
                           const struct compact_plan *plan, uint32_t threads)
{
    size_t name_bytes = partition->topic.len + sizeof("-2147483647");
    struct pass *pass = malloc(sizeof(*pass) + name_bytes);
    if (!pass)
        return ERR_NOMEM;
    pass->cleaner = cleaner;
    snprintf(pass->name, name_bytes, "%.*s-%d", STR_ARG(partition->topic), partition->index);
    struct compact_options options = {.now_ms = io_wall_ms(cleaner->shard->io),
                                      .pace = &cleaner->shard->node->hosting.cleaning.pace,
                                      .done = on_pass_done,
                                      .arg = pass};
    set_memory(cleaner, threads, &options);
    enum err err = log_compact_begin(partition->log, plan, &options);
    if (err != ERR_OK)
        free(pass);
    else
        cleaner->passes++;
    return err;
}

/* Begins one pass, if there is a thread and a log for it. */
static void look(struct cleaner *cleaner)
{
    struct cleaner_node *node = &cleaner->shard->node->hosting.cleaning;
    int64_t threads = config_value_i64(setting(cleaner, STR("log.cleaner.threads")));
    if (threads > PASSES_MAX)
        threads = PASSES_MAX;
    set_pace(cleaner);
    if (threads <= 0 || !config_value_bool(setting(cleaner, STR("log.cleaner.enable")))) {
        back_off(cleaner);
        return;
    }
    if (!take_thread(node, (uint32_t)threads)) {
        look_after_ms(cleaner, NO_THREAD_MS);
        return;
    }
    struct compact_plan plan;
    bool is_held_back = false;
    struct partition *partition = choose(cleaner, &plan, &is_held_back);
    enum err err = ERR_OK;
    if (partition)
        err = begin_pass(cleaner, partition, &plan, (uint32_t)threads);
    if (partition && err == ERR_OK) {
        look_after_ms(cleaner, 0); /* for another one beside it */
        return;
    }
    atomic_fetch_sub(&node->passes, 1);
    if (err != ERR_OK)
        diag_warn("cleaner", "%.*s-%d cannot be compacted: %s", STR_ARG(partition->topic),
                  partition->index, err_text(err));
    /* The checkpoint that was asked for comes within a second or two. */
    cleaner->looks = is_held_back ? cleaner->looks + 1 : 0;
    if (cleaner->looks % LOOKS_IN_A_ROW > 0)
        look_after_ms(cleaner, LOOK_AGAIN_MS);
    else
        back_off(cleaner);
}

static void on_timer(struct io_timer *timer)
{
    look(CONTAINER_OF(timer, struct cleaner, timer));
}

void cleaner_start(struct cleaner *cleaner, struct shard *shard)
{
    *cleaner = (struct cleaner){.shard = shard};
    io_timer_init(&cleaner->timer, on_timer);
    back_off(cleaner);
}

void cleaner_stop(struct cleaner *cleaner)
{
    cleaner->is_stopped = true;
    if (cleaner->shard)
        io_timer_stop(cleaner->shard->io, &cleaner->timer);
}
