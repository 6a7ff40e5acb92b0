/* From one generation to the next: delays, who is waited for, who is dropped; then random members
 * that do anything at any time, with invariants checked after each step and after each reload. */
#include <stdio.h>

#include "coord/classic_testing.h"

static void test_initial_delay(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    t.config.initial_rebalance_delay_ms = 100;
    struct coord_join *a = test_join_new(&t);
    test_pass(&t, 90);
    struct coord_join *b = test_join_new(&t);
    test_pass(&t, 10); /* b came: it waits once more, and longer */
    assert_true(test_is_waiting(&a->op));
    test_pass(&t, 499);
    assert_true(test_is_waiting(&a->op));
    test_pass(&t, 1);
    assert_int_equal(test_answer(&t, &a->op), ERR_OK);
    assert_int_equal(test_answer(&t, &b->op), ERR_OK);
    assert_int_equal(a->member_count, 2);
    test_end(&t);
}

/* Newcomers cannot put it off for longer than the rebalance timeout. */
static void test_initial_delay_ends(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    t.config.initial_rebalance_delay_ms = 100;
    struct coord_join *first = test_join(&t, STR(""));
    first->takes_id_first = false;
    first->rebalance_timeout_ms = 1000;
    test_run_join(&t, first);
    for (int i = 0; i < 20 && test_is_waiting(&first->op); i++) {
        struct coord_join *join = test_join(&t, STR(""));
        join->takes_id_first = false;
        join->rebalance_timeout_ms = 1000;
        test_run_join(&t, join);
        test_pass(&t, 90);
    }
    assert_int_equal(test_answer(&t, &first->op), ERR_OK);
    assert_true(first->member_count <= 13);
    test_end(&t);
}

/* A group of one, whose member did not send a heartbeat yet; it joins again. */
static struct coord_join *begin_crowd(struct test_coord *t, int32_t delay_ms)
{
    test_init(t);
    t->config.initial_rebalance_delay_ms = delay_ms;
    struct coord_join *join = test_join_new(t);
    test_pass(t, delay_ms);
    assert_int_equal(test_answer(t, &join->op), ERR_OK);
    assert_int_equal(test_answer(t, &test_lead(t, join)->op), ERR_OK);
    return join;
}

static struct coord_join *join_again(struct test_coord *t, struct coord_join *of)
{
    struct coord_join *join = test_join(t, of->given_member_id);
    test_run_join(t, join);
    return join;
}

/* Who hears of them only late finds all that came meanwhile, and who is just coming. */
static void test_crowd(void **state)
{
    struct test_coord t;
    (void)state;
    struct coord_join *first = begin_crowd(&t, 100), *others[5];
    for (int i = 0; i < 4; i++) {
        others[i] = test_join_new(&t);
        test_pass(&t, 400);
    }
    struct coord_join *again = join_again(&t, first);
    assert_true(test_is_waiting(&again->op));
    test_pass(&t, 99);
    assert_true(test_is_waiting(&again->op));
    others[4] = test_join_new(&t);
    test_pass(&t, 499);
    assert_true(test_is_waiting(&again->op));
    test_pass(&t, 1);
    assert_int_equal(test_answer(&t, &again->op), ERR_OK);
    assert_int_equal(again->generation, 2);
    assert_int_equal(again->member_count, 6);
    for (int i = 0; i < 5; i++)
        assert_int_equal(test_answer(&t, &others[i]->op), ERR_OK);
    /* Who leaves is no newcomer. */
    assert_int_equal(test_answer(&t, &test_lead(&t, again)->op), ERR_OK);
    for (int i = 0; i < 4; i++)
        (void)join_again(&t, others[i]);
    assert_int_equal(test_leave(&t, others[4]->given_member_id, STR_NULL), ERR_OK);
    again = join_again(&t, first);
    for (int i = 0; i < 3; i++)
        (void)join_again(&t, others[i]);
    assert_true(test_is_waiting(&again->op));
    (void)join_again(&t, others[3]);
    assert_int_equal(test_answer(&t, &again->op), ERR_OK);
    assert_int_equal(again->member_count, 5);
    test_end(&t);
}

/* Three come to a group of one, who then hears of it. */
static struct coord_join *join_crowd(struct test_coord *t)
{
    struct coord_join *first = begin_crowd(t, 100);
    for (int i = 0; i < 3; i++)
        (void)test_join_new(t);
    return join_again(t, first);
}

