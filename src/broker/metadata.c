/* The metadata log's driver: controller and consensus are pure, this gives them a disk and a clock.
 *
 * Runs on: shard 0; calls come from, and go back to, any shard. For each call:
 *
 *   ask        the controller gives records and an answer; no records: answered at once
 *   append     one batch, submitted with its flush; the controller's head moves on
 *   commit     on the disk: the quorum moves the high watermark
 *   publish    every shard applies the image of the newest commit; then the calls are answered
 *
 * A failed append or flush is final: the broker stops. A crash loses calls that were not answered,
 * in whole or from some call on. */
#include "broker/metadata.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/node.h"
#include "broker/snapshot.h"
#include "meta/topic_support.h"
#include "wire/batch_builder.h"

#define TICK_MS 10000
#define MS      UINT64_C(1000000)
/* Behind a small checkpoint there may be so much. */
#define REPLAY_BYTES_MIN ((uint64_t)1 << 20)
#define BATCH_BYTES_MAX  ((size_t)512 << 20)

struct commit {
    struct log_append op;
    struct list link;
    struct buf bytes;
    struct metadata *metadata;
    struct image *head; /* as of this batch; one reference */
};

static void on_tick(struct io_timer *timer);
static void on_committed(struct log_append *op);

static int64_t now_ms(const struct metadata *metadata)
{
    return io_wall_ms(metadata->shard->io);
}

/* --- reading it back --- */

struct replay {
    struct metadata *metadata;
    struct arena arena;
    struct meta_error *why;
    struct buf scratch;
    struct compressors compressors;
    int16_t kraft_version;
    struct arena voters_arena;
    struct quorum_voter *voters;
    size_t voter_count;
    int32_t epoch;
};

static enum err replay_control(struct replay *replay, struct slice key, struct slice value)
{
    int16_t type;
    TRY(control_key_load(key, &type));
    if (type == CONTROL_KRAFT_VERSION)
        return quorum_kraft_version_decode(value, &replay->kraft_version);
    if (type == CONTROL_KRAFT_VOTERS) {
        /* The voters' names are views of it; the batch is gone after this. */
        value = arena_slice(&replay->voters_arena, value);
        if (!value.data)
            return ERR_NOMEM;
        return quorum_voters_decode(value, &replay->voters_arena, &replay->voters,
                                    &replay->voter_count);
    }
    return ERR_OK;
}

static enum err replay_batch(void *arg, const struct batch *batch)
{
    struct replay *replay = arg;
    struct metadata *metadata = replay->metadata;
    arena_reset(&replay->arena);
    struct meta_records list;
    meta_records_init(&list, &replay->arena);
    struct records records;
    struct record record;
    replay->epoch = batch->leader_epoch;
    metadata->bytes_since_snapshot += batch->size;
    TRY(records_init(&records, batch, &replay->compressors, &replay->scratch));
    while (records_next(&records, &record)) {
        if (batch_is_control(batch)) {
            TRY(replay_control(replay, record.key, record.value));
            continue;
        }
        struct meta_record decoded;
        TRY(meta_record_decode(record.value, &replay->arena, &decoded, replay->why));
        TRY(meta_records_add(&list, decoded.type, decoded.version, decoded.body));
    }
    TRY(records.err);
    return controller_replay(&metadata->controller, list.items, list.count, batch->last_offset + 1,
                             batch->leader_epoch, batch->max_timestamp, &replay->arena,
                             replay->why);
}

static void on_log_failure(struct log_owner *owner, enum err err, const char *what)
{
    struct metadata *metadata = CONTAINER_OF(owner, struct metadata, owner);
    metadata->is_failed = true;
    node_fail(metadata->node, err, what);
}

static void on_log_advance(struct log_owner *owner, size_t bytes)
{
    CONTAINER_OF(owner, struct metadata, owner)->bytes_since_snapshot += bytes;
}

