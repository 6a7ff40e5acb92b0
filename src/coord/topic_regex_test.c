/* Goal: what RE2 takes matches as RE2 matches it; what it refuses is refused with its phrase; no
 * pattern costs more than it may.
 * Method: patterns with their names by hand; tests/coord/run.sh has many more against Kafka's own
 * library. Patterns that make a backtracking matcher take for ever, and too large ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coord/topic_regex.h"

static bool matches(const char *pattern, struct str name)
{
    struct topic_regex *regex;
    char why[TOPIC_REGEX_WHY_MAX];
    assert_int_equal(topic_regex_compile(str_of(pattern), &regex, why), ERR_OK);
    bool result = topic_regex_matches(regex, name);
    topic_regex_free(regex);
    return result;
}

static void test_matches_the_whole_name(void **state)
{
    (void)state;
    assert_true(matches("foo.*", STR("foobar")));
    assert_false(matches("foo", STR("foobar")));
    assert_false(matches("oobar", STR("foobar")));
    assert_true(matches("foo|foobar", STR("foobar")));
    assert_true(matches("foo??bar", STR("fobar")));
    assert_true(matches("(?i)FOO(?-i)bar", STR("foobar")));
    assert_false(matches("(?i)FOO(?-i)BAR", STR("foobar")));
    assert_true(matches("(?i:F)oo(?P<rest>.*)", STR("foobar")));
    assert_true(matches("a(?i)*B", STR("aab")));
    assert_true(matches("^orders\\.[[:lower:]]{2}$", STR("orders.eu")));
    assert_true(matches("\\Qa.b\\E+", STR("a.bbb")));
    assert_false(matches("\\Qa.b\\E", STR("axb")));
    assert_true(matches("", STR("")));
    assert_true(matches("a{,2}", STR("a{,2}")));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *why;
    } cases[] = {
        {"(a)\\1", "invalid escape sequence"},
        {"(?=a)b", "invalid or unsupported Perl syntax"},
        {"(?!a)b", "invalid or unsupported Perl syntax"},
        {"(?>a)b", "invalid or unsupported Perl syntax"},
        {"(?R)", "invalid or unsupported Perl syntax"},
        {"(?<=a)b", "invalid named capture"},
        {"(?P<n>a)(?P<n>b)", "duplicate capture group name"},
        {"a++", "invalid nested repetition operator"},
        {"*a", "missing argument to repetition operator"},
        {"(*ACCEPT)", "missing argument to repetition operator"},
        {"a{1001}", "invalid repeat count"},
        {"[a", "missing closing ]"},
        {"(a", "missing closing )"},
        {"[z-a]", "invalid character class range"},
        {"[[:nope:]]", "invalid character class range"},
        {"\\p{Nonsense}", "invalid character class range"},
        {"a\\", "trailing backslash at end of expression"},
        {"\xff", "not UTF-8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct topic_regex *regex = NULL;
        char why[TOPIC_REGEX_WHY_MAX] = "";
        assert_int_equal(topic_regex_compile(str_of(cases[i].pattern), &regex, why),
                         ERR_INVALID_REGULAR_EXPRESSION);
        assert_string_equal(why, cases[i].why);
        assert_null(regex);
    }
}

static void test_costs(void **state)
{
    (void)state;
    static const char *const hard[] = {"(a*)*b",           "(a|a)*b",         "(a|aa)+b",
                                       "(.*)*(.*)*(.*)*b", "((a?){30}){30}b", "(x+x+)+y"};
    char name[250];
    memset(name, 'a', sizeof(name));
    for (size_t i = 0; i < ARRAY_LEN(hard); i++)
        assert_false(matches(hard[i], (struct str){name, sizeof(name)}));
    static char large[32768];
    struct topic_regex *regex;
    char why[TOPIC_REGEX_WHY_MAX];
    memset(large, '(', sizeof(large) - 1);
    assert_int_equal(topic_regex_compile(str_of(large), &regex, why),
                     ERR_INVALID_REGULAR_EXPRESSION);
    memset(large, '.', sizeof(large) - 1);
    assert_int_equal(topic_regex_compile(str_of(large), &regex, why), ERR_OK);
    topic_regex_free(regex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches_the_whole_name),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
