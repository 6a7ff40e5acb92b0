/* The controller: requests that change metadata become records and answers.
 *
 * Pure. Each function looks at the controller's head image, changes nothing, and gives the records
 * to append to the metadata log together with the answer. The driver (shard 0):
 *
 *   1. calls e.g. controller_create_topics(); answers at once when there are no records;
 *   2. appends the records as one batch (meta_record_encode gives each value) and at once calls
 *      controller_replay(), which moves the head, so that the next request sees them;
 *   3. keeps a reference to the head of that moment (image_ref(controller->head)); once the high
 *      watermark passes the batch it publishes that image to the shards and sends the answer.
 *
 * A failed append is final for the metadata log (the broker stops), so the head never has to go
 * back. Time and chance come in through struct controller_call. */
#ifndef META_CONTROLLER_H
#define META_CONTROLLER_H

#include "base/arena.h"
#include "base/rng.h"
#include "meta/config_def.h"
#include "meta/image.h"
#include "meta/record.h"

struct controller {
    struct image *head; /* all that was appended; one reference held here */
    int32_t node_id;
    struct config_static configs; /* this node's file: defaults for new topics */
};

/* Takes over one reference of the image. Borrows the configs. */
void controller_init(struct controller *controller, struct image *image, int32_t node_id,
                     struct config_static configs);
void controller_deinit(struct controller *controller);

/* Applies records that were appended (or read back at start): moves the head. Failure means that
 * the log says something impossible: *error tells what, the head stays. */
enum err controller_replay(struct controller *controller, const struct meta_record *records,
                           size_t count, int64_t end_offset, int32_t epoch, int64_t timestamp_ms,
                           struct arena *arena, struct meta_error *error) MUST_USE;

/* What each request is given. Answers and records live in the arena. */
struct controller_call {
    struct arena *arena;
    struct rng *rng; /* new ids, spread of replicas */
    int64_t now_ms;
    struct meta_records *records; /* out: initialized by the caller, appended to */
};

/* A whole-request failure (out of memory) is the return value; what concerns one topic is in its
 * answer. All functions below are the same in this. Answers come in the order of the request, one
 * for each element; where Kafka gives several elements of one name a single answer, the later ones
 * are marked `repeated`, to be left out. */

/* --- topics.c --- */

struct create_assignment {
    int32_t partition;
    const int32_t *brokers;
    size_t broker_count;
};

struct create_topic {
    struct str name;
    int32_t partitions;         /* -1: num.partitions */
    int16_t replication_factor; /* -1: default.replication.factor */
    const struct create_assignment *assignments;
    size_t assignment_count;
    const struct config_entry *configs; /* a null value is refused as Kafka does */
    size_t config_count;
};

struct created_topic {
    struct str name;
    bool repeated;
    enum err err;
    struct str message; /* null if ok */
    struct uuid id;
    int32_t partitions;
    int16_t replication_factor;
    const struct config_described *configs; /* in force for the new topic, ordered by key */
    size_t config_count;
};

/* A name that comes twice is refused. Internal topics (`__consumer_offsets`...) are created through
 * this too. */
enum err controller_create_topics(const struct controller *controller,
                                  const struct controller_call *call,
                                  const struct create_topic *topics, size_t count,
                                  bool validate_only, struct created_topic **answers) MUST_USE;

/* Name rules of a topic: ERR_OK or ERR_INVALID_TOPIC with Kafka's sentence. */
enum err topic_name_check(struct str name, struct arena *arena, struct meta_error *error) MUST_USE;

struct delete_topic {
    struct str name; /* null: by id */
    struct uuid id;  /* zero: by name */
};

struct deleted_topic {
    struct str name; /* null when asked by an id that is not known */
    struct uuid id;
    bool repeated;
    enum err err;
    struct str message;
};

enum err controller_delete_topics(const struct controller *controller,
                                  const struct controller_call *call,
                                  const struct delete_topic *topics, size_t count,
                                  struct deleted_topic **answers) MUST_USE;

struct create_partitions {
    struct str topic;
    int32_t count; /* after the change */
    bool has_assignments;
    const struct create_assignment
        *assignments; /* one for each new partition; `partition` unused */
    size_t assignment_count;
};

struct topic_answer {
    struct str name;
    bool repeated;
    enum err err;
    struct str message;
};

enum err controller_create_partitions(const struct controller *controller,
                                      const struct controller_call *call,
                                      const struct create_partitions *topics, size_t count,
                                      bool validate_only, struct topic_answer **answers) MUST_USE;

/* --- configs.c --- */

enum alter_op { ALTER_SET = 0, ALTER_DELETE = 1, ALTER_APPEND = 2, ALTER_SUBTRACT = 3 };

struct alter_config {
    struct str key;
    struct str value; /* null is allowed for ALTER_DELETE only */
    int8_t op;        /* as on the wire; a number outside of enum alter_op is refused */
};

struct alter_resource {
    int8_t type; /* as on the wire: enum config_type */
    struct str name;
    const struct alter_config *configs;
    size_t count;
};

struct altered_resource {
    int8_t type;
    struct str name;
    enum err err;
    struct str message;
};

enum err controller_alter_configs(const struct controller *controller,
                                  const struct controller_call *call,
                                  const struct alter_resource *resources, size_t count,
                                  bool validate_only, struct altered_resource **answers) MUST_USE;
