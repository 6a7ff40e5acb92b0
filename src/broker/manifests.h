/* The manifests of a node's log folders: what the shards' partitions are noted in for the next
 * start, and what the last run noted. */
#ifndef BROKER_MANIFESTS_H
#define BROKER_MANIFESTS_H

#include "log/manifest.h"

struct hosting;
struct hosting_dir;
struct node;
struct shard;

/* Of one log folder. */
struct dir_manifests {
    struct manifest_set known; /* what the last run noted; read by the shards' first image only */
    bool are_written;          /* this run's are there for the shards to open */
};

/* At start, on shard 0: reads what the last run on the folder noted, if it was this program's. */
enum err manifests_load(struct hosting_dir *dir, struct node *node) MUST_USE;
/* On shard 0, at start: the quorum has saved a new epoch, and no partition was touched yet. What is
 * noted from here on is of this run. */
void manifests_begin_run(struct hosting *hosting, int32_t epoch);
/* On each shard, around its first image. */
void manifests_open(struct shard *shard);
void manifests_close(struct shard *shard, bool is_clean);
/* On shard 0, once all shards have their first image. */
void manifests_forget(struct hosting *hosting);

/* What is noted of a partition whose folder is there, or not. `item` NULL: nothing; then nothing
 * that was noted once will be believed by a later start. */
enum err manifests_find(struct shard *shard, uint32_t dir, struct manifest_key key, bool is_there,
                        const struct manifest_item **item) MUST_USE;
/* Whether a log can be opened by it without a look at its folder. */
bool manifests_is_enough(const struct manifest_item *item);

/* From the tick. What was appended since it was noted is read again after a crash: where that has
 * become much, the logs that have most of it are flushed and noted. */
void manifests_tick(struct shard *shard);
/* Before the logs are closed: each notes that it will be, and all wait for that together. */
void manifests_announce_close(struct shard *shard);

#endif
