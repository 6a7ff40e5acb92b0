/* taffrail log repair: mends what can be mended in the folders of partitions, without a broker.
 *
 * First everything is looked at and said; with --apply it is then done:
 *
 *   the write-ahead log has a batch, it has not   put back, as the broker's start does
 *   the end of the last segment is no batch       cut off
 *   a damaged batch, or junk between batches      left alone without --drop-damaged; with it an
 *                                                 empty batch takes its place, as compaction
 *                                                 leaves them, so that no offset is missing
 *   an index, snapshot or epoch file is wrong     put aside as NAME.bad and built again
 *   an index is missing                           built again
 *
 * What is cut out of a segment is kept beside it as NNN.log.cut-BYTE. After that the log is opened
 * as after a crash and closed as by a clean stop, which builds all the rest. A folder that a broker
 * uses is refused. The write-ahead log itself stays as it is: the broker's next start finds that
 * all of it is in the segments, and takes it away. */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/parse.h"
#include "cli/client.h"
#include "cli/log.h"
#include "cli/logfile.h"
#include "cli/out.h"
#include "io/io.h"
#include "log/epochs.h"
#include "log/log.h"
#include "log/logdir.h"
#include "log/wal_replay.h"

#define PATH_MAX_BYTES 1024
#define NAME_DIGITS    20

/* Bytes of a segment that are no whole batch. */
struct damage {
    uint64_t from, to;
    int64_t offset, next_offset; /* what is lost: [offset, next_offset); -1: the rest of the log */
    int32_t leader_epoch;
    bool is_tail;                  /* a crash leaves such an end: it may go without more ado */
    const struct wal_entry *entry; /* the write-ahead log has what belongs there: so many batches */
    size_t entry_count;
};

struct repairer {
    const struct args *args;
    struct io *io;
    bool applies, drops;
    json_t *findings;
    size_t left;                 /* findings that stay */
    char folder[PATH_MAX_BYTES]; /* the partition's */
    char parent[PATH_MAX_BYTES];
    struct wal_replay replay; /* of the log folder `replay_dir`, if `has_replay` */
    char replay_dir[PATH_MAX_BYTES];
    bool has_replay;
    const struct wal_group *group; /* what it has of the partition; NULL: nothing */
    struct epochs epochs;          /* of the partition */
    bool lacks_topic_id;           /* so that it cannot be said what it has */
    int64_t *bases;                /* of its segments, ascending */
    size_t base_count;
    struct damage *damages; /* of the segment at hand */
    size_t damage_count;
};

static void say(struct repairer *r, bool is_mended, const char *file, int64_t at, const char *fmt,
                ...) __attribute__((format(printf, 5, 6)));

static void say(struct repairer *r, bool is_mended, const char *file, int64_t at, const char *fmt,
                ...)
{
    char text[512];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, sizeof(text), fmt, list);
    va_end(list);
    const char *done = !is_mended ? "left alone" : r->applies ? "mended" : "would be mended";
    r->left += !is_mended || !r->applies;
    json_array_append_new(r->findings,
                          json_pack("{s:o, s:I, s:s, s:s}", "file", json_str(str_of(file)),
                                    "position", (json_int_t)at, "finding", text, "outcome", done));
    if (args_is_json(r->args))
        return;
    if (at < 0)
        printf("%s: %s: %s\n", file, text, done);
    else
        printf("%s at byte %lld: %s: %s\n", file, (long long)at, text, done);
}

static int refuse(const char *path, const char *what, enum err err)
{
    fprintf(stderr, "taffrail: %s: %s: %s\n", path, what, err_text(err));
    return EXIT_REFUSED;
}

static void path_of(const struct repairer *r, const char *name, char path[PATH_MAX_BYTES])
{
    snprintf(path, PATH_MAX_BYTES, "%.700s/%.255s", r->folder, name);
}

/* --- looking --- */

