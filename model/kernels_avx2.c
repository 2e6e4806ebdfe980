/* The kernels in AVX2: a group of 16 floats is two registers. */

#include "model/internal.h"

#ifdef __x86_64__

#include <immintrin.h>

#define TARGET        "avx2,fma,popcnt"
#define GROUPS        1 /* 6 x 2 sums, 2 weights and an x: 15 of 16 registers */
#define ROWS          6
#define SCAN_GROUPS   1  /* 4 users x 2 registers of sums, 2 of a line, 1 of a user, 1 of ones */
#define USER_CODE_MAX 63 /* 2 * 255 * 63 < 2^15: the pairs of maddubs do not saturate */
#define KERNELS_NAME  "avx2"
#define KERNELS_TABLE model__kernels_avx2

typedef struct {
    __m256 low, high;
} v16;

typedef struct {
    __m256i low, high;
} i16;

#define V16 static inline __attribute__((always_inline, target(TARGET)))

V16 v16 v16_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

V16 void v16_store(float *p, v16 v)
{
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
}

V16 v16 v16_set1(float x)
{
    return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

V16 v16 v16_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

/* The operations of two operands differ in the instruction only. */
#define V16_BINARY(name, instruction)                                                              \
    V16 v16 v16_##name(v16 a, v16 b)                                                               \
    {                                                                                              \
        return (v16){instruction(a.low, b.low), instruction(a.high, b.high)};                      \
    }

V16_BINARY(mul, _mm256_mul_ps)
V16_BINARY(add, _mm256_add_ps)
V16_BINARY(sub, _mm256_sub_ps)
V16_BINARY(div, _mm256_div_ps)
V16_BINARY(min, _mm256_min_ps)
V16_BINARY(max, _mm256_max_ps)

V16 __m256 times_2(__m256 a, __m256 k)
{
    __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(k), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent));
}

V16 v16 v16_times_2(v16 a, v16 k)
{
    return (v16){times_2(a.low, k.low), times_2(a.high, k.high)};
}

V16 uint16_t v16_reaches(v16 a, v16 b)
{
    int low = _mm256_movemask_ps(_mm256_cmp_ps(a.low, b.low, _CMP_GE_OQ));
    int high = _mm256_movemask_ps(_mm256_cmp_ps(a.high, b.high, _CMP_GE_OQ));
    return (uint16_t)(low | high << 8);
}

V16 v16 v16_of_i16(i16 v)
{
    return (v16){_mm256_cvtepi32_ps(v.low), _mm256_cvtepi32_ps(v.high)};
}

V16 i16 i16_load(const uint8_t *p)
{
    return (i16){_mm256_loadu_si256((const __m256i *)(const void *)p),
                 _mm256_loadu_si256((const __m256i *)(const void *)(p + 32))};
}

V16 i16 i16_set1(int32_t x)
{
    return (i16){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}

V16 __m256i dot4(__m256i sum, __m256i bytes, __m256i user)
{
    __m256i pairs = _mm256_maddubs_epi16(bytes, user);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

V16 i16 i16_dot4(i16 sum, i16 bytes, i16 user)
{
    return (i16){dot4(sum.low, bytes.low, user.low), dot4(sum.high, bytes.high, user.high)};
}

V16 int u8_count_larger(const uint64_t *key, int n, uint64_t than)
{
    int larger = 0;
    for (int i = 0; i < n; i++)
        larger += key[i] > than;
    return larger;
}

/* Lanes l and l+8, l and l+4, l and l+2, l and l+1. */
V16 float v16_sum(v16 v)
{
    __m256 half = _mm256_add_ps(v.low, v.high);
    __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

#include "model/kernels_simd.h"

#endif
