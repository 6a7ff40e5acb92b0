/* The records of consumer groups replayed into their state.
 *
 *    3  the group's epoch, and the hash of its topics
 *    4  topics, as Kafka before 4.1 kept them: only that there are some
 *    5  a member and what it subscribes to
 *    6  for which of the group's epochs the target was computed
 *    7  what a member shall have
 *    8  what a member has, and must give back
 *   16  the topics that a regular expression matches
 *
 * A compacted log tells of a part of them, in any order. Pure; runs on the shard that owns the
 * partition of `__consumer_offsets`. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/consumer.h"

/* No topic has so many; a record that says otherwise is damaged. */
#define PARTITION_MAX 1000000

/* The group of a record: made, if there is none and the record is no tombstone. */
static enum err replay_group(struct coord *coord, struct str id, bool may_create,
                             struct group **out)
{
    struct group *group = group_find(coord, id);
    *out = group;
    if (group && group->type == GROUP_CONSUMER)
        return ERR_OK;
    *out = NULL;
    if (!may_create)
        return ERR_OK;
    if (!group)
        TRY(group_create(coord, id, &group));
    TRY(consumer_init(coord, group));
    *out = group;
    return ERR_OK;
}

static enum err replay_epoch(struct coord *coord, const struct coord_record *record)
{
    const struct consumer_group_metadata_key *key = record->key;
    const struct consumer_group_metadata_value *value = record->value;
    struct group *group;
    TRY(replay_group(coord, key->group_id, value != NULL, &group));
    if (value) {
        group->consumer->epoch = value->epoch;
        group->consumer->metadata_hash = value->metadata_hash;
        group->consumer->has_news = true;
    } else if (group && !offsets_none(group)) {
        consumer_free(coord, group, NULL);
    } else if (group) {
        group_free(coord, group, NULL);
    }
    return ERR_OK;
}

bool consumer_yields(struct coord *coord, const struct coord_record *record)
{
    const struct group_metadata_key *key = record->key;
    struct group *group = group_find(coord, key->group);
    if (!group || !group->consumer)
        return true;
    if (!record->value)
        return false;
    consumer_free(coord, group, NULL);
    return true;
}

static enum err replay_partition_metadata(struct coord *coord, const struct coord_record *record)
{
    const struct consumer_group_partition_metadata_key *key = record->key;
    struct group *group;
    TRY(replay_group(coord, key->group_id, record->value != NULL, &group));
    if (group)
        group->consumer->has_partition_metadata = record->value != NULL;
    return ERR_OK;
}

static struct str copy_text(char **at, struct str s)
{
    if (str_is_null(s))
        return STR_NULL;
    char *copy = *at;
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    *at += s.len;
    return (struct str){copy, s.len};
}

static enum err member_set_text(struct consumer_member *member,
                                const struct consumer_group_member_metadata_value *value)
{
    char *text = malloc(value->instance_id.len + value->rack_id.len + value->client_id.len +
                        value->client_host.len + value->server_assignor.len + 1);
    if (!text)
        return ERR_NOMEM;
    char *at = text;
    member->instance_id = copy_text(&at, value->instance_id);
    member->rack_id = copy_text(&at, value->rack_id);
    member->client_id = copy_text(&at, value->client_id);
    member->client_host = copy_text(&at, value->client_host);
    member->assignor = copy_text(&at, value->server_assignor);
    free(member->text);
    member->text = text;
    return ERR_OK;
}

static enum err
classic_copy(const struct consumer_group_member_metadata_value_classic_member_metadata *value,
             struct consumer_classic **out)
{
    *out = NULL;
    if (!value)
        return ERR_OK;
    size_t count = (size_t)value->supported_protocols_len;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes +=
            value->supported_protocols[i].name.len + value->supported_protocols[i].metadata.len;
    struct consumer_classic *classic =
        malloc(sizeof(*classic) + count * sizeof(classic->protocols[0]) + bytes + 1);
    if (!classic)
        return ERR_NOMEM;
    classic->session_timeout_ms = value->session_timeout_ms;
    classic->protocol_count = count;
    char *at = (char *)&classic->protocols[count];
    for (size_t i = 0; i < count; i++) {
        struct slice metadata = value->supported_protocols[i].metadata;
        classic->protocols[i].name = copy_text(&at, value->supported_protocols[i].name);
        struct str copy = copy_text(&at, (struct str){(const char *)metadata.data, metadata.len});
        classic->protocols[i].metadata = slice_of(copy.data, copy.len);
    }
    *out = classic;
    return ERR_OK;
}

