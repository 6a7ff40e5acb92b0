/* Goal: batches that Apache Kafka's Java code wrote are read exactly, ours are byte for byte the
 * same, and no bytes at all can make a reader leave its bounds. Method: vectors from Java in all
 * compressions, round trips, every cut, and many flips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "wire/batch.h"
#include "wire/batch_builder.h"
#include "wire/testing.h"

/* Three records at 1000, 999, 1005 ms: a key, a value and two headers; no key; a tombstone. */
static const struct {
    enum compression compression;
    const char *hex;
} java_batches[] = {
    {COMPRESSION_NONE,
     "00000000000000000000006a0000000902a40eeb1000100000000200000000000003e800000000000003ed"
     "000000000000004d000300000005000000034c000000046b312e68656c6c6f2068656c6c6f2068656c6c6f"
     "2068656c6c6f0402680276026e0110000102010476320010000a04046b330100"},
    {COMPRESSION_GZIP,
     "00000000000000000000006e0000000902efbc27e900110000000200000000000003e800000000000003ed"
     "000000000000004d000300000005000000031f8b08000000000000fff361606060c936d4cb48cdc9c957c0"
     "2059983298ca98f218051818991859ca8c180418b85858b28d191900c165f14439000000"},
    {COMPRESSION_SNAPPY,
     "000000000000000000000073000000090269105cb800120000000200000000000003e800000000000003ed"
     "000000000000004d0003000000050000000382534e415050590000000001000000010000002e39344c0000"
     "00046b312e68656c6c6f20420600640402680276026e0110000102010476320010000a04046b330100"},
    {COMPRESSION_LZ4,
     "00000000000000000000006d0000000902a34f6eb600130000000200000000000003e800000000000003ed"
     "000000000000004d0003000000050000000304224d186040822d000000ed4c000000046b312e68656c6c6f"
     "200600f00b0402680276026e0110000102010476320010000a04046b33010000000000"},
    {COMPRESSION_ZSTD,
     "00000000000000000000006c0000000902176f3d0e00140000000200000000000003e800000000000003ed"
     "000000000000004d0003000000050000000328b52ffd00587c010084024c000000046b312e68656c6c6f20"
     "0402680276026e0110000102010476320010000a04046b3301000100998b12010000"},
};

/* The marker that commits a transaction. */
static const char java_marker[] =
    "0000000000000064000000420000000402c2e7e0b800300000000000000000000013880000000000001388"
    "000000000000004d0003ffffffff000000012000000008000000010c00000000000c00";

#define SCRATCH_MAX ((size_t)1 << 20)

struct fixture {
    struct compressors c;
    struct buf bytes;
    struct buf scratch;
};

static int fixture_setup(void **state)
{
    static struct fixture f;
    compressors_init(&f.c);
    buf_init(&f.bytes, SCRATCH_MAX);
    buf_init(&f.scratch, SCRATCH_MAX);
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

static void assert_slice_equal(struct slice got, const char *want)
{
    assert_int_equal(got.data == NULL, want == NULL);
    if (want) {
        assert_int_equal(got.len, strlen(want));
        assert_memory_equal(got.data, want, got.len);
    }
}

static void assert_java_records(struct fixture *f, const struct batch *batch)
{
    static const int64_t timestamps[] = {1000, 999, 1005};
    static const char *const keys[] = {"k1", NULL, "k3"};
    static const char *const values[] = {"hello hello hello hello", "v2", NULL};
    struct records records;
    struct record record;
    assert_int_equal(records_init(&records, batch, &f->c, &f->scratch), ERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_true(records_next(&records, &record));
        assert_int_equal(record.offset, batch->base_offset + i);
        assert_int_equal(record.timestamp, timestamps[i]);
        assert_slice_equal(record.key, keys[i]);
        assert_slice_equal(record.value, values[i]);
        struct record_header header;
        struct slice headers = record.headers;
        assert_int_equal(record.header_count, i == 0 ? 2 : 0);
        assert_int_equal(record_header_next(&headers, &header), i == 0);
        if (i > 0)
            continue;
        assert_true(str_eq(header.key, STR("h")));
        assert_slice_equal(header.value, "v");
        assert_true(record_header_next(&headers, &header));
        assert_true(str_eq(header.key, STR("n")));
        assert_slice_equal(header.value, NULL);
        assert_false(record_header_next(&headers, &header));
    }
    assert_false(records_next(&records, &record));
    assert_int_equal(records.err, ERR_OK);
}

static void test_java_batches(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(java_batches); i++) {
        buf_reset(&f->bytes);
        hex_load(&f->bytes, java_batches[i].hex);
        struct batch batch;
        enum compression compression;
        assert_int_equal(batch_load(buf_slice(&f->bytes), &batch), ERR_OK);
        assert_int_equal(batch.size, f->bytes.len);
        assert_true(batch_crc_is_valid(&batch));
        assert_true(batch_compression(&batch, &compression));
        assert_int_equal(compression, java_batches[i].compression);
        assert_int_equal(batch.base_offset, 0);
        assert_int_equal(batch.last_offset, 2);
        assert_int_equal(batch.leader_epoch, 9);
        assert_int_equal(batch.base_timestamp, 1000);
        assert_int_equal(batch.max_timestamp, 1005);
        assert_int_equal(batch.producer_id, 77);
        assert_int_equal(batch.producer_epoch, 3);
        assert_int_equal(batch.base_sequence, 5);
        assert_int_equal(batch_last_sequence(&batch), 7);
        assert_int_equal(batch.count, 3);
        assert_true(batch_is_transactional(&batch));
        assert_false(batch_is_control(&batch));
        assert_java_records(f, &batch);
    }
}

