/* What a manifest knows of a log: the entry, the marks that take it back, and the log that is made
 * from it without a look at its files.
 *
 * An entry speaks of the log up to an offset below which everything is on the disk:
 *
 *    0  u8   flags: 1: the folder is as a clean stop leaves it
 *    1  i64  start offset
 *    9  i64  end offset
 *   17  of the last segment's index file: u32 entries, u32 CRC32C of them; u32, u32 of its time
 *       index; i64 timestamp of the last time entry (-1); u32 bytes since the last index entry
 *   45  u32  segments, and for each: i64 base offset, u32 bytes, i64 greatest timestamp, i64 the
 *            offset that has it, i64 first timestamp, i64 made at (ms), u8 whether its times are
 *            known
 *       u32  leader epochs, and for each: i32 epoch, i64 start offset
 *       the rest: the producers (producers.h)
 *
 * It is taken down at any moment (`capture`), for the offset that the next append would get: what
 * is noted of batches runs ahead of the disk to exactly there. It is put into the manifest once a
 * flush has reached that offset.
 *
 * A log that is made from an entry is asleep: it serves reads, and compares each file's size when
 * it opens it. Before its first change it wakes (`log_wake`): what lies behind the entry's end was
 * never promised to anybody and goes, and the index is compared with its checksum.
 *
 * Runs on: the shard that owns the log. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/parse.h"
#include "log/compact.h"
#include "log/internal.h"

#define ENTRY_HEAD_BYTES    49
#define ENTRY_SEGMENT_BYTES 45
#define ENTRY_EPOCH_BYTES   12
/* A log with more to say than that is recovered from its files. */
#define ENTRY_BYTES_MAX ((size_t)4 << 20)

/* How long nothing was appended before an entry is put that the next append takes back. */
#define SETTLED_MS 5000

enum { ENTRY_IS_CLOSED = 1 };

/* --- taking it down --- */

static void print_segment(const struct segment *segment, struct buf *out)
{
    buf_put_be64(out, (uint64_t)segment->base_offset);
    buf_put_be32(out, segment->reserved);
    buf_put_be64(out, (uint64_t)segment->max_timestamp);
    buf_put_be64(out, (uint64_t)segment->max_timestamp_offset);
    buf_put_be64(out, (uint64_t)segment->first_timestamp);
    buf_put_be64(out, (uint64_t)segment->created_ms);
    buf_put_u8(out, segment->is_time_known);
}

static enum err print_entry(const struct log *log, struct buf *out)
{
    const struct segment *active = log_active(log);
    const struct segment_index *index = &active->index;
    buf_put_u8(out, log->is_changed ? 0 : ENTRY_IS_CLOSED);
    buf_put_be64(out, (uint64_t)log->start_offset);
    buf_put_be64(out, (uint64_t)log->next_offset);
    buf_put_be32(out, index->stored);
    buf_put_be32(out, index->crc);
    buf_put_be32(out, index->times_stored);
    buf_put_be32(out, index->times_crc);
    buf_put_be64(out, (uint64_t)index->last_time);
    buf_put_be32(out, active->index_gap);
    buf_put_be32(out, (uint32_t)log->segment_count);
    for (size_t i = 0; i < log->segment_count; i++)
        print_segment(log->segments[i], out);
    buf_put_be32(out, (uint32_t)log->epochs.count);
    for (size_t i = 0; i < log->epochs.count; i++) {
        buf_put_be32(out, (uint32_t)log->epochs.entries[i].epoch);
        buf_put_be64(out, (uint64_t)log->epochs.entries[i].start_offset);
    }
    TRY(producers_pack(&log->producers, out));
    return out->err;
}

void log_drop_capture(struct log *log)
{
    buf_deinit(&log->captured);
    log->captured_offset = -1;
}

