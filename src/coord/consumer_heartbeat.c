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
#include "base/plant.h"
#include "coord/consumer.h"
#include "coord/topic_regex.h"

#define VERSION_MEMBER_ID 1 /* from here on the client invents its member id */

/* A member that is not there yet asks again so soon; one that is, after the configured time. */
#define UNSETTLED_INTERVAL_MS 500

/* A client that bears to wait for less than its interval has a gap until the next heartbeat, in
 * which it hears nothing: after each answer, and after each other request, which ends the waiting.
 * So its interval is not long. */
#define PATIENT_INTERVAL_MS 2000

/* An answer waits for news no longer than this, whatever the client bears, and so much less than
 * the interval where that is what it bears: the client hears nothing meanwhile, and must not give
 * up before the answer is there. Less where the way is known to be short. */
#define HOLD_MAX_MS        3000
#define HOLD_MARGIN_MS     500
#define HOLD_MARGIN_MIN_MS 100
/* And that of one that joins and has to wait for what others give back. */
#define HOLD_JOIN_MS 1000

/* Who leaves is often followed by others, of the same program: what one had would go to the next on
 * its way out. With librdkafka that does harm: a consumer that is destroyed without having been
 * closed, while partitions wait for its rebalance callback, waits for the callback for ever. So its
 * members hear of news this much later. */
#define LEAVE_QUIET_MS 100

struct beat {
    struct coord *coord;
    const struct coord_call *call;
    struct coord_consumer_heartbeat *in;
    struct group *group;            /* NULL: not yet */
    struct consumer_member *member; /* NULL: not yet */
    bool joins;
    struct str member_id;
};

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
static bool is_part(const struct assignment *owned, const struct assignment *assigned)
{
    if (!owned)
        return false;
    for (size_t t = 0; t < owned->count; t++) {
        const struct topic_partitions *topic = &owned->topics[t];
        for (uint32_t i = 0; i < topic->count; i++)
            if (!assignment_has(assigned, topic->topic_id, topic->partitions[i]))
                return false;
    }
    return true;
}

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
    bool is_retry =
        in->member_epoch == member->previous_epoch && is_part(in->owned, member->assigned);
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

/* The client has what it shall have, no more and no less. */
static bool has_all(const struct assignment *owned, const struct assignment *assigned)
{
    return assignment_partition_count(owned) == assignment_partition_count(assigned) &&
           is_part(owned, assigned);
}

/* The client says that it has what it was told, which it cannot have said before it was: the way
 * there and back takes no longer than this. The least counts: applications take their time. */
static void measure_trip(const struct beat *b)
{
    struct consumer_member *member = b->member;
    if (!member || !b->in->owned || member->news_ms == 0 ||
        !has_all(b->in->owned, member->assigned))
        return;
    int64_t trip_ms = b->call->now_ms - member->news_ms + 1;
    member->news_ms = 0;
    if (member->trip_ms == 0 || trip_ms < member->trip_ms)
        member->trip_ms = trip_ms < INT32_MAX ? (int32_t)trip_ms : INT32_MAX;
}

/* Its interval counts from when it sends: what comes later shows that the client, the way or we
 * were held up. That is forgotten in time. */
static void measure_lateness(const struct beat *b)
{
    struct consumer_member *member = b->member;
    int64_t late_ms = 0;
    if (member->spoke_ms > 0 && member->told_interval_ms > 0)
        late_ms = b->call->now_ms - member->spoke_ms - member->told_interval_ms;
    if (late_ms > HOLD_MARGIN_MS)
        late_ms = HOLD_MARGIN_MS;
    member->late_ms -= (member->late_ms + 7) / 8;
    if (late_ms > member->late_ms)
        member->late_ms = (int32_t)late_ms;
    member->spoke_ms = b->call->now_ms;
}

static enum err answer(struct beat *b, const struct assignment *before)
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
    bool is_news = !in->owned || !has_all(in->owned, assignment);
    member->news_ms = is_news ? b->call->now_ms : 0;
    return ERR_OK;
}

