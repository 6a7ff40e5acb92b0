/* Compaction: of each key, the newest record stays.
 *
 * The owner looks at its logs now and then (log_compact_look) and begins a pass over the one that
 * needs it most. A pass works beside the loop and calls back when it is over. What it does, and
 * what a crash leaves of it, is at the head of compact.c and compact_job.c. */
#ifndef LOG_COMPACT_H
#define LOG_COMPACT_H

#include "log/log.h"
#include "log/pace.h"

/* What there is to do in a log. */
struct compact_plan {
    int64_t first_dirty_offset; /* below it, the log was compacted before */
    int64_t end_offset;         /* what may be compacted ends here */
    uint64_t clean_bytes, dirty_bytes;
    double dirty_ratio;
    bool is_due; /* min.cleanable.dirty.ratio or max.compaction.lag.ms asks for it */
};

struct compact_result {
    uint64_t bytes_read, bytes_written;
    int64_t first_dirty_offset, end_offset;
    uint32_t segments_kept; /* nothing in them was to be changed */
    bool map_was_full;      /* what is behind end_offset is left to the next pass */
};

/* The pass is over. ERR_OK: *result says what it did. Else `why` is the reason for people, perhaps
 * empty: ERR_CORRUPT_MESSAGE and the like lie in the records, ERR_CANCELLED says that it was ended
 * from outside. What was replaced so far stays replaced, and the log is whole in any case. */
typedef void compact_done(void *arg, enum err err, const struct compact_result *result,
                          const char *why);

struct compact_options {
    uint64_t map_bytes_max; /* log.cleaner.dedupe.buffer.size */
    double load_factor;     /* log.cleaner.io.buffer.load.factor */
    int64_t now_ms;
    struct pace *pace;  /* of bytes read and written; outlives the pass; NULL: no limit */
    compact_done *done; /* from the loop */
    void *arg;
};

/* Sealed, flushed segments below `stable_offset` may be compacted. Rolls the active segment where
 * max.compaction.lag.ms asks for it, and flushes what was sealed. Nothing to do: not due. */
enum err log_compact_look(struct log *log, int64_t stable_offset, int64_t now_ms,
                          struct compact_plan *plan) MUST_USE;

/* Begins a pass. None may be under way in this log. The log is not idle until it is over. */
enum err log_compact_begin(struct log *log, const struct compact_plan *plan,
                           const struct compact_options *options) MUST_USE;
bool log_is_compacting(const struct log *log);
/* Ends a pass soon, if there is one: it still calls back. */
void log_compact_abort(struct log *log);

/* Why the last pass failed, for people; NULL: it did not. Such a log is looked at again when there
 * is more to compact, when its settings or segments change, and after a while that grows. */
const char *log_compact_problem(const struct log *log);

/* Below it the log was compacted; -1: not known. For the checkpoint, and from it after opening. */
int64_t log_cleaned_offset(const struct log *log);
void log_set_cleaned_offset(struct log *log, int64_t offset);

#endif
