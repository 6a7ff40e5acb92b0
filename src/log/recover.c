/* Opening a folder: what a clean stop left is taken as it is, what a crash left is checked.
 *
 * Runs on: the shard that will own the log, before anything else uses it. After a crash every batch
 * from the segment with the recovery point on is read and its checksum checked; the log is cut at
 * the first that is not whole, and segments behind the cut go. Below the recovery point everything
 * was flushed. Indexes of what was read are made again; producers come from the newest snapshot.
 * A crash during recovery leaves a folder that can be recovered again.
 *
 * Where the manifest has an entry for the log (checkpoint.c), only what came after that is looked
 * at: nothing where nothing was changed; the bytes behind where the entry ends; the segments behind
 * that one. An entry that cannot be right costs a look at everything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/parse.h"
#include "base/plant.h"
#include "log/internal.h"
#include "log/names.h"
#include "log/wal_replay.h"

/* After a start, when what the last wal has is flushed into the segments: from then on, and up to
 * twice as late. */
#define REPLAY_FLUSH_MS 5000

#define FILE_NAME_MAX 64 /* longer ones are not ours */

/* Keeps a text that was set deeper inside. */
static enum err problem_set(struct log_problem *problem, enum err err, const char *path,
                            const char *what)
{
    if (problem->text[0] != '\0')
        return err;
    snprintf(problem->text, sizeof(problem->text), "%.300s: %s (%s)", path, what, err_text(err));
    return err;
}

/* --- finding the files --- */

static int by_base_offset(const void *a, const void *b)
{
    int64_t left = (*(struct segment *const *)a)->base_offset;
    int64_t right = (*(struct segment *const *)b)->base_offset;
    return (left > right) - (left < right);
}

struct finding {
    struct log *log;
    struct log_problem *problem;
    bool has_start_file;
    int64_t known_base; /* segments up to it are known */
    bool has_removed;
};

static enum err find_segment(struct log *log, int64_t base_offset, const char *path)
{
    struct io_stat stat;
    TRY(io_stat_path(log->io, path, &stat));
    if (stat.size > INT32_MAX)
        return ERR_LIMIT;
    struct segment *segment = segment_new(log, base_offset);
    if (!segment)
        return ERR_NOMEM;
    segment->size = segment->reserved = (uint32_t)stat.size;
    segment->created_ms = stat.modified_ms;
    segment->is_sealed = true;
    enum err err = log_add_segment(log, segment);
    if (err != ERR_OK)
        segment_free(segment);
    return err;
}

/* It may be a file that was put here by mistake, or one that was renamed. */
static bool is_foreign(const struct log *log, const char *name, bool is_dir)
{
    const char *slash = strrchr(log->dir, '/');
    if (name_is_of_partition(str_of(slash ? slash + 1 : log->dir), str_of(name), is_dir))
        return false;
    diag_warn("log",
              "%s/%s is foreign: neither Apache Kafka nor Taffrail has such a %s. It is left alone",
              log->dir, name, is_dir ? "folder" : "file");
    return true;
}

static enum err on_name(void *arg, const char *cname, bool is_dir)
{
    struct finding *finding = arg;
    struct log *log = finding->log;
    struct str name = str_of(cname);
    char path[LOG_PATH_MAX];
    if (is_foreign(log, cname, is_dir) || is_dir || name.len > FILE_NAME_MAX)
        return ERR_OK;
    log_file_path(log->dir, cname, path);
    finding->has_start_file |= str_eq(name, STR(LOG_START_FILE));
    /* What was on its way out, or not yet whole: the files that it stands for are there. */
    if (str_ends_with(name, STR(".deleted")) || str_ends_with(name, STR(".tmp")) ||
        str_ends_with(name, STR(".cleaned")))
        return io_unlink_now(log->io, path);
    if (str_eq(name, STR(DISTRUST_FILE)))
        log->is_distrusted = true;
    int64_t base_offset;
    if (name.len != SEGMENT_NAME_DIGITS + 4 || !str_ends_with(name, STR(".log")) ||
        parse_i64((struct str){name.data, SEGMENT_NAME_DIGITS}, &base_offset) != ERR_OK ||
        base_offset < 0)
        return ERR_OK;
    enum err err = find_segment(log, base_offset, path);
    if (err != ERR_OK)
        return problem_set(finding->problem, err, path, "it cannot be taken as a segment");
    return ERR_OK;
}

