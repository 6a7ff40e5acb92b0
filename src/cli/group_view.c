/* Consumer groups as their coordinators tell them.
 *
 * A group of the new protocol is described by ConsumerGroupDescribe, one of the old by
 * DescribeGroups; whoever is asked wrongly says that there is no such group. Coordinators move and
 * load: until --timeout such an answer is asked for again, as Kafka's own clients do. */
#include "cli/group_view.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/group_logs.h"
#include "cli/interrupt.h"
#include "cli/out.h"
#include "wire/errors.h"

#define RETRY_US (100 * 1000)

/* From these versions on topics come by id, whose names we would have to ask for. */
#define OFFSET_FETCH_BY_NAME_MAX 9
/* Many keys in one request. */
#define FIND_COORDINATOR_BATCHED 4

struct group_broker {
    struct client client;
    bool is_open;
};

/* ---- session ---- */

int group_session_open(struct group_session *session, const struct args *args)
{
    *session = (struct group_session){.args = args};
    int code = client_open(&session->client, args);
    if (!code)
        code = client_describe_cluster(&session->client, false, &session->cluster);
    if (!code)
        session->brokers = client_array(&session->client, (size_t)session->cluster.brokers_len + 1,
                                        sizeof(*session->brokers));
    return code;
}

void group_session_close(struct group_session *session)
{
    for (int32_t i = 0; session->brokers && i < session->cluster.brokers_len; i++) {
        if (session->brokers[i].is_open)
            client_close(&session->brokers[i].client);
    }
    client_close(&session->client);
}

int group_session_broker(struct group_session *session, int32_t broker_id, struct client **broker)
{
    for (int32_t i = 0; i < session->cluster.brokers_len; i++) {
        struct group_broker *own = &session->brokers[i];
        if (session->cluster.brokers[i].broker_id != broker_id)
            continue;
        *broker = &own->client;
        if (own->is_open)
            return EXIT_FINE;
        int code = client_open_broker(&own->client, &session->cluster, broker_id,
                                      args_timeout_ms(session->args));
        own->is_open = code == EXIT_FINE;
        if (code)
            client_close(&own->client);
        return code;
    }
    return out_fail(EXIT_UNREACHABLE, "broker %d is not up; see 'taffrail cluster info'",
                    broker_id);
}

/* ---- coordinators ---- */

static bool is_about_coordinator(enum err err)
{
    return err == ERR_COORDINATOR_LOAD_IN_PROGRESS || err == ERR_COORDINATOR_NOT_AVAILABLE ||
           err == ERR_NOT_COORDINATOR;
}

static int find_coordinator(struct group_session *session, struct str id, int32_t *broker_id,
                            int16_t *error_code, struct str *message)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    struct client *client = &session->client;
    bool is_batched =
        client_offers_version(client, CLIENT_FIND_COORDINATOR, FIND_COORDINATOR_BATCHED);
    MSG_INIT(find_coordinator_request, &request);
    if (is_batched) {
        request.coordinator_keys = &id;
        request.coordinator_keys_len = 1;
    } else {
        request.key = id;
    }
    int code = client_call(client, CLIENT_FIND_COORDINATOR, &request, &response);
    if (code)
        return code;
    if (!is_batched) {
        *broker_id = response.node_id;
        *error_code = response.error_code;
        *message = response.error_message;
    } else if (response.coordinators_len == 1) {
        *broker_id = response.coordinators[0].node_id;
        *error_code = response.coordinators[0].error_code;
        *message = response.coordinators[0].error_message;
    } else {
        return out_fail(EXIT_REFUSED, "the broker names no coordinator for group '%.*s'",
                        STR_ARG(id));
    }
    return EXIT_FINE;
}

int group_call(struct group_session *session, struct str id, enum client_api api,
               int16_t version_max, const void *request, void *response,
               int16_t (*error_code_of)(const void *response), int32_t *coordinator)
{
    int64_t deadline_ms = clock_now_ms() + args_timeout_ms(session->args);
    for (;;) {
        struct client *broker;
        struct str message = STR_NULL;
        int32_t broker_id = -1;
        int16_t error_code = 0;
        int code = find_coordinator(session, id, &broker_id, &error_code, &message);
        if (code)
            return code;
        if (error_code == 0) {
            code = group_session_broker(session, broker_id, &broker);
            if (!code)
                code = client_call_at_most(broker, api, version_max, request, response);
            if (code)
                return code;
            error_code = error_code_of(response);
            message = STR_NULL;
            *coordinator = broker_id;
            if (!is_about_coordinator(wire_err_of_code(error_code)))
                return EXIT_FINE;
        } else if (!is_about_coordinator(wire_err_of_code(error_code))) {
            return client_fail(error_code, message, "group '%.*s' has no coordinator", STR_ARG(id));
        }
        if (clock_now_ms() >= deadline_ms || interrupt_is_set())
            return client_fail(error_code, message, "the coordinator of group '%.*s' is not ready",
                               STR_ARG(id));
        usleep(RETRY_US);
    }
}

