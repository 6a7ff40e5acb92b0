/* DeleteRecords (KIP-107): records below an offset are no longer served. */
#include "broker/handlers/parts.h"

#include "repl/partition.h"

#define HIGH_WATERMARK (-1)

struct delete_records_part {
    struct part part;
    int64_t low_watermark;
    struct log_deletion deletion;
};

static bool take(struct request *req, struct part *part, const struct part_topic *topic, int32_t at,
                 enum err *err)
{
    (void)req, (void)part, (void)at;
    if (topic->image && topic_is_internal(topic->name))
        *err = ERR_INVALID_TOPIC;
    return true;
}

/* The offset to delete up to. */
static enum err find_offset(const struct delete_records_part *own, int64_t *offset)
{
    const struct delete_records_request_partition *in = own->part.in;
    const struct partition *partition = own->part.op.partition;
    TRY(part_check(&own->part.op));
    if (!partition->config.log.retain_by_deletion && partition->config.rules.is_compacted)
        return ERR_POLICY_VIOLATION;
    int64_t high_watermark = partition_high_watermark(partition);
    *offset = in->offset == HIGH_WATERMARK ? high_watermark : in->offset;
    return *offset < 0 || *offset > high_watermark ? ERR_OFFSET_OUT_OF_RANGE : ERR_OK;
}

/* Answered when no crash can bring the records back. */
static void on_deleted(struct log_deletion *deletion)
{
    struct delete_records_part *own = CONTAINER_OF(deletion, struct delete_records_part, deletion);
    own->low_watermark = deletion->low_watermark;
    scatter_op_end(&own->part.op, deletion->err);
}

static void run(struct scatter_op *op)
{
    struct delete_records_part *own = (struct delete_records_part *)op;
    enum err err = find_offset(own, &own->deletion.offset);
    if (err != ERR_OK) {
        scatter_op_end(op, err);
        return;
    }
    own->deletion.done = on_deleted;
    log_delete_durably(op->partition->log, &own->deletion);
}

static bool fill(struct request *req, struct part *part)
{
    struct delete_records_part *own = (struct delete_records_part *)part;
    struct delete_records_response_partition *out = part->out;
    (void)req;
    out->error_code = wire_code_of_err(part->op.err);
    out->low_watermark = part->op.err == ERR_OK ? own->low_watermark : -1;
    return true;
}

static const struct parts_api api = {
    PARTS_LAYOUTS(delete_records, name, partitions, partition_index),
    .part_bytes = sizeof(struct delete_records_part),
    .take = take,
    .run = run,
    .fill = fill,
};

void delete_records_begin(struct request *req)
{
    parts_begin(req, &api);
}
