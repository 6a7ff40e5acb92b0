/* ConsumerGroupDescribe (KIP-848): consumer groups with their members, and what each has. */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"

enum { MEMBER_CLASSIC = 0, MEMBER_CONSUMER = 1 };

struct consumer_group_describe_part {
    struct coordinator_call call;
    struct coord_consumer_describe describe;
    struct arena arena; /* each has its own: they are on many shards at once */
    struct consumer_group_describe_own *own;
};

struct consumer_group_describe_own {
    struct request *req;
    struct consumer_group_describe_part *parts;
    size_t count;
    size_t pending;
};

static bool fill_topics(struct request *req, const struct coord_described_topic *topics,
                        size_t count, struct consumer_group_describe_response_assignment *out)
{
    out->topic_partitions =
        MSG_ARRAY(consumer_group_describe_response_topic_partitions, &req->arena, count);
    if (!out->topic_partitions)
        return false;
    out->topic_partitions_len = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        out->topic_partitions[i].topic_id = topics[i].id;
        out->topic_partitions[i].topic_name = topics[i].name;
        out->topic_partitions[i].partitions = ids_borrow(topics[i].partitions);
        out->topic_partitions[i].partitions_len = topics[i].count;
    }
    return true;
}

static bool fill_member(struct request *req, const struct coord_described_member *member,
                        struct consumer_group_describe_response_member *out)
{
    out->member_id = member->id;
    out->instance_id = member->instance_id;
    out->rack_id = member->rack_id;
    out->member_epoch = member->epoch;
    out->client_id = member->client_id;
    out->client_host = member->client_host;
    out->subscribed_topic_names = member->topics;
    out->subscribed_topic_names_len = (int32_t)member->topic_count;
    out->subscribed_topic_regex = member->regex;
    out->member_type = member->is_classic ? MEMBER_CLASSIC : MEMBER_CONSUMER;
    return fill_topics(req, member->assigned, member->assigned_count, &out->assignment) &&
           fill_topics(req, member->target, member->target_count, &out->target_assignment);
}

static bool fill_group(struct request *req, const struct coord_consumer_describe *describe,
                       struct consumer_group_describe_response_group *out)
{
    const struct consumer_group_describe_request *body = req->body;
    out->group_id = describe->group_id;
    out->error_code = wire_code_of_err(describe->op.err);
    out->error_message = describe->message;
    if (describe->op.err != ERR_OK)
        return true;
    out->group_state = describe->state;
    out->group_epoch = describe->epoch;
    out->assignment_epoch = describe->target_epoch;
    out->assignor_name = describe->assignor;
    if (body->include_authorized_operations)
        out->authorized_operations = AUTHORIZED_OPERATIONS_GROUP;
    out->members =
        MSG_ARRAY(consumer_group_describe_response_member, &req->arena, describe->member_count);
    if (!out->members)
        return false;
    out->members_len = (int32_t)describe->member_count;
    for (size_t i = 0; i < describe->member_count; i++) {
        if (!fill_member(req, &describe->members[i], &out->members[i]))
            return false;
    }
    return true;
}

static bool fill(struct consumer_group_describe_own *own)
{
    struct request *req = own->req;
    struct consumer_group_describe_response *response = req->response;
    response->groups = MSG_ARRAY(consumer_group_describe_response_group, &req->arena, own->count);
    if (!response->groups)
        return false;
    response->groups_len = (int32_t)own->count;
    for (size_t i = 0; i < own->count; i++) {
        if (!fill_group(req, &own->parts[i].describe, &response->groups[i]))
            return false;
    }
    return true;
}

static void part_ended(struct consumer_group_describe_own *own)
{
    struct request *req = own->req;
    if (--own->pending > 0)
        return;
    size_t count = own->count;
    struct consumer_group_describe_part *parts = own->parts;
    if (fill(own))
        request_reply(req); /* which encodes it: the parts' memory is not needed any more */
    else
        request_over_limit(req);
    for (size_t i = 0; i < count; i++)
        arena_deinit(&parts[i].arena);
}

static void on_described(struct coordinator_call *call)
{
    part_ended(((struct consumer_group_describe_part *)call->own)->own);
}

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_consumer_describe(coord, call,
                            &((struct consumer_group_describe_part *)own->own)->describe);
}

static void describe_group(struct request *req, struct consumer_group_describe_part *part)
{
    enum err err = part->describe.group_id.len == 0 ? ERR_INVALID_GROUP_ID : ERR_OK;
    if (!request_has_consumer_protocol(req))
        err = ERR_UNSUPPORTED_VERSION;
    if (err != ERR_OK) {
        part->describe.op.err = err;
        part_ended(part->own);
        return;
    }
    request_coordinator_call(req, &part->call, &part->describe.op, part->describe.group_id);
    part->describe.op.arena = &part->arena;
    part->call.run = run;
    part->call.done = on_described;
    part->call.own = part;
    coordinator_submit(&part->call);
}

void consumer_group_describe_begin(struct request *req)
{
    const struct consumer_group_describe_request *body = req->body;
    size_t count = (size_t)body->group_ids_len;
    struct consumer_group_describe_own *own = request_array(req, 1, sizeof(*own));
    struct consumer_group_describe_part *parts = request_array(req, count, sizeof(*parts));
    if (!own || !parts) {
        request_over_limit(req);
        return;
    }
    *own = (struct consumer_group_describe_own){req, parts, count, count + 1};
    for (size_t i = 0; i < count; i++) {
        arena_init(&parts[i].arena, REQUEST_ARENA_BYTES_MAX);
        parts[i].own = own;
        parts[i].describe.group_id = body->group_ids[i];
    }
    for (size_t i = 0; i < count; i++)
        describe_group(req, &parts[i]);
    part_ended(own);
}
