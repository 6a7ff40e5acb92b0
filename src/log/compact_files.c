/* A compacted segment takes the place of the old ones, in Kafka's steps, so that either program can
 * go on after a crash in any of them. N is the base offset of the first old segment and of the new.
 *
 *   1. N.log.cleaned, N.index.cleaned, N.timeindex.cleaned are written and flushed, and where the
 *      segment has aborted transactions N.txnindex.cleaned
 *   2. they are renamed N.log.swap, N.index.swap and so on; the folder is flushed
 *   3. the old segments' files are renamed to end in .deleted, for their delayed removal
 *   4. the new files lose their .swap, the .log last; the folder is flushed
 *
 * Until 2 is complete the old segments are all there: the new files go. From then on the new one is
 * whole: what it replaces goes, and 3 and 4 are done again. Apache Kafka, which may split a segment
 * into two, has a rule for that: a .swap at or past the least .cleaned is taken back.
 *
 * Runs on: the shard that owns the log. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/parse.h"
#include "log/internal.h"

static enum err rename_file(struct log *log, int64_t base_offset, const char *from, const char *to)
{
    char old_path[LOG_PATH_MAX], new_path[LOG_PATH_MAX];
    segment_path(log, base_offset, from, old_path);
    segment_path(log, base_offset, to, new_path);
    return io_rename(log->io, old_path, new_path);
}

static enum err remove_old_files(struct log *log, size_t first, size_t count)
{
    static const char *const suffixes[] = {".log", ".index", ".timeindex", ".txnindex",
                                           ".snapshot"};
    for (size_t i = 0; i < count; i++) {
        /* The snapshot at the new segment's base stays true: it tells what came before. */
        size_t suffix_count = ARRAY_LEN(suffixes) - (i == 0 ? 1 : 0);
        for (size_t s = 0; s < suffix_count; s++)
            TRY(log_remove_file(log, log->segments[first + i]->base_offset, suffixes[s]));
    }
    return ERR_OK;
}

enum err compact_name_swap(struct log *log, struct segment *cleaned, bool has_txnindex)
{
    int64_t base_offset = cleaned->base_offset;
    TRY(log_mark(log, MANIFEST_RESHAPED, true)); /* from here on a start has to complete it */
    TRY(rename_file(log, base_offset, ".log.cleaned", ".log.swap"));
    TRY(rename_file(log, base_offset, ".index.cleaned", ".index.swap"));
    TRY(rename_file(log, base_offset, ".timeindex.cleaned", ".timeindex.swap"));
    if (has_txnindex)
        TRY(rename_file(log, base_offset, ".txnindex.cleaned", ".txnindex.swap"));
    cleaned->path_end = ".swap";
    return ERR_OK;
}

enum err compact_replace(struct log *log, size_t first, size_t count, struct segment *cleaned,
                         bool has_txnindex)
{
    int64_t base_offset = cleaned->base_offset;
    ASSERT(count > 0 && first + count < log->segment_count);
    ASSERT(log->segments[first]->base_offset == base_offset);
    TRY(log_mark(log, MANIFEST_RESHAPED, true)); /* nothing was noted in between */
    TRY(remove_old_files(log, first, count));
    TRY(rename_file(log, base_offset, ".index.swap", ".index"));
    TRY(rename_file(log, base_offset, ".timeindex.swap", ".timeindex"));
    if (has_txnindex)
        TRY(rename_file(log, base_offset, ".txnindex.swap", ".txnindex"));
    TRY(rename_file(log, base_offset, ".log.swap", ".log"));
    cleaned->path_end = NULL;
    log_forget_places(log);
    for (size_t i = 0; i < count; i++) {
        struct segment *old = log->segments[first + i];
        log->size -= old->size;
        old->is_removed = true;
        segment_unref(log, old);
    }
    log->segments[first] = cleaned;
    log->size += cleaned->size;
    memmove(log->segments + first + 1, log->segments + first + count,
            (log->segment_count - first - count) * sizeof(*log->segments));
    log->segment_count -= count - 1;
    log->is_aborted_known = false;
    return ERR_OK;
}

