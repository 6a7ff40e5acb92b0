/* Coordinators of one shard: loaded from their logs, asked, and written back. See coordinator.h.
 *
 *   LOADING  the log is read, in pieces, one coordinator after the other; calls wait
 *   ACTIVE   a call gives records and answers; records go to the open batch, answers wait for it
 *   FAILED   the partition has no log that works: calls get NOT_COORDINATOR
 *   ENDING   the partition went elsewhere; freed when nothing is under way
 *
 * One batch is under way at a time; what comes meanwhile goes into the next. So a busy coordinator
 * writes few, large batches, and an idle one writes at once. When a batch cannot be written, what
 * the coordinator believes is wrong: it begins anew from LOADING, and everybody who waited gets
 * NOT_COORDINATOR, which makes clients look for it again.
 *
 * Runs on: the shard that owns the partition. A crash leaves the log; answers that were not sent
 * may be there in whole or not at all. */
#include "broker/coordinator.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/node.h"
#include "broker/request.h"
#include "coord/topic_hash.h"
#include "meta/config_def.h"
#include "wire/batch_builder.h"

#define MS               UINT64_C(1000000)
#define SCRATCH_KEPT     ((size_t)64 << 10)
#define APPEND_VERSION   13 /* of Produce: all compressions are known */
#define BATCH_BYTES_HARD ((size_t)256 << 20)

enum coordinator_state {
    COORDINATOR_LOADING,
    COORDINATOR_ACTIVE,
    COORDINATOR_FAILED,
    COORDINATOR_ENDING,
};

/* Records that are appended together, and who waits for them. */
struct coordinator_batch {
    struct list link;
    struct coordinator *coordinator;
    struct buf bytes;
    struct batch_builder builder;
    struct list ops; /* coord_op.link */
    struct partition_append append;
    struct batch_verdict verdict;
};

struct coordinator {
    struct list link;      /* coordinators->all */
    struct list load_link; /* coordinators->loading */
    struct coordinators *home;
    struct partition *partition; /* borrowed; NULL once ending */
    struct uuid topic_id;
    int32_t index;
    enum coordinator_state state;
    struct coord *coord; /* while loading and active */
    struct list waiting; /* calls, while it is loading */
    struct list batches; /* the first may be under way */
    bool is_appending;
    bool is_flush_posted;
    bool is_reading;
    bool must_reload; /* once what is under way has ended */
    uint64_t refused; /* batches, since one was written */
    struct shard_msg flush_msg;
    struct io_timer timer;
    int64_t timer_ms; /* what it is set to; COORD_NEVER: not set */
    struct log_read read;
    int64_t load_next, load_end;
};

struct coordinators {
    struct shard *shard;
    struct list all;
    struct list loading; /* one after the other; the first is being read */
    struct coord_config config;
    struct rng rng;
    struct arena arena; /* for records of timers */
    struct buf scratch; /* keys and values on their way into a batch */
};

static void load_next(struct coordinators *home);
static void begin_load(struct coordinator *coordinator);
static void submit_batch(struct coordinator *coordinator);

static struct coordinators *coordinators_of(struct shard *shard)
{
    return &shard->node->coordinators[shard->index];
}

static struct shard *shard_of(const struct coordinator *coordinator)
{
    return coordinator->home->shard;
}

/* --- answers --- */

static void on_ended(struct shard *shard, struct shard_msg *msg)
{
    struct coordinator_call *call = CONTAINER_OF(msg, struct coordinator_call, msg);
    (void)shard;
    call->is_done = true;
    call->done(call);
}

/* The call goes home. */
static void end_call(struct coordinator_call *call)
{
    struct shard *owner = call->owner;
    call->has_ended = true;
    if (owner == call->home) {
        call->is_done = true;
        call->done(call);
        return;
    }
    call->msg.fn = on_ended;
    shard_post(owner, call->home, &call->msg);
}

static void end_call_with(struct coordinator_call *call, enum err err)
{
    call->op->err = err;
    end_call(call);
}

static void end_ops(struct list *ops)
{
    struct list *node;
    while ((node = list_pop_front(ops)) != NULL)
        end_call(LIST_ENTRY(node, struct coord_op, link)->owner);
}

static void end_ops_with(struct list *ops, enum err err)
{
    LIST_FOREACH (node, ops)
        LIST_ENTRY(node, struct coord_op, link)->err = err;
    end_ops(ops);
}

static void end_waiting(struct coordinator *coordinator, enum err err)
{
    struct list *node;
    while ((node = list_pop_front(&coordinator->waiting)) != NULL)
        end_call_with(LIST_ENTRY(node, struct coordinator_call, link), err);
}

/* --- batches --- */

static struct coordinator_batch *batch_last(const struct coordinator *coordinator)
{
    if (list_is_empty(&coordinator->batches))
        return NULL;
    return LIST_ENTRY(coordinator->batches.prev, struct coordinator_batch, link);
}

