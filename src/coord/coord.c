/* The coordinator's frame: the table of groups, timers, replay, and the sweep for expired offsets.
 *
 * Pure; runs on the shard that owns the partition of `__consumer_offsets`. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/plant.h"
#include "coord/consumer.h"
#include "coord/internal.h"

/* Groups that one turn of a sweep looks at, so that other requests come in between. */
#define SWEEP_GROUPS 1000
/* Records of one turn, after which it is enough. */
#define SWEEP_RECORDS 10000
/* How long a turn that got nowhere, for want of memory, waits. */
#define SWEEP_RETRY_MS 1000

/* --- strings that are kept --- */

enum err coord_str_copy(struct str from, struct str *to)
{
    *to = STR_NULL;
    if (str_is_null(from))
        return ERR_OK;
    char *copy = malloc(from.len + 1);
    if (!copy)
        return ERR_NOMEM;
    if (from.len > 0)
        memcpy(copy, from.data, from.len);
    copy[from.len] = '\0';
    *to = (struct str){copy, from.len};
    return ERR_OK;
}

void coord_str_free(struct str *str)
{
    free((char *)(uintptr_t)str->data);
    *str = STR_NULL;
}

enum err coord_str_set(struct str from, struct str *to)
{
    struct str copy;
    TRY(coord_str_copy(from, &copy));
    coord_str_free(to);
    *to = copy;
    return ERR_OK;
}

/* --- timers --- */

void coord_timer_init(struct coord_timer *timer, coord_timer_fn *fn)
{
    *timer = (struct coord_timer){.fn = fn};
}

void coord_timer_set(struct coord *coord, struct coord_timer *timer, int64_t at_ms)
{
    heap_remove(&coord->timers, &timer->node);
    heap_insert(&coord->timers, &timer->node, at_ms > 0 ? (uint64_t)at_ms : 0);
}

void coord_timer_stop(struct coord *coord, struct coord_timer *timer)
{
    heap_remove(&coord->timers, &timer->node);
}

int64_t coord_deadline(const struct coord *coord)
{
    const struct heap_node *node = heap_peek(&coord->timers);
    return node ? (int64_t)node->key : COORD_NEVER;
}

void coord_tick(struct coord *coord, const struct coord_call *call)
{
    /* One that sets itself anew for now waits for the next tick. */
    size_t count = coord->timers.count;
    for (size_t i = 0; i < count && coord_deadline(coord) <= call->now_ms; i++) {
        struct coord_timer *timer = HEAP_ENTRY(heap_pop(&coord->timers), struct coord_timer, node);
        timer->fn(coord, call, timer);
    }
}

/* --- operations --- */

static void op_end(struct coord_op *op, enum err err, struct list *done)
{
    if (op->waiting_in)
        list_remove(&op->link);
    op->waiting_in = NULL;
    op->err = err;
    list_push_back(done, &op->link);
}

void coord_op_end(struct coord_op *op, enum err err, const struct coord_call *call)
{
    op_end(op, err, call->done);
}

void coord_ops_end(struct list *ops, enum err err, struct list *done)
{
    LIST_FOREACH_SAFE (node, ops)
        op_end(LIST_ENTRY(node, struct coord_op, link), err, done);
}

void coord_op_wait(struct coord_op *op, struct list *list)
{
    ASSERT(!op->waiting_in);
    op->waiting_in = list;
    list_push_back(list, &op->link);
}

void coord_forget(struct coord_op *op, struct list *done)
{
    if (op->waiting_in)
        op_end(op, ERR_NOT_COORDINATOR, done);
}

void coord_yield(struct coord_op *op, struct list *done)
{
    if (op->waiting_in && op->waits_for_news)
        op_end(op, ERR_OK, done);
}

/* --- groups --- */

static bool group_has_id(const void *entry, const void *key)
{
    return str_eq(((const struct group *)entry)->id, *(const struct str *)key);
}

struct group *group_find(const struct coord *coord, struct str id)
{
    return map_find(&coord->groups, hash_str(coord->groups.seed, id), &id);
}

