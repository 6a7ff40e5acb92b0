/* The checks of produced records, in the order in which Apache Kafka makes them, since the first
 * failure decides the error code:
 *
 *   framing     one whole batch of magic 2; the start of another behind it is ignored
 *   header      base offset 0, size, checksum, count against offsets, no control records, sequence
 *   records     each well formed, with a key where the topic is compacted, in the time window
 *
 * Where Kafka's code throws what it has no error code for (an unknown compression, records that do
 * not unpack), it answers UNKNOWN_SERVER_ERROR, and so do we, but say what it is.
 *
 * A record that breaks the topic's rules is named by its index; one that is not well formed ends
 * the check. Pure; runs on the shard that owns the partition. */
#include "wire/batch_check.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

#define BATCH_AT_LENGTH     8
#define RECORD_OVERHEAD_MIN 14 /* of the oldest record format */

/* The first produce version whose consumers know zstd. */
#define PRODUCE_VERSION_ZSTD 7

static enum err __attribute__((format(printf, 3, 4)))
refuse(struct batch_verdict *verdict, enum err err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(verdict->text, sizeof(verdict->text), fmt, args);
    va_end(args);
    return err;
}

/* Long enough for what the oldest formats need, but not for a batch's header: Kafka finds that out
 * where it looks at the header. */
static bool is_headerless(struct slice records)
{
    return records.len > BATCH_AT_MAGIC && records.data[BATCH_AT_MAGIC] == BATCH_MAGIC &&
           batch_size_peek(records.data) >= (int64_t)BATCH_LOG_OVERHEAD + RECORD_OVERHEAD_MIN &&
           batch_size_peek(records.data) < (int64_t)BATCH_HEADER_BYTES;
}

/* In the words that Kafka's clients get. */
static enum err refuse_corrupt(struct slice records, struct batch_verdict *verdict)
{
    int32_t length = (int32_t)be32_load(records.data + BATCH_AT_LENGTH);
    if (is_headerless(records))
        return refuse(verdict, ERR_CORRUPT_MESSAGE, "%lld bytes are too few for a record batch",
                      (long long)batch_size_peek(records.data));
    if (length < RECORD_OVERHEAD_MIN)
        return refuse(verdict, ERR_CORRUPT_MESSAGE,
                      "Record size %d is less than the minimum record overhead (%d)", length,
                      RECORD_OVERHEAD_MIN);
    return refuse(verdict, ERR_CORRUPT_MESSAGE, "Invalid magic found in record: %d",
                  (int8_t)records.data[BATCH_AT_MAGIC]);
}

static enum err check_framing(struct slice records, const struct batch_rules *rules,
                              struct batch_verdict *verdict)
{
    struct batch *batch = &verdict->batch;
    switch (batch_load(records, batch)) {
    case ERR_OK:
        break;
    case ERR_TRUNCATED:
        /* A size that a Java int cannot hold is an error of its own there. */
        if (records.len > BATCH_AT_MAGIC && batch_size_peek(records.data) > INT32_MAX)
            return refuse(verdict, ERR_UNKNOWN_SERVER_ERROR,
                          "the record batch says that it has %lld bytes",
                          (long long)batch_size_peek(records.data));
        return refuse(verdict, ERR_INVALID_RECORD, "the records hold no whole record batch");
    case ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return refuse(verdict, ERR_INVALID_RECORD,
                      "the record batch has magic %d, and only 2 is accepted",
                      records.data[BATCH_AT_MAGIC]);
    default:
        return refuse_corrupt(records, verdict);
    }
    enum compression compression;
    if (batch_compression(batch, &compression) && compression == COMPRESSION_ZSTD &&
        rules->produce_version < PRODUCE_VERSION_ZSTD)
        return refuse(verdict, ERR_UNSUPPORTED_COMPRESSION_TYPE,
                      "produce version %d cannot carry zstd; version %d and later can",
                      rules->produce_version, PRODUCE_VERSION_ZSTD);
    struct batch second;
    switch (batch_load(slice_of(records.data + batch->size, records.len - batch->size), &second)) {
    case ERR_TRUNCATED:
        return ERR_OK;
    case ERR_CORRUPT_MESSAGE:
        return refuse(verdict, ERR_CORRUPT_MESSAGE,
                      "the bytes behind the record batch begin no other");
    default:
        return refuse(verdict, ERR_INVALID_RECORD,
                      "there is more than one record batch for the partition");
    }
}

