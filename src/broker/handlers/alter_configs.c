/* AlterConfigs and IncrementalAlterConfigs (KIP-339): settings of topics, brokers, and the rest. */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"

struct alter_own {
    struct metadata_call call;
    struct alter_resource *resources;
    size_t count;
    bool validate_only;
    bool is_incremental;
    struct altered_resource *altered;
};

/* Both answers have the same shape: error code, message, type, name. */
static void alter_finish(struct metadata_call *call)
{
    struct alter_own *own = call->own;
    struct request *req = call->req;
    struct alter_configs_response_resource *legacy =
        own->is_incremental ? NULL
                            : MSG_ARRAY(alter_configs_response_resource, &req->arena, own->count);
    struct incremental_alter_configs_response_resource *incremental =
        own->is_incremental
            ? MSG_ARRAY(incremental_alter_configs_response_resource, &req->arena, own->count)
            : NULL;
    if (!legacy && !incremental) {
        request_over_limit(req);
        return;
    }
    for (size_t i = 0; i < own->count; i++) {
        enum err err = call->err != ERR_OK ? call->err : own->altered[i].err;
        int16_t code = wire_code_of_err(err);
        struct str text = call->err != ERR_OK ? call->error.text : own->altered[i].message;
        int8_t type = own->resources[i].type;
        struct str name = own->resources[i].name;
        if (legacy)
            legacy[i] = (struct alter_configs_response_resource){.error_code = code,
                                                                 .error_message = text,
                                                                 .resource_type = type,
                                                                 .resource_name = name};
        else
            incremental[i] =
                (struct incremental_alter_configs_response_resource){.error_code = code,
                                                                     .error_message = text,
                                                                     .resource_type = type,
                                                                     .resource_name = name};
    }
    if (legacy) {
        struct alter_configs_response *response = req->response;
        response->responses = legacy;
        response->responses_len = (int32_t)own->count;
    } else {
        struct incremental_alter_configs_response *response = req->response;
        response->responses = incremental;
        response->responses_len = (int32_t)own->count;
    }
    request_reply(req);
}

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    struct alter_own *own = own_call->own;
    (void)error;
    return own->is_incremental
               ? controller_alter_configs(controller, call, own->resources, own->count,
                                          own->validate_only, &own->altered)
               : controller_replace_configs(controller, call, own->resources, own->count,
                                            own->validate_only, &own->altered);
}

static struct alter_own *alter_own_create(struct request *req, int32_t resource_count)
{
    struct alter_own *own = request_array(req, 1, sizeof(*own));
    if (!own)
        return NULL;
    own->count = (size_t)resource_count;
    own->resources = request_array(req, own->count, sizeof(*own->resources));
    return own->resources ? own : NULL;
}

/* The resource's own array of changes; NULL when memory is out. */
static struct alter_config *alter_own_configs(struct request *req, struct alter_own *own,
                                              int32_t at, int8_t type, struct str name,
                                              int32_t config_count)
{
    struct alter_config *configs = request_array(req, (size_t)config_count, sizeof(*configs));
    own->resources[at] = (struct alter_resource){type, name, configs, (size_t)config_count};
    return configs;
}

void incremental_alter_configs_begin(struct request *req)
{
    const struct incremental_alter_configs_request *body = req->body;
    struct alter_own *own = alter_own_create(req, body->resources_len);
    for (int32_t i = 0; own && i < body->resources_len; i++) {
        const struct incremental_alter_configs_request_resource *in = &body->resources[i];
        struct alter_config *configs =
            alter_own_configs(req, own, i, in->resource_type, in->resource_name, in->configs_len);
        if (!configs)
            own = NULL;
        for (int32_t k = 0; own && k < in->configs_len; k++)
            configs[k] = (struct alter_config){in->configs[k].name, in->configs[k].value,
                                               in->configs[k].config_operation};
    }
    if (!own) {
        request_over_limit(req);
        return;
    }
    own->is_incremental = true;
    own->validate_only = body->validate_only;
    request_ask_controller(req, &own->call, ask, alter_finish, own);
}

void alter_configs_begin(struct request *req)
{
    const struct alter_configs_request *body = req->body;
    struct alter_own *own = alter_own_create(req, body->resources_len);
    for (int32_t i = 0; own && i < body->resources_len; i++) {
        const struct alter_configs_request_resource *in = &body->resources[i];
        struct alter_config *configs =
            alter_own_configs(req, own, i, in->resource_type, in->resource_name, in->configs_len);
        if (!configs)
            own = NULL;
        for (int32_t k = 0; own && k < in->configs_len; k++)
            configs[k] =
                (struct alter_config){in->configs[k].name, in->configs[k].value, ALTER_SET};
    }
    if (!own) {
        request_over_limit(req);
        return;
    }
    own->validate_only = body->validate_only;
    request_ask_controller(req, &own->call, ask, alter_finish, own);
}
