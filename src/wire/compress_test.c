/* Goal: we read what Java's codecs wrote and write what we can read; a hostile stream gets an
 * error, never memory past the limit. Method: streams made by Apache Kafka's Java codecs, round
 * trips over sizes and kinds of data, every cut and many flips of a valid stream, and false claims
 * of size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "wire/compress.h"
#include "wire/testing.h"

#define JAVA_TEXT_BYTES 40000

/* What the Java program compressed. */
static void java_text(struct buf *buf)
{
    for (int32_t i = 0; i < JAVA_TEXT_BYTES; i++)
        buf_put_u8(buf, (uint8_t)('a' + (i * i / 7) % 5));
}

static const struct {
    enum compression compression;
    const char *hex;
} java_streams[] = {
    {COMPRESSION_GZIP,
     "1f8b08000000000000ffedcac90dc0301003b15ab547ff2dd801d285393f094c523de9adedec74dd7af63f"
     "eece1782200882200882200882200882200882200882200882200882200882200882200882200882200882"
     "20088220088220088220088220088220088220088220088220088220088220088220088220088220088220"
     "0882200882200882200882200882200882200882200882200882200882200882bc410ee62162ff409c0000"},
    {COMPRESSION_LZ4,
     "04224d18604082c8000000f308616161626364616365626563616564636262626263646511004064636261"
     "01000f2300ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
     "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
     "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
     "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff9e50656265636100000000"},
    {COMPRESSION_ZSTD,
     "28b52ffd00583c0100e06161616263646163656265636165646362626262636465646362616102001a1ca3"
     "b44eee6c02010000"},
};

/* A batch's records by snappy-java: one short block. */
static const char java_snappy[] =
    "82534e415050590000000001000000010000002e39344c000000046b312e68656c6c6f20420600640402680276026e"
    "0110000102010476320010000a04046b330100";
static const char java_snappy_plain[] =
    "4c000000046b312e68656c6c6f2068656c6c6f2068656c6c6f2068656c6c6f0402680276026e011000010201047632"
    "0010000a04046b330100";
#define SNAPPY_FRAMING_BYTES 20 /* of a stream with one block */

static void assert_buf_equal(const struct buf *got, const struct buf *want)
{
    assert_int_equal(got->len, want->len);
    assert_memory_equal(got->data, want->data, want->len);
}

static void test_java_streams(void **state)
{
    (void)state;
    struct compressors c;
    compressors_init(&c);
    struct buf text, stream, out;
    buf_init(&text, BUF_NO_LIMIT);
    buf_init(&stream, BUF_NO_LIMIT);
    buf_init(&out, JAVA_TEXT_BYTES);
    java_text(&text);
    for (size_t i = 0; i < ARRAY_LEN(java_streams); i++) {
        buf_reset(&stream);
        hex_load(&stream, java_streams[i].hex);
        /* Twice: the second run has the library's state from the first. */
        for (int round = 0; round < 2; round++) {
            buf_reset(&out);
            assert_int_equal(
                decompress_bytes(&c, java_streams[i].compression, buf_slice(&stream), &out),
                ERR_OK);
            assert_buf_equal(&out, &text);
        }
    }
    buf_deinit(&text);
    buf_deinit(&stream);
    buf_deinit(&out);
    compressors_deinit(&c);
}

static void test_java_snappy(void **state)
{
    (void)state;
    struct compressors c;
    compressors_init(&c);
    struct buf text, stream, out;
    buf_init(&text, BUF_NO_LIMIT);
    buf_init(&stream, BUF_NO_LIMIT);
    buf_init(&out, JAVA_TEXT_BYTES);
    hex_load(&text, java_snappy_plain);
    hex_load(&stream, java_snappy);
    size_t stream_len = stream.len;
    /* snappy-java reads several framed streams one after another. */
    hex_load(&stream, java_snappy);
    assert_int_equal(decompress_bytes(&c, COMPRESSION_SNAPPY, buf_slice(&stream), &out), ERR_OK);
    assert_int_equal(out.len, 2 * text.len);
    assert_memory_equal(out.data, text.data, text.len);
    assert_memory_equal(out.data + text.len, text.data, text.len);
    /* Some clients write the raw block alone. */
    buf_reset(&out);
    struct slice raw =
        slice_of(stream.data + SNAPPY_FRAMING_BYTES, stream_len - SNAPPY_FRAMING_BYTES);
    assert_int_equal(decompress_bytes(&c, COMPRESSION_SNAPPY, raw, &out), ERR_OK);
    assert_buf_equal(&out, &text);
    buf_deinit(&text);
    buf_deinit(&stream);
    buf_deinit(&out);
    compressors_deinit(&c);
}

