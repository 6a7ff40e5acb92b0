/* A broker's life: open, start, serve, stop.
 *
 * - node_create: folders locked, formatted or checked; checkpoint and metadata log read.
 * - node_start: controller and broker registered; every shard applies the first image, which opens
 *   its partitions; then every shard listens: SERVING.
 * - node_stop: listeners end, and each connection once its requests are answered; every shard
 *   closes its partitions; then shard 0 closes the metadata log, writes the checkpoints and the
 *   marks of a clean stop.
 *
 * Runs on: shard 0, but for the messages to the other shards. */
#include "broker/node.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/hash.h"
#include "broker/conn.h"

#define MIB ((size_t)1 << 20)

/* How long a stop waits for peers to read their last answers. */
#define DRAIN_MS_MAX 2000

static void set_limits(struct node *node)
{
    const struct broker_config *config = node->config;
    uint32_t shards = node->shard_count;
    node->limits = (struct node_limits){
        .buffer_bytes_max = 4096 * MIB / shards,
        .buffer_bytes_kept = 32 * MIB / shards,
        .request_count_max = (size_t)1 << 20,
        .fetch_session_count_max = (size_t)config->max_incremental_fetch_session_cache_slots,
        .request_bytes_max = (uint32_t)config->socket_request_max_bytes,
        .conn_idle_ms = (uint64_t)config->connections_max_idle_ms,
    };
}

uint32_t node_owner(const struct node *node, struct uuid topic_id, int32_t index)
{
    /* Neighbouring partitions of a topic go to neighbouring slots, so that they spread. */
    uint64_t slot = (hash_uuid(0, topic_id) + (uint32_t)index) % NODE_SLOTS;
    return atomic_load_explicit(&node->owners[slot], memory_order_relaxed);
}

enum err node_create(struct node *node, const struct broker_config *config, struct io **ios,
                     uint32_t shard_count, struct arena *arena, struct meta_error *why)
{
    ASSERT(shard_count >= 1 && shard_count <= SHARD_COUNT_MAX);
    node->config = config;
    node->shard_count = shard_count;
    node->state = NODE_STARTING;
    node->http = NULL;
    node->lag = NULL;
    set_limits(node);
    conn_quota_init(&node->conn_quota, io_random(ios[0]));
    for (size_t i = 0; i < NODE_SLOTS; i++)
        atomic_init(&node->owners[i], (uint8_t)(i % shard_count));
    node->listener_count = shard_count * config->listener_count;
    node->shards = calloc(shard_count, sizeof(*node->shards));
    node->listeners = calloc(node->listener_count, sizeof(*node->listeners));
    node->messages = calloc(shard_count, sizeof(*node->messages));
    if (!node->shards || !node->listeners || !node->messages)
        return ERR_NOMEM;
    struct rng rng;
    rng_init(&rng, io_random(ios[0]));
    TRY(storage_open(&node->storage, ios[0], config, STR_NULL, &rng, why));
    for (uint32_t i = 0; i < shard_count; i++)
        TRY(shard_init(&node->shards[i], node, ios[i], i));
    TRY(hosting_open(&node->hosting, node, why, arena));
    TRY(coordinators_open(node));
    TRY(metadata_open(&node->metadata, node, arena, why));
    return hosting_begin(&node->hosting, why, arena);
}

/* Sends each shard its message; node->pending counts the answers. */
static void tell_shards(struct node *node, shard_msg_fn *fn)
{
    node->pending = node->shard_count;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        node->messages[i].fn = fn;
        shard_post(&node->shards[0], &node->shards[i], &node->messages[i]);
    }
}

static void answer_shard_0(struct shard *shard, shard_msg_fn *fn)
{
    struct shard_msg *msg = &shard->node->messages[shard->index];
    msg->fn = fn;
    shard_post(shard, &shard->node->shards[0], msg);
}

/* --- listening --- */

static void on_listening(struct shard *shard, struct shard_msg *msg)
{
    struct node *node = shard->node;
    (void)msg;
    if (--node->pending > 0)
        return;
    if (node->stop_is_due) {
        node->state = NODE_SERVING;
        node_stop(node);
        return;
    }
    node->state = NODE_SERVING;
    lag_start(node->lag);
    node->on_serving(node);
}

static void listen_on_shard(struct shard *shard, struct shard_msg *msg)
{
    struct node *node = shard->node;
    const struct broker_config *config = node->config;
    (void)msg;
    hosting_shard_start(shard);
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct listener_config *own = &config->listeners[i];
        if (own->is_controller)
            continue;
        struct listener *listener = &node->listeners[shard->index * config->listener_count + i];
        enum err err = node->stop_is_due ? ERR_OK : listener_open(listener, shard, own, true);
        if (err != ERR_OK)
            node_fail(node, err, "a listener could not be opened");
    }
    answer_shard_0(shard, on_listening);
}

/* The shards share their addresses, and the system would share them with another broker, too:
 * whoever is there already shows when the address is asked for alone. */
static enum err check_addresses(struct node *node)
{
    const struct broker_config *config = node->config;
    for (size_t i = 0; node->shard_count > 1 && i < config->listener_count; i++) {
        if (config->listeners[i].is_controller)
            continue;
        TRY(listener_open(&node->listeners[i], &node->shards[0], &config->listeners[i], false));
        listener_close(&node->listeners[i]);
    }
    return ERR_OK;
}

