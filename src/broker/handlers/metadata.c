/* Metadata: brokers and topics, and the creation of a topic by its first mention.
 *
 * metadata_begin answers from the shard's image. Topics that are missing, and may be created, are
 * created first; the answer says even so that they are unknown, as Apache Kafka's does, which does
 * not wait for them. Clients ask again, and find them. */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"
#include "meta/controller.h"

#define VERSION_BY_ID 12

struct metadata_own {
    struct metadata_call call;
    struct create_topic *missing;
    size_t missing_count;
    struct created_topic *created;
};

static bool fill_brokers(struct request *req, struct metadata_response *response)
{
    const struct image *image = req->shard->image;
    response->brokers = MSG_ARRAY(metadata_response_broker, &req->arena, image->brokers.count);
    if (!response->brokers)
        return false;
    struct table_iter iter;
    table_begin(&iter, &image->brokers);
    for (const struct broker_image *broker; (broker = table_next(&iter)) != NULL;) {
        const struct endpoint_image *endpoint = request_endpoint(req, broker);
        if (!endpoint || broker->fenced)
            continue;
        struct metadata_response_broker *out = &response->brokers[response->brokers_len++];
        out->node_id = broker->id;
        out->host = endpoint->host;
        out->port = endpoint->port;
        out->rack = broker->rack;
    }
    return true;
}

static bool fill_partition(struct request *req, const struct partition_image *partition,
                           int32_t index, struct metadata_response_partition *out)
{
    out->partition_index = index;
    out->leader_id = partition->leader;
    out->leader_epoch = partition->leader_epoch;
    out->replica_nodes = ids_borrow(partition->replicas);
    out->replica_nodes_len = (int32_t)partition->replica_count;
    out->isr_nodes = ids_borrow(partition->isr);
    out->isr_nodes_len = (int32_t)partition->isr_count;
    if (partition->leader < 0)
        out->error_code = wire_code_of_err(ERR_LEADER_NOT_AVAILABLE);
    return fill_offline_replicas(req, partition, &out->offline_replicas,
                                 &out->offline_replicas_len);
}

static bool fill_topic(struct request *req, const struct topic_image *topic,
                       struct metadata_response_topic *out)
{
    const struct metadata_request *body = req->body;
    out->name = topic->name;
    out->topic_id = topic->id;
    out->is_internal = topic_is_internal(topic->name);
    if (body->include_topic_authorized_operations)
        out->topic_authorized_operations = AUTHORIZED_OPERATIONS_TOPIC;
    out->partitions = MSG_ARRAY(metadata_response_partition, &req->arena, topic->partition_count);
    if (!out->partitions)
        return false;
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        if (topic->partitions[i] && !fill_partition(req, topic->partitions[i], (int32_t)i,
                                                    &out->partitions[out->partitions_len++]))
            return false;
    }
    return true;
}

static bool fill_all_topics(struct request *req, struct metadata_response *response)
{
    const struct image *image = req->shard->image;
    response->topics = MSG_ARRAY(metadata_response_topic, &req->arena, image->topics.count);
    if (!response->topics)
        return false;
    IMAGE_TOPICS_EACH(iter, image, topic)
    {
        if (!fill_topic(req, topic, &response->topics[response->topics_len++]))
            return false;
    }
    return true;
}

/* What the creation of a topic said that this request mentions first; NULL: it was not tried. */
static const struct created_topic *creation_of(const struct request *req, struct str name)
{
    const struct metadata_own *own = req->own;
    for (size_t i = 0; own && own->created && i < own->missing_count; i++) {
        if (str_eq(own->created[i].name, name))
            return &own->created[i];
    }
    return NULL;
}

/* The error of a topic that is not there, or only now. */
static enum err missing_error(const struct request *req, struct str name, bool *is_named)
{
    const struct created_topic *created = creation_of(req, name);
    *is_named = true;
    if (created && created->err != ERR_OK && created->err != ERR_TOPIC_ALREADY_EXISTS)
        return created->err;
    struct meta_error error;
    struct arena arena;
    arena_init(&arena, ARENA_NO_LIMIT);
    enum err err = topic_name_check(name, &arena, &error);
    arena_deinit(&arena);
    return err == ERR_OK ? ERR_UNKNOWN_TOPIC_OR_PARTITION : err;
}

#define REPEATS_MAX 1000 /* topics among which one that is named twice is looked for */

static bool is_asked_before(const struct metadata_request *body, int32_t at)
{
    for (int32_t i = 0; at < REPEATS_MAX && i < at; i++) {
        if (str_eq(body->topics[i].name, body->topics[at].name) &&
            uuid_eq(body->topics[i].topic_id, body->topics[at].topic_id))
            return true;
    }
    return false;
}

