/* See unfinished.h.
 *
 * Runs on: the thread that starts the node, waiting for the disk: a listing and a small file for
 * each partition, and the segments of `__transaction_state`, which is compacted. A record there:
 *
 *   key    0 i16 version (0), 2 string transactional id
 *   value  0 i16 version (0 or 1), 2 i64 producer id, 10 i16 producer epoch, 12 i32 timeout in ms,
 *          16 i8 state, and what does not matter here; a tombstone forgets the id
 *
 * Only ids that are in an unfinished state are kept, so memory is bounded by what runs at once. */
#include "log/unfinished.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "log/internal.h"
#include "wire/batch.h"

#define COORDINATOR_TOPIC    "__transaction_state"
#define CHUNK_BYTES          ((size_t)1 << 20)
#define BATCH_BYTES_MAX      ((size_t)256 << 20)
#define VALUE_AT_PRODUCER_ID 2
#define VALUE_AT_STATE       16

/* --- a partition's producers --- */

struct newest {
    int64_t offset;
};

static enum err on_snapshot_name(void *arg, const char *name, bool is_dir)
{
    struct newest *newest = arg;
    int64_t offset;
    if (!is_dir && log_parse_file_name(name, SNAPSHOT_SUFFIX, &offset) && offset > newest->offset)
        newest->offset = offset;
    return ERR_OK;
}

struct finder {
    const struct logdir *logdir;
    struct io *io;
    struct unfinished *out;
    bool is_of_coordinator; /* what `out` has */
};

static enum err path_of(const struct finder *finder, const struct logdir_partition *partition,
                        char *path)
{
    int len = snprintf(path, LOG_PATH_MAX, "%.*s/%.*s-%d", STR_ARG(finder->logdir->path),
                       STR_ARG(partition->topic), partition->index);
    return len > 0 && len < LOG_PATH_MAX ? ERR_OK : ERR_LIMIT;
}

static bool is_before(const struct logdir_partition *a, const struct logdir_partition *b)
{
    int order = str_cmp(a->topic, b->topic);
    return order != 0 ? order < 0 : a->index < b->index;
}

/* Whether it is the one to be named, as far as is known. */
static bool is_first(const struct finder *finder, const struct logdir_partition *partition,
                     bool is_of_coordinator)
{
    const struct logdir_partition *known = finder->out->partition;
    if (!known || finder->is_of_coordinator != is_of_coordinator)
        return !known || !is_of_coordinator;
    return is_before(partition, known);
}

static void note_producers(struct finder *finder, const struct logdir_partition *partition,
                           const struct producers *producers)
{
    const struct producer *oldest = NULL;
    struct map_iter iter;
    map_iter_init(&iter, &producers->map);
    for (const struct producer *producer; (producer = map_iter_next(&iter)) != NULL;) {
        if (producer->txn_first_offset >= 0 &&
            (!oldest || producer->txn_first_offset < oldest->txn_first_offset))
            oldest = producer;
    }
    if (!oldest)
        return;
    size_t count = ++finder->out->count;
    if (!is_first(finder, partition, false))
        return;
    finder->is_of_coordinator = false;
    *finder->out = (struct unfinished){.partition = partition,
                                       .producer_id = oldest->id,
                                       .first_offset = oldest->txn_first_offset,
                                       .count = count};
}

static enum err look_at_producers(struct finder *finder, const struct logdir_partition *partition)
{
    char dir[LOG_PATH_MAX], path[LOG_PATH_MAX];
    struct newest newest = {-1};
    TRY(path_of(finder, partition, dir));
    TRY(io_list(finder->io, dir, on_snapshot_name, &newest));
    if (newest.offset < 0)
        return ERR_OK;
    int len =
        snprintf(path, sizeof(path), "%s/%020lld" SNAPSHOT_SUFFIX, dir, (long long)newest.offset);
    if (len <= 0 || (size_t)len >= sizeof(path))
        return ERR_LIMIT;
    uint8_t *data = NULL;
    size_t size = 0;
    TRY(io_read_file(finder->io, path, SNAPSHOT_BYTES_MAX, &data, &size));
    struct producers producers;
    producers_init(&producers, finder->logdir->partitions.seed);
    enum err err = producers_snapshot_read(&producers, slice_of(data, size));
    free(data);
    if (err == ERR_OK)
        note_producers(finder, partition, &producers);
    producers_deinit(&producers);
    return err == ERR_MALFORMED ? ERR_OK : err;
}

