/* Building and rewriting record batches; the format is at the head of batch.c.
 *
 * Without compression records go to their final place behind a gap for the header; with it they
 * are gathered and compressed at the end. Runs on any thread. */
#include "wire/batch_builder.h"

#include "base/assert.h"

/* Kafka counts a batch's bytes and records in int32. */
#define BATCH_BYTES_MAX ((size_t)INT32_MAX)

void batch_builder_init(struct batch_builder *builder, struct buf *out,
                        const struct batch_options *options)
{
    ASSERT(out->err == ERR_OK);
    *builder = (struct batch_builder){
        .options = *options,
        .out = out,
        .start = out->len,
        .base_timestamp = BATCH_TIMESTAMP_NONE,
        .max_timestamp = BATCH_TIMESTAMP_NONE,
    };
    buf_init(&builder->plain, out->limit);
}

void batch_builder_deinit(struct batch_builder *builder)
{
    buf_deinit(&builder->plain);
    if (!builder->is_finished)
        builder->out->len = builder->start;
}

static bool is_compressed(const struct batch_builder *builder)
{
    return builder->options.compression != COMPRESSION_NONE;
}

static struct buf *records_buf(struct batch_builder *builder)
{
    return is_compressed(builder) ? &builder->plain : builder->out;
}

size_t batch_builder_size(const struct batch_builder *builder)
{
    size_t records = is_compressed(builder) ? builder->plain.len
                                            : builder->out->len - builder->start -
                                                  (builder->count > 0 ? BATCH_HEADER_BYTES : 0);
    return BATCH_HEADER_BYTES + records;
}

static size_t varint_size(int64_t v)
{
    return uvarint64_size(zigzag64_encode(v));
}

static size_t bytes_size(struct slice bytes)
{
    return bytes.data ? varint_size((int64_t)bytes.len) + bytes.len : 1;
}

static void put_bytes(struct buf *buf, struct slice bytes)
{
    buf_put_varint(buf, bytes.data ? (int64_t)bytes.len : -1);
    buf_put(buf, bytes.data, bytes.len);
}

/* A record whose headers are encoded already: what both ways of appending share. */
struct raw_record {
    int64_t timestamp;
    struct slice key;
    struct slice value;
    size_t header_count;
    size_t headers_size;
};

/* Everything up to the headers, with room reserved for those. */
static enum err record_open(struct batch_builder *builder, const struct raw_record *record)
{
    struct buf *buf = records_buf(builder);
    if (builder->count == INT32_MAX || record->key.len > BATCH_BYTES_MAX ||
        record->value.len > BATCH_BYTES_MAX || record->headers_size > BATCH_BYTES_MAX)
        return ERR_LIMIT;
    if (builder->count == 0)
        builder->base_timestamp = record->timestamp;
    int64_t timestamp_delta =
        (int64_t)((uint64_t)record->timestamp - (uint64_t)builder->base_timestamp);
    size_t len = 1 + varint_size(timestamp_delta) + varint_size(builder->count) +
                 bytes_size(record->key) + bytes_size(record->value) +
                 varint_size((int64_t)record->header_count) + record->headers_size;
    size_t gap = builder->count == 0 && !is_compressed(builder) ? BATCH_HEADER_BYTES : 0;
    size_t need = gap + varint_size((int64_t)len) + len;
    if (batch_builder_size(builder) + need > BATCH_BYTES_MAX)
        return ERR_LIMIT;
    if (!buf_reserve(buf, need)) {
        enum err err = buf->err;
        buf->err = ERR_OK;
        return err;
    }
    buf->len += gap;
    buf_put_varint(buf, (int64_t)len);
    buf_put_u8(buf, 0);
    buf_put_varint(buf, timestamp_delta);
    buf_put_varint(buf, builder->count);
    put_bytes(buf, record->key);
    put_bytes(buf, record->value);
    buf_put_varint(buf, (int64_t)record->header_count);
    return ERR_OK;
}

static void record_close(struct batch_builder *builder, const struct raw_record *record)
{
    ASSERT(records_buf(builder)->err == ERR_OK);
    if (builder->count == 0 || record->timestamp > builder->max_timestamp)
        builder->max_timestamp = record->timestamp;
    builder->count++;
}

static struct slice header_key(const struct record_header *header)
{
    ASSERT(header->key.data);
    return slice_of(header->key.data, header->key.len);
}

enum err batch_builder_append(struct batch_builder *builder, const struct record_fields *fields)
{
    struct raw_record record = {fields->timestamp, fields->key, fields->value, fields->header_count,
                                0};
    for (size_t i = 0; i < fields->header_count; i++) {
        record.headers_size += bytes_size(header_key(&fields->headers[i]));
        record.headers_size += bytes_size(fields->headers[i].value);
        if (record.headers_size > BATCH_BYTES_MAX)
            return ERR_LIMIT;
    }
    TRY(record_open(builder, &record));
    for (size_t i = 0; i < fields->header_count; i++) {
        put_bytes(records_buf(builder), header_key(&fields->headers[i]));
        put_bytes(records_buf(builder), fields->headers[i].value);
    }
    record_close(builder, &record);
    return ERR_OK;
}

enum err batch_builder_append_control(struct batch_builder *builder, int64_t timestamp,
                                      enum control_type type, struct slice value)
{
    ASSERT(builder->options.is_control);
    uint8_t key[CONTROL_KEY_BYTES];
    control_key_store(key, type);
    struct record_fields fields = {
        .timestamp = timestamp, .key = slice_of(key, sizeof(key)), .value = value};
    return batch_builder_append(builder, &fields);
}

