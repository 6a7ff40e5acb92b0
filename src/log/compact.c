/* Compaction as the log's shard sees it: what is due, a pass, and the new segments' installation.
 *
 * Runs on: the shard that owns the log. The long work of a pass is a job beside the loop
 * (compact_job.c), which is given copies of names and sizes and writes files of its own. It comes
 * back after each new segment; here the segment is put in the old ones' place, in two turns, with
 * the flush of the names, a job again, in between:
 *
 *   COMPACT_WORKING    the job maps keys or writes the next segment
 *   COMPACT_SWAPPING   the new segment has its .swap names, and they become durable: from here on
 *                      the old segments must stay until the new one has taken their place
 *   COMPACT_SWAPPED    it has; the names become durable again
 *
 * What is touched lies below the flushed offset, is sealed, and is never the active segment. Who
 * removes a segment ends the pass first (log_compact_abort), so that what comes back from a job is
 * installed only where all is as it was when the pass began: what was deleted stays deleted.
 *
 * A crash leaves `.cleaned` files, which the next start removes, or `.swap` files, with which it
 * completes the replacement. The checkpoint of what was compacted may be old: it only makes the
 * next pass longer. */
#include "log/compact.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "log/compact_job.h"
#include "log/internal.h"

/* A log whose pass failed is left alone for a minute, then for two, up to about an hour. */
#define RETRY_MS            UINT64_C(60000)
#define RETRY_DOUBLINGS_MAX 6

enum compact_state { COMPACT_WORKING, COMPACT_SWAPPING, COMPACT_SWAPPED };

struct compaction {
    struct log *log;
    enum compact_state state;
    struct compact_job job;
    bool is_given_up;
    compact_done *done;
    void *arg;
};

int64_t log_cleaned_offset(const struct log *log)
{
    return log->cleaned_offset;
}

void log_set_cleaned_offset(struct log *log, int64_t offset)
{
    log->cleaned_offset = offset;
}

/* --- what there is to do --- */

static enum err roll_by_lag(struct log *log, int64_t now_ms)
{
    const struct segment *active = log_active(log);
    int64_t lag_ms = log->config.max_compaction_lag_ms;
    if (lag_ms == INT64_MAX || active->size == 0 || !list_is_empty(&log->writing))
        return ERR_OK;
    int64_t since_ms = active->first_timestamp >= 0 ? active->first_timestamp : active->created_ms;
    if (now_ms - since_ms <= lag_ms)
        return ERR_OK;
    enum err err = log_roll(log, log->next_offset, now_ms);
    if (err != ERR_OK && err != ERR_NOSPACE && err != ERR_NOMEM)
        log_fail(log, err, "a new segment could not be made");
    return err;
}

/* Adds up the dirty segments that may be compacted; *first_ms: the oldest first timestamp. */
static enum err measure_dirty(struct log *log, size_t from, int64_t limit, int64_t now_ms,
                              struct compact_plan *plan, int64_t *first_ms)
{
    const struct log_config *config = &log->config;
    *first_ms = INT64_MAX;
    for (size_t at = from; at + 1 < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        int64_t end_offset = segment_end_offset(log, at);
        if (end_offset > limit)
            break;
        if (config->min_compaction_lag_ms > 0) {
            TRY(segment_learn_time(log, segment));
            if (segment->max_timestamp > now_ms - config->min_compaction_lag_ms)
                break;
        }
        if (config->max_compaction_lag_ms < INT64_MAX) {
            TRY(segment_learn_first_time(log, segment));
            if (segment->first_timestamp >= 0 && segment->first_timestamp < *first_ms)
                *first_ms = segment->first_timestamp;
        }
        if (end_offset <= plan->first_dirty_offset)
            continue;
        plan->dirty_bytes += segment->size;
        plan->end_offset = end_offset;
    }
    return ERR_OK;
}

static bool is_held_back(const struct log *log, const struct compact_plan *plan)
{
    const struct compact_failure *failure = &log->compact_failure;
    return failure->text && plan->end_offset == failure->end_offset &&
           io_now_ms(log->io) < failure->retry_ms;
}