static const struct batch_options java_options = {
    .leader_epoch = 9,
    .log_append_time = BATCH_TIMESTAMP_NONE,
    .producer_id = 77,
    .producer_epoch = 3,
    .base_sequence = 5,
    .is_transactional = true,
};

static struct slice text(const char *s)
{
    return slice_of(s, strlen(s));
}

static void build_like_java(struct fixture *f, enum compression compression, struct buf *out)
{
    struct batch_options options = java_options;
    options.compression = compression;
    int32_t min, max;
    compression_levels(compression, &min, &max, &options.level);
    const struct record_header headers[] = {{STR("h"), text("v")}, {STR("n"), SLICE_NULL}};
    const struct record_fields fields[] = {
        {1000, text("k1"), text("hello hello hello hello"), headers, 2},
        {999, SLICE_NULL, text("v2"), NULL, 0},
        {1005, text("k3"), SLICE_NULL, NULL, 0},
    };
    struct batch_builder builder;
    batch_builder_init(&builder, out, &options);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        assert_int_equal(batch_builder_append(&builder, &fields[i]), ERR_OK);
    size_t size = batch_builder_size(&builder);
    assert_int_equal(batch_builder_finish(&builder, &f->c), ERR_OK);
    if (compression == COMPRESSION_NONE)
        assert_int_equal(out->len - builder.start, size);
    batch_builder_deinit(&builder);
}

static void test_built_as_java_builds(void **state)
{
    struct fixture *f = *state;
    struct buf out;
    buf_init(&out, SCRATCH_MAX);
    for (size_t i = 0; i < ARRAY_LEN(java_batches); i++) {
        buf_reset(&out);
        buf_put(&out, "x", 1); /* a batch begins where `out` ends */
        build_like_java(f, java_batches[i].compression, &out);
        struct batch batch;
        assert_int_equal(batch_load(slice_of(out.data + 1, out.len - 1), &batch), ERR_OK);
        assert_true(batch_crc_is_valid(&batch));
        assert_int_equal(batch.size, out.len - 1);
        assert_java_records(f, &batch);
        if (java_batches[i].compression != COMPRESSION_NONE)
            continue; /* another version of the library may compress otherwise */
        buf_reset(&f->bytes);
        hex_load(&f->bytes, java_batches[i].hex);
        assert_int_equal(batch.size, f->bytes.len);
        assert_memory_equal(batch.data, f->bytes.data, batch.size);
    }
    buf_deinit(&out);
}

