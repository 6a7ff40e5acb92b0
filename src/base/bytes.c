/* Variable-length integers and the text form of uuids. */
#include "base/bytes.h"

size_t uvarint64_load(const uint8_t *at, size_t len, uint64_t *v)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len && i < VARINT64_BYTES_MAX; i++) {
        uint64_t group = at[i] & 0x7f;
        if (i == VARINT64_BYTES_MAX - 1 && group > 1)
            return 0;
        value |= group << (7 * i);
        if ((at[i] & 0x80) == 0) {
            *v = value;
            return i + 1;
        }
    }
    return 0;
}

size_t uvarint32_load(const uint8_t *at, size_t len, uint32_t *v)
{
    uint32_t value = 0;
    for (size_t i = 0; i < len && i < VARINT32_BYTES_MAX; i++) {
        uint32_t group = at[i] & 0x7f;
        if (i == VARINT32_BYTES_MAX - 1 && group > 0xf)
            return 0;
        value |= group << (7 * i);
        if ((at[i] & 0x80) == 0) {
            *v = value;
            return i + 1;
        }
    }
    return 0;
}

size_t uvarint64_store(uint8_t *at, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        at[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    at[n++] = (uint8_t)v;
    return n;
}

size_t uvarint32_store(uint8_t *at, uint32_t v)
{
    return uvarint64_store(at, v);
}

size_t uvarint64_size(uint64_t v)
{
    size_t bits = 64 - (size_t)__builtin_clzll(v | 1);
    return (bits + 6) / 7;
}

size_t uvarint32_size(uint32_t v)
{
    return uvarint64_size(v);
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void uuid_format(struct uuid id, char text[UUID_TEXT_LEN + 1])
{
    uint32_t bits = 0;
    int held = 0;
    size_t out = 0;
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        bits = (bits << 8) | id.bytes[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            text[out++] = base64url[(bits >> held) & 63];
        }
    }
    text[out++] = base64url[(bits << (6 - held)) & 63];
    text[out] = '\0';
}

static int base64url_value(char c)
{
    const char *at = c ? strchr(base64url, c) : NULL;
    return at ? (int)(at - base64url) : -1;
}

bool uuid_parse(struct str text, struct uuid *id)
{
    if (text.len != UUID_TEXT_LEN)
        return false;
    uint32_t bits = 0;
    int held = 0;
    size_t out = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64url_value(text.data[i]);
        if (value < 0)
            return false;
        bits = (bits << 6) | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            id->bytes[out++] = (uint8_t)(bits >> held);
        }
    }
    return (bits & ((1u << held) - 1)) == 0;
}
