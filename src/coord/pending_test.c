/* Offsets of transactions: open, committed, aborted, in every order with plain commits and with
 * tombstones, and what readers of both kinds are told meanwhile. Records are replayed as a log has
 * them; markers that end nothing change nothing. */
#include "coord/testing.h"

#define NO_PRODUCER INT64_C(-1)

/* A commit as it is in the log; an offset of -1: a tombstone. */
static void put_in(struct test_coord *t, int64_t producer, struct str group, int32_t partition,
                   int64_t offset)
{
    struct offset_commit_key key = {group, STR("topic"), partition};
    struct offset_commit_value value;
    MSG_INIT(offset_commit_value, &value);
    value.offset = offset;
    value.metadata = STR("note");
    value.commit_timestamp = t->wall_ms;
    struct coord_record record = {.type = COORD_OFFSET_COMMIT,
                                  .version = 4,
                                  .key = &key,
                                  .value = offset < 0 ? NULL : &value};
    assert_int_equal(producer == NO_PRODUCER ? coord_replay(t->coord, &record)
                                             : coord_replay_pending(t->coord, &record, producer),
                     ERR_OK);
}

static void put(struct test_coord *t, int64_t producer, int32_t partition, int64_t offset)
{
    put_in(t, producer, STR("g"), partition, offset);
}

static void end(struct test_coord *t, int64_t producer, bool is_committed)
{
    assert_int_equal(coord_replay_end(t->coord, producer, is_committed), ERR_OK);
}

/* The offset, or an error as a negative number below -1. */
static int64_t read_one(struct test_coord *t, int32_t partition, bool stable)
{
    struct coord_offset asked = {.partition = partition};
    struct coord_offset_topic topic = {
        .name = STR("topic"), .partitions = &asked, .partition_count = 1};
    struct coord_offset_fetch fetch = {.op = {.arena = &t->arena},
                                       .group_id = STR("g"),
                                       .member_epoch = -1,
                                       .require_stable = stable,
                                       .topics = &topic,
                                       .topic_count = 1};
    coord_offset_fetch(t->coord, test_call(t), &fetch);
    assert_ptr_equal(test_done(t), &fetch.op);
    assert_int_equal(fetch.op.err, ERR_OK);
    if (asked.err != ERR_OK)
        assert_int_equal(asked.offset, -1);
    return asked.err == ERR_OK ? asked.offset : -1000 - (int64_t)asked.err;
}

#define UNSTABLE (-1000 - (int64_t)ERR_UNSTABLE_OFFSET_COMMIT)

static void check(struct test_coord *t, int32_t partition, int64_t offset, int64_t stable)
{
    assert_int_equal(read_one(t, partition, false), offset);
    assert_int_equal(read_one(t, partition, true), stable);
}

static void test_commit_and_abort(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    put(&t, 7, 0, 10);
    check(&t, 0, -1, UNSTABLE);
    put(&t, NO_PRODUCER, 1, 20);
    put(&t, 7, 1, 21);
    put(&t, 8, 2, 30);
    check(&t, 1, 20, UNSTABLE);
    check(&t, 3, -1, -1);
    end(&t, 7, true);
    check(&t, 0, 10, 10);
    check(&t, 1, 21, 21);
    check(&t, 2, -1, UNSTABLE);
    end(&t, 8, false);
    check(&t, 2, -1, -1);
    put(&t, 7, 1, 99);
    put(&t, 7, 1, 98);
    end(&t, 7, false);
    check(&t, 1, 21, 21);
    put(&t, 7, 1, 99);
    put(&t, 7, 1, 40);
    end(&t, 7, true);
    check(&t, 1, 40, 40);
    assert_int_equal(t.coord->pending_txns.count, 0);
    test_end(&t);
}

/* What the log has later counts, whenever the marker comes. */
static void test_order(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    put(&t, 7, 0, 10);
    put(&t, NO_PRODUCER, 0, 5);
    check(&t, 0, 5, UNSTABLE);
    end(&t, 7, true);
    check(&t, 0, 5, 5);
    /* Of two transactions it is the later record, not the later marker. */
    put(&t, 7, 1, 10);
    put(&t, 8, 1, 11);
    end(&t, 8, true);
    check(&t, 1, 11, UNSTABLE);
    end(&t, 7, true);
    check(&t, 1, 11, 11);
    put(&t, 8, 2, 11);
    put(&t, 7, 2, 12);
    end(&t, 8, true);
    check(&t, 2, 11, UNSTABLE);
    end(&t, 7, true);
    check(&t, 2, 12, 12);
    test_end(&t);
}

static void test_bad_markers(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    end(&t, 7, true);
    put(&t, 7, 0, 10);
    end(&t, 8, true);
    end(&t, -1, false);
    end(&t, INT64_MAX, true);
    check(&t, 0, -1, UNSTABLE);
    end(&t, 7, true);
    end(&t, 7, false);
    end(&t, 7, true);
    check(&t, 0, 10, 10);
    test_end(&t);
}

static void test_tombstones(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    put(&t, 7, 0, 10);
    put(&t, 8, 0, 11);
    put(&t, 7, 1, 12);
    put(&t, NO_PRODUCER, 0, -1);
    check(&t, 0, -1, -1);
    put(&t, 8, 1, -1); /* in a transaction it is no less of one */
    put(&t, 9, 5, -1);
    assert_int_equal(t.coord->pending_txns.count, 0);
    end(&t, 7, true);
    end(&t, 8, true);
    check(&t, 0, -1, -1);
    check(&t, 1, -1, -1);
    test_end(&t);
}

