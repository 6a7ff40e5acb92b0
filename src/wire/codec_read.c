/* Decoding. Pure; any thread.
 *
 * What a value is on the wire ("flexible" as the schema says for the version):
 *   bool, i8..i64, f64, uuid   big-endian, fixed width; bool is true unless 0
 *   string      i16 length, or flexible: uvarint length + 1; then the bytes
 *   bytes       i32 length, or flexible: uvarint length + 1; then the bytes (records alike)
 *   array       i32 count,  or flexible: uvarint count + 1; then the elements
 *   struct      its fields in order, then, flexible, its tagged fields; where null is allowed an
 *               i8 stands in front, negative for null; in a tagged field a uvarint, 0 for null
 *   tagged      uvarint count, then for each: uvarint tag, uvarint size, the value
 * A negative length (flexible: 0) is null.
 *
 * Nothing in the bytes is trusted: every read is checked against the end, an array may not claim
 * more elements than the bytes that remain can hold, and memory comes from the caller's arena with
 * its limit. Depth is bounded by the schemas, which do not recurse. */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "wire/codec_internal.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    const uint8_t *start;
    const struct msg_schema *schema;
    struct arena *arena;
    struct codec_error *error;
    int16_t version;
    bool flexible;
    struct codec_path path;
};

static enum err read_struct(struct reader *r, const struct msg_struct *type, void *msg);

