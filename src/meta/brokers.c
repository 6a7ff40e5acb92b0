/* Brokers and controllers in the metadata: registration, fencing, and what fencing does to the
 * leaders of partitions.
 *
 * A broker registers fenced at each start and is unfenced when it serves. Then it becomes leader of
 * the partitions that wait for it, and each partition that it led before its restart gets a new
 * leader epoch: what was not flushed before a crash may be gone, and the epoch lets clients see it.
 * A broker that is fenced, or whose log folder fails, leaves the in-sync set of its partitions. The
 * last one there leaves it too and is eligible to lead, as in Apache Kafka; where that level of
 * eligible.leader.replicas.version is not in force it stays in the set.
 *
 * Pure; shard 0. */
#include <inttypes.h>

#include "base/assert.h"
#include "meta/controller_internal.h"

/* --- registration --- */

/* The same lists under the type names of either record. */
#define FILL_ENDPOINTS(call, r, type, from, count)                                \
    do {                                                                          \
        (r)->end_points = MSG_ARRAY(type, (call)->arena, (count));                \
        if (!(r)->end_points)                                                     \
            return ERR_NOMEM;                                                     \
        (r)->end_points_len = (int32_t)(count);                                   \
        for (size_t i_ = 0; i_ < (count); i_++) {                                 \
            (r)->end_points[i_].name = (from)[i_].name;                           \
            (r)->end_points[i_].host = (from)[i_].host;                           \
            (r)->end_points[i_].port = (from)[i_].port;                           \
            (r)->end_points[i_].security_protocol = (from)[i_].security_protocol; \
        }                                                                         \
    } while (0)
#define FILL_FEATURES(call, r, type)                                       \
    do {                                                                   \
        size_t count_;                                                     \
        const struct feature_support *from_ = features_supported(&count_); \
        (r)->features = MSG_ARRAY(type, (call)->arena, count_);            \
        if (!(r)->features)                                                \
            return ERR_NOMEM;                                              \
        (r)->features_len = (int32_t)count_;                               \
        for (size_t i_ = 0; i_ < count_; i_++) {                           \
            (r)->features[i_].name = str_of(from_[i_].name);               \
            (r)->features[i_].min_supported_version = from_[i_].min;       \
            (r)->features[i_].max_supported_version = from_[i_].max;       \
        }                                                                  \
    } while (0)

#define LIST_MAX 10000

static enum err check_registration(const struct controller_call *call,
                                   const struct broker_registration *registration,
                                   struct meta_error *error)
{
    if (registration->endpoint_count == 0 || registration->endpoint_count > LIST_MAX)
        return meta_error_set(error, call->arena, ERR_INVALID_REGISTRATION,
                              "broker %" PRId32 " registers without a listener", registration->id);
    if (registration->log_dir_count == 0 || registration->log_dir_count > LIST_MAX)
        return meta_error_set(error, call->arena, ERR_INVALID_REGISTRATION,
                              "broker %" PRId32 " registers without a log directory",
                              registration->id);
    return ERR_OK;
}

enum err controller_register_broker(const struct controller *controller,
                                    const struct controller_call *call,
                                    const struct broker_registration *registration,
                                    int64_t next_offset, int64_t *broker_epoch,
                                    struct meta_error *error)
{
    TRY(check_registration(call, registration, error));
    struct register_broker_record *r = CALL_BODY(call, register_broker_record);
    struct uuid *log_dirs =
        arena_array(call->arena, registration->log_dir_count, sizeof(*log_dirs));
    if (!r || !log_dirs)
        return ERR_NOMEM;
    r->broker_id = registration->id;
    r->incarnation_id = registration->incarnation_id;
    r->broker_epoch = next_offset + (int64_t)call->records->count;
    r->rack = registration->rack;
    r->fenced = true;
    FILL_ENDPOINTS(call, r, register_broker_record_end_point, registration->endpoints,
                   registration->endpoint_count);
    FILL_FEATURES(call, r, register_broker_record_feature);
    if (image_metadata_version(controller->head) >= MV_DIRECTORIES) {
        memcpy(log_dirs, registration->log_dirs, registration->log_dir_count * sizeof(*log_dirs));
        r->log_dirs = log_dirs;
        r->log_dirs_len = (int32_t)registration->log_dir_count;
    }
    *broker_epoch = r->broker_epoch;
    return controller_add(controller, call, META_REGISTER_BROKER, r);
}

