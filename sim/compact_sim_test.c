/* Goal: a compacted log says the same of every key as a map does, over crashes at any point, inside
 * of a pass and of its swap too, and any number of passes; tombstones stay exactly as long as they
 * must; nothing that was deleted or cut off comes back; producers keep their sequences.
 * Method: one log on a simulated disk; keyed batches go straight to it, passes, deletions, cuts
 * and crashes come by the seed, and a table of all that was ever written, by offset, is compared
 * with what the log holds after each pass and at each start. `compact_sim_test SEED` runs one seed
 * aloud, `compact_sim_test FROM TO` a range of them. */
#include "sim/seed_test.h"

#include <string.h>

#include "base/assert.h"
#include "log/compact.h"
#include "log/log.h"
#include "log/logdir.h"
#include "sim/model.h"
#include "sim/world.h"
#include "wire/batch_builder.h"

#define MS         UINT64_C(1000000)
#define S          UINT64_C(1000000000)
#define PRODUCERS  3
#define KEYS_MAX   40
#define SEEDS      40
#define SEEDS_SAME 5
#define DIR        "/data/t-0"

/* What a crashed log held is abandoned by design. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* What was written at an offset. */
struct written {
    int32_t key; /* -1: a crash took it before it was acknowledged */
    uint32_t n;  /* of all that was ever made: a value is used once */
    bool is_tombstone;
    int32_t producer; /* -1: none */
    int32_t sequence;
    bool ends_batch;
};

struct begun_pass {
    int64_t end_offset;
    int64_t now_ms;
};

struct harness {
    struct world world;
    struct rng rng;
    struct world_node *node;
    struct world_event crash, restart;
    struct log_config config;
    uint32_t key_count;
    uint64_t map_bytes;
    bool deletes, cuts;
    /* What the log must say; outlives it. */
    struct written *at; /* [offset] */
    int64_t count, cap;
    uint32_t made, made_max;
    int64_t acked_end;
    int64_t deleted_below; /* DeleteRecords was answered, or segments went */
    struct begun_pass *passes;
    size_t pass_count, pass_cap;
    /* What the checkpoint files have. */
    int64_t checkpoint, cleaned, start, high_watermark;
    bool is_created, is_healed;
    bool is_compact; /* nothing is left to do for a pass */
    uint64_t passes_done;
    /* Of the log that is open. */
    uint64_t life;
    struct io *io;
    struct log *log;
    struct log_owner owner;
    struct compressors compressors;
};

/* One life of the log, from its opening to the crash that abandons it. */
struct life {
    struct harness *h;
    struct io_timer timer;
    uint32_t in_flight;
    bool wants_cut;
    int64_t pass_end, pass_now_ms;
};

/* --- writing --- */

struct append_out {
    struct log_append op;
    struct life *life;
    int64_t end_offset;
    uint8_t bytes[];
};

static void on_appended(struct log_append *op)
{
    struct append_out *out = CONTAINER_OF(op, struct append_out, op);
    struct harness *h = out->life->h;
    out->life->in_flight--;
    if (op->err == ERR_OK) {
        if (op->last_offset + 1 > h->acked_end)
            h->acked_end = op->last_offset + 1;
    } else if (op->err != ERR_KAFKA_STORAGE_ERROR) {
        model_fail(&h->world, "an append at %lld: %s", (long long)op->base_offset,
                   err_name(op->err));
    }
    free(out);
}

static struct written *written_add(struct harness *h)
{
    if (h->count == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 256;
        h->at = realloc(h->at, (size_t)h->cap * sizeof(*h->at));
        assert_non_null(h->at);
    }
    return &h->at[h->count++];
}

static int32_t next_sequence(const struct harness *h, int32_t producer)
{
    for (int64_t offset = h->count - 1; offset >= 0; offset--)
        if (h->at[offset].producer == producer)
            return h->at[offset].sequence + 1;
    return 0;
}

