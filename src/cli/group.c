/* Consumer groups: listed, described and deleted. Lag and seek are in files of their own. */
#include "cli/group.h"

#include "cli/group_out.h"
#include "cli/group_view.h"
#include "cli/out.h"
#include "wire/errors.h"

/* ---- list ---- */

static const char *const state_words[] = {
    "PreparingRebalance", "CompletingRebalance", "Stable",  "Empty", "Dead",
    "Assigning",          "Reconciling",         "NotReady"};
static const char *const type_words[] = {"classic", "consumer", "share", "streams"};

static size_t pick(const struct args *args, const char *option, const char *const *words,
                   size_t word_count, struct str *picked)
{
    size_t count = 0;
    for (size_t i = 0; args_has(args, option) && i < word_count; i++) {
        if (args_list_has(args, option, words[i]))
            picked[count++] = str_of(words[i]);
    }
    return count;
}

static int print_groups(const struct args *args, const struct group_listed *groups, size_t count)
{
    static const struct column columns[] = {{"GROUP", false},
                                            {"TYPE", false},
                                            {"PROTOCOL", false},
                                            {"STATE", false},
                                            {"COORDINATOR", true}};
    struct buf out;
    struct grid table;
    json_t *json = json_array();
    buf_init(&out, BUF_NO_LIMIT);
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        const struct group_listed *group = &groups[i];
        json_array_append_new(
            json, json_pack("{s:o, s:o, s:o, s:o, s:i}", "group", json_str(group->id), "type",
                            json_str(group->type), "protocol", json_str(group->protocol_type),
                            "state", json_str(group->state), "coordinator", group->coordinator));
        if (args_has(args, "names")) {
            put_escaped(&out, slice_of(group->id.data, group->id.len));
            buf_put_u8(&out, '\n');
        }
        group_put_str(&table, group->id);
        group_put_str(&table, group->type);
        group_put_str(&table, group->protocol_type);
        group_put_str(&table, group->state);
        grid_put(&table, "%d", group->coordinator);
    }
    if (!args_has(args, "names"))
        grid_print(&table, &out);
    grid_deinit(&table);
    return out_either(args_is_json(args), json, &out);
}

int group_list_run(const struct args *args)
{
    struct group_session session;
    struct group_listed *groups = NULL;
    struct str states[ARRAY_LEN(state_words)], types[ARRAY_LEN(type_words)];
    size_t count = 0;
    size_t state_count = pick(args, "state", state_words, ARRAY_LEN(state_words), states);
    size_t type_count = pick(args, "type", type_words, ARRAY_LEN(type_words), types);
    int code = group_session_open(&session, args);
    if (!code)
        code = group_list(&session, states, state_count, types, type_count, &groups, &count);
    if (!code)
        code = print_groups(args, groups, count);
    group_session_close(&session);
    return code;
}

/* ---- describe ---- */

static json_t *member_json(const struct group_member *member)
{
    json_t *assignment = json_array();
    for (size_t i = 0; i < member->assigned_count; i++) {
        const struct group_assigned *assigned = &member->assigned[i];
        json_t *partitions = json_array();
        for (size_t p = 0; p < assigned->partition_count; p++)
            json_array_append_new(partitions, json_integer(assigned->partitions[p]));
        json_array_append_new(
            assignment,
            json_pack("{s:o, s:o}", "topic", json_str(assigned->topic), "partitions", partitions));
    }
    json_t *json =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "consumer_id", json_str(member->id), "instance_id",
                  json_str(member->instance_id), "client_id", json_str(member->client_id), "host",
                  json_str(member->host), "assignment", assignment);
    if (member->epoch >= 0)
        json_object_set_new(json, "epoch", json_integer(member->epoch));
    return json;
}

static json_t *partition_json(const struct group_partition *partition, int64_t now_ms)
{
    const struct group_member *owner = partition->owner;
    return json_pack(
        "{s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "topic", json_str(partition->topic),
        "partition", partition->index, "committed_offset", group_number_json(partition->committed),
        "begin_offset", group_number_json(partition->begin), "end_offset",
        group_number_json(partition->end), "lag", group_number_json(group_partition_lag(partition)),
        "lag_seconds", group_seconds_json(group_partition_age_ms(partition, now_ms)), "consumer_id",
        json_str(owner ? owner->id : STR_NULL), "host", json_str(owner ? owner->host : STR_NULL),
        "client_id", json_str(owner ? owner->client_id : STR_NULL));
}

