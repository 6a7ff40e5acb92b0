/* Writing the write-ahead log; see wal.h.
 *
 * Runs on: the shard that it belongs to.
 *
 * Files of a fixed size, written through with zeros before they are used, so that a commit changes
 * nothing but its own blocks, and used over and over. A file is a row of commits from byte 0 on,
 * each at a multiple of 4096 and written by one durable write. A commit, big-endian:
 *
 *    0  u32  magic "TFWL"
 *    4  u32  CRC32C of what follows, up to the length
 *    8  u8   version 1; three bytes of zero
 *   12  u32  length of the commit; zeros fill its last block
 *   16  u64  run: a random number that each start draws
 *   24  u64  sequence: of this use of the file; greater than that of every earlier use of any
 *   32  u64  number: of the commit in its run; the one before it has number - 1
 *   40  u64  number of the first commit of this use of the file
 *   48  u32  count of records
 *   52  records:
 *        0  16   topic id
 *       16  i32  partition
 *       20  u32  length of the batches
 *       24  i64  base offset of the segment
 *       32  u32  position in the segment's file
 *       36       record batches, as they stand there
 *
 * Validity. A commit counts if its checksum holds, if it has the greatest sequence of all in its
 * file, and if all commits between the first of the oldest use in its run and itself are there.
 * What an earlier use left behind the end has a lesser sequence. Files are set free, and used
 * again, in the order in which they were filled: so the numbers of a run never have a hole, but
 * where a crash came before the writes of the last commits were done. Of those at most WAL_WINDOW
 * are under way, and nobody was told of one whose predecessor was not done: a hole with a commit
 * WAL_WINDOW or more behind it is damage.
 *
 * A record is a run of whole batches that continues what is durable of its log: everything before
 * it is flushed in the segments, or is in an earlier record. So a log that is read up to its
 * recovery point and goes on with its records has no hole.
 *
 * A file that is full waits until its logs have flushed what it holds (`claims`); they are asked,
 * a few at a time, oldest file first.
 *
 * What a crash leaves: the files. The next run begins new ones and removes these when all that they
 * hold is flushed. A clean stop removes them. */
#include "log/wal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "base/plant.h"
#include "log/wal_format.h"

#define PATH_BYTES_MAX 1100

/* One is filled, WAL_WINDOW are written, one waits between. */
#define COMMITS_MAX (WAL_WINDOW + 2)
/* What is written at a time when a file is made. */
#define ZERO_BYTES ((size_t)256 << 10)
/* How long to wait after one log's flush before the next is asked for: each costs the disk a commit
 * of its file system, and the writes of the meantime wait behind it. */
#define FLUSH_PAUSE_NS UINT64_C(4000000)
/* Logs that flush at the same time for us, where no file is free. */
#define FLUSHES_MAX 8
/* After a file could not be made for want of space. */
#define NO_SPACE_PAUSE_MS 10000
/* A disk with room for fewer files than this keeps it for the records. */
#define SPARE_FILES_MIN 8

enum file_state { FILE_MAKING, FILE_FREE, FILE_CURRENT, FILE_FULL };

struct wal_file {
    struct list link; /* of its state; FILE_MAKING and FILE_CURRENT: none */
    enum file_state state;
    struct io_file file;
    uint64_t name;
    uint64_t sequence;
    uint64_t first; /* number of the first commit of this use */
    uint64_t used;  /* bytes of commits, those not yet written included */
    struct list claims;
    uint32_t commits; /* begun and not yet done */
    bool is_pinned;   /* a log went without flushing: never used again */
};

/* A client's records in a file, up to an offset. */
struct claim {
    struct list file_link, client_link;
    struct wal_client *client;
    struct wal_file *file;
    int64_t end_offset;
    bool is_asked;
};

enum commit_state { COMMIT_FILLING, COMMIT_CLOSED, COMMIT_WRITING, COMMIT_DONE };

struct commit {
    struct wal *wal;
    enum commit_state state;
    uint8_t *data; /* options.commit_bytes, aligned; kept for the next */
    size_t len;
    uint32_t count;
    uint64_t number;
    struct wal_file *file;
    uint64_t at;
    struct list waits;
    struct io_op op;
};

struct wal {
    struct io *io;
    char *dir;
    struct wal_options options;
    uint64_t run;
    uint64_t number; /* of the next commit */
    struct list clients;
    struct io_timer timer; /* the end of a turn: commits go out */

