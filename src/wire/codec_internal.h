/* What the parts of the codec share: codec_read.c, codec_write.c, codec_print.c, codec_random.c. */
#ifndef WIRE_CODEC_INTERNAL_H
#define WIRE_CODEC_INTERNAL_H

#include "base/assert.h"
#include "wire/codec.h"

/* Where in a message the codec is, for errors. */
struct codec_path {
    struct {
        const struct msg_field *field;
        int32_t index; /* in an array; -1 outside of one */
    } levels[MSG_DEPTH_MAX];
    int depth;
};

static inline void codec_path_push(struct codec_path *path, const struct msg_field *field)
{
    ASSERT(path->depth < MSG_DEPTH_MAX);
    path->levels[path->depth].field = field;
    path->levels[path->depth].index = -1;
    path->depth++;
}

/* Fills error->text (unless NULL) with the message, the path and what is wrong. */
void codec_error_set(struct codec_error *error, const struct msg_schema *schema, int16_t version,
                     const struct codec_path *path, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

void codec_field_init(const struct msg_field *field, void *msg);
bool codec_field_is_default(const struct msg_field *field, const void *msg);
/* Bytes of one value in memory; for an array, of one element. */
size_t codec_kind_size(const struct msg_field *field);

static inline void *codec_at(void *msg, const struct msg_field *field)
{
    return (char *)msg + field->offset;
}

static inline const void *codec_at_const(const void *msg, const struct msg_field *field)
{
    return (const char *)msg + field->offset;
}

/* An array's length stands behind its pointer. */
struct codec_array {
    void *items;
    int32_t len;
};

static inline bool codec_field_is_in(const struct msg_field *field, int16_t version)
{
    return version >= field->version_min && version <= field->version_max;
}

static inline bool codec_field_is_tagged(const struct msg_field *field, int16_t version)
{
    return version >= field->tag_min;
}

static inline bool codec_field_is_nullable(const struct msg_field *field, int16_t version)
{
    return version >= field->nullable_min && version <= field->nullable_max;
}

static inline struct unknown_tags *codec_unknown_tags(const struct msg_struct *type, void *msg)
{
    return (struct unknown_tags *)(void *)((char *)msg + type->unknown_tags_offset);
}

static inline const struct unknown_tags *codec_unknown_tags_const(const struct msg_struct *type,
                                                                  const void *msg)
{
    return (const struct unknown_tags *)(const void *)((const char *)msg +
                                                       type->unknown_tags_offset);
}

/* Whether null may stand where the path ends: a nullable array has no null elements. */
static inline bool codec_path_may_be_null(const struct codec_path *path, int16_t version)
{
    const struct msg_field *field = path->levels[path->depth - 1].field;
    return codec_field_is_nullable(field, version) && path->levels[path->depth - 1].index < 0;
}

#endif
