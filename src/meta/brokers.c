/* Brokers and controllers in the metadata: registration, fencing, and what fencing does to the
 * leaders of partitions.
 *
 * A broker registers fenced at each start and is unfenced when it serves. Then it becomes leader of
 * the partitions that wait for it, and each partition that it led before its restart gets a new
 * leader epoch: what was not flushed before a crash may be gone, and the epoch lets clients see it.
 * A fenced broker leaves the in-sync set of partitions that have another member; alone it stays.
 * Apache Kafka empties that set and keeps the broker among the eligible leader replicas, or, when
 * it went down uncleanly, as the last known one: from there it comes back as leader too.
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

static enum err add_leader(const struct controller *controller, const struct controller_call *call,
                           const struct topic_image *topic, uint32_t index, int32_t leader,
                           int32_t *isr, int32_t isr_count)
{
    struct partition_change_record *r = CALL_BODY(call, partition_change_record);
    if (!r)
        return ERR_NOMEM;
    r->topic_id = topic->id;
    r->partition_id = (int32_t)index;
    r->leader = leader;
    if (isr) {
        r->isr = isr;
        r->isr_len = isr_count;
    }
    return controller_add(controller, call, META_PARTITION_CHANGE, r);
}

static enum err check_broker(const struct controller *controller,
                             const struct controller_call *call, int32_t broker_id,
                             int64_t broker_epoch, struct meta_error *error)
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
                           const struct topic_image *topic, uint32_t index, int32_t broker_id)
{
    const struct partition_image *partition = topic->partitions[index];
    struct partition_change_record *r = CALL_BODY(call, partition_change_record);
    int32_t *isr = arena_array(call->arena, 1, sizeof(*isr));
    int32_t *elr = arena_array(call->arena, partition->elr_count, sizeof(*elr));
    if (!r || !isr || !elr)
        return ERR_NOMEM;
    isr[0] = broker_id;
    r->topic_id = topic->id;
    r->partition_id = (int32_t)index;
    r->leader = broker_id;
    r->isr = isr;
    r->isr_len = 1;
    if (image_metadata_version(controller->head) < MV_ELR)
        return controller_add(controller, call, META_PARTITION_CHANGE, r);
    r->eligible_leader_replicas = elr;
    r->eligible_leader_replicas_len = 0;
    for (uint32_t i = 0; i < partition->elr_count; i++)
        if (partition->elr[i] != broker_id)
            elr[r->eligible_leader_replicas_len++] = partition->elr[i];
    r->last_known_elr_len = 0;
    return controller_add(controller, call, META_PARTITION_CHANGE, r);
}

static enum err unfence_partition(const struct controller *controller,
                                  const struct controller_call *call,
                                  const struct topic_image *topic, uint32_t index,
                                  int32_t broker_id)
{
    const struct partition_image *partition = topic->partitions[index];
    if (!partition)
        return ERR_OK;
    if (may_lead_alone(partition, broker_id))
        return lead_alone(controller, call, topic, index, broker_id);
    bool in_sync = list_has(partition->isr, partition->isr_count, broker_id);
    if (in_sync && (partition->leader == broker_id || partition->leader == -1))
        return add_leader(controller, call, topic, index, broker_id, NULL, 0);
    return ERR_OK;
}

enum err controller_unfence_broker(const struct controller *controller,
                                   const struct controller_call *call, int32_t broker_id,
                                   int64_t broker_epoch, struct meta_error *error)
{
    TRY(check_broker(controller, call, broker_id, broker_epoch, error));
    if (!image_broker(controller->head, broker_id)->fenced)
        return ERR_OK;
    TRY(add_fencing(controller, call, broker_id, broker_epoch, false));
    IMAGE_TOPICS_EACH(iter, controller->head, topic)
    {
        for (uint32_t i = 0; i < topic->partition_count; i++)
            TRY(unfence_partition(controller, call, topic, i, broker_id));
    }
    return ERR_OK;
}

/* The partition without the broker: out of the in-sync set if that has another member, and led by
 * the first replica that is in sync and serves. */
static enum err fence_partition(const struct controller *controller,
                                const struct controller_call *call, const struct topic_image *topic,
                                uint32_t index, int32_t broker_id)
{
    const struct partition_image *partition = topic->partitions[index];
    int32_t *isr = arena_array(call->arena, partition->isr_count, sizeof(*isr));
    if (!isr)
        return ERR_NOMEM;
    int32_t isr_count = 0;
    for (uint32_t i = 0; i < partition->isr_count; i++)
        if (partition->isr[i] != broker_id)
            isr[isr_count++] = partition->isr[i];
    bool shrinks = isr_count > 0 && (uint32_t)isr_count < partition->isr_count;
    int32_t leader = -2; /* unchanged */
    if (partition->leader == broker_id) {
        leader = -1;
        for (uint32_t i = 0; i < partition->replica_count && leader == -1; i++) {
            int32_t id = partition->replicas[i];
            const struct broker_image *broker = image_broker(controller->head, id);
            if (id != broker_id && broker && !broker->fenced &&
                list_has(isr, (uint32_t)isr_count, id))
                leader = id;
        }
    }
    if (leader == -2 && !shrinks)
        return ERR_OK;
    return add_leader(controller, call, topic, index, leader, shrinks ? isr : NULL, isr_count);
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
        for (uint32_t i = 0; i < topic->partition_count; i++) {
            const struct partition_image *partition = topic->partitions[i];
            if (partition && list_has(partition->replicas, partition->replica_count, broker_id))
                TRY(fence_partition(controller, call, topic, i, broker_id));
        }
    }
    return ERR_OK;
}

/* --- directories --- */

static enum err assign_dir(const struct controller *controller, const struct controller_call *call,
                           int32_t broker_id, const struct dir_assignment *assignment,
                           enum err *verdict)
{
    const struct topic_image *topic = image_topic_by_id(controller->head, assignment->topic_id);
    const struct partition_image *partition = image_partition(topic, assignment->partition);
    *verdict = !topic ? ERR_UNKNOWN_TOPIC_ID : !partition ? ERR_UNKNOWN_TOPIC_OR_PARTITION : ERR_OK;
    if (*verdict)
        return ERR_OK;
    uint32_t at = 0;
    while (at < partition->replica_count && partition->replicas[at] != broker_id)
        at++;
    if (at == partition->replica_count) {
        *verdict = ERR_NOT_LEADER_OR_FOLLOWER;
        return ERR_OK;
    }
    if (uuid_eq(partition->directories[at], assignment->directory))
        return ERR_OK;
    struct partition_change_record *r = CALL_BODY(call, partition_change_record);
    struct uuid *directories =
        arena_array(call->arena, partition->replica_count, sizeof(*directories));
    if (!r || !directories)
        return ERR_NOMEM;
    memcpy(directories, partition->directories, partition->replica_count * sizeof(*directories));
    directories[at] = assignment->directory;
    r->topic_id = assignment->topic_id;
    r->partition_id = assignment->partition;
    r->directories = directories;
    r->directories_len = (int32_t)partition->replica_count;
    return controller_add(controller, call, META_PARTITION_CHANGE, r);
}

enum err controller_assign_dirs(const struct controller *controller,
                                const struct controller_call *call, int32_t broker_id,
                                int64_t broker_epoch, const struct dir_assignment *assignments,
                                size_t count, enum err **out, struct meta_error *error)
{
    TRY(check_broker(controller, call, broker_id, broker_epoch, error));
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
