/* The APIs of this broker, and the versions that it serves of each. */
#include "broker/handlers/handlers.h"

#include <string.h>

#include "meta/address_limits.h"
#include "wire/errors.h"

/* Produce 0-2 are listed because librdkafka looks for them; like Apache Kafka we then refuse them.
 */
const struct handler handler_table[] = {
    {.key = 0, .version_min = 0, .version_max = 13, .is_pipelined = true, .begin = produce_begin},
    {.key = 1, .version_min = 4, .version_max = 18, .begin = fetch_begin, .cancel = fetch_cancel},
    {.key = 2, .version_min = 1, .version_max = 11, .begin = list_offsets_begin},
    {.key = 3, .version_min = 0, .version_max = 13, .begin = metadata_begin},
    {.key = 8, .version_min = 2, .version_max = 10, .begin = offset_commit_begin},
    {.key = 9, .version_min = 1, .version_max = 10, .begin = offset_fetch_begin},
    {.key = 10, .version_min = 0, .version_max = 6, .begin = find_coordinator_begin},
    {.key = 11,
     .version_min = 0,
     .version_max = 9,
     .begin = join_group_begin,
     .cancel = join_group_cancel},
    {.key = 12,
     .version_min = 0,
     .version_max = 4,
     .begin = heartbeat_begin,
     .cancel = heartbeat_cancel,
     .yield = heartbeat_yield},
    {.key = 13, .version_min = 0, .version_max = 5, .begin = leave_group_begin},
    {.key = 14,
     .version_min = 0,
     .version_max = 5,
     .begin = sync_group_begin,
     .cancel = sync_group_cancel},
    {.key = 15, .version_min = 0, .version_max = 6, .begin = describe_groups_begin},
    {.key = 16, .version_min = 0, .version_max = 5, .begin = list_groups_begin},
    {.key = 18, .version_min = 0, .version_max = 4, .begin = api_versions_begin},
    {.key = 19, .version_min = 2, .version_max = 7, .begin = create_topics_begin},
    {.key = 20, .version_min = 1, .version_max = 6, .begin = delete_topics_begin},
    {.key = 21, .version_min = 0, .version_max = 2, .begin = delete_records_begin},
    {.key = 22, .version_min = 0, .version_max = 5, .begin = init_producer_id_begin},
    {.key = 23, .version_min = 2, .version_max = 4, .begin = offset_for_leader_epoch_begin},
    {.key = 29, .version_min = 1, .version_max = 3, .begin = describe_acls_begin},
    {.key = 30, .version_min = 1, .version_max = 3, .begin = create_acls_begin},
    {.key = 31, .version_min = 1, .version_max = 3, .begin = delete_acls_begin},
    {.key = 32, .version_min = 1, .version_max = 4, .begin = describe_configs_begin},
    {.key = 33, .version_min = 0, .version_max = 2, .begin = alter_configs_begin},
    {.key = 34, .version_min = 1, .version_max = 2, .begin = alter_replica_log_dirs_begin},
    {.key = 35, .version_min = 1, .version_max = 5, .begin = describe_log_dirs_begin},
    {.key = 37, .version_min = 0, .version_max = 3, .begin = create_partitions_begin},
    {.key = 38, .version_min = 1, .version_max = 3, .begin = create_delegation_token_begin},
    {.key = 39, .version_min = 1, .version_max = 2, .begin = renew_delegation_token_begin},
    {.key = 40, .version_min = 1, .version_max = 2, .begin = expire_delegation_token_begin},
    {.key = 41, .version_min = 1, .version_max = 3, .begin = describe_delegation_token_begin},
    {.key = 42, .version_min = 0, .version_max = 2, .begin = delete_groups_begin},
    {.key = 43, .version_min = 0, .version_max = 2, .begin = elect_leaders_begin},
    {.key = 44, .version_min = 0, .version_max = 1, .begin = incremental_alter_configs_begin},
    {.key = 45, .version_min = 0, .version_max = 1, .begin = alter_partition_reassignments_begin},
    {.key = 46, .version_min = 0, .version_max = 0, .begin = list_partition_reassignments_begin},
    {.key = 47, .version_min = 0, .version_max = 0, .begin = offset_delete_begin},
    {.key = 48, .version_min = 0, .version_max = 1, .begin = describe_client_quotas_begin},
    {.key = 50, .version_min = 0, .version_max = 0, .begin = describe_user_scram_credentials_begin},
    {.key = 55, .version_min = 0, .version_max = 2, .begin = describe_quorum_begin},
    {.key = 57, .version_min = 0, .version_max = 2, .begin = update_features_begin},
    {.key = 60, .version_min = 0, .version_max = 2, .begin = describe_cluster_begin},
    {.key = 61, .version_min = 0, .version_max = 0, .begin = describe_producers_begin},
    {.key = 68,
     .version_min = 0,
     .version_max = 1,
     .begin = consumer_group_heartbeat_begin,
     .cancel = consumer_group_heartbeat_cancel,
     .yield = consumer_group_heartbeat_yield},
    {.key = 69, .version_min = 0, .version_max = 1, .begin = consumer_group_describe_begin},
    {.key = 74, .version_min = 0, .version_max = 1, .begin = list_config_resources_begin},
    {.key = 75, .version_min = 0, .version_max = 0, .begin = describe_topic_partitions_begin},
};
const size_t handler_table_len = ARRAY_LEN(handler_table);

