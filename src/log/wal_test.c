/* Goal: what the write-ahead log says is durable is found by the next start and put where the
 * segments lack it; nothing else is; and no content of its files does harm.
 * Method: logs on a real folder with small files of the write-ahead log, whose segments are cut
 * back behind their back as a power cut does; then the files themselves are cut, garbled, emptied
 * and put together from several uses. */
#include "log/testing.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/crc32c.h"
#include "log/internal.h"
#include "log/wal.h"
#include "log/wal_format.h"
#include "log/wal_replay.h"

#define COMMIT_BYTES (8 << 10)
#define FEW_BYTES    (32 << 10) /* a file that is soon full */

static uint64_t file_bytes; /* of those that are made */

static const struct uuid topic = {{1, 2, 3}};

struct wal_fixture {
    struct fixture *log;
    struct wal *wal;
    struct wal_replay replay;
    bool is_open; /* the replay */
};

static struct wal_fixture own;

static void open_wal(uint32_t files_max)
{
    struct fixture *f = own.log;
    struct wal_options options = {
        .file_bytes = file_bytes, .commit_bytes = COMMIT_BYTES, .files_max = files_max};
    assert_int_equal(wal_replay_open(&own.replay, f->io, f->root, false), ERR_OK);
    own.is_open = true;
    options.next_sequence = own.replay.next_sequence;
    options.next_name = own.replay.next_name;
    assert_int_equal(wal_create(f->io, f->root, &options, &own.wal), ERR_OK);
}

static enum err try_open_log(int64_t recovery_point)
{
    struct fixture *f = own.log;
    struct log_open_options options = {.recovery_point = recovery_point,
                                       .log_start_offset = -1,
                                       .key = {topic, 0},
                                       .has_leader_epoch = f->has_leader_epoch,
                                       .leader_epoch = f->leader_epoch,
                                       .wal = own.wal,
                                       .replay = wal_replay_find(&own.replay, topic, 0)};
    return log_open(f->io, f->dir, &f->config, &options, &f->owner, &f->log, &f->problem);
}

static void open_log(int64_t recovery_point)
{
    if (try_open_log(recovery_point) != ERR_OK)
        fail_msg("%s", own.log->problem.text);
}

static void close_wal(void)
{
    struct fixture *f = own.log;
    wal_stop(own.wal);
    while (!wal_is_idle(own.wal))
        io_run_once(f->io, UINT64_MAX);
    wal_destroy(own.wal);
    wal_replay_close(&own.replay);
    own.is_open = false;
}

/* As kill -9 leaves it. */
static void crash(void)
{
    if (own.log->log)
        fixture_abandon(own.log);
    close_wal();
}

static void restart(int64_t recovery_point)
{
    open_wal(3);
    open_log(recovery_point);
}

static struct wal_stats stats(void)
{
    struct wal_stats out;
    wal_stats(own.wal, &out);
    return out;
}

/* Its first file is made when it is first missed, and that takes as long as the disk takes: any
 * number of appends are flushed before. Where those end in the segment. */
static uint64_t append_until_logged(void)
{
    uint64_t before = stats().records, flushed_bytes = 0;
    while (stats().records == before) {
        flushed_bytes = log_size(own.log->log);
        append_one(own.log, true);
        io_run_once(own.log->io, 1000000);
    }
    return flushed_bytes;
}

static void append_sync(int count)
{
    for (int i = 0; i < count; i++)
        append_one(own.log, true);
}

static int setup(void **state)
{
    assert_int_equal(fixture_setup(state), 0);
    own = (struct wal_fixture){.log = *state};
    own.log->config.segment_bytes = 100000;
    file_bytes = 512 << 10;
    fixture_close(own.log);
    restart(0);
    return 0;
}

