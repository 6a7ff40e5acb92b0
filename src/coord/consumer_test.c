/* Goal: members of a consumer group get every partition of their topics, each has one owner at any
 * time whatever is lost, delayed, sent twice or replayed; what is not allowed is refused with
 * Kafka's error and changes nothing; timeouts take members out; a coordinator that is read from its
 * log is the one that wrote it. Method: heartbeats by hand with the answers spelled out. What
 * chance does to clients that behave as Kafka's do is sim/coord_sim_test.c's. */
#include "coord/consumer_testing.h"

#include <stdio.h>

static void wrote(const struct world *w, const int16_t *types, size_t count)
{
    assert_int_equal(w->t.records.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(w->t.records.items[i].type, types[i]);
}

static void test_one_member(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct uuid id = add_topic(&w, STR("t"), 3);
    struct coord_consumer_heartbeat h = join(STR("a"), &STR("t"), 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    static const int16_t types[] = {5, 3, 7, 6, 8};
    wrote(&w, types, ARRAY_LEN(types));
    assert_int_equal(h.answer_epoch, 2); /* a group's first epoch is 1, as in Kafka */
    assert_int_equal(h.heartbeat_interval_ms, 5000);
    assert_true(str_eq(h.answer_member_id, STR("a")));
    assert_int_equal(assigned(&h), 3);
    assert_true(assignment_has(h.assignment, id, 2));
    struct assignment owned = *h.assignment;
    h = beat(STR("a"), 2, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(w.t.records.count, 0);
    assert_null(h.assignment);
    h = beat(STR("a"), 2, &owned);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(w.t.records.count, 0);
    check_reload(&w);
    h = beat(STR("a"), -1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    static const int16_t gone[] = {8, 7, 5, 3};
    wrote(&w, gone, ARRAY_LEN(gone));
    assert_int_equal(h.answer_epoch, -1);
    assert_string_equal(consumer_state_name(group_of(&w)), "Empty");
    check_reload(&w);
    test_end(&w.t);
}

/* The second gets its share only when the first has given it back. */
static void test_handover(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct uuid id = add_topic(&w, STR("t"), 4);
    struct coord_consumer_heartbeat a = join(STR("a"), &STR("t"), 1);
    assert_int_equal(send_beat(&w, &a), ERR_OK);
    struct assignment all = *a.assignment;
    struct coord_consumer_heartbeat b = join(STR("b"), &STR("t"), 1);
    assert_int_equal(send_beat(&w, &b), ERR_OK);
    assert_int_equal(assigned(&b), 0);
    assert_non_null(b.assignment); /* told, though there is nothing yet */
    assert_true(b.heartbeat_interval_ms < 5000);
    assert_string_equal(consumer_state_name(group_of(&w)), "Reconciling");
    a = beat(STR("a"), 2, NULL);
    assert_int_equal(send_beat(&w, &a), ERR_OK);
    assert_int_equal(assigned(&a), 2);
    assert_int_equal(a.answer_epoch, 2); /* until it has given back */
    struct assignment half = *a.assignment;
    a = beat(STR("a"), 2, &all); /* not yet */
    assert_int_equal(send_beat(&w, &a), ERR_OK);
    assert_int_equal(a.answer_epoch, 2);
    b = beat(STR("b"), 3, &assignment_empty);
    assert_int_equal(send_beat(&w, &b), ERR_OK);
    assert_null(b.assignment);
    check_reload(&w);
    a = beat(STR("a"), 2, &half);
    assert_int_equal(send_beat(&w, &a), ERR_OK);
    assert_int_equal(a.answer_epoch, 3);
    b = beat(STR("b"), 3, &assignment_empty);
    assert_int_equal(send_beat(&w, &b), ERR_OK);
    assert_int_equal(assigned(&b), 2);
    for (int32_t p = 0; p < 4; p++)
        assert_int_equal(assignment_has(&half, id, p), !assignment_has(b.assignment, id, p));
    assert_string_equal(consumer_state_name(group_of(&w)), "Stable");
    check_reload(&w);
    test_end(&w.t);
}

static void test_refused_requests(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 1);
    struct coord_consumer_heartbeat h;
    h = join(STR(" "), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = join(STR("a"), &t, 1);
    h.group_id = STR("");
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = join(STR("a"), &t, 1);
    h.instance_id = STR("");
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = join(STR("a"), &t, 1);
    h.rack_id = STR("");
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = join(STR("a"), &t, 1);
    h.rebalance_timeout_ms = -1;
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = join(STR("a"), &t, 1);
    h.owned = NULL;
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = join(STR("a"), &t, -1);
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = join(STR("a"), &t, 1);
    h.assignor = STR("nope");
    assert_int_equal(send_beat(&w, &h), ERR_UNSUPPORTED_ASSIGNOR);
    assert_true(str_eq(h.message, STR("ServerAssignor nope is not supported. Supported "
                                      "assignors: uniform, range.")));
    h = join(STR("a"), NULL, -1);
    h.regex = STR("(a");
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REGULAR_EXPRESSION);
    assert_true(str_eq(h.message, STR("SubscribedTopicRegex `(a` is not a valid regular "
                                      "expression: missing closing ).")));
    h = beat(STR("a"), -2, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = beat(STR("a"), -3, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_INVALID_REQUEST);
    h = beat(STR("a"), 1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_GROUP_ID_NOT_FOUND);
    h = beat(STR("a"), -1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_GROUP_ID_NOT_FOUND);
    assert_null(group_find(w.t.coord, STR("g")));
    assert_int_equal(w.t.log_count, 0);
    test_end(&w.t);
}

static void test_fencing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    struct uuid id = add_topic(&w, t, 2);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    struct assignment first = *h.assignment;
    h = beat(STR("x"), 2, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_UNKNOWN_MEMBER_ID);
    h = beat(STR("x"), -1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_UNKNOWN_MEMBER_ID);
    h = beat(STR("a"), 3, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_FENCED_MEMBER_EPOCH);
    h = beat(STR("a"), 1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_FENCED_MEMBER_EPOCH);
    /* The topic grows, the answer is lost, and the member speaks with its old epoch. */
    w.topics[0].partition_count = 3;
    w.version++;
    h = beat(STR("a"), 2, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(h.answer_epoch, 3);
    assert_int_equal(assigned(&h), 3);
    h = beat(STR("a"), 2, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_FENCED_MEMBER_EPOCH);
    int32_t numbers[] = {0, 1, 2, 3};
    struct topic_partitions more = {id, 4, numbers, NULL};
    struct assignment too_much = {1, &more};
    h = beat(STR("a"), 2, &too_much);
    assert_int_equal(send_beat(&w, &h), ERR_FENCED_MEMBER_EPOCH);
    h = beat(STR("a"), 2, &first);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(h.answer_epoch, 3);
    /* It joins again, having lost all: it gets all of it told. */
    h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 3);
    w.t.config.consumer.group_size_max = 1;
    h = join(STR("b"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_GROUP_MAX_SIZE_REACHED);
    h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    test_end(&w.t);
}

static void test_static_members(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 4);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    h.instance_id = STR("i");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    h = join(STR("b"), &t, 1);
    h.instance_id = STR("i");
    assert_int_equal(send_beat(&w, &h), ERR_UNRELEASED_INSTANCE_ID);
    h = beat(STR("b"), 2, NULL);
    h.instance_id = STR("i");
    assert_int_equal(send_beat(&w, &h), ERR_FENCED_INSTANCE_ID);
    h = beat(STR("a"), 2, NULL);
    h.instance_id = STR("j");
    assert_int_equal(send_beat(&w, &h), ERR_UNKNOWN_MEMBER_ID);
    h = beat(STR("a"), -2, NULL);
    h.instance_id = STR("i");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    static const int16_t left[] = {8};
    wrote(&w, left, 1);
    assert_int_equal(h.answer_epoch, -2);
    check_reload(&w);
    /* Back under another member id: it has what it had, and nobody else hears of it. */
    h = join(STR("c"), &t, 1);
    h.instance_id = STR("i");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 4);
    assert_int_equal(h.answer_epoch, 2);
    assert_int_equal(group_of(&w)->epoch, 2);
    assert_int_equal(group_of(&w)->member_count, 1);
    check_reload(&w);
    h = beat(STR("a"), 2, NULL);
    h.instance_id = STR("i");
    assert_int_equal(send_beat(&w, &h), ERR_FENCED_INSTANCE_ID);
    /* Away for longer than its session. */
    h = beat(STR("c"), -2, NULL);
    h.instance_id = STR("i");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    test_pass(&w.t, 45001);
    assert_int_equal(group_of(&w)->member_count, 0);
    check_reload(&w);
    test_end(&w.t);
}

static void test_timeouts(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 2);
    w.session_timeout_ms = 50000; /* the group's own */
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    test_pass(&w.t, 49000);
    h = beat(STR("a"), 2, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    test_pass(&w.t, 49999);
    assert_int_equal(group_of(&w)->member_count, 1);
    test_pass(&w.t, 2);
    assert_int_equal(group_of(&w)->member_count, 0);
    /* One that does not give back goes, and the one that waits gets it. */
    h = join(STR("a"), &t, 1);
    h.rebalance_timeout_ms = 7000;
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    struct assignment all = *h.assignment;
    int32_t epoch = h.answer_epoch;
    h = join(STR("b"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    int32_t b_epoch = h.answer_epoch;
    h = beat(STR("a"), epoch, &all);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    test_pass(&w.t, 6999);
    assert_int_equal(group_of(&w)->member_count, 2);
    check_reload(&w);
    test_pass(&w.t, 7001); /* its time begins anew with the coordinator */
    assert_int_equal(group_of(&w)->member_count, 1);
    h = beat(STR("a"), epoch, &all);
    assert_int_equal(send_beat(&w, &h), ERR_UNKNOWN_MEMBER_ID);
    h = beat(STR("b"), b_epoch, &assignment_empty);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 2);
    test_end(&w.t);
}

static void test_assignment_interval(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.t.config.consumer.assignment_interval_ms = 1000;
    w.t.config.consumer.assignment_interval_is_set = true;
    struct str t = STR("t");
    add_topic(&w, t, 2);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    h = join(STR("b"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_string_equal(consumer_state_name(group_of(&w)), "Assigning");
    test_pass(&w.t, 999);
    assert_string_equal(consumer_state_name(group_of(&w)), "Assigning");
    test_pass(&w.t, 1);
    assert_string_equal(consumer_state_name(group_of(&w)), "Reconciling");
    check_reload(&w);
    /* Where nobody set it, three members wait for three milliseconds. */
    w.t.config.consumer.assignment_interval_is_set = false;
    test_pass(&w.t, 3);
    h = join(STR("c"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    h = join(STR("d"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_string_equal(consumer_state_name(group_of(&w)), "Assigning");
    test_pass(&w.t, 4);
    assert_string_equal(consumer_state_name(group_of(&w)), "Reconciling");
    test_end(&w.t);
}

static void test_topics_come_and_go(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str names[] = {STR("u"), STR("t"), STR("u")};
    struct coord_consumer_heartbeat h = join(STR("a"), names, 3);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 0); /* none is there yet */
    add_topic(&w, STR("t"), 2);
    h = beat(STR("a"), h.answer_epoch, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 2);
    struct assignment owned = *h.assignment;
    add_topic(&w, STR("other"), 2);
    h = beat(STR("a"), h.answer_epoch, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(w.t.records.count, 0);
    add_topic(&w, STR("u"), 3);
    remove_topic(&w, STR("t"));
    h = beat(STR("a"), h.answer_epoch, &owned);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 0); /* gives back first */
    h = beat(STR("a"), h.answer_epoch, &assignment_empty);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 3);
    check_reload(&w);
    /* It does not want u any more. */
    owned = *h.assignment;
    h = beat(STR("a"), h.answer_epoch, &owned);
    h.topics = names;
    h.topics_len = 0;
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    h = beat(STR("a"), h.answer_epoch, &assignment_empty);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(group_of(&w)->topic_count, 0);
    assert_null(consumer_owner(group_of(&w), w.topics[0].id, 0));
    check_reload(&w);
    test_end(&w.t);
}

static void test_regex(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    add_topic(&w, STR("foo-1"), 2);
    add_topic(&w, STR("bar"), 2);
    struct coord_consumer_heartbeat h = join(STR("a"), NULL, -1);
    h.regex = STR("foo.*");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    static const int16_t types[] = {5, 16, 3, 7, 6, 8};
    wrote(&w, types, ARRAY_LEN(types));
    assert_int_equal(assigned(&h), 2);
    check_reload(&w);
    add_topic(&w, STR("foo-2"), 1);
    test_pass(&w.t, 10000);
    h = beat(STR("a"), h.answer_epoch, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 3);
    struct assignment owned = *h.assignment;
    /* A name and an expression that overlap. */
    struct coord_consumer_heartbeat b = join(STR("b"), &STR("foo-1"), 1);
    b.regex = STR("foo.*");
    assert_int_equal(send_beat(&w, &b), ERR_OK);
    assert_int_equal(group_of(&w)->regex_count, 1);
    h = beat(STR("a"), h.answer_epoch, &owned);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    check_reload(&w);
    /* Another expression; then both leave, and nothing of either is left. */
    h = beat(STR("a"), h.answer_epoch, h.assignment);
    h.regex = STR("bar");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(group_of(&w)->regex_count, 2);
    h = beat(STR("a"), -1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    b = beat(STR("b"), -1, NULL);
    assert_int_equal(send_beat(&w, &b), ERR_OK);
    assert_int_equal(group_of(&w)->regex_count, 0);
    assert_int_equal(group_of(&w)->topic_count, 0);
    check_reload(&w);
    test_end(&w.t);
}

static void test_offsets(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    struct uuid id = add_topic(&w, t, 2);
    struct coord_consumer_heartbeat a = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &a), ERR_OK);
    struct assignment all = *a.assignment;
    struct coord_offset partition = {.partition = 1, .offset = 7, .metadata = STR("")};
    struct coord_offset_topic topic = {t, id, &partition, 1};
    struct {
        int32_t epoch;
        int16_t version;
        struct str member_id;
        enum err err;
    } cases[] = {
        {2, 9, STR("a"), ERR_OK},
        {2, 8, STR("a"), ERR_UNSUPPORTED_VERSION},
        {3, 9, STR("a"), ERR_STALE_MEMBER_EPOCH},
        {1, 9, STR("a"), ERR_STALE_MEMBER_EPOCH},
        {2, 9, STR("b"), ERR_UNKNOWN_MEMBER_ID},
        {-1, 9, STR(""), ERR_UNKNOWN_MEMBER_ID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct coord_offset_commit commit = {.op = {.arena = &w.t.arena},
                                             .group_id = STR("g"),
                                             .generation = cases[i].epoch,
                                             .member_id = cases[i].member_id,
                                             .retention_ms = -1,
                                             .api_version = cases[i].version,
                                             .topics = &topic,
                                             .topic_count = 1};
        coord_offset_commit(w.t.coord, test_call(&w.t), &commit);
        test_commit(&w.t);
        assert_ptr_equal(test_done(&w.t), &commit.op);
        assert_int_equal(commit.op.err, cases[i].err);
    }
    /* It is one epoch on, and commits what it read at the last: of what it has had since. */
    struct coord_consumer_heartbeat b = join(STR("b"), &t, 1);
    assert_int_equal(send_beat(&w, &b), ERR_OK);
    a = beat(STR("a"), 2, &all);
    assert_int_equal(send_beat(&w, &a), ERR_OK);
    a = beat(STR("a"), 2, a.assignment);
    assert_int_equal(send_beat(&w, &a), ERR_OK);
    assert_int_equal(a.answer_epoch, 3);
    int32_t kept =
        consumer_owner(group_of(&w), id, 0) == consumer_member_find(group_of(&w), STR("a")) ? 0 : 1;
    for (int32_t p = 0; p < 2; p++) {
        partition.partition = p;
        struct coord_offset_commit commit = {.op = {.arena = &w.t.arena},
                                             .group_id = STR("g"),
                                             .generation = 2,
                                             .member_id = STR("a"),
                                             .retention_ms = -1,
                                             .api_version = 9,
                                             .topics = &topic,
                                             .topic_count = 1};
        coord_offset_commit(w.t.coord, test_call(&w.t), &commit);
        test_commit(&w.t);
        assert_ptr_equal(test_done(&w.t), &commit.op);
        assert_int_equal(commit.op.err, p == kept ? ERR_OK : ERR_STALE_MEMBER_EPOCH);
    }
    struct {
        int32_t epoch;
        struct str member_id;
        enum err err;
    } fetches[] = {
        {-1, STR_NULL, ERR_OK},
        {3, STR("a"), ERR_OK},
        {2, STR("a"), ERR_STALE_MEMBER_EPOCH},
        {3, STR("x"), ERR_UNKNOWN_MEMBER_ID},
    };
    for (size_t i = 0; i < ARRAY_LEN(fetches); i++) {
        struct coord_offset_fetch fetch = {.op = {.arena = &w.t.arena},
                                           .group_id = STR("g"),
                                           .member_id = fetches[i].member_id,
                                           .member_epoch = fetches[i].epoch,
                                           .topics = &topic,
                                           .topic_count = 1};
        coord_offset_fetch(w.t.coord, test_call(&w.t), &fetch);
        assert_ptr_equal(test_done(&w.t), &fetch.op);
        assert_int_equal(fetch.op.err, fetches[i].err);
    }
    test_end(&w.t);
}

static void test_describe(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 2);
    struct coord_consumer_describe d = {.op = {.arena = &w.t.arena}, .group_id = STR("g")};
    coord_consumer_describe(w.t.coord, test_call(&w.t), &d);
    assert_ptr_equal(test_done(&w.t), &d.op);
    assert_int_equal(d.op.err, ERR_GROUP_ID_NOT_FOUND);
    assert_true(str_eq(d.message, STR("Group g not found.")));
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    h.assignor = STR("range");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    coord_consumer_describe(w.t.coord, test_call(&w.t), &d);
    assert_ptr_equal(test_done(&w.t), &d.op);
    assert_int_equal(d.op.err, ERR_OK);
    assert_true(str_eq(d.state, STR("Stable")));
    assert_true(str_eq(d.assignor, STR("range")));
    assert_int_equal(d.epoch, 2);
    assert_int_equal(d.member_count, 1);
    assert_int_equal(d.members[0].assigned[0].count, 2);
    assert_int_equal(d.members[0].target[0].count, 2);
    assert_true(str_eq(d.members[0].client_host, STR("/1.2.3.4")));
    test_end(&w.t);
}

/* --- both protocols --- */

static struct slice subscription(struct world *w, struct str topic, const struct assignment *owned)
{
    struct consumer_protocol_subscription value = {0};
    struct consumer_protocol_subscription_owned_partition part = {0};
    struct buf bytes;
    codec_init(&consumer_protocol_subscription_schema, &value);
    value.topics = &topic;
    value.topics_len = 1;
    if (owned && owned->count > 0) {
        part.topic = topic;
        part.partitions = (int32_t *)(uintptr_t)owned->topics[0].partitions;
        part.partitions_len = (int32_t)owned->topics[0].count;
        value.owned_partitions = &part;
        value.owned_partitions_len = 1;
    }
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_put_be16(&bytes, 1);
    assert_int_equal(codec_encode(&consumer_protocol_subscription_schema, 1, &value, &bytes, NULL),
                     ERR_OK);
    struct slice copy = arena_slice(&w->t.arena, buf_slice(&bytes));
    buf_deinit(&bytes);
    return copy;
}

/* The partitions of the one topic; how many there are, in *count. */
static const int32_t *partitions_of(struct world *w, struct slice bytes, size_t *count)
{
    struct consumer_protocol_assignment value;
    size_t used;
    *count = 0;
    if (bytes.len == 0)
        return NULL;
    assert_int_equal(codec_decode(&consumer_protocol_assignment_schema, 1,
                                  slice_of(bytes.data + 2, bytes.len - 2), &used, &w->t.arena,
                                  &value, NULL),
                     ERR_OK);
    if (value.assigned_partitions_len == 0)
        return NULL;
    *count = (size_t)value.assigned_partitions[0].partitions_len;
    return value.assigned_partitions[0].partitions;
}

static struct coord_join *classic_join(struct world *w, struct str member_id, struct slice metadata)
{
    struct coord_join *join_op = arena_zalloc(&w->t.arena, sizeof(*join_op));
    struct coord_protocol *protocol = arena_zalloc(&w->t.arena, sizeof(*protocol));
    assert_non_null(join_op);
    assert_non_null(protocol);
    *protocol = (struct coord_protocol){STR("range"), metadata};
    *join_op = (struct coord_join){
        .op = {.arena = &w->t.arena, .client_id = STR("old"), .client_host = STR("/1.2.3.5")},
        .group_id = STR("g"),
        .session_timeout_ms = 10000,
        .rebalance_timeout_ms = 20000,
        .member_id = member_id,
        .protocol_type = STR("consumer"),
        .protocols = protocol,
        .protocol_count = 1};
    coord_join(w->t.coord, test_call(&w->t), join_op);
    test_commit(&w->t);
    return join_op;
}

/* One that is answered at once, and well. */
static struct coord_join *classic_rejoin(struct world *w, struct str member_id,
                                         struct slice metadata)
{
    struct coord_join *join_op = classic_join(w, member_id, metadata);
    assert_ptr_equal(test_done(&w->t), &join_op->op);
    assert_int_equal(join_op->op.err, ERR_OK);
    return join_op;
}

static enum err classic_sync(struct world *w, struct str member_id, int32_t generation,
                             struct slice *assignment)
{
    struct coord_assignment own = {member_id, *assignment};
    struct coord_sync sync = {.op = {.arena = &w->t.arena},
                              .group_id = STR("g"),
                              .generation = generation,
                              .member_id = member_id,
                              .assignments = &own,
                              .assignment_count = assignment->len > 0};
    coord_sync(w->t.coord, test_call(&w->t), &sync);
    test_commit(&w->t);
    assert_ptr_equal(test_done(&w->t), &sync.op);
    *assignment = sync.assignment;
    return sync.op.err;
}

static enum err classic_beat(struct world *w, struct str member_id, int32_t generation)
{
    struct coord_heartbeat heartbeat = {.op = {.arena = &w->t.arena},
                                        .group_id = STR("g"),
                                        .generation = generation,
                                        .member_id = member_id};
    coord_heartbeat(w->t.coord, test_call(&w->t), &heartbeat);
    test_commit(&w->t);
    assert_ptr_equal(test_done(&w->t), &heartbeat.op);
    return heartbeat.op.err;
}

/* A classic group of one, which is given so many partitions of t. */
static struct str classic_group_of(struct world *w, struct slice metadata, int32_t partitions,
                                   int32_t *generation)
{
    struct consumer_protocol_assignment all = {0};
    struct consumer_protocol_assignment_assigned_partition part = {0};
    int32_t numbers[] = {0, 1, 2, 3};
    struct buf bytes;
    struct coord_join *join_op = classic_join(w, STR(""), metadata);
    test_pass(&w->t, 5000);
    assert_ptr_equal(test_done(&w->t), &join_op->op);
    assert_int_equal(join_op->op.err, ERR_OK);
    part.topic = STR("t");
    part.partitions = numbers;
    part.partitions_len = partitions;
    all.assigned_partitions = &part;
    all.assigned_partitions_len = 1;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_put_be16(&bytes, 1);
    assert_int_equal(codec_encode(&consumer_protocol_assignment_schema, 1, &all, &bytes, NULL),
                     ERR_OK);
    struct slice assignment = arena_slice(&w->t.arena, buf_slice(&bytes));
    buf_deinit(&bytes);
    assert_int_equal(classic_sync(w, join_op->given_member_id, join_op->generation, &assignment),
                     ERR_OK);
    *generation = join_op->generation;
    return join_op->given_member_id;
}

/* It has all four. */
static struct str classic_group(struct world *w, int32_t *generation)
{
    return classic_group_of(w, subscription(w, STR("t"), NULL), 4, generation);
}

static void test_upgrade_and_downgrade(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    struct uuid id = add_topic(&w, t, 4);
    int32_t generation;
    struct str old = classic_group(&w, &generation);
    assert_int_equal(classic_beat(&w, old, generation), ERR_OK);
    /* The first of the new protocol. */
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 0);
    assert_non_null(group_of(&w));
    assert_int_equal(group_of(&w)->member_count, 2);
    assert_int_equal(group_of(&w)->classic_count, 1);
    check_reload(&w);
    int32_t epoch = h.answer_epoch;
    /* The old one is told to join again, gives back, and joins once more. */
    assert_int_equal(classic_beat(&w, old, generation), ERR_REBALANCE_IN_PROGRESS);
    int32_t all_numbers[] = {0, 1, 2, 3};
    struct topic_partitions all_of_t = {id, 4, all_numbers, NULL};
    struct assignment owned = {1, &all_of_t};
    struct coord_join *again = classic_rejoin(&w, old, subscription(&w, t, &owned));
    struct slice bytes = SLICE_NULL;
    size_t count;
    assert_int_equal(classic_sync(&w, old, again->generation, &bytes), ERR_OK);
    const int32_t *numbers = partitions_of(&w, bytes, &count);
    assert_int_equal(count, 2);
    assert_int_equal(classic_beat(&w, old, again->generation), ERR_REBALANCE_IN_PROGRESS);
    struct topic_partitions kept = {id, 2, numbers, NULL};
    owned = (struct assignment){1, &kept};
    again = classic_rejoin(&w, old, subscription(&w, t, &owned));
    assert_int_equal(again->generation, epoch);
    bytes = SLICE_NULL;
    assert_int_equal(classic_sync(&w, old, again->generation + 1, &bytes), ERR_ILLEGAL_GENERATION);
    assert_int_equal(classic_sync(&w, old, again->generation, &bytes), ERR_OK);
    assert_int_equal(classic_beat(&w, old, again->generation), ERR_OK);
    h = beat(STR("a"), epoch, &assignment_empty);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 2);
    assert_string_equal(consumer_state_name(group_of(&w)), "Stable");
    check_reload(&w);
    assert_int_equal(classic_beat(&w, STR("a"), epoch), ERR_UNKNOWN_MEMBER_ID);
    /* The last of the new protocol goes: a classic group that rebalances. */
    h = beat(STR("a"), -1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    const struct group *group = group_find(w.t.coord, STR("g"));
    assert_null(group->consumer);
    assert_int_equal(classic_state(group), CLASSIC_PREPARING);
    assert_int_equal(group->classic.member_count, 1);
    again = classic_rejoin(&w, old, subscription(&w, t, NULL));
    assert_true(str_eq(again->leader, old));
    test_reload(&w.t);
    while (test_done(&w.t))
        ;
    group = group_find(w.t.coord, STR("g"));
    assert_null(group->consumer);
    assert_int_equal(group->classic.member_count, 1);
    test_end(&w.t);
}

/* Its leader wants a cooperative member to give something back, and the group becomes a consumer
 * group before it does: nobody else gets that yet. */
static void test_upgrade_before_giving_back(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    struct uuid id = add_topic(&w, t, 4);
    int32_t generation;
    int32_t numbers[] = {1, 3};
    struct topic_partitions odd_of_t = {id, 2, numbers, NULL};
    struct assignment owned = {1, &odd_of_t};
    struct str old = classic_group_of(&w, subscription(&w, t, &owned), 2, &generation);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    const struct consumer_member *member = consumer_member_find(group_of(&w), old);
    assert_int_equal(assignment_partition_count(member->assigned), 3); /* 0, 1 and 3 */
    assert_ptr_equal(consumer_owner(group_of(&w), id, 3), member);
    check_reload(&w);
    test_end(&w.t);
}

/* A group changes its kind twice while a member has not given back yet what it must: that is still
 * its own. And a crash in between does not forget the rebalance. */
static void test_downgrade_while_giving_back(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    struct uuid id = add_topic(&w, t, 4);
    int32_t generation;
    struct str old = classic_group(&w, &generation);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    int32_t numbers[] = {0, 1, 2, 3};
    struct topic_partitions all_of_t = {id, 4, numbers, NULL};
    struct assignment owned = {1, &all_of_t};
    (void)classic_rejoin(&w, old, subscription(&w, t, &owned));
    assert_int_equal(consumer_member_find(group_of(&w), old)->state, CONSUMER_UNREVOKED);
    h = beat(STR("a"), -1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(classic_state(group_find(w.t.coord, STR("g"))), CLASSIC_PREPARING);
    test_reload(&w.t);
    while (test_done(&w.t))
        ;
    assert_int_equal(classic_state(group_find(w.t.coord, STR("g"))), CLASSIC_PREPARING);
    h = join(STR("b"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(group_of(&w)->member_count, 2);
    assert_int_equal(assigned(&h), 0);
    for (int32_t i = 0; i < 4; i++)
        assert_ptr_equal(consumer_owner(group_of(&w), id, i),
                         consumer_member_find(group_of(&w), old));
    check_reload(&w);
    test_end(&w.t);
}

/* A heartbeat whose answer waits for news, in a group that becomes a consumer group. */
static void test_upgrade_with_news(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 4);
    struct coord_heartbeat held = {
        .op = {.arena = &w.t.arena}, .group_id = STR("g"), .may_wait = true};
    held.member_id = classic_group(&w, &held.generation);
    coord_heartbeat(w.t.coord, test_call(&w.t), &held);
    test_commit(&w.t);
    assert_null(test_done(&w.t));
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    h.op.arena = &w.t.arena;
    h.op.client_host = STR("/1.2.3.4");
    coord_consumer_heartbeat(w.t.coord, test_call(&w.t), &h);
    test_commit(&w.t);
    assert_ptr_equal(test_done(&w.t), &held.op);
    assert_int_equal(held.op.err, ERR_REBALANCE_IN_PROGRESS);
    assert_ptr_equal(test_done(&w.t), &h.op);
    assert_int_equal(h.op.err, ERR_OK);
    test_end(&w.t);
}

static void test_upgrade_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 4);
    int32_t generation;
    struct str old = classic_group(&w, &generation);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    w.t.config.consumer.allows_upgrade = false;
    assert_int_equal(send_beat(&w, &h), ERR_GROUP_ID_NOT_FOUND);
    w.t.config.consumer.allows_upgrade = true;
    w.t.config.consumer.group_size_max = 0;
    h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(classic_beat(&w, old, generation), ERR_OK);
    test_end(&w.t);
}

/* What has no room in a record is refused before anything is written, and a group that has no room
 * in a classic group's record stays a consumer group. */
static void test_too_large(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 4);
    int32_t generation;
    struct str old = classic_group(&w, &generation);
    struct str topics[100];
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        topics[i] = arena_printf(&w.t.arena, "topic-%zu", i);
    w.t.batch_bytes_max = 20;
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_GROUP_ID_NOT_FOUND);
    w.t.batch_bytes_max = 800;
    h = join(STR("a"), topics, ARRAY_LEN(topics));
    assert_int_equal(send_beat(&w, &h), ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w.t.records.count, 0);
    assert_int_equal(w.t.records.err, ERR_OK);
    assert_null(group_find(w.t.coord, STR("g"))->consumer);
    assert_int_equal(classic_beat(&w, old, generation), ERR_OK);
    h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    h = beat(STR("a"), h.answer_epoch, NULL);
    h.topics = topics;
    h.topics_len = ARRAY_LEN(topics);
    assert_int_equal(send_beat(&w, &h), ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w.t.records.count, 0);
    w.t.batch_bytes_max = 100;
    h = beat(STR("a"), -1, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_non_null(group_of(&w));
    assert_int_equal(group_of(&w)->member_count, 1);
    check_reload(&w);
    test_end(&w.t);
}

/* A classic member that is told to join and does not, and one that joins and does not sync. */
static void test_classic_timeouts(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.t.config.consumer.allows_downgrade = false;
    struct str t = STR("t");
    add_topic(&w, t, 4);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    struct coord_join *join_op = classic_join(&w, STR(""), slice_of("x", 1));
    assert_ptr_equal(test_done(&w.t), &join_op->op);
    assert_int_equal(join_op->op.err, ERR_INCONSISTENT_GROUP_PROTOCOL);
    join_op = classic_join(&w, STR(""), subscription(&w, t, NULL));
    assert_ptr_equal(test_done(&w.t), &join_op->op);
    assert_int_equal(join_op->op.err, ERR_OK);
    assert_int_equal(group_of(&w)->member_count, 2);
    check_reload(&w);
    join_op = classic_join(&w, join_op->given_member_id, subscription(&w, t, NULL));
    assert_ptr_equal(test_done(&w.t), &join_op->op);
    for (int i = 0; i < 5; i++) { /* it is alive, and never syncs */
        test_pass(&w.t, 4000);
        (void)classic_beat(&w, join_op->given_member_id, join_op->generation);
    }
    test_pass(&w.t, 1);
    assert_int_equal(group_of(&w)->member_count, 1);
    check_reload(&w);
    test_end(&w.t);
}

/* --- records that nobody should have written --- */

static void test_foreign_records(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct uuid id = add_topic(&w, STR("t"), 2);
    struct consumer_group_current_member_assignment_key key = {STR("g"), STR("a")};
    struct consumer_group_current_member_assignment_value value = {0};
    struct consumer_group_current_member_assignment_value_topic_partitions list = {0};
    int32_t numbers[] = {1, 0, 1};
    int32_t epochs[] = {5};
    list.topic_id = id;
    list.partitions = numbers;
    list.partitions_len = 3;
    list.assignment_epochs = epochs;
    list.assignment_epochs_len = 1; /* does not fit: the member's epoch counts */
    value.assigned_partitions = &list;
    value.assigned_partitions_len = 1;
    value.member_epoch = 4;
    value.state = 99;
    struct coord_record record = {
        .type = COORD_CONSUMER_GROUP_CURRENT_MEMBER, .key = &key, .value = &value};
    assert_int_equal(coord_replay(w.t.coord, &record), ERR_OK);
    const struct consumer_member *member = consumer_member_find(group_of(&w), STR("a"));
    assert_int_equal(member->assigned->topics[0].count, 2);
    assert_int_equal(member->assigned->topics[0].epochs[0], 4);
    assert_int_equal(member->state, CONSUMER_UNKNOWN);
    struct coord_consumer_heartbeat h = beat(STR("a"), 4, NULL);
    assert_int_equal(send_beat(&w, &h), ERR_FENCED_MEMBER_EPOCH);
    numbers[0] = -1;
    assert_int_equal(coord_replay(w.t.coord, &record), ERR_MALFORMED);
    numbers[0] = INT32_MAX;
    assert_int_equal(coord_replay(w.t.coord, &record), ERR_MALFORMED);
    /* A tombstone of what was never there makes nothing. */
    key.group_id = STR("nobody");
    record.value = NULL;
    assert_int_equal(coord_replay(w.t.coord, &record), ERR_OK);
    assert_null(group_find(w.t.coord, STR("nobody")));
    test_end(&w.t);
}

/* --- a group whose targets are more than a batch --- */

#define CROWD 2000

struct crowd_member {
    char id[8];
    int32_t epoch;
    struct assignment owned;
};

static struct str crowd_id(struct crowd_member *m)
{
    return (struct str){m->id, strlen(m->id)};
}

static void crowd_beat(struct world *w, struct crowd_member *m)
{
    struct str t = STR("t");
    struct coord_consumer_heartbeat h =
        m->epoch == 0 ? join(crowd_id(m), &t, 1) : beat(crowd_id(m), m->epoch, &m->owned);
    if (m->epoch == 0)
        h.assignor = STR("range");
    enum err err = send_beat(w, &h);
    assert_true(err == ERR_OK || err == ERR_UNKNOWN_MEMBER_ID || err == ERR_FENCED_MEMBER_EPOCH);
    m->epoch = err == ERR_OK ? h.answer_epoch : 0;
    if (err != ERR_OK)
        m->owned = assignment_empty;
    else if (h.assignment)
        m->owned = *h.assignment;
}

/* Who has what: no partition twice; the number of those that somebody has. */
static size_t crowd_owned(const struct crowd_member *members)
{
    bool *is_owned = calloc(CROWD, sizeof(*is_owned));
    size_t count = 0;
    assert_non_null(is_owned);
    for (size_t i = 0; i < CROWD; i++) {
        for (size_t t = 0; t < members[i].owned.count; t++) {
            for (uint32_t p = 0; p < members[i].owned.topics[t].count; p++) {
                int32_t partition = members[i].owned.topics[t].partitions[p];
                assert_false(is_owned[partition]);
                is_owned[partition] = true;
                count++;
            }
        }
    }
    free(is_owned);
    return count;
}

/* All change at once. The records may be in several batches, and a log that ends within them makes
 * a group that comes to rest as well. */
static void test_crowd(void **state)
{
    (void)state;
    struct world w;
    struct crowd_member *members = calloc(CROWD, sizeof(*members));
    assert_non_null(members);
    /* What is lost: everything from the n-th record on, of those after the first ones. */
    static const size_t kept[] = {0, 1, CROWD / 2, CROWD - 1, CROWD};
    for (size_t k = 0; k < ARRAY_LEN(kept); k++) {
        world_init(&w);
        w.t.config.consumer.assignment_interval_ms = 15000;
        w.t.config.consumer.assignment_interval_is_set = true;
        add_topic(&w, STR("t"), CROWD);
        for (size_t i = 0; i < CROWD; i++) {
            members[i] = (struct crowd_member){.epoch = 0};
            snprintf(members[i].id, sizeof(members[i].id), "m%04zu", i);
            crowd_beat(&w, &members[i]);
        }
        w.t.now_ms += 15000;
        w.t.wall_ms += 15000;
        coord_tick(w.t.coord, test_call(&w.t));
        assert_true(w.t.records.may_split);
        size_t first = w.t.records.whole_count;
        assert_true(first < 4);
        assert_true(w.t.records.count >= first + CROWD + 1);
        w.t.records.count = first + kept[k];
        test_commit(&w.t);
        test_reload(&w.t);
        for (int round = 0; round < 4; round++) {
            for (size_t i = 0; i < CROWD; i++)
                crowd_beat(&w, &members[i]);
            (void)crowd_owned(members);
            test_pass(&w.t, 15000);
        }
        assert_int_equal(crowd_owned(members), CROWD);
        assert_string_equal(consumer_state_name(group_of(&w)), "Stable");
        test_end(&w.t);
    }
    free(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_member),
        cmocka_unit_test(test_handover),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_fencing),
        cmocka_unit_test(test_static_members),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_assignment_interval),
        cmocka_unit_test(test_topics_come_and_go),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_upgrade_and_downgrade),
        cmocka_unit_test(test_upgrade_before_giving_back),
        cmocka_unit_test(test_downgrade_while_giving_back),
        cmocka_unit_test(test_upgrade_with_news),
        cmocka_unit_test(test_upgrade_refused),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_classic_timeouts),
        cmocka_unit_test(test_foreign_records),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
