/* Walking a log's batches in order and knowing of each whether its transaction was aborted, and of
 * each marker whether anything of its transaction is left before it. */
#ifndef LOG_TXN_WALK_H
#define LOG_TXN_WALK_H

#include "base/map.h"
#include "log/txnindex.h"
#include "wire/batch.h"

struct txn_walk {
    struct map open; /* struct open_txn, by producer */
    const struct txn_list *aborted;
    size_t next; /* of `aborted` */
    int64_t from_offset;
};

enum txn_marker {
    TXN_ABORT = 0,
    TXN_COMMIT = 1,
    TXN_OTHER, /* what a later Kafka may write: left alone */
};

/* The walk begins at from_offset: transactions that ended before are none of its business. Borrows
 * `aborted`, which is sorted. */
void txn_walk_init(struct txn_walk *walk, const struct txn_list *aborted, int64_t from_offset,
                   uint64_t seed);
void txn_walk_deinit(struct txn_walk *walk);

/* A batch of data. */
enum err txn_walk_data(struct txn_walk *walk, const struct batch *batch, bool *is_aborted) MUST_USE;
/* A marker. *is_alone: the walk met no batch of its transaction. *aborted: its entry, if it has
 * one; NULL. */
enum err txn_walk_marker(struct txn_walk *walk, const struct batch *batch, enum txn_marker marker,
                         bool *is_alone, const struct aborted_txn **aborted) MUST_USE;

/* What a control record's key says. */
enum txn_marker txn_marker_of(struct slice key);

#endif
