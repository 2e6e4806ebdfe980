/* Fuzz target: any bytes as a safetensors file are parsed or refused; entries of a parsed one lie inside. */

#include <stdlib.h>

#include "model/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model__tensor_entry table[MODEL_MAX_PARAMS];
    struct err err = ERR_INIT;
    int n = 0;
    struct str bytes = {(const char *)data, size};
    if (!model__safetensors_parse(bytes, table, MODEL_MAX_PARAMS, &n, &err)) {
        if (err.class != ERR_FATAL || err.exit_code != ERR_EXIT_MODEL) abort();
        return 0;
    }
    uint64_t covered = 0;
    for (int i = 0; i < n; i++) {
        uint64_t count = 1;
        for (int d = 0; d < table[i].n_dims; d++)
            count *= (uint64_t)table[i].dims[d];
        if (table[i].end > size || table[i].end - table[i].begin != 4 * count) abort();
        covered += table[i].end - table[i].begin;
    }
    if (covered > size - 8) abort();
    return 0;
}
