/* Heartbeat: a member of a classic group is alive, and hears of a rebalance. Where the client is
 * one that is known to bear it, the answer is held until there is something to hear of, until
 * another request comes on the connection, or until the next heartbeat is near. */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"

struct heartbeat_own {
    struct coordinator_call call;
    struct coord_heartbeat heartbeat;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_heartbeat(coord, call, &((struct heartbeat_own *)own->own)->heartbeat);
}

static void heartbeat_finish(struct coordinator_call *call)
{
    struct heartbeat_response *response = call->req->response;
    response->error_code = wire_code_of_err(call->op->err);
    request_reply(call->req);
}

void heartbeat_begin(struct request *req)
{
    const struct heartbeat_request *body = req->body;
    struct heartbeat_own *own = request_array(req, 1, sizeof(*own));
    if (!own) {
        request_over_limit(req);
        return;
    }
    own->heartbeat.group_id = body->group_id;
    own->heartbeat.generation = body->generation_id;
    own->heartbeat.member_id = body->member_id;
    own->heartbeat.instance_id = body->group_instance_id;
    own->heartbeat.may_wait = req->conn->may_hold_heartbeats;
    req->own = own;
    request_coordinator_call(req, &own->call, &own->heartbeat.op, body->group_id);
    own->call.run = run;
    own->call.done = heartbeat_finish;
    own->call.own = own;
    coordinator_submit(&own->call);
}

void heartbeat_cancel(struct request *req)
{
    struct heartbeat_own *own = req->own;
    if (own)
        coordinator_cancel(&own->call);
}

void heartbeat_yield(struct request *req)
{
    struct heartbeat_own *own = req->own;
    if (own)
        coordinator_yield(&own->call);
}
