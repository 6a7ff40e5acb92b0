/* Reads of what is not in the page cache: past it, and one read ahead.
 *
 * Runs on: the shard that owns the log. Who reads sealed segments from the beginning on reads each
 * byte once; through the page cache that would cost several times the CPU, and would push out what
 * the end of the logs is served from. So such a reader's bytes go from the disk into a buffer of
 * his answer, and while he is busy with it the next read of the same size is under way: a stream.
 * He is known by the offset that he asks for next; several readers at one place share nothing.
 *
 * A stream holds a buffer only while its reader keeps coming, and none where buffers are scarce. It
 * ends with its segment: whoever takes segments away or cuts them calls log_forget_places. */
#include <stdlib.h>

#include "base/assert.h"
#include "log/internal.h"

#define STREAMS_MAX   4 /* of a log */
#define STREAM_MS_MAX 2000

struct cold_stream {
    struct list link; /* log->cold_streams, the least recently used first */
    struct log *log;
    struct segment *segment;
    int64_t next_offset;
    uint32_t position; /* of the batch that has it */
    size_t want;
    struct rbuf *buf;
    struct slice bytes; /* in buf, from the position on */
    bool is_reading;
    bool is_forgotten;       /* freed when the read ends */
    struct log_read *waiter; /* came before the read had ended */
    uint64_t used_ms;
    struct io_op io;
};

static void on_read_ahead(struct io_op *op);

bool cold_may_read(const struct segment *segment)
{
    return segment->is_sealed && segment->flushed == segment->size;
}

/* --- one read --- */

/* Memory, offset and length are multiples of IO_DIRECT_ALIGN; the buffer has room for that. */
enum err cold_read(struct log *log, struct segment *segment, struct rbuf_pool *bufs,
                   uint32_t position, size_t want, struct rbuf **buf, struct io_op *op,
                   io_done *done)
{
    TRY(segment_open_direct(log, segment));
    *buf = rbuf_take(bufs, want + 3 * (size_t)IO_DIRECT_ALIGN);
    if (!*buf)
        return ERR_NOMEM;
    const uintptr_t mask = IO_DIRECT_ALIGN - 1;
    uint64_t from = position & ~(uint64_t)mask;
    uint64_t to = (position + want + mask) & ~(uint64_t)mask;
    uint8_t *data = (*buf)->data + (-(uintptr_t)(*buf)->data & mask);
    ASSERT(data + (to - from) <= (*buf)->data + (*buf)->cap);
    io_read_disk(log->io, op, segment->direct, data, (size_t)(to - from), from, done);
    return ERR_OK;
}

struct slice cold_bytes(const struct io_op *op, uint32_t position, size_t want)
{
    size_t head = (size_t)(position - op->offset);
    size_t len = op->moved > head ? op->moved - head : 0;
    return (struct slice){(const uint8_t *)op->data + head, len < want ? len : want};
}

/* --- streams --- */

static void stream_free(struct cold_stream *stream)
{
    list_remove(&stream->link);
    rbuf_unref(stream->buf);
    free(stream);
}

void cold_forget(struct log *log)
{
    LIST_FOREACH_SAFE (node, &log->cold_streams) {
        struct cold_stream *stream = LIST_ENTRY(node, struct cold_stream, link);
        list_remove(&stream->link);
        if (stream->is_reading)
            stream->is_forgotten = true;
        else
            stream_free(stream);
    }
}

void cold_tick(struct log *log, uint64_t now_ms)
{
    LIST_FOREACH_SAFE (node, &log->cold_streams) {
        struct cold_stream *stream = LIST_ENTRY(node, struct cold_stream, link);
        if (!stream->is_reading && now_ms - stream->used_ms > STREAM_MS_MAX)
            stream_free(stream);
    }
}

static struct cold_stream *stream_make(struct log *log)
{
    size_t count = 0;
    LIST_FOREACH (node, &log->cold_streams)
        count++;
    LIST_FOREACH_SAFE (node, &log->cold_streams) {
        struct cold_stream *old = LIST_ENTRY(node, struct cold_stream, link);
        if (count < STREAMS_MAX)
            break;
        if (!old->is_reading) {
            stream_free(old);
            count--;
        }
    }
    if (count >= STREAMS_MAX)
        return NULL;
    struct cold_stream *stream = calloc(1, sizeof(*stream));
    if (stream)
        list_init(&stream->link);
    return stream;
}

