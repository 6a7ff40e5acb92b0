/* Counting connections by address. Any thread. */
#include "broker/conn_quota.h"

#include <stdlib.h>

#include "base/assert.h"

static bool has_address(const void *entry, const void *key)
{
    return address_eq(((const struct conn_address *)entry)->address, *(const struct address *)key);
}

static uint64_t hash_of(const struct conn_quota *quota, const struct address *address)
{
    return hash_slice(quota->addresses.seed, slice_of(address->bytes, sizeof(address->bytes)));
}

void conn_quota_init(struct conn_quota *quota, uint64_t seed)
{
    int failed = pthread_mutex_init(&quota->lock, NULL);
    ASSERT(failed == 0); /* a mutex without attributes needs nothing */
    map_init(&quota->addresses, seed, has_address);
}

void conn_quota_deinit(struct conn_quota *quota)
{
    ASSERT(quota->addresses.count == 0);
    map_deinit(&quota->addresses);
    pthread_mutex_destroy(&quota->lock);
}

static void lock(struct conn_quota *quota)
{
    int failed = pthread_mutex_lock(&quota->lock);
    ASSERT(failed == 0);
}

static void unlock(struct conn_quota *quota)
{
    int failed = pthread_mutex_unlock(&quota->lock);
    ASSERT(failed == 0);
}

static enum err find_or_add(struct conn_quota *quota, const struct address *address,
                            struct conn_address **out)
{
    uint64_t hash = hash_of(quota, address);
    *out = map_find(&quota->addresses, hash, address);
    if (*out)
        return ERR_OK;
    struct conn_address *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return ERR_NOMEM;
    entry->address = *address;
    enum err err = map_insert(&quota->addresses, hash, entry);
    if (err != ERR_OK)
        free(entry);
    else
        *out = entry;
    return err;
}

enum err conn_quota_take(struct conn_quota *quota, struct address address, int32_t max,
                         struct conn_address **out)
{
    if (max <= 0)
        return ERR_LIMIT;
    lock(quota);
    enum err err = find_or_add(quota, &address, out);
    if (err == ERR_OK && (*out)->count >= (uint32_t)max)
        err = ERR_LIMIT;
    if (err == ERR_OK)
        (*out)->count++;
    unlock(quota);
    return err;
}

void conn_quota_give(struct conn_quota *quota, struct conn_address *address)
{
    lock(quota);
    ASSERT(address->count > 0);
    if (--address->count == 0) {
        void *removed =
            map_remove(&quota->addresses, hash_of(quota, &address->address), &address->address);
        ASSERT(removed == address);
        free(address);
    }
    unlock(quota);
}