static void add_record(struct harness *h, struct batch_builder *builder, int32_t producer,
                       int32_t sequence)
{
    char key[16], value[32];
    struct written *written = written_add(h);
    *written = (struct written){.key = (int32_t)rng_below(&h->rng, h->key_count),
                                .n = h->made++,
                                .is_tombstone = rng_chance(&h->rng, 1, 4),
                                .producer = producer,
                                .sequence = sequence};
    int key_len = snprintf(key, sizeof(key), "%d", written->key);
    int len = snprintf(value, sizeof(value), "%u", written->n);
    struct record_fields fields = {.timestamp = io_wall_ms(h->io),
                                   .key = slice_of(key, (size_t)key_len),
                                   .value = written->is_tombstone ? SLICE_NULL
                                                                  : slice_of(value, (size_t)len)};
    assert_int_equal(batch_builder_append(builder, &fields), ERR_OK);
}

/* One append at a time where the log was not idle: an offset that it gives is then ours to note. */
static void append(struct life *life)
{
    struct harness *h = life->h;
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    struct buf bytes;
    int32_t producer = (int32_t)rng_below(&h->rng, PRODUCERS + 2) - 2;
    if (producer < 0)
        producer = -1;
    int32_t sequence = producer >= 0 ? next_sequence(h, producer) : 0;
    options.compression = rng_chance(&h->rng, 1, 4) ? COMPRESSION_LZ4 : COMPRESSION_NONE;
    options.level = 1;
    if (producer >= 0) {
        options.producer_id = 100 + producer;
        options.producer_epoch = 0;
        options.base_sequence = sequence;
    }
    buf_init(&bytes, BUF_NO_LIMIT);
    batch_builder_init(&builder, &bytes, &options);
    int64_t first = h->count;
    int32_t count = 1 + (int32_t)rng_below(&h->rng, 6);
    for (int32_t i = 0; i < count; i++)
        add_record(h, &builder, producer, sequence + i);
    h->at[h->count - 1].ends_batch = true;
    assert_int_equal(batch_builder_finish(&builder, &h->compressors), ERR_OK);
    batch_builder_deinit(&builder);
    struct append_out *out = calloc(1, sizeof(*out) + bytes.len);
    assert_non_null(out);
    memcpy(out->bytes, bytes.data, bytes.len);
    out->life = life;
    out->op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                  .batches = out->bytes,
                                  .len = bytes.len,
                                  .leader_epoch = 0,
                                  .now_ms = io_wall_ms(h->io),
                                  .sync = true,
                                  .done = on_appended};
    buf_deinit(&bytes);
    life->in_flight++;
    int64_t next = log_next_offset(h->log);
    if (next != first)
        model_fail(&h->world, "the next offset is %lld, after %lld were written", (long long)next,
                   (long long)first);
    log_append(h->log, &out->op);
    h->count = log_next_offset(h->log); /* nothing, where it was refused */
}

/* --- checking --- */

struct look {
    struct harness *h;
    int64_t next_offset;
    int64_t newest[KEYS_MAX]; /* offset; -1 */
    /* Of a pass that ended; 0: none did. */
    int64_t pass_end, pass_now_ms;
    int64_t first_of_key[KEYS_MAX];
    struct buf scratch;
};

static void look_at_record(struct look *look, const struct batch *batch,
                           const struct record *record)
{
    struct harness *h = look->h;
    int64_t offset = record->offset;
    if (offset < look->next_offset || offset >= h->count)
        model_fail(&h->world, "offset %lld is read after %lld, and %lld were written",
                   (long long)offset, (long long)look->next_offset - 1, (long long)h->count);
    const struct written *written = &h->at[offset];
    char key[16], value[32];
    int key_len = snprintf(key, sizeof(key), "%d", written->key);
    int len = snprintf(value, sizeof(value), "%u", written->n);
    bool is_same =
        record->key.len == (size_t)key_len && memcmp(record->key.data, key, (size_t)key_len) == 0 &&
        !record->value.data == written->is_tombstone &&
        (written->is_tombstone ||
         (record->value.len == (size_t)len && memcmp(record->value.data, value, (size_t)len) == 0));
    if (!is_same)
        model_fail(&h->world, "offset %lld holds another record than was written there",
                   (long long)offset);
    look->next_offset = offset + 1;
    if (offset < log_start_offset(h->log))
        return;
    bool is_compacted = offset < look->pass_end;
    if (is_compacted && look->newest[written->key] >= 0)
        model_fail(&h->world, "a pass up to %lld left offsets %lld and %lld of one key",
                   (long long)look->pass_end, (long long)look->newest[written->key],
                   (long long)offset);
    /* One that this pass gave is for the next. */
    bool is_past_horizon =
        (batch->attributes & BATCH_ATTR_DELETE_HORIZON) != 0 &&
        batch->base_timestamp <= look->pass_now_ms &&
        batch->base_timestamp != look->pass_now_ms + h->config.delete_retention_ms;
    if (is_compacted && written->is_tombstone && is_past_horizon)
        model_fail(
            &h->world, "the tombstone at %lld should have gone at %lld, and a pass at %lld left it",
            (long long)offset, (long long)batch->base_timestamp, (long long)look->pass_now_ms);
    look->newest[written->key] = offset;
}

