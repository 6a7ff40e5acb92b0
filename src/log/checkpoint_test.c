/* Goal: a log that is made from the manifest is the one that its files hold, whatever happened to
 * them since, and what is wrong with a file is named when it is met.
 * Method: logs are abandoned at different points after an entry was put; marks are lost, files are
 * cut, changed and removed; what opens is read, appended to, and opened once more without the
 * manifest. */
#include "log/testing.h"

struct runs {
    struct fixture *fixture;
    struct manifest_set known;
    int32_t run;
};

/* As a node's start does it. */
static void next_run(struct runs *runs)
{
    struct fixture *f = runs->fixture;
    manifest_close(f->manifest);
    manifest_set_forget(&runs->known);
    assert_int_equal(manifest_set_load(&runs->known, f->io, f->root, runs->run), ERR_OK);
    runs->run++;
    assert_int_equal(manifest_set_write(&runs->known, f->io, f->root, 0, runs->run, NULL, NULL),
                     ERR_OK);
    assert_int_equal(manifest_open(f->io, f->root, 0, &f->manifest), ERR_OK);
    f->item = manifest_set_find(&runs->known, (struct manifest_key){FIXTURE_TOPIC_ID, 0});
}

static int setup(void **state)
{
    struct runs *runs = calloc(1, sizeof(*runs));
    assert_non_null(runs);
    void *fixture;
    assert_int_equal(fixture_setup(&fixture), 0);
    runs->fixture = fixture;
    fixture_abandon(runs->fixture);
    manifest_set_init(&runs->known, 1);
    next_run(runs);
    fixture_open(runs->fixture, false, 0);
    *state = runs;
    return 0;
}

static int teardown(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    if (f->log)
        fixture_abandon(f);
    manifest_close(f->manifest);
    f->manifest = NULL;
    manifest_set_deinit(&runs->known);
    assert_int_equal(manifest_remove_all(f->io, f->root, 0), ERR_OK);
    void *fixture = f;
    fixture_teardown(&fixture);
    free(runs);
    return 0;
}

/* All is flushed, and the manifest knows. */
static void save(struct fixture *f)
{
    assert_int_equal(log_save(f->log), ERR_OK);
    log_flush(f->log);
    fixture_wait_idle(f);
    assert_int_equal(log_unsaved_bytes(f->log), 0);
}

static void crash_and_open(struct runs *runs)
{
    fixture_abandon(runs->fixture);
    next_run(runs);
    fixture_open(runs->fixture, false, 0);
}

/* What the manifest says and what the files say is the same log. */
static void assert_same_without(struct runs *runs)
{
    struct fixture *f = runs->fixture;
    int64_t end_offset = log_end_offset(f->log), start_offset = log_start_offset(f->log);
    uint64_t size = log_size(f->log);
    uint32_t segments = log_segment_count(f->log);
    assert_reads_all(f);
    log_flush(f->log);
    fixture_abandon(f);
    struct manifest *manifest = f->manifest;
    f->manifest = NULL;
    f->item = NULL;
    assert_int_equal(fixture_try_open(f, false, 0, start_offset), ERR_OK);
    assert_int_equal(log_end_offset(f->log), end_offset);
    assert_int_equal(log_start_offset(f->log), start_offset);
    assert_int_equal(log_size(f->log), size);
    assert_int_equal(log_segment_count(f->log), segments);
    assert_reads_all(f);
    fixture_abandon(f);
    f->manifest = manifest;
    next_run(runs);
    fixture_open(f, false, 0);
}

static struct slice manifest_bytes(struct fixture *f)
{
    char path[128];
    uint8_t *data;
    size_t len;
    snprintf(path, sizeof(path), "%s/taffrail-manifest-0", f->root);
    assert_int_equal(io_read_file(f->io, path, 1 << 24, &data, &len), ERR_OK);
    return slice_of(data, len);
}

static void put_manifest_bytes(struct fixture *f, struct slice bytes)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/taffrail-manifest-0", f->root);
    assert_int_equal(io_replace_file(f->io, path, bytes), ERR_OK);
    free((void *)(uintptr_t)bytes.data);
}

static void test_unchanged_is_not_looked_at(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 40);
    save(f);
    uint64_t size = log_size(f->log);
    fixture_abandon(f);
    next_run(runs);
    char away[128];
    snprintf(away, sizeof(away), "%s/away", f->root);
    assert_int_equal(io_rename(f->io, f->dir, away), ERR_OK);
    fixture_open(f, false, 40);
    assert_int_equal(io_rename(f->io, away, f->dir), ERR_OK);
    assert_int_equal(log_end_offset(f->log), 40);
    assert_int_equal(log_flushed_offset(f->log), 40);
    assert_int_equal(log_size(f->log), size);
    assert_reads_all(f);
    struct log_position position;
    assert_int_equal(log_find_timestamp(f->log, NULL, 1033, 40, &position), ERR_OK);
    assert_int_equal(position.offset, 33);
    append_many(f, 40);
    assert_same_without(runs);
}

