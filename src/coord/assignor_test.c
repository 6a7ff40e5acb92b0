/* Goal: every partition of a subscribed topic has one owner that asked for it; uniform is balanced
 * and moves nothing without need; range cuts topics of one size alike; what a foreign log says of
 * partitions that are not there is ignored.
 * Method: groups by hand with the answer spelled out, then random groups against the rules. That
 * the answers are Apache Kafka's shows tests/coord/run.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "coord/assignor.h"

#define TOPICS_MAX  8
#define MEMBERS_MAX 12
#define COUNT_MAX   20

struct fixture {
    struct arena arena;
    struct assignor_topic topics[TOPICS_MAX];
    struct assignor_member members[MEMBERS_MAX];
    uint32_t subscribed[MEMBERS_MAX][TOPICS_MAX];
    char ids[MEMBERS_MAX][16];
    struct assignor_group group;
};

static struct uuid topic_id(uint32_t index)
{
    struct uuid id = UUID_ZERO;
    id.bytes[15] = (uint8_t)(index + 1);
    return id;
}

static void fixture_init(struct fixture *f, uint32_t topics, uint32_t members)
{
    *f = (struct fixture){0};
    arena_init(&f->arena, (size_t)16 << 20);
    for (uint32_t t = 0; t < topics; t++)
        f->topics[t].id = topic_id(t);
    for (uint32_t m = 0; m < members; m++) {
        (void)snprintf(f->ids[m], sizeof(f->ids[m]), "m%02u", m);
        f->members[m] = (struct assignor_member){.member_id = str_of(f->ids[m]),
                                                 .topics = f->subscribed[m],
                                                 .current = &assignment_empty};
    }
    f->group = (struct assignor_group){f->topics, topics, f->members, members, &f->arena};
}

static void subscribe(struct fixture *f, uint32_t member, uint32_t topic)
{
    f->subscribed[member][f->members[member].topic_count++] = topic;
}

static void subscribe_all(struct fixture *f)
{
    for (uint32_t m = 0; m < f->group.member_count; m++)
        for (uint32_t t = 0; t < f->group.topic_count; t++)
            subscribe(f, m, t);
}

static bool has(const struct fixture *f, uint32_t member, uint32_t topic, int32_t partition)
{
    return assignment_has(&f->members[member].target, topic_id(topic), partition);
}

static uint32_t load(const struct fixture *f, uint32_t member)
{
    return (uint32_t)assignment_partition_count(&f->members[member].target);
}

static bool subscribes(const struct fixture *f, uint32_t member, uint32_t topic)
{
    for (uint32_t i = 0; i < f->members[member].topic_count; i++)
        if (f->subscribed[member][i] == topic)
            return true;
    return false;
}

static int owner_of(const struct fixture *f, uint32_t topic, int32_t partition)
{
    int owner = -1;
    for (uint32_t m = 0; m < f->group.member_count; m++) {
        if (!has(f, m, topic, partition))
            continue;
        assert_int_equal(owner, -1);
        assert_true(subscribes(f, m, topic));
        owner = (int)m;
    }
    return owner;
}

static void check_whole(const struct fixture *f)
{
    size_t owned = 0;
    size_t loads = 0;
    for (uint32_t t = 0; t < f->group.topic_count; t++) {
        bool is_wanted = false;
        for (uint32_t m = 0; m < f->group.member_count; m++)
            is_wanted |= subscribes(f, m, t);
        for (int32_t p = 0; p < f->topics[t].partition_count; p++) {
            int owner = owner_of(f, t, p);
            assert_int_equal(owner >= 0, is_wanted);
            owned += owner >= 0;
        }
    }
    for (uint32_t m = 0; m < f->group.member_count; m++)
        loads += load(f, m);
    assert_int_equal(owned, loads);
}

/* What is the target becomes what they have. */
static void settle(struct fixture *f)
{
    for (uint32_t m = 0; m < f->group.member_count; m++) {
        struct assignment *current = arena_zalloc(&f->arena, sizeof(*current));
        assert_non_null(current);
        *current = f->members[m].target;
        f->members[m].current = current;
    }
}

