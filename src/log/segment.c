/* Segments: files of one base offset, opened when they are used.
 *
 * Runs on: the shard that owns the log. A new segment's name is durable before it takes bytes. Old
 * files are renamed NAME.deleted at once and unlinked later, as Kafka does, so that a crash in
 * between leaves nothing that is served again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/diag.h"
#include "log/compact.h"
#include "log/internal.h"

/* Sealed segments whose files stay open in one log. */
#define OPEN_SEALED_MAX 4

struct removal {
    struct list link;
    struct io_op op;
    struct log *log;
    uint64_t due_ms;
    char path[LOG_PATH_MAX];
};

void segment_path(const struct log *log, int64_t base_offset, const char *suffix, char *path)
{
    int len = snprintf(path, LOG_PATH_MAX, "%s/%0*lld%s", log->dir, SEGMENT_NAME_DIGITS,
                       (long long)base_offset, suffix);
    ASSERT(len > 0 && len < LOG_PATH_MAX); /* log_open bounds the folder's name */
}

void segment_file_path(const struct log *log, const struct segment *segment, const char *suffix,
                       char *path)
{
    char whole[32];
    snprintf(whole, sizeof(whole), "%s%s", suffix, segment->path_end ? segment->path_end : "");
    segment_path(log, segment->base_offset, whole, path);
}

struct segment *segment_new(struct log *log, int64_t base_offset)
{
    struct segment *segment = calloc(1, sizeof(*segment));
    if (!segment)
        return NULL;
    list_init(&segment->open_link);
    segment->base_offset = base_offset;
    segment->max_timestamp = -1;
    segment->max_timestamp_offset = -1;
    segment->first_timestamp = -1;
    segment->file = IO_FILE_NONE;
    segment->direct = IO_FILE_NONE;
    index_reset(&segment->index);
    int64_t jitter_ms = log->config.segment_jitter_ms;
    if (jitter_ms > log->config.segment_ms)
        jitter_ms = log->config.segment_ms;
    if (jitter_ms > 0)
        segment->jitter_ms = (int64_t)(io_random(log->io) % (uint64_t)jitter_ms);
    return segment;
}

void segment_free(struct segment *segment)
{
    ASSERT(IO_FILE_IS_NONE(segment->file) && segment->readers == 0);
    index_release(&segment->index);
    aborted_release(&segment->aborted);
    free(segment);
}

enum err log_add_segment(struct log *log, struct segment *segment)
{
    if (log->segment_count == log->segment_cap) {
        size_t cap = log->segment_cap ? log->segment_cap * 2 : 4;
        struct segment **segments = realloc(log->segments, cap * sizeof(*segments));
        if (!segments)
            return ERR_NOMEM;
        log->segments = segments;
        log->segment_cap = cap;
    }
    log->segments[log->segment_count++] = segment;
    log->size += segment->size;
    return ERR_OK;
}

int64_t segment_end_offset(const struct log *log, size_t at)
{
    return at + 1 < log->segment_count ? log->segments[at + 1]->base_offset : log->end_offset;
}

/* Nothing is under way, and all is flushed: an error of the device's that the system has yet to
 * report is told to the descriptors that were open then. */
static bool may_close(const struct log *log, const struct segment *segment)
{
    return segment->readers == 0 && segment != log->flush_segment &&
           segment->flushed == segment->reserved;
}

/* A file that is known from the manifest must be as long as that says. What is behind the end of
 * the last one was not promised. */
static enum err compare_size(struct log *log, struct segment *segment, const char *path)
{
    struct io_stat stat;
    enum err err = io_stat_file(log->io, segment->file, &stat);
    if (err == ERR_OK &&
        (stat.size < segment->size || (segment->is_sealed && stat.size > segment->size))) {
        diag_error("log", "%s has %llu bytes, but should have %u: it was damaged since", path,
                   (unsigned long long)stat.size, segment->size);
        err = ERR_MALFORMED;
    }
    if (err != ERR_OK) {
        io_close(log->io, segment->file);
        segment->file = IO_FILE_NONE;
        log_fail(log, err, "a file is not as it was left");
        return err;
    }
    segment->is_unseen = false;
    return ERR_OK;
}

