/* What a group depends on, and who shall have what: epochs, regular expressions, targets.
 *
 * The group's epoch rises with every change of members and subscriptions, and when the hash of its
 * topics differs from the one in its record: a topic came or went, or has more partitions. That is
 * looked at once for each image of the metadata, when a member next speaks. A target is computed at
 * most once in group.consumer.assignment.interval.ms, so that a thousand members that come at once
 * do not cost a thousand targets; what was put off is done by a timer.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/consumer.h"
#include "coord/topic_hash.h"
#include "coord/topic_regex.h"

/* Regular expressions are matched with all topics again no sooner than this after the last time,
 * for each topic there is, and after ten seconds anyhow: as Kafka does, and a small cluster sooner.
 */
#define REGEX_WAIT_PER_TOPIC_MS 1
#define REGEX_WAIT_MAX_MS       10000

/* Where the time between two targets is not set. */
#define INTERVAL_PER_MEMBER_MS 1

#define NO_INDEX UINT32_MAX

/* --- the group's epoch --- */

static enum err hash_topics(const struct coord_call *call, const struct consumer *consumer,
                            uint64_t *hash)
{
    uint64_t *hashes = arena_array(call->arena, consumer->topic_count, sizeof(*hashes));
    if (!hashes)
        return ERR_NOMEM;
    size_t count = 0;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct coord_topic topic;
        if (call->topics->by_name(call->topics->image, consumer->topics[i]->name, &topic))
            hashes[count++] = call->topics->hash(call->topics->image, &topic);
    }
    *hash = topic_hash_of_group(hashes, count);
    return ERR_OK;
}

enum err consumer_update_hash(const struct coord_call *call, struct consumer *consumer)
{
    uint64_t hash;
    if (hash_topics(call, consumer, &hash) != ERR_OK) {
        call->records->err = ERR_NOMEM;
        return ERR_NOMEM;
    }
    consumer->seen_version = call->topics->version(call->topics->image);
    consumer->metadata_hash = (int64_t)hash;
    return ERR_OK;
}

static enum err delete_partition_metadata(struct coord *coord, const struct coord_call *call,
                                          const struct consumer *consumer)
{
    struct consumer_group_partition_metadata_key *key = arena_zalloc(call->arena, sizeof(*key));
    if (key)
        key->group_id = arena_str(call->arena, consumer->group->id);
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_PARTITION_METADATA,
                         key && key->group_id.data ? key : NULL, NULL);
}

enum err consumer_update_epoch(struct coord *coord, const struct coord_call *call,
                               struct consumer *consumer, bool must)
{
    int64_t version = call->topics->version(call->topics->image);
    if (!must && consumer->seen_version == version)
        return ERR_OK;
    int64_t before = consumer->metadata_hash;
    TRY(consumer_update_hash(call, consumer));
    if (must || consumer->metadata_hash != before)
        TRY(consumer_put_epoch(coord, call, consumer, consumer->epoch + 1));
    if (consumer->has_partition_metadata)
        TRY(delete_partition_metadata(coord, call, consumer));
    return ERR_OK;
}

/* --- regular expressions --- */

struct matching {
    struct arena *arena;
    struct topic_regex *regex;
    struct str *names;
    size_t count, cap;
    enum err err;
};

static bool match_topic(void *arg, struct str name)
{
    struct matching *m = arg;
    if (!topic_regex_matches(m->regex, name))
        return true;
    if (m->count == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 16;
        struct str *names = arena_array(m->arena, cap, sizeof(*names));
        if (!names) {
            m->err = ERR_NOMEM;
            return false;
        }
        if (m->count > 0)
            memcpy(names, m->names, m->count * sizeof(*names));
        m->names = names;
        m->cap = cap;
    }
    m->names[m->count] = arena_str(m->arena, name);
    if (!m->names[m->count].data)
        m->err = ERR_NOMEM;
    m->count++;
    return m->err == ERR_OK;
}

