/* Goal: every type of metadata record survives its framed bytes in every version, and a log of an
 * older metadata.version gets the versions that it can hold. Method: invented messages of all types
 * through encode and decode; the versions that Kafka's own table gives for each level; cut and
 * unknown bytes. */
#include "meta/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "wire/records.h"

static void every_type_and_version_comes_back(void **state)
{
    (void)state;
    struct rng rng;
    struct arena arena;
    rng_init(&rng, 5);
    arena_init(&arena, ARENA_NO_LIMIT);
    int seen = 0;
    for (int16_t type = 0; type < 40; type++) {
        const struct record_info *info = record_find(RECORD_METADATA, type);
        assert_int_equal(info == NULL, meta_record_type_name(type) == NULL);
        for (int16_t v = 0; info && v <= info->value->version_max; v++) {
            for (int round = 0; round < 20; round++) {
                void *body = arena_zalloc(&arena, info->value->root->size);
                assert_int_equal(codec_random(info->value, v, &rng, &arena, body), ERR_OK);
                struct meta_record record = {type, v, body};
                struct buf first, second;
                buf_init(&first, BUF_NO_LIMIT);
                buf_init(&second, BUF_NO_LIMIT);
                assert_int_equal(meta_record_encode(&record, &first), ERR_OK);
                struct meta_record back;
                struct meta_error error;
                assert_int_equal(meta_record_decode(buf_slice(&first), &arena, &back, &error),
                                 ERR_OK);
                assert_int_equal(back.type, type);
                assert_int_equal(back.version, v);
                assert_int_equal(meta_record_encode(&back, &second), ERR_OK);
                assert_int_equal(first.len, second.len);
                assert_memory_equal(first.data, second.data, first.len);
                if (round == 0)
                    for (size_t len = 0; len < first.len; len++)
                        assert_int_not_equal(
                            meta_record_decode(slice_of(first.data, len), &arena, &back, &error),
                            ERR_OK);
                buf_deinit(&first);
                buf_deinit(&second);
            }
            seen++;
        }
        arena_reset(&arena);
    }
    assert_true(seen >= 26);
    arena_deinit(&arena);
}

static void versions_follow_the_level(void **state)
{
    (void)state;
    static const struct {
        int16_t level, broker, partition, change;
    } cases[] = {{7, 1, 0, 1},  {8, 2, 0, 1},  {16, 2, 0, 1}, {17, 3, 1, 2},
                 {22, 3, 1, 2}, {23, 3, 2, 2}, {29, 3, 2, 2}, {30, 4, 2, 3}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int16_t level = cases[i].level;
        assert_int_equal(meta_record_version(META_REGISTER_BROKER, level), cases[i].broker);
        assert_int_equal(meta_record_version(META_PARTITION, level), cases[i].partition);
        assert_int_equal(meta_record_version(META_PARTITION_CHANGE, level), cases[i].partition);
        assert_int_equal(meta_record_version(META_BROKER_REGISTRATION_CHANGE, level),
                         cases[i].change);
        assert_int_equal(meta_record_version(META_TOPIC, level), 0);
    }
}

static void errors_are_cut_not_lost(void **state)
{
    (void)state;
    struct arena arena;
    struct meta_error error;
    char long_text[10000];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    arena_init(&arena, ARENA_NO_LIMIT);
    assert_int_equal(meta_error_set(&error, &arena, ERR_RANGE, "%s", long_text), ERR_RANGE);
    assert_true(error.text.len > 1000 && error.text.len < sizeof(long_text));
    assert_int_equal(meta_error_set(NULL, &arena, ERR_RANGE, "%s", long_text), ERR_RANGE);
    arena_deinit(&arena);
    arena_init(&arena, 8); /* no room for the text */
    assert_int_equal(meta_error_set(&error, &arena, ERR_RANGE, "%s", long_text), ERR_RANGE);
    assert_true(str_eq_cstr(error.text, err_text(ERR_RANGE)));
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_version_comes_back),
        cmocka_unit_test(versions_follow_the_level),
        cmocka_unit_test(errors_are_cut_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
