/* Changing the settings of topics, brokers, groups and client-metrics subscriptions.
 *
 * A resource's new settings are worked out as a whole, checked as a whole, and only then become
 * records: one for each key that differs (for brokers one for each key that was named, as Kafka
 * does). Sentences and codes are Kafka's; what this version cannot do while it runs is refused.
 *
 * Pure; shard 0. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/assert.h"
#include "base/parse.h"
#include "meta/config_keys.h"
#include "meta/controller_internal.h"
#include "meta/topic_support.h"

#define MIN_ISR "min.insync.replicas"

struct alteration {
    const struct controller *controller;
    const struct controller_call *call;
    const struct alter_resource *resource;
    const struct config_image *before;
    bool replaces; /* the older request: what is not named goes away */
    /* What the resource will have, and which of the named keys are set or deleted. */
    struct config_entry *entries;
    size_t count;
    struct meta_error error;
};

static enum err refuse(struct alteration *a, enum err err, const char *text)
{
    return meta_error_set(&a->error, a->call->arena, err, "%s", text);
}

/* --- which resource --- */

static enum err check_broker_name(struct alteration *a)
{
    struct str name = a->resource->name;
    if (name.len == 0)
        return ERR_OK;
    int32_t id;
    if (parse_i32(name, &id))
        return meta_error_set(&a->error, a->call->arena, ERR_INVALID_REQUEST,
                              "Node id must be an integer, but it is: %.*s", STR_ARG(name));
    if (id != a->controller->node_id)
        return meta_error_set(&a->error, a->call->arena, ERR_INVALID_REQUEST,
                              "Unexpected broker id, expected %" PRId32 ", but received %.*s",
                              a->controller->node_id, STR_ARG(name));
    return ERR_OK;
}

static enum err check_topic_name(struct alteration *a)
{
    struct str name = a->resource->name;
    if (name.len == 0)
        return refuse(a, ERR_INVALID_REQUEST, "Default topic resources are not allowed.");
    TRY(topic_name_check(name, a->call->arena, &a->error));
    if (!image_topic_by_name(a->controller->head, name))
        return meta_error_set(&a->error, a->call->arena, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                              "The topic '%.*s' does not exist.", STR_ARG(name));
    return ERR_OK;
}

/* There is no logger whose level could be changed. */
static enum err check_loggers(struct alteration *a)
{
    const struct alter_resource *resource = a->resource;
    struct arena *arena = a->call->arena;
    if (a->replaces)
        return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST, "Unknown resource type %d",
                              CONFIG_BROKER_LOGGER);
    if (resource->name.len == 0)
        return refuse(a, ERR_INVALID_REQUEST, "Node id must be an integer, but it is: ");
    TRY(check_broker_name(a));
    for (size_t i = 0; i < resource->count; i++)
        if (resource->configs[i].op == ALTER_APPEND || resource->configs[i].op == ALTER_SUBTRACT)
            return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                                  "%s operation is not allowed for the BROKER_LOGGER resource",
                                  resource->configs[i].op == ALTER_APPEND ? "APPEND" : "SUBTRACT");
    if (resource->count == 0)
        return ERR_OK;
    return meta_error_set(&a->error, arena, ERR_INVALID_CONFIG, "Logger %.*s does not exist!",
                          STR_ARG(resource->configs[0].key));
}

static enum err check_resource(struct alteration *a)
{
    switch (a->resource->type) {
    case CONFIG_TOPIC:
        return check_topic_name(a);
    case CONFIG_BROKER:
        return check_broker_name(a);
    case CONFIG_BROKER_LOGGER:
        return check_loggers(a);
    case CONFIG_CLIENT_METRICS:
        if (a->resource->name.len == 0)
            return refuse(a, ERR_INVALID_REQUEST, "Subscription name can't be empty");
        return ERR_OK;
    case CONFIG_GROUP:
        if (a->resource->name.len == 0)
            return refuse(a, ERR_INVALID_REQUEST, "Default group resources are not allowed.");
        return ERR_OK;
    default:
        return meta_error_set(&a->error, a->call->arena, ERR_INVALID_REQUEST,
                              "Unknown resource type %d", (int)a->resource->type);
    }
}

static enum config_scope scope_of(int8_t type)
{
    switch (type) {
    case CONFIG_TOPIC:
        return CONFIG_SCOPE_TOPIC;
    case CONFIG_GROUP:
        return CONFIG_SCOPE_GROUP;
    case CONFIG_CLIENT_METRICS:
        return CONFIG_SCOPE_CLIENT_METRICS;
    default:
        return CONFIG_SCOPE_BROKER;
    }
}

