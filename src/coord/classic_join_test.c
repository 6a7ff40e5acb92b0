/* JoinGroup: ids that are given out, what is refused, members that come again, static members. */
#include "coord/classic_testing.h"

static enum err refused(struct test_coord *t, struct coord_join *join)
{
    test_run_join(t, join);
    assert_false(test_is_waiting(&join->op));
    return test_answer(t, &join->op);
}

/* None of them leaves anything behind. */
static void test_refusals(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *join = test_join(&t, STR(""));
    join->group_id = STR("");
    assert_int_equal(refused(&t, join), ERR_INVALID_GROUP_ID);
    join = test_join(&t, STR(""));
    join->session_timeout_ms = 2999;
    assert_int_equal(refused(&t, join), ERR_INVALID_SESSION_TIMEOUT);
    join->session_timeout_ms = 1800001;
    assert_int_equal(refused(&t, join), ERR_INVALID_SESSION_TIMEOUT);
    join = test_join(&t, STR("nobody"));
    assert_int_equal(refused(&t, join), ERR_UNKNOWN_MEMBER_ID);
    assert_true(str_eq(join->given_member_id, STR("nobody")));
    join = test_join(&t, STR(""));
    join->protocol_type = STR("");
    assert_int_equal(refused(&t, join), ERR_INCONSISTENT_GROUP_PROTOCOL);
    join = test_join(&t, STR(""));
    join->protocol_count = 0;
    assert_int_equal(refused(&t, join), ERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(t.coord->groups.count, 0);
    assert_int_equal(t.log_count, 0);

    struct str member = test_stable_one(&t);
    join = test_join(&t, member);
    join->protocol_type = STR("connect");
    assert_int_equal(refused(&t, join), ERR_INCONSISTENT_GROUP_PROTOCOL);
    join = test_join(&t, STR(""));
    join->protocols = test_protocols(&t, STR("sticky"), STR(""), &join->protocol_count);
    assert_int_equal(refused(&t, join), ERR_INCONSISTENT_GROUP_PROTOCOL);
    join = test_join(&t, member);
    join->instance_id = STR("i");
    assert_int_equal(refused(&t, join), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_STABLE);
    assert_int_equal(test_group(&t)->classic.pending.count, 0);
    test_end(&t);
}

/* Ids that nobody uses go after their session, and a group that was made for them with them. */
static void test_given_ids(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    for (int i = 0; i < 1000; i++) {
        struct coord_join *join = test_join(&t, STR(""));
        test_run_join(&t, join);
        assert_int_equal(test_answer(&t, &join->op), ERR_MEMBER_ID_REQUIRED);
        assert_int_equal(join->given_member_id.len, strlen("client-") + 36);
    }
    assert_int_equal(test_group(&t)->classic.pending.count, 1000);
    test_pass(&t, 9999);
    assert_int_equal(test_group(&t)->classic.pending.count, 1000);
    test_pass(&t, 1);
    assert_null(test_group(&t));
    test_reload(&t);
    assert_null(test_group(&t));
    assert_null(test_done(&t));
    test_end(&t);
}

/* A group that only waits for an id that it gave out has no members to agree with. */
static void test_when_all_left(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct str member = test_stable_one(&t);
    struct coord_join *join = test_join(&t, STR(""));
    test_run_join(&t, join);
    assert_int_equal(test_answer(&t, &join->op), ERR_MEMBER_ID_REQUIRED);
    assert_int_equal(test_leave(&t, member, STR_NULL), ERR_OK);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_PREPARING);
    assert_int_equal(test_group(&t)->classic.member_count, 0);
    struct coord_join *other = test_join(&t, STR(""));
    other->protocol_type = STR("connect");
    assert_int_equal(refused(&t, other), ERR_INCONSISTENT_GROUP_PROTOCOL);
    join = test_join(&t, join->given_member_id);
    test_run_join(&t, join);
    test_pass(&t, join->rebalance_timeout_ms);
    assert_int_equal(test_answer(&t, &join->op), ERR_OK);
    assert_int_equal(join->member_count, 1);
    test_check_group(test_group(&t));
    test_end(&t);
}

static void test_old_client(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *join = test_join(&t, STR(""));
    join->takes_id_first = false;
    test_run_join(&t, join);
    assert_true(test_is_waiting(&join->op));
    test_pass(&t, 0);
    assert_int_equal(test_answer(&t, &join->op), ERR_OK);
    assert_int_equal(join->generation, 1);
    assert_int_equal(join->member_count, 1);
    assert_true(str_eq(join->leader, join->given_member_id));
    test_end(&t);
}

