/* InitProducerId (KIP-98, KIP-360) for idempotent producers: a new id, at epoch 0. */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"

struct init_producer_id_own {
    struct producer_id_waiter waiter;
    struct request *req;
};

static void init_producer_id_finish(struct producer_id_waiter *waiter)
{
    struct init_producer_id_own *own = CONTAINER_OF(waiter, struct init_producer_id_own, waiter);
    struct init_producer_id_response *response = own->req->response;
    response->error_code = wire_code_of_err(waiter->err);
    if (waiter->err == ERR_OK) {
        response->producer_id = waiter->producer_id;
        response->producer_epoch = 0;
    }
    request_reply(own->req);
}

void init_producer_id_begin(struct request *req)
{
    const struct init_producer_id_request *body = req->body;
    struct init_producer_id_response *response = req->response;
    struct init_producer_id_own *own = request_array(req, 1, sizeof(*own));
    if (!own) {
        request_over_limit(req);
        return;
    }
    if (!str_is_null(body->transactional_id)) {
        /* No transaction coordinator is here: what Kafka says while there is none. */
        response->error_code = wire_code_of_err(
            body->transactional_id.len == 0 ? ERR_INVALID_REQUEST : ERR_COORDINATOR_NOT_AVAILABLE);
        response->producer_id = -1;
        response->producer_epoch = -1;
        request_reply(req);
        return;
    }
    if ((body->producer_id == -1) != (body->producer_epoch == -1)) {
        response->error_code = wire_code_of_err(ERR_INVALID_REQUEST);
        response->producer_id = -1;
        response->producer_epoch = -1;
        request_reply(req);
        return;
    }
    own->req = req;
    own->waiter.home = req->shard;
    own->waiter.done = init_producer_id_finish;
    metadata_take_producer_id(&own->waiter);
}
