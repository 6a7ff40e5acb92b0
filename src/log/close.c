/* The end of an open log: closed as by a clean stop, let go of, or deleted.
 *
 * A clean stop writes all that Kafka expects to find: indexes, the snapshot of the producers, the
 * epochs. A crash in between leaves what any crash does.
 *
 * Runs on: the shard that owns the log. */
#include <stdlib.h>

#include "base/assert.h"
#include "log/internal.h"
#include "log/wal_replay.h"

enum err log_settle(struct log *log)
{
    TRY(log_mark(log, MANIFEST_ROLLED, true)); /* there will be a snapshot at the end */
    for (size_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        if (segment->flushed == segment->size)
            continue;
        TRY(segment_open_file(log, segment, 0));
        TRY(io_sync_now(log->io, segment->file));
        segment->flushed = segment->size;
    }
    log->flushed_offset = log->end_offset;
    log_note_flushed(log);
    TRY(log_write_epochs(log));
    TRY(index_store(log, log_active(log)));
    TRY(aborted_store(log, log_active(log)));
    if (log->end_offset > 0)
        TRY(log_write_snapshot(log, log->end_offset));
    if (log->has_no_producers)
        TRY(log_remove_snapshots_but(log, log->end_offset));
    TRY(io_sync_dir(log->io, log->dir));
    log->is_changed = false;
    return ERR_OK;
}

/* Nothing was done to an empty log since the manifest told of it: its folder is as it should be. */
static bool must_close_files(const struct log *log)
{
    bool is_empty = log->size == 0 && log->producers.map.count == 0;
    return log->is_changed && !(log->is_asleep && is_empty);
}

void log_free(struct log *log, bool is_covered)
{
    ASSERT(log_is_idle(log) && !log->compaction);
    log_forget_places(log);
    if (log->wal)
        wal_remove_client(log->wal, &log->wal_client, is_covered);
    if (log->replay && is_covered)
        wal_group_settle(log->replay);
    for (size_t i = 0; i < log->segment_count; i++) {
        segment_close_file(log, log->segments[i]);
        segment_free(log->segments[i]);
    }
    log_drop_removals(log);
    free(log->compact_failure.text);
    free(log->segments);
    buf_deinit(&log->captured);
    producers_deinit(&log->producers);
    epochs_deinit(&log->epochs);
    free(log->dir);
    free(log);
}

enum err log_close(struct log *log)
{
    ASSERT(log_is_idle(log));
    enum err err = ERR_OK;
    if (log->is_offline)
        err = ERR_KAFKA_STORAGE_ERROR;
    else if (must_close_files(log))
        err = log_settle(log);
    if (err == ERR_OK)
        err = log_save(log);
    if (err != ERR_OK && !log->is_offline && err != ERR_NOSPACE)
        distrust_mark(log);
    log_free(log, err == ERR_OK);
    return err;
}

enum err log_announce_close(struct log *log)
{
    if (log->is_offline || !must_close_files(log))
        return ERR_OK;
    return log_mark(log, MANIFEST_ROLLED, false);
}

void log_abandon(struct log *log)
{
    log_free(log, false);
}

enum err log_delete(struct log *log, uint64_t random_hi, uint64_t random_lo, char **renamed)
{
    ASSERT(log_is_idle(log));
    *renamed = NULL;
    enum err err = log->is_renamed ? ERR_OK : log_give_up_name(log, random_hi, random_lo);
    if (err == ERR_OK) {
        *renamed = log->dir;
        log->dir = NULL;
    }
    log_free(log, err == ERR_OK);
    return err;
}
