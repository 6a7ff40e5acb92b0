/* The names that belong in a log folder: Apache Kafka's, and ours. What has another name is
 * foreign: nobody reads it, and whoever looks at a folder says so. */
#ifndef LOG_NAMES_H
#define LOG_NAMES_H

#include <stdbool.h>

#include "base/bytes.h"

/* "topic-3": topic, which lies in `name`, and 3. */
bool name_parse_partition(struct str name, struct str *topic, int32_t *index);
/* A partition's folder, also one that is on its way in or out: "topic-3.HEX-future". */
bool name_is_partition(struct str name);
/* Whether it may be in a log folder. */
bool name_is_of_log_folder(struct str name, bool is_dir);
/* Whether it may be in the folder of a partition, which has the name `folder`. */
bool name_is_of_partition(struct str folder, struct str name, bool is_dir);

#endif
