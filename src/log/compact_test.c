/* Goal: after any number of passes, stops and crashes a compacted log says the same of every key
 * as a map does, keeps its offsets and its producers, and drops what it may drop, when it may.
 * Method: keyed batches, many per segment, with a model of the newest value of each key; passes
 * beside the loop, some given up; files put back as a crash in each step of a replacement leaves
 * them. */
#include "log/compact.h"

#include "base/rng.h"
#include "log/compact_job.h"
#include "log/testing.h"
#include "log/txnindex.h"
#include "wire/batch_filter.h"

#define KEYS_MAX       64
#define UNPACKED_BYTES ((size_t)1 << 24)

/* The newest record of each key. */
struct model {
    int64_t offset[KEYS_MAX]; /* -1: never written */
    bool is_tombstone[KEYS_MAX];
};

static struct compressors compressors;

static void configure(struct fixture *f)
{
    f->config.is_compacted = true;
    f->config.is_dense = false;
    f->config.retain_by_deletion = false;
    f->config.min_cleanable_dirty_ratio = 0;
    f->config.max_compaction_lag_ms = INT64_MAX;
    f->config.delete_retention_ms = 1000;
    f->config.segment_bytes = 2048;
    log_set_config(f->log, &f->config);
}

static int setup(void **state)
{
    fixture_setup(state);
    configure(*state);
    compressors_init(&compressors);
    return 0;
}

static int teardown(void **state)
{
    compressors_deinit(&compressors);
    return fixture_teardown(state);
}

static void reopen(struct fixture *f, bool clean)
{
    int64_t cleaned = log_cleaned_offset(f->log);
    int64_t flushed = log_flushed_offset(f->log);
    if (clean)
        fixture_close(f);
    else
        fixture_abandon(f);
    fixture_open(f, clean, flushed);
    log_set_cleaned_offset(f->log, cleaned);
}

/* --- writing --- */

struct keyed {
    int key; /* -1: none */
    bool is_tombstone;
    int64_t timestamp;
};

struct keyed_options {
    enum compression compression;
    int64_t producer_id; /* 0: none */
    int32_t sequence;
    bool is_control;
    bool is_transactional;
};

static struct slice key_text(int key, char text[16])
{
    int len = snprintf(text, 16, "key-%d", key);
    return slice_of(text, (size_t)len);
}

/* One batch; a value is the record's offset in digits. */
static void append_keyed(struct fixture *f, const struct keyed *records, int count,
                         const struct keyed_options *keyed, struct model *model)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    struct pending pending = {0};
    int32_t min, max;
    options.compression = keyed->compression;
    compression_levels(keyed->compression, &min, &max, &options.level);
    options.is_transactional = keyed->is_transactional;
    options.is_control = keyed->is_control;
    if (keyed->producer_id > 0) {
        options.producer_id = keyed->producer_id;
        options.producer_epoch = 0;
        options.base_sequence = keyed->sequence;
    }
    buf_init(&pending.bytes, BUF_NO_LIMIT);
    batch_builder_init(&builder, &pending.bytes, &options);
    int64_t base = log_next_offset(f->log);
    struct record_header header = {STR("h"), slice_of("v", 1)};
    for (int i = 0; i < count; i++) {
        char key[16], value[32];
        int len = snprintf(value, sizeof(value), "%lld", (long long)base + i);
        struct record_fields fields = {
            .timestamp = records[i].timestamp,
            .key = records[i].key < 0 ? SLICE_NULL : key_text(records[i].key, key),
            .value = records[i].is_tombstone ? SLICE_NULL : slice_of(value, (size_t)len),
            .headers = &header,
            .header_count = (size_t)(i % 2)};
        assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
        if (model && records[i].key >= 0) {
            model->offset[records[i].key] = base + i;
            model->is_tombstone[records[i].key] = records[i].is_tombstone;
        }
    }
    assert_int_equal(batch_builder_finish(&builder, &compressors), ERR_OK);
    batch_builder_deinit(&builder);
    pending.op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                     .batches = pending.bytes.data,
                                     .len = pending.bytes.len,
                                     .leader_epoch = 3,
                                     .now_ms = 1000,
                                     .done = pending_done};
    log_append(f->log, &pending.op);
    assert_int_equal(pending_wait(f, &pending), ERR_OK);
}

static void append_key(struct fixture *f, int key, bool is_tombstone, struct model *model)
{
    struct keyed record = {key, is_tombstone, 1000 + log_next_offset(f->log)};
    append_keyed(f, &record, 1, &(struct keyed_options){0}, model);
}

static void model_init(struct model *model)
{
    for (int key = 0; key < KEYS_MAX; key++)
        *model = (struct model){0};
    for (int key = 0; key < KEYS_MAX; key++)
        model->offset[key] = -1;
}

/* Seals what is there: a record with a key of its own in the next segment. */
static void seal(struct fixture *f, struct model *model)
{
    int64_t active = log_active_base_offset(f->log);
    while (log_active_base_offset(f->log) == active)
        append_key(f, KEYS_MAX - 1, false, model);
    log_flush(f->log);
    fixture_wait_idle(f);
}

/* --- compacting --- */

