/* xoshiro256** and what is drawn from it. */
#include "base/rng.h"

#include <math.h>

/* splitmix64 (Steele, Lea, Flood 2014): spreads a seed, be it 0 or 1, over the four words of state, which must not all be
 * zero. */
static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_init(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix(&seed);
}

/* Rotation to the left; compilers make one instruction of it. */
static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
    /* Numbers at or over the largest multiple of n are drawn again, else small results would come more often. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do
        x = rng_u64(rng);
    while (x >= limit);
    return x % n;
}

double rng_unit(struct rng *rng)
{
    /* The top 53 bits are what a double holds exactly. */
    return (double)(rng_u64(rng) >> 11) * 0x1.0p-53;
}

double rng_normal(struct rng *rng)
{
    /* 1 - [0, 1) is (0, 1]: the logarithm is finite. The second number that the method gives is thrown away: keeping it
     * would be state beside the generator. */
    double u = 1.0 - rng_unit(rng), v = rng_unit(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

double rng_exponential(struct rng *rng)
{
    return -log(1.0 - rng_unit(rng));
}
