/* A ConsumerGroupHeartbeat while it is done: what consumer_heartbeat.c, which decides it, and
 * consumer_news.c, which may let its answer wait, tell each other. */
#ifndef COORD_CONSUMER_BEAT_H
#define COORD_CONSUMER_BEAT_H

#include "coord/consumer.h"

struct beat {
    struct coord *coord;
    const struct coord_call *call;
    struct coord_consumer_heartbeat *in;
    struct group *group;            /* NULL: not yet */
    struct consumer_member *member; /* NULL: not yet */
    bool joins;
    struct str member_id;
};

/* --- consumer_heartbeat.c --- */

/* What the member had when it spoke; the answer tells what differs. */
enum err beat_had(struct beat *b, struct assignment *before) MUST_USE;
enum err beat_answer(struct beat *b, const struct assignment *before) MUST_USE;

/* --- consumer_news.c --- */

/* The client says that it has what it was told: how long the way is. */
void beat_measure_trip(const struct beat *b);
/* How late it is, by the interval that it was told. */
void beat_measure_lateness(const struct beat *b);
/* An earlier one of the member's that waits was given up by the client. */
void beat_forget_held(struct beat *b);
/* The answer is there, and says nothing new: it may as well come later. Only where the client has
 * done all that it was told, so that it has nothing to say that would wait behind it; or where it
 * just joined, and gets nothing yet. */
bool beat_may_hold(const struct beat *b);
/* `told_ms`: the interval that the client was last told when it sent this. */
void beat_hold(const struct beat *b, int32_t told_ms);
/* The member left: for a while librdkafka's get none of what it had. */
void beat_begin_quiet(const struct beat *b);

#endif
