/* AlterPartitionReassignments and ListPartitionReassignments (KIP-455). */
#include "broker/handlers/handlers.h"

#include "meta/controller.h"

struct reassign_own {
    struct metadata_call call;
};

/* --- alter --- */

static enum err reassign_topic(const struct controller *controller,
                               const struct controller_call *call,
                               const struct alter_partition_reassignments_request_topic *in,
                               struct alter_partition_reassignments_response_topic *out)
{
    out->name = in->name;
    out->partitions = MSG_ARRAY(alter_partition_reassignments_response_partition, call->arena,
                                (size_t)in->partitions_len);
    if (!out->partitions)
        return ERR_NOMEM;
    for (int32_t i = 0; i < in->partitions_len; i++) {
        const struct alter_partition_reassignments_request_partition *asked = &in->partitions[i];
        bool cancels = asked->replicas_len < 0;
        struct create_assignment target = {asked->partition_index, asked->replicas,
                                           cancels ? 0 : (size_t)asked->replicas_len};
        struct meta_error error = {ERR_OK, STR_NULL};
        enum err err = controller_reassign(controller, call, in->name, asked->partition_index,
                                           cancels ? NULL : &target, &error);
        if (err == ERR_NOMEM)
            return err;
        out->partitions[out->partitions_len++] =
            (struct alter_partition_reassignments_response_partition){
                .partition_index = asked->partition_index,
                .error_code = wire_code_of_err(err),
                .error_message = error.text};
    }
    return ERR_OK;
}

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    const struct alter_partition_reassignments_request *body = own_call->req->body;
    struct alter_partition_reassignments_response *response = own_call->req->response;
    (void)error;
    for (int32_t t = 0; t < body->topics_len; t++)
        TRY(reassign_topic(controller, call, &body->topics[t],
                           &response->responses[response->responses_len++]));
    return ERR_OK;
}

static void alter_partition_reassignments_finish(struct metadata_call *call)
{
    struct request *req = call->req;
    const struct alter_partition_reassignments_request *body = req->body;
    struct alter_partition_reassignments_response *response = req->response;
    if (call->err == ERR_NOMEM) {
        request_over_limit(req);
        return;
    }
    if (req->header.api_version >= 1)
        response->allow_replication_factor_change = body->allow_replication_factor_change;
    if (body->topics_len > 0) /* as Kafka, which has a text for nothing */
        response->error_message = STR_NULL;
    if (call->err != ERR_OK) {
        response->responses_len = 0;
        response->error_code = wire_code_of_err(call->err);
        response->error_message = call->error.text;
    }
    request_reply(req);
}

void alter_partition_reassignments_begin(struct request *req)
{
    const struct alter_partition_reassignments_request *body = req->body;
    struct alter_partition_reassignments_response *response = req->response;
    struct reassign_own *own = request_array(req, 1, sizeof(*own));
    response->responses = MSG_ARRAY(alter_partition_reassignments_response_topic, &req->arena,
                                    (size_t)body->topics_len);
    if (!own || !response->responses) {
        request_over_limit(req);
        return;
    }
    request_ask_controller(req, &own->call, ask, alter_partition_reassignments_finish, own);
}

/* --- list --- */

static bool list_topic(struct request *req, const struct topic_image *topic, const int32_t *indexes,
                       int32_t count)
{
    struct list_partition_reassignments_response *response = req->response;
    struct list_partition_reassignments_response_topic *out =
        &response->topics[response->topics_len];
    out->name = topic->name;
    out->partitions =
        MSG_ARRAY(list_partition_reassignments_response_partition, &req->arena, (size_t)count);
    if (!out->partitions)
        return false;
    for (int32_t i = 0; i < count; i++) {
        int32_t index = indexes ? indexes[i] : i;
        const struct partition_image *partition = image_partition(topic, index);
        if (!partition || !partition_is_moving(partition))
            continue;
        out->partitions[out->partitions_len++] =
            (struct list_partition_reassignments_response_partition){
                .partition_index = index,
                .replicas = ids_borrow(partition->replicas),
                .replicas_len = (int32_t)partition->replica_count,
                .adding_replicas = ids_borrow(partition->adding),
                .adding_replicas_len = (int32_t)partition->adding_count,
                .removing_replicas = ids_borrow(partition->removing),
                .removing_replicas_len = (int32_t)partition->removing_count};
    }
    response->topics_len += out->partitions_len > 0;
    return true;
}

static bool list_all(struct request *req)
{
    struct list_partition_reassignments_response *response = req->response;
    const struct image *image = req->shard->image;
    response->topics =
        MSG_ARRAY(list_partition_reassignments_response_topic, &req->arena, image->topics.count);
    if (!response->topics)
        return false;
    IMAGE_TOPICS_EACH(iter, image, topic)
    {
        if (!list_topic(req, topic, NULL, (int32_t)topic->partition_count))
            return false;
    }
    return true;
}

static bool list_some(struct request *req)
{
    const struct list_partition_reassignments_request *body = req->body;
    struct list_partition_reassignments_response *response = req->response;
    response->topics = MSG_ARRAY(list_partition_reassignments_response_topic, &req->arena,
                                 (size_t)body->topics_len);
    if (!response->topics)
        return false;
    for (int32_t t = 0; t < body->topics_len; t++) {
        const struct topic_image *topic =
            image_topic_by_name(req->shard->image, body->topics[t].name);
        if (topic && !list_topic(req, topic, body->topics[t].partition_indexes,
                                 body->topics[t].partition_indexes_len))
            return false;
    }
    return true;
}

void list_partition_reassignments_begin(struct request *req)
{
    const struct list_partition_reassignments_request *body = req->body;
    struct list_partition_reassignments_response *response = req->response;
    response->error_message = STR_NULL;
    if (body->topics_len < 0 ? list_all(req) : list_some(req))
        request_reply(req);
    else
        request_over_limit(req);
}
