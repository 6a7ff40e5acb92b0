/* Goal: rules are read as they are meant, and whatever is wrong is refused. Method: tables of
 * settings with what they mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/alert_rule.h"

static struct arena arena;
static struct alert_rule rule;

static enum err set(const char *property, const char *value)
{
    struct str why = STR_NULL, allowed = STR_NULL;
    enum err err = alert_rule_set(&rule, str_of(property), str_of(value), &arena, &why, &allowed);
    if (err != ERR_OK)
        assert_true(why.len > 0 && allowed.len > 0);
    return err;
}

static enum err finish(void)
{
    struct str why, allowed;
    const char *property;
    return alert_rule_finish(&rule, &arena, &property, &why, &allowed);
}

static void begin(void)
{
    alert_rule_init(&rule, STR("test"));
}

static void test_keys(void **state)
{
    (void)state;
    struct str name, property;
    assert_true(alert_key_split(STR("lag.alert.slow.for.ms"), &name, &property));
    assert_true(str_eq(name, STR("slow")) && str_eq(property, STR("for.ms")));
    assert_true(alert_key_split(STR("lag.alert.slow"), &name, &property));
    assert_true(str_eq(name, STR("slow")) && property.len == 0);
    assert_false(alert_key_split(STR("lag.alert."), &name, &property));
    assert_false(alert_key_split(STR("lag.interval.ms"), &name, &property));
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"*", "", true},
        {"*", "any", true},
        {"a*c", "abc", true},
        {"a*c", "ac", true},
        {"a*c", "acb", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"*-dlq", "x-dlq", true},
        {"**a**", "bab", true},
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"order-*", "order", false},
        {"*a*b*c", "xaxbxcxbc", true},
        {"*a*b*c", "xaxcxb", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (alert_pattern_matches(str_of(cases[i].pattern), str_of(cases[i].text)) !=
            cases[i].matches)
            fail_msg("%s and %s", cases[i].pattern, cases[i].text);
    }
}

static void test_when(void **state)
{
    (void)state;
    begin();
    assert_int_equal(finish(), ERR_INVALID_CONFIG);
    assert_int_equal(set("when", "messages > 10"), ERR_OK);
    assert_int_equal(finish(), ERR_OK);
    assert_int_equal(rule.threshold, 10);
    assert_int_equal(rule.clear, 8);
    begin();
    assert_int_equal(set("clear", "2.5"), ERR_OK);
    assert_int_equal(set("when", "seconds>5"), ERR_OK);
    assert_int_equal(finish(), ERR_OK);
    assert_int_equal(rule.unit, ALERT_SECONDS);
    assert_int_equal(rule.threshold, 5000);
    assert_int_equal(rule.clear, 2500);
    begin();
    assert_int_equal(set("when", "messages > 10"), ERR_OK);
    assert_int_equal(set("clear", "11"), ERR_OK);
    assert_int_equal(finish(), ERR_INVALID_CONFIG);
    static const char *const wrong[] = {
        "",         "messages",           "messages > ",   "messages < 5",
        "msgs > 5", "messages > -1",      "seconds > x",   "seconds > 1e99",
        "> 5",      "messages > 5 or so", "messages > 1.5"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        begin();
        if (set("when", wrong[i]) == ERR_OK)
            fail_msg("\"%s\" is taken", wrong[i]);
    }
}

static void test_commands(void **state)
{
    (void)state;
    begin();
    assert_int_equal(set("command", "/bin/scale  --up \"my service\" a\\ b \"\" x\\\"y"), ERR_OK);
    static const char *const want[] = {"/bin/scale", "--up", "my service", "a b", "", "x\"y"};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        assert_string_equal(rule.argv[i], want[i]);
    assert_null(rule.argv[6]);
    static const char *const wrong[] = {
        "", "  ", "scale up", "./scale", "/bin/scale \"up", "/bin/scale \\"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(set("command", wrong[i]), ERR_INVALID_CONFIG);
    static char many[3 * (ALERT_ARGS_MAX + 1)];
    memset(many, 0, sizeof(many));
    for (size_t i = 0; i < ALERT_ARGS_MAX + 1; i++)
        memcpy(many + 3 * i, "/a ", 3);
    many[sizeof(many) - 1] = '\0';
    assert_int_equal(set("command", many), ERR_INVALID_CONFIG);
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *path;
        uint16_t port;
    } cases[] = {
        {"http://a", "a", "/", 80},
        {"http://a.b:8080/x?y=z", "a.b", "/x?y=z", 8080},
        {"http://[::1]:9/h", "::1", "/h", 9},
        {"http://[::1]", "::1", "/", 80},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin();
        assert_int_equal(set("url", cases[i].url), ERR_OK);
        assert_string_equal(rule.url.host.data, cases[i].host);
        assert_string_equal(rule.url.path.data, cases[i].path);
        assert_int_equal(rule.url.port, cases[i].port);
    }
    static const char *const wrong[] = {"",
                                        "http://",
                                        "https://a/",
                                        "a",
                                        "http://:80",
                                        "http://a:0",
                                        "http://a:65536",
                                        "http://a b",
                                        "http://u:p@a/",
                                        "http://a\r\nX: y"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (set("url", wrong[i]) == ERR_OK)
            fail_msg("\"%s\" is taken", wrong[i]);
    }
}

static void test_the_rest(void **state)
{
    (void)state;
    begin();
    assert_int_equal(set("for.ms", "1000"), ERR_OK);
    assert_int_equal(set("pause.ms", "0"), ERR_OK);
    assert_int_equal(set("pause.ms", "-1"), ERR_INVALID_CONFIG);
    assert_int_equal(set("for.ms", "99999999999999"), ERR_INVALID_CONFIG);
    assert_int_equal(set("clear", "-1"), ERR_INVALID_CONFIG);
    assert_int_equal(set("group", ""), ERR_INVALID_CONFIG);
    assert_int_equal(set("colour", "red"), ERR_INVALID_CONFIG);
    assert_int_equal(set("", "x"), ERR_INVALID_CONFIG);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_LIMIT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys), cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_when), cmocka_unit_test(test_commands),
        cmocka_unit_test(test_urls), cmocka_unit_test(test_the_rest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
