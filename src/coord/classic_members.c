/* Who is in a classic group: members, ids that were given out, protocols that all know. Pure.
 *
 * A member is found by its id and, if it is static, by its instance; both tables and the counts are
 * kept here, together. */
#include <stdlib.h>

#include "base/assert.h"
#include "coord/classic.h"

/* Of Apache Kafka's and librdkafka's clients. */
#define HEARTBEAT_INTERVAL_DEFAULT_MS 3000

static bool member_has_id(const void *entry, const void *key)
{
    return str_eq(((const struct classic_member *)entry)->id, *(const struct str *)key);
}

static bool member_has_instance(const void *entry, const void *key)
{
    return str_eq(((const struct classic_member *)entry)->instance_id, *(const struct str *)key);
}

struct classic_member *classic_member_find(const struct group *group, struct str id)
{
    const struct map *map = &group->classic.members_by_id;
    return map_find(map, hash_str(map->seed, id), &id);
}

struct classic_member *classic_instance_find(const struct group *group, struct str instance_id)
{
    const struct map *map = &group->classic.members_by_instance;
    return map_find(map, hash_str(map->seed, instance_id), &instance_id);
}

enum err classic_check_member(const struct group *group, struct str member_id,
                              struct str instance_id)
{
    if (!str_is_null(instance_id)) {
        const struct classic_member *own = classic_instance_find(group, instance_id);
        if (!own)
            return ERR_UNKNOWN_MEMBER_ID;
        if (!str_eq(own->id, member_id))
            return ERR_FENCED_INSTANCE_ID;
    }
    return classic_member_find(group, member_id) ? ERR_OK : ERR_UNKNOWN_MEMBER_ID;
}

void classic_member_touch(struct coord *coord, struct classic_member *member, int64_t now_ms)
{
    member->session_end_ms = now_ms + member->session_timeout_ms;
    /* The timer runs out at the old time and looks again: a heartbeat costs no more than this. */
    if (!member->session.node.is_linked ||
        (int64_t)member->session.node.key > member->session_end_ms)
        coord_timer_set(coord, &member->session, member->session_end_ms);
}

static enum err protocols_copy(const struct coord_protocol *from, size_t count,
                               struct coord_protocol **to)
{
    size_t bytes = count * sizeof(**to);
    for (size_t i = 0; i < count; i++)
        bytes += from[i].name.len + from[i].metadata.len;
    struct coord_protocol *copy = malloc(bytes + 1);
    if (!copy)
        return ERR_NOMEM;
    char *at = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        copy[i].name = (struct str){at, from[i].name.len};
        if (from[i].name.len > 0)
            memcpy(at, from[i].name.data, from[i].name.len);
        at += from[i].name.len;
        copy[i].metadata = slice_of(at, from[i].metadata.len);
        if (from[i].metadata.len > 0)
            memcpy(at, from[i].metadata.data, from[i].metadata.len);
        at += from[i].metadata.len;
    }
    *to = copy;
    return ERR_OK;
}

/* --- protocols that members know --- */

static struct classic_support *support_find(const struct group *group, struct str name)
{
    const struct map *map = &group->classic.supported;
    return map_find(map, hash_str(map->seed, name), &name);
}

/* A name that comes twice in a list counts once: `turn` marks those that were seen to. */
static void support_drop(struct group *group, const struct coord_protocol *protocols, size_t count)
{
    struct map *map = &group->classic.supported;
    uint64_t turn = ++group->classic.support_turn;
    for (size_t i = 0; i < count; i++) {
        struct classic_support *support = support_find(group, protocols[i].name);
        if (!support || support->turn == turn)
            continue;
        support->turn = turn;
        if (--support->count > 0)
            continue;
        map_remove(map, hash_str(map->seed, support->name), &support->name);
        free(support);
    }
}

