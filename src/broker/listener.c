/* Accepting connections. Runs on: the listener's shard. */
#include "broker/listener.h"

#include "broker/config.h"
#include "broker/conn.h"
#include "broker/node.h"

static void on_ready(struct io_sock *sock, unsigned ready)
{
    (void)ready;
    struct listener *listener = CONTAINER_OF(sock, struct listener, sock);
    conn_open(listener->shard, listener, sock);
}

enum err listener_open(struct listener *listener, struct shard *shard,
                       const struct listener_config *config, bool shared)
{
    const struct node *node = shard->node;
    listener->shard = shard;
    listener->config = config;
    listener->name = config->name;
    char host[256];
    if (config->host.len >= sizeof(host))
        return ERR_LIMIT;
    memcpy(host, config->host.data, config->host.len);
    host[config->host.len] = '\0';
    enum err err = io_listen(shard->io, &listener->sock, host, config->port,
                             node->config->socket_listen_backlog_size,
                             shared && node->shard_count > 1, on_ready, &listener->bound);
    if (err != ERR_OK) {
        diag_error("listener", "%.*s cannot listen on %s:%u: %s", STR_ARG(config->name), host,
                   config->port, err == ERR_BUSY ? "another program listens there" : err_text(err));
        return err;
    }
    listener->is_open = true;
    io_sock_watch(shard->io, &listener->sock, IO_READABLE);
    return ERR_OK;
}

void listeners_watch(struct shard *shard, unsigned ready)
{
    const struct node *node = shard->node;
    size_t per_shard = node->config->listener_count;
    for (size_t i = 0; i < per_shard; i++) {
        struct listener *listener = &node->listeners[shard->index * per_shard + i];
        if (listener->is_open)
            io_sock_watch(shard->io, &listener->sock, ready);
    }
}

void listener_close(struct listener *listener)
{
    if (!listener->is_open)
        return;
    listener->is_open = false;
    io_sock_close(listener->shard->io, &listener->sock);
}