static uint16_t attributes_of(const struct batch_options *options)
{
    unsigned attributes = (unsigned)options->compression;
    if (options->log_append_time != BATCH_TIMESTAMP_NONE)
        attributes |= BATCH_ATTR_LOG_APPEND_TIME;
    if (options->is_transactional)
        attributes |= BATCH_ATTR_TRANSACTIONAL;
    if (options->is_control)
        attributes |= BATCH_ATTR_CONTROL;
    return (uint16_t)attributes;
}

static void header_write(const struct batch_builder *builder)
{
    const struct batch_options *options = &builder->options;
    uint8_t *data = builder->out->data + builder->start;
    size_t size = builder->out->len - builder->start;
    int64_t max_timestamp = options->log_append_time != BATCH_TIMESTAMP_NONE
                                ? options->log_append_time
                                : builder->max_timestamp;
    be64_store(data + BATCH_AT_BASE_OFFSET, (uint64_t)options->base_offset);
    be32_store(data + BATCH_AT_LENGTH, (uint32_t)(size - BATCH_LOG_OVERHEAD));
    be32_store(data + BATCH_AT_LEADER_EPOCH, (uint32_t)options->leader_epoch);
    data[BATCH_AT_MAGIC] = BATCH_MAGIC;
    be16_store(data + BATCH_AT_ATTRIBUTES, attributes_of(options));
    be32_store(data + BATCH_AT_LAST_OFFSET_DELTA, (uint32_t)(builder->count - 1));
    be64_store(data + BATCH_AT_BASE_TIMESTAMP, (uint64_t)builder->base_timestamp);
    be64_store(data + BATCH_AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    be64_store(data + BATCH_AT_PRODUCER_ID, (uint64_t)options->producer_id);
    be16_store(data + BATCH_AT_PRODUCER_EPOCH, (uint16_t)options->producer_epoch);
    be32_store(data + BATCH_AT_BASE_SEQUENCE, (uint32_t)options->base_sequence);
    be32_store(data + BATCH_AT_COUNT, (uint32_t)builder->count);
    be32_store(data + BATCH_AT_CRC, batch_crc_compute(slice_of(data, size)));
}

static enum err records_compress(struct batch_builder *builder, struct compressors *c)
{
    struct buf *out = builder->out;
    uint8_t *gap = buf_extend(out, BATCH_HEADER_BYTES);
    if (!gap) {
        enum err err = out->err;
        out->err = ERR_OK;
        return err;
    }
    TRY(compress_bytes(c, builder->options.compression, builder->options.level,
                       buf_slice(&builder->plain), out));
    return out->len - builder->start <= BATCH_BYTES_MAX ? ERR_OK : ERR_LIMIT;
}

enum err batch_builder_finish(struct batch_builder *builder, struct compressors *c)
{
    ASSERT(builder->count > 0);
    if (is_compressed(builder)) {
        enum err err = records_compress(builder, c);
        if (err != ERR_OK) {
            builder->out->len = builder->start;
            return err;
        }
    }
    header_write(builder);
    builder->is_finished = true;
    return ERR_OK;
}

#define END_TXN_VALUE_BYTES 6 /* version i16, coordinator epoch i32 */

enum err batch_put_end_txn(struct buf *out, const struct batch_options *options, bool commit,
                           int32_t coordinator_epoch, int64_t timestamp)
{
    uint8_t value[END_TXN_VALUE_BYTES];
    be16_store(value, 0);
    be32_store(value + 2, (uint32_t)coordinator_epoch);
    struct batch_options marker = *options;
    marker.is_control = true;
    marker.is_transactional = true;
    marker.base_sequence = BATCH_SEQUENCE_NONE;
    struct batch_builder builder;
    batch_builder_init(&builder, out, &marker);
    enum err err =
        batch_builder_append_control(&builder, timestamp, commit ? CONTROL_COMMIT : CONTROL_ABORT,
                                     slice_of(value, sizeof(value)));
    if (err == ERR_OK)
        err = batch_builder_finish(&builder, NULL);
    batch_builder_deinit(&builder);
    return err;
}

static enum err rewrite_records(struct batch_builder *builder, struct records *records)
{
    struct record record;
    while (records_next(records, &record)) {
        struct raw_record raw = {record.timestamp, record.key, record.value,
                                 (size_t)record.header_count, record.headers.len};
        TRY(record_open(builder, &raw));
        buf_put(records_buf(builder), record.headers.data, record.headers.len);
        record_close(builder, &raw);
    }
    return records->err;
}

enum err batch_rewrite(struct compressors *c, const struct batch *batch, struct buf *scratch,
                       enum compression compression, int32_t level, struct buf *out)
{
    ASSERT(batch->count > 0);
    struct records records;
    TRY(records_init(&records, batch, c, scratch));
    struct batch_options options = {
        .base_offset = batch->base_offset,
        .leader_epoch = batch->leader_epoch,
        .compression = compression,
        .level = level,
        .log_append_time = records.log_append_time,
        .producer_id = batch->producer_id,
        .producer_epoch = batch->producer_epoch,
        .base_sequence = batch->base_sequence,
        .is_transactional = batch_is_transactional(batch),
        .is_control = batch_is_control(batch),
    };
    struct batch_builder builder;
    batch_builder_init(&builder, out, &options);
    enum err err = rewrite_records(&builder, &records);
    if (err == ERR_OK)
        err = batch_builder_finish(&builder, c);
    batch_builder_deinit(&builder);
    return err;
}
