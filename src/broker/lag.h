/* How far each consumer group is behind, in messages and in seconds, as this broker sees it.
 *
 * Shard 0 sends a round around the shards, as often as lag.interval.ms says: first each tells what
 * its coordinators have committed, then each tells where the logs of its partitions end and when
 * the record at the committed offset was written. Then shard 0 judges, and tells the alerts. Only
 * where metrics or alerts are configured. */
#ifndef BROKER_LAG_H
#define BROKER_LAG_H

#include "base/buf.h"
#include "broker/alerts.h"
#include "broker/shard.h"
#include "coord/lag.h"

struct lag;
struct node;

/* One group in one partition. */
struct lag_entry {
    struct str group, topic; /* in this allocation */
    int32_t partition;
    uint64_t round; /* the last that saw it */
    struct lag_watch watch;
    bool is_known; /* the partition is here, and its numbers are of the last round */
    bool has_reader;
    int64_t begin;
    int64_t unread;    /* the offset whose time is known; -1: none */
    int64_t unread_ms; /* its timestamp: to within its batch */
    int64_t age_ms;    /* of the oldest unread record; 0: nothing is unread; LAG_MS_UNKNOWN */
    enum lag_verdict verdict;
};

/* One group; its entries follow each other. */
struct lag_group {
    struct str name; /* of its first entry, or in the round's memory */
    size_t member_count;
    size_t first, count; /* in lag_view */
};

/* The last round. */
struct lag_view {
    struct lag_entry **entries;
    size_t entry_count;
    struct lag_group *groups;
    size_t group_count;
    struct arena arena; /* names of groups without entries */
    size_t left_out;    /* offsets past the limit */
};

/* *lag is NULL where nobody wants to know. */
enum err lag_open(struct lag **lag, struct node *node) MUST_USE;
/* The node serves. NULL is harmless, here and below. */
void lag_start(struct lag *lag);
/* No more rounds; calls under way are cut short. */
void lag_drain(struct lag *lag);
bool lag_is_idle(const struct lag *lag);
/* It must be idle. */
void lag_close(struct lag *lag);

const struct lag_view *lag_view(const struct lag *lag);
const struct alerts *lag_alerts(const struct lag *lag);

/* --- lag_text.c --- */

/* Families of the metrics page, one a call; at most `rows_max` partitions. False past the last. */
bool lag_text_step(const struct lag *lag, size_t at, size_t rows_max, struct buf *buf);

#endif