static enum err look_at_batch(void *arg, const struct batch *batch)
{
    struct look *look = arg;
    struct harness *h = look->h;
    struct records records;
    struct record record;
    if (!batch_crc_is_valid(batch))
        model_fail(&h->world, "offset %lld: a wrong checksum", (long long)batch->base_offset);
    assert_int_equal(records_init(&records, batch, &h->compressors, &look->scratch), ERR_OK);
    while (records_next(&records, &record))
        look_at_record(look, batch, &record);
    assert_int_equal(records.err, ERR_OK);
    return ERR_OK;
}

/* A tombstone at the offset may be gone: a pass gave it its time, and one after that time saw it.
 */
static bool tombstone_may_be_gone(const struct harness *h, int64_t offset)
{
    int64_t first_ms = INT64_MAX;
    for (size_t i = 0; i < h->pass_count; i++)
        if (h->passes[i].end_offset > offset && h->passes[i].now_ms < first_ms)
            first_ms = h->passes[i].now_ms;
    for (size_t i = 0; first_ms < INT64_MAX && i < h->pass_count; i++)
        if (h->passes[i].end_offset > offset &&
            h->passes[i].now_ms >= first_ms + h->config.delete_retention_ms)
            return true;
    return false;
}

static void check_keys(const struct look *look)
{
    struct harness *h = look->h;
    int64_t newest[KEYS_MAX];
    memset(newest, 0xff, sizeof(newest));
    for (int64_t offset = log_start_offset(h->log); offset < log_end_offset(h->log); offset++)
        if (h->at[offset].key >= 0)
            newest[h->at[offset].key] = offset;
    for (uint32_t key = 0; key < h->key_count; key++) {
        int64_t want = newest[key], have = look->newest[key];
        if (want == have)
            continue;
        if (want < 0)
            model_fail(&h->world, "key %u came back at offset %lld", key, (long long)have);
        if (have >= 0 && have != want && !h->at[want].is_tombstone)
            model_fail(&h->world, "key %u has its record at %lld, but %lld is newer", key,
                       (long long)have, (long long)want);
        if (!h->at[want].is_tombstone)
            model_fail(&h->world, "key %u: the record at %lld is lost", key, (long long)want);
        if (have >= 0)
            model_fail(&h->world, "key %u: its tombstone at %lld is gone, but %lld is there", key,
                       (long long)want, (long long)have);
        if (!tombstone_may_be_gone(h, want))
            model_fail(&h->world, "key %u: the tombstone at %lld went before its time", key,
                       (long long)want);
    }
}

static void check_producers(struct harness *h)
{
    for (int32_t p = 0; p < PRODUCERS; p++) {
        int64_t last = log_end_offset(h->log) - 1;
        while (last >= log_start_offset(h->log) && h->at[last].producer != p)
            last--;
        if (last < log_start_offset(h->log))
            continue;
        const struct producer *producer = producers_find(log_producers(h->log), 100 + p);
        if (!producer || producer->batch_count == 0)
            model_fail(&h->world, "producer %d, who wrote %lld, is not known any more", p,
                       (long long)last);
        int32_t sequence = producer->batches[producer->batch_count - 1].last_sequence;
        if (sequence != h->at[last].sequence)
            model_fail(&h->world, "producer %d has sequence %d, and wrote %d at %lld", p, sequence,
                       h->at[last].sequence, (long long)last);
    }
}