/* Read is only what was appended since. */
static void test_tail_only(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 4);
    save(f);
    uint64_t known = log_size(f->log);
    append_many(f, 3);
    uint64_t size = log_size(f->log);
    fixture_abandon(f);
    fixture_flip(f, 0, ".log", known / 2);
    for (uint64_t cut = size; cut >= known; cut--) {
        fixture_truncate(f, 0, ".log", cut);
        next_run(runs);
        fixture_open(f, false, 0);
        assert_int_equal(log_end_offset(f->log), 4 + (int64_t)((cut - known) / (known / 4)));
        fixture_abandon(f);
    }
    fixture_flip(f, 0, ".log", known / 2);
    next_run(runs);
    fixture_open(f, false, 0);
    append_many(f, 5);
    assert_same_without(runs);
}

static void append_of(struct fixture *f, int32_t sequence, bool is_duplicate)
{
    struct log_append op;
    struct made_batch made = {.has_producer = true, .producer_id = 7, .sequence = sequence};
    assert_int_equal(append_made(f, &made, false, &op), ERR_OK);
    assert_int_equal(op.is_duplicate, is_duplicate);
}

/* Each of a producer's last five is known, whether before or behind the entry. */
static void test_producers(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    for (int32_t i = 0; i < 4; i++)
        append_of(f, i, false);
    save(f);
    crash_and_open(runs);
    append_of(f, 0, true);
    append_of(f, 4, false);
    append_of(f, 5, false);
    crash_and_open(runs);
    for (int32_t i = 1; i < 6; i++)
        append_of(f, i, true);
    append_of(f, 6, false);
    assert_same_without(runs);
}

static void test_rolled(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 15);
    save(f);
    append_many(f, 60);
    uint32_t segments = log_segment_count(f->log);
    assert_true(segments > 4);
    crash_and_open(runs);
    assert_int_equal(log_end_offset(f->log), 75);
    assert_int_equal(log_segment_count(f->log), segments);
    append_many(f, 20);
    assert_same_without(runs);
}

/* A power cut took the mark, and left some of what came after it: nobody was told of that. */
static void test_lost_mark(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    for (int count = 1; count < 60; count += 29) {
        append_many(f, 5);
        save(f);
        int64_t end_offset = log_end_offset(f->log);
        struct slice before = manifest_bytes(f);
        append_many(f, count);
        fixture_abandon(f);
        put_manifest_bytes(f, before);
        next_run(runs);
        fixture_open(f, false, 0);
        assert_int_equal(log_end_offset(f->log), end_offset);
        assert_reads_all(f);
        append_many(f, 9);
        assert_int_equal(log_end_offset(f->log), end_offset + 9);
        assert_same_without(runs);
    }
}

/* More was flushed than the manifest knows of, and nothing took that back: it is wrong. */
static void test_contradiction(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 5);
    save(f);
    struct slice before = manifest_bytes(f);
    append_many(f, 30);
    fixture_abandon(f);
    put_manifest_bytes(f, before);
    next_run(runs);
    fixture_open(f, false, 20);
    assert_int_equal(log_end_offset(f->log), 35);
    assert_same_without(runs);
}

static void test_removed_and_deleted(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 60);
    save(f);
    uint32_t segments = log_segment_count(f->log), removed;
    assert_int_equal(log_delete_records(f->log, 37), ERR_OK);
    crash_and_open(runs);
    assert_int_equal(log_start_offset(f->log), 37);
    assert_int_equal(log_retain(f->log, 1000, &removed), ERR_OK);
    assert_true(removed > 0);
    crash_and_open(runs);
    assert_int_equal(log_start_offset(f->log), 37);
    assert_int_equal(log_segment_count(f->log), segments - removed);
    assert_same_without(runs);
    /* Without a segment that goes. */
    assert_int_equal(log_delete_records(f->log, 60), ERR_OK);
    save(f);
    crash_and_open(runs);
    assert_int_equal(log_start_offset(f->log), 60);
    append_many(f, 3);
    assert_same_without(runs);
}

static void test_truncated(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 60);
    save(f);
    assert_int_equal(log_truncate_to(f->log, 31), ERR_OK);
    crash_and_open(runs);
    assert_int_equal(log_end_offset(f->log), 31);
    append_many(f, 60);
    assert_same_without(runs);
}

