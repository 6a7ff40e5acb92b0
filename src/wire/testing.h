/* What tests of wire formats share: bytes written as hexadecimal text. */
#ifndef WIRE_TESTING_H
#define WIRE_TESTING_H

#include "base/assert.h"
#include "base/buf.h"

static inline unsigned hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;
    ASSERT(at);
    return (unsigned)(at - digits);
}

/* Appends the bytes of the text, which is all lower-case digits and even in length. */
static inline void hex_load(struct buf *buf, const char *hex)
{
    for (; *hex; hex += 2)
        buf_put_u8(buf, (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1])));
}

#endif