/* ---- members ---- */

static int16_t consumer_error(const void *response)
{
    const struct consumer_group_describe_response *answer = response;
    return answer->groups_len == 1 ? answer->groups[0].error_code : 0;
}

static int16_t classic_error(const void *response)
{
    const struct describe_groups_response *answer = response;
    return answer->groups_len == 1 ? answer->groups[0].error_code : 0;
}

static void take_consumer_members(struct group_session *session, struct group_view *view,
                                  const struct consumer_group_describe_response_group *group)
{
    struct group_member *members =
        client_array(&session->client, (size_t)group->members_len + 1, sizeof(*members));
    for (int32_t i = 0; i < group->members_len; i++) {
        const struct consumer_group_describe_response_member *in = &group->members[i];
        size_t count = (size_t)in->assignment.topic_partitions_len;
        struct group_assigned *assigned =
            client_array(&session->client, count + 1, sizeof(*assigned));
        for (size_t t = 0; t < count; t++)
            assigned[t] =
                (struct group_assigned){in->assignment.topic_partitions[t].topic_name,
                                        in->assignment.topic_partitions[t].partitions,
                                        (size_t)in->assignment.topic_partitions[t].partitions_len};
        members[i] =
            (struct group_member){in->member_id,    in->instance_id, in->client_id, in->client_host,
                                  in->member_epoch, assigned,        count};
    }
    view->members = members;
    view->member_count = (size_t)group->members_len;
}

/* *is_found is false where it says that there is none of this kind. */
static int describe_consumer(struct group_session *session, struct group_view *view, bool *is_found)
{
    struct consumer_group_describe_request request;
    struct consumer_group_describe_response response;
    MSG_INIT(consumer_group_describe_request, &request);
    request.group_ids = &view->id;
    request.group_ids_len = 1;
    int code = group_call(session, view->id, CLIENT_CONSUMER_GROUP_DESCRIBE, INT16_MAX, &request,
                          &response, consumer_error, &view->coordinator);
    if (code || response.groups_len != 1)
        return code;
    const struct consumer_group_describe_response_group *group = &response.groups[0];
    enum err err = wire_err_of_code(group->error_code);
    if (err == ERR_GROUP_ID_NOT_FOUND || err == ERR_UNSUPPORTED_VERSION)
        return EXIT_FINE;
    if (err != ERR_OK)
        return client_fail(group->error_code, group->error_message, "group '%.*s'",
                           STR_ARG(view->id));
    *is_found = true;
    view->type = "consumer";
    view->state = group->group_state;
    view->protocol_type = STR("consumer");
    view->assignor = group->assignor_name;
    view->epoch = group->group_epoch;
    view->assignment_epoch = group->assignment_epoch;
    take_consumer_members(session, view, group);
    return EXIT_FINE;
}

/* What a classic member was assigned, where it is a consumer's and can be read. */
static void read_assignment(struct group_session *session, struct slice bytes,
                            struct group_member *member)
{
    struct consumer_protocol_assignment assignment;
    struct codec_error error;
    size_t used;
    if (bytes.len < 2)
        return;
    int16_t version = (int16_t)be16_load(bytes.data);
    if (version > consumer_protocol_assignment_schema.version_max)
        version = consumer_protocol_assignment_schema.version_max;
    if (version < 0 || codec_decode(&consumer_protocol_assignment_schema, version,
                                    slice_of(bytes.data + 2, bytes.len - 2), &used,
                                    &session->client.arena, &assignment, &error) != ERR_OK)
        return;
    size_t count = (size_t)assignment.assigned_partitions_len;
    struct group_assigned *assigned = client_array(&session->client, count + 1, sizeof(*assigned));
    for (size_t i = 0; i < count; i++)
        assigned[i] = (struct group_assigned){
            assignment.assigned_partitions[i].topic, assignment.assigned_partitions[i].partitions,
            (size_t)assignment.assigned_partitions[i].partitions_len};
    member->assigned = assigned;
    member->assigned_count = count;
}

static void take_classic_members(struct group_session *session, struct group_view *view,
                                 const struct describe_groups_response_group *group)
{
    struct group_member *members =
        client_array(&session->client, (size_t)group->members_len + 1, sizeof(*members));
    bool are_consumers = str_eq(group->protocol_type, STR("consumer"));
    for (int32_t i = 0; i < group->members_len; i++) {
        const struct describe_groups_response_member *in = &group->members[i];
        members[i] = (struct group_member){
            in->member_id, in->group_instance_id, in->client_id, in->client_host, -1, NULL, 0};
        if (are_consumers)
            read_assignment(session, in->member_assignment, &members[i]);
    }
    view->members = members;
    view->member_count = (size_t)group->members_len;
}

