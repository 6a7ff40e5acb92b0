/* ConsumerGroupHeartbeat: a member joins, stays, changes what it wants, or leaves.
 *
 * What a heartbeat asks for is checked against the state first; only then is anything written, in
 * this order: the member, its regular expression, the group's epoch, the target, what the member
 * has. The answer is what the member has then. A member that is not heard of for the session's time
 * is taken out, and so is one that does not give back what it must within its own rebalance time.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "coord/consumer_beat.h"
#include "coord/topic_regex.h"

#define VERSION_MEMBER_ID 1 /* from here on the client invents its member id */

/* A member that is not there yet asks again so soon; one that is, after the configured time. */
#define UNSETTLED_INTERVAL_MS 500

/* A client that bears to wait for less than its interval has a gap until the next heartbeat, in
 * which it hears nothing: after each answer, and after each other request, which ends the waiting.
 * So its interval is not long. */
#define PATIENT_INTERVAL_MS 2000

/* --- refusing --- */

static enum err __attribute__((format(printf, 3, 4)))
refuse(struct coord_consumer_heartbeat *in, enum err err, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    in->message = arena_str(in->op.arena, str_of(text));
    return err;
}

/* As Java trims: nothing but blanks and control characters. A null string is not said, so not
 * empty. */
static bool is_empty(struct str s)
{
    if (str_is_null(s))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if ((uint8_t)s.data[i] > ' ')
            return false;
    return true;
}

static enum err check_join(struct coord_consumer_heartbeat *in)
{
    if (in->rebalance_timeout_ms == -1)
        return refuse(in, ERR_INVALID_REQUEST,
                      "RebalanceTimeoutMs must be provided in first request.");
    if (!in->owned || in->owned->count > 0)
        return refuse(in, ERR_INVALID_REQUEST, "TopicPartitions must be empty when (re-)joining.");
    if (in->topics_len < 0 && str_is_null(in->regex))
        return refuse(in, ERR_INVALID_REQUEST,
                      "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when "
                      "(re-)joining.");
    return ERR_OK;
}

static enum err check_assignor(const struct coord *coord, struct coord_consumer_heartbeat *in)
{
    const struct coord_consumer_config *config = &coord->config->consumer;
    char names[64] = "";
    if (str_is_null(in->assignor))
        return ERR_OK;
    for (size_t i = 0; i < config->assignor_count; i++) {
        struct str name = assignor_name((enum assignor)config->assignors[i]);
        if (str_eq(in->assignor, name))
            return ERR_OK;
        size_t used = strlen(names);
        (void)snprintf(names + used, sizeof(names) - used, "%s%.*s", i > 0 ? ", " : "",
                       STR_ARG(name));
    }
    return refuse(in, ERR_UNSUPPORTED_ASSIGNOR,
                  "ServerAssignor %.*s is not supported. Supported assignors: %s.",
                  STR_ARG(in->assignor), names);
}

/* What can be said without looking at the group. */
static enum err check_request(const struct coord *coord, struct coord_consumer_heartbeat *in)
{
    bool needs_id = in->api_version >= VERSION_MEMBER_ID || in->member_epoch > 0 ||
                    in->member_epoch == CONSUMER_EPOCH_LEAVE;
    if (needs_id && is_empty(in->member_id))
        return refuse(in, ERR_INVALID_REQUEST, "MemberId can't be empty.");
    if (is_empty(in->group_id))
        return refuse(in, ERR_INVALID_REQUEST, "GroupId can't be empty.");
    if (is_empty(in->instance_id))
        return refuse(in, ERR_INVALID_REQUEST, "InstanceId can't be empty.");
    if (is_empty(in->rack_id))
        return refuse(in, ERR_INVALID_REQUEST, "RackId can't be empty.");
    if (in->member_epoch == CONSUMER_EPOCH_JOIN)
        TRY(check_join(in));
    else if (in->member_epoch == CONSUMER_EPOCH_LEAVE_STATIC && str_is_null(in->instance_id))
        return refuse(in, ERR_INVALID_REQUEST, "InstanceId can't be null.");
    else if (in->member_epoch < CONSUMER_EPOCH_LEAVE_STATIC)
        return refuse(in, ERR_INVALID_REQUEST, "MemberEpoch is invalid.");
    return check_assignor(coord, in);
}

