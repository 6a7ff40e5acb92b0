/* The state of consumer groups: members, what they subscribe to, and who has which partition.
 *
 * Topics are known by name even where they do not exist: a group waits for them. Who owns a
 * partition is kept beside the members: the later record wins, and a member that goes takes only
 * what is still its own, since a compacted log may tell of a new owner before it tells that the old
 * one left.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/plant.h"
#include "coord/consumer.h"

#define CONSUMER_EPOCH_FIRST 1

/* --- sorted arrays of pointers --- */

static enum err array_reserve(void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return ERR_OK;
    size_t more = *cap ? *cap * 2 : 4;
    void *grown = realloc(*items, more * size);
    if (!grown)
        return ERR_NOMEM;
    *items = grown;
    *cap = more;
    return ERR_OK;
}

static size_t member_place(const struct consumer *consumer, struct str id)
{
    size_t low = 0;
    size_t high = consumer->member_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(consumer->members[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t topic_place(const struct consumer *consumer, struct str name)
{
    size_t low = 0;
    size_t high = consumer->topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(consumer->topics[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t regex_place(const struct consumer *consumer, struct str pattern)
{
    size_t low = 0;
    size_t high = consumer->regex_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(consumer->regexes[middle]->pattern, pattern) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t owners_place(const struct consumer *consumer, struct uuid topic_id)
{
    size_t low = 0;
    size_t high = consumer->owners_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (uuid_compare(consumer->owners[middle].topic_id, topic_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- topics and regular expressions, shared by members --- */

static enum err topic_get(struct consumer *consumer, struct str name, struct consumer_topic **out)
{
    size_t place = topic_place(consumer, name);
    if (place < consumer->topic_count && str_eq(consumer->topics[place]->name, name)) {
        *out = consumer->topics[place];
        return ERR_OK;
    }
    TRY(array_reserve((void **)&consumer->topics, consumer->topic_count, &consumer->topic_cap,
                      sizeof(*consumer->topics)));
    struct consumer_topic *topic = calloc(1, sizeof(*topic) + name.len + 1);
    if (!topic)
        return ERR_NOMEM;
    char *copy = (char *)(topic + 1);
    if (name.len > 0)
        memcpy(copy, name.data, name.len);
    topic->name = (struct str){copy, name.len};
    memmove(consumer->topics + place + 1, consumer->topics + place,
            (consumer->topic_count - place) * sizeof(*consumer->topics));
    consumer->topics[place] = topic;
    consumer->topic_count++;
    *out = topic;
    return ERR_OK;
}

/* Forgets a topic that nobody subscribes to any more. */
static void topic_release(struct consumer *consumer, struct consumer_topic *topic)
{
    if (topic->by_name > 0 || topic->by_regex > 0)
        return;
    size_t place = topic_place(consumer, topic->name);
    ASSERT(consumer->topics[place] == topic);
    consumer->topic_count--;
    memmove(consumer->topics + place, consumer->topics + place + 1,
            (consumer->topic_count - place) * sizeof(*consumer->topics));
    free(topic);
}

/* The topics of these names, in an array of its own; nothing is counted yet. */
enum err consumer_topics_get(struct consumer *consumer, const struct str *names, size_t count,
                             struct consumer_topic ***out)
{
    struct consumer_topic **topics = malloc((count ? count : 1) * sizeof(struct consumer_topic *));
    if (!topics)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        enum err err = topic_get(consumer, names[i], &topics[i]);
        if (err != ERR_OK) {
            for (size_t j = 0; j < i; j++)
                topic_release(consumer, topics[j]);
            free(topics);
            return err;
        }
    }
    *out = topics;
    return ERR_OK;
}

static int name_compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

size_t consumer_names_normalize(struct str *names, size_t count)
{
    if (count > 1)
        qsort(names, count, sizeof(*names), name_compare);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !str_eq(names[i], names[kept - 1]))
            names[kept++] = names[i];
    return kept;
}

void consumer_regex_set_topics(struct consumer *consumer, struct consumer_regex *regex,
                               struct consumer_topic **topics, size_t count)
{
    for (size_t i = 0; i < count; i++)
        topics[i]->by_regex++;
    for (size_t i = 0; i < regex->topic_count; i++) {
        regex->topics[i]->by_regex--;
        topic_release(consumer, regex->topics[i]);
    }
    free(regex->topics);
    regex->topics = topics;
    regex->topic_count = count;
}

struct consumer_regex *consumer_regex_find(const struct consumer *consumer, struct str pattern)
{
    size_t place = regex_place(consumer, pattern);
    if (place < consumer->regex_count && str_eq(consumer->regexes[place]->pattern, pattern))
        return consumer->regexes[place];
    return NULL;
}

enum err consumer_regex_get(struct consumer *consumer, struct str pattern,
                            struct consumer_regex **out)
{
    *out = consumer_regex_find(consumer, pattern);
    if (*out)
        return ERR_OK;
    TRY(array_reserve((void **)&consumer->regexes, consumer->regex_count, &consumer->regex_cap,
                      sizeof(*consumer->regexes)));
    struct consumer_regex *regex = calloc(1, sizeof(*regex) + pattern.len + 1);
    if (!regex)
        return ERR_NOMEM;
    char *copy = (char *)(regex + 1);
    memcpy(copy, pattern.data, pattern.len);
    regex->pattern = (struct str){copy, pattern.len};
    size_t place = regex_place(consumer, pattern);
    memmove(consumer->regexes + place + 1, consumer->regexes + place,
            (consumer->regex_count - place) * sizeof(*consumer->regexes));
    consumer->regexes[place] = regex;
    consumer->regex_count++;
    *out = regex;
    return ERR_OK;
}

/* Forgets one that no member has and no record tells of. */
void consumer_regex_release(struct consumer *consumer, struct consumer_regex *regex)
{
    if (regex->members > 0 || regex->is_resolved)
        return;
    consumer_regex_set_topics(consumer, regex, NULL, 0);
    size_t place = regex_place(consumer, regex->pattern);
    ASSERT(consumer->regexes[place] == regex);
    consumer->regex_count--;
    memmove(consumer->regexes + place, consumer->regexes + place + 1,
            (consumer->regex_count - place) * sizeof(*consumer->regexes));
    free(regex);
}

/* --- owners of partitions --- */

/* NULL: nobody has anything of the topic. */
static const struct consumer_owners *owners_find(const struct consumer *consumer,
                                                 struct uuid topic_id)
{
    size_t place = owners_place(consumer, topic_id);
    if (place == consumer->owners_count || !uuid_eq(consumer->owners[place].topic_id, topic_id))
        return NULL;
    return &consumer->owners[place];
}

static struct consumer_member *owner_of(const struct consumer_owners *owners, int32_t partition)
{
    bool is_known = owners && partition >= 0 && (uint32_t)partition < owners->count;
    return is_known ? owners->members[partition] : NULL;
}

struct consumer_member *consumer_owner(const struct consumer *consumer, struct uuid topic_id,
                                       int32_t partition)
{
    return owner_of(owners_find(consumer, topic_id), partition);
}

bool consumer_lacks(const struct consumer_member *member, bool is_free)
{
    for (size_t t = 0; member->target && t < member->target->count; t++) {
        const struct topic_partitions *topic = &member->target->topics[t];
        const struct topic_partitions *has = assignment_topic(member->assigned, topic->topic_id);
        const struct consumer_owners *owners =
            owners_find(member->group->consumer, topic->topic_id);
        for (uint32_t i = 0; i < topic->count; i++)
            if (topic_partitions_find(has, topic->partitions[i]) < 0 &&
                !owner_of(owners, topic->partitions[i]) == is_free)
                return true;
    }
    return false;
}

static enum err owners_get(struct consumer *consumer, const struct topic_partitions *topic,
                           struct consumer_owners **out)
{
    size_t place = owners_place(consumer, topic->topic_id);
    if (place == consumer->owners_count ||
        !uuid_eq(consumer->owners[place].topic_id, topic->topic_id)) {
        TRY(array_reserve((void **)&consumer->owners, consumer->owners_count, &consumer->owners_cap,
                          sizeof(*consumer->owners)));
        memmove(consumer->owners + place + 1, consumer->owners + place,
                (consumer->owners_count - place) * sizeof(*consumer->owners));
        consumer->owners[place] = (struct consumer_owners){.topic_id = topic->topic_id};
        consumer->owners_count++;
    }
    struct consumer_owners *owners = &consumer->owners[place];
    uint32_t count = (uint32_t)topic->partitions[topic->count - 1] + 1;
    if (count > owners->count) {
        struct consumer_member **members =
            realloc(owners->members, count * sizeof(struct consumer_member *));
        if (!members)
            return ERR_NOMEM;
        memset(members + owners->count, 0,
               (count - owners->count) * sizeof(struct consumer_member *));
        owners->members = members;
        owners->count = count;
    }
    *out = owners;
    return ERR_OK;
}

static enum err own(struct consumer_member *member, const struct assignment *assignment)
{
    for (size_t t = 0; t < assignment->count; t++) {
        const struct topic_partitions *topic = &assignment->topics[t];
        struct consumer_owners *owners;
        TRY(owners_get(member->group->consumer, topic, &owners));
        for (uint32_t i = 0; i < topic->count; i++) {
            owners->owned += !owners->members[topic->partitions[i]];
            owners->members[topic->partitions[i]] = member;
        }
    }
    return ERR_OK;
}

static void disown(struct consumer_member *member, const struct assignment *assignment)
{
    struct consumer *consumer = member->group->consumer;
    for (size_t t = 0; t < assignment->count; t++) {
        const struct topic_partitions *topic = &assignment->topics[t];
        size_t place = owners_place(consumer, topic->topic_id);
        if (place == consumer->owners_count ||
            !uuid_eq(consumer->owners[place].topic_id, topic->topic_id))
            continue;
        struct consumer_owners *owners = &consumer->owners[place];
        for (uint32_t i = 0; i < topic->count; i++) {
            uint32_t partition = (uint32_t)topic->partitions[i];
            if (partition >= owners->count || owners->members[partition] != member)
                continue;
            owners->members[partition] = NULL;
            owners->owned--;
        }
        if (owners->owned > 0)
            continue;
        free(owners->members);
        consumer->owners_count--;
        memmove(owners, owners + 1, (consumer->owners_count - place) * sizeof(*owners));
    }
}

/* --- members --- */

struct consumer_member *consumer_member_find(const struct consumer *consumer, struct str id)
{
    size_t place = member_place(consumer, id);
    if (place < consumer->member_count && str_eq(consumer->members[place]->id, id))
        return consumer->members[place];
    return NULL;
}

/* Static members are few and asked for when they come and go, or once in a heartbeat that the
 * client sends with its member id; so first by that. */
struct consumer_member *consumer_instance_find(const struct consumer *consumer,
                                               struct str instance_id)
{
    struct consumer_member *found = NULL;
    for (size_t i = 0; i < consumer->member_count && !found; i++)
        if (str_eq(consumer->members[i]->instance_id, instance_id))
            found = consumer->members[i];
    return found;
}

bool consumer_member_subscribes(const struct consumer_member *member, struct str topic)
{
    const struct consumer *consumer = member->group->consumer;
    size_t place = topic_place(consumer, topic);
    if (place == consumer->topic_count || !str_eq(consumer->topics[place]->name, topic))
        return false;
    const struct consumer_topic *wanted = consumer->topics[place];
    for (size_t i = 0; i < member->topic_count; i++)
        if (member->topics[i] == wanted)
            return true;
    for (size_t i = 0; member->regex && i < member->regex->topic_count; i++)
        if (member->regex->topics[i] == wanted)
            return true;
    return false;
}

static enum err member_create(struct group *group, struct str id, struct consumer_member **out)
{
    struct consumer *consumer = group->consumer;
    TRY(array_reserve((void **)&consumer->members, consumer->member_count, &consumer->member_cap,
                      sizeof(*consumer->members)));
    struct consumer_member *member = calloc(1, sizeof(*member) + id.len + 1);
    if (!member)
        return ERR_NOMEM;
    char *copy = (char *)(member + 1);
    if (id.len > 0)
        memcpy(copy, id.data, id.len);
    member->id = (struct str){copy, id.len};
    member->group = group;
    member->previous_epoch = -1;
    member->rebalance_timeout_ms = -1;
    member->client_id = member->client_host = STR("");
    if (assignment_clone(&assignment_empty, &member->assigned) != ERR_OK ||
        assignment_clone(&assignment_empty, &member->pending) != ERR_OK) {
        free(member->assigned);
        free(member);
        return ERR_NOMEM;
    }
    coord_timer_init(&member->session, consumer_on_session);
    coord_timer_init(&member->rebalance, consumer_on_rebalance);
    coord_timer_init(&member->join, consumer_on_join);
    coord_timer_init(&member->sync, consumer_on_sync);
    coord_timer_init(&member->hold, consumer_on_hold);
    list_init(&member->held);
    size_t place = member_place(consumer, id);
    memmove(consumer->members + place + 1, consumer->members + place,
            (consumer->member_count - place) * sizeof(*consumer->members));
    consumer->members[place] = member;
    consumer->member_count++;
    *out = member;
    return ERR_OK;
}

enum err consumer_member_get(struct group *group, struct str id, struct consumer_member **out)
{
    *out = consumer_member_find(group->consumer, id);
    return *out ? ERR_OK : member_create(group, id, out);
}

void consumer_member_set_topics(struct consumer_member *member, struct consumer_topic **topics,
                                size_t count)
{
    for (size_t i = 0; i < count; i++)
        topics[i]->by_name++;
    for (size_t i = 0; i < member->topic_count; i++) {
        member->topics[i]->by_name--;
        topic_release(member->group->consumer, member->topics[i]);
    }
    free(member->topics);
    member->topics = topics;
    member->topic_count = count;
}

void consumer_member_set_regex(struct consumer_member *member, struct consumer_regex *regex)
{
    struct consumer_regex *before = member->regex;
    member->regex = regex;
    if (regex)
        regex->members++;
    if (!before)
        return;
    before->members--;
    consumer_regex_release(member->group->consumer, before);
}

void consumer_member_set_classic(struct consumer_member *member, struct consumer_classic *classic)
{
    member->group->consumer->classic_count += (classic != NULL);
    member->group->consumer->classic_count -= (member->classic != NULL);
    free(member->classic);
    member->classic = classic;
}

void consumer_member_free(struct coord *coord, struct consumer_member *member, struct list *done)
{
    if (done)
        coord_ops_end(&member->held, ERR_NOT_COORDINATOR, done);
    ASSERT(list_is_empty(&member->held));
    struct consumer *consumer = member->group->consumer;
    size_t place = member_place(consumer, member->id);
    ASSERT(consumer->members[place] == member);
    consumer->member_count--;
    memmove(consumer->members + place, consumer->members + place + 1,
            (consumer->member_count - place) * sizeof(*consumer->members));
    coord_timer_stop(coord, &member->session);
    coord_timer_stop(coord, &member->rebalance);
    coord_timer_stop(coord, &member->join);
    coord_timer_stop(coord, &member->sync);
    coord_timer_stop(coord, &member->hold);
    disown(member, member->assigned);
    disown(member, member->pending);
    consumer_member_set_topics(member, NULL, 0);
    consumer_member_set_regex(member, NULL);
    consumer_member_set_classic(member, NULL);
    free(member->assigned);
    free(member->pending);
    free(member->target);
    free(member->text);
    free(member);
}

enum err consumer_member_set_current(struct consumer_member *member, struct assignment *assigned,
                                     struct assignment *pending)
{
    disown(member, member->assigned);
    disown(member, member->pending);
    free(member->assigned);
    free(member->pending);
    member->assigned = assigned;
    member->pending = pending;
    TRY(own(member, assigned));
    return PLANTED(COORD_FORGET_PENDING) ? ERR_OK : own(member, pending);
}

/* --- groups --- */

enum err consumer_init(struct coord *coord, struct group *group)
{
    ASSERT(!group->consumer);
    struct consumer *consumer = calloc(1, sizeof(*consumer));
    if (!consumer)
        return ERR_NOMEM;
    classic_deinit(coord, group, NULL);
    classic_init(group, coord->seed);
    consumer->group = group;
    consumer->epoch = consumer->target_epoch = CONSUMER_EPOCH_FIRST;
    consumer->seen_version = -1;
    coord_timer_init(&consumer->assign, consumer_on_assign);
    coord_timer_init(&consumer->quiet, consumer_on_quiet);
    group->consumer = consumer;
    group->type = GROUP_CONSUMER;
    return ERR_OK;
}

void consumer_free(struct coord *coord, struct group *group, struct list *done)
{
    struct consumer *consumer = group->consumer;
    while (consumer->member_count > 0)
        consumer_member_free(coord, consumer->members[consumer->member_count - 1], done);
    while (consumer->regex_count > 0) {
        struct consumer_regex *regex = consumer->regexes[consumer->regex_count - 1];
        regex->is_resolved = false;
        consumer_regex_release(consumer, regex);
    }
    ASSERT(consumer->topic_count == 0 && consumer->owners_count == 0);
    coord_timer_stop(coord, &consumer->assign);
    coord_timer_stop(coord, &consumer->quiet);
    free(consumer->members);
    free(consumer->regexes);
    free(consumer->topics);
    free(consumer->owners);
    free(consumer);
    group->consumer = NULL;
    group->type = GROUP_CLASSIC;
}

enum assignor consumer_assignor(const struct coord *coord, const struct consumer *consumer)
{
    uint32_t votes[ASSIGNOR_COUNT] = {0};
    enum assignor best = (enum assignor)coord->config->consumer.assignors[0];
    for (size_t i = 0; i < consumer->member_count; i++) {
        enum assignor assignor;
        if (!str_is_null(consumer->members[i]->assignor) &&
            assignor_of_name(consumer->members[i]->assignor, &assignor))
            votes[assignor]++;
    }
    for (unsigned i = 0; i < ASSIGNOR_COUNT; i++)
        if (votes[i] > votes[best])
            best = (enum assignor)i;
    return best;
}

const char *consumer_state_name(const struct consumer *consumer)
{
    if (consumer->member_count == 0)
        return "Empty";
    if (consumer->epoch > consumer->target_epoch)
        return "Assigning";
    for (size_t i = 0; i < consumer->member_count; i++)
        if (consumer->members[i]->state != CONSUMER_STABLE ||
            consumer->members[i]->epoch != consumer->target_epoch)
            return "Reconciling";
    return "Stable";
}

bool consumer_is_subscribed(const struct group *group, struct str topic)
{
    size_t place = topic_place(group->consumer, topic);
    return place < group->consumer->topic_count &&
           str_eq(group->consumer->topics[place]->name, topic);
}

void consumer_loaded(struct coord *coord, struct group *group, const struct coord_call *call)
{
    struct consumer *consumer = group->consumer;
    for (size_t i = 0; i < consumer->member_count; i++) {
        struct consumer_member *member = consumer->members[i];
        consumer_touch(coord, call, member);
        if (member->state != CONSUMER_UNREVOKED || member->classic)
            continue;
        member->rebalance_epoch = member->epoch;
        coord_timer_set(coord, &member->rebalance, call->now_ms + member->rebalance_timeout_ms);
    }
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
