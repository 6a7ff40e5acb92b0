/* CreateTopics: through the controller; answered when every shard has the new topics. */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"

struct create_topics_own {
    struct metadata_call call;
    struct create_topic *topics;
    struct created_topic *created;
    bool validate_only;
};

static bool fill_configs(struct request *req, const struct created_topic *created,
                         struct create_topics_response_topic *out)
{
    out->configs = MSG_ARRAY(create_topics_response_config, &req->arena, created->config_count);
    if (!out->configs)
        return false;
    out->configs_len = (int32_t)created->config_count;
    for (size_t i = 0; i < created->config_count; i++) {
        const struct config_described *config = &created->configs[i];
        out->configs[i].name = config->key;
        out->configs[i].value = config->value;
        out->configs[i].read_only = config->read_only;
        out->configs[i].config_source = (int8_t)config->source;
        out->configs[i].is_sensitive = config->sensitive;
    }
    return true;
}

static void create_topics_finish(struct metadata_call *call)
{
    struct create_topics_own *own = call->own;
    struct request *req = call->req;
    const struct create_topics_request *body = req->body;
    struct create_topics_response *response = req->response;
    response->topics =
        MSG_ARRAY(create_topics_response_topic, &req->arena, (size_t)body->topics_len);
    if (!response->topics) {
        request_over_limit(req);
        return;
    }
    for (int32_t i = 0; i < body->topics_len; i++) {
        if (call->err == ERR_OK && own->created[i].repeated)
            continue;
        struct create_topics_response_topic *out = &response->topics[response->topics_len++];
        const struct created_topic *created = &own->created[i];
        enum err err = call->err != ERR_OK ? call->err : created->err;
        out->name = body->topics[i].name;
        out->error_code = wire_code_of_err(err);
        out->error_message = call->err != ERR_OK ? call->error.text : created->message;
        if (err != ERR_OK)
            continue;
        out->topic_id = created->id;
        out->num_partitions = created->partitions;
        out->replication_factor = created->replication_factor;
        if (!fill_configs(req, created, out)) {
            request_over_limit(req);
            return;
        }
    }
    request_reply(req);
}

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    struct create_topics_own *own = own_call->own;
    const struct create_topics_request *body = own_call->req->body;
    (void)error;
    return controller_create_topics(controller, call, own->topics, (size_t)body->topics_len,
                                    body->validate_only, &own->created);
}

static bool convert_topic(struct request *req, const struct create_topics_request_topic *in,
                          struct create_topic *out)
{
    struct create_assignment *assignments =
        request_array(req, (size_t)in->assignments_len, sizeof(*assignments));
    struct config_entry *configs = request_array(req, (size_t)in->configs_len, sizeof(*configs));
    if (!assignments || !configs)
        return false;
    for (int32_t i = 0; i < in->assignments_len; i++)
        assignments[i] = (struct create_assignment){in->assignments[i].partition_index,
                                                    in->assignments[i].broker_ids,
                                                    (size_t)in->assignments[i].broker_ids_len};
    for (int32_t i = 0; i < in->configs_len; i++)
        configs[i] = (struct config_entry){in->configs[i].name, in->configs[i].value};
    *out = (struct create_topic){.name = in->name,
                                 .partitions = in->num_partitions,
                                 .replication_factor = in->replication_factor,
                                 .assignments = assignments,
                                 .assignment_count = (size_t)in->assignments_len,
                                 .configs = configs,
                                 .config_count = (size_t)in->configs_len};
    return true;
}

void create_topics_begin(struct request *req)
{
    const struct create_topics_request *body = req->body;
    struct create_topics_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->topics = request_array(req, (size_t)body->topics_len, sizeof(*own->topics));
    bool is_ok = own && own->topics;
    for (int32_t i = 0; is_ok && i < body->topics_len; i++)
        is_ok = convert_topic(req, &body->topics[i], &own->topics[i]);
    if (!is_ok) {
        request_over_limit(req);
        return;
    }
    request_ask_controller(req, &own->call, ask, create_topics_finish, own);
}