static void check_log(struct harness *h, int64_t pass_end, int64_t pass_now_ms)
{
    struct look look = {.h = h, .pass_end = pass_end, .pass_now_ms = pass_now_ms};
    memset(look.newest, 0xff, sizeof(look.newest));
    buf_init(&look.scratch, 1 << 20);
    if (log_start_offset(h->log) < h->deleted_below)
        model_fail(&h->world, "the log begins at %lld, after all below %lld was deleted",
                   (long long)log_start_offset(h->log), (long long)h->deleted_below);
    if (log_each_batch(h->log, log_start_offset(h->log), look_at_batch, &look) == ERR_OK)
        check_keys(&look); /* else a read failed, as reads do here */
    buf_deinit(&look.scratch);
}

static enum err note_present(void *arg, const struct batch *batch)
{
    bool *is_present = arg;
    for (int64_t offset = batch->base_offset; offset <= batch->last_offset; offset++)
        is_present[offset] = true;
    return ERR_OK;
}

/* Where compaction leaves gaps, recovery cannot tell that the unflushed end of a segment is missing
 * before the next one: of what nobody was told is there, some may be gone. */
static enum err note_lost(struct harness *h)
{
    bool *is_present = calloc((size_t)h->count + 1, sizeof(*is_present));
    assert_non_null(is_present);
    enum err err = log_each_batch(h->log, h->acked_end, note_present, is_present);
    for (int64_t offset = h->acked_end; err == ERR_OK && offset < h->count; offset++) {
        if (!is_present[offset])
            h->at[offset] = (struct written){.key = -1, .producer = -1, .ends_batch = true};
    }
    free(is_present);
    return err;
}

/* --- passes --- */

static void on_pass_done(void *arg, enum err err, const struct compact_result *result,
                         const char *why)
{
    struct life *life = arg;
    struct harness *h = life->h;
    world_say(&h->world, "the pass ends at %lld: %s %s", (long long)result->end_offset,
              err_name(err), why);
    if (err == ERR_CORRUPT_MESSAGE)
        model_fail(&h->world, "a pass finds a bad record: %s", why);
    if (err != ERR_OK)
        return;
    h->passes_done++;
    check_log(h, result->end_offset, life->pass_now_ms);
}

static void note_pass(struct harness *h, int64_t end_offset, int64_t now_ms)
{
    if (h->pass_count == h->pass_cap) {
        h->pass_cap = h->pass_cap ? h->pass_cap * 2 : 64;
        h->passes = realloc(h->passes, h->pass_cap * sizeof(*h->passes));
        assert_non_null(h->passes);
    }
    h->passes[h->pass_count++] = (struct begun_pass){end_offset, now_ms};
}

static void begin_pass(struct life *life)
{
    struct harness *h = life->h;
    struct compact_plan plan;
    int64_t now_ms = io_wall_ms(h->io);
    int64_t stable = h->checkpoint < h->high_watermark ? h->checkpoint : h->high_watermark;
    enum err err = log_compact_look(h->log, stable, now_ms, &plan);
    h->is_compact = err == ERR_OK && !plan.is_due && stable >= log_active_base_offset(h->log);
    if (err != ERR_OK || !plan.is_due)
        return;
    struct compact_options options = {.map_bytes_max = h->map_bytes,
                                      .load_factor = 0.5,
                                      .now_ms = now_ms,
                                      .done = on_pass_done,
                                      .arg = life};
    world_say(&h->world, "a pass from %lld to %lld", (long long)plan.first_dirty_offset,
              (long long)plan.end_offset);
    life->pass_now_ms = now_ms;
    note_pass(h, plan.end_offset, now_ms);
    err = log_compact_begin(h->log, &plan, &options);
    assert_int_equal(err, ERR_OK);
}

/* --- what happens --- */

