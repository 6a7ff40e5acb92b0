/* Goal: a library's functions can be called through a table; a library that is missing and one that
 * lacks a function are told apart. Method: the C library itself, and names that nobody has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/late.h"

#define FUNCTIONS(X) X(str, len) X(str, toul)

static struct {
    FUNCTIONS(LATE_FUNCTION)
} str_functions;
static const char *const str_names[] = {FUNCTIONS(LATE_NAME)};

static void test_there(void **state)
{
    (void)state;
    assert_null(late_load("libc.so.6", str_names, &str_functions, ARRAY_LEN(str_names)));
    assert_int_equal(str_functions.len("twelve bytes"), 12);
    assert_int_equal(str_functions.toul("1f", NULL, 16), 31);
}

static void test_not_there(void **state)
{
    (void)state;
    const char *const nobodys[] = {"strlen", "str_that_nobody_has"};
    void *table[2];
    const char *why = late_load("libnobody-has-it.so.1", str_names, table, 2);
    assert_non_null(why);
    assert_non_null(strstr(why, "libnobody-has-it.so.1"));
    why = late_load("libc.so.6", nobodys, table, 2);
    assert_non_null(why);
    assert_non_null(strstr(why, "str_that_nobody_has"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there),
        cmocka_unit_test(test_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