/* --- the request's own form --- */

static int key_compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

#define NULLS_NAMED_MAX 10

static enum err check_form(struct alteration *a)
{
    const struct alter_resource *resource = a->resource;
    struct arena *arena = a->call->arena;
    struct str nulls = STR("");
    size_t null_count = 0;
    struct str *keys = arena_array(arena, resource->count, sizeof(*keys));
    if (!keys)
        return ERR_NOMEM;
    for (size_t i = 0; i < resource->count; i++) {
        const struct alter_config *config = &resource->configs[i];
        keys[i] = config->key;
        bool may_be_null = !a->replaces && config->op == ALTER_DELETE;
        if (str_is_null(config->value) && !may_be_null && null_count++ < NULLS_NAMED_MAX)
            nulls = arena_printf(arena, "%.*s%s%.*s", STR_ARG(nulls), nulls.len ? "," : "",
                                 STR_ARG(config->key));
        if (!a->replaces && (config->op < ALTER_SET || config->op > ALTER_SUBTRACT))
            return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                                  "Unknown alter config operation %d", (int)config->op);
    }
    if (null_count > 0)
        return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                              "Null value not supported for : %.*s", STR_ARG(nulls));
    qsort(keys, resource->count, sizeof(*keys), key_compare);
    for (size_t i = 1; i < resource->count; i++)
        if (str_eq(keys[i], keys[i - 1]))
            return refuse(a, ERR_INVALID_REQUEST, "Error due to duplicate config keys");
    return ERR_OK;
}

/* --- the new settings --- */

static bool list_contains(struct str list, struct str word)
{
    struct str element;
    while (config_list_next(&list, &element))
        if (str_eq(element, word))
            return true;
    return false;
}

/* The elements of `list` that are not in `without`, then those of `more` that are new. */
static struct str list_merge(struct str list, struct str without, struct str more,
                             struct arena *arena)
{
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    struct str rest = list;
    struct str element;
    while (config_list_next(&rest, &element))
        if (element.len > 0 && !list_contains(without, element))
            buf_printf(&buf, "%s%.*s", buf.len ? "," : "", STR_ARG(element));
    rest = more;
    while (config_list_next(&rest, &element))
        if (element.len > 0 && !list_contains(list, element))
            buf_printf(&buf, "%s%.*s", buf.len ? "," : "", STR_ARG(element));
    struct str merged =
        buf.err ? STR_NULL
                : arena_str(arena, (struct str){buf.len ? (const char *)buf.data : "", buf.len});
    buf_deinit(&buf);
    return merged;
}

/* Bounds the work of merging two lists, which is their product. */
#define LIST_BYTES_MAX 65536

static enum err merged_list(struct alteration *a, const struct alter_config *config,
                            struct str *value)
{
    const struct config_def *def = config_def_find(scope_of(a->resource->type), config->key);
    bool appends = config->op == ALTER_APPEND;
    /* Apache Kafka's controller knows the types of topics' and brokers' keys alone. */
    bool knows_type = a->resource->type == CONFIG_TOPIC || a->resource->type == CONFIG_BROKER;
    if (!def || !knows_type || def->type != CONFIG_TYPE_LIST)
        return meta_error_set(&a->error, a->call->arena, ERR_INVALID_CONFIG,
                              "Can't %s to key %.*s because its type is not LIST.",
                              appends ? "APPEND" : "SUBTRACT", STR_ARG(config->key));
    struct str present = config_image_get(a->before, config->key);
    if (str_is_null(present))
        present = def->fallback ? str_of(def->fallback) : STR("");
    if (present.len > LIST_BYTES_MAX || config->value.len > LIST_BYTES_MAX)
        return refuse(a, ERR_INVALID_CONFIG, "The list is too long");
    *value = appends ? list_merge(present, STR_NULL, config->value, a->call->arena)
                     : list_merge(present, config->value, STR_NULL, a->call->arena);
    return str_is_null(*value) ? ERR_NOMEM : ERR_OK;
}

static int change_compare(const void *a, const void *b)
{
    return str_cmp(((const struct config_entry *)a)->key, ((const struct config_entry *)b)->key);
}

