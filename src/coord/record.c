/* Records of `__consumer_offsets` between structs and bytes. Pure; any thread. */
#include "coord/record.h"

#include <string.h>

#include "base/assert.h"
#include "wire/records.h"

void coord_records_init(struct coord_records *records, struct arena *arena)
{
    *records = (struct coord_records){.arena = arena};
}

enum err coord_records_add(struct coord_records *records, const struct coord_record *record)
{
    if (records->count == records->cap) {
        size_t cap = records->cap ? records->cap * 2 : 8;
        struct coord_record *items = arena_array(records->arena, cap, sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        if (records->count > 0)
            memcpy(items, records->items, records->count * sizeof(*items));
        records->items = items;
        records->cap = cap;
    }
    records->items[records->count++] = *record;
    return ERR_OK;
}

enum err coord_record_encode_key(const struct coord_record *record, struct buf *buf)
{
    const struct record_info *info = record_find(RECORD_GROUP, record->type);
    ASSERT(info);
    return record_key_encode(info, record->key, buf, NULL);
}

enum err coord_record_encode_value(const struct coord_record *record, struct buf *buf)
{
    const struct record_info *info = record_find(RECORD_GROUP, record->type);
    ASSERT(info && record->value);
    return record_value_encode(info, record->version, record->value, buf, NULL);
}

enum err coord_record_decode(struct slice key, struct slice value, struct arena *arena,
                             struct coord_record *record)
{
    struct record_part key_part = {0}, value_part = {0};
    TRY(record_key_decode(RECORD_GROUP, key, arena, &key_part, NULL));
    *record = (struct coord_record){.type = key_part.info->type, .key = key_part.msg};
    if (!value.data)
        return ERR_OK;
    TRY(record_value_decode(key_part.info, value, arena, &value_part, NULL));
    record->version = value_part.version;
    record->value = value_part.msg;
    return ERR_OK;
}
