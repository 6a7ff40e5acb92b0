/* What the log knows of idempotent producers: epoch, and the last five batches of each.
 *
 * Source: KIP-98. The state at an offset is kept in the file OFFSET.snapshot:
 *
 *   0  i16 version (1)
 *   2  u32 CRC32C of the rest, from byte 6 on
 *   6  i32 number of entries; each of them:
 *      i64 producer id, i16 producer epoch, i32 last sequence, i64 last offset, i32 offset delta,
 *      i64 timestamp, i32 coordinator epoch, i64 first offset of the open transaction (-1) */
#ifndef LOG_PRODUCERS_H
#define LOG_PRODUCERS_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"

#define PRODUCER_BATCHES_KEPT 5

struct producer_batch {
    int32_t first_sequence;
    int32_t last_sequence;
    int64_t first_offset;
    int64_t last_offset;
    int64_t timestamp;
};

struct producer {
    int64_t id;
    int16_t epoch;
    int32_t coordinator_epoch; /* -1 */
    int64_t txn_first_offset;  /* -1: no open transaction */
    int64_t last_timestamp;
    /* Of a transaction that readers must not know the end of yet: it is open, or its marker lies
     * past what they may read. */
    struct list undecided_link; /* producers->undecided, by the offset */
    int64_t undecided_offset;   /* its first; -1: there is none */
    int64_t marker_offset;      /* where it ended; -1: it is open */
    uint32_t batch_count;
    struct producer_batch batches[PRODUCER_BATCHES_KEPT]; /* oldest first */
};

struct producers {
    struct map map;
    struct list undecided;
    int64_t visible_offset; /* readers see what is below it */
};

/* The fields of a batch that concern its producer. */
struct producer_append {
    int64_t id;
    int16_t epoch;
    int32_t first_sequence;
    int32_t last_sequence;
    int64_t first_offset;
    int64_t last_offset;
    int64_t timestamp;
    bool is_transactional;
    bool is_control;           /* the marker that ends a transaction... */
    bool is_abort;             /* ...in vain... */
    int32_t coordinator_epoch; /* ...and by whom; -1: not known */
};

void producers_init(struct producers *producers, uint64_t seed);
void producers_deinit(struct producers *producers);
void producers_clear(struct producers *producers);
/* What each of them knows is the other's from here on. */
void producers_swap(struct producers *a, struct producers *b);

struct producer *producers_find(const struct producers *producers, int64_t id);

/* Whether the batch may be appended next: ERR_OK; *duplicate is the earlier copy if it is one of
 * the last five (else NULL); ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, ERR_INVALID_PRODUCER_EPOCH,
 * ERR_DUPLICATE_SEQUENCE_NUMBER. */
enum err producers_check(const struct producers *producers, const struct producer_append *append,
                         const struct producer_batch **duplicate) MUST_USE;
/* Takes over what an accepted batch says. Data below is trusted: it is in the log. *ended_offset is
 * the first offset of the transaction that it ends; -1: it ends none. */
enum err producers_note(struct producers *producers, const struct producer_append *append,
                        int64_t *ended_offset) MUST_USE;
/* Readers see what is below the offset from now on. */
void producers_set_visible(struct producers *producers, int64_t offset);
/* Where a reader of committed records must stop: the first offset of the oldest transaction whose
 * end he does not see. INT64_MAX: nothing stops him. */
int64_t producers_undecided_offset(struct producers *producers);
/* The first batch of a producer of whom nothing is known was refused and will be sent again: its
 * second, already under way, must not be taken for its first. Harmless on a known producer. */
enum err producers_expect_first(struct producers *producers,
                                const struct producer_append *append) MUST_USE;
/* Forgets producers that were silent since before `expired_ms`, unless a transaction is open. */
void producers_expire(struct producers *producers, int64_t expired_ms);

/* The first offset of the oldest open transaction; INT64_MAX: there is none. */
int64_t producers_first_open(const struct producers *producers);

/* All of them by ascending id, into `out`, which has room for as many as there are. */
void producers_list(const struct producers *producers, const struct producer **out);

enum err producers_snapshot_write(const struct producers *producers, struct buf *out) MUST_USE;
/* Replaces the state. ERR_MALFORMED leaves it empty. */
enum err producers_snapshot_read(struct producers *producers, struct slice bytes) MUST_USE;

/* Likewise, but with all the batches that are kept of each: a snapshot, and behind it for each of
 * its producers u8 count and {i32 first sequence, i32 last sequence, i64 first offset, i64 last
 * offset, i64 timestamp}. Nothing at all where there are no producers. */
enum err producers_pack(const struct producers *producers, struct buf *out) MUST_USE;
enum err producers_unpack(struct producers *producers, struct slice bytes) MUST_USE;

#endif
