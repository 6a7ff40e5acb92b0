/* Goal: produced records are accepted, refused and named as Apache Kafka does it.
 * Method: one batch for each rule, broken in that rule alone and sealed again with a right
 * checksum, with the error code and the record indexes that Kafka 4.3's own validator gives for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/batch_builder.h"
#include "wire/batch_check.h"

#define NOW_MS INT64_C(1700000000000)

struct fixture {
    struct compressors c;
    struct buf bytes;
    struct buf scratch;
    struct batch_rules rules;
    struct batch_verdict verdict;
};

static int fixture_setup(void **state)
{
    static struct fixture f;
    f.rules = (struct batch_rules){
        .produce_version = 9,
        .now_ms = NOW_MS,
        .batch_bytes_max = 1048588,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = 3600000,
        .keeps_compression = true,
    };
    compressors_init(&f.c);
    buf_init(&f.bytes, BUF_NO_LIMIT);
    buf_init(&f.scratch, 1 << 20);
    *state = &f;
    return 0;
}

static int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    compressors_deinit(&f->c);
    buf_deinit(&f->bytes);
    buf_deinit(&f->scratch);
    return 0;
}

/* Three records, one millisecond apart, the last at NOW_MS; all have keys. */
static void build(struct fixture *f, enum compression compression)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    int32_t min, max;
    options.compression = compression;
    compression_levels(compression, &min, &max, &options.level);
    struct batch_builder builder;
    buf_reset(&f->bytes);
    batch_builder_init(&builder, &f->bytes, &options);
    for (int i = 0; i < 3; i++) {
        struct record_fields fields = {
            .timestamp = NOW_MS - 2 + i, .key = slice_of("k", 1), .value = slice_of("value", 5)};
        assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
    }
    assert_int_equal(batch_builder_finish(&builder, &f->c), ERR_OK);
    batch_builder_deinit(&builder);
}

/* The first record's bytes: length, attributes, timestamp and offset deltas, key length... */
#define AT_RECORD     BATCH_HEADER_BYTES
#define AT_KEY_LENGTH (AT_RECORD + 4)
#define RECORD_BYTES  13

static void seal(struct fixture *f)
{
    be32_store(f->bytes.data + BATCH_AT_CRC, batch_crc_compute(buf_slice(&f->bytes)));
}

static enum err check(struct fixture *f)
{
    return batch_check(&f->c, &f->scratch, buf_slice(&f->bytes), &f->rules, &f->verdict);
}

static void test_accepted(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < COMPRESSION_COUNT; i++) {
        build(f, (enum compression)i);
        assert_int_equal(check(f), ERR_OK);
        assert_int_equal(f->verdict.batch.count, 3);
        assert_true(f->verdict.max_timestamp == NOW_MS);
        assert_int_equal(f->verdict.compression_out, i);
        assert_false(f->verdict.needs_rewrite);
        assert_false(f->verdict.needs_timestamp);
    }
}

/* What is behind the batch and not whole is passed over. */
static void test_trailing_bytes(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_NONE);
    size_t size = f->bytes.len;
    buf_put(&f->bytes, "\0\0\0\0\0\0\0\0\0\0", 10);
    assert_int_equal(check(f), ERR_OK);
    assert_int_equal(f->verdict.batch.size, size);
    buf_put(&f->bytes, "\0\0\0\0\0\0\0\0\0\0", 10);
    assert_int_equal(check(f), ERR_CORRUPT_MESSAGE); /* a length of 0 */
    build(f, COMPRESSION_NONE);
    assert_true(buf_reserve(&f->bytes, size));
    buf_put(&f->bytes, f->bytes.data, size);
    assert_int_equal(check(f), ERR_INVALID_RECORD); /* two batches */
    for (size_t cut = 0; cut < size; cut++) {
        struct slice part = slice_of(f->bytes.data, cut);
        assert_int_equal(batch_check(&f->c, &f->scratch, part, &f->rules, &f->verdict),
                         ERR_INVALID_RECORD);
    }
}

