/* The five compressions of record batches, and what each Kafka client is known to write with them.
 *
 * Decompressing is safe against any input: the output never grows past out->limit, and what the
 * decoders need beside it is bounded by a few megabytes. */
#ifndef WIRE_COMPRESS_H
#define WIRE_COMPRESS_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

/* The numbers are those in a batch's attributes. */
enum compression {
    COMPRESSION_NONE,
    COMPRESSION_GZIP,
    COMPRESSION_SNAPPY,
    COMPRESSION_LZ4,
    COMPRESSION_ZSTD,
    COMPRESSION_COUNT
};

/* "none", "gzip", "snappy", "lz4", "zstd". */
const char *compression_name(enum compression compression);
/* False for any other text. */
bool compression_parse(struct str name, enum compression *compression);
/* Kafka's levels and their defaults; min == max where there are none. */
void compression_levels(enum compression compression, int32_t *min, int32_t *max,
                        int32_t *level_default);

/* The state that the libraries want between calls, made when first needed. One for each thread. */
struct compressors {
    void *gzip_out; /* z_stream */
    void *gzip_in;
    int32_t gzip_level;
    void *lz4_out; /* LZ4F contexts */
    void *lz4_in;
    void *zstd_out; /* ZSTD contexts */
    void *zstd_in;
};

void compressors_init(struct compressors *c);
void compressors_deinit(struct compressors *c);

/* Appends to `out`; on an error `out` is as long as before. The level must be one that
 * compression_levels allows. ERR_LIMIT: longer than out->limit. */
enum err compress_bytes(struct compressors *c, enum compression compression, int32_t level,
                        struct slice in, struct buf *out) MUST_USE;
/* Likewise; ERR_MALFORMED where `in` is not one whole stream of that compression. */
enum err decompress_bytes(struct compressors *c, enum compression compression, struct slice in,
                          struct buf *out) MUST_USE;

#endif
