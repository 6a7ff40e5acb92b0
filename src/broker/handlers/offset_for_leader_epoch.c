/* OffsetForLeaderEpoch (KIP-101, KIP-320): where a leader epoch ended. */
#include "broker/handlers/parts.h"

#include "repl/partition.h"

struct epoch_part {
    struct part part;
    int32_t epoch;
    int64_t end_offset;
};

static enum err find_end(struct epoch_part *own)
{
    const struct offset_for_leader_epoch_request_partition *in = own->part.in;
    const struct partition *partition = own->part.op.partition;
    TRY(part_check(&own->part.op));
    TRY(partition_check_epoch(partition, in->current_leader_epoch));
    epochs_end_offset(log_epochs(partition->log), in->leader_epoch,
                      partition_high_watermark(partition), &own->epoch, &own->end_offset);
    return ERR_OK;
}

static void run(struct scatter_op *op)
{
    scatter_op_end(op, find_end((struct epoch_part *)op));
}

static bool fill(struct request *req, struct part *part)
{
    const struct epoch_part *own = (const struct epoch_part *)part;
    struct offset_for_leader_epoch_response_partition *out = part->out;
    bool is_ok = part->op.err == ERR_OK;
    (void)req;
    out->error_code = wire_code_of_err(part->op.err);
    out->leader_epoch = is_ok ? own->epoch : -1;
    out->end_offset = is_ok ? own->end_offset : -1;
    return true;
}

static const struct parts_api api = {
    PARTS_LAYOUTS(offset_for_leader_epoch, topic, partitions, partition),
    .part_bytes = sizeof(struct epoch_part),
    .run = run,
    .fill = fill,
};

void offset_for_leader_epoch_begin(struct request *req)
{
    parts_begin(req, &api);
}