static enum err capture(struct log *log)
{
    struct segment *active = log_active(log);
    log_drop_capture(log);
    TRY(index_store_tail(log, active));
    buf_init(&log->captured, ENTRY_BYTES_MAX);
    enum err err = print_entry(log, &log->captured);
    if (err != ERR_OK) {
        log_drop_capture(log);
        return err;
    }
    log->captured_offset = log->next_offset;
    log->captured_base = active->base_offset;
    log->captured_bytes = log->unsaved_bytes;
    return ERR_OK;
}

/* What happened since the capture, and what else a start would find in the folder. */
static enum manifest_mark mark_since_capture(const struct log *log)
{
    if (compact_is_swapping(log))
        return MANIFEST_RESHAPED;
    if (log->compaction || !list_is_empty(&log->removals) || log->unlinks > 0 ||
        log_active(log)->base_offset != log->captured_base)
        return MANIFEST_ROLLED;
    return log->next_offset != log->captured_offset ? MANIFEST_APPENDED : MANIFEST_UNCHANGED;
}

enum err log_put_capture(struct log *log)
{
    if (log->captured_offset < 0 || log->flushed_offset < log->captured_offset)
        return ERR_OK;
    enum manifest_mark mark = mark_since_capture(log);
    enum err err = manifest_put_entry(log->manifest, log->key, mark, buf_slice(&log->captured));
    if (err == ERR_OK) {
        log->mark = mark;
        log->mark_position = manifest_position(log->manifest);
        log->unsaved_bytes -= log->captured_bytes;
    }
    log_drop_capture(log);
    return err;
}

enum err log_save(struct log *log)
{
    if (!log->manifest || log->is_offline || log->mark == MANIFEST_UNCHANGED)
        return ERR_OK;
    enum err err = capture(log);
    if (err == ERR_NOSPACE || err == ERR_NOMEM)
        return ERR_OK; /* another time */
    if (err == ERR_LIMIT) {
        log->unsaved_bytes = 0;
        return log_mark(log, MANIFEST_RESHAPED, false);
    }
    TRY(err);
    return log_put_capture(log);
}

uint64_t log_unsaved_bytes(const struct log *log)
{
    return log->manifest && !log->is_offline ? log->unsaved_bytes : 0;
}

/* Nothing is under way or waits, and all of it is on the disk. */
bool log_is_settled(const struct log *log)
{
    return log_is_idle(log) && log->flushed_offset == log->next_offset && !log->compaction &&
           list_is_empty(&log->removals);
}

bool log_must_save(const struct log *log)
{
    return log->manifest && log->mark != MANIFEST_UNCHANGED && log_is_settled(log) &&
           io_now_ms(log->io) - log->changed_ms >= SETTLED_MS;
}

/* --- taking it back --- */

enum err log_mark(struct log *log, enum manifest_mark mark, bool sync)
{
    TRY(log_wake(log));
    log->changed_ms = io_now_ms(log->io);
    if (mark == MANIFEST_RESHAPED)
        log_drop_capture(log);
    if (!log->manifest)
        return ERR_OK;
    if (mark > log->mark) {
        TRY(manifest_put_mark(log->manifest, log->key, mark));
        log->mark = mark;
        log->mark_position = manifest_position(log->manifest);
    }
    return sync ? log_sync_mark(log) : ERR_OK;
}

void log_distrust(struct log *log)
{
    log_drop_capture(log);
    if (!log->manifest || log->mark == MANIFEST_RESHAPED)
        return;
    log->mark = MANIFEST_RESHAPED;
    enum err err = manifest_put_mark(log->manifest, log->key, MANIFEST_RESHAPED);
    if (err == ERR_OK)
        err = manifest_sync_now(log->manifest);
    if (err != ERR_OK)
        diag_error("log", "%s: that it failed cannot be noted in the manifest: %s", log->dir,
                   err_text(err));
}

bool log_is_mark_synced(const struct log *log)
{
    return !log->manifest || manifest_is_synced(log->manifest, log->mark_position);
}