    struct wal_file *current; /* NULL: none */
    struct list free_files, full_files;
    uint32_t file_count;
    uint32_t flushes; /* asked for and not done */
    struct io_timer flush_timer;

    struct wal_file *making; /* NULL: none */
    uint8_t *zeros;
    struct io_op making_op;
    uint64_t make_at_ms;

    struct commit commits[COMMITS_MAX]; /* a ring: `count` from `first` on, oldest first */
    uint32_t first, count;

    bool is_stopping, is_failed;
    bool is_short_said; /* that there is no space for a file */
    bool is_told;       /* of the failure: the clients */
    enum err failure;
    const char *failure_text;
    struct wal_stats stats;
};

static void on_timer(struct io_timer *timer);
static void on_flush_timer(struct io_timer *timer);
static void on_made(struct io_op *op);
static void on_committed(struct io_op *op);

static void file_path(const struct wal *wal, uint64_t name, char path[PATH_BYTES_MAX])
{
    int len = snprintf(path, PATH_BYTES_MAX, "%s/" WAL_FILE_PREFIX "%" PRIu32 "-%" PRIu64, wal->dir,
                       wal->options.shard, name);
    ASSERT(len > 0 && len < PATH_BYTES_MAX);
}

enum err wal_create(struct io *io, const char *dir, const struct wal_options *options,
                    struct wal **out)
{
    ASSERT(options->file_bytes % WAL_BLOCK_BYTES == 0 && options->files_max > 0);
    ASSERT(options->commit_bytes % WAL_BLOCK_BYTES == 0);
    ASSERT(options->commit_bytes > 0 && options->commit_bytes <= WAL_COMMIT_BYTES);
    ASSERT(options->file_bytes >= (uint64_t)2 * options->commit_bytes);
    if (strlen(dir) > PATH_BYTES_MAX - 64)
        return ERR_LIMIT;
    struct wal *wal = calloc(1, sizeof(*wal));
    if (!wal)
        return ERR_NOMEM;
    wal->dir = strdup(dir);
    if (!wal->dir) {
        free(wal);
        return ERR_NOMEM;
    }
    wal->io = io;
    wal->options = *options;
    wal->run = io_random(io);
    list_init(&wal->clients);
    list_init(&wal->free_files);
    list_init(&wal->full_files);
    io_timer_init(&wal->timer, on_timer);
    io_timer_init(&wal->flush_timer, on_flush_timer);
    for (size_t i = 0; i < COMMITS_MAX; i++) {
        wal->commits[i].wal = wal;
        list_init(&wal->commits[i].waits);
    }
    *out = wal;
    return ERR_OK;
}

void wal_stats(const struct wal *wal, struct wal_stats *stats)
{
    *stats = wal->stats;
    stats->files = wal->file_count;
}

bool wal_is_idle(const struct wal *wal)
{
    return wal->count == 0 && !wal->making;
}

void wal_stop(struct wal *wal)
{
    wal->is_stopping = true;
}

/* --- failing --- */

static void wake(struct wal *wal)
{
    io_timer_start(wal->io, &wal->timer, io_now_ns(wal->io));
}

/* From here on nothing is acknowledged. The clients hear of it in the next turn, before anything
 * that is under way for them can end. */
static void wal_fail(struct wal *wal, enum err err, const char *what)
{
    if (wal->is_failed)
        return;
    wal->is_failed = true;
    wal->failure = err;
    wal->failure_text = what;
    wake(wal);
}

static void drop_unwritten(struct wal *wal);

static void tell_failure(struct wal *wal)
{
    if (wal->is_told)
        return;
    wal->is_told = true;
    LIST_FOREACH_SAFE (node, &wal->clients) {
        struct wal_client *client = LIST_ENTRY(node, struct wal_client, link);
        client->failed(client, wal->failure, wal->failure_text);
    }
    for (uint32_t i = 0; i < COMMITS_MAX; i++) /* their logs ended who waited */
        ASSERT(list_is_empty(&wal->commits[i].waits));
    drop_unwritten(wal);
}

/* --- files --- */

static void file_free(struct wal *wal, struct wal_file *file)
{
    if (!IO_FILE_IS_NONE(file->file))
        io_close(wal->io, file->file);
    list_remove(&file->link);
    wal->file_count--;
    free(file);
}

static void making_ended(struct wal *wal)
{
    wal->making = NULL;
    free(wal->zeros);
    wal->zeros = NULL;
}

