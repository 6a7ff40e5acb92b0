/* Configs of topics, brokers, groups and client metrics, through our own codec: librdkafka has no
 * incremental change and no documentation of keys.
 *
 * A broker answers for itself only, so its configs are asked of it and not of the bootstrap server.
 * The broker named "default" stands for the cluster-wide default of all brokers. */
#include "cli/config.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/parse.h"
#include "cli/out.h"
#include "wire/errors.h"

/* Kafka's resource types, by the index in config_kinds. */
enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_METRICS = 16, RESOURCE_GROUP = 32 };
enum { OPERATION_SET = 0, OPERATION_DELETE = 1 };
enum { SOURCE_DEFAULT = 5 };

#define DOC_WIDTH 96

const char *const config_kinds[] = {"topic", "broker", "group", "client-metrics", NULL};
static const int8_t kind_types[] = {RESOURCE_TOPIC, RESOURCE_BROKER, RESOURCE_GROUP,
                                    RESOURCE_METRICS};

struct resource {
    int8_t type;
    const char *kind;
    struct str name; /* as the broker knows it: "" is the default of all brokers */
    const char *shown;
};

static const char *kind_of_type(int8_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(kind_types); i++) {
        if (kind_types[i] == type)
            return config_kinds[i];
    }
    return "other";
}

static struct resource resource_of(const char *kind, const char *name)
{
    struct resource resource = {.kind = kind, .name = str_of(name), .shown = name};
    for (size_t i = 0; config_kinds[i]; i++) {
        if (strcmp(config_kinds[i], kind) == 0)
            resource.type = kind_types[i];
    }
    ASSERT(resource.type != 0);
    if (resource.type == RESOURCE_BROKER && strcmp(name, "default") == 0)
        resource.name = STR("");
    return resource;
}

/* Connects to who answers for the resource. */
static int open_for(struct client *client, const struct args *args, const struct resource *resource)
{
    int32_t broker_id;
    struct client first;
    struct describe_cluster_response cluster;
    if (resource->type != RESOURCE_BROKER || resource->name.len == 0)
        return client_open(client, args);
    *client = (struct client){.net = {.fd = -1}};
    if (parse_i32(resource->name, &broker_id) != ERR_OK || broker_id < 0)
        return out_fail(EXIT_USAGE, "a broker is named by its id, or 'default' for all: not '%s'",
                        resource->shown);
    int code = client_open(&first, args);
    if (!code)
        code = client_describe_cluster(&first, false, &cluster);
    if (!code)
        code = client_open_broker(client, &cluster, broker_id, args_timeout_ms(args));
    client_close(&first);
    return code;
}

const char *config_source_name(int8_t source)
{
    static const char *const names[] = {"unknown",        "topic",          "broker",
                                        "broker-default", "static",         "default",
                                        "logger",         "client-metrics", "group"};
    return source >= 0 && (size_t)source < ARRAY_LEN(names) ? names[source] : names[0];
}

static const char *type_name(int8_t type)
{
    static const char *const names[] = {"unknown", "boolean", "string", "int",   "short",
                                        "long",    "double",  "list",   "class", "password"};
    return type >= 0 && (size_t)type < ARRAY_LEN(names) ? names[type] : names[0];
}

/* ---- describe ---- */

static int fail_resource(int16_t error_code, struct str message, const struct resource *resource)
{
    if (wire_err_of_code(error_code) == ERR_UNKNOWN_TOPIC_OR_PARTITION)
        return out_fail(EXIT_NOT_FOUND,
                        "there is no topic '%s'; see which there are with 'taffrail topic list'",
                        resource->shown);
    return client_fail(error_code, message, "%s '%s'", resource->kind, resource->shown);
}

/* All configs of a resource, whatever the keys: what matches is chosen here. */
static int describe(struct client *client, const struct resource *resource, bool with_docs,
                    struct describe_configs_response_result *result)
{
    struct describe_configs_request request;
    struct describe_configs_request_resource wanted;
    struct describe_configs_response response;
    MSG_INIT(describe_configs_request, &request);
    MSG_INIT(describe_configs_request_resource, &wanted);
    wanted.resource_type = resource->type;
    wanted.resource_name = resource->name;
    wanted.configuration_keys_len = -1;
    request.resources = &wanted;
    request.resources_len = 1;
    request.include_documentation = with_docs;
    request.include_synonyms = with_docs;
    int code = client_call(client, CLIENT_DESCRIBE_CONFIGS, &request, &response);
    if (code)
        return code;
    if (response.results_len != 1)
        return out_fail(EXIT_REFUSED, "the broker answered for %d resources instead of one",
                        response.results_len);
    *result = response.results[0];
    return result->error_code ? fail_resource(result->error_code, result->error_message, resource)
                              : EXIT_FINE;
}

