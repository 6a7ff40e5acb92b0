/* A partition's folder: making it, whose it is, the file of its leader epochs, and how it gives up
 * its name.
 *
 * `partition.metadata` and `leader-epoch-checkpoint` are Kafka's, as text. A new folder's files are
 * on the disk before it is used; a crash before that leaves one that says less, and that log_open
 * takes for what it is. A folder that is given up is renamed at once: files that are open, and are
 * still written, have no need for its name.
 *
 * Runs on: the shard that owns the log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "log/copy.h"
#include "log/internal.h"

#define EPOCHS_BYTES_MAX             ((size_t)64 << 20)
#define PARTITION_METADATA           "partition.metadata"
#define PARTITION_METADATA_BYTES_MAX 4096
#define DIR_ENTRY_MAX                255

void log_file_path(const char *dir, const char *name, char *path)
{
    ASSERT(dir);
    int len = snprintf(path, LOG_PATH_MAX, "%s/%s", dir, name);
    ASSERT(len > 0 && len < LOG_PATH_MAX);
}

/* --- making --- */

enum err log_sync_parent(struct io *io, const char *dir)
{
    char parent[LOG_PATH_MAX];
    const char *slash = strrchr(dir, '/');
    if (!slash)
        return io_sync_dir(io, ".");
    snprintf(parent, sizeof(parent), "%.*s", slash == dir ? 1 : (int)(slash - dir), dir);
    return io_sync_dir(io, parent);
}

enum err log_sync_names(struct log *log)
{
    char path[LOG_PATH_MAX];
    struct io_file file;
    log_file_path(log->dir, PARTITION_METADATA, path);
    enum err err = io_open(log->io, path, IO_OPEN_READ, &file);
    if (err == ERR_OK) {
        err = io_sync_now(log->io, file);
        io_close(log->io, file);
    }
    if (err != ERR_OK && err != ERR_NOENT)
        return err;
    return io_sync_dir(log->io, log->dir);
}

/* The text of partition.metadata; its length. */
static size_t topic_id_text(struct uuid topic_id, char text[64])
{
    char id[UUID_TEXT_LEN + 1];
    uuid_format(topic_id, id);
    int len = snprintf(text, 64, "version: 0\ntopic_id: %s", id);
    ASSERT(len > 0 && len < 64);
    return (size_t)len;
}

enum err log_write_topic_id(struct io *io, const char *dir, struct uuid topic_id)
{
    char path[LOG_PATH_MAX], text[64];
    size_t len = topic_id_text(topic_id, text);
    log_file_path(dir, PARTITION_METADATA, path);
    return io_replace_file(io, path, slice_of(text, len));
}

enum err log_read_topic_id(struct io *io, const char *dir, struct uuid *topic_id)
{
    static const char key[] = "topic_id: ";
    char path[LOG_PATH_MAX];
    uint8_t *data = NULL;
    size_t len = 0;
    if (strlen(dir) > DIR_NAME_MAX)
        return ERR_LIMIT;
    log_file_path(dir, PARTITION_METADATA, path);
    TRY(io_read_file(io, path, PARTITION_METADATA_BYTES_MAX, &data, &len));
    const char *at = strstr((const char *)data, key);
    struct str text = at ? str_of(at + sizeof(key) - 1) : STR_NULL;
    if (text.len > UUID_TEXT_LEN)
        text.len = UUID_TEXT_LEN;
    bool is_read = at && uuid_parse(text, topic_id);
    free(data);
    return is_read ? ERR_OK : ERR_MALFORMED;
}

static enum err write_new(struct io *io, const char *dir, const char *name, struct slice content)
{
    char path[LOG_PATH_MAX];
    struct io_file file;
    log_file_path(dir, name, path);
    TRY(io_open(io, path, IO_OPEN_CREATE, &file));
    enum err err = io_write_now(io, file, content.data, content.len, 0);
    if (err == ERR_OK)
        err = io_sync_now(io, file);
    io_close(io, file);
    return err;
}

/* The files' flushes come last but for the folders': where a flush commits all of the journal, as
 * on ext4, those have nothing left to do. The first epoch is there from the beginning, as Kafka has
 * it; a later one is written with its first batch. */
enum err log_create(struct io *io, const char *dir, struct uuid topic_id)
{
    if (strlen(dir) > DIR_NAME_MAX)
        return ERR_LIMIT;
    TRY(io_mkdir(io, dir));
    /* Kafka would rebuild an index that is not there. */
    static const char *const suffixes[] = {".log", ".index", ".timeindex"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char path[LOG_PATH_MAX];
        struct io_file file;
        snprintf(path, sizeof(path), "%s/%0*d%s", dir, SEGMENT_NAME_DIGITS, 0, suffixes[i]);
        TRY(io_open(io, path, IO_OPEN_CREATE, &file));
        io_close(io, file);
    }
    char text[64];
    size_t len = topic_id_text(topic_id, text);
    TRY(write_new(io, dir, EPOCHS_FILE, slice_of("0\n1\n0 0\n", 8)));
    TRY(write_new(io, dir, PARTITION_METADATA, slice_of(text, len)));
    TRY(io_sync_dir(io, dir));
    return log_sync_parent(io, dir);
}

/* --- leader epochs --- */

