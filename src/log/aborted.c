/* Aborted transactions of a segment, in Kafka's file format.
 *
 * The file's format is in txnindex.h; its entries ascend by their last offset. Segments without one
 * have no file. An index is read when somebody first asks for it and is kept in memory from then
 * on.
 *
 * Runs on: the shard that owns the log. What is new goes to the file before the segment's records
 * count as flushed. A crash leaves whole entries, a torn one, or too few: recovery reads the
 * batches from the last snapshot of the producers on, and finds the markers again. A damaged index
 * is built anew from its segment, and takes the old file's place at one stroke: a compaction may
 * read it beside the loop. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/diag.h"
#include "log/internal.h"

#define SUFFIX         ".txnindex"
#define FILE_BYTES_MAX ((size_t)1 << 30)

void aborted_release(struct segment_aborted *aborted)
{
    txn_list_deinit(&aborted->list);
    *aborted = (struct segment_aborted){0};
}

/* Whether each entry from `from` on belongs to the segment and follows the one before it. */
static bool is_plausible(const struct txn_list *list, size_t from, int64_t base_offset)
{
    int64_t before = base_offset - 1;
    for (size_t i = from; i < list->count; i++) {
        if (list->items[i].last_offset <= before)
            return false;
        before = list->items[i].last_offset;
    }
    return true;
}

enum err aborted_read(struct io *io, const char *path, int64_t base_offset, struct txn_list *list)
{
    uint8_t *data;
    size_t len, from = list->count;
    enum err err = io_read_file(io, path, FILE_BYTES_MAX, &data, &len);
    if (err != ERR_OK)
        return err == ERR_NOENT ? ERR_OK : err;
    err = txn_list_add_file(list, (struct slice){data, len});
    free(data);
    TRY(err);
    return is_plausible(list, from, base_offset) ? ERR_OK : ERR_MALFORMED;
}

static enum err load(struct log *log, struct segment *segment)
{
    struct segment_aborted *aborted = &segment->aborted;
    if (aborted->is_loaded)
        return ERR_OK;
    char path[LOG_PATH_MAX];
    segment_file_path(log, segment, SUFFIX, path);
    enum err err = aborted_read(log->io, path, segment->base_offset, &aborted->list);
    aborted->stored = aborted->list.count;
    aborted->is_loaded = err == ERR_OK;
    if (err != ERR_OK)
        aborted_release(aborted);
    if (err == ERR_OK || err == ERR_MALFORMED)
        return err;
    diag_error("log", "%s cannot be read: %s", path, err_text(err));
    return err;
}

/* A file that is damaged and should be none. */
static enum err remove_file(struct log *log, const struct segment *segment)
{
    char path[LOG_PATH_MAX];
    segment_file_path(log, segment, SUFFIX, path);
    enum err err = io_unlink_now(log->io, path);
    return err == ERR_NOENT ? ERR_OK : err;
}

enum err aborted_load(struct log *log, struct segment *segment)
{
    enum err err = load(log, segment);
    if (err != ERR_MALFORMED)
        return err;
    diag_warn("log",
              "%s: segment %lld: its index of aborted transactions is damaged and is built "
              "anew",
              log->dir, (long long)segment->base_offset);
    segment->aborted.is_loaded = true;
    err = log_find_aborted(log, segment);
    if (err == ERR_OK)
        err = segment->aborted.list.count > 0 ? aborted_store(log, segment)
                                              : remove_file(log, segment);
    if (err != ERR_OK)
        aborted_release(&segment->aborted);
    return err;
}

enum err aborted_note(struct log *log, struct segment *segment, const struct aborted_txn *txn)
{
    struct segment_aborted *aborted = &segment->aborted;
    TRY(aborted_load(log, segment));
    if (aborted->list.count > 0 &&
        aborted->list.items[aborted->list.count - 1].last_offset >= txn->last_offset)
        return ERR_OK; /* recovery meets it again */
    log->has_aborted = true;
    return txn_list_add(&aborted->list, txn);
}

