/* A file written beside its place. */
#include "train/outfile.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool failed(const struct train__outfile *file, int why, struct err *err)
{
    bool is_full = why == ENOSPC || why == EDQUOT;
    return err_fatal(err, is_full ? ERR_EXIT_DISK : ERR_EXIT_USAGE, "cannot write %s: %s",
                     file->path, strerror(why));
}

bool train__outfile_open(struct train__outfile *file, const char *path, struct err *err)
{
    file->path = path;
    int n = snprintf(file->part, sizeof file->part, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof file->part) return failed(file, ENAMETOOLONG, err);
    file->stream = fopen(file->part, "wb");
    return file->stream != NULL || failed(file, errno, err);
}

bool train__outfile_finish(struct train__outfile *file, struct err *err)
{
    errno = EIO; /* for an error that was met long before and left no errno */
    bool ok =
        !ferror(file->stream) && fflush(file->stream) == 0 && fsync(fileno(file->stream)) == 0;
    int why = errno;
    if (fclose(file->stream) != 0 && ok) {
        ok = false;
        why = errno;
    }
    if (ok && rename(file->part, file->path) != 0) {
        ok = false;
        why = errno;
    }
    if (ok) return true;
    (void)unlink(file->part);
    return failed(file, why, err);
}
