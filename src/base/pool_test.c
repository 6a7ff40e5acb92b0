/* Goal: pools hand out distinct memory, respect their caps and use memory again.
 * Method: random takes and gives with a pattern in every object, and the caps at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "base/rng.h"

#define OBJECTS 300

static void test_objects_are_distinct(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 200, OBJECTS);
    uint8_t *out[OBJECTS] = {0};
    struct rng rng;
    rng_init(&rng, 1);
    for (int step = 0; step < 5000; step++) {
        size_t i = (size_t)rng_below(&rng, OBJECTS);
        if (out[i]) {
            for (size_t at = 0; at < 200; at++)
                assert_int_equal(out[i][at], i & 0xff);
            pool_give(&pool, out[i]);
            out[i] = NULL;
        } else {
            out[i] = pool_take(&pool);
            assert_non_null(out[i]);
            memset(out[i], (int)(i & 0xff), 200);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (out[i])
            pool_give(&pool, out[i]);
    }
    assert_int_equal(pool.out, 0);
    assert_true(pool.out_peak > OBJECTS / 3 && pool.out_peak <= OBJECTS);
    pool_deinit(&pool);
}

static void test_object_cap(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 1 << 20, 2);
    void *a = pool_take(&pool), *b = pool_take(&pool);
    assert_true(a && b && a != b);
    assert_null(pool_take(&pool));
    pool_give(&pool, b);
    assert_ptr_equal(pool_take(&pool), b);
    pool_give(&pool, a);
    pool_give(&pool, b);
    pool_deinit(&pool);
}

static void test_buffers_come_back(void **state)
{
    (void)state;
    struct rbuf_pool pool;
    rbuf_pool_init(&pool, (size_t)64 << 20, (size_t)8 << 10);
    struct rbuf *a = rbuf_take(&pool, 3000);
    assert_non_null(a);
    assert_int_equal(a->cap, 4096);
    memset(a->data, 1, a->cap);
    rbuf_ref(a);
    rbuf_unref(a);
    assert_int_equal(pool.out_bytes, 4096);
    rbuf_unref(a);
    assert_int_equal(pool.idle_bytes, 4096);
    struct rbuf *b = rbuf_take(&pool, 4096);
    assert_ptr_equal(a, b);
    assert_int_equal(b->len, 0);
    /* Past what may lie idle, and past the classes, memory goes back to the system. */
    struct rbuf *c = rbuf_take(&pool, 8000), *d = rbuf_take(&pool, RBUF_SIZE_MAX + 1);
    assert_int_equal(d->cap, RBUF_SIZE_MAX + 1);
    d->data[d->cap - 1] = 1;
    rbuf_unref(b);
    rbuf_unref(c);
    rbuf_unref(d);
    rbuf_unref(NULL);
    assert_int_equal(pool.idle_bytes, 4096);
    rbuf_pool_deinit(&pool);
}

static void test_buffer_cap(void **state)
{
    (void)state;
    struct rbuf_pool pool;
    rbuf_pool_init(&pool, 10000, 10000);
    assert_null(rbuf_take(&pool, 10001));
    assert_null(rbuf_take(&pool, SIZE_MAX));
    struct rbuf *a = rbuf_take(&pool, 0), *b = rbuf_take(&pool, 5000);
    assert_true(a && b);
    assert_null(rbuf_take(&pool, 1));
    rbuf_unref(a);
    rbuf_unref(b);
    rbuf_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_are_distinct),
        cmocka_unit_test(test_object_cap),
        cmocka_unit_test(test_buffers_come_back),
        cmocka_unit_test(test_buffer_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
