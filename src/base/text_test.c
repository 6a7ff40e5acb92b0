/* Goal: utf8, parse and time accept exactly what they say, and never guess.
 * Method: tables of texts with their values or errors, every cut of a valid text, and round trips
 * over the whole range of times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "base/rng.h"
#include "base/time.h"
#include "base/utf8.h"

static bool utf8(const char *text)
{
    return utf8_is_valid(slice_of(text, strlen(text)));
}

static void test_utf8(void **state)
{
    (void)state;
    assert_true(utf8(""));
    assert_true(utf8("plain ascii, longer than a word"));
    assert_true(
        utf8("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x9a\xa2 \xed\x9f\xbf \xf4\x8f\xbf\xbf"));
    assert_true(utf8_is_valid(slice_of("a\0b", 3)));
    const char *bad[] = {
        "\x80",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",         "12345678\xc3",
        "\xe2\x82",     "\xe2\x28\xa1",     "\xf0\x9f\x9a",     "\xe2\x82\x28",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8(bad[i]));
}

static void test_integers(void **state)
{
    (void)state;
    int64_t v64 = 7;
    int32_t v32 = 7;
    assert_int_equal(parse_i64(STR("-9223372036854775808"), &v64), ERR_OK);
    assert_true(v64 == INT64_MIN);
    assert_int_equal(parse_i64(STR("+9223372036854775807"), &v64), ERR_OK);
    assert_true(v64 == INT64_MAX);
    assert_int_equal(parse_i64(STR("9223372036854775808"), &v64), ERR_RANGE);
    assert_int_equal(parse_i64(STR("99999999999999999999999x"), &v64), ERR_MALFORMED);
    assert_true(v64 == INT64_MAX);
    const char *bad[] = {"", "-", "+", " 1", "1 ", "0x10", "1.0", "--1", "1_000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(parse_i64(str_of(bad[i]), &v64), ERR_MALFORMED);
    assert_int_equal(parse_i32(STR("-2147483648"), &v32), ERR_OK);
    assert_int_equal(v32, INT32_MIN);
    assert_int_equal(parse_i32(STR("2147483648"), &v32), ERR_RANGE);
    assert_int_equal(parse_i64_in(STR("11"), 0, 10, &v64), ERR_RANGE);
    assert_int_equal(parse_i64_in(STR("10"), 0, 10, &v64), ERR_OK);
    assert_int_equal(parse_i64(STR_NULL, &v64), ERR_MALFORMED);
}

static void test_floats_and_bools(void **state)
{
    (void)state;
    double f = 0;
    assert_int_equal(parse_f64(STR("0.5"), &f), ERR_OK);
    assert_true(f > 0.49 && f < 0.51);
    assert_int_equal(parse_f64(STR("-1e3"), &f), ERR_OK);
    assert_int_equal(parse_f64(STR("1e999"), &f), ERR_RANGE);
    const char *bad[] = {"", "nan", "inf", "0x1p3", "1.5x", " 1", ".", "1e", "1,5"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(parse_f64(str_of(bad[i]), &f), ERR_MALFORMED);
    assert_int_equal(parse_f64((struct str){"1\0002", 3}, &f), ERR_MALFORMED);
    bool b = false;
    assert_int_equal(parse_bool(STR("TRUE"), &b), ERR_OK);
    assert_true(b);
    assert_int_equal(parse_bool(STR("false"), &b), ERR_OK);
    assert_false(b);
    assert_int_equal(parse_bool(STR("yes"), &b), ERR_MALFORMED);
    assert_int_equal(parse_bool(STR("truee"), &b), ERR_MALFORMED);
}

static void test_time_table(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum err err;
        int64_t ms;
    } table[] = {
        {"1970-01-01", ERR_OK, 0},
        {"1969-12-31T23:59:59.999Z", ERR_OK, -1},
        {"2000-02-29T12:00", ERR_OK, INT64_C(951825600000)},
        {"2026-11-23 13:04:30.123456", ERR_OK, INT64_C(1795439070123)},
        {"2026-11-23T14:04:30+01:00", ERR_OK, INT64_C(1795439070000)},
        {"2026-11-23T10:34:30-02:30", ERR_OK, INT64_C(1795439070000)},
        {"0000-01-01", ERR_OK, INT64_C(-62167219200000)},
        {"2025-02-29", ERR_RANGE, 0},
        {"1900-02-29", ERR_RANGE, 0},
        {"2025-13-01", ERR_RANGE, 0},
        {"2025-00-01", ERR_RANGE, 0},
        {"2025-04-31", ERR_RANGE, 0},
        {"2025-01-01T24:00", ERR_RANGE, 0},
        {"2025-01-01T00:60", ERR_RANGE, 0},
        {"2025-01-01T00:00+19:00", ERR_RANGE, 0},
        {"2025-1-1", ERR_MALFORMED, 0},
        {"2025-01-01T", ERR_MALFORMED, 0},
        {"2025-01-01T00", ERR_MALFORMED, 0},
        {"2025-01-01T00:00:00.", ERR_MALFORMED, 0},
        {"2025-01-01T00:00Zulu", ERR_MALFORMED, 0},
        {"2025-01-01x", ERR_MALFORMED, 0},
        {"", ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t ms = 0;
        assert_int_equal(time_parse(str_of(table[i].text), &ms), table[i].err);
        assert_true(ms == table[i].ms);
    }
}

static void test_time_round_trip(void **state)
{
    (void)state;
    char text[TIME_TEXT_MAX];
    time_format(INT64_C(1795439070123), text);
    assert_string_equal(text, "2026-11-23T13:04:30.123Z");
    time_format(INT64_MAX, text);
    assert_string_equal(text, "292278994-08-17T07:12:55.807Z");
    time_format(INT64_MIN, text);
    assert_string_equal(text, "-292275055-05-16T16:47:04.192Z");
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        /* Years 0000 to 9999. */
        int64_t want = rng_range(&rng, INT64_C(-62167219200000), INT64_C(253402300799999)), got;
        time_format(want, text);
        assert_int_equal(time_parse(str_of(text), &got), ERR_OK);
        assert_true(got == want);
    }
}

