/* taffrail log repair: mends what can be mended in the folders of partitions, without a broker.
 *
 * First everything is looked at and said; with --apply it is then done:
 *
 *   the end of the last segment is no batch       cut off
 *   a damaged batch, or junk between batches      left alone without --drop-damaged; with it an
 *                                                 empty batch takes its place, as compaction
 *                                                 leaves them, so that no offset is missing
 *   an index, snapshot or epoch file is wrong     put aside as NAME.bad and built again
 *   an index is missing                           built again
 *
 * What is cut out of a segment is kept beside it as NNN.log.cut-BYTE. After that the log is opened
 * as after a crash and closed as by a clean stop, which builds all the rest. A folder that a broker
 * uses, or whose write-ahead log may still hold batches, is refused. */
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
#include "log/wal.h"

#define PATH_MAX_BYTES 1024
#define NAME_DIGITS    20

/* Bytes of a segment that are no whole batch. */
struct damage {
    uint64_t from, to;
    int64_t offset, next_offset; /* what is lost: [offset, next_offset); -1: the rest of the log */
    int32_t leader_epoch;
    bool is_tail; /* a crash leaves such an end: it may go without more ado */
};

struct repairer {
    const struct args *args;
    struct io *io;
    bool applies, drops;
    json_t *findings;
    size_t left;                 /* findings that stay */
    char folder[PATH_MAX_BYTES]; /* the partition's */
    char parent[PATH_MAX_BYTES];
    bool has_wal;
    int64_t *bases; /* of its segments, ascending */
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

/* Notes what is wrong with a segment. *offset is what its first record should have, then what
 * follows its last one. */
static void scan(struct repairer *r, const struct logfile *file, int64_t next_base, int64_t *offset,
                 int32_t *epoch)
{
    struct slice all = file->bytes;
    struct batch batch;
    uint64_t at = 0;
    r->damage_count = 0;
    while (at < all.len) {
        struct slice rest = slice_of(all.data + at, all.len - at);
        if (!is_whole(rest, *offset, &batch)) {
            bool is_framed = batch_load(rest, &batch) == ERR_OK;
            struct damage damage = {.from = at, .offset = *offset, .leader_epoch = *epoch};
            damage.to = find_batch(all, at + 1, *offset, &batch);
            bool is_end = damage.to == all.len;
            damage.next_offset = is_end ? next_base : batch.base_offset;
            damage.is_tail = is_end && next_base < 0 && !is_framed;
            add_damage(r, damage);
            at = damage.to;
            if (damage.next_offset > *offset)
                *offset = damage.next_offset;
            continue;
        }
        at += batch.size;
        *offset = batch.last_offset + 1;
        *epoch = batch.leader_epoch;
    }
}

static bool tell_damages(struct repairer *r, const char *path)
{
    bool is_mended = false;
    for (size_t i = 0; i < r->damage_count; i++) {
        const struct damage *d = &r->damages[i];
        bool mends = (d->is_tail || r->drops) && !r->has_wal;
        const char *why = r->has_wal ? ". The broker did not stop cleanly, and its write-ahead log "
                                       "may hold more: start and stop it first"
                          : mends    ? ""
                                     : ". With --drop-damaged they are given up";
        if (d->next_offset < 0)
            say(r, mends, path, (int64_t)d->from,
                "%llu bytes up to the end are no whole batch, from offset %lld on%s",
                (unsigned long long)(d->to - d->from), (long long)d->offset, why);
        else
            say(r, mends, path, (int64_t)d->from,
                "%llu bytes are no whole batch, where offsets %lld to %lld belong%s",
                (unsigned long long)(d->to - d->from), (long long)d->offset,
                (long long)d->next_offset - 1, why);
        is_mended |= mends;
    }
    return is_mended;
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
        char path[PATH_MAX_BYTES + 32];
        snprintf(path, sizeof(path), "%.980s.cut-%llu", file->path, (unsigned long long)d->from);
        TRY(write_file(r, path, slice_of(file->bytes.data + d->from, d->to - d->from)));
        from = d->to;
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
        scan(r, &file, i + 1 < r->base_count ? r->bases[i + 1] : -1, offset, epoch);
        bool mends = tell_damages(r, path);
        for (size_t d = 0; d < r->damage_count; d++)
            mends = mends && (r->damages[d].is_tail || r->drops);
        enum err err = mends && r->applies ? mend_segment(r, &file) : ERR_OK;
        if (err != ERR_OK)
            code = refuse(path, "it cannot be mended", err);
        check_missing(r, r->bases[i]);
    }
    logfile_close(&file);
    return code;
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
    int code = EXIT_FINE;
    for (size_t i = 0; code == EXIT_FINE && i < r->base_count; i++)
        code = repair_segment(r, i, &offset, &epoch);
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

static enum err find_wal(void *arg, const char *name, bool is_dir)
{
    struct repairer *r = arg;
    r->has_wal |= !is_dir && strncmp(name, WAL_FILE_PREFIX, strlen(WAL_FILE_PREFIX)) == 0;
    return ERR_OK;
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
    r->has_wal = false;
    int code = enter_parent(r, &lock);
    if (code == EXIT_FINE && io_list(r->io, r->parent, find_wal, r) != ERR_OK)
        code = EXIT_REFUSED;
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
    if (err == ERR_OK)
        io_destroy(r.io);
    json_decref(r.findings);
    free(r.bases);
    free(r.damages);
    return code;
}
