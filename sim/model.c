/* See model.h.
 *
 * A record's value:
 *    0  u32 producer
 *    4  u32 partition
 *    8  u32 n
 *   12  u32 length of the filler
 *   16  filler, a function of the four above
 * so that a reader can tell what it should hold from itself. */
#include "sim/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "sim/world.h"

#define VALUE_HEADER_BYTES 16

void model_fail(const struct world *world, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(stderr, "seed %llu: wrong at %.6f s: %s\n", (unsigned long long)world->seed,
            (double)world->now_ns / 1e9, text);
    fflush(NULL);
    _Exit(MODEL_EXIT_CORRECTNESS);
}

void model_init(struct model *model, struct world *world)
{
    *model = (struct model){.world = world};
}

void model_deinit(struct model *model)
{
    for (size_t i = 0; i < MODEL_PARTITIONS_MAX; i++) {
        free(model->partitions[i].at);
        for (size_t p = 0; p < MODEL_PRODUCERS_MAX; p++) {
            free(model->partitions[i].offsets[p]);
            free(model->partitions[i].may_miss[p]);
        }
    }
}

static uint8_t filler_at(const uint8_t header[VALUE_HEADER_BYTES], size_t i)
{
    return (uint8_t)(header[i % 12] * 7 + i * 13 + i / 256);
}

uint32_t model_make(struct model *model, uint32_t partition, uint32_t producer, struct rng *rng,
                    struct buf *out)
{
    struct model_partition *part = &model->partitions[partition];
    uint32_t n = part->made[producer]++;
    size_t filler = (size_t)rng_below(rng, rng_chance(rng, 1, 50) ? 20000 : 300);
    uint8_t header[VALUE_HEADER_BYTES];
    be32_store(header, producer);
    be32_store(header + 4, partition);
    be32_store(header + 8, n);
    be32_store(header + 12, (uint32_t)filler);
    buf_put(out, header, sizeof(header));
    for (size_t i = 0; i < filler; i++)
        buf_put_u8(out, filler_at(header, i));
    ASSERT(out->err == ERR_OK);

    if (n >= part->offsets_cap[producer]) {
        uint32_t cap = part->offsets_cap[producer] ? part->offsets_cap[producer] * 2 : 256;
        part->offsets[producer] = realloc(part->offsets[producer], cap * sizeof(int64_t));
        part->may_miss[producer] = realloc(part->may_miss[producer], cap * sizeof(bool));
        ASSERT(part->offsets[producer] && part->may_miss[producer]);
        part->offsets_cap[producer] = cap;
    }
    part->offsets[producer][n] = -1;
    part->may_miss[producer][n] = false;
    return n;
}

void model_give_up(struct model *model, uint32_t partition, uint32_t producer, uint32_t n,
                   uint32_t count)
{
    struct model_partition *part = &model->partitions[partition];
    for (uint32_t i = n; i < n + count; i++)
        part->may_miss[producer][i] = true;
}

static struct model_record *record_at(struct model_partition *part, int64_t offset)
{
    while (offset >= part->cap) {
        int64_t cap = part->cap ? part->cap * 2 : 1024;
        part->at = realloc(part->at, (size_t)cap * sizeof(*part->at));
        ASSERT(part->at);
        for (int64_t i = part->cap; i < cap; i++)
            part->at[i] = (struct model_record){false, 0, 0};
        part->cap = cap;
    }
    if (offset >= part->count)
        part->count = offset + 1;
    return &part->at[offset];
}

/* `how`: "acknowledged" or "read". */
static void learn(struct model *model, uint32_t partition, int64_t offset, uint32_t producer,
                  uint32_t n, const char *how)
{
    struct model_partition *part = &model->partitions[partition];
    if (offset < 0 || offset > INT32_MAX)
        model_fail(model->world, "partition %u: record %u of producer %u was %s at offset %lld",
                   partition, n, producer, how, (long long)offset);
    struct model_record *record = record_at(part, offset);
    if (record->is_known && (record->producer != producer || record->n != n))
        model_fail(model->world,
                   "partition %u offset %lld: record %u of producer %u was %s where record %u of "
                   "producer %u had been",
                   partition, (long long)offset, n, producer, how, record->n, record->producer);
    int64_t *known = &part->offsets[producer][n];
    if (*known >= 0 && *known != offset)
        model_fail(model->world,
                   "partition %u: record %u of producer %u was %s at offset %lld, and before at "
                   "%lld",
                   partition, n, producer, how, (long long)offset, (long long)*known);
    *record = (struct model_record){true, producer, n};
    *known = offset;
}

