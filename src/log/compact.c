/* Compaction: a pass over one log, in bounded steps.
 *
 * Runs on: the shard that owns the log, in its turns; one step works on as many bytes as its caller
 * says and waits for the disk while it reads and writes them. The flush of a new segment does not
 * wait. A pass has two halves:
 *
 *   map    The dirty part is read, from the offset up to which the log was compacted before to the
 *          end of what may be compacted. Each key's newest offset goes to the offset map. Where the
 *          map is full, the pass ends at the offset that it came to.
 *   write  From the first segment on to where the map ends, segments are written anew without the
 *          records that the map knows a newer one for. As many as fit segment.bytes, the index
 *          size and 31 bits of offsets become one segment. It is flushed, and takes the place of
 *          the old ones (compact_files.c).
 *
 * What stays (keep_record, batch_fate): the newest record of each key, all records past the map's
 * end, a tombstone until delete.retention.ms after it was first met by a pass, every control
 * batch, and of each producer the batch that it wrote last, empty if need be, so that its sequence
 * is still known when the snapshots are gone. A transaction's records are decided on by a marker
 * that lies elsewhere: a log that holds some is left alone.
 *
 * What is touched lies below the flushed offset, is sealed, and is never the active segment. A
 * crash leaves `.cleaned` files, which the next start removes, or `.swap` files, with which it
 * completes the replacement. The checkpoint of what was compacted may be old: it only makes the
 * next pass longer. */
#include "log/compact.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "log/internal.h"
#include "log/offset_map.h"
#include "wire/batch_filter.h"

#define READ_CHUNK_BYTES   ((size_t)1 << 20)
#define WRITE_CHUNK_BYTES  ((size_t)1 << 20)
#define UNPACKED_BYTES_MAX ((size_t)256 << 20)

enum compact_state {
    COMPACT_MAPPING,
    COMPACT_WRITING,
    COMPACT_FLUSHING, /* the new segment; goes on in on_flushed */
    COMPACT_FLUSHED,
};

struct compaction {
    struct log *log;
    enum compact_state state;
    struct compact_plan plan;
    int64_t now_ms; /* the time that counts for all of the pass */
    struct compressors *compressors;
    struct log_problem *problem; /* during a step */
    struct compact_result result;

    struct offset_map map;
    int64_t map_end_offset; /* the map knows all keys from first_dirty_offset to here */

    /* The segment that is read, by its place in the log: nothing before it changes in a pass. */
    size_t at;
    uint32_t position;
    int64_t next_offset; /* the least that the next batch may begin with */
    uint8_t *input;
    size_t input_cap, input_len;
    uint32_t input_position; /* of input[0] in the file */
    size_t moved;

    size_t group_first, group_count;
    struct segment *cleaned; /* NULL: no group is begun */
    struct buf out;          /* of it, not yet in the file */
    struct batch_filter filter;
    const struct batch *batch; /* that is filtered */
    bool has_write_failed;