struct pass {
    int64_t now_ms;
    uint64_t map_bytes; /* 0: enough */
    int turns_max;      /* it is left under way after so many; 0: to the end */
    struct compact_result result;
    enum err err;
    bool is_over;
    char why[512];
};

static void on_pass_done(void *arg, enum err err, const struct compact_result *result,
                         const char *why)
{
    struct pass *pass = arg;
    assert_false(pass->is_over);
    pass->is_over = true;
    pass->err = err;
    pass->result = *result;
    snprintf(pass->why, sizeof(pass->why), "%s", why);
}

/* ERR_AGAIN: nothing is due. */
static enum err begin_pass(struct fixture *f, struct pass *pass)
{
    struct compact_plan plan;
    struct compact_options options = {.map_bytes_max =
                                          pass->map_bytes ? pass->map_bytes : (uint64_t)1 << 20,
                                      .load_factor = 0.5,
                                      .now_ms = pass->now_ms,
                                      .done = on_pass_done,
                                      .arg = pass};
    pass->is_over = false;
    assert_int_equal(log_compact_look(f->log, INT64_MAX, pass->now_ms, &plan), ERR_OK);
    fixture_wait_idle(f);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, pass->now_ms, &plan), ERR_OK);
    if (!plan.is_due)
        return ERR_AGAIN;
    assert_int_equal(log_compact_begin(f->log, &plan, &options), ERR_OK);
    assert_true(log_is_compacting(f->log) && !log_is_idle(f->log));
    return ERR_OK;
}

/* ERR_TIMEOUT: it is under way, and `pass` must stay until it is over. */
static enum err try_pass(struct fixture *f, struct pass *pass)
{
    TRY(begin_pass(f, pass));
    for (int turns = 0; !pass->is_over; turns++) {
        if (pass->turns_max > 0 && turns == pass->turns_max)
            return ERR_TIMEOUT;
        io_run_once(f->io, UINT64_MAX);
    }
    assert_false(log_is_compacting(f->log));
    return pass->err;
}

/* To one segment: what is grouped is measured as it was before the pass. */
static void compact_at(struct fixture *f, int64_t now_ms)
{
    struct pass pass = {.now_ms = now_ms};
    f->config.segment_bytes = 1 << 20;
    log_set_config(f->log, &f->config);
    enum err err = try_pass(f, &pass);
    f->config.segment_bytes = 2048;
    log_set_config(f->log, &f->config);
    if (err != ERR_OK)
        fail_msg("%s: %s", err_name(err), pass.why);
}

/* --- checking --- */

struct found {
    struct model last;
    int64_t next_offset;
    int records, batches, empty_batches, tombstones, markers, horizons;
    int count[KEYS_MAX];
    struct buf scratch;
};

static enum err on_found_batch(void *arg, const struct batch *batch)
{
    struct found *found = arg;
    struct records records;
    struct record record;
    assert_true(batch_crc_is_valid(batch));
    assert_true(batch->base_offset >= found->next_offset);
    assert_int_equal(batch->leader_epoch, 3);
    found->next_offset = batch->base_offset;
    found->batches++;
    found->empty_batches += batch->count == 0;
    found->markers += batch_is_control(batch) && batch->count > 0;
    found->horizons += (batch->attributes & BATCH_ATTR_DELETE_HORIZON) != 0;
    int64_t max_timestamp = -1;
    assert_int_equal(records_init(&records, batch, &compressors, &found->scratch), ERR_OK);
    while (records_next(&records, &record)) {
        assert_true(record.offset >= found->next_offset && record.offset <= batch->last_offset);
        found->next_offset = record.offset + 1;
        found->records++;
        if (record.timestamp > max_timestamp)
            max_timestamp = record.timestamp;
        if (!record.key.data || batch_is_control(batch))
            continue;
        int key = atoi((const char *)record.key.data + 4);
        assert_in_range(key, 0, KEYS_MAX - 1);
        found->count[key]++;
        found->last.offset[key] = record.offset;
        found->last.is_tombstone[key] = !record.value.data;
        found->tombstones += !record.value.data;
        char want[32];
        snprintf(want, sizeof(want), "%lld", (long long)record.offset);
        if (record.value.data) {
            assert_int_equal(record.value.len, strlen(want));
            assert_memory_equal(record.value.data, want, strlen(want));
        }
    }
    assert_int_equal(records.err, ERR_OK);
    if (batch->count > 0)
        assert_int_equal(batch->max_timestamp, max_timestamp);
    found->next_offset = batch->last_offset + 1;
    return ERR_OK;
}

static void find_all(struct fixture *f, struct found *found)
{
    *found = (struct found){0};
    model_init(&found->last);
    buf_init(&found->scratch, UNPACKED_BYTES);
    assert_int_equal(log_each_batch(f->log, log_start_offset(f->log), on_found_batch, found),
                     ERR_OK);
    buf_deinit(&found->scratch);
}

/* A tombstone that is not there any more is a key that is not there. */
static void assert_same(struct fixture *f, const struct model *model)
{
    struct found found;
    find_all(f, &found);
    for (int key = 0; key < KEYS_MAX; key++) {
        if (found.last.offset[key] < 0 && (model->offset[key] < 0 || model->is_tombstone[key]))
            continue;
        assert_int_equal(found.last.offset[key], model->offset[key]);
        assert_int_equal(found.last.is_tombstone[key], model->is_tombstone[key]);
    }
}

