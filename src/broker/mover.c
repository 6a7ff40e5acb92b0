/* Moving a partition to another log folder (KIP-113) without stopping it.
 *
 *   STARTING   a compaction of the log ends
 *   COPYING    log/copy.c copies its files to NAME.HEX-future, Kafka's name for it, beside the loop
 *   HOLDING    appends wait until those under way are done, then the rest is copied
 *   ASSIGNING  the copy has its own name and is open; the metadata notes the new folder
 *   SWAPPING   a DeleteRecords that came meanwhile ends
 *
 * Then the copy takes the log's place, the old folder is renamed NAME.HEX-delete, both durable,
 * and the appends that waited go on; reads never stop. The old log serves the reads that it has.
 *
 * What a crash leaves: before ASSIGNING the log and an unfinished copy; the next start throws that
 * away and begins again, as it does for a move that Apache Kafka began. After that two folders with
 * the same records, of which hosting.c takes the one that the metadata names. Nothing is appended
 * to the new one before the old one has lost its name.
 *
 * Runs on: the shard that owns the partition. */
#include "broker/mover.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/manifests.h"
#include "broker/node.h"
#include "log/compact.h"
#include "log/copy.h"
#include "meta/config_def.h"

#define PATH_BYTES_MAX 1024
#define NAME_BYTES_MAX 255
#define MS             UINT64_C(1000000)
/* Of a shard at once: they share its threads for long work with compaction. */
#define COPIES_MAX 4
#define WAIT_MS    50

enum move_state { MOVE_STARTING, MOVE_COPYING, MOVE_HOLDING, MOVE_ASSIGNING, MOVE_SWAPPING };

struct move {
    struct list link;
    struct shard *shard;
    struct partition *partition; /* NULL: it is gone */
    uint32_t dir;
    enum move_state state;
    bool is_cancelled;
    bool is_dropped;   /* only its memory is left, for the metadata's answer */
    bool keeps_folder; /* for the next start */
    bool has_next;     /* asked for too late to change this move: where to go after it */
    uint32_t next_dir;
    char future[PATH_BYTES_MAX], path[PATH_BYTES_MAX];
    struct log_copy *copy;
    struct log *log; /* the copy, once it is open */
    struct io_timer timer;
    struct dir_assignment assignment;
    struct metadata_call call;
    struct arena arena;
};

struct retired {
    struct list link;
    struct log *log;
    int64_t delay_ms;
};

static void on_timer(struct io_timer *timer);

static struct mover *mover_of(struct shard *shard)
{
    return &shard->node->hosting.shards[shard->index].mover;
}

static struct hosting_dir *dir_of(const struct move *move)
{
    return &move->shard->node->hosting.dirs[move->dir];
}

void mover_init(struct mover *mover)
{
    list_init(&mover->moves);
    list_init(&mover->retired);
    list_init(&mover->dropped);
}

static void look_after_ms(struct move *move, uint64_t ms)
{
    struct io *io = move->shard->io;
    io_timer_start(io, &move->timer, io_now_ns(io) + ms * MS + 1);
}

/* --- the end of a move --- */

static void move_free(struct move *move)
{
    struct partition *partition = move->partition;
    io_timer_stop(move->shard->io, &move->timer);
    if (partition) {
        partition->move = NULL;
        partition_release(partition);
    }
    enum err err =
        partition && move->has_next ? mover_start(move->shard, partition, move->next_dir) : ERR_OK;
    if (err != ERR_OK)
        diag_warn("logdir", "%.*s-%d does not move on: %s", STR_ARG(partition->topic),
                  partition->index, err_text(err));
    if (move->copy)
        log_copy_free(move->copy);
    arena_deinit(&move->arena);
    list_remove(&move->link);
    free(move);
}

/* A folder that nobody serves: under its own name the next start would go on with it. */
static void remove_future(struct shard *shard, const char *future)
{
    char deleted[PATH_BYTES_MAX];
    size_t stem = strlen(future) - strlen("future");
    snprintf(deleted, sizeof(deleted), "%.*sdelete", (int)stem, future);
    char *path = strdup(deleted);
    enum err err = path ? io_rename(shard->io, future, deleted) : ERR_NOMEM;
    if (err == ERR_OK) {
        hosting_doom(shard, path, 0);
        return;
    }
    free(path);
    if (err != ERR_NOENT)
        diag_warn("logdir", "%s cannot be removed: %s", future, err_text(err));
}

static void move_drop(struct move *move)
{
    if (!move->keeps_folder && dirs_is_online(&move->shard->node->hosting, move->dir))
        remove_future(move->shard, move->future);
    move_free(move);
}

