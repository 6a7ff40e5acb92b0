/* Goal: an address never has more connections than its limit, and none is forgotten. Method: two
 * addresses step by step; then many threads that take and give at random. */
#include "broker/conn_quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"

static struct address address_of(const char *text)
{
    struct address address;
    assert_true(address_parse(str_of(text), &address));
    return address;
}

static void test_limits(void **state)
{
    (void)state;
    struct conn_quota quota;
    conn_quota_init(&quota, 1);
    struct address a = address_of("10.0.0.1"), b = address_of("::2");
    struct conn_address *first, *second, *other, *none = NULL;
    assert_int_equal(conn_quota_take(&quota, a, 0, &none), ERR_LIMIT);
    assert_int_equal(conn_quota_take(&quota, a, -1, &none), ERR_LIMIT);
    assert_int_equal(conn_quota_take(&quota, a, 2, &first), ERR_OK);
    assert_int_equal(conn_quota_take(&quota, a, 2, &second), ERR_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(conn_quota_take(&quota, a, 2, &none), ERR_LIMIT);
    assert_int_equal(conn_quota_take(&quota, b, 1, &other), ERR_OK);
    assert_int_equal(conn_quota_take(&quota, b, 1, &none), ERR_LIMIT);
    conn_quota_give(&quota, first);
    assert_int_equal(conn_quota_take(&quota, a, 1, &none), ERR_LIMIT); /* lowered meanwhile */
    assert_int_equal(conn_quota_take(&quota, a, 2, &first), ERR_OK);
    conn_quota_give(&quota, first);
    conn_quota_give(&quota, second);
    conn_quota_give(&quota, other);
    assert_int_equal(quota.addresses.count, 0);
    conn_quota_deinit(&quota);
}

enum { THREADS = 4, ROUNDS = 20000, ADDRESSES = 3, MAX = 2 };

static _Atomic int held[ADDRESSES];

struct runner {
    pthread_t thread;
    struct conn_quota *quota;
    uint64_t seed;
    uint64_t taken;
};

static void *run(void *arg)
{
    struct runner *runner = arg;
    struct rng rng;
    rng_init(&rng, runner->seed);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t which = (uint8_t)rng_below(&rng, ADDRESSES);
        struct address address = {{which}};
        struct conn_address *entry;
        if (conn_quota_take(runner->quota, address, MAX, &entry) != ERR_OK)
            continue;
        runner->taken++;
        if (atomic_fetch_add(&held[which], 1) >= MAX)
            return "over the limit";
        atomic_fetch_sub(&held[which], 1);
        conn_quota_give(runner->quota, entry);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct conn_quota quota;
    struct runner runners[THREADS];
    conn_quota_init(&quota, 7);
    for (int i = 0; i < THREADS; i++) {
        runners[i] = (struct runner){.quota = &quota, .seed = (uint64_t)i};
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run, &runners[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        assert_int_equal(pthread_join(runners[i].thread, &wrong), 0);
        assert_null(wrong);
        assert_true(runners[i].taken > 0);
    }
    assert_int_equal(quota.addresses.count, 0);
    conn_quota_deinit(&quota);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
