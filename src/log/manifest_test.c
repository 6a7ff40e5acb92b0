/* Goal: a manifest gives back what was put into it, up to where it is torn, and is believed only by
 * the run that follows the one that wrote it.
 * Method: manifests in a temporary folder are written, read again, cut at each byte, changed at
 * each byte, and given other versions and runs. */
#include "log/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "log/logdir.h"

struct place {
    struct io *io;
    char dir[64];
    struct manifest *manifest;
};

static struct manifest_key key_of(int32_t n)
{
    return (struct manifest_key){{{(uint8_t)n, 7}}, n};
}

static void begin(struct place *place, int32_t run)
{
    struct manifest_set none;
    manifest_set_init(&none, 1);
    assert_int_equal(manifest_set_write(&none, place->io, place->dir, 0, run, NULL, NULL), ERR_OK);
    manifest_set_deinit(&none);
    assert_int_equal(manifest_open(place->io, place->dir, 0, &place->manifest), ERR_OK);
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    assert_non_null(place);
    diag_set_level(DIAG_ERROR + 1);
    snprintf(place->dir, sizeof(place->dir), "/tmp/manifest-test-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    assert_int_equal(io_real_create(IO_DISK_THREADS, &place->io), ERR_OK);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    manifest_close(place->manifest);
    assert_int_equal(logdir_remove_folder(place->io, place->dir), ERR_OK);
    io_destroy(place->io);
    free(place);
    return 0;
}

static struct slice read_bytes(struct place *place, uint32_t shard)
{
    char path[128];
    uint8_t *data;
    size_t len;
    snprintf(path, sizeof(path), "%s/taffrail-manifest-%u", place->dir, shard);
    assert_int_equal(io_read_file(place->io, path, 1 << 24, &data, &len), ERR_OK);
    return slice_of(data, len);
}

static void put_some(struct place *place)
{
    assert_int_equal(
        manifest_put_entry(place->manifest, key_of(1), MANIFEST_UNCHANGED, slice_of("one", 3)),
        ERR_OK);
    assert_int_equal(
        manifest_put_entry(place->manifest, key_of(2), MANIFEST_APPENDED, slice_of("two", 3)),
        ERR_OK);
    assert_int_equal(manifest_put_mark(place->manifest, key_of(2), MANIFEST_ROLLED), ERR_OK);
    assert_int_equal(manifest_put_mark(place->manifest, key_of(2), MANIFEST_APPENDED), ERR_OK);
    assert_int_equal(manifest_put_start(place->manifest, key_of(1), 17), ERR_OK);
    assert_int_equal(
        manifest_put_entry(place->manifest, key_of(3), MANIFEST_UNCHANGED, slice_of("three", 5)),
        ERR_OK);
    assert_int_equal(manifest_put_gone(place->manifest, key_of(3)), ERR_OK);
}

static void assert_some(const struct manifest_set *set)
{
    const struct manifest_item *item = manifest_set_find(set, key_of(1));
    assert_non_null(item);
    assert_memory_equal(item->entry.data, "one", 3);
    assert_int_equal(item->entry.len, 3);
    assert_int_equal(item->mark, MANIFEST_UNCHANGED);
    assert_int_equal(item->start_offset, 17);
    item = manifest_set_find(set, key_of(2));
    assert_non_null(item);
    assert_memory_equal(item->entry.data, "two", 3);
    assert_int_equal(item->mark, MANIFEST_ROLLED);
    assert_int_equal(item->start_offset, -1);
    item = manifest_set_find(set, key_of(3));
    assert_true(!item || !item->entry.data);
    assert_null(manifest_set_find(set, key_of(4)));
}

static void test_round_trip(void **state)
{
    struct place *place = *state;
    begin(place, 5);
    put_some(place);
    uint64_t position = manifest_position(place->manifest);
    assert_false(manifest_is_synced(place->manifest, position));
    assert_int_equal(manifest_sync_now(place->manifest), ERR_OK);
    assert_true(manifest_is_synced(place->manifest, position));
    struct manifest_set set;
    manifest_set_init(&set, 1);
    assert_int_equal(manifest_set_load(&set, place->io, place->dir, 5), ERR_OK);
    assert_some(&set);
    /* A new entry takes marks and start back. */
    assert_int_equal(
        manifest_put_entry(place->manifest, key_of(2), MANIFEST_UNCHANGED, slice_of("2", 1)),
        ERR_OK);
    manifest_set_forget(&set);
    assert_int_equal(manifest_set_load(&set, place->io, place->dir, 5), ERR_OK);
    assert_int_equal(manifest_set_find(&set, key_of(2))->mark, MANIFEST_UNCHANGED);
    manifest_set_deinit(&set);
}

static void test_another_run(void **state)
{
    struct place *place = *state;
    begin(place, 5);
    put_some(place);
    struct manifest_set set;
    manifest_set_init(&set, 1);
    for (int32_t run = 4; run <= 6; run += 2) {
        assert_int_equal(manifest_set_load(&set, place->io, place->dir, run), ERR_OK);
        assert_int_equal(set.items.count, 0);
    }
    struct slice bytes = read_bytes(place, 0);
    uint8_t *changed = (uint8_t *)(uintptr_t)bytes.data;
    bool whole;
    assert_int_equal(manifest_set_read(&set, bytes, 6, &whole), ERR_NOENT);
    changed[11] = 2; /* another version */
    assert_int_equal(manifest_set_read(&set, bytes, 5, &whole), ERR_MALFORMED);
    assert_int_equal(manifest_set_read(&set, slice_of("TFRMANIF", 8), 5, &whole), ERR_MALFORMED);
    assert_int_equal(manifest_set_read(&set, slice_of("", 0), 5, &whole), ERR_MALFORMED);
    free(changed);
    manifest_set_deinit(&set);
}

/* What stands before a torn place counts; nothing behind it does. */
static void test_torn_at_each_byte(void **state)
{
    struct place *place = *state;
    begin(place, 5);
    put_some(place);
    struct slice bytes = read_bytes(place, 0);
    for (size_t at = 20; at < bytes.len; at++) {
        struct manifest_set set;
        bool whole;
        manifest_set_init(&set, 1);
        assert_int_equal(manifest_set_read(&set, slice_of(bytes.data, at), 5, &whole), ERR_OK);
        assert_true(set.items.count <= 3);
        manifest_set_forget(&set);
        uint8_t *changed = (uint8_t *)(uintptr_t)bytes.data;
        changed[at] ^= 0x40;
        assert_int_equal(manifest_set_read(&set, bytes, 5, &whole), ERR_OK);
        assert_false(whole);
        const struct manifest_item *item = manifest_set_find(&set, key_of(1));
        if (item && item->entry.data)
            assert_memory_equal(item->entry.data, "one", 3);
        manifest_set_deinit(&set);
        changed[at] ^= 0x40;
    }
    free((void *)(uintptr_t)bytes.data);
}

static bool is_odd(const void *arg, struct manifest_key key)
{
    (void)arg;
    return key.index % 2 == 1;
}

/* Another number of shards: each gets its own, files of shards that are gone go. */
static void test_written_anew(void **state)
{
    struct place *place = *state;
    begin(place, 5);
    put_some(place);
    struct manifest_set set;
    manifest_set_init(&set, 1);
    assert_int_equal(manifest_set_load(&set, place->io, place->dir, 5), ERR_OK);
    for (uint32_t shard = 0; shard < 3; shard++)
        assert_int_equal(manifest_set_write(&set, place->io, place->dir, shard, 6,
                                            shard == 0 ? is_odd : NULL, NULL),
                         ERR_OK);
    assert_int_equal(manifest_remove_all(place->io, place->dir, 1), ERR_OK);
    manifest_set_forget(&set);
    assert_int_equal(manifest_set_load(&set, place->io, place->dir, 6), ERR_OK);
    assert_non_null(manifest_set_find(&set, key_of(1)));
    assert_null(manifest_set_find(&set, key_of(2)));
    assert_int_equal(manifest_remove_all(place->io, place->dir, 0), ERR_OK);
    manifest_set_forget(&set);
    assert_int_equal(manifest_set_load(&set, place->io, place->dir, 6), ERR_OK);
    assert_int_equal(set.items.count, 0);
    manifest_set_deinit(&set);
}

static void test_tidy(void **state)
{
    struct place *place = *state;
    static uint8_t big[100000];
    begin(place, 5);
    put_some(place);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(manifest_put_entry(place->manifest, key_of(9), MANIFEST_UNCHANGED,
                                            slice_of(big, sizeof(big))),
                         ERR_OK);
        assert_int_equal(manifest_tidy(place->manifest), ERR_OK);
    }
    struct slice bytes = read_bytes(place, 0);
    assert_true(bytes.len < 9000000);
    free((void *)(uintptr_t)bytes.data);
    /* What comes behind goes on from there. */
    assert_int_equal(manifest_put_mark(place->manifest, key_of(9), MANIFEST_RESHAPED), ERR_OK);
    struct manifest_set set;
    manifest_set_init(&set, 1);
    assert_int_equal(manifest_set_load(&set, place->io, place->dir, 5), ERR_OK);
    assert_some(&set);
    assert_int_equal(manifest_set_find(&set, key_of(9))->mark, MANIFEST_RESHAPED);
    manifest_set_deinit(&set);
}