/* The copy was open under the partition's own name, and is not wanted. */
static void move_undo(struct move *move)
{
    struct shard *shard = move->shard;
    char *path = NULL;
    enum err err = ERR_KAFKA_STORAGE_ERROR;
    if (dirs_is_online(&shard->node->hosting, move->dir))
        err = log_delete(move->log, io_random(shard->io), io_random(shard->io), &path);
    else
        log_abandon(move->log);
    move->log = NULL;
    if (err == ERR_OK)
        hosting_doom(shard, path, 0);
    if (move->partition) {
        dirs_note(shard, move->partition, shard->node->hosting.dirs[move->partition->log_dir].id);
        dirs_report(shard);
    }
    move_free(move);
}

static void move_fail(struct move *move, enum err err, const char *what)
{
    struct shard *shard = move->shard;
    bool is_full = err == ERR_NOSPACE;
    if (move->partition)
        diag_error("logdir", "%.*s-%d cannot move to %.*s: %s: %s; it stays where it is",
                   STR_ARG(move->partition->topic), move->partition->index,
                   STR_ARG(dir_of(move)->logdir.path), what, err_text(err));
    if (!is_full && dirs_is_disk_failure(err) && move->copy &&
        log_copy_has_write_failed(move->copy))
        dirs_fail(shard, move->dir, err, move->future);
    move_drop(move);
}

/* --- the last steps --- */

static void retire(struct move *move, struct log *log)
{
    struct retired *retired = calloc(1, sizeof(*retired));
    ASSERT(retired); /* a few words: without them the log's readers have no ground */
    retired->log = log;
    retired->delay_ms = move->partition->config.log.file_delete_delay_ms;
    list_push_back(&mover_of(move->shard)->retired, &retired->link);
}

/* What changed while the metadata was written. */
static enum err catch_up(struct move *move, const struct log *old)
{
    struct partition *partition = move->partition;
    log_set_config(partition->log, &partition->config.log);
    if (log_start_offset(old) > log_start_offset(partition->log)) {
        TRY(log_delete_records(partition->log, log_start_offset(old)));
        TRY(log_save_start(partition->log));
    }
    return log_begin_epoch(partition->log, partition->leader_epoch);
}

static void take_place(struct move *move)
{
    struct shard *shard = move->shard;
    struct hosting *hosting = &shard->node->hosting;
    struct partition *partition = move->partition;
    struct log *old = partition->log;
    uint32_t old_dir = partition->log_dir;
    enum err err = log_rename_deleted(old, io_random(shard->io), io_random(shard->io));
    if (err != ERR_OK)
        dirs_fail(shard, old_dir, err, "a folder whose partition moved away cannot be renamed");
    log_take_producers(move->log, old);
    partition->log = move->log;
    partition->log_dir = move->dir;
    partition->recovery_point = 0; /* until the next checkpoint */
    atomic_fetch_sub(&hosting->dirs[old_dir].partition_count, 1);
    atomic_fetch_add(&hosting->dirs[move->dir].partition_count, 1);
    retire(move, old);
    err = catch_up(move, old);
    if (err != ERR_OK)
        dirs_fail(shard, move->dir, err, move->path);
    diag_info("logdir", "%.*s-%d lies in %.*s now", STR_ARG(partition->topic), partition->index,
              STR_ARG(dir_of(move)->logdir.path));
    atomic_store(&hosting->is_checkpoint_wanted, true);
    move_free(move);
    partition_look_again(partition);
}

static void swap_soon(struct move *move)
{
    move->state = MOVE_SWAPPING;
    look_after_ms(move, 0);
}

static enum err ask_assign(const struct controller *controller, const struct controller_call *call,
                           struct metadata_call *own, struct meta_error *error)
{
    const struct move *move = own->own;
    const struct node *node = own->home->node;
    enum err *errs; /* of a topic that is gone: the partition goes, too */
    return controller_assign_dirs(controller, call, node->config->node_id,
                                  node->metadata.broker_epoch, &move->assignment, 1, &errs, error);
}

static void on_assigned(struct metadata_call *call)
{
    struct move *move = call->own;
    if (move->is_dropped)
        return;
    if (call->err != ERR_OK || !move->partition || move->is_cancelled ||
        !dirs_is_online(&move->shard->node->hosting, move->dir))
        move_undo(move);
    else
        swap_soon(move);
}

