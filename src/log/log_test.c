/* Goal: what was appended is read back, in order, through rolls, flushes, full disks and failures.
 * Method: a real folder; each record's value is its offset; every offset is read. A full disk is a
 * limit on the size of files. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <time.h>

#include "base/rng.h"
#include "log/internal.h"
#include "log/testing.h"

static void test_append_roll_read_reopen(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 100; i++)
        append_one(fixture, i % 10 == 0);
    assert_int_equal(log_end_offset(fixture->log), 100);
    assert_true(log_segment_count(fixture->log) > 5);
    assert_int_equal(fixture->advanced, log_size(fixture->log));
    assert_reads_all(fixture);
    fixture_close(fixture);
    fixture_open(fixture, true, 0);
    assert_int_equal(log_end_offset(fixture->log), 100);
    assert_reads_all(fixture);
    append_one(fixture, true);
    assert_int_equal(log_flushed_offset(fixture->log), 101);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 0);
    assert_int_equal(log_end_offset(fixture->log), 101);
    assert_reads_all(fixture);
}

static uint64_t blocks_bytes(const struct fixture *fixture, size_t at)
{
    char path[LOG_PATH_MAX];
    struct stat found;
    segment_path(fixture->log, fixture->log->segments[at]->base_offset, ".log", path);
    assert_int_equal(stat(path, &found), 0);
    return (uint64_t)found.st_blocks * 512;
}

static void test_preallocate(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.preallocate = true;
    fixture->config.segment_bytes = 1 << 20;
    log_set_config(fixture->log, &fixture->config);
    int64_t base = log_end_offset(fixture->log);
    append_one(fixture, true);
    assert_int_equal(log_roll(fixture->log, base + 1, 0), ERR_OK);
    append_one(fixture, true);
    size_t last = log_segment_count(fixture->log) - 1;
    if (!fixture->log->segments[last]->has_reserve)
        return; /* the file system has no such thing */
    assert_true(blocks_bytes(fixture, last) >= 1 << 20);
    assert_reads_all(fixture);
    fixture_abandon(fixture);

    /* A crash leaves a file that ends where the records do. */
    fixture_open(fixture, false, 0);
    assert_int_equal(log_end_offset(fixture->log), base + 2);
    assert_reads_all(fixture);
    assert_int_equal(log_roll(fixture->log, base + 2, 0), ERR_OK);
    append_one(fixture, true);
    assert_int_equal(log_roll(fixture->log, base + 3, 0), ERR_OK);
    last = log_segment_count(fixture->log) - 1;
    assert_true(blocks_bytes(fixture, last - 1) >= 1 << 20);
    log_close_idle(fixture->log); /* the sealed one gives back what it did not need */
    assert_true(blocks_bytes(fixture, last - 1) < 1 << 20);
    assert_reads_all(fixture);
}

static void test_many_in_flight(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 200 };
    struct pending *pending = calloc(COUNT, sizeof(*pending));
    assert_non_null(pending);
    for (int i = 0; i < COUNT; i++) {
        struct made_batch made = {.timestamp = 1000 + i, .value_len = 1 + (size_t)i * 4};
        pending_start(fixture, &pending[i], &made, i % 3 == 0);
    }
    assert_int_equal(log_next_offset(fixture->log), COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pending_wait(fixture, &pending[i]), ERR_OK);
        assert_int_equal(pending[i].op.base_offset, i);
        if (i % 3 == 0)
            assert_true(log_flushed_offset(fixture->log) > i);
    }
    for (int i = 3; i < COUNT; i++) /* in order among those that wait for the same */
        assert_true(pending[i].turn > pending[i - 3].turn);
    assert_int_equal(log_end_offset(fixture->log), COUNT);
    assert_reads_all(fixture);
    free(pending);
}

static void test_read_bounds(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 40);
    struct reading reading = {.op = {.offset = 3, .end_offset = 40, .bytes_max = 100000}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    struct batches batches;
    struct batch batch;
    int64_t offset = 3;
    for (batches_init(&batches, reading.op.batches); batches_next(&batches, &batch); offset++)
        assert_int_equal(batch.base_offset, offset);
    assert_true(offset > 5); /* to the end of the segment */
    rbuf_unref(reading.op.buf);
    reading.op.end_offset = 5;
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    offset = 3;
    for (batches_init(&batches, reading.op.batches); batches_next(&batches, &batch); offset++)
        assert_int_equal(batch.base_offset, offset);
    assert_int_equal(offset, 5);
    rbuf_unref(reading.op.buf);
    reading.op.bytes_max = 10; /* less than a batch, and no promise */
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    assert_int_equal(reading.op.batches.len, 10);
    rbuf_unref(reading.op.buf);
    reading.op.bytes_max = 0;
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    assert_null(reading.op.buf);
    reading.op.offset = 41;
    assert_int_equal(read_wait(fixture, &reading), ERR_OFFSET_OUT_OF_RANGE);
    reading.op.offset = -1;
    assert_int_equal(read_wait(fixture, &reading), ERR_OFFSET_OUT_OF_RANGE);
    reading.op.offset = reading.op.end_offset = 40;
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    assert_int_equal(reading.op.batches.len, 0);
}

