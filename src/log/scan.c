/* Walking the batches of a segment's file, and finding one by its offset.
 *
 * Runs on: the shard that owns the log, waiting for the disk: for recovery, look-ups by time, and
 * positions behind an index entry. What lies in the file is not trusted: a length that leads out of
 * the file, or a magic that is not 2, ends the walk. */
#include <stdlib.h>

#include "base/assert.h"
#include "log/internal.h"
#include "wire/batch.h"

#define SCAN_CHUNK_BYTES           ((size_t)1 << 20)
#define BATCH_LAST_OFFSET_DELTA_AT 23

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

/* Headers only: a few hundred bytes instead of whole batches. */
enum err segment_seek(struct log *log, struct segment *segment, int64_t offset, uint32_t *position)
{
    uint32_t at;
    TRY(index_find(log, segment, offset, &at));
    TRY(segment_open_file(log, segment, 0));
    while (at < segment->size) {
        uint8_t header[BATCH_HEADER_BYTES];
        size_t moved = 0;
        TRY(io_read_now(log->io, segment->file, header, sizeof(header), at, &moved));
        int64_t size = moved < sizeof(header) ? 0 : batch_size_peek(header);
        if (size < (int64_t)BATCH_HEADER_BYTES || size > segment->size - at)
            return ERR_MALFORMED;
        int64_t base_offset = (int64_t)be64_load(header);
        int32_t last_delta = (int32_t)be32_load(header + BATCH_LAST_OFFSET_DELTA_AT);
        if (last_delta < 0)
            return ERR_MALFORMED;
        if (base_offset + last_delta >= offset) {
            *position = at;
            return ERR_OK;
        }
        at += (uint32_t)size;
    }
    return ERR_NOENT;
}