static int describe_classic(struct group_session *session, struct group_view *view, bool *is_found)
{
    struct describe_groups_request request;
    struct describe_groups_response response;
    MSG_INIT(describe_groups_request, &request);
    request.groups = &view->id;
    request.groups_len = 1;
    int code = group_call(session, view->id, CLIENT_DESCRIBE_GROUPS, INT16_MAX, &request, &response,
                          classic_error, &view->coordinator);
    if (code || response.groups_len != 1)
        return code;
    const struct describe_groups_response_group *group = &response.groups[0];
    enum err err = wire_err_of_code(group->error_code);
    /* Before version 6 a group that is not there is a dead one. */
    if (err == ERR_GROUP_ID_NOT_FOUND || (err == ERR_OK && str_eq(group->group_state, STR("Dead"))))
        return EXIT_FINE;
    if (err != ERR_OK)
        return client_fail(group->error_code, group->error_message, "group '%.*s'",
                           STR_ARG(view->id));
    *is_found = true;
    view->type = "classic";
    view->state = group->group_state;
    view->protocol_type = group->protocol_type;
    view->assignor = group->protocol_data;
    take_classic_members(session, view, group);
    return EXIT_FINE;
}

/* ---- offsets ---- */

static int16_t fetch_error(const void *response)
{
    const struct offset_fetch_response *answer = response;
    return answer->groups_len == 1 ? answer->groups[0].error_code : answer->error_code;
}

