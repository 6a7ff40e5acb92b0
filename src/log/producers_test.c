/* Goal: sequences are accepted, recognized as duplicates or refused as Apache Kafka does.
 * Method: the cases seen in a running Kafka, the wrap of sequence numbers, and snapshots cut and
 * changed at each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "log/producers.h"

static struct producer_append batch_of(int16_t epoch, int32_t first, int32_t last, int64_t offset)
{
    return (struct producer_append){.id = 7,
                                    .epoch = epoch,
                                    .first_sequence = first,
                                    .last_sequence = last,
                                    .first_offset = offset,
                                    .last_offset = offset + (last - first),
                                    .timestamp = 1000};
}

static enum err try_append(struct producers *producers, struct producer_append append,
                           const struct producer_batch **duplicate)
{
    enum err err = producers_check(producers, &append, duplicate);
    int64_t ended_offset;
    if (err == ERR_OK && !*duplicate)
        assert_int_equal(producers_note(producers, &append, &ended_offset), ERR_OK);
    return err;
}

static void test_sequences(void **state)
{
    (void)state;
    struct producers producers;
    const struct producer_batch *duplicate;
    producers_init(&producers, 1);
    assert_int_equal(try_append(&producers, batch_of(0, 5, 6, 0), &duplicate), ERR_OK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(try_append(&producers, batch_of(0, 7 + i, 7 + i, 2 + i), &duplicate), 0);
    for (int i = 1; i < 6; i++) {
        assert_int_equal(try_append(&producers, batch_of(0, 7 + i, 7 + i, 99), &duplicate), ERR_OK);
        assert_non_null(duplicate);
        assert_int_equal(duplicate->first_offset, 2 + i);
    }
    assert_int_equal(try_append(&producers, batch_of(0, 7, 7, 99), &duplicate),
                     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(try_append(&producers, batch_of(0, 14, 14, 99), &duplicate),
                     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(try_append(&producers, batch_of(1, 1, 1, 99), &duplicate),
                     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(try_append(&producers, batch_of(1, 0, 0, 8), &duplicate), ERR_OK);
    assert_int_equal(try_append(&producers, batch_of(0, 1, 1, 99), &duplicate),
                     ERR_INVALID_PRODUCER_EPOCH);
    producers_deinit(&producers);
}

static void test_sequences_wrap(void **state)
{
    (void)state;
    struct producers producers;
    const struct producer_batch *duplicate;
    producers_init(&producers, 1);
    assert_int_equal(try_append(&producers, batch_of(0, INT32_MAX, INT32_MAX, 0), &duplicate), 0);
    assert_int_equal(try_append(&producers, batch_of(0, 0, 0, 1), &duplicate), ERR_OK);
    producers_deinit(&producers);
}

static void test_snapshot(void **state)
{
    (void)state;
    struct producers producers, back;
    const struct producer_batch *duplicate;
    struct buf bytes;
    producers_init(&producers, 1);
    producers_init(&back, 2);
    buf_init(&bytes, BUF_NO_LIMIT);
    assert_int_equal(try_append(&producers, batch_of(3, 0, 4, 10), &duplicate), ERR_OK);
    assert_int_equal(producers_snapshot_write(&producers, &bytes), ERR_OK);
    assert_int_equal(producers_snapshot_read(&back, buf_slice(&bytes)), ERR_OK);
    assert_int_equal(try_append(&back, batch_of(3, 0, 4, 99), &duplicate), ERR_OK);
    assert_non_null(duplicate);
    assert_int_equal(duplicate->first_offset, 10);
    for (size_t cut = 0; cut < bytes.len; cut++)
        assert_int_equal(producers_snapshot_read(&back, (struct slice){bytes.data, cut}),
                         ERR_MALFORMED);
    for (size_t at = 0; at < bytes.len; at++) {
        bytes.data[at] ^= 0x40;
        assert_int_equal(producers_snapshot_read(&back, buf_slice(&bytes)), ERR_MALFORMED);
        bytes.data[at] ^= 0x40;
    }
    assert_int_equal(producers_snapshot_read(&back, buf_slice(&bytes)), ERR_OK);
    producers_expire(&back, 1001);
    assert_null(producers_find(&back, 7));
    buf_deinit(&bytes);
    producers_deinit(&back);
    producers_deinit(&producers);
}

static void test_swap(void **state)
{
    (void)state;
    struct producers a, b;
    const struct producer_batch *duplicate;
    producers_init(&a, 1);
    producers_init(&b, 2);
    struct producer_append open = batch_of(3, 0, 4, 10);
    open.is_transactional = true;
    assert_int_equal(try_append(&a, open, &duplicate), ERR_OK);
    int64_t undecided = producers_undecided_offset(&a);
    for (int i = 0; i < 3; i++) {
        producers_swap(&a, &b);
        struct producers *has = i % 2 == 0 ? &b : &a, *has_not = i % 2 == 0 ? &a : &b;
        assert_non_null(producers_find(has, open.id));
        assert_null(producers_find(has_not, open.id));
        assert_int_equal(producers_undecided_offset(has), undecided);
        assert_int_equal(producers_undecided_offset(has_not), INT64_MAX);
    }
    producers_deinit(&a);
    producers_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_sequences_wrap),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_swap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
