/* A consumer group as Kafka's clients make it, in the classic protocol: members join, get their
 * part of the partitions from a leader among them, beat, commit, leave, lose their connection, come
 * back, and say some things twice, on another connection. What must hold whatever happens:
 *
 *   - one owner of each partition in a generation: all assignments that are given out in one carry
 *     the same stamp of the leader that made them
 *   - a generation of which an assignment was given out is never followed by an older one
 *   - a committed offset that was acknowledged is there, and never goes back
 *   - what a member of an earlier generation commits is refused
 *
 * A member that lost its connection cannot know what became of its last commit: it joins again,
 * with changed metadata, so that there is a new generation before it commits anything else. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "sim/workload.h"
#include "wire/errors.h"
#include "wire/messages.h"

#define RETRY_NS     UINT64_C(100000000)
#define BEAT_MS      300
#define SESSION_MS   3000
#define REBALANCE_MS 4000

enum {
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH = 9,
    API_FIND_COORDINATOR = 10,
    API_JOIN_GROUP = 11,
    API_HEARTBEAT = 12,
    API_LEAVE_GROUP = 13,
    API_SYNC_GROUP = 14,
};

enum { STEP_FIND, STEP_JOIN, STEP_SYNC, STEP_STABLE };

/* What a leader writes for each member: its stamp, then the partitions. */
struct assignment_text {
    uint64_t stamp;
    uint32_t count;
    uint32_t partitions[MODEL_PARTITIONS_MAX];
};

static void member_again(struct workload_member *member, uint64_t after_ns)
{
    io_timer_start(member->w->io, &member->timer, io_now_ns(member->w->io) + after_ns);
}

static void on_twin(struct kreq *req, const void *response)
{
    (void)response; /* its client has given it up */
    CONTAINER_OF(req, struct workload_member, twin_req)->twin_waits = false;
}

/* All but what commits and asks may come twice: a commit that comes late goes back. */
static bool comes_twice(struct workload_member *member, int16_t api_key)
{
    struct workload *w = member->w;
    return api_key >= API_JOIN_GROUP && !w->is_stopping && !member->twin_waits &&
           rng_chance(&w->rng, 1, 60);
}

static void send(struct workload_member *member, int16_t api_key, int16_t version, const void *msg,
                 kreq_done *done)
{
    if (comes_twice(member, api_key))
        member->twin_waits =
            kconn_send(&member->twin, &member->twin_req, api_key, version, msg, on_twin);
    member->req_waits = kconn_send(&member->conn, &member->req, api_key, version, msg, done);
    arena_reset(&member->w->arena);
    if (!member->req_waits)
        member_again(member, RETRY_NS);
}

static void rejoin(struct workload_member *member, uint64_t after_ns)
{
    member->step = STEP_FIND;
    member->metadata++;
    member_again(member, after_ns);
}

/* The answer's error: none; one that makes a member join again; or one that must not be. */
static bool is_ok(struct workload_member *member, const char *what, const void *response,
                  int16_t code)
{
    if (!response) {
        rejoin(member, RETRY_NS);
        return false;
    }
    switch (wire_err_of_code(code)) {
    case ERR_OK:
        return true;
    case ERR_UNKNOWN_MEMBER_ID:
        member->id_len = 0;
        rejoin(member, RETRY_NS);
        return false;
    case ERR_ILLEGAL_GENERATION:
    case ERR_REBALANCE_IN_PROGRESS:
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_NOT_COORDINATOR:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION: /* while the broker starts */
        rejoin(member, 1000000 + rng_below(&member->w->rng, RETRY_NS));
        return false;
    default:
        model_fail(member->w->world, "%s answers %s", what, wire_code_name(code));
    }
}

static struct str member_id(const struct workload_member *member)
{
    return (struct str){member->id, member->id_len};
}

/* --- coordinator --- */

static void on_found(struct kreq *req, const void *response)
{
    struct workload_member *member = CONTAINER_OF(req, struct workload_member, req);
    const struct find_coordinator_response *found = response;
    member->req_waits = false;
    if (is_ok(member, "FindCoordinator", found, found ? found->error_code : 0)) {
        member->step = STEP_JOIN;
        member_again(member, 1000000);
    }
}

