/* Records: bytes and back, tombstones, and bytes that are no record. */
#include "coord/testing.h"

static void test_round_trip(void **state)
{
    struct arena arena;
    struct buf key, value;
    (void)state;
    arena_init(&arena, ARENA_NO_LIMIT);
    buf_init(&key, BUF_NO_LIMIT);
    buf_init(&value, BUF_NO_LIMIT);
    struct offset_commit_key commit_key = {STR("group"), STR("topic"), 7};
    struct offset_commit_value commit_value;
    MSG_INIT(offset_commit_value, &commit_value);
    commit_value.offset = 42;
    commit_value.metadata = STR("m");
    struct coord_record record = {
        .type = COORD_OFFSET_COMMIT, .version = 4, .key = &commit_key, .value = &commit_value};
    assert_int_equal(coord_record_encode_key(&record, &key), ERR_OK);
    assert_int_equal(coord_record_encode_value(&record, &value), ERR_OK);
    struct coord_record back;
    assert_int_equal(coord_record_decode(buf_slice(&key), buf_slice(&value), &arena, &back),
                     ERR_OK);
    assert_int_equal(back.type, COORD_OFFSET_COMMIT);
    assert_int_equal(back.version, 4);
    assert_int_equal(((const struct offset_commit_value *)back.value)->offset, 42);
    assert_int_equal(((const struct offset_commit_key *)back.key)->partition, 7);
    assert_int_equal(coord_record_decode(buf_slice(&key), SLICE_NULL, &arena, &back), ERR_OK);
    assert_null(back.value);
    for (size_t len = 0; len < key.len; len++)
        assert_int_not_equal(
            coord_record_decode(slice_of(key.data, len), SLICE_NULL, &arena, &back), ERR_OK);
    for (size_t len = 0; len < value.len; len++)
        assert_int_not_equal(
            coord_record_decode(buf_slice(&key), slice_of(value.data, len), &arena, &back), ERR_OK);
    static const uint8_t unknown[] = {0, 99, 0, 0};
    assert_int_equal(
        coord_record_decode(slice_of(unknown, sizeof(unknown)), SLICE_NULL, &arena, &back),
        ERR_UNSUPPORTED);
    buf_deinit(&key);
    buf_deinit(&value);
    arena_deinit(&arena);
}

static void test_list(void **state)
{
    struct arena arena;
    struct coord_records records;
    (void)state;
    arena_init(&arena, 4096);
    coord_records_init(&records, &arena);
    struct coord_record record = {.type = COORD_GROUP_METADATA};
    enum err err = ERR_OK;
    for (int16_t i = 0; i < 1000 && err == ERR_OK; i++) {
        record.version = i;
        err = coord_records_add(&records, &record);
    }
    assert_int_equal(err, ERR_NOMEM);
    assert_true(records.count >= 32);
    for (size_t i = 0; i < records.count; i++)
        assert_int_equal(records.items[i].version, i);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
