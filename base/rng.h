#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* A small random generator whose seed is an argument (xoshiro256**, Blackman and Vigna 2018, seeded by splitmix64).
 * Not for secrets. Thread: one owner. */
struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_u64(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n); /* 0 .. n-1, no bias; n > 0 */
double rng_unit(struct rng *rng);                /* [0, 1) */
double rng_normal(struct rng *rng);              /* mean 0, deviation 1 (Box and Muller 1958) */
double rng_exponential(struct rng *rng);         /* mean 1 */

#endif
