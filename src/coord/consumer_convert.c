/* Groups that change their kind.
 *
 * When a member of the consumer protocol joins a group of the classic one, the group becomes a
 * consumer group: its members keep what they have, at the group's generation, and go on speaking
 * the classic protocol (consumer_classic.c). When the last member of the consumer protocol goes,
 * the group becomes a classic one again and rebalances.
 *
 * Only groups whose members embed Kafka's consumer protocol can change, and only without data of an
 * assignor of their own. Pure; runs on the shard that owns the partition of `__consumer_offsets`.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/embedded.h"

#define GROUP_METADATA_VERSION 3
/* What a member's part of a classic group's record takes besides its strings and bytes. */
#define CLASSIC_MEMBER_BYTES ((size_t)64)
/* What a member's tombstones take in a batch, more or less. */
#define DELETED_MEMBER_BYTES ((size_t)400)

/* --- from classic to consumer --- */

struct upgraded {
    struct consumer_spec spec;
    struct assignment assigned;
    bool is_wish; /* the assigned are what it should have had, and nobody knows what it got */
    struct assignment claimed; /* what it had when it joined, and has until it hears otherwise... */
    int32_t claimed_generation; /* ...as it was given it in that; -1: not said */
};

static enum err describe_member(const struct coord_call *call, const struct group *group,
                                const struct classic_member *member, struct upgraded *out)
{
    struct consumer_protocol_subscription subscription;
    struct slice metadata = classic_member_metadata(member, group->classic.protocol);
    int32_t generation = group->classic.generation;
    TRY(embedded_read_subscription(metadata, call->arena, &subscription));
    if (member->kept)
        out->assigned = *member->kept;
    else
        TRY(embedded_read_assignment(call, member->assignment, generation, &out->assigned));
    out->is_wish = group->classic.must_rebalance && !member->kept;
    TRY(embedded_read_owned(call, &subscription, &out->claimed));
    out->claimed_generation = subscription.generation_id;
    struct coord_protocol *protocols =
        arena_array(call->arena, member->protocol_count, sizeof(*protocols));
    if (!protocols)
        return ERR_NOMEM;
    for (size_t i = 0; i < member->protocol_count; i++) {
        protocols[i].name = arena_str(call->arena, member->protocols[i].name);
        protocols[i].metadata = arena_slice(call->arena, member->protocols[i].metadata);
        if (!protocols[i].name.data || !protocols[i].metadata.data)
            return ERR_NOMEM;
    }
    out->spec = (struct consumer_spec){
        .id = arena_str(call->arena, member->id),
        .client_id = arena_str(call->arena, member->client_id),
        .client_host = arena_str(call->arena, member->client_host),
        .rack_id = subscription.rack_id.len > 0 ? subscription.rack_id : STR_NULL,
        .rebalance_timeout_ms = member->rebalance_timeout_ms,
        .topics = subscription.topics,
        .topic_count =
            consumer_names_normalize(subscription.topics, (size_t)subscription.topics_len),
        .regex = STR(""),
        .is_classic = true,
        .session_timeout_ms = member->session_timeout_ms,
        .protocols = protocols,
        .protocol_count = member->protocol_count,
    };
    if (!str_is_null(member->instance_id))
        out->spec.instance_id = arena_str(call->arena, member->instance_id);
    bool ok = out->spec.id.data && out->spec.client_id.data && out->spec.client_host.data;
    /* The subscription's strings point into the member's own bytes, which go with it. */
    for (size_t i = 0; i < out->spec.topic_count; i++) {
        subscription.topics[i] = arena_str(call->arena, subscription.topics[i]);
        ok = ok && subscription.topics[i].data;
    }
    if (out->spec.rack_id.data)
        out->spec.rack_id = arena_str(call->arena, out->spec.rack_id);
    return ok ? ERR_OK : ERR_NOMEM;
}