static void test_delete_records(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 30);
    assert_int_equal(log_delete_records(fixture->log, 31), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(log_delete_records(fixture->log, 17), ERR_OK);
    struct reading reading = {.op = {.offset = 16, .end_offset = 30, .bytes_max = 100}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OFFSET_OUT_OF_RANGE);
    assert_reads_all(fixture);
    assert_int_equal(log_delete_records(fixture->log, 3), ERR_OK); /* below it already */
    assert_int_equal(log_epochs(fixture->log)->entries[0].start_offset, 17);
    assert_int_equal(log_start_offset(fixture->log), 17);
    uint32_t removed;
    assert_int_equal(log_retain(fixture->log, 1000, &removed), ERR_OK);
    assert_true(removed > 0);
    assert_false(fixture_has(fixture, 0, ".log"));
    assert_reads_all(fixture);
    fixture_close(fixture);
    assert_int_equal(fixture_try_open(fixture, true, 30, 17), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), 17);
    assert_reads_all(fixture);
    fixture_close(fixture);
    /* The start was kept, but the records up to there were not. */
    assert_int_equal(fixture_try_open(fixture, false, 30, 100), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), 100);
    assert_int_equal(log_next_offset(fixture->log), 100);
    append_one(fixture, true);
    assert_reads_all(fixture);
}

static uint32_t retain_at(struct fixture *fixture, int64_t now_ms)
{
    uint32_t removed;
    log_set_config(fixture->log, &fixture->config);
    assert_int_equal(log_retain(fixture->log, now_ms, &removed), ERR_OK);
    return removed;
}

static void append_at(struct fixture *fixture, int64_t timestamp)
{
    struct made_batch made = {.timestamp = timestamp};
    assert_int_equal(append_made(fixture, &made, false, NULL), ERR_OK);
}

static void test_retention_by_time(void **state)
{
    static const int64_t seven_years = INT64_C(220752000000);
    struct fixture *fixture = *state;
    fixture->config.segment_bytes = 1 << 20;
    log_set_config(fixture->log, &fixture->config);
    int64_t now = (int64_t)time(NULL) * 1000;
    append_at(fixture, now);
    /* Years, and all the time there is. */
    fixture->config.retention_ms = seven_years;
    assert_int_equal(retain_at(fixture, now + seven_years), 0);
    fixture->config.retention_ms = INT64_MAX;
    assert_int_equal(retain_at(fixture, INT64_MAX), 0);
    fixture->config.retention_ms = seven_years;
    assert_int_equal(retain_at(fixture, now + seven_years + 1), 1); /* the active one, rolled */
    assert_int_equal(log_start_offset(fixture->log), 1);
    /* One that is still to come: the file's own time counts, not the record's, nor the segment's.
     */
    append_at(fixture, INT64_MAX - 1);
    fixture->config.retention_ms = 3600000;
    assert_int_equal(retain_at(fixture, now + 3000000), 0);
    assert_int_equal(retain_at(fixture, now + 3700000), 1);
    /* No limit, and none at all. */
    append_at(fixture, 0);
    fixture->config.retention_ms = -1;
    assert_int_equal(retain_at(fixture, INT64_MAX), 0);
    fixture->config.retention_ms = 0;
    assert_int_equal(retain_at(fixture, 0), 0);
    assert_int_equal(retain_at(fixture, 1), 1);
    assert_int_equal(retain_at(fixture, INT64_MAX), 0); /* nothing is left */
    assert_int_equal(log_end_offset(fixture->log), 3);
}

static void test_jitter_is_less_than_a_segment(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.segment_bytes = 1 << 20;
    fixture->config.segment_ms = INT64_C(1) << 40;
    fixture->config.segment_jitter_ms = INT64_MAX;
    log_set_config(fixture->log, &fixture->config);
    append_one(fixture, false);
    assert_int_equal(log_delete_records(fixture->log, 1), ERR_OK);
    fixture->config.retention_ms = 0;
    assert_int_equal(retain_at(fixture, 1000000), 1); /* the next segment draws its jitter */
    append_many(fixture, 50);
    assert_in_range(log_segment_count(fixture->log), 1, 2);
}