static enum err open_log(struct metadata *metadata, struct arena *arena, struct meta_error *why)
{
    const struct broker_config *config = metadata->node->config;
    struct log_config log = {
        .segment_bytes = config->metadata_log_segment_bytes,
        .segment_ms = config->metadata_log_segment_ms,
        .segment_index_bytes = 10 << 20,
        .index_interval_bytes = 4096,
        .retention_ms = -1,
        .retention_bytes = -1,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .file_delete_delay_ms = 60000,
        .producer_expiration_ms = -1,
        .is_dense = true,
    };
    struct log_open_options options = {
        .clean_shutdown = false, .log_start_offset = -1, .has_no_producers = true};
    struct log_problem problem;
    metadata->owner = (struct log_owner){on_log_advance, on_log_failure};
    enum err err = log_open(metadata->shard->io, metadata->node->storage.metadata_dir.data, &log,
                            &options, &metadata->owner, &metadata->log, &problem);
    return err == ERR_OK ? err : meta_error_set(why, arena, err, "%s", problem.text);
}

static enum err init_quorum(struct metadata *metadata, const struct replay *replay,
                            struct arena *arena, struct meta_error *why)
{
    const struct node *node = metadata->node;
    const struct broker_config *config = node->config;
    struct quorum_voter *fixed = arena_array(arena, config->voter_count + 1, sizeof(*fixed));
    if (!fixed)
        return ERR_NOMEM;
    for (size_t i = 0; i < config->voter_count; i++)
        fixed[i] =
            (struct quorum_voter){.id = config->voters[i].id,
                                  .endpoint = {config->controller_listener, config->voters[i].host,
                                               config->voters[i].port}};
    struct quorum_config quorum = {
        .node_id = config->node_id,
        .directory_id = node->storage.metadata_directory_id,
        .endpoint = {config->controller_listener, config->controller_host, config->controller_port},
        .voters = replay->voter_count ? replay->voters : fixed,
        .voter_count = replay->voter_count ? replay->voter_count : config->voter_count,
        .kraft_version = replay->kraft_version < 0 ? 0 : replay->kraft_version,
    };
    char text[256];
    enum err err = quorum_init(&metadata->quorum, &quorum, text, sizeof(text));
    return err == ERR_OK ? err : meta_error_set(why, arena, err, "%s", text);
}

static enum err load(struct metadata *metadata, struct replay *replay, struct arena *arena,
                     struct meta_error *why)
{
    struct node *node = metadata->node;
    struct snapshot_id id;
    struct snapshot snapshot;
    struct image *image;
    TRY(snapshot_load(metadata->shard->io, node->storage.metadata_dir, arena, &id, &snapshot,
                      &image, why));
    replay->kraft_version = snapshot.kraft_version;
    replay->voters = snapshot.voters;
    replay->voter_count = snapshot.voter_count;
    metadata->snapshot_bytes = snapshot.bytes;
    replay->epoch = id.epoch;
    controller_init(&metadata->controller, image, node->config->node_id, node->config->texts);
    TRY(open_log(metadata, arena, why));
    int64_t from = image->end_offset > 0 ? image->end_offset : 0;
    enum err err = log_each_batch(metadata->log, from, replay_batch, replay);
    if (err != ERR_OK)
        return str_is_null(why->text)
                   ? meta_error_set(why, arena, err, "%.*s cannot be read: %s",
                                    STR_ARG(node->storage.metadata_dir), err_text(err))
                   : err;
    TRY(features_check(metadata->controller.head, arena, why));
    TRY(topic_support_check_all(metadata->controller.head, node->config->node_id, arena, why));
    return init_quorum(metadata, replay, arena, why);
}

enum err metadata_open(struct metadata *metadata, struct node *node, struct arena *arena,
                       struct meta_error *why)
{
    metadata->node = node;
    metadata->shard = &node->shards[0];
    list_init(&metadata->commits);
    list_init(&metadata->calls);
    list_init(&metadata->producer_id_waiters);
    arena_init(&metadata->producer_id_arena, ARENA_NO_LIMIT);
    io_timer_init(&metadata->tick, on_tick);
    rng_init(&metadata->rng, io_random(metadata->shard->io));
    metadata->publish_msgs = calloc(node->shard_count, sizeof(*metadata->publish_msgs));
    if (!metadata->publish_msgs)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < node->shard_count; i++)
        TRY(image_create_empty(&node->shards[i].image));
    struct replay replay = {.metadata = metadata, .why = why, .kraft_version = -1};
    *why = (struct meta_error){ERR_OK, STR_NULL};
    arena_init(&replay.arena, ARENA_NO_LIMIT);
    arena_init(&replay.voters_arena, ARENA_NO_LIMIT);
    buf_init(&replay.scratch, BUF_NO_LIMIT);
    compressors_init(&replay.compressors);
    enum err err = load(metadata, &replay, arena, why);
    metadata->start_epoch = replay.epoch;
    if (err != ERR_OK && !str_is_null(why->text))
        why->text = arena_str(arena, why->text);
    compressors_deinit(&replay.compressors);
    buf_deinit(&replay.scratch);
    arena_deinit(&replay.voters_arena);
    arena_deinit(&replay.arena);
    return err;
}