/* As the checkpoint files are written: all of it together. */
static void checkpoint(struct harness *h)
{
    h->checkpoint = log_flushed_offset(h->log);
    if (h->checkpoint > h->acked_end)
        h->acked_end = h->checkpoint; /* survived a crash, and is flushed now */
    h->high_watermark = h->acked_end;
    h->cleaned = log_cleaned_offset(h->log);
    h->start = log_start_offset(h->log);
}

struct deletion {
    struct log_deletion op;
    struct harness *h;
};

static void on_deleted(struct log_deletion *op)
{
    struct deletion *deletion = CONTAINER_OF(op, struct deletion, op);
    struct harness *h = deletion->h;
    if (op->err == ERR_OK && op->offset > h->deleted_below)
        h->deleted_below = op->offset;
    free(deletion);
}

static void delete_some(struct harness *h)
{
    int64_t start = log_start_offset(h->log);
    int64_t below = h->high_watermark > start ? h->high_watermark : start;
    uint64_t most = (uint64_t)(below - start) / (rng_chance(&h->rng, 1, 10) ? 1 : 8);
    int64_t offset = start + (int64_t)rng_below(&h->rng, most + 1);
    if (rng_chance(&h->rng, 1, 2)) {
        struct deletion *deletion = calloc(1, sizeof(*deletion));
        assert_non_null(deletion);
        deletion->h = h;
        deletion->op = (struct log_deletion){.offset = offset, .done = on_deleted};
        log_delete_durably(h->log, &deletion->op);
    }
    uint32_t removed;
    enum err err = log_retain(h->log, io_wall_ms(h->io), &removed);
    if (err == ERR_OK && removed > 0 && log_start_offset(h->log) > h->deleted_below)
        h->deleted_below = log_start_offset(h->log);
    world_say(&h->world, "deleted below %lld: %s, %u segments", (long long)offset, err_name(err),
              err == ERR_OK ? removed : 0);
}

/* As a follower does, never below the high watermark. */
static void cut(struct life *life)
{
    struct harness *h = life->h;
    int64_t end = log_end_offset(h->log);
    int64_t from =
        h->high_watermark > log_start_offset(h->log) ? h->high_watermark : log_start_offset(h->log);
    if (from >= end)
        return;
    int64_t offset = from + (int64_t)rng_below(&h->rng, (uint64_t)(end - from) + 1);
    while (offset > from && offset < end && !h->at[offset - 1].ends_batch)
        offset--;
    world_say(&h->world, "cut to %lld", (long long)offset);
    h->acked_end = offset; /* before: a crash may come in the call */
    enum err err = log_truncate_to(h->log, offset);
    if (err == ERR_OK)
        h->count = log_end_offset(h->log);
}

static void on_timer(struct io_timer *timer)
{
    struct life *life = CONTAINER_OF(timer, struct life, timer);
    struct harness *h = life->h;
    if (log_is_offline(h->log))
        return;
    log_tick(h->log, io_wall_ms(h->io), rng_chance(&h->rng, 1, 2));
    if (life->wants_cut && log_is_idle(h->log) && life->in_flight == 0) {
        life->wants_cut = false;
        cut(life);
        if (log_is_offline(h->log))
            return;
    }
    if (!life->wants_cut && !h->is_healed && h->made < h->made_max && rng_chance(&h->rng, 1, 2))
        append(life);
    if (rng_chance(&h->rng, 1, 10))
        checkpoint(h);
    if (!life->wants_cut && !log_is_compacting(h->log) && rng_chance(&h->rng, 1, 10))
        begin_pass(life);
    if (h->deletes && !h->is_healed && rng_chance(&h->rng, 1, 150))
        delete_some(h);
    if (h->cuts && !h->is_healed && !life->wants_cut && rng_chance(&h->rng, 1, 60)) {
        life->wants_cut = true;
        log_compact_abort(h->log);
    }
    if (log_is_compacting(h->log) && rng_chance(&h->rng, 1, 200))
        log_compact_abort(h->log);
    io_timer_start(h->io, timer, io_now_ns(h->io) + (1 + rng_below(&h->rng, 10)) * MS);
}

/* --- a life --- */

static void on_advance(struct log_owner *owner, size_t bytes)
{
    (void)owner, (void)bytes;
}