static enum err support_create(struct group *group, struct str name, uint64_t turn)
{
    struct map *map = &group->classic.supported;
    struct classic_support *support = malloc(sizeof(*support) + name.len + 1);
    if (!support)
        return ERR_NOMEM;
    char *copy = (char *)(support + 1);
    if (name.len > 0)
        memcpy(copy, name.data, name.len);
    *support = (struct classic_support){.name = {copy, name.len}, .count = 1, .turn = turn};
    enum err err = map_insert(map, hash_str(map->seed, support->name), support);
    if (err != ERR_OK)
        free(support);
    return err;
}

static enum err support_add(struct group *group, const struct coord_protocol *protocols,
                            size_t count)
{
    uint64_t turn = ++group->classic.support_turn;
    for (size_t i = 0; i < count; i++) {
        struct classic_support *support = support_find(group, protocols[i].name);
        enum err err = support ? ERR_OK : support_create(group, protocols[i].name, turn);
        if (err != ERR_OK) {
            support_drop(group, protocols, i);
            return err;
        }
        if (support && support->turn != turn) {
            support->turn = turn;
            support->count++;
        }
    }
    return ERR_OK;
}

static bool all_know(const struct group *group, struct str name)
{
    const struct classic_support *support = support_find(group, name);
    return (support ? support->count : 0) == group->classic.member_count;
}

enum err classic_check_protocols(const struct group *group, const struct coord_join *join)
{
    const struct classic *classic = group ? &group->classic : NULL;
    bool is_empty = !group || classic_state(group) == CLASSIC_EMPTY;
    bool fits = is_empty && join->protocol_type.len > 0 && join->protocol_count > 0;
    if (!is_empty && str_eq(classic->protocol_type, join->protocol_type)) {
        for (size_t i = 0; !fits && i < join->protocol_count; i++)
            fits = all_know(group, join->protocols[i].name);
    }
    return fits ? ERR_OK : ERR_INCONSISTENT_GROUP_PROTOCOL;
}

/* The first that the member prefers of those that all know. */
static struct classic_support *vote(const struct group *group, const struct classic_member *member)
{
    for (size_t i = 0; i < member->protocol_count; i++) {
        struct classic_support *support = support_find(group, member->protocols[i].name);
        if (support && support->count == group->classic.member_count)
            return support;
    }
    return NULL;
}

struct str classic_select_protocol(const struct group *group)
{
    struct classic_support *best = NULL;
    struct map_iter iter;
    map_iter_init(&iter, &group->classic.supported);
    for (struct classic_support *support; (support = map_iter_next(&iter)) != NULL;)
        support->votes = 0;
    LIST_FOREACH (node, &group->classic.members) {
        struct classic_support *support =
            vote(group, LIST_ENTRY(node, struct classic_member, link));
        if (support)
            support->votes++;
        if (support && (!best || support->votes > best->votes))
            best = support;
    }
    return best ? best->name : STR_NULL;
}

/* --- a member --- */

static void member_free(struct classic_member *member)
{
    coord_str_free(&member->id);
    coord_str_free(&member->instance_id);
    coord_str_free(&member->client_id);
    coord_str_free(&member->client_host);
    free(member->protocols);
    free((void *)(uintptr_t)member->assignment.data);
    free(member->kept);
    free(member);
}

static enum err member_fill(struct classic_member *member, const struct classic_member_spec *spec)
{
    member->rebalance_timeout_ms = spec->rebalance_timeout_ms;
    member->session_timeout_ms = spec->session_timeout_ms;
    TRY(coord_str_copy(spec->id, &member->id));
    TRY(coord_str_copy(spec->instance_id, &member->instance_id));
    TRY(coord_str_copy(spec->client_id, &member->client_id));
    TRY(coord_str_copy(spec->client_host, &member->client_host));
    TRY(protocols_copy(spec->protocols, spec->protocol_count, &member->protocols));
    member->protocol_count = spec->protocol_count;
    return classic_member_assign(member, spec->assignment);
}

enum err classic_member_assign(struct classic_member *member, struct slice assignment)
{
    uint8_t *copy = malloc(assignment.len + 1);
    if (!copy)
        return ERR_NOMEM;
    if (assignment.len > 0)
        memcpy(copy, assignment.data, assignment.len);
    free((void *)(uintptr_t)member->assignment.data);
    member->assignment = slice_of(copy, assignment.len);
    return ERR_OK;
}