/* What the member had when it spoke; the answer tells what differs. */
static enum err had(struct beat *b, struct assignment *before)
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
    measure_trip(b);
    TRY(had(b, &before));
    TRY(update_member(b, &change));
    measure_lateness(b);
    struct consumer *consumer = b->group->consumer;
    TRY(consumer_update_regexes(coord, b->call, consumer, &regexes_changed));
    bool is_left_out = consumer->target_epoch >= consumer->epoch && !b->member->target;
    TRY(consumer_update_epoch(coord, b->call, consumer,
                              change.topics || change.regex || regexes_changed || is_left_out));
    TRY(consumer_update_target(coord, b->call, consumer));
    TRY(consumer_advance(coord, b->call, b->member, change.topics || change.regex, b->in->owned));
    consumer_touch(coord, b->call, b->member);
    enum err err = answer(b, &before);
    if (b->in->owned)
        b->member->has_confirmed = has_all(b->in->owned, b->member->assigned);
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

/* --- waiting for news --- */

/* Something for the member to hear of: it is not where the target is, or what it waits for is free.
 */
static bool has_news(const struct consumer_member *member)
{
    const struct consumer *consumer = member->group->consumer;
    if (member->epoch != consumer->target_epoch)
        return true;
    if (member->state == CONSUMER_UNRELEASED)
        return consumer_lacks(member, true);
    return member->state != CONSUMER_STABLE;
}

/* For the answer to get there: what that took, or takes by now, and how late things were of late,
 * twice, since it is not always the same. */
static int64_t hold_margin_ms(const struct beat *b)
{
    const struct consumer_member *member = b->member;
    int64_t trip_ms = b->in->trip_ms > member->trip_ms ? b->in->trip_ms : member->trip_ms;
    int64_t margin_ms = HOLD_MARGIN_MIN_MS + 2 * (trip_ms + member->late_ms);
    bool is_short = member->trip_ms > 0 && margin_ms < HOLD_MARGIN_MS;
    return is_short ? margin_ms : HOLD_MARGIN_MS;
}

/* `told_ms`: the interval that the client was last told when it sent this. */
static int64_t hold_ms(const struct beat *b, int32_t told_ms)
{
    const struct coord_consumer_heartbeat *in = b->in;
    int64_t margin_ms = hold_margin_ms(b);
    bool joins = in->member_epoch == CONSUMER_EPOCH_JOIN;
    switch (in->patience) {
    case COORD_PATIENCE_NONE:
        return 0;
    case COORD_PATIENCE_INTERVAL:
        return told_ms - (told_ms / 2 < margin_ms ? told_ms / 2 : margin_ms);
    case COORD_PATIENCE_REQUEST:
        break;
    }
    /* Such a client says nothing meanwhile: its session must not end before it is its turn. */
    int64_t most_ms =
        consumer_setting(b->coord, b->call, b->group->id, CONSUMER_SESSION_TIMEOUT) / 3;
    int64_t wait_ms = joins ? HOLD_JOIN_MS : HOLD_MAX_MS;
    return wait_ms < most_ms ? wait_ms : most_ms;
}

/* The answer is there, and says nothing new: it may as well come later. Only where the client has
 * done all that it was told, so that it has nothing to say that would wait behind it; or where it
 * just joined, and gets nothing yet. */
static bool may_hold(const struct beat *b)
{
    const struct coord_consumer_heartbeat *in = b->in;
    if (in->patience == COORD_PATIENCE_NONE || has_news(b->member))
        return false;
    if (b->joins)
        return b->member->state == CONSUMER_UNRELEASED && b->member->assigned->count == 0;
    bool is_epoch_near =
        in->answer_epoch == in->member_epoch || in->member_epoch == b->member->previous_epoch;
    return is_epoch_near && !in->assignment && b->member->has_confirmed;
}

static void hold(const struct beat *b, int32_t told_ms)
{
    struct coord_consumer_heartbeat *in = b->in;
    in->op.waits_for_news = true;
    coord_op_wait(&in->op, &b->member->held);
    coord_timer_set(b->coord, &b->member->hold, b->call->now_ms + hold_ms(b, told_ms));
}