enum err log_load_epochs(struct log *log, const struct log_open_options *options)
{
    char path[LOG_PATH_MAX];
    log_file_path(log->dir, EPOCHS_FILE, path);
    uint8_t *data = NULL;
    size_t len = 0;
    enum err err = io_read_file(log->io, path, EPOCHS_BYTES_MAX, &data, &len);
    if (err == ERR_NOENT)
        return ERR_OK;
    TRY(err);
    if (len > 0)
        err = epochs_parse(&log->epochs, (struct str){(const char *)data, len});
    free(data);
    if (err != ERR_MALFORMED || options->clean_shutdown || options->recovery_point > 0)
        return err;
    /* A new log's, from before its first flush. */
    epochs_deinit(&log->epochs);
    epochs_init(&log->epochs);
    return ERR_OK;
}

enum err log_note_epoch(struct log *log, int32_t epoch, int64_t offset)
{
    if (epoch < 0)
        return ERR_OK; /* batches of a log without epochs */
    bool is_new = false;
    TRY(epochs_assign(&log->epochs, epoch, offset, &is_new));
    log->epochs_changed |= is_new;
    return ERR_OK;
}

/* Into a new file, and not flushed: what a power cut makes of it counts for nothing. */
static enum err put_first_epoch(struct log *log, const char *path, struct slice text)
{
    struct io_file file;
    TRY(io_open(log->io, path, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &file));
    enum err err = io_write_now(log->io, file, text.data, text.len, 0);
    io_close(log->io, file);
    return err;
}

static enum err put_epochs(struct log *log,
                           enum err (*put)(struct log *log, const char *path, struct slice text))
{
    char path[LOG_PATH_MAX];
    log_file_path(log->dir, EPOCHS_FILE, path);
    struct buf text;
    buf_init(&text, EPOCHS_BYTES_MAX);
    epochs_print(&log->epochs, &text);
    enum err err = text.err;
    if (err == ERR_OK)
        err = put(log, path, buf_slice(&text));
    buf_deinit(&text);
    return err;
}

enum err log_begin_epoch(struct log *log, int32_t leader_epoch)
{
    if (log->is_offline)
        return ERR_KAFKA_STORAGE_ERROR;
    bool is_new_log = log->epochs.count == 0 && log->next_offset == 0;
    TRY(log_note_epoch(log, leader_epoch, log->next_offset));
    if (!is_new_log || log->epochs.count == 0)
        return ERR_OK;
    enum err err = put_epochs(log, put_first_epoch);
    return err == ERR_NOSPACE ? ERR_OK : err;
}

static enum err replace_epochs(struct log *log, const char *path, struct slice text)
{
    return io_replace_file(log->io, path, text);
}

enum err log_write_epochs(struct log *log)
{
    if (!log->epochs_changed)
        return ERR_OK;
    enum err err = put_epochs(log, replace_epochs);
    if (err == ERR_OK)
        log->epochs_changed = false;
    return err;
}

/* --- its name --- */

/* `DIR.HEX-delete`, with the topic cut short where a file system could not hold the name. */
static bool name_deleted(const char *dir, uint64_t random_hi, uint64_t random_lo, char *path)
{
    const char *slash = strrchr(dir, '/');
    struct str parent = {dir, slash ? (size_t)(slash + 1 - dir) : 0};
    struct str name = str_of(dir + parent.len);
    size_t dash = name.len;
    while (dash > 0 && name.data[dash - 1] != '-')
        dash--;
    struct str topic = {name.data, dash > 0 ? dash - 1 : name.len};
    struct str rest = {topic.data + topic.len, name.len - topic.len}; /* "-3" */
    size_t topic_max = DIR_ENTRY_MAX - strlen(".-delete") - 32 - rest.len;
    if (topic.len > topic_max)
        topic.len = topic_max;
    int len = snprintf(path, LOG_PATH_MAX, "%.*s%.*s%.*s.%016llx%016llx-delete", STR_ARG(parent),
                       STR_ARG(topic), STR_ARG(rest), (unsigned long long)random_hi,
                       (unsigned long long)random_lo);
    return len > 0 && len < LOG_PATH_MAX;
}

static void on_nothing(struct log_owner *owner, size_t bytes)
{
    (void)owner;
    (void)bytes;
}

static void on_no_failure(struct log_owner *owner, enum err err, const char *what)
{
    (void)owner;
    (void)err;
    (void)what;
}

enum err log_give_up_name(struct log *log, uint64_t random_hi, uint64_t random_lo)
{
    char path[LOG_PATH_MAX];
    ASSERT(!log->is_renamed);
    if (log->jobs > 0)
        return ERR_BUSY;
    if (!name_deleted(log->dir, random_hi, random_lo, path))
        return ERR_LIMIT;
    static struct log_owner nobody = {on_nothing, on_no_failure};
    enum err err = log->manifest ? manifest_put_gone(log->manifest, log->key) : ERR_OK;
    log->manifest = NULL;
    log_drop_capture(log); /* a flush under way is not to put it */
    log->owner = &nobody;
    char *dir = err == ERR_OK ? strdup(path) : NULL;
    if (!dir)
        return err == ERR_OK ? ERR_NOMEM : err;
    err = io_rename(log->io, log->dir, dir);
    if (err != ERR_OK) {
        free(dir);
        return err;
    }
    free(log->dir);
    log->dir = dir;
    log->is_renamed = true;
    return ERR_OK;
}

bool log_is_renamed(const struct log *log)
{
    return log->is_renamed;
}

enum err log_rename_deleted(struct log *log, uint64_t random_hi, uint64_t random_lo)
{
    TRY(log_give_up_name(log, random_hi, random_lo));
    return log_sync_parent(log->io, log->dir);
}
