/* Requests of our own to one broker, for what librdkafka cannot ask: typed messages in, typed
 * answers out, in the newest version that both sides know. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "base/arena.h"
#include "cli/args.h"
#include "cli/net.h"
#include "wire/messages.h"

enum client_api {
    CLIENT_FETCH = 1,
    CLIENT_LIST_OFFSETS = 2,
    CLIENT_METADATA = 3,
    CLIENT_OFFSET_COMMIT = 8,
    CLIENT_OFFSET_FETCH = 9,
    CLIENT_FIND_COORDINATOR = 10,
    CLIENT_DESCRIBE_GROUPS = 15,
    CLIENT_LIST_GROUPS = 16,
    CLIENT_API_VERSIONS = 18,
    CLIENT_DESCRIBE_CONFIGS = 32,
    CLIENT_DESCRIBE_LOG_DIRS = 35,
    CLIENT_DELETE_GROUPS = 42,
    CLIENT_INCREMENTAL_ALTER_CONFIGS = 44,
    CLIENT_OFFSET_DELETE = 47,
    CLIENT_DESCRIBE_QUORUM = 55,
    CLIENT_DESCRIBE_CLUSTER = 60,
    CLIENT_DESCRIBE_PRODUCERS = 61,
    CLIENT_CONSUMER_GROUP_DESCRIBE = 69,
    CLIENT_LIST_CONFIG_RESOURCES = 74,
    CLIENT_DESCRIBE_TOPIC_PARTITIONS = 75,
};

struct client {
    struct net net;
    struct arena arena; /* requests may be built in it; answers live in it until client_close */
    struct api_versions_response versions;
    int32_t correlation_id;
};

/* Functions that return int return an exit code and have said what went wrong. */

/* To a server of the command's --bootstrap-server. client_close is due either way. */
int client_open(struct client *client, const struct args *args);
void client_close(struct client *client);

bool client_offers(const struct client *client, enum client_api api);
/* Whether the broker has version `version` of it, or a newer one. */
bool client_offers_version(const struct client *client, enum client_api api, int16_t version);
/* `response` is the struct of the API's response. */
int client_call(struct client *client, enum client_api api, const void *request, void *response);
/* The same in a version not newer than `version_max`. */
int client_call_at_most(struct client *client, enum client_api api, int16_t version_max,
                        const void *request, void *response);

/* The brokers of the cluster, those that are fenced only where asked for and told; the answer lives
 * in the client's arena. */
int client_describe_cluster(struct client *client, bool with_fenced,
                            struct describe_cluster_response *cluster);
/* Opens a connection to the broker with this id; EXIT_NOT_FOUND where there is none. */
int client_open_broker(struct client *broker, const struct describe_cluster_response *cluster,
                       int32_t broker_id, int64_t timeout_ms);

/* Says an error code of an answer, with the broker's own message where it gave one. */
int client_fail(int16_t error_code, struct str message, const char *what, ...)
    __attribute__((format(printf, 3, 4)));

/* Ends the program: a command line has nothing better to do without memory. */
_Noreturn void client_out_of_memory(void);
/* arena_array that cannot fail. */
void *client_array(struct client *client, size_t count, size_t size);

#endif