/* A read at any offset gives the batch that holds it, or the first one behind it. */
static void assert_reads_everywhere(struct fixture *f)
{
    int64_t behind = INT64_MAX; /* base offset of what the offset behind gave */
    for (int64_t offset = log_end_offset(f->log) - 1; offset >= log_start_offset(f->log);
         offset--) {
        struct reading reading = {.op = {.offset = offset,
                                         .end_offset = log_end_offset(f->log),
                                         .bytes_max = 1,
                                         .at_least_one = true}};
        struct batch batch;
        assert_int_equal(read_wait(f, &reading), ERR_OK);
        assert_non_null(reading.op.buf);
        assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
        assert_true(batch.last_offset >= offset);
        assert_true(batch.base_offset <= offset || batch.base_offset == behind);
        behind = batch.base_offset;
        rbuf_unref(reading.op.buf);
    }
}

/* --- tests --- */

static void test_newest_stay(void **state)
{
    struct fixture *f = *state;
    struct model model;
    struct found found;
    model_init(&model);
    for (int i = 0; i < 200; i++)
        append_key(f, i % 7, false, &model);
    seal(f, &model);
    uint32_t segments = log_segment_count(f->log);
    uint64_t size = log_size(f->log);
    int64_t end = log_end_offset(f->log);
    assert_true(segments > 5);
    compact_at(f, 5000);
    assert_same(f, &model);
    assert_reads_everywhere(f);
    assert_int_equal(log_segment_count(f->log), 2); /* what is left became one, and the active */
    assert_true(log_size(f->log) < size / 4);
    assert_int_equal(log_end_offset(f->log), end);
    assert_int_equal(log_start_offset(f->log), 0);
    assert_int_equal(log_cleaned_offset(f->log), log_active_base_offset(f->log));
    find_all(f, &found);
    for (int key = 0; key < 7; key++)
        assert_int_equal(found.count[key], 1);
    struct pass again = {.now_ms = 5000};
    assert_int_equal(try_pass(f, &again), ERR_AGAIN); /* nothing is dirty */
    for (int i = 0; i < 2; i++) {
        reopen(f, i == 0);
        assert_same(f, &model);
        assert_reads_everywhere(f);
        assert_int_equal(log_end_offset(f->log), end);
    }
    /* By time: the newest record of key 0 is found where it is. */
    struct log_position position;
    assert_int_equal(log_find_timestamp(f->log, &compressors, 1000 + model.offset[0],
                                        log_end_offset(f->log), &position),
                     ERR_OK);
    assert_int_equal(position.offset, model.offset[0]);
}

static void test_what_does_not_change_is_not_written(void **state)
{
    struct fixture *f = *state;
    struct model model;
    char path[256];
    struct io_stat before, after;
    model_init(&model);
    f->config.segment_bytes = 2048;
    log_set_config(f->log, &f->config);
    for (int key = 0; key < KEYS_MAX - 1; key++)
        append_key(f, key, false, &model); /* each once: nothing is superseded */
    seal(f, &model);
    struct pass pass = {.now_ms = 5000};
    assert_int_equal(try_pass(f, &pass), ERR_OK);
    /* But for the records that seal the last one. */
    assert_in_range(pass.result.segments_kept, 2, log_segment_count(f->log) - 1);
    assert_true(pass.result.bytes_written < 2048);
    assert_int_equal(log_cleaned_offset(f->log), log_active_base_offset(f->log));
    assert_same(f, &model);
    /* Of the first segment something goes, of the second nothing. */
    int64_t second = 0;
    while (!fixture_has(f, ++second, ".log"))
        ;
    fixture_path(f, second, ".log", path);
    assert_int_equal(io_stat_path(f->io, path, &before), ERR_OK);
    append_key(f, 3, false, &model);
    seal(f, &model);
    assert_int_equal(try_pass(f, &pass), ERR_OK);
    assert_true(pass.result.bytes_written > 0 && pass.result.segments_kept > 0);
    assert_int_equal(io_stat_path(f->io, path, &after), ERR_OK);
    assert_int_equal(before.modified_ms, after.modified_ms);
    assert_same(f, &model);
    assert_reads_everywhere(f);
    reopen(f, false);
    assert_same(f, &model);
}

