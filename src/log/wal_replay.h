/* What a start finds in the write-ahead logs of a folder: batches that were made durable there, by
 * partition, for log_open to put into the segments where they are missing.
 *
 * Read once, by the thread that starts the node; after that every shard may look its partitions up
 * and settle them. The files stay until all of their partitions are settled: flushed, or gone. */
#ifndef LOG_WAL_REPLAY_H
#define LOG_WAL_REPLAY_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/map.h"
#include "io/io.h"

struct epochs;
struct wal_replay;

/* One batch. */
struct wal_entry {
    int64_t segment_base;
    uint32_t position; /* in the segment */
    uint32_t len;
    int64_t base_offset;
    int64_t end_offset;
    int32_t leader_epoch;
    uint32_t file; /* of the replay's, and where in it */
    uint64_t at;
};

/* A partition's batches: by segment and position, each place once, with the newest there. */
struct wal_group {
    struct wal_replay *replay;
    struct uuid topic_id;
    int32_t partition;
    struct wal_entry *entries;
    size_t count, cap;
    atomic_bool is_settled;
};

struct wal_replay {
    struct io *io;   /* the reader's */
    const char *dir; /* borrowed */
    struct wal_file_found *files;
    size_t file_count, file_cap;
    struct map groups; /* by topic id and partition */
    atomic_size_t unsettled;
    /* For the write-ahead logs of this run. */
    uint64_t next_sequence;
    uint64_t next_name;
    uint64_t commit_count;
    bool is_damaged;
};

/* Reads all files of the folder. With `discard`, they are taken away instead, for their records are
 * of no use any more. ERR_UNSUPPORTED: a newer version of this program wrote one. */
enum err wal_replay_open(struct wal_replay *replay, struct io *io, const char *dir,
                         bool discard) MUST_USE;
void wal_replay_close(struct wal_replay *replay);

/* NULL: there is nothing of that partition. */
struct wal_group *wal_replay_find(const struct wal_replay *replay, struct uuid topic_id,
                                  int32_t partition);
/* The batch that stands at that place of a segment; NULL: none. */
const struct wal_entry *wal_group_find(const struct wal_group *group, int64_t segment_base,
                                       uint32_t position);
/* Whether the entry is of an epoch that a later leader has ended before its offset: then it was cut
 * off since. */
bool wal_entry_is_stale(const struct wal_entry *entry, const struct epochs *epochs);
/* Whether a log can go on with it behind `next_offset`. Dense: a log without gaps. */
bool wal_entry_fits(const struct wal_entry *entry, const struct epochs *epochs, bool is_dense,
                    int64_t next_offset);
/* The batch's bytes into `data`. Any shard. */
enum err wal_entry_read(const struct wal_group *group, struct io *io, const struct wal_entry *entry,
                        uint8_t *data) MUST_USE;
/* All that the group has is flushed, or of no use. */
void wal_group_settle(struct wal_group *group);
/* Removes the files when every group is settled; harmless before that, and after. */
enum err wal_replay_tidy(struct wal_replay *replay, struct io *io) MUST_USE;

#endif