void model_acked(struct model *model, uint32_t partition, uint32_t producer, uint32_t n,
                 uint32_t count, int64_t base_offset)
{
    struct model_partition *part = &model->partitions[partition];
    for (uint32_t i = 0; i < count; i++)
        learn(model, partition, base_offset + i, producer, n + i, "acknowledged");
    if (base_offset + count > part->acked_end)
        part->acked_end = base_offset + count;
}

void model_power_cut(struct model *model)
{
    for (size_t p = 0; p < MODEL_PARTITIONS_MAX; p++) {
        struct model_partition *part = &model->partitions[p];
        for (int64_t offset = part->acked_end; offset < part->count; offset++) {
            struct model_record *record = &part->at[offset];
            if (record->is_known)
                part->offsets[record->producer][record->n] = -1;
            record->is_known = false;
        }
        if (part->count > part->acked_end)
            part->count = part->acked_end;
    }
}

void model_reader_init(struct model_reader *reader, struct model *model, uint32_t partition)
{
    *reader = (struct model_reader){.model = model, .partition = partition};
}

/* The three numbers, checked against what was made. */
static void value_parse(struct model_reader *reader, int64_t offset, struct slice value,
                        uint32_t *producer, uint32_t *n)
{
    const struct model *model = reader->model;
    const struct model_partition *part = &model->partitions[reader->partition];
    if (value.len < VALUE_HEADER_BYTES ||
        value.len != VALUE_HEADER_BYTES + (size_t)be32_load(value.data + 12) ||
        be32_load(value.data) >= MODEL_PRODUCERS_MAX ||
        be32_load(value.data + 4) != reader->partition ||
        be32_load(value.data + 8) >= part->made[be32_load(value.data)])
        model_fail(model->world, "partition %u offset %lld: a record that nobody made",
                   reader->partition, (long long)offset);
    for (size_t i = 0; i < value.len - VALUE_HEADER_BYTES; i++) {
        if (value.data[VALUE_HEADER_BYTES + i] != filler_at(value.data, i))
            model_fail(model->world, "partition %u offset %lld: the record's content changed",
                       reader->partition, (long long)offset);
    }
    *producer = be32_load(value.data);
    *n = be32_load(value.data + 8);
}

/* What was given up may be missing, and come late: the rest of a producer's records is in order. */
static void check_order(struct model_reader *reader, int64_t offset, uint32_t producer, uint32_t n)
{
    const struct model_partition *part = &reader->model->partitions[reader->partition];
    const bool *may_miss = part->may_miss[producer];
    if (may_miss[n])
        return;
    uint32_t *next = &reader->seen[producer];
    while (*next < n && may_miss[*next])
        (*next)++;
    if (*next != n)
        model_fail(reader->model->world,
                   "partition %u offset %lld: record %u of producer %u was read where %u is next",
                   reader->partition, (long long)offset, n, producer, *next);
    (*next)++;
}

bool model_reader_is_done(const struct model_reader *reader)
{
    const struct model_partition *part = &reader->model->partitions[reader->partition];
    for (size_t p = 0; p < MODEL_PRODUCERS_MAX; p++) {
        uint32_t next = reader->seen[p];
        while (next < part->made[p] && part->may_miss[p][next])
            next++;
        if (next < part->made[p])
            return false;
    }
    return reader->next >= part->acked_end;
}

void model_read(struct model_reader *reader, int64_t offset, struct slice value)
{
    struct model *model = reader->model;
    uint32_t producer, n;
    if (offset != reader->next)
        model_fail(model->world, "partition %u: offset %lld was read where %lld is next",
                   reader->partition, (long long)offset, (long long)reader->next);
    value_parse(reader, offset, value, &producer, &n);
    check_order(reader, offset, producer, n);
    reader->next++;
    learn(model, reader->partition, offset, producer, n, "read");
}