static void test_random_walk(void **state)
{
    struct fixture *f = *state;
    struct rng rng;
    struct model model;
    model_init(&model);
    rng_init(&rng, 7);
    for (int round = 0; round < 150; round++) {
        int batches = (int)rng_below(&rng, 12);
        for (int b = 0; b < batches; b++) {
            struct keyed records[8];
            int count = 1 + (int)rng_below(&rng, 8);
            for (int i = 0; i < count; i++)
                records[i] =
                    (struct keyed){(int)rng_below(&rng, KEYS_MAX - 1), rng_below(&rng, 4) == 0,
                                   1000 + round * 10 + (int64_t)rng_below(&rng, 50)};
            struct keyed_options options = {
                .compression = (enum compression)rng_below(&rng, COMPRESSION_COUNT)};
            append_keyed(f, records, count, &options, &model);
        }
        struct pass pass = {.now_ms = 1000 + round * 100,
                            .map_bytes = rng_below(&rng, 2) == 0 ? 1 : 0, /* 32 keys */
                            .turns_max = rng_below(&rng, 3) == 0 ? 1 + (int)rng_below(&rng, 8) : 0};
        enum err err = try_pass(f, &pass);
        if (err != ERR_OK && err != ERR_AGAIN && err != ERR_TIMEOUT)
            fail_msg("round %d: %s: %s", round, err_name(err), pass.why);
        if (err == ERR_TIMEOUT && rng_below(&rng, 2) == 0)
            log_compact_abort(f->log); /* perhaps while it flushes */
        if (err == ERR_TIMEOUT)
            fixture_wait_idle(f);
        if (err == ERR_TIMEOUT && rng_below(&rng, 2) == 0)
            reopen(f, rng_below(&rng, 2) == 0);
        assert_same(f, &model);
        if (round % 10 == 0) {
            fixture_wait_idle(f);
            reopen(f, rng_below(&rng, 2) == 0);
            assert_same(f, &model);
            assert_reads_everywhere(f);
        }
    }
    seal(f, &model);
    for (int i = 0; i < 40; i++) {
        struct pass pass = {.now_ms = 1000000, .map_bytes = 1};
        if (try_pass(f, &pass) != ERR_OK)
            break;
    }
    assert_same(f, &model);
}

static void test_tombstones_have_their_time(void **state)
{
    struct fixture *f = *state;
    struct model model;
    struct found found;
    model_init(&model);
    append_key(f, 1, false, &model);
    append_key(f, 1, true, &model);
    append_key(f, 2, false, &model);
    seal(f, &model);
    compact_at(f, 5000); /* the horizon is 6000 */
    find_all(f, &found);
    assert_int_equal(found.count[1], 1);
    assert_int_equal(found.tombstones, 1);
    seal(f, &model);
    compact_at(f, 5999);
    find_all(f, &found);
    assert_int_equal(found.tombstones, 1);
    reopen(f, true);
    seal(f, &model);
    compact_at(f, 6000);
    find_all(f, &found);
    assert_int_equal(found.tombstones, 0);
    assert_int_equal(found.count[1], 0);
    assert_same(f, &model);
    assert_reads_everywhere(f);
}

static void test_producers_survive(void **state)
{
    struct fixture *f = *state;
    struct model model;
    struct found found;
    model_init(&model);
    for (int i = 0; i < 30; i++) {
        struct keyed record = {1, false, 2000 + i};
        struct keyed_options options = {
            .producer_id = 77, .sequence = i, .compression = COMPRESSION_ZSTD};
        append_keyed(f, &record, 1, &options, &model);
    }
    append_key(f, 1, false, &model); /* the producer's records are all superseded */
    seal(f, &model);
    compact_at(f, 5000);
    find_all(f, &found);
    assert_int_equal(found.empty_batches, 1);
    assert_int_equal(found.count[1], 1);
    fixture_wait_idle(f);
    int64_t flushed = log_flushed_offset(f->log);
    int64_t base = log_active_base_offset(f->log), end = log_end_offset(f->log);
    fixture_abandon(f);
    /* Without snapshots only the batches tell. */
    for (int64_t at = 0; at <= end; at++) {
        if (at == base || at == 0 || at == end) {
            char path[256];
            fixture_path(f, at, ".snapshot", path);
            enum err err = io_unlink_now(f->io, path);
            assert_true(err == ERR_OK || err == ERR_NOENT);
        }
    }
    fixture_open(f, false, flushed);
    const struct producer *producer = producers_find(log_producers(f->log), 77);
    assert_non_null(producer);
    assert_int_equal(producer->batches[producer->batch_count - 1].last_sequence, 29);
    struct keyed record = {3, false, 3000};
    append_keyed(f, &record, 1, &(struct keyed_options){.producer_id = 77, .sequence = 30}, &model);
    assert_same(f, &model);
    /* It wrote again: the empty batch is not its last any more. */
    seal(f, &model);
    compact_at(f, 5000);
    find_all(f, &found);
    assert_int_equal(found.empty_batches, 0);
}

static void test_records_without_a_key_go(void **state)
{
    struct fixture *f = *state;
    struct model model;
    struct found found;
    model_init(&model);
    struct keyed records[2] = {{-1, false, 1500}, {5, false, 1500}};
    append_keyed(f, records, 2, &(struct keyed_options){0}, &model);
    seal(f, &model);
    compact_at(f, 5000);
    find_all(f, &found);
    assert_int_equal(found.count[5], 1);
    assert_same(f, &model);
    int with_key = 0;
    for (int key = 0; key < KEYS_MAX; key++)
        with_key += found.count[key];
    assert_int_equal(found.records, with_key);
}

/* --- transactions --- */

