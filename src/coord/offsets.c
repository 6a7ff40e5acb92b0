/* Committed offsets: commit, fetch, delete, expiry. Pure.
 *
 * A group has its offsets by topic, and in a topic by partition, in order. A commit is a record for
 * each partition; what is replayed replaces what was there. A commit without membership to a group
 * that is not known makes it: a group without members or protocol. What a transaction commits is
 * pending.c's until it ends. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/consumer.h"
#include "coord/internal.h"
#include "wire/messages.h"

#define OFFSET_NONE          INT64_C(-1)
#define EXPIRE_NONE          INT64_C(-1)
#define VERSION_NO_GROUP     9 /* OffsetCommit: from here on clients know GROUP_ID_NOT_FOUND */
#define OFFSET_VALUE_VERSION 4
/* With an expiry of its own an offset is written as it was when clients could ask for one. */
#define OFFSET_VALUE_VERSION_EXPIRE 1
/* What a tombstone takes in a batch besides its names: bounds a sweep's records. */
#define TOMBSTONE_BYTES ((size_t)40)

/* --- the table --- */

static bool topic_has_name(const void *entry, const void *key)
{
    return str_eq(((const struct offset_topic *)entry)->name, *(const struct str *)key);
}

void offsets_init(struct group *group, uint64_t seed)
{
    map_init(&group->offset_topics, seed, topic_has_name);
}

static void topic_free(struct offset_topic *topic)
{
    for (size_t i = 0; i < topic->count; i++)
        coord_str_free(&topic->items[i].metadata);
    free(topic->items);
    free(topic);
}

void offsets_deinit(struct group *group)
{
    struct map_iter iter;
    map_iter_init(&iter, &group->offset_topics);
    for (struct offset_topic *topic; (topic = map_iter_next(&iter)) != NULL;)
        topic_free(topic);
    map_deinit(&group->offset_topics);
}

static struct offset_topic *topic_find(const struct group *group, struct str name)
{
    const struct map *topics = &group->offset_topics;
    return map_find(topics, hash_str(topics->seed, name), &name);
}

