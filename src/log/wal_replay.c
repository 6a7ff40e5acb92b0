/* Reading the write-ahead logs that a crash left; the format and its rule are in wal.c.
 *
 * Runs on: the thread that starts the node; wal_group_settle and wal_entry_read on any shard.
 *
 * Each file is read once, front to back. From the first commit that is not whole on, every block is
 * tried: one that was begun later and is there tells a hole from the end. Then the commits of each
 * run are put in the order of their numbers. Up to a hole all were done. Behind one that writes
 * under way at the crash explain, nothing is taken. A hole that they do not explain is damage: it
 * is said, what is there is taken, and the logs that miss something are found out when they are
 * opened. Nothing in here trusts a length or a count before it was checked against its bytes. */
#include "log/wal_replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "base/parse.h"
#include "base/plant.h"
#include "log/epochs.h"
#include "log/wal.h"
#include "log/wal_format.h"
#include "wire/batch.h"

#define PATH_BYTES_MAX 1100
#define READ_BYTES     ((size_t)1 << 20)
static_assert(READ_BYTES >= WAL_COMMIT_BYTES, "a commit is read at once");

struct wal_file_found {
    char *name;
    uint64_t number; /* the last part of its name */
    uint64_t size;
    uint64_t sequence; /* of its newest use; 0: it was never used */
};

/* A whole commit. */
struct found {
    uint64_t run, sequence, number, first;
    uint64_t at;
    uint32_t len;
    uint32_t file;
};

struct reader {
    struct wal_replay *replay;
    struct io_file file;
    uint64_t size;
    uint8_t *data; /* READ_BYTES, aligned */
    uint64_t data_at;
    size_t data_len;
    struct found *found;
    size_t found_count, found_cap;
};

static enum err file_path(const char *dir, const char *name, char path[PATH_BYTES_MAX])
{
    int len = snprintf(path, PATH_BYTES_MAX, "%s/%s", dir, name);
    return len > 0 && len < PATH_BYTES_MAX ? ERR_OK : ERR_LIMIT;
}

/* Room for one more in an array that grows by doubling. */
static enum err grow(void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return ERR_OK;
    size_t more = *cap ? *cap * 2 : 16;
    void *grown = realloc(*items, more * size);
    if (!grown)
        return ERR_NOMEM;
    *items = grown;
    *cap = more;
    return ERR_OK;
}

/* --- which files there are --- */

/* "taffrail-wal-SHARD-NUMBER" */
static bool parse_name(struct str name, uint64_t *number)
{
    struct str prefix = STR(WAL_FILE_PREFIX);
    if (name.len <= prefix.len || !str_eq((struct str){name.data, prefix.len}, prefix))
        return false;
    struct str rest = {name.data + prefix.len, name.len - prefix.len};
    const char *dash = memchr(rest.data, '-', rest.len);
    if (!dash)
        return false;
    struct str shard = {rest.data, (size_t)(dash - rest.data)};
    struct str digits = {dash + 1, rest.len - shard.len - 1};
    int64_t shard_value, value;
    if (parse_i64(shard, &shard_value) != ERR_OK || parse_i64(digits, &value) != ERR_OK ||
        shard_value < 0 || value < 0)
        return false;
    *number = (uint64_t)value;
    return true;
}

static enum err on_name(void *arg, const char *cname, bool is_dir)
{
    struct wal_replay *replay = arg;
    uint64_t number;
    if (is_dir || !parse_name(str_of(cname), &number))
        return ERR_OK;
    void *files = replay->files;
    TRY(grow(&files, replay->file_count, &replay->file_cap, sizeof(*replay->files)));
    replay->files = files;
    char *name = strdup(cname);
    if (!name)
        return ERR_NOMEM;
    replay->files[replay->file_count++] = (struct wal_file_found){.name = name, .number = number};
    if (number >= replay->next_name)
        replay->next_name = number + 1;
    return ERR_OK;
}

/* --- reading commits --- */

/* Makes up to `len` bytes at `at`, a multiple of the block size, available; *have says how many. */
static enum err fill(struct reader *reader, uint64_t at, size_t len, const uint8_t **bytes,
                     size_t *have)
{
    bool is_there = at >= reader->data_at && at < reader->data_at + reader->data_len;
    size_t left = is_there ? (size_t)(reader->data_at + reader->data_len - at) : 0;
    bool is_end = is_there && reader->data_at + reader->data_len >= reader->size;
    if (left < len && !is_end) {
        reader->data_at = at;
        TRY(io_read_now(reader->replay->io, reader->file, reader->data, READ_BYTES, at,
                        &reader->data_len));
        left = reader->data_len;
    }
    *bytes = reader->data + (at - reader->data_at);
    *have = left < len ? left : len;
    return ERR_OK;
}

