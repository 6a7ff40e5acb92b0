/* gzip, snappy, lz4 and zstd as Kafka's clients write and read them; see compress.h.
 *
 * What Kafka's Java readers pass over behind a whole stream is passed over here too.
 *
 * gzip     RFC 1952; read: one or more members, then anything that does not begin another.
 * snappy   Written in the framing of snappy-java, which Kafka's own producer and broker write:
 *              0   8  magic 82 'S' 'N' 'A' 'P' 'P' 'Y' 00
 *              8   4  version, big-endian, 1
 *             12   4  lowest compatible version, 1
 *             16      blocks: 4 bytes big-endian length, then a raw snappy block of 32 KiB of input
 *          Read: that framing (also several one after another, and up to 3 bytes behind) or one raw
 *          block without framing.
 * lz4      LZ4 frames with independent blocks; Kafka's Java reader refuses linked blocks, so such
 *          a frame is malformed here too. What follows the frame is not read. Written with 64 KiB
 *          blocks and no checksums.
 * zstd     Zstandard frames, one or more. Decoded straight into the output, so that the window
 *          that a frame demands costs nothing.
 *
 * Runs on any thread that has its own struct compressors. */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_decompressBound */

#include "wire/compress.h"

#include <lz4frame.h>
#include <lz4hc.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/assert.h"

#define LZ4_LEVEL_DEFAULT  9 /* stands for the fast compressor, as in Kafka */
#define LZ4_LEVEL_MAX      17
#define GZIP_WINDOW_BITS   (15 + 16) /* 16: the gzip wrapper */
#define GZIP_MEM_LEVEL     8
#define SNAPPY_BLOCK_BYTES ((size_t)32 << 10)
#define GROW_BYTES_MIN     ((size_t)16 << 10)

static const char *const names[COMPRESSION_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};

const char *compression_name(enum compression compression)
{
    ASSERT((unsigned)compression < COMPRESSION_COUNT);
    return names[compression];
}

bool compression_parse(struct str name, enum compression *compression)
{
    for (unsigned i = 0; i < COMPRESSION_COUNT; i++) {
        if (str_eq_cstr(name, names[i])) {
            *compression = (enum compression)i;
            return true;
        }
    }
    return false;
}

void compression_levels(enum compression compression, int32_t *min, int32_t *max,
                        int32_t *level_default)
{
    static const struct {
        int32_t min, max, level_default;
    } levels[COMPRESSION_COUNT] = {
        [COMPRESSION_GZIP] = {Z_DEFAULT_COMPRESSION, Z_BEST_COMPRESSION, Z_DEFAULT_COMPRESSION},
        [COMPRESSION_LZ4] = {1, LZ4_LEVEL_MAX, LZ4_LEVEL_DEFAULT},
        [COMPRESSION_ZSTD] = {-131072, 22, 3},
    };
    ASSERT((unsigned)compression < COMPRESSION_COUNT);
    *min = levels[compression].min;
    *max = levels[compression].max;
    *level_default = levels[compression].level_default;
}

void compressors_init(struct compressors *c)
{
    *c = (struct compressors){0};
}

void compressors_deinit(struct compressors *c)
{
    if (c->gzip_out)
        deflateEnd(c->gzip_out);
    if (c->gzip_in)
        inflateEnd(c->gzip_in);
    free(c->gzip_out);
    free(c->gzip_in);
    LZ4F_freeCompressionContext(c->lz4_out);
    LZ4F_freeDecompressionContext(c->lz4_in);
    ZSTD_freeCCtx(c->zstd_out);
    ZSTD_freeDCtx(c->zstd_in);
    *c = (struct compressors){0};
}

/* More room in `out` for a decoder that cannot tell how much it will write; doubling, within the
 * limit. The error is the caller's to return, so it does not stick to the buffer. */
static enum err room_grow(struct buf *out)
{
    size_t grow = out->cap > GROW_BYTES_MIN ? out->cap : GROW_BYTES_MIN;
    if (out->len >= out->limit)
        return ERR_LIMIT;
    if (grow > out->limit - out->len)
        grow = out->limit - out->len;
    if (buf_reserve(out, grow))
        return ERR_OK;
    enum err err = out->err;
    out->err = ERR_OK;
    return err;
}

static enum err room_for(struct buf *out, size_t len)
{
    if (buf_reserve(out, len))
        return ERR_OK;
    enum err err = out->err;
    out->err = ERR_OK;
    return err;
}

/* --- gzip --- */

