/* taffrail topic: create, list, describe, alter, delete. */
#ifndef CLI_TOPIC_H
#define CLI_TOPIC_H

#include "cli/args.h"

int topic_create_run(const struct args *args);
int topic_list_run(const struct args *args);
int topic_describe_run(const struct args *args);
int topic_alter_run(const struct args *args);
int topic_delete_run(const struct args *args);

#endif
