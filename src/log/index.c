/* The sparse indexes of a segment, in Kafka's file formats.
 *
 *   NNN.index      entries of  i32 offset - NNN, i32 position      of a batch's last offset
 *   NNN.timeindex  entries of  i64 timestamp, i32 offset - NNN     greatest timestamp so far
 *
 * Both ascend. A batch is indexed when more than index.interval.bytes were written since the last
 * one. The active segment's newest entries are in memory, and go to the file some hundred at a
 * time; the rest is searched in the file, an entry at a time, so that neither a large segment nor
 * many partitions cost memory. Files are never pre-allocated.
 *
 * What a crash leaves of the active segment's files is not trusted: recovery begins them anew.
 * (Apache Kafka's end in zeros then, to the size that it pre-allocates.) Sealing a segment syncs
 * them. An index is only a hint where to begin: who uses it checks what lies there. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "log/internal.h"
#include "wire/batch.h"

/* Entries kept in memory before they go to the file together. */
#define TAIL_ENTRIES_MAX 256

enum { ENTRY_BYTES_MAX = TIMEINDEX_ENTRY_BYTES };
static_assert(INDEX_ENTRY_BYTES <= ENTRY_BYTES_MAX, "an entry of either kind fits");

static struct index_entry entry_load(const uint8_t *at)
{
    return (struct index_entry){be32_load(at), be32_load(at + 4)};
}

static struct timeindex_entry time_load(const uint8_t *at)
{
    return (struct timeindex_entry){(int64_t)be64_load(at), be32_load(at + 8)};
}

void index_reset(struct segment_index *index)
{
    index->stored = index->times_stored = 0;
    index->crc = index->times_crc = 0;
    index->count = index->time_count = 0;
    index->last_time = BATCH_TIMESTAMP_NONE;
}

void index_release(struct segment_index *index)
{
    free(index->entries);
    free(index->times);
    *index = (struct segment_index){.last_time = BATCH_TIMESTAMP_NONE};
}

/* --- writing --- */

/* Puts the bytes behind the entries that the file has. With `seal` they end the file, which is
 * then synced. */
static enum err file_append(struct log *log, const struct segment *segment, const char *suffix,
                            uint64_t stored_bytes, struct slice bytes, bool seal)
{
    char path[LOG_PATH_MAX];
    segment_file_path(log, segment, suffix, path);
    struct io_file file;
    int flags = IO_OPEN_CREATE | (stored_bytes == 0 ? IO_OPEN_TRUNCATE : 0);
    TRY(io_open(log->io, path, flags, &file));
    enum err err = ERR_OK;
    if (bytes.len > 0)
        err = io_write_now(log->io, file, bytes.data, bytes.len, stored_bytes);
    if (err == ERR_OK && seal)
        err = io_truncate(log->io, file, stored_bytes + bytes.len);
    if (err == ERR_OK && seal)
        err = io_sync_now(log->io, file);
    io_close(log->io, file);
    return err;
}

static enum err store_entries(struct log *log, struct segment *segment, bool seal)
{
    struct segment_index *index = &segment->index;
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    for (size_t i = 0; i < index->count; i++) {
        buf_put_be32(&bytes, index->entries[i].relative_offset);
        buf_put_be32(&bytes, index->entries[i].position);
    }
    enum err err = bytes.err;
    if (err == ERR_OK)
        err = file_append(log, segment, ".index", (uint64_t)index->stored * INDEX_ENTRY_BYTES,
                          buf_slice(&bytes), seal);
    if (err == ERR_OK)
        index->crc = crc32c(index->crc, buf_slice(&bytes));
    buf_deinit(&bytes);
    TRY(err);
    index->stored += (uint32_t)index->count;
    index->count = 0;
    return ERR_OK;
}

