/* OffsetFetch: how far groups have read (KIP-709: many groups; KIP-447: stable offsets only). */
#include "broker/handlers/handlers.h"

#include "broker/handlers/group_parts.h"

#define VERSION_ERROR  2 /* of the group as a whole */
#define VERSION_GROUPS 8
#define VERSION_BY_ID  10

struct offset_fetch_part {
    struct group_part part; /* first: group_parts.h */
    struct coord_offset_fetch fetch;
};

/* --- answers --- */

static bool fill_partitions(struct request *req, const struct coord_offset_topic *topic,
                            enum err err, struct offset_fetch_response_group_topic *out)
{
    out->name = topic->name;
    out->topic_id = topic->id;
    out->partitions =
        MSG_ARRAY(offset_fetch_response_group_topic_partition, &req->arena, topic->partition_count);
    if (!out->partitions)
        return false;
    out->partitions_len = (int32_t)topic->partition_count;
    for (size_t i = 0; i < topic->partition_count; i++) {
        const struct coord_offset *offset = &topic->partitions[i];
        enum err own_err = err != ERR_OK ? err : offset->err;
        bool has_offset = own_err == ERR_OK;
        out->partitions[i].partition_index = offset->partition;
        out->partitions[i].committed_offset = has_offset ? offset->offset : -1;
        out->partitions[i].committed_leader_epoch = has_offset ? offset->leader_epoch : -1;
        out->partitions[i].metadata = has_offset ? offset->metadata : STR("");
        out->partitions[i].error_code = wire_code_of_err(own_err);
    }
    return true;
}

static bool fill_group(struct request *req, const struct offset_fetch_part *part,
                       struct offset_fetch_response_group *out)
{
    const struct coord_offset_fetch *fetch = &part->fetch;
    bool has_topics = fetch->op.err == ERR_OK || req->header.api_version < VERSION_ERROR;
    size_t count = has_topics ? fetch->topic_count : 0;
    out->group_id = fetch->group_id;
    out->error_code = wire_code_of_err(fetch->op.err);
    out->topics = MSG_ARRAY(offset_fetch_response_group_topic, &req->arena, count);
    if (!out->topics)
        return false;
    for (size_t t = 0; t < count; t++) {
        if (!fill_partitions(req, &fetch->topics[t], fetch->op.err, &out->topics[t]))
            return false;
    }
    out->topics_len = (int32_t)count;
    return true;
}

/* Before version 8 the one group's answer is the whole. */
static bool flatten(struct request *req, const struct offset_fetch_response_group *group)
{
    struct offset_fetch_response *response = req->response;
    response->error_code = group->error_code;
    response->topics =
        MSG_ARRAY(offset_fetch_response_topic, &req->arena, (size_t)group->topics_len);
    if (!response->topics)
        return false;
    response->topics_len = group->topics_len;
    for (int32_t t = 0; t < group->topics_len; t++) {
        const struct offset_fetch_response_group_topic *in = &group->topics[t];
        struct offset_fetch_response_topic *out = &response->topics[t];
        out->name = in->name;
        out->partitions =
            MSG_ARRAY(offset_fetch_response_partition, &req->arena, (size_t)in->partitions_len);
        if (!out->partitions)
            return false;
        out->partitions_len = in->partitions_len;
        for (int32_t i = 0; i < in->partitions_len; i++) {
            out->partitions[i].partition_index = in->partitions[i].partition_index;
            out->partitions[i].committed_offset = in->partitions[i].committed_offset;
            out->partitions[i].committed_leader_epoch = in->partitions[i].committed_leader_epoch;
            out->partitions[i].metadata = in->partitions[i].metadata;
            out->partitions[i].error_code = in->partitions[i].error_code;
        }
    }
    return true;
}

static bool fill(struct group_parts *parts)
{
    struct request *req = parts->req;
    struct offset_fetch_response *response = req->response;
    struct offset_fetch_response_group *groups =
        MSG_ARRAY(offset_fetch_response_group, &req->arena, parts->count);
    if (!groups)
        return false;
    for (size_t i = 0; i < parts->count; i++) {
        if (!fill_group(req, group_part(parts, i), &groups[i]))
            return false;
    }
    if (req->header.api_version < VERSION_GROUPS)
        return flatten(req, &groups[0]);
    response->groups = groups;
    response->groups_len = (int32_t)parts->count;
    return true;
}