/* The older request: the given values replace all that the resource had; ops are ignored. */
enum err controller_replace_configs(const struct controller *controller,
                                    const struct controller_call *call,
                                    const struct alter_resource *resources, size_t count,
                                    bool validate_only, struct altered_resource **answers) MUST_USE;

/* --- producer_ids.c --- */

#define PRODUCER_ID_BLOCK 1000

/* The caller may hand out [*first, *first + *count) once the record is committed. */
enum err controller_allocate_producer_ids(const struct controller *controller,
                                          const struct controller_call *call, int32_t broker_id,
                                          int64_t broker_epoch, int64_t *first, int32_t *count,
                                          struct meta_error *error) MUST_USE;

/* --- brokers.c --- */

struct broker_registration {
    int32_t id;
    struct uuid incarnation_id; /* new at each start of the process */
    struct str rack;            /* null: none */
    const struct endpoint_image *endpoints;
    size_t endpoint_count;
    const struct uuid *log_dirs;
    size_t log_dir_count;
};

/* Registers the broker, fenced. Its epoch is the offset that the record will have: `next_offset`,
 * the log's end. Features are this program's own. */
enum err controller_register_broker(const struct controller *controller,
                                    const struct controller_call *call,
                                    const struct broker_registration *registration,
                                    int64_t next_offset, int64_t *broker_epoch,
                                    struct meta_error *error) MUST_USE;
/* From now on it serves: elects leaders for the partitions that wait for it. */
enum err controller_unfence_broker(const struct controller *controller,
                                   const struct controller_call *call, int32_t broker_id,
                                   int64_t broker_epoch, struct meta_error *error) MUST_USE;
/* A broker that stops, or was lost: its partitions go to others, or have no leader. */
enum err controller_fence_broker(const struct controller *controller,
                                 const struct controller_call *call, int32_t broker_id,
                                 struct meta_error *error) MUST_USE;

struct controller_registration {
    int32_t id;
    struct uuid incarnation_id;
    const struct endpoint_image *endpoints;
    size_t endpoint_count;
};

enum err controller_register_controller(const struct controller *controller,
                                        const struct controller_call *call,
                                        const struct controller_registration *registration,
                                        struct meta_error *error) MUST_USE;

/* --- directories.c --- */

/* Whether a replica that lies there can be served, as far as the metadata says. */
bool broker_has_online_dir(const struct broker_image *broker, struct uuid directory);

/* Where replicas of a partition live: the caller of AssignReplicasToDirs. */
struct dir_assignment {
    struct uuid topic_id;
    int32_t partition;
    struct uuid directory;
};

enum err controller_assign_dirs(const struct controller *controller,
                                const struct controller_call *call, int32_t broker_id,
                                int64_t broker_epoch, const struct dir_assignment *assignments,
                                size_t count, enum err **errs, struct meta_error *error) MUST_USE;
/* A log folder of the broker failed: its replicas lead nothing any more. */
enum err controller_dir_offline(const struct controller *controller,
                                const struct controller_call *call, int32_t broker_id,
                                int64_t broker_epoch, struct uuid directory,
                                struct meta_error *error) MUST_USE;

/* --- replicas.c --- */

/* The preferred replica becomes the leader; with `unclean` a partition without a leader gets one,
 * in sync or not. ERR_ELECTION_NOT_NEEDED and what else Kafka answers, with its sentence. */
enum err controller_elect_leader(const struct controller *controller,
                                 const struct controller_call *call, struct str topic_name,
                                 int32_t index, bool unclean, struct meta_error *error) MUST_USE;
/* Moves a partition's replicas; NULL cancels a move. With one broker the only place to be is where
 * they are. */
enum err controller_reassign(const struct controller *controller,
                             const struct controller_call *call, struct str topic_name,
                             int32_t index, const struct create_assignment *target,
                             struct meta_error *error) MUST_USE;
bool partition_is_moving(const struct partition_image *partition);

/* --- features.c --- */

struct feature_support {
    const char *name;
    int16_t min, max; /* what this program can run at */
    int16_t initial;  /* the level of a new folder */
};

/* What this program supports, in the order of their names. */
const struct feature_support *features_supported(size_t *count);
/* Records of bootstrap.checkpoint: the initial levels, in Kafka's order. */
enum err features_bootstrap(struct meta_records *records) MUST_USE;
/* ERR_UNSUPPORTED with why, when the image has a finalized level that this program cannot run. */
enum err features_check(const struct image *image, struct arena *arena,
                        struct meta_error *error) MUST_USE;
enum feature_update_kind { FEATURE_UPGRADE = 1, FEATURE_SAFE_DOWNGRADE, FEATURE_UNSAFE_DOWNGRADE };

struct feature_update {
    struct str name;
    int16_t level;
    int8_t kind; /* of the client: perhaps none of the above */
};

/* All of them or, with Kafka's sentence, none. `kraft_version` is the quorum's level. */
enum err controller_update_features(const struct controller *controller,
                                    const struct controller_call *call,
                                    const struct feature_update *updates, size_t count,
                                    int16_t kraft_version, bool validate_only,
                                    struct meta_error *error) MUST_USE;
/* What a new leader writes first: into an empty log the bootstrap records, as one metadata
 * transaction; into one that was left inside of a transaction, its abort; the cluster-wide
 * min.insync.replicas where the eligible leader replicas ask for it. */
enum err controller_activate(const struct controller *controller,
                             const struct controller_call *call,
                             const struct meta_record *bootstrap, size_t bootstrap_count,
                             struct meta_error *error) MUST_USE;

#endif
