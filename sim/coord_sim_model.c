/* What must hold of the coordinator of the simulation.
 *
 *   - a partition has one owner: whoever takes one takes it from nobody who has it, and knows of no
 *     rebalance, by its generation or epoch
 *   - in one generation of a classic group a partition is given to one member; generations rise
 *   - a commit is taken from who may commit only, and offsets go back for a seek only; what was
 *     acknowledged is there after every crash
 *   - what clients believe that they have, the coordinator keeps for them
 *
 * What nobody can tell from a request in time is forgiven: a ghost that says what was so once. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "sim/coord_sim.h"
#include "sim/model.h"

#define NO_OFFSET      INT64_C(-1)
#define NAME_MAX_BYTES 80

static struct group *group_of(const struct csim_group *group)
{
    return group->sim->coord ? group_find(group->sim->coord, str_of(group->name)) : NULL;
}

static struct csim_offset *offset_of(const struct csim_group *group, const struct csim_part *part)
{
    return &group->offsets[part->topic][part->partition];
}

static const char *name_of(const struct csim_member *member, char text[NAME_MAX_BYTES])
{
    snprintf(text, NAME_MAX_BYTES, "%u (%s, life %u, epoch %d, step %d)", member->index,
             member->is_consumer ? "consumer" : "classic", member->life, member->epoch,
             member->step);
    return text;
}

/* --- who has what --- */

/* The coordinator knows it, in the generation or with the id that it believes to have. */
static bool is_current(const struct csim_member *member)
{
    const struct group *group = group_of(member->group);
    if (!group)
        return false;
    if (!group->consumer)
        return !member->is_consumer && classic_member_find(group, csim_id(member)) &&
               group->classic.generation == member->epoch;
    const struct consumer_member *known = consumer_member_find(group->consumer, csim_id(member));
    if (!known || (known->classic != NULL) == member->is_consumer)
        return false;
    return member->is_consumer || known->epoch == member->epoch;
}

static void take_one(struct csim_member *member, const struct csim_part *part)
{
    struct csim_offset *offset = offset_of(member->group, part);
    struct csim_member *other = offset->holder;
    bool is_known = member->sim->coord != NULL;
    if (is_known && !is_current(member))
        return; /* it was taken out, and will hear of it */
    bool is_forgiven = member->is_misled || (other && other->is_misled);
    if (other && other != member && is_known && is_current(other) && !is_forgiven) {
        char a[NAME_MAX_BYTES], b[NAME_MAX_BYTES];
        model_fail(&member->sim->world, "%s: member %s takes %s-%d, which member %s has",
                   member->group->name, name_of(member, a), member->sim->topic_names[part->topic],
                   part->partition, name_of(other, b));
    }
    offset->holder = member;
}

void csim_model_drop(struct csim_member *member)
{
    for (size_t i = 0; i < member->owned.count; i++) {
        struct csim_offset *offset = offset_of(member->group, &member->owned.items[i]);
        if (offset->holder == member)
            offset->holder = NULL;
    }
    csim_parts_clear(&member->owned);
}

void csim_model_take(struct csim_member *member, const struct csim_parts *parts)
{
    struct csim_parts before = member->owned;
    for (size_t i = 0; i < before.count; i++) {
        const struct csim_part *part = &before.items[i];
        struct csim_offset *offset = offset_of(member->group, part);
        if (offset->holder == member && !csim_parts_find(parts, part->topic, part->partition))
            offset->holder = NULL;
    }
    member->owned = (struct csim_parts){0};
    for (size_t i = 0; i < parts->count; i++) {
        const struct csim_part *part = &parts->items[i];
        const struct csim_part *had = csim_parts_find(&before, part->topic, part->partition);
        csim_parts_add(&member->owned, part->topic, part->partition);
        member->owned.items[i].position = had ? had->position : CSIM_NO_POSITION;
        if (!had)
            take_one(member, part);
    }
    free(before.items);
}

/* What one reads that speaks the consumer protocol is its own until it says that it is not. */
static void check_kept(const struct csim_member *member)
{
    const struct csim *sim = member->sim;
    const struct group *group = group_of(member->group);
    const struct consumer_member *known =
        group && group->consumer ? consumer_member_find(group->consumer, csim_id(member)) : NULL;
    if (!known || known->classic || member->is_misled)
        return;
    for (size_t i = 0; i < member->owned.count; i++) {
        const struct csim_part *part = &member->owned.items[i];
        if (consumer_owner(group->consumer, sim->topics[part->topic].id, part->partition) == known)
            continue;
        char name[NAME_MAX_BYTES];
        model_fail(&sim->world, "%s: member %s reads %s-%d, which the coordinator took from it",
                   member->group->name, name_of(member, name), sim->topic_names[part->topic],
                   part->partition);
    }
}

