/* Goal: a log keeps what it acknowledged over crashes at any point, and never doubles, skips or
 * changes a record, whatever the disk does.
 * Method: one log on a simulated disk; idempotent producers append straight to it, readers read all
 * of it, the disk and the power fail by the seed, and at the end all that was made must be there.
 * `log_sim_test SEED` runs one seed aloud, `log_sim_test FROM TO` a range of them. */
#include "sim/seed_test.h"

#include <string.h>

#include "base/assert.h"
#include "log/log.h"
#include "log/logdir.h"
#include "log/wal.h"
#include "log/wal_replay.h"
#include "sim/model.h"
#include "sim/world.h"
#include "wire/batch_builder.h"

#define MS         UINT64_C(1000000)
#define S          UINT64_C(1000000000)
#define PRODUCERS  3
#define SEEDS      40
#define SEEDS_SAME 10
#define DIR        "/data/t-0"

/* They failed once. */
static const uint64_t failed_seeds[] = {1550, 1642, 1929, 3090, 4071, 4217};

/* What a crashed log held is abandoned by design. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

struct batch_out {
    struct list link; /* of its producer, until acknowledged */
    struct harness *h;
    uint32_t producer, n, count, sends;
    bool in_flight, is_given_up;
    struct buf bytes;
};

struct append_out {
    struct log_append op;
    struct batch_out *batch;
    uint64_t life; /* of the log that it went to */
    uint8_t bytes[];
};

/* Small, so that files are filled and used again. */
static const struct wal_options wal_small = {
    .file_bytes = 24 << 10, .commit_bytes = 8 << 10, .files_max = 3};

struct harness {
    struct world world;
    struct rng rng;
    struct model model;
    struct world_node *node;
    struct world_event crash, restart, space;
    uint32_t depth, made_max;
    struct log_config config;
    struct buf scratch;
    /* Outlive the log. */
    struct list batches[PRODUCERS];
    int32_t sequences[PRODUCERS];
    bool is_broken[PRODUCERS];
    int64_t ids[PRODUCERS];
    int64_t checkpoint; /* recovery point, as the checkpoint file would have it */
    bool is_created, is_healed;
    int32_t run; /* as the quorum's epoch would tell */
    /* Of the log that is open. */
    uint64_t life;
    struct io *io;
    struct log *log;
    struct manifest *manifest; /* NULL: this life goes without */
    struct wal *wal;
    struct wal_replay *replay;
    uint32_t wal_files_max; /* 0: no write-ahead log */
    bool has_async;         /* some appends do not wait for the disk */
    struct log_owner owner;
    struct model_reader reader;
};

/* --- producing --- */

static void make_batch(struct harness *h, uint32_t producer)
{
    struct batch_out *batch = calloc(1, sizeof(*batch));
    assert_non_null(batch);
    batch->h = h;
    batch->producer = producer;
    buf_init(&batch->bytes, BUF_NO_LIMIT);
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.producer_id = h->ids[producer];
    options.producer_epoch = 0;
    options.base_sequence = h->sequences[producer];
    struct batch_builder builder;
    batch_builder_init(&builder, &batch->bytes, &options);
    uint32_t count = 1 + (uint32_t)rng_below(&h->rng, 5);
    for (; batch->count < count; batch->count++) {
        buf_reset(&h->scratch);
        uint32_t n = model_make(&h->model, 0, producer, &h->rng, &h->scratch);
        if (batch->count == 0)
            batch->n = n;
        struct record_fields fields = {.timestamp = io_wall_ms(h->io),
                                       .value = buf_slice(&h->scratch)};
        assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
    }
    assert_int_equal(batch_builder_finish(&builder, NULL), ERR_OK);
    batch_builder_deinit(&builder);
    h->sequences[producer] += (int32_t)count;
    list_push_back(&h->batches[producer], &batch->link);
}

static void batch_end(struct batch_out *batch, int64_t base_offset)
{
    if (base_offset >= 0)
        model_acked(&batch->h->model, 0, batch->producer, batch->n, batch->count, base_offset);
    list_remove(&batch->link);
    buf_deinit(&batch->bytes);
    free(batch);
}

