/* The image's parts: how they are made, shared, found and let go.
 *
 * Each part is one allocation: the struct, then its lists, then its strings. The tables of an image
 * hold one reference for each entry; `topics_by_id` holds its own.
 *
 * Made on shard 0, read and released on any shard. */
#include "meta/image.h"

#include <stdlib.h>

#include "base/assert.h"
#include "meta/image_internal.h"

/* --- carving one allocation --- */

struct carver {
    uint8_t *at;
    uint8_t *end;
};

/* Every list starts at a multiple of 8, so that sizes can be summed without knowing the order. */
static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static void *carve(struct carver *carver, const void *from, size_t size)
{
    void *to = carver->at;
    ASSERT(padded(size) <= (size_t)(carver->end - carver->at));
    if (size)
        memcpy(to, from, size);
    carver->at += padded(size);
    return to;
}

static struct str carve_str(struct carver *carver, struct str s)
{
    if (str_is_null(s))
        return STR_NULL;
    return (struct str){carve(carver, s.data, s.len), s.len};
}

static void *part_alloc(size_t head, size_t tail, struct carver *carver)
{
    uint8_t *part = malloc(padded(head) + tail);
    if (!part)
        return NULL;
    *carver = (struct carver){part + padded(head), part + padded(head) + tail};
    return part;
}

static bool last_reference(atomic_uint *refs)
{
    return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

static void add_reference(atomic_uint *refs)
{
    atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* --- partitions and topics --- */

struct partition_image *partition_image_create(const struct partition_image *spec)
{
    uint32_t counts[] = {spec->replica_count, spec->isr_count, spec->removing_count,
                         spec->adding_count,  spec->elr_count, spec->last_known_elr_count};
    size_t tail = padded(spec->replica_count * sizeof(struct uuid));
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        ASSERT(counts[i] <= META_REPLICAS_MAX);
        tail += padded(counts[i] * sizeof(int32_t));
    }
    struct carver carver;
    struct partition_image *partition = part_alloc(sizeof(*partition), tail, &carver);
    if (!partition)
        return NULL;
    memcpy(partition, spec, sizeof(*partition));
    atomic_init(&partition->refs, 1);
    partition->directories =
        carve(&carver, spec->directories, spec->replica_count * sizeof(struct uuid));
    const int32_t *const from[] = {spec->replicas, spec->isr, spec->removing,
                                   spec->adding,   spec->elr, spec->last_known_elr};
    const int32_t **const to[] = {&partition->replicas, &partition->isr,
                                  &partition->removing, &partition->adding,
                                  &partition->elr,      &partition->last_known_elr};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        *to[i] = carve(&carver, from[i], counts[i] * sizeof(int32_t));
    return partition;
}

void partition_image_unref(struct partition_image *partition)
{
    if (last_reference(&partition->refs))
        free(partition);
}

struct topic_image *topic_image_create(struct str name, struct uuid id, uint64_t generation)
{
    struct carver carver;
    struct topic_image *topic = part_alloc(sizeof(*topic), padded(name.len), &carver);
    if (!topic)
        return NULL;
    *topic = (struct topic_image){.generation = generation, .id = id};
    atomic_init(&topic->refs, 1);
    topic->name = carve_str(&carver, name);
    return topic;
}

struct topic_image *topic_image_clone(const struct topic_image *topic, uint64_t generation)
{
    struct topic_image *copy = topic_image_create(topic->name, topic->id, generation);
    if (!copy || topic->partition_count == 0)
        return copy;
    copy->partition_cap = topic->partition_count;
    copy->partitions = malloc(copy->partition_cap * sizeof(struct partition_image *));
    if (!copy->partitions) {
        free(copy);
        return NULL;
    }
    copy->partition_count = topic->partition_count;
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        copy->partitions[i] = topic->partitions[i];
        if (copy->partitions[i])
            add_reference(&copy->partitions[i]->refs);
    }
    return copy;
}

static enum err partitions_grow(struct topic_image *topic, uint32_t count)
{
    if (count > topic->partition_cap) {
        uint32_t cap = topic->partition_cap * 2 > count ? topic->partition_cap * 2 : count;
        struct partition_image **grown =
            realloc(topic->partitions, cap * sizeof(struct partition_image *));
        if (!grown)
            return ERR_NOMEM;
        topic->partitions = grown;
        topic->partition_cap = cap;
    }
    while (topic->partition_count < count)
        topic->partitions[topic->partition_count++] = NULL;
    return ERR_OK;
}

