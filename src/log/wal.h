/* The write-ahead log: what one shard makes durable at once for all its logs in one folder.
 *
 * A log flushes its segments in its own time; until then the batches that were acknowledged are
 * here too. All that wait, of all logs, share one write that is on the disk when it is done. The
 * write-ahead log promises nothing beforehand: where it has no room, or no file yet, wal_append
 * says no and the log flushes its segment instead.
 *
 * Belongs to one shard. The format, and when a byte of it counts: wal.c. What the next start makes
 * of it: wal_replay.h. */
#ifndef LOG_WAL_H
#define LOG_WAL_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "io/io.h"

/* Names of its files in the log folder: this, the shard, a number. */
#define WAL_FILE_PREFIX "taffrail-wal-"

/* Over this size a log's own flush costs no more than writing everything twice. */
#define WAL_RECORD_BYTES_MAX ((size_t)128 << 10)

struct wal;

struct wal_options {
    uint32_t shard;
    uint64_t file_bytes;   /* of each file: at least two commits */
    uint32_t commit_bytes; /* of the largest commit; these two in whole blocks */
    uint32_t files_max;
    uint64_t next_sequence; /* past those of all that earlier runs left */
    uint64_t next_name;     /* past the numbers of their files */
};

#define WAL_FILE_BYTES   ((uint64_t)32 << 20)
#define WAL_COMMIT_BYTES ((uint32_t)512 << 10)
#define WAL_FILES_MAX    3

/* A log, as the write-ahead log knows it. Embedded in its owner. */
struct wal_client {
    struct list link;   /* wal's clients */
    struct list claims; /* in which files it has records that are not flushed yet */
    uint32_t asked;     /* claims for which `flush` was called */
    /* Flush all there is, so that a file can be used again; wal_release tells that it is done. */
    void (*flush)(struct wal_client *client);
    /* The folder cannot be written: nothing is to be acknowledged any more. */
    void (*failed)(struct wal_client *client, enum err err, const char *what);
};

/* Someone who waits for a record. Embedded and lent until `done` or list_remove(&wait->link). */
struct wal_wait {
    struct list link;
    void (*done)(struct wal_wait *wait);
};

/* A run of whole batches as it stands in a segment's file. */
struct wal_record {
    struct uuid topic_id;
    int32_t partition;
    int64_t segment_base;
    uint32_t position;  /* where the run begins */
    struct io_file gap; /* the run's first gap_bytes are read from there, for they are written */
    uint32_t gap_bytes;
    struct slice batches; /* the rest of it */
    int64_t end_offset;
};

/* Touches no disk: the first file is made when it is first missed. */
enum err wal_create(struct io *io, const char *dir, const struct wal_options *options,
                    struct wal **wal) MUST_USE;
/* Nothing may be in flight. Leaves the files. */
void wal_destroy(struct wal *wal);
/* No file is begun any more. */
void wal_stop(struct wal *wal);
/* Nothing of it is under way at the io. */
bool wal_is_idle(const struct wal *wal);
/* After wal_stop, idle, and with all clients gone: takes away the files, whose content is in the
 * segments now. ERR_BUSY leaves them: a log that failed still needs them. */
enum err wal_remove_files(struct wal *wal) MUST_USE;

void wal_add_client(struct wal *wal, struct wal_client *client);
/* `is_covered`: all that it had is flushed or of no use any more. Otherwise its files stay. */
void wal_remove_client(struct wal *wal, struct wal_client *client, bool is_covered);

/* Takes a copy. False, and nothing is taken: no room now. Records of a client come to be durable in
 * the order of the calls. */
bool wal_append(struct wal *wal, struct wal_client *client, const struct wal_record *record,
                struct wal_wait *wait);
/* All of the client's records that end at or below the offset are flushed. */
void wal_release(struct wal *wal, struct wal_client *client, int64_t flushed_offset);

struct wal_stats {
    uint64_t commits, records, bytes;
    uint32_t files;
    uint64_t refused; /* appends for which there was no room */
};
void wal_stats(const struct wal *wal, struct wal_stats *stats);

#endif
