/* Putting back what the write-ahead log has and a segment lacks.
 *
 * Runs on: the shard that opens the log, in recovery. The walk over a segment's batches asks here
 * where it finds no whole batch. What it finds in the segment it keeps: that is the same batch, or
 * one of somebody who ran on the folder since; what no checksum covers has to be as in the copy. A
 * batch of the write-ahead log is put where it stood, and only if the log can go on with it: the
 * next offset, and not of an epoch that a later leader has ended there (such a batch was cut off
 * since). */
#include <stdlib.h>

#include "base/plant.h"
#include "log/internal.h"
#include "log/wal_replay.h"

static bool fits(const struct log *log, const struct wal_entry *entry, int64_t next_offset)
{
    return wal_entry_fits(entry, &log->epochs, log->config.is_dense, next_offset);
}

enum err replay_batch(struct log *log, struct segment *segment, uint32_t position,
                      int64_t next_offset, uint32_t *len)
{
    const struct wal_group *group = log->replay;
    *len = 0;
    if (!group || PLANTED(WAL_FORGET_REPLAY))
        return ERR_OK;
    const struct wal_entry *entry = wal_group_find(group, segment->base_offset, position);
    if (!entry || !fits(log, entry, next_offset))
        return ERR_OK;
    uint8_t *data = malloc(entry->len);
    if (!data)
        return ERR_NOMEM;
    enum err err = segment_open_file(log, segment, 0);
    if (err == ERR_OK)
        err = wal_entry_read(group, log->io, entry, data);
    if (err == ERR_OK)
        err = io_write_now(log->io, segment->file, data, entry->len, position);
    free(data);
    TRY(err);
    uint32_t end = position + entry->len;
    if (end > segment->size) {
        log->size += end - segment->size;
        segment->size = segment->reserved = end;
    }
    *len = entry->len;
    return ERR_OK;
}

bool replay_disagrees(const struct log *log, const struct segment *segment, uint32_t position,
                      int64_t next_offset, const struct batch *batch)
{
    if (!log->replay || PLANTED(WAL_FORGET_REPLAY))
        return false;
    const struct wal_entry *entry = wal_group_find(log->replay, segment->base_offset, position);
    return entry && fits(log, entry, next_offset) && entry->len == batch->size &&
           (entry->base_offset != batch->base_offset || entry->leader_epoch != batch->leader_epoch);
}

bool replay_agrees(const struct log *log, const struct segment *segment, uint32_t position,
                   const struct batch *batch)
{
    const struct wal_entry *entry =
        log->replay ? wal_group_find(log->replay, segment->base_offset, position) : NULL;
    return entry && entry->len == batch->size && entry->base_offset == batch->base_offset &&
           entry->leader_epoch == batch->leader_epoch;
}

int64_t replay_end_offset(const struct log *log)
{
    const struct wal_group *group = log->replay;
    int64_t end = 0;
    for (size_t i = 0; group && i < group->count; i++) {
        const struct wal_entry *entry = &group->entries[i];
        if (entry->end_offset > end && !wal_entry_is_stale(entry, &log->epochs))
            end = entry->end_offset;
    }
    return end;
}
