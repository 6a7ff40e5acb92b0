/* What topics cannot have yet. Each entry names the setting, when it is refused, and the sentences
 * that a client gets who asks for it, and the operator whose folders have it already. */
#include "meta/topic_support.h"

#include <inttypes.h>

#include "meta/config_def.h"

static bool is_true(struct str value)
{
    return config_value_bool(value);
}

static const struct {
    const char *key;
    bool (*is_refused)(struct str value);
    const char *why;
    const char *remedy;
} refusals[] = {
    {"remote.storage.enable", is_true,
     "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with "
     "remote log storage.",
     "records of it may be in remote storage only, which this version does not read: start Apache "
     "Kafka on these folders, set remote.storage.enable=false and "
     "remote.log.delete.on.disable=true (records that are in remote storage only are lost) or "
     "copy the topic, stop it, and start this broker again"},
};

enum err topic_support_check(struct str key, struct str value, struct arena *arena,
                             struct meta_error *error)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (str_eq_cstr(key, refusals[i].key) && refusals[i].is_refused(value))
            return meta_error_set(error, arena, ERR_INVALID_CONFIG, "%s", refusals[i].why);
    return ERR_OK;
}

/* --- what the metadata has already --- */

static enum err check_settings(const struct image *image, const struct topic_image *topic,
                               struct arena *arena, struct meta_error *error)
{
    const struct config_image *config = image_config(image, CONFIG_TOPIC, topic->name);
    for (size_t i = 0; config && i < ARRAY_LEN(refusals); i++) {
        struct str value = config_image_get(config, str_of(refusals[i].key));
        if (!str_is_null(value) && refusals[i].is_refused(value))
            return meta_error_set(error, arena, ERR_UNSUPPORTED, "the topic %.*s has %s=%.*s: %s",
                                  STR_ARG(topic->name), refusals[i].key, STR_ARG(value),
                                  refusals[i].remedy);
    }
    return ERR_OK;
}

static enum err check_replicas(const struct topic_image *topic, int32_t node_id,
                               struct arena *arena, struct meta_error *error)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_image *partition = topic->partitions[i];
        for (uint32_t r = 0; partition && r < partition->replica_count; r++) {
            if (partition->replicas[r] != node_id)
                return meta_error_set(
                    error, arena, ERR_UNSUPPORTED,
                    "%.*s-%" PRIu32 " has a replica on broker %" PRId32 ", and this version runs "
                    "as a cluster of one, here broker %" PRId32 ": with Apache Kafka, move all "
                    "replicas to it (kafka-reassign-partitions.sh) and unregister the others "
                    "(kafka-cluster.sh unregister) first",
                    STR_ARG(topic->name), i, partition->replicas[r], node_id);
        }
    }
    return ERR_OK;
}

/* Fenced or not, it could be given replicas. */
static enum err check_brokers(const struct image *image, int32_t node_id, struct arena *arena,
                              struct meta_error *error)
{
    struct table_iter iter;
    table_begin(&iter, &image->brokers);
    for (const struct broker_image *broker; (broker = table_next(&iter)) != NULL;) {
        if (broker->id != node_id)
            return meta_error_set(error, arena, ERR_UNSUPPORTED,
                                  "broker %" PRId32 " is registered in the cluster, and this "
                                  "version runs as a cluster of one, here broker %" PRId32 ": with "
                                  "Apache Kafka, unregister it first (kafka-cluster.sh unregister "
                                  "--id %" PRId32 ")",
                                  broker->id, node_id, broker->id);
    }
    return ERR_OK;
}

enum err topic_support_check_all(const struct image *image, int32_t node_id, struct arena *arena,
                                 struct meta_error *error)
{
    IMAGE_TOPICS_EACH(iter, image, topic)
    {
        TRY(check_replicas(topic, node_id, arena, error));
        TRY(check_settings(image, topic, arena, error));
    }
    return check_brokers(image, node_id, arena, error);
}
