/* One interpreter for every message of Kafka's protocol and for the records of its internal topics.
 *
 * tools/msgc.py turns schema/NAME.msg into typed structs and the tables described here
 * (wire/messages.h); the functions below walk a table to decode, encode, print or invent a message.
 *
 * How a field looks in C:
 *   string          struct str; null is data == NULL
 *   bytes, records  struct slice; null is data == NULL
 *   []T             T *name; int32_t name_len; null is name_len == -1
 *   struct          embedded; a pointer where any version allows null. Code that sets a field of
 *                   such a struct makes its own: the default may be a shared constant
 *   uuid, numbers   by value
 * A flexible message has in each struct the tagged fields that the schema does not know, so that
 * what was decoded is encoded again unchanged.
 *
 * Decoded strings, bytes and records are views of the bytes given, everything else lives in the
 * arena: both must outlive the message. Pure; any thread. */
#ifndef WIRE_CODEC_H
#define WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

struct rng;

enum msg_kind {
    MSG_BOOL,
    MSG_I8,
    MSG_I16,
    MSG_U16,
    MSG_I32,
    MSG_U32,
    MSG_I64,
    MSG_F64,
    MSG_UUID,
    MSG_STRING,
    MSG_BYTES,
    MSG_RECORDS,
    MSG_STRUCT,
};

#define MSG_VERSION_NONE INT16_MAX /* as a first version: never */
#define MSG_DEPTH_MAX    8         /* structs inside of each other; msgc.py checks it */
#define MSG_ARRAY_MAX    1000000   /* elements in one array */
#define MSG_TAGS_MAX     10000     /* tagged fields in one struct */
#define MSG_STRING_MAX   INT16_MAX
#define MSG_NO_TAGS      UINT16_MAX

struct msg_struct;

struct msg_field {
    const char *name;
    const struct msg_struct *type; /* MSG_STRUCT: of the value or of the array's elements */
    int64_t default_value;         /* of bool and numbers */
    const void *default_struct;    /* of a pointer: NULL, or a constant that nobody may change */
    uint16_t offset;               /* in the C struct */
    uint8_t kind;                  /* enum msg_kind; of the elements if is_array */
    bool is_array;
    bool is_pointer; /* MSG_STRUCT that may be null */
    bool is_ignorable;
    bool is_null_default;
    int16_t version_min, version_max;
    int16_t nullable_min, nullable_max;
    int16_t tag_min; /* from this version on it is a tagged field */
    int16_t tag;
};

struct msg_struct {
    const char *name;
    const struct msg_field *fields;
    const uint16_t *tagged; /* indexes of the fields that have a tag, in the order of the tags */
    uint16_t fields_len;
    uint16_t tagged_len;
    uint16_t size;
    uint16_t unknown_tags_offset; /* MSG_NO_TAGS: the message is never flexible */
};

struct msg_schema {
    const char *name; /* "ProduceRequest" */
    const struct msg_struct *root;
    int16_t version_min, version_max;
    int16_t flexible_min; /* MSG_VERSION_NONE: never */
};

/* Tagged fields that no schema of ours names, in the order of the wire. */
struct unknown_tag {
    uint32_t tag;
    struct slice data;
};

struct unknown_tags {
    struct unknown_tag *items;
    int32_t len;
};

/* Says where and what: "ProduceRequest v9: topicData[2].name at byte 40: the string is ...". */
struct codec_error {
    char text[192];
};

/* Fills *out from the front of `bytes` and says in *used how many were taken. `error` may be NULL.
 *   ERR_UNSUPPORTED_VERSION  the schema has no such version
 *   ERR_TRUNCATED            the bytes end inside of the message
 *   ERR_MALFORMED            no encoder would have written this
 *   ERR_LIMIT                an array or a number of tagged fields over MSG_*_MAX
 *   ERR_NOMEM                the arena's limit, or no memory
 * On failure *out holds defaults. */
enum err codec_decode(const struct msg_schema *schema, int16_t version, struct slice bytes,
                      size_t *used, struct arena *arena, void *out,
                      struct codec_error *error) MUST_USE;

/* Appends the message. `error` may be NULL. On failure `out` is as long as before.
 *   ERR_UNSUPPORTED_VERSION  no such version, or a field that this version lacks, that is not
 *                            ignorable, differs from its default
 *   ERR_MALFORMED            null where it may not be, a string over MSG_STRING_MAX, tags out of
 *                            order
 *   ERR_LIMIT, ERR_NOMEM     the buffer's */
enum err codec_encode(const struct msg_schema *schema, int16_t version, const void *msg,
                      struct buf *out, struct codec_error *error) MUST_USE;

/* Scatter output, for large responses: `records` fields are not copied. For each that is neither
 * null nor empty, a part says that `bytes` belong at offset `at` of `out`, where the encoder left
 * no room for them: the message is out[0, at0) parts[0].bytes out[at0, at1) parts[1].bytes ... The
 * encoder never looks behind bytes.data, so it may name a file's range rather than memory. */
struct codec_part {
    size_t at;
    struct slice bytes;
};

struct codec_parts {
    struct arena *arena; /* set by the caller: where the items live */
    struct codec_part *items;
    size_t len;
    size_t cap;
    size_t bytes; /* of all parts */
};

enum err codec_encode_scatter(const struct msg_schema *schema, int16_t version, const void *msg,
                              struct buf *out, struct codec_parts *parts,
                              struct codec_error *error) MUST_USE;

/* Sets every field to its default: the start of any message that is built by hand. */
void codec_init(const struct msg_schema *schema, void *msg);
void codec_struct_init(const struct msg_struct *type, void *msg);
/* `count` structs, each at its defaults; NULL when the arena cannot. */
void *codec_struct_array(const struct msg_struct *type, struct arena *arena, size_t count) MUST_USE;

/* The same by a struct's name: MSG_INIT(produce_response_topic, topic). */
#define MSG_INIT(name, ptr)                             \
    do {                                                \
        struct name *msg_init_ptr_ = (ptr);             \
        codec_struct_init(&name##_type, msg_init_ptr_); \
    } while (0)
#define MSG_ARRAY(name, arena, count) \
    ((struct name *)codec_struct_array(&name##_type, (arena), (count)))

/* Appends the message as one line of JSON, with the names and forms that Kafka's own tools use.
 * Records are base64 if they are wanted, else "<name>SizeInBytes". What is not UTF-8 in a string
 * becomes U+FFFD. */
void codec_print(const struct msg_schema *schema, int16_t version, const void *msg,
                 bool with_records, struct buf *out);

/* Invents a message that can be encoded at this version; ERR_NOMEM when the arena is full. */
enum err codec_random(const struct msg_schema *schema, int16_t version, struct rng *rng,
                      struct arena *arena, void *out) MUST_USE;

static inline bool codec_has_version(const struct msg_schema *schema, int16_t version)
{
    return version >= schema->version_min && version <= schema->version_max;
}

#endif