const struct handler *handler_find(int16_t key)
{
    for (size_t i = 0; i < handler_table_len; i++) {
        if (handler_table[i].key == key)
            return &handler_table[i];
    }
    return NULL;
}

void request_over_limit(struct request *req)
{
    request_close(req, "it asks for more than one request may take of memory");
}

void request_ask_controller(struct request *req, struct metadata_call *call, metadata_ask *ask,
                            metadata_done *done, void *own)
{
    *call = (struct metadata_call){
        .home = req->shard, .arena = &req->arena, .ask = ask, .done = done, .own = own, .req = req};
    metadata_submit(call);
}

const struct topic_image *request_topic(const struct request *req, struct str name, struct uuid id,
                                        enum err *err)
{
    const struct image *image = req->shard->image;
    const struct topic_image *topic;
    if (!uuid_is_zero(id)) {
        topic = image_topic_by_id(image, id);
        *err = topic ? ERR_OK : ERR_UNKNOWN_TOPIC_ID;
    } else {
        topic = str_is_null(name) ? NULL : image_topic_by_name(image, name);
        *err = topic ? ERR_OK : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    return topic;
}

const struct endpoint_image *request_endpoint(const struct request *req,
                                              const struct broker_image *broker)
{
    struct str name = req->conn->listener->name;
    for (uint32_t i = 0; i < broker->endpoint_count; i++) {
        if (str_eq(broker->endpoints[i].name, name))
            return &broker->endpoints[i];
    }
    return NULL;
}

bool fill_offline_replicas(struct request *req, const struct partition_image *partition,
                           int32_t **offline, int32_t *offline_len)
{
    *offline = request_array(req, partition->replica_count, sizeof(**offline));
    if (!*offline)
        return false;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        const struct broker_image *broker = image_broker(req->shard->image, partition->replicas[i]);
        if (!broker || broker->fenced || !request_endpoint(req, broker) ||
            !broker_has_online_dir(broker, partition->directories[i]))
            (*offline)[(*offline_len)++] = partition->replicas[i];
    }
    return true;
}

/* As Java prints an address without a name: of IPv6 all eight numbers, however many are zero. */
static struct str client_host(struct request *req)
{
    const char *host = req->conn->peer.host;
    struct address address;
    unsigned parts[8];
    if (!strchr(host, ':') || !address_parse(str_of(host), &address))
        return arena_printf(&req->arena, "/%s", host);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        parts[i] = be16_load(address.bytes + 2 * i);
    return arena_printf(&req->arena, "/%x:%x:%x:%x:%x:%x:%x:%x", parts[0], parts[1], parts[2],
                        parts[3], parts[4], parts[5], parts[6], parts[7]);
}

void request_coordinator_call(struct request *req, struct coordinator_call *call,
                              struct coord_op *op, struct str group_id)
{
    struct str host = client_host(req);
    *op = (struct coord_op){.arena = &req->arena,
                            .client_id = req->header.client_id,
                            .client_host = host.data ? host : STR("/")};
    *call = (struct coordinator_call){.home = req->shard,
                                      .op = op,
                                      .partition = coordinator_partition(req->shard, group_id),
                                      .req = req};
}

bool request_has_consumer_protocol(const struct request *req)
{
    return req->shard->node->config->has_consumer_protocol &&
           image_feature(req->shard->image, STR("group.version")) > 0;
}
