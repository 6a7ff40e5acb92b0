/* Idempotent producers' state; the snapshot's format is in producers.h.
 *
 * Runs on: the shard that owns the log. The state is a function of the log's content: a snapshot
 * that a crash lost is made again by reading the batches behind an older one. */
#include "log/producers.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "base/plant.h"

#define SNAPSHOT_VERSION     1
#define SNAPSHOT_HEAD_BYTES  10
#define SNAPSHOT_CRC_AT      2
#define SNAPSHOT_CRC_FROM    6
#define SNAPSHOT_ENTRY_BYTES 46

static bool producer_has_id(const void *entry, const void *key)
{
    return ((const struct producer *)entry)->id == *(const int64_t *)key;
}

void producers_init(struct producers *producers, uint64_t seed)
{
    map_init(&producers->map, seed, producer_has_id);
    list_init(&producers->undecided);
    producers->visible_offset = 0;
}

void producers_swap(struct producers *a, struct producers *b)
{
    struct list undecided;
    struct map map = a->map;
    int64_t visible_offset = a->visible_offset;
    list_init(&undecided);
    list_splice(&undecided, &a->undecided);
    list_splice(&a->undecided, &b->undecided);
    list_splice(&b->undecided, &undecided);
    a->map = b->map;
    b->map = map;
    a->visible_offset = b->visible_offset;
    b->visible_offset = visible_offset;
}

void producers_clear(struct producers *producers)
{
    struct map_iter iter;
    map_iter_init(&iter, &producers->map);
    for (void *producer; (producer = map_iter_next(&iter)) != NULL;)
        free(producer);
    uint64_t seed = producers->map.seed;
    int64_t visible_offset = producers->visible_offset;
    map_deinit(&producers->map);
    producers_init(producers, seed);
    producers->visible_offset = visible_offset;
}

void producers_deinit(struct producers *producers)
{
    producers_clear(producers);
    map_deinit(&producers->map);
}

struct producer *producers_find(const struct producers *producers, int64_t id)
{
    return map_find(&producers->map, hash_u64(producers->map.seed, (uint64_t)id), &id);
}

static int32_t sequence_after(int32_t sequence)
{
    return sequence == INT32_MAX ? 0 : sequence + 1;
}

static const struct producer_batch *last_batch(const struct producer *producer)
{
    return producer->batch_count ? &producer->batches[producer->batch_count - 1] : NULL;
}

static const struct producer_batch *find_duplicate(const struct producer *producer,
                                                   const struct producer_append *append)
{
    for (uint32_t i = 0; i < producer->batch_count; i++) {
        const struct producer_batch *batch = &producer->batches[i];
        if (batch->first_sequence == append->first_sequence &&
            batch->last_sequence == append->last_sequence)
            return batch;
    }
    return NULL;
}

