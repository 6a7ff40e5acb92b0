/* Goal: a shard's partitions are found, epochs are judged, waiters are told, held appends wait.
 * Method: partitions without logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "repl/partition.h"

struct heard {
    struct partition_waiter waiter;
    size_t bytes;
};

static void on_bytes(struct partition_waiter *waiter, size_t bytes)
{
    CONTAINER_OF(waiter, struct heard, waiter)->bytes += bytes == PARTITION_LOOK_AGAIN ? 1 : bytes;
    partition_unwait(waiter);
}

static void test_table_and_waiters(void **state)
{
    (void)state;
    struct map partitions;
    struct partition_config config = {0};
    struct partition *partition;
    struct uuid id = {{9}};
    struct heard heard = {.bytes = 0};
    partitions_init(&partitions, 3);
    assert_int_equal(partition_create(&partitions, id, STR("t"), 4, &config, &partition), ERR_OK);
    assert_ptr_equal(partitions_find(&partitions, id, 4), partition);
    assert_null(partitions_find(&partitions, id, 3));
    partition->leader_epoch = 5;
    assert_int_equal(partition_check_epoch(partition, -1), ERR_OK);
    assert_int_equal(partition_check_epoch(partition, 5), ERR_OK);
    assert_int_equal(partition_check_epoch(partition, 4), ERR_FENCED_LEADER_EPOCH);
    assert_int_equal(partition_check_epoch(partition, 6), ERR_UNKNOWN_LEADER_EPOCH);
    partition_waiter_init(&heard.waiter, on_bytes);
    partition_wait(partition, &heard.waiter);
    partition->owner.on_advance(&partition->owner, 10);
    partition->owner.on_advance(&partition->owner, 10);
    assert_int_equal(heard.bytes, 10);
    partition_wait(partition, &heard.waiter);
    partition_detach(&partitions, partition);
    assert_int_equal(heard.bytes, 11);
    assert_null(partitions_find(&partitions, id, 4));
    partition_free(partition);
    partitions_deinit(&partitions);
}

static void on_appended(struct partition_append *append)
{
    (*(int *)(void *)append->scratch)++;
}

/* Appends of a held partition wait, and end in their order, whatever their end is. */
static void test_held(void **state)
{
    (void)state;
    struct map partitions;
    struct partition_config config = {0};
    struct partition *partition;
    struct batch_verdict verdict;
    int ended = 0;
    struct partition_append appends[3];
    partitions_init(&partitions, 3);
    assert_int_equal(
        partition_create(&partitions, (struct uuid){{9}}, STR("t"), 0, &config, &partition),
        ERR_OK);
    partition_hold(partition);
    for (int i = 0; i < 3; i++) {
        appends[i] = (struct partition_append){
            .verdict = &verdict, .scratch = (struct buf *)(void *)&ended, .done = on_appended};
        partition_append(partition, &appends[i]);
    }
    assert_int_equal(ended, 0);
    partition_release(partition);
    assert_int_equal(ended, 3);
    partition_hold(partition);
    partition_append(partition, &appends[0]);
    assert_int_equal(ended, 3);
    partition_detach(&partitions, partition); /* ends what waits */
    assert_int_equal(ended, 4);
    assert_int_equal(appends[0].err, ERR_KAFKA_STORAGE_ERROR);
    partition_free(partition);
    partitions_deinit(&partitions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table_and_waiters),
                                       cmocka_unit_test(test_held)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
