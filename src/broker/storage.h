/* Folders: formatted on the first start as Kafka's own formatter does, recognized afterwards.
 *
 * Runs at start, on shard 0's io, before anything else touches the disk. Nothing is written to a
 * folder that is refused. */
#ifndef BROKER_STORAGE_H
#define BROKER_STORAGE_H

#include "base/arena.h"
#include "base/rng.h"
#include "broker/config.h"
#include "io/io.h"
#include "quorum/quorum.h"

#define METADATA_TOPIC_DIR "__cluster_metadata-0"

struct storage_dir {
    struct str path;
    struct uuid directory_id; /* zero where it is offline and could not be read */
    struct io_file lock;      /* `.lock`, held while we run; NONE: not locked */
    bool is_offline;          /* its disk failed at the start: nothing of it is used */
};

struct storage {
    struct arena arena;    /* all below */
    struct str cluster_id; /* as in meta.properties: usually 22 characters of base64 */
    struct storage_dir
        *dirs;          /* as config->log_dirs; behind them metadata.log.dir if it is another */
    size_t dir_count;   /* of log_dirs */
    size_t total;       /* of dirs */
    size_t metadata_at; /* which of dirs holds the metadata; may be dir_count */
    struct str metadata_dir;           /* LOGDIR/__cluster_metadata-0 */
    struct uuid metadata_directory_id; /* of the folder that holds it: our voter key */
    bool formatted_now;
    struct quorum_state_file quorum_state;
    /* bootstrap.checkpoint: what a new controller writes first. */
    struct meta_records bootstrap;
};

/* Locks every log folder, formats the new ones, checks the others. One that cannot be read or
 * written is said to be offline and left out, as Kafka does; not that of the metadata, and not the
 * last of log_dirs. `cluster_id` null: that of the folders, or a new one. Failure: ERR_BUSY
 * (another process), ERR_FOREIGN, ERR_UNSUPPORTED (newer format), ERR_MALFORMED, or the disk's;
 * *why is a whole sentence for the operator, in storage->arena. Close it either way. */
enum err storage_open(struct storage *storage, struct io *io, const struct broker_config *config,
                      struct str cluster_id, struct rng *rng, struct meta_error *why) MUST_USE;
void storage_close(struct storage *storage, struct io *io);

/* Replaces the state file and syncs it. */
enum err storage_save_quorum_state(struct storage *storage, struct io *io,
                                   const struct quorum_state_file *state) MUST_USE;

#endif