static void add_damage(struct repairer *r, struct damage damage)
{
    struct damage *damages = realloc(r->damages, (r->damage_count + 1) * sizeof(*damages));
    if (!damages)
        client_out_of_memory();
    r->damages = damages;
    r->damages[r->damage_count++] = damage;
}

static bool is_whole(struct slice bytes, int64_t offset, struct batch *batch)
{
    return batch_load(bytes, batch) == ERR_OK && batch_crc_is_valid(batch) &&
           batch->base_offset >= offset;
}

/* The next place where a whole batch begins; the end if there is none. */
static uint64_t find_batch(struct slice all, uint64_t from, int64_t offset, struct batch *batch)
{
    for (uint64_t at = from; at + BATCH_HEADER_BYTES <= all.len; at++) {
        if (all.data[at + BATCH_AT_MAGIC] == 2 &&
            is_whole(slice_of(all.data + at, all.len - at), offset, batch))
            return at;
    }
    return all.len;
}

/* --- what the write-ahead log has of the segment --- */

static bool entry_fits(const struct repairer *r, const struct wal_entry *entry, int64_t offset)
{
    return wal_entry_fits(entry, &r->epochs, false, offset);
}

/* The batch that belongs at that place; NULL: the write-ahead log has none. */
static const struct wal_entry *entry_at(const struct repairer *r, int64_t base, uint64_t at,
                                        int64_t offset)
{
    if (!r->group || at > UINT32_MAX)
        return NULL;
    const struct wal_entry *entry = wal_group_find(r->group, base, (uint32_t)at);
    return entry && entry_fits(r, entry, offset) ? entry : NULL;
}

/* The next such place behind `at`. */
static const struct wal_entry *entry_behind(const struct repairer *r, int64_t base, uint64_t at,
                                            int64_t offset)
{
    for (size_t i = 0; r->group && i < r->group->count; i++) {
        const struct wal_entry *entry = &r->group->entries[i];
        if (entry->segment_base == base && entry->position > at && entry_fits(r, entry, offset))
            return entry;
    }
    return NULL;
}

/* --- what is wrong with a segment --- */

struct scan {
    struct slice all;
    int64_t base, next_base; /* -1: it is the last segment */
    uint64_t at;             /* also past the file's end, where the write-ahead log has more */
    int64_t offset;
    int32_t epoch;
};

static struct slice rest_of(const struct scan *scan)
{
    uint64_t at = scan->at < scan->all.len ? scan->at : scan->all.len;
    return slice_of(scan->all.data + at, scan->all.len - at);
}

/* Neighbours in the write-ahead log are one finding. */
static void note_entry(struct repairer *r, struct scan *scan, const struct wal_entry *entry)
{
    struct damage *last = r->damage_count > 0 ? &r->damages[r->damage_count - 1] : NULL;
    uint64_t from = scan->at < scan->all.len ? scan->at : scan->all.len;
    uint64_t end = scan->at + entry->len;
    uint64_t to = end < scan->all.len ? end : scan->all.len;
    if (last && last->entry && last->to == from && last->entry + last->entry_count == entry) {
        last->entry_count++;
        last->to = to;
        last->next_offset = entry->end_offset;
    } else {
        add_damage(r, (struct damage){.from = from,
                                      .to = to,
                                      .offset = entry->base_offset,
                                      .next_offset = entry->end_offset,
                                      .entry = entry,
                                      .entry_count = 1});
    }
    scan->at = end;
    scan->offset = entry->end_offset;
    scan->epoch = entry->leader_epoch;
}