enum err log_sync_mark(struct log *log)
{
    return log_is_mark_synced(log) ? ERR_OK : manifest_sync_now(log->manifest);
}

enum err log_note_start(struct log *log)
{
    return log->manifest ? manifest_put_start(log->manifest, log->key, log->start_offset) : ERR_OK;
}

/* --- making a log of it --- */

int64_t log_entry_start(struct slice entry)
{
    return entry.data && entry.len >= ENTRY_HEAD_BYTES ? (int64_t)be64_load(entry.data + 1) : -1;
}

static enum err take_segment(struct log *log, const uint8_t *at)
{
    int64_t base_offset = (int64_t)be64_load(at);
    uint32_t size = be32_load(at + 8);
    const struct segment *last = log->segment_count > 0 ? log_active(log) : NULL;
    if (base_offset < 0 || size > INT32_MAX || (last && base_offset <= last->base_offset))
        return ERR_MALFORMED;
    struct segment *segment = segment_new(log, base_offset);
    if (!segment)
        return ERR_NOMEM;
    segment->size = segment->reserved = segment->flushed = size;
    segment->max_timestamp = (int64_t)be64_load(at + 12);
    segment->max_timestamp_offset = (int64_t)be64_load(at + 20);
    segment->first_timestamp = (int64_t)be64_load(at + 28);
    segment->created_ms = (int64_t)be64_load(at + 36);
    segment->is_time_known = at[44] != 0;
    segment->is_sealed = true;
    segment->is_unseen = true;
    enum err err = log_add_segment(log, segment);
    if (err != ERR_OK)
        segment_free(segment);
    return err;
}

static enum err take_segments(struct log *log, struct slice *rest)
{
    uint32_t count = be32_load(rest->data);
    *rest = slice_of(rest->data + 4, rest->len - 4);
    if (count == 0 || rest->len / ENTRY_SEGMENT_BYTES < count)
        return ERR_MALFORMED;
    for (uint32_t i = 0; i < count; i++)
        TRY(take_segment(log, rest->data + i * (size_t)ENTRY_SEGMENT_BYTES));
    size_t used = count * (size_t)ENTRY_SEGMENT_BYTES;
    *rest = slice_of(rest->data + used, rest->len - used);
    return ERR_OK;
}

static enum err take_epochs(struct log *log, struct slice *rest)
{
    if (rest->len < 4)
        return ERR_MALFORMED;
    uint32_t count = be32_load(rest->data);
    *rest = slice_of(rest->data + 4, rest->len - 4);
    if (rest->len / ENTRY_EPOCH_BYTES < count)
        return ERR_MALFORMED;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = rest->data + i * (size_t)ENTRY_EPOCH_BYTES;
        TRY(epochs_add(&log->epochs, (int32_t)be32_load(at), (int64_t)be64_load(at + 4)));
    }
    size_t used = count * (size_t)ENTRY_EPOCH_BYTES;
    *rest = slice_of(rest->data + used, rest->len - used);
    return ERR_OK;
}

static void take_index(struct segment *active, const uint8_t *at)
{
    struct segment_index *index = &active->index;
    index->stored = be32_load(at);
    index->crc = be32_load(at + 4);
    index->times_stored = be32_load(at + 8);
    index->times_crc = be32_load(at + 12);
    index->last_time = (int64_t)be64_load(at + 16);
    active->index_gap = be32_load(at + 24);
}

