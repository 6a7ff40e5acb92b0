/* Goal: readers of committed records learn of every aborted transaction that they meet, and stop at
 * the first that is not decided.
 * Method: interleaved transactions over several small segments, looked up after a clean stop, after
 * a crash, with damaged, cut and missing indexes, and after the log was cut. */
#include "base/bytes.h"
#include "log/testing.h"

/* One record of the producer's open transaction. */
static void put_record(struct fixture *fixture, int64_t producer_id, int32_t sequence)
{
    struct pending pending = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    char value[200] = "x"; /* some four batches a segment */
    struct record_fields fields = {.timestamp = 1, .value = slice_of(value, sizeof(value))};
    options.producer_id = producer_id;
    options.producer_epoch = 0;
    options.base_sequence = sequence;
    options.is_transactional = true;
    buf_init(&pending.bytes, BUF_NO_LIMIT);
    batch_builder_init(&builder, &pending.bytes, &options);
    assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
    assert_int_equal(batch_builder_finish(&builder, NULL), ERR_OK);
    batch_builder_deinit(&builder);
    pending.op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                     .batches = pending.bytes.data,
                                     .len = pending.bytes.len,
                                     .done = pending_done};
    log_append(fixture->log, &pending.op);
    assert_int_equal(pending_wait(fixture, &pending), ERR_OK);
}

static void put_end(struct fixture *fixture, int64_t producer_id, bool commit)
{
    struct pending pending = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.producer_id = producer_id;
    options.producer_epoch = 0;
    options.is_transactional = true;
    options.is_control = true;
    buf_init(&pending.bytes, BUF_NO_LIMIT);
    assert_int_equal(batch_put_end_txn(&pending.bytes, &options, commit, 1, 2), ERR_OK);
    pending.op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                     .batches = pending.bytes.data,
                                     .len = pending.bytes.len,
                                     .done = pending_done};
    log_append(fixture->log, &pending.op);
    assert_int_equal(pending_wait(fixture, &pending), ERR_OK);
}

/* Offsets: 1 aborts {0, 2, marker 4}, 2 commits {1, 3, marker 5}, 1 aborts {6, marker 8}, 2 aborts
 * {7, marker 13}, which lies segments behind its record; 3 has {9..12} committed at 14; 4 is open
 * from 15 on. */
static void fill(struct fixture *fixture)
{
    for (int i = 0; i < 2; i++) {
        put_record(fixture, 1, i);
        put_record(fixture, 2, i);
    }
    put_end(fixture, 1, false);
    put_end(fixture, 2, true);
    put_record(fixture, 1, 2);
    put_record(fixture, 2, 2);
    put_end(fixture, 1, false);
    for (int i = 0; i < 4; i++)
        put_record(fixture, 3, i);
    put_end(fixture, 2, false);
    put_end(fixture, 3, true);
    put_record(fixture, 4, 0);
    assert_true(log_segment_count(fixture->log) >= 3);
}

/* The aborted transactions in [from, to), as "producer:first-last ". */
static void assert_aborted(struct fixture *fixture, int64_t from, int64_t to, const char *want)
{
    struct txn_list list = {0};
    char text[256] = "";
    bool has_aborted;
    assert_int_equal(log_has_aborted(fixture->log, &has_aborted), ERR_OK);
    assert_true(has_aborted);
    assert_int_equal(log_aborted_txns(fixture->log, from, to, &list), ERR_OK);
    size_t len = 0;
    for (size_t i = 0; i < list.count; i++)
        len += (size_t)snprintf(
            text + len, sizeof(text) - len, "%lld:%lld-%lld ", (long long)list.items[i].producer_id,
            (long long)list.items[i].first_offset, (long long)list.items[i].last_offset);
    assert_string_equal(text, want);
    txn_list_deinit(&list);
}

static void assert_all(struct fixture *fixture)
{
    assert_aborted(fixture, 0, 16, "1:0-4 1:6-8 2:7-13 ");
    assert_aborted(fixture, 0, 1, "1:0-4 ");
    assert_aborted(fixture, 3, 7, "1:0-4 1:6-8 ");
    assert_aborted(fixture, 5, 6, "");
    assert_aborted(fixture, 9, 10, "2:7-13 ");
    assert_aborted(fixture, 14, 16, "");
    assert_int_equal(log_last_stable_offset(fixture->log, log_end_offset(fixture->log)), 15);
}