enum err consumer_upgrade_check(const struct coord *coord, const struct coord_call *call,
                                const struct group *group, const char **why)
{
    const struct classic *classic = &group->classic;
    *why = NULL;
    if (!coord->config->consumer.allows_upgrade)
        *why = "online upgrade is disabled";
    else if (!str_eq(classic->protocol_type, EMBEDDED_PROTOCOL_TYPE))
        *why = "the group does not use the consumer embedded protocol";
    else if (classic->member_count > (size_t)coord->config->consumer.group_size_max)
        *why = "the group size exceeds the consumer group maximum size";
    if (*why)
        return ERR_GROUP_ID_NOT_FOUND;
    /* Its first generation is not there yet: soon. */
    if (str_is_null(classic->protocol))
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    LIST_FOREACH (node, &classic->members) {
        struct upgraded one;
        enum err err =
            describe_member(call, group, LIST_ENTRY(node, struct classic_member, link), &one);
        if (err == ERR_NOMEM)
            return err;
        if (err == ERR_OK && consumer_spec_bytes(&one.spec) > consumer_spec_bytes_max(call)) {
            *why = "the subscription of a member is too large";
            return ERR_GROUP_ID_NOT_FOUND;
        }
        if (err == ERR_UNSUPPORTED)
            *why = "an unsupported custom assignor is in use. Please refer to the documentation or "
                   "switch to a default assignor before re-attempting the upgrade";
        else if (err != ERR_OK)
            *why = "the embedded consumer protocol is malformed";
        if (err != ERR_OK)
            return ERR_GROUP_ID_NOT_FOUND;
    }
    return ERR_OK;
}

static void send_waiting_away(struct group *group, const struct coord_call *call)
{
    LIST_FOREACH (node, &group->classic.members) {
        struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        coord_ops_end(&member->joins, ERR_REBALANCE_IN_PROGRESS, call->done);
        coord_ops_end(&member->syncs, ERR_REBALANCE_IN_PROGRESS, call->done);
        coord_ops_end(&member->heartbeats, ERR_REBALANCE_IN_PROGRESS, call->done);
    }
}

/* A classic group's record, replayed at once. */
static enum err emit_classic(struct coord *coord, const struct coord_call *call, struct str id,
                             const struct group_metadata_value *value)
{
    struct group_metadata_key *key = arena_zalloc(call->arena, sizeof(*key));
    if (!key)
        return ERR_NOMEM;
    key->group = arena_str(call->arena, id);
    if (!key->group.data)
        return ERR_NOMEM;
    struct coord_record record = {.type = COORD_GROUP_METADATA,
                                  .version = GROUP_METADATA_VERSION,
                                  .key = key,
                                  .value = value,
                                  .is_applied = true};
    TRY(coord_records_add(call->records, &record));
    return coord_replay(coord, &record);
}

struct claim {
    struct uuid topic_id;
    int32_t partition;
    int32_t generation;
    uint32_t member;
};

/* Of one partition the one that counts comes first. */
static int claim_compare(const void *a, const void *b)
{
    const struct claim *x = a;
    const struct claim *y = b;
    int order = uuid_compare(x->topic_id, y->topic_id);
    if (order == 0)
        order = (x->partition > y->partition) - (x->partition < y->partition);
    if (order == 0)
        order = (x->generation < y->generation) - (x->generation > y->generation);
    return order ? order : (x->member > y->member) - (x->member < y->member);
}

static struct claim *add_claims(struct claim *at, const struct assignment *assignment,
                                int32_t generation, uint32_t member)
{
    for (size_t t = 0; t < assignment->count; t++)
        for (uint32_t i = 0; i < assignment->topics[t].count; i++)
            *at++ = (struct claim){assignment->topics[t].topic_id,
                                   assignment->topics[t].partitions[i], generation, member};
    return at;
}

/* A cooperative member has what it had until it hears that it shall give it back, and may not have
 * heard: the leader gave that to nobody. What it had when it joined is still its own. */
