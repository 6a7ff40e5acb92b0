/* A manifest: what a start has to know of the partitions in a log folder, so that it need not open
 * their files. One file for each log folder and shard, `taffrail-manifest-SHARD`; the format, and
 * when it is believed, is at the head of manifest.c.
 *
 * It is a cache. What is missing in it costs a look at the partition's folder; what is in it must
 * be true, or be marked as changed since. What a partition's entry says is the log's
 * (checkpoint.c). */
#ifndef LOG_MANIFEST_H
#define LOG_MANIFEST_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/map.h"
#include "io/io.h"

/* Names of its files in the log folder: this, and the shard. */
#define MANIFEST_FILE_PREFIX "taffrail-manifest-"

#define MANIFEST_SHARDS_MAX 64 /* that a run may have */

struct manifest_key {
    struct uuid topic_id;
    int32_t index;
};

/* What may have happened to a partition's files since its entry was written; each includes those
 * before it. */
enum manifest_mark {
    MANIFEST_UNCHANGED,
    MANIFEST_APPENDED, /* the last segment is longer */
    MANIFEST_ROLLED,   /* there may be segments and snapshots behind it */
    MANIFEST_RESHAPED, /* anything: the folder tells */
};

/* --- at start: what the last run left --- */

struct manifest_item {
    struct manifest_key key;
    struct slice entry; /* null: none */
    enum manifest_mark mark;
    int64_t start_offset; /* the log's is not below it; -1: not known */
};

struct manifest_set {
    struct arena arena;
    struct map items;
    size_t bytes; /* of the files that they came from */
};

void manifest_set_init(struct manifest_set *set, uint64_t seed);
void manifest_set_deinit(struct manifest_set *set);
/* Empty again: it is no longer needed, and may be large. */
void manifest_set_forget(struct manifest_set *set);
/* Takes over what a manifest's bytes say, if they are of that run. *whole: up to the end.
 * ERR_MALFORMED: not a manifest, or of another version; ERR_NOENT: of another run. */
enum err manifest_set_read(struct manifest_set *set, struct slice bytes, int32_t run,
                           bool *whole) MUST_USE;
/* All manifests of a folder that are of that run. What cannot be used is left out, with a line in
 * the log. Only ERR_NOMEM fails. */
enum err manifest_set_load(struct manifest_set *set, struct io *io, const char *dir,
                           int32_t run) MUST_USE;
/* NULL: nothing is known of it. Valid until the set's end. */
const struct manifest_item *manifest_set_find(const struct manifest_set *set,
                                              struct manifest_key key);

typedef bool manifest_filter(const void *arg, struct manifest_key key);
/* Replaces the manifest of a shard by the items that are wanted, for a new run; not synced. */
enum err manifest_set_write(const struct manifest_set *set, struct io *io, const char *dir,
                            uint32_t shard, int32_t run, manifest_filter *is_wanted,
                            const void *arg) MUST_USE;
/* Removes the manifests of a folder, those of shards from `first_shard` on: the next start looks at
 * all folders. Also for whoever changes a partition's files while no broker runs. */
enum err manifest_remove_all(struct io *io, const char *dir, uint32_t first_shard) MUST_USE;

/* --- while it runs: one shard's --- */

struct manifest;

/* Opens the one that manifest_set_write has made. One that cannot be opened is removed, and then
 * takes no notes; an error: that was not possible either, so that the next start would believe it.
 */
enum err manifest_open(struct io *io, const char *dir, uint32_t shard,
                       struct manifest **manifest) MUST_USE;
/* No sync may be under way. */
void manifest_close(struct manifest *manifest);

/* What these write survives the process at once, and the machine once it is synced. Where the disk
 * refuses it, the whole manifest is removed and switched off, and the next start does without; an
 * error says that not even this was possible. */
enum err manifest_put_entry(struct manifest *manifest, struct manifest_key key,
                            enum manifest_mark mark, struct slice entry) MUST_USE;
enum err manifest_put_mark(struct manifest *manifest, struct manifest_key key,
                           enum manifest_mark mark) MUST_USE;
enum err manifest_put_start(struct manifest *manifest, struct manifest_key key,
                            int64_t start_offset) MUST_USE;
/* Nothing is known of the partition. */
enum err manifest_put_gone(struct manifest *manifest, struct manifest_key key) MUST_USE;

/* Where the next thing will be put. What was put before a position is on the disk once
 * manifest_is_synced says so of it. */
uint64_t manifest_position(const struct manifest *manifest);
bool manifest_is_synced(const struct manifest *manifest, uint64_t position);

struct manifest_waiter {
    struct list link;
    uint64_t position;
    void (*done)(struct manifest_waiter *waiter, enum err err);
};

/* Calls back, from the loop, when everything put so far is on the disk. All that wait share the
 * next flush. */
void manifest_sync(struct manifest *manifest, struct manifest_waiter *waiter);
enum err manifest_sync_now(struct manifest *manifest) MUST_USE;
bool manifest_is_idle(const struct manifest *manifest);
/* Writes it anew where most of it is out of date. To be called now and then. */
enum err manifest_tidy(struct manifest *manifest) MUST_USE;

#endif