/* --- appending --- */

static struct commit *commit_create(struct metadata *metadata)
{
    struct commit *commit = calloc(1, sizeof(*commit));
    ASSERT(commit); /* a few hundred bytes: without them nothing goes on */
    commit->metadata = metadata;
    buf_init(&commit->bytes, BATCH_BYTES_MAX);
    return commit;
}

static void commit_free(struct commit *commit)
{
    if (commit->head)
        image_unref(commit->head);
    buf_deinit(&commit->bytes);
    free(commit);
}

static void quorum_event(struct metadata *metadata, struct quorum_event event);

/* Submits the batch in commit->bytes; its head image is the controller's of this moment. */
static void commit_submit(struct metadata *metadata, struct commit *commit)
{
    commit->head = image_ref(metadata->controller.head);
    commit->op = (struct log_append){.kind = LOG_APPEND_LEADER,
                                     .batches = commit->bytes.data,
                                     .len = commit->bytes.len,
                                     .leader_epoch = metadata->quorum.state.epoch,
                                     .now_ms = now_ms(metadata),
                                     .sync = true,
                                     .done = on_committed};
    list_push_back(&metadata->commits, &commit->link);
    log_append(metadata->log, &commit->op);
    quorum_event(metadata, (struct quorum_event){.kind = QUORUM_EVENT_APPENDED,
                                                 .log_end_offset = log_next_offset(metadata->log)});
}

static struct batch_options batch_options(void)
{
    return (struct batch_options)BATCH_OPTIONS_DEFAULT;
}

static enum err build_batch(struct metadata *metadata, const struct meta_records *records,
                            struct buf *out)
{
    struct batch_options options = batch_options();
    struct batch_builder builder;
    struct buf value;
    enum err err = ERR_OK;
    buf_init(&value, BATCH_BYTES_MAX);
    batch_builder_init(&builder, out, &options);
    for (size_t i = 0; err == ERR_OK && i < records->count; i++) {
        buf_reset(&value);
        err = meta_record_encode(&records->items[i], &value);
        struct record_fields fields = {.timestamp = now_ms(metadata), .value = buf_slice(&value)};
        if (err == ERR_OK)
            err = batch_builder_append(&builder, &fields);
    }
    if (err == ERR_OK)
        err = batch_builder_finish(&builder, NULL);
    batch_builder_deinit(&builder);
    buf_deinit(&value);
    return err;
}

/* The records become the log's next batch and the controller's head. */
static enum err append_records(struct metadata *metadata, const struct meta_records *records,
                               struct arena *arena, struct meta_error *error)
{
    if (metadata->is_failed)
        return ERR_KAFKA_STORAGE_ERROR;
    struct commit *commit = commit_create(metadata);
    enum err err = build_batch(metadata, records, &commit->bytes);
    int64_t end_offset = log_next_offset(metadata->log) + (int64_t)records->count;
    if (err == ERR_OK)
        err = controller_replay(&metadata->controller, records->items, records->count, end_offset,
                                metadata->quorum.state.epoch, now_ms(metadata), arena, error);
    if (err != ERR_OK) {
        commit_free(commit);
        return err;
    }
    commit_submit(metadata, commit);
    return ERR_OK;
}

/* --- publishing --- */

static void answer(struct metadata_call *call);

static void answer_applied(struct metadata *metadata)
{
    while (!list_is_empty(&metadata->calls)) {
        struct metadata_call *call = LIST_ENTRY(metadata->calls.next, struct metadata_call, link);
        if (call->end_offset > metadata->published->end_offset)
            break;
        list_remove(&call->link);
        answer(call);
    }
}

static void publish_next(struct metadata *metadata);