/* --- after a crash --- */

#define NAME_MAX_BYTES 64 /* longer ones are not ours */

/* NNN<anything> */
static bool base_of(struct str name, int64_t *base_offset)
{
    return name.len > SEGMENT_NAME_DIGITS && name.len <= NAME_MAX_BYTES &&
           parse_i64((struct str){name.data, SEGMENT_NAME_DIGITS}, base_offset) == ERR_OK &&
           *base_offset >= 0;
}

static void path_of(const struct log *log, struct str name, char *path)
{
    int len = snprintf(path, LOG_PATH_MAX, "%s/%.*s", log->dir, STR_ARG(name));
    ASSERT(len > 0 && len < LOG_PATH_MAX);
}

struct swaps {
    struct log *log;
    int64_t cleaned_min; /* least base offset of a .cleaned file; INT64_MAX: none */
    int64_t *bases;      /* of the N.log.swap files */
    size_t count, cap;
    bool any;
    /* What the new segment with base offset `from` replaces ends at `to`. */
    int64_t from, to;
};

static enum err find_cleaned(void *arg, const char *cname, bool is_dir)
{
    struct swaps *swaps = arg;
    struct str name = str_of(cname);
    int64_t base_offset;
    if (is_dir || !base_of(name, &base_offset))
        return ERR_OK;
    swaps->any |= str_ends_with(name, STR(".swap"));
    if (str_ends_with(name, STR(".cleaned")) && base_offset < swaps->cleaned_min)
        swaps->cleaned_min = base_offset;
    return ERR_OK;
}

/* Takes back what was not complete; notes the segments of the rest. */
static enum err find_swaps(void *arg, const char *cname, bool is_dir)
{
    struct swaps *swaps = arg;
    struct str name = str_of(cname);
    int64_t base_offset;
    if (is_dir || !base_of(name, &base_offset) || !str_ends_with(name, STR(".swap")))
        return ERR_OK;
    if (base_offset >= swaps->cleaned_min) {
        char path[LOG_PATH_MAX];
        path_of(swaps->log, name, path);
        return io_unlink_now(swaps->log->io, path);
    }
    if (!str_ends_with(name, STR(".log.swap")))
        return ERR_OK;
    if (swaps->count == swaps->cap) {
        size_t cap = swaps->cap ? swaps->cap * 2 : 4;
        int64_t *bases = realloc(swaps->bases, cap * sizeof(*bases));
        if (!bases)
            return ERR_NOMEM;
        swaps->bases = bases;
        swaps->cap = cap;
    }
    swaps->bases[swaps->count++] = base_offset;
    return ERR_OK;
}

static enum err on_swap_batch(void *arg, uint32_t position, const struct batch *batch)
{
    struct swaps *swaps = arg;
    (void)position;
    if (batch->base_offset < swaps->to || batch->last_offset < batch->base_offset ||
        !batch_crc_is_valid(batch))
        return ERR_MALFORMED;
    swaps->to = batch->last_offset + 1;
    return ERR_OK;
}

/* Reads the new segment: where it ends, and that it is whole, before anything is removed for it. */
static enum err measure_swap(struct swaps *swaps, int64_t base_offset, struct log_problem *problem)
{
    struct log *log = swaps->log;
    char path[LOG_PATH_MAX];
    struct io_stat stat;
    uint32_t stopped_at = 0;
    segment_path(log, base_offset, ".log.swap", path);
    TRY(io_stat_path(log->io, path, &stat));
    struct segment *segment = segment_new(log, base_offset);
    if (!segment)
        return ERR_NOMEM;
    segment->path_end = ".swap";
    segment->is_sealed = true;
    swaps->from = swaps->to = base_offset;
    enum err err = stat.size <= INT32_MAX ? ERR_OK : ERR_LIMIT;
    if (err == ERR_OK) {
        segment->size = segment->reserved = segment->flushed = (uint32_t)stat.size;
        err = segment_scan(log, segment, 0, segment->size, on_swap_batch, swaps, &stopped_at);
    }
    if (err == ERR_OK && stopped_at < segment->size)
        err = ERR_MALFORMED;
    if (err != ERR_OK)
        snprintf(problem->text, sizeof(problem->text),
                 "%.300s: the segment that an interrupted compaction wrote is damaged at byte %u "
                 "(%s)",
                 path, stopped_at, err_text(err));
    segment_close_file(log, segment);
    segment_free(segment);
    return err;
}

