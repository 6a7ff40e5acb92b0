/* Goal: headers of every API and version come back as they went, and damaged ones are errors.
 * Method: encode and decode each; known bytes for both forms; every truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/header.h"

#define PRODUCE 0

static void test_every_version(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    for (int i = 0; i < api_table_len; i++) {
        const struct api_info *api = &api_table[i];
        for (int v = api->version_min; v <= api->version_max; v++) {
            struct request_header header = {api->key, (int16_t)v, -7, STR("client")}, again;
            size_t used;
            int32_t correlation_id;
            buf_reset(&buf);
            request_header_encode(api, &header, &buf);
            for (size_t len = 0; len < buf.len; len++)
                assert_int_equal(request_header_decode(slice_of(buf.data, len), &again, &used),
                                 ERR_TRUNCATED);
            assert_int_equal(request_header_decode(buf_slice(&buf), &again, &used), ERR_OK);
            assert_int_equal(used, buf.len);
            assert_int_equal(again.api_key, api->key);
            assert_int_equal(again.api_version, v);
            assert_int_equal(again.correlation_id, -7);
            assert_true(str_eq(again.client_id, header.client_id));

            buf_reset(&buf);
            response_header_encode(api, (int16_t)v, 9, &buf);
            for (size_t len = 0; len < buf.len; len++)
                assert_int_equal(response_header_decode(api, (int16_t)v, slice_of(buf.data, len),
                                                        &correlation_id, &used),
                                 ERR_TRUNCATED);
            assert_int_equal(
                response_header_decode(api, (int16_t)v, buf_slice(&buf), &correlation_id, &used),
                ERR_OK);
            assert_int_equal(used, buf.len);
            assert_int_equal(correlation_id, 9);
        }
    }
    buf_deinit(&buf);
}

static enum err decode(const void *bytes, size_t len, struct request_header *header, size_t *used)
{
    return request_header_decode(slice_of(bytes, len), header, used);
}

static void test_tags_are_skipped(void **state)
{
    (void)state;
    struct request_header header;
    size_t used;
    static const uint8_t bytes[] = {0,   0, 0, 9,   0, 0, 0, 1, 0xff, 0xff, /* client id: null */
                                    2,   5, 1, 'x', 6, 0,                   /* two tagged fields */
                                    0xaa};
    assert_int_equal(decode(bytes, sizeof(bytes), &header, &used), ERR_OK);
    assert_int_equal(used, sizeof(bytes) - 1);
    assert_true(str_is_null(header.client_id));
    for (size_t len = 0; len < sizeof(bytes) - 1; len++)
        assert_int_equal(decode(bytes, len, &header, &used), ERR_TRUNCATED);

    static const uint8_t too_many[] = {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x7f};
    assert_int_equal(decode(too_many, sizeof(too_many), &header, &used), ERR_LIMIT);
    static const uint8_t too_long[] = {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 1, 5, 100, 1, 2};
    assert_int_equal(decode(too_long, sizeof(too_long), &header, &used), ERR_TRUNCATED);
}

static void test_odd_requests(void **state)
{
    (void)state;
    struct request_header header;
    size_t used;
    static const uint8_t unknown[] = {0x7f, 0, 0, 0, 0, 0, 0, 1, 0, 0};
    assert_int_equal(decode(unknown, sizeof(unknown), &header, &used), ERR_UNSUPPORTED);
    /* ApiVersions from the future: the header is read, so that the version can be refused. */
    static const uint8_t future[] = {0, 18, 0, 99, 0, 0, 0, 1, 0, 1, 'c', 0};
    assert_int_equal(decode(future, sizeof(future), &header, &used), ERR_OK);
    assert_int_equal(header.api_version, 99);
    assert_int_equal(used, sizeof(future));
    static const uint8_t long_id[] = {0, 18, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 'c'};
    assert_int_equal(decode(long_id, sizeof(long_id), &header, &used), ERR_TRUNCATED);
}

static void test_api_versions_is_answered_plainly(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    response_header_encode(api_find(API_KEY_API_VERSIONS), 3, 1, &buf);
    assert_int_equal(buf.len, 4);
    buf_reset(&buf);
    response_header_encode(api_find(PRODUCE), 9, 1, &buf);
    assert_int_equal(buf.len, 5);
    buf_reset(&buf);
    response_header_encode(api_find(PRODUCE), 8, 1, &buf);
    assert_int_equal(buf.len, 4);
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_version),
        cmocka_unit_test(test_tags_are_skipped),
        cmocka_unit_test(test_odd_requests),
        cmocka_unit_test(test_api_versions_is_answered_plainly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
