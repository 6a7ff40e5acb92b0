/* Transactions that a log folder was left with: begun, and neither committed nor aborted.
 *
 * Looks at the files of a folder after a clean stop, before any of its logs is opened, and changes
 * nothing. What is damaged is none of its business: recovery says that better. */
#ifndef LOG_UNFINISHED_H
#define LOG_UNFINISHED_H

#include "log/logdir.h"

#define UNFINISHED_NAME_MAX 256

/* Of a folder with several, the one of the first partition by name: data before coordinators. */
struct unfinished {
    const struct logdir_partition *partition; /* NULL: there is none. The logdir's */
    int64_t producer_id;
    int64_t first_offset;           /* -1: only its coordinator's log knows of it... */
    char name[UNFINISHED_NAME_MAX]; /* ...under this transactional id, cut at this length... */
    const char *state;              /* ...and in this state, as Kafka calls it */
    size_t count;                   /* of partitions that hold one */
};

/* A partition's newest producer snapshot tells of its open transactions, and the newest record of
 * a transactional id in `__transaction_state` of those that have no data yet. */
enum err unfinished_find(const struct logdir *logdir, struct io *io,
                         struct unfinished *out) MUST_USE;

#endif
