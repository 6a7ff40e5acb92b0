/* What the files of the log share; nobody else includes this. */
#ifndef LOG_INTERNAL_H
#define LOG_INTERNAL_H

#include "log/log.h"
#include "wire/batch.h"

#define LOG_PATH_MAX          1024
#define DIR_NAME_MAX          (LOG_PATH_MAX - 64)
#define SEGMENT_NAME_DIGITS   20
#define LOG_START_FILE        "taffrail-log-start"
#define EPOCHS_FILE           "leader-epoch-checkpoint"
#define DISTRUST_FILE         "taffrail-write-failed"
#define INDEX_ENTRY_BYTES     8
#define TIMEINDEX_ENTRY_BYTES 12
#define SNAPSHOT_SUFFIX       ".snapshot"
#define SNAPSHOT_BYTES_MAX    ((size_t)256 << 20)

struct index_entry {
    uint32_t relative_offset;
    uint32_t position;
};

struct timeindex_entry {
    int64_t timestamp;
    uint32_t relative_offset;
};

/* The sparse indexes of one segment; see index.c. Of a sealed segment all is in its files. */
struct segment_index {
    uint32_t stored, times_stored; /* entries that the files have */
    uint32_t crc, times_crc;       /* CRC32C of those */
    struct index_entry *entries;   /* behind them */
    size_t count, cap;
    struct timeindex_entry *times;
    size_t time_count, time_cap;
    int64_t last_time; /* timestamp of the last time entry; -1: there is none */
};

/* The aborted transactions whose end is in one segment; see aborted.c. */
struct segment_aborted {
    struct txn_list list; /* in the order of the markers */
    size_t stored;        /* of them, those that the file has on the disk */
    bool is_loaded;
};

/* NNN.log and its companions; NNN is the base offset in 20 digits. */
struct segment {
    uint32_t readers;      /* reads under way; the file stays open for them */
    struct list open_link; /* log->open_segments; linked while its file is open */
    int64_t base_offset;
    const char *path_end;         /* what its files' names end in; NULL: nothing, they are whole */
    uint32_t size;                /* bytes that can be read */
    uint32_t reserved;            /* size, and what is being written behind it */
    uint32_t flushed;             /* bytes known to be on the disk */
    uint32_t index_gap;           /* bytes since the last index entry */
    int64_t max_timestamp;        /* -1: no records, or not known yet (see is_time_known) */
    int64_t max_timestamp_offset; /* of the first batch's last record that has it */
    int64_t first_timestamp;      /* of the first batch; -1 */
    int64_t created_ms;
    int64_t jitter_ms;
    bool is_time_known;
    bool is_sealed;
    bool has_reserve;    /* blocks past its size are taken for it */
    bool is_unseen;      /* known from the manifest only: its size is compared when it is opened */
    bool is_removed;     /* no longer in the log; freed when its readers are done */
    struct io_file file; /* NONE while closed */
    struct io_file direct; /* past the page cache; NONE while closed */
    struct segment_index index;
    struct segment_aborted aborted;
};

#define READ_PLACES 8

struct read_place {
    int64_t offset;
    struct segment *segment; /* NULL: none */
    uint32_t position;       /* of the batch with the offset */
};

struct log {
    struct io *io;
    char *dir;
    struct log_config config;
    struct log_owner *owner;
    struct segment **segments; /* base offsets ascend; the last is active; never empty */
    size_t segment_count, segment_cap;
    uint64_t size;

    int64_t start_offset;
    int64_t next_offset;    /* of the next append */
    int64_t end_offset;     /* of what was written */
    int64_t flushed_offset; /* of what is on the disk */

    struct list writing;   /* appends submitted, in order */
    struct list unflushed; /* written appends that wait for a flush, in order */
    struct io_op flush_op;
    struct segment *flush_segment; /* the one being flushed; NULL: none */
    uint32_t flush_size;           /* bytes of it that this flush covers */
    int64_t flush_offset;          /* log end that it covers */
    int64_t flush_wanted_offset;   /* go on until there */
    int64_t unlogged_offset;       /* up to there appends wait for a flush, not for the wal */
    int64_t flush_due_ms;          /* flush.ms: when what is unflushed must go; -1: nothing */
    int64_t messages_unflushed;
    uint32_t reads; /* under way */
    /* Where the last reads ended, the next of them to be written over; see read.c. */
    struct read_place places[READ_PLACES];
    uint32_t place_next;
    struct list cold_streams; /* who reads old segments: see cold.c */

