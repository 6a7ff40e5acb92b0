/* Leaders by request, and replicas moved by request.
 *
 * Pure; shard 0. */
#include <inttypes.h>

#include "meta/controller_internal.h"

static bool is_in_sync(const struct partition_image *partition, int32_t broker_id)
{
    for (uint32_t i = 0; i < partition->isr_count; i++)
        if (partition->isr[i] == broker_id)
            return true;
    return false;
}

/* Its broker serves, and so does the log folder that has it. */
static bool can_serve(const struct controller *controller, const struct partition_image *partition,
                      uint32_t at)
{
    const struct broker_image *broker = image_broker(controller->head, partition->replicas[at]);
    return broker && !broker->fenced && broker_has_online_dir(broker, partition->directories[at]);
}

static enum err add_leader(const struct controller *controller, const struct controller_call *call,
                           struct uuid topic_id, int32_t index, int32_t leader, bool is_in_sync)
{
    struct partition_change_record *r = partition_change(call, topic_id, (uint32_t)index);
    int32_t *isr = arena_array(call->arena, 1, sizeof(*isr));
    if (!r || !isr)
        return ERR_NOMEM;
    r->leader = leader;
    if (!is_in_sync) {
        isr[0] = leader;
        r->isr = isr;
        r->isr_len = 1;
    }
    return controller_add(controller, call, META_PARTITION_CHANGE, r);
}

static enum err elect_preferred(const struct controller *controller,
                                const struct controller_call *call, struct uuid topic_id,
                                int32_t index, const struct partition_image *partition,
                                struct meta_error *error)
{
    int32_t preferred = partition->replicas[0];
    if (!can_serve(controller, partition, 0) || !is_in_sync(partition, preferred))
        return meta_error_set(error, call->arena, ERR_PREFERRED_LEADER_NOT_AVAILABLE,
                              "The preferred leader was not available.");
    return add_leader(controller, call, topic_id, index, preferred, true);
}

/* One that is in sync, if any is there; else the first that is there, and what only others had is
 * lost. */
static enum err elect_any(const struct controller *controller, const struct controller_call *call,
                          struct uuid topic_id, int32_t index,
                          const struct partition_image *partition, struct meta_error *error)
{
    int found = -1;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        bool in_sync = is_in_sync(partition, partition->replicas[i]);
        if (can_serve(controller, partition, i) && (found < 0 || in_sync))
            found = (int)i;
        if (found == (int)i && in_sync)
            break;
    }
    if (found < 0)
        return meta_error_set(error, call->arena, ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE,
                              "Eligible topic partition leaders are not available.");
    int32_t leader = partition->replicas[found];
    return add_leader(controller, call, topic_id, index, leader, is_in_sync(partition, leader));
}

enum err controller_elect_leader(const struct controller *controller,
                                 const struct controller_call *call, struct str topic_name,
                                 int32_t index, bool unclean, struct meta_error *error)
{
    const struct topic_image *topic = image_topic_by_name(controller->head, topic_name);
    if (!topic)
        return meta_error_set(error, call->arena, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                              "No such topic as %.*s", STR_ARG(topic_name));
    const struct partition_image *partition = image_partition(topic, index);
    if (!partition)
        return meta_error_set(error, call->arena, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                              "No such partition as %.*s-%" PRId32, STR_ARG(topic_name), index);
    if (unclean ? partition->leader != -1 : partition->leader == partition->replicas[0])
        return meta_error_set(error, call->arena, ERR_ELECTION_NOT_NEEDED,
                              "Leader election not needed for topic partition.");
    return unclean ? elect_any(controller, call, topic->id, index, partition, error)
                   : elect_preferred(controller, call, topic->id, index, partition, error);
}

bool partition_is_moving(const struct partition_image *partition)
{
    return partition->adding_count > 0 || partition->removing_count > 0;
}

static bool is_where_asked(const struct partition_image *partition,
                           const struct placement *placement)
{
    if (partition->replica_count != placement->replica_count)
        return false;
    for (uint32_t i = 0; i < placement->replica_count; i++)
        if (partition->replicas[i] != placement->replicas[i])
            return false;
    return true;
}

enum err controller_reassign(const struct controller *controller,
                             const struct controller_call *call, struct str topic_name,
                             int32_t index, const struct create_assignment *target,
                             struct meta_error *error)
{
    const struct topic_image *topic = image_topic_by_name(controller->head, topic_name);
    if (!topic)
        return meta_error_set(error, call->arena, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                              "Unable to find a topic named %.*s.", STR_ARG(topic_name));
    const struct partition_image *partition = image_partition(topic, index);
    if (!partition)
        return meta_error_set(error, call->arena, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                              "Unable to find partition %.*s:%" PRId32 ".", STR_ARG(topic_name),
                              index);
    bool moves = partition_is_moving(partition);
    if (!target && !moves) {
        *error = (struct meta_error){ERR_NO_REASSIGNMENT_IN_PROGRESS, STR_NULL};
        return ERR_NO_REASSIGNMENT_IN_PROGRESS;
    }
    struct placement placement;
    if (target) {
        TRY(placement_check(controller, call, target, -1, &placement, error));
        if (!moves && is_where_asked(partition, &placement))
            return ERR_OK;
    }
    /* A lone broker is where all its replicas are: this is a folder that was part of a cluster. */
    return meta_error_set(error, call->arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "Replicas cannot be moved between brokers: clusters are not built yet.");
}