static enum err store_times(struct log *log, struct segment *segment, bool seal)
{
    struct segment_index *index = &segment->index;
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    for (size_t i = 0; i < index->time_count; i++) {
        buf_put_be64(&bytes, (uint64_t)index->times[i].timestamp);
        buf_put_be32(&bytes, index->times[i].relative_offset);
    }
    enum err err = bytes.err;
    if (err == ERR_OK)
        err = file_append(log, segment, ".timeindex",
                          (uint64_t)index->times_stored * TIMEINDEX_ENTRY_BYTES, buf_slice(&bytes),
                          seal);
    if (err == ERR_OK)
        index->times_crc = crc32c(index->times_crc, buf_slice(&bytes));
    buf_deinit(&bytes);
    TRY(err);
    index->times_stored += (uint32_t)index->time_count;
    index->time_count = 0;
    return ERR_OK;
}

/* Room for one more; a full disk makes the tail longer instead of failing an append. */
static enum err make_room(struct log *log, struct segment *segment)
{
    struct segment_index *index = &segment->index;
    if (index->count >= TAIL_ENTRIES_MAX) {
        enum err err = store_entries(log, segment, false);
        if (err != ERR_OK && err != ERR_NOSPACE)
            return err;
    }
    if (index->count == index->cap) {
        size_t cap = index->cap ? index->cap * 2 : 8;
        struct index_entry *entries = realloc(index->entries, cap * sizeof(*entries));
        if (!entries)
            return ERR_NOMEM;
        index->entries = entries;
        index->cap = cap;
    }
    return ERR_OK;
}

static enum err make_time_room(struct log *log, struct segment *segment)
{
    struct segment_index *index = &segment->index;
    if (index->time_count >= TAIL_ENTRIES_MAX) {
        enum err err = store_times(log, segment, false);
        if (err != ERR_OK && err != ERR_NOSPACE)
            return err;
    }
    if (index->time_count == index->time_cap) {
        size_t cap = index->time_cap ? index->time_cap * 2 : 8;
        struct timeindex_entry *times = realloc(index->times, cap * sizeof(*times));
        if (!times)
            return ERR_NOMEM;
        index->times = times;
        index->time_cap = cap;
    }
    return ERR_OK;
}

/* Notes the greatest timestamp so far, if it is news. */
static enum err push_time(struct log *log, struct segment *segment)
{
    struct segment_index *index = &segment->index;
    if (segment->max_timestamp <= index->last_time)
        return ERR_OK;
    TRY(make_time_room(log, segment));
    index->times[index->time_count++] = (struct timeindex_entry){
        segment->max_timestamp, (uint32_t)(segment->max_timestamp_offset - segment->base_offset)};
    index->last_time = segment->max_timestamp;
    return ERR_OK;
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
        struct segment_index *index = &segment->index;
        TRY(make_room(log, segment));
        index->entries[index->count++] =
            (struct index_entry){(uint32_t)(batch->last_offset - segment->base_offset), position};
        TRY(push_time(log, segment));
        segment->index_gap = 0;
    }
    segment->index_gap += (uint32_t)batch->size;
    return ERR_OK;
}

bool index_is_full(const struct log *log, const struct segment *segment)
{
    const struct segment_index *index = &segment->index;
    size_t bytes_max = (size_t)log->config.segment_index_bytes;
    /* One time entry is kept free for the one that sealing adds. */
    return index->stored + index->count >= bytes_max / INDEX_ENTRY_BYTES ||
           index->times_stored + index->time_count + 1 >= bytes_max / TIMEINDEX_ENTRY_BYTES;
}

enum err index_store_tail(struct log *log, struct segment *segment)
{
    if (segment->index.count > 0)
        TRY(store_entries(log, segment, false));
    return segment->index.time_count > 0 ? store_times(log, segment, false) : ERR_OK;
}

enum err index_store(struct log *log, struct segment *segment)
{
    TRY(push_time(log, segment));
    TRY(store_entries(log, segment, true));
    return store_times(log, segment, true);
}

/* --- the files --- */

struct index_file {
    struct io *io;
    struct io_file file;
    size_t entry_bytes;
    size_t count;
};

static enum err file_open(struct log *log, const struct segment *segment, const char *suffix,
                          size_t entry_bytes, struct index_file *out)
{
    char path[LOG_PATH_MAX];
    segment_file_path(log, segment, suffix, path);
    out->io = log->io;
    out->entry_bytes = entry_bytes;
    TRY(io_open(log->io, path, IO_OPEN_READ, &out->file));
    struct io_stat stat;
    enum err err = io_stat_file(log->io, out->file, &stat);
    if (err == ERR_OK && stat.size > INT32_MAX)
        err = ERR_MALFORMED;
    if (err != ERR_OK)
        io_close(log->io, out->file);
    else
        out->count = stat.size / entry_bytes;
    return err;
}

