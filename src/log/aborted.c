/* Aborted transactions of a segment, in Kafka's file format.
 *
 * The file's format is in txnindex.h; its entries ascend by their last offset. Segments without one
 * have no file. An index is read when somebody first asks for it and is kept in memory from then
 * on.
 *
 * Runs on: the shard that owns the log. What is new goes to the file before the segment's records
 * count as flushed. A crash leaves whole entries, a torn one, or too few: recovery reads the
 * batches from the last snapshot of the producers on, and finds the markers again. A damaged index
 * is built anew from its segment. */
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

/* Whether each entry belongs to the segment and follows the one before it. */
static bool is_plausible(const struct segment *segment)
{
    int64_t before = segment->base_offset - 1;
    for (size_t i = 0; i < segment->aborted.list.count; i++) {
        const struct aborted_txn *txn = &segment->aborted.list.items[i];
        if (txn->last_offset <= before)
            return false;
        before = txn->last_offset;
    }
    return true;
}

/* What is whole of the file; a torn entry at its end is written over by the next one. */
static enum err parse(struct segment *segment, struct slice bytes)
{
    struct segment_aborted *aborted = &segment->aborted;
    TRY(txn_list_add_file(&aborted->list, bytes));
    aborted->stored = aborted->list.count;
    return is_plausible(segment) ? ERR_OK : ERR_MALFORMED;
}

static enum err load(struct log *log, struct segment *segment)
{
    struct segment_aborted *aborted = &segment->aborted;
    if (aborted->is_loaded)
        return ERR_OK;
    char path[LOG_PATH_MAX];
    segment_file_path(log, segment, SUFFIX, path);
    uint8_t *data = NULL;
    size_t len = 0;
    enum err err = io_read_file(log->io, path, FILE_BYTES_MAX, &data, &len);
    if (err == ERR_NOENT) {
        aborted->is_loaded = true;
        return ERR_OK;
    }
    if (err == ERR_OK) {
        err = parse(segment, (struct slice){data, len});
        free(data);
    }
    aborted->is_loaded = err == ERR_OK;
    if (err != ERR_OK)
        aborted_release(aborted);
    if (err == ERR_OK || err == ERR_MALFORMED)
        return err;
    diag_error("log", "%s cannot be read: %s", path, err_text(err));
    return err;
}

/* From the segment itself where its index is damaged. */
static enum err load_or_rebuild(struct log *log, struct segment *segment)
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
        err = aborted_store(log, segment);
    if (err != ERR_OK)
        aborted_release(&segment->aborted);
    return err;
}

enum err aborted_note(struct log *log, struct segment *segment, const struct aborted_txn *txn)
{
    struct segment_aborted *aborted = &segment->aborted;
    TRY(load_or_rebuild(log, segment));
    if (aborted->list.count > 0 &&
        aborted->list.items[aborted->list.count - 1].last_offset >= txn->last_offset)
        return ERR_OK; /* recovery meets it again */
    log->has_aborted = true;
    return txn_list_add(&aborted->list, txn);
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
    struct io_file file;
    enum err err = bytes.err;
    if (err == ERR_OK)
        err = io_open(log->io, path, IO_OPEN_CREATE, &file);
    if (err == ERR_OK) {
        uint64_t at = (uint64_t)aborted->stored * TXNINDEX_ENTRY_BYTES;
        err = io_write_now(log->io, file, bytes.data, bytes.len, at);
        if (err == ERR_OK)
            err = io_truncate(log->io, file, at + bytes.len);
        if (err == ERR_OK)
            err = io_sync_now(log->io, file);
        io_close(log->io, file);
    }
    buf_deinit(&bytes);
    if (err == ERR_OK && aborted->stored == 0)
        err = io_sync_dir(log->io, log->dir);
    if (err == ERR_OK)
        aborted->stored = aborted->list.count;
    return err;
}

enum err aborted_cut(struct log *log, struct segment *segment, int64_t offset)
{
    struct segment_aborted *aborted = &segment->aborted;
    TRY(load_or_rebuild(log, segment));
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
        TRY(load_or_rebuild(log, log->segments[at]));
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
