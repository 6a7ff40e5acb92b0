/* taffrail topic describe: partitions with their replicas, offsets and sizes, and configs.
 *
 * Partitions come from DescribeTopicPartitions, in pages. Offsets are asked of each partition's
 * leader and sizes of each broker that holds a replica: one connection to each broker, whatever
 * the number of partitions. A broker that cannot be reached leaves "-" in its columns, and the
 * command then ends with that failure's code after it has shown the rest. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/config.h"
#include "cli/out.h"
#include "cli/rk.h"
#include "cli/topic.h"
#include "wire/errors.h"
#include "wire/own_tags.h"

#define PAGE_PARTITIONS 2000
#define OFFSET_LATEST   (-1)
#define OFFSET_EARLIEST (-2)

struct partition {
    const struct describe_topic_partitions_response_partition *info;
    int64_t begin, end, size; /* -1: not known */
    const struct describe_producers_response_partition *producers;
    struct str compaction_problem; /* NULL: there is none */
};

struct view {
    const struct args *args;
    struct client client;
    struct describe_cluster_response cluster;
    struct str topic;
    struct uuid topic_id;
    bool is_internal;
    struct partition *partitions; /* in the client's arena, by index */
    int32_t partition_count;
    struct describe_configs_response_result configs;
    struct buf out;
    json_t *json; /* of all topics */
    int code;     /* the first failure that did not end the command */
};

/* ---- partitions ---- */

static void add_page(struct view *view, const struct describe_topic_partitions_response_topic *page)
{
    int32_t count = view->partition_count + page->partitions_len;
    struct partition *all = client_array(&view->client, (size_t)count, sizeof(*all));
    if (view->partition_count)
        memcpy(all, view->partitions, (size_t)view->partition_count * sizeof(*all));
    for (int32_t i = 0; i < page->partitions_len; i++)
        all[view->partition_count + i] =
            (struct partition){&page->partitions[i], -1, -1, -1, NULL, STR_NULL};
    view->partitions = all;
    view->partition_count = count;
}

static int fail_topic(struct view *view, int16_t error_code)
{
    rd_kafka_t *rk;
    if (wire_err_of_code(error_code) != ERR_UNKNOWN_TOPIC_OR_PARTITION)
        return client_fail(error_code, STR_NULL, "topic '%.*s'", STR_ARG(view->topic));
    int code = rk_open(view->args, RD_KAFKA_PRODUCER, NULL, &rk);
    if (code)
        return code;
    code = rk_fail_no_topic(rk, view->topic.data, args_timeout_ms(view->args));
    rdkafka.destroy(rk);
    return code;
}

static int ask_partitions(struct view *view)
{
    struct describe_topic_partitions_request request;
    struct describe_topic_partitions_request_topic topic;
    struct describe_topic_partitions_request_cursor cursor;
    MSG_INIT(describe_topic_partitions_request, &request);
    MSG_INIT(describe_topic_partitions_request_topic, &topic);
    topic.name = view->topic;
    request.topics = &topic;
    request.topics_len = 1;
    request.response_partition_limit = PAGE_PARTITIONS;
    view->partition_count = 0;
    while (true) {
        struct describe_topic_partitions_response response;
        int code =
            client_call(&view->client, CLIENT_DESCRIBE_TOPIC_PARTITIONS, &request, &response);
        if (code)
            return code;
        if (response.topics_len != 1)
            return out_fail(EXIT_REFUSED, "the broker answered for %d topics instead of one",
                            response.topics_len);
        if (response.topics[0].error_code)
            return fail_topic(view, response.topics[0].error_code);
        view->topic_id = response.topics[0].topic_id;
        view->is_internal = response.topics[0].is_internal;
        add_page(view, &response.topics[0]);
        if (!response.next_cursor || response.topics[0].partitions_len == 0)
            return EXIT_FINE;
        MSG_INIT(describe_topic_partitions_request_cursor, &cursor);
        cursor.topic_name = response.next_cursor->topic_name;
        cursor.partition_index = response.next_cursor->partition_index;
        request.cursor = &cursor;
    }
}

