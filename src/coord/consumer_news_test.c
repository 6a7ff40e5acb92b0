/* Goal: an answer without news waits for some, never longer than the client bears, and leaves at
 * once when there is some. Method: heartbeats by hand while time passes. */
#include "coord/consumer_testing.h"

static void test_news(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 4);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    struct assignment all = *h.assignment;
    /* It has not said that it has what it was given: it may want to. */
    struct coord_consumer_heartbeat *a =
        begin_beat(&w, beat(STR("a"), 2, NULL), COORD_PATIENCE_INTERVAL);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(a->heartbeat_interval_ms, 2000);
    a = begin_beat(&w, beat(STR("a"), 2, &all), COORD_PATIENCE_INTERVAL);
    assert_true(waits_for_news(a));
    test_pass(&w.t, 1897);
    assert_true(waits_for_news(a));
    test_pass(&w.t, 1);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(a->op.err, ERR_OK);
    assert_int_equal(a->answer_epoch, 2);
    /* Its client wants to say something else; has gone; speaks again on another connection. */
    a = begin_beat(&w, beat(STR("a"), 2, NULL), COORD_PATIENCE_INTERVAL);
    coord_yield(&a->op, &w.t.done);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(a->op.err, ERR_OK);
    a = begin_beat(&w, beat(STR("a"), 2, NULL), COORD_PATIENCE_INTERVAL);
    coord_forget(&a->op, &w.t.done);
    assert_ptr_equal(test_done(&w.t), &a->op);
    a = begin_beat(&w, beat(STR("a"), 2, NULL), COORD_PATIENCE_REQUEST);
    struct coord_consumer_heartbeat *later =
        begin_beat(&w, beat(STR("a"), 2, NULL), COORD_PATIENCE_REQUEST);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_true(waits_for_news(later));
    /* Another comes: it hears of it at once, and of what it has to give back. The newcomer waits
     * for that, though not for long. */
    struct coord_consumer_heartbeat *b =
        begin_beat(&w, join(STR("b"), &t, 1), COORD_PATIENCE_REQUEST);
    assert_ptr_equal(test_done(&w.t), &later->op);
    assert_int_equal(assigned(later), 2);
    assert_true(waits_for_news(b));
    test_pass(&w.t, 1000);
    assert_ptr_equal(test_done(&w.t), &b->op);
    assert_int_equal(b->answer_epoch, 3);
    assert_int_equal(assigned(b), 0);
    /* The newcomer waits, and hears of it the moment that it is given back. */
    b = begin_beat(&w, beat(STR("b"), 3, &assignment_empty), COORD_PATIENCE_INTERVAL);
    assert_true(waits_for_news(b));
    a = begin_beat(&w, beat(STR("a"), 2, &all), COORD_PATIENCE_INTERVAL);
    assert_ptr_equal(test_done(&w.t), &a->op); /* not held: it has to give back */
    a = begin_beat(&w, beat(STR("a"), 2, later->assignment), COORD_PATIENCE_INTERVAL);
    assert_ptr_equal(test_done(&w.t), &b->op);
    assert_int_equal(assigned(b), 2);
    assert_true(waits_for_news(a)); /* that its epoch is 3 now can wait */
    coord_yield(&a->op, &w.t.done);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(a->answer_epoch, 3);
    /* It goes: the one that is left hears of that. Who was taken out is told so. */
    a = begin_beat(&w, beat(STR("a"), 3, NULL), COORD_PATIENCE_INTERVAL);
    assert_true(waits_for_news(a));
    struct coord_consumer_heartbeat *held =
        begin_beat(&w, beat(STR("b"), 3, b->assignment), COORD_PATIENCE_INTERVAL);
    assert_true(waits_for_news(held));
    h = beat(STR("b"), -1, NULL);
    b = begin_beat(&w, h, COORD_PATIENCE_NONE);
    assert_ptr_equal(test_done(&w.t), &held->op);
    assert_int_equal(held->op.err, ERR_UNKNOWN_MEMBER_ID);
    assert_ptr_equal(test_done(&w.t), &b->op);
    test_pass(&w.t, 100);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(assigned(a), 4);
    /* All that changes is the epoch: the answer that waits will say so; a second time it is given.
     */
    struct assignment mine = *a->assignment;
    a = begin_beat(&w, beat(STR("a"), 4, &mine), COORD_PATIENCE_INTERVAL);
    assert_true(waits_for_news(a));
    b = begin_beat(&w, join(STR("z"), NULL, 0), COORD_PATIENCE_NONE);
    assert_ptr_equal(test_done(&w.t), &b->op);
    assert_string_equal(consumer_state_name(group_of(&w)), "Stable");
    assert_true(waits_for_news(a));
    b = begin_beat(&w, beat(STR("z"), -1, NULL), COORD_PATIENCE_NONE);
    assert_ptr_equal(test_done(&w.t), &b->op);
    test_pass(&w.t, 100);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_string_equal(consumer_state_name(group_of(&w)), "Stable");
    a = begin_beat(&w, beat(STR("a"), a->answer_epoch, &mine), COORD_PATIENCE_NONE);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(a->op.err, ERR_OK);
    /* The coordinator goes. */
    a = begin_beat(&w, beat(STR("a"), a->answer_epoch, &mine), COORD_PATIENCE_INTERVAL);
    assert_true(waits_for_news(a));
    test_drop(&w.t);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(a->op.err, ERR_NOT_COORDINATOR);
    test_end(&w.t);
}

