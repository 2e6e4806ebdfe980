#ifndef TRAIN_OUTFILE_H
#define TRAIN_OUTFILE_H

#include <stdio.h>

#include "base/err.h"

/* A file that is written beside its place and then moved into it, so that neither a reader nor a crash meets half of it.
 * (outfile.c) */
struct train__outfile {
    FILE *stream;
    const char *path; /* borrowed */
    char part[4096];  /* path and ".new", where the bytes go */
};

/* Errors: ERR_FATAL exit 7 for a full disk, else exit 2. */
MUST_USE bool train__outfile_open(struct train__outfile *file, const char *path, struct err *err);
/* Flushes to the disk and moves the file into its place; write errors since open come out here. On failure what was there before
 * stays, and nothing beside it. */
MUST_USE bool train__outfile_finish(struct train__outfile *file, struct err *err);

#endif
