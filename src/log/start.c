/* The start offset that DeleteRecords asked for, made durable at once.
 *
 * Runs on: the shard that owns the log; the file is written by a job beside the loop. Kafka's
 * checkpoint of start offsets is written once a minute for all partitions; a crash before that
 * would bring back what a client was told is gone. So the offset goes to a file of the partition's
 * own first, `taffrail-log-start`: the offset in digits and a line end. One write is under way at a
 * time; deletions that wait meanwhile share the next one. A start after a crash takes the later one
 * of file and checkpoint; one after a clean stop takes the checkpoint, and the file goes. A start
 * that takes the log from the manifest does not look at the file: there the offset is noted, too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/parse.h"
#include "base/plant.h"
#include "log/copy.h"
#include "log/internal.h"

#define START_BYTES_MAX 32

struct start_write {
    struct io_job job;
    struct log *log;
    int64_t offset;
    char path[LOG_PATH_MAX];
};

static void start_path(const char *dir, char *path)
{
    int len = snprintf(path, LOG_PATH_MAX, "%s/" LOG_START_FILE, dir);
    ASSERT(len > 0 && len < LOG_PATH_MAX);
}

/* --- writing --- */

static uint64_t write_step(struct io_job *job, struct io *io, uint64_t now_ns)
{
    (void)now_ns;
    struct start_write *write = CONTAINER_OF(job, struct start_write, job);
    char text[START_BYTES_MAX];
    int len = snprintf(text, sizeof(text), "%lld\n", (long long)write->offset);
    job->op.err = ERR_OK;
    if (!PLANTED(DELETE_UNWRITTEN))
        job->op.err = io_replace_file(io, write->path, slice_of(text, (size_t)len));
    return IO_JOB_DONE;
}

static void end_deletion(struct log *log, struct log_deletion *deletion, enum err err)
{
    deletion->err = err;
    deletion->low_watermark = log->start_offset;
    deletion->done(deletion);
}

static void end_deletions(struct log *log, int64_t written, enum err err)
{
    LIST_FOREACH_SAFE (node, &log->deletions) {
        struct log_deletion *deletion = LIST_ENTRY(node, struct log_deletion, link);
        if (deletion->offset > written)
            continue;
        list_remove(&deletion->link);
        end_deletion(log, deletion,
                     err == ERR_OK ? log_delete_records(log, deletion->offset) : err);
    }
}

static void write_next(struct log *log);

static void end_write(struct log *log, enum err err)
{
    ASSERT(log->jobs > 0 && log->is_writing_start);
    log->jobs--;
    log->is_writing_start = false;
    end_deletions(log, log->written_start, err == ERR_OK ? ERR_OK : ERR_KAFKA_STORAGE_ERROR);
    if (!list_is_empty(&log->deletions))
        write_next(log);
}

/* The next start, which need not look at the folder, knows it, too. */
static void on_start_noted(struct manifest_waiter *waiter, enum err err)
{
    end_write(CONTAINER_OF(waiter, struct log, start_waiter), err);
}

static void on_start_written(struct io_op *op)
{
    struct start_write *write = CONTAINER_OF(op, struct start_write, job.op);
    struct log *log = write->log;
    enum err err = op->err;
    log->written_start = write->offset;
    free(write);
    if (err != ERR_OK && err != ERR_NOSPACE && err != ERR_NOMEM)
        log_fail(log, err, "a start offset could not be written");
    if (err == ERR_OK && log->is_offline)
        err = ERR_KAFKA_STORAGE_ERROR;
    if (err == ERR_OK)
        err = log_delete_records(log, log->written_start);
    if (err != ERR_OK || !log->manifest) {
        end_write(log, err);
        return;
    }
    log->start_waiter.done = on_start_noted;
    manifest_sync(log->manifest, &log->start_waiter);
}

/* One write for all that wait. */
static void write_next(struct log *log)
{
    struct start_write *write = calloc(1, sizeof(*write));
    if (!write) {
        end_deletions(log, INT64_MAX, ERR_NOMEM);
        return;
    }
    write->log = log;
    start_path(log->dir, write->path);
    LIST_FOREACH (node, &log->deletions) {
        const struct log_deletion *deletion = LIST_ENTRY(node, struct log_deletion, link);
        if (deletion->offset > write->offset)
            write->offset = deletion->offset;
    }
    log->is_writing_start = true;
    log->jobs++;
    io_job_start(log->io, &write->job, write_step, on_start_written);
}

void log_delete_durably(struct log *log, struct log_deletion *deletion)
{
    list_init(&deletion->link);
    enum err err = log->is_offline                      ? ERR_KAFKA_STORAGE_ERROR
                   : deletion->offset > log->end_offset ? ERR_OFFSET_OUT_OF_RANGE
                                                        : ERR_OK;
    if (err != ERR_OK || deletion->offset <= log->start_offset) {
        end_deletion(log, deletion, err);
        return;
    }
    list_push_back(&log->deletions, &deletion->link);
    if (!log->is_writing_start)
        write_next(log);
}

enum err log_save_start(struct log *log)
{
    char path[LOG_PATH_MAX], text[START_BYTES_MAX];
    start_path(log->dir, path);
    int len = snprintf(text, sizeof(text), "%lld\n", (long long)log->start_offset);
    TRY(io_replace_file(log->io, path, slice_of(text, (size_t)len)));
    TRY(log_note_start(log));
    return log->manifest ? manifest_sync_now(log->manifest) : ERR_OK;
}

/* --- at the start --- */

enum err log_read_start(struct log *log, bool clean_shutdown, int64_t *offset)
{
    char path[LOG_PATH_MAX];
    uint8_t *data;
    size_t len;
    start_path(log->dir, path);
    if (clean_shutdown)
        return io_unlink_now(log->io, path);
    TRY(io_read_file(log->io, path, START_BYTES_MAX, &data, &len));
    struct str text = {(const char *)data, len > 0 ? len - 1 : 0};
    enum err err = len > 0 && data[len - 1] == '\n' ? parse_i64(text, offset) : ERR_MALFORMED;
    free(data);
    return err != ERR_OK || *offset < 0 ? ERR_MALFORMED : ERR_OK;
}