/* False: it is the end. */
static bool note_damage(struct repairer *r, struct scan *scan)
{
    struct batch batch;
    struct slice all = scan->all;
    bool is_past = scan->at >= all.len;
    const struct wal_entry *entry = entry_behind(r, scan->base, scan->at, scan->offset);
    if (is_past && !entry)
        return false;
    bool is_framed = batch_load(rest_of(scan), &batch) == ERR_OK;
    struct damage damage = {
        .from = is_past ? all.len : scan->at, .offset = scan->offset, .leader_epoch = scan->epoch};
    uint64_t next_at = is_past ? all.len : find_batch(all, scan->at + 1, scan->offset, &batch);
    bool is_end = next_at == all.len;
    damage.next_offset = is_end ? scan->next_base : batch.base_offset;
    if (entry && (is_end || entry->position <= next_at)) {
        is_end = false;
        next_at = entry->position;
        damage.next_offset = entry->base_offset;
    }
    damage.to = next_at < all.len ? next_at : all.len;
    damage.is_tail = is_end && scan->next_base < 0 && !is_framed;
    if (damage.to > damage.from || damage.next_offset > damage.offset)
        add_damage(r, damage);
    scan->at = next_at;
    if (damage.next_offset > scan->offset)
        scan->offset = damage.next_offset;
    return true;
}

/* What no checksum covers has to be as in the copy. */
static bool is_as_in(const struct wal_entry *entry, const struct batch *batch)
{
    return entry->len != batch->size ||
           (entry->base_offset == batch->base_offset && entry->leader_epoch == batch->leader_epoch);
}

/* Notes what is wrong with a segment. *offset is what its first record should have, then what
 * follows its last one. */
static void scan_segment(struct repairer *r, const struct logfile *file, int64_t next_base,
                         int64_t *offset, int32_t *epoch)
{
    struct scan scan = {file->bytes, file->base_offset, next_base, 0, *offset, *epoch};
    bool goes_on = true;
    r->damage_count = 0;
    while (goes_on) {
        struct batch batch;
        const struct wal_entry *entry = entry_at(r, scan.base, scan.at, scan.offset);
        bool is_there = is_whole(rest_of(&scan), scan.offset, &batch);
        if (entry && !(is_there && is_as_in(entry, &batch))) {
            note_entry(r, &scan, entry);
        } else if (is_there) {
            scan.at += batch.size;
            scan.offset = batch.last_offset + 1;
            scan.epoch = batch.leader_epoch;
        } else {
            goes_on = note_damage(r, &scan);
        }
    }
    *offset = scan.offset;
    *epoch = scan.epoch;
}

static bool is_mendable(const struct repairer *r, const struct damage *damage)
{
    if (r->lacks_topic_id)
        return false;
    return damage->entry || damage->is_tail || r->drops;
}

/* A segment is mended as a whole, or left alone. */
static bool tell_damages(struct repairer *r, const char *path)
{
    bool mends = true;
    for (size_t i = 0; i < r->damage_count; i++)
        mends &= is_mendable(r, &r->damages[i]);
    const char *why = r->lacks_topic_id
                          ? ". The broker did not stop cleanly, and without partition.metadata "
                            "nobody can tell what its write-ahead log has of it"
                      : mends ? ""
                              : ". With --drop-damaged what cannot be read is given up";
    for (size_t i = 0; i < r->damage_count; i++) {
        const struct damage *d = &r->damages[i];
        if (d->entry)
            say(r, mends, path, (int64_t)d->from,
                "offsets %lld to %lld are whole in the write-ahead log, and not here%s",
                (long long)d->offset, (long long)d->next_offset - 1, why);
        else if (d->next_offset < 0)
            say(r, mends, path, (int64_t)d->from,
                "%llu bytes up to the end are no whole batch, from offset %lld on%s",
                (unsigned long long)(d->to - d->from), (long long)d->offset, why);
        else
            say(r, mends, path, (int64_t)d->from,
                "%llu bytes are no whole batch, where offsets %lld to %lld belong%s",
                (unsigned long long)(d->to - d->from), (long long)d->offset,
                (long long)d->next_offset - 1, why);
    }
    return mends && r->damage_count > 0;
}

/* --- mending a segment --- */

static enum err write_file(struct repairer *r, const char *path, struct slice bytes)
{
    struct io_file file;
    TRY(io_open(r->io, path, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &file));
    enum err err = io_write_now(r->io, file, bytes.data, bytes.len, 0);
    if (err == ERR_OK)
        err = io_sync_now(r->io, file);
    io_close(r->io, file);
    return err;
}

