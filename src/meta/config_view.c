/* Which value is in force, and the long answer that DescribeConfigs gives about it.
 *
 * A topic key: the topic's own value, else, for each broker key that it takes its default from (in
 * their order), this broker's dynamic value, the cluster-wide dynamic value, the file; else the
 * default. A broker key: dynamic for this broker, dynamic cluster-wide, the file, the default.
 *
 * Pure; any thread: reads an image and the file's settings. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/parse.h"
#include "meta/config_def.h"
#include "meta/config_keys.h"

struct str config_static_get(const struct config_static *configs, struct str key)
{
    size_t low = 0;
    size_t high = configs ? configs->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(configs->entries[middle].key, key);
        if (order == 0)
            return configs->entries[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return STR_NULL;
}

static struct str fallback_of(const struct config_def *def)
{
    return def && def->fallback ? str_of(def->fallback) : STR_NULL;
}

/* The layers of a broker, strongest first. */
struct broker_layers {
    const struct config_image *node;
    const struct config_image *cluster;
    const struct config_static *file;
};

static struct broker_layers layers_of(const struct config_view *view)
{
    char id[16];
    int len = snprintf(id, sizeof(id), "%" PRId32, view->broker_id);
    struct broker_layers layers = {.file = view->configs};
    if (view->image) {
        layers.node = image_config(view->image, CONFIG_BROKER, (struct str){id, (size_t)len});
        layers.cluster = image_config(view->image, CONFIG_BROKER, STR(""));
    }
    return layers;
}

/* What is set for a broker key; null if nothing is. */
static struct str layers_get(const struct broker_layers *layers, struct str key,
                             enum config_source *source)
{
    struct str value = config_image_get(layers->node, key);
    *source = CONFIG_SOURCE_DYNAMIC_BROKER;
    if (str_is_null(value)) {
        value = config_image_get(layers->cluster, key);
        *source = CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER;
    }
    if (str_is_null(value)) {
        value = config_static_get(layers->file, key);
        *source = CONFIG_SOURCE_STATIC_BROKER;
    }
    return value;
}

static struct str broker_value(const struct broker_layers *layers, const struct config_def *def,
                               enum config_source *source)
{
    struct str value = layers_get(layers, str_of(def->key), source);
    if (!str_is_null(value))
        return value;
    *source = CONFIG_SOURCE_DEFAULT;
    return fallback_of(def);
}

struct str config_broker_value(const struct config_view *view, const struct config_def *def,
                               enum config_source *source)
{
    struct broker_layers layers = layers_of(view);
    return broker_value(&layers, def, source);
}

/* A broker key's text in the topic key's unit. Kafka reads any negative retention as "for ever". */
static struct str convert(const struct config_topic_synonym *synonym, struct str value,
                          struct arena *arena)
{
    bool is_retention = str_eq_cstr(STR("retention.ms"), synonym->topic_key);
    if (synonym->factor == 1 && !is_retention)
        return value;
    int64_t number = config_value_i64(value);
    if (is_retention && number < 0)
        return STR("-1");
    if (synonym->factor == 1)
        return value;
    if (__builtin_mul_overflow(number, synonym->factor, &number))
        number = INT64_MAX;
    return arena_printf(arena, "%" PRId64, number);
}

static struct str topic_value(const struct broker_layers *layers, const struct config_image *topic,
                              const struct config_def *def, struct arena *arena,
                              enum config_source *source)
{
    struct str value = config_image_get(topic, str_of(def->key));
    *source = CONFIG_SOURCE_DYNAMIC_TOPIC;
    if (!str_is_null(value))
        return value;
    for (size_t i = 0; i < config_topic_synonym_count; i++) {
        const struct config_topic_synonym *synonym = &config_topic_synonyms[i];
        if (strcmp(synonym->topic_key, def->key) != 0)
            continue;
        value = layers_get(layers, str_of(synonym->broker_key), source);
        if (!str_is_null(value))
            return convert(synonym, value, arena);
    }
    *source = CONFIG_SOURCE_DEFAULT;
    return fallback_of(def);
}

static const struct config_image *topic_layer(const struct config_view *view, struct str topic)
{
    return view->image ? image_config(view->image, CONFIG_TOPIC, topic) : NULL;
}

struct str config_topic_value(const struct config_view *view, struct str topic,
                              const struct config_def *def, struct arena *arena,
                              enum config_source *source)
{
    struct broker_layers layers = layers_of(view);
    return topic_value(&layers, topic_layer(view, topic), def, arena, source);
}

/* --- describe --- */

