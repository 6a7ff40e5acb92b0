/* DescribeQuorum (KIP-595, KIP-836): the metadata log's voters. Answered by shard 0. */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"

struct describe_quorum_own {
    struct shard_msg msg;
    struct request *req;
    struct quorum_description description;
};

static bool fill_partition(struct request *req, const struct quorum_description *description,
                           struct describe_quorum_response_partition *out)
{
    out->leader_id = description->leader_id;
    out->leader_epoch = description->leader_epoch;
    out->high_watermark = description->high_watermark;
    out->current_voters = MSG_ARRAY(describe_quorum_response_replica_state, &req->arena, 1);
    if (!out->current_voters)
        return false;
    out->current_voters_len = 1;
    out->current_voters[0].replica_id = description->voter.id;
    if (req->header.api_version >= 2)
        out->current_voters[0].replica_directory_id = description->voter.directory_id;
    out->current_voters[0].log_end_offset = description->voter.log_end_offset;
    out->current_voters[0].last_fetch_timestamp = description->voter.last_fetch_ms;
    out->current_voters[0].last_caught_up_timestamp = description->voter.last_caught_up_ms;
    return true;
}

static bool fill_nodes(struct request *req, const struct quorum_description *description)
{
    struct describe_quorum_response *response = req->response;
    response->nodes = MSG_ARRAY(describe_quorum_response_node, &req->arena, 1);
    if (!response->nodes)
        return false;
    response->nodes_len = 1;
    response->nodes[0].node_id = description->voter.id;
    response->nodes[0].listeners = MSG_ARRAY(describe_quorum_response_listener, &req->arena, 1);
    if (!response->nodes[0].listeners)
        return false;
    response->nodes[0].listeners_len = 1;
    response->nodes[0].listeners[0].name = description->endpoint.name;
    response->nodes[0].listeners[0].host = description->endpoint.host;
    response->nodes[0].listeners[0].port = description->endpoint.port;
    return true;
}

/* Kafka answers for the metadata log's partition alone. */
static bool asks_for_metadata(const struct describe_quorum_request *body)
{
    return body->topics_len == 1 && body->topics[0].partitions_len == 1 &&
           str_eq(body->topics[0].topic_name, STR("__cluster_metadata")) &&
           body->topics[0].partitions[0].partition_index == 0;
}

static void refuse_partition(struct request *req, struct describe_quorum_response_partition *out)
{
    out->error_code = wire_code_of_err(ERR_UNKNOWN_TOPIC_OR_PARTITION);
    if (req->header.api_version >= 2)
        out->error_message = STR("This server does not host this topic-partition.");
}

static void describe_quorum_finish(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    struct describe_quorum_own *own = CONTAINER_OF(msg, struct describe_quorum_own, msg);
    struct request *req = own->req;
    const struct describe_quorum_request *body = req->body;
    struct describe_quorum_response *response = req->response;
    bool is_known = asks_for_metadata(body);
    response->topics =
        MSG_ARRAY(describe_quorum_response_topic, &req->arena, (size_t)body->topics_len);
    bool is_ok = response->topics != NULL;
    for (int32_t t = 0; is_ok && t < body->topics_len; t++) {
        struct describe_quorum_response_topic *out = &response->topics[response->topics_len++];
        out->topic_name = body->topics[t].topic_name;
        out->partitions = MSG_ARRAY(describe_quorum_response_partition, &req->arena,
                                    (size_t)body->topics[t].partitions_len);
        is_ok = out->partitions != NULL;
        for (int32_t p = 0; is_ok && p < body->topics[t].partitions_len; p++) {
            struct describe_quorum_response_partition *to = &out->partitions[out->partitions_len++];
            to->partition_index = body->topics[t].partitions[p].partition_index;
            if (is_known)
                is_ok = fill_partition(req, &own->description, to);
            else
                refuse_partition(req, to);
        }
    }
    if (is_ok && is_known && req->header.api_version >= 2)
        is_ok = fill_nodes(req, &own->description);
    if (!is_ok) {
        request_over_limit(req);
        return;
    }
    request_reply(req);
}

static void describe_on_shard_0(struct shard *shard, struct shard_msg *msg)
{
    struct describe_quorum_own *own = CONTAINER_OF(msg, struct describe_quorum_own, msg);
    quorum_describe(&shard->node->metadata.quorum, io_wall_ms(shard->io), &own->description);
    msg->fn = describe_quorum_finish;
    shard_post(shard, own->req->shard, msg);
}

void describe_quorum_begin(struct request *req)
{
    struct describe_quorum_own *own = request_array(req, 1, sizeof(*own));
    if (!own) {
        request_over_limit(req);
        return;
    }
    own->req = req;
    own->msg.fn = describe_on_shard_0;
    shard_post(req->shard, &req->shard->node->shards[0], &own->msg);
}
