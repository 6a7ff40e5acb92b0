/* Both assignors work on one array of owners: partition p of topic t is at base[t] + p, its owner a
 * member's index or NOBODY. uniform fills it with what the members have now, takes away what is too
 * much, and gives out what nobody has; range computes it anew. At the end the array is turned into
 * the members' targets.
 *
 * Where all members subscribe to the same topics, each is due total / members partitions, some one
 * more: those that have one more already come first, so that nothing moves without need. Where
 * subscriptions differ, topics are filled one after the other, those with the most partitions for
 * each subscriber first, and then partitions move from the most to the least loaded subscriber of a
 * topic until no move helps. Overlapping subscriptions can take many rounds for that; after
 * ROUNDS_MAX it is good enough. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/assignor.h"

#define NOBODY     (-1)
#define ROUNDS_MAX 16

struct work {
    const struct assignor_group *group;
    size_t *base; /* of each topic; one more entry holds the total */
    int32_t *owner;
    uint32_t *load; /* partitions of each member */
};

static const struct str names[ASSIGNOR_COUNT] = {
    [ASSIGNOR_UNIFORM] = {"uniform", 7},
    [ASSIGNOR_RANGE] = {"range", 5},
};

struct str assignor_name(enum assignor assignor)
{
    ASSERT(assignor < ASSIGNOR_COUNT);
    return names[assignor];
}

bool assignor_of_name(struct str name, enum assignor *assignor)
{
    for (unsigned i = 0; i < ASSIGNOR_COUNT; i++) {
        if (str_eq(name, names[i])) {
            *assignor = (enum assignor)i;
            return true;
        }
    }
    return false;
}

static enum err work_init(struct work *work, const struct assignor_group *group)
{
    *work = (struct work){.group = group};
    work->base = arena_array(group->arena, (size_t)group->topic_count + 1, sizeof(*work->base));
    if (!work->base)
        return ERR_NOMEM;
    for (uint32_t t = 0; t < group->topic_count; t++) {
        ASSERT(group->topics[t].partition_count >= 0);
        work->base[t + 1] = work->base[t] + (size_t)group->topics[t].partition_count;
    }
    size_t total = work->base[group->topic_count];
    work->owner = arena_array(group->arena, total, sizeof(*work->owner));
    work->load = arena_array(group->arena, group->member_count, sizeof(*work->load));
    if (!work->owner || !work->load)
        return ERR_NOMEM;
    for (size_t i = 0; i < total; i++)
        work->owner[i] = NOBODY;
    return ERR_OK;
}

static void give(struct work *work, size_t at, uint32_t member)
{
    ASSERT(work->owner[at] == NOBODY);
    work->owner[at] = (int32_t)member;
    work->load[member]++;
}

static void take(struct work *work, size_t at)
{
    ASSERT(work->owner[at] != NOBODY);
    work->load[work->owner[at]]--;
    work->owner[at] = NOBODY;
}

/* Members keep what they have of the topics that they subscribe to. What is not there any more, or
 * somebody else's already, is forgotten: a log that another program wrote may say such things. */
static void keep_current(struct work *work)
{
    const struct assignor_group *group = work->group;
    for (uint32_t m = 0; m < group->member_count; m++) {
        const struct assignor_member *member = &group->members[m];
        for (uint32_t i = 0; member->current->count && i < member->topic_count; i++) {
            uint32_t t = member->topics[i];
            const struct topic_partitions *had =
                assignment_topic(member->current, group->topics[t].id);
            for (uint32_t p = 0; had && p < had->count; p++) {
                int32_t partition = had->partitions[p];
                if (partition >= 0 && partition < group->topics[t].partition_count &&
                    work->owner[work->base[t] + (size_t)partition] == NOBODY)
                    give(work, work->base[t] + (size_t)partition, m);
            }
        }
    }
}

