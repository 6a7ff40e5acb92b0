/* Partitions of this broker: opened, made, changed and deleted as images come.
 *
 * Runs on: each shard for the partitions that it owns; shard 0 collects what the checkpoint files
 * say. A new partition goes to the log folder that has the fewest; one that is not new, and that no
 * folder has, is offline while a folder is: it is not made anew, for its records may be there. A
 * partition that cannot be opened is left as it is, with what the checkpoints say of it. A deleted
 * one disappears from the table at once, and from the disk when nothing of it is under way: its
 * folder is renamed NAME.UUID-delete, and removed after file.delete.delay.ms or at the next start.
 */
#include "broker/hosting.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/hash.h"
#include "broker/node.h"
#include "log/compact.h"
#include "log/unfinished.h"
#include "meta/config_def.h"

#define PATH_BYTES_MAX 1024
#define TICK_MS        500
/* How long a folder may have the name of another until it is taken for one that nobody has. All
 * shards have heard of a deletion by then. */
#define NAME_WAIT_MS 10000
/* What is not urgent, in one tick: a wait for the disk stops the shard for about a millisecond. */
#define STORES_PER_TICK ((uint32_t)(4 * LOG_TICK_SYNCED))
#define MS              UINT64_C(1000000)

struct doomed_folder {
    struct list link; /* the shard's doomed folders, or those that are being removed */
    struct hosting_shard *own;
    uint64_t due_ms;
    char *path;
    struct folder_removal removal;
};

static void on_tick(struct io_timer *timer);
static void on_checkpoint_due(struct io_timer *timer);

/* --- folders --- */

/* A folder whose disk fails at the start: the others go on without it, if they can. `what` of it
 * could not be read, or NULL. Even if that passes, nobody may go on as if nothing had been there.
 */
static enum err leave_out(struct hosting *hosting, uint32_t at, enum err err, const char *what,
                          struct meta_error *why, struct arena *arena)
{
    what = what ? what : "it";
    const struct storage *storage = &hosting->node->storage;
    struct hosting_dir *dir = &hosting->dirs[at];
    bool is_last = true;
    for (uint32_t i = 0; i < hosting->dir_count; i++)
        is_last =
            is_last && (i == at || storage->dirs[i].is_offline || hosting->dirs[i].is_offline);
    if (dir->is_metadata || is_last || !dirs_is_disk_failure(err))
        return meta_error_set(why, arena, err,
                              "the log folder %.*s: %s cannot be read: %s. Nothing in it was "
                              "changed: mend its disk and start the broker again",
                              STR_ARG(storage->dirs[at].path), what, err_text(err));
    diag_error("logdir",
               "the log folder %.*s is offline: %s cannot be read: %s. Its partitions are not "
               "served, and nothing in it was changed; mend its disk and start the broker again",
               STR_ARG(storage->dirs[at].path), what, err_text(err));
    dir->is_offline = true;
    return ERR_OK;
}

#define END_WITH_KAFKA                                                                      \
    "start Apache Kafka on these folders, let it end the transaction (its coordinator "     \
    "aborts it after transaction.timeout.ms; 'kafka-transactions.sh abort' does at once), " \
    "stop it, and start this broker again"

/* Nobody here could end it: its records would be held back from readers for ever. */
static enum err refuse_unfinished(const struct logdir *logdir, const struct unfinished *found,
                                  struct meta_error *why, struct arena *arena)
{
    const struct logdir_partition *partition = found->partition;
    char others[48] = "";
    if (found->first_offset < 0)
        return meta_error_set(why, arena, ERR_UNSUPPORTED,
                              "%.*s-%d in %.*s holds the unfinished transaction of "
                              "transactional.id %s (producer %lld, state %s), which this version "
                              "cannot end: " END_WITH_KAFKA,
                              STR_ARG(partition->topic), partition->index, STR_ARG(logdir->path),
                              found->name, (long long)found->producer_id, found->state);
    if (found->count > 1)
        snprintf(others, sizeof(others), " (as do %zu more partitions)", found->count - 1);
    return meta_error_set(why, arena, ERR_UNSUPPORTED,
                          "%.*s-%d in %.*s holds an unfinished transaction of producer %lld since "
                          "offset %lld%s, which this version cannot end: " END_WITH_KAFKA,
                          STR_ARG(partition->topic), partition->index, STR_ARG(logdir->path),
                          (long long)found->producer_id, (long long)found->first_offset, others);
}

/* A folder that a run of ours left, as its manifests tell, is not searched for transactions; nor is
 * one that a crash left, of which only recovery can tell. */
static enum err open_dir(struct hosting *hosting, uint32_t at, struct meta_error *why,
                         struct arena *arena)
{
    const struct storage *storage = &hosting->node->storage;
    struct io *io = hosting->node->shards[0].io;
    struct hosting_dir *dir = &hosting->dirs[at];
    dir->id = storage->dirs[at].directory_id;
    dir->is_metadata = at == storage->metadata_at;
    arena_init(&dir->arena, ARENA_NO_LIMIT);
    manifest_set_init(&dir->manifests.known, io_random(io));
    if (storage->dirs[at].is_offline) {
        logdir_init(&dir->logdir, io, storage->dirs[at].path);
        dir->is_offline = true;
        return ERR_OK;
    }
    struct unfinished unfinished = {.partition = NULL};
    const char *what = NULL;
    enum err err = logdir_open(&dir->logdir, io, storage->dirs[at].path);
    if (err == ERR_OK)
        err = manifests_load(dir, hosting->node);
    if (err == ERR_OK && dir->logdir.was_clean && dir->manifests.known.items.count == 0)
        err = unfinished_find(&dir->logdir, io, &unfinished);
    if (unfinished.partition)
        return refuse_unfinished(&dir->logdir, &unfinished, why, arena);
    if (err == ERR_OK) {
        err = folder_wal_open(&dir->wal, io, dir->logdir.path.data, dir->logdir.was_clean);
        what = "its write-ahead log, where the only copy of acknowledged records may be,";
    }
    return err == ERR_OK ? ERR_OK : leave_out(hosting, at, err, what, why, arena);
}

