/* Goal: a table behaves as a sorted set of entries, and a copy never sees what happens to the
 * other. Method: random puts and removes on a chain of copies beside a plain array as the model,
 * with every past copy checked again at the end; then reference counts, which must all be back at
 * zero; then the walk over differences against a brute-force one. */
#include "meta/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

struct item {
    atomic_uint refs;
    int key;
    int value;
};

static int items_alive;

static int item_compare(const void *entry, const void *key)
{
    int a = ((const struct item *)entry)->key;
    int b = *(const int *)key;
    return (a > b) - (a < b);
}

static const void *item_key(const void *entry)
{
    return &((const struct item *)entry)->key;
}

static void item_ref(void *entry)
{
    atomic_fetch_add(&((struct item *)entry)->refs, 1);
}

static void item_unref(void *entry)
{
    struct item *item = entry;
    if (atomic_fetch_sub(&item->refs, 1) == 1) {
        items_alive--;
        free(item);
    }
}

static const struct table_kind item_kind = {item_compare, item_key, item_ref, item_unref};

static struct item *item_create(int key, int value)
{
    struct item *item = malloc(sizeof(*item));
    assert_non_null(item);
    atomic_init(&item->refs, 1);
    item->key = key;
    item->value = value;
    items_alive++;
    return item;
}

#define KEYS   1200
#define COPIES 40

struct model {
    int values[KEYS]; /* -1: absent */
};

static void check_equal(const struct table *table, const struct model *model)
{
    size_t count = 0;
    struct table_iter iter;
    table_begin(&iter, table);
    for (int key = 0; key < KEYS; key++) {
        const struct item *found = table_find(table, &key);
        if (model->values[key] < 0) {
            assert_null(found);
            continue;
        }
        count++;
        assert_non_null(found);
        assert_int_equal(found->value, model->values[key]);
        assert_ptr_equal(table_next(&iter), found);
    }
    assert_null(table_next(&iter));
    assert_int_equal(table->count, count);
}

struct diff_seen {
    const struct model *before, *after;
    int last_key;
    int calls;
};

static enum err on_diff(void *arg, void *before, void *after)
{
    struct diff_seen *seen = arg;
    const struct item *a = before, *b = after;
    int key = a ? a->key : b->key;
    assert_true(key > seen->last_key);
    seen->last_key = key;
    seen->calls++;
    assert_int_equal(seen->before->values[key], a ? a->value : -1);
    assert_int_equal(seen->after->values[key], b ? b->value : -1);
    return ERR_OK;
}

static void check_diff(const struct table *a, const struct model *ma, const struct table *b,
                       const struct model *mb)
{
    struct diff_seen seen = {.before = ma, .after = mb, .last_key = -1};
    assert_int_equal(table_diff(a, b, on_diff, &seen), ERR_OK);
    int expected = 0;
    for (int key = 0; key < KEYS; key++)
        expected += ma->values[key] != mb->values[key];
    assert_int_equal(seen.calls, expected);
}

static void random_changes_keep_every_copy(void **state)
{
    (void)state;
    static struct model models[COPIES];
    static struct table tables[COPIES];
    struct rng rng;
    rng_init(&rng, 11);
    memset(models[0].values, 0xff, sizeof(models[0].values));
    table_init(&tables[0], &item_kind);
    int value = 0;
    for (int c = 1; c < COPIES; c++) {
        assert_int_equal(table_copy(&tables[c], &tables[c - 1]), ERR_OK);
        models[c] = models[c - 1];
        int changes = (int)rng_below(&rng, 300) + 1;
        bool shrinking = c % 7 == 0;
        for (int i = 0; i < changes; i++) {
            int key = (int)rng_below(&rng, KEYS);
            if (rng_chance(&rng, shrinking ? 9 : 2, 10)) {
                bool removed;
                assert_int_equal(table_remove(&tables[c], &key, &removed), ERR_OK);
                assert_int_equal(removed, models[c].values[key] >= 0);
                models[c].values[key] = -1;
            } else {
                assert_int_equal(table_put(&tables[c], item_create(key, ++value)), ERR_OK);
                models[c].values[key] = value;
            }
        }
    }
    for (int c = 0; c < COPIES; c++) {
        check_equal(&tables[c], &models[c]);
        check_diff(&tables[0], &models[0], &tables[c], &models[c]);
        check_diff(&tables[c], &models[c], &tables[COPIES - 1], &models[COPIES - 1]);
        if (c > 0)
            check_diff(&tables[c - 1], &models[c - 1], &tables[c], &models[c]);
    }
    for (int c = 0; c < COPIES; c++)
        table_deinit(&tables[(c * 7) % COPIES]);
    assert_int_equal(items_alive, 0);
}

static void seek_stands_at_the_first_key_not_below(void **state)
{
    (void)state;
    struct table table;
    table_init(&table, &item_kind);
    struct table_iter iter;
    int key = 5;
    table_seek(&iter, &table, &key);
    assert_null(table_next(&iter));
    for (int i = 0; i < 2000; i++)
        assert_int_equal(table_put(&table, item_create(i * 2, i)), ERR_OK);
    for (key = -3; key < 4005; key++) {
        table_seek(&iter, &table, &key);
        const struct item *item = table_next(&iter);
        int expected = key < 0 ? 0 : (key + 1) / 2 * 2;
        if (expected >= 4000)
            assert_null(item);
        else
            assert_int_equal(item->key, expected);
    }
    table_deinit(&table);
    assert_int_equal(items_alive, 0);
}

static void emptied_tables_work_again(void **state)
{
    (void)state;
    struct table table;
    table_init(&table, &item_kind);
    for (int round = 0; round < 3; round++) {
        for (int i = 600; i-- > 0;)
            assert_int_equal(table_put(&table, item_create(i, i)), ERR_OK);
        for (int i = 0; i < 600; i++)
            assert_int_equal(table_remove(&table, &i, NULL), ERR_OK);
        assert_int_equal(table.count, 0);
        int key = 3;
        assert_null(table_find(&table, &key));
        bool removed = true;
        assert_int_equal(table_remove(&table, &key, &removed), ERR_OK);
        assert_false(removed);
    }
    table_deinit(&table);
    assert_int_equal(items_alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_keep_every_copy),
        cmocka_unit_test(seek_stands_at_the_first_key_not_below),
        cmocka_unit_test(emptied_tables_work_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