/* The batch that records may still be added to. */
static struct coordinator_batch *batch_open(const struct coordinator *coordinator)
{
    struct coordinator_batch *last = batch_last(coordinator);
    bool is_under_way =
        last && coordinator->is_appending && last->link.prev == &coordinator->batches;
    return is_under_way ? NULL : last;
}

static struct coordinator_batch *batch_create(struct coordinator *coordinator)
{
    struct coordinator_batch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return NULL;
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    int32_t level_min, level_max;
    options.compression =
        (enum compression)shard_of(coordinator)->node->config->offsets_topic_compression_codec;
    compression_levels(options.compression, &level_min, &level_max, &options.level);
    batch->coordinator = coordinator;
    list_init(&batch->ops);
    buf_init(&batch->bytes, BATCH_BYTES_HARD);
    batch_builder_init(&batch->builder, &batch->bytes, &options);
    list_push_back(&coordinator->batches, &batch->link);
    return batch;
}

static void batch_free(struct coordinator_batch *batch)
{
    ASSERT(list_is_empty(&batch->ops));
    list_remove(&batch->link);
    batch_builder_deinit(&batch->builder);
    buf_deinit(&batch->bytes);
    free(batch);
}

static void drop_batches(struct coordinator *coordinator, enum err err)
{
    LIST_FOREACH_SAFE (node, &coordinator->batches) {
        struct coordinator_batch *batch = LIST_ENTRY(node, struct coordinator_batch, link);
        bool is_under_way = coordinator->is_appending && node == coordinator->batches.next;
        if (is_under_way)
            continue;
        end_ops_with(&batch->ops, err);
        batch_free(batch);
    }
}

static void coordinator_free(struct coordinator *coordinator)
{
    ASSERT(list_is_empty(&coordinator->batches) && list_is_empty(&coordinator->waiting));
    list_remove(&coordinator->link);
    list_remove(&coordinator->load_link);
    io_timer_stop(shard_of(coordinator)->io, &coordinator->timer);
    free(coordinator);
}

static bool is_busy(const struct coordinator *coordinator)
{
    return coordinator->is_appending || coordinator->is_flush_posted || coordinator->is_reading;
}

static void drop_coord(struct coordinator *coordinator)
{
    struct list done;
    list_init(&done);
    if (coordinator->coord)
        coord_destroy(coordinator->coord, &done);
    coordinator->coord = NULL;
    end_ops_with(&done, ERR_NOT_COORDINATOR);
    drop_batches(coordinator, ERR_NOT_COORDINATOR);
    io_timer_stop(shard_of(coordinator)->io, &coordinator->timer);
    coordinator->timer_ms = COORD_NEVER;
}

/* What it believes is not what the log says: from the log again. */
static void reload(struct coordinator *coordinator)
{
    drop_coord(coordinator);
    coordinator->state = COORDINATOR_LOADING;
    coordinator->must_reload = true;
    if (!is_busy(coordinator))
        begin_load(coordinator);
}

/* Something that was under way has ended. */
static void on_quiet(struct coordinator *coordinator)
{
    if (is_busy(coordinator))
        return;
    if (coordinator->state == COORDINATOR_ENDING)
        coordinator_free(coordinator);
    else if (coordinator->must_reload)
        begin_load(coordinator);
    else if (!list_is_empty(&coordinator->batches))
        submit_batch(coordinator);
}

/* One line as it begins: clients try again and again. Of a folder that is offline, others tell. */
static void note_refused(struct coordinator *coordinator, enum err err)
{
    const struct log *log = coordinator->partition ? coordinator->partition->log : NULL;
    if (coordinator->refused++ > 0 || !log || log_is_offline(log))
        return;
    if (err == ERR_KAFKA_STORAGE_ERROR)
        diag_error("coordinator",
                   "__consumer_offsets-%d: its disk is full: commits and rebalances of the groups "
                   "in it are refused, and clients try again; free some space, and they go on",
                   coordinator->index);
    else
        diag_error("coordinator",
                   "__consumer_offsets-%d: commits and rebalances of the groups in it are refused: "
                   "it cannot be written: %s",
                   coordinator->index, err_text(err));
}

static void note_written(struct coordinator *coordinator)
{
    if (coordinator->refused == 0)
        return;
    diag_info("coordinator",
              "__consumer_offsets-%d is written again; %llu batches were refused meanwhile",
              coordinator->index, (unsigned long long)coordinator->refused);
    coordinator->refused = 0;
}

static void on_appended(struct partition_append *append)
{
    struct coordinator_batch *batch = CONTAINER_OF(append, struct coordinator_batch, append);
    struct coordinator *coordinator = batch->coordinator;
    enum err err = append->err;
    coordinator->is_appending = false;
    if (err == ERR_OK) {
        note_written(coordinator);
        end_ops(&batch->ops);
    } else {
        note_refused(coordinator, err);
        end_ops_with(&batch->ops, ERR_NOT_COORDINATOR);
    }
    batch_free(batch);
    if (err != ERR_OK && coordinator->state == COORDINATOR_ACTIVE)
        reload(coordinator);
    else
        on_quiet(coordinator);
}