/* The changes as key and new value (null: deleted), in the order of their keys. */
static enum err list_changes(struct alteration *a, struct config_entry **out, size_t *count)
{
    const struct alter_resource *resource = a->resource;
    uint32_t had = a->before ? a->before->count : 0;
    struct config_entry *changes =
        arena_array(a->call->arena, resource->count + had, sizeof(*changes));
    if (!changes)
        return ERR_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < resource->count; i++) {
        const struct alter_config *config = &resource->configs[i];
        struct str value = config->value;
        if (!a->replaces && config->op == ALTER_DELETE)
            value = STR_NULL;
        else if (!a->replaces && config->op != ALTER_SET)
            TRY(merged_list(a, config, &value));
        changes[n++] = (struct config_entry){config->key, value};
    }
    qsort(changes, n, sizeof(*changes), change_compare);
    size_t named = n;
    for (uint32_t i = 0; a->replaces && i < had; i++) {
        struct config_entry key = {a->before->entries[i].key, STR_NULL};
        if (!bsearch(&key, changes, named, sizeof(*changes), change_compare))
            changes[n++] = key;
    }
    qsort(changes, n, sizeof(*changes), change_compare);
    *out = changes;
    *count = n;
    return ERR_OK;
}

/* Two ordered lists become one. */
static enum err merge_changes(struct alteration *a, const struct config_entry *changes,
                              size_t change_count)
{
    size_t had = a->before ? a->before->count : 0;
    a->entries = arena_array(a->call->arena, had + change_count, sizeof(*a->entries));
    if (!a->entries)
        return ERR_NOMEM;
    size_t i = 0;
    size_t j = 0;
    while (i < had || j < change_count) {
        int order = i == had            ? 1
                    : j == change_count ? -1
                                        : str_cmp(a->before->entries[i].key, changes[j].key);
        if (order < 0)
            a->entries[a->count++] = a->before->entries[i];
        else if (!str_is_null(changes[j].value))
            a->entries[a->count++] = changes[j];
        i += order <= 0;
        j += order >= 0;
    }
    return ERR_OK;
}

/* --- is it allowed --- */

static enum err check_elr(struct alteration *a, const struct config_entry *changes, size_t count)
{
    if (a->resource->type != CONFIG_BROKER || !controller_elr_enabled(a->controller))
        return ERR_OK;
    for (size_t i = 0; i < count; i++) {
        if (!str_eq_cstr(changes[i].key, MIN_ISR))
            continue;
        if (a->resource->name.len > 0)
            return refuse(a, ERR_INVALID_CONFIG,
                          "Broker-level min.insync.replicas cannot be altered while ELR is "
                          "enabled.");
        if (str_is_null(changes[i].value))
            return refuse(a, ERR_INVALID_CONFIG,
                          "Cluster-level min.insync.replicas cannot be removed while ELR is "
                          "enabled.");
    }
    return ERR_OK;
}

static bool is_topic_default(const char *broker_key)
{
    for (size_t i = 0; i < config_topic_synonym_count; i++)
        if (strcmp(config_topic_synonyms[i].broker_key, broker_key) == 0)
            return true;
    return false;
}

/* Broker keys that are looked at again when they change: topics' defaults always are, the cleaner's
 * before each pass, those of connections when one comes, quotas now and then. Those of listeners
 * with SASL or TLS change nothing in Apache Kafka either where there is no such listener, and a
 * node that was asked for one does not start. */
static bool takes_effect_while_running(const struct config_def *def)
{
    return def->support == CONFIG_INHERENT || def->is_quota || is_topic_default(def->key) ||
           strncmp(def->key, "log.cleaner.", strlen("log.cleaner.")) == 0 ||
           strncmp(def->key, "max.connections", strlen("max.connections")) == 0 ||
           strncmp(def->key, "sasl.", strlen("sasl.")) == 0 ||
           strncmp(def->key, "ssl.", strlen("ssl.")) == 0;
}

static enum err check_topic_default(struct alteration *a, const struct config_entry *entry)
{
    for (size_t i = 0; i < config_topic_synonym_count; i++) {
        if (!str_eq_cstr(entry->key, config_topic_synonyms[i].broker_key))
            continue;
        struct meta_error why;
        if (topic_support_check(str_of(config_topic_synonyms[i].topic_key), entry->value,
                                a->call->arena, &why))
            return meta_error_set(&a->error, a->call->arena, ERR_INVALID_REQUEST, "%.*s",
                                  STR_ARG(why.text));
    }
    return ERR_OK;
}

