/* Requests of the classic protocol, for tests: each in memory of its own until the test ends. */
#ifndef COORD_CLASSIC_TESTING_H
#define COORD_CLASSIC_TESTING_H

#include "coord/classic.h"
#include "coord/testing.h"

#define TEST_GROUP STR("g")

static inline struct coord_protocol *test_protocols(struct test_coord *t, struct str first,
                                                    struct str second, size_t *count)
{
    struct coord_protocol *protocols = arena_array(&t->arena, 2, sizeof(*protocols));
    assert_non_null(protocols);
    protocols[0] = (struct coord_protocol){first, slice_of(first.data, first.len)};
    protocols[1] = (struct coord_protocol){second, slice_of(second.data, second.len)};
    *count = second.len > 0 ? 2 : first.len > 0;
    return protocols;
}

/* A join that is not run yet: a dynamic member of a client that knows all there is. */
static inline struct coord_join *test_join(struct test_coord *t, struct str member_id)
{
    struct coord_join *join = arena_zalloc(&t->arena, sizeof(*join));
    assert_non_null(join);
    join->op = (struct coord_op){
        .arena = &t->arena, .client_id = STR("client"), .client_host = STR("/host")};
    join->group_id = TEST_GROUP;
    join->session_timeout_ms = 10000;
    join->rebalance_timeout_ms = 60000;
    join->member_id = member_id;
    join->protocol_type = STR("consumer");
    join->protocols = test_protocols(t, STR("range"), STR("roundrobin"), &join->protocol_count);
    join->takes_id_first = true;
    join->takes_skip = true;
    return join;
}

static inline void test_run_join(struct test_coord *t, struct coord_join *join)
{
    coord_join(t->coord, test_call(t), join);
    test_commit(t);
}

static inline bool test_is_waiting(const struct coord_op *op)
{
    return op->waiting_in != NULL;
}

/* Takes the operation out of those that are done; its error. */
static inline enum err test_answer(struct test_coord *t, struct coord_op *op)
{
    LIST_FOREACH_SAFE (node, &t->done) {
        if (LIST_ENTRY(node, struct coord_op, link) == op) {
            list_remove(node);
            return op->err;
        }
    }
    fail_msg("the operation is not answered");
    return ERR_INTERNAL;
}

/* With the id that the first answer gives: the join waits, or is among those done. */
static inline struct coord_join *test_join_new(struct test_coord *t)
{
    struct coord_join *first = test_join(t, STR(""));
    test_run_join(t, first);
    assert_int_equal(test_answer(t, &first->op), ERR_MEMBER_ID_REQUIRED);
    struct coord_join *join = test_join(t, first->given_member_id);
    test_run_join(t, join);
    return join;
}

static inline struct coord_sync *test_sync(struct test_coord *t, struct str member_id,
                                           int32_t generation)
{
    struct coord_sync *sync = arena_zalloc(&t->arena, sizeof(*sync));
    assert_non_null(sync);
    sync->op = (struct coord_op){.arena = &t->arena};
    sync->group_id = TEST_GROUP;
    sync->generation = generation;
    sync->member_id = member_id;
    return sync;
}

static inline void test_run_sync(struct test_coord *t, struct coord_sync *sync)
{
    coord_sync(t->coord, test_call(t), sync);
    test_commit(t);
}

/* A leader's sync that gives each member its own id. */
static inline struct coord_sync *test_lead(struct test_coord *t, const struct coord_join *join)
{
    struct coord_sync *sync = test_sync(t, join->given_member_id, join->generation);
    struct coord_assignment *assignments =
        arena_array(&t->arena, join->member_count + 1, sizeof(*assignments));
    assert_non_null(assignments);
    for (size_t i = 0; i < join->member_count; i++)
        assignments[i] = (struct coord_assignment){
            join->members[i].id, slice_of(join->members[i].id.data, join->members[i].id.len)};
    sync->assignments = assignments;
    sync->assignment_count = join->member_count;
    test_run_sync(t, sync);
    return sync;
}

static inline enum err test_heartbeat(struct test_coord *t, struct str member_id,
                                      struct str instance_id, int32_t generation)
{
    struct coord_heartbeat heartbeat = {.op = {.arena = &t->arena},
                                        .group_id = TEST_GROUP,
                                        .generation = generation,
                                        .member_id = member_id,
                                        .instance_id = instance_id};
    coord_heartbeat(t->coord, test_call(t), &heartbeat);
    test_commit(t);
    return test_answer(t, &heartbeat.op);
}

static inline enum err test_leave(struct test_coord *t, struct str member_id,
                                  struct str instance_id)
{
    struct coord_leaver leaver = {.member_id = member_id, .instance_id = instance_id};
    struct coord_leave leave = {
        .op = {.arena = &t->arena}, .group_id = TEST_GROUP, .leavers = &leaver, .leaver_count = 1};
    coord_leave(t->coord, test_call(t), &leave);
    test_commit(t);
    enum err err = test_answer(t, &leave.op);
    return err != ERR_OK ? err : leaver.err;
}

/* A stable group of one; its member's id. */
static inline struct str test_stable_one(struct test_coord *t)
{
    struct coord_join *join = test_join_new(t);
    test_pass(t, t->config.initial_rebalance_delay_ms);
    assert_int_equal(test_answer(t, &join->op), ERR_OK);
    struct coord_sync *sync = test_lead(t, join);
    assert_int_equal(test_answer(t, &sync->op), ERR_OK);
    return join->given_member_id;
}

static inline const struct group *test_group(const struct test_coord *t)
{
    return group_find(t->coord, TEST_GROUP);
}

/* What must hold of a group at any time. */
static inline void test_check_group(const struct group *group)
{
    const struct classic *classic = &group->classic;
    size_t members = 0, awaiting = 0, pending_sync = 0;
    LIST_FOREACH (node, &classic->members) {
        const struct classic_member *member = LIST_ENTRY(node, struct classic_member, link);
        members++;
        awaiting += member->is_awaiting_join;
        pending_sync += member->is_pending_sync;
        assert_ptr_equal(classic_member_find(group, member->id), member);
        assert_true(member->is_awaiting_join || list_is_empty(&member->joins));
        assert_true(member->is_awaiting_sync || list_is_empty(&member->syncs));
        assert_false(member->is_awaiting_join && classic_state(group) != CLASSIC_PREPARING);
        assert_false(member->is_awaiting_sync && classic_state(group) != CLASSIC_COMPLETING);
        if (!str_is_null(member->instance_id))
            assert_ptr_equal(classic_instance_find(group, member->instance_id), member);
    }
    assert_int_equal(members, classic->member_count);
    assert_int_equal(members, classic->members_by_id.count);
    assert_int_equal(awaiting, classic->awaiting_join);
    assert_int_equal(pending_sync, classic->pending_sync);
    assert_true((members == 0) == (classic->leader == NULL));
    assert_true(members == 0 || classic_select_protocol(group).len > 0);
    if (classic_state(group) == CLASSIC_PREPARING)
        assert_true(classic->join_timer.node.is_linked);
    if (pending_sync > 0)
        assert_true(classic->sync_timer.node.is_linked);
}

#endif
