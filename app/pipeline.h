#ifndef APP_PIPELINE_H
#define APP_PIPELINE_H

#include "app/metrics.h"
#include "app/models.h"
#include "app/settings.h"
#include "app/tap.h"
#include "base/err.h"
#include "schemas/schemas.h"

/* The pipeline of one process: everything between the events topics and the lists topic, opened in this order
 *
 *   settings -> model -> cluster id, topics -> schemas -> rules, catalogue -> store -> producer -> shards -> consumer
 *
 * and closed in the reverse one. No loop of its own: the caller turns it from the main thread (app/loop.h). */
struct pipeline;

/* tap may be NULL. Errors: ERR_FATAL with the exit code of what is wrong. */
MUST_USE bool pipeline_open(struct pipeline **pipeline, const struct settings *settings,
                            struct tap *tap, struct err *err);

/* Main thread: failures of the group's thread and the shards, periodic duties. At least once a second and when the descriptor is
 * readable. It waits for nothing. Errors: ERR_FATAL, the first thing that failed. */
MUST_USE bool pipeline_serve(struct pipeline *pipeline, struct err *err);
int pipeline_event_fd(const struct pipeline *pipeline);

/* Everything that is counted, lag and memory as of this call. Main thread; lives until pipeline_close. */
const struct counters *pipeline_counters(struct pipeline *pipeline);
int pipeline_partitions(const struct pipeline *pipeline); /* assigned to us now, and begun */
/* Assigned, and brought to their newest point first: nothing of them is read yet. */
int pipeline_restoring(const struct pipeline *pipeline);
/* Events whose lists are there already are applied again (app/tail.h), or a lost transaction is: the process is not ready. */
bool pipeline_is_behind(const struct pipeline *pipeline);
const char *pipeline_model_version(const struct pipeline *pipeline); /* at the start; "none" */
/* Loads the rules file again, and the model folder on a thread of its own, changed or not. */
void pipeline_reload(struct pipeline *pipeline);
/* NULL: no model is configured. */
struct models *pipeline_models(const struct pipeline *pipeline);
struct rules_watch *pipeline_rules(const struct pipeline *pipeline); /* NULL: none */
struct state *pipeline_state(const struct pipeline *pipeline);
struct schemas *pipeline_schemas(const struct pipeline *pipeline);

/* Stops the shards: what is in flight is finished and written, bounded by task.timeout.ms. The numbers are final after it.
 * Errors: ERR_FATAL: something could not be finished; it is replayed at the next start. */
MUST_USE bool pipeline_finish(struct pipeline *pipeline, struct err *err);

/* Stops what still runs and frees everything. */
void pipeline_close(struct pipeline *pipeline);

#endif