/* They cannot put it off for long. */
static void test_crowd_ends(void **state)
{
    struct test_coord t;
    (void)state;
    struct coord_join *again = join_crowd(&t);
    int32_t waited_ms = 0;
    while (test_is_waiting(&again->op)) {
        (void)test_join_new(&t);
        test_pass(&t, 250);
        waited_ms += 250;
    }
    assert_int_equal(waited_ms, 10000);
    assert_int_equal(test_answer(&t, &again->op), ERR_OK);
    assert_int_equal(again->member_count, 44);
    test_end(&t);
}

/* One who has its id and does not come is waited for, as in any rebalance. */
static void test_crowd_with_given_id(void **state)
{
    struct test_coord t;
    (void)state;
    struct coord_join *again = join_crowd(&t);
    struct coord_join *given = test_join(&t, STR(""));
    test_run_join(&t, given);
    assert_int_equal(test_answer(&t, &given->op), ERR_MEMBER_ID_REQUIRED);
    test_pass(&t, 9999);
    assert_true(test_is_waiting(&again->op));
    test_pass(&t, 1);
    assert_int_equal(test_answer(&t, &again->op), ERR_OK);
    assert_int_equal(again->member_count, 4);
    test_end(&t);
}

/* Where all are heard of, where only two come, and where no delay is wanted, nobody waits. */
static void test_no_crowd(void **state)
{
    struct test_coord t;
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct coord_join *first = begin_crowd(&t, kind == 2 ? 0 : 100);
        if (kind == 0)
            assert_int_equal(test_heartbeat(&t, first->given_member_id, STR_NULL, 1), ERR_OK);
        struct coord_join *other = test_join_new(&t);
        if (kind == 2)
            for (int i = 0; i < 5; i++)
                (void)test_join_new(&t);
        struct coord_join *again = join_again(&t, first);
        assert_int_equal(test_answer(&t, &again->op), ERR_OK);
        assert_int_equal(test_answer(&t, &other->op), ERR_OK);
        test_end(&t);
    }
}

/* Each that comes to a group of which all are heard is let in at once, however soon after another.
 */
static void test_one_after_the_other(void **state)
{
    struct test_coord t;
    (void)state;
    struct coord_join *members[8] = {begin_crowd(&t, 100)};
    for (size_t count = 1; count < ARRAY_LEN(members); count++) {
        for (size_t i = 0; i < count; i++)
            assert_int_equal(
                test_heartbeat(&t, members[i]->given_member_id, STR_NULL, members[0]->generation),
                ERR_OK);
        members[count] = test_join_new(&t);
        for (size_t i = 0; i < count; i++)
            members[i] = join_again(&t, members[i]);
        for (size_t i = 0; i <= count; i++)
            assert_int_equal(test_answer(&t, &members[i]->op), ERR_OK);
        assert_int_equal(members[0]->member_count, count + 1);
        assert_int_equal(test_answer(&t, &test_lead(&t, members[0])->op), ERR_OK);
        for (size_t i = 1; i <= count; i++) {
            struct coord_sync *sync =
                test_sync(&t, members[i]->given_member_id, members[i]->generation);
            test_run_sync(&t, sync);
            assert_int_equal(test_answer(&t, &sync->op), ERR_OK);
        }
    }
    test_end(&t);
}

static void test_absent_member(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct str gone = test_stable_one(&t);
    struct coord_join *join = test_join_new(&t);
    assert_true(test_is_waiting(&join->op));
    for (int i = 0; i < 11; i++) { /* it lives, but does not join */
        assert_int_equal(test_heartbeat(&t, gone, STR_NULL, 1), ERR_REBALANCE_IN_PROGRESS);
        test_pass(&t, 5000);
    }
    assert_true(test_is_waiting(&join->op));
    test_pass(&t, 5000);
    assert_int_equal(test_answer(&t, &join->op), ERR_OK);
    assert_int_equal(join->member_count, 1);
    assert_int_equal(join->generation, 2);
    assert_int_equal(test_heartbeat(&t, gone, STR_NULL, 2), ERR_UNKNOWN_MEMBER_ID);
    test_end(&t);
}

static void test_dead_member(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    test_stable_one(&t);
    struct coord_join *join = test_join_new(&t);
    test_pass(&t, 9999);
    assert_true(test_is_waiting(&join->op));
    test_pass(&t, 1);
    assert_int_equal(test_answer(&t, &join->op), ERR_OK);
    assert_int_equal(join->member_count, 1);
    test_end(&t);
}

