/* Goal: a log folder is listed, its checkpoints come back, and its clean stop is noticed.
 * Method: a folder on the real disk, written, read, and read again with a broken checkpoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log/logdir.h"

static void test_checkpoints(void **state)
{
    (void)state;
    char path[] = "/tmp/logdir-test-XXXXXX", name[128];
    assert_non_null(mkdtemp(path));
    struct io *io;
    struct logdir logdir;
    assert_int_equal(io_real_create(IO_DISK_THREADS, &io), ERR_OK);
    static const char *const folders[] = {"a-b-0", "a-b-17", "plain", "c-1.00-delete", "-3"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        snprintf(name, sizeof(name), "%s/%s", path, folders[i]);
        assert_int_equal(io_mkdir(io, name), ERR_OK);
    }
    assert_int_equal(logdir_open(&logdir, io, str_of(path)), ERR_OK);
    assert_int_equal(logdir.partitions.count, 2);
    assert_false(logdir.was_clean);
    assert_int_equal(logdir_find(&logdir, STR("a-b"), 17)->recovery_point, 0);
    struct logdir_offsets offsets;
    const struct logdir_offsets *all[] = {&offsets};
    logdir_offsets_init(&offsets);
    logdir_offsets_add(&offsets, STR("a-b"), 17, 5, 3, 6, 4);
    logdir_offsets_add(&offsets, STR("a-b"), 0, 9, -1, 9, -1);
    assert_int_equal(logdir_write_offsets(&logdir, io, all, 1), ERR_OK);
    assert_int_equal(logdir_mark_clean(&logdir, io, 11), ERR_OK);
    logdir_close(&logdir);
    assert_int_equal(logdir_open(&logdir, io, str_of(path)), ERR_OK);
    assert_true(logdir.was_clean);
    assert_int_equal(logdir_find(&logdir, STR("a-b"), 17)->log_start_offset, 3);
    assert_int_equal(logdir_find(&logdir, STR("a-b"), 0)->log_start_offset, -1);
    assert_int_equal(logdir_find(&logdir, STR("a-b"), 0)->high_watermark, 9);
    assert_null(logdir_find(&logdir, STR("c"), 1));
    struct io_stat stat;
    snprintf(name, sizeof(name), "%s/%s", path, folders[3]);
    assert_int_equal(io_stat_path(io, name, &stat), ERR_OK);
    assert_int_equal(logdir_mark_running(&logdir, io), ERR_OK);
    assert_int_equal(io_stat_path(io, name, &stat), ERR_NOENT);
    snprintf(name, sizeof(name), "%s/%s", path, LOGDIR_START_OFFSETS);
    assert_int_equal(io_replace_file(io, name, slice_of("0\n1\na-b x 1\n", 12)), ERR_OK);
    logdir_close(&logdir);
    assert_int_equal(logdir_open(&logdir, io, str_of(path)), ERR_OK);
    assert_false(logdir.was_clean);
    logdir_close(&logdir);
    logdir_offsets_deinit(&offsets);
    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "%s/%s", path, folders[i]);
        if (i != 3)
            assert_int_equal(logdir_remove_folder(io, name), ERR_OK);
    }
    assert_int_equal(logdir_remove_folder(io, path), ERR_OK);
    io_destroy(io);
}

struct removing {
    struct folder_removal removal;
    bool is_done;
    enum err err;
};

static void on_folder_removed(struct folder_removal *removal, enum err err)
{
    struct removing *removing = CONTAINER_OF(removal, struct removing, removal);
    assert_false(removing->is_done);
    removing->is_done = true;
    removing->err = err;
}

static enum err remove_slowly(struct io *io, const char *path, bool is_stopped)
{
    struct removing removing = {.removal = {.io = io, .path = path, .done = on_folder_removed}};
    folder_removal_start(&removing.removal);
    removing.removal.is_stopped = is_stopped;
    while (!removing.is_done)
        io_run_once(io, UINT64_MAX);
    return removing.err;
}

static void test_removal_without_a_stall(void **state)
{
    (void)state;
    char path[] = "/tmp/logdir-test-XXXXXX", name[128];
    assert_non_null(mkdtemp(path));
    struct io *io;
    struct io_stat stat;
    assert_int_equal(io_real_create(IO_DISK_THREADS, &io), ERR_OK);
    for (int i = 0; i < 5; i++) {
        struct io_file file;
        snprintf(name, sizeof(name), "%s/%d", path, i);
        assert_int_equal(io_open(io, name, IO_OPEN_CREATE, &file), ERR_OK);
        assert_int_equal(io_truncate(io, file, (uint64_t)i << 26), ERR_OK);
        io_close(io, file);
    }
    assert_int_equal(remove_slowly(io, path, true), ERR_CANCELLED); /* after one file */
    assert_int_equal(io_stat_path(io, path, &stat), ERR_OK);
    assert_int_equal(remove_slowly(io, path, false), ERR_OK);
    assert_int_equal(io_stat_path(io, path, &stat), ERR_NOENT);
    assert_int_equal(remove_slowly(io, path, false), ERR_NOENT);
    io_destroy(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_removal_without_a_stall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
