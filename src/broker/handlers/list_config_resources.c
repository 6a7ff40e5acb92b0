/* ListConfigResources (KIP-1142): what has settings, or could have. */
#include "broker/handlers/handlers.h"

static const int8_t listed_types[] = {CONFIG_TOPIC, CONFIG_BROKER, CONFIG_BROKER_LOGGER,
                                      CONFIG_CLIENT_METRICS, CONFIG_GROUP};

static bool is_wanted(const struct request *req, int8_t type)
{
    const struct list_config_resources_request *body = req->body;
    if (req->header.api_version == 0)
        return type == CONFIG_CLIENT_METRICS;
    for (int32_t i = 0; i < body->resource_types_len; i++) {
        if (body->resource_types[i] == type)
            return true;
    }
    return body->resource_types_len == 0;
}

static bool has_unknown_type(const struct list_config_resources_request *body)
{
    for (int32_t i = 0; i < body->resource_types_len; i++) {
        bool is_known = false;
        for (size_t k = 0; k < ARRAY_LEN(listed_types); k++)
            is_known |= body->resource_types[i] == listed_types[k];
        if (!is_known)
            return true;
    }
    return false;
}

static void add(struct list_config_resources_response *response, int8_t type, struct str name)
{
    struct list_config_resources_response_config_resource *out =
        &response->config_resources[response->config_resources_len++];
    out->resource_type = type;
    out->resource_name = name;
}

void list_config_resources_begin(struct request *req)
{
    const struct image *image = req->shard->image;
    struct list_config_resources_response *response = req->response;
    size_t room = image->topics.count + 2 * image->brokers.count + image->configs.count;
    if (has_unknown_type(req->body)) {
        response->error_code = wire_code_of_err(ERR_UNSUPPORTED_VERSION);
        request_reply(req);
        return;
    }
    response->config_resources =
        MSG_ARRAY(list_config_resources_response_config_resource, &req->arena, room);
    if (!response->config_resources) {
        request_over_limit(req);
        return;
    }
    struct table_iter iter;
    if (is_wanted(req, CONFIG_GROUP) || is_wanted(req, CONFIG_CLIENT_METRICS)) {
        table_begin(&iter, &image->configs);
        for (const struct config_image *config; (config = table_next(&iter)) != NULL;) {
            if ((config->type == CONFIG_GROUP || config->type == CONFIG_CLIENT_METRICS) &&
                is_wanted(req, (int8_t)config->type))
                add(response, (int8_t)config->type, config->name);
        }
    }
    table_begin(&iter, &image->brokers);
    for (const struct broker_image *broker; (broker = table_next(&iter)) != NULL;) {
        struct str id = arena_printf(&req->arena, "%d", broker->id);
        if (is_wanted(req, CONFIG_BROKER_LOGGER))
            add(response, CONFIG_BROKER_LOGGER, id);
        if (is_wanted(req, CONFIG_BROKER))
            add(response, CONFIG_BROKER, id);
    }
    if (is_wanted(req, CONFIG_TOPIC)) {
        IMAGE_TOPICS_EACH(topics, image, topic)
        add(response, CONFIG_TOPIC, topic->name);
    }
    request_reply(req);
}