static enum err remove_wal_file(void *arg, const char *name, bool is_dir)
{
    struct fixture *f = arg;
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", f->root, name);
    return is_dir ? ERR_OK : io_unlink_now(f->io, path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (own.is_open)
        crash();
    assert_int_equal(io_list(f->io, f->root, remove_wal_file, f), ERR_OK);
    return fixture_teardown(state);
}

static void wal_path(int name, char path[256])
{
    snprintf(path, 256, "%s/" WAL_FILE_PREFIX "0-%d", own.log->root, name);
}

static bool has_file(int name)
{
    char path[256];
    struct io_stat stat;
    wal_path(name, path);
    return io_stat_path(own.log->io, path, &stat) == ERR_OK;
}

/* --- the log and its write-ahead log --- */

static void test_lost_end_comes_back(void **state)
{
    struct fixture *f = *state;
    uint64_t flushed_bytes = append_until_logged();
    int64_t first = log_end_offset(f->log);
    append_sync(20);
    assert_int_equal(log_flushed_offset(f->log), first - 1);
    int64_t end = log_end_offset(f->log);
    uint64_t size = log_size(f->log);
    crash();
    for (uint64_t cut = size; cut >= flushed_bytes; cut -= 37) {
        fixture_truncate(f, 0, ".log", cut);
        restart(first - 1);
        assert_int_equal(log_end_offset(f->log), end);
        assert_int_equal(log_size(f->log), size);
        assert_reads_all(f);
        crash();
    }
    /* What the write-ahead log never had is a loss, which is named. */
    fixture_truncate(f, 0, ".log", 10);
    open_wal(3);
    assert_int_equal(try_open_log(0), ERR_MALFORMED);
    assert_non_null(strstr(f->problem.text, "00000000000000000000.log"));
}

static void check_garbled_end(struct fixture *f)
{
    uint64_t start = append_until_logged();
    int64_t first = log_end_offset(f->log) - 1;
    append_sync(4);
    int64_t end = log_end_offset(f->log);
    uint64_t size = log_size(f->log);
    crash();
    for (uint64_t at = start; at < size; at++) {
        fixture_flip(f, 0, ".log", at);
        restart(first);
        assert_int_equal(log_end_offset(f->log), end);
        assert_reads_all(f);
        assert_int_equal(log_epochs(f->log)->count, 1);
        crash();
    }
}

static void test_garbled_end_comes_back(void **state)
{
    check_garbled_end(*state);
}

/* Where a later offset could be right. */
static void test_garbled_end_of_compacted(void **state)
{
    struct fixture *f = *state;
    f->config.is_dense = false;
    log_set_config(f->log, &f->config);
    check_garbled_end(f);
}

/* An append that does not wait lies between two that do: it is copied with the second. */
static void test_gap_is_bridged(void **state)
{
    struct fixture *f = *state;
    append_until_logged();
    int64_t first = log_end_offset(f->log);
    uint64_t first_at = log_size(f->log);
    append_many(f, 5);
    append_sync(1);
    append_many(f, 3);
    append_sync(1);
    assert_int_equal(log_flushed_offset(f->log), first - 1);
    int64_t end = log_end_offset(f->log);
    append_many(f, 2); /* nobody waits for these */
    crash();
    fixture_truncate(f, 0, ".log", first_at);
    restart(first - 1);
    assert_int_equal(log_end_offset(f->log), end);
    assert_reads_all(f);
}

static void test_over_segments(void **state)
{
    struct fixture *f = *state;
    append_until_logged();
    int64_t first = log_end_offset(f->log) - 1;
    f->config.segment_bytes = 500;
    log_set_config(f->log, &f->config);
    append_sync(25);
    int64_t end = log_end_offset(f->log);
    assert_true(log_segment_count(f->log) > 3);
    int64_t bases[32];
    size_t count = f->log->segment_count;
    for (size_t i = 0; i < count; i++)
        bases[i] = f->log->segments[i]->base_offset;
    crash();
    for (size_t i = 1; i < count; i++)
        fixture_truncate(f, bases[i], ".log", i % 2 ? 0 : 70);
    restart(first);
    assert_int_equal(log_end_offset(f->log), end);
    assert_reads_all(f);
    assert_int_equal(log_segment_count(f->log), count);
}

/* Files are filled, their logs flushed, and used again; of the earlier use nothing counts. */
static void test_files_are_used_again(void **state)
{
    struct fixture *f = *state;
    crash();
    file_bytes = FEW_BYTES;
    restart(0);
    append_until_logged();
    append_sync(200);
    assert_true(stats().bytes > 4 * FEW_BYTES);
    assert_true(stats().files <= 3);
    assert_true(log_flushed_offset(f->log) > 100);
    int64_t end = log_end_offset(f->log), flushed = log_flushed_offset(f->log);
    uint64_t size = log_size(f->log), one = 0;
    struct batch batch;
    struct reading reading = {
        .op = {.offset = flushed, .end_offset = end, .bytes_max = 1, .at_least_one = true}};
    assert_int_equal(read_wait(f, &reading), ERR_OK);
    assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
    one = batch.size;
    rbuf_unref(reading.op.buf);
    crash();
    fixture_truncate(f, 0, ".log", size - one * (uint64_t)(end - flushed));
    restart(flushed);
    assert_false(own.replay.is_damaged);
    assert_int_equal(log_end_offset(f->log), end);
    assert_reads_all(f);
}

/* The last run's files stay until what they hold is flushed; then they go. */
static void test_files_of_last_run(void **state)
{
    struct fixture *f = *state;
    append_until_logged();
    append_sync(5);
    int64_t end = log_end_offset(f->log);
    crash();
    assert_true(has_file(1));
    restart(0);
    assert_int_equal(wal_replay_tidy(&own.replay, f->io), ERR_OK);
    assert_true(has_file(1));
    append_until_logged();
    assert_true(has_file(2)); /* beside the old ones */
    crash();
    restart(0);
    assert_true(log_end_offset(f->log) > end);
    log_flush(f->log);
    fixture_wait_idle(f);
    assert_int_equal(wal_replay_tidy(&own.replay, f->io), ERR_OK);
    assert_false(has_file(1));
    assert_false(has_file(2));
    assert_int_equal(wal_replay_tidy(&own.replay, f->io), ERR_OK);
}

static void test_clean_stop_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    append_until_logged();
    append_sync(5);
    fixture_wait_idle(f);
    wal_stop(own.wal);
    while (!wal_is_idle(own.wal))
        io_run_once(f->io, UINT64_MAX);
    assert_int_equal(wal_remove_files(own.wal), ERR_BUSY); /* the log is open */
    assert_true(has_file(1));
    fixture_close(f);
    assert_int_equal(wal_remove_files(own.wal), ERR_OK);
    assert_false(has_file(1));
    crash();
    open_wal(3);
    assert_int_equal(own.replay.commit_count, 0);
}