enum err hosting_begin(struct hosting *hosting, struct meta_error *why, struct arena *arena)
{
    for (uint32_t i = 0; i < hosting->dir_count; i++) {
        struct hosting_dir *dir = &hosting->dirs[i];
        if (dir->is_offline)
            continue;
        enum err err = logdir_mark_running(&dir->logdir, hosting->node->shards[0].io);
        if (err != ERR_OK)
            TRY(leave_out(hosting, i, err, NULL, why, arena));
    }
    return ERR_OK;
}

enum err hosting_open(struct hosting *hosting, struct node *node, struct meta_error *why,
                      struct arena *arena)
{
    hosting->node = node;
    hosting->dir_count = node->storage.dir_count;
    hosting->dirs = calloc(hosting->dir_count, sizeof(*hosting->dirs));
    hosting->shards = calloc(node->shard_count, sizeof(*hosting->shards));
    if (!hosting->dirs || !hosting->shards)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < hosting->dir_count; i++)
        TRY(open_dir(hosting, i, why, arena));
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct hosting_shard *own = &hosting->shards[i];
        own->shard = &node->shards[i];
        list_init(&own->closing);
        list_init(&own->doomed);
        list_init(&own->removing);
        io_timer_init(&own->tick, on_tick);
        dir_reporter_init(&own->reporter, own->shard);
        mover_init(&own->mover);
        own->offsets = calloc(hosting->dir_count, sizeof(*own->offsets));
        own->failure_msgs = calloc(hosting->dir_count, sizeof(*own->failure_msgs));
        own->manifests = calloc(hosting->dir_count, sizeof(struct manifest *));
        if (!own->offsets || !own->failure_msgs || !own->manifests)
            return ERR_NOMEM;
        for (size_t d = 0; d < hosting->dir_count; d++)
            logdir_offsets_init(&own->offsets[d]);
        TRY(folder_wal_create(hosting, own->shard, &own->wals));
    }
    io_timer_init(&hosting->tick, on_checkpoint_due);
    return ERR_OK;
}

void hosting_close(struct hosting *hosting)
{
    for (size_t i = 0; hosting->dirs && i < hosting->dir_count; i++) {
        logdir_close(&hosting->dirs[i].logdir);
        folder_wal_close(&hosting->dirs[i].wal);
        arena_deinit(&hosting->dirs[i].arena);
        manifest_set_deinit(&hosting->dirs[i].manifests.known);
    }
    for (uint32_t i = 0; hosting->shards && i < hosting->node->shard_count; i++) {
        struct hosting_shard *own = &hosting->shards[i];
        folder_wal_end(own->shard, false);
        mover_close(&own->mover);
        free(own->wals);
        for (size_t d = 0; own->offsets && d < hosting->dir_count; d++)
            logdir_offsets_deinit(&own->offsets[d]);
        free(own->offsets);
        free(own->failure_msgs);
        free(own->manifests);
        dir_reporter_deinit(&own->reporter);
    }
    free(hosting->dirs);
    free(hosting->shards);
}

static struct hosting_shard *hosting_of(struct shard *shard)
{
    return &shard->node->hosting.shards[shard->index];
}

/* --- settings --- */

void hosting_partition_config(const struct node *node, const struct image *image, struct str topic,
                              struct partition_config *config)
{
    struct config_view view = {image, &node->config->texts, node->config->node_id};
    struct topic_config values;
    config_topic_values(&view, topic, &values);
    *config = (struct partition_config){
        .log =
            {
                .segment_bytes = values.segment_bytes,
                .segment_ms = values.segment_ms,
                .segment_jitter_ms = values.segment_jitter_ms,
                .segment_index_bytes = values.segment_index_bytes,
                .index_interval_bytes = values.index_interval_bytes,
                .retention_ms = values.retention_ms,
                .retention_bytes = values.retention_bytes,
                .flush_messages = values.flush_messages,
                .flush_ms = values.flush_ms,
                .file_delete_delay_ms = values.file_delete_delay_ms,
                .producer_expiration_ms = node->config->producer_id_expiration_ms,
                .preallocate = values.preallocate,
                .retain_by_deletion = values.cleanup_delete,
                .is_compacted = values.cleanup_compact,
                .is_dense = !values.cleanup_compact,
                .min_cleanable_dirty_ratio = values.min_cleanable_dirty_ratio,
                .min_compaction_lag_ms = values.min_compaction_lag_ms,
                .max_compaction_lag_ms = values.max_compaction_lag_ms,
                .delete_retention_ms = values.delete_retention_ms,
            },
        .rules =
            {
                .batch_bytes_max = values.max_message_bytes,
                .is_compacted = values.cleanup_compact,
                .has_log_append_time = values.timestamp_is_append_time,
                .timestamp_before_max_ms = values.timestamp_before_max_ms,
                .timestamp_after_max_ms = values.timestamp_after_max_ms,
                .keeps_compression = values.compression < 0,
                .compression = values.compression < 0 ? COMPRESSION_NONE
                                                      : (enum compression)values.compression,
            },
    };
    config->has_write_caching = values.write_caching;
    if (values.compression == COMPRESSION_GZIP)
        config->compression_level = values.compression_gzip_level;
    else if (values.compression == COMPRESSION_LZ4)
        config->compression_level = values.compression_lz4_level;
    else if (values.compression == COMPRESSION_ZSTD)
        config->compression_level = values.compression_zstd_level;
}

