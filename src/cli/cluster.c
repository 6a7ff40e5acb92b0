/* Brokers, controller, quorum, features and log folders in one view.
 *
 * Everything is asked of the bootstrap broker but the log folders, which each broker knows only of
 * itself. A broker that cannot be reached for them is named in its row, and the rest is shown. */
#include "cli/cluster.h"

#include "base/time.h"
#include "cli/client.h"
#include "cli/out.h"
#include "wire/errors.h"

struct view {
    const struct args *args;
    struct client client;
    struct describe_cluster_response cluster;
    struct describe_quorum_response quorum;
    const struct describe_quorum_response_partition *metadata; /* NULL: the quorum is not told */
    struct buf out;
    json_t *json;
};

static void heading(struct view *view, const char *text)
{
    buf_printf(&view->out, "\n%s\n", text);
}

/* ---- brokers ---- */

static void show_brokers(struct view *view)
{
    static const struct column columns[] = {
        {"BROKER", true}, {"HOST", false}, {"PORT", true}, {"RACK", false}, {"STATE", false}};
    struct grid table;
    json_t *list = json_array();
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (int32_t i = 0; i < view->cluster.brokers_len; i++) {
        const struct describe_cluster_response_broker *broker = &view->cluster.brokers[i];
        json_array_append_new(list, json_pack("{s:i, s:o, s:i, s:o, s:b}", "id", broker->broker_id,
                                              "host", json_str(broker->host), "port", broker->port,
                                              "rack", json_str(broker->rack), "fenced",
                                              broker->is_fenced));
        grid_put(&table, "%d", broker->broker_id);
        grid_put(&table, "%.*s", STR_ARG(broker->host));
        grid_put(&table, "%d", broker->port);
        grid_put(&table, "%.*s", STR_ARG(broker->rack.len ? broker->rack : STR("-")));
        grid_put(&table, "%s", broker->is_fenced ? "fenced" : "active");
    }
    buf_put_u8(&view->out, '\n');
    grid_print(&table, &view->out);
    grid_deinit(&table);
    json_object_set_new(view->json, "brokers", list);
}

/* ---- quorum ---- */

static int ask_quorum(struct view *view)
{
    struct describe_quorum_request request;
    struct describe_quorum_request_topic topic;
    struct describe_quorum_request_partition partition;
    if (!client_offers(&view->client, CLIENT_DESCRIBE_QUORUM))
        return EXIT_FINE;
    MSG_INIT(describe_quorum_request, &request);
    MSG_INIT(describe_quorum_request_topic, &topic);
    MSG_INIT(describe_quorum_request_partition, &partition);
    topic.topic_name = STR("__cluster_metadata");
    topic.partitions = &partition;
    topic.partitions_len = 1;
    request.topics = &topic;
    request.topics_len = 1;
    int code = client_call(&view->client, CLIENT_DESCRIBE_QUORUM, &request, &view->quorum);
    if (code)
        return code;
    if (view->quorum.error_code)
        return client_fail(view->quorum.error_code, view->quorum.error_message,
                           "cannot ask for the quorum");
    if (view->quorum.topics_len == 0 || view->quorum.topics[0].partitions_len == 0)
        return out_fail(EXIT_REFUSED, "the broker's answer about the quorum is empty");
    view->metadata = &view->quorum.topics[0].partitions[0];
    if (view->metadata->error_code)
        return client_fail(view->metadata->error_code, view->metadata->error_message,
                           "cannot ask for the quorum");
    return EXIT_FINE;
}