static struct partition *find_partition(struct view *view, int32_t index)
{
    for (int32_t i = 0; i < view->partition_count; i++) {
        /* In order as a rule: the first guess hits. */
        int32_t at = (index + i) % view->partition_count;
        if (at >= 0 && view->partitions[at].info->partition_index == index)
            return &view->partitions[at];
    }
    return NULL;
}

/* ---- offsets, sizes, producers: broker by broker ---- */

/* Indexes of the partitions that a broker leads, in the broker connection's arena. */
static int32_t led_by(const struct view *view, struct client *broker, int32_t broker_id,
                      int32_t **indexes)
{
    int32_t count = 0;
    *indexes = client_array(broker, (size_t)view->partition_count + 1, sizeof(**indexes));
    for (int32_t i = 0; i < view->partition_count; i++) {
        if (view->partitions[i].info->leader_id == broker_id)
            (*indexes)[count++] = view->partitions[i].info->partition_index;
    }
    return count;
}

static int ask_offsets(struct view *view, struct client *broker, const int32_t *indexes,
                       int32_t count, int64_t which)
{
    struct list_offsets_request request;
    struct list_offsets_request_topic topic;
    struct list_offsets_response response;
    int silent_count = 0;
    int16_t error_code = 0;
    struct list_offsets_request_partition *wanted =
        client_array(broker, (size_t)count, sizeof(*wanted));
    MSG_INIT(list_offsets_request, &request);
    MSG_INIT(list_offsets_request_topic, &topic);
    for (int32_t i = 0; i < count; i++) {
        MSG_INIT(list_offsets_request_partition, &wanted[i]);
        wanted[i].partition_index = indexes[i];
        wanted[i].timestamp = which;
    }
    topic.name = view->topic;
    topic.partitions = wanted;
    topic.partitions_len = count;
    request.replica_id = -1;
    request.topics = &topic;
    request.topics_len = 1;
    int code = client_call(broker, CLIENT_LIST_OFFSETS, &request, &response);
    for (int32_t i = 0; !code && response.topics_len == 1 && i < response.topics[0].partitions_len;
         i++) {
        const struct list_offsets_response_partition *answer = &response.topics[0].partitions[i];
        struct partition *partition = find_partition(view, answer->partition_index);
        if (partition && !answer->error_code)
            *(which == OFFSET_LATEST ? &partition->end : &partition->begin) = answer->offset;
        else if (which == OFFSET_LATEST && !silent_count++)
            error_code = answer->error_code;
    }
    if (silent_count)
        out_note("%d partitions give no offsets: %s (%s)", silent_count,
                 err_text(wire_err_of_code(error_code)), wire_code_name(error_code));
    return code;
}

static struct str problem_of(struct view *view,
                             const struct describe_log_dirs_response_partition *answer)
{
    for (int32_t i = 0; i < answer->unknown_tags.len; i++) {
        const struct unknown_tag *tag = &answer->unknown_tags.items[i];
        if (tag->tag != OWN_TAG_COMPACTION_PROBLEM)
            continue;
        /* The broker's connection is closed before this is printed. */
        char *copy = client_array(&view->client, tag->data.len + 1, 1);
        memcpy(copy, tag->data.data, tag->data.len);
        return (struct str){copy, tag->data.len};
    }
    return STR_NULL;
}

static int ask_sizes(struct view *view, struct client *broker, int32_t broker_id)
{
    struct describe_log_dirs_request request;
    struct describe_log_dirs_request_topic topic;
    struct describe_log_dirs_response response;
    MSG_INIT(describe_log_dirs_request, &request);
    MSG_INIT(describe_log_dirs_request_topic, &topic);
    topic.topic = view->topic;
    topic.partitions = client_array(broker, (size_t)view->partition_count, sizeof(int32_t));
    for (int32_t i = 0; i < view->partition_count; i++)
        topic.partitions[topic.partitions_len++] = view->partitions[i].info->partition_index;
    request.topics = &topic;
    request.topics_len = 1;
    int code = client_call(broker, CLIENT_DESCRIBE_LOG_DIRS, &request, &response);
    for (int32_t i = 0; !code && i < response.results_len; i++) {
        const struct describe_log_dirs_response_result *dir = &response.results[i];
        for (int32_t j = 0; dir->topics_len == 1 && j < dir->topics[0].partitions_len; j++) {
            const struct describe_log_dirs_response_partition *answer =
                &dir->topics[0].partitions[j];
            struct partition *partition = find_partition(view, answer->partition_index);
            if (!partition || partition->info->leader_id != broker_id || answer->is_future_key)
                continue;
            partition->size = answer->partition_size;
            partition->compaction_problem = problem_of(view, answer);
        }
    }
    return code;
}