/* What could not be read is there for the next start. */
static void test_unread_files_stay(void **state)
{
    struct fixture *f = *state;
    char path[256];
    append_until_logged();
    crash();
    wal_path(9, path);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_not_equal(wal_replay_open(&own.replay, f->io, f->root, false), ERR_OK);
    assert_int_equal(wal_replay_tidy(&own.replay, f->io), ERR_OK);
    wal_replay_close(&own.replay);
    assert_true(has_file(1));
    assert_int_equal(unlink(path), 0);
}

static void test_another_program_ran(void **state)
{
    struct fixture *f = *state;
    append_until_logged();
    crash();
    assert_true(has_file(1));
    assert_int_equal(wal_replay_open(&own.replay, f->io, f->root, true), ERR_OK);
    assert_false(has_file(1));
    assert_null(wal_replay_find(&own.replay, topic, 0));
    wal_replay_close(&own.replay);
}

/* A later leader's epoch has the place of the last batches: they were cut off, or Kafka ran since.
 * Where. */
static int64_t begin_later_epoch(struct fixture *f)
{
    append_until_logged();
    int64_t cut = log_end_offset(f->log);
    append_sync(5);
    crash();
    uint64_t size = fixture_file_size(f, 0, ".log");
    fixture_truncate(f, 0, ".log", size / (uint64_t)(cut + 5) * (uint64_t)cut);
    char epochs[64];
    snprintf(epochs, sizeof(epochs), "0\n2\n0 0\n7 %lld\n", (long long)cut);
    fixture_put(f, "leader-epoch-checkpoint", slice_of(epochs, strlen(epochs)));
    restart(0);
    return cut;
}

/* What was cut off is not put back. */
static void test_stale_epoch(void **state)
{
    struct fixture *f = *state;
    int64_t cut = begin_later_epoch(f);
    assert_int_equal(log_end_offset(f->log), cut);
}

/* What was written since in their place is not held against what they had: the epoch is right,
 * though a batch of the old one stands behind it in the write-ahead log. */
static void test_stale_epoch_is_no_witness(void **state)
{
    struct fixture *f = *state;
    int64_t cut = begin_later_epoch(f);
    f->leader_epoch = 7;
    append_one(f, false);
    append_one(f, false);
    crash();
    restart(0);
    assert_int_equal(log_end_offset(f->log), cut + 2);
    assert_reads_all(f);
}

