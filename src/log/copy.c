/* Copying a log while it is written to.
 *
 * Runs on: the shard that owns the log, but for the job beside its loop, which is given names and
 * sizes and writes files of its own. In rounds: the loop notes which bytes each segment has that
 * the copy lacks, the job copies them, and once few are left the owner is told. It then holds
 * appends back and lets log_copy_finish copy the rest, which takes milliseconds.
 *
 * A sealed segment is copied with its indexes and its snapshot and flushed; the active one gets
 * them at the end. Segments that retention takes away meanwhile are taken away from the copy at the
 * end. What a crash leaves is an unfinished folder under a name that nobody serves. */
#include "log/copy.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "log/internal.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define MISSING_MAX ((uint64_t)1 << 20) /* so little that appends can wait for it */

/* A segment of the copy. */
struct copied {
    int64_t base_offset;
    uint32_t size;   /* bytes that the copy has */
    uint32_t wanted; /* bytes that it gets in this round */
    int64_t end_offset;
    bool is_sealed;   /* in this round */
    bool is_complete; /* with all files of a sealed segment, on the disk */
};

struct log_copy {
    struct io_job job;
    struct log *log; /* NULL: cancelled */
    char *from, *to;
    struct copied *segments; /* base offsets ascend; the job's while it runs */
    size_t count, cap;
    size_t at; /* the job's: the segment at hand */
    struct io_file source, target;
    uint8_t *piece;
    struct pace *pace;
    bool has_write_failed;
    log_copy_done *done;
    void *arg;
    _Atomic uint64_t size;
    _Atomic int64_t end_offset;
};

static const char *const companions[] = {".index", ".timeindex", ".txnindex", ".snapshot"};

static void copy_path(const char *dir, int64_t base_offset, const char *suffix, char *path)
{
    int len = snprintf(path, LOG_PATH_MAX, "%s/%0*lld%s", dir, SEGMENT_NAME_DIGITS,
                       (long long)base_offset, suffix);
    ASSERT(len > 0 && len < LOG_PATH_MAX); /* log_copy_begin bounds the folder's name */
}

/* --- the job --- */

static enum err write_piece(struct log_copy *copy, struct io *io, size_t len, uint64_t offset)
{
    enum err err = io_write_now(io, copy->target, copy->piece, len, offset);
    copy->has_write_failed |= err != ERR_OK;
    return err;
}

static enum err open_target(struct log_copy *copy, struct io *io, const char *path, int flags)
{
    enum err err = io_open(io, path, flags, &copy->target);
    if (err != ERR_OK) {
        copy->target = IO_FILE_NONE;
        copy->has_write_failed = true;
    }
    return err;
}

static enum err sync_target(struct log_copy *copy, struct io *io)
{
    enum err err = io_sync_now(io, copy->target);
    copy->has_write_failed |= err != ERR_OK;
    return err;
}

static void close_files(struct log_copy *copy, struct io *io)
{
    if (!IO_FILE_IS_NONE(copy->source))
        io_close(io, copy->source);
    if (!IO_FILE_IS_NONE(copy->target))
        io_close(io, copy->target);
    copy->source = copy->target = IO_FILE_NONE;
}

static enum err copy_open_file(struct log_copy *copy, struct io *io)
{
    size_t moved = 0;
    uint64_t offset = 0;
    do {
        TRY(io_read_now(io, copy->source, copy->piece, PIECE_BYTES, offset, &moved));
        TRY(write_piece(copy, io, moved, offset));
        offset += moved;
    } while (moved == PIECE_BYTES);
    return sync_target(copy, io);
}