/* A length in the header that no batch can have. Who looked at the partition before it found out
 * tells where its log begins, so `is_misframed` matters, too. */
static void test_impossible_lengths(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint32_t length;
        enum err err;
        bool is_misframed;
    } cases[] = {
        {0, ERR_CORRUPT_MESSAGE, true},
        {13, ERR_CORRUPT_MESSAGE, true},
        {14, ERR_CORRUPT_MESSAGE, false},
        {48, ERR_CORRUPT_MESSAGE, false},
        {0x80000000, ERR_CORRUPT_MESSAGE, true},
        {0x7ffffff3, ERR_INVALID_RECORD, true},
        {0x7ffffff4, ERR_UNKNOWN_SERVER_ERROR, true},
        {0x7fffffff, ERR_UNKNOWN_SERVER_ERROR, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        build(f, COMPRESSION_NONE);
        be32_store(f->bytes.data + BATCH_AT_LENGTH, cases[i].length);
        assert_int_equal(check(f), cases[i].err);
        assert_int_equal(f->verdict.is_misframed, cases[i].is_misframed);
        assert_true(f->verdict.text[0] != '\0');
    }
}

static void test_header_rules(void **state)
{
    struct fixture *f = *state;
    const struct {
        size_t at;
        uint8_t value;
        enum err err;
    } changes[] = {
        {BATCH_AT_MAGIC, 0, ERR_INVALID_RECORD},
        {BATCH_AT_MAGIC, 1, ERR_INVALID_RECORD},
        {BATCH_AT_MAGIC, 3, ERR_CORRUPT_MESSAGE},
        {BATCH_AT_LENGTH, 0xff, ERR_CORRUPT_MESSAGE},
        {BATCH_AT_LENGTH, 1, ERR_INVALID_RECORD},
        {BATCH_AT_BASE_OFFSET + 7, 1, ERR_INVALID_RECORD},
        {BATCH_AT_LAST_OFFSET_DELTA, 0xff, ERR_INVALID_RECORD},
        {BATCH_AT_LAST_OFFSET_DELTA + 3, 3, ERR_INVALID_RECORD},
        {BATCH_AT_COUNT, 0xff, ERR_INVALID_RECORD},
        {BATCH_AT_COUNT + 3, 0, ERR_INVALID_RECORD},
        {BATCH_AT_COUNT + 3, 2, ERR_INVALID_RECORD},
        {BATCH_AT_ATTRIBUTES + 1, BATCH_ATTR_CONTROL, ERR_INVALID_RECORD},
        {BATCH_AT_ATTRIBUTES + 1, 5, ERR_UNKNOWN_SERVER_ERROR},
        {BATCH_AT_ATTRIBUTES + 1, COMPRESSION_LZ4, ERR_UNKNOWN_SERVER_ERROR},
        {BATCH_AT_PRODUCER_ID, 0, ERR_INVALID_RECORD},
        {BATCH_AT_PRODUCER_ID + 7, 0xfe, ERR_OK},
        {BATCH_AT_ATTRIBUTES + 1, BATCH_ATTR_TRANSACTIONAL, ERR_OK},
        {BATCH_AT_LEADER_EPOCH, 7, ERR_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        build(f, COMPRESSION_NONE);
        f->bytes.data[changes[i].at] = changes[i].value;
        seal(f);
        assert_int_equal(check(f), changes[i].err);
        assert_int_equal(f->verdict.text[0] == '\0', changes[i].err == ERR_OK);
        assert_int_equal(f->verdict.record_error_count, 0);
    }
    build(f, COMPRESSION_NONE);
    f->bytes.data[BATCH_AT_CRC] ^= 1;
    assert_int_equal(check(f), ERR_CORRUPT_MESSAGE);
}

static void test_size_comes_before_checksum(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_NONE);
    f->rules.batch_bytes_max = (int32_t)f->bytes.len;
    assert_int_equal(check(f), ERR_OK);
    f->rules.batch_bytes_max--;
    f->bytes.data[BATCH_AT_CRC] ^= 1;
    assert_int_equal(check(f), ERR_MESSAGE_TOO_LARGE);
}

