/* The coordinator of the simulation and its log, as broker/coordinator.c drives it: records are
 * replayed at once and written in batches, one at a time; answers leave when all that they could
 * have seen is durable. A crash leaves the batches that were durable, and perhaps the one that was
 * being written. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/map.h"
#include "coord/consumer.h"
#include "sim/coord_sim.h"
#include "sim/model.h"

#define RECORD_OVERHEAD ((size_t)32) /* as in a batch */
#define WRITE_US_MAX    3000
/* What a coordinator whose groups are gone may hold: its tables do not shrink. */
#define TABLE_BYTES ((size_t)16 << 10)

enum { TRACE_BATCH = 100, TRACE_CRASH };

/* --- the log --- */

static void record_free(struct csim_record *record)
{
    free(record->bytes);
}

static void log_add(struct csim *sim, const struct coord_record *record)
{
    buf_reset(&sim->scratch);
    ASSERT(coord_record_encode_key(record, &sim->scratch) == ERR_OK);
    size_t key_len = sim->scratch.len;
    if (record->value)
        ASSERT(coord_record_encode_value(record, &sim->scratch) == ERR_OK);
    if (sim->log_count == sim->log_cap) {
        sim->log_cap = sim->log_cap ? sim->log_cap * 2 : 1024;
        sim->log = realloc(sim->log, sim->log_cap * sizeof(*sim->log));
        ASSERT(sim->log);
    }
    struct csim_record *kept = &sim->log[sim->log_count++];
    *kept = (struct csim_record){.bytes = malloc(sim->scratch.len),
                                 .key_len = key_len,
                                 .value_len = sim->scratch.len - key_len,
                                 .is_tombstone = !record->value};
    ASSERT(kept->bytes);
    memcpy(kept->bytes, sim->scratch.data, sim->scratch.len);
}

static size_t record_bytes(const struct csim_record *record)
{
    return record->key_len + record->value_len + RECORD_OVERHEAD;
}

static void log_cut(struct csim *sim, size_t count)
{
    while (sim->log_count > count)
        record_free(&sim->log[--sim->log_count]);
}

static bool record_has_key(const void *entry, const void *key)
{
    const struct csim_record *record = entry;
    const struct slice *bytes = key;
    return record->key_len == bytes->len && memcmp(record->bytes, bytes->data, bytes->len) == 0;
}

/* Of the records before `end` the last of each key stays; tombstones where they are kept. */
static void log_compact(struct csim *sim, size_t end, bool keeps_tombstones)
{
    struct map newest;
    bool *stays = calloc(end + 1, sizeof(*stays));
    ASSERT(stays);
    map_init(&newest, rng_u64(&sim->rng), record_has_key);
    for (size_t i = end; i-- > 0;) {
        struct slice key = slice_of(sim->log[i].bytes, sim->log[i].key_len);
        uint64_t hash = hash_slice(newest.seed, key);
        if (map_find(&newest, hash, &key))
            continue;
        ASSERT(map_insert(&newest, hash, &sim->log[i]) == ERR_OK);
        stays[i] = !sim->log[i].is_tombstone || keeps_tombstones;
    }
    map_deinit(&newest);
    size_t kept = 0;
    for (size_t i = 0; i < sim->log_count; i++) {
        if (i >= end || stays[i])
            sim->log[kept++] = sim->log[i];
        else
            record_free(&sim->log[i]);
    }
    size_t gone = sim->log_count - kept;
    world_say(&sim->world, "compaction takes %zu of %zu records", gone, sim->log_count);
    sim->log_count = kept;
    sim->durable_count -= gone;
    LIST_FOREACH (node, &sim->batches)
        LIST_ENTRY(node, struct csim_batch, link)->end -= gone;
    free(stays);
}

/* --- batches --- */

static struct csim_batch *batch_first(const struct csim *sim)
{
    return LIST_ENTRY(sim->batches.next, struct csim_batch, link);
}

static struct csim_batch *batch_last(const struct csim *sim)
{
    return list_is_empty(&sim->batches) ? NULL
                                        : LIST_ENTRY(sim->batches.prev, struct csim_batch, link);
}

static struct csim_batch *batch_with_room(struct csim *sim, size_t bytes)
{
    struct csim_batch *last = batch_last(sim);
    bool is_open = last && !(sim->is_writing && last == batch_first(sim));
    if (is_open && last->bytes + bytes <= sim->batch_bytes_max)
        return last;
    struct csim_batch *batch = calloc(1, sizeof(*batch));
    ASSERT(batch);
    list_init(&batch->ops);
    list_push_back(&sim->batches, &batch->link);
    return batch;
}