static enum err read_start_file(struct log *log, struct log_open_options *options,
                                struct log_problem *problem)
{
    int64_t offset = -1;
    enum err err = log_read_start(log, options->clean_shutdown, &offset);
    if (err != ERR_OK)
        return problem_set(problem, err, log->dir, LOG_START_FILE " cannot be used");
    if (offset > options->log_start_offset)
        options->log_start_offset = offset;
    return ERR_OK;
}

static enum err find_segments(struct log *log, struct log_open_options *options,
                              struct log_problem *problem)
{
    struct finding finding = {log, problem, false, -1};
    TRY(compact_finish_swaps(log, problem));
    TRY(io_list(log->io, log->dir, on_name, &finding));
    if (finding.has_start_file)
        TRY(read_start_file(log, options, problem));
    int64_t start_offset = options->log_start_offset;
    if (log->segment_count == 0) {
        struct segment *segment = segment_new(log, start_offset > 0 ? start_offset : 0);
        if (!segment)
            return ERR_NOMEM;
        segment->created_ms = io_wall_ms(log->io);
        enum err err = segment_open_file(log, segment, IO_OPEN_CREATE);
        if (err == ERR_OK)
            err = segment_reserve(log, segment);
        if (err == ERR_OK) /* a flush of the file alone does not keep its name */
            err = io_sync_dir(log->io, log->dir);
        if (err == ERR_OK)
            err = log_add_segment(log, segment);
        if (err != ERR_OK) {
            segment_close_file(log, segment);
            segment_free(segment);
            return err;
        }
    }
    qsort(log->segments, log->segment_count, sizeof(*log->segments), by_base_offset);
    return ERR_OK;
}

/* --- indexing a segment from its batches --- */

struct index_walk {
    struct log *log;
    struct segment *segment;
    bool check_crc;
    bool is_indexed;     /* the first batch is in the index already... */
    int64_t last_offset; /* ...as one that ends here */
    int64_t next_offset;
    uint32_t producers_from; /* position from which on batches tell of their producers */
    bool is_dense;           /* no gap may be */
    int64_t next_base;       /* of the segment behind; INT64_MAX: there is none */
    int32_t leader_epoch;    /* of the batch before; -1: none */
};

/* Of a segment from its beginning on. */
static struct index_walk walk_of(struct log *log, struct segment *segment, bool check_crc)
{
    size_t behind = log_segment_at(log, segment->base_offset) + 1;
    return (struct index_walk){
        .log = log,
        .segment = segment,
        .check_crc = check_crc,
        .last_offset = -1,
        .next_offset = segment->base_offset,
        .producers_from = UINT32_MAX,
        .is_dense = log->config.is_dense,
        .next_base = behind < log->segment_count ? log->segments[behind]->base_offset : INT64_MAX,
        .leader_epoch = -1};
}

/* --- what no checksum covers: base offset and leader epoch --- */

/* Whether a batch that comes behind says that this one's offset or epoch is wrong: with what stands
 * there it would follow the one before this. */
static bool is_contradicted(const struct index_walk *walk, const struct batch *batch,
                            int64_t base_offset, int32_t leader_epoch)
{
    bool is_late = batch->base_offset > walk->next_offset && base_offset >= walk->next_offset &&
                   base_offset <= batch->last_offset;
    bool is_older = leader_epoch >= walk->leader_epoch && leader_epoch < batch->leader_epoch;
    return is_late || is_older;
}

/* The batch at that place of the segment, if it is whole, or its copy in the write-ahead log. What
 * a later leader has cut off since is no copy of it. */
static enum err read_witness(const struct index_walk *walk, uint32_t position,
                             const struct batch *batch, bool *is_against)
{
    struct log *log = walk->log;
    uint8_t header[BATCH_HEADER_BYTES];
    size_t moved = 0;
    const struct wal_entry *entry =
        log->replay ? wal_group_find(log->replay, walk->segment->base_offset, position) : NULL;
    if (entry && !wal_entry_is_stale(entry, &log->epochs)) {
        *is_against = is_contradicted(walk, batch, entry->base_offset, entry->leader_epoch);
        return ERR_OK;
    }
    TRY(io_read_now(log->io, walk->segment->file, header, sizeof(header), position, &moved));
    int64_t size = moved == sizeof(header) ? batch_size_peek(header) : 0;
    if (size < (int64_t)BATCH_HEADER_BYTES || size > walk->segment->size - position ||
        !is_contradicted(walk, batch, (int64_t)be64_load(header + BATCH_AT_BASE_OFFSET),
                         (int32_t)be32_load(header + BATCH_AT_LEADER_EPOCH)))
        return ERR_OK;
    uint8_t *data = malloc((size_t)size);
    if (!data)
        return ERR_NOMEM;
    struct batch witness;
    enum err err = io_read_now(log->io, walk->segment->file, data, (size_t)size, position, &moved);
    *is_against = err == ERR_OK && moved == (size_t)size &&
                  batch_load(slice_of(data, moved), &witness) == ERR_OK &&
                  batch_crc_is_valid(&witness);
    free(data);
    return err;
}