/* `kind` 0: zeros, 1: words, 2: noise. */
static void fill(struct buf *buf, struct rng *rng, size_t len, int kind)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog ";
    for (size_t i = 0; i < len; i++) {
        uint8_t noise = (uint8_t)rng_u64(rng);
        uint8_t word = (uint8_t)words[(i * 7 + noise % 2) % (sizeof(words) - 1)];
        buf_put_u8(buf, kind == 0 ? 0 : kind == 1 ? word : noise);
    }
}

static void round_trip(struct compressors *c, enum compression compression, int32_t level,
                       const struct buf *in)
{
    struct buf stream, out;
    buf_init(&stream, BUF_NO_LIMIT);
    buf_init(&out, in->len + 4);
    buf_put(&stream, "head", 4);
    buf_put(&out, "head", 4);
    assert_int_equal(compress_bytes(c, compression, level, buf_slice(in), &stream), ERR_OK);
    struct slice body = slice_of(stream.data + 4, stream.len - 4);
    assert_int_equal(decompress_bytes(c, compression, body, &out), ERR_OK);
    assert_int_equal(out.len, in->len + 4);
    assert_memory_equal(out.data, "head", 4);
    if (in->len > 0) {
        assert_memory_equal(out.data + 4, in->data, in->len);
        struct buf tight; /* one byte less than it needs */
        buf_init(&tight, in->len - 1);
        assert_int_equal(decompress_bytes(c, compression, body, &tight), ERR_LIMIT);
        assert_int_equal(tight.len, 0);
        assert_true(tight.cap <= tight.limit);
        buf_deinit(&tight);
    }
    buf_deinit(&stream);
    buf_deinit(&out);
}

static void test_round_trips(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 100, 32767, 32768, 32769, 65536, 200000};
    struct compressors c;
    compressors_init(&c);
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        for (int kind = 0; kind < 3; kind++) {
            struct buf in;
            buf_init(&in, BUF_NO_LIMIT);
            fill(&in, &rng, lens[i], kind);
            for (unsigned compression = 0; compression < COMPRESSION_COUNT; compression++) {
                int32_t min, max, level;
                compression_levels((enum compression)compression, &min, &max, &level);
                round_trip(&c, (enum compression)compression, level, &in);
                if (lens[i] < 32767) {
                    round_trip(&c, (enum compression)compression, min, &in);
                    round_trip(&c, (enum compression)compression, max, &in);
                }
            }
            buf_deinit(&in);
        }
    }
    compressors_deinit(&c);
}

static void damage(struct compressors *c, enum compression compression, struct slice stream)
{
    struct rng rng;
    rng_init(&rng, 2);
    struct buf copy, out;
    buf_init(&copy, BUF_NO_LIMIT);
    buf_init(&out, 100000);
    for (size_t cut = 0; cut < stream.len; cut++) {
        struct slice part = slice_of(stream.data, cut);
        assert_int_equal(decompress_bytes(c, compression, part, &out), ERR_MALFORMED);
        assert_int_equal(out.len, 0);
    }
    for (int i = 0; i < 2000; i++) {
        buf_reset(&copy);
        buf_put(&copy, stream.data, stream.len);
        copy.data[rng_below(&rng, copy.len)] ^= (uint8_t)(1 + rng_below(&rng, 255));
        enum err err = decompress_bytes(c, compression, buf_slice(&copy), &out);
        assert_true(err == ERR_OK || err == ERR_MALFORMED || err == ERR_LIMIT);
        assert_true(out.len <= out.limit && out.cap <= out.limit);
        buf_reset(&out);
    }
    /* A byte behind the stream: Java's readers of gzip and lz4 do not look. */
    buf_reset(&copy);
    buf_put(&copy, stream.data, stream.len);
    buf_put_u8(&copy, 'x');
    bool is_ignored = compression == COMPRESSION_GZIP || compression == COMPRESSION_LZ4;
    assert_int_equal(decompress_bytes(c, compression, buf_slice(&copy), &out),
                     is_ignored ? ERR_OK : ERR_MALFORMED);
    buf_deinit(&copy);
    buf_deinit(&out);
}

