/* A log's producer state on disk: snapshots, and the batches behind them.
 *
 * Runs on: the shard that owns the log. OFFSET.snapshot holds the state before the batch at OFFSET;
 * one is written at each roll and at a clean stop. A crash loses at most the newest: an older one
 * and the batches from there on give the same state. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/parse.h"
#include "base/plant.h"
#include "log/internal.h"

/* A transaction's end marker: value {version i16, coordinator epoch i32}. */
static void read_marker(const struct batch *batch, struct producer_append *append)
{
    struct records records;
    struct record record;
    int16_t type;
    if (!batch_is_control(batch) || (batch->attributes & BATCH_ATTR_COMPRESSION) != 0 ||
        records_init(&records, batch, NULL, NULL) != ERR_OK || !records_next(&records, &record) ||
        control_key_load(record.key, &type) != ERR_OK ||
        (type != CONTROL_ABORT && type != CONTROL_COMMIT) || record.value.len < 6)
        return;
    append->is_abort = type == CONTROL_ABORT;
    append->coordinator_epoch = (int32_t)be32_load(record.value.data + 2);
}

struct producer_append log_producer_append(const struct batch *batch)
{
    struct producer_append append = {
        .id = batch->producer_id,
        .epoch = batch->producer_epoch,
        .first_sequence = batch->base_sequence,
        .last_sequence = batch_last_sequence(batch),
        .first_offset = batch->base_offset,
        .last_offset = batch->last_offset,
        .timestamp = batch->max_timestamp,
        .is_transactional = batch_is_transactional(batch),
        .is_control = batch_is_control(batch),
        .coordinator_epoch = -1,
    };
    read_marker(batch, &append);
    return append;
}

/* `producers` as they are before the batch. */
static enum err note_producer(struct log *log, struct producers *producers, struct segment *segment,
                              const struct batch *batch)
{
    /* A control batch of the metadata log has no producer; a sequence of -1 is no idempotent one.
     */
    if (!batch_has_producer(batch) ||
        (batch->base_sequence == BATCH_SEQUENCE_NONE && !batch_is_control(batch)))
        return ERR_OK;
    struct producer_append append = log_producer_append(batch);
    int64_t ended_offset;
    TRY(producers_note(producers, &append, &ended_offset));
    if (ended_offset < 0 || !append.is_abort)
        return ERR_OK;
    int64_t open_offset = producers_first_open(producers);
    struct aborted_txn txn = {
        .producer_id = append.id,
        .first_offset = ended_offset,
        .last_offset = append.last_offset,
        .last_stable_offset = open_offset == INT64_MAX ? append.last_offset + 1 : open_offset,
    };
    return aborted_note(log, segment, &txn);
}

enum err log_note_producer(struct log *log, struct segment *segment, const struct batch *batch)
{
    return note_producer(log, &log->producers, segment, batch);
}

enum err log_write_snapshot(struct log *log, int64_t offset)
{
    char path[LOG_PATH_MAX];
    segment_path(log, offset, SNAPSHOT_SUFFIX, path);
    struct buf bytes;
    buf_init(&bytes, SNAPSHOT_BYTES_MAX);
    enum err err = producers_snapshot_write(&log->producers, &bytes);
    if (err == ERR_OK)
        err = io_replace_file(log->io, path, buf_slice(&bytes));
    buf_deinit(&bytes);
    return err;
}

struct snapshot_search {
    struct log *log;
    int64_t max;     /* those past it say what may be lost: they go */
    int64_t below;   /* offsets at or past it are not wanted */
    int64_t newest;  /* -1: none */
    uint32_t strays; /* at no segment's base */
    bool has_removed;
};

bool log_parse_file_name(const char *name, const char *suffix, int64_t *offset)
{
    struct str text = str_of(name);
    struct str end = str_of(suffix);
    if (text.len != SEGMENT_NAME_DIGITS + end.len ||
        !str_eq((struct str){text.data + SEGMENT_NAME_DIGITS, end.len}, end))
        return false;
    return parse_i64((struct str){text.data, SEGMENT_NAME_DIGITS}, offset) == ERR_OK &&
           *offset >= 0;
}

static bool is_segment_base(const struct log *log, int64_t offset)
{
    return log->segments[log_segment_at(log, offset)]->base_offset == offset;
}

static enum err remove_snapshot(struct log *log, int64_t offset)
{
    char path[LOG_PATH_MAX];
    segment_path(log, offset, SNAPSHOT_SUFFIX, path);
    return io_unlink_now(log->io, path);
}

static enum err on_snapshot_name(void *arg, const char *name, bool is_dir)
{
    struct snapshot_search *search = arg;
    int64_t offset;
    if (is_dir || !log_parse_file_name(name, SNAPSHOT_SUFFIX, &offset))
        return ERR_OK;
    if (offset > search->max) {
        search->has_removed = true;
        return remove_snapshot(search->log, offset);
    }
    search->strays += !is_segment_base(search->log, offset);
    if (offset < search->below && offset > search->newest)
        search->newest = offset;
    return ERR_OK;
}

