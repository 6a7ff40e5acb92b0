/* Goal: byte orders, varints, uuids, arena, buffer and list hold at their edges.
 * Method: known vectors, every power of two both ways, and inputs cut at each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/list.h"

static void test_uvarint_round_trip(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (uint64_t near = 0; near < 3; near++) {
            uint64_t want = (UINT64_C(1) << shift) - 1 + near, got = 0;
            uint8_t bytes[VARINT64_BYTES_MAX];
            size_t len = uvarint64_store(bytes, want);
            assert_int_equal(len, uvarint64_size(want));
            assert_int_equal(uvarint64_load(bytes, len, &got), len);
            assert_true(got == want);
            for (size_t cut = 0; cut < len; cut++)
                assert_int_equal(uvarint64_load(bytes, cut, &got), 0);
        }
    }
}

static void test_uvarint_too_long(void **state)
{
    (void)state;
    uint32_t v32;
    uint64_t v64;
    const uint8_t long32[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    const uint8_t long64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    assert_int_equal(uvarint32_load(long32, sizeof(long32), &v32), 0);
    assert_int_equal(uvarint64_load(long64, sizeof(long64), &v64), 0);
}

static void test_ends(void **state)
{
    (void)state;
    assert_true(str_ends_with(STR("a.log"), STR(".log")));
    assert_true(str_ends_with(STR(".log"), STR(".log")));
    assert_false(str_ends_with(STR("log"), STR(".log")));
    assert_false(str_ends_with(STR("a.log.swap"), STR(".log")));
    assert_true(str_ends_with(STR("a"), STR("")));
    assert_false(str_ends_with(STR_NULL, STR("a")));
}

static void test_uuid_order(void **state)
{
    (void)state;
    struct uuid a = {{0}}, b = {{0}};
    assert_int_equal(uuid_compare(a, b), 0);
    for (size_t i = 0; i < sizeof(a.bytes); i++) {
        b = a;
        b.bytes[i] = 0x80;
        assert_true(uuid_compare(a, b) < 0 && uuid_compare(b, a) > 0);
        a.bytes[i] = 0x81; /* the bytes before decide, as memcmp has it */
        assert_true(uuid_compare(a, b) > 0);
    }
}

static void test_zigzag(void **state)
{
    (void)state;
    assert_int_equal(zigzag32_encode(-1), 1);
    assert_int_equal(zigzag32_encode(1), 2);
    assert_int_equal(zigzag32_decode(zigzag32_encode(INT32_MIN)), INT32_MIN);
    assert_true(zigzag64_decode(zigzag64_encode(INT64_MIN)) == INT64_MIN);
}

static void test_uuid_text(void **state)
{
    (void)state;
    struct uuid id, back;
    for (size_t i = 0; i < 16; i++)
        id.bytes[i] = (uint8_t)(i * 17 + 3);
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    assert_true(uuid_parse(str_of(text), &back));
    assert_true(uuid_eq(id, back));
    assert_false(uuid_parse(STR("short"), &back));
    assert_false(uuid_parse(STR("AAAAAAAAAAAAAAAAAAAA=A"), &back));
    assert_false(uuid_parse(STR("AAAAAAAAAAAAAAAAAAAAAB"), &back));
}

static void test_arena_limit(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    assert_non_null(arena_alloc(&arena, 0));
    assert_non_null(arena_alloc(&arena, 5000));
    assert_null(arena_alloc(&arena, 6000));
    assert_null(arena_array(&arena, SIZE_MAX / 2, 4));
    arena_reset(&arena);
    assert_true(str_eq(arena_printf(&arena, "%d-%s", 7, "x"), STR("7-x")));
    assert_null(arena_str(&arena, STR_NULL).data);
    arena_deinit(&arena);
}

static void test_buf_limit_is_sticky(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 6);
    buf_put_be32(&buf, 0x01020304);
    buf_put_be32(&buf, 5);
    assert_int_equal(buf.err, ERR_LIMIT);
    buf_put_u8(&buf, 1);
    assert_int_equal(buf.len, 4);
    buf_reset(&buf);
    buf_put_varint(&buf, -1);
    assert_int_equal(buf.data[0], 1);
    buf_deinit(&buf);
}

static void test_buf_trim(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5000);
    buf_put(&buf, "abc", 3);
    size_t cap = buf.cap;
    buf_trim(&buf, cap);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, cap);
    buf_trim(&buf, cap - 1);
    assert_int_equal(buf.cap, 0);
    assert_false(buf_reserve(&buf, 5001));
    buf_trim(&buf, 0);
    assert_int_equal(buf.err, ERR_OK);
    buf_put(&buf, "abc", 3);
    assert_int_equal(buf.len, 3);
    buf_deinit(&buf);
}

static void test_list_splice(void **state)
{
    (void)state;
    struct list a, b, nodes[4];
    list_init(&a);
    list_init(&b);
    for (size_t i = 0; i < 4; i++)
        list_push_back(i < 2 ? &a : &b, &nodes[i]);
    list_splice(&a, &b);
    assert_true(list_is_empty(&b));
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(list_pop_front(&a), &nodes[i]);
    assert_null(list_pop_front(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uvarint_round_trip),
        cmocka_unit_test(test_uvarint_too_long),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_uuid_order),
        cmocka_unit_test(test_zigzag),
        cmocka_unit_test(test_uuid_text),
        cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_buf_limit_is_sticky),
        cmocka_unit_test(test_buf_trim),
        cmocka_unit_test(test_list_splice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