static void on_applied(struct shard *shard, struct shard_msg *msg)
{
    struct metadata *metadata = &shard->node->metadata;
    (void)msg;
    ASSERT(metadata->publish_pending > 0);
    if (--metadata->publish_pending > 0)
        return;
    answer_applied(metadata);
    bool is_first = !metadata->is_started && list_is_empty(&metadata->commits) && !metadata->next;
    if (is_first) {
        metadata->is_started = true;
        io_timer_start(shard->io, &metadata->tick, io_now_ns(shard->io) + TICK_MS * MS);
        node_on_first_image(metadata->node);
    }
    publish_next(metadata);
}

/* On each shard. Shard 0 keeps the image until all have answered. A shard that has closed its
 * partitions would take every one that the image speaks of for new, and make it once more. */
static void apply_image(struct shard *shard, struct shard_msg *msg)
{
    struct image *before = shard->image;
    shard->image = image_ref(shard->node->metadata.published);
    if (!shard->has_closed) {
        hosting_apply(shard, before, shard->image);
        coordinators_apply(shard, before, shard->image);
    }
    image_unref(before);
    msg->fn = on_applied;
    shard_post(shard, &shard->node->shards[0], msg);
}

static void publish_next(struct metadata *metadata)
{
    if (metadata->publish_pending > 0 || !metadata->next)
        return;
    struct node *node = metadata->node;
    if (metadata->published)
        image_unref(metadata->published);
    metadata->published = metadata->next;
    metadata->next = NULL;
    metadata->publish_pending = node->shard_count;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        metadata->publish_msgs[i].fn = apply_image;
        shard_post(metadata->shard, &node->shards[i], &metadata->publish_msgs[i]);
    }
}

static void on_committed(struct log_append *op)
{
    struct commit *commit = CONTAINER_OF(op, struct commit, op);
    struct metadata *metadata = commit->metadata;
    list_remove(&commit->link);
    if (op->err != ERR_OK) {
        if (!metadata->is_failed)
            on_log_failure(&metadata->owner, op->err, "the metadata log refuses an append");
        commit_free(commit);
        return;
    }
    if (metadata->next)
        image_unref(metadata->next);
    metadata->next = commit->head;
    commit->head = NULL;
    int64_t end_offset = op->last_offset + 1;
    commit_free(commit);
    quorum_event(metadata, (struct quorum_event){.kind = QUORUM_EVENT_DURABLE,
                                                 .durable_end_offset = end_offset});
    /* The first image waits for all that the start appends. */
    if (metadata->is_started || list_is_empty(&metadata->commits))
        publish_next(metadata);
}

/* --- consensus --- */

static void append_leader_change(struct metadata *metadata)
{
    struct arena arena;
    struct quorum_control controls[3]; /* what quorum_leader_records gives at most */
    size_t count = 0;
    struct commit *commit = commit_create(metadata);
    struct batch_options options = batch_options();
    struct batch_builder builder;
    options.is_control = true;
    arena_init(&arena, ARENA_NO_LIMIT);
    batch_builder_init(&builder, &commit->bytes, &options);
    enum err err = quorum_leader_records(&metadata->quorum, &arena, controls, &count);
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        err = batch_builder_append_control(&builder, now_ms(metadata),
                                           (enum control_type)controls[i].type, controls[i].value);
    if (err == ERR_OK)
        err = batch_builder_finish(&builder, NULL);
    batch_builder_deinit(&builder);
    arena_deinit(&arena);
    if (err != ERR_OK) {
        commit_free(commit);
        node_fail(metadata->node, err, "the leader's first batch cannot be made");
        return;
    }
    commit_submit(metadata, commit);
}

static void quorum_event(struct metadata *metadata, struct quorum_event event)
{
    struct quorum_effects effects = {0};
    event.now_ms = now_ms(metadata);
    enum err err = quorum_step(&metadata->quorum, &event, &effects);
    if (err == ERR_OK && effects.persist) {
        err = storage_save_quorum_state(&metadata->node->storage, metadata->shard->io,
                                        &effects.state);
        if (err == ERR_OK)
            manifests_begin_run(&metadata->node->hosting, effects.state.epoch);
        if (err == ERR_OK)
            quorum_event(metadata, (struct quorum_event){.kind = QUORUM_EVENT_PERSISTED});
    }
    if (err == ERR_OK && effects.append_leader_change)
        append_leader_change(metadata);
    if (err != ERR_OK) {
        metadata->is_failed = true;
        node_fail(metadata->node, err, "the metadata quorum cannot go on");
    }
}

