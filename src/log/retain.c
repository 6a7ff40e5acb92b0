/* Giving space back: retention by time and size, DeleteRecords, and cutting the end.
 *
 * Runs on: the shard that owns the log. Segments go from the oldest on, whole, and never the active
 * one: where its time has come it is rolled first, so that a quiet topic expires too. */
#include "base/assert.h"
#include "log/compact.h"
#include "log/internal.h"

static enum err remove_oldest(struct log *log, uint32_t *removed)
{
    int64_t start = log->segments[1]->base_offset;
    TRY(log_remove_segment(log, 0));
    if (log->start_offset < start)
        log->start_offset = start;
    (*removed)++;
    return ERR_OK;
}

static enum err note_start(struct log *log)
{
    TRY(log_note_start(log));
    /* Of what was only deleted the rest is still to be flushed: the records behind it lie there. */
    int64_t first = log->segments[0]->base_offset;
    if (log->flushed_offset < first)
        log->flushed_offset = first;
    log_note_flushed(log);
    log->epochs_changed |= epochs_truncate_start(&log->epochs, log->start_offset);
    log->is_changed = true;
    return log_write_epochs(log);
}

static bool may_roll(const struct log *log)
{
    return list_is_empty(&log->writing) && log_active(log)->size > 0;
}

/* The time that a segment's age is counted from: its greatest timestamp. Where its records have
 * none, or one that is still to come, the time when its file was last written, so that one wrong
 * clock does not keep a log for ever. */
static enum err newest_time(struct log *log, struct segment *segment, int64_t now_ms,
                            int64_t *newest_ms)
{
    TRY(segment_learn_time(log, segment));
    *newest_ms = segment->max_timestamp;
    if (*newest_ms >= 0 && *newest_ms <= now_ms)
        return ERR_OK;
    char path[LOG_PATH_MAX];
    struct io_stat stat;
    segment_file_path(log, segment, ".log", path);
    TRY(io_stat_path(log->io, path, &stat));
    *newest_ms = stat.modified_ms;
    return ERR_OK;
}

/* Removes while the oldest segment is out of its time. */
static enum err retain_by_time(struct log *log, int64_t now_ms, uint32_t *removed)
{
    int64_t limit = log->config.retention_ms;
    if (limit < 0)
        return ERR_OK;
    for (;;) {
        struct segment *segment = log->segments[0];
        if (segment->size == 0 && log->segment_count == 1)
            return ERR_OK; /* compaction may empty others */
        int64_t newest_ms;
        TRY(newest_time(log, segment, now_ms, &newest_ms));
        if (now_ms - newest_ms <= limit)
            return ERR_OK;
        if (log->segment_count == 1) {
            if (!may_roll(log))
                return ERR_OK;
            TRY(log_roll(log, log->next_offset, now_ms));
        }
        TRY(remove_oldest(log, removed));
    }
}

static enum err retain_by_size(struct log *log, uint32_t *removed)
{
    int64_t limit = log->config.retention_bytes;
    if (limit < 0)
        return ERR_OK;
    while (log->segment_count > 1 && log->size - log->segments[0]->size >= (uint64_t)limit)
        TRY(remove_oldest(log, removed));
    return ERR_OK;
}

static enum err retain_by_start(struct log *log, uint32_t *removed)
{
    while (log->segment_count > 1 && log->segments[1]->base_offset <= log->start_offset)
        TRY(remove_oldest(log, removed));
    return ERR_OK;
}

static enum err retain(struct log *log, int64_t now_ms, uint32_t *removed)
{
    if (compact_is_swapping(log))
        return ERR_OK; /* for some milliseconds; the next time is soon enough */
    if (log->config.retain_by_deletion) {
        TRY(retain_by_time(log, now_ms, removed));
        TRY(retain_by_size(log, removed));
    }
    TRY(retain_by_start(log, removed));
    if (*removed == 0)
        return ERR_OK;
    TRY(io_sync_dir(log->io, log->dir)); /* what was deleted does not come back */
    return note_start(log);
}

enum err log_retain(struct log *log, int64_t now_ms, uint32_t *removed)
{
    *removed = 0;
    if (log->is_offline)
        return ERR_KAFKA_STORAGE_ERROR;
    if (log->config.producer_expiration_ms >= 0)
        producers_expire(&log->producers, now_ms - log->config.producer_expiration_ms);
    enum err err = retain(log, now_ms, removed);
    if (err != ERR_OK && err != ERR_NOSPACE && err != ERR_NOMEM)
        log_fail(log, err, "old segments could not be removed");
    return err;
}

enum err log_delete_records(struct log *log, int64_t offset)
{
    if (offset > log->end_offset)
        return ERR_OFFSET_OUT_OF_RANGE;
    if (offset <= log->start_offset)
        return ERR_OK;
    log->start_offset = offset;
    return note_start(log);
}

/* Keeps the batches below the offset; the segment becomes the active one. */
static enum err cut_last(struct log *log, int64_t offset)
{
    struct segment *segment = log_active(log);
    uint32_t position = 0, size;
    enum err err = segment_seek(log, segment, offset, &position, &size);
    if (err != ERR_NOENT) {
        TRY(err);
        TRY(segment_cut_file(log, segment, position));
        log->size -= segment->size - position;
        segment->size = segment->reserved = position;
        if (segment->flushed > position)
            segment->flushed = position;
    }
    segment->is_sealed = false;
    TRY(aborted_cut(log, segment, offset));
    uint32_t stopped_at;
    TRY(log_index_segment(log, segment, false, &log->end_offset, &stopped_at));
    return ERR_OK;
}

static enum err truncate_to(struct log *log, int64_t offset)
{
    log_forget_places(log);
    if (log->cleaned_offset > offset)
        log->cleaned_offset = offset;
    while (log->segment_count > 1 && log_active(log)->base_offset >= offset)
        TRY(log_drop_last_segment(log));
    TRY(cut_last(log, offset));
    log->next_offset = log->end_offset;
    if (log->flushed_offset > log->end_offset)
        log->flushed_offset = log->end_offset;
    log_forget_logged(log);
    log_note_flushed(log);
    if (log->start_offset > log->end_offset) {
        log->start_offset = log->end_offset;
        TRY(log_note_start(log));
    }
    log->epochs_changed |= epochs_truncate_end(&log->epochs, log->end_offset);
    log->is_changed = true;
    TRY(log_write_epochs(log));
    return log_load_producers(log, INT64_MAX);
}

enum err log_truncate_to(struct log *log, int64_t offset)
{
    ASSERT(log_is_idle(log));
    if (offset >= log->end_offset)
        return ERR_OK;
    if (offset < log->segments[0]->base_offset)
        return ERR_OFFSET_OUT_OF_RANGE;
    enum err err = log_mark(log, MANIFEST_RESHAPED, true);
    if (err == ERR_OK)
        err = truncate_to(log, offset);
    if (err != ERR_OK)
        log_fail(log, err, "its end could not be cut off"); /* what is left only a start can tell */
    return err;
}