static void test_same_again(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *a = test_join_new(&t);
    struct coord_join *b = test_join_new(&t);
    test_pass(&t, 0);
    assert_int_equal(test_answer(&t, &a->op), ERR_OK);
    assert_int_equal(test_answer(&t, &b->op), ERR_OK);
    /* The answer was lost: the same is told again, to the leader with the members. */
    struct coord_join *again = test_join(&t, a->given_member_id);
    test_run_join(&t, again);
    assert_int_equal(test_answer(&t, &again->op), ERR_OK);
    assert_int_equal(again->generation, a->generation);
    assert_int_equal(again->member_count, 2);
    test_lead(&t, a);
    struct coord_join *follower = test_join(&t, b->given_member_id);
    test_run_join(&t, follower);
    assert_int_equal(test_answer(&t, &follower->op), ERR_OK);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_STABLE);
    struct coord_join *leader = test_join(&t, a->given_member_id);
    test_run_join(&t, leader);
    assert_true(test_is_waiting(&leader->op));
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_PREPARING);
    /* Another request of the same member takes the place of one that waits. */
    struct coord_join *twice = test_join(&t, a->given_member_id);
    test_run_join(&t, twice);
    assert_int_equal(test_answer(&t, &leader->op), ERR_REBALANCE_IN_PROGRESS);
    assert_true(test_is_waiting(&twice->op));
    test_check_group(test_group(&t));
    test_end(&t);
}

static struct coord_join *join_static(struct test_coord *t, struct str member_id, bool takes_skip)
{
    struct coord_join *join = test_join(t, member_id);
    join->instance_id = STR("i");
    join->takes_skip = takes_skip;
    test_run_join(t, join);
    return join;
}

static void test_static_member(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *first = join_static(&t, STR(""), true);
    test_pass(&t, 0);
    assert_int_equal(test_answer(&t, &first->op), ERR_OK);
    test_answer(&t, &test_lead(&t, first)->op);
    struct str old = first->given_member_id;
    for (int skip = 0; skip < 2; skip++) {
        struct coord_join *again = join_static(&t, STR(""), skip == 1);
        assert_int_equal(test_answer(&t, &again->op), ERR_OK);
        assert_int_equal(again->generation, first->generation);
        assert_false(str_eq(again->given_member_id, old));
        assert_int_equal(again->skip_assignment, skip == 1);
        assert_int_equal(again->member_count, skip);
        assert_int_equal(str_eq(again->leader, again->given_member_id), skip);
        assert_int_equal(test_heartbeat(&t, old, STR("i"), 1), ERR_FENCED_INSTANCE_ID);
        assert_int_equal(test_heartbeat(&t, old, STR_NULL, 1), ERR_UNKNOWN_MEMBER_ID);
        struct coord_join *fenced = join_static(&t, old, true);
        assert_int_equal(test_answer(&t, &fenced->op), ERR_FENCED_INSTANCE_ID);
        old = again->given_member_id;
        test_check_group(test_group(&t));
        test_reload(&t);
        assert_int_equal(test_heartbeat(&t, old, STR("i"), 1), ERR_OK);
    }
    /* In the middle of a rebalance the former one's request is sent away. */
    struct coord_join *changed = test_join(&t, old);
    changed->instance_id = STR("i");
    struct coord_join *other = test_join_new(&t);
    test_run_join(&t, changed);
    assert_int_equal(test_answer(&t, &changed->op), ERR_OK);
    assert_int_equal(test_answer(&t, &other->op), ERR_OK);
    struct coord_sync *sync = test_sync(&t, other->given_member_id, other->generation);
    test_run_sync(&t, sync);
    struct coord_join *third = join_static(&t, STR(""), true);
    assert_true(test_is_waiting(&third->op));
    assert_int_equal(test_answer(&t, &sync->op), ERR_REBALANCE_IN_PROGRESS);
    test_check_group(test_group(&t));
    test_end(&t);
}

static void test_size_limit(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    t.config.group_size_max = 2;
    struct coord_join *a = test_join_new(&t), *b = test_join_new(&t);
    struct coord_join *c = test_join(&t, STR(""));
    test_run_join(&t, c);
    assert_int_equal(test_answer(&t, &c->op), ERR_GROUP_MAX_SIZE_REACHED);
    test_pass(&t, 0);
    assert_int_equal(test_answer(&t, &a->op), ERR_OK);
    assert_int_equal(test_answer(&t, &b->op), ERR_OK);
    test_run_join(&t, c);
    assert_int_equal(test_answer(&t, &c->op), ERR_GROUP_MAX_SIZE_REACHED);
    test_answer(&t, &test_lead(&t, a)->op);
    /* A group that is over a lowered limit drops whom it does not hold. */
    t.config.group_size_max = 1;
    test_reload(&t);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_PREPARING);
    struct coord_join *stays = test_join(&t, a->given_member_id);
    test_run_join(&t, stays);
    struct coord_join *goes = test_join(&t, b->given_member_id);
    test_run_join(&t, goes);
    assert_int_equal(test_answer(&t, &goes->op), ERR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(test_answer(&t, &stays->op), ERR_OK);
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_given_ids),
        cmocka_unit_test(test_when_all_left), cmocka_unit_test(test_old_client),
        cmocka_unit_test(test_same_again),    cmocka_unit_test(test_static_member),
        cmocka_unit_test(test_size_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
