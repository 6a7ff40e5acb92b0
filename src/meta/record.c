/* Metadata records between structs and framed bytes; see record.h for the frame.
 * Pure; any thread. */
#include "meta/record.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "wire/codec.h"
#include "wire/records.h"

/* Names of topics come from clients and are cut off at some length. */
#define ERROR_TEXT_MAX 4096

enum err meta_error_set(struct meta_error *error, struct arena *arena, enum err err,
                        const char *fmt, ...)
{
    if (!error)
        return err;
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t used = len < 0 ? 0 : (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    struct str copy = arena_str(arena, (struct str){text, used});
    *error = (struct meta_error){err, copy.data ? copy : str_of(err_text(err))};
    return err;
}

void meta_records_init(struct meta_records *records, struct arena *arena)
{
    *records = (struct meta_records){.arena = arena};
}

enum err meta_records_add(struct meta_records *records, int16_t type, int16_t version,
                          const void *body)
{
    if (records->count == records->cap) {
        size_t cap = records->cap ? records->cap * 2 : 16;
        struct meta_record *items = arena_array(records->arena, cap, sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        if (records->count)
            memcpy(items, records->items, records->count * sizeof(*items));
        records->items = items;
        records->cap = cap;
    }
    records->items[records->count++] = (struct meta_record){type, version, body};
    return ERR_OK;
}

enum err meta_record_encode(const struct meta_record *record, struct buf *buf)
{
    const struct record_info *info = record_find(RECORD_METADATA, record->type);
    ASSERT(info);
    return record_metadata_encode(info, record->version, record->body, buf, NULL);
}

enum err meta_record_decode(struct slice value, struct arena *arena, struct meta_record *record,
                            struct meta_error *error)
{
    struct record_part part = {0};
    struct codec_error codec_error = {""};
    enum err err = record_metadata_decode(value, arena, &part, &codec_error);
    if (err)
        return meta_error_set(error, arena, err, "a metadata record cannot be read: %s",
                              codec_error.text[0] ? codec_error.text : err_text(err));
    *record = (struct meta_record){part.info->type, part.version, part.msg};
    return ERR_OK;
}

const char *meta_record_type_name(int16_t type)
{
    const struct record_info *info = record_find(RECORD_METADATA, type);
    return info ? info->name : NULL;
}

int16_t meta_record_version(enum meta_type type, int16_t metadata_version)
{
    switch (type) {
    case META_REGISTER_BROKER:
        return metadata_version >= MV_CORDONED_LOG_DIRS ? 4
               : metadata_version >= MV_DIRECTORIES     ? 3
               : metadata_version >= MV_MIGRATION       ? 2
                                                        : 1;
    case META_PARTITION:
    case META_PARTITION_CHANGE:
        return metadata_version >= MV_ELR ? 2 : metadata_version >= MV_DIRECTORIES ? 1 : 0;
    case META_BROKER_REGISTRATION_CHANGE:
        return metadata_version >= MV_CORDONED_LOG_DIRS ? 3
               : metadata_version >= MV_DIRECTORIES     ? 2
                                                        : 1;
    default:
        return 0;
    }
}