static int ask_producers(struct view *view, struct client *broker, int32_t *indexes, int32_t count)
{
    struct describe_producers_request request;
    struct describe_producers_request_topic topic;
    struct describe_producers_response response;
    MSG_INIT(describe_producers_request, &request);
    MSG_INIT(describe_producers_request_topic, &topic);
    topic.name = view->topic;
    topic.partition_indexes = indexes;
    topic.partition_indexes_len = count;
    request.topics = &topic;
    request.topics_len = 1;
    int code = client_call(broker, CLIENT_DESCRIBE_PRODUCERS, &request, &response);
    for (int32_t i = 0; !code && response.topics_len == 1 && i < response.topics[0].partitions_len;
         i++) {
        const struct describe_producers_response_partition *answer =
            &response.topics[0].partitions[i];
        struct partition *partition = find_partition(view, answer->partition_index);
        if (!partition || answer->error_code)
            continue;
        /* The broker's connection is closed before this is printed. */
        struct describe_producers_response_partition *copy =
            client_array(&view->client, 1, sizeof(*copy));
        *copy = *answer;
        size_t len = (size_t)answer->active_producers_len;
        copy->active_producers = client_array(&view->client, len, sizeof(*copy->active_producers));
        if (len)
            memcpy(copy->active_producers, answer->active_producers,
                   len * sizeof(*copy->active_producers));
        partition->producers = copy;
    }
    return code;
}

static int ask_broker(struct view *view, int32_t broker_id)
{
    struct client broker;
    int32_t *indexes;
    int code = client_open_broker(&broker, &view->cluster, broker_id, args_timeout_ms(view->args));
    if (!code) {
        int32_t count = led_by(view, &broker, broker_id, &indexes);
        if (count)
            code = ask_offsets(view, &broker, indexes, count, OFFSET_EARLIEST);
        if (!code && count)
            code = ask_offsets(view, &broker, indexes, count, OFFSET_LATEST);
        if (!code && count)
            code = ask_sizes(view, &broker, broker_id);
        if (!code && count && args_has(view->args, "producers"))
            code = ask_producers(view, &broker, indexes, count);
    }
    client_close(&broker);
    return code;
}

/* ---- output ---- */

static json_t *ids_json(const int32_t *ids, int32_t count)
{
    json_t *json = json_array();
    for (int32_t i = 0; i < count; i++)
        json_array_append_new(json, json_integer(ids[i]));
    return json;
}

static void put_ids(struct grid *table, const int32_t *ids, int32_t count)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    for (int32_t i = 0; i < count; i++)
        buf_printf(&text, "%s%d", i ? "," : "", ids[i]);
    if (count <= 0)
        buf_put_u8(&text, '-');
    grid_put(table, "%.*s", (int)text.len, (const char *)text.data);
    buf_deinit(&text);
}

static void put_known(struct grid *table, int64_t number)
{
    if (number < 0)
        grid_put(table, "-");
    else
        grid_put(table, "%lld", (long long)number);
}

static json_t *producers_json(const struct describe_producers_response_partition *producers)
{
    json_t *json = json_array();
    for (int32_t i = 0; producers && i < producers->active_producers_len; i++) {
        const struct describe_producers_response_active_producer *producer =
            &producers->active_producers[i];
        json_array_append_new(
            json, json_pack("{s:I, s:i, s:i, s:I, s:i, s:I}", "producer_id",
                            (json_int_t)producer->producer_id, "epoch", producer->producer_epoch,
                            "last_sequence", producer->last_sequence, "last_timestamp",
                            (json_int_t)producer->last_timestamp, "coordinator_epoch",
                            producer->coordinator_epoch, "transaction_start_offset",
                            (json_int_t)producer->current_txn_start_offset));
    }
    return json;
}

