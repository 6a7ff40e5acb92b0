/* How numbers of a group are shown: what is not known as "-" or null, ages in seconds. */
#ifndef CLI_GROUP_OUT_H
#define CLI_GROUP_OUT_H

#include "cli/group_view.h"
#include "cli/out.h"

/* Milliseconds since 1970, as records carry it. */
int64_t group_wall_ms(void);
/* How old the oldest unread record is: 0 where nothing is unread, GROUP_UNKNOWN. */
int64_t group_partition_age_ms(const struct group_partition *partition, int64_t now_ms);

/* Over partitions: all that is unread, and the oldest of it. */
struct group_sum {
    int64_t messages; /* GROUP_UNKNOWN: nothing is committed */
    int64_t age_ms;
    size_t behind_count; /* partitions with unread records */
};

void group_add_up(const struct group_partition *partitions, size_t count, int64_t now_ms,
                  struct group_sum *sum);
/* "12 records in 3 partitions, the oldest 4.2 s old\n" */
void group_print_sum(const struct group_sum *sum, struct buf *out);

void group_put_str(struct grid *table, struct str text);
void group_put_number(struct grid *table, int64_t number);
void group_put_seconds(struct grid *table, int64_t ms);
json_t *group_number_json(int64_t number);
json_t *group_seconds_json(int64_t ms);

#endif
