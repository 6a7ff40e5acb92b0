/* SyncGroup, Heartbeat, LeaveGroup: assignments, what each state answers, who leaves how. */
#include "coord/classic_testing.h"

static void test_sync_and_reload(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *a = test_join_new(&t), *b = test_join_new(&t);
    test_pass(&t, 0);
    test_answer(&t, &a->op);
    test_answer(&t, &b->op);
    assert_int_equal(a->member_count, 2);
    assert_int_equal(b->member_count, 0);
    struct coord_sync *follower = test_sync(&t, b->given_member_id, b->generation);
    test_run_sync(&t, follower);
    assert_true(test_is_waiting(&follower->op));
    assert_int_equal(test_heartbeat(&t, b->given_member_id, STR_NULL, 1), ERR_OK);
    struct coord_sync *leader = test_lead(&t, a);
    assert_int_equal(test_answer(&t, &leader->op), ERR_OK);
    assert_int_equal(test_answer(&t, &follower->op), ERR_OK);
    assert_int_equal(follower->assignment.len, b->given_member_id.len);
    assert_true(str_eq(follower->answer_protocol, STR("range")));
    test_reload(&t);
    struct coord_sync *again = test_sync(&t, b->given_member_id, 1);
    test_run_sync(&t, again);
    assert_int_equal(test_answer(&t, &again->op), ERR_OK);
    assert_memory_equal(again->assignment.data, b->given_member_id.data, again->assignment.len);
    test_end(&t);
}

static enum err sync_as(struct test_coord *t, struct str group, struct str member,
                        int32_t generation, struct str protocol)
{
    struct coord_sync *sync = test_sync(t, member, generation);
    sync->group_id = group;
    sync->protocol = protocol;
    test_run_sync(t, sync);
    return test_answer(t, &sync->op);
}

