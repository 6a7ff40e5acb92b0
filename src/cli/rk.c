/* The part of librdkafka that every command uses alike. Main thread; librdkafka has its own.
 *
 * librdkafka retries a broker that does not answer until the timeout, so rk_open asks the socket
 * first: the common mistake (nothing listens there) is told at once. Its log lines are dropped:
 * what matters of them comes back as the result of the call. */
#include "cli/rk.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cli/net.h"

static void drop_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

static int set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[512];
    if (rdkafka.conf_set(conf, key, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
        return EXIT_FINE;
    return out_fail(EXIT_USAGE, "-X %s=%s: %s", key, value, why);
}

static int set_extra(rd_kafka_conf_t *conf, const struct args *args)
{
    const char *pair;
    for (size_t i = 0; (pair = args_nth(args, "property", i)) != NULL; i++) {
        char key[128];
        size_t len = strcspn(pair, "=");
        snprintf(key, sizeof(key), "%.*s", (int)len, pair);
        int code = set(conf, key, pair + len + 1);
        if (code)
            return code;
    }
    return EXIT_FINE;
}

static bool has_extra(const struct args *args)
{
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(args->command, i)) != NULL; i++) {
        if (strcmp(opt->name, "property") == 0)
            return true;
    }
    return false;
}

/* Takes conf. */
static int open_conf(const struct args *args, rd_kafka_type_t type, const char *const *settings,
                     rd_kafka_conf_t *conf, rd_kafka_t **rk)
{
    char why[512];
    const char *servers = args_text(args, "bootstrap-server");
    int code = net_probe(servers, args_timeout_ms(args));
    rdkafka.conf_set_log_cb(conf, drop_log);
    if (!code)
        code = set(conf, "bootstrap.servers", servers);
    if (!code)
        code = set(conf, "client.id", "taffrail");
    for (; !code && settings && *settings; settings += 2)
        code = set(conf, settings[0], settings[1]);
    if (!code && has_extra(args))
        code = set_extra(conf, args);
    if (code) {
        rdkafka.conf_destroy(conf);
        return code;
    }
    *rk = rdkafka.new(type, conf, why, sizeof(why));
    if (*rk)
        return EXIT_FINE;
    rdkafka.conf_destroy(conf);
    return out_fail(EXIT_USAGE, "these client settings do not go together: %s", why);
}

int rk_open(const struct args *args, rd_kafka_type_t type, const char *const *settings,
            rd_kafka_t **rk)
{
    int code = rdkafka_load();
    return code ? code : open_conf(args, type, settings, rdkafka.conf_new(), rk);
}

int rk_open_producer(const struct args *args, const char *const *settings,
                     void (*on_delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *),
                     void *opaque, rd_kafka_t **rk)
{
    int code = rdkafka_load();
    if (code)
        return code;
    rd_kafka_conf_t *conf = rdkafka.conf_new();
    rdkafka.conf_set_dr_msg_cb(conf, on_delivery);
    rdkafka.conf_set_opaque(conf, opaque);
    return open_conf(args, RD_KAFKA_PRODUCER, settings, conf, rk);
}

int rk_open_member(const struct args *args, const char *const *settings,
                   void (*on_rebalance)(rd_kafka_t *, rd_kafka_resp_err_t,
                                        rd_kafka_topic_partition_list_t *, void *),
                   void *opaque, rd_kafka_t **rk)
{
    int code = rdkafka_load();
    if (code)
        return code;
    rd_kafka_conf_t *conf = rdkafka.conf_new();
    rdkafka.conf_set_rebalance_cb(conf, on_rebalance);
    rdkafka.conf_set_opaque(conf, opaque);
    return open_conf(args, RD_KAFKA_CONSUMER, settings, conf, rk);
}

enum exit_code rk_exit_code(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return EXIT_FINE;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
        return EXIT_UNREACHABLE;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return EXIT_NOT_FOUND;
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return EXIT_USAGE;
    default:
        return EXIT_REFUSED;
    }
}

/* What the user can do; NULL where the error says it all. */
static const char *advice(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
        return "see it with 'taffrail topic describe', or pass --if-not-exists";
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        return "see which there are with 'taffrail topic list'";
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
        return "it is at most the number of brokers: see 'taffrail cluster info'";
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return "a name has letters, digits, '.', '_' and '-' only, at most 249 of them";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return "raise the topic's max.message.bytes and pass -X message.max.bytes=N, or compress";
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        return "are the brokers up, reachable at the addresses they advertise, and have they space "
               "on their disks? See 'taffrail cluster info'";
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
        return "too few replicas are in sync: see 'taffrail topic describe'";
    default:
        return NULL;
    }
}

