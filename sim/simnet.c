/* The simulated net: streams between nodes, as io.h's sockets.
 *
 * A connection is two ends. What one writes travels as pieces, each an event of the world, and
 * comes in order; an end holds at most faults.window_bytes that it has not read, so that a slow
 * reader stops its writer. A stream ends by FIN (a close with nothing unread) or RST (a close with
 * unread bytes, a fault, a crash). After a crash the other side may learn of it late.
 *
 * Ends are numbered for the whole world, so that a use after close is seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "sim/simio.h"

#define PORT_FIRST    30000
#define CRASH_NEWS_US 2000000
#define BACKLOG_MAX   128

enum piece_kind { PIECE_DATA, PIECE_FIN, PIECE_RST };

struct piece {
    struct list link;
    struct world_event event;
    struct sim_end *to;
    enum piece_kind kind;
    bool arrived;
    size_t len, taken;
    uint8_t data[];
};

struct sim_end {
    struct list link; /* world->ends */
    int id;           /* the descriptor */
    struct world *world;
    struct sim_io *io;       /* NULL: not accepted yet, or between two shards */
    struct world_node *node; /* NULL: not accepted yet */
    struct sim_end *peer;    /* NULL: closed, crashed, or not connected yet */
    bool is_listener, is_connected, is_reset;
    uint16_t port;
    char host[8];               /* the node that listens, or that it connects to */
    struct list pieces;         /* on their way to this end, or waiting to be read */
    uint64_t bytes_held;        /* of those */
    uint64_t arrival_ns;        /* of the last piece: they come in order */
    struct world_event connect; /* of a client: the next step of its connecting */
    bool syn_arrived;
    struct list backlog; /* of a listener: ends by `backlog_link` */
    struct list backlog_link;
    size_t backlog_count;
    uint16_t peer_port;
    char peer_host[8];
};

static struct sim_end *end_of(const struct io_sock *sock, struct world *world)
{
    LIST_FOREACH (node, &world->ends) {
        struct sim_end *end = LIST_ENTRY(node, struct sim_end, link);
        if (end->id == sock->fd)
            return end;
    }
    UNREACHABLE();
}

static struct sim_end *end_new(struct world *world, struct sim_io *io)
{
    struct sim_end *end = calloc(1, sizeof(*end));
    ASSERT(end);
    end->id = world->end_next++;
    end->world = world;
    end->io = io;
    list_init(&end->pieces);
    list_init(&end->backlog);
    list_init(&end->backlog_link);
    list_push_front(&world->ends, &end->link); /* the young are asked for most */
    return end;
}

static void kick(struct sim_end *end)
{
    if (end->io)
        sim_io_kick(end->io, end->world->now_ns);
}

/* --- pieces --- */

static void piece_free(struct piece *piece)
{
    piece->to->bytes_held -= piece->len - piece->taken;
    world_unschedule(piece->to->world, &piece->event);
    list_remove(&piece->link);
    free(piece);
}

static void pieces_drop(struct sim_end *end)
{
    while (!list_is_empty(&end->pieces))
        piece_free(LIST_ENTRY(end->pieces.next, struct piece, link));
}

static void end_reset(struct sim_end *end)
{
    pieces_drop(end);
    end->is_reset = true;
    kick(end);
}

static void on_piece(struct world_event *event)
{
    struct piece *piece = CONTAINER_OF(event, struct piece, event);
    struct sim_end *end = piece->to;
    world_trace(end->world, TRACE_NET, (uint64_t)end->id, (piece->len << 2) | piece->kind);
    piece->arrived = true;
    if (piece->kind == PIECE_RST)
        end_reset(end);
    else
        kick(end);
}

static struct piece *piece_send(struct sim_end *to, enum piece_kind kind, size_t len,
                                uint64_t delay_ns)
{
    struct world *world = to->world;
    struct piece *piece = calloc(1, sizeof(*piece) + len);
    ASSERT(piece);
    piece->event.fn = on_piece;
    piece->to = to;
    piece->kind = kind;
    piece->len = len;
    to->bytes_held += len;
    uint64_t at_ns = world->now_ns + delay_ns;
    to->arrival_ns = at_ns > to->arrival_ns ? at_ns : to->arrival_ns;
    list_push_back(&to->pieces, &piece->link);
    world_schedule(world, &piece->event, to->arrival_ns);
    return piece;
}

