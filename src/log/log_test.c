/* Goal: what was appended is read back, through rolls, reopening, and a torn tail.
 * Method: a real folder; batches of one record with the offset as value; every offset is read; the
 * file is cut at every byte of the last batch and opened again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log/log.h"
#include "log/logdir.h"
#include "wire/batch_builder.h"

static const struct log_config config = {
    .segment_bytes = 1024,
    .segment_ms = INT64_MAX,
    .segment_index_bytes = 1 << 20,
    .index_interval_bytes = 200,
    .retention_ms = -1,
    .retention_bytes = -1,
    .flush_messages = INT64_MAX,
    .flush_ms = INT64_MAX,
    .file_delete_delay_ms = 0,
    .producer_expiration_ms = 86400000,
    .retain_by_deletion = true,
};

struct fixture {
    struct log_owner owner;
    struct io *io;
    struct log *log;
    struct rbuf_pool bufs;
    char root[64];
    char dir[80];
    size_t advanced;
    bool failed;
};

static void on_advance(struct log_owner *owner, size_t bytes)
{
    CONTAINER_OF(owner, struct fixture, owner)->advanced += bytes;
}

static void on_failure(struct log_owner *owner, enum err err, const char *what)
{
    (void)err;
    (void)what;
    CONTAINER_OF(owner, struct fixture, owner)->failed = true;
}

static void open_log(struct fixture *fixture, bool clean, int64_t recovery_point)
{
    struct log_open_options options = {clean, recovery_point, -1};
    struct log_problem problem;
    enum err err = log_open(fixture->io, fixture->dir, &config, &options, &fixture->owner,
                            &fixture->log, &problem);
    if (err != ERR_OK)
        fail_msg("%s", problem.text);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    snprintf(fixture->root, sizeof(fixture->root), "/tmp/log-test-XXXXXX");
    assert_non_null(mkdtemp(fixture->root));
    snprintf(fixture->dir, sizeof(fixture->dir), "%s/t-0", fixture->root);
    fixture->owner = (struct log_owner){on_advance, on_failure};
    assert_int_equal(io_real_create(IO_DISK_AUTO, &fixture->io), ERR_OK);
    rbuf_pool_init(&fixture->bufs, 1 << 24, 1 << 20);
    struct uuid id = {{1, 2, 3}};
    assert_int_equal(log_create(fixture->io, fixture->dir, id), ERR_OK);
    open_log(fixture, true, 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->log)
        log_abandon(fixture->log);
    assert_int_equal(logdir_remove_folder(fixture->io, fixture->dir), ERR_OK);
    assert_int_equal(io_rmdir(fixture->io, fixture->root), ERR_OK);
    rbuf_pool_deinit(&fixture->bufs);
    io_destroy(fixture->io);
    free(fixture);
    return 0;
}

struct pending {
    struct log_append op;
    struct buf bytes;
    bool done;
};

static void append_done(struct log_append *op)
{
    CONTAINER_OF(op, struct pending, op)->done = true;
}

static void start_append(struct fixture *fixture, struct pending *pending, bool sync)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    char value[32];
    int len = snprintf(value, sizeof(value), "%lld", (long long)log_next_offset(fixture->log));
    *pending = (struct pending){0};
    buf_init(&pending->bytes, BUF_NO_LIMIT);
    batch_builder_init(&builder, &pending->bytes, &options);
    struct record_fields fields = {.timestamp = 1000 + log_next_offset(fixture->log),
                                   .value = slice_of(value, (size_t)len)};
    assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
    assert_int_equal(batch_builder_finish(&builder, NULL), ERR_OK);
    batch_builder_deinit(&builder);
    pending->op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                      .batches = pending->bytes.data,
                                      .len = pending->bytes.len,
                                      .leader_epoch = 0,
                                      .now_ms = 1000,
                                      .sync = sync,
                                      .done = append_done};
    log_append(fixture->log, &pending->op);
}

static void append_one(struct fixture *fixture, bool sync)
{
    struct pending pending;
    start_append(fixture, &pending, sync);
    while (!pending.done)
        io_run_once(fixture->io, UINT64_MAX);
    assert_int_equal(pending.op.err, ERR_OK);
    buf_deinit(&pending.bytes);
}

struct reading {
    struct log_read op;
    bool done;
};

static void read_done(struct log_read *op)
{
    CONTAINER_OF(op, struct reading, op)->done = true;
}

/* The offset is served, with the value that was written there. */
static void assert_reads(struct fixture *fixture, int64_t offset)
{
    struct reading reading = {.op = {.offset = offset,
                                     .end_offset = log_end_offset(fixture->log),
                                     .bytes_max = 1,
                                     .at_least_one = true,
                                     .bufs = &fixture->bufs,
                                     .done = read_done}};
    log_read(fixture->log, &reading.op);
    while (!reading.done)
        io_run_once(fixture->io, UINT64_MAX);
    assert_int_equal(reading.op.err, ERR_OK);
    struct batch batch;
    struct records records;
    struct record record;
    char want[32];
    snprintf(want, sizeof(want), "%lld", (long long)offset);
    assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
    assert_int_equal(batch.base_offset, offset);
    assert_true(batch_crc_is_valid(&batch));
    assert_int_equal(records_init(&records, &batch, NULL, NULL), ERR_OK);
    assert_true(records_next(&records, &record));
    assert_int_equal(record.value.len, strlen(want));
    assert_memory_equal(record.value.data, want, record.value.len);
    rbuf_unref(reading.op.buf);
}

