/* taffrail config: list, describe, set, unset; of topics, brokers and groups. */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "cli/args.h"
#include "cli/client.h"

int config_list_run(const struct args *args);
int config_describe_run(const struct args *args);
int config_set_run(const struct args *args);
int config_unset_run(const struct args *args);

/* The --config and --unset options of `topic alter`. */
int config_alter_topic(const struct args *args, const char *topic);
/* The configs of a topic that differ from the defaults; answers live in the client's arena. */
int config_of_topic(struct client *client, struct str topic,
                    struct describe_configs_response_result *result);
/* "topic", "broker", ...: where a value comes from, for people and for JSON. */
const char *config_source_name(int8_t source);

extern const char *const config_kinds[];

#endif
