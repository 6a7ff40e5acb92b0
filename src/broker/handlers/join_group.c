/* JoinGroup: a member of a classic group comes (KIP-394: with an id that it was given; KIP-345: as
 * an instance that it was before). Answered when the group has its next generation. */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"

#define VERSION_REBALANCE_TIMEOUT 1
#define VERSION_ID_FIRST          4
#define VERSION_NULL_PROTOCOL     7
#define VERSION_SKIP              9

struct join_group_own {
    struct coordinator_call call;
    struct coord_join join;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_join(coord, call, &((struct join_group_own *)own->own)->join);
}

static bool fill_members(struct request *req, const struct coord_join *join)
{
    struct join_group_response *response = req->response;
    response->members = MSG_ARRAY(join_group_response_member, &req->arena, join->member_count);
    if (!response->members)
        return false;
    response->members_len = (int32_t)join->member_count;
    for (size_t i = 0; i < join->member_count; i++) {
        response->members[i].member_id = join->members[i].id;
        response->members[i].group_instance_id = join->members[i].instance_id;
        response->members[i].metadata = join->members[i].metadata;
    }
    return true;
}

static void join_group_finish(struct coordinator_call *call)
{
    const struct join_group_own *own = call->own;
    const struct coord_join *join = &own->join;
    struct request *req = call->req;
    struct join_group_response *response = req->response;
    bool is_ok = join->op.err == ERR_OK;
    struct str none = req->header.api_version >= VERSION_NULL_PROTOCOL ? STR_NULL : STR("");
    response->error_code = wire_code_of_err(join->op.err);
    response->generation_id = is_ok ? join->generation : -1;
    response->protocol_type = is_ok ? join->answer_type : STR_NULL;
    response->protocol_name = is_ok ? join->answer_protocol : none;
    response->leader = is_ok ? join->leader : STR("");
    response->skip_assignment = is_ok && join->skip_assignment;
    response->member_id = str_is_null(join->given_member_id) ? STR("") : join->given_member_id;
    if (is_ok && !fill_members(req, join)) {
        request_over_limit(req);
        return;
    }
    request_reply(req);
}

static bool fill_protocols(struct request *req, struct coord_join *join)
{
    const struct join_group_request *body = req->body;
    size_t count = (size_t)body->protocols_len;
    struct coord_protocol *protocols = request_array(req, count, sizeof(*protocols));
    if (!protocols)
        return false;
    for (size_t i = 0; i < count; i++)
        protocols[i] =
            (struct coord_protocol){body->protocols[i].name, body->protocols[i].metadata};
    join->protocols = protocols;
    join->protocol_count = count;
    return true;
}

void join_group_begin(struct request *req)
{
    const struct join_group_request *body = req->body;
    int16_t version = req->header.api_version;
    struct join_group_own *own = request_array(req, 1, sizeof(*own));
    if (!own || !fill_protocols(req, &own->join)) {
        request_over_limit(req);
        return;
    }
    req->own = own;
    own->join.group_id = body->group_id;
    own->join.session_timeout_ms = body->session_timeout_ms;
    own->join.rebalance_timeout_ms = version >= VERSION_REBALANCE_TIMEOUT
                                         ? body->rebalance_timeout_ms
                                         : body->session_timeout_ms;
    own->join.member_id = body->member_id;
    own->join.instance_id = body->group_instance_id;
    own->join.protocol_type = body->protocol_type;
    own->join.takes_id_first = version >= VERSION_ID_FIRST;
    own->join.takes_skip = version >= VERSION_SKIP;
    own->join.given_member_id = body->member_id;
    request_coordinator_call(req, &own->call, &own->join.op, body->group_id);
    own->call.run = run;
    own->call.done = join_group_finish;
    own->call.own = own;
    coordinator_submit(&own->call);
}

void join_group_cancel(struct request *req)
{
    struct join_group_own *own = req->own;
    if (own)
        coordinator_cancel(&own->call);
}
