/* Goal: whatever a crash leaves is opened again with all that was flushed, and no more than was
 * written; what was damaged is named, not cut.
 * Method: the files of a small log are cut and changed at each byte, removed, emptied, filled with
 * zeros and joined by foreign ones; every offset is read after each. */
#include "log/internal.h"
#include "log/testing.h"

/* All of the first `flushed` records at least, each right; appends go on. */
static void assert_recovered(struct fixture *fixture, int64_t flushed)
{
    assert_true(log_end_offset(fixture->log) >= flushed);
    assert_int_equal(log_next_offset(fixture->log), log_end_offset(fixture->log));
    assert_reads_all(fixture);
    int64_t offset = log_end_offset(fixture->log);
    append_one(fixture, true);
    assert_reads(fixture, offset, NULL);
}

static void test_cut_at_each_byte(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 4);
    uint64_t size = log_size(fixture->log);
    fixture_abandon(fixture);
    for (uint64_t cut = size - 1; cut > size / 2 - 3; cut--) {
        fixture_truncate(fixture, 0, ".log", cut);
        fixture_open(fixture, false, 0);
        int64_t whole = (int64_t)(cut / (size / 4));
        assert_int_equal(log_end_offset(fixture->log), whole);
        assert_recovered(fixture, whole);
        while (log_end_offset(fixture->log) < 4)
            append_one(fixture, false);
        assert_int_equal(log_size(fixture->log), size);
        fixture_abandon(fixture);
    }
}

static void test_garbled_at_each_byte(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 4);
    uint64_t size = log_size(fixture->log), batch = size / 4;
    fixture_abandon(fixture);
    for (uint64_t at = 0; at < size; at++) {
        if (at % batch >= BATCH_AT_LEADER_EPOCH && at % batch < BATCH_AT_MAGIC)
            continue; /* under no checksum, and any value may be */
        fixture_flip(fixture, 0, ".log", at);
        int64_t whole = (int64_t)(at / batch);
        /* Damage below the recovery point is refused, and nothing is touched. */
        assert_int_equal(fixture_try_open(fixture, false, whole + 1, -1), ERR_MALFORMED);
        assert_non_null(strstr(fixture->problem.text, "00000000000000000000.log"));
        assert_int_equal(fixture_file_size(fixture, 0, ".log"), size);
        if (at % 7 == 0) { /* not all of them, for time */
            fixture_open(fixture, false, whole);
            assert_true(log_end_offset(fixture->log) >= whole);
            assert_recovered(fixture, whole);
            while (log_end_offset(fixture->log) < 4)
                append_one(fixture, false);
            fixture_abandon(fixture);
        } else {
            fixture_flip(fixture, 0, ".log", at);
        }
    }
}

/* Where offsets may have gaps, one that is garbled must not pass for a gap. */
static void test_garbled_offset_is_no_gap(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.is_dense = false;
    append_many(fixture, 4);
    uint64_t size = log_size(fixture->log), last = size / 4 * 3;
    fixture_abandon(fixture);
    for (uint64_t at = last; at < last + 4; at++) {
        fixture_flip(fixture, 0, ".log", at);
        assert_int_equal(fixture_try_open(fixture, false, 4, -1), ERR_MALFORMED);
        fixture_open(fixture, false, 3);
        assert_int_equal(log_end_offset(fixture->log), 3);
        assert_recovered(fixture, 3);
        assert_int_equal(log_size(fixture->log), size);
        fixture_abandon(fixture);
    }
}

static void write_at(struct fixture *fixture, int64_t base, uint64_t at, const uint8_t *bytes,
                     size_t len)
{
    char path[256];
    struct io_file file;
    fixture_path(fixture, base, ".log", path);
    assert_int_equal(io_open(fixture->io, path, IO_OPEN_WRITE, &file), ERR_OK);
    assert_int_equal(io_write_now(fixture->io, file, bytes, len, at), ERR_OK);
    io_close(fixture->io, file);
}

/* The third of four batches gets another offset or epoch: it is the one that goes, and what comes
 * behind it, not the right one behind it alone. */
static void assert_third_goes(struct fixture *fixture, uint64_t size)
{
    assert_int_equal(fixture_try_open(fixture, false, 4, -1), ERR_MALFORMED);
    char where[32];
    snprintf(where, sizeof(where), "at byte %llu,", (unsigned long long)(size / 2));
    if (!strstr(fixture->problem.text, where))
        fail_msg("%s", fixture->problem.text);
    fixture_open(fixture, false, 2);
    assert_int_equal(log_end_offset(fixture->log), 2);
    assert_int_equal(log_epochs(fixture->log)->count, 1);
    assert_recovered(fixture, 2);
    while (log_end_offset(fixture->log) < 4)
        append_one(fixture, false);
    assert_int_equal(log_size(fixture->log), size);
    fixture_abandon(fixture);
}

