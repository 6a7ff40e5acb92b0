/* A reader of all partitions from offset 0 on, which now and then begins anew. What it read once
 * it must read again; the high watermark must not be below what was acknowledged when it asked. */
#include "base/assert.h"
#include "sim/workload.h"
#include "wire/batch.h"
#include "wire/errors.h"
#include "wire/messages.h"

#define RETRY_NS UINT64_C(100000000)

enum { API_FETCH = 1 };

static void reader_again(struct workload_reader *reader, uint64_t after_ns)
{
    struct io *io = reader->w->io;
    reader->fetch_waits = false;
    io_timer_start(io, &reader->timer, io_now_ns(io) + after_ns);
}

static void read_batch(struct workload_reader *reader, struct model_reader *part,
                       const struct batch *batch)
{
    struct workload *w = reader->w;
    if (!batch_crc_is_valid(batch))
        model_fail(w->world, "partition %u offset %lld: a batch was read whose checksum is wrong",
                   part->partition, (long long)batch->base_offset);
    struct records records;
    struct record record;
    enum err err = records_init(&records, batch, &w->compressors, &w->scratch);
    while (err == ERR_OK && records_next(&records, &record)) {
        if (record.offset < part->next)
            continue; /* the front of a batch that was asked for from its middle */
        model_read(part, record.offset, record.value);
        w->read_records++;
    }
    if (err != ERR_OK || records.err != ERR_OK)
        model_fail(w->world, "partition %u offset %lld: the batch's records cannot be read",
                   part->partition, (long long)batch->base_offset);
}

static void read_partition(struct workload_reader *reader,
                           const struct fetch_response_partition *answer)
{
    struct workload *w = reader->w;
    if (answer->partition_index < 0 || (uint32_t)answer->partition_index >= w->options.partitions)
        model_fail(w->world, "Fetch answers for partition %d", answer->partition_index);
    uint32_t p = (uint32_t)answer->partition_index;
    struct model_reader *part = &reader->parts[p];
    if (wire_code_is_retriable(answer->error_code))
        return;
    if (answer->error_code != 0)
        model_fail(w->world, "partition %u: Fetch from %lld answers %s", p, (long long)part->next,
                   wire_code_name(answer->error_code));
    if (answer->high_watermark < reader->acked_end[p])
        model_fail(w->world, "partition %u: the high watermark is %lld, after %lld acknowledged", p,
                   (long long)answer->high_watermark, (long long)reader->acked_end[p]);
    struct batches batches;
    struct batch batch;
    batches_init(&batches, answer->records);
    while (batches_next(&batches, &batch)) {
        if (batch.last_offset >= answer->high_watermark)
            model_fail(w->world, "partition %u: offset %lld was read past the high watermark %lld",
                       p, (long long)batch.last_offset, (long long)answer->high_watermark);
        read_batch(reader, part, &batch);
    }
    if (batches.err != ERR_OK && batches.err != ERR_TRUNCATED)
        model_fail(w->world, "partition %u: what was read from %lld on is not a batch", p,
                   (long long)part->next);
}

static void on_fetched(struct kreq *req, const void *response)
{
    struct workload_reader *reader = CONTAINER_OF(req, struct workload_reader, fetch);
    struct workload *w = reader->w;
    const struct fetch_response *fetched = response;
    reader->fetch_waits = false;
    if (!fetched) {
        reader_again(reader, RETRY_NS);
        return;
    }
    if (fetched->error_code != 0)
        model_fail(w->world, "Fetch answers %s", wire_code_name(fetched->error_code));
    for (int32_t t = 0; t < fetched->responses_len; t++) {
        for (int32_t i = 0; i < fetched->responses[t].partitions_len; i++)
            read_partition(reader, &fetched->responses[t].partitions[i]);
    }
    if (!w->is_stopping && rng_chance(&w->rng, 1, 100))
        reader_restart(reader);
    reader_again(reader, workload_think_ns(w));
}

/* In any order: the first has the best of a limited answer. */
static void fill_partitions(struct workload_reader *reader, struct fetch_request_topic *topic)
{
    struct workload *w = reader->w;
    uint32_t count = w->options.partitions;
    uint32_t first = (uint32_t)rng_below(&w->rng, count);
    topic->partitions_len = (int32_t)count;
    topic->partitions = MSG_ARRAY(fetch_request_partition, &w->arena, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t p = (first + i) % count;
        topic->partitions[i].partition = (int32_t)p;
        topic->partitions[i].current_leader_epoch = -1;
        topic->partitions[i].fetch_offset = reader->parts[p].next;
        topic->partitions[i].log_start_offset = -1;
        topic->partitions[i].partition_max_bytes = (int32_t)(200 + rng_below(&w->rng, 100000));
        reader->acked_end[p] = w->model.partitions[p].acked_end;
    }
}

static void on_reader_timer(struct io_timer *timer)
{
    struct workload_reader *reader = CONTAINER_OF(timer, struct workload_reader, timer);
    struct workload *w = reader->w;
    if (!w->is_ready) {
        reader_again(reader, RETRY_NS);
        return;
    }
    struct fetch_request msg;
    codec_init(&fetch_request_schema, &msg);
    msg.replica_id = -1;
    msg.max_wait_ms = (int32_t)rng_below(&w->rng, 500);
    msg.min_bytes = (int32_t)rng_below(&w->rng, 2);
    msg.max_bytes = (int32_t)(1000 + rng_below(&w->rng, 1000000));
    msg.session_epoch = -1;
    msg.topics_len = 1;
    msg.topics = MSG_ARRAY(fetch_request_topic, &w->arena, 1);
    if (w->options.fetch_version >= 13)
        msg.topics[0].topic_id = w->topic_id;
    else
        msg.topics[0].topic = STR("events");
    fill_partitions(reader, &msg.topics[0]);
    reader->fetch_waits = kconn_send(&reader->conn, &reader->fetch, API_FETCH,
                                     w->options.fetch_version, &msg, on_fetched);
    arena_reset(&w->arena);
    if (!reader->fetch_waits)
        reader_again(reader, RETRY_NS);
}

/* A fetch that is under way then answers for offsets that are not asked for any more. */
void reader_restart(struct workload_reader *reader)
{
    if (reader->fetch_waits)
        kconn_close(&reader->conn); /* what it would bring may not be true any more */
    for (uint32_t p = 0; p < reader->w->options.partitions; p++)
        model_reader_init(&reader->parts[p], &reader->w->model, p);
}

bool reader_is_done(const struct workload_reader *reader)
{
    for (uint32_t p = 0; p < reader->w->options.partitions; p++) {
        if (!model_reader_is_done(&reader->parts[p]))
            return false;
    }
    return true;
}

void reader_start(struct workload_reader *reader, struct workload *w)
{
    *reader = (struct workload_reader){.w = w};
    kconn_init(&reader->conn, w->world, w->io, w->host, w->port);
    io_timer_init(&reader->timer, on_reader_timer);
    reader_restart(reader);
    reader_again(reader, workload_think_ns(w));
}
