/* DescribeGroups: state and members of classic groups. */
#include "broker/handlers/handlers.h"

#include "broker/handlers/group_parts.h"

#define VERSION_NOT_FOUND 6

struct describe_groups_part {
    struct group_part part; /* first: group_parts.h */
    struct coord_describe describe;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_describe(coord, call, &((struct describe_groups_part *)own->own)->describe);
}

static bool fill_members(struct request *req, const struct coord_describe *describe,
                         struct describe_groups_response_group *out)
{
    out->members = MSG_ARRAY(describe_groups_response_member, &req->arena, describe->member_count);
    if (!out->members)
        return false;
    out->members_len = (int32_t)describe->member_count;
    for (size_t i = 0; i < describe->member_count; i++) {
        const struct coord_classic_member *member = &describe->members[i];
        out->members[i].member_id = member->id;
        out->members[i].group_instance_id = member->instance_id;
        out->members[i].client_id = member->client_id;
        out->members[i].client_host = member->client_host;
        out->members[i].member_metadata = member->metadata;
        out->members[i].member_assignment = member->assignment;
    }
    return true;
}

static bool fill_group(struct request *req, const struct coord_describe *describe,
                       struct describe_groups_response_group *out)
{
    const struct describe_groups_request *body = req->body;
    enum err err = describe->op.err;
    bool is_missing = err == ERR_GROUP_ID_NOT_FOUND;
    out->group_id = describe->group_id;
    out->group_state = err == ERR_OK || is_missing ? describe->state : STR("");
    out->protocol_type = err == ERR_OK ? describe->protocol_type : STR("");
    out->protocol_data = err == ERR_OK ? describe->protocol : STR("");
    /* Before it had an error of its own, a group that is not there was one without members. */
    if (is_missing && req->header.api_version < VERSION_NOT_FOUND)
        err = ERR_OK;
    else if (is_missing)
        out->error_message =
            arena_printf(&req->arena, "Group %.*s %s.", STR_ARG(coord_quoted(describe->group_id)),
                         describe->is_other_kind ? "is not a classic group" : "not found");
    out->error_code = wire_code_of_err(err);
    if (body->include_authorized_operations && err == ERR_OK)
        out->authorized_operations = AUTHORIZED_OPERATIONS_GROUP;
    return describe->op.err != ERR_OK || fill_members(req, describe, out);
}

static bool fill(struct group_parts *parts)
{
    struct request *req = parts->req;
    struct describe_groups_response *response = req->response;
    response->groups = MSG_ARRAY(describe_groups_response_group, &req->arena, parts->count);
    if (!response->groups)
        return false;
    response->groups_len = (int32_t)parts->count;
    for (size_t i = 0; i < parts->count; i++) {
        const struct describe_groups_part *part = group_part(parts, i);
        if (!fill_group(req, &part->describe, &response->groups[i]))
            return false;
    }
    return true;
}

void describe_groups_begin(struct request *req)
{
    const struct describe_groups_request *body = req->body;
    struct group_parts *parts =
        group_parts_create(req, (size_t)body->groups_len, sizeof(struct describe_groups_part));
    if (!parts) {
        request_over_limit(req);
        return;
    }
    for (size_t i = 0; i < parts->count; i++) {
        struct describe_groups_part *part = group_part(parts, i);
        part->describe.group_id = body->groups[i];
        part->describe.state = STR("");
        group_part_aim(parts, i, &part->describe.op, body->groups[i]);
    }
    group_parts_start(parts, run, fill);
}
