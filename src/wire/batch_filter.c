/* Taking records out of a batch.
 *
 * The batch keeps its base offset, its last offset delta, its producer's fields and its leader
 * epoch, so that offsets and sequences mean what they meant; records keep their offset deltas. Its
 * greatest timestamp is that of the records left, or, where the broker stamped them, as it was. The
 * compression stays, at its default level. Two special cases:
 *
 *   - A batch with a tombstone, or a marker that is to go, gets a delete horizon once: bit 6 of the
 * attributes, and the time in the base timestamp's place, from which the records' timestamps are
 * then counted.
 *   - A batch without records is a header alone: count 0, no compression, base timestamp -1.
 *
 * Runs on any thread. */
#include "wire/batch_filter.h"

#include "base/assert.h"

#define BATCH_BYTES_MAX ((size_t)INT32_MAX)
#define RECORDS_AHEAD   16

void batch_filter_init(struct batch_filter *filter, batch_keep_fn *keep, void *arg,
                       size_t unpacked_max)
{
    *filter = (struct batch_filter){.keep = keep, .arg = arg};
    buf_init(&filter->unpacked, unpacked_max);
    buf_init(&filter->plain, BATCH_BYTES_MAX);
    buf_init(&filter->kept, BATCH_BYTES_MAX);
}

void batch_filter_deinit(struct batch_filter *filter)
{
    buf_deinit(&filter->unpacked);
    buf_deinit(&filter->plain);
    buf_deinit(&filter->kept);
}

/* What is left of a batch's records. */
struct remains {
    int32_t count;
    bool has_tombstones; /* or what is treated so */
    int64_t first_timestamp;
    int64_t max_timestamp;
};

static void foresee(const struct batch_filter *filter, struct records *ahead, int count)
{
    struct record record;
    while (filter->foresee && count-- > 0 && records_next(ahead, &record))
        filter->foresee(filter->arg, &record);
}

/* To ask costs a look into a large table: each record is asked once, and foreseen. */
static enum err count_kept(struct batch_filter *filter, struct records records,
                           struct remains *remains)
{
    struct record record;
    *remains = (struct remains){.max_timestamp = BATCH_TIMESTAMP_NONE};
    buf_reset(&filter->kept);
    struct records ahead = records;
    foresee(filter, &ahead, RECORDS_AHEAD);
    for (size_t at = 0; records_next(&records, &record); at++) {
        foresee(filter, &ahead, 1);
        if (at % 8 == 0)
            buf_put_u8(&filter->kept, 0);
        TRY(filter->kept.err);
        if (!filter->keep(filter->arg, &record))
            continue;
        filter->kept.data[at / 8] |= (uint8_t)(1 << at % 8);
        if (remains->count++ == 0)
            remains->first_timestamp = record.timestamp;
        if (record.timestamp > remains->max_timestamp)
            remains->max_timestamp = record.timestamp;
        remains->has_tombstones |= !record.value.data;
    }
    return records.err;
}

static size_t bytes_size(struct slice bytes)
{
    return bytes.data ? uvarint64_size(zigzag64_encode((int64_t)bytes.len)) + bytes.len : 1;
}

static void put_bytes(struct buf *buf, struct slice bytes)
{
    buf_put_varint(buf, bytes.data ? (int64_t)bytes.len : -1);
    buf_put(buf, bytes.data, bytes.len);
}

static void put_record(struct buf *buf, const struct record *record, int64_t base_timestamp)
{
    int64_t timestamp_delta = (int64_t)((uint64_t)record->timestamp - (uint64_t)base_timestamp);
    size_t len = 1 + uvarint64_size(zigzag64_encode(timestamp_delta)) +
                 uvarint64_size(zigzag64_encode(record->offset_delta)) + bytes_size(record->key) +
                 bytes_size(record->value) + uvarint64_size(zigzag64_encode(record->header_count)) +
                 record->headers.len;
    buf_put_varint(buf, (int64_t)len);
    buf_put_u8(buf, 0);
    buf_put_varint(buf, timestamp_delta);
    buf_put_varint(buf, record->offset_delta);
    put_bytes(buf, record->key);
    put_bytes(buf, record->value);
    buf_put_varint(buf, record->header_count);
    buf_put(buf, record->headers.data, record->headers.len);
}

/* Fills in the header of the batch that begins at `start`; the fields not named are the old
 * batch's. */