static enum err __attribute__((cold, format(printf, 3, 4)))
read_fail(const struct reader *r, enum err err, const char *fmt, ...)
{
    char text[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    codec_error_set(r->error, r->schema, r->version, &r->path, "at byte %zu: %s",
                    (size_t)(r->at - r->start), text);
    return err;
}

static inline size_t remaining(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static inline enum err need(const struct reader *r, size_t len)
{
    if (__builtin_expect(remaining(r) < len, 0))
        return read_fail(r, ERR_TRUNCATED, "%zu bytes are needed, %zu remain", len, remaining(r));
    return ERR_OK;
}

static inline enum err read_uvarint(struct reader *r, uint32_t *v)
{
    if (r->at < r->end && *r->at < 0x80) {
        *v = *r->at++;
        return ERR_OK;
    }
    size_t used = uvarint32_load(r->at, remaining(r), v);
    if (used == 0) {
        if (remaining(r) < VARINT32_BYTES_MAX)
            return read_fail(r, ERR_TRUNCATED, "a variable-length number ends early");
        return read_fail(r, ERR_MALFORMED, "a variable-length number is over 32 bits");
    }
    r->at += used;
    return ERR_OK;
}

/* The length in front of a string (2 bytes wide when not flexible), bytes or an array (4); -1 is
 * null. */
static inline enum err read_len(struct reader *r, size_t width, int64_t *len)
{
    if (r->flexible) {
        uint32_t plus_one;
        TRY(read_uvarint(r, &plus_one));
        *len = (int64_t)plus_one - 1;
        return ERR_OK;
    }
    TRY(need(r, width));
    *len = width == 2 ? (int16_t)be16_load(r->at) : (int32_t)be32_load(r->at);
    if (*len < 0)
        *len = -1;
    r->at += width;
    return ERR_OK;
}

static enum err check_null(const struct reader *r)
{
    if (codec_path_may_be_null(&r->path, r->version))
        return ERR_OK;
    return read_fail(r, ERR_MALFORMED, "null is not allowed here");
}

static enum err read_string(struct reader *r, struct str *to)
{
    int64_t len;
    TRY(read_len(r, 2, &len));
    if (len < 0) {
        *to = STR_NULL;
        return check_null(r);
    }
    if (len > MSG_STRING_MAX)
        return read_fail(r, ERR_MALFORMED, "a string of %lld bytes; at most %d are allowed",
                         (long long)len, MSG_STRING_MAX);
    TRY(need(r, (size_t)len));
    *to = (struct str){(const char *)r->at, (size_t)len};
    r->at += len;
    return ERR_OK;
}

static enum err read_bytes(struct reader *r, struct slice *to)
{
    int64_t len;
    TRY(read_len(r, 4, &len));
    if (len < 0) {
        *to = SLICE_NULL;
        return check_null(r);
    }
    TRY(need(r, (size_t)len));
    *to = slice_of(r->at, (size_t)len);
    r->at += len;
    return ERR_OK;
}

static enum err read_is_null(struct reader *r, const struct msg_field *field, bool *is_null)
{
    if (codec_field_is_tagged(field, r->version)) {
        uint32_t present;
        TRY(read_uvarint(r, &present));
        *is_null = present == 0;
        return ERR_OK;
    }
    TRY(need(r, 1));
    *is_null = (int8_t)*r->at++ < 0;
    return ERR_OK;
}

static enum err read_nullable_struct(struct reader *r, const struct msg_field *field, void **to)
{
    if (codec_field_is_nullable(field, r->version)) {
        bool is_null;
        TRY(read_is_null(r, field, &is_null));
        *to = NULL;
        if (is_null)
            return ERR_OK;
    }
    *to = arena_alloc(r->arena, field->type->size);
    if (!*to)
        return read_fail(r, ERR_NOMEM, "over the memory limit of one message");
    return read_struct(r, field->type, *to);
}

/* One value that is no array. */
static inline enum err read_value(struct reader *r, const struct msg_field *field, void *to)
{
    switch ((enum msg_kind)field->kind) {
    case MSG_BOOL:
        TRY(need(r, 1));
        *(bool *)to = *r->at++ != 0;
        return ERR_OK;
    case MSG_I8:
        TRY(need(r, 1));
        *(int8_t *)to = (int8_t)*r->at++;
        return ERR_OK;
    case MSG_I16:
    case MSG_U16:
        TRY(need(r, 2));
        *(uint16_t *)to = be16_load(r->at);
        r->at += 2;
        return ERR_OK;
    case MSG_I32:
    case MSG_U32:
        TRY(need(r, 4));
        *(uint32_t *)to = be32_load(r->at);
        r->at += 4;
        return ERR_OK;
    case MSG_I64:
    case MSG_F64: {
        TRY(need(r, 8));
        uint64_t bits = be64_load(r->at);
        memcpy(to, &bits, sizeof(bits));
        r->at += 8;
        return ERR_OK;
    }
    case MSG_UUID:
        TRY(need(r, sizeof(struct uuid)));
        memcpy(to, r->at, sizeof(struct uuid));
        r->at += sizeof(struct uuid);
        return ERR_OK;
    case MSG_STRING:
        return read_string(r, to);
    case MSG_BYTES:
    case MSG_RECORDS:
        return read_bytes(r, to);
    case MSG_STRUCT:
        if (field->is_pointer)
            return read_nullable_struct(r, field, to);
        return read_struct(r, field->type, to);
    }
    UNREACHABLE();
}

/* The fewest bytes that one value of the field can have on the wire. */
static size_t value_size_min(const struct reader *r, const struct msg_field *field)
{
    switch ((enum msg_kind)field->kind) {
    case MSG_STRING:
        return r->flexible ? 1 : 2;
    case MSG_BYTES:
    case MSG_RECORDS:
        return r->flexible ? 1 : 4;
    case MSG_STRUCT:
        break;
    default:
        return codec_kind_size(field);
    }
    if (field->is_pointer && codec_field_is_nullable(field, r->version))
        return 1;
    const struct msg_struct *type = field->type;
    size_t size = r->flexible ? 1 : 0;
    for (const struct msg_field *f = type->fields; f < type->fields + type->fields_len; f++) {
        if (!codec_field_is_in(f, r->version) || codec_field_is_tagged(f, r->version))
            continue;
        if (f->is_array)
            size += r->flexible ? 1 : 4;
        else
            size += value_size_min(r, f);
    }
    return size;
}

/* An array's memory is taken before its elements are read, so its count must be plausible. */
static enum err check_count(const struct reader *r, const struct msg_field *field, int64_t count)
{
    if (count > MSG_ARRAY_MAX)
        return read_fail(r, ERR_LIMIT, "an array of %lld elements; at most %d are allowed",
                         (long long)count, MSG_ARRAY_MAX);
    size_t each = value_size_min(r, field);
    ASSERT(each > 0);
    if ((size_t)count > remaining(r) / each)
        return read_fail(r, ERR_TRUNCATED,
                         "an array of %lld elements of at least %zu bytes, but %zu bytes remain",
                         (long long)count, each, remaining(r));
    return ERR_OK;
}

static enum err read_array(struct reader *r, const struct msg_field *field, void *to)
{
    struct codec_array *array = to;
    int64_t count;
    TRY(read_len(r, 4, &count));
    array->items = NULL;
    array->len = (int32_t)(count < 0 ? -1 : 0);
    if (count < 0)
        return check_null(r);
    if (count == 0)
        return ERR_OK;
    TRY(check_count(r, field, count));
    size_t size = codec_kind_size(field);
    char *items = arena_alloc(r->arena, (size_t)count * size);
    if (!items)
        return read_fail(r, ERR_NOMEM, "over the memory limit of one message");
    int32_t *index = &r->path.levels[r->path.depth - 1].index;
    for (int32_t i = 0; i < (int32_t)count; i++) {
        *index = i;
        TRY(read_value(r, field, items + (size_t)i * size));
    }
    *index = -1;
    array->items = items;
    array->len = (int32_t)count;
    return ERR_OK;
}

static inline enum err read_field(struct reader *r, const struct msg_field *field, void *msg)
{
    void *at = codec_at(msg, field);
    codec_path_push(&r->path, field);
    TRY(field->is_array ? read_array(r, field, at) : read_value(r, field, at));
    r->path.depth--;
    return ERR_OK;
}

static const struct msg_field *find_tag(const struct msg_struct *type, uint32_t tag)
{
    for (uint16_t i = 0; i < type->tagged_len; i++) {
        const struct msg_field *field = &type->fields[type->tagged[i]];
        if ((uint32_t)field->tag == tag)
            return field;
    }
    return NULL;
}

static enum err read_known_tag(struct reader *r, const struct msg_field *field, uint32_t size,
                               void *msg)
{
    if (!codec_field_is_in(field, r->version) || !codec_field_is_tagged(field, r->version))
        return read_fail(r, ERR_MALFORMED, "tag %d (%s) is not of this version", field->tag,
                         field->name);
    const uint8_t *value = r->at;
    const uint8_t *end = r->end;
    r->end = value + size;
    TRY(read_field(r, field, msg));
    r->end = end;
    if (r->at != value + size)
        return read_fail(r, ERR_MALFORMED, "tag %d (%s) is %u bytes, its value is %zu", field->tag,
                         field->name, size, (size_t)(r->at - value));
    return ERR_OK;
}

static enum err add_unknown_tag(struct reader *r, struct unknown_tags *tags, uint32_t tag,
                                struct slice data, uint32_t tags_left)
{
    if (!tags->items) {
        tags->items = arena_alloc(r->arena, tags_left * sizeof(*tags->items));
        if (!tags->items)
            return read_fail(r, ERR_NOMEM, "over the memory limit of one message");
    }
    tags->items[tags->len++] = (struct unknown_tag){tag, data};
    return ERR_OK;
}

static enum err __attribute__((noinline))
read_tags(struct reader *r, const struct msg_struct *type, void *msg, uint32_t count)
{
    struct unknown_tags *unknown = codec_unknown_tags(type, msg);
    if (count > MSG_TAGS_MAX)
        return read_fail(r, ERR_LIMIT, "%u tagged fields; at most %d are allowed", count,
                         MSG_TAGS_MAX);
    if (count > remaining(r) / 2)
        return read_fail(r, ERR_TRUNCATED, "%u tagged fields, but %zu bytes remain", count,
                         remaining(r));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag, size;
        TRY(read_uvarint(r, &tag));
        TRY(read_uvarint(r, &size));
        TRY(need(r, size));
        const struct msg_field *field = find_tag(type, tag);
        if (field) {
            TRY(read_known_tag(r, field, size, msg));
            continue;
        }
        TRY(add_unknown_tag(r, unknown, tag, slice_of(r->at, size), count - i));
        r->at += size;
    }
    return ERR_OK;
}

/* Stores every field, so that `msg` may be memory with anything in it. */
static enum err read_struct(struct reader *r, const struct msg_struct *type, void *msg)
{
    const struct msg_field *end = type->fields + type->fields_len;
    for (const struct msg_field *field = type->fields; field < end; field++) {
        if (codec_field_is_in(field, r->version) && !codec_field_is_tagged(field, r->version))
            TRY(read_field(r, field, msg));
        else
            codec_field_init(field, msg);
    }
    if (type->unknown_tags_offset != MSG_NO_TAGS)
        *codec_unknown_tags(type, msg) = (struct unknown_tags){NULL, 0};
    if (!r->flexible)
        return ERR_OK;
    uint32_t count;
    TRY(read_uvarint(r, &count));
    return count == 0 ? ERR_OK : read_tags(r, type, msg, count);
}

enum err codec_decode(const struct msg_schema *schema, int16_t version, struct slice bytes,
                      size_t *used, struct arena *arena, void *out, struct codec_error *error)
{
    /* An empty slice may have no memory behind it, but pointers are compared here. */
    const uint8_t *start = bytes.data ? bytes.data : (const uint8_t *)"";
    struct reader r;
    r.at = r.start = start;
    r.end = start + bytes.len;
    r.schema = schema;
    r.arena = arena;
    r.error = error;
    r.version = version;
    r.flexible = version >= schema->flexible_min;
    r.path.depth = 0;
    enum err err;
    if (codec_has_version(schema, version))
        err = read_struct(&r, schema->root, out);
    else
        err = read_fail(&r, ERR_UNSUPPORTED_VERSION, "versions %d to %d are known",
                        schema->version_min, schema->version_max);
    if (err != ERR_OK)
        codec_init(schema, out);
    *used = err == ERR_OK ? (size_t)(r.at - r.start) : 0;
    return err;
}
