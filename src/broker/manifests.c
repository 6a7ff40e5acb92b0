/* Manifests of a node: read and begun by shard 0, kept by each shard for its partitions. When they
 * are believed: log/manifest.c.
 *
 * Runs on: shard 0 at start; then each shard for its own. */
#include "broker/manifests.h"

#include "base/assert.h"
#include "base/diag.h"
#include "broker/node.h"

/* How much a crash may leave to be read again, of all partitions of a shard. */
#define UNSAVED_BYTES_MAX (UINT64_C(96) << 20)

static_assert(SHARD_COUNT_MAX <= MANIFEST_SHARDS_MAX, "each shard can have a manifest");

static struct hosting_shard *own_of(struct shard *shard)
{
    return &shard->node->hosting.shards[shard->index];
}

/* --- the start --- */

enum err manifests_load(struct hosting_dir *dir, struct node *node)
{
    const struct quorum_state_file *quorum = &node->storage.quorum_state;
    struct io *io = node->shards[0].io;
    if (quorum->leader_id < 0)
        return ERR_OK;
    return manifest_set_load(&dir->manifests.known, io, dir->logdir.path.data, quorum->epoch);
}

static bool is_owned(const void *arg, struct manifest_key key)
{
    const struct shard *shard = arg;
    return node_owner(shard->node, key.topic_id, key.index) == shard->index;
}

static enum err write_all(struct node *node, struct hosting_dir *dir, int32_t run)
{
    struct io *io = node->shards[0].io;
    const char *path = dir->logdir.path.data;
    for (uint32_t i = 0; i < node->shard_count; i++)
        TRY(manifest_set_write(&dir->manifests.known, io, path, i, run, is_owned,
                               &node->shards[i]));
    return manifest_remove_all(io, path, node->shard_count);
}

void manifests_begin_run(struct hosting *hosting, int32_t epoch)
{
    if (hosting->has_run)
        return; /* a later epoch: this run's manifests will not be believed */
    hosting->has_run = true;
    for (size_t d = 0; d < hosting->dir_count; d++) {
        struct hosting_dir *dir = &hosting->dirs[d];
        if (atomic_load(&dir->is_offline))
            continue;
        const char *path = dir->logdir.path.data;
        struct shard *shard = &hosting->node->shards[0];
        enum err err = write_all(hosting->node, dir, epoch);
        dir->manifests.are_written = err == ERR_OK;
        if (err == ERR_OK)
            continue;
        diag_warn("manifest", "%s: no manifest can be written (%s): the next start is a slow one",
                  path, err_text(err));
        /* Some may be there with this run's number, which takes no notes in them. */
        err = manifest_remove_all(shard->io, path, 0);
        if (err != ERR_OK)
            dirs_fail(shard, (uint32_t)d, err, "a manifest can neither be written nor removed");
    }
}

void manifests_open(struct shard *shard)
{
    struct hosting *hosting = &shard->node->hosting;
    for (size_t d = 0; d < hosting->dir_count; d++) {
        const char *path = hosting->dirs[d].logdir.path.data;
        if (!hosting->dirs[d].manifests.are_written)
            continue;
        enum err err = manifest_open(shard->io, path, shard->index, &own_of(shard)->manifests[d]);
        if (err != ERR_OK)
            dirs_fail(shard, (uint32_t)d, err, "a manifest can neither be opened nor removed");
    }
}

static void say_stuck(enum err err)
{
    if (err != ERR_OK)
        diag_error("manifest", "a manifest can neither be written nor removed: %s", err_text(err));
}

void manifests_close(struct shard *shard, bool is_clean)
{
    struct hosting_shard *own = own_of(shard);
    for (size_t d = 0; d < shard->node->hosting.dir_count; d++) {
        if (own->manifests[d] && is_clean)
            say_stuck(manifest_sync_now(own->manifests[d]));
        manifest_close(own->manifests[d]);
        own->manifests[d] = NULL;
    }
}

void manifests_forget(struct hosting *hosting)
{
    for (size_t d = 0; d < hosting->dir_count; d++)
        manifest_set_forget(&hosting->dirs[d].manifests.known);
}

/* Later than at the start, a folder that is there was moved here: what was noted of one that was
 * here before it is void. */
enum err manifests_find(struct shard *shard, uint32_t dir, struct manifest_key key, bool is_there,
                        const struct manifest_item **item)
{
    struct hosting_shard *own = own_of(shard);
    struct manifest *manifest = own->manifests[dir];
    *item = NULL;
    if (!manifest)
        return ERR_OK;
    if (!own->has_first_image)
        *item = manifest_set_find(&shard->node->hosting.dirs[dir].manifests.known, key);
    if (*item && is_there)
        return ERR_OK;
    bool is_void = *item || (own->has_first_image && is_there);
    *item = NULL;
    if (!is_void)
        return ERR_OK;
    TRY(manifest_put_gone(manifest, key));
    return manifest_sync_now(manifest);
}

bool manifests_is_enough(const struct manifest_item *item)
{
    return item && item->entry.data && item->mark < MANIFEST_RESHAPED;
}

/* --- while it runs --- */

static void save_logs(struct shard *shard)
{
    uint64_t total = 0, count = 0;
    struct map_iter iter;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        uint64_t bytes = partition->log ? log_unsaved_bytes(partition->log) : 0;
        total += bytes;
        count += bytes > 0;
    }
    if (total <= UNSAVED_BYTES_MAX)
        return;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (!partition->log || log_unsaved_bytes(partition->log) < total / count)
            continue;
        say_stuck(log_save(partition->log));
        log_flush(partition->log);
    }
}

void manifests_tick(struct shard *shard)
{
    save_logs(shard);
    for (size_t d = 0; d < shard->node->hosting.dir_count; d++) {
        struct manifest *manifest = own_of(shard)->manifests[d];
        if (manifest)
            say_stuck(manifest_tidy(manifest));
    }
}

void manifests_announce_close(struct shard *shard)
{
    struct map_iter iter;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        enum err err = partition->log ? log_announce_close(partition->log) : ERR_OK;
        (void)err; /* log_close meets it again */
    }
    for (size_t d = 0; d < shard->node->hosting.dir_count; d++) {
        struct manifest *manifest = own_of(shard)->manifests[d];
        if (manifest)
            say_stuck(manifest_sync_now(manifest));
    }
}