static void run(struct coord *coord, const struct coord_call *call, struct coordinator_call *own)
{
    coord_offset_fetch(coord, call, &((struct offset_fetch_part *)own->own)->fetch);
}

/* --- questions --- */

static bool ask_topic(struct request *req, struct str name, struct uuid id,
                      const int32_t *partitions, int32_t count, struct coord_offset_topic *out)
{
    enum err err = ERR_OK;
    out->name = name;
    out->id = id;
    if (req->header.api_version >= VERSION_BY_ID) {
        const struct topic_image *topic = image_topic_by_id(req->shard->image, id);
        err = topic ? ERR_OK : ERR_UNKNOWN_TOPIC_ID;
        out->name = topic ? arena_str(&req->arena, topic->name) : STR("");
        if (!out->name.data)
            return false;
    }
    out->partitions = request_array(req, (size_t)count, sizeof(*out->partitions));
    out->partition_count = (size_t)count;
    for (int32_t i = 0; out->partitions && i < count; i++)
        out->partitions[i] = (struct coord_offset){.partition = partitions[i], .err = err};
    return out->partitions != NULL;
}

static bool ask_group(struct request *req, const struct offset_fetch_request_group *in,
                      struct coord_offset_fetch *fetch)
{
    fetch->group_id = in->group_id;
    fetch->member_id = in->member_id;
    fetch->member_epoch = in->member_epoch;
    fetch->wants_all = in->topics_len < 0;
    if (fetch->wants_all)
        return true;
    fetch->topics = request_array(req, (size_t)in->topics_len, sizeof(*fetch->topics));
    fetch->topic_count = (size_t)in->topics_len;
    bool is_ok = fetch->topics != NULL;
    for (int32_t t = 0; is_ok && t < in->topics_len; t++) {
        const struct offset_fetch_request_group_topic *topic = &in->topics[t];
        is_ok = ask_topic(req, topic->name, topic->topic_id, topic->partition_indexes,
                          topic->partition_indexes_len, &fetch->topics[t]);
    }
    return is_ok;
}

static bool ask_single(struct request *req, struct coord_offset_fetch *fetch)
{
    const struct offset_fetch_request *body = req->body;
    fetch->group_id = body->group_id;
    fetch->member_epoch = -1;
    fetch->wants_all = body->topics_len < 0;
    if (fetch->wants_all)
        return true;
    fetch->topics = request_array(req, (size_t)body->topics_len, sizeof(*fetch->topics));
    fetch->topic_count = (size_t)body->topics_len;
    bool is_ok = fetch->topics != NULL;
    for (int32_t t = 0; is_ok && t < body->topics_len; t++)
        is_ok = ask_topic(req, body->topics[t].name, UUID_ZERO, body->topics[t].partition_indexes,
                          body->topics[t].partition_indexes_len, &fetch->topics[t]);
    return is_ok;
}

void offset_fetch_begin(struct request *req)
{
    const struct offset_fetch_request *body = req->body;
    bool has_groups = req->header.api_version >= VERSION_GROUPS;
    size_t count = has_groups ? (size_t)body->groups_len : 1;
    struct group_parts *parts = group_parts_create(req, count, sizeof(struct offset_fetch_part));
    bool is_ok = parts != NULL;
    for (size_t i = 0; is_ok && i < count; i++) {
        struct offset_fetch_part *part = group_part(parts, i);
        struct coord_offset_fetch *fetch = &part->fetch;
        is_ok = has_groups ? ask_group(req, &body->groups[i], fetch) : ask_single(req, fetch);
        fetch->require_stable = body->require_stable;
        group_part_aim(parts, i, &fetch->op, fetch->group_id);
    }
    if (is_ok)
        group_parts_start(parts, run, fill);
    else
        request_over_limit(req);
}
