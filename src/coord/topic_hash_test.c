/* Goal: the hashes are those that Apache Kafka writes; every part of a topic counts.
 * Method: two values taken from Apache Kafka, then one thing changed at a time. Many more stand
 * against each other in tests/coord/run.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coord/topic_hash.h"

static uint64_t hash_of(struct uuid id, struct str name, int32_t partitions, struct str rack)
{
    struct topic_hash *hash = topic_hash_begin(id, name, partitions);
    assert_non_null(hash);
    for (int32_t p = 0; p < partitions; p++) {
        topic_hash_partition(hash, p);
        if (!str_is_null(rack))
            topic_hash_rack(hash, rack);
    }
    return topic_hash_end(hash);
}

static void test_every_part_counts(void **state)
{
    (void)state;
    struct uuid id = UUID_ZERO;
    id.bytes[0] = 1;
    uint64_t base = hash_of(id, STR("orders"), 3, STR_NULL);
    assert_true(base == hash_of(id, STR("orders"), 3, STR_NULL));
    assert_true(base != hash_of(id, STR("orderz"), 3, STR_NULL));
    assert_true(base != hash_of(id, STR("orders"), 4, STR_NULL));
    assert_true(base != hash_of(id, STR("orders"), 3, STR("a")));
    assert_true(hash_of(id, STR("orders"), 3, STR("\xf0\x9f\x98\x80")) !=
                hash_of(id, STR("orders"), 3, STR("a")));
    id.bytes[15] = 1;
    assert_true(base != hash_of(id, STR("orders"), 3, STR_NULL));
}

static void test_group(void **state)
{
    (void)state;
    uint64_t hashes[] = {1, 2};
    assert_true(topic_hash_of_group(NULL, 0) == 0);
    assert_true(topic_hash_of_group(hashes, 1) != topic_hash_of_group(hashes, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_part_counts),
        cmocka_unit_test(test_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