/* --- a coordinator's log --- */

struct open_id {
    int64_t producer_id;
    uint8_t state;
    size_t len;
    char name[];
};

static bool has_name(const void *entry, const void *key)
{
    const struct open_id *id = entry;
    return str_eq((struct str){id->name, id->len}, *(const struct str *)key);
}

/* NULL: nothing is left to be done in that state. */
static const char *state_name(uint8_t state)
{
    static const char *const names[] = {
        [1] = "Ongoing", [2] = "PrepareCommit", [3] = "PrepareAbort"};
    return state < ARRAY_LEN(names) ? names[state] : NULL;
}

static enum err keep_id(struct map *open, struct str name, int64_t producer_id, uint8_t state)
{
    struct open_id *id = malloc(sizeof(*id) + name.len);
    if (!id)
        return ERR_NOMEM;
    *id = (struct open_id){producer_id, state, name.len};
    memcpy(id->name, name.data, name.len);
    enum err err = map_insert(open, hash_str(open->seed, name), id);
    if (err != ERR_OK)
        free(id);
    return err;
}

static enum err note_record(struct map *open, const struct record *record)
{
    if (record->key.len < 4 || be16_load(record->key.data) != 0)
        return ERR_OK;
    struct str name = {(const char *)record->key.data + 4, be16_load(record->key.data + 2)};
    if (name.len != record->key.len - 4)
        return ERR_OK;
    free(map_remove(open, hash_str(open->seed, name), &name));
    if (record->value.len <= VALUE_AT_STATE || !state_name(record->value.data[VALUE_AT_STATE]))
        return ERR_OK;
    return keep_id(open, name, (int64_t)be64_load(record->value.data + VALUE_AT_PRODUCER_ID),
                   record->value.data[VALUE_AT_STATE]);
}

struct reading {
    struct map open;
    struct compressors compressors;
    struct buf scratch;
    uint8_t *window;
    size_t cap;
};

static enum err note_batch(struct reading *reading, const struct batch *batch)
{
    struct records records;
    struct record record;
    if (batch_is_control(batch) || !batch_crc_is_valid(batch))
        return ERR_OK;
    enum err err = records_init(&records, batch, &reading->compressors, &reading->scratch);
    while (err == ERR_OK && records_next(&records, &record))
        err = note_record(&reading->open, &record);
    return err == ERR_NOMEM ? err : ERR_OK;
}

static enum err make_room(struct reading *reading, size_t cap)
{
    if (cap <= reading->cap)
        return ERR_OK;
    uint8_t *window = realloc(reading->window, cap);
    if (!window)
        return ERR_NOMEM;
    reading->window = window;
    reading->cap = cap;
    return ERR_OK;
}

/* To the end, or to where no batch lies. */
static enum err read_segment(struct reading *reading, struct io *io, struct io_file file)
{
    uint64_t position = 0;
    size_t want = CHUNK_BYTES;
    for (;;) {
        size_t len = 0, at = 0;
        struct batch batch;
        TRY(make_room(reading, want));
        TRY(io_read_now(io, file, reading->window, want, position, &len));
        while (batch_load(slice_of(reading->window + at, len - at), &batch) == ERR_OK) {
            TRY(note_batch(reading, &batch));
            at += batch.size;
        }
        int64_t next = len - at >= BATCH_LOG_OVERHEAD ? batch_size_peek(reading->window + at) : 0;
        bool is_whole = next >= (int64_t)BATCH_HEADER_BYTES && (uint64_t)next <= len - at;
        if (len < want || is_whole || next > (int64_t)BATCH_BYTES_MAX)
            return ERR_OK;
        if (at == 0 && next <= (int64_t)want)
            return ERR_OK;
        position += at;
        want = next > (int64_t)CHUNK_BYTES ? (size_t)next : CHUNK_BYTES;
    }
}