static void test_offset_that_others_contradict(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.is_dense = false;
    append_many(fixture, 4);
    uint64_t size = log_size(fixture->log);
    fixture_abandon(fixture);
    for (int64_t wrong = 0; wrong < 40; wrong++) {
        uint8_t offset[8];
        if (wrong == 2)
            continue;
        be64_store(offset, (uint64_t)(wrong < 20 ? wrong : wrong << wrong / 4));
        write_at(fixture, 0, size / 2, offset, sizeof(offset));
        assert_third_goes(fixture, size);
    }
}

static void test_epoch_that_others_contradict(void **state)
{
    static const int32_t wrong[] = {0, 1, 4, 6, 7, 1000, INT32_MAX, -1, INT32_MIN};
    struct fixture *fixture = *state;
    fixture->leader_epoch = 5;
    append_many(fixture, 4);
    uint64_t size = log_size(fixture->log);
    fixture_abandon(fixture);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        uint8_t epoch[4];
        be32_store(epoch, (uint32_t)wrong[i]);
        write_at(fixture, 0, size / 2 + BATCH_AT_LEADER_EPOCH, epoch, sizeof(epoch));
        assert_third_goes(fixture, size);
    }
    /* Nothing behind the last one tells: the metadata does. */
    fixture->has_leader_epoch = true;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        uint8_t epoch[4];
        be32_store(epoch, (uint32_t)wrong[i]);
        write_at(fixture, 0, size / 4 * 3 + BATCH_AT_LEADER_EPOCH, epoch, sizeof(epoch));
        fixture_open(fixture, false, 3);
        assert_int_equal(log_end_offset(fixture->log), 3);
        append_one(fixture, false);
        fixture_abandon(fixture);
    }
    fixture->has_leader_epoch = false;
}

/* An epoch that begins in the middle is none of that. */
static void test_new_epoch_is_right(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.is_dense = false;
    append_many(fixture, 2);
    fixture->leader_epoch = 3;
    append_many(fixture, 1);
    fixture->leader_epoch = 4;
    append_many(fixture, 2);
    fixture->has_leader_epoch = true;
    fixture_abandon(fixture);
    fixture_open(fixture, false, 0);
    assert_int_equal(log_end_offset(fixture->log), 5);
    assert_int_equal(log_epochs(fixture->log)->count, 3);
    assert_recovered(fixture, 5);
}

/* The last batch of a segment cannot reach into the next. */
static void test_offset_past_the_next_segment(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.is_dense = false;
    append_many(fixture, 1);
    uint64_t size = log_size(fixture->log);
    for (uint8_t wrong = 2; wrong < 9; wrong++) {
        const uint8_t offset[8] = {[7] = wrong};
        append_many(fixture, 1);
        assert_int_equal(log_roll(fixture->log, 2, 1000), ERR_OK);
        append_many(fixture, 2);
        fixture_abandon(fixture);
        write_at(fixture, 0, size, offset, sizeof(offset));
        assert_int_equal(fixture_try_open(fixture, false, 2, -1), ERR_OK); /* it is not read */
        fixture_abandon(fixture);
        fixture_open(fixture, false, 1);
        assert_int_equal(log_end_offset(fixture->log), 1);
        assert_int_equal(log_segment_count(fixture->log), 1);
    }
    assert_recovered(fixture, 1);
}

static void test_indexes_are_rebuilt(void **state)
{
    struct fixture *fixture = *state;
    static const char *const suffixes[] = {".index", ".timeindex"};
    append_many(fixture, 60);
    int64_t active = log_active_base_offset(fixture->log);
    fixture_close(fixture);
    for (int what = 0; what < 4; what++) {
        for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
            for (int which = 0; which < 2; which++) {
                int64_t base = which ? active : 0;
                uint64_t size = fixture_file_size(fixture, base, suffixes[i]);
                if (what == 0)
                    fixture_remove(fixture, base, suffixes[i]);
                else if (what == 1)
                    fixture_truncate(fixture, base, suffixes[i], size + 1000); /* zeros */
                else if (what == 2)
                    fixture_truncate(fixture, base, suffixes[i], size / 2);
                else if (size > 0)
                    fixture_flip(fixture, base, suffixes[i], size - 1);
            }
        }
        fixture_open(fixture, true, 0); /* a clean stop said that they are right */
        assert_int_equal(log_end_offset(fixture->log), 60);
        assert_reads_all(fixture);
        fixture_close(fixture);
        fixture_open(fixture, false, 0);
        assert_int_equal(log_end_offset(fixture->log), 60);
        assert_reads_all(fixture);
        struct log_position position;
        for (int64_t offset = 0; offset < 60; offset++) {
            assert_int_equal(log_find_timestamp(fixture->log, NULL, 1000 + offset, 60, &position),
                             ERR_OK);
            assert_int_equal(position.offset, offset);
        }
        fixture_close(fixture);
    }
}

