/* Errors as values.
 *
 * Every function that can fail returns `enum err`; outputs go through pointers. The list below is
 * the whole vocabulary: causes of our own first, then one entry for each error of Kafka's protocol
 * that a pure module can decide. The numbers are ours; src/broker/handlers turns them into Kafka's
 * wire codes in one table. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define MUST_USE __attribute__((warn_unused_result))

#define ERR_LIST(X)                                                                             \
    X(OK, "no error")                                                                           \
    /* Causes of our own. */                                                                    \
    X(NOMEM, "out of memory")                                                                   \
    X(IO, "input/output error")                                                                 \
    X(NOSPACE, "no space left on the device")                                                   \
    X(NOENT, "no such file or folder")                                                          \
    X(EXISTS, "it exists already")                                                              \
    X(ACCESS, "permission denied")                                                              \
    X(BUSY, "in use by another process")                                                        \
    X(AGAIN, "would block")                                                                     \
    X(CLOSED, "closed by the other side")                                                       \
    X(CANCELLED, "cancelled")                                                                   \
    X(TIMEOUT, "timed out")                                                                     \
    X(TRUNCATED, "the data ends early")                                                         \
    X(MALFORMED, "malformed data")                                                              \
    X(LIMIT, "over a configured limit")                                                         \
    X(RANGE, "value out of range")                                                              \
    X(UNSUPPORTED, "not supported")                                                             \
    X(FOREIGN, "not written by this program or by Apache Kafka")                                \
    X(USAGE, "wrong usage")                                                                     \
    X(INTERNAL, "internal error")                                                               \
    /* Kafka's errors, in the order of their wire codes. */                                     \
    X(UNKNOWN_SERVER_ERROR, "unexpected server error")                                          \
    X(OFFSET_OUT_OF_RANGE, "the offset is outside of the partition's range")                    \
    X(CORRUPT_MESSAGE, "the record batch is corrupt")                                           \
    X(UNKNOWN_TOPIC_OR_PARTITION, "this server does not host this topic-partition")             \
    X(INVALID_FETCH_SIZE, "the fetch size is invalid")                                          \
    X(LEADER_NOT_AVAILABLE, "there is no leader for this topic-partition")                      \
    X(NOT_LEADER_OR_FOLLOWER, "this broker is neither leader nor follower of the partition")    \
    X(REQUEST_TIMED_OUT, "the request timed out")                                               \
    X(BROKER_NOT_AVAILABLE, "the broker is not available")                                      \
    X(REPLICA_NOT_AVAILABLE, "the replica is not available for the topic-partition")            \
    X(MESSAGE_TOO_LARGE, "the record batch is larger than the topic accepts")                   \
    X(STALE_CONTROLLER_EPOCH, "the controller epoch is stale")                                  \
    X(OFFSET_METADATA_TOO_LARGE, "the committed offset's metadata is too long")                 \
    X(NETWORK_EXCEPTION, "the connection broke before an answer came")                          \
    X(COORDINATOR_LOAD_IN_PROGRESS, "the coordinator is loading its state")                     \
    X(COORDINATOR_NOT_AVAILABLE, "the coordinator is not available")                            \
    X(NOT_COORDINATOR, "this broker is not the coordinator")                                    \
    X(INVALID_TOPIC, "the topic name is invalid")                                               \
    X(RECORD_LIST_TOO_LARGE, "the record batch is larger than a segment")                       \
    X(NOT_ENOUGH_REPLICAS, "fewer in-sync replicas than required")                              \
    X(NOT_ENOUGH_REPLICAS_AFTER_APPEND, "written to fewer in-sync replicas than required")      \
    X(INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1")                                         \
    X(ILLEGAL_GENERATION, "the group generation is not valid")                                  \
    X(INCONSISTENT_GROUP_PROTOCOL, "the group protocol does not match the group's members")     \
    X(INVALID_GROUP_ID, "the group id is invalid")                                              \
    X(UNKNOWN_MEMBER_ID, "the member id is unknown")                                            \
    X(INVALID_SESSION_TIMEOUT, "the session timeout is outside of the allowed range")           \
    X(REBALANCE_IN_PROGRESS, "the group is rebalancing")                                        \
    X(INVALID_COMMIT_OFFSET_SIZE, "the commit is too large")                                    \
    X(TOPIC_AUTHORIZATION_FAILED, "not authorized to access the topic")                         \
    X(GROUP_AUTHORIZATION_FAILED, "not authorized to access the group")                         \
    X(CLUSTER_AUTHORIZATION_FAILED, "not authorized to access the cluster")                     \
    X(INVALID_TIMESTAMP, "a record's timestamp is out of the accepted range")                   \
    X(UNSUPPORTED_SASL_MECHANISM, "the SASL mechanism is not supported")                        \
    X(ILLEGAL_SASL_STATE, "the request is not valid in the current SASL state")                 \
    X(UNSUPPORTED_VERSION, "the version of the API is not supported")                           \
    X(TOPIC_ALREADY_EXISTS, "the topic exists already")                                         \
    X(INVALID_PARTITIONS, "the number of partitions is invalid")                                \
    X(INVALID_REPLICATION_FACTOR, "the replication factor is invalid")                          \
    X(INVALID_REPLICA_ASSIGNMENT, "the replica assignment is invalid")                          \
    X(INVALID_CONFIG, "the configuration is invalid")                                           \
    X(NOT_CONTROLLER, "this is not the active controller")                                      \
    X(INVALID_REQUEST, "the request is invalid")                                                \
    X(UNSUPPORTED_FOR_MESSAGE_FORMAT, "the message format does not support the operation")      \
    X(POLICY_VIOLATION, "the request violates a policy")                                        \
    X(OUT_OF_ORDER_SEQUENCE_NUMBER, "the producer's sequence number is out of order")           \
    X(DUPLICATE_SEQUENCE_NUMBER, "the producer's sequence number is a duplicate")               \
    X(INVALID_PRODUCER_EPOCH, "the producer's epoch is too old")                                \
    X(INVALID_TXN_STATE, "the transaction is not in a state that allows this")                  \
    X(INVALID_PRODUCER_ID_MAPPING, "the producer id does not belong to the transactional id")   \
    X(INVALID_TRANSACTION_TIMEOUT, "the transaction timeout is over the allowed maximum")       \
    X(CONCURRENT_TRANSACTIONS, "another operation of this transaction is in progress")          \
    X(TRANSACTION_COORDINATOR_FENCED, "the transaction coordinator is fenced")                  \
    X(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "not authorized to use the transactional id")      \
    X(SECURITY_DISABLED, "security features are disabled")                                      \
    X(OPERATION_NOT_ATTEMPTED, "the operation was not attempted")                               \
    X(KAFKA_STORAGE_ERROR, "the log folder's disk failed")                                      \
    X(LOG_DIR_NOT_FOUND, "the log folder is not configured here")                               \
    X(SASL_AUTHENTICATION_FAILED, "authentication failed")                                      \
    X(UNKNOWN_PRODUCER_ID, "the producer id is unknown")                                        \
    X(REASSIGNMENT_IN_PROGRESS, "a partition reassignment is in progress")                      \
    X(DELEGATION_TOKEN_AUTH_DISABLED, "delegation tokens are disabled")                         \
    X(DELEGATION_TOKEN_NOT_FOUND, "the delegation token is unknown")                            \
    X(DELEGATION_TOKEN_OWNER_MISMATCH, "the delegation token has another owner")                \
    X(DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, "no delegation tokens over this connection")        \
    X(DELEGATION_TOKEN_AUTHORIZATION_FAILED, "not authorized to use the delegation token")      \
    X(DELEGATION_TOKEN_EXPIRED, "the delegation token has expired")                             \
    X(INVALID_PRINCIPAL_TYPE, "the principal type is not supported")                            \
    X(NON_EMPTY_GROUP, "the group is not empty")                                                \
    X(GROUP_ID_NOT_FOUND, "the group id is unknown")                                            \
    X(FETCH_SESSION_ID_NOT_FOUND, "the fetch session is unknown")                               \
    X(INVALID_FETCH_SESSION_EPOCH, "the fetch session's epoch is wrong")                        \
    X(LISTENER_NOT_FOUND, "no listener of that name on the leader")                             \
    X(TOPIC_DELETION_DISABLED, "topic deletion is disabled")                                    \
    X(FENCED_LEADER_EPOCH, "the leader epoch is older than the current one")                    \
    X(UNKNOWN_LEADER_EPOCH, "the leader epoch is newer than the current one")                   \
    X(UNSUPPORTED_COMPRESSION_TYPE, "the compression type is not supported for this request")   \
    X(STALE_BROKER_EPOCH, "the broker epoch is stale")                                          \
    X(OFFSET_NOT_AVAILABLE, "the offset is not available yet")                                  \
    X(MEMBER_ID_REQUIRED, "join again with the member id given")                                \
    X(PREFERRED_LEADER_NOT_AVAILABLE, "the preferred leader is not available")                  \
    X(GROUP_MAX_SIZE_REACHED, "the group is full")                                              \
    X(FENCED_INSTANCE_ID, "the static member was replaced")                                     \
    X(ELIGIBLE_LEADERS_NOT_AVAILABLE, "no eligible leader is available")                        \
    X(ELECTION_NOT_NEEDED, "no leader election is needed")                                      \
    X(NO_REASSIGNMENT_IN_PROGRESS, "no partition reassignment is in progress")                  \
    X(GROUP_SUBSCRIBED_TO_TOPIC, "the group is subscribed to the topic")                        \
    X(INVALID_RECORD, "a record is not acceptable")                                             \
    X(UNSTABLE_OFFSET_COMMIT, "the offset has a pending transactional commit")                  \
    X(THROTTLING_QUOTA_EXCEEDED, "the quota is exceeded")                                       \
    X(PRODUCER_FENCED, "a newer producer took over the transactional id")                       \
    X(RESOURCE_NOT_FOUND, "no such resource")                                                   \
    X(DUPLICATE_RESOURCE, "the resource is named more than once")                               \
    X(UNACCEPTABLE_CREDENTIAL, "the credential is not acceptable")                              \
    X(INCONSISTENT_VOTER_SET, "the voter sets are inconsistent")                                \
    X(INVALID_UPDATE_VERSION, "the expected version does not match")                            \
    X(FEATURE_UPDATE_FAILED, "the feature update failed")                                       \
    X(PRINCIPAL_DESERIALIZATION_FAILURE, "the forwarded principal cannot be read")              \
    X(SNAPSHOT_NOT_FOUND, "the snapshot is unknown")                                            \
    X(POSITION_OUT_OF_RANGE, "the position is outside of the snapshot")                         \
    X(UNKNOWN_TOPIC_ID, "this server does not host this topic id")                              \
    X(DUPLICATE_BROKER_REGISTRATION, "another broker has this id")                              \
    X(BROKER_ID_NOT_REGISTERED, "the broker id is not registered")                              \
    X(INCONSISTENT_TOPIC_ID, "the topic id does not match the log's")                           \
    X(INCONSISTENT_CLUSTER_ID, "the cluster id does not match")                                 \
    X(TRANSACTIONAL_ID_NOT_FOUND, "the transactional id is unknown")                            \
    X(FETCH_SESSION_TOPIC_ID_ERROR, "the fetch session's topics changed between ids and names") \
    X(INELIGIBLE_REPLICA, "the replica may not join the in-sync set")                           \
    X(NEW_LEADER_ELECTED, "a new leader was elected")                                           \
    X(OFFSET_MOVED_TO_TIERED_STORAGE, "the offset moved to remote storage")                     \
    X(FENCED_MEMBER_EPOCH, "the member epoch is fenced")                                        \
    X(UNRELEASED_INSTANCE_ID, "the instance id is still in use")                                \
    X(UNSUPPORTED_ASSIGNOR, "the assignor is not supported")                                    \
    X(STALE_MEMBER_EPOCH, "the member epoch is stale")                                          \
    X(MISMATCHED_ENDPOINT_TYPE, "the request came to the wrong kind of endpoint")               \
    X(UNSUPPORTED_ENDPOINT_TYPE, "the endpoint type is not supported")                          \
    X(UNKNOWN_CONTROLLER_ID, "the controller id is unknown")                                    \
    X(UNKNOWN_SUBSCRIPTION_ID, "the telemetry subscription is unknown")                         \
    X(TELEMETRY_TOO_LARGE, "the telemetry push is too large")                                   \
    X(INVALID_REGISTRATION, "the registration is invalid")                                      \
    X(TRANSACTION_ABORTABLE, "the transaction must be aborted")                                 \
    X(INVALID_RECORD_STATE, "the record is not in a state that allows this")                    \
    X(SHARE_SESSION_NOT_FOUND, "the share session is unknown")                                  \
    X(INVALID_SHARE_SESSION_EPOCH, "the share session's epoch is wrong")                        \
    X(FENCED_STATE_EPOCH, "the share state epoch is fenced")                                    \
    X(INVALID_VOTER_KEY, "the voter key does not match")                                        \
    X(DUPLICATE_VOTER, "the voter is in the set already")                                       \
    X(VOTER_NOT_FOUND, "the voter is unknown")                                                  \
    X(INVALID_REGULAR_EXPRESSION, "the regular expression is invalid")                          \
    X(REBOOTSTRAP_REQUIRED, "the client must bootstrap again")                                  \
    X(STREAMS_INVALID_TOPOLOGY, "the topology is invalid")                                      \
    X(STREAMS_INVALID_TOPOLOGY_EPOCH, "the topology epoch is invalid")                          \
    X(STREAMS_TOPOLOGY_FENCED, "the topology is outdated")                                      \
    X(SHARE_SESSION_LIMIT_REACHED, "no more share sessions are allowed")

enum err {
#define X(name, text) ERR_##name,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

/* "ERR_OK" without its prefix: "OK". */
const char *err_name(enum err err);
/* A short lower-case phrase for people. */
const char *err_text(enum err err);
/* The nearest entry for an errno of the operating system. */
enum err err_of_errno(int errnum);

/* Returns from the calling function unless the expression is ERR_OK. */
#define TRY(expr)                   \
    do {                            \
        enum err try_err_ = (expr); \
        if (try_err_ != ERR_OK)     \
            return try_err_;        \
    } while (0)

#endif
