/* A file of `freshet train --resume`: it fills the pieces or is refused with exit 2. The first byte says whether the file's checksum is
 * made to fit, without which nothing is read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "train/checkpoint.h"

/* LINK: libxxhash */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IS_SUMMED = 1, SIZE_AT = 16, HEADER = 24, PATH_BYTES = 64, FILE_MAX = 4096 };

static size_t file_make(const uint8_t *data, size_t size, uint8_t *bytes)
{
    size_t n = size - 1;
    memcpy(bytes, data + 1, n);
    if (!(data[0] & IS_SUMMED) || n < HEADER) return n;
    uint64_t whole = n + sizeof(uint64_t);
    memcpy(bytes + SIZE_AT, &whole, sizeof whole);
    uint64_t digest = XXH3_64bits(bytes, n);
    memcpy(bytes + n, &digest, sizeof digest);
    return n + sizeof digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_MAX + sizeof(uint64_t)];
    char path[PATH_BYTES];
    float weights[3];
    int64_t step;
    const struct train__piece pieces[] = {{weights, sizeof weights}, {&step, sizeof step}};
    struct err err = ERR_INIT;
    if (size == 0 || size > FILE_MAX) return 0;
    size_t n = file_make(data, size, bytes);
    (void)snprintf(path, sizeof path, "/tmp/freshet-checkpoint-fuzz-%ld", (long)getpid());
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) abort();
    if (!train__checkpoint_read(path, STR("seed 1\nlr 0.1\n"), pieces, 2, &err) &&
        (err.exit_code != ERR_EXIT_USAGE || err.text[0] == '\0'))
        abort();
    (void)unlink(path);
    return 0;
}