/* Settings while many partitions ask for theirs: most topics have none of their own, and a topic's
 * partitions come one after the other. */
struct settings {
    const struct node *node;
    const struct image *image;
    bool has_defaults, has_own;
    struct str topic; /* whose `own` are */
    struct partition_config defaults, own;
};

static const struct partition_config *settings_of(struct settings *settings, struct str topic)
{
    if (!image_config(settings->image, CONFIG_TOPIC, topic)) {
        if (!settings->has_defaults)
            hosting_partition_config(settings->node, settings->image, topic, &settings->defaults);
        settings->has_defaults = true;
        return &settings->defaults;
    }
    if (!settings->has_own || !str_eq(settings->topic, topic)) {
        hosting_partition_config(settings->node, settings->image, topic, &settings->own);
        settings->topic = topic;
        settings->has_own = true;
    }
    return &settings->own;
}

/* --- opening --- */

/* The partition alone cannot be served; the others of its folder are. */
static void quarantine(struct shard *shard, struct partition *partition, const char *why)
{
    atomic_store(&shard->node->hosting.dirs[partition->log_dir].is_unclean, true);
    diag_error("log",
               "%.*s-%d is offline: %s. 'taffrail log verify' says more, and 'taffrail log repair' "
               "mends it while the broker is stopped",
               STR_ARG(partition->topic), partition->index, why);
    dirs_note(shard, partition, DIR_LOST);
}

static void on_log_full(struct partition *partition)
{
    dirs_full(partition->host, partition->log_dir);
}

static void on_log_failure(struct partition *partition, enum err err, const char *what)
{
    struct shard *shard = partition->host;
    if (dirs_is_disk_failure(err)) {
        char text[512];
        snprintf(text, sizeof(text), "%.*s-%d: %s", STR_ARG(partition->topic), partition->index,
                 what);
        dirs_fail(shard, partition->log_dir, err, text);
        return;
    }
    quarantine(shard, partition, what);
    dirs_report(shard);
}

/* A folder that is not the partition's makes way, as with Kafka. */
static enum err move_stray(struct shard *shard, const char *path, const char *what)
{
    char stray[PATH_BYTES_MAX];
    int len = snprintf(stray, sizeof(stray), "%s.%016llx%016llx-stray", path,
                       (unsigned long long)io_random(shard->io),
                       (unsigned long long)io_random(shard->io));
    if (len <= 0 || (size_t)len >= sizeof(stray))
        return ERR_LIMIT;
    diag_warn("log", "%s %s; it is kept as %s", path, what, stray);
    return io_rename(shard->io, path, stray);
}

/* Only a folder that surely is another topic's makes way. ERR_BUSY: of one that was deleted while
 * this node runs, it may be, and whose log is still open, perhaps on another shard: that renames
 * it, also between a look here and the next. */
static enum err claim_folder(struct shard *shard, const struct partition *partition,
                             const char *path, bool *is_there)
{
    struct uuid topic_id = partition->topic_id;
    struct uuid id;
    enum err err = log_read_topic_id(shard->io, path, &id);
    if (err == ERR_NOENT) {
        struct io_stat stat;
        *is_there = io_stat_path(shard->io, path, &stat) == ERR_OK;
        return ERR_OK;
    }
    if (err == ERR_MALFORMED)
        return log_write_topic_id(shard->io, path, topic_id);
    TRY(err);
    if (uuid_eq(id, topic_id))
        return ERR_OK;
    bool must_wait = partition->wait_until_ms == 0 ||
                     io_now_ms(shard->io) < partition->wait_until_ms ||
                     atomic_load(&shard->node->hosting.named) > 0;
    if (hosting_of(shard)->has_first_image && must_wait)
        return ERR_BUSY;
    *is_there = false;
    return move_stray(shard, path, "belongs to a topic that is gone");
}

/* Where a partition's folder is, or is to be made. */
struct place {
    uint32_t dir;
    const struct logdir_partition *found; /* NULL: the start did not see it */
    bool is_there;
    bool is_counted;                  /* among the partitions of the folder */
    const struct manifest_item *item; /* what the last run noted of it; NULL: nothing */
    char path[PATH_BYTES_MAX];
};

static enum err place_path(const struct hosting *hosting, const struct partition *partition,
                           uint32_t dir, char *path)
{
    int len =
        snprintf(path, PATH_BYTES_MAX, "%.*s/%.*s-%d", STR_ARG(hosting->dirs[dir].logdir.path),
                 STR_ARG(partition->topic), partition->index);
    return len > 0 && len < PATH_BYTES_MAX ? ERR_OK : ERR_LIMIT;
}

static struct manifest_key key_of(const struct partition *partition)
{
    return (struct manifest_key){partition->topic_id, partition->index};
}

/* Whether the partition's own folder is in this log folder. */
static enum err look_in(struct shard *shard, const struct partition *partition, uint32_t dir,
                        struct place *place)
{
    struct hosting *hosting = &shard->node->hosting;
    struct io_stat stat;
    place->dir = dir;
    place->is_counted = false;
    place->found = logdir_find(&hosting->dirs[dir].logdir, partition->topic, partition->index);
    TRY(place_path(hosting, partition, dir, place->path));
    bool is_listed = place->found && !hosting_of(shard)->has_first_image;
    place->is_there = is_listed || io_stat_path(shard->io, place->path, &stat) == ERR_OK;
    TRY(manifests_find(shard, dir, key_of(partition), place->is_there, &place->item));
    if (place->is_there && !manifests_is_enough(place->item))
        TRY(claim_folder(shard, partition, place->path, &place->is_there));
    if (!place->is_there) {
        place->found = NULL;
        place->item = NULL;
    }
    return ERR_OK;
}

