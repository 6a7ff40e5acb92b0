/* The metadata image: all that the metadata log says up to one offset.
 *
 * Immutable once made, and reference-counted: shard 0 makes a new one for each batch of committed
 * records and hands it to every shard, which reads it without locks and releases it when the next
 * comes. Images share what did not change (table.h). Everything reached through an image lives as
 * long as a reference to that image is held. */
#ifndef META_IMAGE_H
#define META_IMAGE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "meta/record.h"
#include "meta/table.h"

/* Bounds on what a log or snapshot may ask of memory; far above what Kafka supports. */
#define META_PARTITIONS_MAX 1000000 /* of a topic */
#define META_REPLICAS_MAX   10000   /* of a partition */

struct partition_image {
    atomic_uint refs;
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    int8_t leader_recovery_state; /* 0 recovered, 1 recovering */
    /* Broker ids. The lists below are in this one allocation. */
    uint32_t replica_count;
    uint32_t isr_count;
    uint32_t removing_count;
    uint32_t adding_count;
    uint32_t elr_count;
    uint32_t last_known_elr_count;
    const int32_t *replicas; /* the first is the preferred leader */
    const int32_t *isr;
    const int32_t *removing;
    const int32_t *adding;
    const int32_t *elr; /* eligible leader replicas */
    const int32_t *last_known_elr;
    const struct uuid *directories; /* one for each of replicas */
};

struct topic_image {
    atomic_uint refs;
    uint64_t generation; /* of the image that made it */
    struct uuid id;
    struct str name;
    uint32_t partition_count;
    uint32_t partition_cap;
    struct partition_image **partitions; /* by index; NULL only where a foreign log left a gap */
};

/* Directory ids with a meaning of their own. */
#define DIR_UNASSIGNED ((struct uuid){{0}})
#define DIR_LOST       ((struct uuid){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}})
#define DIR_MIGRATING  ((struct uuid){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}})

struct endpoint_image {
    struct str name; /* listener */
    struct str host;
    uint16_t port;
    int16_t security_protocol; /* 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL */
};

struct feature_range {
    struct str name;
    int16_t min;
    int16_t max;
};

struct broker_image {
    atomic_uint refs;
    int32_t id;
    int64_t epoch;
    struct uuid incarnation_id;
    struct str rack; /* null: none */
    bool fenced;
    bool in_controlled_shutdown;
    uint32_t endpoint_count;
    uint32_t feature_count;
    uint32_t log_dir_count;
    uint32_t cordoned_count;
    const struct endpoint_image *endpoints;
    const struct feature_range *features; /* what its software supports */
    const struct uuid *log_dirs;
    const struct uuid *cordoned_log_dirs;
};

struct controller_image {
    atomic_uint refs;
    int32_t id;
    struct uuid incarnation_id;
    bool zk_migration_ready;
    uint32_t endpoint_count;
    uint32_t feature_count;
    const struct endpoint_image *endpoints;
    const struct feature_range *features;
};

/* Kafka's resource types, as on the wire. */
enum config_type {
    CONFIG_UNKNOWN = 0,
    CONFIG_TOPIC = 2,
    CONFIG_BROKER = 4,
    CONFIG_BROKER_LOGGER = 8,
    CONFIG_CLIENT_METRICS = 16,
    CONFIG_GROUP = 32,
};

struct config_entry {
    struct str key;
    struct str value;
};

/* What was set on one resource. The cluster-wide broker default is CONFIG_BROKER with name "". */
struct config_image {
    atomic_uint refs;
    enum config_type type;
    struct str name;
    uint32_t count;
    const struct config_entry *entries; /* in the order of their keys */
};

struct feature_image {
    atomic_uint refs;
    struct str name;
    int16_t level;
};

/* A record of a kind that nothing here acts on yet (access control, quotas, credentials, tokens):
 * kept as it came, in order, so that no snapshot loses it. */
struct carried_image {
    atomic_uint refs;
    uint64_t number;
    struct slice value; /* framed */
};

struct image {
    atomic_uint refs;
    uint64_t generation; /* one more than that of the image it was made from */
    /* Where in the log it stands: the offset after its last record (0 before anything), and that
     * record's epoch and batch timestamp. */
    int64_t end_offset;
    int32_t epoch;
    int64_t timestamp_ms;
    struct table topics;       /* topic_image by name */
    struct table topics_by_id; /* the same, by id */
    struct table brokers;      /* broker_image by id */
    struct table controllers;  /* controller_image by id */
    struct table configs;      /* config_image by type and name */
    struct table features;     /* feature_image by name: the finalized levels */
    struct table carried;      /* carried_image by number */
    int64_t next_producer_id;  /* the first of the next block */
    uint64_t partition_count;  /* over all topics */
    bool in_transaction;       /* inside of a metadata transaction, whose records wait here: */
    struct table pending;      /* carried_image by number */
};

/* One reference, the caller's. */
enum err image_create_empty(struct image **image) MUST_USE;
struct image *image_ref(struct image *image);
void image_unref(struct image *image);

/* The image that follows `base` once `records` are applied. end_offset is that of the last record
 * plus one. On failure `base` is as it was, and *error says which record and why.
 * Records inside of a metadata transaction take effect at its end record. */
enum err image_apply(const struct image *base, const struct meta_record *records, size_t count,
                     int64_t end_offset, int32_t epoch, int64_t timestamp_ms, struct arena *arena,
                     struct image **out, struct meta_error *error) MUST_USE;

/* The records that rebuild the image from the empty one (a checkpoint's content). */
enum err image_snapshot(const struct image *image, struct meta_records *records) MUST_USE;

/* Lookups: NULL if there is none. */
const struct topic_image *image_topic_by_name(const struct image *image, struct str name);
const struct topic_image *image_topic_by_id(const struct image *image, struct uuid id);
const struct partition_image *image_partition(const struct topic_image *topic, int32_t index);
const struct broker_image *image_broker(const struct image *image, int32_t id);
const struct config_image *image_config(const struct image *image, enum config_type type,
                                        struct str name);
/* The value set for a key, null if it is not set there; `config` may be NULL. */
struct str config_image_get(const struct config_image *config, struct str key);
/* The finalized level; 0 where it is not finalized. Their epoch, as ApiVersions carries it, is the
 * offset of the image's last record: end_offset - 1. */
int16_t image_feature(const struct image *image, struct str name);
/* "metadata.version": which record versions the log may hold. */
int16_t image_metadata_version(const struct image *image);

/* Walks in order of name (topics), id (brokers, controllers), type and name (configs). */
#define IMAGE_TOPICS_EACH(iter, image, topic) \
    struct table_iter iter;                   \
    table_begin(&iter, &(image)->topics);     \
    for (const struct topic_image *topic; (topic = table_next(&iter)) != NULL;)
/* From the first topic whose name is >= name; read with table_next. */
void image_topics_seek(const struct image *image, struct str name, struct table_iter *iter);

/* What changed, one call each, shared parts skipped (so it costs what changed). A topic deleted
 * and created again under its name comes as one call with different ids. */
typedef enum err image_topic_diff_fn(void *arg, const struct topic_image *before,
                                     const struct topic_image *after);
enum err image_topics_diff(const struct image *before, const struct image *after,
                           image_topic_diff_fn *fn, void *arg) MUST_USE;
typedef enum err image_config_diff_fn(void *arg, const struct config_image *before,
                                      const struct config_image *after);
enum err image_configs_diff(const struct image *before, const struct image *after,
                            image_config_diff_fn *fn, void *arg) MUST_USE;

#endif
