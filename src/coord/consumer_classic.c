/* Classic members in consumer groups, and groups that change their kind.
 *
 * When a member of the consumer protocol joins a group of the classic one, the group becomes a
 * consumer group: its members keep what they have, at the group's generation, and go on speaking
 * the classic protocol, to which the answers are given here. Their own assignor rests; the target
 * is the group's. A member that must do something is told, as always, that there is a rebalance; it
 * joins again, which says what it has, and its sync brings what it may have now. When the last
 * member of the consumer protocol goes, the group becomes a classic one again and rebalances.
 *
 * Only groups whose members embed Kafka's consumer protocol can change, and only without data of an
 * assignor of their own. Pure; runs on the shard that owns the partition of `__consumer_offsets`.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/classic.h"
#include "coord/consumer.h"

#define PROTOCOL_VERSION_MAX   3
#define GROUP_METADATA_VERSION 3
#define PROTOCOL_TYPE          STR("consumer")
/* What a member's part of a classic group's record takes besides its strings and bytes. */
#define CLASSIC_MEMBER_BYTES ((size_t)64)
/* What a member's tombstones take in a batch, more or less. */
#define DELETED_MEMBER_BYTES ((size_t)400)

/* --- the embedded protocol --- */

static bool read_version(struct slice *bytes, int16_t *version)
{
    if (bytes->len < sizeof(uint16_t))
        return false;
    *version = (int16_t)be16_load(bytes->data);
    if (*version < 0)
        return false;
    *bytes = slice_of(bytes->data + sizeof(uint16_t), bytes->len - sizeof(uint16_t));
    if (*version > PROTOCOL_VERSION_MAX)
        *version = PROTOCOL_VERSION_MAX; /* what is newer begins alike */
    return true;
}

static enum err read_subscription(struct slice bytes, struct arena *arena,
                                  struct consumer_protocol_subscription *out)
{
    int16_t version;
    size_t used;
    if (!read_version(&bytes, &version))
        return ERR_MALFORMED;
    return codec_decode(&consumer_protocol_subscription_schema, version, bytes, &used, arena, out,
                        NULL);
}

/* What a member was assigned, of the topics that exist. ERR_UNSUPPORTED: its assignor says more
 * than that. */
static enum err read_assignment(const struct coord_call *call, struct slice bytes, int32_t epoch,
                                struct assignment *out)
{
    struct consumer_protocol_assignment assignment;
    struct assignment_builder builder;
    int16_t version;
    size_t used;
    *out = assignment_empty;
    if (bytes.len == 0)
        return ERR_OK;
    if (!read_version(&bytes, &version))
        return ERR_MALFORMED;
    TRY(codec_decode(&consumer_protocol_assignment_schema, version, bytes, &used, call->arena,
                     &assignment, NULL));
    if (assignment.user_data.len > 0)
        return ERR_UNSUPPORTED;
    assignment_builder_init(&builder, call->arena, true);
    for (int32_t i = 0; i < assignment.assigned_partitions_len; i++) {
        const struct consumer_protocol_assignment_assigned_partition *in =
            &assignment.assigned_partitions[i];
        struct coord_topic topic;
        if (!call->topics->by_name(call->topics->image, in->topic, &topic))
            continue;
        for (int32_t p = 0; p < in->partitions_len; p++)
            if (in->partitions[p] >= 0 && in->partitions[p] < topic.partition_count)
                TRY(assignment_builder_add(&builder, topic.id, in->partitions[p], epoch));
    }
    return assignment_builder_finish(&builder, out);
}

/* What a member says that it has, of the topics that exist. */
static enum err read_owned(const struct coord_call *call,
                           const struct consumer_protocol_subscription *subscription,
                           struct assignment *out)
{
    struct assignment_builder builder;
    assignment_builder_init(&builder, call->arena, false);
    for (int32_t i = 0; i < subscription->owned_partitions_len; i++) {
        const struct consumer_protocol_subscription_owned_partition *in =
            &subscription->owned_partitions[i];
        struct coord_topic topic;
        if (!call->topics->by_name(call->topics->image, in->topic, &topic))
            continue;
        for (int32_t p = 0; p < in->partitions_len; p++)
            if (in->partitions[p] >= 0 && in->partitions[p] < topic.partition_count)
                TRY(assignment_builder_add(&builder, topic.id, in->partitions[p], 0));
    }
    return assignment_builder_finish(&builder, out);
}