/* Two folders have it: a crash came while it moved from one to the other. Its new one is complete
 * before it gets its name, and the metadata says which that is. */
static enum err settle_twins(struct shard *shard, struct manifest_key key, struct uuid directory,
                             struct place *place, const struct place *other,
                             struct log_problem *problem)
{
    struct hosting *hosting = &shard->node->hosting;
    bool is_first = uuid_eq(hosting->dirs[place->dir].id, directory);
    if (!is_first && !uuid_eq(hosting->dirs[other->dir].id, directory)) {
        snprintf(problem->text, sizeof(problem->text),
                 "both %.220s and %.220s hold it; remove the one that is not to be served",
                 place->path, other->path);
        return ERR_MALFORMED;
    }
    const char *old = is_first ? other->path : place->path;
    const struct manifest_item *none;
    TRY(move_stray(shard, old, "was left when the partition moved to another log folder"));
    TRY(manifests_find(shard, is_first ? other->dir : place->dir, key, false, &none));
    if (!is_first)
        *place = *other;
    return ERR_OK;
}

static bool is_assigned(struct uuid directory)
{
    return !uuid_eq(directory, DIR_UNASSIGNED) && !uuid_eq(directory, DIR_MIGRATING) &&
           !uuid_eq(directory, DIR_LOST);
}

/* While a log folder is away, one that the metadata does not name serves nothing: what it has may
 * be an old copy, left by a move, of what is in the folder that is away. */
static enum err find_place(struct shard *shard, const struct partition *partition,
                           struct uuid directory, struct place *place, struct log_problem *problem)
{
    struct hosting *hosting = &shard->node->hosting;
    place->is_there = false;
    if (is_assigned(directory) && dirs_find(hosting, directory) == UINT32_MAX &&
        !dirs_all_online(hosting))
        return ERR_OK;
    for (uint32_t dir = 0; dir < hosting->dir_count; dir++) {
        struct place here;
        if (!dirs_is_online(hosting, dir) ||
            !logdir_find(&hosting->dirs[dir].logdir, partition->topic, partition->index))
            continue;
        TRY(look_in(shard, partition, dir, &here));
        if (here.is_there && place->is_there)
            TRY(settle_twins(shard, key_of(partition), directory, place, &here, problem));
        else if (here.is_there)
            *place = here;
    }
    return ERR_OK;
}