enum err segment_open_file(struct log *log, struct segment *segment, int flags)
{
    if (IO_FILE_IS_NONE(segment->file)) {
        char path[LOG_PATH_MAX];
        segment_file_path(log, segment, ".log", path);
        enum err err = io_open(log->io, path, flags | IO_OPEN_WRITE, &segment->file);
        if (err == ERR_NOENT) {
            diag_error("log", "%s is gone", path);
            /* Not to be taken for a record that is not there. Where it was gone before this start,
             * the partition is damaged, and not the disk. */
            err = segment->is_unseen ? ERR_MALFORMED : ERR_IO;
            if (segment->is_unseen)
                log_fail(log, err, "a file is not as it was left");
        }
        TRY(err);
        if (segment->is_unseen)
            TRY(compare_size(log, segment, path));
    }
    log->used_ms = io_now_ms(log->io);
    if (segment->open_link.next == &log->open_segments)
        return ERR_OK; /* the last one used already: as for every append in a row */
    list_remove(&segment->open_link);
    list_push_back(&log->open_segments, &segment->open_link);
    size_t open = 0;
    LIST_FOREACH (node, &log->open_segments)
        open++;
    LIST_FOREACH_SAFE (node, &log->open_segments) {
        struct segment *old = LIST_ENTRY(node, struct segment, open_link);
        if (open <= OPEN_SEALED_MAX)
            break;
        if (old != segment && old->is_sealed && may_close(log, old)) {
            segment_close_file(log, old);
            open--;
        }
    }
    return ERR_OK;
}

enum err segment_reserve(struct log *log, struct segment *segment)
{
    if (!log->config.preallocate)
        return ERR_OK;
    enum err err = io_reserve(log->io, segment->file, (uint64_t)log->config.segment_bytes);
    segment->has_reserve = err == ERR_OK;
    if (err != ERR_NOSPACE && err != ERR_UNSUPPORTED)
        return err;
    diag_warn("log", "%s: segment %lld grows as it is written: no %d bytes can be preallocated: %s",
              log->dir, (long long)segment->base_offset, log->config.segment_bytes, err_text(err));
    return ERR_OK;
}

/* What a sealed segment did not need. A crash before leaves it taken until the segment goes. */
static void give_reserve_back(struct log *log, struct segment *segment)
{
    if (!segment->has_reserve || !segment->is_sealed || segment->size != segment->reserved)
        return;
    segment->has_reserve = false;
    enum err err = io_truncate(log->io, segment->file, segment->size);
    if (err != ERR_OK)
        diag_warn("log", "%s: segment %lld keeps space that it does not need: %s", log->dir,
                  (long long)segment->base_offset, err_text(err));
}

enum err segment_open_direct(struct log *log, struct segment *segment)
{
    TRY(segment_open_file(log, segment, 0));
    if (!IO_FILE_IS_NONE(segment->direct))
        return ERR_OK;
    char path[LOG_PATH_MAX];
    segment_file_path(log, segment, ".log", path);
    return io_open(log->io, path, IO_OPEN_READ | IO_OPEN_DIRECT, &segment->direct);
}

void segment_close_file(struct log *log, struct segment *segment)
{
    if (IO_FILE_IS_NONE(segment->file))
        return;
    if (!IO_FILE_IS_NONE(segment->direct))
        io_close(log->io, segment->direct);
    segment->direct = IO_FILE_NONE;
    give_reserve_back(log, segment);
    io_close(log->io, segment->file);
    segment->file = IO_FILE_NONE;
    list_remove(&segment->open_link);
}

void log_close_idle(struct log *log)
{
    LIST_FOREACH_SAFE (node, &log->open_segments) {
        struct segment *segment = LIST_ENTRY(node, struct segment, open_link);
        if (may_close(log, segment))
            segment_close_file(log, segment);
    }
}

enum err segment_cut_file(struct log *log, struct segment *segment, uint32_t size)
{
    TRY(io_truncate(log->io, segment->file, size));
    return io_sync_now(log->io, segment->file);
}

