/* A consumer group of the consumer protocol (KIP-848) beside the classic one, through the whole
 * broker: members join, tell what they have, give partitions back, commit, hang past their session,
 * leave for good or to be back soon, lose their connection, and send a heartbeat twice on another
 * one. What must hold whatever happens:
 *
 *   - whoever is given a partition is given it when nobody has it: who had it said that it let go,
 *     left, or was not heard of for a session
 *   - a committed offset that was acknowledged is there, and never goes back
 *   - a commit is refused where another has the partition by now, and where its epoch is over
 *
 * A heartbeat that comes twice may come late, and then says what is not so any more: nobody can
 * tell, so a member that sent one is not held to what it believes. */
#include <stdio.h>

#include "base/assert.h"
#include "sim/workload.h"
#include "wire/errors.h"
#include "wire/messages.h"

#define MS           UINT64_C(1000000)
#define RETRY_NS     (100 * MS)
#define BEAT_MS      300
#define REBALANCE_MS 60000 /* nobody is taken out for being slow before its session is over */
#define GROUP        STR("consumers")

enum {
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH = 9,
    API_FIND_COORDINATOR = 10,
    API_CONSUMER_GROUP_HEARTBEAT = 68,
};

#define EPOCH_JOIN         0
#define EPOCH_LEAVE        (-1)
#define EPOCH_LEAVE_STATIC (-2)

static void again(struct workload_consumer *member, uint64_t after_ns)
{
    io_timer_start(member->w->io, &member->timer, io_now_ns(member->w->io) + after_ns);
}

static struct str member_id(const struct workload_consumer *member)
{
    return (struct str){member->id, strlen(member->id)};
}

static void on_twin(struct kreq *req, const void *response)
{
    (void)response; /* its client has given it up */
    CONTAINER_OF(req, struct workload_consumer, twin_req)->twin_waits = false;
}

static void send(struct workload_consumer *member, int16_t api_key, int16_t version,
                 const void *msg, kreq_done *done)
{
    struct workload *w = member->w;
    bool comes_twice = api_key == API_CONSUMER_GROUP_HEARTBEAT && !w->is_stopping &&
                       !member->twin_waits && rng_chance(&w->rng, 1, 60);
    if (comes_twice) {
        member->is_misled = member->must_tell_all = true;
        member->twin_waits =
            kconn_send(&member->twin, &member->twin_req, api_key, version, msg, on_twin);
    }
    member->sent_ns = io_now_ns(w->io);
    member->req_waits = kconn_send(&member->conn, &member->req, api_key, version, msg, done);
    arena_reset(&w->arena);
    if (!member->req_waits)
        again(member, RETRY_NS);
}

/* --- what it has --- */

static void drop(struct workload_consumer *member)
{
    struct workload_consumers *group = &member->w->consumer_group;
    for (uint32_t p = 0; p < MODEL_PARTITIONS_MAX; p++)
        if (group->holder[p] == member)
            group->holder[p] = NULL;
    member->owned = member->wanted = 0;
}

static void rejoin(struct workload_consumer *member, uint64_t after_ns)
{
    drop(member);
    member->epoch = EPOCH_JOIN;
    again(member, after_ns);
}

/* A process that starts, with an id that it makes. */
static void begin_life(struct workload_consumer *member)
{
    snprintf(member->id, sizeof(member->id), "m%u-%llx", member->index,
             (unsigned long long)rng_u64(&member->w->rng));
    member->is_misled = false;
    member->heard_ns = 0;
}

/* The coordinator may have taken it out, for all that anybody knows. */
static bool may_be_out(const struct workload_consumer *member)
{
    uint64_t now_ns = io_now_ns(member->w->io);
    return member->heard_ns == 0 || now_ns - member->heard_ns >= WORKLOAD_SESSION_MS * MS;
}