/* The other's answer, if any, comes after its own. */
static void begin_leave(struct world *w, struct str id)
{
    struct coord_consumer_heartbeat *h = begin_beat(w, beat(id, -1, NULL), COORD_PATIENCE_INTERVAL);
    assert_ptr_equal(test_done(&w->t), &h->op);
    assert_int_equal(h->op.err, ERR_OK);
}

/* Who leaves may be followed by others: librdkafka's get what all of them had when nobody left for
 * a while. Whom nothing changes for is at the new epoch at once. */
static void test_news_of_leaving(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 5);
    static const char *const ids[] = {"a", "b", "c", "d", "e"};
    struct coord_consumer_heartbeat *h[ARRAY_LEN(ids)];
    struct assignment mine[ARRAY_LEN(ids)];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        h[i] = begin_beat(&w, join(str_of(ids[i]), &t, 1), COORD_PATIENCE_NONE);
        assert_ptr_equal(test_done(&w.t), &h[i]->op);
        mine[i] = *h[i]->assignment;
    }
    /* Until each has its one, and says so. */
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
            h[i] = begin_beat(&w, beat(str_of(ids[i]), h[i]->answer_epoch, &mine[i]),
                              COORD_PATIENCE_NONE);
            assert_ptr_equal(test_done(&w.t), &h[i]->op);
            if (h[i]->assignment)
                mine[i] = *h[i]->assignment;
        }
    }
    assert_string_equal(consumer_state_name(group_of(&w)), "Stable");
    for (size_t i = 0; i < 4; i++) {
        h[i] = begin_beat(&w, beat(str_of(ids[i]), h[i]->answer_epoch, &mine[i]),
                          COORD_PATIENCE_INTERVAL);
        assert_true(waits_for_news(h[i]));
    }
    begin_leave(&w, STR("e"));
    size_t moved = 0;
    for (size_t i = 0; i < 4; i++)
        moved += h[i]->answer_epoch > h[i]->member_epoch;
    assert_int_equal(moved, 3);
    test_pass(&w.t, 99);
    coord_yield(&h[3]->op, &w.t.done);
    assert_ptr_equal(test_done(&w.t), &h[3]->op);
    begin_leave(&w, STR("d"));
    test_pass(&w.t, 99);
    for (size_t i = 0; i < 3; i++)
        assert_true(waits_for_news(h[i]));
    test_pass(&w.t, 1);
    size_t told = 0;
    size_t gained = 0;
    struct coord_op *op;
    while ((op = test_done(&w.t))) {
        const struct coord_consumer_heartbeat *heard =
            CONTAINER_OF(op, struct coord_consumer_heartbeat, op);
        if (!heard->assignment)
            continue; /* a second new epoch, and nothing else */
        told++;
        gained += assigned(heard) - 1;
    }
    assert_int_equal(told, 2);
    assert_int_equal(gained, 2);
    test_end(&w.t);
}