/* The end goes; its peer hears of it. */
static void end_close(struct sim_end *end, enum piece_kind last, uint64_t delay_ns)
{
    if (end->peer) {
        piece_send(end->peer, last, 0, delay_ns);
        end->peer->peer = NULL;
        end->peer = NULL;
    }
    world_unschedule(end->world, &end->connect);
    pieces_drop(end);
    list_remove(&end->backlog_link);
    list_remove(&end->link);
    free(end);
}

static void backlog_drop(struct sim_end *listener)
{
    struct list *node;
    while ((node = list_pop_front(&listener->backlog)))
        end_close(LIST_ENTRY(node, struct sim_end, backlog_link), PIECE_RST, 0);
    listener->backlog_count = 0;
}

/* --- listening --- */

static bool port_is_taken(struct sim_io *sim, uint16_t port, bool shared)
{
    LIST_FOREACH (node, &sim->world->ends) {
        const struct sim_end *end = LIST_ENTRY(node, struct sim_end, link);
        if (end->is_listener && end->port == port && end->node == sim->node &&
            !(shared && end->io != sim))
            return true;
    }
    return false;
}

static void sock_own(struct sim_io *sim, struct io_sock *sock, struct sim_end *end)
{
    sock->fd = end->id;
    sock->watched = 0;
    end->io = sim;
    end->node = sim->node;
    list_push_back(&sim->socks, &sock->link);
}

enum err net_listen(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                    int backlog, bool shared, struct io_addr *bound)
{
    (void)backlog, (void)host; /* a node has one address */
    struct sim_io *sim = sim_of(io);
    if (port != 0 && port_is_taken(sim, port, shared))
        return ERR_BUSY;
    struct sim_end *end = end_new(sim->world, sim);
    end->is_listener = true;
    end->port = port ? port : (uint16_t)(PORT_FIRST + end->id);
    snprintf(end->host, sizeof(end->host), "%s", sim->node->host);
    *bound = (struct io_addr){.port = end->port};
    snprintf(bound->host, sizeof(bound->host), "%s", sim->node->host);
    sock_own(sim, sock, end);
    return ERR_OK;
}

enum err net_accept(struct io *io, struct io_sock *listener, struct io_sock *sock,
                    struct io_addr *peer)
{
    struct sim_io *sim = sim_of(io);
    struct sim_end *at = end_of(listener, sim->world);
    struct list *node = list_pop_front(&at->backlog);
    if (!node)
        return ERR_AGAIN;
    at->backlog_count--;
    struct sim_end *end = LIST_ENTRY(node, struct sim_end, backlog_link);
    *peer = (struct io_addr){.port = end->peer_port};
    snprintf(peer->host, sizeof(peer->host), "%s", end->peer_host);
    sock_own(sim, sock, end);
    return ERR_OK;
}

/* --- connecting: SYN, then the answer to it --- */

/* One of the listeners on that address, as the system spreads connections over shards. */
static struct sim_end *find_listener(struct world *world, const char *host, uint16_t port)
{
    struct sim_end *found = NULL;
    uint64_t seen = 0;
    LIST_FOREACH (node, &world->ends) {
        struct sim_end *end = LIST_ENTRY(node, struct sim_end, link);
        if (end->is_listener && end->port == port && strcmp(end->host, host) == 0 &&
            rng_below(&world->rng, ++seen) == 0)
            found = end;
    }
    return found && found->backlog_count < BACKLOG_MAX ? found : NULL;
}