static bool is_due(const struct log *log, const struct compact_plan *plan, int64_t first_ms,
                   int64_t now_ms)
{
    const struct log_config *config = &log->config;
    if (plan->dirty_bytes == 0 || is_held_back(log, plan))
        return false;
    if (plan->dirty_ratio > config->min_cleanable_dirty_ratio)
        return true;
    return first_ms < INT64_MAX && config->max_compaction_lag_ms < INT64_MAX &&
           now_ms - first_ms > config->max_compaction_lag_ms;
}

enum err log_compact_look(struct log *log, int64_t stable_offset, int64_t now_ms,
                          struct compact_plan *plan)
{
    *plan = (struct compact_plan){0};
    if (!log->config.is_compacted || log->is_offline || log->compaction)
        return ERR_OK;
    TRY(roll_by_lag(log, now_ms));
    int64_t limit = log_active(log)->base_offset;
    if (log->flushed_offset < limit)
        log_flush(log);
    if (log->flushed_offset < limit)
        limit = log->flushed_offset;
    if (stable_offset < limit)
        limit = stable_offset;
    int64_t open_offset = producers_first_open(&log->producers);
    if (open_offset < limit)
        limit = open_offset; /* whether it is aborted is not known yet */
    plan->first_dirty_offset = log->start_offset;
    if (log->cleaned_offset > log->start_offset && log->cleaned_offset <= log->end_offset)
        plan->first_dirty_offset = log->cleaned_offset;
    plan->end_offset = plan->first_dirty_offset;
    size_t from = log_segment_at(log, plan->first_dirty_offset);
    for (size_t i = 0; i < from; i++)
        plan->clean_bytes += log->segments[i]->size;
    int64_t first_ms;
    TRY(measure_dirty(log, from, limit, now_ms, plan, &first_ms));
    if (plan->dirty_bytes > 0)
        plan->dirty_ratio =
            (double)plan->dirty_bytes / (double)(plan->clean_bytes + plan->dirty_bytes);
    plan->is_due = is_due(log, plan, first_ms, now_ms);
    return ERR_OK;
}

/* --- installing --- */