static int compare_configs(const void *a, const void *b)
{
    const struct describe_configs_response_config *x = a, *y = b;
    return str_cmp(x->name, y->name);
}

static bool is_wanted(const struct args *args,
                      const struct describe_configs_response_config *config)
{
    for (size_t i = 2; i < args->operand_count; i++) {
        if (str_eq_cstr(config->name, args->operands[i]))
            return true;
    }
    return args->operand_count == 2 &&
           (args_has(args, "all") || config->config_source != SOURCE_DEFAULT);
}

/* Suggests a key of the resource in place of one that it does not have. */
static const char *nearest_key(struct client *client,
                               const struct describe_configs_response_result *result,
                               const char *key)
{
    const char **names = client_array(client, (size_t)result->configs_len + 1, sizeof(*names));
    for (int32_t i = 0; i < result->configs_len; i++) {
        names[i] = arena_str(&client->arena, result->configs[i].name).data;
        if (!names[i])
            client_out_of_memory();
    }
    return nearest_word(key, names, (size_t)result->configs_len);
}

static int fail_key(const struct resource *resource, const char *key, const char *near)
{
    if (near)
        return out_fail(EXIT_NOT_FOUND, "a %s has no config '%s'; did you mean '%s'?",
                        resource->kind, key, near);
    return out_fail(
        EXIT_NOT_FOUND,
        "a %s has no config '%s'; see which there are with 'taffrail config describe %s "
        "%s --all'",
        resource->kind, key, resource->kind, resource->shown);
}

static const struct describe_configs_response_config *
find_config(const struct describe_configs_response_result *result, struct str key)
{
    for (int32_t i = 0; i < result->configs_len; i++) {
        if (str_eq(result->configs[i].name, key))
            return &result->configs[i];
    }
    return NULL;
}

static json_t *config_json(const struct describe_configs_response_config *config, bool with_docs)
{
    json_t *json =
        json_pack("{s:o, s:o, s:s, s:s, s:b, s:b}", "key", json_str(config->name), "value",
                  json_str(config->value), "source", config_source_name(config->config_source),
                  "type", type_name(config->config_type), "read_only", config->read_only,
                  "sensitive", config->is_sensitive);
    if (with_docs)
        json_object_set_new(json, "documentation", json_str(config->documentation));
    return json;
}

/* The text in lines of at most DOC_WIDTH, each behind `indent`. */
static void put_wrapped(struct buf *out, struct str text, const char *indent)
{
    size_t width = 0;
    for (size_t i = 0; i < text.len;) {
        size_t len = 0;
        while (i + len < text.len && text.data[i + len] != ' ' && text.data[i + len] != '\n')
            len++;
        if (width + len + 1 > DOC_WIDTH || width == 0) {
            buf_printf(out, "%s%s", width ? "\n" : "", indent);
            width = strlen(indent);
        } else {
            buf_put_u8(out, ' ');
            width++;
        }
        put_escaped(out, slice_of(text.data + i, len));
        width += len;
        i += len + 1;
    }
    buf_put_u8(out, '\n');
}

/* A key, its value, and beneath it what it means. */
static void put_documented(struct buf *out, const struct describe_configs_response_config *config)
{
    put_escaped(out, slice_of(config->name.data, config->name.len));
    buf_put_u8(out, '=');
    if (config->value.data)
        put_escaped(out, slice_of(config->value.data, config->value.len));
    buf_printf(out, " (%s, %s%s)\n", config_source_name(config->config_source),
               type_name(config->config_type), config->read_only ? ", read-only" : "");
    if (config->documentation.len)
        put_wrapped(out, config->documentation, "    ");
}

static void put_row(struct grid *table, const struct describe_configs_response_config *config)
{
    grid_put(table, "%.*s", STR_ARG(config->name));
    if (str_is_null(config->value))
        grid_put(table, config->is_sensitive ? "(hidden)" : "(none)");
    else
        grid_put(table, "%.*s", STR_ARG(config->value));
    grid_put(table, "%s", config_source_name(config->config_source));
    grid_put(table, "%s", config->read_only ? "read-only" : "");
}

static int print_configs(const struct args *args,
                         const struct describe_configs_response_result *result)
{
    static const struct column columns[] = {
        {"KEY", false}, {"VALUE", false}, {"SOURCE", false}, {"", false}};
    bool with_docs = args_has(args, "docs");
    struct grid table;
    struct buf out;
    json_t *json = json_array();
    grid_init(&table, columns, ARRAY_LEN(columns));
    buf_init(&out, BUF_NO_LIMIT);
    for (int32_t i = 0; i < result->configs_len; i++) {
        const struct describe_configs_response_config *config = &result->configs[i];
        if (!is_wanted(args, config))
            continue;
        json_array_append_new(json, config_json(config, with_docs));
        if (with_docs)
            put_documented(&out, config);
        else
            put_row(&table, config);
    }
    grid_print(&table, &out);
    grid_deinit(&table);
    return out_either(args_is_json(args), json, &out);
}

