/* xoshiro256** by Blackman and Vigna, its state filled by splitmix64; see rng.h. */
#include "base/rng.h"

#include <string.h>

#include "base/assert.h"

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t v, unsigned bits)
{
    return (v << bits) | (v >> (64 - bits));
}

void rng_init(struct rng *rng, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        rng->state[i] = splitmix64(&seed);
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire's method: the high half of a 128-bit product, rejecting the few low halves that would
 * make some results likelier than others. */
uint64_t rng_below(struct rng *rng, uint64_t n)
{
    ASSERT(n > 0);
    unsigned __int128 product = (unsigned __int128)rng_u64(rng) * n;
    if ((uint64_t)product < n) {
        uint64_t reject_below = (0 - n) % n;
        while ((uint64_t)product < reject_below)
            product = (unsigned __int128)rng_u64(rng) * n;
    }
    return (uint64_t)(product >> 64);
}

int64_t rng_range(struct rng *rng, int64_t min, int64_t max)
{
    ASSERT(min <= max);
    uint64_t span = (uint64_t)max - (uint64_t)min + 1;
    uint64_t offset = span == 0 ? rng_u64(rng) : rng_below(rng, span);
    return (int64_t)((uint64_t)min + offset);
}

bool rng_chance(struct rng *rng, uint64_t num, uint64_t den)
{
    ASSERT(num <= den);
    return rng_below(rng, den) < num;
}

void rng_bytes(struct rng *rng, void *to, size_t len)
{
    uint8_t *at = to;
    while (len > 0) {
        uint64_t word = rng_u64(rng);
        size_t step = len < sizeof(word) ? len : sizeof(word);
        memcpy(at, &word, step);
        at += step;
        len -= step;
    }
}
