/* Runs on: the request's shard; `run` on the owners (scatter.h). */
#include "broker/handlers/parts.h"

#include "base/assert.h"
#include "repl/partition.h"

struct parts {
    struct scatter scatter;
    const struct parts_api *api;
    char *items; /* part_bytes each */
    size_t count;
};

static void *field(const void *at, size_t offset)
{
    return (char *)(uintptr_t)at + offset;
}

static int32_t *len_field(const void *at, size_t offset)
{
    return (int32_t *)field(at, offset);
}

/* The element of an array whose pointer is the field at `offset`. */
static void *element(const void *at, size_t offset, size_t bytes, int32_t index)
{
    return *(char **)field(at, offset) + (size_t)index * bytes;
}

enum err part_check(const struct scatter_op *op)
{
    if (!op->partition)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!op->partition->log || log_is_offline(op->partition->log))
        return ERR_KAFKA_STORAGE_ERROR;
    return ERR_OK;
}

static void parts_finish(struct scatter *scatter)
{
    struct parts *parts = scatter->own;
    bool is_ok = true;
    for (size_t i = 0; i < parts->count; i++)
        is_ok &= parts->api->fill(
            scatter->req, (struct part *)(void *)(parts->items + i * parts->api->part_bytes));
    if (is_ok)
        request_reply(scatter->req);
    else
        request_over_limit(scatter->req);
}

static bool take_topic(struct request *req, struct parts *parts, const void *in_topic,
                       void *out_topic)
{
    const struct parts_api *api = parts->api;
    const struct parts_layout *in = &api->in, *out = &api->out;
    int32_t count = *len_field(in_topic, in->partitions_len);
    struct part_topic topic = {.name = *(struct str *)field(in_topic, in->name), .in = in_topic};
    enum err found;
    topic.image = request_topic(req, topic.name, UUID_ZERO, &found);
    *(struct str *)field(out_topic, out->name) = topic.name;
    void *list = codec_struct_array(out->partition_type, &req->arena, (size_t)count);
    *(void **)field(out_topic, out->partitions) = list;
    int32_t *answered = len_field(out_topic, out->partitions_len);
    for (int32_t i = 0; list && i < count; i++) {
        struct part *part = (struct part *)(void *)(parts->items + parts->count * api->part_bytes);
        part->in = element(in_topic, in->partitions, in->partition_bytes, i);
        part->out = (char *)list + (size_t)*answered * out->partition_bytes;
        enum err err = found;
        if (api->take && !api->take(req, part, &topic, i, &err))
            continue;
        int32_t index = *(const int32_t *)part->in;
        *len_field(part->out, out->index) = index;
        scatter_op_aim(&part->op, topic.image, err, index);
        parts->count++;
        ++*answered;
    }
    return list != NULL;
}

void parts_begin(struct request *req, const struct parts_api *api)
{
    const struct parts_layout *in = &api->in, *out = &api->out;
    int32_t topics = *len_field(req->body, in->topics_len);
    size_t count = 0;
    for (int32_t t = 0; t < topics; t++)
        count += (size_t)*len_field(element(req->body, in->topics, in->topic_bytes, t),
                                    in->partitions_len);
    struct parts *parts = request_array(req, 1, sizeof(*parts));
    if (parts)
        *parts = (struct parts){.api = api, .items = request_array(req, count, api->part_bytes)};
    void *list = codec_struct_array(out->topic_type, &req->arena, (size_t)topics);
    *(void **)field(req->response, out->topics) = list;
    bool is_ok = parts && parts->items && list;
    for (int32_t t = 0; is_ok && t < topics; t++) {
        is_ok = take_topic(req, parts, element(req->body, in->topics, in->topic_bytes, t),
                           (char *)list + (size_t)t * out->topic_bytes);
        ++*len_field(req->response, out->topics_len);
    }
    if (is_ok) {
        parts->scatter.own = parts;
        is_ok = scatter_start(&parts->scatter, req, parts->items, parts->count, api->part_bytes,
                              api->run, parts_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