enum err producers_check(const struct producers *producers, const struct producer_append *append,
                         const struct producer_batch **duplicate)
{
    *duplicate = NULL;
    if (PLANTED(ACCEPT_REPEATS))
        return ERR_OK;
    const struct producer *producer = producers_find(producers, append->id);
    if (!producer)
        return ERR_OK; /* nothing is known of it: any first sequence goes, as in Kafka */
    if (append->epoch < producer->epoch)
        return ERR_INVALID_PRODUCER_EPOCH;
    if (append->is_control)
        return ERR_OK;
    if (append->epoch > producer->epoch)
        return append->first_sequence == 0 ? ERR_OK : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    const struct producer_batch *last = last_batch(producer);
    *duplicate = find_duplicate(producer, append);
    if (*duplicate || append->first_sequence == (last ? sequence_after(last->last_sequence) : 0))
        return ERR_OK;
    return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

static enum err producer_add(struct producers *producers, int64_t id, struct producer **out)
{
    struct producer *producer = calloc(1, sizeof(*producer));
    if (!producer)
        return ERR_NOMEM;
    producer->id = id;
    producer->coordinator_epoch = -1;
    producer->txn_first_offset = -1;
    producer->undecided_offset = -1;
    producer->marker_offset = -1;
    list_init(&producer->undecided_link);
    enum err err =
        map_insert(&producers->map, hash_u64(producers->map.seed, (uint64_t)id), producer);
    if (err != ERR_OK) {
        free(producer);
        return err;
    }
    *out = producer;
    return ERR_OK;
}

/* --- transactions --- */

static void decide(struct producer *producer)
{
    list_remove(&producer->undecided_link);
    producer->undecided_offset = -1;
    producer->marker_offset = -1;
}

static void txn_begin(struct producers *producers, struct producer *producer, int64_t first_offset)
{
    producer->txn_first_offset = first_offset;
    if (producer->marker_offset >= producers->visible_offset) {
        /* Its last one is not decided for readers either: both count from its beginning. */
        producer->marker_offset = -1;
        return;
    }
    list_remove(&producer->undecided_link);
    producer->undecided_offset = first_offset;
    producer->marker_offset = -1;
    /* Near the end, but for a snapshot, whose order is another. */
    struct list *before = producers->undecided.prev;
    while (before != &producers->undecided &&
           LIST_ENTRY(before, struct producer, undecided_link)->undecided_offset > first_offset)
        before = before->prev;
    list_insert_before(before->next, &producer->undecided_link);
}

static void txn_end(struct producers *producers, struct producer *producer, int64_t marker_offset)
{
    producer->txn_first_offset = -1;
    producer->marker_offset = marker_offset;
    if (marker_offset < producers->visible_offset)
        decide(producer);
}

void producers_set_visible(struct producers *producers, int64_t offset)
{
    producers->visible_offset = offset;
}

int64_t producers_undecided_offset(struct producers *producers)
{
    LIST_FOREACH_SAFE (node, &producers->undecided) {
        struct producer *producer = LIST_ENTRY(node, struct producer, undecided_link);
        if (producer->marker_offset < 0 || producer->marker_offset >= producers->visible_offset)
            return producer->undecided_offset;
        decide(producer);
    }
    return INT64_MAX;
}

enum err producers_note(struct producers *producers, const struct producer_append *append,
                        int64_t *ended_offset)
{
    *ended_offset = -1;
    struct producer *producer = producers_find(producers, append->id);
    if (!producer)
        TRY(producer_add(producers, append->id, &producer));
    if (append->epoch != producer->epoch) {
        producer->epoch = append->epoch;
        producer->batch_count = 0;
    }
    producer->last_timestamp = append->timestamp;
    if (append->is_control) {
        *ended_offset = producer->txn_first_offset;
        if (producer->txn_first_offset >= 0)
            txn_end(producers, producer, append->last_offset);
        if (append->coordinator_epoch >= 0)
            producer->coordinator_epoch = append->coordinator_epoch;
        return ERR_OK;
    }
    if (append->is_transactional && producer->txn_first_offset < 0)
        txn_begin(producers, producer, append->first_offset);
    if (producer->batch_count == PRODUCER_BATCHES_KEPT) {
        memmove(producer->batches, producer->batches + 1,
                (PRODUCER_BATCHES_KEPT - 1) * sizeof(producer->batches[0]));
        producer->batch_count--;
    }
    producer->batches[producer->batch_count++] =
        (struct producer_batch){append->first_sequence, append->last_sequence, append->first_offset,
                                append->last_offset, append->timestamp};
    return ERR_OK;
}

enum err producers_expect_first(struct producers *producers, const struct producer_append *append)
{
    if (append->first_sequence != 0 || producers_find(producers, append->id))
        return ERR_OK;
    struct producer *producer;
    TRY(producer_add(producers, append->id, &producer));
    producer->epoch = append->epoch;
    producer->last_timestamp = append->timestamp;
    return ERR_OK;
}

void producers_expire(struct producers *producers, int64_t expired_ms)
{
    struct map_iter iter;
    map_iter_init(&iter, &producers->map);
    for (struct producer *producer; (producer = map_iter_next(&iter)) != NULL;) {
        if (producer->txn_first_offset >= 0 || producer->last_timestamp >= expired_ms)
            continue;
        map_remove(&producers->map, hash_u64(producers->map.seed, (uint64_t)producer->id),
                   &producer->id);
        list_remove(&producer->undecided_link);
        free(producer);
    }
}

int64_t producers_first_open(const struct producers *producers)
{
    int64_t first = INT64_MAX;
    LIST_FOREACH (node, &producers->undecided) {
        const struct producer *producer = LIST_ENTRY(node, struct producer, undecided_link);
        if (producer->txn_first_offset >= 0 && producer->txn_first_offset < first)
            first = producer->txn_first_offset;
    }
    return first;
}

static int by_id(const void *a, const void *b)
{
    int64_t left = (*(const struct producer *const *)a)->id;
    int64_t right = (*(const struct producer *const *)b)->id;
    return (left > right) - (left < right);
}

void producers_list(const struct producers *producers, const struct producer **out)
{
    struct map_iter iter;
    size_t count = 0;
    map_iter_init(&iter, &producers->map);
    for (const struct producer *producer; (producer = map_iter_next(&iter)) != NULL;)
        out[count++] = producer;
    if (count > 0)
        qsort(out, count, sizeof(const struct producer *), by_id);
}

enum err producers_snapshot_write(const struct producers *producers, struct buf *out)
{
    size_t count = producers->map.count;
    const struct producer **list = calloc(count + 1, sizeof(const struct producer *));
    if (!list)
        return ERR_NOMEM;
    producers_list(producers, list);
    size_t at = out->len;
    buf_put_be16(out, SNAPSHOT_VERSION);
    buf_put_be32(out, 0);
    buf_put_be32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct producer *producer = list[i];
        const struct producer_batch *last = last_batch(producer);
        buf_put_be64(out, (uint64_t)producer->id);
        buf_put_be16(out, (uint16_t)producer->epoch);
        buf_put_be32(out, (uint32_t)(last ? last->last_sequence : -1));
        buf_put_be64(out, (uint64_t)(last ? last->last_offset : -1));
        buf_put_be32(out, last ? (uint32_t)(last->last_offset - last->first_offset) : 0);
        buf_put_be64(out, (uint64_t)producer->last_timestamp);
        buf_put_be32(out, (uint32_t)producer->coordinator_epoch);
        buf_put_be64(out, (uint64_t)producer->txn_first_offset);
    }
    free(list);
    if (out->err != ERR_OK)
        return out->err;
    struct slice rest = {out->data + at + SNAPSHOT_CRC_FROM, out->len - at - SNAPSHOT_CRC_FROM};
    be32_store(out->data + at + SNAPSHOT_CRC_AT, crc32c(0, rest));
    return ERR_OK;
}

