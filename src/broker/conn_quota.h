/* How many connections each client address has, over all shards.
 *
 * The one lock of the broker: taken when a connection comes and when it goes, never by a request.
 * There is an entry for each address that has a connection, so their number is bounded by that of
 * the connections. */
#ifndef BROKER_CONN_QUOTA_H
#define BROKER_CONN_QUOTA_H

#include <pthread.h>

#include "base/map.h"
#include "meta/address_limits.h"

struct conn_quota {
    pthread_mutex_t lock;
    struct map addresses;
};

struct conn_address {
    struct address address;
    uint32_t count; /* of its connections */
};

void conn_quota_init(struct conn_quota *quota, uint64_t seed);
void conn_quota_deinit(struct conn_quota *quota);
/* Any thread. One more connection of the address; ERR_LIMIT when it has `max` already. Lends the
 * entry until conn_quota_give. */
enum err conn_quota_take(struct conn_quota *quota, struct address address, int32_t max,
                         struct conn_address **out) MUST_USE;
void conn_quota_give(struct conn_quota *quota, struct conn_address *address);

#endif