    struct wal *wal; /* NULL: none */
    struct wal_client wal_client;
    int64_t logged_offset;  /* up to there, what is not flushed was given to the wal... */
    int64_t logged_segment; /* ...and in the segment with this base up to this position */
    uint32_t logged_position;
    int64_t durable_offset;   /* of what is flushed or in the wal: acknowledged up to there */
    struct wal_group *replay; /* of the last run, until it is flushed; NULL: none */
    int64_t replay_offset;    /* that it needs to be flushed up to */
    uint64_t replay_flush_ms; /* when that is due */

    struct list open_segments; /* with an open file, least recently used first */
    uint64_t used_ms;          /* when a file was last needed */
    struct list removals;      /* files that wait for file.delete.delay.ms */
    uint32_t unlinks;          /* under way */

    struct producers producers;
    struct epochs epochs;
    bool is_distrusted;    /* found at the opening: see distrust.c */
    bool epochs_changed;   /* and not yet in the file */
    bool has_no_producers; /* see log.h: its snapshots are left alone until it is settled */
    bool is_aborted_known; /* which segments have aborted transactions */
    bool has_aborted;
    bool is_offline;
    bool has_distrust_mark; /* left in this run: see distrust.c */
    bool is_changed;        /* since it was opened: a stop has something to write */
    bool is_refusing;       /* a write found no space; waits for the others to come back */
    uint64_t refuse_until_ms;

    /* What the manifest says; see checkpoint.c. */
    struct manifest *manifest; /* NULL: none */
    struct manifest_key key;
    enum manifest_mark mark;       /* on the log's entry there */
    uint64_t mark_position;        /* it is synced when that is */
    struct manifest_waiter waiter; /* a flush that waits for it */
    bool is_asleep;                /* made from an entry, and nothing was changed since */
    uint64_t changed_ms;
    uint64_t unsaved_bytes;  /* appended since the newest entry */
    struct buf captured;     /* the next entry, until what it speaks of is flushed */
    int64_t captured_offset; /* -1: none */
    int64_t captured_base;
    uint64_t captured_bytes;

    int32_t leader_epoch_max;      /* at the opening: no batch was of a later one; -1: not known */
    bool is_renamed;               /* its folder has a name on which nothing depends */
    struct compaction *compaction; /* under way; NULL: none */
    uint32_t jobs;                 /* under way at the io: of a compaction, of a deletion */
    struct list deletions;         /* that wait for their start offset to be written */
    bool is_writing_start;
    int64_t written_start; /* in the file */
    struct manifest_waiter start_waiter;
    int64_t cleaned_offset; /* below it the log was compacted; -1: not known */
    struct compact_failure {
        char *text;         /* why the last pass failed, for people; NULL: it did not */
        int64_t end_offset; /* where that pass would have ended */
        uint64_t retry_ms;  /* not before, unless something changes */
        uint32_t count;     /* in a row */
    } compact_failure;
};

static inline struct segment *log_active(const struct log *log)
{
    return log->segments[log->segment_count - 1];
}

/* The offset after a segment's last record: the next one's base, or the log's end. */
int64_t segment_end_offset(const struct log *log, size_t at);

/* Paths: DIR/NNN<suffix> into a buffer of LOG_PATH_MAX. */
void segment_path(const struct log *log, int64_t base_offset, const char *suffix, char *path);

/* Those of a segment, wherever it stands. */
void segment_file_path(const struct log *log, const struct segment *segment, const char *suffix,
                       char *path);

/* --- segment.c --- */
struct segment *segment_new(struct log *log, int64_t base_offset) MUST_USE;
void segment_free(struct segment *segment);
/* Puts it at the end of the log's array. */
enum err log_add_segment(struct log *log, struct segment *segment) MUST_USE;
/* Opens the file if it is closed, and closes the least recently used ones over a bound. */
enum err segment_open_file(struct log *log, struct segment *segment, int flags) MUST_USE;
/* With preallocate: takes the blocks of a whole segment, so that it lies together and its flushes
 * have less to write. Its size stays what was written: no reader meets zeros. Where the disk has
 * not got them the segment does without. */
enum err segment_reserve(struct log *log, struct segment *segment) MUST_USE;
/* The same past the page cache, for reading; closed together with the other. */
enum err segment_open_direct(struct log *log, struct segment *segment) MUST_USE;
void segment_close_file(struct log *log, struct segment *segment);
/* Shortens the file, which is open, for good: once the next segment is begun nobody looks at the
 * end of this one again, and a power cut must not bring back what was there. */