/* A gap before the batch, or a new epoch with it, may be right or garbled. Whole batches are
 * written in order, so that one behind it, or the segment behind, tells; where none is, it is
 * believed. */
static enum err check_unsummed(const struct index_walk *walk, uint32_t position,
                               const struct batch *batch)
{
    const struct log *log = walk->log;
    if (batch->last_offset >= walk->next_base || batch->leader_epoch < walk->leader_epoch)
        return ERR_MALFORMED;
    if (log->leader_epoch_max >= 0 && batch->leader_epoch > log->leader_epoch_max)
        return ERR_MALFORMED;
    bool is_odd =
        batch->base_offset != walk->next_offset || batch->leader_epoch != walk->leader_epoch;
    bool is_against = false;
    uint32_t behind = position + (uint32_t)batch->size;
    if (is_odd && !replay_agrees(log, walk->segment, position, batch))
        TRY(read_witness(walk, behind, batch, &is_against));
    return is_against ? ERR_MALFORMED : ERR_OK;
}

static enum err on_batch(void *arg, uint32_t position, const struct batch *batch)
{
    struct index_walk *walk = arg;
    struct segment *segment = walk->segment;
    /* No segment spans more than an index can tell. */
    if (batch->base_offset < walk->next_offset || batch->last_offset < batch->base_offset ||
        batch->last_offset - segment->base_offset > INT32_MAX)
        return ERR_MALFORMED;
    if (walk->check_crc && !PLANTED(TRUST_TORN_TAIL) && !batch_crc_is_valid(batch))
        return ERR_MALFORMED;
    if (walk->check_crc && PLANTED(CUT_ONE_BATCH_TOO_MANY) &&
        position + batch->size == segment->size)
        return ERR_MALFORMED;
    if (walk->check_crc && walk->is_dense && batch->base_offset != walk->next_offset)
        return ERR_MALFORMED;
    if (walk->check_crc && replay_disagrees(walk->log, segment, position, walk->next_offset, batch))
        return ERR_MALFORMED;
    if (walk->check_crc)
        TRY(check_unsummed(walk, position, batch));
    walk->leader_epoch = batch->leader_epoch;
    walk->next_offset = batch->last_offset + 1;
    if (walk->check_crc && batch->leader_epoch > epochs_latest(&walk->log->epochs))
        TRY(log_note_epoch(walk->log, batch->leader_epoch, batch->base_offset));
    if (position >= walk->producers_from)
        TRY(log_note_producer(walk->log, segment, batch));
    if (walk->is_indexed) {
        if (batch->last_offset != walk->last_offset)
            return ERR_MALFORMED;
        walk->is_indexed = false;
        segment->index_gap = 0;
    }
    return index_note_batch(walk->log, segment, position, batch);
}

static enum err walk_batches(struct index_walk *walk, uint32_t position, uint32_t *stopped_at)
{
    struct segment *segment = walk->segment;
    enum err err =
        segment_scan(walk->log, segment, position, segment->size, on_batch, walk, stopped_at);
    return err == ERR_MALFORMED ? ERR_OK : err; /* the walk ended at the bad batch */
}

static void forget_content(struct segment *segment)
{
    index_reset(&segment->index);
    segment->index_gap = 0;
    segment->max_timestamp = segment->max_timestamp_offset = segment->first_timestamp = -1;
    segment->is_time_known = true;
}

enum err log_index_segment(struct log *log, struct segment *segment, bool check_crc,
                           int64_t *end_offset, uint32_t *stopped_at)
{
    forget_content(segment);
    struct index_walk walk = walk_of(log, segment, check_crc);
    TRY(walk_batches(&walk, 0, stopped_at));
    *end_offset = walk.next_offset;
    return ERR_OK;
}

/* Where the manifest's entry ends: what is before that is known. */
struct resume {
    bool is_known;
    size_t at; /* of the segment */
    uint32_t position;
    int64_t offset;
};

