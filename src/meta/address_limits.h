/* Limits for single addresses: the value of max.connections.per.ip.overrides,
 * `ADDRESS:COUNT,ADDRESS:COUNT...`. Pure; any thread. */
#ifndef META_ADDRESS_LIMITS_H
#define META_ADDRESS_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* An IPv6 address; one of IPv4 as ::ffff:a.b.c.d, so that a socket for both meets it once. */
struct address {
    uint8_t bytes[16];
};

/* From numbers, as "10.0.0.1" or "fe80::1%eth0" (the zone does not count); no names. */
bool address_parse(struct str text, struct address *out);
static inline bool address_eq(struct address a, struct address b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

struct address_limit {
    struct address address;
    int32_t count; /* none, if it is not above 0 */
};

/* The next limit of the list. ERR_NOENT at the end; ERR_MALFORMED, with *element the part that is
 * none. */
enum err address_limit_next(struct str *list, struct address_limit *limit,
                            struct str *element) MUST_USE;
/* What the list says of an address; `otherwise` if it says nothing. */
int32_t address_limit_of(struct str list, struct address address, int32_t otherwise);

#endif