static void say_no_file(struct wal *wal, const char *why)
{
    wal->make_at_ms = io_now_ms(wal->io) + NO_SPACE_PAUSE_MS;
    if (!wal->is_short_said)
        diag_warn("wal",
                  "%s: no file for the write-ahead log can be made: %s; acknowledgements wait "
                  "for a flush of each partition meanwhile",
                  wal->dir, why);
    wal->is_short_said = true;
}

static bool has_space(struct wal *wal)
{
    uint64_t total, usable;
    return io_space(wal->io, wal->dir, &total, &usable) != ERR_OK ||
           usable / SPARE_FILES_MIN >= wal->options.file_bytes;
}

/* The file is taken away again. Without space the logs flush for themselves; any other failure is
 * the folder's. */
static void give_up_making(struct wal *wal, enum err err)
{
    char path[PATH_BYTES_MAX];
    struct wal_file *file = wal->making;
    file_path(wal, file->name, path);
    making_ended(wal);
    file_free(wal, file);
    enum err unlink_err = io_unlink_now(wal->io, path);
    if (unlink_err != ERR_OK && unlink_err != ERR_NOENT && err == ERR_NOSPACE)
        err = unlink_err;
    if (err == ERR_CANCELLED)
        return;
    if (err != ERR_NOSPACE && err != ERR_NOMEM) {
        wal_fail(wal, err, "a file of the write-ahead log could not be made");
        return;
    }
    say_no_file(wal, err_text(err));
}

static void make_more(struct wal *wal)
{
    struct wal_file *file = wal->making;
    uint64_t left = wal->options.file_bytes - file->used;
    size_t len = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES;
    io_write_durable(wal->io, &wal->making_op, file->file, wal->zeros, len, file->used, on_made);
    file->used += len;
}

static void on_made(struct io_op *op)
{
    struct wal *wal = CONTAINER_OF(op, struct wal, making_op);
    struct wal_file *file = wal->making;
    enum err err = wal->is_stopping || wal->is_failed ? ERR_CANCELLED : op->err;
    if (err == ERR_OK && file->used < wal->options.file_bytes) {
        make_more(wal);
        return;
    }
    if (err == ERR_OK)
        err = io_sync_dir(wal->io, wal->dir);
    if (err != ERR_OK) {
        give_up_making(wal, err);
        return;
    }
    making_ended(wal);
    wal->is_short_said = false;
    file->state = FILE_FREE;
    list_push_back(&wal->free_files, &file->link);
}

/* Begins another file, in the background, if there may be one more. */
static void make_file(struct wal *wal)
{
    if (wal->making || wal->is_stopping || wal->is_failed ||
        wal->file_count == wal->options.files_max || io_now_ms(wal->io) < wal->make_at_ms)
        return;
    if (!has_space(wal)) {
        say_no_file(wal, "the disk is nearly full");
        return;
    }
    struct wal_file *file = calloc(1, sizeof(*file));
    void *zeros = aligned_alloc(WAL_BLOCK_BYTES, ZERO_BYTES);
    if (!file || !zeros) {
        free(file);
        free(zeros);
        return;
    }
    memset(zeros, 0, ZERO_BYTES);
    list_init(&file->link);
    list_init(&file->claims);
    file->state = FILE_MAKING;
    file->name = wal->options.next_name++;
    wal->zeros = zeros;
    wal->making = file;
    wal->file_count++;
    char path[PATH_BYTES_MAX];
    file_path(wal, file->name, path);
    enum err err =
        io_open(wal->io, path, IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE | IO_OPEN_DIRECT, &file->file);
    if (err != ERR_OK)
        give_up_making(wal, err);
    else
        make_more(wal);
}

/* A file is free when nothing in it is of use, and none that was filled before it is in use. */
static void free_full_files(struct wal *wal)
{
    while (!list_is_empty(&wal->full_files)) {
        struct wal_file *file = LIST_ENTRY(wal->full_files.next, struct wal_file, link);
        bool is_needed = !list_is_empty(&file->claims) && !PLANTED(WAL_REUSE_BEFORE_FLUSH);
        if (is_needed || file->commits > 0 || file->is_pinned || wal->is_failed)
            return;
        list_remove(&file->link);
        file->state = FILE_FREE;
        list_push_back(&wal->free_files, &file->link);
    }
}

static uint32_t flushes_max(const struct wal *wal)
{
    bool is_short = list_is_empty(&wal->free_files) && wal->file_count == wal->options.files_max;
    return is_short ? FLUSHES_MAX : 1;
}

