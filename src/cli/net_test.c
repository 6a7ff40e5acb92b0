/* Goal: servers are understood as people write them, and nothing else is.
 * Method: each form with its host and port, and texts that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/net.h"

static void check(const char *server, const char *host_wanted, const char *port_wanted)
{
    char host[NET_PEER_MAX], port[8];
    assert_int_equal(net_split(str_of(server), host, port), ERR_OK);
    assert_string_equal(host, host_wanted);
    assert_string_equal(port, port_wanted);
}

static void test_servers(void **state)
{
    (void)state;
    check("localhost:9092", "localhost", "9092");
    check("localhost", "localhost", "9092");
    check("10.0.0.1:1", "10.0.0.1", "1");
    check("[::1]:65535", "::1", "65535");
    check("[::1]", "::1", "9092");
}

static void test_no_servers(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",           ":",       ":9092", "host:",   "host:port",
                                        "host:0",     "::1",     "[::1",  "[]:1",    "[::1]x",
                                        "host:65536", "host:-1", "a:b:1", "host:1 ", "[::1]:"};
    char host[NET_PEER_MAX], port[8], long_name[400];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (net_split(str_of(wrong[i]), host, port) == ERR_OK)
            fail_msg("'%s' is taken for a server", wrong[i]);
    }
    memset(long_name, 'a', sizeof(long_name));
    assert_int_not_equal(net_split((struct str){long_name, sizeof(long_name)}, host, port), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_no_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
