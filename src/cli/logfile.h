/* Files of a log folder, read without a broker: found, named, mapped, walked. */
#ifndef CLI_LOGFILE_H
#define CLI_LOGFILE_H

#include "base/bytes.h"
#include "log/txnindex.h"
#include "wire/batch.h"
#include "wire/records.h"

enum logfile_kind {
    LOGFILE_SEGMENT,    /* NNN.log: record batches */
    LOGFILE_INDEX,      /* NNN.index */
    LOGFILE_TIMEINDEX,  /* NNN.timeindex */
    LOGFILE_TXNINDEX,   /* NNN.txnindex */
    LOGFILE_PRODUCERS,  /* NNN.snapshot */
    LOGFILE_METADATA,   /* NNN-EEE.checkpoint, bootstrap.checkpoint: batches of metadata records */
    LOGFILE_CHECKPOINT, /* *-checkpoint: lines of text with numbers */
    LOGFILE_TEXT,       /* partition.metadata, meta.properties, quorum-state */
    LOGFILE_OTHER,
    LOGFILE_FOREIGN, /* a file or folder that does not belong where it is; never opened */
};

enum logfile_kind logfile_kind_of(const char *name);

struct logfile {
    const char *path;
    const char *name; /* the last part of path */
    enum logfile_kind kind;
    int64_t base_offset; /* from the name; -1: it has none */
    struct slice bytes;  /* the mapped file */
    bool has_family;     /* by its folder's name: records of an internal topic */
    enum record_family family;
};

/* Maps a file; an exit code, said on standard error. A file that shrinks while it is mapped ends
 * the program with a sentence: a broker is writing it. */
int logfile_open(struct logfile *file, const char *path);
void logfile_close(struct logfile *file);

/* Visits the files of each path in order: a file, a partition's folder, or a folder of such
 * folders. What is foreign in a partition's folder or a log folder is visited, too, a folder as
 * one. Stops at an exit code that is not EXIT_FINE, and returns it. */
typedef int logfile_visit(void *visitor, const struct logfile *file);
int logfile_walk(const char *const *paths, size_t count, logfile_visit *visit, void *visitor);

/* ---- entries of the indexes ---- */

#define INDEX_ENTRY_BYTES     ((size_t)8)
#define TIMEINDEX_ENTRY_BYTES ((size_t)12)
#define PRODUCERS_HEAD_BYTES  ((size_t)10)
#define PRODUCERS_ENTRY_BYTES ((size_t)46)
#define PRODUCERS_CRC_FROM    ((size_t)6)

struct index_entry {
    int64_t offset;
    int64_t position;
};

struct timeindex_entry {
    int64_t timestamp_ms;
    int64_t offset;
};

struct txnindex_entry {
    int64_t producer_id, first_offset, last_offset, last_stable_offset;
};

struct producer_entry {
    int64_t producer_id;
    int16_t epoch;
    int32_t last_sequence;
    int64_t last_offset;
    int32_t offset_delta;
    int64_t timestamp_ms;
    int32_t coordinator_epoch;
    int64_t transaction_first_offset; /* -1: no open transaction */
};

/* Whole entries in use. The zeros behind them, which a broker preallocates, are not counted. */
size_t index_count(const struct logfile *file);
size_t timeindex_count(const struct logfile *file);
struct index_entry index_at(const struct logfile *file, size_t n);
struct timeindex_entry timeindex_at(const struct logfile *file, size_t n);
struct txnindex_entry txnindex_at(const struct logfile *file, size_t n);
struct producer_entry producers_at(const struct logfile *file, size_t n);

#endif
