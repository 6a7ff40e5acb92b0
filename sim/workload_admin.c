/* The administrator creates the topic, then keeps asking what must stay true of it: its id and
 * partitions (Metadata), that offsets begin at 0 and never end below an acknowledged one
 * (ListOffsets), that no producer id is given out twice (InitProducerId). It moves partitions from
 * one log folder to another, which nobody else may notice (AlterReplicaLogDirs). The hostile client
 * sends garbage and well-formed nonsense; nothing may come of it but an error or a closed
 * connection. */
#include <stdio.h>

#include "base/assert.h"
#include "sim/workload.h"
#include "wire/errors.h"
#include "wire/messages.h"

#define RETRY_NS UINT64_C(200000000)
#define TOPIC    STR("events")

enum {
    API_LIST_OFFSETS = 2,
    API_METADATA = 3,
    API_CREATE_TOPICS = 19,
    API_INIT_PRODUCER_ID = 22,
    API_ALTER_REPLICA_LOG_DIRS = 34,
};

static void admin_again(struct workload_admin *admin)
{
    admin->req_waits = false;
    io_timer_start(admin->w->io, &admin->timer,
                   io_now_ns(admin->w->io) + RETRY_NS + rng_below(&admin->w->rng, RETRY_NS));
}

static void send(struct workload_admin *admin, int16_t api_key, int16_t version, const void *msg,
                 kreq_done *done)
{
    admin->req_waits = kconn_send(&admin->conn, &admin->req, api_key, version, msg, done);
    if (!admin->req_waits)
        admin_again(admin);
    arena_reset(&admin->w->arena);
}

/* --- the topic --- */

static void on_created(struct kreq *req, const void *response)
{
    struct workload_admin *admin = CONTAINER_OF(req, struct workload_admin, req);
    const struct create_topics_response *created = response;
    struct world *world = admin->w->world;
    if (created) {
        if (created->topics_len != 1)
            model_fail(world, "CreateTopics answers for %d topics", created->topics_len);
        enum err err = wire_err_of_code(created->topics[0].error_code);
        if (err == ERR_OK || err == ERR_TOPIC_ALREADY_EXISTS)
            admin->is_created = true;
        else if (!wire_code_is_retriable(created->topics[0].error_code))
            model_fail(world, "CreateTopics answers %s: %.*s",
                       wire_code_name(created->topics[0].error_code),
                       STR_ARG(created->topics[0].error_message));
    }
    admin_again(admin);
}

static void send_create(struct workload_admin *admin)
{
    struct workload *w = admin->w;
    char numbers[3][16];
    struct create_topics_request msg;
    codec_init(&create_topics_request_schema, &msg);
    msg.timeout_ms = 5000;
    msg.topics_len = 1;
    msg.topics = MSG_ARRAY(create_topics_request_topic, &w->arena, 1);
    msg.topics[0].name = TOPIC;
    msg.topics[0].num_partitions = (int32_t)w->options.partitions;
    msg.topics[0].replication_factor = 1;
    msg.topics[0].configs_len = w->options.flush_each ? 3 : 2;
    msg.topics[0].configs = MSG_ARRAY(create_topics_request_config, &w->arena, 3);
    struct create_topics_request_config *configs = msg.topics[0].configs;
    configs[0].name = STR("segment.ms");
    snprintf(numbers[0], sizeof(numbers[0]), "%d", w->options.segment_ms);
    configs[0].value = str_of(numbers[0]);
    configs[1].name = STR("index.interval.bytes");
    snprintf(numbers[1], sizeof(numbers[1]), "%d", w->options.index_interval_bytes);
    configs[1].value = str_of(numbers[1]);
    configs[2].name = STR("flush.messages");
    configs[2].value = STR("1");
    send(admin, API_CREATE_TOPICS, 7, &msg, on_created);
}

static void on_metadata(struct kreq *req, const void *response)
{
    struct workload_admin *admin = CONTAINER_OF(req, struct workload_admin, req);
    struct workload *w = admin->w;
    const struct metadata_response *metadata = response;
    admin_again(admin);
    if (!metadata)
        return;
    if (metadata->topics_len != 1)
        model_fail(w->world, "Metadata answers for %d topics", metadata->topics_len);
    const struct metadata_response_topic *topic = &metadata->topics[0];
    if (wire_code_is_retriable(topic->error_code))
        return;
    if (topic->error_code != 0 || (uint32_t)topic->partitions_len != w->options.partitions)
        model_fail(w->world, "Metadata answers %s with %d partitions",
                   wire_code_name(topic->error_code), topic->partitions_len);
    if (w->is_ready && !uuid_eq(topic->topic_id, w->topic_id))
        model_fail(w->world, "the topic has another id than before");
    w->topic_id = topic->topic_id;
    w->is_ready = true;
}

