/* Goal: bytes from a cluster reach a terminal or a JSON reader unharmed and harmless.
 * Method: every byte value, UTF-8 at its edges, round trips through jansson and our own decoders,
 * and input that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/out.h"
#include "cli/record.h"

static void check_escape(const char *bytes, size_t len, const char *expected)
{
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    put_escaped(&buf, slice_of(bytes, len));
    buf_put_u8(&buf, 0);
    assert_string_equal((const char *)buf.data, expected);
    buf_deinit(&buf);
}

static void test_escape(void **state)
{
    (void)state;
    check_escape("plain", 5, "plain");
    check_escape("a\tb\nc\rd\\e", 9, "a\\tb\\nc\\rd\\\\e");
    check_escape("\0\x1b[2J\x7f", 6, "\\x00\\x1b[2J\\x7f");
    check_escape("gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f");
    check_escape("\xf0\x9f\x9a\xa2", 4, "\xf0\x9f\x9a\xa2");
    check_escape("\xc2\x9b", 2, "\\xc2\\x9b");          /* CSI as one character */
    check_escape("\xc3", 1, "\\xc3");                   /* cut */
    check_escape("\xc0\x80", 2, "\\xc0\\x80");          /* overlong */
    check_escape("\xed\xa0\x80", 3, "\\xed\\xa0\\x80"); /* surrogate */
    check_escape("\xff\xfe", 2, "\\xff\\xfe");
}

static void test_unescape(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    put_unescaped(&buf, "a\\t\\n\\x00\\xfF\\\\\\q\\x1");
    const char expected[] = "a\t\n\0\xff\\\\q\\x1";
    assert_int_equal(buf.len, sizeof(expected) - 1);
    assert_memory_equal(buf.data, expected, sizeof(expected) - 1);
    buf_deinit(&buf);
}