enum err log_restore(struct log *log, struct slice entry)
{
    if (entry.len < ENTRY_HEAD_BYTES)
        return ERR_MALFORMED;
    int64_t start_offset = (int64_t)be64_load(entry.data + 1);
    int64_t end_offset = (int64_t)be64_load(entry.data + 9);
    struct slice rest = slice_of(entry.data + 45, entry.len - 45);
    TRY(take_segments(log, &rest));
    struct segment *active = log_active(log);
    if (start_offset < log->segments[0]->base_offset || end_offset < active->base_offset ||
        start_offset > end_offset || (active->size == 0) != (end_offset == active->base_offset))
        return ERR_MALFORMED;
    TRY(take_epochs(log, &rest));
    TRY(producers_unpack(&log->producers, rest));
    active->is_sealed = false;
    take_index(active, entry.data + 17);
    log->start_offset = start_offset;
    log->end_offset = log->next_offset = log->flushed_offset = end_offset;
    log->is_changed = (entry.data[0] & ENTRY_IS_CLOSED) == 0;
    log->epochs_changed = log->is_changed;
    return ERR_OK;
}

/* --- waking --- */

struct leftovers {
    struct log *log;
    bool any;
};

/* Segments and snapshots behind the end, and what was on its way in or out. */
static bool is_leftover(const struct log *log, struct str name)
{
    static const char *const ends[] = {".deleted", ".tmp", ".cleaned"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct str end = str_of(ends[i]);
        if (name.len >= end.len &&
            str_eq((struct str){name.data + name.len - end.len, end.len}, end))
            return true;
    }
    int64_t offset;
    if (name.len <= SEGMENT_NAME_DIGITS ||
        parse_i64((struct str){name.data, SEGMENT_NAME_DIGITS}, &offset) != ERR_OK)
        return false;
    struct str suffix = {name.data + SEGMENT_NAME_DIGITS, name.len - SEGMENT_NAME_DIGITS};
    if (str_eq(suffix, STR(".snapshot")))
        return offset > log->end_offset;
    return offset > log_active(log)->base_offset &&
           (str_eq(suffix, STR(".log")) || str_eq(suffix, STR(".index")) ||
            str_eq(suffix, STR(".timeindex")) || str_eq(suffix, STR(".txnindex")));
}

static enum err on_name(void *arg, const char *name, bool is_dir)
{
    struct leftovers *leftovers = arg;
    if (is_dir || !is_leftover(leftovers->log, str_of(name)))
        return ERR_OK;
    char path[LOG_PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/%s", leftovers->log->dir, name);
    if (len <= 0 || (size_t)len >= sizeof(path))
        return ERR_LIMIT;
    leftovers->any = true;
    return io_unlink_now(leftovers->log->io, path);
}

static enum err cut_leftovers(struct log *log, struct segment *active)
{
    struct io_stat stat;
    struct leftovers leftovers = {.log = log};
    TRY(io_stat_file(log->io, active->file, &stat));
    if (stat.size > active->size) {
        diag_warn("log", "%s: segment %lld: %llu bytes that were never flushed are cut off",
                  log->dir, (long long)active->base_offset,
                  (unsigned long long)(stat.size - active->size));
        TRY(segment_cut_file(log, active, active->size));
    }
    TRY(aborted_cut(log, active, log->end_offset));
    TRY(io_list(log->io, log->dir, on_name, &leftovers));
    return leftovers.any ? io_sync_dir(log->io, log->dir) : ERR_OK;
}

static enum err wake(struct log *log)
{
    struct segment *active = log_active(log);
    TRY(segment_open_file(log, active, 0));
    TRY(cut_leftovers(log, active));
    enum err err = index_verify(log, active);
    if (err != ERR_MALFORMED)
        return err;
    int64_t end_offset;
    uint32_t stopped_at;
    TRY(log_index_segment(log, active, false, &end_offset, &stopped_at));
    return end_offset == log->end_offset && stopped_at == active->size ? ERR_OK : ERR_MALFORMED;
}

enum err log_wake(struct log *log)
{
    if (!log->is_asleep)
        return ERR_OK;
    log->is_asleep = false; /* what is done for it changes nothing that an entry says */
    enum err err = wake(log);
    if (err == ERR_NOSPACE || err == ERR_NOMEM)
        log->is_asleep = true;
    return err;
}
