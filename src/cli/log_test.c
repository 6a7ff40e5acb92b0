/* Goal: `log verify` finds any byte that changed where a checksum or an order says so, and neither
 * it nor `log dump` falls over whatever the bytes are; `log repair` changes nothing without being
 * told, and what it was told to mend is sound afterwards, with every offset that was not lost.
 * Method: a partition's folder built here, every byte of every file flipped, every file cut at
 * every length, through the whole command. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "wire/batch_builder.h"

static char folder[64];
static char partition[80];
static struct buf segment;

static void write_file(const char *name, const void *data, size_t len)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", partition, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    fclose(file);
}

/* The command's exit code, its output dropped. */
static int run_with(const char *verb, const char *extra, const char *more)
{
    char *argv[] = {"taffrail",
                    "log",
                    (char *)(uintptr_t)verb,
                    folder,
                    (char *)(uintptr_t)extra,
                    (char *)(uintptr_t)more,
                    NULL};
    fflush(stdout);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    int code = cli_main(more ? 6 : 5, argv);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    close(null);
    return code;
}

static int run(const char *verb, const char *extra)
{
    return run_with(verb, extra, NULL);
}

static void put_batch(int64_t base_offset, enum compression compression)
{
    struct compressors compressors;
    struct batch_builder builder;
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    int32_t min, max;
    options.base_offset = base_offset;
    options.compression = compression;
    options.leader_epoch = 0;
    options.producer_id = 7;
    options.producer_epoch = 0;
    options.base_sequence = (int32_t)base_offset;
    compression_levels(compression, &min, &max, &options.level);
    compressors_init(&compressors);
    batch_builder_init(&builder, &segment, &options);
    for (int i = 0; i < 3; i++) {
        struct record_fields fields = {.timestamp = 1767225600000 + base_offset + i,
                                       .key = slice_of("key", 3),
                                       .value = slice_of("some value", 10)};
        assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
    }
    assert_int_equal(batch_builder_finish(&builder, &compressors), ERR_OK);
    batch_builder_deinit(&builder);
    compressors_deinit(&compressors);
}

#define SEGMENT   "00000000000000000000.log"
#define INDEX     "00000000000000000000.index"
#define TIMEINDEX "00000000000000000000.timeindex"
#define SNAPSHOT  "00000000000000000006.snapshot"
#define EPOCHS    "leader-epoch-checkpoint"

static uint8_t index_bytes[8], timeindex_bytes[12], snapshot_bytes[56];
static const char epochs_text[] = "0\n1\n0 0\n";

