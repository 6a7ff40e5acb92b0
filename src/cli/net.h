/* A blocking connection to one broker: frames out, frames in, each within a timeout. */
#ifndef CLI_NET_H
#define CLI_NET_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define NET_PEER_MAX 300 /* a host name of 253 characters, brackets, a port */

struct net {
    int fd;
    char peer[NET_PEER_MAX]; /* "host:port" as it was named, for messages */
    int64_t timeout_ms;
    struct buf in; /* the last frame received */
};

/* Connects to the first server of a comma-separated list that answers. The exit code: EXIT_FINE,
 * EXIT_USAGE for a list that is wrong, EXIT_UNREACHABLE; said on standard error. */
int net_open(struct net *net, const char *servers, int64_t timeout_ms);
void net_close(struct net *net);
/* Only whether one of them accepts a connection; same results. */
int net_probe(const char *servers, int64_t timeout_ms);

/* Sends a frame and waits for the next one, which stays in net->in until the next call. */
int net_exchange(struct net *net, struct slice request);

/* Splits "host", "host:port" or "[v6]:port"; the port defaults to 9092. */
enum err net_split(struct str server, char host[NET_PEER_MAX], char port[8]) MUST_USE;

#endif