static json_t *group_json(const struct group_view *view, int64_t now_ms)
{
    json_t *members = json_array(), *partitions = json_array();
    struct group_sum sum;
    group_add_up(view->partitions, view->partition_count, now_ms, &sum);
    for (size_t i = 0; i < view->member_count; i++)
        json_array_append_new(members, member_json(&view->members[i]));
    for (size_t i = 0; i < view->partition_count; i++)
        json_array_append_new(partitions, partition_json(&view->partitions[i], now_ms));
    json_t *json = json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o}", "group", json_str(view->id), "type",
        view->type, "state", json_str(view->state), "protocol", json_str(view->protocol_type),
        "assignor", json_str(view->assignor), "coordinator", view->coordinator, "members", members,
        "partitions", partitions, "lag", group_number_json(sum.messages), "lag_seconds",
        group_seconds_json(sum.age_ms));
    if (view->epoch >= 0) {
        json_object_set_new(json, "epoch", json_integer(view->epoch));
        json_object_set_new(json, "assignment_epoch", json_integer(view->assignment_epoch));
    }
    return json;
}

static void show_members(const struct group_view *view, struct buf *out)
{
    static const struct column columns[] = {
        {"GROUP", false},     {"CONSUMER-ID", false}, {"GROUP-INSTANCE-ID", false}, {"HOST", false},
        {"CLIENT-ID", false}, {"#PARTITIONS", true},  {"ASSIGNMENT", false}};
    struct grid table;
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < view->member_count; i++) {
        const struct group_member *member = &view->members[i];
        struct buf text;
        size_t count = 0;
        buf_init(&text, BUF_NO_LIMIT);
        for (size_t t = 0; t < member->assigned_count; t++) {
            const struct group_assigned *assigned = &member->assigned[t];
            buf_printf(&text, "%s%.*s(", t ? " " : "", STR_ARG(assigned->topic));
            for (size_t p = 0; p < assigned->partition_count; p++, count++)
                buf_printf(&text, "%s%d", p ? "," : "", assigned->partitions[p]);
            buf_printf(&text, ")");
        }
        group_put_str(&table, view->id);
        group_put_str(&table, member->id);
        group_put_str(&table, member->instance_id);
        group_put_str(&table, member->host);
        group_put_str(&table, member->client_id);
        grid_put(&table, "%zu", count);
        group_put_str(&table, (struct str){(const char *)text.data, text.len});
        buf_deinit(&text);
    }
    grid_print(&table, out);
    grid_deinit(&table);
}

static void show_partitions(const struct group_view *view, int64_t now_ms, struct buf *out)
{
    static const struct column columns[] = {{"GROUP", false},         {"TOPIC", false},
                                            {"PARTITION", true},      {"CURRENT-OFFSET", true},
                                            {"LOG-END-OFFSET", true}, {"LAG", true},
                                            {"SECONDS", true},        {"CONSUMER-ID", false},
                                            {"HOST", false},          {"CLIENT-ID", false}};
    struct grid table;
    grid_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < view->partition_count; i++) {
        const struct group_partition *partition = &view->partitions[i];
        const struct group_member *owner = partition->owner;
        group_put_str(&table, view->id);
        group_put_str(&table, partition->topic);
        grid_put(&table, "%d", partition->index);
        group_put_number(&table, partition->committed);
        group_put_number(&table, partition->end);
        group_put_number(&table, group_partition_lag(partition));
        group_put_seconds(&table, group_partition_age_ms(partition, now_ms));
        group_put_str(&table, owner ? owner->id : STR_NULL);
        group_put_str(&table, owner ? owner->host : STR_NULL);
        group_put_str(&table, owner ? owner->client_id : STR_NULL);
    }
    grid_print(&table, out);
    grid_deinit(&table);
}

