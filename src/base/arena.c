/* Bump allocation in a chain of blocks; see arena.h for the contract. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

struct arena_block {
    struct arena_block *next;
    size_t size; /* bytes of data[] */
    max_align_t data[];
};

#define ARENA_BLOCK_MIN ((size_t)4096)
#define ARENA_BLOCK_MAX ((size_t)1 << 20)
#define ARENA_ALIGN     _Alignof(max_align_t)

void arena_init(struct arena *arena, size_t limit)
{
    *arena = (struct arena){.limit = limit};
}

void arena_deinit(struct arena *arena)
{
    while (arena->head) {
        struct arena_block *next = arena->head->next;
        free(arena->head);
        arena->head = next;
    }
    *arena = (struct arena){.limit = arena->limit};
}

void arena_reset(struct arena *arena)
{
    while (arena->head && arena->head->next) {
        struct arena_block *next = arena->head->next;
        arena->total -= arena->head->size;
        free(arena->head);
        arena->head = next;
    }
    if (arena->head && arena->head->size > ARENA_BLOCK_MAX) {
        free(arena->head);
        arena->head = NULL;
        arena->total = 0;
    }
    arena->used = 0;
}

static enum err arena_grow(struct arena *arena, size_t size)
{
    size_t block_size = arena->head ? arena->head->size * 2 : ARENA_BLOCK_MIN;
    if (block_size > ARENA_BLOCK_MAX)
        block_size = ARENA_BLOCK_MAX;
    if (block_size < size)
        block_size = size;
    if (arena->total > arena->limit || block_size > arena->limit - arena->total) {
        block_size = size;
        if (arena->total > arena->limit || block_size > arena->limit - arena->total)
            return ERR_LIMIT;
    }
    struct arena_block *block = malloc(sizeof(*block) + block_size);
    if (!block)
        return ERR_NOMEM;
    block->next = arena->head;
    block->size = block_size;
    arena->head = block;
    arena->total += block_size;
    arena->used = 0;
    return ERR_OK;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    if (size == 0)
        size = ARENA_ALIGN;
    if (!arena->head || arena->head->size - arena->used < size) {
        if (arena_grow(arena, size) != ERR_OK)
            return NULL;
    }
    ASSERT(arena->head->size - arena->used >= size);
    void *at = (char *)arena->head->data + arena->used;
    arena->used += size;
    return at;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *at = arena_alloc(arena, size);
    if (at)
        memset(at, 0, size);
    return at;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return arena_zalloc(arena, bytes);
}

struct str arena_str(struct arena *arena, struct str s)
{
    if (!s.data)
        return STR_NULL;
    char *copy = arena_alloc(arena, s.len + 1);
    if (!copy)
        return STR_NULL;
    memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return (struct str){copy, s.len};
}

struct slice arena_slice(struct arena *arena, struct slice s)
{
    if (!s.data)
        return SLICE_NULL;
    uint8_t *copy = arena_alloc(arena, s.len);
    if (!copy)
        return SLICE_NULL;
    memcpy(copy, s.data, s.len);
    return (struct slice){copy, s.len};
}

struct str arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    struct str s = STR_NULL;
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (text) {
        vsnprintf(text, (size_t)len + 1, fmt, again);
        s = (struct str){text, (size_t)len};
    }
    va_end(again);
    return s;
}
