/* Image to records: what a checkpoint of the metadata holds, in the order in which Kafka writes it
 * (features first, so that a reader knows the versions of the rest; a topic before its partitions).
 * Applying the records to the empty image gives the same image.
 *
 * Bodies borrow the image's lists and strings: the image must outlive the records. Pure; shard 0.
 */
#include "meta/image_internal.h"
#include "wire/messages.h"

struct writer {
    const struct image *image;
    struct meta_records *records;
    int16_t metadata_version;
};

/* A body of the type at its defaults. */
#define BODY(w, type) MSG_ARRAY(type, (w)->records->arena, 1)

static enum err add(struct writer *w, enum meta_type type, const void *body)
{
    return meta_records_add(w->records, (int16_t)type,
                            meta_record_version(type, w->metadata_version), body);
}

static enum err write_feature(struct writer *w, const struct feature_image *feature)
{
    struct feature_level_record *r = BODY(w, feature_level_record);
    if (!r)
        return ERR_NOMEM;
    r->name = feature->name;
    r->feature_level = feature->level;
    return add(w, META_FEATURE_LEVEL, r);
}

static enum err write_features(struct writer *w)
{
    struct str first = STR("metadata.version");
    const struct feature_image *feature = table_find(&w->image->features, &first);
    if (feature)
        TRY(write_feature(w, feature));
    struct table_iter iter;
    table_begin(&iter, &w->image->features);
    while ((feature = table_next(&iter)) != NULL)
        if (!str_eq(feature->name, first))
            TRY(write_feature(w, feature));
    return ERR_OK;
}

#define GIVE_ENDPOINTS(w, spec, r, type)                                                     \
    do {                                                                                     \
        (r)->end_points = MSG_ARRAY(type, (w)->records->arena, (spec)->endpoint_count);      \
        if (!(r)->end_points)                                                                \
            return ERR_NOMEM;                                                                \
        (r)->end_points_len = (int32_t)(spec)->endpoint_count;                               \
        for (uint32_t i_ = 0; i_ < (spec)->endpoint_count; i_++) {                           \
            (r)->end_points[i_].name = (spec)->endpoints[i_].name;                           \
            (r)->end_points[i_].host = (spec)->endpoints[i_].host;                           \
            (r)->end_points[i_].port = (spec)->endpoints[i_].port;                           \
            (r)->end_points[i_].security_protocol = (spec)->endpoints[i_].security_protocol; \
        }                                                                                    \
    } while (0)
#define GIVE_FEATURES(w, spec, r, type)                                              \
    do {                                                                             \
        (r)->features = MSG_ARRAY(type, (w)->records->arena, (spec)->feature_count); \
        if (!(r)->features)                                                          \
            return ERR_NOMEM;                                                        \
        (r)->features_len = (int32_t)(spec)->feature_count;                          \
        for (uint32_t i_ = 0; i_ < (spec)->feature_count; i_++) {                    \
            (r)->features[i_].name = (spec)->features[i_].name;                      \
            (r)->features[i_].min_supported_version = (spec)->features[i_].min;      \
            (r)->features[i_].max_supported_version = (spec)->features[i_].max;      \
        }                                                                            \
    } while (0)

/* Kafka's arrays are not const in the generated structs, which serve both directions. */
static int32_t *ids_of(const int32_t *ids)
{
    return (int32_t *)(uintptr_t)ids;
}

static struct uuid *uuids_of(const struct uuid *uuids)
{
    return (struct uuid *)(uintptr_t)uuids;
}

static enum err write_broker(struct writer *w, const struct broker_image *broker)
{
    struct register_broker_record *r = BODY(w, register_broker_record);
    if (!r)
        return ERR_NOMEM;
    r->broker_id = broker->id;
    r->broker_epoch = broker->epoch;
    r->incarnation_id = broker->incarnation_id;
    r->rack = broker->rack;
    r->fenced = broker->fenced;
    r->in_controlled_shutdown = broker->in_controlled_shutdown;
    GIVE_ENDPOINTS(w, broker, r, register_broker_record_end_point);
    GIVE_FEATURES(w, broker, r, register_broker_record_feature);
    if (w->metadata_version >= MV_DIRECTORIES) {
        r->log_dirs = uuids_of(broker->log_dirs);
        r->log_dirs_len = (int32_t)broker->log_dir_count;
    }
    if (w->metadata_version >= MV_CORDONED_LOG_DIRS && broker->cordoned_count > 0) {
        r->cordoned_log_dirs = uuids_of(broker->cordoned_log_dirs);
        r->cordoned_log_dirs_len = (int32_t)broker->cordoned_count;
    }
    return add(w, META_REGISTER_BROKER, r);
}

static enum err write_controller(struct writer *w, const struct controller_image *controller)
{
    struct register_controller_record *r = BODY(w, register_controller_record);
    if (!r)
        return ERR_NOMEM;
    r->controller_id = controller->id;
    r->incarnation_id = controller->incarnation_id;
    r->zk_migration_ready = controller->zk_migration_ready;
    GIVE_ENDPOINTS(w, controller, r, register_controller_record_end_point);
    GIVE_FEATURES(w, controller, r, register_controller_record_feature);
    return add(w, META_REGISTER_CONTROLLER, r);
}