static enum err keep_claimed(const struct coord_call *call, struct upgraded *members, size_t count,
                             int32_t generation)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += assignment_partition_count(&members[i].assigned) +
                 assignment_partition_count(&members[i].claimed);
    struct claim *claims = arena_array(call->arena, total, sizeof(*claims));
    struct assignment_builder *builders = arena_array(call->arena, count, sizeof(*builders));
    if (!claims || !builders)
        return ERR_NOMEM;
    struct claim *end = claims;
    for (uint32_t i = 0; i < count; i++) {
        end = add_claims(end, &members[i].assigned, members[i].is_wish ? INT32_MIN : INT32_MAX, i);
        end = add_claims(end, &members[i].claimed, members[i].claimed_generation, i);
        assignment_builder_init(&builders[i], call->arena, true);
    }
    if (total > 1)
        qsort(claims, total, sizeof(*claims), claim_compare);
    for (size_t i = 0; i < total; i++) {
        const struct claim *claim = &claims[i];
        bool is_first = i == 0 || claims[i - 1].partition != claim->partition ||
                        !uuid_eq(claims[i - 1].topic_id, claim->topic_id);
        if (is_first)
            TRY(assignment_builder_add(&builders[claim->member], claim->topic_id, claim->partition,
                                       generation));
    }
    for (size_t i = 0; i < count; i++)
        TRY(assignment_builder_finish(&builders[i], &members[i].assigned));
    return ERR_OK;
}

/* Whether the members have all partitions of all topics. */
static bool have_all(const struct coord_call *call, const struct consumer *consumer,
                     const struct upgraded *members, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct coord_topic topic;
        if (call->topics->by_name(call->topics->image, consumer->topics[i]->name, &topic))
            left += (size_t)topic.partition_count;
    }
    for (size_t i = 0; i < count; i++)
        left -= assignment_partition_count(&members[i].assigned);
    return left == 0;
}

static enum err put_members(struct coord *coord, const struct coord_call *call, struct group *group,
                            const struct upgraded *members, size_t count, int32_t generation)
{
    struct consumer *consumer = group->consumer;
    for (size_t i = 0; i < count; i++)
        TRY(consumer_put_member(coord, call, group, &members[i].spec));
    /* A group that has not seen its topics as they are raises its epoch. */
    if (have_all(call, consumer, members, count))
        TRY(consumer_update_hash(call, consumer));
    TRY(consumer_put_epoch(coord, call, consumer, generation));
    for (size_t i = 0; i < count; i++) {
        struct consumer_member *member = consumer_member_find(consumer, members[i].spec.id);
        TRY(consumer_put_target(coord, call, member, &members[i].assigned));
    }
    TRY(consumer_put_target_epoch(coord, call, consumer, generation, 0));
    for (size_t i = 0; i < count; i++) {
        struct consumer_member *member = consumer_member_find(consumer, members[i].spec.id);
        struct consumer_current current = {.epoch = generation,
                                           .previous_epoch = generation,
                                           .state = CONSUMER_STABLE,
                                           .assigned = members[i].assigned};
        TRY(consumer_put_current(coord, call, member, &current));
        consumer_touch(coord, call, member);
    }
    return ERR_OK;
}

enum err consumer_upgrade(struct coord *coord, const struct coord_call *call, struct group **group)
{
    const struct classic *classic = &(*group)->classic;
    int32_t generation = classic->generation;
    size_t count = 0;
    struct str id = arena_str(call->arena, (*group)->id);
    struct upgraded *members = arena_array(call->arena, classic->member_count, sizeof(*members));
    if (!id.data || !members)
        return ERR_NOMEM;
    LIST_FOREACH (node, &classic->members)
        TRY(describe_member(call, *group, LIST_ENTRY(node, struct classic_member, link),
                            &members[count++]));
    TRY(keep_claimed(call, members, count, generation));
    send_waiting_away(*group, call);
    /* Where a log ends within this, members that are not there join again, and one that has no
     * target raises the group's epoch. */
    call->records->may_split = true;
    TRY(emit_classic(coord, call, id, NULL));
    *group = group_find(coord, id);
    if (!*group)
        TRY(group_create(coord, id, group));
    TRY(consumer_init(coord, *group));
    return put_members(coord, call, *group, members, count, generation);
}

/* --- from consumer to classic --- */

static bool knows(const struct consumer_member *member, struct str protocol)
{
    for (size_t i = 0; i < member->classic->protocol_count; i++)
        if (str_eq(member->classic->protocols[i].name, protocol))
            return true;
    return false;
}

bool consumer_all_know(const struct consumer *consumer, struct str protocol)
{
    for (size_t i = 0; i < consumer->member_count; i++)
        if (consumer->members[i]->classic && !knows(consumer->members[i], protocol))
            return false;
    return true;
}