/* A member whose last answer was lost speaks with the epoch before; it may, while it has nothing
 * that it was not given. */
static enum err check_epoch(struct coord_consumer_heartbeat *in,
                            const struct consumer_member *member)
{
    if (in->member_epoch == CONSUMER_EPOCH_JOIN)
        return ERR_OK;
    if (in->member_epoch > member->epoch)
        return refuse(in, ERR_FENCED_MEMBER_EPOCH,
                      "The consumer group member has a greater member epoch (%" PRId32
                      ") than the one known by the group coordinator (%" PRId32
                      "). The member must abandon all its partitions and rejoin.",
                      in->member_epoch, member->epoch);
    bool is_retry = in->member_epoch == member->previous_epoch && in->owned &&
                    assignment_is_part(in->owned, member->assigned);
    if (in->member_epoch < member->epoch && !is_retry)
        return refuse(in, ERR_FENCED_MEMBER_EPOCH,
                      "The consumer group member has a smaller member epoch (%" PRId32
                      ") than the one known by the group coordinator (%" PRId32
                      "). The member must abandon all its partitions and rejoin.",
                      in->member_epoch, member->epoch);
    return ERR_OK;
}

static enum err unknown_member(struct coord_consumer_heartbeat *in)
{
    return refuse(in, ERR_UNKNOWN_MEMBER_ID, "Member %.*s is not a member of group %.*s.",
                  STR_ARG(in->member_id), STR_ARG(in->group_id));
}

static enum err unknown_instance(struct coord_consumer_heartbeat *in)
{
    return refuse(in, ERR_UNKNOWN_MEMBER_ID, "Instance id %.*s is unknown.",
                  STR_ARG(in->instance_id));
}

static enum err fenced_instance(struct coord_consumer_heartbeat *in,
                                const struct consumer_member *member)
{
    return refuse(in, ERR_FENCED_INSTANCE_ID,
                  "Static member %.*s with instance id %.*s was fenced by member %.*s.",
                  STR_ARG(in->member_id), STR_ARG(in->instance_id), STR_ARG(member->id));
}

/* The member that has an instance id: mostly the one that says so. */
static struct consumer_member *find_instance(const struct consumer *consumer, struct str member_id,
                                             struct str instance_id)
{
    struct consumer_member *member = consumer_member_find(consumer, member_id);
    if (member && str_eq(member->instance_id, instance_id))
        return member;
    return consumer_instance_find(consumer, instance_id);
}

/* --- leaving --- */

static enum err leave_for_now(struct beat *b, struct consumer_member *member)
{
    struct consumer_current current = {.epoch = CONSUMER_EPOCH_LEAVE_STATIC,
                                       .previous_epoch = member->previous_epoch,
                                       .state = member->state};
    struct assignment_builder kept;
    assignment_builder_init(&kept, b->call->arena, true);
    enum err err = ERR_OK;
    for (size_t t = 0; err == ERR_OK && t < member->assigned->count; t++) {
        const struct topic_partitions *topic = &member->assigned->topics[t];
        for (uint32_t i = 0; err == ERR_OK && i < topic->count; i++)
            err = assignment_builder_add(&kept, topic->topic_id, topic->partitions[i], 0);
    }
    if (err == ERR_OK)
        err = assignment_builder_finish(&kept, &current.assigned);
    TRY(err);
    return consumer_put_current(b->coord, b->call, member, &current);
}

static enum err leave(struct beat *b)
{
    struct coord_consumer_heartbeat *in = b->in;
    if (!b->group)
        return refuse(in, ERR_GROUP_ID_NOT_FOUND, "Group %.*s not found.", STR_ARG(in->group_id));
    if (b->group->type != GROUP_CONSUMER)
        return refuse(in, ERR_GROUP_ID_NOT_FOUND, "Group %.*s is not a consumer group.",
                      STR_ARG(in->group_id));
    struct consumer *consumer = b->group->consumer;
    struct consumer_member *member = str_is_null(in->instance_id)
                                         ? consumer_member_find(consumer, in->member_id)
                                         : find_instance(consumer, in->member_id, in->instance_id);
    if (!member)
        return str_is_null(in->instance_id) ? unknown_member(in) : unknown_instance(in);
    if (!str_is_null(in->instance_id) && !str_eq(member->id, in->member_id))
        return fenced_instance(in, member);
    in->answer_member_id = in->member_id;
    in->answer_epoch = in->member_epoch;
    if (in->member_epoch == CONSUMER_EPOCH_LEAVE_STATIC)
        return leave_for_now(b, member);
    return consumer_fence(b->coord, b->call, b->group, &member, 1);
}

