/* From topics to the view, and to whoever looks on. */
#include "app/mirror.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ring.h"
#include "base/sync.h"
#include "ingest/ingest.h"

enum {
    BATCH_MAX = 512,
    POLL_MS = 500,
    CONNECT_MS = 15000,
    WAITING = 256,
    RETRY_MS = 500,
    PURGE_PAUSE_MS = 300
};

struct mirror {
    struct mirror_options options;
    struct state_view *view;
    struct ingest_follow *follow;
    enum state_view_family families[VIEW_FAMILIES]; /* of each followed topic */
    struct thread thread;
    bool is_started;
    struct flag stop;
    struct flag failed;
    struct err failure; /* set before failed is raised */
    struct ring *
        changes; /* of struct mirror_change *: a block of changes, the first field of the block is their number */
    struct sync_int tell_all, records;
    int64_t purge_at_ms; /* not before; own thread */
};

/* Changes of one batch: head, then (n) changes, then their bytes. */
struct block {
    int n;
    struct mirror_change changes[BATCH_MAX];
};

/* ---- own thread ---- */

static struct str bytes_copy(char **at, struct str bytes)
{
    char *to = *at;
    if (!bytes.ptr) return bytes;
    memcpy(to, bytes.ptr, bytes.len);
    *at += bytes.len;
    return (struct str){to, bytes.len};
}

static bool is_told(const struct mirror *mirror, const struct ingest_follow_record *record)
{
    return mirror->families[record->topic] == VIEW_ITEMS || sync_int_get(&mirror->tell_all);
}

/* The batch's changes that somebody wants, in one block; NULL: none. */
static struct block *block_make(const struct mirror *mirror,
                                const struct ingest_follow_batch *batch)
{
    size_t bytes = 0;
    int n = 0;
    for (int i = 0; i < batch->n; i++)
        if (is_told(mirror, &batch->records[i])) {
            bytes += batch->records[i].key.len + batch->records[i].value.len;
            n++;
        }
    if (n == 0) return NULL;
    struct block *block = mem_alloc(sizeof *block + bytes);
    char *at = (char *)(block + 1);
    block->n = 0;
    for (int i = 0; i < batch->n && block->n < n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        if (!is_told(mirror, record)) continue;
        block->changes[block->n++] = (struct mirror_change){
            .kind = record->kind == FOLLOW_RESTART ? MIRROR_RELOAD : MIRROR_RECORD,
            .family = mirror->families[record->topic],
            .timestamp_ms = record->timestamp_ms,
            .key = bytes_copy(&at, record->key),
            .value = bytes_copy(&at, record->value)};
    }
    return block;
}

/* A full disk is waited for. */
static bool view_write(struct mirror *mirror, struct err *err)
{
    while (!state_view_write(mirror->view, err)) {
        if (err->class != ERR_RETRY || flag_is_raised(&mirror->stop)) return false;
        log_err(LOG_WARN, "app", err);
        err->class = ERR_NONE;
        sync_sleep_ms(RETRY_MS);
    }
    return true;
}

static bool record_apply(struct mirror *mirror, const struct ingest_follow_record *record,
                         struct err *err)
{
    enum state_view_family family = mirror->families[record->topic];
    /* What waits is written first, so that a full disk is waited for here as well. */
    if (record->kind == FOLLOW_RESTART)
        return view_write(mirror, err) &&
               state_view_forget(mirror->view, family, record->partition, err);
    const struct state_view_record row = {.family = family,
                                          .partition = record->partition,
                                          .offset = record->offset,
                                          .timestamp_ms = record->timestamp_ms,
                                          .key = record->key,
                                          .value = record->value};
    if (record->key.ptr) state_view_put(mirror->view, &row);
    return true;
}

/* A server that is behind is waited for: no change of the catalogue may be lost. */
static void block_push(struct mirror *mirror, struct block *block)
{
    while (!ring_push(mirror->changes, &block)) {
        if (flag_is_raised(&mirror->stop)) {
            mem_free(block);
            return;
        }
        sync_sleep_ms(1);
    }
}

static bool batch_apply(struct mirror *mirror, const struct ingest_follow_batch *batch,
                        struct err *err)
{
    for (int i = 0; i < batch->n; i++)
        if (!record_apply(mirror, &batch->records[i], err)) return false;
    if (!view_write(mirror, err)) return false;
    (void)sync_int_add(&mirror->records, batch->n);
    struct block *block = block_make(mirror, batch);
    if (block) block_push(mirror, block);
    return true;
}

/* What tombstones took leaves the files, too, when nothing else is to do; at work for at most a tenth of the time. */
static bool purge(struct mirror *mirror, struct err *err)
{
    int64_t begin_ms = (int64_t)(clock_mono_ns() / 1000000);
    if (begin_ms < mirror->purge_at_ms) return true;
    bool ok = state_view_purge(mirror->view, err);
    int64_t end_ms = (int64_t)(clock_mono_ns() / 1000000);
    mirror->purge_at_ms = end_ms + PURGE_PAUSE_MS + 9 * (end_ms - begin_ms);
    if (ok || err->class != ERR_RETRY) return ok;
    log_err(LOG_WARN, "app", err);
    err->class = ERR_NONE;
    return true;
}