/* ERR_MALFORMED: there is no whole commit. */
static enum err load_commit(struct reader *reader, uint64_t at, struct found *found)
{
    const uint8_t *bytes;
    size_t have;
    TRY(fill(reader, at, WAL_BLOCK_BYTES, &bytes, &have));
    if (have < WAL_HEADER_BYTES || be32_load(bytes + WAL_AT_MAGIC) != WAL_MAGIC)
        return ERR_MALFORMED;
    uint32_t len = be32_load(bytes + WAL_AT_LENGTH);
    if (len < WAL_HEADER_BYTES || len > WAL_COMMIT_BYTES)
        return ERR_MALFORMED;
    TRY(fill(reader, at, len, &bytes, &have));
    if (have < len)
        return ERR_MALFORMED;
    struct slice covered = slice_of(bytes + WAL_AT_VERSION, len - WAL_AT_VERSION);
    if (crc32c(0, covered) != be32_load(bytes + WAL_AT_CRC))
        return ERR_MALFORMED;
    if (bytes[WAL_AT_VERSION] != WAL_VERSION)
        return ERR_UNSUPPORTED;
    *found = (struct found){
        .run = be64_load(bytes + WAL_AT_RUN),
        .sequence = be64_load(bytes + WAL_AT_SEQUENCE),
        .number = be64_load(bytes + WAL_AT_NUMBER),
        .first = be64_load(bytes + WAL_AT_FIRST),
        .at = at,
        .len = len,
    };
    return ERR_OK;
}

static enum err note_commit(struct reader *reader, struct found found)
{
    void *list = reader->found;
    TRY(grow(&list, reader->found_count, &reader->found_cap, sizeof(found)));
    reader->found = list;
    reader->found[reader->found_count++] = found;
    return ERR_OK;
}

/* All whole commits of the file's newest use. The commit at byte 0 is lost where the crash came
 * first: then it is another that tells which use that was. */
static enum err scan_file(struct reader *reader, uint32_t index)
{
    struct wal_file_found *file = &reader->replay->files[index];
    size_t first = reader->found_count;
    uint64_t at = 0;
    while (at < reader->size) {
        struct found found;
        enum err err = load_commit(reader, at, &found);
        bool is_older = err == ERR_OK && found.sequence < file->sequence;
        if (err == ERR_MALFORMED || (is_older && !PLANTED(WAL_TRUST_OLD_COMMITS))) {
            at += WAL_BLOCK_BYTES;
            continue;
        }
        TRY(err);
        if (found.sequence > file->sequence) {
            if (!PLANTED(WAL_TRUST_OLD_COMMITS))
                reader->found_count = first;
            file->sequence = found.sequence;
        }
        if (found.sequence >= reader->replay->next_sequence)
            reader->replay->next_sequence = found.sequence + 1;
        found.file = index;
        TRY(note_commit(reader, found));
        at += wal_round_up(found.len);
    }
    return ERR_OK;
}

static enum err reader_open(struct reader *reader, uint32_t index)
{
    struct wal_replay *replay = reader->replay;
    char path[PATH_BYTES_MAX];
    struct io_stat stat;
    TRY(file_path(replay->dir, replay->files[index].name, path));
    TRY(io_open(replay->io, path, IO_OPEN_READ | IO_OPEN_DIRECT, &reader->file));
    enum err err = io_stat_file(replay->io, reader->file, &stat);
    if (err != ERR_OK) {
        io_close(replay->io, reader->file);
        return err;
    }
    reader->size = replay->files[index].size = stat.size;
    reader->data_len = 0;
    return ERR_OK;
}

static enum err scan_files(struct reader *reader)
{
    for (uint32_t i = 0; i < reader->replay->file_count; i++) {
        TRY(reader_open(reader, i));
        enum err err = scan_file(reader, i);
        io_close(reader->replay->io, reader->file);
        if (err != ERR_OK) {
            diag_error("wal", "%s/%s cannot be read: %s", reader->replay->dir,
                       reader->replay->files[i].name, err_text(err));
            return err;
        }
    }
    return ERR_OK;
}

/* --- grouping --- */

struct group_key {
    struct uuid topic_id;
    int32_t partition;
};

static bool has_key(const void *entry, const void *key)
{
    const struct wal_group *group = entry;
    const struct group_key *want = key;
    return group->partition == want->partition && uuid_eq(group->topic_id, want->topic_id);
}

