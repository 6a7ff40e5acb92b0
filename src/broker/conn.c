/* Connections: framing, order of replies, back pressure.
 *
 * A frame is a big-endian i32 length and that many bytes. Bytes are received into a pooled buffer
 * that grows with what has arrived, not with what a length claims; complete frames are handed on as
 * views into it, each with a reference. Reading stops while a request that must not be overtaken is
 * under way, while too many are, and while replies wait for a slow reader: so a connection costs at
 * most one frame in, one answer out, and what its pipelined requests hold.
 *
 * Runs on: the shard that accepted the connection. */
#include "broker/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "broker/config.h"
#include "broker/node.h"
#include "broker/request.h"

#define FRAME_PREFIX     sizeof(uint32_t)
#define IN_SIZE_FIRST    ((size_t)16 << 10)
#define IN_SIZE_BULK     ((size_t)256 << 10)
#define PIPELINED_MAX    64
#define WRITE_SLICES_MAX 64
#define IDLE_CHECK_MS    5000
#define ROOM_CHECK_MS    20 /* a place may become free on another shard */
#define READS_PER_TURN   4

static void conn_on_ready(struct io_sock *sock, unsigned ready);
static void idle_check(struct io_timer *timer);
static void room_check(struct io_timer *timer);
static void update_watch(struct conn *conn);

/* Callers up the stack may still look at it: the memory goes at the end of the turn. */
static void conn_bury(struct conn *conn)
{
    ASSERT(conn->is_closed && conn->request_count == 0);
    list_push_back(&conn->shard->conns_dead, &conn->link);
    shard_defer(conn->shard);
}

static void free_dead(struct shard *shard)
{
    struct list *node;
    while ((node = list_pop_front(&shard->conns_dead)) != NULL)
        free(LIST_ENTRY(node, struct conn, link));
}

void conns_init(struct shard *shard)
{
    list_init(&shard->conns);
    list_init(&shard->conns_dirty);
    list_init(&shard->conns_dead);
    io_timer_init(&shard->idle_timer, idle_check);
    io_timer_init(&shard->room_timer, room_check);
    io_timer_start(shard->io, &shard->idle_timer,
                   io_now_ns(shard->io) + IDLE_CHECK_MS * 1000000ull);
}

void conns_close_all(struct shard *shard)
{
    while (!list_is_empty(&shard->conns))
        conn_close(LIST_ENTRY(shard->conns.next, struct conn, link));
}

static void cancel(struct request *req)
{
    if (req->state != REQUEST_RUNNING || req->is_cancelled)
        return;
    req->is_cancelled = true;
    if (req->handler->cancel)
        req->handler->cancel(req);
}

void conns_drain(struct shard *shard)
{
    LIST_FOREACH_SAFE (node, &shard->conns) {
        struct conn *conn = LIST_ENTRY(node, struct conn, link);
        conn->is_draining = true;
        LIST_FOREACH_SAFE (link, &conn->requests)
            cancel(LIST_ENTRY(link, struct request, link));
        if (list_is_empty(&conn->requests))
            conn_close(conn);
        else
            update_watch(conn);
    }
}

void conns_deinit(struct shard *shard)
{
    io_timer_stop(shard->io, &shard->idle_timer);
    io_timer_stop(shard->io, &shard->room_timer);
    conns_close_all(shard);
    free_dead(shard);
}

/* --- how many --- */

/* A setting that may change while the broker runs. */
static struct str setting(const struct shard *shard, struct str key)
{
    const struct broker_config *config = shard->node->config;
    struct config_view view = {shard->image, &config->texts, config->node_id};
    enum config_source source;
    return config_broker_value(&view, config_def_find(CONFIG_SCOPE_BROKER, key), &source);
}

static void room_check(struct io_timer *timer)
{
    struct shard *shard = CONTAINER_OF(timer, struct shard, room_timer);
    listeners_watch(shard, IO_READABLE);
}

/* Takes one of max.connections. Whoever comes while there is none left waits in the system's queue,
 * as with Apache Kafka. */
static bool take_place(struct shard *shard)
{
    struct node *node = shard->node;
    size_t max = (size_t)config_value_i64(setting(shard, STR("max.connections")));
    if (atomic_fetch_add(&node->conn_count, 1) < max)
        return true;
    atomic_fetch_sub(&node->conn_count, 1);
    shard_warn(shard, RATE_REFUSED, "conn",
               "max.connections is reached: %zu; who connects now waits until another is gone",
               max);
    listeners_watch(shard, 0);
    io_timer_start(shard->io, &shard->room_timer,
                   io_now_ns(shard->io) + ROOM_CHECK_MS * 1000000ull);
    return false;
}