static enum err file_entry(const struct index_file *index, size_t at, uint8_t *entry)
{
    size_t moved = 0;
    TRY(io_read_now(index->io, index->file, entry, index->entry_bytes, at * index->entry_bytes,
                    &moved));
    return moved == index->entry_bytes ? ERR_OK : ERR_TRUNCATED;
}

/* The file's last entry, and how many there are. Without entries, `entry` is untouched. */
static enum err file_last(struct log *log, const struct segment *segment, const char *suffix,
                          size_t entry_bytes, uint8_t *entry, size_t *count)
{
    struct index_file file;
    TRY(file_open(log, segment, suffix, entry_bytes, &file));
    *count = file.count;
    enum err err = file.count > 0 ? file_entry(&file, file.count - 1, entry) : ERR_OK;
    io_close(log->io, file.file);
    return err;
}

/* The checksum of the first `bytes` of a file. ERR_TRUNCATED: it is shorter. */
static enum err file_crc(struct log *log, const struct segment *segment, const char *suffix,
                         uint64_t bytes, uint32_t *crc)
{
    char path[LOG_PATH_MAX];
    uint8_t chunk[8192];
    struct io_file file;
    *crc = 0;
    if (bytes == 0)
        return ERR_OK;
    segment_file_path(log, segment, suffix, path);
    TRY(io_open(log->io, path, IO_OPEN_READ, &file));
    enum err err = ERR_OK;
    for (uint64_t at = 0; err == ERR_OK && at < bytes;) {
        size_t want = bytes - at < sizeof(chunk) ? (size_t)(bytes - at) : sizeof(chunk);
        size_t moved = 0;
        err = io_read_now(log->io, file, chunk, want, at, &moved);
        if (err == ERR_OK && moved < want)
            err = ERR_TRUNCATED;
        *crc = crc32c(*crc, slice_of(chunk, moved));
        at += moved;
    }
    io_close(log->io, file);
    return err;
}

enum err index_verify(struct log *log, const struct segment *segment)
{
    const struct segment_index *index = &segment->index;
    uint32_t crc = 0, times_crc = 0;
    enum err err =
        file_crc(log, segment, ".index", (uint64_t)index->stored * INDEX_ENTRY_BYTES, &crc);
    if (err == ERR_OK)
        err = file_crc(log, segment, ".timeindex",
                       (uint64_t)index->times_stored * TIMEINDEX_ENTRY_BYTES, &times_crc);
    if (err == ERR_NOENT || err == ERR_TRUNCATED)
        return ERR_MALFORMED;
    TRY(err);
    return crc == index->crc && times_crc == index->times_crc ? ERR_OK : ERR_MALFORMED;
}

enum err index_adopt(struct log *log, struct segment *segment, struct index_entry *last,
                     struct timeindex_entry *last_time)
{
    struct segment_index *index = &segment->index;
    uint8_t bytes[ENTRY_BYTES_MAX];
    size_t count;
    index_reset(index);
    TRY(file_last(log, segment, ".index", INDEX_ENTRY_BYTES, bytes, &count));
    *last = count > 0 ? entry_load(bytes) : (struct index_entry){0, 0};
    /* The first batch is never indexed: such an entry is what Kafka pre-allocates. */
    if (count > 0 && (last->position == 0 || last->position >= segment->size))
        return ERR_MALFORMED;
    index->stored = (uint32_t)count;
    TRY(file_last(log, segment, ".timeindex", TIMEINDEX_ENTRY_BYTES, bytes, &count));
    *last_time = count > 0 ? time_load(bytes) : (struct timeindex_entry){-1, 0};
    if (count > 0 && (last_time->timestamp < 0 || segment->size == 0))
        return ERR_MALFORMED;
    index->times_stored = (uint32_t)count;
    index->last_time = last_time->timestamp;
    TRY(file_crc(log, segment, ".index", (uint64_t)index->stored * INDEX_ENTRY_BYTES, &index->crc));
    return file_crc(log, segment, ".timeindex",
                    (uint64_t)index->times_stored * TIMEINDEX_ENTRY_BYTES, &index->times_crc);
}

