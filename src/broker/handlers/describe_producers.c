/* DescribeProducers (KIP-664): the idempotent producers that a partition knows. */
#include "broker/handlers/handlers.h"

#include "broker/scatter.h"
#include "meta/controller.h"
#include "repl/partition.h"

struct producers_part {
    struct scatter_op op; /* first: scatter.h */
    struct describe_producers_response_partition *out;
    struct str message;
    struct arena arena; /* the owner fills it: the request's belongs to its own shard */
    struct producer *producers;
    size_t count;
};

struct producers_own {
    struct scatter scatter;
    struct producers_part *parts;
    size_t count;
};

static enum err copy_producers(struct producers_part *part)
{
    const struct partition *partition = part->op.partition;
    if (!partition)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!partition->log || log_is_offline(partition->log))
        return ERR_KAFKA_STORAGE_ERROR;
    const struct producers *producers = log_producers(partition->log);
    size_t count = producers->map.count;
    const struct producer **list = arena_array(&part->arena, count, sizeof(*list));
    part->producers = arena_array(&part->arena, count, sizeof(*part->producers));
    if (!list || !part->producers)
        return ERR_UNKNOWN_SERVER_ERROR;
    producers_list(producers, list);
    for (; part->count < count; part->count++)
        part->producers[part->count] = *list[part->count];
    return ERR_OK;
}

static void copy_part(struct scatter_op *op)
{
    scatter_op_end(op, copy_producers((struct producers_part *)op));
}

static bool fill_part(struct request *req, const struct producers_part *part)
{
    struct describe_producers_response_partition *out = part->out;
    out->partition_index = part->op.index;
    out->error_code = wire_code_of_err(part->op.err);
    out->error_message = part->message;
    if (part->op.err != ERR_OK)
        return true;
    out->active_producers =
        MSG_ARRAY(describe_producers_response_active_producer, &req->arena, part->count);
    if (!out->active_producers)
        return false;
    out->active_producers_len = (int32_t)part->count;
    for (size_t i = 0; i < part->count; i++) {
        const struct producer *producer = &part->producers[i];
        struct describe_producers_response_active_producer *to = &out->active_producers[i];
        to->producer_id = producer->id;
        to->producer_epoch = producer->epoch;
        to->last_sequence =
            producer->batch_count ? producer->batches[producer->batch_count - 1].last_sequence : -1;
        to->last_timestamp = producer->last_timestamp;
        to->coordinator_epoch = producer->coordinator_epoch;
        to->current_txn_start_offset = producer->txn_first_offset;
    }
    return true;
}

static void describe_producers_finish(struct scatter *scatter)
{
    struct producers_own *own = scatter->own;
    struct request *req = scatter->req;
    bool is_ok = true;
    for (size_t i = 0; i < own->count; i++) {
        is_ok = is_ok && fill_part(req, &own->parts[i]);
        arena_deinit(&own->parts[i].arena);
    }
    if (is_ok)
        request_reply(req);
    else
        request_over_limit(req);
}

static bool begin_topic(struct request *req, struct producers_own *own,
                        const struct describe_producers_request_topic *in,
                        struct describe_producers_response_topic *out)
{
    enum err err;
    const struct topic_image *topic = request_topic(req, in->name, UUID_ZERO, &err);
    struct str message = topic ? STR_NULL : STR("This server does not host this topic-partition.");
    struct meta_error error;
    if (!topic && topic_name_check(in->name, &req->arena, &error) != ERR_OK) {
        err = error.err;
        message = error.text;
    }
    out->name = in->name;
    out->partitions = MSG_ARRAY(describe_producers_response_partition, &req->arena,
                                (size_t)in->partition_indexes_len);
    if (!out->partitions)
        return false;
    out->partitions_len = in->partition_indexes_len;
    for (int32_t i = 0; i < in->partition_indexes_len; i++) {
        struct producers_part *part = &own->parts[own->count++];
        arena_init(&part->arena, REQUEST_ARENA_BYTES_MAX);
        part->out = &out->partitions[i];
        scatter_op_aim(&part->op, topic, err, in->partition_indexes[i]);
        if (part->op.err != ERR_OK)
            part->message = message;
    }
    return true;
}

void describe_producers_begin(struct request *req)
{
    const struct describe_producers_request *body = req->body;
    struct describe_producers_response *response = req->response;
    size_t count = 0;
    for (int32_t t = 0; t < body->topics_len; t++)
        count += (size_t)body->topics[t].partition_indexes_len;
    struct producers_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->parts = request_array(req, count, sizeof(*own->parts));
    response->topics =
        MSG_ARRAY(describe_producers_response_topic, &req->arena, (size_t)body->topics_len);
    bool is_ok = own && own->parts && response->topics;
    for (int32_t t = 0; is_ok && t < body->topics_len; t++)
        is_ok = begin_topic(req, own, &body->topics[t], &response->topics[response->topics_len++]);
    if (is_ok) {
        own->scatter.own = own;
        is_ok = scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts),
                              copy_part, describe_producers_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