/* It reads what it shall from here on, and nothing else. */
static void settle(struct workload_consumer *member)
{
    struct workload *w = member->w;
    struct workload_consumers *group = &w->consumer_group;
    for (uint32_t p = 0; p < w->options.partitions; p++) {
        bool had = member->owned & 1u << p, has = member->wanted & 1u << p;
        struct workload_consumer *other = group->holder[p];
        if (!has && other == member)
            group->holder[p] = NULL;
        if (!has || had)
            continue;
        if (other && other != member && !other->is_misled && !member->is_misled &&
            !may_be_out(other) && !may_be_out(member))
            model_fail(w->world, "partition %u is given to %s while %s has it", p, member->id,
                       other->id);
        if (!other || !may_be_out(member))
            group->holder[p] = member;
    }
    member->must_tell |= member->owned != member->wanted;
    member->owned = member->wanted;
}

/* --- answers --- */

static bool is_ok(struct workload_consumer *member, const char *what, const void *response,
                  int16_t code)
{
    struct workload *w = member->w;
    if (!response) {
        member->must_tell_all = true;
        again(member, RETRY_NS);
        return false;
    }
    switch (wire_err_of_code(code)) {
    case ERR_OK:
        return true;
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_FENCED_MEMBER_EPOCH:
    case ERR_GROUP_ID_NOT_FOUND:
        rejoin(member, 1 + rng_below(&w->rng, RETRY_NS));
        return false;
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_NOT_COORDINATOR:
    case ERR_STALE_MEMBER_EPOCH:
    case ERR_UNRELEASED_INSTANCE_ID:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION: /* while the broker starts */
        member->must_find = member->must_tell_all = true;
        again(member, MS + rng_below(&w->rng, RETRY_NS));
        return false;
    default:
        model_fail(w->world, "%s answers %s", what, wire_code_name(code));
    }
}

/* The first who asks has the topic of offsets made. */
static void on_found(struct kreq *req, const void *response)
{
    struct workload_consumer *member = CONTAINER_OF(req, struct workload_consumer, req);
    const struct find_coordinator_response *found = response;
    member->req_waits = false;
    if (!is_ok(member, "FindCoordinator", found, found ? found->error_code : 0))
        return;
    member->must_find = false;
    again(member, MS);
}

static void send_find(struct workload_consumer *member)
{
    struct find_coordinator_request msg;
    codec_init(&find_coordinator_request_schema, &msg);
    msg.key = GROUP;
    send(member, API_FIND_COORDINATOR, 3, &msg, on_found);
}

static void take(struct workload_consumer *member,
                 const struct consumer_group_heartbeat_response_assignment *assignment)
{
    struct workload *w = member->w;
    member->wanted = 0;
    for (int32_t t = 0; t < assignment->topic_partitions_len; t++) {
        const struct consumer_group_heartbeat_response_topic_partitions *topic =
            &assignment->topic_partitions[t];
        if (!uuid_eq(topic->topic_id, w->topic_id))
            model_fail(w->world, "a partition of another topic is assigned");
        for (int32_t i = 0; i < topic->partitions_len; i++) {
            if ((uint32_t)topic->partitions[i] >= w->options.partitions)
                model_fail(w->world, "partition %d is assigned", topic->partitions[i]);
            member->wanted |= 1u << topic->partitions[i];
        }
    }
}

static void on_beat(struct kreq *req, const void *response)
{
    struct workload_consumer *member = CONTAINER_OF(req, struct workload_consumer, req);
    const struct consumer_group_heartbeat_response *beat = response;
    struct workload *w = member->w;
    member->req_waits = false;
    if (!is_ok(member, "ConsumerGroupHeartbeat", beat, beat ? beat->error_code : 0))
        return;
    if (beat->member_epoch < member->epoch)
        model_fail(w->world, "%s is told epoch %d after %d", member->id, beat->member_epoch,
                   member->epoch);
    member->epoch = beat->member_epoch;
    member->heard_ns = member->sent_ns;
    if (beat->assignment)
        take(member, beat->assignment);
    again(member, 1 + rng_below(&w->rng, beat->assignment ? 50 * MS : BEAT_MS * MS));
}