/* Keys and certificates, which Kafka takes for one listener at a time. */
static bool is_listener_secret(const char *key)
{
    return strncmp(key, "ssl.keystore.", 13) == 0 || strncmp(key, "ssl.truststore.", 15) == 0 ||
           strcmp(key, "ssl.key.password") == 0;
}

/* What is in force for a broker key, dynamic settings and the file considered. */
static struct str broker_value(const struct alteration *a, struct str key)
{
    struct config_view view = controller_view(a->controller);
    enum config_source source;
    return config_broker_value(&view, config_def_find(CONFIG_SCOPE_BROKER, key), &source);
}

/* Kafka at most doubles or halves its pools of threads at a time. There are no such pools here, but
 * what is refused there is not accepted here. */
static enum err check_thread_count(struct alteration *a, const struct config_def *def,
                                   struct str value)
{
    static const char *const pools[] = {"background.threads", "log.cleaner.threads",
                                        "num.io.threads", "num.recovery.threads.per.data.dir"};
    bool is_pool = false;
    for (size_t i = 0; i < ARRAY_LEN(pools); i++)
        is_pool |= strcmp(pools[i], def->key) == 0;
    if (!is_pool || a->resource->name.len == 0)
        return ERR_OK;
    int64_t present = config_value_i64(broker_value(a, str_of(def->key)));
    int64_t wanted = config_value_i64(value);
    int64_t least = present / 2 > 1 ? present / 2 : 1;
    if (wanted >= least && wanted <= 2 * present)
        return ERR_OK;
    return meta_error_set(&a->error, a->call->arena, ERR_INVALID_REQUEST,
                          "%s can be halved or doubled at once, no more: it is %" PRId64
                          ", so from %" PRId64 " to %" PRId64,
                          def->key, present, least, 2 * present);
}

/* What a key of the resource will be: its own entry, else what lies below. */
static struct str future_value(const struct alteration *a, struct str key)
{
    for (size_t i = 0; i < a->count; i++)
        if (str_eq(a->entries[i].key, key))
            return a->entries[i].value;
    struct config_view view = controller_view(a->controller);
    const struct config_image *cluster = image_config(view.image, CONFIG_BROKER, STR(""));
    struct str value = a->resource->name.len > 0 ? config_image_get(cluster, key) : STR_NULL;
    if (str_is_null(value))
        value = config_static_get(view.configs, key);
    const struct config_def *def = config_def_find(CONFIG_SCOPE_BROKER, key);
    return str_is_null(value) && def->fallback ? str_of(def->fallback) : value;
}

static enum err check_connections(struct alteration *a)
{
    struct str per_address = future_value(a, STR("max.connections.per.ip"));
    if (config_value_i64(per_address) != 0 ||
        future_value(a, STR("max.connections.per.ip.overrides")).len > 0)
        return ERR_OK;
    return refuse(a, ERR_INVALID_REQUEST,
                  "requirement failed: max.connections.per.ip can be set to zero only if "
                  "max.connections.per.ip.overrides property is set.");
}

static enum err check_broker_key(struct alteration *a, const struct config_entry *entry)
{
    struct arena *arena = a->call->arena;
    const struct config_def *def = config_def_find(CONFIG_SCOPE_BROKER, entry->key);
    if (!def)
        return ERR_OK; /* Kafka keeps what it does not know: plug-ins may */
    if (def->update == CONFIG_READ_ONLY)
        return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                              "Cannot update these configs dynamically: [%s]", def->key);
    if (is_listener_secret(def->key))
        return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                              "These security configs can be dynamically updated only per-listener "
                              "using the listener prefix: [%s]",
                              def->key);
    if (def->update == CONFIG_PER_BROKER && a->resource->name.len == 0)
        return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                              "Cannot update these configs at default cluster level, broker id "
                              "must be specified: [%s]",
                              def->key);
    if (str_is_null(entry->value))
        return ERR_OK;
    struct meta_error why;
    if (config_def_check(def, entry->value, arena, &why))
        return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST, "%.*s", STR_ARG(why.text));
    if (!takes_effect_while_running(def))
        return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                              "This version cannot change %s while the broker runs. Set it in "
                              "server.properties and restart.",
                              def->key);
    TRY(check_thread_count(a, def, entry->value));
    return check_topic_default(a, entry);
}

