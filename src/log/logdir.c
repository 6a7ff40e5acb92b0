/* A log folder: what was found in it at start, and what is written for the next start.
 *
 * Runs on: the thread that starts the node, then shard 0. Every checkpoint is replaced as a whole,
 * so a crash leaves the old or the new one; an old recovery point only costs a longer scan. */
#include "log/logdir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/hash.h"
#include "base/parse.h"
#include "log/names.h"

#define PATH_BYTES_MAX       1024
#define CHECKPOINT_BYTES_MAX ((size_t)256 << 20)
#define DOOMED_SUFFIX        STR("-delete")

static const char *const checkpoint_names[LOGDIR_CHECKPOINTS] = {
    LOGDIR_RECOVERY_POINTS, LOGDIR_START_OFFSETS, LOGDIR_HIGH_WATERMARKS, LOGDIR_CLEANED_OFFSETS};

struct partition_key {
    struct str topic;
    int32_t index;
};

static bool has_key(const void *entry, const void *key)
{
    const struct logdir_partition *partition = entry;
    const struct partition_key *want = key;
    return partition->index == want->index && str_eq(partition->topic, want->topic);
}

static uint64_t key_hash(const struct map *map, const struct partition_key *key)
{
    return hash_u64(hash_str(map->seed, key->topic), (uint32_t)key->index);
}

static struct logdir_partition *find(const struct logdir *logdir, struct str topic, int32_t index)
{
    struct partition_key key = {topic, index};
    return map_find(&logdir->partitions, key_hash(&logdir->partitions, &key), &key);
}

const struct logdir_partition *logdir_find(const struct logdir *logdir, struct str topic,
                                           int32_t index)
{
    return find(logdir, topic, index);
}

static enum err path_in(const struct logdir *logdir, const char *name, char *path)
{
    int len = snprintf(path, PATH_BYTES_MAX, "%.*s/%s", STR_ARG(logdir->path), name);
    return len > 0 && len < PATH_BYTES_MAX ? ERR_OK : ERR_LIMIT;
}

/* "topic-3.HEX-future" */
static enum err add_future(struct logdir *logdir, struct str name)
{
    struct partition_key key;
    const char *dot = memrchr(name.data, '.', name.len);
    if (!dot || !name_parse_partition((struct str){name.data, (size_t)(dot - name.data)},
                                      &key.topic, &key.index))
        return ERR_OK;
    struct logdir_future *futures =
        realloc(logdir->futures, (logdir->future_count + 1) * sizeof(*futures));
    if (!futures)
        return ERR_NOMEM;
    logdir->futures = futures;
    struct logdir_future *future = &futures[logdir->future_count];
    future->name = arena_str(&logdir->arena, name);
    if (!future->name.data)
        return ERR_NOMEM;
    future->topic = (struct str){future->name.data, key.topic.len};
    future->index = key.index;
    logdir->future_count++;
    return ERR_OK;
}

bool logdir_next_future(const struct logdir *logdir, struct str topic, int32_t index,
                        struct str *name)
{
    bool is_past = str_is_null(*name);
    for (size_t i = 0; i < logdir->future_count; i++) {
        const struct logdir_future *future = &logdir->futures[i];
        if (is_past && future->index == index && str_eq(future->topic, topic)) {
            *name = future->name;
            return true;
        }
        is_past = is_past || future->name.data == name->data;
    }
    return false;
}

static enum err on_name(void *arg, const char *cname, bool is_dir)
{
    struct logdir *logdir = arg;
    struct str name = str_of(cname);
    if (!name_is_of_log_folder(name, is_dir))
        diag_warn("logdir",
                  "%.*s/%s is foreign: neither Apache Kafka nor Taffrail has such a %s. It is left "
                  "alone%s",
                  STR_ARG(logdir->path), cname, is_dir ? "folder" : "file",
                  is_dir ? "; Apache Kafka does not start on a log folder that holds it" : "");
    if (!is_dir)
        return ERR_OK;
    if (str_ends_with(name, DOOMED_SUFFIX)) {
        logdir->has_doomed = true; /* a start that is refused leaves it */
        return ERR_OK;
    }
    if (str_ends_with(name, STR("-future")))
        return add_future(logdir, name);
    struct partition_key key;
    if (str_ends_with(name, STR("-stray")) || !name_parse_partition(name, &key.topic, &key.index))
        return ERR_OK;
    struct logdir_partition *partition = arena_zalloc(&logdir->arena, sizeof(*partition));
    struct str topic = arena_str(&logdir->arena, key.topic);
    if (!partition || !topic.data)
        return ERR_NOMEM;
    *partition = (struct logdir_partition){topic, key.index, 0, -1, -1, -1};
    return map_insert(&logdir->partitions, key_hash(&logdir->partitions, &key), partition);
}

static bool take_line(struct str *rest, struct str *line)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->data, '\n', rest->len);
    line->data = rest->data;
    line->len = end ? (size_t)(end - rest->data) : rest->len;
    size_t used = end ? line->len + 1 : line->len;
    *rest = (struct str){rest->data + used, rest->len - used};
    return true;
}