/* The names are in order, and so are the topics of the expression. */
static bool is_same(const struct consumer_regex *regex, const struct matching *m)
{
    if (!regex->is_resolved || regex->topic_count != m->count)
        return false;
    for (size_t i = 0; i < m->count; i++)
        if (!str_eq(regex->topics[i]->name, m->names[i]))
            return false;
    return true;
}

static enum err put_regex(struct coord *coord, const struct coord_call *call,
                          const struct consumer *consumer, const struct consumer_regex *regex,
                          const struct matching *m)
{
    struct consumer_group_regular_expression_key *key = arena_zalloc(call->arena, sizeof(*key));
    struct consumer_group_regular_expression_value *value =
        arena_zalloc(call->arena, sizeof(*value));
    if (!key || !value) {
        call->records->err = ERR_NOMEM;
        return ERR_NOMEM;
    }
    key->group_id = arena_str(call->arena, consumer->group->id);
    key->regular_expression = arena_str(call->arena, regex->pattern);
    value->topics = m->names;
    value->topics_len = (int32_t)m->count;
    value->version = call->topics->version(call->topics->image);
    value->timestamp = call->wall_ms;
    bool ok = key->group_id.data && key->regular_expression.data;
    return consumer_emit(coord, call, COORD_CONSUMER_GROUP_REGEX, ok ? key : NULL, value);
}

static enum err resolve(struct coord *coord, const struct coord_call *call,
                        const struct consumer *consumer, struct consumer_regex *regex,
                        bool *changed)
{
    struct matching m = {.arena = call->arena};
    char why[TOPIC_REGEX_WHY_MAX];
    enum err err = topic_regex_compile(regex->pattern, &m.regex, why);
    /* It was checked when it came; one that another program let in matches nothing. */
    if (err == ERR_OK)
        call->topics->each_name(call->topics->image, match_topic, &m);
    topic_regex_free(m.regex);
    if (err == ERR_NOMEM || m.err != ERR_OK) {
        call->records->err = ERR_NOMEM;
        return ERR_NOMEM;
    }
    if (is_same(regex, &m)) {
        regex->version = call->topics->version(call->topics->image);
        return ERR_OK;
    }
    *changed |= m.count > 0 || regex->topic_count > 0;
    return put_regex(coord, call, consumer, regex, &m);
}

enum err consumer_update_regexes(struct coord *coord, const struct coord_call *call,
                                 struct consumer *consumer, bool *changed)
{
    *changed = false;
    if (consumer->regex_count == 0)
        return ERR_OK;
    int64_t version = call->topics->version(call->topics->image);
    bool is_due = call->now_ms >= consumer->regex_check_ms;
    bool resolved = false;
    for (size_t i = 0; i < consumer->regex_count; i++) {
        struct consumer_regex *regex = consumer->regexes[i];
        if (regex->is_resolved && (!is_due || regex->version == version))
            continue;
        TRY(resolve(coord, call, consumer, regex, changed));
        resolved = true;
    }
    if (!resolved)
        return ERR_OK;
    int64_t wait = (int64_t)call->topics->count(call->topics->image) * REGEX_WAIT_PER_TOPIC_MS;
    consumer->regex_check_ms = call->now_ms + (wait < REGEX_WAIT_MAX_MS ? wait : REGEX_WAIT_MAX_MS);
    return ERR_OK;
}

/* --- the target --- */

static int topic_compare(const void *a, const void *b)
{
    const struct coord_topic *x = a;
    const struct coord_topic *y = b;
    return uuid_compare(x->id, y->id);
}

/* The topics that exist, in the order of their ids; each of the group's knows its place. */
static enum err list_topics(const struct coord_call *call, struct consumer *consumer,
                            struct assignor_group *group)
{
    struct coord_topic *found = arena_array(call->arena, consumer->topic_count, sizeof(*found));
    struct assignor_topic *topics =
        arena_array(call->arena, consumer->topic_count, sizeof(*topics));
    if (!found || !topics)
        return ERR_NOMEM;
    uint32_t count = 0;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        consumer->topics[i]->index = NO_INDEX;
        struct str name = consumer->topics[i]->name;
        if (call->topics->by_name(call->topics->image, name, &found[count]))
            found[count++].name = name;
    }
    qsort(found, count, sizeof(*found), topic_compare);
    for (uint32_t i = 0; i < count; i++) {
        topics[i] = (struct assignor_topic){found[i].id, found[i].partition_count};
        size_t low = 0;
        size_t high = consumer->topic_count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (str_cmp(consumer->topics[middle]->name, found[i].name) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        consumer->topics[low]->index = i;
    }
    group->topics = topics;
    group->topic_count = count;
    return ERR_OK;
}