#define SYNONYMS_MAX 16

struct synonym_list {
    struct config_synonym items[SYNONYMS_MAX];
    size_t count;
};

static void synonyms_add(struct synonym_list *list, const char *key, struct str value,
                         enum config_source source)
{
    if (str_is_null(value))
        return;
    ASSERT(list->count < SYNONYMS_MAX);
    const struct config_def *def = config_def_find(CONFIG_SCOPE_BROKER, str_of(key));
    bool sensitive = def && def->type == CONFIG_TYPE_PASSWORD;
    list->items[list->count++] =
        (struct config_synonym){str_of(key), sensitive ? STR_NULL : value, source};
}

/* The broker keys that stand for the same setting as `key`: those that share a topic key with it
 * (log.retention.ms, .minutes, .hours); at least `key` itself. */
static size_t broker_family(const char *key, const char *family[4])
{
    for (size_t i = 0; i < config_topic_synonym_count; i++) {
        if (strcmp(config_topic_synonyms[i].broker_key, key) != 0)
            continue;
        size_t count = 0;
        for (size_t j = 0; j < config_topic_synonym_count; j++)
            if (strcmp(config_topic_synonyms[j].topic_key, config_topic_synonyms[i].topic_key) == 0)
                family[count++] = config_topic_synonyms[j].broker_key;
        ASSERT(count >= 1 && count <= 4);
        return count;
    }
    family[0] = key;
    return 1;
}

/* Kafka lists all that is set for the family, layer by layer, and drops what comes before the
 * first mention of the key itself. */
static void synonyms_of_broker_key(const struct broker_layers *layers, const char *key,
                                   struct synonym_list *list)
{
    const char *family[4];
    size_t count = broker_family(key, family);
    struct synonym_list all = {.count = 0};
    for (size_t i = 0; i < count; i++)
        synonyms_add(&all, family[i], config_image_get(layers->node, str_of(family[i])),
                     CONFIG_SOURCE_DYNAMIC_BROKER);
    for (size_t i = 0; i < count; i++)
        synonyms_add(&all, family[i], config_image_get(layers->cluster, str_of(family[i])),
                     CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER);
    for (size_t i = 0; i < count; i++)
        synonyms_add(&all, family[i], config_static_get(layers->file, str_of(family[i])),
                     CONFIG_SOURCE_STATIC_BROKER);
    for (size_t i = 0; i < count; i++)
        synonyms_add(&all, family[i],
                     fallback_of(config_def_find(CONFIG_SCOPE_BROKER, str_of(family[i]))),
                     CONFIG_SOURCE_DEFAULT);
    size_t at = 0;
    while (at < all.count && !str_eq_cstr(all.items[at].key, key))
        at++;
    for (; at < all.count; at++) {
        ASSERT(list->count < SYNONYMS_MAX);
        list->items[list->count++] = all.items[at];
    }
}

static enum err finish(struct config_described *out, const struct synonym_list *list,
                       struct arena *arena)
{
    out->source = list->count ? list->items[0].source : CONFIG_SOURCE_DEFAULT;
    out->is_default = out->source == CONFIG_SOURCE_DEFAULT;
    out->synonym_count = list->count;
    struct config_synonym *copy = arena_array(arena, list->count, sizeof(*copy));
    if (!copy)
        return ERR_NOMEM;
    if (list->count)
        memcpy(copy, list->items, list->count * sizeof(*copy));
    out->synonyms = copy;
    return ERR_OK;
}

/* Where the table has no sentence, what becomes of the key is the documentation. */
static struct str doc_of(const struct config_def *def, struct arena *arena)
{
    if (def->doc)
        return str_of(def->doc);
    if (def->note)
        return arena_printf(arena, "Accepted, and not needed by this broker: %s.", def->note);
    return STR("Accepted, and without effect: this version does not support it.");
}

struct describe_context {
    const struct config_view *view;
    struct broker_layers layers;
    const struct config_image *own; /* what is set on the resource itself */
    struct arena *arena;
};

static enum err describe_topic_key(const struct describe_context *c, const struct config_def *def,
                                   struct config_described *out)
{
    enum config_source source;
    *out = (struct config_described){
        .key = str_of(def->key),
        .type = def->type,
        .doc = doc_of(def, c->arena),
    };
    out->value = config_value_canonical(
        def, topic_value(&c->layers, c->own, def, c->arena, &source), c->arena);
    struct synonym_list list = {.count = 0};
    if (source == CONFIG_SOURCE_DYNAMIC_TOPIC)
        synonyms_add(&list, def->key, out->value, source);
    for (size_t i = 0; i < config_topic_synonym_count; i++) {
        if (strcmp(config_topic_synonyms[i].topic_key, def->key) == 0) {
            synonyms_of_broker_key(&c->layers, config_topic_synonyms[i].broker_key, &list);
            break;
        }
    }
    return finish(out, &list, c->arena);
}

