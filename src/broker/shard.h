/* A shard: one thread with its own loop, connections, timers, memory and partitions.
 *
 * Nothing of a shard is touched by another thread. Shards talk by messages: shard_post carries one
 * over a single-producer single-consumer ring, and its function runs on the receiving shard. The
 * sender lends the message until then. The simulator runs the same code with several shards on one
 * thread. */
#ifndef BROKER_SHARD_H
#define BROKER_SHARD_H

#include "base/buf.h"
#include "base/diag.h"
#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/ring.h"
#include "broker/metrics.h"
#include "io/io.h"
#include "wire/compress.h"

#define SHARD_COUNT_MAX 64

struct node;
struct image;
struct shard;
struct shard_msg;

typedef void shard_msg_fn(struct shard *shard, struct shard_msg *msg);

struct shard_msg {
    struct shard_msg *next;
    shard_msg_fn *fn;
};

struct shard_queue {
    struct shard_msg *head, **tail;
};

/* Kinds of trouble that a client can cause at will, each with its own rate limit. */
enum shard_rate { RATE_BAD_FRAME, RATE_BAD_REQUEST, RATE_BAD_BATCH, RATE_REFUSED, RATE_COUNT };

struct shard {
    struct node *node;
    struct io *io;
    uint32_t index;
    bool wake_pending; /* a wake of our own is under way */

    struct ring rings_in[SHARD_COUNT_MAX];        /* [sender]; this shard pops */
    struct shard_queue overflow[SHARD_COUNT_MAX]; /* [receiver]; what its ring had no room for */
    struct shard_queue local;                     /* posted to itself */

    struct rbuf_pool bufs;
    struct pool request_pool;
    struct list conns;       /* every open connection, least recently active first */
    struct list conns_dirty; /* with replies to send at the end of the turn */
    struct list conns_dead;  /* closed and unused, freed at the end of the turn */
    struct io_timer idle_timer;
    struct io_timer room_timer; /* armed: max.connections is reached, the listeners rest */
    uint64_t drain_until_ms;    /* of a stop: then connections close unanswered */

    bool has_closed;                 /* its partitions, for a stop: no image opens them again */
    struct map partitions;           /* owned partitions, by topic id and index */
    struct map fetch_sessions;       /* by id */
    struct list fetch_sessions_used; /* least recently used first */
    struct image *image;             /* the newest metadata image applied here; one reference */

    struct compressors compressors;
    struct buf scratch; /* for unpacking one batch at a time */

    struct diag_rate rates[RATE_COUNT];
    struct metrics metrics;
};

enum err shard_init(struct shard *shard, struct node *node, struct io *io, uint32_t index) MUST_USE;
void shard_deinit(struct shard *shard);

/* From `from`'s thread: runs msg->fn on `to`, in the order of posting. To itself: later in this
 * turn or in the next. */
void shard_post(struct shard *from, struct shard *to, struct shard_msg *msg);

/* Gives back a reference on a buffer of the owner's pool, whose bytes nobody reads any more. */
void shard_return_rbuf(struct shard *from, struct shard *owner, struct rbuf *rbuf);

/* Makes the end of this turn come: messages posted to itself run, replies are sent. */
void shard_defer(struct shard *shard);

/* Says the line unless its kind was said too often of late. */
#define shard_warn(shard, rate, area, ...)                                                \
    do {                                                                                  \
        uint64_t dropped_ = 0;                                                            \
        if (diag_rate_allows(&(shard)->rates[rate], io_now_ms((shard)->io), &dropped_)) { \
            diag_warn(area, __VA_ARGS__);                                                 \
            if (dropped_ > 0)                                                             \
                diag_warn(area, "%llu more lines like this were held back",               \
                          (unsigned long long)dropped_);                                  \
        }                                                                                 \
    } while (0)

#endif
