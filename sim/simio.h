/* io.h in memory: what world.c, simio.c (files, loop) and simnet.c (sockets) share. */
#ifndef SIM_SIMIO_H
#define SIM_SIMIO_H

#include "io/internal.h"
#include "sim/world.h"

struct sim_end;

struct sim_io {
    struct io io;
    struct world *world;
    struct world_node *node;
    uint32_t index;
    struct world_event turn; /* the next turn of the loop */
    struct world_event wake;
    bool wake_pending;
    bool has_untold_failure; /* of a flush: the program had no turn to act on it yet */
    struct list ops;         /* in flight: struct sim_op */
    struct list done;        /* their callbacks are due: struct sim_op */
    struct list socks;
    struct io_sock **ready; /* being handed out by a turn; NULL: closed since */
    size_t ready_count, ready_cap;
};

static inline struct sim_io *sim_of(struct io *io)
{
    return CONTAINER_OF(io, struct sim_io, io);
}

enum trace_kind {
    TRACE_TURN = 1,
    TRACE_OP,
    TRACE_CALL,
    TRACE_NET,
    TRACE_WAKE,
    TRACE_CRASH,
    TRACE_START,
    TRACE_WORK
};

struct io *sim_io_create(struct world_node *node, uint32_t index);
/* Ends everything that is under way: what was in flight to the disk arrived in part or not. */
void sim_io_crash(struct io *io);
void sim_io_free(struct io *io);
/* A turn at that time at the latest. */
void sim_io_kick(struct sim_io *sim, uint64_t at_ns);

/* simnet.c */
enum err net_listen(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                    int backlog, bool shared, struct io_addr *bound) MUST_USE;
enum err net_accept(struct io *io, struct io_sock *listener, struct io_sock *sock,
                    struct io_addr *peer) MUST_USE;
enum err net_connect(struct io *io, struct io_sock *sock, const char *host, uint16_t port) MUST_USE;
void net_watch(struct io *io, struct io_sock *sock, unsigned ready);
enum err net_read(struct io *io, struct io_sock *sock, void *data, size_t len,
                  size_t *moved) MUST_USE;
enum err net_write(struct io *io, struct io_sock *sock, const struct slice *slices, size_t count,
                   size_t *moved) MUST_USE;
void net_close(struct io *io, struct io_sock *sock);
uint32_t net_trip_us(const struct io_sock *sock);
int net_release(struct io *io, struct io_sock *sock);
void net_adopt(struct io *io, struct io_sock *sock, int fd);
/* enum io_ready bits that it watches and that are so now. */
unsigned net_ready(const struct io_sock *sock, const struct sim_io *sim);
void net_crash(struct sim_io *sim);
void net_free(struct world *world);

#endif
