/* The persistent sorted table: an array of chunks, each a sorted array of entry pointers.
 *
 * Invariants: no chunk is empty; the last key of a chunk is below the first key of the next; a
 * chunk that more than one table refers to is never written. A chunk whose count of references is
 * one belongs to the table in hand alone, so it may be changed in place: that makes a run of
 * changes to one table cost one copy of each chunk that it touches.
 *
 * Pure; changed by one thread, read by any. The counts are atomic because images are released by
 * all shards. */
#include "meta/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct table_chunk {
    atomic_uint refs;
    uint32_t count;
    void *entries[TABLE_CHUNK_MAX];
};

static void chunk_unref(struct table_chunk *chunk, const struct table_kind *kind)
{
    if (atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < chunk->count; i++)
        kind->unref(chunk->entries[i]);
    free(chunk);
}

static struct table_chunk *chunk_create(void)
{
    struct table_chunk *chunk = malloc(sizeof(*chunk));
    if (!chunk)
        return NULL;
    atomic_init(&chunk->refs, 1);
    chunk->count = 0;
    return chunk;
}

void table_init(struct table *table, const struct table_kind *kind)
{
    *table = (struct table){.kind = kind};
}

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->chunk_count; i++)
        chunk_unref(table->chunks[i], table->kind);
    free(table->chunks);
    *table = (struct table){.kind = table->kind};
}

enum err table_copy(struct table *to, const struct table *from)
{
    *to = (struct table){.kind = from->kind, .count = from->count};
    if (from->chunk_count == 0)
        return ERR_OK;
    /* Room for one split, the common change. */
    to->chunk_cap = from->chunk_count + 1;
    to->chunks = malloc(to->chunk_cap * sizeof(struct table_chunk *));
    if (!to->chunks) {
        *to = (struct table){.kind = from->kind};
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < from->chunk_count; i++) {
        to->chunks[i] = from->chunks[i];
        atomic_fetch_add_explicit(&to->chunks[i]->refs, 1, memory_order_relaxed);
    }
    to->chunk_count = from->chunk_count;
    return ERR_OK;
}

