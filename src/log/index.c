/* Offset and time indexes of a segment, in Kafka's file formats.
 *
 *   NNN.index      entries of  i32 offset - NNN, i32 position      of a batch's last offset
 *   NNN.timeindex  entries of  i64 timestamp, i32 offset - NNN     greatest timestamp so far
 *
 * Both ascend. A batch is indexed when more than index.interval.bytes were written since the last
 * one. Apache Kafka pre-allocates the files of its active segment; what a crash of it leaves ends
 * in zeros, which no true entry but the first can be: such files are built again by recovery. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "log/internal.h"
#include "wire/batch.h"

static enum err push_entry(struct segment_index *index, struct index_entry entry)
{
    if (index->count == index->cap) {
        size_t cap = index->cap ? index->cap * 2 : 16;
        struct index_entry *entries = realloc(index->entries, cap * sizeof(*entries));
        if (!entries)
            return ERR_NOMEM;
        index->entries = entries;
        index->cap = cap;
    }
    index->entries[index->count++] = entry;
    return ERR_OK;
}

static enum err push_time(struct segment_index *index, struct timeindex_entry entry)
{
    if (index->time_count > 0 && entry.timestamp <= index->times[index->time_count - 1].timestamp)
        return ERR_OK;
    if (index->time_count == index->time_cap) {
        size_t cap = index->time_cap ? index->time_cap * 2 : 16;
        struct timeindex_entry *times = realloc(index->times, cap * sizeof(*times));
        if (!times)
            return ERR_NOMEM;
        index->times = times;
        index->time_cap = cap;
    }
    index->times[index->time_count++] = entry;
    return ERR_OK;
}

static struct timeindex_entry latest_time(const struct segment *segment)
{
    return (struct timeindex_entry){
        segment->max_timestamp, (uint32_t)(segment->max_timestamp_offset - segment->base_offset)};
}

enum err index_note_batch(struct log *log, struct segment *segment, uint32_t position,
                          const struct batch *batch)
{
    if (segment->first_timestamp < 0)
        segment->first_timestamp = batch->max_timestamp;
    if (batch->max_timestamp > segment->max_timestamp) {
        segment->max_timestamp = batch->max_timestamp;
        segment->max_timestamp_offset = batch->last_offset;
    }
    if (segment->index_gap > (uint32_t)log->config.index_interval_bytes) {
        struct index_entry entry = {(uint32_t)(batch->last_offset - segment->base_offset),
                                    position};
        TRY(push_entry(&segment->index, entry));
        if (segment->max_timestamp >= 0)
            TRY(push_time(&segment->index, latest_time(segment)));
        segment->index_gap = 0;
    }
    segment->index_gap += (uint32_t)batch->size;
    return ERR_OK;
}

bool index_is_full(const struct log *log, const struct segment *segment)
{
    size_t bytes_max = (size_t)log->config.segment_index_bytes;
    /* One time entry is kept free for the one that sealing adds. */
    return segment->index.count >= bytes_max / INDEX_ENTRY_BYTES ||
           segment->index.time_count + 1 >= bytes_max / TIMEINDEX_ENTRY_BYTES;
}

static enum err write_index_file(struct log *log, const struct segment *segment, const char *suffix,
                                 struct slice bytes)
{
    char path[LOG_PATH_MAX];
    segment_path(log, segment->base_offset, suffix, path);
    struct io_file file;
    TRY(io_open(log->io, path, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &file));
    enum err err = bytes.len ? io_write_now(log->io, file, bytes.data, bytes.len, 0) : ERR_OK;
    io_close(log->io, file);
    return err;
}

enum err index_store(struct log *log, struct segment *segment)
{
    struct segment_index *index = &segment->index;
    if (segment->max_timestamp >= 0)
        TRY(push_time(index, latest_time(segment)));
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    for (size_t i = 0; i < index->count; i++) {
        buf_put_be32(&bytes, index->entries[i].relative_offset);
        buf_put_be32(&bytes, index->entries[i].position);
    }
    enum err err = bytes.err;
    if (err == ERR_OK)
        err = write_index_file(log, segment, ".index", buf_slice(&bytes));
    buf_reset(&bytes);
    for (size_t i = 0; i < index->time_count; i++) {
        buf_put_be64(&bytes, (uint64_t)index->times[i].timestamp);
        buf_put_be32(&bytes, index->times[i].relative_offset);
    }
    if (err == ERR_OK)
        err = bytes.err;
    if (err == ERR_OK)
        err = write_index_file(log, segment, ".timeindex", buf_slice(&bytes));
    buf_deinit(&bytes);
    return err;
}

void index_release(struct segment_index *index)
{
    free(index->entries);
    free(index->times);
    *index = (struct segment_index){0};
}

static enum err load_entries(struct segment *segment, struct slice bytes)
{
    if (bytes.len % INDEX_ENTRY_BYTES != 0)
        return ERR_MALFORMED;
    for (size_t at = 0; at < bytes.len; at += INDEX_ENTRY_BYTES) {
        struct index_entry entry = {be32_load(bytes.data + at), be32_load(bytes.data + at + 4)};
        const struct segment_index *index = &segment->index;
        if (entry.position >= segment->size)
            return ERR_MALFORMED;
        if (index->count > 0 &&
            (entry.relative_offset <= index->entries[index->count - 1].relative_offset ||
             entry.position <= index->entries[index->count - 1].position))
            return ERR_MALFORMED;
        TRY(push_entry(&segment->index, entry));
    }
    return ERR_OK;
}