/* Appends the first batch. One that has answers but no records waits for nothing. */
static void submit_batch(struct coordinator *coordinator)
{
    struct shard *shard = shard_of(coordinator);
    struct coordinator_batch *batch =
        LIST_ENTRY(coordinator->batches.next, struct coordinator_batch, link);
    enum err err = batch_builder_finish(&batch->builder, &shard->compressors);
    coordinator->is_appending = true;
    batch->append = (struct partition_append){
        .records = batch->bytes.data,
        .len = batch->bytes.len,
        .produce_version = APPEND_VERSION,
        .sync = true,
        .now_ms = io_wall_ms(shard->io),
        .compressors = &shard->compressors,
        .scratch = &shard->scratch,
        .verdict = &batch->verdict,
        .err = err,
        .done = on_appended,
    };
    if (err != ERR_OK)
        on_appended(&batch->append);
    else
        partition_append(coordinator->partition, &batch->append);
}

static void on_flush(struct shard *shard, struct shard_msg *msg)
{
    struct coordinator *coordinator = CONTAINER_OF(msg, struct coordinator, flush_msg);
    (void)shard;
    coordinator->is_flush_posted = false;
    on_quiet(coordinator);
}

/* At the end of this turn, so that what comes with it is in the same batch. */
static void flush_soon(struct coordinator *coordinator)
{
    if (coordinator->is_appending || coordinator->is_flush_posted)
        return;
    coordinator->is_flush_posted = true;
    coordinator->flush_msg.fn = on_flush;
    shard_post(shard_of(coordinator), shard_of(coordinator), &coordinator->flush_msg);
}

struct encoded {
    size_t key_len;
    size_t value_len;
    bool is_tombstone;
};

static enum err encode_record(struct coordinators *home, const struct coord_record *record,
                              struct encoded *encoded)
{
    size_t start = home->scratch.len;
    TRY(coord_record_encode_key(record, &home->scratch));
    encoded->key_len = home->scratch.len - start;
    encoded->is_tombstone = !record->value;
    if (record->value)
        TRY(coord_record_encode_value(record, &home->scratch));
    encoded->value_len = home->scratch.len - start - encoded->key_len;
    return ERR_OK;
}

/* What a record takes in a batch besides its bytes, at most: seven varints and the attributes. */
#define RECORD_OVERHEAD ((size_t)32)

static size_t bytes_max(const struct coordinator *coordinator)
{
    return (size_t)coordinator->partition->config.rules.batch_bytes_max;
}

/* The batch that has room for this much, or a new one. */
static struct coordinator_batch *batch_with_room(struct coordinator *coordinator, size_t bytes)
{
    struct coordinator_batch *open = batch_open(coordinator);
    if (open && batch_builder_size(&open->builder) + bytes <= bytes_max(coordinator))
        return open;
    return batch_create(coordinator);
}

static enum err put_record(struct coordinator_batch *batch, const uint8_t *at,
                           const struct encoded *encoded, int64_t wall_ms)
{
    struct record_fields fields = {.timestamp = wall_ms,
                                   .key = slice_of(at, encoded->key_len),
                                   .value = slice_of(at + encoded->key_len, encoded->value_len)};
    if (encoded->is_tombstone)
        fields.value = SLICE_NULL;
    return batch_builder_append(&batch->builder, &fields);
}

/* What the first records take together in a batch. */
static size_t room_for(const struct encoded *encoded, size_t count)
{
    size_t bytes = BATCH_HEADER_BYTES;
    for (size_t i = 0; i < count; i++)
        bytes += encoded[i].key_len + encoded[i].value_len + RECORD_OVERHEAD;
    return bytes;
}

/* All records into one batch; or, where they have no room there and may be apart, into as many as
 * it takes. ERR_LIMIT: those that may not are too large for a batch; nothing was added. */
static enum err put_records(struct coordinator *coordinator, const struct coord_call *call)
{
    struct coordinators *home = coordinator->home;
    const struct coord_records *records = call->records;
    struct encoded *encoded = arena_array(call->arena, records->count, sizeof(*encoded));
    if (!encoded)
        return ERR_NOMEM;
    buf_trim(&home->scratch, SCRATCH_KEPT);
    buf_reset(&home->scratch);
    for (size_t i = 0; i < records->count; i++)
        TRY(encode_record(home, &records->items[i], &encoded[i]));
    size_t whole_count = records->count, whole = room_for(encoded, whole_count);
    if (records->may_split && whole > bytes_max(coordinator)) {
        whole_count = records->whole_count;
        whole = room_for(encoded, whole_count);
    }
    if (whole > bytes_max(coordinator))
        return ERR_LIMIT;
    struct coordinator_batch *batch = whole_count > 0 ? batch_with_room(coordinator, whole) : NULL;
    const uint8_t *at = home->scratch.data;
    for (size_t i = 0; i < records->count; i++) {
        size_t len = encoded[i].key_len + encoded[i].value_len;
        if (i >= whole_count)
            batch = batch_with_room(coordinator, len + RECORD_OVERHEAD);
        if (!batch)
            return ERR_NOMEM;
        enum err err = put_record(batch, at, &encoded[i], call->wall_ms);
        if (err != ERR_OK)
            return err == ERR_LIMIT ? ERR_NOMEM : err; /* half of it is there: not to be kept */
        at += len;
    }
    return ERR_OK;
}