    struct io_op flush_op;
    bool is_given_up;  /* freed when the flush ends */
    bool leaves_files; /* the next start removes them */
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

static bool is_due(const struct log_config *config, const struct compact_plan *plan,
                   int64_t first_ms, int64_t now_ms)
{
    if (plan->dirty_bytes == 0)
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
    plan->is_due = is_due(&log->config, plan, first_ms, now_ms);
    return ERR_OK;
}

/* --- the rules --- */

enum fate {
    FATE_FILTER, /* records go or stay one by one */
    FATE_STAY,   /* as it is */
    FATE_REFUSE, /* the pass ends here */
};

static enum fate batch_fate(const struct batch *batch)
{
    if (batch_is_control(batch))
        return FATE_STAY;
    return batch_is_transactional(batch) ? FATE_REFUSE : FATE_FILTER;
}

/* Its sequence is what the producer's next batch is checked against. */
static bool is_last_of_producer(const struct log *log, const struct batch *batch)
{
    if (!batch_has_producer(batch))
        return false;
    const struct producer *producer = producers_find(&log->producers, batch->producer_id);
    return producer && producer->batch_count > 0 &&
           producer->batches[producer->batch_count - 1].last_offset == batch->last_offset;
}

static bool keep_record(void *arg, const struct record *record)
{
    const struct compaction *job = arg;
    const struct batch *batch = job->batch;
    if (record->offset >= job->map_end_offset)
        return true;
    if (!record->key.data)
        return false; /* from before the topic was compacted: nothing could ever replace it */
    if (record->offset < offset_map_get(&job->map, record->key))
        return false;
    bool is_over = (batch->attributes & BATCH_ATTR_DELETE_HORIZON) != 0 &&
                   job->now_ms >= batch->base_timestamp;
    return record->value.data || !is_over;
}

/* --- reading --- */

static enum err bad_batch(struct compaction *job, const char *what)
{
    const struct log *log = job->log;
    snprintf(job->problem->text, sizeof(job->problem->text), "%.300s/%0*lld.log: byte %u: %s",
             log->dir, SEGMENT_NAME_DIGITS, (long long)log->segments[job->at]->base_offset,
             job->position, what);
    return ERR_CORRUPT_MESSAGE;
}

/* `len` bytes of the segment from the position on; they are there by its size. */
static enum err input_fill(struct compaction *job, struct segment *segment, size_t len,
                           const uint8_t **at)
{
    ASSERT(len <= segment->size - job->position);
    size_t from = job->position - job->input_position;
    if (job->position >= job->input_position && from + len <= job->input_len) {
        *at = job->input + from;
        return ERR_OK;
    }
    size_t want = len > READ_CHUNK_BYTES ? len : READ_CHUNK_BYTES;
    if (want > segment->size - job->position)
        want = segment->size - job->position;
    if (want > job->input_cap) {
        uint8_t *input = realloc(job->input, want);
        if (!input)
            return ERR_NOMEM;
        job->input = input;
        job->input_cap = want;
    }
    job->input_len = 0;
    job->input_position = job->position;
    TRY(segment_open_file(job->log, segment, 0));
    TRY(io_read_now(job->log->io, segment->file, job->input, want, job->position, &job->input_len));
    if (job->input_len < len)
        return bad_batch(job, "the file ends early");
    *at = job->input;
    return ERR_OK;
}

static void input_begin(struct compaction *job, size_t at)
{
    job->at = at;
    job->position = 0;
    job->input_len = 0;
    job->next_offset = job->log->segments[at]->base_offset;
}

/* The next batch of the segment that is read; ERR_NOENT at its end. */
static enum err input_next(struct compaction *job, struct batch *batch)
{
    struct segment *segment = job->log->segments[job->at];
    const uint8_t *at;
    uint32_t left = segment->size - job->position;
    if (left == 0)
        return ERR_NOENT;
    if (left < BATCH_HEADER_BYTES)
        return bad_batch(job, "a batch's header is cut short");
    TRY(input_fill(job, segment, BATCH_LOG_OVERHEAD, &at));
    int64_t size = batch_size_peek(at);
    if (size < (int64_t)BATCH_HEADER_BYTES || size > left)
        return bad_batch(job, "no batch has such a length");
    TRY(input_fill(job, segment, (size_t)size, &at));
    if (batch_load(slice_of(at, (size_t)size), batch) != ERR_OK)
        return bad_batch(job, "no batch of the current format");
    if (!batch_crc_is_valid(batch))
        return bad_batch(job, "the batch's checksum is wrong");
    if (batch->base_offset < job->next_offset || batch->last_offset < batch->base_offset)
        return bad_batch(job, "the batch's offset does not follow");
    if (batch_fate(batch) == FATE_REFUSE) {
        bad_batch(job, "transactions are not compacted by this version");
        return ERR_UNSUPPORTED;
    }
    job->position += (uint32_t)size;
    job->next_offset = batch->last_offset + 1;
    job->moved += (size_t)size;
    job->result.bytes_read += (uint64_t)size;
    return ERR_OK;
}

/* --- mapping --- */

/* ERR_LIMIT: the map is full. */
static enum err map_records(struct compaction *job, const struct batch *batch)
{
    struct records records;
    struct record record;
    TRY(records_init(&records, batch, job->compressors, &job->filter.unpacked));
    while (records_next(&records, &record)) {
        if (record.offset < job->plan.first_dirty_offset || record.offset < job->map_end_offset)
            continue;
        if (record.offset > batch->last_offset)
            return ERR_INVALID_RECORD;
        if (record.key.data && !offset_map_put(&job->map, record.key, record.offset))
            return ERR_LIMIT;
        job->map_end_offset = record.offset + 1;
    }
    return records.err;
}

static enum err map_batch(struct compaction *job, const struct batch *batch)
{
    if (batch->last_offset < job->plan.first_dirty_offset)
        return ERR_OK;
    if (batch_fate(batch) == FATE_FILTER) {
        enum err err = map_records(job, batch);
        if (err == ERR_LIMIT && job->map.count == job->map.count_max)
            job->result.map_was_full = true;
        else if (err != ERR_OK)
            return bad_batch(job, err_text(err));
    }
    if (!job->result.map_was_full)
        job->map_end_offset = batch->last_offset + 1;
    return ERR_OK;
}

static void begin_writing(struct compaction *job)
{
    job->state = COMPACT_WRITING;
    job->group_first = 0;
    job->group_count = 0;
    job->result.end_offset = job->map_end_offset;
}

static enum err step_mapping(struct compaction *job, size_t bytes)
{
    while (job->moved < bytes) {
        struct batch batch;
        enum err err = input_next(job, &batch);
        if (err == ERR_OK) {
            TRY(map_batch(job, &batch));
            if (job->result.map_was_full) {
                begin_writing(job);
                return ERR_OK;
            }
            continue;
        }
        if (err != ERR_NOENT)
            return err;
        /* What lay between the last batch and the next segment is gone already. */
        job->map_end_offset = segment_end_offset(job->log, job->at);
        if (job->map_end_offset >= job->plan.end_offset) {
            begin_writing(job);
            return ERR_OK;
        }
        input_begin(job, job->at + 1);
    }
    return ERR_OK;
}

/* --- writing --- */

/* Room in an index file for every entry that the segment can have. */
static uint64_t index_bytes_of(const struct log *log, const struct segment *segment)
{
    return ((uint64_t)segment->size / (uint64_t)(log->config.index_interval_bytes + 1) + 1) *
           TIMEINDEX_ENTRY_BYTES;
}

/* How many segments from `first` on become one. */
static size_t group_from(const struct compaction *job, size_t first)
{
    const struct log *log = job->log;
    int64_t base_offset = log->segments[first]->base_offset;
    uint64_t size = log->segments[first]->size;
    uint64_t index_bytes = index_bytes_of(log, log->segments[first]);
    size_t at = first + 1;
    for (; at + 1 < log->segment_count; at++) {
        const struct segment *segment = log->segments[at];
        size += segment->size;
        index_bytes += index_bytes_of(log, segment);
        if (segment->base_offset >= job->map_end_offset ||
            size > (uint64_t)log->config.segment_bytes ||
            index_bytes > (uint64_t)log->config.segment_index_bytes ||
            segment_end_offset(log, at) - 1 - base_offset > INT32_MAX)
            break;
    }
    return at - first;
}

/* An index of aborted transactions that is not empty: the log has, or had, transactions. */
static enum err check_no_transactions(struct compaction *job)
{
    const struct log *log = job->log;
    for (size_t i = 0; i < job->group_count; i++) {
        char path[LOG_PATH_MAX];
        struct io_stat stat;
        segment_path(log, log->segments[job->group_first + i]->base_offset, ".txnindex", path);
        enum err err = io_stat_path(log->io, path, &stat);
        if (err == ERR_OK && stat.size > 0)
            err = ERR_UNSUPPORTED;
        if (err == ERR_UNSUPPORTED)
            snprintf(job->problem->text, sizeof(job->problem->text),
                     "%.300s: transactions are not compacted by this version", path);
        if (err != ERR_OK && err != ERR_NOENT)
            return err;
    }
    return ERR_OK;
}

static enum err group_begin(struct compaction *job)
{
    struct log *log = job->log;
    struct segment *first = log->segments[job->group_first];
    job->group_count = group_from(job, job->group_first);
    TRY(check_no_transactions(job));
    struct segment *cleaned = segment_new(log, first->base_offset);
    if (!cleaned)
        return ERR_NOMEM;
    const struct segment *last = log->segments[job->group_first + job->group_count - 1];
    cleaned->path_end = ".cleaned";
    cleaned->created_ms = last->created_ms;
    cleaned->is_time_known = true;
    job->cleaned = cleaned;
    input_begin(job, job->group_first);
    enum err err = segment_open_file(log, cleaned, IO_OPEN_CREATE | IO_OPEN_TRUNCATE);
    job->has_write_failed = err != ERR_OK;
    return err;
}

static enum err put_out(struct compaction *job)
{
    struct segment *cleaned = job->cleaned;
    if (job->out.len == 0)
        return ERR_OK;
    enum err err = segment_open_file(job->log, cleaned, 0);
    if (err == ERR_OK)
        err = io_write_now(job->log->io, cleaned->file, job->out.data, job->out.len, cleaned->size);
    job->has_write_failed = err != ERR_OK;
    TRY(err);
    cleaned->size += (uint32_t)job->out.len;
    cleaned->reserved = cleaned->size;
    job->result.bytes_written += job->out.len;
    buf_reset(&job->out);
    return ERR_OK;
}

static enum err write_batch(struct compaction *job, const struct batch *batch)
{
    size_t from = job->out.len;
    if (batch_fate(batch) == FATE_STAY) {
        buf_put(&job->out, batch->data, batch->size);
        TRY(job->out.err);
    } else {
        job->batch = batch;
        job->filter.keep_empty = is_last_of_producer(job->log, batch);
        enum err err = batch_filter_apply(&job->filter, job->compressors, batch, &job->out);
        if (err != ERR_OK && err != ERR_NOMEM)
            return bad_batch(job, err_text(err));
        TRY(err);
    }
    if (job->out.len == from)
        return ERR_OK;
    struct batch left;
    enum err err = batch_load(slice_of(job->out.data + from, job->out.len - from), &left);
    ASSERT(err == ERR_OK && left.base_offset == batch->base_offset &&
           left.last_offset == batch->last_offset);
    uint64_t position = (uint64_t)job->cleaned->size + from;
    if (position + left.size > INT32_MAX)
        return bad_batch(job, "what is left does not fit one segment");
    err = index_note_batch(job->log, job->cleaned, (uint32_t)position, &left);
    job->has_write_failed = err != ERR_OK && err != ERR_NOMEM;
    TRY(err);
    return job->out.len >= WRITE_CHUNK_BYTES ? put_out(job) : ERR_OK;
}

static void job_free(struct compaction *job)
{
    struct log *log = job->log;
    struct segment *cleaned = job->cleaned;
    if (cleaned)
        segment_close_file(log, cleaned);
    if (cleaned && !job->leaves_files) {
        static const char *const suffixes[] = {".log.cleaned", ".index.cleaned",
                                               ".timeindex.cleaned"};
        for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
            enum err err = log_remove_file(log, cleaned->base_offset, suffixes[i]);
            if (err != ERR_OK)
                diag_warn("log", "%s: %lld%s stays until the next start: %s", log->dir,
                          (long long)cleaned->base_offset, suffixes[i], err_text(err));
        }
    }
    if (cleaned)
        segment_free(cleaned);
    offset_map_deinit(&job->map);
    batch_filter_deinit(&job->filter);
    buf_deinit(&job->out);
    free(job->input);
    free(job);
}

