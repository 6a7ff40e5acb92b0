/* The logs behind a group's offsets, asked of the partitions' leaders. */
#ifndef CLI_GROUP_LOGS_H
#define CLI_GROUP_LOGS_H

#include "cli/group_view.h"

/* Sets oldest_ms of partitions with unread records: reads the batch at each committed offset. */
int group_load_times(struct group_session *session, struct group_partition *partitions,
                     size_t count);
/* The offset of the first record at or after a time (-1: the end, -2: the beginning) of each
 * partition, by its leader; GROUP_UNKNOWN where there is none or the leader does not tell. */
int group_find_offsets(struct group_session *session, struct group_partition *partitions,
                       size_t count, int64_t time_ms, int64_t *offsets);

#define GROUP_TIME_END       INT64_C(-1)
#define GROUP_TIME_BEGINNING INT64_C(-2)

#endif