static enum err on_stray_name(void *arg, const char *name, bool is_dir)
{
    struct snapshot_search *search = arg;
    int64_t offset;
    if (is_dir || !log_parse_file_name(name, SNAPSHOT_SUFFIX, &offset) ||
        offset == search->newest || is_segment_base(search->log, offset))
        return ERR_OK;
    return remove_snapshot(search->log, offset);
}

enum err log_remove_snapshots_but(struct log *log, int64_t offset)
{
    struct snapshot_search search = {.log = log, .newest = offset};
    return io_list(log->io, log->dir, on_stray_name, &search);
}

static enum err read_snapshot(struct log *log, int64_t offset, struct producers *producers)
{
    char path[LOG_PATH_MAX];
    segment_path(log, offset, SNAPSHOT_SUFFIX, path);
    uint8_t *data = NULL;
    size_t len = 0;
    TRY(io_read_file(log->io, path, SNAPSHOT_BYTES_MAX, &data, &len));
    enum err err = producers_snapshot_read(producers, (struct slice){data, len});
    free(data);
    return err;
}

/* *from: the batches from there on are not in what was loaded. */
static enum err load_newest_snapshot(struct log *log, int64_t trusted_offset, int64_t *from)
{
    int64_t max = trusted_offset < log->end_offset ? trusted_offset : log->end_offset;
    struct snapshot_search search = {.log = log, .max = max, .below = INT64_MAX};
    for (;;) {
        search.newest = -1;
        search.strays = 0;
        search.has_removed = false;
        TRY(io_list(log->io, log->dir, on_snapshot_name, &search));
        if (search.has_removed) /* for good: a power cut must not bring it back */
            TRY(io_sync_dir(log->io, log->dir));
        *from = log->segments[0]->base_offset;
        if (search.newest < 0)
            return ERR_OK;
        enum err err = read_snapshot(log, search.newest, &log->producers);
        if (err == ERR_OK)
            break;
        if (err != ERR_MALFORMED && err != ERR_LIMIT)
            return err;
        search.below = search.newest; /* torn by a crash: an older one will do */
    }
    *from = search.newest;
    bool has_strays = search.strays > 1 && !log->has_no_producers;
    return has_strays ? log_remove_snapshots_but(log, search.newest) : ERR_OK;
}

struct replay {
    struct log *log;
    struct producers *producers;
    struct segment *segment;
};

static enum err on_replayed_batch(void *arg, uint32_t position, const struct batch *batch)
{
    (void)position;
    const struct replay *replay = arg;
    return note_producer(replay->log, replay->producers, replay->segment, batch);
}

/* Compaction relies on a snapshot at each segment's base: it keeps a producer's newest batch, and
 * when that is lost or cut off again only the snapshots know of those before. */
static enum err replace_snapshot(struct log *log, const struct segment *segment)
{
    if (!log->config.is_compacted || log->producers.map.count == 0)
        return ERR_OK;
    enum err err = log_write_snapshot(log, segment->base_offset);
    return err == ERR_NOSPACE ? ERR_OK : err;
}

enum err log_load_producers(struct log *log, int64_t trusted_offset)
{
    producers_clear(&log->producers);
    if (PLANTED(FORGET_PRODUCERS))
        return ERR_OK;
    int64_t from;
    TRY(load_newest_snapshot(log, trusted_offset, &from));
    if (from >= log->end_offset)
        return ERR_OK;
    for (size_t at = log_segment_at(log, from); at < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        uint32_t position = 0, size, stopped_at;
        if (segment->base_offset > from)
            TRY(replace_snapshot(log, segment));
        if (segment->base_offset < from) {
            enum err err = segment_seek(log, segment, from, &position, &size);
            if (err == ERR_NOENT)
                continue;
            TRY(err);
        }
        struct replay replay = {log, &log->producers, segment};
        TRY(segment_scan(log, segment, position, segment->size, on_replayed_batch, &replay,
                         &stopped_at));
        TRY(aborted_store(log, segment));
    }
    return ERR_OK;
}

/* Transactions that began before the segment are in the snapshot at its base. */
enum err log_find_aborted(struct log *log, struct segment *segment)
{
    struct producers producers;
    struct replay replay = {log, &producers, segment};
    uint32_t stopped_at;
    producers_init(&producers, log->producers.map.seed);
    enum err err = read_snapshot(log, segment->base_offset, &producers);
    if (err == ERR_OK || (err == ERR_NOENT && segment == log->segments[0]))
        err = segment_scan(log, segment, 0, segment->size, on_replayed_batch, &replay, &stopped_at);
    producers_deinit(&producers);
    return err;
}
