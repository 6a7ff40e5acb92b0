/* CreatePartitions (KIP-195): more partitions for topics that exist. */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"

struct create_partitions_own {
    struct metadata_call call;
    struct create_partitions *topics;
    struct topic_answer *answers;
};

static void create_partitions_finish(struct metadata_call *call)
{
    struct create_partitions_own *own = call->own;
    struct request *req = call->req;
    const struct create_partitions_request *body = req->body;
    struct create_partitions_response *response = req->response;
    response->results =
        MSG_ARRAY(create_partitions_response_result, &req->arena, (size_t)body->topics_len);
    if (!response->results) {
        request_over_limit(req);
        return;
    }
    for (int32_t i = 0; i < body->topics_len; i++) {
        if (call->err == ERR_OK && own->answers[i].repeated)
            continue;
        struct create_partitions_response_result *out = &response->results[response->results_len++];
        const struct topic_answer *answer = &own->answers[i];
        enum err err = call->err != ERR_OK ? call->err : answer->err;
        out->name = body->topics[i].name;
        out->error_code = wire_code_of_err(err);
        out->error_message = call->err != ERR_OK ? call->error.text : answer->message;
    }
    request_reply(req);
}

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    struct create_partitions_own *own = own_call->own;
    const struct create_partitions_request *body = own_call->req->body;
    (void)error;
    return controller_create_partitions(controller, call, own->topics, (size_t)body->topics_len,
                                        body->validate_only, &own->answers);
}

static bool convert_topic(struct request *req, const struct create_partitions_request_topic *in,
                          struct create_partitions *out)
{
    size_t count = in->assignments_len > 0 ? (size_t)in->assignments_len : 0;
    struct create_assignment *assignments = request_array(req, count, sizeof(*assignments));
    if (!assignments)
        return false;
    for (size_t i = 0; i < count; i++)
        assignments[i] =
            (struct create_assignment){.brokers = in->assignments[i].broker_ids,
                                       .broker_count = (size_t)in->assignments[i].broker_ids_len};
    *out = (struct create_partitions){.topic = in->name,
                                      .count = in->count,
                                      .has_assignments = in->assignments_len >= 0,
                                      .assignments = assignments,
                                      .assignment_count = count};
    return true;
}

void create_partitions_begin(struct request *req)
{
    const struct create_partitions_request *body = req->body;
    struct create_partitions_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->topics = request_array(req, (size_t)body->topics_len, sizeof(*own->topics));
    bool is_ok = own && own->topics;
    for (int32_t i = 0; is_ok && i < body->topics_len; i++)
        is_ok = convert_topic(req, &body->topics[i], &own->topics[i]);
    if (!is_ok) {
        request_over_limit(req);
        return;
    }
    request_ask_controller(req, &own->call, ask, create_partitions_finish, own);
}