/* A group's value lies between the broker's group.KIND.min.REST and group.KIND.max.REST. */
static enum err check_group_bound(struct alteration *a, const struct config_entry *entry,
                                  bool is_min)
{
    const char *dot = memchr(entry->key.data, '.', entry->key.len);
    ASSERT(dot);
    size_t kind_len = (size_t)(dot - entry->key.data);
    struct str rest = {dot + 1, entry->key.len - kind_len - 1};
    /* streams.num.standby.replicas is bounded by group.streams.max.standby.replicas. */
    if (rest.len > 4 && memcmp(rest.data, "num.", 4) == 0)
        rest = (struct str){rest.data + 4, rest.len - 4};
    struct str key = arena_printf(a->call->arena, "group.%.*s.%s.%.*s", (int)kind_len,
                                  entry->key.data, is_min ? "min" : "max", STR_ARG(rest));
    const struct config_def *bound = config_def_find(CONFIG_SCOPE_BROKER, key);
    if (!bound)
        return ERR_OK;
    int64_t limit = controller_config_i64(a->controller, bound->key);
    int64_t value = config_value_i64(entry->value);
    if (is_min ? value >= limit : value <= limit)
        return ERR_OK;
    return meta_error_set(&a->error, a->call->arena, ERR_INVALID_CONFIG,
                          "%.*s must be %s than or equal to %s", STR_ARG(entry->key),
                          is_min ? "greater" : "less", bound->key);
}

static enum err check_group(struct alteration *a)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct config_entry *entry = &a->entries[i];
        const struct config_def *def = config_def_find(CONFIG_SCOPE_GROUP, entry->key);
        if (!def)
            return meta_error_set(&a->error, a->call->arena, ERR_INVALID_CONFIG,
                                  "Unknown group config name: %.*s", STR_ARG(entry->key));
        TRY(config_def_check(def, entry->value, a->call->arena, &a->error));
        if (def->type != CONFIG_TYPE_INT)
            continue;
        TRY(check_group_bound(a, entry, true));
        TRY(check_group_bound(a, entry, false));
    }
    return ERR_OK;
}

/* PCRE2 refuses what would grow too large; the C library's regcomp takes gigabytes for a few nested
 * repeats. */
static bool is_regex(struct str pattern)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *regex =
        pcre2_compile((PCRE2_SPTR)pattern.data, pattern.len, PCRE2_UTF, &code, &at, NULL);
    pcre2_code_free(regex);
    return regex != NULL;
}

/* `selector=pattern`. */
static bool is_client_match(struct str element)
{
    static const char *const selectors[] = {
        "client_instance_id",    "client_id",
        "client_software_name",  "client_software_version",
        "client_source_address", "client_source_port",
    };
    const char *equals = element.len ? memchr(element.data, '=', element.len) : NULL;
    if (!equals)
        return false;
    struct str selector = {element.data, (size_t)(equals - element.data)};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(selectors); i++)
        known = known || str_eq_cstr(selector, selectors[i]);
    return known && is_regex((struct str){equals + 1, element.len - selector.len - 1});
}

static enum err check_client_metrics(struct alteration *a)
{
    struct arena *arena = a->call->arena;
    for (size_t i = 0; i < a->count; i++) {
        const struct config_entry *entry = &a->entries[i];
        const struct config_def *def = config_def_find(CONFIG_SCOPE_CLIENT_METRICS, entry->key);
        if (!def)
            return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                                  "Unknown client metrics configuration: %.*s",
                                  STR_ARG(entry->key));
        TRY(config_def_check(def, entry->value, arena, &a->error));
        if (str_eq(entry->key, STR("interval.ms"))) {
            int64_t interval_ms = config_value_i64(entry->value);
            if (interval_ms < 100 || interval_ms > 3600000)
                return meta_error_set(&a->error, arena, ERR_INVALID_REQUEST,
                                      "Invalid value %" PRId64 " for interval.ms, interval must "
                                      "be between 100 and 3600000 (1 hour)",
                                      interval_ms);
        } else if (str_eq(entry->key, STR("match"))) {
            struct str rest = entry->value;
            struct str element;
            while (rest.len > 0 && config_list_next(&rest, &element))
                if (!is_client_match(element))
                    return meta_error_set(&a->error, arena, ERR_INVALID_CONFIG,
                                          "Illegal client matching pattern: %.*s",
                                          STR_ARG(element));
        }
    }
    return ERR_OK;
}