void node_on_first_image(struct node *node)
{
    folder_wal_forget_gone(&node->hosting, node->shards[0].image);
    enum err err = check_addresses(node);
    if (err != ERR_OK)
        node_fail(node, err, "a listener could not be opened");
    tell_shards(node, listen_on_shard);
}

void node_start(struct node *node)
{
    enum err err = http_open(&node->http, node);
    if (err == ERR_OK)
        err = lag_open(&node->lag, node);
    if (err != ERR_OK)
        node_fail(node, err, "metrics cannot be served");
    metadata_start(&node->metadata);
}

/* --- stopping --- */

static void finish(struct node *node)
{
    enum err err = metadata_close(&node->metadata);
    if (err == ERR_OK)
        err = hosting_finish(&node->hosting, node->metadata.broker_epoch);
    int failure = atomic_load(&node->failure);
    if (failure != ERR_OK)
        err = (enum err)failure;
    storage_close(&node->storage, node->shards[0].io);
    node->state = NODE_STOPPED;
    node->on_stopped(node, err);
}

static void wait_for_metadata(struct shard *shard, struct shard_msg *msg)
{
    struct node *node = shard->node;
    if (metadata_is_idle(&node->metadata) && http_is_idle(node->http) && lag_is_idle(node->lag)) {
        http_close(node->http);
        lag_close(node->lag);
        finish(node);
        return;
    }
    msg->fn = wait_for_metadata;
    shard_post(shard, shard, msg);
}

static void on_shard_stopped(struct shard *shard, struct shard_msg *msg)
{
    struct node *node = shard->node;
    ASSERT(shard->index == 0 && node->pending > 0);
    if (--node->pending > 0)
        return;
    http_drain(node->http);
    wait_for_metadata(shard, msg);
}

static void on_partitions_closed(struct shard *shard)
{
    answer_shard_0(shard, on_shard_stopped);
}

static void close_partitions(struct shard *shard, struct shard_msg *msg)
{
    (void)msg;
    shard->has_closed = true;
    coordinators_stop(shard);
    hosting_shard_stop(shard, on_partitions_closed);
}

static void on_requests_ended(struct shard *shard, struct shard_msg *msg)
{
    struct node *node = shard->node;
    (void)msg;
    ASSERT(shard->index == 0 && node->pending > 0);
    if (--node->pending == 0)
        tell_shards(node, close_partitions);
}

/* What was appended is answered, so that its producer need not ask again; a peer that does not read
 * is not waited for. Requests may be with any shard: its partitions wait for them. */
static void wait_for_requests(struct shard *shard, struct shard_msg *msg)
{
    if (io_now_ms(shard->io) >= shard->drain_until_ms)
        conns_close_all(shard);
    if (list_is_empty(&shard->conns) && shard->request_pool.out == 0) {
        answer_shard_0(shard, on_requests_ended);
        return;
    }
    msg->fn = wait_for_requests;
    shard_post(shard, shard, msg);
}

static void stop_shard(struct shard *shard, struct shard_msg *msg)
{
    struct node *node = shard->node;
    size_t per_shard = node->config->listener_count;
    for (size_t i = 0; i < per_shard; i++)
        listener_close(&node->listeners[shard->index * per_shard + i]);
    shard->drain_until_ms = io_now_ms(shard->io) + DRAIN_MS_MAX;
    conns_drain(shard);
    wait_for_requests(shard, msg);
}

void node_stop(struct node *node)
{
    if (node->state == NODE_STARTING)
        node->stop_is_due = true; /* once it listens */
    if (node->state != NODE_SERVING)
        return;
    node->state = NODE_STOPPING;
    lag_drain(node->lag);
    tell_shards(node, stop_shard);
}

static void on_failure(struct shard *shard, struct shard_msg *msg)
{
    (void)msg;
    node_stop(shard->node);
}

void node_fail(struct node *node, enum err err, const char *what)
{
    diag_error("node", "%s: %s: the broker stops", what, err_text(err));
    int none = ERR_OK;
    if (atomic_compare_exchange_strong(&node->failure, &none, (int)err)) {
        node->failure_msg.fn = on_failure;
        node->stop_is_due = true;
        if (node->state != NODE_STARTING)
            shard_post(&node->shards[0], &node->shards[0], &node->failure_msg);
    }
}

void node_destroy(struct node *node)
{
    coordinators_close(node);
    for (uint32_t i = 0; i < node->shard_count; i++)
        shard_deinit(&node->shards[i]);
    hosting_close(&node->hosting);
    free(node->shards);
    free(node->listeners);
    free(node->messages);
    conn_quota_deinit(&node->conn_quota);
}

void node_abandon(struct node *node)
{
    for (uint32_t i = 0; i < node->shard_count; i++) {
        conns_close_all(&node->shards[i]);
        coordinators_abandon(&node->shards[i]);
        hosting_shard_abandon(&node->shards[i]);
    }
    metadata_abandon(&node->metadata);
    storage_close(&node->storage, node->shards[0].io);
    node_destroy(node);
}