/* Damage is told when it is met: the one partition goes offline, with the file named. */
static void test_damage_is_met(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 40);
    save(f);
    int64_t active = log_active_base_offset(f->log);
    for (int kind = 0; kind < 4; kind++) {
        fixture_abandon(f);
        int64_t base_offset = kind < 2 ? 0 : active;
        uint64_t size = fixture_file_size(f, base_offset, ".log");
        char path[256], kept[300];
        fixture_path(f, base_offset, ".log", path);
        snprintf(kept, sizeof(kept), "%s/kept", f->root);
        assert_int_equal(io_rename(f->io, path, kept), ERR_OK);
        uint8_t *data;
        size_t len;
        assert_int_equal(io_read_file(f->io, kept, 1 << 20, &data, &len), ERR_OK);
        if (kind % 2 == 0)
            assert_int_equal(io_replace_file(f->io, path, slice_of(data, (size_t)size - 1)),
                             ERR_OK);
        struct slice manifest = manifest_bytes(f);
        next_run(runs);
        fixture_open(f, false, 0);
        f->failure = ERR_OK;
        struct reading reading = {
            .op = {.offset = base_offset, .end_offset = 40, .bytes_max = 100}};
        assert_int_equal(read_wait(f, &reading), ERR_KAFKA_STORAGE_ERROR);
        assert_int_not_equal(f->failure, ERR_OK);
        assert_true(log_is_offline(f->log));
        assert_int_equal(io_rename(f->io, kept, path), ERR_OK);
        free(data);
        /* It is not forgotten: the next start reads everything, and finds it mended. */
        crash_and_open(runs);
        assert_int_equal(log_end_offset(f->log), 40);
        assert_reads_all(f);
        save(f);
        free((void *)(uintptr_t)manifest.data);
    }
}

static void test_damage_before_the_tail(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 4);
    save(f);
    append_many(f, 1);
    uint64_t size = log_size(f->log);
    fixture_abandon(f);
    next_run(runs);
    fixture_truncate(f, 0, ".log", size / 2);
    assert_int_equal(fixture_try_open(f, false, 0, -1), ERR_MALFORMED);
    assert_non_null(strstr(f->problem.text, "00000000000000000000.log has"));
    fixture_remove(f, 0, ".log");
    assert_int_not_equal(fixture_try_open(f, false, 0, -1), ERR_OK);
    assert_non_null(strstr(f->problem.text, "00000000000000000000.log"));
    f->item = NULL;
    fixture_open(f, false, 0);
}

/* What the index files hold is compared before anything is put behind it. */
static void test_damaged_index(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    f->config.segment_bytes = 1 << 20;
    log_set_config(f->log, &f->config);
    for (int kind = 0; kind < 4; kind++) {
        append_many(f, 40);
        save(f);
        if (kind % 2 == 1)
            append_many(f, 4);
        fixture_abandon(f);
        if (kind < 2)
            fixture_flip(f, 0, ".index", 3);
        else
            fixture_truncate(f, 0, ".timeindex", 5);
        next_run(runs);
        fixture_open(f, false, 0);
        append_many(f, 30);
        assert_reads_all(f);
        struct log_position position;
        int64_t end_offset = log_end_offset(f->log);
        assert_int_equal(
            log_find_timestamp(f->log, NULL, 1000 + end_offset / 2, end_offset, &position), ERR_OK);
        assert_int_equal(position.offset, end_offset / 2);
        fixture_close(f);
        /* Entries ascend, and as a log has them that was never interrupted. */
        char path[256];
        uint8_t *data;
        size_t len;
        fixture_path(f, 0, ".index", path);
        assert_int_equal(io_read_file(f->io, path, 1 << 20, &data, &len), ERR_OK);
        assert_true(len / 8 >= (size_t)end_offset / 5);
        for (size_t at = 8; at < len; at += 8) {
            assert_true(be32_load(data + at) > be32_load(data + at - 8));
            assert_true(be32_load(data + at + 4) > be32_load(data + at - 4));
        }
        free(data);
        next_run(runs);
        fixture_open(f, true, end_offset);
    }
}