size_t log_segment_at(const struct log *log, int64_t offset)
{
    size_t low = 0, high = log->segment_count; /* the answer is in [low, high) */
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (log->segments[mid]->base_offset <= offset)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* The files around a new segment, all durable before it takes bytes. A snapshot at each segment's
 * base: recovery begins at one of them. */
static enum err make_segment(struct log *log, struct segment *old, struct segment *segment)
{
    TRY(segment_open_file(log, segment, IO_OPEN_CREATE | IO_OPEN_TRUNCATE));
    TRY(segment_reserve(log, segment));
    TRY(io_sync_dir(log->io, log->dir));
    TRY(index_store(log, old));
    TRY(aborted_store(log, old));
    TRY(log_write_snapshot(log, segment->base_offset));
    TRY(log_write_epochs(log));
    return log_add_segment(log, segment);
}

enum err log_roll(struct log *log, int64_t base_offset, int64_t now_ms)
{
    struct segment *old = log_active(log);
    ASSERT(base_offset > old->base_offset && !old->is_sealed);
    TRY(log_mark(log, MANIFEST_ROLLED, true));
    struct segment *segment = segment_new(log, base_offset);
    if (!segment)
        return ERR_NOMEM;
    segment->created_ms = now_ms;
    segment->is_time_known = true;
    segment->aborted.is_loaded = true;
    enum err err = make_segment(log, old, segment);
    if (err != ERR_OK) {
        /* An empty segment that is left behind would end the log at the next start. */
        if (!IO_FILE_IS_NONE(segment->file)) {
            char path[LOG_PATH_MAX];
            segment_path(log, base_offset, ".log", path);
            segment_close_file(log, segment);
            enum err unlink_err = io_unlink_now(log->io, path);
            if (unlink_err != ERR_OK)
                err = unlink_err;
        }
        segment_free(segment);
        return err;
    }
    old->is_sealed = true;
    index_release(&old->index);
    log->is_changed = true;
    return ERR_OK;
}

enum err log_begin_segment(struct log *log, int64_t now_ms)
{
    if (log->is_offline)
        return ERR_KAFKA_STORAGE_ERROR;
    return log->next_offset > log_active(log)->base_offset ? log_roll(log, log->next_offset, now_ms)
                                                           : ERR_OK;
}

static void on_unlinked(struct io_op *op)
{
    struct removal *removal = CONTAINER_OF(op, struct removal, op);
    struct log *log = removal->log;
    ASSERT(log->unlinks > 0);
    log->unlinks--; /* a file that could not be removed is found and removed at the next start */
    free(removal);
}

void log_run_removals(struct log *log, uint64_t now_ms)
{
    LIST_FOREACH_SAFE (node, &log->removals) {
        struct removal *removal = LIST_ENTRY(node, struct removal, link);
        if (removal->due_ms > now_ms)
            continue; /* file.delete.delay.ms may have been changed: those behind may be due */
        list_remove(&removal->link);
        log->unlinks++;
        io_unlink(log->io, &removal->op, removal->path, on_unlinked);
    }
}

void log_drop_removals(struct log *log)
{
    struct list *node;
    while ((node = list_pop_front(&log->removals)) != NULL)
        free(LIST_ENTRY(node, struct removal, link));
}

void log_unlink_file(struct log *log, int64_t base_offset, const char *suffix)
{
    struct removal *removal = calloc(1, sizeof(*removal));
    if (!removal)
        return; /* the next start removes it */
    removal->log = log;
    segment_path(log, base_offset, suffix, removal->path);
    log->unlinks++;
    io_unlink(log->io, &removal->op, removal->path, on_unlinked);
}

enum err log_remove_file(struct log *log, int64_t base_offset, const char *suffix)
{
    char path[LOG_PATH_MAX];
    segment_path(log, base_offset, suffix, path);
    struct removal *removal = calloc(1, sizeof(*removal));
    if (!removal)
        return ERR_NOMEM;
    removal->log = log;
    removal->due_ms = io_now_ms(log->io) + (uint64_t)log->config.file_delete_delay_ms;
    int len = snprintf(removal->path, sizeof(removal->path), "%s.deleted", path);
    ASSERT(len > 0 && (size_t)len < sizeof(removal->path));
    enum err err = io_rename(log->io, path, removal->path);
    if (err != ERR_OK) {
        free(removal);
        return err == ERR_NOENT ? ERR_OK : err;
    }
    list_push_back(&log->removals, &removal->link);
    return ERR_OK;
}

void segment_unref(struct log *log, struct segment *segment)
{
    if (segment->is_removed && segment->readers == 0 && segment != log->flush_segment) {
        segment_close_file(log, segment);
        segment_free(segment);
    }
}

void segment_reader_done(struct log *log, struct segment *segment)
{
    ASSERT(segment->readers > 0);
    segment->readers--;
    segment_unref(log, segment);
}

enum err log_remove_segment(struct log *log, size_t at)
{
    ASSERT(at + 1 < log->segment_count); /* the active one stays */
    ASSERT(!compact_is_swapping(log));
    log_compact_abort(log);
    TRY(log_mark(log, MANIFEST_RESHAPED, true));
    compact_retry(log);
    log_forget_places(log);
    struct segment *segment = log->segments[at];
    static const char *const suffixes[] = {".log", ".index", ".timeindex", ".txnindex",
                                           ".snapshot"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        TRY(log_remove_file(log, segment->base_offset, suffixes[i]));
    memmove(log->segments + at, log->segments + at + 1,
            (log->segment_count - at - 1) * sizeof(*log->segments));
    log->segment_count--;
    log->size -= segment->size;
    segment->is_removed = true;
    segment_unref(log, segment);
    return ERR_OK;
}