static enum err write_partition(struct writer *w, const struct topic_image *topic, uint32_t index)
{
    const struct partition_image *partition = topic->partitions[index];
    struct partition_record *r = BODY(w, partition_record);
    if (!r)
        return ERR_NOMEM;
    r->partition_id = (int32_t)index;
    r->topic_id = topic->id;
    r->leader = partition->leader;
    r->leader_epoch = partition->leader_epoch;
    r->partition_epoch = partition->partition_epoch;
    r->leader_recovery_state = partition->leader_recovery_state;
    r->replicas = ids_of(partition->replicas);
    r->replicas_len = (int32_t)partition->replica_count;
    r->isr = ids_of(partition->isr);
    r->isr_len = (int32_t)partition->isr_count;
    r->removing_replicas = ids_of(partition->removing);
    r->removing_replicas_len = (int32_t)partition->removing_count;
    r->adding_replicas = ids_of(partition->adding);
    r->adding_replicas_len = (int32_t)partition->adding_count;
    if (w->metadata_version >= MV_DIRECTORIES) {
        r->directories = uuids_of(partition->directories);
        r->directories_len = (int32_t)partition->replica_count;
    }
    if (w->metadata_version >= MV_ELR && partition->elr_count > 0) {
        r->eligible_leader_replicas = ids_of(partition->elr);
        r->eligible_leader_replicas_len = (int32_t)partition->elr_count;
    }
    if (w->metadata_version >= MV_ELR && partition->last_known_elr_count > 0) {
        r->last_known_elr = ids_of(partition->last_known_elr);
        r->last_known_elr_len = (int32_t)partition->last_known_elr_count;
    }
    return add(w, META_PARTITION, r);
}

static enum err write_topic(struct writer *w, const struct topic_image *topic)
{
    struct topic_record *r = BODY(w, topic_record);
    if (!r)
        return ERR_NOMEM;
    r->name = topic->name;
    r->topic_id = topic->id;
    TRY(add(w, META_TOPIC, r));
    for (uint32_t i = 0; i < topic->partition_count; i++)
        if (topic->partitions[i])
            TRY(write_partition(w, topic, i));
    return ERR_OK;
}

static enum err write_config(struct writer *w, const struct config_image *config)
{
    for (uint32_t i = 0; i < config->count; i++) {
        struct config_record *r = BODY(w, config_record);
        if (!r)
            return ERR_NOMEM;
        r->resource_type = (int8_t)config->type;
        r->resource_name = config->name;
        r->name = config->entries[i].key;
        r->value = config->entries[i].value;
        TRY(add(w, META_CONFIG, r));
    }
    return ERR_OK;
}

static enum err write_kept(struct writer *w, const struct table *table)
{
    struct table_iter iter;
    table_begin(&iter, table);
    const struct carried_image *carried;
    while ((carried = table_next(&iter)) != NULL) {
        struct meta_record record;
        TRY(meta_record_decode(carried->value, w->records->arena, &record, NULL));
        TRY(meta_records_add(w->records, record.type, record.version, record.body));
    }
    return ERR_OK;
}

static enum err write_open_transaction(struct writer *w)
{
    struct begin_transaction_record *r = BODY(w, begin_transaction_record);
    if (!r)
        return ERR_NOMEM;
    TRY(add(w, META_BEGIN_TRANSACTION, r));
    return write_kept(w, &w->image->pending);
}

#define WRITE_EACH(w, table_, type, fn)              \
    do {                                             \
        struct table_iter iter_;                     \
        table_begin(&iter_, &(w)->image->table_);    \
        const struct type *part_;                    \
        while ((part_ = table_next(&iter_)) != NULL) \
            TRY(fn((w), part_));                     \
    } while (0)

enum err image_snapshot(const struct image *image, struct meta_records *records)
{
    struct writer w = {image, records, image_metadata_version(image)};
    TRY(write_features(&w));
    WRITE_EACH(&w, brokers, broker_image, write_broker);
    if (w.metadata_version >= MV_CONTROLLERS)
        WRITE_EACH(&w, controllers, controller_image, write_controller);
    WRITE_EACH(&w, topics, topic_image, write_topic);
    WRITE_EACH(&w, configs, config_image, write_config);
    if (image->next_producer_id > 0) {
        struct producer_ids_record *r = BODY(&w, producer_ids_record);
        if (!r)
            return ERR_NOMEM;
        r->broker_id = -1;
        r->broker_epoch = -1;
        r->next_producer_id = image->next_producer_id;
        TRY(add(&w, META_PRODUCER_IDS, r));
    }
    TRY(write_kept(&w, &image->carried));
    if (image->in_transaction)
        TRY(write_open_transaction(&w));
    return ERR_OK;
}
