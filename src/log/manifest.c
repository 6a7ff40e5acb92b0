/* The manifests of a log folder: files that are written anew at each start and appended to while
 * the broker runs.
 *
 *    0  8 bytes "TFRMANIF"
 *    8  u32     version (1)
 *   12  i32     run
 *   16  u32     CRC32C of the bytes before
 *   20          frames, back to back:
 *                 u32 length of the body
 *                 u32 CRC32C of kind and body, going on from that of the frame before (the first
 *                     one from that of the header)
 *                 u8  kind
 *                 body: uuid topic id, i32 partition, and
 *                   kind 1, entry  u8 mark, what the partition's log says of itself
 *                   kind 2, mark   u8 mark
 *                   kind 3, start  i64 log start offset; the log's is not below it
 *                   kind 4, gone   nothing
 *
 * Frames are read up to the first that is not whole: each checksum hangs on all before it, so that
 * nothing behind a torn place is taken for more. An entry replaces the one before it and its marks;
 * a mark adds to it; a start stays. All numbers are big-endian.
 *
 * When a manifest is believed. `run` is the epoch of the metadata quorum in the run that wrote it.
 * Every start, of this program or of Apache Kafka, begins a new epoch and saves it before it
 * touches a partition. A manifest of the newest epoch is therefore the last word, and one of an
 * older epoch was overtaken by a run that did not write it, and is ignored.
 *
 * Why it may be believed after a power cut. An entry is put only when all that it speaks of is on
 * the disk. The mark that takes it back is put before the change, so it survives a killed process;
 * it is on the disk before anything is removed, cut or rolled, and before a flush of appended
 * batches counts. So where a mark is lost, so is every promise about what came after the entry: the
 * log ends where its entry says, and what lies behind that is cut off before the next append.
 *
 * A manifest that cannot be written is removed: the folder tells as much, only slower.
 *
 * Runs on: shard 0 at start; then each shard for its own. */
#include "log/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "base/hash.h"
#include "base/plant.h"

#define MAGIC              "TFRMANIF"
#define VERSION            1
#define HEADER_BYTES       20
#define FRAME_HEADER_BYTES 9
#define KEY_BYTES          20
#define PATH_BYTES_MAX     1024

#define MANIFEST_BYTES_MAX ((size_t)1 << 30)
/* Out-of-date frames up to so many bytes are not worth writing it anew. */
#define SLACK_BYTES ((uint64_t)8 << 20)

enum frame_kind { FRAME_ENTRY = 1, FRAME_MARK = 2, FRAME_START = 3, FRAME_GONE = 4 };

static bool has_key(const void *entry, const void *key)
{
    const struct manifest_item *item = entry;
    const struct manifest_key *want = key;
    return item->key.index == want->index && uuid_eq(item->key.topic_id, want->topic_id);
}

static uint64_t key_hash(const struct map *map, const struct manifest_key *key)
{
    return hash_u64(hash_uuid(map->seed, key->topic_id), (uint32_t)key->index);
}

static enum err manifest_path(const char *dir, uint32_t shard, char *path)
{
    int len = snprintf(path, PATH_BYTES_MAX, "%s/" MANIFEST_FILE_PREFIX "%u", dir, shard);
    return len > 0 && len < PATH_BYTES_MAX ? ERR_OK : ERR_LIMIT;
}

/* --- frames --- */

static void put_header(struct buf *out, int32_t run, uint32_t *crc)
{
    size_t at = out->len;
    buf_put(out, MAGIC, 8);
    buf_put_be32(out, VERSION);
    buf_put_be32(out, (uint32_t)run);
    *crc = out->err == ERR_OK ? crc32c(0, slice_of(out->data + at, out->len - at)) : 0;
    buf_put_be32(out, *crc);
}