static int describe_open(struct client *client, const struct args *args,
                         const struct resource *resource)
{
    struct describe_configs_response_result result;
    int code = describe(client, resource, args_has(args, "docs"), &result);
    if (code)
        return code;
    for (size_t i = 2; i < args->operand_count; i++) {
        const char *key = args->operands[i];
        if (!find_config(&result, str_of(key)))
            return fail_key(resource, key, nearest_key(client, &result, key));
    }
    qsort(result.configs, (size_t)result.configs_len, sizeof(*result.configs), compare_configs);
    return print_configs(args, &result);
}

int config_describe_run(const struct args *args)
{
    struct client client;
    struct resource resource = resource_of(args->operands[0], args->operands[1]);
    int code = open_for(&client, args, &resource);
    if (!code)
        code = describe_open(&client, args, &resource);
    client_close(&client);
    return code;
}

int config_of_topic(struct client *client, struct str topic,
                    struct describe_configs_response_result *result)
{
    struct str name = arena_str(&client->arena, topic);
    if (!name.data)
        client_out_of_memory();
    struct resource resource = {RESOURCE_TOPIC, "topic", name, name.data};
    return describe(client, &resource, false, result);
}

/* ---- set and unset ---- */

static int count_given(const struct args *args, const char *opt)
{
    int count = 0;
    while (args_nth(args, opt, (size_t)count) != NULL)
        count++;
    return count;
}

static void set_change(struct incremental_alter_configs_request_config *change, const char *text,
                       int8_t operation)
{
    MSG_INIT(incremental_alter_configs_request_config, change);
    size_t len = strcspn(text, "=");
    change->config_operation = operation;
    change->name = operation == OPERATION_SET ? (struct str){text, len} : str_of(text);
    change->value = operation == OPERATION_SET ? str_of(text + len + 1) : STR_NULL;
}

/* Where the broker refused: was it a key that does not exist? */
static int fail_change(struct client *client, const struct resource *resource,
                       const struct incremental_alter_configs_request_resource *wanted,
                       const struct incremental_alter_configs_response_resource *result)
{
    struct describe_configs_response_result known;
    enum err err = wire_err_of_code(result->error_code);
    if (err != ERR_INVALID_CONFIG && err != ERR_INVALID_REQUEST)
        return fail_resource(result->error_code, result->error_message, resource);
    if (describe(client, resource, false, &known) != EXIT_FINE)
        return client_fail(result->error_code, result->error_message, "%s '%s'", resource->kind,
                           resource->shown);
    for (int32_t i = 0; i < wanted->configs_len; i++) {
        char key[256];
        snprintf(key, sizeof(key), "%.*s", STR_ARG(wanted->configs[i].name));
        if (!find_config(&known, wanted->configs[i].name))
            return fail_key(resource, key, nearest_key(client, &known, key));
    }
    return client_fail(result->error_code, result->error_message, "%s '%s'", resource->kind,
                       resource->shown);
}

static int alter(struct client *client, const struct resource *resource,
                 struct incremental_alter_configs_request_config *changes, int32_t count,
                 bool validate_only)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_resource wanted;
    struct incremental_alter_configs_response response;
    MSG_INIT(incremental_alter_configs_request, &request);
    MSG_INIT(incremental_alter_configs_request_resource, &wanted);
    wanted.resource_type = resource->type;
    wanted.resource_name = resource->name;
    wanted.configs = changes;
    wanted.configs_len = count;
    request.resources = &wanted;
    request.resources_len = 1;
    request.validate_only = validate_only;
    int code = client_call(client, CLIENT_INCREMENTAL_ALTER_CONFIGS, &request, &response);
    if (code)
        return code;
    if (response.responses_len != 1)
        return out_fail(EXIT_REFUSED, "the broker answered for %d resources instead of one",
                        response.responses_len);
    if (response.responses[0].error_code)
        return fail_change(client, resource, &wanted, &response.responses[0]);
    return EXIT_FINE;
}

static int print_changes(const struct args *args, const struct resource *resource,
                         const struct incremental_alter_configs_request_config *changes,
                         int32_t count)
{
    json_t *json = json_array();
    for (int32_t i = 0; i < count; i++) {
        bool is_set = changes[i].config_operation == OPERATION_SET;
        json_array_append_new(json,
                              json_pack("{s:s, s:s, s:o, s:o, s:b}", "kind", resource->kind, "name",
                                        resource->shown, "key", json_str(changes[i].name), "value",
                                        json_str(changes[i].value), "set", is_set));
        if (!args_is_json(args))
            printf("%s %s %s: %.*s%s%.*s\n", is_set ? "set" : "unset", resource->kind,
                   resource->shown, STR_ARG(changes[i].name), is_set ? "=" : "",
                   STR_ARG(changes[i].value));
    }
    fflush(stdout);
    int code = args_is_json(args) ? out_json(json_incref(json)) : EXIT_FINE;
    json_decref(json);
    return code;
}

