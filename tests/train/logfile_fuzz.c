/* Fuzz target: any bytes as any of the four log file formats. The first byte picks the format. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "train/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    char path[64];
    (void)snprintf(path, sizeof path, "/tmp/freshet-logfile-fuzz-%ld", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f) abort();
    if (fwrite(data + 1, 1, size - 1, f) != size - 1 || fclose(f) != 0) abort();
    struct err err = ERR_INIT;
    struct log_reader *reader = NULL;
    enum log_format_kind kind = (enum log_format_kind)(data[0] % 4);
    const char *map =
        data[0] & 4 && kind == LOGFILE_EVENTS ? "user=u|v,item=i,time=t,type==x" : NULL;
    if (!log_reader_open(&reader, path, kind, map, &err)) {
        if (err.class != ERR_FATAL) abort();
        (void)unlink(path);
        return 0;
    }
    struct log_row row;
    uint64_t rows = 0;
    while (log_reader_next(reader, &row, &err) || err.class == ERR_DATA) {
        if (err.class == ERR_NONE && (row.user.len == 0 || row.item.len == 0)) abort();
        /* Each row takes at least one byte of what zlib can unpack. */
        if (++rows > size * 1100 + 1) abort();
    }
    log_reader_close(reader);
    (void)unlink(path);
    return 0;
}