static enum err member_link(struct group *group, struct classic_member *member)
{
    struct classic *classic = &group->classic;
    struct map *ids = &classic->members_by_id, *instances = &classic->members_by_instance;
    TRY(map_reserve(instances, instances->count + 1));
    TRY(map_reserve(ids, ids->count + 1));
    TRY(support_add(group, member->protocols, member->protocol_count));
    enum err linked = map_insert(ids, hash_str(ids->seed, member->id), member);
    ASSERT(linked == ERR_OK); /* there is room */
    if (!str_is_null(member->instance_id)) {
        enum err err =
            map_insert(instances, hash_str(instances->seed, member->instance_id), member);
        ASSERT(err == ERR_OK);
    }
    list_push_back(&classic->members, &member->link);
    classic->member_count++;
    return ERR_OK;
}

enum err classic_member_add(struct group *group, const struct classic_member_spec *spec,
                            struct classic_member **out)
{
    struct classic_member *member = calloc(1, sizeof(*member));
    if (!member)
        return ERR_NOMEM;
    member->group = group;
    list_init(&member->link);
    coord_timer_init(&member->session, classic_on_session_end);
    list_init(&member->joins);
    list_init(&member->syncs);
    list_init(&member->heartbeats);
    member->heartbeat_interval_ms = HEARTBEAT_INTERVAL_DEFAULT_MS;
    coord_timer_init(&member->heartbeat_timer, classic_on_heartbeat_timer);
    enum err err = member_fill(member, spec);
    if (err == ERR_OK)
        err = member_link(group, member);
    if (err != ERR_OK) {
        member_free(member);
        return err;
    }
    *out = member;
    return ERR_OK;
}

void classic_member_forget_kept(struct classic_member *member)
{
    free(member->kept);
    member->kept = NULL;
}

enum err classic_member_update(struct classic_member *member, const struct coord_join *join)
{
    struct coord_protocol *protocols;
    TRY(protocols_copy(join->protocols, join->protocol_count, &protocols));
    enum err err = support_add(member->group, protocols, join->protocol_count);
    if (err != ERR_OK) {
        free(protocols);
        return err;
    }
    support_drop(member->group, member->protocols, member->protocol_count);
    free(member->protocols);
    classic_member_forget_kept(member);
    member->protocols = protocols;
    member->protocol_count = join->protocol_count;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms;
    member->session_timeout_ms = join->session_timeout_ms;
    return ERR_OK;
}

enum err classic_member_replace(struct classic_member *member, struct str id,
                                const struct coord_call *call)
{
    struct map *ids = &member->group->classic.members_by_id;
    struct str copy;
    TRY(map_reserve(ids, ids->count + 1));
    TRY(coord_str_copy(id, &copy));
    map_remove(ids, hash_str(ids->seed, member->id), &member->id);
    coord_str_free(&member->id);
    member->id = copy;
    enum err err = map_insert(ids, hash_str(ids->seed, member->id), member);
    ASSERT(err == ERR_OK); /* there is room */
    /* Whoever still speaks for the instance is fenced. */
    coord_ops_end(&member->joins, ERR_FENCED_INSTANCE_ID, call->done);
    coord_ops_end(&member->syncs, ERR_FENCED_INSTANCE_ID, call->done);
    coord_ops_end(&member->heartbeats, ERR_FENCED_INSTANCE_ID, call->done);
    member->heartbeat_ms = 0;
    classic_set_awaiting_join(member, false);
    member->is_awaiting_sync = false;
    return ERR_OK;
}

void classic_set_awaiting_join(struct classic_member *member, bool is_awaiting)
{
    struct classic *classic = &member->group->classic;
    classic->awaiting_join += (size_t)is_awaiting - (size_t)member->is_awaiting_join;
    member->is_awaiting_join = is_awaiting;
}

void classic_set_pending_sync(struct classic_member *member, bool is_pending)
{
    struct classic *classic = &member->group->classic;
    classic->pending_sync += (size_t)is_pending - (size_t)member->is_pending_sync;
    member->is_pending_sync = is_pending;
}

