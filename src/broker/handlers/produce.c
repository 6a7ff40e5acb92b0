/* Produce: each partition's batch to its owner; answered when the last has ended.
 *
 * produce_begin finds the topics and gives each partition to the shard that owns it; there it is
 * checked, appended, and with acks=-1 on the disk before it counts; produce_finish answers. With
 * acks=0 nothing is answered, and an error closes the connection, as with Apache Kafka. */
#include "broker/handlers/handlers.h"

#include "broker/scatter.h"
#include "repl/partition.h"

/* One batch may have needed far more. */
#define SCRATCH_BYTES_KEPT ((size_t)4 << 20)

#define ACKS_ALL      (-1)
#define VERSION_MIN   3 /* below: listed, but refused */
#define VERSION_BY_ID 13

struct produce_part {
    struct scatter_op op; /* first: scatter.h */
    struct partition_append append;
    struct batch_verdict verdict;
    struct produce_response_partition *out;
    const struct produce_request_partition *in;
    struct str topic;
    struct batch_rules rules; /* of the topic, for the sentences */
};

struct produce_own {
    struct scatter scatter;
    struct produce_part *parts;
    size_t count;
};

/* On the owner. A duplicate brings nothing. */
static void count_append(const struct produce_part *part)
{
    struct metrics *metrics = &part->op.owner->metrics;
    struct partition *partition = part->op.partition;
    const struct partition_append *append = &part->append;
    metrics_partition(metrics, partition, PARTITION_PRODUCES, 1);
    if (append->err == ERR_OK && !append->op.is_duplicate) {
        int64_t count = append->op.last_offset - append->op.base_offset + 1;
        metrics_partition(metrics, partition, PARTITION_MESSAGES_IN, (uint64_t)count);
        metrics_partition(metrics, partition, PARTITION_BYTES_IN, append->len);
    } else if (append->err != ERR_OK) {
        metrics_partition(metrics, partition, PARTITION_PRODUCES_FAILED, 1);
    }
    if (append->err == ERR_MESSAGE_TOO_LARGE || append->err == ERR_RECORD_LIST_TOO_LARGE)
        metrics_partition(metrics, partition, PARTITION_BYTES_REJECTED, append->len);
}

static void on_appended(struct partition_append *append)
{
    struct produce_part *part = CONTAINER_OF(append, struct produce_part, append);
    count_append(part);
    scatter_op_end(&part->op, append->err);
}

/* What the broker keeps for itself is written by nobody else; but for one name, as with Apache
 * Kafka, whose own tools had it once. */
static bool may_append(const struct request *req, const struct produce_part *part)
{
    return !topic_is_internal(part->topic) || str_eq(req->header.client_id, STR("__admin_client"));
}

/* On the owner. */
static void produce_append(struct scatter_op *op)
{
    struct produce_part *part = (struct produce_part *)op;
    struct shard *shard = op->owner;
    const struct request *req = op->group->scatter->req;
    const struct produce_request *body = req->body;
    if (!op->partition) {
        metrics_partition(&shard->metrics, NULL, PARTITION_PRODUCES, 1);
        metrics_partition(&shard->metrics, NULL, PARTITION_PRODUCES_FAILED, 1);
        scatter_op_end(op, ERR_UNKNOWN_TOPIC_OR_PARTITION);
        return;
    }
    if (!may_append(req, part)) {
        part->append.err = ERR_INVALID_TOPIC;
        count_append(part);
        scatter_op_end(op, ERR_INVALID_TOPIC);
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
    buf_trim(&shard->scratch, SCRATCH_BYTES_KEPT);
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
        batch_record_error_text(&part->rules, part->topic, part->op.index,
                                &verdict->record_errors[i], text);
        out->record_errors[i].batch_index = verdict->record_errors[i].batch_index;
        out->record_errors[i].batch_index_error_message = arena_str(&req->arena, str_of(text));
    }
    struct buf all;
    buf_init(&all, BUF_NO_LIMIT);
    batch_record_errors_text(&part->rules, part->topic, part->op.index, verdict, &all);
    out->error_message = arena_str(&req->arena, (struct str){(const char *)all.data, all.len});
    buf_deinit(&all);
    return true;
}

/* Refused by what the batch says or does; else by its size or shape, or by the partition: then
 * Kafka does not tell where the log begins. */
static bool tells_log_start(const struct produce_part *part)
{
    switch (part->op.err) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
    case ERR_CORRUPT_MESSAGE:
    case ERR_KAFKA_STORAGE_ERROR:
        return false;
    default:
        return part->append.partition && !part->verdict.is_misframed;
    }
}

static bool fill_answer(struct request *req, const struct produce_part *part)
{
    struct produce_response_partition *out = part->out;
    const struct batch_verdict *verdict = &part->verdict;
    out->error_code = wire_code_of_err(part->op.err);
    if (part->op.err == ERR_OK) {
        out->base_offset = part->append.base_offset;
        out->log_append_time_ms = part->append.log_append_ms;
        out->log_start_offset = part->append.log_start_offset;
        return true;
    }
    out->base_offset = -1;
    out->log_append_time_ms = -1;
    out->log_start_offset = tells_log_start(part) ? part->append.log_start_offset : -1;
    if (verdict->text[0] == '\0')
        return true;
    shard_warn(req->shard, RATE_BAD_BATCH, "produce", "%s:%u: %.*s-%d: %s", req->conn->peer.host,
               req->conn->peer.port, STR_ARG(part->topic), part->op.index, verdict->text);
    if (verdict->is_misframed && part->op.err == ERR_CORRUPT_MESSAGE)
        out->error_message = arena_str(&req->arena, str_of(verdict->text));
    return verdict->record_error_count == 0 || fill_record_errors(req, part);
}

