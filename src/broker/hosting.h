/* Which partitions this broker has, and where: image in, open logs out.
 *
 * Each shard opens, creates, changes and deletes the partitions that it owns when it applies an
 * image. The folders found at start are shared, read-only knowledge from then on. */
#ifndef BROKER_HOSTING_H
#define BROKER_HOSTING_H

#include <stdatomic.h>

#include "broker/cleaner.h"
#include "broker/dirs.h"
#include "broker/folder_wal.h"
#include "broker/manifests.h"
#include "broker/mover.h"
#include "broker/shard.h"
#include "log/logdir.h"
#include "meta/image.h"
#include "repl/partition.h"

struct node;

struct hosting_dir {
    struct logdir logdir;
    struct folder_wal wal;
    struct uuid id;   /* its directory.id */
    bool is_metadata; /* it holds the metadata log, too */
    struct dir_manifests manifests;
    _Atomic uint32_t partition_count;
    _Atomic bool is_offline;       /* its disk failed */
    _Atomic uint64_t full_said_ms; /* when it was last said that there is no space; 0: never */
    _Atomic bool is_unclean;       /* a partition of it was not opened or closed as it should */
    /* Shard 0's, once it failed. */
    enum err failure;
    struct shard_msg failure_msg;
    struct metadata_call offline_call;
    struct arena arena;
};

struct hosting {
    struct node *node;
    struct hosting_dir *dirs; /* in the order of log.dirs */
    size_t dir_count;
    struct io_timer tick; /* shard 0's: checkpoints */
    struct hosting_shard *shards;
    _Atomic uint32_t named; /* deleted partitions whose folders still have their names */
    struct cleaner_node cleaning;
    struct pace moving; /* of what all moves between log folders copy */
    uint32_t checkpoint_pending;
    uint64_t checkpoint;                  /* shard 0's: the number of the last one begun */
    _Atomic uint64_t checkpoints_written; /* the number of the last one on the disk */
    _Atomic bool is_checkpoint_wanted;    /* before its time */
    bool has_run;                         /* shard 0's: manifests_begin_run was called... */
    int32_t run;                          /* ...with this epoch */
};

/* What one shard keeps for its partitions. */
struct hosting_shard {
    struct shard *shard;
    struct list closing;  /* partitions that go when nothing is in flight */
    struct list doomed;   /* renamed folders that are removed later */
    struct list removing; /* those that are being removed, file after file */
    struct io_timer tick;
    uint64_t retain_at_ms;
    struct cleaner cleaner;
    uint64_t checkpoint;  /* the one that the partitions' recovery points are in */
    struct shard_msg msg; /* for checkpoints */
    struct shard_msg stop_msg;
    struct logdir_offsets *offsets; /* [dir]: for a checkpoint */
    struct wal **wals;              /* [dir] */
    struct shard_msg *failure_msgs; /* [dir] */
    struct dir_reporter reporter;
    struct manifest **manifests; /* [dir]: for the next start; NULL: none could be made */
    bool has_first_image;
    struct mover mover;
    void (*on_closed)(struct shard *shard);
};

enum err hosting_open(struct hosting *hosting, struct node *node, struct meta_error *why,
                      struct arena *arena) MUST_USE;
/* Once nothing refuses the start any more: from here on a crash must be noticed. */
enum err hosting_begin(struct hosting *hosting, struct meta_error *why,
                       struct arena *arena) MUST_USE;
void hosting_close(struct hosting *hosting);

/* On the shard: partitions as the image says. */
void hosting_apply(struct shard *shard, const struct image *before, const struct image *after);
void hosting_shard_start(struct shard *shard);
/* Closes every partition of the shard as a clean stop does, then calls back. */
void hosting_shard_stop(struct shard *shard, void (*on_closed)(struct shard *shard));
/* On shard 0, after all shards are closed: checkpoints and the marks of a clean stop. */
enum err hosting_finish(struct hosting *hosting, int64_t broker_epoch) MUST_USE;
/* Removes the folder after so many ms; if not before, at the next start. Takes the path. */
void hosting_doom(struct shard *shard, char *path, int64_t delay_ms);
/* Frees what a crash would leave in memory. */
void hosting_shard_abandon(struct shard *shard);

/* The settings of a topic, as its partitions want them. */
void hosting_partition_config(const struct node *node, const struct image *image, struct str topic,
                              struct partition_config *config);

#endif
