/* One partition's log: segments in Kafka's format in one folder.
 *
 * A log belongs to one shard and is used from its thread only; its bytes move through that shard's
 * io. Appends are numbered and submitted in the order of the calls and end in that order. The walk
 * of an append, the walk of a read, and what a crash leaves: README.md in this folder. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "base/pool.h"
#include "io/io.h"
#include "log/epochs.h"
#include "log/manifest.h"
#include "log/producers.h"
#include "log/txnindex.h"
#include "log/wal.h"

struct batch;
struct compressors;
struct log;
struct wal_group;

/* Kafka's topic configuration as far as the log acts on it; milliseconds and bytes. */
struct log_config {
    int32_t segment_bytes;
    int64_t segment_ms;
    int64_t segment_jitter_ms;
    int32_t segment_index_bytes;
    int32_t index_interval_bytes;
    int64_t retention_ms;    /* -1: no limit */
    int64_t retention_bytes; /* -1: no limit */
    int64_t flush_messages;
    int64_t flush_ms;
    int64_t file_delete_delay_ms;
    int64_t producer_expiration_ms;
    bool preallocate;        /* a new segment's blocks are taken when it is made */
    bool retain_by_deletion; /* cleanup.policy has delete */
    bool is_compacted;       /* cleanup.policy has compact */
    bool is_dense;           /* never compacted: a gap in the offsets is damage, not a choice */
    double min_cleanable_dirty_ratio;
    int64_t min_compaction_lag_ms;
    int64_t max_compaction_lag_ms;
    int64_t delete_retention_ms;
};

/* Told by the log, from the loop, to whom owns it. */
struct log_owner {
    /* The log end moved: `bytes` more can be read. */
    void (*on_advance)(struct log_owner *owner, size_t bytes);
    /* A write or a flush failed and the log is offline for good. `what` is for people. */
    void (*on_failure)(struct log_owner *owner, enum err err, const char *what);
    /* An append was refused for lack of space; appends are tried again soon. NULL: of no interest.
     */
    void (*on_full)(struct log_owner *owner);
};

/* Why a folder could not be opened, for people: which file, where in it, what is wrong. */
struct log_problem {
    char text[512];
};

struct log_open_options {
    bool clean_shutdown;      /* the folder was left by a clean stop: nothing to scan */
    int64_t recovery_point;   /* below it everything was flushed */
    int64_t log_start_offset; /* from the checkpoint; -1: that of the first segment */
    bool has_no_producers;    /* nobody's who has a sequence: its snapshots say so, however new */
    /* Where what is known of the log is noted for the next start; NULL: nowhere. Borrowed. */
    struct manifest *manifest;
    struct manifest_key key;
    const struct manifest_item *item; /* what the last run noted; NULL: nothing */
    bool has_leader_epoch;            /* as the metadata has it: no batch is of a later one */
    int32_t leader_epoch;
    bool must_recover;        /* batches may lie behind what the last run noted, whatever it says */
    struct wal *wal;          /* for appends with `sync`, borrowed; NULL: each flushes */
    struct wal_group *replay; /* what the last run's has of this log, borrowed; NULL: nothing */
};

/* Makes the folder with its first, empty segment; names and partition.metadata are durable. */
enum err log_create(struct io *io, const char *dir, struct uuid topic_id) MUST_USE;
/* Writes anew whose folder it is, where a crash left nothing that can be read. */
enum err log_write_topic_id(struct io *io, const char *dir, struct uuid topic_id) MUST_USE;
/* Whose folder it is. ERR_NOENT: it does not say, as older ones do not; ERR_MALFORMED: what it says
 * cannot be read, since a crash came while it was made. */
enum err log_read_topic_id(struct io *io, const char *dir, struct uuid *topic_id) MUST_USE;
/* Opens, and after a crash recovers, an existing folder. Borrows `owner`. ERR_MALFORMED says in
 * *problem what cannot be mended by itself; the folder is as it was then. */
enum err log_open(struct io *io, const char *dir, const struct log_config *config,
                  const struct log_open_options *options, struct log_owner *owner, struct log **log,
                  struct log_problem *problem) MUST_USE;