static void test_malformed_entries(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_of(f, 0, false);
    append_many(f, 20);
    save(f);
    fixture_abandon(f);
    next_run(runs);
    struct manifest_item item = *f->item;
    struct slice whole = item.entry;
    f->item = &item;
    for (size_t len = 0; len < whole.len; len++) {
        item.entry = slice_of(whole.data, len);
        fixture_open(f, false, 0);
        assert_int_equal(log_end_offset(f->log), 21);
        fixture_abandon(f);
    }
    /* Any other byte may be wrong, too; the manifest's checksum is not asked here. */
    uint8_t *changed = malloc(whole.len);
    assert_non_null(changed);
    for (size_t at = 0; at < whole.len; at++) {
        memcpy(changed, whole.data, whole.len);
        changed[at] ^= 0x80;
        item.entry = slice_of(changed, whole.len);
        enum err err = fixture_try_open(f, false, 0, -1);
        if (err == ERR_OK)
            fixture_abandon(f);
    }
    free(changed);
    f->item = NULL;
    fixture_open(f, false, 0);
    assert_int_equal(log_end_offset(f->log), 21);
}

/* After a clean stop there is nothing to do, at the start and at the next stop. */
static void test_closed(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 20);
    fixture_close(f);
    assert_true(fixture_has(f, 20, ".snapshot"));
    fixture_remove(f, 20, ".snapshot");
    next_run(runs);
    assert_int_equal(f->item->mark, MANIFEST_UNCHANGED);
    fixture_open(f, true, 20);
    assert_int_equal(log_end_offset(f->log), 20);
    fixture_close(f);
    assert_false(fixture_has(f, 20, ".snapshot"));
    /* After a crash there is. */
    next_run(runs);
    fixture_open(f, true, 20);
    append_many(f, 1);
    save(f);
    crash_and_open(runs);
    fixture_close(f);
    assert_true(fixture_has(f, 21, ".snapshot"));
    next_run(runs);
    fixture_open(f, true, 21);
    assert_same_without(runs);
}

/* A flush counts once the mark is on the disk, and only then. */
static void test_flush_waits_for_mark(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 3);
    save(f);
    append_one(f, false);
    uint64_t position = manifest_position(f->manifest);
    assert_false(manifest_is_synced(f->manifest, position));
    append_one(f, true);
    assert_true(manifest_is_synced(f->manifest, position));
    assert_int_equal(log_flushed_offset(f->log), 5);
}

/* A topic is deleted while its log is flushed, and made again at once: what was to be put into the
 * manifest after the flush is not. */
static void test_deleted_during_flush(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    char *renamed;
    append_many(f, 3);
    assert_int_equal(log_save(f->log), ERR_OK);
    log_flush(f->log);
    assert_false(log_is_idle(f->log));
    assert_int_equal(log_give_up_name(f->log, 1, 2), ERR_OK);
    assert_int_equal(log_create(f->io, f->dir, FIXTURE_TOPIC_ID), ERR_OK);
    fixture_wait_idle(f);
    assert_int_equal(log_flushed_offset(f->log), 3);
    assert_int_equal(log_delete(f->log, 1, 2, &renamed), ERR_OK);
    f->log = NULL;
    assert_int_equal(logdir_remove_folder(f->io, renamed), ERR_OK);
    free(renamed);
    next_run(runs);
    assert_null(f->item->entry.data);
}

static void test_must_recover(void **state)
{
    struct runs *runs = *state;
    struct fixture *f = runs->fixture;
    append_many(f, 3);
    save(f);
    struct slice before = manifest_bytes(f);
    append_many(f, 2); /* no roll: that would be marked for good */
    fixture_abandon(f);
    put_manifest_bytes(f, before);
    next_run(runs);
    struct log_open_options options = {.manifest = f->manifest,
                                       .key = {FIXTURE_TOPIC_ID, 0},
                                       .item = f->item,
                                       .log_start_offset = -1,
                                       .must_recover = true};
    assert_int_equal(log_open(f->io, f->dir, &f->config, &options, &f->owner, &f->log, &f->problem),
                     ERR_OK);
    assert_int_equal(log_end_offset(f->log), 5);
    assert_same_without(runs);
}

#define CHECKPOINT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECKPOINT_TEST(test_unchanged_is_not_looked_at),
        CHECKPOINT_TEST(test_tail_only),
        CHECKPOINT_TEST(test_producers),
        CHECKPOINT_TEST(test_rolled),
        CHECKPOINT_TEST(test_lost_mark),
        CHECKPOINT_TEST(test_contradiction),
        CHECKPOINT_TEST(test_removed_and_deleted),
        CHECKPOINT_TEST(test_truncated),
        CHECKPOINT_TEST(test_damage_is_met),
        CHECKPOINT_TEST(test_damage_before_the_tail),
        CHECKPOINT_TEST(test_damaged_index),
        CHECKPOINT_TEST(test_malformed_entries),
        CHECKPOINT_TEST(test_closed),
        CHECKPOINT_TEST(test_flush_waits_for_mark),
        CHECKPOINT_TEST(test_deleted_during_flush),
        CHECKPOINT_TEST(test_must_recover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