static void test_marker_as_java_builds(void **state)
{
    struct fixture *f = *state;
    buf_reset(&f->bytes);
    buf_reset(&f->scratch);
    hex_load(&f->bytes, java_marker);
    struct batch_options options = java_options;
    options.base_offset = 100;
    options.leader_epoch = 4;
    assert_int_equal(batch_put_end_txn(&f->scratch, &options, true, 12, 5000), ERR_OK);
    assert_int_equal(f->scratch.len, f->bytes.len);
    assert_memory_equal(f->scratch.data, f->bytes.data, f->bytes.len);
    struct batch batch;
    struct records records;
    struct record record;
    int16_t type;
    assert_int_equal(batch_load(buf_slice(&f->bytes), &batch), ERR_OK);
    assert_true(batch_is_control(&batch));
    assert_int_equal(batch_last_sequence(&batch), BATCH_SEQUENCE_NONE);
    assert_int_equal(records_init(&records, &batch, NULL, NULL), ERR_OK);
    assert_true(records_next(&records, &record));
    assert_int_equal(control_key_load(record.key, &type), ERR_OK);
    assert_int_equal(type, CONTROL_COMMIT);
    assert_int_equal(control_key_load(slice_of(record.key.data, 3), &type), ERR_INVALID_RECORD);
}

static void test_rewrite(void **state)
{
    struct fixture *f = *state;
    struct buf out;
    buf_init(&out, SCRATCH_MAX);
    for (size_t from = 0; from < ARRAY_LEN(java_batches); from++) {
        for (size_t to = 0; to < ARRAY_LEN(java_batches); to++) {
            buf_reset(&f->bytes);
            buf_reset(&out);
            hex_load(&f->bytes, java_batches[from].hex);
            struct batch batch, again;
            assert_int_equal(batch_load(buf_slice(&f->bytes), &batch), ERR_OK);
            int32_t min, max, level;
            compression_levels(java_batches[to].compression, &min, &max, &level);
            assert_int_equal(batch_rewrite(&f->c, &batch, &f->scratch, java_batches[to].compression,
                                           level, &out),
                             ERR_OK);
            assert_int_equal(batch_load(buf_slice(&out), &again), ERR_OK);
            assert_true(batch_crc_is_valid(&again));
            assert_java_records(f, &again);
            assert_int_equal(again.producer_id, batch.producer_id);
            assert_int_equal(again.base_sequence, batch.base_sequence);
            assert_true(batch_is_transactional(&again));
            if (to == COMPRESSION_NONE) {
                struct buf want;
                buf_init(&want, SCRATCH_MAX);
                hex_load(&want, java_batches[COMPRESSION_NONE].hex);
                assert_int_equal(out.len, want.len);
                assert_memory_equal(out.data, want.data, want.len);
                buf_deinit(&want);
            }
        }
    }
    /* What does not fit leaves nothing behind. */
    struct batch batch;
    assert_int_equal(batch_load(buf_slice(&f->bytes), &batch), ERR_OK);
    struct buf tight;
    buf_init(&tight, 80);
    buf_put(&tight, "x", 1);
    assert_int_equal(batch_rewrite(&f->c, &batch, &f->scratch, COMPRESSION_NONE, 0, &tight),
                     ERR_LIMIT);
    assert_int_equal(tight.len, 1);
    assert_int_equal(tight.err, ERR_OK);
    buf_deinit(&tight);
    buf_deinit(&out);
}

/* Of what a stamp changes. */
static void assert_views_equal(const struct batch *a, const struct batch *b)
{
    assert_true(a->base_offset == b->base_offset);
    assert_true(a->last_offset == b->last_offset);
    assert_true(a->max_timestamp == b->max_timestamp);
    assert_int_equal(a->leader_epoch, b->leader_epoch);
    assert_int_equal(a->attributes, b->attributes);
    assert_int_equal(a->crc, b->crc);
}

