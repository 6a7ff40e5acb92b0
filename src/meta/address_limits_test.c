/* Goal: addresses in every notation are one key, and a list of limits is read or refused at the
 * right element. Method: tables of texts, wrong ones included. */
#include "meta/address_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "base/rng.h"

static void test_notations(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"10.1.2.3", "::ffff:10.1.2.3"},
        {"::1", "0:0:0:0:0:0:0:1"},
        {"fe80::1%eth0", "FE80::1"},
        {"fe80::1%", "fe80::1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct address a, b;
        assert_true(address_parse(str_of(same[i][0]), &a));
        assert_true(address_parse(str_of(same[i][1]), &b));
        assert_true(address_eq(a, b));
    }
    static const char *const wrong[] = {
        "",           "localhost", "10.0.0",
        "10.0.0.256", "10.0.0.1 ", "10.0.0.1%eth0",
        ":::",        "1::2::3",   "[::1]",
        "%eth0",      "::1/64",    "00000:00000:00000:00000:00000:00000:00000:00000:00000"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct address address;
        assert_false(address_parse(str_of(wrong[i]), &address));
    }
    struct address address;
    assert_false(address_parse((struct str){"10.0.0.1\0x", 10}, &address));
}

/* Against the C library's reading, whose rules these are. */
static void test_random_texts(void **state)
{
    (void)state;
    static const char letters[] = "0123456789abcF::..:";
    struct rng rng;
    rng_init(&rng, 5);
    int good = 0;
    for (int i = 0; i < 300000; i++) {
        char text[48] = {0};
        size_t len = 2 + rng_below(&rng, 16);
        bool is_v4 = rng_chance(&rng, 1, 4);
        for (size_t k = 0; k < len; k++)
            text[k] = is_v4 && k % 2 ? '.' : letters[rng_below(&rng, sizeof(letters) - 1)];
        struct address mine, theirs = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
        bool is_good = inet_pton(AF_INET6, text, theirs.bytes) == 1;
        if (!is_good) {
            theirs = (struct address){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
            is_good = inet_pton(AF_INET, text, theirs.bytes + 12) == 1;
        }
        if (address_parse(str_of(text), &mine) != is_good)
            fail_msg("%s", text);
        if (is_good && !address_eq(mine, theirs))
            fail_msg("%s is another address", text);
        good += is_good;
    }
    assert_true(good > 1000);
}

static void test_lists(void **state)
{
    (void)state;
    struct address a, b, c;
    assert_true(address_parse(STR("10.0.0.1"), &a));
    assert_true(address_parse(STR("::1"), &b));
    assert_true(address_parse(STR("10.0.0.2"), &c));
    struct str list = STR("10.0.0.1:5 , ::1 : 0,10.0.0.1:7");
    assert_int_equal(address_limit_of(list, a, 99), 5); /* the first counts */
    assert_int_equal(address_limit_of(list, b, 99), 0);
    assert_int_equal(address_limit_of(list, c, 99), 99);
    assert_int_equal(address_limit_of(STR(""), a, 99), 99);

    static const struct {
        const char *list;
        const char *element; /* that is wrong; NULL: none */
    } cases[] = {
        {"", NULL},
        {"10.0.0.1:1", NULL},
        {"10.0.0.1:1,", NULL},
        {"10.0.0.1:1,,", ""},
        {"10.0.0.1", "10.0.0.1"},
        {"10.0.0.1:", "10.0.0.1:"},
        {"10.0.0.1:x", "10.0.0.1:x"},
        {"10.0.0.1:-1", NULL},
        {"10.0.0.1:2147483648", "10.0.0.1:2147483648"},
        {"10.0.0.1:1,host:3", "host:3"},
        {":3", ":3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str rest = str_of(cases[i].list), element = STR("");
        struct address_limit limit;
        enum err err;
        do
            err = address_limit_next(&rest, &limit, &element);
        while (err == ERR_OK);
        assert_int_equal(err, cases[i].element ? ERR_MALFORMED : ERR_NOENT);
        if (cases[i].element)
            assert_true(str_eq_cstr(element, cases[i].element));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notations),
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