static void test_index_bytes_changed(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 30);
    fixture_close(fixture);
    uint64_t size = fixture_file_size(fixture, 0, ".index");
    assert_true(size > 8);
    for (uint64_t at = 0; at < size; at++) {
        fixture_flip(fixture, 0, ".index", at);
        fixture_open(fixture, true, 0);
        assert_reads_all(fixture);
        fixture_close(fixture);
        fixture_flip(fixture, 0, ".index", at);
    }
}

static void test_lost_end_of_sealed_segment(void **state)
{
    struct fixture *fixture = *state;
    struct made_batch made = {.timestamp = 1, .value_len = 20}; /* all of one size */
    for (int i = 0; i < 40; i++)
        assert_int_equal(append_made(fixture, &made, false, NULL), ERR_OK);
    assert_true(log_segment_count(fixture->log) > 2);
    uint64_t size = fixture_file_size(fixture, 0, ".log"), batch = log_size(fixture->log) / 40;
    fixture_abandon(fixture);
    /* Whole batches are missing, the next segment is there: what follows is not the log's. */
    int64_t in_first = (int64_t)(size / batch);
    fixture_truncate(fixture, 0, ".log", size - batch);
    fixture_open(fixture, false, 0);
    assert_int_equal(log_end_offset(fixture->log), in_first - 1);
    assert_int_equal(log_segment_count(fixture->log), 1);
    assert_recovered(fixture, in_first - 1);
    fixture_abandon(fixture);
    /* Flushed once, so it is refused where the recovery point says so. */
    fixture_flip(fixture, 0, ".log", 30);
    assert_int_equal(fixture_try_open(fixture, false, in_first, -1), ERR_MALFORMED);
}

static void append_sequence(struct fixture *fixture, int32_t sequence, enum err want,
                            bool want_duplicate)
{
    struct made_batch made = {.has_producer = true, .producer_id = 4, .sequence = sequence};
    struct log_append out;
    assert_int_equal(append_made(fixture, &made, false, &out), want);
    assert_true(out.is_duplicate == want_duplicate);
}

