/* Record batches (magic 2): views of the header, of the records, and stamping in place.
 *
 * The format is at the head of batch.c. A struct batch borrows the bytes that it was loaded from.
 */
#ifndef WIRE_BATCH_H
#define WIRE_BATCH_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "wire/compress.h"

#define BATCH_MAGIC        2
#define BATCH_HEADER_BYTES ((size_t)61)
#define BATCH_LOG_OVERHEAD ((size_t)12) /* base offset and length, which the length leaves out */

/* Where the header's fields are. */
enum {
    BATCH_AT_BASE_OFFSET = 0,
    BATCH_AT_LENGTH = 8,
    BATCH_AT_LEADER_EPOCH = 12,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_CRC = 17,
    BATCH_AT_ATTRIBUTES = 21,
    BATCH_AT_LAST_OFFSET_DELTA = 23,
    BATCH_AT_BASE_TIMESTAMP = 27,
    BATCH_AT_MAX_TIMESTAMP = 35,
    BATCH_AT_PRODUCER_ID = 43,
    BATCH_AT_PRODUCER_EPOCH = 51,
    BATCH_AT_BASE_SEQUENCE = 53,
    BATCH_AT_COUNT = 57,
};

#define BATCH_OFFSET_NONE         INT64_C(-1)
#define BATCH_TIMESTAMP_NONE      INT64_C(-1)
#define BATCH_PRODUCER_ID_NONE    INT64_C(-1)
#define BATCH_PRODUCER_EPOCH_NONE ((int16_t)-1)
#define BATCH_SEQUENCE_NONE       (-1)
#define BATCH_LEADER_EPOCH_NONE   (-1)

#define BATCH_ATTR_COMPRESSION     0x07
#define BATCH_ATTR_LOG_APPEND_TIME 0x08
#define BATCH_ATTR_TRANSACTIONAL   0x10
#define BATCH_ATTR_CONTROL         0x20
#define BATCH_ATTR_DELETE_HORIZON  0x40 /* base_timestamp is the delete horizon */

struct batch {
    const uint8_t *data;
    size_t size; /* all of the batch's bytes */
    int64_t base_offset;
    int64_t last_offset;
    int32_t leader_epoch;
    uint32_t crc; /* as stored */
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count;
};

/* The batch that `bytes` begins with. Neither the checksum nor the records are looked at.
 * ERR_TRUNCATED: the bytes end within it. ERR_CORRUPT_MESSAGE: a length or a magic that cannot be.
 * ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT: magic 0 or 1. */
enum err batch_load(struct slice bytes, struct batch *batch) MUST_USE;
/* The size of the whole batch from its first BATCH_LOG_OVERHEAD bytes, unchecked; may be absurd. */
static inline int64_t batch_size_peek(const uint8_t *data)
{
    return (int64_t)(int32_t)be32_load(data + BATCH_AT_LENGTH) + (int64_t)BATCH_LOG_OVERHEAD;
}
/* The checksum that belongs into the header of a whole batch. */
uint32_t batch_crc_compute(struct slice bytes);
/* Whether the checksum is that of the contents. */
bool batch_crc_is_valid(const struct batch *batch);

static inline struct slice batch_bytes(const struct batch *batch)
{
    return slice_of(batch->data, batch->size);
}

static inline bool batch_is_control(const struct batch *batch)
{
    return (batch->attributes & BATCH_ATTR_CONTROL) != 0;
}

static inline bool batch_is_transactional(const struct batch *batch)
{
    return (batch->attributes & BATCH_ATTR_TRANSACTIONAL) != 0;
}

static inline bool batch_has_log_append_time(const struct batch *batch)
{
    return (batch->attributes & BATCH_ATTR_LOG_APPEND_TIME) != 0;
}

/* Kafka takes any negative id for none. */
static inline bool batch_has_producer(const struct batch *batch)
{
    return batch->producer_id > BATCH_PRODUCER_ID_NONE;
}

