/* DeleteRecords (KIP-107): records below an offset are no longer served. */
#include "broker/handlers/handlers.h"

#include "broker/scatter.h"
#include "repl/partition.h"

#define HIGH_WATERMARK (-1)

struct delete_records_part {
    struct scatter_op op; /* first: scatter.h */
    const struct delete_records_request_partition *in;
    struct delete_records_response_partition *out;
    int64_t low_watermark;
};

struct delete_records_own {
    struct scatter scatter;
    struct delete_records_part *parts;
    size_t count;
};

static enum err delete_below(struct delete_records_part *part)
{
    struct partition *partition = part->op.partition;
    if (!partition)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!partition->log || log_is_offline(partition->log))
        return ERR_KAFKA_STORAGE_ERROR;
    if (!partition->config.log.retain_by_deletion && partition->config.rules.is_compacted)
        return ERR_POLICY_VIOLATION;
    int64_t high_watermark = partition_high_watermark(partition);
    int64_t offset = part->in->offset == HIGH_WATERMARK ? high_watermark : part->in->offset;
    if (offset < 0 || offset > high_watermark)
        return ERR_OFFSET_OUT_OF_RANGE;
    TRY(log_delete_records(partition->log, offset));
    part->low_watermark = log_start_offset(partition->log);
    return ERR_OK;
}

static void delete_part(struct scatter_op *op)
{
    scatter_op_end(op, delete_below((struct delete_records_part *)op));
}

static void delete_records_finish(struct scatter *scatter)
{
    struct delete_records_own *own = scatter->own;
    for (size_t i = 0; i < own->count; i++) {
        struct delete_records_part *part = &own->parts[i];
        part->out->partition_index = part->in->partition_index;
        part->out->error_code = wire_code_of_err(part->op.err);
        part->out->low_watermark = part->op.err == ERR_OK ? part->low_watermark : -1;
    }
    request_reply(scatter->req);
}

static bool begin_topic(struct request *req, struct delete_records_own *own,
                        const struct delete_records_request_topic *in,
                        struct delete_records_response_topic *out)
{
    enum err err;
    const struct topic_image *topic = request_topic(req, in->name, UUID_ZERO, &err);
    if (topic && topic_is_internal(topic->name))
        err = ERR_INVALID_TOPIC;
    out->name = in->name;
    out->partitions =
        MSG_ARRAY(delete_records_response_partition, &req->arena, (size_t)in->partitions_len);
    if (!out->partitions)
        return false;
    out->partitions_len = in->partitions_len;
    for (int32_t i = 0; i < in->partitions_len; i++) {
        struct delete_records_part *part = &own->parts[own->count++];
        part->in = &in->partitions[i];
        part->out = &out->partitions[i];
        scatter_op_aim(&part->op, topic, err, part->in->partition_index);
    }
    return true;
}

void delete_records_begin(struct request *req)
{
    const struct delete_records_request *body = req->body;
    struct delete_records_response *response = req->response;
    size_t count = 0;
    for (int32_t t = 0; t < body->topics_len; t++)
        count += (size_t)body->topics[t].partitions_len;
    struct delete_records_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->parts = request_array(req, count, sizeof(*own->parts));
    response->topics =
        MSG_ARRAY(delete_records_response_topic, &req->arena, (size_t)body->topics_len);
    bool is_ok = own && own->parts && response->topics;
    for (int32_t t = 0; is_ok && t < body->topics_len; t++)
        is_ok = begin_topic(req, own, &body->topics[t], &response->topics[response->topics_len++]);
    if (is_ok) {
        own->scatter.own = own;
        is_ok = scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts),
                              delete_part, delete_records_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