/* Static members are waited for until their session ends. */
static void test_absent_static_members(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *join = test_join(&t, STR(""));
    join->instance_id = STR("i");
    test_run_join(&t, join);
    test_pass(&t, 0);
    test_answer(&t, &join->op);
    test_answer(&t, &test_lead(&t, join)->op);
    assert_int_equal(test_leave(&t, test_join_new(&t)->given_member_id, STR_NULL),
                     ERR_UNKNOWN_MEMBER_ID);
    (void)test_done(&t);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_PREPARING);
    test_pass(&t, 10001);
    test_check_group(test_group(&t));
    test_end(&t);
}

static void test_no_sync(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *a = test_join_new(&t), *b = test_join_new(&t);
    test_pass(&t, 0);
    test_answer(&t, &a->op);
    test_answer(&t, &b->op);
    struct coord_sync *sync = test_sync(&t, b->given_member_id, 1);
    test_run_sync(&t, sync);
    for (int i = 0; i < 12; i++) { /* the leader lives, but gives no assignment */
        assert_int_equal(test_heartbeat(&t, a->given_member_id, STR_NULL, 1), ERR_OK);
        assert_true(test_is_waiting(&sync->op));
        test_pass(&t, 5000);
    }
    assert_int_equal(test_answer(&t, &sync->op), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(test_heartbeat(&t, a->given_member_id, STR_NULL, 1), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(test_heartbeat(&t, b->given_member_id, STR_NULL, 1),
                     ERR_REBALANCE_IN_PROGRESS);
    test_end(&t);
}

/* A client that went away while it waited is a member until its session ends. */
static void test_forgotten(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_join *join = test_join_new(&t);
    coord_forget(&join->op, &t.done);
    assert_int_equal(test_answer(&t, &join->op), ERR_NOT_COORDINATOR);
    test_check_group(test_group(&t));
    test_pass(&t, 0);
    assert_int_equal(test_group(&t)->classic.generation, 1);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_COMPLETING);
    test_pass(&t, 60000);
    assert_int_equal(classic_state(test_group(&t)), CLASSIC_EMPTY);
    test_end(&t);
}

/* --- anything at any time --- */

#define ACTORS 12

struct actor {
    struct coord_join *join;
    struct coord_sync *sync;
    struct str member_id, instance_id;
    int32_t generation;
    bool is_leader;
};

struct chaos {
    struct test_coord t;
    struct rng rng;
    struct actor actors[ACTORS];
    int32_t generation_seen; /* the highest that anybody was told */
};

static void take_join(struct chaos *c, struct actor *actor)
{
    struct coord_join *join = actor->join;
    actor->join = NULL;
    if (join->op.err == ERR_MEMBER_ID_REQUIRED)
        actor->member_id = join->given_member_id;
    if (join->op.err == ERR_UNKNOWN_MEMBER_ID || join->op.err == ERR_FENCED_INSTANCE_ID)
        actor->member_id = STR("");
    if (join->op.err != ERR_OK)
        return;
    actor->member_id = join->given_member_id;
    actor->generation = join->generation;
    actor->is_leader = str_eq(join->leader, join->given_member_id) && join->member_count > 0;
    assert_true(join->generation >= c->generation_seen);
    c->generation_seen = join->generation;
}

/* Each was given its own id by whoever led. */
static void take_sync(struct actor *actor)
{
    struct coord_sync *sync = actor->sync;
    actor->sync = NULL;
    if (sync->op.err == ERR_OK && sync->assignment.len > 0)
        assert_true(str_eq((struct str){(const char *)sync->assignment.data, sync->assignment.len},
                           sync->member_id) ||
                    !str_is_null(actor->instance_id));
}

static void take_answers(struct chaos *c)
{
    for (struct coord_op *op; (op = test_done(&c->t)) != NULL;) {
        for (size_t i = 0; i < ACTORS; i++) {
            struct actor *actor = &c->actors[i];
            if (actor->join && &actor->join->op == op)
                take_join(c, actor);
            else if (actor->sync && &actor->sync->op == op)
                take_sync(actor);
        }
    }
}

static void act_join(struct chaos *c, struct actor *actor)
{
    if (actor->join && test_is_waiting(&actor->join->op) && rng_chance(&c->rng, 3, 4))
        return;
    actor->join = test_join(&c->t, actor->member_id);
    actor->join->instance_id = actor->instance_id;
    actor->join->takes_id_first = rng_chance(&c->rng, 3, 4);
    if (rng_chance(&c->rng, 1, 3))
        actor->join->protocols =
            test_protocols(&c->t, STR("roundrobin"), STR("range"), &actor->join->protocol_count);
    test_run_join(&c->t, actor->join);
}

static void act_sync(struct chaos *c, struct actor *actor)
{
    static const char none[1];
    struct coord_sync *sync = test_sync(&c->t, actor->member_id, actor->generation);
    struct coord_assignment *assignments = arena_array(&c->t.arena, ACTORS, sizeof(*assignments));
    assert_non_null(assignments);
    sync->instance_id = actor->instance_id;
    for (size_t i = 0; actor->is_leader && i < ACTORS; i++) {
        struct str id =
            c->actors[i].member_id.data ? c->actors[i].member_id : (struct str){none, 0};
        assignments[i] = (struct coord_assignment){id, slice_of(id.data, id.len)};
    }
    sync->assignments = assignments;
    sync->assignment_count = actor->is_leader ? ACTORS : 0;
    actor->sync = sync;
    test_run_sync(&c->t, sync);
}

static void act(struct chaos *c, struct actor *actor)
{
    switch (rng_below(&c->rng, 12)) {
    case 0:
    case 1:
    case 2:
        act_join(c, actor);
        break;
    case 3:
    case 4:
        act_sync(c, actor);
        break;
    case 5:
    case 6:
    case 7: {
        enum err err =
            test_heartbeat(&c->t, actor->member_id, actor->instance_id, actor->generation);
        if (err == ERR_UNKNOWN_MEMBER_ID || err == ERR_FENCED_INSTANCE_ID)
            actor->member_id = STR("");
        break;
    }
    case 8:
        if (rng_chance(&c->rng, 1, 2))
            (void)!test_leave(&c->t, actor->member_id, actor->instance_id);
        break;
    case 9:
        if (actor->join && rng_chance(&c->rng, 1, 2))
            coord_forget(&actor->join->op, &c->t.done);
        if (actor->sync)
            coord_forget(&actor->sync->op, &c->t.done);
        break;
    default:
        test_pass(&c->t, rng_range(&c->rng, 0, rng_chance(&c->rng, 1, 10) ? 70000 : 2000));
        break;
    }
}

static void run_chaos(uint64_t seed)
{
    struct chaos c = {.generation_seen = 0};
    test_init(&c.t);
    rng_init(&c.rng, seed);
    c.t.config.initial_rebalance_delay_ms = (int32_t)rng_below(&c.rng, 3) * 50;
    c.t.config.group_size_max = rng_chance(&c.rng, 1, 4) ? 4 : INT32_MAX;
    static const char *const instances[] = {"i0", "i1", "i2"};
    for (size_t i = 0; i < ACTORS; i++)
        c.actors[i] = (struct actor){.member_id = STR(""),
                                     .instance_id = i < 3 ? str_of(instances[i]) : STR_NULL};
    for (int step = 0; step < 400; step++) {
        act(&c, &c.actors[rng_below(&c.rng, ACTORS)]);
        take_answers(&c);
        if (test_group(&c.t))
            test_check_group(test_group(&c.t));
        if (rng_chance(&c.rng, 1, 100)) {
            test_reload(&c.t);
            take_answers(&c);
            c.generation_seen = 0;
        }
    }
    /* Nobody is heard of any more: nothing is left. */
    test_pass(&c.t, 2 * 1800000 + 600000);
    take_answers(&c);
    assert_true(!test_group(&c.t) || classic_state(test_group(&c.t)) == CLASSIC_EMPTY);
    for (size_t i = 0; i < ACTORS; i++)
        assert_true(!c.actors[i].join && !c.actors[i].sync);
    test_end(&c.t);
}

static void test_chaos(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_chaos(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_initial_delay),
        cmocka_unit_test(test_initial_delay_ends),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_crowd_ends),
        cmocka_unit_test(test_crowd_with_given_id),
        cmocka_unit_test(test_no_crowd),
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_absent_member),
        cmocka_unit_test(test_dead_member),
        cmocka_unit_test(test_absent_static_members),
        cmocka_unit_test(test_no_sync),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_chaos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