enum err topic_image_put(struct topic_image *topic, uint32_t index,
                         struct partition_image *partition)
{
    ASSERT(index < META_PARTITIONS_MAX);
    if (index >= topic->partition_count)
        TRY(partitions_grow(topic, index + 1));
    if (topic->partitions[index])
        partition_image_unref(topic->partitions[index]);
    topic->partitions[index] = partition;
    return ERR_OK;
}

static void topic_image_ref(void *topic)
{
    add_reference(&((struct topic_image *)topic)->refs);
}

void topic_image_unref(void *arg)
{
    struct topic_image *topic = arg;
    if (!last_reference(&topic->refs))
        return;
    for (uint32_t i = 0; i < topic->partition_count; i++)
        if (topic->partitions[i])
            partition_image_unref(topic->partitions[i]);
    free(topic->partitions);
    free(topic);
}

/* --- brokers and controllers --- */

static size_t endpoints_size(const struct endpoint_image *endpoints, uint32_t count)
{
    size_t size = padded(count * sizeof(*endpoints));
    for (uint32_t i = 0; i < count; i++)
        size += padded(endpoints[i].name.len) + padded(endpoints[i].host.len);
    return size;
}

static const struct endpoint_image *
carve_endpoints(struct carver *carver, const struct endpoint_image *endpoints, uint32_t count)
{
    struct endpoint_image *copy = carve(carver, endpoints, count * sizeof(*endpoints));
    for (uint32_t i = 0; i < count; i++) {
        copy[i].name = carve_str(carver, endpoints[i].name);
        copy[i].host = carve_str(carver, endpoints[i].host);
    }
    return copy;
}

static size_t features_size(const struct feature_range *features, uint32_t count)
{
    size_t size = padded(count * sizeof(*features));
    for (uint32_t i = 0; i < count; i++)
        size += padded(features[i].name.len);
    return size;
}

static const struct feature_range *
carve_features(struct carver *carver, const struct feature_range *features, uint32_t count)
{
    struct feature_range *copy = carve(carver, features, count * sizeof(*features));
    for (uint32_t i = 0; i < count; i++)
        copy[i].name = carve_str(carver, features[i].name);
    return copy;
}

struct broker_image *broker_image_create(const struct broker_image *spec)
{
    size_t tail = endpoints_size(spec->endpoints, spec->endpoint_count) +
                  features_size(spec->features, spec->feature_count) +
                  padded(spec->log_dir_count * sizeof(struct uuid)) +
                  padded(spec->cordoned_count * sizeof(struct uuid)) + padded(spec->rack.len);
    struct carver carver;
    struct broker_image *broker = part_alloc(sizeof(*broker), tail, &carver);
    if (!broker)
        return NULL;
    memcpy(broker, spec, sizeof(*broker));
    atomic_init(&broker->refs, 1);
    broker->endpoints = carve_endpoints(&carver, spec->endpoints, spec->endpoint_count);
    broker->features = carve_features(&carver, spec->features, spec->feature_count);
    broker->log_dirs = carve(&carver, spec->log_dirs, spec->log_dir_count * sizeof(struct uuid));
    broker->cordoned_log_dirs =
        carve(&carver, spec->cordoned_log_dirs, spec->cordoned_count * sizeof(struct uuid));
    broker->rack = carve_str(&carver, spec->rack);
    return broker;
}

struct controller_image *controller_image_create(const struct controller_image *spec)
{
    size_t tail = endpoints_size(spec->endpoints, spec->endpoint_count) +
                  features_size(spec->features, spec->feature_count);
    struct carver carver;
    struct controller_image *controller = part_alloc(sizeof(*controller), tail, &carver);
    if (!controller)
        return NULL;
    memcpy(controller, spec, sizeof(*controller));
    atomic_init(&controller->refs, 1);
    controller->endpoints = carve_endpoints(&carver, spec->endpoints, spec->endpoint_count);
    controller->features = carve_features(&carver, spec->features, spec->feature_count);
    return controller;
}

/* --- configs, features, carried records --- */

struct config_image *config_image_create(const struct config_image *spec)
{
    size_t tail = padded(spec->name.len) + padded(spec->count * sizeof(*spec->entries));
    for (uint32_t i = 0; i < spec->count; i++)
        tail += padded(spec->entries[i].key.len) + padded(spec->entries[i].value.len);
    struct carver carver;
    struct config_image *config = part_alloc(sizeof(*config), tail, &carver);
    if (!config)
        return NULL;
    memcpy(config, spec, sizeof(*config));
    atomic_init(&config->refs, 1);
    config->name = carve_str(&carver, spec->name);
    struct config_entry *entries =
        carve(&carver, spec->entries, spec->count * sizeof(*spec->entries));
    for (uint32_t i = 0; i < spec->count; i++) {
        entries[i].key = carve_str(&carver, spec->entries[i].key);
        entries[i].value = carve_str(&carver, spec->entries[i].value);
    }
    config->entries = entries;
    return config;
}

