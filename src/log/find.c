/* Finding records by time.
 *
 * Runs on: the shard that owns the log, waiting for the disk. A segment is chosen by its greatest
 * timestamp, a place in it by the time index, and the record by looking into the batches from there
 * on (KIP-734 for the greatest one). */
#include "base/assert.h"
#include "log/internal.h"

/* What one batch may unpack to while it is searched. */
#define UNPACKED_BYTES_MAX ((size_t)256 << 20)

struct search {
    struct compressors *compressors;
    struct buf scratch;
    int64_t timestamp; /* the first record at or past it is wanted */
    int64_t start_offset;
    int64_t end_offset;
    struct log_position *position;
};

/* Ends the scan with ERR_EXISTS once the record is found. */
static enum err on_batch(void *arg, uint32_t position, const struct batch *batch)
{
    struct search *search = arg;
    (void)position;
    if (batch->base_offset >= search->end_offset)
        return ERR_NOENT;
    if (batch->max_timestamp < search->timestamp || batch->last_offset < search->start_offset)
        return ERR_OK;
    struct records records;
    struct record record;
    TRY(records_init(&records, batch, search->compressors, &search->scratch));
    while (records_next(&records, &record)) {
        if (record.timestamp < search->timestamp || record.offset < search->start_offset)
            continue;
        if (record.offset >= search->end_offset)
            return ERR_NOENT;
        *search->position =
            (struct log_position){record.offset, record.timestamp, batch->leader_epoch};
        return ERR_EXISTS;
    }
    return records.err;
}

/* The greatest timestamp of a sealed segment is the last entry of its time index. */
enum err segment_learn_time(struct log *log, struct segment *segment)
{
    if (segment->is_time_known)
        return ERR_OK;
    struct timeindex_entry last;
    enum err err = timeindex_last(log, segment, &last);
    if (err == ERR_OK) {
        segment->max_timestamp = last.timestamp;
        segment->max_timestamp_offset = segment->base_offset + last.relative_offset;
    } else if (err == ERR_NOENT && segment->size > 0) {
        int64_t end_offset;
        uint32_t stopped_at;
        TRY(log_index_segment(log, segment, false, &end_offset, &stopped_at));
        err = index_store(log, segment); /* mended by the way; without it every look-up scans */
        index_release(&segment->index);
        if (err != ERR_OK && err != ERR_NOSPACE)
            return err;
    } else if (err != ERR_NOENT) {
        return err;
    }
    segment->is_time_known = true;
    return ERR_OK;
}

static enum err search_segment(struct log *log, struct segment *segment, struct search *search)
{
    int64_t from;
    uint32_t position = 0, size, stopped_at;
    TRY(timeindex_find(log, segment, search->timestamp, &from));
    enum err err = segment_seek(log, segment, from, &position, &size);
    if (err == ERR_NOENT)
        return ERR_OK;
    TRY(err);
    return segment_scan(log, segment, position, segment->size, on_batch, search, &stopped_at);
}

enum err log_find_timestamp(struct log *log, struct compressors *c, int64_t timestamp,
                            int64_t end_offset, struct log_position *position)
{
    *position = (struct log_position){-1, -1, -1};
    struct search search = {.compressors = c,
                            .timestamp = timestamp,
                            .start_offset = log->start_offset,
                            .end_offset = end_offset,
                            .position = position};
    buf_init(&search.scratch, UNPACKED_BYTES_MAX);
    enum err err = ERR_OK;
    for (size_t at = log_segment_at(log, log->start_offset);
         err == ERR_OK && at < log->segment_count; at++) {
        struct segment *segment = log->segments[at];
        err = segment_learn_time(log, segment);
        if (err == ERR_OK && segment->max_timestamp >= timestamp)
            err = search_segment(log, segment, &search);
    }
    buf_deinit(&search.scratch);
    return err == ERR_EXISTS || err == ERR_NOENT ? ERR_OK : err;
}

enum err log_find_max_timestamp(struct log *log, struct compressors *c,
                                struct log_position *position)
{
    *position = (struct log_position){-1, -1, -1};
    int64_t greatest = -1;
    for (size_t at = log_segment_at(log, log->start_offset); at < log->segment_count; at++) {
        TRY(segment_learn_time(log, log->segments[at]));
        if (log->segments[at]->max_timestamp > greatest)
            greatest = log->segments[at]->max_timestamp;
    }
    if (greatest < 0)
        return ERR_OK;
    return log_find_timestamp(log, c, greatest, log->end_offset, position);
}