/* Everything flushed, indexes written, and a producer snapshot at the end: what Kafka expects of a
 * clean stop. Nothing may be in flight. Frees the log, also when it fails. */
enum err log_close(struct log *log) MUST_USE;
/* Frees without writing: the process is about to end, or the folder failed. Nothing in flight. */
void log_abandon(struct log *log);
/* Nothing of this log is under way at the io. */
bool log_is_idle(const struct log *log);

/* Its folder's disk failed, as its owner knows: offline for good. What waits for a flush ends. */
void log_take_offline(struct log *log);

void log_set_config(struct log *log, const struct log_config *config);

/* --- appending --- */

enum log_append_kind {
    LOG_APPEND_LEADER,   /* offsets are assigned here; producers' sequences are checked */
    LOG_APPEND_FOLLOWER, /* offsets and epochs are in the batches and must continue the log */
};

struct log_append;
typedef void log_append_done(struct log_append *op);

/* Embedded by the caller and lent, with the batches' bytes, until done. */
struct log_append {
    /* In. One or more whole, validated batches, back to back; base offsets and leader epochs are
     * stamped into them. */
    enum log_append_kind kind;
    uint8_t *batches;
    size_t len;
    int32_t leader_epoch;
    int64_t now_ms;
    bool sync; /* done means on the disk, not only in the page cache */
    log_append_done *done;
    /* Out. */
    enum err err;
    bool is_duplicate; /* was there already: the offsets are those of the first time */
    int64_t base_offset;
    int64_t last_offset;
    int64_t log_append_ms; /* of a duplicate: when it was written; else -1 */
    /* The log's. */
    struct log *log;
    struct list link;
    struct io_op io;
    struct segment *segment;
    int64_t max_timestamp;
    uint32_t position; /* in the segment's file */
    bool written;
    struct wal_wait wal;
};

/* Always ends with `done`, from the loop or, when nothing was written, inside of the call. */
void log_append(struct log *log, struct log_append *op);

/* --- reading --- */

struct log_read;
typedef void log_read_done(struct log_read *op);

struct log_read {
    /* In. */
    int64_t offset;
    int64_t end_offset; /* batches at or past it are not returned */
    size_t bytes_max;   /* of the result, but see at_least_one */
    bool at_least_one;  /* the first batch whole, even over bytes_max */
    struct rbuf_pool *bufs;
    log_read_done *done;
    /* Out. */
    enum err err;
    struct rbuf *buf;     /* one reference, the caller's; NULL when there is nothing */
    struct slice batches; /* in buf: from the batch with the offset on; the last may be cut */
    /* The log's. */
    struct log *log;
    struct io_op io;
    struct segment *segment;
    uint32_t position; /* in its file */
    size_t want;
    bool needs_trim; /* what is read goes past end_offset */
};

/* Ends with `done` from the loop, or inside of the call where nothing has to be waited for:
 * ERR_OFFSET_OUT_OF_RANGE outside of [start, end], and an empty result at the end. */
void log_read(struct log *log, struct log_read *op);

/* --- transactions --- */

/* Whether the log has aborted transactions. Reads the disk and waits, the first time. */
enum err log_has_aborted(struct log *log, bool *has_aborted) MUST_USE;
/* Adds those with records in [from, to). */
enum err log_aborted_txns(struct log *log, int64_t from, int64_t to,
                          struct txn_list *list) MUST_USE;
/* Readers of committed records stop here: at the oldest record of a transaction whose end lies at
 * or past the high watermark, or at the high watermark itself. */
int64_t log_last_stable_offset(struct log *log, int64_t high_watermark);

/* --- what it holds --- */

int64_t log_start_offset(const struct log *log);
int64_t log_end_offset(const struct log *log); /* of what can be read */
/* The offset that the next append will get: ahead of the end while writes are under way. */
int64_t log_next_offset(const struct log *log);
int64_t log_flushed_offset(const struct log *log); /* below it, all is on the disk */
/* Where recovery has to begin: there, or before it where something is known only from batches. */
int64_t log_recovery_point(const struct log *log);
int64_t log_active_base_offset(const struct log *log);
uint64_t log_size(const struct log *log); /* bytes of the segments */
uint32_t log_segment_count(const struct log *log);
bool log_is_offline(const struct log *log);
const char *log_dir_path(const struct log *log);
struct producers *log_producers(struct log *log);
const struct epochs *log_epochs(const struct log *log);