/* `mark` < 0: the kind has none. */
static void put_frame(struct buf *out, enum frame_kind kind, struct manifest_key key, int mark,
                      struct slice rest, uint32_t *crc)
{
    size_t at = out->len;
    size_t len = KEY_BYTES + (size_t)(mark >= 0) + rest.len;
    buf_put_be32(out, (uint32_t)len);
    buf_put_be32(out, 0);
    buf_put_u8(out, (uint8_t)kind);
    buf_put(out, key.topic_id.bytes, sizeof(key.topic_id.bytes));
    buf_put_be32(out, (uint32_t)key.index);
    if (mark >= 0)
        buf_put_u8(out, (uint8_t)mark);
    buf_put(out, rest.data, rest.len);
    if (out->err != ERR_OK)
        return;
    *crc = crc32c(*crc, slice_of(out->data + at + 8, out->len - at - 8));
    be32_store(out->data + at + 4, *crc);
}

/* --- reading --- */

void manifest_set_init(struct manifest_set *set, uint64_t seed)
{
    *set = (struct manifest_set){0};
    arena_init(&set->arena, ARENA_NO_LIMIT);
    map_init(&set->items, seed, has_key);
}

void manifest_set_deinit(struct manifest_set *set)
{
    map_deinit(&set->items);
    arena_deinit(&set->arena);
}

void manifest_set_forget(struct manifest_set *set)
{
    uint64_t seed = set->items.seed;
    manifest_set_deinit(set);
    manifest_set_init(set, seed);
}

const struct manifest_item *manifest_set_find(const struct manifest_set *set,
                                              struct manifest_key key)
{
    return map_find(&set->items, key_hash(&set->items, &key), &key);
}

static struct manifest_item *item_of(struct manifest_set *set, struct manifest_key key)
{
    uint64_t hash = key_hash(&set->items, &key);
    struct manifest_item *item = map_find(&set->items, hash, &key);
    if (item)
        return item;
    item = arena_zalloc(&set->arena, sizeof(*item));
    if (!item)
        return NULL;
    item->key = key;
    item->start_offset = -1;
    return map_insert(&set->items, hash, item) == ERR_OK ? item : NULL;
}

static bool take_mark(struct slice body, enum manifest_mark *mark)
{
    if (body.len <= KEY_BYTES || body.data[KEY_BYTES] > MANIFEST_RESHAPED)
        return false;
    *mark = (enum manifest_mark)body.data[KEY_BYTES];
    return true;
}

static enum err take_frame(struct manifest_set *set, uint8_t kind, struct slice body)
{
    struct manifest_key key;
    enum manifest_mark mark = MANIFEST_UNCHANGED;
    if (body.len < KEY_BYTES)
        return ERR_MALFORMED;
    memcpy(key.topic_id.bytes, body.data, sizeof(key.topic_id.bytes));
    key.index = (int32_t)be32_load(body.data + sizeof(key.topic_id.bytes));
    bool has_mark = kind == FRAME_ENTRY || kind == FRAME_MARK;
    if (key.index < 0 || (has_mark && !take_mark(body, &mark)))
        return ERR_MALFORMED;
    struct manifest_item *item = item_of(set, key);
    if (!item)
        return ERR_NOMEM;
    switch (kind) {
    case FRAME_ENTRY:
        item->entry = slice_of(body.data + KEY_BYTES + 1, body.len - KEY_BYTES - 1);
        item->mark = mark;
        return ERR_OK;
    case FRAME_MARK:
        if (mark > item->mark)
            item->mark = mark;
        return ERR_OK;
    case FRAME_START:
        if (body.len != KEY_BYTES + 8)
            return ERR_MALFORMED;
        item->start_offset = (int64_t)be64_load(body.data + KEY_BYTES);
        return ERR_OK;
    case FRAME_GONE:
        item->entry = SLICE_NULL;
        item->mark = MANIFEST_UNCHANGED;
        item->start_offset = -1;
        return ERR_OK;
    default:
        return ERR_MALFORMED;
    }
}

