/* A growable byte buffer with a sticky error, for encoders.
 *
 * Puts after a failure do nothing, so an encoder checks buf->err once, at its end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/bytes.h"
#include "base/err.h"

struct buf {
    uint8_t *data; /* owned; NULL until the first put */
    size_t len;
    size_t cap;
    size_t limit; /* len never passes it */
    enum err err; /* the first failure: ERR_NOMEM or ERR_LIMIT */
};

#define BUF_NO_LIMIT SIZE_MAX

void buf_init(struct buf *buf, size_t limit);
void buf_deinit(struct buf *buf);
/* Empties it and clears the error; keeps the memory. */
void buf_reset(struct buf *buf);
/* Likewise, but gives the memory back where there is more than `cap_max` of it: for buffers that
 * live long and meet a giant once. */
void buf_trim(struct buf *buf, size_t cap_max);
/* Room for `extra` more bytes at data + len; false on failure. */
bool buf_reserve(struct buf *buf, size_t extra) MUST_USE;
/* Appends `len` undefined bytes and returns where they begin; NULL on failure. */
uint8_t *buf_extend(struct buf *buf, size_t len) MUST_USE;

void buf_put(struct buf *buf, const void *data, size_t len);
void buf_put_u8(struct buf *buf, uint8_t v);
void buf_put_be16(struct buf *buf, uint16_t v);
void buf_put_be32(struct buf *buf, uint32_t v);
void buf_put_be64(struct buf *buf, uint64_t v);
void buf_put_uvarint(struct buf *buf, uint64_t v);
void buf_put_varint(struct buf *buf, int64_t v); /* ZigZag */
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){buf->data, buf->len};
}

#endif