/* A retry of a lost batch must be appended: a snapshot that knows of it must not be believed. */
static void test_snapshot_of_lost_batches(void **state)
{
    struct fixture *fixture = *state;
    int32_t sequence = 0;
    while (log_segment_count(fixture->log) < 3)
        append_sequence(fixture, sequence++, ERR_OK, false);
    fixture_abandon(fixture);
    uint64_t size = fixture_file_size(fixture, 0, ".log");
    fixture_truncate(fixture, 0, ".log", size - 10);
    fixture_open(fixture, false, 0);
    int64_t end_offset = log_end_offset(fixture->log);
    append_sequence(fixture, (int32_t)end_offset - 1, ERR_OK, true);
    append_sequence(fixture, (int32_t)end_offset, ERR_OK, false);
    append_sequence(fixture, (int32_t)end_offset + 2, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
}

static void test_snapshots(void **state)
{
    struct fixture *fixture = *state;
    int32_t sequence = 0;
    for (int round = 0; round < 4; round++) { /* each stop leaves one at the end */
        for (int i = 0; i < 5; i++)
            append_sequence(fixture, sequence++, ERR_OK, false);
        fixture_close(fixture);
        fixture_open(fixture, true, 0);
    }
    assert_true(fixture_has(fixture, 20, ".snapshot"));
    int64_t active = log_active_base_offset(fixture->log);
    for (int64_t offset = active + 1; offset < 20; offset++)
        assert_false(fixture_has(fixture, offset, ".snapshot"));
    assert_true(fixture_has(fixture, active, ".snapshot"));
    fixture_close(fixture);
    /* Torn, and gone: older ones and the batches do as well. */
    fixture_truncate(fixture, 20, ".snapshot", 30);
    fixture_open(fixture, true, 0);
    append_sequence(fixture, 19, ERR_OK, true);
    append_sequence(fixture, 21, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    fixture_close(fixture);
    fixture_remove(fixture, active, ".snapshot");
    fixture_open(fixture, true, 0);
    append_sequence(fixture, 19, ERR_OK, true);
    append_sequence(fixture, 20, ERR_OK, false);
}

/* An open transaction, its end, and who ended it are in the snapshot. */
static void test_transaction_marker(void **state)
{
    struct fixture *fixture = *state;
    struct pending pending = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.producer_id = 6;
    options.producer_epoch = 2;
    options.is_transactional = true;
    for (int step = 0; step < 2; step++) {
        buf_init(&pending.bytes, BUF_NO_LIMIT);
        if (step == 0) {
            struct batch_builder builder;
            struct record_fields fields = {.timestamp = 1, .value = slice_of("x", 1)};
            options.base_sequence = 0;
            batch_builder_init(&builder, &pending.bytes, &options);
            assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
            assert_int_equal(batch_builder_finish(&builder, NULL), ERR_OK);
            batch_builder_deinit(&builder);
        } else {
            options.base_sequence = BATCH_SEQUENCE_NONE;
            options.is_control = true;
            assert_int_equal(batch_put_end_txn(&pending.bytes, &options, true, 41, 2), ERR_OK);
        }
        pending.done = false;
        pending.op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                         .batches = pending.bytes.data,
                                         .len = pending.bytes.len,
                                         .done = pending_done};
        log_append(fixture->log, &pending.op);
        assert_int_equal(pending_wait(fixture, &pending), ERR_OK);
        fixture_close(fixture);
        fixture_open(fixture, true, 0);
        const struct producer *producer = producers_find(log_producers(fixture->log), 6);
        assert_non_null(producer);
        assert_int_equal(producer->epoch, 2);
        assert_int_equal(producer->txn_first_offset, step == 0 ? 0 : -1);
        assert_int_equal(producer->coordinator_epoch, step == 0 ? -1 : 41);
    }
}

static void test_other_files(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 20);
    fixture_abandon(fixture);
    static const char *const kept[] = {"notes.txt", "00000000000000000000.logx", "1.log",
                                       "0000000000000000000x.log",
                                       "00000000000000000007.snapshotx"};
    static const char *const gone[] = {"00000000000000000099.log.deleted",
                                       "00000000000000000000.log.cleaned",
                                       "leader-epoch-checkpoint.tmp"};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        fixture_put(fixture, kept[i], slice_of("x", 1));
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        fixture_put(fixture, gone[i], slice_of("x", 1));
    fixture_open(fixture, false, 0);
    assert_recovered(fixture, 20);
    char path[256];
    struct io_stat stat;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->dir, kept[i]);
        assert_int_equal(io_stat_path(fixture->io, path, &stat), ERR_OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->dir, gone[i]);
        assert_int_equal(io_stat_path(fixture->io, path, &stat), ERR_NOENT);
    }
    fixture_close(fixture);
    fixture_put(fixture, "00000000000000000000.log.swap", slice_of("x", 1));
    assert_int_equal(fixture_try_open(fixture, true, 0, -1), ERR_MALFORMED);
    assert_non_null(strstr(fixture->problem.text, "00000000000000000000.log.swap"));
}