static int order_partitions(const void *a, const void *b)
{
    const struct group_partition *x = a, *y = b;
    int order = str_cmp(x->topic, y->topic);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

struct group_partition *group_find_partition(struct group_partition *partitions, size_t count,
                                             struct str topic, int32_t index)
{
    struct group_partition key = {.topic = topic, .index = index};
    return count ? bsearch(&key, partitions, count, sizeof(key), order_partitions) : NULL;
}

void group_sort_partitions(struct group_partition *partitions, size_t count)
{
    if (count)
        qsort(partitions, count, sizeof(*partitions), order_partitions);
}

static size_t count_assigned(const struct group_view *view)
{
    size_t count = 0;
    for (size_t m = 0; m < view->member_count; m++) {
        for (size_t t = 0; t < view->members[m].assigned_count; t++)
            count += view->members[m].assigned[t].partition_count;
    }
    return count;
}

static void add_partition(struct group_view *view, struct str topic, int32_t index,
                          int64_t committed, const struct group_member *owner)
{
    view->partitions[view->partition_count++] = (struct group_partition){
        topic, index, -1, committed, GROUP_UNKNOWN, GROUP_UNKNOWN, GROUP_UNKNOWN, owner};
}

/* Partitions that are assigned and have no offset come behind those that have one. */
static void add_assigned(struct group_view *view)
{
    size_t with_offset = view->partition_count;
    for (size_t m = 0; m < view->member_count; m++) {
        const struct group_member *member = &view->members[m];
        for (size_t t = 0; t < member->assigned_count; t++) {
            const struct group_assigned *assigned = &member->assigned[t];
            for (size_t p = 0; p < assigned->partition_count; p++) {
                struct group_partition *known = group_find_partition(
                    view->partitions, with_offset, assigned->topic, assigned->partitions[p]);
                if (known)
                    known->owner = member;
                else
                    add_partition(view, assigned->topic, assigned->partitions[p], GROUP_UNKNOWN,
                                  member);
            }
        }
    }
}

static int fetch_offsets(struct group_session *session, struct group_view *view)
{
    struct offset_fetch_request request;
    struct offset_fetch_request_group group;
    struct offset_fetch_response response;
    MSG_INIT(offset_fetch_request, &request);
    MSG_INIT(offset_fetch_request_group, &group);
    group.group_id = view->id;
    group.topics_len = -1; /* all */
    request.groups = &group;
    request.groups_len = 1;
    int code = group_call(session, view->id, CLIENT_OFFSET_FETCH, OFFSET_FETCH_BY_NAME_MAX,
                          &request, &response, fetch_error, &view->coordinator);
    if (code)
        return code;
    if (response.groups_len != 1)
        return out_fail(EXIT_REFUSED, "the broker does not tell the offsets of group '%.*s'",
                        STR_ARG(view->id));
    const struct offset_fetch_response_group *answer = &response.groups[0];
    if (answer->error_code)
        return client_fail(answer->error_code, STR_NULL, "the offsets of group '%.*s'",
                           STR_ARG(view->id));
    size_t count = count_assigned(view);
    for (int32_t t = 0; t < answer->topics_len; t++)
        count += (size_t)answer->topics[t].partitions_len;
    view->partitions = client_array(&session->client, count + 1, sizeof(*view->partitions));
    for (int32_t t = 0; t < answer->topics_len; t++) {
        const struct offset_fetch_response_group_topic *topic = &answer->topics[t];
        for (int32_t p = 0; p < topic->partitions_len; p++) {
            if (topic->partitions[p].committed_offset >= 0)
                add_partition(view, topic->name, topic->partitions[p].partition_index,
                              topic->partitions[p].committed_offset, NULL);
        }
    }
    group_sort_partitions(view->partitions, view->partition_count);
    add_assigned(view);
    group_sort_partitions(view->partitions, view->partition_count);
    return EXIT_FINE;
}

/* ---- a group ---- */

int group_load_quietly(struct group_session *session, struct str id, enum group_load_depth depth,
                       struct group_view *view)
{
    *view = (struct group_view){.id = id, .epoch = -1, .assignment_epoch = -1, .coordinator = -1};
    bool is_found = false;
    int code = EXIT_FINE;
    if (client_offers(&session->client, CLIENT_CONSUMER_GROUP_DESCRIBE))
        code = describe_consumer(session, view, &is_found);
    if (!code && !is_found)
        code = describe_classic(session, view, &is_found);
    if (!code && !is_found)
        return EXIT_NOT_FOUND;
    if (!code && depth >= GROUP_LOAD_OFFSETS)
        code = fetch_offsets(session, view);
    if (!code && depth >= GROUP_LOAD_OFFSETS)
        code = group_load_logs(session, view->partitions, view->partition_count);
    if (!code && depth >= GROUP_LOAD_TIMES)
        code = group_load_times(session, view->partitions, view->partition_count);
    return code;
}

static int fail_no_group(struct group_session *session, struct str id)
{
    struct group_listed *groups = NULL;
    size_t count = 0;
    int code = group_list(session, NULL, 0, NULL, 0, &groups, &count);
    if (code)
        return code;
    const char **names = client_array(&session->client, count + 1, sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = arena_printf(&session->client.arena, "%.*s", STR_ARG(groups[i].id)).data;
    struct str wanted = arena_printf(&session->client.arena, "%.*s", STR_ARG(id));
    const char *near = wanted.data ? nearest_word(wanted.data, names, count) : NULL;
    if (near)
        return out_fail(EXIT_NOT_FOUND, "there is no group '%.*s'; did you mean '%s'?", STR_ARG(id),
                        near);
    return out_fail(EXIT_NOT_FOUND,
                    "there is no group '%.*s'; see which there are with 'taffrail group list'",
                    STR_ARG(id));
}

int group_load(struct group_session *session, struct str id, enum group_load_depth depth,
               struct group_view *view)
{
    int code = group_load_quietly(session, id, depth, view);
    return code == EXIT_NOT_FOUND && !view->type ? fail_no_group(session, id) : code;
}

bool group_is_inactive(const struct group_view *view)
{
    return str_eq(view->state, STR("Empty")) || str_eq(view->state, STR("Dead"));
}

/* ---- all groups ---- */

static int order_listed(const void *a, const void *b)
{
    const struct group_listed *x = a, *y = b;
    return str_cmp(x->id, y->id);
}

int group_list(struct group_session *session, struct str *states, size_t state_count,
               struct str *types, size_t type_count, struct group_listed **groups, size_t *count)
{
    struct list_groups_request request;
    *groups = NULL;
    *count = 0;
    MSG_INIT(list_groups_request, &request);
    request.states_filter = states;
    request.states_filter_len = (int32_t)state_count;
    request.types_filter = types;
    request.types_filter_len = (int32_t)type_count;
    for (int32_t b = 0; b < session->cluster.brokers_len; b++) {
        struct list_groups_response response;
        struct client *broker;
        int32_t id = session->cluster.brokers[b].broker_id;
        int code = group_session_broker(session, id, &broker);
        if (!code)
            code = client_call(broker, CLIENT_LIST_GROUPS, &request, &response);
        if (code)
            return code;
        if (response.error_code)
            return client_fail(response.error_code, STR_NULL, "broker %d lists no groups", id);
        struct group_listed *all =
            client_array(&session->client, *count + (size_t)response.groups_len + 1, sizeof(*all));
        if (*count)
            memcpy(all, *groups, *count * sizeof(*all));
        for (int32_t i = 0; i < response.groups_len; i++) {
            const struct list_groups_response_group *in = &response.groups[i];
            all[(*count)++] = (struct group_listed){in->group_id, in->protocol_type,
                                                    in->group_state, in->group_type, id};
        }
        *groups = all;
    }
    if (*count)
        qsort(*groups, *count, sizeof(**groups), order_listed);
    return EXIT_FINE;
}