static void produce_finish(struct scatter *scatter)
{
    struct produce_own *own = scatter->own;
    struct request *req = scatter->req;
    const struct produce_request *body = req->body;
    bool has_error = false;
    for (size_t i = 0; i < own->count; i++) {
        has_error |= own->parts[i].op.err != ERR_OK;
        if (!fill_answer(req, &own->parts[i])) {
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

/* Whether the request has another batch for the same partition further on: the last one counts, as
 * in Kafka, where they are keys of a map. */
static bool is_superseded(const struct produce_request *body, int32_t at_topic, int32_t at)
{
    const struct produce_request_topic *topic = &body->topic_data[at_topic];
    int32_t index = topic->partition_data[at].index;
    for (int32_t t = at_topic; t < body->topic_data_len; t++) {
        const struct produce_request_topic *other = &body->topic_data[t];
        if (t != at_topic &&
            (!str_eq(other->name, topic->name) || !uuid_eq(other->topic_id, topic->topic_id)))
            continue;
        for (int32_t p = t == at_topic ? at + 1 : 0; p < other->partition_data_len; p++) {
            if (other->partition_data[p].index == index)
                return true;
        }
    }
    return false;
}

/* The answer's entry of a topic: one, though the request may name it more than once. */
static struct produce_response_topic *answer_topic(struct produce_response *response,
                                                   const struct produce_request_topic *in)
{
    for (int32_t t = 0; t < response->responses_len; t++) {
        struct produce_response_topic *topic = &response->responses[t];
        if (str_eq(topic->name, in->name) && uuid_eq(topic->topic_id, in->topic_id))
            return topic;
    }
    struct produce_response_topic *topic = &response->responses[response->responses_len++];
    topic->name = in->name;
    topic->topic_id = in->topic_id;
    return topic;
}

static bool has_transactional_batch(const struct produce_request *body)
{
    for (int32_t t = 0; t < body->topic_data_len; t++) {
        for (int32_t p = 0; p < body->topic_data[t].partition_data_len; p++) {
            struct batch batch;
            if (batch_load(body->topic_data[t].partition_data[p].records, &batch) == ERR_OK &&
                batch_is_transactional(&batch))
                return true;
        }
    }
    return false;
}

/* Why nothing of the request is appended. */
static enum err check_request(const struct produce_request *body)
{
    if (has_transactional_batch(body))
        return str_is_null(body->transactional_id) ? ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                                                   : ERR_INVALID_TXN_STATE;
    if (body->acks < ACKS_ALL || body->acks > 1)
        return ERR_INVALID_REQUIRED_ACKS;
    return ERR_OK;
}

static void begin_topic(struct request *req, struct produce_own *own, int32_t at, enum err refusal,
                        struct produce_response_partition *room)
{
    const struct produce_request *body = req->body;
    const struct produce_request_topic *in = &body->topic_data[at];
    struct produce_response_topic *out = answer_topic(req->response, in);
    bool by_id = req->header.api_version >= VERSION_BY_ID;
    enum err err;
    const struct topic_image *topic = request_topic(req, in->name, in->topic_id, &err);
    if (by_id && uuid_is_zero(in->topic_id))
        err = ERR_UNKNOWN_TOPIC_ID;
    if (!out->partition_responses)
        out->partition_responses = room;
    for (int32_t i = 0; i < in->partition_data_len; i++) {
        if (is_superseded(body, at, i))
            continue;
        struct produce_part *part = &own->parts[own->count++];
        part->in = &in->partition_data[i];
        scatter_op_aim(&part->op, topic, refusal != ERR_OK ? refusal : err, part->in->index);
        if (topic)
            part->topic = arena_str(&req->arena, topic->name);
        part->out = &out->partition_responses[out->partition_responses_len++];
        part->out->index = part->in->index;
    }
}

void produce_begin(struct request *req)
{
    const struct produce_request *body = req->body;
    struct produce_response *response = req->response;
    size_t count = 0, topic_count = (size_t)body->topic_data_len;
    if (req->header.api_version < VERSION_MIN) {
        request_close(req, "versions 0 to 2 of Produce are not supported");
        return;
    }
    for (size_t t = 0; t < topic_count; t++)
        count += (size_t)body->topic_data[t].partition_data_len;
    struct produce_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->parts = request_array(req, count, sizeof(*own->parts));
    response->responses = MSG_ARRAY(produce_response_topic, &req->arena, topic_count);
    bool is_ok = own && own->parts && response->responses;
    enum err refusal = check_request(body);
    for (int32_t t = 0; is_ok && t < body->topic_data_len; t++) {
        /* Room for the partitions of every entry that names the same topic. */
        struct produce_response_partition *room =
            MSG_ARRAY(produce_response_partition, &req->arena,
                      topic_count == 1 ? (size_t)body->topic_data[t].partition_data_len : count);
        is_ok = room != NULL;
        if (is_ok)
            begin_topic(req, own, t, refusal, room);
    }
    if (is_ok) {
        own->scatter.own = own;
        is_ok = scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts),
                              produce_append, produce_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