static enum err finish(const struct batch *batch, size_t start, unsigned attributes,
                       int64_t base_timestamp, int64_t max_timestamp, int32_t count,
                       struct buf *out)
{
    uint8_t *data = out->data + start;
    size_t size = out->len - start;
    if (size > BATCH_BYTES_MAX)
        return ERR_LIMIT;
    memcpy(data, batch->data, BATCH_HEADER_BYTES);
    be32_store(data + BATCH_AT_LENGTH, (uint32_t)(size - BATCH_LOG_OVERHEAD));
    be16_store(data + BATCH_AT_ATTRIBUTES, (uint16_t)attributes);
    be64_store(data + BATCH_AT_BASE_TIMESTAMP, (uint64_t)base_timestamp);
    be64_store(data + BATCH_AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    be32_store(data + BATCH_AT_COUNT, (uint32_t)count);
    be32_store(data + BATCH_AT_CRC, batch_crc_compute(slice_of(data, size)));
    return ERR_OK;
}

static enum err put_empty(const struct batch *batch, struct buf *out)
{
    size_t start = out->len;
    if (!buf_extend(out, BATCH_HEADER_BYTES))
        return out->err;
    unsigned attributes = (uint16_t)batch->attributes &
                          ~(unsigned)(BATCH_ATTR_COMPRESSION | BATCH_ATTR_DELETE_HORIZON);
    return finish(batch, start, attributes, BATCH_TIMESTAMP_NONE, batch->max_timestamp, 0, out);
}

static enum err put_kept(struct batch_filter *filter, struct compressors *c,
                         const struct batch *batch, struct records records,
                         const struct remains *remains, struct buf *out)
{
    bool has_horizon = (batch->attributes & BATCH_ATTR_DELETE_HORIZON) != 0;
    int64_t base_timestamp = has_horizon               ? batch->base_timestamp
                             : remains->has_tombstones ? filter->delete_horizon_ms
                                                       : remains->first_timestamp;
    unsigned attributes = (uint16_t)batch->attributes;
    if (remains->has_tombstones)
        attributes |= BATCH_ATTR_DELETE_HORIZON;
    enum compression compression;
    bool is_known = batch_compression(batch, &compression);
    ASSERT(is_known); /* the records were read */
    size_t start = out->len;
    if (!buf_extend(out, BATCH_HEADER_BYTES))
        return out->err;
    struct buf *buf = compression == COMPRESSION_NONE ? out : &filter->plain;
    buf_reset(&filter->plain);
    struct record record;
    for (size_t at = 0; records_next(&records, &record); at++) {
        if (filter->kept.data[at / 8] >> at % 8 & 1)
            put_record(buf, &record, base_timestamp);
    }
    TRY(records.err);
    TRY(buf->err);
    if (compression != COMPRESSION_NONE) {
        int32_t min, max, level;
        compression_levels(compression, &min, &max, &level);
        TRY(compress_bytes(c, compression, level, buf_slice(buf), out));
    }
    int64_t max_timestamp =
        batch_has_log_append_time(batch) ? batch->max_timestamp : remains->max_timestamp;
    return finish(batch, start, attributes, base_timestamp, max_timestamp, remains->count, out);
}

static enum err apply(struct batch_filter *filter, struct compressors *c, const struct batch *batch,
                      struct buf *out)
{
    struct records records;
    struct remains remains;
    TRY(records_init(&records, batch, c, &filter->unpacked));
    TRY(count_kept(filter, records, &remains));
    remains.has_tombstones |= filter->wants_horizon;
    if (remains.count == 0)
        return filter->keep_empty ? put_empty(batch, out) : ERR_OK;
    bool has_horizon = (batch->attributes & BATCH_ATTR_DELETE_HORIZON) != 0;
    if (remains.count == batch->count && (has_horizon || !remains.has_tombstones)) {
        buf_put(out, batch->data, batch->size);
        return out->err;
    }
    return put_kept(filter, c, batch, records, &remains, out);
}

enum err batch_filter_apply(struct batch_filter *filter, struct compressors *c,
                            const struct batch *batch, struct buf *out)
{
    ASSERT(out->err == ERR_OK);
    size_t start = out->len;
    enum err err = apply(filter, c, batch, out);
    if (err != ERR_OK) {
        out->len = start;
        out->err = ERR_OK;
    }
    return err;
}