/* The log, after a restart, remembers only the last batch of a producer, as Kafka's files do: it
 * cannot tell an older repeat from a gap. Real producers take a new identity then; so does this. */
static void give_up(struct harness *h, uint32_t producer)
{
    LIST_FOREACH_SAFE (node, &h->batches[producer]) {
        struct batch_out *batch = LIST_ENTRY(node, struct batch_out, link);
        model_give_up(&h->model, 0, producer, batch->n, batch->count);
        batch->is_given_up = true;
        if (batch->in_flight)
            list_remove(&batch->link); /* its answer frees it */
        else
            batch_end(batch, -1);
    }
    h->ids[producer] += PRODUCERS;
    h->sequences[producer] = 0;
    h->is_broken[producer] = false;
}

static void on_appended(struct log_append *op)
{
    struct append_out *out = CONTAINER_OF(op, struct append_out, op);
    struct batch_out *batch = out->batch;
    struct harness *h = batch->h;
    assert_true(out->life == h->life);
    bool is_first = h->batches[batch->producer].next == &batch->link;
    batch->in_flight = false;
    enum err err = op->err;
    int64_t base_offset = op->base_offset;
    bool is_sync = op->sync;
    free(out);
    bool is_sequence =
        err == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER || err == ERR_DUPLICATE_SEQUENCE_NUMBER;
    if (err == ERR_OK && !is_sync && !batch->is_given_up)
        return; /* that it is in the page cache is nothing to rely on: it is sent again */
    if (err == ERR_OK || batch->is_given_up) {
        batch_end(batch, err == ERR_OK ? base_offset : -1);
    } else if (is_sequence && is_first && batch->sends > 1 && h->depth > 1) {
        give_up(h, batch->producer);
    } else if (err == ERR_KAFKA_STORAGE_ERROR || (is_sequence && !is_first)) {
        h->is_broken[batch->producer] = true;
    } else {
        model_fail(&h->world, "records from %u on of producer %u, sent %u times: %s", batch->n,
                   batch->producer, batch->sends, err_name(err));
    }
}

static void send_batch(struct harness *h, struct batch_out *batch)
{
    struct append_out *out = calloc(1, sizeof(*out) + batch->bytes.len);
    assert_non_null(out);
    memcpy(out->bytes, batch->bytes.data, batch->bytes.len);
    out->batch = batch;
    out->life = h->life;
    out->op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                  .batches = out->bytes,
                                  .len = batch->bytes.len,
                                  .leader_epoch = 0,
                                  .now_ms = io_wall_ms(h->io),
                                  .sync = !h->has_async || !rng_chance(&h->rng, 1, 4),
                                  .done = on_appended};
    batch->in_flight = true;
    batch->sends++;
    log_append(h->log, &out->op);
}

static void pump(struct harness *h, uint32_t producer)
{
    uint32_t in_flight = 0;
    struct batch_out *next = NULL;
    LIST_FOREACH (node, &h->batches[producer]) {
        struct batch_out *batch = LIST_ENTRY(node, struct batch_out, link);
        in_flight += batch->in_flight;
        if (!batch->in_flight && !next)
            next = batch;
    }
    if (!next || in_flight >= h->depth || (h->is_broken[producer] && in_flight > 0))
        return;
    h->is_broken[producer] = false;
    send_batch(h, next);
}

/* --- reading --- */

/* One life of the log, from its opening to the crash that abandons it. */
struct life {
    struct harness *h;
    struct rbuf_pool bufs;
    struct io_timer timer;
    struct log_read read;
    bool is_reading;
};

static void read_batches(struct harness *h, struct slice bytes)
{
    struct batches batches;
    struct batch batch;
    batches_init(&batches, bytes);
    while (batches_next(&batches, &batch)) {
        if (!batch_crc_is_valid(&batch))
            model_fail(&h->world, "offset %lld: a wrong checksum", (long long)batch.base_offset);
        struct records records;
        struct record record;
        assert_int_equal(records_init(&records, &batch, NULL, NULL), ERR_OK);
        while (records_next(&records, &record)) {
            if (record.offset >= h->reader.next)
                model_read(&h->reader, record.offset, record.value);
        }
        assert_int_equal(records.err, ERR_OK);
    }
}