/* No folder has it: a new one is made, unless its records may be in a folder that is not here. */
static enum err choose_place(struct shard *shard, const struct partition *partition,
                             struct uuid directory, bool is_new, struct place *place,
                             struct log_problem *problem)
{
    struct hosting *hosting = &shard->node->hosting;
    uint32_t assigned = dirs_find(hosting, directory);
    bool is_fixed = is_assigned(directory);
    if (is_fixed && assigned == UINT32_MAX) {
        char id[UUID_TEXT_LEN + 1];
        uuid_format(directory, id);
        snprintf(problem->text, sizeof(problem->text),
                 "it lies in the log folder with directory.id %s, which is offline or not in "
                 "log.dirs",
                 id);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (!is_fixed && !is_new && !dirs_all_online(hosting)) {
        snprintf(problem->text, sizeof(problem->text),
                 "it is in none of the log folders that are online");
        return ERR_KAFKA_STORAGE_ERROR;
    }
    uint32_t dir = is_fixed ? assigned : dirs_choose(hosting);
    enum err err = look_in(shard, partition, dir, place);
    place->is_counted = !is_fixed;
    if (err != ERR_OK && place->is_counted)
        atomic_fetch_sub(&hosting->dirs[dir].partition_count, 1);
    return err;
}

/* A crash of Apache Kafka left it: recovery has found out, now that nothing can be refused. */
static void warn_unfinished(const struct partition *partition)
{
    int64_t first_offset = producers_first_open(log_producers(partition->log));
    if (first_offset != INT64_MAX)
        diag_warn("log",
                  "%.*s-%d holds an unfinished transaction since offset %lld, which this version "
                  "cannot end: readers of committed records stop there. To go on, stop this broker "
                  "and start Apache Kafka on its folders until the transaction is ended",
                  STR_ARG(partition->topic), partition->index, (long long)first_offset);
}

static enum err open_log(struct shard *shard, struct partition *partition,
                         const struct place *place, bool is_lost, struct log_problem *problem)
{
    struct hosting_dir *dir = &shard->node->hosting.dirs[place->dir];
    struct manifest_item lost;
    struct log_open_options options = {.clean_shutdown = true,
                                       .log_start_offset = -1,
                                       .manifest = hosting_of(shard)->manifests[place->dir],
                                       .key = key_of(partition),
                                       .item = place->item};
    if (place->is_there && place->found) {
        options.clean_shutdown = dir->logdir.was_clean && !is_lost;
        options.recovery_point = place->found->recovery_point;
        options.log_start_offset = place->found->log_start_offset;
    } else if (place->is_there) {
        options.clean_shutdown = false;
    }
    if (is_lost && place->item) {
        lost = *place->item;
        lost.mark = MANIFEST_RESHAPED; /* its disk failed: nothing is taken for granted */
        options.item = &lost;
    }
    options.has_leader_epoch = true;
    options.leader_epoch = partition->leader_epoch;
    options.wal = hosting_of(shard)->wals[place->dir];
    options.replay = wal_replay_find(&dir->wal.replay, partition->topic_id, partition->index);
    options.must_recover = options.replay != NULL;
    struct log_config config = partition->config.log;
    if (place->found && place->found->cleaned_offset > 0)
        config.is_dense = false; /* what compaction left out is no damage, whatever is set now */
    TRY(log_open(shard->io, place->path, &config, &options, &partition->owner, &partition->log,
                 problem));
    if (place->found)
        log_set_cleaned_offset(partition->log, place->found->cleaned_offset);
    warn_unfinished(partition);
    return ERR_OK;
}

/* `directory` is where the metadata has it. */
static void place_partition(struct shard *shard, struct partition *partition, struct uuid directory,
                            bool is_new)
{
    struct hosting *hosting = &shard->node->hosting;
    struct log_problem problem = {""};
    struct place place;
    enum err err = find_place(shard, partition, directory, &place, &problem);
    if (err == ERR_OK && !place.is_there)
        err = choose_place(shard, partition, directory, is_new, &place, &problem);
    if (err == ERR_BUSY) {
        if (partition->wait_until_ms == 0)
            partition->wait_until_ms = io_now_ms(shard->io) + NAME_WAIT_MS;
        return;
    }
    partition->wait_until_ms = 0;
    if (err != ERR_OK) {
        diag_error("log", "%.*s-%d is offline: %s", STR_ARG(partition->topic), partition->index,
                   problem.text[0] ? problem.text : err_text(err));
        return;
    }
    struct hosting_dir *dir = &hosting->dirs[place.dir];
    partition->log_dir = place.dir;
    if (!place.is_there) {
        err = log_create(shard->io, place.path, partition->topic_id);
        if (err != ERR_OK && err != ERR_NOSPACE && dirs_is_disk_failure(err))
            dirs_fail(shard, place.dir, err, place.path);
    }
    bool is_made = err == ERR_OK;
    if (is_made)
        err = open_log(shard, partition, &place, uuid_eq(directory, DIR_LOST), &problem);
    if (err == ERR_OK) {
        if (!place.is_counted)
            atomic_fetch_add(&dir->partition_count, 1);
        if (!uuid_eq(directory, dir->id))
            dirs_note(shard, partition, dir->id);
        mover_resume(shard, partition);
        return;
    }
    if (place.is_counted)
        atomic_fetch_sub(&dir->partition_count, 1);
    const char *why = problem.text[0] ? problem.text : err_text(err);
    partition->is_kept = place.found != NULL;
    if (is_made)
        quarantine(shard, partition, why);
    else
        diag_error("log", "%.*s-%d is offline: %s cannot be made: %s", STR_ARG(partition->topic),
                   partition->index, place.path, why);
}

static void open_partition(struct shard *shard, const struct partition_config *config,
                           const struct topic_image *topic, int32_t index, struct uuid directory,
                           bool is_new)
{
    struct partition *partition;
    enum err err =
        partition_create(&shard->partitions, topic->id, topic->name, index, config, &partition);
    if (err != ERR_OK) {
        diag_error("log", "%.*s-%d is offline: %s", STR_ARG(topic->name), index, err_text(err));
        return;
    }
    partition->host = shard;
    partition->on_failure = on_log_failure;
    partition->on_full = on_log_full;
    partition->leader_epoch = image_partition(topic, index)->leader_epoch;
    place_partition(shard, partition, directory, is_new);
}

/* --- applying an image --- */

struct apply {
    struct shard *shard;
    struct settings settings;
    bool is_first; /* of this start: what it has need not be new */
};

/* The directory of this node's replica; NULL: it has none. */
static const struct uuid *directory_here(const struct node *node,
                                         const struct partition_image *partition)
{
    for (uint32_t i = 0; partition && i < partition->replica_count; i++) {
        if (partition->replicas[i] == node->config->node_id)
            return &partition->directories[i];
    }
    return NULL;
}

/* The topic may be made again at once: what is in flight has files, and no need for a name. */
static void give_up_name(struct shard *shard, struct partition *partition)
{
    const struct hosting_dir *dir = &shard->node->hosting.dirs[partition->log_dir];
    enum err err = ERR_BUSY;
    if (!atomic_load(&dir->is_offline))
        err = log_give_up_name(partition->log, io_random(shard->io), io_random(shard->io));
    if (err != ERR_OK)
        atomic_fetch_add(&shard->node->hosting.named, 1); /* until remove_partition */
    if (err != ERR_OK && err != ERR_BUSY)
        diag_error("log", "%s cannot be renamed: %s", log_dir_path(partition->log), err_text(err));
}

static void delete_partition(struct shard *shard, struct uuid topic_id, int32_t index)
{
    struct partition *partition = partitions_find(&shard->partitions, topic_id, index);
    if (!partition)
        return;
    mover_forget(partition);
    partition_detach(&shard->partitions, partition);
    if (partition->log) {
        log_compact_abort(partition->log);
        give_up_name(shard, partition);
    }
    list_push_back(&hosting_of(shard)->closing, &partition->link);
}

static void lead(struct partition *partition, int32_t leader_epoch)
{
    partition->leader_epoch = leader_epoch;
    bool is_here = partition->log && !log_is_offline(partition->log);
    enum err err = is_here ? log_begin_epoch(partition->log, leader_epoch) : ERR_OK;
    if (err != ERR_OK)
        diag_error("log", "%.*s-%d: epoch %d cannot be noted: %s", STR_ARG(partition->topic),
                   partition->index, leader_epoch, err_text(err));
}

static enum err on_topic(void *arg, const struct topic_image *before,
                         const struct topic_image *after)
{
    struct apply *apply = arg;
    struct shard *shard = apply->shard;
    struct node *node = shard->node;
    bool is_same = before && after && uuid_eq(before->id, after->id);
    for (uint32_t i = 0; before && !is_same && i < before->partition_count; i++) {
        if (node_owner(node, before->id, (int32_t)i) == shard->index)
            delete_partition(shard, before->id, (int32_t)i);
    }
    for (uint32_t i = 0; after && i < after->partition_count; i++) {
        const struct partition_image *image = after->partitions[i];
        const struct uuid *directory = directory_here(node, image);
        if (node_owner(node, after->id, (int32_t)i) != shard->index || !directory)
            continue;
        struct partition *partition = partitions_find(&shard->partitions, after->id, (int32_t)i);
        if (!partition)
            open_partition(shard, settings_of(&apply->settings, after->name), after, (int32_t)i,
                           *directory, !apply->is_first);
        partition = partitions_find(&shard->partitions, after->id, (int32_t)i);
        if (partition)
            lead(partition, image->leader_epoch);
    }
    return ERR_OK;
}

static enum err on_config(void *arg, const struct config_image *before,
                          const struct config_image *after)
{
    bool *changed = arg;
    const struct config_image *config = after ? after : before;
    if (config->type == CONFIG_TOPIC || config->type == CONFIG_BROKER)
        *changed = true;
    return ERR_OK;
}

static void renew_configs(struct shard *shard, struct settings *settings)
{
    struct map_iter iter;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;)
        partition_set_config(partition, settings_of(settings, partition->topic));
}