/* Every batch from the position on, those included that only the write-ahead log has. */
static enum err walk_with_replay(struct index_walk *walk, uint32_t position, uint32_t *stopped_at)
{
    uint32_t len = 0, put_at = UINT32_MAX;
    do {
        TRY(walk_batches(walk, position, stopped_at));
        if (*stopped_at == put_at)
            break; /* the copy is refused, too */
        position = put_at = *stopped_at;
        TRY(replay_batch(walk->log, walk->segment, position, walk->next_offset, &len));
    } while (len > 0);
    return ERR_OK;
}

/* Reads on from there; a segment behind that one, from its first batch on. Where the index files do
 * not have what they should, from the first batch on, too. */
static enum err index_resumed(struct log *log, size_t at, const struct resume *resume,
                              int64_t *end_offset, uint32_t *stopped_at)
{
    struct segment *segment = log->segments[at];
    bool is_first = at == resume->at;
    struct index_walk walk = walk_of(log, segment, true);
    walk.producers_from = is_first ? resume->position : 0;
    enum err err = is_first ? index_verify(log, segment) : ERR_MALFORMED;
    if (err == ERR_MALFORMED)
        forget_content(segment);
    else
        TRY(err);
    bool goes_on = err == ERR_OK;
    if (goes_on) {
        walk.next_offset = resume->offset;
        walk.leader_epoch = epochs_of_offset(&log->epochs, resume->offset - 1);
    }
    /* A leader leaves no gaps, and a follower that appends one takes the entry back. */
    walk.is_dense |= goes_on || !is_first;
    TRY(walk_with_replay(&walk, goes_on ? resume->position : 0, stopped_at));
    *end_offset = walk.next_offset;
    return ERR_OK;
}

enum err segment_learn_first_time(struct log *log, struct segment *segment)
{
    if (segment->first_timestamp >= 0 || segment->size == 0)
        return ERR_OK;
    uint8_t header[BATCH_HEADER_BYTES];
    size_t moved = 0;
    TRY(segment_open_file(log, segment, 0));
    TRY(io_read_now(log->io, segment->file, header, sizeof(header), 0, &moved));
    if (moved == sizeof(header))
        segment->first_timestamp = (int64_t)be64_load(header + BATCH_AT_MAX_TIMESTAMP);
    return ERR_OK;
}

/* The active segment after a clean stop: its index files are right, only the tail is read.
 * ERR_MALFORMED: they are not. */
static enum err index_tail(struct log *log, struct segment *segment, int64_t *end_offset)
{
    struct index_entry last;
    struct timeindex_entry last_time;
    forget_content(segment);
    enum err err = index_adopt(log, segment, &last, &last_time);
    if (err == ERR_NOENT && segment->size == 0) {
        *end_offset = segment->base_offset;
        return ERR_OK;
    }
    if (err != ERR_OK)
        return err == ERR_NOENT ? ERR_MALFORMED : err;
    struct index_walk walk = walk_of(log, segment, false);
    if (last.position > 0) {
        walk.is_indexed = true;
        walk.last_offset = segment->base_offset + last.relative_offset;
        TRY(segment_learn_first_time(log, segment));
    }
    if (last_time.timestamp >= 0) {
        segment->max_timestamp = last_time.timestamp;
        segment->max_timestamp_offset = segment->base_offset + last_time.relative_offset;
    }
    uint32_t stopped_at = 0;
    if (segment->size > 0)
        TRY(walk_batches(&walk, last.position, &stopped_at));
    *end_offset = walk.next_offset;
    return stopped_at == segment->size ? ERR_OK : ERR_MALFORMED;
}

/* --- recovery --- */

static enum err cut_segment(struct log *log, struct segment *segment, uint32_t size)
{
    diag_warn("log", "%s: segment %lld: %u bytes behind the last whole batch are cut off", log->dir,
              (long long)segment->base_offset, segment->size - size);
    TRY(segment_open_file(log, segment, 0));
    TRY(segment_cut_file(log, segment, size));
    log->size -= segment->size - size;
    segment->size = segment->reserved = size;
    return ERR_OK;
}

enum err log_drop_last_segment(struct log *log)
{
    log_forget_places(log);
    struct segment *segment = log_active(log);
    static const char *const suffixes[] = {".log", ".index", ".timeindex", ".txnindex"};
    segment_close_file(log, segment);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char path[LOG_PATH_MAX];
        segment_path(log, segment->base_offset, suffixes[i], path);
        enum err err = io_unlink_now(log->io, path);
        if (err != ERR_OK && err != ERR_NOENT)
            return err;
    }
    log->size -= segment->size;
    log->segment_count--;
    segment_free(segment);
    /* If it came back after a power cut, its records would follow those that are written now. */
    return io_sync_dir(log->io, log->dir);
}