/* --- the start --- */

static struct controller_call controller_call(struct metadata *metadata, struct arena *arena,
                                              struct meta_records *records)
{
    meta_records_init(records, arena);
    return (struct controller_call){arena, &metadata->rng, now_ms(metadata), records};
}

static struct endpoint_image *endpoints_of(const struct listener_config *listeners, size_t count,
                                           struct arena *arena)
{
    struct endpoint_image *endpoints = arena_array(arena, count + 1, sizeof(*endpoints));
    for (size_t i = 0; endpoints && i < count; i++)
        endpoints[i] = (struct endpoint_image){listeners[i].name, listeners[i].host,
                                               listeners[i].port, listeners[i].security_protocol};
    return endpoints;
}

static struct uuid new_id(struct metadata *metadata)
{
    struct uuid id;
    rng_bytes(&metadata->rng, id.bytes, sizeof(id.bytes));
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    return id;
}

static enum err register_broker(struct metadata *metadata, struct arena *arena,
                                struct meta_error *error)
{
    struct node *node = metadata->node;
    const struct broker_config *config = node->config;
    struct uuid *dirs = arena_array(arena, node->hosting.dir_count, sizeof(*dirs));
    struct broker_registration registration = {
        .id = config->node_id,
        .incarnation_id = new_id(metadata),
        .rack = config->rack,
        .endpoints = endpoints_of(config->advertised, config->advertised_count, arena),
        .endpoint_count = config->advertised_count,
        .log_dirs = dirs,
    };
    if (!dirs || !registration.endpoints)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < node->hosting.dir_count; i++) {
        if (dirs_is_online(&node->hosting, i))
            dirs[registration.log_dir_count++] = node->hosting.dirs[i].id;
    }
    struct meta_records records;
    struct controller_call call = controller_call(metadata, arena, &records);
    TRY(controller_register_broker(&metadata->controller, &call, &registration,
                                   log_next_offset(metadata->log), &metadata->broker_epoch, error));
    TRY(append_records(metadata, &records, arena, error));
    call = controller_call(metadata, arena, &records);
    TRY(controller_unfence_broker(&metadata->controller, &call, config->node_id,
                                  metadata->broker_epoch, error));
    return append_records(metadata, &records, arena, error);
}

static enum err register_controller(struct metadata *metadata, struct arena *arena,
                                    struct meta_error *error)
{
    const struct broker_config *config = metadata->node->config;
    struct endpoint_image endpoint = {config->controller_listener, config->controller_host,
                                      config->controller_port, 0};
    struct controller_registration registration = {
        .id = config->node_id,
        .incarnation_id = new_id(metadata),
        .endpoints = &endpoint,
        .endpoint_count = 1,
    };
    struct meta_records records;
    struct controller_call call = controller_call(metadata, arena, &records);
    TRY(controller_register_controller(&metadata->controller, &call, &registration, error));
    return append_records(metadata, &records, arena, error);
}

static enum err activate(struct metadata *metadata, struct arena *arena, struct meta_error *error)
{
    const struct meta_records *bootstrap = &metadata->node->storage.bootstrap;
    struct meta_records records;
    struct controller_call call = controller_call(metadata, arena, &records);
    TRY(controller_activate(&metadata->controller, &call, bootstrap->items, bootstrap->count,
                            error));
    return records.count ? append_records(metadata, &records, arena, error) : ERR_OK;
}

void metadata_start(struct metadata *metadata)
{
    struct arena arena;
    struct meta_error error = {ERR_OK, STR_NULL};
    arena_init(&arena, ARENA_NO_LIMIT);
    quorum_event(metadata, (struct quorum_event){.kind = QUORUM_EVENT_START,
                                                 .log_end_offset = log_next_offset(metadata->log),
                                                 .log_epoch = metadata->start_epoch,
                                                 .state = metadata->node->storage.quorum_state});
    enum err err = metadata->is_failed ? ERR_KAFKA_STORAGE_ERROR : ERR_OK;
    if (err == ERR_OK)
        err = activate(metadata, &arena, &error);
    if (err == ERR_OK)
        err = register_controller(metadata, &arena, &error);
    if (err == ERR_OK)
        err = register_broker(metadata, &arena, &error);
    if (err != ERR_OK) {
        diag_error("metadata", "%.*s", STR_ARG(error.text));
        node_fail(metadata->node, err, "the broker cannot be registered");
    }
    arena_deinit(&arena);
}