enum err timeindex_last(struct log *log, struct segment *segment, struct timeindex_entry *entry)
{
    uint8_t bytes[ENTRY_BYTES_MAX];
    size_t count;
    TRY(file_last(log, segment, ".timeindex", TIMEINDEX_ENTRY_BYTES, bytes, &count));
    if (count == 0)
        return ERR_NOENT;
    *entry = time_load(bytes);
    return ERR_OK;
}

/* --- look-ups --- */

/* Whether an entry lies before what is searched. True for the first ones, false from some on. */
typedef bool before_fn(const uint8_t *entry, int64_t wanted);

static bool entry_is_before(const uint8_t *entry, int64_t relative_offset)
{
    return entry_load(entry).relative_offset <= relative_offset;
}

static bool time_is_before(const uint8_t *entry, int64_t timestamp)
{
    return time_load(entry).timestamp < timestamp;
}

/* The last entry of a file that is before; ERR_NOENT if there is none, or no file. */
static enum err file_search(struct log *log, const struct segment *segment, const char *suffix,
                            size_t entry_bytes, size_t count_max, before_fn *is_before,
                            int64_t wanted, uint8_t *found)
{
    struct index_file file;
    TRY(file_open(log, segment, suffix, entry_bytes, &file));
    size_t low = 0, high = file.count < count_max ? file.count : count_max;
    enum err err = ERR_OK;
    bool any = false;
    while (err == ERR_OK && low < high) {
        size_t mid = low + (high - low) / 2;
        uint8_t entry[ENTRY_BYTES_MAX];
        err = file_entry(&file, mid, entry);
        if (err == ERR_OK && is_before(entry, wanted)) {
            memcpy(found, entry, entry_bytes);
            any = true;
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    io_close(log->io, file.file);
    TRY(err);
    return any ? ERR_OK : ERR_NOENT;
}

enum err index_find(struct log *log, struct segment *segment, int64_t offset, uint32_t *position)
{
    *position = 0;
    if (offset <= segment->base_offset)
        return ERR_OK;
    int64_t relative = offset - segment->base_offset;
    const struct segment_index *index = &segment->index;
    if (index->count > 0 && index->entries[0].relative_offset <= relative) {
        size_t low = 1, high = index->count; /* entries below low are before */
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            if (index->entries[mid].relative_offset <= relative)
                low = mid + 1;
            else
                high = mid;
        }
        *position = index->entries[low - 1].position;
        return ERR_OK;
    }
    uint8_t found[ENTRY_BYTES_MAX];
    enum err err = file_search(log, segment, ".index", INDEX_ENTRY_BYTES,
                               segment->is_sealed ? SIZE_MAX : index->stored, entry_is_before,
                               relative, found);
    if (err == ERR_NOENT)
        return ERR_OK;
    TRY(err);
    *position = entry_load(found).position;
    return ERR_OK;
}

enum err timeindex_find(struct log *log, struct segment *segment, int64_t timestamp,
                        int64_t *offset)
{
    *offset = segment->base_offset;
    const struct segment_index *index = &segment->index;
    if (index->time_count > 0 && index->times[0].timestamp < timestamp) {
        for (size_t i = 0; i < index->time_count && index->times[i].timestamp < timestamp; i++)
            *offset = segment->base_offset + index->times[i].relative_offset;
        return ERR_OK;
    }
    uint8_t found[ENTRY_BYTES_MAX];
    enum err err = file_search(log, segment, ".timeindex", TIMEINDEX_ENTRY_BYTES,
                               segment->is_sealed ? SIZE_MAX : index->times_stored, time_is_before,
                               timestamp, found);
    if (err == ERR_NOENT)
        return ERR_OK;
    TRY(err);
    *offset = segment->base_offset + time_load(found).relative_offset;
    return ERR_OK;
}
