/* ListGroups: all groups of this broker, or those of some states (KIP-518) or types (KIP-848). */
#include "broker/handlers/handlers.h"

#include "broker/handlers/group_parts.h"

struct list_groups_part {
    struct group_part part; /* first: group_parts.h */
    struct coord_list list;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_list(coord, call, &((struct list_groups_part *)own->own)->list);
}

static bool fill(struct group_parts *parts)
{
    struct request *req = parts->req;
    struct list_groups_response *response = req->response;
    size_t count = 0;
    for (size_t i = 0; i < parts->count; i++)
        count += ((const struct list_groups_part *)group_part(parts, i))->list.group_count;
    response->groups = MSG_ARRAY(list_groups_response_group, &req->arena, count);
    if (!response->groups)
        return false;
    for (size_t i = 0; i < parts->count; i++) {
        const struct coord_list *list =
            &((const struct list_groups_part *)group_part(parts, i))->list;
        for (size_t g = 0; list->op.err == ERR_OK && g < list->group_count; g++) {
            struct list_groups_response_group *out = &response->groups[response->groups_len++];
            out->group_id = list->groups[g].id;
            out->protocol_type = list->groups[g].protocol_type;
            out->group_state = list->groups[g].state;
            out->group_type = list->groups[g].type;
        }
        /* A partition that is led elsewhere has its groups there. */
        if (list->op.err != ERR_OK && list->op.err != ERR_NOT_COORDINATOR)
            response->error_code = wire_code_of_err(list->op.err);
    }
    return true;
}

void list_groups_begin(struct request *req)
{
    const struct list_groups_request *body = req->body;
    const struct topic_image *topic = coordinator_topic(req->shard);
    size_t count = topic ? topic->partition_count : 0;
    struct group_parts *parts = group_parts_create(req, count, sizeof(struct list_groups_part));
    if (!parts) {
        request_over_limit(req);
        return;
    }
    for (size_t i = 0; i < parts->count; i++) {
        struct list_groups_part *part = group_part(parts, i);
        part->list.states = body->states_filter;
        part->list.state_count = (size_t)body->states_filter_len;
        part->list.types = body->types_filter;
        part->list.type_count = (size_t)body->types_filter_len;
        group_part_aim(parts, i, &part->list.op, STR(""));
        part->part.call.partition = (int32_t)i;
    }
    group_parts_start(parts, run, fill);
}