static void test_durations(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum err err;
        int64_t ms;
    } table[] = {
        {"250ms", ERR_OK, 250},
        {"10s", ERR_OK, 10000},
        {"1h30m", ERR_OK, 5400000},
        {"1w1d", ERR_OK, 8 * INT64_C(86400000)},
        {"0s", ERR_OK, 0},
        {"9223372036854775807ms", ERR_OK, INT64_MAX},
        {"9223372036854775808ms", ERR_RANGE, 0},
        {"9223372036854775807s", ERR_RANGE, 0},
        {"10", ERR_MALFORMED, 0},
        {"s", ERR_MALFORMED, 0},
        {"", ERR_MALFORMED, 0},
        {"30m1h", ERR_MALFORMED, 0},
        {"1h1h", ERR_MALFORMED, 0},
        {"1.5s", ERR_MALFORMED, 0},
        {"-1s", ERR_MALFORMED, 0},
        {"1 s", ERR_MALFORMED, 0},
        {"1y", ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t ms = 0;
        assert_int_equal(duration_parse(str_of(table[i].text), &ms), table[i].err);
        assert_true(ms == table[i].ms);
    }
}

static void test_duration_format(void **state)
{
    (void)state;
    const struct {
        int64_t ms;
        const char *text;
    } table[] = {
        {0, "0ms"},        {250, "250ms"},        {10000, "10s"},
        {10001, "10s1ms"}, {5400000, "1h30m"},    {3600001, "1h"},
        {86400000, "1d"},  {-183600000, "-2d3h"}, {INT64_MIN, "-106751991167d7h"},
    };
    char text[DURATION_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        duration_format(table[i].ms, text);
        assert_string_equal(text, table[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats_and_bools),
        cmocka_unit_test(test_time_table),
        cmocka_unit_test(test_time_round_trip),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_duration_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