static enum err read_entry(struct producers *producers, const uint8_t *at)
{
    int64_t id = (int64_t)be64_load(at);
    int64_t last_offset = (int64_t)be64_load(at + 14);
    int32_t last_sequence = (int32_t)be32_load(at + 10);
    int32_t delta = (int32_t)be32_load(at + 22);
    if (id < 0 || delta < 0 || producers_find(producers, id))
        return ERR_MALFORMED;
    struct producer *producer;
    TRY(producer_add(producers, id, &producer));
    producer->epoch = (int16_t)be16_load(at + 8);
    producer->last_timestamp = (int64_t)be64_load(at + 26);
    producer->coordinator_epoch = (int32_t)be32_load(at + 34);
    int64_t txn_first_offset = (int64_t)be64_load(at + 38);
    if (txn_first_offset >= 0)
        txn_begin(producers, producer, txn_first_offset);
    if (last_offset >= 0) {
        /* A batch's sequences wrap past INT32_MAX to 0. */
        int64_t first = (int64_t)last_sequence - delta;
        if (first < 0)
            first += (int64_t)INT32_MAX + 1;
        producer->batches[producer->batch_count++] =
            (struct producer_batch){(int32_t)first, last_sequence, last_offset - delta, last_offset,
                                    producer->last_timestamp};
    }
    return ERR_OK;
}