static int set_up(void **state)
{
    (void)state;
    /* In memory where that is possible: flushes of a disk would be most of the time. */
    snprintf(folder, sizeof(folder), "%s/taffrail-log-test-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(partition, sizeof(partition), "%s/t-0", folder);
    char command[96];
    snprintf(command, sizeof(command), "mkdir %s", partition);
    assert_int_equal(system(command), 0);
    buf_init(&segment, BUF_NO_LIMIT);
    put_batch(0, COMPRESSION_NONE);
    size_t second = segment.len;
    put_batch(3, COMPRESSION_LZ4);
    be32_store(index_bytes, 5);
    be32_store(index_bytes + 4, (uint32_t)second);
    be64_store(timeindex_bytes, 1767225600000 + 5);
    be32_store(timeindex_bytes + 8, 5);
    be16_store(snapshot_bytes, 1);
    be32_store(snapshot_bytes + 6, 1);
    be32_store(snapshot_bytes + 2, crc32c(0, slice_of(snapshot_bytes + 6, 50)));
    return 0;
}

static void write_all(void)
{
    write_file(SEGMENT, segment.data, segment.len);
    write_file(INDEX, index_bytes, sizeof(index_bytes));
    write_file(TIMEINDEX, timeindex_bytes, sizeof(timeindex_bytes));
    write_file(SNAPSHOT, snapshot_bytes, sizeof(snapshot_bytes));
    write_file(EPOCHS, epochs_text, sizeof(epochs_text) - 1);
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    buf_deinit(&segment);
    return system(command);
}

static void test_sound_folder(void **state)
{
    (void)state;
    write_all();
    assert_int_equal(run("verify", "--format=json"), EXIT_FINE);
    assert_int_equal(run("verify", "--shallow"), EXIT_FINE);
    assert_int_equal(run("dump", "--records"), EXIT_FINE);
    assert_int_equal(run("dump", "--format=json"), EXIT_FINE);
    assert_int_equal(run("dump", "--decode=metadata"), EXIT_FINE); /* batches only */
}

/* Base offset and leader epoch are outside of the checksum: they may change unseen. */
static bool is_checked(size_t in_batch)
{
    return in_batch >= BATCH_AT_MAGIC || (in_batch >= BATCH_AT_LENGTH && in_batch < 12);
}

static void test_flipped_bytes(void **state)
{
    (void)state;
    size_t first = (size_t)batch_size_peek(segment.data);
    write_all();
    for (size_t i = 0; i < segment.len; i++) {
        segment.data[i] ^= 0x5a;
        write_file(SEGMENT, segment.data, segment.len);
        segment.data[i] ^= 0x5a;
        int code = run("verify", "--format=text");
        if (is_checked(i < first ? i : i - first) && code != EXIT_REFUSED)
            fail_msg("a changed byte at %zu is not found", i);
        if (i % 4 == 0)
            (void)run("dump", "--records");
    }
    for (size_t i = 0; i < sizeof(snapshot_bytes); i++) {
        write_all();
        snapshot_bytes[i] ^= 0x5a;
        write_file(SNAPSHOT, snapshot_bytes, sizeof(snapshot_bytes));
        snapshot_bytes[i] ^= 0x5a;
        assert_int_equal(run("verify", "--format=text"), EXIT_REFUSED);
    }
}

/* A wrong leader epoch has only the checkpoint against it, or the batch behind. */
static void test_wrong_epochs(void **state)
{
    (void)state;
    static const char two[] = "0\n2\n2 0\n4 3\n";
    size_t second = (size_t)batch_size_peek(segment.data);
    be32_store(segment.data + BATCH_AT_LEADER_EPOCH, 2);
    for (uint32_t epoch = 0; epoch < 8; epoch++) {
        be32_store(segment.data + second + BATCH_AT_LEADER_EPOCH, epoch);
        write_all();
        write_file(EPOCHS, two, sizeof(two) - 1);
        bool is_right = epoch >= 4; /* of a later one the checkpoint need not know */
        assert_int_equal(run("verify", "--format=text"), is_right ? EXIT_FINE : EXIT_REFUSED);
    }
    be32_store(segment.data + BATCH_AT_LEADER_EPOCH, 0);
    be32_store(segment.data + second + BATCH_AT_LEADER_EPOCH, 0);
    write_all();
}

static void test_cut_files(void **state)
{
    (void)state;
    size_t first = (size_t)batch_size_peek(segment.data);
    for (size_t len = 0; len < segment.len; len++) {
        write_all();
        write_file(SEGMENT, segment.data, len);
        bool is_whole = len == 0 || len == first;
        int code = run("verify", "--format=text");
        if (!is_whole)
            assert_int_equal(code, EXIT_REFUSED);
        if (len % 4 == 0)
            (void)run("dump", "--format=json");
    }
    write_all();
    for (size_t len = 1; len < sizeof(snapshot_bytes); len++) {
        write_file(SNAPSHOT, snapshot_bytes, len);
        assert_int_equal(run("verify", "--format=text"), EXIT_REFUSED);
        (void)run("dump", "--format=text");
    }
}

static void test_wrong_indexes(void **state)
{
    (void)state;
    const uint8_t index_wrong[][8] = {{0, 0, 0, 5, 0, 0, 0, 1}, {0, 0, 0, 1, 0, 0, 0, 0}};
    uint8_t late[8];
    memcpy(late, index_bytes, sizeof(late));
    be32_store(late, 2); /* before the batch that it points at */
    write_all();
    write_file(INDEX, index_wrong[0], 8);
    assert_int_equal(run("verify", "--format=text"), EXIT_REFUSED);
    write_file(INDEX, index_wrong[1], 8);
    assert_int_equal(run("verify", "--format=text"), EXIT_FINE);
    write_file(INDEX, late, 8);
    assert_int_equal(run("verify", "--format=text"), EXIT_REFUSED);
    write_file(INDEX, index_bytes, 7);
    assert_int_equal(run("verify", "--format=text"), EXIT_REFUSED);
    write_all();
    uint8_t early[12];
    memcpy(early, timeindex_bytes, sizeof(early));
    be64_store(early, 1767225600000); /* offsets 1 to 4 are later */
    write_file(TIMEINDEX, early, sizeof(early));
    assert_int_equal(run("verify", "--format=text"), EXIT_REFUSED);
}

static void test_wrong_checkpoints(void **state)
{
    (void)state;
    const char *const wrong[] = {
        "1\n1\n0 0\n",     "x",           "0\n",          "0\n-1\n",       "0\n2\n0 0\n",
        "0\n1\n0\n",       "0\n1\n0 x\n", "0\n1\n a 0\n", "0\n1\nt 0 0\n", "0\n2\n1 0\n0 5\n",
        "0\n2\n0 5\n1 0\n"};
    write_all();
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        write_file(EPOCHS, wrong[i], strlen(wrong[i]));
        if (run("verify", "--format=text") != EXIT_REFUSED)
            fail_msg("'%s' is taken for a checkpoint", wrong[i]);
    }
    write_file(EPOCHS, "", 0);
    assert_int_equal(run("verify", "--format=text"), EXIT_FINE);
}

