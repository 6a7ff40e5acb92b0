/* See kconn.h. A frame is an i32 size and that many bytes: header, then message. Answers come in
 * the order of the requests; one that does not is a bug of the broker's and ends the run. */
#include "sim/kconn.h"

#include "base/assert.h"
#include "sim/model.h"
#include "wire/header.h"

#define TIMEOUT_NS      UINT64_C(15000000000)
#define FRAME_BYTES_MAX (64 << 20)
#define READ_BYTES      16384

static void on_sock(struct io_sock *sock, unsigned ready);
static void on_timer(struct io_timer *timer);

void kconn_init(struct kconn *conn, struct world *world, struct io *io, const char *host,
                uint16_t port)
{
    *conn = (struct kconn){.world = world, .io = io, .host = host, .port = port};
    conn->timeout_ns = TIMEOUT_NS;
    list_init(&conn->waiting);
    buf_init(&conn->out, BUF_NO_LIMIT);
    buf_init(&conn->in, BUF_NO_LIMIT);
    arena_init(&conn->arena, ARENA_NO_LIMIT);
    io_timer_init(&conn->timer, on_timer);
}

void kconn_deinit(struct kconn *conn)
{
    kconn_close(conn);
    buf_deinit(&conn->out);
    buf_deinit(&conn->in);
    arena_deinit(&conn->arena);
}

void kconn_close(struct kconn *conn)
{
    if (conn->is_open)
        io_sock_close(conn->io, &conn->sock);
    conn->is_open = false;
    io_timer_stop(conn->io, &conn->timer);
    buf_reset(&conn->out);
    buf_reset(&conn->in);
    conn->out_done = 0;
    struct list lost;
    list_init(&lost);
    list_splice(&lost, &conn->waiting);
    struct list *node;
    while ((node = list_pop_front(&lost))) {
        struct kreq *req = LIST_ENTRY(node, struct kreq, link);
        req->done(req, NULL);
    }
}

static void on_timer(struct io_timer *timer)
{
    struct kconn *conn = CONTAINER_OF(timer, struct kconn, timer);
    world_say(conn->world, "client: no answer for %llu s, closing",
              (unsigned long long)(conn->timeout_ns / 1000000000));
    kconn_close(conn);
}

/* For the oldest request that waits. */
static void timer_set(struct kconn *conn)
{
    if (list_is_empty(&conn->waiting)) {
        io_timer_stop(conn->io, &conn->timer);
        return;
    }
    const struct kreq *oldest = LIST_ENTRY(conn->waiting.next, struct kreq, link);
    io_timer_start(conn->io, &conn->timer, oldest->sent_ns + conn->timeout_ns);
}

static bool ensure_open(struct kconn *conn)
{
    if (conn->is_open)
        return true;
    if (io_connect(conn->io, &conn->sock, conn->host, conn->port, on_sock) != ERR_OK)
        return false;
    conn->is_open = true;
    io_sock_watch(conn->io, &conn->sock, IO_READABLE | IO_WRITABLE);
    return true;
}

bool kconn_send(struct kconn *conn, struct kreq *req, int16_t api_key, int16_t version,
                const void *msg, kreq_done *done)
{
    const struct api_info *api = api_find(api_key);
    ASSERT(api && codec_has_version(api->request, version));
    if (!ensure_open(conn))
        return false;
    size_t start = conn->out.len;
    struct request_header header = {api_key, version, conn->correlation_next++, STR("sim")};
    buf_put_be32(&conn->out, 0);
    request_header_encode(api, &header, &conn->out);
    if (codec_encode(api->request, version, msg, &conn->out, NULL) != ERR_OK) {
        conn->out.len = start;
        return false;
    }
    be32_store(conn->out.data + start, (uint32_t)(conn->out.len - start - 4));
    *req = (struct kreq){.api = api,
                         .version = version,
                         .correlation_id = header.correlation_id,
                         .sent_ns = io_now_ns(conn->io),
                         .done = done};
    list_push_back(&conn->waiting, &req->link);
    timer_set(conn);
    io_sock_watch(conn->io, &conn->sock, IO_READABLE | IO_WRITABLE);
    return true;
}