enum err controller_register_controller(const struct controller *controller,
                                        const struct controller_call *call,
                                        const struct controller_registration *registration,
                                        struct meta_error *error)
{
    if (image_metadata_version(controller->head) < MV_CONTROLLERS)
        return ERR_OK; /* the log has no such record yet */
    if (registration->endpoint_count == 0 || registration->endpoint_count > LIST_MAX)
        return meta_error_set(error, call->arena, ERR_INVALID_REGISTRATION,
                              "controller %" PRId32 " registers without a listener",
                              registration->id);
    struct register_controller_record *r = CALL_BODY(call, register_controller_record);
    if (!r)
        return ERR_NOMEM;
    r->controller_id = registration->id;
    r->incarnation_id = registration->incarnation_id;
    FILL_ENDPOINTS(call, r, register_controller_record_end_point, registration->endpoints,
                   registration->endpoint_count);
    FILL_FEATURES(call, r, register_controller_record_feature);
    return controller_add(controller, call, META_REGISTER_CONTROLLER, r);
}

/* --- leaders --- */

static bool list_has(const int32_t *list, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i] == id)
            return true;
    return false;
}

struct partition_change_record *partition_change(const struct controller_call *call,
                                                 struct uuid topic_id, uint32_t index)
{
    struct partition_change_record *r = CALL_BODY(call, partition_change_record);
    if (!r)
        return NULL;
    r->topic_id = topic_id;
    r->partition_id = (int32_t)index;
    return r;
}

enum err broker_check_epoch(const struct controller *controller, const struct controller_call *call,
                            int32_t broker_id, int64_t broker_epoch, struct meta_error *error)
{
    const struct broker_image *broker = image_broker(controller->head, broker_id);
    if (!broker)
        return meta_error_set(error, call->arena, ERR_BROKER_ID_NOT_REGISTERED,
                              "No broker registration found for broker id %" PRId32, broker_id);
    if (broker->epoch != broker_epoch)
        return meta_error_set(error, call->arena, ERR_STALE_BROKER_EPOCH,
                              "Expected broker epoch %" PRId64 ", but got broker epoch %" PRId64,
                              broker->epoch, broker_epoch);
    return ERR_OK;
}

static enum err add_fencing(const struct controller *controller, const struct controller_call *call,
                            int32_t broker_id, int64_t broker_epoch, bool fenced)
{
    struct broker_registration_change_record *r =
        CALL_BODY(call, broker_registration_change_record);
    if (!r)
        return ERR_NOMEM;
    r->broker_id = broker_id;
    r->broker_epoch = broker_epoch;
    r->fenced = fenced ? 1 : -1;
    return controller_add(controller, call, META_BROKER_REGISTRATION_CHANGE, r);
}

/* Nobody leads and nobody is in sync: the broker may lead if it is eligible, or if it is the one
 * that is known to have led last and none is eligible. */
static bool may_lead_alone(const struct partition_image *partition, int32_t broker_id)
{
    if (partition->leader != -1 || partition->isr_count > 0)
        return false;
    if (list_has(partition->elr, partition->elr_count, broker_id))
        return true;
    return partition->elr_count == 0 && partition->last_known_elr_count == 1 &&
           partition->last_known_elr[0] == broker_id;
}

static enum err lead_alone(const struct controller *controller, const struct controller_call *call,
                           const struct partition_image *partition, int32_t broker_id,
                           struct partition_change_record *r)
{
    int32_t *isr = arena_array(call->arena, 1, sizeof(*isr));
    int32_t *elr = arena_array(call->arena, partition->elr_count, sizeof(*elr));
    if (!isr || !elr)
        return ERR_NOMEM;
    isr[0] = broker_id;
    r->leader = broker_id;
    r->isr = isr;
    r->isr_len = 1;
    if (image_metadata_version(controller->head) < MV_ELR)
        return ERR_OK;
    r->eligible_leader_replicas = elr;
    r->eligible_leader_replicas_len = 0;
    for (uint32_t i = 0; i < partition->elr_count; i++)
        if (partition->elr[i] != broker_id)
            elr[r->eligible_leader_replicas_len++] = partition->elr[i];
    r->last_known_elr_len = 0;
    return ERR_OK;
}

enum err partition_gain_broker(const struct controller *controller,
                               const struct controller_call *call,
                               const struct partition_image *partition, int32_t broker_id,
                               struct partition_change_record *r, bool *is_changed)
{
    bool in_sync = list_has(partition->isr, partition->isr_count, broker_id);
    *is_changed = true;
    if (may_lead_alone(partition, broker_id))
        return lead_alone(controller, call, partition, broker_id, r);
    *is_changed = in_sync && (partition->leader == broker_id || partition->leader == -1);
    if (*is_changed)
        r->leader = broker_id;
    return ERR_OK;
}

/* The only member in sync: where the eligible leader replicas are in force it leaves the set and is
 * eligible, as in Apache Kafka; else it stays, without leading. */