static enum err load_times(struct segment *segment, struct slice bytes)
{
    if (bytes.len % TIMEINDEX_ENTRY_BYTES != 0)
        return ERR_MALFORMED;
    for (size_t at = 0; at < bytes.len; at += TIMEINDEX_ENTRY_BYTES) {
        struct timeindex_entry entry = {(int64_t)be64_load(bytes.data + at),
                                        be32_load(bytes.data + at + 8)};
        size_t before = segment->index.time_count;
        TRY(push_time(&segment->index, entry));
        if (segment->index.time_count == before)
            return ERR_MALFORMED;
    }
    return ERR_OK;
}

enum err index_load(struct log *log, struct segment *segment)
{
    static const struct {
        const char *suffix;
        enum err (*load)(struct segment *segment, struct slice bytes);
    } files[] = {{".index", load_entries}, {".timeindex", load_times}};
    index_release(&segment->index);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[LOG_PATH_MAX];
        segment_path(log, segment->base_offset, files[i].suffix, path);
        uint8_t *data = NULL;
        size_t len = 0;
        enum err err = io_read_file(log->io, path, (size_t)INT32_MAX, &data, &len);
        if (err == ERR_OK)
            err = files[i].load(segment, (struct slice){data, len});
        free(data);
        if (err != ERR_OK) {
            index_release(&segment->index);
            return err == ERR_NOENT || err == ERR_LIMIT ? ERR_MALFORMED : err;
        }
    }
    return ERR_OK;
}

/* --- look-ups --- */

/* A sealed segment's index file, read an entry at a time. */
struct index_file {
    struct io *io;
    struct io_file file;
    size_t entry_bytes;
    size_t count;
};

static enum err index_file_open(struct log *log, const struct segment *segment, const char *suffix,
                                size_t entry_bytes, struct index_file *out)
{
    char path[LOG_PATH_MAX];
    segment_path(log, segment->base_offset, suffix, path);
    out->io = log->io;
    out->entry_bytes = entry_bytes;
    TRY(io_open(log->io, path, IO_OPEN_READ, &out->file));
    struct io_stat stat;
    enum err err = io_stat_file(log->io, out->file, &stat);
    if (err != ERR_OK)
        io_close(log->io, out->file);
    else
        out->count = stat.size / entry_bytes;
    return err;
}

static enum err index_file_read(const struct index_file *index, size_t at, uint8_t *entry)
{
    size_t moved = 0;
    TRY(io_read_now(index->io, index->file, entry, index->entry_bytes, at * index->entry_bytes,
                    &moved));
    return moved == index->entry_bytes ? ERR_OK : ERR_TRUNCATED;
}

enum err index_find(struct log *log, struct segment *segment, int64_t offset, uint32_t *position)
{
    *position = 0;
    uint64_t relative = (uint64_t)(offset - segment->base_offset);
    if (!segment->is_sealed) {
        const struct segment_index *index = &segment->index;
        size_t low = 0, high = index->count; /* entries below low are <= relative */
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            if (index->entries[mid].relative_offset <= relative)
                low = mid + 1;
            else
                high = mid;
        }
        if (low > 0)
            *position = index->entries[low - 1].position;
        return ERR_OK;
    }
    struct index_file file;
    enum err err = index_file_open(log, segment, ".index", INDEX_ENTRY_BYTES, &file);
    if (err == ERR_NOENT)
        return ERR_OK; /* slower, not wrong */
    TRY(err);
    size_t low = 0, high = file.count;
    while (err == ERR_OK && low < high) {
        size_t mid = low + (high - low) / 2;
        uint8_t entry[INDEX_ENTRY_BYTES];
        err = index_file_read(&file, mid, entry);
        if (err != ERR_OK)
            break;
        if (be32_load(entry) <= relative && be32_load(entry + 4) < segment->size) {
            *position = be32_load(entry + 4);
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    io_close(log->io, file.file);
    return err;
}

enum err timeindex_find(struct log *log, struct segment *segment, int64_t timestamp,
                        int64_t *offset)
{
    *offset = segment->base_offset;
    if (!segment->is_sealed) {
        const struct segment_index *index = &segment->index;
        for (size_t i = 0; i < index->time_count && index->times[i].timestamp < timestamp; i++)
            *offset = segment->base_offset + index->times[i].relative_offset;
        return ERR_OK;
    }
    struct index_file file;
    enum err err = index_file_open(log, segment, ".timeindex", TIMEINDEX_ENTRY_BYTES, &file);
    if (err == ERR_NOENT)
        return ERR_OK;
    TRY(err);
    size_t low = 0, high = file.count;
    while (err == ERR_OK && low < high) {
        size_t mid = low + (high - low) / 2;
        uint8_t entry[TIMEINDEX_ENTRY_BYTES];
        err = index_file_read(&file, mid, entry);
        if (err != ERR_OK)
            break;
        if ((int64_t)be64_load(entry) < timestamp) {
            *offset = segment->base_offset + be32_load(entry + 8);
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    io_close(log->io, file.file);
    return err;
}

enum err timeindex_last(struct log *log, struct segment *segment, struct timeindex_entry *entry)
{
    struct index_file file;
    TRY(index_file_open(log, segment, ".timeindex", TIMEINDEX_ENTRY_BYTES, &file));
    uint8_t bytes[TIMEINDEX_ENTRY_BYTES];
    enum err err = file.count ? index_file_read(&file, file.count - 1, bytes) : ERR_NOENT;
    io_close(log->io, file.file);
    TRY(err);
    *entry = (struct timeindex_entry){(int64_t)be64_load(bytes), be32_load(bytes + 8)};
    return ERR_OK;
}
