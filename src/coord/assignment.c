/* Assignments as sorted arrays. The block of a clone is: the header, its topics, then for each
 * topic its partitions and, where they are kept, its epochs. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/assignment.h"

const struct assignment assignment_empty = {0, NULL};

const struct topic_partitions *assignment_topic(const struct assignment *assignment,
                                                struct uuid topic_id)
{
    size_t low = 0;
    size_t high = assignment->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = uuid_compare(assignment->topics[middle].topic_id, topic_id);
        if (order == 0)
            return &assignment->topics[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int64_t topic_partitions_find(const struct topic_partitions *topic, int32_t partition)
{
    if (!topic)
        return -1;
    size_t low = 0;
    size_t high = topic->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (topic->partitions[middle] == partition)
            return (int64_t)middle;
        if (topic->partitions[middle] < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

bool assignment_has(const struct assignment *assignment, struct uuid topic_id, int32_t partition)
{
    return topic_partitions_find(assignment_topic(assignment, topic_id), partition) >= 0;
}

static bool numbers_eq(const int32_t *a, const int32_t *b, size_t count)
{
    if (!a || !b)
        return !a && !b;
    return memcmp(a, b, count * sizeof(*a)) == 0;
}

bool assignment_eq(const struct assignment *a, const struct assignment *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct topic_partitions *x = &a->topics[i];
        const struct topic_partitions *y = &b->topics[i];
        if (x->count != y->count || !uuid_eq(x->topic_id, y->topic_id) ||
            !numbers_eq(x->partitions, y->partitions, x->count) ||
            !numbers_eq(x->epochs, y->epochs, x->count))
            return false;
    }
    return true;
}

size_t assignment_partition_count(const struct assignment *assignment)
{
    size_t count = 0;
    for (size_t i = 0; i < assignment->count; i++)
        count += assignment->topics[i].count;
    return count;
}

bool assignment_is_part(const struct assignment *part, const struct assignment *whole)
{
    for (size_t t = 0; t < part->count; t++) {
        const struct topic_partitions *topic = &part->topics[t];
        const struct topic_partitions *in = assignment_topic(whole, topic->topic_id);
        for (uint32_t i = 0; i < topic->count; i++)
            if (topic_partitions_find(in, topic->partitions[i]) < 0)
                return false;
    }
    return true;
}

bool assignment_same_partitions(const struct assignment *a, const struct assignment *b)
{
    return assignment_partition_count(a) == assignment_partition_count(b) &&
           assignment_is_part(a, b);
}

enum err assignment_clone(const struct assignment *assignment, struct assignment **copy)
{
    size_t numbers = 0;
    for (size_t i = 0; i < assignment->count; i++)
        numbers += (size_t)assignment->topics[i].count * (assignment->topics[i].epochs ? 2 : 1);
    struct assignment *block =
        malloc(sizeof(*block) + assignment->count * sizeof(struct topic_partitions) +
               numbers * sizeof(int32_t));
    if (!block)
        return ERR_NOMEM;
    struct topic_partitions *topics = (struct topic_partitions *)(void *)(block + 1);
    int32_t *at = (int32_t *)(void *)(topics + assignment->count);
    for (size_t i = 0; i < assignment->count; i++) {
        const struct topic_partitions *from = &assignment->topics[i];
        topics[i] = (struct topic_partitions){from->topic_id, from->count, at, NULL};
        memcpy(at, from->partitions, from->count * sizeof(*at));
        at += from->count;
        if (!from->epochs)
            continue;
        topics[i].epochs = at;
        memcpy(at, from->epochs, from->count * sizeof(*at));
        at += from->count;
    }
    *block = (struct assignment){assignment->count, topics};
    *copy = block;
    return ERR_OK;
}

void assignment_builder_init(struct assignment_builder *builder, struct arena *arena,
                             bool with_epochs)
{
    *builder = (struct assignment_builder){.arena = arena, .with_epochs = with_epochs};
}

enum err assignment_builder_add(struct assignment_builder *builder, struct uuid topic_id,
                                int32_t partition, int32_t epoch)
{
    if (builder->count == builder->cap) {
        size_t cap = builder->cap ? builder->cap * 2 : 16;
        struct assignment_entry *entries = arena_array(builder->arena, cap, sizeof(*entries));
        if (!entries)
            return ERR_NOMEM;
        if (builder->count)
            memcpy(entries, builder->entries, builder->count * sizeof(*entries));
        builder->entries = entries;
        builder->cap = cap;
    }
    builder->entries[builder->count] =
        (struct assignment_entry){topic_id, partition, epoch, (uint32_t)builder->count};
    builder->count++;
    return ERR_OK;
}

enum err assignment_builder_add_topic(struct assignment_builder *builder,
                                      const struct topic_partitions *topic)
{
    for (uint32_t i = 0; i < topic->count; i++)
        TRY(assignment_builder_add(builder, topic->topic_id, topic->partitions[i],
                                   topic->epochs ? topic->epochs[i] : 0));
    return ERR_OK;
}

static int entry_compare(const void *a, const void *b)
{
    const struct assignment_entry *x = a;
    const struct assignment_entry *y = b;
    int order = uuid_compare(x->topic_id, y->topic_id);
    if (order)
        return order;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (x->turn > y->turn) - (x->turn < y->turn);
}

static bool entry_is_repeated(const struct assignment_entry *entry,
                              const struct assignment_entry *next)
{
    return entry->partition == next->partition && uuid_eq(entry->topic_id, next->topic_id);
}

enum err assignment_builder_finish(struct assignment_builder *builder, struct assignment *out)
{
    struct assignment_entry *entries = builder->entries;
    if (builder->count == 0) {
        *out = assignment_empty;
        return ERR_OK;
    }
    qsort(entries, builder->count, sizeof(*entries), entry_compare);
    size_t topic_count = 1;
    for (size_t i = 1; i < builder->count; i++)
        topic_count += !uuid_eq(entries[i].topic_id, entries[i - 1].topic_id);
    struct topic_partitions *topics = arena_array(builder->arena, topic_count, sizeof(*topics));
    int32_t *partitions = arena_array(builder->arena, builder->count, sizeof(*partitions));
    int32_t *epochs =
        builder->with_epochs ? arena_array(builder->arena, builder->count, sizeof(*epochs)) : NULL;
    if (!topics || !partitions || (builder->with_epochs && !epochs))
        return ERR_NOMEM;
    size_t at = 0;
    size_t topic = 0;
    for (size_t i = 0; i < builder->count; i++) {
        bool is_last_of_topic =
            i + 1 == builder->count || !uuid_eq(entries[i].topic_id, entries[i + 1].topic_id);
        if (!is_last_of_topic && entry_is_repeated(&entries[i], &entries[i + 1]))
            continue;
        struct topic_partitions *t = &topics[topic];
        if (t->count == 0)
            *t = (struct topic_partitions){entries[i].topic_id, 0, partitions + at,
                                           epochs ? epochs + at : NULL};
        partitions[at] = entries[i].partition;
        if (epochs)
            epochs[at] = entries[i].epoch;
        t->count++;
        at++;
        topic += is_last_of_topic;
    }
    ASSERT(topic == topic_count);
    *out = (struct assignment){topic_count, topics};
    return ERR_OK;
}