static void on_read(struct log_read *op)
{
    struct life *life = CONTAINER_OF(op, struct life, read);
    struct harness *h = life->h;
    life->is_reading = false;
    if (op->err == ERR_OFFSET_OUT_OF_RANGE)
        model_fail(&h->world, "offset %lld is out of range", (long long)op->offset);
    if (op->err == ERR_OK && op->buf)
        read_batches(h, op->batches);
    rbuf_unref(op->buf);
}

static void start_read(struct life *life)
{
    struct harness *h = life->h;
    if (rng_chance(&h->rng, 1, 30) && !h->is_healed)
        model_reader_init(&h->reader, &h->model, 0);
    life->is_reading = true;
    life->read = (struct log_read){.offset = h->reader.next,
                                   .end_offset = log_end_offset(h->log),
                                   .bytes_max = 100 + rng_below(&h->rng, 10000),
                                   .at_least_one = true,
                                   .bufs = &life->bufs,
                                   .done = on_read};
    log_read(h->log, &life->read);
}

/* --- a life --- */

static void on_timer(struct io_timer *timer)
{
    struct life *life = CONTAINER_OF(timer, struct life, timer);
    struct harness *h = life->h;
    for (uint32_t p = 0; p < PRODUCERS; p++) {
        if (!h->is_healed && h->model.partitions[0].made[p] < h->made_max &&
            rng_chance(&h->rng, 1, 3))
            make_batch(h, p);
        pump(h, p);
    }
    if (!life->is_reading)
        start_read(life);
    log_tick(h->log, io_wall_ms(h->io), rng_chance(&h->rng, 1, 2));
    enum err err = wal_replay_tidy(h->replay, h->io);
    if (err != ERR_OK)
        world_say(&h->world, "the last run's wal stays: %s", err_text(err));
    if (rng_chance(&h->rng, 1, 20))
        h->checkpoint = log_recovery_point(h->log);
    if (rng_chance(&h->rng, 1, 20) && log_save(h->log) == ERR_OK && rng_chance(&h->rng, 1, 2))
        log_flush(h->log);
    io_timer_start(h->io, timer, io_now_ns(h->io) + (1 + rng_below(&h->rng, 20)) * MS);
}

static void on_advance(struct log_owner *owner, size_t bytes)
{
    (void)owner, (void)bytes;
}

static void on_failure(struct log_owner *owner, enum err err, const char *what)
{
    struct harness *h = CONTAINER_OF(owner, struct harness, owner);
    world_say(&h->world, "the log failed: %s (%s)", what, err_text(err));
}

/* As after any start: what the last run left is read before anything is opened. */
static enum err open_wal(struct harness *h)
{
    h->replay = calloc(1, sizeof(*h->replay));
    assert_non_null(h->replay);
    TRY(wal_replay_open(h->replay, h->io, "/data", false));
    if (h->replay->is_damaged)
        model_fail(&h->world, "the write-ahead log is said to be damaged");
    struct wal_options options = wal_small;
    options.files_max = h->wal_files_max;
    options.next_sequence = h->replay->next_sequence;
    options.next_name = h->replay->next_name;
    h->wal = NULL;
    return h->wal_files_max > 0 ? wal_create(h->io, "/data", &options, &h->wal) : ERR_OK;
}

static enum err make_root(struct harness *h)
{
    enum err err = io_mkdir(h->io, "/data");
    if (err != ERR_OK && err != ERR_EXISTS)
        return err;
    return io_sync_dir(h->io, "/");
}

/* A start that fails waits for the next crash. As a node does it: what the last run left is read,
 * the run's number is saved, and a new manifest is begun. Some lives are another program's, which
 * knows nothing of it. */
static enum err begin_manifest(struct harness *h, struct manifest_set *set)
{
    bool is_ours = !rng_chance(&h->rng, 1, 6);
    h->manifest = NULL;
    if (is_ours)
        TRY(manifest_set_load(set, h->io, "/data", h->run));
    h->run++;
    if (is_ours && manifest_set_write(set, h->io, "/data", 0, h->run, NULL, NULL) == ERR_OK &&
        manifest_open(h->io, "/data", 0, &h->manifest) != ERR_OK)
        h->manifest = NULL;
    return ERR_OK;
}