static void send_beat(struct workload_consumer *member, int32_t epoch, kreq_done *done)
{
    struct workload *w = member->w;
    bool tells_all = epoch == EPOCH_JOIN || (epoch > 0 && member->must_tell_all);
    bool tells = tells_all || (epoch > 0 && member->must_tell);
    struct consumer_group_heartbeat_request msg;
    codec_init(&consumer_group_heartbeat_request_schema, &msg);
    msg.group_id = GROUP;
    msg.member_id = member_id(member);
    msg.member_epoch = epoch;
    if (member->is_static)
        msg.instance_id = str_of(member->instance_id);
    if (tells_all) {
        msg.rebalance_timeout_ms = REBALANCE_MS;
        msg.subscribed_topic_names = arena_array(&w->arena, 1, sizeof(struct str));
        ASSERT(msg.subscribed_topic_names);
        msg.subscribed_topic_names[0] = STR("events");
        msg.subscribed_topic_names_len = 1;
    }
    if (tells) {
        msg.topic_partitions =
            MSG_ARRAY(consumer_group_heartbeat_request_topic_partition, &w->arena, 1);
        int32_t *partitions = arena_array(&w->arena, MODEL_PARTITIONS_MAX, sizeof(*partitions));
        ASSERT(msg.topic_partitions && partitions);
        msg.topic_partitions[0].topic_id = w->topic_id;
        msg.topic_partitions[0].partitions = partitions;
        for (int32_t p = 0; p < MODEL_PARTITIONS_MAX; p++)
            if (member->owned & 1u << p)
                partitions[msg.topic_partitions[0].partitions_len++] = p;
        msg.topic_partitions_len = member->owned != 0;
    }
    send(member, API_CONSUMER_GROUP_HEARTBEAT, 1, &msg, done);
    member->must_tell &= !member->req_waits;
    member->must_tell_all &= !member->req_waits || member->twin_waits;
}

static void on_left(struct kreq *req, const void *response)
{
    struct workload_consumer *member = CONTAINER_OF(req, struct workload_consumer, req);
    (void)response; /* it is gone in any case */
    member->req_waits = false;
    begin_life(member);
    rejoin(member, workload_think_ns(member->w) * 10);
}

static void send_leave(struct workload_consumer *member)
{
    bool comes_back = member->is_static && rng_chance(&member->w->rng, 1, 2);
    drop(member);
    send_beat(member, comes_back ? EPOCH_LEAVE_STATIC : EPOCH_LEAVE, on_left);
}

/* --- offsets --- */

static void on_committed(struct kreq *req, const void *response)
{
    struct workload_consumer *member = CONTAINER_OF(req, struct workload_consumer, req);
    const struct offset_commit_response *committed = response;
    struct workload *w = member->w;
    struct workload_consumers *group = &w->consumer_group;
    uint32_t p = member->commit_partition;
    int16_t code = committed ? committed->topics[0].partitions[0].error_code : 0;
    member->req_waits = false;
    if (committed && code == 0 && member->must_be_refused && !member->is_misled)
        model_fail(w->world, "%s commits partition %u, which it has not, in epoch %d of %d",
                   member->id, p, member->commit_epoch, member->epoch);
    if (!is_ok(member, "OffsetCommit", committed, code))
        return;
    offsets_acked(w, &group->offsets, p, member->commit_offset);
    if (member->owned & 1u << p)
        group->offsets.acked_call[p] = member->commit_call;
    again(member, workload_think_ns(w));
}

/* Some are of an epoch that is over, for a partition that it has not. */
static void send_commit(struct workload_consumer *member, uint32_t p, int32_t epoch)
{
    struct workload *w = member->w;
    struct workload_consumers *group = &w->consumer_group;
    struct offset_commit_request msg;
    codec_init(&offset_commit_request_schema, &msg);
    msg.group_id = GROUP;
    msg.generation_id_or_member_epoch = epoch;
    msg.member_id = member_id(member);
    if (member->is_static)
        msg.group_instance_id = str_of(member->instance_id);
    struct offset_commit_request_partition *part = offsets_fill_commit(w, &msg, p);
    member->commit_partition = p;
    member->commit_epoch = epoch;
    member->commit_call = w->last_calls;
    member->commit_offset = ++group->offsets.sent[p];
    member->must_be_refused =
        epoch != member->epoch ||
        (group->holder[p] && group->holder[p] != member && !group->holder[p]->is_misled);
    part->committed_offset = member->commit_offset;
    send(member, API_OFFSET_COMMIT, 9, &msg, on_committed);
}