static enum err check_header(struct slice bytes, int32_t run, uint32_t *crc)
{
    if (bytes.len < HEADER_BYTES || memcmp(bytes.data, MAGIC, 8) != 0 ||
        be32_load(bytes.data + 8) != VERSION)
        return ERR_MALFORMED;
    *crc = crc32c(0, slice_of(bytes.data, HEADER_BYTES - 4));
    if (be32_load(bytes.data + HEADER_BYTES - 4) != *crc)
        return ERR_MALFORMED;
    if ((int32_t)be32_load(bytes.data + 12) != run && !PLANTED(TRUST_STALE_MANIFEST))
        return ERR_NOENT;
    return ERR_OK;
}

/* Borrows the bytes: the items' entries are views of them. */
static enum err read_frames(struct manifest_set *set, struct slice bytes, uint32_t crc, bool *whole)
{
    size_t at = HEADER_BYTES;
    *whole = false;
    while (bytes.len - at >= FRAME_HEADER_BYTES) {
        size_t len = be32_load(bytes.data + at);
        if (len > bytes.len - at - FRAME_HEADER_BYTES)
            return ERR_OK;
        crc = crc32c(crc, slice_of(bytes.data + at + 8, len + 1));
        if (crc != be32_load(bytes.data + at + 4))
            return ERR_OK;
        enum err err = take_frame(set, bytes.data[at + 8],
                                  slice_of(bytes.data + at + FRAME_HEADER_BYTES, len));
        if (err != ERR_OK)
            return err == ERR_MALFORMED ? ERR_OK : err;
        at += FRAME_HEADER_BYTES + len;
    }
    *whole = at == bytes.len;
    return ERR_OK;
}

enum err manifest_set_read(struct manifest_set *set, struct slice bytes, int32_t run, bool *whole)
{
    uint32_t crc;
    TRY(check_header(bytes, run, &crc));
    set->bytes += bytes.len;
    return read_frames(set, bytes, crc, whole);
}

static enum err load_file(struct manifest_set *set, struct io *io, const char *path, int32_t run)
{
    uint8_t *data = NULL;
    size_t len = 0;
    enum err err = io_read_file(io, path, MANIFEST_BYTES_MAX, &data, &len);
    if (err != ERR_OK) {
        diag_warn("manifest", "%s cannot be read (%s): partitions' folders are looked at instead",
                  path, err_text(err));
        return err == ERR_NOMEM ? err : ERR_OK;
    }
    bool whole = false;
    struct slice copy = arena_slice(&set->arena, slice_of(data, len));
    free(data);
    if (!copy.data)
        return ERR_NOMEM;
    err = manifest_set_read(set, copy, run, &whole);
    if (err == ERR_NOENT)
        diag_info("manifest",
                  "%s is older than the last run on this folder: partitions' folders are looked at "
                  "instead",
                  path);
    else if (err == ERR_MALFORMED)
        diag_warn("manifest",
                  "%s is not a manifest that this version reads: partitions' folders are looked at "
                  "instead",
                  path);
    else if (err == ERR_OK && !whole)
        diag_info("manifest", "%s is torn; what is before that counts", path);
    return err == ERR_NOMEM ? err : ERR_OK;
}

enum err manifest_set_load(struct manifest_set *set, struct io *io, const char *dir, int32_t run)
{
    for (uint32_t shard = 0; shard < MANIFEST_SHARDS_MAX; shard++) {
        char path[PATH_BYTES_MAX];
        struct io_stat stat;
        TRY(manifest_path(dir, shard, path));
        if (io_stat_path(io, path, &stat) == ERR_OK)
            TRY(load_file(set, io, path, run));
    }
    return ERR_OK;
}

/* --- writing it anew --- */

static void print_item(const struct manifest_item *item, struct buf *out, uint32_t *crc)
{
    /* The start first: an entry is never there without it. */
    if (item->start_offset >= 0) {
        uint8_t start[8];
        be64_store(start, (uint64_t)item->start_offset);
        put_frame(out, FRAME_START, item->key, -1, slice_of(start, sizeof(start)), crc);
    }
    if (item->entry.data)
        put_frame(out, FRAME_ENTRY, item->key, (int)item->mark, item->entry, crc);
}