static void send_metadata(struct workload_admin *admin)
{
    struct metadata_request msg;
    codec_init(&metadata_request_schema, &msg);
    msg.allow_auto_topic_creation = false;
    msg.topics_len = 1;
    msg.topics = MSG_ARRAY(metadata_request_topic, &admin->w->arena, 1);
    msg.topics[0].name = TOPIC;
    send(admin, API_METADATA, 12, &msg, on_metadata);
}

/* --- what must stay true --- */

static void on_offsets(struct kreq *req, const void *response)
{
    struct workload_admin *admin = CONTAINER_OF(req, struct workload_admin, req);
    struct world *world = admin->w->world;
    const struct list_offsets_response *offsets = response;
    admin_again(admin);
    for (int32_t t = 0; offsets && t < offsets->topics_len; t++) {
        for (int32_t i = 0; i < offsets->topics[t].partitions_len; i++) {
            const struct list_offsets_response_partition *part = &offsets->topics[t].partitions[i];
            if (wire_code_is_retriable(part->error_code))
                continue;
            if (part->error_code != 0 || part->partition_index < 0 ||
                (uint32_t)part->partition_index >= admin->w->options.partitions)
                model_fail(world, "ListOffsets answers %s for partition %d",
                           wire_code_name(part->error_code), part->partition_index);
            int64_t acked_end = admin->acked_end[part->partition_index];
            if (admin->asks_latest ? part->offset < acked_end : part->offset != 0)
                model_fail(world, "partition %d: the %s offset is %lld, after %lld acknowledged",
                           part->partition_index, admin->asks_latest ? "latest" : "earliest",
                           (long long)part->offset, (long long)acked_end);
        }
    }
}

static void send_offsets(struct workload_admin *admin)
{
    struct workload *w = admin->w;
    struct list_offsets_request msg;
    codec_init(&list_offsets_request_schema, &msg);
    admin->asks_latest = rng_chance(&w->rng, 3, 4);
    msg.replica_id = -1;
    msg.topics_len = 1;
    msg.topics = MSG_ARRAY(list_offsets_request_topic, &w->arena, 1);
    msg.topics[0].name = TOPIC;
    msg.topics[0].partitions_len = (int32_t)w->options.partitions;
    msg.topics[0].partitions =
        MSG_ARRAY(list_offsets_request_partition, &w->arena, w->options.partitions);
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        msg.topics[0].partitions[p].partition_index = (int32_t)p;
        msg.topics[0].partitions[p].timestamp = admin->asks_latest ? -1 : -2;
        admin->acked_end[p] = w->model.partitions[p].acked_end;
    }
    send(admin, API_LIST_OFFSETS, 7, &msg, on_offsets);
}

static void on_id(struct kreq *req, const void *response)
{
    struct workload_admin *admin = CONTAINER_OF(req, struct workload_admin, req);
    const struct init_producer_id_response *id = response;
    if (id && id->error_code == 0)
        workload_learn_id(admin->w, id->producer_id);
    admin_again(admin);
}

static void send_id(struct workload_admin *admin)
{
    struct init_producer_id_request msg;
    codec_init(&init_producer_id_request_schema, &msg);
    msg.transactional_id = STR_NULL;
    msg.transaction_timeout_ms = 60000;
    msg.producer_id = -1;
    msg.producer_epoch = -1;
    send(admin, API_INIT_PRODUCER_ID, 4, &msg, on_id);
}

/* --- from one log folder to the other --- */

static void on_moved(struct kreq *req, const void *response)
{
    struct workload_admin *admin = CONTAINER_OF(req, struct workload_admin, req);
    const struct alter_replica_log_dirs_response *moved = response;
    admin_again(admin);
    if (!moved)
        return;
    if (moved->results_len != 1 || moved->results[0].partitions_len != 1)
        model_fail(admin->w->world, "AlterReplicaLogDirs answers for %d topics",
                   moved->results_len);
    int16_t code = moved->results[0].partitions[0].error_code;
    /* There may be no second folder. */
    if (code != 0 && !wire_code_is_retriable(code) &&
        wire_err_of_code(code) != ERR_LOG_DIR_NOT_FOUND)
        model_fail(admin->w->world, "AlterReplicaLogDirs answers %s", wire_code_name(code));
}