/* Files of the segments that the new one replaces, except those that it will be renamed over. */
static enum err remove_replaced(void *arg, const char *cname, bool is_dir)
{
    const struct swaps *swaps = arg;
    struct str name = str_of(cname);
    int64_t base_offset;
    if (is_dir || !base_of(name, &base_offset) || base_offset < swaps->from ||
        (base_offset >= swaps->to && base_offset > swaps->from))
        return ERR_OK;
    struct str suffix = {name.data + SEGMENT_NAME_DIGITS, name.len - SEGMENT_NAME_DIGITS};
    bool is_first = base_offset == swaps->from;
    if (!str_eq(suffix, STR(".index")) && !str_eq(suffix, STR(".timeindex")) &&
        !str_eq(suffix, STR(".txnindex")) && (is_first || !str_eq(suffix, STR(".log"))) &&
        (is_first || !str_eq(suffix, STR(".snapshot"))))
        return ERR_OK;
    char path[LOG_PATH_MAX];
    path_of(swaps->log, name, path);
    return io_unlink_now(swaps->log->io, path);
}

static enum err rename_swap(const struct swaps *swaps, struct str name)
{
    char path[LOG_PATH_MAX], new_path[LOG_PATH_MAX];
    path_of(swaps->log, name, path);
    path_of(swaps->log, (struct str){name.data, name.len - strlen(".swap")}, new_path);
    return io_rename(swaps->log->io, path, new_path);
}

static enum err rename_swapped_index(void *arg, const char *cname, bool is_dir)
{
    struct str name = str_of(cname);
    int64_t base_offset;
    if (is_dir || !base_of(name, &base_offset) || !str_ends_with(name, STR(".swap")) ||
        str_ends_with(name, STR(".log.swap")))
        return ERR_OK;
    return rename_swap(arg, name);
}

static enum err rename_swapped_log(void *arg, const char *cname, bool is_dir)
{
    struct str name = str_of(cname);
    int64_t base_offset;
    if (is_dir || !base_of(name, &base_offset) || !str_ends_with(name, STR(".log.swap")))
        return ERR_OK;
    return rename_swap(arg, name);
}

static enum err finish(struct swaps *swaps, struct log_problem *problem)
{
    struct log *log = swaps->log;
    TRY(io_list(log->io, log->dir, find_cleaned, swaps));
    if (!swaps->any)
        return ERR_OK;
    TRY(io_list(log->io, log->dir, find_swaps, swaps));
    for (size_t i = 0; i < swaps->count; i++) {
        TRY(measure_swap(swaps, swaps->bases[i], problem));
        diag_warn("log", "%s: an interrupted compaction of offsets %lld to %lld is completed",
                  log->dir, (long long)swaps->from, (long long)swaps->to - 1);
        TRY(io_list(log->io, log->dir, remove_replaced, swaps));
    }
    TRY(io_list(log->io, log->dir, rename_swapped_index, swaps));
    TRY(io_list(log->io, log->dir, rename_swapped_log, swaps));
    return io_sync_dir(log->io, log->dir);
}

enum err compact_finish_swaps(struct log *log, struct log_problem *problem)
{
    struct swaps swaps = {.log = log, .cleaned_min = INT64_MAX};
    enum err err = finish(&swaps, problem);
    free(swaps.bases);
    return err;
}
