/* A log folder as a whole: its partitions' folders, its checkpoint files, the mark of a clean stop.
 *
 * Checkpoint files are text, as Kafka's: "0\nCOUNT\nTOPIC PARTITION OFFSET\n...". */
#ifndef LOG_LOGDIR_H
#define LOG_LOGDIR_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "io/io.h"

#define LOGDIR_RECOVERY_POINTS "recovery-point-offset-checkpoint"
#define LOGDIR_START_OFFSETS   "log-start-offset-checkpoint"
#define LOGDIR_HIGH_WATERMARKS "replication-offset-checkpoint"
#define LOGDIR_CLEANED_OFFSETS "cleaner-offset-checkpoint"
#define LOGDIR_CHECKPOINTS     4
#define LOGDIR_CLEAN_SHUTDOWN  ".kafka_cleanshutdown"

/* A partition's folder that was there at start. */
struct logdir_partition {
    struct str topic;
    int32_t index;
    int64_t recovery_point;   /* 0: not known */
    int64_t log_start_offset; /* -1: that of its first segment */
    int64_t high_watermark;   /* -1: not known */
    int64_t cleaned_offset;   /* below it the log was compacted; -1: not known */
};

/* A copy, `NAME.HEX-future`, of a partition that was on its way here. */
struct logdir_future {
    struct str name, topic;
    int32_t index;
};

struct logdir {
    struct str path;               /* borrowed, NUL-terminated */
    struct logdir_future *futures; /* owned */
    size_t future_count;
    struct arena arena;
    struct map partitions; /* by topic and index */
    bool was_clean;        /* the last stop was a clean one */
    bool has_doomed;       /* folders that wait for their removal */
};

/* One that cannot be read: without partitions. */
void logdir_init(struct logdir *logdir, struct io *io, struct str path);
/* Lists the folder and reads its checkpoints. Changes nothing. */
enum err logdir_open(struct logdir *logdir, struct io *io, struct str path) MUST_USE;
void logdir_close(struct logdir *logdir);
/* NULL: there is no such folder. */
const struct logdir_partition *logdir_find(const struct logdir *logdir, struct str topic,
                                           int32_t index);
/* The next copy of the partition after `*name`, null for the first; false: no more. */
bool logdir_next_future(const struct logdir *logdir, struct str topic, int32_t index,
                        struct str *name);
/* Takes away the mark of the clean stop: from now on a crash must be noticed. Removes what was
 * waiting for its removal. */
enum err logdir_mark_running(struct logdir *logdir, struct io *io) MUST_USE;
enum err logdir_mark_clean(struct logdir *logdir, struct io *io, int64_t broker_epoch) MUST_USE;

/* One checkpoint's lines while they are collected. */
struct logdir_offsets {
    /* Recovery points, start offsets, high watermarks, cleaned offsets. */
    struct buf lines[LOGDIR_CHECKPOINTS];
    size_t counts[LOGDIR_CHECKPOINTS];
};

void logdir_offsets_init(struct logdir_offsets *offsets);
void logdir_offsets_deinit(struct logdir_offsets *offsets);
/* `log_start_offset` -1 where the first segment says it; `cleaned_offset` -1 where nobody knows. */
void logdir_offsets_add(struct logdir_offsets *offsets, struct str topic, int32_t index,
                        int64_t recovery_point, int64_t log_start_offset, int64_t high_watermark,
                        int64_t cleaned_offset);
/* Writes the files with the lines of all `count` collections. */
enum err logdir_write_offsets(struct logdir *logdir, struct io *io,
                              const struct logdir_offsets *const *offsets, size_t count) MUST_USE;

/* Removes a partition's folder and the files in it. Waits for the disk, however large they are. */
enum err logdir_remove_folder(struct io *io, const char *path) MUST_USE;

/* The same, file after file, without a stall for anybody. Embedded; lent with `path` until done. */
struct folder_removal {
    struct io_op op;
    struct io *io;
    const char *path;
    char *file;
    bool is_stopped; /* set by the caller: what is left is the next start's */
    void (*done)(struct folder_removal *removal, enum err err);
};

/* Calls back from the loop, or inside of the call where the folder is empty or cannot be read. */
void folder_removal_start(struct folder_removal *removal);

#endif
