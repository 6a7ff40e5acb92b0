/* Pseudo-random numbers from a seed: the same seed gives the same stream on every machine.
 *
 * For simulation, jitter, sampling and map seeds; not for secrets. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_u64(struct rng *rng);
/* Uniform in [0, n), without bias; n > 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);
/* Uniform in [min, max], both ends included. */
int64_t rng_range(struct rng *rng, int64_t min, int64_t max);
/* True `num` times out of `den`; num <= den, den > 0. */
bool rng_chance(struct rng *rng, uint64_t num, uint64_t den);
void rng_bytes(struct rng *rng, void *to, size_t len);

#endif
