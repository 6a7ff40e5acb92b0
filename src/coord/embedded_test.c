/* What classic members say and are told, in each version and where it is not right. */
#include "coord/consumer_testing.h"
#include "coord/embedded.h"

/* A subscription to t, whose owner says that it has 0 and 9 of t and 1 of a topic that is gone. */
static struct slice subscription_of(struct world *w, int16_t version)
{
    struct str topics[] = {STR("t")};
    int32_t of_t[] = {0, 9, -1}, of_gone[] = {1};
    struct consumer_protocol_subscription_owned_partition owned[] = {{STR("t"), of_t, 3},
                                                                     {STR("gone"), of_gone, 1}};
    struct consumer_protocol_subscription value = {.topics = topics,
                                                   .topics_len = 1,
                                                   .owned_partitions = owned,
                                                   .owned_partitions_len = version > 0 ? 2 : 0,
                                                   .generation_id = version > 1 ? 7 : -1,
                                                   .rack_id = version > 2 ? STR("r") : STR_NULL};
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_put_be16(&bytes, (uint16_t)version);
    assert_int_equal(
        codec_encode(&consumer_protocol_subscription_schema, version, &value, &bytes, NULL),
        ERR_OK);
    struct slice copy = arena_slice(&w->t.arena, buf_slice(&bytes));
    buf_deinit(&bytes);
    return copy;
}

static void test_subscriptions(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct uuid id = add_topic(&w, STR("t"), 4);
    for (int16_t version = 0; version <= 3; version++) {
        struct consumer_protocol_subscription said;
        struct assignment owned;
        struct slice bytes = subscription_of(&w, version);
        assert_int_equal(embedded_read_subscription(bytes, &w.t.arena, &said), ERR_OK);
        assert_int_equal(said.topics_len, 1);
        assert_true(str_eq(said.topics[0], STR("t")));
        assert_int_equal(said.generation_id, version > 1 ? 7 : -1);
        assert_int_equal(embedded_read_owned(test_call(&w.t), &said, &owned), ERR_OK);
        assert_int_equal(assignment_partition_count(&owned), version > 0);
        assert_int_equal(assignment_has(&owned, id, 0), version > 0);
        /* What is newer begins alike; what is cut off, or of no version, is nothing. */
        uint8_t *changed = (uint8_t *)(uintptr_t)bytes.data;
        for (size_t len = 0; len < bytes.len; len++)
            assert_int_not_equal(
                embedded_read_subscription(slice_of(bytes.data, len), &w.t.arena, &said), ERR_OK);
        changed[0] = 0x80;
        assert_int_equal(embedded_read_subscription(bytes, &w.t.arena, &said), ERR_MALFORMED);
    }
    struct consumer_protocol_subscription said;
    struct slice newest = subscription_of(&w, 3);
    ((uint8_t *)(uintptr_t)newest.data)[1] = 9;
    assert_int_equal(embedded_read_subscription(newest, &w.t.arena, &said), ERR_OK);
    test_end(&w.t);
}

static void test_assignments(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct uuid id = add_topic(&w, STR("t"), 4);
    struct uuid gone = add_topic(&w, STR("gone"), 4);
    int32_t numbers[] = {1, 3};
    struct topic_partitions topics[] = {{id, 2, numbers, NULL}, {gone, 2, numbers, NULL}};
    struct assignment both = {2, topics}, back;
    struct slice bytes;
    struct coord_call *call = test_call(&w.t);
    for (int16_t version = 0; version <= 3; version++) {
        struct slice said = subscription_of(&w, version);
        assert_int_equal(embedded_write_assignment(call, &w.t.arena, &both, said, &bytes), ERR_OK);
        assert_int_equal(be16_load(bytes.data), version);
        remove_topic(&w, STR("gone"));
        assert_int_equal(embedded_read_assignment(call, bytes, 5, &back), ERR_OK);
        assert_int_equal(assignment_partition_count(&back), 2);
        assert_true(assignment_has(&back, id, 1) && assignment_has(&back, id, 3));
        assert_int_equal(back.topics[0].epochs[0], 5);
        w.topics[w.topic_count++] =
            (struct coord_topic){.name = STR("gone"), .id = gone, .partition_count = 4};
    }
    /* A topic that is smaller than it was. */
    w.topics[0].partition_count = 2;
    assert_int_equal(embedded_read_assignment(call, bytes, 5, &back), ERR_OK);
    assert_false(assignment_has(&back, id, 3));
    assert_int_equal(embedded_read_assignment(call, slice_of("", 0), 5, &back), ERR_OK);
    assert_int_equal(back.count, 0);
    assert_int_equal(embedded_read_assignment(call, slice_of("\0", 1), 5, &back), ERR_MALFORMED);
    /* An assignor's own data: no topics, and a byte. */
    assert_int_equal(
        embedded_read_assignment(call, slice_of("\0\1\0\0\0\0\0\0\0\1x", 11), 5, &back),
        ERR_UNSUPPORTED);
    test_end(&w.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscriptions),
        cmocka_unit_test(test_assignments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