static void test_refusals(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct str member = test_stable_one(&t);
    assert_int_equal(sync_as(&t, STR(""), member, 1, STR_NULL), ERR_INVALID_GROUP_ID);
    assert_int_equal(sync_as(&t, STR("none"), member, 1, STR_NULL), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_as(&t, TEST_GROUP, STR("x"), 1, STR_NULL), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_as(&t, TEST_GROUP, member, 2, STR_NULL), ERR_ILLEGAL_GENERATION);
    assert_int_equal(sync_as(&t, TEST_GROUP, member, 1, STR("sticky")),
                     ERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(sync_as(&t, TEST_GROUP, member, 1, STR("range")), ERR_OK);
    assert_int_equal(test_heartbeat(&t, STR("x"), STR_NULL, 1), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(test_heartbeat(&t, member, STR("i"), 1), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(test_heartbeat(&t, member, STR_NULL, 0), ERR_ILLEGAL_GENERATION);
    assert_int_equal(test_leave(&t, STR("x"), STR_NULL), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(test_leave(&t, STR(""), STR_NULL), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(test_leave(&t, STR(""), STR("i")), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(test_leave(&t, member, STR_NULL), ERR_OK);
    assert_int_equal(test_leave(&t, member, STR_NULL), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_as(&t, TEST_GROUP, member, 1, STR_NULL), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_EMPTY);
    test_end(&t);
}

/* An assignment that no record holds: all begin again, nothing is lost. */
static void test_too_large(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct str member = test_stable_one(&t);
    struct coord_join *join = test_join(&t, member);
    test_run_join(&t, join);
    test_answer(&t, &join->op);
    t.batch_bytes_max = 700;
    static const uint8_t large[1000];
    struct coord_assignment assignment = {member, slice_of(large, sizeof(large))};
    struct coord_sync *sync = test_sync(&t, member, join->generation);
    sync->assignments = &assignment;
    sync->assignment_count = 1;
    test_run_sync(&t, sync);
    assert_int_equal(test_answer(&t, &sync->op), ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_PREPARING);
    test_check_group(test_group(&t));
    test_reload(&t);
    assert_int_equal(test_group(&t)->classic.generation, 1);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_STABLE);
    test_end(&t);
}

/* An id that was given out leaves, and the group that it was made for goes. */
static void test_leave_unused(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *join = test_join(&t, STR(""));
    test_run_join(&t, join);
    test_answer(&t, &join->op);
    assert_int_equal(test_leave(&t, join->given_member_id, STR_NULL), ERR_OK);
    assert_null(test_group(&t));
    assert_int_equal(coord_deadline(t.coord), (int64_t)t.coord->sweep_timer.node.key);
    test_end(&t);
}

static struct coord_heartbeat *beat(struct test_coord *t, struct str member, bool may_wait)
{
    struct coord_heartbeat *heartbeat = arena_zalloc(&t->arena, sizeof(*heartbeat));
    assert_non_null(heartbeat);
    heartbeat->op = (struct coord_op){.arena = &t->arena};
    heartbeat->group_id = TEST_GROUP;
    heartbeat->generation = test_group(t)->classic.generation;
    heartbeat->member_id = member;
    heartbeat->may_wait = may_wait;
    coord_heartbeat(t->coord, test_call(t), heartbeat);
    test_commit(t);
    return heartbeat;
}

static void test_held_heartbeat(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct str member = test_stable_one(&t);
    assert_int_equal(test_answer(&t, &beat(&t, member, false)->op), ERR_OK);
    test_pass(&t, 3000);
    struct coord_heartbeat *held = beat(&t, member, true);
    test_pass(&t, 2949);
    assert_true(test_is_waiting(&held->op));
    test_pass(&t, 1);
    assert_int_equal(test_answer(&t, &held->op), ERR_OK);

    /* Another request of the client; another heartbeat; a client that went away. */
    held = beat(&t, member, true);
    coord_yield(&held->op, &t.done);
    assert_int_equal(test_answer(&t, &held->op), ERR_OK);
    held = beat(&t, member, true);
    struct coord_heartbeat *next = beat(&t, member, true);
    assert_int_equal(test_answer(&t, &held->op), ERR_OK);
    coord_forget(&next->op, &t.done);
    assert_int_equal(test_answer(&t, &next->op), ERR_NOT_COORDINATOR);

    /* News. */
    held = beat(&t, member, true);
    struct coord_join *join = test_join_new(&t);
    assert_true(test_is_waiting(&join->op));
    assert_int_equal(test_answer(&t, &held->op), ERR_REBALANCE_IN_PROGRESS);
    coord_yield(&join->op, &t.done);
    assert_true(test_is_waiting(&join->op));
    assert_int_equal(test_answer(&t, &beat(&t, member, true)->op), ERR_REBALANCE_IN_PROGRESS);
    test_end(&t);
}

/* Not longer than a third of the session, nor than the client's own interval, nor than 5 s. */
static void test_held_how_long(void **state)
{
    static const struct {
        int32_t session_ms;
        int64_t interval_ms, held_ms;
    } cases[] = {{45000, 3000, 2950},
                 {6000, 3000, 2000},
                 {45000, 1000, 950},
                 {45000, 4000, 3950},
                 {60000, 20000, 5000}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_coord t;
        test_init(&t);
        struct coord_join *join = test_join(&t, STR(""));
        join->takes_id_first = false;
        join->session_timeout_ms = cases[i].session_ms;
        test_run_join(&t, join);
        test_pass(&t, 0);
        test_answer(&t, &join->op);
        test_answer(&t, &test_lead(&t, join)->op);
        test_answer(&t, &beat(&t, join->given_member_id, false)->op);
        test_pass(&t, cases[i].interval_ms - 1);
        assert_null(test_done(&t));
        test_pass(&t, 1);
        if (cases[i].interval_ms < cases[i].session_ms) {
            struct coord_heartbeat *held = beat(&t, join->given_member_id, true);
            test_pass(&t, cases[i].held_ms - 1);
            assert_true(test_is_waiting(&held->op));
            test_pass(&t, 1);
            assert_int_equal(test_answer(&t, &held->op), ERR_OK);
        }
        test_end(&t);
    }
}

/* A client that leaves a heartbeat out because an answer came late is not one with twice the
 * interval; one that has is known the second time. */
static void test_left_out_heartbeat(void **state)
{
    static const struct {
        int64_t after_ms, held_ms;
    } cases[] = {{3000, 2950}, {4000, 2500}, {4000, 3950}, {8000, 3500},
                 {4000, 3950}, {8000, 3500}, {8000, 5000}};
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *join = test_join(&t, STR(""));
    join->takes_id_first = false;
    join->session_timeout_ms = 45000;
    test_run_join(&t, join);
    test_pass(&t, 0);
    test_answer(&t, &join->op);
    test_answer(&t, &test_lead(&t, join)->op);
    test_answer(&t, &beat(&t, join->given_member_id, false)->op);
    int64_t passed_ms = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        test_pass(&t, cases[i].after_ms - passed_ms);
        struct coord_heartbeat *held = beat(&t, join->given_member_id, true);
        passed_ms = cases[i].held_ms;
        test_pass(&t, passed_ms - 1);
        assert_true(test_is_waiting(&held->op));
        test_pass(&t, 1);
        assert_int_equal(test_answer(&t, &held->op), ERR_OK);
    }
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_and_reload),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_too_large),          cmocka_unit_test(test_leave_unused),
        cmocka_unit_test(test_held_heartbeat),     cmocka_unit_test(test_held_how_long),
        cmocka_unit_test(test_left_out_heartbeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