static void elect_any_leader(struct classic *classic)
{
    classic->leader = NULL;
    if (classic->member_count > 0)
        classic->leader = LIST_ENTRY(classic->members.next, struct classic_member, link);
}

void classic_member_remove(struct coord *coord, struct classic_member *member, enum err err,
                           struct list *done)
{
    struct group *group = member->group;
    struct classic *classic = &group->classic;
    struct map *ids = &classic->members_by_id, *instances = &classic->members_by_instance;
    coord_ops_end(&member->joins, err, done);
    coord_ops_end(&member->syncs, err, done);
    coord_ops_end(&member->heartbeats, err, done);
    classic_set_awaiting_join(member, false);
    classic_set_pending_sync(member, false);
    coord_timer_stop(coord, &member->session);
    coord_timer_stop(coord, &member->heartbeat_timer);
    support_drop(group, member->protocols, member->protocol_count);
    map_remove(ids, hash_str(ids->seed, member->id), &member->id);
    if (!str_is_null(member->instance_id))
        map_remove(instances, hash_str(instances->seed, member->instance_id), &member->instance_id);
    list_remove(&member->link);
    classic->member_count--;
    if (classic->leader == member)
        elect_any_leader(classic);
    member_free(member);
}

struct slice classic_member_metadata(const struct classic_member *member, struct str protocol)
{
    for (size_t i = 0; i < member->protocol_count; i++) {
        if (str_eq(member->protocols[i].name, protocol))
            return member->protocols[i].metadata;
    }
    return SLICE_NULL;
}

/* --- ids that were given out --- */

static bool pending_has_id(const void *entry, const void *key)
{
    return str_eq(((const struct classic_pending *)entry)->id, *(const struct str *)key);
}

struct classic_pending *classic_pending_find(const struct group *group, struct str id)
{
    const struct map *map = &group->classic.pending;
    return map_find(map, hash_str(map->seed, id), &id);
}

enum err classic_pending_add(struct coord *coord, struct group *group, struct str id,
                             int64_t until_ms)
{
    struct map *map = &group->classic.pending;
    struct classic_pending *pending = calloc(1, sizeof(*pending) + id.len + 1);
    if (!pending)
        return ERR_NOMEM;
    char *copy = (char *)(pending + 1);
    memcpy(copy, id.data, id.len);
    pending->id = (struct str){copy, id.len};
    pending->group = group;
    coord_timer_init(&pending->timer, classic_on_pending_end);
    enum err err = map_insert(map, hash_str(map->seed, pending->id), pending);
    if (err != ERR_OK) {
        free(pending);
        return err;
    }
    coord_timer_set(coord, &pending->timer, until_ms);
    return ERR_OK;
}

void classic_pending_remove(struct coord *coord, struct classic_pending *pending)
{
    struct map *map = &pending->group->classic.pending;
    coord_timer_stop(coord, &pending->timer);
    map_remove(map, hash_str(map->seed, pending->id), &pending->id);
    free(pending);
}

/* --- all of them --- */

void classic_members_init(struct group *group, uint64_t seed)
{
    struct classic *classic = &group->classic;
    list_init(&classic->members);
    map_init(&classic->members_by_id, seed, member_has_id);
    map_init(&classic->members_by_instance, seed, member_has_instance);
    map_init(&classic->pending, seed, pending_has_id);
}

void classic_members_deinit(struct coord *coord, struct group *group, struct list *done)
{
    struct classic *classic = &group->classic;
    LIST_FOREACH_SAFE (node, &classic->members)
        classic_member_remove(coord, LIST_ENTRY(node, struct classic_member, link),
                              ERR_NOT_COORDINATOR, done);
    struct map_iter iter;
    map_iter_init(&iter, &classic->pending);
    for (struct classic_pending *pending; (pending = map_iter_next(&iter)) != NULL;)
        classic_pending_remove(coord, pending);
    map_deinit(&classic->members_by_id);
    map_deinit(&classic->members_by_instance);
    map_deinit(&classic->pending);
}