static void test_json_string_round_trip(void **state)
{
    (void)state;
    struct buf text, json;
    buf_init(&text, BUF_NO_LIMIT);
    buf_init(&json, BUF_NO_LIMIT);
    for (int byte = 0; byte < 0x80; byte++)
        buf_put_u8(&text, (uint8_t)byte);
    buf_printf(&text, "\xc3\xbc\xe2\x82\xac\xf0\x9f\x9a\xa2");
    put_json_string(&json, buf_slice(&text));
    json_t *back =
        json_loadb((const char *)json.data, json.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(back);
    assert_int_equal(json_string_length(back), text.len);
    assert_memory_equal(json_string_value(back), text.data, text.len);
    json_decref(back);
    buf_deinit(&text);
    buf_deinit(&json);
}

static void test_base64(void **state)
{
    (void)state;
    struct buf bytes, text, back;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_init(&text, BUF_NO_LIMIT);
    buf_init(&back, BUF_NO_LIMIT);
    for (int i = 0; i < 300; i++) {
        buf_reset(&text);
        buf_reset(&back);
        put_base64(&text, buf_slice(&bytes));
        assert_int_equal(text.len, (bytes.len + 2) / 3 * 4);
        assert_int_equal(base64_decode(&back, (struct str){(char *)text.data, text.len}), ERR_OK);
        assert_int_equal(back.len, bytes.len);
        if (bytes.len)
            assert_memory_equal(back.data, bytes.data, bytes.len);
        buf_put_u8(&bytes, (uint8_t)(i * 7));
    }
    const char *const wrong[] = {
        "a", "ab=", "====", "a===", "ab=c", "ab==abcd", "ab*=", "\xff\xff\xff\xff"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(base64_decode(&back, str_of(wrong[i])), ERR_MALFORMED);
    buf_deinit(&bytes);
    buf_deinit(&text);
    buf_deinit(&back);
}

static void test_sizes(void **state)
{
    (void)state;
    const struct {
        uint64_t size;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1048575, "1.0 MiB"},
                 {1536, "1.5 KiB"},
                 {UINT64_C(3) << 30, "3.0 GiB"},
                 {UINT64_MAX, "16.0 EiB"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[SIZE_TEXT_MAX];
        size_format(cases[i].size, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_table(void **state)
{
    (void)state;
    static const struct column columns[] = {{"NAME", false}, {"N", true}, {"NOTE", false}};
    struct grid table;
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    grid_init(&table, columns, ARRAY_LEN(columns));
    grid_print(&table, &out);
    assert_int_equal(out.len, 0);
    grid_put(&table, "gr\xc3\xbcn");
    grid_put(&table, "%d", 7);
    grid_put(&table, "a\nb");
    grid_put(&table, "longer name");
    grid_put(&table, "%d", 12345);
    grid_put(&table, "%s", "");
    grid_print(&table, &out);
    buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.data, "NAME             N  NOTE\n"
                                                "gr\xc3\xbcn             7  a\\nb\n"
                                                "longer name  12345\n");
    grid_deinit(&table);
    buf_deinit(&out);
}

/* ---- records ---- */

static void test_record_text(void **state)
{
    (void)state;
    struct record_format format = {.partition = true,
                                   .offset = true,
                                   .timestamp = true,
                                   .key = true,
                                   .headers = true,
                                   .size = true,
                                   .value = true,
                                   .escape = true,
                                   .separator = slice_of("|", 1)};
    struct record_header headers[] = {{STR("h"), slice_of("x", 1)}, {STR("n"), SLICE_NULL}};
    struct record_view record = {.partition = 3,
                                 .offset = 42,
                                 .timestamp_ms = 1767225600000,
                                 .key = slice_of("k", 1),
                                 .value = slice_of("v\x01", 2),
                                 .headers = headers,
                                 .header_count = 2};
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    record_put_text(&out, &format, &record);
    record.key = SLICE_NULL;
    record.timestamp_ms = -1;
    record.header_count = 0;
    record_put_text(&out, &format, &record);
    buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.data,
                        "3|42|2026-01-01T00:00:00.000Z|k|h=x,n=null|3|v\\x01\n"
                        "3|42|-|null||2|v\\x01\n");
    buf_deinit(&out);
}

static void test_record_json_round_trip(void **state)
{
    (void)state;
    struct record_header headers[] = {{STR("h"), slice_of("\xff", 1)}, {STR(""), slice_of("", 0)}};
    const struct slice blobs[] = {SLICE_NULL, slice_of("", 0), slice_of("text \"\\\n\0!", 9),
                                  slice_of("\xfe\x00", 2)};
    struct arena arena;
    struct buf out, why;
    arena_init(&arena, ARENA_NO_LIMIT);
    buf_init(&out, BUF_NO_LIMIT);
    buf_init(&why, 1024);
    for (size_t i = 0; i < ARRAY_LEN(blobs) * ARRAY_LEN(blobs); i++) {
        struct record_view record = {.topic = STR("t"),
                                     .partition = 1,
                                     .offset = 5,
                                     .timestamp_ms = 1767225600000,
                                     .key = blobs[i / 4],
                                     .value = blobs[i % 4],
                                     .headers = headers,
                                     .header_count = 2};
        struct record_view back;
        buf_reset(&out);
        record_put_json(&out, &record);
        struct str line = {(char *)out.data, out.len};
        assert_int_equal(record_parse_json(line, &arena, &back, &why), ERR_OK);
        assert_int_equal(back.partition, 1);
        assert_true(back.timestamp_ms == record.timestamp_ms);
        assert_int_equal(back.key.data == NULL, record.key.data == NULL);
        assert_int_equal(back.key.len, record.key.len);
        assert_int_equal(back.value.data == NULL, record.value.data == NULL);
        assert_int_equal(back.value.len, record.value.len);
        if (record.value.len)
            assert_memory_equal(back.value.data, record.value.data, record.value.len);
        assert_int_equal(back.header_count, 2);
        assert_int_equal(back.headers[0].value.len, 1);
        assert_memory_equal(back.headers[0].value.data, "\xff", 1);
        assert_int_equal(back.headers[1].key.len, 0);
    }
    arena_deinit(&arena);
    buf_deinit(&out);
    buf_deinit(&why);
}

static void test_record_json_forms(void **state)
{
    (void)state;
    struct arena arena;
    struct buf why;
    struct record_view record;
    arena_init(&arena, ARENA_NO_LIMIT);
    buf_init(&why, 4096);
    struct str line = STR("{\"value\":{\"a\":[1,2]},\"key\":7,\"headers\":{\"h\":\"x\"},"
                          "\"timestamp\":\"2026-01-01\"}");
    assert_int_equal(record_parse_json(line, &arena, &record, &why), ERR_OK);
    assert_int_equal(record.value.len, 11);
    assert_memory_equal(record.value.data, "{\"a\":[1,2]}", 11);
    assert_memory_equal(record.key.data, "7", 1);
    assert_int_equal(record.header_count, 1);
    assert_true(record.timestamp_ms == 1767225600000);
    assert_int_equal(record.partition, -1);
    const char *const wrong[] = {"",
                                 "{",
                                 "[]",
                                 "7",
                                 "{\"vaule\":1}",
                                 "{\"Value\":1}",
                                 "{\"partition\":-1}",
                                 "{\"partition\":\"x\"}",
                                 "{\"partition\":4294967296}",
                                 "{\"timestamp\":\"soon\"}",
                                 "{\"timestamp\":-5}",
                                 "{\"headers\":7}",
                                 "{\"headers\":[{\"key\":1,\"value\":\"x\"}]}",
                                 "{\"headers\":[{\"key\":\"x\"}]}",
                                 "{\"value_base64\":\"?\"}",
                                 "{\"value_base64\":7}",
                                 "{\"value\":\"\xff\"}",
                                 "{\"value\":1} x"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        buf_reset(&why);
        if (record_parse_json(str_of(wrong[i]), &arena, &record, &why) != ERR_MALFORMED)
            fail_msg("'%s' is taken for a record", wrong[i]);
        assert_true(why.len > 0);
    }
    arena_deinit(&arena);
    buf_deinit(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_json_string_round_trip),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_record_text),
        cmocka_unit_test(test_record_json_round_trip),
        cmocka_unit_test(test_record_json_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