static enum err describe_broker_key(const struct describe_context *c, const struct config_def *def,
                                    struct config_described *out)
{
    enum config_source source;
    bool sensitive = def->type == CONFIG_TYPE_PASSWORD;
    struct str value = broker_value(&c->layers, def, &source);
    *out = (struct config_described){
        .key = str_of(def->key),
        .type = def->type,
        .value = sensitive ? STR_NULL : config_value_canonical(def, value, c->arena),
        .sensitive = sensitive,
        .read_only = def->update == CONFIG_READ_ONLY,
        .doc = doc_of(def, c->arena),
    };
    struct synonym_list list = {.count = 0};
    synonyms_of_broker_key(&c->layers, def->key, &list);
    return finish(out, &list, c->arena);
}

/* A group's key takes its default from the broker key of the same name behind "group.". */
static enum err describe_group_key(const struct describe_context *c, const struct config_def *def,
                                   struct config_described *out)
{
    struct str key = str_of(def->key);
    struct str own = config_image_get(c->own, key);
    *out = (struct config_described){.key = key, .type = def->type, .doc = doc_of(def, c->arena)};
    struct synonym_list list = {.count = 0};
    synonyms_add(&list, def->key, own, CONFIG_SOURCE_DYNAMIC_GROUP);
    struct str broker_key = arena_printf(c->arena, "group.%s", def->key);
    if (str_is_null(broker_key))
        return ERR_NOMEM;
    const struct config_def *broker = config_def_find(CONFIG_SCOPE_BROKER, broker_key);
    if (broker) {
        enum config_source source;
        out->value = broker_value(&c->layers, broker, &source);
        synonyms_of_broker_key(&c->layers, broker->key, &list);
    } else {
        out->value = fallback_of(def);
        synonyms_add(&list, def->key, out->value, CONFIG_SOURCE_DEFAULT);
    }
    if (!str_is_null(own))
        out->value = own;
    return finish(out, &list, c->arena);
}

static enum err describe_metrics_key(const struct describe_context *c, const struct config_def *def,
                                     struct config_described *out)
{
    struct str own = config_image_get(c->own, str_of(def->key));
    *out = (struct config_described){
        .key = str_of(def->key),
        .type = def->type,
        .value = str_is_null(own) ? fallback_of(def) : own,
        .doc = doc_of(def, c->arena),
    };
    struct synonym_list list = {.count = 0};
    synonyms_add(&list, def->key, own, CONFIG_SOURCE_DYNAMIC_CLIENT_METRICS);
    return finish(out, &list, c->arena);
}

/* What is set on a broker resource under a key that no row describes: a listener's setting, or
 * something that Kafka's plug-ins would read. Its value is not shown. */
static void describe_unknown_key(const struct config_entry *entry, enum config_source source,
                                 struct config_described *out)
{
    *out = (struct config_described){
        .key = entry->key,
        .type = CONFIG_TYPE_UNKNOWN,
        .value = STR_NULL,
        .sensitive = true,
        .source = source,
    };
}

static bool is_wanted(struct str key, const struct str *keys, size_t key_count)
{
    if (!keys)
        return true;
    for (size_t i = 0; i < key_count; i++)
        if (str_eq(keys[i], key))
            return true;
    return false;
}

typedef enum err describe_fn(const struct describe_context *c, const struct config_def *def,
                             struct config_described *out);

static enum err describe_rows(const struct describe_context *c, enum config_scope scope,
                              const struct str *keys, size_t key_count, describe_fn *fn,
                              struct config_described **configs, size_t *count)
{
    const struct config_def *rows;
    size_t row_count = config_def_list(scope, &rows);
    struct config_described *out = arena_array(c->arena, row_count, sizeof(*out));
    if (!out)
        return ERR_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < row_count; i++) {
        struct str key = str_of(rows[i].key);
        bool hidden =
            (rows[i].is_internal || rows[i].is_quota || (rows[i].is_ours && !keys)) &&
            str_is_null(config_image_get(c->own, key)) &&
            (scope != CONFIG_SCOPE_BROKER || str_is_null(config_static_get(c->layers.file, key)));
        if (hidden || !is_wanted(key, keys, key_count))
            continue;
        TRY(fn(c, &rows[i], &out[n]));
        n++;
    }
    *configs = out;
    *count = n;
    return ERR_OK;
}