enum err segment_cut_file(struct log *log, struct segment *segment, uint32_t size) MUST_USE;
/* Closes every file that nothing is under way with. */
void log_close_idle(struct log *log);
/* The segment that holds the offset: the last with a base <= offset. */
size_t log_segment_at(const struct log *log, int64_t offset);
/* Begins a new active segment at the offset; the old one is sealed and its indexes are written. */
enum err log_roll(struct log *log, int64_t base_offset, int64_t now_ms) MUST_USE;
/* Takes the segment out of the log's array and its files out of the folder, after
 * file.delete.delay.ms. */
enum err log_remove_segment(struct log *log, size_t at) MUST_USE;
/* Renames NNN<suffix>, if it is there, to NNN<suffix>.deleted, and unlinks it after
 * file.delete.delay.ms. */
enum err log_remove_file(struct log *log, int64_t base_offset, const char *suffix) MUST_USE;
/* Unlinks NNN<suffix>, which was never part of the log, if it is there. */
void log_unlink_file(struct log *log, int64_t base_offset, const char *suffix);
/* Unlinks the files whose delay is over; the other: forgets them, the next start finds them. */
void log_run_removals(struct log *log, uint64_t now_ms);
void log_drop_removals(struct log *log);
/* Frees a removed segment that nobody reads or flushes any more. */
void segment_unref(struct log *log, struct segment *segment);
/* A read of the segment ended. */
void segment_reader_done(struct log *log, struct segment *segment);

/* --- index.c --- */
/* Notes a batch at a position of the active segment. */
enum err index_note_batch(struct log *log, struct segment *segment, uint32_t position,
                          const struct batch *batch) MUST_USE;
bool index_is_full(const struct log *log, const struct segment *segment);
/* Puts what is in memory into the files, without a flush. */
enum err index_store_tail(struct log *log, struct segment *segment) MUST_USE;
/* Whether the files begin with the entries that are said to be stored. ERR_MALFORMED: no. */
enum err index_verify(struct log *log, const struct segment *segment) MUST_USE;
/* Completes and syncs both files of the segment. */
enum err index_store(struct log *log, struct segment *segment) MUST_USE;
/* Empty: the files are begun anew with the next entries. */
void index_reset(struct segment_index *index);
void index_release(struct segment_index *index);
/* Goes on with the files that a clean stop left. Without entries, the last ones are {0, 0} and
 * {-1, 0}. ERR_MALFORMED, ERR_NOENT: they are to be built anew. */
enum err index_adopt(struct log *log, struct segment *segment, struct index_entry *last,
                     struct timeindex_entry *last_time) MUST_USE;
/* A position at or before the batch that holds the offset. */
enum err index_find(struct log *log, struct segment *segment, int64_t offset,
                    uint32_t *position) MUST_USE;
/* An offset at or before the first record whose timestamp is >= the given. */
enum err timeindex_find(struct log *log, struct segment *segment, int64_t timestamp,
                        int64_t *offset) MUST_USE;
/* The last entry of the time index: the segment's greatest timestamp. */
enum err timeindex_last(struct log *log, struct segment *segment,
                        struct timeindex_entry *entry) MUST_USE;

/* --- scan.c --- */
/* One batch of a segment's file, headers and body in memory; valid during the callback. */
typedef enum err scan_fn(void *arg, uint32_t position, const struct batch *batch);
/* Calls fn for each whole batch from the position on, up to `end` (bytes). Stops at the first
 * error of fn. *stopped_at is behind the last whole, plausible batch: less than `end` where the
 * rest is no batch. */
enum err segment_scan(struct log *log, struct segment *segment, uint32_t position, uint32_t end,
                      scan_fn *fn, void *arg, uint32_t *stopped_at) MUST_USE;
/* Position and size of the batch that holds the offset (or of the first one past it). ERR_NOENT:
 * there is none up to the segment's end. */
enum err segment_seek(struct log *log, struct segment *segment, int64_t offset, uint32_t *position,
                      uint32_t *size) MUST_USE;
/* The same from a position on where a batch begins. */
enum err segment_seek_from(struct log *log, struct segment *segment, int64_t offset, uint32_t at,
                           uint32_t *position, uint32_t *size) MUST_USE;

/* --- read.c --- */
/* Before segments go or are cut. */
void log_forget_places(struct log *log);
/* A read whose bounds are checked. */
void read_begin(struct log *log, struct log_read *op);
/* The reader gets the bytes, which are in op->buf, up to his bound. */
void read_give(struct log_read *op, const uint8_t *data, size_t len);

