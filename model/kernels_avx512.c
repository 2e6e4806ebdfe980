/* The kernels in AVX-512: a group of 16 floats is one register. And the scan in AMX, where one
 * instruction multiplies 16 users by 16 items: it takes about a third of the time (bench/model_bench.c). */

#define _DEFAULT_SOURCE /* syscall; NOLINT(bugprone-reserved-identifier): the name is libc's */

#include "model/internal.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

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
#define v16_times_2(a, k)                                                                          \
    _mm512_castsi512_ps(                                                                           \
        _mm512_add_epi32(_mm512_castps_si512(a), _mm512_slli_epi32(_mm512_castps_si512(k), 23)))

#define v16_reaches(a, b) ((uint16_t)_mm512_cmp_ps_mask((a), (b), _CMP_GE_OQ))
#define v16_of_i16        _mm512_cvtepi32_ps

#define i16_load _mm512_loadu_si512
#define i16_set1 _mm512_set1_epi32
#define i16_dot4 _mm512_dpbusd_epi32

static inline __attribute__((always_inline, target(TARGET))) int
u8_count_larger(const uint64_t *key, int n, uint64_t than)
{
    __mmask8 valid = (__mmask8)(255u >> (8 - n));
    __m512i keys = _mm512_maskz_loadu_epi64(valid, key);
    return __builtin_popcount(_mm512_cmpgt_epu64_mask(keys, _mm512_set1_epi64((int64_t)than)));
}

/* Lanes l and l+8, l and l+4, l and l+2, l and l+1. */
static inline __attribute__((always_inline, target(TARGET))) float v16_sum(v16 v)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

#include "model/kernels_simd.h"

/* ---- the scan in AMX ---- */

#ifdef __linux__

enum {
    AMX_USERS = 16,                 /* rows of a tile register */
    AMX_WORTH = 3,                  /* for fewer users the vector scan is faster */
    AMX_CHUNK = 64,                 /* elements of a vector in one tile register */
    REQUEST_PERMISSION = 0x1023,    /* ARCH_REQ_XCOMP_PERM of arch_prctl(2) */
    TILE_DATA = 18,                 /* its number for the tile registers */
    CPUID_TILE_AND_INT8 = 3u << 24, /* in edx of leaf 7 */
};

#define AMX static __attribute__((target(TARGET ",amx-tile,amx-int8")))

/* Tile registers: 0 users, 1 items, 2 sums. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Every tile register has 16 rows of 64 bytes, but for vectors shorter than 64: these fill their rows less
 * far, and their items have fewer lines. */
AMX void amx_begin(int D, int B)
{
    if (B < AMX_WORTH) return;
    int width = D < AMX_CHUNK ? D : AMX_CHUNK;
    struct tile_config config = {.palette = 1,
                                 .row_bytes = {(uint16_t)width, 64, 64},
                                 .rows = {AMX_USERS, (uint8_t)(width / 4), AMX_USERS}};
    _tile_loadconfig(&config);
}

AMX void amx_end(int B)
{
    if (B >= AMX_WORTH) _tile_release();
}

/* What the users of one call bring, as the tile registers load it. */
struct amx_users {
    int8_t codes[1024 / AMX_CHUNK][AMX_USERS][AMX_CHUNK]; /* chunk by chunk */
    int32_t start[AMX_USERS][16];                         /* each in all lanes */
    int32_t sum[AMX_USERS][16];                           /* result of one group of items */
};

AMX void amx_gather(int D, int n, const struct model__scan_user *user, struct amx_users *gathered)
{
    for (int u = 0; u < n; u++) {
        for (int j = 0; j < D; j += AMX_CHUNK)
            memcpy(gathered->codes[j / AMX_CHUNK][u], user[u].codes + j,
                   (size_t)(D < AMX_CHUNK ? D : AMX_CHUNK));
        _mm512_storeu_si512(gathered->start[u], _mm512_set1_epi32(user[u].start));
    }
}

/* sum (AMX_USERS,16) of one group of items for all users. Rows of users that are not there hold anything. */
AMX inline __attribute__((always_inline)) void amx_group(int D, const uint8_t *group,
                                                         struct amx_users *users)
{
    _tile_loadd(2, users->start, 64);
    for (int j = 0; j < D; j += AMX_CHUNK) {
        _tile_loadd(0, users->codes[j / AMX_CHUNK], AMX_CHUNK);
        _tile_loadd(1, group + (size_t)j * 16, 64);
        _tile_dpbsud(2, 0, 1);
    }
    _tile_stored(2, users->sum, 64);
}

INLINE v16 amx_approx(const struct amx_users *users, int u, v16 scale, float user_scale, v16 bias)
{
    v16 sum = v16_of_i16(i16_load(users->sum[u]));
    return v16_fma(v16_mul(sum, scale), v16_set1(user_scale), bias);
}

AMX void amx_scan_scores(int D, const struct model__scan_tile *tile, int n,
                         const struct model__scan_user *user, float *approx)
{
    if (n < AMX_WORTH) {
        scan_scores(D, tile, n, user, approx);
        return;
    }
    struct amx_users users;
    amx_gather(D, n, user, &users);
    for (int i = 0; i < MODEL__SCAN_TILE; i += 16) {
        amx_group(D, tile->codes + (size_t)i * (size_t)D, &users);
        v16 scale = v16_load(tile->scale + i), bias = v16_load(tile->bias + i);
        for (int u = 0; u < n; u++)
            v16_store(approx + u * MODEL__SCAN_TILE + i,
                      amx_approx(&users, u, scale, user[u].scale, bias));
    }
}

AMX void amx_scan_hits(int D, const struct model__scan_tile *tile, int n,
                       const struct model__scan_user *user, uint16_t *hits)
{
    if (n < AMX_WORTH) {
        scan_hits(D, tile, n, user, hits);
        return;
    }
    struct amx_users users;
    amx_gather(D, n, user, &users);
    for (int i = 0; i < MODEL__SCAN_TILE; i += 16) {
        amx_group(D, tile->codes + (size_t)i * (size_t)D, &users);
        v16 scale = v16_load(tile->scale + i), bias = v16_load(tile->bias + i);
        for (int u = 0; u < n; u++)
            hits[u * (MODEL__SCAN_TILE / 16) + i / 16] = v16_reaches(
                amx_approx(&users, u, scale, user[u].scale, bias), v16_set1(user[u].threshold));
    }
}

bool model__has_amx(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if ((d & CPUID_TILE_AND_INT8) != CPUID_TILE_AND_INT8) return false;
    /* For the whole process. The kernel refuses where the registers must not be used. */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

const struct model__kernels model__kernels_amx = {
    KERNELS_OF_TEMPLATE,        .name = "amx",           .scan_scores = amx_scan_scores,
    .scan_hits = amx_scan_hits, .scan_users = AMX_USERS, .scan_begin = amx_begin,
    .scan_end = amx_end,
};

#else

bool model__has_amx(void)
{
    return false;
}

#endif

#endif
