/* Formatting and recognizing log folders.
 *
 * A folder is ours once it has meta.properties (version=1, node.id, cluster.id, directory.id). A
 * new one gets, in this order: in the folder of the metadata `__cluster_metadata-0/` with its first
 * checkpoint 0-0 (no records; kraft.version 1 and this node as the only voter, as `kafka-storage
 * format --standalone` writes it) and bootstrap.checkpoint (the initial feature levels); in each
 * folder meta.properties, which makes it count. A crash before that leaves files of these names
 * only, and the next start formats anew; a crash between two folders leaves one that the next start
 * adds to the cluster of the first, which is why the metadata's is the first.
 *
 * The standalone form is taken, rather than the one with controller.quorum.voters, because Kafka
 * 4.3 starts on it with either way of configuring its controllers, and on another port or host than
 * ours: as the only voter it elects itself and writes its own address into the log.
 *
 * All folders are looked at before anything is written, so a refused start changes none. A folder
 * whose disk fails is no reason to refuse: it is offline until the next start.
 *
 * Runs at start on the main thread, with shard 0's io. */
#include "broker/storage.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/parse.h"
#include "broker/properties.h"
#include "broker/snapshot.h"
#include "meta/controller.h"

#define META_PROPERTIES       "meta.properties"
#define BOOTSTRAP_CHECKPOINT  "bootstrap.checkpoint"
#define FIRST_CHECKPOINT      "00000000000000000000-0000000000.checkpoint"
#define QUORUM_STATE          "quorum-state"
#define META_PROPERTIES_BYTES 65536
#define QUORUM_STATE_BYTES    ((size_t)1 << 20)
#define CLUSTER_ID_MAX        255

struct opener {
    struct storage *storage;
    struct io *io;
    const struct broker_config *config;
    struct rng *rng;
    struct meta_error *why;
    struct str cluster_id; /* wanted, or that of the first formatted folder; null: none yet */
    bool *formatted;
    bool *unnamed; /* formatted by an older Kafka: no directory.id */
};

