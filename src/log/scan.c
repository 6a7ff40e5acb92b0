/* Walking the batches of a segment's file, and finding one by its offset.
 *
 * Runs on: the shard that owns the log, waiting for the disk: for recovery, look-ups by time, and
 * positions behind an index entry. What lies in the file is not trusted: a length that leads out of
 * the file, or a magic that is not 2, ends the walk. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "log/internal.h"
#include "wire/batch.h"

#define SCAN_CHUNK_BYTES ((size_t)1 << 20)

struct window {
    uint8_t *data;
    size_t cap, len;
    uint32_t position; /* of data[0] in the file */
};

/* Makes [position, position + len) available; ERR_TRUNCATED where the file is shorter. */
static enum err window_fill(struct log *log, struct segment *segment, struct window *window,
                            uint32_t position, size_t len, uint32_t end, const uint8_t **at)
{
    if (position >= window->position && position - window->position + len <= window->len) {
        *at = window->data + (position - window->position);
        return ERR_OK;
    }
    if (len > end - position)
        return ERR_TRUNCATED;
    size_t want = len > SCAN_CHUNK_BYTES ? len : SCAN_CHUNK_BYTES;
    if (want > end - position)
        want = end - position;
    if (want > window->cap) {
        uint8_t *data = realloc(window->data, want);
        if (!data)
            return ERR_NOMEM;
        window->data = data;
        window->cap = want;
    }
    window->len = 0;
    window->position = position;
    TRY(io_read_now(log->io, segment->file, window->data, want, position, &window->len));
    *at = window->data;
    return window->len >= len ? ERR_OK : ERR_TRUNCATED;
}

enum err segment_scan(struct log *log, struct segment *segment, uint32_t position, uint32_t end,
                      scan_fn *fn, void *arg, uint32_t *stopped_at)
{
    TRY(segment_open_file(log, segment, 0));
    struct window window = {0};
    enum err err = ERR_OK;
    while (position < end) {
        const uint8_t *at;
        struct batch batch;
        err = window_fill(log, segment, &window, position, BATCH_LOG_OVERHEAD, end, &at);
        if (err != ERR_OK)
            break;
        int64_t size = batch_size_peek(at);
        if (size < (int64_t)BATCH_HEADER_BYTES || size > end - position)
            break;
        err = window_fill(log, segment, &window, position, (size_t)size, end, &at);
        if (err != ERR_OK || batch_load((struct slice){at, (size_t)size}, &batch) != ERR_OK)
            break;
        err = fn(arg, position, &batch);
        if (err != ERR_OK)
            break;
        position += (uint32_t)size;
    }
    free(window.data);
    *stopped_at = position;
    return err == ERR_TRUNCATED ? ERR_OK : err;
}

/* What a look-up reads at a time: a little more than lies between two index entries. */
#define SEEK_CHUNK_BYTES 6144

/* Follows the headers from `at` on. ERR_MALFORMED: no batch lies there. */
static enum err seek_from(struct log *log, struct segment *segment, int64_t offset, uint32_t at,
                          uint32_t *position, uint32_t *batch_size)
{
    uint8_t chunk[SEEK_CHUNK_BYTES];
    uint32_t chunk_at = at;
    size_t len = 0;
    while (at < segment->size) {
        if (at - chunk_at + BATCH_HEADER_BYTES > len) {
            chunk_at = at;
            len = 0;
            TRY(io_read_now(log->io, segment->file, chunk, sizeof(chunk), at, &len));
        }
        const uint8_t *header = chunk + (at - chunk_at);
        if (at - chunk_at + BATCH_HEADER_BYTES > len || header[BATCH_AT_MAGIC] != BATCH_MAGIC)
            return ERR_MALFORMED;
        int64_t size = batch_size_peek(header);
        int64_t base_offset = (int64_t)be64_load(header + BATCH_AT_BASE_OFFSET);
        int32_t last_delta = (int32_t)be32_load(header + BATCH_AT_LAST_OFFSET_DELTA);
        if (size < (int64_t)BATCH_HEADER_BYTES || size > segment->size - at || last_delta < 0 ||
            base_offset < segment->base_offset || base_offset > INT64_MAX - last_delta)
            return ERR_MALFORMED;
        /* An index entry that leads past the offset is wrong. */
        if (at == *position && at > 0 && base_offset > offset)
            return ERR_MALFORMED;
        if (base_offset + last_delta >= offset) {
            *position = at;
            *batch_size = (uint32_t)size;
            return ERR_OK;
        }
        at += (uint32_t)size;
    }
    return ERR_NOENT;
}

enum err segment_seek(struct log *log, struct segment *segment, int64_t offset, uint32_t *position,
                      uint32_t *size)
{
    TRY(index_find(log, segment, offset, position));
    TRY(segment_open_file(log, segment, 0));
    enum err err = *position < segment->size || segment->size == 0
                       ? seek_from(log, segment, offset, *position, position, size)
                       : ERR_MALFORMED;
    if (err != ERR_MALFORMED || *position == 0)
        return err;
    diag_warn("log", "%s: the index of segment %lld is wrong at offset %lld; reading without it",
              log->dir, (long long)segment->base_offset, (long long)offset);
    *position = 0;
    return seek_from(log, segment, offset, 0, position, size);
}

enum err segment_seek_from(struct log *log, struct segment *segment, int64_t offset, uint32_t at,
                           uint32_t *position, uint32_t *size)
{
    TRY(segment_open_file(log, segment, 0));
    *position = at;
    enum err err = seek_from(log, segment, offset, at, position, size);
    return err == ERR_MALFORMED ? segment_seek(log, segment, offset, position, size) : err;
}

struct each_batch {
    log_batch_fn *fn;
    void *arg;
    int64_t offset;
};

static enum err on_each_batch(void *arg, uint32_t position, const struct batch *batch)
{
    const struct each_batch *each = arg;
    (void)position;
    return batch->last_offset < each->offset ? ERR_OK : each->fn(each->arg, batch);
}

enum err log_each_batch(struct log *log, int64_t offset, log_batch_fn *fn, void *arg)
{
    struct each_batch each = {fn, arg, offset};
    for (size_t at = log_segment_at(log, offset); at < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        uint32_t position = 0, size, stopped_at;
        enum err err = segment_seek(log, segment, offset, &position, &size);
        if (err == ERR_NOENT)
            continue;
        TRY(err);
        TRY(segment_scan(log, segment, position, segment->size, on_each_batch, &each, &stopped_at));
        if (stopped_at < segment->size)
            return ERR_MALFORMED;
    }
    return ERR_OK;
}
