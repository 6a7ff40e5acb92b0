/* A persistent sorted table: cheap copies that share what did not change.
 *
 * Entries are pointers kept in the order of the table's comparison, in chunks of at most
 * TABLE_CHUNK_MAX. Chunks and entries are reference-counted; a copy shares all chunks, and a change
 * to the copy replaces one chunk. So one change among ten thousand entries costs microseconds, and
 * any number of threads may read one table while another thread changes a copy of it.
 *
 * A table is changed by the thread that made it, until the table (that is, the image it is part of)
 * is shown to others; from then on it is only read and released. */
#ifndef META_TABLE_H
#define META_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TABLE_CHUNK_MAX 256

struct table_kind {
    /* Order of an entry against a key; and the key of an entry. */
    int (*compare)(const void *entry, const void *key);
    const void *(*key)(const void *entry);
    void (*ref)(void *entry);
    void (*unref)(void *entry);
};

struct table_chunk;

struct table {
    const struct table_kind *kind;
    struct table_chunk **chunks; /* none is empty */
    size_t chunk_count;
    size_t chunk_cap;
    size_t count; /* entries */
};

void table_init(struct table *table, const struct table_kind *kind);
void table_deinit(struct table *table);
/* `to` is uninitialized before, an equal table after. */
enum err table_copy(struct table *to, const struct table *from) MUST_USE;

void *table_find(const struct table *table, const void *key);
/* Takes over one reference of the entry when it succeeds; replaces (and releases) an entry with an
 * equal key. */
enum err table_put(struct table *table, void *entry) MUST_USE;
/* *removed (optional) says whether there was one. */
enum err table_remove(struct table *table, const void *key, bool *removed) MUST_USE;

/* A place in the order; entries from a place on are read with table_next. */
struct table_iter {
    const struct table *table;
    size_t chunk;
    size_t slot;
};

void table_begin(struct table_iter *iter, const struct table *table);
/* At the first entry whose key is >= key. */
void table_seek(struct table_iter *iter, const struct table *table, const void *key);
/* NULL at the end. */
void *table_next(struct table_iter *iter);

/* Calls fn for each key whose entry differs (by pointer) between two tables of one kind, in order:
 * `before` is NULL for a new entry, `after` for a removed one. Skips what they share. */
typedef enum err table_diff_fn(void *arg, void *before, void *after);
enum err table_diff(const struct table *before, const struct table *after, table_diff_fn *fn,
                    void *arg) MUST_USE;

#endif