static void batch_free(struct csim_batch *batch)
{
    ASSERT(list_is_empty(&batch->ops));
    list_remove(&batch->link);
    free(batch);
}

static struct csim_op *op_of(struct list *node)
{
    return (struct csim_op *)LIST_ENTRY(node, struct coord_op, link);
}

static void answer_all(struct list *ops)
{
    struct list *node;
    while ((node = list_pop_front(ops)) != NULL) {
        csim_model_durable(op_of(node));
        csim_op_answer(op_of(node));
    }
}

static void break_all(struct list *ops)
{
    struct list *node;
    while ((node = list_pop_front(ops)) != NULL)
        csim_op_break(op_of(node));
}

static void reload(struct csim *sim);

static void write_next(struct csim *sim)
{
    if (sim->is_writing || list_is_empty(&sim->batches))
        return;
    sim->is_writing = true;
    uint64_t us = 50 + rng_below(&sim->rng, rng_chance(&sim->rng, 1, 20) ? 200000 : WRITE_US_MAX);
    world_schedule(&sim->world, &sim->write, sim->world.now_ns + us * 1000);
}

static void on_written(struct world_event *event)
{
    struct csim *sim = CONTAINER_OF(event, struct csim, write);
    struct csim_batch *batch = batch_first(sim);
    sim->is_writing = false;
    if (csim_chance(sim, sim->trouble.append_fails)) {
        world_say(&sim->world, "a batch cannot be written");
        reload(sim);
        return;
    }
    sim->durable_count = batch->end;
    world_trace(&sim->world, TRACE_BATCH, batch->end, batch->bytes);
    answer_all(&batch->ops);
    batch_free(batch);
    write_next(sim);
}

/* --- calls --- */

static struct coord_call *call_begin(struct csim *sim)
{
    coord_records_init(&sim->records, &sim->arena);
    sim->call =
        (struct coord_call){.arena = &sim->arena,
                            .rng = &sim->coord_rng,
                            .now_ms = (int64_t)(sim->world.now_ns / CSIM_MS),
                            .wall_ms = 1700000000000 + (int64_t)(sim->world.now_ns / CSIM_MS),
                            .topics = &sim->image,
                            .batch_bytes_max = sim->batch_bytes_max,
                            .records = &sim->records,
                            .done = &sim->done};
    return &sim->call;
}

/* ERR_LIMIT: they are too large together. */
static enum err put_records(struct csim *sim)
{
    const struct coord_records *records = &sim->records;
    size_t first = sim->log_count, whole_count = records->count, whole = 0;
    for (size_t i = 0; i < records->count; i++) {
        log_add(sim, &records->items[i]);
        whole += record_bytes(&sim->log[first + i]);
    }
    if (records->may_split && whole > sim->batch_bytes_max) {
        whole_count = records->whole_count;
        whole = 0;
        for (size_t i = 0; i < whole_count; i++)
            whole += record_bytes(&sim->log[first + i]);
    }
    if (whole > sim->batch_bytes_max) {
        log_cut(sim, first);
        return ERR_LIMIT;
    }
    struct csim_batch *batch = NULL;
    for (size_t i = 0; i < records->count; i++) {
        size_t bytes = record_bytes(&sim->log[first + i]);
        if (i == 0 || i >= whole_count)
            batch = batch_with_room(sim, i < whole_count ? whole : bytes);
        batch->bytes += bytes;
        batch->end = first + i + 1;
    }
    return ERR_OK;
}

static bool may_refuse(const struct csim *sim)
{
    bool has_applied = false;
    for (size_t i = 0; i < sim->records.count; i++)
        has_applied |= sim->records.items[i].is_applied;
    return !has_applied && !sim->records.may_split;
}

