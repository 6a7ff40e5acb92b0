/* librdkafka for the commands: a handle that is open, admin calls, and errors as exit codes. */
#ifndef CLI_RK_H
#define CLI_RK_H

#include "cli/args.h"
#include "cli/out.h"
#include "cli/rdkafka.h"

/* Opens a handle for the command's --bootstrap-server after making sure that a broker listens
 * there. `settings` is KEY, VALUE, ..., NULL. Where the command has -X, its pairs come last. */
int rk_open(const struct args *args, rd_kafka_type_t type, const char *const *settings,
            rd_kafka_t **rk);

/* The same for a producer whose delivery reports go to `on_delivery` with `opaque`. */
int rk_open_producer(const struct args *args, const char *const *settings,
                     void (*on_delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *),
                     void *opaque, rd_kafka_t **rk);

/* The same for a consumer that is told of its partitions through `on_rebalance` with `opaque`. */
int rk_open_member(const struct args *args, const char *const *settings,
                   void (*on_rebalance)(rd_kafka_t *, rd_kafka_resp_err_t,
                                        rd_kafka_topic_partition_list_t *, void *),
                   void *opaque, rd_kafka_t **rk);

/* How many a topic has; an exit code, after saying what is wrong. */
int rk_count_partitions(rd_kafka_t *rk, const char *topic, int64_t timeout_ms, int *count);

/* Says that `what` failed, with advice where there is some; returns the exit code. */
int rk_fail(rd_kafka_resp_err_t err, const char *detail, const char *what, ...)
    __attribute__((format(printf, 3, 4)));
enum exit_code rk_exit_code(rd_kafka_resp_err_t err);

/* Fails since nothing came for --timeout. */
int rk_fail_silence(void);

/* Fails for a topic that does not exist, with the name that was perhaps meant. */
int rk_fail_no_topic(rd_kafka_t *rk, const char *topic, int64_t timeout_ms);

/* Runs one admin call: fills *queue and *options for it; rk_admin_wait takes both back and gives
 * the result event, or NULL after saying what failed (then *code is the exit code). */
rd_kafka_AdminOptions_t *rk_admin_begin(rd_kafka_t *rk, const struct args *args,
                                        rd_kafka_admin_op_t op, rd_kafka_queue_t **queue);
rd_kafka_event_t *rk_admin_wait(rd_kafka_queue_t *queue, rd_kafka_AdminOptions_t *options,
                                const char *what, int *code);

#endif
