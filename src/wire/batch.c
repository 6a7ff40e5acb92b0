/* The record batch, magic 2: loading, walking, stamping.
 *
 * All numbers are big-endian:
 *
 *    0  8  base offset             offset of the first record; the broker writes it
 *    8  4  length                  bytes after this field: size of the batch - 12
 *   12  4  partition leader epoch  the broker writes it
 *   16  1  magic                   2
 *   17  4  crc                     CRC32C of byte 21 to the end
 *   21  2  attributes              bits 0-2 compression, 3 log append time, 4 transactional,
 *                                  5 control, 6 delete horizon
 *   23  4  last offset delta       stays when compaction removes records
 *   27  8  base timestamp          records count from it
 *   35  8  max timestamp           or, with log append time, the time of all records
 *   43  8  producer id             -1: none
 *   51  2  producer epoch
 *   53  4  base sequence
 *   57  4  record count
 *   61     records, compressed together
 *
 * A record, its numbers zigzag varints:
 *
 *   length of what follows, attributes (one byte, unused), timestamp delta, offset delta,
 *   key length (negative: null), key, value length (negative: null), value,
 *   header count, then for each: key length, key, value length (negative: null), value
 *
 * Everything here is a pure function of bytes, on any thread. Bytes are never trusted. */
#include "wire/batch.h"

#include "base/assert.h"
#include "base/crc32c.h"

/* The shortest batch of any magic, without the log overhead: what Kafka demands of a length before
 * it looks at the magic. */
#define LENGTH_MIN_ANY_MAGIC 14

enum err batch_load(struct slice bytes, struct batch *batch)
{
    const uint8_t *data = bytes.data;
    if (bytes.len < BATCH_LOG_OVERHEAD)
        return ERR_TRUNCATED;
    int64_t size = batch_size_peek(data);
    if (size < (int64_t)BATCH_LOG_OVERHEAD + LENGTH_MIN_ANY_MAGIC)
        return ERR_CORRUPT_MESSAGE;
    if (bytes.len <= BATCH_AT_MAGIC)
        return ERR_TRUNCATED;
    if (data[BATCH_AT_MAGIC] > BATCH_MAGIC)
        return ERR_CORRUPT_MESSAGE;
    if ((uint64_t)size > bytes.len)
        return ERR_TRUNCATED;
    if (data[BATCH_AT_MAGIC] != BATCH_MAGIC)
        return ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
    if (size < (int64_t)BATCH_HEADER_BYTES)
        return ERR_CORRUPT_MESSAGE;
    *batch = (struct batch){
        .data = data,
        .size = (size_t)size,
        .base_offset = (int64_t)be64_load(data + BATCH_AT_BASE_OFFSET),
        .leader_epoch = (int32_t)be32_load(data + BATCH_AT_LEADER_EPOCH),
        .crc = be32_load(data + BATCH_AT_CRC),
        .attributes = (int16_t)be16_load(data + BATCH_AT_ATTRIBUTES),
        .last_offset_delta = (int32_t)be32_load(data + BATCH_AT_LAST_OFFSET_DELTA),
        .base_timestamp = (int64_t)be64_load(data + BATCH_AT_BASE_TIMESTAMP),
        .max_timestamp = (int64_t)be64_load(data + BATCH_AT_MAX_TIMESTAMP),
        .producer_id = (int64_t)be64_load(data + BATCH_AT_PRODUCER_ID),
        .producer_epoch = (int16_t)be16_load(data + BATCH_AT_PRODUCER_EPOCH),
        .base_sequence = (int32_t)be32_load(data + BATCH_AT_BASE_SEQUENCE),
        .count = (int32_t)be32_load(data + BATCH_AT_COUNT),
    };
    /* Wraps rather than overflows: the offset of a hostile batch may be anything. */
    batch->last_offset =
        (int64_t)((uint64_t)batch->base_offset + (uint64_t)(int64_t)batch->last_offset_delta);
    return ERR_OK;
}

uint32_t batch_crc_compute(struct slice bytes)
{
    ASSERT(bytes.len >= BATCH_HEADER_BYTES);
    return crc32c(0, slice_of(bytes.data + BATCH_AT_ATTRIBUTES, bytes.len - BATCH_AT_ATTRIBUTES));
}

bool batch_crc_is_valid(const struct batch *batch)
{
    return batch->crc == batch_crc_compute(batch_bytes(batch));
}

void batches_init(struct batches *batches, struct slice bytes)
{
    *batches = (struct batches){.left = bytes};
}