/* --- checking a heartbeat --- */

static enum err check_group(struct beat *b)
{
    struct coord_consumer_heartbeat *in = b->in;
    if (!b->group && !b->joins)
        return refuse(in, ERR_GROUP_ID_NOT_FOUND, "Consumer group %.*s not found.",
                      STR_ARG(in->group_id));
    if (!b->group || b->group->type == GROUP_CONSUMER)
        return ERR_OK;
    if (!b->joins)
        return refuse(in, ERR_GROUP_ID_NOT_FOUND, "Group %.*s is not a consumer group.",
                      STR_ARG(in->group_id));
    if (classic_state(b->group) == CLASSIC_EMPTY)
        return ERR_OK;
    const char *why;
    enum err err = consumer_upgrade_check(b->coord, b->call, b->group, &why);
    if (err == ERR_COORDINATOR_LOAD_IN_PROGRESS)
        return refuse(in, err, "Group %.*s has no generation yet.", STR_ARG(in->group_id));
    return why ? refuse(in, err, "Cannot upgrade classic group %.*s to consumer group because %s.",
                        STR_ARG(in->group_id), why)
               : err;
}

static enum err check_size(struct beat *b)
{
    int32_t max = b->coord->config->consumer.group_size_max;
    const struct consumer *consumer = b->group ? b->group->consumer : NULL;
    if (!consumer || consumer->member_count < (size_t)max ||
        consumer_member_find(consumer, b->in->member_id))
        return ERR_OK;
    return refuse(b->in, ERR_GROUP_MAX_SIZE_REACHED,
                  "The consumer group has reached its maximum capacity of %" PRId32 " members.",
                  max);
}

static enum err check_static(struct beat *b)
{
    struct coord_consumer_heartbeat *in = b->in;
    const struct consumer *consumer = b->group ? b->group->consumer : NULL;
    struct consumer_member *member =
        consumer ? find_instance(consumer, in->member_id, in->instance_id) : NULL;
    b->member = member;
    if (b->joins) {
        if (!member || member->classic || member->epoch == CONSUMER_EPOCH_LEAVE_STATIC)
            return ERR_OK;
        return refuse(in, ERR_UNRELEASED_INSTANCE_ID,
                      "Static member %.*s with instance id %.*s cannot join the group because the "
                      "instance id is owned by %.*s member.",
                      STR_ARG(in->member_id), STR_ARG(in->instance_id), STR_ARG(member->id));
    }
    if (!member)
        return unknown_instance(in);
    if (!str_eq(member->id, in->member_id))
        return fenced_instance(in, member);
    return check_epoch(in, member);
}

static enum err check_member(struct beat *b)
{
    const struct consumer *consumer = b->group ? b->group->consumer : NULL;
    if (!str_is_null(b->in->instance_id))
        return check_static(b);
    b->member = consumer ? consumer_member_find(consumer, b->in->member_id) : NULL;
    if (!b->member)
        return b->joins ? ERR_OK : unknown_member(b->in);
    return check_epoch(b->in, b->member);
}

/* A regular expression that the group does not know yet. */
static enum err check_regex(struct beat *b)
{
    struct coord_consumer_heartbeat *in = b->in;
    if (str_is_null(in->regex) || in->regex.len == 0)
        return ERR_OK;
    if (b->member && b->member->regex && str_eq(b->member->regex->pattern, in->regex))
        return ERR_OK;
    struct topic_regex *regex;
    char why[TOPIC_REGEX_WHY_MAX];
    enum err err = topic_regex_compile(in->regex, &regex, why);
    topic_regex_free(regex);
    if (err != ERR_INVALID_REGULAR_EXPRESSION)
        return err;
    return refuse(in, err, "SubscribedTopicRegex `%.*s` is not a valid regular expression: %s.",
                  (int)(in->regex.len < 300 ? in->regex.len : 300), in->regex.data, why);
}