/* --- calls --- */

static bool topic_by_name(const void *image, struct str name, struct coord_topic *out)
{
    const struct topic_image *topic = image_topic_by_name(image, name);
    if (topic)
        *out = (struct coord_topic){topic->id, topic->name, (int32_t)topic->partition_count};
    return topic != NULL;
}

static bool topic_by_id(const void *image, struct uuid id, struct coord_topic *out)
{
    const struct topic_image *topic = image_topic_by_id(image, id);
    if (topic)
        *out = (struct coord_topic){topic->id, topic->name, (int32_t)topic->partition_count};
    return topic != NULL;
}

/* The racks of a partition's replicas, in order. */
static size_t partition_racks(const struct image *image, const struct partition_image *partition,
                              struct str *racks, size_t max)
{
    size_t count = 0;
    for (uint32_t i = 0; i < partition->replica_count && count < max; i++) {
        const struct broker_image *broker = image_broker(image, partition->replicas[i]);
        if (!broker || str_is_null(broker->rack))
            continue;
        size_t at = count++;
        for (; at > 0 && str_cmp(racks[at - 1], broker->rack) > 0; at--)
            racks[at] = racks[at - 1];
        racks[at] = broker->rack;
    }
    return count;
}

#define RACKS_MAX 100 /* of one partition */

static uint64_t hash_topic(const void *image, const struct coord_topic *topic)
{
    const struct topic_image *full = image_topic_by_id(image, topic->id);
    struct topic_hash *hash = topic_hash_begin(topic->id, topic->name, topic->partition_count);
    if (!full || !hash)
        return 0; /* no memory: it will look as if the topic had changed */
    for (int32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_image *partition = image_partition(full, i);
        struct str racks[RACKS_MAX];
        size_t count = partition ? partition_racks(image, partition, racks, RACKS_MAX) : 0;
        topic_hash_partition(hash, i);
        for (size_t r = 0; r < count; r++)
            topic_hash_rack(hash, racks[r]);
    }
    return topic_hash_end(hash);
}

static void each_topic_name(const void *image, bool (*fn)(void *arg, struct str name), void *arg)
{
    IMAGE_TOPICS_EACH(iter, (const struct image *)image, topic)
    {
        if (!fn(arg, topic->name))
            return;
    }
}

static size_t topic_count(const void *image)
{
    return ((const struct image *)image)->topics.count;
}

static int64_t image_version(const void *image)
{
    return ((const struct image *)image)->end_offset - 1;
}

static bool group_config(const void *image, struct str group_id, struct str key, int32_t *value)
{
    const struct config_image *config = image_config(image, CONFIG_GROUP, group_id);
    struct str text = config_image_get(config, key);
    if (str_is_null(text))
        return false;
    *value = (int32_t)config_value_i64(text);
    return true;
}

struct run {
    struct coord_call call;
    struct coord_records records;
    struct coord_topics topics;
    struct list done;
};

static void run_init(struct run *run, struct coordinator *coordinator, struct arena *arena)
{
    struct shard *shard = shard_of(coordinator);
    coord_records_init(&run->records, arena);
    list_init(&run->done);
    run->topics = (struct coord_topics){.image = shard->image,
                                        .by_name = topic_by_name,
                                        .by_id = topic_by_id,
                                        .hash = hash_topic,
                                        .each_name = each_topic_name,
                                        .count = topic_count,
                                        .version = image_version,
                                        .group_config = group_config};
    run->call = (struct coord_call){.arena = arena,
                                    .rng = &coordinator->home->rng,
                                    .now_ms = (int64_t)io_now_ms(shard->io),
                                    .wall_ms = io_wall_ms(shard->io),
                                    .topics = &run->topics,
                                    .batch_bytes_max = bytes_max(coordinator),
                                    .records = &run->records,
                                    .done = &run->done};
}

static void set_timer(struct coordinator *coordinator)
{
    struct io *io = shard_of(coordinator)->io;
    int64_t deadline = coord_deadline(coordinator->coord);
    if (deadline == coordinator->timer_ms)
        return;
    coordinator->timer_ms = deadline;
    if (deadline == COORD_NEVER)
        io_timer_stop(io, &coordinator->timer);
    else
        io_timer_start(io, &coordinator->timer, (uint64_t)deadline * MS);
}

static bool has_applied(const struct coord_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        if (records->items[i].is_applied)
            return true;
    }
    return false;
}

/* The records are too large, or there is no memory for them, and nothing was changed: the answer
 * says so. False where the state moved on already. */
static bool refuse(struct run *run, enum err err)
{
    if (has_applied(&run->records) || run->records.may_split)
        return false;
    LIST_FOREACH (node, &run->done) {
        struct coord_op *op = LIST_ENTRY(node, struct coord_op, link);
        op->err = err == ERR_LIMIT ? ERR_INVALID_COMMIT_OFFSET_SIZE : err;
    }
    run->records.count = 0;
    return true;
}

