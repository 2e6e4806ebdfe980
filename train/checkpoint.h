#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "base/buf.h"
#include "train/plan.h"

/* What an interrupted run needs to go on to the same bits, as a file. (checkpoint.c) */

/* Memory that is stored as it is. */
struct train__piece {
    void *bytes;
    size_t n;
};

/* What a run's result depends on: a line "name value" for each option, then for the data, each ended by '\n'. Not in it: threads, tenant, version. */
void train__settings(const struct train_options *options, const struct train__plan *plan,
                     struct buf *settings);
/* Replaces the file at path, or leaves it as it is and fails.
 * Errors: as train__outfile_finish. */
MUST_USE bool train__checkpoint_write(const char *path, struct str settings,
                                      const struct train__piece *pieces, int n, struct err *err);
/* Fills the pieces. Nothing in the file is believed before its checksum is.
 * Errors: ERR_FATAL exit 2: unreadable; cut short, changed, or of another format; of other settings (the text says which). The
 * pieces may then hold anything. */
MUST_USE bool train__checkpoint_read(const char *path, struct str settings,
                                     const struct train__piece *pieces, int n, struct err *err);

#endif