static void remove_cleaned(struct log *log, int64_t base_offset)
{
    static const char *const suffixes[] = {".log.cleaned", ".index.cleaned", ".timeindex.cleaned",
                                           ".txnindex.cleaned"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        log_unlink_file(log, base_offset, suffixes[i]);
}

static void note_outcome(struct compaction *pass, enum err err)
{
    struct compact_failure *failure = &pass->log->compact_failure;
    const char *why = pass->job.problem.text;
    if (err == ERR_CANCELLED)
        return;
    free(failure->text);
    failure->text = NULL;
    if (err == ERR_OK) {
        failure->count = 0;
        return;
    }
    failure->text = strdup(why[0] ? why : err_text(err)); /* NULL: tried again at once */
    failure->end_offset = pass->job.end_offset;
    uint32_t doublings =
        failure->count < RETRY_DOUBLINGS_MAX ? failure->count : RETRY_DOUBLINGS_MAX;
    failure->retry_ms = io_now_ms(pass->log->io) + (RETRY_MS << doublings);
    failure->count++;
}

void compact_retry(struct log *log)
{
    log->compact_failure.retry_ms = 0;
}

const char *log_compact_problem(const struct log *log)
{
    return log->compact_failure.text;
}

static void end_pass(struct compaction *pass, enum err err)
{
    struct log *log = pass->log;
    struct compact_job *job = &pass->job;
    note_outcome(pass, err);
    if (err != ERR_OK && job->has_write_failed && err != ERR_NOSPACE)
        log_fail(log, err, "a compacted segment could not be written");
    if (job->cleaned && pass->state == COMPACT_WORKING && !log->is_offline)
        remove_cleaned(log, job->cleaned->base_offset);
    log->compaction = NULL;
    pass->done(pass->arg, err, &job->result, job->problem.text);
    compact_job_deinit(job);
    free(pass);
}

static void on_job(struct io_op *op);

static void start_job(struct compaction *pass, enum compact_phase phase)
{
    pass->job.phase = phase;
    pass->log->jobs++;
    io_job_start(pass->log->io, &pass->job.io_job, compact_job_step, on_job);
}

/* The group's new segment is on the disk. */
static enum err begin_swap(struct compaction *pass)
{
    struct compact_job *job = &pass->job;
    const struct log *log = pass->log;
    ASSERT(pass->job.place + job->group_count < log->segment_count);
    for (size_t i = 0; i < job->group_count; i++) {
        const struct segment *old = log->segments[pass->job.place + i];
        ASSERT(old->base_offset == job->sources[job->group_first + i].base_offset &&
               old->size == job->sources[job->group_first + i].size && old->is_sealed);
    }
    TRY(compact_name_swap(pass->log, job->cleaned, job->has_txnindex));
    pass->state = COMPACT_SWAPPING;
    start_job(pass, COMPACT_NAMES);
    return ERR_OK;
}

static enum err end_swap(struct compaction *pass)
{
    struct compact_job *job = &pass->job;
    TRY(compact_replace(pass->log, pass->job.place, job->group_count, job->cleaned,
                        job->has_txnindex));
    job->cleaned = NULL;
    pass->job.place++;
    pass->state = COMPACT_SWAPPED;
    start_job(pass, COMPACT_NAMES);
    return ERR_OK;
}

/* What the job has to know of aborted transactions. The active segment's are in memory, so that
 * what it reads of the others is there to stay. */
static enum err copy_aborted(struct compaction *pass)
{
    struct log *log = pass->log;
    struct compact_job *job = &pass->job;
    if (log->is_aborted_known && !log->has_aborted)
        return ERR_OK;
    TRY(aborted_load(log, log_active(log)));
    job->unread = calloc(log->segment_count, sizeof(*job->unread));
    if (!job->unread)
        return ERR_NOMEM;
    for (size_t at = 0; at < log->segment_count; at++) {
        const struct segment *segment = log->segments[at];
        if (!segment->aborted.is_loaded)
            job->unread[job->unread_count++] = segment->base_offset;
        for (size_t i = 0; i < segment->aborted.list.count; i++)
            TRY(txn_list_add(&job->aborted, &segment->aborted.list.items[i]));
    }
    return ERR_OK;
}

/* An index of aborted transactions was damaged: it is built anew here, and the job begins again. */
static enum err begin_again(struct compaction *pass)
{
    struct log *log = pass->log;
    struct compact_job *job = &pass->job;
    int64_t base_offset = job->unread[job->unread_at];
    struct segment *segment = log->segments[log_segment_at(log, base_offset)];
    ASSERT(segment->base_offset == base_offset && !job->has_begun);
    TRY(aborted_load(log, segment));
    txn_list_deinit(&job->aborted);
    free(job->unread);
    job->unread = NULL;
    job->unread_count = job->unread_at = 0;
    job->is_index_damaged = false;
    job->problem.text[0] = '\0';
    TRY(copy_aborted(pass));
    start_job(pass, COMPACT_MAP);
    return ERR_OK;
}

/* A job came back. */
static enum err go_on(struct compaction *pass, bool *is_done)
{
    struct log *log = pass->log;
    enum err err = pass->job.err;
    if (log->is_offline)
        return ERR_KAFKA_STORAGE_ERROR;
    if (pass->state == COMPACT_WORKING) {
        if (pass->is_given_up)
            return ERR_CANCELLED;
        if (pass->job.is_index_damaged)
            return begin_again(pass);
        TRY(err);
        *is_done = !pass->job.cleaned;
        err = *is_done ? ERR_OK : begin_swap(pass);
    } else {
        bool is_over = compact_job_is_over(&pass->job);
        if (err == ERR_OK && pass->state == COMPACT_SWAPPING) {
            err = end_swap(pass);
        } else if (err == ERR_OK && (is_over || pass->is_given_up)) {
            *is_done = is_over;
            return is_over ? ERR_OK : ERR_CANCELLED;
        } else if (err == ERR_OK) {
            pass->state = COMPACT_WORKING;
            start_job(pass, COMPACT_WRITE);
        }
    }
    if (err != ERR_OK)
        log_fail(log, err, "a compacted segment could not be put in its place");
    return err;
}

static void on_job(struct io_op *op)
{
    struct compaction *pass = CONTAINER_OF(op, struct compaction, job.io_job.op);
    ASSERT(pass->log->jobs > 0 && pass->log->compaction == pass);
    pass->log->jobs--;
    bool is_done = false;
    enum err err = go_on(pass, &is_done);
    if (is_done)
        pass->log->cleaned_offset = pass->job.map_end_offset;
    if (err != ERR_OK || is_done)
        end_pass(pass, err);
}

/* --- the pass --- */

static enum err copy_sources(struct compaction *pass)
{
    struct log *log = pass->log;
    struct compact_job *job = &pass->job;
    job->sources = calloc(log->segment_count, sizeof(*job->sources));
    if (!job->sources)
        return ERR_NOMEM;
    for (size_t i = 0; i + 1 < log->segment_count; i++) {
        const struct segment *segment = log->segments[i];
        if (segment->base_offset >= job->end_offset)
            break;
        job->sources[job->source_count++] = (struct compact_source){
            segment->base_offset, segment_end_offset(log, i), segment->created_ms, segment->size};
    }
    return ERR_OK;
}

static enum err copy_producers(struct compaction *pass)
{
    struct compact_job *job = &pass->job;
    const struct producers *producers = &pass->log->producers;
    size_t count = producers->map.count;
    if (count == 0)
        return ERR_OK;
    const struct producer **all = calloc(count, sizeof(struct producer *));
    job->producers = calloc(count, sizeof(*job->producers));
    if (!all || !job->producers) {
        free(all);
        return ERR_NOMEM;
    }
    producers_list(producers, all);
    for (size_t i = 0; i < count; i++) {
        const struct producer *from = all[i];
        job->producers[i] = (struct compact_producer){from->id, -1, from->epoch};
        if (from->batch_count > 0)
            job->producers[i].last_offset = from->batches[from->batch_count - 1].last_offset;
    }
    job->producer_count = count;
    free(all);
    return ERR_OK;
}

static enum err copy_files(struct compaction *pass)
{
    struct log *files = &pass->job.files;
    files->dir = strdup(pass->log->dir);
    if (!files->dir)
        return ERR_NOMEM;
    files->config = pass->log->config;
    files->config.segment_jitter_ms = 0; /* chance is the loop's */
    return ERR_OK;
}

enum err log_compact_begin(struct log *log, const struct compact_plan *plan,
                           const struct compact_options *options)
{
    ASSERT(!log->compaction && !log->is_offline);
    ASSERT(plan->first_dirty_offset < plan->end_offset && plan->dirty_bytes > 0);
    ASSERT(plan->end_offset <= log_active(log)->base_offset);
    TRY(log_mark(log, MANIFEST_ROLLED, false)); /* there will be files that a start has to remove */
    struct compaction *pass = calloc(1, sizeof(*pass));
    if (!pass)
        return ERR_NOMEM;
    pass->log = log;
    pass->done = options->done;
    pass->arg = options->arg;
    struct compact_job *job = &pass->job;
    compact_job_init(job);
    job->first_dirty_offset = job->map_end_offset = plan->first_dirty_offset;
    job->result.first_dirty_offset = plan->first_dirty_offset;
    job->end_offset = plan->end_offset;
    job->now_ms = options->now_ms;
    int64_t retention_ms = log->config.delete_retention_ms;
    job->delete_horizon_ms =
        options->now_ms > INT64_MAX - retention_ms ? INT64_MAX : options->now_ms + retention_ms;
    job->filter.delete_horizon_ms = job->delete_horizon_ms;
    job->map_bytes_max = options->map_bytes_max;
    job->load_factor = options->load_factor;
    job->pace = options->pace;
    for (size_t i = 0; i < ARRAY_LEN(job->seeds); i++)
        job->seeds[i] = io_random(log->io);
    enum err err = copy_sources(pass);
    if (err == ERR_OK)
        err = copy_producers(pass);
    if (err == ERR_OK)
        err = copy_files(pass);
    if (err == ERR_OK)
        err = copy_aborted(pass);
    if (err != ERR_OK) {
        compact_job_deinit(job);
        free(pass);
        return err;
    }
    log->compaction = pass;
    start_job(pass, COMPACT_MAP);
    return ERR_OK;
}

bool log_is_compacting(const struct log *log)
{
    return log->compaction != NULL;
}

void log_compact_abort(struct log *log)
{
    struct compaction *pass = log->compaction;
    if (!pass)
        return;
    pass->is_given_up = true;
    if (pass->state == COMPACT_WORKING)
        io_job_cancel(log->io, &pass->job.io_job);
}

bool compact_is_swapping(const struct log *log)
{
    return log->compaction && log->compaction->state == COMPACT_SWAPPING;
}