void hosting_apply(struct shard *shard, const struct image *before, const struct image *after)
{
    struct apply apply = {.shard = shard,
                          .settings = {.node = shard->node, .image = after},
                          .is_first = before->end_offset == 0};
    bool has_new_configs = false;
    if (!hosting_of(shard)->has_first_image)
        manifests_open(shard);
    enum err err = image_topics_diff(before, after, on_topic, &apply);
    if (err == ERR_OK)
        err = image_configs_diff(before, after, on_config, &has_new_configs);
    ASSERT(err == ERR_OK); /* the callbacks do not fail */
    if (has_new_configs)
        renew_configs(shard, &apply.settings);
    dirs_report(shard);
    hosting_of(shard)->has_first_image = true;
}

/* --- going away --- */

void hosting_doom(struct shard *shard, char *path, int64_t delay_ms)
{
    struct doomed_folder *folder = calloc(1, sizeof(*folder));
    if (!folder) {
        free(path); /* the next start removes it */
        return;
    }
    folder->own = hosting_of(shard);
    folder->path = path;
    folder->due_ms = io_now_ms(shard->io) + (uint64_t)delay_ms;
    list_push_back(&hosting_of(shard)->doomed, &folder->link);
}

static void remove_partition(struct shard *shard, struct partition *partition)
{
    struct hosting *hosting = &shard->node->hosting;
    struct hosting_dir *dir = &hosting->dirs[partition->log_dir];
    bool is_named = partition->log && !log_is_renamed(partition->log);
    if (partition->log && atomic_load(&dir->is_offline)) {
        log_abandon(partition->log);
        partition->log = NULL;
    } else if (!partition->log) {
        folder_wal_forget(&dir->wal, partition->topic_id, partition->index);
    }
    if (partition->log) {
        char *path;
        enum err err =
            log_delete(partition->log, io_random(shard->io), io_random(shard->io), &path);
        partition->log = NULL;
        atomic_fetch_sub(&dir->partition_count, 1);
        if (err == ERR_OK)
            hosting_doom(shard, path, partition->config.log.file_delete_delay_ms);
        else
            diag_error("log", "%.*s-%d cannot be deleted: %s", STR_ARG(partition->topic),
                       partition->index, err_text(err));
    }
    if (is_named)
        atomic_fetch_sub(&hosting->named, 1);
    partition_free(partition);
}

static void free_doomed(struct doomed_folder *folder)
{
    list_remove(&folder->link);
    free(folder->path);
    free(folder);
}

static void on_folder_removed(struct folder_removal *removal, enum err err)
{
    struct doomed_folder *folder = CONTAINER_OF(removal, struct doomed_folder, removal);
    if (err != ERR_OK && err != ERR_CANCELLED)
        diag_warn("log", "%s cannot be removed: %s", folder->path, err_text(err));
    free_doomed(folder);
}

static void remove_doomed(struct shard *shard)
{
    struct hosting_shard *own = hosting_of(shard);
    uint64_t now = io_now_ms(shard->io);
    LIST_FOREACH_SAFE (node, &own->doomed) {
        struct doomed_folder *folder = LIST_ENTRY(node, struct doomed_folder, link);
        if (folder->due_ms > now)
            continue;
        list_remove(&folder->link);
        list_push_back(&own->removing, &folder->link);
        folder->removal = (struct folder_removal){
            .io = shard->io, .path = folder->path, .done = on_folder_removed};
        folder_removal_start(&folder->removal);
    }
}

static void run_closing(struct shard *shard)
{
    struct hosting_shard *own = hosting_of(shard);
    LIST_FOREACH_SAFE (node, &own->closing) {
        struct partition *partition = LIST_ENTRY(node, struct partition, link);
        if (partition->log && !log_is_idle(partition->log))
            continue;
        list_remove(&partition->link);
        remove_partition(shard, partition);
    }
    remove_doomed(shard);
}

static void retain(struct shard *shard)
{
    struct map_iter iter;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        uint32_t removed = 0;
        if (!partition->log || log_is_offline(partition->log))
            continue;
        enum err err = log_retain(partition->log, io_wall_ms(shard->io), &removed);
        if (err != ERR_OK && err != ERR_NOSPACE && dirs_is_disk_failure(err))
            dirs_fail(shard, partition->log_dir, err, log_dir_path(partition->log));
        else if (err != ERR_OK)
            diag_warn("log", "%.*s-%d: retention: %s", STR_ARG(partition->topic), partition->index,
                      err_text(err));
        if (removed > 0)
            diag_info("log", "%.*s-%d: %u segments are past their retention; it begins at %lld",
                      STR_ARG(partition->topic), partition->index, removed,
                      (long long)log_start_offset(partition->log));
    }
}