static enum err drop_segments_behind(struct log *log, size_t last)
{
    while (log->segment_count > last + 1) {
        diag_warn("log", "%s: segment %lld lies behind the cut and is removed", log->dir,
                  (long long)log_active(log)->base_offset);
        TRY(log_drop_last_segment(log));
    }
    return ERR_OK;
}

/* Names the batch that should be at `position`: below the recovery point nothing may be lost. */
static enum err refuse_bad_batch(const struct log *log, const struct segment *segment,
                                 uint32_t position, int64_t offset, struct log_problem *problem)
{
    snprintf(
        problem->text, sizeof(problem->text),
        "%.300s/%0*lld.log: no whole batch at byte %u, where offset %lld should follow, though "
        "this was flushed: the file was damaged later",
        log->dir, SEGMENT_NAME_DIGITS, (long long)segment->base_offset, position,
        (long long)offset);
    return ERR_MALFORMED;
}

/* Whether the segment behind `at` does not follow: the end of this one was lost. Where compaction
 * may leave gaps nobody can tell. What was lost below the start was deleted (skip_to_start). */
static bool is_gap_behind(const struct log *log, size_t at, int64_t end_offset)
{
    if (!log->config.is_dense || at + 1 == log->segment_count)
        return false;
    int64_t next = log->segments[at + 1]->base_offset;
    return next != end_offset && next > log->start_offset;
}

static enum err index_whole(struct log *log, struct segment *segment, int64_t *end_offset,
                            uint32_t *stopped_at)
{
    forget_content(segment);
    struct index_walk walk = walk_of(log, segment, true);
    TRY(walk_with_replay(&walk, 0, stopped_at));
    *end_offset = walk.next_offset;
    return ERR_OK;
}

static enum err recover_segments(struct log *log, int64_t recovery_point,
                                 const struct resume *resume, int64_t *end_offset,
                                 struct log_problem *problem)
{
    size_t at = resume->is_known ? resume->at : log_segment_at(log, recovery_point);
    for (; at < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        uint32_t stopped_at = 0;
        if (resume->is_known)
            TRY(index_resumed(log, at, resume, end_offset, &stopped_at));
        else
            TRY(index_whole(log, segment, end_offset, &stopped_at));
        bool is_cut = stopped_at < segment->size;
        bool is_end = is_cut || at + 1 == log->segment_count || is_gap_behind(log, at, *end_offset);
        if ((is_cut && *end_offset < recovery_point) ||
            (is_end && *end_offset < replay_end_offset(log)))
            return refuse_bad_batch(log, segment, stopped_at, *end_offset, problem);
        if (is_cut)
            TRY(cut_segment(log, segment, stopped_at));
        if (is_end)
            TRY(drop_segments_behind(log, at));
        if (at + 1 < log->segment_count) {
            if (resume->is_known)
                TRY(aborted_store(log, segment));
            TRY(index_store(log, segment));
            index_release(&segment->index);
        }
    }
    log->is_changed = true;
    return ERR_OK;
}

/* The last segment only, and of that what its indexes do not tell. */
static enum err open_clean(struct log *log, int64_t *end_offset, struct log_problem *problem)
{
    struct segment *active = log_active(log);
    enum err err = index_tail(log, active, end_offset);
    if (err != ERR_MALFORMED)
        return err;
    uint32_t stopped_at;
    TRY(log_index_segment(log, active, true, end_offset, &stopped_at));
    if (stopped_at < active->size)
        return refuse_bad_batch(log, active, stopped_at, *end_offset, problem);
    log->is_changed = true;
    return ERR_OK;
}

/* After the segments are known: the offsets, and what is on the disk. */
static void place_offsets(struct log *log, const struct log_open_options *options)
{
    log->next_offset = log->end_offset;
    int64_t flushed = options->clean_shutdown ? log->end_offset : options->recovery_point;
    if (flushed > log->end_offset) {
        diag_warn("log", "%s: ends at offset %lld, but %lld was flushed once", log->dir,
                  (long long)log->end_offset, (long long)flushed);
        flushed = log->end_offset;
    }
    for (size_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        segment->flushed = segment_end_offset(log, i) <= flushed ? segment->size : 0;
    }
    log->start_offset = log->segments[0]->base_offset;
    log->flushed_offset = flushed > log->start_offset ? flushed : log->start_offset;
    if (options->log_start_offset > log->start_offset)
        log->start_offset = options->log_start_offset;
}

