/* Goal: it is the CRC32C of RFC 3720, in one piece or in several.
 * Method: the RFC's vectors, and a bit-by-bit oracle over all lengths and splits of random bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/rng.h"

static uint32_t oracle(struct slice s)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= s.data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void test_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c(0, slice_of(bytes, 32)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, slice_of(bytes, 32)), 0x62a8ab43);
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, slice_of(bytes, 32)), 0x46dd794e);
    assert_int_equal(crc32c(0, slice_of("123456789", 9)), 0xe3069283);
    assert_int_equal(crc32c(0, SLICE_NULL), 0);
}

static void test_lengths_and_splits(void **state)
{
    (void)state;
    uint8_t bytes[600];
    struct rng rng;
    rng_init(&rng, 1);
    rng_bytes(&rng, bytes, sizeof(bytes));
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        uint32_t want = oracle(slice_of(bytes, len));
        assert_int_equal(crc32c(0, slice_of(bytes, len)), want);
        size_t split = (size_t)rng_below(&rng, len + 1);
        uint32_t first = crc32c(0, slice_of(bytes, split));
        assert_int_equal(crc32c(first, slice_of(bytes + split, len - split)), want);
    }
    uint32_t before = crc32c(0, slice_of(bytes, sizeof(bytes)));
    bytes[300] ^= 1;
    assert_int_not_equal(crc32c(0, slice_of(bytes, sizeof(bytes))), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_lengths_and_splits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
