/* Goal: a code, its name and its enum err agree in both directions, for every code and for numbers
 * that are no code. Method: walk all codes and all enum err. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/errors.h"

#define CODE_LAST 133

static void test_every_code(void **state)
{
    (void)state;
    for (int16_t code = -1; code <= CODE_LAST; code++) {
        assert_int_equal(wire_code_of_err(wire_err_of_code(code)), code);
        assert_string_not_equal(wire_code_name(code), "UNKNOWN");
    }
}

static void test_no_code(void **state)
{
    (void)state;
    const int16_t bad[] = {-2, CODE_LAST + 1, INT16_MAX, INT16_MIN};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(wire_err_of_code(bad[i]), ERR_UNKNOWN_SERVER_ERROR);
        assert_string_equal(wire_code_name(bad[i]), "UNKNOWN");
        assert_false(wire_code_is_retriable(bad[i]));
    }
}

static void test_samples(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++)
        (void)wire_code_of_err((enum err)i);
    assert_int_equal(wire_code_of_err(ERR_OK), 0);
    assert_string_equal(wire_code_name(0), "NONE");
    assert_int_equal(wire_code_of_err(ERR_UNKNOWN_TOPIC_OR_PARTITION), 3);
    assert_string_equal(wire_code_name(17), "INVALID_TOPIC_EXCEPTION");
    assert_int_equal(wire_code_of_err(ERR_NOSPACE), 56);
    assert_int_equal(wire_code_of_err(ERR_UNKNOWN_TOPIC_ID), 100);
    assert_true(wire_code_is_retriable(6));
    assert_false(wire_code_is_retriable(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code),
        cmocka_unit_test(test_no_code),
        cmocka_unit_test(test_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
