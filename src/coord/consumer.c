/* The state of consumer groups: their records replayed, and the records that change it.
 *
 *   5  a member and what it subscribes to        3  the group's epoch, and the hash of its topics
 *   7  what a member shall have                  6  for which of the group's epochs that was
 * computed 8  what a member has, and must give back    16  the topics that a regular expression
 * matches
 *
 * Topics are known by name even where they do not exist: a group waits for them. Who owns a
 * partition is kept beside the members: the later record wins, and a member that goes takes only
 * what is still its own, since a compacted log may tell of a new owner before it tells that the old
 * one left.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/consumer.h"

#define CONSUMER_EPOCH_FIRST 1
/* No topic has so many; a record that says otherwise is damaged. */
#define PARTITION_MAX 1000000

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
        if (memcmp(consumer->owners[middle].topic_id.bytes, topic_id.bytes, 16) < 0)
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
static enum err topics_get(struct consumer *consumer, const struct str *names, size_t count,
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

static void regex_set_topics(struct consumer *consumer, struct consumer_regex *regex,
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

static struct consumer_regex *regex_find(const struct consumer *consumer, struct str pattern)
{
    size_t place = regex_place(consumer, pattern);
    if (place < consumer->regex_count && str_eq(consumer->regexes[place]->pattern, pattern))
        return consumer->regexes[place];
    return NULL;
}

static enum err regex_get(struct consumer *consumer, struct str pattern,
                          struct consumer_regex **out)
{
    *out = regex_find(consumer, pattern);
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
static void regex_release(struct consumer *consumer, struct consumer_regex *regex)
{
    if (regex->members > 0 || regex->is_resolved)
        return;
    regex_set_topics(consumer, regex, NULL, 0);
    size_t place = regex_place(consumer, regex->pattern);
    ASSERT(consumer->regexes[place] == regex);
    consumer->regex_count--;
    memmove(consumer->regexes + place, consumer->regexes + place + 1,
            (consumer->regex_count - place) * sizeof(*consumer->regexes));
    free(regex);
}

/* --- owners of partitions --- */

struct consumer_member *consumer_owner(const struct consumer *consumer, struct uuid topic_id,
                                       int32_t partition)
{
    size_t place = owners_place(consumer, topic_id);
    if (place == consumer->owners_count || !uuid_eq(consumer->owners[place].topic_id, topic_id))
        return NULL;
    const struct consumer_owners *owners = &consumer->owners[place];
    return partition >= 0 && (uint32_t)partition < owners->count ? owners->members[partition]
                                                                 : NULL;
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

static enum err member_get(struct group *group, struct str id, struct consumer_member **out)
{
    *out = consumer_member_find(group->consumer, id);
    return *out ? ERR_OK : member_create(group, id, out);
}

static void member_set_topics(struct consumer_member *member, struct consumer_topic **topics,
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

static void member_set_regex(struct consumer_member *member, struct consumer_regex *regex)
{
    struct consumer_regex *before = member->regex;
    member->regex = regex;
    if (regex)
        regex->members++;
    if (!before)
        return;
    before->members--;
    regex_release(member->group->consumer, before);
}

static void member_set_classic(struct consumer_member *member, struct consumer_classic *classic)
{
    member->group->consumer->classic_count += (classic != NULL);
    member->group->consumer->classic_count -= (member->classic != NULL);
    free(member->classic);
    member->classic = classic;
}

static void member_free(struct coord *coord, struct consumer_member *member, struct list *done)
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
    member_set_topics(member, NULL, 0);
    member_set_regex(member, NULL);
    member_set_classic(member, NULL);
    free(member->assigned);
    free(member->pending);
    free(member->target);
    free(member->text);
    free(member);
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
    group->consumer = consumer;
    group->type = GROUP_CONSUMER;
    return ERR_OK;
}

void consumer_free(struct coord *coord, struct group *group, struct list *done)
{
    struct consumer *consumer = group->consumer;
    while (consumer->member_count > 0)
        member_free(coord, consumer->members[consumer->member_count - 1], done);
    while (consumer->regex_count > 0) {
        struct consumer_regex *regex = consumer->regexes[consumer->regex_count - 1];
        regex->is_resolved = false;
        regex_release(consumer, regex);
    }
    ASSERT(consumer->topic_count == 0 && consumer->owners_count == 0);
    coord_timer_stop(coord, &consumer->assign);
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

/* --- replay --- */

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
        TRY(regex_get(consumer, value->subscribed_topic_regex, &regex));
    /* The decoded names are nobody else's. */
    size_t count = consumer_names_normalize(value->subscribed_topic_names,
                                            (size_t)value->subscribed_topic_names_len);
    TRY(classic_copy(value->classic_member_metadata, &classic));
    enum err err = member_set_text(member, value);
    if (err == ERR_OK)
        err = topics_get(consumer, value->subscribed_topic_names, count, &topics);
    if (err != ERR_OK) {
        free(classic);
        return err;
    }
    member->rebalance_timeout_ms = value->rebalance_timeout_ms;
    member_set_topics(member, topics, count);
    member_set_regex(member, regex);
    member_set_classic(member, classic);
    return ERR_OK;
}

static enum err replay_member(struct coord *coord, const struct coord_record *record)
{
    const struct consumer_group_member_metadata_key *key = record->key;
    const struct consumer_group_member_metadata_value *value = record->value;
    struct group *group;
    TRY(replay_group(coord, key->group_id, value != NULL, &group));
    if (!group)
        return ERR_OK;
    struct consumer_member *member = consumer_member_find(group->consumer, key->member_id);
    if (!value) {
        if (member)
            member_free(coord, member, NULL);
        return ERR_OK;
    }
    if (!member)
        TRY(member_create(group, key->member_id, &member));
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
    TRY(member_get(group, key->member_id, &member));
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

static enum err member_set_current(struct consumer_member *member, struct assignment *assigned,
                                   struct assignment *pending)
{
    disown(member, member->assigned);
    disown(member, member->pending);
    free(member->assigned);
    free(member->pending);
    member->assigned = assigned;
    member->pending = pending;
    TRY(own(member, assigned));
    return own(member, pending);
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
    TRY(member_get(group, key->member_id, &member));
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
    return member_set_current(member, assigned, pending);
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
    struct consumer_regex *regex = regex_find(consumer, key->regular_expression);
    if (!value) {
        if (regex) {
            regex_set_topics(consumer, regex, NULL, 0);
            regex->is_resolved = false;
            regex_release(consumer, regex);
        }
        return ERR_OK;
    }
    struct consumer_topic **topics;
    TRY(regex_get(consumer, key->regular_expression, &regex));
    size_t count = consumer_names_normalize(value->topics, (size_t)value->topics_len);
    TRY(topics_get(consumer, value->topics, count, &topics));
    regex_set_topics(consumer, regex, topics, count);
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

/* --- records --- */

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