/* Behind those that the file has; what a crash left of more goes. */
static enum err append_entries(struct log *log, const char *path, uint64_t at,
                               const struct buf *bytes)
{
    struct io_file file;
    TRY(io_open(log->io, path, IO_OPEN_CREATE, &file));
    enum err err = io_write_now(log->io, file, bytes->data, bytes->len, at);
    if (err == ERR_OK)
        err = io_truncate(log->io, file, at + bytes->len);
    if (err == ERR_OK)
        err = io_sync_now(log->io, file);
    io_close(log->io, file);
    return err;
}

enum err aborted_store(struct log *log, struct segment *segment)
{
    struct segment_aborted *aborted = &segment->aborted;
    if (aborted->stored == aborted->list.count)
        return ERR_OK;
    char path[LOG_PATH_MAX];
    segment_file_path(log, segment, SUFFIX, path);
    struct buf bytes;
    buf_init(&bytes, FILE_BYTES_MAX);
    for (size_t i = aborted->stored; i < aborted->list.count; i++) {
        txnindex_put(&bytes, &aborted->list.items[i]);
    }
    enum err err = bytes.err;
    if (err == ERR_OK && aborted->stored == 0)
        err = io_replace_file(log->io, path, buf_slice(&bytes));
    else if (err == ERR_OK)
        err = append_entries(log, path, (uint64_t)aborted->stored * TXNINDEX_ENTRY_BYTES, &bytes);
    buf_deinit(&bytes);
    if (err == ERR_OK)
        aborted->stored = aborted->list.count;
    return err;
}

enum err aborted_cut(struct log *log, struct segment *segment, int64_t offset)
{
    struct segment_aborted *aborted = &segment->aborted;
    TRY(aborted_load(log, segment));
    while (aborted->list.count > 0 &&
           aborted->list.items[aborted->list.count - 1].last_offset >= offset)
        aborted->list.count--;
    if (aborted->stored <= aborted->list.count)
        return ERR_OK;
    aborted->stored = aborted->list.count;
    char path[LOG_PATH_MAX];
    struct io_file file;
    segment_file_path(log, segment, SUFFIX, path);
    TRY(io_open(log->io, path, IO_OPEN_WRITE, &file));
    enum err err = io_truncate(log->io, file, (uint64_t)aborted->stored * TXNINDEX_ENTRY_BYTES);
    if (err == ERR_OK)
        err = io_sync_now(log->io, file);
    io_close(log->io, file);
    return err;
}

/* Most logs have none: then no later look-up asks the segments. */
enum err log_has_aborted(struct log *log, bool *has_aborted)
{
    for (size_t at = 0; !log->is_aborted_known && at < log->segment_count; at++) {
        TRY(aborted_load(log, log->segments[at]));
        log->has_aborted |= log->segments[at]->aborted.list.count > 0;
    }
    log->is_aborted_known = true;
    *has_aborted = log->has_aborted;
    return ERR_OK;
}

/* By the last offsets and the stable ones, which ascend together: once everything below `to` was
 * decided, no later transaction reaches below it. */
enum err log_aborted_txns(struct log *log, int64_t from, int64_t to, struct txn_list *list)
{
    bool has_aborted;
    TRY(log_has_aborted(log, &has_aborted));
    for (size_t at = log_segment_at(log, from); has_aborted && at < log->segment_count; at++) {
        const struct segment_aborted *aborted = &log->segments[at]->aborted;
        for (size_t i = 0; i < aborted->list.count; i++) {
            const struct aborted_txn *txn = &aborted->list.items[i];
            if (txn->last_offset >= from && txn->first_offset < to)
                TRY(txn_list_add(list, txn));
            if (txn->last_stable_offset >= to)
                return ERR_OK;
        }
    }
    return ERR_OK;
}

int64_t log_last_stable_offset(struct log *log, int64_t high_watermark)
{
    producers_set_visible(&log->producers, high_watermark);
    int64_t undecided = producers_undecided_offset(&log->producers);
    return undecided < high_watermark ? undecided : high_watermark;
}
