/* LeaveGroup: members of a classic group go, one by itself or many by an administrator (KIP-345).
 */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"

#define VERSION_MANY 3

struct leave_group_own {
    struct coordinator_call call;
    struct coord_leave leave;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_leave(coord, call, &((struct leave_group_own *)own->own)->leave);
}

static void leave_group_finish(struct coordinator_call *call)
{
    const struct leave_group_own *own = call->own;
    const struct coord_leave *leave = &own->leave;
    struct request *req = call->req;
    struct leave_group_response *response = req->response;
    enum err err = leave->op.err;
    if (req->header.api_version < VERSION_MANY) {
        response->error_code = wire_code_of_err(err != ERR_OK ? err : leave->leavers[0].err);
        request_reply(req);
        return;
    }
    response->error_code = wire_code_of_err(err);
    size_t count = err == ERR_OK ? leave->leaver_count : 0;
    response->members = MSG_ARRAY(leave_group_response_member, &req->arena, count);
    if (!response->members) {
        request_over_limit(req);
        return;
    }
    response->members_len = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        response->members[i].member_id = leave->leavers[i].member_id;
        response->members[i].group_instance_id = leave->leavers[i].instance_id;
        response->members[i].error_code = wire_code_of_err(leave->leavers[i].err);
    }
    request_reply(req);
}

void leave_group_begin(struct request *req)
{
    const struct leave_group_request *body = req->body;
    bool is_one = req->header.api_version < VERSION_MANY;
    size_t count = is_one ? 1 : (size_t)body->members_len;
    struct leave_group_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->leave.leavers = request_array(req, count, sizeof(*own->leave.leavers));
    if (!own || !own->leave.leavers) {
        request_over_limit(req);
        return;
    }
    own->leave.leaver_count = count;
    if (is_one)
        own->leave.leavers[0] = (struct coord_leaver){.member_id = body->member_id};
    for (size_t i = 0; !is_one && i < count; i++)
        own->leave.leavers[i] = (struct coord_leaver){
            .member_id = body->members[i].member_id,
            .instance_id = body->members[i].group_instance_id,
        };
    own->leave.group_id = body->group_id;
    request_coordinator_call(req, &own->call, &own->leave.op, body->group_id);
    own->call.run = run;
    own->call.done = leave_group_finish;
    own->call.own = own;
    coordinator_submit(&own->call);
}
