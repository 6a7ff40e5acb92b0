/* The write-ahead logs of a node: one for each shard in each log folder, and what the last run left
 * in each folder for the partitions that are opened. */
#ifndef BROKER_FOLDER_WAL_H
#define BROKER_FOLDER_WAL_H

#include <stdatomic.h>

#include "log/log.h"
#include "log/wal.h"
#include "log/wal_replay.h"

struct hosting;
struct image;
struct shard;

/* Of a folder. */
struct folder_wal {
    struct wal_replay replay;
    bool is_open;        /* the replay */
    atomic_bool is_kept; /* at the stop: a log that failed still needs a shard's files */
};

/* At start, before anything else looks at the folder's partitions. */
enum err folder_wal_open(struct folder_wal *folder, struct io *io, const char *dir,
                         bool was_clean) MUST_USE;
/* On each shard's behalf: its write-ahead logs, one for each folder. */
enum err folder_wal_create(struct hosting *hosting, struct shard *shard,
                           struct wal ***wals) MUST_USE;
void folder_wal_close(struct folder_wal *folder);

/* On shard 0, when all partitions of the first image are open: nobody waits for the records of
 * topics that are gone. */
void folder_wal_forget_gone(struct hosting *hosting, const struct image *image);
/* A partition that could not be opened is deleted. */
void folder_wal_forget(struct folder_wal *folder, struct uuid topic_id, int32_t partition);
/* On shard 0, from time to time. */
void folder_wal_tick(struct hosting *hosting);

/* On the shard: what its write-ahead logs did, together. */
void folder_wal_stats(const struct shard *shard, struct wal_stats *stats);

/* On the shard, at its stop. */
void folder_wal_stop(struct shard *shard);
bool folder_wal_is_idle(const struct shard *shard);
/* After its logs went. */
void folder_wal_end(struct shard *shard, bool is_clean);
/* On shard 0, after all shards ended: whether the folder can be marked as left in order. */
bool folder_wal_is_empty(struct folder_wal *folder, struct io *io);

#endif
