/* Which kernels this processor runs. */

#include "model/internal.h"

#include <stdlib.h>
#include <string.h>

const struct model__kernels *model__kernels_named(const char *name)
{
    if (strcmp(name, "plain") == 0) return &model__kernels_plain;
    return NULL;
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
