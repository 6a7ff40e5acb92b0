/* Taking records out of a batch, as compaction does. */
#ifndef WIRE_BATCH_FILTER_H
#define WIRE_BATCH_FILTER_H

#include "wire/batch.h"

/* Whether the record stays. */
typedef bool batch_keep_fn(void *arg, const struct record *record);

/* The record will be asked for soon: what the answer needs may be fetched from memory meanwhile. */
typedef void batch_foresee_fn(void *arg, const struct record *record);

struct batch_filter {
    batch_keep_fn *keep;
    batch_foresee_fn *foresee; /* NULL: nothing needs it */
    void *arg;
    int64_t delete_horizon_ms; /* given to a batch with tombstones that has none yet */
    bool wants_horizon;        /* give it to one without tombstones, too */
    bool keep_empty;           /* a batch without a record left leaves its header */
    /* Owned: */
    struct buf unpacked;
    struct buf plain;
    struct buf kept; /* a bit for each record: whether it stays */
};

/* `unpacked_max` bounds what a batch may hold when it is unpacked. */
void batch_filter_init(struct batch_filter *filter, batch_keep_fn *keep, void *arg,
                       size_t unpacked_max);
void batch_filter_deinit(struct batch_filter *filter);

/* Puts what is left of the batch at the end of `out`: the same bytes where nothing changes,
 * nothing where it goes. Offsets, sequences and epochs stay. ERR_INVALID_RECORD,
 * ERR_UNSUPPORTED_COMPRESSION_TYPE, ERR_LIMIT, ERR_NOMEM; `out` is as long as before then. */
enum err batch_filter_apply(struct batch_filter *filter, struct compressors *c,
                            const struct batch *batch, struct buf *out) MUST_USE;

#endif
