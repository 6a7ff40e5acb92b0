/* Growth by doubling, a limit, and one sticky error; see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_CAP_MIN ((size_t)256)

void buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void buf_deinit(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){.limit = buf->limit};
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
    buf->err = ERR_OK;
}

void buf_trim(struct buf *buf, size_t cap_max)
{
    if (buf->cap > cap_max)
        buf_deinit(buf);
    buf_reset(buf);
}

bool buf_reserve(struct buf *buf, size_t extra)
{
    if (buf->err != ERR_OK)
        return false;
    if (extra <= buf->cap - buf->len)
        return true;
    if (buf->limit < buf->len || extra > buf->limit - buf->len) {
        buf->err = ERR_LIMIT;
        return false;
    }
    size_t cap = buf->cap ? buf->cap : BUF_CAP_MIN;
    while (cap - buf->len < extra)
        cap = cap > SIZE_MAX / 2 ? buf->len + extra : cap * 2;
    if (cap > buf->limit)
        cap = buf->limit;
    uint8_t *data = realloc(buf->data, cap);
    if (!data) {
        buf->err = ERR_NOMEM;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

uint8_t *buf_extend(struct buf *buf, size_t len)
{
    if (!buf_reserve(buf, len))
        return NULL;
    uint8_t *at = buf->data + buf->len;
    buf->len += len;
    return at;
}

void buf_put(struct buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return;
    uint8_t *at = buf_extend(buf, len);
    if (at)
        memcpy(at, data, len);
}

void buf_put_u8(struct buf *buf, uint8_t v)
{
    buf_put(buf, &v, sizeof(v));
}

void buf_put_be16(struct buf *buf, uint16_t v)
{
    uint8_t *at = buf_extend(buf, sizeof(v));
    if (at)
        be16_store(at, v);
}

void buf_put_be32(struct buf *buf, uint32_t v)
{
    uint8_t *at = buf_extend(buf, sizeof(v));
    if (at)
        be32_store(at, v);
}

void buf_put_be64(struct buf *buf, uint64_t v)
{
    uint8_t *at = buf_extend(buf, sizeof(v));
    if (at)
        be64_store(at, v);
}

void buf_put_uvarint(struct buf *buf, uint64_t v)
{
    uint8_t bytes[VARINT64_BYTES_MAX];
    buf_put(buf, bytes, uvarint64_store(bytes, v));
}

void buf_put_varint(struct buf *buf, int64_t v)
{
    buf_put_uvarint(buf, zigzag64_encode(v));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len >= 0 && buf_reserve(buf, (size_t)len + 1)) {
        vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}