/* A batch without records, as compaction leaves them where all records of one are gone. */
static void empty_batch(const struct damage *damage, uint8_t bytes[BATCH_HEADER_BYTES])
{
    memset(bytes, 0, BATCH_HEADER_BYTES);
    be64_store(bytes + BATCH_AT_BASE_OFFSET, (uint64_t)damage->offset);
    be32_store(bytes + BATCH_AT_LENGTH, BATCH_HEADER_BYTES - BATCH_LOG_OVERHEAD);
    be32_store(bytes + BATCH_AT_LEADER_EPOCH, (uint32_t)damage->leader_epoch);
    bytes[BATCH_AT_MAGIC] = 2;
    be32_store(bytes + BATCH_AT_LAST_OFFSET_DELTA,
               (uint32_t)(damage->next_offset - 1 - damage->offset));
    be64_store(bytes + BATCH_AT_BASE_TIMESTAMP, UINT64_MAX);
    be64_store(bytes + BATCH_AT_MAX_TIMESTAMP, UINT64_MAX);
    be64_store(bytes + BATCH_AT_PRODUCER_ID, UINT64_MAX);
    be16_store(bytes + BATCH_AT_PRODUCER_EPOCH, UINT16_MAX);
    be32_store(bytes + BATCH_AT_BASE_SEQUENCE, UINT32_MAX);
    be32_store(bytes + BATCH_AT_CRC, batch_crc_compute(slice_of(bytes, BATCH_HEADER_BYTES)));
}

/* What the write-ahead log has. */
static enum err write_entries(struct repairer *r, const struct damage *damage, struct io_file out,
                              uint64_t *to)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < damage->entry_count; i++) {
        const struct wal_entry *entry = &damage->entry[i];
        uint8_t *data = malloc(entry->len);
        if (!data)
            client_out_of_memory();
        err = wal_entry_read(r->group, r->io, entry, data);
        if (err == ERR_OK)
            err = io_write_now(r->io, out, data, entry->len, *to);
        *to += entry->len;
        free(data);
    }
    return err;
}

/* The segment without its damages, beside it; what they were is kept first. */
static enum err write_mended(struct repairer *r, const struct logfile *file, struct io_file out)
{
    uint64_t from = 0, to = 0;
    for (size_t i = 0; i <= r->damage_count; i++) {
        const struct damage *d = i < r->damage_count ? &r->damages[i] : NULL;
        uint64_t end = d ? d->from : file->bytes.len;
        TRY(io_write_now(r->io, out, file->bytes.data + from, end - from, to));
        to += end - from;
        if (!d)
            break;
        from = d->to;
        if (d->to > d->from) {
            char path[PATH_MAX_BYTES + 32];
            snprintf(path, sizeof(path), "%.980s.cut-%llu", file->path,
                     (unsigned long long)d->from);
            TRY(write_file(r, path, slice_of(file->bytes.data + d->from, d->to - d->from)));
        }
        if (d->entry) {
            TRY(write_entries(r, d, out, &to));
            continue;
        }
        if (d->next_offset <= d->offset)
            continue;
        uint8_t empty[BATCH_HEADER_BYTES];
        empty_batch(d, empty);
        TRY(io_write_now(r->io, out, empty, sizeof(empty), to));
        to += sizeof(empty);
    }
    return io_sync_now(r->io, out);
}

static enum err mend_segment(struct repairer *r, const struct logfile *file)
{
    char path[PATH_MAX_BYTES + 32];
    struct io_file out;
    snprintf(path, sizeof(path), "%.1000s.tmp", file->path);
    TRY(io_open(r->io, path, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &out));
    enum err err = write_mended(r, file, out);
    io_close(r->io, out);
    TRY(err);
    TRY(io_sync_dir(r->io, r->folder)); /* the copies are there before the originals go */
    TRY(io_rename(r->io, path, file->path));
    return io_sync_dir(r->io, r->folder);
}