void csim_check_owners(struct csim *sim)
{
    for (uint32_t i = 0; sim->coord && i < sim->member_count; i++) {
        struct csim_member *member = &sim->members[i];
        if (member->is_consumer)
            check_kept(member);
        /* One that was behind when it took a partition, and is not any more. */
        for (size_t p = 0; p < member->owned.count; p++)
            if (offset_of(member->group, &member->owned.items[p])->holder != member)
                take_one(member, &member->owned.items[p]);
    }
}

/* --- offsets --- */

static void part_of(const struct csim *sim, struct str topic, int32_t partition,
                    struct csim_part *part)
{
    ASSERT(topic.len == 2 && topic.data[0] == 't');
    *part = (struct csim_part){(uint32_t)(topic.data[1] - '0'), partition, CSIM_NO_POSITION};
    ASSERT(part->topic < CSIM_TOPICS && partition < sim->partitions_max);
}

_Noreturn static void fail_commit(const struct csim_op *op, const struct csim_part *part,
                                  const char *why)
{
    const struct csim *sim = op->sim;
    model_fail(&sim->world, "%s: a %scommit of member %u (%.*s, epoch %d) for %s-%d is taken: %s",
               op->group->name, op->is_ghost ? "late " : "", op->sender->index,
               STR_ARG(op->u.commit.member_id), op->u.commit.generation,
               sim->topic_names[part->topic], part->partition, why);
}

/* Who it says that it is may commit at all. */
static void check_committer(const struct csim_op *op, const struct csim_part *part)
{
    const struct coord_offset_commit *commit = &op->u.commit;
    const struct group *group = group_of(op->group);
    if (!group)
        fail_commit(op, part, "there is no group");
    if (!group->consumer) {
        if (!classic_member_find(group, commit->member_id))
            fail_commit(op, part, "it is not a member");
        if (group->classic.generation != commit->generation)
            fail_commit(op, part, "its generation is not the group's");
        return;
    }
    const struct consumer_member *known = consumer_member_find(group->consumer, commit->member_id);
    if (!known)
        fail_commit(op, part, "it is not a member");
    struct uuid id = op->sim->topics[part->topic].id;
    bool is_owner = consumer_owner(group->consumer, id, part->partition) == known;
    if (commit->generation != known->epoch && !is_owner)
        fail_commit(op, part, "its epoch is over");
    if (op->is_ghost || is_owner || op->sender->is_misled)
        return;
    const struct csim_member *holder = offset_of(op->group, part)->holder;
    if (holder && holder != op->sender && is_current(holder) && !holder->is_misled)
        fail_commit(op, part, "another has the partition");
}

static void on_commit(const struct csim_op *op, const struct coord_offset_topic *topic,
                      const struct coord_offset *committed)
{
    struct csim_part part;
    part_of(op->sim, topic->name, committed->partition, &part);
    struct csim_offset *offset = offset_of(op->group, &part);
    check_committer(op, &part);
    bool goes_back = committed->offset < offset->now;
    bool is_doubtful = op->is_ghost || op->is_seek || op->sender->is_misled;
    if (goes_back && !is_doubtful && !offset->is_muddled) {
        char why[64];
        snprintf(why, sizeof(why), "%lld after %lld", (long long)committed->offset,
                 (long long)offset->now);
        fail_commit(op, &part, why);
    }
    offset->is_muddled = is_doubtful;
    offset->now = committed->offset;
    op->sim->commits++;
}

static void on_fetch(const struct csim_op *op, const struct coord_offset_topic *topic,
                     const struct coord_offset *fetched)
{
    struct csim_part part;
    part_of(op->sim, topic->name, fetched->partition, &part);
    struct csim_offset *offset = offset_of(op->group, &part);
    if (fetched->offset != offset->now)
        model_fail(&op->sim->world, "%s: the committed offset of %s-%d is %lld, not %lld",
                   op->group->name, op->sim->topic_names[part.topic], part.partition,
                   (long long)fetched->offset, (long long)offset->now);
    op->sim->fetches++;
}

typedef void each_fn(const struct csim_op *op, const struct coord_offset_topic *topic,
                     const struct coord_offset *offset);