static void test_a_shorter_delay_counts_at_once(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 30);
    fixture->config.retention_ms = 0;
    fixture->config.file_delete_delay_ms = 3600000;
    assert_true(retain_at(fixture, 1000000) > 0);
    int64_t base = log_active_base_offset(fixture->log);
    append_many(fixture, 1);
    fixture->config.file_delete_delay_ms = 0;
    assert_int_equal(retain_at(fixture, 1000000), 1);
    log_tick(fixture->log, 1000, false);
    fixture_wait_idle(fixture);
    assert_true(fixture_has(fixture, 0, ".log.deleted"));
    assert_false(fixture_has(fixture, base, ".log.deleted"));
}

struct deletion {
    struct log_deletion op;
    int ends;
};

static void on_deleted(struct log_deletion *op)
{
    CONTAINER_OF(op, struct deletion, op)->ends++;
}

static void deletion_start(struct fixture *fixture, struct deletion *deletion, int64_t offset)
{
    *deletion = (struct deletion){.op = {.offset = offset, .done = on_deleted}};
    log_delete_durably(fixture->log, &deletion->op);
}

static void test_deletions_are_durable(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 30);
    struct deletion past, some[4];
    deletion_start(fixture, &past, 31);
    assert_int_equal(past.ends, 1);
    assert_int_equal(past.op.err, ERR_OFFSET_OUT_OF_RANGE);
    /* Those that come while one is written share the next write, whatever their order. */
    static const int64_t offsets[] = {5, 21, 9, 0};
    for (int i = 0; i < 4; i++)
        deletion_start(fixture, &some[i], offsets[i]);
    assert_int_equal(some[3].ends, 1); /* nothing to do */
    assert_int_equal(some[0].ends + some[1].ends + some[2].ends, 0);
    assert_int_equal(log_start_offset(fixture->log), 0);
    assert_false(log_is_idle(fixture->log));
    fixture_wait_idle(fixture);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(some[i].ends, 1);
        assert_int_equal(some[i].op.err, ERR_OK);
        assert_true(some[i].op.low_watermark >= offsets[i]);
    }
    assert_int_equal(log_start_offset(fixture->log), 21);
    /* A crash, and a checkpoint that knows nothing of it. */
    fixture_abandon(fixture);
    fixture_open(fixture, false, 0);
    assert_int_equal(log_start_offset(fixture->log), 21);
    assert_reads_all(fixture);
    /* After a clean stop the checkpoint says it, and the file is gone. */
    fixture_close(fixture);
    assert_int_equal(fixture_try_open(fixture, true, 30, 22), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), 22);
    fixture_close(fixture);
    fixture_put(fixture, "taffrail-log-start", slice_of("12", 2));
    assert_int_equal(fixture_try_open(fixture, false, 30, -1), ERR_MALFORMED);
    assert_non_null(strstr(fixture->problem.text, "taffrail-log-start"));
    fixture_put(fixture, "taffrail-log-start", slice_of("-1\n", 3));
    assert_int_equal(fixture_try_open(fixture, false, 30, -1), ERR_MALFORMED);
    fixture_put(fixture, "taffrail-log-start", slice_of("12\n", 3));
    assert_int_equal(fixture_try_open(fixture, false, 30, 25), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), 25);
}

static void test_old_records_fill_segments(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.segment_ms = 50;
    log_set_config(fixture->log, &fixture->config);
    struct made_batch made = {.timestamp = 1};
    for (int i = 0; i < 5; i++) /* the clock stands at 1000 */
        assert_int_equal(append_made(fixture, &made, false, NULL), ERR_OK);
    assert_int_equal(log_segment_count(fixture->log), 1);
    made.timestamp = 52;
    assert_int_equal(append_made(fixture, &made, false, NULL), ERR_OK);
    assert_int_equal(log_segment_count(fixture->log), 2);
    assert_reads_all(fixture);
}

