/* Compaction beside the loop: mapping keys, and writing segments anew.
 *
 * Runs on: a thread of the io's, step by step; a step works on about STEP_BYTES. It has two halves:
 *
 *   map    The dirty part is read, from the offset up to which the log was compacted before to the
 *          end of what may be compacted. Each key's newest offset goes to the offset map. Where the
 *          map is full, the pass ends at the offset that it came to.
 *   write  From the first segment on to where the map ends, segments are written anew without the
 *          records that the map knows a newer one for. As many as fit segment.bytes, the index
 *          size and 31 bits of offsets become one segment: a group. A segment that is a group of
 *          its own is first read until something of it is to be changed; if nothing is, it stays.
 *
 * What stays is decided in one place (batch_fate and keep_record): the newest record of each key,
 * all records past the map's end, a tombstone until delete.retention.ms after it was first met by a
 * pass, and of each producer the batch that it wrote last, empty if need be, so that its sequence
 * is still known when the snapshots are gone. Records of aborted transactions go; a marker stays
 * until nothing of its transaction is left, and then, as a tombstone, for delete.retention.ms; the
 * entry of an aborted transaction goes with its marker.
 *
 * Old segments are read by their names. One that was removed meanwhile is not there any more: then
 * the pass was cancelled, and what it wrote is thrown away. */
#include "log/compact_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/plant.h"

#define STEP_BYTES         ((uint64_t)1 << 20)
#define READ_CHUNK_BYTES   ((size_t)1 << 20)
#define WRITE_CHUNK_BYTES  ((size_t)1 << 20)
#define UNPACKED_BYTES_MAX ((size_t)256 << 20)
/* Flushed piece by piece, so that nobody's flush waits for all of a new segment. */
#define FLUSH_BYTES        ((uint32_t)16 << 20)
#define TXNINDEX_BYTES_MAX ((size_t)64 << 20)
#define INDEXES_A_STEP     ((size_t)64)
#define RECORDS_AHEAD      16

/* --- the rules --- */

enum fate {
    FATE_FILTER, /* records go or stay one by one */
    FATE_EMPTY,  /* all its records go */
    FATE_STAY,   /* as it is */
    FATE_EXPIRE, /* stays, and gets a time to go */
};

static int by_producer(const void *key, const void *item)
{
    int64_t id = *(const int64_t *)key, other = ((const struct compact_producer *)item)->id;
    return (id > other) - (id < other);
}

/* Its sequence, or its epoch, is what the producer's next batch is checked against. */
static bool is_last_of_producer(const struct compact_job *job, const struct batch *batch)
{
    if (!batch_has_producer(batch) || job->producer_count == 0 || PLANTED(COMPACT_LAST_BATCHES))
        return false;
    const struct compact_producer *producer =
        bsearch(&batch->producer_id, job->producers, job->producer_count, sizeof(*job->producers),
                by_producer);
    if (!producer)
        return false;
    if (producer->last_offset >= 0)
        return producer->last_offset == batch->last_offset;
    return batch_is_control(batch) && batch->producer_epoch == producer->epoch;
}

static bool is_past_horizon(const struct compact_job *job, const struct batch *batch)
{
    return (batch->attributes & BATCH_ATTR_DELETE_HORIZON) != 0 &&
           job->now_ms + PLANTED(TOMBSTONE_EARLY) >= batch->base_timestamp;
}

static enum err marker_type(struct compact_job *job, const struct batch *batch,
                            enum txn_marker *marker)
{
    struct records records;
    struct record record;
    *marker = TXN_OTHER;
    TRY(records_init(&records, batch, &job->compressors, &job->filter.unpacked));
    if (records_next(&records, &record))
        *marker = txn_marker_of(record.key);
    return records.err;
}

static enum err marker_fate(struct compact_job *job, const struct batch *batch, enum fate *fate)
{
    enum txn_marker marker;
    bool is_alone;
    const struct aborted_txn *aborted;
    *fate = FATE_STAY;
    if (batch->count == 0) {
        *fate = FATE_EMPTY; /* went before, and was the last of its producer */
        return ERR_OK;
    }
    TRY(marker_type(job, batch, &marker));
    TRY(txn_walk_marker(&job->walk, batch, marker, &is_alone, &aborted));
    if (is_alone)
        *fate = is_past_horizon(job, batch) ? FATE_EMPTY : FATE_EXPIRE;
    else if (aborted && job->cleaned)
        txnindex_put(&job->txns, aborted);
    return job->txns.err;
}

