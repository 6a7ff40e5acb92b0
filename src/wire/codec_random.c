/* Invented messages, for round trips and fuzzing. Pure; any thread.
 *
 * A message has a value only where its version has the field; arrays are short, numbers are often
 * at the edges of their type, strings are valid UTF-8. */
#include "base/assert.h"
#include "base/rng.h"
#include "wire/codec_internal.h"

#define ARRAY_LEN_MAX     3
#define SHORT_LEN_MAX     12
#define LONG_LEN_MAX      300 /* past 127: a length of two bytes */
#define UNKNOWN_TAGS_MAX  3
#define UNKNOWN_TAG_FIRST 1000 /* above every tag that a schema uses */
#define UNKNOWN_TAG_STEPS 100000
#define FILL_PERIOD       26

struct inventor {
    struct rng *rng;
    struct arena *arena;
    int16_t version;
    bool flexible;
};

static enum err invent_struct(struct inventor *in, const struct msg_struct *type, void *msg);

static size_t invent_len(struct inventor *in)
{
    return (size_t)rng_below(in->rng, rng_chance(in->rng, 1, 20) ? LONG_LEN_MAX : SHORT_LEN_MAX);
}

static uint64_t invent_number(struct inventor *in)
{
    static const uint64_t edges[] = {
        0,         1,          UINT64_MAX, INT8_MAX,           0x80, INT16_MAX, 0x8000,
        INT32_MAX, 0x80000000, INT64_MAX,  (uint64_t)INT64_MIN};
    if (rng_chance(in->rng, 1, 3))
        return edges[rng_below(in->rng, ARRAY_LEN(edges))];
    return rng_u64(in->rng);
}

static enum err invent_string(struct inventor *in, struct str *to)
{
    size_t len = invent_len(in);
    char *text = arena_alloc(in->arena, len + 2);
    if (!text)
        return ERR_NOMEM;
    size_t at = 0;
    while (at < len) {
        if (rng_chance(in->rng, 1, 16)) {
            memcpy(text + at, "\xc3\xa9", 2);
            at += 2;
        } else {
            text[at++] = (char)('a' + rng_below(in->rng, FILL_PERIOD));
        }
    }
    *to = (struct str){text, at};
    return ERR_OK;
}

static enum err invent_bytes(struct inventor *in, struct slice *to)
{
    size_t len = invent_len(in);
    uint8_t *bytes = arena_alloc(in->arena, len);
    if (!bytes)
        return ERR_NOMEM;
    rng_bytes(in->rng, bytes, len);
    *to = slice_of(bytes, len);
    return ERR_OK;
}

static enum err invent_value(struct inventor *in, const struct msg_field *field, void *at)
{
    uint64_t number = 0;
    switch ((enum msg_kind)field->kind) {
    case MSG_BOOL:
        *(bool *)at = rng_chance(in->rng, 1, 2);
        return ERR_OK;
    case MSG_F64:
        *(double *)at = (double)rng_range(in->rng, -1000000, 1000000) / 8;
        return ERR_OK;
    case MSG_I8:
    case MSG_I16:
    case MSG_U16:
    case MSG_I32:
    case MSG_U32:
    case MSG_I64:
        /* The low bytes of a little-endian number are the number in a smaller width. */
        number = invent_number(in);
        memcpy(at, &number, codec_kind_size(field));
        return ERR_OK;
    case MSG_UUID:
        rng_bytes(in->rng, at, sizeof(struct uuid));
        return ERR_OK;
    case MSG_STRING:
        return invent_string(in, at);
    case MSG_BYTES:
    case MSG_RECORDS:
        return invent_bytes(in, at);
    case MSG_STRUCT:
        if (!field->is_pointer)
            return invent_struct(in, field->type, at);
        void *msg = arena_alloc(in->arena, field->type->size);
        if (!msg)
            return ERR_NOMEM;
        *(void **)at = msg;
        return invent_struct(in, field->type, msg);
    }
    UNREACHABLE();
}

static enum err invent_array(struct inventor *in, const struct msg_field *field, void *at)
{
    struct codec_array *array = at;
    size_t size = codec_kind_size(field);
    int32_t len = (int32_t)rng_below(in->rng, ARRAY_LEN_MAX + 1);
    char *items = arena_array(in->arena, (size_t)len, size);
    if (!items)
        return ERR_NOMEM;
    array->items = items;
    array->len = len;
    for (int32_t i = 0; i < len; i++)
        TRY(invent_value(in, field, items + (size_t)i * size));
    return ERR_OK;
}

static void set_null(const struct msg_field *field, void *at)
{
    if (field->is_array)
        *(struct codec_array *)at = (struct codec_array){NULL, -1};
    else if (field->kind == MSG_STRING)
        *(struct str *)at = STR_NULL;
    else if (field->kind == MSG_STRUCT)
        *(void **)at = NULL;
    else
        *(struct slice *)at = SLICE_NULL;
}

static enum err invent_field(struct inventor *in, const struct msg_field *field, void *msg)
{
    void *at = codec_at(msg, field);
    if (codec_field_is_tagged(field, in->version) && rng_chance(in->rng, 1, 2))
        return ERR_OK;
    if (codec_field_is_nullable(field, in->version) && rng_chance(in->rng, 1, 4)) {
        set_null(field, at);
        return ERR_OK;
    }
    return field->is_array ? invent_array(in, field, at) : invent_value(in, field, at);
}

static enum err invent_unknown_tags(struct inventor *in, struct unknown_tags *tags)
{
    int32_t len = (int32_t)rng_below(in->rng, UNKNOWN_TAGS_MAX) + 1;
    tags->items = arena_array(in->arena, (size_t)len, sizeof(*tags->items));
    if (!tags->items)
        return ERR_NOMEM;
    uint32_t tag = UNKNOWN_TAG_FIRST;
    for (; tags->len < len; tags->len++) {
        tag += (uint32_t)rng_below(in->rng, UNKNOWN_TAG_STEPS) + 1;
        tags->items[tags->len].tag = tag;
        TRY(invent_bytes(in, &tags->items[tags->len].data));
    }
    return ERR_OK;
}

static enum err invent_struct(struct inventor *in, const struct msg_struct *type, void *msg)
{
    codec_struct_init(type, msg);
    for (const struct msg_field *f = type->fields; f < type->fields + type->fields_len; f++)
        if (codec_field_is_in(f, in->version))
            TRY(invent_field(in, f, msg));
    if (in->flexible && rng_chance(in->rng, 1, 8))
        return invent_unknown_tags(in, codec_unknown_tags(type, msg));
    return ERR_OK;
}

enum err codec_random(const struct msg_schema *schema, int16_t version, struct rng *rng,
                      struct arena *arena, void *out)
{
    ASSERT(codec_has_version(schema, version));
    struct inventor in = {rng, arena, version, version >= schema->flexible_min};
    return invent_struct(&in, schema->root, out);
}
