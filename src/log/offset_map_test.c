/* Goal: the map tells each key's newest offset, and says when it is full. Method: against an array,
 * with more keys than it takes. */
#include "log/offset_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct slice key_of(int key, char text[16])
{
    return slice_of(text, (size_t)snprintf(text, 16, "k%d", key));
}

static void test_newest_offset(void **state)
{
    (void)state;
    struct offset_map map;
    char text[16];
    assert_int_equal(offset_map_init(&map, 1001, 1 << 20, 0.9, 1, 2), ERR_OK);
    for (int offset = 0; offset < 5000; offset++)
        assert_true(offset_map_put(&map, key_of(offset % 1000, text), offset));
    assert_int_equal(map.count, 1000);
    for (int key = 0; key < 1000; key++)
        assert_int_equal(offset_map_get(&map, key_of(key, text)), 4000 + key);
    assert_int_equal(offset_map_get(&map, key_of(1000, text)), -1);
    assert_true(offset_map_put(&map, slice_of("", 0), 5000)); /* an empty key is a key */
    assert_int_equal(offset_map_get(&map, slice_of("", 0)), 5000);
    offset_map_deinit(&map);
}

/* Nine tenths full, where runs of used slots are long and end past the last key's place. */
static void test_nearly_full(void **state)
{
    (void)state;
    struct offset_map map;
    char text[16];
    for (uint64_t seed = 0; seed < 20; seed++) {
        assert_int_equal(
            offset_map_init(&map, 1000000, 5000 * sizeof(struct offset_slot), 0.9, seed, ~seed),
            ERR_OK);
        int taken = 0;
        while (offset_map_put(&map, key_of(taken, text), taken))
            taken++;
        assert_true(map.is_full);
        assert_int_equal(taken, map.count);
        assert_true(taken > 4000); /* chance may want more room at the end than there is */
        for (int key = 0; key < taken; key += 3)
            assert_true(offset_map_put(&map, key_of(key, text), 10000 + key));
        for (int key = 0; key < taken; key++)
            assert_int_equal(offset_map_get(&map, key_of(key, text)),
                             key % 3 == 0 ? 10000 + key : key);
        for (int key = taken; key < 3 * taken; key++)
            assert_int_equal(offset_map_get(&map, key_of(key, text)), -1);
        offset_map_deinit(&map);
    }
}

static void test_far_offsets(void **state)
{
    (void)state;
    struct offset_map map;
    char text[16];
    int64_t first = INT64_C(1) << 60, last = first + UINT32_MAX - 1;
    assert_int_equal(offset_map_init(&map, 1000, 1 << 20, 0.9, 1, 2), ERR_OK);
    assert_true(offset_map_put(&map, key_of(1, text), first));
    assert_true(offset_map_put(&map, key_of(2, text), last));
    assert_int_equal(offset_map_get(&map, key_of(1, text)), first);
    assert_int_equal(offset_map_get(&map, key_of(2, text)), last);
    assert_false(offset_map_put(&map, key_of(1, text), last + 1));
    assert_true(map.is_full);
    assert_int_equal(offset_map_get(&map, key_of(1, text)), first);
    offset_map_deinit(&map);
}

static void test_full(void **state)
{
    (void)state;
    struct offset_map map;
    char text[16];
    assert_int_equal(offset_map_init(&map, 1000000, 100 * sizeof(struct offset_slot), 0.5, 1, 2),
                     ERR_OK);
    int taken = 0;
    while (offset_map_put(&map, key_of(taken, text), taken))
        taken++;
    assert_int_equal(taken, 50);
    assert_int_equal(offset_map_get(&map, key_of(taken, text)), -1);
    assert_true(offset_map_put(&map, key_of(7, text), 99)); /* a known one still moves */
    assert_int_equal(offset_map_get(&map, key_of(7, text)), 99);
    for (int key = 8; key < taken; key++)
        assert_int_equal(offset_map_get(&map, key_of(key, text)), key);
    offset_map_deinit(&map);
    assert_int_equal(offset_map_init(&map, 0, 0, 0.01, 1, 2), ERR_OK); /* never none at all */
    assert_true(offset_map_put(&map, key_of(1, text), 1));
    assert_false(offset_map_put(&map, key_of(2, text), 2));
    offset_map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_offset),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_nearly_full),
        cmocka_unit_test(test_far_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