/* What it has cannot be, by the metadata: that is named, and not tried for ever. */
static void test_epoch_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    f->leader_epoch = 5;
    append_until_logged();
    int64_t first = log_end_offset(f->log);
    uint64_t size = log_size(f->log);
    f->leader_epoch = 6;
    append_sync(5);
    crash();
    fixture_truncate(f, 0, ".log", size);
    f->has_leader_epoch = true;
    f->leader_epoch = 5;
    open_wal(3);
    assert_int_equal(try_open_log(first - 1), ERR_MALFORMED);
    assert_non_null(strstr(f->problem.text, "00000000000000000000.log"));
    close_wal();
    f->leader_epoch = 6;
    restart(first - 1);
    assert_int_equal(log_end_offset(f->log), first + 5);
}

/* Large appends, and those for which there is no room, are flushed. */
static void test_fallback(void **state)
{
    struct fixture *f = *state;
    append_until_logged();
    uint64_t before = stats().records;
    struct made_batch made = {.count = 3, .value_len = 4000};
    assert_int_equal(append_made(f, &made, true, NULL), ERR_OK);
    assert_int_equal(stats().records, before);
    assert_int_equal(log_flushed_offset(f->log), log_end_offset(f->log));
    append_sync(1);
    assert_int_equal(stats().records, before + 1);
    crash();
    file_bytes = FEW_BYTES;
    open_wal(1);
    open_log(0);
    append_until_logged();
    append_sync(50); /* one file: full, and in use until its log is flushed */
    assert_true(stats().refused > 0);
    assert_reads_all(f);
    uint64_t logged = stats().bytes;
    while (stats().bytes < logged + FEW_BYTES) /* and used again after that */
        append_one(f, true);
}

/* Many that wait share their commits, and end in order. */
static void test_group_commit(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 60 };
    static struct pending pending[COUNT];
    append_until_logged();
    uint64_t commits = stats().commits;
    struct made_batch made = {.count = 1};
    for (int i = 0; i < COUNT; i++)
        pending_start(f, &pending[i], &made, true);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pending_wait(f, &pending[i]), ERR_OK);
        assert_true(i == 0 || pending[i].turn > pending[i - 1].turn);
    }
    assert_true(stats().commits - commits <= COUNT / 4);
    fixture_wait_idle(f);
}

static void test_failed_write(void **state)
{
    struct fixture *f = *state;
    append_until_logged();
    /* A descriptor that cannot be written takes the place of the file's. */
    char path[256];
    wal_path(1, path);
    struct io_file reader;
    assert_int_equal(io_open(f->io, path, IO_OPEN_READ, &reader), ERR_OK);
    int fds = 0;
    for (int fd = 3; fd < 64; fd++) {
        char link[64], target[256];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, target, sizeof(target) - 1);
        target[len > 0 ? len : 0] = '\0';
        if (fd != reader.fd && strcmp(target, path) == 0) {
            assert_int_equal(dup2(reader.fd, fd), fd);
            fds++;
        }
    }
    assert_int_equal(fds, 1);
    io_close(f->io, reader);
    struct made_batch made = {.count = 1};
    assert_int_equal(append_made(f, &made, true, NULL), ERR_KAFKA_STORAGE_ERROR);
    assert_true(log_is_offline(f->log));
    assert_int_not_equal(f->failure, ERR_OK);
    assert_int_equal(append_made(f, &made, true, NULL), ERR_KAFKA_STORAGE_ERROR);
}

/* --- after a failed write of the log's own --- */

