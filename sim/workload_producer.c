/* An idempotent producer with acks=all, as Kafka's clients work: for each partition, batches carry
 * consecutive sequence numbers, at most `depth` are in flight, and after a failure or a broken
 * connection all that is not acknowledged is sent again, in order and unchanged.
 *
 * A broker that, as Kafka's files have it, kept only the last batch of a producer over a restart
 * cannot tell an older repeat from a gap. So a batch that was sent before, with others behind it,
 * may be answered with a sequence error. The producer then does as Kafka's do: it gives up what is
 * not acknowledged and goes on under a new id. */
#include <stdlib.h>

#include "base/assert.h"
#include "sim/workload.h"
#include "wire/batch_builder.h"
#include "wire/errors.h"
#include "wire/messages.h"

#define RETRY_NS UINT64_C(100000000)

enum { API_PRODUCE = 0, API_INIT_PRODUCER_ID = 22 };

struct produce {
    struct kreq req;
    struct workload_producer *producer;
    uint32_t count;
    struct {
        uint32_t partition;
        struct workload_batch *batch;
    } parts[MODEL_PARTITIONS_MAX];
};

static void pump(struct workload_producer *producer);

static void producer_again(struct workload_producer *producer, uint64_t after_ns)
{
    struct io *io = producer->w->io;
    uint64_t at_ns = io_now_ns(io) + after_ns;
    if (!producer->timer.armed || producer->timer.node.key > at_ns)
        io_timer_start(io, &producer->timer, at_ns);
}

/* --- its id --- */

static void on_init(struct kreq *req, const void *response)
{
    struct workload_producer *producer = CONTAINER_OF(req, struct workload_producer, init);
    const struct init_producer_id_response *id = response;
    producer->init_waits = false;
    if (id && id->error_code == 0) {
        workload_learn_id(producer->w, id->producer_id);
        producer->producer_id = id->producer_id;
        producer->producer_epoch = id->producer_epoch;
    } else if (id && !wire_code_is_retriable(id->error_code)) {
        model_fail(producer->w->world, "InitProducerId answers %s", wire_code_name(id->error_code));
    }
    producer_again(producer, RETRY_NS);
}

static void send_init(struct workload_producer *producer)
{
    struct init_producer_id_request msg;
    codec_init(&init_producer_id_request_schema, &msg);
    msg.transactional_id = STR_NULL;
    msg.transaction_timeout_ms = 60000;
    msg.producer_id = -1;
    msg.producer_epoch = -1;
    producer->init_waits =
        kconn_send(&producer->conn, &producer->init, API_INIT_PRODUCER_ID, 4, &msg, on_init);
    if (!producer->init_waits)
        producer_again(producer, RETRY_NS);
}

/* --- batches --- */

static void make_batch(struct workload_producer *producer, uint32_t partition)
{
    struct workload *w = producer->w;
    struct workload_stream *stream = &producer->streams[partition];
    struct workload_batch *batch = calloc(1, sizeof(*batch));
    ASSERT(batch);
    buf_init(&batch->bytes, BUF_NO_LIMIT);
    batch->base_sequence = stream->sequence_next;
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    int32_t level_min, level_max;
    options.compression = w->options.compression;
    compression_levels(options.compression, &level_min, &level_max, &options.level);
    options.producer_id = producer->producer_id;
    options.producer_epoch = producer->producer_epoch;
    options.base_sequence = batch->base_sequence;
    struct batch_builder builder;
    batch_builder_init(&builder, &batch->bytes, &options);
    uint32_t count = 1 + (uint32_t)rng_below(&w->rng, 10);
    for (; batch->count < count; batch->count++) {
        buf_reset(&w->scratch);
        uint32_t n = model_make(&w->model, partition, producer->index, &w->rng, &w->scratch);
        if (batch->count == 0)
            batch->n = n;
        struct record_fields fields = {.timestamp = io_wall_ms(w->io),
                                       .value = buf_slice(&w->scratch)};
        enum err err = batch_builder_append(&builder, &fields);
        ASSERT(err == ERR_OK);
    }
    enum err err = batch_builder_finish(&builder, &w->compressors);
    ASSERT(err == ERR_OK);
    batch_builder_deinit(&builder);
    stream->sequence_next += (int32_t)count;
    list_push_back(&stream->batches, &batch->link);
}

