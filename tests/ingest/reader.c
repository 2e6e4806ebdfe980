#include "tests/ingest/reader.h"

#include "base/clock.h"

static int64_t start_of(void *context, int topic, int32_t partition)
{
    const struct reader *reader = context;
    return reader->start[topic][partition];
}

void reader_init(struct reader *reader)
{
    memset(reader, 0, sizeof *reader);
    memset(reader->start, 0xff, sizeof reader->start);
    memset(reader->next, 0xff, sizeof reader->next);
}

void reader_open(struct reader *reader, struct cluster *cluster, const char *const *topics, int n)
{
    struct err err = ERR_INIT;
    const struct ingest_follow_options options = {.topics = topics,
                                                  .n_topics = n,
                                                  .batch_max = 16,
                                                  .timeout_ms = 10000,
                                                  .waits_for_open = reader->waits_for_open,
                                                  .start = start_of,
                                                  .context = reader};
    CHECK_OK(ingest_follow_open(&reader->follow, &cluster->config, &options, &err), err);
}

static void record_see(struct reader *reader, const struct ingest_follow_record *record)
{
    int64_t *next = &reader->next[record->topic][record->partition];
    if (record->kind == FOLLOW_RESTART) {
        reader->restarts++;
        reader->taken_before_restart = reader->total;
        *next = -1;
        return;
    }
    if (*next >= 0 && reader->has_holes) CHECK(record->offset >= *next);
    if (*next >= 0 && !reader->has_holes) CHECK_INT(record->offset, *next);
    *next = record->offset + 1;
    reader->total++;
    reader->tombstones += record->value.ptr == NULL;
}

static void reader_poll(struct reader *reader, int timeout_ms)
{
    struct err err = ERR_INIT;
    struct ingest_follow_batch batch;
    CHECK_OK(ingest_follow_poll(reader->follow, timeout_ms, &batch, &err), err);
    for (int i = 0; i < batch.n; i++)
        record_see(reader, &batch.records[i]);
    sync_int_set_release(&reader->applied, reader->total);
    ingest_follow_release(reader->follow, &batch);
}

void reader_take(struct reader *reader, int n)
{
    uint64_t until = clock_mono_ns() + 10000000000u;
    while ((reader->total < n || !ingest_follow_is_caught_up(reader->follow)) &&
           clock_mono_ns() < until)
        reader_poll(reader, 50);
    reader_poll(reader, 100);
    CHECK_INT(reader->total, n);
}

static void reader_run(void *context)
{
    struct reader *reader = context;
    while (!flag_is_raised(&reader->stop))
        reader_poll(reader, 1000);
}

void reader_start(struct reader *reader)
{
    struct err err = ERR_INIT;
    CHECK_OK(thread_start(&reader->thread, "reader", reader_run, reader, &err), err);
}

void reader_stop(struct reader *reader)
{
    flag_raise(&reader->stop);
    ingest_follow_wake(reader->follow);
    thread_join(&reader->thread);
}

void reader_close(struct reader *reader)
{
    ingest_follow_close(reader->follow);
    reader->follow = NULL;
}