int rk_fail(rd_kafka_resp_err_t err, const char *detail, const char *what, ...)
{
    char text[512];
    va_list list;
    va_start(list, what);
    vsnprintf(text, sizeof(text), what, list);
    va_end(list);
    const char *todo = advice(err);
    return out_fail(rk_exit_code(err), "%s: %s%s%s", text,
                    detail && *detail ? detail : rdkafka.err2str(err), todo ? "\n" : "",
                    todo ? todo : "");
}

int rk_fail_silence(void)
{
    return out_fail(EXIT_UNREACHABLE,
                    "nothing came from the brokers within the timeout; are they reachable at the "
                    "addresses they advertise? See 'taffrail cluster info'");
}

int rk_fail_no_topic(rd_kafka_t *rk, const char *topic, int64_t timeout_ms)
{
    const struct rd_kafka_metadata *md = NULL;
    const char *near = NULL, **names = NULL;
    char hint[256] = "see which there are with 'taffrail topic list'";
    if (rdkafka.metadata(rk, 1, NULL, &md, (int)timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR)
        names = calloc((size_t)md->topic_cnt + 1, sizeof(*names));
    size_t count = 0;
    for (int i = 0; names && i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, topic) != 0)
            names[count++] = md->topics[i].topic;
    }
    if (names)
        near = nearest_word(topic, names, count);
    if (near)
        snprintf(hint, sizeof(hint), "did you mean '%s'?", near);
    int code = out_fail(EXIT_NOT_FOUND, "there is no topic '%s'; %s", topic, hint);
    free(names);
    if (md)
        rdkafka.metadata_destroy(md);
    return code;
}

int rk_count_partitions(rd_kafka_t *rk, const char *topic, int64_t timeout_ms, int *count)
{
    const struct rd_kafka_metadata *md;
    rd_kafka_topic_t *rkt = rdkafka.topic_new(rk, topic, NULL);
    if (!rkt)
        return rk_fail(rdkafka.last_error(), NULL, "topic '%s'", topic);
    rd_kafka_resp_err_t err = rdkafka.metadata(rk, 0, rkt, &md, (int)timeout_ms);
    rdkafka.topic_destroy(rkt);
    if (err)
        return rk_fail(err, NULL, "cannot ask for topic '%s'", topic);
    ASSERT(md->topic_cnt == 1);
    err = md->topics[0].err;
    *count = md->topics[0].partition_cnt;
    rdkafka.metadata_destroy(md);
    if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return rk_fail_no_topic(rk, topic, timeout_ms);
    return err ? rk_fail(err, NULL, "topic '%s'", topic) : EXIT_FINE;
}

rd_kafka_AdminOptions_t *rk_admin_begin(rd_kafka_t *rk, const struct args *args,
                                        rd_kafka_admin_op_t op, rd_kafka_queue_t **queue)
{
    char why[256];
    int timeout_ms = (int)(args_timeout_ms(args) > 3600000 ? 3600000 : args_timeout_ms(args));
    rd_kafka_AdminOptions_t *options = rdkafka.AdminOptions_new(rk, op);
    rdkafka.AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof(why));
    if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS || op == RD_KAFKA_ADMIN_OP_DELETETOPICS ||
        op == RD_KAFKA_ADMIN_OP_CREATEPARTITIONS)
        rdkafka.AdminOptions_set_operation_timeout(options, timeout_ms, why, sizeof(why));
    *queue = rdkafka.queue_new(rk);
    return options;
}

rd_kafka_event_t *rk_admin_wait(rd_kafka_queue_t *queue, rd_kafka_AdminOptions_t *options,
                                const char *what, int *code)
{
    rd_kafka_event_t *event = rdkafka.queue_poll(queue, -1);
    rdkafka.AdminOptions_destroy(options);
    rdkafka.queue_destroy(queue);
    ASSERT(event != NULL);
    rd_kafka_resp_err_t err = rdkafka.event_error(event);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return event;
    *code = rk_fail(err, rdkafka.event_error_string(event), "%s", what);
    rdkafka.event_destroy(event);
    return NULL;
}
