/* Requests of the classic protocol that wait while their group becomes one of the consumer
 * protocol: each is answered. No topic exists, so nothing is assigned. */
#include "coord/classic_testing.h"
#include "coord/consumer_testing.h"

/* One who reads the topic t, in version 0 of the embedded protocol. */
static struct coord_join *join_as(struct test_coord *t, struct str member_id)
{
    static const char subscription[] = "\0\0\0\0\0\1\0\1t\377\377\377\377";
    static const struct coord_protocol protocol = {
        {"range", 5}, {(const uint8_t *)subscription, sizeof(subscription) - 1}};
    struct coord_join *join = test_join(t, member_id);
    join->takes_id_first = false;
    join->protocols = &protocol;
    join->protocol_count = 1;
    test_run_join(t, join);
    return join;
}

/* A group of two that has settled. */
static void settle(struct test_coord *t, struct coord_join **leader, struct coord_join **other)
{
    *leader = join_as(t, STR(""));
    *other = join_as(t, STR(""));
    test_pass(t, 0);
    assert_int_equal(test_answer(t, &(*leader)->op), ERR_OK);
    assert_int_equal(test_answer(t, &(*other)->op), ERR_OK);
    struct coord_sync *sync = test_sync(t, (*leader)->given_member_id, (*leader)->generation);
    test_run_sync(t, sync);
    assert_int_equal(test_answer(t, &sync->op), ERR_OK);
}

/* The first member of the consumer protocol. */
static void upgrade(struct world *w)
{
    struct str topic = STR("t");
    struct coord_consumer_heartbeat *heartbeat =
        begin_beat(w, join(STR("a"), &topic, 1), COORD_PATIENCE_NONE);
    assert_int_equal(test_answer(&w->t, &heartbeat->op), ERR_OK);
    assert_int_equal(group_of(w)->member_count, 3);
}

static void test_held_heartbeat(void **state)
{
    struct world w;
    struct coord_join *leader, *other;
    (void)state;
    world_init(&w);
    settle(&w.t, &leader, &other);
    struct coord_heartbeat heartbeat = {.op = {.arena = &w.t.arena},
                                        .group_id = TEST_GROUP,
                                        .generation = other->generation,
                                        .member_id = other->given_member_id,
                                        .may_wait = true};
    coord_heartbeat(w.t.coord, test_call(&w.t), &heartbeat);
    test_commit(&w.t);
    assert_true(test_is_waiting(&heartbeat.op));
    upgrade(&w);
    assert_int_equal(test_answer(&w.t, &heartbeat.op), ERR_REBALANCE_IN_PROGRESS);
    test_end(&w.t);
}

static void test_waiting_join(void **state)
{
    struct world w;
    struct coord_join *leader, *other;
    (void)state;
    world_init(&w);
    settle(&w.t, &leader, &other);
    struct coord_join *again = join_as(&w.t, leader->given_member_id);
    assert_true(test_is_waiting(&again->op));
    upgrade(&w);
    assert_int_equal(test_answer(&w.t, &again->op), ERR_REBALANCE_IN_PROGRESS);
    test_end(&w.t);
}

static void test_waiting_sync(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    struct coord_join *leader = join_as(&w.t, STR("")), *other = join_as(&w.t, STR(""));
    test_pass(&w.t, 0);
    assert_int_equal(test_answer(&w.t, &leader->op), ERR_OK);
    assert_int_equal(test_answer(&w.t, &other->op), ERR_OK);
    struct coord_sync *sync = test_sync(&w.t, other->given_member_id, other->generation);
    test_run_sync(&w.t, sync);
    assert_true(test_is_waiting(&sync->op));
    upgrade(&w);
    assert_int_equal(test_answer(&w.t, &sync->op), ERR_REBALANCE_IN_PROGRESS);
    test_end(&w.t);
}

/* What no broker writes, but a log may hold: a classic member that knows no protocol. */
static void test_no_protocols(void **state)
{
    struct world w;
    struct coord_join *leader, *other;
    (void)state;
    world_init(&w);
    settle(&w.t, &leader, &other);
    upgrade(&w);
    struct consumer_group_member_metadata_value_classic_member_metadata classic = {
        .session_timeout_ms = 45000};
    const struct consumer_group_member_metadata_key key = {TEST_GROUP, STR("strange")};
    const struct consumer_group_member_metadata_value value = {.instance_id = STR_NULL,
                                                               .rack_id = STR_NULL,
                                                               .client_id = STR("client"),
                                                               .client_host = STR("/host"),
                                                               .server_assignor = STR_NULL,
                                                               .subscribed_topic_regex = STR_NULL,
                                                               .rebalance_timeout_ms = 60000,
                                                               .classic_member_metadata = &classic};
    const struct coord_record record = {
        .type = COORD_CONSUMER_GROUP_MEMBER_METADATA, .key = &key, .value = &value};
    assert_int_equal(coord_replay(w.t.coord, &record), ERR_MALFORMED);
    assert_int_equal(group_of(&w)->member_count, 3);
    test_end(&w.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_heartbeat),
        cmocka_unit_test(test_waiting_join),
        cmocka_unit_test(test_waiting_sync),
        cmocka_unit_test(test_no_protocols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