static void show_replicas(const struct view *view, struct grid *table, json_t *list,
                          const struct describe_quorum_response_replica_state *states,
                          int32_t count, bool is_voter)
{
    for (int32_t i = 0; i < count; i++) {
        char caught_up[TIME_TEXT_MAX] = "-", directory[UUID_TEXT_LEN + 1];
        const struct describe_quorum_response_replica_state *state = &states[i];
        bool is_leader = state->replica_id == view->metadata->leader_id;
        const char *role = is_leader ? "leader" : is_voter ? "voter" : "observer";
        int64_t lag = view->metadata->high_watermark - state->log_end_offset;
        if (state->last_caught_up_timestamp >= 0)
            time_format(state->last_caught_up_timestamp, caught_up);
        uuid_format(state->replica_directory_id, directory);
        json_array_append_new(list,
                              json_pack("{s:i, s:s, s:s, s:I, s:I, s:I}", "id", state->replica_id,
                                        "role", role, "directory_id", directory, "log_end_offset",
                                        (json_int_t)state->log_end_offset, "lag",
                                        (json_int_t)(lag > 0 ? lag : 0), "last_caught_up",
                                        (json_int_t)state->last_caught_up_timestamp));
        grid_put(table, "%d", state->replica_id);
        grid_put(table, "%s", role);
        grid_put(table, "%lld", (long long)state->log_end_offset);
        grid_put(table, "%lld", (long long)(lag > 0 ? lag : 0));
        grid_put(table, "%s", caught_up);
    }
}

static void show_quorum(struct view *view)
{
    static const struct column columns[] = {
        {"NODE", true}, {"ROLE", false}, {"LOG END", true}, {"LAG", true}, {"CAUGHT UP AT", false}};
    const struct describe_quorum_response_partition *metadata = view->metadata;
    struct grid table;
    if (!metadata) {
        json_object_set_new(view->json, "quorum", json_null());
        return;
    }
    json_t *list = json_array();
    grid_init(&table, columns, ARRAY_LEN(columns));
    show_replicas(view, &table, list, metadata->current_voters, metadata->current_voters_len, true);
    show_replicas(view, &table, list, metadata->observers, metadata->observers_len, false);
    heading(view, "Controller quorum");
    grid_print(&table, &view->out);
    grid_deinit(&table);
    json_object_set_new(view->json, "quorum",
                        json_pack("{s:i, s:i, s:I, s:o}", "leader", metadata->leader_id,
                                  "leader_epoch", metadata->leader_epoch, "high_watermark",
                                  (json_int_t)metadata->high_watermark, "replicas", list));
}

/* ---- features ---- */

static int16_t finalized_level(const struct view *view, struct str name)
{
    const struct api_versions_response *versions = &view->client.versions;
    for (int32_t i = 0; i < versions->finalized_features_len; i++) {
        if (str_eq(versions->finalized_features[i].name, name))
            return versions->finalized_features[i].max_version_level;
    }
    return 0;
}

static void show_features(struct view *view)
{
    static const struct column columns[] = {
        {"FEATURE", false}, {"LEVEL", true}, {"SUPPORTED", false}};
    const struct api_versions_response *versions = &view->client.versions;
    struct grid table;
    json_t *list = json_array();
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (int32_t i = 0; i < versions->supported_features_len; i++) {
        const struct api_versions_response_supported_feature *feature =
            &versions->supported_features[i];
        int level = finalized_level(view, feature->name);
        json_array_append_new(list,
                              json_pack("{s:o, s:i, s:i, s:i}", "name", json_str(feature->name),
                                        "level", level, "supported_min", feature->min_version,
                                        "supported_max", feature->max_version));
        grid_put(&table, "%.*s", STR_ARG(feature->name));
        grid_put(&table, "%d", level);
        grid_put(&table, "%d to %d", feature->min_version, feature->max_version);
    }
    heading(view, "Features");
    grid_print(&table, &view->out);
    grid_deinit(&table);
    json_object_set_new(view->json, "features", list);
}

/* ---- log folders ---- */

static void put_size(struct grid *table, int64_t size_bytes)
{
    char text[SIZE_TEXT_MAX] = "-";
    if (size_bytes >= 0)
        size_format((uint64_t)size_bytes, text);
    grid_put(table, "%s", text);
}

