/* The table of APIs that are served, and what handlers share. */
#ifndef BROKER_HANDLERS_HANDLERS_H
#define BROKER_HANDLERS_HANDLERS_H

#include "broker/conn.h"
#include "broker/metadata.h"
#include "broker/node.h"
#include "broker/request.h"
#include "meta/controller.h"
#include "meta/image.h"
#include "wire/errors.h"
#include "wire/messages.h"

/* One row an API; each begin function is in the file of its API. */
extern const struct handler handler_table[];
extern const size_t handler_table_len;

/* NULL if the API is not served. */
const struct handler *handler_find(int16_t key);

request_fn api_versions_begin;
request_fn metadata_begin;
request_fn describe_topic_partitions_begin;
request_fn describe_cluster_begin;
request_fn create_topics_begin;
request_fn delete_topics_begin;
request_fn create_partitions_begin;
request_fn describe_configs_begin;
request_fn alter_configs_begin;
request_fn incremental_alter_configs_begin;
request_fn list_config_resources_begin;
request_fn produce_begin;
request_fn fetch_begin;
request_fn fetch_cancel;
request_fn list_offsets_begin;
request_fn delete_records_begin;
request_fn offset_for_leader_epoch_begin;
request_fn describe_log_dirs_begin;
request_fn alter_replica_log_dirs_begin;
request_fn init_producer_id_begin;
request_fn describe_producers_begin;
request_fn describe_quorum_begin;
request_fn describe_acls_begin;
request_fn create_acls_begin;
request_fn delete_acls_begin;
request_fn create_delegation_token_begin;
request_fn renew_delegation_token_begin;
request_fn expire_delegation_token_begin;
request_fn describe_delegation_token_begin;
request_fn elect_leaders_begin;
request_fn alter_partition_reassignments_begin;
request_fn list_partition_reassignments_begin;
request_fn update_features_begin;
request_fn describe_client_quotas_begin;
request_fn describe_user_scram_credentials_begin;
request_fn find_coordinator_begin;
request_fn offset_commit_begin;
request_fn offset_fetch_begin;
request_fn consumer_group_heartbeat_begin;
request_fn consumer_group_heartbeat_cancel;
request_fn consumer_group_heartbeat_yield;
request_fn consumer_group_describe_begin;
request_fn join_group_begin;
request_fn join_group_cancel;
request_fn sync_group_begin;
request_fn sync_group_cancel;
request_fn heartbeat_begin;
request_fn heartbeat_cancel;
request_fn heartbeat_yield;
request_fn leave_group_begin;
request_fn describe_groups_begin;
request_fn list_groups_begin;
request_fn delete_groups_begin;
request_fn offset_delete_begin;

/* What an answer says when the caller does not ask for, or nothing knows, its rights. */
#define AUTHORIZED_OPERATIONS_UNKNOWN INT32_MIN

/* All operations that a resource has, where there is no authorizer to take any away. */
#define AUTHORIZED_OPERATIONS_TOPIC   0x0df8
#define AUTHORIZED_OPERATIONS_GROUP   0x0d48
#define AUTHORIZED_OPERATIONS_CLUSTER 0x1fa0

/* Ends the request because its memory limit is reached. */
void request_over_limit(struct request *req);

/* Hands a change of metadata to the controller; `done` ends the request. */
void request_ask_controller(struct request *req, struct metadata_call *call, metadata_ask *ask,
                            metadata_done *done, void *own);

/* By id where that is not zero, else by name. NULL with the error to answer. The topic lives as
 * long as the shard's image: until the handler returns to the loop. */
const struct topic_image *request_topic(const struct request *req, struct str name, struct uuid id,
                                        enum err *err);
/* Where clients of this request's listener find the broker; NULL if it has no such listener. */
const struct endpoint_image *request_endpoint(const struct request *req,
                                              const struct broker_image *broker);
/* Replicas on brokers, or in log folders, that are not there or not on this request's listener.
 * False: the request's memory limit is reached. */
bool fill_offline_replicas(struct request *req, const struct partition_image *partition,
                           int32_t **offline, int32_t *offline_len) MUST_USE;
/* Topics that the broker keeps for itself. */
bool topic_is_internal(struct str name);
/* How a topic is made that is named first by a request: an internal one has settings of its own.
 * False: the request's memory limit is reached. */
bool internal_topic_spec(struct request *req, struct str name, struct create_topic *spec) MUST_USE;

/* Aims a call at the coordinator of a group; answers go to the request's arena. */
void request_coordinator_call(struct request *req, struct coordinator_call *call,
                              struct coord_op *op, struct str group_id);

/* Whether members of the consumer protocol (KIP-848) are served: by the settings, and by the level
 * of the cluster's feature. */
bool request_has_consumer_protocol(const struct request *req);

/* A list of numbers as the codec wants it; shared, not copied. */
static inline int32_t *ids_borrow(const int32_t *ids)
{
    return (int32_t *)(uintptr_t)ids;
}

#endif