/* The chunk that holds the key or would: the last whose first key is <= key, else the first. */
static size_t chunk_find(const struct table *table, const void *key)
{
    size_t low = 0;
    size_t high = table->chunk_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (table->kind->compare(table->chunks[middle]->entries[0], key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The first slot whose key is >= key. */
static uint32_t slot_find(const struct table *table, const struct table_chunk *chunk,
                          const void *key, bool *found)
{
    uint32_t low = 0;
    uint32_t high = chunk->count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = table->kind->compare(chunk->entries[middle], key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void *table_find(const struct table *table, const void *key)
{
    if (table->chunk_count == 0)
        return NULL;
    const struct table_chunk *chunk = table->chunks[chunk_find(table, key)];
    bool found;
    uint32_t slot = slot_find(table, chunk, key, &found);
    return found ? chunk->entries[slot] : NULL;
}

/* Makes the chunk at `at` the table's own. */
static enum err chunk_own(struct table *table, size_t at, struct table_chunk **out)
{
    struct table_chunk *chunk = table->chunks[at];
    if (atomic_load_explicit(&chunk->refs, memory_order_acquire) != 1) {
        struct table_chunk *copy = chunk_create();
        if (!copy)
            return ERR_NOMEM;
        copy->count = chunk->count;
        memcpy(copy->entries, chunk->entries, chunk->count * sizeof(void *));
        for (uint32_t i = 0; i < copy->count; i++)
            table->kind->ref(copy->entries[i]);
        table->chunks[at] = copy;
        chunk_unref(chunk, table->kind);
        chunk = copy;
    }
    *out = chunk;
    return ERR_OK;
}

static enum err chunk_insert_at(struct table *table, size_t at, struct table_chunk *chunk)
{
    if (table->chunk_count == table->chunk_cap) {
        size_t cap = table->chunk_cap ? table->chunk_cap * 2 : 4;
        struct table_chunk **chunks = realloc(table->chunks, cap * sizeof(struct table_chunk *));
        if (!chunks)
            return ERR_NOMEM;
        table->chunks = chunks;
        table->chunk_cap = cap;
    }
    memmove(table->chunks + at + 1, table->chunks + at,
            (table->chunk_count - at) * sizeof(struct table_chunk *));
    table->chunks[at] = chunk;
    table->chunk_count++;
    return ERR_OK;
}

/* Moves the upper half of a full chunk into a new one behind it. An insert at the very end of the
 * table leaves the full one as it is: names that come in order then fill their chunks. */
static enum err chunk_split(struct table *table, size_t at, struct table_chunk *chunk,
                            uint32_t *slot, struct table_chunk **target)
{
    ASSERT(chunk->count == TABLE_CHUNK_MAX);
    struct table_chunk *upper = chunk_create();
    if (!upper)
        return ERR_NOMEM;
    enum err err = chunk_insert_at(table, at + 1, upper);
    if (err) {
        free(upper);
        return err;
    }
    bool at_end = *slot == chunk->count && at + 2 == table->chunk_count;
    uint32_t keep = at_end ? chunk->count : chunk->count / 2;
    upper->count = chunk->count - keep;
    memcpy(upper->entries, chunk->entries + keep, upper->count * sizeof(void *));
    chunk->count = keep;
    *target = chunk;
    if (*slot > keep || at_end) {
        *slot -= keep;
        *target = upper;
    }
    return ERR_OK;
}

enum err table_put(struct table *table, void *entry)
{
    const void *key = table->kind->key(entry);
    if (table->chunk_count == 0) {
        struct table_chunk *chunk = chunk_create();
        if (!chunk)
            return ERR_NOMEM;
        enum err err = chunk_insert_at(table, 0, chunk);
        if (err) {
            free(chunk);
            return err;
        }
        chunk->entries[chunk->count++] = entry;
        table->count = 1;
        return ERR_OK;
    }
    size_t at = chunk_find(table, key);
    struct table_chunk *chunk;
    TRY(chunk_own(table, at, &chunk));
    bool found;
    uint32_t slot = slot_find(table, chunk, key, &found);
    if (found) {
        table->kind->unref(chunk->entries[slot]);
        chunk->entries[slot] = entry;
        return ERR_OK;
    }
    if (chunk->count == TABLE_CHUNK_MAX)
        TRY(chunk_split(table, at, chunk, &slot, &chunk));
    ASSERT(slot <= chunk->count && chunk->count < TABLE_CHUNK_MAX);
    memmove(chunk->entries + slot + 1, chunk->entries + slot,
            (chunk->count - slot) * sizeof(void *));
    chunk->entries[slot] = entry;
    chunk->count++;
    table->count++;
    return ERR_OK;
}

enum err table_remove(struct table *table, const void *key, bool *removed)
{
    if (removed)
        *removed = false;
    if (!table_find(table, key))
        return ERR_OK;
    size_t at = chunk_find(table, key);
    struct table_chunk *chunk;
    TRY(chunk_own(table, at, &chunk));
    bool found;
    uint32_t slot = slot_find(table, chunk, key, &found);
    ASSERT(found);
    table->kind->unref(chunk->entries[slot]);
    chunk->count--;
    memmove(chunk->entries + slot, chunk->entries + slot + 1,
            (chunk->count - slot) * sizeof(void *));
    if (chunk->count == 0) {
        free(chunk);
        table->chunk_count--;
        memmove(table->chunks + at, table->chunks + at + 1,
                (table->chunk_count - at) * sizeof(struct table_chunk *));
    }
    table->count--;
    if (removed)
        *removed = true;
    return ERR_OK;
}

void table_begin(struct table_iter *iter, const struct table *table)
{
    *iter = (struct table_iter){.table = table};
}

void table_seek(struct table_iter *iter, const struct table *table, const void *key)
{
    *iter = (struct table_iter){.table = table};
    if (table->chunk_count == 0)
        return;
    iter->chunk = chunk_find(table, key);
    bool found;
    iter->slot = slot_find(table, table->chunks[iter->chunk], key, &found);
}

void *table_next(struct table_iter *iter)
{
    while (iter->chunk < iter->table->chunk_count) {
        const struct table_chunk *chunk = iter->table->chunks[iter->chunk];
        if (iter->slot < chunk->count)
            return chunk->entries[iter->slot++];
        iter->chunk++;
        iter->slot = 0;
    }
    return NULL;
}

/* Steps both over chunks that they share, when both stand at the beginning of one. */
static void diff_skip_shared(struct table_iter *a, struct table_iter *b)
{
    while (a->slot == 0 && b->slot == 0 && a->chunk < a->table->chunk_count &&
           b->chunk < b->table->chunk_count &&
           a->table->chunks[a->chunk] == b->table->chunks[b->chunk]) {
        a->chunk++;
        b->chunk++;
    }
}

/* The entry that table_next would give; normalizes a place past a chunk's end. */
static void *iter_peek(struct table_iter *iter)
{
    void *entry = table_next(iter);
    if (entry)
        iter->slot--;
    return entry;
}

enum err table_diff(const struct table *before, const struct table *after, table_diff_fn *fn,
                    void *arg)
{
    struct table_iter a, b;
    table_begin(&a, before);
    table_begin(&b, after);
    for (;;) {
        void *old_entry = iter_peek(&a);
        void *new_entry = iter_peek(&b);
        if (a.slot == 0 && b.slot == 0) {
            diff_skip_shared(&a, &b);
            old_entry = iter_peek(&a);
            new_entry = iter_peek(&b);
        }
        if (!old_entry && !new_entry)
            return ERR_OK;
        int order = !old_entry   ? 1
                    : !new_entry ? -1
                                 : before->kind->compare(old_entry, before->kind->key(new_entry));
        if (order <= 0)
            a.slot++;
        if (order >= 0)
            b.slot++;
        if (order < 0)
            TRY(fn(arg, old_entry, NULL));
        else if (order > 0)
            TRY(fn(arg, NULL, new_entry));
        else if (old_entry != new_entry)
            TRY(fn(arg, old_entry, new_entry));
    }
}