/* The operands from the third on are what to change. */
static int change_run(const struct args *args, int8_t operation)
{
    struct client client;
    struct resource resource = resource_of(args->operands[0], args->operands[1]);
    for (size_t i = 2; i < args->operand_count && operation == OPERATION_SET; i++) {
        const char *pair = args->operands[i];
        if (!strchr(pair, '=') || pair[0] == '=')
            return out_fail(EXIT_USAGE, "'%s' is not KEY=VALUE, such as retention.ms=86400000",
                            pair);
    }
    int code = open_for(&client, args, &resource);
    if (!code) {
        int32_t count = (int32_t)args->operand_count - 2;
        struct incremental_alter_configs_request_config *changes =
            client_array(&client, (size_t)count, sizeof(*changes));
        for (int32_t i = 0; i < count; i++)
            set_change(&changes[i], args->operands[i + 2], operation);
        code = alter(&client, &resource, changes, count, args_has(args, "validate-only"));
        if (!code)
            code = print_changes(args, &resource, changes, count);
    }
    client_close(&client);
    return code;
}

int config_set_run(const struct args *args)
{
    return change_run(args, OPERATION_SET);
}

int config_unset_run(const struct args *args)
{
    return change_run(args, OPERATION_DELETE);
}

int config_alter_topic(const struct args *args, const char *topic)
{
    struct client client;
    struct resource resource = {RESOURCE_TOPIC, "topic", str_of(topic), topic};
    int set_count = count_given(args, "config"), count = set_count + count_given(args, "unset");
    int code = client_open(&client, args);
    if (!code) {
        struct incremental_alter_configs_request_config *changes =
            client_array(&client, (size_t)count, sizeof(*changes));
        for (int i = 0; i < count; i++) {
            bool is_set = i < set_count;
            const char *text = is_set ? args_nth(args, "config", (size_t)i)
                                      : args_nth(args, "unset", (size_t)(i - set_count));
            set_change(&changes[i], text, is_set ? OPERATION_SET : OPERATION_DELETE);
        }
        code = alter(&client, &resource, changes, count, false);
        if (!code)
            code = print_changes(args, &resource, changes, count);
    }
    client_close(&client);
    return code;
}

/* ---- list ---- */

static int compare_resources(const void *a, const void *b)
{
    const struct list_config_resources_response_config_resource *x = a, *y = b;
    int order = (x->resource_type > y->resource_type) - (x->resource_type < y->resource_type);
    return order ? order : str_cmp(x->resource_name, y->resource_name);
}

static int print_resources(const struct args *args,
                           const struct list_config_resources_response *response)
{
    static const struct column columns[] = {{"KIND", false}, {"NAME", false}};
    struct grid table;
    struct buf out;
    json_t *json = json_array();
    grid_init(&table, columns, ARRAY_LEN(columns));
    buf_init(&out, BUF_NO_LIMIT);
    for (int32_t i = 0; i < response->config_resources_len; i++) {
        const struct list_config_resources_response_config_resource *resource =
            &response->config_resources[i];
        struct str name = resource->resource_name.len ? resource->resource_name : STR("default");
        const char *kind = kind_of_type(resource->resource_type);
        json_array_append_new(json, json_pack("{s:s, s:o}", "kind", kind, "name", json_str(name)));
        grid_put(&table, "%s", kind);
        grid_put(&table, "%.*s", STR_ARG(name));
    }
    grid_print(&table, &out);
    grid_deinit(&table);
    return out_either(args_is_json(args), json, &out);
}

int config_list_run(const struct args *args)
{
    struct client client;
    struct list_config_resources_request request;
    struct list_config_resources_response response;
    int8_t types[ARRAY_LEN(kind_types)];
    MSG_INIT(list_config_resources_request, &request);
    request.resource_types = types;
    for (size_t i = 0; i < ARRAY_LEN(kind_types); i++) {
        if (args->operand_count == 0 || strcmp(config_kinds[i], args->operands[0]) == 0)
            types[request.resource_types_len++] = kind_types[i];
    }
    int code = client_open(&client, args);
    if (!code)
        code = client_call(&client, CLIENT_LIST_CONFIG_RESOURCES, &request, &response);
    if (!code && response.error_code)
        code = client_fail(response.error_code, STR_NULL, "cannot list what has configs");
    if (!code) {
        qsort(response.config_resources, (size_t)response.config_resources_len,
              sizeof(*response.config_resources), compare_resources);
        code = print_resources(args, &response);
    }
    client_close(&client);
    return code;
}
