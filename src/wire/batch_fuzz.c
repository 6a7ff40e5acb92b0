/* Goal: no bytes make the batch readers misbehave, and what is accepted survives a rewrite.
 * Method: the first input byte chooses rules and a compression, the rest are the records of a
 * produce request. They are walked as they are; then checked, with the right checksum put in where
 * the first byte says so, since guessing it would take for ever; then, if accepted, rewritten and
 * checked again. */
#include "base/assert.h"
#include "wire/batch_builder.h"
#include "wire/batch_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define UNPACKED_BYTES_MAX ((size_t)1 << 20)

static struct compressors compressors;
static struct buf bytes, scratch, again, again_scratch;

static uint64_t walk_records(const struct batch *batch, struct buf *to)
{
    struct records records;
    struct record record;
    uint64_t sum = 0;
    if (records_init(&records, batch, &compressors, to) != ERR_OK)
        return 0;
    while (records_next(&records, &record)) {
        struct record_header header;
        while (record_header_next(&record.headers, &header))
            sum = sum * 31 + header.key.len + header.value.len;
        int16_t type;
        if (control_key_load(record.key, &type) == ERR_OK)
            sum += (uint64_t)type;
        sum = sum * 31 + record.key.len * 7 + record.value.len + (uint64_t)record.timestamp;
    }
    return sum;
}

static void walk(struct slice all)
{
    struct batches batches;
    struct batch batch;
    batches_init(&batches, all);
    while (batches_next(&batches, &batch))
        walk_records(&batch, &scratch);
    ASSERT(batches.left.len <= all.len);
}

static void seal(struct buf *buf)
{
    struct batch batch;
    if (batch_load(buf_slice(buf), &batch) == ERR_OK)
        be32_store(buf->data + BATCH_AT_CRC, batch_crc_compute(batch_bytes(&batch)));
}

static void check_and_rewrite(uint8_t flags)
{
    static struct batch_verdict verdict, verdict_again;
    struct batch_rules rules = {
        .produce_version = flags & 0x10 ? 9 : 3,
        .now_ms = INT64_C(1700000000000),
        .batch_bytes_max = 1 << 20,
        .is_compacted = (flags & 0x20) != 0,
        .has_log_append_time = (flags & 0x40) != 0,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = 3600000,
        .compression = (enum compression)((flags & 7) % COMPRESSION_COUNT),
        .keeps_compression = (flags & 0x08) != 0,
    };
    if (batch_check(&compressors, &scratch, buf_slice(&bytes), &rules, &verdict) != ERR_OK)
        return;
    int32_t min, max, level;
    compression_levels(verdict.compression_out, &min, &max, &level);
    buf_reset(&again);
    enum err err = batch_rewrite(&compressors, &verdict.batch, &scratch, verdict.compression_out,
                                 level, &again);
    ASSERT(err == ERR_OK);
    rules.produce_version = 9;
    rules.batch_bytes_max = INT32_MAX;
    err = batch_check(&compressors, &scratch, buf_slice(&again), &rules, &verdict_again);
    ASSERT(err == ERR_OK);
    ASSERT(!verdict_again.needs_rewrite);
    ASSERT(verdict_again.batch.count == verdict.batch.count);
    ASSERT(walk_records(&verdict_again.batch, &scratch) ==
           walk_records(&verdict.batch, &again_scratch));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    if (scratch.limit == 0) {
        buf_init(&bytes, BUF_NO_LIMIT);
        buf_init(&again, BUF_NO_LIMIT);
        buf_init(&scratch, UNPACKED_BYTES_MAX);
        buf_init(&again_scratch, UNPACKED_BYTES_MAX);
    }
    buf_reset(&bytes);
    buf_put(&bytes, data + 1, len - 1);
    walk(buf_slice(&bytes));
    if (data[0] & 0x80)
        seal(&bytes);
    check_and_rewrite(data[0]);
    return 0;
}
