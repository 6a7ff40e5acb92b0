/* After a failed write: not to believe the page cache.
 *
 * Runs on: the shard that owns the log, at its failure and at its next opening. When the system
 * could not write pages to the disk it says so once, and from then on takes them for written.
 * Whoever reads them sees bytes that the next power cut takes, whatever is flushed before it. The
 * process that was told may be killed without that power cut, and the next one would not know. So
 * the log leaves a mark in its folder, and its next opening writes all from the recovery point on
 * once more, with the bytes that it reads there: they are on the disk then, or the log stays shut.
 * A kill between the failure and the mark, microseconds apart, goes unnoticed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/plant.h"
#include "log/internal.h"

#define CHUNK_BYTES ((size_t)1 << 20)

/* The name says it all, so that it can be left on a full disk, too; the text is for people. It is
 * not flushed: a power cut that takes it takes the page cache that it warns of. */
static enum err put_name(struct log *log)
{
    static const char text[] = "A write to this partition failed. What the page cache shows of it "
                               "is written anew by the next start.\n";
    char path[LOG_PATH_MAX];
    struct io_file file;
    int len = snprintf(path, sizeof(path), "%s/" DISTRUST_FILE, log->dir);
    if (len <= 0 || len >= LOG_PATH_MAX)
        return ERR_LIMIT;
    TRY(io_open(log->io, path, IO_OPEN_CREATE, &file));
    enum err err = io_write_now(log->io, file, text, sizeof(text) - 1, 0);
    (void)err;
    io_close(log->io, file);
    return ERR_OK;
}

/* The manifest, too: a start that believes it does not look into the folder. */
static enum err mark(struct log *log)
{
    TRY(put_name(log));
    if (!log->manifest)
        return ERR_OK;
    TRY(manifest_put_mark(log->manifest, log->key, MANIFEST_RESHAPED));
    log->mark = MANIFEST_RESHAPED;
    return manifest_sync_now(log->manifest);
}

void distrust_mark(struct log *log)
{
    if (log->has_distrust_mark)
        return;
    enum err err = mark(log);
    log->has_distrust_mark = err == ERR_OK;
    if (err != ERR_OK)
        diag_error("log",
                   "%s: that a write failed cannot be noted (%s): do not start the broker on this "
                   "folder before the machine was restarted",
                   log->dir, err_text(err));
}

static enum err write_anew(struct log *log, struct segment *segment, uint8_t *chunk)
{
    size_t moved = 0;
    TRY(segment_open_file(log, segment, 0));
    for (uint64_t at = 0; at < segment->size; at += moved) {
        TRY(io_read_now(log->io, segment->file, chunk, CHUNK_BYTES, at, &moved));
        if (moved == 0)
            break;
        TRY(io_write_now(log->io, segment->file, chunk, moved, at));
    }
    TRY(io_sync_now(log->io, segment->file));
    segment_close_file(log, segment);
    return ERR_OK;
}

enum err distrust_end(struct log *log, int64_t recovery_point)
{
    char path[LOG_PATH_MAX];
    snprintf(path, sizeof(path), "%s/" DISTRUST_FILE, log->dir);
    diag_warn("log",
              "%s: a write failed before the last stop; all from offset %lld on is written "
              "anew",
              log->dir, (long long)recovery_point);
    uint8_t *chunk = malloc(CHUNK_BYTES);
    if (!chunk)
        return ERR_NOMEM;
    enum err err = ERR_OK;
    size_t at = log_segment_at(log, recovery_point);
    for (; at < log->segment_count && err == ERR_OK && !PLANTED(TRUST_FAILED_CACHE); at++)
        err = write_anew(log, log->segments[at], chunk);
    free(chunk);
    TRY(err);
    TRY(io_unlink_now(log->io, path));
    return io_sync_dir(log->io, log->dir);
}