/* --- calls --- */

static void on_answered(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    struct metadata_call *call = CONTAINER_OF(msg, struct metadata_call, msg);
    call->done(call);
}

static void answer(struct metadata_call *call)
{
    call->msg.fn = on_answered;
    shard_post(&call->home->node->shards[0], call->home, &call->msg);
}

static void run_call(struct shard *shard, struct shard_msg *msg)
{
    struct metadata_call *call = CONTAINER_OF(msg, struct metadata_call, msg);
    struct metadata *metadata = &shard->node->metadata;
    struct meta_records records;
    if (!metadata->log)
        return; /* the stop is past it, and nobody waits for an answer */
    struct controller_call own = controller_call(metadata, call->arena, &records);
    call->error = (struct meta_error){ERR_OK, STR_NULL};
    call->err = call->ask(&metadata->controller, &own, call, &call->error);
    if (call->err == ERR_OK && records.count > 0)
        call->err = append_records(metadata, &records, call->arena, &call->error);
    if (call->err != ERR_OK || records.count == 0) {
        answer(call);
        return;
    }
    call->end_offset = metadata->controller.head->end_offset;
    list_push_back(&metadata->calls, &call->link);
}

void metadata_submit(struct metadata_call *call)
{
    call->msg.fn = run_call;
    list_init(&call->link);
    shard_post(call->home, &call->home->node->shards[0], &call->msg);
}

/* --- producer ids --- */

static enum err ask_for_block(const struct controller *controller,
                              const struct controller_call *call, struct metadata_call *own,
                              struct meta_error *error)
{
    struct metadata *metadata = own->own;
    return controller_allocate_producer_ids(controller, call, metadata->node->config->node_id,
                                            metadata->broker_epoch, &metadata->producer_id_first,
                                            &metadata->producer_id_count, error);
}

static void on_producer_id(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    struct producer_id_waiter *waiter = CONTAINER_OF(msg, struct producer_id_waiter, msg);
    waiter->done(waiter);
}

static void serve_producer_ids(struct metadata *metadata, enum err err)
{
    while (!list_is_empty(&metadata->producer_id_waiters) &&
           (err != ERR_OK || metadata->producer_id_next < metadata->producer_id_end)) {
        struct list *node = list_pop_front(&metadata->producer_id_waiters);
        struct producer_id_waiter *waiter = LIST_ENTRY(node, struct producer_id_waiter, link);
        waiter->err = err;
        waiter->producer_id = err == ERR_OK ? metadata->producer_id_next++ : -1;
        waiter->msg.fn = on_producer_id;
        shard_post(metadata->shard, waiter->home, &waiter->msg);
    }
}

static void want_producer_ids(struct metadata *metadata);

static void on_block(struct metadata_call *call)
{
    struct metadata *metadata = call->own;
    metadata->producer_id_asked = false;
    if (call->err == ERR_OK) {
        metadata->producer_id_next = metadata->producer_id_first;
        metadata->producer_id_end = metadata->producer_id_first + metadata->producer_id_count;
    }
    serve_producer_ids(metadata, call->err);
    want_producer_ids(metadata);
}

static void want_producer_ids(struct metadata *metadata)
{
    if (metadata->producer_id_asked || list_is_empty(&metadata->producer_id_waiters))
        return;
    metadata->producer_id_asked = true;
    arena_reset(&metadata->producer_id_arena);
    metadata->producer_id_call = (struct metadata_call){.home = metadata->shard,
                                                        .arena = &metadata->producer_id_arena,
                                                        .ask = ask_for_block,
                                                        .done = on_block,
                                                        .own = metadata};
    metadata_submit(&metadata->producer_id_call);
}