static void give_place_back(struct shard *shard)
{
    size_t open_before = atomic_fetch_sub(&shard->node->conn_count, 1);
    ASSERT(open_before > 0);
    if (shard->room_timer.armed) {
        io_timer_stop(shard->io, &shard->room_timer);
        listeners_watch(shard, IO_READABLE);
    }
}

/* One more of max.connections.per.ip, or of what the overrides say for the address. */
static enum err take_share(struct conn *conn)
{
    struct shard *shard = conn->shard;
    int32_t max = (int32_t)config_value_i64(setting(shard, STR("max.connections.per.ip")));
    struct address address;
    if (!address_parse(str_of(conn->peer.host), &address))
        address = (struct address){{0}}; /* not of the internet: all of those together */
    max = address_limit_of(setting(shard, STR("max.connections.per.ip.overrides")), address, max);
    enum err err = conn_quota_take(&shard->node->conn_quota, address, max, &conn->address);
    if (err == ERR_LIMIT)
        shard_warn(shard, RATE_REFUSED, "conn",
                   "%s:%u refused: this address has the %d connections that max.connections.per.ip "
                   "allows it",
                   conn->peer.host, conn->peer.port, max);
    return err;
}

void conn_open(struct shard *shard, const struct listener *listener, struct io_sock *listening)
{
    if (!take_place(shard))
        return;
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        shard_warn(shard, RATE_REFUSED, "conn", "out of memory: a connection stays unaccepted");
        give_place_back(shard);
        return;
    }
    enum err err = io_accept(shard->io, listening, &conn->sock, conn_on_ready, &conn->peer);
    if (err != ERR_OK) {
        free(conn);
        give_place_back(shard);
        return;
    }
    conn->shard = shard;
    conn->listener = listener;
    list_init(&conn->requests);
    list_init(&conn->dirty_link);
    conn->active_ms = io_now_ms(shard->io);
    list_push_back(&shard->conns, &conn->link);
    shard->metrics.counts[METRICS_CONNS_ACCEPTED]++;
    if (take_share(conn) != ERR_OK) {
        shard->metrics.counts[METRICS_CONNS_REFUSED]++;
        conn_close(conn);
        return;
    }
    io_sock_watch(shard->io, &conn->sock, IO_READABLE);
}

void conn_close(struct conn *conn)
{
    if (conn->is_closed)
        return;
    struct shard *shard = conn->shard;
    conn->is_closed = true;
    shard->metrics.counts[METRICS_CONNS_CLOSED]++;
    io_sock_close(shard->io, &conn->sock);
    list_remove(&conn->link);
    list_remove(&conn->dirty_link);
    if (conn->address)
        conn_quota_give(&shard->node->conn_quota, conn->address);
    give_place_back(shard);
    rbuf_unref(conn->in);
    conn->in = NULL;
    conn->request_count++; /* keeps the memory while its requests are told */
    LIST_FOREACH_SAFE (node, &conn->requests) {
        struct request *req = LIST_ENTRY(node, struct request, link);
        if (req->state != REQUEST_RUNNING) {
            list_remove(&req->link);
            request_release(req);
        } else {
            cancel(req);
        }
    }
    conn_release(conn);
}

void conn_release(struct conn *conn)
{
    ASSERT(conn->request_count > 0);
    if (--conn->request_count == 0 && conn->is_closed)
        conn_bury(conn);
}

/* Whether the frame's request may begin now, or must wait for those before it. */
static bool may_begin(const struct conn *conn, struct slice frame)
{
    if (list_is_empty(&conn->requests))
        return true;
    const struct request *last = LIST_ENTRY(conn->requests.prev, struct request, link);
    const struct handler *next = request_peek_handler(frame);
    return next == last->handler && next->is_pipelined && conn->request_count < PIPELINED_MAX;
}

/* A request that waits for news makes way for the one that came. */
static void yield_last(struct conn *conn)
{
    struct request *last = LIST_ENTRY(conn->requests.prev, struct request, link);
    if (last->state == REQUEST_RUNNING && last->handler->yield)
        last->handler->yield(last);
}

