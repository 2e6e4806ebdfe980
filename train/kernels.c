/* The inner loops of training for AVX-512, AVX2 and plain C: kernels_simd.h three times, on vectors of 16 floats that the
 * compiler maps to the registers there are. */
#include "train/kernels.h"

#include <math.h>
#include <string.h>

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef uint32_t v16w __attribute__((vector_size(64)));
typedef float v16_at __attribute__((vector_size(64), aligned(4), may_alias));

/* Macros, since a function that takes or returns such a vector has another ABI in each instruction set. */
#define LOAD(ptr)          ((v16) * (const v16_at *)(ptr))
#define STORE(ptr, value)  (*(v16_at *)(ptr) = (value))
#define SELECT(mask, a, b) ((v16)(((v16i)(a) & (v16i)(mask)) | ((v16i)(b) & ~(v16i)(mask))))
#define splat(value)       ((v16){0} + (value))
#define SUM(v)                                                                                     \
    ((((v)[0] + (v)[8]) + ((v)[4] + (v)[12])) + (((v)[2] + (v)[10]) + ((v)[6] + (v)[14])) +        \
     ((((v)[1] + (v)[9]) + ((v)[5] + (v)[13])) + (((v)[3] + (v)[11]) + ((v)[7] + (v)[15]))))

/* v = exp(v), v a v16 variable, at least -87. 2^k times a polynomial in what is left, |left| <= ln2 / 2 (Cephes expf); k is read from
 * the low bits of a float to which 1.5 * 2^23 was added. Error below 2 units of the last place. */
#define EXP(v)                                                                                     \
    do {                                                                                           \
        v16 x_ = SELECT((v) < -87.0f, splat(-87.0f), (v));                                         \
        v16 k_ = x_ * 1.44269504f + 12582912.0f;                                                   \
        v16i bits_ = (v16i)k_ << 23;                                                               \
        k_ -= 12582912.0f;                                                                         \
        x_ = x_ - k_ * 0.693359375f + k_ * 2.12194440e-4f;                                         \
        v16 y_ = ((((1.9875691500e-4f * x_ + 1.3981999507e-3f) * x_ + 8.3334519073e-3f) * x_ +     \
                   4.1665795894e-2f) *                                                             \
                      x_ +                                                                         \
                  1.6666665459e-1f) *                                                              \
                     x_ +                                                                          \
                 5.0000001201e-1f;                                                                 \
        y_ = y_ * x_ * x_ + x_ + 1.0f;                                                             \
        (v) = (v16)((v16i)y_ + bits_);                                                             \
    } while (0)

#define KERNEL
#define NAMED(x)   x##_plain
#define KERNEL_SET "plain"
#include "train/kernels_simd.h"

#ifdef __x86_64__
#define KERNEL     __attribute__((target("avx2,fma")))
#define NAMED(x)   x##_avx2
#define KERNEL_SET "avx2"
#include "train/kernels_simd.h"

#define KERNEL     __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define NAMED(x)   x##_avx512
#define KERNEL_SET "avx512"
#include "train/kernels_simd.h"
#endif

int train__kernels_all(const struct train__kernels *tables[TRAIN__KERNELS_MAX])
{
    int n = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        tables[n++] = &table_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables[n++] = &table_avx2;
#endif
    tables[n++] = &table_plain;
    return n;
}

const struct train__kernels *train__kernels_best(void)
{
    const struct train__kernels *tables[TRAIN__KERNELS_MAX];
    (void)train__kernels_all(tables);
    return tables[0];
}
