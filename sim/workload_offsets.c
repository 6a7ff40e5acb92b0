/* What members of a group commit and fetch, of either protocol: an offset that was acknowledged is
 * there, and never goes back. */
#include "base/assert.h"
#include "sim/workload.h"
#include "wire/errors.h"
#include "wire/messages.h"

struct offset_commit_request_partition *
offsets_fill_commit(struct workload *w, struct offset_commit_request *msg, uint32_t partition)
{
    msg->topics = MSG_ARRAY(offset_commit_request_topic, &w->arena, 1);
    msg->topics_len = 1;
    msg->topics[0].name = STR("events");
    msg->topics[0].partitions = MSG_ARRAY(offset_commit_request_partition, &w->arena, 1);
    msg->topics[0].partitions_len = 1;
    msg->topics[0].partitions[0].partition_index = (int32_t)partition;
    msg->topics[0].partitions[0].committed_metadata = STR("");
    return &msg->topics[0].partitions[0];
}

void offsets_acked(struct workload *w, struct workload_offsets *offsets, uint32_t partition,
                   int64_t offset)
{
    if (offsets->acked[partition] < offset)
        offsets->acked[partition] = offset;
    w->acked_commits++;
}

void offsets_fill_fetch(struct workload *w, const struct workload_offsets *offsets,
                        struct offset_fetch_request *msg, int64_t *acked_when_asked)
{
    msg->topics = MSG_ARRAY(offset_fetch_request_topic, &w->arena, 1);
    msg->topics_len = 1;
    msg->topics[0].name = STR("events");
    msg->topics[0].partition_indexes = arena_array(&w->arena, w->options.partitions, 4);
    msg->topics[0].partition_indexes_len = (int32_t)w->options.partitions;
    ASSERT(msg->topics[0].partition_indexes);
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        msg->topics[0].partition_indexes[p] = (int32_t)p;
        acked_when_asked[p] = offsets->acked[p];
    }
}

void offsets_check(struct workload *w, const struct workload_offsets *offsets,
                   const struct offset_fetch_response *fetched, const int64_t *acked_when_asked)
{
    for (int32_t i = 0; i < fetched->topics[0].partitions_len; i++) {
        const struct offset_fetch_response_partition *part = &fetched->topics[0].partitions[i];
        int32_t p = part->partition_index;
        int64_t offset = part->committed_offset < 0 ? 0 : part->committed_offset;
        if (part->error_code != 0)
            model_fail(w->world, "OffsetFetch answers %s", wire_code_name(part->error_code));
        if (offset < acked_when_asked[p] || offset > offsets->sent[p])
            model_fail(w->world,
                       "the committed offset of partition %d is %lld; %lld was acknowledged, %lld "
                       "the last that was sent",
                       p, (long long)offset, (long long)acked_when_asked[p],
                       (long long)offsets->sent[p]);
    }
}

bool offsets_are_done(const struct workload *w, const struct workload_offsets *offsets)
{
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        if (offsets->acked_call[p] != w->last_calls)
            return false;
    }
    return true;
}
