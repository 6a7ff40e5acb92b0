/* Rounds: collect, measure, judge. See lag.h.
 *
 * A round's items belong to the shard that its message has reached. The time of the first unread
 * record comes from the header of its batch: the first record's time and the greatest, and what
 * lies between them in proportion; 61 bytes are read for it, and none where the committed offset
 * did not move. Runs on: as the functions say. */
#include "broker/lag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/hash.h"
#include "broker/coordinator.h"
#include "broker/node.h"
#include "wire/batch.h"

#define MS              UINT64_C(1000000)
#define ITEMS_MAX       200000
#define NAMES_BYTES_MAX ((size_t)64 << 20)
#define ITEMS_A_TURN    1000
#define READS_A_ROUND   2000 /* of each shard; who is left out keeps its last time */
#define OWNER_NONE      UINT32_MAX

struct lag_item {
    /* Collected. */
    struct str group, topic; /* topic null: a group without offsets */
    int32_t partition;
    size_t member_count;
    int64_t committed;
    bool has_reader;
    /* Prepared. */
    struct lag_entry *entry; /* shard 0's */
    struct uuid topic_id;
    uint32_t owner;
    int64_t known_offset; /* whose time is known */
    /* Measured. */
    bool is_hosted;
    int64_t begin, end;
    int64_t unread, unread_ms;
};

struct lag_round {
    struct shard_msg msg;
    struct arena arena; /* names */
    struct lag_item *items;
    size_t count, cap;
    size_t left_out;
    bool is_complete;
    size_t at; /* of the walk at hand */
    size_t reads_left;
    struct log_read read;
    struct shard *reader;
    bool is_in_read, has_read_ended; /* a read may end inside of its call */
};

struct lag {
    struct node *node;
    struct shard *shard; /* 0 */
    struct io_timer timer;
    struct map entries;
    struct lag_view view;
    struct alerts alerts;
    struct lag_round round;
    bool is_running;
    bool is_draining;
    uint64_t number;
    bool was_full;
};

/* --- entries --- */

struct entry_key {
    struct str group, topic;
    int32_t partition;
};

static bool entry_has_key(const void *entry, const void *key)
{
    const struct lag_entry *own = entry;
    const struct entry_key *want = key;
    return own->partition == want->partition && str_eq(own->topic, want->topic) &&
           str_eq(own->group, want->group);
}

static uint64_t key_hash(const struct map *map, const struct entry_key *key)
{
    return hash_u64(hash_str(hash_str(map->seed, key->group), key->topic),
                    (uint32_t)key->partition);
}

/* NULL: out of memory. */
static struct lag_entry *entry_get(struct lag *lag, const struct lag_item *item)
{
    struct entry_key key = {item->group, item->topic, item->partition};
    uint64_t hash = key_hash(&lag->entries, &key);
    struct lag_entry *entry = map_find(&lag->entries, hash, &key);
    if (entry)
        return entry;
    entry = calloc(1, sizeof(*entry) + key.group.len + key.topic.len + 1);
    if (!entry)
        return NULL;
    char *text = (char *)(entry + 1);
    memcpy(text, key.group.data, key.group.len);
    memcpy(text + key.group.len, key.topic.data, key.topic.len);
    entry->group = (struct str){text, key.group.len};
    entry->topic = (struct str){text + key.group.len, key.topic.len};
    entry->partition = key.partition;
    entry->unread = -1;
    entry->age_ms = LAG_MS_UNKNOWN;
    lag_watch_init(&entry->watch);
    if (map_insert(&lag->entries, hash, entry) == ERR_OK)
        return entry;
    free(entry);
    return NULL;
}

static void entry_free(struct lag *lag, struct lag_entry *entry)
{
    struct entry_key key = {entry->group, entry->topic, entry->partition};
    void *removed = map_remove(&lag->entries, key_hash(&lag->entries, &key), &key);
    ASSERT(removed == entry);
    free(entry);
}

/* --- the walk --- */

static struct lag *lag_of(struct shard *shard)
{
    return shard->node->lag;
}

static void collect(struct shard *shard, struct shard_msg *msg);
static void prepare(struct shard *shard, struct shard_msg *msg);
static void measure(struct shard *shard, struct shard_msg *msg);
static void judge(struct shard *shard, struct shard_msg *msg);

