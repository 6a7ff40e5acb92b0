/* ListOffsets: the first, the last, the newest, or the first at a time (KIP-79, 734, 405, 1005). */
#include "broker/handlers/parts.h"

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
    struct part part;
    bool is_committed; /* only records of transactions that were committed count */
    struct log_position found;
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

static enum err find(struct list_offsets_part *own, struct shard *shard)
{
    const struct list_offsets_request_partition *in = own->part.in;
    struct partition *partition = own->part.op.partition;
    TRY(part_check(&own->part.op));
    TRY(partition_check_epoch(partition, in->current_leader_epoch));
    struct log *log = partition->log;
    const struct epochs *epochs = log_epochs(log);
    int64_t end_offset = own->is_committed ? partition_last_stable_offset(partition)
                                           : partition_high_watermark(partition);
    int64_t start = log_start_offset(log);
    switch (in->timestamp) {
    case TIME_LATEST:
        own->found = (struct log_position){end_offset, -1, epochs_of_offset(epochs, end_offset)};
        return ERR_OK;
    case TIME_EARLIEST:
    case TIME_EARLIEST_LOCAL:
        own->found = (struct log_position){start, -1, epochs_of_offset(epochs, start)};
        return ERR_OK;
    case TIME_LATEST_TIERED:
    case TIME_EARLIEST_PENDING_UPLOAD:
        own->found = (struct log_position){-1, -1, -1}; /* nothing is in remote storage */
        return ERR_OK;
    case TIME_MAX:
        return log_find_max_timestamp(log, &shard->compressors, &own->found);
    default:
        return log_find_timestamp(log, &shard->compressors, in->timestamp, end_offset, &own->found);
    }
}

static void run(struct scatter_op *op)
{
    scatter_op_end(op, find((struct list_offsets_part *)op, op->owner));
}

static bool fill(struct request *req, struct part *part)
{
    const struct list_offsets_part *own = (const struct list_offsets_part *)part;
    struct list_offsets_response_partition *out = part->out;
    out->error_code = wire_code_of_err(part->op.err);
    out->offset = -1;
    out->timestamp = -1;
    out->leader_epoch = -1;
    if (part->op.err != ERR_OK)
        return true;
    out->offset = own->found.offset;
    out->timestamp = own->found.timestamp;
    if (req->header.api_version >= 4)
        out->leader_epoch = own->found.leader_epoch;
    return true;
}

/* A partition that is named more than once is refused, and answered once. */
static bool take(struct request *req, struct part *part, const struct part_topic *topic, int32_t at,
                 enum err *err)
{
    const struct list_offsets_request_topic *in = topic->in;
    const struct list_offsets_request_partition *asked = part->in;
    const struct list_offsets_request *body = req->body;
    ((struct list_offsets_part *)part)->is_committed = body->isolation_level == 1;
    if (version_of_time(asked->timestamp) > req->header.api_version)
        *err = ERR_UNSUPPORTED_VERSION;
    for (int32_t i = 0; i < in->partitions_len; i++) {
        if (i == at || in->partitions[i].partition_index != asked->partition_index)
            continue;
        if (i < at)
            return false;
        *err = ERR_INVALID_REQUEST;
    }
    return true;
}

static const struct parts_api api = {
    PARTS_LAYOUTS(list_offsets, name, partitions, partition_index),
    .part_bytes = sizeof(struct list_offsets_part),
    .take = take,
    .run = run,
    .fill = fill,
};

void list_offsets_begin(struct request *req)
{
    parts_begin(req, &api);
}