/* Steps 2 and 3 of coord.h. */
static void run_finish(struct run *run, struct coordinator *coordinator)
{
    enum err err = run->records.err;
    if (err == ERR_OK && run->records.count > 0)
        err = put_records(coordinator, &run->call);
    if (err == ERR_LIMIT && refuse(run, err))
        err = ERR_OK;
    if (err == ERR_OK)
        err = coord_replay_all(coordinator->coord, &run->records);
    if (err != ERR_OK) {
        diag_error("coordinator", "__consumer_offsets-%d: %s: its groups are read from it again",
                   coordinator->index, err_text(err));
        end_ops_with(&run->done, ERR_NOT_COORDINATOR);
        reload(coordinator);
        return;
    }
    struct coordinator_batch *last = batch_last(coordinator);
    if (last)
        list_splice(&last->ops, &run->done);
    else
        end_ops(&run->done);
    if (batch_open(coordinator))
        flush_soon(coordinator);
    set_timer(coordinator);
}

static void execute(struct coordinator *coordinator, struct coordinator_call *call)
{
    struct run run;
    run_init(&run, coordinator, call->op->arena);
    call->run(coordinator->coord, &run.call, call);
    run_finish(&run, coordinator);
}

static void on_timer(struct io_timer *timer)
{
    struct coordinator *coordinator = CONTAINER_OF(timer, struct coordinator, timer);
    struct run run;
    coordinator->timer_ms = COORD_NEVER;
    run_init(&run, coordinator, &coordinator->home->arena);
    coord_tick(coordinator->coord, &run.call);
    run_finish(&run, coordinator);
    arena_reset(&coordinator->home->arena);
}

static struct coordinator *find(struct shard *shard, int32_t index)
{
    LIST_FOREACH (node, &coordinators_of(shard)->all) {
        struct coordinator *coordinator = LIST_ENTRY(node, struct coordinator, link);
        if (coordinator->index == index && coordinator->state != COORDINATOR_ENDING)
            return coordinator;
    }
    return NULL;
}

static void run_call(struct shard *shard, struct shard_msg *msg)
{
    struct coordinator_call *call = CONTAINER_OF(msg, struct coordinator_call, msg);
    struct coordinator *coordinator = find(shard, call->partition);
    if (!coordinator || coordinator->state == COORDINATOR_FAILED)
        end_call_with(call, ERR_NOT_COORDINATOR);
    else if (coordinator->state == COORDINATOR_LOADING)
        list_push_back(&coordinator->waiting, &call->link);
    else
        execute(coordinator, call);
}

void coordinator_submit(struct coordinator_call *call)
{
    const struct topic_image *topic = coordinator_topic(call->home);
    call->op->owner = call;
    call->op->waiting_in = NULL;
    list_init(&call->op->link);
    list_init(&call->link);
    call->has_ended = false;
    call->is_done = false;
    call->is_cancelled = false;
    call->is_yielding = false;
    call->op->waits_for_news = false;
    if (!topic || call->partition < 0) {
        call->owner = call->home;
        end_call_with(call, ERR_NOT_COORDINATOR);
        return;
    }
    struct node *node = call->home->node;
    call->owner = &node->shards[node_owner(node, topic->id, call->partition)];
    call->msg.fn = run_call;
    if (call->owner == call->home)
        run_call(call->owner, &call->msg);
    else
        shard_post(call->home, call->owner, &call->msg);
}

/* On the owner. */
static void forget_call(struct coordinator_call *call)
{
    struct list done;
    list_init(&done);
    if (call->has_ended)
        return;
    if (list_is_linked(&call->link)) {
        list_remove(&call->link);
        end_call_with(call, ERR_NOT_COORDINATOR);
        return;
    }
    coord_forget(call->op, &done);
    end_ops(&done);
}

static void on_cancel_back(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    request_release(CONTAINER_OF(msg, struct coordinator_call, cancel_msg)->req);
}

static void on_cancel(struct shard *shard, struct shard_msg *msg)
{
    struct coordinator_call *call = CONTAINER_OF(msg, struct coordinator_call, cancel_msg);
    forget_call(call);
    msg->fn = on_cancel_back;
    shard_post(shard, call->home, msg);
}

void coordinator_cancel(struct coordinator_call *call)
{
    if (call->is_done || call->is_cancelled || !call->owner)
        return;
    call->is_cancelled = true;
    if (call->owner == call->home) {
        forget_call(call);
        return;
    }
    request_hold(call->req);
    call->cancel_msg.fn = on_cancel;
    shard_post(call->home, call->owner, &call->cancel_msg);
}

static void yield_call(struct coordinator_call *call)
{
    struct list done;
    list_init(&done);
    if (!call->has_ended && !list_is_linked(&call->link))
        coord_yield(call->op, &done);
    end_ops(&done);
}

static void on_yield_back(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    request_release(CONTAINER_OF(msg, struct coordinator_call, yield_msg)->req);
}