/* A record of what the member says, and of what it said before where it leaves that out. A static
 * one that comes back is written twice. */
static enum err check_bytes(struct beat *b)
{
    const struct coord_consumer_heartbeat *in = b->in;
    if (in->topics_len < 0 && str_is_null(in->regex))
        return ERR_OK;
    struct consumer_spec spec = {
        .id = in->member_id,
        .instance_id = in->instance_id,
        .rack_id = in->rack_id,
        .client_id = in->op.client_id,
        .client_host = in->op.client_host,
        .assignor = in->assignor,
        .regex = in->regex,
        .topics = in->topics,
        .topic_count = in->topics_len < 0 ? 0 : (size_t)in->topics_len,
    };
    size_t bytes = consumer_spec_bytes(&spec);
    if (b->member && in->topics_len < 0) {
        TRY(consumer_spec_of(b->member, b->call->arena, &spec));
        bytes += consumer_spec_bytes(&spec);
    }
    size_t room = consumer_spec_bytes_max(b->call);
    if (b->member && !str_is_null(in->instance_id))
        room /= 2;
    if (bytes <= room)
        return ERR_OK;
    return refuse(b->in, ERR_UNKNOWN_SERVER_ERROR,
                  "What the member subscribes to takes %zu bytes. A record of its group has room "
                  "for %zu: offsets are kept with the max.message.bytes of __consumer_offsets.",
                  bytes, room);
}

static enum err check(struct beat *b)
{
    TRY(check_group(b));
    TRY(check_size(b));
    TRY(check_member(b));
    TRY(check_regex(b));
    TRY(check_bytes(b));
    bool is_lost = b->member && b->member->state == CONSUMER_UNKNOWN &&
                   (!b->in->owned || b->in->owned->count > 0);
    if (is_lost)
        return refuse(b->in, ERR_FENCED_MEMBER_EPOCH,
                      "The consumer group member is in a unknown state. The member must abandon "
                      "all its partitions and rejoin.");
    return ERR_OK;
}

/* --- doing it --- */

static int name_compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static enum err sorted_names(const struct coord_call *call, const struct str *names, size_t count,
                             struct consumer_spec *spec)
{
    struct str *sorted = arena_array(call->arena, count, sizeof(*sorted));
    if (!sorted)
        return ERR_NOMEM;
    if (count > 0)
        memcpy(sorted, names, count * sizeof(*names));
    if (count > 1)
        qsort(sorted, count, sizeof(*sorted), name_compare);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !str_eq(sorted[i], sorted[kept - 1]))
            sorted[kept++] = sorted[i];
    spec->topics = sorted;
    spec->topic_count = kept;
    return ERR_OK;
}

static bool names_eq(const struct str *a, size_t a_count, const struct str *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (!str_eq(a[i], b[i]))
            return false;
    return true;
}

/* Updates what is said in the heartbeat. */
static enum err update_spec(struct beat *b, struct consumer_spec *spec)
{
    const struct coord_consumer_heartbeat *in = b->in;
    if (!str_is_null(in->instance_id))
        spec->instance_id = in->instance_id;
    if (!str_is_null(in->rack_id))
        spec->rack_id = in->rack_id;
    if (in->rebalance_timeout_ms != -1)
        spec->rebalance_timeout_ms = in->rebalance_timeout_ms;
    if (!str_is_null(in->assignor))
        spec->assignor = in->assignor;
    if (!str_is_null(in->regex))
        spec->regex = in->regex;
    spec->client_id = str_is_null(in->op.client_id) ? STR("") : in->op.client_id;
    spec->client_host = in->op.client_host;
    spec->is_classic = false;
    spec->protocol_count = 0;
    if (in->topics_len >= 0)
        return sorted_names(b->call, in->topics, (size_t)in->topics_len, spec);
    return ERR_OK;
}

struct change {
    bool member;
    bool topics;
    bool regex;
};

static struct change compare(const struct consumer_spec *a, const struct consumer_spec *b)
{
    struct change change = {
        .topics = !names_eq(a->topics, a->topic_count, b->topics, b->topic_count),
        .regex = !str_eq(a->regex, b->regex),
    };
    change.member = change.topics || change.regex || a->is_classic != b->is_classic ||
                    a->rebalance_timeout_ms != b->rebalance_timeout_ms ||
                    !str_eq(a->instance_id, b->instance_id) || !str_eq(a->rack_id, b->rack_id) ||
                    !str_eq(a->assignor, b->assignor) || !str_eq(a->client_id, b->client_id) ||
                    !str_eq(a->client_host, b->client_host);
    return change;
}