/* What the broker does after each call. */
static void call_end(struct csim *sim)
{
    enum err err = sim->records.err;
    if (err == ERR_OK && sim->records.count > 0)
        err = put_records(sim);
    if (err == ERR_LIMIT && may_refuse(sim)) {
        LIST_FOREACH (node, &sim->done)
            LIST_ENTRY(node, struct coord_op, link)->err = ERR_INVALID_COMMIT_OFFSET_SIZE;
        sim->records.count = 0;
        err = ERR_OK;
    }
    if (err == ERR_OK)
        err = coord_replay_all(sim->coord, &sim->records);
    if (err != ERR_OK) {
        world_say(&sim->world, "%s: the groups are read again", err_text(err));
        break_all(&sim->done);
        reload(sim);
        arena_reset(&sim->arena);
        return;
    }
    csim_model_called(sim);
    LIST_FOREACH (node, &sim->done)
        csim_model_done(op_of(node));
    struct csim_batch *last = batch_last(sim);
    if (last)
        list_splice(&last->ops, &sim->done);
    else
        answer_all(&sim->done);
    write_next(sim);
    arena_reset(&sim->arena);
    int64_t deadline = coord_deadline(sim->coord);
    if (deadline == COORD_NEVER)
        world_unschedule(&sim->world, &sim->tick);
    else
        world_schedule(&sim->world, &sim->tick, (uint64_t)deadline * CSIM_MS);
}

static void on_tick(struct world_event *event)
{
    struct csim *sim = CONTAINER_OF(event, struct csim, tick);
    coord_tick(sim->coord, call_begin(sim));
    call_end(sim);
}

void csim_run(struct csim *sim, struct csim_op *op)
{
    const struct coord_call *call = call_begin(sim);
    switch (op->kind) {
    case CSIM_JOIN:
        coord_join(sim->coord, call, &op->u.join);
        break;
    case CSIM_SYNC:
        coord_sync(sim->coord, call, &op->u.sync);
        break;
    case CSIM_HEARTBEAT:
        coord_heartbeat(sim->coord, call, &op->u.heartbeat);
        break;
    case CSIM_LEAVE:
        coord_leave(sim->coord, call, &op->u.leave);
        break;
    case CSIM_CONSUMER_HEARTBEAT:
        coord_consumer_heartbeat(sim->coord, call, &op->u.consumer);
        break;
    case CSIM_COMMIT:
        coord_offset_commit(sim->coord, call, &op->u.commit);
        break;
    case CSIM_FETCH:
        coord_offset_fetch(sim->coord, call, &op->u.fetch);
        break;
    case CSIM_DELETE:
        coord_delete(sim->coord, call, &op->u.delete);
        break;
    }
    call_end(sim);
    if (op->is_in_coord && op->u.op.waiting_in)
        csim_model_waits(op);
}

void csim_forget(struct csim *sim, struct csim_op *op)
{
    coord_forget(&op->u.op, &sim->done);
    break_all(&sim->done);
}

void csim_yield(struct csim *sim, struct csim_op *op)
{
    call_begin(sim);
    coord_yield(&op->u.op, &sim->done);
    call_end(sim);
}

void csim_topics_changed(struct csim *sim)
{
    if (!sim->coord)
        return;
    coord_topics_changed(sim->coord, call_begin(sim));
    call_end(sim);
}

/* --- life --- */

static struct coord *read_log(struct csim *sim)
{
    struct coord *coord = coord_create(&sim->config, rng_u64(&sim->rng));
    ASSERT(coord);
    struct arena arena;
    arena_init(&arena, ARENA_NO_LIMIT);
    for (size_t i = 0; i < sim->log_count; i++) {
        const struct csim_record *kept = &sim->log[i];
        struct coord_record record;
        struct slice value = kept->is_tombstone
                                 ? SLICE_NULL
                                 : slice_of(kept->bytes + kept->key_len, kept->value_len);
        enum err err =
            coord_record_decode(slice_of(kept->bytes, kept->key_len), value, &arena, &record);
        if (err == ERR_OK)
            err = coord_replay(coord, &record);
        if (err != ERR_OK)
            model_fail(&sim->world, "record %zu, of type %d, cannot be replayed: %s", i,
                       record.type, err_name(err));
        arena_reset(&arena);
    }
    arena_deinit(&arena);
    return coord;
}

void csim_start(struct csim *sim)
{
    ASSERT(!sim->coord);
    sim->coord = read_log(sim);
    coord_loaded(sim->coord, call_begin(sim));
    call_end(sim);
}

/* What was not durable is gone; of the batch that was being written, all or nothing. */
static void drop(struct csim *sim)
{
    if (sim->coord)
        coord_destroy(sim->coord, &sim->done);
    sim->coord = NULL;
    world_unschedule(&sim->world, &sim->tick);
    world_unschedule(&sim->world, &sim->write);
    break_all(&sim->done);
    LIST_FOREACH_SAFE (node, &sim->batches) {
        struct csim_batch *batch = LIST_ENTRY(node, struct csim_batch, link);
        bool survives = sim->is_writing && rng_chance(&sim->rng, 1, 2);
        sim->is_writing = false;
        if (survives)
            sim->durable_count = batch->end;
        LIST_FOREACH (at, &batch->ops)
            if (survives)
                csim_model_durable(op_of(at));
        break_all(&batch->ops);
        batch_free(batch);
    }
    log_cut(sim, sim->durable_count);
    csim_model_crash(sim);
}