static void send_move(struct workload_admin *admin)
{
    struct workload *w = admin->w;
    struct alter_replica_log_dirs_request msg;
    codec_init(&alter_replica_log_dirs_request_schema, &msg);
    msg.dirs_len = 1;
    msg.dirs = MSG_ARRAY(alter_replica_log_dirs_request_dir, &w->arena, 1);
    msg.dirs[0].path = rng_chance(&w->rng, 1, 2) ? STR("/data") : STR(WORLD_SECOND_DISK);
    msg.dirs[0].topics_len = 1;
    msg.dirs[0].topics = MSG_ARRAY(alter_replica_log_dirs_request_topic, &w->arena, 1);
    msg.dirs[0].topics[0].name = TOPIC;
    msg.dirs[0].topics[0].partitions_len = 1;
    msg.dirs[0].topics[0].partitions = arena_array(&w->arena, 1, sizeof(int32_t));
    ASSERT(msg.dirs[0].topics[0].partitions);
    msg.dirs[0].topics[0].partitions[0] = (int32_t)rng_below(&w->rng, w->options.partitions);
    send(admin, API_ALTER_REPLICA_LOG_DIRS, 2, &msg, on_moved);
}

static void on_admin_timer(struct io_timer *timer)
{
    struct workload_admin *admin = CONTAINER_OF(timer, struct workload_admin, timer);
    if (admin->req_waits)
        return;
    if (!admin->is_created) {
        send_create(admin);
        return;
    }
    uint64_t what = admin->w->is_ready ? rng_below(&admin->w->rng, 4) : 0;
    if (what == 0)
        send_metadata(admin);
    else if (what == 1)
        send_offsets(admin);
    else if (what == 2)
        send_id(admin);
    else
        send_move(admin);
}

void admin_start(struct workload_admin *admin, struct workload *w)
{
    *admin = (struct workload_admin){.w = w};
    kconn_init(&admin->conn, w->world, w->io, w->host, w->port);
    io_timer_init(&admin->timer, on_admin_timer);
    io_timer_start(w->io, &admin->timer, io_now_ns(w->io));
}

/* --- the hostile client --- */

static void hostile_again(struct workload_hostile *hostile)
{
    hostile->req_waits = false;
    struct workload *w = hostile->w;
    if (!w->is_stopping)
        io_timer_start(w->io, &hostile->timer,
                       io_now_ns(w->io) + 1000000 + rng_below(&w->rng, 500000000));
}

static void on_hostile_answer(struct kreq *req, const void *response)
{
    (void)response;
    hostile_again(CONTAINER_OF(req, struct workload_hostile, req));
}

static void send_garbage(struct workload_hostile *hostile)
{
    struct rng *rng = &hostile->w->rng;
    uint8_t bytes[200];
    size_t len = 1 + (size_t)rng_below(rng, sizeof(bytes));
    rng_bytes(rng, bytes, len);
    if (len >= 12 && rng_chance(rng, 3, 4)) {
        /* A plausible start, so that more than the frame's size is looked at. */
        be32_store(bytes, (uint32_t)rng_below(rng, 300));
        be16_store(bytes + 4, (uint16_t)rng_below(rng, 80));
        be16_store(bytes + 6, (uint16_t)rng_below(rng, 14));
    }
    kconn_send_raw(&hostile->conn, slice_of(bytes, len));
    kconn_close(&hostile->conn);
}

/* Requests that could do harm by luck are left out. */
static bool is_harmless(const struct api_info *api)
{
    switch (api->key) {
    case 20: /* DeleteTopics */
    case 21: /* DeleteRecords */
    case 33: /* AlterConfigs */
    case 44: /* IncrementalAlterConfigs */
    case 52: /* Vote and the rest of the quorum's */
    case 53:
    case 54:
        return false;
    default:
        return api->broker;
    }
}

static void send_nonsense(struct workload_hostile *hostile)
{
    struct workload *w = hostile->w;
    const struct api_info *api = &api_table[rng_below(&w->rng, (uint64_t)api_table_len)];
    int16_t version =
        (int16_t)rng_range(&w->rng, api->request->version_min, api->request->version_max);
    void *msg = arena_zalloc(&w->arena, api->request->root->size);
    ASSERT(msg);
    if (is_harmless(api) && codec_random(api->request, version, &w->rng, &w->arena, msg) == ERR_OK)
        hostile->req_waits =
            kconn_send(&hostile->conn, &hostile->req, api->key, version, msg, on_hostile_answer);
    arena_reset(&w->arena);
}

static void on_hostile_timer(struct io_timer *timer)
{
    struct workload_hostile *hostile = CONTAINER_OF(timer, struct workload_hostile, timer);
    if (hostile->req_waits)
        return;
    if (rng_chance(&hostile->w->rng, 1, 2))
        send_garbage(hostile);
    else
        send_nonsense(hostile);
    if (!hostile->req_waits)
        hostile_again(hostile);
}

void hostile_start(struct workload_hostile *hostile, struct workload *w)
{
    *hostile = (struct workload_hostile){.w = w};
    kconn_init(&hostile->conn, w->world, w->io, w->host, w->port);
    hostile->conn.timeout_ns = UINT64_C(2000000000);
    io_timer_init(&hostile->timer, on_hostile_timer);
    hostile_again(hostile);
}