static enum err check_settings(struct alteration *a, const struct config_entry *changes,
                               size_t change_count)
{
    switch (a->resource->type) {
    case CONFIG_TOPIC:
        return topic_configs_check(a->entries, a->count, a->call->arena, &a->error);
    case CONFIG_GROUP:
        return check_group(a);
    case CONFIG_CLIENT_METRICS:
        return check_client_metrics(a);
    default:
        for (size_t i = 0; i < change_count; i++)
            TRY(check_broker_key(a, &changes[i]));
        TRY(check_connections(a));
        return check_elr(a, changes, change_count);
    }
}

/* --- records --- */

static enum err add_records(struct alteration *a, const struct config_entry *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct str present = config_image_get(a->before, changes[i].key);
        if (str_eq(present, changes[i].value) && a->resource->type != CONFIG_BROKER)
            continue;
        struct config_record *r = CALL_BODY(a->call, config_record);
        if (!r)
            return ERR_NOMEM;
        r->resource_type = a->resource->type;
        r->resource_name = a->resource->name;
        r->name = changes[i].key;
        r->value = changes[i].value;
        TRY(controller_add(a->controller, a->call, META_CONFIG, r));
    }
    return ERR_OK;
}

static enum err alter_one(struct alteration *a)
{
    TRY(check_form(a));
    TRY(check_resource(a));
    a->before =
        image_config(a->controller->head, (enum config_type)a->resource->type, a->resource->name);
    struct config_entry *changes;
    size_t count;
    TRY(list_changes(a, &changes, &count));
    TRY(merge_changes(a, changes, count));
    TRY(check_settings(a, changes, count));
    return add_records(a, changes, count);
}

struct resource_key {
    int8_t type;
    struct str name;
    size_t index;
};

static int resource_compare(const void *a, const void *b)
{
    const struct resource_key *x = a;
    const struct resource_key *y = b;
    int order = (x->type > y->type) - (x->type < y->type);
    return order ? order : str_cmp(x->name, y->name);
}

static enum err find_doubles(const struct alter_resource *resources, size_t count,
                             struct arena *arena, bool **doubles)
{
    struct resource_key *keys = arena_array(arena, count, sizeof(*keys));
    bool *marks = arena_array(arena, count, sizeof(*marks));
    if (!keys || !marks)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        keys[i] = (struct resource_key){resources[i].type, resources[i].name, i};
    qsort(keys, count, sizeof(*keys), resource_compare);
    for (size_t i = 1; i < count; i++)
        if (resource_compare(&keys[i], &keys[i - 1]) == 0)
            marks[keys[i].index] = marks[keys[i - 1].index] = true;
    *doubles = marks;
    return ERR_OK;
}

static enum err alter_all(const struct controller *controller, const struct controller_call *call,
                          const struct alter_resource *resources, size_t count, bool replaces,
                          bool validate_only, struct altered_resource **out)
{
    struct altered_resource *answers = arena_array(call->arena, count, sizeof(*answers));
    bool *doubles;
    TRY(find_doubles(resources, count, call->arena, &doubles));
    if (!answers)
        return ERR_NOMEM;
    size_t first_record = call->records->count;
    for (size_t i = 0; i < count; i++) {
        struct alteration a = {.controller = controller,
                               .call = call,
                               .resource = &resources[i],
                               .replaces = replaces};
        size_t before = call->records->count;
        enum err err =
            doubles[i] ? refuse(&a, ERR_INVALID_REQUEST, "Each resource must appear at most once.")
                       : alter_one(&a);
        if (err == ERR_NOMEM)
            return err;
        if (err)
            call->records->count = before;
        answers[i] = (struct altered_resource){resources[i].type, resources[i].name, err,
                                               err ? a.error.text : STR_NULL};
    }
    if (validate_only)
        call->records->count = first_record;
    *out = answers;
    return ERR_OK;
}

enum err controller_alter_configs(const struct controller *controller,
                                  const struct controller_call *call,
                                  const struct alter_resource *resources, size_t count,
                                  bool validate_only, struct altered_resource **answers)
{
    return alter_all(controller, call, resources, count, false, validate_only, answers);
}

enum err controller_replace_configs(const struct controller *controller,
                                    const struct controller_call *call,
                                    const struct alter_resource *resources, size_t count,
                                    bool validate_only, struct altered_resource **answers)
{
    return alter_all(controller, call, resources, count, true, validate_only, answers);
}