static void assign(struct move *move)
{
    move->state = MOVE_ASSIGNING;
    move->assignment = (struct dir_assignment){move->partition->topic_id, move->partition->index,
                                               dir_of(move)->id};
    move->call = (struct metadata_call){.home = move->shard,
                                        .arena = &move->arena,
                                        .ask = ask_assign,
                                        .done = on_assigned,
                                        .own = move};
    if (image_metadata_version(move->shard->image) < MV_DIRECTORIES)
        swap_soon(move);
    else
        metadata_submit(&move->call);
}

/* Everything is in the copy, and it has its name. */
static enum err open_copy(struct move *move, struct log_problem *problem)
{
    struct partition *partition = move->partition;
    struct log *old = partition->log;
    struct io *io = move->shard->io;
    TRY(io_sync_dir(io, dir_of(move)->logdir.path.data));
    struct manifest_key key = {partition->topic_id, partition->index};
    struct hosting_shard *own = &move->shard->node->hosting.shards[move->shard->index];
    struct log_open_options options = {.clean_shutdown = true,
                                       .recovery_point = log_end_offset(old),
                                       .log_start_offset = log_start_offset(old),
                                       .manifest = own->manifests[move->dir],
                                       .key = key,
                                       .wal = own->wals[move->dir]};
    TRY(manifests_find(move->shard, move->dir, key, true, &options.item));
    TRY(log_open(io, move->path, &partition->config.log, &options, &partition->owner, &move->log,
                 problem));
    log_set_cleaned_offset(move->log, log_cleaned_offset(old));
    TRY(log_save_start(move->log));
    bool is_same = log_end_offset(move->log) == log_end_offset(old) &&
                   log_start_offset(move->log) == log_start_offset(old);
    return is_same ? ERR_OK : ERR_MALFORMED;
}

static void finish(struct move *move)
{
    struct log_problem problem = {""};
    enum err err = log_is_offline(move->partition->log) ? ERR_KAFKA_STORAGE_ERROR
                                                        : log_copy_finish(move->copy);
    if (err == ERR_OK)
        err = io_rename(move->shard->io, move->future, move->path);
    if (err != ERR_OK) {
        move_fail(move, err, "the copy cannot be completed");
        return;
    }
    err = open_copy(move, &problem);
    if (err == ERR_OK) {
        assign(move);
        return;
    }
    diag_error("logdir", "%s: the copy cannot be opened: %s", move->path,
               problem.text[0] ? problem.text : err_text(err));
    if (move->log) {
        move_undo(move);
        return;
    }
    /* Under the partition's own name it would be taken for the partition one day. */
    enum err back = io_rename(move->shard->io, move->path, move->future);
    if (back != ERR_OK)
        dirs_fail(move->shard, move->dir, back, move->path);
    move_fail(move, err, "the copy cannot be opened");
}

/* --- the first steps --- */

static void on_copied(void *arg, enum err err)
{
    struct move *move = arg;
    if (move->is_cancelled || !move->partition) {
        move_drop(move);
        return;
    }
    if (err != ERR_OK) {
        move_fail(move, err, "the copy stopped");
        return;
    }
    partition_hold(move->partition);
    move->state = MOVE_HOLDING;
    look_after_ms(move, 0);
}

/* As it is set now, also for copies under way. */
static void set_pace(struct shard *shard)
{
    const struct node *node = shard->node;
    struct config_view view = {shard->image, &node->config->texts, node->config->node_id};
    enum config_source source;
    struct str text = config_broker_value(
        &view,
        config_def_find(CONFIG_SCOPE_BROKER, STR("replica.alter.log.dirs.io.max.bytes.per.second")),
        &source);
    int64_t rate = str_is_null(text) ? INT64_MAX : config_value_i64(text);
    pace_set(&shard->node->hosting.moving, rate == INT64_MAX ? 0 : rate < 1 ? 1 : (uint64_t)rate);
}

static bool may_copy(const struct move *move)
{
    uint32_t copies = 0;
    LIST_FOREACH (node, &mover_of(move->shard)->moves)
        copies += LIST_ENTRY(node, struct move, link)->state == MOVE_COPYING;
    return copies < COPIES_MAX && !log_is_compacting(move->partition->log);
}

static void begin_copy(struct move *move)
{
    set_pace(move->shard);
    struct partition *partition = move->partition;
    enum err err = log_copy_begin(partition->log, move->future, partition->topic_id,
                                  &move->shard->node->hosting.moving, on_copied, move, &move->copy);
    if (err == ERR_OK)
        move->state = MOVE_COPYING;
    else
        move_fail(move, err, "the copy cannot be begun");
}