static void batch_free(struct workload_batch *batch)
{
    list_remove(&batch->link);
    buf_deinit(&batch->bytes);
    free(batch);
}

/* The next batch that may go; NULL: none. */
static struct workload_batch *next_to_send(struct workload *w, struct workload_stream *stream)
{
    if (stream->in_flight >= w->options.depth || (stream->is_broken && stream->in_flight > 0))
        return NULL;
    stream->is_broken = false;
    LIST_FOREACH (node, &stream->batches) {
        struct workload_batch *batch = LIST_ENTRY(node, struct workload_batch, link);
        if (!batch->in_flight)
            return batch;
    }
    return NULL;
}

/* --- answers --- */

static void batch_acked(struct workload_producer *producer, uint32_t partition,
                        struct workload_batch *batch, int64_t base_offset)
{
    struct workload *w = producer->w;
    if (base_offset < 0)
        model_fail(w->world, "partition %u: records are acknowledged at offset %lld", partition,
                   (long long)base_offset);
    model_acked(&w->model, partition, producer->index, batch->n, batch->count, base_offset);
    w->acked_batches++;
    producer->acked++;
    batch_free(batch);
}

static void give_up(struct workload_producer *producer)
{
    struct workload *w = producer->w;
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        struct workload_stream *stream = &producer->streams[p];
        LIST_FOREACH_SAFE (node, &stream->batches) {
            struct workload_batch *batch = LIST_ENTRY(node, struct workload_batch, link);
            model_give_up(&w->model, p, producer->index, batch->n, batch->count);
            batch->is_given_up = true;
            if (batch->in_flight)
                list_remove(&batch->link); /* its answer frees it */
            else
                batch_free(batch);
        }
        stream->sequence_next = 0;
        stream->is_broken = true;
    }
    producer->producer_id = -1;
}

static void batch_failed(struct workload_producer *producer, uint32_t partition,
                         struct workload_batch *batch, int16_t code)
{
    struct workload *w = producer->w;
    struct workload_stream *stream = &producer->streams[partition];
    enum err err = wire_err_of_code(code);
    bool is_sequence =
        err == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER || err == ERR_DUPLICATE_SEQUENCE_NUMBER;
    bool is_first = stream->batches.next == &batch->link;
    if (is_sequence && is_first && batch->sends > 1 && w->options.depth > 1) {
        give_up(producer);
        return;
    }
    bool is_follow_up = err == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER && !is_first;
    if (!is_follow_up && !wire_code_is_retriable(code))
        model_fail(w->world,
                   "partition %u: records from %u on of producer %u (id %lld, sequence "
                   "%d, sent %u times) are answered with %s",
                   partition, batch->n, producer->index, (long long)producer->producer_id,
                   batch->base_sequence, batch->sends, wire_code_name(code));
    stream->is_broken = true;
}

static const struct produce_response_partition *find_answer(const struct produce_response *answer,
                                                            uint32_t partition)
{
    for (int32_t t = 0; answer && t < answer->responses_len; t++) {
        const struct produce_response_topic *topic = &answer->responses[t];
        for (int32_t i = 0; i < topic->partition_responses_len; i++) {
            if (topic->partition_responses[i].index == (int32_t)partition)
                return &topic->partition_responses[i];
        }
    }
    return NULL;
}

static void on_produced(struct kreq *req, const void *response)
{
    struct produce *produce = CONTAINER_OF(req, struct produce, req);
    struct workload_producer *producer = produce->producer;
    bool failed = !response;
    for (uint32_t i = 0; i < produce->count; i++) {
        uint32_t partition = produce->parts[i].partition;
        struct workload_stream *stream = &producer->streams[partition];
        struct workload_batch *batch = produce->parts[i].batch;
        const struct produce_response_partition *part = find_answer(response, partition);
        stream->in_flight--;
        if (response && !part)
            model_fail(producer->w->world, "Produce gives no answer for partition %u", partition);
        batch->in_flight = false;
        if (batch->is_given_up && (!part || part->error_code != 0)) {
            batch_free(batch);
        } else if (!part) {
            stream->is_broken = true;
        } else if (part->error_code == 0) {
            batch_acked(producer, partition, batch, part->base_offset);
        } else {
            failed = true;
            batch_failed(producer, partition, batch, part->error_code);
        }
    }
    free(produce);
    producer_again(producer, failed ? RETRY_NS : workload_think_ns(producer->w));
}