/* Where a batch's fate is decided. Batches come in the order of the log. */
static enum err batch_fate(struct compact_job *job, const struct batch *batch, enum fate *fate)
{
    if (batch_is_control(batch))
        return marker_fate(job, batch, fate);
    bool is_aborted;
    TRY(txn_walk_data(&job->walk, batch, &is_aborted));
    *fate = is_aborted ? FATE_EMPTY : FATE_FILTER;
    return ERR_OK;
}

static bool keep_record(void *arg, const struct record *record)
{
    const struct compact_job *job = arg;
    if (job->drops_all || job->keeps_all)
        return job->keeps_all;
    if (record->offset >= job->map_end_offset)
        return true;
    if (!record->key.data)
        return false; /* from before the topic was compacted: nothing could ever replace it */
    if (record->offset < offset_map_get(&job->map, record->key))
        return false;
    if (PLANTED(COMPACT_DROP_NEWEST) && record->offset % 16 == 0)
        return false;
    return record->value.data || !is_past_horizon(job, job->batch);
}

/* --- reading --- */

static enum err bad_batch(struct compact_job *job, const char *what)
{
    snprintf(job->problem.text, sizeof(job->problem.text), "%.300s/%0*lld.log: byte %u: %s",
             job->files.dir, SEGMENT_NAME_DIGITS, (long long)job->sources[job->at].base_offset,
             job->position, what);
    return ERR_CORRUPT_MESSAGE;
}

static void input_close(struct compact_job *job)
{
    if (!IO_FILE_IS_NONE(job->input_file))
        io_close(job->files.io, job->input_file);
    job->input_file = IO_FILE_NONE;
}

static enum err input_begin(struct compact_job *job, size_t at)
{
    char path[LOG_PATH_MAX];
    input_close(job);
    job->at = at;
    job->position = 0;
    job->input_len = 0;
    job->next_offset = job->sources[at].base_offset;
    segment_path(&job->files, job->sources[at].base_offset, ".log", path);
    enum err err = io_open(job->files.io, path, IO_OPEN_READ, &job->input_file);
    if (err == ERR_NOENT) {
        snprintf(job->problem.text, sizeof(job->problem.text), "%.500s is gone", path);
        err = ERR_IO; /* not to be taken for the end of something */
    }
    return err;
}

/* `len` bytes of the segment from the position on; they are there by its size. */
static enum err input_fill(struct compact_job *job, size_t len, const uint8_t **at)
{
    uint32_t size = job->sources[job->at].size;
    ASSERT(len <= size - job->position);
    size_t from = job->position - job->input_position;
    if (job->position >= job->input_position && from + len <= job->input_len) {
        *at = job->input + from;
        return ERR_OK;
    }
    size_t want = len > READ_CHUNK_BYTES ? len : READ_CHUNK_BYTES;
    if (want > size - job->position)
        want = size - job->position;
    if (want > job->input_cap) {
        uint8_t *input = realloc(job->input, want);
        if (!input)
            return ERR_NOMEM;
        job->input = input;
        job->input_cap = want;
    }
    job->input_len = 0;
    job->input_position = job->position;
    TRY(io_read_now(job->files.io, job->input_file, job->input, want, job->position,
                    &job->input_len));
    if (job->input_len < len)
        return bad_batch(job, "the file ends early");
    *at = job->input;
    return ERR_OK;
}