static void test_lookups(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    assert_all(fixture);
    fixture_close(fixture);
    fixture_open(fixture, true, 0);
    assert_all(fixture);
    put_end(fixture, 4, true);
    assert_int_equal(log_last_stable_offset(fixture->log, 17), 17);
    assert_aborted(fixture, 0, 17, "1:0-4 1:6-8 2:7-13 ");
}

static void test_none(void **state)
{
    struct fixture *fixture = *state;
    struct txn_list list = {0};
    bool has_aborted = true;
    append_many(fixture, 20);
    assert_int_equal(log_has_aborted(fixture->log, &has_aborted), ERR_OK);
    assert_false(has_aborted);
    assert_int_equal(log_aborted_txns(fixture->log, 0, 20, &list), ERR_OK);
    assert_int_equal(list.count, 0);
    assert_int_equal(log_last_stable_offset(fixture->log, 20), 20);
    fixture_close(fixture);
    assert_false(fixture_has(fixture, 0, ".txnindex"));
    fixture_open(fixture, true, 0);
}

/* A transaction counts as open until the reader's bound has passed its marker. */
static void test_marker_not_seen(void **state)
{
    struct fixture *fixture = *state;
    put_record(fixture, 1, 0);
    put_record(fixture, 2, 0);
    put_end(fixture, 1, true);
    assert_int_equal(log_last_stable_offset(fixture->log, 2), 0);
    assert_int_equal(log_last_stable_offset(fixture->log, 3), 1);
    put_end(fixture, 2, false);
    assert_int_equal(log_last_stable_offset(fixture->log, 3), 1);
    put_record(fixture, 2, 1);
    assert_int_equal(log_last_stable_offset(fixture->log, 5), 1);
    put_end(fixture, 2, true);
    assert_int_equal(log_last_stable_offset(fixture->log, 6), 6);
}

static void test_crash(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 0);
    assert_all(fixture);
}

static void each_index(struct fixture *fixture, void (*damage)(struct fixture *, int64_t))
{
    for (int64_t base = 0; base < 16; base++) {
        if (fixture_has(fixture, base, ".txnindex"))
            damage(fixture, base);
    }
}

static void flip(struct fixture *fixture, int64_t base)
{
    fixture_flip(fixture, base, ".txnindex", 0);
}

static void cut(struct fixture *fixture, int64_t base)
{
    fixture_truncate(fixture, base, ".txnindex", 30);
}

static void take(struct fixture *fixture, int64_t base)
{
    fixture_remove(fixture, base, ".txnindex");
}

/* A file that is no index is built anew from the records, also without a crash. */
static void test_damaged(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    fixture_close(fixture);
    each_index(fixture, flip);
    fixture_open(fixture, true, 0);
    assert_all(fixture);
    fixture_close(fixture);
    fixture_open(fixture, true, 0);
    assert_all(fixture);
}

/* After a crash what is missing is found again. */
static void test_lost(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    fixture_close(fixture);
    each_index(fixture, cut);
    fixture_open(fixture, false, 0);
    assert_all(fixture);
    fixture_close(fixture);
    each_index(fixture, take);
    fixture_open(fixture, false, 0);
    assert_all(fixture);
}

static void test_truncated_log(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    fixture_wait_idle(fixture);
    assert_int_equal(log_truncate_to(fixture->log, 8), ERR_OK);
    assert_aborted(fixture, 0, 8, "1:0-4 ");
    assert_int_equal(log_last_stable_offset(fixture->log, 8), 6);
    fixture_close(fixture);
    fixture_open(fixture, true, 0);
    assert_aborted(fixture, 0, 8, "1:0-4 ");
    put_end(fixture, 1, false);
    assert_aborted(fixture, 0, 9, "1:0-4 1:6-8 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lookups, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_none, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_marker_not_seen, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_crash, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_damaged, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_lost, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_truncated_log, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