static void on_offsets(struct kreq *req, const void *response)
{
    struct workload_consumer *member = CONTAINER_OF(req, struct workload_consumer, req);
    const struct offset_fetch_response *fetched = response;
    struct workload *w = member->w;
    member->req_waits = false;
    if (!is_ok(member, "OffsetFetch", fetched, fetched ? fetched->error_code : 0))
        return;
    offsets_check(w, &w->consumer_group.offsets, fetched, member->acked_when_asked);
    again(member, workload_think_ns(w));
}

static void send_fetch(struct workload_consumer *member)
{
    struct workload *w = member->w;
    struct offset_fetch_request msg;
    codec_init(&offset_fetch_request_schema, &msg);
    msg.group_id = GROUP;
    offsets_fill_fetch(w, &w->consumer_group.offsets, &msg, member->acked_when_asked);
    send(member, API_OFFSET_FETCH, 7, &msg, on_offsets);
}

/* --- its day --- */

static void die(struct workload_consumer *member)
{
    kconn_close(&member->conn);
    begin_life(member);
    rejoin(member, rng_below(&member->w->rng, 4000) * MS);
}

static void live(struct workload_consumer *member)
{
    struct workload *w = member->w;
    uint64_t dice = rng_below(&w->rng, 100);
    uint32_t p = (uint32_t)rng_below(&w->rng, w->options.partitions);
    bool may_fail = !w->is_stopping;
    if (member->owned != member->wanted && rng_chance(&w->rng, 1, 2)) {
        again(member, rng_below(&w->rng, 2 * BEAT_MS) * MS); /* it is at a record for a while */
        return;
    }
    settle(member);
    bool must_beat = member->must_tell || member->must_tell_all;
    if (dice < 2 && may_fail)
        send_leave(member);
    else if (dice < 4 && may_fail)
        die(member);
    else if (dice < 6 && may_fail)
        again(member, (WORKLOAD_SESSION_MS + 1000) * MS); /* it hangs */
    else if (dice < 8 && may_fail && !(member->owned & 1u << p) && !must_beat)
        send_commit(member, p, (int32_t)rng_below(&w->rng, (uint64_t)member->epoch));
    else if (dice < 30)
        send_fetch(member);
    else if (dice < 60 && !must_beat && (member->owned & 1u << p))
        send_commit(member, p, member->epoch);
    else
        send_beat(member, member->epoch, on_beat);
}

static void on_timer(struct io_timer *timer)
{
    struct workload_consumer *member = CONTAINER_OF(timer, struct workload_consumer, timer);
    if (member->req_waits)
        return;
    if (!member->w->is_ready)
        again(member, RETRY_NS);
    else if (member->must_find)
        send_find(member);
    else if (member->epoch == EPOCH_JOIN)
        send_beat(member, EPOCH_JOIN, on_beat);
    else
        live(member);
}

void consumers_stop(struct workload *w)
{
    for (uint32_t i = 0; i < w->options.consumers; i++)
        w->consumers[i].must_tell_all = true;
}

void consumer_start(struct workload_consumer *member, struct workload *w, uint32_t index)
{
    *member = (struct workload_consumer){.w = w, .index = index};
    member->must_find = true;
    member->is_static = rng_chance(&w->rng, 1, 3);
    snprintf(member->instance_id, sizeof(member->instance_id), "i%u", index);
    begin_life(member);
    kconn_init(&member->conn, w->world, w->io, w->host, w->port);
    kconn_init(&member->twin, w->world, w->io, w->host, w->port);
    io_timer_init(&member->timer, on_timer);
    again(member, workload_think_ns(w));
}