static void test_stamps(void **state)
{
    struct fixture *f = *state;
    buf_reset(&f->bytes);
    hex_load(&f->bytes, java_batches[COMPRESSION_NONE].hex);
    struct batch batch, again;
    assert_int_equal(batch_load(buf_slice(&f->bytes), &batch), ERR_OK);
    batch_stamp(f->bytes.data, INT64_C(1) << 40, 17, &batch);
    assert_int_equal(batch_load(buf_slice(&f->bytes), &again), ERR_OK);
    assert_views_equal(&batch, &again);
    assert_int_equal(again.leader_epoch, 17);
    assert_true(again.last_offset == (INT64_C(1) << 40) + 2);
    assert_true(batch_crc_is_valid(&again));
    batch_stamp_timestamp(f->bytes.data, 123456, true, &batch);
    assert_int_equal(batch_load(buf_slice(&f->bytes), &again), ERR_OK);
    assert_views_equal(&batch, &again);
    assert_true(batch_crc_is_valid(&again));
    assert_true(batch_has_log_append_time(&again));
    struct records records;
    struct record record;
    assert_int_equal(records_init(&records, &again, NULL, NULL), ERR_OK);
    assert_true(records_next(&records, &record));
    assert_int_equal(record.timestamp, 123456);
    batch_stamp_timestamp(f->bytes.data, 1005, false, &batch);
    batch_stamp(f->bytes.data, 0, 9, &batch);
    buf_reset(&f->scratch);
    hex_load(&f->scratch, java_batches[COMPRESSION_NONE].hex);
    assert_memory_equal(f->bytes.data, f->scratch.data, f->scratch.len);
}

static void test_sequences_wrap(void **state)
{
    (void)state;
    assert_int_equal(sequence_add(5, 2), 7);
    assert_int_equal(sequence_add(INT32_MAX, 1), 0);
    assert_int_equal(sequence_add(INT32_MAX - 1, 3), 1);
}

static void test_walk_and_cuts(void **state)
{
    struct fixture *f = *state;
    buf_reset(&f->bytes);
    for (size_t i = 0; i < ARRAY_LEN(java_batches); i++)
        hex_load(&f->bytes, java_batches[i].hex);
    for (size_t cut = 0; cut <= f->bytes.len; cut++) {
        struct batches batches;
        struct batch batch;
        size_t taken = 0;
        int64_t end_offset = -1, end_seen = -1;
        batches_init(&batches, slice_of(f->bytes.data, cut));
        while (batches_next(&batches, &batch)) {
            taken += batch.size;
            end_seen = batch.last_offset + 1;
        }
        assert_int_equal(batches.left.len, cut - taken);
        assert_int_equal(batches.err, cut == taken ? ERR_OK : ERR_TRUNCATED);
        assert_int_equal(batches_whole(slice_of(f->bytes.data, cut), &end_offset), taken);
        assert_int_equal(end_offset, end_seen);
    }
    /* A hostile offset wraps. */
    int64_t end_offset;
    be64_store(f->bytes.data, INT64_MAX);
    assert_true(batches_whole(buf_slice(&f->bytes), &end_offset) > 0);
}