/* The write-ahead log of the last run keeps its copy until the segments have it. Many logs are
 * opened at once: they do not all flush at the same time. */
static void place_replay(struct log *log)
{
    if (!log->replay)
        return;
    if (PLANTED(WAL_DROP_BEFORE_FLUSH) || log->flushed_offset >= log->end_offset) {
        wal_group_settle(log->replay);
        log->replay = NULL;
        return;
    }
    log->replay_offset = log->end_offset;
    log->replay_flush_ms =
        io_now_ms(log->io) + REPLAY_FLUSH_MS + io_random(log->io) % (uint64_t)REPLAY_FLUSH_MS;
}

/* Records up to the start offset were deleted, and some behind the log's end are lost: it goes on
 * at the start, so that no offset below it is given again. */
static enum err skip_to_start(struct log *log)
{
    diag_warn("log", "%s: ends at offset %lld, below its start %lld; it goes on from there",
              log->dir, (long long)log->end_offset, (long long)log->start_offset);
    TRY(log_roll(log, log->start_offset, io_wall_ms(log->io)));
    log->end_offset = log->next_offset = log->start_offset;
    return ERR_OK;
}

/* --- from the manifest --- */

static void forget_log(struct log *log)
{
    while (log->segment_count > 0) {
        struct segment *segment = log->segments[--log->segment_count];
        segment_close_file(log, segment);
        segment_free(segment);
    }
    log->size = 0;
    log->is_changed = log->epochs_changed = false;
    producers_clear(&log->producers);
    epochs_deinit(&log->epochs);
}

/* Segments that were begun behind the entry's last one, and what was on its way in or out. */
static enum err on_later_name(void *arg, const char *cname, bool is_dir)
{
    struct finding *finding = arg;
    struct log *log = finding->log;
    struct str name = str_of(cname);
    int64_t base_offset;
    if (name.len == SEGMENT_NAME_DIGITS + 4 && str_ends_with(name, STR(".log")) &&
        parse_i64((struct str){name.data, SEGMENT_NAME_DIGITS}, &base_offset) == ERR_OK &&
        base_offset <= finding->known_base)
        return ERR_OK;
    if (name.len == SEGMENT_NAME_DIGITS + 9 && str_ends_with(name, STR(".snapshot")) &&
        parse_i64((struct str){name.data, SEGMENT_NAME_DIGITS}, &base_offset) == ERR_OK &&
        base_offset > log->end_offset) {
        /* It may know of batches that are lost. */
        char path[LOG_PATH_MAX];
        log_file_path(log->dir, cname, path);
        finding->has_removed = true;
        return io_unlink_now(log->io, path);
    }
    return on_name(arg, cname, is_dir);
}

static enum err find_later_segments(struct log *log, struct log_problem *problem)
{
    struct finding finding = {
        .log = log, .problem = problem, .known_base = log_active(log)->base_offset};
    size_t known_count = log->segment_count;
    TRY(io_list(log->io, log->dir, on_later_name, &finding));
    qsort(log->segments, log->segment_count, sizeof(*log->segments), by_base_offset);
    /* Names that a killed process made may be in the page cache only. */
    bool is_changed = finding.has_removed || log->segment_count > known_count;
    return is_changed ? io_sync_dir(log->io, log->dir) : ERR_OK;
}

/* The file of the entry's last segment, with what was appended since. */
static enum err measure_active(struct log *log, struct log_problem *problem)
{
    struct segment *active = log_active(log);
    struct io_stat stat;
    char path[LOG_PATH_MAX];
    segment_path(log, active->base_offset, ".log", path);
    active->is_unseen = false;
    enum err err = segment_open_file(log, active, 0);
    if (err != ERR_OK && io_stat_path(log->io, path, &stat) == ERR_NOENT)
        err = ERR_MALFORMED; /* the partition is damaged, and not the disk */
    if (err != ERR_OK)
        return problem_set(problem, err, path, "it was there and cannot be opened now");
    TRY(io_stat_file(log->io, active->file, &stat));
    if (stat.size < active->size) {
        snprintf(problem->text, sizeof(problem->text),
                 "%.300s has %llu bytes, but %u were flushed: it was damaged since", path,
                 (unsigned long long)stat.size, active->size);
        return ERR_MALFORMED;
    }
    if (stat.size > INT32_MAX)
        return ERR_LIMIT;
    log->size += (uint32_t)stat.size - active->size;
    log->unsaved_bytes = stat.size - active->size;
    active->size = active->reserved = (uint32_t)stat.size;
    return ERR_OK;
}