/* The whole of a file that does not grow; one that is not there is none. */
static enum err copy_file(struct log_copy *copy, struct io *io, const char *from, const char *to)
{
    ASSERT(IO_FILE_IS_NONE(copy->source) && IO_FILE_IS_NONE(copy->target));
    enum err err = io_open(io, from, IO_OPEN_READ, &copy->source);
    if (err != ERR_OK) {
        copy->source = IO_FILE_NONE;
        return err == ERR_NOENT ? ERR_OK : err;
    }
    err = open_target(copy, io, to, IO_OPEN_CREATE | IO_OPEN_TRUNCATE);
    if (err == ERR_OK)
        err = copy_open_file(copy, io);
    close_files(copy, io);
    return err;
}

static enum err copy_companions(struct log_copy *copy, struct io *io, int64_t base_offset)
{
    for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
        char from[LOG_PATH_MAX], to[LOG_PATH_MAX];
        copy_path(copy->from, base_offset, companions[i], from);
        copy_path(copy->to, base_offset, companions[i], to);
        TRY(copy_file(copy, io, from, to));
    }
    return ERR_OK;
}

static enum err open_segment(struct log_copy *copy, struct io *io, const struct copied *segment)
{
    char path[LOG_PATH_MAX];
    copy_path(copy->from, segment->base_offset, ".log", path);
    enum err err = io_open(io, path, IO_OPEN_READ, &copy->source);
    if (err != ERR_OK) {
        copy->source = IO_FILE_NONE;
        return err;
    }
    copy_path(copy->to, segment->base_offset, ".log", path);
    return open_target(copy, io, path,
                       IO_OPEN_CREATE | (segment->size == 0 ? IO_OPEN_TRUNCATE : IO_OPEN_WRITE));
}

static enum err end_segment(struct log_copy *copy, struct io *io, struct copied *segment)
{
    enum err err = segment->is_sealed ? sync_target(copy, io) : ERR_OK;
    close_files(copy, io);
    if (err == ERR_OK && segment->is_sealed)
        err = copy_companions(copy, io, segment->base_offset);
    segment->is_complete = err == ERR_OK && segment->is_sealed;
    return err;
}

/* A piece of the segment at hand; *moved is its size. */
static enum err copy_piece(struct log_copy *copy, struct io *io, struct copied *segment,
                           size_t *moved)
{
    size_t want = segment->wanted - segment->size;
    if (want > PIECE_BYTES)
        want = PIECE_BYTES;
    if (want > 0) {
        TRY(io_read_now(io, copy->source, copy->piece, want, segment->size, moved));
        if (*moved < want)
            return ERR_TRUNCATED;
        TRY(write_piece(copy, io, want, segment->size));
        segment->size += (uint32_t)want;
        atomic_fetch_add(&copy->size, want);
    }
    return ERR_OK;
}

static enum err work(struct log_copy *copy, struct io *io, size_t *moved)
{
    struct copied *segment = &copy->segments[copy->at];
    bool has_more = segment->size < segment->wanted;
    has_more |= segment->is_sealed && !segment->is_complete;
    if (has_more && IO_FILE_IS_NONE(copy->source)) {
        enum err err = open_segment(copy, io, segment);
        if (err == ERR_NOENT && !copy->has_write_failed) {
            copy->at++; /* retention took it: log_copy_finish takes it out of the copy */
            return ERR_OK;
        }
        TRY(err);
    }
    if (has_more)
        TRY(copy_piece(copy, io, segment, moved));
    if (segment->size < segment->wanted)
        return ERR_OK;
    if (has_more)
        TRY(end_segment(copy, io, segment));
    atomic_store(&copy->end_offset, segment->end_offset);
    copy->at++;
    return ERR_OK;
}

static uint64_t on_step(struct io_job *job, struct io *io, uint64_t now_ns)
{
    struct log_copy *copy = CONTAINER_OF(job, struct log_copy, job);
    size_t moved = 0;
    if (copy->at == copy->count)
        return IO_JOB_DONE;
    uint64_t pause_ns = pace_pause_ns(copy->pace, now_ns);
    if (pause_ns > 0)
        return pause_ns;
    job->op.err = work(copy, io, &moved);
    pace_charge(copy->pace, moved, now_ns);
    return job->op.err == ERR_OK ? 0 : IO_JOB_DONE;
}