static void append_marker(struct fixture *f, int64_t producer_id, bool is_commit)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    struct pending pending = {0};
    options.is_transactional = true;
    options.is_control = true;
    options.producer_id = producer_id;
    options.producer_epoch = 0;
    uint8_t key[4] = {0, 0, 0, is_commit};
    uint8_t value[6] = {0};
    buf_init(&pending.bytes, BUF_NO_LIMIT);
    batch_builder_init(&builder, &pending.bytes, &options);
    struct record_fields fields = {.timestamp = 2000,
                                   .key = slice_of(key, sizeof(key)),
                                   .value = slice_of(value, sizeof(value))};
    assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
    assert_int_equal(batch_builder_finish(&builder, &compressors), ERR_OK);
    batch_builder_deinit(&builder);
    pending.op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                     .batches = pending.bytes.data,
                                     .len = pending.bytes.len,
                                     .leader_epoch = 3,
                                     .now_ms = 1000,
                                     .done = pending_done};
    log_append(f->log, &pending.op);
    assert_int_equal(pending_wait(f, &pending), ERR_OK);
}

static void append_txn(struct fixture *f, int64_t producer_id, int32_t sequence, int key)
{
    struct keyed record = {key, false, 1600};
    append_keyed(f, &record, 1,
                 &(struct keyed_options){
                     .producer_id = producer_id, .sequence = sequence, .is_transactional = true},
                 NULL);
}

static void test_transactions(void **state)
{
    struct fixture *f = *state;
    struct model model;
    struct found found;
    struct compact_plan plan;
    model_init(&model);
    append_key(f, 1, false, &model);
    /* 9 aborts a newer record of key 1, 10 commits key 2, their batches side by side. */
    append_txn(f, 9, 0, 1);
    append_txn(f, 10, 0, 2);
    model.offset[2] = log_next_offset(f->log) - 1;
    append_marker(f, 9, false);
    append_marker(f, 10, true);
    seal(f, &model);
    compact_at(f, 5000);
    assert_same(f, &model);
    find_all(f, &found);
    assert_int_equal(found.markers, 2);
    assert_int_equal(found.horizons, 0);
    assert_int_equal(found.empty_batches, 1); /* the last of 9 */
    assert_true(fixture_has(f, 0, ".txnindex"));
    assert_int_equal(fixture_file_size(f, 0, ".txnindex"), TXNINDEX_ENTRY_BYTES);

    /* An open transaction holds the pass back, from its first record on. */
    append_txn(f, 9, 1, 3);
    int64_t open = log_next_offset(f->log) - 1;
    seal(f, &model);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, 5000, &plan), ERR_OK);
    assert_true(plan.end_offset <= open);
    append_marker(f, 9, true);
    model.offset[3] = open;

    /* Nothing is left of the aborted one but its marker, which gets its time: 6000. Key 2 is
     * superseded; its batch is the last of 10, so its marker stays. */
    append_key(f, 2, false, &model);
    seal(f, &model);
    compact_at(f, 5000);
    assert_same(f, &model);
    find_all(f, &found);
    assert_int_equal(found.markers, 3);
    assert_int_equal(found.empty_batches, 1);
    seal(f, &model);
    compact_at(f, 5000);
    find_all(f, &found);
    assert_int_equal(found.markers, 3);
    assert_int_equal(found.horizons, 1);
    assert_false(fixture_has(f, 0, ".txnindex"));
    seal(f, &model);
    compact_at(f, 5999);
    find_all(f, &found);
    assert_int_equal(found.markers, 3);
    reopen(f, true);
    seal(f, &model);
    compact_at(f, 6000);
    find_all(f, &found);
    assert_int_equal(found.markers, 2);
    assert_int_equal(found.horizons, 0);
    assert_same(f, &model);
    assert_reads_everywhere(f);
}

/* Who was aborted is found in the segment itself then. */
static void test_a_damaged_txnindex(void **state)
{
    struct fixture *f = *state;
    struct model model;
    model_init(&model);
    append_key(f, 1, false, &model);
    append_txn(f, 9, 0, 1);
    append_marker(f, 9, false);
    seal(f, &model);
    reopen(f, true);
    char bad[TXNINDEX_ENTRY_BYTES] = {1};
    fixture_put(f, "00000000000000000000.txnindex", slice_of(bad, sizeof(bad)));
    compact_at(f, 5000);
    assert_same(f, &model);
    assert_int_equal(fixture_file_size(f, 0, ".txnindex"), TXNINDEX_ENTRY_BYTES);

    /* One that says somebody was aborted where nobody was goes. */
    append_key(f, 2, false, &model);
    int64_t base = log_active_base_offset(f->log);
    seal(f, &model);
    assert_false(fixture_has(f, base, ".txnindex"));
    char name[64], path[160];
    snprintf(name, sizeof(name), "%020lld.txnindex", (long long)base);
    fixture_put(f, name, slice_of(bad, sizeof(bad)));
    reopen(f, true);
    compact_at(f, 5000);
    assert_same(f, &model);
    assert_false(fixture_has(f, base, ".txnindex"));
    /* What is no file stays where it is: the pass fails and says which. */
    append_key(f, 3, false, &model);
    base = log_active_base_offset(f->log);
    seal(f, &model);
    snprintf(path, sizeof(path), "%s/%020lld.txnindex", f->dir, (long long)base);
    assert_int_equal(io_mkdir(f->io, path), ERR_OK);
    reopen(f, true);
    struct pass pass = {.now_ms = 5000};
    assert_int_not_equal(try_pass(f, &pass), ERR_OK);
    assert_non_null(strstr(pass.why, path));
    assert_int_equal(io_rmdir(f->io, path), ERR_OK);
}

