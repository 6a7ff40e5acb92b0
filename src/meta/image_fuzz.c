/* Goal: no metadata log makes the image misbehave, and whatever image comes of one is rebuilt
 * exactly by its own snapshot. Method: the input is a run of framed records, each behind a length
 * of two bytes whose top bit ends a batch; records that do not decode are left out, batches that do
 * not apply leave the image as it was. */
#include "base/assert.h"
#include "meta/controller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ARENA_BYTES_MAX ((size_t)256 << 20)

static void snapshot_bytes(const struct image *image, struct arena *arena, struct buf *buf)
{
    struct meta_records records;
    meta_records_init(&records, arena);
    enum err err = image_snapshot(image, &records);
    ASSERT(err == ERR_OK);
    for (size_t i = 0; i < records.count; i++) {
        err = meta_record_encode(&records.items[i], buf);
        ASSERT(err == ERR_OK || err == ERR_UNSUPPORTED_VERSION || err == ERR_MALFORMED);
    }
}

static struct image *apply(struct image *image, struct meta_records *batch, struct arena *arena)
{
    struct image *next;
    struct meta_error error;
    int64_t end = image->end_offset + (int64_t)batch->count;
    enum err err = image_apply(image, batch->items, batch->count, end, 1, 1, arena, &next, &error);
    meta_records_init(batch, arena);
    if (err) {
        ASSERT(error.text.len > 0);
        return image;
    }
    image_unref(image);
    return next;
}

/* Takes the image over. */
static struct image *replay(struct image *image, const uint8_t *data, size_t len,
                            struct arena *arena)
{
    struct meta_records batch;
    meta_records_init(&batch, arena);
    while (len >= 2) {
        uint16_t head = be16_load(data);
        size_t size = head & 0x7fff;
        size = size < len - 2 ? size : len - 2;
        struct meta_record record;
        struct meta_error error;
        if (meta_record_decode(slice_of(data + 2, size), arena, &record, &error) == ERR_OK &&
            meta_records_add(&batch, record.type, record.version, record.body) != ERR_OK)
            break;
        if (head & 0x8000)
            image = apply(image, &batch, arena);
        data += size + 2;
        len -= size + 2;
    }
    return apply(image, &batch, arena);
}

static void check_snapshot(const struct image *image, struct arena *arena)
{
    struct meta_records records;
    struct image *empty;
    struct image *copy;
    struct meta_error error;
    struct buf before, after;
    meta_records_init(&records, arena);
    enum err err = image_snapshot(image, &records);
    ASSERT(err == ERR_OK);
    err = image_create_empty(&empty);
    ASSERT(err == ERR_OK);
    err = image_apply(empty, records.items, records.count, image->end_offset, image->epoch,
                      image->timestamp_ms, arena, &copy, &error);
    ASSERT(err == ERR_OK);
    buf_init(&before, BUF_NO_LIMIT);
    buf_init(&after, BUF_NO_LIMIT);
    snapshot_bytes(image, arena, &before);
    snapshot_bytes(copy, arena, &after);
    ASSERT(before.len == after.len);
    ASSERT(before.len == 0 || memcmp(before.data, after.data, before.len) == 0);
    ASSERT(image->partition_count == copy->partition_count);
    buf_deinit(&before);
    buf_deinit(&after);
    image_unref(copy);
    image_unref(empty);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena arena;
    struct image *image;
    struct meta_error error;
    arena_init(&arena, ARENA_BYTES_MAX);
    if (image_create_empty(&image) == ERR_OK) {
        image = replay(image, data, len, &arena);
        check_snapshot(image, &arena);
        (void)(features_check(image, &arena, &error) == ERR_OK);
        image_unref(image);
    }
    arena_deinit(&arena);
    return 0;
}
