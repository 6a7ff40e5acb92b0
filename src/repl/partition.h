/* A partition as its leader sees it: the log, its epoch, the high watermark, and who waits.
 *
 * Belongs to the shard that owns it. With one replica the high watermark is the log's end. */
#ifndef REPL_PARTITION_H
#define REPL_PARTITION_H

#include "base/list.h"
#include "base/map.h"
#include "log/log.h"
#include "wire/batch_check.h"

struct partition_config {
    struct log_config log;
    /* What is asked of produced batches; produce_version and now_ms are each request's. */
    struct batch_rules rules;
    int32_t compression_level; /* for rules.compression */
    bool has_write_caching;    /* nobody waits for the disk */
};

#define PARTITION_LOOK_AGAIN SIZE_MAX

/* Someone who waits for bytes past what was there when he asked. Embedded; told at each advance,
 * and with PARTITION_LOOK_AGAIN when the partition goes, until he is removed. */
struct partition_waiter {
    struct list link;
    void (*fn)(struct partition_waiter *waiter, size_t bytes);
};

/* What is counted of a partition since it was opened. */
enum partition_count {
    PARTITION_MESSAGES_IN,
    PARTITION_BYTES_IN,
    PARTITION_BYTES_OUT,      /* to consumers */
    PARTITION_BYTES_REJECTED, /* in batches that were too large */
    PARTITION_PRODUCES,
    PARTITION_FETCHES,
    PARTITION_PRODUCES_FAILED,
    PARTITION_FETCHES_FAILED,
    PARTITION_COUNTS,
};

struct move;

struct partition {
    struct list link; /* the host's */
    struct uuid topic_id;
    int32_t index;
    struct str topic; /* owned; NUL-terminated */
    int32_t leader_epoch;
    uint32_t log_dir; /* which of the node's log folders holds it */
    struct log *log;  /* NULL: its folder could not be opened */
    void *host;       /* whose on_failure is */
    struct log_owner owner;
    struct partition_config config;
    struct list waiters;
    bool is_held; /* appends wait in `held`, in order */
    struct list held;
    struct move *move; /* the host's: to another log folder; NULL: none */
    void (*on_failure)(struct partition *partition, enum err err, const char *what);
    void (*on_full)(struct partition *partition); /* the disk, for an append */
    int64_t recovery_point;            /* the host's: what its checkpoint says was flushed */
    uint64_t counts[PARTITION_COUNTS]; /* the host's */
    uint64_t wait_until_ms; /* the host's: a deleted topic's folder has its name; 0: it waits not */
    bool is_kept; /* the host's: it could not be opened, and what the checkpoints say of it stays */
};

void partitions_init(struct map *partitions, uint64_t seed);
/* The table must be empty. */
void partitions_deinit(struct map *partitions);
/* NULL if there is none. */
struct partition *partitions_find(const struct map *partitions, struct uuid topic_id,
                                  int32_t index);

/* Adds a partition without a log. `topic` is copied. */
enum err partition_create(struct map *partitions, struct uuid topic_id, struct str topic,
                          int32_t index, const struct partition_config *config,
                          struct partition **partition) MUST_USE;
/* Takes it out of the table: requests do not find it any more, and who waits looks again. */
void partition_detach(struct map *partitions, struct partition *partition);
/* Frees a detached partition; its log must be gone. */
void partition_free(struct partition *partition);

/* Who waits looks again. */
void partition_look_again(struct partition *partition);

/* From here on appends wait, with what they were given, until the release. */
void partition_hold(struct partition *partition);
void partition_release(struct partition *partition);

/* Its log folder failed: who waits looks again, and nothing goes to the disk any more. */
void partition_take_offline(struct partition *partition);

void partition_set_config(struct partition *partition, const struct partition_config *config);

int64_t partition_high_watermark(const struct partition *partition);
/* Below it every transaction was decided, and readers see how. */
int64_t partition_last_stable_offset(const struct partition *partition);

/* What a request says of the epoch that it knows, -1: nothing. ERR_FENCED_LEADER_EPOCH or
 * ERR_UNKNOWN_LEADER_EPOCH. */
enum err partition_check_epoch(const struct partition *partition, int32_t epoch) MUST_USE;

void partition_wait(struct partition *partition, struct partition_waiter *waiter);
void partition_waiter_init(struct partition_waiter *waiter,
                           void (*fn)(struct partition_waiter *waiter, size_t bytes));
void partition_unwait(struct partition_waiter *waiter); /* harmless when not waiting */

/* --- producing --- */

struct partition_append;
typedef void partition_append_done(struct partition_append *append);

/* Embedded, lent with the records until done. */
struct partition_append {
    /* In. */
    uint8_t *records; /* one batch; stamped in place */
    size_t len;
    int16_t produce_version;
    bool sync;
    int64_t now_ms;
    struct compressors *compressors;
    struct buf *scratch; /* for unpacking during the check; its limit bounds what is accepted */
    partition_append_done *done;
    /* Out. */
    enum err err;
    struct batch_verdict *verdict; /* given by the caller; its text and record errors explain err */
    int64_t base_offset;
    int64_t log_append_ms; /* -1 with timestamps of the producers */
    int64_t log_start_offset;
    /* The partition's. */
    struct list link;
    struct partition *partition;
    struct log_append op;
    struct buf rewritten;
};

/* Checks the records as the topic asks, and appends them. Ends with `done`, from the loop or, when
 * they are refused, inside of the call. */
void partition_append(struct partition *partition, struct partition_append *append);

#endif
