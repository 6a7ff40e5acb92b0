/* DescribeConfigs, with sources, synonyms (KIP-226) and documentation (KIP-569). */
#include "broker/handlers/handlers.h"

#include "meta/config_def.h"
#include "meta/controller.h"

static bool fill_synonyms(struct request *req, const struct config_described *config,
                          struct describe_configs_response_config *out)
{
    out->synonyms =
        MSG_ARRAY(describe_configs_response_synonym, &req->arena, config->synonym_count);
    if (!out->synonyms)
        return false;
    out->synonyms_len = (int32_t)config->synonym_count;
    for (size_t i = 0; i < config->synonym_count; i++) {
        out->synonyms[i].name = config->synonyms[i].key;
        out->synonyms[i].value = config->synonyms[i].value;
        out->synonyms[i].source = (int8_t)config->synonyms[i].source;
    }
    return true;
}

static bool fill_configs(struct request *req, const struct config_described *configs, size_t count,
                         struct describe_configs_response_result *out)
{
    const struct describe_configs_request *body = req->body;
    out->configs = MSG_ARRAY(describe_configs_response_config, &req->arena, count);
    if (!out->configs)
        return false;
    out->configs_len = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct describe_configs_response_config *to = &out->configs[i];
        to->name = configs[i].key;
        to->value = configs[i].value;
        to->read_only = configs[i].read_only;
        to->config_source = (int8_t)configs[i].source;
        to->is_sensitive = configs[i].sensitive;
        to->config_type = (int8_t)configs[i].type;
        to->documentation = body->include_documentation ? configs[i].doc : STR_NULL;
        if (body->include_synonyms && !fill_synonyms(req, &configs[i], to))
            return false;
    }
    return true;
}

/* The topic must be there; the rest is config_describe's to judge. */
static enum err check_resource(struct request *req,
                               const struct describe_configs_request_resource *asked,
                               struct meta_error *error)
{
    enum err err = ERR_OK;
    if (asked->resource_type != CONFIG_TOPIC)
        return ERR_OK;
    TRY(topic_name_check(asked->resource_name, &req->arena, error));
    request_topic(req, asked->resource_name, UUID_ZERO, &err);
    return err;
}

static bool describe(struct request *req, const struct describe_configs_request_resource *asked,
                     struct describe_configs_response_result *out)
{
    const struct node *node = req->shard->node;
    struct config_view view = {req->shard->image, &node->config->texts, node->config->node_id};
    struct config_described *configs = NULL;
    struct meta_error error = {ERR_OK, STR_NULL};
    size_t count = 0;
    bool wants_all = asked->configuration_keys_len < 0;
    enum err err = check_resource(req, asked, &error);
    if (err == ERR_OK)
        err = config_describe(&view, (enum config_type)asked->resource_type, asked->resource_name,
                              wants_all ? NULL : asked->configuration_keys,
                              wants_all ? 0 : (size_t)asked->configuration_keys_len, &req->arena,
                              &configs, &count, &error);
    out->resource_type = asked->resource_type;
    out->resource_name = asked->resource_name;
    out->error_code = wire_code_of_err(err);
    out->error_message = str_is_null(error.text) ? STR("") : error.text;
    return err != ERR_OK || fill_configs(req, configs, count, out);
}

void describe_configs_begin(struct request *req)
{
    const struct describe_configs_request *body = req->body;
    struct describe_configs_response *response = req->response;
    response->results =
        MSG_ARRAY(describe_configs_response_result, &req->arena, (size_t)body->resources_len);
    bool is_ok = response->results != NULL;
    for (int32_t i = 0; is_ok && i < body->resources_len; i++)
        is_ok = describe(req, &body->resources[i], &response->results[response->results_len++]);
    if (!is_ok) {
        request_over_limit(req);
        return;
    }
    request_reply(req);
}
