/* taffrail cluster: what the cluster consists of. */
#ifndef CLI_CLUSTER_H
#define CLI_CLUSTER_H

#include "cli/args.h"

int cluster_info_run(const struct args *args);

#endif
