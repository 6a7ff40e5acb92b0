/* Topics that the broker keeps for itself, as they are made by their first use. */
#include "broker/handlers/handlers.h"

#include "meta/controller.h"

#define OFFSETS_TOPIC        STR("__consumer_offsets")
#define OFFSETS_REPLICAS_MAX 3

bool topic_is_internal(struct str name)
{
    return str_eq(name, OFFSETS_TOPIC) || str_eq(name, STR("__transaction_state")) ||
           str_eq(name, STR("__share_group_state"));
}

static int16_t brokers_alive(const struct image *image)
{
    int16_t count = 0;
    struct table_iter iter;
    table_begin(&iter, &image->brokers);
    for (const struct broker_image *broker; (broker = table_next(&iter)) != NULL;)
        count = (int16_t)(count + !broker->fenced);
    return count;
}

/* As the configuration says. Where it says nothing: three, or as many as there are brokers, so that
 * a node that stands alone has groups without being configured for it. */
static int16_t offsets_replicas(const struct request *req)
{
    const struct broker_config *config = req->shard->node->config;
    int16_t alive = brokers_alive(req->shard->image);
    if (!str_is_null(config_static_get(&config->texts, STR("offsets.topic.replication.factor"))))
        return config->offsets_topic_replication_factor;
    return alive < OFFSETS_REPLICAS_MAX ? alive : OFFSETS_REPLICAS_MAX;
}

bool internal_topic_spec(struct request *req, struct str name, struct create_topic *spec)
{
    const struct broker_config *config = req->shard->node->config;
    *spec = (struct create_topic){.name = name, .partitions = -1, .replication_factor = -1};
    if (!str_eq(name, OFFSETS_TOPIC))
        return true;
    struct config_entry *configs = request_array(req, 3, sizeof(*configs));
    struct str bytes = arena_printf(&req->arena, "%d", config->offsets_topic_segment_bytes);
    if (!configs || !bytes.data)
        return false;
    configs[0] = (struct config_entry){STR("cleanup.policy"), STR("compact")};
    configs[1] = (struct config_entry){STR("compression.type"), STR("producer")};
    configs[2] = (struct config_entry){STR("segment.bytes"), bytes};
    spec->partitions = config->offsets_topic_num_partitions;
    spec->replication_factor = offsets_replicas(req);
    spec->configs = configs;
    spec->config_count = 3;
    return true;
}