/* The next batch of the segment that is read; ERR_NOENT at its end. */
static enum err input_next(struct compact_job *job, struct batch *batch)
{
    const uint8_t *at;
    uint32_t left = job->sources[job->at].size - job->position;
    if (left == 0)
        return ERR_NOENT;
    if (left < BATCH_HEADER_BYTES)
        return bad_batch(job, "a batch's header is cut short");
    TRY(input_fill(job, BATCH_LOG_OVERHEAD, &at));
    int64_t size = batch_size_peek(at);
    if (size < (int64_t)BATCH_HEADER_BYTES || size > left)
        return bad_batch(job, "no batch has such a length");
    TRY(input_fill(job, (size_t)size, &at));
    if (batch_load(slice_of(at, (size_t)size), batch) != ERR_OK)
        return bad_batch(job, "no batch of the current format");
    if (!batch_crc_is_valid(batch))
        return bad_batch(job, "the batch's checksum is wrong");
    if (batch->base_offset < job->next_offset || batch->last_offset < batch->base_offset)
        return bad_batch(job, "the batch's offset does not follow");
    job->position += (uint32_t)size;
    job->next_offset = batch->last_offset + 1;
    job->moved += (uint64_t)size;
    job->result.bytes_read += (uint64_t)size;
    return ERR_OK;
}

/* --- the beginning --- */

static size_t source_of(const struct compact_job *job, int64_t offset)
{
    size_t at = 0;
    while (at + 1 < job->source_count && job->sources[at + 1].base_offset <= offset)
        at++;
    return at;
}

static void walk_from(struct compact_job *job, int64_t offset)
{
    if (job->has_walk)
        txn_walk_deinit(&job->walk);
    txn_walk_init(&job->walk, &job->aborted, offset, job->seeds[2]);
    job->has_walk = true;
}

/* Some segments' indexes of aborted transactions a step. */
static enum err read_aborted(struct compact_job *job)
{
    size_t left = job->unread_count - job->unread_at;
    for (size_t n = left < INDEXES_A_STEP ? left : INDEXES_A_STEP; n > 0; n--) {
        char path[LOG_PATH_MAX];
        int64_t base_offset = job->unread[job->unread_at];
        segment_path(&job->files, base_offset, ".txnindex", path);
        enum err err = aborted_read(job->files.io, path, base_offset, &job->aborted);
        job->is_index_damaged = err == ERR_MALFORMED;
        if (err != ERR_OK)
            snprintf(job->problem.text, sizeof(job->problem.text), "%.400s cannot be read: %s",
                     path, err_text(err));
        TRY(err);
        job->unread_at++;
    }
    return ERR_OK;
}

static enum err begin(struct compact_job *job)
{
    txn_list_sort(&job->aborted);
    TRY(offset_map_init(&job->map, (uint64_t)(job->end_offset - job->first_dirty_offset),
                        job->map_bytes_max, job->load_factor, job->seeds[0], job->seeds[1]));
    job->has_map = true;
    size_t at = source_of(job, job->first_dirty_offset);
    walk_from(job, job->sources[at].base_offset);
    job->has_begun = true;
    return input_begin(job, at);
}

/* --- mapping --- */

static void foresee_record(void *arg, const struct record *record)
{
    const struct compact_job *job = arg;
    if (record->key.data)
        offset_map_foresee(&job->map, record->key);
}

static void foresee_records(struct compact_job *job, struct records *ahead, int count)
{
    struct record record;
    while (count-- > 0 && records_next(ahead, &record))
        foresee_record(job, &record);
}

/* ERR_LIMIT: the map is full. */
static enum err map_records(struct compact_job *job, const struct batch *batch)
{
    struct records records, ahead;
    struct record record;
    TRY(records_init(&records, batch, &job->compressors, &job->filter.unpacked));
    ahead = records;
    foresee_records(job, &ahead, RECORDS_AHEAD);
    while (records_next(&records, &record)) {
        foresee_records(job, &ahead, 1);
        if (record.offset < job->first_dirty_offset || record.offset < job->map_end_offset)
            continue;
        if (record.offset > batch->last_offset)
            return ERR_INVALID_RECORD;
        if (record.key.data && !offset_map_put(&job->map, record.key, record.offset))
            return ERR_LIMIT;
        job->map_end_offset = record.offset + 1;
    }
    return records.err;
}