/* The first of a member's that all of them know. */
static struct str choice(const struct consumer *consumer, const struct consumer_member *member)
{
    for (size_t i = 0; i < member->classic->protocol_count; i++)
        if (consumer_all_know(consumer, member->classic->protocols[i].name))
            return member->classic->protocols[i].name;
    return STR_NULL;
}

/* What most would choose. */
static struct str select_protocol(const struct consumer *consumer)
{
    struct str best = STR_NULL;
    size_t best_votes = 0;
    for (size_t i = 0; i < consumer->member_count; i++) {
        if (!consumer->members[i]->classic)
            continue;
        struct str own = choice(consumer, consumer->members[i]);
        size_t votes = 0;
        for (size_t j = 0; j < consumer->member_count; j++)
            votes += consumer->members[j]->classic &&
                     str_eq(choice(consumer, consumer->members[j]), own);
        if (votes > best_votes && !str_is_null(own)) {
            best = own;
            best_votes = votes;
        }
    }
    return best;
}

static struct slice metadata_of(const struct consumer_member *member, struct str protocol)
{
    for (size_t i = 0; i < member->classic->protocol_count; i++)
        if (str_eq(member->classic->protocols[i].name, protocol))
            return member->classic->protocols[i].metadata;
    return SLICE_NULL;
}

static enum err fill_classic_member(const struct coord_call *call,
                                    const struct consumer_member *member, struct str protocol,
                                    struct group_metadata_value_member_metadata *out)
{
    struct arena *arena = call->arena;
    struct slice metadata = metadata_of(member, protocol);
    out->member_id = arena_str(arena, member->id);
    out->group_instance_id =
        str_is_null(member->instance_id) ? STR_NULL : arena_str(arena, member->instance_id);
    out->client_id = arena_str(arena, member->client_id);
    out->client_host = arena_str(arena, member->client_host);
    out->rebalance_timeout = member->rebalance_timeout_ms;
    out->session_timeout = member->classic->session_timeout_ms;
    out->subscription = arena_slice(arena, metadata);
    if (!out->member_id.data || !out->client_id.data || !out->client_host.data ||
        !out->subscription.data)
        return ERR_NOMEM;
    const struct assignment *target = member->target ? member->target : &assignment_empty;
    return embedded_write_assignment(call, arena, target, metadata, &out->assignment);
}

/* The record of the classic group that those of the classic protocol make. It names no leader: no
 * client knows that it is one until there was a rebalance, which follows a crash, too. */
static enum err fill_classic(const struct coord_call *call, const struct consumer *consumer,
                             struct group_metadata_value *value)
{
    struct str protocol = select_protocol(consumer);
    if (str_is_null(protocol))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    MSG_INIT(group_metadata_value, value);
    value->protocol_type = EMBEDDED_PROTOCOL_TYPE;
    value->generation = consumer->epoch;
    value->protocol = arena_str(call->arena, protocol);
    value->current_state_timestamp = call->wall_ms;
    value->members =
        MSG_ARRAY(group_metadata_value_member_metadata, call->arena, consumer->classic_count);
    if (!value->protocol.data || !value->members)
        return ERR_NOMEM;
    for (size_t i = 0; i < consumer->member_count; i++)
        if (consumer->members[i]->classic)
            TRY(fill_classic_member(call, consumer->members[i], protocol,
                                    &value->members[value->members_len++]));
    value->leader = STR_NULL;
    return ERR_OK;
}

/* The record of the classic group, at most: with each member's largest protocol. */
static size_t classic_bytes(const struct coord_call *call, const struct consumer *consumer)
{
    size_t bytes = 0;
    for (size_t i = 0; i < consumer->member_count; i++) {
        const struct consumer_member *member = consumer->members[i];
        if (!member->classic)
            continue;
        size_t most = 0;
        for (size_t p = 0; p < member->classic->protocol_count; p++)
            if (member->classic->protocols[p].metadata.len > most)
                most = member->classic->protocols[p].metadata.len;
        bytes += CLASSIC_MEMBER_BYTES + most + member->id.len + member->instance_id.len +
                 member->client_id.len + member->client_host.len;
        for (size_t t = 0; member->target && t < member->target->count; t++) {
            const struct topic_partitions *topic = &member->target->topics[t];
            struct coord_topic known;
            if (call->topics->by_id(call->topics->image, topic->topic_id, &known))
                bytes += known.name.len + (2 + topic->count) * sizeof(int32_t);
        }
    }
    return bytes;
}