/* Where the next batch lies after `position` bytes of the segment; NULL: not in a sealed one. */
static struct segment *next_place(const struct log *log, struct segment *segment,
                                  int64_t next_offset, uint32_t *position)
{
    if (*position >= segment->size) {
        segment = log->segments[log_segment_at(log, next_offset)];
        if (segment->base_offset != next_offset)
            return NULL;
        *position = 0;
    }
    return segment->size > *position && cold_may_read(segment) ? segment : NULL;
}

void cold_read_ahead(const struct log_read *op)
{
    struct log *log = op->log;
    struct rbuf_pool *bufs = op->bufs;
    int64_t next_offset = 0;
    size_t len = batches_whole(op->batches, &next_offset);
    uint32_t position = op->position + (uint32_t)len;
    if (len == 0 || op->needs_trim || op->segment->is_removed ||
        bufs->out_bytes > bufs->out_bytes_max / 4)
        return;
    struct segment *segment = next_place(log, op->segment, next_offset, &position);
    struct cold_stream *stream = segment ? stream_make(log) : NULL;
    if (!stream)
        return;
    size_t left = segment->size - position;
    size_t want = op->bytes_max > len ? op->bytes_max : len; /* or its batches never fit */
    stream->log = log;
    stream->segment = segment;
    stream->next_offset = next_offset;
    stream->position = position;
    stream->want = want < left ? want : left;
    stream->used_ms = io_now_ms(log->io);
    enum err err = stream->want == 0 ? ERR_NOENT
                                     : cold_read(log, segment, bufs, position, stream->want,
                                                 &stream->buf, &stream->io, on_read_ahead);
    if (err != ERR_OK) {
        free(stream); /* the reader will be told when he comes */
        return;
    }
    stream->is_reading = true;
    segment->readers++;
    log->reads++;
    list_push_back(&log->cold_streams, &stream->link);
}

/* Whether what was read ahead begins with a batch that can be given. */
static bool fits(const struct cold_stream *stream, const struct log_read *op, size_t *len)
{
    struct slice bytes = stream->bytes;
    if (bytes.len < BATCH_HEADER_BYTES || bytes.data[BATCH_AT_MAGIC] != BATCH_MAGIC)
        return false;
    int64_t size = batch_size_peek(bytes.data);
    int64_t base_offset = (int64_t)be64_load(bytes.data + BATCH_AT_BASE_OFFSET);
    if (size < (int64_t)BATCH_HEADER_BYTES || base_offset < op->offset)
        return false;
    *len = op->bytes_max < bytes.len ? op->bytes_max : bytes.len;
    if (op->at_least_one && *len < (size_t)size)
        *len = (size_t)size;
    return *len > 0 && *len <= bytes.len;
}

/* Gives the reader what was read ahead, and reads on. False: it is of no use to him. */
static bool stream_give(struct cold_stream *stream, struct log_read *op)
{
    struct log *log = stream->log;
    size_t len;
    if (!fits(stream, op, &len))
        return false;
    op->segment = stream->segment;
    op->position = stream->position;
    op->needs_trim = op->end_offset < segment_end_offset(log, log_segment_at(log, op->offset));
    op->buf = stream->buf;
    stream->buf = NULL;
    read_give(op, stream->bytes.data, len);
    stream_free(stream);
    cold_read_ahead(op);
    op->done(op);
    return true;
}

static void on_read_ahead(struct io_op *io_op)
{
    struct cold_stream *stream = CONTAINER_OF(io_op, struct cold_stream, io);
    struct log *log = stream->log;
    struct log_read *waiter = stream->waiter;
    bool is_of_use = io_op->err == ERR_OK && !stream->is_forgotten && !log->is_offline;
    stream->is_reading = false;
    stream->waiter = NULL;
    stream->bytes = cold_bytes(io_op, stream->position, stream->want);
    log->reads--;
    segment_reader_done(log, stream->segment);
    if (is_of_use && (!waiter || stream_give(stream, waiter)))
        return;
    stream_free(stream);
    if (waiter)
        log_read(log, waiter);
}

bool cold_serve(struct log *log, struct log_read *op)
{
    LIST_FOREACH_SAFE (node, &log->cold_streams) {
        struct cold_stream *stream = LIST_ENTRY(node, struct cold_stream, link);
        if (stream->next_offset != op->offset || stream->waiter)
            continue;
        if (stream->is_reading) {
            stream->waiter = op;
            return true;
        }
        if (stream_give(stream, op))
            return true;
        stream_free(stream);
        return false;
    }
    return false;
}