static enum err map_batch(struct compact_job *job, const struct batch *batch)
{
    enum fate fate;
    enum err err = batch_fate(job, batch, &fate);
    if (err == ERR_OK && fate == FATE_FILTER && batch->last_offset >= job->first_dirty_offset)
        err = map_records(job, batch);
    if (err == ERR_LIMIT && job->map.is_full)
        job->result.map_was_full = true;
    else if (err == ERR_NOMEM)
        return err;
    else if (err != ERR_OK)
        return bad_batch(job, err_text(err));
    else if (batch->last_offset >= job->map_end_offset)
        job->map_end_offset = batch->last_offset + 1;
    return ERR_OK;
}

static void end_mapping(struct compact_job *job)
{
    job->phase = COMPACT_WRITE;
    job->group_first = job->group_count = 0;
    job->result.end_offset = job->map_end_offset;
    walk_from(job, job->sources[0].base_offset);
}

static enum err step_map(struct compact_job *job)
{
    while (job->moved < STEP_BYTES) {
        struct batch batch;
        enum err err = input_next(job, &batch);
        if (err == ERR_OK) {
            TRY(map_batch(job, &batch));
            if (job->result.map_was_full) {
                end_mapping(job);
                return ERR_OK;
            }
            continue;
        }
        if (err != ERR_NOENT)
            return err;
        /* What lay between the last batch and the next segment is gone already. */
        job->map_end_offset = job->sources[job->at].end_offset;
        if (job->map_end_offset >= job->end_offset) {
            end_mapping(job);
            return ERR_OK;
        }
        TRY(input_begin(job, job->at + 1));
    }
    return ERR_OK;
}

/* --- writing --- */

bool compact_job_is_over(const struct compact_job *job)
{
    size_t next = job->group_first + job->group_count;
    return next == job->source_count || job->sources[next].base_offset >= job->map_end_offset;
}

/* Room in an index file for every entry that the segment can have. */
static uint64_t index_bytes_of(const struct compact_job *job, const struct compact_source *source)
{
    uint64_t interval = (uint64_t)job->files.config.index_interval_bytes + 1;
    return ((uint64_t)source->size / interval + 1) * TIMEINDEX_ENTRY_BYTES;
}

/* How many segments from `first` on become one. */
static size_t group_from(const struct compact_job *job, size_t first)
{
    const struct log_config *config = &job->files.config;
    int64_t base_offset = job->sources[first].base_offset;
    uint64_t size = job->sources[first].size;
    uint64_t index_bytes = index_bytes_of(job, &job->sources[first]);
    size_t at = first + 1;
    for (; at < job->source_count; at++) {
        const struct compact_source *source = &job->sources[at];
        size += source->size;
        index_bytes += index_bytes_of(job, source);
        if (source->base_offset >= job->map_end_offset || size > (uint64_t)config->segment_bytes ||
            index_bytes > (uint64_t)config->segment_index_bytes ||
            source->end_offset - 1 - base_offset > INT32_MAX)
            break;
    }
    return at - first;
}

static enum err output_begin(struct compact_job *job)
{
    char path[LOG_PATH_MAX];
    struct segment *cleaned = segment_new(&job->files, job->sources[job->group_first].base_offset);
    if (!cleaned)
        return ERR_NOMEM;
    cleaned->path_end = ".cleaned";
    cleaned->created_ms = job->sources[job->group_first + job->group_count - 1].created_ms;
    cleaned->is_time_known = true;
    job->cleaned = cleaned;
    job->is_probing = false;
    job->has_txnindex = false;
    job->flushed = 0;
    buf_reset(&job->out);
    buf_reset(&job->txns);
    TRY(input_begin(job, job->group_first));
    segment_file_path(&job->files, cleaned, ".log", path);
    enum err err =
        io_open(job->files.io, path, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &job->output_file);
    job->has_write_failed = err != ERR_OK;
    return err;
}

static enum err group_begin(struct compact_job *job)
{
    job->group_first += job->group_count;
    job->group_count = group_from(job, job->group_first);
    if (job->group_count > 1)
        return output_begin(job);
    job->is_probing = true;
    return input_begin(job, job->group_first);
}

