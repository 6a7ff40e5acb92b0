/* What a broker checks of the records in a produce request, as Apache Kafka does.
 *
 * The order of work for one partition's records:
 *
 *   batch_check(...)                         refuse, or know what is to be done
 *   verdict.needs_rewrite: batch_rewrite     and max.message.bytes applies to the result again
 *   verdict.needs_timestamp: batch_stamp_timestamp(data, verdict.max_timestamp, ...)
 *   batch_stamp                              offset and epoch, once they are known
 *
 * Sequence numbers, epochs and transactions are the producer state's business, not checked here. */
#ifndef WIRE_BATCH_CHECK_H
#define WIRE_BATCH_CHECK_H

#include "wire/batch.h"

/* The request's version and the topic's configuration. */
struct batch_rules {
    int16_t produce_version;
    int64_t now_ms;
    int32_t batch_bytes_max;         /* max.message.bytes */
    bool is_compacted;               /* cleanup.policy has compact */
    bool has_log_append_time;        /* message.timestamp.type */
    int64_t timestamp_before_max_ms; /* message.timestamp.before.max.ms */
    int64_t timestamp_after_max_ms;  /* message.timestamp.after.max.ms */
    bool keeps_compression;          /* compression.type=producer */
    enum compression compression;    /* else this one */
};

enum batch_record_fault {
    RECORD_WITHOUT_KEY,        /* in a compacted topic */
    RECORD_TIME_OUT_OF_WINDOW, /* of timestamp_before_max_ms and timestamp_after_max_ms */
    RECORD_TIME_OF_BROKER,     /* the batch claims that the broker timed it */
};

struct batch_record_error {
    int32_t batch_index; /* of the record */
    enum batch_record_fault fault;
    int64_t timestamp;
    size_t key_bytes;
    size_t value_bytes;
};

/* The record errors that an answer names; the rest are only counted. */
#define BATCH_RECORD_ERRORS_MAX 64
#define BATCH_TEXT_MAX          256

struct batch_verdict {
    struct batch batch; /* valid once the result is ERR_OK */
    int64_t max_timestamp;
    bool needs_timestamp;
    bool needs_rewrite; /* to rules.compression, or for its offset deltas */
    enum compression compression_out;
    bool is_misframed;         /* refused before the partition was looked at */
    char text[BATCH_TEXT_MAX]; /* what is wrong, for people */
    int32_t record_error_count;
    struct batch_record_error record_errors[BATCH_RECORD_ERRORS_MAX];
};

/* Anything but ERR_OK is the error to answer (a code of Kafka's, or ERR_NOMEM), with its text.
 * `scratch` and its limit as for records_init: batches that unpack to more are MESSAGE_TOO_LARGE,
 * which makes a producer split them. */
enum err batch_check(struct compressors *c, struct buf *scratch, struct slice records,
                     const struct batch_rules *rules, struct batch_verdict *verdict) MUST_USE;

/* One record's error, and what is said of all of them together, in the words that clients of Apache
 * Kafka get. */
void batch_record_error_text(const struct batch_rules *rules, struct str topic, int32_t partition,
                             const struct batch_record_error *error, char text[BATCH_TEXT_MAX]);
void batch_record_errors_text(const struct batch_rules *rules, struct str topic, int32_t partition,
                              const struct batch_verdict *verdict, struct buf *out);

#endif