/* --- cold.c --- */
/* All of the segment is on the disk, and stays as it is. */
bool cold_may_read(const struct segment *segment);
/* Begins a read past the page cache into a new buffer. */
enum err cold_read(struct log *log, struct segment *segment, struct rbuf_pool *bufs,
                   uint32_t position, size_t want, struct rbuf **buf, struct io_op *op,
                   io_done *done) MUST_USE;
/* What such a read has of [position, position + want). */
struct slice cold_bytes(const struct io_op *op, uint32_t position, size_t want);
/* Begins to read what the reader will ask for next. */
void cold_read_ahead(const struct log_read *op);
/* Whether the read was begun before: then it ends by itself. */
bool cold_serve(struct log *log, struct log_read *op);
void cold_forget(struct log *log);
void cold_tick(struct log *log, uint64_t now_ms);

/* --- producer_state.c --- */
/* "OFFSET<suffix>", and nothing else. */
bool log_parse_file_name(const char *name, const char *suffix, int64_t *offset);
struct producer_append log_producer_append(const struct batch *batch);
/* Takes over what a batch of the segment says of its producer. */
enum err log_note_producer(struct log *log, struct segment *segment,
                           const struct batch *batch) MUST_USE;
/* Notes all transactions that were aborted by a marker in the segment. */
enum err log_find_aborted(struct log *log, struct segment *segment) MUST_USE;
enum err log_write_snapshot(struct log *log, int64_t offset) MUST_USE;
/* Removes those that are neither at a segment's base nor at the offset. */
enum err log_remove_snapshots_but(struct log *log, int64_t offset) MUST_USE;
/* State as of the log's end: from the newest usable snapshot at or below `trusted_offset`, and the
 * batches behind it. Snapshots past that, and old ones that nothing needs, are removed. */
enum err log_load_producers(struct log *log, int64_t trusted_offset) MUST_USE;

/* --- aborted.c --- */
/* Adds what the file of a segment holds; none has nothing. A torn entry at its end is written over
 * by the next one. ERR_MALFORMED: an entry does not belong there. Any thread. */
enum err aborted_read(struct io *io, const char *path, int64_t base_offset,
                      struct txn_list *list) MUST_USE;
/* Into memory; from the segment itself where its index is damaged. */
enum err aborted_load(struct log *log, struct segment *segment) MUST_USE;
/* Adds one that ended in the segment, unless it is there. */
enum err aborted_note(struct log *log, struct segment *segment,
                      const struct aborted_txn *txn) MUST_USE;
/* What was added is in the file and on the disk. */
enum err aborted_store(struct log *log, struct segment *segment) MUST_USE;
/* Forgets those that end at the offset or past it, also in the file. */
enum err aborted_cut(struct log *log, struct segment *segment, int64_t offset) MUST_USE;
void aborted_release(struct segment_aborted *aborted);

/* --- folder.c --- */
/* `path` has LOG_PATH_MAX bytes. */
void log_file_path(const char *dir, const char *name, char *path);
/* That `dir` has its name is on the disk. */
enum err log_sync_parent(struct io *io, const char *dir) MUST_USE;
/* What a killed process wrote may be in the page cache only: names, and whose folder it is. */
enum err log_sync_names(struct log *log) MUST_USE;
enum err log_load_epochs(struct log *log, const struct log_open_options *options) MUST_USE;
/* Takes over a batch's epoch. */
enum err log_note_epoch(struct log *log, int32_t epoch, int64_t offset) MUST_USE;
/* Writes the checkpoint if the file is behind what is known. */
enum err log_write_epochs(struct log *log) MUST_USE;

/* --- close.c --- */
/* Writes and flushes all that a clean stop leaves. Waits for the disk; no append is under way. */
enum err log_settle(struct log *log) MUST_USE;
/* With all that it holds; `is_covered`: nothing in the write-ahead log is needed for it. */
void log_free(struct log *log, bool is_covered);

/* --- recover.c --- */
/* Indexes in memory for the last segment, from its batches; with `check_crc`, up to the first that
 * is not whole. *end_offset is behind its last batch, *stopped_at where that ends in the file. */
enum err log_index_segment(struct log *log, struct segment *segment, bool check_crc,
                           int64_t *end_offset, uint32_t *stopped_at) MUST_USE;
/* After the active segment was cut: its indexes and the producers' state again. */
enum err log_rebuild_active(struct log *log) MUST_USE;

/* Takes the last segment and its files away. */
enum err log_drop_last_segment(struct log *log) MUST_USE;