static void limit_file_size(uint64_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that has room for a name, and not for what the mark says to people. */
static void test_distrust_on_full_disk(void **state)
{
    struct fixture *f = *state;
    char path[256];
    struct io_stat stat;
    snprintf(path, sizeof(path), "%s/" DISTRUST_FILE, f->dir);
    append_sync(4);
    signal(SIGXFSZ, SIG_IGN);
    limit_file_size(0);
    log_fail(f->log, ERR_IO, "a test");
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(io_stat_path(f->io, path, &stat), ERR_OK);
    assert_int_equal(stat.size, 0);
    crash();
    restart(0);
    assert_int_equal(log_end_offset(f->log), 4);
    assert_reads_all(f);
    assert_int_equal(io_stat_path(f->io, path, &stat), ERR_NOENT);
}

static void test_distrust(void **state)
{
    struct fixture *f = *state;
    append_sync(4);
    log_fail(f->log, ERR_IO, "a test");
    crash();
    char path[256];
    struct io_stat stat;
    snprintf(path, sizeof(path), "%s/" DISTRUST_FILE, f->dir);
    assert_int_equal(io_stat_path(f->io, path, &stat), ERR_OK);
    restart(0);
    assert_int_equal(log_end_offset(f->log), 4);
    assert_reads_all(f);
    assert_int_equal(io_stat_path(f->io, path, &stat), ERR_NOENT);

    /* Another log of the folder failed first, and then the flush that was under way here. */
    log_take_offline(f->log);
    log_fail(f->log, ERR_KAFKA_STORAGE_ERROR, "nothing was tried");
    assert_int_equal(io_stat_path(f->io, path, &stat), ERR_NOENT);
    log_fail(f->log, ERR_IO, "a test");
    assert_int_equal(io_stat_path(f->io, path, &stat), ERR_OK);
}

/* --- its files, behind its back --- */

/* Commits built by hand: one record each, with one batch. */
struct made_commit {
    uint64_t run, sequence, number;
    int64_t offset;
    uint32_t position;
    uint64_t first; /* of the use of its file */
};

static size_t put_commit(uint8_t *at, const struct made_commit *made)
{
    struct pending pending;
    struct made_batch batch = {.count = 1};
    pending_make(&pending, &batch, made->offset);
    be64_store(pending.bytes.data, (uint64_t)made->offset);
    be32_store(pending.bytes.data + BATCH_AT_LEADER_EPOCH, 0);
    size_t len = WAL_HEADER_BYTES + WAL_RECORD_HEADER_BYTES + pending.bytes.len;
    memset(at, 0, WAL_BLOCK_BYTES);
    be32_store(at + WAL_AT_MAGIC, WAL_MAGIC);
    at[WAL_AT_VERSION] = WAL_VERSION;
    be32_store(at + WAL_AT_LENGTH, (uint32_t)len);
    be64_store(at + WAL_AT_RUN, made->run);
    be64_store(at + WAL_AT_SEQUENCE, made->sequence);
    be64_store(at + WAL_AT_NUMBER, made->number);
    be64_store(at + WAL_AT_FIRST, made->first);
    be32_store(at + WAL_AT_COUNT, 1);
    uint8_t *record = at + WAL_HEADER_BYTES;
    memcpy(record + WAL_RECORD_AT_TOPIC, topic.bytes, sizeof(topic.bytes));
    be32_store(record + WAL_RECORD_AT_LENGTH, (uint32_t)pending.bytes.len);
    be32_store(record + WAL_RECORD_AT_POSITION, made->position);
    memcpy(record + WAL_RECORD_HEADER_BYTES, pending.bytes.data, pending.bytes.len);
    be32_store(at + WAL_AT_CRC, crc32c(0, slice_of(at + WAL_AT_VERSION, len - WAL_AT_VERSION)));
    buf_deinit(&pending.bytes);
    return len;
}

static void put_file(int name, const uint8_t *data, size_t len)
{
    char path[256];
    wal_path(name, path);
    assert_int_equal(io_replace_file(own.log->io, path, slice_of(data, len)), ERR_OK);
}

/* What is found in the files; the numbers of the group's batches, and whether that is damage. */
static size_t count_found(bool *is_damaged)
{
    struct wal_replay replay;
    assert_int_equal(wal_replay_open(&replay, own.log->io, own.log->root, false), ERR_OK);
    const struct wal_group *group = wal_replay_find(&replay, topic, 0);
    size_t count = group ? group->count : 0;
    for (size_t i = 0; group && i < group->count; i++) {
        const struct wal_entry *entry = &group->entries[i];
        uint8_t *data = malloc(entry->len);
        struct batch batch;
        assert_non_null(data);
        assert_int_equal(wal_entry_read(group, own.log->io, entry, data), ERR_OK);
        assert_int_equal(batch_load(slice_of(data, entry->len), &batch), ERR_OK);
        assert_int_equal(batch.base_offset, entry->base_offset);
        free(data);
    }
    if (is_damaged)
        *is_damaged = replay.is_damaged;
    wal_replay_close(&replay);
    return count;
}

/* Commits 10 to 10 + count - 1 of run 5, in the order given, each with the next offset. */
static void put_numbers(int name, uint64_t sequence, const int *numbers, size_t count)
{
    uint8_t *data = calloc(count + 1, WAL_BLOCK_BYTES);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        struct made_commit made = {5,
                                   sequence,
                                   (uint64_t)numbers[i],
                                   numbers[i],
                                   (uint32_t)numbers[i] * 100,
                                   (uint64_t)numbers[0]};
        put_commit(data + i * WAL_BLOCK_BYTES, &made);
    }
    put_file(name, data, (count + 1) * WAL_BLOCK_BYTES);
    free(data);
}