/* --- the files beside the segments --- */

static enum err put_aside(struct repairer *r, const char *path)
{
    char bad[PATH_MAX_BYTES + 32];
    snprintf(bad, sizeof(bad), "%.1000s.bad", path);
    return io_rename(r->io, path, bad);
}

static bool is_rebuilt(enum logfile_kind kind)
{
    return kind == LOGFILE_INDEX || kind == LOGFILE_TIMEINDEX || kind == LOGFILE_PRODUCERS ||
           kind == LOGFILE_CHECKPOINT;
}

static int check_companion(void *arg, const struct logfile *file)
{
    struct repairer *r = arg;
    if (!is_rebuilt(file->kind))
        return EXIT_FINE;
    json_t *problems = log_verify_problems(file);
    if (json_array_size(problems) > 0) {
        const json_t *first = json_array_get(problems, 0);
        say(r, true, file->path, json_integer_value(json_object_get(first, "position")), "%s",
            json_string_value(json_object_get(first, "problem")));
        enum err err = r->applies ? put_aside(r, file->path) : ERR_OK;
        if (err != ERR_OK) {
            json_decref(problems);
            return refuse(file->path, "it cannot be put aside", err);
        }
    }
    json_decref(problems);
    return EXIT_FINE;
}

static void check_missing(struct repairer *r, int64_t base)
{
    static const char *const suffixes[] = {"index", "timeindex"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char name[64], path[PATH_MAX_BYTES];
        struct stat found;
        snprintf(name, sizeof(name), "%0*lld.%s", NAME_DIGITS, (long long)base, suffixes[i]);
        path_of(r, name, path);
        if (stat(path, &found) != 0 && errno == ENOENT)
            say(r, true, path, -1, "it is missing");
    }
}

/* --- a partition --- */

