/* Goal: what is built in any order is sorted and each partition is there once; a clone is equal and
 * stands alone; lookups find what is there and nothing else.
 * Method: small assignments by hand; an arena that is too small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "coord/assignment.h"

static struct uuid topic_id(uint32_t index)
{
    struct uuid id = UUID_ZERO;
    id.bytes[15] = (uint8_t)(index + 1);
    return id;
}

static void test_builder(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct assignment_builder builder;
    struct assignment a;
    assignment_builder_init(&builder, &arena, true);
    assert_int_equal(assignment_builder_finish(&builder, &a), ERR_OK);
    assert_true(assignment_eq(&a, &assignment_empty));
    assignment_builder_init(&builder, &arena, true);
    assert_int_equal(assignment_builder_add(&builder, topic_id(3), 5, 1), ERR_OK);
    assert_int_equal(assignment_builder_add(&builder, topic_id(1), 9, 2), ERR_OK);
    assert_int_equal(assignment_builder_add(&builder, topic_id(3), 2, 3), ERR_OK);
    assert_int_equal(assignment_builder_add(&builder, topic_id(3), 5, 4), ERR_OK);
    assert_int_equal(assignment_builder_finish(&builder, &a), ERR_OK);
    assert_int_equal(a.count, 2);
    assert_int_equal(assignment_partition_count(&a), 3);
    const struct topic_partitions *topic = assignment_topic(&a, topic_id(3));
    assert_int_equal(topic->partitions[0], 2);
    assert_int_equal(topic->epochs[topic_partitions_find(topic, 5)], 4);
    assert_null(assignment_topic(&a, topic_id(2)));
    assert_false(assignment_has(&a, topic_id(1), 8));
    struct assignment *copy;
    assert_int_equal(assignment_clone(&a, &copy), ERR_OK);
    assert_true(assignment_eq(&a, copy));
    free(copy);
    arena_deinit(&arena);
}

static void test_epochs_count(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct assignment made[3];
    for (int i = 0; i < 3; i++) {
        struct assignment_builder builder;
        assignment_builder_init(&builder, &arena, i < 2);
        assert_int_equal(assignment_builder_add(&builder, topic_id(0), 0, i), ERR_OK);
        assert_int_equal(assignment_builder_finish(&builder, &made[i]), ERR_OK);
    }
    assert_false(assignment_eq(&made[0], &made[1]));
    assert_false(assignment_eq(&made[0], &made[2]));
    assert_true(assignment_eq(&made[2], &made[2]));
    arena_deinit(&arena);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 8);
    struct assignment_builder builder;
    assignment_builder_init(&builder, &arena, true);
    assert_int_equal(assignment_builder_add(&builder, topic_id(0), 0, 0), ERR_NOMEM);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builder),
        cmocka_unit_test(test_epochs_count),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
