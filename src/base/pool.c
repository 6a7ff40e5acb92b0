/* Object pool and buffer pool; see pool.h.
 *
 * An idle object's first bytes link it to the next. A buffer's header and data are one allocation,
 * the data beginning at a cache line; its size class is the power of two that holds it. */
#include "base/pool.h"

#include <stdlib.h>

#include "base/assert.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(at, len)   ASAN_POISON_MEMORY_REGION(at, len)
#define UNPOISON(at, len) ASAN_UNPOISON_MEMORY_REGION(at, len)
#else
#define POISON(at, len)   ((void)(at), (void)(len))
#define UNPOISON(at, len) ((void)(at), (void)(len))
#endif

#define POOL_BLOCK_BYTES ((size_t)16 << 10)
#define CACHE_LINE       ((size_t)64)

/* What an idle object or a block begins with. */
struct link {
    struct link *next;
};

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

void pool_init(struct pool *pool, size_t object_size, size_t count_max)
{
    ASSERT(object_size > 0);
    size_t size = round_up(object_size, _Alignof(max_align_t));
    size_t block_count = POOL_BLOCK_BYTES / size;
    *pool = (struct pool){
        .object_size = size,
        .count_max = count_max,
        .block_count = block_count > 0 ? block_count : 1,
    };
}

void pool_deinit(struct pool *pool)
{
    ASSERT(pool->out == 0);
    for (struct link *block = pool->blocks; block;) {
        struct link *next = block->next;
        UNPOISON(block, CACHE_LINE + pool->block_count * pool->object_size);
        free(block);
        block = next;
    }
    pool->blocks = pool->free = NULL;
    pool->idle = 0;
}

static void idle_push(struct pool *pool, void *object)
{
    struct link *link = object;
    link->next = pool->free;
    pool->free = link;
    pool->idle++;
    POISON(object, pool->object_size);
}

static enum err pool_grow(struct pool *pool)
{
    char *block = malloc(CACHE_LINE + pool->block_count * pool->object_size);
    if (!block)
        return ERR_NOMEM;
    ((struct link *)(void *)block)->next = pool->blocks;
    pool->blocks = block;
    for (size_t i = pool->block_count; i-- > 0;)
        idle_push(pool, block + CACHE_LINE + i * pool->object_size);
    return ERR_OK;
}

void *pool_take(struct pool *pool)
{
    if (pool->out >= pool->count_max)
        return NULL;
    if (!pool->free && pool_grow(pool) != ERR_OK)
        return NULL;
    struct link *link = pool->free;
    UNPOISON(link, pool->object_size);
    pool->free = link->next;
    pool->idle--;
    pool->out++;
    if (pool->out > pool->out_peak)
        pool->out_peak = pool->out;
    return link;
}

void pool_give(struct pool *pool, void *object)
{
    ASSERT(object);
    ASSERT(pool->out > 0);
    pool->out--;
    idle_push(pool, object);
}

static_assert(RBUF_SIZE_MIN << (RBUF_CLASS_COUNT - 1) == RBUF_SIZE_MAX, "a class for each power");
static_assert(sizeof(struct rbuf) <= CACHE_LINE, "the header takes one cache line");

void rbuf_pool_init(struct rbuf_pool *pool, size_t out_bytes_max, size_t idle_bytes_max)
{
    *pool = (struct rbuf_pool){.out_bytes_max = out_bytes_max, .idle_bytes_max = idle_bytes_max};
}

static void rbuf_free(struct rbuf *rbuf)
{
    UNPOISON(rbuf->data, rbuf->cap);
    free(rbuf);
}

void rbuf_pool_deinit(struct rbuf_pool *pool)
{
    ASSERT(pool->out_bytes == 0);
    for (size_t i = 0; i < RBUF_CLASS_COUNT; i++) {
        while (pool->idle[i]) {
            struct rbuf *rbuf = pool->idle[i];
            pool->idle[i] = rbuf->next;
            pool->idle_bytes -= rbuf->cap;
            rbuf_free(rbuf);
        }
    }
    ASSERT(pool->idle_bytes == 0);
}

/* RBUF_CLASS_COUNT for sizes that no class holds. */
static uint32_t size_class_of(size_t size)
{
    uint32_t size_class = 0;
    while (size_class < RBUF_CLASS_COUNT && RBUF_SIZE_MIN << size_class < size)
        size_class++;
    return size_class;
}

static struct rbuf *rbuf_alloc(size_t cap, uint32_t size_class)
{
    if (cap > SIZE_MAX / 2)
        return NULL;
    struct rbuf *rbuf = aligned_alloc(CACHE_LINE, CACHE_LINE + round_up(cap, CACHE_LINE));
    if (rbuf) {
        *rbuf = (struct rbuf){
            .size_class = size_class, .cap = cap, .data = (uint8_t *)rbuf + CACHE_LINE};
    }
    return rbuf;
}

struct rbuf *rbuf_take(struct rbuf_pool *pool, size_t size)
{
    uint32_t size_class = size_class_of(size);
    size_t cap = size_class < RBUF_CLASS_COUNT ? RBUF_SIZE_MIN << size_class : size;
    if (pool->out_bytes > pool->out_bytes_max || cap > pool->out_bytes_max - pool->out_bytes)
        return NULL;
    struct rbuf *rbuf = size_class < RBUF_CLASS_COUNT ? pool->idle[size_class] : NULL;
    if (rbuf) {
        pool->idle[size_class] = rbuf->next;
        pool->idle_bytes -= cap;
        UNPOISON(rbuf->data, cap);
    } else {
        rbuf = rbuf_alloc(cap, size_class);
        if (!rbuf)
            return NULL;
    }
    ASSERT(rbuf->refs == 0);
    ASSERT(rbuf->cap == cap);
    rbuf->pool = pool;
    rbuf->next = NULL;
    rbuf->refs = 1;
    rbuf->len = 0;
    pool->out_bytes += cap;
    return rbuf;
}

void rbuf_ref(struct rbuf *rbuf)
{
    ASSERT(rbuf->refs > 0);
    ASSERT(rbuf->refs < UINT32_MAX);
    rbuf->refs++;
}

void rbuf_unref(struct rbuf *rbuf)
{
    if (!rbuf)
        return;
    ASSERT(rbuf->refs > 0);
    if (--rbuf->refs > 0)
        return;
    struct rbuf_pool *pool = rbuf->pool;
    ASSERT(pool->out_bytes >= rbuf->cap);
    pool->out_bytes -= rbuf->cap;
    if (rbuf->size_class == RBUF_CLASS_COUNT ||
        pool->idle_bytes + rbuf->cap > pool->idle_bytes_max) {
        rbuf_free(rbuf);
        return;
    }
    rbuf->next = pool->idle[rbuf->size_class];
    pool->idle[rbuf->size_class] = rbuf;
    pool->idle_bytes += rbuf->cap;
    POISON(rbuf->data, rbuf->cap);
}
