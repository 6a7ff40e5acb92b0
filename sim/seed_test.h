/* What tests that run one simulated thing by seeds share: their command line, and the demand that a
 * seed's story is the same each time.
 *
 *   NAME_test                    as a unit test: a few seeds, and those that once failed
 *   NAME_test SEED               one of them, telling what happens and when
 *   NAME_test FROM TO            those from FROM on, before TO; each eighth twice */
#ifndef SIM_SEED_TEST_H
#define SIM_SEED_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"

struct seed_test {
    void (*run)(uint64_t seed, bool verbose, uint64_t *trace);
    uint64_t seeds;         /* of the unit test */
    uint64_t twice;         /* of them */
    const uint64_t *failed; /* they failed once */
    size_t failed_count;
};

static inline void seed_test_seeds(void **state)
{
    const struct seed_test *test = *state;
    uint64_t trace;
    for (uint64_t seed = 1; seed <= test->seeds; seed++)
        test->run(seed, false, &trace);
    for (size_t i = 0; i < test->failed_count; i++)
        test->run(test->failed[i], false, &trace);
}

static inline void seed_test_same_trace(void **state)
{
    const struct seed_test *test = *state;
    uint64_t first, second;
    for (uint64_t seed = 1; seed <= test->twice; seed++) {
        test->run(seed, false, &first);
        test->run(seed, false, &second);
        assert_true(first == second);
    }
}

static inline int seed_test_range(const struct seed_test *test, uint64_t from, uint64_t to)
{
    uint64_t first, second;
    for (uint64_t seed = from; seed < to; seed++) {
        test->run(seed, false, &first);
        if (seed % 8 != 0)
            continue;
        test->run(seed, false, &second);
        if (first != second) {
            fprintf(stderr, "seed %llu: its two runs differ\n", (unsigned long long)seed);
            return 1;
        }
    }
    printf("%llu seeds passed, 0 failed\n", (unsigned long long)(to - from));
    return 0;
}

static inline int seed_test_main(struct seed_test *test, int argc, char **argv)
{
    uint64_t trace;
    diag_set_level(argc == 2 ? DIAG_DEBUG : DIAG_ERROR + 1);
    if (argc == 3)
        return seed_test_range(test, strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10));
    if (argc == 2) {
        test->run(strtoull(argv[1], NULL, 10), true, &trace);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(seed_test_seeds, test),
        cmocka_unit_test_prestate(seed_test_same_trace, test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