/* --- rounds --- */

static struct copied *find_copied(struct log_copy *copy, int64_t base_offset)
{
    for (size_t i = 0; i < copy->count; i++) {
        if (copy->segments[i].base_offset == base_offset)
            return &copy->segments[i];
    }
    return NULL;
}

static enum err add_copied(struct log_copy *copy, int64_t base_offset, struct copied **out)
{
    if (copy->count == copy->cap) {
        size_t cap = copy->cap ? copy->cap * 2 : 16;
        struct copied *segments = realloc(copy->segments, cap * sizeof(*segments));
        if (!segments)
            return ERR_NOMEM;
        copy->segments = segments;
        copy->cap = cap;
    }
    *out = &copy->segments[copy->count++];
    **out = (struct copied){.base_offset = base_offset};
    return ERR_OK;
}

/* Notes what the log has; *missing is what the copy lacks of it. */
static enum err plan(struct log_copy *copy, uint64_t *missing)
{
    struct log *log = copy->log;
    TRY(log_wake(log));
    *missing = 0;
    copy->at = 0;
    for (size_t i = 0; i < log->segment_count; i++) {
        const struct segment *segment = log->segments[i];
        struct copied *copied = find_copied(copy, segment->base_offset);
        if (!copied)
            TRY(add_copied(copy, segment->base_offset, &copied));
        copied->wanted = segment->size;
        copied->is_sealed = i + 1 < log->segment_count;
        copied->end_offset = segment_end_offset(log, i);
        *missing += copied->wanted - copied->size;
    }
    return ERR_OK;
}

static void on_round(struct io_op *op);

static void start_round(struct log_copy *copy)
{
    copy->job.op.err = ERR_OK;
    io_job_start(copy->log->io, &copy->job, on_step, on_round);
}

static void on_round(struct io_op *op)
{
    struct log_copy *copy = CONTAINER_OF(op, struct log_copy, job.op);
    uint64_t missing = 0;
    enum err err = copy->log ? op->err : ERR_CANCELLED;
    if (err == ERR_OK && copy->log->is_offline)
        err = ERR_KAFKA_STORAGE_ERROR;
    if (err == ERR_OK)
        err = plan(copy, &missing);
    if (err == ERR_OK && missing > MISSING_MAX) {
        start_round(copy);
        return;
    }
    copy->done(copy->arg, err);
}

/* --- the door --- */

enum err log_copy_begin(struct log *log, const char *dir, struct uuid topic_id, struct pace *pace,
                        log_copy_done *done, void *arg, struct log_copy **out)
{
    if (strlen(dir) + SEGMENT_NAME_DIGITS + sizeof(".timeindex") >= LOG_PATH_MAX)
        return ERR_LIMIT;
    TRY(log_write_topic_id(log->io, dir, topic_id));
    struct log_copy *copy = calloc(1, sizeof(*copy));
    if (!copy)
        return ERR_NOMEM;
    *copy = (struct log_copy){.log = log,
                              .from = strdup(log->dir),
                              .to = strdup(dir),
                              .source = IO_FILE_NONE,
                              .target = IO_FILE_NONE,
                              .piece = malloc(PIECE_BYTES),
                              .pace = pace,
                              .done = done,
                              .arg = arg};
    atomic_store(&copy->end_offset, log->start_offset);
    uint64_t missing;
    enum err err = copy->from && copy->to && copy->piece ? plan(copy, &missing) : ERR_NOMEM;
    if (err != ERR_OK) {
        log_copy_free(copy);
        return err;
    }
    start_round(copy);
    *out = copy;
    return ERR_OK;
}

