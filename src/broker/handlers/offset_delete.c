/* OffsetDelete (KIP-496): offsets of topics that a group does not read any more. */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"

struct offset_delete_own {
    struct coordinator_call call;
    struct coord_offset_delete request;
};

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_offset_delete(coord, call, &((struct offset_delete_own *)own->own)->request);
}

static bool fill_topic(struct request *req, const struct coord_offset_topic *topic,
                       struct offset_delete_response_topic *out)
{
    out->name = topic->name;
    out->partitions =
        MSG_ARRAY(offset_delete_response_partition, &req->arena, topic->partition_count);
    if (!out->partitions)
        return false;
    out->partitions_len = (int32_t)topic->partition_count;
    for (size_t i = 0; i < topic->partition_count; i++) {
        out->partitions[i].partition_index = topic->partitions[i].partition;
        out->partitions[i].error_code = wire_code_of_err(topic->partitions[i].err);
    }
    return true;
}

/* The whole request's error comes without topics. */
static void offset_delete_finish(struct coordinator_call *call)
{
    const struct offset_delete_own *own = call->own;
    struct request *req = call->req;
    struct offset_delete_response *response = req->response;
    size_t count = own->request.op.err == ERR_OK ? own->request.topic_count : 0;
    response->error_code = wire_code_of_err(own->request.op.err);
    response->topics = MSG_ARRAY(offset_delete_response_topic, &req->arena, count);
    bool is_ok = response->topics != NULL;
    for (size_t t = 0; is_ok && t < count; t++)
        is_ok = fill_topic(req, &own->request.topics[t], &response->topics[t]);
    if (!is_ok) {
        request_over_limit(req);
        return;
    }
    response->topics_len = (int32_t)count;
    request_reply(req);
}

static bool ask_topic(struct request *req, const struct offset_delete_request_topic *in,
                      struct coord_offset_topic *out)
{
    const struct topic_image *topic = image_topic_by_name(req->shard->image, in->name);
    out->name = in->name;
    out->partitions = request_array(req, (size_t)in->partitions_len, sizeof(*out->partitions));
    out->partition_count = (size_t)in->partitions_len;
    for (int32_t i = 0; out->partitions && i < in->partitions_len; i++)
        out->partitions[i] =
            (struct coord_offset){.partition = in->partitions[i].partition_index,
                                  .err = image_partition(topic, in->partitions[i].partition_index)
                                             ? ERR_OK
                                             : ERR_UNKNOWN_TOPIC_OR_PARTITION};
    return out->partitions != NULL;
}

void offset_delete_begin(struct request *req)
{
    const struct offset_delete_request *body = req->body;
    size_t count = (size_t)body->topics_len;
    struct offset_delete_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->request.topics = request_array(req, count, sizeof(*own->request.topics));
    bool is_ok = own && own->request.topics;
    for (size_t t = 0; is_ok && t < count; t++)
        is_ok = ask_topic(req, &body->topics[t], &own->request.topics[t]);
    if (!is_ok) {
        request_over_limit(req);
        return;
    }
    own->request.topic_count = count;
    own->request.group_id = body->group_id;
    request_coordinator_call(req, &own->call, &own->request.op, body->group_id);
    own->call.run = run;
    own->call.done = offset_delete_finish;
    own->call.own = own;
    coordinator_submit(&own->call);
}