/* Java's hear at once that a member left, and so does who speaks. */
static void test_news_of_leaving_at_once(void **state)
{
    (void)state;
    for (int speaks = 0; speaks < 2; speaks++) {
        struct world w;
        world_init(&w);
        struct str t = STR("t");
        add_topic(&w, t, 2);
        struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
        assert_int_equal(send_beat(&w, &h), ERR_OK);
        struct coord_consumer_heartbeat other = join(STR("b"), &t, 1);
        assert_int_equal(send_beat(&w, &other), ERR_OK);
        h = beat(STR("a"), h.answer_epoch, NULL);
        assert_int_equal(send_beat(&w, &h), ERR_OK);
        struct assignment mine = *h.assignment;
        h = beat(STR("a"), h.answer_epoch, &mine);
        assert_int_equal(send_beat(&w, &h), ERR_OK);
        struct coord_consumer_heartbeat *a =
            begin_beat(&w, beat(STR("a"), h.answer_epoch, &mine),
                       speaks ? COORD_PATIENCE_INTERVAL : COORD_PATIENCE_REQUEST);
        assert_true(waits_for_news(a));
        begin_leave(&w, STR("b"));
        if (speaks) {
            assert_true(waits_for_news(a));
            coord_yield(&a->op, &w.t.done);
            assert_ptr_equal(test_done(&w.t), &a->op);
            a = begin_beat(&w, beat(STR("a"), a->answer_epoch, NULL), COORD_PATIENCE_INTERVAL);
        }
        assert_ptr_equal(test_done(&w.t), &a->op);
        assert_int_equal(assigned(a), 2);
        test_end(&w.t);
    }
}

/* It waits so long, and no longer. */
static void assert_held_for(struct world *w, const struct coord_consumer_heartbeat *h, int64_t ms)
{
    assert_true(waits_for_news(h));
    test_pass(&w->t, ms - 1);
    assert_true(waits_for_news(h));
    test_pass(&w->t, 1);
    assert_ptr_equal(test_done(&w->t), &h->op);
}

/* How long the client of a patient member waits at most is what it was last told; how much earlier
 * it is answered is by how fast it has confirmed what it was told. */
static void test_news_margin(void **state)
{
    (void)state;
    struct {
        int64_t confirms_ms;
        int64_t held_ms;
    } cases[] = {{0, 1898}, {50, 1798}, {198, 1502}, {199, 1500}, {40000, 1500}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w);
        struct str t = STR("t");
        add_topic(&w, t, 4);
        struct coord_consumer_heartbeat *a =
            begin_beat(&w, join(STR("a"), &t, 1), COORD_PATIENCE_INTERVAL);
        assert_ptr_equal(test_done(&w.t), &a->op);
        const struct assignment all = *a->assignment;
        test_pass(&w.t, cases[i].confirms_ms);
        a = begin_beat(&w, beat(STR("a"), 2, &all), COORD_PATIENCE_INTERVAL);
        assert_held_for(&w, a, cases[i].held_ms);
        /* What it says again, unasked, says nothing of the way. */
        test_pass(&w.t, 2000 - cases[i].held_ms);
        struct coord_consumer_heartbeat full = join(STR("a"), &t, 1);
        full.member_epoch = 2;
        full.owned = &all;
        a = begin_beat(&w, full, COORD_PATIENCE_INTERVAL);
        assert_ptr_equal(test_done(&w.t), &a->op);
        a = begin_beat(&w, beat(STR("a"), 2, &all), COORD_PATIENCE_INTERVAL);
        assert_held_for(&w, a, cases[i].held_ms);
        test_end(&w.t);
    }
}

/* The way may have become longer since it was confirmed. */
static void test_news_on_a_longer_way(void **state)
{
    (void)state;
    static const struct {
        int32_t trip_ms;
        int64_t held_ms;
    } cases[] = {{0, 1898}, {1, 1898}, {60, 1780}, {199, 1502}, {5000, 1500}, {0, 1898}};
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 4);
    struct coord_consumer_heartbeat *a =
        begin_beat(&w, join(STR("a"), &t, 1), COORD_PATIENCE_INTERVAL);
    assert_ptr_equal(test_done(&w.t), &a->op);
    const struct assignment all = *a->assignment;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct coord_consumer_heartbeat h = beat(STR("a"), 2, &all);
        h.trip_ms = cases[i].trip_ms;
        a = begin_beat(&w, h, COORD_PATIENCE_INTERVAL);
        assert_held_for(&w, a, cases[i].held_ms);
        test_pass(&w.t, 2000 - cases[i].held_ms);
    }
    test_end(&w.t);
}