static uint64_t key_hash(const struct map *map, const struct group_key *key)
{
    return hash_u64(hash_uuid(map->seed, key->topic_id), (uint32_t)key->partition);
}

struct wal_group *wal_replay_find(const struct wal_replay *replay, struct uuid topic_id,
                                  int32_t partition)
{
    struct group_key key = {topic_id, partition};
    return map_find(&replay->groups, key_hash(&replay->groups, &key), &key);
}

static enum err group_of(struct wal_replay *replay, struct group_key key, struct wal_group **out)
{
    *out = wal_replay_find(replay, key.topic_id, key.partition);
    if (*out)
        return ERR_OK;
    struct wal_group *group = calloc(1, sizeof(*group));
    if (!group)
        return ERR_NOMEM;
    group->replay = replay;
    group->topic_id = key.topic_id;
    group->partition = key.partition;
    enum err err = map_insert(&replay->groups, key_hash(&replay->groups, &key), group);
    if (err != ERR_OK) {
        free(group);
        return err;
    }
    atomic_fetch_add(&replay->unsettled, 1);
    *out = group;
    return ERR_OK;
}

/* One record's batches. ERR_MALFORMED: it is not what its checksum vouches for. */
static enum err take_record(struct wal_replay *replay, const struct found *found,
                            const uint8_t *commit, uint32_t at, uint32_t len)
{
    const uint8_t *header = commit + at;
    struct group_key key = {.partition = (int32_t)be32_load(header + WAL_RECORD_AT_PARTITION)};
    memcpy(key.topic_id.bytes, header + WAL_RECORD_AT_TOPIC, sizeof(key.topic_id.bytes));
    int64_t segment_base = (int64_t)be64_load(header + WAL_RECORD_AT_SEGMENT);
    uint32_t position = be32_load(header + WAL_RECORD_AT_POSITION);
    const uint8_t *data = header + WAL_RECORD_HEADER_BYTES;
    if (key.partition < 0 || segment_base < 0 || position > INT32_MAX - len)
        return ERR_MALFORMED;
    struct wal_group *group;
    TRY(group_of(replay, key, &group));
    struct batches batches;
    struct batch batch;
    batches_init(&batches, slice_of(data, len));
    while (batches_next(&batches, &batch)) {
        uint32_t in_record = (uint32_t)(batch.data - data);
        if (batch.base_offset < segment_base || batch.last_offset < batch.base_offset ||
            batch.last_offset == INT64_MAX)
            return ERR_MALFORMED;
        void *entries = group->entries;
        TRY(grow(&entries, group->count, &group->cap, sizeof(*group->entries)));
        group->entries = entries;
        group->entries[group->count++] = (struct wal_entry){
            .segment_base = segment_base,
            .position = position + in_record,
            .len = (uint32_t)batch.size,
            .base_offset = batch.base_offset,
            .end_offset = batch.last_offset + 1,
            .leader_epoch = batch.leader_epoch,
            .file = found->file,
            .at = found->at + at + WAL_RECORD_HEADER_BYTES + in_record,
        };
    }
    return batches.err == ERR_OK ? ERR_OK : ERR_MALFORMED;
}

static enum err take_commit(struct reader *reader, const struct found *found)
{
    const uint8_t *commit;
    size_t have;
    TRY(fill(reader, found->at, found->len, &commit, &have));
    if (have < found->len)
        return ERR_IO; /* it was there a moment ago */
    uint32_t at = WAL_HEADER_BYTES, count = be32_load(commit + WAL_AT_COUNT);
    for (uint32_t i = 0; i < count; i++) {
        if (found->len - at < WAL_RECORD_HEADER_BYTES)
            return ERR_MALFORMED;
        uint32_t len = be32_load(commit + at + WAL_RECORD_AT_LENGTH);
        if (len > found->len - at - WAL_RECORD_HEADER_BYTES)
            return ERR_MALFORMED;
        TRY(take_record(reader->replay, found, commit, at, len));
        at += WAL_RECORD_HEADER_BYTES + len;
    }
    return at == found->len ? ERR_OK : ERR_MALFORMED;
}