static void on_flushed(struct io_op *op)
{
    struct compaction *job = CONTAINER_OF(op, struct compaction, flush_op);
    ASSERT(job->state == COMPACT_FLUSHING && job->log->compact_syncs > 0);
    job->log->compact_syncs--;
    job->state = COMPACT_FLUSHED;
    if (job->is_given_up)
        job_free(job);
}

static enum err group_flush(struct compaction *job)
{
    TRY(put_out(job));
    enum err err = segment_open_file(job->log, job->cleaned, 0);
    job->has_write_failed = err != ERR_OK;
    TRY(err);
    job->state = COMPACT_FLUSHING;
    job->log->compact_syncs++;
    io_sync(job->log->io, &job->flush_op, job->cleaned->file, on_flushed);
    return ERR_OK;
}

static enum err step_writing(struct compaction *job, size_t bytes)
{
    if (!job->cleaned)
        TRY(group_begin(job));
    while (job->moved < bytes) {
        struct batch batch;
        enum err err = input_next(job, &batch);
        if (err == ERR_OK) {
            TRY(write_batch(job, &batch));
            continue;
        }
        if (err != ERR_NOENT)
            return err;
        if (job->at + 1 == job->group_first + job->group_count)
            return group_flush(job);
        input_begin(job, job->at + 1);
    }
    return ERR_OK;
}