/* What the name of a folder was missing for. */
static void place_again(struct shard *shard, struct partition *partition)
{
    const struct topic_image *topic = image_topic_by_id(shard->image, partition->topic_id);
    const struct partition_image *image = topic ? image_partition(topic, partition->index) : NULL;
    const struct uuid *directory = directory_here(shard->node, image);
    if (!directory)
        return; /* about to be deleted, too */
    place_partition(shard, partition, *directory, true);
    dirs_report(shard);
    lead(partition, image->leader_epoch);
}

static void on_tick(struct io_timer *timer)
{
    struct hosting_shard *own = CONTAINER_OF(timer, struct hosting_shard, tick);
    struct shard *shard = own->shard;
    struct map_iter iter;
    uint32_t cost = 0;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (partition->log)
            cost +=
                (uint32_t)log_tick(partition->log, io_wall_ms(shard->io), cost < STORES_PER_TICK);
    }
    manifests_tick(shard);
    run_closing(shard);
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (partition->wait_until_ms > 0)
            place_again(shard, partition);
    }
    mover_tick(shard);
    struct hosting *hosting = &shard->node->hosting;
    if (shard->index == 0)
        folder_wal_tick(hosting);
    if (shard->index == 0 && hosting->checkpoint_pending == 0 &&
        atomic_exchange(&hosting->is_checkpoint_wanted, false))
        io_timer_start(shard->io, &hosting->tick, io_now_ns(shard->io));
    uint64_t now = io_now_ms(shard->io);
    if (now >= own->retain_at_ms) {
        own->retain_at_ms = now + (uint64_t)shard->node->config->log_retention_check_interval_ms;
        retain(shard);
    }
    io_timer_start(shard->io, timer, io_now_ns(shard->io) + TICK_MS * MS);
}

/* --- checkpoints --- */

/* What the start read of a partition that could not be opened is written again: without it, the
 * next start would take damage for a torn end. */
static void collect_closed(struct hosting_shard *own, const struct partition *partition)
{
    const struct hosting_dir *dir = &own->shard->node->hosting.dirs[partition->log_dir];
    const struct logdir_partition *found =
        partition->is_kept ? logdir_find(&dir->logdir, partition->topic, partition->index) : NULL;
    if (found)
        logdir_offsets_add(&own->offsets[partition->log_dir], partition->topic, partition->index,
                           found->recovery_point, found->log_start_offset, found->high_watermark,
                           found->cleaned_offset);
}

static void collect(struct shard *shard)
{
    struct hosting_shard *own = hosting_of(shard);
    struct map_iter iter;
    for (size_t d = 0; d < shard->node->hosting.dir_count; d++) {
        logdir_offsets_deinit(&own->offsets[d]);
        logdir_offsets_init(&own->offsets[d]);
    }
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (!partition->log) {
            collect_closed(own, partition);
            continue;
        }
        int64_t start = log_start_offset(partition->log);
        logdir_offsets_add(&own->offsets[partition->log_dir], partition->topic, partition->index,
                           log_recovery_point(partition->log), start > 0 ? start : -1,
                           partition_high_watermark(partition), log_cleaned_offset(partition->log));
        partition->recovery_point = log_recovery_point(partition->log);
    }
}

static enum err write_dir_checkpoints(struct hosting *hosting, uint32_t d)
{
    const struct logdir_offsets *all[SHARD_COUNT_MAX];
    struct node *node = hosting->node;
    for (uint32_t i = 0; i < node->shard_count; i++)
        all[i] = &hosting->shards[i].offsets[d];
    return logdir_write_offsets(&hosting->dirs[d].logdir, node->shards[0].io, all,
                                node->shard_count);
}

/* A folder whose checkpoints cannot be written has failed; a full one gets them later. */
static enum err write_checkpoints(struct hosting *hosting)
{
    enum err result = ERR_OK;
    for (uint32_t d = 0; d < hosting->dir_count; d++) {
        if (!dirs_is_online(hosting, d))
            continue;
        enum err err = write_dir_checkpoints(hosting, d);
        if (err != ERR_OK && err != ERR_NOSPACE && dirs_is_disk_failure(err))
            dirs_fail(&hosting->node->shards[0], d, err, "a checkpoint cannot be written");
        else if (err != ERR_OK)
            result = err;
    }
    return result;
}

static void on_collected(struct shard *shard, struct shard_msg *msg)
{
    (void)msg;
    struct hosting *hosting = &shard->node->hosting;
    if (--hosting->checkpoint_pending > 0 || shard->node->state != NODE_SERVING)
        return;
    enum err err = write_checkpoints(hosting);
    if (err != ERR_OK)
        diag_warn("logdir", "the checkpoints cannot be written: %s", err_text(err));
    else
        atomic_store(&hosting->checkpoints_written, hosting->checkpoint);
}

static void on_collect(struct shard *shard, struct shard_msg *msg)
{
    if (shard->node->state == NODE_SERVING)
        collect(shard);
    hosting_of(shard)->checkpoint++; /* every shard comes by once for each */
    msg->fn = on_collected;
    shard_post(shard, &shard->node->shards[0], msg);
}