static void test_holes(void **state)
{
    (void)state;
    crash();
    bool is_damaged;
    put_numbers(1, 1, (int[]){0, 1, 2, 3}, 4);
    assert_int_equal(count_found(&is_damaged), 4);
    assert_false(is_damaged);
    put_numbers(1, 1, (int[]){40, 41, 42}, 3); /* it need not begin at 0 */
    assert_int_equal(count_found(&is_damaged), 3);
    put_numbers(1, 1, (int[]){0, 1, 3}, 3); /* 2 and 3 were under way */
    assert_int_equal(count_found(&is_damaged), 2);
    assert_false(is_damaged);
    put_numbers(1, 1, (int[]){0, 1, 3, 4}, 4); /* 4 was begun after 2 had ended */
    assert_int_equal(count_found(&is_damaged), 4);
    assert_true(is_damaged);
    /* Over files, and in any order of their names. */
    put_numbers(2, 1, (int[]){0, 1}, 2);
    put_numbers(1, 2, (int[]){2, 3}, 2);
    assert_int_equal(count_found(&is_damaged), 4);
    assert_false(is_damaged);
    put_numbers(1, 2, (int[]){3}, 1);
    assert_int_equal(count_found(&is_damaged), 2);
    assert_false(is_damaged);
    put_numbers(1, 2, (int[]){4}, 1);
    assert_int_equal(count_found(&is_damaged), 3);
    assert_true(is_damaged);
}

/* A file that was begun anew: of the earlier use nothing counts, wherever the new one came to. */
static void test_earlier_use(void **state)
{
    (void)state;
    crash();
    uint8_t *data = calloc(6, WAL_BLOCK_BYTES);
    bool is_damaged;
    assert_non_null(data);
    for (uint32_t i = 0; i < 5; i++) {
        struct made_commit made = {5, 1, i, i, i * 100};
        put_commit(data + i * WAL_BLOCK_BYTES, &made);
    }
    put_commit(data, &(struct made_commit){5, 9, 70, 70, 7000, 70});
    put_file(1, data, 6 * WAL_BLOCK_BYTES);
    assert_int_equal(count_found(&is_damaged), 1);
    assert_false(is_damaged);
    /* The new use's first commit is lost, its second there. */
    memset(data, 0, WAL_BLOCK_BYTES);
    put_commit(data + WAL_BLOCK_BYTES, &(struct made_commit){5, 9, 71, 71, 7100, 70});
    put_file(1, data, 6 * WAL_BLOCK_BYTES);
    assert_int_equal(count_found(&is_damaged), 0);
    assert_false(is_damaged);
    put_numbers(2, 8, (int[]){69}, 1);
    assert_int_equal(count_found(&is_damaged), 1);
    assert_false(is_damaged);
    free(data);
}

static void test_later_wins(void **state)
{
    (void)state;
    crash();
    uint8_t *data = calloc(1, WAL_BLOCK_BYTES);
    assert_non_null(data);
    put_commit(data, &(struct made_commit){6, 3, 0, 12, 100});
    put_file(1, data, WAL_BLOCK_BYTES);
    put_commit(data, &(struct made_commit){9, 2, 0, 11, 100});
    put_file(2, data, WAL_BLOCK_BYTES);
    struct wal_replay replay;
    assert_int_equal(wal_replay_open(&replay, own.log->io, own.log->root, false), ERR_OK);
    const struct wal_group *group = wal_replay_find(&replay, topic, 0);
    assert_non_null(group);
    assert_int_equal(group->count, 1);
    assert_int_equal(wal_group_find(group, 0, 100)->base_offset, 12);
    assert_null(wal_group_find(group, 0, 99));
    assert_null(wal_group_find(group, 1, 100));
    assert_null(wal_replay_find(&replay, topic, 1));
    assert_int_equal(replay.next_sequence, 4);
    assert_int_equal(replay.next_name, 3);
    wal_replay_close(&replay);
    free(data);
}