/* What was appended and rolled since the entry. */
static enum err recover_tail(struct log *log, enum manifest_mark mark, int64_t recovery_point,
                             struct log_problem *problem)
{
    struct log_open_options known = {
        .recovery_point = recovery_point > log->end_offset ? recovery_point : log->end_offset,
        .log_start_offset = log->start_offset};
    struct segment *active = log_active(log);
    struct resume resume = {true, log->segment_count - 1, active->size, log->end_offset};
    TRY(measure_active(log, problem));
    if (mark >= MANIFEST_ROLLED)
        TRY(find_later_segments(log, problem));
    for (size_t at = resume.at; at < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        segment->is_sealed = true;
        TRY(aborted_cut(log, segment, at == resume.at ? resume.offset : segment->base_offset));
    }
    TRY(recover_segments(log, known.recovery_point, &resume, &log->end_offset, problem));
    log_active(log)->is_sealed = false;
    place_offsets(log, &known);
    return ERR_OK;
}

/* ERR_NOENT: the manifest does not say enough, or what it says cannot be; the log is empty then. */
static enum err open_known(struct log *log, const struct log_open_options *options,
                           struct log_problem *problem)
{
    const struct manifest_item *item = options->item;
    enum manifest_mark mark = item ? item->mark : MANIFEST_RESHAPED;
    /* A roll is never unmarked, whatever else a power cut took. */
    if (options->must_recover && mark < MANIFEST_APPENDED)
        mark = MANIFEST_APPENDED;
    if (mark == MANIFEST_RESHAPED || !item->entry.data)
        return ERR_NOENT;
    enum err err = log_restore(log, item->entry);
    /* More was flushed than an entry knows that nothing took back. */
    bool is_behind =
        err == ERR_OK && mark == MANIFEST_UNCHANGED && options->recovery_point > log->end_offset;
    if (err == ERR_MALFORMED || is_behind) {
        diag_warn("log", "%s: what the manifest says of it cannot be: its files are read",
                  log->dir);
        forget_log(log);
        return ERR_NOENT;
    }
    TRY(err);
    int64_t start_offset = item->start_offset > options->log_start_offset
                               ? item->start_offset
                               : options->log_start_offset;
    if (start_offset > log->start_offset)
        log->start_offset = start_offset;
    log->mark = item->mark;
    log->mark_position = log->manifest ? manifest_position(log->manifest) : 0;
    log->is_asleep = mark == MANIFEST_UNCHANGED;
    if (options->must_recover) /* what is found may be flushed under it */
        TRY(log_mark(log, MANIFEST_APPENDED, false));
    if (!log->is_asleep)
        TRY(recover_tail(log, mark, options->recovery_point, problem));
    if (log->start_offset > log->end_offset)
        TRY(skip_to_start(log));
    return ERR_OK;
}

/* --- opening --- */

static enum err read_files(struct log *log, const struct log_open_options *given,
                           struct log_problem *problem)
{
    struct log_open_options known = *given, *options = &known;
    enum err err = find_segments(log, options, problem);
    if (err != ERR_OK)
        return problem_set(problem, err, log->dir, "its segments cannot be listed");
    log->start_offset = options->log_start_offset;
    if (log->is_distrusted)
        err = distrust_end(log, options->recovery_point);
    if (err != ERR_OK)
        return problem_set(problem, err, log->dir,
                           "after a failed write it cannot be written anew");
    err = log_load_epochs(log, options);
    if (err != ERR_OK)
        return problem_set(problem, err, log->dir, EPOCHS_FILE " cannot be read");
    const struct resume nowhere = {.is_known = false};
    err = options->clean_shutdown
              ? open_clean(log, &log->end_offset, problem)
              : recover_segments(log, options->recovery_point, &nowhere, &log->end_offset, problem);
    if (err != ERR_OK)
        return problem_set(problem, err, log->dir, "its segments cannot be recovered");
    log_active(log)->is_sealed = false;
    place_offsets(log, options);
    /* One may begin at the end. */
    log->epochs_changed |= epochs_truncate_end(&log->epochs, log->end_offset + 1);
    if (!options->clean_shutdown)
        err = aborted_cut(log, log_active(log), log->end_offset);
    if (err == ERR_OK)
        err = log_load_producers(log, options->clean_shutdown || log->has_no_producers
                                          ? INT64_MAX
                                          : options->recovery_point);
    if (err != ERR_OK)
        return problem_set(problem, err, log->dir, "the producers' state cannot be rebuilt");
    if (log->start_offset > log->end_offset)
        err = skip_to_start(log);
    if (err == ERR_OK)
        err = log_write_epochs(log);
    if (err == ERR_OK && !options->clean_shutdown)
        err = log_sync_names(log);
    return err == ERR_OK ? err : problem_set(problem, err, log->dir, "it cannot be written");
}

