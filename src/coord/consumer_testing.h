/* A world for a consumer group, and heartbeats by hand, for tests. */
#ifndef COORD_CONSUMER_TESTING_H
#define COORD_CONSUMER_TESTING_H

#include "coord/consumer.h"
#include "coord/testing.h"

#define TOPICS_MAX 8

struct world {
    struct test_coord t;
    struct coord_topic topics[TOPICS_MAX];
    size_t topic_count;
    int64_t version;
    int32_t session_timeout_ms; /* the group's own; 0: none */
};

static inline struct world *world_of(const void *image)
{
    return (struct world *)(uintptr_t)image;
}

static inline bool by_name(const void *image, struct str name, struct coord_topic *topic)
{
    const struct world *w = world_of(image);
    for (size_t i = 0; i < w->topic_count; i++) {
        if (!str_eq(w->topics[i].name, name))
            continue;
        *topic = w->topics[i];
        return true;
    }
    return false;
}

static inline bool by_id(const void *image, struct uuid id, struct coord_topic *topic)
{
    const struct world *w = world_of(image);
    for (size_t i = 0; i < w->topic_count; i++) {
        if (!uuid_eq(w->topics[i].id, id))
            continue;
        *topic = w->topics[i];
        return true;
    }
    return false;
}

static inline uint64_t hash(const void *image, const struct coord_topic *topic)
{
    (void)image;
    return ((uint64_t)topic->id.bytes[15] << 32) + (uint64_t)topic->partition_count + 1;
}

static inline void each_name(const void *image, bool (*fn)(void *arg, struct str name), void *arg)
{
    const struct world *w = world_of(image);
    for (size_t i = 0; i < w->topic_count; i++)
        if (!fn(arg, w->topics[i].name))
            return;
}

static inline size_t topic_count(const void *image)
{
    return world_of(image)->topic_count;
}

static inline int64_t image_version(const void *image)
{
    return world_of(image)->version;
}

static inline bool group_config(const void *image, struct str group_id, struct str key,
                                int32_t *value)
{
    const struct world *w = world_of(image);
    (void)group_id;
    if (w->session_timeout_ms == 0 || !str_eq(key, STR("consumer.session.timeout.ms")))
        return false;
    *value = w->session_timeout_ms;
    return true;
}

static inline void world_init(struct world *w)
{
    *w = (struct world){.version = 1};
    test_init(&w->t);
    w->t.config.consumer = (struct coord_consumer_config){
        .session_timeout_ms = 45000,
        .session_timeout_min_ms = 45000,
        .session_timeout_max_ms = 60000,
        .heartbeat_interval_ms = 5000,
        .heartbeat_interval_min_ms = 5000,
        .heartbeat_interval_max_ms = 15000,
        .assignment_interval_ms = 0,
        .assignment_interval_max_ms = 15000,
        .group_size_max = INT32_MAX,
        .allows_upgrade = true,
        .allows_downgrade = true,
        .assignor_count = 2,
        .assignors = {ASSIGNOR_UNIFORM, ASSIGNOR_RANGE},
    };
    w->t.topics = (struct coord_topics){.image = w,
                                        .by_name = by_name,
                                        .by_id = by_id,
                                        .hash = hash,
                                        .each_name = each_name,
                                        .count = topic_count,
                                        .version = image_version,
                                        .group_config = group_config};
}

static inline struct uuid add_topic(struct world *w, struct str name, int32_t partitions)
{
    struct coord_topic *topic = &w->topics[w->topic_count++];
    assert_true(w->topic_count <= TOPICS_MAX);
    w->version++;
    *topic = (struct coord_topic){.name = name, .partition_count = partitions};
    topic->id.bytes[15] = (uint8_t)(10 * w->topic_count + (size_t)w->version % 10);
    topic->id.bytes[0] = (uint8_t)w->version;
    return topic->id;
}

static inline void remove_topic(struct world *w, struct str name)
{
    for (size_t i = 0; i < w->topic_count; i++) {
        if (!str_eq(w->topics[i].name, name))
            continue;
        w->topics[i] = w->topics[--w->topic_count];
        w->version++;
        return;
    }
}

/* --- heartbeats by hand --- */

static inline struct coord_consumer_heartbeat join(struct str member_id, const struct str *topics,
                                                   int32_t topics_len)
{
    return (struct coord_consumer_heartbeat){.api_version = 1,
                                             .group_id = STR("g"),
                                             .member_id = member_id,
                                             .rebalance_timeout_ms = 60000,
                                             .topics = topics,
                                             .topics_len = topics_len,
                                             .owned = &assignment_empty};
}