/* Makes room behind what was received: for the rest of the frame at hand, or for a first piece. */
static enum err make_room(struct conn *conn)
{
    struct rbuf_pool *bufs = &conn->shard->bufs;
    if (!conn->in) {
        conn->in = rbuf_take(bufs, IN_SIZE_FIRST);
        conn->in_parsed = 0;
        return conn->in ? ERR_OK : ERR_NOMEM;
    }
    struct rbuf *in = conn->in;
    size_t pending = in->len - conn->in_parsed;
    size_t want = IN_SIZE_FIRST;
    if (pending >= FRAME_PREFIX)
        want = FRAME_PREFIX + be32_load(in->data + conn->in_parsed);
    /* A claim is believed in steps: a length costs the sender as many bytes as it costs us. */
    size_t step = in->cap * 2 > IN_SIZE_BULK ? in->cap * 2 : IN_SIZE_BULK;
    if (want > step)
        want = step;
    if (in->cap - conn->in_parsed >= want && in->len < in->cap)
        return ERR_OK;
    if (in->refs == 1 && in->cap >= want) {
        memmove(in->data, in->data + conn->in_parsed, pending);
        in->len = pending;
        conn->in_parsed = 0;
        if (in->len < in->cap)
            return ERR_OK;
    }
    struct rbuf *larger = rbuf_take(bufs, want > pending ? want : pending * 2);
    if (!larger)
        return ERR_NOMEM;
    memcpy(larger->data, in->data + conn->in_parsed, pending);
    larger->len = pending;
    conn->in = larger;
    conn->in_parsed = 0;
    rbuf_unref(in);
    return ERR_OK;
}

static void close_for(struct conn *conn, enum shard_rate rate, const char *why)
{
    conn->shard->metrics.counts[METRICS_REQUESTS_REFUSED]++;
    shard_warn(conn->shard, rate, "conn", "%s:%u: closed: %s", conn->peer.host, conn->peer.port,
               why);
    conn_close(conn);
}

/* Begins the complete frames that may begin. False once the connection is closed. */
static bool parse_frames(struct conn *conn)
{
    while (conn->in && !conn->is_closed && !conn->is_ending && !conn->is_draining) {
        const uint8_t *at = conn->in->data + conn->in_parsed;
        size_t pending = conn->in->len - conn->in_parsed;
        if (pending < FRAME_PREFIX)
            break;
        uint32_t len = be32_load(at);
        char why[256];
        if (len > conn->shard->node->limits.request_bytes_max) {
            snprintf(why, sizeof(why),
                     "a frame of %d bytes; socket.request.max.bytes is %u (is the client speaking "
                     "another protocol, or TLS?)",
                     (int32_t)len, conn->shard->node->limits.request_bytes_max);
            close_for(conn, RATE_BAD_FRAME, why);
            return false;
        }
        if (pending - FRAME_PREFIX < len)
            break;
        struct slice frame = {at + FRAME_PREFIX, len};
        if (!may_begin(conn, frame)) {
            yield_last(conn);
            break;
        }
        conn->in_parsed += FRAME_PREFIX + len;
        enum err err = request_begin(conn, conn->in, frame, why, sizeof(why));
        if (conn->is_closed)
            return false;
        if (err != ERR_OK) {
            close_for(conn, RATE_BAD_REQUEST, err == ERR_MALFORMED ? why : err_text(err));
            return false;
        }
    }
    if (conn->in && conn->in_parsed == conn->in->len) {
        rbuf_unref(conn->in);
        conn->in = NULL;
    }
    return !conn->is_closed;
}

/* Whether a whole frame is here that had to wait. */
static bool has_waiting_frame(const struct conn *conn)
{
    if (!conn->in || conn->in->len - conn->in_parsed < FRAME_PREFIX)
        return false;
    uint32_t len = be32_load(conn->in->data + conn->in_parsed);
    return conn->in->len - conn->in_parsed - FRAME_PREFIX >= len;
}

static void update_watch(struct conn *conn)
{
    unsigned watch = 0;
    if (!conn->is_ending && !conn->is_draining && !has_waiting_frame(conn))
        watch |= IO_READABLE;
    if (conn->is_write_blocked)
        watch |= IO_WRITABLE;
    if (watch != conn->sock.watched)
        io_sock_watch(conn->shard->io, &conn->sock, watch);
}

static void conn_read(struct conn *conn)
{
    struct io *io = conn->shard->io;
    for (int i = 0; i < READS_PER_TURN && !has_waiting_frame(conn); i++) {
        if (make_room(conn) != ERR_OK) {
            close_for(conn, RATE_REFUSED, "no buffer memory is left for its request");
            return;
        }
        size_t room = conn->in->cap - conn->in->len, moved = 0;
        enum err err = io_sock_read(io, &conn->sock, conn->in->data + conn->in->len, room, &moved);
        if (err == ERR_AGAIN) {
            if (conn->in->len == conn->in_parsed) {
                rbuf_unref(conn->in);
                conn->in = NULL;
            }
            break;
        }
        if (err != ERR_OK) {
            conn_close(conn);
            return;
        }
        conn->in->len += moved;
        if (!parse_frames(conn))
            return;
        if (moved < room)
            break; /* the socket is empty, most likely: the loop will tell */
    }
    update_watch(conn);
}