static enum err open_log(struct harness *h, const struct manifest_set *set)
{
    struct io_stat stat;
    struct uuid id = {{1}};
    bool is_new = !h->is_created;
    if (is_new) {
        if (io_stat_path(h->io, DIR, &stat) == ERR_OK)
            TRY(logdir_remove_folder(h->io, DIR));
        TRY(log_create(h->io, DIR, id));
        h->is_created = true;
    }
    TRY(open_wal(h));
    struct manifest_key key = {id, 0};
    struct wal_group *replay = wal_replay_find(h->replay, id, 0);
    struct log_open_options options = {.clean_shutdown = is_new,
                                       .recovery_point = h->checkpoint,
                                       .log_start_offset = -1,
                                       .manifest = h->manifest,
                                       .key = key,
                                       .item = h->manifest ? manifest_set_find(set, key) : NULL,
                                       .must_recover = replay != NULL,
                                       .wal = h->wal,
                                       .replay = replay};
    struct log_problem problem = {""};
    enum err err = log_open(h->io, DIR, &h->config, &options, &h->owner, &h->log, &problem);
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
    struct manifest_set set;
    manifest_set_init(&set, 1);
    enum err err = make_root(h);
    if (err == ERR_OK)
        err = begin_manifest(h, &set);
    if (err == ERR_OK)
        err = open_log(h, &set);
    manifest_set_deinit(&set);
    if (err != ERR_OK) {
        world_schedule(&h->world, &h->crash, h->world.now_ns + 100 * MS);
        return;
    }
    world_say(&h->world, "opened: end %lld, recovery point %lld, acknowledged %lld",
              (long long)log_end_offset(h->log), (long long)h->checkpoint,
              (long long)h->model.partitions[0].acked_end);
    if (log_end_offset(h->log) < h->model.partitions[0].acked_end)
        model_fail(&h->world, "the log ends at %lld, after %lld were acknowledged",
                   (long long)log_end_offset(h->log), (long long)h->model.partitions[0].acked_end);
    struct life *life = calloc(1, sizeof(*life));
    assert_non_null(life);
    life->h = h;
    rbuf_pool_init(&life->bufs, SIZE_MAX, 1 << 20);
    io_timer_init(&life->timer, on_timer);
    io_timer_start(h->io, &life->timer, io_now_ns(h->io));
}

static void crashed(struct world_node *node, void *arg)
{
    (void)node;
    struct harness *h = arg;
    h->life++;
    if (h->wal && h->log) {
        struct wal_stats stats;
        wal_stats(h->wal, &stats);
        world_say(&h->world, "its wal had %llu records in %llu commits and refused %llu",
                  (unsigned long long)stats.records, (unsigned long long)stats.commits,
                  (unsigned long long)stats.refused);
    }
    for (uint32_t p = 0; p < PRODUCERS; p++) {
        h->is_broken[p] = true;
        LIST_FOREACH (at, &h->batches[p])
            LIST_ENTRY(at, struct batch_out, link)->in_flight = false;
    }
    if (h->node->was_power_cut)
        model_power_cut(&h->model);
    model_reader_init(&h->reader, &h->model, 0);
    world_schedule(&h->world, &h->restart, h->world.now_ns + (1 + rng_below(&h->rng, 50)) * MS);
}

/* --- a seed --- */

static void on_crash(struct world_event *event)
{
    struct harness *h = CONTAINER_OF(event, struct harness, crash);
    if (h->node->is_up)
        world_node_crash(h->node);
    world_schedule(&h->world, event, h->world.now_ns + rng_below(&h->rng, 4 * S));
}

static void on_restart(struct world_event *event)
{
    struct harness *h = CONTAINER_OF(event, struct harness, restart);
    if (!h->node->is_up)
        world_node_start(h->node);
}

static void on_space(struct world_event *event)
{
    struct harness *h = CONTAINER_OF(event, struct harness, space);
    struct disk *disk = &h->node->disk;
    disk->bytes_max =
        disk->bytes_max == UINT64_MAX ? disk_bytes(disk) + rng_below(&h->rng, 5000) : UINT64_MAX;
    world_schedule(&h->world, event, h->world.now_ns + rng_below(&h->rng, S));
}