enum err group_create(struct coord *coord, struct str id, struct group **out)
{
    struct group *group = calloc(1, sizeof(*group) + id.len + 1);
    if (!group)
        return ERR_NOMEM;
    char *copy = (char *)(group + 1);
    if (id.len > 0)
        memcpy(copy, id.data, id.len);
    group->id = (struct str){copy, id.len};
    group->type = GROUP_CLASSIC;
    enum err err = map_insert(&coord->groups, hash_str(coord->groups.seed, id), group);
    if (err != ERR_OK) {
        free(group);
        return err;
    }
    list_push_back(&coord->group_list, &group->link);
    offsets_init(group, coord->seed);
    pending_group_init(group, coord->seed);
    classic_init(group, coord->seed);
    *out = group;
    return ERR_OK;
}

void group_free(struct coord *coord, struct group *group, struct list *done)
{
    void *removed = map_remove(&coord->groups, hash_str(coord->groups.seed, group->id), &group->id);
    ASSERT(removed == group);
    list_remove(&group->link);
    if (group->consumer)
        consumer_free(coord, group, done);
    classic_deinit(coord, group, done);
    pending_group_deinit(coord, group);
    offsets_deinit(group);
    free(group);
}

/* --- the sweep --- */

/* True when the group is done with; false: there is more to do for it. */
static bool sweep_group(struct coord *coord, struct group *group, const struct coord_call *call)
{
    bool is_gone = false;
    if (!offsets_expire(coord, group, call, &is_gone))
        return false;
    if (is_gone && group->type == GROUP_CONSUMER && group->consumer->member_count == 0)
        return consumer_delete(coord, call, group) == ERR_OK;
    if (is_gone && group->type == GROUP_CLASSIC && classic_state(group) == CLASSIC_EMPTY &&
        group->classic.pending.count == 0 && classic_tombstone(group, call) != ERR_OK)
        return false; /* no memory for a record: the next turn tries again */
    return true;
}

static void on_sweep(struct coord *coord, const struct coord_call *call, struct coord_timer *timer)
{
    const struct coord_records *records = call->records;
    call->records->may_split = true;
    for (int i = 0; i < SWEEP_GROUPS && records->count < SWEEP_RECORDS; i++) {
        struct group *group = LIST_ENTRY(coord->group_list.next, struct group, link);
        if (list_is_empty(&coord->group_list) || group->sweep == coord->sweep)
            break;
        uint32_t seen_by = group->sweep;
        group->sweep = coord->sweep;
        list_remove(&group->link);
        list_push_back(&coord->group_list, &group->link);
        if (!sweep_group(coord, group, call)) { /* else the group may be gone */
            if (records->err != ERR_OK)
                return; /* this coordinator is dropped */
            group->sweep = seen_by;
            list_remove(&group->link);
            list_push_front(&coord->group_list, &group->link);
            coord_timer_set(coord, timer, call->now_ms + (records->count > 0 ? 0 : SWEEP_RETRY_MS));
            return;
        }
    }
    bool is_done = list_is_empty(&coord->group_list) ||
                   LIST_ENTRY(coord->group_list.next, struct group, link)->sweep == coord->sweep;
    if (is_done)
        coord->sweep++;
    int64_t wait = is_done ? coord->config->offset_check_interval_ms : 0;
    coord_timer_set(coord, timer, call->now_ms + wait);
}

void coord_topics_changed(struct coord *coord, const struct coord_call *call)
{
    call->records->may_split = true;
    LIST_FOREACH (node, &coord->group_list) {
        struct group *group = LIST_ENTRY(node, struct group, link);
        if (group->consumer && call->records->err == ERR_OK)
            consumer_on_topics(coord, call, group->consumer);
        else if (!group->consumer)
            classic_on_topics(coord, group, call);
    }
}

/* --- life --- */

struct coord *coord_create(const struct coord_config *config, uint64_t seed)
{
    struct coord *coord = calloc(1, sizeof(*coord));
    if (!coord)
        return NULL;
    coord->config = config;
    coord->seed = seed;
    coord->sweep = 1;
    map_init(&coord->groups, seed, group_has_id);
    list_init(&coord->group_list);
    pending_init(coord);
    heap_init(&coord->timers);
    coord_timer_init(&coord->sweep_timer, on_sweep);
    return coord;
}

