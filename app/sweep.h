#ifndef APP_SWEEP_H
#define APP_SWEEP_H

#include <stdbool.h>

#include "base/err.h"
#include "ingest/follow.h"
#include "kafka/kafka.h"

/* Reads topics once, to the end that they have at the start, for verbs that look something up. Records of a partition come in
 * offset order; some that came meanwhile may be among them. visit gets them in batches of options->batch_max at most, and an empty
 * one when nothing came for a while; false ends it, with err when its class is set.
 * Errors: as ingest_follow_open and ingest_follow_poll, and those of visit. */
MUST_USE bool sweep(const struct kafka_config *kafka, const struct ingest_follow_options *options,
                    bool (*visit)(void *context, const struct ingest_follow_batch *batch,
                                  struct err *err),
                    void *context, struct err *err);

enum { SWEEP_BATCH = 1000, SWEEP_TIMEOUT_MS = 15000 };

#endif
