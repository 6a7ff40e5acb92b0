/* server.properties: Kafka's file, keys, units and defaults, as typed values.
 *
 * Used at start only. A wrong value gives an error that names file, line, key, what was wrong and
 * what is allowed; keys without effect are collected for one warning. */
#ifndef BROKER_CONFIG_H
#define BROKER_CONFIG_H

#include "base/arena.h"
#include "broker/alert_rule.h"
#include "coord/coord.h"
#include "io/io.h"
#include "meta/config_def.h"

struct listener_config {
    struct str name; /* upper case */
    struct str host; /* "" or a name or number; "" is every address */
    uint16_t port;
    int16_t security_protocol; /* as struct endpoint_image has it */
    bool is_controller;        /* named in controller.listener.names */
};

struct quorum_voter_config {
    int32_t id;
    struct str host;
    uint16_t port;
};

struct broker_config {
    struct arena arena;         /* all strings below */
    struct config_static texts; /* what was set, for DescribeConfigs */
    struct str file;            /* null: none was given */

    int32_t node_id;
    bool is_broker, is_controller; /* process.roles */
    struct str rack;               /* null: none */
    uint32_t shards;               /* 0: one for each core */
    enum io_disk disk;

    struct listener_config *listeners; /* those to bind, controller's included */
    size_t listener_count;
    struct listener_config *advertised; /* client listeners as clients are told */
    size_t advertised_count;
    struct str inter_broker_listener;
    /* Where the controller listens or would: for the voter entry that a new folder gets. */
    struct str controller_listener; /* "CONTROLLER" */
    struct str controller_host;
    uint16_t controller_port;
    struct listener_config *metrics_listeners;
    size_t metrics_listener_count;
    struct alert_rule *alerts; /* lag.alert.* */
    size_t alert_count;
    struct quorum_voter_config *voters; /* controller.quorum.voters */
    size_t voter_count;

    struct str *log_dirs;
    size_t log_dir_count;
    struct str metadata_log_dir; /* the first of log_dirs unless set */

    /* Plain values, each named as its key. */
    int32_t metrics_partitions_max;
    int32_t lag_interval_ms;
    int32_t num_partitions;
    int16_t default_replication_factor;
    bool auto_create_topics_enable;
    bool delete_topic_enable;
    int32_t socket_request_max_bytes;
    int32_t socket_send_buffer_bytes;
    int32_t socket_receive_buffer_bytes;
    int32_t socket_listen_backlog_size;
    int64_t connections_max_idle_ms;
    int32_t fetch_max_bytes;
    int32_t max_incremental_fetch_session_cache_slots;
    int32_t max_request_partition_size_limit;
    int32_t message_max_bytes;
    int64_t log_retention_check_interval_ms;
    int64_t log_flush_scheduler_interval_ms;
    int32_t log_flush_offset_checkpoint_interval_ms;
    int32_t log_flush_start_offset_checkpoint_interval_ms;
    int64_t replica_high_watermark_checkpoint_interval_ms;
    int64_t log_initial_task_delay_ms;
    int32_t num_recovery_threads_per_data_dir;
    int32_t producer_id_expiration_ms;
    int32_t producer_id_expiration_check_interval_ms;
    int32_t transaction_max_timeout_ms;
    struct coord_consumer_config group_consumer;
    bool has_consumer_protocol; /* group.coordinator.rebalance.protocols */
    int32_t group_min_session_timeout_ms;
    int32_t group_max_session_timeout_ms;
    int32_t group_initial_rebalance_delay_ms;
    int32_t group_max_size;
    int32_t offset_metadata_max_bytes;
    int32_t offsets_load_buffer_size;
    int64_t offsets_retention_check_interval_ms;
    int32_t offsets_retention_minutes;
    int32_t offsets_topic_compression_codec;
    int32_t offsets_topic_num_partitions;
    int32_t offsets_topic_segment_bytes;
    int16_t offsets_topic_replication_factor;
    int32_t transaction_state_log_num_partitions;
    int16_t transaction_state_log_replication_factor;
    int64_t metadata_log_max_record_bytes_between_snapshots;
    int64_t metadata_log_max_snapshot_interval_ms;
    int32_t metadata_log_segment_bytes;
    int64_t metadata_log_segment_ms;
    int64_t metadata_max_retention_bytes;
    int64_t metadata_max_retention_ms;

    /* One line each, for the log at start; null: nothing to say. */
    struct str warning_keys;       /* unknown and not honoured keys, all in one sentence */
    struct str warning_advertised; /* clients elsewhere cannot reach what is advertised */
};

struct config_problem {
    struct str file;    /* null: an --override, or a default */
    size_t line;        /* 0: none */
    struct str key;     /* null: the file as a whole */
    struct str what;    /* what was wrong */
    struct str allowed; /* what is allowed; null: nothing to add */
};

/* Reads the file (path NULL: none, every default: PLAINTEXT on 9092, data in ./data) and the
 * overrides ("key=value" each; `shards` too). `hostname` is this machine's name, which clients are
 * told where nothing is advertised and all addresses are listened on. On failure *problem (its
 * strings in config->arena) tells the operator; config is to be deinited either way. */
enum err broker_config_load(struct broker_config *config, struct io *io, const char *path,
                            const char *const *overrides, size_t override_count,
                            struct str hostname, struct config_problem *problem) MUST_USE;
void broker_config_deinit(struct broker_config *config);
/* "server.properties:12: num.partitions=0: Value must be at least 1. Allowed: ..." */
void config_problem_print(const struct config_problem *problem, struct buf *buf);

#endif