static void on_syn(struct sim_end *client)
{
    struct world *world = client->world;
    struct sim_end *listener = find_listener(world, client->host, client->port);
    client->syn_arrived = true;
    uint64_t back_ns = world->now_ns + world_delay_ns(world, &world->faults.net);
    if (listener) {
        struct sim_end *server = end_new(world, NULL);
        server->peer = client;
        client->peer = server;
        server->is_connected = true;
        server->peer_port = (uint16_t)(PORT_FIRST + client->id);
        snprintf(server->peer_host, sizeof(server->peer_host), "%s", client->node->host);
        client->arrival_ns = back_ns;
        list_push_back(&listener->backlog, &server->backlog_link);
        listener->backlog_count++;
        kick(listener);
    }
    world_schedule(world, &client->connect, back_ns);
}

static void on_connect_step(struct world_event *event)
{
    struct sim_end *client = CONTAINER_OF(event, struct sim_end, connect);
    world_trace(client->world, TRACE_NET, (uint64_t)client->id, client->peer != NULL);
    if (!client->syn_arrived) {
        on_syn(client);
    } else if (client->peer || !list_is_empty(&client->pieces)) {
        client->is_connected = true;
        kick(client);
    } else {
        end_reset(client);
    }
}

enum err net_connect(struct io *io, struct io_sock *sock, const char *host, uint16_t port)
{
    struct sim_io *sim = sim_of(io);
    struct sim_end *end = end_new(sim->world, sim);
    end->port = port;
    snprintf(end->host, sizeof(end->host), "%s", host);
    end->connect.fn = on_connect_step;
    sock_own(sim, sock, end);
    world_schedule(sim->world, &end->connect,
                   sim->world->now_ns + world_delay_ns(sim->world, &sim->world->faults.net));
    return ERR_OK;
}

/* --- moving bytes --- */

static struct piece *first_arrived(const struct sim_end *end)
{
    if (list_is_empty(&end->pieces))
        return NULL;
    struct piece *piece = LIST_ENTRY(end->pieces.next, struct piece, link);
    return piece->arrived ? piece : NULL;
}

static bool has_room(const struct sim_end *end)
{
    return !end->peer || end->peer->bytes_held < end->world->faults.window_bytes;
}

unsigned net_ready(const struct io_sock *sock, const struct sim_io *sim)
{
    if (!sock->watched)
        return 0;
    const struct sim_end *end = end_of(sock, sim->world);
    unsigned ready = 0;
    if (end->is_listener)
        ready = list_is_empty(&end->backlog) ? 0 : IO_READABLE;
    else if (end->is_reset)
        ready = IO_READABLE | IO_WRITABLE;
    else if (end->is_connected)
        ready = (first_arrived(end) ? (unsigned)IO_READABLE : 0) |
                (has_room(end) ? (unsigned)IO_WRITABLE : 0);
    return ready & sock->watched;
}

void net_watch(struct io *io, struct io_sock *sock, unsigned ready)
{
    sock->watched = ready;
    if (ready)
        sim_io_kick(sim_of(io), sim_of(io)->world->now_ns);
}

static size_t some_of(struct world *world, size_t len)
{
    if (len > 1 && world_chance(world, world->faults.short_move))
        return 1 + (size_t)rng_below(&world->rng, len);
    return len;
}

enum err net_read(struct io *io, struct io_sock *sock, void *data, size_t len, size_t *moved)
{
    struct sim_io *sim = sim_of(io);
    struct sim_end *end = end_of(sock, sim->world);
    if (end->is_reset)
        return ERR_CLOSED;
    len = some_of(sim->world, len);
    struct piece *piece = NULL;
    while (*moved < len && (piece = first_arrived(end)) && piece->kind == PIECE_DATA) {
        size_t left = piece->len - piece->taken;
        size_t take = left < len - *moved ? left : len - *moved;
        memcpy((uint8_t *)data + *moved, piece->data + piece->taken, take);
        piece->taken += take;
        end->bytes_held -= take;
        *moved += take;
        if (piece->taken == piece->len)
            piece_free(piece);
    }
    if (*moved > 0) {
        world_trace(sim->world, TRACE_NET, (uint64_t)end->id, world_hash(data, *moved));
        if (end->peer)
            kick(end->peer); /* there is room again */
        return ERR_OK;
    }
    return piece && piece->kind == PIECE_FIN ? ERR_CLOSED : ERR_AGAIN;
}

