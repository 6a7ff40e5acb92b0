/* DeleteTopics: by name, or by id from version 6 on (KIP-516). */
#include "broker/handlers/handlers.h"

#include "broker/metadata.h"

struct delete_topics_own {
    struct metadata_call call;
    struct delete_topic *topics;
    size_t count;
    struct deleted_topic *deleted;
};

/* A topic that was named more than once is answered once. */
static bool is_answered(const struct delete_topics_own *own, size_t at)
{
    for (size_t i = 0; own->deleted[at].err != ERR_OK && i < at; i++) {
        if (own->deleted[i].err != ERR_OK && str_eq(own->deleted[i].name, own->deleted[at].name) &&
            uuid_eq(own->deleted[i].id, own->deleted[at].id))
            return true;
    }
    return false;
}

static void delete_topics_finish(struct metadata_call *call)
{
    struct delete_topics_own *own = call->own;
    struct request *req = call->req;
    struct delete_topics_response *response = req->response;
    response->responses = MSG_ARRAY(delete_topics_response_topic, &req->arena, own->count);
    if (!response->responses) {
        request_over_limit(req);
        return;
    }
    for (size_t i = 0; i < own->count; i++) {
        const struct deleted_topic *deleted = &own->deleted[i];
        if (call->err == ERR_OK && is_answered(own, i))
            continue;
        struct delete_topics_response_topic *out = &response->responses[response->responses_len++];
        enum err err = call->err != ERR_OK ? call->err : deleted->err;
        out->name = call->err != ERR_OK ? own->topics[i].name : deleted->name;
        out->topic_id = call->err != ERR_OK ? own->topics[i].id : deleted->id;
        out->error_code = wire_code_of_err(err);
        out->error_message = call->err != ERR_OK ? call->error.text : deleted->message;
    }
    request_reply(req);
}

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    struct delete_topics_own *own = own_call->own;
    (void)error;
    return controller_delete_topics(controller, call, own->topics, own->count, &own->deleted);
}

static void refuse_all(struct request *req, struct delete_topics_own *own, enum err err)
{
    struct delete_topics_response *response = req->response;
    response->responses = MSG_ARRAY(delete_topics_response_topic, &req->arena, own->count);
    if (!response->responses) {
        request_over_limit(req);
        return;
    }
    response->responses_len = (int32_t)own->count;
    for (size_t i = 0; i < own->count; i++) {
        response->responses[i].name = own->topics[i].name;
        response->responses[i].topic_id = own->topics[i].id;
        response->responses[i].error_code = wire_code_of_err(err);
    }
    request_reply(req);
}

void delete_topics_begin(struct request *req)
{
    const struct delete_topics_request *body = req->body;
    struct delete_topics_own *own = request_array(req, 1, sizeof(*own));
    size_t by_name = body->topic_names_len > 0 ? (size_t)body->topic_names_len : 0;
    size_t by_either = body->topics_len > 0 ? (size_t)body->topics_len : 0;
    if (own)
        own->topics = request_array(req, by_name + by_either, sizeof(*own->topics));
    if (!own || !own->topics) {
        request_over_limit(req);
        return;
    }
    for (size_t i = 0; i < by_name; i++)
        own->topics[own->count++] = (struct delete_topic){body->topic_names[i], UUID_ZERO};
    for (size_t i = 0; i < by_either; i++)
        own->topics[own->count++] =
            (struct delete_topic){body->topics[i].name, body->topics[i].topic_id};
    if (!req->shard->node->config->delete_topic_enable) {
        refuse_all(req, own,
                   req->header.api_version < 3 ? ERR_INVALID_REQUEST : ERR_TOPIC_DELETION_DISABLED);
        return;
    }
    request_ask_controller(req, &own->call, ask, delete_topics_finish, own);
}