static void assert_reads_all(struct fixture *fixture)
{
    for (int64_t offset = log_start_offset(fixture->log); offset < log_end_offset(fixture->log);
         offset++)
        assert_reads(fixture, offset);
}

static void test_append_roll_read_reopen(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 100; i++)
        append_one(fixture, i % 10 == 0);
    assert_int_equal(log_end_offset(fixture->log), 100);
    assert_true(log_segment_count(fixture->log) > 5);
    assert_int_equal(fixture->advanced, log_size(fixture->log));
    assert_reads_all(fixture);
    assert_int_equal(log_close(fixture->log), ERR_OK);
    open_log(fixture, true, 0);
    assert_int_equal(log_end_offset(fixture->log), 100);
    assert_reads_all(fixture);
    append_one(fixture, true);
    assert_int_equal(log_flushed_offset(fixture->log), 101);
    log_abandon(fixture->log);
    open_log(fixture, false, 0);
    assert_int_equal(log_end_offset(fixture->log), 101);
    assert_reads_all(fixture);
}

static void test_out_of_range(void **state)
{
    struct fixture *fixture = *state;
    append_one(fixture, false);
    struct reading reading = {.op = {.offset = 2, .end_offset = 9, .done = read_done}};
    log_read(fixture->log, &reading.op);
    assert_int_equal(reading.op.err, ERR_OFFSET_OUT_OF_RANGE);
    reading.op.offset = 1;
    log_read(fixture->log, &reading.op);
    assert_int_equal(reading.op.err, ERR_OK);
    assert_int_equal(reading.op.batches.len, 0);
    assert_int_equal(log_delete_records(fixture->log, 2), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(log_delete_records(fixture->log, 1), ERR_OK);
    reading.op.offset = 0;
    log_read(fixture->log, &reading.op);
    assert_int_equal(reading.op.err, ERR_OFFSET_OUT_OF_RANGE);
}

static void test_torn_tail_is_cut(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 4; i++)
        append_one(fixture, false);
    uint64_t size = log_size(fixture->log);
    log_abandon(fixture->log);
    char path[128];
    struct io_file file;
    snprintf(path, sizeof(path), "%s/%020d.log", fixture->dir, 0);
    for (uint64_t cut = size - 1; cut > size - size / 4; cut--) {
        assert_int_equal(io_open(fixture->io, path, IO_OPEN_WRITE, &file), ERR_OK);
        assert_int_equal(io_truncate(fixture->io, file, cut), ERR_OK);
        io_close(fixture->io, file);
        open_log(fixture, false, 0);
        assert_int_equal(log_end_offset(fixture->log), 3);
        assert_reads_all(fixture);
        append_one(fixture, false);
        assert_int_equal(log_size(fixture->log), size);
        log_abandon(fixture->log);
    }
    fixture->log = NULL;
}

static void test_find_by_time(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 50; i++)
        append_one(fixture, false);
    struct log_position position;
    for (int64_t offset = 0; offset < 50; offset++) {
        assert_int_equal(log_find_timestamp(fixture->log, NULL, 1000 + offset, 50, &position), 0);
        assert_int_equal(position.offset, offset);
        assert_int_equal(position.timestamp, 1000 + offset);
    }
    assert_int_equal(log_find_timestamp(fixture->log, NULL, 5000, 50, &position), ERR_OK);
    assert_int_equal(position.offset, -1);
    assert_int_equal(log_find_max_timestamp(fixture->log, NULL, &position), ERR_OK);
    assert_int_equal(position.offset, 49);
}

static void test_truncate_and_retain(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 60; i++)
        append_one(fixture, false);
    assert_int_equal(log_truncate_to(fixture->log, 33), ERR_OK);
    assert_int_equal(log_end_offset(fixture->log), 33);
    assert_reads_all(fixture);
    append_one(fixture, false);
    struct log_config short_lived = config;
    uint32_t removed;
    short_lived.retention_bytes = 1000;
    log_set_config(fixture->log, &short_lived);
    assert_int_equal(log_retain(fixture->log, 2000, &removed), ERR_OK);
    assert_true(removed > 0);
    assert_true(log_size(fixture->log) >= 1000);
    assert_reads_all(fixture);
    short_lived.retention_ms = 10;
    log_set_config(fixture->log, &short_lived);
    assert_int_equal(log_retain(fixture->log, 1000000, &removed), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), log_end_offset(fixture->log));
    assert_int_equal(log_size(fixture->log), 0);
    log_tick(fixture->log, 2000);
    while (!log_is_idle(fixture->log))
        io_run_once(fixture->io, UINT64_MAX);
    append_one(fixture, false);
    assert_reads_all(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_append_roll_read_reopen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_tail_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_find_by_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncate_and_retain, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