/* Commits of one file come together here: they were filled one after the other. */
static enum err take_commits(struct reader *reader, const struct found *found, size_t count)
{
    struct wal_replay *replay = reader->replay;
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        if (i == 0 || found[i].file != found[i - 1].file) {
            if (i > 0)
                io_close(replay->io, reader->file);
            TRY(reader_open(reader, found[i].file));
        }
        err = take_commit(reader, &found[i]);
        if (err == ERR_MALFORMED)
            diag_error("wal", "%s/%s: the commit at byte %" PRIu64 " is not understood",
                       replay->dir, replay->files[found[i].file].name, found[i].at);
    }
    if (count > 0)
        io_close(replay->io, reader->file);
    replay->commit_count += count;
    return err;
}

/* --- which commits count --- */

static int by_age(const void *a, const void *b)
{
    const struct found *left = a, *right = b;
    if (left->run != right->run)
        return left->run < right->run ? -1 : 1;
    if (left->number != right->number)
        return left->number < right->number ? -1 : 1;
    return 0;
}

/* How many of a run's commits, in the order of their numbers, count. */
static size_t count_valid(struct wal_replay *replay, const struct found *run, size_t count)
{
    uint64_t last = run[count - 1].number;
    for (size_t i = 0; i < count; i++) {
        uint64_t missing = i == 0 ? run[0].first : run[i - 1].number + 1;
        if (run[i].number == missing)
            continue;
        if (last - missing < WAL_WINDOW)
            return i; /* it was under way, and so was what is behind it */
        if (i == 0)
            continue; /* a use that was over: the next one had begun to write over it */
        replay->is_damaged = true;
        diag_error("wal",
                   "%s: the write-ahead log is damaged: commits %" PRIu64 " to %" PRIu64
                   ", before byte %" PRIu64 " of %s, were on the disk and are not there any more; "
                   "partitions that miss them will say so",
                   replay->dir, missing, run[i].number - 1, run[i].at,
                   replay->files[run[i].file].name);
    }
    return count;
}

struct span {
    size_t first, count;
    uint64_t sequence; /* of the file with its first commit: runs follow one another */
};

static int by_sequence(const void *a, const void *b)
{
    const struct span *left = a, *right = b;
    return (left->sequence > right->sequence) - (left->sequence < right->sequence);
}

/* Later runs last, so that what they wrote wins. */
static enum err take_runs(struct reader *reader)
{
    size_t count = reader->found_count, span_count = 0;
    if (count == 0)
        return ERR_OK;
    struct span *spans = calloc(count, sizeof(*spans));
    if (!spans)
        return ERR_NOMEM;
    qsort(reader->found, count, sizeof(*reader->found), by_age);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || reader->found[i].run != reader->found[i - 1].run)
            spans[span_count++] = (struct span){i, 0, reader->found[i].sequence};
        spans[span_count - 1].count++;
    }
    qsort(spans, span_count, sizeof(*spans), by_sequence);
    enum err err = ERR_OK;
    for (size_t i = 0; i < span_count && err == ERR_OK; i++) {
        const struct found *run = reader->found + spans[i].first;
        err = take_commits(reader, run, count_valid(reader->replay, run, spans[i].count));
    }
    free(spans);
    return err;
}

/* --- the groups, for those who open their logs --- */

static int by_place(const void *a, const void *b)
{
    const struct wal_entry *left = a, *right = b;
    if (left->segment_base != right->segment_base)
        return left->segment_base < right->segment_base ? -1 : 1;
    if (left->position != right->position)
        return left->position < right->position ? -1 : 1;
    return 0;
}

/* A merge sort, which keeps the order in which commits were taken: the C library's need not. */
static void sort_entries(struct wal_entry *entries, struct wal_entry *spare, size_t count)
{
    if (count < 2)
        return;
    size_t half = count / 2, left = 0, right = half, out = 0;
    sort_entries(entries, spare, half);
    sort_entries(entries + half, spare, count - half);
    memcpy(spare, entries, count * sizeof(*entries));
    while (left < half || right < count) {
        bool takes_left =
            right == count || (left < half && by_place(&spare[left], &spare[right]) <= 0);
        entries[out++] = takes_left ? spare[left++] : spare[right++];
    }
}

static enum err finish_group(struct wal_group *group)
{
    if (group->count == 0) {
        wal_group_settle(group);
        return ERR_OK;
    }
    struct wal_entry *spare = calloc(group->count, sizeof(*spare));
    if (!spare)
        return ERR_NOMEM;
    sort_entries(group->entries, spare, group->count);
    free(spare);
    size_t kept = 0;
    for (size_t i = 0; i < group->count; i++) {
        if (kept > 0 && by_place(&group->entries[kept - 1], &group->entries[i]) == 0)
            kept--;
        group->entries[kept++] = group->entries[i];
    }
    group->count = kept;
    return ERR_OK;
}

