/* The records that change a consumer group: each is made here, added to the call's, and replayed at
 * once. What they borrow must live as long as the call: strings of the group itself are copied into
 * its arena where replaying would free them.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/plant.h"
#include "coord/consumer.h"

/* How long a string is, in a record. */
#define STRING_BYTES ((size_t)3)

enum err consumer_emit(struct coord *coord, const struct coord_call *call, int16_t type,
                       const void *key, const void *value)
{
    struct coord_record record = {.type = type, .key = key, .value = value, .is_applied = true};
    enum err err = key ? coord_records_add(call->records, &record) : ERR_NOMEM;
    if (err == ERR_OK)
        err = consumer_replay(coord, &record);
    if (err != ERR_OK && call->records->err == ERR_OK)
        call->records->err = err;
    return err;
}

/* All keys of a group's own records look alike, and so do those of members'. */
static_assert(sizeof(struct consumer_group_metadata_key) ==
                  sizeof(struct consumer_group_target_assignment_metadata_key),
              "a group id");
static_assert(sizeof(struct consumer_group_member_metadata_key) ==
                      sizeof(struct consumer_group_current_member_assignment_key) &&
                  sizeof(struct consumer_group_member_metadata_key) ==
                      sizeof(struct consumer_group_target_assignment_member_key) &&
                  offsetof(struct consumer_group_member_metadata_key, member_id) ==
                      offsetof(struct consumer_group_current_member_assignment_key, member_id),
              "a group id and a member id");

static void *key_group(const struct coord_call *call, struct str group_id)
{
    struct consumer_group_metadata_key *key = arena_zalloc(call->arena, sizeof(*key));
    if (!key)
        return NULL;
    key->group_id = arena_str(call->arena, group_id);
    return key->group_id.data ? key : NULL;
}

static void *key_member(const struct coord_call *call, struct str group_id, struct str member_id)
{
    struct consumer_group_member_metadata_key *key = arena_zalloc(call->arena, sizeof(*key));
    if (!key)
        return NULL;
    key->group_id = arena_str(call->arena, group_id);
    key->member_id = arena_str(call->arena, member_id);
    return key->group_id.data && key->member_id.data ? key : NULL;
}

static enum err no_memory(const struct coord_call *call)
{
    if (call->records->err == ERR_OK)
        call->records->err = ERR_NOMEM;
    return ERR_NOMEM;
}

enum err consumer_put_epoch(struct coord *coord, const struct coord_call *call,
                            struct consumer *consumer, int32_t epoch)
{
    struct consumer_group_metadata_value *value = arena_zalloc(call->arena, sizeof(*value));
    if (!value)
        return no_memory(call);
    value->epoch = epoch;
    value->metadata_hash = consumer->metadata_hash;
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_METADATA,
                         key_group(call, consumer->group->id), value);
}

enum err consumer_put_target_epoch(struct coord *coord, const struct coord_call *call,
                                   struct consumer *consumer, int32_t epoch, int64_t wall_ms)
{
    struct consumer_group_target_assignment_metadata_value *value =
        arena_zalloc(call->arena, sizeof(*value));
    if (!value)
        return no_memory(call);
    value->assignment_epoch = epoch;
    value->assignment_timestamp = wall_ms;
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_TARGET_METADATA,
                         key_group(call, consumer->group->id), value);
}

/* Records borrow numbers that the codec would let others change; nobody does. */
static int32_t *borrowed(const int32_t *numbers)
{
    return (int32_t *)(uintptr_t)numbers;
}