static void test_damaged_streams(void **state)
{
    (void)state;
    struct compressors c;
    compressors_init(&c);
    struct rng rng;
    rng_init(&rng, 2);
    struct buf in, stream;
    buf_init(&in, BUF_NO_LIMIT);
    buf_init(&stream, BUF_NO_LIMIT);
    fill(&in, &rng, 500, 1);
    for (unsigned i = COMPRESSION_GZIP; i < COMPRESSION_COUNT; i++) {
        int32_t min, max, level;
        compression_levels((enum compression)i, &min, &max, &level);
        buf_reset(&stream);
        assert_int_equal(compress_bytes(&c, (enum compression)i, level, buf_slice(&in), &stream),
                         ERR_OK);
        /* A framed snappy stream that is cut after its header is whole, and empty: the block. */
        size_t skip = i == COMPRESSION_SNAPPY ? SNAPPY_FRAMING_BYTES : 0;
        damage(&c, (enum compression)i, slice_of(stream.data + skip, stream.len - skip));
    }
    buf_deinit(&in);
    buf_deinit(&stream);
    compressors_deinit(&c);
}

static void test_hostile_claims(void **state)
{
    (void)state;
    static const struct {
        enum compression compression;
        const char *hex;
    } claims[] = {
        /* A raw snappy block that says four gigabytes. */
        {COMPRESSION_SNAPPY, "ffffffff0f00"},
        /* A framed block that is longer than what is there; and a negative length. */
        {COMPRESSION_SNAPPY, "82534e4150505900000000010000000100000100ab"},
        {COMPRESSION_SNAPPY, "82534e41505059000000000100000001ffffffffab"},
        /* A zstd frame that says 2^60 bytes, and one with a reserved bit. */
        {COMPRESSION_ZSTD, "28b52ffde000000000000000100b0000"},
        {COMPRESSION_ZSTD, "28b52ffd0858010000"},
        /* An lz4 frame with linked blocks, and one of the wrong version. */
        {COMPRESSION_LZ4, "04224d184040c0010000806100000000"},
        {COMPRESSION_LZ4, "04224d18a04082010000806100000000"},
        {COMPRESSION_GZIP, "1f8b08ff000000000000"},
    };
    struct compressors c;
    compressors_init(&c);
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        struct buf stream, out;
        buf_init(&stream, BUF_NO_LIMIT);
        buf_init(&out, 1 << 20);
        hex_load(&stream, claims[i].hex);
        enum err err = decompress_bytes(&c, claims[i].compression, buf_slice(&stream), &out);
        assert_int_equal(err, ERR_MALFORMED);
        buf_deinit(&stream);
        buf_deinit(&out);
    }
    compressors_deinit(&c);
}

static void test_names(void **state)
{
    (void)state;
    enum compression compression;
    for (unsigned i = 0; i < COMPRESSION_COUNT; i++) {
        const char *name = compression_name((enum compression)i);
        assert_true(compression_parse(str_of(name), &compression));
        assert_int_equal(compression, i);
    }
    assert_false(compression_parse(STR("GZIP"), &compression));
    assert_false(compression_parse(STR_NULL, &compression));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_java_streams),   cmocka_unit_test(test_java_snappy),
        cmocka_unit_test(test_round_trips),    cmocka_unit_test(test_damaged_streams),
        cmocka_unit_test(test_hostile_claims), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
