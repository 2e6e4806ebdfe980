/* The arm of session neighbours as the pipeline runs it, on simulated clicks, with a store: time of an event's update and
 * query, memory against its bound, what commits cost, and how long a start takes to make the index again.
 *
 *   sessions_bench --work FOLDER [--clicks 6000000] [--items 1000000] [--query-every 10] [--seed 1] [--set key=value]...
 *
 * Sessions of 4 clicks on average, 2,000 of them at a time; one click in five goes to an item drawn by Zipf(1) from all, the
 * others to items near the session's last one. Every query excludes the session's own item. A commit each 1,000 clicks. One
 * partition, so the whole of neighbours.memory.max.bytes; FOLDER/sessions-bench is made anew. Times are CPU time of the thread. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "app/app.h"
#include "app/config.h"
#include "app/neighbours.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

enum { ACTIVE = 2000, LENGTH_MAX = 64, COMMIT_EVERY = 1000, NEAR_BY = 20, CLICK_MS = 100 };

struct visit {
    uint64_t id;
    struct interaction clicks[LENGTH_MAX];
    int n, last; /* last: rank of the item clicked last, from 0 */
};

struct bench {
    int64_t clicks, items, every;
    uint64_t seed;
    struct settings settings;
    struct state *state;
    struct state_shard *shard;
    struct neighbours *neighbours;
    struct visit visits[ACTIVE];
    uint64_t visits_made;
    struct rng rng;
    uint64_t *update_ns, *both_ns; /* (n_queries) */
    size_t n_queries, candidates;
    uint64_t commit_ns, commit_bytes;
};

static void die(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "sessions_bench: %s: %s\n", what, err->text);
    exit(1);
}

/* CPU time of this thread: what other work on the machine takes in between is not counted. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the store and the arm ---- */

static void part_open(struct bench *b)
{
    static const char *const topics[] = {"events"};
    struct state_identity identity = {.application_id = b->settings.application_id,
                                      .cluster_id = "bench",
                                      .topics = topics,
                                      .n_topics = 1,
                                      .n_partitions = 1};
    struct state_options options = settings_state(&b->settings, 0);
    struct err err = ERR_INIT;
    if (!state_open(&b->state, b->settings.state_folder, &identity, &options, &err))
        die("store", &err);
    b->shard = state_shard_new(b->state, 0);
    b->neighbours = neighbours_new(&b->settings, b->state, b->shard, 1);
    if (!state_partition_open(b->shard, 0, &err) || !neighbours_open(b->neighbours, 0, &err))
        die("partition", &err);
}

static void part_close(struct bench *b)
{
    neighbours_free(b->neighbours);
    state_shard_free(b->shard);
    state_close(b->state);
}

static void commit(struct bench *b, int64_t next)
{
    struct err err = ERR_INIT;
    struct state_move move = {.topic = 0, .partition = 0, .next = next};
    uint64_t since = cpu_ns();
    struct state_epoch *epoch = state_epoch_seal(b->shard, &move, 1);
    neighbours_seal(b->neighbours, epoch);
    b->commit_bytes += state_pending_bytes(b->shard);
    if (!state_epoch_write(b->shard, epoch, &err)) die("commit", &err);
    b->commit_ns += cpu_ns() - since;
}

/* ---- clicks ---- */

/* Rank of an item, about Zipf(1): the logarithm of a rank is uniform. */
static int draw(struct bench *b)
{
    double rank = exp(rng_unit(&b->rng) * log((double)b->items + 1.0)) - 1.0;
    return rank < (double)b->items ? (int)rank : (int)b->items - 1;
}

static struct visit *visit_next(struct bench *b)
{
    struct visit *visit = &b->visits[rng_below(&b->rng, ACTIVE)];
    if (visit->n == 0 || visit->n == LENGTH_MAX || rng_below(&b->rng, 4) == 0)
        *visit = (struct visit){.id = ++b->visits_made * 0x9e3779b97f4a7c15u};
    bool is_near = visit->n > 0 && rng_below(&b->rng, 5) > 0;
    int item = is_near ? visit->last + (int)rng_below(&b->rng, 2 * NEAR_BY) - NEAR_BY : draw(b);
    visit->last = item < 0 ? 0 : item >= b->items ? (int)b->items - 1 : item;
    return visit;
}

static bool is_item(void *context, uint64_t key)
{
    return *(const uint64_t *)context == key;
}