/* The cluster-wide defaults: only what is set there. */
static enum err describe_cluster_default(const struct describe_context *c, const struct str *keys,
                                         size_t key_count, struct config_described **configs,
                                         size_t *count)
{
    uint32_t set = c->own ? c->own->count : 0;
    struct config_described *out = arena_array(c->arena, set, sizeof(*out));
    if (!out)
        return ERR_NOMEM;
    size_t n = 0;
    for (uint32_t i = 0; i < set; i++) {
        const struct config_entry *entry = &c->own->entries[i];
        if (!is_wanted(entry->key, keys, key_count))
            continue;
        const struct config_def *def = config_def_find(CONFIG_SCOPE_BROKER, entry->key);
        if (!def) {
            describe_unknown_key(entry, CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER, &out[n++]);
            continue;
        }
        bool sensitive = def->type == CONFIG_TYPE_PASSWORD;
        out[n] = (struct config_described){
            .key = entry->key,
            .type = def->type,
            .value = sensitive ? STR_NULL : entry->value,
            .sensitive = sensitive,
            .read_only = def->update == CONFIG_READ_ONLY,
            .doc = doc_of(def, c->arena),
        };
        struct synonym_list list = {.count = 0};
        synonyms_add(&list, def->key, entry->value, CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER);
        TRY(finish(&out[n++], &list, c->arena));
    }
    *configs = out;
    *count = n;
    return ERR_OK;
}

static enum err describe_broker(const struct describe_context *c, struct str name,
                                const struct str *keys, size_t key_count,
                                struct config_described **configs, size_t *count,
                                struct meta_error *error)
{
    if (name.len == 0)
        return describe_cluster_default(c, keys, key_count, configs, count);
    int32_t id;
    if (parse_i32(name, &id))
        return meta_error_set(error, c->arena, ERR_INVALID_REQUEST,
                              "Broker id must be an integer, but it is: %.*s", STR_ARG(name));
    if (id != c->view->broker_id)
        return meta_error_set(error, c->arena, ERR_INVALID_REQUEST,
                              "Unexpected broker id, expected %" PRId32
                              " or empty string, but received %.*s",
                              c->view->broker_id, STR_ARG(name));
    return describe_rows(c, CONFIG_SCOPE_BROKER, keys, key_count, describe_broker_key, configs,
                         count);
}

static enum err check_logger_broker(const struct describe_context *c, struct str name,
                                    struct meta_error *error)
{
    int32_t id;
    if (name.len == 0)
        return meta_error_set(error, c->arena, ERR_INVALID_REQUEST, "Broker id must not be empty");
    if (parse_i32(name, &id))
        return meta_error_set(error, c->arena, ERR_INVALID_REQUEST,
                              "Broker id must be an integer, but it is: %.*s", STR_ARG(name));
    if (id != c->view->broker_id)
        return meta_error_set(error, c->arena, ERR_INVALID_REQUEST,
                              "Unexpected broker id, expected %" PRId32 " but received %.*s",
                              c->view->broker_id, STR_ARG(name));
    return ERR_OK;
}

enum err config_describe(const struct config_view *view, enum config_type type, struct str name,
                         const struct str *keys, size_t key_count, struct arena *arena,
                         struct config_described **configs, size_t *count, struct meta_error *error)
{
    struct describe_context c = {
        .view = view,
        .layers = layers_of(view),
        .own = view->image ? image_config(view->image, type, name) : NULL,
        .arena = arena,
    };
    switch (type) {
    case CONFIG_TOPIC:
        return describe_rows(&c, CONFIG_SCOPE_TOPIC, keys, key_count, describe_topic_key, configs,
                             count);
    case CONFIG_BROKER:
        return describe_broker(&c, name, keys, key_count, configs, count, error);
    case CONFIG_GROUP:
        if (name.len == 0)
            return meta_error_set(error, arena, ERR_INVALID_REQUEST,
                                  "Group name must not be empty");
        return describe_rows(&c, CONFIG_SCOPE_GROUP, keys, key_count, describe_group_key, configs,
                             count);
    case CONFIG_CLIENT_METRICS:
        if (name.len == 0)
            return meta_error_set(error, arena, ERR_INVALID_REQUEST,
                                  "Client metrics subscription name must not be empty");
        return describe_rows(&c, CONFIG_SCOPE_CLIENT_METRICS, keys, key_count, describe_metrics_key,
                             configs, count);
    case CONFIG_BROKER_LOGGER:
        *configs = NULL; /* there is none whose level could be changed */
        *count = 0;
        return check_logger_broker(&c, name, error);
    case CONFIG_UNKNOWN:
        break;
    }
    return meta_error_set(error, arena, ERR_INVALID_REQUEST,
                          "This most likely occurs because of a request being malformed by the "
                          "client library or the message was sent to an incompatible broker. See "
                          "the broker logs for more details.");
}

