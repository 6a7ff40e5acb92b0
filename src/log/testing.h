/* What tests of the log share: a log in a temporary folder, and calls that wait for their end. */
#ifndef LOG_TESTING_H
#define LOG_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "log/compact.h"
#include "log/log.h"
#include "log/logdir.h"
#include "wire/batch_builder.h"

struct fixture {
    struct log_owner owner;
    struct log_config config;
    struct io *io;
    struct log *log; /* NULL: closed */
    struct rbuf_pool bufs;
    char root[64];
    char dir[80];
    size_t advanced;
    enum err failure; /* told to the owner */
    struct log_problem problem;
    /* Where a test wants them: what the last run noted, and where this one does. */
    struct manifest *manifest;
    const struct manifest_item *item;
    /* Of all appends; said at an opening where a test wants it. */
    int32_t leader_epoch;
    bool has_leader_epoch;
};

#define FIXTURE_TOPIC_ID ((struct uuid){{1, 2, 3}})

static inline void fixture_on_advance(struct log_owner *owner, size_t bytes)
{
    CONTAINER_OF(owner, struct fixture, owner)->advanced += bytes;
}

static inline void fixture_on_failure(struct log_owner *owner, enum err err, const char *what)
{
    assert_non_null(what);
    CONTAINER_OF(owner, struct fixture, owner)->failure = err;
}

static inline enum err fixture_try_open(struct fixture *fixture, bool clean, int64_t recovery_point,
                                        int64_t start_offset)
{
    struct log_open_options options = {.clean_shutdown = clean,
                                       .recovery_point = recovery_point,
                                       .log_start_offset = start_offset,
                                       .manifest = fixture->manifest,
                                       .key = {FIXTURE_TOPIC_ID, 0},
                                       .item = fixture->item,
                                       .has_leader_epoch = fixture->has_leader_epoch,
                                       .leader_epoch = fixture->leader_epoch};
    assert_null(fixture->log);
    return log_open(fixture->io, fixture->dir, &fixture->config, &options, &fixture->owner,
                    &fixture->log, &fixture->problem);
}

static inline void fixture_open(struct fixture *fixture, bool clean, int64_t recovery_point)
{
    if (fixture_try_open(fixture, clean, recovery_point, -1) != ERR_OK)
        fail_msg("%s", fixture->problem.text);
}

static inline void fixture_wait_idle(struct fixture *fixture)
{
    while (!log_is_idle(fixture->log))
        io_run_once(fixture->io, UINT64_MAX);
}

static inline void fixture_close(struct fixture *fixture)
{
    fixture_wait_idle(fixture);
    assert_int_equal(log_close(fixture->log), ERR_OK);
    fixture->log = NULL;
}

/* As kill -9 leaves it. */
static inline void fixture_abandon(struct fixture *fixture)
{
    log_compact_abort(fixture->log);
    fixture_wait_idle(fixture);
    log_abandon(fixture->log);
    fixture->log = NULL;
}

/* The folder is made below `base`. */
static inline int fixture_setup_in(void **state, const char *base)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    diag_set_level(DIAG_ERROR + 1); /* what is said there is what many tests are about */
    fixture->config = (struct log_config){
        .segment_bytes = 1024,
        .segment_ms = INT64_C(604800000),
        .segment_index_bytes = 1 << 20,
        .index_interval_bytes = 200,
        .retention_ms = -1,
        .retention_bytes = -1,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .producer_expiration_ms = 86400000,
        .retain_by_deletion = true,
        .is_dense = true,
    };
    snprintf(fixture->root, sizeof(fixture->root), "%s/log-test-XXXXXX", base);
    assert_non_null(mkdtemp(fixture->root));
    snprintf(fixture->dir, sizeof(fixture->dir), "%s/t-0", fixture->root);
    fixture->owner = (struct log_owner){fixture_on_advance, fixture_on_failure};
    assert_int_equal(io_real_create(IO_DISK_THREADS, &fixture->io), ERR_OK);
    rbuf_pool_init(&fixture->bufs, 1 << 24, 1 << 20);
    assert_int_equal(log_create(fixture->io, fixture->dir, FIXTURE_TOPIC_ID), ERR_OK);
    fixture_open(fixture, true, 0);
    *state = fixture;
    return 0;
}