enum err consumer_put_target(struct coord *coord, const struct coord_call *call,
                             struct consumer_member *member, const struct assignment *target)
{
    struct consumer_group_target_assignment_member_value *value =
        arena_zalloc(call->arena, sizeof(*value));
    if (!value)
        return no_memory(call);
    value->topic_partitions =
        arena_array(call->arena, target->count, sizeof(*value->topic_partitions));
    if (!value->topic_partitions)
        return no_memory(call);
    value->topic_partitions_len = (int32_t)target->count;
    for (size_t i = 0; i < target->count; i++) {
        value->topic_partitions[i].topic_id = target->topics[i].topic_id;
        value->topic_partitions[i].partitions = borrowed(target->topics[i].partitions);
        value->topic_partitions[i].partitions_len = (int32_t)target->topics[i].count;
    }
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_TARGET_MEMBER,
                         key_member(call, member->group->id, member->id), value);
}

static struct consumer_group_current_member_assignment_value_topic_partitions *
current_list(const struct coord_call *call, const struct assignment *assignment)
{
    struct consumer_group_current_member_assignment_value_topic_partitions *list =
        arena_array(call->arena, assignment->count, sizeof(*list));
    for (size_t i = 0; list && i < assignment->count; i++) {
        const struct topic_partitions *topic = &assignment->topics[i];
        list[i].topic_id = topic->topic_id;
        list[i].partitions = borrowed(topic->partitions);
        list[i].partitions_len = (int32_t)topic->count;
        list[i].assignment_epochs = borrowed(topic->epochs);
        list[i].assignment_epochs_len = topic->epochs ? (int32_t)topic->count : -1;
    }
    return list;
}

/* What the member keeps is often what it has: the record must not point into that, since replaying
 * it replaces the member's. */
static enum err detach(const struct coord_call *call, const struct assignment *from,
                       struct assignment *to)
{
    struct assignment_builder builder;
    assignment_builder_init(&builder, call->arena, true);
    for (size_t i = 0; i < from->count; i++)
        TRY(assignment_builder_add_topic(&builder, &from->topics[i]));
    return assignment_builder_finish(&builder, to);
}

enum err consumer_put_current(struct coord *coord, const struct coord_call *call,
                              struct consumer_member *member,
                              const struct consumer_current *current)
{
    struct consumer_group_current_member_assignment_value *value =
        arena_zalloc(call->arena, sizeof(*value));
    struct assignment assigned;
    struct assignment pending;
    if (!value || detach(call, &current->assigned, &assigned) != ERR_OK ||
        detach(call, &current->pending, &pending) != ERR_OK)
        return no_memory(call);
    value->member_epoch = current->epoch;
    value->previous_member_epoch = current->previous_epoch;
    value->state = (int8_t)current->state;
    value->assigned_partitions = current_list(call, &assigned);
    value->assigned_partitions_len = (int32_t)assigned.count;
    value->partitions_pending_revocation = current_list(call, &pending);
    value->partitions_pending_revocation_len = (int32_t)pending.count;
    if (!value->assigned_partitions || !value->partitions_pending_revocation)
        return no_memory(call);
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_CURRENT_MEMBER,
                         key_member(call, member->group->id, member->id), value);
}

size_t consumer_spec_bytes_max(const struct coord_call *call)
{
    return call->batch_bytes_max - call->batch_bytes_max / 8;
}

size_t consumer_spec_bytes(const struct consumer_spec *spec)
{
    size_t bytes = spec->id.len + spec->instance_id.len + spec->rack_id.len + spec->client_id.len +
                   spec->client_host.len + spec->assignor.len + spec->regex.len;
    for (size_t i = 0; i < spec->topic_count; i++)
        bytes += spec->topics[i].len + STRING_BYTES;
    for (size_t i = 0; i < spec->protocol_count; i++)
        bytes += spec->protocols[i].name.len + spec->protocols[i].metadata.len + 2 * STRING_BYTES;
    return bytes;
}