static void clean_up(void)
{
    char command[192];
    snprintf(command, sizeof(command), "rm -rf %s; mkdir %s", partition, partition);
    assert_int_equal(system(command), 0);
}

static size_t read_segment(uint8_t *data, size_t cap)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", partition, SEGMENT);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(data, 1, cap, file);
    fclose(file);
    return len;
}

static void assert_mended(int64_t batches, int64_t end_offset, size_t at)
{
    static uint8_t data[65536];
    struct batches all;
    struct batch batch;
    int64_t count = 0, next = 0;
    batches_init(&all, slice_of(data, read_segment(data, sizeof(data))));
    for (; batches_next(&all, &batch); count++) {
        assert_true(batch_crc_is_valid(&batch));
        if (batch.base_offset != next)
            fail_msg("byte %zu: offset %lld instead of %lld", at, (long long)batch.base_offset,
                     (long long)next);
        next = batch.last_offset + 1;
    }
    if (all.err != ERR_OK || count != batches || next != end_offset)
        fail_msg("byte %zu: %lld batches up to %lld", at, (long long)count, (long long)next);
}

static void test_repair_says_only(void **state)
{
    (void)state;
    static uint8_t data[65536];
    write_all();
    assert_int_equal(run("repair", "--format=json"), EXIT_FINE);
    segment.data[70] ^= 1;
    write_all();
    segment.data[70] ^= 1;
    assert_int_equal(run("repair", "--format=text"), EXIT_REFUSED);
    assert_int_equal(run("repair", "--drop-damaged"), EXIT_REFUSED);
    assert_int_equal(run("repair", "--apply"), EXIT_REFUSED); /* it is left alone */
    assert_int_equal(read_segment(data, sizeof(data)), segment.len);
    data[70] ^= 1;
    assert_memory_equal(data, segment.data, segment.len);
}