static void test_find_by_time(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 50);
    struct log_position position;
    for (int64_t offset = 0; offset < 50; offset++) {
        assert_int_equal(log_find_timestamp(fixture->log, NULL, 1000 + offset, 50, &position), 0);
        assert_int_equal(position.offset, offset);
        assert_int_equal(position.timestamp, 1000 + offset);
        assert_int_equal(position.leader_epoch, 0);
    }
    assert_int_equal(log_find_timestamp(fixture->log, NULL, 5000, 50, &position), ERR_OK);
    assert_int_equal(position.offset, -1);
    assert_int_equal(log_find_timestamp(fixture->log, NULL, 1049, 49, &position), ERR_OK);
    assert_int_equal(position.offset, -1); /* past the bound */
    assert_int_equal(log_find_max_timestamp(fixture->log, NULL, &position), ERR_OK);
    assert_int_equal(position.offset, 49);
}

static void test_find_in_compressed(void **state)
{
    struct fixture *fixture = *state;
    struct compressors compressors;
    compressors_init(&compressors);
    for (int i = 0; i < 20; i++) {
        struct made_batch made = {.count = 10,
                                  .timestamp = 1000 + i * 10,
                                  .compression = (enum compression)(i % COMPRESSION_COUNT),
                                  .compressors = &compressors};
        assert_int_equal(append_made(fixture, &made, false, NULL), ERR_OK);
    }
    struct log_position position;
    for (int64_t offset = 0; offset < 200; offset++) {
        assert_int_equal(
            log_find_timestamp(fixture->log, &compressors, 1000 + offset, 200, &position), ERR_OK);
        assert_int_equal(position.offset, offset);
        assert_reads(fixture, offset, &compressors);
    }
    /* The greatest timestamp is not the last record's. */
    struct made_batch late = {.timestamp = 99999}, early = {.timestamp = 1};
    assert_int_equal(append_made(fixture, &late, false, NULL), ERR_OK);
    assert_int_equal(append_made(fixture, &early, false, NULL), ERR_OK);
    assert_int_equal(log_find_max_timestamp(fixture->log, &compressors, &position), ERR_OK);
    assert_int_equal(position.offset, 200);
    assert_int_equal(position.timestamp, 99999);
    compressors_deinit(&compressors);
}

static void test_truncate_and_retain(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 60);
    assert_int_equal(log_truncate_to(fixture->log, 33), ERR_OK);
    assert_int_equal(log_end_offset(fixture->log), 33);
    assert_reads_all(fixture);
    append_one(fixture, false);
    uint32_t removed;
    fixture->config.retention_bytes = 1000;
    log_set_config(fixture->log, &fixture->config);
    assert_int_equal(log_retain(fixture->log, 2000, &removed), ERR_OK);
    assert_true(removed > 0);
    assert_true(log_size(fixture->log) >= 1000);
    assert_reads_all(fixture);
    fixture->config.retention_ms = 10;
    log_set_config(fixture->log, &fixture->config);
    assert_int_equal(log_retain(fixture->log, 1000000, &removed), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), log_end_offset(fixture->log));
    assert_int_equal(log_size(fixture->log), 0);
    log_tick(fixture->log, 2000, true);
    fixture_wait_idle(fixture);
    append_one(fixture, false);
    assert_reads_all(fixture);
}

static void test_read_while_removed(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 40);
    struct reading reading = {.op = {.offset = 0,
                                     .end_offset = 40,
                                     .bytes_max = 1 << 20,
                                     .bufs = &fixture->bufs,
                                     .done = reading_done}};
    log_read(fixture->log, &reading.op);
    uint32_t removed;
    fixture->config.retention_bytes = 0;
    log_set_config(fixture->log, &fixture->config);
    assert_int_equal(log_retain(fixture->log, 2000, &removed), ERR_OK);
    assert_true(removed > 1);
    while (!reading.done)
        io_run_once(fixture->io, UINT64_MAX);
    assert_int_equal(reading.op.err, ERR_OK);
    struct batch batch;
    assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
    assert_int_equal(batch.base_offset, 0);
    rbuf_unref(reading.op.buf);
    log_tick(fixture->log, 2000, true);
    fixture_wait_idle(fixture);
    assert_false(fixture_has(fixture, 0, ".log.deleted"));
}

static enum err append_sequence(struct fixture *fixture, int16_t epoch, int32_t sequence,
                                struct log_append *out)
{
    struct made_batch made = {.has_producer = true,
                              .producer_id = 4,
                              .producer_epoch = epoch,
                              .sequence = sequence,
                              .count = 2};
    return append_made(fixture, &made, false, out);
}

