/* Write-ahead logs, folder by folder; see folder_wal.h.
 *
 * Runs on: the thread that starts the node, then each shard for its own and shard 0 for what the
 * last run left. A folder that carries the mark of a clean stop and files of ours was used by
 * Apache Kafka since: its own recovery made the segments what they are, and our records are of no
 * use. Where Kafka ran and crashed, its leader epochs tell (log/replay.c). */
#include "broker/folder_wal.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/dirs.h"
#include "broker/node.h"

enum err folder_wal_open(struct folder_wal *folder, struct io *io, const char *dir, bool was_clean)
{
    folder->is_open = true;
    TRY(wal_replay_open(&folder->replay, io, dir, was_clean));
    if (folder->replay.commit_count > 0)
        diag_info("wal", "%s: %llu commits of the last run are put back where they are missing",
                  dir, (unsigned long long)folder->replay.commit_count);
    return ERR_OK;
}

enum err folder_wal_create(struct hosting *hosting, struct shard *shard, struct wal ***out)
{
    struct wal_options options = hosting->node->wal_options;
    struct wal **wals = calloc(hosting->dir_count, sizeof(struct wal *));
    if (!wals)
        return ERR_NOMEM;
    *out = wals; /* the caller's from here on */
    if (options.file_bytes == 0)
        options = (struct wal_options){.file_bytes = WAL_FILE_BYTES,
                                       .commit_bytes = WAL_COMMIT_BYTES,
                                       .files_max = WAL_FILES_MAX};
    options.shard = shard->index;
    for (size_t d = 0; d < hosting->dir_count; d++) {
        const struct hosting_dir *dir = &hosting->dirs[d];
        options.next_sequence = dir->wal.replay.next_sequence;
        options.next_name = dir->wal.replay.next_name;
        TRY(wal_create(shard->io, dir->logdir.path.data, &options, &wals[d]));
    }
    return ERR_OK;
}

void folder_wal_close(struct folder_wal *folder)
{
    if (folder->is_open)
        wal_replay_close(&folder->replay);
}

/* Whether the partition may still need the group: it is in this folder, or in none. */
static bool is_needed(const struct hosting *hosting, size_t d, const struct image *image,
                      const struct wal_group *group)
{
    const struct topic_image *topic = image_topic_by_id(image, group->topic_id);
    if (!topic || (uint32_t)group->partition >= topic->partition_count)
        return false;
    for (size_t i = 0; i < hosting->dir_count; i++) {
        if (i != d && logdir_find(&hosting->dirs[i].logdir, topic->name, group->partition))
            return logdir_find(&hosting->dirs[d].logdir, topic->name, group->partition) != NULL;
    }
    return true;
}

void folder_wal_forget_gone(struct hosting *hosting, const struct image *image)
{
    for (size_t d = 0; d < hosting->dir_count; d++) {
        struct map_iter iter;
        map_iter_init(&iter, &hosting->dirs[d].wal.replay.groups);
        for (struct wal_group *group; (group = map_iter_next(&iter)) != NULL;) {
            if (!is_needed(hosting, d, image, group))
                wal_group_settle(group);
        }
    }
}

void folder_wal_forget(struct folder_wal *folder, struct uuid topic_id, int32_t partition)
{
    struct wal_group *group = wal_replay_find(&folder->replay, topic_id, partition);
    if (group)
        wal_group_settle(group);
}

void folder_wal_tick(struct hosting *hosting)
{
    for (size_t d = 0; d < hosting->dir_count; d++) {
        struct wal_replay *replay = &hosting->dirs[d].wal.replay;
        if (!dirs_is_online(hosting, (uint32_t)d))
            continue; /* nothing is tried there: the next start may need them */
        enum err err = wal_replay_tidy(replay, hosting->node->shards[0].io);
        if (err != ERR_OK)
            diag_warn("wal", "%s: the last run's files cannot be removed: %s", replay->dir,
                      err_text(err));
    }
}

static struct wal **wals_of(const struct shard *shard)
{
    return shard->node->hosting.shards[shard->index].wals;
}

void folder_wal_stats(const struct shard *shard, struct wal_stats *stats)
{
    *stats = (struct wal_stats){0};
    for (size_t d = 0; d < shard->node->hosting.dir_count; d++) {
        struct wal_stats one;
        if (!wals_of(shard)[d])
            continue; /* it has ended */
        wal_stats(wals_of(shard)[d], &one);
        stats->commits += one.commits;
        stats->records += one.records;
        stats->bytes += one.bytes;
        stats->files += one.files;
        stats->refused += one.refused;
    }
}

void folder_wal_stop(struct shard *shard)
{
    for (size_t d = 0; d < shard->node->hosting.dir_count; d++)
        wal_stop(wals_of(shard)[d]);
}

bool folder_wal_is_idle(const struct shard *shard)
{
    for (size_t d = 0; d < shard->node->hosting.dir_count; d++) {
        if (!wal_is_idle(wals_of(shard)[d]))
            return false;
    }
    return true;
}

void folder_wal_end(struct shard *shard, bool is_clean)
{
    struct hosting *hosting = &shard->node->hosting;
    struct wal **wals = hosting->shards ? wals_of(shard) : NULL;
    for (size_t d = 0; wals && d < hosting->dir_count && wals[d]; d++) {
        bool removes = is_clean && dirs_is_online(hosting, (uint32_t)d);
        enum err err = removes ? wal_remove_files(wals[d]) : ERR_OK;
        if (err != ERR_OK) {
            diag_error("wal", "%.*s: the write-ahead log stays for the next start: %s",
                       STR_ARG(hosting->dirs[d].logdir.path),
                       err == ERR_BUSY ? "a partition failed" : err_text(err));
            atomic_store(&hosting->dirs[d].wal.is_kept, true);
        }
        wal_destroy(wals[d]);
        wals[d] = NULL;
    }
}

bool folder_wal_is_empty(struct folder_wal *folder, struct io *io)
{
    enum err err = wal_replay_tidy(&folder->replay, io);
    if (err != ERR_OK)
        diag_error("wal", "%s: the last run's files cannot be removed: %s", folder->replay.dir,
                   err_text(err));
    return err == ERR_OK && folder->replay.file_count == 0 && !atomic_load(&folder->is_kept);
}