static enum err refuse(struct opener *o, enum err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum err refuse(struct opener *o, enum err err, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return meta_error_set(o->why, &o->storage->arena, err, "%s", text);
}

/* The disk of a folder failed: the others go on without it. */
static enum err take_offline(struct opener *o, size_t at, enum err err)
{
    struct storage_dir *dir = &o->storage->dirs[at];
    size_t online = 0;
    for (size_t i = 0; i < o->storage->dir_count; i++)
        online += i != at && !o->storage->dirs[i].is_offline;
    if (err == ERR_NOMEM || err == ERR_NOSPACE || at == o->storage->metadata_at || online == 0)
        return err;
    diag_error("storage",
               "%.*s. That log folder is offline and its partitions are not served; the others "
               "are. Mend its disk and start the broker again",
               STR_ARG(o->why->text));
    *o->why = (struct meta_error){ERR_OK, STR_NULL};
    dir->is_offline = true;
    return ERR_OK;
}

static struct str path_in(struct opener *o, struct str dir, const char *name)
{
    return arena_printf(&o->storage->arena, "%.*s/%s", STR_ARG(dir), name);
}

/* --- looking --- */

/* Names that an interrupted format, the lock or the file system leaves. */
static bool is_leftover(const char *name)
{
    static const char *const names[] = {
        ".lock",
        "lost+found",
        META_PROPERTIES ".tmp",
        METADATA_TOPIC_DIR,
        BOOTSTRAP_CHECKPOINT,
        BOOTSTRAP_CHECKPOINT ".tmp",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

struct foreign_name {
    bool in_metadata;
    char name[256];
};

static enum err on_folder_name(void *arg, const char *name, bool is_dir)
{
    struct foreign_name *foreign = arg;
    (void)is_dir;
    bool expected = foreign->in_metadata ? strcmp(name, FIRST_CHECKPOINT) == 0 ||
                                               strcmp(name, FIRST_CHECKPOINT ".tmp") == 0
                                         : is_leftover(name);
    if (!expected && foreign->name[0] == '\0')
        snprintf(foreign->name, sizeof(foreign->name), "%s%s",
                 foreign->in_metadata ? METADATA_TOPIC_DIR "/" : "", name);
    return ERR_OK;
}

/* A folder without meta.properties must be empty, or as good as. */
static enum err check_empty(struct opener *o, size_t at)
{
    struct str dir = o->storage->dirs[at].path;
    struct foreign_name foreign = {.in_metadata = false};
    enum err err = io_list(o->io, dir.data, on_folder_name, &foreign);
    if (err == ERR_NOENT)
        return ERR_OK;
    struct str metadata = path_in(o, dir, METADATA_TOPIC_DIR);
    if (!metadata.data)
        return ERR_NOMEM;
    if (err == ERR_OK && foreign.name[0] == '\0') {
        foreign.in_metadata = true;
        err = io_list(o->io, metadata.data, on_folder_name, &foreign);
        err = err == ERR_NOENT ? ERR_OK : err;
    }
    if (err) {
        err = refuse(o, err, "the folder %.*s cannot be read: %s", STR_ARG(dir), err_text(err));
        return take_offline(o, at, err);
    }
    if (foreign.name[0] != '\0')
        return refuse(o, ERR_FOREIGN,
                      "the folder %.*s holds %s but no meta.properties: neither this program nor "
                      "Apache Kafka formatted it. Name an empty folder in log.dirs",
                      STR_ARG(dir), foreign.name);
    return ERR_OK;
}

static enum err check_version(struct opener *o, struct str path, const struct properties *found)
{
    int32_t version;
    struct str text = properties_get(found, "version");
    if (str_is_null(text) || parse_i32(text, &version))
        return refuse(o, ERR_FOREIGN, "%.*s has no version: it is not Kafka's", STR_ARG(path));
    if (version == 0)
        return refuse(o, ERR_UNSUPPORTED,
                      "%.*s is of version 0, from before KRaft: migrate the cluster with Apache "
                      "Kafka 3.9 first",
                      STR_ARG(path));
    if (version != 1)
        return refuse(o, ERR_UNSUPPORTED, "%.*s is of version %" PRId32 "; this program reads 1",
                      STR_ARG(path), version);
    return ERR_OK;
}

static enum err check_identity(struct opener *o, struct str path, const struct properties *found)
{
    int32_t node_id;
    struct str text = properties_get(found, "node.id");
    if (str_is_null(text) || parse_i32(text, &node_id))
        return refuse(o, ERR_MALFORMED, "%.*s has no node.id", STR_ARG(path));
    if (node_id != o->config->node_id)
        return refuse(o, ERR_FOREIGN, "%.*s belongs to node %" PRId32 ", but node.id is %" PRId32,
                      STR_ARG(path), node_id, o->config->node_id);
    struct str cluster = properties_get(found, "cluster.id");
    if (str_is_null(cluster) || cluster.len == 0 || cluster.len > CLUSTER_ID_MAX)
        return refuse(o, ERR_MALFORMED, "%.*s has no cluster.id", STR_ARG(path));
    if (!str_is_null(o->cluster_id) && !str_eq(cluster, o->cluster_id))
        return refuse(o, ERR_FOREIGN, "%.*s belongs to cluster %.*s, not to %.*s", STR_ARG(path),
                      STR_ARG(cluster), STR_ARG(o->cluster_id));
    o->cluster_id = cluster;
    return ERR_OK;
}

static enum err take_properties(struct opener *o, size_t at, struct str path,
                                const struct properties *found)
{
    struct storage_dir *dir = &o->storage->dirs[at];
    TRY(check_version(o, path, found));
    TRY(check_identity(o, path, found));
    struct str id = properties_get(found, "directory.id");
    o->unnamed[at] = str_is_null(id);
    if (!o->unnamed[at] && (!uuid_parse(id, &dir->directory_id) || uuid_is_zero(dir->directory_id)))
        return refuse(o, ERR_MALFORMED, "%.*s has a directory.id that is none", STR_ARG(path));
    for (size_t i = 0; i < at; i++)
        if (o->formatted[i] && !o->unnamed[i] && !o->unnamed[at] &&
            uuid_eq(o->storage->dirs[i].directory_id, dir->directory_id))
            return refuse(o, ERR_FOREIGN,
                          "%.*s and %.*s have the same directory.id: one is a copy of the other",
                          STR_ARG(o->storage->dirs[i].path), STR_ARG(dir->path));
    o->formatted[at] = true;
    return ERR_OK;
}

static enum err look_at(struct opener *o, size_t at)
{
    struct str dir = o->storage->dirs[at].path;
    struct str path = path_in(o, dir, META_PROPERTIES);
    if (!path.data)
        return ERR_NOMEM;
    uint8_t *data;
    size_t len;
    enum err err = io_read_file(o->io, path.data, META_PROPERTIES_BYTES, &data, &len);
    if (err == ERR_NOENT)
        return check_empty(o, at);
    if (err) {
        err = refuse(o, err, "%.*s cannot be read: %s", STR_ARG(path), err_text(err));
        return take_offline(o, at, err);
    }
    struct slice copy = arena_slice(&o->storage->arena, slice_of(data, len));
    free(data);
    if (!copy.data)
        return ERR_NOMEM;
    struct properties found;
    size_t line;
    err = properties_parse((struct str){(const char *)copy.data, copy.len}, &o->storage->arena,
                           &found, &line);
    if (err == ERR_MALFORMED)
        return refuse(o, err, "%.*s: line %zu is broken", STR_ARG(path), line);
    return err ? err : take_properties(o, at, path, &found);
}

static enum err look_at_all(struct opener *o)
{
    bool any = false;
    memset(o->formatted, 0, o->storage->total * sizeof(*o->formatted));
    for (size_t i = 0; i < o->storage->total; i++) {
        if (o->storage->dirs[i].is_offline)
            continue;
        TRY(look_at(o, i));
        any = any || o->formatted[i];
    }
    if (any && !o->formatted[o->storage->metadata_at])
        return refuse(o, ERR_FOREIGN,
                      "the folder %.*s should hold the cluster's metadata but is empty, while "
                      "others are in use: the order of log.dirs or metadata.log.dir changed, or a "
                      "disk is not mounted",
                      STR_ARG(o->storage->dirs[o->storage->metadata_at].path));
    for (size_t i = 0; i < o->storage->total; i++)
        if (!any && o->storage->dirs[i].is_offline)
            return refuse(o, ERR_IO,
                          "the folder %.*s cannot be used: a new cluster is made only when all of "
                          "its folders can be",
                          STR_ARG(o->storage->dirs[i].path));
    return ERR_OK;
}

/* --- locking --- */

static enum err sync_parent(struct opener *o, char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return io_sync_dir(o->io, ".");
    if (slash == path)
        return io_sync_dir(o->io, "/");
    *slash = '\0';
    enum err err = io_sync_dir(o->io, path);
    *slash = '/';
    return err;
}

/* One level, and its name made durable: also where it is there, since the process that made it may
 * have been killed before it came to that. */
static enum err make_one_folder(struct opener *o, char *path)
{
    struct io_stat stat;
    enum err err = io_stat_path(o->io, path, &stat);
    if (err == ERR_OK && !stat.is_dir)
        return ERR_EXISTS;
    if (err == ERR_OK) {
        err = sync_parent(o, path);
        return err == ERR_ACCESS ? ERR_OK : err; /* a level above that somebody else made */
    }
    if (err != ERR_NOENT)
        return err;
    TRY(io_mkdir(o->io, path));
    return sync_parent(o, path);
}

/* A folder that has its properties was made durable before they were written. */
static enum err make_folder(struct opener *o, struct str dir)
{
    struct io_stat stat;
    struct str properties = path_in(o, dir, META_PROPERTIES);
    if (!properties.data)
        return ERR_NOMEM;
    if (io_stat_path(o->io, properties.data, &stat) == ERR_OK)
        return ERR_OK;
    struct str copy = arena_str(&o->storage->arena, dir);
    if (!copy.data)
        return ERR_NOMEM;
    char *path = (char *)(uintptr_t)copy.data; /* our own copy */
    for (size_t i = 1; i <= copy.len; i++) {
        if (i < copy.len && path[i] != '/')
            continue;
        char kept = path[i];
        path[i] = '\0';
        enum err err = make_one_folder(o, path);
        if (err)
            return refuse(o, err, "the folder %.*s cannot be made: %s", STR_ARG(dir),
                          err == ERR_EXISTS ? "a file is in its way" : err_text(err));
        path[i] = kept;
    }
    return ERR_OK;
}

static enum err lock_folder(struct opener *o, size_t at)
{
    struct storage_dir *dir = &o->storage->dirs[at];
    enum err err = make_folder(o, dir->path);
    if (err)
        return take_offline(o, at, err);
    struct str path = path_in(o, dir->path, ".lock");
    if (!path.data)
        return ERR_NOMEM;
    err = io_open(o->io, path.data, IO_OPEN_WRITE | IO_OPEN_CREATE, &dir->lock);
    if (err) {
        dir->lock = IO_FILE_NONE;
        err = refuse(o, err, "%.*s cannot be opened: %s", STR_ARG(path), err_text(err));
        return take_offline(o, at, err);
    }
    err = io_lock(o->io, dir->lock);
    if (err == ERR_BUSY)
        return refuse(o, err,
                      "the folder %.*s is in use by another process (its .lock is held). Stop that "
                      "one, or name another folder in log.dirs",
                      STR_ARG(dir->path));
    if (err) {
        err = refuse(o, err, "%.*s cannot be locked: %s", STR_ARG(path), err_text(err));
        return take_offline(o, at, err);
    }
    return ERR_OK;
}

/* --- formatting --- */

static struct uuid random_uuid(struct rng *rng)
{
    struct uuid id;
    char text[UUID_TEXT_LEN + 1];
    do {
        rng_bytes(rng, id.bytes, sizeof(id.bytes));
        id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
        id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
        uuid_format(id, text);
    } while (text[0] == '-');
    return id;
}

static enum err replace_file(struct opener *o, struct str path, const struct buf *content)
{
    if (!path.data)
        return ERR_NOMEM;
    enum err err =
        content->err ? content->err : io_replace_file(o->io, path.data, buf_slice(content));
    if (err)
        return refuse(o, err, "%.*s cannot be written: %s", STR_ARG(path), err_text(err));
    return ERR_OK;
}

/* As java.util.Properties writes it, date comment included. */
static enum err write_meta_properties(struct opener *o, const struct storage_dir *dir)
{
    char id[UUID_TEXT_LEN + 1];
    char node_id[16];
    char date[64];
    time_t seconds = (time_t)(io_wall_ms(o->io) / 1000);
    struct tm tm;
    uuid_format(dir->directory_id, id);
    snprintf(node_id, sizeof(node_id), "%" PRId32, o->config->node_id);
    if (!gmtime_r(&seconds, &tm) ||
        strftime(date, sizeof(date), "%a %b %d %H:%M:%S UTC %Y", &tm) == 0)
        date[0] = '\0';
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    buf_printf(&buf, "#\n#%s\n", date);
    properties_put(&buf, STR("node.id"), str_of(node_id));
    properties_put(&buf, STR("directory.id"), str_of(id));
    properties_put(&buf, STR("version"), STR("1"));
    properties_put(&buf, STR("cluster.id"), o->cluster_id);
    enum err err = replace_file(o, path_in(o, dir->path, META_PROPERTIES), &buf);
    buf_deinit(&buf);
    return err;
}

static enum err write_checkpoint(struct opener *o, struct str path,
                                 const struct quorum_control *controls, size_t control_count,
                                 const struct meta_records *records)
{
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    enum err err = snapshot_encode(controls, control_count, records->items, records->count, 0,
                                   io_wall_ms(o->io), &buf);
    if (err == ERR_OK)
        err = replace_file(o, path, &buf);
    buf_deinit(&buf);
    return err;
}

static enum err write_first_metadata(struct opener *o, const struct storage_dir *dir)
{
    struct arena *arena = &o->storage->arena;
    const struct broker_config *config = o->config;
    struct str folder = path_in(o, dir->path, METADATA_TOPIC_DIR);
    if (!folder.data)
        return ERR_NOMEM;
    enum err err = io_mkdir(o->io, folder.data);
    if (err && err != ERR_EXISTS)
        return refuse(o, err, "the folder %.*s cannot be made: %s", STR_ARG(folder), err_text(err));
    struct quorum_voter self = {
        config->node_id,
        dir->directory_id,
        {config->controller_listener, config->controller_host, config->controller_port}};
    struct quorum_control controls[3];
    size_t count;
    struct meta_records records;
    meta_records_init(&records, arena);
    TRY(quorum_snapshot_head(io_wall_ms(o->io), 1, &self, 1, arena, controls, &count));
    TRY(write_checkpoint(o, path_in(o, folder, FIRST_CHECKPOINT), controls, count, &records));
    TRY(features_bootstrap(&records));
    TRY(quorum_snapshot_head(0, 0, NULL, 0, arena, controls, &count));
    return write_checkpoint(o, path_in(o, dir->path, BOOTSTRAP_CHECKPOINT), controls, count,
                            &records);
}

static enum err format_folder(struct opener *o, size_t at)
{
    struct storage_dir *dir = &o->storage->dirs[at];
    if (o->formatted[at] && !o->unnamed[at])
        return ERR_OK;
    dir->directory_id = random_uuid(o->rng);
    if (!o->formatted[at] && at == o->storage->metadata_at) {
        TRY(write_first_metadata(o, dir));
        o->storage->formatted_now = true;
    }
    enum err err = write_meta_properties(o, dir);
    return err ? take_offline(o, at, err) : ERR_OK;
}

static enum err format_all(struct opener *o)
{
    if (str_is_null(o->cluster_id)) {
        char text[UUID_TEXT_LEN + 1];
        uuid_format(random_uuid(o->rng), text);
        o->cluster_id = arena_str(&o->storage->arena, str_of(text));
        if (!o->cluster_id.data)
            return ERR_NOMEM;
    }
    TRY(format_folder(o, o->storage->metadata_at));
    for (size_t i = 0; i < o->storage->total; i++)
        if (i != o->storage->metadata_at && !o->storage->dirs[i].is_offline)
            TRY(format_folder(o, i));
    return ERR_OK;
}

/* --- what the folders say --- */

static enum err read_quorum_state(struct opener *o)
{
    struct storage *storage = o->storage;
    struct str path = path_in(o, storage->metadata_dir, QUORUM_STATE);
    if (!path.data)
        return ERR_NOMEM;
    storage->quorum_state = QUORUM_STATE_NONE;
    uint8_t *data;
    size_t len;
    enum err err = io_read_file(o->io, path.data, QUORUM_STATE_BYTES, &data, &len);
    if (err == ERR_NOENT)
        return ERR_OK;
    if (err)
        return refuse(o, err, "%.*s cannot be read: %s", STR_ARG(path), err_text(err));
    char why[256];
    err = quorum_state_parse((struct str){(const char *)data, len}, &storage->quorum_state, why,
                             sizeof(why));
    free(data);
    return err ? refuse(o, err, "%.*s: %s", STR_ARG(path), why) : ERR_OK;
}

static enum err read_bootstrap(struct opener *o)
{
    struct storage *storage = o->storage;
    struct str path = path_in(o, storage->dirs[o->storage->metadata_at].path, BOOTSTRAP_CHECKPOINT);
    if (!path.data)
        return ERR_NOMEM;
    struct io_stat stat;
    meta_records_init(&storage->bootstrap, &storage->arena);
    if (io_stat_path(o->io, path.data, &stat) == ERR_NOENT)
        return features_bootstrap(&storage->bootstrap);
    struct snapshot snapshot;
    TRY(snapshot_read(o->io, path, &storage->arena, &snapshot, o->why));
    storage->bootstrap = snapshot.records;
    return ERR_OK;
}

/* A folder that Kafka formatted without a voter set has no metadata folder before its first start.
 */
static enum err open_metadata_folder(struct opener *o)
{
    struct storage *storage = o->storage;
    const struct storage_dir *dir = &storage->dirs[o->storage->metadata_at];
    storage->metadata_dir = path_in(o, dir->path, METADATA_TOPIC_DIR);
    if (!storage->metadata_dir.data)
        return ERR_NOMEM;
    storage->metadata_directory_id = dir->directory_id;
    enum err err = io_mkdir(o->io, storage->metadata_dir.data);
    if (err && err != ERR_EXISTS)
        return refuse(o, err, "the folder %.*s cannot be made: %s", STR_ARG(storage->metadata_dir),
                      err_text(err));
    /* Also where it was there: a process that was killed may have left its name unflushed. */
    return io_sync_dir(o->io, dir->path.data);
}

static enum err list_folders(struct opener *o)
{
    struct storage *storage = o->storage;
    const struct broker_config *config = o->config;
    size_t most = config->log_dir_count + 1;
    storage->dirs = arena_array(&storage->arena, most, sizeof(*storage->dirs));
    o->formatted = arena_array(&storage->arena, most, sizeof(*o->formatted));
    o->unnamed = arena_array(&storage->arena, most, sizeof(*o->unnamed));
    if (!storage->dirs || !o->formatted || !o->unnamed)
        return ERR_NOMEM;
    storage->dir_count = config->log_dir_count;
    storage->metadata_at = config->log_dir_count;
    for (size_t i = 0; i < config->log_dir_count; i++) {
        storage->dirs[i].path = config->log_dirs[i];
        if (str_eq(config->log_dirs[i], config->metadata_log_dir))
            storage->metadata_at = i;
    }
    storage->dirs[config->log_dir_count].path = config->metadata_log_dir;
    storage->total = storage->metadata_at < config->log_dir_count ? config->log_dir_count : most;
    for (size_t i = 0; i < storage->total; i++)
        storage->dirs[i].lock = IO_FILE_NONE;
    return ERR_OK;
}

static enum err open_all(struct opener *o)
{
    TRY(list_folders(o));
    TRY(look_at_all(o));
    for (size_t i = 0; i < o->storage->total; i++) {
        if (!o->storage->dirs[i].is_offline)
            TRY(lock_folder(o, i));
    }
    /* Again, now that nobody else can format them in between. */
    TRY(look_at_all(o));
    TRY(format_all(o));
    o->storage->cluster_id = o->cluster_id;
    TRY(open_metadata_folder(o));
    TRY(read_quorum_state(o));
    return read_bootstrap(o);
}

enum err storage_open(struct storage *storage, struct io *io, const struct broker_config *config,
                      struct str cluster_id, struct rng *rng, struct meta_error *why)
{
    *storage = (struct storage){.dir_count = 0};
    *why = (struct meta_error){ERR_OK, STR_NULL};
    arena_init(&storage->arena, ARENA_NO_LIMIT);
    struct opener opener = {.storage = storage,
                            .io = io,
                            .config = config,
                            .rng = rng,
                            .why = why,
                            .cluster_id = cluster_id};
    enum err err = open_all(&opener);
    if (err && str_is_null(why->text))
        *why = (struct meta_error){err, str_of(err_text(err))};
    return err;
}

void storage_close(struct storage *storage, struct io *io)
{
    for (size_t i = 0; i < storage->total; i++) {
        if (!IO_FILE_IS_NONE(storage->dirs[i].lock))
            io_close(io, storage->dirs[i].lock);
    }
    storage->total = 0;
    arena_deinit(&storage->arena);
}

enum err storage_save_quorum_state(struct storage *storage, struct io *io,
                                   const struct quorum_state_file *state)
{
    struct buf path;
    struct buf content;
    buf_init(&path, BUF_NO_LIMIT);
    buf_init(&content, BUF_NO_LIMIT);
    buf_printf(&path, "%.*s/" QUORUM_STATE, STR_ARG(storage->metadata_dir));
    buf_put_u8(&path, 0);
    quorum_state_print(state, &content);
    enum err err = path.err ? path.err : content.err;
    if (err == ERR_OK)
        err = io_replace_file(io, (const char *)path.data, buf_slice(&content));
    if (err == ERR_OK)
        storage->quorum_state = *state;
    buf_deinit(&path);
    buf_deinit(&content);
    return err;
}
