/* The codec's common part: defaults and errors. Pure; any thread.
 *
 * Invariant of every decoded or initialised message: each field holds a valid value, whether its
 * version has the field or not, so that code may read any field without asking for the version. */
#include "wire/codec.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "wire/codec_internal.h"

void codec_error_set(struct codec_error *error, const struct msg_schema *schema, int16_t version,
                     const struct codec_path *path, const char *fmt, ...)
{
    if (!error)
        return;
    size_t cap = sizeof(error->text);
    size_t len = (size_t)snprintf(error->text, cap, "%s v%d: ", schema->name, version);
    for (int i = 0; i < path->depth && len < cap; i++) {
        const struct msg_field *field = path->levels[i].field;
        len += (size_t)snprintf(error->text + len, cap - len, "%s%s", i ? "." : "", field->name);
        if (path->levels[i].index >= 0 && len < cap)
            len += (size_t)snprintf(error->text + len, cap - len, "[%d]", path->levels[i].index);
    }
    if (len < cap && path->depth)
        len += (size_t)snprintf(error->text + len, cap - len, " ");
    if (len >= cap)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(error->text + len, cap - len, fmt, args);
    va_end(args);
}

size_t codec_kind_size(const struct msg_field *field)
{
    switch ((enum msg_kind)field->kind) {
    case MSG_BOOL:
        return sizeof(bool);
    case MSG_I8:
        return 1;
    case MSG_I16:
    case MSG_U16:
        return 2;
    case MSG_I32:
    case MSG_U32:
        return 4;
    case MSG_I64:
    case MSG_F64:
        return 8;
    case MSG_UUID:
        return sizeof(struct uuid);
    case MSG_STRING:
        return sizeof(struct str);
    case MSG_BYTES:
    case MSG_RECORDS:
        return sizeof(struct slice);
    case MSG_STRUCT:
        return field->type->size;
    }
    UNREACHABLE();
}

/* Stores a number in the width of its kind. */
static void number_store(enum msg_kind kind, void *at, int64_t value)
{
    switch (kind) {
    case MSG_BOOL:
        *(bool *)at = value != 0;
        return;
    case MSG_I8:
        *(int8_t *)at = (int8_t)value;
        return;
    case MSG_I16:
    case MSG_U16:
        *(uint16_t *)at = (uint16_t)value;
        return;
    case MSG_I32:
    case MSG_U32:
        *(uint32_t *)at = (uint32_t)value;
        return;
    case MSG_I64:
        *(int64_t *)at = value;
        return;
    case MSG_F64:
        *(double *)at = (double)value;
        return;
    default:
        UNREACHABLE();
    }
}

void codec_field_init(const struct msg_field *field, void *msg)
{
    void *at = codec_at(msg, field);
    if (field->is_array) {
        struct codec_array *array = at;
        array->items = NULL;
        array->len = field->is_null_default ? -1 : 0;
        return;
    }
    switch ((enum msg_kind)field->kind) {
    case MSG_UUID:
        *(struct uuid *)at = UUID_ZERO;
        return;
    case MSG_STRING:
        *(struct str *)at = field->is_null_default ? STR_NULL : STR("");
        return;
    case MSG_BYTES:
    case MSG_RECORDS:
        *(struct slice *)at = field->is_null_default ? SLICE_NULL : slice_of("", 0);
        return;
    case MSG_STRUCT:
        if (field->is_pointer)
            *(const void **)at = field->default_struct;
        else
            codec_struct_init(field->type, at);
        return;
    default:
        number_store((enum msg_kind)field->kind, at, field->default_value);
    }
}

void codec_struct_init(const struct msg_struct *type, void *msg)
{
    memset(msg, 0, type->size);
    for (const struct msg_field *f = type->fields; f < type->fields + type->fields_len; f++)
        codec_field_init(f, msg);
}

void codec_init(const struct msg_schema *schema, void *msg)
{
    codec_struct_init(schema->root, msg);
}

void *codec_struct_array(const struct msg_struct *type, struct arena *arena, size_t count)
{
    char *items = arena_array(arena, count, type->size);
    for (size_t i = 0; items && i < count; i++)
        codec_struct_init(type, items + i * type->size);
    return items;
}

static bool struct_is_default(const struct msg_struct *type, const void *msg)
{
    for (const struct msg_field *f = type->fields; f < type->fields + type->fields_len; f++)
        if (!codec_field_is_default(f, msg))
            return false;
    return type->unknown_tags_offset == MSG_NO_TAGS ||
           codec_unknown_tags_const(type, msg)->len == 0;
}

bool codec_field_is_default(const struct msg_field *field, const void *msg)
{
    const void *at = codec_at_const(msg, field);
    if (field->is_array)
        return ((const struct codec_array *)at)->len == (field->is_null_default ? -1 : 0);
    int64_t value = field->default_value;
    switch ((enum msg_kind)field->kind) {
    case MSG_BOOL:
        return *(const bool *)at == (value != 0);
    case MSG_I8:
        return *(const int8_t *)at == (int8_t)value;
    case MSG_I16:
    case MSG_U16:
        return *(const uint16_t *)at == (uint16_t)value;
    case MSG_I32:
    case MSG_U32:
        return *(const uint32_t *)at == (uint32_t)value;
    case MSG_I64:
        return *(const int64_t *)at == value;
    case MSG_F64:
        return *(const uint64_t *)at == 0;
    case MSG_UUID:
        return uuid_is_zero(*(const struct uuid *)at);
    case MSG_STRING: {
        struct str s = *(const struct str *)at;
        return field->is_null_default ? s.data == NULL : s.data != NULL && s.len == 0;
    }
    case MSG_BYTES:
    case MSG_RECORDS: {
        struct slice s = *(const struct slice *)at;
        return field->is_null_default ? s.data == NULL : s.data != NULL && s.len == 0;
    }
    case MSG_STRUCT:
        if (field->is_pointer)
            at = *(void *const *)at;
        if (field->is_pointer && field->is_null_default)
            return at == NULL;
        return at != NULL && struct_is_default(field->type, at);
    }
    UNREACHABLE();
}