/* The same on the next shard; after the last one, `then` on shard 0. */
static void go_on(struct shard *shard, struct lag_round *round, shard_msg_fn *then)
{
    struct node *node = shard->node;
    round->at = 0;
    round->reads_left = READS_A_ROUND;
    if (shard->index + 1 < node->shard_count) {
        shard_post(shard, &node->shards[shard->index + 1], &round->msg);
        return;
    }
    round->msg.fn = then;
    shard_post(shard, &node->shards[0], &round->msg);
}

/* The next item; NULL where this turn is over, and `go` says whether there is another. */
static struct lag_item *next_item(struct lag_round *round, size_t *left)
{
    if (round->at == round->count || *left == 0)
        return NULL;
    (*left)--;
    return &round->items[round->at++];
}

/* --- collecting: on each shard --- */

struct collector {
    struct lag_round *round;
    struct str group, topic; /* the last names, and their copies */
    struct str group_copy, topic_copy;
};

static struct str keep(struct lag_round *round, struct str name, struct str *last, struct str *copy)
{
    if (!str_is_null(*copy) && str_eq(name, *last))
        return *copy;
    *last = name;
    *copy = arena_str(&round->arena, name);
    return *copy;
}

static enum err on_seen(void *arg, const struct coord_seen *seen)
{
    struct collector *collector = arg;
    struct lag_round *round = collector->round;
    if (round->count == ITEMS_MAX) {
        round->left_out++;
        return ERR_OK;
    }
    if (round->count == round->cap) {
        size_t cap = round->cap ? round->cap * 2 : 64;
        struct lag_item *items = realloc(round->items, cap * sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        round->items = items;
        round->cap = cap;
    }
    struct lag_item *item = &round->items[round->count];
    *item = (struct lag_item){.topic = STR_NULL,
                              .partition = seen->partition,
                              .member_count = seen->member_count,
                              .committed = seen->offset,
                              .has_reader = seen->has_reader,
                              .owner = OWNER_NONE,
                              .known_offset = -1,
                              .unread = -1};
    item->group = keep(round, seen->group_id, &collector->group, &collector->group_copy);
    if (!str_is_null(seen->topic))
        item->topic = keep(round, seen->topic, &collector->topic, &collector->topic_copy);
    if (str_is_null(item->group) || (seen->topic.data && str_is_null(item->topic)))
        return ERR_NOMEM;
    round->count++;
    return ERR_OK;
}

static enum err look(void *arg, const struct coord *coord)
{
    struct collector collector = {.round = arg, .group_copy = STR_NULL, .topic_copy = STR_NULL};
    return coord_each_offset(coord, on_seen, &collector);
}

static void collect(struct shard *shard, struct shard_msg *msg)
{
    struct lag_round *round = CONTAINER_OF(msg, struct lag_round, msg);
    if (!coordinators_each(shard, look, round))
        round->is_complete = false;
    go_on(shard, round, prepare);
}

/* --- preparing: on shard 0 --- */

static void prepare(struct shard *shard, struct shard_msg *msg)
{
    struct lag_round *round = CONTAINER_OF(msg, struct lag_round, msg);
    struct lag *lag = lag_of(shard);
    size_t left = ITEMS_A_TURN;
    for (struct lag_item *item; (item = next_item(round, &left)) != NULL;) {
        if (str_is_null(item->topic))
            continue;
        item->entry = entry_get(lag, item);
        const struct topic_image *topic = image_topic_by_name(shard->image, item->topic);
        if (!item->entry || !topic)
            continue;
        item->topic_id = topic->id;
        item->owner = node_owner(shard->node, topic->id, item->partition);
        item->known_offset = item->entry->unread;
    }
    if (round->at < round->count) {
        shard_post(shard, shard, msg);
        return;
    }
    round->at = 0;
    round->reads_left = READS_A_ROUND;
    round->msg.fn = measure;
    shard_post(shard, &shard->node->shards[0], &round->msg);
}

/* --- measuring: on each shard --- */

/* The time of the record at the offset, from the header of the batch that holds it, or that is the
 * first behind it. */
static int64_t time_in_batch(const uint8_t *header, int64_t offset)
{
    int64_t base = (int64_t)be64_load(header + BATCH_AT_BASE_OFFSET);
    int64_t span = (int32_t)be32_load(header + BATCH_AT_LAST_OFFSET_DELTA);
    int64_t first_ms = (int64_t)be64_load(header + BATCH_AT_BASE_TIMESTAMP);
    int64_t last_ms = (int64_t)be64_load(header + BATCH_AT_MAX_TIMESTAMP);
    uint16_t attributes = be16_load(header + BATCH_AT_ATTRIBUTES);
    if (attributes & (BATCH_ATTR_LOG_APPEND_TIME | BATCH_ATTR_DELETE_HORIZON))
        return last_ms;
    if (offset <= base || span <= 0 || last_ms <= first_ms)
        return first_ms;
    double share = (double)(offset - base) / (double)span;
    return first_ms + (int64_t)((double)(last_ms - first_ms) * (share < 1 ? share : 1));
}

static void on_read(struct log_read *read)
{
    struct lag_round *round = CONTAINER_OF(read, struct lag_round, read);
    struct lag_item *item = &round->items[round->at - 1];
    if (read->err == ERR_OK && read->batches.len >= BATCH_HEADER_BYTES) {
        item->unread = read->offset;
        item->unread_ms = time_in_batch(read->batches.data, read->offset);
    }
    rbuf_unref(read->buf);
    round->has_read_ended = true;
    if (!round->is_in_read)
        shard_post(round->reader, round->reader, &round->msg);
}

/* False: it goes on when the read has ended. */
static bool read_time(struct shard *shard, struct lag_round *round, struct partition *partition,
                      int64_t offset)
{
    round->reader = shard;
    round->read = (struct log_read){
        .offset = offset,
        .end_offset = partition_high_watermark(partition),
        .bytes_max = BATCH_HEADER_BYTES,
        .bufs = &shard->bufs,
        .done = on_read,
    };
    round->reads_left--;
    round->has_read_ended = false;
    round->is_in_read = true;
    log_read(partition->log, &round->read);
    round->is_in_read = false;
    return round->has_read_ended;
}

static bool measure_item(struct shard *shard, struct lag_round *round, struct lag_item *item)
{
    struct partition *partition =
        partitions_find(&shard->partitions, item->topic_id, item->partition);
    if (!partition || !partition->log || log_is_offline(partition->log))
        return true;
    item->is_hosted = true;
    item->begin = log_start_offset(partition->log);
    item->end = partition_high_watermark(partition);
    int64_t unread = item->committed > item->begin ? item->committed : item->begin;
    if (unread >= item->end || unread == item->known_offset || round->reads_left == 0)
        return true;
    return read_time(shard, round, partition, unread);
}

static void measure(struct shard *shard, struct shard_msg *msg)
{
    struct lag_round *round = CONTAINER_OF(msg, struct lag_round, msg);
    size_t left = ITEMS_A_TURN;
    for (struct lag_item *item; (item = next_item(round, &left)) != NULL;) {
        if (item->owner == shard->index && !measure_item(shard, round, item))
            return;
    }
    if (round->at < round->count)
        shard_post(shard, shard, msg);
    else
        go_on(shard, round, judge);
}

/* --- judging: on shard 0 --- */

static const struct lag_rules rules = LAG_RULES_DEFAULT;

static void judge_entry(const struct lag_entry *entry, struct lag_judgement *judgement)
{
    struct lag_facts facts = {entry->begin, entry->age_ms, entry->has_reader};
    lag_judge(&entry->watch, &facts, &rules, judgement);
}

static void take(struct lag *lag, const struct lag_item *item)
{
    struct lag_entry *entry = item->entry;
    struct io *io = lag->shard->io;
    entry->round = lag->number;
    entry->is_known = item->is_hosted;
    entry->has_reader = item->has_reader;
    if (!item->is_hosted)
        return;
    if (item->unread >= 0) {
        entry->unread = item->unread;
        entry->unread_ms = item->unread_ms;
    }
    entry->begin = item->begin;
    int64_t lag_now = lag_messages(item->committed, item->end);
    int64_t age_ms = io_wall_ms(io) - entry->unread_ms;
    entry->age_ms = lag_now <= 0 ? 0 : entry->unread < 0 ? LAG_MS_UNKNOWN : age_ms > 0 ? age_ms : 0;
    lag_watch_sample(&entry->watch, (int64_t)io_now_ms(io), item->committed, item->end);
    struct lag_judgement judgement;
    judge_entry(entry, &judgement);
    entry->verdict = judgement.verdict;
}

static void view_free(struct lag_view *view)
{
    free(view->entries);
    free(view->groups);
    arena_deinit(&view->arena);
}

static bool view_build(struct lag *lag, struct lag_view *view)
{
    struct lag_round *round = &lag->round;
    *view = (struct lag_view){.left_out = round->left_out};
    arena_init(&view->arena, NAMES_BYTES_MAX);
    view->entries = calloc(round->count + 1, sizeof(struct lag_entry *));
    view->groups = calloc(round->count + 1, sizeof(*view->groups));
    if (!view->entries || !view->groups)
        return false;
    for (size_t i = 0; i < round->count; i++) {
        const struct lag_item *item = &round->items[i];
        bool is_new = i == 0 || !str_eq(item->group, round->items[i - 1].group);
        if (is_new) {
            struct lag_group *group = &view->groups[view->group_count++];
            *group = (struct lag_group){arena_str(&view->arena, item->group), item->member_count,
                                        view->entry_count, 0};
            if (str_is_null(group->name))
                return false;
        }
        if (!item->entry)
            continue;
        view->entries[view->entry_count++] = item->entry;
        view->groups[view->group_count - 1].count++;
    }
    return true;
}

/* How bad a verdict is; the worst partition's is told of a group. */
static int gravity(enum lag_verdict verdict)
{
    static const int order[LAG_VERDICT_COUNT] = {
        [LAG_OK] = 0, [LAG_REWOUND] = 1, [LAG_BEHIND] = 2, [LAG_STOPPED] = 3, [LAG_STALLED] = 4};
    return order[verdict];
}

static void look_at_group(struct lag *lag, size_t rule_at, const struct lag_group *group,
                          int64_t now_ms)
{
    const struct alert_rule *rule = &lag->alerts.rules[rule_at];
    const struct lag_entry *worst = NULL;
    struct alert_sample sample = {group->name, 0, 0, "ok", "nothing is unread"};
    struct lag_judgement judgement;
    char reason[LAG_REASON_MAX + 64];
    if (!alert_pattern_matches(rule->group, group->name))
        return;
    for (size_t i = 0; i < group->count; i++) {
        const struct lag_entry *entry = lag->view.entries[group->first + i];
        if (!entry->is_known || !alert_pattern_matches(rule->topic, entry->topic))
            continue;
        int64_t messages = lag_messages(entry->watch.committed, entry->watch.end);
        sample.messages += messages > 0 ? messages : 0;
        if (entry->age_ms > sample.age_ms)
            sample.age_ms = entry->age_ms;
        if (!worst || gravity(entry->verdict) > gravity(worst->verdict) ||
            (entry->verdict == worst->verdict && entry->age_ms > worst->age_ms))
            worst = entry;
    }
    if (worst) {
        judge_entry(worst, &judgement);
        snprintf(reason, sizeof(reason), "%.*s-%d: %s",
                 (int)(worst->topic.len < 50 ? worst->topic.len : 50), worst->topic.data,
                 worst->partition, judgement.reason);
        sample.verdict = lag_verdict_name(judgement.verdict);
        sample.reason = reason;
    }
    alerts_look(&lag->alerts, rule_at, &sample, now_ms);
}

static void tell_alerts(struct lag *lag)
{
    int64_t now_ms = (int64_t)io_now_ms(lag->shard->io);
    bool is_complete = lag->round.is_complete && lag->round.left_out == 0;
    alerts_begin_round(&lag->alerts);
    for (size_t g = 0; g < lag->view.group_count; g++) {
        for (size_t r = 0; r < lag->alerts.rule_count; r++)
            look_at_group(lag, r, &lag->view.groups[g], now_ms);
    }
    alerts_end_round(&lag->alerts, is_complete, now_ms);
}

/* Of groups, offsets and topics that are gone. */
static void drop_unseen(struct lag *lag)
{
    struct map_iter iter;
    map_iter_init(&iter, &lag->entries);
    for (struct lag_entry *entry; (entry = map_iter_next(&iter)) != NULL;) {
        if (entry->round != lag->number)
            entry_free(lag, entry);
    }
}

static void end_round(struct lag *lag)
{
    struct lag_view view;
    bool is_full = lag->round.left_out > 0;
    if (is_full && !lag->was_full)
        diag_warn("lag", "%zu committed offsets are not watched: at most %d are",
                  lag->round.left_out, ITEMS_MAX);
    lag->was_full = is_full;
    if (view_build(lag, &view)) {
        view_free(&lag->view);
        lag->view = view;
        drop_unseen(lag);
        if (!lag->is_draining)
            tell_alerts(lag);
    } else {
        view_free(&view);
        shard_warn(lag->shard, RATE_REFUSED, "lag", "out of memory: a look is left out");
    }
    arena_deinit(&lag->round.arena);
    free(lag->round.items);
    lag->round.items = NULL;
    lag->is_running = false;
}

static void judge(struct shard *shard, struct shard_msg *msg)
{
    struct lag_round *round = CONTAINER_OF(msg, struct lag_round, msg);
    struct lag *lag = lag_of(shard);
    size_t left = ITEMS_A_TURN;
    for (struct lag_item *item; (item = next_item(round, &left)) != NULL;) {
        if (item->entry)
            take(lag, item);
    }
    if (round->at < round->count)
        shard_post(shard, shard, msg);
    else
        end_round(lag);
}

/* --- life --- */

static void on_timer(struct io_timer *timer)
{
    struct lag *lag = CONTAINER_OF(timer, struct lag, timer);
    struct io *io = lag->shard->io;
    if (lag->is_draining)
        return;
    uint64_t interval_ms = (uint64_t)lag->node->config->lag_interval_ms;
    io_timer_start(io, timer, io_now_ns(io) + interval_ms * MS);
    if (lag->is_running)
        return;
    lag->is_running = true;
    lag->number++;
    lag->round = (struct lag_round){.is_complete = true, .reads_left = READS_A_ROUND};
    arena_init(&lag->round.arena, NAMES_BYTES_MAX);
    lag->round.msg.fn = collect;
    shard_post(lag->shard, lag->shard, &lag->round.msg);
}

enum err lag_open(struct lag **out, struct node *node)
{
    const struct broker_config *config = node->config;
    *out = NULL;
    if (config->metrics_listener_count == 0 && config->alert_count == 0)
        return ERR_OK;
    struct lag *lag = calloc(1, sizeof(*lag));
    if (!lag)
        return ERR_NOMEM;
    lag->node = node;
    lag->shard = &node->shards[0];
    map_init(&lag->entries, io_random(lag->shard->io), entry_has_key);
    arena_init(&lag->view.arena, NAMES_BYTES_MAX);
    io_timer_init(&lag->timer, on_timer);
    alerts_init(&lag->alerts, lag->shard->io, config->alerts, config->alert_count, config->node_id,
                node->storage.cluster_id);
    *out = lag;
    return ERR_OK;
}

void lag_start(struct lag *lag)
{
    if (lag)
        io_timer_start(lag->shard->io, &lag->timer, io_now_ns(lag->shard->io));
}

void lag_drain(struct lag *lag)
{
    if (!lag || lag->is_draining)
        return;
    lag->is_draining = true;
    io_timer_stop(lag->shard->io, &lag->timer);
    alerts_stop(&lag->alerts);
}

bool lag_is_idle(const struct lag *lag)
{
    return !lag || (!lag->is_running && alerts_are_idle(&lag->alerts));
}

void lag_close(struct lag *lag)
{
    if (!lag)
        return;
    ASSERT(lag_is_idle(lag));
    io_timer_stop(lag->shard->io, &lag->timer);
    struct map_iter iter;
    map_iter_init(&iter, &lag->entries);
    for (struct lag_entry *entry; (entry = map_iter_next(&iter)) != NULL;)
        free(entry);
    map_deinit(&lag->entries);
    view_free(&lag->view);
    alerts_deinit(&lag->alerts);
    free(lag);
}

const struct lag_view *lag_view(const struct lag *lag)
{
    return &lag->view;
}

const struct alerts *lag_alerts(const struct lag *lag)
{
    return &lag->alerts;
}