static enum err print_set(const struct manifest_set *set, int32_t run, manifest_filter *is_wanted,
                          const void *arg, struct buf *out, uint32_t *crc)
{
    put_header(out, run, crc);
    struct map_iter iter;
    map_iter_init(&iter, &set->items);
    for (const struct manifest_item *item; (item = map_iter_next(&iter)) != NULL;) {
        if (!is_wanted || is_wanted(arg, item->key))
            print_item(item, out, crc);
    }
    return out->err;
}

/* Without a flush: if a power cut takes it, or some of it, the next start believes what is whole of
 * it, if anything, and the first flush of what is put behind it covers it all. */
static enum err replace_lazily(struct io *io, const char *path, struct slice content)
{
    char beside[PATH_BYTES_MAX + 4];
    struct io_file file;
    snprintf(beside, sizeof(beside), "%s.tmp", path);
    TRY(io_open(io, beside, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &file));
    enum err err = io_write_now(io, file, content.data, content.len, 0);
    io_close(io, file);
    return err == ERR_OK ? io_rename(io, beside, path) : err;
}

enum err manifest_set_write(const struct manifest_set *set, struct io *io, const char *dir,
                            uint32_t shard, int32_t run, manifest_filter *is_wanted,
                            const void *arg)
{
    char path[PATH_BYTES_MAX];
    struct buf out;
    uint32_t crc;
    TRY(manifest_path(dir, shard, path));
    buf_init(&out, MANIFEST_BYTES_MAX);
    enum err err = print_set(set, run, is_wanted, arg, &out, &crc);
    if (err == ERR_OK)
        err = replace_lazily(io, path, buf_slice(&out));
    buf_deinit(&out);
    return err;
}

enum err manifest_remove_all(struct io *io, const char *dir, uint32_t first_shard)
{
    bool any = false;
    for (uint32_t shard = first_shard; shard < MANIFEST_SHARDS_MAX; shard++) {
        char path[PATH_BYTES_MAX];
        TRY(manifest_path(dir, shard, path));
        enum err err = io_unlink_now(io, path);
        if (err == ERR_NOENT)
            continue;
        TRY(err);
        any = true;
    }
    return any ? io_sync_dir(io, dir) : ERR_OK;
}

/* --- while it runs --- */

struct manifest {
    struct io *io;
    struct io_file file;
    char path[PATH_BYTES_MAX];
    char dir[PATH_BYTES_MAX];
    int32_t run;
    uint64_t size;      /* of the file */
    uint64_t size_anew; /* when it was written anew */
    uint32_t crc;       /* of the last frame */
    uint64_t position, synced;
    bool is_off;
    struct buf frame;
    struct list waiters; /* for the next flush */
    struct list served;  /* by the flush under way */
    uint64_t syncing;    /* the position that it covers */
    bool is_syncing;
    struct io_op op;
};

/* Reads the file whole: for where its last frame ends. */
static enum err measure(struct manifest *manifest)
{
    uint8_t *data = NULL;
    size_t len = 0;
    TRY(io_read_file(manifest->io, manifest->path, MANIFEST_BYTES_MAX, &data, &len));
    enum err err = ERR_MALFORMED;
    if (len >= HEADER_BYTES) {
        manifest->run = (int32_t)be32_load(data + 12);
        err = check_header(slice_of(data, len), manifest->run, &manifest->crc);
    }
    size_t at = HEADER_BYTES;
    while (err == ERR_OK && len - at >= FRAME_HEADER_BYTES) {
        manifest->crc = be32_load(data + at + 4);
        size_t body = be32_load(data + at);
        if (body > len - at - FRAME_HEADER_BYTES)
            break;
        at += FRAME_HEADER_BYTES + body;
    }
    if (err == ERR_OK && at != len)
        err = ERR_MALFORMED; /* it was written as a whole a moment ago */
    manifest->size = manifest->size_anew = len;
    free(data);
    return err;
}

