/* Goal: the generated table is what lookups believe: sorted, whole, and found by key.
 * Method: walk it; look for keys that are in it and keys that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/api.h"

static void test_table(void **state)
{
    (void)state;
    assert_in_range(api_table_len, 80, 200);
    for (int i = 0; i < api_table_len; i++) {
        const struct api_info *api = &api_table[i];
        assert_true(i == 0 || api_table[i - 1].key < api->key);
        assert_ptr_equal(api_find(api->key), api);
        assert_true(api->version_min <= api->version_max);
        assert_true(api->broker || api->controller);
        assert_int_equal(api->request->version_max, api->version_max);
        assert_int_equal(api->response->version_max, api->version_max);
        assert_int_equal(api->response->flexible_min, api->flexible_from);
    }
}

static void test_find(void **state)
{
    (void)state;
    assert_string_equal(api_name(0), "Produce");
    assert_int_equal(api_find(1)->version_max, 18);
    assert_false(api_find(0)->controller);
    assert_int_equal(api_find(17)->flexible_from, MSG_VERSION_NONE);
    const int16_t absent[] = {-1, 4, 5, 6, 7, 1000, INT16_MAX, INT16_MIN};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
        assert_null(api_find(absent[i]));
        assert_string_equal(api_name(absent[i]), "Unknown");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