static void on_timer(struct io_timer *timer)
{
    struct move *move = CONTAINER_OF(timer, struct move, timer);
    if (move->state == MOVE_STARTING) {
        if (may_copy(move))
            begin_copy(move);
        else
            look_after_ms(move, WAIT_MS);
    } else if (move->state == MOVE_HOLDING && log_copy_is_ready(move->copy)) {
        finish(move);
    } else if (move->state == MOVE_SWAPPING && log_copy_is_ready(move->copy)) {
        take_place(move);
    } else {
        look_after_ms(move, 1);
    }
}

static void move_cancel(struct move *move)
{
    move->is_cancelled = true;
    if (move->state == MOVE_COPYING)
        log_copy_cancel(move->copy); /* on_copied comes soon */
    else if (move->state == MOVE_SWAPPING)
        move_undo(move);
    else if (move->state != MOVE_ASSIGNING)
        move_drop(move); /* else on_assigned comes soon */
}

static enum err move_paths(struct move *move)
{
    struct io *io = move->shard->io;
    const struct partition *partition = move->partition;
    char name[PATH_BYTES_MAX];
    int len = snprintf(name, sizeof(name), "%.*s-%d.%016llx%016llx-future",
                       STR_ARG(partition->topic), partition->index,
                       (unsigned long long)io_random(io), (unsigned long long)io_random(io));
    if (len <= 0 || len > NAME_BYTES_MAX)
        return ERR_INVALID_TOPIC;
    struct str folder = dir_of(move)->logdir.path;
    len = snprintf(move->future, PATH_BYTES_MAX, "%.*s/%s", STR_ARG(folder), name);
    if (len <= 0 || len >= PATH_BYTES_MAX)
        return ERR_INVALID_TOPIC;
    len = snprintf(move->path, PATH_BYTES_MAX, "%.*s/%.*s-%d", STR_ARG(folder),
                   STR_ARG(partition->topic), partition->index);
    return len > 0 && len < PATH_BYTES_MAX ? ERR_OK : ERR_INVALID_TOPIC;
}

static enum err make_folder(struct move *move)
{
    struct shard *shard = move->shard;
    TRY(move_paths(move));
    enum err err = io_mkdir(shard->io, move->future);
    if (err == ERR_OK)
        err = io_sync_dir(shard->io, dir_of(move)->logdir.path.data);
    if (err != ERR_OK && err != ERR_NOSPACE && dirs_is_disk_failure(err))
        dirs_fail(shard, move->dir, err, move->future);
    return err == ERR_OK ? ERR_OK : ERR_KAFKA_STORAGE_ERROR;
}

enum err mover_start(struct shard *shard, struct partition *partition, uint32_t dir)
{
    if (!partition->log || log_is_offline(partition->log) ||
        !dirs_is_online(&shard->node->hosting, dir))
        return ERR_KAFKA_STORAGE_ERROR;
    struct move *before = partition->move;
    if (before && before->state >= MOVE_ASSIGNING) {
        before->has_next = before->dir != dir;
        before->next_dir = dir;
        return ERR_OK;
    }
    if (before && before->dir == dir && !before->is_cancelled)
        return ERR_OK;
    if (before) {
        before->partition = NULL;
        partition->move = NULL;
        partition_release(partition);
        move_cancel(before);
    }
    if (partition->log_dir == dir)
        return ERR_OK;
    struct move *move = calloc(1, sizeof(*move));
    if (!move)
        return ERR_NOMEM;
    move->shard = shard;
    move->partition = partition;
    move->dir = dir;
    list_init(&move->link);
    io_timer_init(&move->timer, on_timer);
    arena_init(&move->arena, ARENA_NO_LIMIT);
    enum err err = make_folder(move);
    if (err != ERR_OK) {
        arena_deinit(&move->arena);
        free(move);
        return err;
    }
    partition->move = move;
    list_push_back(&mover_of(shard)->moves, &move->link);
    log_compact_abort(partition->log);
    look_after_ms(move, 0);
    return ERR_OK;
}

void mover_resume(struct shard *shard, struct partition *partition)
{
    struct hosting *hosting = &shard->node->hosting;
    for (uint32_t dir = 0; dir < hosting->dir_count; dir++) {
        struct str name = STR_NULL;
        while (dirs_is_online(hosting, dir) &&
               logdir_next_future(&hosting->dirs[dir].logdir, partition->topic, partition->index,
                                  &name)) {
            char path[PATH_BYTES_MAX];
            int len = snprintf(path, sizeof(path), "%.*s/%.*s",
                               STR_ARG(hosting->dirs[dir].logdir.path), STR_ARG(name));
            if (len > 0 && (size_t)len < sizeof(path))
                remove_future(shard, path);
            enum err err = mover_start(shard, partition, dir);
            if (err != ERR_OK)
                diag_warn("logdir", "%.*s-%d does not go on moving to %.*s: %s",
                          STR_ARG(partition->topic), partition->index,
                          STR_ARG(hosting->dirs[dir].logdir.path), err_text(err));
        }
    }
}