static enum err put_out(struct compact_job *job)
{
    struct segment *cleaned = job->cleaned;
    struct io *io = job->files.io;
    enum err err = ERR_OK;
    if (job->out.len > 0)
        err = io_write_now(io, job->output_file, job->out.data, job->out.len, cleaned->size);
    cleaned->size += err == ERR_OK ? (uint32_t)job->out.len : 0;
    if (err == ERR_OK && cleaned->size - job->flushed >= FLUSH_BYTES) {
        err = io_sync_now(io, job->output_file);
        job->flushed = cleaned->size;
    }
    job->has_write_failed = err != ERR_OK;
    TRY(err);
    job->moved += job->out.len;
    job->result.bytes_written += job->out.len;
    buf_reset(&job->out);
    return ERR_OK;
}

/* Puts what is left of the batch into `out`. */
static enum err filter_batch(struct compact_job *job, const struct batch *batch)
{
    enum fate fate;
    TRY(batch_fate(job, batch, &fate));
    bool is_last = is_last_of_producer(job, batch);
    if (fate == FATE_STAY) {
        buf_put(&job->out, batch->data, batch->size);
        return job->out.err;
    }
    job->batch = batch;
    job->drops_all = fate == FATE_EMPTY;
    job->keeps_all = fate == FATE_EXPIRE;
    job->filter.keep_empty = is_last;
    job->filter.wants_horizon = fate == FATE_EXPIRE;
    return batch_filter_apply(&job->filter, &job->compressors, batch, &job->out);
}

/* Whether the batch stays as it is. What belongs to a transaction is not asked: the walk goes over
 * it once only. */
static enum err probe_batch(struct compact_job *job, const struct batch *batch, bool *is_same)
{
    *is_same = false;
    if (batch_is_control(batch) || batch_is_transactional(batch))
        return ERR_OK;
    buf_reset(&job->out);
    enum err err = filter_batch(job, batch);
    if (err != ERR_OK && err != ERR_NOMEM)
        return bad_batch(job, err_text(err));
    TRY(err);
    *is_same = job->out.len == batch->size && memcmp(job->out.data, batch->data, batch->size) == 0;
    return ERR_OK;
}

static enum err write_batch(struct compact_job *job, const struct batch *batch)
{
    size_t from = job->out.len;
    enum err err = filter_batch(job, batch);
    if (err != ERR_OK && err != ERR_NOMEM)
        return bad_batch(job, err_text(err));
    TRY(err);
    if (job->out.len == from)
        return ERR_OK;
    struct batch left;
    err = batch_load(slice_of(job->out.data + from, job->out.len - from), &left);
    ASSERT(err == ERR_OK && left.base_offset == batch->base_offset &&
           left.last_offset == batch->last_offset);
    uint64_t position = (uint64_t)job->cleaned->size + from;
    if (position + left.size > INT32_MAX)
        return bad_batch(job, "what is left does not fit one segment");
    err = index_note_batch(&job->files, job->cleaned, (uint32_t)position, &left);
    job->has_write_failed = err != ERR_OK && err != ERR_NOMEM;
    TRY(err);
    return job->out.len >= WRITE_CHUNK_BYTES ? put_out(job) : ERR_OK;
}

static void output_close(struct compact_job *job)
{
    if (!IO_FILE_IS_NONE(job->output_file))
        io_close(job->files.io, job->output_file);
    job->output_file = IO_FILE_NONE;
}

static enum err write_txnindex(struct compact_job *job)
{
    char path[LOG_PATH_MAX];
    struct io_file file;
    segment_file_path(&job->files, job->cleaned, ".txnindex", path);
    TRY(io_open(job->files.io, path, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &file));
    enum err err = io_write_now(job->files.io, file, job->txns.data, job->txns.len, 0);
    if (err == ERR_OK)
        err = io_sync_now(job->files.io, file);
    io_close(job->files.io, file);
    job->has_txnindex = true;
    return err;
}

