#ifndef APP_MODELS_H
#define APP_MODELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model.h"

/* The model in use, and the one that takes its place when the model folder changes.
 *
 *   own thread   look at the folder -> changed, and settled -> load, check --ok--> newest     (a bad one is logged, and gone)
 *   each shard   between two epochs: a newer one? -> take it, let go of the one before
 *   own thread   the one before, let go by all -> freed
 *
 * A shard only moves a reference: files, the item index and the catalogue of a large model cost their seconds on the own
 * thread, and so does freeing them. Nothing waits for anything here, but both models are in memory meanwhile.
 *
 * Invariant: a model is freed when it is not the newest and nobody holds it. */
struct models;

struct models_options {
    const char *folder;
    int64_t interval_ms; /* between two looks at the folder; 0: only models_reload looks */
};

struct models_counts {
    int64_t loaded;  /* models that took the place of another */
    int64_t refused; /* loads that failed */
};

/* Loads the first model and starts the thread. Copies the options' texts. Errors: ERR_FATAL exit 6, as model_load. */
MUST_USE bool models_open(struct models **models, const struct models_options *options,
                          struct err *err);
/* Everybody has let go. NULL is fine. */
void models_close(struct models *models);

/* Loads the folder now, changed or not. Any thread; returns at once. */
void models_reload(struct models *models);
struct models_counts models_counts(const struct models *models); /* any thread */

/* The newest model, held until models_release. Any thread. */
const struct model *models_take(struct models *models);
void models_release(struct models *models, const struct model *model);
/* There is a newer one than `model`. One load: cheap enough for every round of a shard. Any thread. */
bool models_has_newer(const struct models *models, const struct model *model);

#endif