static void test_names(void **state)
{
    (void)state;
    enum assignor assignor;
    assert_true(assignor_of_name(STR("uniform"), &assignor));
    assert_int_equal(assignor, ASSIGNOR_UNIFORM);
    assert_true(assignor_of_name(STR("range"), &assignor));
    assert_int_equal(assignor, ASSIGNOR_RANGE);
    assert_false(assignor_of_name(STR("Range"), &assignor));
    assert_false(assignor_of_name(STR(""), &assignor));
    assert_true(str_eq(assignor_name(ASSIGNOR_RANGE), STR("range")));
}

static void test_nobody_and_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0, 0);
    assert_int_equal(assignor_assign(ASSIGNOR_UNIFORM, &f.group), ERR_OK);
    f.group.member_count = 0;
    arena_deinit(&f.arena);
    for (unsigned a = 0; a < ASSIGNOR_COUNT; a++) {
        fixture_init(&f, 2, 2); /* topics without partitions, and nobody subscribes */
        assert_int_equal(assignor_assign((enum assignor)a, &f.group), ERR_OK);
        assert_int_equal(load(&f, 0) + load(&f, 1), 0);
        arena_deinit(&f.arena);
    }
}

static void test_range(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 2, 3);
    f.topics[0].partition_count = f.topics[1].partition_count = 7;
    subscribe_all(&f);
    f.members[2].instance_id = STR("static first");
    assert_int_equal(assignor_assign(ASSIGNOR_RANGE, &f.group), ERR_OK);
    check_whole(&f);
    static const int owners[] = {2, 2, 2, 0, 0, 1, 1};
    for (int32_t p = 0; p < 7; p++) {
        assert_int_equal(owner_of(&f, 0, p), owners[p]);
        assert_int_equal(owner_of(&f, 1, p), owners[p]);
    }
    arena_deinit(&f.arena);
}

/* A member that comes takes its share and no more; one that goes leaves its share to the others. */
static void test_uniform_moves_little(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 4);
    f.topics[0].partition_count = 11;
    subscribe_all(&f);
    f.group.member_count = 3;
    assert_int_equal(assignor_assign(ASSIGNOR_UNIFORM, &f.group), ERR_OK);
    check_whole(&f);
    assert_int_equal(load(&f, 0) + load(&f, 1), 8);
    settle(&f);
    int before[11];
    for (int32_t p = 0; p < 11; p++)
        before[p] = owner_of(&f, 0, p);
    f.group.member_count = 4;
    assert_int_equal(assignor_assign(ASSIGNOR_UNIFORM, &f.group), ERR_OK);
    check_whole(&f);
    assert_int_equal(load(&f, 3), 2);
    for (int32_t p = 0; p < 11; p++)
        if (owner_of(&f, 0, p) != 3)
            assert_int_equal(owner_of(&f, 0, p), before[p]);
    arena_deinit(&f.arena);
}

/* Two members have 2 and 1 of three: whoever has the one more keeps it, whatever its id. */
static void test_uniform_keeps_the_extra(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 2);
    f.topics[0].partition_count = 3;
    subscribe_all(&f);
    int32_t one[] = {0};
    int32_t two[] = {1, 2};
    struct topic_partitions had[] = {{topic_id(0), 1, one, NULL}, {topic_id(0), 2, two, NULL}};
    struct assignment current[] = {{1, &had[0]}, {1, &had[1]}};
    f.members[0].current = &current[0];
    f.members[1].current = &current[1];
    assert_int_equal(assignor_assign(ASSIGNOR_UNIFORM, &f.group), ERR_OK);
    assert_true(assignment_eq(&f.members[0].target, &current[0]));
    assert_true(assignment_eq(&f.members[1].target, &current[1]));
    arena_deinit(&f.arena);
}

