/* The kernels in AVX-512: a group of 16 floats is one register. */

#include "model/internal.h"

#ifdef __x86_64__

#include <immintrin.h>

#define TARGET        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,avx2,popcnt"
#define GROUPS        4 /* 6 x 4 sums, 4 weights and an x: 29 of 32 registers */
#define ROWS          6
#define SCAN_GROUPS   4 /* 4 users x 4 sums, 4 lines and a user's bytes: 21 registers */
#define USER_CODE_MAX 127
#define KERNELS_NAME  "avx512"
#define KERNELS_TABLE model__kernels_avx512

typedef __m512 v16;
typedef __m512i i16;

#define v16_load      _mm512_loadu_ps
#define v16_store     _mm512_storeu_ps
#define v16_set1      _mm512_set1_ps
#define v16_fma       _mm512_fmadd_ps
#define v16_mul       _mm512_mul_ps
#define v16_add       _mm512_add_ps
#define v16_sub       _mm512_sub_ps
#define v16_div       _mm512_div_ps
#define v16_min(a, b) _mm512_min_ps((a), (b))
#define v16_max(a, b) _mm512_max_ps((a), (b))

#define v16_reaches(a, b) ((uint16_t)_mm512_cmp_ps_mask((a), (b), _CMP_GE_OQ))
#define v16_of_i16        _mm512_cvtepi32_ps

#define i16_load _mm512_loadu_si512
#define i16_set1 _mm512_set1_epi32
#define i16_dot4 _mm512_dpbusd_epi32

/* Lanes l and l+8, l and l+4, l and l+2, l and l+1. */
static inline __attribute__((always_inline, target(TARGET))) float v16_sum(v16 v)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

#include "model/kernels_simd.h"

#endif