static void on_failure(struct log_owner *owner, enum err err, const char *what)
{
    struct harness *h = CONTAINER_OF(owner, struct harness, owner);
    world_say(&h->world, "the log failed: %s (%s)", what, err_text(err));
}

static enum err remove_snapshot(void *arg, const char *name, bool is_dir)
{
    struct harness *h = arg;
    char path[128];
    const char *dot = strrchr(name, '.');
    if (is_dir || !dot || strcmp(dot, ".snapshot") != 0)
        return ERR_OK;
    snprintf(path, sizeof(path), DIR "/%s", name);
    return io_unlink_now(h->io, path);
}

/* Without snapshots the batches say the same, unless some were lost that compaction relied on. */
static enum err lose_snapshots(struct harness *h)
{
    if (h->cuts || h->node->was_power_cut || !h->is_created || !rng_chance(&h->rng, 1, 4))
        return ERR_OK;
    return io_list(h->io, DIR, remove_snapshot, h);
}

/* A start that fails waits for the next crash. */
static enum err open_log(struct harness *h)
{
    struct io_stat stat;
    struct uuid id = {{1}};
    enum err err = io_mkdir(h->io, "/data");
    if (err != ERR_OK && err != ERR_EXISTS)
        return err;
    TRY(io_sync_dir(h->io, "/"));
    bool is_new = !h->is_created;
    if (is_new) {
        if (io_stat_path(h->io, DIR, &stat) == ERR_OK)
            TRY(logdir_remove_folder(h->io, DIR));
        TRY(log_create(h->io, DIR, id));
        h->is_created = true;
    }
    TRY(lose_snapshots(h));
    struct log_open_options options = {is_new, h->checkpoint, h->start};
    struct log_problem problem;
    err = log_open(h->io, DIR, &h->config, &options, &h->owner, &h->log, &problem);
    if (err != ERR_OK)
        world_say(&h->world, "the log cannot be opened: %s", problem.text);
    if (err == ERR_MALFORMED || err == ERR_NOENT)
        model_fail(&h->world, "the log cannot be opened: %s", problem.text);
    return err;
}

static void start(struct world_node *node, void *arg)
{
    struct harness *h = arg;
    h->io = node->ios[0];
    h->log = NULL;
    h->is_compact = false;
    if (open_log(h) != ERR_OK) {
        world_schedule(&h->world, &h->crash, h->world.now_ns + 100 * MS);
        return;
    }
    int64_t end = log_end_offset(h->log);
    world_say(&h->world, "opened: %lld to %lld, recovery point %lld, acknowledged %lld",
              (long long)log_start_offset(h->log), (long long)end, (long long)h->checkpoint,
              (long long)h->acked_end);
    if (end < h->acked_end)
        model_fail(&h->world, "the log ends at %lld, after %lld were acknowledged", (long long)end,
                   (long long)h->acked_end);
    if (end > h->count)
        model_fail(&h->world, "the log ends at %lld, and %lld were written", (long long)end,
                   (long long)h->count);
    h->count = end;
    log_set_cleaned_offset(h->log, h->cleaned);
    if (note_lost(h) != ERR_OK) {
        world_schedule(&h->world, &h->crash, h->world.now_ns + 100 * MS);
        return;
    }
    check_log(h, 0, 0);
    check_producers(h);
    struct life *life = calloc(1, sizeof(*life));
    assert_non_null(life);
    life->h = h;
    io_timer_init(&life->timer, on_timer);
    io_timer_start(h->io, &life->timer, io_now_ns(h->io));
}

static void crashed(struct world_node *node, void *arg)
{
    (void)node;
    struct harness *h = arg;
    h->life++;
    world_schedule(&h->world, &h->restart, h->world.now_ns + (1 + rng_below(&h->rng, 50)) * MS);
}

/* --- a seed --- */

static void on_crash(struct world_event *event)
{
    struct harness *h = CONTAINER_OF(event, struct harness, crash);
    if (h->node->is_up)
        world_node_crash(h->node);
    if (!h->is_healed)
        world_schedule(&h->world, event, h->world.now_ns + rng_below(&h->rng, 3 * S));
}