static enum err check_header(const struct batch_rules *rules, struct batch_verdict *verdict)
{
    const struct batch *batch = &verdict->batch;
    if (batch->base_offset != 0)
        return refuse(verdict, ERR_INVALID_RECORD, "the base offset must be 0 and is %lld",
                      (long long)batch->base_offset);
    if (batch->size > (size_t)rules->batch_bytes_max)
        return refuse(verdict, ERR_MESSAGE_TOO_LARGE,
                      "the record batch has %zu bytes; max.message.bytes of the topic is %d",
                      batch->size, rules->batch_bytes_max);
    if (!batch_crc_is_valid(batch))
        return refuse(verdict, ERR_CORRUPT_MESSAGE, "the checksum %08x is not that of the batch",
                      batch->crc);
    enum compression compression;
    if (!batch_compression(batch, &compression))
        return refuse(verdict, ERR_UNKNOWN_SERVER_ERROR, "compression id %u is not known",
                      (unsigned)compression);
    if (batch->last_offset_delta < 0)
        return refuse(verdict, ERR_INVALID_RECORD, "the last offset delta is negative: %d",
                      batch->last_offset_delta);
    if (batch->count <= 0)
        return refuse(verdict, ERR_INVALID_RECORD, "the record count is %d", batch->count);
    if (batch->count - 1 != batch->last_offset_delta)
        return refuse(verdict, ERR_INVALID_RECORD,
                      "%d records do not agree with a last offset delta of %d", batch->count,
                      batch->last_offset_delta);
    if (batch_is_control(batch))
        return refuse(verdict, ERR_INVALID_RECORD, "clients may not write control records");
    if (batch_has_producer(batch) && batch->base_sequence < 0)
        return refuse(verdict, ERR_INVALID_RECORD,
                      "producer id %lld comes with the sequence number %d",
                      (long long)batch->producer_id, batch->base_sequence);
    return ERR_OK;
}

/* a - b > max, where the difference may not fit. */
static bool exceeds(int64_t a, int64_t b, int64_t max)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference))
        return a > b && max != INT64_MAX;
    return difference > max;
}

static bool has_fault(const struct batch *batch, const struct record *record,
                      const struct batch_rules *rules, enum batch_record_fault *fault)
{
    if (rules->is_compacted && !record->key.data) {
        *fault = RECORD_WITHOUT_KEY;
        return true;
    }
    if (!rules->has_log_append_time && record->timestamp != BATCH_TIMESTAMP_NONE) {
        *fault = RECORD_TIME_OUT_OF_WINDOW;
        return exceeds(rules->now_ms, record->timestamp, rules->timestamp_before_max_ms) ||
               exceeds(record->timestamp, rules->now_ms, rules->timestamp_after_max_ms);
    }
    *fault = RECORD_TIME_OF_BROKER;
    return batch_has_log_append_time(batch);
}

static enum err refuse_records(struct batch_verdict *verdict, bool has_time_fault)
{
    if (has_time_fault)
        return refuse(verdict, ERR_INVALID_TIMESTAMP,
                      "%d records are refused, some for their timestamps",
                      verdict->record_error_count);
    return refuse(verdict, ERR_INVALID_RECORD, "%d records are refused",
                  verdict->record_error_count);
}

static enum err walk(struct records *records, const struct batch_rules *rules,
                     struct batch_verdict *verdict)
{
    bool has_time_fault = false, is_dense = true;
    int64_t max_timestamp = BATCH_TIMESTAMP_NONE;
    struct record record;
    for (int32_t index = 0; records_next(records, &record); index++) {
        enum batch_record_fault fault;
        if (__builtin_expect(has_fault(&verdict->batch, &record, rules, &fault), 0)) {
            has_time_fault |= fault != RECORD_WITHOUT_KEY;
            if (verdict->record_error_count < BATCH_RECORD_ERRORS_MAX)
                verdict->record_errors[verdict->record_error_count] = (struct batch_record_error){
                    index, fault, record.timestamp, record.key.len, record.value.len};
            verdict->record_error_count++;
        }
        is_dense &= record.offset_delta == index;
        if (record.timestamp > max_timestamp)
            max_timestamp = record.timestamp;
    }
    if (records->err != ERR_OK) {
        verdict->record_error_count = 0;
        return refuse(verdict, records->err, "the records are malformed");
    }
    if (verdict->record_error_count > 0)
        return refuse_records(verdict, has_time_fault);
    verdict->max_timestamp = rules->has_log_append_time ? rules->now_ms : max_timestamp;
    verdict->needs_rewrite |= !is_dense;
    return ERR_OK;
}

