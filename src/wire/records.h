/* The records of Kafka's internal topics and of its metadata log, from the schemas.
 *
 * A record of a coordinator (group, transaction, share) is a key and a value. Each begins with an
 * i16: in the key it is the type of the record, in the value the version of its schema; the key's
 * schema has version 0 only. A record of the metadata log is a value alone:
 *   uvarint frame version (1) | uvarint type | uvarint version | message */
#ifndef WIRE_RECORDS_H
#define WIRE_RECORDS_H

#include <stdint.h>

#include "wire/codec.h"

enum record_family { RECORD_GROUP, RECORD_TRANSACTION, RECORD_SHARE, RECORD_METADATA };

struct record_info {
    enum record_family family;
    int16_t type;
    const char *name;
    const struct msg_schema *key; /* NULL in the metadata log */
    const struct msg_schema *value;
};

extern const struct record_info record_table[];
extern const int record_table_len;

/* NULL if there is no such record. */
const struct record_info *record_find(enum record_family family, int16_t type);

/* One decoded side of a record. `msg` is in the arena; its struct is schema->root. */
struct record_part {
    const struct record_info *info;
    const struct msg_schema *schema;
    int16_t version;
    void *msg;
};

/* ERR_UNSUPPORTED for a type that is not known (and *part has no info), else as codec_decode.
 * Bytes after the message are malformed. */
enum err record_key_decode(enum record_family family, struct slice bytes, struct arena *arena,
                           struct record_part *part, struct codec_error *error) MUST_USE;
/* `info` is what the key said. */
enum err record_value_decode(const struct record_info *info, struct slice bytes,
                             struct arena *arena, struct record_part *part,
                             struct codec_error *error) MUST_USE;
enum err record_metadata_decode(struct slice bytes, struct arena *arena, struct record_part *part,
                                struct codec_error *error) MUST_USE;

enum err record_key_encode(const struct record_info *info, const void *msg, struct buf *out,
                           struct codec_error *error) MUST_USE;
enum err record_value_encode(const struct record_info *info, int16_t version, const void *msg,
                             struct buf *out, struct codec_error *error) MUST_USE;
enum err record_metadata_encode(const struct record_info *info, int16_t version, const void *msg,
                                struct buf *out, struct codec_error *error) MUST_USE;

#endif