static void on_yield(struct shard *shard, struct shard_msg *msg)
{
    struct coordinator_call *call = CONTAINER_OF(msg, struct coordinator_call, yield_msg);
    yield_call(call);
    msg->fn = on_yield_back;
    shard_post(shard, call->home, msg);
}

void coordinator_yield(struct coordinator_call *call)
{
    if (call->is_done || call->is_yielding || !call->owner)
        return;
    call->is_yielding = true;
    if (call->owner == call->home) {
        yield_call(call);
        return;
    }
    request_hold(call->req);
    call->yield_msg.fn = on_yield;
    shard_post(call->home, call->owner, &call->yield_msg);
}

/* --- loading --- */

static void fail_load(struct coordinator *coordinator, enum err err)
{
    diag_error("coordinator",
               "__consumer_offsets-%d cannot be read: %s: its groups have no "
               "coordinator until the broker is started again",
               coordinator->index, err_text(err));
    drop_coord(coordinator);
    coordinator->state = COORDINATOR_FAILED;
    end_waiting(coordinator, ERR_NOT_COORDINATOR);
}

static void load_done(struct coordinator *coordinator)
{
    struct coordinators *home = coordinator->home;
    struct run run;
    coordinator->state = COORDINATOR_ACTIVE;
    run_init(&run, coordinator, &home->arena);
    coord_loaded(coordinator->coord, &run.call);
    run_finish(&run, coordinator);
    arena_reset(&home->arena);
    struct list waiting;
    list_init(&waiting);
    list_splice(&waiting, &coordinator->waiting);
    struct list *node;
    while ((node = list_pop_front(&waiting)) != NULL) {
        struct coordinator_call *call = LIST_ENTRY(node, struct coordinator_call, link);
        run_call(home->shard, &call->msg);
    }
}

static void warn_left_out(const struct coordinator *coordinator, const struct record *record,
                          enum err err)
{
    diag_warn("coordinator", "__consumer_offsets-%d: the record at offset %lld is left out: %s",
              coordinator->index, (long long)record->offset, err_text(err));
}

static enum err replay_record(struct coordinator *coordinator, const struct batch *batch,
                              const struct record *record)
{
    struct coord_record decoded;
    struct arena *arena = &coordinator->home->arena;
    arena_reset(arena);
    enum err err = coord_record_decode(record->key, record->value, arena, &decoded);
    if (err == ERR_OK && batch_is_transactional(batch) && batch_has_producer(batch))
        err = coord_replay_pending(coordinator->coord, &decoded, batch->producer_id);
    else if (err == ERR_OK)
        err = coord_replay(coordinator->coord, &decoded);
    if (err == ERR_OK || err == ERR_NOMEM)
        return err;
    if (err != ERR_UNSUPPORTED)
        warn_left_out(coordinator, record, err);
    return ERR_OK;
}

/* A control record. Those that end no transaction say nothing to a coordinator. */
static enum err replay_marker(struct coordinator *coordinator, const struct batch *batch,
                              const struct record *record)
{
    int16_t type;
    enum err err = control_key_load(record->key, &type);
    if (err == ERR_OK && (type == CONTROL_COMMIT || type == CONTROL_ABORT))
        return coord_replay_end(coordinator->coord, batch->producer_id, type == CONTROL_COMMIT);
    if (err != ERR_OK)
        warn_left_out(coordinator, record, err);
    return ERR_OK;
}

static enum err replay_batch(struct coordinator *coordinator, const struct batch *batch)
{
    struct shard *shard = shard_of(coordinator);
    struct records records;
    struct record record;
    coordinator->load_next = batch->last_offset + 1;
    TRY(records_init(&records, batch, &shard->compressors, &shard->scratch));
    while (records_next(&records, &record))
        TRY(batch_is_control(batch) ? replay_marker(coordinator, batch, &record)
                                    : replay_record(coordinator, batch, &record));
    return records.err;
}

static enum err replay_bytes(struct coordinator *coordinator, struct slice bytes)
{
    struct batches batches;
    struct batch batch;
    batches_init(&batches, bytes);
    while (batches_next(&batches, &batch)) {
        if (batch.last_offset >= coordinator->load_next)
            TRY(replay_batch(coordinator, &batch));
    }
    return batches.err == ERR_TRUNCATED ? ERR_OK : batches.err;
}

static void read_more(struct coordinator *coordinator);

static void on_read(struct log_read *read)
{
    struct coordinator *coordinator = CONTAINER_OF(read, struct coordinator, read);
    struct coordinators *home = coordinator->home;
    int64_t before = coordinator->load_next;
    enum err err = read->err;
    coordinator->is_reading = false;
    if (err == ERR_OK && coordinator->state == COORDINATOR_LOADING && read->buf)
        err = replay_bytes(coordinator, read->batches);
    rbuf_unref(read->buf);
    if (coordinator->state == COORDINATOR_ENDING) {
        list_remove(&coordinator->load_link);
        on_quiet(coordinator);
        load_next(home);
        return;
    }
    bool is_at_end = coordinator->load_next >= coordinator->load_end ||
                     (err == ERR_OK && coordinator->load_next == before);
    if (err == ERR_OK && !is_at_end) {
        read_more(coordinator);
        return;
    }
    list_remove(&coordinator->load_link);
    if (err != ERR_OK)
        fail_load(coordinator, err);
    else
        load_done(coordinator);
    load_next(home);
}

