/* DescribeCluster (KIP-700): who belongs to the cluster. */
#include "broker/handlers/handlers.h"

#define ENDPOINT_TYPE_BROKERS 1

void describe_cluster_begin(struct request *req)
{
    const struct describe_cluster_request *body = req->body;
    struct describe_cluster_response *response = req->response;
    const struct image *image = req->shard->image;
    const struct node *node = req->shard->node;
    if (body->endpoint_type != ENDPOINT_TYPE_BROKERS) {
        response->error_code =
            wire_code_of_err(body->endpoint_type == 2 ? ERR_MISMATCHED_ENDPOINT_TYPE
                                                      : ERR_UNSUPPORTED_ENDPOINT_TYPE);
        response->error_message =
            body->endpoint_type == 2
                ? STR("The request was sent to an endpoint of type BROKER, but we wanted an "
                      "endpoint of type CONTROLLER")
                : arena_printf(&req->arena, "Unsupported endpoint type %d", body->endpoint_type);
        request_reply(req);
        return;
    }
    response->cluster_id = node->storage.cluster_id;
    response->controller_id = node->config->node_id;
    response->endpoint_type = ENDPOINT_TYPE_BROKERS;
    if (body->include_cluster_authorized_operations)
        response->cluster_authorized_operations = AUTHORIZED_OPERATIONS_CLUSTER;
    response->brokers =
        MSG_ARRAY(describe_cluster_response_broker, &req->arena, image->brokers.count);
    if (!response->brokers) {
        request_over_limit(req);
        return;
    }
    struct table_iter iter;
    table_begin(&iter, &image->brokers);
    for (const struct broker_image *broker; (broker = table_next(&iter)) != NULL;) {
        const struct endpoint_image *endpoint = request_endpoint(req, broker);
        if (!endpoint || (broker->fenced && !body->include_fenced_brokers))
            continue;
        struct describe_cluster_response_broker *out = &response->brokers[response->brokers_len++];
        out->broker_id = broker->id;
        out->host = endpoint->host;
        out->port = endpoint->port;
        out->rack = broker->rack;
        out->is_fenced = broker->fenced;
    }
    request_reply(req);
}
