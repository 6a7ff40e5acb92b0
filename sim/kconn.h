/* A Kafka client's connection inside the simulated world: requests out, responses in, by our own
 * codec. Reconnects when a request is sent on a broken one; retrying is the caller's. */
#ifndef SIM_KCONN_H
#define SIM_KCONN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "io/io.h"
#include "sim/world.h"
#include "wire/api.h"

struct kconn;
struct kreq;

/* `response` is the API's struct, valid during the call; NULL: the connection broke before it
 * came, and the broker may have done what was asked or not. */
typedef void kreq_done(struct kreq *req, const void *response);

/* Embedded by its owner, the connection's until done. */
struct kreq {
    struct list link;
    const struct api_info *api;
    int16_t version;
    int32_t correlation_id;
    uint64_t sent_ns;
    kreq_done *done;
};

struct kconn {
    struct world *world;
    struct io *io;
    struct io_sock sock;
    bool is_open;
    const char *host;
    uint16_t port;
    uint64_t timeout_ns;
    struct io_timer timer; /* runs while requests wait */
    int32_t correlation_next;
    struct list waiting; /* requests without an answer, oldest first */
    struct buf out, in;
    size_t out_done;
    struct arena arena; /* of the response that is handed out */
};

void kconn_init(struct kconn *conn, struct world *world, struct io *io, const char *host,
                uint16_t port);
void kconn_deinit(struct kconn *conn);
/* False where the message cannot be encoded or the connection cannot be made: done is not called
 * then. */
bool kconn_send(struct kconn *conn, struct kreq *req, int16_t api_key, int16_t version,
                const void *msg, kreq_done *done) MUST_USE;
/* Bytes as they are, for what no client would send; answers to them break the connection. */
void kconn_send_raw(struct kconn *conn, struct slice bytes);
/* Breaks it: every waiting request is done without a response. */
void kconn_close(struct kconn *conn);

#endif