enum err consumer_spec_of(const struct consumer_member *member, struct arena *arena,
                          struct consumer_spec *spec)
{
    struct str *topics = arena_array(arena, member->topic_count, sizeof(*topics));
    if (!topics)
        return ERR_NOMEM;
    for (size_t i = 0; i < member->topic_count; i++)
        topics[i] = member->topics[i]->name;
    *spec = (struct consumer_spec){
        .id = member->id,
        .instance_id = member->instance_id,
        .rack_id = member->rack_id,
        .client_id = member->client_id,
        .client_host = member->client_host,
        .assignor = member->assignor,
        .rebalance_timeout_ms = member->rebalance_timeout_ms,
        .topics = topics,
        .topic_count = member->topic_count,
        .regex = member->regex ? member->regex->pattern : STR(""),
        .is_classic = member->classic != NULL,
        .session_timeout_ms = member->classic ? member->classic->session_timeout_ms : 0,
        .protocols = member->classic ? member->classic->protocols : NULL,
        .protocol_count = member->classic ? member->classic->protocol_count : 0,
    };
    return ERR_OK;
}

/* A null string stays null; *ok turns false where there is no memory. */
static struct str keep(const struct coord_call *call, struct str s, bool *ok)
{
    if (str_is_null(s))
        return s;
    struct str copy = arena_str(call->arena, s);
    *ok = *ok && copy.data;
    return copy;
}

static bool fill_classic(const struct coord_call *call, const struct consumer_spec *spec,
                         struct consumer_group_member_metadata_value *value)
{
    bool ok = true;
    value->classic_member_metadata = NULL;
    if (!spec->is_classic)
        return true;
    struct consumer_group_member_metadata_value_classic_member_metadata *classic =
        arena_zalloc(call->arena, sizeof(*classic));
    if (!classic)
        return false;
    classic->session_timeout_ms = spec->session_timeout_ms;
    classic->supported_protocols =
        arena_array(call->arena, spec->protocol_count, sizeof(*classic->supported_protocols));
    if (!classic->supported_protocols)
        return false;
    classic->supported_protocols_len = (int32_t)spec->protocol_count;
    for (size_t i = 0; i < spec->protocol_count; i++) {
        classic->supported_protocols[i].name = keep(call, spec->protocols[i].name, &ok);
        classic->supported_protocols[i].metadata =
            arena_slice(call->arena, spec->protocols[i].metadata);
        ok = ok && classic->supported_protocols[i].metadata.data;
    }
    value->classic_member_metadata = classic;
    return ok;
}

enum err consumer_put_member(struct coord *coord, const struct coord_call *call,
                             struct group *group, const struct consumer_spec *spec)
{
    struct consumer_group_member_metadata_value *value = arena_zalloc(call->arena, sizeof(*value));
    struct str *topics = arena_array(call->arena, spec->topic_count, sizeof(*topics));
    if (!value || !topics)
        return no_memory(call);
    bool ok = true;
    for (size_t i = 0; i < spec->topic_count; i++)
        topics[i] = keep(call, spec->topics[i], &ok);
    value->instance_id = keep(call, spec->instance_id, &ok);
    value->rack_id = keep(call, spec->rack_id, &ok);
    value->client_id = keep(call, spec->client_id, &ok);
    value->client_host = keep(call, spec->client_host, &ok);
    value->server_assignor = keep(call, spec->assignor, &ok);
    value->subscribed_topic_names = topics;
    value->subscribed_topic_names_len = (int32_t)spec->topic_count;
    value->subscribed_topic_regex = keep(call, spec->regex, &ok);
    value->rebalance_timeout_ms = spec->rebalance_timeout_ms;
    if (!fill_classic(call, spec, value) || !ok)
        return no_memory(call);
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_MEMBER_METADATA,
                         key_member(call, group->id, spec->id), value);
}

/* Tombstones of the member alone. */
static enum err delete_member(struct coord *coord, const struct coord_call *call,
                              struct consumer_member *member, enum err held_err)
{
    coord_ops_end(&member->held, held_err, call->done);
    void *key = key_member(call, member->group->id, member->id);
    TRY(consumer_emit(coord, call, COORD_CONSUMER_GROUP_CURRENT_MEMBER, key, NULL));
    if (!PLANTED(COORD_HALF_DELETED))
        TRY(consumer_emit(coord, call, COORD_CONSUMER_GROUP_TARGET_MEMBER, key, NULL));
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_MEMBER_METADATA, key, NULL);
}

