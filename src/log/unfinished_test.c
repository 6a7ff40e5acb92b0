/* Goal: of a folder's open transactions the right one is named, finished ones are not, and damage
 * is nobody's transaction. Method: snapshots and coordinator logs as Apache Kafka writes them, made
 * from their fields on the real disk, then spoilt byte by byte. */
#include "log/unfinished.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log/producers.h"
#include "wire/batch_builder.h"

static struct io *io;
static char root[64];

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/unfinished-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    return (int)io_real_create(IO_DISK_THREADS, &io);
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
    io_destroy(io);
    return 0;
}

static void write_file(const char *folder, long long offset, const char *suffix, struct slice bytes)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, folder);
    enum err err = io_mkdir(io, path);
    assert_true(err == ERR_OK || err == ERR_EXISTS);
    snprintf(path, sizeof(path), "%s/%s/%020lld%s", root, folder, offset, suffix);
    assert_int_equal(io_replace_file(io, path, bytes), ERR_OK);
}

/* One producer whose transaction begins at first_offset; -1: none is open. */
static void write_snapshot(const char *folder, long long offset, int64_t id, int64_t first_offset,
                           size_t flipped)
{
    struct producers producers;
    struct buf bytes;
    int64_t ended_offset;
    struct producer_append append = {.id = id,
                                     .first_offset = first_offset < 0 ? 0 : first_offset,
                                     .last_offset = first_offset < 0 ? 0 : first_offset,
                                     .timestamp = 1000,
                                     .coordinator_epoch = -1,
                                     .is_transactional = first_offset >= 0};
    producers_init(&producers, 1);
    buf_init(&bytes, BUF_NO_LIMIT);
    assert_int_equal(producers_note(&producers, &append, &ended_offset), ERR_OK);
    assert_int_equal(producers_snapshot_write(&producers, &bytes), ERR_OK);
    if (flipped < bytes.len)
        bytes.data[flipped] ^= 0x40;
    write_file(folder, offset, ".snapshot", buf_slice(&bytes));
    buf_deinit(&bytes);
    producers_deinit(&producers);
}

struct entry {
    const char *name;
    int64_t producer_id;
    int state; /* -1: a tombstone */
};

static void add_entry(struct batch_builder *builder, const struct entry *entry)
{
    struct buf key, value;
    buf_init(&key, BUF_NO_LIMIT);
    buf_init(&value, BUF_NO_LIMIT);
    buf_put_be16(&key, 0);
    buf_put_be16(&key, (uint16_t)strlen(entry->name));
    buf_put(&key, entry->name, strlen(entry->name));
    buf_put_be16(&value, 1);
    buf_put_be64(&value, (uint64_t)entry->producer_id);
    buf_put_be16(&value, 3);
    buf_put_be32(&value, 60000);
    buf_put_u8(&value, (uint8_t)entry->state);
    struct record_fields fields = {.timestamp = 1000, .key = buf_slice(&key)};
    if (entry->state >= 0)
        fields.value = buf_slice(&value);
    assert_int_equal(batch_builder_append(builder, &fields), ERR_OK);
    buf_deinit(&key);
    buf_deinit(&value);
}

/* A batch for each entry. */
static void write_segment(const char *folder, long long offset, const struct entry *entries,
                          size_t count, size_t cut)
{
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    for (size_t i = 0; i < count; i++) {
        struct batch_builder builder;
        struct batch_options options = BATCH_OPTIONS_DEFAULT;
        batch_builder_init(&builder, &bytes, &options);
        add_entry(&builder, &entries[i]);
        assert_int_equal(batch_builder_finish(&builder, NULL), ERR_OK);
        batch_builder_deinit(&builder);
    }
    write_file(folder, offset, ".log", slice_of(bytes.data, bytes.len - cut));
    buf_deinit(&bytes);
}

