/* Messages between shards and the end of a turn.
 *
 * Runs on: the shard itself; shard_post on the sender. Ring slots never block: what finds its ring
 * full waits in the sender's overflow queue, in order, and is moved at the end of each turn. A
 * receiver that drained a full ring wakes the sender, so that an overflow always moves on. */
#include "broker/shard.h"

#include <assert.h>
#include <string.h>

#include "base/assert.h"
#include "broker/conn.h"
#include "broker/fetch_session.h"
#include "broker/node.h"
#include "broker/request.h"
#include "repl/partition.h"

#define RING_SLOTS 1024

/* What one compressed batch may unpack to before it is refused. */
#define SCRATCH_BYTES_MAX ((size_t)128 << 20)

static void queue_init(struct shard_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

static void queue_push(struct shard_queue *queue, struct shard_msg *msg)
{
    msg->next = NULL;
    *queue->tail = msg;
    queue->tail = &msg->next;
}

static struct shard_msg *queue_pop(struct shard_queue *queue)
{
    struct shard_msg *msg = queue->head;
    if (msg) {
        queue->head = msg->next;
        if (!queue->head)
            queue->tail = &queue->head;
    }
    return msg;
}

static void overflow_flush(struct shard *from, struct shard *to)
{
    struct shard_queue *overflow = &from->overflow[to->index];
    if (!overflow->head)
        return;
    while (overflow->head && ring_push(&to->rings_in[from->index], overflow->head))
        queue_pop(overflow);
    io_wake(to->io);
}

static void ring_drain(struct shard *shard, struct shard *sender)
{
    struct shard_msg *msg;
    size_t drained = 0;
    while ((msg = ring_pop(&shard->rings_in[sender->index])) != NULL) {
        msg->fn(shard, msg);
        drained++;
    }
    if (drained >= RING_SLOTS)
        io_wake(sender->io); /* its overflow may be waiting for room */
}

static void shard_on_wake(void *arg)
{
    struct shard *shard = arg;
    shard->wake_pending = false;
    struct node *node = shard->node;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (i != shard->index)
            ring_drain(shard, &node->shards[i]);
    }
    /* What they post again waits for the next turn. */
    struct shard_queue now = shard->local;
    if (!now.head)
        now.tail = &now.head;
    queue_init(&shard->local);
    struct shard_msg *msg;
    while ((msg = queue_pop(&now)) != NULL)
        msg->fn(shard, msg);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (i != shard->index)
            overflow_flush(shard, &node->shards[i]);
    }
    conns_flush(shard);
}

enum err shard_init(struct shard *shard, struct node *node, struct io *io, uint32_t index)
{
    ASSERT(index < SHARD_COUNT_MAX);
    memset(shard, 0, sizeof(*shard));
    shard->node = node;
    shard->io = io;
    shard->index = index;
    queue_init(&shard->local);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        queue_init(&shard->overflow[i]);
        if (i != index)
            TRY(ring_init(&shard->rings_in[i], RING_SLOTS));
    }
    rbuf_pool_init(&shard->bufs, node->limits.buffer_bytes_max, node->limits.buffer_bytes_kept);
    pool_init(&shard->request_pool, sizeof(struct request), node->limits.request_count_max);
    uint64_t seed = io_random(io);
    partitions_init(&shard->partitions, seed);
    fetch_sessions_init(shard, seed);
    conns_init(shard);
    compressors_init(&shard->compressors);
    buf_init(&shard->scratch, SCRATCH_BYTES_MAX);
    TRY(metrics_init(&shard->metrics));
    io_on_wake(io, shard_on_wake, shard);
    return ERR_OK;
}

void shard_deinit(struct shard *shard)
{
    conns_deinit(shard);
    fetch_sessions_deinit(shard);
    partitions_deinit(&shard->partitions);
    metrics_deinit(&shard->metrics);
    compressors_deinit(&shard->compressors);
    buf_deinit(&shard->scratch);
    pool_deinit(&shard->request_pool);
    rbuf_pool_deinit(&shard->bufs);
    for (uint32_t i = 0; i < shard->node->shard_count; i++) {
        if (i != shard->index)
            ring_deinit(&shard->rings_in[i]);
    }
}

struct returned_rbuf {
    struct shard_msg msg;
    struct rbuf *rbuf;
};
static_assert(sizeof(struct returned_rbuf) <= RBUF_SIZE_MIN, "it lies in the buffer that returns");

static void on_returned_rbuf(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    rbuf_unref(CONTAINER_OF(msg, struct returned_rbuf, msg)->rbuf);
}

void shard_return_rbuf(struct shard *from, struct shard *owner, struct rbuf *rbuf)
{
    if (from == owner) {
        rbuf_unref(rbuf);
        return;
    }
    /* The bytes are done with: they carry the message home. */
    struct returned_rbuf *returned = (struct returned_rbuf *)(void *)rbuf->data;
    returned->rbuf = rbuf;
    returned->msg.fn = on_returned_rbuf;
    shard_post(from, owner, &returned->msg);
}

void shard_defer(struct shard *shard)
{
    if (!shard->wake_pending) {
        shard->wake_pending = true;
        io_wake(shard->io);
    }
}

void shard_post(struct shard *from, struct shard *to, struct shard_msg *msg)
{
    ASSERT(msg->fn);
    if (from == to) {
        queue_push(&from->local, msg);
        shard_defer(from);
        return;
    }
    struct shard_queue *overflow = &from->overflow[to->index];
    if (overflow->head || !ring_push(&to->rings_in[from->index], msg))
        queue_push(overflow, msg);
    io_wake(to->io);
}
