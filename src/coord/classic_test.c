/* A classic group's record: what a coordinator makes of it, and what its state then allows. */
#include "coord/classic.h"
#include "coord/testing.h"

/* version 0, one topic "topic", no user data */
static const uint8_t subscription[] = "\0\0\0\0\0\1\0\5topic\xff\xff\xff\xff";

static void replay_group(struct test_coord *t, struct str leader, struct str second_instance,
                         enum err expected)
{
    struct group_metadata_key key = {STR("g")};
    struct group_metadata_value_member_metadata members[2];
    struct group_metadata_value value;
    MSG_INIT(group_metadata_value, &value);
    for (size_t i = 0; i < 2; i++) {
        MSG_INIT(group_metadata_value_member_metadata, &members[i]);
        members[i].member_id = i == 0 ? STR("m0") : STR("m1");
        members[i].group_instance_id = i == 0 ? STR("i0") : second_instance;
        members[i].client_id = STR("c");
        members[i].client_host = STR("/h");
        members[i].session_timeout = 10000;
        members[i].subscription = slice_of(subscription, sizeof(subscription) - 1);
        members[i].assignment = slice_of("a", 1);
    }
    value.protocol_type = STR("consumer");
    value.generation = 3;
    value.protocol = STR("range");
    value.leader = leader;
    value.members = members;
    value.members_len = 2;
    struct coord_record record = {
        .type = COORD_GROUP_METADATA, .version = 4, .key = &key, .value = &value};
    assert_int_equal(coord_replay(t->coord, &record), expected);
    if (expected == ERR_OK)
        test_append(t, &record);
}

static enum err check(const struct test_coord *t, struct str member, struct str instance,
                      int32_t generation)
{
    struct coord_offset_commit commit = {
        .member_id = member, .instance_id = instance, .generation = generation};
    return classic_check_commit(group_find(t->coord, STR("g")), &commit);
}

static void test_replay(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    replay_group(&t, STR("m1"), STR_NULL, ERR_OK);
    for (int round = 0; round < 2; round++) {
        const struct group *group = group_find(t.coord, STR("g"));
        assert_non_null(group);
        assert_int_equal(classic_state(group), CLASSIC_STABLE);
        assert_int_equal(group->classic.generation, 3);
        assert_ptr_equal(group->classic.leader, classic_member_find(group, STR("m1")));
        assert_ptr_equal(classic_instance_find(group, STR("i0")),
                         classic_member_find(group, STR("m0")));
        assert_int_equal(check(&t, STR("m0"), STR("i0"), 3), ERR_OK);
        assert_int_equal(check(&t, STR("m0"), STR("i0"), 2), ERR_ILLEGAL_GENERATION);
        assert_int_equal(check(&t, STR("m1"), STR("i0"), 3), ERR_FENCED_INSTANCE_ID);
        assert_int_equal(check(&t, STR("m1"), STR("i9"), 3), ERR_UNKNOWN_MEMBER_ID);
        assert_int_equal(check(&t, STR("m9"), STR_NULL, 3), ERR_UNKNOWN_MEMBER_ID);
        assert_int_equal(check(&t, STR(""), STR_NULL, -1), ERR_UNKNOWN_MEMBER_ID);
        assert_true(classic_is_subscribed(group, STR("topic")));
        assert_false(classic_is_subscribed(group, STR("topi")));
        test_reload(&t);
    }
    test_end(&t);
}

/* A record that cannot be leaves no half group. */
static void test_bad_record(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    replay_group(&t, STR("m0"), STR("i0"), ERR_MALFORMED);
    const struct group *group = group_find(t.coord, STR("g"));
    assert_true(!group || classic_state(group) == CLASSIC_EMPTY);
    assert_true(!group || group->classic.member_count == 0);
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_bad_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
