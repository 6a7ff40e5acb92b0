/* Log folders: failure, choice, and the assignments in the metadata.
 *
 * A folder fails once. Whichever shard sees it first sets the flag and says so; shard 0 then tells
 * every shard, whose logs in the folder go offline without touching the disk again, and tells the
 * controller, which takes the folder's replicas out of their in-sync sets. The node stops when the
 * folder of the metadata fails, or the last one.
 *
 * Where a partition lies is in the metadata (PartitionRecord.directories), so that no start takes a
 * folder that is missing for a partition that is new. The notes are idempotent: what a crash loses
 * is found again when the partitions are opened.
 *
 * Runs on: any shard, each for its own partitions; flags are atomic. */
#include "broker/dirs.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/node.h"

bool dirs_is_disk_failure(enum err err)
{
    return err == ERR_IO || err == ERR_NOENT || err == ERR_ACCESS || err == ERR_NOSPACE;
}

bool dirs_is_online(const struct hosting *hosting, uint32_t dir)
{
    return !atomic_load(&hosting->dirs[dir].is_offline);
}

bool dirs_all_online(const struct hosting *hosting)
{
    for (uint32_t i = 0; i < hosting->dir_count; i++) {
        if (!dirs_is_online(hosting, i))
            return false;
    }
    return true;
}

/* --- failure --- */

static void take_logs_offline(struct shard *shard, uint32_t dir)
{
    struct map_iter iter;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (partition->log_dir == dir)
            partition_take_offline(partition);
    }
    struct wal *wal = shard->node->hosting.shards[shard->index].wals[dir];
    if (wal) /* a stop that has come further is done with it */
        wal_stop(wal);
}

static void on_failed_here(struct shard *shard, struct shard_msg *msg)
{
    const struct hosting_shard *own = &shard->node->hosting.shards[shard->index];
    uint32_t dir = (uint32_t)(msg - own->failure_msgs);
    mover_dir_failed(shard, dir);
    take_logs_offline(shard, dir);
}

static enum err ask_offline(const struct controller *controller, const struct controller_call *call,
                            struct metadata_call *own, struct meta_error *error)
{
    const struct hosting_dir *dir = own->own;
    const struct node *node = own->home->node;
    return controller_dir_offline(controller, call, node->config->node_id,
                                  node->metadata.broker_epoch, dir->id, error);
}

/* That the controller could not note it is said by whatever stopped the controller. */
static void on_noted_offline(struct metadata_call *call)
{
    arena_reset(call->arena);
}

static void tell_controller(struct shard *shard, struct hosting_dir *dir)
{
    dir->offline_call = (struct metadata_call){.home = shard,
                                               .arena = &dir->arena,
                                               .ask = ask_offline,
                                               .done = on_noted_offline,
                                               .own = dir};
    metadata_submit(&dir->offline_call);
}

static void on_failure(struct shard *shard, struct shard_msg *msg)
{
    struct node *node = shard->node;
    struct hosting *hosting = &node->hosting;
    struct hosting_dir *dir = CONTAINER_OF(msg, struct hosting_dir, failure_msg);
    uint32_t online = 0;
    for (uint32_t i = 0; i < hosting->dir_count; i++)
        online += dirs_is_online(hosting, i);
    if (dir->is_metadata) {
        node_fail(node, dir->failure, "the log folder of the metadata failed");
        return;
    }
    if (online == 0) {
        node_fail(node, dir->failure, "the last log folder failed");
        return;
    }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct shard_msg *own = &hosting->shards[i].failure_msgs[dir - hosting->dirs];
        own->fn = on_failed_here;
        shard_post(shard, &node->shards[i], own);
    }
    tell_controller(shard, dir);
}

void dirs_fail(struct shard *shard, uint32_t at, enum err err, const char *what)
{
    struct node *node = shard->node;
    struct hosting_dir *dir = &node->hosting.dirs[at];
    if (atomic_exchange(&dir->is_offline, true))
        return;
    diag_error("logdir",
               "the log folder %.*s is offline: %s: %s. Nothing is tried there again, and its "
               "partitions answer KAFKA_STORAGE_ERROR. Mend or replace its disk, then start the "
               "broker again",
               STR_ARG(dir->logdir.path), what, err_text(err));
    dir->failure = err;
    dir->failure_msg.fn = on_failure;
    shard_post(shard, &node->shards[0], &dir->failure_msg);
}

#define FULL_SAID_MS 60000