struct log_position {
    int64_t offset; /* -1: there is none */
    int64_t timestamp;
    int32_t leader_epoch;
};

/* The first record at or after the timestamp, below end_offset. Reads the disk and waits. */
enum err log_find_timestamp(struct log *log, struct compressors *c, int64_t timestamp,
                            int64_t end_offset, struct log_position *position) MUST_USE;
/* The first of the records with the greatest timestamp. */
enum err log_find_max_timestamp(struct log *log, struct compressors *c,
                                struct log_position *position) MUST_USE;

/* This node leads from here on: the epoch begins at the log's end, though no record has it yet. It
 * is written with what follows it: without a record there is nothing that it would say. */
enum err log_begin_epoch(struct log *log, int32_t leader_epoch) MUST_USE;

/* Calls fn, in order, for each batch from the one with the offset on, and waits for the disk. Stops
 * at the first error of fn. For the start. */
typedef enum err log_batch_fn(void *arg, const struct batch *batch);
enum err log_each_batch(struct log *log, int64_t offset, log_batch_fn *fn, void *arg) MUST_USE;

/* --- shrinking --- */

/* Records below the offset are no longer served; whole segments below it go at the next log_retain.
 * ERR_OFFSET_OUT_OF_RANGE past the end. A crash may bring them back. */
enum err log_delete_records(struct log *log, int64_t offset) MUST_USE;

struct log_deletion;
typedef void log_deletion_done(struct log_deletion *deletion);

/* Embedded by the caller and lent until done. */
struct log_deletion {
    int64_t offset;
    log_deletion_done *done;
    enum err err;
    int64_t low_watermark; /* where the log begins then */
    struct list link;      /* the log's */
};

/* The same, and once `done` says ERR_OK no crash brings them back. Ends from the loop, or inside of
 * the call where there is nothing to do: out of range, or below the start already. */
void log_delete_durably(struct log *log, struct log_deletion *deletion);
/* Applies retention.ms, retention.bytes and the log start offset; rolls a segment whose time has
 * come. How many segments went. */
enum err log_retain(struct log *log, int64_t now_ms, uint32_t *removed) MUST_USE;
/* A new active segment at the offset that the next append will get; nothing where the active one is
 * empty. */
enum err log_begin_segment(struct log *log, int64_t now_ms) MUST_USE;
/* Cuts back to the offset. Nothing may be in flight. */
enum err log_truncate_to(struct log *log, int64_t offset) MUST_USE;
/* Flushes what is written; `done` of appends that wait for it come with it. */
void log_flush(struct log *log);
/* flush.ms and the like: to be called about once a second. With `may_store`, what is not urgent but
 * waits for the disk may be written now; what that cost. */
enum log_tick_cost { LOG_TICK_FREE = 0, LOG_TICK_WROTE = 1, LOG_TICK_SYNCED = 16 };
enum log_tick_cost log_tick(struct log *log, int64_t now_ms, bool may_store);
/* For the next start: notes what the log is now, or once it is flushed. log_tick does so when
 * nothing changes any more; the owner, when much was appended since (log_unsaved_bytes), and
 * flushes. */
enum err log_save(struct log *log) MUST_USE;
uint64_t log_unsaved_bytes(const struct log *log);
/* Says in the manifest that the log is about to be closed: many may share one sync of it before
 * log_close is called. */
enum err log_announce_close(struct log *log) MUST_USE;
/* Renames the folder away (`NAME.UUID-delete`), so that another log may have its name. What is in
 * flight goes on, but for the work of jobs, which know files by name: ERR_BUSY while there is any.
 * The owner hears of nothing any more. */
enum err log_give_up_name(struct log *log, uint64_t random_hi, uint64_t random_lo) MUST_USE;
bool log_is_renamed(const struct log *log);
/* Renames the folder away, if that was not done before, and frees the log; its files go later.
 * Nothing in flight. *renamed (malloc) is the new path. */
enum err log_delete(struct log *log, uint64_t random_hi, uint64_t random_lo,
                    char **renamed) MUST_USE;

#endif