static void piece_fill(struct piece *piece, const struct slice *slices, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count && at < piece->len; i++) {
        size_t take = slices[i].len < piece->len - at ? slices[i].len : piece->len - at;
        if (take > 0)
            memcpy(piece->data + at, slices[i].data, take);
        at += take;
    }
    ASSERT(at == piece->len);
}

enum err net_write(struct io *io, struct io_sock *sock, const struct slice *slices, size_t count,
                   size_t *moved)
{
    struct sim_io *sim = sim_of(io);
    struct world *world = sim->world;
    struct sim_end *end = end_of(sock, world);
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += slices[i].len;
    ASSERT(total > 0);
    if (end->is_reset)
        return ERR_CLOSED;
    if (!end->is_connected || !has_room(end))
        return ERR_AGAIN;
    if (world_chance(world, world->faults.net_reset)) {
        world_say(world, "%s: connection %d is reset", sim->node->host, end->id);
        if (end->peer)
            piece_send(end->peer, PIECE_RST, 0, world_delay_ns(world, &world->faults.net));
        end_reset(end);
        return ERR_CLOSED;
    }
    if (!end->peer) {
        /* Nobody is there; the news of it is on its way, or has come. */
        const struct piece *piece = first_arrived(end);
        *moved = total;
        return piece && piece->kind == PIECE_FIN ? ERR_CLOSED : ERR_OK;
    }
    uint64_t room = world->faults.window_bytes - end->peer->bytes_held;
    size_t len = some_of(world, total < room ? total : (size_t)room);
    struct piece *piece =
        piece_send(end->peer, PIECE_DATA, len, world_delay_ns(world, &world->faults.net));
    piece_fill(piece, slices, count);
    *moved = len;
    return ERR_OK;
}

/* --- the end of a socket --- */

static void sock_disown(struct sim_io *sim, struct io_sock *sock)
{
    for (size_t i = 0; i < sim->ready_count; i++) {
        if (sim->ready[i] == sock)
            sim->ready[i] = NULL;
    }
    list_remove(&sock->link);
    sock->fd = -1;
    sock->watched = 0;
}

void net_close(struct io *io, struct io_sock *sock)
{
    struct sim_io *sim = sim_of(io);
    struct sim_end *end = end_of(sock, sim->world);
    sock_disown(sim, sock);
    if (end->is_listener)
        backlog_drop(end);
    end_close(end, end->bytes_held > 0 ? PIECE_RST : PIECE_FIN,
              world_delay_ns(sim->world, &sim->world->faults.net));
}

/* Nobody measures it: what works without knowing works with it. */
uint32_t net_trip_us(const struct io_sock *sock)
{
    (void)sock;
    return 0;
}

int net_release(struct io *io, struct io_sock *sock)
{
    struct sim_io *sim = sim_of(io);
    struct sim_end *end = end_of(sock, sim->world);
    sock_disown(sim, sock);
    end->io = NULL;
    return end->id;
}

void net_adopt(struct io *io, struct io_sock *sock, int fd)
{
    struct sim_io *sim = sim_of(io);
    sock->fd = fd;
    sock_own(sim, sock, end_of(sock, sim->world));
}

static struct sim_end *find_end_of(struct sim_io *sim)
{
    LIST_FOREACH (node, &sim->world->ends) {
        struct sim_end *end = LIST_ENTRY(node, struct sim_end, link);
        if (end->node == sim->node && (end->io == sim || !end->io))
            return end;
    }
    return NULL;
}

void net_crash(struct sim_io *sim)
{
    struct sim_end *end;
    while ((end = find_end_of(sim))) {
        if (end->is_listener)
            backlog_drop(end);
        end_close(end, PIECE_RST, rng_below(&sim->world->rng, CRASH_NEWS_US) * 1000);
    }
    list_init(&sim->socks);
}

void net_free(struct world *world)
{
    struct list *node;
    while ((node = list_pop_front(&world->ends))) {
        struct sim_end *end = LIST_ENTRY(node, struct sim_end, link);
        pieces_drop(end);
        free(end);
    }
}