static void click(struct bench *b, int64_t i)
{
    struct model_neighbour found[USER_LIST_MAX];
    struct visit *visit = visit_next(b);
    uint64_t item = ((uint64_t)visit->last + 1) * 0xd6e8feb86659fd93u;
    int64_t time_ms = 1700000000000 + i * CLICK_MS;
    visit->clicks[visit->n++] = (struct interaction){.item = item, .time_ms = time_ms};
    struct neighbours_session session = {visit->id, visit->clicks, visit->n};
    uint64_t since = cpu_ns();
    neighbours_add(b->neighbours, 0, visit->id, &item, 1, time_ms);
    if (i % b->every != 0) return;
    uint64_t added = cpu_ns();
    b->candidates += (size_t)neighbours_top(b->neighbours, 0, &session, b->settings.list_size,
                                            is_item, &item, found);
    b->update_ns[b->n_queries] = added - since;
    b->both_ns[b->n_queries++] = cpu_ns() - since;
}

/* ---- numbers ---- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, uint64_t *ns, size_t n)
{
    qsort(ns, n, sizeof *ns, by_value);
    printf("%-14s us: p50 %.2f  p90 %.2f  p99 %.2f  worst %.2f\n", what, (double)ns[n / 2] / 1e3,
           (double)ns[n * 9 / 10] / 1e3, (double)ns[n * 99 / 100] / 1e3, (double)ns[n - 1] / 1e3);
}

static long rss_mib(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static void run(struct bench *b)
{
    long before = rss_mib();
    part_open(b);
    for (int64_t i = 0; i < b->clicks; i++) {
        click(b, i);
        if ((i + 1) % COMMIT_EVERY == 0) commit(b, i + 1);
    }
    struct neighbours_size size = neighbours_size(b->neighbours);
    printf("%lld clicks over %lld items, seed %llu: held %d sessions, %d clicks, %.1f MiB; bound "
           "%.1f MiB; "
           "peak RSS %ld MiB, before %ld (with RocksDB's)\n",
           (long long)b->clicks, (long long)b->items, (unsigned long long)b->seed, size.sessions,
           size.clicks, (double)size.bytes / 1048576, (double)size.bytes_max / 1048576, rss_mib(),
           before);
    report("update", b->update_ns, b->n_queries);
    report("update + query", b->both_ns, b->n_queries);
    printf("commits: %.2f us and %.0f bytes a click; %.1f items a query\n",
           (double)b->commit_ns / 1e3 / (double)b->clicks,
           (double)b->commit_bytes / (double)b->clicks,
           (double)b->candidates / (double)b->n_queries);
    part_close(b);
    uint64_t since = clock_mono_ns();
    part_open(b);
    double open_ms = (double)(clock_mono_ns() - since) / 1e6;
    size = neighbours_size(b->neighbours);
    printf("made again from the store: %d sessions, %d clicks, %.1f MiB in %.0f ms (RocksDB's open "
           "included)\n",
           size.sessions, size.clicks, (double)size.bytes / 1048576, open_ms);
    part_close(b);
}

static void setting(struct options *options, const char *name, const char *value)
{
    struct err err = ERR_INIT;
    if (!options_set(options, name, value, "sessions_bench", &err)) die("option", &err);
}

int main(int argc, char **argv)
{
    static struct bench b = {.clicks = 6000000, .items = 1000000, .every = 10, .seed = 1};
    struct options *options = options_new(app_config_specs, app_config_count);
    struct err err = ERR_INIT;
    char command[600];
    const char *work = NULL;
    setting(options, "application.id", "sessions-bench");
    for (int i = 1; i + 1 < argc; i += 2) {
        char *equals = strchr(argv[i + 1], '=');
        if (strcmp(argv[i], "--work") == 0) work = argv[i + 1];
        if (strcmp(argv[i], "--clicks") == 0) b.clicks = strtoll(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--items") == 0) b.items = strtoll(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--query-every") == 0) b.every = strtoll(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) b.seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--set") != 0 || !equals) continue;
        *equals = '\0';
        setting(options, argv[i + 1], equals + 1);
    }
    if (!work) {
        (void)fprintf(stderr, "usage: sessions_bench --work FOLDER [...]; see the source\n");
        return 2;
    }
    setting(options, "state.dir", work);
    if (!settings_init(&b.settings, options, &err)) die("settings", &err);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", b.settings.state_folder);
    if (system(command) != 0) return 1;
    rng_init(&b.rng, b.seed);
    size_t most = (size_t)(b.clicks / b.every + 1);
    b.update_ns = mem_alloc(most * sizeof *b.update_ns);
    b.both_ns = mem_alloc(most * sizeof *b.both_ns);
    run(&b);
    mem_free(b.update_ns);
    mem_free(b.both_ns);
    settings_fini(&b.settings);
    options_free(options);
    return 0;
}