static bool take_word(struct str *line, struct str *word)
{
    const char *end = memchr(line->data, ' ', line->len);
    word->data = line->data;
    word->len = end ? (size_t)(end - line->data) : line->len;
    size_t used = end ? word->len + 1 : word->len;
    *line = (struct str){line->data + used, line->len - used};
    return word->len > 0;
}

static void note_offset(struct logdir *logdir, int kind, struct str topic, int32_t index,
                        int64_t offset)
{
    struct logdir_partition *partition = find(logdir, topic, index);
    if (!partition)
        return; /* deleted since */
    if (kind == 0)
        partition->recovery_point = offset;
    else if (kind == 1)
        partition->log_start_offset = offset;
    else if (kind == 2)
        partition->high_watermark = offset;
    else
        partition->cleaned_offset = offset;
}

static enum err parse_checkpoint(struct logdir *logdir, int kind, struct str text)
{
    struct str line, topic, word;
    int64_t version, count, offset;
    int32_t index;
    if (text.len == 0)
        return ERR_OK; /* Kafka leaves it empty until its first write */
    if (!take_line(&text, &line) || parse_i64(line, &version) != ERR_OK || version != 0)
        return ERR_MALFORMED;
    if (!take_line(&text, &line) || parse_i64(line, &count) != ERR_OK || count < 0)
        return ERR_MALFORMED;
    for (int64_t i = 0; i < count; i++) {
        if (!take_line(&text, &line) || !take_word(&line, &topic) || !take_word(&line, &word) ||
            parse_i32(word, &index) != ERR_OK || !take_word(&line, &word) ||
            parse_i64(word, &offset) != ERR_OK)
            return ERR_MALFORMED;
        note_offset(logdir, kind, topic, index, offset);
    }
    return ERR_OK;
}

static enum err read_checkpoint(struct logdir *logdir, struct io *io, int kind)
{
    char path[PATH_BYTES_MAX];
    TRY(path_in(logdir, checkpoint_names[kind], path));
    uint8_t *data = NULL;
    size_t len = 0;
    enum err err = io_read_file(io, path, CHECKPOINT_BYTES_MAX, &data, &len);
    if (err == ERR_NOENT)
        return ERR_OK;
    TRY(err);
    err = parse_checkpoint(logdir, kind, (struct str){(const char *)data, len});
    free(data);
    if (err == ERR_MALFORMED) {
        diag_warn("logdir", "%s is malformed and is ignored: partitions are scanned instead", path);
        logdir->was_clean = false;
        err = ERR_OK;
    }
    return err;
}

void logdir_init(struct logdir *logdir, struct io *io, struct str path)
{
    *logdir = (struct logdir){.path = path};
    arena_init(&logdir->arena, ARENA_NO_LIMIT);
    map_init(&logdir->partitions, io_random(io), has_key);
}

enum err logdir_open(struct logdir *logdir, struct io *io, struct str path)
{
    logdir_init(logdir, io, path);
    char clean[PATH_BYTES_MAX];
    struct io_stat stat;
    TRY(path_in(logdir, LOGDIR_CLEAN_SHUTDOWN, clean));
    logdir->was_clean = io_stat_path(io, clean, &stat) == ERR_OK;
    /* A process that was killed may have left names that only the page cache knows. */
    if (!logdir->was_clean)
        TRY(io_sync_dir(io, logdir->path.data));
    TRY(io_list(io, logdir->path.data, on_name, logdir));
    for (int kind = 0; kind < LOGDIR_CHECKPOINTS; kind++)
        TRY(read_checkpoint(logdir, io, kind));
    return ERR_OK;
}

void logdir_close(struct logdir *logdir)
{
    map_deinit(&logdir->partitions);
    free(logdir->futures);
    arena_deinit(&logdir->arena);
}

struct doomed {
    const struct logdir *logdir;
    struct io *io;
};

static enum err remove_doomed(void *arg, const char *name, bool is_dir)
{
    const struct doomed *doomed = arg;
    char path[PATH_BYTES_MAX];
    if (!is_dir || !str_ends_with(str_of(name), DOOMED_SUFFIX))
        return ERR_OK;
    TRY(path_in(doomed->logdir, name, path));
    return logdir_remove_folder(doomed->io, path);
}

enum err logdir_mark_running(struct logdir *logdir, struct io *io)
{
    char path[PATH_BYTES_MAX];
    struct doomed doomed = {logdir, io};
    if (logdir->has_doomed)
        TRY(io_list(io, logdir->path.data, remove_doomed, &doomed));
    TRY(path_in(logdir, LOGDIR_CLEAN_SHUTDOWN, path));
    enum err err = io_unlink_now(io, path);
    if (err == ERR_NOENT)
        return ERR_OK;
    TRY(err);
    return io_sync_dir(io, logdir->path.data);
}

