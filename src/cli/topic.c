/* Topics: created, listed, widened and deleted through librdkafka; described through our own codec
 * (topic_describe.c). A command over several topics does all that it can and exits with the first
 * failure's code. */
#include "cli/topic.h"

#include <stdlib.h>

#include "cli/config.h"
#include "cli/rk.h"

/* ---- create ---- */

static int add_configs(rd_kafka_NewTopic_t *topic, const struct args *args)
{
    const char *pair;
    for (size_t i = 0; (pair = args_nth(args, "config", i)) != NULL; i++) {
        char key[256];
        size_t len = strcspn(pair, "=");
        if (len >= sizeof(key))
            return out_fail(EXIT_USAGE, "'%s' is too long for a config key", pair);
        snprintf(key, sizeof(key), "%.*s", (int)len, pair);
        rdkafka.NewTopic_set_config(topic, key, pair + len + 1);
    }
    return EXIT_FINE;
}

/* Prints what became of each topic; those with the error `fine` are well as they are. */
static int report(const struct args *args, const rd_kafka_topic_result_t **results, size_t count,
                  const char *done, rd_kafka_resp_err_t fine)
{
    int code = EXIT_FINE;
    json_t *json = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *name = rdkafka.topic_result_name(results[i]);
        rd_kafka_resp_err_t err = rdkafka.topic_result_error(results[i]);
        bool is_skipped = err && err == fine;
        if (err && !is_skipped) {
            int own = rk_fail(err, rdkafka.topic_result_error_string(results[i]),
                              "topic '%s' is not %s", name, done);
            code = code ? code : own;
            continue;
        }
        json_array_append_new(json,
                              json_pack("{s:s, s:b}", "topic", name, done, is_skipped ? 0 : 1));
        if (!args_is_json(args))
            printf("%s %s\n", is_skipped ? "unchanged" : done, name);
    }
    fflush(stdout);
    if (args_is_json(args)) {
        int failed = out_json(json);
        return code ? code : failed;
    }
    json_decref(json);
    return code;
}

static int create_with(const struct args *args, rd_kafka_t *rk, rd_kafka_NewTopic_t **topics,
                       size_t count)
{
    char why[256];
    int code = EXIT_FINE;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options =
        rk_admin_begin(rk, args, RD_KAFKA_ADMIN_OP_CREATETOPICS, &queue);
    if (args_has(args, "validate-only"))
        rdkafka.AdminOptions_set_validate_only(options, 1, why, sizeof(why));
    rdkafka.CreateTopics(rk, topics, count, options, queue);
    rd_kafka_event_t *event = rk_admin_wait(queue, options, "cannot create topics", &code);
    if (!event)
        return code;
    size_t result_count;
    const rd_kafka_topic_result_t **results =
        rdkafka.CreateTopics_result_topics(rdkafka.event_CreateTopics_result(event), &result_count);
    code = report(args, results, result_count,
                  args_has(args, "validate-only") ? "acceptable" : "created",
                  args_has(args, "if-not-exists") ? RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS
                                                  : RD_KAFKA_RESP_ERR_NO_ERROR);
    rdkafka.event_destroy(event);
    return code;
}

int topic_create_run(const struct args *args)
{
    char why[256];
    rd_kafka_t *rk;
    int partitions = args_has(args, "partitions") ? (int)args_number(args, "partitions") : -1;
    int replicas =
        args_has(args, "replication-factor") ? (int)args_number(args, "replication-factor") : -1;
    size_t count = args->operand_count, made = 0;
    int code = rk_open(args, RD_KAFKA_PRODUCER, NULL, &rk);
    if (code)
        return code;
    rd_kafka_NewTopic_t **topics = calloc(count, sizeof(rd_kafka_NewTopic_t *));
    while (topics && made < count && !code) {
        topics[made] =
            rdkafka.NewTopic_new(args->operands[made], partitions, replicas, why, sizeof(why));
        if (!topics[made])
            code = out_fail(EXIT_USAGE, "topic '%s': %s", args->operands[made], why);
        else
            code = add_configs(topics[made++], args);
    }
    if (!code)
        code = create_with(args, rk, topics, count);
    rdkafka.NewTopic_destroy_array(topics, made);
    free(topics);
    rdkafka.destroy(rk);
    return code;
}

/* ---- list ---- */

static int compare_topics(const void *a, const void *b)
{
    const struct rd_kafka_metadata_topic *const *x = a, *const *y = b;
    return strcmp((*x)->topic, (*y)->topic);
}

/* Kafka's own: their names are fixed. */
static bool is_internal(const char *topic)
{
    return strcmp(topic, "__consumer_offsets") == 0 || strcmp(topic, "__transaction_state") == 0 ||
           strcmp(topic, "__share_group_state") == 0;
}

static void put_name(struct buf *out, const char *name)
{
    put_escaped(out, slice_of(name, strlen(name)));
    buf_put_u8(out, '\n');
}

static int print_topics(const struct args *args, const struct rd_kafka_metadata_topic **topics,
                        size_t count)
{
    static const struct column columns[] = {
        {"TOPIC", false}, {"PARTITIONS", true}, {"REPLICAS", true}};
    struct buf out;
    struct grid table;
    json_t *json = json_array();
    buf_init(&out, BUF_NO_LIMIT);
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        const struct rd_kafka_metadata_topic *topic = topics[i];
        int replicas = topic->partition_cnt ? topic->partitions[0].replica_cnt : 0;
        if (is_internal(topic->topic) && !args_has(args, "internal"))
            continue;
        json_array_append_new(json,
                              json_pack("{s:s, s:i, s:i, s:b}", "topic", topic->topic, "partitions",
                                        topic->partition_cnt, "replication_factor", replicas,
                                        "internal", is_internal(topic->topic)));
        if (args_has(args, "names"))
            put_name(&out, topic->topic);
        grid_put(&table, "%s", topic->topic);
        grid_put(&table, "%d", topic->partition_cnt);
        grid_put(&table, "%d", replicas);
    }
    if (!args_has(args, "names"))
        grid_print(&table, &out);
    grid_deinit(&table);
    return out_either(args_is_json(args), json, &out);
}