static void run(void *context)
{
    struct mirror *mirror = context;
    struct err err = ERR_INIT;
    struct ingest_follow_batch batch;
    bool was_caught_up = false, ok = true;
    while (ok && !flag_is_raised(&mirror->stop)) {
        ok = ingest_follow_poll(mirror->follow, POLL_MS, &batch, &err) &&
             batch_apply(mirror, &batch, &err);
        bool is_news = batch.n > 0;
        if (ok) ingest_follow_release(mirror->follow, &batch);
        if (ok && ingest_follow_is_caught_up(mirror->follow)) ok = purge(mirror, &err);
        bool is_caught_up = ok && ingest_follow_is_caught_up(mirror->follow);
        if (is_news || is_caught_up != was_caught_up) mirror->options.wake(mirror->options.context);
        was_caught_up = is_caught_up;
    }
    if (ok || flag_is_raised(&mirror->stop)) return;
    log_err(LOG_ERROR, "app", &err);
    mirror->failure = err;
    flag_raise(&mirror->failed);
    mirror->options.wake(mirror->options.context);
}

/* ---- opening ---- */

static int64_t start_of(void *context, int topic, int32_t partition)
{
    struct mirror *mirror = context;
    struct err err = ERR_INIT;
    int64_t next = -1;
    if (!state_view_position(mirror->view, mirror->families[topic], partition, &next, &err))
        log_err(LOG_WARN, "app", &err);
    return next;
}

static const char *topic_of(const struct settings *settings, enum state_view_family family)
{
    const char *const topics[VIEW_FAMILIES] = {
        [VIEW_LISTS] = settings->recommendations_topic,
        [VIEW_RELATED] = options_text(settings->options, "related.topic"),
        [VIEW_TRENDING] = options_text(settings->options, "trending.topic"),
        [VIEW_ITEMS] = options_text(settings->options, "items.topic")};
    return topics[family];
}

/* Those that exist. Returns how many; -1 with err. */
static int topics_choose(struct mirror *mirror, const char *names[VIEW_FAMILIES], struct err *err)
{
    const struct settings *settings = mirror->options.settings;
    int n = 0;
    for (int f = 0; f < VIEW_FAMILIES; f++) {
        const char *name = topic_of(settings, (enum state_view_family)f);
        struct kafka_topic_info info;
        if (!name[0]) continue;
        if (!kafka_topic_describe(&settings->kafka, &name, 1, &info, CONNECT_MS, err)) return -1;
        if (info.partitions == 0 && f != VIEW_LISTS) {
            log_warn("app", "a topic does not exist and is not served until the next start",
                     "topic=%s", name);
            continue;
        }
        mirror->families[n] = (enum state_view_family)f;
        names[n++] = name;
    }
    return n;
}

static bool view_open(struct mirror *mirror, struct err *err)
{
    const struct settings *settings = mirror->options.settings;
    char cluster_id[64];
    if (!kafka_cluster_id(&settings->kafka, cluster_id, CONNECT_MS, err)) return false;
    struct state_view_options view = {
        .cluster_id = cluster_id,
        .rocksdb_bytes = (size_t)options_int(settings->options, "http.view.memory.bytes")};
    for (int f = 0; f < VIEW_FAMILIES; f++)
        view.topics[f] = topic_of(settings, (enum state_view_family)f);
    return state_view_open(&mirror->view, mirror->options.folder, &view, err);
}

bool mirror_open(struct mirror **out, const struct mirror_options *options, struct err *err)
{
    const char *names[VIEW_FAMILIES];
    struct mirror *mirror = mem_zalloc(sizeof *mirror);
    mirror->options = *options;
    mirror->changes = ring_new(sizeof(struct block *), WAITING);
    int n = view_open(mirror, err) ? topics_choose(mirror, names, err) : -1;
    const struct ingest_follow_options follow = {.topics = names,
                                                 .n_topics = n,
                                                 .batch_max = BATCH_MAX,
                                                 .timeout_ms = CONNECT_MS,
                                                 .start = start_of,
                                                 .context = mirror};
    if (n > 0 && ingest_follow_open(&mirror->follow, &options->settings->kafka, &follow, err)) {
        *out = mirror;
        return true;
    }
    mirror_close(mirror);
    return false;
}

bool mirror_start(struct mirror *mirror, struct err *err)
{
    mirror->is_started = thread_start(&mirror->thread, "mirror", run, mirror, err);
    return mirror->is_started;
}

void mirror_close(struct mirror *mirror)
{
    struct mirror_change *changes;
    int n;
    if (!mirror) return;
    flag_raise(&mirror->stop);
    if (mirror->is_started) {
        ingest_follow_wake(mirror->follow);
        thread_join(&mirror->thread);
    }
    while (mirror_take(mirror, &changes, &n))
        mirror_done(changes);
    ring_free(mirror->changes);
    ingest_follow_close(mirror->follow);
    state_view_close(mirror->view);
    mem_free(mirror);
}

/* ---- the server's side ---- */

struct state_view *mirror_view(const struct mirror *mirror)
{
    return mirror->view;
}

void mirror_tell_all(struct mirror *mirror, bool is_wanted)
{
    sync_int_set(&mirror->tell_all, is_wanted);
}

bool mirror_take(struct mirror *mirror, struct mirror_change **changes, int *n)
{
    struct block *block;
    if (!ring_pop(mirror->changes, &block)) return false;
    *changes = block->changes;
    *n = block->n;
    return true;
}

void mirror_done(struct mirror_change *changes)
{
    mem_free((char *)changes - offsetof(struct block, changes));
}

bool mirror_is_caught_up(const struct mirror *mirror)
{
    return ingest_follow_is_caught_up(mirror->follow);
}

int64_t mirror_lag(const struct mirror *mirror)
{
    return ingest_follow_lag(mirror->follow);
}

int64_t mirror_records(const struct mirror *mirror)
{
    return sync_int_get(&mirror->records);
}

bool mirror_is_running(struct mirror *mirror, struct err *err)
{
    if (!flag_is_raised(&mirror->failed)) return true;
    *err = mirror->failure;
    return false;
}
