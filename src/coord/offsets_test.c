/* Committed offsets without membership: commit, fetch, delete, expiry, replay. Each test runs
 * requests against a coordinator with a log in memory, and looks at answers and at what a new
 * coordinator makes of the log. */
#include "coord/testing.h"

static struct coord_offset one(int32_t partition, int64_t offset)
{
    return (struct coord_offset){
        .partition = partition, .offset = offset, .leader_epoch = -1, .metadata = STR("")};
}

static enum err commit_as(struct test_coord *t, struct coord_offset_commit *commit,
                          struct coord_offset *offset)
{
    struct coord_offset_topic topic = {
        .name = STR("topic"), .partitions = offset, .partition_count = 1};
    commit->op = (struct coord_op){.arena = &t->arena};
    commit->topics = &topic;
    commit->topic_count = 1;
    coord_offset_commit(t->coord, test_call(t), commit);
    test_commit(t);
    assert_ptr_equal(test_done(t), &commit->op);
    return commit->op.err != ERR_OK ? commit->op.err : offset->err;
}

static enum err commit_offset(struct test_coord *t, struct str group, struct coord_offset offset)
{
    struct coord_offset_commit commit = {.group_id = group,
                                         .generation = -1,
                                         .member_id = STR(""),
                                         .retention_ms = -1,
                                         .api_version = 8};
    return commit_as(t, &commit, &offset);
}

static enum err commit(struct test_coord *t, struct str group, int32_t partition, int64_t offset)
{
    return commit_offset(t, group, one(partition, offset));
}

static int64_t fetch(struct test_coord *t, struct str group, int32_t partition)
{
    struct coord_offset asked = {.partition = partition};
    struct coord_offset_topic topic = {
        .name = STR("topic"), .partitions = &asked, .partition_count = 1};
    struct coord_offset_fetch fetch = {.op = {.arena = &t->arena},
                                       .group_id = group,
                                       .member_epoch = -1,
                                       .topics = &topic,
                                       .topic_count = 1};
    coord_offset_fetch(t->coord, test_call(t), &fetch);
    assert_ptr_equal(test_done(t), &fetch.op);
    assert_int_equal(fetch.op.err, ERR_OK);
    return asked.offset;
}

static size_t fetch_all(struct test_coord *t, struct str group)
{
    struct coord_offset_fetch fetch = {
        .op = {.arena = &t->arena}, .group_id = group, .wants_all = true};
    size_t count = 0;
    coord_offset_fetch(t->coord, test_call(t), &fetch);
    assert_ptr_equal(test_done(t), &fetch.op);
    for (size_t i = 0; i < fetch.topic_count; i++)
        count += fetch.topics[i].partition_count;
    return count;
}

static void test_commit_and_fetch(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    assert_int_equal(fetch(&t, STR("g"), 0), -1);
    assert_int_equal(commit(&t, STR("g"), 0, 5), ERR_OK);
    assert_int_equal(commit(&t, STR("g"), 7, 6), ERR_OK);
    assert_int_equal(commit(&t, STR("g"), 3, 7), ERR_OK);
    assert_int_equal(commit(&t, STR("g"), 0, 4), ERR_OK);
    assert_int_equal(commit(&t, STR(""), 0, 9), ERR_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(fetch(&t, STR("g"), 0), 4);
        assert_int_equal(fetch(&t, STR("g"), 3), 7);
        assert_int_equal(fetch(&t, STR("g"), 7), 6);
        assert_int_equal(fetch(&t, STR("g"), 1), -1);
        assert_int_equal(fetch(&t, STR(""), 0), 9);
        assert_int_equal(fetch(&t, STR("h"), 0), -1);
        assert_int_equal(fetch_all(&t, STR("g")), 3);
        assert_int_equal(fetch_all(&t, STR("h")), 0);
        test_reload(&t);
    }
    test_end(&t);
}

struct looked {
    size_t count, stop_at;
    int64_t sum;
    struct str group;
    size_t group_changes;
};

static enum err on_seen(void *arg, const struct coord_seen *seen)
{
    struct looked *looked = arg;
    if (looked->count == looked->stop_at)
        return ERR_LIMIT;
    looked->count++;
    looked->sum += seen->offset;
    looked->group_changes += !str_eq(seen->group_id, looked->group);
    looked->group = seen->group_id;
    assert_true(str_eq(seen->topic, STR("topic")));
    assert_int_equal(seen->member_count, 0);
    assert_false(seen->has_reader);
    return ERR_OK;
}

static void test_each_offset(void **state)
{
    struct test_coord t;
    struct looked looked = {.stop_at = SIZE_MAX};
    (void)state;
    test_init(&t);
    assert_int_equal(coord_each_offset(t.coord, on_seen, &looked), ERR_OK);
    assert_int_equal(looked.count, 0);
    assert_int_equal(commit(&t, STR("g"), 0, 5), ERR_OK);
    assert_int_equal(commit(&t, STR("h"), 1, 6), ERR_OK);
    assert_int_equal(commit(&t, STR("g"), 7, 7), ERR_OK);
    assert_int_equal(coord_each_offset(t.coord, on_seen, &looked), ERR_OK);
    assert_int_equal(looked.count, 3);
    assert_int_equal(looked.sum, 18);
    assert_int_equal(looked.group_changes, 2); /* a group's follow each other */
    looked.stop_at = 4;
    assert_int_equal(coord_each_offset(t.coord, on_seen, &looked), ERR_LIMIT);
    test_end(&t);
}