static void test_producer_sequences(void **state)
{
    struct fixture *fixture = *state;
    struct log_append out;
    for (int32_t i = 0; i < 20; i++)
        assert_int_equal(append_sequence(fixture, 0, i * 2, &out), ERR_OK);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(append_sequence(fixture, 0, 38, &out), ERR_OK);
        assert_true(out.is_duplicate);
        assert_int_equal(out.base_offset, 38);
        assert_int_equal(out.last_offset, 39);
        assert_int_equal(append_sequence(fixture, 0, 42, &out), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_int_equal(append_sequence(fixture, 1, 2, &out), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_int_equal(append_sequence(fixture, -1, 0, &out), ERR_INVALID_PRODUCER_EPOCH);
        assert_int_equal(log_end_offset(fixture->log), 40);
        /* The same from a clean stop's snapshot, and from the batches after a crash. */
        if (round == 0)
            fixture_close(fixture);
        else
            fixture_abandon(fixture);
        fixture_open(fixture, round == 0, 0);
    }
}

static void test_duplicate_in_flight(void **state)
{
    struct fixture *fixture = *state;
    struct made_batch made = {.has_producer = true, .producer_id = 4};
    struct pending first, again;
    pending_start(fixture, &first, &made, true);
    pending_start(fixture, &again, &made, true);
    assert_false(first.done || again.done);
    assert_int_equal(pending_wait(fixture, &again), ERR_OK);
    assert_true(first.done && again.op.is_duplicate);
    assert_int_equal(log_flushed_offset(fixture->log), 1);
    assert_int_equal(log_end_offset(fixture->log), 1);
    assert_int_equal(pending_wait(fixture, &first), ERR_OK);
}

/* Two rolls while writes are under way: behind the log's end lie segments that have nothing yet. */
static void test_flush_before_rolled_writes(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 3 };
    struct pending pending[COUNT];
    struct made_batch made = {.value_len = 100};
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(log_begin_segment(fixture->log, 0), ERR_OK);
        pending_start(fixture, &pending[i], &made, i == 0);
    }
    assert_int_equal(pending_wait(fixture, &pending[0]), ERR_OK);
    const struct segment *first = fixture->log->segments[0];
    assert_in_range(first->size, 1, UINT32_MAX);
    assert_int_equal(first->flushed, first->size);
    for (int i = 1; i < COUNT; i++)
        assert_int_equal(pending_wait(fixture, &pending[i]), ERR_OK);
    fixture_wait_idle(fixture);
    assert_int_equal(log_segment_count(fixture->log), COUNT);
    assert_reads_all(fixture);
}

static void limit_file_size(uint64_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Several appends, with a roll among them, of which the first already finds no space. */
static void test_full_disk_heals(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 12 };
    struct pending pending[COUNT];
    struct made_batch made = {.has_producer = true, .producer_id = 9, .value_len = 100};
    signal(SIGXFSZ, SIG_IGN);
    for (; made.sequence < 2; made.sequence++)
        assert_int_equal(append_made(fixture, &made, false, NULL), ERR_OK);
    uint64_t size = log_size(fixture->log);
    limit_file_size(size + 50);
    for (int i = 0; i < COUNT; i++, made.sequence++)
        pending_start(fixture, &pending[i], &made, i % 2);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(pending_wait(fixture, &pending[i]), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(fixture->failure, ERR_OK);
    assert_false(log_is_offline(fixture->log));
    assert_int_equal(log_next_offset(fixture->log), 2);
    assert_int_equal(log_segment_count(fixture->log), 1);
    assert_int_equal(fixture_file_size(fixture, 0, ".log"), size);
    assert_reads_all(fixture);
    limit_file_size(RLIM_INFINITY);
    made.sequence = 2;
    while (append_made(fixture, &made, true, NULL) == ERR_KAFKA_STORAGE_ERROR)
        io_run_once(fixture->io, 20000000); /* until the pause is over */
    for (made.sequence = 3; made.sequence < 20; made.sequence++)
        assert_int_equal(append_made(fixture, &made, true, NULL), ERR_OK);
    assert_int_equal(log_end_offset(fixture->log), 20);
    assert_reads_all(fixture);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 0);
    assert_int_equal(log_end_offset(fixture->log), 20);
    assert_reads_all(fixture);
}

