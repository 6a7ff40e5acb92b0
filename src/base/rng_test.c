/* Goal: the generator is reproducible, covers its ranges and is not biased.
 * Method: the published first outputs, counts of many draws, and the extreme ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

static void test_known_stream(void **state)
{
    (void)state;
    /* xoshiro256** from state {1, 2, 3, 4}, as its authors' reference program prints it. */
    struct rng rng = {{1, 2, 3, 4}};
    const uint64_t want[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240)};
    for (size_t i = 0; i < 4; i++)
        assert_true(rng_u64(&rng) == want[i]);
    /* splitmix64 from seed 0. */
    rng_init(&rng, 0);
    assert_true(rng.state[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(rng.state[1] == UINT64_C(0x6e789e6aa1b965f4));
}

static void test_same_seed_same_stream(void **state)
{
    (void)state;
    struct rng a, b, c;
    rng_init(&a, 42);
    rng_init(&b, 42);
    rng_init(&c, 43);
    unsigned differ = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = rng_u64(&a);
        assert_true(v == rng_u64(&b));
        differ += v != rng_u64(&c);
    }
    assert_true(differ > 990);
}

static void test_below_is_even(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    unsigned counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_int_equal(rng_below(&rng, 1), 0);
    /* Two thirds of the 64-bit range: a plain modulo would draw the lower half twice as often. */
    uint64_t n = UINT64_MAX / 3 * 2;
    unsigned low = 0;
    for (int i = 0; i < 20000; i++)
        low += rng_below(&rng, n) < n / 2;
    assert_in_range(low, 9500, 10500);
}

static void test_range_and_chance(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 9);
    bool saw_min = false, saw_max = false;
    for (int i = 0; i < 1000; i++) {
        int64_t v = rng_range(&rng, -2, 2);
        assert_true(v >= -2 && v <= 2);
        saw_min |= v == -2;
        saw_max |= v == 2;
        assert_true(rng_chance(&rng, 1, 1));
        assert_false(rng_chance(&rng, 0, 1));
    }
    assert_true(saw_min && saw_max);
    assert_true(rng_range(&rng, INT64_MIN, INT64_MIN) == INT64_MIN);
    int64_t signs = 0;
    for (int i = 0; i < 1000; i++)
        signs += rng_range(&rng, INT64_MIN, INT64_MAX) < 0;
    assert_in_range(signs, 400, 600);
}

static void test_bytes_tail(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    uint8_t bytes[20];
    memset(bytes, 0xee, sizeof(bytes));
    rng_bytes(&rng, bytes, 13);
    for (size_t i = 13; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], 0xee);
    rng_bytes(&rng, bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_stream),  cmocka_unit_test(test_same_seed_same_stream),
        cmocka_unit_test(test_below_is_even), cmocka_unit_test(test_range_and_chance),
        cmocka_unit_test(test_bytes_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
