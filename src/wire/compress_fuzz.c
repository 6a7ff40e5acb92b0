/* Goal: no bytes make a decompressor misbehave or pass its limit.
 * Method: the first input byte chooses the compression and the limit, the rest is the stream; what
 * it unpacks to is compressed again and must come back. */
#include "base/assert.h"
#include "wire/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void round_trip(struct compressors *c, enum compression compression, struct slice plain)
{
    int32_t min, max, level;
    struct buf stream, back;
    buf_init(&stream, BUF_NO_LIMIT);
    buf_init(&back, plain.len);
    compression_levels(compression, &min, &max, &level);
    ASSERT(compress_bytes(c, compression, level, plain, &stream) == ERR_OK);
    ASSERT(decompress_bytes(c, compression, buf_slice(&stream), &back) == ERR_OK);
    ASSERT(back.len == plain.len);
    ASSERT(plain.len == 0 || memcmp(back.data, plain.data, plain.len) == 0);
    buf_deinit(&stream);
    buf_deinit(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct compressors c;
    if (len == 0)
        return 0;
    enum compression compression = (enum compression)(data[0] % COMPRESSION_COUNT);
    struct buf out;
    buf_init(&out, (size_t)64 << (data[0] >> 4)); /* to 2 MiB */
    enum err err = decompress_bytes(&c, compression, slice_of(data + 1, len - 1), &out);
    ASSERT(err == ERR_OK || err == ERR_MALFORMED || err == ERR_LIMIT);
    ASSERT(out.len <= out.limit && out.cap <= out.limit);
    if (err == ERR_OK)
        round_trip(&c, compression, buf_slice(&out));
    buf_deinit(&out);
    return 0;
}
