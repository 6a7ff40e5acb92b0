/* Goal: each verdict comes when it should, and not before, and its reason says why. Method: series
 * of samples as consumers of each kind make them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "coord/lag.h"

static const struct lag_rules rules = {10000, 10000, 60000};
static struct lag_watch watch;
static struct lag_judgement judgement;

static void assert_verdict(int64_t begin, int64_t oldest_ms, bool has_reader,
                           enum lag_verdict verdict, const char *reason)
{
    struct lag_facts facts = {begin, oldest_ms, has_reader};
    lag_judge(&watch, &facts, &rules, &judgement);
    assert_string_equal(lag_verdict_name(judgement.verdict), lag_verdict_name(verdict));
    if (!strstr(judgement.reason, reason))
        fail_msg("\"%s\" does not say \"%s\"", judgement.reason, reason);
}

static void test_reads_all(void **state)
{
    (void)state;
    lag_watch_init(&watch);
    for (int i = 0; i <= 60; i++)
        lag_watch_sample(&watch, i * 1000, i * 100, i * 100);
    assert_verdict(0, LAG_MS_UNKNOWN, true, LAG_OK, "nothing is unread");
    assert_true(watch.read_per_s > 99 && watch.read_per_s < 101);
    /* Idle for an hour, then one record: that is no stall. */
    lag_watch_sample(&watch, 3660000, 6000, 6000);
    lag_watch_sample(&watch, 3661000, 6000, 6001);
    assert_verdict(0, 500, true, LAG_OK, "is 500ms old");
    lag_watch_sample(&watch, 3672000, 6000, 6001);
    assert_verdict(0, 11500, true, LAG_STALLED, "no step for 11s; the oldest unread record is 11s");
}

static void test_slow_reader(void **state)
{
    (void)state;
    lag_watch_init(&watch);
    for (int i = 0; i <= 60; i++)
        lag_watch_sample(&watch, i * 1000, i * 50, i * 100);
    assert_verdict(0, 30000, true, LAG_BEHIND, "30s old; reads 50/s of 100/s");
    assert_verdict(0, 9000, true, LAG_OK, "9s old");
    assert_verdict(0, LAG_MS_UNKNOWN, true, LAG_BEHIND, "reads 50/s of 100/s");
    for (int i = 61; i <= 360; i++)
        lag_watch_sample(&watch, i * 1000, 3000 + (i - 60) * 10, 6000);
    assert_verdict(0, 30000, true, LAG_OK, "nothing is unread");
    lag_watch_init(&watch);
    for (int i = 0; i <= 60; i++)
        lag_watch_sample(&watch, i * 1000, i * 100, 12000);
    assert_verdict(0, 30000, true, LAG_BEHIND, "catches up at 100/s, done in 1m");
}

static void test_nobody_reads(void **state)
{
    (void)state;
    lag_watch_init(&watch);
    lag_watch_sample(&watch, 0, 10, 20);
    assert_verdict(0, 1000, false, LAG_STOPPED, "no member reads it");
    assert_verdict(0, LAG_MS_UNKNOWN, false, LAG_STOPPED, "unread records");
    assert_verdict(15, 1000, false, LAG_STOPPED, "5 records were deleted");
    assert_verdict(15, 1000, true, LAG_BEHIND, "5 records were deleted");
    lag_watch_sample(&watch, 1000, 20, 20);
    assert_verdict(0, LAG_MS_UNKNOWN, false, LAG_OK, "nothing is unread");
}

static void test_steps_back(void **state)
{
    (void)state;
    lag_watch_init(&watch);
    lag_watch_sample(&watch, 0, 1000, 1000);
    lag_watch_sample(&watch, 1000, 400, 1000);
    lag_watch_sample(&watch, 6000, 500, 1000);
    assert_verdict(0, 100, true, LAG_REWOUND, "went back by 600 5s ago");
    lag_watch_sample(&watch, 62000, 1000, 1000);
    assert_verdict(0, LAG_MS_UNKNOWN, true, LAG_OK, "nothing is unread");
    /* Offsets that were deleted are no step back. */
    lag_watch_sample(&watch, 63000, LAG_OFFSET_NONE, 1000);
    assert_verdict(0, LAG_MS_UNKNOWN, true, LAG_OK, "nothing is committed yet");
    assert_verdict(0, LAG_MS_UNKNOWN, false, LAG_STOPPED, "nothing is committed yet");
}

static void test_odd_numbers(void **state)
{
    (void)state;
    assert_int_equal(lag_messages(LAG_OFFSET_NONE, 5), LAG_OFFSET_NONE);
    assert_int_equal(lag_messages(5, LAG_OFFSET_NONE), LAG_OFFSET_NONE);
    assert_int_equal(lag_messages(9, 5), 0);
    assert_true(lag_messages(0, INT64_MAX) == INT64_MAX);
    lag_watch_init(&watch);
    lag_watch_sample(&watch, 0, 50, 10); /* the topic was made anew */
    lag_watch_sample(&watch, 0, 50, 10);
    assert_verdict(0, LAG_MS_UNKNOWN, true, LAG_STALLED, "past the end by 40");
    lag_watch_init(&watch);
    lag_watch_sample(&watch, 0, 0, 0);
    lag_watch_sample(&watch, 1, 0, INT64_MAX);
    assert_verdict(0, INT64_MAX, true, LAG_BEHIND, "no step for 0ms so far");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_all),    cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_nobody_reads), cmocka_unit_test(test_steps_back),
        cmocka_unit_test(test_odd_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
