/* OffsetForLeaderEpoch (KIP-101, KIP-320): where a leader epoch ended. */
#include "broker/handlers/handlers.h"

#include "broker/scatter.h"
#include "repl/partition.h"

struct epoch_part {
    struct scatter_op op; /* first: scatter.h */
    const struct offset_for_leader_epoch_request_partition *in;
    struct offset_for_leader_epoch_response_partition *out;
    int32_t epoch;
    int64_t end_offset;
};

struct epoch_own {
    struct scatter scatter;
    struct epoch_part *parts;
    size_t count;
};

static enum err find_end(struct epoch_part *part)
{
    const struct partition *partition = part->op.partition;
    if (!partition)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!partition->log || log_is_offline(partition->log))
        return ERR_KAFKA_STORAGE_ERROR;
    TRY(partition_check_epoch(partition, part->in->current_leader_epoch));
    epochs_end_offset(log_epochs(partition->log), part->in->leader_epoch,
                      partition_high_watermark(partition), &part->epoch, &part->end_offset);
    return ERR_OK;
}

static void find_part(struct scatter_op *op)
{
    scatter_op_end(op, find_end((struct epoch_part *)op));
}

static void offset_for_leader_epoch_finish(struct scatter *scatter)
{
    struct epoch_own *own = scatter->own;
    for (size_t i = 0; i < own->count; i++) {
        struct epoch_part *part = &own->parts[i];
        bool is_ok = part->op.err == ERR_OK;
        part->out->partition = part->in->partition;
        part->out->error_code = wire_code_of_err(part->op.err);
        part->out->leader_epoch = is_ok ? part->epoch : -1;
        part->out->end_offset = is_ok ? part->end_offset : -1;
    }
    request_reply(scatter->req);
}

static bool begin_topic(struct request *req, struct epoch_own *own,
                        const struct offset_for_leader_epoch_request_topic *in,
                        struct offset_for_leader_epoch_response_topic *out)
{
    enum err err;
    const struct topic_image *topic = request_topic(req, in->topic, UUID_ZERO, &err);
    out->topic = in->topic;
    out->partitions = MSG_ARRAY(offset_for_leader_epoch_response_partition, &req->arena,
                                (size_t)in->partitions_len);
    if (!out->partitions)
        return false;
    out->partitions_len = in->partitions_len;
    for (int32_t i = 0; i < in->partitions_len; i++) {
        struct epoch_part *part = &own->parts[own->count++];
        part->in = &in->partitions[i];
        part->out = &out->partitions[i];
        scatter_op_aim(&part->op, topic, err, part->in->partition);
    }
    return true;
}

void offset_for_leader_epoch_begin(struct request *req)
{
    const struct offset_for_leader_epoch_request *body = req->body;
    struct offset_for_leader_epoch_response *response = req->response;
    size_t count = 0;
    for (int32_t t = 0; t < body->topics_len; t++)
        count += (size_t)body->topics[t].partitions_len;
    struct epoch_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->parts = request_array(req, count, sizeof(*own->parts));
    response->topics =
        MSG_ARRAY(offset_for_leader_epoch_response_topic, &req->arena, (size_t)body->topics_len);
    bool is_ok = own && own->parts && response->topics;
    for (int32_t t = 0; is_ok && t < body->topics_len; t++)
        is_ok = begin_topic(req, own, &body->topics[t], &response->topics[response->topics_len++]);
    if (is_ok) {
        own->scatter.own = own;
        is_ok = scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts),
                              find_part, offset_for_leader_epoch_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