bool log_copy_is_ready(const struct log_copy *copy)
{
    const struct log *log = copy->log;
    return !log->is_refusing && !log->flush_segment && list_is_empty(&log->writing) &&
           list_is_empty(&log->unflushed) && log->jobs == 0 && list_is_empty(&log->deletions);
}

static enum err remove_gone(struct log_copy *copy, struct io *io)
{
    for (size_t i = 0; i < copy->count; i++) {
        int64_t base_offset = copy->segments[i].base_offset;
        if (copy->log->segments[log_segment_at(copy->log, base_offset)]->base_offset == base_offset)
            continue;
        static const char *const suffixes[] = {".log", ".index", ".timeindex", ".txnindex",
                                               ".snapshot"};
        for (size_t s = 0; s < ARRAY_LEN(suffixes); s++) {
            char path[LOG_PATH_MAX];
            copy_path(copy->to, base_offset, suffixes[s], path);
            enum err err = io_unlink_now(io, path);
            if (err != ERR_OK && err != ERR_NOENT)
                return err;
        }
    }
    return ERR_OK;
}

static bool is_whole(struct log_copy *copy)
{
    for (size_t i = 0; i < copy->log->segment_count; i++) {
        const struct copied *copied = find_copied(copy, copy->log->segments[i]->base_offset);
        if (!copied || !copied->is_complete)
            return false;
    }
    return true;
}

/* What a clean stop leaves beside the segments. */
static enum err copy_rest(struct log_copy *copy, struct io *io)
{
    char from[LOG_PATH_MAX], to[LOG_PATH_MAX];
    copy_path(copy->from, copy->log->end_offset, ".snapshot", from);
    copy_path(copy->to, copy->log->end_offset, ".snapshot", to);
    TRY(copy_file(copy, io, from, to));
    snprintf(from, sizeof(from), "%s/" EPOCHS_FILE, copy->from);
    snprintf(to, sizeof(to), "%s/" EPOCHS_FILE, copy->to);
    return copy_file(copy, io, from, to);
}

/* A flush of the log's own that fails here is as final as any: the next one would seem to succeed.
 */
static enum err settle_source(struct log *log)
{
    enum err err = log_settle(log);
    if (err != ERR_OK && err != ERR_NOSPACE && err != ERR_NOMEM)
        log_fail(log, err, "its end could not be flushed for a move");
    return err;
}

enum err log_copy_finish(struct log_copy *copy)
{
    ASSERT(log_copy_is_ready(copy));
    struct io *io = copy->log->io;
    uint64_t missing;
    size_t moved = 0;
    TRY(settle_source(copy->log));
    TRY(plan(copy, &missing));
    for (size_t i = 0; i < copy->count; i++)
        copy->segments[i].is_sealed = true; /* the active one, too, gets all its files now */
    while (copy->at < copy->count)
        TRY(work(copy, io, &moved));
    if (!is_whole(copy))
        return ERR_NOENT; /* a file of the log is gone */
    TRY(copy_rest(copy, io));
    TRY(remove_gone(copy, io));
    enum err err = io_sync_dir(io, copy->to);
    copy->has_write_failed |= err != ERR_OK;
    return err;
}

void log_copy_cancel(struct log_copy *copy)
{
    if (copy->log)
        io_job_cancel(copy->log->io, &copy->job);
    copy->log = NULL;
}

void log_copy_free(struct log_copy *copy)
{
    free(copy->from);
    free(copy->to);
    free(copy->piece);
    free(copy->segments);
    free(copy);
}

bool log_copy_has_write_failed(const struct log_copy *copy)
{
    return copy->has_write_failed;
}

int64_t log_copy_end_offset(const struct log_copy *copy)
{
    return atomic_load(&copy->end_offset);
}

uint64_t log_copy_size(const struct log_copy *copy)
{
    return atomic_load(&copy->size);
}

void log_take_producers(struct log *copy, struct log *log)
{
    ASSERT(copy->next_offset == log->next_offset);
    producers_swap(&copy->producers, &log->producers);
}
