/* What the controller's files share. Private to src/meta. */
#ifndef META_CONTROLLER_INTERNAL_H
#define META_CONTROLLER_INTERNAL_H

#include "meta/controller.h"
#include "wire/messages.h"

/* More records than this do not go into one atomic batch; Kafka's own bound. */
#define CONTROLLER_PARTITIONS_MAX 10000

/* A record body at its defaults in the call's arena; NULL without memory. */
#define CALL_BODY(call, type) MSG_ARRAY(type, (call)->arena, 1)

/* Adds a record in the version that the head's metadata.version asks for. */
enum err controller_add(const struct controller *controller, const struct controller_call *call,
                        enum meta_type type, const void *body) MUST_USE;
/* What the configuration says on this node. */
struct config_view controller_view(const struct controller *controller);
int64_t controller_config_i64(const struct controller *controller, const char *broker_key);
bool controller_elr_enabled(const struct controller *controller);
struct uuid controller_random_uuid(const struct controller_call *call);

/* Checks the settings of a topic together: each is known, valid and supported, and none contradicts
 * another. */
enum err topic_configs_check(const struct config_entry *entries, size_t count, struct arena *arena,
                             struct meta_error *error) MUST_USE;

/* --- brokers.c --- */

/* ERR_BROKER_ID_NOT_REGISTERED, or ERR_STALE_BROKER_EPOCH. */
enum err broker_check_epoch(const struct controller *controller, const struct controller_call *call,
                            int32_t broker_id, int64_t broker_epoch,
                            struct meta_error *error) MUST_USE;

struct partition_change_record;
/* A change of nothing yet, in the call's arena; NULL without memory. */
struct partition_change_record *partition_change(const struct controller_call *call,
                                                 struct uuid topic_id, uint32_t index);
/* Puts into *r what changes when the broker's replica can serve, or no longer: leader, in-sync set
 * and eligible replicas. */
enum err partition_gain_broker(const struct controller *controller,
                               const struct controller_call *call,
                               const struct partition_image *partition, int32_t broker_id,
                               struct partition_change_record *r, bool *is_changed) MUST_USE;
enum err partition_lose_broker(const struct controller *controller,
                               const struct controller_call *call,
                               const struct partition_image *partition, int32_t broker_id,
                               struct partition_change_record *r, bool *is_changed) MUST_USE;

/* --- directories.c --- */

/* Where the broker's replica stands among the replicas; -1: it has none. */
int partition_replica_at(const struct partition_image *partition, int32_t broker_id);

/* --- placement.c --- */

struct placement {
    int32_t *replicas;
    struct uuid *directories;
    uint32_t replica_count;
};

/* Where the replicas of `partitions` new partitions go, one after the other from `first` on: each
 * broker is the preferred leader of about as many, racks alternate. `placements` has room for them.
 * ERR_INVALID_REPLICATION_FACTOR with Kafka's sentence. */
enum err placement_choose(const struct controller *controller, const struct controller_call *call,
                          uint32_t partitions, int32_t replication_factor,
                          struct placement *placements, struct meta_error *error) MUST_USE;
/* Checks an assignment made by hand; replication_factor -1: any. */
enum err placement_check(const struct controller *controller, const struct controller_call *call,
                         const struct create_assignment *assignment, int32_t replication_factor,
                         struct placement *placement, struct meta_error *error) MUST_USE;
/* The record of a new partition; ERR_INVALID_REPLICA_ASSIGNMENT when no replica can lead. */
enum err placement_add_partition(const struct controller *controller,
                                 const struct controller_call *call, struct uuid topic_id,
                                 int32_t partition, const struct placement *placement,
                                 struct meta_error *error) MUST_USE;

#endif