/* Partitions past the end, below zero, of topics that nobody knows, and owned twice. */
static void test_foreign_assignment(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 2);
    f.topics[0].partition_count = 2;
    subscribe_all(&f);
    int32_t numbers[] = {-5, 0, 1, 2, INT32_MAX};
    struct topic_partitions had[] = {{topic_id(0), 5, numbers, NULL},
                                     {topic_id(7), 5, numbers, NULL}};
    struct assignment current = {2, had};
    for (unsigned a = 0; a < ASSIGNOR_COUNT; a++) {
        f.members[0].current = f.members[1].current = &current;
        assert_int_equal(assignor_assign((enum assignor)a, &f.group), ERR_OK);
        check_whole(&f);
        assert_int_equal(load(&f, 0), 1);
    }
    arena_deinit(&f.arena);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 2);
    f.topics[0].partition_count = 100000;
    subscribe_all(&f);
    f.arena.limit = 1000;
    for (unsigned a = 0; a < ASSIGNOR_COUNT; a++)
        assert_int_equal(assignor_assign((enum assignor)a, &f.group), ERR_NOMEM);
    arena_deinit(&f.arena);
}

static void randomize(struct fixture *f, struct rng *rng, bool all_same)
{
    fixture_init(f, (uint32_t)rng_range(rng, 1, TOPICS_MAX),
                 (uint32_t)rng_range(rng, 1, MEMBERS_MAX));
    for (uint32_t t = 0; t < f->group.topic_count; t++)
        f->topics[t].partition_count = (int32_t)rng_range(rng, 0, COUNT_MAX);
    if (all_same)
        subscribe_all(f);
    for (uint32_t m = 0; !all_same && m < f->group.member_count; m++)
        for (uint32_t t = 0; t < f->group.topic_count; t++)
            if (rng_chance(rng, 1, 2))
                subscribe(f, m, t);
}

static uint32_t moves(const struct fixture *f)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < f->group.member_count; m++) {
        const struct assignment *current = f->members[m].current;
        for (size_t i = 0; i < current->count; i++)
            for (uint32_t p = 0; p < current->topics[i].count; p++)
                count += !assignment_has(&f->members[m].target, current->topics[i].topic_id,
                                         current->topics[i].partitions[p]);
    }
    return count;
}

/* No topic has a partition whose owner has two more than another subscriber of it. */
static bool is_balanced(const struct fixture *f)
{
    for (uint32_t t = 0; t < f->group.topic_count; t++)
        for (int32_t p = 0; p < f->topics[t].partition_count; p++) {
            int owner = owner_of(f, t, p);
            for (uint32_t m = 0; owner >= 0 && m < f->group.member_count; m++)
                if (subscribes(f, m, t) && load(f, m) + 1 < load(f, (uint32_t)owner))
                    return false;
        }
    return true;
}

static void test_random(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < 1500; round++) {
        struct fixture f;
        bool all_same = rng_chance(&rng, 1, 2);
        randomize(&f, &rng, all_same);
        uint32_t members = f.group.member_count;
        f.group.member_count = (uint32_t)rng_range(&rng, 1, members);
        assert_int_equal(assignor_assign(ASSIGNOR_UNIFORM, &f.group), ERR_OK);
        check_whole(&f);
        assert_true(is_balanced(&f));
        settle(&f);
        assert_int_equal(assignor_assign(ASSIGNOR_UNIFORM, &f.group), ERR_OK);
        assert_int_equal(moves(&f), 0);
        uint32_t before = f.group.member_count;
        f.group.member_count = members;
        assert_int_equal(assignor_assign(ASSIGNOR_UNIFORM, &f.group), ERR_OK);
        check_whole(&f);
        assert_true(is_balanced(&f));
        uint32_t taken = 0;
        for (uint32_t m = before; m < members; m++)
            taken += load(&f, m);
        if (all_same)
            assert_int_equal(moves(&f), taken);
        assert_int_equal(assignor_assign(ASSIGNOR_RANGE, &f.group), ERR_OK);
        check_whole(&f);
        arena_deinit(&f.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_nobody_and_nothing),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_uniform_moves_little),
        cmocka_unit_test(test_uniform_keeps_the_extra),
        cmocka_unit_test(test_foreign_assignment),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
