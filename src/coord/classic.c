/* A classic group: its members as its record has them, and what its state allows. Pure.
 *
 * The record of a group is written when it has settled: with its members and their assignments, or
 * without members. What is between (who has joined again, who waits) is in memory only, and a
 * coordinator that is loaded begins at the last record. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/plant.h"
#include "coord/classic.h"
#include "wire/messages.h"

#define PROTOCOL_TYPE_CONSUMER STR("consumer")
#define STATE_TIME_NONE        INT64_C(-1)
#define GROUP_VALUE_VERSION    4
/* What a record, and a member in it, take besides their strings, at most: lengths and numbers. */
#define RECORD_BYTES ((size_t)256)
#define MEMBER_BYTES ((size_t)64)

static const struct sm_state states[] = {
    [CLASSIC_EMPTY] = {"Empty", SM_TO(CLASSIC_PREPARING) | SM_TO(CLASSIC_STABLE)},
    [CLASSIC_PREPARING] = {"PreparingRebalance", SM_TO(CLASSIC_COMPLETING) | SM_TO(CLASSIC_EMPTY)},
    [CLASSIC_COMPLETING] = {"CompletingRebalance",
                            SM_TO(CLASSIC_STABLE) | SM_TO(CLASSIC_PREPARING)},
    [CLASSIC_STABLE] = {"Stable", SM_TO(CLASSIC_PREPARING)},
};

static bool classic_invariant(const struct sm *sm, unsigned before)
{
    const struct classic *classic = CONTAINER_OF(sm, struct classic, sm);
    (void)before;
    switch (sm->state) {
    case CLASSIC_EMPTY:
        return classic->member_count == 0 && !classic->leader;
    case CLASSIC_PREPARING:
        return classic->pending_sync == 0;
    default:
        return classic->member_count > 0 && classic->leader && !str_is_null(classic->protocol);
    }
}

/* --- life --- */

static bool protocol_has_name(const void *entry, const void *key)
{
    return str_eq(((const struct classic_support *)entry)->name, *(const struct str *)key);
}

void classic_init(struct group *group, uint64_t seed)
{
    struct classic *classic = &group->classic;
    *classic = (struct classic){0};
    classic_members_init(group, seed);
    map_init(&classic->supported, seed, protocol_has_name);
    classic->state_ms = STATE_TIME_NONE;
    coord_timer_init(&classic->join_timer, classic_on_join_timer);
    coord_timer_init(&classic->sync_timer, classic_on_sync_timer);
    sm_init(&classic->sm, states, ARRAY_LEN(states), CLASSIC_EMPTY, classic_invariant);
}

void classic_deinit(struct coord *coord, struct group *group, struct list *done)
{
    struct classic *classic = &group->classic;
    classic_members_deinit(coord, group, done);
    ASSERT(classic->supported.count == 0);
    map_deinit(&classic->supported);
    coord_timer_stop(coord, &classic->join_timer);
    coord_timer_stop(coord, &classic->sync_timer);
    coord_str_free(&classic->protocol_type);
    coord_str_free(&classic->protocol);
}

void classic_move(struct group *group, enum classic_state state, const struct coord_call *call)
{
    group->classic.state_ms = call->wall_ms;
    sm_move(&group->classic.sm, state);
}

enum classic_state classic_state(const struct group *group)
{
    return (enum classic_state)group->classic.sm.state;
}

/* --- replay --- */

static enum err replay_member(struct group *group, const struct group_metadata_value *value,
                              const struct group_metadata_value_member_metadata *in)
{
    struct coord_protocol protocol = {value->protocol, in->subscription};
    struct classic_member *member;
    struct classic_member_spec spec = {
        .id = in->member_id,
        .instance_id = in->group_instance_id,
        .client_id = in->client_id,
        .client_host = in->client_host,
        .rebalance_timeout_ms =
            in->rebalance_timeout == -1 ? in->session_timeout : in->rebalance_timeout,
        .session_timeout_ms = in->session_timeout,
        .protocols = &protocol,
        .protocol_count = 1,
        .assignment = in->assignment,
    };
    bool is_twice = classic_member_find(group, in->member_id) ||
                    (!str_is_null(in->group_instance_id) &&
                     classic_instance_find(group, in->group_instance_id));
    if (is_twice || in->session_timeout < 0 || str_is_null(value->protocol) ||
        value->protocol_type.len == 0)
        return ERR_MALFORMED;
    TRY(classic_member_add(group, &spec, &member));
    if (!str_is_null(value->leader) && str_eq(in->member_id, value->leader))
        group->classic.leader = member;
    return ERR_OK;
}

