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

struct meta_record {
    int16_t type; /* enum of wire: the schema's api key */
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
/* "TOPIC_RECORD"; NULL for a type that is not known. */
const char *meta_record_type_name(int16_t type);

#endif