static json_t *partition_json(const struct view *view, const struct partition *partition)
{
    const struct describe_topic_partitions_response_partition *info = partition->info;
    json_t *json = json_pack(
        "{s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "partition", info->partition_index,
        "leader", info->leader_id, "leader_epoch", info->leader_epoch, "replicas",
        ids_json(info->replica_nodes, info->replica_nodes_len), "isr",
        ids_json(info->isr_nodes, info->isr_nodes_len), "eligible_leaders",
        ids_json(info->eligible_leader_replicas, info->eligible_leader_replicas_len), "offline",
        ids_json(info->offline_replicas, info->offline_replicas_len), "begin_offset",
        (json_int_t)partition->begin, "end_offset", (json_int_t)partition->end, "size_bytes",
        (json_int_t)partition->size);
    if (partition->compaction_problem.data)
        json_object_set_new(json, "compaction_problem", json_str(partition->compaction_problem));
    if (args_has(view->args, "producers"))
        json_object_set_new(json, "producers", producers_json(partition->producers));
    return json;
}

static json_t *configs_json(const struct view *view)
{
    json_t *json = json_array();
    for (int32_t i = 0; i < view->configs.configs_len; i++) {
        const struct describe_configs_response_config *config = &view->configs.configs[i];
        const char *source = config_source_name(config->config_source);
        if (strcmp(source, "default") != 0)
            json_array_append_new(json,
                                  json_pack("{s:o, s:o, s:s}", "key", json_str(config->name),
                                            "value", json_str(config->value), "source", source));
    }
    return json;
}

static void show_configs(struct view *view)
{
    const char *label = "configs";
    for (int32_t i = 0; i < view->configs.configs_len; i++) {
        const struct describe_configs_response_config *config = &view->configs.configs[i];
        const char *source = config_source_name(config->config_source);
        if (strcmp(source, "default") == 0)
            continue;
        buf_printf(&view->out, "  %-12s ", label);
        put_escaped(&view->out, slice_of(config->name.data, config->name.len));
        buf_put_u8(&view->out, '=');
        if (config->value.data)
            put_escaped(&view->out, slice_of(config->value.data, config->value.len));
        buf_printf(&view->out, " (%s)\n", source);
        label = "";
    }
}

static void show_partitions(struct view *view)
{
    static const struct column columns[] = {{"PARTITION", true}, {"LEADER", true}, {"EPOCH", true},
                                            {"REPLICAS", false}, {"ISR", false},   {"BEGIN", true},
                                            {"END", true},       {"SIZE", true}};
    struct grid table;
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (int32_t i = 0; i < view->partition_count; i++) {
        const struct partition *partition = &view->partitions[i];
        const struct describe_topic_partitions_response_partition *info = partition->info;
        char size[SIZE_TEXT_MAX] = "-";
        if (partition->size >= 0)
            size_format((uint64_t)partition->size, size);
        grid_put(&table, "%d", info->partition_index);
        if (info->leader_id < 0)
            grid_put(&table, "none");
        else
            grid_put(&table, "%d", info->leader_id);
        grid_put(&table, "%d", info->leader_epoch);
        put_ids(&table, info->replica_nodes, info->replica_nodes_len);
        put_ids(&table, info->isr_nodes, info->isr_nodes_len);
        put_known(&table, partition->begin);
        put_known(&table, partition->end);
        grid_put(&table, "%s", size);
    }
    grid_print(&table, &view->out);
    grid_deinit(&table);
    for (int32_t i = 0; i < view->partition_count; i++) {
        struct str problem = view->partitions[i].compaction_problem;
        if (!problem.data)
            continue;
        buf_printf(&view->out,
                   "partition %d cannot be compacted: ", view->partitions[i].info->partition_index);
        put_escaped(&view->out, slice_of(problem.data, problem.len));
        buf_put_u8(&view->out, '\n');
    }
}