static void test_refused_commits(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_offset offset = one(0, 1);
    struct coord_offset_commit member = {.group_id = STR("g"),
                                         .generation = 1,
                                         .member_id = STR("m"),
                                         .retention_ms = -1,
                                         .api_version = 8};
    assert_int_equal(commit_as(&t, &member, &offset), ERR_ILLEGAL_GENERATION);
    member.api_version = 9;
    assert_int_equal(commit_as(&t, &member, &offset), ERR_GROUP_ID_NOT_FOUND);
    assert_null(group_find(t.coord, STR("g")));

    char metadata[4097];
    memset(metadata, 'x', sizeof(metadata));
    offset.metadata = (struct str){metadata, sizeof(metadata)};
    assert_int_equal(commit_offset(&t, STR("g"), offset), ERR_OFFSET_METADATA_TOO_LARGE);
    assert_null(group_find(t.coord, STR("g")));
    offset.metadata.len--;
    assert_int_equal(commit_offset(&t, STR("g"), offset), ERR_OK);

    member.api_version = 9;
    assert_int_equal(commit_as(&t, &member, &offset), ERR_UNKNOWN_MEMBER_ID);
    member.instance_id = STR("i");
    assert_int_equal(commit_as(&t, &member, &offset), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(t.log_count, 1);
    test_end(&t);
}

static enum err delete_offset(struct test_coord *t, struct str group, int32_t partition)
{
    struct coord_offset asked = {.partition = partition};
    struct coord_offset_topic topic = {
        .name = STR("topic"), .partitions = &asked, .partition_count = 1};
    struct coord_offset_delete request = {
        .op = {.arena = &t->arena}, .group_id = group, .topics = &topic, .topic_count = 1};
    coord_offset_delete(t->coord, test_call(t), &request);
    test_commit(t);
    assert_ptr_equal(test_done(t), &request.op);
    return request.op.err != ERR_OK ? request.op.err : asked.err;
}

static void test_delete(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    assert_int_equal(commit(&t, STR("g"), 0, 5), ERR_OK);
    assert_int_equal(commit(&t, STR("g"), 1, 6), ERR_OK);
    assert_int_equal(delete_offset(&t, STR("h"), 0), ERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(delete_offset(&t, STR("g"), 9), ERR_OK);
    assert_int_equal(t.log_count, 2);
    assert_int_equal(delete_offset(&t, STR("g"), 0), ERR_OK);
    assert_int_equal(t.log_count, 3);
    test_reload(&t);
    assert_int_equal(fetch(&t, STR("g"), 0), -1);
    assert_int_equal(fetch(&t, STR("g"), 1), 6);
    test_end(&t);
}

static void test_topic_deleted(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    assert_int_equal(commit(&t, STR("g"), 0, 5), ERR_OK);
    assert_int_equal(commit(&t, STR("h"), 1, 6), ERR_OK);
    struct str names[] = {STR("other"), STR("topic")};
    coord_topics_deleted(t.coord, test_call(&t), names, 1);
    test_commit(&t);
    assert_int_equal(fetch(&t, STR("g"), 0), 5);
    coord_topics_deleted(t.coord, test_call(&t), names, 2);
    test_commit(&t);
    test_reload(&t);
    assert_int_equal(fetch_all(&t, STR("g")) + fetch_all(&t, STR("h")), 0);
    test_end(&t);
}

static void test_expiry(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct coord_offset offset = one(1, 8);
    struct coord_offset_commit brief = {.group_id = STR("g"),
                                        .generation = -1,
                                        .member_id = STR(""),
                                        .retention_ms = 3600000,
                                        .api_version = 4};
    assert_int_equal(commit(&t, STR("g"), 0, 5), ERR_OK);
    assert_int_equal(commit_as(&t, &brief, &offset), ERR_OK);
    test_reload(&t);
    test_pass(&t, 3500000);
    assert_int_equal(fetch(&t, STR("g"), 1), 8);
    test_pass(&t, 800000);
    assert_int_equal(fetch(&t, STR("g"), 1), -1);
    assert_int_equal(fetch(&t, STR("g"), 0), 5);
    test_pass(&t, 7 * 86400000ll - 5000000);
    assert_int_equal(fetch(&t, STR("g"), 0), 5);
    test_pass(&t, 1300000);
    assert_null(group_find(t.coord, STR("g"))); /* the group goes with its last offset */
    test_reload(&t);
    assert_null(group_find(t.coord, STR("g")));
    test_end(&t);
}

/* A sweep that finds more than a batch holds goes on in the next turn. */
static void test_expiry_of_many(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    t.batch_bytes_max = 1000;
    for (int32_t i = 0; i < 100; i++)
        assert_int_equal(commit(&t, STR("g"), i, i), ERR_OK);
    test_pass(&t, 7 * 86400000ll);
    assert_int_equal(fetch_all(&t, STR("g")), 0);
    assert_null(group_find(t.coord, STR("g")));
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_and_fetch), cmocka_unit_test(test_each_offset),
        cmocka_unit_test(test_refused_commits),  cmocka_unit_test(test_delete),
        cmocka_unit_test(test_topic_deleted),    cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_expiry_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
