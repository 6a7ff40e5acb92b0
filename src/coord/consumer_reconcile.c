/* What a member has, and what comes next. Pure, of values only.
 *
 *   STABLE      has all of the target, at the target's epoch
 *   UNREVOKED   must give something back; until it says that it did, it stays at its epoch
 *   UNRELEASED  is at the target's epoch and waits for what others have not given back yet
 *
 * A partition is given to a member only when nobody has it, so it never has two owners; and it
 * counts as had until the member's own heartbeat, with the list of what it has, shows that it has
 * let go. */
#include "base/plant.h"
#include "coord/consumer.h"

struct next {
    struct assignment_builder kept;
    struct assignment_builder pending;
    struct assignment_builder given;
    bool waits;
};

/* Whether the member has any of these; it does, as long as it does not say. */
static bool still_has(const struct consumer_reconcile *in, const struct assignment *pending)
{
    if (!in->owned)
        return !PLANTED(COORD_FREED_EARLY);
    for (size_t t = 0; t < in->owned->count; t++) {
        const struct topic_partitions *owned = &in->owned->topics[t];
        const struct topic_partitions *topic = assignment_topic(pending, owned->topic_id);
        for (uint32_t i = 0; topic && i < owned->count; i++)
            if (topic_partitions_find(topic, owned->partitions[i]) >= 0)
                return true;
    }
    return false;
}

/* One topic: what is kept, what goes, and what comes. Either may be NULL. */
static enum err next_topic(const struct consumer_reconcile *in, struct next *next,
                           struct uuid topic_id, const struct topic_partitions *has,
                           const struct topic_partitions *target)
{
    if (target && !in->subscribes(in->arg, topic_id))
        target = NULL;
    for (uint32_t i = 0; has && i < has->count; i++) {
        bool stays = topic_partitions_find(target, has->partitions[i]) >= 0;
        TRY(assignment_builder_add(stays ? &next->kept : &next->pending, topic_id,
                                   has->partitions[i], has->epochs ? has->epochs[i] : 0));
    }
    const struct topic_partitions *leaving = assignment_topic(&in->current.pending, topic_id);
    for (uint32_t i = 0; target && i < target->count; i++) {
        int32_t partition = target->partitions[i];
        if (topic_partitions_find(has, partition) >= 0)
            continue;
        if (in->is_taken(in->arg, topic_id, partition) && !PLANTED(COORD_TAKEN_TWICE) &&
            topic_partitions_find(leaving, partition) < 0)
            next->waits = true;
        else
            TRY(assignment_builder_add(&next->given, topic_id, partition, in->target_epoch));
    }
    return ERR_OK;
}

static enum err next_topics(const struct consumer_reconcile *in, struct next *next)
{
    const struct assignment *has = &in->current.assigned;
    const struct assignment *target = in->target;
    size_t h = 0;
    size_t t = 0;
    while (h < has->count || t < target->count) {
        int order = h == has->count ? 1
                    : t == target->count
                        ? -1
                        : uuid_compare(has->topics[h].topic_id, target->topics[t].topic_id);
        const struct topic_partitions *from = order <= 0 ? &has->topics[h++] : NULL;
        const struct topic_partitions *to = order >= 0 ? &target->topics[t++] : NULL;
        TRY(next_topic(in, next, from ? from->topic_id : to->topic_id, from, to));
    }
    return ERR_OK;
}

/* On towards the target. A member that has to give something back stays at `epoch`. */
static enum err advance(const struct consumer_reconcile *in, int32_t epoch,
                        struct consumer_current *out)
{
    struct next next = {.waits = false};
    assignment_builder_init(&next.kept, in->arena, true);
    assignment_builder_init(&next.pending, in->arena, true);
    assignment_builder_init(&next.given, in->arena, true);
    TRY(next_topics(in, &next));
    *out = (struct consumer_current){.previous_epoch = in->current.epoch};
    TRY(assignment_builder_finish(&next.pending, &out->pending));
    if (out->pending.count > 0 && still_has(in, &out->pending)) {
        out->epoch = epoch;
        out->state = CONSUMER_UNREVOKED;
        return assignment_builder_finish(&next.kept, &out->assigned);
    }
    out->pending = assignment_empty;
    out->epoch = in->target_epoch;
    out->state = next.waits ? CONSUMER_UNRELEASED : CONSUMER_STABLE;
    for (size_t i = 0; i < next.given.count; i++)
        TRY(assignment_builder_add(&next.kept, next.given.entries[i].topic_id,
                                   next.given.entries[i].partition, in->target_epoch));
    return assignment_builder_finish(&next.kept, &out->assigned);
}

/* The target is not for the new subscription yet: what it does not subscribe to any more goes at
 * once, all else waits for the next target. */
static enum err drop_unsubscribed(const struct consumer_reconcile *in, struct consumer_current *out)
{
    const struct assignment *has = &in->current.assigned;
    struct assignment_builder kept;
    struct assignment_builder pending;
    assignment_builder_init(&kept, in->arena, true);
    assignment_builder_init(&pending, in->arena, true);
    for (size_t t = 0; t < in->current.pending.count; t++)
        TRY(assignment_builder_add_topic(&pending, &in->current.pending.topics[t]));
    bool drops = false;
    for (size_t t = 0; t < has->count; t++) {
        bool stays = in->subscribes(in->arg, has->topics[t].topic_id);
        drops |= !stays;
        TRY(assignment_builder_add_topic(stays ? &kept : &pending, &has->topics[t]));
    }
    *out = in->current;
    if (!drops)
        return ERR_OK;
    struct assignment revoked;
    TRY(assignment_builder_finish(&kept, &out->assigned));
    TRY(assignment_builder_finish(&pending, &revoked));
    out->previous_epoch = in->current.epoch;
    if (!still_has(in, &revoked))
        return ERR_OK;
    out->state = CONSUMER_UNREVOKED;
    out->pending = revoked;
    return ERR_OK;
}

enum err consumer_reconcile(const struct consumer_reconcile *in, struct consumer_current *out)
{
    const struct consumer_current *current = &in->current;
    *out = *current;
    switch (current->state) {
    case CONSUMER_STABLE:
        if (current->epoch != in->target_epoch)
            return advance(in, current->epoch, out);
        return in->has_subscription_changed ? drop_unsubscribed(in, out) : ERR_OK;
    case CONSUMER_UNREVOKED:
        if (!still_has(in, &current->pending))
            return advance(in, current->epoch, out);
        return in->has_subscription_changed ? drop_unsubscribed(in, out) : ERR_OK;
    case CONSUMER_UNRELEASED:
        return advance(in, current->epoch, out);
    case CONSUMER_UNKNOWN:
        if (!in->owned || in->owned->count > 0)
            return ERR_FENCED_MEMBER_EPOCH;
        return advance(in, in->target_epoch, out);
    }
    return ERR_FENCED_MEMBER_EPOCH;
}
