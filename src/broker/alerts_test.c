/* Goal: an alert is told once when it begins and once when it ends, however the lag moves, and not
 * more often than its pause allows. Method: series of lags, second by second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/diag.h"
#include "broker/alerts.h"

static struct alerts alerts;
static int64_t now_ms;

static void round_of(const char *group, int64_t messages, int64_t age_ms)
{
    struct alert_sample sample = {str_of(group), messages, age_ms, "behind", "a test"};
    now_ms += 1000;
    alerts_begin_round(&alerts);
    if (group)
        alerts_look(&alerts, 0, &sample, now_ms);
    alerts_end_round(&alerts, true, now_ms);
}

static void begin(const struct alert_rule *rule)
{
    now_ms = 0;
    alerts_init(&alerts, NULL, rule, 1, 1, STR("cluster"));
}

static void assert_told(uint64_t begun, uint64_t ended)
{
    assert_int_equal(alerts.begun, begun);
    assert_int_equal(alerts.ended, ended);
}

static void test_once_each(void **state)
{
    (void)state;
    struct alert_rule rule = {.unit = ALERT_MESSAGES, .threshold = 10, .clear = 8};
    begin(&rule);
    round_of("g", 10, 0);
    assert_told(0, 0);
    for (int i = 0; i < 20; i++)
        round_of("g", 11 + i, 0);
    assert_told(1, 0);
    for (int i = 0; i < 20; i++)
        round_of("g", i % 2 ? 9 : 11, 0); /* between the two: no flapping */
    assert_told(1, 0);
    round_of("g", 8, 0);
    assert_told(1, 1);
    round_of("g", 9, 0);
    round_of("g", 0, 0);
    assert_told(1, 1);
    assert_int_equal(alerts.states.count, 0);
    alerts_deinit(&alerts);
}

static void test_pause(void **state)
{
    (void)state;
    struct alert_rule rule = {
        .unit = ALERT_MESSAGES, .threshold = 10, .clear = 8, .pause_ms = 10000};
    begin(&rule);
    for (int i = 0; i < 100; i++)
        round_of("g", i % 2 ? 0 : 100, 0);
    assert_true(alerts.begun + alerts.ended <= 10 && alerts.begun >= 4);
    for (int i = 0; i < 30; i++)
        round_of("g", 0, 0);
    assert_int_equal(alerts.begun, alerts.ended);
    assert_int_equal(alerts.states.count, 0);
    alerts_deinit(&alerts);
}

static void test_must_last(void **state)
{
    (void)state;
    struct alert_rule rule = {
        .unit = ALERT_SECONDS, .threshold = 5000, .clear = 4000, .for_ms = 3000};
    begin(&rule);
    for (int i = 0; i < 10; i++) {
        round_of("g", 1, 6000);
        round_of("g", 1, 6000);
        round_of("g", 1, 1000);
    }
    assert_told(0, 0);
    for (int i = 0; i < 4; i++)
        round_of("g", 1, 6000);
    assert_told(1, 0);
    for (int i = 0; i < 5; i++)
        round_of("g", 1, -1); /* not known: nothing changes */
    assert_told(1, 0);
    round_of("g", 0, 0);
    assert_told(1, 1);
    alerts_deinit(&alerts);
}

static void test_group_goes(void **state)
{
    (void)state;
    struct alert_rule rule = {.unit = ALERT_MESSAGES, .threshold = 10, .clear = 8};
    begin(&rule);
    round_of("g", 100, 0);
    round_of("h", 100, 0); /* g is gone */
    assert_told(2, 1);
    now_ms += 1000;
    alerts_begin_round(&alerts);
    alerts_end_round(&alerts, false, now_ms); /* not all were asked */
    assert_told(2, 1);
    round_of(NULL, 0, 0);
    assert_told(2, 2);
    alerts_deinit(&alerts);
}

static void test_many_groups(void **state)
{
    (void)state;
    struct alert_rule rule = {.unit = ALERT_MESSAGES, .threshold = 0, .clear = 0};
    begin(&rule);
    alerts_begin_round(&alerts);
    for (int i = 0; i < ALERT_STATES_MAX + 10; i++) {
        char group[16];
        snprintf(group, sizeof(group), "g%d", i);
        struct alert_sample sample = {str_of(group), 1, -1, "behind", "a test"};
        alerts_look(&alerts, 0, &sample, 1);
    }
    assert_int_equal(alerts.states.count, ALERT_STATES_MAX);
    alerts_deinit(&alerts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_each),   cmocka_unit_test(test_pause),
        cmocka_unit_test(test_must_last),   cmocka_unit_test(test_group_goes),
        cmocka_unit_test(test_many_groups),
    };
    diag_set_level(DIAG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