static void read_more(struct coordinator *coordinator)
{
    struct shard *shard = shard_of(coordinator);
    coordinator->is_reading = true;
    coordinator->read = (struct log_read){
        .offset = coordinator->load_next,
        .end_offset = coordinator->load_end,
        .bytes_max = (size_t)shard->node->config->offsets_load_buffer_size,
        .at_least_one = true,
        .bufs = &shard->bufs,
        .done = on_read,
    };
    log_read(coordinator->partition->log, &coordinator->read);
}

/* Reads the first that waits for it, unless one is being read. */
static void load_next(struct coordinators *home)
{
    while (!list_is_empty(&home->loading)) {
        struct coordinator *coordinator =
            LIST_ENTRY(home->loading.next, struct coordinator, load_link);
        struct log *log = coordinator->partition->log;
        if (coordinator->is_reading)
            return;
        if (log && !log_is_offline(log)) {
            coordinator->load_next = log_start_offset(log);
            coordinator->load_end = partition_high_watermark(coordinator->partition);
        }
        if (log && !log_is_offline(log) && coordinator->load_next < coordinator->load_end) {
            read_more(coordinator);
            return;
        }
        list_remove(&coordinator->load_link);
        if (!log || log_is_offline(log))
            fail_load(coordinator, ERR_KAFKA_STORAGE_ERROR);
        else
            load_done(coordinator);
    }
}

static void begin_load(struct coordinator *coordinator)
{
    struct coordinators *home = coordinator->home;
    coordinator->must_reload = false;
    coordinator->state = COORDINATOR_LOADING;
    coordinator->coord = coord_create(&home->config, rng_u64(&home->rng));
    if (!coordinator->coord) {
        fail_load(coordinator, ERR_NOMEM);
        return;
    }
    bool is_first = list_is_empty(&home->loading);
    list_push_back(&home->loading, &coordinator->load_link);
    if (is_first)
        load_next(home);
}

/* --- which there are --- */

const struct topic_image *coordinator_topic(const struct shard *shard)
{
    return image_topic_by_name(shard->image, STR("__consumer_offsets"));
}

int32_t coordinator_partition(const struct shard *shard, struct str group_id)
{
    const struct topic_image *topic = coordinator_topic(shard);
    if (!topic || topic->partition_count == 0)
        return -1;
    return coord_partition_of(group_id, (int32_t)topic->partition_count);
}

static void begin(struct shard *shard, struct partition *partition)
{
    struct coordinators *home = coordinators_of(shard);
    struct coordinator *coordinator = calloc(1, sizeof(*coordinator));
    if (!coordinator) {
        diag_error("coordinator",
                   "__consumer_offsets-%d: out of memory: its groups have no "
                   "coordinator until the broker is started again",
                   partition->index);
        return;
    }
    coordinator->home = home;
    coordinator->partition = partition;
    coordinator->topic_id = partition->topic_id;
    coordinator->index = partition->index;
    coordinator->timer_ms = COORD_NEVER;
    list_init(&coordinator->load_link);
    list_init(&coordinator->waiting);
    list_init(&coordinator->batches);
    io_timer_init(&coordinator->timer, on_timer);
    list_push_back(&home->all, &coordinator->link);
    begin_load(coordinator);
}

static void end(struct coordinator *coordinator)
{
    struct coordinators *home = coordinator->home;
    coordinator->state = COORDINATOR_ENDING;
    coordinator->partition = NULL;
    coordinator->must_reload = false;
    drop_coord(coordinator);
    end_waiting(coordinator, ERR_NOT_COORDINATOR);
    bool was_read = coordinator->is_reading;
    if (!was_read)
        list_remove(&coordinator->load_link);
    if (!is_busy(coordinator))
        coordinator_free(coordinator);
    if (!was_read)
        load_next(home);
}

static bool leads(const struct shard *shard, const struct image *image, struct uuid topic_id,
                  int32_t index)
{
    const struct topic_image *topic = image_topic_by_id(image, topic_id);
    const struct partition_image *partition = topic ? image_partition(topic, index) : NULL;
    return partition && partition->leader == shard->node->config->node_id;
}

static void begin_new(struct shard *shard, const struct topic_image *topic)
{
    for (uint32_t i = 0; topic && i < topic->partition_count; i++) {
        struct partition *partition = partitions_find(&shard->partitions, topic->id, (int32_t)i);
        if (partition && !find(shard, (int32_t)i) &&
            leads(shard, shard->image, topic->id, (int32_t)i))
            begin(shard, partition);
    }
}

/* --- topics that came, changed, are gone --- */

struct gone {
    struct arena *arena;
    struct str *names;
    size_t count, cap;
    bool has_changes; /* that members of groups want to hear of */
};