static void on_checkpoint_due(struct io_timer *timer)
{
    struct hosting *hosting = CONTAINER_OF(timer, struct hosting, tick);
    struct node *node = hosting->node;
    struct shard *shard = &node->shards[0];
    if (hosting->checkpoint_pending == 0 && node->state == NODE_SERVING) {
        hosting->checkpoint_pending = node->shard_count;
        hosting->checkpoint++;
        for (uint32_t i = 0; i < node->shard_count; i++) {
            hosting->shards[i].msg.fn = on_collect;
            shard_post(shard, &node->shards[i], &hosting->shards[i].msg);
        }
    }
    uint64_t interval = (uint64_t)node->config->log_flush_offset_checkpoint_interval_ms;
    io_timer_start(shard->io, timer, io_now_ns(shard->io) + interval * MS);
}

/* --- a shard's start and stop --- */

void hosting_shard_start(struct shard *shard)
{
    struct hosting_shard *own = hosting_of(shard);
    const struct broker_config *config = shard->node->config;
    own->retain_at_ms = io_now_ms(shard->io) + (uint64_t)config->log_initial_task_delay_ms;
    io_timer_start(shard->io, &own->tick, io_now_ns(shard->io) + TICK_MS * MS);
    cleaner_start(&own->cleaner, shard);
    if (shard->index == 0)
        manifests_forget(&shard->node->hosting); /* every shard has its first image */
    if (shard->index == 0)
        io_timer_start(shard->io, &shard->node->hosting.tick,
                       io_now_ns(shard->io) +
                           (uint64_t)config->log_flush_offset_checkpoint_interval_ms * MS);
}

static bool all_idle(const struct shard *shard)
{
    if (!list_is_empty(&shard->node->hosting.shards[shard->index].removing))
        return false;
    struct map_iter iter;
    if (!mover_is_idle(shard))
        return false;
    map_iter_init(&iter, &shard->partitions);
    for (const struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (partition->log && !log_is_idle(partition->log))
            return false;
    }
    LIST_FOREACH (node, &hosting_of((struct shard *)(uintptr_t)shard)->closing) {
        const struct partition *partition = LIST_ENTRY(node, struct partition, link);
        if (partition->log && !log_is_idle(partition->log))
            return false;
    }
    return folder_wal_is_idle(shard);
}

/* Its folder gets no mark of a clean stop. */
static void on_not_closed(struct shard *shard, const struct partition *partition, enum err err)
{
    struct hosting_dir *dir = &shard->node->hosting.dirs[partition->log_dir];
    atomic_store(&dir->is_unclean, true);
    if (!atomic_load(&dir->is_offline))
        diag_error("log", "%.*s-%d cannot be closed: %s", STR_ARG(partition->topic),
                   partition->index, err_text(err));
}

static void drop_all(struct shard *shard, bool is_clean)
{
    struct hosting_shard *own = hosting_of(shard);
    struct map_iter iter;
    if (is_clean)
        manifests_announce_close(shard);
    mover_drop(shard);
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (partition->log && is_clean) {
            enum err err = log_close(partition->log);
            if (err != ERR_OK)
                on_not_closed(shard, partition, err);
        } else if (partition->log) {
            log_abandon(partition->log);
        }
        partition->log = NULL;
        partition_detach(&shard->partitions, partition);
        partition_free(partition);
    }
    struct list *node;
    while ((node = list_pop_front(&own->closing)) != NULL) {
        struct partition *partition = LIST_ENTRY(node, struct partition, link);
        if (is_clean) {
            remove_partition(shard, partition);
        } else {
            if (partition->log)
                log_abandon(partition->log);
            partition->log = NULL;
            partition_free(partition);
        }
    }
    list_splice(&own->doomed, &own->removing); /* after a clean stop there is none */
    while ((node = list_pop_front(&own->doomed)) != NULL)
        free_doomed(LIST_ENTRY(node, struct doomed_folder, link));
    manifests_close(shard, is_clean);
    folder_wal_end(shard, is_clean);
}

/* Flushes of many logs run side by side; the stop waits for them turn by turn. */
static void on_stopping(struct shard *shard, struct shard_msg *msg)
{
    if (!all_idle(shard)) {
        msg->fn = on_stopping;
        shard_post(shard, shard, msg);
        return;
    }
    collect(shard);
    drop_all(shard, true);
    hosting_of(shard)->on_closed(shard);
}

void hosting_shard_stop(struct shard *shard, void (*on_closed)(struct shard *shard))
{
    struct hosting_shard *own = hosting_of(shard);
    own->on_closed = on_closed;
    io_timer_stop(shard->io, &own->tick);
    folder_wal_stop(shard);
    cleaner_stop(&own->cleaner);
    LIST_FOREACH (node, &own->removing)
        LIST_ENTRY(node, struct doomed_folder, link)->removal.is_stopped = true;
    mover_stop(shard);
    if (shard->index == 0)
        io_timer_stop(shard->io, &shard->node->hosting.tick);
    struct map_iter iter;
    map_iter_init(&iter, &shard->partitions);
    for (struct partition *partition; (partition = map_iter_next(&iter)) != NULL;) {
        if (!partition->log)
            continue;
        log_compact_abort(partition->log);
        log_flush(partition->log);
    }
    own->stop_msg.fn = on_stopping;
    shard_post(shard, shard, &own->stop_msg);
}

void hosting_shard_abandon(struct shard *shard)
{
    drop_all(shard, false);
}

enum err hosting_finish(struct hosting *hosting, int64_t broker_epoch)
{
    TRY(write_checkpoints(hosting));
    for (size_t d = 0; d < hosting->dir_count; d++) {
        struct hosting_dir *dir = &hosting->dirs[d];
        struct io *io = hosting->node->shards[0].io;
        if (!atomic_load(&dir->is_offline) && !atomic_load(&dir->is_unclean) &&
            folder_wal_is_empty(&dir->wal, io))
            TRY(logdir_mark_clean(&dir->logdir, io, broker_epoch));
    }
    return ERR_OK;
}