static enum err replay_value(struct group *group, const struct group_metadata_value *value)
{
    struct classic *classic = &group->classic;
    bool has_type = value->protocol_type.len > 0;
    classic->generation = value->generation;
    classic->state_ms = value->current_state_timestamp;
    TRY(coord_str_set(has_type ? value->protocol_type : STR_NULL, &classic->protocol_type));
    TRY(coord_str_set(value->protocol, &classic->protocol));
    for (int32_t i = 0; i < value->members_len; i++)
        TRY(replay_member(group, value, &value->members[i]));
    classic->must_rebalance = classic->member_count > 0 && str_is_null(value->leader);
    if (classic->member_count > 0 && !classic->leader)
        classic->leader = LIST_ENTRY(classic->members.next, struct classic_member, link);
    if (classic->member_count > 0)
        sm_move(&classic->sm, CLASSIC_STABLE);
    return ERR_OK;
}

/* The group as if it had just been made, but for its offsets. */
static void reset(struct coord *coord, struct group *group)
{
    classic_deinit(coord, group, NULL);
    classic_init(group, coord->seed);
}

enum err classic_replay(struct coord *coord, const struct coord_record *record)
{
    const struct group_metadata_key *key = record->key;
    struct group *group = group_find(coord, key->group);
    if (!record->value) {
        if (group && (offsets_none(group) || PLANTED(COORD_LOST_OFFSETS)))
            group_free(coord, group, NULL);
        else if (group)
            reset(coord, group);
        return ERR_OK;
    }
    if (!group)
        TRY(group_create(coord, key->group, &group));
    reset(coord, group);
    enum err err = replay_value(group, record->value);
    if (err != ERR_OK)
        reset(coord, group);
    return err;
}

/* A coordinator's load: the members get their whole session to be heard of again. */
void classic_loaded(struct coord *coord, struct group *group, const struct coord_call *call)
{
    LIST_FOREACH (node, &group->classic.members)
        classic_member_touch(coord, LIST_ENTRY(node, struct classic_member, link), call->now_ms);
    if (group->classic.must_rebalance ||
        group->classic.member_count > (size_t)coord->config->group_size_max)
        classic_prepare(coord, group, call);
}

void classic_on_topics(struct coord *coord, struct group *group, const struct coord_call *call)
{
    if (group->classic.must_rebalance && classic_state(group) == CLASSIC_STABLE)
        classic_prepare(coord, group, call);
}

/* --- records --- */

static enum err fill_members(const struct group *group, struct arena *arena,
                             struct group_metadata_value *value)
{
    const struct classic *classic = &group->classic;
    value->members = MSG_ARRAY(group_metadata_value_member_metadata, arena, classic->member_count);
    if (!value->members)
        return ERR_NOMEM;
    LIST_FOREACH (node, &classic->members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        struct group_metadata_value_member_metadata *out = &value->members[value->members_len++];
        out->member_id = member->id;
        out->group_instance_id = member->instance_id;
        out->client_id = member->client_id;
        out->client_host = member->client_host;
        out->rebalance_timeout = member->rebalance_timeout_ms;
        out->session_timeout = member->session_timeout_ms;
        out->subscription = classic_member_metadata(member, classic->protocol);
        out->assignment = member->assignment;
        if (!out->subscription.data)
            out->subscription = slice_of("", 0);
    }
    return ERR_OK;
}

enum err classic_record(const struct group *group, const struct coord_call *call)
{
    const struct classic *classic = &group->classic;
    struct group_metadata_key *key = arena_zalloc(call->arena, sizeof(*key));
    struct group_metadata_value *value = arena_zalloc(call->arena, sizeof(*value));
    if (!key || !value)
        return ERR_NOMEM;
    *key = (struct group_metadata_key){group->id};
    MSG_INIT(group_metadata_value, value);
    value->protocol_type = str_is_null(classic->protocol_type) ? STR("") : classic->protocol_type;
    value->generation = classic->generation;
    value->protocol = classic->protocol;
    value->leader = classic->leader ? classic->leader->id : STR_NULL;
    value->current_state_timestamp = classic->state_ms;
    TRY(fill_members(group, call->arena, value));
    struct coord_record record = {.type = COORD_GROUP_METADATA,
                                  .version = GROUP_VALUE_VERSION,
                                  .key = key,
                                  .value = value,
                                  .is_applied = true};
    return coord_records_add(call->records, &record);
}

enum err classic_tombstone(const struct group *group, const struct coord_call *call)
{
    struct group_metadata_key *key = arena_zalloc(call->arena, sizeof(*key));
    if (!key)
        return ERR_NOMEM;
    *key = (struct group_metadata_key){group->id};
    return coord_records_add(call->records,
                             &(struct coord_record){.type = COORD_GROUP_METADATA, .key = key});
}

