/* Groups described, listed, deleted. */
#include "coord/classic_testing.h"

static struct coord_describe describe(struct test_coord *t, struct str group)
{
    struct coord_describe own = {.op = {.arena = &t->arena}, .group_id = group};
    coord_describe(t->coord, test_call(t), &own);
    assert_ptr_equal(test_done(t), &own.op);
    return own;
}

static size_t list(struct test_coord *t, struct str state, struct str type)
{
    struct coord_list own = {.op = {.arena = &t->arena},
                             .states = &state,
                             .state_count = state.len > 0,
                             .types = &type,
                             .type_count = type.len > 0};
    coord_list(t->coord, test_call(t), &own);
    assert_ptr_equal(test_done(t), &own.op);
    assert_int_equal(own.op.err, ERR_OK);
    return own.group_count;
}

static enum err delete_group(struct test_coord *t, struct str group)
{
    struct coord_delete own = {.op = {.arena = &t->arena}, .group_id = group};
    coord_delete(t->coord, test_call(t), &own);
    test_commit(t);
    assert_ptr_equal(test_done(t), &own.op);
    return own.op.err;
}

static void test_all(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    assert_int_equal(list(&t, STR(""), STR("")), 0);
    struct coord_describe missing = describe(&t, STR("none"));
    assert_int_equal(missing.op.err, ERR_GROUP_ID_NOT_FOUND);
    assert_true(str_eq(missing.state, STR("Dead")));

    struct str member = test_stable_one(&t);
    struct coord_describe own = describe(&t, TEST_GROUP);
    assert_int_equal(own.op.err, ERR_OK);
    assert_true(str_eq(own.state, STR("Stable")));
    assert_true(str_eq(own.protocol, STR("range")));
    assert_int_equal(own.member_count, 1);
    assert_true(str_eq(own.members[0].id, member));
    assert_true(str_eq(own.members[0].client_host, STR("/host")));
    assert_int_equal(own.members[0].metadata.len, strlen("range"));
    assert_int_equal(own.members[0].assignment.len, member.len);
    assert_true(str_is_null(own.members[0].instance_id));

    assert_int_equal(list(&t, STR(""), STR("")), 1);
    assert_int_equal(list(&t, STR("sTABLE"), STR("Classic")), 1);
    assert_int_equal(list(&t, STR("Stabl"), STR("")), 0);
    assert_int_equal(list(&t, STR("Empty"), STR("")), 0);
    assert_int_equal(list(&t, STR(""), STR("consumer")), 0);

    assert_int_equal(delete_group(&t, TEST_GROUP), ERR_NON_EMPTY_GROUP);
    assert_int_equal(delete_group(&t, STR("none")), ERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(test_leave(&t, member, STR_NULL), ERR_OK);
    assert_int_equal(list(&t, STR("empty"), STR("")), 1);
    assert_int_equal(delete_group(&t, TEST_GROUP), ERR_OK);
    assert_int_equal(delete_group(&t, TEST_GROUP), ERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(list(&t, STR(""), STR("")), 0);
    test_reload(&t);
    assert_int_equal(list(&t, STR(""), STR("")), 0);
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