static enum err gzip_out_ready(struct compressors *c, int32_t level)
{
    if (c->gzip_out && c->gzip_level == level)
        return deflateReset(c->gzip_out) == Z_OK ? ERR_OK : ERR_INTERNAL;
    if (c->gzip_out)
        deflateEnd(c->gzip_out);
    free(c->gzip_out);
    c->gzip_out = calloc(1, sizeof(z_stream));
    if (!c->gzip_out)
        return ERR_NOMEM;
    if (deflateInit2(c->gzip_out, level, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEM_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(c->gzip_out);
        c->gzip_out = NULL;
        return ERR_NOMEM;
    }
    c->gzip_level = level;
    return ERR_OK;
}

static enum err gzip_in_ready(struct compressors *c)
{
    if (c->gzip_in)
        return inflateReset(c->gzip_in) == Z_OK ? ERR_OK : ERR_INTERNAL;
    c->gzip_in = calloc(1, sizeof(z_stream));
    if (!c->gzip_in)
        return ERR_NOMEM;
    if (inflateInit2(c->gzip_in, GZIP_WINDOW_BITS) != Z_OK) {
        free(c->gzip_in);
        c->gzip_in = NULL;
        return ERR_NOMEM;
    }
    return ERR_OK;
}

static void gzip_input(z_stream *z, struct slice in)
{
    z->next_in = (Bytef *)(uintptr_t)in.data; /* zlib's prototype lacks const */
    z->avail_in = (uInt)in.len;
}

/* Where the next output goes: the free end of `out`, if it has one. */
static uInt gzip_room(z_stream *z, struct buf *out)
{
    size_t room = out->cap - out->len;
    z->next_out = room > 0 ? out->data + out->len : NULL;
    z->avail_out = room < INT32_MAX ? (uInt)room : (uInt)INT32_MAX;
    return z->avail_out;
}

static enum err gzip_compress(struct compressors *c, int32_t level, struct slice in,
                              struct buf *out)
{
    if (in.len > UINT32_MAX)
        return ERR_LIMIT;
    TRY(gzip_out_ready(c, level));
    z_stream *z = c->gzip_out;
    gzip_input(z, in);
    int status;
    do {
        if (out->len == out->cap)
            TRY(room_grow(out));
        uInt room = gzip_room(z, out);
        status = deflate(z, Z_FINISH);
        out->len += room - z->avail_out;
    } while (status == Z_OK || status == Z_BUF_ERROR);
    return status == Z_STREAM_END ? ERR_OK : ERR_INTERNAL;
}

/* One member; *in moves past it. */
static enum err gzip_member(z_stream *z, struct slice *in, struct buf *out)
{
    gzip_input(z, *in);
    int status;
    do {
        /* At the limit a stream may still have its end to say, but no byte more. */
        uint8_t surplus;
        if (out->len == out->cap && out->len < out->limit)
            TRY(room_grow(out));
        uInt room = gzip_room(z, out);
        if (room == 0) {
            z->next_out = &surplus;
            z->avail_out = 1;
        }
        status = inflate(z, Z_NO_FLUSH);
        if (room == 0 && z->avail_out == 0)
            return ERR_LIMIT;
        if (room > 0)
            out->len += room - z->avail_out;
    } while (status == Z_OK);
    if (status == Z_MEM_ERROR)
        return ERR_NOMEM;
    *in = slice_of(z->next_in, z->avail_in);
    return status == Z_STREAM_END ? ERR_OK : ERR_MALFORMED;
}

static bool gzip_begins_member(struct slice in)
{
    return in.len >= 3 && in.data[0] == 0x1f && in.data[1] == 0x8b && in.data[2] == Z_DEFLATED;
}

static enum err gzip_decompress(struct compressors *c, struct slice in, struct buf *out)
{
    if (in.len > UINT32_MAX)
        return ERR_LIMIT;
    do {
        TRY(gzip_in_ready(c));
        TRY(gzip_member(c->gzip_in, &in, out));
    } while (gzip_begins_member(in));
    return ERR_OK;
}

/* --- snappy --- */

static const uint8_t snappy_header[16] = {
    0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
};
#define SNAPPY_MAGIC_BYTES 8

static enum err snappy_block_compress(struct slice in, struct buf *out)
{
    size_t len = snappy_max_compressed_length(in.len);
    TRY(room_for(out, 4 + len));
    char *to = (char *)out->data + out->len + 4;
    if (snappy_compress((const char *)in.data, in.len, to, &len) != SNAPPY_OK)
        return ERR_INTERNAL;
    be32_store(out->data + out->len, (uint32_t)len);
    out->len += 4 + len;
    return ERR_OK;
}

static enum err snappy_framed_compress(struct slice in, struct buf *out)
{
    TRY(room_for(out, sizeof(snappy_header)));
    buf_put(out, snappy_header, sizeof(snappy_header));
    for (size_t at = 0; at < in.len; at += SNAPPY_BLOCK_BYTES) {
        size_t left = in.len - at;
        size_t len = left < SNAPPY_BLOCK_BYTES ? left : SNAPPY_BLOCK_BYTES;
        TRY(snappy_block_compress(slice_of(in.data + at, len), out));
    }
    return ERR_OK;
}

static enum err snappy_block_decompress(struct slice in, struct buf *out)
{
    size_t len;
    if (snappy_uncompressed_length((const char *)in.data, in.len, &len) != SNAPPY_OK)
        return ERR_MALFORMED;
    /* A copy of 64 bytes takes three: what claims to grow beyond that lies, and gets no memory. */
    if (len / 64 > in.len)
        return ERR_MALFORMED;
    TRY(room_for(out, len));
    char nothing;
    char *to = len > 0 ? (char *)out->data + out->len : &nothing;
    if (snappy_uncompress((const char *)in.data, in.len, to, &len) != SNAPPY_OK)
        return ERR_MALFORMED;
    out->len += len;
    return ERR_OK;
}

static bool snappy_is_framed(struct slice in)
{
    return in.len >= sizeof(snappy_header) &&
           memcmp(in.data, snappy_header, SNAPPY_MAGIC_BYTES) == 0;
}

static enum err snappy_decompress(struct slice in, struct buf *out)
{
    if (!snappy_is_framed(in))
        return snappy_block_decompress(in, out);
    while (in.len >= 4) {
        if (snappy_is_framed(in)) {
            in = slice_of(in.data + sizeof(snappy_header), in.len - sizeof(snappy_header));
            continue;
        }
        size_t len = be32_load(in.data);
        if (len > in.len - 4)
            return ERR_MALFORMED;
        TRY(snappy_block_decompress(slice_of(in.data + 4, len), out));
        in = slice_of(in.data + 4 + len, in.len - 4 - len);
    }
    return ERR_OK;
}

/* --- lz4 --- */

/* Byte 4 of a frame holds its flags. */
#define LZ4_FRAME_BYTES_MIN   7
#define LZ4_FLAGS_AT          4
#define LZ4_FLAG_INDEPENDENCE 0x20

static int lz4_library_level(int32_t level)
{
    if (level == LZ4_LEVEL_DEFAULT)
        return 0;
    int level_hc = level < LZ4HC_CLEVEL_MIN ? LZ4HC_CLEVEL_MIN : level;
    return level_hc > LZ4HC_CLEVEL_MAX ? LZ4HC_CLEVEL_MAX : level_hc;
}

static enum err lz4_compress(struct compressors *c, int32_t level, struct slice in, struct buf *out)
{
    if (!c->lz4_out) {
        LZ4F_cctx *made;
        if (LZ4F_isError(LZ4F_createCompressionContext(&made, LZ4F_VERSION)))
            return ERR_NOMEM;
        c->lz4_out = made;
    }
    const LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
        .compressionLevel = lz4_library_level(level),
    };
    size_t room = LZ4F_HEADER_SIZE_MAX + LZ4F_compressBound(in.len, &preferences);
    TRY(room_for(out, room));
    uint8_t *at = out->data + out->len, *end = at + room;
    size_t n = LZ4F_compressBegin(c->lz4_out, at, (size_t)(end - at), &preferences);
    if (LZ4F_isError(n))
        return ERR_INTERNAL;
    at += n;
    n = LZ4F_compressUpdate(c->lz4_out, at, (size_t)(end - at), in.data, in.len, NULL);
    if (LZ4F_isError(n))
        return ERR_INTERNAL;
    at += n;
    n = LZ4F_compressEnd(c->lz4_out, at, (size_t)(end - at), NULL);
    if (LZ4F_isError(n))
        return ERR_INTERNAL;
    out->len = (size_t)(at + n - out->data);
    return ERR_OK;
}