/* The group's new segment is on the disk. */
static enum err group_end(struct compaction *job, bool *is_done)
{
    struct log *log = job->log;
    struct segment *cleaned = job->cleaned;
    enum err err = job->flush_op.err;
    if (err == ERR_OK)
        err = index_store(log, cleaned);
    job->has_write_failed = err != ERR_OK;
    TRY(err);
    cleaned->flushed = cleaned->size;
    cleaned->is_sealed = true;
    index_release(&cleaned->index);
    err = compact_replace(log, job->group_first, job->group_count, cleaned);
    if (err != ERR_OK) {
        log_fail(log, err, "a compacted segment could not be put in its place");
        return err;
    }
    job->cleaned = NULL;
    job->group_first++;
    job->state = COMPACT_WRITING;
    if (log->segments[job->group_first]->base_offset >= job->map_end_offset ||
        job->group_first + 1 == log->segment_count) {
        log->cleaned_offset = job->map_end_offset;
        *is_done = true;
    }
    return ERR_OK;
}

/* --- the pass --- */

enum err log_compact_begin(struct log *log, const struct compact_plan *plan,
                           const struct compact_options *options)
{
    ASSERT(!log->compaction && !log->is_offline);
    ASSERT(plan->first_dirty_offset < plan->end_offset && plan->dirty_bytes > 0);
    ASSERT(plan->end_offset <= log_active(log)->base_offset);
    struct compaction *job = calloc(1, sizeof(*job));
    if (!job)
        return ERR_NOMEM;
    job->log = log;
    job->plan = *plan;
    job->now_ms = options->now_ms;
    job->compressors = options->compressors;
    job->map_end_offset = plan->first_dirty_offset;
    job->result.first_dirty_offset = plan->first_dirty_offset;
    buf_init(&job->out, INT32_MAX);
    batch_filter_init(&job->filter, keep_record, job, UNPACKED_BYTES_MAX);
    int64_t retention_ms = log->config.delete_retention_ms;
    job->filter.delete_horizon_ms =
        options->now_ms > INT64_MAX - retention_ms ? INT64_MAX : options->now_ms + retention_ms;
    input_begin(job, log_segment_at(log, plan->first_dirty_offset));
    enum err err = offset_map_init(
        &job->map, (uint64_t)(plan->end_offset - plan->first_dirty_offset), options->map_bytes_max,
        options->load_factor, io_random(log->io), io_random(log->io));
    if (err != ERR_OK) {
        job_free(job);
        return err;
    }
    log->compaction = job;
    return ERR_OK;
}

