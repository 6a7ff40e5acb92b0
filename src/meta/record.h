/* Metadata records: what the metadata log holds, as decoded structs, and their framed bytes.
 *
 * A record's value on disk is: frame version (uvarint, 1), type (uvarint: the api key of its
 * schema), version (uvarint), then the message. */
#ifndef META_RECORD_H
#define META_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

/* An error with its sentence for people; `text` lives in the arena of the call that filled it. */
struct meta_error {
    enum err err;
    struct str text;
};

/* Fills *error, and returns its err. A text that does not fit in memory becomes err_text(err). */
enum err meta_error_set(struct meta_error *error, struct arena *arena, enum err err,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The types, as in the frame. */
enum meta_type {
    META_REGISTER_BROKER = 0,
    META_UNREGISTER_BROKER = 1,
    META_TOPIC = 2,
    META_PARTITION = 3,
    META_CONFIG = 4,
    META_PARTITION_CHANGE = 5,
    META_FENCE_BROKER = 7,
    META_UNFENCE_BROKER = 8,
    META_REMOVE_TOPIC = 9,
    META_DELEGATION_TOKEN = 10,
    META_USER_SCRAM_CREDENTIAL = 11,
    META_FEATURE_LEVEL = 12,
    META_CLIENT_QUOTA = 14,
    META_PRODUCER_IDS = 15,
    META_BROKER_REGISTRATION_CHANGE = 17,
    META_ACCESS_CONTROL_ENTRY = 18,
    META_REMOVE_ACCESS_CONTROL_ENTRY = 19,
    META_NO_OP = 20,
    META_ZK_MIGRATION_STATE = 21,
    META_REMOVE_USER_SCRAM_CREDENTIAL = 22,
    META_BEGIN_TRANSACTION = 23,
    META_END_TRANSACTION = 24,
    META_ABORT_TRANSACTION = 25,
    META_REMOVE_DELEGATION_TOKEN = 26,
    META_REGISTER_CONTROLLER = 27,
    META_CLEAR_ELR = 28,
};

/* Levels of metadata.version at which something begins. */
#define MV_MINIMUM           7
#define MV_MIGRATION         8
#define MV_TRANSACTIONS      13
#define MV_CONTROLLERS       15 /* RegisterControllerRecord */
#define MV_DIRECTORIES       17
#define MV_ELR               23
#define MV_CORDONED_LOG_DIRS 30
#define MV_MAXIMUM           30

struct meta_record {
    int16_t type; /* enum meta_type */
    int16_t version;
    const void *body; /* the codec's struct of that type */
};

/* A list that grows in an arena. */
struct meta_records {
    struct arena *arena;
    struct meta_record *items;
    size_t count;
    size_t cap;
};

void meta_records_init(struct meta_records *records, struct arena *arena);
/* Borrows `body`. */
enum err meta_records_add(struct meta_records *records, int16_t type, int16_t version,
                          const void *body) MUST_USE;

/* Appends the framed value. */
enum err meta_record_encode(const struct meta_record *record, struct buf *buf) MUST_USE;
/* The decoded body's strings point into `value`; everything else is in the arena. */
enum err meta_record_decode(struct slice value, struct arena *arena, struct meta_record *record,
                            struct meta_error *error) MUST_USE;
/* "TopicRecord"; NULL for a type that is not known. */
const char *meta_record_type_name(int16_t type);
/* The version that a log of this metadata.version has of a type. */
int16_t meta_record_version(enum meta_type type, int16_t metadata_version);

#endif
