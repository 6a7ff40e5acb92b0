/* Goal: a copy of a log that was written to, rolled and trimmed meanwhile opens as after a clean
 * stop and holds the same records, producers and start; what cannot be copied is an error, and the
 * log itself goes on. Method: the real io on a temporary folder; the copy is opened in the log's
 * place. */
#include "log/copy.h"

#include "log/testing.h"

static enum err ended;
static bool has_ended;

static void on_done(void *arg, enum err err)
{
    (void)arg;
    ended = err;
    has_ended = true;
}

static struct log_copy *begin_at(struct fixture *fixture, const char *dir, struct pace *pace)
{
    struct log_copy *copy;
    struct uuid id = {{1, 2, 3}};
    assert_int_equal(io_mkdir(fixture->io, dir), ERR_OK);
    has_ended = false;
    assert_int_equal(log_copy_begin(fixture->log, dir, id, pace, on_done, NULL, &copy), ERR_OK);
    return copy;
}

static struct log_copy *begin(struct fixture *fixture, const char *dir)
{
    return begin_at(fixture, dir, NULL);
}

static void wait_done(struct fixture *fixture)
{
    while (!has_ended)
        io_run_once(fixture->io, UINT64_MAX);
}

static void target_dir(const struct fixture *fixture, char dir[96])
{
    snprintf(dir, 96, "%s/copy", fixture->root);
}

/* The log's folder goes, as after a move, and the copy is opened in its place. */
static void take_copy(struct fixture *fixture, const char *dir)
{
    int64_t start = log_start_offset(fixture->log), end = log_end_offset(fixture->log);
    fixture_wait_idle(fixture);
    assert_int_equal(log_rename_deleted(fixture->log, 1, 2), ERR_OK);
    assert_reads_all(fixture); /* who reads there goes on */
    char *deleted = strdup(log_dir_path(fixture->log));
    assert_non_null(strstr(deleted, "t-0.00000000000000010000000000000002-delete"));
    log_abandon(fixture->log);
    fixture->log = NULL;
    assert_int_equal(logdir_remove_folder(fixture->io, deleted), ERR_OK);
    free(deleted);
    assert_int_equal(io_rename(fixture->io, dir, fixture->dir), ERR_OK);
    assert_int_equal(fixture_try_open(fixture, true, end, start), ERR_OK);
    assert_int_equal(log_start_offset(fixture->log), start);
    assert_int_equal(log_end_offset(fixture->log), end);
    assert_reads_all(fixture);
}

static void test_copy_while_it_grows(void **state)
{
    struct fixture *fixture = *state;
    char dir[96];
    target_dir(fixture, dir);
    struct made_batch made = {
        .count = 3, .timestamp = 5000, .has_producer = true, .producer_id = 77, .sequence = 0};
    append_many(fixture, 100);
    assert_int_equal(append_made(fixture, &made, false, NULL), ERR_OK);
    struct log_copy *copy = begin(fixture, dir);
    append_many(fixture, 100); /* rolls many times */
    assert_int_equal(log_delete_records(fixture->log, 37), ERR_OK);
    uint32_t removed;
    assert_int_equal(log_retain(fixture->log, 1000, &removed), ERR_OK);
    assert_true(removed > 0);
    wait_done(fixture);
    assert_int_equal(ended, ERR_OK);
    append_many(fixture, 50);
    while (!log_copy_is_ready(copy))
        io_run_once(fixture->io, 1000000);
    assert_int_equal(log_copy_finish(copy), ERR_OK);
    assert_int_equal(log_copy_end_offset(copy), log_end_offset(fixture->log));
    assert_true(log_copy_size(copy) >= log_size(fixture->log));
    log_copy_cancel(copy);
    log_copy_free(copy);
    take_copy(fixture, dir);
    struct log_append duplicate;
    assert_int_equal(append_made(fixture, &made, true, &duplicate), ERR_OK);
    assert_true(duplicate.is_duplicate);
    assert_int_equal(duplicate.base_offset, 100);
    append_many(fixture, 20);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 253); /* and as after a crash */
    assert_reads_all(fixture);
}

static void test_an_empty_log(void **state)
{
    struct fixture *fixture = *state;
    char dir[96];
    target_dir(fixture, dir);
    struct log_copy *copy = begin(fixture, dir);
    wait_done(fixture);
    assert_int_equal(log_copy_finish(copy), ERR_OK);
    log_copy_cancel(copy);
    log_copy_free(copy);
    take_copy(fixture, dir);
    append_many(fixture, 3);
    assert_reads_all(fixture);
}

