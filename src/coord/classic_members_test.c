/* Which protocol a group takes: one that all members know, by their votes. */
#include "coord/classic_testing.h"

static void join_with(struct test_coord *t, struct str first, struct str second)
{
    struct coord_join *join = test_join(t, STR(""));
    join->takes_id_first = false;
    join->protocols = test_protocols(t, first, second, &join->protocol_count);
    test_run_join(t, join);
    assert_true(test_is_waiting(&join->op));
}

static void test_votes(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    join_with(&t, STR("a"), STR("b"));
    assert_true(str_eq(classic_select_protocol(test_group(&t)), STR("a")));
    join_with(&t, STR("b"), STR("a"));
    join_with(&t, STR("b"), STR("a"));
    assert_true(str_eq(classic_select_protocol(test_group(&t)), STR("b")));
    join_with(&t, STR("c"), STR("a")); /* only one is left that all know */
    assert_true(str_eq(classic_select_protocol(test_group(&t)), STR("a")));
    test_check_group(test_group(&t));
    test_end(&t);
}

/* A name that is repeated does not count for two members. */
static void test_repeated_name(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    join_with(&t, STR("a"), STR("b"));
    join_with(&t, STR("b"), STR("b"));
    assert_true(str_eq(classic_select_protocol(test_group(&t)), STR("b")));
    struct coord_join *join = test_join(&t, STR(""));
    join->protocols = test_protocols(&t, STR("a"), STR("a"), &join->protocol_count);
    test_run_join(&t, join);
    assert_int_equal(test_answer(&t, &join->op), ERR_INCONSISTENT_GROUP_PROTOCOL);
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_votes),
        cmocka_unit_test(test_repeated_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