/* The folder tells all. What the manifest says is void from here on. */
static enum err open_unknown(struct log *log, const struct log_open_options *options,
                             struct log_problem *problem)
{
    struct log_open_options all = *options;
    const struct manifest_item *item = options->item;
    log->mark = MANIFEST_RESHAPED;
    if (item) {
        int64_t entry_start = log_entry_start(item->entry);
        int64_t start = item->start_offset > entry_start ? item->start_offset : entry_start;
        if (start > all.log_start_offset)
            all.log_start_offset = start;
        all.clean_shutdown = false;
        TRY(manifest_put_mark(log->manifest, log->key, MANIFEST_RESHAPED));
        log->mark_position = manifest_position(log->manifest);
    }
    return read_files(log, &all, problem);
}

static enum err open_files(struct log *log, const struct log_open_options *options,
                           struct log_problem *problem)
{
    enum err err = open_known(log, options, problem);
    if (err == ERR_NOENT)
        err = open_unknown(log, options, problem);
    if (err != ERR_OK)
        return problem_set(problem, err, log->dir, "it cannot be opened");
    log->durable_offset = log->flushed_offset;
    place_replay(log);
    for (size_t i = 0; i < log->segment_count; i++)
        segment_close_file(log, log->segments[i]); /* opened again when it is used */
    if (log->mark == MANIFEST_RESHAPED)
        log->unsaved_bytes = log_active(log)->size;
    return log->manifest && log_is_settled(log) ? log_save(log) : ERR_OK;
}

enum err log_open(struct io *io, const char *dir, const struct log_config *config,
                  const struct log_open_options *options, struct log_owner *owner, struct log **out,
                  struct log_problem *problem)
{
    problem->text[0] = '\0';
    if (strlen(dir) > DIR_NAME_MAX)
        return problem_set(problem, ERR_LIMIT, dir, "the path is too long");
    struct log *log = calloc(1, sizeof(*log));
    if (!log)
        return ERR_NOMEM;
    log->dir = strdup(dir);
    if (!log->dir) {
        free(log);
        return ERR_NOMEM;
    }
    log->io = io;
    log->config = *config;
    log->owner = owner;
    log->replay = options->replay;
    log->logged_segment = -1;
    log->flush_due_ms = -1;
    log->cleaned_offset = -1;
    list_init(&log->writing);
    list_init(&log->unflushed);
    list_init(&log->open_segments);
    list_init(&log->removals);
    list_init(&log->deletions);
    buf_init(&log->captured, 0);
    log->captured_offset = -1;
    log->has_no_producers = options->has_no_producers;
    log->leader_epoch_max = options->has_leader_epoch ? options->leader_epoch : -1;
    log->manifest = options->manifest;
    log->key = options->key;
    list_init(&log->cold_streams);
    producers_init(&log->producers, io_random(io));
    epochs_init(&log->epochs);
    enum err err = open_files(log, options, problem);
    if (err != ERR_OK) {
        if (err == ERR_IO)
            distrust_mark(log);
        log_free(log, false);
        return err;
    }
    if (options->wal) {
        log->wal = options->wal;
        log->wal_client.flush = log_on_wal_flush;
        log->wal_client.failed = log_on_wal_failed;
        wal_add_client(log->wal, &log->wal_client);
    }
    *out = log;
    return ERR_OK;
}

enum err log_rebuild_active(struct log *log)
{
    struct segment *active = log_active(log);
    int64_t end_offset;
    uint32_t stopped_at;
    TRY(log_index_segment(log, active, false, &end_offset, &stopped_at));
    if (end_offset != log->end_offset || stopped_at != active->size)
        return ERR_MALFORMED;
    return log_load_producers(log, INT64_MAX);
}
