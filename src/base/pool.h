/* Objects of one size and buffers of a few sizes, used again instead of freed.
 *
 * First touch of fresh memory costs more than copying into warm memory, and a pool's cap is where
 * growth meets a configured limit. Owned by one thread; reference counts are not atomic. Under
 * AddressSanitizer idle memory is poisoned, so that use after release is still seen. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* Objects of one size, in blocks that are freed with the pool only. */
struct pool {
    size_t object_size;
    size_t count_max;   /* objects that may be out at once */
    size_t block_count; /* objects in each block */
    void *free;         /* chain of idle objects, the last released first */
    void *blocks;       /* chain of blocks */
    size_t idle;
    size_t out;
    size_t out_peak;
};

void pool_init(struct pool *pool, size_t object_size, size_t count_max);
/* Every object must be back. */
void pool_deinit(struct pool *pool);
/* Undefined contents; NULL at the cap or out of memory. */
void *pool_take(struct pool *pool) MUST_USE;
void pool_give(struct pool *pool, void *object);

/* A buffer with a count of holders; the last rbuf_unref returns it to its pool. */
struct rbuf {
    struct rbuf_pool *pool;
    struct rbuf *next; /* while idle */
    uint32_t refs;
    uint32_t size_class;
    size_t cap;
    size_t len; /* the holders' business */
    uint8_t *data;
};

#define RBUF_SIZE_MIN    ((size_t)1 << 10)
#define RBUF_SIZE_MAX    ((size_t)1 << 22) /* larger ones are not kept when idle */
#define RBUF_CLASS_COUNT 13

struct rbuf_pool {
    struct rbuf *idle[RBUF_CLASS_COUNT]; /* by power of two */
    size_t out_bytes;
    size_t out_bytes_max; /* cap on what is out at once */
    size_t idle_bytes;
    size_t idle_bytes_max; /* what is kept for reuse */
};

void rbuf_pool_init(struct rbuf_pool *pool, size_t out_bytes_max, size_t idle_bytes_max);
/* Every buffer must be back. */
void rbuf_pool_deinit(struct rbuf_pool *pool);
/* One reference, len 0, cap >= size, undefined contents. NULL at the cap or out of memory. */
struct rbuf *rbuf_take(struct rbuf_pool *pool, size_t size) MUST_USE;
void rbuf_ref(struct rbuf *rbuf);
/* Harmless on NULL. */
void rbuf_unref(struct rbuf *rbuf);

static inline struct slice rbuf_slice(const struct rbuf *rbuf)
{
    return (struct slice){rbuf->data, rbuf->len};
}

#endif
