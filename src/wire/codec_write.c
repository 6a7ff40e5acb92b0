/* Encoding; codec_read.c says what the wire looks like. Pure; any thread.
 *
 * One pass: a tagged field, whose size stands in front of it, is written behind one byte for that
 * size and moved up in the rare case that the size needs more.
 *
 * A field that the version lacks is left out if it may be ignored or has its default; anything
 * else would silently lose what the caller meant, and is an error. */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "wire/codec_internal.h"

struct writer {
    struct buf *out;
    struct codec_parts *parts; /* NULL: records are copied */
    const struct msg_schema *schema;
    struct codec_error *error;
    int16_t version;
    bool flexible;
    struct codec_path path;
};

static enum err write_struct(struct writer *w, const struct msg_struct *type, const void *msg);

static enum err __attribute__((cold, format(printf, 3, 4)))
write_fail(const struct writer *w, enum err err, const char *fmt, ...)
{
    char text[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    codec_error_set(w->error, w->schema, w->version, &w->path, "%s", text);
    return err;
}

/* Room for `len` bytes that the caller fills; NULL when the buffer has failed. */
static inline uint8_t *room(struct writer *w, size_t len)
{
    struct buf *out = w->out;
    if (__builtin_expect(out->cap - out->len < len || out->err != ERR_OK, 0))
        return buf_extend(out, len);
    uint8_t *at = out->data + out->len;
    out->len += len;
    return at;
}

static inline void put_8(struct writer *w, uint8_t v)
{
    uint8_t *at = room(w, 1);
    if (at)
        *at = v;
}

static inline void put_16(struct writer *w, uint16_t v)
{
    uint8_t *at = room(w, 2);
    if (at)
        be16_store(at, v);
}

static inline void put_32(struct writer *w, uint32_t v)
{
    uint8_t *at = room(w, 4);
    if (at)
        be32_store(at, v);
}

static inline void put_64(struct writer *w, uint64_t v)
{
    uint8_t *at = room(w, 8);
    if (at)
        be64_store(at, v);
}

static inline void put_bytes(struct writer *w, const void *data, size_t len)
{
    uint8_t *at = room(w, len);
    if (at && len)
        memcpy(at, data, len);
}

static inline void put_uvarint(struct writer *w, uint32_t v)
{
    if (v < 0x80)
        put_8(w, (uint8_t)v);
    else
        buf_put_uvarint(w->out, v);
}

static enum err write_null(struct writer *w, size_t width)
{
    if (!codec_path_may_be_null(&w->path, w->version))
        return write_fail(w, ERR_MALFORMED, "null is not allowed here");
    if (w->flexible)
        put_8(w, 0);
    else if (width == 2)
        put_16(w, UINT16_MAX);
    else
        put_32(w, UINT32_MAX);
    return ERR_OK;
}

static inline void write_len(struct writer *w, size_t len, size_t width)
{
    if (w->flexible)
        put_uvarint(w, (uint32_t)len + 1);
    else if (width == 2)
        put_16(w, (uint16_t)len);
    else
        put_32(w, (uint32_t)len);
}

static enum err write_string(struct writer *w, struct str s)
{
    if (!s.data)
        return write_null(w, 2);
    if (s.len > MSG_STRING_MAX)
        return write_fail(w, ERR_MALFORMED, "a string of %zu bytes; at most %d are allowed", s.len,
                          MSG_STRING_MAX);
    write_len(w, s.len, 2);
    put_bytes(w, s.data, s.len);
    return ERR_OK;
}

static enum err add_part(struct writer *w, struct slice bytes)
{
    struct codec_parts *parts = w->parts;
    if (parts->len == parts->cap) {
        size_t cap = parts->cap ? parts->cap * 2 : 8;
        struct codec_part *items = arena_array(parts->arena, cap, sizeof(*items));
        if (!items)
            return write_fail(w, ERR_NOMEM, "over the memory limit of one message");
        if (parts->len)
            memcpy(items, parts->items, parts->len * sizeof(*items));
        parts->items = items;
        parts->cap = cap;
    }
    parts->items[parts->len++] = (struct codec_part){w->out->len, bytes};
    parts->bytes += bytes.len;
    return ERR_OK;
}

static enum err write_bytes(struct writer *w, const struct msg_field *field, struct slice s)
{
    if (!s.data)
        return write_null(w, 4);
    if (s.len > INT32_MAX)
        return write_fail(w, ERR_LIMIT, "%zu bytes in one field", s.len);
    write_len(w, s.len, 4);
    if (w->parts && field->kind == MSG_RECORDS)
        return s.len ? add_part(w, s) : ERR_OK;
    put_bytes(w, s.data, s.len);
    return ERR_OK;
}

static enum err write_nullable_struct(struct writer *w, const struct msg_field *field,
                                      const void *value)
{
    bool nullable = codec_field_is_nullable(field, w->version);
    if (!value && !nullable)
        return write_fail(w, ERR_MALFORMED, "null is not allowed here");
    if (nullable)
        put_8(w, value ? 1 : codec_field_is_tagged(field, w->version) ? 0 : UINT8_MAX);
    return value ? write_struct(w, field->type, value) : ERR_OK;
}

/* One value that is no array. */
static inline enum err write_value(struct writer *w, const struct msg_field *field, const void *at)
{
    switch ((enum msg_kind)field->kind) {
    case MSG_BOOL:
        put_8(w, *(const bool *)at);
        return ERR_OK;
    case MSG_I8:
        put_8(w, *(const uint8_t *)at);
        return ERR_OK;
    case MSG_I16:
    case MSG_U16:
        put_16(w, *(const uint16_t *)at);
        return ERR_OK;
    case MSG_I32:
    case MSG_U32:
        put_32(w, *(const uint32_t *)at);
        return ERR_OK;
    case MSG_I64:
    case MSG_F64: {
        uint64_t bits;
        memcpy(&bits, at, sizeof(bits));
        put_64(w, bits);
        return ERR_OK;
    }
    case MSG_UUID:
        put_bytes(w, at, sizeof(struct uuid));
        return ERR_OK;
    case MSG_STRING:
        return write_string(w, *(const struct str *)at);
    case MSG_BYTES:
    case MSG_RECORDS:
        return write_bytes(w, field, *(const struct slice *)at);
    case MSG_STRUCT:
        if (field->is_pointer)
            return write_nullable_struct(w, field, *(void *const *)at);
        return write_struct(w, field->type, at);
    }
    UNREACHABLE();
}

static enum err write_array(struct writer *w, const struct msg_field *field, const void *at)
{
    const struct codec_array *array = at;
    if (array->len < 0)
        return write_null(w, 4);
    if (array->len > MSG_ARRAY_MAX)
        return write_fail(w, ERR_LIMIT, "an array of %d elements; at most %d are allowed",
                          array->len, MSG_ARRAY_MAX);
    write_len(w, (size_t)array->len, 4);
    size_t size = codec_kind_size(field);
    int32_t *index = &w->path.levels[w->path.depth - 1].index;
    for (int32_t i = 0; i < array->len; i++) {
        *index = i;
        TRY(write_value(w, field, (const char *)array->items + (size_t)i * size));
    }
    return ERR_OK;
}

static inline enum err write_field(struct writer *w, const struct msg_field *field, const void *msg)
{
    const void *at = codec_at_const(msg, field);
    codec_path_push(&w->path, field);
    TRY(field->is_array ? write_array(w, field, at) : write_value(w, field, at));
    w->path.depth--;
    return ERR_OK;
}

/* The size goes in front of what stands at [begin, len), behind the one byte that was kept. */
static void put_size_before(struct writer *w, size_t begin)
{
    if (w->out->err != ERR_OK)
        return;
    uint8_t text[VARINT32_BYTES_MAX];
    size_t size = w->out->len - begin;
    size_t text_len = uvarint32_store(text, (uint32_t)size);
    if (text_len > 1 && !buf_extend(w->out, text_len - 1))
        return;
    uint8_t *at = w->out->data + begin - 1;
    memmove(at + text_len, at + 1, size);
    memcpy(at, text, text_len);
}

static enum err write_tag(struct writer *w, const struct msg_field *field, const void *msg)
{
    put_uvarint(w, (uint32_t)field->tag);
    put_8(w, 0);
    size_t begin = w->out->len;
    size_t parts_len = w->parts ? w->parts->len : 0;
    TRY(write_field(w, field, msg));
    /* What follows may move: no part may point there. Records are never in a tagged field. */
    ASSERT(!w->parts || w->parts->len == parts_len);
    put_size_before(w, begin);
    return ERR_OK;
}

static void write_unknown_tag(struct writer *w, const struct unknown_tag *tag)
{
    put_uvarint(w, tag->tag);
    put_uvarint(w, (uint32_t)tag->data.len);
    put_bytes(w, tag->data.data, tag->data.len);
}

static bool tag_is_written(const struct writer *w, const struct msg_field *field, const void *msg)
{
    return codec_field_is_in(field, w->version) && codec_field_is_tagged(field, w->version) &&
           !codec_field_is_default(field, msg);
}

/* Known and unknown tags merged in the order of their numbers, each once. */
static enum err __attribute__((noinline))
write_tags_merged(struct writer *w, const struct msg_struct *type, const void *msg, uint32_t count)
{
    const struct unknown_tags *unknown = codec_unknown_tags_const(type, msg);
    if (count > MSG_TAGS_MAX)
        return write_fail(w, ERR_LIMIT, "%u tagged fields; at most %d are allowed", count,
                          MSG_TAGS_MAX);
    put_uvarint(w, count);
    int32_t next = 0;
    int64_t last = -1;
    for (uint16_t i = 0; i <= type->tagged_len; i++) {
        const struct msg_field *field = NULL;
        if (i < type->tagged_len)
            field = &type->fields[type->tagged[i]];
        for (; next < unknown->len; next++) {
            const struct unknown_tag *tag = &unknown->items[next];
            if (field && tag->tag >= (uint32_t)field->tag)
                break;
            if ((int64_t)tag->tag <= last)
                return write_fail(w, ERR_MALFORMED, "unknown tag %u is out of order", tag->tag);
            write_unknown_tag(w, tag);
            last = tag->tag;
        }
        if (field && tag_is_written(w, field, msg))
            TRY(write_tag(w, field, msg));
        if (field)
            last = field->tag;
    }
    return ERR_OK;
}

static enum err write_tags(struct writer *w, const struct msg_struct *type, const void *msg)
{
    const struct unknown_tags *unknown = codec_unknown_tags_const(type, msg);
    uint32_t count = (uint32_t)unknown->len;
    for (uint16_t i = 0; i < type->tagged_len; i++)
        count += tag_is_written(w, &type->fields[type->tagged[i]], msg);
    if (count == 0) {
        put_8(w, 0);
        return ERR_OK;
    }
    return write_tags_merged(w, type, msg, count);
}

static enum err check_absent(struct writer *w, const struct msg_field *field, const void *msg)
{
    if (field->is_ignorable || codec_field_is_default(field, msg))
        return ERR_OK;
    codec_path_push(&w->path, field);
    return write_fail(w, ERR_UNSUPPORTED_VERSION, "this version has no such field");
}

static enum err write_struct(struct writer *w, const struct msg_struct *type, const void *msg)
{
    const struct msg_field *end = type->fields + type->fields_len;
    for (const struct msg_field *field = type->fields; field < end; field++) {
        if (!codec_field_is_in(field, w->version))
            TRY(check_absent(w, field, msg));
        else if (!codec_field_is_tagged(field, w->version))
            TRY(write_field(w, field, msg));
    }
    if (w->flexible)
        return write_tags(w, type, msg);
    if (type->unknown_tags_offset != MSG_NO_TAGS && codec_unknown_tags_const(type, msg)->len > 0)
        return write_fail(w, ERR_UNSUPPORTED_VERSION, "this version has no tagged fields");
    return ERR_OK;
}

static enum err encode(struct writer *w, const void *msg)
{
    const struct msg_schema *schema = w->schema;
    if (!codec_has_version(schema, w->version))
        return write_fail(w, ERR_UNSUPPORTED_VERSION, "versions %d to %d are known",
                          schema->version_min, schema->version_max);
    TRY(write_struct(w, schema->root, msg));
    if (w->out->err != ERR_OK)
        return write_fail(w, w->out->err, "the buffer is full at %zu bytes", w->out->len);
    return ERR_OK;
}

enum err codec_encode_scatter(const struct msg_schema *schema, int16_t version, const void *msg,
                              struct buf *out, struct codec_parts *parts, struct codec_error *error)
{
    struct writer w = {
        .out = out,
        .parts = parts,
        .schema = schema,
        .error = error,
        .version = version,
        .flexible = version >= schema->flexible_min,
    };
    size_t len = out->len;
    enum err err = encode(&w, msg);
    if (err != ERR_OK)
        out->len = len;
    return err;
}

enum err codec_encode(const struct msg_schema *schema, int16_t version, const void *msg,
                      struct buf *out, struct codec_error *error)
{
    return codec_encode_scatter(schema, version, msg, out, NULL, error);
}