static int by_number(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static enum err on_name(void *arg, const char *cname, bool is_dir)
{
    struct repairer *r = arg;
    struct str name = str_of(cname);
    int64_t base;
    if (is_dir || name.len != NAME_DIGITS + 4 || strcmp(cname + NAME_DIGITS, ".log") != 0 ||
        parse_i64((struct str){cname, NAME_DIGITS}, &base) != ERR_OK || base < 0)
        return ERR_OK;
    int64_t *bases = realloc(r->bases, (r->base_count + 1) * sizeof(*bases));
    if (!bases)
        return ERR_NOMEM;
    r->bases = bases;
    r->bases[r->base_count++] = base;
    return ERR_OK;
}

static int repair_segment(struct repairer *r, size_t i, int64_t *offset, int32_t *epoch)
{
    char name[64], path[PATH_MAX_BYTES];
    struct logfile file;
    snprintf(name, sizeof(name), "%0*lld.log", NAME_DIGITS, (long long)r->bases[i]);
    path_of(r, name, path);
    int code = logfile_open(&file, path);
    if (code == EXIT_FINE) {
        if (*offset < r->bases[i])
            *offset = r->bases[i];
        scan_segment(r, &file, i + 1 < r->base_count ? r->bases[i + 1] : -1, offset, epoch);
        bool mends = tell_damages(r, path);
        enum err err = mends && r->applies ? mend_segment(r, &file) : ERR_OK;
        if (err != ERR_OK)
            code = refuse(path, "it cannot be mended", err);
        check_missing(r, r->bases[i]);
    }
    logfile_close(&file);
    return code;
}

/* What the write-ahead log has of the partition, and what tells which of it still counts. */
static void find_group(struct repairer *r)
{
    struct uuid topic_id;
    char path[PATH_MAX_BYTES];
    uint8_t *data = NULL;
    size_t len;
    r->group = NULL;
    r->lacks_topic_id = false;
    epochs_deinit(&r->epochs);
    epochs_init(&r->epochs);
    if (!r->has_replay || r->replay.groups.count == 0)
        return;
    r->lacks_topic_id = log_read_topic_id(r->io, r->folder, &topic_id) != ERR_OK;
    const char *dash = strrchr(r->folder, '-');
    int32_t index;
    if (r->lacks_topic_id || parse_i32(str_of(dash + 1), &index) != ERR_OK)
        return;
    r->group = wal_replay_find(&r->replay, topic_id, index);
    path_of(r, "leader-epoch-checkpoint", path);
    enum err err = io_read_file(r->io, path, (size_t)64 << 20, &data, &len);
    if (err == ERR_OK)
        err = epochs_parse(&r->epochs, (struct str){(const char *)data, len});
    if (err != ERR_OK) { /* it is built again; all that the write-ahead log has counts */
        epochs_deinit(&r->epochs);
        epochs_init(&r->epochs);
    }
    free(data);
}

/* A segment may be lost with all that only it and the write-ahead log had. */
static void tell_lost_segments(struct repairer *r, int64_t end_offset)
{
    for (size_t i = 0; r->group && i < r->group->count; i++) {
        const struct wal_entry *entry = &r->group->entries[i];
        bool is_there = false;
        for (size_t b = 0; b < r->base_count && !is_there; b++)
            is_there = r->bases[b] == entry->segment_base;
        if (is_there || !entry_fits(r, entry, end_offset))
            continue;
        say(r, false, r->folder, -1,
            "the write-ahead log has offsets from %lld on for segment %lld, which is not there",
            (long long)entry->base_offset, (long long)entry->segment_base);
        return;
    }
}

static int repair_partition(struct repairer *r)
{
    int64_t offset = 0;
    int32_t epoch = 0;
    size_t findings = json_array_size(r->findings), left = r->left;
    r->base_count = 0;
    enum err err = io_list(r->io, r->folder, on_name, r);
    if (err != ERR_OK)
        return refuse(r->folder, "it cannot be read", err);
    qsort(r->bases, r->base_count, sizeof(*r->bases), by_number);
    find_group(r);
    int code = EXIT_FINE;
    for (size_t i = 0; code == EXIT_FINE && i < r->base_count; i++)
        code = repair_segment(r, i, &offset, &epoch);
    tell_lost_segments(r, offset);
    const char *path = r->folder;
    if (code == EXIT_FINE)
        code = logfile_walk(&path, 1, check_companion, r);
    /* With damage that stays, opening would take the rest of the log for lost. */
    bool is_sound = r->left == left;
    if (code == EXIT_FINE && r->applies && is_sound && json_array_size(r->findings) > findings)
        code = log_rebuild(r->io, r->folder, r->parent);
    return code;
}

/* --- the command --- */

static void close_replay(struct repairer *r)
{
    if (r->has_replay)
        wal_replay_close(&r->replay);
    r->has_replay = false;
}

/* Reads the write-ahead log of the log folder, once. With the mark of a clean stop beside it, it is
 * of no use any more: Apache Kafka ran on the folder since. */
static int open_replay(struct repairer *r)
{
    char path[PATH_MAX_BYTES + 32];
    struct stat found;
    if (strcmp(r->replay_dir, r->parent) == 0)
        return EXIT_FINE;
    close_replay(r);
    snprintf(r->replay_dir, sizeof(r->replay_dir), "%s", r->parent);
    snprintf(path, sizeof(path), "%s/" LOGDIR_CLEAN_SHUTDOWN, r->parent);
    if (stat(path, &found) == 0)
        return EXIT_FINE;
    r->has_replay = true;
    enum err err = wal_replay_open(&r->replay, r->io, r->replay_dir, false);
    return err == ERR_OK ? EXIT_FINE : refuse(r->parent, "its write-ahead log cannot be read", err);
}

/* Of the log folder; a folder that is no broker's has no lock. */
static int enter_parent(struct repairer *r, struct io_file *lock)
{
    char path[PATH_MAX_BYTES + 16];
    snprintf(path, sizeof(path), "%s/.lock", r->parent);
    *lock = IO_FILE_NONE;
    enum err err = io_open(r->io, path, IO_OPEN_WRITE, lock);
    if (err == ERR_NOENT) {
        *lock = IO_FILE_NONE;
        return EXIT_FINE;
    }
    if (err == ERR_OK)
        err = io_lock(r->io, *lock);
    if (err == ERR_BUSY)
        return refuse(r->parent, "a broker runs on this folder: stop it first", err);
    return err == ERR_OK ? EXIT_FINE : refuse(path, "it cannot be locked", err);
}

static bool is_partition(const char *folder)
{
    const char *name = strrchr(folder, '/');
    const char *dash = name ? strrchr(name, '-') : NULL;
    int32_t index;
    return dash && dash > name + 1 && parse_i32(str_of(dash + 1), &index) == ERR_OK && index >= 0 &&
           dash[1] != '+';
}

static int repair_here(struct repairer *r)
{
    struct io_file lock;
    snprintf(r->parent, sizeof(r->parent), "%.*s", (int)(strrchr(r->folder, '/') - r->folder),
             r->folder);
    int code = enter_parent(r, &lock);
    if (code == EXIT_FINE)
        code = open_replay(r);
    if (code == EXIT_FINE)
        code = repair_partition(r);
    if (!IO_FILE_IS_NONE(lock))
        io_close(r->io, lock);
    return code;
}

static int repair_all_in(struct repairer *r, const char *folder)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    int code = count < 0 ? refuse(folder, "it cannot be read", ERR_NOENT) : EXIT_FINE;
    for (int i = 0; i < count; i++) {
        snprintf(r->folder, sizeof(r->folder), "%.700s/%s", folder, names[i]->d_name);
        if (code == EXIT_FINE && names[i]->d_type == DT_DIR && is_partition(r->folder))
            code = repair_here(r);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    return code;
}

static int repair_path(struct repairer *r, const char *path)
{
    char *real = realpath(path, NULL);
    struct stat found;
    if (!real || stat(real, &found) != 0 || !S_ISDIR(found.st_mode)) {
        fprintf(stderr, "taffrail: %s: there is no such folder\n", path);
        free(real);
        return EXIT_NOT_FOUND;
    }
    snprintf(r->folder, sizeof(r->folder), "%s", real);
    int code = is_partition(real) ? repair_here(r) : repair_all_in(r, real);
    free(real);
    return code;
}

static int print_summary(const struct repairer *r)
{
    size_t count = json_array_size(r->findings);
    int code = r->left ? EXIT_REFUSED : EXIT_FINE;
    if (args_is_json(r->args)) {
        int failed = out_json(json_pack("{s:O, s:I, s:b}", "findings", r->findings, "left",
                                        (json_int_t)r->left, "applied", r->applies));
        return failed ? failed : code;
    }
    if (count == 0)
        printf("nothing to mend\n");
    else if (!r->applies)
        printf("%zu found. Nothing was changed: --apply does it\n", count);
    else
        printf("%zu found, %zu mended\n", count, count - r->left);
    return code;
}

int log_repair_run(const struct args *args)
{
    struct repairer r = {.args = args,
                         .applies = args_has(args, "apply"),
                         .drops = args_has(args, "drop-damaged"),
                         .findings = json_array()};
    int code = EXIT_FINE;
    enum err err = io_real_create(IO_DISK_THREADS, &r.io);
    if (err != ERR_OK)
        code = refuse("the disk", "it cannot be used", err);
    for (size_t i = 0; code == EXIT_FINE && i < args->operand_count; i++)
        code = repair_path(&r, args->operands[i]);
    if (code == EXIT_FINE)
        code = print_summary(&r);
    close_replay(&r);
    if (err == ERR_OK)
        io_destroy(r.io);
    epochs_deinit(&r.epochs);
    json_decref(r.findings);
    free(r.bases);
    free(r.damages);
    return code;
}