/* Asks the logs whose records are oldest to flush. */
static void on_flush_timer(struct io_timer *timer)
{
    struct wal *wal = CONTAINER_OF(timer, struct wal, flush_timer);
    LIST_FOREACH_SAFE (node, &wal->full_files) {
        struct wal_file *file = LIST_ENTRY(node, struct wal_file, link);
        for (struct list *at = file->claims.next; at != &file->claims && !wal->is_failed;
             at = at->next) {
            struct claim *claim = LIST_ENTRY(at, struct claim, file_link);
            if (wal->flushes >= flushes_max(wal))
                return;
            if (claim->is_asked)
                continue;
            claim->is_asked = true;
            wal->flushes++;
            claim->client->flush(claim->client);
        }
    }
}

static void flush_more(struct wal *wal)
{
    if (list_is_empty(&wal->full_files) || wal->is_failed || wal->flushes >= flushes_max(wal))
        return;
    uint64_t pause_ns = flushes_max(wal) > 1 ? 0 : FLUSH_PAUSE_NS;
    if (!wal->flush_timer.armed || pause_ns == 0)
        io_timer_start(wal->io, &wal->flush_timer, io_now_ns(wal->io) + pause_ns);
}

/* Takes the next file for commits; the one before is full. False: there is none. */
static bool next_file(struct wal *wal)
{
    if (wal->current) {
        wal->current->state = FILE_FULL;
        list_push_back(&wal->full_files, &wal->current->link);
        wal->current = NULL;
        free_full_files(wal);
    }
    if (list_is_empty(&wal->free_files)) {
        make_file(wal);
        flush_more(wal);
        return false;
    }
    wal->current = LIST_ENTRY(list_pop_front(&wal->free_files), struct wal_file, link);
    wal->current->state = FILE_CURRENT;
    wal->current->sequence = wal->options.next_sequence++;
    wal->current->first = wal->number;
    wal->current->used = 0;
    flush_more(wal);
    return true;
}

/* --- claims --- */

static void claim_free(struct wal *wal, struct claim *claim)
{
    if (claim->is_asked)
        wal->flushes--;
    list_remove(&claim->file_link);
    list_remove(&claim->client_link);
    free(claim);
}

static bool claim_note(struct wal_client *client, struct wal_file *file, int64_t end_offset)
{
    struct claim *claim = NULL;
    if (!list_is_empty(&client->claims))
        claim = LIST_ENTRY(client->claims.prev, struct claim, client_link);
    if (!claim || claim->file != file) {
        claim = calloc(1, sizeof(*claim));
        if (!claim)
            return false;
        claim->client = client;
        claim->file = file;
        list_init(&claim->file_link);
        list_init(&claim->client_link);
        list_push_back(&file->claims, &claim->file_link);
        list_push_back(&client->claims, &claim->client_link);
    }
    claim->end_offset = end_offset;
    return true;
}

void wal_add_client(struct wal *wal, struct wal_client *client)
{
    ASSERT(client->flush && client->failed);
    list_init(&client->claims);
    list_init(&client->link);
    list_push_back(&wal->clients, &client->link);
}

/* After claims went. */
static void go_on(struct wal *wal)
{
    free_full_files(wal);
    flush_more(wal);
}

void wal_remove_client(struct wal *wal, struct wal_client *client, bool is_covered)
{
    if (list_is_empty(&client->claims)) {
        list_remove(&client->link);
        return;
    }
    LIST_FOREACH_SAFE (node, &client->claims) {
        struct claim *claim = LIST_ENTRY(node, struct claim, client_link);
        if (!is_covered)
            claim->file->is_pinned = true;
        claim_free(wal, claim);
    }
    list_remove(&client->link);
    go_on(wal);
}

void wal_release(struct wal *wal, struct wal_client *client, int64_t flushed_offset)
{
    bool has_gone = false;
    LIST_FOREACH_SAFE (node, &client->claims) {
        struct claim *claim = LIST_ENTRY(node, struct claim, client_link);
        if (claim->end_offset > flushed_offset)
            break;
        claim_free(wal, claim);
        has_gone = true;
    }
    if (has_gone)
        go_on(wal);
}

/* --- commits --- */

static struct commit *commit_at(struct wal *wal, uint32_t i)
{
    return &wal->commits[(wal->first + i) % COMMITS_MAX];
}

