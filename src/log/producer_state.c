/* A log's producer state on disk: snapshots, and the batches behind them.
 *
 * Runs on: the shard that owns the log. OFFSET.snapshot holds the state before the batch at OFFSET;
 * one is written at each roll and at a clean stop. A crash loses at most the newest: an older one
 * and the batches from there on give the same state. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/parse.h"
#include "log/internal.h"

#define SNAPSHOT_SUFFIX    ".snapshot"
#define SNAPSHOT_BYTES_MAX ((size_t)256 << 20)

struct producer_append log_producer_append(const struct batch *batch)
{
    return (struct producer_append){
        .id = batch->producer_id,
        .epoch = batch->producer_epoch,
        .first_sequence = batch->base_sequence,
        .last_sequence = batch_last_sequence(batch),
        .first_offset = batch->base_offset,
        .last_offset = batch->last_offset,
        .timestamp = batch->max_timestamp,
        .is_transactional = batch_is_transactional(batch),
        .is_control = batch_is_control(batch),
    };
}

enum err log_note_producer(struct log *log, const struct batch *batch)
{
    /* A control batch of the metadata log has no producer; a sequence of -1 is no idempotent one.
     */
    if (!batch_has_producer(batch) ||
        (batch->base_sequence == BATCH_SEQUENCE_NONE && !batch_is_control(batch)))
        return ERR_OK;
    struct producer_append append = log_producer_append(batch);
    return producers_note(&log->producers, &append);
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
    int64_t below;  /* offsets at or past it are not wanted */
    int64_t newest; /* -1: none */
};

static bool snapshot_offset(const char *name, int64_t *offset)
{
    struct str text = str_of(name);
    struct str suffix = STR(SNAPSHOT_SUFFIX);
    if (text.len != SEGMENT_NAME_DIGITS + suffix.len ||
        !str_eq((struct str){text.data + SEGMENT_NAME_DIGITS, suffix.len}, suffix))
        return false;
    return parse_i64((struct str){text.data, SEGMENT_NAME_DIGITS}, offset) == ERR_OK &&
           *offset >= 0;
}

static enum err on_snapshot_name(void *arg, const char *name, bool is_dir)
{
    struct snapshot_search *search = arg;
    int64_t offset;
    if (is_dir || !snapshot_offset(name, &offset))
        return ERR_OK;
    if (offset > search->log->end_offset) {
        char path[LOG_PATH_MAX];
        segment_path(search->log, offset, SNAPSHOT_SUFFIX, path);
        return io_unlink_now(search->log->io, path); /* of records that were cut off */
    }
    if (offset < search->below && offset > search->newest)
        search->newest = offset;
    return ERR_OK;
}

static enum err load_newest_snapshot(struct log *log, int64_t *from)
{
    int64_t below = INT64_MAX;
    for (;;) {
        struct snapshot_search search = {log, below, -1};
        TRY(io_list(log->io, log->dir, on_snapshot_name, &search));
        *from = log->start_offset;
        if (search.newest < 0)
            return ERR_OK;
        char path[LOG_PATH_MAX];
        segment_path(log, search.newest, SNAPSHOT_SUFFIX, path);
        uint8_t *data = NULL;
        size_t len = 0;
        enum err err = io_read_file(log->io, path, SNAPSHOT_BYTES_MAX, &data, &len);
        if (err == ERR_OK)
            err = producers_snapshot_read(&log->producers, (struct slice){data, len});
        free(data);
        if (err == ERR_OK) {
            *from = search.newest;
            return ERR_OK;
        }
        if (err != ERR_MALFORMED && err != ERR_LIMIT)
            return err;
        below = search.newest; /* torn by a crash: an older one will do */
    }
}

static enum err on_replayed_batch(void *arg, uint32_t position, const struct batch *batch)
{
    (void)position;
    return log_note_producer(arg, batch);
}

enum err log_load_producers(struct log *log)
{
    producers_clear(&log->producers);
    int64_t from;
    TRY(load_newest_snapshot(log, &from));
    if (from >= log->end_offset)
        return ERR_OK;
    for (size_t at = log_segment_at(log, from); at < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        uint32_t position = 0, stopped_at;
        if (segment->base_offset < from) {
            enum err err = segment_seek(log, segment, from, &position);
            if (err == ERR_NOENT)
                continue;
            TRY(err);
        }
        TRY(segment_scan(log, segment, position, segment->size, on_replayed_batch, log,
                         &stopped_at));
    }
    return ERR_OK;
}