void consumer_on_hold(struct coord *coord, const struct coord_call *call, struct coord_timer *timer)
{
    struct consumer_member *member = CONTAINER_OF(timer, struct consumer_member, hold);
    (void)coord;
    coord_ops_end(&member->held, ERR_OK, call->done);
}

static struct coord_consumer_heartbeat *held_beat(const struct consumer_member *member)
{
    struct coord_op *op = LIST_ENTRY(member->held.next, struct coord_op, link);
    return CONTAINER_OF(op, struct coord_consumer_heartbeat, op);
}

static void tell_member(struct coord *coord, const struct coord_call *call,
                        struct consumer_member *member)
{
    struct beat b = {.coord = coord,
                     .call = call,
                     .in = held_beat(member),
                     .group = member->group,
                     .member = member};
    struct assignment before;
    enum err err = had(&b, &before);
    if (err == ERR_OK)
        err = consumer_advance(coord, call, member, false, b.in->owned);
    if (err == ERR_OK)
        err = answer(&b, &before);
    if (err != ERR_OK && call->records->err == ERR_OK)
        call->records->err = err;
    member->told_interval_ms = b.in->heartbeat_interval_ms;
    consumer_touch(coord, call, member);
    coord_op_end(&b.in->op, err, call);
}

/* Whether all that changes for the member is its epoch. Then it gets there without being told: the
 * answer that waits will say so. Once only: if that answer is lost, its client comes with the epoch
 * before, which is still known. */
static bool is_silent(const struct consumer_member *member)
{
    const struct coord_consumer_heartbeat *in = held_beat(member);
    return member->state == CONSUMER_STABLE && member->target &&
           in->member_epoch == member->epoch && has_all(member->target, member->assigned);
}

static void move_silently(struct coord *coord, const struct coord_call *call,
                          struct consumer_member *member)
{
    enum err err = consumer_advance(coord, call, member, false, NULL);
    if (err != ERR_OK && call->records->err == ERR_OK)
        call->records->err = err;
    held_beat(member)->answer_epoch = member->epoch;
}

/* Whether one that waits may be told now. */
static bool may_tell(const struct consumer_member *member)
{
    bool is_quiet = member->group->consumer->quiet.node.is_linked;
    return !is_quiet || held_beat(member)->patience != COORD_PATIENCE_INTERVAL;
}

static void tell_if_news(struct coord *coord, const struct coord_call *call,
                         struct consumer_member *member)
{
    if (has_news(member) && is_silent(member))
        move_silently(coord, call, member);
    if (has_news(member) && may_tell(member))
        tell_member(coord, call, member);
}

static bool anybody_waits(const struct consumer *consumer)
{
    for (size_t i = 0; i < consumer->member_count; i++) {
        if (!list_is_empty(&consumer->members[i]->held))
            return true;
    }
    return false;
}

void consumer_tell(struct coord *coord, const struct coord_call *call, struct str group_id)
{
    struct group *group = group_find(coord, group_id);
    struct consumer *consumer = group ? group->consumer : NULL;
    if (!consumer || !consumer->has_news)
        return;
    /* Nobody else may speak for a while. */
    if (anybody_waits(consumer) && consumer_update_target(coord, call, consumer) != ERR_OK)
        return;
    for (size_t i = 0; i < consumer->member_count; i++)
        if (!list_is_empty(&consumer->members[i]->held))
            tell_if_news(coord, call, consumer->members[i]);
    consumer->has_news = consumer->quiet.node.is_linked;
}

void consumer_on_quiet(struct coord *coord, const struct coord_call *call,
                       struct coord_timer *timer)
{
    struct consumer *consumer = CONTAINER_OF(timer, struct consumer, quiet);
    consumer_tell(coord, call, consumer->group->id);
}

static void begin_quiet(struct coord *coord, const struct coord_call *call, struct str group_id)
{
    struct group *group = group_find(coord, group_id);
    if (group && group->consumer)
        coord_timer_set(coord, &group->consumer->quiet, call->now_ms + LEAVE_QUIET_MS);
}

