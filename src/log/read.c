/* Reading batches: from the page cache where they are there, else past it.
 *
 * Runs on: the shard that owns the log. Where a read begins is found by index and headers
 * (segment_seek). Sealed segments on the disk are asked of the page cache first; what it does not
 * have is a cold read (cold.c), which neither waits for the page cache nor pushes out of it what
 * the writers and the readers at the end need. */
#include <string.h>

#include "base/assert.h"
#include "base/diag.h"
#include "log/internal.h"

/* --- places --- */

/* Who reads goes on where he ended: that spares the index, most of which is in a file. */
static void note_place(struct log *log, const struct log_read *op)
{
    int64_t next_offset;
    size_t len = batches_whole(op->batches, &next_offset);
    if (len == 0 || op->segment->is_removed)
        return;
    log->places[log->place_next++ % READ_PLACES] =
        (struct read_place){next_offset, op->segment, op->position + (uint32_t)len};
}

static enum err seek(struct log *log, struct log_read *op, struct segment *segment,
                     uint32_t *first_size)
{
    for (size_t i = 0; i < READ_PLACES; i++) {
        struct read_place *place = &log->places[i];
        if (place->segment != segment || place->offset != op->offset ||
            place->position >= segment->size)
            continue;
        uint32_t at = place->position;
        place->segment = NULL;
        return segment_seek_from(log, segment, op->offset, at, &op->position, first_size);
    }
    return segment_seek(log, segment, op->offset, &op->position, first_size);
}

void log_forget_places(struct log *log)
{
    memset(log->places, 0, sizeof(log->places));
    cold_forget(log);
}

/* --- reads --- */

static void read_done(struct log *log, struct log_read *op)
{
    struct segment *segment = op->segment;
    note_place(log, op);
    log->reads--;
    segment_reader_done(log, segment);
    op->done(op);
}

/* How many bytes of [data, len) are batches below the end offset. */
static size_t trim_to_end(const uint8_t *data, size_t len, int64_t end_offset)
{
    size_t at = 0;
    while (len - at >= BATCH_LOG_OVERHEAD) {
        int64_t size = batch_size_peek(data + at);
        if ((int64_t)be64_load(data + at) >= end_offset)
            return at;
        if (size < (int64_t)BATCH_HEADER_BYTES || size > (int64_t)(len - at))
            return len;
        at += (size_t)size;
    }
    return len;
}

void read_give(struct log_read *op, const uint8_t *data, size_t len)
{
    if (op->needs_trim)
        len = trim_to_end(data, len, op->end_offset);
    op->batches = (struct slice){data, len};
    if (len > 0)
        return;
    rbuf_unref(op->buf);
    op->buf = NULL;
    op->batches = SLICE_NULL;
}

static void read_failed(struct log_read *op, enum err err)
{
    rbuf_unref(op->buf);
    op->buf = NULL;
    op->err = ERR_KAFKA_STORAGE_ERROR;
    diag_error("log", "%s: a read at %lld failed: %s", op->log->dir, (long long)op->io.offset,
               err_text(err));
}

static void on_cold_read(struct io_op *io_op)
{
    struct log_read *op = CONTAINER_OF(io_op, struct log_read, io);
    struct log *log = op->log;
    if (io_op->err != ERR_OK) {
        read_failed(op, io_op->err);
    } else {
        struct slice bytes = cold_bytes(io_op, op->position, op->want);
        read_give(op, bytes.data, bytes.len);
        cold_read_ahead(op);
    }
    read_done(log, op);
}

static void begin_cold(struct log_read *op)
{
    rbuf_unref(op->buf);
    op->buf = NULL;
    enum err err = cold_read(op->log, op->segment, op->bufs, op->position, op->want, &op->buf,
                             &op->io, on_cold_read);
    if (err == ERR_OK)
        return;
    read_failed(op, err);
    read_done(op->log, op);
}

static void on_read(struct io_op *io_op)
{
    struct log_read *op = CONTAINER_OF(io_op, struct log_read, io);
    struct log *log = op->log;
    if (io_op->kind == IO_READ_CACHED && io_op->err == ERR_AGAIN) {
        begin_cold(op);
        return;
    }
    if (io_op->err != ERR_OK) {
        read_failed(op, io_op->err);
    } else {
        op->buf->len = io_op->moved;
        read_give(op, op->buf->data, io_op->moved);
    }
    read_done(log, op);
}

/* Chooses where to read from and how much. ERR_NOENT: nothing there. */
static enum err read_plan(struct log *log, struct log_read *op)
{
    for (size_t at = log_segment_at(log, op->offset); at < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        uint32_t first_size;
        enum err err = seek(log, op, segment, &first_size);
        if (err == ERR_NOENT)
            continue; /* the rest of this segment was compacted away */
        TRY(err);
        op->segment = segment;
        op->needs_trim = op->end_offset < segment_end_offset(log, at);
        uint32_t left = segment->size - op->position;
        op->want = op->bytes_max < left ? op->bytes_max : left;
        if (op->at_least_one && op->want < first_size)
            op->want = first_size;
        return ERR_OK;
    }
    return ERR_NOENT;
}

void read_begin(struct log *log, struct log_read *op)
{
    op->want = 0;
    enum err err = read_plan(log, op);
    if (err == ERR_OK && op->want > 0) {
        op->buf = rbuf_take(op->bufs, op->want);
        if (!op->buf)
            err = ERR_NOMEM;
    }
    if (err != ERR_OK || op->want == 0) {
        if (err != ERR_OK && err != ERR_NOENT) {
            diag_error("log", "%s: the batch of offset %lld cannot be found: %s", log->dir,
                       (long long)op->offset, err_text(err));
            op->err = ERR_KAFKA_STORAGE_ERROR;
        }
        op->done(op);
        return;
    }
    op->segment->readers++;
    log->reads++;
    if (cold_may_read(op->segment))
        io_read_cached(log->io, &op->io, op->segment->file, op->buf->data, op->want, op->position,
                       on_read);
    else
        io_read(log->io, &op->io, op->segment->file, op->buf->data, op->want, op->position,
                on_read);
}

void log_read(struct log *log, struct log_read *op)
{
    op->log = log;
    op->err = ERR_OK;
    op->buf = NULL;
    op->batches = SLICE_NULL;
    int64_t end = op->end_offset < log->end_offset ? op->end_offset : log->end_offset;
    op->end_offset = end;
    if (log->is_offline)
        op->err = ERR_KAFKA_STORAGE_ERROR;
    else if (op->offset < log->start_offset || op->offset > log->end_offset)
        op->err = ERR_OFFSET_OUT_OF_RANGE;
    if (op->err != ERR_OK || op->offset >= end) {
        op->done(op);
        return;
    }
    if (!cold_serve(log, op))
        read_begin(log, op);
}