static enum err leave_alone(const struct controller *controller, const struct controller_call *call,
                            int32_t broker_id, struct partition_change_record *r)
{
    if (!controller_elr_enabled(controller))
        return ERR_OK;
    int32_t *ids = arena_array(call->arena, 1, sizeof(*ids));
    if (!ids)
        return ERR_NOMEM;
    ids[0] = broker_id;
    r->isr = ids;
    r->isr_len = 0;
    r->eligible_leader_replicas = ids;
    r->eligible_leader_replicas_len = 1;
    r->last_known_elr = ids;
    r->last_known_elr_len = 1;
    return ERR_OK;
}

/* The first other replica that is in sync and serves; -1: none. */
static int32_t other_leader(const struct controller *controller,
                            const struct partition_image *partition, int32_t broker_id)
{
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        int32_t id = partition->replicas[i];
        const struct broker_image *broker = image_broker(controller->head, id);
        if (id != broker_id && broker && !broker->fenced &&
            broker_has_online_dir(broker, partition->directories[i]) &&
            list_has(partition->isr, partition->isr_count, id))
            return id;
    }
    return -1;
}

enum err partition_lose_broker(const struct controller *controller,
                               const struct controller_call *call,
                               const struct partition_image *partition, int32_t broker_id,
                               struct partition_change_record *r, bool *is_changed)
{
    bool leads = partition->leader == broker_id;
    bool in_sync = list_has(partition->isr, partition->isr_count, broker_id);
    *is_changed = leads || (in_sync && partition->isr_count > 1);
    if (leads)
        r->leader = other_leader(controller, partition, broker_id);
    if (!in_sync || !*is_changed)
        return ERR_OK;
    if (partition->isr_count == 1)
        return leave_alone(controller, call, broker_id, r);
    r->isr = arena_array(call->arena, partition->isr_count, sizeof(*r->isr));
    if (!r->isr)
        return ERR_NOMEM;
    r->isr_len = 0;
    for (uint32_t i = 0; i < partition->isr_count; i++)
        if (partition->isr[i] != broker_id)
            r->isr[r->isr_len++] = partition->isr[i];
    return ERR_OK;
}

/* With the broker's replica, whose log folder says whether it may lead. */
static enum err change_partition(const struct controller *controller,
                                 const struct controller_call *call,
                                 const struct topic_image *topic, uint32_t index, int32_t broker_id,
                                 bool is_up)
{
    const struct partition_image *partition = topic->partitions[index];
    int at = partition ? partition_replica_at(partition, broker_id) : -1;
    if (at < 0)
        return ERR_OK;
    struct partition_change_record *r = partition_change(call, topic->id, index);
    if (!r)
        return ERR_NOMEM;
    const struct broker_image *broker = image_broker(controller->head, broker_id);
    bool is_changed;
    if (is_up && broker_has_online_dir(broker, partition->directories[at]))
        TRY(partition_gain_broker(controller, call, partition, broker_id, r, &is_changed));
    else
        TRY(partition_lose_broker(controller, call, partition, broker_id, r, &is_changed));
    return is_changed ? controller_add(controller, call, META_PARTITION_CHANGE, r) : ERR_OK;
}

enum err controller_unfence_broker(const struct controller *controller,
                                   const struct controller_call *call, int32_t broker_id,
                                   int64_t broker_epoch, struct meta_error *error)
{
    TRY(broker_check_epoch(controller, call, broker_id, broker_epoch, error));
    if (!image_broker(controller->head, broker_id)->fenced)
        return ERR_OK;
    TRY(add_fencing(controller, call, broker_id, broker_epoch, false));
    IMAGE_TOPICS_EACH(iter, controller->head, topic)
    {
        for (uint32_t i = 0; i < topic->partition_count; i++)
            TRY(change_partition(controller, call, topic, i, broker_id, true));
    }
    return ERR_OK;
}

enum err controller_fence_broker(const struct controller *controller,
                                 const struct controller_call *call, int32_t broker_id,
                                 struct meta_error *error)
{
    const struct broker_image *broker = image_broker(controller->head, broker_id);
    if (!broker)
        return meta_error_set(error, call->arena, ERR_BROKER_ID_NOT_REGISTERED,
                              "No broker registration found for broker id %" PRId32, broker_id);
    if (broker->fenced)
        return ERR_OK;
    TRY(add_fencing(controller, call, broker_id, broker->epoch, true));
    IMAGE_TOPICS_EACH(iter, controller->head, topic)
    {
        for (uint32_t i = 0; i < topic->partition_count; i++)
            TRY(change_partition(controller, call, topic, i, broker_id, false));
    }
    return ERR_OK;
}
