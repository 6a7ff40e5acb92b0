/* Log folders in the metadata: which one a replica lies in, and what one that fails does to the
 * leaders of partitions.
 *
 * A broker with one log folder gets its replicas there from the start; of several it chooses one
 * and says which (AssignReplicasToDirs). A replica in a folder that its broker does not list is
 * offline: it leads nothing until the folder is there again, or the broker says that the replica
 * lies elsewhere. A replica that the broker has but cannot serve is assigned to DIR_LOST.
 *
 * Pure; shard 0. */
#include "meta/controller_internal.h"

bool broker_has_online_dir(const struct broker_image *broker, struct uuid directory)
{
    if (uuid_eq(directory, DIR_UNASSIGNED) || uuid_eq(directory, DIR_MIGRATING))
        return true;
    if (uuid_eq(directory, DIR_LOST))
        return false;
    for (uint32_t i = 0; i < broker->log_dir_count; i++)
        if (uuid_eq(broker->log_dirs[i], directory))
            return true;
    return broker->log_dir_count == 0; /* from before folders were listed */
}

int partition_replica_at(const struct partition_image *partition, int32_t broker_id)
{
    for (uint32_t i = 0; i < partition->replica_count; i++)
        if (partition->replicas[i] == broker_id)
            return (int)i;
    return -1;
}

static enum err assign_dir(const struct controller *controller, const struct controller_call *call,
                           int32_t broker_id, const struct dir_assignment *assignment,
                           enum err *verdict)
{
    const struct topic_image *topic = image_topic_by_id(controller->head, assignment->topic_id);
    const struct partition_image *partition = image_partition(topic, assignment->partition);
    *verdict = !topic ? ERR_UNKNOWN_TOPIC_ID : !partition ? ERR_UNKNOWN_TOPIC_OR_PARTITION : ERR_OK;
    if (*verdict)
        return ERR_OK;
    int at = partition_replica_at(partition, broker_id);
    if (at < 0) {
        *verdict = ERR_NOT_LEADER_OR_FOLLOWER;
        return ERR_OK;
    }
    if (uuid_eq(partition->directories[at], assignment->directory))
        return ERR_OK;
    struct partition_change_record *r =
        partition_change(call, assignment->topic_id, (uint32_t)assignment->partition);
    struct uuid *directories =
        arena_array(call->arena, partition->replica_count, sizeof(*directories));
    if (!r || !directories)
        return ERR_NOMEM;
    memcpy(directories, partition->directories, partition->replica_count * sizeof(*directories));
    directories[at] = assignment->directory;
    r->directories = directories;
    r->directories_len = (int32_t)partition->replica_count;
    const struct broker_image *broker = image_broker(controller->head, broker_id);
    bool is_changed;
    if (!broker_has_online_dir(broker, assignment->directory))
        TRY(partition_lose_broker(controller, call, partition, broker_id, r, &is_changed));
    else if (!broker->fenced && partition->leader == -1)
        TRY(partition_gain_broker(controller, call, partition, broker_id, r, &is_changed));
    return controller_add(controller, call, META_PARTITION_CHANGE, r);
}

enum err controller_assign_dirs(const struct controller *controller,
                                const struct controller_call *call, int32_t broker_id,
                                int64_t broker_epoch, const struct dir_assignment *assignments,
                                size_t count, enum err **out, struct meta_error *error)
{
    TRY(broker_check_epoch(controller, call, broker_id, broker_epoch, error));
    if (image_metadata_version(controller->head) < MV_DIRECTORIES)
        return meta_error_set(error, call->arena, ERR_UNSUPPORTED_VERSION,
                              "the metadata.version in force does not know log directories");
    enum err *errs = arena_array(call->arena, count, sizeof(*errs));
    if (!errs)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        TRY(assign_dir(controller, call, broker_id, &assignments[i], &errs[i]));
    *out = errs;
    return ERR_OK;
}

static enum err leave_dir(const struct controller *controller, const struct controller_call *call,
                          const struct topic_image *topic, uint32_t index, int32_t broker_id,
                          struct uuid directory)
{
    const struct partition_image *partition = topic->partitions[index];
    int at = partition ? partition_replica_at(partition, broker_id) : -1;
    if (at < 0 || !uuid_eq(partition->directories[at], directory))
        return ERR_OK;
    struct partition_change_record *r = partition_change(call, topic->id, index);
    if (!r)
        return ERR_NOMEM;
    bool is_changed;
    TRY(partition_lose_broker(controller, call, partition, broker_id, r, &is_changed));
    return is_changed ? controller_add(controller, call, META_PARTITION_CHANGE, r) : ERR_OK;
}

enum err controller_dir_offline(const struct controller *controller,
                                const struct controller_call *call, int32_t broker_id,
                                int64_t broker_epoch, struct uuid directory,
                                struct meta_error *error)
{
    TRY(broker_check_epoch(controller, call, broker_id, broker_epoch, error));
    const struct broker_image *broker = image_broker(controller->head, broker_id);
    struct broker_registration_change_record *r =
        CALL_BODY(call, broker_registration_change_record);
    struct uuid *left = arena_array(call->arena, broker->log_dir_count, sizeof(*left));
    if (!r || !left)
        return ERR_NOMEM;
    r->broker_id = broker_id;
    r->broker_epoch = broker_epoch;
    r->log_dirs = left;
    r->log_dirs_len = 0;
    for (uint32_t i = 0; i < broker->log_dir_count; i++)
        if (!uuid_eq(broker->log_dirs[i], directory))
            left[r->log_dirs_len++] = broker->log_dirs[i];
    if ((uint32_t)r->log_dirs_len == broker->log_dir_count || r->log_dirs_len == 0)
        return ERR_OK; /* not known, or the last one: a broker without any does not go on */
    IMAGE_TOPICS_EACH(iter, controller->head, topic)
    {
        for (uint32_t i = 0; i < topic->partition_count; i++)
            TRY(leave_dir(controller, call, topic, i, broker_id, directory));
    }
    return controller_add(controller, call, META_BROKER_REGISTRATION_CHANGE, r);
}
