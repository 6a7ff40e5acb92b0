/* A keyed multiply-fold hash for tables, and Kafka's murmur2.
 *
 * The table hash folds 128-bit products, as wyhash does: each 16 bytes of input are xor-ed with
 * secrets derived from the seed and multiplied; the two halves of the product are xor-ed. */
#include "base/hash.h"

#define SECRET_0 UINT64_C(0xa0761d6478bd642f)
#define SECRET_1 UINT64_C(0xe7037ed1a0b428db)
#define SECRET_2 UINT64_C(0x8ebc6af09c88c6e3)

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t le64_load(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return v;
}

/* The last 0..15 bytes as two words, without reading past them. */
static void tail_load(const uint8_t *at, size_t len, uint64_t *a, uint64_t *b)
{
    uint8_t bytes[16] = {0};
    if (len > 0)
        memcpy(bytes, at, len);
    *a = le64_load(bytes);
    *b = le64_load(bytes + 8);
}

uint64_t hash_u64(uint64_t seed, uint64_t v)
{
    return fold(fold(v ^ seed ^ SECRET_0, seed ^ SECRET_1), SECRET_2 ^ v);
}

uint64_t hash_slice(uint64_t seed, struct slice s)
{
    const uint8_t *at = s.data;
    size_t left = s.len;
    uint64_t hash = fold(seed ^ SECRET_0, SECRET_2);
    for (; left >= 16; at += 16, left -= 16)
        hash = fold(le64_load(at) ^ SECRET_1 ^ seed, le64_load(at + 8) ^ hash);
    uint64_t a, b;
    tail_load(at, left, &a, &b);
    hash = fold(a ^ SECRET_1 ^ seed, b ^ hash);
    return fold(hash ^ SECRET_2, (uint64_t)s.len ^ SECRET_0);
}

uint32_t murmur2(struct slice s)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28cu ^ (uint32_t)s.len;
    const uint8_t *at = s.data;
    size_t left = s.len;
    for (; left >= 4; at += 4, left -= 4) {
        uint32_t k;
        memcpy(&k, at, sizeof(k));
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = h * m ^ k;
    }
    if (left >= 3)
        h ^= (uint32_t)at[2] << 16;
    if (left >= 2)
        h ^= (uint32_t)at[1] << 8;
    if (left >= 1)
        h = (h ^ at[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}
