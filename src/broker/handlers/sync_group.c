/* SyncGroup: the leader of a classic group gives the assignment, the others wait for theirs. */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"

#define VERSION_PROTOCOL 5 /* from here on it must be said */

struct sync_group_own {
    struct coordinator_call call;
    struct coord_sync sync;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_sync(coord, call, &((struct sync_group_own *)own->own)->sync);
}

static void sync_group_finish(struct coordinator_call *call)
{
    const struct sync_group_own *own = call->own;
    const struct coord_sync *sync = &own->sync;
    struct sync_group_response *response = call->req->response;
    bool is_ok = sync->op.err == ERR_OK;
    response->error_code = wire_code_of_err(sync->op.err);
    response->protocol_type = is_ok ? sync->answer_type : STR_NULL;
    response->protocol_name = is_ok ? sync->answer_protocol : STR_NULL;
    response->assignment = is_ok ? sync->assignment : slice_of("", 0);
    request_reply(call->req);
}

void sync_group_begin(struct request *req)
{
    const struct sync_group_request *body = req->body;
    size_t count = (size_t)body->assignments_len;
    struct sync_group_own *own = request_array(req, 1, sizeof(*own));
    struct coord_assignment *assignments = request_array(req, count, sizeof(*assignments));
    if (!own || !assignments) {
        request_over_limit(req);
        return;
    }
    if (req->header.api_version >= VERSION_PROTOCOL &&
        (str_is_null(body->protocol_type) || str_is_null(body->protocol_name))) {
        struct sync_group_response *response = req->response;
        response->error_code = wire_code_of_err(ERR_INCONSISTENT_GROUP_PROTOCOL);
        response->assignment = slice_of("", 0);
        request_reply(req);
        return;
    }
    for (size_t i = 0; i < count; i++)
        assignments[i] = (struct coord_assignment){body->assignments[i].member_id,
                                                   body->assignments[i].assignment};
    req->own = own;
    own->sync.group_id = body->group_id;
    own->sync.generation = body->generation_id;
    own->sync.member_id = body->member_id;
    own->sync.instance_id = body->group_instance_id;
    own->sync.protocol_type = body->protocol_type;
    own->sync.protocol = body->protocol_name;
    own->sync.assignments = assignments;
    own->sync.assignment_count = count;
    request_coordinator_call(req, &own->call, &own->sync.op, body->group_id);
    own->call.run = run;
    own->call.done = sync_group_finish;
    own->call.own = own;
    coordinator_submit(&own->call);
}

void sync_group_cancel(struct request *req)
{
    struct sync_group_own *own = req->own;
    if (own)
        coordinator_cancel(&own->call);
}
