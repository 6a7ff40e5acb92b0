/* librdkafka, loaded by the commands that use it.
 *
 * It brings OpenSSL and SASL with it, 2.1 MB of resident memory that the broker has no use for
 * (base/late.h). rk.c loads it; main thread. */
#ifndef CLI_RDKAFKA_H
#define CLI_RDKAFKA_H

#include <librdkafka/rdkafka.h>

#include "base/late.h"

#define RDKAFKA_FUNCTIONS(X)                         \
    X(rd_kafka_, AdminOptions_destroy)               \
    X(rd_kafka_, AdminOptions_new)                   \
    X(rd_kafka_, AdminOptions_set_operation_timeout) \
    X(rd_kafka_, AdminOptions_set_request_timeout)   \
    X(rd_kafka_, AdminOptions_set_validate_only)     \
    X(rd_kafka_, assign)                             \
    X(rd_kafka_, commit)                             \
    X(rd_kafka_, conf_destroy)                       \
    X(rd_kafka_, conf_new)                           \
    X(rd_kafka_, conf_set)                           \
    X(rd_kafka_, conf_set_dr_msg_cb)                 \
    X(rd_kafka_, conf_set_log_cb)                    \
    X(rd_kafka_, conf_set_opaque)                    \
    X(rd_kafka_, conf_set_rebalance_cb)              \
    X(rd_kafka_, consume_batch_queue)                \
    X(rd_kafka_, consume_start_queue)                \
    X(rd_kafka_, consume_stop)                       \
    X(rd_kafka_, consumer_close)                     \
    X(rd_kafka_, CreatePartitions)                   \
    X(rd_kafka_, CreatePartitions_result_topics)     \
    X(rd_kafka_, CreateTopics)                       \
    X(rd_kafka_, CreateTopics_result_topics)         \
    X(rd_kafka_, DeleteTopic_destroy_array)          \
    X(rd_kafka_, DeleteTopic_new)                    \
    X(rd_kafka_, DeleteTopics)                       \
    X(rd_kafka_, DeleteTopics_result_topics)         \
    X(rd_kafka_, destroy)                            \
    X(rd_kafka_, err2str)                            \
    X(rd_kafka_, error_destroy)                      \
    X(rd_kafka_, event_CreatePartitions_result)      \
    X(rd_kafka_, event_CreateTopics_result)          \
    X(rd_kafka_, event_DeleteTopics_result)          \
    X(rd_kafka_, event_destroy)                      \
    X(rd_kafka_, event_error)                        \
    X(rd_kafka_, event_error_string)                 \
    X(rd_kafka_, flush)                              \
    X(rd_kafka_, header_add)                         \
    X(rd_kafka_, header_cnt)                         \
    X(rd_kafka_, header_get_all)                     \
    X(rd_kafka_, headers_destroy)                    \
    X(rd_kafka_, headers_new)                        \
    X(rd_kafka_, incremental_assign)                 \
    X(rd_kafka_, incremental_unassign)               \
    X(rd_kafka_, last_error)                         \
    X(rd_kafka_, message_destroy)                    \
    X(rd_kafka_, message_errstr)                     \
    X(rd_kafka_, message_headers)                    \
    X(rd_kafka_, message_timestamp)                  \
    X(rd_kafka_, metadata)                           \
    X(rd_kafka_, metadata_destroy)                   \
    X(rd_kafka_, new)                                \
    X(rd_kafka_, NewPartitions_destroy)              \
    X(rd_kafka_, NewPartitions_new)                  \
    X(rd_kafka_, NewTopic_destroy_array)             \
    X(rd_kafka_, NewTopic_new)                       \
    X(rd_kafka_, NewTopic_set_config)                \
    X(rd_kafka_, offsets_for_times)                  \
    X(rd_kafka_, offsets_store)                      \
    X(rd_kafka_, outq_len)                           \
    X(rd_kafka_, poll)                               \
    X(rd_kafka_, poll_set_consumer)                  \
    X(rd_kafka_, produce)                            \
    X(rd_kafka_, producev)                           \
    X(rd_kafka_, purge)                              \
    X(rd_kafka_, queue_destroy)                      \
    X(rd_kafka_, queue_get_consumer)                 \
    X(rd_kafka_, queue_new)                          \
    X(rd_kafka_, queue_poll)                         \
    X(rd_kafka_, rebalance_protocol)                 \
    X(rd_kafka_, subscribe)                          \
    X(rd_kafka_, topic_destroy)                      \
    X(rd_kafka_, topic_new)                          \
    X(rd_kafka_, topic_partition_list_add)           \
    X(rd_kafka_, topic_partition_list_destroy)       \
    X(rd_kafka_, topic_partition_list_new)           \
    X(rd_kafka_, topic_result_error)                 \
    X(rd_kafka_, topic_result_error_string)          \
    X(rd_kafka_, topic_result_name)

struct rdkafka_functions {
    RDKAFKA_FUNCTIONS(LATE_FUNCTION)
};

/* Filled by rdkafka_load. */
extern struct rdkafka_functions rdkafka;

/* An exit code, after saying what is missing; EXIT_FINE. Again is harmless. */
int rdkafka_load(void);

#endif