static int index_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool subscribes_alike(const struct consumer_member *a, const struct consumer_member *b)
{
    return a->regex == b->regex && a->topic_count == b->topic_count &&
           (a->topic_count == 0 ||
            memcmp(a->topics, b->topics, a->topic_count * sizeof(struct consumer_topic *)) == 0);
}

static enum err list_subscription(const struct coord_call *call,
                                  const struct consumer_member *member, struct assignor_member *out)
{
    size_t regex_count = member->regex ? member->regex->topic_count : 0;
    uint32_t *indexes =
        arena_array(call->arena, member->topic_count + regex_count, sizeof(*indexes));
    if (!indexes)
        return ERR_NOMEM;
    uint32_t count = 0;
    for (size_t i = 0; i < member->topic_count + regex_count; i++) {
        const struct consumer_topic *topic = i < member->topic_count
                                                 ? member->topics[i]
                                                 : member->regex->topics[i - member->topic_count];
        if (topic->index != NO_INDEX)
            indexes[count++] = topic->index;
    }
    if (count > 1)
        qsort(indexes, count, sizeof(*indexes), index_compare);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || indexes[i] != indexes[kept - 1])
            indexes[kept++] = indexes[i];
    out->topics = indexes;
    out->topic_count = kept;
    return ERR_OK;
}

static enum err list_members(const struct coord_call *call, const struct consumer *consumer,
                             struct assignor_group *group)
{
    group->members = arena_array(call->arena, consumer->member_count, sizeof(*group->members));
    if (!group->members)
        return ERR_NOMEM;
    group->member_count = (uint32_t)consumer->member_count;
    for (size_t i = 0; i < consumer->member_count; i++) {
        const struct consumer_member *member = consumer->members[i];
        group->members[i] = (struct assignor_member){
            .member_id = member->id,
            .instance_id = member->instance_id,
            .current = member->target ? member->target : &assignment_empty,
        };
        if (i > 0 && subscribes_alike(member, consumer->members[i - 1])) {
            group->members[i].topics = group->members[i - 1].topics;
            group->members[i].topic_count = group->members[i - 1].topic_count;
        } else {
            TRY(list_subscription(call, member, &group->members[i]));
        }
    }
    return ERR_OK;
}

static enum err compute(struct coord *coord, const struct coord_call *call,
                        struct consumer *consumer)
{
    struct assignor_group group = {.arena = call->arena};
    enum err err = list_topics(call, consumer, &group);
    if (err == ERR_OK)
        err = list_members(call, consumer, &group);
    if (err == ERR_OK)
        err = assignor_assign(consumer_assignor(coord, consumer), &group);
    if (err != ERR_OK) {
        call->records->err = err;
        return err;
    }
    /* A group of thousands has targets for more than a batch. A log that ends among them has a
     * group whose target is behind its epoch, which is computed again. */
    if (!call->records->may_split)
        call->records->whole_count = call->records->count;
    call->records->may_split = true;
    for (size_t i = 0; i < consumer->member_count; i++) {
        struct consumer_member *member = consumer->members[i];
        if (!member->target || !assignment_eq(member->target, &group.members[i].target))
            TRY(consumer_put_target(coord, call, member, &group.members[i].target));
    }
    coord_timer_stop(coord, &consumer->assign);
    return consumer_put_target_epoch(coord, call, consumer, consumer->epoch, call->wall_ms);
}

