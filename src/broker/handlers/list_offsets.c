/* ListOffsets: the first, the last, the newest, or the first at a time (KIP-79, 734, 405, 1005). */
#include "broker/handlers/handlers.h"

#include "broker/scatter.h"
#include "repl/partition.h"

enum {
    TIME_LATEST = -1,
    TIME_EARLIEST = -2,
    TIME_MAX = -3,
    TIME_EARLIEST_LOCAL = -4,
    TIME_LATEST_TIERED = -5,
    TIME_EARLIEST_PENDING_UPLOAD = -6,
};

struct list_offsets_part {
    struct scatter_op op; /* first: scatter.h */
    const struct list_offsets_request_partition *in;
    struct list_offsets_response_partition *out;
    struct log_position found;
};

struct list_offsets_own {
    struct scatter scatter;
    struct list_offsets_part *parts;
    size_t count;
};

/* The version that first has a special time; above it all are known. */
static int16_t version_of_time(int64_t timestamp)
{
    switch (timestamp) {
    case TIME_MAX:
        return 7;
    case TIME_EARLIEST_LOCAL:
        return 8;
    case TIME_LATEST_TIERED:
        return 9;
    case TIME_EARLIEST_PENDING_UPLOAD:
        return 11;
    default:
        return timestamp < TIME_EARLIEST_PENDING_UPLOAD ? INT16_MAX : 0;
    }
}

static enum err find(struct list_offsets_part *part, struct shard *shard)
{
    struct log *log = part->op.partition->log;
    const struct epochs *epochs = log_epochs(log);
    int64_t high_watermark = partition_high_watermark(part->op.partition);
    int64_t start = log_start_offset(log);
    switch (part->in->timestamp) {
    case TIME_LATEST:
        part->found =
            (struct log_position){high_watermark, -1, epochs_of_offset(epochs, high_watermark)};
        return ERR_OK;
    case TIME_EARLIEST:
    case TIME_EARLIEST_LOCAL:
        part->found = (struct log_position){start, -1, epochs_of_offset(epochs, start)};
        return ERR_OK;
    case TIME_LATEST_TIERED:
    case TIME_EARLIEST_PENDING_UPLOAD:
        part->found = (struct log_position){-1, -1, -1}; /* nothing is in remote storage */
        return ERR_OK;
    case TIME_MAX:
        return log_find_max_timestamp(log, &shard->compressors, &part->found);
    default:
        return log_find_timestamp(log, &shard->compressors, part->in->timestamp, high_watermark,
                                  &part->found);
    }
}

static void find_part(struct scatter_op *op)
{
    struct list_offsets_part *part = (struct list_offsets_part *)op;
    enum err err = ERR_OK;
    if (!op->partition)
        err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    else if (!op->partition->log || log_is_offline(op->partition->log))
        err = ERR_KAFKA_STORAGE_ERROR;
    if (err == ERR_OK)
        err = partition_check_epoch(op->partition, part->in->current_leader_epoch);
    if (err == ERR_OK)
        err = find(part, op->owner);
    scatter_op_end(op, err);
}

static void list_offsets_finish(struct scatter *scatter)
{
    struct list_offsets_own *own = scatter->own;
    for (size_t i = 0; i < own->count; i++) {
        struct list_offsets_part *part = &own->parts[i];
        part->out->partition_index = part->in->partition_index;
        part->out->error_code = wire_code_of_err(part->op.err);
        part->out->offset = -1;
        part->out->timestamp = -1;
        part->out->leader_epoch = -1;
        if (part->op.err != ERR_OK)
            continue;
        part->out->offset = part->found.offset;
        part->out->timestamp = part->found.timestamp;
        if (scatter->req->header.api_version >= 4)
            part->out->leader_epoch = part->found.leader_epoch;
    }
    request_reply(scatter->req);
}

static bool is_named_before(const struct list_offsets_request_topic *topic, int32_t at)
{
    for (int32_t i = 0; i < at; i++) {
        if (topic->partitions[i].partition_index == topic->partitions[at].partition_index)
            return true;
    }
    return false;
}

static bool is_named_twice(const struct list_offsets_request_topic *topic, int32_t at)
{
    for (int32_t i = 0; i < topic->partitions_len; i++) {
        if (i != at &&
            topic->partitions[i].partition_index == topic->partitions[at].partition_index)
            return true;
    }
    return false;
}

static enum err check(const struct request *req, const struct list_offsets_request_topic *in,
                      int32_t at)
{
    if (is_named_twice(in, at))
        return ERR_INVALID_REQUEST;
    if (version_of_time(in->partitions[at].timestamp) > req->header.api_version)
        return ERR_UNSUPPORTED_VERSION;
    return ERR_OK;
}

static bool begin_topic(struct request *req, struct list_offsets_own *own,
                        const struct list_offsets_request_topic *in,
                        struct list_offsets_response_topic *out)
{
    enum err err;
    const struct topic_image *topic = request_topic(req, in->name, UUID_ZERO, &err);
    out->name = in->name;
    out->partitions =
        MSG_ARRAY(list_offsets_response_partition, &req->arena, (size_t)in->partitions_len);
    if (!out->partitions)
        return false;
    for (int32_t i = 0; i < in->partitions_len; i++) {
        if (is_named_before(in, i))
            continue;
        struct list_offsets_part *part = &own->parts[own->count++];
        part->in = &in->partitions[i];
        part->out = &out->partitions[out->partitions_len++];
        enum err refusal = check(req, in, i);
        scatter_op_aim(&part->op, topic, refusal != ERR_OK ? refusal : err,
                       part->in->partition_index);
    }
    return true;
}

void list_offsets_begin(struct request *req)
{
    const struct list_offsets_request *body = req->body;
    struct list_offsets_response *response = req->response;
    size_t count = 0;
    for (int32_t t = 0; t < body->topics_len; t++)
        count += (size_t)body->topics[t].partitions_len;
    struct list_offsets_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->parts = request_array(req, count, sizeof(*own->parts));
    response->topics =
        MSG_ARRAY(list_offsets_response_topic, &req->arena, (size_t)body->topics_len);
    bool is_ok = own && own->parts && response->topics;
    for (int32_t t = 0; is_ok && t < body->topics_len; t++)
        is_ok = begin_topic(req, own, &body->topics[t], &response->topics[response->topics_len++]);
    if (is_ok) {
        own->scatter.own = own;
        is_ok = scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts),
                              find_part, list_offsets_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