static void test_bad_headers(void **state)
{
    struct fixture *f = *state;
    const struct {
        size_t at;
        uint8_t value;
        enum err err;
    } changes[] = {
        {BATCH_AT_MAGIC, 0, ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT},
        {BATCH_AT_MAGIC, 1, ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT},
        {BATCH_AT_MAGIC, 3, ERR_CORRUPT_MESSAGE},
        {BATCH_AT_MAGIC, 0xff, ERR_CORRUPT_MESSAGE},
        {BATCH_AT_LENGTH, 0xff, ERR_CORRUPT_MESSAGE},
        {BATCH_AT_LENGTH, 0x7f, ERR_TRUNCATED},
        {BATCH_AT_LENGTH + 3, 13, ERR_CORRUPT_MESSAGE},
        {BATCH_AT_LENGTH + 3, 48, ERR_CORRUPT_MESSAGE},
        {BATCH_AT_LENGTH + 3, 49, ERR_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        buf_reset(&f->bytes);
        hex_load(&f->bytes, java_batches[COMPRESSION_NONE].hex);
        f->bytes.data[changes[i].at] = changes[i].value;
        struct batch batch;
        assert_int_equal(batch_load(buf_slice(&f->bytes), &batch), changes[i].err);
    }
}

/* A batch of no compression whose records are the bytes given. */
static enum err walk_records(struct fixture *f, const char *records_hex, int32_t count)
{
    buf_reset(&f->bytes);
    uint8_t *header = buf_extend(&f->bytes, BATCH_HEADER_BYTES);
    memset(header, 0, BATCH_HEADER_BYTES);
    hex_load(&f->bytes, records_hex);
    f->bytes.data[BATCH_AT_MAGIC] = BATCH_MAGIC;
    be32_store(f->bytes.data + BATCH_AT_LENGTH, (uint32_t)(f->bytes.len - BATCH_LOG_OVERHEAD));
    be32_store(f->bytes.data + BATCH_AT_COUNT, (uint32_t)count);
    struct batch batch;
    assert_int_equal(batch_load(buf_slice(&f->bytes), &batch), ERR_OK);
    struct records records;
    struct record record;
    TRY(records_init(&records, &batch, NULL, NULL));
    while (records_next(&records, &record))
        ;
    return records.err;
}

static void test_bad_records(void **state)
{
    struct fixture *f = *state;
    /* Length, attributes, timestamp, offset, null key, value "a", no headers. */
    assert_int_equal(walk_records(f,
                                  "0e000000010261"
                                  "00",
                                  1),
                     ERR_OK);
    const struct {
        const char *hex;
        int32_t count;
    } bad[] = {
        {"0e00000001026100", 0},   /* records that nobody counted */
        {"0e00000001026100", 2},   /* fewer than counted */
        {"0e00000001026100", -1},  /* a negative count */
        {"0e00000001026100ff", 1}, /* a byte behind the last */
        {"0c00000001026100", 1},   /* a record longer than it says */
        {"1000000001026100", 1},   /* and shorter */
        {"1000000001026100ff", 1}, /* with a byte after the headers */
        {"0e00000001046100", 1},   /* a value past the end */
        {"0e00000001026101", 1},   /* a negative number of headers */
        {"0e00000001026102", 1},   /* a header that is not there */
        {"120000000102610201"
         "00",
         1},                 /* a header with a null key */
        {"00", 1},           /* an empty record */
        {"01", 1},           /* a negative length */
        {"feffffff0f00", 1}, /* two gigabytes */
        {"ffffffffff01", 1}, /* a varint that is too long */
        {"1a00ffffffffffffffffff0300010261"
         "00",
         1}, /* likewise, of 64 bits */
        {"", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(walk_records(f, bad[i].hex, bad[i].count), ERR_INVALID_RECORD);
}

static void test_flips(void **state)
{
    struct fixture *f = *state;
    struct rng rng;
    rng_init(&rng, 1);
    unsigned undetected = 0;
    for (int round = 0; round < 20000; round++) {
        buf_reset(&f->bytes);
        hex_load(&f->bytes, java_batches[round % (int)ARRAY_LEN(java_batches)].hex);
        f->bytes.data[rng_below(&rng, f->bytes.len)] ^= (uint8_t)(1 + rng_below(&rng, 255));
        struct batch batch;
        struct records records;
        struct record record;
        if (batch_load(buf_slice(&f->bytes), &batch) != ERR_OK)
            continue;
        undetected += batch_crc_is_valid(&batch) && batch.base_offset == 0 &&
                      batch.leader_epoch == 9 && batch.size == f->bytes.len;
        if (records_init(&records, &batch, &f->c, &f->scratch) != ERR_OK)
            continue;
        while (records_next(&records, &record)) {
            struct record_header header;
            while (record_header_next(&record.headers, &header))
                ;
        }
    }
    assert_int_equal(undetected, 0);
}

static void test_builder_limits(void **state)
{
    struct fixture *f = *state;
    struct buf out;
    for (unsigned compression = 0; compression < COMPRESSION_COUNT; compression++) {
        struct batch_options options = BATCH_OPTIONS_DEFAULT;
        options.compression = (enum compression)compression;
        int32_t min, max;
        compression_levels(options.compression, &min, &max, &options.level);
        uint8_t noise[300];
        struct rng rng;
        rng_init(&rng, 1);
        rng_bytes(&rng, noise, sizeof(noise));
        struct record_fields fields = {.value = slice_of(noise, sizeof(noise))};
        buf_init(&out, 320);
        struct batch_builder builder;
        batch_builder_init(&builder, &out, &options);
        enum err err = batch_builder_append(&builder, &fields);
        if (err == ERR_OK)
            err = batch_builder_finish(&builder, &f->c);
        assert_int_equal(err, ERR_LIMIT);
        batch_builder_deinit(&builder);
        assert_int_equal(out.len, 0);
        assert_int_equal(out.err, ERR_OK);
        buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_java_batches),
        cmocka_unit_test(test_built_as_java_builds),
        cmocka_unit_test(test_marker_as_java_builds),
        cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_sequences_wrap),
        cmocka_unit_test(test_walk_and_cuts),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_builder_limits),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
