/* The cache of fetch sessions and their partitions; see fetch_session.h.
 *
 * Runs on: the shard of the connection. Sessions are memory only: after a crash clients are told
 * that theirs is unknown and send all they want again. */
#include "broker/fetch_session.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "broker/node.h"

struct partition_key {
    struct uuid topic_id;
    struct str topic;
    int32_t index;
};

static bool session_has_id(const void *entry, const void *key)
{
    return ((const struct fetch_session *)entry)->id == *(const int32_t *)key;
}

static bool partition_has_key(const void *entry, const void *key)
{
    const struct fetch_session_partition *partition = entry;
    const struct partition_key *want = key;
    return partition->index == want->index && uuid_eq(partition->topic_id, want->topic_id) &&
           str_eq(partition->topic, want->topic);
}

static uint64_t id_hash(const struct map *map, int32_t id)
{
    return hash_u64(map->seed, (uint32_t)id);
}

static uint64_t key_hash(const struct map *map, const struct partition_key *key)
{
    uint64_t name = str_is_null(key->topic) ? hash_uuid(map->seed, key->topic_id)
                                            : hash_str(map->seed, key->topic);
    return hash_u64(name, (uint32_t)key->index);
}

void fetch_sessions_init(struct shard *shard, uint64_t seed)
{
    map_init(&shard->fetch_sessions, seed, session_has_id);
    list_init(&shard->fetch_sessions_used);
}

void fetch_sessions_deinit(struct shard *shard)
{
    while (!list_is_empty(&shard->fetch_sessions_used))
        fetch_session_remove(
            shard, LIST_ENTRY(shard->fetch_sessions_used.next, struct fetch_session, link));
    map_deinit(&shard->fetch_sessions);
}

struct fetch_session *fetch_session_find(struct shard *shard, int32_t id)
{
    return map_find(&shard->fetch_sessions, id_hash(&shard->fetch_sessions, id), &id);
}

static bool make_slot(struct shard *shard)
{
    size_t slots = shard->node->limits.fetch_session_count_max / shard->node->shard_count;
    if (shard->fetch_sessions.count < slots)
        return true;
    if (list_is_empty(&shard->fetch_sessions_used))
        return false;
    struct fetch_session *oldest =
        LIST_ENTRY(shard->fetch_sessions_used.next, struct fetch_session, link);
    if (io_now_ms(shard->io) - oldest->used_ms < FETCH_SESSION_IDLE_MS)
        return false;
    fetch_session_remove(shard, oldest);
    return true;
}

struct fetch_session *fetch_session_create(struct shard *shard, bool by_id)
{
    if (!make_slot(shard))
        return NULL;
    struct fetch_session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    do {
        session->id = (int32_t)(io_random(shard->io) & INT32_MAX);
    } while (session->id == 0 || fetch_session_find(shard, session->id));
    session->epoch = FETCH_EPOCH_INITIAL + 1;
    session->by_id = by_id;
    session->used_ms = io_now_ms(shard->io);
    list_init(&session->partitions);
    map_init(&session->by_key, shard->fetch_sessions.seed, partition_has_key);
    struct map *map = &shard->fetch_sessions;
    if (map_insert(map, id_hash(map, session->id), session) != ERR_OK) {
        free(session);
        return NULL;
    }
    list_push_back(&shard->fetch_sessions_used, &session->link);
    return session;
}

static void forget_partition(struct fetch_session_partition *partition)
{
    list_remove(&partition->link);
    free(partition);
}

void fetch_session_remove(struct shard *shard, struct fetch_session *session)
{
    struct map *map = &shard->fetch_sessions;
    void *removed = map_remove(map, id_hash(map, session->id), &session->id);
    ASSERT(removed == session);
    list_remove(&session->link);
    LIST_FOREACH_SAFE (node, &session->partitions)
        forget_partition(LIST_ENTRY(node, struct fetch_session_partition, link));
    map_deinit(&session->by_key);
    free(session);
}

void fetch_session_advance(struct shard *shard, struct fetch_session *session)
{
    session->epoch = session->epoch == INT32_MAX ? 1 : session->epoch + 1;
    session->used_ms = io_now_ms(shard->io);
    list_remove(&session->link);
    list_push_back(&shard->fetch_sessions_used, &session->link);
}

enum err fetch_session_put(struct fetch_session *session, struct uuid topic_id, struct str topic,
                           int32_t index, const struct fetch_want *want)
{
    struct partition_key key = {topic_id, topic, index};
    uint64_t hash = key_hash(&session->by_key, &key);
    struct fetch_session_partition *partition = map_find(&session->by_key, hash, &key);
    if (!partition) {
        partition = malloc(sizeof(*partition) + topic.len);
        if (!partition)
            return ERR_NOMEM;
        *partition = (struct fetch_session_partition){
            .topic_id = topic_id, .index = index, .high_watermark = -1, .log_start_offset = -1};
        if (!str_is_null(topic)) {
            memcpy(partition + 1, topic.data, topic.len);
            partition->topic = (struct str){(const char *)(partition + 1), topic.len};
        }
        if (map_insert(&session->by_key, hash, partition) != ERR_OK) {
            free(partition);
            return ERR_NOMEM;
        }
        list_push_back(&session->partitions, &partition->link);
        session->count++;
    }
    partition->want = *want;
    return ERR_OK;
}

void fetch_session_forget(struct fetch_session *session, struct uuid topic_id, struct str topic,
                          int32_t index)
{
    struct partition_key key = {topic_id, topic, index};
    struct fetch_session_partition *partition =
        map_remove(&session->by_key, key_hash(&session->by_key, &key), &key);
    if (partition) {
        forget_partition(partition);
        session->count--;
    }
}