static enum err check_records(struct compressors *c, struct buf *scratch,
                              const struct batch_rules *rules, struct batch_verdict *verdict)
{
    const struct batch *batch = &verdict->batch;
    struct records records;
    enum err err = records_init(&records, batch, c, scratch);
    if (err == ERR_LIMIT)
        return refuse(verdict, ERR_MESSAGE_TOO_LARGE, "the records unpack to more than %zu bytes",
                      scratch->limit);
    enum compression compression;
    bool is_known = batch_compression(batch, &compression);
    ASSERT(is_known);
    if (err == ERR_INVALID_RECORD)
        return refuse(verdict, ERR_UNKNOWN_SERVER_ERROR, "the records are not a %s stream",
                      compression_name(compression));
    if (err != ERR_OK)
        return refuse(verdict, err, "the records cannot be unpacked: %s", err_text(err));
    verdict->compression_out = rules->keeps_compression ? compression : rules->compression;
    verdict->needs_rewrite = verdict->compression_out != compression;
    TRY(walk(&records, rules, verdict));
    verdict->needs_timestamp = verdict->max_timestamp != batch->max_timestamp ||
                               rules->has_log_append_time != batch_has_log_append_time(batch);
    return ERR_OK;
}

enum err batch_check(struct compressors *c, struct buf *scratch, struct slice records,
                     const struct batch_rules *rules, struct batch_verdict *verdict)
{
    verdict->text[0] = '\0';
    verdict->record_error_count = 0;
    enum err err = check_framing(records, rules, verdict);
    verdict->is_misframed = err != ERR_OK && !is_headerless(records);
    TRY(err);
    TRY(check_header(rules, verdict));
    return check_records(c, scratch, rules, verdict);
}

void batch_record_error_text(const struct batch_rules *rules, struct str topic, int32_t partition,
                             const struct batch_record_error *error, char text[BATCH_TEXT_MAX])
{
    switch (error->fault) {
    case RECORD_WITHOUT_KEY:
        snprintf(text, BATCH_TEXT_MAX,
                 "Compacted topic cannot accept message without key in topic partition %.*s-%d",
                 STR_ARG(topic), partition);
        return;
    case RECORD_TIME_OUT_OF_WINDOW:
        /* A bound past the end of time wraps, as Kafka's does. */
        snprintf(text, BATCH_TEXT_MAX,
                 "Timestamp %lld of message with offset %d is out of range. The timestamp should "
                 "be within [%lld, %lld]",
                 (long long)error->timestamp, error->batch_index,
                 (long long)((uint64_t)rules->now_ms - (uint64_t)rules->timestamp_before_max_ms),
                 (long long)((uint64_t)rules->now_ms + (uint64_t)rules->timestamp_after_max_ms));
        return;
    case RECORD_TIME_OF_BROKER:
        snprintf(text, BATCH_TEXT_MAX,
                 "Invalid timestamp type in message DefaultRecord(offset=%d, timestamp=%lld, "
                 "key=%zu bytes, value=%zu bytes). Producer should not set timestamp type to "
                 "LogAppendTime.",
                 error->batch_index, (long long)error->timestamp, error->key_bytes,
                 error->value_bytes);
        return;
    }
    UNREACHABLE();
}

#define ERRORS_SHOWN 3

void batch_record_errors_text(const struct batch_rules *rules, struct str topic, int32_t partition,
                              const struct batch_verdict *verdict, struct buf *out)
{
    for (int32_t i = 0; i < verdict->record_error_count && i < BATCH_RECORD_ERRORS_MAX; i++) {
        if (verdict->record_errors[i].fault != RECORD_WITHOUT_KEY) {
            buf_printf(out, "One or more records have been rejected due to invalid timestamp");
            return;
        }
    }
    buf_printf(out,
               "One or more records have been rejected due to %d record errors in total, and only "
               "showing the first three errors at most: [",
               verdict->record_error_count);
    for (int32_t i = 0; i < verdict->record_error_count && i < ERRORS_SHOWN; i++) {
        char text[BATCH_TEXT_MAX];
        batch_record_error_text(rules, topic, partition, &verdict->record_errors[i], text);
        buf_printf(out, "%sRecordError(batchIndex=%d, message='%s')", i ? ", " : "",
                   verdict->record_errors[i].batch_index, text);
    }
    buf_printf(out, "]");
}
