/* Records of `__consumer_offsets` as decoded structs: a key, and a value unless it is a tombstone.
 *
 * The structs are the codec's, of the family RECORD_GROUP in wire/records.h. */
#ifndef COORD_RECORD_H
#define COORD_RECORD_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

/* The types, as in a key's first two bytes. */
enum coord_record_type {
    COORD_LEGACY_OFFSET_COMMIT = 0,
    COORD_OFFSET_COMMIT = 1,
    COORD_GROUP_METADATA = 2,
    COORD_CONSUMER_GROUP_METADATA = 3,
    COORD_CONSUMER_GROUP_PARTITION_METADATA = 4,
    COORD_CONSUMER_GROUP_MEMBER_METADATA = 5,
    COORD_CONSUMER_GROUP_TARGET_METADATA = 6,
    COORD_CONSUMER_GROUP_TARGET_MEMBER = 7,
    COORD_CONSUMER_GROUP_CURRENT_MEMBER = 8,
    COORD_CONSUMER_GROUP_REGEX = 16,
};

struct coord_record {
    int16_t type;
    int16_t version; /* of the value */
    const void *key;
    const void *value; /* NULL: a tombstone */
    bool is_applied;   /* the state has it already: nothing to replay, unless read from the log */
};

/* A list that grows in an arena. */
struct coord_records {
    struct arena *arena;
    struct coord_record *items;
    size_t count;
    size_t cap;
    enum err err;   /* sticky: the state moved on and its record could not be added */
    bool may_split; /* they need not be in one batch; but the first `whole_count` do */
    size_t whole_count;
};

void coord_records_init(struct coord_records *records, struct arena *arena);
/* Borrows key and value. ERR_NOMEM changes nothing. */
enum err coord_records_add(struct coord_records *records,
                           const struct coord_record *record) MUST_USE;

/* Appends the key's, or the value's, bytes. A tombstone has no value to encode. */
enum err coord_record_encode_key(const struct coord_record *record, struct buf *buf) MUST_USE;
enum err coord_record_encode_value(const struct coord_record *record, struct buf *buf) MUST_USE;
/* Strings point into the slices; all else is in the arena. A null value is a tombstone.
 * ERR_UNSUPPORTED: a type that is not known, as a later Kafka may have written. */
enum err coord_record_decode(struct slice key, struct slice value, struct arena *arena,
                             struct coord_record *record) MUST_USE;

#endif
