/* Compaction: of each key, the newest record stays.
 *
 * The owner looks at its logs now and then (log_compact_look), begins a pass over the one that
 * needs it most, and lets it work in small steps between requests. What a pass does, and what a
 * crash leaves of it, is at the head of compact.c. */
#ifndef LOG_COMPACT_H
#define LOG_COMPACT_H

#include "log/log.h"

/* What there is to do in a log. */
struct compact_plan {
    int64_t first_dirty_offset; /* below it, the log was compacted before */
    int64_t end_offset;         /* what may be compacted ends here */
    uint64_t clean_bytes, dirty_bytes;
    double dirty_ratio;
    bool is_due; /* min.cleanable.dirty.ratio or max.compaction.lag.ms asks for it */
};

struct compact_options {
    uint64_t map_bytes_max; /* log.cleaner.dedupe.buffer.size */
    double load_factor;     /* log.cleaner.io.buffer.load.factor */
    int64_t now_ms;
    struct compressors *compressors; /* borrowed for the whole pass */
};

struct compact_result {
    uint64_t bytes_read, bytes_written;
    int64_t first_dirty_offset, end_offset;
    bool map_was_full; /* what is behind end_offset is left to the next pass */
};

/* Sealed, flushed segments below `stable_offset` may be compacted. Rolls the active segment where
 * max.compaction.lag.ms asks for it, and flushes what was sealed. Nothing to do: not due. */
enum err log_compact_look(struct log *log, int64_t stable_offset, int64_t now_ms,
                          struct compact_plan *plan) MUST_USE;

/* Begins a pass. None may be under way in this log. */
enum err log_compact_begin(struct log *log, const struct compact_plan *plan,
                           const struct compact_options *options) MUST_USE;
/* Works on about so many bytes. ERR_OK with *is_done: the pass is over, *result says what it did.
 * *moved is what was worked on: 0 while it waits for the disk. Any error ends the pass, with the
 * reason in *problem: ERR_CORRUPT_MESSAGE, ERR_UNSUPPORTED and the like lie in the records,
 * ERR_CANCELLED says that segments went or were cut meanwhile. The log is whole in any case. */
enum err log_compact_step(struct log *log, size_t bytes, size_t *moved, bool *is_done,
                          struct compact_result *result, struct log_problem *problem) MUST_USE;
/* Ends a pass under way, if there is one: what it replaced so far stays replaced. */
void log_compact_abort(struct log *log);

/* Below it the log was compacted; -1: not known. For the checkpoint, and from it after opening. */
int64_t log_cleaned_offset(const struct log *log);
void log_set_cleaned_offset(struct log *log, int64_t offset);

#endif