static void reload(struct csim *sim)
{
    sim->reloads++;
    drop(sim);
    world_schedule(&sim->world, &sim->restart, sim->world.now_ns + CSIM_MS);
}

void csim_crash(struct csim *sim)
{
    sim->crashes++;
    world_trace(&sim->world, TRACE_CRASH, sim->durable_count, sim->log_count);
    world_say(&sim->world, "the coordinator crashes: of %zu records %zu are durable",
              sim->log_count, sim->durable_count);
    drop(sim);
    if (csim_chance(sim, sim->trouble.compact))
        log_compact(sim, rng_below(&sim->rng, sim->log_count + 1), rng_chance(&sim->rng, 1, 2));
    uint64_t ms = 1 + rng_below(&sim->rng, rng_chance(&sim->rng, 1, 4) ? 5000 : 50);
    world_schedule(&sim->world, &sim->restart, sim->world.now_ns + ms * CSIM_MS);
}

static void on_restart(struct world_event *event)
{
    csim_start(CONTAINER_OF(event, struct csim, restart));
}

void csim_log_init(struct csim *sim)
{
    sim->tick.fn = on_tick;
    sim->write.fn = on_written;
    sim->restart.fn = on_restart;
    list_init(&sim->done);
    list_init(&sim->batches);
    arena_init(&sim->arena, ARENA_NO_LIMIT);
    buf_init(&sim->scratch, BUF_NO_LIMIT);
    rng_init(&sim->coord_rng, rng_u64(&sim->rng));
}

void csim_log_deinit(struct csim *sim)
{
    drop(sim);
    log_cut(sim, 0);
    free(sim->log);
    arena_deinit(&sim->arena);
    buf_deinit(&sim->scratch);
}

/* --- what must hold --- */

static void say_difference(struct csim *sim, const struct buf *is, const struct buf *read)
{
    size_t at = 0, line = 0;
    while (at < is->len && at < read->len && is->data[at] == read->data[at]) {
        if (is->data[at++] == '\n')
            line = at;
    }
    model_fail(&sim->world, "what is: %.300s\nwhat the log says: %.300s",
               (const char *)is->data + line, (const char *)read->data + line);
}

void csim_check_replay(struct csim *sim)
{
    if (!sim->coord)
        return;
    struct coord *read = read_log(sim);
    struct buf is, other;
    buf_init(&is, BUF_NO_LIMIT);
    buf_init(&other, BUF_NO_LIMIT);
    csim_describe(sim->coord, sim->coord, &is);
    csim_describe(read, sim->coord, &other);
    if (is.len != other.len || (is.len > 0 && memcmp(is.data, other.data, is.len) != 0)) {
        buf_put_u8(&is, '\0');
        buf_put_u8(&other, '\0');
        say_difference(sim, &is, &other);
    }
    buf_deinit(&is);
    buf_deinit(&other);
    coord_destroy(read, &sim->done);
    ASSERT(list_is_empty(&sim->done));
}

void csim_check_empty(struct csim *sim)
{
    ASSERT(sim->coord);
    if (sim->coord->groups.count > 0 || sim->coord->timers.count > 1)
        model_fail(&sim->world, "%zu groups and %zu timers are left", sim->coord->groups.count,
                   sim->coord->timers.count);
    log_compact(sim, sim->log_count, false);
    if (sim->log_count > 0)
        model_fail(&sim->world, "%zu records are left, one of type %d", sim->log_count,
                   be16_load(sim->log[0].bytes));
    struct coord *fresh = read_log(sim);
    size_t before = mallinfo2().uordblks;
    coord_destroy(fresh, &sim->done);
    size_t least = before - mallinfo2().uordblks;
    before = mallinfo2().uordblks;
    coord_destroy(sim->coord, &sim->done);
    size_t used = before - mallinfo2().uordblks;
    sim->coord = NULL;
    world_unschedule(&sim->world, &sim->tick);
    if (used > least + TABLE_BYTES)
        model_fail(&sim->world, "%zu bytes are left where a new coordinator has %zu", used, least);
}