/* Where the partition is, or belongs. */
static size_t topic_place(const struct offset_topic *topic, int32_t partition)
{
    size_t low = 0, high = topic->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (topic->items[middle].partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct offset *topic_offset(const struct offset_topic *topic, int32_t partition)
{
    size_t at = topic_place(topic, partition);
    bool is_there = at < topic->count && topic->items[at].partition == partition;
    return is_there ? &topic->items[at] : NULL;
}

const struct offset *offsets_find(const struct group *group, struct str name, int32_t partition)
{
    const struct offset_topic *topic = topic_find(group, name);
    return topic ? topic_offset(topic, partition) : NULL;
}

static enum err topic_create(struct group *group, struct str name, struct offset_topic **out)
{
    struct map *topics = &group->offset_topics;
    struct offset_topic *topic = calloc(1, sizeof(*topic) + name.len + 1);
    if (!topic)
        return ERR_NOMEM;
    char *copy = (char *)(topic + 1);
    if (name.len > 0)
        memcpy(copy, name.data, name.len);
    topic->name = (struct str){copy, name.len};
    enum err err = map_insert(topics, hash_str(topics->seed, name), topic);
    if (err != ERR_OK) {
        free(topic);
        return err;
    }
    *out = topic;
    return ERR_OK;
}

/* Takes over the offset's metadata. */
static enum err topic_put(struct group *group, struct offset_topic *topic,
                          const struct offset *offset)
{
    size_t at = topic_place(topic, offset->partition);
    if (at < topic->count && topic->items[at].partition == offset->partition) {
        coord_str_free(&topic->items[at].metadata);
        topic->items[at] = *offset;
        return ERR_OK;
    }
    if (topic->count == topic->cap) {
        size_t cap = topic->cap ? topic->cap * 2 : 1;
        struct offset *items = realloc(topic->items, cap * sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        topic->items = items;
        topic->cap = cap;
    }
    memmove(&topic->items[at + 1], &topic->items[at], (topic->count - at) * sizeof(*topic->items));
    topic->items[at] = *offset;
    topic->count++;
    group->offset_count++;
    return ERR_OK;
}

static void topic_remove(struct group *group, struct offset_topic *topic, int32_t partition)
{
    struct offset *offset = topic_offset(topic, partition);
    if (!offset)
        return;
    coord_str_free(&offset->metadata);
    size_t at = (size_t)(offset - topic->items);
    topic->count--;
    group->offset_count--;
    memmove(offset, offset + 1, (topic->count - at) * sizeof(*offset));
    if (topic->count > 0)
        return;
    struct map *topics = &group->offset_topics;
    map_remove(topics, hash_str(topics->seed, topic->name), &topic->name);
    topic_free(topic);
}

/* --- replay --- */

enum err offsets_put(struct group *group, struct str topic_name, const struct offset *given)
{
    struct offset offset = *given;
    struct offset_topic *topic = topic_find(group, topic_name);
    if (!topic)
        TRY(topic_create(group, topic_name, &topic));
    offset.metadata = STR_NULL;
    if (given->metadata.len > 0)
        TRY(coord_str_copy(given->metadata, &offset.metadata));
    enum err err = topic_put(group, topic, &offset);
    if (err != ERR_OK)
        coord_str_free(&offset.metadata);
    return err;
}

bool offsets_none(const struct group *group)
{
    return group->offset_count == 0 && group->pending.count == 0;
}

static enum err replay_put(struct coord *coord, struct str group_id, struct str topic,
                           int64_t producer_id, struct offset *offset)
{
    struct group *group = group_find(coord, group_id);
    if (!group)
        TRY(group_create(coord, group_id, &group));
    offset->order = ++coord->replayed;
    return producer_id == OFFSETS_NO_TXN ? offsets_put(group, topic, offset)
                                         : pending_put(coord, group, topic, producer_id, offset);
}

static void take_out(struct coord *coord, struct str group_id, struct str topic_name,
                     int32_t partition)
{
    struct group *group = group_find(coord, group_id);
    struct offset_topic *topic = group ? topic_find(group, topic_name) : NULL;
    /* The name may be a view of what goes. */
    if (group)
        pending_take_out(coord, group, topic_name, partition);
    if (topic)
        topic_remove(group, topic, partition);
}

enum err offsets_replay(struct coord *coord, const struct coord_record *record, int64_t producer_id)
{
    const struct offset_commit_key *key = record->key;
    const struct offset_commit_value *value = record->value;
    if (!value) {
        take_out(coord, key->group, key->topic, key->partition);
        return ERR_OK;
    }
    struct offset offset = {.partition = key->partition,
                            .leader_epoch = value->leader_epoch,
                            .offset = value->offset,
                            .commit_ms = value->commit_timestamp,
                            .expire_ms = value->expire_timestamp,
                            .topic_id = value->topic_id,
                            .metadata = value->metadata};
    return replay_put(coord, key->group, key->topic, producer_id, &offset);
}

enum err offsets_replay_legacy(struct coord *coord, const struct coord_record *record,
                               int64_t producer_id)
{
    const struct legacy_offset_commit_key *key = record->key;
    const struct legacy_offset_commit_value *value = record->value;
    if (!value) {
        take_out(coord, key->group, key->topic, key->partition);
        return ERR_OK;
    }
    struct offset offset = {.partition = key->partition,
                            .leader_epoch = -1,
                            .offset = value->offset,
                            .commit_ms = value->commit_timestamp,
                            .expire_ms = EXPIRE_NONE,
                            .metadata = value->metadata};
    return replay_put(coord, key->group, key->topic, producer_id, &offset);
}

/* --- records --- */

static enum err add_tombstone(const struct coord_call *call, struct str group_id, struct str topic,
                              int32_t partition)
{
    struct offset_commit_key *key = arena_zalloc(call->arena, sizeof(*key));
    if (!key)
        return ERR_NOMEM;
    *key = (struct offset_commit_key){group_id, topic, partition};
    struct coord_record record = {.type = COORD_OFFSET_COMMIT, .key = key};
    return coord_records_add(call->records, &record);
}

static enum err add_commit(const struct coord_call *call, const struct coord_offset_commit *commit,
                           const struct coord_offset_topic *topic,
                           const struct coord_offset *offset)
{
    struct offset_commit_key *key = arena_zalloc(call->arena, sizeof(*key));
    struct offset_commit_value *value = arena_zalloc(call->arena, sizeof(*value));
    if (!key || !value)
        return ERR_NOMEM;
    bool has_expiry = commit->retention_ms != -1;
    MSG_INIT(offset_commit_value, value);
    *key = (struct offset_commit_key){commit->group_id, topic->name, offset->partition};
    value->offset = offset->offset;
    value->metadata = str_is_null(offset->metadata) ? STR("") : offset->metadata;
    value->commit_timestamp = call->wall_ms;
    value->leader_epoch = offset->leader_epoch;
    value->topic_id = topic->id;
    if (has_expiry)
        value->expire_timestamp = call->wall_ms + commit->retention_ms;
    struct coord_record record = {.type = COORD_OFFSET_COMMIT,
                                  .version = has_expiry ? OFFSET_VALUE_VERSION_EXPIRE
                                                        : OFFSET_VALUE_VERSION,
                                  .key = key,
                                  .value = value};
    return coord_records_add(call->records, &record);
}

/* --- commit --- */

static enum err check_commit(const struct group *group, const struct coord_offset_commit *commit)
{
    if (group && group->consumer)
        return consumer_check_commit(group, commit);
    if (group)
        return classic_check_commit(group, commit);
    if (commit->generation < 0)
        return ERR_OK; /* no member of anything: the commit makes the group */
    return commit->api_version >= VERSION_NO_GROUP ? ERR_GROUP_ID_NOT_FOUND
                                                   : ERR_ILLEGAL_GENERATION;
}

/* As Java counts a string: in units of UTF-16. */
static size_t utf16_len(struct str s)
{
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t byte = (uint8_t)s.data[i];
        len += (size_t)((byte & 0xc0) != 0x80) + (size_t)(byte >= 0xf0);
    }
    return len;
}

/* ERR_STALE_MEMBER_EPOCH or the like: one partition makes the whole commit fail. */
static enum err check_partitions(const struct group *group,
                                 const struct coord_offset_commit *commit)
{
    for (size_t t = 0; t < commit->topic_count; t++) {
        const struct coord_offset_topic *topic = &commit->topics[t];
        for (size_t i = 0; i < topic->partition_count; i++)
            if (topic->partitions[i].err == ERR_OK)
                TRY(consumer_check_commit_partition(group, commit, topic->id,
                                                    topic->partitions[i].partition));
    }
    return ERR_OK;
}

static enum err commit_records(const struct coord *coord, const struct coord_call *call,
                               const struct coord_offset_commit *commit)
{
    for (size_t t = 0; t < commit->topic_count; t++) {
        const struct coord_offset_topic *topic = &commit->topics[t];
        for (size_t i = 0; i < topic->partition_count; i++) {
            struct coord_offset *offset = &topic->partitions[i];
            if (offset->err != ERR_OK)
                continue;
            if (utf16_len(offset->metadata) > (size_t)coord->config->offset_metadata_max)
                offset->err = ERR_OFFSET_METADATA_TOO_LARGE;
            else
                TRY(add_commit(call, commit, topic, offset));
        }
    }
    return ERR_OK;
}

void coord_offset_commit(struct coord *coord, const struct coord_call *call,
                         struct coord_offset_commit *commit)
{
    struct group *group = group_find(coord, commit->group_id);
    enum err err = check_commit(group, commit);
    if (err == ERR_OK && group && group->consumer)
        err = check_partitions(group, commit);
    else if (err == ERR_OK && group)
        classic_on_commit(coord, group, call, commit->member_id);
    size_t mark = call->records->count;
    if (err == ERR_OK)
        err = commit_records(coord, call, commit);
    if (err != ERR_OK)
        call->records->count = mark;
    coord_op_end(&commit->op, err, call);
}

/* --- fetch --- */

static void answer_offset(const struct offset_topic *topic, const struct coord_offset_topic *asked,
                          struct coord_offset *out)
{
    const struct offset *offset = topic ? topic_offset(topic, out->partition) : NULL;
    out->offset = OFFSET_NONE;
    out->leader_epoch = -1;
    out->metadata = STR("");
    bool is_other_topic = offset && !uuid_is_zero(asked->id) && !uuid_is_zero(offset->topic_id) &&
                          !uuid_eq(asked->id, offset->topic_id);
    if (!offset || is_other_topic)
        return;
    out->offset = offset->offset;
    out->leader_epoch = offset->leader_epoch;
    out->metadata = offset->metadata;
}

static enum err copy_metadata(struct arena *arena, struct coord_offset *out)
{
    out->metadata = out->metadata.len > 0 ? arena_str(arena, out->metadata) : STR("");
    return out->metadata.data ? ERR_OK : ERR_NOMEM;
}

/* Whoever wants what will stay has to wait for the transaction's end. */
static bool is_unstable(const struct coord_offset_fetch *fetch, const struct group *group,
                        struct str topic, struct coord_offset *out)
{
    if (!fetch->require_stable || !group || out->err != ERR_OK ||
        !pending_has(group, topic, out->partition))
        return false;
    answer_offset(NULL, NULL, out);
    out->err = ERR_UNSTABLE_OFFSET_COMMIT;
    return true;
}

static enum err fetch_asked(const struct group *group, struct coord_offset_fetch *fetch)
{
    for (size_t t = 0; t < fetch->topic_count; t++) {
        struct coord_offset_topic *asked = &fetch->topics[t];
        const struct offset_topic *topic = group ? topic_find(group, asked->name) : NULL;
        for (size_t i = 0; i < asked->partition_count; i++) {
            if (is_unstable(fetch, group, asked->name, &asked->partitions[i]))
                continue;
            answer_offset(topic, asked, &asked->partitions[i]);
            TRY(copy_metadata(fetch->op.arena, &asked->partitions[i]));
        }
    }
    return ERR_OK;
}

static enum err fetch_topic(const struct coord_offset_fetch *fetch, const struct group *group,
                            const struct offset_topic *topic, struct coord_offset_topic *out)
{
    struct arena *arena = fetch->op.arena;
    out->name = arena_str(arena, topic->name);
    out->partitions = arena_array(arena, topic->count, sizeof(*out->partitions));
    if (!out->name.data || !out->partitions)
        return ERR_NOMEM;
    out->partition_count = topic->count;
    for (size_t i = 0; i < topic->count; i++) {
        out->partitions[i].partition = topic->items[i].partition;
        out->id = topic->items[i].topic_id;
        if (is_unstable(fetch, group, out->name, &out->partitions[i]))
            continue;
        answer_offset(topic, &(struct coord_offset_topic){.name = out->name}, &out->partitions[i]);
        TRY(copy_metadata(arena, &out->partitions[i]));
    }
    return ERR_OK;
}

static enum err fetch_all(const struct group *group, struct coord_offset_fetch *fetch)
{
    fetch->topic_count = 0;
    if (!group)
        return ERR_OK;
    fetch->topics =
        arena_array(fetch->op.arena, group->offset_topics.count, sizeof(*fetch->topics));
    if (!fetch->topics)
        return ERR_NOMEM;
    struct map_iter iter;
    map_iter_init(&iter, &group->offset_topics);
    for (const struct offset_topic *topic; (topic = map_iter_next(&iter)) != NULL;)
        TRY(fetch_topic(fetch, group, topic, &fetch->topics[fetch->topic_count++]));
    return ERR_OK;
}

void coord_offset_fetch(struct coord *coord, const struct coord_call *call,
                        struct coord_offset_fetch *fetch)
{
    const struct group *group = group_find(coord, fetch->group_id);
    enum err err = group && group->consumer ? consumer_check_fetch(group, fetch) : ERR_OK;
    if (err == ERR_OK)
        err = fetch->wants_all ? fetch_all(group, fetch) : fetch_asked(group, fetch);
    coord_op_end(&fetch->op, err, call);
}

/* --- delete --- */

struct pending_delete {
    const struct group *group;
    const struct coord_call *call;
    struct str only_topic; /* null: all */
};

/* One tombstone drops what is committed and what is pending: where there is the former, it has been
 * written. */
static enum err delete_pending(void *arg, struct str topic, int32_t partition)
{
    const struct pending_delete *delete = arg;
    bool is_asked = str_is_null(delete->only_topic) || str_eq(delete->only_topic, topic);
    if (!is_asked || offsets_find(delete->group, topic, partition))
        return ERR_OK;
    return add_tombstone(delete->call, delete->group->id, topic, partition);
}

enum err offsets_delete_all(const struct group *group, const struct coord_call *call)
{
    struct map_iter iter;
    map_iter_init(&iter, &group->offset_topics);
    for (const struct offset_topic *topic; (topic = map_iter_next(&iter)) != NULL;) {
        for (size_t i = 0; i < topic->count; i++)
            TRY(add_tombstone(call, group->id, topic->name, topic->items[i].partition));
    }
    struct pending_delete delete = {group, call, STR_NULL};
    return pending_each(group, delete_pending, &delete);
}

static bool is_subscribed_to(const struct group *group, struct str topic)
{
    return group->consumer ? consumer_is_subscribed(group, topic)
                           : classic_is_subscribed(group, topic);
}

static bool has_reader(const struct group *group, const struct offset *offset, bool is_subscribed)
{
    if (!group->consumer || uuid_is_zero(offset->topic_id))
        return is_subscribed;
    return consumer_owner(group->consumer, offset->topic_id, offset->partition) != NULL;
}

enum err coord_each_offset(const struct coord *coord, coord_seen_fn *fn, void *arg)
{
    LIST_FOREACH (node, &coord->group_list) {
        const struct group *group = LIST_ENTRY(node, const struct group, link);
        struct coord_seen seen = {.group_id = group->id, .topic = STR_NULL};
        struct map_iter iter;
        seen.member_count =
            group->consumer ? group->consumer->member_count : group->classic.member_count;
        if (group->offset_count == 0)
            TRY(fn(arg, &seen));
        map_iter_init(&iter, &group->offset_topics);
        for (const struct offset_topic *topic; (topic = map_iter_next(&iter)) != NULL;) {
            bool is_subscribed = is_subscribed_to(group, topic->name);
            seen.topic = topic->name;
            for (size_t i = 0; i < topic->count; i++) {
                seen.partition = topic->items[i].partition;
                seen.offset = topic->items[i].offset;
                seen.has_reader = has_reader(group, &topic->items[i], is_subscribed);
                TRY(fn(arg, &seen));
            }
        }
    }
    return ERR_OK;
}

static enum err delete_asked(const struct group *group, const struct coord_call *call,
                             const struct coord_offset_topic *asked)
{
    bool is_subscribed = is_subscribed_to(group, asked->name);
    for (size_t i = 0; i < asked->partition_count; i++) {
        struct coord_offset *offset = &asked->partitions[i];
        if (offset->err != ERR_OK)
            continue;
        if (is_subscribed)
            offset->err = ERR_GROUP_SUBSCRIBED_TO_TOPIC;
        else if (offsets_find(group, asked->name, offset->partition) ||
                 pending_has(group, asked->name, offset->partition))
            TRY(add_tombstone(call, group->id, asked->name, offset->partition));
    }
    return ERR_OK;
}

void coord_offset_delete(struct coord *coord, const struct coord_call *call,
                         struct coord_offset_delete *request)
{
    const struct group *group = group_find(coord, request->group_id);
    enum err err = request->group_id.len == 0 ? ERR_INVALID_GROUP_ID
                   : group                    ? ERR_OK
                                              : ERR_GROUP_ID_NOT_FOUND;
    if (err == ERR_OK && !group->consumer)
        err = classic_check_offset_delete(group);
    size_t mark = call->records->count;
    call->records->may_split = true;
    for (size_t t = 0; err == ERR_OK && t < request->topic_count; t++)
        err = delete_asked(group, call, &request->topics[t]);
    if (err != ERR_OK)
        call->records->count = mark;
    coord_op_end(&request->op, err, call);
}

/* Topics are named once each; a deletion is rare, and there are as many groups as there are. */
void coord_topics_deleted(struct coord *coord, const struct coord_call *call,
                          const struct str *names, size_t count)
{
    call->records->may_split = true;
    LIST_FOREACH (node, &coord->group_list) {
        const struct group *group = LIST_ENTRY(node, struct group, link);
        for (size_t n = 0; n < count; n++) {
            const struct offset_topic *topic = topic_find(group, names[n]);
            for (size_t i = 0; topic && i < topic->count; i++) {
                enum err err =
                    add_tombstone(call, group->id, topic->name, topic->items[i].partition);
                if (err != ERR_OK)
                    return; /* they expire in their time */
            }
            struct pending_delete delete = {group, call, names[n]};
            if (group->pending.count > 0 && pending_each(group, delete_pending, &delete) != ERR_OK)
                return;
        }
    }
}

/* --- expiry --- */

static bool is_expired(const struct coord *coord, const struct group *group,
                       const struct offset *offset, int64_t now_ms)
{
    int64_t base_ms = offset->commit_ms;
    if (!group->consumer && !classic_expiry_base(group, offset, &base_ms))
        return false;
    if (offset->expire_ms != EXPIRE_NONE)
        return now_ms >= offset->expire_ms;
    return base_ms <= now_ms - coord->config->offset_retention_ms; /* a log may say any time */
}

bool offsets_expire(const struct coord *coord, const struct group *group,
                    const struct coord_call *call, bool *is_gone)
{
    size_t room = call->batch_bytes_max / 2, used = 0, left = group->offset_count;
    struct map_iter iter;
    map_iter_init(&iter, &group->offset_topics);
    *is_gone = false;
    for (const struct offset_topic *topic; (topic = map_iter_next(&iter)) != NULL;) {
        if (is_subscribed_to(group, topic->name))
            continue;
        for (size_t i = 0; i < topic->count; i++) {
            if (!is_expired(coord, group, &topic->items[i], call->wall_ms) ||
                pending_has(group, topic->name, topic->items[i].partition))
                continue;
            if (used + TOMBSTONE_BYTES + group->id.len + topic->name.len > room ||
                add_tombstone(call, group->id, topic->name, topic->items[i].partition) != ERR_OK)
                return false;
            used += TOMBSTONE_BYTES + group->id.len + topic->name.len;
            left--;
        }
    }
    *is_gone = left == 0 && group->pending.count == 0;
    return true;
}