/* In memory where that is possible: flushes of a disk would be most of the time. */
static inline int fixture_setup(void **state)
{
    return fixture_setup_in(state, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
}

static inline int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->log)
        fixture_abandon(fixture);
    assert_int_equal(logdir_remove_folder(fixture->io, fixture->dir), ERR_OK);
    assert_int_equal(io_rmdir(fixture->io, fixture->root), ERR_OK);
    rbuf_pool_deinit(&fixture->bufs);
    io_destroy(fixture->io);
    free(fixture);
    return 0;
}

/* --- appending --- */

struct pending {
    struct log_append op;
    struct buf bytes;
    bool done;
    int turn; /* among all that ended */
};

static inline void pending_done(struct log_append *op)
{
    static int turn;
    struct pending *pending = CONTAINER_OF(op, struct pending, op);
    assert_false(pending->done);
    pending->done = true;
    pending->turn = turn++;
}

/* What a test batch is made of; zeroed: one record of no producer. */
struct made_batch {
    int32_t count; /* 0: one */
    int64_t timestamp;
    enum compression compression;
    bool has_producer;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t sequence;
    size_t value_len; /* 0: the offset in digits */
    struct compressors *compressors;
};

/* A record's value is its offset, or so many bytes that begin with it. */
static inline size_t made_value(int64_t offset, size_t len, char *value, size_t size)
{
    memset(value, '.', size);
    int digits = snprintf(value, size, "%lld", (long long)offset);
    value[digits] = len > 0 ? '.' : '\0';
    return len > 0 ? len : (size_t)digits;
}

static inline void pending_make(struct pending *pending, const struct made_batch *made,
                                int64_t offset)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    static char value[1 << 16];
    options.compression = made->compression;
    options.level = made->compression == COMPRESSION_ZSTD ? 3 : 6;
    if (made->has_producer) {
        options.producer_id = made->producer_id;
        options.producer_epoch = made->producer_epoch;
        options.base_sequence = made->sequence;
    }
    *pending = (struct pending){0};
    buf_init(&pending->bytes, BUF_NO_LIMIT);
    batch_builder_init(&builder, &pending->bytes, &options);
    for (int32_t i = 0; i < (made->count ? made->count : 1); i++) {
        size_t len = made_value(offset + i, made->value_len, value, sizeof(value));
        struct record_fields fields = {.timestamp = made->timestamp + i,
                                       .value = slice_of(value, len)};
        assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
    }
    assert_int_equal(batch_builder_finish(&builder, made->compressors), ERR_OK);
    batch_builder_deinit(&builder);
}

static inline void pending_start(struct fixture *fixture, struct pending *pending,
                                 const struct made_batch *made, bool sync)
{
    pending_make(pending, made, log_next_offset(fixture->log));
    pending->op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                      .batches = pending->bytes.data,
                                      .len = pending->bytes.len,
                                      .leader_epoch = fixture->leader_epoch,
                                      .now_ms = 1000,
                                      .sync = sync,
                                      .done = pending_done};
    log_append(fixture->log, &pending->op);
}

/* Waits for the end of an append that was started; the error. */
static inline enum err pending_wait(struct fixture *fixture, struct pending *pending)
{
    while (!pending->done)
        io_run_once(fixture->io, UINT64_MAX);
    buf_deinit(&pending->bytes);
    return pending->op.err;
}

static inline enum err append_made(struct fixture *fixture, const struct made_batch *made,
                                   bool sync, struct log_append *out)
{
    struct pending pending;
    pending_start(fixture, &pending, made, sync);
    enum err err = pending_wait(fixture, &pending);
    if (out)
        *out = pending.op;
    return err;
}

/* One record whose timestamp is 1000 + its offset. */
static inline void append_one(struct fixture *fixture, bool sync)
{
    struct made_batch made = {.timestamp = 1000 + log_next_offset(fixture->log)};
    assert_int_equal(append_made(fixture, &made, sync, NULL), ERR_OK);
}

static inline void append_many(struct fixture *fixture, int count)
{
    for (int i = 0; i < count; i++)
        append_one(fixture, false);
}

/* --- reading --- */

struct reading {
    struct log_read op;
    bool done;
};

static inline void reading_done(struct log_read *op)
{
    CONTAINER_OF(op, struct reading, op)->done = true;
}