static void test_epochs(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 2);
    struct pending pending;
    struct made_batch made = {.timestamp = 1};
    pending_make(&pending, &made, 2);
    pending.op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                     .batches = pending.bytes.data,
                                     .len = pending.bytes.len,
                                     .leader_epoch = 7,
                                     .done = pending_done};
    log_append(fixture->log, &pending.op);
    assert_int_equal(pending_wait(fixture, &pending), ERR_OK);
    log_flush(fixture->log);
    fixture_wait_idle(fixture);
    /* Until it is in its file, the batches have to tell. */
    assert_int_equal(log_flushed_offset(fixture->log), 3);
    assert_int_equal(log_recovery_point(fixture->log), 2);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 2);
    assert_int_equal(epochs_latest(log_epochs(fixture->log)), 7);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 3);
    assert_int_equal(epochs_latest(log_epochs(fixture->log)), 7);
    fixture_abandon(fixture);
    /* Lost: the batches tell. */
    char path[256];
    snprintf(path, sizeof(path), "%s/leader-epoch-checkpoint", fixture->dir);
    assert_int_equal(io_unlink_now(fixture->io, path), ERR_OK);
    fixture_open(fixture, false, 0);
    assert_int_equal(epochs_latest(log_epochs(fixture->log)), 7);
    assert_int_equal(epochs_of_offset(log_epochs(fixture->log), 1), 0);
    struct io_stat stat;
    assert_int_equal(io_stat_path(fixture->io, path, &stat), ERR_OK); /* written again */
    fixture_abandon(fixture);
    fixture_put(fixture, "leader-epoch-checkpoint", slice_of("0\n1\nx 0\n", 8));
    assert_int_equal(fixture_try_open(fixture, false, 3, -1), ERR_MALFORMED);
    assert_non_null(strstr(fixture->problem.text, "leader-epoch-checkpoint"));
    /* Where nothing was flushed yet, nobody may have flushed the file either. */
    fixture_open(fixture, false, 0);
    assert_int_equal(epochs_latest(log_epochs(fixture->log)), 7);
    fixture_abandon(fixture);
    fixture_put(fixture, "leader-epoch-checkpoint", SLICE_NULL);
    fixture_open(fixture, false, 0);
    assert_int_equal(log_begin_epoch(fixture->log, 9), ERR_OK);
    /* Nothing has that epoch yet. */
    assert_int_equal(log_tick(fixture->log, 1000, true), LOG_TICK_FREE);
    pending_make(&pending, &made, 3);
    pending.op.leader_epoch = 9;
    pending.op.batches = pending.bytes.data;
    pending.op.len = pending.bytes.len;
    pending.op.done = pending_done;
    log_append(fixture->log, &pending.op);
    assert_int_equal(pending_wait(fixture, &pending), ERR_OK);
    assert_int_equal(log_tick(fixture->log, 1000, false), LOG_TICK_FREE);
    assert_int_equal(log_tick(fixture->log, 1000, true), LOG_TICK_SYNCED);
    assert_int_equal(log_tick(fixture->log, 1000, true), LOG_TICK_FREE);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 3);
    assert_int_equal(epochs_latest(log_epochs(fixture->log)), 9);
    assert_int_equal(epochs_of_offset(log_epochs(fixture->log), 2), 7);
}

static void test_unchanged_is_not_written(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 5);
    fixture_close(fixture);
    fixture_remove(fixture, 5, ".snapshot");
    fixture_open(fixture, true, 0);
    assert_reads_all(fixture);
    fixture_close(fixture);
    assert_false(fixture_has(fixture, 5, ".snapshot"));
}

static void test_no_segment(void **state)
{
    struct fixture *fixture = *state;
    fixture_abandon(fixture);
    fixture_remove(fixture, 0, ".log");
    assert_int_equal(fixture_try_open(fixture, true, 0, 40), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), 40);
    assert_int_equal(log_end_offset(fixture->log), 40);
    append_one(fixture, true);
    assert_reads(fixture, 40, NULL);
}

/* More was deleted than is left of the log. What comes then is there after the next crash, too. */
static void test_ends_below_start(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 30);
    int64_t end = log_end_offset(fixture->log);
    fixture_abandon(fixture);
    assert_int_equal(fixture_try_open(fixture, false, 0, end + 10), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), end + 10);
    assert_int_equal(log_end_offset(fixture->log), end + 10);
    append_one(fixture, true);
    assert_int_equal(log_end_offset(fixture->log), end + 11);
    fixture_abandon(fixture);
    assert_int_equal(fixture_try_open(fixture, false, 0, end + 10), ERR_OK);
    assert_int_equal(log_end_offset(fixture->log), end + 11);
    assert_reads(fixture, end + 10, NULL);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_cut_at_each_byte),
        LOG_TEST(test_garbled_at_each_byte),
        LOG_TEST(test_garbled_offset_is_no_gap),
        LOG_TEST(test_offset_that_others_contradict),
        LOG_TEST(test_epoch_that_others_contradict),
        LOG_TEST(test_new_epoch_is_right),
        LOG_TEST(test_offset_past_the_next_segment),
        LOG_TEST(test_indexes_are_rebuilt),
        LOG_TEST(test_index_bytes_changed),
        LOG_TEST(test_lost_end_of_sealed_segment),
        LOG_TEST(test_snapshot_of_lost_batches),
        LOG_TEST(test_snapshots),
        LOG_TEST(test_transaction_marker),
        LOG_TEST(test_other_files),
        LOG_TEST(test_epochs),
        LOG_TEST(test_unchanged_is_not_written),
        LOG_TEST(test_no_segment),
        LOG_TEST(test_ends_below_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