static void test_bad_files(void **state)
{
    struct fixture *f = *state;
    crash();
    uint8_t *data = calloc(3, WAL_BLOCK_BYTES);
    assert_non_null(data);
    put_file(1, data, 0);
    assert_int_equal(count_found(NULL), 0);
    put_file(1, (const uint8_t *)"TFWL", 4);
    assert_int_equal(count_found(NULL), 0);
    size_t len = put_commit(data, &(struct made_commit){5, 1, 0, 0, 0});
    put_commit(data + WAL_BLOCK_BYTES, &(struct made_commit){5, 1, 1, 1, 100, 0});
    for (size_t cut = 0; cut <= len; cut += 3) {
        put_file(1, data, cut);
        assert_int_equal(count_found(NULL), cut >= len ? 1 : 0);
    }
    for (size_t at = 0; at < len; at++) {
        data[at] ^= 0x55;
        put_file(1, data, 3 * WAL_BLOCK_BYTES);
        assert_int_equal(count_found(NULL), 0); /* the second may have been under way */
        data[at] ^= 0x55;
    }
    /* With a checksum that holds: a newer version, and lengths that lead outside. */
    data[WAL_AT_VERSION] = WAL_VERSION + 1;
    be32_store(data + WAL_AT_CRC, crc32c(0, slice_of(data + WAL_AT_VERSION, len - WAL_AT_VERSION)));
    put_file(1, data, WAL_BLOCK_BYTES);
    struct wal_replay replay;
    assert_int_equal(wal_replay_open(&replay, f->io, f->root, false), ERR_UNSUPPORTED);
    wal_replay_close(&replay);
    data[WAL_AT_VERSION] = WAL_VERSION;
    const size_t fields[] = {WAL_AT_COUNT, WAL_HEADER_BYTES + WAL_RECORD_AT_LENGTH,
                             WAL_HEADER_BYTES + WAL_RECORD_AT_PARTITION,
                             WAL_HEADER_BYTES + WAL_RECORD_AT_SEGMENT,
                             WAL_HEADER_BYTES + WAL_RECORD_AT_POSITION};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        uint32_t right = be32_load(data + fields[i]);
        be32_store(data + fields[i], 0xfffffff0);
        be32_store(data + WAL_AT_CRC,
                   crc32c(0, slice_of(data + WAL_AT_VERSION, len - WAL_AT_VERSION)));
        put_file(1, data, WAL_BLOCK_BYTES);
        assert_int_equal(wal_replay_open(&replay, f->io, f->root, false), ERR_MALFORMED);
        wal_replay_close(&replay);
        be32_store(data + fields[i], right);
    }
    free(data);
    /* Names that are not ours. */
    static const char *const names[] = {"taffrail-wal-",  "taffrail-wal-x-1",  "taffrail-wal-0-",
                                        "taffrail-wal-0", "taffrail-wal-0--1", "other"};
    char path[256];
    wal_path(1, path);
    assert_int_equal(io_unlink_now(f->io, path), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->root, names[i]);
        assert_int_equal(io_replace_file(f->io, path, slice_of("x", 1)), ERR_OK);
    }
    assert_int_equal(wal_replay_open(&replay, f->io, f->root, false), ERR_OK);
    assert_int_equal(replay.file_count, 0);
    wal_replay_close(&replay);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_lost_end_comes_back),
        T(test_garbled_end_comes_back),
        T(test_garbled_end_of_compacted),
        T(test_gap_is_bridged),
        T(test_over_segments),
        T(test_files_are_used_again),
        T(test_files_of_last_run),
        T(test_clean_stop_leaves_nothing),
        T(test_unread_files_stay),
        T(test_another_program_ran),
        T(test_stale_epoch),
        T(test_stale_epoch_is_no_witness),
        T(test_epoch_that_cannot_be),
        T(test_fallback),
        T(test_group_commit),
        T(test_failed_write),
        T(test_distrust_on_full_disk),
        T(test_distrust),
        T(test_holes),
        T(test_earlier_use),
        T(test_later_wins),
        T(test_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
