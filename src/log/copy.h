/* A log's files, copied to another folder while the log is written to.
 *
 * For a partition that moves to another log folder. The copy has the same segments with the same
 * bytes, indexes, snapshots and epochs; once it is complete it can be opened in the log's place. */
#ifndef LOG_COPY_H
#define LOG_COPY_H

#include "log/log.h"
#include "log/pace.h"

struct log_copy;

/* From the loop. ERR_OK: at most a little is missing. ERR_CANCELLED: log_copy_cancel. */
typedef void log_copy_done(void *arg, enum err err);

/* Into a folder that exists and is empty. The log must not be compacted until the copy is freed,
 * and may go only after log_copy_cancel. The pace outlives the copy; NULL: no limit. */
enum err log_copy_begin(struct log *log, const char *dir, struct uuid topic_id, struct pace *pace,
                        log_copy_done *done, void *arg, struct log_copy **copy) MUST_USE;
/* After done: whether nothing is being written, so that the copy can be completed. */
bool log_copy_is_ready(const struct log_copy *copy);
/* Waits for the disk. Then all that the log has is in the copy and on the disk, as after a clean
 * stop. No append may come to the log from here on. */
enum err log_copy_finish(struct log_copy *copy) MUST_USE;
/* The log is not looked at any more. Before done: that comes soon. */
void log_copy_cancel(struct log_copy *copy);
/* After done. Files stay. */
void log_copy_free(struct log_copy *copy);

/* Whether it was the copy's disk that failed, rather than the log's. */
bool log_copy_has_write_failed(const struct log_copy *copy);
/* How far it is, any time. */
int64_t log_copy_end_offset(const struct log_copy *copy);
uint64_t log_copy_size(const struct log_copy *copy);

/* What is known of the producers goes to the copy, which has the same records. The snapshot that it
 * was opened with knows only their last batches. */
void log_take_producers(struct log *copy, struct log *log);
/* Makes the start offset of a log that was opened in another's place durable at once. */
enum err log_save_start(struct log *log) MUST_USE;
/* The log's folder gets a name that the next start removes, `NAME.HEX-delete`, durably. Reads that
 * are under way there go on; its owner is told nothing any more, also after an error. */
enum err log_rename_deleted(struct log *log, uint64_t random_hi, uint64_t random_lo) MUST_USE;

#endif
