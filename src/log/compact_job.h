/* The part of a compaction that runs beside the loop: what it is given, and what it leaves.
 *
 * compact.c fills in a job, starts it for one phase after the other, and looks at it only while it
 * does not run. A job shares nothing with the log: names and sizes of segments are copies, and the
 * files that it writes are known to nobody else. */
#ifndef LOG_COMPACT_JOB_H
#define LOG_COMPACT_JOB_H

#include "log/compact.h"
#include "log/internal.h"
#include "log/offset_map.h"
#include "log/txn_walk.h"
#include "wire/batch_filter.h"
#include "wire/compress.h"

enum compact_phase {
    COMPACT_MAP,   /* reads the dirty part; goes on with COMPACT_WRITE by itself */
    COMPACT_WRITE, /* writes the next group of segments anew, and flushes what it wrote */
    COMPACT_NAMES, /* makes the names in the folder durable */
};

struct compact_source {
    int64_t base_offset, end_offset;
    int64_t created_ms;
    uint32_t size;
};

/* The newest batch of a producer when the pass began. */
struct compact_producer {
    int64_t id;
    int64_t last_offset; /* -1: only a marker of this epoch is known of it */
    int16_t epoch;
};

struct compact_job {
    struct io_job io_job;
    enum compact_phase phase;

    /* Given: */
    int64_t first_dirty_offset, end_offset;
    int64_t now_ms;
    int64_t delete_horizon_ms;
    uint64_t map_bytes_max;
    double load_factor;
    uint64_t seeds[3];
    struct pace *pace;              /* NULL: as fast as it can */
    struct compact_source *sources; /* all segments but the active one, oldest first */
    size_t source_count;
    /* Of the whole log: those that are in memory, and the segments whose index the job reads. */
    struct txn_list aborted;
    int64_t *unread; /* their base offsets */
    size_t unread_count;
    struct compact_producer *producers; /* by id */
    size_t producer_count;
    /* A log in name only, with its own copies of the folder and the configuration: what the code
     * of segments and indexes needs to write files. */
    struct log files;

    /* Left: */
    enum err err;
    bool has_write_failed;
    bool is_index_damaged; /* of the segment unread[unread_at]: nothing was begun yet */
    struct log_problem problem;
    struct compact_result result;
    size_t group_first, group_count; /* among the sources */
    size_t place;                    /* of the group's first segment in the log */
    struct segment *cleaned;         /* what the group became; NULL: none is left to be written */
    bool has_txnindex;               /* beside it */

    /* Its own: */
    size_t unread_at;
    bool has_begun, has_map;
    struct offset_map map;
    int64_t map_end_offset; /* the map knows all keys from first_dirty_offset to here */
    struct txn_walk walk;
    bool has_walk;
    struct compressors compressors;
    struct batch_filter filter;

    size_t at; /* the source that is read */
    struct io_file input_file;
    uint32_t position;
    int64_t next_offset; /* the least that the next batch may begin with */
    uint8_t *input;
    size_t input_cap, input_len;
    uint32_t input_position; /* of input[0] in the file */
    uint64_t moved;          /* bytes read and written in this step */

    struct io_file output_file;
    struct buf out; /* not yet in the file */
    uint32_t flushed;
    struct buf txns;           /* of the cleaned segment */
    const struct batch *batch; /* that is filtered */
    bool drops_all, keeps_all; /* of its records */
    bool is_probing;           /* nothing of the group's segment was to be changed so far */
};

/* An io_job_step. */
uint64_t compact_job_step(struct io_job *io_job, struct io *io, uint64_t now_ns);

void compact_job_init(struct compact_job *job);
/* It does not run. The files that it wrote stay. */
void compact_job_deinit(struct compact_job *job);

/* All segments up to the offset are written. */
bool compact_job_is_over(const struct compact_job *job);

#endif