void log_compact_abort(struct log *log)
{
    struct compaction *job = log->compaction;
    log->compaction = NULL;
    if (job && job->state == COMPACT_FLUSHING)
        job->is_given_up = true;
    else if (job)
        job_free(job);
}

void compact_drop(struct log *log)
{
    if (log->compaction)
        log->compaction->leaves_files = true;
    log_compact_abort(log);
}

static enum err step(struct compaction *job, size_t bytes, bool *is_done)
{
    switch (job->state) {
    case COMPACT_MAPPING:
        return step_mapping(job, bytes);
    case COMPACT_WRITING:
        return step_writing(job, bytes);
    case COMPACT_FLUSHING:
        return ERR_OK;
    case COMPACT_FLUSHED:
        return group_end(job, is_done);
    }
    return ERR_INTERNAL;
}

enum err log_compact_step(struct log *log, size_t bytes, size_t *moved, bool *is_done,
                          struct compact_result *result, struct log_problem *problem)
{
    struct compaction *job = log->compaction;
    *is_done = false;
    *moved = 0;
    problem->text[0] = '\0';
    if (!job)
        return ERR_CANCELLED;
    job->problem = problem;
    job->moved = 0;
    job->has_write_failed = false;
    enum err err = log->is_offline ? ERR_KAFKA_STORAGE_ERROR : step(job, bytes, is_done);
    *result = job->result;
    *moved = job->moved;
    if (err != ERR_OK && job->has_write_failed && err != ERR_NOSPACE)
        log_fail(log, err, "a compacted segment could not be written");
    if (err != ERR_OK || *is_done)
        log_compact_abort(log);
    return err;
}