void kconn_send_raw(struct kconn *conn, struct slice bytes)
{
    if (!ensure_open(conn))
        return;
    buf_put(&conn->out, bytes.data, bytes.len);
    io_sock_watch(conn->io, &conn->sock, IO_READABLE | IO_WRITABLE);
}

/* False when the connection is gone. */
static bool flush(struct kconn *conn)
{
    while (conn->out_done < conn->out.len) {
        struct slice rest = {conn->out.data + conn->out_done, conn->out.len - conn->out_done};
        size_t moved;
        enum err err = io_sock_write(conn->io, &conn->sock, &rest, 1, &moved);
        if (err == ERR_AGAIN)
            return true;
        if (err != ERR_OK)
            return false;
        conn->out_done += moved;
    }
    buf_reset(&conn->out);
    conn->out_done = 0;
    io_sock_watch(conn->io, &conn->sock, IO_READABLE);
    return true;
}

static void on_frame(struct kconn *conn, struct slice frame)
{
    struct world *world = conn->world;
    struct list *node = list_pop_front(&conn->waiting);
    if (!node) {
        model_fail(world, "a response came that nobody waits for");
        return;
    }
    struct kreq *req = LIST_ENTRY(node, struct kreq, link);
    int32_t correlation_id;
    size_t used, body_used;
    if (response_header_decode(req->api, req->version, frame, &correlation_id, &used) != ERR_OK ||
        correlation_id != req->correlation_id)
        model_fail(world, "%s v%d: the response's header is wrong or not in order", req->api->name,
                   req->version);
    void *response = arena_zalloc(&conn->arena, req->api->response->root->size);
    ASSERT(response);
    struct codec_error why = {""};
    enum err err = codec_decode(req->api->response, req->version,
                                slice_of(frame.data + used, frame.len - used), &body_used,
                                &conn->arena, response, &why);
    if (err != ERR_OK || used + body_used != frame.len)
        model_fail(world, "%s v%d: the response cannot be read: %s", req->api->name, req->version,
                   err == ERR_OK ? "bytes are left" : why.text);
    timer_set(conn);
    req->done(req, response);
    arena_reset(&conn->arena);
}

/* Hands out whole frames. A callback may close the connection and open it again: what was read
 * before is then gone from conn->in. */
static void take_frames(struct kconn *conn)
{
    while (conn->is_open && conn->in.len >= 4) {
        int32_t size = (int32_t)be32_load(conn->in.data);
        if (size < 4 || size > FRAME_BYTES_MAX)
            model_fail(conn->world, "a response of %d bytes", size);
        size_t whole = (size_t)size + 4;
        if (conn->in.len < whole)
            return;
        struct buf frame = conn->in;
        buf_init(&conn->in, BUF_NO_LIMIT);
        buf_put(&conn->in, frame.data + whole, frame.len - whole);
        on_frame(conn, slice_of(frame.data + 4, whole - 4));
        buf_deinit(&frame);
    }
}

static void on_sock(struct io_sock *sock, unsigned ready)
{
    struct kconn *conn = CONTAINER_OF(sock, struct kconn, sock);
    if (ready & IO_WRITABLE && !flush(conn)) {
        kconn_close(conn);
        return;
    }
    if (!(ready & IO_READABLE))
        return;
    size_t moved;
    bool room = buf_reserve(&conn->in, READ_BYTES);
    ASSERT(room);
    enum err err = io_sock_read(conn->io, sock, conn->in.data + conn->in.len, READ_BYTES, &moved);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        kconn_close(conn);
        return;
    }
    conn->in.len += moved;
    take_frames(conn);
}