bool batches_next(struct batches *batches, struct batch *batch)
{
    if (batches->left.len == 0 || batches->err != ERR_OK)
        return false;
    batches->err = batch_load(batches->left, batch);
    if (batches->err != ERR_OK)
        return false;
    batches->left = slice_of(batches->left.data + batch->size, batches->left.len - batch->size);
    return true;
}

size_t batches_whole(struct slice bytes, int64_t *end_offset)
{
    size_t at = 0;
    while (bytes.len - at >= BATCH_HEADER_BYTES) {
        const uint8_t *data = bytes.data + at;
        int64_t size = batch_size_peek(data);
        if (size < (int64_t)BATCH_HEADER_BYTES || size > (int64_t)(bytes.len - at))
            break;
        uint64_t last_delta = (uint64_t)(int32_t)be32_load(data + BATCH_AT_LAST_OFFSET_DELTA);
        *end_offset = (int64_t)(be64_load(data + BATCH_AT_BASE_OFFSET) + last_delta + 1);
        at += (size_t)size;
    }
    return at;
}

/* --- records --- */

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static size_t cursor_left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

/* The numbers of a usual record take one or two bytes. Returns how many, or 0 for the long way. */
static inline size_t varint_short(const struct cursor *cursor, uint32_t *raw)
{
    size_t left = cursor_left(cursor);
    if (left > 0 && cursor->at[0] < 0x80) {
        *raw = cursor->at[0];
        return 1;
    }
    if (left < 2)
        return 0;
    uint32_t second = cursor->at[1];
    *raw = (cursor->at[0] & 0x7fu) | second << 7;
    return second < 0x80 ? 2 : 0;
}

static inline bool take_varint32(struct cursor *cursor, int32_t *value)
{
    uint32_t raw;
    size_t taken = varint_short(cursor, &raw);
    if (__builtin_expect(taken == 0, 0)) {
        taken = uvarint32_load(cursor->at, cursor_left(cursor), &raw);
        if (taken == 0)
            return false;
    }
    cursor->at += taken;
    *value = zigzag32_decode(raw);
    return true;
}

static inline bool take_varint64(struct cursor *cursor, int64_t *value)
{
    uint32_t low;
    uint64_t raw;
    size_t taken = varint_short(cursor, &low);
    if (__builtin_expect(taken > 0, 1)) {
        raw = low;
    } else {
        taken = uvarint64_load(cursor->at, cursor_left(cursor), &raw);
        if (taken == 0)
            return false;
    }
    cursor->at += taken;
    *value = zigzag64_decode(raw);
    return true;
}

/* A length, negative for null, and as many bytes. */
static inline bool take_bytes(struct cursor *cursor, struct slice *bytes)
{
    int32_t len;
    if (!take_varint32(cursor, &len))
        return false;
    if (len < 0) {
        *bytes = SLICE_NULL;
        return true;
    }
    if ((size_t)len > cursor_left(cursor))
        return false;
    *bytes = slice_of(cursor->at, (size_t)len);
    cursor->at += len;
    return true;
}

static bool take_header(struct cursor *cursor, struct record_header *header)
{
    struct slice key;
    if (!take_bytes(cursor, &key) || !key.data)
        return false;
    header->key = (struct str){(const char *)key.data, key.len};
    return take_bytes(cursor, &header->value);
}

bool record_header_next(struct slice *headers, struct record_header *header)
{
    struct cursor cursor = {headers->data, headers->data + headers->len};
    if (headers->len == 0)
        return false;
    bool taken = take_header(&cursor, header);
    ASSERT(taken); /* records_next has walked them */
    *headers = slice_of(cursor.at, cursor_left(&cursor));
    return true;
}

/* The headers must fill the record to its end. */
static bool take_headers(struct cursor *cursor, struct record *record)
{
    if (!take_varint32(cursor, &record->header_count) || record->header_count < 0)
        return false;
    record->headers = slice_of(cursor->at, cursor_left(cursor));
    struct record_header header;
    for (int32_t i = 0; i < record->header_count; i++) {
        if (!take_header(cursor, &header))
            return false;
    }
    return cursor->at == cursor->end;
}