static void topics_changed(struct world *w)
{
    coord_topics_changed(w->t.coord, test_call(&w->t));
    test_commit(&w->t);
}

/* A member that speaks later than its interval is answered earlier, until that is some time ago. */
static void test_news_lateness(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 4);
    struct coord_consumer_heartbeat *a =
        begin_beat(&w, join(STR("a"), &t, 1), COORD_PATIENCE_INTERVAL);
    assert_ptr_equal(test_done(&w.t), &a->op);
    a = begin_beat(&w, beat(STR("a"), 2, a->assignment), COORD_PATIENCE_INTERVAL);
    test_pass(&w.t, 1898);
    assert_ptr_equal(test_done(&w.t), &a->op);
    static const struct {
        int64_t late_ms;
        int64_t held_ms;
    } cases[] = {{0, 1898}, {100, 1698}, {0, 1724}, {120, 1658}, {-50, 1688}, {40000, 1500}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t due_ms = 2000 - (i == 0 ? 1898 : cases[i - 1].held_ms);
        test_pass(&w.t, due_ms + cases[i].late_ms);
        a = begin_beat(&w, beat(STR("a"), 2, NULL), COORD_PATIENCE_INTERVAL);
        assert_held_for(&w, a, cases[i].held_ms);
    }
    test_end(&w.t);
}

/* Who waits hears of partitions that came, and of a topic that its expression chooses. */
static void test_news_of_topics(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct str t = STR("t");
    add_topic(&w, t, 2);
    topics_changed(&w); /* nobody is there */
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    h.regex = STR("u.*");
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    assert_int_equal(assigned(&h), 2);
    struct assignment owned = *h.assignment;
    h = beat(STR("a"), h.answer_epoch, &owned);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    struct coord_consumer_heartbeat *a =
        begin_beat(&w, beat(STR("a"), h.answer_epoch, &owned), COORD_PATIENCE_REQUEST);
    assert_true(waits_for_news(a));
    add_topic(&w, STR("other"), 3);
    test_pass(&w.t, 10);
    topics_changed(&w);
    assert_true(waits_for_news(a)); /* none of its business */
    w.topics[0].partition_count = 4;
    w.version++;
    topics_changed(&w);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(assigned(a), 4);
    owned = *a->assignment;
    a = begin_beat(&w, beat(STR("a"), a->answer_epoch, &owned), COORD_PATIENCE_REQUEST);
    assert_true(waits_for_news(a));
    add_topic(&w, STR("u1"), 3);
    test_pass(&w.t, 10);
    topics_changed(&w);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(assigned(a), 7);
    check_reload(&w);
    test_end(&w.t);
}

/* A session may be as short as the longest wait; the wait is the shorter then. */
static void test_news_in_a_short_session(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.t.config.consumer.session_timeout_ms = 3000;
    w.t.config.consumer.session_timeout_min_ms = 3000;
    struct str t = STR("t");
    add_topic(&w, t, 2);
    struct coord_consumer_heartbeat h = join(STR("a"), &t, 1);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    struct assignment owned = *h.assignment;
    h = beat(STR("a"), h.answer_epoch, &owned);
    assert_int_equal(send_beat(&w, &h), ERR_OK);
    struct coord_consumer_heartbeat *a =
        begin_beat(&w, beat(STR("a"), h.answer_epoch, NULL), COORD_PATIENCE_REQUEST);
    assert_true(waits_for_news(a));
    test_pass(&w.t, 1000);
    assert_ptr_equal(test_done(&w.t), &a->op);
    assert_int_equal(a->op.err, ERR_OK);
    /* The next one is a while on its way. */
    test_pass(&w.t, 1900);
    assert_int_equal(group_of(&w)->member_count, 1);
    test_end(&w.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_news),
        cmocka_unit_test(test_news_in_a_short_session),
        cmocka_unit_test(test_news_of_leaving),
        cmocka_unit_test(test_news_of_leaving_at_once),
        cmocka_unit_test(test_news_margin),
        cmocka_unit_test(test_news_on_a_longer_way),
        cmocka_unit_test(test_news_lateness),
        cmocka_unit_test(test_news_of_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
