/* Which kernels this processor runs. */

#include "model/internal.h"

#include <stdlib.h>
#include <string.h>

#include "model/kernels.h"

const struct model__kernels *model__kernels_named(const char *name)
{
    if (strcmp(name, "plain") == 0) return &model__kernels_plain;
#ifdef __x86_64__
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma"))
        return &model__kernels_avx2;
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        return &model__kernels_avx512;
#endif
    return NULL;
}

void model__pack(int n, int m, const float *W, float *packed)
{
    for (int tile = 0; tile < m; tile += MODEL__TILE) {
        int width = m - tile < MODEL__TILE ? m - tile : MODEL__TILE;
        for (int k = 0; k < n; k++, packed += width)
            memcpy(packed, W + (size_t)k * (size_t)m + tile, (size_t)width * sizeof *packed);
    }
}

const struct model__kernels *model__kernels_best(void)
{
    static const char *const order[] = {"avx512", "avx2", "plain"};
    const char *wish = getenv("FRESHET_KERNELS");
    const struct model__kernels *kernels = wish != NULL ? model__kernels_named(wish) : NULL;
    for (size_t i = 0; kernels == NULL; i++)
        kernels = model__kernels_named(order[i]);
    return kernels;
}