/* --- values for the log --- */

static int8_t codec_of(struct str name)
{
    static const char *const names[] = {"uncompressed", "gzip", "snappy", "lz4", "zstd"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq_cstr(name, names[i]))
            return (int8_t)i;
    return -1;
}

struct value_reader {
    struct broker_layers layers;
    const struct config_image *topic;
    struct arena arena;
};

static struct str read_text(struct value_reader *r, const char *key)
{
    const struct config_def *def = config_def_find(CONFIG_SCOPE_TOPIC, str_of(key));
    ASSERT(def && def->fallback);
    enum config_source source;
    struct str value = topic_value(&r->layers, r->topic, def, &r->arena, &source);
    /* A conversion that found no memory. */
    return str_is_null(value) ? str_of(def->fallback) : value;
}

static int64_t read_i64(struct value_reader *r, const char *key)
{
    return config_value_i64(read_text(r, key));
}

static int32_t read_i32(struct value_reader *r, const char *key)
{
    return (int32_t)config_value_i64(read_text(r, key));
}

static bool read_bool(struct value_reader *r, const char *key)
{
    return config_value_bool(read_text(r, key));
}

static bool list_has(struct str list, const char *word)
{
    struct str element;
    while (config_list_next(&list, &element))
        if (str_eq_cstr(element, word))
            return true;
    return false;
}

void config_topic_values(const struct config_view *view, struct str topic, struct topic_config *out)
{
    struct value_reader r = {.layers = layers_of(view), .topic = topic_layer(view, topic)};
    arena_init(&r.arena, ARENA_NO_LIMIT);
    struct str policy = read_text(&r, "cleanup.policy");
    *out = (struct topic_config){
        .cleanup_delete = list_has(policy, "delete"),
        .cleanup_compact = list_has(policy, "compact"),
        .preallocate = read_bool(&r, "preallocate"),
        .write_caching = read_bool(&r, "write.caching"),
        .unclean_leader_election = read_bool(&r, "unclean.leader.election.enable"),
        .remote_storage = read_bool(&r, "remote.storage.enable"),
        .timestamp_is_append_time =
            str_eq(read_text(&r, "message.timestamp.type"), STR("LogAppendTime")),
        .compression = codec_of(read_text(&r, "compression.type")),
        .compression_gzip_level = read_i32(&r, "compression.gzip.level"),
        .compression_lz4_level = read_i32(&r, "compression.lz4.level"),
        .compression_zstd_level = read_i32(&r, "compression.zstd.level"),
        .max_message_bytes = read_i32(&r, "max.message.bytes"),
        .min_insync_replicas = read_i32(&r, "min.insync.replicas"),
        .segment_bytes = read_i32(&r, "segment.bytes"),
        .segment_index_bytes = read_i32(&r, "segment.index.bytes"),
        .index_interval_bytes = read_i32(&r, "index.interval.bytes"),
        .segment_ms = read_i64(&r, "segment.ms"),
        .segment_jitter_ms = read_i64(&r, "segment.jitter.ms"),
        .retention_bytes = read_i64(&r, "retention.bytes"),
        .retention_ms = read_i64(&r, "retention.ms"),
        .local_retention_bytes = read_i64(&r, "local.retention.bytes"),
        .local_retention_ms = read_i64(&r, "local.retention.ms"),
        .delete_retention_ms = read_i64(&r, "delete.retention.ms"),
        .file_delete_delay_ms = read_i64(&r, "file.delete.delay.ms"),
        .flush_messages = read_i64(&r, "flush.messages"),
        .flush_ms = read_i64(&r, "flush.ms"),
        .min_compaction_lag_ms = read_i64(&r, "min.compaction.lag.ms"),
        .max_compaction_lag_ms = read_i64(&r, "max.compaction.lag.ms"),
        .timestamp_before_max_ms = read_i64(&r, "message.timestamp.before.max.ms"),
        .timestamp_after_max_ms = read_i64(&r, "message.timestamp.after.max.ms"),
        .min_cleanable_dirty_ratio = config_value_f64(read_text(&r, "min.cleanable.dirty.ratio")),
    };
    arena_deinit(&r.arena);
}