/* --- start.c --- */
/* LOG_START_FILE is there: the offset that it has; ERR_MALFORMED. After a clean stop it is of no
 * use any more, and goes; *offset is as it was then. */
enum err log_read_start(struct log *log, bool clean_shutdown, int64_t *offset) MUST_USE;

/* --- checkpoint.c --- */
/* Before the log's files are changed: takes back what the manifest says. With `sync`, for good
 * before this returns: what is removed or rolled must not be unknown to the next start. */
enum err log_mark(struct log *log, enum manifest_mark mark, bool sync) MUST_USE;
/* Flushed batches count once this is so. */
bool log_is_mark_synced(const struct log *log);
enum err log_sync_mark(struct log *log) MUST_USE;
/* After a failure: the next start takes nothing for granted. */
void log_distrust(struct log *log);
/* The start offset moved without a change of files. */
enum err log_note_start(struct log *log) MUST_USE;
/* The captured entry cannot become true any more. */
void log_drop_capture(struct log *log);
/* Puts it into the manifest, if a flush has reached it. */
enum err log_put_capture(struct log *log) MUST_USE;
/* Nothing under way, nothing unflushed, and the manifest does not know yet. */
bool log_must_save(const struct log *log);
bool log_is_settled(const struct log *log);
/* The log that an entry speaks of, without a look at its files. */
enum err log_restore(struct log *log, struct slice entry) MUST_USE;
/* The start offset in an entry; -1. */
int64_t log_entry_start(struct slice entry);
/* Before the first change of a log that was made from an entry. */
enum err log_wake(struct log *log) MUST_USE;

/* --- find.c --- */
/* Makes max_timestamp of a sealed segment known. */
enum err segment_learn_time(struct log *log, struct segment *segment) MUST_USE;

/* Timestamp of the segment's first batch; -1: it has none. */
enum err segment_learn_first_time(struct log *log, struct segment *segment) MUST_USE;

/* --- compact.c --- */
/* New segments are about to take the place of others, which must stay until then. */
bool compact_is_swapping(const struct log *log);
/* Something changed: what failed may work now. */
void compact_retry(struct log *log);

/* --- compact_files.c --- */
/* Gives the cleaned segment, whose files are whole and on the disk, its .swap names. Who calls
 * makes them durable before compact_replace puts it in the place of `count` segments, the first of
 * which has its base offset, and again after that. After an error of either the folder has to be
 * opened again. */
enum err compact_name_swap(struct log *log, struct segment *cleaned, bool has_txnindex) MUST_USE;
enum err compact_replace(struct log *log, size_t first, size_t count, struct segment *cleaned,
                         bool has_txnindex) MUST_USE;
/* Before the segments are listed: completes what a crash interrupted, or takes it back. */
enum err compact_finish_swaps(struct log *log, struct log_problem *problem) MUST_USE;

/* --- replay.c --- */
/* Writes the batch of the last run's wal that belongs at the position, if there is one that the
 * log can go on with; *len is 0 otherwise. The segment grows to hold it. */
enum err replay_batch(struct log *log, struct segment *segment, uint32_t position,
                      int64_t next_offset, uint32_t *len) MUST_USE;
/* Whether a whole batch that stands there has another offset or epoch than its copy: its checksum
 * leaves both out, and in a compacted log any later offset could be right. */
bool replay_disagrees(const struct log *log, const struct segment *segment, uint32_t position,
                      int64_t next_offset, const struct batch *batch);
/* Whether the write-ahead log has that very batch there. */
bool replay_agrees(const struct log *log, const struct segment *segment, uint32_t position,
                   const struct batch *batch);
/* The end of what its batches prove to have been durable; 0: nothing. */
int64_t replay_end_offset(const struct log *log);

/* --- log.c --- */
/* After flushed_offset moved: tells who keeps a copy until then. */
void log_note_flushed(struct log *log);
/* After a cut: what the wal has does not say where the next record goes. */
void log_forget_logged(struct log *log);
/* Of the wal's client. */
void log_on_wal_flush(struct wal_client *client);
void log_on_wal_failed(struct wal_client *client, enum err err, const char *what);
/* Offline for good; ends what waits. */
void log_fail(struct log *log, enum err err, const char *what);
/* --- distrust.c --- */
/* Leaves the mark: what the page cache shows of this log may not be on the disk. */
void distrust_mark(struct log *log);
/* With the mark there: writes all from the recovery point on anew, so that it is what it shows, and
 * takes the mark away. */
enum err distrust_end(struct log *log, int64_t recovery_point) MUST_USE;

#endif