/* The one that is being filled, if there is room for `bytes` more in it, or a new one. */
static struct commit *commit_with_room(struct wal *wal, size_t bytes)
{
    if (wal->count > 0) {
        struct commit *last = commit_at(wal, wal->count - 1);
        if (last->state == COMMIT_FILLING && last->len + bytes <= wal->options.commit_bytes)
            return last;
        if (last->state == COMMIT_FILLING) {
            last->state = COMMIT_CLOSED;
            last->file->used += wal_round_up(last->len);
        }
    }
    if (wal->count == COMMITS_MAX)
        return NULL;
    if (!wal->current || wal->options.file_bytes - wal->current->used < wal->options.commit_bytes) {
        if (!next_file(wal))
            return NULL;
    }
    struct commit *commit = commit_at(wal, wal->count);
    if (!commit->data) {
        commit->data = aligned_alloc(WAL_BLOCK_BYTES, wal->options.commit_bytes);
        if (!commit->data)
            return NULL;
    }
    wal->count++;
    commit->state = COMMIT_FILLING;
    commit->len = WAL_HEADER_BYTES;
    commit->count = 0;
    commit->number = wal->number++;
    commit->file = wal->current;
    commit->at = wal->current->used;
    wal->current->commits++;
    wake(wal); /* the end of this turn: more may come until then */
    return commit;
}

static bool record_put(struct wal *wal, struct commit *commit, const struct wal_record *record)
{
    uint8_t *at = commit->data + commit->len;
    uint8_t *batches = at + WAL_RECORD_HEADER_BYTES;
    size_t len = record->gap_bytes + record->batches.len;
    memcpy(at + WAL_RECORD_AT_TOPIC, record->topic_id.bytes, sizeof(record->topic_id.bytes));
    be32_store(at + WAL_RECORD_AT_PARTITION, (uint32_t)record->partition);
    be32_store(at + WAL_RECORD_AT_LENGTH, (uint32_t)len);
    be64_store(at + WAL_RECORD_AT_SEGMENT, (uint64_t)record->segment_base);
    be32_store(at + WAL_RECORD_AT_POSITION, record->position);
    if (record->gap_bytes > 0) {
        size_t moved = 0;
        enum err err =
            io_read_now(wal->io, record->gap, batches, record->gap_bytes, record->position, &moved);
        if (err != ERR_OK || moved < record->gap_bytes)
            return false;
    }
    memcpy(batches + record->gap_bytes, record->batches.data, record->batches.len);
    commit->len += WAL_RECORD_HEADER_BYTES + len;
    commit->count++;
    return true;
}

bool wal_append(struct wal *wal, struct wal_client *client, const struct wal_record *record,
                struct wal_wait *wait)
{
    size_t bytes = WAL_RECORD_HEADER_BYTES + record->gap_bytes + record->batches.len;
    struct commit *commit = NULL;
    if (!wal->is_failed && bytes <= wal->options.commit_bytes - WAL_HEADER_BYTES)
        commit = commit_with_room(wal, bytes);
    /* A claim too many only costs a flush. */
    if (!commit || !claim_note(client, commit->file, record->end_offset) ||
        !record_put(wal, commit, record)) {
        wal->stats.refused++;
        return false;
    }
    wal->stats.records++;
    list_push_back(&commit->waits, &wait->link);
    return true;
}

/* Those that it tells may append at once, and the ring may give the same commit out again. */
static void tell_waits(struct commit *commit)
{
    struct list waits, *node;
    list_init(&waits);
    list_splice(&waits, &commit->waits);
    while ((node = list_pop_front(&waits)) != NULL) {
        struct wal_wait *wait = LIST_ENTRY(node, struct wal_wait, link);
        wait->done(wait);
    }
}

static void commit_write(struct wal *wal, struct commit *commit)
{
    uint8_t *data = commit->data;
    size_t padded = (size_t)wal_round_up(commit->len);
    if (commit->state == COMMIT_FILLING)
        commit->file->used += padded;
    commit->state = COMMIT_WRITING;
    memset(data, 0, WAL_HEADER_BYTES);
    memset(data + commit->len, 0, padded - commit->len);
    be32_store(data + WAL_AT_MAGIC, WAL_MAGIC);
    data[WAL_AT_VERSION] = WAL_VERSION;
    be32_store(data + WAL_AT_LENGTH, (uint32_t)commit->len);
    be64_store(data + WAL_AT_RUN, wal->run);
    be64_store(data + WAL_AT_SEQUENCE, commit->file->sequence);
    be64_store(data + WAL_AT_NUMBER, commit->number);
    be64_store(data + WAL_AT_FIRST, commit->file->first);
    be32_store(data + WAL_AT_COUNT, commit->count);
    be32_store(data + WAL_AT_CRC,
               crc32c(0, slice_of(data + WAL_AT_VERSION, commit->len - WAL_AT_VERSION)));
    wal->stats.commits++;
    wal->stats.bytes += padded;
    io_write_durable(wal->io, &commit->op, commit->file->file, data, padded, commit->at,
                     on_committed);
    if (PLANTED(WAL_ACK_EARLY))
        tell_waits(commit);
}