/* What nobody set is meant for groups whose targets cost something: a small one need not wait. */
static int64_t assignment_interval_ms(const struct coord *coord, const struct coord_call *call,
                                      const struct consumer *consumer)
{
    struct str id = consumer->group->id;
    int32_t interval_ms = consumer_setting(coord, call, id, CONSUMER_ASSIGNMENT_INTERVAL);
    int32_t own;
    bool is_set = coord->config->consumer.assignment_interval_is_set ||
                  call->topics->group_config(call->topics->image, id,
                                             STR("consumer.assignment.interval.ms"), &own);
    size_t enough_ms = consumer->member_count * INTERVAL_PER_MEMBER_MS;
    return is_set || enough_ms > (size_t)interval_ms ? interval_ms : (int64_t)enough_ms;
}

enum err consumer_update_target(struct coord *coord, const struct coord_call *call,
                                struct consumer *consumer)
{
    if (consumer->target_epoch >= consumer->epoch)
        return ERR_OK;
    int64_t interval_ms = assignment_interval_ms(coord, call, consumer);
    int64_t wait = consumer->target_ms + interval_ms - call->wall_ms;
    /* A clock that was set back must not keep the group waiting. */
    bool is_due = consumer->target_ms == 0 || wait <= 0 || wait > interval_ms;
    if (is_due)
        return compute(coord, call, consumer);
    if (!consumer->assign.node.is_linked)
        coord_timer_set(coord, &consumer->assign, call->now_ms + wait);
    return ERR_OK;
}

void consumer_on_assign(struct coord *coord, const struct coord_call *call,
                        struct coord_timer *timer)
{
    struct consumer *consumer = CONTAINER_OF(timer, struct consumer, assign);
    if (consumer->member_count == 0)
        return;
    enum err err = consumer_update_target(coord, call, consumer);
    if (err == ERR_OK)
        consumer_tell(coord, call, consumer->group->id);
}

/* --- a member comes closer to it --- */

struct advancing {
    const struct coord_call *call;
    const struct consumer_member *member;
};

static bool subscribes(void *arg, struct uuid topic_id)
{
    const struct advancing *a = arg;
    struct coord_topic topic;
    return a->call->topics->by_id(a->call->topics->image, topic_id, &topic) &&
           consumer_member_subscribes(a->member, topic.name);
}

static bool is_taken(void *arg, struct uuid topic_id, int32_t partition)
{
    const struct advancing *a = arg;
    return consumer_owner(a->member->group->consumer, topic_id, partition) != NULL;
}

static bool is_same_current(const struct consumer_current *a, const struct consumer_current *b)
{
    return a->epoch == b->epoch && a->previous_epoch == b->previous_epoch && a->state == b->state &&
           assignment_eq(&a->assigned, &b->assigned) && assignment_eq(&a->pending, &b->pending);
}

enum err consumer_advance(struct coord *coord, const struct coord_call *call,
                          struct consumer_member *member, bool has_subscription_changed,
                          const struct assignment *owned)
{
    struct consumer *consumer = member->group->consumer;
    bool is_there = member->state == CONSUMER_STABLE && member->epoch == consumer->target_epoch;
    if (!has_subscription_changed && is_there)
        return ERR_OK;
    struct advancing arg = {call, member};
    struct consumer_reconcile in = {
        .current = {member->epoch, member->previous_epoch, member->state, *member->assigned,
                    *member->pending},
        .target_epoch = consumer->target_epoch,
        .target = member->target ? member->target : &assignment_empty,
        .has_subscription_changed = has_subscription_changed,
        .owned = owned,
        .arg = &arg,
        .subscribes = subscribes,
        .is_taken = is_taken,
        .arena = call->arena,
    };
    struct consumer_current next;
    enum err err = consumer_reconcile(&in, &next);
    if (err == ERR_NOMEM)
        call->records->err = err;
    TRY(err);
    if (is_same_current(&in.current, &next))
        return ERR_OK;
    TRY(consumer_put_current(coord, call, member, &next));
    if (member->classic)
        return ERR_OK;
    if (next.state == CONSUMER_UNREVOKED) {
        member->rebalance_epoch = member->epoch;
        coord_timer_set(coord, &member->rebalance, call->now_ms + member->rebalance_timeout_ms);
    } else {
        coord_timer_stop(coord, &member->rebalance);
    }
    return ERR_OK;
}