enum err producers_snapshot_read(struct producers *producers, struct slice bytes)
{
    producers_clear(producers);
    if (bytes.len < SNAPSHOT_HEAD_BYTES || be16_load(bytes.data) != SNAPSHOT_VERSION)
        return ERR_MALFORMED;
    struct slice rest = {bytes.data + SNAPSHOT_CRC_FROM, bytes.len - SNAPSHOT_CRC_FROM};
    if (crc32c(0, rest) != be32_load(bytes.data + SNAPSHOT_CRC_AT))
        return ERR_MALFORMED;
    uint32_t count = be32_load(bytes.data + SNAPSHOT_CRC_FROM);
    size_t body = bytes.len - SNAPSHOT_HEAD_BYTES;
    if (body % SNAPSHOT_ENTRY_BYTES != 0 || body / SNAPSHOT_ENTRY_BYTES != count)
        return ERR_MALFORMED;
    for (uint32_t i = 0; i < count; i++) {
        enum err err =
            read_entry(producers, bytes.data + SNAPSHOT_HEAD_BYTES + i * SNAPSHOT_ENTRY_BYTES);
        if (err != ERR_OK) {
            producers_clear(producers);
            return err;
        }
    }
    return ERR_OK;
}

/* --- with all batches --- */

#define PACKED_BATCH_BYTES 32

static void pack_batches(const struct producer *producer, struct buf *out)
{
    buf_put_u8(out, (uint8_t)producer->batch_count);
    for (uint32_t i = 0; i < producer->batch_count; i++) {
        const struct producer_batch *batch = &producer->batches[i];
        buf_put_be32(out, (uint32_t)batch->first_sequence);
        buf_put_be32(out, (uint32_t)batch->last_sequence);
        buf_put_be64(out, (uint64_t)batch->first_offset);
        buf_put_be64(out, (uint64_t)batch->last_offset);
        buf_put_be64(out, (uint64_t)batch->timestamp);
    }
}

enum err producers_pack(const struct producers *producers, struct buf *out)
{
    size_t count = producers->map.count;
    if (count == 0)
        return ERR_OK;
    TRY(producers_snapshot_write(producers, out));
    const struct producer **list = calloc(count, sizeof(const struct producer *));
    if (!list)
        return ERR_NOMEM;
    producers_list(producers, list);
    for (size_t i = 0; i < count; i++)
        pack_batches(list[i], out);
    free(list);
    return out->err;
}

static bool unpack_batches(struct producer *producer, struct slice *rest)
{
    if (rest->len < 1 || rest->data[0] > PRODUCER_BATCHES_KEPT ||
        rest->len < 1 + rest->data[0] * (size_t)PACKED_BATCH_BYTES)
        return false;
    producer->batch_count = rest->data[0];
    const uint8_t *at = rest->data + 1;
    for (uint32_t i = 0; i < producer->batch_count; i++, at += PACKED_BATCH_BYTES)
        producer->batches[i] = (struct producer_batch){
            (int32_t)be32_load(at), (int32_t)be32_load(at + 4), (int64_t)be64_load(at + 8),
            (int64_t)be64_load(at + 16), (int64_t)be64_load(at + 24)};
    *rest = slice_of(at, rest->len - (size_t)(at - rest->data));
    return true;
}

static enum err unpack_all(struct producers *producers, struct slice rest)
{
    size_t count = producers->map.count;
    const struct producer **list = calloc(count + 1, sizeof(const struct producer *));
    if (!list)
        return ERR_NOMEM;
    producers_list(producers, list);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = unpack_batches(producers_find(producers, list[i]->id), &rest);
    free(list);
    return ok && rest.len == 0 ? ERR_OK : ERR_MALFORMED;
}

enum err producers_unpack(struct producers *producers, struct slice bytes)
{
    producers_clear(producers);
    if (bytes.len == 0)
        return ERR_OK;
    if (bytes.len < SNAPSHOT_HEAD_BYTES)
        return ERR_MALFORMED;
    uint64_t len = SNAPSHOT_HEAD_BYTES +
                   (uint64_t)be32_load(bytes.data + SNAPSHOT_CRC_FROM) * SNAPSHOT_ENTRY_BYTES;
    if (len > bytes.len)
        return ERR_MALFORMED;
    TRY(producers_snapshot_read(producers, slice_of(bytes.data, (size_t)len)));
    enum err err = unpack_all(producers, slice_of(bytes.data + len, bytes.len - (size_t)len));
    if (err != ERR_OK)
        producers_clear(producers);
    return err;
}