static enum err write_targets(struct work *work)
{
    const struct assignor_group *group = work->group;
    size_t total = work->base[group->topic_count];
    int32_t *numbers = arena_array(group->arena, total, sizeof(*numbers));
    int32_t **next = arena_array(group->arena, group->member_count, sizeof(*next));
    if (!numbers || !next)
        return ERR_NOMEM;
    for (uint32_t m = 0; m < group->member_count; m++) {
        next[m] = numbers;
        numbers += work->load[m];
        struct topic_partitions *topics =
            arena_array(group->arena, group->members[m].topic_count, sizeof(*topics));
        if (!topics)
            return ERR_NOMEM;
        group->members[m].target = (struct assignment){0, topics};
    }
    for (uint32_t t = 0; t < group->topic_count; t++) {
        for (size_t at = work->base[t]; at < work->base[t + 1]; at++) {
            if (work->owner[at] == NOBODY)
                continue;
            uint32_t m = (uint32_t)work->owner[at];
            struct assignment *target = &group->members[m].target;
            /* The array is ours; only readers of a finished assignment see it as constant. */
            struct topic_partitions *topics = (struct topic_partitions *)(void *)target->topics;
            if (target->count == 0 ||
                !uuid_eq(topics[target->count - 1].topic_id, group->topics[t].id)) {
                ASSERT(target->count < group->members[m].topic_count);
                topics[target->count++] =
                    (struct topic_partitions){group->topics[t].id, 0, next[m], NULL};
            }
            *next[m]++ = (int32_t)(at - work->base[t]);
            topics[target->count - 1].count++;
        }
    }
    return ERR_OK;
}

/* --- uniform: all subscribe to the same --- */

static bool subscribes_to_all(const struct assignor_group *group)
{
    for (uint32_t m = 0; m < group->member_count; m++)
        if (group->members[m].topic_count != group->topic_count)
            return false;
    return true;
}

/* How many each member is due, into `due`. */
static void divide(const struct work *work, uint32_t *due)
{
    uint32_t count = work->group->member_count;
    size_t total = work->base[work->group->topic_count];
    uint32_t least = (uint32_t)(total / count);
    size_t extra = total % count;
    for (uint32_t m = 0; m < count; m++) {
        bool keeps_extra = work->load[m] > least && extra > 0;
        due[m] = least + keeps_extra;
        extra -= keeps_extra;
    }
    for (uint32_t m = 0; m < count && extra > 0; m++) {
        if (due[m] == least) {
            due[m]++;
            extra--;
        }
    }
}

static enum err uniform_same(struct work *work)
{
    const struct assignor_group *group = work->group;
    size_t total = work->base[group->topic_count];
    uint32_t *due = arena_array(group->arena, group->member_count, sizeof(*due));
    if (!due)
        return ERR_NOMEM;
    divide(work, due);
    /* The last ones are given back: a member keeps the front of what it has. */
    for (size_t at = total; at-- > 0;) {
        int32_t m = work->owner[at];
        if (m != NOBODY && work->load[m] > due[m])
            take(work, at);
    }
    uint32_t m = 0;
    for (size_t at = 0; at < total; at++) {
        if (work->owner[at] != NOBODY)
            continue;
        while (work->load[m] == due[m])
            m++;
        ASSERT(m < group->member_count);
        give(work, at, m);
    }
    return ERR_OK;
}

/* --- uniform: subscriptions differ --- */

/* A topic's subscribers, as indexes of members. */
struct subscribers {
    uint32_t topic;
    uint32_t count;
    int32_t partition_count;
    uint32_t *members;
};

/* Most partitions for each subscriber first, then fewest subscribers, then by id. */
static int subscribers_compare(const void *a, const void *b)
{
    const struct subscribers *x = a;
    const struct subscribers *y = b;
    uint64_t left = (uint64_t)(uint32_t)x->partition_count * y->count;
    uint64_t right = (uint64_t)(uint32_t)y->partition_count * x->count;
    if (left != right)
        return left > right ? -1 : 1;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return (x->topic > y->topic) - (x->topic < y->topic);
}

static enum err list_subscribers(const struct assignor_group *group, struct subscribers **out)
{
    struct subscribers *list = arena_array(group->arena, group->topic_count, sizeof(*list));
    if (!list)
        return ERR_NOMEM;
    size_t sum = 0;
    for (uint32_t m = 0; m < group->member_count; m++) {
        for (uint32_t i = 0; i < group->members[m].topic_count; i++)
            list[group->members[m].topics[i]].count++;
        sum += group->members[m].topic_count;
    }
    uint32_t *members = arena_array(group->arena, sum, sizeof(*members));
    if (!members)
        return ERR_NOMEM;
    for (uint32_t t = 0; t < group->topic_count; t++) {
        list[t].topic = t;
        list[t].partition_count = group->topics[t].partition_count;
        list[t].members = members;
        members += list[t].count;
        list[t].count = 0;
    }
    for (uint32_t m = 0; m < group->member_count; m++) {
        for (uint32_t i = 0; i < group->members[m].topic_count; i++) {
            struct subscribers *s = &list[group->members[m].topics[i]];
            s->members[s->count++] = m;
        }
    }
    qsort(list, group->topic_count, sizeof(*list), subscribers_compare);
    *out = list;
    return ERR_OK;
}