static void test_a_damaged_batch_ends_the_pass(void **state)
{
    struct fixture *f = *state;
    struct model model;
    model_init(&model);
    for (int i = 0; i < 60; i++)
        append_key(f, i % 3, false, &model);
    seal(f, &model);
    fixture_flip(f, 0, ".log", 70);
    struct pass pass = {.now_ms = 5000};
    assert_int_equal(try_pass(f, &pass), ERR_CORRUPT_MESSAGE);
    assert_non_null(strstr(pass.why, "00000000000000000000.log: byte 0"));
    assert_int_equal(f->failure, ERR_OK);
    assert_string_equal(log_compact_problem(f->log), pass.why);
    /* Left alone, until something changes. */
    assert_int_equal(try_pass(f, &pass), ERR_AGAIN);
    log_set_config(f->log, &f->config);
    assert_int_equal(try_pass(f, &pass), ERR_CORRUPT_MESSAGE);
    assert_int_equal(try_pass(f, &pass), ERR_AGAIN);
    seal(f, &model);
    assert_int_equal(try_pass(f, &pass), ERR_CORRUPT_MESSAGE);
    fixture_flip(f, 0, ".log", 70);
    compact_at(f, 5000);
    assert_null(log_compact_problem(f->log));
    assert_same(f, &model);
}

static void test_lags_and_ratio(void **state)
{
    struct fixture *f = *state;
    struct model model;
    struct compact_plan plan;
    model_init(&model);
    for (int i = 0; i < 100; i++)
        append_key(f, i % 3, false, &model); /* timestamps from 1000 on */
    seal(f, &model);
    f->config.min_cleanable_dirty_ratio = 1;
    log_set_config(f->log, &f->config);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, 100000, &plan), ERR_OK);
    assert_true(plan.dirty_bytes > 0 && plan.dirty_ratio > 0.99 && !plan.is_due);
    /* Nothing that is not stable. */
    assert_int_equal(log_compact_look(f->log, 3, 100000, &plan), ERR_OK);
    assert_int_equal(plan.dirty_bytes, 0);
    /* The oldest record is from 1000. */
    f->config.max_compaction_lag_ms = 50000;
    log_set_config(f->log, &f->config);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, 51000, &plan), ERR_OK);
    assert_false(plan.is_due);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, 51001, &plan), ERR_OK);
    assert_true(plan.is_due);
    /* It forces the active segment to be rolled, and then all is compacted. */
    uint32_t segments = log_segment_count(f->log);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, 200000, &plan), ERR_OK);
    assert_int_equal(log_segment_count(f->log), segments + 1);
    assert_int_equal(log_active_base_offset(f->log), log_end_offset(f->log));
    compact_at(f, 200000);
    assert_same(f, &model);
    assert_int_equal(log_cleaned_offset(f->log), log_end_offset(f->log));
    /* What is younger than the least lag stays dirty. */
    f->config.max_compaction_lag_ms = INT64_MAX;
    f->config.min_cleanable_dirty_ratio = 0;
    f->config.min_compaction_lag_ms = 1000;
    log_set_config(f->log, &f->config);
    int64_t newest = 1000 + log_end_offset(f->log);
    append_key(f, 1, false, &model);
    int64_t active = log_active_base_offset(f->log);
    while (log_active_base_offset(f->log) == active)
        append_keyed(f, &(struct keyed){2, false, newest}, 1, &(struct keyed_options){0}, &model);
    log_flush(f->log);
    fixture_wait_idle(f);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, newest + 999, &plan), ERR_OK);
    assert_false(plan.is_due);
    assert_int_equal(log_compact_look(f->log, INT64_MAX, newest + 1000, &plan), ERR_OK);
    assert_true(plan.is_due);
}

/* --- crashes --- */

static void rename_in(struct fixture *f, int64_t base, const char *from, const char *to)
{
    char old_path[256], new_path[256];
    fixture_path(f, base, from, old_path);
    fixture_path(f, base, to, new_path);
    assert_int_equal(io_rename(f->io, old_path, new_path), ERR_OK);
}

static uint8_t *copy_file(struct fixture *f, int64_t base, const char *suffix, size_t *len)
{
    char path[256];
    uint8_t *data = NULL;
    fixture_path(f, base, suffix, path);
    assert_int_equal(io_read_file(f->io, path, 1 << 20, &data, len), ERR_OK);
    return data;
}

static void put_file(struct fixture *f, int64_t base, const char *suffix, const uint8_t *data,
                     size_t len)
{
    char name[64];
    snprintf(name, sizeof(name), "%020lld%s", (long long)base, suffix);
    fixture_put(f, name, slice_of(data, len));
}

enum { OLD_MAX = 16 };

/* The files of all segments before a pass, to put back what a crash would have left. */
struct old_files {
    int64_t bases[OLD_MAX];
    uint8_t *data[OLD_MAX][3];
    size_t lens[OLD_MAX][3];
    int count;
};

static const char *const kinds[3] = {".log", ".index", ".timeindex"};

static void save_old(struct fixture *f, struct old_files *old, int64_t end)
{
    old->count = 0;
    for (int64_t base = 0; base < end; base++) {
        if (!fixture_has(f, base, ".log"))
            continue;
        assert_true(old->count < OLD_MAX);
        old->bases[old->count] = base;
        for (int k = 0; k < 3; k++)
            old->data[old->count][k] = copy_file(f, base, kinds[k], &old->lens[old->count][k]);
        old->count++;
    }
}