/* In the version that the member speaks; into the arena. */
static enum err write_assignment(const struct coord_call *call, struct arena *arena,
                                 const struct assignment *assignment, struct slice subscription,
                                 struct slice *out)
{
    struct consumer_protocol_assignment value = {0};
    int16_t version;
    if (!read_version(&subscription, &version))
        return ERR_MALFORMED;
    value.assigned_partitions =
        arena_array(arena, assignment->count, sizeof(*value.assigned_partitions));
    if (!value.assigned_partitions)
        return ERR_NOMEM;
    for (size_t i = 0; i < assignment->count; i++) {
        const struct topic_partitions *topic = &assignment->topics[i];
        struct coord_topic known;
        if (!call->topics->by_id(call->topics->image, topic->topic_id, &known))
            continue;
        struct consumer_protocol_assignment_assigned_partition *to =
            &value.assigned_partitions[value.assigned_partitions_len++];
        to->topic = known.name;
        to->partitions = (int32_t *)(uintptr_t)topic->partitions; /* only read */
        to->partitions_len = (int32_t)topic->count;
    }
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_put_be16(&bytes, (uint16_t)version);
    enum err err = bytes.err;
    if (err == ERR_OK)
        err = codec_encode(&consumer_protocol_assignment_schema, version, &value, &bytes, NULL);
    if (err == ERR_OK) {
        *out = arena_slice(arena, buf_slice(&bytes));
        err = out->data ? ERR_OK : ERR_NOMEM;
    }
    buf_deinit(&bytes);
    return err;
}

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
    TRY(read_subscription(metadata, call->arena, &subscription));
    if (member->kept)
        out->assigned = *member->kept;
    else
        TRY(read_assignment(call, member->assignment, group->classic.generation, &out->assigned));
    out->is_wish = group->classic.must_rebalance && !member->kept;
    TRY(read_owned(call, &subscription, &out->claimed));
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
    else if (!str_eq(classic->protocol_type, PROTOCOL_TYPE))
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

static enum err put_members(struct coord *coord, const struct coord_call *call, struct group *group,
                            const struct upgraded *members, size_t count, int32_t generation)
{
    struct consumer *consumer = group->consumer;
    for (size_t i = 0; i < count; i++)
        TRY(consumer_put_member(coord, call, group, &members[i].spec));
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

static bool all_know(const struct consumer *consumer, struct str protocol)
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
        if (all_know(consumer, member->classic->protocols[i].name))
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
    return write_assignment(call, arena, member->target ? member->target : &assignment_empty,
                            metadata, &out->assignment);
}

/* The record of the classic group that those of the classic protocol make. It names no leader where
 * a rebalance follows, which it does after a crash, too. */