/* What each member of the classic protocol has, with what it still has to give back: should the
 * group become a consumer group again before its rebalance, nobody else may get that. */
struct kept {
    struct str member_id;
    struct assignment had;
};

static enum err list_kept(const struct coord_call *call, const struct consumer *consumer,
                          struct kept *kept, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < consumer->member_count; i++) {
        const struct consumer_member *member = consumer->members[i];
        const struct assignment *lists[] = {member->assigned, member->pending};
        struct assignment_builder builder;
        if (!member->classic)
            continue;
        assignment_builder_init(&builder, call->arena, true);
        for (size_t l = 0; l < ARRAY_LEN(lists); l++)
            for (size_t t = 0; t < lists[l]->count; t++)
                TRY(assignment_builder_add_topic(&builder, &lists[l]->topics[t]));
        struct kept *to = &kept[(*count)++];
        to->member_id = arena_str(call->arena, member->id);
        if (!to->member_id.data)
            return ERR_NOMEM;
        TRY(assignment_builder_finish(&builder, &to->had));
    }
    return ERR_OK;
}

static enum err give_kept(const struct group *group, const struct kept *kept, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct classic_member *member = classic_member_find(group, kept[i].member_id);
        ASSERT(member && !member->kept);
        TRY(assignment_clone(&kept[i].had, &member->kept));
    }
    return ERR_OK;
}

bool consumer_may_downgrade(const struct coord *coord, const struct coord_call *call,
                            const struct consumer *consumer, struct consumer_member *const *leaving,
                            size_t count)
{
    size_t left = consumer->member_count - count;
    size_t classic_left = consumer->classic_count;
    for (size_t i = 0; i < count; i++)
        classic_left -= leaving[i]->classic != NULL;
    return left > 0 && classic_left == left && coord->config->consumer.allows_downgrade &&
           left <= (size_t)coord->config->group_size_max &&
           classic_bytes(call, consumer) <= consumer_spec_bytes_max(call);
}

enum err consumer_downgrade(struct coord *coord, const struct coord_call *call, struct group *group,
                            struct consumer_member **leaving, size_t count, bool rebalances)
{
    struct str id = arena_str(call->arena, group->id);
    int32_t generation = group->consumer->epoch;
    if (!id.data)
        return ERR_NOMEM;
    /* In as many batches as it takes. Where a log ends within them, what those have who left goes
     * to those who are still there. */
    size_t deleted = group->consumer->member_count * DELETED_MEMBER_BYTES;
    if (deleted + classic_bytes(call, group->consumer) > call->batch_bytes_max / 2) {
        TRY(consumer_put_epoch(coord, call, group->consumer, generation + 1));
        call->records->may_split = true;
    }
    for (size_t i = 0; i < count; i++)
        TRY(consumer_member_delete(coord, call, leaving[i]));
    struct group_metadata_value *value = arena_zalloc(call->arena, sizeof(*value));
    if (!value)
        return ERR_NOMEM;
    struct kept *kept = arena_array(call->arena, group->consumer->classic_count, sizeof(*kept));
    size_t kept_count;
    if (!kept)
        return ERR_NOMEM;
    TRY(fill_classic(call, group->consumer, value));
    TRY(list_kept(call, group->consumer, kept, &kept_count));
    value->generation = generation;
    TRY(consumer_delete(coord, call, group));
    TRY(emit_classic(coord, call, id, value));
    group = group_find(coord, id);
    ASSERT(group);
    TRY(give_kept(group, kept, kept_count));
    LIST_FOREACH (node, &group->classic.members)
        classic_member_touch(coord, LIST_ENTRY(node, struct classic_member, link), call->now_ms);
    if (rebalances)
        classic_prepare(coord, group, call);
    return ERR_OK;
}