/* The group's new segment, its indexes too, is on the disk after this. */
static enum err group_end(struct compact_job *job)
{
    struct segment *cleaned = job->cleaned;
    TRY(put_out(job));
    enum err err = ERR_OK;
    if (!PLANTED(COMPACT_SWAP_UNSYNCED))
        err = io_sync_now(job->files.io, job->output_file);
    output_close(job);
    input_close(job);
    if (err == ERR_OK)
        err = index_store(&job->files, cleaned);
    if (err == ERR_OK && job->txns.len > 0)
        err = write_txnindex(job);
    job->has_write_failed = err != ERR_OK;
    TRY(err);
    cleaned->reserved = cleaned->flushed = cleaned->size;
    cleaned->is_sealed = true;
    index_release(&cleaned->index);
    return ERR_OK;
}

/* The segment stays: the next group, if there is one. */
static void keep_segment(struct compact_job *job, bool *is_done)
{
    input_close(job);
    job->is_probing = false;
    job->place++;
    job->result.segments_kept++;
    *is_done = compact_job_is_over(job);
}

static enum err step_probe(struct compact_job *job, bool *is_done)
{
    while (job->moved < STEP_BYTES) {
        struct batch batch;
        bool is_same;
        enum err err = input_next(job, &batch);
        if (err == ERR_NOENT) {
            keep_segment(job, is_done);
            return ERR_OK;
        }
        TRY(err);
        TRY(probe_batch(job, &batch, &is_same));
        if (!is_same)
            return output_begin(job);
    }
    return ERR_OK;
}

static enum err step_write(struct compact_job *job, bool *is_done)
{
    if (!job->cleaned && !job->is_probing)
        TRY(group_begin(job));
    if (job->is_probing)
        return step_probe(job, is_done);
    while (job->moved < STEP_BYTES) {
        struct batch batch;
        enum err err = input_next(job, &batch);
        if (err == ERR_OK) {
            TRY(write_batch(job, &batch));
            continue;
        }
        if (err != ERR_NOENT)
            return err;
        if (job->at + 1 == job->group_first + job->group_count) {
            *is_done = true;
            return group_end(job);
        }
        TRY(input_begin(job, job->at + 1));
    }
    return ERR_OK;
}

/* --- a step --- */

static enum err step(struct compact_job *job, bool *is_done)
{
    if (job->unread_at < job->unread_count)
        return read_aborted(job);
    if (!job->has_begun)
        TRY(begin(job));
    switch (job->phase) {
    case COMPACT_MAP:
        return step_map(job);
    case COMPACT_WRITE:
        return step_write(job, is_done);
    case COMPACT_NAMES:
        *is_done = true;
        return io_sync_dir(job->files.io, job->files.dir);
    }
    return ERR_INTERNAL;
}

uint64_t compact_job_step(struct io_job *io_job, struct io *io, uint64_t now_ns)
{
    struct compact_job *job = CONTAINER_OF(io_job, struct compact_job, io_job);
    bool is_done = false;
    uint64_t pause_ns = job->phase == COMPACT_NAMES ? 0 : pace_pause_ns(job->pace, now_ns);
    if (pause_ns > 0)
        return pause_ns;
    job->files.io = io;
    job->moved = 0;
    job->err = step(job, &is_done);
    pace_charge(job->pace, job->moved, now_ns);
    return job->err != ERR_OK || is_done ? IO_JOB_DONE : 0;
}

void compact_job_init(struct compact_job *job)
{
    *job = (struct compact_job){.input_file = IO_FILE_NONE, .output_file = IO_FILE_NONE};
    compressors_init(&job->compressors);
    buf_init(&job->out, INT32_MAX);
    buf_init(&job->txns, TXNINDEX_BYTES_MAX);
    batch_filter_init(&job->filter, keep_record, job, UNPACKED_BYTES_MAX);
    job->filter.foresee = foresee_record;
}

void compact_job_deinit(struct compact_job *job)
{
    input_close(job);
    output_close(job);
    if (job->cleaned)
        segment_free(job->cleaned);
    if (job->has_map)
        offset_map_deinit(&job->map);
    if (job->has_walk)
        txn_walk_deinit(&job->walk);
    txn_list_deinit(&job->aborted);
    free(job->unread);
    batch_filter_deinit(&job->filter);
    compressors_deinit(&job->compressors);
    buf_deinit(&job->out);
    buf_deinit(&job->txns);
    free(job->sources);
    free(job->producers);
    free(job->files.dir);
    free(job->input);
}
