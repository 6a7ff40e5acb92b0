/* DescribeProducers (KIP-664): the idempotent producers that a partition knows. */
#include "broker/handlers/parts.h"

#include "meta/controller.h"
#include "repl/partition.h"

struct producers_part {
    struct part part;
    struct str message;
    struct arena arena; /* the owner fills it: the request's belongs to its own shard */
    struct producer *producers;
    size_t count;
};

static enum err copy_producers(struct producers_part *part)
{
    TRY(part_check(&part->part.op));
    const struct producers *producers = log_producers(part->part.op.partition->log);
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

static void run(struct scatter_op *op)
{
    scatter_op_end(op, copy_producers((struct producers_part *)op));
}

static bool fill_answer(struct request *req, const struct producers_part *part)
{
    struct describe_producers_response_partition *out = part->part.out;
    out->error_code = wire_code_of_err(part->part.op.err);
    out->error_message = part->message;
    if (part->part.op.err != ERR_OK)
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

static bool fill(struct request *req, struct part *part)
{
    struct producers_part *own = (struct producers_part *)part;
    bool is_ok = fill_answer(req, own);
    arena_deinit(&own->arena);
    return is_ok;
}

static bool take(struct request *req, struct part *part, const struct part_topic *topic, int32_t at,
                 enum err *err)
{
    struct producers_part *own = (struct producers_part *)part;
    struct meta_error error;
    (void)at;
    arena_init(&own->arena, REQUEST_ARENA_BYTES_MAX);
    if (topic->image)
        return true;
    own->message = STR("This server does not host this topic-partition.");
    if (topic_name_check(topic->name, &req->arena, &error) != ERR_OK) {
        *err = error.err;
        own->message = error.text;
    }
    return true;
}

static const struct parts_api api = {
    PARTS_LAYOUTS(describe_producers, name, partition_indexes, partition_index),
    .part_bytes = sizeof(struct producers_part),
    .take = take,
    .run = run,
    .fill = fill,
};

void describe_producers_begin(struct request *req)
{
    parts_begin(req, &api);
}