static void send_find(struct workload_member *member)
{
    struct find_coordinator_request msg;
    codec_init(&find_coordinator_request_schema, &msg);
    msg.key = STR("group");
    send(member, API_FIND_COORDINATOR, 3, &msg, on_found);
}

/* --- join --- */

static void take_id(struct workload_member *member, struct str id)
{
    if (id.len > sizeof(member->id))
        model_fail(member->w->world, "a member id of %zu bytes", id.len);
    memcpy(member->id, id.data, id.len);
    member->id_len = id.len;
}

static void take_members(struct workload_member *member, const struct join_group_response *joined)
{
    member->follower_count = 0;
    for (int32_t i = 0; i < joined->members_len && i < WORKLOAD_MEMBERS_MAX; i++) {
        struct str id = joined->members[i].member_id;
        if (id.len > sizeof(member->followers[0].id))
            model_fail(member->w->world, "a member id of %zu bytes", id.len);
        struct workload_follower *follower = &member->followers[member->follower_count++];
        memcpy(follower->id, id.data, id.len);
        follower->id_len = id.len;
    }
    if (joined->members_len > WORKLOAD_MEMBERS_MAX)
        member->follower_count = 0; /* of former lives; those go when their sessions end */
}

static void on_joined(struct kreq *req, const void *response)
{
    struct workload_member *member = CONTAINER_OF(req, struct workload_member, req);
    const struct join_group_response *joined = response;
    struct workload *w = member->w;
    member->req_waits = false;
    if (joined && wire_err_of_code(joined->error_code) == ERR_MEMBER_ID_REQUIRED) {
        take_id(member, joined->member_id);
        member_again(member, 1000000);
        return;
    }
    if (!is_ok(member, "JoinGroup", joined, joined ? joined->error_code : 0))
        return;
    take_id(member, joined->member_id);
    if (joined->generation_id < w->group.generation)
        model_fail(w->world, "generation %d is given out after %d", joined->generation_id,
                   w->group.generation);
    member->generation = joined->generation_id;
    member->is_leader = str_eq(joined->leader, joined->member_id);
    take_members(member, joined);
    member->step = STEP_SYNC;
    member_again(member, 1 + rng_below(&w->rng, 2000000));
}

static void send_join(struct workload_member *member)
{
    struct workload *w = member->w;
    struct join_group_request msg;
    char metadata[32];
    codec_init(&join_group_request_schema, &msg);
    snprintf(metadata, sizeof(metadata), "%u", member->metadata);
    msg.group_id = STR("group");
    msg.session_timeout_ms = SESSION_MS;
    msg.rebalance_timeout_ms = REBALANCE_MS;
    msg.member_id = member_id(member);
    msg.protocol_type = STR("sim");
    msg.protocols = MSG_ARRAY(join_group_request_protocol, &w->arena, 1);
    msg.protocols_len = 1;
    msg.protocols[0].name = STR("one");
    msg.protocols[0].metadata = slice_of(metadata, strlen(metadata));
    send(member, API_JOIN_GROUP, 5, &msg, on_joined);
}

/* --- sync --- */

static void assign(struct workload_member *member, struct sync_group_request *msg)
{
    struct workload *w = member->w;
    uint64_t stamp = rng_u64(&w->rng);
    struct assignment_text *texts = arena_array(&w->arena, member->follower_count, sizeof(*texts));
    msg->assignments = MSG_ARRAY(sync_group_request_assignment, &w->arena, member->follower_count);
    ASSERT(texts && msg->assignments);
    msg->assignments_len = (int32_t)member->follower_count;
    for (uint32_t i = 0; i < member->follower_count; i++) {
        texts[i].stamp = stamp;
        for (uint32_t p = i; p < w->options.partitions; p += member->follower_count)
            texts[i].partitions[texts[i].count++] = p;
        msg->assignments[i].member_id =
            (struct str){member->followers[i].id, member->followers[i].id_len};
        msg->assignments[i].assignment = slice_of(&texts[i], sizeof(texts[i]));
    }
}