void consumer_on_topics(struct coord *coord, const struct coord_call *call,
                        struct consumer *consumer)
{
    bool regexes_changed;
    if (!anybody_waits(consumer))
        return; /* the next who speaks sees to it */
    enum err err = consumer_update_regexes(coord, call, consumer, &regexes_changed);
    if (err == ERR_OK)
        err = consumer_update_epoch(coord, call, consumer, regexes_changed);
    if (err == ERR_OK)
        consumer_tell(coord, call, consumer->group->id);
    else if (call->records->err == ERR_OK)
        call->records->err = err; /* part of it may have happened */
}

/* An earlier one that waits was given up by the client. */
static void forget_held(struct beat *b)
{
    if (b->member)
        coord_ops_end(&b->member->held, ERR_OK, b->call->done);
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
        begin_quiet(coord, call, heartbeat->group_id);
    if (err == ERR_OK && heartbeat->member_epoch >= 0) {
        forget_held(&b);
        is_held = may_hold(&b);
        if (b.member->told_interval_ms > 0)
            told_ms = b.member->told_interval_ms;
        b.member->told_interval_ms = heartbeat->heartbeat_interval_ms;
    }
    if (is_held)
        hold(&b, told_ms);
    else
        coord_op_end(&heartbeat->op, err, call);
    consumer_tell(coord, call, heartbeat->group_id);
}

/* --- going --- */

enum err consumer_fence(struct coord *coord, const struct coord_call *call, struct group *group,
                        struct consumer_member **members, size_t count)
{
    if (consumer_may_downgrade(coord, call, group->consumer, members, count))
        return consumer_downgrade(coord, call, group, members, count, true);
    for (size_t i = 0; i < count; i++)
        TRY(consumer_member_delete(coord, call, members[i]));
    return consumer_update_epoch(coord, call, group->consumer, true);
}

static void fence_one(struct coord *coord, const struct coord_call *call,
                      struct consumer_member *member)
{
    struct str group_id = arena_str(call->arena, member->group->id);
    enum err err = consumer_fence(coord, call, member->group, &member, 1);
    if (err != ERR_OK && call->records->err == ERR_OK)
        call->records->err = err;
    if (err == ERR_OK && group_id.data)
        consumer_tell(coord, call, group_id);
}

void consumer_on_session(struct coord *coord, const struct coord_call *call,
                         struct coord_timer *timer)
{
    struct consumer_member *member = CONTAINER_OF(timer, struct consumer_member, session);
    if (call->now_ms < member->session_end_ms)
        coord_timer_set(coord, timer, member->session_end_ms);
    else
        fence_one(coord, call, member);
}

void consumer_on_rebalance(struct coord *coord, const struct coord_call *call,
                           struct coord_timer *timer)
{
    struct consumer_member *member = CONTAINER_OF(timer, struct consumer_member, rebalance);
    if (member->state == CONSUMER_UNREVOKED && member->epoch == member->rebalance_epoch)
        fence_one(coord, call, member);
}

void consumer_on_join(struct coord *coord, const struct coord_call *call, struct coord_timer *timer)
{
    fence_one(coord, call, CONTAINER_OF(timer, struct consumer_member, join));
}

void consumer_on_sync(struct coord *coord, const struct coord_call *call, struct coord_timer *timer)
{
    fence_one(coord, call, CONTAINER_OF(timer, struct consumer_member, sync));
}

void consumer_touch(struct coord *coord, const struct coord_call *call,
                    struct consumer_member *member)
{
    int32_t timeout_ms = member->classic ? member->classic->session_timeout_ms
                                         : consumer_setting(coord, call, member->group->id,
                                                            CONSUMER_SESSION_TIMEOUT);
    member->session_end_ms = call->now_ms + timeout_ms;
    /* The timer looks at the end when it runs; only an earlier one must move it. */
    if (!member->session.node.is_linked ||
        (int64_t)member->session.node.key > member->session_end_ms)
        coord_timer_set(coord, &member->session, member->session_end_ms);
}