struct feature_image *feature_image_create(struct str name, int16_t level)
{
    struct carver carver;
    struct feature_image *feature = part_alloc(sizeof(*feature), padded(name.len), &carver);
    if (!feature)
        return NULL;
    *feature = (struct feature_image){.level = level};
    atomic_init(&feature->refs, 1);
    feature->name = carve_str(&carver, name);
    return feature;
}

struct carried_image *carried_image_create(uint64_t number, struct slice value)
{
    struct carver carver;
    struct carried_image *carried = part_alloc(sizeof(*carried), padded(value.len), &carver);
    if (!carried)
        return NULL;
    *carried = (struct carried_image){.number = number};
    atomic_init(&carried->refs, 1);
    carried->value = (struct slice){carve(&carver, value.data, value.len), value.len};
    return carried;
}

/* The parts that are one allocation and nothing more. */
#define SIMPLE_PART(kind)                                \
    static void kind##_ref(void *arg)                    \
    {                                                    \
        add_reference(&((struct kind *)arg)->refs);      \
    }                                                    \
    void kind##_unref(void *arg)                         \
    {                                                    \
        if (last_reference(&((struct kind *)arg)->refs)) \
            free(arg);                                   \
    }

SIMPLE_PART(broker_image)
SIMPLE_PART(controller_image)
SIMPLE_PART(config_image)
SIMPLE_PART(feature_image)
SIMPLE_PART(carried_image)

/* --- the tables' orders --- */

static int topic_name_compare(const void *entry, const void *key)
{
    return str_cmp(((const struct topic_image *)entry)->name, *(const struct str *)key);
}

static const void *topic_name_key(const void *entry)
{
    return &((const struct topic_image *)entry)->name;
}

static int topic_id_compare(const void *entry, const void *key)
{
    return memcmp(((const struct topic_image *)entry)->id.bytes, ((const struct uuid *)key)->bytes,
                  sizeof(struct uuid));
}

static const void *topic_id_key(const void *entry)
{
    return &((const struct topic_image *)entry)->id;
}

static int i32_compare(int32_t a, int32_t b)
{
    return (a > b) - (a < b);
}

static int broker_compare(const void *entry, const void *key)
{
    return i32_compare(((const struct broker_image *)entry)->id, *(const int32_t *)key);
}

static const void *broker_key(const void *entry)
{
    return &((const struct broker_image *)entry)->id;
}

static int controller_compare(const void *entry, const void *key)
{
    return i32_compare(((const struct controller_image *)entry)->id, *(const int32_t *)key);
}

static const void *controller_key(const void *entry)
{
    return &((const struct controller_image *)entry)->id;
}

static int config_compare(const void *entry, const void *key)
{
    const struct config_image *config = entry;
    const struct config_image *wanted = key;
    int order = i32_compare((int32_t)config->type, (int32_t)wanted->type);
    return order ? order : str_cmp(config->name, wanted->name);
}

static const void *config_key(const void *entry)
{
    return entry;
}

static int feature_compare(const void *entry, const void *key)
{
    return str_cmp(((const struct feature_image *)entry)->name, *(const struct str *)key);
}

static const void *feature_key(const void *entry)
{
    return &((const struct feature_image *)entry)->name;
}

static int carried_compare(const void *entry, const void *key)
{
    uint64_t a = ((const struct carried_image *)entry)->number;
    uint64_t b = *(const uint64_t *)key;
    return (a > b) - (a < b);
}

static const void *carried_key(const void *entry)
{
    return &((const struct carried_image *)entry)->number;
}

static const struct table_kind topics_kind = {topic_name_compare, topic_name_key, topic_image_ref,
                                              topic_image_unref};
static const struct table_kind topics_by_id_kind = {topic_id_compare, topic_id_key, topic_image_ref,
                                                    topic_image_unref};
static const struct table_kind brokers_kind = {broker_compare, broker_key, broker_image_ref,
                                               broker_image_unref};
static const struct table_kind controllers_kind = {controller_compare, controller_key,
                                                   controller_image_ref, controller_image_unref};
static const struct table_kind configs_kind = {config_compare, config_key, config_image_ref,
                                               config_image_unref};
static const struct table_kind features_kind = {feature_compare, feature_key, feature_image_ref,
                                                feature_image_unref};
static const struct table_kind carried_kind = {carried_compare, carried_key, carried_image_ref,
                                               carried_image_unref};

/* --- images --- */

#define TABLE_COUNT 8

