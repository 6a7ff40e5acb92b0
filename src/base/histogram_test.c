/* Goal: every duration has one bucket, in order and without a gap, and what is read back is right
 * to within a bucket. Method: edges of all buckets, random durations beside a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/histogram.h"
#include "base/rng.h"

static void test_buckets_meet(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket_of(0), 0);
    for (size_t i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
        uint64_t end = histogram_bucket_end(i);
        assert_int_equal(histogram_bucket_of(end - 1), i);
        assert_int_equal(histogram_bucket_of(end), i + 1);
    }
    assert_int_equal(histogram_bucket_of(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_true(histogram_bucket_end(HISTOGRAM_BUCKETS - 1) == UINT64_MAX);
    assert_true(histogram_bucket_end(HISTOGRAM_BUCKETS - 2) == UINT64_C(1) << HISTOGRAM_TOP);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void test_quantiles_are_close(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    static uint64_t values[COUNT];
    static struct histogram halves[2];
    struct rng rng;
    rng_init(&rng, 7);
    memset(halves, 0, sizeof(halves));
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = rng_u64(&rng) >> (24 + rng_below(&rng, 30));
        histogram_add(&halves[i % 2], values[i]);
    }
    histogram_merge(&halves[0], &halves[1]);
    qsort(values, COUNT, sizeof(values[0]), compare);
    assert_int_equal(halves[0].count, COUNT);
    static const double shares[] = {0.01, 0.5, 0.75, 0.99, 0.999};
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        double want = (double)values[(size_t)(shares[i] * COUNT) - 1];
        double got = (double)histogram_quantile(&halves[0], shares[i]);
        assert_true(got <= want * 1.25 + 256 && got >= want * 0.8 - 256);
    }
    uint64_t below = 0, edge = histogram_bucket_end(60);
    while (below < COUNT && values[below] < edge)
        below++;
    assert_int_equal(histogram_count_below(&halves[0], edge), below);
}

static void test_empty_and_huge(void **state)
{
    (void)state;
    static struct histogram histogram;
    assert_int_equal(histogram_quantile(&histogram, 0.99), 0);
    histogram_add(&histogram, UINT64_MAX / 2);
    assert_true(histogram_quantile(&histogram, 0.5) == UINT64_C(1) << HISTOGRAM_TOP);
    histogram_add(&histogram, 0);
    assert_true(histogram_quantile(&histogram, 0) == UINT64_C(1) << (HISTOGRAM_SHIFT - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_meet),
        cmocka_unit_test(test_quantiles_are_close),
        cmocka_unit_test(test_empty_and_huge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