/* Without a manifest the next start is slow, and right. */
static enum err switch_off(struct manifest *manifest, enum err why)
{
    if (manifest->is_off)
        return ERR_OK;
    diag_warn("manifest", "%s cannot be written (%s) and is removed: the next start is a slow one",
              manifest->path, err_text(why));
    enum err err = io_unlink_now(manifest->io, manifest->path);
    if (err == ERR_NOENT)
        err = ERR_OK;
    if (err == ERR_OK)
        err = io_sync_dir(manifest->io, manifest->dir);
    if (err == ERR_OK)
        manifest->is_off = true;
    return err;
}

enum err manifest_open(struct io *io, const char *dir, uint32_t shard, struct manifest **out)
{
    struct manifest *manifest = calloc(1, sizeof(*manifest));
    if (!manifest)
        return ERR_NOMEM;
    manifest->io = io;
    manifest->position = 1; /* what the file begins with is not synced */
    manifest->file = IO_FILE_NONE;
    buf_init(&manifest->frame, MANIFEST_BYTES_MAX);
    list_init(&manifest->waiters);
    list_init(&manifest->served);
    snprintf(manifest->dir, sizeof(manifest->dir), "%s", dir);
    enum err err = manifest_path(dir, shard, manifest->path);
    if (err == ERR_OK)
        err = measure(manifest);
    if (err == ERR_OK)
        err = io_open(io, manifest->path, IO_OPEN_WRITE, &manifest->file);
    /* One that stays as it was made would be believed after a run of which it has nothing. */
    if (err != ERR_OK)
        err = switch_off(manifest, err);
    if (err != ERR_OK) {
        manifest_close(manifest);
        return err;
    }
    *out = manifest;
    return ERR_OK;
}

void manifest_close(struct manifest *manifest)
{
    if (!manifest)
        return;
    if (!IO_FILE_IS_NONE(manifest->file))
        io_close(manifest->io, manifest->file);
    buf_deinit(&manifest->frame);
    free(manifest);
}

uint64_t manifest_position(const struct manifest *manifest)
{
    return manifest->position;
}

bool manifest_is_synced(const struct manifest *manifest, uint64_t position)
{
    return manifest->is_off || manifest->synced >= position || PLANTED(UNSYNCED_MARK);
}

bool manifest_is_idle(const struct manifest *manifest)
{
    return !manifest->is_syncing;
}

static enum err put(struct manifest *manifest, enum frame_kind kind, struct manifest_key key,
                    int mark, struct slice rest)
{
    if (manifest->is_off)
        return ERR_OK;
    uint32_t crc = manifest->crc;
    buf_reset(&manifest->frame);
    put_frame(&manifest->frame, kind, key, mark, rest, &crc);
    enum err err = manifest->frame.err;
    if (err == ERR_OK && manifest->size + manifest->frame.len > MANIFEST_BYTES_MAX)
        err = ERR_LIMIT;
    if (err == ERR_OK)
        err = io_write_now(manifest->io, manifest->file, manifest->frame.data, manifest->frame.len,
                           manifest->size);
    if (err != ERR_OK)
        return switch_off(manifest, err);
    manifest->crc = crc;
    manifest->size += manifest->frame.len;
    manifest->position += manifest->frame.len;
    buf_trim(&manifest->frame, 1 << 16);
    return ERR_OK;
}

enum err manifest_put_entry(struct manifest *manifest, struct manifest_key key,
                            enum manifest_mark mark, struct slice entry)
{
    return put(manifest, FRAME_ENTRY, key, (int)mark, entry);
}

enum err manifest_put_mark(struct manifest *manifest, struct manifest_key key,
                           enum manifest_mark mark)
{
    if (PLANTED(FORGET_MARK))
        return ERR_OK;
    return put(manifest, FRAME_MARK, key, (int)mark, SLICE_NULL);
}

