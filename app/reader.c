/* A thread that reads topics whole and follows them. */
#include "app/reader.h"

#include "base/mem.h"
#include "base/sync.h"

enum { POLL_MS = 200 };

struct reader {
    struct reader_options options;
    struct ingest_follow *follow;
    struct thread thread;
    bool is_started;
    struct sync_int is_stopping;
    struct mutex mutex;
    struct err err; /* why it ended; guarded by mutex */
};

static bool follow_once(struct reader *reader, struct err *err)
{
    struct ingest_follow_batch batch;
    if (!ingest_follow_poll(reader->follow, POLL_MS, &batch, err)) return false;
    bool ok = batch.n == 0 || reader->options.apply(reader->options.context, reader, &batch, err);
    ingest_follow_release(reader->follow, &batch);
    return ok;
}

static void reader_run(void *context)
{
    struct reader *reader = context;
    struct err err = ERR_INIT;
    while (!reader_is_stopping(reader) && follow_once(reader, &err))
        continue;
    if (err.class == ERR_NONE) return;
    mutex_lock(&reader->mutex);
    reader->err = err;
    mutex_unlock(&reader->mutex);
}

bool reader_open(struct reader **out, const struct reader_options *options, struct err *err)
{
    struct reader *reader = mem_zalloc(sizeof *reader);
    struct ingest_follow_options follow = {.topics = options->topics,
                                           .n_topics = options->n_topics,
                                           .batch_max = options->batch_max,
                                           .timeout_ms = options->timeout_ms};
    reader->options = *options;
    mutex_init(&reader->mutex);
    bool ok = ingest_follow_open(&reader->follow, options->kafka, &follow, err);
    while (ok && !ingest_follow_is_caught_up(reader->follow))
        ok = follow_once(reader, err);
    if (ok)
        ok = reader->is_started =
            thread_start(&reader->thread, options->name, reader_run, reader, err);
    if (ok)
        *out = reader;
    else
        reader_close(reader);
    return ok;
}

void reader_close(struct reader *reader)
{
    if (!reader) return;
    if (reader->is_started) {
        sync_int_set_release(&reader->is_stopping, 1);
        ingest_follow_wake(reader->follow);
        thread_join(&reader->thread);
    }
    ingest_follow_close(reader->follow);
    mutex_fini(&reader->mutex);
    mem_free(reader);
}

bool reader_is_stopping(const struct reader *reader)
{
    return sync_int_get_acquire(&reader->is_stopping) != 0;
}

bool reader_check(struct reader *reader, struct err *err)
{
    mutex_lock(&reader->mutex);
    bool ok = reader->err.class == ERR_NONE;
    if (!ok) *err = reader->err;
    mutex_unlock(&reader->mutex);
    return ok;
}

bool reader_confirm(struct reader *reader, int timeout_ms, struct err *err)
{
    return reader_check(reader, err) && ingest_follow_confirm(reader->follow, timeout_ms, err);
}

int64_t reader_lag(struct reader *reader)
{
    return ingest_follow_lag(reader->follow);
}