static void free_old(struct old_files *old)
{
    for (int i = 0; i < old->count; i++)
        for (int k = 0; k < 3; k++)
            free(old->data[i][k]);
}

static void put_old(struct fixture *f, const struct old_files *old, int from)
{
    for (int i = from; i < old->count; i++)
        for (int k = 0; k < 3; k++)
            put_file(f, old->bases[i], kinds[k], old->data[i][k], old->lens[i][k]);
}

static void test_crashes_in_a_replacement(void **state)
{
    struct fixture *f = *state;
    enum { AS_CLEANED, HALF_SWAP, AS_SWAP, SOME_REMOVED, HALF_DONE, STEPS };
    for (int step = 0; step < STEPS; step++) {
        struct model model;
        struct old_files old;
        struct found found;
        model_init(&model);
        f->config.delete_retention_ms = 0;
        log_set_config(f->log, &f->config);
        for (int i = 0; i < 90; i++)
            append_key(f, i % 5, i % 11 == 0, &model);
        seal(f, &model);
        int64_t active = log_active_base_offset(f->log);
        save_old(f, &old, active);
        assert_true(old.count > 2);
        compact_at(f, 5000);
        assert_int_equal(log_segment_count(f->log), 2);
        int64_t flushed = log_flushed_offset(f->log);
        fixture_abandon(f);
        /* One segment is left, at 0. */
        const char *end = step == AS_CLEANED ? ".cleaned" : ".swap";
        for (int k = 0; k < 3; k++) {
            if (step == HALF_DONE && k > 0)
                continue; /* has its name already */
            char to[32];
            snprintf(to, sizeof(to), "%s%s", kinds[k],
                     step == HALF_SWAP && k > 0 ? ".cleaned" : end);
            rename_in(f, old.bases[0], kinds[k], to);
        }
        if (step <= AS_SWAP)
            put_old(f, &old, 0);
        else if (step == SOME_REMOVED)
            put_old(f, &old, old.count - 1);
        fixture_open(f, false, flushed);
        assert_false(fixture_has(f, old.bases[0], ".log.cleaned"));
        assert_false(fixture_has(f, old.bases[0], ".index.cleaned"));
        assert_false(fixture_has(f, old.bases[0], ".log.swap"));
        assert_false(fixture_has(f, old.bases[0], ".index.swap"));
        /* Old segments past the new one's last record may stay: all in them is superseded. */
        if (step <= HALF_SWAP)
            assert_int_equal(log_segment_count(f->log), (uint32_t)old.count + 1);
        else
            assert_in_range(log_segment_count(f->log), 2, (uint32_t)old.count);
        assert_same(f, &model);
        assert_reads_everywhere(f);
        seal(f, &model);
        compact_at(f, 5000);
        assert_same(f, &model);
        find_all(f, &found);
        for (int key = 0; key < 5; key++)
            assert_true(found.count[key] <= 1);
        free_old(&old);
        fixture_abandon(f);
        assert_int_equal(logdir_remove_folder(f->io, f->dir), ERR_OK);
        struct uuid id = {{1, 2, 3}};
        assert_int_equal(log_create(f->io, f->dir, id), ERR_OK);
        fixture_open(f, true, 0);
    }
}

static void test_a_damaged_swap_is_refused(void **state)
{
    struct fixture *f = *state;
    struct model model;
    model_init(&model);
    for (int i = 0; i < 60; i++)
        append_key(f, i % 5, false, &model);
    seal(f, &model);
    int64_t flushed = log_flushed_offset(f->log);
    fixture_abandon(f);
    rename_in(f, 0, ".log", ".log.swap");
    fixture_flip(f, 0, ".log.swap", 100);
    assert_int_equal(fixture_try_open(f, false, flushed, -1), ERR_MALFORMED);
    assert_non_null(strstr(f->problem.text, "log.swap"));
    fixture_flip(f, 0, ".log.swap", 100);
    fixture_open(f, false, flushed);
    assert_same(f, &model);
}

/* --- others in the way --- */

static void test_retention_ends_a_pass(void **state)
{
    struct fixture *f = *state;
    struct model model;
    model_init(&model);
    for (int turn = 0; turn < 4; turn++) {
        for (int i = 0; i < 100; i++)
            append_key(f, i % 3, false, &model);
        seal(f, &model);
        f->config.retain_by_deletion = false;
        f->config.retention_bytes = -1;
        log_set_config(f->log, &f->config);
        struct pass pass = {.now_ms = 5000};
        assert_int_equal(begin_pass(f, &pass), ERR_OK);
        for (int i = 0; i < turn && !pass.is_over; i++)
            io_run_once(f->io, UINT64_MAX);
        f->config.retain_by_deletion = true;
        f->config.retention_bytes = 1;
        log_set_config(f->log, &f->config);
        uint32_t removed = 0;
        while (removed == 0) { /* while a segment takes others' place it waits */
            assert_int_equal(log_retain(f->log, 5000, &removed), ERR_OK);
            if (removed == 0)
                io_run_once(f->io, UINT64_MAX);
        }
        assert_int_equal(log_segment_count(f->log), 1);
        int64_t start = log_start_offset(f->log);
        fixture_wait_idle(f);
        assert_true(pass.is_over);
        assert_true(pass.err == ERR_CANCELLED || pass.err == ERR_OK);
        assert_int_equal(log_segment_count(f->log), 1);
        assert_null(log_compact_problem(f->log));
        assert_false(fixture_has(f, 0, ".log.cleaned"));
        assert_false(fixture_has(f, 0, ".log"));
        reopen(f, turn % 2 == 0);
        assert_int_equal(log_start_offset(f->log), start); /* nothing came back */
    }
    append_key(f, 1, false, &model);
    seal(f, &model);
    f->config.retention_bytes = -1;
    log_set_config(f->log, &f->config);
    compact_at(f, 5000);
    assert_reads_everywhere(f);
}

