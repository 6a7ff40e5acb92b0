/* Goal: leader epochs answer where each ended, and survive their checkpoint's text.
 * Method: a short history asked at every epoch; malformed texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "log/epochs.h"

static void assert_end(const struct epochs *epochs, int32_t requested, int32_t epoch, int64_t end)
{
    int32_t got_epoch;
    int64_t got_end;
    epochs_end_offset(epochs, requested, 50, &got_epoch, &got_end);
    assert_int_equal(got_epoch, epoch);
    assert_int_equal(got_end, end);
}

static void test_history(void **state)
{
    (void)state;
    struct epochs epochs;
    bool changed;
    epochs_init(&epochs);
    assert_end(&epochs, 0, -1, -1);
    assert_int_equal(epochs_assign(&epochs, 2, 0, &changed), ERR_OK);
    assert_int_equal(epochs_assign(&epochs, 2, 7, &changed), ERR_OK);
    assert_false(changed);
    assert_int_equal(epochs_assign(&epochs, 5, 20, &changed), ERR_OK);
    assert_true(changed);
    assert_end(&epochs, 1, 1, 0);
    assert_end(&epochs, 2, 2, 20);
    assert_end(&epochs, 4, 2, 20);
    assert_end(&epochs, 5, 5, 50);
    assert_end(&epochs, 6, -1, -1);
    assert_int_equal(epochs_of_offset(&epochs, 19), 2);
    assert_int_equal(epochs_of_offset(&epochs, 20), 5);
    epochs_truncate_start(&epochs, 25);
    assert_int_equal(epochs.count, 1);
    assert_int_equal(epochs.entries[0].start_offset, 25);
    epochs_truncate_end(&epochs, 25);
    assert_int_equal(epochs_latest(&epochs), -1);
    epochs_deinit(&epochs);
}

static void test_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "x",         "1\n0\n",          "0\n-1\n",      "0\n1\n",
        "0\n1\n1\n", "0\n1\n1 -1\n",    "0\n1\n-1 0\n", "0\n2\n1 0\n1 5\n",
        "0\n1\na 0", "0\n2\n1 5\n2 4\n"};
    struct epochs epochs;
    struct buf text;
    epochs_init(&epochs);
    buf_init(&text, BUF_NO_LIMIT);
    assert_int_equal(epochs_parse(&epochs, STR("0\n2\n1 0\n3 44\n")), ERR_OK);
    epochs_print(&epochs, &text);
    assert_true(str_eq((struct str){(const char *)text.data, text.len}, STR("0\n2\n1 0\n3 44\n")));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(epochs_parse(&epochs, str_of(bad[i])), ERR_MALFORMED);
    buf_deinit(&text);
    epochs_deinit(&epochs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_history), cmocka_unit_test(test_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