/* The group is there, and is a consumer group. */
static enum err begin_group(struct beat *b)
{
    struct coord *coord = b->coord;
    if (!b->group) {
        TRY(group_create(coord, b->in->group_id, &b->group));
        return consumer_init(coord, b->group);
    }
    if (b->group->type == GROUP_CONSUMER)
        return ERR_OK;
    if (classic_state(b->group) != CLASSIC_EMPTY) {
        TRY(consumer_upgrade(coord, b->call, &b->group));
        return check_member(b); /* it may be there, as a classic one */
    }
    TRY(classic_tombstone(b->group, b->call));
    b->call->records->items[b->call->records->count - 1].is_applied = true;
    return consumer_init(coord, b->group);
}

static enum err begin_member(struct beat *b)
{
    struct coord *coord = b->coord;
    if (b->member && !str_eq(b->member->id, b->member_id))
        TRY(consumer_replace_static(coord, b->call, b->member, b->member_id, &b->member));
    else if (b->member && b->joins && !str_is_null(b->in->instance_id)) {
        struct consumer_current current = {.state = b->member->state,
                                           .assigned = *b->member->assigned,
                                           .pending = *b->member->pending};
        TRY(consumer_put_current(coord, b->call, b->member, &current));
    }
    return ERR_OK;
}

static enum err update_member(struct beat *b, struct change *change)
{
    struct consumer_spec before = {.id = b->member_id,
                                   .rebalance_timeout_ms = -1,
                                   .client_id = STR(""),
                                   .client_host = STR(""),
                                   .regex = STR("")};
    struct consumer_regex *regex = b->member ? b->member->regex : NULL;
    if (b->member)
        TRY(consumer_spec_of(b->member, b->call->arena, &before));
    struct consumer_spec after = before;
    TRY(update_spec(b, &after));
    *change = compare(&before, &after);
    change->member |= !b->member;
    if (!change->member)
        return ERR_OK;
    bool is_last = regex && change->regex && regex->members == 1 && regex->is_resolved;
    TRY(consumer_put_member(b->coord, b->call, b->group, &after));
    b->member = consumer_member_find(b->group->consumer, b->member_id);
    ASSERT(b->member);
    return is_last ? consumer_delete_regex(b->coord, b->call, b->group->consumer, regex) : ERR_OK;
}

static bool is_settled(const struct consumer_member *member)
{
    const struct consumer *consumer = member->group->consumer;
    return member->state == CONSUMER_STABLE && member->epoch == consumer->epoch;
}

static int32_t interval_now(const struct beat *b, int32_t interval_ms)
{
    int32_t most_ms = interval_ms;
    /* One whose next answer waits whatever it was told needs no longer pause. */
    if (!is_settled(b->member) || b->in->patience == COORD_PATIENCE_REQUEST)
        most_ms = UNSETTLED_INTERVAL_MS;
    else if (b->in->patience == COORD_PATIENCE_INTERVAL)
        most_ms = PATIENT_INTERVAL_MS;
    return interval_ms < most_ms ? interval_ms : most_ms;
}

enum err beat_answer(struct beat *b, const struct assignment *before)
{
    struct coord_consumer_heartbeat *in = b->in;
    struct consumer_member *member = b->member;
    bool changed = !assignment_eq(before, member->assigned);
    int32_t interval_ms =
        consumer_setting(b->coord, b->call, b->group->id, CONSUMER_HEARTBEAT_INTERVAL);
    interval_ms = interval_now(b, interval_ms);
    in->answer_member_id = arena_str(in->op.arena, member->id);
    in->answer_epoch = member->epoch;
    in->heartbeat_interval_ms = interval_ms;
    bool is_full = in->rebalance_timeout_ms != -1 && in->owned &&
                   (in->topics_len >= 0 || !str_is_null(in->regex));
    if (!b->joins && !is_full && !changed)
        return in->answer_member_id.data ? ERR_OK : ERR_NOMEM;
    struct assignment *assignment = arena_zalloc(in->op.arena, sizeof(*assignment));
    struct assignment_builder copy;
    b->member->has_confirmed = false;
    if (!assignment || !in->answer_member_id.data)
        return ERR_NOMEM;
    assignment_builder_init(&copy, in->op.arena, true);
    for (size_t i = 0; i < member->assigned->count; i++)
        TRY(assignment_builder_add_topic(&copy, &member->assigned->topics[i]));
    TRY(assignment_builder_finish(&copy, assignment));
    in->assignment = assignment;
    bool is_news = !in->owned || !assignment_same_partitions(in->owned, assignment);
    member->news_ms = is_news ? b->call->now_ms : 0;
    return ERR_OK;
}