static enum err member_set(struct consumer_member *member,
                           const struct consumer_group_member_metadata_value *value)
{
    struct consumer *consumer = member->group->consumer;
    struct consumer_regex *regex = NULL;
    struct consumer_classic *classic;
    struct consumer_topic **topics;
    if (value->subscribed_topic_regex.len > 0)
        TRY(consumer_regex_get(consumer, value->subscribed_topic_regex, &regex));
    /* The decoded names are nobody else's. */
    size_t count = consumer_names_normalize(value->subscribed_topic_names,
                                            (size_t)value->subscribed_topic_names_len);
    TRY(classic_copy(value->classic_member_metadata, &classic));
    enum err err = member_set_text(member, value);
    if (err == ERR_OK)
        err = consumer_topics_get(consumer, value->subscribed_topic_names, count, &topics);
    if (err != ERR_OK) {
        free(classic);
        return err;
    }
    member->rebalance_timeout_ms = value->rebalance_timeout_ms;
    consumer_member_set_topics(member, topics, count);
    consumer_member_set_regex(member, regex);
    consumer_member_set_classic(member, classic);
    return ERR_OK;
}

static enum err replay_member(struct coord *coord, const struct coord_record *record)
{
    const struct consumer_group_member_metadata_key *key = record->key;
    const struct consumer_group_member_metadata_value *value = record->value;
    struct group *group;
    bool is_strange = value && value->classic_member_metadata &&
                      value->classic_member_metadata->supported_protocols_len == 0;
    if (is_strange)
        return ERR_MALFORMED; /* a classic member's first protocol is what it is told */
    TRY(replay_group(coord, key->group_id, value != NULL, &group));
    if (!group)
        return ERR_OK;
    struct consumer_member *member = consumer_member_find(group->consumer, key->member_id);
    if (!value) {
        if (member)
            consumer_member_free(coord, member, NULL);
        return ERR_OK;
    }
    TRY(consumer_member_get(group, key->member_id, &member));
    return member_set(member, value);
}

static enum err replay_target_epoch(struct coord *coord, const struct coord_record *record)
{
    const struct consumer_group_target_assignment_metadata_key *key = record->key;
    const struct consumer_group_target_assignment_metadata_value *value = record->value;
    struct group *group;
    TRY(replay_group(coord, key->group_id, value != NULL, &group));
    if (group) {
        group->consumer->target_epoch = value ? value->assignment_epoch : -1;
        group->consumer->target_ms = value ? value->assignment_timestamp : 0;
        group->consumer->has_news = true;
    }
    return ERR_OK;
}

/* The partitions of a record, in order, in the arena. */
struct builder {
    struct arena arena;
    struct assignment_builder list;
};

static void builder_init(struct builder *builder, bool with_epochs)
{
    arena_init(&builder->arena, ARENA_NO_LIMIT);
    assignment_builder_init(&builder->list, &builder->arena, with_epochs);
}

/* `epochs` may be NULL: then all are `epoch`. */
static enum err builder_add(struct builder *builder, struct uuid topic_id,
                            const int32_t *partitions, int32_t count, const int32_t *epochs,
                            int32_t epoch)
{
    for (int32_t i = 0; i < count; i++) {
        if (partitions[i] < 0 || partitions[i] >= PARTITION_MAX)
            return ERR_MALFORMED;
        TRY(assignment_builder_add(&builder->list, topic_id, partitions[i],
                                   epochs ? epochs[i] : epoch));
    }
    return ERR_OK;
}

static enum err builder_finish(struct builder *builder, enum err err, struct assignment **out)
{
    struct assignment assignment;
    if (err == ERR_OK)
        err = assignment_builder_finish(&builder->list, &assignment);
    if (err == ERR_OK)
        err = assignment_clone(&assignment, out);
    arena_deinit(&builder->arena);
    return err;
}

static enum err replay_target(struct coord *coord, const struct coord_record *record)
{
    const struct consumer_group_target_assignment_member_key *key = record->key;
    const struct consumer_group_target_assignment_member_value *value = record->value;
    struct group *group;
    TRY(replay_group(coord, key->group_id, value != NULL, &group));
    if (!group)
        return ERR_OK;
    struct consumer_member *member = consumer_member_find(group->consumer, key->member_id);
    if (!value) {
        if (member) {
            free(member->target);
            member->target = NULL;
        }
        return ERR_OK;
    }
    TRY(consumer_member_get(group, key->member_id, &member));
    struct builder builder;
    builder_init(&builder, false);
    enum err err = ERR_OK;
    for (int32_t i = 0; err == ERR_OK && i < value->topic_partitions_len; i++)
        err = builder_add(&builder, value->topic_partitions[i].topic_id,
                          value->topic_partitions[i].partitions,
                          value->topic_partitions[i].partitions_len, NULL, 0);
    struct assignment *target;
    TRY(builder_finish(&builder, err, &target));
    free(member->target);
    member->target = target;
    return ERR_OK;
}