static void each_offset(const struct csim_op *op, const struct coord_offset_topic *topics,
                        size_t count, each_fn *fn)
{
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < topics[t].partition_count; i++)
            if (topics[t].partitions[i].err == ERR_OK)
                fn(op, &topics[t], &topics[t].partitions[i]);
}

static void forget_offsets(struct csim_group *group, bool durable)
{
    for (uint32_t t = 0; t < CSIM_TOPICS; t++)
        for (int32_t p = 0; p < group->sim->partitions_max; p++) {
            struct csim_offset *offset = &group->offsets[t][p];
            if (durable)
                offset->durable = NO_OFFSET;
            else
                offset->now = NO_OFFSET;
        }
}

/* A ghost said that its member has less than it has by now, or has not yet: the member may have
 * been given, or have lost, what it does not know of. */
static void mislead(const struct csim_op *op, struct str member_id)
{
    if (!op->is_ghost || !op->sender || !str_eq(member_id, csim_id(op->sender)))
        return;
    op->sender->is_misled = true;
    op->sender->is_told_all = false;
    op->sender->ghosts++;
}

void csim_model_called(struct csim *sim)
{
    for (uint32_t g = 0; g < sim->group_count; g++) {
        const struct group *group = group_of(&sim->groups[g]);
        sim->groups[g].turn += !group || group->consumer;
    }
}

void csim_model_waits(struct csim_op *op)
{
    if (op->kind == CSIM_CONSUMER_HEARTBEAT)
        mislead(op, op->u.consumer.member_id);
    else if (op->kind == CSIM_JOIN)
        mislead(op, op->u.join.member_id);
}

void csim_model_done(struct csim_op *op)
{
    const struct group *group = group_of(op->group);
    op->is_of_classic = group && !group->consumer;
    op->turn = op->group->turn;
    op->ghosts = op->sender ? op->sender->ghosts : 0;
    switch (op->kind) {
    case CSIM_COMMIT:
        if (op->u.op.err == ERR_OK)
            each_offset(op, op->u.commit.topics, op->u.commit.topic_count, on_commit);
        break;
    case CSIM_FETCH:
        if (op->u.op.err == ERR_OK)
            each_offset(op, op->u.fetch.topics, op->u.fetch.topic_count, on_fetch);
        break;
    case CSIM_DELETE:
        if (op->u.op.err == ERR_OK)
            forget_offsets(op->group, false);
        break;
    case CSIM_CONSUMER_HEARTBEAT:
        if (op->u.op.err == ERR_OK)
            mislead(op, op->u.consumer.member_id);
        break;
    case CSIM_JOIN:
        if (op->u.op.err == ERR_OK)
            mislead(op, op->u.join.member_id);
        break;
    default:
        break;
    }
}

static void on_durable_commit(const struct csim_op *op, const struct coord_offset_topic *topic,
                              const struct coord_offset *committed)
{
    struct csim_part part;
    part_of(op->sim, topic->name, committed->partition, &part);
    offset_of(op->group, &part)->durable = committed->offset;
}

/* The assignment of a classic group's leader reaches a member. */
static void on_assigned(const struct csim_op *op)
{
    struct csim_group *group = op->group;
    int32_t generation = op->u.sync.generation;
    struct csim_parts parts = {0};
    if (op->turn < group->generation_turn)
        return; /* it was another group */
    bool begins = op->turn > group->generation_turn;
    if (generation < group->generation && !begins)
        model_fail(&op->sim->world, "%s: generation %d is given out after %d", group->name,
                   generation, group->generation);
    for (uint32_t t = 0; begins && t < CSIM_TOPICS; t++)
        for (int32_t p = 0; p < op->sim->partitions_max; p++)
            group->offsets[t][p].generation = 0;
    group->generation = generation;
    group->generation_turn = op->turn;
    if (!csim_read_assignment(op->sim, op->u.sync.assignment, &parts))
        model_fail(&op->sim->world, "%s: an assignment that no leader made", group->name);
    for (size_t i = 0; i < parts.count; i++) {
        struct csim_offset *offset = offset_of(group, &parts.items[i]);
        if (offset->generation == generation && offset->given != op->sender)
            model_fail(&op->sim->world, "%s: %s-%d is given to members %u and %u in generation %d",
                       group->name, op->sim->topic_names[parts.items[i].topic],
                       parts.items[i].partition, offset->given->index, op->sender->index,
                       generation);
        offset->generation = generation;
        offset->given = op->sender;
    }
    free(parts.items);
}