static enum err lz4_decompress(struct compressors *c, struct slice in, struct buf *out)
{
    if (in.len < LZ4_FRAME_BYTES_MIN || !(in.data[LZ4_FLAGS_AT] & LZ4_FLAG_INDEPENDENCE))
        return ERR_MALFORMED;
    if (!c->lz4_in) {
        LZ4F_dctx *made;
        if (LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION)))
            return ERR_NOMEM;
        c->lz4_in = made;
    }
    LZ4F_resetDecompressionContext(c->lz4_in);
    for (;;) {
        uint8_t surplus;
        if (out->len == out->cap && out->len < out->limit)
            TRY(room_grow(out));
        bool is_full = out->len == out->cap;
        size_t room = is_full ? 1 : out->cap - out->len, taken = in.len;
        size_t hint = LZ4F_decompress(c->lz4_in, is_full ? &surplus : out->data + out->len, &room,
                                      in.data, &taken, NULL);
        if (LZ4F_isError(hint))
            return ERR_MALFORMED;
        if (is_full && room > 0)
            return ERR_LIMIT;
        out->len += room;
        in = slice_of(in.data + taken, in.len - taken);
        if (hint == 0)
            return ERR_OK;
        if (taken == 0 && room == 0)
            return ERR_MALFORMED;
    }
}