void dirs_full(struct shard *shard, uint32_t at)
{
    struct hosting_dir *dir = &shard->node->hosting.dirs[at];
    uint64_t now = io_now_ms(shard->io), total, usable;
    uint64_t said = atomic_load(&dir->full_said_ms);
    if ((said != 0 && now < said + FULL_SAID_MS) || /* shards' clocks differ a little */
        !atomic_compare_exchange_strong(&dir->full_said_ms, &said, now))
        return;
    char text[64] = "";
    if (io_space(shard->io, dir->logdir.path.data, &total, &usable) == ERR_OK)
        snprintf(text, sizeof(text), ", %llu of %llu MB are free", (unsigned long long)usable >> 20,
                 (unsigned long long)total >> 20);
    diag_warn("logdir",
              "the disk of the log folder %.*s is full%s: appends answer KAFKA_STORAGE_ERROR, and "
              "producers try again; reads go on. Make room on it, or lower retention.bytes or "
              "retention.ms of its topics. The broker need not be started again",
              STR_ARG(dir->logdir.path), text);
}

/* --- choice --- */

/* Several shards choose at once: who counted a folder first has it. */
uint32_t dirs_choose(struct hosting *hosting)
{
    for (;;) {
        uint32_t best = 0, best_count = UINT32_MAX;
        for (uint32_t i = 0; i < hosting->dir_count; i++) {
            uint32_t count = atomic_load(&hosting->dirs[i].partition_count);
            if (dirs_is_online(hosting, i) && count < best_count) {
                best = i;
                best_count = count;
            }
        }
        uint32_t count = best_count == UINT32_MAX ? 0 : best_count;
        if (best_count == UINT32_MAX ||
            atomic_compare_exchange_strong(&hosting->dirs[best].partition_count, &count, count + 1))
            return best;
    }
}

uint32_t dirs_find(const struct hosting *hosting, struct uuid id)
{
    for (uint32_t i = 0; i < hosting->dir_count; i++) {
        if (dirs_is_online(hosting, i) && uuid_eq(hosting->dirs[i].id, id))
            return i;
    }
    return UINT32_MAX;
}

/* --- assignments --- */

void dir_reporter_init(struct dir_reporter *reporter, struct shard *shard)
{
    *reporter = (struct dir_reporter){.shard = shard};
    arena_init(&reporter->arena, ARENA_NO_LIMIT);
}

void dir_reporter_deinit(struct dir_reporter *reporter)
{
    free(reporter->waiting.items);
    free(reporter->sent.items);
    arena_deinit(&reporter->arena);
}

void dirs_note(struct shard *shard, const struct partition *partition, struct uuid directory)
{
    struct dir_notes *notes = &shard->node->hosting.shards[shard->index].reporter.waiting;
    if (image_metadata_version(shard->image) < MV_DIRECTORIES)
        return;
    if (notes->count == notes->cap) {
        size_t cap = notes->cap ? notes->cap * 2 : 16;
        struct dir_assignment *items = realloc(notes->items, cap * sizeof(*items));
        if (!items)
            return; /* the next start finds it again */
        notes->items = items;
        notes->cap = cap;
    }
    notes->items[notes->count++] =
        (struct dir_assignment){partition->topic_id, partition->index, directory};
}

static enum err ask_assign(const struct controller *controller, const struct controller_call *call,
                           struct metadata_call *own, struct meta_error *error)
{
    const struct dir_reporter *reporter = own->own;
    const struct node *node = own->home->node;
    enum err *errs; /* what is gone meanwhile needs no folder */
    return controller_assign_dirs(controller, call, node->config->node_id,
                                  node->metadata.broker_epoch, reporter->sent.items,
                                  reporter->sent.count, &errs, error);
}

static void on_assigned(struct metadata_call *call)
{
    struct dir_reporter *reporter = call->own;
    reporter->is_under_way = false;
    reporter->sent.count = 0;
    arena_reset(call->arena);
    if (call->err == ERR_OK)
        dirs_report(reporter->shard);
}

void dirs_report(struct shard *shard)
{
    struct dir_reporter *reporter = &shard->node->hosting.shards[shard->index].reporter;
    if (reporter->is_under_way || reporter->waiting.count == 0)
        return;
    struct dir_notes empty = reporter->sent;
    reporter->sent = reporter->waiting;
    reporter->waiting = empty;
    reporter->is_under_way = true;
    reporter->call = (struct metadata_call){.home = shard,
                                            .arena = &reporter->arena,
                                            .ask = ask_assign,
                                            .done = on_assigned,
                                            .own = reporter};
    metadata_submit(&reporter->call);
}
