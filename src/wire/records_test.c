/* Goal: records of the internal topics and of the metadata log come back as they went; unknown
 * types, versions and damaged bytes are errors that say what.
 * Method: every record of the table, invented; known bytes; by hand, each
 * way in which a head can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "wire/messages.h"
#include "wire/records.h"

struct fixture {
    struct arena arena;
    struct buf bytes;
    struct rng rng;
    struct codec_error error;
    struct record_part part;
};

static int setup(void **state)
{
    static struct fixture f;
    arena_init(&f.arena, (size_t)1 << 20);
    buf_init(&f.bytes, (size_t)1 << 20);
    rng_init(&f.rng, 1);
    f.error.text[0] = '\0';
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buf_deinit(&f->bytes);
    arena_deinit(&f->arena);
    return 0;
}

static void *invent(struct fixture *f, const struct msg_schema *schema, int16_t version)
{
    void *msg = arena_zalloc(&f->arena, schema->root->size);
    assert_non_null(msg);
    assert_int_equal(codec_random(schema, version, &f->rng, &f->arena, msg), ERR_OK);
    return msg;
}

static void check_part(struct fixture *f, enum err err, const struct record_info *info,
                       const struct msg_schema *schema, int16_t version)
{
    if (err != ERR_OK)
        fail_msg("%s: %s", info->name, f->error.text);
    assert_ptr_equal(f->part.info, info);
    assert_ptr_equal(f->part.schema, schema);
    assert_int_equal(f->part.version, version);
}

static void round_trip(struct fixture *f, const struct record_info *info, int16_t version)
{
    void *value = invent(f, info->value, version);
    buf_reset(&f->bytes);
    if (info->family == RECORD_METADATA) {
        assert_int_equal(record_metadata_encode(info, version, value, &f->bytes, NULL), ERR_OK);
        check_part(f, record_metadata_decode(buf_slice(&f->bytes), &f->arena, &f->part, &f->error),
                   info, info->value, version);
        return;
    }
    assert_int_equal(record_value_encode(info, version, value, &f->bytes, NULL), ERR_OK);
    check_part(f, record_value_decode(info, buf_slice(&f->bytes), &f->arena, &f->part, &f->error),
               info, info->value, version);
    buf_reset(&f->bytes);
    assert_int_equal(record_key_encode(info, invent(f, info->key, 0), &f->bytes, NULL), ERR_OK);
    check_part(
        f, record_key_decode(info->family, buf_slice(&f->bytes), &f->arena, &f->part, &f->error),
        info, info->key, 0);
}

static void test_every_record(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < record_table_len; i++) {
        const struct record_info *info = &record_table[i];
        assert_ptr_equal(record_find(info->family, info->type), info);
        for (int16_t v = info->value->version_min; v <= info->value->version_max; v++) {
            round_trip(f, info, v);
            arena_reset(&f->arena);
        }
    }
}

static enum err decode_metadata(struct fixture *f, const void *bytes, size_t len)
{
    return record_metadata_decode(slice_of(bytes, len), &f->arena, &f->part, &f->error);
}

static void test_metadata_heads(void **state)
{
    struct fixture *f = *state;
    /* FeatureLevelRecord: metadata.version is 30. */
    static const char good[] = "\x01\x0c\x00\x11metadata.version\x00\x1e\x00";
    assert_int_equal(decode_metadata(f, good, sizeof(good) - 1), ERR_OK);
    const struct feature_level_record *record = f->part.msg;
    assert_true(str_eq_cstr(record->name, "metadata.version"));
    assert_int_equal(record->feature_level, 30);
    for (size_t len = 0; len < sizeof(good) - 1; len++)
        assert_int_equal(decode_metadata(f, good, len), ERR_TRUNCATED);
    assert_int_equal(decode_metadata(f, good, sizeof(good)), ERR_MALFORMED);
    assert_string_equal(f->error.text, "FeatureLevelRecord v0: 1 bytes follow the message");

    assert_int_equal(decode_metadata(f, "\x02\x0c\x00", 3), ERR_UNSUPPORTED);
    assert_int_equal(decode_metadata(f, "\x01\x7f\x00", 3), ERR_UNSUPPORTED);
    assert_null(f->part.info);
    assert_int_equal(decode_metadata(f, "\x01\xff\xff\xff\x7f\x00", 6), ERR_UNSUPPORTED);
    assert_int_equal(decode_metadata(f, "\x01\x0c\x09", 3), ERR_UNSUPPORTED_VERSION);
    assert_int_equal(decode_metadata(f, "\x01\x0c\xff\xff\xff\x7f", 6), ERR_MALFORMED);
}

static void test_coordinator_heads(void **state)
{
    struct fixture *f = *state;
    /* An offset commit: group "g", topic "t", partition 3. */
    static const char key[] = "\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x03";
    assert_int_equal(record_key_decode(RECORD_GROUP, slice_of(key, sizeof(key) - 1), &f->arena,
                                       &f->part, &f->error),
                     ERR_OK);
    assert_int_equal(((const struct offset_commit_key *)f->part.msg)->partition, 3);
    const struct record_info *info = f->part.info;
    assert_string_equal(info->name, "OffsetCommit");
    for (size_t len = 0; len < sizeof(key) - 1; len++)
        assert_int_equal(
            record_key_decode(RECORD_GROUP, slice_of(key, len), &f->arena, &f->part, &f->error),
            ERR_TRUNCATED);
    assert_int_equal(
        record_key_decode(RECORD_GROUP, slice_of("\x7f\x00", 2), &f->arena, &f->part, &f->error),
        ERR_UNSUPPORTED);
    assert_string_equal(f->error.text, "records of type 32512 are not known");
    assert_int_equal(record_value_decode(info, slice_of("\x00", 1), &f->arena, &f->part, &f->error),
                     ERR_TRUNCATED);
    assert_int_equal(
        record_value_decode(info, slice_of("\x00\x63", 2), &f->arena, &f->part, &f->error),
        ERR_UNSUPPORTED_VERSION);
}

/* A field that its version lacks: nothing is left in the buffer. */
static void test_encode_fails_cleanly(void **state)
{
    struct fixture *f = *state;
    const struct record_info *info = record_find(RECORD_TRANSACTION, 0);
    struct transaction_log_value value;
    codec_init(&transaction_log_value_schema, &value);
    value.client_transaction_version = 2;
    buf_put(&f->bytes, "x", 1);
    assert_int_equal(record_value_encode(info, 0, &value, &f->bytes, &f->error),
                     ERR_UNSUPPORTED_VERSION);
    assert_int_equal(f->bytes.len, 1);
    assert_int_equal(record_value_encode(info, 1, &value, &f->bytes, &f->error), ERR_OK);
    assert_null(record_find(RECORD_TRANSACTION, 99));
    assert_null(record_find(RECORD_METADATA, -1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metadata_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coordinator_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_encode_fails_cleanly, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
