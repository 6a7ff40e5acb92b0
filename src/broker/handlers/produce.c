/* Produce: each partition's batch to its owner; answered when the last has ended.
 *
 * produce_begin finds the topics and gives each partition to the shard that owns it; there it is
 * checked, appended, and with acks=-1 on the disk before it counts; produce_finish answers. With
 * acks=0 nothing is answered, and an error closes the connection, as with Apache Kafka. */
#include "broker/handlers/handlers.h"

#include "broker/scatter.h"
#include "repl/partition.h"

#define ACKS_ALL    (-1)
#define VERSION_MIN 3   /* below: listed, but refused */
#define REPEATS_MAX 512 /* partitions of a topic that are looked through for one named twice */

struct produce_part {
    struct scatter_op op; /* first: scatter.h */
    struct partition_append append;
    struct batch_verdict verdict;
    struct produce_response_partition *out;
    const struct produce_request_partition *in;
    struct batch_rules rules; /* of the topic, for the sentences */
};

struct produce_own {
    struct scatter scatter;
    struct produce_part *parts;
    size_t count;
};

static void on_appended(struct partition_append *append)
{
    struct produce_part *part = CONTAINER_OF(append, struct produce_part, append);
    scatter_op_end(&part->op, append->err);
}

/* On the owner. */
static void produce_append(struct scatter_op *op)
{
    struct produce_part *part = (struct produce_part *)op;
    struct shard *shard = op->owner;
    const struct request *req = op->group->scatter->req;
    const struct produce_request *body = req->body;
    if (!op->partition) {
        scatter_op_end(op, ERR_UNKNOWN_TOPIC_OR_PARTITION);
        return;
    }
    part->rules = op->partition->config.rules;
    part->rules.now_ms = io_wall_ms(shard->io);
    part->rules.produce_version = req->header.api_version;
    part->append = (struct partition_append){
        .records =
            (uint8_t *)(uintptr_t)part->in->records.data, /* the frame's, and ours to stamp */
        .len = part->in->records.len,
        .produce_version = req->header.api_version,
        .sync = body->acks == ACKS_ALL,
        .now_ms = part->rules.now_ms,
        .compressors = &shard->compressors,
        .scratch = &shard->scratch,
        .verdict = &part->verdict,
        .done = on_appended,
    };
    partition_append(op->partition, &part->append);
}

static bool fill_record_errors(struct request *req, const struct produce_part *part)
{
    struct produce_response_partition *out = part->out;
    const struct batch_verdict *verdict = &part->verdict;
    int32_t count = verdict->record_error_count;
    if (count > BATCH_RECORD_ERRORS_MAX)
        count = BATCH_RECORD_ERRORS_MAX;
    out->record_errors = MSG_ARRAY(produce_response_record_error, &req->arena, (size_t)count);
    if (!out->record_errors)
        return false;
    out->record_errors_len = count;
    for (int32_t i = 0; i < count; i++) {
        char text[BATCH_TEXT_MAX];
        batch_record_error_text(&part->rules, &verdict->record_errors[i], text);
        out->record_errors[i].batch_index = verdict->record_errors[i].batch_index;
        out->record_errors[i].batch_index_error_message = arena_str(&req->arena, str_of(text));
    }
    return true;
}

static bool fill_answer(struct request *req, const struct produce_part *part)
{
    struct produce_response_partition *out = part->out;
    out->error_code = wire_code_of_err(part->op.err);
    if (part->op.err == ERR_OK) {
        out->base_offset = part->append.base_offset;
        out->log_append_time_ms = part->append.log_append_ms;
        out->log_start_offset = part->append.log_start_offset;
        return true;
    }
    out->base_offset = -1;
    out->log_append_time_ms = -1;
    out->log_start_offset = -1;
    if (part->verdict.text[0] == '\0')
        return true;
    shard_warn(req->shard, RATE_BAD_BATCH, "produce", "%s:%u: partition %d: %s",
               req->conn->peer.host, req->conn->peer.port, part->op.index, part->verdict.text);
    out->error_message = arena_str(&req->arena, str_of(part->verdict.text));
    return fill_record_errors(req, part);
}

static void produce_finish(struct scatter *scatter)
{
    struct produce_own *own = scatter->own;
    struct request *req = scatter->req;
    const struct produce_request *body = req->body;
    bool has_error = false;
    for (size_t i = 0; i < own->count; i++) {
        has_error |= own->parts[i].op.err != ERR_OK;
        if (own->parts[i].out && !fill_answer(req, &own->parts[i])) {
            request_over_limit(req);
            return;
        }
    }
    if (body->acks != 0)
        request_reply(req);
    else if (has_error)
        request_close(req, "a batch with acks=0 was refused");
    else
        request_end_silent(req);
}

static bool is_named_again(const struct produce_request_topic *topic, int32_t at)
{
    if (topic->partition_data_len > REPEATS_MAX)
        return false;
    for (int32_t i = at + 1; i < topic->partition_data_len; i++) {
        if (topic->partition_data[i].index == topic->partition_data[at].index)
            return true;
    }
    return false;
}

/* Why nothing of the request is appended. */
static enum err check_request(const struct request *req)
{
    const struct produce_request *body = req->body;
    if (body->acks < ACKS_ALL || body->acks > 1)
        return ERR_INVALID_REQUIRED_ACKS;
    return ERR_OK;
}

static bool begin_topic(struct request *req, struct produce_own *own,
                        const struct produce_request_topic *in, struct produce_response_topic *out)
{
    enum err refusal = check_request(req), err;
    const struct topic_image *topic = request_topic(req, in->name, in->topic_id, &err);
    out->name = in->name;
    out->topic_id = in->topic_id;
    out->partition_responses =
        MSG_ARRAY(produce_response_partition, &req->arena, (size_t)in->partition_data_len);
    if (!out->partition_responses)
        return false;
    for (int32_t i = 0; i < in->partition_data_len; i++) {
        struct produce_part *part = &own->parts[own->count++];
        part->in = &in->partition_data[i];
        part->op.index = part->in->index;
        if (topic)
            part->op.topic_id = topic->id;
        part->op.err = refusal != ERR_OK ? refusal : err;
        if (part->op.err == ERR_OK && !image_partition(topic, part->in->index))
            part->op.err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        /* A partition that is named twice is answered once, by its last batch. */
        if (is_named_again(in, i))
            continue;
        part->out = &out->partition_responses[out->partition_responses_len++];
        part->out->index = part->in->index;
    }
    return true;
}

void produce_begin(struct request *req)
{
    const struct produce_request *body = req->body;
    struct produce_response *response = req->response;
    size_t count = 0;
    if (req->header.api_version < VERSION_MIN) {
        request_close(req, "versions 0 to 2 of Produce are not supported");
        return;
    }
    for (int32_t t = 0; t < body->topic_data_len; t++)
        count += (size_t)body->topic_data[t].partition_data_len;
    struct produce_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->parts = request_array(req, count, sizeof(*own->parts));
    response->responses =
        MSG_ARRAY(produce_response_topic, &req->arena, (size_t)body->topic_data_len);
    bool is_ok = own && own->parts && response->responses;
    for (int32_t t = 0; is_ok && t < body->topic_data_len; t++)
        is_ok = begin_topic(req, own, &body->topic_data[t],
                            &response->responses[response->responses_len++]);
    if (is_ok) {
        own->scatter.own = own;
        is_ok = scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts),
                              produce_append, produce_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