enum err logdir_mark_clean(struct logdir *logdir, struct io *io, int64_t broker_epoch)
{
    char path[PATH_BYTES_MAX], text[64];
    TRY(path_in(logdir, LOGDIR_CLEAN_SHUTDOWN, path));
    int len = snprintf(text, sizeof(text), "{\"version\":0,\"brokerEpoch\":%lld}",
                       (long long)broker_epoch);
    ASSERT(len > 0 && (size_t)len < sizeof(text));
    return io_replace_file(io, path, (struct slice){(const uint8_t *)text, (size_t)len});
}

void logdir_offsets_init(struct logdir_offsets *offsets)
{
    for (int i = 0; i < LOGDIR_CHECKPOINTS; i++) {
        buf_init(&offsets->lines[i], CHECKPOINT_BYTES_MAX);
        offsets->counts[i] = 0;
    }
}

void logdir_offsets_deinit(struct logdir_offsets *offsets)
{
    for (int i = 0; i < LOGDIR_CHECKPOINTS; i++)
        buf_deinit(&offsets->lines[i]);
}

void logdir_offsets_add(struct logdir_offsets *offsets, struct str topic, int32_t index,
                        int64_t recovery_point, int64_t log_start_offset, int64_t high_watermark,
                        int64_t cleaned_offset)
{
    const int64_t values[LOGDIR_CHECKPOINTS] = {recovery_point, log_start_offset, high_watermark,
                                                cleaned_offset};
    for (int i = 0; i < LOGDIR_CHECKPOINTS; i++) {
        if (values[i] < 0)
            continue;
        buf_printf(&offsets->lines[i], "%.*s %d %lld\n", STR_ARG(topic), index,
                   (long long)values[i]);
        offsets->counts[i]++;
    }
}

enum err logdir_write_offsets(struct logdir *logdir, struct io *io,
                              const struct logdir_offsets *const *offsets, size_t count)
{
    enum err err = ERR_OK;
    struct buf text;
    buf_init(&text, CHECKPOINT_BYTES_MAX);
    for (int kind = 0; err == ERR_OK && kind < LOGDIR_CHECKPOINTS; kind++) {
        size_t lines = 0;
        for (size_t i = 0; i < count; i++)
            lines += offsets[i]->counts[kind];
        buf_reset(&text);
        buf_printf(&text, "0\n%zu\n", lines);
        for (size_t i = 0; i < count; i++) {
            const struct buf *part = &offsets[i]->lines[kind];
            if (part->err != ERR_OK)
                err = part->err;
            buf_put(&text, part->data, part->len);
        }
        char path[PATH_BYTES_MAX];
        if (err == ERR_OK)
            err = text.err;
        if (err == ERR_OK)
            err = path_in(logdir, checkpoint_names[kind], path);
        if (err == ERR_OK)
            err = io_replace_file(io, path, buf_slice(&text));
    }
    buf_deinit(&text);
    return err;
}

struct folder {
    struct io *io;
    const char *path;
};

static enum err remove_name(void *arg, const char *name, bool is_dir)
{
    const struct folder *folder = arg;
    char path[PATH_BYTES_MAX];
    int len = snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    if (len <= 0 || (size_t)len >= sizeof(path))
        return ERR_LIMIT;
    return is_dir ? io_rmdir(folder->io, path) : io_unlink_now(folder->io, path);
}

enum err logdir_remove_folder(struct io *io, const char *path)
{
    struct folder folder = {io, path};
    TRY(io_list(io, path, remove_name, &folder));
    return io_rmdir(io, path);
}

/* --- without a stall --- */

static void remove_next(struct folder_removal *removal);

/* Ends the listing with ERR_EXISTS at the first file. */
static enum err find_file(void *arg, const char *name, bool is_dir)
{
    struct folder_removal *removal = arg;
    char path[PATH_BYTES_MAX];
    int len = snprintf(path, sizeof(path), "%s/%s", removal->path, name);
    if (len <= 0 || (size_t)len >= sizeof(path))
        return ERR_LIMIT;
    if (is_dir)
        return io_rmdir(removal->io, path);
    removal->file = strdup(path);
    return removal->file ? ERR_EXISTS : ERR_NOMEM;
}

static void on_removed(struct io_op *op)
{
    struct folder_removal *removal = CONTAINER_OF(op, struct folder_removal, op);
    enum err err = op->err == ERR_NOENT ? ERR_OK : op->err;
    free(removal->file);
    removal->file = NULL;
    if (err != ERR_OK)
        removal->done(removal, err);
    else if (removal->is_stopped)
        removal->done(removal, ERR_CANCELLED);
    else
        remove_next(removal);
}

static void remove_next(struct folder_removal *removal)
{
    enum err err = io_list(removal->io, removal->path, find_file, removal);
    if (err == ERR_EXISTS)
        io_unlink(removal->io, &removal->op, removal->file, on_removed);
    else
        removal->done(removal, err == ERR_OK ? io_rmdir(removal->io, removal->path) : err);
}

void folder_removal_start(struct folder_removal *removal)
{
    ASSERT(removal->io && removal->path && removal->done);
    removal->file = NULL;
    remove_next(removal);
}