enum err consumer_replace_static(struct coord *coord, const struct coord_call *call,
                                 struct consumer_member *before, struct str member_id,
                                 struct consumer_member **after)
{
    struct group *group = before->group;
    struct consumer_spec spec;
    struct assignment target = assignment_empty;
    struct consumer_current current = {.state = before->state};
    if (consumer_spec_of(before, call->arena, &spec) != ERR_OK ||
        detach(call, before->assigned, &current.assigned) != ERR_OK ||
        detach(call, before->pending, &current.pending) != ERR_OK ||
        (before->target && detach(call, before->target, &target) != ERR_OK))
        return no_memory(call);
    /* Its strings go with it. */
    bool ok = true;
    spec.id = member_id;
    spec.instance_id = keep(call, spec.instance_id, &ok);
    spec.rack_id = keep(call, spec.rack_id, &ok);
    spec.client_id = keep(call, spec.client_id, &ok);
    spec.client_host = keep(call, spec.client_host, &ok);
    spec.assignor = keep(call, spec.assignor, &ok);
    spec.regex = keep(call, spec.regex, &ok);
    struct str *topics = arena_array(call->arena, spec.topic_count, sizeof(*topics));
    for (size_t i = 0; topics && i < spec.topic_count; i++)
        topics[i] = keep(call, spec.topics[i], &ok);
    spec.topics = topics;
    struct consumer_classic *classic = before->classic;
    before->classic = NULL; /* kept for the record of the new one */
    group->consumer->classic_count -= classic != NULL;
    enum err err =
        ok && topics ? delete_member(coord, call, before, ERR_FENCED_INSTANCE_ID) : no_memory(call);
    if (err == ERR_OK)
        err = consumer_put_member(coord, call, group, &spec);
    free(classic);
    TRY(err);
    *after = consumer_member_find(group->consumer, member_id);
    ASSERT(*after);
    TRY(consumer_put_target(coord, call, *after, &target));
    return consumer_put_current(coord, call, *after, &current);
}

enum err consumer_delete_regex(struct coord *coord, const struct coord_call *call,
                               const struct consumer *consumer, const struct consumer_regex *regex)
{
    struct consumer_group_regular_expression_key *key = arena_zalloc(call->arena, sizeof(*key));
    if (!key)
        return no_memory(call);
    bool ok = true;
    key->group_id = keep(call, consumer->group->id, &ok);
    key->regular_expression = keep(call, regex->pattern, &ok);
    if (!ok)
        return no_memory(call);
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_REGEX, key, NULL);
}

enum err consumer_member_delete(struct coord *coord, const struct coord_call *call,
                                struct consumer_member *member)
{
    struct consumer *consumer = member->group->consumer;
    struct consumer_regex *regex = member->regex;
    bool is_last_of_regex = regex && regex->members == 1 && regex->is_resolved;
    TRY(delete_member(coord, call, member, ERR_UNKNOWN_MEMBER_ID));
    if (is_last_of_regex)
        TRY(consumer_delete_regex(coord, call, consumer, regex));
    return ERR_OK;
}

enum err consumer_delete(struct coord *coord, const struct coord_call *call, struct group *group)
{
    struct consumer *consumer = group->consumer;
    void *key = key_group(call, group->id);
    while (consumer->member_count > 0)
        TRY(consumer_member_delete(coord, call, consumer->members[0]));
    while (consumer->regex_count > 0)
        TRY(consumer_delete_regex(coord, call, consumer, consumer->regexes[0]));
    TRY(consumer_emit(coord, call, COORD_CONSUMER_GROUP_TARGET_METADATA, key, NULL));
    TRY(consumer_emit(coord, call, COORD_CONSUMER_GROUP_PARTITION_METADATA, key, NULL));
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_METADATA, key, NULL);
}