static void test_failure_is_final(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 3);
    fixture_close(fixture);
    fixture_open(fixture, true, 0);
    fixture_remove(fixture, 0, ".log"); /* the file is closed: the next append cannot open it */
    struct made_batch made = {0};
    assert_int_equal(append_made(fixture, &made, true, NULL), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(fixture->failure, ERR_IO);
    assert_true(log_is_offline(fixture->log));
    assert_int_equal(append_made(fixture, &made, true, NULL), ERR_KAFKA_STORAGE_ERROR);
    struct reading reading = {.op = {.offset = 0, .end_offset = 3, .bytes_max = 100}};
    assert_int_equal(read_wait(fixture, &reading), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(log_close(fixture->log), ERR_KAFKA_STORAGE_ERROR);
    fixture->log = NULL;
}

static void test_followers_offsets(void **state)
{
    struct fixture *fixture = *state;
    static const int64_t offsets[] = {5, 6, INT64_C(5000000000)};
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        struct pending pending;
        struct made_batch made = {.timestamp = 1};
        pending_make(&pending, &made, offsets[i]);
        batch_stamp(pending.bytes.data, offsets[i], 3 + (int32_t)i, NULL);
        pending.op = (struct log_append){.kind = LOG_APPEND_FOLLOWER,
                                         .batches = pending.bytes.data,
                                         .len = pending.bytes.len,
                                         .done = pending_done};
        log_append(fixture->log, &pending.op);
        assert_int_equal(pending_wait(fixture, &pending), ERR_OK);
        assert_reads(fixture, offsets[i], NULL);
    }
    assert_reads(fixture, INT64_C(5000000000), NULL);
    int64_t end_offset;
    int32_t epoch;
    epochs_end_offset(log_epochs(fixture->log), 4, log_end_offset(fixture->log), &epoch,
                      &end_offset);
    assert_int_equal(epoch, 4);
    assert_int_equal(end_offset, INT64_C(5000000000));
    /* In a gap the next record is served. */
    struct reading reading = {
        .op = {.offset = 100, .end_offset = INT64_MAX, .bytes_max = 1, .at_least_one = true}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    struct batch batch;
    assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
    assert_int_equal(batch.base_offset, INT64_C(5000000000));
    rbuf_unref(reading.op.buf);
    /* Backwards is refused. */
    struct pending pending;
    struct made_batch made = {.timestamp = 1};
    pending_make(&pending, &made, 7);
    batch_stamp(pending.bytes.data, 7, 5, NULL);
    pending.op = (struct log_append){.kind = LOG_APPEND_FOLLOWER,
                                     .batches = pending.bytes.data,
                                     .len = pending.bytes.len,
                                     .done = pending_done};
    log_append(fixture->log, &pending.op);
    assert_int_equal(pending_wait(fixture, &pending), ERR_CORRUPT_MESSAGE);
}

static void test_flush_policies(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 3);
    assert_int_equal(log_flushed_offset(fixture->log), 0);
    fixture->config.flush_messages = 4;
    log_set_config(fixture->log, &fixture->config);
    append_many(fixture, 1);
    fixture_wait_idle(fixture);
    assert_int_equal(log_flushed_offset(fixture->log), 4);
    fixture->config.flush_messages = INT64_MAX;
    fixture->config.flush_ms = 500;
    log_set_config(fixture->log, &fixture->config);
    append_many(fixture, 1);
    log_tick(fixture->log, 1499, true);
    fixture_wait_idle(fixture);
    assert_int_equal(log_flushed_offset(fixture->log), 4);
    log_tick(fixture->log, 1500, true);
    fixture_wait_idle(fixture);
    assert_int_equal(log_flushed_offset(fixture->log), 5);
    append_many(fixture, 40); /* through several segments: one flush goes on to the end */
    assert_true(log_segment_count(fixture->log) > 2);
    log_flush(fixture->log);
    fixture_wait_idle(fixture);
    assert_int_equal(log_flushed_offset(fixture->log), 45);
}

/* More entries than are kept in memory: look-ups go to the file, and an open log goes on with it.
 */
static void test_long_index(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 700 };
    fixture->config.segment_bytes = 1 << 24;
    fixture->config.index_interval_bytes = 0;
    log_set_config(fixture->log, &fixture->config);
    append_many(fixture, COUNT);
    assert_int_equal(log_segment_count(fixture->log), 1);
    uint64_t stored = fixture_file_size(fixture, 0, ".index");
    assert_true(stored > 0 && stored < (COUNT - 1) * 8);
    for (int round = 0; round < 3; round++) {
        struct log_position position;
        assert_reads_all(fixture);
        for (int64_t offset = 0; offset < log_end_offset(fixture->log); offset += 7) {
            assert_int_equal(
                log_find_timestamp(fixture->log, NULL, 1000 + offset, INT64_MAX, &position),
                ERR_OK);
            assert_int_equal(position.offset, offset);
        }
        fixture_close(fixture);
        assert_int_equal(fixture_file_size(fixture, 0, ".index"), (COUNT + round * 300 - 1) * 8);
        assert_int_equal(fixture_file_size(fixture, 0, ".timeindex"),
                         (COUNT + round * 300 - 1) * 12);
        fixture_open(fixture, round != 1, 0);
        append_many(fixture, 300);
    }
    /* A shorter one after a cut: what the file had behind it is gone. */
    assert_int_equal(log_truncate_to(fixture->log, 400), ERR_OK);
    append_many(fixture, 3);
    assert_reads_all(fixture);
    fixture_close(fixture);
    assert_int_equal(fixture_file_size(fixture, 0, ".index"), 402 * 8);
}