static inline struct coord_consumer_heartbeat beat(struct str member_id, int32_t epoch,
                                                   const struct assignment *owned)
{
    return (struct coord_consumer_heartbeat){.api_version = 1,
                                             .group_id = STR("g"),
                                             .member_id = member_id,
                                             .member_epoch = epoch,
                                             .rebalance_timeout_ms = -1,
                                             .topics_len = -1,
                                             .owned = owned};
}

static inline enum err send_beat(struct world *w, struct coord_consumer_heartbeat *heartbeat)
{
    heartbeat->op.arena = &w->t.arena;
    heartbeat->op.client_id = STR("client");
    heartbeat->op.client_host = STR("/1.2.3.4");
    coord_consumer_heartbeat(w->t.coord, test_call(&w->t), heartbeat);
    test_commit(&w->t);
    assert_ptr_equal(test_done(&w->t), &heartbeat->op);
    if (heartbeat->op.err != ERR_OK)
        assert_int_equal(w->t.records.count, 0);
    assert_int_equal(heartbeat->op.err != ERR_OK, !str_is_null(heartbeat->message));
    return heartbeat->op.err;
}

static inline size_t assigned(const struct coord_consumer_heartbeat *heartbeat)
{
    return heartbeat->assignment ? assignment_partition_count(heartbeat->assignment) : 0;
}

static inline const struct consumer *group_of(struct world *w)
{
    const struct group *group = group_find(w->t.coord, STR("g"));
    return group ? group->consumer : NULL;
}

/* Everything that can be asked about the group, as text. */
static inline void dump(struct world *w, struct buf *out)
{
    const struct consumer *consumer = group_of(w);
    buf_init(out, BUF_NO_LIMIT);
    if (!consumer)
        return;
    buf_printf(out, "epoch %d target %d hash %lld\n", consumer->epoch, consumer->target_epoch,
               (long long)consumer->metadata_hash);
    for (size_t i = 0; i < consumer->topic_count; i++)
        buf_printf(out, "%.*s %u %u\n", STR_ARG(consumer->topics[i]->name),
                   consumer->topics[i]->by_name, consumer->topics[i]->by_regex);
    for (size_t i = 0; i < consumer->member_count; i++) {
        const struct consumer_member *m = consumer->members[i];
        buf_printf(out, "%.*s %d %d %d %.*s %zu", STR_ARG(m->id), m->epoch, m->previous_epoch,
                   m->state, STR_ARG(m->instance_id), m->topic_count);
        const struct assignment *lists[] = {m->assigned, m->pending,
                                            m->target ? m->target : &assignment_empty};
        for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
            buf_printf(out, " |");
            for (size_t t = 0; t < lists[l]->count; t++)
                for (uint32_t p = 0; p < lists[l]->topics[t].count; p++)
                    buf_printf(out, " %d:%d@%d", lists[l]->topics[t].topic_id.bytes[15],
                               lists[l]->topics[t].partitions[p],
                               lists[l]->topics[t].epochs ? lists[l]->topics[t].epochs[p] : 0);
        }
        buf_printf(out, "\n");
    }
}

static inline void check_reload(struct world *w)
{
    struct buf before;
    struct buf after;
    dump(w, &before);
    test_reload(&w->t);
    dump(w, &after);
    assert_int_equal(before.len, after.len);
    if (before.len > 0)
        assert_memory_equal(before.data, after.data, before.len);
    buf_deinit(&before);
    buf_deinit(&after);
}

/* --- answers that wait for news --- */

static inline struct coord_consumer_heartbeat *
begin_beat(struct world *w, struct coord_consumer_heartbeat heartbeat, enum coord_patience patience)
{
    struct coord_consumer_heartbeat *h = arena_zalloc(&w->t.arena, sizeof(*h));
    assert_non_null(h);
    *h = heartbeat;
    h->patience = patience;
    h->op.arena = &w->t.arena;
    h->op.client_id = STR("client");
    h->op.client_host = STR("/1.2.3.4");
    coord_consumer_heartbeat(w->t.coord, test_call(&w->t), h);
    test_commit(&w->t);
    return h;
}

static inline bool waits_for_news(const struct coord_consumer_heartbeat *h)
{
    return h->op.waiting_in != NULL;
}

#endif
