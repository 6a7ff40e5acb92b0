/* Goal: the table holds exactly what was put into it, under collisions, removal and iteration.
 * Method: random operations against a plain array, with a good and a terrible hash; removal of the
 * current entry during iteration, with runs that wrap around the table's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/rng.h"

#define KEYS 500

struct item {
    uint64_t key;
    bool present;
    unsigned seen;
};

static bool item_has_key(const void *entry, const void *key)
{
    return ((const struct item *)entry)->key == *(const uint64_t *)key;
}

static uint64_t good_hash(const struct map *map, uint64_t key)
{
    return hash_u64(map->seed, key);
}

/* Three homes, one at the end of any table: long runs that wrap. */
static uint64_t bad_hash(const struct map *map, uint64_t key)
{
    (void)map;
    return key % 3 == 0 ? UINT64_MAX : key % 3;
}

typedef uint64_t hash_fn(const struct map *map, uint64_t key);

static void items_init(struct item *items)
{
    for (size_t i = 0; i < KEYS; i++)
        items[i] = (struct item){.key = i};
}

static void random_operations(hash_fn *hash, int steps, uint64_t seed)
{
    struct item items[KEYS];
    items_init(items);
    struct map map;
    map_init(&map, seed, item_has_key);
    struct rng rng;
    rng_init(&rng, seed);
    size_t count = 0;
    for (int step = 0; step < steps; step++) {
        struct item *item = &items[rng_below(&rng, KEYS)];
        uint64_t h = hash(&map, item->key);
        assert_ptr_equal(map_find(&map, h, &item->key), item->present ? item : NULL);
        if (item->present) {
            assert_ptr_equal(map_remove(&map, h, &item->key), item);
            count--;
        } else {
            assert_int_equal(map_insert(&map, h, item), ERR_OK);
            count++;
        }
        item->present = !item->present;
        assert_int_equal(map.count, count);
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_find(&map, hash(&map, i), &items[i].key),
                         items[i].present ? &items[i] : NULL);
    map_deinit(&map);
}

static void test_random_operations(void **state)
{
    (void)state;
    random_operations(good_hash, 50000, 1);
    random_operations(bad_hash, 5000, 2);
}

static void iterate_and_remove(hash_fn *hash, uint64_t remove_num)
{
    struct item items[KEYS];
    items_init(items);
    struct map map;
    map_init(&map, 11, item_has_key);
    struct rng rng;
    rng_init(&rng, 12);
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(map_insert(&map, hash(&map, i), &items[i]), ERR_OK);
    struct map_iter iter;
    map_iter_init(&iter, &map);
    size_t left = KEYS;
    for (struct item *item; (item = map_iter_next(&iter)) != NULL;) {
        item->seen++;
        if (rng_chance(&rng, remove_num, 4)) {
            assert_ptr_equal(map_remove(&map, hash(&map, item->key), &item->key), item);
            left--;
        }
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(items[i].seen, 1);
    assert_int_equal(map.count, left);
    map_deinit(&map);
}

static void test_iteration_with_removal(void **state)
{
    (void)state;
    for (uint64_t num = 0; num <= 4; num++) {
        iterate_and_remove(good_hash, num);
        iterate_and_remove(bad_hash, num);
    }
}

static void test_empty_and_reserve(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, 1, item_has_key);
    uint64_t key = 1;
    assert_null(map_find(&map, 1, &key));
    assert_null(map_remove(&map, 1, &key));
    struct map_iter iter;
    map_iter_init(&iter, &map);
    assert_null(map_iter_next(&iter));
    assert_int_equal(map_reserve(&map, SIZE_MAX), ERR_NOMEM);
    assert_int_equal(map_reserve(&map, 1000), ERR_OK);
    size_t slots = map.slot_count;
    struct item item = {.key = 1};
    assert_int_equal(map_insert(&map, 1, &item), ERR_OK);
    assert_int_equal(map.slot_count, slots);
    assert_ptr_equal(map_remove(&map, 1, &key), &item);
    map_iter_init(&iter, &map);
    assert_null(map_iter_next(&iter));
    map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_iteration_with_removal),
        cmocka_unit_test(test_empty_and_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