enum err records_init(struct records *records, const struct batch *batch, struct compressors *c,
                      struct buf *scratch)
{
    ASSERT(batch->size >= BATCH_HEADER_BYTES);
    enum compression compression;
    if (!batch_compression(batch, &compression))
        return ERR_UNSUPPORTED_COMPRESSION_TYPE;
    if (batch->count < 0)
        return ERR_INVALID_RECORD;
    struct slice body =
        slice_of(batch->data + BATCH_HEADER_BYTES, batch->size - BATCH_HEADER_BYTES);
    /* A batch that compaction emptied has a compression and no bytes. */
    if (compression != COMPRESSION_NONE && (batch->count > 0 || body.len > 0)) {
        ASSERT(c && scratch);
        buf_reset(scratch);
        enum err err = decompress_bytes(c, compression, body, scratch);
        if (err != ERR_OK)
            return err == ERR_MALFORMED ? ERR_INVALID_RECORD : err;
        body = buf_slice(scratch);
    }
    *records = (struct records){
        .at = body.data,
        .end = body.data + body.len,
        .left = batch->count,
        .base_offset = batch->base_offset,
        .base_timestamp = batch->base_timestamp,
        .log_append_time =
            batch_has_log_append_time(batch) ? batch->max_timestamp : BATCH_TIMESTAMP_NONE,
    };
    return ERR_OK;
}

/* One record off the cursor. */
static inline bool take_record(struct cursor *cursor, const struct records *records,
                               struct record *record)
{
    int32_t len;
    if (!take_varint32(cursor, &len) || len < 1 || (size_t)len > cursor_left(cursor))
        return false;
    struct cursor body = {cursor->at + 1, cursor->at + len}; /* past the attributes */
    int64_t timestamp_delta;
    if (!take_varint64(&body, &timestamp_delta) || !take_varint32(&body, &record->offset_delta) ||
        !take_bytes(&body, &record->key) || !take_bytes(&body, &record->value) ||
        !take_headers(&body, record))
        return false;
    /* Wrapping sums, as these bytes may say anything. */
    record->offset =
        (int64_t)((uint64_t)records->base_offset + (uint64_t)(int64_t)record->offset_delta);
    record->timestamp =
        records->log_append_time != BATCH_TIMESTAMP_NONE
            ? records->log_append_time
            : (int64_t)((uint64_t)records->base_timestamp + (uint64_t)timestamp_delta);
    cursor->at = body.end;
    return true;
}

bool records_next(struct records *records, struct record *record)
{
    if (records->err != ERR_OK)
        return false;
    struct cursor cursor = {records->at, records->end};
    if (records->left == 0) {
        if (cursor.at != cursor.end)
            records->err = ERR_INVALID_RECORD;
        return false;
    }
    if (!take_record(&cursor, records, record)) {
        records->err = ERR_INVALID_RECORD;
        return false;
    }
    records->at = cursor.at;
    records->left--;
    return true;
}

/* --- stamps --- */

void batch_stamp(uint8_t *data, int64_t base_offset, int32_t leader_epoch, struct batch *batch)
{
    be64_store(data + BATCH_AT_BASE_OFFSET, (uint64_t)base_offset);
    be32_store(data + BATCH_AT_LEADER_EPOCH, (uint32_t)leader_epoch);
    if (!batch)
        return;
    ASSERT(batch->data == data);
    batch->base_offset = base_offset;
    batch->last_offset = base_offset + batch->last_offset_delta;
    batch->leader_epoch = leader_epoch;
}

void batch_stamp_timestamp(uint8_t *data, int64_t max_timestamp, bool log_append_time,
                           struct batch *batch)
{
    uint16_t attributes =
        be16_load(data + BATCH_AT_ATTRIBUTES) & (uint16_t)~BATCH_ATTR_LOG_APPEND_TIME;
    if (log_append_time)
        attributes |= BATCH_ATTR_LOG_APPEND_TIME;
    be16_store(data + BATCH_AT_ATTRIBUTES, attributes);
    be64_store(data + BATCH_AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    uint32_t crc = batch_crc_compute(slice_of(data, (size_t)batch_size_peek(data)));
    be32_store(data + BATCH_AT_CRC, crc);
    if (!batch)
        return;
    ASSERT(batch->data == data);
    batch->attributes = (int16_t)attributes;
    batch->max_timestamp = max_timestamp;
    batch->crc = crc;
}

void control_key_store(uint8_t key[CONTROL_KEY_BYTES], enum control_type type)
{
    be16_store(key, 0);
    be16_store(key + 2, (uint16_t)type);
}

enum err control_key_load(struct slice key, int16_t *type)
{
    if (key.len < CONTROL_KEY_BYTES)
        return ERR_INVALID_RECORD;
    *type = (int16_t)be16_load(key.data + 2);
    return ERR_OK;
}