static void test_idle_closes_files(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 40);
    fixture_wait_idle(fixture);
    log_tick(fixture->log, 1000, true);
    assert_false(list_is_empty(&fixture->log->open_segments));
    fixture->log->used_ms -= 31000;
    log_tick(fixture->log, 1000, true); /* flushes first */
    fixture_wait_idle(fixture);
    assert_int_equal(log_flushed_offset(fixture->log), 40);
    fixture->log->used_ms -= 31000;
    log_tick(fixture->log, 1000, true);
    assert_true(list_is_empty(&fixture->log->open_segments));
    assert_reads_all(fixture);
    append_one(fixture, true);
    assert_reads_all(fixture);
}

#define MODEL_MAX 4000

/* What the log should hold: each record's timestamp, which is used once. */
struct model {
    int64_t start, end;
    int64_t times[MODEL_MAX];
};

static void assert_like_model(struct fixture *fixture, const struct model *model)
{
    assert_int_equal(log_end_offset(fixture->log), model->end);
    assert_true(log_start_offset(fixture->log) >= model->start);
    int64_t offset = log_start_offset(fixture->log);
    while (offset < model->end) {
        struct reading reading = {.op = {.offset = offset,
                                         .end_offset = model->end,
                                         .bytes_max = 700,
                                         .at_least_one = true}};
        struct batches batches;
        struct batch batch;
        assert_int_equal(read_wait(fixture, &reading), ERR_OK);
        for (batches_init(&batches, reading.op.batches); batches_next(&batches, &batch);) {
            assert_int_equal(batch.base_offset, offset);
            assert_int_equal(batch.base_timestamp, model->times[offset]);
            offset = batch.last_offset + 1;
        }
        rbuf_unref(reading.op.buf);
    }
    assert_int_equal(offset, model->end);
}

static void model_step(struct fixture *fixture, struct model *model, struct rng *rng)
{
    uint32_t removed;
    switch (rng_below(rng, 12)) {
    case 0:
        fixture_close(fixture);
        assert_int_equal(fixture_try_open(fixture, true, 0, model->start), ERR_OK);
        break;
    case 1: {
        int64_t recovery_point = log_flushed_offset(fixture->log);
        fixture_abandon(fixture);
        assert_int_equal(fixture_try_open(fixture, false, recovery_point, model->start), ERR_OK);
        break;
    }
    case 2:
        if (model->end > model->start) {
            model->start = rng_range(rng, model->start, model->end);
            assert_int_equal(log_delete_records(fixture->log, model->start), ERR_OK);
        }
        break;
    case 3:
        fixture->config.retention_bytes = (int64_t)rng_below(rng, 20000);
        log_set_config(fixture->log, &fixture->config);
        assert_int_equal(log_retain(fixture->log, 1000, &removed), ERR_OK);
        model->start = log_start_offset(fixture->log);
        break;
    case 4:
        fixture_wait_idle(fixture);
        if (model->end - model->start > 10)
            model->end -= (int64_t)rng_below(rng, 10);
        assert_int_equal(log_truncate_to(fixture->log, model->end), ERR_OK);
        break;
    default:
        for (uint64_t i = rng_below(rng, 12); i > 0 && model->end < MODEL_MAX; i--) {
            struct made_batch made = {.timestamp = (int64_t)(rng_u64(rng) >> 40) + 1,
                                      .value_len = 1 + rng_below(rng, 300)};
            model->times[model->end++] = made.timestamp;
            assert_int_equal(append_made(fixture, &made, rng_chance(rng, 1, 5), NULL), ERR_OK);
        }
    }
}

static void test_random_steps(void **state)
{
    struct fixture *fixture = *state;
    struct model *model = calloc(1, sizeof(*model));
    struct rng rng;
    assert_non_null(model);
    rng_init(&rng, 20261123);
    fixture->config.index_interval_bytes = 500;
    fixture->config.segment_bytes = 3000;
    log_set_config(fixture->log, &fixture->config);
    for (int i = 0; i < 300; i++) {
        model_step(fixture, model, &rng);
        if (i % 3 == 0)
            assert_like_model(fixture, model);
    }
    assert_true(model->end > 500);
    free(model);
}