/* "TOPIC-INDEX PRODUCER OFFSET COUNT STATE NAME", or "" where there is none. */
static const char *found(void)
{
    static char text[512];
    struct logdir logdir;
    struct unfinished out;
    assert_int_equal(logdir_open(&logdir, io, str_of(root)), ERR_OK);
    assert_int_equal(unfinished_find(&logdir, io, &out), ERR_OK);
    text[0] = '\0';
    if (out.partition)
        snprintf(text, sizeof(text), "%.*s-%d %lld %lld %zu %s %s", STR_ARG(out.partition->topic),
                 out.partition->index, (long long)out.producer_id, (long long)out.first_offset,
                 out.count, out.state ? out.state : "-", out.name);
    logdir_close(&logdir);
    return text;
}

static void the_newest_snapshot_tells(void **state)
{
    (void)state;
    assert_string_equal(found(), "");
    write_snapshot("orders-0", 0, 7, -1, SIZE_MAX);
    write_snapshot("orders-0", 100, 7, 90, SIZE_MAX);
    write_snapshot("orders-0", 150, 7, -1, SIZE_MAX);
    assert_string_equal(found(), "");
    write_snapshot("orders-0", 200, 7, 120, SIZE_MAX);
    assert_string_equal(found(), "orders-0 7 120 1 - ");
    write_snapshot("orders-10", 5, 8, 4, SIZE_MAX);
    write_snapshot("a-3", 5, 9, 3, SIZE_MAX);
    assert_string_equal(found(), "a-3 9 3 3 - ");
}

static void a_damaged_snapshot_tells_nothing(void **state)
{
    (void)state;
    for (size_t at = 0; at < 56; at++) {
        write_snapshot("orders-0", 200, 7, 120, at);
        assert_string_equal(found(), "");
    }
    write_file("orders-0", 200, ".snapshot", SLICE_NULL);
    assert_string_equal(found(), "");
}

static void the_newest_record_of_an_id_tells(void **state)
{
    (void)state;
    static const struct entry first[] = {{"a", 1, 1}, {"b", 2, 1}, {"c", 3, 2}, {"d", 4, 3}};
    static const struct entry second[] = {{"a", 1, 4}, {"b", 2, 5}, {"c", 3, 0}, {"d", 4, -1}};
    static const struct entry others[] = {{"e", 5, 6}, {"f", 6, 7}, {"g", 7, 200}};
    static const struct entry last[] = {{"z", 9, 3}, {"x", 8, 2}};
    write_segment("__transaction_state-7", 100, second, 4, 0);
    write_segment("__transaction_state-7", 0, first, 4, 0);
    assert_string_equal(found(), "");
    write_segment("__transaction_state-7", 200, others, 3, 0);
    write_segment("other-7", 300, last, 2, 0); /* not a coordinator's */
    assert_string_equal(found(), "");
    write_segment("__transaction_state-7", 300, last, 2, 0);
    assert_string_equal(found(), "__transaction_state-7 8 -1 0 PrepareCommit x");
    write_segment("__transaction_state-7", 300, last, 2, 1);
    assert_string_equal(found(), "__transaction_state-7 9 -1 0 PrepareAbort z");
    write_snapshot("orders-1", 200, 9, 120, SIZE_MAX); /* where its data is says more */
    assert_string_equal(found(), "orders-1 9 120 1 - ");
}

/* Longer than what is read at a time, in one batch and in many. */
static void a_long_coordinator_log_is_read(void **state)
{
    (void)state;
    enum { COUNT = 15000 };
    struct entry *entries = calloc(COUNT, sizeof(*entries));
    assert_non_null(entries);
    for (int i = 0; i < COUNT; i++)
        entries[i] = (struct entry){"id", i, i % 2 ? 4 : 1};
    write_segment("__transaction_state-0", 0, entries, COUNT, 0);
    assert_string_equal(found(), "");
    write_segment("__transaction_state-0", 0, entries, COUNT - 1, 0);
    assert_string_equal(found(), "__transaction_state-0 14998 -1 0 Ongoing id");
    free(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_snapshot_tells, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_snapshot_tells_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(the_newest_record_of_an_id_tells, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_coordinator_log_is_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