static bool fill_asked_topics(struct request *req, struct metadata_response *response)
{
    const struct metadata_request *body = req->body;
    response->topics = MSG_ARRAY(metadata_response_topic, &req->arena, (size_t)body->topics_len);
    if (!response->topics)
        return false;
    for (int32_t i = 0; i < body->topics_len; i++) {
        const struct metadata_request_topic *asked = &body->topics[i];
        enum err err;
        bool is_named = false;
        if (is_asked_before(body, i))
            continue;
        struct metadata_response_topic *out = &response->topics[response->topics_len++];
        const struct topic_image *topic = request_topic(req, asked->name, asked->topic_id, &err);
        if (creation_of(req, asked->name)) {
            topic = NULL;
            err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        }
        if (topic) {
            if (!fill_topic(req, topic, out))
                return false;
            continue;
        }
        out->topic_id = asked->topic_id;
        if (err == ERR_UNKNOWN_TOPIC_OR_PARTITION)
            err = missing_error(req, asked->name, &is_named);
        out->name = is_named || req->header.api_version < VERSION_BY_ID ? asked->name : STR_NULL;
        if (str_is_null(out->name) && req->header.api_version < VERSION_BY_ID)
            out->name = STR("");
        out->error_code = wire_code_of_err(err);
    }
    return true;
}

static void reply(struct request *req)
{
    const struct metadata_request *body = req->body;
    struct metadata_response *response = req->response;
    struct node *node = req->shard->node;
    bool wants_all =
        body->topics_len < 0 || (req->header.api_version == 0 && body->topics_len == 0);
    response->cluster_id = node->storage.cluster_id;
    response->controller_id = node->config->node_id;
    if (body->include_cluster_authorized_operations)
        response->cluster_authorized_operations = AUTHORIZED_OPERATIONS_CLUSTER;
    if (!fill_brokers(req, response) ||
        !(wants_all ? fill_all_topics(req, response) : fill_asked_topics(req, response))) {
        request_over_limit(req);
        return;
    }
    request_reply(req);
}

static enum err ask_controller(const struct controller *controller,
                               const struct controller_call *call, struct metadata_call *own_call,
                               struct meta_error *error)
{
    struct metadata_own *own = own_call->own;
    (void)error;
    return controller_create_topics(controller, call, own->missing, own->missing_count, false,
                                    &own->created);
}

static void on_created(struct metadata_call *call)
{
    struct metadata_own *own = call->own;
    struct request *req = call->req;
    if (call->err != ERR_OK)
        own->created = NULL;
    reply(req);
}

/* Topics of the request that are to be created by their first mention. */
static bool find_missing(struct request *req, struct metadata_own *own)
{
    const struct metadata_request *body = req->body;
    own->missing = request_array(req, (size_t)body->topics_len, sizeof(*own->missing));
    if (!own->missing)
        return false;
    for (int32_t i = 0; i < body->topics_len; i++) {
        enum err err;
        struct str name = body->topics[i].name;
        bool is_repeated = false, is_named;
        if (request_topic(req, name, body->topics[i].topic_id, &err) || str_is_null(name) ||
            err != ERR_UNKNOWN_TOPIC_OR_PARTITION ||
            missing_error(req, name, &is_named) != ERR_UNKNOWN_TOPIC_OR_PARTITION)
            continue;
        for (size_t m = 0; m < own->missing_count; m++)
            is_repeated |= str_eq(own->missing[m].name, name);
        if (!is_repeated && !internal_topic_spec(req, name, &own->missing[own->missing_count++]))
            return false;
    }
    return true;
}

/* Topics are asked for by id from version 12 on; before that the field must be empty. */
static bool has_early_id(const struct request *req)
{
    const struct metadata_request *body = req->body;
    for (int32_t i = 0; req->header.api_version < VERSION_BY_ID && i < body->topics_len; i++) {
        if (!uuid_is_zero(body->topics[i].topic_id))
            return true;
    }
    return false;
}

static void refuse(struct request *req, enum err err)
{
    const struct metadata_request *body = req->body;
    struct metadata_response *response = req->response;
    response->topics = MSG_ARRAY(metadata_response_topic, &req->arena, (size_t)body->topics_len);
    if (!response->topics) {
        request_over_limit(req);
        return;
    }
    response->topics_len = body->topics_len;
    for (int32_t i = 0; i < body->topics_len; i++) {
        struct metadata_response_topic *out = &response->topics[i];
        out->error_code = wire_code_of_err(err);
        out->name = str_is_null(body->topics[i].name) ? STR("") : body->topics[i].name;
        out->topic_id = body->topics[i].topic_id;
    }
    request_reply(req);
}

void metadata_begin(struct request *req)
{
    const struct metadata_request *body = req->body;
    if (has_early_id(req)) {
        refuse(req, ERR_INVALID_REQUEST);
        return;
    }
    const struct broker_config *config = req->shard->node->config;
    bool may_create = config->auto_create_topics_enable && body->allow_auto_topic_creation &&
                      body->topics_len > 0;
    struct metadata_own *own = may_create ? request_array(req, 1, sizeof(*own)) : NULL;
    if (may_create && (!own || !find_missing(req, own))) {
        request_over_limit(req);
        return;
    }
    if (!own || own->missing_count == 0) {
        reply(req);
        return;
    }
    req->own = own;
    request_ask_controller(req, &own->call, ask_controller, on_created, own);
}
