/* Goal: jobs that share a pace move no more than it allows, a change takes effect at once, and who
 * looks does so at least every second. Method: a clock that is a number. */
#include "log/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

static void test_shared(void **state)
{
    (void)state;
    struct pace pace = {0};
    pace_set(&pace, 1000);
    uint64_t now = 5000 * MS;
    assert_int_equal(pace_pause_ns(&pace, now), 0);
    pace_charge(&pace, 100, now);
    assert_int_equal(pace_pause_ns(&pace, now), 100 * MS);
    pace_charge(&pace, 200, now); /* another job's */
    assert_int_equal(pace_pause_ns(&pace, now), 300 * MS);
    assert_int_equal(pace_pause_ns(&pace, now + 299 * MS), MS);
    assert_int_equal(pace_pause_ns(&pace, now + 300 * MS), 0);
    /* What was not used is not saved up. */
    now += 100000 * MS;
    pace_charge(&pace, 100, now);
    assert_int_equal(pace_pause_ns(&pace, now), 100 * MS);
}

static void test_changed(void **state)
{
    (void)state;
    struct pace pace = {0};
    pace_set(&pace, 1);
    pace_charge(&pace, 1 << 20, 0);
    assert_int_equal(pace_pause_ns(&pace, 0), 1000 * MS); /* then it looks again */
    pace_set(&pace, 1);
    assert_int_equal(pace_pause_ns(&pace, 0), 1000 * MS);
    pace_set(&pace, 2);
    assert_int_equal(pace_pause_ns(&pace, 0), 0);
}

static void test_no_limit(void **state)
{
    (void)state;
    struct pace pace = {0};
    pace_charge(&pace, UINT64_MAX, 0);
    assert_int_equal(pace_pause_ns(&pace, 0), 0);
    pace_charge(NULL, UINT64_MAX, 0);
    assert_int_equal(pace_pause_ns(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