static void test_cancelled(void **state)
{
    struct fixture *fixture = *state;
    char dir[96];
    target_dir(fixture, dir);
    append_many(fixture, 200);
    struct log_copy *copy = begin(fixture, dir);
    log_copy_cancel(copy);
    log_copy_cancel(copy);
    wait_done(fixture);
    assert_int_equal(ended, ERR_CANCELLED);
    log_copy_free(copy);
    assert_int_equal(logdir_remove_folder(fixture->io, dir), ERR_OK);
    append_many(fixture, 10);
    assert_reads_all(fixture);
}

static void test_a_pace_is_kept(void **state)
{
    struct fixture *fixture = *state;
    char dir[96];
    target_dir(fixture, dir);
    append_many(fixture, 200);
    /* A pause of minutes after the first piece, until the pace is another. */
    struct pace pace = {.bytes_per_second = 1};
    struct log_copy *copy = begin_at(fixture, dir, &pace);
    for (int i = 0; i < 20; i++)
        io_run_once(fixture->io, 1000000);
    assert_false(has_ended);
    assert_true(log_copy_size(copy) < log_size(fixture->log));
    pace_set(&pace, 0);
    wait_done(fixture);
    assert_int_equal(ended, ERR_OK);
    assert_true(log_copy_size(copy) >= log_size(fixture->log));
    log_copy_cancel(copy);
    log_copy_free(copy);
    assert_int_equal(logdir_remove_folder(fixture->io, dir), ERR_OK);
    /* Who cancels does not wait for it. */
    pace_set(&pace, 1);
    copy = begin_at(fixture, dir, &pace);
    for (int i = 0; i < 20; i++)
        io_run_once(fixture->io, 1000000);
    assert_false(has_ended);
    uint64_t before_ms = io_now_ms(fixture->io);
    log_copy_cancel(copy);
    wait_done(fixture);
    assert_int_equal(ended, ERR_CANCELLED);
    assert_true(io_now_ms(fixture->io) - before_ms < 900);
    log_copy_free(copy);
    assert_int_equal(logdir_remove_folder(fixture->io, dir), ERR_OK);
}

static void test_what_cannot_be_copied(void **state)
{
    struct fixture *fixture = *state;
    char dir[96];
    struct log_copy *copy;
    target_dir(fixture, dir);
    struct uuid id = {{1, 2, 3}};
    append_many(fixture, 100);
    assert_int_equal(log_copy_begin(fixture->log, dir, id, NULL, on_done, NULL, &copy), ERR_NOENT);
    char name[1100];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(log_copy_begin(fixture->log, name, id, NULL, on_done, NULL, &copy), ERR_LIMIT);
    /* A segment's file that is gone is not taken for one that retention took. */
    copy = begin(fixture, dir);
    wait_done(fixture);
    assert_int_equal(ended, ERR_OK);
    append_many(fixture, 100);
    fixture_remove(fixture, log_active_base_offset(fixture->log), ".log");
    append_many(fixture, 100);
    while (!log_copy_is_ready(copy))
        io_run_once(fixture->io, 1000000);
    assert_int_equal(log_copy_finish(copy), ERR_NOENT);
    assert_false(log_copy_has_write_failed(copy));
    log_copy_cancel(copy);
    log_copy_free(copy);
    assert_int_equal(logdir_remove_folder(fixture->io, dir), ERR_OK);
    /* The target's own trouble is told apart. */
    copy = begin(fixture, dir);
    char gone[128];
    snprintf(gone, sizeof(gone), "%s-gone", dir);
    assert_int_equal(io_rename(fixture->io, dir, gone), ERR_OK);
    wait_done(fixture);
    if (ended == ERR_OK) { /* it was quicker */
        append_many(fixture, 10);
        while (!log_copy_is_ready(copy))
            io_run_once(fixture->io, 1000000);
        ended = log_copy_finish(copy);
    }
    assert_int_not_equal(ended, ERR_OK);
    log_copy_cancel(copy);
    log_copy_free(copy);
    assert_int_equal(logdir_remove_folder(fixture->io, gone), ERR_OK);
    fixture_abandon(fixture);
    fixture_open(fixture, false, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_copy_while_it_grows), CASE(test_an_empty_log),          CASE(test_cancelled),
        CASE(test_a_pace_is_kept),      CASE(test_what_cannot_be_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
