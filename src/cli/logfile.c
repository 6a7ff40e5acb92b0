/* The files that a log folder holds, byte for byte (all numbers big-endian):
 *
 *   NNN.log        record batches, one behind the other (wire/batch.c); NNN is the base offset
 *   NNN.index      8 bytes an entry: u32 offset - NNN | u32 position in NNN.log
 *   NNN.timeindex  12 bytes: i64 timestamp | u32 offset - NNN
 *   NNN.txnindex   34 bytes: i16 version 0 | i64 producer | i64 first | i64 last | i64 last stable
 *   NNN.snapshot   i16 version 1 | u32 CRC-32C of the rest | i32 count | 46 bytes a producer:
 *                  i64 id | i16 epoch | i32 sequence | i64 offset | i32 delta | i64 timestamp
 *                  | i32 coordinator epoch | i64 first offset of an open transaction or -1
 *
 * A broker preallocates indexes with zeros and cuts them when it stops; after a crash the zeros are
 * still there. No entry points at a segment's first batch, so an entry of zeros is none. */
#include "cli/logfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/parse.h"
#include "cli/client.h"
#include "cli/out.h"
#include "log/names.h"

/* ---- names ---- */

enum logfile_kind logfile_kind_of(const char *name)
{
    static const struct {
        const char *end;
        enum logfile_kind kind;
    } ends[] = {{".log", LOGFILE_SEGMENT},           {".index", LOGFILE_INDEX},
                {".timeindex", LOGFILE_TIMEINDEX},   {".txnindex", LOGFILE_TXNINDEX},
                {".snapshot", LOGFILE_PRODUCERS},    {".checkpoint", LOGFILE_METADATA},
                {"-checkpoint", LOGFILE_CHECKPOINT}, {"partition.metadata", LOGFILE_TEXT},
                {"meta.properties", LOGFILE_TEXT},   {"quorum-state", LOGFILE_TEXT}};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (str_ends_with(str_of(name), str_of(ends[i].end)))
            return ends[i].kind;
    }
    return LOGFILE_OTHER;
}

/* "00000000000000000042.log": 42. */
static int64_t base_offset_of(const char *name)
{
    int64_t offset;
    struct str digits = {name, strspn(name, "0123456789")};
    if (digits.len != 20 || parse_i64(digits, &offset) != ERR_OK)
        return -1;
    return offset;
}

/* The folder that the file is in, without the path before it. */
static struct str folder_of(const char *path)
{
    const char *end = strrchr(path, '/');
    if (!end)
        return STR("");
    const char *from = memrchr(path, '/', (size_t)(end - path));
    from = from ? from + 1 : path;
    return (struct str){from, (size_t)(end - from)};
}

static bool family_of(const char *path, enum logfile_kind kind, enum record_family *family)
{
    static const struct {
        const char *topic;
        enum record_family family;
    } topics[] = {{"__consumer_offsets-", RECORD_GROUP},
                  {"__transaction_state-", RECORD_TRANSACTION},
                  {"__share_group_state-", RECORD_SHARE},
                  {"__cluster_metadata-", RECORD_METADATA}};
    char *whole = realpath(path, NULL);
    struct str folder = folder_of(whole ? whole : path);
    bool found = kind == LOGFILE_METADATA;
    *family = RECORD_METADATA;
    for (size_t i = 0; i < ARRAY_LEN(topics) && !found; i++) {
        size_t len = strlen(topics[i].topic);
        found = folder.len > len && memcmp(folder.data, topics[i].topic, len) == 0;
        *family = topics[i].family;
    }
    free(whole);
    return found;
}

/* ---- open ---- */

static void on_bus_error(int number)
{
    static const char text[] = "taffrail: a file shrank while it was read; is a broker running on "
                               "this folder? Stop it first\n";
    (void)number;
    ssize_t done = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)done;
    _exit(EXIT_REFUSED);
}

static int fail_open(const char *path)
{
    return out_fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_REFUSED, "%s: %s", path,
                    strerror(errno));
}