static bool is_done(void *arg)
{
    struct harness *h = arg;
    for (uint32_t p = 0; p < PRODUCERS; p++) {
        if (!list_is_empty(&h->batches[p]))
            return false;
    }
    return model_reader_is_done(&h->reader);
}

static void demand_end(struct harness *h, const char *when)
{
    world_run(&h->world, h->world.now_ns + 100 * S, is_done, h);
    if (!is_done(h))
        fail_msg("seed %llu: %s the reader is at %lld", (unsigned long long)h->world.seed, when,
                 (long long)h->reader.next);
}

static void run_seed(uint64_t seed, bool verbose, uint64_t *trace)
{
    struct harness *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    world_init(&h->world, seed);
    h->world.verbose = verbose;
    rng_init(&h->rng, rng_u64(&h->world.rng));
    model_init(&h->model, &h->world);
    buf_init(&h->scratch, BUF_NO_LIMIT);
    for (uint32_t p = 0; p < PRODUCERS; p++) {
        list_init(&h->batches[p]);
        h->ids[p] = 100 + p;
    }
    model_reader_init(&h->reader, &h->model, 0);
    h->owner = (struct log_owner){on_advance, on_failure};
    h->depth = 1 + (uint32_t)rng_below(&h->rng, 5);
    h->wal_files_max = (uint32_t)rng_below(&h->rng, 4);
    h->has_async = rng_chance(&h->rng, 1, 2);
    h->made_max = 50 + (uint32_t)rng_below(&h->rng, 300);
    h->config = (struct log_config){
        .segment_bytes = 110000 + (int32_t)rng_below(&h->rng, 100000),
        .segment_ms = 1 + (int64_t)rng_below(&h->rng, 3000),
        .segment_index_bytes = 1 << 20,
        .index_interval_bytes = (int32_t)rng_below(&h->rng, 5000),
        .retention_ms = -1,
        .retention_bytes = -1,
        .flush_messages = rng_chance(&h->rng, 1, 4) ? 1 : INT64_MAX,
        .flush_ms = rng_chance(&h->rng, 1, 2) ? INT64_MAX : (int64_t)rng_below(&h->rng, 1000),
        .file_delete_delay_ms = (int64_t)rng_below(&h->rng, 1000),
        .preallocate = rng_chance(&h->rng, 1, 2),
        .producer_expiration_ms = 86400000,
        .is_dense = true,
    };
    h->crash.fn = on_crash;
    h->restart.fn = on_restart;
    h->space.fn = on_space;
    h->world.faults = world_faults_swarm(&h->rng);
    h->node = world_node_add(&h->world, 1, start, crashed, h);
    world_schedule(&h->world, &h->crash, h->world.now_ns + rng_below(&h->rng, 3 * S));
    if (rng_chance(&h->rng, 1, 3))
        world_schedule(&h->world, &h->space, h->world.now_ns + rng_below(&h->rng, S));
    world_node_start(h->node);
    world_run(&h->world, h->world.now_ns + 10 * S, NULL, NULL);

    world_say(&h->world, "healed");
    h->is_healed = true;
    h->world.faults = world_faults_none();
    h->node->disk.bytes_max = UINT64_MAX;
    world_unschedule(&h->world, &h->crash);
    world_unschedule(&h->world, &h->space);
    if (h->node->is_up)
        world_node_crash(h->node);
    demand_end(h, "after the faults ended,");
    h->world.faults.power_cut = 1000000;
    world_node_crash(h->node);
    demand_end(h, "after the last power cut,");
    *trace = h->world.trace;
    world_deinit(&h->world);
    model_deinit(&h->model);
    buf_deinit(&h->scratch);
    free(h);
}

int main(int argc, char **argv)
{
    struct seed_test test = {.run = run_seed,
                             .seeds = SEEDS,
                             .twice = SEEDS_SAME,
                             .failed = failed_seeds,
                             .failed_count = ARRAY_LEN(failed_seeds)};
    return seed_test_main(&test, argc, argv);
}
