/* taffrail group: list, describe, lag, seek, delete. */
#ifndef CLI_GROUP_H
#define CLI_GROUP_H

#include "cli/args.h"

int group_list_run(const struct args *args);
int group_describe_run(const struct args *args);
int group_lag_run(const struct args *args);
int group_seek_run(const struct args *args);
int group_delete_run(const struct args *args);

#endif