/* Writes what may be written: no further ahead of the oldest than the window. */
static void on_timer(struct io_timer *timer)
{
    struct wal *wal = CONTAINER_OF(timer, struct wal, timer);
    if (wal->is_failed) {
        tell_failure(wal);
        return;
    }
    for (uint32_t i = 0; i < wal->count && i < WAL_WINDOW; i++) {
        struct commit *commit = commit_at(wal, i);
        if (commit->state == COMMIT_FILLING || commit->state == COMMIT_CLOSED)
            commit_write(wal, commit);
    }
    /* The next file is there when this one is full. */
    if (wal->current && wal->current->used > wal->options.file_bytes / 2 &&
        list_is_empty(&wal->free_files))
        make_file(wal);
}

static void on_committed(struct io_op *op)
{
    struct commit *done = CONTAINER_OF(op, struct commit, op);
    struct wal *wal = done->wal;
    done->state = COMMIT_DONE;
    if (PLANTED(WAL_ACK_OUT_OF_ORDER))
        tell_waits(done);
    if (op->err != ERR_OK)
        wal_fail(wal, op->err, "the write-ahead log could not be written");
    while (wal->count > 0 && commit_at(wal, 0)->state == COMMIT_DONE) {
        struct commit *commit = commit_at(wal, 0);
        wal->first = (wal->first + 1) % COMMITS_MAX;
        wal->count--;
        commit->file->commits--;
        if (!wal->is_failed)
            tell_waits(commit);
    }
    go_on(wal);
    if (wal->count > 0)
        wake(wal);
}

/* After a failure: what was not yet handed to the io never will be. */
static void drop_unwritten(struct wal *wal)
{
    while (wal->count > 0) {
        struct commit *last = commit_at(wal, wal->count - 1);
        if (last->state == COMMIT_WRITING || last->state == COMMIT_DONE)
            return; /* ends in on_committed */
        last->file->commits--;
        wal->count--;
    }
}

/* --- the end --- */

static enum err remove_list(struct wal *wal, struct list *files)
{
    char path[PATH_BYTES_MAX];
    while (!list_is_empty(files)) {
        struct wal_file *file = LIST_ENTRY(files->next, struct wal_file, link);
        file_path(wal, file->name, path);
        file_free(wal, file);
        TRY(io_unlink_now(wal->io, path));
    }
    return ERR_OK;
}

enum err wal_remove_files(struct wal *wal)
{
    ASSERT(wal_is_idle(wal) && wal->is_stopping);
    if (wal->current)
        list_push_back(&wal->full_files, &wal->current->link);
    wal->current = NULL;
    bool is_needed = wal->is_failed;
    LIST_FOREACH (node, &wal->full_files) {
        const struct wal_file *file = LIST_ENTRY(node, struct wal_file, link);
        is_needed |= file->is_pinned || !list_is_empty(&file->claims);
    }
    if (is_needed)
        return ERR_BUSY;
    /* Oldest first: what a crash leaves has no hole. */
    TRY(remove_list(wal, &wal->free_files));
    TRY(remove_list(wal, &wal->full_files));
    return io_sync_dir(wal->io, wal->dir);
}

void wal_destroy(struct wal *wal)
{
    ASSERT(wal_is_idle(wal) && list_is_empty(&wal->clients));
    io_timer_stop(wal->io, &wal->timer);
    io_timer_stop(wal->io, &wal->flush_timer);
    if (wal->current)
        file_free(wal, wal->current);
    while (!list_is_empty(&wal->full_files))
        file_free(wal, LIST_ENTRY(wal->full_files.next, struct wal_file, link));
    while (!list_is_empty(&wal->free_files))
        file_free(wal, LIST_ENTRY(wal->free_files.next, struct wal_file, link));
    for (size_t i = 0; i < COMMITS_MAX; i++)
        free(wal->commits[i].data);
    free(wal->dir);
    free(wal);
}