static enum err finish_groups(struct wal_replay *replay)
{
    struct map_iter iter;
    map_iter_init(&iter, &replay->groups);
    for (struct wal_group *group; (group = map_iter_next(&iter)) != NULL;)
        TRY(finish_group(group));
    return ERR_OK;
}

const struct wal_entry *wal_group_find(const struct wal_group *group, int64_t segment_base,
                                       uint32_t position)
{
    struct wal_entry want = {.segment_base = segment_base, .position = position};
    if (group->count == 0)
        return NULL; /* a record without a batch */
    return bsearch(&want, group->entries, group->count, sizeof(want), by_place);
}

bool wal_entry_is_stale(const struct wal_entry *entry, const struct epochs *epochs)
{
    return epochs_of_offset(epochs, entry->base_offset) > entry->leader_epoch;
}

bool wal_entry_fits(const struct wal_entry *entry, const struct epochs *epochs, bool is_dense,
                    int64_t next_offset)
{
    if (wal_entry_is_stale(entry, epochs))
        return false;
    return is_dense ? entry->base_offset == next_offset : entry->base_offset >= next_offset;
}

enum err wal_entry_read(const struct wal_group *group, struct io *io, const struct wal_entry *entry,
                        uint8_t *data)
{
    const struct wal_replay *replay = group->replay;
    char path[PATH_BYTES_MAX];
    struct io_file file;
    size_t moved;
    TRY(file_path(replay->dir, replay->files[entry->file].name, path));
    TRY(io_open(io, path, IO_OPEN_READ, &file));
    enum err err = io_read_now(io, file, data, entry->len, entry->at, &moved);
    io_close(io, file);
    TRY(err);
    return moved == entry->len ? ERR_OK : ERR_IO;
}

void wal_group_settle(struct wal_group *group)
{
    if (!atomic_exchange(&group->is_settled, true))
        atomic_fetch_sub(&group->replay->unsettled, 1);
}

/* --- life --- */

static enum err remove_files(struct wal_replay *replay, struct io *io)
{
    char path[PATH_BYTES_MAX];
    for (size_t i = 0; i < replay->file_count; i++) {
        TRY(file_path(replay->dir, replay->files[i].name, path));
        enum err err = io_unlink_now(io, path);
        if (err != ERR_OK && err != ERR_NOENT)
            return err;
    }
    return io_sync_dir(io, replay->dir);
}

static void forget_files(struct wal_replay *replay)
{
    for (size_t i = 0; i < replay->file_count; i++)
        free(replay->files[i].name);
    replay->file_count = 0;
}

enum err wal_replay_tidy(struct wal_replay *replay, struct io *io)
{
    if (replay->file_count == 0 || atomic_load(&replay->unsettled) > 0)
        return ERR_OK;
    TRY(remove_files(replay, io));
    forget_files(replay);
    return ERR_OK;
}

static enum err read_all(struct wal_replay *replay)
{
    struct reader reader = {.replay = replay};
    reader.data = aligned_alloc(WAL_BLOCK_BYTES, READ_BYTES);
    if (!reader.data)
        return ERR_NOMEM;
    enum err err = scan_files(&reader);
    if (err == ERR_OK)
        err = take_runs(&reader);
    if (err == ERR_OK)
        err = finish_groups(replay);
    free(reader.data);
    free(reader.found);
    return err;
}

enum err wal_replay_open(struct wal_replay *replay, struct io *io, const char *dir, bool discard)
{
    *replay = (struct wal_replay){.io = io, .dir = dir, .next_sequence = 1, .next_name = 1};
    map_init(&replay->groups, io_random(io), has_key);
    TRY(io_list(io, dir, on_name, replay));
    if (replay->file_count == 0)
        return ERR_OK;
    if (discard) {
        diag_warn("wal",
                  "%s: another program ran on this folder since and left it in order; the "
                  "write-ahead log of our last run is not needed any more",
                  dir);
        TRY(remove_files(replay, io));
        forget_files(replay);
        return ERR_OK;
    }
    enum err err = read_all(replay);
    if (err != ERR_OK)
        forget_files(replay); /* nobody waits for what was not read: nobody may remove it */
    return err;
}

void wal_replay_close(struct wal_replay *replay)
{
    struct map_iter iter;
    map_iter_init(&iter, &replay->groups);
    for (struct wal_group *group; (group = map_iter_next(&iter)) != NULL;) {
        free(group->entries);
        free(group);
    }
    map_deinit(&replay->groups);
    forget_files(replay);
    free(replay->files);
    replay->files = NULL;
}
