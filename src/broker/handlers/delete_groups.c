/* DeleteGroups: groups without members go, with their offsets. */
#include "broker/handlers/handlers.h"

#include "broker/handlers/group_parts.h"

struct delete_groups_part {
    struct group_part part; /* first: group_parts.h */
    struct coord_delete request;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_delete(coord, call, &((struct delete_groups_part *)own->own)->request);
}

static bool fill(struct group_parts *parts)
{
    struct request *req = parts->req;
    struct delete_groups_response *response = req->response;
    response->results = MSG_ARRAY(delete_groups_response_result, &req->arena, parts->count);
    if (!response->results)
        return false;
    response->results_len = (int32_t)parts->count;
    for (size_t i = 0; i < parts->count; i++) {
        const struct delete_groups_part *part = group_part(parts, i);
        response->results[i].group_id = part->request.group_id;
        response->results[i].error_code = wire_code_of_err(part->request.op.err);
    }
    return true;
}

void delete_groups_begin(struct request *req)
{
    const struct delete_groups_request *body = req->body;
    struct group_parts *parts =
        group_parts_create(req, (size_t)body->groups_names_len, sizeof(struct delete_groups_part));
    if (!parts) {
        request_over_limit(req);
        return;
    }
    for (size_t i = 0; i < parts->count; i++) {
        struct delete_groups_part *part = group_part(parts, i);
        part->request.group_id = body->groups_names[i];
        group_part_aim(parts, i, &part->request.op, body->groups_names[i]);
    }
    group_parts_start(parts, run, fill);
}