static inline enum err read_wait(struct fixture *fixture, struct reading *reading)
{
    reading->done = false;
    reading->op.bufs = &fixture->bufs;
    reading->op.done = reading_done;
    log_read(fixture->log, &reading->op);
    while (!reading->done)
        io_run_once(fixture->io, UINT64_MAX);
    return reading->op.err;
}

/* The record at the offset is served, with the value that was written there. */
static inline void assert_reads(struct fixture *fixture, int64_t offset, struct compressors *c)
{
    struct reading reading = {.op = {.offset = offset,
                                     .end_offset = log_end_offset(fixture->log),
                                     .bytes_max = 1,
                                     .at_least_one = true}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    struct batch batch;
    struct records records;
    struct record record;
    struct buf scratch;
    char want[32];
    buf_init(&scratch, 1 << 24);
    snprintf(want, sizeof(want), "%lld", (long long)offset);
    assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
    assert_true(batch.base_offset <= offset && offset <= batch.last_offset);
    assert_true(batch_crc_is_valid(&batch));
    assert_int_equal(records_init(&records, &batch, c, &scratch), ERR_OK);
    do {
        assert_true(records_next(&records, &record));
    } while (record.offset < offset);
    assert_int_equal(record.offset, offset);
    assert_true(record.value.len >= strlen(want));
    assert_memory_equal(record.value.data, want, strlen(want));
    buf_deinit(&scratch);
    rbuf_unref(reading.op.buf);
}

static inline void assert_reads_all(struct fixture *fixture)
{
    for (int64_t offset = log_start_offset(fixture->log); offset < log_end_offset(fixture->log);
         offset++)
        assert_reads(fixture, offset, NULL);
}

/* --- the files behind its back --- */

static inline void fixture_path(const struct fixture *fixture, int64_t base_offset,
                                const char *suffix, char path[256])
{
    snprintf(path, 256, "%s/%020lld%s", fixture->dir, (long long)base_offset, suffix);
}

static inline bool fixture_has(struct fixture *fixture, int64_t base_offset, const char *suffix)
{
    char path[256];
    struct io_stat stat;
    fixture_path(fixture, base_offset, suffix, path);
    return io_stat_path(fixture->io, path, &stat) == ERR_OK;
}

static inline uint64_t fixture_file_size(struct fixture *fixture, int64_t base_offset,
                                         const char *suffix)
{
    char path[256];
    struct io_stat stat;
    fixture_path(fixture, base_offset, suffix, path);
    assert_int_equal(io_stat_path(fixture->io, path, &stat), ERR_OK);
    return stat.size;
}

static inline void fixture_truncate(struct fixture *fixture, int64_t base_offset,
                                    const char *suffix, uint64_t size)
{
    char path[256];
    struct io_file file;
    fixture_path(fixture, base_offset, suffix, path);
    assert_int_equal(io_open(fixture->io, path, IO_OPEN_WRITE, &file), ERR_OK);
    assert_int_equal(io_truncate(fixture->io, file, size), ERR_OK);
    io_close(fixture->io, file);
}

static inline void fixture_flip(struct fixture *fixture, int64_t base_offset, const char *suffix,
                                uint64_t at)
{
    char path[256];
    struct io_file file;
    uint8_t byte;
    size_t moved = 0;
    fixture_path(fixture, base_offset, suffix, path);
    assert_int_equal(io_open(fixture->io, path, IO_OPEN_WRITE, &file), ERR_OK);
    assert_int_equal(io_read_now(fixture->io, file, &byte, 1, at, &moved), ERR_OK);
    assert_int_equal(moved, 1);
    byte ^= 0x55;
    assert_int_equal(io_write_now(fixture->io, file, &byte, 1, at), ERR_OK);
    io_close(fixture->io, file);
}

static inline void fixture_remove(struct fixture *fixture, int64_t base_offset, const char *suffix)
{
    char path[256];
    fixture_path(fixture, base_offset, suffix, path);
    assert_int_equal(io_unlink_now(fixture->io, path), ERR_OK);
}

static inline void fixture_put(struct fixture *fixture, const char *name, struct slice content)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    assert_int_equal(io_replace_file(fixture->io, path, content), ERR_OK);
}

#endif