/* A heap of members by load, least or most on top; equal loads by index, so that the result does
 * not depend on how the heap was built. */
struct load_heap {
    const uint32_t *load;
    bool most_first;
    uint32_t count;
    uint32_t *members;
};

static bool comes_before(const struct load_heap *heap, uint32_t a, uint32_t b)
{
    if (heap->load[a] != heap->load[b])
        return (heap->load[a] > heap->load[b]) == heap->most_first;
    return (a < b) != heap->most_first;
}

static void sift_down(struct load_heap *heap, uint32_t at)
{
    for (;;) {
        uint32_t first = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap->count; child++)
            if (comes_before(heap, heap->members[child], heap->members[first]))
                first = child;
        if (first == at)
            return;
        uint32_t swap = heap->members[at];
        heap->members[at] = heap->members[first];
        heap->members[first] = swap;
        at = first;
    }
}

static void load_heap_build(struct load_heap *heap)
{
    for (uint32_t at = heap->count / 2; at-- > 0;)
        sift_down(heap, at);
}

static void load_heap_drop_top(struct load_heap *heap)
{
    heap->members[0] = heap->members[--heap->count];
    sift_down(heap, 0);
}

/* Room for the heaps and lists of one topic, used again for each. */
struct scratch {
    uint32_t *least;  /* members */
    uint32_t *most;   /* members */
    size_t *last_of;  /* of each member: one past its last known partition of the topic */
    size_t *previous; /* of each partition of the topic: the owner's one before it */
};

static void fill_topic(struct work *work, const struct subscribers *s, struct scratch *scratch)
{
    struct load_heap least = {work->load, false, s->count, scratch->least};
    memcpy(least.members, s->members, s->count * sizeof(*s->members));
    load_heap_build(&least);
    for (size_t at = work->base[s->topic]; at < work->base[s->topic + 1]; at++) {
        if (work->owner[at] != NOBODY)
            continue;
        give(work, at, least.members[0]);
        sift_down(&least, 0);
    }
}

/* Chains each subscriber's partitions of the topic, the last one first: what it gives up. Lists
 * those that have any in `most`. */
static uint32_t list_donors(const struct work *work, const struct subscribers *s,
                            struct scratch *scratch)
{
    for (uint32_t i = 0; i < s->count; i++)
        scratch->last_of[s->members[i]] = 0;
    size_t base = work->base[s->topic];
    uint32_t count = 0;
    for (size_t at = base; at < work->base[s->topic + 1]; at++) {
        int32_t m = work->owner[at];
        ASSERT(m != NOBODY);
        if (scratch->last_of[m] == 0)
            scratch->most[count++] = (uint32_t)m;
        scratch->previous[at - base] = scratch->last_of[m];
        scratch->last_of[m] = at + 1;
    }
    return count;
}

/* Moves partitions of one topic between its subscribers until their loads differ by one at most, or
 * those with more have none of this topic; says whether anything moved. A donor stays above the
 * least loaded, so neither heap needs to hear of what the other did. */
static bool balance_topic(struct work *work, const struct subscribers *s, struct scratch *scratch)
{
    struct load_heap most = {work->load, true, list_donors(work, s, scratch), scratch->most};
    struct load_heap least = {work->load, false, s->count, scratch->least};
    memcpy(least.members, s->members, s->count * sizeof(*s->members));
    load_heap_build(&most);
    load_heap_build(&least);
    bool moved = false;
    while (most.count > 0) {
        uint32_t from = most.members[0];
        uint32_t to = least.members[0];
        if (work->load[from] < work->load[to] + 2)
            break;
        size_t at = scratch->last_of[from];
        if (at == 0) {
            load_heap_drop_top(&most);
            continue;
        }
        at--;
        scratch->last_of[from] = scratch->previous[at - work->base[s->topic]];
        take(work, at);
        give(work, at, to);
        sift_down(&most, 0);
        sift_down(&least, 0);
        moved = true;
    }
    return moved;
}

