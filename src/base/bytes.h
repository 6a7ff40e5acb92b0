/* Views of bytes, and the byte orders of Kafka's protocol.
 *
 * `struct slice` and `struct str` borrow: they never own what they point to. A null slice or
 * string has data == NULL; an empty one has data != NULL and len == 0. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

struct str {
    const char *data;
    size_t len;
};

/* A Kafka uuid: 16 bytes in network order. */
struct uuid {
    uint8_t bytes[16];
};

#define UUID_ZERO ((struct uuid){{0}})

/* printf arguments for "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).data ? (s).data : ""
/* A view of a string literal. */
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NULL     ((struct str){NULL, 0})
#define SLICE_NULL   ((struct slice){NULL, 0})
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline struct str str_of(const char *cstr)
{
    return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool str_is_null(struct str s)
{
    return s.data == NULL;
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.data == NULL) == (b.data == NULL) &&
           (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool str_ends_with(struct str s, struct str end)
{
    return s.len >= end.len && str_eq((struct str){s.data + s.len - end.len, end.len}, end);
}

static inline bool str_eq_cstr(struct str a, const char *b)
{
    return str_eq(a, str_of(b));
}

/* Byte order of strcmp; a shorter prefix comes first. */
static inline int str_cmp(struct str a, struct str b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){data, len};
}

static inline bool uuid_eq(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

static inline bool uuid_is_zero(struct uuid a)
{
    return uuid_eq(a, UUID_ZERO);
}

/* Big-endian loads and stores at any alignment. */
static inline uint16_t be16_load(const void *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t be32_load(const void *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t be64_load(const void *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return __builtin_bswap64(v);
}

/* In the order of their bytes: negative, zero or positive. */
static inline int uuid_compare(struct uuid a, struct uuid b)
{
    uint64_t x = be64_load(a.bytes), y = be64_load(b.bytes);
    if (x == y) {
        x = be64_load(a.bytes + sizeof(x));
        y = be64_load(b.bytes + sizeof(y));
    }
    return (x > y) - (x < y);
}

static inline void be16_store(void *at, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(at, &v, sizeof(v));
}

static inline void be32_store(void *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof(v));
}

static inline void be64_store(void *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof(v));
}

/* Variable-length integers, as in protobuf: seven bits a byte, least significant group first.
 * A load reads at most `len` bytes and returns how many it took, or 0 where the number ends early
 * or is longer than its type; a store returns how many it wrote. */
#define VARINT32_BYTES_MAX 5
#define VARINT64_BYTES_MAX 10

size_t uvarint32_load(const uint8_t *at, size_t len, uint32_t *v);
size_t uvarint64_load(const uint8_t *at, size_t len, uint64_t *v);
size_t uvarint32_store(uint8_t *at, uint32_t v);
size_t uvarint64_store(uint8_t *at, uint64_t v);
size_t uvarint32_size(uint32_t v);
size_t uvarint64_size(uint64_t v);

/* ZigZag: small magnitudes of either sign become small unsigned numbers. */
static inline uint32_t zigzag32_encode(int32_t v)
{
    return ((uint32_t)v << 1) ^ (uint32_t)(v >> 31);
}

static inline int32_t zigzag32_decode(uint32_t v)
{
    return (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
}

static inline uint64_t zigzag64_encode(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t zigzag64_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Kafka prints uuids in URL-safe base64 without padding: 22 characters. */
#define UUID_TEXT_LEN 22
void uuid_format(struct uuid id, char text[UUID_TEXT_LEN + 1]);
/* False unless the text is exactly such a uuid. */
bool uuid_parse(struct str text, struct uuid *id);

#endif
