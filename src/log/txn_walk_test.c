/* Goal: a walk over a log knows which batches an aborted transaction wrote, and which markers
 * nothing is left for; the index of aborted transactions is read as Kafka writes it.
 * Method: small logs of headers only, in every order that markers and batches can have; files with
 * every kind of damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "log/txn_walk.h"

static struct batch batch_at(int64_t offset, int64_t producer_id, bool is_transactional)
{
    return (struct batch){.base_offset = offset,
                          .last_offset = offset,
                          .producer_id = producer_id,
                          .attributes = is_transactional ? BATCH_ATTR_TRANSACTIONAL : 0};
}

static bool data(struct txn_walk *walk, int64_t offset, int64_t producer_id)
{
    struct batch batch = batch_at(offset, producer_id, true);
    bool is_aborted;
    assert_int_equal(txn_walk_data(walk, &batch, &is_aborted), ERR_OK);
    return is_aborted;
}

/* Whether nothing is left of its transaction; *entry is what the index keeps. */
static bool marker(struct txn_walk *walk, int64_t offset, int64_t producer_id,
                   enum txn_marker marker, const struct aborted_txn **entry)
{
    struct batch batch = batch_at(offset, producer_id, true);
    bool is_alone;
    assert_int_equal(txn_walk_marker(walk, &batch, marker, &is_alone, entry), ERR_OK);
    return is_alone;
}

static void test_walk(void **state)
{
    (void)state;
    struct aborted_txn items[] = {{1, 10, 14, 15}, {2, 11, 16, 17}, {1, 30, 33, 34}};
    struct txn_list aborted = {items, 3, 3};
    const struct aborted_txn *entry;
    struct txn_walk walk;
    txn_walk_init(&walk, &aborted, 0, 1);
    assert_false(data(&walk, 5, 1)); /* this one was committed */
    assert_false(marker(&walk, 6, 1, TXN_COMMIT, &entry));
    assert_null(entry);
    assert_true(marker(&walk, 7, 1, TXN_COMMIT, &entry)); /* and this one is empty */
    assert_true(data(&walk, 10, 1));
    assert_true(data(&walk, 11, 2));
    assert_false(data(&walk, 12, 3)); /* not in the list: committed later */
    assert_true(data(&walk, 13, 1));
    struct batch plain = batch_at(13, 1, false);
    bool is_aborted;
    assert_int_equal(txn_walk_data(&walk, &plain, &is_aborted), ERR_OK);
    assert_false(is_aborted);
    assert_false(marker(&walk, 14, 1, TXN_ABORT, &entry));
    assert_ptr_equal(entry, &items[0]);
    assert_false(data(&walk, 15, 1)); /* its next one */
    assert_false(marker(&walk, 16, 2, TXN_ABORT, &entry));
    assert_ptr_equal(entry, &items[1]);
    assert_false(marker(&walk, 17, 3, TXN_OTHER, &entry)); /* says nothing */
    assert_false(marker(&walk, 18, 3, TXN_COMMIT, &entry));
    assert_false(marker(&walk, 20, 1, TXN_COMMIT, &entry));
    /* The records of the last one are gone: its marker is alone, its entry with it. */
    assert_true(marker(&walk, 33, 1, TXN_ABORT, &entry));
    assert_ptr_equal(entry, &items[2]);
    assert_true(marker(&walk, 40, 99, TXN_ABORT, &entry));
    assert_null(entry);
    data(&walk, 50, 7); /* freed with the walk */
    txn_walk_deinit(&walk);
}

static void test_from_the_middle(void **state)
{
    (void)state;
    struct aborted_txn items[] = {{1, 10, 14, 15}, {1, 16, 25, 26}};
    struct txn_list aborted = {items, 2, 2};
    const struct aborted_txn *entry;
    struct txn_walk walk;
    txn_walk_init(&walk, &aborted, 15, 1);
    assert_false(data(&walk, 15, 1)); /* the first one ended before */
    txn_walk_deinit(&walk);
    txn_walk_init(&walk, &aborted, 20, 1);
    assert_true(data(&walk, 20, 1)); /* the second one began before */
    assert_false(marker(&walk, 25, 1, TXN_ABORT, &entry));
    assert_ptr_equal(entry, &items[1]);
    txn_walk_deinit(&walk);
}

static void test_marker_types(void **state)
{
    (void)state;
    assert_int_equal(txn_marker_of(slice_of("\0\0\0\0", 4)), TXN_ABORT);
    assert_int_equal(txn_marker_of(slice_of("\0\0\0\1", 4)), TXN_COMMIT);
    assert_int_equal(txn_marker_of(slice_of("\0\1\0\1more", 8)), TXN_COMMIT);
    assert_int_equal(txn_marker_of(slice_of("\0\0\0\2", 4)), TXN_OTHER);
    assert_int_equal(txn_marker_of(slice_of("\0\0\1\1", 4)), TXN_OTHER);
    assert_int_equal(txn_marker_of(slice_of("\0\0\0", 3)), TXN_OTHER);
    assert_int_equal(txn_marker_of(SLICE_NULL), TXN_OTHER);
}

static void test_files(void **state)
{
    (void)state;
    struct txn_list list = {0};
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    txnindex_put(&bytes, &(struct aborted_txn){7, 300, 310, 311});
    txnindex_put(&bytes, &(struct aborted_txn){8, 200, 320, 200});
    assert_int_equal(bytes.len, 2 * TXNINDEX_ENTRY_BYTES);
    assert_int_equal(txn_list_add_file(&list, slice_of(bytes.data, bytes.len)), ERR_OK);
    assert_int_equal(txn_list_add_file(&list, slice_of(bytes.data, bytes.len - 1)), ERR_OK);
    assert_int_equal(txn_list_add_file(&list, slice_of(bytes.data, 0)), ERR_OK);
    assert_int_equal(list.count, 3);
    txn_list_sort(&list);
    assert_int_equal(list.items[0].producer_id, 8);
    assert_int_equal(list.items[0].last_stable_offset, 200);
    assert_int_equal(list.items[2].last_offset, 310);
    /* No such version, no such producer, an end before its beginning. */
    static const size_t at[] = {1, 2, 10, 18};
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        uint8_t *byte = bytes.data + at[i];
        uint8_t was = *byte;
        *byte = 0xff;
        assert_int_equal(txn_list_add_file(&list, slice_of(bytes.data, bytes.len)), ERR_MALFORMED);
        *byte = was;
    }
    txn_list_deinit(&list);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_from_the_middle),
        cmocka_unit_test(test_marker_types),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
