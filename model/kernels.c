/* Which kernels this processor runs. */

#include "model/internal.h"

#include <stdlib.h>
#include <string.h>

#include "model/kernels.h"

#ifdef __x86_64__

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static const struct model__kernels *x86_named(const char *name, int D)
{
    if (strcmp(name, "avx2") == 0 && has_avx2()) return &model__kernels_avx2;
    if (strcmp(name, "avx512") == 0 && has_avx512()) return &model__kernels_avx512;
#ifdef __linux__
    /* A tile register holds 64 elements of a vector. */
    bool suits = D <= 64 || D % 64 == 0;
    if (strcmp(name, "amx") == 0 && suits && has_avx512() && model__has_amx())
        return &model__kernels_amx;
#endif
    return NULL;
}

#endif

const struct model__kernels *model__kernels_named(const char *name, int D)
{
    (void)D;
    if (strcmp(name, "plain") == 0) return &model__kernels_plain;
#ifdef __x86_64__
    return x86_named(name, D);
#else
    return NULL;
#endif
}

const struct model__kernels *model__kernels_best(int D)
{
    static const char *const order[] = {"amx", "avx512", "avx2", "plain"};
    const char *wish = getenv("FRESHET_KERNELS");
    const struct model__kernels *kernels = wish != NULL ? model__kernels_named(wish, D) : NULL;
    for (size_t i = 0; kernels == NULL; i++)
        kernels = model__kernels_named(order[i], D);
    return kernels;
}

void model__pack(int n, int m, const float *W, float *packed)
{
    for (int tile = 0; tile < m; tile += MODEL__TILE) {
        int width = m - tile < MODEL__TILE ? m - tile : MODEL__TILE;
        for (int k = 0; k < n; k++, packed += width)
            memcpy(packed, W + (size_t)k * (size_t)m + tile, (size_t)width * sizeof *packed);
    }
}
