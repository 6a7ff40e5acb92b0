/* taffrail consume --group: as a member of a consumer group. */
#ifndef CLI_CONSUME_GROUP_H
#define CLI_CONSUME_GROUP_H

#include "cli/args.h"

int consume_group_run(const struct args *args);

#endif
