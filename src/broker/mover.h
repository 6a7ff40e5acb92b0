/* Partitions that move from one log folder to another while they are written to. */
#ifndef BROKER_MOVER_H
#define BROKER_MOVER_H

#include "base/list.h"
#include "log/logdir.h"

struct move;
struct partition;
struct shard;

/* A shard's. */
struct mover {
    struct list moves;   /* under way */
    struct list retired; /* logs whose place was taken, until nobody reads there */
    struct list dropped; /* moves that the metadata may still answer */
};

void mover_init(struct mover *mover);
/* After mover_drop, when no answer can come any more. */
void mover_close(struct mover *mover);

/* The partition is to lie in the folder; a move elsewhere ends. ERR_OK also where it lies there
 * already. ERR_KAFKA_STORAGE_ERROR, ERR_INVALID_TOPIC: its name leaves no room for the copy's. */
enum err mover_start(struct shard *shard, struct partition *partition, uint32_t dir) MUST_USE;
/* Before the partition is detached. */
void mover_forget(struct partition *partition);
/* A folder failed: moves from and to it end. */
void mover_dir_failed(struct shard *shard, uint32_t dir);
/* After the partition was opened: goes on with a move that the last stop interrupted. */
void mover_resume(struct shard *shard, struct partition *partition);

struct mover_progress {
    uint32_t dir;
    uint64_t size;
    int64_t offset_lag;
};

/* False: it does not move. */
bool mover_progress(const struct partition *partition, struct mover_progress *progress);
/* Takes over a changed pace; removes what nobody reads any more. */
void mover_tick(struct shard *shard);
/* Ends every move; their folders stay, and the next start begins again. */
void mover_stop(struct shard *shard);
bool mover_is_idle(const struct shard *shard);
/* Frees what is left. */
void mover_drop(struct shard *shard);

#endif
