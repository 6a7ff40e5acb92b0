/* Goal: murmur2 is Kafka's, and the table hash depends on every byte, the length and the seed.
 * Method: vectors from Kafka's own client, and single-bit changes at every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static uint32_t murmur2_of(const char *text)
{
    return murmur2(slice_of(text, strlen(text)));
}

static void test_murmur2_vectors(void **state)
{
    (void)state;
    assert_int_equal((int32_t)murmur2_of("21"), -973932308);
    assert_int_equal((int32_t)murmur2_of("foobar"), -790332482);
    assert_int_equal((int32_t)murmur2_of("a-little-bit-long-string"), -985981536);
    assert_int_equal((int32_t)murmur2_of("a-little-bit-longer-string"), -1486304829);
    assert_int_equal((int32_t)murmur2_of("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"),
                     -58897971);
    assert_int_equal((int32_t)murmur2_of("abc"), 479470107);
    assert_int_equal((int32_t)murmur2(SLICE_NULL), 275646681);
}

static void test_partition_is_in_range(void **state)
{
    (void)state;
    assert_int_equal(murmur2_partition(slice_of("21", 2), 1), 0);
    assert_int_equal(murmur2_partition(slice_of("21", 2), 7), (-973932308 & 0x7fffffff) % 7);
}

static void test_every_bit_counts(void **state)
{
    (void)state;
    uint8_t bytes[40] = {0};
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        uint64_t base = hash_slice(1, slice_of(bytes, len));
        assert_true(base != hash_slice(2, slice_of(bytes, len)));
        if (len < sizeof(bytes))
            assert_true(base != hash_slice(1, slice_of(bytes, len + 1)));
        for (size_t bit = 0; bit < len * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(base != hash_slice(1, slice_of(bytes, len)));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

/* Sequential ids are the common key: their low bits must still spread. */
static void test_sequential_ids_spread(void **state)
{
    (void)state;
    unsigned counts[64] = {0};
    for (uint64_t id = 0; id < 64000; id++)
        counts[hash_u64(5, id) & 63]++;
    for (int i = 0; i < 64; i++)
        assert_in_range(counts[i], 800, 1200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_murmur2_vectors),
        cmocka_unit_test(test_partition_is_in_range),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_sequential_ids_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