static enum err on_topic(void *arg, const struct topic_image *before,
                         const struct topic_image *after)
{
    struct gone *gone = arg;
    bool is_gone = before && (!after || !uuid_eq(before->id, after->id));
    gone->has_changes |= is_gone || !before || before->partition_count != after->partition_count;
    if (!is_gone)
        return ERR_OK;
    if (gone->count == gone->cap) {
        size_t cap = gone->cap ? gone->cap * 2 : 16;
        struct str *names = arena_array(gone->arena, cap, sizeof(*names));
        if (!names)
            return ERR_NOMEM;
        if (gone->count > 0)
            memcpy(names, gone->names, gone->count * sizeof(*names));
        gone->names = names;
        gone->cap = cap;
    }
    gone->names[gone->count++] = before->name;
    return ERR_OK;
}

static void tell_topics(struct shard *shard, const struct image *before, const struct image *after)
{
    struct arena arena;
    arena_init(&arena, ARENA_NO_LIMIT);
    struct gone gone = {.arena = &arena};
    enum err err = image_topics_diff(before, after, on_topic, &gone);
    LIST_FOREACH_SAFE (node, &coordinators_of(shard)->all) {
        struct coordinator *coordinator = LIST_ENTRY(node, struct coordinator, link);
        struct run run;
        if (err == ERR_OK && gone.count > 0 && coordinator->state == COORDINATOR_ACTIVE) {
            run_init(&run, coordinator, &arena);
            coord_topics_deleted(coordinator->coord, &run.call, gone.names, gone.count);
            run_finish(&run, coordinator);
        }
        if (gone.has_changes && coordinator->state == COORDINATOR_ACTIVE) {
            run_init(&run, coordinator, &arena);
            coord_topics_changed(coordinator->coord, &run.call);
            run_finish(&run, coordinator);
        }
    }
    arena_deinit(&arena);
}

void coordinators_apply(struct shard *shard, const struct image *before, const struct image *after)
{
    LIST_FOREACH_SAFE (node, &coordinators_of(shard)->all) {
        struct coordinator *coordinator = LIST_ENTRY(node, struct coordinator, link);
        if (coordinator->state != COORDINATOR_ENDING &&
            !leads(shard, after, coordinator->topic_id, coordinator->index))
            end(coordinator);
    }
    begin_new(shard, image_topic_by_name(after, STR("__consumer_offsets")));
    tell_topics(shard, before, after);
}

bool coordinators_each(struct shard *shard, coordinator_look *fn, void *arg)
{
    bool is_complete = true;
    LIST_FOREACH (node, &coordinators_of(shard)->all) {
        const struct coordinator *coordinator = LIST_ENTRY(node, const struct coordinator, link);
        bool is_active = coordinator->state == COORDINATOR_ACTIVE;
        is_complete = is_complete && is_active && fn(arg, coordinator->coord) == ERR_OK;
    }
    return is_complete;
}

/* --- life --- */

enum err coordinators_open(struct node *node)
{
    const struct broker_config *config = node->config;
    node->coordinators = calloc(node->shard_count, sizeof(*node->coordinators));
    if (!node->coordinators)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct coordinators *home = &node->coordinators[i];
        home->shard = &node->shards[i];
        list_init(&home->all);
        list_init(&home->loading);
        arena_init(&home->arena, ARENA_NO_LIMIT);
        buf_init(&home->scratch, BATCH_BYTES_HARD);
        rng_init(&home->rng, io_random(home->shard->io));
        home->config = (struct coord_config){
            .session_timeout_min_ms = config->group_min_session_timeout_ms,
            .session_timeout_max_ms = config->group_max_session_timeout_ms,
            .initial_rebalance_delay_ms = config->group_initial_rebalance_delay_ms,
            .group_size_max = config->group_max_size,
            .offset_metadata_max = config->offset_metadata_max_bytes,
            .offset_retention_ms = (int64_t)config->offsets_retention_minutes * 60000,
            .offset_check_interval_ms = config->offsets_retention_check_interval_ms,
            .consumer = config->group_consumer,
        };
    }
    return ERR_OK;
}

void coordinators_close(struct node *node)
{
    for (uint32_t i = 0; node->coordinators && i < node->shard_count; i++) {
        ASSERT(list_is_empty(&node->coordinators[i].all));
        arena_deinit(&node->coordinators[i].arena);
        buf_deinit(&node->coordinators[i].scratch);
    }
    free(node->coordinators);
}

void coordinators_stop(struct shard *shard)
{
    LIST_FOREACH_SAFE (node, &coordinators_of(shard)->all) {
        struct coordinator *coordinator = LIST_ENTRY(node, struct coordinator, link);
        if (coordinator->state != COORDINATOR_ENDING)
            end(coordinator);
    }
}

void coordinators_abandon(struct shard *shard)
{
    LIST_FOREACH_SAFE (node, &coordinators_of(shard)->all) {
        struct coordinator *coordinator = LIST_ENTRY(node, struct coordinator, link);
        coordinator->is_appending = coordinator->is_reading = coordinator->is_flush_posted = false;
        end(coordinator);
    }
}