enum err manifest_put_start(struct manifest *manifest, struct manifest_key key,
                            int64_t start_offset)
{
    uint8_t start[8];
    be64_store(start, (uint64_t)start_offset);
    return put(manifest, FRAME_START, key, -1, slice_of(start, sizeof(start)));
}

enum err manifest_put_gone(struct manifest *manifest, struct manifest_key key)
{
    return put(manifest, FRAME_GONE, key, -1, SLICE_NULL);
}

static void on_synced(struct io_op *op);

static void sync_next(struct manifest *manifest)
{
    list_splice(&manifest->served, &manifest->waiters);
    manifest->syncing = manifest->position;
    manifest->is_syncing = true;
    io_sync(manifest->io, &manifest->op, manifest->file, on_synced);
}

static void on_synced(struct io_op *op)
{
    struct manifest *manifest = CONTAINER_OF(op, struct manifest, op);
    struct list served;
    manifest->is_syncing = false;
    enum err err = op->err == ERR_OK ? ERR_OK : switch_off(manifest, op->err);
    if (op->err == ERR_OK && manifest->syncing > manifest->synced)
        manifest->synced = manifest->syncing;
    list_init(&served);
    list_splice(&served, &manifest->served);
    struct list *node;
    while ((node = list_pop_front(&served)) != NULL) {
        struct manifest_waiter *waiter = LIST_ENTRY(node, struct manifest_waiter, link);
        waiter->done(waiter, err);
    }
    if (!manifest->is_syncing && !list_is_empty(&manifest->waiters))
        sync_next(manifest);
}

void manifest_sync(struct manifest *manifest, struct manifest_waiter *waiter)
{
    list_init(&waiter->link);
    list_push_back(&manifest->waiters, &waiter->link);
    if (!manifest->is_syncing)
        sync_next(manifest);
}

enum err manifest_sync_now(struct manifest *manifest)
{
    if (manifest_is_synced(manifest, manifest->position))
        return ERR_OK;
    enum err err = io_sync_now(manifest->io, manifest->file);
    if (err != ERR_OK)
        return switch_off(manifest, err);
    manifest->synced = manifest->position;
    return ERR_OK;
}

/* The file's live items in a new one, which is on the disk then. */
static enum err write_anew(struct manifest *manifest)
{
    struct manifest_set set;
    struct buf out;
    bool whole = false;
    uint8_t *data = NULL;
    size_t len = 0;
    uint32_t crc;
    struct io_file file = IO_FILE_NONE;
    TRY(io_read_file(manifest->io, manifest->path, MANIFEST_BYTES_MAX, &data, &len));
    manifest_set_init(&set, 0);
    buf_init(&out, MANIFEST_BYTES_MAX);
    enum err err = manifest_set_read(&set, slice_of(data, len), manifest->run, &whole);
    if (err == ERR_OK && !whole)
        err = ERR_MALFORMED;
    if (err == ERR_OK)
        err = print_set(&set, manifest->run, NULL, NULL, &out, &crc);
    if (err == ERR_OK)
        err = io_replace_file(manifest->io, manifest->path, buf_slice(&out));
    if (err == ERR_OK)
        err = io_open(manifest->io, manifest->path, IO_OPEN_WRITE, &file);
    if (err == ERR_OK) {
        io_close(manifest->io, manifest->file);
        manifest->file = file;
        manifest->crc = crc;
        manifest->size = manifest->size_anew = out.len;
        manifest->synced = manifest->position;
    }
    buf_deinit(&out);
    manifest_set_deinit(&set);
    free(data);
    return err;
}

enum err manifest_tidy(struct manifest *manifest)
{
    if (manifest->is_off || manifest->is_syncing ||
        manifest->size < manifest->size_anew * 4 + SLACK_BYTES)
        return ERR_OK;
    enum err err = write_anew(manifest);
    return err == ERR_OK ? ERR_OK : switch_off(manifest, err);
}