/* False for an id that names no compression. */
static inline bool batch_compression(const struct batch *batch, enum compression *compression)
{
    unsigned id = (unsigned)batch->attributes & BATCH_ATTR_COMPRESSION;
    *compression = (enum compression)id;
    return id < COMPRESSION_COUNT;
}

/* Sequence numbers run from 0 to INT32_MAX and begin again at 0. */
static inline int32_t sequence_add(int32_t sequence, int32_t step)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)step) & INT32_MAX);
}

static inline int32_t batch_last_sequence(const struct batch *batch)
{
    if (batch->base_sequence == BATCH_SEQUENCE_NONE)
        return BATCH_SEQUENCE_NONE;
    return sequence_add(batch->base_sequence, batch->last_offset_delta);
}

/* Walks the batches of a run of bytes:
 *
 *   batches_init(&batches, bytes);
 *   while (batches_next(&batches, &batch)) ...
 *   if (batches.err != ERR_OK) ...
 *
 * At the end `left` is what was not taken: with ERR_TRUNCATED the beginning of one more batch,
 * which is usual in a fetched range. */
struct batches {
    struct slice left;
    enum err err;
};

void batches_init(struct batches *batches, struct slice bytes);
bool batches_next(struct batches *batches, struct batch *batch);

/* How many bytes the whole batches at the front are; *end_offset is behind the last one's last
 * record, and left as it was where there is none. Looks at no more than sizes and offsets. */
size_t batches_whole(struct slice bytes, int64_t *end_offset);

struct record {
    int64_t offset;
    int64_t timestamp;
    int32_t offset_delta;
    struct slice key;   /* data NULL: no key */
    struct slice value; /* data NULL: a tombstone */
    int32_t header_count;
    struct slice headers; /* for record_header_next */
};

struct record_header {
    struct str key;
    struct slice value; /* data NULL: null */
};

/* Takes the next header off record->headers; false after the last. */
bool record_header_next(struct slice *headers, struct record_header *header);

/* Walks the records of a batch. After records_next was false, err tells a clean end (ERR_OK) from
 * bytes that are not `count` well-formed records and nothing else (ERR_INVALID_RECORD). */
struct records {
    const uint8_t *at;
    const uint8_t *end;
    int32_t left;
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t log_append_time; /* BATCH_TIMESTAMP_NONE: records have their own */
    enum err err;
};

/* Where the batch is compressed, its records are unpacked to `scratch` (emptied first), whose
 * limit bounds them, and which then lends them; else they are views of the batch, and both may be
 * NULL. ERR_INVALID_RECORD: not compressed data. ERR_LIMIT: more than the limit.
 * ERR_UNSUPPORTED_COMPRESSION_TYPE: no such compression. */
enum err records_init(struct records *records, const struct batch *batch, struct compressors *c,
                      struct buf *scratch) MUST_USE;
bool records_next(struct records *records, struct record *record);

/* Writes the offset and the leader epoch, which the checksum does not cover. `batch` (the view, if
 * not NULL) is kept in step. */
void batch_stamp(uint8_t *data, int64_t base_offset, int32_t leader_epoch, struct batch *batch);
/* Writes the greatest timestamp and its kind, and the checksum anew. */
void batch_stamp_timestamp(uint8_t *data, int64_t max_timestamp, bool log_append_time,
                           struct batch *batch);

/* Control records: key {version i16, type i16}. */
enum control_type {
    CONTROL_ABORT,
    CONTROL_COMMIT,
    CONTROL_LEADER_CHANGE,
    CONTROL_SNAPSHOT_HEADER,
    CONTROL_SNAPSHOT_FOOTER,
    CONTROL_KRAFT_VERSION,
    CONTROL_KRAFT_VOTERS,
};
#define CONTROL_KEY_BYTES 4

void control_key_store(uint8_t key[CONTROL_KEY_BYTES], enum control_type type);
/* ERR_INVALID_RECORD where the key is too short; a type of a later version is returned as it is. */
enum err control_key_load(struct slice key, int16_t *type) MUST_USE;

#endif