void csim_model_durable(struct csim_op *op)
{
    if (op->u.op.err != ERR_OK)
        return;
    if (op->kind == CSIM_COMMIT)
        each_offset(op, op->u.commit.topics, op->u.commit.topic_count, on_durable_commit);
    else if (op->kind == CSIM_DELETE)
        forget_offsets(op->group, true);
    else if (op->kind == CSIM_SYNC && op->is_of_classic)
        on_assigned(op);
}

void csim_model_crash(struct csim *sim)
{
    for (uint32_t g = 0; g < sim->group_count; g++)
        for (uint32_t t = 0; t < CSIM_TOPICS; t++)
            for (int32_t p = 0; p < sim->partitions_max; p++) {
                struct csim_offset *offset = &sim->groups[g].offsets[t][p];
                offset->now = offset->durable;
            }
}

/* --- at the end --- */

static bool is_group_settled(struct csim_group *group, char *why, size_t len)
{
    const struct csim *sim = group->sim;
    const struct group *known = group_of(group);
    uint32_t topics = 0;
    size_t owned = 0, least = SIZE_MAX, most = 0, wanted = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct csim_member *member = &sim->members[group->first + i];
        int32_t epoch = !known            ? -1
                        : known->consumer ? known->consumer->epoch
                                          : known->classic.generation;
        if (member->step != CSIM_IN || member->must_settle || member->epoch != epoch) {
            snprintf(why, len, "%s: member %u is at step %d, epoch %d of %d", group->name,
                     member->index, member->step, member->epoch, epoch);
            return false;
        }
        topics |= member->uses_regex ? UINT32_MAX : member->topics;
        owned += member->owned.count;
        least = member->owned.count < least ? member->owned.count : least;
        most = member->owned.count > most ? member->owned.count : most;
    }
    for (uint32_t t = 0; t < sim->topic_count; t++)
        wanted += topics & 1u << t ? (size_t)sim->topics[t].partition_count : 0;
    for (uint32_t t = 0; owned == wanted && t < sim->topic_count; t++)
        for (int32_t p = 0; topics & 1u << t && p < sim->topics[t].partition_count; p++)
            wanted += !group->offsets[t][p].holder;
    snprintf(why, len, "%s: %zu partitions of %zu have an owner", group->name, owned, wanted);
    if (owned != wanted)
        return false;
    bool is_even = most - least <= (group->is_alike ? sim->topic_count : SIZE_MAX);
    snprintf(why, len, "%s: one has %zu partitions, another %zu", group->name, least, most);
    return is_even;
}

bool csim_is_settled(struct csim *sim, char *why, size_t len)
{
    snprintf(why, len, "the coordinator is down");
    for (uint32_t g = 0; g < sim->group_count; g++)
        if (!is_group_settled(&sim->groups[g], why, len))
            return false;
    return sim->coord != NULL;
}

/* --- a coordinator as text --- */

static void put_assignment(struct buf *out, const char *what, const struct assignment *assignment)
{
    buf_printf(out, "; %s", what);
    for (size_t t = 0; assignment && t < assignment->count; t++) {
        const struct topic_partitions *topic = &assignment->topics[t];
        buf_printf(out, " t%d:", topic->topic_id.bytes[0] - 1);
        for (uint32_t i = 0; i < topic->count; i++)
            buf_printf(out, " %d@%d", topic->partitions[i], topic->epochs ? topic->epochs[i] : 0);
    }
}

static void put_consumer_member(struct buf *out, const struct consumer_member *member)
{
    buf_printf(
        out,
        "  %.*s instance %.*s client %.*s %.*s assignor %.*s rebalance %d epoch %d before %d "
        "state %d regex %.*s",
        STR_ARG(member->id), STR_ARG(member->instance_id), STR_ARG(member->client_id),
        STR_ARG(member->client_host), STR_ARG(member->assignor), member->rebalance_timeout_ms,
        member->epoch, member->previous_epoch, member->state,
        STR_ARG(member->regex ? member->regex->pattern : STR_NULL));
    for (size_t i = 0; i < member->topic_count; i++)
        buf_printf(out, " %.*s", STR_ARG(member->topics[i]->name));
    if (member->classic)
        buf_printf(out, " classic %d %zu", member->classic->session_timeout_ms,
                   member->classic->protocol_count);
    put_assignment(out, "has", member->assigned);
    put_assignment(out, "gives back", member->pending);
    put_assignment(out, member->target ? "shall have" : "no target", member->target);
    buf_put_u8(out, '\n');
}

