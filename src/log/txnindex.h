/* The aborted transactions of a segment, in Kafka's NNN.txnindex.
 *
 *   34 bytes each: i16 version (0) | i64 producer id | i64 first offset | i64 last offset (of the
 *   marker) | i64 last stable offset when it was written
 *
 * An entry is in the file of the segment that holds the marker. */
#ifndef LOG_TXNINDEX_H
#define LOG_TXNINDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

#define TXNINDEX_ENTRY_BYTES 34

/* Records of the producer from first_offset to last_offset, where the marker is, are for nobody who
 * reads committed ones. */
struct aborted_txn {
    int64_t producer_id;
    int64_t first_offset;
    int64_t last_offset;
    int64_t last_stable_offset; /* when it ended: below it everything was decided */
};

/* In the order of the markers, or by first offset once txn_list_sort was called. */
struct txn_list {
    struct aborted_txn *items; /* owned */
    size_t count, cap;
};

void txn_list_deinit(struct txn_list *list);
enum err txn_list_add(struct txn_list *list, const struct aborted_txn *txn) MUST_USE;
/* Adds what a file holds; an entry that a crash cut short at its end is none. ERR_MALFORMED: it is
 * no such file. ERR_LIMIT: more than a log may have. */
enum err txn_list_add_file(struct txn_list *list, struct slice bytes) MUST_USE;
void txn_list_sort(struct txn_list *list);

void txnindex_put(struct buf *out, const struct aborted_txn *txn);

#endif
