/* One record as text or JSON out, and as JSON in. Pure: bytes to bytes. */
#ifndef CLI_RECORD_H
#define CLI_RECORD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "wire/batch.h"

struct record_view {
    struct str topic;
    int32_t partition;    /* -1: not said */
    int64_t offset;       /* -1: not said */
    int64_t timestamp_ms; /* -1: none */
    bool is_append_time;
    struct slice key, value; /* either may be null */
    const struct record_header *headers;
    size_t header_count;
};

/* Which columns of a record to print, in this order. */
struct record_format {
    bool partition, offset, timestamp, key, headers, size, value;
    bool escape;            /* control characters and other bytes as \x.. */
    struct slice separator; /* between two of them */
};

void record_put_text(struct buf *out, const struct record_format *format,
                     const struct record_view *record);
/* One JSON object on one line. Bytes that are not UTF-8 are in key_base64, value_base64. */
void record_put_json(struct buf *out, const struct record_view *record);

/* Reads what record_put_json writes, and any object with some of "key", "value", "headers",
 * "partition", "timestamp" (milliseconds or ISO 8601). A key or value that is not a string is kept
 * as JSON text. Headers are an object or an array of {"key", "value"}. The record's bytes live in
 * the arena. ERR_MALFORMED or ERR_NOMEM: `why` says what is wrong. */
enum err record_parse_json(struct str line, struct arena *arena, struct record_view *record,
                           struct buf *why) MUST_USE;

#endif
