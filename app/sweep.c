/* Topics read once. */
#include "app/sweep.h"

enum { POLL_MS = 200 };

bool sweep(const struct kafka_config *kafka, const struct ingest_follow_options *options,
           bool (*visit)(void *context, const struct ingest_follow_batch *batch, struct err *err),
           void *context, struct err *err)
{
    struct ingest_follow *follow;
    bool ok = true, goes_on = true;
    if (!ingest_follow_open(&follow, kafka, options, err)) return false;
    while (ok && goes_on && !ingest_follow_is_caught_up(follow)) {
        struct ingest_follow_batch batch;
        ok = ingest_follow_poll(follow, POLL_MS, &batch, err);
        if (ok) goes_on = visit(context, &batch, err);
        ingest_follow_release(follow, &batch);
    }
    ingest_follow_close(follow);
    return ok && (goes_on || err->class == ERR_NONE);
}
