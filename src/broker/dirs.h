/* Log folders while the node runs: which of them serve, where a new partition goes, and what the
 * metadata is told of it. */
#ifndef BROKER_DIRS_H
#define BROKER_DIRS_H

#include "base/err.h"
#include "broker/metadata.h"
#include "meta/controller.h"

struct hosting;
struct partition;
struct shard;

/* What a shard has to tell the controller: where its partitions lie. */
struct dir_notes {
    struct dir_assignment *items; /* at most one for each partition of the node */
    size_t count, cap;
};

struct dir_reporter {
    struct shard *shard;
    struct dir_notes waiting, sent; /* while `sent` is under way, others wait */
    bool is_under_way;
    struct metadata_call call;
    struct arena arena;
};

void dir_reporter_init(struct dir_reporter *reporter, struct shard *shard);
void dir_reporter_deinit(struct dir_reporter *reporter);

/* A write or a flush in the folder failed, or it cannot be reached: everything in it is offline
 * until the next start. Any shard; the first call counts. */
void dirs_fail(struct shard *shard, uint32_t dir, enum err err, const char *what);
/* Whether an error says that the disk failed, rather than that memory or data did. */
bool dirs_is_disk_failure(enum err err);
/* An append was refused for lack of space. Said now and then. */
void dirs_full(struct shard *shard, uint32_t dir);
bool dirs_is_online(const struct hosting *hosting, uint32_t dir);
bool dirs_all_online(const struct hosting *hosting);

/* Where a new partition goes: the online folder with the fewest. It is counted there already. */
uint32_t dirs_choose(struct hosting *hosting);
/* The folder with the directory id; UINT32_MAX: no online one has it. */
uint32_t dirs_find(const struct hosting *hosting, struct uuid id);

/* Tells the controller where the partition lies: a folder's id, or DIR_LOST where it cannot be
 * served. Goes with the next dirs_report. */
void dirs_note(struct shard *shard, const struct partition *partition, struct uuid directory);
void dirs_report(struct shard *shard);

#endif