/* A tombstone of the group alone leaves what is pending, as it leaves what is committed. */
static void test_group_tombstone(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    struct group_metadata_key key = {STR("g")};
    struct coord_record record = {.type = COORD_GROUP_METADATA, .key = &key};
    put(&t, 7, 0, 10);
    assert_int_equal(coord_replay_pending(t.coord, &record, 7), ERR_OK);
    check(&t, 0, -1, UNSTABLE);
    end(&t, 7, false);
    assert_int_equal(coord_replay(t.coord, &record), ERR_OK);
    assert_null(group_find(t.coord, STR("g")));
    test_end(&t);
}

static void test_deleted(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    /* By OffsetDelete. */
    put(&t, 7, 0, 10);
    put(&t, 7, 1, 10);
    struct coord_offset asked = {.partition = 0};
    struct coord_offset_topic topic = {
        .name = STR("topic"), .partitions = &asked, .partition_count = 1};
    struct coord_offset_delete request = {
        .op = {.arena = &t.arena}, .group_id = STR("g"), .topics = &topic, .topic_count = 1};
    coord_offset_delete(t.coord, test_call(&t), &request);
    assert_int_equal(t.records.count, 1);
    test_commit(&t);
    assert_ptr_equal(test_done(&t), &request.op);
    check(&t, 0, -1, -1);
    check(&t, 1, -1, UNSTABLE);
    /* With their topic: one tombstone each, also where there are both kinds. */
    put(&t, NO_PRODUCER, 1, 3);
    put(&t, NO_PRODUCER, 2, 3);
    put(&t, 7, 3, 3);
    struct str names[] = {STR("other"), STR("topic")};
    coord_topics_deleted(t.coord, test_call(&t), names, 2);
    assert_int_equal(t.records.count, 3);
    test_commit(&t);
    check(&t, 1, -1, -1);
    check(&t, 3, -1, -1);
    /* With the group. */
    put(&t, 7, 0, 10);
    put(&t, 8, 0, 10);
    struct coord_delete whole = {.op = {.arena = &t.arena}, .group_id = STR("g")};
    coord_delete(t.coord, test_call(&t), &whole);
    assert_int_equal(t.records.count, 2);
    test_commit(&t);
    assert_ptr_equal(test_done(&t), &whole.op);
    assert_int_equal(whole.op.err, ERR_OK);
    assert_null(group_find(t.coord, STR("g")));
    end(&t, 7, true);
    end(&t, 8, true);
    assert_null(group_find(t.coord, STR("g")));
    test_end(&t);
}

/* What may yet change is not expired, nor its group. */
static void test_expiry(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    put(&t, NO_PRODUCER, 0, 4);
    put(&t, NO_PRODUCER, 1, 5);
    put(&t, 7, 1, 6);
    put_in(&t, 8, STR("h"), 0, 6);
    test_pass(&t, 8 * 86400000ll);
    check(&t, 0, -1, -1);
    check(&t, 1, 5, UNSTABLE);
    assert_non_null(group_find(t.coord, STR("h")));
    end(&t, 7, false);
    end(&t, 8, false);
    test_pass(&t, 86400000ll);
    assert_null(group_find(t.coord, STR("g")));
    assert_null(group_find(t.coord, STR("h")));
    test_end(&t);
}

/* A list of all has what is committed, and says of each whether it will stay. */
static void test_fetch_all(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    put(&t, NO_PRODUCER, 0, 4);
    put(&t, NO_PRODUCER, 1, 5);
    put(&t, 7, 1, 6);
    put(&t, 7, 2, 7);
    for (int stable = 0; stable < 2; stable++) {
        struct coord_offset_fetch fetch = {.op = {.arena = &t.arena},
                                           .group_id = STR("g"),
                                           .member_epoch = -1,
                                           .require_stable = stable,
                                           .wants_all = true};
        coord_offset_fetch(t.coord, test_call(&t), &fetch);
        assert_ptr_equal(test_done(&t), &fetch.op);
        assert_int_equal(fetch.topic_count, 1);
        assert_int_equal(fetch.topics[0].partition_count, 2);
        const struct coord_offset *offsets = fetch.topics[0].partitions;
        assert_int_equal(offsets[0].offset, 4);
        assert_int_equal(offsets[0].err, ERR_OK);
        assert_int_equal(offsets[1].offset, stable ? -1 : 5);
        assert_int_equal(offsets[1].err, stable ? ERR_UNSTABLE_OFFSET_COMMIT : ERR_OK);
        assert_true(str_eq(offsets[1].metadata, stable ? STR("") : STR("note")));
    }
    test_end(&t);
}

/* A coordinator is dropped with transactions open. */
static void test_dropped(void **state)
{
    struct test_coord t;
    (void)state;
    test_init(&t);
    for (int32_t i = 0; i < 100; i++) {
        put(&t, i % 5, i % 20, i);
        put_in(&t, i % 7, STR("h"), i, i);
    }
    assert_int_equal(t.coord->pending_txns.count, 7);
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_and_abort), cmocka_unit_test(test_order),
        cmocka_unit_test(test_bad_markers),      cmocka_unit_test(test_tombstones),
        cmocka_unit_test(test_group_tombstone),  cmocka_unit_test(test_deleted),
        cmocka_unit_test(test_expiry),           cmocka_unit_test(test_fetch_all),
        cmocka_unit_test(test_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
