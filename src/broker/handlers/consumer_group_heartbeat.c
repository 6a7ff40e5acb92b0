/* ConsumerGroupHeartbeat (KIP-848): a member of a consumer group joins, stays or leaves, and is
 * told which partitions it has. */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"
#include "coord/assignment.h"

struct consumer_group_heartbeat_own {
    struct coordinator_call call;
    struct coord_consumer_heartbeat heartbeat;
    struct assignment owned;
};

static enum err read_owned(struct request *req, struct assignment *owned)
{
    const struct consumer_group_heartbeat_request *body = req->body;
    struct assignment_builder builder;
    assignment_builder_init(&builder, &req->arena, false);
    for (int32_t t = 0; t < body->topic_partitions_len; t++) {
        const struct consumer_group_heartbeat_request_topic_partition *in =
            &body->topic_partitions[t];
        for (int32_t i = 0; i < in->partitions_len; i++)
            TRY(assignment_builder_add(&builder, in->topic_id, in->partitions[i], 0));
    }
    return assignment_builder_finish(&builder, owned);
}

static bool fill_assignment(struct request *req, const struct assignment *assignment)
{
    struct consumer_group_heartbeat_response *response = req->response;
    response->assignment = MSG_ARRAY(consumer_group_heartbeat_response_assignment, &req->arena, 1);
    if (!response->assignment)
        return false;
    struct consumer_group_heartbeat_response_topic_partitions *topics = MSG_ARRAY(
        consumer_group_heartbeat_response_topic_partitions, &req->arena, assignment->count);
    if (!topics)
        return false;
    response->assignment->topic_partitions = topics;
    response->assignment->topic_partitions_len = (int32_t)assignment->count;
    for (size_t i = 0; i < assignment->count; i++) {
        topics[i].topic_id = assignment->topics[i].topic_id;
        topics[i].partitions = ids_borrow(assignment->topics[i].partitions);
        topics[i].partitions_len = (int32_t)assignment->topics[i].count;
    }
    return true;
}

static void on_answered(struct coordinator_call *call)
{
    const struct consumer_group_heartbeat_own *own = call->own;
    const struct coord_consumer_heartbeat *heartbeat = &own->heartbeat;
    struct request *req = call->req;
    struct consumer_group_heartbeat_response *response = req->response;
    if (heartbeat->op.err != ERR_OK) {
        response->error_code = wire_code_of_err(heartbeat->op.err);
        response->error_message = heartbeat->message;
        request_reply(req);
        return;
    }
    response->member_id = heartbeat->answer_member_id;
    response->member_epoch = heartbeat->answer_epoch;
    response->heartbeat_interval_ms = heartbeat->heartbeat_interval_ms;
    if (heartbeat->assignment && !fill_assignment(req, heartbeat->assignment))
        request_over_limit(req);
    else
        request_reply(req);
}

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_consumer_heartbeat(coord, call,
                             &((struct consumer_group_heartbeat_own *)own->own)->heartbeat);
}

static enum coord_patience patience_of(const struct conn *conn)
{
    if (!conn->may_hold_heartbeats)
        return COORD_PATIENCE_NONE;
    return conn->counts_from_request ? COORD_PATIENCE_REQUEST : COORD_PATIENCE_INTERVAL;
}

/* The system measures up to the peer's acknowledgement, which waits this long for something to go
 * with. */
#define ACK_DELAY_US 40000

/* Of those who wait for an answer up to their interval; nobody else's is asked for. */
static int32_t trip_ms(const struct request *req)
{
    if (patience_of(req->conn) != COORD_PATIENCE_INTERVAL)
        return 0;
    uint32_t trip_us = io_sock_trip_us(req->shard->io, &req->conn->sock);
    return trip_us > ACK_DELAY_US ? (int32_t)((trip_us - ACK_DELAY_US) / 1000) : 0;
}

void consumer_group_heartbeat_begin(struct request *req)
{
    const struct consumer_group_heartbeat_request *body = req->body;
    struct consumer_group_heartbeat_response *response = req->response;
    if (!request_has_consumer_protocol(req)) {
        response->error_code = wire_code_of_err(ERR_UNSUPPORTED_VERSION);
        request_reply(req);
        return;
    }
    struct consumer_group_heartbeat_own *own = request_array(req, 1, sizeof(*own));
    if (!own || read_owned(req, &own->owned) != ERR_OK) {
        request_over_limit(req);
        return;
    }
    own->heartbeat = (struct coord_consumer_heartbeat){
        .api_version = req->header.api_version,
        .group_id = body->group_id,
        .member_id = body->member_id,
        .member_epoch = body->member_epoch,
        .instance_id = body->instance_id,
        .rack_id = body->rack_id,
        .rebalance_timeout_ms = body->rebalance_timeout_ms,
        .topics = body->subscribed_topic_names,
        .topics_len = body->subscribed_topic_names_len,
        .regex = body->subscribed_topic_regex,
        .assignor = body->server_assignor,
        .owned = body->topic_partitions_len < 0 ? NULL : &own->owned,
        .patience = patience_of(req->conn),
        .trip_ms = trip_ms(req),
    };
    req->own = own;
    request_coordinator_call(req, &own->call, &own->heartbeat.op, body->group_id);
    own->call.run = run;
    own->call.done = on_answered;
    own->call.own = own;
    coordinator_submit(&own->call);
}

void consumer_group_heartbeat_cancel(struct request *req)
{
    struct consumer_group_heartbeat_own *own = req->own;
    if (own)
        coordinator_cancel(&own->call);
}

void consumer_group_heartbeat_yield(struct request *req)
{
    struct consumer_group_heartbeat_own *own = req->own;
    if (own)
        coordinator_yield(&own->call);
}