static void show_log_dir(struct grid *table, json_t *list, int32_t broker_id,
                         const struct describe_log_dirs_response_result *dir)
{
    int64_t size = 0, partitions = 0;
    for (int32_t i = 0; i < dir->topics_len; i++) {
        partitions += dir->topics[i].partitions_len;
        for (int32_t j = 0; j < dir->topics[i].partitions_len; j++)
            size += dir->topics[i].partitions[j].partition_size;
    }
    const char *state = dir->error_code    ? wire_code_name(dir->error_code)
                        : dir->is_cordoned ? "cordoned"
                                           : "online";
    json_array_append_new(
        list, json_pack("{s:i, s:o, s:s, s:I, s:I, s:I, s:I}", "broker", broker_id, "path",
                        json_str(dir->log_dir), "state", state, "partitions",
                        (json_int_t)partitions, "size_bytes", (json_int_t)size, "disk_bytes",
                        (json_int_t)dir->total_bytes, "free_bytes", (json_int_t)dir->usable_bytes));
    grid_put(table, "%d", broker_id);
    grid_put(table, "%.*s", STR_ARG(dir->log_dir));
    grid_put(table, "%s", state);
    grid_put(table, "%lld", (long long)partitions);
    put_size(table, size);
    put_size(table, dir->usable_bytes);
    put_size(table, dir->total_bytes);
}

static int show_broker_dirs(struct view *view, struct grid *table, json_t *list, int32_t broker_id)
{
    struct client broker;
    struct describe_log_dirs_request request;
    struct describe_log_dirs_response response;
    int code = client_open_broker(&broker, &view->cluster, broker_id, args_timeout_ms(view->args));
    MSG_INIT(describe_log_dirs_request, &request);
    request.topics_len = -1; /* all */
    if (!code)
        code = client_call(&broker, CLIENT_DESCRIBE_LOG_DIRS, &request, &response);
    if (!code && response.error_code)
        code = client_fail(response.error_code, STR_NULL, "log folders of broker %d", broker_id);
    for (int32_t i = 0; !code && i < response.results_len; i++)
        show_log_dir(table, list, broker_id, &response.results[i]);
    client_close(&broker);
    return code;
}

/* The first failure's code; what other brokers say is shown all the same. */
static int show_log_dirs(struct view *view)
{
    static const struct column columns[] = {
        {"BROKER", true}, {"LOG FOLDER", false}, {"STATE", false},    {"PARTITIONS", true},
        {"SIZE", true},   {"DISK FREE", true},   {"DISK TOTAL", true}};
    struct grid table;
    json_t *list = json_array();
    int code = EXIT_FINE;
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (int32_t i = 0; i < view->cluster.brokers_len; i++) {
        if (view->cluster.brokers[i].is_fenced)
            continue; /* it is down, or not up yet */
        int own = show_broker_dirs(view, &table, list, view->cluster.brokers[i].broker_id);
        code = code ? code : own;
    }
    heading(view, "Log folders");
    grid_print(&table, &view->out);
    grid_deinit(&table);
    json_object_set_new(view->json, "log_dirs", list);
    return code;
}

/* ---- all ---- */

static int show(struct view *view)
{
    int code = client_describe_cluster(&view->client, true, &view->cluster);
    if (!code)
        code = ask_quorum(view);
    if (code)
        return code;
    int32_t controller = view->metadata ? view->metadata->leader_id : view->cluster.controller_id;
    json_object_set_new(view->json, "cluster_id", json_str(view->cluster.cluster_id));
    json_object_set_new(view->json, "controller", json_integer(controller));
    buf_printf(&view->out, "Cluster     %.*s\nController  %d\n", STR_ARG(view->cluster.cluster_id),
               controller);
    show_brokers(view);
    show_quorum(view);
    show_features(view);
    code = show_log_dirs(view);
    int failed = args_is_json(view->args) ? out_json(json_incref(view->json)) : out_buf(&view->out);
    return code ? code : failed;
}

int cluster_info_run(const struct args *args)
{
    struct view view = {.args = args, .json = json_object()};
    buf_init(&view.out, BUF_NO_LIMIT);
    int code = client_open(&view.client, args);
    if (!code)
        code = show(&view);
    client_close(&view.client);
    json_decref(view.json);
    buf_deinit(&view.out);
    return code;
}