static enum err uniform_different(struct work *work)
{
    const struct assignor_group *group = work->group;
    struct subscribers *topics;
    TRY(list_subscribers(group, &topics));
    int32_t largest = 0;
    for (uint32_t t = 0; t < group->topic_count; t++)
        if (group->topics[t].partition_count > largest)
            largest = group->topics[t].partition_count;
    struct scratch scratch = {
        arena_array(group->arena, group->member_count, sizeof(*scratch.least)),
        arena_array(group->arena, group->member_count, sizeof(*scratch.most)),
        arena_array(group->arena, group->member_count, sizeof(*scratch.last_of)),
        arena_array(group->arena, (size_t)largest, sizeof(*scratch.previous)),
    };
    if (!scratch.least || !scratch.most || !scratch.last_of || !scratch.previous)
        return ERR_NOMEM;
    for (uint32_t t = 0; t < group->topic_count; t++)
        if (topics[t].count > 0)
            fill_topic(work, &topics[t], &scratch);
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool moved = false;
        for (uint32_t t = 0; t < group->topic_count; t++)
            if (topics[t].count > 1)
                moved |= balance_topic(work, &topics[t], &scratch);
        if (!moved)
            break;
    }
    return ERR_OK;
}

/* --- range --- */

static int range_compare(const void *a, const void *b)
{
    const struct assignor_member *x = *(const struct assignor_member *const *)a;
    const struct assignor_member *y = *(const struct assignor_member *const *)b;
    bool x_is_static = !str_is_null(x->instance_id);
    bool y_is_static = !str_is_null(y->instance_id);
    if (x_is_static != y_is_static)
        return x_is_static ? -1 : 1;
    return x_is_static ? str_cmp(x->instance_id, y->instance_id)
                       : str_cmp(x->member_id, y->member_id);
}

struct range_topic {
    uint32_t subscribers;
    size_t next; /* the first that is not given yet */
    int32_t least;
    int32_t extra; /* members that still get one more */
};

static enum err range(struct work *work)
{
    const struct assignor_group *group = work->group;
    const struct assignor_member **order =
        arena_array(group->arena, group->member_count, sizeof(*order));
    struct range_topic *topics = arena_array(group->arena, group->topic_count, sizeof(*topics));
    if (!order || !topics)
        return ERR_NOMEM;
    for (uint32_t m = 0; m < group->member_count; m++) {
        order[m] = &group->members[m];
        for (uint32_t i = 0; i < order[m]->topic_count; i++)
            topics[order[m]->topics[i]].subscribers++;
    }
    qsort(order, group->member_count, sizeof(*order), range_compare);
    for (uint32_t t = 0; t < group->topic_count; t++) {
        struct range_topic *topic = &topics[t];
        topic->next = work->base[t];
        if (topic->subscribers == 0)
            continue;
        topic->least = group->topics[t].partition_count / (int32_t)topic->subscribers;
        topic->extra = group->topics[t].partition_count % (int32_t)topic->subscribers;
    }
    for (uint32_t m = 0; m < group->member_count; m++) {
        uint32_t member = (uint32_t)(order[m] - group->members);
        for (uint32_t i = 0; i < order[m]->topic_count; i++) {
            struct range_topic *topic = &topics[order[m]->topics[i]];
            int32_t due = topic->least + (topic->extra > 0);
            topic->extra -= topic->extra > 0;
            for (int32_t given = 0; given < due; given++)
                give(work, topic->next++, member);
        }
    }
    return ERR_OK;
}

enum err assignor_assign(enum assignor assignor, const struct assignor_group *group)
{
    ASSERT(assignor < ASSIGNOR_COUNT);
    if (group->member_count == 0)
        return ERR_OK;
    struct work work;
    TRY(work_init(&work, group));
    if (assignor == ASSIGNOR_RANGE) {
        TRY(range(&work));
    } else {
        keep_current(&work);
        TRY(subscribes_to_all(group) ? uniform_same(&work) : uniform_different(&work));
    }
    return write_targets(&work);
}