static void on_wants_producer_id(struct shard *shard, struct shard_msg *msg)
{
    struct metadata *metadata = &shard->node->metadata;
    struct producer_id_waiter *waiter = CONTAINER_OF(msg, struct producer_id_waiter, msg);
    list_push_back(&metadata->producer_id_waiters, &waiter->link);
    serve_producer_ids(metadata, ERR_OK);
    want_producer_ids(metadata);
}

void metadata_take_producer_id(struct producer_id_waiter *waiter)
{
    waiter->msg.fn = on_wants_producer_id;
    list_init(&waiter->link);
    shard_post(waiter->home, &waiter->home->node->shards[0], &waiter->msg);
}

/* --- snapshots --- */

static enum err write_snapshot(struct metadata *metadata)
{
    struct quorum_description description;
    quorum_describe(&metadata->quorum, now_ms(metadata), &description);
    struct quorum_voter voter = {description.voter.id, description.voter.directory_id,
                                 description.endpoint};
    TRY(snapshot_write(metadata->shard->io, metadata->node->storage.metadata_dir,
                       metadata->published, metadata->quorum.kraft_version, &voter, 1,
                       now_ms(metadata)));
    metadata->bytes_since_snapshot = 0;
    metadata->snapshot_ms = now_ms(metadata);
    TRY(log_delete_records(metadata->log, metadata->published->end_offset));
    TRY(log_begin_segment(metadata->log, now_ms(metadata))); /* so that all before it can go */
    uint32_t removed;
    return log_retain(metadata->log, now_ms(metadata), &removed);
}

/* A start replays what is behind the checkpoint, at a fraction of the speed at which it reads that:
 * it must not become much more than the checkpoint itself. The setting bounds it besides. */
static uint64_t replay_bytes_max(const struct metadata *metadata)
{
    const struct broker_config *config = metadata->node->config;
    uint64_t asked = (uint64_t)config->metadata_log_max_record_bytes_between_snapshots;
    uint64_t bytes =
        metadata->snapshot_bytes > REPLAY_BYTES_MIN ? metadata->snapshot_bytes : REPLAY_BYTES_MIN;
    return bytes < asked ? bytes : asked;
}

static void on_tick(struct io_timer *timer)
{
    struct metadata *metadata = CONTAINER_OF(timer, struct metadata, tick);
    const struct broker_config *config = metadata->node->config;
    struct io *io = metadata->shard->io;
    uint64_t bytes_max = replay_bytes_max(metadata);
    int64_t interval = config->metadata_log_max_snapshot_interval_ms;
    if (metadata->snapshot_ms == 0)
        metadata->snapshot_ms = now_ms(metadata);
    bool is_due = metadata->bytes_since_snapshot >= bytes_max ||
                  (interval > 0 && metadata->bytes_since_snapshot > 0 &&
                   now_ms(metadata) - metadata->snapshot_ms >= interval);
    if (is_due && !metadata->is_failed) {
        enum err err = write_snapshot(metadata);
        if (err != ERR_OK)
            diag_warn("metadata", "the checkpoint cannot be written: %s", err_text(err));
    }
    log_tick(metadata->log, now_ms(metadata), true);
    io_timer_start(io, timer, io_now_ns(io) + TICK_MS * MS);
}

/* --- the end --- */

bool metadata_is_idle(const struct metadata *metadata)
{
    return log_is_idle(metadata->log) && list_is_empty(&metadata->commits) &&
           metadata->publish_pending == 0;
}

static void release(struct metadata *metadata)
{
    io_timer_stop(metadata->shard->io, &metadata->tick);
    LIST_FOREACH_SAFE (node, &metadata->commits) {
        list_remove(node);
        commit_free(LIST_ENTRY(node, struct commit, link));
    }
    if (metadata->published)
        image_unref(metadata->published);
    if (metadata->next)
        image_unref(metadata->next);
    for (uint32_t i = 0; i < metadata->node->shard_count; i++)
        image_unref(metadata->node->shards[i].image);
    controller_deinit(&metadata->controller);
    arena_deinit(&metadata->producer_id_arena);
    free(metadata->publish_msgs);
}

enum err metadata_close(struct metadata *metadata)
{
    enum err err = log_close(metadata->log);
    metadata->log = NULL;
    release(metadata);
    return err;
}

void metadata_abandon(struct metadata *metadata)
{
    if (metadata->log)
        log_abandon(metadata->log);
    release(metadata);
}
