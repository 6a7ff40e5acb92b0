/* Records of the internal topics and of the metadata log; records.h has the format. Pure; any
 * thread. The table is generated, some eighty rows; a scan is fine where records are decoded. */
#include "wire/records.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/assert.h"

#define METADATA_FRAME_VERSION 1
#define VERSION_SIZE           2

const struct record_info *record_find(enum record_family family, int16_t type)
{
    for (int i = 0; i < record_table_len; i++)
        if (record_table[i].family == family && record_table[i].type == type)
            return &record_table[i];
    return NULL;
}

static enum err __attribute__((format(printf, 3, 4)))
fail(struct codec_error *error, enum err err, const char *fmt, ...)
{
    if (error) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(error->text, sizeof(error->text), fmt, args);
        va_end(args);
    }
    return err;
}

/* Decodes part->schema at part->version; all the bytes must be the message's. */
static enum err decode_rest(struct slice bytes, struct arena *arena, struct record_part *part,
                            struct codec_error *error)
{
    part->msg = arena_alloc(arena, part->schema->root->size);
    if (!part->msg)
        return fail(error, ERR_NOMEM, "%s: over the memory limit", part->schema->name);
    size_t used;
    TRY(codec_decode(part->schema, part->version, bytes, &used, arena, part->msg, error));
    if (used != bytes.len)
        return fail(error, ERR_MALFORMED, "%s v%d: %zu bytes follow the message",
                    part->schema->name, part->version, bytes.len - used);
    return ERR_OK;
}

enum err record_key_decode(enum record_family family, struct slice bytes, struct arena *arena,
                           struct record_part *part, struct codec_error *error)
{
    ASSERT(family != RECORD_METADATA);
    *part = (struct record_part){0};
    if (bytes.len < VERSION_SIZE)
        return fail(error, ERR_TRUNCATED, "a record's key of %zu bytes has no type", bytes.len);
    int16_t type = (int16_t)be16_load(bytes.data);
    part->info = record_find(family, type);
    if (!part->info)
        return fail(error, ERR_UNSUPPORTED, "records of type %d are not known", type);
    part->schema = part->info->key;
    return decode_rest(slice_of(bytes.data + VERSION_SIZE, bytes.len - VERSION_SIZE), arena, part,
                       error);
}

enum err record_value_decode(const struct record_info *info, struct slice bytes,
                             struct arena *arena, struct record_part *part,
                             struct codec_error *error)
{
    *part = (struct record_part){.info = info, .schema = info->value};
    if (bytes.len < VERSION_SIZE)
        return fail(error, ERR_TRUNCATED, "a %s value of %zu bytes has no version", info->name,
                    bytes.len);
    part->version = (int16_t)be16_load(bytes.data);
    return decode_rest(slice_of(bytes.data + VERSION_SIZE, bytes.len - VERSION_SIZE), arena, part,
                       error);
}

enum err record_metadata_decode(struct slice bytes, struct arena *arena, struct record_part *part,
                                struct codec_error *error)
{
    uint32_t head[3]; /* frame version, type, version */
    size_t at = 0;
    *part = (struct record_part){0};
    for (int i = 0; i < 3; i++) {
        size_t len = uvarint32_load(bytes.data + at, bytes.len - at, &head[i]);
        if (len == 0)
            return fail(error, ERR_TRUNCATED, "a metadata record of %zu bytes ends in its head",
                        bytes.len);
        at += len;
    }
    if (head[0] != METADATA_FRAME_VERSION)
        return fail(error, ERR_UNSUPPORTED, "metadata frame version %u is not known", head[0]);
    if (head[1] <= INT16_MAX)
        part->info = record_find(RECORD_METADATA, (int16_t)head[1]);
    if (!part->info)
        return fail(error, ERR_UNSUPPORTED, "metadata records of type %u are not known", head[1]);
    part->schema = part->info->value;
    if (head[2] > INT16_MAX)
        return fail(error, ERR_MALFORMED, "%s: version %u", part->info->name, head[2]);
    part->version = (int16_t)head[2];
    return decode_rest(slice_of(bytes.data + at, bytes.len - at), arena, part, error);
}

enum err record_key_encode(const struct record_info *info, const void *msg, struct buf *out,
                           struct codec_error *error)
{
    ASSERT(info->key != NULL);
    size_t len = out->len;
    buf_put_be16(out, (uint16_t)info->type);
    enum err err = codec_encode(info->key, 0, msg, out, error);
    if (err != ERR_OK)
        out->len = len;
    return err;
}

enum err record_value_encode(const struct record_info *info, int16_t version, const void *msg,
                             struct buf *out, struct codec_error *error)
{
    size_t len = out->len;
    buf_put_be16(out, (uint16_t)version);
    enum err err = codec_encode(info->value, version, msg, out, error);
    if (err != ERR_OK)
        out->len = len;
    return err;
}

enum err record_metadata_encode(const struct record_info *info, int16_t version, const void *msg,
                                struct buf *out, struct codec_error *error)
{
    ASSERT(info->family == RECORD_METADATA);
    size_t len = out->len;
    buf_put_uvarint(out, METADATA_FRAME_VERSION);
    buf_put_uvarint(out, (uint64_t)info->type);
    buf_put_uvarint(out, (uint64_t)version);
    enum err err = codec_encode(info->value, version, msg, out, error);
    if (err != ERR_OK)
        out->len = len;
    return err;
}