enum err beat_had(struct beat *b, struct assignment *before)
{
    struct assignment_builder copy;
    *before = assignment_empty;
    if (!b->member)
        return ERR_OK;
    assignment_builder_init(&copy, b->call->arena, true);
    for (size_t i = 0; i < b->member->assigned->count; i++)
        TRY(assignment_builder_add_topic(&copy, &b->member->assigned->topics[i]));
    return assignment_builder_finish(&copy, before);
}

static enum err stay(struct beat *b)
{
    struct coord *coord = b->coord;
    struct assignment before;
    struct change change;
    bool regexes_changed;
    TRY(begin_group(b));
    TRY(begin_member(b));
    beat_measure_trip(b);
    TRY(beat_had(b, &before));
    TRY(update_member(b, &change));
    beat_measure_lateness(b);
    struct consumer *consumer = b->group->consumer;
    TRY(consumer_update_regexes(coord, b->call, consumer, &regexes_changed));
    bool is_left_out = consumer->target_epoch >= consumer->epoch && !b->member->target;
    TRY(consumer_update_epoch(coord, b->call, consumer,
                              change.topics || change.regex || regexes_changed || is_left_out));
    TRY(consumer_update_target(coord, b->call, consumer));
    TRY(consumer_advance(coord, b->call, b->member, change.topics || change.regex, b->in->owned));
    consumer_touch(coord, b->call, b->member);
    enum err err = beat_answer(b, &before);
    if (b->in->owned)
        b->member->has_confirmed = assignment_same_partitions(b->in->owned, b->member->assigned);
    return err;
}

static enum err run(struct beat *b)
{
    struct coord_consumer_heartbeat *in = b->in;
    TRY(check_request(b->coord, in));
    b->joins = in->member_epoch == CONSUMER_EPOCH_JOIN;
    b->group = group_find(b->coord, in->group_id);
    if (in->member_epoch < 0)
        return leave(b);
    TRY(check(b));
    b->member_id = in->member_id;
    if (in->member_id.len == 0)
        b->member_id = consumer_new_id(b->call, in->op.arena);
    if (!b->member_id.data)
        return ERR_NOMEM;
    enum err err = stay(b);
    /* Part of it may have happened: the driver begins anew. */
    if (err != ERR_OK && b->call->records->err == ERR_OK)
        b->call->records->err = err;
    return err;
}

void coord_consumer_heartbeat(struct coord *coord, const struct coord_call *call,
                              struct coord_consumer_heartbeat *heartbeat)
{
    struct beat b = {.coord = coord, .call = call, .in = heartbeat};
    heartbeat->message = heartbeat->answer_member_id = STR_NULL;
    heartbeat->answer_epoch = 0;
    heartbeat->heartbeat_interval_ms = 0;
    heartbeat->assignment = NULL;
    enum err err = run(&b);
    bool is_held = false;
    int32_t told_ms = UNSETTLED_INTERVAL_MS;
    if (err == ERR_OK && heartbeat->member_epoch == CONSUMER_EPOCH_LEAVE)
        beat_begin_quiet(&b);
    if (err == ERR_OK && heartbeat->member_epoch >= 0) {
        beat_forget_held(&b);
        is_held = beat_may_hold(&b);
        if (b.member->told_interval_ms > 0)
            told_ms = b.member->told_interval_ms;
        b.member->told_interval_ms = heartbeat->heartbeat_interval_ms;
    }
    if (is_held)
        beat_hold(&b, told_ms);
    else
        coord_op_end(&heartbeat->op, err, call);
    consumer_tell(coord, call, heartbeat->group_id);
}
