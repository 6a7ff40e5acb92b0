/* The consumer protocol that classic groups embed: what a member subscribes to and has, in its
 * JoinGroup, and what it is assigned, in its SyncGroup (KIP-429, KIP-792). Topics go by name there,
 * and by id here; those that do not exist are left out.
 *
 * Pure; any thread. */
#ifndef COORD_EMBEDDED_H
#define COORD_EMBEDDED_H

#include "coord/assignment.h"
#include "coord/coord.h"
#include "wire/messages.h"

#define EMBEDDED_PROTOCOL_TYPE STR("consumer")

/* Strings point into `bytes`. ERR_MALFORMED or ERR_TRUNCATED: it is none. */
enum err embedded_read_subscription(struct slice bytes, struct arena *arena,
                                    struct consumer_protocol_subscription *out) MUST_USE;
/* What a member was assigned, each partition with the epoch. ERR_UNSUPPORTED: its assignor says
 * more than that; ERR_MALFORMED or ERR_TRUNCATED: it is none. */
enum err embedded_read_assignment(const struct coord_call *call, struct slice bytes, int32_t epoch,
                                  struct assignment *out) MUST_USE;
/* What a member says that it has. */
enum err embedded_read_owned(const struct coord_call *call,
                             const struct consumer_protocol_subscription *subscription,
                             struct assignment *out) MUST_USE;
/* In the version of the member's subscription; into the arena. */
enum err embedded_write_assignment(const struct coord_call *call, struct arena *arena,
                                   const struct assignment *assignment, struct slice subscription,
                                   struct slice *out) MUST_USE;

#endif
