/* The clients as a whole; see workload.h. */
#include "sim/workload.h"

#include <stdio.h>

#include "base/assert.h"
#include "wire/messages.h"

void workload_init(struct workload *w, struct world *world, struct rng *rng)
{
    *w = (struct workload){.world = world};
    rng_init(&w->rng, rng_u64(rng));
    struct rng *r = &w->rng;
    w->options = (struct workload_options){
        .partitions = 1 + (uint32_t)rng_below(r, 4),
        .producers = 1 + (uint32_t)rng_below(r, 3),
        .readers = 1 + (uint32_t)rng_below(r, 3),
        .depth = 1 + (uint32_t)rng_below(r, 5),
        .think_us_max = 1000 + (uint32_t)rng_below(r, 50000),
        .records_max = 100 + (uint32_t)rng_below(r, 400),
        .produce_version = (int16_t)rng_range(r, produce_request_schema.version_min,
                                              produce_request_schema.version_max),
        .fetch_version = (int16_t)rng_range(r, fetch_request_schema.version_min,
                                            fetch_request_schema.version_max),
        .compression = rng_chance(r, 1, 2) ? COMPRESSION_NONE
                                           : (enum compression)rng_below(r, COMPRESSION_COUNT),
        .segment_ms = 200 + (int32_t)rng_below(r, 10000),
        .index_interval_bytes = (int32_t)rng_below(r, 4097),
        .flush_each = rng_chance(r, 1, 4),
        .hostile = rng_chance(r, 1, 4),
        .members = (uint32_t)rng_below(r, rng_chance(r, 1, 10) ? WORKLOAD_MEMBERS_MAX + 1 : 5),
        .consumers = (uint32_t)rng_below(r, WORKLOAD_CONSUMERS + 1),
    };
    if (w->options.compression == COMPRESSION_ZSTD && w->options.produce_version < 7)
        w->options.produce_version = 7; /* older versions refuse it */
    if (w->options.compression == COMPRESSION_ZSTD && w->options.fetch_version < 10)
        w->options.fetch_version = 10;
    model_init(&w->model, world);
    arena_init(&w->arena, ARENA_NO_LIMIT);
    compressors_init(&w->compressors);
    buf_init(&w->scratch, BUF_NO_LIMIT);
}

void workload_start(struct workload *w, struct io *io, const char *host, uint16_t port)
{
    w->io = io;
    w->host = host;
    w->port = port;
    admin_start(&w->admin, w);
    for (uint32_t i = 0; i < w->options.producers; i++)
        producer_start(&w->producers[i], w, i);
    for (uint32_t i = 0; i < w->options.readers; i++)
        reader_start(&w->readers[i], w);
    for (uint32_t i = 0; i < w->options.members; i++)
        member_start(&w->members[i], w);
    for (uint32_t i = 0; i < w->options.consumers; i++)
        consumer_start(&w->consumers[i], w, i);
    if (w->options.hostile)
        hostile_start(&w->hostile, w);
}

void workload_power_cut(struct workload *w)
{
    model_power_cut(&w->model);
    for (uint32_t i = 0; i < w->options.readers; i++)
        reader_restart(&w->readers[i]);
}

void workload_stop(struct workload *w)
{
    w->is_stopping = true;
    w->last_calls++;
    consumers_stop(w);
    for (uint32_t i = 0; i < w->options.readers; i++)
        reader_restart(&w->readers[i]);
}

static bool group_is_done(const struct workload *w)
{
    return w->options.members == 0 || offsets_are_done(w, &w->group.offsets);
}

static bool consumers_are_done(const struct workload *w)
{
    return w->options.consumers == 0 || offsets_are_done(w, &w->consumer_group.offsets);
}

bool workload_is_done(const struct workload *w)
{
    if (!w->is_ready)
        return false;
    for (uint32_t i = 0; i < w->options.producers; i++) {
        if (!producer_is_done(&w->producers[i]))
            return false;
    }
    for (uint32_t i = 0; i < w->options.readers; i++) {
        if (!reader_is_done(&w->readers[i]))
            return false;
    }
    return group_is_done(w) && consumers_are_done(w);
}

void workload_describe(const struct workload *w, char *text, size_t len)
{
    int at = snprintf(text, len, "topic %s;", w->is_ready ? "is there" : "is not there");
    for (uint32_t i = 0; i < w->options.producers && at >= 0 && (size_t)at < len; i++)
        at += snprintf(text + at, len - (size_t)at, " producer %u %s;", i,
                       producer_is_done(&w->producers[i]) ? "is done"
                       : w->producers[i].producer_id < 0  ? "has no id"
                                                          : "waits for acknowledgements");
    if (at >= 0 && (size_t)at < len)
        at += snprintf(text + at, len - (size_t)at, " the group %s;",
                       !group_is_done(w)        ? "did not commit"
                       : !consumers_are_done(w) ? "of the consumer protocol did not commit"
                                                : "is done");
    for (uint32_t i = 0;
         i < w->options.consumers && !consumers_are_done(w) && at >= 0 && (size_t)at < len; i++)
        at += snprintf(text + at, len - (size_t)at, " %s epoch %d has %x shall have %x%s;",
                       w->consumers[i].id, w->consumers[i].epoch, w->consumers[i].owned,
                       w->consumers[i].wanted, w->consumers[i].req_waits ? " waits" : "");
    for (uint32_t i = 0; i < w->options.readers && at >= 0 && (size_t)at < len; i++) {
        const struct workload_reader *reader = &w->readers[i];
        for (uint32_t p = 0; p < w->options.partitions && (size_t)at < len; p++) {
            if (!model_reader_is_done(&reader->parts[p]))
                at += snprintf(text + at, len - (size_t)at,
                               " reader %u of partition %u is at %lld, %lld are acknowledged;", i,
                               p, (long long)reader->parts[p].next,
                               (long long)w->model.partitions[p].acked_end);
        }
    }
}

void workload_learn_id(struct workload *w, int64_t producer_id)
{
    if (producer_id < 0)
        model_fail(w->world, "the producer id %lld was given out", (long long)producer_id);
    for (uint32_t i = 0; i < w->ids_count; i++) {
        if (w->ids[i] == producer_id)
            model_fail(w->world, "the producer id %lld was given out twice",
                       (long long)producer_id);
    }
    if (w->ids_count < WORKLOAD_IDS_MAX)
        w->ids[w->ids_count++] = producer_id;
}

uint64_t workload_think_ns(struct workload *w)
{
    return (1 + rng_below(&w->rng, w->options.think_us_max)) * 1000;
}