static void show_producers(struct view *view)
{
    static const struct column columns[] = {{"PARTITION", true},   {"PRODUCER", true},
                                            {"EPOCH", true},       {"LAST SEQUENCE", true},
                                            {"LAST WRITE", false}, {"TRANSACTION FROM", true}};
    struct grid table;
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (int32_t i = 0; i < view->partition_count; i++) {
        const struct describe_producers_response_partition *answer = view->partitions[i].producers;
        for (int32_t j = 0; answer && j < answer->active_producers_len; j++) {
            const struct describe_producers_response_active_producer *producer =
                &answer->active_producers[j];
            char written[TIME_TEXT_MAX] = "-";
            if (producer->last_timestamp >= 0)
                time_format(producer->last_timestamp, written);
            grid_put(&table, "%d", answer->partition_index);
            grid_put(&table, "%lld", (long long)producer->producer_id);
            grid_put(&table, "%d", producer->producer_epoch);
            grid_put(&table, "%d", producer->last_sequence);
            grid_put(&table, "%s", written);
            put_known(&table, producer->current_txn_start_offset);
        }
    }
    buf_put_u8(&view->out, '\n');
    if (table.cell_count == 0)
        buf_printf(&view->out, "no active producers\n");
    grid_print(&table, &view->out);
    grid_deinit(&table);
}

static void show(struct view *view)
{
    char id[UUID_TEXT_LEN + 1];
    int32_t replicas = view->partition_count ? view->partitions[0].info->replica_nodes_len : 0;
    uuid_format(view->topic_id, id);
    if (view->out.len)
        buf_put_u8(&view->out, '\n');
    buf_printf(&view->out, "Topic %.*s%s\n  %-12s %s\n  %-12s %d\n  %-12s %d\n",
               STR_ARG(view->topic), view->is_internal ? " (internal)" : "", "id", id, "partitions",
               view->partition_count, "replicas", replicas);
    show_configs(view);
    buf_put_u8(&view->out, '\n');
    show_partitions(view);
    if (args_has(view->args, "producers"))
        show_producers(view);

    json_t *partitions = json_array();
    for (int32_t i = 0; i < view->partition_count; i++)
        json_array_append_new(partitions, partition_json(view, &view->partitions[i]));
    json_array_append_new(
        view->json, json_pack("{s:o, s:s, s:b, s:i, s:o, s:o}", "topic", json_str(view->topic),
                              "id", id, "internal", view->is_internal, "replication_factor",
                              replicas, "configs", configs_json(view), "partitions", partitions));
}

/* ---- the command ---- */

static int describe_topic(struct view *view, const char *topic)
{
    view->topic = str_of(topic);
    int code = ask_partitions(view);
    if (!code)
        code = config_of_topic(&view->client, view->topic, &view->configs);
    if (code)
        return code;
    for (int32_t i = 0; i < view->cluster.brokers_len; i++) {
        int own = ask_broker(view, view->cluster.brokers[i].broker_id);
        view->code = view->code ? view->code : own;
    }
    show(view);
    return EXIT_FINE;
}

int topic_describe_run(const struct args *args)
{
    struct view view = {.args = args, .json = json_array()};
    buf_init(&view.out, BUF_NO_LIMIT);
    int code = client_open(&view.client, args);
    if (!code)
        code = client_describe_cluster(&view.client, false, &view.cluster);
    for (size_t i = 0; !code && i < args->operand_count; i++) {
        int own = describe_topic(&view, args->operands[i]);
        view.code = view.code ? view.code : own;
        if (own == EXIT_UNREACHABLE)
            code = own;
    }
    if (!code && json_array_size(view.json) > 0)
        code = args_is_json(args) ? out_json(json_incref(view.json)) : out_buf(&view.out);
    client_close(&view.client);
    json_decref(view.json);
    buf_deinit(&view.out);
    return code ? code : view.code;
}