static enum err fill_classic(const struct coord_call *call, const struct consumer *consumer,
                             bool rebalances, struct group_metadata_value *value)
{
    struct str protocol = select_protocol(consumer);
    if (str_is_null(protocol))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    MSG_INIT(group_metadata_value, value);
    value->protocol_type = PROTOCOL_TYPE;
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
    value->leader = rebalances ? STR_NULL : value->members[0].member_id;
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
    TRY(fill_classic(call, group->consumer, rebalances, value));
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

/* --- JoinGroup --- */

static void refuse_join(struct coord_join *join, enum err err, struct str member_id,
                        const struct coord_call *call)
{
    join->given_member_id = member_id;
    join->generation = -1;
    join->answer_type = STR_NULL;
    join->answer_protocol = STR_NULL;
    join->leader = STR("");
    join->skip_assignment = false;
    join->member_count = 0;
    coord_op_end(&join->op, err, call);
}

static enum err check_protocols(const struct consumer *consumer, const struct coord_join *join)
{
    if (!str_eq(join->protocol_type, PROTOCOL_TYPE) || join->protocol_count == 0)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    for (size_t i = 0; i < join->protocol_count; i++)
        if (all_know(consumer, join->protocols[i].name))
            return ERR_OK;
    return ERR_INCONSISTENT_GROUP_PROTOCOL;
}

static enum err check_join(const struct coord *coord, const struct consumer *consumer,
                           const struct coord_join *join, struct consumer_member **member)
{
    const struct coord_consumer_config *config = &coord->config->consumer;
    bool is_static = !str_is_null(join->instance_id);
    *member = is_static ? consumer_instance_find(consumer, join->instance_id)
                        : consumer_member_find(consumer, join->member_id);
    if (!config->allows_upgrade && !config->allows_downgrade)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (consumer->member_count >= (size_t)config->group_size_max &&
        !consumer_member_find(consumer, join->member_id))
        return ERR_GROUP_MAX_SIZE_REACHED;
    TRY(check_protocols(consumer, join));
    if (is_static && join->member_id.len > 0) {
        if (!*member)
            return ERR_UNKNOWN_MEMBER_ID;
        if (!str_eq((*member)->id, join->member_id))
            return ERR_FENCED_INSTANCE_ID;
    }
    return ERR_OK;
}

static enum err join_spec(const struct coord_call *call, const struct coord_join *join,
                          struct str member_id,
                          const struct consumer_protocol_subscription *subscription,
                          struct consumer_spec *spec)
{
    struct str *topics =
        arena_array(call->arena, (size_t)subscription->topics_len, sizeof(*topics));
    if (!topics)
        return ERR_NOMEM;
    if (subscription->topics_len > 0)
        memcpy(topics, subscription->topics, (size_t)subscription->topics_len * sizeof(*topics));
    *spec = (struct consumer_spec){
        .id = member_id,
        .instance_id = join->instance_id,
        .rack_id = subscription->rack_id.len > 0 ? subscription->rack_id : STR_NULL,
        .client_id = str_is_null(join->op.client_id) ? STR("") : join->op.client_id,
        .client_host = join->op.client_host,
        .rebalance_timeout_ms = join->rebalance_timeout_ms,
        .topics = topics,
        .topic_count = consumer_names_normalize(topics, (size_t)subscription->topics_len),
        .regex = STR(""),
        .is_classic = true,
        .session_timeout_ms = join->session_timeout_ms,
        .protocols = join->protocols,
        .protocol_count = join->protocol_count,
    };
    return ERR_OK;
}

static bool is_spec_changed(const struct consumer_spec *a, const struct consumer_spec *b,
                            bool *topics)
{
    *topics = a->topic_count != b->topic_count || a->regex.len > 0;
    for (size_t i = 0; !*topics && i < a->topic_count; i++)
        *topics = !str_eq(a->topics[i], b->topics[i]);
    bool same = !*topics && a->is_classic && a->protocol_count == b->protocol_count &&
                a->session_timeout_ms == b->session_timeout_ms &&
                a->rebalance_timeout_ms == b->rebalance_timeout_ms &&
                str_eq(a->client_id, b->client_id) && str_eq(a->client_host, b->client_host) &&
                str_eq(a->instance_id, b->instance_id) && str_eq(a->rack_id, b->rack_id);
    for (size_t i = 0; same && i < a->protocol_count; i++)
        same = str_eq(a->protocols[i].name, b->protocols[i].name) &&
               a->protocols[i].metadata.len == b->protocols[i].metadata.len &&
               (a->protocols[i].metadata.len == 0 ||
                memcmp(a->protocols[i].metadata.data, b->protocols[i].metadata.data,
                       a->protocols[i].metadata.len) == 0);
    return !same;
}

static enum err answer_join(const struct consumer_member *member, struct coord_join *join)
{
    struct arena *arena = join->op.arena;
    join->given_member_id = arena_str(arena, member->id);
    join->generation = member->epoch;
    join->answer_type = PROTOCOL_TYPE;
    join->answer_protocol = arena_str(arena, member->classic->protocols[0].name);
    join->leader = STR("");
    join->skip_assignment = false;
    join->member_count = 0;
    return join->given_member_id.data && join->answer_protocol.data ? ERR_OK : ERR_NOMEM;
}

static enum err do_join(struct coord *coord, const struct coord_call *call, struct group *group,
                        struct coord_join *join, struct consumer_member *member,
                        struct str member_id)
{
    struct consumer *consumer = group->consumer;
    struct consumer_protocol_subscription subscription;
    struct consumer_spec before;
    struct consumer_spec after;
    struct assignment owned;
    bool topics_changed = true;
    if (read_subscription(join->protocols[0].metadata, call->arena, &subscription) != ERR_OK)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    TRY(read_owned(call, &subscription, &owned));
    TRY(join_spec(call, join, member_id, &subscription, &after));
    if (consumer_spec_bytes(&after) > consumer_spec_bytes_max(call) / (member ? 2 : 1))
        return ERR_UNKNOWN_SERVER_ERROR;
    bool was_static = member && !str_is_null(join->instance_id);
    if (member && !str_eq(member->id, member_id))
        TRY(consumer_replace_static(coord, call, member, member_id, &member));
    bool changed = true;
    struct consumer_regex *regex = member ? member->regex : NULL;
    if (member) {
        TRY(consumer_spec_of(member, call->arena, &before));
        changed = is_spec_changed(&before, &after, &topics_changed);
    }
    bool is_last_of_regex = regex && regex->members == 1 && regex->is_resolved;
    if (changed)
        TRY(consumer_put_member(coord, call, group, &after));
    if (is_last_of_regex)
        TRY(consumer_delete_regex(coord, call, consumer, regex));
    member = consumer_member_find(consumer, member_id);
    ASSERT(member && member->classic);
    coord_timer_stop(coord, &member->rebalance);
    coord_timer_stop(coord, &member->join);
    bool is_left_out = consumer->target_epoch >= consumer->epoch && !member->target;
    TRY(consumer_update_epoch(coord, call, consumer, topics_changed || is_left_out));
    /* The last member of the consumer protocol came back, by its instance id, with the classic one:
     * each has what it shall have, unless that is to be computed anew. */
    bool downgrades = was_static && consumer_may_downgrade(coord, call, consumer, NULL, 0);
    bool is_stale = consumer->target_epoch < consumer->epoch;
    if (!downgrades)
        TRY(consumer_update_target(coord, call, consumer));
    if (!downgrades || !is_stale)
        TRY(consumer_advance(coord, call, member, topics_changed, &owned));
    TRY(answer_join(member, join));
    if (downgrades)
        return consumer_downgrade(coord, call, group, NULL, 0, is_stale);
    consumer_touch(coord, call, member);
    coord_timer_set(coord, &member->sync, call->now_ms + join->rebalance_timeout_ms);
    return ERR_OK;
}

void consumer_join(struct coord *coord, const struct coord_call *call, struct group *group,
                   struct coord_join *join)
{
    struct consumer_member *member;
    enum err err = check_join(coord, group->consumer, join, &member);
    struct str member_id = join->member_id;
    if (err == ERR_OK && member_id.len == 0) {
        member_id = consumer_new_id(call, join->op.arena);
        err = member_id.data ? ERR_OK : ERR_NOMEM;
    }
    if (err != ERR_OK) {
        refuse_join(join, err, STR(""), call);
        return;
    }
    bool must_come_again =
        join->member_id.len == 0 && str_is_null(join->instance_id) && join->takes_id_first;
    if (must_come_again) {
        refuse_join(join, ERR_MEMBER_ID_REQUIRED, member_id, call);
        return;
    }
    size_t mark = call->records->count;
    err = do_join(coord, call, group, join, member, member_id);
    if (err == ERR_OK) {
        coord_op_end(&join->op, ERR_OK, call);
        consumer_tell(coord, call, join->group_id);
        return;
    }
    /* Part of it may have happened: the driver begins anew. */
    if (call->records->count > mark && call->records->err == ERR_OK)
        call->records->err = err;
    refuse_join(join, err, STR(""), call);
}

/* --- SyncGroup, Heartbeat --- */

static enum err check_classic(const struct consumer *consumer, struct str member_id,
                              struct str instance_id, int32_t generation,
                              struct consumer_member **out)
{
    struct consumer_member *member = str_is_null(instance_id)
                                         ? consumer_member_find(consumer, member_id)
                                         : consumer_instance_find(consumer, instance_id);
    if (!member)
        return ERR_UNKNOWN_MEMBER_ID;
    if (!str_eq(member->id, member_id))
        return ERR_FENCED_INSTANCE_ID;
    if (!member->classic)
        return ERR_UNKNOWN_MEMBER_ID;
    *out = member;
    return member->epoch == generation ? ERR_OK : ERR_ILLEGAL_GENERATION;
}

/* It is told to join, and must within its rebalance time. */
static void expect_join(struct coord *coord, const struct coord_call *call,
                        struct consumer_member *member)
{
    if (!member->join.node.is_linked)
        coord_timer_set(coord, &member->join, call->now_ms + member->rebalance_timeout_ms);
}

static bool differs(struct str said, struct str is)
{
    return !str_is_null(said) && !str_eq(said, is);
}

static enum err do_sync(struct coord *coord, const struct coord_call *call,
                        const struct group *group, struct coord_sync *sync)
{
    struct consumer_member *member;
    TRY(check_classic(group->consumer, sync->member_id, sync->instance_id, sync->generation,
                      &member));
    if (differs(sync->protocol_type, PROTOCOL_TYPE) ||
        differs(sync->protocol, member->classic->protocols[0].name))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (group->consumer->target_epoch > member->epoch && member->state != CONSUMER_UNREVOKED) {
        expect_join(coord, call, member);
        return ERR_REBALANCE_IN_PROGRESS;
    }
    TRY(write_assignment(call, sync->op.arena, member->assigned,
                         member->classic->protocols[0].metadata, &sync->assignment));
    sync->answer_type = sync->protocol_type;
    sync->answer_protocol = sync->protocol;
    coord_timer_stop(coord, &member->sync);
    consumer_touch(coord, call, member);
    return ERR_OK;
}

void consumer_sync(struct coord *coord, const struct coord_call *call, struct group *group,
                   struct coord_sync *sync)
{
    sync->answer_type = STR_NULL;
    sync->answer_protocol = STR_NULL;
    sync->assignment = slice_of("", 0);
    coord_op_end(&sync->op, do_sync(coord, call, group, sync), call);
}

void consumer_classic_heartbeat(struct coord *coord, const struct coord_call *call,
                                struct group *group, struct coord_heartbeat *heartbeat)
{
    struct consumer *consumer = group->consumer;
    struct consumer_member *member;
    enum err err = check_classic(consumer, heartbeat->member_id, heartbeat->instance_id,
                                 heartbeat->generation, &member);
    if (err == ERR_OK) {
        consumer_touch(coord, call, member);
        bool must_join = member->epoch < consumer->target_epoch ||
                         member->state == CONSUMER_UNREVOKED ||
                         (member->state == CONSUMER_UNRELEASED && !consumer_lacks(member, false));
        if (must_join) {
            expect_join(coord, call, member);
            err = ERR_REBALANCE_IN_PROGRESS;
        }
    }
    coord_op_end(&heartbeat->op, err, call);
}

/* --- LeaveGroup --- */

static enum err find_leaver(const struct consumer *consumer, const struct coord_leaver *leaver,
                            struct consumer_member **member)
{
    if (str_is_null(leaver->instance_id))
        *member = consumer_member_find(consumer, leaver->member_id);
    else
        *member = consumer_instance_find(consumer, leaver->instance_id);
    if (!*member)
        return ERR_UNKNOWN_MEMBER_ID;
    bool is_other = leaver->member_id.len > 0 && !str_eq((*member)->id, leaver->member_id);
    return is_other ? ERR_FENCED_INSTANCE_ID : ERR_OK;
}

void consumer_leave(struct coord *coord, const struct coord_call *call, struct group *group,
                    struct coord_leave *leave)
{
    struct consumer_member **members =
        arena_array(call->arena, leave->leaver_count, sizeof(struct consumer_member *));
    size_t count = 0;
    for (size_t i = 0; members && i < leave->leaver_count; i++) {
        struct consumer_member *member;
        leave->leavers[i].err = find_leaver(group->consumer, &leave->leavers[i], &member);
        bool is_new = leave->leavers[i].err == ERR_OK;
        for (size_t j = 0; is_new && j < count; j++)
            is_new = members[j] != member;
        if (is_new)
            members[count++] = member;
    }
    enum err err = members ? ERR_OK : ERR_NOMEM;
    if (count > 0)
        err = consumer_fence(coord, call, group, members, count);
    if (err != ERR_OK && count > 0 && call->records->err == ERR_OK)
        call->records->err = err;
    coord_op_end(&leave->op, err, call);
    consumer_tell(coord, call, leave->group_id);
}
