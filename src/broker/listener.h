/* A listening socket of one shard. Each shard listens on every address; the system spreads the
 * connections over them. */
#ifndef BROKER_LISTENER_H
#define BROKER_LISTENER_H

#include "broker/shard.h"

struct listener_config;

struct listener {
    struct io_sock sock;
    struct shard *shard;
    const struct listener_config *config;
    struct str name; /* as clients find it in Metadata: the endpoint of the same name */
    struct io_addr bound;
    bool is_open;
};

/* On the shard's thread. `shared`: the node's other shards listen there as well. Says why if it
 * fails. */
enum err listener_open(struct listener *listener, struct shard *shard,
                       const struct listener_config *config, bool shared) MUST_USE;
void listener_close(struct listener *listener);
/* Watches all of the shard's listeners for IO_READABLE, or for nothing. */
void listeners_watch(struct shard *shard, unsigned ready);

#endif