static void on_synced(struct kreq *req, const void *response)
{
    struct workload_member *member = CONTAINER_OF(req, struct workload_member, req);
    const struct sync_group_response *synced = response;
    struct workload *w = member->w;
    struct workload_group *group = &w->group;
    struct assignment_text text = {0};
    member->req_waits = false;
    if (!is_ok(member, "SyncGroup", synced, synced ? synced->error_code : 0))
        return;
    if (synced->assignment.len == sizeof(text))
        memcpy(&text, synced->assignment.data, sizeof(text));
    else if (synced->assignment.len > 0)
        model_fail(w->world, "an assignment of %zu bytes", synced->assignment.len);
    if (member->generation < group->generation)
        model_fail(w->world, "an assignment of generation %d after one of %d", member->generation,
                   group->generation);
    if (member->generation > group->generation)
        group->stamp = 0;
    group->generation = member->generation;
    if (text.stamp != 0 && group->stamp != 0 && text.stamp != group->stamp)
        model_fail(w->world, "two assignments in generation %d", member->generation);
    if (text.stamp != 0)
        group->stamp = text.stamp;
    member->owned_count = text.count;
    memcpy(member->owned, text.partitions, sizeof(member->owned));
    member->step = STEP_STABLE;
    member_again(member, workload_think_ns(w));
}

static void send_sync(struct workload_member *member)
{
    struct sync_group_request msg;
    codec_init(&sync_group_request_schema, &msg);
    msg.group_id = STR("group");
    msg.generation_id = member->generation;
    msg.member_id = member_id(member);
    if (member->is_leader && member->follower_count > 0)
        assign(member, &msg);
    send(member, API_SYNC_GROUP, 3, &msg, on_synced);
}

/* --- a member's day --- */

static void on_beat(struct kreq *req, const void *response)
{
    struct workload_member *member = CONTAINER_OF(req, struct workload_member, req);
    const struct heartbeat_response *beat = response;
    member->req_waits = false;
    if (is_ok(member, "Heartbeat", beat, beat ? beat->error_code : 0))
        member_again(member, BEAT_MS * UINT64_C(1000000));
}

static void send_beat(struct workload_member *member)
{
    struct heartbeat_request msg;
    codec_init(&heartbeat_request_schema, &msg);
    msg.group_id = STR("group");
    msg.generation_id = member->generation;
    msg.member_id = member_id(member);
    send(member, API_HEARTBEAT, 3, &msg, on_beat);
}

static void on_committed(struct kreq *req, const void *response)
{
    struct workload_member *member = CONTAINER_OF(req, struct workload_member, req);
    const struct offset_commit_response *committed = response;
    struct workload *w = member->w;
    struct workload_group *group = &w->group;
    int16_t code = committed ? committed->topics[0].partitions[0].error_code : 0;
    member->req_waits = false;
    if (committed && code == 0 && member->is_stale)
        model_fail(w->world, "a commit of generation %d is taken in %d", member->stale_generation,
                   group->generation);
    if (!is_ok(member, "OffsetCommit", committed, code))
        return;
    offsets_acked(w, &group->offsets, member->commit_partition, member->commit_offset);
    group->offsets.acked_call[member->commit_partition] = member->commit_call;
    member_again(member, workload_think_ns(w));
}

/* Now and then as a member of a generation that is over. */
static void send_commit(struct workload_member *member, bool is_stale)
{
    struct workload *w = member->w;
    uint32_t p = member->owned[rng_below(&w->rng, member->owned_count)];
    struct offset_commit_request msg;
    codec_init(&offset_commit_request_schema, &msg);
    msg.group_id = STR("group");
    msg.generation_id_or_member_epoch = member->generation;
    msg.member_id = member_id(member);
    struct offset_commit_request_partition *part = offsets_fill_commit(w, &msg, p);
    member->is_stale = is_stale;
    member->commit_partition = p;
    member->commit_call = w->last_calls;
    if (is_stale) {
        member->stale_generation = (int32_t)rng_below(&w->rng, (uint64_t)w->group.generation);
        msg.generation_id_or_member_epoch = member->stale_generation;
    } else {
        member->commit_offset = ++w->group.offsets.sent[p];
        part->committed_offset = member->commit_offset;
    }
    send(member, API_OFFSET_COMMIT, 8, &msg, on_committed);
}