static void test_zstd_needs_version_7(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_ZSTD);
    f->rules.produce_version = 6;
    assert_int_equal(check(f), ERR_UNSUPPORTED_COMPRESSION_TYPE);
    f->rules.produce_version = 7;
    assert_int_equal(check(f), ERR_OK);
}

static void test_malformed_records(void **state)
{
    struct fixture *f = *state;
    for (size_t at = AT_RECORD; at < AT_RECORD + RECORD_BYTES; at += RECORD_BYTES - 1) {
        build(f, COMPRESSION_NONE);
        f->bytes.data[at] ^= 2; /* the record's length; its number of headers */
        seal(f);
        assert_int_equal(check(f), ERR_INVALID_RECORD);
    }
    build(f, COMPRESSION_NONE);
    f->bytes.len -= RECORD_BYTES; /* the last record */
    be32_store(f->bytes.data + BATCH_AT_LENGTH, (uint32_t)(f->bytes.len - BATCH_LOG_OVERHEAD));
    seal(f);
    assert_int_equal(check(f), ERR_INVALID_RECORD);
}

static void test_bomb(void **state)
{
    struct fixture *f = *state;
    static uint8_t zeros[(1 << 20) + 1];
    for (unsigned i = COMPRESSION_GZIP; i < COMPRESSION_COUNT; i++) {
        struct batch_options options = BATCH_OPTIONS_DEFAULT;
        int32_t min, max;
        options.compression = (enum compression)i;
        compression_levels(options.compression, &min, &max, &options.level);
        struct batch_builder builder;
        buf_reset(&f->bytes);
        batch_builder_init(&builder, &f->bytes, &options);
        struct record_fields fields = {.timestamp = NOW_MS,
                                       .value = slice_of(zeros, sizeof(zeros))};
        assert_int_equal(batch_builder_append(&builder, &fields), ERR_OK);
        assert_int_equal(batch_builder_finish(&builder, &f->c), ERR_OK);
        batch_builder_deinit(&builder);
        assert_int_equal(check(f), ERR_MESSAGE_TOO_LARGE);
        assert_true(f->scratch.cap <= f->scratch.limit);
    }
}

static void test_keys_of_compacted_topics(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_NONE);
    /* The second record, without its key and as much longer in its value. */
    uint8_t *key = f->bytes.data + AT_KEY_LENGTH + RECORD_BYTES;
    key[0] = 1;
    key[1] = 12;
    key[2] = 'x';
    seal(f);
    assert_int_equal(check(f), ERR_OK);
    f->rules.is_compacted = true;
    assert_int_equal(check(f), ERR_INVALID_RECORD);
    assert_int_equal(f->verdict.record_error_count, 1);
    assert_int_equal(f->verdict.record_errors[0].batch_index, 1);
    assert_int_equal(f->verdict.record_errors[0].fault, RECORD_WITHOUT_KEY);
    /* A timestamp out of the window decides the code, but the key is what is said of record 1. */
    f->rules.now_ms = NOW_MS - 3600000 - 1;
    assert_int_equal(check(f), ERR_INVALID_TIMESTAMP);
    assert_int_equal(f->verdict.record_error_count, 2);
    assert_int_equal(f->verdict.record_errors[0].batch_index, 1);
    assert_int_equal(f->verdict.record_errors[1].batch_index, 2);
    assert_int_equal(f->verdict.record_errors[1].fault, RECORD_TIME_OUT_OF_WINDOW);
    char text[BATCH_TEXT_MAX];
    batch_record_error_text(&f->rules, STR("t"), 0, &f->verdict.record_errors[1], text);
    assert_non_null(strstr(text, "1700000000000"));
}