static void on_restart(struct world_event *event)
{
    struct harness *h = CONTAINER_OF(event, struct harness, restart);
    if (!h->node->is_up)
        world_node_start(h->node);
}

static bool is_done(void *arg)
{
    const struct harness *h = arg;
    return h->node->is_up && h->log && !log_is_offline(h->log) && h->is_compact;
}

static void demand_end(struct harness *h, const char *when)
{
    world_run(&h->world, h->world.now_ns + 100 * S, is_done, h);
    if (!is_done(h))
        fail_msg("seed %llu: %s the log is not compacted", (unsigned long long)h->world.seed, when);
    check_log(h, 0, 0);
    check_producers(h);
}

static void configure(struct harness *h)
{
    static const int64_t lags[] = {0, 0, 0, 50, 1000};
    h->key_count = 1 + (uint32_t)rng_below(&h->rng, KEYS_MAX);
    h->made_max = 200 + (uint32_t)rng_below(&h->rng, 3000);
    /* Room for 32 keys at least: now and then fewer than there are. */
    h->map_bytes = rng_chance(&h->rng, 1, 2) ? 1 : 1 << 20;
    h->deletes = rng_chance(&h->rng, 1, 2);
    h->cuts = rng_chance(&h->rng, 1, 2);
    h->config = (struct log_config){
        .segment_bytes = 1000 + (int32_t)rng_below(&h->rng, 6000),
        .segment_ms = 1 + (int64_t)rng_below(&h->rng, 3000),
        .segment_index_bytes = 1 << 20,
        .index_interval_bytes = (int32_t)rng_below(&h->rng, 2000),
        .retention_ms = -1,
        .retention_bytes = h->deletes && rng_chance(&h->rng, 1, 3) ? 20000 : -1,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .file_delete_delay_ms = (int64_t)rng_below(&h->rng, 200),
        .producer_expiration_ms = 86400000,
        .is_compacted = true,
        .retain_by_deletion = h->deletes,
        .min_cleanable_dirty_ratio = 0,
        .min_compaction_lag_ms = lags[rng_below(&h->rng, ARRAY_LEN(lags))],
        .max_compaction_lag_ms = rng_chance(&h->rng, 1, 2) ? 500 : INT64_MAX,
        .delete_retention_ms = (int64_t)rng_below(&h->rng, 400),
    };
}

static void run_seed(uint64_t seed, bool verbose, uint64_t *trace)
{
    struct harness *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    world_init(&h->world, seed);
    h->world.verbose = verbose;
    rng_init(&h->rng, rng_u64(&h->world.rng));
    compressors_init(&h->compressors);
    configure(h);
    h->cleaned = -1;
    h->start = -1;
    h->owner = (struct log_owner){on_advance, on_failure};
    h->crash.fn = on_crash;
    h->restart.fn = on_restart;
    h->world.faults = world_faults_swarm(&h->rng);
    h->node = world_node_add(&h->world, 1, start, crashed, h);
    world_schedule(&h->world, &h->crash, h->world.now_ns + rng_below(&h->rng, 3 * S));
    world_node_start(h->node);
    world_run(&h->world, h->world.now_ns + 10 * S, NULL, NULL);

    world_say(&h->world, "healed after %llu passes", (unsigned long long)h->passes_done);
    h->is_healed = true;
    h->config.min_compaction_lag_ms = 0;
    h->world.faults = world_faults_none();
    world_unschedule(&h->world, &h->crash);
    if (h->node->is_up)
        world_node_crash(h->node);
    h->is_compact = false;
    demand_end(h, "after the faults ended,");
    h->world.faults.power_cut = 1000000;
    world_node_crash(h->node);
    h->is_compact = false;
    demand_end(h, "after the last power cut,");
    *trace = h->world.trace;
    world_deinit(&h->world);
    compressors_deinit(&h->compressors);
    free(h->passes);
    free(h->at);
    free(h);
}

int main(int argc, char **argv)
{
    struct seed_test test = {.run = run_seed, .seeds = SEEDS, .twice = SEEDS_SAME};
    return seed_test_main(&test, argc, argv);
}