static void put_consumer(struct buf *out, const struct consumer *consumer)
{
    buf_printf(out, "consumer epoch %d hash %llx target %d at %lld classic %zu\n", consumer->epoch,
               (unsigned long long)consumer->metadata_hash, consumer->target_epoch,
               (long long)consumer->target_ms, consumer->classic_count);
    for (size_t i = 0; i < consumer->topic_count; i++)
        buf_printf(out, "  topic %.*s %u %u\n", STR_ARG(consumer->topics[i]->name),
                   consumer->topics[i]->by_name, consumer->topics[i]->by_regex);
    for (size_t i = 0; i < consumer->regex_count; i++)
        buf_printf(out, "  regex %.*s %u %d %zu\n", STR_ARG(consumer->regexes[i]->pattern),
                   consumer->regexes[i]->members, consumer->regexes[i]->is_resolved,
                   consumer->regexes[i]->topic_count);
    for (size_t i = 0; i < consumer->member_count; i++)
        put_consumer_member(out, consumer->members[i]);
}

static void put_bytes(struct buf *out, const char *what, struct slice bytes)
{
    buf_printf(out, " %s %zu:%llx", what, bytes.len, (unsigned long long)hash_slice(1, bytes));
}

/* What is between two generations is in no record. */
static void put_classic(struct buf *out, const struct group *group, bool is_settled)
{
    const struct classic *classic = &group->classic;
    buf_printf(out, "classic\n");
    if (!is_settled)
        return;
    buf_printf(out, "  generation %d protocol %.*s leader %.*s\n", classic->generation,
               STR_ARG(classic->protocol),
               STR_ARG(classic->leader ? classic->leader->id : STR_NULL));
    LIST_FOREACH (node, &classic->members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        buf_printf(out, "  %.*s instance %.*s client %.*s %.*s session %d rebalance %d",
                   STR_ARG(member->id), STR_ARG(member->instance_id), STR_ARG(member->client_id),
                   STR_ARG(member->client_host), member->session_timeout_ms,
                   member->rebalance_timeout_ms);
        put_bytes(out, "metadata", classic_member_metadata(member, classic->protocol));
        put_bytes(out, "assignment", member->assignment);
        buf_put_u8(out, '\n');
    }
}

static int topic_compare(const void *a, const void *b)
{
    return str_cmp((*(struct offset_topic *const *)a)->name,
                   (*(struct offset_topic *const *)b)->name);
}

static void put_offsets(struct buf *out, const struct group *group)
{
    struct offset_topic *topics[CSIM_TOPICS];
    struct map_iter iter;
    size_t count = 0;
    map_iter_init(&iter, &group->offset_topics);
    for (struct offset_topic *topic; (topic = map_iter_next(&iter)) != NULL;) {
        ASSERT(count < CSIM_TOPICS);
        topics[count++] = topic;
    }
    if (count > 1)
        qsort(topics, count, sizeof(topics[0]), topic_compare);
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < topics[t]->count; i++) {
            const struct offset *offset = &topics[t]->items[i];
            buf_printf(out, "  %.*s-%d: %lld %d %lld %lld %d %.*s\n", STR_ARG(topics[t]->name),
                       offset->partition, (long long)offset->offset, offset->leader_epoch,
                       (long long)offset->commit_ms, (long long)offset->expire_ms,
                       offset->topic_id.bytes[0], STR_ARG(offset->metadata));
        }
}

static int group_compare(const void *a, const void *b)
{
    return str_cmp((*(struct group *const *)a)->id, (*(struct group *const *)b)->id);
}

void csim_describe(const struct coord *coord, const struct coord *like, struct buf *out)
{
    struct group *groups[CSIM_GROUPS_MAX];
    size_t count = 0;
    LIST_FOREACH (node, &coord->group_list) {
        ASSERT(count < CSIM_GROUPS_MAX);
        groups[count++] = LIST_ENTRY(node, struct group, link);
    }
    if (count > 1)
        qsort(groups, count, sizeof(groups[0]), group_compare);
    for (size_t i = 0; i < count; i++) {
        const struct group *other = group_find(like, groups[i]->id);
        bool is_settled =
            other && !other->consumer &&
            (classic_state(other) == CLASSIC_STABLE || (classic_state(other) == CLASSIC_EMPTY));
        buf_printf(out, "%.*s: ", STR_ARG(groups[i]->id));
        if (groups[i]->consumer)
            put_consumer(out, groups[i]->consumer);
        else
            put_classic(out, groups[i], is_settled);
        put_offsets(out, groups[i]);
    }
    ASSERT(out->err == ERR_OK);
}