static void test_time_window(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_GZIP);
    f->rules.timestamp_before_max_ms = 1;
    assert_int_equal(check(f), ERR_INVALID_TIMESTAMP); /* the first is 2 ms old */
    assert_int_equal(f->verdict.record_error_count, 1);
    assert_int_equal(f->verdict.record_errors[0].batch_index, 0);
    f->rules.has_log_append_time = true;
    assert_int_equal(check(f), ERR_OK);
    assert_true(f->verdict.needs_timestamp);
    assert_true(f->verdict.max_timestamp == NOW_MS);
}

static void test_extreme_times(void **state)
{
    struct fixture *f = *state;
    const struct {
        int64_t base;
        int64_t before_max;
        enum err err;
    } times[] = {
        {INT64_MIN, INT64_MAX, ERR_OK},
        {INT64_MIN, INT64_MAX - 1, ERR_INVALID_TIMESTAMP},
        {INT64_MAX - 2, INT64_MAX, ERR_INVALID_TIMESTAMP},
        {-3, 1000, ERR_INVALID_TIMESTAMP},
        {-3, INT64_MAX, ERR_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        build(f, COMPRESSION_NONE);
        be64_store(f->bytes.data + BATCH_AT_BASE_TIMESTAMP, (uint64_t)times[i].base);
        seal(f);
        f->rules.timestamp_before_max_ms = times[i].before_max;
        assert_int_equal(check(f), times[i].err);
    }
}

/* A client may set the bit; Kafka then judges the batch's greatest timestamp, and clears the bit.
 */
static void test_client_claims_log_append_time(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_NONE);
    batch_stamp_timestamp(f->bytes.data, NOW_MS, true, NULL);
    assert_int_equal(check(f), ERR_OK);
    assert_true(f->verdict.needs_timestamp);
    batch_stamp_timestamp(f->bytes.data, NOW_MS + 3600001, true, NULL);
    assert_int_equal(check(f), ERR_INVALID_TIMESTAMP);
    assert_int_equal(f->verdict.record_error_count, 3);
    f->rules.has_log_append_time = true;
    assert_int_equal(check(f), ERR_INVALID_TIMESTAMP);
    assert_int_equal(f->verdict.record_errors[2].fault, RECORD_TIME_OF_BROKER);
}

static void test_max_timestamp_is_corrected(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_LZ4);
    batch_stamp_timestamp(f->bytes.data, 5, false, NULL);
    assert_int_equal(check(f), ERR_OK);
    assert_true(f->verdict.needs_timestamp);
    assert_true(f->verdict.max_timestamp == NOW_MS);
}

static void test_rewrites(void **state)
{
    struct fixture *f = *state;
    build(f, COMPRESSION_NONE);
    f->bytes.data[AT_RECORD + 3] = 4; /* the first record's offset delta */
    seal(f);
    assert_int_equal(check(f), ERR_OK);
    assert_true(f->verdict.needs_rewrite);
    build(f, COMPRESSION_ZSTD);
    f->rules.keeps_compression = false;
    f->rules.compression = COMPRESSION_SNAPPY;
    assert_int_equal(check(f), ERR_OK);
    assert_true(f->verdict.needs_rewrite);
    assert_int_equal(f->verdict.compression_out, COMPRESSION_SNAPPY);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    assert_int_equal(
        batch_rewrite(&f->c, &f->verdict.batch, &f->scratch, f->verdict.compression_out, 0, &out),
        ERR_OK);
    buf_reset(&f->bytes);
    buf_put(&f->bytes, out.data, out.len);
    buf_deinit(&out);
    assert_int_equal(check(f), ERR_OK);
    assert_false(f->verdict.needs_rewrite);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_accepted),
        CASE(test_trailing_bytes),
        CASE(test_impossible_lengths),
        CASE(test_header_rules),
        CASE(test_size_comes_before_checksum),
        CASE(test_zstd_needs_version_7),
        CASE(test_malformed_records),
        CASE(test_bomb),
        CASE(test_keys_of_compacted_topics),
        CASE(test_time_window),
        CASE(test_extreme_times),
        CASE(test_client_claims_log_append_time),
        CASE(test_max_timestamp_is_corrected),
        CASE(test_rewrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