/* --- small things --- */

static int32_t clamp(int32_t value, int32_t min, int32_t max)
{
    return value < min ? min : value > max ? max : value;
}

int32_t consumer_setting(const struct coord *coord, const struct coord_call *call,
                         struct str group_id, enum consumer_setting setting)
{
    const struct coord_consumer_config *config = &coord->config->consumer;
    const struct {
        struct str key;
        int32_t value, min, max;
    } settings[] = {
        [CONSUMER_SESSION_TIMEOUT] = {STR("consumer.session.timeout.ms"),
                                      config->session_timeout_ms, config->session_timeout_min_ms,
                                      config->session_timeout_max_ms},
        [CONSUMER_HEARTBEAT_INTERVAL] = {STR("consumer.heartbeat.interval.ms"),
                                         config->heartbeat_interval_ms,
                                         config->heartbeat_interval_min_ms,
                                         config->heartbeat_interval_max_ms},
        [CONSUMER_ASSIGNMENT_INTERVAL] = {STR("consumer.assignment.interval.ms"),
                                          config->assignment_interval_ms,
                                          config->assignment_interval_min_ms,
                                          config->assignment_interval_max_ms},
    };
    int32_t own;
    if (!call->topics->group_config(call->topics->image, group_id, settings[setting].key, &own))
        return settings[setting].value;
    return clamp(own, settings[setting].min, settings[setting].max);
}

struct str consumer_new_id(const struct coord_call *call, struct arena *arena)
{
    char text[UUID_TEXT_LEN + 1];
    do {
        struct uuid id;
        rng_bytes(call->rng, id.bytes, sizeof(id.bytes));
        id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
        id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
        uuid_format(id, text);
    } while (text[0] == '-'); /* a tool would take it for an option */
    return arena_str(arena, str_of(text));
}

/* --- offsets --- */

enum err consumer_check_commit(const struct group *group, const struct coord_offset_commit *commit)
{
    const struct consumer *consumer = group->consumer;
    if (commit->generation < 0 && consumer->member_count == 0)
        return ERR_OK;
    const struct consumer_member *member = consumer_member_find(consumer, commit->member_id);
    if (!member)
        return ERR_UNKNOWN_MEMBER_ID;
    if (!member->classic && commit->api_version < 9)
        return ERR_UNSUPPORTED_VERSION;
    if (commit->generation > member->epoch)
        return member->classic ? ERR_ILLEGAL_GENERATION : ERR_STALE_MEMBER_EPOCH;
    return ERR_OK;
}

enum err consumer_check_commit_partition(const struct group *group,
                                         const struct coord_offset_commit *commit,
                                         struct uuid topic_id, int32_t partition)
{
    const struct consumer_member *member = consumer_member_find(group->consumer, commit->member_id);
    if (!member || commit->generation == member->epoch || PLANTED(COORD_OLD_EPOCH))
        return ERR_OK;
    const struct topic_partitions *topic = assignment_topic(member->assigned, topic_id);
    int64_t place = topic_partitions_find(topic, partition);
    if (place < 0) {
        topic = assignment_topic(member->pending, topic_id);
        place = topic_partitions_find(topic, partition);
    }
    if (place >= 0 && commit->generation >= topic->epochs[place])
        return ERR_OK;
    return member->classic ? ERR_ILLEGAL_GENERATION : ERR_STALE_MEMBER_EPOCH;
}

enum err consumer_check_fetch(const struct group *group, const struct coord_offset_fetch *fetch)
{
    if (str_is_null(fetch->member_id) && fetch->member_epoch < 0)
        return ERR_OK;
    const struct consumer_member *member = consumer_member_find(group->consumer, fetch->member_id);
    if (!member)
        return ERR_UNKNOWN_MEMBER_ID;
    if (fetch->member_epoch == member->epoch)
        return ERR_OK;
    return member->classic ? ERR_ILLEGAL_GENERATION : ERR_STALE_MEMBER_EPOCH;
}