/* --- sending --- */

static void send_produce(struct workload_producer *producer, struct produce *produce)
{
    struct workload *w = producer->w;
    struct produce_request msg;
    codec_init(&produce_request_schema, &msg);
    msg.transactional_id = STR_NULL;
    msg.acks = -1;
    msg.timeout_ms = 10000;
    msg.topic_data_len = 1;
    msg.topic_data = MSG_ARRAY(produce_request_topic, &w->arena, 1);
    if (w->options.produce_version >= 13)
        msg.topic_data[0].topic_id = w->topic_id;
    else
        msg.topic_data[0].name = STR("events");
    msg.topic_data[0].partition_data_len = (int32_t)produce->count;
    msg.topic_data[0].partition_data =
        MSG_ARRAY(produce_request_partition, &w->arena, produce->count);
    for (uint32_t i = 0; i < produce->count; i++) {
        msg.topic_data[0].partition_data[i].index = (int32_t)produce->parts[i].partition;
        msg.topic_data[0].partition_data[i].records = buf_slice(&produce->parts[i].batch->bytes);
    }
    bool sent = kconn_send(&producer->conn, &produce->req, API_PRODUCE, w->options.produce_version,
                           &msg, on_produced);
    arena_reset(&w->arena);
    if (!sent)
        on_produced(&produce->req, NULL);
}

static void pump(struct workload_producer *producer)
{
    struct workload *w = producer->w;
    struct produce *produce = calloc(1, sizeof(*produce));
    ASSERT(produce);
    produce->producer = producer;
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        struct workload_stream *stream = &producer->streams[p];
        struct workload_batch *batch = next_to_send(w, stream);
        if (!batch)
            continue;
        batch->in_flight = true;
        batch->sends++;
        stream->in_flight++;
        produce->parts[produce->count].partition = p;
        produce->parts[produce->count++].batch = batch;
    }
    if (produce->count > 0)
        send_produce(producer, produce);
    else
        free(produce);
}

static bool may_make(const struct workload_producer *producer, uint32_t partition)
{
    const struct workload *w = producer->w;
    return !w->is_stopping &&
           w->model.partitions[partition].made[producer->index] < w->options.records_max;
}

static void on_producer_timer(struct io_timer *timer)
{
    struct workload_producer *producer = CONTAINER_OF(timer, struct workload_producer, timer);
    struct workload *w = producer->w;
    if (!w->is_ready) {
        producer_again(producer, RETRY_NS);
        return;
    }
    if (producer->producer_id < 0) {
        if (!producer->init_waits)
            send_init(producer);
        return;
    }
    bool is_last_call = producer->last_calls < w->last_calls;
    producer->last_calls = w->last_calls;
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        if (is_last_call || (may_make(producer, p) && rng_chance(&w->rng, 1, 2)))
            make_batch(producer, p);
    }
    pump(producer);
    producer_again(producer, workload_think_ns(w));
}

bool producer_is_done(const struct workload_producer *producer)
{
    if (producer->last_calls < producer->w->last_calls)
        return false;
    for (uint32_t p = 0; p < producer->w->options.partitions; p++) {
        if (may_make(producer, p) || !list_is_empty(&producer->streams[p].batches))
            return false;
    }
    return true;
}

void producer_start(struct workload_producer *producer, struct workload *w, uint32_t index)
{
    *producer = (struct workload_producer){.w = w, .index = index, .producer_id = -1};
    for (size_t i = 0; i < MODEL_PARTITIONS_MAX; i++)
        list_init(&producer->streams[i].batches);
    kconn_init(&producer->conn, w->world, w->io, w->host, w->port);
    io_timer_init(&producer->timer, on_producer_timer);
    producer_again(producer, workload_think_ns(w));
}