struct bases {
    int64_t *items;
    size_t count, cap;
};

static enum err on_segment_name(void *arg, const char *name, bool is_dir)
{
    struct bases *bases = arg;
    int64_t offset;
    if (is_dir || !log_parse_file_name(name, ".log", &offset))
        return ERR_OK;
    if (bases->count == bases->cap) {
        size_t cap = bases->cap ? bases->cap * 2 : 8;
        int64_t *items = realloc(bases->items, cap * sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        bases->items = items;
        bases->cap = cap;
    }
    bases->items[bases->count++] = offset;
    return ERR_OK;
}

static int base_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static enum err read_segments(struct reading *reading, struct io *io, const char *dir,
                              const struct bases *bases)
{
    for (size_t i = 0; i < bases->count; i++) {
        char path[LOG_PATH_MAX];
        struct io_file file;
        int len = snprintf(path, sizeof(path), "%s/%020lld.log", dir, (long long)bases->items[i]);
        if (len <= 0 || (size_t)len >= sizeof(path))
            return ERR_LIMIT;
        TRY(io_open(io, path, IO_OPEN_READ, &file));
        enum err err = read_segment(reading, io, file);
        io_close(io, file);
        TRY(err);
    }
    return ERR_OK;
}

static void note_open_ids(struct finder *finder, const struct logdir_partition *partition,
                          const struct map *open)
{
    struct unfinished *out = finder->out;
    const struct open_id *first = NULL;
    struct map_iter iter;
    map_iter_init(&iter, open);
    for (const struct open_id *id; (id = map_iter_next(&iter)) != NULL;) {
        if (!first ||
            str_cmp((struct str){id->name, id->len}, (struct str){first->name, first->len}) < 0)
            first = id;
    }
    if (!first || !is_first(finder, partition, true))
        return;
    finder->is_of_coordinator = true;
    out->partition = partition;
    out->producer_id = first->producer_id;
    out->first_offset = -1;
    out->state = state_name(first->state);
    snprintf(out->name, sizeof(out->name), "%.*s", (int)first->len, first->name);
}

static enum err look_at_coordinator(struct finder *finder, const struct logdir_partition *partition)
{
    char dir[LOG_PATH_MAX];
    struct bases bases = {NULL, 0, 0};
    struct reading reading = {.window = NULL};
    TRY(path_of(finder, partition, dir));
    enum err err = io_list(finder->io, dir, on_segment_name, &bases);
    if (bases.count > 1)
        qsort(bases.items, bases.count, sizeof(*bases.items), base_compare);
    map_init(&reading.open, finder->logdir->partitions.seed, has_name);
    compressors_init(&reading.compressors);
    buf_init(&reading.scratch, BATCH_BYTES_MAX);
    if (err == ERR_OK)
        err = read_segments(&reading, finder->io, dir, &bases);
    if (err == ERR_OK)
        note_open_ids(finder, partition, &reading.open);
    struct map_iter iter;
    map_iter_init(&iter, &reading.open);
    for (struct open_id *id; (id = map_iter_next(&iter)) != NULL;)
        free(id);
    map_deinit(&reading.open);
    compressors_deinit(&reading.compressors);
    buf_deinit(&reading.scratch);
    free(reading.window);
    free(bases.items);
    return err;
}

enum err unfinished_find(const struct logdir *logdir, struct io *io, struct unfinished *out)
{
    struct finder finder = {.logdir = logdir, .io = io, .out = out};
    struct map_iter iter;
    *out = (struct unfinished){.partition = NULL};
    map_iter_init(&iter, &logdir->partitions);
    for (const struct logdir_partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        TRY(look_at_producers(&finder, partition));
        if (str_eq_cstr(partition->topic, COORDINATOR_TOPIC))
            TRY(look_at_coordinator(&finder, partition));
    }
    return ERR_OK;
}
