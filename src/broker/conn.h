/* A client's connection: frames in, replies out in the order of the requests.
 *
 * Kafka answers a connection's requests one after the other; so do we, except that a request of a
 * pipelined API (Produce) begins while earlier ones of that API still wait for the disk. An idle
 * connection holds no buffer. */
#ifndef BROKER_CONN_H
#define BROKER_CONN_H

#include "base/list.h"
#include "base/pool.h"
#include "broker/listener.h"
#include "broker/shard.h"
#include "io/io.h"

struct conn {
    struct io_sock sock;
    struct list link;       /* shard->conns */
    struct list dirty_link; /* shard->conns_dirty */
    struct shard *shard;
    const struct listener *listener; /* where it came in */
    struct io_addr peer;
    struct conn_address *address; /* its share of the node's conn_quota; NULL: it got none */
    struct rbuf *in;              /* received, not yet parsed; NULL when there is nothing */
    size_t in_parsed;             /* bytes of it that are done */
    struct list requests;
    uint32_t request_count; /* of those; also counts the ones that outlive the connection */
    uint64_t active_ms;
    bool may_hold_heartbeats; /* the client's software is known to bear it; */
    bool counts_from_request; /* and to count its interval from when it sends one */
    bool is_closed;           /* the socket is gone; waits for its requests */
    bool is_ending;           /* close once the replies so far are sent */
    bool is_draining;         /* begin no more requests; close once all are answered */
    bool is_write_blocked;
};

void conns_init(struct shard *shard);
void conns_close_all(struct shard *shard);
/* No request begins any more; each connection closes once those under way are answered. */
void conns_drain(struct shard *shard);
void conns_deinit(struct shard *shard);
/* Sends what is ready on every connection that has something. */
void conns_flush(struct shard *shard);

/* Takes in who waits at the listener, unless there are too many: then the shard's listeners rest
 * until there is room. */
void conn_open(struct shard *shard, const struct listener *listener, struct io_sock *listening);
/* Closes now; its requests are cancelled and end in silence. */
void conn_close(struct conn *conn);
/* A request of it has ended. */
void conn_on_request_end(struct conn *conn);
/* A request of it was freed. */
void conn_release(struct conn *conn);

#endif