size_t classic_record_bytes(const struct group *group)
{
    const struct classic *classic = &group->classic;
    size_t bytes = RECORD_BYTES + group->id.len + classic->protocol_type.len +
                   classic->protocol.len + (classic->leader ? classic->leader->id.len : 0);
    LIST_FOREACH (node, &classic->members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        bytes += MEMBER_BYTES + member->id.len + member->instance_id.len + member->client_id.len +
                 member->client_host.len + member->assignment.len +
                 classic_member_metadata(member, classic->protocol).len;
    }
    return bytes;
}

bool classic_is_unused(const struct group *group)
{
    return classic_state(group) == CLASSIC_EMPTY && group->classic.pending.count == 0 &&
           group->classic.generation == 0 && offsets_none(group);
}

/* --- what its state allows --- */

enum err classic_check_commit(const struct group *group, const struct coord_offset_commit *commit)
{
    enum classic_state state = classic_state(group);
    if (commit->generation < 0 && state == CLASSIC_EMPTY)
        return ERR_OK; /* an administrator, or a consumer without membership */
    bool is_member =
        commit->generation >= 0 || commit->member_id.len > 0 || !str_is_null(commit->instance_id);
    if (is_member) {
        TRY(classic_check_member(group, commit->member_id, commit->instance_id));
        if (commit->generation != group->classic.generation && !PLANTED(COORD_OLD_GENERATION))
            return ERR_ILLEGAL_GENERATION;
    } else if (state != CLASSIC_EMPTY) {
        return ERR_UNKNOWN_MEMBER_ID;
    }
    return state == CLASSIC_COMPLETING ? ERR_REBALANCE_IN_PROGRESS : ERR_OK;
}

void classic_on_commit(struct coord *coord, struct group *group, const struct coord_call *call,
                       struct str member_id)
{
    struct classic_member *member = classic_member_find(group, member_id);
    enum classic_state state = classic_state(group);
    if (member && (state == CLASSIC_STABLE || state == CLASSIC_PREPARING))
        classic_member_touch(coord, member, call->now_ms);
}

static bool is_consumer(const struct group *group)
{
    return str_eq(group->classic.protocol_type, PROTOCOL_TYPE_CONSUMER);
}

enum err classic_check_offset_delete(const struct group *group)
{
    bool is_free = classic_state(group) == CLASSIC_EMPTY || is_consumer(group);
    return is_free ? ERR_OK : ERR_NON_EMPTY_GROUP;
}

/* Whether a subscription of the consumer protocol names the topic: version, then a list of names,
 * which is what all versions begin with. ERR_MALFORMED where it is not one. */
static enum err subscription_has(struct slice metadata, struct str topic, bool *has)
{
    if (metadata.len < sizeof(uint16_t) + sizeof(uint32_t))
        return ERR_MALFORMED;
    int32_t count = (int32_t)be32_load(metadata.data + sizeof(uint16_t));
    size_t at = sizeof(uint16_t) + sizeof(uint32_t);
    for (int32_t i = 0; i < count; i++) {
        if (metadata.len - at < sizeof(uint16_t))
            return ERR_MALFORMED;
        int16_t len = (int16_t)be16_load(metadata.data + at);
        at += sizeof(uint16_t);
        if (len < 0 || metadata.len - at < (size_t)len)
            return ERR_MALFORMED;
        struct str name = {(const char *)metadata.data + at, (size_t)len};
        *has |= str_eq(name, topic);
        at += (size_t)len;
    }
    return ERR_OK;
}

bool classic_is_subscribed(const struct group *group, struct str topic)
{
    const struct classic *classic = &group->classic;
    if (!is_consumer(group))
        return false;
    if (str_is_null(classic->protocol))
        return classic->member_count > 0; /* nobody knows yet to what */
    bool has = false;
    LIST_FOREACH (node, &classic->members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        struct slice metadata = classic_member_metadata(member, classic->protocol);
        if (subscription_has(metadata, topic, &has) != ERR_OK)
            return true; /* it cannot be told: nothing is taken away */
    }
    return has;
}

bool classic_expiry_base(const struct group *group, const struct offset *offset, int64_t *base_ms)
{
    const struct classic *classic = &group->classic;
    *base_ms = offset->commit_ms;
    if (str_is_null(classic->protocol_type))
        return true; /* without membership: from the commit on */
    if (classic_state(group) == CLASSIC_EMPTY) {
        if (classic->state_ms != STATE_TIME_NONE)
            *base_ms = classic->state_ms;
        return true;
    }
    return is_consumer(group) && classic_state(group) == CLASSIC_STABLE;
}