/* Collects what is left to send of one reply, interleaving its parts; how many slices. */
static size_t gather(const struct request *req, struct slice *slices, size_t room)
{
    size_t count = 0, skip = req->sent, out_at = 0;
    for (size_t i = 0; i <= req->part_count && count < room; i++) {
        size_t out_end = i < req->part_count ? req->parts[i].at : req->out.len;
        struct slice pieces[2] = {{req->out.data + out_at, out_end - out_at}, SLICE_NULL};
        if (i < req->part_count)
            pieces[1] = req->parts[i].bytes;
        for (int p = 0; p < 2 && count < room; p++) {
            if (skip >= pieces[p].len) {
                skip -= pieces[p].len;
                continue;
            }
            slices[count++] = (struct slice){pieces[p].data + skip, pieces[p].len - skip};
            skip = 0;
        }
        out_at = out_end;
    }
    return count;
}

static size_t reply_size(const struct request *req)
{
    size_t size = req->out.len;
    for (size_t i = 0; i < req->part_count; i++)
        size += req->parts[i].bytes.len;
    return size;
}

/* Drops what is sent, and ended requests that have nothing to send, from the front. */
static void advance(struct conn *conn, size_t moved)
{
    while (!list_is_empty(&conn->requests)) {
        struct request *req = LIST_ENTRY(conn->requests.next, struct request, link);
        if (req->state == REQUEST_RUNNING)
            break;
        if (req->state == REQUEST_REPLY) {
            size_t left = reply_size(req) - req->sent;
            if (moved < left) {
                req->sent += moved;
                break;
            }
            moved -= left;
        } else if (req->state == REQUEST_CLOSE) {
            conn->is_ending = true;
            break;
        }
        list_remove(&req->link);
        request_release(req);
    }
}

static void conn_flush(struct conn *conn)
{
    advance(conn, 0);
    for (;;) {
        struct slice slices[WRITE_SLICES_MAX];
        size_t count = 0, total = 0, moved = 0;
        LIST_FOREACH (node, &conn->requests) {
            struct request *req = LIST_ENTRY(node, struct request, link);
            if (req->state == REQUEST_SILENT)
                continue;
            if (req->state != REQUEST_REPLY || count == WRITE_SLICES_MAX)
                break;
            count += gather(req, slices + count, WRITE_SLICES_MAX - count);
        }
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++)
            total += slices[i].len;
        enum err err = io_sock_write(conn->shard->io, &conn->sock, slices, count, &moved);
        if (err == ERR_OK)
            advance(conn, moved);
        conn->is_write_blocked = err == ERR_AGAIN || (err == ERR_OK && moved < total);
        if (err != ERR_OK && err != ERR_AGAIN) {
            conn_close(conn);
            return;
        }
        if (conn->is_write_blocked)
            break;
    }
    bool is_done = conn->is_ending || (conn->is_draining && list_is_empty(&conn->requests));
    if (is_done && !conn->is_write_blocked) {
        conn_close(conn);
        return;
    }
    if (parse_frames(conn))
        update_watch(conn);
}

void conns_flush(struct shard *shard)
{
    /* A flush may make others dirty again: those wait for the next turn. */
    struct list now;
    list_init(&now);
    list_splice(&now, &shard->conns_dirty);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL)
        conn_flush(LIST_ENTRY(node, struct conn, dirty_link));
    free_dead(shard);
}

static void conn_on_ready(struct io_sock *sock, unsigned ready)
{
    struct conn *conn = CONTAINER_OF(sock, struct conn, sock);
    struct shard *shard = conn->shard;
    conn->active_ms = io_now_ms(shard->io);
    list_remove(&conn->link);
    list_push_back(&shard->conns, &conn->link);
    if (ready & IO_WRITABLE) {
        conn->is_write_blocked = false;
        conn_flush(conn);
        if (conn->is_closed)
            return;
    }
    if (ready & IO_READABLE)
        conn_read(conn);
}

void conn_on_request_end(struct conn *conn)
{
    if (conn->is_closed || conn->is_write_blocked)
        return;
    if (!list_is_linked(&conn->dirty_link))
        list_push_back(&conn->shard->conns_dirty, &conn->dirty_link);
    shard_defer(conn->shard);
}

static void idle_check(struct io_timer *timer)
{
    struct shard *shard = CONTAINER_OF(timer, struct shard, idle_timer);
    uint64_t now = io_now_ms(shard->io);
    while (!list_is_empty(&shard->conns)) {
        struct conn *conn = LIST_ENTRY(shard->conns.next, struct conn, link);
        if (now - conn->active_ms < shard->node->limits.conn_idle_ms)
            break;
        conn_close(conn);
    }
    io_timer_start(shard->io, timer, io_now_ns(shard->io) + IDLE_CHECK_MS * 1000000ull);
}
