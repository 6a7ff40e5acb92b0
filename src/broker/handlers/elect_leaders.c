/* ElectLeaders (KIP-183, KIP-460): the preferred replica leads again, or any one. */
#include "broker/handlers/handlers.h"

#include "meta/controller.h"

enum { ELECT_PREFERRED = 0, ELECT_UNCLEAN = 1 };

struct elect_leaders_own {
    struct metadata_call call;
    bool is_unclean;
};

/* Elects for some partitions of a topic, or with NULL for those of all that need it. The answer is
 * in the request's arena, which the call lends. */
static enum err elect_topic(const struct controller *controller, const struct controller_call *call,
                            struct str topic, const int32_t *indexes, int32_t count, bool unclean,
                            struct elect_leaders_response_replica_election_result *out)
{
    out->topic = topic;
    out->partition_result =
        MSG_ARRAY(elect_leaders_response_partition_result, call->arena, (size_t)count);
    if (!out->partition_result)
        return ERR_NOMEM;
    for (int32_t i = 0; i < count; i++) {
        struct meta_error error = {ERR_OK, STR_NULL};
        int32_t index = indexes ? indexes[i] : i;
        enum err err = controller_elect_leader(controller, call, topic, index, unclean, &error);
        if (err == ERR_NOMEM)
            return err;
        if (!indexes && err == ERR_ELECTION_NOT_NEEDED)
            continue;
        out->partition_result[out->partition_result_len++] =
            (struct elect_leaders_response_partition_result){.partition_id = index,
                                                             .error_code = wire_code_of_err(err),
                                                             .error_message = error.text};
    }
    return ERR_OK;
}

static enum err elect_all(const struct controller *controller, const struct controller_call *call,
                          bool unclean, struct elect_leaders_response *response)
{
    response->replica_election_results = MSG_ARRAY(elect_leaders_response_replica_election_result,
                                                   call->arena, controller->head->topics.count);
    if (!response->replica_election_results)
        return ERR_NOMEM;
    IMAGE_TOPICS_EACH(iter, controller->head, topic)
    {
        struct str name = arena_str(call->arena, topic->name);
        if (!name.data)
            return ERR_NOMEM;
        TRY(elect_topic(
            controller, call, name, NULL, (int32_t)topic->partition_count, unclean,
            &response->replica_election_results[response->replica_election_results_len++]));
    }
    return ERR_OK;
}

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    const struct elect_leaders_own *own = own_call->own;
    const struct elect_leaders_request *body = own_call->req->body;
    struct elect_leaders_response *response = own_call->req->response;
    (void)error;
    if (body->topic_partitions_len < 0)
        return elect_all(controller, call, own->is_unclean, response);
    for (int32_t t = 0; t < body->topic_partitions_len; t++) {
        const struct elect_leaders_request_topic_partition *in = &body->topic_partitions[t];
        TRY(elect_topic(
            controller, call, in->topic, in->partitions, in->partitions_len, own->is_unclean,
            &response->replica_election_results[response->replica_election_results_len++]));
    }
    return ERR_OK;
}

static void elect_leaders_finish(struct metadata_call *call)
{
    struct elect_leaders_response *response = call->req->response;
    if (call->err == ERR_NOMEM) {
        request_over_limit(call->req);
        return;
    }
    if (call->err != ERR_OK) {
        response->replica_election_results_len = 0;
        if (call->req->header.api_version >= 1)
            response->error_code = wire_code_of_err(call->err);
    }
    request_reply(call->req);
}

static bool refuse_kind(struct request *req)
{
    const struct elect_leaders_request *body = req->body;
    struct elect_leaders_response *response = req->response;
    response->error_code = wire_code_of_err(ERR_INVALID_REQUEST);
    struct str why = arena_printf(&req->arena, "Unknown election type %d", body->election_type);
    for (int32_t t = 0; t < body->topic_partitions_len; t++) {
        const struct elect_leaders_request_topic_partition *in = &body->topic_partitions[t];
        struct elect_leaders_response_replica_election_result *out =
            &response->replica_election_results[response->replica_election_results_len++];
        out->topic = in->topic;
        out->partition_result = MSG_ARRAY(elect_leaders_response_partition_result, &req->arena,
                                          (size_t)in->partitions_len);
        if (!out->partition_result)
            return false;
        out->partition_result_len = in->partitions_len;
        for (int32_t p = 0; p < in->partitions_len; p++)
            out->partition_result[p] =
                (struct elect_leaders_response_partition_result){.partition_id = in->partitions[p],
                                                                 .error_code = response->error_code,
                                                                 .error_message = why};
    }
    return true;
}

void elect_leaders_begin(struct request *req)
{
    const struct elect_leaders_request *body = req->body;
    struct elect_leaders_response *response = req->response;
    size_t count = body->topic_partitions_len > 0 ? (size_t)body->topic_partitions_len : 0;
    struct elect_leaders_own *own = request_array(req, 1, sizeof(*own));
    response->replica_election_results =
        MSG_ARRAY(elect_leaders_response_replica_election_result, &req->arena, count);
    if (!own || !response->replica_election_results) {
        request_over_limit(req);
        return;
    }
    int8_t type = req->header.api_version >= 1 ? body->election_type : ELECT_PREFERRED;
    if (type != ELECT_PREFERRED && type != ELECT_UNCLEAN) {
        if (refuse_kind(req))
            request_reply(req);
        else
            request_over_limit(req);
        return;
    }
    own->is_unclean = type == ELECT_UNCLEAN;
    request_ask_controller(req, &own->call, ask, elect_leaders_finish, own);
}
