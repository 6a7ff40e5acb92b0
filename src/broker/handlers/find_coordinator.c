/* FindCoordinator: which broker has a group (KIP-699: many in one request). The topic of the
 * offsets is made by the first request that asks for a group. */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"

#define VERSION_BATCH 4

enum { KEY_GROUP = 0, KEY_TRANSACTION = 1, KEY_SHARE = 2 };

struct find_coordinator_own {
    struct metadata_call call;
    struct create_topic spec;
    struct created_topic *created;
};

struct found {
    enum err err;
    int32_t node_id;
    struct str host;
    int32_t port;
};

static void find_group(struct request *req, struct str group_id, struct found *found)
{
    const struct image *image = req->shard->image;
    const struct topic_image *topic = coordinator_topic(req->shard);
    int32_t index = coordinator_partition(req->shard, group_id);
    const struct partition_image *partition = topic ? image_partition(topic, index) : NULL;
    const struct broker_image *broker = partition ? image_broker(image, partition->leader) : NULL;
    const struct endpoint_image *endpoint =
        broker && !broker->fenced ? request_endpoint(req, broker) : NULL;
    if (!endpoint) {
        found->err = ERR_COORDINATOR_NOT_AVAILABLE;
        return;
    }
    found->node_id = broker->id;
    found->host = endpoint->host;
    found->port = endpoint->port;
}

static void find(struct request *req, int8_t type, struct str key, struct found *found)
{
    *found = (struct found){.node_id = -1, .host = STR(""), .port = -1};
    if (type == KEY_GROUP)
        find_group(req, key, found);
    else if (type == KEY_TRANSACTION)
        found->err = ERR_COORDINATOR_NOT_AVAILABLE; /* none is here */
    else
        found->err = ERR_INVALID_REQUEST;
}

/* In the words that clients of Apache Kafka get. */
static struct str message(enum err err)
{
    if (err == ERR_COORDINATOR_NOT_AVAILABLE)
        return STR("The coordinator is not available.");
    return STR("This most likely occurs because of a request being malformed by the client library "
               "or the message was sent to an incompatible broker. See the broker logs for more "
               "details.");
}

static void reply(struct request *req)
{
    const struct find_coordinator_request *body = req->body;
    struct find_coordinator_response *response = req->response;
    struct found found;
    if (req->header.api_version < VERSION_BATCH) {
        find(req, body->key_type, body->key, &found);
        response->error_code = wire_code_of_err(found.err);
        response->error_message = found.err == ERR_OK ? STR("NONE") : message(found.err);
        response->node_id = found.node_id;
        response->host = found.host;
        response->port = found.port;
        request_reply(req);
        return;
    }
    response->coordinators = MSG_ARRAY(find_coordinator_response_coordinator, &req->arena,
                                       (size_t)body->coordinator_keys_len);
    if (!response->coordinators) {
        request_over_limit(req);
        return;
    }
    response->coordinators_len = body->coordinator_keys_len;
    for (int32_t i = 0; i < body->coordinator_keys_len; i++) {
        struct find_coordinator_response_coordinator *out = &response->coordinators[i];
        find(req, body->key_type, body->coordinator_keys[i], &found);
        out->key = body->coordinator_keys[i];
        out->error_code = wire_code_of_err(found.err);
        out->error_message = found.err == ERR_OK ? STR("") : message(found.err);
        out->node_id = found.node_id;
        out->host = found.host;
        out->port = found.port;
    }
    request_reply(req);
}

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    struct find_coordinator_own *own = own_call->own;
    (void)error;
    return controller_create_topics(controller, call, &own->spec, 1, false, &own->created);
}

static void on_created(struct metadata_call *call)
{
    const struct find_coordinator_own *own = call->own;
    enum err err = call->err == ERR_OK ? own->created->err : call->err;
    if (err != ERR_OK && err != ERR_TOPIC_ALREADY_EXISTS)
        shard_warn(call->req->shard, RATE_REFUSED, "coordinator",
                   "__consumer_offsets cannot be made, so that groups have no coordinator: %s: "
                   "%.*s (is offsets.topic.replication.factor larger than the cluster?)",
                   err_text(err),
                   STR_ARG(call->err == ERR_OK ? own->created->message : call->error.text));
    reply(call->req);
}

static bool asks_for_a_group(const struct request *req)
{
    const struct find_coordinator_request *body = req->body;
    if (body->key_type != KEY_GROUP)
        return false;
    return req->header.api_version < VERSION_BATCH || body->coordinator_keys_len > 0;
}

void find_coordinator_begin(struct request *req)
{
    if (coordinator_topic(req->shard) || !asks_for_a_group(req)) {
        reply(req);
        return;
    }
    struct find_coordinator_own *own = request_array(req, 1, sizeof(*own));
    if (!own || !internal_topic_spec(req, STR("__consumer_offsets"), &own->spec)) {
        request_over_limit(req);
        return;
    }
    own->call = (struct metadata_call){.home = req->shard,
                                       .arena = &req->arena,
                                       .ask = ask,
                                       .done = on_created,
                                       .own = own,
                                       .req = req};
    metadata_submit(&own->call);
}