struct waiting {
    struct manifest_waiter waiter;
    bool is_done;
};

static void on_synced(struct manifest_waiter *waiter, enum err err)
{
    assert_int_equal(err, ERR_OK);
    CONTAINER_OF(waiter, struct waiting, waiter)->is_done = true;
}

static void test_shared_sync(void **state)
{
    struct place *place = *state;
    struct waiting waiting[3] = {{.is_done = false}};
    begin(place, 5);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(manifest_put_mark(place->manifest, key_of(i), MANIFEST_APPENDED), ERR_OK);
        waiting[i].waiter.done = on_synced;
        manifest_sync(place->manifest, &waiting[i].waiter);
    }
    assert_false(manifest_is_idle(place->manifest));
    uint64_t position = manifest_position(place->manifest);
    while (!manifest_is_idle(place->manifest))
        io_run_once(place->io, UINT64_MAX);
    for (int i = 0; i < 3; i++)
        assert_true(waiting[i].is_done);
    assert_true(manifest_is_synced(place->manifest, position));
}

#define MANIFEST_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANIFEST_TEST(test_round_trip),
        MANIFEST_TEST(test_another_run),
        MANIFEST_TEST(test_torn_at_each_byte),
        MANIFEST_TEST(test_written_anew),
        MANIFEST_TEST(test_tidy),
        MANIFEST_TEST(test_shared_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