static void test_delete(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 3);
    fixture_wait_idle(fixture);
    char *renamed, want[160];
    assert_int_equal(log_delete(fixture->log, 0xabc, 0x123, &renamed), ERR_OK);
    fixture->log = NULL;
    snprintf(want, sizeof(want), "%s.0000000000000abc0000000000000123-delete", fixture->dir);
    assert_string_equal(renamed, want);
    struct io_stat stat;
    assert_int_equal(io_stat_path(fixture->io, fixture->dir, &stat), ERR_NOENT);
    assert_int_equal(logdir_remove_folder(fixture->io, renamed), ERR_OK);
    free(renamed);
    assert_int_equal(io_mkdir(fixture->io, fixture->dir), ERR_OK); /* for the teardown */
}

/* A job would find another log's files under the name that it has. */
static void test_name_is_kept_for_a_job(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 30);
    struct deletion deletion;
    deletion_start(fixture, &deletion, 21);
    assert_int_equal(log_give_up_name(fixture->log, 0xabc, 0x123), ERR_BUSY);
    assert_false(log_is_renamed(fixture->log));
    fixture_wait_idle(fixture);
    assert_int_equal(deletion.op.err, ERR_OK);
    assert_int_equal(log_give_up_name(fixture->log, 0xabc, 0x123), ERR_OK);
    assert_true(log_is_renamed(fixture->log));
    /* From here on it does without the name. */
    assert_int_equal(io_mkdir(fixture->io, fixture->dir), ERR_OK);
    deletion_start(fixture, &deletion, 25);
    append_one(fixture, true);
    fixture_wait_idle(fixture);
    assert_int_equal(deletion.op.err, ERR_OK);
    char *renamed;
    assert_int_equal(log_delete(fixture->log, 0, 0, &renamed), ERR_OK);
    fixture->log = NULL;
    assert_int_equal(io_rmdir(fixture->io, fixture->dir), ERR_OK); /* it is empty */
    assert_int_equal(logdir_remove_folder(fixture->io, renamed), ERR_OK);
    free(renamed);
    assert_int_equal(io_mkdir(fixture->io, fixture->dir), ERR_OK); /* for the teardown */
}

static void test_delete_long_name(void **state)
{
    struct fixture *fixture = *state;
    char dir[400], *renamed;
    snprintf(dir, sizeof(dir), "%s/%0249d-12", fixture->root, 0);
    struct uuid id = {{1}};
    struct log *log;
    struct log_open_options options = {true, 0, -1};
    assert_int_equal(log_create(fixture->io, dir, id), ERR_OK);
    assert_int_equal(log_open(fixture->io, dir, &fixture->config, &options, &fixture->owner, &log,
                              &fixture->problem),
                     ERR_OK);
    assert_int_equal(log_delete(log, UINT64_MAX, 1, &renamed), ERR_OK);
    assert_int_equal(strlen(strrchr(renamed, '/') + 1), 255);
    assert_non_null(strstr(renamed, "0-12.ffffffffffffffff0000000000000001-delete"));
    assert_int_equal(logdir_remove_folder(fixture->io, renamed), ERR_OK);
    free(renamed);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_append_roll_read_reopen),
        LOG_TEST(test_preallocate),
        LOG_TEST(test_many_in_flight),
        LOG_TEST(test_read_bounds),
        LOG_TEST(test_delete_records),
        LOG_TEST(test_deletions_are_durable),
        LOG_TEST(test_retention_by_time),
        LOG_TEST(test_jitter_is_less_than_a_segment),
        LOG_TEST(test_a_shorter_delay_counts_at_once),
        LOG_TEST(test_old_records_fill_segments),
        LOG_TEST(test_find_by_time),
        LOG_TEST(test_find_in_compressed),
        LOG_TEST(test_truncate_and_retain),
        LOG_TEST(test_read_while_removed),
        LOG_TEST(test_producer_sequences),
        LOG_TEST(test_duplicate_in_flight),
        LOG_TEST(test_flush_before_rolled_writes),
        LOG_TEST(test_full_disk_heals),
        LOG_TEST(test_failure_is_final),
        LOG_TEST(test_followers_offsets),
        LOG_TEST(test_flush_policies),
        LOG_TEST(test_long_index),
        LOG_TEST(test_idle_closes_files),
        LOG_TEST(test_random_steps),
        LOG_TEST(test_delete),
        LOG_TEST(test_name_is_kept_for_a_job),
        LOG_TEST(test_delete_long_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