int topic_list_run(const struct args *args)
{
    rd_kafka_t *rk;
    const struct rd_kafka_metadata *md;
    int code = rk_open(args, RD_KAFKA_PRODUCER, NULL, &rk);
    if (code)
        return code;
    rd_kafka_resp_err_t err = rdkafka.metadata(rk, 1, NULL, &md, args_timeout_ms(args));
    if (err) {
        rdkafka.destroy(rk);
        return rk_fail(err, NULL, "cannot list topics");
    }
    size_t count = (size_t)md->topic_cnt;
    const struct rd_kafka_metadata_topic **topics =
        calloc(count + 1, sizeof(const struct rd_kafka_metadata_topic *));
    if (topics) {
        for (size_t i = 0; i < count; i++)
            topics[i] = &md->topics[i];
        qsort(topics, count, sizeof(*topics), compare_topics);
    }
    code = topics ? print_topics(args, topics, count) : out_fail(EXIT_REFUSED, "out of memory");
    free(topics);
    rdkafka.metadata_destroy(md);
    rdkafka.destroy(rk);
    return code;
}

/* ---- alter ---- */

static int widen(const struct args *args, rd_kafka_t *rk)
{
    char why[256];
    int code = EXIT_FINE;
    const char *topic = args->operands[0];
    rd_kafka_queue_t *queue;
    rd_kafka_NewPartitions_t *wanted =
        rdkafka.NewPartitions_new(topic, (size_t)args_number(args, "partitions"), why, sizeof(why));
    if (!wanted)
        return out_fail(EXIT_USAGE, "--partitions: %s", why);
    rd_kafka_AdminOptions_t *options =
        rk_admin_begin(rk, args, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, &queue);
    rdkafka.CreatePartitions(rk, &wanted, 1, options, queue);
    rdkafka.NewPartitions_destroy(wanted);
    rd_kafka_event_t *event = rk_admin_wait(queue, options, "cannot add partitions", &code);
    if (!event)
        return code;
    size_t count;
    const rd_kafka_topic_result_t **results = rdkafka.CreatePartitions_result_topics(
        rdkafka.event_CreatePartitions_result(event), &count);
    rd_kafka_resp_err_t err = rdkafka.topic_result_error(results[0]);
    if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        code = rk_fail_no_topic(rk, topic, args_timeout_ms(args));
    else
        code = report(args, results, count, "altered", RD_KAFKA_RESP_ERR_NO_ERROR);
    rdkafka.event_destroy(event);
    return code;
}

int topic_alter_run(const struct args *args)
{
    rd_kafka_t *rk;
    bool has_configs = args_has(args, "config") || args_has(args, "unset");
    if (!args_has(args, "partitions") && !has_configs)
        return out_fail(EXIT_USAGE, "say what to alter: --partitions N, --config KEY=VALUE or "
                                    "--unset KEY");
    if (has_configs) {
        int failed = config_alter_topic(args, args->operands[0]);
        if (failed || !args_has(args, "partitions"))
            return failed;
    }
    int code = rk_open(args, RD_KAFKA_PRODUCER, NULL, &rk);
    if (code)
        return code;
    code = widen(args, rk);
    rdkafka.destroy(rk);
    return code;
}

/* ---- delete ---- */

static int delete_with(const struct args *args, rd_kafka_t *rk, rd_kafka_DeleteTopic_t **topics,
                       size_t count)
{
    int code = EXIT_FINE;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options =
        rk_admin_begin(rk, args, RD_KAFKA_ADMIN_OP_DELETETOPICS, &queue);
    rdkafka.DeleteTopics(rk, topics, count, options, queue);
    rd_kafka_event_t *event = rk_admin_wait(queue, options, "cannot delete topics", &code);
    if (!event)
        return code;
    size_t result_count;
    const rd_kafka_topic_result_t **results =
        rdkafka.DeleteTopics_result_topics(rdkafka.event_DeleteTopics_result(event), &result_count);
    bool is_missing_fine = args_has(args, "if-exists");
    if (result_count == 1 && !is_missing_fine &&
        rdkafka.topic_result_error(results[0]) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        code = rk_fail_no_topic(rk, args->operands[0], args_timeout_ms(args));
    else
        code = report(args, results, result_count, "deleted",
                      is_missing_fine ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                                      : RD_KAFKA_RESP_ERR_NO_ERROR);
    rdkafka.event_destroy(event);
    return code;
}

int topic_delete_run(const struct args *args)
{
    rd_kafka_t *rk;
    size_t count = args->operand_count;
    int code = rk_open(args, RD_KAFKA_PRODUCER, NULL, &rk);
    if (code)
        return code;
    rd_kafka_DeleteTopic_t **topics = calloc(count, sizeof(rd_kafka_DeleteTopic_t *));
    for (size_t i = 0; topics && i < count; i++)
        topics[i] = rdkafka.DeleteTopic_new(args->operands[i]);
    code = topics ? delete_with(args, rk, topics, count) : out_fail(EXIT_REFUSED, "out of memory");
    if (topics)
        rdkafka.DeleteTopic_destroy_array(topics, count);
    free(topics);
    rdkafka.destroy(rk);
    return code;
}