/* --- zstd --- */

static enum err zstd_compress(struct compressors *c, int32_t level, struct slice in,
                              struct buf *out)
{
    if (!c->zstd_out && !(c->zstd_out = ZSTD_createCCtx()))
        return ERR_NOMEM;
    size_t room = ZSTD_compressBound(in.len);
    TRY(room_for(out, room));
    size_t n =
        ZSTD_compressCCtx(c->zstd_out, out->data + out->len, room, in.data, in.len, (int)level);
    if (ZSTD_isError(n))
        return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? ERR_NOMEM : ERR_INTERNAL;
    out->len += n;
    return ERR_OK;
}

static enum err zstd_decompress(struct compressors *c, struct slice in, struct buf *out)
{
    if (!c->zstd_in && !(c->zstd_in = ZSTD_createDCtx()))
        return ERR_NOMEM;
    unsigned long long bound = ZSTD_decompressBound(in.data, in.len);
    if (bound == ZSTD_CONTENTSIZE_ERROR || in.len == 0)
        return ERR_MALFORMED;
    ASSERT(out->len <= out->limit);
    size_t room = bound < out->limit - out->len ? (size_t)bound : out->limit - out->len;
    TRY(room_for(out, room));
    /* Without room it may still be a stream of nothing. */
    uint8_t surplus;
    uint8_t *to = room > 0 ? out->data + out->len : &surplus;
    size_t to_len = room > 0 ? room : 1;
    size_t n = ZSTD_decompressDCtx(c->zstd_in, to, to_len, in.data, in.len);
    if (ZSTD_isError(n)) {
        bool is_full = ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall && to_len < bound;
        return is_full ? ERR_LIMIT : ERR_MALFORMED;
    }
    if (room == 0 && n > 0)
        return ERR_LIMIT;
    out->len += n;
    return ERR_OK;
}

/* --- the doors --- */

static enum err copy_bytes(struct slice in, struct buf *out)
{
    TRY(room_for(out, in.len));
    buf_put(out, in.data, in.len);
    return ERR_OK;
}

static bool level_is_valid(enum compression compression, int32_t level)
{
    int32_t min, max, level_default;
    compression_levels(compression, &min, &max, &level_default);
    return min == max || (level >= min && level <= max);
}

enum err compress_bytes(struct compressors *c, enum compression compression, int32_t level,
                        struct slice in, struct buf *out)
{
    ASSERT(level_is_valid(compression, level));
    ASSERT(out->err == ERR_OK);
    size_t len_before = out->len;
    enum err err = ERR_UNSUPPORTED;
    switch (compression) {
    case COMPRESSION_NONE:
        err = copy_bytes(in, out);
        break;
    case COMPRESSION_GZIP:
        err = gzip_compress(c, level, in, out);
        break;
    case COMPRESSION_SNAPPY:
        err = snappy_framed_compress(in, out);
        break;
    case COMPRESSION_LZ4:
        err = lz4_compress(c, level, in, out);
        break;
    case COMPRESSION_ZSTD:
        err = zstd_compress(c, level, in, out);
        break;
    case COMPRESSION_COUNT:
        UNREACHABLE();
    }
    if (err != ERR_OK)
        out->len = len_before;
    return err;
}

enum err decompress_bytes(struct compressors *c, enum compression compression, struct slice in,
                          struct buf *out)
{
    ASSERT(out->err == ERR_OK);
    size_t len_before = out->len;
    enum err err = ERR_UNSUPPORTED;
    switch (compression) {
    case COMPRESSION_NONE:
        err = copy_bytes(in, out);
        break;
    case COMPRESSION_GZIP:
        err = gzip_decompress(c, in, out);
        break;
    case COMPRESSION_SNAPPY:
        err = snappy_decompress(in, out);
        break;
    case COMPRESSION_LZ4:
        err = lz4_decompress(c, in, out);
        break;
    case COMPRESSION_ZSTD:
        err = zstd_decompress(c, in, out);
        break;
    case COMPRESSION_COUNT:
        UNREACHABLE();
    }
    if (err != ERR_OK)
        out->len = len_before;
    ASSERT(out->len <= out->limit);
    return err;
}