int logfile_open(struct logfile *file, const char *path)
{
    struct stat stat;
    const char *slash = strrchr(path, '/');
    *file = (struct logfile){.path = path, .name = slash ? slash + 1 : path};
    file->kind = logfile_kind_of(file->name);
    file->base_offset = base_offset_of(file->name);
    file->bytes = slice_of("", 0);
    file->has_family = family_of(path, file->kind, &file->family);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_open(path);
    void *map = NULL;
    bool failed = fstat(fd, &stat) < 0;
    if (!failed && stat.st_size > 0) {
        map = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        failed = map == MAP_FAILED;
    }
    int code = failed ? fail_open(path) : EXIT_FINE;
    close(fd);
    if (!failed && map) {
        signal(SIGBUS, on_bus_error);
        madvise(map, (size_t)stat.st_size, MADV_SEQUENTIAL);
        file->bytes = slice_of(map, (size_t)stat.st_size);
    }
    return code;
}

void logfile_close(struct logfile *file)
{
    if (file->bytes.len)
        munmap((void *)(uintptr_t)file->bytes.data, file->bytes.len);
    file->bytes = SLICE_NULL;
}

/* ---- walk ---- */

static int visit_file(const char *path, logfile_visit *visit, void *visitor)
{
    struct logfile file;
    int code = logfile_open(&file, path);
    if (!code)
        code = visit(visitor, &file);
    logfile_close(&file);
    return code;
}

/* A folder on the walk. Which names belong in it is known of a partition's, and of a log folder. */
struct visited {
    const char *path;
    struct str name;
    int depth;
    bool is_partition, is_log_folder;
};

static bool is_foreign(const struct visited *folder, const char *name, bool is_dir)
{
    if (folder->is_partition)
        return !name_is_of_partition(folder->name, str_of(name), is_dir);
    return folder->is_log_folder && !name_is_of_log_folder(str_of(name), is_dir);
}

static int visit_entry(const struct visited *folder, const char *name, logfile_visit *visit,
                       void *visitor);

/* Only a log folder has its cluster's id in it. */
static bool has_properties(const char *folder)
{
    char *path;
    struct stat found;
    if (asprintf(&path, "%s/meta.properties", folder) < 0)
        client_out_of_memory();
    bool is_there = stat(path, &found) == 0;
    free(path);
    return is_there;
}

/* Files and folders in the order of their names. */
static int visit_folder(const char *path, int depth, logfile_visit *visit, void *visitor)
{
    struct dirent **entries;
    char *whole = realpath(path, NULL);
    int count = whole ? scandir(path, &entries, NULL, alphasort) : -1, code = EXIT_FINE;
    if (count < 0) {
        free(whole);
        return fail_open(path);
    }
    struct visited folder = {.path = path, .name = str_of(strrchr(whole, '/') + 1), .depth = depth};
    folder.is_partition = name_is_partition(folder.name);
    folder.is_log_folder = !folder.is_partition && has_properties(path);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (!code && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            code = visit_entry(&folder, name, visit, visitor);
        free(entries[i]);
    }
    free(entries);
    free(whole);
    return code;
}

static int visit_entry(const struct visited *folder, const char *name, logfile_visit *visit,
                       void *visitor)
{
    struct stat stat_buf;
    char *path;
    size_t len = strlen(folder->path);
    if (asprintf(&path, "%s%s%s", folder->path, len && folder->path[len - 1] == '/' ? "" : "/",
                 name) < 0)
        client_out_of_memory();
    int code = EXIT_FINE;
    struct logfile foreign = {.path = path, .name = path + strlen(path) - strlen(name)};
    foreign.kind = LOGFILE_FOREIGN;
    foreign.bytes = slice_of("", 0);
    if (stat(path, &stat_buf) < 0)
        code = fail_open(path);
    else if (is_foreign(folder, name, S_ISDIR(stat_buf.st_mode)))
        code = visit(visitor, &foreign);
    else if (S_ISDIR(stat_buf.st_mode) && folder->depth == 0)
        code = visit_folder(path, folder->depth + 1, visit, visitor);
    else if (S_ISREG(stat_buf.st_mode) && logfile_kind_of(name) != LOGFILE_OTHER)
        code = visit_file(path, visit, visitor);
    free(path);
    return code;
}