/* Any byte of a segment of three batches: one batch is lost, the others keep their offsets. */
static void test_repair_any_byte(void **state)
{
    (void)state;
    size_t first = (size_t)batch_size_peek(segment.data);
    size_t whole = segment.len;
    put_batch(6, COMPRESSION_NONE);
    size_t last = whole;
    for (size_t i = 0; i < segment.len; i++) {
        size_t in_batch = i < first ? i : i < last ? i - first : i - last;
        if (in_batch < BATCH_AT_LENGTH || (in_batch >= 12 && in_batch < BATCH_AT_MAGIC))
            continue; /* what no checksum covers */
        clean_up();
        segment.data[i] ^= 0x5a;
        write_all();
        segment.data[i] ^= 0x5a;
        assert_int_equal(run_with("repair", "--apply", "--drop-damaged"), EXIT_FINE);
        assert_mended(i < last ? 3 : 2, i < last ? 9 : 6, i);
        if (run("verify", "--format=text") != EXIT_FINE)
            fail_msg("byte %zu: what was mended is not sound", i);
    }
    segment.len = whole;
    clean_up();
}

static void test_repair_ends(void **state)
{
    (void)state;
    size_t first = (size_t)batch_size_peek(segment.data);
    for (size_t len = first + 1; len < segment.len; len += 7) {
        clean_up();
        write_all();
        write_file(SEGMENT, segment.data, len);
        assert_int_equal(run("repair", "--apply"), EXIT_FINE);
        assert_mended(1, 3, len);
        assert_int_equal(run("verify", "--format=text"), EXIT_FINE);
    }
    clean_up();
}

static void test_foreign_names(void **state)
{
    (void)state;
    char command[256];
    clean_up();
    write_all();
    assert_int_equal(run("verify", "--format=text"), EXIT_FINE);
    static const char *const foreign[] = {"README", "." SEGMENT ".swp", "0" SEGMENT, "x-" SEGMENT};
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        write_file(foreign[i], "", 0);
        if (run("verify", "--format=text") != EXIT_REFUSED)
            fail_msg("%s is not named", foreign[i]);
        assert_int_equal(run("repair", "--apply"), EXIT_FINE); /* it is none of its business */
        (void)run("dump", "--format=text");
        snprintf(command, sizeof(command), "rm %s/%s", partition, foreign[i]);
        assert_int_equal(system(command), 0);
    }
    /* A log folder is one by its cluster's id. */
    snprintf(command, sizeof(command), "mkdir %s/other", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(run("verify", "--format=text"), EXIT_FINE);
    write_file("../meta.properties", "", 0);
    assert_int_equal(run("verify", "--format=text"), EXIT_REFUSED);
    snprintf(command, sizeof(command), "rmdir %s/other", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(run("verify", "--format=text"), EXIT_FINE);
    clean_up();
}

static void test_repair_companions(void **state)
{
    (void)state;
    static const struct {
        const char *name, *content;
    } wrong[] = {{INDEX, "12345678abc"},
                 {TIMEINDEX, "nonsense"},
                 {SNAPSHOT, "short"},
                 {EPOCHS, "0\n2\n0 0\n"},
                 {EPOCHS, "x"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char path[128];
        clean_up();
        write_all();
        write_file(wrong[i].name, wrong[i].content, strlen(wrong[i].content));
        assert_int_equal(run("repair", "--format=text"), EXIT_REFUSED);
        assert_int_equal(run("repair", "--apply"), EXIT_FINE);
        assert_int_equal(run("verify", "--format=text"), EXIT_FINE);
        assert_mended(2, 6, i);
        snprintf(path, sizeof(path), "%s/%s.bad", partition, wrong[i].name);
        assert_int_equal(access(path, F_OK), 0);
    }
    char command[128];
    snprintf(command, sizeof(command), "rm %s/%s", partition, INDEX);
    assert_int_equal(system(command), 0);
    assert_int_equal(run("repair", "--apply"), EXIT_FINE);
    assert_int_equal(run("repair", "--apply"), EXIT_FINE); /* nothing is left */
    clean_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_folder),     cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_cut_files),        cmocka_unit_test(test_wrong_epochs),
        cmocka_unit_test(test_wrong_indexes),    cmocka_unit_test(test_wrong_checkpoints),
        cmocka_unit_test(test_repair_says_only), cmocka_unit_test(test_repair_any_byte),
        cmocka_unit_test(test_repair_ends),      cmocka_unit_test(test_repair_companions),
        cmocka_unit_test(test_foreign_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