static enum err
current_partitions(const struct consumer_group_current_member_assignment_value_topic_partitions *in,
                   int32_t count, int32_t member_epoch, struct assignment **out)
{
    struct builder builder;
    builder_init(&builder, true);
    enum err err = ERR_OK;
    int32_t fallback = member_epoch > 0 ? member_epoch : 0;
    for (int32_t i = 0; err == ERR_OK && i < count; i++) {
        bool has_epochs = in[i].assignment_epochs_len == in[i].partitions_len;
        err = builder_add(&builder, in[i].topic_id, in[i].partitions, in[i].partitions_len,
                          has_epochs ? in[i].assignment_epochs : NULL, fallback);
    }
    return builder_finish(&builder, err, out);
}

static enum consumer_state state_of(int8_t value)
{
    return value >= CONSUMER_STABLE && value <= CONSUMER_UNRELEASED ? (enum consumer_state)value
                                                                    : CONSUMER_UNKNOWN;
}

static enum err replay_current(struct coord *coord, const struct coord_record *record)
{
    static const struct consumer_group_current_member_assignment_value gone = {
        .member_epoch = CONSUMER_EPOCH_LEAVE,
        .previous_member_epoch = CONSUMER_EPOCH_LEAVE,
    };
    const struct consumer_group_current_member_assignment_key *key = record->key;
    const struct consumer_group_current_member_assignment_value *value = record->value;
    struct group *group;
    TRY(replay_group(coord, key->group_id, value != NULL, &group));
    struct consumer_member *member =
        group ? consumer_member_find(group->consumer, key->member_id) : NULL;
    if (!value && !member)
        return ERR_OK;
    if (!value)
        value = &gone;
    TRY(consumer_member_get(group, key->member_id, &member));
    struct assignment *assigned;
    struct assignment *pending;
    TRY(current_partitions(value->assigned_partitions, value->assigned_partitions_len,
                           value->member_epoch, &assigned));
    enum err err =
        current_partitions(value->partitions_pending_revocation,
                           value->partitions_pending_revocation_len, value->member_epoch, &pending);
    if (err != ERR_OK) {
        free(assigned);
        return err;
    }
    member->epoch = value->member_epoch;
    member->previous_epoch = value->previous_member_epoch;
    member->state = state_of(value->state);
    group->consumer->has_news = true;
    return consumer_member_set_current(member, assigned, pending);
}

static enum err replay_regex(struct coord *coord, const struct coord_record *record)
{
    const struct consumer_group_regular_expression_key *key = record->key;
    const struct consumer_group_regular_expression_value *value = record->value;
    struct group *group;
    TRY(replay_group(coord, key->group_id, value != NULL, &group));
    if (!group)
        return ERR_OK;
    struct consumer *consumer = group->consumer;
    struct consumer_regex *regex = consumer_regex_find(consumer, key->regular_expression);
    if (!value) {
        if (regex) {
            consumer_regex_set_topics(consumer, regex, NULL, 0);
            regex->is_resolved = false;
            consumer_regex_release(consumer, regex);
        }
        return ERR_OK;
    }
    struct consumer_topic **topics;
    TRY(consumer_regex_get(consumer, key->regular_expression, &regex));
    size_t count = consumer_names_normalize(value->topics, (size_t)value->topics_len);
    TRY(consumer_topics_get(consumer, value->topics, count, &topics));
    consumer_regex_set_topics(consumer, regex, topics, count);
    regex->is_resolved = true;
    regex->version = value->version;
    regex->timestamp_ms = value->timestamp;
    return ERR_OK;
}

enum err consumer_replay(struct coord *coord, const struct coord_record *record)
{
    switch (record->type) {
    case COORD_CONSUMER_GROUP_METADATA:
        return replay_epoch(coord, record);
    case COORD_CONSUMER_GROUP_PARTITION_METADATA:
        return replay_partition_metadata(coord, record);
    case COORD_CONSUMER_GROUP_MEMBER_METADATA:
        return replay_member(coord, record);
    case COORD_CONSUMER_GROUP_TARGET_METADATA:
        return replay_target_epoch(coord, record);
    case COORD_CONSUMER_GROUP_TARGET_MEMBER:
        return replay_target(coord, record);
    case COORD_CONSUMER_GROUP_CURRENT_MEMBER:
        return replay_current(coord, record);
    case COORD_CONSUMER_GROUP_REGEX:
        return replay_regex(coord, record);
    default:
        UNREACHABLE();
    }
}
