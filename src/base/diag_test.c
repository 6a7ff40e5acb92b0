/* Goal: log lines are whole, one line each, and held back when there are too many; errors have
 * names. Method: standard error caught in a pipe; the rate limit over its edges; every error's
 * name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/err.h"

struct catcher {
    int pipe[2];
    int stderr_before;
};

static void catcher_start(struct catcher *catcher)
{
    assert_int_equal(pipe(catcher->pipe), 0);
    catcher->stderr_before = dup(STDERR_FILENO);
    assert_int_equal(dup2(catcher->pipe[1], STDERR_FILENO), STDERR_FILENO);
}

static void catcher_stop(struct catcher *catcher, char *text, size_t size)
{
    assert_int_equal(dup2(catcher->stderr_before, STDERR_FILENO), STDERR_FILENO);
    close(catcher->pipe[1]);
    close(catcher->stderr_before);
    ssize_t len = read(catcher->pipe[0], text, size - 1);
    close(catcher->pipe[0]);
    text[len > 0 ? len : 0] = '\0';
}

static void test_a_line(void **state)
{
    (void)state;
    struct catcher catcher;
    char text[8192];
    catcher_start(&catcher);
    diag_debug("test", "not said");
    diag_warn("test", "n=%d a\nb\tc\x7f", 7);
    catcher_stop(&catcher, text, sizeof(text));
    assert_int_equal(text[10], 'T');
    assert_int_equal(text[23], 'Z');
    assert_string_equal(text + 24, " WARN  test: n=7 a?b?c?\n");
}

static void test_a_long_line_is_cut(void **state)
{
    (void)state;
    struct catcher catcher;
    char text[8192], message[4000];
    memset(message, 'x', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    catcher_start(&catcher);
    diag_set_level(DIAG_ERROR);
    diag_warn("test", "not said");
    diag_error("test", "%s", message);
    diag_set_level(DIAG_INFO);
    catcher_stop(&catcher, text, sizeof(text));
    size_t len = strlen(text);
    assert_true(len > 1000 && len < sizeof(message));
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
}

static void test_rate(void **state)
{
    (void)state;
    struct diag_rate rate = {0};
    uint64_t dropped = 99, now = 1000000;
    for (int i = 0; i < DIAG_RATE_BURST; i++)
        assert_true(diag_rate_allows(&rate, now, &dropped));
    assert_int_equal(dropped, 0);
    for (int i = 0; i < 3; i++)
        assert_false(diag_rate_allows(&rate, now + DIAG_RATE_PERIOD_MS - 1, &dropped));
    assert_true(diag_rate_allows(&rate, now + DIAG_RATE_PERIOD_MS, &dropped));
    assert_int_equal(dropped, 3);
    assert_true(diag_rate_allows(&rate, now + DIAG_RATE_PERIOD_MS, &dropped));
    assert_int_equal(dropped, 0);
}

static void test_errors(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        assert_true(strlen(err_name((enum err)i)) > 0);
        assert_true(strlen(err_text((enum err)i)) > 0);
    }
    assert_string_equal(err_name(ERR_INVALID_RECORD), "INVALID_RECORD");
    assert_int_equal(err_of_errno(0), ERR_OK);
    assert_int_equal(err_of_errno(ENOSPC), ERR_NOSPACE);
    assert_int_equal(err_of_errno(ENOENT), ERR_NOENT);
    assert_int_equal(err_of_errno(EIO), ERR_IO);
    assert_int_equal(err_of_errno(-12345), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line),
        cmocka_unit_test(test_a_long_line_is_cut),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