static void test_another_policy_ends_a_pass(void **state)
{
    struct fixture *f = *state;
    struct model model;
    model_init(&model);
    for (int i = 0; i < 100; i++)
        append_key(f, i % 3, false, &model);
    seal(f, &model);
    uint64_t size = log_size(f->log);
    struct pass pass = {.now_ms = 5000};
    assert_int_equal(begin_pass(f, &pass), ERR_OK);
    f->config.is_compacted = false;
    log_set_config(f->log, &f->config);
    fixture_wait_idle(f);
    assert_true(pass.is_over);
    assert_int_equal(pass.err, ERR_CANCELLED);
    assert_int_equal(log_size(f->log), size);
    assert_int_equal(begin_pass(f, &pass), ERR_AGAIN);
    f->config.is_compacted = true;
    log_set_config(f->log, &f->config);
    compact_at(f, 5000);
    assert_true(log_size(f->log) < size);
    assert_same(f, &model);
}

static void test_a_pace_is_kept(void **state)
{
    struct fixture *f = *state;
    struct model model;
    model_init(&model);
    for (int i = 0; i < 100; i++)
        append_key(f, i % 3, false, &model);
    seal(f, &model);
    /* A pause of hours after the first step; an abort does not wait for it. */
    struct pace pace = {.bytes_per_second = 1};
    struct compact_plan plan;
    struct pass pass = {.now_ms = 5000};
    struct compact_options options = {.map_bytes_max = 1 << 20,
                                      .load_factor = 0.5,
                                      .now_ms = 5000,
                                      .pace = &pace,
                                      .done = on_pass_done,
                                      .arg = &pass};
    assert_int_equal(log_compact_look(f->log, INT64_MAX, 5000, &plan), ERR_OK);
    assert_int_equal(log_compact_begin(f->log, &plan, &options), ERR_OK);
    for (int i = 0; i < 20; i++)
        io_run_once(f->io, 1000000);
    assert_false(pass.is_over);
    log_compact_abort(f->log);
    fixture_wait_idle(f);
    assert_true(pass.is_over);
    assert_int_equal(pass.err, ERR_CANCELLED);
    compact_at(f, 5000);
    assert_same(f, &model);
}

static void test_reads_go_on(void **state)
{
    struct fixture *f = *state;
    struct model model;
    model_init(&model);
    for (int i = 0; i < 100; i++)
        append_key(f, i % 3, false, &model);
    seal(f, &model);
    struct reading reading = {.op = {.offset = 0,
                                     .end_offset = log_end_offset(f->log),
                                     .bytes_max = 1 << 16,
                                     .bufs = &f->bufs,
                                     .done = reading_done}};
    log_read(f->log, &reading.op); /* of the old segment; ends in a later turn */
    assert_false(reading.done);
    struct pass pass = {.now_ms = 5000};
    struct compact_plan plan;
    struct compact_options options = {.map_bytes_max = 1 << 20,
                                      .load_factor = 0.5,
                                      .now_ms = 5000,
                                      .done = on_pass_done,
                                      .arg = &pass};
    assert_int_equal(log_compact_look(f->log, INT64_MAX, 5000, &plan), ERR_OK);
    assert_int_equal(log_compact_begin(f->log, &plan, &options), ERR_OK);
    while (!pass.is_over)
        io_run_once(f->io, UINT64_MAX);
    assert_int_equal(pass.err, ERR_OK);
    fixture_wait_idle(f);
    assert_true(reading.done);
    assert_int_equal(reading.op.err, ERR_OK);
    struct batch batch;
    assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
    assert_int_equal(batch.base_offset, 0); /* it is there no more for those who come later */
    rbuf_unref(reading.op.buf);
    assert_same(f, &model);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_newest_stay),
        CASE(test_what_does_not_change_is_not_written),
        CASE(test_random_walk),
        CASE(test_tombstones_have_their_time),
        CASE(test_producers_survive),
        CASE(test_records_without_a_key_go),
        CASE(test_transactions),
        CASE(test_a_damaged_txnindex),
        CASE(test_a_damaged_batch_ends_the_pass),
        CASE(test_lags_and_ratio),
        CASE(test_crashes_in_a_replacement),
        CASE(test_a_damaged_swap_is_refused),
        CASE(test_retention_ends_a_pass),
        CASE(test_another_policy_ends_a_pass),
        CASE(test_a_pace_is_kept),
        CASE(test_reads_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