static void show_group(const struct args *args, const struct group_view *view, int64_t now_ms,
                       struct buf *out)
{
    struct group_sum sum;
    group_add_up(view->partitions, view->partition_count, now_ms, &sum);
    buf_printf(out, "%sGroup ", out->len ? "\n" : "");
    put_escaped(out, slice_of(view->id.data, view->id.len));
    buf_printf(out, "\n  %-12s %s\n  %-12s ", "type", view->type, "state");
    put_escaped(out, slice_of(view->state.data, view->state.len));
    buf_printf(out, "\n  %-12s %d\n", "coordinator", view->coordinator);
    if (view->assignor.len) {
        buf_printf(out, "  %-12s ", "assignor");
        put_escaped(out, slice_of(view->assignor.data, view->assignor.len));
        buf_put_u8(out, '\n');
    }
    if (view->epoch >= 0)
        buf_printf(out, "  %-12s %d (assignment %d)\n", "epoch", view->epoch,
                   view->assignment_epoch);
    buf_printf(out, "  %-12s %zu\n", "members", view->member_count);
    buf_printf(out, "  %-12s ", "unread");
    group_print_sum(&sum, out);
    if (args_has(args, "members") ? view->member_count : view->partition_count)
        buf_put_u8(out, '\n');
    if (args_has(args, "members"))
        show_members(view, out);
    else
        show_partitions(view, now_ms, out);
}

int group_describe_run(const struct args *args)
{
    struct group_session session;
    struct buf out;
    json_t *json = json_array();
    int failed = EXIT_FINE;
    buf_init(&out, BUF_NO_LIMIT);
    int code = group_session_open(&session, args);
    for (size_t i = 0; !code && i < args->operand_count; i++) {
        struct group_view view;
        int own = group_load(&session, str_of(args->operands[i]), GROUP_LOAD_TIMES, &view);
        failed = failed ? failed : own;
        if (own == EXIT_UNREACHABLE)
            code = own;
        if (own)
            continue;
        int64_t now_ms = group_wall_ms();
        json_array_append_new(json, group_json(&view, now_ms));
        show_group(args, &view, now_ms, &out);
    }
    if (!code && json_array_size(json) > 0)
        code = args_is_json(args) ? out_json(json_incref(json)) : out_buf(&out);
    group_session_close(&session);
    json_decref(json);
    buf_deinit(&out);
    return code ? code : failed;
}

/* ---- delete ---- */

static int16_t delete_error(const void *response)
{
    const struct delete_groups_response *answer = response;
    return answer->results_len == 1 ? answer->results[0].error_code : 0;
}

static int16_t offset_delete_error(const void *response)
{
    return ((const struct offset_delete_response *)response)->error_code;
}

static int fail_delete(struct group_session *session, struct str id, int16_t error_code)
{
    enum err err = wire_err_of_code(error_code);
    struct group_view view;
    if (err == ERR_NON_EMPTY_GROUP)
        return out_fail(EXIT_REFUSED,
                        "group '%.*s' has members; stop them first (see 'taffrail group describe "
                        "--members')",
                        STR_ARG(id));
    if (err == ERR_GROUP_ID_NOT_FOUND) {
        /* Says which was perhaps meant. */
        int code = group_load(session, id, GROUP_LOAD_MEMBERS, &view);
        return code ? code : client_fail(error_code, STR_NULL, "group '%.*s'", STR_ARG(id));
    }
    return client_fail(error_code, STR_NULL, "group '%.*s' is not deleted", STR_ARG(id));
}

static int delete_group(struct group_session *session, struct str id, bool *is_done)
{
    struct delete_groups_request request;
    struct delete_groups_response response;
    int32_t coordinator;
    MSG_INIT(delete_groups_request, &request);
    request.groups_names = &id;
    request.groups_names_len = 1;
    int code = group_call(session, id, CLIENT_DELETE_GROUPS, INT16_MAX, &request, &response,
                          delete_error, &coordinator);
    if (code)
        return code;
    int16_t error_code = delete_error(&response);
    *is_done = error_code == 0;
    if (error_code == 0 || (wire_err_of_code(error_code) == ERR_GROUP_ID_NOT_FOUND &&
                            args_has(session->args, "if-exists")))
        return EXIT_FINE;
    return fail_delete(session, id, error_code);
}