static void on_offsets(struct kreq *req, const void *response)
{
    struct workload_member *member = CONTAINER_OF(req, struct workload_member, req);
    const struct offset_fetch_response *fetched = response;
    struct workload *w = member->w;
    member->req_waits = false;
    if (!is_ok(member, "OffsetFetch", fetched, fetched ? fetched->error_code : 0))
        return;
    offsets_check(w, &w->group.offsets, fetched, member->acked_when_asked);
    member_again(member, workload_think_ns(w));
}

static void send_fetch(struct workload_member *member)
{
    struct workload *w = member->w;
    struct offset_fetch_request msg;
    codec_init(&offset_fetch_request_schema, &msg);
    msg.group_id = STR("group");
    msg.require_stable = rng_chance(&w->rng, 1, 2);
    offsets_fill_fetch(w, &w->group.offsets, &msg, member->acked_when_asked);
    send(member, API_OFFSET_FETCH, 7, &msg, on_offsets);
}

static void on_left(struct kreq *req, const void *response)
{
    struct workload_member *member = CONTAINER_OF(req, struct workload_member, req);
    (void)response; /* it is gone in any case */
    member->req_waits = false;
    member->id_len = 0;
    rejoin(member, workload_think_ns(member->w) * 10);
}

static void send_leave(struct workload_member *member)
{
    struct leave_group_request msg;
    codec_init(&leave_group_request_schema, &msg);
    msg.group_id = STR("group");
    msg.members = MSG_ARRAY(leave_group_request_member, &member->w->arena, 1);
    msg.members_len = 1;
    msg.members[0].member_id = member_id(member);
    send(member, API_LEAVE_GROUP, 4, &msg, on_left);
}

static void live(struct workload_member *member)
{
    struct workload *w = member->w;
    uint64_t dice = rng_below(&w->rng, 100);
    bool may_fail = !w->is_stopping;
    if (dice < 2 && may_fail) {
        send_leave(member);
    } else if (dice < 4 && may_fail) {
        kconn_close(&member->conn); /* as a process that dies; its id is forgotten */
        member->id_len = 0;
        rejoin(member, rng_below(&w->rng, 4000) * UINT64_C(1000000));
    } else if (dice < 6 && may_fail) {
        member_again(member, (SESSION_MS + 1000) * UINT64_C(1000000)); /* it hangs */
    } else if (dice < 8 && may_fail && w->group.generation > 1 && member->owned_count > 0) {
        send_commit(member, true);
    } else if (dice < 30) {
        send_fetch(member);
    } else if (dice < 60 && member->owned_count > 0) {
        send_commit(member, false);
    } else {
        send_beat(member);
    }
}

static void on_member_timer(struct io_timer *timer)
{
    struct workload_member *member = CONTAINER_OF(timer, struct workload_member, timer);
    if (member->req_waits)
        return;
    if (!member->w->is_ready) {
        member_again(member, RETRY_NS);
        return;
    }
    switch (member->step) {
    case STEP_FIND:
        send_find(member);
        break;
    case STEP_JOIN:
        send_join(member);
        break;
    case STEP_SYNC:
        send_sync(member);
        break;
    default:
        live(member);
        break;
    }
}

void member_start(struct workload_member *member, struct workload *w)
{
    *member = (struct workload_member){.w = w};
    kconn_init(&member->conn, w->world, w->io, w->host, w->port);
    kconn_init(&member->twin, w->world, w->io, w->host, w->port);
    io_timer_init(&member->timer, on_member_timer);
    member_again(member, workload_think_ns(w));
}
