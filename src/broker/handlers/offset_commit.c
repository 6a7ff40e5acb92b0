/* OffsetCommit: how far a group has read (KIP-1319: topics by id from version 10 on). */
#include "broker/handlers/handlers.h"

#include "broker/coordinator.h"

#define VERSION_BY_ID 10

struct offset_commit_own {
    struct coordinator_call call;
    struct coord_offset_commit commit;
    /* [i]: what answers commit.topics[i] */
    struct offset_commit_response_topic **out;
};

static bool fill_topic(struct request *req, const struct offset_commit_request_topic *in,
                       enum err err, struct offset_commit_response_topic **out)
{
    struct offset_commit_response *response = req->response;
    struct offset_commit_response_topic *topic = &response->topics[response->topics_len++];
    topic->name = in->name;
    topic->topic_id = in->topic_id;
    topic->partitions =
        MSG_ARRAY(offset_commit_response_partition, &req->arena, (size_t)in->partitions_len);
    if (!topic->partitions)
        return false;
    topic->partitions_len = in->partitions_len;
    for (int32_t i = 0; i < in->partitions_len; i++) {
        topic->partitions[i].partition_index = in->partitions[i].partition_index;
        topic->partitions[i].error_code = wire_code_of_err(err);
    }
    *out = topic;
    return true;
}

static bool fill_offsets(struct request *req, const struct offset_commit_request_topic *in,
                         const struct topic_image *topic, struct coord_offset_topic *out)
{
    const struct offset_commit_request_partition *partitions = in->partitions;
    out->name = arena_str(&req->arena, topic->name); /* the image may be gone by then */
    out->id = topic->id;
    out->partitions = request_array(req, (size_t)in->partitions_len, sizeof(*out->partitions));
    out->partition_count = (size_t)in->partitions_len;
    if (!out->name.data || !out->partitions)
        return false;
    for (int32_t i = 0; i < in->partitions_len; i++)
        out->partitions[i] = (struct coord_offset){
            .partition = partitions[i].partition_index,
            .offset = partitions[i].committed_offset,
            .leader_epoch = partitions[i].committed_leader_epoch,
            .metadata = partitions[i].committed_metadata,
            .err = image_partition(topic, partitions[i].partition_index)
                       ? ERR_OK
                       : ERR_UNKNOWN_TOPIC_OR_PARTITION,
        };
    return true;
}

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_offset_commit(coord, call, &((struct offset_commit_own *)own->own)->commit);
}

static void offset_commit_finish(struct coordinator_call *call)
{
    struct offset_commit_own *own = call->own;
    for (size_t t = 0; t < own->commit.topic_count; t++) {
        const struct coord_offset_topic *topic = &own->commit.topics[t];
        for (size_t i = 0; i < topic->partition_count; i++) {
            enum err err = topic->partitions[i].err;
            if (err == ERR_OK)
                err = own->commit.op.err;
            own->out[t]->partitions[i].error_code = wire_code_of_err(err);
        }
    }
    request_reply(call->req);
}

/* As Kafka answers: topics that are not known first, then the others. */
static bool sort_topics(struct request *req, struct offset_commit_own *own)
{
    const struct offset_commit_request *body = req->body;
    bool is_ok = true;
    for (int32_t known = 0; known < 2; known++) {
        for (int32_t t = 0; is_ok && t < body->topics_len; t++) {
            const struct offset_commit_request_topic *in = &body->topics[t];
            struct offset_commit_response_topic *out;
            enum err err;
            bool is_by_id = req->header.api_version >= VERSION_BY_ID;
            const struct topic_image *topic =
                request_topic(req, in->name, is_by_id ? in->topic_id : UUID_ZERO, &err);
            if (is_by_id && !topic)
                err = ERR_UNKNOWN_TOPIC_ID;
            if ((topic != NULL) != (known == 1))
                continue;
            is_ok = fill_topic(req, in, err, &out);
            if (!is_ok || !topic)
                continue;
            own->out[own->commit.topic_count] = out;
            is_ok = fill_offsets(req, in, topic, &own->commit.topics[own->commit.topic_count++]);
        }
    }
    return is_ok;
}

void offset_commit_begin(struct request *req)
{
    const struct offset_commit_request *body = req->body;
    struct offset_commit_response *response = req->response;
    size_t count = (size_t)body->topics_len;
    struct offset_commit_own *own = request_array(req, 1, sizeof(*own));
    response->topics = MSG_ARRAY(offset_commit_response_topic, &req->arena, count);
    if (own) {
        own->out = request_array(req, count, sizeof(*own->out));
        own->commit.topics = request_array(req, count, sizeof(*own->commit.topics));
    }
    if (!own || !response->topics || !own->out || !own->commit.topics || !sort_topics(req, own)) {
        request_over_limit(req);
        return;
    }
    if (own->commit.topic_count == 0) {
        request_reply(req);
        return;
    }
    own->commit.group_id = body->group_id;
    own->commit.generation = body->generation_id_or_member_epoch;
    own->commit.member_id = body->member_id;
    own->commit.instance_id = body->group_instance_id;
    own->commit.retention_ms = body->retention_time_ms;
    own->commit.api_version = req->header.api_version;
    request_coordinator_call(req, &own->call, &own->commit.op, body->group_id);
    own->call.run = run;
    own->call.done = offset_commit_finish;
    own->call.own = own;
    coordinator_submit(&own->call);
}