/* Whether --topic names it. */
static bool is_named(const struct args *args, struct str topic)
{
    const char *name;
    for (size_t i = 0; (name = args_nth(args, "topic", i)) != NULL; i++) {
        if (str_eq_cstr(topic, name))
            return true;
    }
    return false;
}

static int check_topics(const struct args *args, const struct group_view *view)
{
    const char *name;
    for (size_t i = 0; (name = args_nth(args, "topic", i)) != NULL; i++) {
        bool is_known = false;
        for (size_t p = 0; p < view->partition_count; p++)
            is_known = is_known || (str_eq_cstr(view->partitions[p].topic, name) &&
                                    view->partitions[p].committed >= 0);
        if (!is_known)
            return out_fail(EXIT_NOT_FOUND, "group '%.*s' has no offsets of topic '%s'",
                            STR_ARG(view->id), name);
    }
    return EXIT_FINE;
}

/* Only the offsets of --topic go. */
static int delete_offsets(struct group_session *session, struct str id, bool *is_done)
{
    struct offset_delete_request request;
    struct offset_delete_response response;
    struct group_view view;
    int32_t coordinator;
    int code = group_load(session, id, GROUP_LOAD_OFFSETS, &view);
    if (!code)
        code = check_topics(session->args, &view);
    if (code)
        return code;
    MSG_INIT(offset_delete_request, &request);
    request.group_id = id;
    request.topics =
        client_array(&session->client, view.partition_count + 1, sizeof(*request.topics));
    struct offset_delete_request_partition *all =
        client_array(&session->client, view.partition_count + 1, sizeof(*all));
    for (size_t i = 0; i < view.partition_count; i++) {
        const struct group_partition *partition = &view.partitions[i];
        struct offset_delete_request_topic *topic =
            request.topics_len ? &request.topics[request.topics_len - 1] : NULL;
        if (!is_named(session->args, partition->topic))
            continue;
        if (!topic || !str_eq(topic->name, partition->topic)) {
            topic = &request.topics[request.topics_len++];
            MSG_INIT(offset_delete_request_topic, topic);
            topic->name = partition->topic;
            topic->partitions = &all[i];
        }
        all[i].partition_index = partition->index;
        topic->partitions_len++;
    }
    code = group_call(session, id, CLIENT_OFFSET_DELETE, INT16_MAX, &request, &response,
                      offset_delete_error, &coordinator);
    if (!code && response.error_code)
        code = fail_delete(session, id, response.error_code);
    for (int32_t t = 0; !code && t < response.topics_len; t++) {
        for (int32_t p = 0; !code && p < response.topics[t].partitions_len; p++) {
            if (response.topics[t].partitions[p].error_code)
                code = client_fail(response.topics[t].partitions[p].error_code, STR_NULL,
                                   "the offset of %.*s-%d is not deleted",
                                   STR_ARG(response.topics[t].name),
                                   response.topics[t].partitions[p].partition_index);
        }
    }
    *is_done = code == EXIT_FINE;
    return code;
}

int group_delete_run(const struct args *args)
{
    struct group_session session;
    json_t *json = json_array();
    int failed = EXIT_FINE;
    int code = group_session_open(&session, args);
    for (size_t i = 0; !code && i < args->operand_count; i++) {
        bool is_done = false;
        struct str id = str_of(args->operands[i]);
        int own = args_has(args, "topic") ? delete_offsets(&session, id, &is_done)
                                          : delete_group(&session, id, &is_done);
        failed = failed ? failed : own;
        if (own == EXIT_UNREACHABLE)
            code = own;
        if (own)
            continue;
        json_array_append_new(json,
                              json_pack("{s:o, s:b}", "group", json_str(id), "deleted", is_done));
        if (!args_is_json(args))
            printf("%s %s\n", is_done ? "deleted" : "unchanged", args->operands[i]);
    }
    fflush(stdout);
    if (!code && args_is_json(args))
        code = out_json(json_incref(json));
    group_session_close(&session);
    json_decref(json);
    return code ? code : failed;
}