/* --- from outside --- */

void mover_forget(struct partition *partition)
{
    struct move *move = partition->move;
    if (!move)
        return;
    partition->move = NULL;
    move->partition = NULL;
    move_cancel(move);
}

void mover_dir_failed(struct shard *shard, uint32_t dir)
{
    LIST_FOREACH_SAFE (node, &mover_of(shard)->moves) {
        struct move *move = LIST_ENTRY(node, struct move, link);
        bool leaves = move->partition && move->partition->log_dir == dir;
        /* A complete copy is what is left of a partition whose old folder failed. */
        if (move->dir == dir || (leaves && move->state < MOVE_ASSIGNING))
            move_cancel(move);
    }
}

bool mover_progress(const struct partition *partition, struct mover_progress *progress)
{
    const struct move *move = partition->move;
    if (!move || !partition->log)
        return false;
    int64_t end = move->copy ? log_copy_end_offset(move->copy) : log_start_offset(partition->log);
    *progress = (struct mover_progress){move->dir, move->copy ? log_copy_size(move->copy) : 0,
                                        log_end_offset(partition->log) - end};
    return true;
}

static void end_retired(struct shard *shard, struct retired *retired)
{
    char *path = strdup(log_dir_path(retired->log));
    log_abandon(retired->log);
    if (path)
        hosting_doom(shard, path, retired->delay_ms);
    list_remove(&retired->link);
    free(retired);
}

void mover_tick(struct shard *shard)
{
    if (!list_is_empty(&mover_of(shard)->moves))
        set_pace(shard);
    LIST_FOREACH_SAFE (node, &mover_of(shard)->retired) {
        struct retired *retired = LIST_ENTRY(node, struct retired, link);
        if (log_is_idle(retired->log))
            end_retired(shard, retired);
    }
}

void mover_stop(struct shard *shard)
{
    LIST_FOREACH_SAFE (node, &mover_of(shard)->moves) {
        struct move *move = LIST_ENTRY(node, struct move, link);
        if (move->is_cancelled || move->state >= MOVE_ASSIGNING)
            continue; /* it ends soon */
        move->keeps_folder = true;
        move_cancel(move);
    }
}

bool mover_is_idle(const struct shard *shard)
{
    struct mover *mover = mover_of((struct shard *)(uintptr_t)shard);
    LIST_FOREACH (node, &mover->retired) {
        if (!log_is_idle(LIST_ENTRY(node, struct retired, link)->log))
            return false;
    }
    LIST_FOREACH (node, &mover->moves) {
        if (LIST_ENTRY(node, struct move, link)->state == MOVE_COPYING)
            return false; /* a thread has it */
    }
    /* A metadata log that failed gives no answer. */
    return list_is_empty(&mover->moves) || atomic_load(&shard->node->failure) != ERR_OK;
}

/* The metadata has its call, and answers in its own time, or fails and never does. */
static void drop_unanswered(struct move *move)
{
    io_timer_stop(move->shard->io, &move->timer);
    if (move->partition) {
        move->partition->move = NULL;
        partition_release(move->partition);
        move->partition = NULL;
    }
    if (move->copy)
        log_copy_free(move->copy);
    move->copy = NULL;
    move->is_dropped = true;
    list_remove(&move->link);
    list_push_back(&mover_of(move->shard)->dropped, &move->link);
}

void mover_drop(struct shard *shard)
{
    struct mover *mover = mover_of(shard);
    LIST_FOREACH_SAFE (node, &mover->retired)
        end_retired(shard, LIST_ENTRY(node, struct retired, link));
    LIST_FOREACH_SAFE (node, &mover->moves) {
        struct move *move = LIST_ENTRY(node, struct move, link);
        if (move->log)
            log_abandon(move->log);
        move->log = NULL;
        move->has_next = false;
        if (move->state == MOVE_ASSIGNING)
            drop_unanswered(move);
        else
            move_free(move);
    }
}

void mover_close(struct mover *mover)
{
    struct list *node;
    while ((node = list_pop_front(&mover->dropped)) != NULL) {
        struct move *move = LIST_ENTRY(node, struct move, link);
        arena_deinit(&move->arena);
        free(move);
    }
}
