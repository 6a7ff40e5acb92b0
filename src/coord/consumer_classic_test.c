/* Requests of the classic protocol that wait while their group becomes one of the consumer
 * protocol: each is answered. No topic exists, so nothing is assigned. */
#include "coord/classic_testing.h"
#include "coord/consumer.h"

static void no_names(const void *image, bool (*fn)(void *arg, struct str name), void *arg)
{
    (void)image, (void)fn, (void)arg;
}

static size_t no_count(const void *image)
{
    (void)image;
    return 0;
}

static int64_t version(const void *image)
{
    (void)image;
    return 1;
}

static bool no_config(const void *image, struct str group_id, struct str key, int32_t *value)
{
    (void)image, (void)group_id, (void)key, (void)value;
    return false;
}

static void begin(struct test_coord *t)
{
    test_init(t);
    t->config.consumer = (struct coord_consumer_config){.session_timeout_ms = 45000,
                                                        .session_timeout_min_ms = 45000,
                                                        .session_timeout_max_ms = 60000,
                                                        .heartbeat_interval_ms = 5000,
                                                        .heartbeat_interval_min_ms = 5000,
                                                        .heartbeat_interval_max_ms = 15000,
                                                        .assignment_interval_max_ms = 15000,
                                                        .group_size_max = INT32_MAX,
                                                        .allows_upgrade = true,
                                                        .allows_downgrade = true,
                                                        .assignor_count = 1,
                                                        .assignors = {ASSIGNOR_UNIFORM}};
    t->topics.each_name = no_names;
    t->topics.count = no_count;
    t->topics.version = version;
    t->topics.group_config = no_config;
}

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
static void upgrade(struct test_coord *t)
{
    struct str topic = STR("t");
    struct coord_consumer_heartbeat heartbeat = {
        .op = {.arena = &t->arena, .client_id = STR("client"), .client_host = STR("/host")},
        .api_version = 1,
        .group_id = TEST_GROUP,
        .member_id = STR("a"),
        .rebalance_timeout_ms = 60000,
        .topics = &topic,
        .topics_len = 1,
        .owned = &assignment_empty};
    coord_consumer_heartbeat(t->coord, test_call(t), &heartbeat);
    test_commit(t);
    assert_int_equal(test_answer(t, &heartbeat.op), ERR_OK);
    assert_int_equal(test_group(t)->consumer->member_count, 3);
}

static void test_held_heartbeat(void **state)
{
    struct test_coord t;
    struct coord_join *leader, *other;
    (void)state;
    begin(&t);
    settle(&t, &leader, &other);
    struct coord_heartbeat heartbeat = {.op = {.arena = &t.arena},
                                        .group_id = TEST_GROUP,
                                        .generation = other->generation,
                                        .member_id = other->given_member_id,
                                        .may_wait = true};
    coord_heartbeat(t.coord, test_call(&t), &heartbeat);
    test_commit(&t);
    assert_true(test_is_waiting(&heartbeat.op));
    upgrade(&t);
    assert_int_equal(test_answer(&t, &heartbeat.op), ERR_REBALANCE_IN_PROGRESS);
    test_end(&t);
}

static void test_waiting_join(void **state)
{
    struct test_coord t;
    struct coord_join *leader, *other;
    (void)state;
    begin(&t);
    settle(&t, &leader, &other);
    struct coord_join *again = join_as(&t, leader->given_member_id);
    assert_true(test_is_waiting(&again->op));
    upgrade(&t);
    assert_int_equal(test_answer(&t, &again->op), ERR_REBALANCE_IN_PROGRESS);
    test_end(&t);
}

static void test_waiting_sync(void **state)
{
    struct test_coord t;
    (void)state;
    begin(&t);
    struct coord_join *leader = join_as(&t, STR("")), *other = join_as(&t, STR(""));
    test_pass(&t, 0);
    assert_int_equal(test_answer(&t, &leader->op), ERR_OK);
    assert_int_equal(test_answer(&t, &other->op), ERR_OK);
    struct coord_sync *sync = test_sync(&t, other->given_member_id, other->generation);
    test_run_sync(&t, sync);
    assert_true(test_is_waiting(&sync->op));
    upgrade(&t);
    assert_int_equal(test_answer(&t, &sync->op), ERR_REBALANCE_IN_PROGRESS);
    test_end(&t);
}

/* What no broker writes, but a log may hold: a classic member that knows no protocol. */
static void test_no_protocols(void **state)
{
    struct test_coord t;
    struct coord_join *leader, *other;
    (void)state;
    begin(&t);
    settle(&t, &leader, &other);
    upgrade(&t);
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
    assert_int_equal(coord_replay(t.coord, &record), ERR_MALFORMED);
    assert_int_equal(test_group(&t)->consumer->member_count, 3);
    test_end(&t);
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