void coord_destroy(struct coord *coord, struct list *done)
{
    struct map_iter iter;
    map_iter_init(&iter, &coord->groups);
    for (struct group *group; (group = map_iter_next(&iter)) != NULL;)
        group_free(coord, group, done);
    map_deinit(&coord->groups);
    pending_deinit(coord);
    free(coord);
}

void coord_loaded(struct coord *coord, const struct coord_call *call)
{
    LIST_FOREACH_SAFE (node, &coord->group_list) {
        struct group *group = LIST_ENTRY(node, struct group, link);
        if (PLANTED(COORD_NO_SESSIONS))
            continue;
        if (group->type == GROUP_CLASSIC)
            classic_loaded(coord, group, call);
        else
            consumer_loaded(coord, group, call);
    }
    coord_timer_set(coord, &coord->sweep_timer,
                    call->now_ms + coord->config->offset_check_interval_ms);
}

/* --- replay --- */

enum err coord_replay_pending(struct coord *coord, const struct coord_record *record,
                              int64_t producer_id)
{
    if (record->type == COORD_LEGACY_OFFSET_COMMIT)
        return offsets_replay_legacy(coord, record, producer_id);
    if (record->type == COORD_OFFSET_COMMIT)
        return offsets_replay(coord, record, producer_id);
    return coord_replay(coord, record); /* no transaction has others, and nothing undoes them */
}

enum err coord_replay(struct coord *coord, const struct coord_record *record)
{
    switch (record->type) {
    case COORD_LEGACY_OFFSET_COMMIT:
        return offsets_replay_legacy(coord, record, OFFSETS_NO_TXN);
    case COORD_OFFSET_COMMIT:
        return offsets_replay(coord, record, OFFSETS_NO_TXN);
    case COORD_GROUP_METADATA:
        return consumer_yields(coord, record) ? classic_replay(coord, record) : ERR_OK;
    case COORD_CONSUMER_GROUP_METADATA:
    case COORD_CONSUMER_GROUP_PARTITION_METADATA:
    case COORD_CONSUMER_GROUP_MEMBER_METADATA:
    case COORD_CONSUMER_GROUP_TARGET_METADATA:
    case COORD_CONSUMER_GROUP_TARGET_MEMBER:
    case COORD_CONSUMER_GROUP_CURRENT_MEMBER:
    case COORD_CONSUMER_GROUP_REGEX:
        return consumer_replay(coord, record);
    default:
        return ERR_OK; /* of group kinds that are not served: they stay in the log */
    }
}

enum err coord_replay_all(struct coord *coord, const struct coord_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        if (!records->items[i].is_applied)
            TRY(coord_replay(coord, &records->items[i]));
    }
    return ERR_OK;
}

/* --- which partition --- */

/* The next code point, U+FFFD for a byte that is not UTF-8, as Java reads it. */
static uint32_t next_code_point(struct str *rest)
{
    const uint8_t *at = (const uint8_t *)rest->data;
    uint8_t lead = at[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t point = len < 2 ? lead : lead & (0xffu >> (len + 1));
    if (lead > 0xf4 || len == 0 || len > rest->len)
        len = 0;
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            len = 0;
        else
            point = point << 6 | (at[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    bool is_bad =
        len == 0 || point < least[len] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000);
    size_t taken = is_bad ? 1 : len;
    rest->data += taken;
    rest->len -= taken;
    return is_bad ? 0xfffd : point;
}

/* Java's String.hashCode: over UTF-16, in 32 bits. */
int32_t coord_partition_of(struct str group_id, int32_t partition_count)
{
    ASSERT(partition_count > 0);
    uint32_t hash = 0;
    while (group_id.len > 0) {
        uint32_t point = next_code_point(&group_id);
        if (point >= 0x10000) {
            hash = hash * 31 + (0xd800 + ((point - 0x10000) >> 10));
            point = 0xdc00 + ((point - 0x10000) & 0x3ff);
        }
        hash = hash * 31 + point;
    }
    int32_t as_int = (int32_t)hash;
    if (as_int == INT32_MIN)
        return 0;
    return (as_int < 0 ? -as_int : as_int) % partition_count;
}