static void tables_of(struct image *image, struct table *tables[TABLE_COUNT])
{
    tables[0] = &image->topics;
    tables[1] = &image->topics_by_id;
    tables[2] = &image->brokers;
    tables[3] = &image->controllers;
    tables[4] = &image->configs;
    tables[5] = &image->features;
    tables[6] = &image->carried;
    tables[7] = &image->pending;
}

enum err image_create_empty(struct image **out)
{
    static const struct table_kind *const kinds[TABLE_COUNT] = {
        &topics_kind,  &topics_by_id_kind, &brokers_kind, &controllers_kind,
        &configs_kind, &features_kind,     &carried_kind, &carried_kind,
    };
    struct image *image = calloc(1, sizeof(*image));
    if (!image)
        return ERR_NOMEM;
    atomic_init(&image->refs, 1);
    image->timestamp_ms = -1;
    struct table *tables[TABLE_COUNT];
    tables_of(image, tables);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        table_init(tables[i], kinds[i]);
    *out = image;
    return ERR_OK;
}

enum err image_copy(const struct image *base, struct image **out)
{
    struct image *copy;
    TRY(image_create_empty(&copy));
    copy->generation = base->generation + 1;
    copy->end_offset = base->end_offset;
    copy->epoch = base->epoch;
    copy->timestamp_ms = base->timestamp_ms;
    copy->next_producer_id = base->next_producer_id;
    copy->partition_count = base->partition_count;
    copy->in_transaction = base->in_transaction;
    struct table *from[TABLE_COUNT];
    struct table *to[TABLE_COUNT];
    tables_of((struct image *)(uintptr_t)base, from);
    tables_of(copy, to);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        enum err err = table_copy(to[i], from[i]);
        if (err) {
            image_unref(copy);
            return err;
        }
    }
    *out = copy;
    return ERR_OK;
}

struct image *image_ref(struct image *image)
{
    add_reference(&image->refs);
    return image;
}

void image_unref(struct image *image)
{
    if (!last_reference(&image->refs))
        return;
    struct table *tables[TABLE_COUNT];
    tables_of(image, tables);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        table_deinit(tables[i]);
    free(image);
}

/* --- lookups --- */

const struct topic_image *image_topic_by_name(const struct image *image, struct str name)
{
    return table_find(&image->topics, &name);
}

const struct topic_image *image_topic_by_id(const struct image *image, struct uuid id)
{
    return table_find(&image->topics_by_id, &id);
}

const struct partition_image *image_partition(const struct topic_image *topic, int32_t index)
{
    if (!topic || index < 0 || (uint32_t)index >= topic->partition_count)
        return NULL;
    return topic->partitions[index];
}

const struct broker_image *image_broker(const struct image *image, int32_t id)
{
    return table_find(&image->brokers, &id);
}

const struct config_image *image_config(const struct image *image, enum config_type type,
                                        struct str name)
{
    struct config_image key = {.type = type, .name = name};
    return table_find(&image->configs, &key);
}

struct str config_image_get(const struct config_image *config, struct str key)
{
    uint32_t low = 0;
    uint32_t high = config ? config->count : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = str_cmp(config->entries[middle].key, key);
        if (order == 0)
            return config->entries[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return STR_NULL;
}

int16_t image_feature(const struct image *image, struct str name)
{
    const struct feature_image *feature = table_find(&image->features, &name);
    return feature ? feature->level : 0;
}

int16_t image_metadata_version(const struct image *image)
{
    return image_feature(image, STR("metadata.version"));
}

void image_topics_seek(const struct image *image, struct str name, struct table_iter *iter)
{
    table_seek(iter, &image->topics, &name);
}

struct topics_diff {
    image_topic_diff_fn *fn;
    void *arg;
};

static enum err on_topic_diff(void *arg, void *before, void *after)
{
    const struct topics_diff *diff = arg;
    return diff->fn(diff->arg, before, after);
}

enum err image_topics_diff(const struct image *before, const struct image *after,
                           image_topic_diff_fn *fn, void *arg)
{
    struct topics_diff diff = {fn, arg};
    return table_diff(&before->topics, &after->topics, on_topic_diff, &diff);
}

struct configs_diff {
    image_config_diff_fn *fn;
    void *arg;
};

static enum err on_config_diff(void *arg, void *before, void *after)
{
    const struct configs_diff *diff = arg;
    return diff->fn(diff->arg, before, after);
}

enum err image_configs_diff(const struct image *before, const struct image *after,
                            image_config_diff_fn *fn, void *arg)
{
    struct configs_diff diff = {fn, arg};
    return table_diff(&before->configs, &after->configs, on_config_diff, &diff);
}