int logfile_walk(const char *const *paths, size_t count, logfile_visit *visit, void *visitor)
{
    int code = EXIT_FINE;
    for (size_t i = 0; i < count && !code; i++) {
        struct stat stat_buf;
        if (stat(paths[i], &stat_buf) < 0)
            code = fail_open(paths[i]);
        else if (S_ISDIR(stat_buf.st_mode))
            code = visit_folder(paths[i], 0, visit, visitor);
        else if (logfile_kind_of(paths[i]) == LOGFILE_OTHER)
            code = out_fail(EXIT_USAGE,
                            "%s is not a file of a log folder: those end in .log, .index, "
                            ".timeindex, .txnindex, .snapshot or checkpoint",
                            paths[i]);
        else
            code = visit_file(paths[i], visit, visitor);
    }
    return code;
}

/* ---- entries ---- */

static bool is_zero(const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (at[i])
            return false;
    }
    return true;
}

/* Entries before the zeros. */
static size_t count_used(const struct logfile *file, size_t entry_bytes)
{
    size_t count = file->bytes.len / entry_bytes;
    while (count > 0 && is_zero(file->bytes.data + (count - 1) * entry_bytes, entry_bytes))
        count--;
    return count;
}

size_t index_count(const struct logfile *file)
{
    return count_used(file, INDEX_ENTRY_BYTES);
}

size_t timeindex_count(const struct logfile *file)
{
    return count_used(file, TIMEINDEX_ENTRY_BYTES);
}

static int64_t i64_at(const uint8_t *at)
{
    return (int64_t)be64_load(at);
}

struct index_entry index_at(const struct logfile *file, size_t n)
{
    const uint8_t *at = file->bytes.data + n * INDEX_ENTRY_BYTES;
    ASSERT((n + 1) * INDEX_ENTRY_BYTES <= file->bytes.len);
    return (struct index_entry){file->base_offset + be32_load(at), be32_load(at + 4)};
}

struct timeindex_entry timeindex_at(const struct logfile *file, size_t n)
{
    const uint8_t *at = file->bytes.data + n * TIMEINDEX_ENTRY_BYTES;
    ASSERT((n + 1) * TIMEINDEX_ENTRY_BYTES <= file->bytes.len);
    return (struct timeindex_entry){i64_at(at), file->base_offset + be32_load(at + 8)};
}

struct txnindex_entry txnindex_at(const struct logfile *file, size_t n)
{
    const uint8_t *at = file->bytes.data + n * TXNINDEX_ENTRY_BYTES;
    ASSERT((n + 1) * TXNINDEX_ENTRY_BYTES <= file->bytes.len);
    return (struct txnindex_entry){i64_at(at + 2), i64_at(at + 10), i64_at(at + 18),
                                   i64_at(at + 26)};
}

struct producer_entry producers_at(const struct logfile *file, size_t n)
{
    size_t from = PRODUCERS_HEAD_BYTES + n * PRODUCERS_ENTRY_BYTES;
    const uint8_t *at = file->bytes.data + from;
    ASSERT(from + PRODUCERS_ENTRY_BYTES <= file->bytes.len);
    return (struct producer_entry){
        .producer_id = i64_at(at),
        .epoch = (int16_t)be16_load(at + 8),
        .last_sequence = (int32_t)be32_load(at + 10),
        .last_offset = i64_at(at + 14),
        .offset_delta = (int32_t)be32_load(at + 22),
        .timestamp_ms = i64_at(at + 26),
        .coordinator_epoch = (int32_t)be32_load(at + 34),
        .transaction_first_offset = i64_at(at + 38),
    };
}
